// SPDX-License-Identifier: GPL-2.0-only
/* Addresses of TSI, and the rule that says what stays in the guest. */

#include <linux/in.h>
#include <linux/in6.h>
#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/ipv6.h>
#include <net/tcp.h>
#include <net/udp.h>

#include "guest.h"

static void tsi_addr_in6(const struct sockaddr_in6 *s, int len, struct tsi_addr *a)
{
	a->family = TSI_INET6;
	a->port = s->sin6_port;
	a->flowinfo = s->sin6_flowinfo;
	memcpy(a->ip, &s->sin6_addr, sizeof(s->sin6_addr));
	if (len >= (int)sizeof(*s))
		a->scope = cpu_to_le32(s->sin6_scope_id);
}

int tsi_addr_in(const struct tsi_sock *ts, const struct sockaddr *ua, int len, struct tsi_addr *a)
{
	const struct sockaddr_in *s = (const struct sockaddr_in *)ua;

	memset(a, 0, sizeof(*a));
	if (ts->v6) {
		/* Only sending takes the other family; it becomes the mapped form of this one. */
		if (ts->kind == TSI_UDP && ua->sa_family == AF_INET && len >= (int)sizeof(*s)) {
			a->family = TSI_INET6;
			a->port = s->sin_port;
			ipv6_addr_set_v4mapped(s->sin_addr.s_addr, (struct in6_addr *)a->ip);
			return 0;
		}
		if (len < SIN6_LEN_RFC2133)
			return -EINVAL;
		if (ua->sa_family != AF_INET6)
			return -EAFNOSUPPORT;
		tsi_addr_in6((const struct sockaddr_in6 *)ua, len, a);
		return 0;
	}
	if (len < (int)sizeof(*s))
		return -EINVAL;
	if (ua->sa_family != AF_INET)
		return -EAFNOSUPPORT;
	a->family = TSI_INET;
	a->port = s->sin_port;
	memcpy(a->ip, &s->sin_addr, sizeof(s->sin_addr));
	return 0;
}

int tsi_addr_out(const struct tsi_sock *ts, const struct tsi_addr *a, struct sockaddr *ua)
{
	struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ua;
	struct sockaddr_in *s = (struct sockaddr_in *)ua;

	if (ts->v6) {
		memset(s6, 0, sizeof(*s6));
		s6->sin6_family = AF_INET6;
		s6->sin6_port = a->port;
		if (a->family == TSI_INET) {
			ipv6_addr_set_v4mapped(*(const __be32 *)a->ip, &s6->sin6_addr);
		} else {
			s6->sin6_flowinfo = a->flowinfo;
			s6->sin6_scope_id = le32_to_cpu(a->scope);
			memcpy(&s6->sin6_addr, a->ip, sizeof(s6->sin6_addr));
		}
		return sizeof(*s6);
	}
	memset(s, 0, sizeof(*s));
	s->sin_family = AF_INET;
	s->sin_port = a->port;
	if (a->family == TSI_INET)
		memcpy(&s->sin_addr, a->ip, sizeof(s->sin_addr));
	return sizeof(*s);
}

bool tsi_addr_v4(const struct tsi_addr *a, __be32 *ip)
{
	const struct in6_addr *in6 = (const struct in6_addr *)a->ip;

	if (a->family == TSI_INET6) {
		if (!ipv6_addr_v4mapped(in6))
			return false;
		*ip = in6->s6_addr32[3];
		return true;
	}
	memcpy(ip, a->ip, sizeof(*ip));
	return true;
}

static bool tsi_stays4(const struct tsi_sock *ts, __be32 ip, __be16 port)
{
	const __be32 lo = htonl(INADDR_LOOPBACK);
	const struct inet_sock *inet = inet_sk(ts->sk);

	if (ip == 0)
		ip = lo;
	if (!ipv4_is_loopback(ip))
		return false;
	switch (ts->kind) {
	case TSI_TCP:
		return __inet_lookup_listener(&init_net, init_net.ipv4.tcp_death_row.hashinfo, NULL, 0, lo,
					      inet->inet_sport, ip, ntohs(port), LOOPBACK_IFINDEX, 0);
	case TSI_UDP:
		return __udp4_lib_lookup(&init_net, lo, inet->inet_sport, ip, port, LOOPBACK_IFINDEX, 0,
					 init_net.ipv4.udp_table, NULL);
	default:
		return true;
	}
}

static bool tsi_stays6(const struct tsi_sock *ts, const struct in6_addr *ip, __be16 port)
{
	const struct inet_sock *inet = inet_sk(ts->sk);

	if (ipv6_addr_any(ip))
		ip = &in6addr_loopback;
	if (!ipv6_addr_loopback(ip))
		return false;
	switch (ts->kind) {
	case TSI_TCP:
		return inet6_lookup_listener(&init_net, init_net.ipv4.tcp_death_row.hashinfo, NULL, 0,
					     &in6addr_loopback, inet->inet_sport, ip, ntohs(port),
					     LOOPBACK_IFINDEX, 0);
	case TSI_UDP:
		return __udp6_lib_lookup(&init_net, &in6addr_loopback, inet->inet_sport, ip, port,
					 LOOPBACK_IFINDEX, 0, init_net.ipv4.udp_table, NULL);
	default:
		return true;
	}
}

/* A socket that is found may be gone at once: then the native call says so, as it would anyway. */
bool tsi_stays(const struct tsi_sock *ts, const struct tsi_addr *a)
{
	__be32 ip;
	bool stays;

	rcu_read_lock();
	if (tsi_addr_v4(a, &ip))
		stays = tsi_stays4(ts, ip, a->port);
	else
		stays = tsi_stays6(ts, (const struct in6_addr *)a->ip, a->port);
	rcu_read_unlock();
	return stays;
}
