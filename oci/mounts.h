/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's mount tree on the host: what the root share shows to the guest.
 *
 * Host side are the rootfs and the binds; everything else (proc, tmpfs, devpts, ...) is the
 * guest's, which finds a mount point for it here. The plan is made by the CLI from the spec
 * (sources opened with its rights), executed by the VMM process in its own mount namespace.
 */
#ifndef KRUN_OCI_MOUNTS_H
#define KRUN_OCI_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "oci/spec.h"
#include "util/err.h"

struct mount_plan {
	struct spec *spec;  /* borrowed */
	int bundle_fd;	    /* borrowed: relative sources start here */
	const char *bundle; /* its absolute path */
	int rootfs_fd;	    /* O_PATH of the rootfs as the caller sees it; borrowed */
	int user_fd;	    /* of the user namespace that is joined, -1: none; borrowed */
	const char *rootfs; /* its path: the same directory as the VMM process finds it */
	int bundle_tree;    /* detached clone of the bundle's directory alone, likewise; owned */
	int root_tree; /* detached clone of the rootfs, -1 when the CLI lacks the right; owned */
	int *tree; /* one per spec mount: detached clone of a bind's source, -1 when there is none;
		      owned */
};

/* In the CLI: clones the sources of binds where its rights allow that. A missing source is an error
 * that names the mount. */
int mount_plan_make(struct mount_plan *p, struct error *e);
void mount_plan_free(struct mount_plan *p);

/*
 * In the VMM process, in its own mount namespace: builds the tree and returns an fd of its root
 * (O_PATH). Missing mount points are made in the rootfs, as crun does; a symlink in a destination
 * is resolved inside the root. What the mounts forbid that root and binds are taken from is noted
 * in the spec, for the guest, whose own mounts have to forbid it too.
 */
int mount_plan_execute(const struct mount_plan *p, struct error *e);
/*
 * The same process, before the pivot: the bundle's directory as a mount of its own, detached, so
 * that no ".." leads from it to the rest of the host. The caller's; -errno.
 */
int mount_plan_bundle(struct mount_plan *p);
/*
 * The same, before the pivot and when nobody will mount any more: whether every mount of the tree
 * of @root_fd is read-only, so that nothing in it can be written to. False when that is not known.
 */
bool mount_tree_readonly(int root_fd);
/* Makes @root_fd the root of this process and forgets the old one. */
int mount_pivot(int root_fd, struct error *e);

/* True when mount @i must be a bind inside the guest too, because a guest-side mount hides its
 * place. */
bool mount_hidden_by_guest(const struct spec *s, size_t i);
/* MS_* flags as MOUNT_ATTR_*, those that exist as both. */
uint64_t mount_attr_of(unsigned long ms);
/* The one that the guest makes itself. */
bool mount_is_guests(const struct spec_mount *m);

#endif
