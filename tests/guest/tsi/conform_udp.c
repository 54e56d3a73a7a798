// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: UDP. */

/*
 * How it works
 *
 * Unconnected, connected, and bound sockets against the echo services of the peer; what the peer
 * sends of its own accord is asked for over the control connection.
 */
#include "conform.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

/* ---- UDP ---- */

static ssize_t send_to(int fd, const void *p, size_t n, int port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", port);

	return sendto(fd, p, n, MSG_NOSIGNAL, (struct sockaddr *)&ss, len);
}

void udp_unconnected(void)
{
	int fd = xsocket(SOCK_DGRAM), n = -1;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char buf[64];
	ssize_t r;

	t("udp fresh: poll", "%s", bits(polled(fd)));
	t("udp fresh: local", "%s", name_of(fd, 0));
	t("udp fresh: send", "%s", rs(send(fd, "x", 1, 0)));
	t("udp fresh: recv", "%s", rs(recv(fd, buf, 1, MSG_DONTWAIT)));
	t("udp fresh: listen", "%s", rs(listen(fd, 1)));
	t("udp fresh: accept", "%s", rs(accept(fd, NULL, NULL)));
	t("udp sendto", "%s", rs(send_to(fd, "hello", 5, base + S_UDP_ECHO)));
	t("udp: local", "%s", name_of(fd, 0));
	t("udp: peer", "%s", name_of(fd, 1));
	t("udp: poll", "%s", bits(ready(fd, POLLIN)));
	ioctl(fd, FIONREAD, &n);
	t("udp: FIONREAD", "%d", n);
	r = recvfrom(fd, buf, sizeof(buf), MSG_PEEK, (struct sockaddr *)&ss, &len);
	t("udp: peek", "%s %.5s", rs(r), buf);
	memset(&ss, 0, sizeof(ss));
	len = sizeof(ss);
	r = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&ss, &len);
	t("udp: recvfrom", "%s %.5s from %s base+%d len %u", rs(r), buf, ip_of(&ss),
		port_of(&ss) - base, len);
	send_to(fd, "truncate", 8, base + S_UDP_ECHO);
	ready(fd, POLLIN);
	t("udp: truncated", "%s", rs(recv(fd, buf, 3, 0)));
	send_to(fd, "truncate", 8, base + S_UDP_ECHO);
	ready(fd, POLLIN);
	t("udp: truncated, TRUNC", "%s", rs(recv(fd, buf, 3, MSG_TRUNC)));
	t("udp: empty", "%s", rs(send_to(fd, "", 0, base + S_UDP_ECHO)));
	t("udp: empty, poll", "%s", bits(ready(fd, POLLIN)));
	t("udp: empty, recv", "%s", rs(recv(fd, buf, 3, 0)));
	send_to(fd, "x", 1, base + S_UDP_PORT);
	ready(fd, POLLIN);
	r = recv(fd, buf, sizeof(buf) - 1, 0);
	buf[r > 0 ? r : 0] = 0;
	t("udp: the port is what getsockname says", "%d", atoi(buf) == local_port(fd));
	t("udp: port 0", "%s", rs(send_to(fd, "x", 1, 0)));
	t("udp: shutdown", "%s", rs(shutdown(fd, SHUT_WR)));
	close(fd);
}

void udp_connected(void)
{
	struct sockaddr_storage none = { .ss_family = AF_UNSPEC };
	int fd = xsocket(SOCK_DGRAM);
	char buf[64];
	ssize_t r;

	t("udp connect", "%s", rs(xconnect_to(fd, base + S_UDP_ECHO)));
	t("udp connected: local", "%s", name_of(fd, 0));
	t("udp connected: peer", "%s", name_of(fd, 1));
	t("udp connected: poll", "%s", bits(polled(fd)));
	t("udp connected: send", "%s", rs(send(fd, "abc", 3, 0)));
	ready(fd, POLLIN);
	r = recv(fd, buf, sizeof(buf), 0);
	t("udp connected: recv", "%s %.3s", rs(r), buf);
	ask("send %d %d stranger", fam == F6, local_port(fd));
	told();
	send(fd, "friend", 6, 0);
	ready(fd, POLLIN);
	r = recv(fd, buf, sizeof(buf), 0);
	t("udp connected: strangers are not heard", "%s %.6s", rs(r), buf);
	t("udp connected: elsewhere", "%s", rs(send_to(fd, "x", 1, base + S_UDP_PORT)));
	t("udp connect again", "%s", rs(xconnect_to(fd, base + S_UDP_PORT)));
	t("udp connect again: peer", "%s", name_of(fd, 1));
	t("udp dissolve", "%s", rs(connect(fd, (struct sockaddr *)&none, sizeof(none))));
	t("udp dissolved: peer", "%s", name_of(fd, 1));
	t("udp dissolved: send", "%s", rs(send(fd, "x", 1, 0)));
	close(fd);
	fd = xsocket(SOCK_DGRAM);
	t("udp refused: connect", "%s", rs(xconnect_to(fd, base + S_CLOSED)));
	t("udp refused: send", "%s", rs(send(fd, "x", 1, 0)));
	t("udp refused: poll", "%s", bits(ready(fd, POLLIN) & POLLERR));
	t("udp refused: recv", "%s", rs(recv(fd, buf, 1, MSG_DONTWAIT)));
	t("udp refused: recv again", "%s", rs(recv(fd, buf, 1, MSG_DONTWAIT)));
	send(fd, "x", 1, 0);
	ready(fd, 0);
	t("udp refused: SO_ERROR", "%s", en(so_error(fd)));
	t("udp connected: shutdown", "%s", rs(shutdown(fd, SHUT_WR)));
	t("udp connected: send after it", "%s", rs(send(fd, "x", 1, MSG_NOSIGNAL)));
	close(fd);
}

void udp_server(void)
{
	int fd = bound(SOCK_DGRAM, "0.0.0.0", "::", 0), port = local_port(fd), one = 1, me;
	struct sockaddr_storage ss;
	char buf[64], ctrl[128];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr m = { .msg_name = &ss,
		.msg_namelen = sizeof(ss),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = ctrl,
		.msg_controllen = sizeof(ctrl) };
	ssize_t r;

	t("udp bound: local", "%s", name_of(fd, 0));
	t("udp bound: again", "%s", rs(bound(SOCK_DGRAM, "0.0.0.0", "::", port)));
	ask("bind %d %d %d", SOCK_DGRAM, fam == F6, port);
	t("udp bound: by another", "%s", told());
	setsockopt(fd, fam == F4 ? IPPROTO_IP : IPPROTO_IPV6,
		fam == F4 ? IP_PKTINFO : IPV6_RECVPKTINFO, &one, sizeof(one));
	ask("send %d %d first", fam == F6, port);
	told();
	ready(fd, POLLIN);
	r = recvmsg(fd, &m, 0);
	t("udp bound: recvmsg", "%s %.5s from %s flags %x", rs(r), buf, ip_of(&ss), m.msg_flags);
	t("udp bound: control", "%d", CMSG_FIRSTHDR(&m) != NULL);
	me = xsocket(SOCK_DGRAM);
	send_to(me, "mine", 4, port);
	ready(fd, POLLIN);
	r = recv(fd, buf, sizeof(buf), 0);
	t("udp bound: from the same side", "%s %.4s", rs(r), buf);
	close(me);
	timeouts(fd, 50);
	t("udp bound: time limit", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	close(fd);
	fd = bound(SOCK_DGRAM, "0.0.0.0", "::", port);
	t("udp: the port is free again", "%d", fd >= 0);
	close(fd);
	t("udp bind: not ours", "%s", rs(bound(SOCK_DGRAM, "192.0.2.1", "2001:db8::1", 0)));
}

void udp_sizes(void)
{
	static const int sizes[] = { 1, 1000, 1472, 8000, 40000, 65507 };
	static unsigned char out[70000], in[70000];
	int fd = xsocket(SOCK_DGRAM);
	char name[32];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (unsigned char)(i * 11 + i / 253);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ssize_t r = send_to(fd, out, (size_t)sizes[i], base + S_UDP_ECHO);

		memset(in, 0, sizeof(in));
		ready(fd, POLLIN);
		snprintf(name, sizeof(name), "udp size %d", sizes[i]);
		if (r == sizes[i])
			r = recv(fd, in, sizeof(in), MSG_DONTWAIT);
		t(name, "%s, %s", rs(r), memcmp(in, out, (size_t)sizes[i]) ? "wrong" : "right");
	}
	t("udp size 65508 (v6: 65528)", "%s",
		rs(send_to(fd, out, fam == F6 ? 65528 : 65508, base + S_UDP_ECHO)));
	close(fd);
}

void udp_many(void)
{
	struct mmsghdr v[4] = { { { 0 }, 0 } };
	struct iovec iov[4];
	char buf[4][8] = { "one", "two", "three", "four" };
	int fd = xsocket(SOCK_DGRAM), n = 0, r;

	xconnect_to(fd, base + S_UDP_ECHO);
	for (int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){ buf[i], strlen(buf[i]) };
		v[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	t("sendmmsg", "%s", rs(sendmmsg(fd, v, 4, 0)));
	for (int i = 0; i < 4; i++)
		iov[i].iov_len = sizeof(buf[i]);
	while (n < 4 && ready(fd, POLLIN) &&
		(r = recvmmsg(fd, v + n, (unsigned)(4 - n), MSG_DONTWAIT, NULL)) > 0)
		n += r;
	t("recvmmsg", "%d: %u %u %u %u", n, v[0].msg_len, v[1].msg_len, v[2].msg_len, v[3].msg_len);
	close(fd);
}

/* More than a few large ones at once, each way. */
void udp_bursts(void)
{
	static char buf[65536];
	int fd = bound(SOCK_DGRAM, "0.0.0.0", "::", 0), n, full = 0;

	for (int size = 5000; size <= 15000; size += 5000) {
		ask("burst %d %d %d %d", fam == F6, local_port(fd), 60000 / size, size);
		told();
		for (n = 0; n < 60000 / size && ready(fd, POLLIN); n++)
			if (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) != size)
				break;
		t("udp burst", "%d of %d with %d bytes", n, 60000 / size, size);
	}
	close(fd);
	fd = xsocket(SOCK_DGRAM);
	xconnect_to(fd, base + S_UDP_SINK);
	for (int i = 0; i < 50; i++) {
		ready(fd, POLLOUT);
		if (send(fd, buf, 60000, MSG_DONTWAIT) < 0 && errno == EAGAIN)
			full++;
	}
	t("udp: writable, and EAGAIN", "%d", full);
	close(fd);
	/* Nobody hears of it: it is one destination of many. */
	fd = xsocket(SOCK_DGRAM);
	t("udp nobody there", "%s", rs(send_to(fd, "x", 1, base + S_CLOSED)));
	send_to(fd, "answer", 6, base + S_UDP_ECHO);
	t("udp nobody there: poll", "%s", bits(ready(fd, POLLIN)));
	t("udp nobody there: SO_ERROR", "%s", en(so_error(fd)));
	t("udp nobody there: recv", "%s", rs(recv(fd, buf, sizeof(buf), MSG_DONTWAIT)));
	close(fd);
}

void udp_errors(void)
{
	struct ip_mreq mreq = { .imr_multiaddr.s_addr = htonl(0xe0000005) };
	struct ipv6_mreq mreq6 = { .ipv6mr_multiaddr = { .s6_addr = { 0xff, 2, [15] = 5 } },
		.ipv6mr_interface = 1 };
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "192.0.2.1", "2001:db8::1", 9);
	int fd = xsocket(SOCK_DGRAM);

	connect_error("udp connect: no route", SOCK_DGRAM, "192.0.2.1", "2001:db8::1", 9);
	t("udp sendto: no route", "%s", rs(sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len)));
	t("udp sendto: short", "%s", rs(sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, 4)));
	len = addr(&ss, "127.0.0.1", "::1", base + S_UDP_ECHO);
	t("udp sendto OOB", "%s", rs(sendto(fd, "x", 1, MSG_OOB, (struct sockaddr *)&ss, len)));
	t("udp send OOB", "%s", rs(send(fd, "x", 1, MSG_OOB)));
	if (fam == F4)
		t("multicast join", "%s",
			rs(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq, sizeof(mreq))));
	else
		t("multicast join", "%s",
			rs(setsockopt(
				fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &mreq6, sizeof(mreq6))));
	close(fd);
}
