// SPDX-License-Identifier: Apache-2.0
/* Taps, and interfaces whose frames go to one. */
/*
 * How it works
 *
 * The kernel's traffic control redirects: the ingress hook of the interface sends what comes in to
 * the tap, that of the tap sends what the guest writes out by the interface. The namespace's own
 * stack sees none of it, so it may keep the addresses; frames pass with the checksums and segments
 * that were left to somebody, as a tap with a header takes them. macvtap was the other way: its
 * device does not go with its last descriptor, takes a node in /dev, and has the guest share a
 * filter of addresses with the host.
 *
 * The tap goes with the VMM, however that ends, and its filter with it. The interface's filter
 * stays, and redirects to nobody; the kernel says so in its list. It is marked by a cookie, so that
 * who deletes the container, or starts the next one in that namespace, knows it for ours and takes
 * it away. Others' filters are never touched.
 *
 * A filter that takes everything is "matchall", or where a kernel has it not a "u32" without keys.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/nic_tap.h"
#include "oci/rtnl.h"
#include "util/cleanup.h"
#include "util/util.h"

#define INGRESS	   TC_H_MAKE(TC_H_INGRESS, 0)
#define PRIORITY   1
#define QUEUE_LEN  1000 /* frames that wait for a guest, as most interfaces have it */
#define TAP_FLAGS  (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define TUN_DEVICE "/dev/net/tun"

static const char cookie[8] = { 'k', 'r', 'u', 'n', '-', 'o', 'c', 'i' };

static struct rtnl_req tc_req(
	uint16_t type, uint16_t flags, int index, uint32_t parent, uint32_t info)
{
	struct tcmsg t = { .tcm_family = AF_UNSPEC,
		.tcm_ifindex = index,
		.tcm_handle = parent == TC_H_INGRESS ? INGRESS : 0,
		.tcm_parent = parent,
		.tcm_info = info };

	return rtnl_req(type, flags, &t, sizeof(t));
}

static int qdisc(int fd, uint16_t type, uint16_t flags, int index)
{
	struct rtnl_req r = tc_req(type, flags, index, TC_H_INGRESS, 0);

	(void)rtnl_add(&r, TCA_KIND, "ingress", sizeof("ingress"));
	return rtnl_ask(fd, &r);
}

/* The action of a filter: to interface @to, at once. */
static void add_redirect(struct rtnl_req *r, unsigned short type, int to)
{
	const struct tc_mirred m = {
		.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to
	};
	struct rtattr *list = rtnl_add(r, type, NULL, 0);
	struct rtattr *first = rtnl_add(r, 1, NULL, 0), *opts;

	(void)rtnl_add(r, TCA_ACT_KIND, "mirred", sizeof("mirred"));
	(void)rtnl_add(r, TCA_ACT_COOKIE, cookie, sizeof(cookie));
	opts = rtnl_add(r, TCA_ACT_OPTIONS, NULL, 0);
	(void)rtnl_add(r, TCA_MIRRED_PARMS, &m, sizeof(m));
	rtnl_end(r, opts);
	rtnl_end(r, first);
	rtnl_end(r, list);
}

static int filter(int fd, int index, int to)
{
	const struct tc_u32_sel all = { .flags = TC_U32_TERMINAL };
	uint32_t info = TC_H_MAKE((uint32_t)PRIORITY << 16, htons(ETH_P_ALL));
	int r = 0;

	for (unsigned old = 0; old < 2; old++) {
		struct rtnl_req q =
			tc_req(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, index, INGRESS, info);
		struct rtattr *opts;

		(void)rtnl_add(&q, TCA_KIND, old ? "u32" : "matchall",
			old ? sizeof("u32") : sizeof("matchall"));
		opts = rtnl_add(&q, TCA_OPTIONS, NULL, 0);
		if (old)
			(void)rtnl_add(&q, TCA_U32_SEL, &all, sizeof(all));
		add_redirect(&q, old ? TCA_U32_ACT : TCA_MATCHALL_ACT, to);
		rtnl_end(&q, opts);
		r = rtnl_ask(fd, &q);
		if (r != -ENOENT)
			break;
	}
	return r;
}

/* What is at the ingress hook of an interface. */
struct hook {
	int index;
	bool there, ingress;	      /* a qdisc, which is of that kind */
	unsigned filters, ours, dead; /* all of them; ours; those of ours that lead nowhere */
};

static bool is_kind(const struct rtattr *a, const char *kind)
{
	return a && RTA_PAYLOAD(a) == strlen(kind) + 1 &&
		!memcmp(RTA_DATA(a), kind, strlen(kind) + 1);
}

static int on_qdisc(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[TCA_KIND + 1];
	struct hook *k = arg;
	struct tcmsg t;

	if (h->nlmsg_type != RTM_NEWQDISC || n < sizeof(t))
		return 0;
	(void)memcpy(&t, p, sizeof(t));
	if (t.tcm_ifindex != k->index || t.tcm_parent != TC_H_INGRESS)
		return 0;
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(t)), n - sizeof(t), a, ARRAY_SIZE(a));
	k->there = true;
	k->ingress = is_kind(a[TCA_KIND], "ingress");
	return 0;
}

/* The actions of a filter whose options are @opts, by the number that its kind has for them. */
static const struct rtattr *actions_of(const struct rtattr *kind, const struct rtattr *opts)
{
	const struct rtattr *a[TCA_U32_ACT + 1];

	rtnl_nested(opts, a, ARRAY_SIZE(a));
	return is_kind(kind, "matchall") ? a[TCA_MATCHALL_ACT]
		: is_kind(kind, "u32")	 ? a[TCA_U32_ACT]
					 : NULL;
}

static int on_filter(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[TCA_OPTIONS + 1], *list[2], *act[TCA_ACT_COOKIE + 1],
		*parms[TCA_MIRRED_PARMS + 1];
	struct hook *k = arg;
	struct tc_mirred m = { 0 };
	char c[sizeof(cookie)];
	struct tcmsg t;

	if (h->nlmsg_type != RTM_NEWTFILTER || n < sizeof(t))
		return 0;
	(void)memcpy(&t, p, sizeof(t));
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(t)), n - sizeof(t), a, ARRAY_SIZE(a));
	/* without a handle it is the head of a list of them */
	if (!t.tcm_handle || !a[TCA_OPTIONS])
		return 0;
	rtnl_nested(actions_of(a[TCA_KIND], a[TCA_OPTIONS]), list, ARRAY_SIZE(list));
	/* so are the tables of u32 */
	if (is_kind(a[TCA_KIND], "u32") && !list[1])
		return 0;
	k->filters++;
	rtnl_nested(list[1], act, ARRAY_SIZE(act));
	if (!rtnl_get(act[TCA_ACT_COOKIE], c, sizeof(c)) || memcmp(c, cookie, sizeof(c)) != 0)
		return 0;
	rtnl_nested(act[TCA_ACT_OPTIONS], parms, ARRAY_SIZE(parms));
	k->ours++;
	/* the kernel forgets an interface that has gone */
	k->dead += rtnl_get(parms[TCA_MIRRED_PARMS], &m, sizeof(m)) && !m.ifindex;
	return 0;
}

static int look(int fd, int index, struct hook *k)
{
	struct tcmsg t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = index };
	int r;

	*k = (struct hook){ .index = index };
	r = rtnl_list(fd, RTM_GETQDISC, &t, sizeof(t), on_qdisc, k);
	if (r || !k->there)
		return r;
	t.tcm_parent = INGRESS;
	return rtnl_list(fd, RTM_GETTFILTER, &t, sizeof(t), on_filter, k);
}

/* Is what is there the rest of a container that has ended, or of a start that was killed? */
static bool is_rest(const struct hook *k)
{
	return k->there && k->ingress && k->filters == k->dead;
}

int nic_release(int fd, int index)
{
	struct hook k;
	int r = look(fd, index, &k);

	return r ? r : is_rest(&k) && k.dead ? qdisc(fd, RTM_DELQDISC, 0, index) : 0;
}

static int redirect(int fd, const char *name, int index, int to, struct error *e)
{
	struct hook k = { 0 };
	int r = qdisc(fd, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index);

	if (r == -EEXIST) {
		r = look(fd, index, &k);
		if (!r && !is_rest(&k))
			return err_set(e, EBUSY,
				k.ours ? "interface %s of the network namespace is another container's already"
				       : "interface %s of the network namespace has filters for what comes in, which are somebody else's",
				name);
		if (!r)
			r = qdisc(fd, RTM_DELQDISC, 0, index);
		if (!r)
			r = qdisc(fd, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index);
	}
	if (r)
		return err_sys(e, r,
			"the ingress hook of interface %s (the host's kernel needs its module sch_ingress)",
			name);
	r = filter(fd, index, to);
	if (!r)
		return 0;
	(void)qdisc(fd, RTM_DELQDISC, 0, index);
	return err_sys(e, r,
		"a redirection of interface %s (the host's kernel needs its modules act_mirred and cls_matchall or cls_u32)",
		name);
}

/* It makes no address of IPv6 by itself. */
static int no_link_local(int fd, int index)
{
	struct ifinfomsg i = { .ifi_index = index };
	struct rtnl_req r = rtnl_req(RTM_NEWLINK, 0, &i, sizeof(i));
	const uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	struct rtattr *outer = rtnl_add(&r, IFLA_AF_SPEC, NULL, 0);
	struct rtattr *inner = rtnl_add(&r, AF_INET6, NULL, 0);
	int ret;

	(void)rtnl_add(&r, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	rtnl_end(&r, inner);
	rtnl_end(&r, outer);
	ret = rtnl_ask(fd, &r);
	/* there is no IPv6, or none on an interface of so small an MTU */
	return ret == -EAFNOSUPPORT ? 0 : ret;
}

/* Up, with the MTU of the interface, and silent: it has nothing to say of its own. */
static int set_link(int fd, int index, uint32_t mtu)
{
	struct ifinfomsg i = { .ifi_index = index,
		.ifi_flags = IFF_UP | IFF_NOARP,
		.ifi_change = IFF_UP | IFF_NOARP };
	struct rtnl_req r = rtnl_req(RTM_NEWLINK, 0, &i, sizeof(i));
	const uint32_t queue = QUEUE_LEN;
	int ret;

	(void)rtnl_add(&r, IFLA_MTU, &mtu, sizeof(mtu));
	(void)rtnl_add(&r, IFLA_TXQLEN, &queue, sizeof(queue));
	/* before it is up */
	ret = no_link_local(fd, index);
	return ret ? ret : rtnl_ask(fd, &r);
}

static int open_tun(struct error *e)
{
	int fd = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? err_sys(e, errno, TUN_DEVICE " (the host's kernel needs its module tun)")
		      : fd;
}

static int no_tap(int r, const char *name, struct error *e)
{
	if (r == -EPERM)
		return err_set(e, EPERM,
			"a tap in the container's network namespace takes CAP_NET_ADMIN there: the namespace must be the caller's own, or of a user namespace of his");
	if (r == -EBUSY)
		return err_set(e, EBUSY, "tap \"%s\" is in use", name);
	return err_sys(e, r, "tap \"%s\"", name);
}

int nic_take(int fd, const struct nic_if *o, struct error *e)
{
	struct ifreq ifr = { .ifr_name = NIC_OWN_TAP "%d", .ifr_flags = TAP_FLAGS };
	CLEAN_FD int tap = open_tun(e);
	int index, r;

	if (tap < 0)
		return tap;
	if (ioctl(tap, TUNSETIFF, &ifr))
		return no_tap(-errno, NIC_OWN_TAP, e);
	index = (int)if_nametoindex(ifr.ifr_name);
	r = index ? set_link(fd, index, o->head.mtu) : -errno;
	if (r)
		return err_sys(e, r, "tap \"%s\"", ifr.ifr_name);
	r = redirect(fd, ifr.ifr_name, index, o->index, e);
	/* last: what came before went with the tap */
	if (!r)
		r = redirect(fd, o->head.name, o->index, index, e);
	return r ? r : TAKE_FD(tap);
}

static int on_named(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[IFLA_LINKINFO + 1], *in[IFLA_INFO_KIND + 1];
	struct ifinfomsg i;

	(void)h;
	if (n < sizeof(i))
		return 0;
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(i)), n - sizeof(i), a, ARRAY_SIZE(a));
	rtnl_nested(a[IFLA_LINKINFO], in, ARRAY_SIZE(in));
	return is_kind(a[IFLA_IFNAME], arg) && is_kind(in[IFLA_INFO_KIND], "tun");
}

int nic_open_tap(int fd, const char *name, struct error *e)
{
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	struct ifreq ifr = { .ifr_flags = TAP_FLAGS };
	CLEAN_FD int tap = open_tun(e);
	int r;

	if (tap < 0)
		return tap;
	/* one that is not there would be made */
	r = rtnl_list(fd, RTM_GETLINK, &i, sizeof(i), on_named, (void *)(uintptr_t)name);
	if (r <= 0)
		return err_set(
			e, ENODEV, "the container's network namespace has no tap \"%s\"", name);
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (!ioctl(tap, TUNSETIFF, &ifr))
		return TAKE_FD(tap);
	return errno == EINVAL
		? err_set(e, EINVAL, "\"%s\" is not a tap, or one of several queues", name)
		: no_tap(-errno, name, e);
}
