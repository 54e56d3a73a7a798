/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The namespaces that the VMM process lives in.
 *
 * ns_open() runs in the CLI and opens what is given by path; ns_clone() makes the VMM process;
 * ns_enter() runs in it, after the VM exists and it has been moved into its cgroup.
 */
#ifndef KRUN_OCI_NS_H
#define KRUN_OCI_NS_H

#include <sys/types.h>

#include "oci/spec.h"
#include "util/err.h"

struct ns_set {
	int fd[SPEC_NS_TYPES]; /* of namespaces given by path, else -1; owned */
	unsigned long make; /* CLONE_NEW* of those that are new, the ones made by clone included */
	unsigned long at_clone; /* the part of them that clone3() makes */
	bool keep_groups; /* run.oci.keep_original_groups: the caller's groups stay the VMM's */
	bool own_net;	  /* the network given by path is the caller's: the host's, most often */
};

int ns_open(const struct spec *s, struct ns_set *n, struct error *e);
void ns_close(struct ns_set *n);

/* As fork(), into the new pid and user namespaces. In the child 0, in the parent the pid, or
 * -errno. */
pid_t ns_clone(const struct ns_set *n);

/* In the CLI: writes the id maps of @pid, whose user namespace is new; without any in the config
 * root is the caller. */
int ns_write_maps(pid_t pid, const struct spec *s, struct error *e);
/*
 * In the CLI: a user namespace of these maps that nobody is in, for mount_setattr(): its fd,
 * the caller's, or -errno.
 * Without maps root in it is the caller. -EPERM where the caller may not map those ids.
 */
int ns_of_maps(const struct spec_id_maps *u, const struct spec_id_maps *g);
/* In the VMM process, once its maps are written: root of the namespace, without the caller's groups
 * unless the config keeps them. */
int ns_become_root(const struct ns_set *n, struct error *e);

/* In the VMM process: joins what was given by path, as root of a user namespace among it. */
int ns_join(const struct ns_set *n, struct error *e);
bool ns_joins_user(const struct ns_set *n);
/* True when the user namespace was not made at clone, because something else had to be joined
 * first. */
bool ns_late_user(const struct ns_set *n);
int ns_make_user(struct error *e);
/* Makes all that is left; loopback up in a new network namespace, the config's net.* settings in
 * one that is not the host's, names set in a new uts namespace. */
int ns_make(const struct ns_set *n, const struct spec *s, struct error *e);

/* True when we are in a user namespace other than the host's, whose root has no rights there. */
bool ns_in_user(void);

#endif
