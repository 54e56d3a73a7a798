// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: reading directories.
 *
 * How it works: getdents64() fills one of a few buffers, from which several requests are answered
 * (the guest asks by the page). A buffer belongs to the handle that used it last and may be taken
 * by another: the handle then seeks to the offset that the guest gives, which is the host's own.
 * Offset 0 always reads anew. READDIRPLUS adds one statx() per entry; an entry counts as a lookup
 * only once it is wholly in the reply. An entry that vanished or cannot be known goes without
 * attributes. What is virtual (fs_virt.c) comes behind what the host has, and hides it.
 */
/* #syscalls:fs openat getdents64 lseek statx close */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/fs.h"

/* *out is -1 for one that is virtual. */
static int open_dir(struct fs *fs, struct fs_node *n, int *out)
{
	int fd;

	*out = -1;
	if (n->flags & FS_N_VIRT)
		return n->type == S_IFDIR ? 0 : -ENOTDIR;
	fd = fs_dir_fd(fs, n);
	if (fd < 0)
		return fd;
	if (!fs_handle_room(fs))
		return -ENFILE;
	fd = fs_openat(fs, fd, ".", O_RDONLY | O_DIRECTORY, 0);
	*out = fd;
	return MIN(fd, 0);
}

int fs_op_opendir(struct fs *fs, struct fs_req *q)
{
	struct fuse_open_out o = { 0 };
	struct fs_handle *h;
	int fd, r = open_dir(fs, q->n, &fd);

	if (r < 0)
		return r;
	r = fs_handle_new(fs, q->n, FS_H_DIR, fd, O_RDONLY | O_DIRECTORY, &h);
	if (r < 0)
		return r;
	o.fh = fs_handle_id(h);
	if (fs_cache_of(fs, q->n) == FS_CACHE_ALWAYS)
		o.open_flags = FS_FOPEN_KEEP_CACHE | FS_FOPEN_CACHE_DIR;
	r = iobuf_push(&q->wr, &o, sizeof(o));
	if (r < 0)
		fs_handle_close(fs, h);
	return r;
}

int fs_op_releasedir(struct fs *fs, struct fs_req *q)
{
	struct fs_handle *h = fs_handle_get(fs, q->n, q->a.release.fh);

	if (!h || h->kind != FS_H_DIR)
		return -EBADF;
	fs_handle_close(fs, h);
	return 0;
}

void fs_dirbuf_drop(struct fs *fs, uint64_t fh)
{
	for (unsigned i = 0; i < FS_DIR_BUFS; i++)
		if (fs->dirbuf[i].owner == fh)
			fs->dirbuf[i].owner = 0;
}

/* The buffer of @h, standing at @off: what it holds from there on, or nothing with the fd standing
 * there. */
static int dirbuf_at(struct fs *fs, struct fs_handle *h, int64_t off, struct fs_dirbuf **out)
{
	uint64_t id = fs_handle_id(h);
	struct fs_dirbuf *b = NULL;

	for (unsigned i = 0; i < FS_DIR_BUFS && !b; i++)
		if (fs->dirbuf[i].owner == id)
			b = &fs->dirbuf[i];
	if (b && off && b->off == off) {
		*out = b;
		return 0;
	}
	for (unsigned i = 0; i < FS_DIR_BUFS && !b; i++)
		if (!fs->dirbuf[i].owner)
			b = &fs->dirbuf[i];
	if (!b)
		b = &fs->dirbuf[fs->dirbuf_next++ % FS_DIR_BUFS];
	if (!b->b) {
		b->b = malloc(FS_DIR_BUF);
		if (!b->b)
			return -ENOMEM;
	}
	b->owner = 0;
	b->at = b->len = 0;
	/* Also from 0 to 0: what was created since must be seen. */
	if (h->pos != off || !off) {
		if (lseek(h->fd, off, SEEK_SET) < 0)
			return -errno;
		h->pos = off;
	}
	b->off = off;
	b->owner = id;
	*out = b;
	return 0;
}

/* Reads on when the buffer is used up; 0 at the end, else 1. */
static int dirbuf_fill(struct fs_handle *h, struct fs_dirbuf *b)
{
	ssize_t n;

	if (b->at < b->len)
		return 1;
	n = getdents64(h->fd, b->b, FS_DIR_BUF);
	if (n < 0) {
		b->owner = 0;
		h->pos = -1;
		return -errno;
	}
	b->at = 0;
	b->len = (uint32_t)n;
	for (uint32_t at = 0; at < b->len;) {
		const struct dirent64 *d = (const void *)(b->b + at);

		h->pos = d->d_off;
		at += d->d_reclen;
	}
	return n > 0;
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* The attributes of one entry; the node is not counted as looked up yet. NULL: none are given. */
static struct fs_node *plus_entry(
	struct fs *fs, struct fs_req *q, int dfd, const char *name, struct fuse_entry_out *e)
{
	struct fs_node *n;
	struct statx sx;

	memset(e, 0, sizeof(*e));
	if (is_dots(name))
		return NULL;
	n = fs->virt ? fs_virt_find(fs, q->n, name) : NULL;
	/* who lists must not be the one that takes it */
	if (n && fs_virt_one_shot(fs, n))
		return NULL;
	if (n)
		fs_virt_stat(fs, n, &sx);
	else if (fs_lookup(fs, q->n, dfd, name, &sx, &n) < 0)
		return NULL;
	fs_dax_admit(fs, q, n, &sx, true);
	fs_fill_entry(fs, n, &sx, e);
	return n;
}

/* Writes one entry; -ENOSPC with nothing changed when it does not fit into the reply. */
static int put_entry(struct fs *fs, struct fs_req *q, struct fs_handle *h, const struct dirent64 *d,
	size_t limit, bool plus)
{
	struct fuse_dirent fd = {
		.ino = d->d_ino,
		.off = (uint64_t)d->d_off,
		.namelen = (uint32_t)strnlen(d->d_name, NAME_MAX),
		.type = d->d_type,
	};
	size_t head = plus ? sizeof(struct fuse_entry_out) : 0;
	size_t size = head + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + fd.namelen);
	uint8_t rec[sizeof(struct fuse_entry_out) + FUSE_NAME_OFFSET + NAME_MAX + 8];
	struct fuse_entry_out e;
	struct fs_node *n = NULL;
	int r;

	if (size > limit - MIN(limit, q->wr.done) || size > q->wr.left)
		return -ENOSPC;
	if (plus) {
		n = plus_entry(fs, q, h->fd, d->d_name, &e);
		memcpy(rec, &e, sizeof(e));
	}
	memset(rec + size - 8, 0, 8); /* what the name leaves of it */
	memcpy(rec + head, &fd, FUSE_NAME_OFFSET);
	memcpy(rec + head + FUSE_NAME_OFFSET, d->d_name, fd.namelen);
	r = iobuf_push(&q->wr, rec, size);
	if (n && !r)
		n->nlookup++;
	else if (n)
		fs_node_put(fs, n);
	return r;
}

/* What the host has from the offset of the request on: 1; 0: it has no more. */
static int read_real(struct fs *fs, struct fs_req *q, struct fs_handle *h, bool plus)
{
	const struct fuse_read_in *in = &q->a.read;
	struct fs_dirbuf *b = NULL;
	int r;

	if (h->fd < 0)
		return -ESTALE;
	r = dirbuf_at(fs, h, (int64_t)in->offset, &b);
	if (!r)
		r = dirbuf_fill(h, b);
	while (r > 0 && b->at < b->len) {
		const struct dirent64 *d = (const void *)(b->b + b->at);
		int err = fs_is_virt(fs, q->n, d->d_name) ? 0
							  : put_entry(fs, q, h, d, in->size, plus);

		if (err < 0)
			return err;
		b->at += d->d_reclen;
		b->off = d->d_off;
		/* nothing but names that are virtual */
		if (b->at == b->len && !q->wr.done)
			r = dirbuf_fill(h, b);
	}
	return r;
}

static int read_virt(struct fs *fs, struct fs_req *q, struct fs_handle *h, bool plus)
{
	uint64_t off = q->a.read.offset;
	struct dirent64 d;
	int r = 0;

	while (!r && fs_virt_next(fs, q->n, off, &d)) {
		r = put_entry(fs, q, h, &d, q->a.read.size, plus);
		off = (uint64_t)d.d_off;
	}
	return r;
}

static int read_entries(struct fs *fs, struct fs_req *q, bool plus)
{
	const struct fuse_read_in *in = &q->a.read;
	struct fs_handle *h = fs_handle_get(fs, q->n, in->fh);
	int r = 0;

	if (!h || h->kind != FS_H_DIR)
		return -EBADF;
	if (in->offset > INT64_MAX)
		return -EINVAL;
	if (!fs->virt || !fs_virt_listed(fs, q->n, in->offset))
		r = read_real(fs, q, h, plus);
	if (!r && fs->virt)
		r = read_virt(fs, q, h, plus);
	/* Not even one entry fits: an empty reply would be the directory's end. */
	if (r < 0 && (r != -ENOSPC || !q->wr.done))
		return r == -ENOSPC ? -EINVAL : r;
	return 0;
}

int fs_op_readdir(struct fs *fs, struct fs_req *q)
{
	return read_entries(fs, q, false);
}

int fs_op_readdirplus(struct fs *fs, struct fs_req *q)
{
	return read_entries(fs, q, true);
}
