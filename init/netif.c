// SPDX-License-Identifier: Apache-2.0
/* Interfaces of the guest that show the addresses of the container's network namespace. */
/*
 * How it works
 *
 * Sockets of TSI are the host's and need no interface. Programs look for one all the same:
 * getaddrinfo() with AI_ADDRCONFIG, as most clients call it, hides a family of which there are
 * loopback addresses alone. So each interface of the namespace becomes a dummy one here, of the
 * same name, number, hardware address and MTU, with the same addresses. The number matters: it is
 * the scope of link-local addresses, which the host is told as they are. A packet that went to a
 * dummy interface would be lost; none does, as what leaves the guest leaves through the host's
 * sockets.
 */
#include "agent.h"
#include "netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static int add_link(int fd, const struct msg_netaddr *m)
{
	static const uint8_t no_mac[sizeof(m->mac)];
	struct ifinfomsg i = { .ifi_index = (int)m->ifindex };
	struct nl_req r = nl_request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &i, sizeof(i));
	struct rtattr *outer;
	int err;

	(void)nl_attr(&r, IFLA_IFNAME, m->name, strlen(m->name) + 1);
	if (m->mtu)
		(void)nl_attr(&r, IFLA_MTU, &m->mtu, sizeof(m->mtu));
	if (memcmp(m->mac, no_mac, sizeof(no_mac)) != 0)
		(void)nl_attr(&r, IFLA_ADDRESS, m->mac, sizeof(m->mac));
	outer = nl_attr(&r, IFLA_LINKINFO, NULL, 0);
	(void)nl_attr(&r, IFLA_INFO_KIND, "dummy", 5);
	nl_attr_end(&r, outer);
	err = nl_ask(fd, &r);
	/* the link-local address of the namespace comes like the others */
	return err ? err : nl_link_up(fd, (int)m->ifindex, false);
}

static int add_address(int fd, const struct msg_netaddr *m)
{
	bool v6 = m->family == MSG_NET_INET6;
	struct ifaddrmsg a = { .ifa_family = v6 ? AF_INET6 : AF_INET,
		.ifa_prefixlen = m->prefix,
		.ifa_index = m->ifindex };
	struct nl_req r = nl_request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &a, sizeof(a));
	uint32_t flags = IFA_F_NODAD | IFA_F_PERMANENT;

	(void)nl_attr(&r, IFA_LOCAL, m->ip, v6 ? 16 : 4);
	(void)nl_attr(&r, IFA_ADDRESS, m->ip, v6 ? 16 : 4);
	if (v6)
		(void)nl_attr(&r, IFA_FLAGS, &flags, sizeof(flags));
	return nl_ask(fd, &r);
}

static bool valid(const struct msg_netaddr *m)
{
	size_t len = strnlen(m->name, sizeof(m->name));

	return m->ifindex && m->ifindex <= INT32_MAX && len && len < sizeof(m->name) &&
		!m->reserved &&
		(m->family == MSG_NET_INET ? m->prefix <= 32
					   : m->family == MSG_NET_INET6 && m->prefix <= 128);
}

int netif_show(const uint8_t *list, size_t len)
{
	struct msg_netaddr m;
	int fd, r, err = 0;
	unsigned had;

	if (len % sizeof(m))
		return -EPROTO;
	for (size_t at = 0; at < len; at += sizeof(m)) {
		memcpy(&m, list + at, sizeof(m));
		if (!valid(&m))
			return -EPROTO;
	}
	fd = nl_open();
	if (fd < 0)
		return fd;
	for (size_t at = 0; at < len; at += sizeof(m)) {
		memcpy(&m, list + at, sizeof(m));
		/* an interface has several addresses, and lo is there already */
		had = if_nametoindex(m.name);
		r = had ? 0 : add_link(fd, &m);
		m.ifindex = if_nametoindex(m.name);
		/* one that the kernel made by itself, as libkrunfw's do, is down */
		if (had && !strcmp(m.name, "dummy0"))
			r = nl_link_up(fd, (int)m.ifindex, false);
		if (!r)
			r = add_address(fd, &m);
		if (r && !err)
			err = r;
	}
	(void)close(fd);
	return err;
}
