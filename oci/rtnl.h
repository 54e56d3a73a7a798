/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's network by netlink, in the namespace that the caller is in: requests, and lists.
 * Any thread; nothing is shared but what is passed. Functions return 0 or -errno.
 */
#ifndef KRUN_OCI_RTNL_H
#define KRUN_OCI_RTNL_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTNL_TRIES 16 /* of a list that is changed again and again */

struct rtnl_req {
	struct nlmsghdr h;
	uint8_t body[496]; /* more than any of our requests has */
};

/* A socket, or -errno. */
int rtnl_open(void);
/* A request of @type that begins with @head. */
struct rtnl_req rtnl_req(uint16_t type, uint16_t flags, const void *head, size_t n);
/* Adds an attribute; the result is for rtnl_end(), when others have been added inside of it. */
struct rtattr *rtnl_add(struct rtnl_req *r, unsigned short type, const void *p, size_t n);
void rtnl_end(struct rtnl_req *r, struct rtattr *at);
/* Sends it and waits for the kernel's answer, which comes with the call. */
int rtnl_ask(int fd, struct rtnl_req *r);

/* One entry of a list: the message, @n bytes from its header's end on. Not 0 ends the list. */
typedef int rtnl_each_fn(void *arg, const struct nlmsghdr *h, const void *p, size_t n);
/* Asks for the list of @type that @head describes. What @fn returned, or -errno: -EAGAIN when the
 * kernel changed it meanwhile, and what @fn has seen is not to be relied upon. */
int rtnl_list(int fd, uint16_t type, const void *head, size_t n, rtnl_each_fn *fn, void *arg);

/* The attributes of @n bytes at @p, the last of each type below @max; those that are not there are
 * NULL. */
void rtnl_attrs(const void *p, size_t n, const struct rtattr **out, size_t max);
/* The same of an attribute that holds others; NULL holds none. */
void rtnl_nested(const struct rtattr *a, const struct rtattr **out, size_t max);
/* Its bytes, when there are exactly @n (else false, and @to is as it was). */
bool rtnl_get(const struct rtattr *a, void *to, size_t n);

#endif
