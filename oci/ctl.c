// SPDX-License-Identifier: Apache-2.0
/* The control socket: its address, and the asking side. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "oci/ctl.h"
#include "util/cleanup.h"

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
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 64))
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

int ctl_ask(const struct container *c, const struct ctl_req *q, unsigned ms, struct error *e)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct ctl_reply reply = { 0 };
	struct sockaddr_un a;
	ssize_t n;
	int r;

	address(c, &a);
	if (fd < 0)
		return err_sys(e, errno, "control socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return err_sys(e, errno, "the VMM of container \"%s\" does not answer", c->id);
	if (send(fd, q, sizeof(*q), MSG_NOSIGNAL) != (ssize_t)sizeof(*q))
		return err_sys(e, errno, "the VMM of container \"%s\" does not listen", c->id);
	r = wait_for(fd, POLLIN, ms);
	if (r)
		return err_sys(e, r, "the VMM of container \"%s\" does not answer", c->id);
	n = recv(fd, &reply, sizeof(reply), 0);
	if (n != (ssize_t)sizeof(reply))
		return err_set(e, ECONNRESET, "container \"%s\" is not running", c->id);
	reply.text[sizeof(reply.text) - 1] = 0;
	return reply.code ? err_set(e, reply.code, "%s", reply.text) : 0;
}
