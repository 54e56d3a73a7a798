// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: removing and moving names.
 *
 * How it works: what loses its name and is known to the guest is opened first (unless it is open
 * anyway), because no path will lead to it afterwards; what moves takes its new place in the table,
 * and with it everything below. Names that the host changed meanwhile are found out when a node is
 * opened again.
 *
 * System calls, directories open: UNLINK 1, and 3 (openat, statx, close) more for a node that
 * nothing has open; RENAME 1, and the same for what it replaces.
 */
/* #syscalls:fs unlinkat renameat renameat2 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dev/fs.h"

/* The known node of @name in @dir, with an fd or a handle that outlives the name when that could be
 * had. */
static struct fs_node *held_child(struct fs *fs, struct fs_node *dir, const char *name)
{
	struct fs_node *n = fs_node_child(fs, dir, name);

	/* One that cannot be opened is not there any more, or must do without. */
	if (n && !n->handles && fs_node_fd(fs, n) < 0)
		return fs_node_child(fs, dir, name);
	return n;
}

static int remove_name(struct fs *fs, struct fs_req *q, int flags)
{
	struct fs_node *n;
	const char *name;
	int dfd, r = fs_take_name(q, &name);

	if (r < 0)
		return r;
	if (q->nrest)
		return -EINVAL;
	if (fs_is_virt(fs, q->n, name))
		return -EPERM;
	dfd = fs_dir_fd(fs, q->n);
	if (dfd < 0)
		return dfd;
	n = held_child(fs, q->n, name);
	if (unlinkat(dfd, name, flags) < 0)
		return -errno;
	if (n)
		fs_node_detach(fs, n);
	return 0;
}

int fs_op_unlink(struct fs *fs, struct fs_req *q)
{
	return remove_name(fs, q, 0);
}

int fs_op_rmdir(struct fs *fs, struct fs_req *q)
{
	return remove_name(fs, q, AT_REMOVEDIR);
}

/* The table after a successful rename. @a was at (from, old), @b at (to, new); either may be
 * unknown. */
static void moved(struct fs *fs, struct fs_node *from, const char *old, struct fs_node *to,
	const char *new, unsigned flags)
{
	struct fs_node *a = fs_node_child(fs, from, old), *b = fs_node_child(fs, to, new);

	/* A place that cannot be noted (no memory) costs the node its way: ESTALE until it is
	 * looked up again. */
	if (!(flags & RENAME_EXCHANGE)) {
		if (a == b)
			return;
		if (b)
			fs_node_detach(fs, b);
		if (a && fs_node_place(fs, a, to, new) < 0)
			fs_node_detach(fs, a);
		return;
	}
	if (a == b)
		return;
	/* Both must live while neither has a place. */
	if (a)
		a->busy++;
	if (b) {
		b->busy++;
		fs_node_detach(fs, b);
	}
	if (a && fs_node_place(fs, a, to, new) < 0)
		fs_node_detach(fs, a);
	if (b && fs_node_place(fs, b, from, old) < 0)
		fs_node_detach(fs, b);
	if (b)
		b->busy--;
	if (a)
		a->busy--;
}

static int rename_names(struct fs *fs, struct fs_req *q, uint64_t newdir, unsigned flags)
{
	struct fs_node *to = fs_node_get(fs, newdir);
	const char *old, *new;
	int r, ofd, nfd;

	r = fs_take_name(q, &old);
	if (!r)
		r = fs_take_name(q, &new);
	if (r < 0)
		return r;
	if (q->nrest || (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)))
		return -EINVAL;
	if (!to)
		return -ESTALE;
	if (fs_is_virt(fs, q->n, old) || fs_is_virt(fs, to, new))
		return -EPERM;
	ofd = fs_dir_fd(fs, q->n);
	if (ofd < 0)
		return ofd;
	nfd = fs_dir_fd(fs, to);
	if (nfd < 0)
		return nfd;
	/* In an exchange nothing loses its name. */
	if (!(flags & RENAME_EXCHANGE))
		(void)held_child(fs, to, new);
	/* What stays in the old place is new, and the user's. */
	if (flags & RENAME_WHITEOUT) {
		r = fs_cred_enter(fs, q->h.uid, q->h.gid, 0);
		if (r < 0)
			return r;
	}
	if (renameat2(ofd, old, nfd, new, flags) < 0)
		r = -errno;
	fs_cred_leave(fs);
	if (r < 0)
		return r;
	moved(fs, q->n, old, to, new, flags);
	return 0;
}

int fs_op_rename(struct fs *fs, struct fs_req *q)
{
	return rename_names(fs, q, q->a.rename.newdir, 0);
}

int fs_op_rename2(struct fs *fs, struct fs_req *q)
{
	return rename_names(fs, q, q->a.rename2.newdir, q->a.rename2.flags);
}
