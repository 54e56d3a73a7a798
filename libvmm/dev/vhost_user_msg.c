// SPDX-License-Identifier: Apache-2.0
/* vhost-user: one message there and, where there is one, its answer. */
/*
 * How it works
 *
 * The socket is read and written without blocking, and waited for with poll() until the time
 * is over that a whole piece of work has (a start, a reset, a write to config space), so that a
 * back end that neither reads nor answers holds nobody up for longer. The header of an answer is
 * looked at before a byte of what follows is taken. An answer to an earlier question cannot be
 * mistaken for this one's: with the first that is not as it should be, or does not come, the
 * connection ends.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dev/vhost_user.h"
#include "util/cleanup.h"

void vhu_close(struct vhu_conn *c)
{
	if (c->fd >= 0)
		(void)close(TAKE_FD(c->fd));
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void vhu_begin(struct vhu_conn *c)
{
	c->end = now_ms() + c->wait_ms;
}

static int await(const struct vhu_conn *c, short events, int64_t end)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	int64_t left = end - now_ms();
	int n = left > 0 ? poll(&p, 1, (int)left) : 0;

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n ? 0 : -ETIMEDOUT;
}

/* What a call on the socket said: 1 to do it again. */
static int again(const struct vhu_conn *c, short events, int64_t end)
{
	int r;

	if (errno == EINTR)
		return 1;
	if (errno != EAGAIN)
		return errno == ECONNRESET ? -EPIPE : -errno;
	r = await(c, events, end);
	return r ? r : 1;
}

/* The descriptors go with the first byte. */
static int send_all(const struct vhu_conn *c, const uint8_t *p, size_t n, const int *fds,
	unsigned nfds, int64_t end)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int) * VHU_REGIONS)];
	} u;
	struct iovec iov;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(&u, 0, sizeof(u));
	if (nfds) {
		m.msg_control = u.buf;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		u.align = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(int) * nfds) };
		memcpy(CMSG_DATA(&u.align), fds, sizeof(int) * nfds);
	}
	while (n) {
		ssize_t sent;
		int r;

		iov = (struct iovec){ .iov_base = (void *)p, .iov_len = n };
		sent = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0) {
			r = again(c, POLLOUT, end);
			if (r < 0)
				return r;
			continue;
		}
		p += sent;
		n -= (size_t)sent;
		m.msg_control = NULL;
		m.msg_controllen = 0;
	}
	return 0;
}

/* Descriptors that come along are closed by the kernel: there is no room for them. */
static int recv_all(const struct vhu_conn *c, uint8_t *p, size_t n, int64_t end)
{
	while (n) {
		ssize_t got = recv(c->fd, p, n, MSG_DONTWAIT);
		int r;

		if (!got)
			return -EPIPE;
		if (got < 0) {
			r = again(c, POLLIN, end);
			if (r < 0)
				return r;
			continue;
		}
		p += got;
		n -= (size_t)got;
	}
	return 0;
}

static int send_message(const struct vhu_conn *c, enum vhu_request what, uint32_t flags,
	const void *p, uint32_t len, const int *fds, unsigned nfds, int64_t end)
{
	uint8_t buf[sizeof(struct vhu_header) + sizeof(struct vhu_mem) + LIM_CFG_SPACE];
	const struct vhu_header h = { what, VHU_VERSION | flags, len };

	if (c->fd < 0)
		return -ENOTCONN;
	if (len > sizeof(buf) - sizeof(h) || nfds > VHU_REGIONS)
		return -EINVAL;
	memcpy(buf, &h, sizeof(h));
	if (len)
		memcpy(buf + sizeof(h), p, len);
	return send_all(c, buf, sizeof(h) + len, fds, nfds, end);
}

static int recv_answer(const struct vhu_conn *c, enum vhu_request what, void *p, uint32_t min,
	uint32_t max, int64_t end)
{
	struct vhu_header h;
	int r = recv_all(c, (uint8_t *)&h, sizeof(h), end);

	if (r)
		return r;
	if (h.request != what || h.flags != (VHU_VERSION | VHU_REPLY) || h.size < min ||
		h.size > max)
		return -EPROTO;
	r = recv_all(c, p, h.size, end);
	return r ? r : (int)h.size;
}

int vhu_tell(struct vhu_conn *c, enum vhu_request what, const void *p, uint32_t len, const int *fds,
	unsigned nfds)
{
	int64_t end = c->end;
	uint64_t bad = 0;
	int r = send_message(c, what, c->reply_ack ? VHU_NEED_REPLY : 0, p, len, fds, nfds, end);

	if (!r && c->reply_ack)
		r = recv_answer(c, what, &bad, sizeof(bad), sizeof(bad), end);
	if (r < 0)
		vhu_close(c);
	if (r < 0)
		return r;
	return bad ? -EREMOTEIO : 0;
}

int vhu_ask(struct vhu_conn *c, enum vhu_request what, const void *p, uint32_t len, void *answer,
	uint32_t min, uint32_t max)
{
	int64_t end = c->end;
	int r = send_message(c, what, 0, p, len, NULL, 0, end);

	if (!r)
		r = recv_answer(c, what, answer, min, max, end);
	if (r < 0)
		vhu_close(c);
	return r;
}
