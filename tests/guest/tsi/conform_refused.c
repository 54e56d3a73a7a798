// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: what the host's side cannot do, and what it looks like. */

/*
 * How it works
 *
 * Each row of "What differs" in docs/networking.md that a program can see is tried here, beside
 * what lies next to it and works. So a line that differs is in tests/guest/tsi/differences, and one
 * that comes to differ, or no longer does, fails the test.
 */
#include "conform.h"

#include <linux/filter.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/uio.h>

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO	    104
#endif

#define LOOPBACK_INDEX 1

static void set(int fd, const char *name, int level, int opt, int v)
{
	t(name, "set %s", rs(setsockopt(fd, level, opt, &v, sizeof(v))));
}

static void set_of_family(int fd, const char *name, int v4, int v6, int v)
{
	set(fd, name, fam == F4 ? IPPROTO_IP : IPPROTO_IPV6, fam == F4 ? v4 : v6, v);
}

/* Whether @fd still does what such a socket does. */
static void works(int fd, const char *name)
{
	char buf[64] = "";
	ssize_t n = send(fd, "works", 5, MSG_NOSIGNAL);

	ready(fd, POLLIN);
	if (n == 5)
		n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
	t(name, "then %s %s", rs(n), buf);
}

/* ---- TCP ---- */

static void urgent(void)
{
	int fd = connected(S_REPORT);

	t("urgent: send", "%s", rs(send(fd, "x", 1, MSG_OOB | MSG_NOSIGNAL)));
	t("urgent: MSG_MORE", "%s", rs(send(fd, "ab", 2, MSG_MORE | MSG_NOSIGNAL)));
	close(fd);
	ask("report");
	/* Without what was urgent: that is not among the bytes. */
	t("urgent: the peer", "%s", told());
}

static void fast_open(void)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", base + S_ECHO);
	int fd = xsocket(SOCK_STREAM), c;

	t("fast open: sendto", "%s",
		rs(sendto(fd, "", 0, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&ss, len)));
	close(fd);
	fd = xsocket(SOCK_STREAM);
	set(fd, "fast open: connect", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
	t("fast open: connect", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	works(fd, "fast open: connect");
	close(fd);
	fd = bound(SOCK_STREAM, "0.0.0.0", "::", 0);
	set(fd, "fast open: listen", IPPROTO_TCP, TCP_FASTOPEN, 5);
	listen(fd, 8);
	timeouts(fd, WAIT_MS);
	ask("call %d %d", fam == F6, local_port(fd));
	c = accept(fd, NULL, NULL);
	send(c, "there\n", 6, MSG_NOSIGNAL);
	t("fast open: listen", "the peer %s", told());
	close(c);
	close(fd);
}

static void zero_copy(int type, const char *name)
{
	int fd = xsocket(type);
	char buf[3];

	set(fd, name, SOL_SOCKET, SO_ZEROCOPY, 1);
	close(fd);
	fd = xsocket(type);
	set(fd, name, SOL_SOCKET, SO_ZEROCOPY, 0);
	xconnect_to(fd, base + (type == SOCK_STREAM ? S_ECHO : S_UDP_ECHO));
	t(name, "MSG_ZEROCOPY without it %s", rs(send(fd, "abc", 3, MSG_ZEROCOPY | MSG_NOSIGNAL)));
	timeouts(fd, WAIT_MS);
	(void)!recv(fd, buf, 3, MSG_WAITALL);
	works(fd, name);
	close(fd);
}

static void stream_rest(void)
{
	struct {
		struct sockaddr_storage ss;
		unsigned char flags, prefixlen;
		unsigned short keylen;
		int ifindex;
		unsigned char key[80];
	} md5 = { .keylen = 3, .key = "key" };
	int fd = xsocket(SOCK_STREAM), v = 0, r;

	/* Newer kernels have it. */
	r = setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &v, sizeof(v));
	t("SO_PEEK_OFF, tcp", "%s",
		!r || errno == EOPNOTSUPP ? "0 or EOPNOTSUPP" : strerrorname_np(errno));
	addr(&md5.ss, "127.0.0.1", "::1", 0);
	t("TCP_MD5SIG", "%s", rs(setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &md5, sizeof(md5))));
	close(fd);
	if (fam == F4)
		return;
	fd = connected(S_ECHO);
	set(fd, "IPV6_ADDRFORM", IPPROTO_IPV6, IPV6_ADDRFORM, AF_INET);
	works(fd, "IPV6_ADDRFORM");
	close(fd);
}

/* ---- UDP ---- */

static void segments(void)
{
	char ctrl[CMSG_SPACE(sizeof(short))] = { 0 }, out[10] = "0123456789", buf[64];
	struct iovec iov = { out, sizeof(out) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctrl,
		.msg_controllen = sizeof(ctrl) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);
	unsigned short size = 5;
	int fd = xsocket(SOCK_DGRAM);

	cm->cmsg_level = SOL_UDP;
	cm->cmsg_type = UDP_SEGMENT;
	cm->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(cm), &size, sizeof(size));
	xconnect_to(fd, base + S_UDP_SINK);
	t("UDP_SEGMENT: in a message", "%s", rs(sendmsg(fd, &m, 0)));
	set(fd, "UDP_SEGMENT", SOL_UDP, UDP_SEGMENT, 5);
	set(fd, "UDP_GRO", SOL_UDP, UDP_GRO, 1);
	close(fd);
	fd = xsocket(SOCK_DGRAM);
	xconnect_to(fd, base + S_UDP_ECHO);
	set(fd, "UDP_CORK", SOL_UDP, UDP_CORK, 1);
	set(fd, "UDP_CORK off", SOL_UDP, UDP_CORK, 0);
	t("MSG_MORE, udp", "%s", rs(send(fd, "ab", 2, MSG_MORE)));
	t("MSG_MORE, udp: the rest", "%s", rs(send(fd, "cd", 2, 0)));
	ready(fd, POLLIN);
	t("MSG_MORE, udp: recv", "%s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	works(fd, "MSG_MORE, udp");
	close(fd);
}

static void peek_offset(void)
{
	int fd = xsocket(SOCK_DGRAM);
	char buf[16] = "";
	ssize_t n;

	set(fd, "SO_PEEK_OFF, udp", SOL_SOCKET, SO_PEEK_OFF, 2);
	xconnect_to(fd, base + S_UDP_ECHO);
	send(fd, "abcdef", 6, 0);
	ready(fd, POLLIN);
	for (int i = 0; i < 2; i++) {
		n = recv(fd, buf, 2, MSG_PEEK | MSG_DONTWAIT);
		t("SO_PEEK_OFF, udp", "peek %s %.2s", rs(n), buf);
	}
	t("SO_PEEK_OFF, udp", "recv %s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	close(fd);
}

static void error_queue(void)
{
	int fd = xsocket(SOCK_DGRAM);
	char buf[16];

	set_of_family(fd, "IP_RECVERR", IP_RECVERR, IPV6_RECVERR, 1);
	xconnect_to(fd, base + S_CLOSED);
	send(fd, "x", 1, 0);
	t("IP_RECVERR", "poll %s", bits(ready(fd, POLLIN) & POLLERR));
	t("IP_RECVERR", "SO_ERROR %s", en(so_error(fd)));
	t("IP_RECVERR", "the queue %s", rs(recv(fd, buf, sizeof(buf), MSG_ERRQUEUE)));
	t("IP_RECVERR", "again %s", rs(recv(fd, buf, sizeof(buf), MSG_ERRQUEUE)));
	t("IP_RECVERR", "SO_ERROR then %s", en(so_error(fd)));
	close(fd);
}

/* The headers that came with a datagram of the peer's. */
static void headers_of(int ttl, int tos)
{
	int fd = bound(SOCK_DGRAM, "0.0.0.0", "::", 0), one = 1;
	char buf[16], ctrl[256];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctrl,
		.msg_controllen = sizeof(ctrl) };
	int stamp = 0, got_ttl = -1, got_tos = -1;

	set_of_family(fd, "IP_RECVTTL", IP_RECVTTL, IPV6_RECVHOPLIMIT, 1);
	set_of_family(fd, "IP_RECVTOS", IP_RECVTOS, IPV6_RECVTCLASS, 1);
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof(one));
	ask("header %d %d %d %d", fam == F6, local_port(fd), ttl, tos);
	told();
	ready(fd, POLLIN);
	t("headers", "%s", rs(recvmsg(fd, &m, MSG_DONTWAIT)));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMP)
			stamp = 1;
		else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
			(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT))
			memcpy(&got_ttl, CMSG_DATA(c), sizeof(int));
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			got_tos = *(unsigned char *)CMSG_DATA(c);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			memcpy(&got_tos, CMSG_DATA(c), sizeof(int));
	}
	t("headers", "sent with ttl %d: %d", ttl, got_ttl);
	t("headers", "sent with tos %d: %d", tos, got_tos);
	t("headers", "a time stamp %d", stamp);
	close(fd);
}

/* A filter that takes nothing, and then none. */
static void filter(void)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { 1, &none };
	int fd = xsocket(SOCK_DGRAM), answered = xsocket(SOCK_DGRAM), zero = 0;
	char buf[16];

	t("filter", "%s", rs(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog))));
	xconnect_to(fd, base + S_UDP_ECHO);
	send(fd, "filtered", 8, 0);
	/* The echo answers in order: when this is there the other has been. */
	xconnect_to(answered, base + S_UDP_ECHO);
	works(answered, "filter: another socket");
	t("filter", "recv %s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	t("filter", "detach %s",
		rs(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof(zero))));
	works(fd, "filter");
	close(fd);
	close(answered);
}

/* The native side of a datagram socket that is bound and connected to the host is not connected. */
static void stranger(int bind_first, const char *name)
{
	int fd = bind_first ? bound(SOCK_DGRAM, "0.0.0.0", "::", 0) : xsocket(SOCK_DGRAM);
	int other = xsocket(SOCK_DGRAM);
	struct sockaddr_storage ss;
	char buf[16] = "";
	socklen_t len;

	xconnect_to(fd, base + S_UDP_ECHO);
	len = addr(&ss, "127.0.0.1", "::1", local_port(fd));
	t(name, "%s", rs(sendto(other, "stranger", 8, 0, (struct sockaddr *)&ss, len)));
	send(fd, "friend", 6, 0);
	ready(fd, POLLIN);
	(void)!recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
	t(name, "heard %s", buf);
	close(other);
	close(fd);
}

static void groups(void)
{
	static const struct {
		const char *name;
		int v4, v6, v;
	} opts[] = { { "IP_MULTICAST_TTL", IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, 5 },
		{ "IP_MULTICAST_LOOP", IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, 0 },
		{ "IP_MULTICAST_IF", IP_MULTICAST_IF, IPV6_MULTICAST_IF, LOOPBACK_INDEX } };
	struct ip_mreqn by_index = { .imr_ifindex = LOOPBACK_INDEX };
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "224.0.0.5", "ff05::5", 9);
	int fd = xsocket(SOCK_DGRAM);

	t("multicast: send", "%s", rs(sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len)));
	close(fd);
	for (unsigned i = 0; i < sizeof(opts) / sizeof(opts[0]); i++) {
		fd = xsocket(SOCK_DGRAM);
		if (fam == F4 && opts[i].v4 == IP_MULTICAST_IF)
			t(opts[i].name, "set %s",
				rs(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &by_index,
					sizeof(by_index))));
		else
			set_of_family(fd, opts[i].name, opts[i].v4, opts[i].v6, opts[i].v);
		t(opts[i].name, "send %s", rs(sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len)));
		/* What is no group goes as ever. */
		xconnect_to(fd, base + S_UDP_ECHO);
		works(fd, opts[i].name);
		close(fd);
	}
}

/* ---- both ---- */

/* Which way packets go: set to what it is anyway, or to something else. */
static void way(int type, int i, int on)
{
	static const char *const names[] = { "SO_BINDTODEVICE", "SO_BINDTOIFINDEX", "SO_MARK",
		"IP_UNICAST_IF", "IP_TRANSPARENT" };
	int fd = xsocket(type), udp = type == SOCK_DGRAM;
	char name[64];

	snprintf(name, sizeof(name), "%s %s %s", udp ? "udp" : "tcp", names[i], on ? "on" : "off");
	switch (i) {
	case 0:
		t(name, "set %s",
			rs(setsockopt(
				fd, SOL_SOCKET, SO_BINDTODEVICE, on ? "lo" : "", on ? 3 : 1)));
		break;
	case 1:
		set(fd, name, SOL_SOCKET, SO_BINDTOIFINDEX, on ? LOOPBACK_INDEX : 0);
		break;
	case 2:
		set(fd, name, SOL_SOCKET, SO_MARK, on ? 5 : 0);
		break;
	case 3:
		set_of_family(fd, name, IP_UNICAST_IF, IPV6_UNICAST_IF,
			on ? (int)htonl(LOOPBACK_INDEX) : 0);
		break;
	default:
		set_of_family(fd, name, IP_TRANSPARENT, IPV6_TRANSPARENT, on);
	}
	t(name, "connect %s", rs(xconnect_to(fd, base + (udp ? S_UDP_ECHO : S_ECHO))));
	works(fd, name);
	close(fd);
}

static void choice(int type, const char *kind)
{
	struct sock_filter first = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = { 1, &first };
	int fd = xsocket(type), one = 1, bad = -1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	t(kind, "CBPF %s",
		rs(setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof(prog))));
	t(kind, "EBPF %s",
		rs(setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &bad, sizeof(bad))));
	close(fd);
}

void refused(void)
{
	urgent();
	fast_open();
	zero_copy(SOCK_STREAM, "zero copy, tcp");
	zero_copy(SOCK_DGRAM, "zero copy, udp");
	stream_rest();
	segments();
	peek_offset();
	error_queue();
	headers_of(64, 0);
	headers_of(33, 0x20);
	filter();
	stranger(0, "a stranger of the same side");
	stranger(1, "a stranger of the same side, who is bound");
	groups();
	for (int i = 0; i < 20; i++)
		way(i < 10 ? SOCK_STREAM : SOCK_DGRAM, i / 2 % 5, i % 2);
	choice(SOCK_STREAM, "tcp, who of several");
	choice(SOCK_DGRAM, "udp, who of several");
}
