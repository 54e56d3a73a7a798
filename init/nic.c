// SPDX-License-Identifier: Apache-2.0
/* MSG_NIC: the machine's network device becomes the interface of the container's namespace. */
/*
 * How it works
 *
 * The device is there since the boot, down, as eth0 and with an address of the host's choice. It
 * gets the name, the hardware address and the MTU of the namespace's interface, then addresses,
 * neighbours and routes in the order in which they come: the host has put those routes first that
 * others need. Addresses of IPv6 are used at once where the namespace has looked for a second one
 * already, and what was given for a time is the guest's for what is left of it; and where it is a
 * namespace's, no link-local one is made that the namespace has not. Nor does the guest listen to
 * routers, or have IPv6, where the namespace does not: that is set while the link is down.
 *
 * What the guest's kernel refuses ends all of it, and the device is as it was found: the host may
 * try again. Only IPv6 may be missing, as the config can turn that off; what would be set of it is
 * left out then.
 *
 * DHCP runs in a child of the loop, which waits for nobody.
 */
#include "agent.h"
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEVICE "eth0" /* what the kernel calls the first one */

static const uint8_t none[16];

static size_t ip_len(const struct msg_nic_item *m)
{
	return m->family == MSG_NET_INET6 ? 16 : 4;
}

static uint8_t family_of(const struct msg_nic_item *m)
{
	return m->family == MSG_NET_INET6 ? AF_INET6 : AF_INET;
}

static void ip_attr(
	struct nl_req *r, unsigned short type, const uint8_t *ip, const struct msg_nic_item *m)
{
	if (memcmp(ip, none, sizeof(none)) != 0)
		(void)nl_attr(r, type, ip, ip_len(m));
}

/* While it is down: a name is not changed otherwise. */
static int set_link(int fd, int index, const struct msg_nic *n)
{
	struct ifinfomsg i = { .ifi_index = index };
	struct nl_req r = nl_request(RTM_NEWLINK, 0, &i, sizeof(i));

	(void)nl_attr(&r, IFLA_IFNAME, n->name, strlen(n->name) + 1);
	if (n->mtu)
		(void)nl_attr(&r, IFLA_MTU, &n->mtu, sizeof(n->mtu));
	if (memcmp(n->mac, none, sizeof(n->mac)) != 0)
		(void)nl_attr(&r, IFLA_ADDRESS, n->mac, sizeof(n->mac));
	return nl_ask(fd, &r);
}

static int address(int fd, uint16_t type, uint16_t how, int index, const struct msg_nic_item *m)
{
	struct ifaddrmsg a = { .ifa_family = family_of(m),
		.ifa_prefixlen = m->prefix,
		.ifa_scope = m->scope,
		.ifa_index = (uint32_t)index };
	struct nl_req r = nl_request(type, how, &a, sizeof(a));
	bool v6 = m->family == MSG_NET_INET6;
	const struct ifa_cacheinfo life = { .ifa_prefered = m->preferred, .ifa_valid = m->valid };
	uint32_t flags = (m->valid ? 0 : IFA_F_PERMANENT) |
		(v6 && !(m->flags & MSG_NIC_DAD) ? IFA_F_NODAD : 0) |
		(m->flags & MSG_NIC_NOPREFIXROUTE ? IFA_F_NOPREFIXROUTE : 0);

	(void)nl_attr(&r, IFA_LOCAL, m->ip, ip_len(m));
	(void)nl_attr(
		&r, IFA_ADDRESS, memcmp(m->via, none, sizeof(none)) ? m->via : m->ip, ip_len(m));
	if (!v6)
		ip_attr(&r, IFA_BROADCAST, m->src, m);
	(void)nl_attr(&r, IFA_FLAGS, &flags, sizeof(flags));
	if (m->valid)
		(void)nl_attr(&r, IFA_CACHEINFO, &life, sizeof(life));
	if (m->metric)
		(void)nl_attr(&r, IFA_RT_PRIORITY, &m->metric, sizeof(m->metric));
	return nl_ask(fd, &r);
}

static int add_address(int fd, int index, const struct msg_nic_item *m)
{
	return address(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, m);
}

static int route(int fd, uint16_t type, uint16_t how, int index, const struct msg_nic_item *m)
{
	struct rtmsg t = { .rtm_family = family_of(m),
		.rtm_dst_len = m->prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = m->origin,
		.rtm_scope = m->scope,
		.rtm_type = m->type ? m->type : RTN_UNICAST,
		.rtm_flags = m->flags & MSG_NIC_ONLINK ? RTNH_F_ONLINK : 0 };
	struct nl_req r = nl_request(type, how, &t, sizeof(t));
	struct rtattr *outer;

	if (m->prefix)
		(void)nl_attr(&r, RTA_DST, m->ip, ip_len(m));
	ip_attr(&r, RTA_GATEWAY, m->via, m);
	ip_attr(&r, RTA_PREFSRC, m->src, m);
	if (!m->type)
		(void)nl_attr(&r, RTA_OIF, &index, sizeof(index));
	if (m->metric)
		(void)nl_attr(&r, RTA_PRIORITY, &m->metric, sizeof(m->metric));
	if (m->valid)
		(void)nl_attr(&r, RTA_EXPIRES, &m->valid, sizeof(m->valid));
	if (m->mtu) {
		outer = nl_attr(&r, RTA_METRICS, NULL, 0);
		(void)nl_attr(&r, RTAX_MTU, &m->mtu, sizeof(m->mtu));
		nl_attr_end(&r, outer);
	}
	return nl_ask(fd, &r);
}

static int add_route(int fd, int index, const struct msg_nic_item *m)
{
	int err = route(fd, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, index, m);

	/* that of an address's network is there already */
	return err == -EEXIST ? 0 : err;
}

static int add_neighbour(int fd, int index, const struct msg_nic_item *m)
{
	struct ndmsg d = {
		.ndm_family = family_of(m), .ndm_ifindex = index, .ndm_state = NUD_PERMANENT
	};
	struct nl_req r = nl_request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &d, sizeof(d));

	(void)nl_attr(&r, NDA_DST, m->ip, ip_len(m));
	(void)nl_attr(&r, NDA_LLADDR, m->mac, sizeof(m->mac));
	return nl_ask(fd, &r);
}

static int add_item(int fd, int index, const struct msg_nic_item *m, struct fail *f)
{
	static const char *const what[] = {
		[MSG_NIC_ADDR] = "address",
		[MSG_NIC_ROUTE] = "route to",
		[MSG_NIC_NEIGH] = "neighbour",
	};
	char ip[INET6_ADDRSTRLEN] = "?", name[INET6_ADDRSTRLEN + 4];
	int err = m->kind == MSG_NIC_ADDR  ? add_address(fd, index, m)
		: m->kind == MSG_NIC_ROUTE ? add_route(fd, index, m)
					   : add_neighbour(fd, index, m);

	if (!err)
		return 0;
	(void)inet_ntop(family_of(m), m->ip, ip, sizeof(ip));
	(void)snprintf(name, sizeof(name), "%s/%u", ip, m->prefix);
	return fail_set(f, err, what[m->kind], name);
}

static bool valid_type(const struct msg_nic_item *m)
{
	return !m->type ||
		(m->kind == MSG_NIC_ROUTE && m->type >= RTN_BLACKHOLE && m->type <= RTN_THROW);
}

static bool valid_item(const struct msg_nic_item *m)
{
	return m->kind >= MSG_NIC_ADDR && m->kind <= MSG_NIC_NEIGH && !m->reserved &&
		valid_type(m) && !m->reserved2 && m->preferred <= m->valid &&
		!(m->flags & ~(MSG_NIC_NOPREFIXROUTE | MSG_NIC_ONLINK | MSG_NIC_DAD)) &&
		(m->family == MSG_NET_INET ? m->prefix <= 32
					   : m->family == MSG_NET_INET6 && m->prefix <= 128);
}

static bool valid(const struct msg_nic *n, const uint8_t *items, size_t len)
{
	size_t name = strnlen(n->name, sizeof(n->name));
	struct msg_nic_item m;

	if (!name || name == sizeof(n->name) || n->reserved || n->flags & ~MSG_NIC_FLAGS ||
		n->nitems > MSG_NIC_ITEMS || len != n->nitems * sizeof(m))
		return false;
	for (size_t at = 0; at < len; at += sizeof(m)) {
		memcpy(&m, items + at, sizeof(m));
		if (!valid_item(&m))
			return false;
	}
	return true;
}

/* The settings of IPv6 that @flags turns off: before it is up, and before the config's own, which
 * come when the container starts. A kernel without IPv6 has none of them. */
static int restrict_ip6(const struct msg_nic *n, struct fail *f)
{
	static const struct {
		uint8_t flag;
		const char *name, *value;
	} off[] = {
		{ MSG_NIC_NO_RA, "accept_ra", "0" },
		{ MSG_NIC_NO_AUTOCONF, "autoconf", "0" },
		{ MSG_NIC_NO_AUTOCONF, "accept_ra_pinfo", "0" },
		{ MSG_NIC_NO_RA_ROUTER, "accept_ra_defrtr", "0" },
		{ MSG_NIC_NO_IP6, "disable_ipv6", "1" },
	};

	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		char path[80];
		int fd, err = 0;

		if (!(n->flags & off[i].flag))
			continue;
		(void)snprintf(
			path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", n->name, off[i].name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0 || write(fd, off[i].value, 1) != 1)
			err = errno;
		if (fd >= 0)
			(void)close(fd);
		if (err)
			return fail_set(f, err, "network interface", off[i].name);
	}
	return 0;
}

/* Has it IPv6, which the config, the namespace or the kernel may have taken from it? */
static bool has_ip6(const char *name)
{
	char path[80], is = '1';
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, &is, 1) != 1)
		is = '1';
	if (fd >= 0)
		(void)close(fd);
	return is == '0';
}

/* As it was found, so that it can be set again: routes by it and neighbours go with the link. */
static void give_back(int fd, int index, const struct msg_nic *n, const uint8_t *items)
{
	static const struct msg_nic was = { .name = DEVICE };
	struct ifinfomsg down = { .ifi_index = index, .ifi_change = IFF_UP };
	struct nl_req r = nl_request(RTM_NEWLINK, 0, &down, sizeof(down));
	struct msg_nic_item m;

	(void)nl_ask(fd, &r);
	for (uint32_t i = 0; i < n->nitems; i++) {
		memcpy(&m, items + i * sizeof(m), sizeof(m));
		if (m.kind == MSG_NIC_ADDR)
			(void)address(fd, RTM_DELADDR, 0, index, &m);
		else if (m.type)
			(void)route(fd, RTM_DELROUTE, 0, index, &m);
	}
	(void)set_link(fd, index, &was);
}

static int set_items(
	int fd, int index, const struct msg_nic *n, const uint8_t *items, struct fail *f)
{
	bool ip6 = has_ip6(n->name);
	struct msg_nic_item m;
	unsigned left = 0;
	int err = 0;

	for (uint32_t i = 0; !err && i < n->nitems; i++) {
		memcpy(&m, items + i * sizeof(m), sizeof(m));
		if (m.family == MSG_NET_INET6 && !ip6)
			left++;
		else
			err = add_item(fd, index, &m, f);
	}
	if (!err && left)
		(void)snprintf(f->text, sizeof(f->text),
			"the guest has no IPv6 on %s: %u addresses, neighbours and routes are left out",
			n->name, left);
	return err;
}

static int set_all(int fd, int index, const struct msg_nic *n, const uint8_t *items, struct fail *f)
{
	int err = set_link(fd, index, n);

	if (err)
		return fail_set(f, err, "network interface", n->name);
	err = restrict_ip6(n, f);
	if (err)
		return err;
	err = nl_link_up(fd, index, !(n->flags & MSG_NIC_NO_LINK_LOCAL));
	return err ? fail_set(f, err, "network interface", n->name)
		   : set_items(fd, index, n, items, f);
}

int nic_set(const struct msg_nic *n, const uint8_t *items, size_t len, struct fail *f)
{
	int index = (int)if_nametoindex(DEVICE), fd, err;

	if (!valid(n, items, len))
		return -EPROTO;
	if (!index)
		return fail_set(f, ENODEV, "the machine has no network device", NULL);
	fd = nl_open();
	if (fd < 0)
		return fail_set(f, fd, "netlink", NULL);
	err = set_all(fd, index, n, items, f);
	if (err)
		give_back(fd, index, n, items);
	(void)close(fd);
	return err;
}
