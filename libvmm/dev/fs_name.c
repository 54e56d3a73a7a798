// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: finding, forgetting and making names.
 *
 * How it works: every name is one component under the fd of its directory, never followed if it is
 * a link (EXCL and the *at calls that create do not follow either). A lookup is one statx():
 * whatever is mounted there is seen, and no fd is opened before something needs it. What creates
 * does so as the request's user (fs_cred.c) and then looks the new name up.
 *
 * System calls, directory open: LOOKUP 1; MKDIR, MKNOD, SYMLINK 2 (create, statx); LINK 2, the file
 * open too.
 */
/* #syscalls:fs statx mkdirat mknodat symlinkat linkat */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "dev/fs.h"

int fs_lookup(struct fs *fs, struct fs_node *dir, int dfd, const char *name, struct statx *sx,
	struct fs_node **out)
{
	int r = fs_pseudo_hidden(dir, dfd, name) ? -ENOENT : fs_stat_at(dfd, name, sx);
	struct fs_node *known;

	if (!r)
		return fs_node_attach(fs, dir, name, sx, out);
	if (r == -ENOENT) {
		known = fs_node_child(fs, dir, name);
		if (known)
			fs_node_detach(fs, known);
	}
	return r;
}

/* Answers with @n, which counts as looked up when that worked. */
static int reply_entry(struct fs *fs, struct fs_req *q, struct fs_node *n, const struct statx *sx)
{
	struct fuse_entry_out e;
	int r;

	fs_dax_admit(fs, q, n, sx, false);
	fs_fill_entry(fs, n, sx, &e);
	r = iobuf_push(&q->wr, &e, sizeof(e));
	if (!r)
		n->nlookup++;
	else
		fs_node_put(fs, n);
	return r;
}

static int reply_virt(struct fs *fs, struct fs_req *q, struct fs_node *n)
{
	struct statx sx;
	int r;

	fs_virt_stat(fs, n, &sx);
	r = reply_entry(fs, q, n, &sx);
	if (!r)
		fs_virt_found(fs, n);
	return r;
}

static int lookup_real(
	struct fs *fs, struct fs_req *q, const char *name, struct statx *sx, struct fs_node **n)
{
	int dfd;

	if (q->n->flags & FS_N_VIRT)
		return q->n->type == S_IFDIR ? -ENOENT : -ENOTDIR;
	dfd = fs_dir_fd(fs, q->n);
	return dfd < 0 ? dfd : fs_lookup(fs, q->n, dfd, name, sx, n);
}

int fs_op_lookup(struct fs *fs, struct fs_req *q)
{
	struct fuse_entry_out none = { 0 };
	struct fs_node *n;
	const char *name;
	struct statx sx;
	int r;

	r = fs_take_name(q, &name);
	if (r < 0)
		return r;
	if (q->nrest)
		return -EINVAL;
	n = fs->virt ? fs_virt_find(fs, q->n, name) : NULL;
	if (n)
		return reply_virt(fs, q, n);
	r = lookup_real(fs, q, name, &sx, &n);
	if (r == -ENOENT && fs_cache_of(fs, q->n) != FS_CACHE_NONE) {
		fs_attr_valid(fs, q->n, &none.entry_valid, &none.entry_valid_nsec);
		return iobuf_push(&q->wr, &none, sizeof(none));
	}
	return r < 0 ? r : reply_entry(fs, q, n, &sx);
}

int fs_op_forget(struct fs *fs, struct fs_req *q)
{
	struct fs_node *n = fs_node_get(fs, q->h.nodeid);

	if (n)
		fs_node_forget(fs, n, q->a.forget.nlookup);
	return 0;
}

int fs_op_batch_forget(struct fs *fs, struct fs_req *q)
{
	struct fuse_forget_one one;

	/* The count is only a promise; the bytes bound the loop. */
	for (uint32_t i = q->a.batch.count; i && !iobuf_pull(&q->rd, &one, sizeof(one)); i--) {
		struct fs_node *n = fs_node_get(fs, one.nodeid);

		if (n)
			fs_node_forget(fs, n, one.nlookup);
	}
	return 0;
}

/* The last name of a request that creates it: one component that is free for use. */
static int new_name(struct fs *fs, struct fs_req *q, const char **name)
{
	int r = fs_take_name(q, name);

	if (r < 0)
		return r;
	if (fs_is_virt(fs, q->n, *name))
		return -EEXIST;
	return fs_node_room(fs) ? 0 : -ENOMEM;
}

/* After the call that created @name returned @r: ends the user's identity and answers. */
static int created(struct fs *fs, struct fs_req *q, int dfd, const char *name, int r)
{
	struct fs_node *n;
	struct statx sx;

	if (r < 0)
		r = -errno;
	fs_cred_leave(fs);
	if (!r)
		r = fs_lookup(fs, q->n, dfd, name, &sx, &n);
	return r < 0 ? r : reply_entry(fs, q, n, &sx);
}

int fs_op_mkdir(struct fs *fs, struct fs_req *q)
{
	const char *name;
	int dfd, r = new_name(fs, q, &name);

	if (r < 0)
		return r;
	if (q->nrest)
		return -EINVAL;
	dfd = fs_dir_fd(fs, q->n);
	if (dfd < 0)
		return dfd;
	r = fs_cred_enter(fs, q->h.uid, q->h.gid, q->a.mkdir.umask);
	if (r < 0)
		return r;
	return created(fs, q, dfd, name, mkdirat(dfd, name, q->a.mkdir.mode & 07777));
}

static bool mknod_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return true;
	default:
		return false;
	}
}

int fs_op_mknod(struct fs *fs, struct fs_req *q)
{
	uint32_t d = q->a.mknod.rdev;
	dev_t dev = makedev(d >> 8 & 0xfff, (d & 0xff) | (d >> 12 & 0xfff00));
	const char *name;
	int dfd, r = new_name(fs, q, &name);

	if (r < 0)
		return r;
	if (q->nrest || !mknod_type(q->a.mknod.mode))
		return -EINVAL;
	dfd = fs_dir_fd(fs, q->n);
	if (dfd < 0)
		return dfd;
	r = fs_cred_enter(fs, q->h.uid, q->h.gid, q->a.mknod.umask);
	if (r < 0)
		return r;
	r = mknodat(dfd, name, q->a.mknod.mode & (S_IFMT | 07777), dev);
	return created(fs, q, dfd, name, r);
}

int fs_op_symlink(struct fs *fs, struct fs_req *q)
{
	const char *name, *target;
	size_t len;
	int dfd, r = new_name(fs, q, &name);

	if (!r)
		r = fs_take_str(q, &target, &len);
	if (r < 0)
		return r;
	if (q->nrest)
		return -EINVAL;
	dfd = fs_dir_fd(fs, q->n);
	if (dfd < 0)
		return dfd;
	r = fs_cred_enter(fs, q->h.uid, q->h.gid, 0);
	if (r < 0)
		return r;
	return created(fs, q, dfd, name, symlinkat(target, dfd, name));
}

int fs_op_link(struct fs *fs, struct fs_req *q)
{
	struct fs_node *old = fs_node_get(fs, q->a.link.oldnodeid);
	const char *name;
	char num[16];
	int dfd, fd, r = new_name(fs, q, &name);

	if (r < 0)
		return r;
	if (q->nrest)
		return -EINVAL;
	if (!old)
		return -ESTALE;
	if (old->type == S_IFDIR)
		return -EPERM;
	dfd = fs_dir_fd(fs, q->n);
	if (dfd < 0)
		return dfd;
	fd = fs_node_fd(fs, old);
	if (fd < 0)
		return fd;
	(void)snprintf(num, sizeof(num), "%d", fd);
	fs_cred_fsetid(true);
	return created(fs, q, dfd, name, linkat(fs->proc_fd, num, dfd, name, AT_SYMLINK_FOLLOW));
}
