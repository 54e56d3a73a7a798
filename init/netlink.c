// SPDX-License-Identifier: Apache-2.0
/* Requests to the kernel's network: how they are put together and answered. */
#include "netlink.h"

#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

static void *put(struct nl_req *r, const void *p, size_t n)
{
	uint8_t *at = (uint8_t *)r + NLMSG_ALIGN(r->h.nlmsg_len);

	if (n)
		memcpy(at, p, n);
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + (uint32_t)n;
	return at;
}

int nl_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

struct nl_req nl_request(uint16_t type, uint16_t flags, const void *head, size_t n)
{
	struct nl_req r = {
		.h = { .nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = flags }
	};

	(void)put(&r, head, n);
	return r;
}

struct rtattr *nl_attr(struct nl_req *r, unsigned short type, const void *p, size_t n)
{
	struct rtattr a = { .rta_type = type, .rta_len = (unsigned short)RTA_LENGTH(n) };
	struct rtattr *at = put(r, &a, sizeof(a));

	(void)put(r, p, n);
	return at;
}

void nl_attr_end(struct nl_req *r, struct rtattr *at)
{
	/* its length counts the padding of the last one in it, so the message's must as well */
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len);
	at->rta_len = (unsigned short)((uint8_t *)r + r->h.nlmsg_len - (uint8_t *)at);
}

int nl_ask(int fd, struct nl_req *r)
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

static int set_flags(int fd, int index, unsigned flags)
{
	struct ifinfomsg i = { .ifi_index = index, .ifi_flags = flags, .ifi_change = flags };
	struct nl_req r = nl_request(RTM_NEWLINK, 0, &i, sizeof(i));

	return nl_ask(fd, &r);
}

static int no_link_local(int fd, int index)
{
	const uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	struct ifinfomsg i = { .ifi_index = index };
	struct nl_req r = nl_request(RTM_NEWLINK, 0, &i, sizeof(i));
	struct rtattr *outer = nl_attr(&r, IFLA_AF_SPEC, NULL, 0);
	struct rtattr *inner = nl_attr(&r, AF_INET6, NULL, 0);
	int err;

	(void)nl_attr(&r, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	nl_attr_end(&r, inner);
	nl_attr_end(&r, outer);
	/* by itself: with others the kernel takes it after they are done, or not at all */
	err = nl_ask(fd, &r);
	/* there is no IPv6, or none on an interface of so small an MTU */
	return err == -EAFNOSUPPORT ? 0 : err;
}

int nl_link_up(int fd, int index, bool link_local)
{
	int err = link_local ? 0 : no_link_local(fd, index);

	return err ? err : set_flags(fd, index, IFF_UP);
}
