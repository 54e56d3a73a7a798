// SPDX-License-Identifier: Apache-2.0
// Host fds that never block the loop, and the bytes that wait for them.
//
// How it works
//
// The flags of a file description belong to everybody who holds it, so O_NONBLOCK cannot be set on
// what we inherit. Sockets take a flag for each call. Pipes and terminals are opened anew through
// /proc/self/fd, which makes a description that is ours alone. That name is looked up in a tree
// that may be an image's: the directory must be procfs and what comes back must be the same inode,
// else it is not used. A pty master is never opened anew (that would make another pty). What is
// left is asked with RWF_NOWAIT, and files whose drivers know nothing of it are polled before each
// call.

/* #syscalls:io read readv write writev preadv2 pwritev2 recvmsg sendmsg shutdown poll close */
/* #syscalls:main openat fcntl:F_GETFL fstatfs close */
/* #syscalls:main,io fstat newfstatat ioctl:TCGETS */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/hostfd.h"
#include "util/cleanup.h"
#include "virtio/iobuf_nowait.h"

#define PTY_SLAVE_MAJOR	    136
#define PTY_SLAVE_MAJOR_END 143
#define TTY_WRITE_MAX	    256 /* what a terminal that polls writable has room for */

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_rdev == b->st_rdev &&
		(a->st_mode & S_IFMT) == (b->st_mode & S_IFMT);
}

static bool reopenable(const struct stat *st)
{
	if (S_ISFIFO(st->st_mode))
		return true;
	return S_ISCHR(st->st_mode) && major(st->st_rdev) >= PTY_SLAVE_MAJOR &&
		major(st->st_rdev) <= PTY_SLAVE_MAJOR_END;
}

/* A non-blocking description of what @fd is open on, or -1. */
static int reopen(int fd, const struct stat *st)
{
	CLEAN_FD int dir = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int flags = fcntl(fd, F_GETFL);
	struct statfs fs;
	struct stat got;
	char name[16];

	if (dir < 0 || flags < 0 || fstatfs(dir, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
		return -1;
	(void)snprintf(name, sizeof(name), "%d", fd);

	CLEAN_FD int own = openat(
		dir, name, (flags & (O_ACCMODE | O_DIRECT)) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (own < 0 || fstat(own, &got) < 0 || !same_file(st, &got))
		return -1;
	return TAKE_FD(own);
}

void hostfd_open(struct hostfd *h, int fd)
{
	struct stat st;
	int own;

	memset(h, 0, sizeof(*h));
	h->fd = fd;
	h->src.fd = -1;
	h->kind = HOSTFD_NOWAIT;
	h->pollable = true;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (S_ISSOCK(st.st_mode)) {
		h->kind = HOSTFD_SOCK;
	} else if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		h->kind = HOSTFD_FILE;
		h->pollable = false;
	} else if (reopenable(&st)) {
		own = reopen(fd, &st);
		if (own < 0) {
			own = fcntl(fd, F_GETFL);
			if (own >= 0 && own & O_NONBLOCK)
				h->kind = HOSTFD_OWN;
			return;
		}
		(void)close(fd);
		h->fd = own;
		h->kind = HOSTFD_OWN;
	}
}

void hostfd_bind(struct hostfd *h, struct loop *l, const char *name, loop_fn *fn, void *arg)
{
	h->loop = l;
	h->src = (struct loop_src){ .fd = h->fd, .name = name, .fn = fn, .arg = arg };
}

int hostfd_watch(struct hostfd *h, uint32_t events)
{
	int ret;

	if (!hostfd_is_open(h))
		return -EBADF;
	if (!h->pollable)
		return -EPERM;
	if (events == h->events)
		return 0;
	if (!events) {
		/* Hang-ups are reported whatever is asked for: only absence is silence. */
		loop_del(h->loop, &h->src);
		h->events = 0;
		return 0;
	}
	ret = h->events ? loop_mod(h->loop, &h->src, events) : loop_add(h->loop, &h->src, events);
	if (ret < 0) {
		h->pollable = ret != -EPERM;
		return ret;
	}
	h->events = events;
	return 0;
}

void hostfd_close(struct hostfd *h)
{
	if (!hostfd_is_open(h))
		return;
	if (h->events)
		loop_del(h->loop, &h->src);
	(void)close(h->fd);
	h->fd = -1;
	h->events = 0;
}

static bool ready_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

static ssize_t quiet(ssize_t r)
{
	return r == -EINTR || r == -EWOULDBLOCK ? -EAGAIN : r;
}

ssize_t hostfd_read(struct hostfd *h, struct iobuf *b, size_t n)
{
	ssize_t r;

	if (!hostfd_is_open(h))
		return 0;
	switch (h->kind) {
	case HOSTFD_SOCK:
		return quiet(iobuf_recv(b, h->fd, n, MSG_DONTWAIT));
	case HOSTFD_FILE:
	case HOSTFD_OWN:
		return quiet(iobuf_read_fd(b, h->fd, n, -1));
	case HOSTFD_NOWAIT:
		r = iobuf_read_nowait(b, h->fd, n);
		if (r != -EOPNOTSUPP && r != -EINVAL && r != -ENOSYS)
			return quiet(r);
		h->kind = HOSTFD_POLL;
		break;
	case HOSTFD_POLL:
		break;
	}
	if (!ready_now(h->fd, POLLIN))
		return -EAGAIN;
	return quiet(iobuf_read_fd(b, h->fd, n, -1));
}

ssize_t hostfd_write(struct hostfd *h, struct iobuf *b, size_t n)
{
	ssize_t r;

	if (!hostfd_is_open(h))
		return -EPIPE;
	switch (h->kind) {
	case HOSTFD_SOCK:
		return quiet(iobuf_send(b, h->fd, n, MSG_DONTWAIT | MSG_NOSIGNAL));
	case HOSTFD_FILE:
	case HOSTFD_OWN:
		return quiet(iobuf_write_fd(b, h->fd, n, -1));
	case HOSTFD_NOWAIT:
		r = iobuf_write_nowait(b, h->fd, n);
		if (r != -EOPNOTSUPP && r != -EINVAL && r != -ENOSYS)
			return quiet(r);
		h->kind = HOSTFD_POLL;
		break;
	case HOSTFD_POLL:
		break;
	}
	if (!ready_now(h->fd, POLLOUT))
		return -EAGAIN;
	return quiet(
		iobuf_write_fd(b, h->fd, MIN(n, isatty(h->fd) ? TTY_WRITE_MAX : PIPE_BUF), -1));
}

void hostfd_shutdown(const struct hostfd *h, int how)
{
	if (hostfd_is_open(h) && h->kind == HOSTFD_SOCK)
		(void)shutdown(h->fd, how);
}

/* ---- bytes that wait ---- */

static void hostbuf_cut(struct hostbuf *b, uint32_t len)
{
	b->len = len;
	if (!len)
		hostbuf_drop(b);
}

int hostbuf_put(struct hostbuf *b, uint32_t cap, struct iobuf *src, size_t n)
{
	const uint32_t was = b->len;

	if (n > src->left)
		return -ENODATA;
	if (n > cap - b->len)
		return -ENOSPC;
	if (!b->p) {
		b->p = malloc(cap);
		if (!b->p)
			return -ENOMEM;
		b->cap = cap;
		b->head = 0;
	}
	while (n) {
		uint32_t tail = (b->head + b->len) % b->cap;
		size_t here = MIN(n, (size_t)(b->cap - tail));
		int ret = iobuf_pull(src, b->p + tail, here);

		if (ret < 0) {
			/* all or nothing: who counts what waits has not counted the first part */
			hostbuf_cut(b, was);
			return ret;
		}
		b->len += (uint32_t)here;
		n -= here;
	}
	return 0;
}

static void hostbuf_advance(struct hostbuf *b, size_t n)
{
	b->head = (uint32_t)((b->head + n) % b->cap);
	hostbuf_cut(b, b->len - (uint32_t)n);
}

ssize_t hostbuf_drain(struct hostbuf *b, struct hostfd *h)
{
	ssize_t total = 0;

	while (b->len) {
		uint32_t first = MIN(b->len, b->cap - b->head);
		struct iovec iov[2] = {
			{ .iov_base = b->p + b->head, .iov_len = first },
			{ .iov_base = b->p, .iov_len = b->len - first },
		};
		struct iobuf src;
		ssize_t r;

		iobuf_init(&src, iov, iov[1].iov_len ? 2 : 1);
		r = hostfd_write(h, &src, b->len);
		if (r == 0)
			r = -EIO;
		if (r < 0)
			return total && r == -EAGAIN ? total : r;
		total += r;
		hostbuf_advance(b, (size_t)r);
	}
	return total;
}

void hostbuf_drop(struct hostbuf *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}

void hostbuf_save(const struct hostbuf *b, struct save_out *s)
{
	uint32_t first = MIN(b->len, b->cap - b->head);

	save_u32(s, b->len);
	if (b->len) {
		save_bytes(s, b->p + b->head, first);
		save_bytes(s, b->p, b->len - first);
	}
}

void hostbuf_load(struct hostbuf *b, uint32_t cap, struct save_in *s)
{
	size_t n;
	const uint8_t *p = load_blob(s, cap, &n);

	if (!p || !n)
		return;
	b->p = malloc(cap);
	if (!b->p) {
		s->err = -ENOMEM;
		return;
	}
	memcpy(b->p, p, n);
	b->cap = cap;
	b->len = (uint32_t)n;
}
