// SPDX-License-Identifier: Apache-2.0
/* The ingress hook of an interface, and a filter there that sends all that comes to another. */
/*
 * How it works
 *
 * The hook is a qdisc, and what decides there are filters: ours takes everything, "matchall" or
 * where a kernel has it not a "u32" without keys. Its action has a cookie, which says that it is
 * ours, and whether the qdisc was made for it. When the other interface has gone the filter stays
 * and leads nowhere; the kernel says so in its list. Only such a filter is ever removed, by its own
 * number, and the qdisc with it only when it was made for one of ours and nothing is left in it:
 * whoever has put something there meanwhile keeps it.
 *
 * What is somebody else's is told by what the kernel lists, not by what we understand of it: each
 * classifier has an entry of its own before those of its filters, so one that has no filters to
 * show (an old "fw"), or whose filters have no actions (a class, a policer), counts as well. Only
 * the tables of "u32" are none.
 *
 * A qdisc that is empty may be somebody's who is about to fill it. It is used, and stays.
 *
 * Which groups a guest joins nobody here hears of, and an interface that lies on another one (a
 * macvlan, an ipvlan, a function of a card) gets from that only the groups that it has asked for.
 * So it asks for all, and the guest's own driver and stack take what they want. The cookie says
 * whether it was us who asked, as then we also take it back: the filter is made first, so that
 * whenever a start is killed what it did is written down. One that hears all anyway is not touched.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "oci/json_text.h"
#include "oci/nic_hook.h"
#include "oci/rtnl.h"
#include "util/util.h"

#define INGRESS	 TC_H_MAKE(TC_H_INGRESS, 0)
#define PRIORITY 1

/* The cookie. */
struct mark {
	char whose[8];
	uint8_t did; /* for this filter or one that it replaces: DID_* */
};

#define DID_QDISC  1 /* made the qdisc */
#define DID_GROUPS 2 /* had the interface hear all groups */

static const struct mark ours = { .whose = { 'k', 'r', 'u', 'n', '-', 'o', 'c', 'i' } };

/* What is at the ingress hook of an interface. */
struct hook {
	int index, gone;     /* filters of ours to @gone count as those that lead nowhere; or 0 */
	bool there, ingress; /* a qdisc, which is of that kind */
	/* classifiers; filters that are not ours, that are, and those of ours that lead nowhere */
	unsigned heads, others, ours, dead;
	uint8_t did;	       /* as those that lead nowhere say */
	uint32_t handle, info; /* of one that leads nowhere */
	bool old;	       /* it is "u32" */
};

static struct rtnl_req tc_req(
	uint16_t type, uint16_t flags, int index, uint32_t parent, uint32_t handle, uint32_t info)
{
	const struct tcmsg t = { .tcm_family = AF_UNSPEC,
		.tcm_ifindex = index,
		.tcm_handle = handle,
		.tcm_parent = parent,
		.tcm_info = info };

	return rtnl_req(type, flags, &t, sizeof(t));
}

static int qdisc(int fd, uint16_t type, uint16_t flags, int index)
{
	struct rtnl_req r = tc_req(type, flags, index, TC_H_INGRESS, INGRESS, 0);

	(void)rtnl_add(&r, TCA_KIND, "ingress", sizeof("ingress"));
	return rtnl_ask(fd, &r);
}

static void add_kind(struct rtnl_req *r, bool old)
{
	(void)rtnl_add(
		r, TCA_KIND, old ? "u32" : "matchall", old ? sizeof("u32") : sizeof("matchall"));
}

/* The action of a filter: to interface @to, at once. */
static void add_redirect(struct rtnl_req *r, unsigned short type, int to, uint8_t did)
{
	const struct tc_mirred m = {
		.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to
	};
	struct rtattr *list = rtnl_add(r, type, NULL, 0);
	struct rtattr *first = rtnl_add(r, 1, NULL, 0), *opts;
	struct mark c = ours;

	c.did = did;
	(void)rtnl_add(r, TCA_ACT_KIND, "mirred", sizeof("mirred"));
	(void)rtnl_add(r, TCA_ACT_COOKIE, &c, sizeof(c));
	opts = rtnl_add(r, TCA_ACT_OPTIONS, NULL, 0);
	(void)rtnl_add(r, TCA_MIRRED_PARMS, &m, sizeof(m));
	rtnl_end(r, opts);
	rtnl_end(r, first);
	rtnl_end(r, list);
}

static int filter(int fd, int index, int to, uint8_t did)
{
	const struct tc_u32_sel all = { .flags = TC_U32_TERMINAL };
	uint32_t info = TC_H_MAKE((uint32_t)PRIORITY << 16, htons(ETH_P_ALL));
	int r = 0;

	for (unsigned old = 0; old < 2; old++) {
		struct rtnl_req q =
			tc_req(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, index, INGRESS, 0, info);
		struct rtattr *opts;

		add_kind(&q, old);
		opts = rtnl_add(&q, TCA_OPTIONS, NULL, 0);
		if (old)
			(void)rtnl_add(&q, TCA_U32_SEL, &all, sizeof(all));
		add_redirect(&q, old ? TCA_U32_ACT : TCA_MATCHALL_ACT, to, did);
		rtnl_end(&q, opts);
		r = rtnl_ask(fd, &q);
		if (r != -ENOENT)
			break;
	}
	return r;
}

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

/* A filter that is marked as ours: how it is, and where it leads. */
static bool is_ours(
	const struct rtattr *kind, const struct rtattr *opts, struct mark *c, struct tc_mirred *m)
{
	const struct rtattr *list[2], *act[TCA_ACT_COOKIE + 1], *parms[TCA_MIRRED_PARMS + 1];

	rtnl_nested(actions_of(kind, opts), list, ARRAY_SIZE(list));
	rtnl_nested(list[1], act, ARRAY_SIZE(act));
	if (!is_kind(act[TCA_ACT_KIND], "mirred") || !rtnl_get(act[TCA_ACT_COOKIE], c, sizeof(*c)))
		return false;
	rtnl_nested(act[TCA_ACT_OPTIONS], parms, ARRAY_SIZE(parms));
	return !memcmp(c->whose, ours.whose, sizeof(ours.whose)) &&
		rtnl_get(parms[TCA_MIRRED_PARMS], m, sizeof(*m));
}

static int on_filter(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	const struct rtattr *a[TCA_OPTIONS + 1];
	struct hook *k = arg;
	struct tc_mirred m;
	struct mark c;
	struct tcmsg t;
	bool u32;

	if (h->nlmsg_type != RTM_NEWTFILTER || n < sizeof(t))
		return 0;
	(void)memcpy(&t, p, sizeof(t));
	rtnl_attrs((const uint8_t *)p + NLMSG_ALIGN(sizeof(t)), n - sizeof(t), a, ARRAY_SIZE(a));
	u32 = is_kind(a[TCA_KIND], "u32");
	if (!t.tcm_handle && !a[TCA_OPTIONS]) {
		k->heads++;
	} else if (u32 && !TC_U32_NODE(t.tcm_handle)) {
		return 0; /* a table */
	} else if (!is_ours(a[TCA_KIND], a[TCA_OPTIONS], &c, &m)) {
		k->others++;
	} else {
		k->ours++;
		/* the kernel forgets an interface that has gone */
		if (m.ifindex && m.ifindex != (uint32_t)k->gone)
			return 0;
		k->dead++;
		k->did |= c.did;
		k->handle = t.tcm_handle;
		k->info = t.tcm_info;
		k->old = u32;
	}
	return 0;
}

static int look_once(int fd, int index, int gone, struct hook *k)
{
	struct tcmsg t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = index };
	int r;

	*k = (struct hook){ .index = index, .gone = gone };
	r = rtnl_list(fd, RTM_GETQDISC, &t, sizeof(t), on_qdisc, k);
	if (r || !k->there)
		return r;
	t.tcm_parent = INGRESS;
	r = rtnl_list(fd, RTM_GETTFILTER, &t, sizeof(t), on_filter, k);
	/* the kernel's list breaks off so at an old "fw": it is somebody's, which is all we ask */
	return r == -EMSGSIZE && k->heads > k->ours ? 0 : r;
}

static int look(int fd, int index, int gone, struct hook *k)
{
	int r = -EAGAIN;

	for (unsigned i = 0; r == -EAGAIN && i < RTNL_TRIES; i++)
		r = look_once(fd, index, gone, k);
	return r;
}

/* Removes those of ours that lead nowhere; @k is as it is then, and still says what they said of
 * the qdisc. */
static int drop_dead(int fd, struct hook *k)
{
	uint8_t did = k->did;
	int r = 0;

	while (!r && k->dead) {
		struct rtnl_req q =
			tc_req(RTM_DELTFILTER, 0, k->index, INGRESS, k->handle, k->info);

		add_kind(&q, k->old);
		r = rtnl_ask(fd, &q);
		if (!r)
			r = look(fd, k->index, k->gone, k);
		did |= k->did;
	}
	k->did = did;
	return r;
}

static int drop_empty(int fd, int index)
{
	struct hook k;
	int r = look(fd, index, 0, &k);

	return r || !k.there || !k.ingress || k.heads || k.others || k.ours
		? r
		: qdisc(fd, RTM_DELQDISC, 0, index);
}

struct flags {
	int index;
	uint32_t flags;
};

static int on_link(void *arg, const struct nlmsghdr *h, const void *p, size_t n)
{
	struct flags *f = arg;
	struct ifinfomsg i;

	if (h->nlmsg_type != RTM_NEWLINK || n < sizeof(i))
		return 0;
	(void)memcpy(&i, p, sizeof(i));
	if (i.ifi_index == f->index)
		f->flags = i.ifi_flags;
	return 0;
}

static int set_groups(int fd, int index, bool all)
{
	struct ifinfomsg i = {
		.ifi_index = index, .ifi_flags = all ? IFF_ALLMULTI : 0, .ifi_change = IFF_ALLMULTI
	};
	struct rtnl_req r = rtnl_req(RTM_NEWLINK, 0, &i, sizeof(i));

	return rtnl_ask(fd, &r);
}

/* Whether it hears all groups. What the flag says is what was asked for by hand: that the kernel
 * has reasons of its own does not show. */
static int hears_all(int fd, int index, bool *all)
{
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	struct flags f = { .index = index };
	int r = -EAGAIN;

	for (unsigned k = 0; r == -EAGAIN && k < RTNL_TRIES; k++)
		r = rtnl_list(fd, RTM_GETLINK, &i, sizeof(i), on_link, &f);
	*all = f.flags & IFF_ALLMULTI;
	return r;
}

int nic_release(int fd, int index)
{
	struct hook k;
	int r = look(fd, index, 0, &k);

	/* while one that leads somewhere is there, its guest hears */
	if (!r && (k.did & DID_GROUPS) && k.ours == k.dead)
		r = set_groups(fd, index, false);
	if (!r && k.ingress)
		r = drop_dead(fd, &k);
	return r || !(k.did & DID_QDISC) ? r : drop_empty(fd, index);
}

/* Only what is left of a container that has ended, or of a start that was killed, gives way. */
static int make_room(int fd, const char *name, int index, uint8_t *did, struct error *e)
{
	struct hook k;
	int r = look(fd, index, 0, &k);
	bool live = !r && k.ours > k.dead;

	if (!r && k.ingress && !live && !k.others && k.heads <= k.ours) {
		r = k.did & DID_GROUPS ? set_groups(fd, index, false) : 0;
		if (!r)
			r = drop_dead(fd, &k);
		*did = k.did & (uint8_t)~DID_GROUPS;
		if (!r && !k.heads && !k.others)
			return 0;
	}
	if (r)
		return err_sys(e, r, "the filters of interface %s", QUOTE(name));
	return err_set(e, EBUSY,
		live ? "interface %s of the network namespace is another container's already"
		     : "interface %s of the network namespace has filters for what comes in, which are somebody else's",
		QUOTE(name));
}

/* Nothing is left of a redirection to @to that is not to be. */
static void take_back(int fd, int index, int to, uint8_t did)
{
	struct hook k;

	if (!look(fd, index, to, &k))
		(void)drop_dead(fd, &k);
	if (did & DID_GROUPS)
		(void)set_groups(fd, index, false);
	if (did & DID_QDISC)
		(void)drop_empty(fd, index);
}

static int redirect(
	int fd, const char *name, int index, int to, bool groups, uint8_t *did, struct error *e)
{
	bool all = true;
	int r = groups ? hears_all(fd, index, &all) : 0;

	if (r)
		return err_sys(e, r, "the flags of interface %s", QUOTE(name));
	if (!all)
		*did |= DID_GROUPS;
	r = filter(fd, index, to, *did);
	if (r)
		return err_sys(e, r,
			"a redirection of interface %s (the host's kernel needs its modules act_mirred and cls_matchall or cls_u32)",
			QUOTE(name));
	r = all ? 0 : set_groups(fd, index, true);
	return r ? err_sys(e, r, "all multicast groups of interface %s", QUOTE(name)) : 0;
}

int nic_redirect(int fd, const char *name, int index, int to, bool groups, struct error *e)
{
	int r = qdisc(fd, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index);
	uint8_t did = r ? 0 : DID_QDISC;

	if (r == -EEXIST) {
		r = make_room(fd, name, index, &did, e);
		if (r)
			return r;
	}
	if (r)
		return err_sys(e, r,
			"the ingress hook of interface %s (the host's kernel needs its module sch_ingress)",
			QUOTE(name));
	r = redirect(fd, name, index, to, groups, &did, e);
	if (r)
		take_back(fd, index, to, did);
	return r;
}
