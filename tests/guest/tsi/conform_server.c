// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: a TCP server, events and descriptors. */

/*
 * How it works
 *
 * The connections to accept are made by the peer, asked over the control connection, so that they
 * come from outside of the guest; tcp_local() has both ends here. Then what descriptors and event
 * interfaces make of such sockets.
 */
#include "conform.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* ---- TCP: a server ---- */

void tcp_server_states(void)
{
	int fd = bound(SOCK_STREAM, "0.0.0.0", "::", 0), other, port = local_port(fd), v = -1,
	    one = 1;
	socklen_t len = sizeof(v), alen;
	struct sockaddr_storage ss;
	char c;

	t("bound: local", "%s", name_of(fd, 0));
	t("bound: poll", "%s", bits(polled(fd)));
	t("bound: bind again", "%s", rs(bound(SOCK_STREAM, "0.0.0.0", "::", port)));
	ask("bind %d %d %d", SOCK_STREAM, fam == F6, port);
	t("bound: by another", "%s", told());
	t("listen", "%s", rs(listen(fd, 8)));
	t("listen again", "%s", rs(listen(fd, 4)));
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &len);
	t("listening: ACCEPTCONN", "%d", v);
	t("listening: poll", "%s", bits(polled(fd)));
	t("listening: connect", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	t("listening: recv", "%s", rs(recv(fd, &c, 1, MSG_DONTWAIT)));
	t("listening: send", "%s", rs(send(fd, &c, 1, MSG_NOSIGNAL)));
	t("listening: peer", "%s", name_of(fd, 1));
	t("listening: FIONREAD", "%s", rs(ioctl(fd, FIONREAD, &v)));
	other = xsocket(SOCK_STREAM);
	setsockopt(other, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	alen = addr(&ss, "0.0.0.0", "::", port);
	t("listening: bind with REUSEADDR", "%s", rs(bind(other, (struct sockaddr *)&ss, alen)));
	close(other);
	nonblock(fd);
	t("listening: accept nonblock", "%s", rs(accept(fd, NULL, NULL)));
	fcntl(fd, F_SETFL, 0);
	timeouts(fd, 50);
	t("listening: accept with a time limit", "%s", rs(accept(fd, NULL, NULL)));
	t("listening: shutdown RD", "%s", rs(shutdown(fd, SHUT_RD)));
	t("listening no more: accept", "%s", rs(accept(fd, NULL, NULL)));
	close(fd);
	fd = bound(SOCK_STREAM, "0.0.0.0", "::", port);
	t("the port is free again", "%d", fd >= 0);
	close(fd);
}

static void tcp_server(const char *v4, const char *v6, const char *what)
{
	int fd = bound(SOCK_STREAM, v4, v6, 0), one = 1, c, v = -1;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char name[64], buf[16];
	ssize_t n;

	snprintf(name, sizeof(name), "server on %s", what);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	listen(fd, 8);
	ask("call %d %d", fam == F6, local_port(fd));
	t(name, "poll %s", bits(ready(fd, POLLIN)));
	c = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	t(name, "accept %s from %s len %u", c >= 0 ? "ok" : strerrorname_np(errno), ip_of(&ss),
		len);
	t(name, "flags %x %x", fcntl(c, F_GETFL) & O_NONBLOCK, fcntl(c, F_GETFD));
	t(name, "local %s", name_of(c, 0));
	t(name, "peer %s, same port %d", name_of(c, 1), port_of(&ss) != 0);
	t(name, "local port is the listener's: %d", local_port(c) == local_port(fd));
	ready(c, POLLIN);
	n = recv(c, buf, sizeof(buf), 0);
	t(name, "recv %s %.5s", rs(n), buf);
	len = sizeof(v);
	getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &v, &len);
	t(name, "inherits NODELAY %d", v);
	getsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &v, &len);
	t(name, "inherits KEEPALIVE %d", v);
	send(c, "there\n", 6, MSG_NOSIGNAL);
	t(name, "the peer %s", told());
	t(name, "its end %s", bits(ready(c, POLLRDHUP)));
	t(name, "its end, recv %s", rs(recv(c, buf, sizeof(buf), 0)));
	close(c);
	close(fd);
}

void tcp_server_peer(void)
{
	int fd = bound(SOCK_STREAM, "0.0.0.0", "::", 0), port = local_port(fd), c;

	listen(fd, 8);
	ask("call %d %d", fam == F6, port);
	ready(fd, POLLIN);
	close(fd);
	/* The peer learns of it in connect() or behind it. */
	t("the listener closes", "%s", strstr(told(), "ECONNRESET") ? "ECONNRESET" : "else");
	ask("call %d %d", fam == F6, port);
	t("nobody listens", "%s", told());
	fd = xsocket(SOCK_STREAM);
	t("listen without bind", "%s", rs(listen(fd, 8)));
	t("listen without bind: local", "%s", name_of(fd, 0));
	ask("call %d %d", fam == F6, local_port(fd));
	timeouts(fd, WAIT_MS);
	c = accept(fd, NULL, NULL);
	t("listen without bind: accept", "%d", c >= 0);
	send(c, "there\n", 6, MSG_NOSIGNAL);
	close(c);
	t("listen without bind: the peer", "%s", told());
	close(fd);
}

/* Both ends here: the rule says that it stays in the guest. */
void tcp_local(void)
{
	int fd = bound(SOCK_STREAM, "127.0.0.1", "::1", 0), a = xsocket(SOCK_STREAM), b;
	char buf[16];
	ssize_t n;

	listen(fd, 8);
	t("local: connect", "%s", rs(xconnect_to(a, local_port(fd))));
	timeouts(fd, WAIT_MS);
	b = accept(fd, NULL, NULL);
	t("local: accept", "%d", b >= 0);
	t("local: peer", "%s", name_of(b, 1));
	send(a, "hi", 2, 0);
	n = recv(b, buf, sizeof(buf), 0);
	t("local: recv", "%s %.2s", rs(n), buf);
	close(a);
	t("local: end", "%s", rs(recv(b, buf, sizeof(buf), 0)));
	close(b);
	close(fd);
}

void tcp_reuse(void)
{
	int one = 1, a = xsocket(SOCK_STREAM), b = xsocket(SOCK_STREAM), port;
	struct sockaddr_storage ss;
	socklen_t len;

	setsockopt(a, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(b, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	len = addr(&ss, "0.0.0.0", "::", 0);
	t("reuseport: bind", "%s", rs(bind(a, (struct sockaddr *)&ss, len)));
	port = local_port(a);
	t("reuseport: listen", "%s", rs(listen(a, 1)));
	len = addr(&ss, "0.0.0.0", "::", port);
	t("reuseport: second bind", "%s", rs(bind(b, (struct sockaddr *)&ss, len)));
	t("reuseport: second listen", "%s", rs(listen(b, 1)));
	t("reuseport: without", "%s", rs(bound(SOCK_STREAM, "0.0.0.0", "::", port)));
	close(a);
	close(b);
	a = xsocket(SOCK_STREAM);
	setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	len = addr(&ss, "0.0.0.0", "::", 0);
	bind(a, (struct sockaddr *)&ss, len);
	port = local_port(a);
	b = xsocket(SOCK_STREAM);
	setsockopt(b, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	len = addr(&ss, "0.0.0.0", "::", port);
	t("reuseaddr: second bind", "%s", rs(bind(b, (struct sockaddr *)&ss, len)));
	t("reuseaddr: listen", "%s", rs(listen(a, 1)));
	t("reuseaddr: second listen", "%s", rs(listen(b, 1)));
	close(a);
	close(b);
}

void tcp_servers(void)
{
	tcp_server("0.0.0.0", "::", "any");
	tcp_server("127.0.0.1", "::1", "loopback");
}

/* One listener for both families. */
void tcp_dual(void)
{
	struct sockaddr_storage ss;
	int fd, c, port, zero = 0;
	socklen_t len;

	if (fam != F6)
		return;
	fd = xsocket(SOCK_STREAM);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	len = addr(&ss, "", "::", 0);
	t("dual: bind", "%s", rs(bind(fd, (struct sockaddr *)&ss, len)));
	t("dual: listen", "%s", rs(listen(fd, 8)));
	timeouts(fd, WAIT_MS);
	port = local_port(fd);
	for (int v6 = 0; v6 < 2; v6++) {
		ask("call %d %d", v6, port);
		len = sizeof(ss);
		c = accept(fd, (struct sockaddr *)&ss, &len);
		t("dual: accept", "%d from %s", c >= 0, ip_of(&ss));
		t("dual: local", "%s", name_of(c, 0));
		send(c, "there\n", 6, MSG_NOSIGNAL);
		t("dual: the peer", "%s", told());
		close(c);
	}
	close(fd);
}

/* ---- descriptors, events ---- */

void tcp_descriptors(void)
{
	char ctrl[CMSG_SPACE(sizeof(int))] = { 0 }, c = 'x', buf[16];
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctrl,
		.msg_controllen = sizeof(ctrl) };
	int pair[2], fd = connected(S_ECHO), d = dup(fd), got = -1, st;
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);
	ssize_t n;

	close(fd);
	t("dup: send", "%s", rs(send(d, "dup", 3, 0)));
	n = recv(d, buf, 3, MSG_WAITALL);
	t("dup: recv", "%s %.3s", rs(n), buf);
	if (!fork())
		_exit(send(d, "fork", 4, 0) == 4 && recv(d, buf, 4, MSG_WAITALL) == 4 &&
					!memcmp(buf, "fork", 4)
				? 7
				: 1);
	wait(&st);
	t("fork", "%d", WEXITSTATUS(st));
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &d, sizeof(int));
	sendmsg(pair[0], &m, 0);
	close(d);
	recvmsg(pair[1], &m, 0);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	t("SCM_RIGHTS: send", "%s", rs(send(got, "rights", 6, 0)));
	n = recv(got, buf, 6, MSG_WAITALL);
	t("SCM_RIGHTS: recv", "%s %.6s", rs(n), buf);
	close(got);
	close(pair[0]);
	close(pair[1]);
}

void tcp_epoll(void)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
	int ep = epoll_create1(0), fd = xsocket(SOCK_STREAM), n;
	char buf[16];

	nonblock(fd);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	n = epoll_wait(ep, &ev, 1, 0);
	t("edge: fresh", "%d %s", n, bits((int)ev.events));
	xconnect_to(fd, base + S_ECHO);
	while ((n = epoll_wait(ep, &ev, 1, WAIT_MS)) == 1 && ev.events != EPOLLOUT)
		;
	t("edge: connected", "%d %s", n, bits((int)ev.events));
	/* the guest may be told of a connection twice, the second time late: docs/networking.md */
	for (int i = 0; i < 2 && epoll_wait(ep, &ev, 1, 200) == 1; i++)
		;
	t("edge: no more", "%d", epoll_wait(ep, &ev, 1, 0));
	send(fd, "ab", 2, 0);
	while ((n = epoll_wait(ep, &ev, 1, WAIT_MS)) == 1 && !(ev.events & EPOLLIN))
		;
	t("edge: data", "%d %s", n, bits((int)ev.events & EPOLLIN));
	t("edge: data not read, no more", "%d", epoll_wait(ep, &ev, 1, 20));
	send(fd, "cd", 2, 0);
	while ((n = epoll_wait(ep, &ev, 1, WAIT_MS)) == 1 && !(ev.events & EPOLLIN))
		;
	t("edge: more data", "%d %s", n, bits((int)ev.events & EPOLLIN));
	t("edge: recv", "%s", rs(recv(fd, buf, 4, 0)));
	shutdown(fd, SHUT_WR);
	while ((n = epoll_wait(ep, &ev, 1, WAIT_MS)) == 1 && !(ev.events & EPOLLHUP))
		;
	t("edge: the end", "%d %s", n, bits((int)ev.events & (EPOLLHUP | EPOLLRDHUP)));
	close(fd);
	close(ep);
}

void tcp_select(void)
{
	struct timeval tv = { .tv_sec = WAIT_MS / 1000 };
	int fd = connected(S_ECHO), n;
	fd_set r, w;

	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(fd, &r);
	FD_SET(fd, &w);
	n = select(fd + 1, &r, &w, NULL, &tv);
	t("select: idle", "%d r%d w%d", n, FD_ISSET(fd, &r) != 0, FD_ISSET(fd, &w) != 0);
	send(fd, "x", 1, 0);
	FD_ZERO(&r);
	FD_SET(fd, &r);
	n = select(fd + 1, &r, NULL, NULL, &tv);
	t("select: data", "%d r%d", n, FD_ISSET(fd, &r) != 0);
	close(fd);
}

static void on_pipe(int sig)
{
	(void)sig;
	(void)!write(1, "SIGPIPE ", 8);
}

void tcp_sigpipe(void)
{
	int fd = xsocket(SOCK_STREAM);

	fflush(stdout);
	signal(SIGPIPE, on_pipe);
	t("sigpipe: send", "%s", rs(send(fd, "x", 1, 0)));
	fflush(stdout);
	t("sigpipe: send NOSIGNAL", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	fflush(stdout);
	signal(SIGPIPE, SIG_IGN);
	close(fd);
}
