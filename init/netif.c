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
 *
 * Requests go to the kernel one at a time by netlink, each with its answer.
 */
#include "agent.h"
#include "sys.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct req {
	struct nlmsghdr h;
	uint8_t body[508];
};

static void *put(struct req *r, const void *p, size_t n)
{
	uint8_t *at = (uint8_t *)r + NLMSG_ALIGN(r->h.nlmsg_len);

	if (n)
		memcpy(at, p, n);
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + (uint32_t)n;
	return at;
}

static struct rtattr *attr(struct req *r, unsigned short type, const void *p, size_t n)
{
	struct rtattr a = { .rta_type = type, .rta_len = (unsigned short)RTA_LENGTH(n) };
	struct rtattr *at = put(r, &a, sizeof(a));

	(void)put(r, p, n);
	return at;
}

static void attr_end(struct req *r, struct rtattr *at)
{
	at->rta_len = (unsigned short)((uint8_t *)r + NLMSG_ALIGN(r->h.nlmsg_len) - (uint8_t *)at);
}

/* Sends it and waits for the kernel's answer, which comes with the call. */
static int ask(int fd, struct req *r)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		uint8_t more[1024];
	} reply;
	ssize_t n;

	r->h.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (sendto(fd, r, r->h.nlmsg_len, 0, (struct sockaddr *)(void *)&to, sizeof(to)) < 0)
		return -errno;
	n = recv(fd, &reply, sizeof(reply), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(reply.h) + sizeof(reply.e) || reply.h.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return reply.e.error;
}

static struct req request(uint16_t type, uint16_t flags, const void *head, size_t n)
{
	struct req r = {
		.h = { .nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = flags }
	};

	(void)put(&r, head, n);
	return r;
}

static int add_link(int fd, const struct msg_netaddr *m)
{
	static const uint8_t no_mac[sizeof(m->mac)];
	struct ifinfomsg i = {
		.ifi_index = (int)m->ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP
	};
	struct req r = request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &i, sizeof(i));
	uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	struct rtattr *outer, *inner;

	(void)attr(&r, IFLA_IFNAME, m->name, strlen(m->name) + 1);
	if (m->mtu)
		(void)attr(&r, IFLA_MTU, &m->mtu, sizeof(m->mtu));
	if (memcmp(m->mac, no_mac, sizeof(no_mac)) != 0)
		(void)attr(&r, IFLA_ADDRESS, m->mac, sizeof(m->mac));
	outer = attr(&r, IFLA_LINKINFO, NULL, 0);
	(void)attr(&r, IFLA_INFO_KIND, "dummy", 5);
	attr_end(&r, outer);
	/* the link-local address of the namespace comes like the others */
	outer = attr(&r, IFLA_AF_SPEC, NULL, 0);
	inner = attr(&r, AF_INET6, NULL, 0);
	(void)attr(&r, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	attr_end(&r, inner);
	attr_end(&r, outer);
	return ask(fd, &r);
}

static int add_address(int fd, const struct msg_netaddr *m)
{
	bool v6 = m->family == MSG_NET_INET6;
	struct ifaddrmsg a = { .ifa_family = v6 ? AF_INET6 : AF_INET,
		.ifa_prefixlen = m->prefix,
		.ifa_index = m->ifindex };
	struct req r = request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &a, sizeof(a));
	uint32_t flags = IFA_F_NODAD | IFA_F_PERMANENT;

	(void)attr(&r, IFA_LOCAL, m->ip, v6 ? 16 : 4);
	(void)attr(&r, IFA_ADDRESS, m->ip, v6 ? 16 : 4);
	if (v6)
		(void)attr(&r, IFA_FLAGS, &flags, sizeof(flags));
	return ask(fd, &r);
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

	if (len % sizeof(m))
		return -EPROTO;
	for (size_t at = 0; at < len; at += sizeof(m)) {
		memcpy(&m, list + at, sizeof(m));
		if (!valid(&m))
			return -EPROTO;
	}
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < len; at += sizeof(m)) {
		memcpy(&m, list + at, sizeof(m));
		/* an interface has several addresses, and lo is there already */
		r = if_nametoindex(m.name) ? 0 : add_link(fd, &m);
		m.ifindex = if_nametoindex(m.name);
		if (!r)
			r = add_address(fd, &m);
		if (r && !err)
			err = r;
	}
	(void)close(fd);
	return err;
}
