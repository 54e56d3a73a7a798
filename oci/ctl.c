// SPDX-License-Identifier: Apache-2.0
/* The control socket: its address, and the asking side. */
/*
 * How it works: ctl_connect(), ctl_send() and ctl_answer() are one question in three steps, for
 * those who pass descriptors or go on talking; ctl_ask() is all of them. Each step has a time
 * limit, as the VMM may be stopped from outside. ctl_listen() and ctl_recv() are the VMM's ends.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "oci/ctl.h"
#include "util/cleanup.h"
#include "util/util.h"

static void address(const struct container *c, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/s", c->dir_fd);
}

int ctl_listen(const struct container *c, struct error *e)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;

	address(c, &a);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, EXEC_MAX))
		return err_sys(e, errno, "cannot listen on the control socket");
	return TAKE_FD(fd);
}

static int wait_for(int fd, short events, unsigned ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int r;

	do {
		r = poll(&p, 1, (int)ms);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r ? 0 : -ETIMEDOUT;
}

int ctl_connect(const struct container *c, struct error *e)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	/* a VMM that is stopped from outside takes nobody from a full backlog */
	const struct timeval tv = { .tv_sec = CTL_CONNECT_SECONDS };
	struct sockaddr_un a;

	address(c, &a);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)))
		return err_sys(e, errno, "control socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return err_sys(e, errno == EAGAIN ? ETIMEDOUT : errno,
			"the VMM of container \"%s\" does not answer", c->id);
	return TAKE_FD(fd);
}

union fd_room {
	struct cmsghdr align;
	char buf[CMSG_SPACE(CTL_MAX_FDS * sizeof(int))];
};

int ctl_send(int fd, const struct ctl_req *q, const int *fds, unsigned n, struct error *e)
{
	union fd_room c = { .buf = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)q, .iov_len = sizeof(*q) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *h;

	if (n) {
		m.msg_control = c.buf;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n * sizeof(int));
		(void)memcpy(CMSG_DATA(h), fds, n * sizeof(int));
	}
	if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)sizeof(*q))
		return err_sys(e, errno, "the VMM of the container does not listen");
	return 0;
}

int ctl_recv(int fd, struct ctl_req *q, int fds[static CTL_MAX_FDS])
{
	union fd_room c = { .buf = { 0 } };
	struct iovec iov = { .iov_base = q, .iov_len = sizeof(*q) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = c.buf,
		.msg_controllen = sizeof(c.buf) };
	const struct cmsghdr *h;
	ssize_t n;

	for (unsigned i = 0; i < CTL_MAX_FDS; i++)
		fds[i] = -1;
	n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	h = CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
		(void)memcpy(fds, CMSG_DATA(h),
			MIN(h->cmsg_len - CMSG_LEN(0), CTL_MAX_FDS * sizeof(int)));
	if (n == (ssize_t)sizeof(*q) && !(m.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
		return 1;
	for (unsigned i = 0; i < CTL_MAX_FDS; i++) {
		if (fds[i] >= 0)
			(void)close(TAKE_FD(fds[i]));
	}
	return n ? -EPROTO : -ECONNRESET;
}

ssize_t ctl_read(int fd, void *buf, size_t len, int flags)
{
	ssize_t n = recv(fd, buf, len, flags);

	return n < 0 && errno == ECONNRESET ? recv(fd, buf, len, flags) : n;
}

int ctl_reply(int fd, unsigned ms, struct ctl_reply *reply)
{
	ssize_t n;
	int r = wait_for(fd, POLLIN, ms);

	if (r)
		return r;
	n = ctl_read(fd, reply, sizeof(*reply), 0);
	if (n != (ssize_t)sizeof(*reply))
		return n < 0 ? -errno : -ECONNRESET;
	reply->text[sizeof(reply->text) - 1] = 0;
	return 0;
}

int ctl_answer(const struct container *c, int fd, unsigned ms, struct error *e)
{
	struct ctl_reply reply = { 0 };
	int r = ctl_reply(fd, ms, &reply);

	if (r == -ECONNRESET)
		return err_set(e, ECONNRESET, "container \"%s\" is not running", c->id);
	if (r)
		return err_sys(e, r, "the VMM of container \"%s\" does not answer", c->id);
	if (reply.code)
		return err_set(e, reply.code, "%s", reply.text);
	return 0;
}

int ctl_open(
	const struct container *c, const struct ctl_req *q, unsigned ms, int *out, struct error *e)
{
	CLEAN_FD int fd = ctl_connect(c, e);
	int r;

	if (fd < 0)
		return fd;
	r = ctl_send(fd, q, NULL, 0, e);
	if (!r)
		r = ctl_answer(c, fd, ms, e);
	if (!r)
		*out = TAKE_FD(fd);
	return r;
}

int ctl_ask(const struct container *c, const struct ctl_req *q, unsigned ms, struct error *e)
{
	CLEAN_FD int fd = -1;

	return ctl_open(c, q, ms, &fd, e);
}
