// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: ICMP echo ("ping") sockets. */

/*
 * How it works
 *
 * Loopback answers an echo itself, so no peer is needed. net.ipv4.ping_group_range must let the
 * program have such sockets, which is for the script that runs it. An echo's identifier is the
 * socket's port, of the kernel's choice.
 */
#include "conform.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/ioctl.h>

static int ping_socket(int flags)
{
	return socket(family(), SOCK_DGRAM | flags, fam == F4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* An echo request with @n bytes behind its header. Both versions have the same layout. */
static size_t request(unsigned char *buf, int seq, size_t n)
{
	struct icmphdr h = { .type = fam == F4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST,
		.un.echo = { .id = htons(1), .sequence = htons(seq) } };

	memcpy(buf, &h, sizeof(h));
	for (size_t i = 0; i < n; i++)
		buf[sizeof(h) + i] = (unsigned char)(i * 5 + seq);
	return sizeof(h) + n;
}

static ssize_t echo(int fd, int seq, size_t n)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", 0);
	unsigned char buf[2000];
	size_t all = request(buf, seq, n);

	return sendto(fd, buf, all, 0, (struct sockaddr *)&ss, len);
}

/* What has come: a reply to @seq with our identifier and what was sent. */
static const char *reply(int fd, const unsigned char *buf, ssize_t n, int seq)
{
	unsigned char want[2000];
	struct icmphdr h;

	if (n < (ssize_t)sizeof(h))
		return "none";
	request(want, seq, (size_t)n - sizeof(h));
	memcpy(&h, buf, sizeof(h));
	if (h.type != (fam == F4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) || h.code)
		return "another type";
	if (ntohs(h.un.echo.sequence) != seq)
		return "another number";
	if (ntohs(h.un.echo.id) != local_port(fd))
		return "another identifier";
	return memcmp(buf + sizeof(h), want + sizeof(h), (size_t)n - sizeof(h)) ? "wrong" : "right";
}

/* An identifier is a port, and may be one of the peer's. */
static const char *ping_name(int fd, int peer)
{
	static char buf[128];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int r = peer ? getpeername(fd, (struct sockaddr *)&ss, &len)
		     : getsockname(fd, (struct sockaddr *)&ss, &len);

	if (r)
		return strerrorname_np(errno);
	snprintf(buf, sizeof(buf), "%s %s len %u", ip_of(&ss), port_of(&ss) ? "id" : "0", len);
	return buf;
}

static void ping_unconnected(void)
{
	int fd = ping_socket(0), n = -1;
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	unsigned char buf[2000];
	ssize_t r;

	t("ping fresh: local", "%s", ping_name(fd, 0));
	t("ping fresh: peer", "%s", ping_name(fd, 1));
	t("ping fresh: poll", "%s", bits(polled(fd)));
	t("ping fresh: recv", "%s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	t("ping fresh: send", "%s", rs(send(fd, buf, request(buf, 1, 0), 0)));
	timeouts(fd, WAIT_MS);
	t("ping sendto", "%s", rs(echo(fd, 1, 56)));
	t("ping: local", "%s", ping_name(fd, 0));
	t("ping: poll", "%s", bits(ready(fd, POLLIN)));
	t("ping: FIONREAD", "%s", rs(ioctl(fd, FIONREAD, &n)));
	r = recv(fd, buf, sizeof(buf), MSG_PEEK);
	t("ping: peek", "%s %s", rs(r), reply(fd, buf, r, 1));
	r = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&ss, &len);
	t("ping: recvfrom", "%s %s from %s 0x%x len %u", rs(r), reply(fd, buf, r, 1), ip_of(&ss),
		port_of(&ss), len);
	t("ping: recv again", "%s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	for (int i = 2; i < 6; i++)
		echo(fd, i, (size_t)i * 300);
	for (int i = 2; i < 6; i++) {
		ready(fd, POLLIN);
		r = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		t("ping: one of four", "%s %s", rs(r), reply(fd, buf, r, i));
	}
	echo(fd, 6, 100);
	ready(fd, POLLIN);
	t("ping: truncated", "%s", rs(recv(fd, buf, 20, MSG_DONTWAIT)));
	echo(fd, 7, 100);
	ready(fd, POLLIN);
	t("ping: truncated, TRUNC", "%s", rs(recv(fd, buf, 20, MSG_DONTWAIT | MSG_TRUNC)));
	timeouts(fd, 50);
	t("ping: a time limit", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	close(fd);
}

static void ping_connected(void)
{
	struct sockaddr_storage none = { .ss_family = AF_UNSPEC };
	int fd = ping_socket(SOCK_NONBLOCK);
	unsigned char buf[2000];
	ssize_t r;

	t("ping connect", "%s", rs(xconnect_to(fd, 7)));
	t("ping connected: local", "%s", ping_name(fd, 0));
	t("ping connected: peer", "%s", ping_name(fd, 1));
	t("ping connected: poll", "%s", bits(polled(fd)));
	t("ping connected: send", "%s", rs(send(fd, buf, request(buf, 1, 8), 0)));
	t("ping connected: poll then", "%s", bits(ready(fd, POLLIN)));
	r = recv(fd, buf, sizeof(buf), 0);
	t("ping connected: recv", "%s %s", rs(r), reply(fd, buf, r, 1));
	t("ping connected: recv again", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	t("ping connected: sendto", "%s", rs(echo(fd, 2, 8)));
	ready(fd, POLLIN);
	r = recv(fd, buf, sizeof(buf), 0);
	t("ping connected: recv", "%s %s", rs(r), reply(fd, buf, r, 2));
	t("ping connected: shutdown", "%s", rs(shutdown(fd, SHUT_WR)));
	t("ping connected: SO_ERROR", "%s", en(so_error(fd)));
	t("ping dissolve", "%s", rs(connect(fd, (struct sockaddr *)&none, sizeof(none))));
	t("ping dissolved: peer", "%s", ping_name(fd, 1));
	t("ping dissolved: send", "%s", rs(send(fd, buf, request(buf, 1, 0), 0)));
	close(fd);
}

/* An identifier of the program's choice. */
static void ping_bound(void)
{
	int fd = ping_socket(0), other = ping_socket(0);
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", 4321);
	unsigned char buf[2000];
	ssize_t r;

	t("ping bind", "%s", rs(bind(fd, (struct sockaddr *)&ss, len)));
	t("ping bound: local", "%s, %d", ping_name(fd, 0), local_port(fd));
	t("ping bind: by another", "%s", rs(bind(other, (struct sockaddr *)&ss, len)));
	close(other);
	t("ping bound: sendto", "%s", rs(echo(fd, 9, 16)));
	ready(fd, POLLIN);
	r = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	t("ping bound: recv", "%s %s", rs(r), reply(fd, buf, r, 9));
	close(fd);
	fd = ping_socket(0);
	t("ping bind: when it is free", "%s", rs(bind(fd, (struct sockaddr *)&ss, len)));
	close(fd);
	fd = ping_socket(0);
	len = addr(&ss, "192.0.2.1", "2001:db8::1", 0);
	t("ping bind: not ours", "%s", rs(bind(fd, (struct sockaddr *)&ss, len)));
	close(fd);
}

static void ping_errors(void)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", 0);
	struct sockaddr *to = (struct sockaddr *)&ss;
	unsigned char buf[2000];
	int fd = ping_socket(0), v = -1, r;
	size_t n = request(buf, 1, 8);
	socklen_t l = sizeof(v);

	t("ping: listen", "%s", rs(listen(fd, 1)));
	t("ping: accept", "%s", rs(accept(fd, NULL, NULL)));
	r = getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &l);
	t("ping: SO_TYPE", "%s %d", rs(r), v == SOCK_DGRAM);
	r = getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &l);
	t("ping: SO_PROTOCOL", "%s %d", rs(r), v);
	t("ping: no header", "%s", rs(sendto(fd, buf, 4, 0, to, len)));
	t("ping: OOB", "%s", rs(sendto(fd, buf, n, MSG_OOB, to, len)));
	t("ping: a short address", "%s", rs(sendto(fd, buf, n, 0, to, 4)));
	buf[1] = 1;
	t("ping: a code", "%s", rs(sendto(fd, buf, n, 0, to, len)));
	buf[1] = 0;
	buf[0] = fam == F4 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH;
	t("ping: another type", "%s", rs(sendto(fd, buf, n, 0, to, len)));
	request(buf, 1, 8);
	if (fam == FM)
		t("ping: to IPv4", "%s", rs(sendto(fd, buf, n, 0, to, len)));
	len = addr(&ss, "192.0.2.1", "2001:db8::1", 0);
	if (fam != FM)
		t("ping: no route", "%s", rs(sendto(fd, buf, n, 0, to, len)));
	t("ping: connect, no route", "%s", rs(connect(fd, to, len)));
	ss.ss_family = fam == F4 ? AF_INET6 : AF_INET;
	t("ping: family", "%s", rs(sendto(fd, buf, n, 0, to, sizeof(struct sockaddr_in6))));
	close(fd);
}

void ping(void)
{
	int fd = ping_socket(0);

	t("ping: socket", "%s", fd >= 0 ? "ok" : strerrorname_np(errno));
	if (fd < 0)
		return;
	close(fd);
	/* Version 6 has no echo to IPv4. */
	if (fam != FM) {
		ping_unconnected();
		ping_connected();
		ping_bound();
	}
	ping_errors();
}
