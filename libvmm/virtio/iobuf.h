/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor over the bytes of a descriptor chain.
 *
 * vq_pop() makes two: rd over what the driver wrote, wr over what we may write. Headers are pulled
 * into locals and replies pushed from them, whole or not at all; payload moves by
 * iobuf_readv()/iobuf_writev() straight between guest memory and an fd. Device code never sees an
 * iov_base.
 *
 * Payload may lie in a DAX window, whose pages can be missing: only the kernel may touch it on our
 * behalf. So everything here that copies by hand (pull, push, peek, zero) stops at a window with
 * -EFAULT or a short count, and what goes through a system call (read_fd, write_fd, recv, send,
 * random) works there and passes EFAULT on.
 */
#ifndef KRUN_VIRTIO_IOBUF_H
#define KRUN_VIRTIO_IOBUF_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/mem.h"
#include "util/util.h"

struct iobuf {
	struct iovec *iov; /* borrowed from the queue; changed during a call and put back */
	unsigned cnt;	   /* entries left, iov[0] being the current one */
	size_t off;	   /* bytes of iov[0] already consumed */
	size_t left;	   /* bytes left in all */
	size_t done;	   /* bytes consumed so far */
	const struct mem
		*win; /* set when the vector may point into windows of this memory, else NULL */
};

/* No entry is empty. */
void iobuf_init(struct iobuf *b, struct iovec *iov, unsigned cnt);

/* Copy exactly @n bytes and advance; -ENODATA/-ENOSPC when fewer are left, -EFAULT in a window:
 * nothing has moved then. */
int iobuf_pull(struct iobuf *b, void *dst, size_t n) NODISCARD;
int iobuf_push(struct iobuf *b, const void *src, size_t n) NODISCARD;
/* Copies up to @n bytes without advancing; returns how many (fewer before a window). */
size_t iobuf_peek(const struct iobuf *b, void *dst, size_t n);
/* Advances by @n; -ENODATA when fewer are left. */
int iobuf_skip(struct iobuf *b, size_t n) NODISCARD;
/* Splits: *head gets the next @n bytes, @b keeps the rest. Both share the vector; at the split one
 * entry may be used by both. -ENODATA. */
int iobuf_take(struct iobuf *b, size_t n, struct iobuf *head) NODISCARD;
/* A cursor over the same bytes that outlives the request's vector: @kept is its own, of @max
 * entries. -E2BIG. */
int iobuf_keep(
	const struct iobuf *b, struct iobuf *out, struct iovec *kept, unsigned max) NODISCARD;

/*
 * Move up to @n bytes between guest memory and @fd, advancing by what moved. off < 0: readv/writev
 * at the file's own position, else preadv/pwritev. Returns bytes or -errno; partial counts are
 * normal, 0 is end of file (reading). EFAULT (a DAX page that is gone) is returned as is. At most
 * IOV_MAX entries go into one call.
 */
ssize_t iobuf_read_fd(struct iobuf *b, int fd, size_t n, off_t off);  /* fd -> guest */
ssize_t iobuf_write_fd(struct iobuf *b, int fd, size_t n, off_t off); /* guest -> fd */
/* As iobuf_read_fd(), without waiting for a disk: -EAGAIN, and -EOPNOTSUPP where the kernel cannot
 * tell. Short also before what would have waited. */
ssize_t iobuf_read_cached(struct iobuf *b, int fd, size_t n, off_t off);
/*
 * For a call that ends later. begin makes the vector describe up to @n of the next bytes and says
 * where it is; until end, which puts it back and advances by what moved (@r: bytes or -errno,
 * returned as is), nobody else uses @b or a cursor that shares its vector (so: one of
 * iobuf_keep()).
 */
struct iobuf_async {
	struct iovec *iov;
	unsigned cnt; /* entries; 0: there is nothing to move */
	size_t n;     /* bytes that they describe */
	struct iovec first, last;
};
void iobuf_begin(struct iobuf *b, size_t n, struct iobuf_async *a);
ssize_t iobuf_end(struct iobuf *b, const struct iobuf_async *a, ssize_t r);
/* The same over sockets, with MSG_ flags (MSG_DONTWAIT, MSG_NOSIGNAL). */
ssize_t iobuf_recv(struct iobuf *b, int fd, size_t n, int flags);
ssize_t iobuf_send(struct iobuf *b, int fd, size_t n, int flags);
/*
 * The @n bytes of @head and what is left of @b in one call: writev(), or with @flags >= 0
 * sendmsg(). Returns what has moved of both, or -errno; @b advances by what is its own. -E2BIG:
 * over IOBUF_MSG_IOV pieces.
 */
ssize_t iobuf_after(struct iobuf *b, int fd, const void *head, size_t n, int flags);
/*
 * One message with all that belongs to it: @m has name and control set, and its flags afterwards.
 * All that is left of @b is the message to send, also when that is nothing. What is received goes
 * into @b and then, when more comes than fits, into @tail; the count is of both. Both take buffers
 * of at most IOBUF_MSG_IOV pieces (-EMSGSIZE, -E2BIG).
 */
#define IOBUF_MSG_IOV 32
ssize_t iobuf_sendmsg(struct iobuf *b, int fd, struct msghdr *m, int flags);
ssize_t iobuf_recvmsg(
	struct iobuf *b, int fd, struct msghdr *m, const struct iovec *tail, int flags);
/* All that is left is given back to the host: the whole pages in it read as zeroes afterwards
 * (those of a file, MEM_FILE, as it has them). @m is the memory that it lies in. -EFAULT in a
 * window. */
int iobuf_discard(struct iobuf *b, struct mem *m);
/* Fills with zeroes (short before a window) / with getrandom(2) (short, or -errno when nothing was
 * done); returns bytes done. */
size_t iobuf_zero(struct iobuf *b, size_t n);
ssize_t iobuf_random(struct iobuf *b, size_t n);

#endif
