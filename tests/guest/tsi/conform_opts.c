// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: options, other kinds of sockets, rights. */

/*
 * How it works
 *
 * An option is set and read back, before the socket is connected and after. What the guest refuses
 * is in conform_refused.c.
 */
#include "conform.h"

#include <signal.h>
#include <sys/wait.h>

/* ---- options ---- */

static void option(int fd, const char *name, int level, int opt, int value)
{
	int v = value, r = setsockopt(fd, level, opt, &v, sizeof(v));
	const char *set = rs(r);
	socklen_t len = sizeof(v);

	v = -1;
	r = getsockopt(fd, level, opt, &v, &len);
	t(name, "set %s get %s %d", set, rs(r), v);
}

static void option_get(int fd, const char *name, int level, int opt)
{
	int v = -1;
	socklen_t len = sizeof(v);
	int r = getsockopt(fd, level, opt, &v, &len);

	t(name, "get %s %d", rs(r), v);
}

/* Times as they were set, whole ticks of any kernel. */
static void time_limits(int type, const char *what)
{
	static const struct {
		int opt;
		const char *name;
	} limits[] = { { SO_RCVTIMEO, "RCVTIMEO" }, { SO_SNDTIMEO, "SNDTIMEO" } };
	struct timeval tv;
	socklen_t len;
	int fd = xsocket(type), r;

	for (unsigned i = 0; i < 2; i++) {
		len = sizeof(tv);
		r = getsockopt(fd, SOL_SOCKET, limits[i].opt, &tv, &len);
		t(what, "%s get %s len %u %ld %ld", limits[i].name, rs(r), len, (long)tv.tv_sec,
			(long)tv.tv_usec);
		tv = (struct timeval){ .tv_sec = 2 + i, .tv_usec = 500000 };
		r = setsockopt(fd, SOL_SOCKET, limits[i].opt, &tv, sizeof(tv));
		t(what, "%s set %s", limits[i].name, rs(r));
		t(what, "%s short %s", limits[i].name,
			rs(setsockopt(fd, SOL_SOCKET, limits[i].opt, &tv, 4)));
		tv.tv_usec = 1000000;
		r = setsockopt(fd, SOL_SOCKET, limits[i].opt, &tv, sizeof(tv));
		t(what, "%s too many us %s", limits[i].name, rs(r));
	}
	xconnect_to(fd, base + (type == SOCK_STREAM ? S_ECHO : S_UDP_ECHO));
	for (unsigned i = 0; i < 2; i++) {
		len = sizeof(tv);
		r = getsockopt(fd, SOL_SOCKET, limits[i].opt, &tv, &len);
		t(what, "%s connected %s %ld %ld", limits[i].name, rs(r), (long)tv.tv_sec,
			(long)tv.tv_usec);
	}
	close(fd);
}

void tcp_options(void)
{
	struct linger l = { .l_onoff = 1, .l_linger = 3 };
	struct tcp_info info = { 0 };
	socklen_t len;
	int fd;

	time_limits(SOCK_STREAM, "tcp time limits");
	time_limits(SOCK_DGRAM, "udp time limits");
	for (int up = 0; up < 2; up++) {
		fd = up ? connected(S_ECHO) : xsocket(SOCK_STREAM);
		option_get(fd, "SO_TYPE", SOL_SOCKET, SO_TYPE);
		option_get(fd, "SO_DOMAIN", SOL_SOCKET, SO_DOMAIN);
		option_get(fd, "SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL);
		option_get(fd, "SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN);
		option(fd, "SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1);
		option(fd, "SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1);
		option(fd, "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1);
		option(fd, "SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1);
		option(fd, "SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, 3);
		option(fd, "SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, 20000);
		option(fd, "SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, 20000);
		option(fd, "SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, 1);
		option(fd, "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1);
		option(fd, "TCP_CORK", IPPROTO_TCP, TCP_CORK, 1);
		option(fd, "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 77);
		option(fd, "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 11);
		option(fd, "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 5);
		option(fd, "TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, 3);
		option(fd, "TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
		option(fd, "TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
		option(fd, "TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, 10);
		option(fd, "TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384);
		option(fd, "unknown option", IPPROTO_TCP, 9999, 1);
		option(fd, "bad level", 9999, 1, 1);
		if (fam == F4) {
			option(fd, "IP_TOS", IPPROTO_IP, IP_TOS, 0x10);
			option(fd, "IP_TTL", IPPROTO_IP, IP_TTL, 33);
			option(fd, "IP_TTL too big", IPPROTO_IP, IP_TTL, 300);
		} else {
			option(fd, "IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, fam == F6);
			option(fd, "IPV6_TCLASS", IPPROTO_IPV6, IPV6_TCLASS, 0x20);
			option(fd, "IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, 44);
		}
		t("SO_LINGER", "set %s", rs(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l))));
		len = sizeof(l);
		getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len);
		t("SO_LINGER", "get %d %d", l.l_onoff, l.l_linger);
		len = sizeof(info);
		t("TCP_INFO", "%s", rs(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len)));
		t("TCP_INFO", "state %d, mss %d, mtu %d", info.tcpi_state, info.tcpi_snd_mss > 0,
			info.tcpi_pmtu > 0);
		close(fd);
	}
}

/* ---- what is no TCP and no UDP; rights ---- */

void kinds(void)
{
	int fd;

	t("stream over udp", "%s", rs(socket(family(), SOCK_STREAM, IPPROTO_UDP)));
	t("dgram over tcp", "%s", rs(socket(family(), SOCK_DGRAM, IPPROTO_TCP)));
	fd = socket(family(), SOCK_RAW, IPPROTO_ICMP);
	t("raw", "%s", fd >= 0 ? "ok" : strerrorname_np(errno));
	close(fd);
}

void rights(void)
{
	int st;

	fflush(stdout);
	if (!fork()) {
		if (setgid(1000) || setuid(1000))
			_exit(1);
		t("port 80 without rights", "%s", rs(bound(SOCK_STREAM, "0.0.0.0", "::", 80)));
		t("udp port 53 without rights", "%s", rs(bound(SOCK_DGRAM, "0.0.0.0", "::", 53)));
		t("raw without rights", "%s", rs(socket(family(), SOCK_RAW, IPPROTO_ICMP)));
		fflush(stdout);
		_exit(0);
	}
	wait(&st);
	cases += 3;
	st = bound(SOCK_STREAM, "0.0.0.0", "::", 80);
	t("port 80", "%d", st >= 0);
	close(st);
}
