// SPDX-License-Identifier: Apache-2.0
// Non-blocking moves between a descriptor chain and an fd whose flags are not ours to change.

#include <errno.h>
#include <sys/uio.h>

#include "virtio/iobuf_nowait.h"

#define NOWAIT_IOV 64 /* entries of one call: more than a ring of 4 KiB buffers needs */

/* The first @n bytes of @b as a vector of its own, since the caller's entries must stay whole. */
static int nowait_vector(const struct iobuf *b, size_t n, struct iovec *out)
{
	size_t off = b->off;
	int cnt = 0;

	for (unsigned i = 0; i < b->cnt && n && cnt < NOWAIT_IOV; i++) {
		size_t here = MIN(b->iov[i].iov_len - off, n);

		if (here) {
			out[cnt].iov_base = (char *)b->iov[i].iov_base + off;
			out[cnt].iov_len = here;
			cnt++;
		}
		n -= here;
		off = 0;
	}
	return cnt;
}

static ssize_t nowait_done(struct iobuf *b, ssize_t moved)
{
	if (moved < 0)
		return -errno;
	return iobuf_skip(b, (size_t)moved) < 0 ? -EIO : moved;
}

ssize_t iobuf_read_nowait(struct iobuf *b, int fd, size_t n)
{
	struct iovec iov[NOWAIT_IOV];
	int cnt = nowait_vector(b, MIN(n, b->left), iov);

	return nowait_done(b, preadv2(fd, iov, cnt, -1, RWF_NOWAIT));
}

ssize_t iobuf_write_nowait(struct iobuf *b, int fd, size_t n)
{
	struct iovec iov[NOWAIT_IOV];
	int cnt = nowait_vector(b, MIN(n, b->left), iov);

	return nowait_done(b, pwritev2(fd, iov, cnt, -1, RWF_NOWAIT));
}
