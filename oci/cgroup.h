/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's cgroup on the host: cgroup v2 through its file system.
 *
 * Paths are relative to the cgroup2 mount, without a leading slash. The CLI calls these,
 * single-threaded.
 */
#ifndef KRUN_OCI_CGROUP_H
#define KRUN_OCI_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "oci/cgroup_mark.h"
#include "oci/spec.h"
#include "util/err.h"

/* An fd of the cgroup2 mount; -ENOTSUP with the one sentence for hosts on v1 or hybrid. */
int cgroup_mount(struct error *e);

/* The path for this container from linux.cgroupsPath, else its id. Heap; NULL and @e on a bad one.
 */
char *cgroup_path(const struct spec *s, const char *id, struct error *e);

/* How many bytes of @path are there: to be looked up and recorded before cgroup_make(). */
size_t cgroup_there(const char *path);
/* True when @s asks for a limit that takes a cgroup. */
bool cgroup_has_limits(const struct spec *s, const struct vm_size *size);

/*
 * Makes the cgroup, enables the controllers that @s asks for on the way down, and of the others
 * what can be had (cgroup_offer()), and writes the limits; @size gives memory.max. -EEXIST when it
 * or one below holds processes already. On error nothing that this call made is left. *@kept: what
 * cgroup_there() said; less when some of that went meanwhile and was made again, or when it is the
 * cgroup of a container that has ended: who takes that over removes what was made for both. It has
 * the mark @m from the end of the call on, and before any process is in it.
 */
int cgroup_make(const char *path, const struct spec *s, const struct vm_size *size,
	const struct cg_mark *m, size_t *kept, struct error *e);
/* Marks one that somebody else has made. */
int cgroup_claim(const char *path, const struct cg_mark *m, size_t kept, struct error *e);
/* True when it is there and has the mark @m. */
bool cgroup_is_ours(const char *path, const struct cg_mark *m);
/* Enables for the children of @dirfd whatever controllers it has and can give. Best effort. */
void cgroup_offer(int dirfd);
/*
 * Changes the limits of one that exists: those that @s names (of it only .linux_.res counts).
 * Enables the controllers that this takes where that is not done; of a @scope (or NULL) systemd has
 * done it, and is told.
 */
int cgroup_update(const char *path, const char *scope, const struct spec *s,
	const struct vm_size *size, struct error *e);
/* Where @pid is; heap. -EINVAL when that is the root. */
int cgroup_of(pid_t pid, char **path, struct error *e);
/* Writes limits of one that somebody else has made. */
struct cg_settings;
int cgroup_limit(const char *path, const struct cg_settings *l, struct error *e);
/* An fd of its directory; -ENOENT. */
int cgroup_open(const char *path);
int cgroup_add(const char *path, pid_t pid, struct error *e);
/*
 * Kills everything in it (cgroup.kill), waits up to @ms and removes it, what lies below, and the
 * parents beyond the first @kept bytes of @path when they are empty. -ENOENT is 0. That of another
 * container is left to it. Nothing is killed, and a cgroup that stays in use is left alone, unless
 * it has the mark @m and the VMM has @moved in, or may have: cgroup_make() has seen then that
 * nobody else was there.
 */
int cgroup_destroy(const char *path, size_t kept, const struct cg_mark *m, bool moved, unsigned ms,
	struct error *e);

#endif
