// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: epoll that tells what is there as long as it is. */

/*
 * How it works
 *
 * The sequence of tcp_epoll() (conform_server.c) without EPOLLET, then a listener and a datagram
 * socket: each condition is told twice, and no more when it is over. What comes from outside is
 * waited for by asking until it is told.
 */
#include "conform.h"

#include <poll.h>
#include <sys/epoll.h>
#include <time.h>

static int watching(int fd, unsigned events)
{
	struct epoll_event ev = { .events = events };
	int ep = epoll_create1(0);

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	return ep;
}

/* What epoll tells now. */
static void now(int ep, const char *name)
{
	struct epoll_event ev = { 0 };
	int n = epoll_wait(ep, &ev, 1, 0);

	t(name, "%d %s", n, bits((int)ev.events));
}

/* What it tells once it is @events, and then once more. */
static void until(int ep, unsigned events, const char *name)
{
	const time_t end = time(NULL) + WAIT_MS / 1000;
	struct epoll_event ev = { 0 };
	int n;

	do {
		n = epoll_wait(ep, &ev, 1, WAIT_MS);
		if (n != 1 || ev.events == events)
			break;
		poll(NULL, 0, 1);
	} while (time(NULL) < end);
	t(name, "%d %s", n, bits((int)ev.events));
	now(ep, name);
}

static void level_stream(void)
{
	const unsigned all = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
	struct epoll_event ev = { .events = all | EPOLLONESHOT };
	int fd = xsocket(SOCK_STREAM), ep = watching(fd, all);
	char buf[16];

	nonblock(fd);
	now(ep, "level: fresh");
	now(ep, "level: fresh");
	t("level: connect", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	until(ep, EPOLLOUT, "level: connected");
	t("level: send", "%s", rs(send(fd, "ab", 2, 0)));
	until(ep, EPOLLIN | EPOLLOUT, "level: data");
	t("level: recv some", "%s", rs(recv(fd, buf, 1, 0)));
	now(ep, "level: some is left");
	t("level: recv the rest", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	now(ep, "level: nothing is left");
	t("level: once", "%s", rs(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev)));
	until(ep, EPOLLOUT, "level: once");
	ev.events = all;
	t("level: again", "%s", rs(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev)));
	now(ep, "level: again");
	send(fd, "cd", 2, 0);
	shutdown(fd, SHUT_WR);
	until(ep, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP, "level: the end");
	t("level: the end, recv", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	now(ep, "level: the end, read");
	t("level: the end, recv", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	now(ep, "level: the end, read");
	t("level: add again", "%s", rs(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev)));
	t("level: remove", "%s", rs(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL)));
	now(ep, "level: removed");
	close(fd);
	close(ep);
}

/* A refusal and a reset are told until SO_ERROR is asked, or longer. */
static void level_errors(void)
{
	int fd = xsocket(SOCK_STREAM), ep = watching(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);

	nonblock(fd);
	t("level: refused", "%s", rs(xconnect_to(fd, base + S_CLOSED)));
	until(ep, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP, "level: refused");
	t("level: refused", "%s", en(so_error(fd)));
	now(ep, "level: refused, and asked");
	close(fd);
	now(ep, "level: closed");
	close(ep);
	fd = connected(S_RESET);
	ep = watching(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	send(fd, "x", 1, 0);
	until(ep, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP, "level: reset");
	t("level: reset", "%s", en(so_error(fd)));
	now(ep, "level: reset, and asked");
	close(fd);
	close(ep);
}

static void level_listener(void)
{
	int fd = bound(SOCK_STREAM, "0.0.0.0", "::", 0), ep = watching(fd, EPOLLIN | EPOLLOUT), c;

	now(ep, "level: bound");
	t("level: listen", "%s", rs(listen(fd, 8)));
	now(ep, "level: listening");
	ask("call %d %d", fam == F6, local_port(fd));
	until(ep, EPOLLIN, "level: a connection");
	c = accept(fd, NULL, NULL);
	t("level: accept", "%d", c >= 0);
	now(ep, "level: accepted");
	send(c, "there\n", 6, MSG_NOSIGNAL);
	t("level: the peer", "%s", told());
	close(c);
	close(fd);
	close(ep);
}

static void level_dgrams(void)
{
	int fd = xsocket(SOCK_DGRAM), ep = watching(fd, EPOLLIN | EPOLLOUT);
	char buf[16];

	now(ep, "level: udp");
	xconnect_to(fd, base + S_UDP_ECHO);
	now(ep, "level: udp connected");
	send(fd, "one", 3, 0);
	until(ep, EPOLLIN | EPOLLOUT, "level: udp data");
	t("level: udp recv", "%s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	now(ep, "level: udp read");
	xconnect_to(fd, base + S_CLOSED);
	send(fd, "two", 3, 0);
	until(ep, EPOLLOUT | EPOLLERR, "level: udp refused");
	t("level: udp refused", "%s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	now(ep, "level: udp refused, and asked");
	close(fd);
	close(ep);
}

void level(void)
{
	level_stream();
	level_errors();
	level_listener();
	level_dgrams();
}
