// SPDX-License-Identifier: Apache-2.0
/* The kernel's network by netlink. */
/*
 * How it works
 *
 * A request is put together in a struct of a fixed size: a header, the head that its type has, and
 * attributes, each of which begins on a border of four bytes. An attribute that holds others ends
 * where the message ends then, padding included; or the kernel reads the message without it.
 *
 * A list comes in parts, each as much as one read takes. What is not wanted any more is read all
 * the same, since the next answer comes from the same socket. Lengths are checked though it is the
 * kernel that says them: what is walked over is its bytes, not its word.
 *
 * The kernel marks a list that was changed while it was read. It is read to its end, and told as
 * -EAGAIN: only who asked can begin again with nothing. Each request has a number of its own; an
 * answer with another one, or from somebody who is not the kernel, is passed over.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/rtnl.h"
#include "util/cleanup.h"
#include "util/util.h"

#define ANSWER (64U << 10) /* what the kernel fills at most with a part of a list */

int rtnl_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? -errno : fd;
}

static void *put(struct rtnl_req *r, const void *p, size_t n)
{
	uint8_t *at = (uint8_t *)r + NLMSG_ALIGN(r->h.nlmsg_len);

	assert(NLMSG_ALIGN(r->h.nlmsg_len) + n <= sizeof(*r));
	if (n)
		(void)memcpy(at, p, n);
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + (uint32_t)n;
	return at;
}

struct rtnl_req rtnl_req(uint16_t type, uint16_t flags, const void *head, size_t n)
{
	struct rtnl_req r = {
		.h = { .nlmsg_len = NLMSG_HDRLEN, .nlmsg_type = type, .nlmsg_flags = flags }
	};

	(void)put(&r, head, n);
	return r;
}

struct rtattr *rtnl_add(struct rtnl_req *r, unsigned short type, const void *p, size_t n)
{
	struct rtattr a = { .rta_type = type, .rta_len = (unsigned short)RTA_LENGTH(n) };
	struct rtattr *at = put(r, &a, sizeof(a));

	(void)put(r, p, n);
	return at;
}

void rtnl_end(struct rtnl_req *r, struct rtattr *at)
{
	r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len);
	at->rta_len = (unsigned short)((uint8_t *)r + r->h.nlmsg_len - (uint8_t *)at);
}

/* The number of a request, which its answer has as well. */
static uint32_t next_seq(void)
{
	static _Atomic uint32_t seq;

	return atomic_fetch_add_explicit(&seq, 1, memory_order_relaxed) + 1;
}

static int tell(int fd, struct rtnl_req *r)
{
	const struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	ssize_t n;

	r->h.nlmsg_flags |= NLM_F_REQUEST;
	r->h.nlmsg_seq = next_seq();
	do {
		n = sendto(fd, r, r->h.nlmsg_len, 0, (const struct sockaddr *)&to, sizeof(to));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* The kernel's next message: its length, also when that is more than @n, or -errno. Others who are
 * in the namespace can send to us, too. */
static ssize_t hear(int fd, void *buf, size_t n)
{
	struct sockaddr_nl from;
	socklen_t len;
	ssize_t got;

	do {
		from = (struct sockaddr_nl){ .nl_pid = 0 };
		len = sizeof(from);
		got = recvfrom(fd, buf, n, MSG_TRUNC, (struct sockaddr *)&from, &len);
	} while (got < 0 ? errno == EINTR : from.nl_pid != 0);
	return got < 0 ? -errno : got;
}

int rtnl_ask(int fd, struct rtnl_req *r)
{
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		uint8_t more[1024];
	} reply;
	int ret;
	ssize_t n;

	r->h.nlmsg_flags |= NLM_F_ACK;
	ret = tell(fd, r);
	if (ret)
		return ret;
	do {
		n = hear(fd, &reply, sizeof(reply));
		if (n < 0)
			return (int)n;
		/* another number: the rest of a list that was given up */
	} while ((size_t)n >= sizeof(reply.h) && reply.h.nlmsg_seq != r->h.nlmsg_seq);
	if ((size_t)n < sizeof(reply.h) + sizeof(reply.e) || reply.h.nlmsg_type != NLMSG_ERROR)
		return -EPROTO;
	return reply.e.error;
}

struct list {
	rtnl_each_fn *fn;
	void *arg;
	uint32_t seq;
	bool torn;  /* what it lists changed meanwhile: some may be missing, or there twice */
	int result; /* of @fn */
};

/* The end of a list begins with an error, which is 0 or may be missing when it is whole. */
static int list_end(const struct nlmsghdr *h, const uint8_t *p)
{
	int err = 0;

	if (h->nlmsg_len >= sizeof(*h) + sizeof(err))
		(void)memcpy(&err, p, sizeof(err));
	if (err < 0)
		return err;
	return h->nlmsg_type == NLMSG_DONE ? 1 : -EPROTO;
}

/* One part of the list. 1: it was the last. */
static int part(struct list *l, const uint8_t *p, size_t n)
{
	while (n >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;

		(void)memcpy(&h, p, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > n)
			return -EPROTO;
		if (h.nlmsg_seq != l->seq)
			return 0;
		l->torn = l->torn || h.nlmsg_flags & NLM_F_DUMP_INTR;
		if (h.nlmsg_type == NLMSG_DONE || h.nlmsg_type == NLMSG_ERROR)
			return list_end(&h, p + sizeof(h));
		/* what is left of it is read all the same: the socket is used again */
		if (!l->result)
			l->result = l->fn(l->arg, &h, p + sizeof(h), h.nlmsg_len - sizeof(h));
		p += MIN(NLMSG_ALIGN(h.nlmsg_len), n);
		n -= MIN(NLMSG_ALIGN(h.nlmsg_len), n);
	}
	return 0;
}

int rtnl_list(int fd, uint16_t type, const void *head, size_t n, rtnl_each_fn *fn, void *arg)
{
	struct rtnl_req q = rtnl_req(type, NLM_F_DUMP, head, n);
	CLEAN_FREE uint8_t *buf = malloc(ANSWER);
	struct list l = { .fn = fn, .arg = arg };
	int r = buf ? tell(fd, &q) : -ENOMEM;

	l.seq = q.h.nlmsg_seq;
	while (!r) {
		ssize_t got = hear(fd, buf, ANSWER);

		if (got < 0 || (size_t)got > ANSWER)
			return got < 0 ? (int)got : -EMSGSIZE;
		r = part(&l, buf, (size_t)got);
	}
	if (r < 0)
		return r;
	return l.torn ? -EAGAIN : l.result;
}

void rtnl_attrs(const void *p, size_t n, const struct rtattr **out, size_t max)
{
	const uint8_t *at = p;

	for (size_t i = 0; i < max; i++)
		out[i] = NULL;
	while (n >= sizeof(struct rtattr)) {
		const struct rtattr *a = (const struct rtattr *)(const void *)at;
		unsigned type = a->rta_type & NLA_TYPE_MASK;
		size_t len = RTA_ALIGN(a->rta_len);

		if (a->rta_len < sizeof(*a) || a->rta_len > n)
			return;
		if (type < max)
			out[type] = a;
		at += MIN(len, n);
		n -= MIN(len, n);
	}
}

void rtnl_nested(const struct rtattr *a, const struct rtattr **out, size_t max)
{
	rtnl_attrs(a ? RTA_DATA(a) : NULL, a ? RTA_PAYLOAD(a) : 0, out, max);
}

bool rtnl_get(const struct rtattr *a, void *to, size_t n)
{
	if (!a || RTA_PAYLOAD(a) != n)
		return false;
	(void)memcpy(to, RTA_DATA(a), n);
	return true;
}
