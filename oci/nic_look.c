// SPDX-License-Identifier: Apache-2.0
/* An interface of a network namespace: its link, addresses, neighbours and routes. */
/*
 * How it works
 *
 * Four lists of the kernel's, of which the entries that belong to the interface become records for
 * the guest's agent. Routes that the kernel made of an address are left out, as it makes them again
 * in the guest. Of the others those without a router come first, since a router must be reachable
 * when a route by it is set.
 *
 * The guest gets what a route of its table "main" by this interface says, and those that say that
 * something is not reached at all. What our records have no words for (several hops, another
 * family's router, a source, a type of service) is counted.
 *
 * A namespace often refuses what a kernel does by itself with IPv6, so that no neighbour can become
 * its router. That is carried over, too.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/nic_look.h"
#include "oci/rtnl.h"
#include "oci/json_text.h"
#include "util/util.h"

#define FOR_EVER 0xffffffffU /* seconds of a life */
#define NAMES	 100	     /* characters of the names in a message */

struct links {
	const char *want; /* empty: whichever is up */
	struct nic_if *out;
	unsigned fit;
	bool down, other; /* the one that is wanted is down, or not Ethernet */
	char names[NAMES];
};

static bool digits(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == 0;
}

static bool is_own_tap(const char *name, const struct rtattr *info)
{
	const struct rtattr *in[IFLA_INFO_KIND + 1];
	char kind[4] = "";

	rtnl_nested(info, in, ARRAY_SIZE(in));
	return rtnl_get(in[IFLA_INFO_KIND], kind, sizeof(kind)) && !strcmp(kind, "tun") &&
		!strncmp(name, NIC_OWN_TAP, strlen(NIC_OWN_TAP)) &&
		digits(name + strlen(NIC_OWN_TAP));
}

static void add_name(char *names, const char *name)
{
	size_t n = strlen(names);

	(void)snprintf(names + n, NAMES - n, "%s%s", n ? ", " : "", name);
}

/* What the interface does not do of IPv6: a guest's own would. Nothing is known of it where the
 * host has no IPv6. */
static uint8_t refusals(const struct rtattr *spec)
{
	const struct rtattr *family[AF_INET6 + 1], *in[IFLA_INET6_CONF + 1];
	int32_t v[DEVCONF_DISABLE_IPV6 + 1];
	uint8_t f = MSG_NIC_NO_LINK_LOCAL;

	rtnl_nested(spec, family, ARRAY_SIZE(family));
	rtnl_nested(family[AF_INET6], in, ARRAY_SIZE(in));
	if (!in[IFLA_INET6_CONF] || RTA_PAYLOAD(in[IFLA_INET6_CONF]) < sizeof(v))
		return f | MSG_NIC_NO_IP6 | MSG_NIC_NO_RA;
	(void)memcpy(v, RTA_DATA(in[IFLA_INET6_CONF]), sizeof(v));
	/* a router listens to others only when told by "2" */
	if (v[DEVCONF_ACCEPT_RA] < (v[DEVCONF_FORWARDING] ? 2 : 1))
		f |= MSG_NIC_NO_RA;
	if (!v[DEVCONF_AUTOCONF] || !v[DEVCONF_ACCEPT_RA_PINFO])
		f |= MSG_NIC_NO_AUTOCONF;
	if (!v[DEVCONF_ACCEPT_RA_DEFRTR])
		f |= MSG_NIC_NO_RA_ROUTER;
	return v[DEVCONF_DISABLE_IPV6] ? f | MSG_NIC_NO_IP6 : f;
}

static int on_link(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[IFLA_AF_SPEC + 1];
	struct links *l = arg;
	char name[IFNAMSIZ] = "";
	struct ifinfomsg i;
	size_t len;

	if (h->nlmsg_type != RTM_NEWLINK || n < sizeof(i))
		return 0;
	(void)memcpy(&i, p, sizeof(i));
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(i)), n - sizeof(i), a, ARRAY_SIZE(a));
	len = a[IFLA_IFNAME] ? strnlen(RTA_DATA(a[IFLA_IFNAME]), RTA_PAYLOAD(a[IFLA_IFNAME])) : 0;
	if (!len || len >= sizeof(name))
		return 0;
	(void)memcpy(name, RTA_DATA(a[IFLA_IFNAME]), len);
	if (*l->want && strcmp(name, l->want) != 0)
		return 0;
	l->down = !(i.ifi_flags & IFF_UP);
	l->other = i.ifi_type != ARPHRD_ETHER || i.ifi_flags & IFF_LOOPBACK;
	if (l->down || l->other || is_own_tap(name, a[IFLA_LINKINFO]))
		return 0;
	add_name(l->names, QUOTE(name));
	l->fit++;
	l->out->index = i.ifi_index;
	l->out->no_arp = i.ifi_flags & IFF_NOARP;
	l->out->head.flags = refusals(a[IFLA_AF_SPEC]);
	(void)memcpy(l->out->head.name, name, sizeof(name));
	(void)rtnl_get(a[IFLA_ADDRESS], l->out->head.mac, sizeof(l->out->head.mac));
	(void)rtnl_get(a[IFLA_MTU], &l->out->head.mtu, sizeof(l->out->head.mtu));
	return 0;
}

static int find(int fd, const char *name, struct nic_if *out, struct error *e)
{
	struct links l = { .want = name, .out = out };
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	int r = rtnl_list(fd, RTM_GETLINK, &i, sizeof(i), on_link, &l);

	if (r)
		return err_sys(e, r, "the interfaces of the container's network namespace");
	if (l.fit == 1)
		return 0;
	if (l.fit)
		return err_set(e, EINVAL,
			"the container's network namespace has several interfaces (%s): the annotation krun-oci.net.interface tells which",
			l.names);
	if (!*name)
		return err_set(
			e, ENODEV, "the container's network namespace has no interface that is up");
	if (l.down || l.other)
		return err_set(e, l.other ? EINVAL : ENETDOWN,
			"%s of the container's network namespace %s", QUOTE(name),
			l.other ? "is not an Ethernet interface" : "is down");
	return err_set(
		e, ENODEV, "the container's network namespace has no interface %s", QUOTE(name));
}

/* A new record, or NULL when all are in use. */
static struct msg_nic_item *add(struct nic_if *o, uint8_t kind, uint8_t family)
{
	struct msg_nic_item *m;

	if (o->head.nitems == MSG_NIC_ITEMS)
		return NULL;
	m = &o->item[o->head.nitems++];
	*m = (struct msg_nic_item){ .kind = kind,
		.family = family == AF_INET6 ? MSG_NET_INET6 : MSG_NET_INET };
	return m;
}

static bool get_ip(const struct rtattr *a, uint8_t family, uint8_t ip[16])
{
	return rtnl_get(a, ip, family == AF_INET6 ? 16 : 4);
}

static bool is_ip(uint8_t family)
{
	return family == AF_INET || family == AF_INET6;
}

static int on_address(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[IFA_RT_PRIORITY + 1];
	uint8_t local[16] = { 0 }, other[16] = { 0 };
	struct nic_if *o = arg;
	struct ifa_cacheinfo life = { .ifa_prefered = FOR_EVER, .ifa_valid = FOR_EVER };
	struct msg_nic_item *m;
	struct ifaddrmsg i;
	uint32_t flags;

	if (h->nlmsg_type != RTM_NEWADDR || n < sizeof(i))
		return 0;
	(void)memcpy(&i, p, sizeof(i));
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(i)), n - sizeof(i), a, ARRAY_SIZE(a));
	flags = i.ifa_flags;
	(void)rtnl_get(a[IFA_FLAGS], &flags, sizeof(flags));
	/* a temporary one is the kernel's own affair; its bit means something else to IPv4 */
	if ((int)i.ifa_index != o->index || !is_ip(i.ifa_family) || flags & IFA_F_DADFAILED ||
		(i.ifa_family == AF_INET6 && flags & IFA_F_TEMPORARY) ||
		!get_ip(a[IFA_LOCAL] ? a[IFA_LOCAL] : a[IFA_ADDRESS], i.ifa_family, local))
		return 0;
	(void)rtnl_get(a[IFA_CACHEINFO], &life, sizeof(life));
	if (!life.ifa_valid)
		return 0;
	m = add(o, MSG_NIC_ADDR, i.ifa_family);
	if (!m)
		return -E2BIG;
	m->prefix = i.ifa_prefixlen;
	m->scope = i.ifa_scope;
	m->flags = (flags & IFA_F_NOPREFIXROUTE ? MSG_NIC_NOPREFIXROUTE : 0) |
		(flags & IFA_F_TENTATIVE ? MSG_NIC_DAD : 0);
	if (life.ifa_valid != FOR_EVER || life.ifa_prefered != FOR_EVER) {
		m->valid = life.ifa_valid;
		m->preferred = MIN(life.ifa_prefered, life.ifa_valid);
	}
	(void)memcpy(m->ip, local, sizeof(local));
	if (get_ip(a[IFA_ADDRESS], i.ifa_family, other) && memcmp(other, local, sizeof(other)) != 0)
		(void)memcpy(m->via, other, sizeof(other));
	(void)get_ip(a[IFA_BROADCAST], i.ifa_family, m->src);
	(void)rtnl_get(a[IFA_RT_PRIORITY], &m->metric, sizeof(m->metric));
	return 0;
}

static int on_neighbour(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[NDA_LLADDR + 1];
	struct nic_if *o = arg;
	struct msg_nic_item *m, got = { 0 };
	struct ndmsg d;

	if (h->nlmsg_type != RTM_NEWNEIGH || n < sizeof(d))
		return 0;
	(void)memcpy(&d, p, sizeof(d));
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(d)), n - sizeof(d), a, ARRAY_SIZE(a));
	if (d.ndm_ifindex != o->index || !is_ip(d.ndm_family) || !(d.ndm_state & NUD_PERMANENT) ||
		d.ndm_flags & NTF_PROXY || !get_ip(a[NDA_DST], d.ndm_family, got.ip) ||
		!rtnl_get(a[NDA_LLADDR], got.mac, sizeof(got.mac)))
		return 0;
	m = add(o, MSG_NIC_NEIGH, d.ndm_family);
	if (!m)
		return -E2BIG;
	(void)memcpy(m->ip, got.ip, sizeof(m->ip));
	(void)memcpy(m->mac, got.mac, sizeof(m->mac));
	return 0;
}

struct routes {
	struct nic_if *o;
	bool routed; /* those by a router */
};

/* Does one of several hops go by the interface? */
static bool hops_by(const struct rtattr *a, int index)
{
	const uint8_t *p = a ? RTA_DATA(a) : NULL;
	size_t n = a ? RTA_PAYLOAD(a) : 0;
	struct rtnexthop hop;

	while (n >= sizeof(hop)) {
		(void)memcpy(&hop, p, sizeof(hop));
		if (hop.rtnh_ifindex == index)
			return true;
		if (hop.rtnh_len < sizeof(hop) || (size_t)RTNH_ALIGN(hop.rtnh_len) > n)
			return false;
		p += RTNH_ALIGN(hop.rtnh_len);
		n -= RTNH_ALIGN(hop.rtnh_len);
	}
	return false;
}

/* Seconds that a route is left, 0 when it stays. */
static uint32_t expires(const struct rtattr *a)
{
	struct rta_cacheinfo c = { 0 };
	long hz = sysconf(_SC_CLK_TCK);

	if (!rtnl_get(a, &c, sizeof(c)) || (int32_t)c.rta_expires <= 0 || hz <= 0)
		return 0;
	return (uint32_t)(((long)c.rta_expires + hz - 1) / hz);
}

static int add_route(struct nic_if *o, const struct rtmsg *t, const struct rtattr *const *a)
{
	const struct rtattr *metrics[RTAX_MTU + 1];
	struct msg_nic_item *m = add(o, MSG_NIC_ROUTE, t->rtm_family);

	if (!m)
		return -E2BIG;
	m->type = t->rtm_type == RTN_UNICAST ? 0 : t->rtm_type;
	m->prefix = t->rtm_dst_len;
	m->scope = t->rtm_scope;
	m->origin = t->rtm_protocol;
	m->flags = t->rtm_flags & RTNH_F_ONLINK ? MSG_NIC_ONLINK : 0;
	(void)get_ip(a[RTA_DST], t->rtm_family, m->ip);
	(void)get_ip(a[RTA_GATEWAY], t->rtm_family, m->via);
	(void)get_ip(a[RTA_PREFSRC], t->rtm_family, m->src);
	(void)rtnl_get(a[RTA_PRIORITY], &m->metric, sizeof(m->metric));
	m->valid = expires(a[RTA_CACHEINFO]);
	rtnl_nested(a[RTA_METRICS], metrics, ARRAY_SIZE(metrics));
	(void)rtnl_get(metrics[RTAX_MTU], &m->mtu, sizeof(m->mtu));
	return 0;
}

/* What nobody is reached by, whichever interface there is. */
static bool is_wall(const struct rtmsg *t)
{
	return t->rtm_type >= RTN_BLACKHOLE && t->rtm_type <= RTN_THROW;
}

static int on_route(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[RTA_ENCAP + 1];
	struct routes *s = arg;
	uint32_t table;
	struct rtmsg t;
	int oif = 0;
	bool ours;

	if (h->nlmsg_type != RTM_NEWROUTE || n < sizeof(t))
		return 0;
	(void)memcpy(&t, p, sizeof(t));
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(t)), n - sizeof(t), a, ARRAY_SIZE(a));
	table = t.rtm_table;
	(void)rtnl_get(a[RTA_TABLE], &table, sizeof(table));
	(void)rtnl_get(a[RTA_OIF], &oif, sizeof(oif));
	ours = is_wall(&t) ||
		(t.rtm_type == RTN_UNICAST &&
			(oif == s->o->index || hops_by(a[RTA_MULTIPATH], s->o->index)));
	if (!ours || table != RT_TABLE_MAIN || !is_ip(t.rtm_family) ||
		t.rtm_protocol == RTPROT_KERNEL || t.rtm_flags & RTM_F_CLONED)
		return 0;
	if (a[RTA_MULTIPATH] || a[RTA_VIA] || a[RTA_ENCAP] || t.rtm_src_len || t.rtm_tos) {
		s->o->left += !s->routed;
		return 0;
	}
	return !a[RTA_GATEWAY] == s->routed ? 0 : add_route(s->o, &t, a);
}

static int look_routes(int fd, struct nic_if *out)
{
	int r = 0;

	for (unsigned i = 0; !r && i < 4; i++) {
		struct routes s = { .o = out, .routed = i >= 2 };
		struct rtmsg t = { .rtm_family = i % 2 ? AF_INET6 : AF_INET };

		r = rtnl_list(fd, RTM_GETROUTE, &t, sizeof(t), on_route, &s);
		/* a kernel without that family */
		if (r == -EOPNOTSUPP || r == -EAFNOSUPPORT)
			r = 0;
	}
	return r;
}

static int look_once(int fd, const char *name, struct nic_if *out, struct error *e)
{
	const struct ifaddrmsg addr = { .ifa_family = AF_UNSPEC };
	const struct ndmsg neigh = { .ndm_family = AF_UNSPEC };
	int r;

	(void)memset(out, 0, sizeof(*out));
	*e = (struct error){ 0 };
	r = find(fd, name, out, e);
	if (r)
		return r;
	r = rtnl_list(fd, RTM_GETADDR, &addr, sizeof(addr), on_address, out);
	if (!r)
		r = rtnl_list(fd, RTM_GETNEIGH, &neigh, sizeof(neigh), on_neighbour, out);
	if (!r)
		r = look_routes(fd, out);
	if (r == -E2BIG)
		return err_set(e, E2BIG,
			"interface %s has more than %u addresses, neighbours and routes",
			QUOTE(out->head.name), MSG_NIC_ITEMS);
	return r ? err_sys(e, r, "the addresses and routes of interface %s", QUOTE(out->head.name))
		 : 0;
}

/* The namespace may be changed at any time, by a manager or by itself: what was seen while it was
 * is no state that it ever had. */
int nic_look(int fd, const char *name, struct nic_if *out, struct error *e)
{
	struct error why;
	int r = -EAGAIN;

	for (unsigned i = 0; r == -EAGAIN && i < RTNL_TRIES; i++)
		r = look_once(fd, name, out, &why);
	return r ? err_set(e, r, "%s", why.msg) : 0;
}
