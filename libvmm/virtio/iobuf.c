// SPDX-License-Identifier: Apache-2.0
/* A cursor over the bytes of a descriptor chain: copies by hand, and moves by the kernel. */
/*
 * How it works
 *
 * The cursor is (iov, cnt, off): entries from iov[0] on, of which off bytes are consumed; `left`
 * limits it, so that two cursors made by iobuf_take() can share an entry. The vector itself is not
 * changed by advancing. A system call needs one that begins and ends in the middle of entries:
 * iobuf_trim() changes the first and the last in place and iobuf_untrim() puts them back, which
 * costs no copy of the vector.
 */
/* #syscalls:io getrandom */
/* #syscalls:io,fs,blk preadv2 pwritev2 readv writev */
/* #syscalls:net readv writev recvmsg sendmsg */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "virtio/iobuf.h"

void iobuf_init(struct iobuf *b, struct iovec *iov, unsigned cnt)
{
	*b = (struct iobuf){ .iov = iov, .cnt = cnt };
	for (unsigned i = 0; i < cnt; i++)
		b->left += iov[i].iov_len;
}

static void iobuf_advance(struct iobuf *b, size_t n)
{
	b->left -= n;
	b->done += n;
	while (n) {
		size_t here = b->iov[0].iov_len - b->off;

		if (n < here) {
			b->off += n;
			return;
		}
		n -= here;
		b->off = 0;
		b->iov++;
		b->cnt--;
	}
}

/* What one entry of a cursor's walk offers. */
struct iobuf_seg {
	uint8_t *p;
	size_t n;
};

/* Entry @i counted from the current one, at most @want bytes of it; n is 0 past the end. */
static struct iobuf_seg iobuf_seg(const struct iobuf *b, unsigned i, size_t want)
{
	size_t off = i ? 0 : b->off;
	struct iobuf_seg s = { 0 };

	if (i < b->cnt) {
		s.p = (uint8_t *)b->iov[i].iov_base + off;
		s.n = MIN(b->iov[i].iov_len - off, want);
	}
	return s;
}

/* How many of the next @n bytes come before the first that lies in a window. @n <= left. */
static size_t iobuf_plain(const struct iobuf *b, size_t n)
{
	size_t sum = 0;

	if (!b->win)
		return n;
	for (unsigned i = 0; sum < n; i++) {
		struct iobuf_seg s = iobuf_seg(b, i, n - sum);

		if (!s.p || mem_in_window(b->win, s.p))
			break;
		sum += s.n;
	}
	return sum;
}

size_t iobuf_peek(const struct iobuf *b, void *dst, size_t n)
{
	uint8_t *d = dst;
	size_t sum = 0;

	n = iobuf_plain(b, MIN(n, b->left));
	for (unsigned i = 0; sum < n; i++) {
		struct iobuf_seg s = iobuf_seg(b, i, n - sum);

		memcpy(d + sum, s.p, s.n);
		sum += s.n;
	}
	return n;
}

int iobuf_pull(struct iobuf *b, void *dst, size_t n)
{
	if (n > b->left)
		return -ENODATA;
	if (iobuf_plain(b, n) != n)
		return -EFAULT;
	(void)iobuf_peek(b, dst, n);
	iobuf_advance(b, n);
	return 0;
}

int iobuf_push(struct iobuf *b, const void *src, size_t n)
{
	const uint8_t *p = src;
	size_t sum = 0;

	if (n > b->left)
		return -ENOSPC;
	if (iobuf_plain(b, n) != n)
		return -EFAULT;
	for (unsigned i = 0; sum < n; i++) {
		struct iobuf_seg s = iobuf_seg(b, i, n - sum);

		memcpy(s.p, p + sum, s.n);
		sum += s.n;
	}
	iobuf_advance(b, n);
	return 0;
}

int iobuf_skip(struct iobuf *b, size_t n)
{
	if (n > b->left)
		return -ENODATA;
	iobuf_advance(b, n);
	return 0;
}

int iobuf_keep(const struct iobuf *b, struct iobuf *out, struct iovec *kept, unsigned max)
{
	unsigned n = 0;

	for (size_t sum = 0; sum < b->left; n++) {
		struct iobuf_seg s = iobuf_seg(b, n, b->left - sum);

		if (n == max || !s.n)
			return -E2BIG;
		kept[n] = (struct iovec){ s.p, s.n };
		sum += s.n;
	}
	*out = (struct iobuf){ .iov = kept, .cnt = n, .left = b->left, .win = b->win };
	return 0;
}

int iobuf_take(struct iobuf *b, size_t n, struct iobuf *head)
{
	if (n > b->left)
		return -ENODATA;
	*head = *b;
	head->left = n;
	head->done = 0;
	iobuf_advance(b, n);
	/* The entry of the split belongs to both. */
	head->cnt -= b->cnt - (b->off ? 1 : 0);
	return 0;
}

struct iobuf_trim {
	unsigned cnt;		  /* entries of the trimmed vector */
	size_t n;		  /* bytes that it describes */
	struct iovec first, last; /* as they were */
};

/* Makes iov[0..cnt) describe the next @n bytes, or as many as one system call takes. */
static struct iobuf_trim iobuf_trim(struct iobuf *b, size_t n)
{
	struct iobuf_trim t = { 0 };
	size_t len;

	n = MIN(n, b->left);
	if (!n)
		return t;
	for (; t.n < n && t.cnt < MIN(b->cnt, (unsigned)IOV_MAX); t.cnt++)
		t.n += b->iov[t.cnt].iov_len - (t.cnt ? 0 : b->off);
	t.first = b->iov[0];
	t.last = b->iov[t.cnt - 1];
	len = b->iov[t.cnt - 1].iov_len;
	if (t.n > n) {
		b->iov[t.cnt - 1].iov_len = len - (t.n - n);
		t.n = n;
	}
	b->iov[0].iov_base = (uint8_t *)b->iov[0].iov_base + b->off;
	b->iov[0].iov_len -= b->off;
	return t;
}

/* Puts the vector back and advances by what the system call said; returns that, or -errno. */
static ssize_t iobuf_untrim(struct iobuf *b, const struct iobuf_trim *t, ssize_t r)
{
	if (r < 0)
		r = -errno;
	b->iov[t->cnt - 1] = t->last;
	b->iov[0] = t->first;
	if (r > 0)
		iobuf_advance(b, (size_t)r);
	return r;
}

ssize_t iobuf_read_fd(struct iobuf *b, int fd, size_t n, off_t off)
{
	struct iobuf_trim t = iobuf_trim(b, n);

	if (!t.n)
		return 0;
	return iobuf_untrim(b, &t,
		off < 0 ? readv(fd, b->iov, (int)t.cnt) : preadv(fd, b->iov, (int)t.cnt, off));
}

ssize_t iobuf_read_cached(struct iobuf *b, int fd, size_t n, off_t off)
{
	struct iobuf_trim t = iobuf_trim(b, n);

	if (!t.n)
		return 0;
	return iobuf_untrim(b, &t, preadv2(fd, b->iov, (int)t.cnt, off, RWF_NOWAIT));
}

ssize_t iobuf_write_fd(struct iobuf *b, int fd, size_t n, off_t off)
{
	struct iobuf_trim t = iobuf_trim(b, n);

	if (!t.n)
		return 0;
	return iobuf_untrim(b, &t,
		off < 0 ? writev(fd, b->iov, (int)t.cnt) : pwritev(fd, b->iov, (int)t.cnt, off));
}

void iobuf_begin(struct iobuf *b, size_t n, struct iobuf_async *a)
{
	struct iobuf_trim t = iobuf_trim(b, n);

	*a = (struct iobuf_async){
		.iov = b->iov, .cnt = t.cnt, .n = t.n, .first = t.first, .last = t.last
	};
}

ssize_t iobuf_end(struct iobuf *b, const struct iobuf_async *a, ssize_t r)
{
	b->iov[a->cnt - 1] = a->last;
	b->iov[0] = a->first;
	if (r > 0)
		iobuf_advance(b, MIN((size_t)r, a->n));
	return r;
}

ssize_t iobuf_recv(struct iobuf *b, int fd, size_t n, int flags)
{
	struct iobuf_trim t = iobuf_trim(b, n);
	struct msghdr msg = { .msg_iov = b->iov, .msg_iovlen = t.cnt };

	return t.n ? iobuf_untrim(b, &t, recvmsg(fd, &msg, flags)) : 0;
}

ssize_t iobuf_send(struct iobuf *b, int fd, size_t n, int flags)
{
	struct iobuf_trim t = iobuf_trim(b, n);
	struct msghdr msg = { .msg_iov = b->iov, .msg_iovlen = t.cnt };

	return t.n ? iobuf_untrim(b, &t, sendmsg(fd, &msg, flags)) : 0;
}

/* Copies the vector of what is left into @v; the number of entries, or -1: more than IOBUF_MSG_IOV.
 */
static int iobuf_vector(const struct iobuf *b, struct iovec *v)
{
	size_t sum = 0;
	int n = 0;

	for (unsigned i = 0; sum < b->left; i++) {
		struct iobuf_seg s = iobuf_seg(b, i, b->left - sum);

		if (n == IOBUF_MSG_IOV)
			return -1;
		v[n++] = (struct iovec){ .iov_base = s.p, .iov_len = s.n };
		sum += s.n;
	}
	return n;
}

ssize_t iobuf_after(struct iobuf *b, int fd, const void *head, size_t n, int flags)
{
	struct iovec v[IOBUF_MSG_IOV + 1] = { { .iov_base = (void *)(uintptr_t)head,
		.iov_len = n } };
	int cnt = iobuf_vector(b, v + 1);
	struct msghdr m = { .msg_iov = v, .msg_iovlen = (size_t)cnt + 1 };
	ssize_t r;

	if (cnt < 0)
		return -E2BIG;
	r = flags < 0 ? writev(fd, v, cnt + 1) : sendmsg(fd, &m, flags);
	if (r < 0)
		return -errno;
	if ((size_t)r > n)
		iobuf_advance(b, MIN((size_t)r - n, b->left));
	return r;
}

ssize_t iobuf_sendmsg(struct iobuf *b, int fd, struct msghdr *m, int flags)
{
	struct iovec v[IOBUF_MSG_IOV];
	int n = iobuf_vector(b, v);
	ssize_t r;

	if (n < 0)
		return -EMSGSIZE;
	m->msg_iov = v;
	m->msg_iovlen = (size_t)n;
	r = sendmsg(fd, m, flags);
	if (r < 0)
		return -errno;
	iobuf_advance(b, MIN((size_t)r, b->left));
	return r;
}

ssize_t iobuf_recvmsg(
	struct iobuf *b, int fd, struct msghdr *m, const struct iovec *tail, int flags)
{
	struct iovec v[IOBUF_MSG_IOV + 1];
	int n = iobuf_vector(b, v);
	ssize_t r;

	if (n < 0)
		return -E2BIG;
	v[n++] = *tail;
	m->msg_iov = v;
	m->msg_iovlen = (size_t)n;
	r = recvmsg(fd, m, flags);
	if (r < 0)
		return -errno;
	iobuf_advance(b, MIN((size_t)r, b->left));
	return r;
}

int iobuf_discard(struct iobuf *b, struct mem *m)
{
	while (b->left) {
		struct iobuf_seg s = iobuf_seg(b, 0, b->left);
		int r = mem_discard_iov(m, s.p, s.n);

		if (r)
			return r;
		iobuf_advance(b, s.n);
	}
	return 0;
}

size_t iobuf_zero(struct iobuf *b, size_t n)
{
	size_t sum = 0;

	n = iobuf_plain(b, MIN(n, b->left));
	for (unsigned i = 0; sum < n; i++) {
		struct iobuf_seg s = iobuf_seg(b, i, n - sum);

		memset(s.p, 0, s.n);
		sum += s.n;
	}
	iobuf_advance(b, n);
	return n;
}

ssize_t iobuf_random(struct iobuf *b, size_t n)
{
	size_t sum = 0;

	n = MIN(n, b->left);
	while (sum < n) {
		struct iobuf_seg s = iobuf_seg(b, 0, n - sum);
		ssize_t r = getrandom(s.p, s.n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return sum ? (ssize_t)sum : -errno;
		iobuf_advance(b, (size_t)r);
		sum += (size_t)r;
	}
	return (ssize_t)sum;
}
