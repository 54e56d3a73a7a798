/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a cgroup is: an extended attribute of its directory, "user.krun-oci".
 *
 * The path alone does not tell. A manager may give the same one to each container in turn, and the
 * next takes over the directory that the one before has left: so the inode does not tell either.
 * Called by the CLI, single-threaded.
 */
#ifndef KRUN_OCI_CGROUP_MARK_H
#define KRUN_OCI_CGROUP_MARK_H

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"

/* A container's mark: no two that ever were have the same. */
struct cg_mark {
	char text[320];
};

enum cg_owner {
	CG_NOBODY, /* no mark, or none that can be read: a create that was killed left it */
	CG_OURS,
	CG_OTHERS,
};

/* Of the container @id that was made at @created (RFC 3339 with nanoseconds; NULL: not known). */
void cg_mark_of(struct cg_mark *m, const char *created, const char *id);

/* Marks the cgroup @dir, with @kept beside it: how many bytes of its path were there before the
 * containers. Replaces the mark of another. -errno. */
int cg_mark_set(int dir, const struct cg_mark *m, size_t kept);
/* Whose @dir is. *@kept becomes less where the mark, of whomever, says so. */
enum cg_owner cg_mark_get(int dir, const struct cg_mark *m, size_t *kept);

#endif
