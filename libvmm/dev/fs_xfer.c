// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: what is done to open files alone, by the serving thread or a worker. */
/*
 * How it works
 *
 * READ and WRITE move between guest memory and the file in one system call each, uncopied, unless
 * the guest's buffers are more pieces than one call takes. An error after some bytes is a short
 * reply: the guest asks again and meets it then.
 *
 * Set-id bits fall when an ordinary user writes. The guest says when that is so, and
 * fs_cred_fsetid() makes the host's kernel do it, in the call that writes. What a guest can make
 * long (FS_COPY_MAX, LIM_FS_IO) is bounded.
 */
/* #syscalls:fs preadv pwritev pwrite64 fsync fdatasync syncfs copy_file_range close */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/cleanup.h"

#define AT_ONCE_MAX (64U << 10) /* more is not written to such files by one call */

static int do_read(struct fs_req *q)
{
	struct fs_xfer *x = &q->x;

	while (x->size) {
		bool whole = q->wr.cnt <= IOV_MAX;
		ssize_t n = iobuf_read_fd(&q->wr, x->fd, x->size, (off_t)x->off);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return q->wr.done ? 0 : (int)n;
		x->off += (size_t)n;
		x->size -= (size_t)n;
		/* Short of a vector that went whole into the call is the end of the file. */
		if (!n || whole)
			break;
	}
	return 0;
}

/* The kernel's own files take what they get by one call as one thing: in one piece, then. */
static int write_at_once(struct fs_req *q)
{
	struct fs_xfer *x = &q->x;
	CLEAN_FREE uint8_t *copy = malloc(x->size);
	struct fuse_write_out o = { 0 };
	ssize_t n;
	int r = copy ? iobuf_pull(&q->rd, copy, x->size) : -ENOMEM;

	if (r < 0)
		return r;
	do
		n = pwrite(x->fd, copy, x->size, (off_t)x->off);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	o.size = (uint32_t)n;
	return iobuf_push(&q->wr, &o, sizeof(o));
}

static int do_write(struct fs_req *q)
{
	struct fuse_write_out o = { 0 };
	struct fs_xfer *x = &q->x;

	fs_cred_fsetid(x->keep_bits);
	if (x->at_once && q->rd.cnt > 1 && x->size <= AT_ONCE_MAX)
		return write_at_once(q);
	while (o.size < x->size) {
		ssize_t n =
			iobuf_write_fd(&q->rd, x->fd, x->size - o.size, (off_t)(x->off + o.size));

		if (n == -EINTR)
			continue;
		if (n <= 0) {
			if (!o.size && n < 0)
				return (int)n;
			break;
		}
		o.size += (uint32_t)n;
	}
	return iobuf_push(&q->wr, &o, sizeof(o));
}

static int do_copy(struct fs_req *q)
{
	struct fs_xfer *x = &q->x;
	struct fuse_write_out o = { 0 };
	loff_t from = (loff_t)x->off, to = (loff_t)x->to_off;
	ssize_t n;

	fs_cred_fsetid(x->keep_bits);
	n = copy_file_range(x->fd, &from, x->to, &to, x->size, 0);
	if (n < 0)
		return -errno;
	o.size = (uint32_t)n;
	return iobuf_push(&q->wr, &o, sizeof(o));
}

int fs_xfer_do(struct fs_req *q)
{
	int r = 0;

	switch (q->x.kind) {
	case FS_X_READ:
		return do_read(q);
	case FS_X_WRITE:
		return do_write(q);
	case FS_X_COPY:
		return do_copy(q);
	case FS_X_SYNC:
		r = fsync(q->x.fd);
		break;
	case FS_X_DATASYNC:
		r = fdatasync(q->x.fd);
		break;
	case FS_X_SYNCFS:
		r = syncfs(q->x.fd);
		break;
	}
	if (r < 0)
		r = -errno;
	if (q->x.own_fd)
		(void)close(q->x.fd);
	return r;
}

uint32_t fs_xfer_run(struct fs_req *q)
{
	int r = fs_xfer_do(q);

	return fs_reply(&q->head, q->h.unique, r, q->wr.done);
}

void fs_xfer_held(struct fs *fs, struct fs_req *q)
{
	for (unsigned i = 0; i < ARRAY_SIZE(q->x.hand); i++)
		if (q->x.hand[i])
			fs_handle_at(fs, q->x.hand[i])->uses++;
}

void fs_xfer_done(struct fs *fs, struct fs_req *q)
{
	fs_dax_done(fs, &q->x, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(q->x.hand); i++)
		if (q->x.hand[i])
			fs_handle_at(fs, q->x.hand[i])->uses--;
}
