// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: data. */
/*
 * How it works
 *
 * What is checked here is what the server knows: handles, modes, limits. What then happens to open
 * files is left in q->x, for fs_xfer.c.
 *
 * O_APPEND is the host's to do, or two guests would overwrite each other's lines; but pages written
 * back from a mapping go to their own place even through a handle opened for appending. The flag of
 * the host's fd follows what each request asks for.
 *
 * Set-id bits fall when an ordinary user writes. The guest says when that is so, and
 * fs_cred_fsetid() makes the host's kernel do it, in the call that writes. For FALLOCATE and
 * COPY_FILE_RANGE the wire has no word for it: there uid 0 keeps them.
 */
/* #syscalls:fs fcntl:F_SETFL lseek fallocate openat */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "dev/fs.h"

/* The open file @fh of the request's node. A handle that a load could not open again answers
 * ESTALE. */
static int file_of(const struct fs *fs, const struct fs_req *q, uint64_t fh, struct fs_handle **out)
{
	struct fs_handle *h = fs_handle_get(fs, q->n, fh);

	if (!h)
		return -EBADF;
	if (h->kind == FS_H_DIR)
		return -EISDIR;
	if (h->kind == FS_H_FILE && h->fd < 0)
		return -ESTALE;
	*out = h;
	return 0;
}

int fs_op_read(struct fs *fs, struct fs_req *q)
{
	const struct fuse_read_in *in = &q->a.read;
	size_t want = MIN(MIN(in->size, (uint32_t)LIM_FS_IO), q->wr.left);
	struct fs_handle *h;
	int r = file_of(fs, q, in->fh, &h);

	if (r < 0)
		return r;
	if (in->offset > INT64_MAX)
		return -EINVAL;
	want = MIN(want, INT64_MAX - in->offset);
	if (h->kind == FS_H_VIRT)
		return fs_virt_read(fs, q, want);
	q->x = (struct fs_xfer){
		.kind = FS_X_READ, .fd = h->fd, .off = in->offset, .size = want, .hand = { h->idx }
	};
	return FS_XFER;
}

static int set_append(struct fs_handle *h, bool on)
{
	int f = (h->flags & ~O_APPEND) | (on ? O_APPEND : 0) | O_NONBLOCK;

	if (h->append == on)
		return 0;
	/* who opened it may not have the right to O_NOATIME: fs_reopen() */
	if (fcntl(h->fd, F_SETFL, f & ~O_ACCMODE) < 0 &&
		(errno != EPERM || !(f & O_NOATIME) ||
			fcntl(h->fd, F_SETFL, f & ~(O_ACCMODE | O_NOATIME)) < 0))
		return -errno;
	h->append = on;
	return 0;
}

int fs_op_write(struct fs *fs, struct fs_req *q)
{
	const struct fuse_write_in *in = &q->a.write;
	struct fs_handle *h;
	bool append;
	int r = file_of(fs, q, in->fh, &h);

	if (r < 0)
		return r;
	if (in->size > LIM_FS_IO || in->size > q->rd.left)
		return -EINVAL;
	if (in->offset > INT64_MAX - LIM_FS_IO)
		return -EFBIG;
	if (h->kind == FS_H_VIRT)
		return -EBADF;
	append = (in->flags & O_APPEND) && !(in->write_flags & FUSE_WRITE_CACHE);
	r = append ? 0 : fs_dax_grow(fs, q->n, h->fd, in->offset);
	if (r < 0)
		return r;
	if (h->append != append && h->uses)
		fs->drain(fs->answer_arg);
	r = set_append(h, append);
	if (r < 0)
		return r;
	h->wrote = true;
	q->x = (struct fs_xfer){ .kind = FS_X_WRITE,
		.fd = h->fd,
		.keep_bits = !(in->write_flags & FUSE_WRITE_KILL_SUIDGID),
		.at_once = h->direct,
		.off = in->offset,
		.size = in->size,
		.hand = { h->idx } };
	return FS_XFER;
}

/* Also FSYNCDIR: the handle says what it is. */
int fs_op_fsync(struct fs *fs, struct fs_req *q)
{
	struct fs_handle *h = fs_handle_get(fs, q->n, q->a.fsync.fh);
	bool data = q->a.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC;

	if (!h)
		return -EBADF;
	if (h->fd < 0)
		return q->n->flags & FS_N_VIRT ? 0 : -ESTALE;
	q->x = (struct fs_xfer){
		.kind = data ? FS_X_DATASYNC : FS_X_SYNC, .fd = h->fd, .hand = { h->idx }
	};
	return FS_XFER;
}

int fs_op_syncfs(struct fs *fs, struct fs_req *q)
{
	int fd, dfd;

	if (q->n->flags & FS_N_VIRT)
		return 0;
	dfd = fs_dir_fd(fs, q->n);
	if (dfd < 0)
		return dfd;
	fd = fs_openat(fs, dfd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	q->x = (struct fs_xfer){ .kind = FS_X_SYNCFS, .fd = fd, .own_fd = true };
	return FS_XFER;
}

int fs_op_lseek(struct fs *fs, struct fs_req *q)
{
	const struct fuse_lseek_in *in = &q->a.lseek;
	struct fuse_lseek_out o = { 0 };
	struct fs_handle *h;
	off_t off;
	int r = file_of(fs, q, in->fh, &h);

	if (r < 0)
		return r;
	if (h->kind == FS_H_VIRT) {
		r = fs_virt_lseek(fs, q, &o.offset);
		return r < 0 ? r : iobuf_push(&q->wr, &o, sizeof(o));
	}
	/* The fd's own position means nothing here, so it may move. What is below 0 the host names
	 * as it does for its own. */
	off = lseek(h->fd, (off_t)in->offset, (int)in->whence);
	if (off < 0)
		return -errno;
	o.offset = (uint64_t)off;
	return iobuf_push(&q->wr, &o, sizeof(o));
}

int fs_op_fallocate(struct fs *fs, struct fs_req *q)
{
	const struct fuse_fallocate_in *in = &q->a.fallocate;
	const uint32_t known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
	struct fs_handle *h;
	int r = file_of(fs, q, in->fh, &h);

	if (r < 0)
		return r;
	if (h->kind == FS_H_VIRT)
		return -EBADF;
	if (in->mode & ~known)
		return -EOPNOTSUPP;
	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EINVAL;
	if (!(in->mode & FALLOC_FL_KEEP_SIZE)) {
		r = fs_dax_grow(fs, q->n, h->fd, in->offset);
		if (r < 0)
			return r;
	}
	fs_cred_fsetid(!q->h.uid);
	h->wrote = true;
	do
		r = fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return in->mode & FALLOC_FL_PUNCH_HOLE
		? fs_dax_punched(fs, q->n, h->fd, in->offset, in->length)
		: 0;
}

int fs_op_copy(struct fs *fs, struct fs_req *q)
{
	const struct fuse_copy_file_range_in *in = &q->a.copy;
	struct fs_handle *from, *to;
	int r = file_of(fs, q, in->fh_in, &from);

	if (r < 0)
		return r;
	to = fs_handle_get(fs, fs_node_get(fs, in->nodeid_out), in->fh_out);
	if (!to || to->kind != FS_H_FILE || to->fd < 0)
		return -EBADF;
	/* The guest copies by itself then. */
	if (from->kind == FS_H_VIRT || fs_dax_stores(fs, q->n) ||
		fs_dax_stores(fs, fs_node_at(fs, to->node)))
		return -EXDEV;
	if (in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	/* A guest copies only to what is not for appending, as the file is now (F_SETFL). */
	if (to->append && to->uses)
		fs->drain(fs->answer_arg);
	r = set_append(to, false);
	if (r < 0)
		return r;
	to->wrote = true;
	q->x = (struct fs_xfer){ .kind = FS_X_COPY,
		.fd = from->fd,
		.to = to->fd,
		.keep_bits = !q->h.uid,
		.off = in->off_in,
		.to_off = in->off_out,
		.size = MIN(in->len, (uint64_t)FS_COPY_MAX),
		.hand = { from->idx, to->idx } };
	return FS_XFER;
}
