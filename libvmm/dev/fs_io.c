// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: data. */
/*
 * How it works
 *
 * READ and WRITE move between guest memory and the file in one system call each, uncopied, unless
 * the guest's buffers are more pieces than one call takes. An error after some bytes is a short
 * reply: the guest asks again and meets it then.
 *
 * O_APPEND is the host's to do, or two guests would overwrite each other's lines; but pages written
 * back from a mapping go to their own place even through a handle opened for appending. The flag of
 * the host's fd follows what each request asks for.
 *
 * Set-id bits fall when an ordinary user writes. The guest says when that is so, and
 * fs_cred_fsetid() makes the host's kernel do it, in the call that writes. For FALLOCATE and
 * COPY_FILE_RANGE the wire has no word for it: there anybody but uid 0 is an ordinary user. The
 * queue waits while a request is served, so what a guest can make long (FS_COPY_MAX, LIM_FS_IO) is
 * bounded.
 */
/* #syscalls:fs preadv pwritev fcntl fsync fdatasync syncfs lseek fallocate copy_file_range openat
 * close */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/cleanup.h"

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

static int read_virt(const struct fs *fs, struct fs_req *q, size_t n)
{
	uint64_t off = MIN(q->a.read.offset, fs->virt_len);

	n = MIN(n, fs->virt_len - off);
	return n ? iobuf_push(&q->wr, fs->virt_data + off, n) : 0;
}

int fs_op_read(struct fs *fs, struct fs_req *q)
{
	const struct fuse_read_in *in = &q->a.read;
	size_t want = MIN(MIN(in->size, (uint32_t)LIM_FS_IO), q->wr.left), done = 0;
	struct fs_handle *h;
	int r = file_of(fs, q, in->fh, &h);

	if (r < 0)
		return r;
	if (in->offset > INT64_MAX - LIM_FS_IO)
		return -EINVAL;
	if (h->kind == FS_H_VIRT)
		return read_virt(fs, q, want);
	while (done < want) {
		bool whole = q->wr.cnt <= IOV_MAX;
		ssize_t n = iobuf_read_fd(&q->wr, h->fd, want - done, (off_t)(in->offset + done));

		if (n == -EINTR)
			continue;
		if (n < 0)
			return done ? 0 : (int)n;
		done += (size_t)n;
		/* Short of a vector that went whole into the call is the end of the file. */
		if (!n || whole)
			break;
	}
	return 0;
}

static int set_append(struct fs_handle *h, bool on)
{
	int f = (h->flags & ~O_APPEND) | (on ? O_APPEND : 0) | O_NONBLOCK;

	if (h->append == on)
		return 0;
	if (fcntl(h->fd, F_SETFL, f & ~O_ACCMODE) < 0)
		return -errno;
	h->append = on;
	return 0;
}

int fs_op_write(struct fs *fs, struct fs_req *q)
{
	const struct fuse_write_in *in = &q->a.write;
	struct fuse_write_out o = { 0 };
	struct fs_handle *h;
	size_t done = 0;
	int r = file_of(fs, q, in->fh, &h);

	if (r < 0)
		return r;
	if (in->size > LIM_FS_IO || in->size > q->rd.left || in->offset > INT64_MAX - LIM_FS_IO)
		return -EINVAL;
	if (h->kind == FS_H_VIRT)
		return -EBADF;
	r = set_append(h, (in->flags & O_APPEND) && !(in->write_flags & FUSE_WRITE_CACHE));
	if (r < 0)
		return r;
	fs_cred_fsetid(fs, !(in->write_flags & FUSE_WRITE_KILL_SUIDGID));
	h->wrote = true;
	while (done < in->size) {
		ssize_t n =
			iobuf_write_fd(&q->rd, h->fd, in->size - done, (off_t)(in->offset + done));

		if (n == -EINTR)
			continue;
		if (n <= 0) {
			if (!done && n < 0)
				return (int)n;
			break;
		}
		done += (size_t)n;
	}
	o.size = (uint32_t)done;
	return iobuf_push(&q->wr, &o, sizeof(o));
}

/* Also FSYNCDIR: the handle says what it is. */
int fs_op_fsync(struct fs *fs, struct fs_req *q)
{
	struct fs_handle *h = fs_handle_get(fs, q->n, q->a.fsync.fh);
	bool data = q->a.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC;

	if (!h)
		return -EBADF;
	if (h->fd < 0)
		return h->kind == FS_H_VIRT ? 0 : -ESTALE;
	return (data ? fdatasync(h->fd) : fsync(h->fd)) < 0 ? -errno : 0;
}

int fs_op_syncfs(struct fs *fs, struct fs_req *q)
{
	int dfd = fs_dir_fd(fs, q->n);

	if (dfd < 0)
		return dfd;

	CLEAN_FD int fd = fs_openat(fs, dfd, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return fd;
	return syncfs(fd) < 0 ? -errno : 0;
}

static int lseek_virt(const struct fs *fs, const struct fuse_lseek_in *in, uint64_t *out)
{
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE && in->whence != SEEK_END)
		return -EINVAL;
	if (in->whence != SEEK_END && in->offset >= fs->virt_len)
		return -ENXIO;
	*out = in->whence == SEEK_DATA ? in->offset : fs->virt_len;
	return 0;
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
		r = lseek_virt(fs, in, &o.offset);
		return r < 0 ? r : iobuf_push(&q->wr, &o, sizeof(o));
	}
	if (in->offset > INT64_MAX)
		return -EINVAL;
	/* The fd's own position means nothing here, so it may move. */
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
	fs_cred_fsetid(fs, !q->h.uid);
	h->wrote = true;
	do
		r = fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int fs_op_copy(struct fs *fs, struct fs_req *q)
{
	const struct fuse_copy_file_range_in *in = &q->a.copy;
	struct fs_handle *from, *to;
	struct fuse_write_out o = { 0 };
	loff_t oi, oo;
	ssize_t n;
	int r = file_of(fs, q, in->fh_in, &from);

	if (r < 0)
		return r;
	to = fs_handle_get(fs, fs_node_get(fs, in->nodeid_out), in->fh_out);
	if (!to || to->kind != FS_H_FILE || to->fd < 0)
		return -EBADF;
	/* The guest copies by itself then. */
	if (from->kind == FS_H_VIRT)
		return -EXDEV;
	if (in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	oi = (loff_t)in->off_in;
	oo = (loff_t)in->off_out;
	fs_cred_fsetid(fs, !q->h.uid);
	to->wrote = true;
	n = copy_file_range(
		from->fd, &oi, to->fd, &oo, (size_t)MIN(in->len, (uint64_t)FS_COPY_MAX), 0);
	if (n < 0)
		return -errno;
	o.size = (uint32_t)n;
	return iobuf_push(&q->wr, &o, sizeof(o));
}
