/* SPDX-License-Identifier: Apache-2.0 */
/* Digests a checked config into the flat blob that the guest's agent gets. */
#ifndef KRUN_OCI_GUEST_BLOB_H
#define KRUN_OCI_GUEST_BLOB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "init/proto/blob.h"
#include "oci/morefds.h"
#include "oci/seccomp_compile.h"
#include "oci/spec.h"
#include "oci/state.h"
#include "util/err.h"

/* What a process has of the resources that its config says nothing of: the caller's. */
struct caller_limits {
	struct rlimit v[RLIM_NLIMITS];
	bool have[RLIM_NLIMITS];
};

/* The command's own, before it raises any. */
void caller_limits(struct caller_limits *l);

/*
 * The payload of MSG_CREATE: msg_proc and blob; heap. @stdio: BLOB_STDIO() bits of the streams that
 * exist. @more: the descriptors behind them, which stay the caller's. @lim: NULL is fine. @c goes
 * into the state that startContainer hooks read; NULL is fine where there are none. Compiles the
 * seccomp filter on the way.
 */
int guest_blob(const struct spec *s, const struct container *c, const struct vm_size *size,
	const char *notify, unsigned stdio, const struct morefds *more,
	const struct caller_limits *lim, uint8_t **out, size_t *len, struct error *e);
/* The payload of MSG_EXEC for process @p in container @s, under @filter (len 0: none); the msg_proc
 * at its begin is zero. @cgroup: a path below the container's, or NULL. */
int guest_blob_exec(const struct spec *s, const struct spec_process *p,
	const struct seccomp_prog *filter, const char *cgroup, unsigned stdio,
	const struct morefds *more, const struct caller_limits *lim, uint8_t **out, size_t *len,
	struct error *e);

/* The payload of MSG_UPDATE: one file of the workload's cgroup and what it says; heap. */
int guest_blob_limit(const char *file, const char *text, uint8_t **out, size_t *len);

#endif
