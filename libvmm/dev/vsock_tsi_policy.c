// SPDX-License-Identifier: Apache-2.0
// TSI: what the guest may reach, and what it may listen on.
//
// How it works
//
// The first rule that matches decides. When none does, the answer is the opposite of the last rule,
// so that a list of what is denied allows the rest and a list of what is allowed denies it; without
// rules all is allowed. An IPv4 address in IPv6 clothes is judged as what it is. The unspecified
// address, which the kernel takes for the source address or for loopback as it finds the socket,
// becomes loopback before it is judged: no spelling of an address gets past its rule.

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "dev/vsock_tsi.h"
#include "util/log.h"

struct target {
	uint8_t family; /* 4, 6, 0: a port only */
	uint8_t ip[16];
	uint16_t port;
	bool no_port; /* ICMP echo: only a rule for all ports fits */
};

static void target_of(const struct sockaddr_storage *ss, struct target *t)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	memset(t, 0, sizeof(*t));
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

		t->family = 4;
		memcpy(t->ip, &in->sin_addr, 4);
		t->port = ntohs(in->sin_port);
	} else {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

		t->family = 6;
		memcpy(t->ip, &in6->sin6_addr, 16);
		t->port = ntohs(in6->sin6_port);
		if (!memcmp(t->ip, mapped, 12)) {
			t->family = 4;
			memmove(t->ip, t->ip + 12, 4);
			memset(t->ip + 4, 0, 12);
		}
	}
}

static void make_loopback(struct sockaddr_storage *ss)
{
	static const uint8_t none4[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	if (ss->ss_family == AF_INET && !in->sin_addr.s_addr) {
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	} else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr)) {
		in6->sin6_addr = in6addr_loopback;
	} else if (ss->ss_family == AF_INET6 && !memcmp(&in6->sin6_addr, none4, 16)) {
		in6->sin6_addr.s6_addr[12] = 127;
		in6->sin6_addr.s6_addr[15] = 1;
	}
}

static bool in_prefix(const uint8_t *ip, const uint8_t *net, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	return !memcmp(ip, net, bytes) &&
		(!rest || !((ip[bytes] ^ net[bytes]) & (uint8_t)(0xff << (8 - rest))));
}

static bool rule_matches(const struct net_rule *r, const struct target *t)
{
	if (t->no_port ? r->first || r->last != UINT16_MAX
		       : t->port < r->first || t->port > r->last)
		return false;
	return !r->family || (r->family == t->family && in_prefix(t->ip, r->ip, r->prefix));
}

static bool allowed(const struct net_rule *r, unsigned n, const struct target *t)
{
	for (unsigned i = 0; i < n; i++) {
		if (rule_matches(&r[i], t))
			return !r[i].deny;
	}
	return !n || r[n - 1].deny;
}

int tsi_may_reach(const struct tsi_sock *s, struct sockaddr_storage *to)
{
	const struct tsi *t = s->t;
	char text[INET6_ADDRSTRLEN] = "?";
	struct target a;

	if (!t->negress)
		return 0;
	make_loopback(to);
	target_of(to, &a);
	/* what the guest calls the port of an echo must not make a rule for a service fit it */
	a.no_port = s->kind == TSI_PING;
	if (a.no_port)
		a.port = 0;
	if (allowed(t->egress, t->negress, &a))
		return 0;
	(void)inet_ntop(a.family == 4 ? AF_INET : AF_INET6, a.ip, text, sizeof(text));
	log_guest("network policy: %s port %u may not be reached", text, a.port);
	return -EACCES;
}

int tsi_may_listen(const struct tsi *t, uint16_t port)
{
	const struct target a = { .port = port };

	if (allowed(t->listen, t->nlisten, &a))
		return 0;
	log_guest("network policy: port %u may not be listened on", port);
	return -EACCES;
}
