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
 * stays, and leads nowhere, until who deletes the container, or starts the next one in that
 * namespace, takes it away (oci/nic_hook.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/json_text.h"
#include "oci/nic_hook.h"
#include "oci/nic_tap.h"
#include "oci/rtnl.h"
#include "util/cleanup.h"
#include "util/util.h"

#define MTU_MAX	   65521U /* of a tap's */
#define QUEUE_LEN  1000	  /* frames that wait for a guest, as most interfaces have it */
#define TAP_FLAGS  (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define TUN_DEVICE "/dev/net/tun"

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
		return err_set(e, EBUSY, "tap %s is in use", QUOTE(name));
	return err_sys(e, r, "tap %s", QUOTE(name));
}

int nic_take(int fd, struct nic_if *o, struct error *e)
{
	struct ifreq ifr = { .ifr_name = NIC_OWN_TAP "%d", .ifr_flags = TAP_FLAGS };
	CLEAN_FD int tap = open_tun(e);
	int index, r;

	if (tap < 0)
		return tap;
	if (o->no_arp)
		return err_set(e, EINVAL,
			"interface %s of the network namespace has no ARP, and a guest would ask by that",
			QUOTE(o->head.name));
	o->head.mtu = MIN(o->head.mtu, MTU_MAX);
	if (ioctl(tap, TUNSETIFF, &ifr))
		return no_tap(-errno, NIC_OWN_TAP, e);
	index = (int)if_nametoindex(ifr.ifr_name);
	r = index ? set_link(fd, index, o->head.mtu) : -errno;
	if (r)
		return err_sys(e, r, "tap %s", QUOTE(ifr.ifr_name));
	r = nic_redirect(fd, ifr.ifr_name, index, o->index, false, e);
	/* last: what came before went with the tap */
	if (!r)
		r = nic_redirect(fd, o->head.name, o->index, index, true, e);
	return r ? r : TAKE_FD(tap);
}

static bool is_text(const struct rtattr *a, const char *text)
{
	return a && RTA_PAYLOAD(a) == strlen(text) + 1 &&
		!memcmp(RTA_DATA(a), text, strlen(text) + 1);
}

/* A tun or tap that is looked for, and how many have it open, of one that several can. */
struct named {
	const char *name;
	uint32_t queues;
};

static int on_named(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[IFLA_LINKINFO + 1], *in[IFLA_INFO_DATA + 1],
		*tun[IFLA_TUN_NUM_DISABLED_QUEUES + 1];
	struct named *o = arg;
	uint32_t used = 0, idle = 0;
	struct ifinfomsg i;

	(void)h;
	if (n < sizeof(i))
		return 0;
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(i)), n - sizeof(i), a, ARRAY_SIZE(a));
	rtnl_nested(a[IFLA_LINKINFO], in, ARRAY_SIZE(in));
	if (!is_text(a[IFLA_IFNAME], o->name) || !is_text(in[IFLA_INFO_KIND], "tun"))
		return 0;
	rtnl_nested(in[IFLA_INFO_DATA], tun, ARRAY_SIZE(tun));
	(void)rtnl_get(tun[IFLA_TUN_NUM_QUEUES], &used, sizeof(used));
	(void)rtnl_get(tun[IFLA_TUN_NUM_DISABLED_QUEUES], &idle, sizeof(idle));
	o->queues = used + idle;
	return 1;
}

/* 1, 0: there is none. */
static int find(int fd, struct named *o)
{
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	int r = -EAGAIN;

	for (unsigned k = 0; r == -EAGAIN && k < RTNL_TRIES; k++)
		r = rtnl_list(fd, RTM_GETLINK, &i, sizeof(i), on_named, o);
	return r;
}

static int set_iff(int tap, struct ifreq *ifr, int flags)
{
	ifr->ifr_flags = (short)flags;
	return ioctl(tap, TUNSETIFF, ifr) ? -errno : 0;
}

int nic_open_tap(int fd, const char *name, struct error *e)
{
	struct named o = { .name = name };
	struct ifreq ifr = { 0 };
	CLEAN_FD int tap = open_tun(e);
	int r;

	if (tap < 0)
		return tap;
	/* one that is not there would be made */
	r = find(fd, &o);
	if (r < 0)
		return err_sys(e, r, "the interfaces of the container's network namespace");
	if (!r)
		return err_set(
			e, ENODEV, "the container's network namespace has no tap %s", QUOTE(name));
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	r = set_iff(tap, &ifr, TAP_FLAGS);
	/* of one that was made for several queues, one: when nobody has another, nor comes just now
	 */
	if (r == -EINVAL && o.queues)
		return no_tap(-EBUSY, name, e);
	if (r == -EINVAL) {
		r = set_iff(tap, &ifr, TAP_FLAGS | IFF_MULTI_QUEUE);
		if (!r && (find(fd, &o) != 1 || o.queues > 1))
			r = -EBUSY;
	}
	if (r == -EINVAL)
		return err_set(e, EINVAL, "%s is not a tap", QUOTE(name));
	if (r)
		return no_tap(r, name, e);
	/* one that has gone meanwhile is made, and goes with its descriptor; who was there stays */
	if (ioctl(tap, TUNGETIFF, &ifr))
		return err_sys(e, errno, "tap %s", QUOTE(name));
	return ifr.ifr_flags & IFF_PERSIST
		? TAKE_FD(tap)
		: err_set(e, ENODEV, "tap %s has gone meanwhile", QUOTE(name));
}
