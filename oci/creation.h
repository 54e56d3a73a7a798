/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container that is being made: what create and run share, and the files that they are in. In the
 * CLI, single-threaded, but for the copy that the VMM process has (oci/vmproc.h).
 */
#ifndef KRUN_OCI_CREATION_H
#define KRUN_OCI_CREATION_H

#include <stdbool.h>
#include <stddef.h>

#include "oci/cgroup_systemd.h"
#include "oci/runtime.h"
#include "oci/vmproc.h"

struct create {
	const struct rt *rt;
	const struct rt_create *o;
	struct spec *spec;
	char *config;
	size_t config_len;
	struct container c;
	struct sd_scope scope; /* with the systemd driver */
	struct vmproc p;
	int bundle_fd, rootfs_fd;
	bool foreground; /* run without --detach: the terminal is ours to serve */
	bool reaped;	 /* the VMM: its pid may be somebody else's by now */
	int sync[2];
	int master; /* of the container's terminal */
};

void create_init(struct create *x, const struct rt *rt, const struct rt_create *o);
/* Lets go of all that @x has open, the lock too; what was made stays. */
void create_free(struct create *x);

/* create_look.c: reads the request and opens what it needs, with the caller's rights and the host's
 * view. Nothing is made yet. */
int create_look(struct create *x, struct error *e);
/* create.c: looks, and makes it. When it fails nothing of it is left. */
int create_make(struct create *x, struct error *e);
/* Undoes what was made. @e, the caller's error, tells also what could not be undone; that stays on
 * record, so that somebody can. */
void create_undo(struct create *x, struct error *e);

#endif
