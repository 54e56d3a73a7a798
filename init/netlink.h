/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the kernel's network by netlink, one at a time, each with its answer. In the agent's
 * loop or a child of it; none waits for anybody but the kernel.
 */
#ifndef KRUN_INIT_NETLINK_H
#define KRUN_INIT_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

struct nl_req {
	struct nlmsghdr h;
	uint8_t body[508]; /* more than the attributes of any of our requests */
};

/* A socket, or -errno. */
int nl_open(void);
/* A request of @type that begins with @head. */
struct nl_req nl_request(uint16_t type, uint16_t flags, const void *head, size_t n);
/* Adds an attribute; the result is for nl_attr_end(), when others have been added inside of it. */
struct rtattr *nl_attr(struct nl_req *r, unsigned short type, const void *p, size_t n);
void nl_attr_end(struct nl_req *r, struct rtattr *at);
/* Sends it and waits for the kernel's answer, which comes with the call: 0 or -errno. */
int nl_ask(int fd, struct nl_req *r);
/* Brings interface @index up; without @link_local it makes no address of IPv6 for the link. */
int nl_link_up(int fd, int index, bool link_local);

#endif
