// SPDX-License-Identifier: Apache-2.0
/* virtio-net: what the backends on unix sockets share. */
/*
 * connect() is on no list of system calls: who confines the thread gives no path, and a thread of
 * the runtime's that was taken over reaches no socket of its container's by a name.
 */
/* #syscalls:main getsockopt setsockopt */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "dev/net.h"

int net_sock_check(int fd, int type, const char *what, struct error *e)
{
	const int want = LIM_NET_SOCK_BUF;
	socklen_t len = sizeof(int);
	int is = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &is, &len))
		return err_sys(e, errno, "network interface: its descriptor");
	if (is != type)
		return err_set(
			e, EINVAL, "network interface: its descriptor is no %s socket", what);
	/* as much as the host's limits allow: the default works too */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &want, sizeof(want));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &want, sizeof(want));
	return 0;
}

int net_sock_connect(int fd, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
}

int net_sock_error(int r)
{
	return r == -EWOULDBLOCK || r == -EINTR ? -EAGAIN : r == -ENOBUFS ? -EMSGSIZE : r;
}
