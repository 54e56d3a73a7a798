// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: a TCP client. */

/*
 * How it works
 *
 * Cases in the order in which a program would meet them: connect, what a connected socket can do,
 * how it ends, what goes wrong. Each prints through t() (conform.h); the peer's services are the
 * other end.
 */
#include "conform.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* ---- TCP: a client ---- */

void tcp_echo(void)
{
	int fd = connected(S_ECHO), n = -1;
	char buf[64];
	ssize_t r;

	t("connected: peer", "%s", name_of(fd, 1));
	t("connected: local", "%s", name_of(fd, 0));
	t("connected: poll", "%s", bits(polled(fd)));
	t("connected: recv DONTWAIT", "%s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	t("connected: connect again", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	t("connected: listen", "%s", rs(listen(fd, 1)));
	t("connected: SO_ERROR", "%s", en(so_error(fd)));
	t("send", "%s", rs(send(fd, "hello", 5, 0)));
	t("poll with data", "%s", bits(ready(fd, POLLIN)));
	t("poll with data, all", "%s", bits(polled(fd)));
	r = recv(fd, buf, 2, MSG_PEEK);
	t("peek 2", "%s %.2s", rs(r), buf);
	r = recv(fd, buf, sizeof(buf), MSG_PEEK);
	t("peek", "%s %.5s", rs(r), buf);
	ioctl(fd, FIONREAD, &n);
	t("FIONREAD", "%d", n);
	r = recv(fd, buf, 2, 0);
	t("recv 2", "%s %.2s", rs(r), buf);
	ioctl(fd, FIONREAD, &n);
	t("FIONREAD after it", "%d", n);
	r = recv(fd, buf, sizeof(buf), 0);
	t("recv the rest", "%s %.3s", rs(r), buf);
	ioctl(fd, FIONREAD, &n);
	t("FIONREAD at last", "%d", n);
	t("send nothing", "%s", rs(send(fd, "", 0, 0)));
	t("write", "%s", rs(write(fd, "abc", 3)));
	t("write", "%s", rs(write(fd, "def", 3)));
	r = recv(fd, buf, 6, MSG_WAITALL);
	t("recv WAITALL", "%s %.6s", rs(r), buf);
	send(fd, "12345678", 8, 0);
	ready(fd, POLLIN);
	t("recv TRUNC", "%s", rs(recv(fd, NULL, 8, MSG_TRUNC | MSG_WAITALL)));
	t("recv OOB", "%s", rs(recv(fd, buf, 1, MSG_OOB)));
	timeouts(fd, 50);
	t("recv with a time limit", "%s", rs(recv(fd, buf, 1, 0)));
	t("recv WAITALL with a time limit", "%s", rs(recv(fd, buf, 6, MSG_WAITALL)));
	t("recv ERRQUEUE", "%s", rs(recv(fd, buf, 1, MSG_ERRQUEUE)));
	close(fd);
}

void tcp_iov(void)
{
	char a[3] = "", b[8] = "", ctrl[64];
	struct iovec out[3] = { { (void *)"ab", 2 }, { (void *)"", 0 }, { (void *)"cdefg", 5 } };
	struct iovec in[2] = { { a, 3 }, { b, sizeof(b) } };
	struct sockaddr_storage ss;
	struct msghdr m = { .msg_iov = out, .msg_iovlen = 3 };
	int fd = connected(S_ECHO);

	t("sendmsg", "%s", rs(sendmsg(fd, &m, MSG_NOSIGNAL)));
	m = (struct msghdr){ .msg_name = &ss,
		.msg_namelen = sizeof(ss),
		.msg_iov = in,
		.msg_iovlen = 2,
		.msg_control = ctrl,
		.msg_controllen = sizeof(ctrl) };
	t("recvmsg", "%s", rs(recvmsg(fd, &m, 0)));
	t("recvmsg: data", "%.3s %.4s", a, b);
	t("recvmsg: name, flags, control", "%u %x %zu", m.msg_namelen, m.msg_flags,
		m.msg_controllen);
	addr(&ss, "127.0.0.1", "::1", 9);
	m = (struct msghdr){ .msg_name = &ss,
		.msg_namelen = sizeof(struct sockaddr_in6),
		.msg_iov = out,
		.msg_iovlen = 1 };
	t("sendmsg with a name", "%s", rs(sendmsg(fd, &m, MSG_NOSIGNAL)));
	close(fd);
}

void tcp_half_close(void)
{
	int fd = connected(S_DISCARD);
	char buf[128];
	ssize_t n;

	send(fd, "some", 4, 0);
	t("shutdown WR", "%s", rs(shutdown(fd, SHUT_WR)));
	signal(SIGPIPE, SIG_IGN);
	t("send after it", "%s", rs(send(fd, "x", 1, 0)));
	n = recv(fd, buf, sizeof(buf) - 1, MSG_WAITALL);
	buf[n > 0 ? n - 1 : 0] = 0;
	t("the other direction", "%s", buf);
	t("then", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	t("then", "%s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	t("poll", "%s", bits(polled(fd)));
	t("peer of what has ended", "%s", name_of(fd, 1));
	t("SO_ERROR", "%s", en(so_error(fd)));
	close(fd);
}

void tcp_peer_closes(void)
{
	static unsigned char buf[SOURCE_BYTES + 10];
	int fd = connected(S_SOURCE), bad = 0;
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_WAITALL);

	for (int i = 0; i < SOURCE_BYTES; i++)
		bad += buf[i] != (unsigned char)(i * 7 + i / 251);
	t("everything", "%s, %d wrong", rs(n), bad);
	t("after the end", "%s", rs(recv(fd, buf, 1, 0)));
	t("poll after the end", "%s", bits(polled(fd)));
	t("peer after the end", "%s", name_of(fd, 1));
	t("shutdown WR after the end", "%s", rs(shutdown(fd, SHUT_WR)));
	t("poll at last", "%s", bits(polled(fd)));
	close(fd);
}

void tcp_shut_rd(void)
{
	int fd = connected(S_ECHO);
	char c;

	t("shutdown RD", "%s", rs(shutdown(fd, SHUT_RD)));
	t("recv after it", "%s", rs(recv(fd, &c, 1, 0)));
	t("poll after it", "%s", bits(polled(fd)));
	t("send after it", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	t("shutdown RDWR", "%s", rs(shutdown(fd, SHUT_RDWR)));
	t("poll after both", "%s", bits(polled(fd) & ~POLLERR));
	t("shutdown 3", "%s", rs(shutdown(fd, 3)));
	close(fd);
}

void tcp_reset(void)
{
	int fd = connected(S_RESET);
	char c;

	send(fd, "x", 1, 0);
	t("reset: poll", "%s", bits(ready(fd, POLLIN)));
	t("reset: poll, all", "%s", bits(polled(fd)));
	t("reset: recv", "%s", rs(recv(fd, &c, 1, 0)));
	t("reset: recv again", "%s", rs(recv(fd, &c, 1, 0)));
	t("reset: send", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	t("reset: poll after it", "%s", bits(polled(fd)));
	t("reset: peer", "%s", name_of(fd, 1));
	t("reset: shutdown", "%s", rs(shutdown(fd, SHUT_WR)));
	close(fd);
	fd = connected(S_RESET);
	send(fd, "x", 1, 0);
	ready(fd, POLLIN);
	t("reset: SO_ERROR", "%s", en(so_error(fd)));
	t("reset: SO_ERROR again", "%s", en(so_error(fd)));
	t("reset: recv without it", "%s", rs(recv(fd, &c, 1, 0)));
	close(fd);
	fd = connected(S_RESET);
	send(fd, "x", 1, 0);
	ready(fd, POLLIN);
	t("reset: send first", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	t("reset: send then", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	close(fd);
}

void tcp_refused(void)
{
	int fd = xsocket(SOCK_STREAM);
	char c;

	t("refused", "%s", rs(xconnect_to(fd, base + S_CLOSED)));
	t("refused: poll", "%s", bits(polled(fd)));
	t("refused: SO_ERROR", "%s", en(so_error(fd)));
	t("refused: peer", "%s", name_of(fd, 1));
	t("refused: recv", "%s", rs(recv(fd, &c, 1, 0)));
	t("refused, then connect", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	close(fd);
	fd = xsocket(SOCK_STREAM);
	nonblock(fd);
	t("refused nonblock", "%s", rs(xconnect_to(fd, base + S_CLOSED)));
	t("refused nonblock: poll", "%s", bits(ready(fd, POLLOUT)));
	t("refused nonblock: poll, all", "%s", bits(polled(fd)));
	t("refused nonblock: SO_ERROR", "%s", en(so_error(fd)));
	t("refused nonblock: SO_ERROR again", "%s", en(so_error(fd)));
	t("refused nonblock: recv", "%s", rs(recv(fd, &c, 1, 0)));
	t("refused nonblock: send", "%s", rs(send(fd, &c, 1, MSG_NOSIGNAL)));
	t("refused nonblock: connect", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	t("refused nonblock: connect again", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	ready(fd, POLLOUT);
	t("refused nonblock: and then", "%s", en(so_error(fd)));
	close(fd);
	fd = xsocket(SOCK_STREAM);
	nonblock(fd);
	xconnect_to(fd, base + S_CLOSED);
	ready(fd, POLLOUT);
	t("refused nonblock: the error by connect", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	close(fd);
}

void tcp_nonblock(void)
{
	int fd = xsocket(SOCK_STREAM), n = 0;
	static char buf[65536];
	ssize_t r;

	nonblock(fd);
	t("nonblock connect", "%s", rs(xconnect_to(fd, base + S_STUCK)));
	t("nonblock: poll", "%s", bits(ready(fd, POLLOUT)));
	t("nonblock: SO_ERROR", "%s", en(so_error(fd)));
	t("nonblock: connect again", "%s", rs(xconnect_to(fd, base + S_STUCK)));
	t("nonblock: once more", "%s", rs(xconnect_to(fd, base + S_STUCK)));
	t("nonblock: peer", "%s", name_of(fd, 1));
	t("nonblock: recv", "%s", rs(recv(fd, buf, 1, 0)));
	while ((r = send(fd, buf, sizeof(buf), MSG_NOSIGNAL)) > 0 && n < 100000)
		n++;
	t("nonblock: full", "%s", rs(r));
	t("nonblock: full, something went", "%d", n > 0);
	fcntl(fd, F_SETFL, 0);
	timeouts(fd, 50);
	/* What the peer's kernel took meanwhile may go first. */
	while ((r = send(fd, buf, sizeof(buf), MSG_NOSIGNAL)) > 0 && n < 200000)
		n++;
	t("full: send with a time limit", "%s", rs(r));
	close(fd);
}

void tcp_fresh(void)
{
	int fd = xsocket(SOCK_STREAM), n = -1;
	char c;

	t("fresh: local", "%s", name_of(fd, 0));
	t("fresh: peer", "%s", name_of(fd, 1));
	t("fresh: poll", "%s", bits(polled(fd)));
	t("fresh: send", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	t("fresh: recv", "%s", rs(recv(fd, &c, 1, 0)));
	t("fresh: shutdown", "%s", rs(shutdown(fd, SHUT_WR)));
	t("fresh: accept", "%s", rs(accept(fd, NULL, NULL)));
	t("fresh: FIONREAD", "%s", rs(ioctl(fd, FIONREAD, &n)));
	t("fresh: bytes", "%d", n);
	close(fd);
}

void tcp_errors(void)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", base + S_ECHO);
	int fd = xsocket(SOCK_STREAM);

	t("connect: short", "%s", rs(connect(fd, (struct sockaddr *)&ss, 7)));
	t("connect: one byte", "%s", rs(connect(fd, (struct sockaddr *)&ss, 1)));
	ss.ss_family = fam == F4 ? AF_INET6 : AF_INET;
	t("connect: family", "%s",
		rs(connect(fd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in6))));
	t("bind: family", "%s", rs(bind(fd, (struct sockaddr *)&ss, sizeof(struct sockaddr_in6))));
	t("bind: short", "%s", rs(bind(fd, (struct sockaddr *)&ss, 7)));
	ss.ss_family = AF_UNSPEC;
	t("connect: unspec", "%s", rs(connect(fd, (struct sockaddr *)&ss, len)));
	close(fd);
	connect_error("no route", SOCK_STREAM, "192.0.2.1", "2001:db8::1", 80);
	connect_error("port 0", SOCK_STREAM, "127.0.0.1", "::1", 0);
	connect_error("any address", SOCK_STREAM, "0.0.0.0", "::", base + S_ECHO);
	connect_error("another loopback", SOCK_STREAM, "127.9.9.9", "::1", base + S_ECHO);
	fd = bound(SOCK_STREAM, "192.0.2.1", "2001:db8::1", 0);
	t("bind: not ours", "%s", rs(fd));
}

void tcp_disconnect(void)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	int fd = connected(S_ECHO);

	t("disconnect", "%s", rs(connect(fd, (struct sockaddr *)&ss, sizeof(ss))));
	t("disconnect: peer", "%s", name_of(fd, 1));
	t("disconnect: send", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	t("disconnect: connect", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	t("disconnect: send then", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	close(fd);
}

void tcp_how_it_ends(void)
{
	struct linger l = { .l_onoff = 1 };
	char buf[64];
	int fd = connected(S_REPORT);

	send(fd, "bytes", 5, 0);
	close(fd);
	ask("report");
	t("close", "%s", told());
	fd = connected(S_REPORT);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
	ask("report");
	t("close with linger 0", "%s", told());
	fd = connected(S_GREET);
	ready(fd, POLLIN);
	t("unread bytes", "%s", rs(recv(fd, buf, 1, 0)));
	close(fd);
	ask("report");
	t("close with unread bytes", "%s", told());
	fd = connected(S_REPORT);
	shutdown(fd, SHUT_WR);
	t("the peer's answer", "%s", rs(recv(fd, buf, sizeof(buf), MSG_WAITALL) > 10));
	close(fd);
	ask("report");
	t("close after shutdown", "%s", told());
}

/* Memory that is not there yet, of a file and without, and such as is nobody's. */
void tcp_memory(void)
{
	int file = open("/proc/self/exe", O_RDONLY), fd = connected(S_DISCARD), bad = 0;
	unsigned char *p = mmap(NULL, SOURCE_BYTES, PROT_READ, MAP_PRIVATE, file, 0), *q;
	char line[128], want[128];
	unsigned long sum = 0;
	ssize_t n;

	t("send nobody's memory", "%s", rs(send(fd, (void *)8, 5, MSG_NOSIGNAL)));
	t("send from a file", "%s", rs(send(fd, p, SOURCE_BYTES, MSG_NOSIGNAL)));
	shutdown(fd, SHUT_WR);
	n = recv(fd, line, sizeof(line) - 1, MSG_WAITALL);
	line[n > 0 ? n : 0] = 0;
	for (int i = 0; i < SOURCE_BYTES; i++)
		sum = sum * 31 + p[i];
	snprintf(want, sizeof(want), "got %d %08lx EOF\n", SOURCE_BYTES, sum & 0xffffffff);
	t("from a file, arrived", "%s", strcmp(line, want) ? line : "whole");
	close(fd);
	munmap(p, SOURCE_BYTES);
	close(file);
	fd = connected(S_SOURCE);
	ready(fd, POLLIN);
	q = mmap(NULL, SOURCE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	t("recv to nobody's memory", "%s", rs(recv(fd, (void *)8, 5, 0)));
	t("recv to new memory", "%s", rs(recv(fd, q, SOURCE_BYTES, MSG_WAITALL)));
	for (int i = 0; i < SOURCE_BYTES; i++)
		bad += q[i] != (unsigned char)(i * 7 + i / 251);
	t("to new memory", "%d wrong", bad);
	munmap(q, SOURCE_BYTES);
	close(fd);
}

void tcp_volume(void)
{
	static unsigned char buf[1 << 20];
	unsigned long sum = 0;
	char line[128], want[128];
	int fd = connected(S_DISCARD);
	ssize_t n;

	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = (unsigned char)(i * 13 + i / 255);
		sum = sum * 31 + buf[i];
	}
	t("send 1 MiB", "%s", rs(send(fd, buf, sizeof(buf), 0)));
	shutdown(fd, SHUT_WR);
	n = recv(fd, line, sizeof(line) - 1, MSG_WAITALL);
	line[n > 0 ? n : 0] = 0;
	snprintf(want, sizeof(want), "got %zu %08lx EOF\n", sizeof(buf), sum & 0xffffffff);
	t("1 MiB arrived", "%s", strcmp(line, want) ? line : "whole");
	close(fd);
}
