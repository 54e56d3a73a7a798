// SPDX-License-Identifier: Apache-2.0
/* The interface of a network namespace as the guest is to have it, and its frames on a tap: in
 * namespaces of the test's own, with a pair of interfaces that ip(8) makes. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "nic_rig.h"
#include "oci/nic_hook.h"
#include "oci/nic_passt.h"
#include "oci/nic_tap.h"
#include "oci/rtnl.h"
#include "util/cleanup.h"
#include "util/util.h"

/* A tool that fails has seen nothing. */
#define NO_TAP	"a=$(ip link show) && ! echo \"$a\" | grep -q krun0"
#define ALL	"ip link show eth0 | grep -q ALLMULTI"
#define NOT_ALL "a=$(ip link show eth0) && ! echo \"$a\" | grep -q ALLMULTI"
#define NO_HOOK "a=$(tc qdisc show dev eth0 ingress) && test -z \"$a\""

static struct nic_if o;
static struct error e;

static int look(const char *name)
{
	CLEAN_FD int fd = rtnl_open();

	e = (struct error){ 0 };
	return nic_look(fd, name, &o, &e);
}

/* The record @i of what was found, in words. */
static const char *text(unsigned i)
{
	static char t[200];
	const struct msg_nic_item *m = &o.item[i];
	const uint8_t *p = m->ip, *v = m->via, *s = m->src;

	if (i >= o.head.nitems)
		return "none";
	if (m->family == MSG_NET_INET6)
		(void)snprintf(t, sizeof(t), "%u v6 %02x%02x..%u/%u scope %u via %02x%02x..%u",
			m->kind, p[0], p[1], p[15], m->prefix, m->scope, v[0], v[1], v[15]);
	else
		(void)snprintf(t, sizeof(t),
			"%u %u.%u.%u.%u/%u scope %u via %u.%u.%u.%u src %u.%u.%u.%u", m->kind, p[0],
			p[1], p[2], p[3], m->prefix, m->scope, v[0], v[1], v[2], v[3], s[0], s[1],
			s[2], s[3]);
	return t;
}

static void what_is_there(void)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0xa, 0xb, 0xc }, gw[6] = { 2, 0, 0, 7, 7, 7 };

	CHECK(fresh());
	CHECK(run("ip addr add 10.9.8.7/24 brd + dev eth0 && "
		  "ip addr add 10.1.1.1 peer 10.1.1.2/32 dev eth0 noprefixroute && "
		  "ip addr add fd77::2/64 dev eth0 nodad && "
		  "ip neigh add 10.9.8.1 lladdr 02:00:00:07:07:07 dev eth0 nud permanent && "
		  "ip neigh add 10.9.8.2 lladdr 02:00:00:07:07:08 dev eth0 nud stale && "
		  /* in the wrong order for who sets them one by one */
		  "ip route add 169.254.1.1 dev eth0 && "
		  "ip route add default via 169.254.1.1 dev eth0 src 10.9.8.7 metric 100 && "
		  "ip route add 169.254.7.0/24 dev eth0 proto static mtu 1300 && "
		  "ip route add 172.20.0.0/16 via 192.0.2.1 dev eth0 onlink && "
		  "ip route add 172.21.0.0/16 nexthop via 10.9.8.1 nexthop via 10.9.8.3 && "
		  "ip route add 172.22.0.0/16 via 10.9.8.1 table 7 && "
		  "ip route add 172.23.0.0/16 dev far && ip route add unreachable 172.24.0.0/16 && "
		  "ip -6 route add default via fd77::1 dev eth0"));
	CHECK_EQ(look("eth0"), 0);
	CHECK_EQ(o.index, if_nametoindex("eth0"));
	CHECK_STR(o.head.name, "eth0");
	CHECK_EQ(o.head.mtu, 1400);
	CHECK(!memcmp(o.head.mac, mac, sizeof(mac)));
	CHECK_STR(text(0), "1 10.9.8.7/24 scope 0 via 0.0.0.0 src 10.9.8.255");
	CHECK_STR(text(1), "1 10.1.1.1/32 scope 0 via 10.1.1.2 src 0.0.0.0");
	CHECK_EQ(o.item[1].flags, MSG_NIC_NOPREFIXROUTE);
	CHECK_STR(text(2), "1 v6 fd77..2/64 scope 0 via 0000..0");
	CHECK_STR(text(3), "3 10.9.8.1/0 scope 0 via 0.0.0.0 src 0.0.0.0");
	CHECK(!memcmp(o.item[3].mac, gw, sizeof(gw)));
	CHECK_STR(text(4), "2 169.254.1.1/32 scope 253 via 0.0.0.0 src 0.0.0.0");
	CHECK_STR(text(5), "2 169.254.7.0/24 scope 253 via 0.0.0.0 src 0.0.0.0");
	CHECK(o.item[5].mtu == 1300 && o.item[5].origin == RTPROT_STATIC);
	CHECK_STR(text(6), "2 172.24.0.0/16 scope 0 via 0.0.0.0 src 0.0.0.0");
	CHECK_EQ(o.item[6].type, RTN_UNREACHABLE);
	CHECK_STR(text(7), "2 0.0.0.0/0 scope 0 via 169.254.1.1 src 10.9.8.7");
	CHECK(o.item[7].metric == 100 && o.item[7].origin == RTPROT_BOOT);
	CHECK_STR(text(8), "2 172.20.0.0/16 scope 0 via 192.0.2.1 src 0.0.0.0");
	CHECK_EQ(o.item[8].flags, MSG_NIC_ONLINK);
	CHECK_STR(text(9), "2 v6 0000..0/0 scope 0 via fd77..1");
	CHECK_EQ(o.item[9].metric, 1024);
	CHECK_EQ(o.head.nitems, 10);
	/* the one of two hops */
	CHECK_EQ(o.left, 1);
}

static void which_one(void)
{
	CHECK(fresh());
	CHECK_EQ(look(""), -EINVAL);
	CHECK(strstr(e.msg, "eth0") && strstr(e.msg, "far") && strstr(e.msg, "net.interface"));
	CHECK_EQ(look("far"), 0);
	CHECK_STR(o.head.name, "far");
	CHECK_EQ(o.head.mtu, 1500);
	CHECK_EQ(look("eth1"), -ENODEV);
	CHECK(strstr(e.msg, "\"eth1\""));
	CHECK_EQ(look("lo"), -EINVAL);
	CHECK(run("ip link set far down"));
	CHECK_EQ(look("far"), -ENETDOWN);
	/* what is ours is nobody's to choose */
	CHECK(run("ip tuntap add krun0 mode tap && ip link set krun0 up"));
	CHECK_EQ(look(""), 0);
	CHECK_STR(o.head.name, "eth0");
	CHECK_EQ(look("krun0"), -ENODEV);
	CHECK(run("ip link set eth0 down"));
	CHECK_EQ(look(""), -ENODEV);
	CHECK(strstr(e.msg, "no interface that is up"));
}

/* What may not be reached, by no interface, and what our records cannot forbid. */
static void walls(void)
{
	static const uint8_t type[] = { RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW,
		RTN_BLACKHOLE };
	CLEAN_FD int fd = -1;

	CHECK(fresh());
	CHECK(run(
		"ip route add blackhole 169.254.169.254 && ip route add unreachable 10.1.0.0/16 && "
		"ip route add prohibit 10.2.0.0/16 && ip route add throw 10.3.0.0/16 && "
		"ip route add blackhole 10.4.0.0/16 table 7 && "
		"ip -6 route add blackhole fd88::/16"));
	CHECK_EQ(look("eth0"), 0);
	CHECK_EQ(o.head.nitems, ARRAY_SIZE(type));
	for (unsigned i = 0; i < o.head.nitems; i++) {
		unsigned k = 0;

		/* the kernel's order is that of the numbers */
		while (k < ARRAY_SIZE(type) && type[k] != o.item[i].type)
			k++;
		CHECK(k < ARRAY_SIZE(type) && o.item[i].kind == MSG_NIC_ROUTE);
	}
	CHECK(o.item[4].family == MSG_NET_INET6 && o.item[4].type == RTN_BLACKHOLE);
	fd = rtnl_open();
	nic_walls(fd, &o);
	CHECK(!o.rules && !o.tables);
	CHECK(run("ip rule add from 10.9.8.7 table 7 && ip -6 rule add fwmark 5 prohibit"));
	nic_walls(fd, &o);
	CHECK_EQ(o.rules, 2);
	if (!run("command -v nft >/dev/null") || !run("nft add table inet wall"))
		return;
	nic_walls(fd, &o);
	CHECK_EQ(o.tables, 1);
}

/* What is given for a time is no longer than that, and what may be somebody else's is said so. */
static void lives(void)
{
	CHECK(fresh());
	CHECK(run("echo 100 >/proc/sys/net/ipv6/conf/eth0/dad_transmits && ip -batch - <<.\n"
		  "addr add 10.9.8.7/24 dev eth0 valid_lft 2000 preferred_lft 1000\n"
		  "addr add 10.9.8.8/24 dev eth0\n"
		  "addr add fd77::1/64 dev eth0 nodad preferred_lft 0\n"
		  "addr add fd77::2/64 dev eth0\n"
		  "route add fd88::/64 via fd77::9 dev eth0 expires 3000\n"
		  "route add fd89::/64 via fd77::9 dev eth0\n.\n"));
	CHECK_EQ(look("eth0"), 0);
	CHECK_EQ(o.head.nitems, 6);
	for (unsigned i = 0; i < o.head.nitems; i++) {
		const struct msg_nic_item *m = &o.item[i];
		uint8_t last = m->ip[m->family == MSG_NET_INET6 ? 15 : 3];

		if (m->kind == MSG_NIC_ADDR && last == 7)
			CHECK(m->valid > 1000 && m->valid <= 2000 && m->preferred > 500 &&
				m->preferred <= 1000);
		else if (m->kind == MSG_NIC_ADDR && last == 1)
			CHECK(m->valid == 0xffffffff && !m->preferred && !m->flags);
		else if (m->kind == MSG_NIC_ROUTE && m->ip[1] == 0x88)
			CHECK(m->valid > 2000 && m->valid <= 3000);
		else
			CHECK(!m->valid && !m->preferred);
		CHECK_EQ(m->flags, m->kind == MSG_NIC_ADDR && last == 2 ? MSG_NIC_DAD : 0);
	}
}

#define SYSCTL "cd /proc/sys/net/ipv6/conf/eth0 && echo "

/* A namespace that refuses to be told by its neighbours has reasons. */
static void what_it_refuses(void)
{
	static const struct {
		const char *how;
		uint8_t flags;
	} t[] = {
		{ "1 >accept_ra", 0 },
		{ "0 >accept_ra", MSG_NIC_NO_RA },
		{ "1 >accept_ra; echo 1 >forwarding", MSG_NIC_NO_RA },
		{ "2 >accept_ra", 0 },
		{ "0 >autoconf", MSG_NIC_NO_AUTOCONF },
		{ "1 >autoconf; echo 0 >accept_ra_pinfo", MSG_NIC_NO_AUTOCONF },
		{ "1 >accept_ra_pinfo; echo 0 >accept_ra_defrtr", MSG_NIC_NO_RA_ROUTER },
		{ "1 >disable_ipv6", MSG_NIC_NO_RA_ROUTER | MSG_NIC_NO_IP6 },
	};
	char cmd[128];

	CHECK(fresh());
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		(void)snprintf(cmd, sizeof(cmd), SYSCTL "%s", t[i].how);
		CHECK(run(cmd));
		CHECK_EQ(look("eth0"), 0);
		CHECK_EQ(o.head.flags, MSG_NIC_NO_LINK_LOCAL | t[i].flags);
	}
	/* so small a packet has no IPv6 */
	CHECK(run("ip link set eth0 mtu 1000"));
	CHECK_EQ(look("eth0"), 0);
	CHECK_EQ(o.head.flags, MSG_NIC_NO_LINK_LOCAL | MSG_NIC_NO_IP6 | MSG_NIC_NO_RA);
}

static void too_many(void)
{
	CHECK(fresh());
	CHECK(run("for i in $(seq 0 255); do echo addr add 10.8.$i.1/32 dev eth0; "
		  "echo addr add 10.8.$i.2/32 dev eth0; done | ip -batch -"));
	CHECK_EQ(look("eth0"), 0);
	CHECK_EQ(o.head.nitems, MSG_NIC_ITEMS);
	CHECK(run("ip addr add 10.8.1.3/32 dev eth0"));
	CHECK_EQ(look("eth0"), -E2BIG);
	CHECK(strstr(e.msg, "\"eth0\" has more than 512"));
}

static int take(void)
{
	CLEAN_FD int fd = rtnl_open();

	e = (struct error){ 0 };
	return look("eth0") ? -1 : nic_take(fd, &o, &e);
}

static int release(void)
{
	CLEAN_FD int fd = rtnl_open();

	return nic_release(fd, (int)if_nametoindex("eth0"));
}

/* The interface's frames are the tap's, both ways; when that has gone, and it was cleaned up, the
 * namespace's again. */
static void taken(void)
{
	struct ifreq r = { 0 };
	int tap, far, own;

	CHECK(fresh());
	far = far_socket();
	tap = take();
	CHECK_STR(e.msg, "");
	CHECK(far >= 0 && tap >= 0);
	CHECK_EQ(ioctl(tap, TUNGETIFF, &r), 0);
	CHECK_EQ(r.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR),
		IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	CHECK(run("ip link show krun0 | grep -q 'NOARP,UP.* mtu 1400.* qlen 1000'"));
	CHECK(run("a=$(ip addr show krun0) && ! echo \"$a\" | grep -q inet"));
	CHECK(say(tap, HDR, 1));
	CHECK_EQ(heard(far, 0), 1);
	CHECK(say(far, 0, 2));
	CHECK_EQ(heard(tap, HDR), 2);
	/* it is in use, and not to be cleaned up */
	CHECK_EQ(take(), -EBUSY);
	CHECK(strstr(e.msg, "another container's"));
	CHECK_EQ(release(), 0);
	CHECK(say(far, 0, 3));
	CHECK_EQ(heard(tap, HDR), 3);
	(void)close(tap);
	CHECK(run(NO_TAP));
	CHECK(run("tc qdisc show dev eth0 ingress | grep -q ingress"));
	CHECK_EQ(release(), 0);
	CHECK(run(NO_HOOK));
	CHECK_EQ(release(), 0);
	own = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5));
	CHECK(say(far, 0, 4));
	CHECK_EQ(heard(own, 0), 4);
	(void)close(own);
	(void)close(far);
}

/* What a container that was killed has left does not keep the next one from it. */
static void taken_again(void)
{
	int tap, far;

	CHECK(fresh());
	far = far_socket();
	for (uint8_t i = 0; i < 3; i++) {
		tap = take();
		CHECK(tap >= 0);
		CHECK(say(far, 0, i));
		CHECK_EQ(heard(tap, HDR), i);
		(void)close(tap);
	}
	/* the last of them knows for all of them that the hook was not there before */
	CHECK_EQ(release(), 0);
	CHECK(run(NO_HOOK));
	(void)close(far);
}

/* What a tap cannot be, and a guest not use. */
static void not_quite(void)
{
	int tap;

	CHECK(fresh());
	CHECK(run("ip link set far mtu 65535 && ip link set eth0 mtu 65535"));
	tap = take();
	CHECK_STR(e.msg, "");
	CHECK(tap >= 0 && o.head.mtu == 65521 && run("ip link show krun0 | grep -q 'mtu 65521 '"));
	(void)close(tap);
	CHECK_EQ(release(), 0);
	CHECK(run("ip link set eth0 arp off"));
	CHECK_EQ(take(), -EINVAL);
	CHECK(strstr(e.msg, "has no ARP"));
	CHECK(run(NO_HOOK));
}

/* Nobody knows which groups a guest joins: the interface hears all, as long as it is taken. */
static void all_groups(void)
{
	int tap;

	CHECK(fresh());
	CHECK(run(NOT_ALL));
	for (unsigned i = 0; i < 2; i++) { /* the second in the place of one that left it behind */
		tap = take();
		CHECK(tap >= 0 && run(ALL));
		CHECK_EQ(take(), -EBUSY);
		CHECK_EQ(release(), 0);
		CHECK(run(ALL));
		(void)close(tap);
	}
	CHECK_EQ(release(), 0);
	CHECK(run(NOT_ALL));
	/* the filter says so before it is: a start killed in between */
	tap = take();
	CHECK(tap >= 0 && run("ip link set eth0 allmulticast off"));
	(void)close(tap);
	tap = take();
	CHECK(tap >= 0 && run(ALL));
	(void)close(tap);
	CHECK(run("ip link set eth0 allmulticast off"));
	CHECK_EQ(release(), 0);
	CHECK(run(NOT_ALL) && run(NO_HOOK));
	/* what somebody else has asked for stays */
	CHECK(run("ip link set eth0 allmulticast on"));
	tap = take();
	CHECK(tap >= 0);
	(void)close(tap);
	CHECK_EQ(release(), 0);
	CHECK(run(ALL) && run(NO_HOOK));
	/* a start that fails leaves nothing of it */
	CHECK(run("ip link set eth0 allmulticast off && tc qdisc add dev eth0 ingress && "
		  "tc filter add dev eth0 ingress prio 7 matchall action drop"));
	CHECK_EQ(take(), -EBUSY);
	CHECK(run(NOT_ALL));
}

/* A macvlan gets from what lies below it no group that it has not asked for. */
static void a_macvlan(void)
{
	uint8_t b[60] = { 0x33, 0x33, 0, 0, 0x12, 0x34, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 7 };
	int tap, far;

	CHECK(fresh());
	if (system("exec 2>/dev/null; ip link set eth0 down name low up && "
		   "ip link add eth0 link low type macvlan mode private")) {
		printf("# not tried: no macvlan here\n");
		return;
	}
	CHECK(run("ip link set eth0 addrgenmode none && ip link set eth0 mtu 1400 up"));
	far = far_socket();
	tap = take();
	CHECK_STR(e.msg, "");
	CHECK(far >= 0 && tap >= 0);
	CHECK_EQ(write(far, b, sizeof(b)), (ssize_t)sizeof(b));
	CHECK_EQ(heard(tap, HDR), 7);
	(void)close(tap);
	(void)close(far);
	CHECK_EQ(release(), 0);
}

/* A hook that is empty may be about to be filled: it is used, and stays. */
static void an_empty_hook(void)
{
	CHECK(fresh());
	CHECK(run("tc qdisc add dev eth0 ingress"));
	for (unsigned i = 0; i < 2; i++) {
		int tap = take();

		CHECK_STR(e.msg, "");
		CHECK(tap >= 0);
		(void)close(tap);
	}
	CHECK_EQ(release(), 0);
	CHECK(run("tc qdisc show dev eth0 ingress | grep -q ingress"));
	CHECK(run("a=$(tc filter show dev eth0 ingress) && test -z \"$a\""));
}

/* So small a packet has no IPv6. */
static void a_small_mtu(void)
{
	int tap;

	CHECK(fresh());
	CHECK(run("ip link set eth0 mtu 1000"));
	tap = take();
	CHECK_STR(e.msg, "");
	CHECK(tap >= 0 && run("ip link show krun0 | grep -q 'UP.* mtu 1000 '"));
	(void)close(tap);
}

#define ADD "tc filter add dev eth0 parent ffff: protocol ip prio 9 "

/* Filters without an action, as the kernel keeps those of a policer, a class, and a mark. */
static const char *const others[] = {
	ADD "u32 match u32 0 0 action mirred egress redirect dev far",
	ADD "u32 match ip src 0.0.0.0/0 police rate 1mbit burst 10k drop flowid :1",
	ADD "u32 match u32 0 0 flowid :1",
	ADD "fw",
	ADD "handle 7 fw classid :1",
};
#define STAYS "tc filter show dev eth0 ingress | grep -q 'pref 9 '"

/* Of others nothing is touched, and nothing of ours is left. */
static void somebody_elses(void)
{
	CHECK(fresh());
	CHECK(run("tc qdisc add dev eth0 clsact"));
	CHECK_EQ(take(), -EBUSY);
	CHECK_EQ(release(), 0);
	CHECK(run("tc qdisc show dev eth0 | grep -q clsact"));
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		CHECK(fresh());
		CHECK(run("tc qdisc add dev eth0 ingress"));
		CHECK(run(others[i]));
		CHECK_EQ(take(), -EBUSY);
		CHECK(strstr(e.msg, "somebody else's"));
		CHECK(run(NO_TAP));
		CHECK_EQ(release(), 0);
		CHECK(run(STAYS));
	}
}

/* What somebody has added beside ours outlives it. */
static void somebody_elses_too(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		int tap;

		CHECK(fresh());
		tap = take();
		CHECK(tap >= 0);
		CHECK(run(others[i]));
		CHECK_EQ(take(), -EBUSY);
		CHECK(strstr(e.msg, "another container's"));
		(void)close(tap);
		CHECK_EQ(take(), -EBUSY);
		CHECK(strstr(e.msg, "somebody else's"));
		CHECK_EQ(release(), 0);
		CHECK(run(STAYS));
		CHECK(run("! tc filter show dev eth0 ingress 2>&1 | grep -q 'pref 1 '"));
	}
}

static int open_named(const char *name)
{
	CLEAN_FD int fd = rtnl_open();

	e = (struct error){ 0 };
	return nic_open_tap(fd, name, &e);
}

static void a_tap_that_is_there(void)
{
	int a;

	CHECK(fresh());
	CHECK_EQ(open_named("tap7"), -ENODEV);
	CHECK(strstr(e.msg, "no tap \"tap7\""));
	CHECK_EQ(open_named("eth0"), -ENODEV);
	CHECK(run("a=$(ip link show) && ! echo \"$a\" | grep -q tap7"));
	CHECK(run("ip tuntap add tap7 mode tap && ip tuntap add tun7 mode tun && "
		  "ip tuntap add many7 mode tap multi_queue"));
	a = open_named("tap7");
	CHECK(a >= 0);
	CHECK_EQ(open_named("tap7"), -EBUSY);
	(void)close(a);
	CHECK(run("ip link show tap7 >/dev/null"));
	CHECK_EQ(open_named("tun7"), -EINVAL);
	/* of one with several queues one, as long as nobody has any */
	a = open_named("many7");
	CHECK(a >= 0);
	CHECK_EQ(open_named("many7"), -EBUSY);
	CHECK(strstr(e.msg, "\"many7\""));
	(void)close(a);
	a = open_named("many7");
	CHECK(a >= 0);
	(void)close(a);
}

static int start_passt(const char *ports)
{
	e = (struct error){ 0 };
	return look("eth0") ? -1 : nic_passt(&o, ports, NULL, &e);
}

/* Who asks for the router is answered: its end of the stream is alive. */
static bool answers(int fd)
{
	static const uint8_t ask[46] = { 0, 0, 0, 42, [4] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
		1, 1, 1, 1, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 1, 1, 1, 1, 1, 10, 9, 8, 7, 0, 0, 0,
		0, 0, 0, 10, 9, 8, 1 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t b[256];

	return send(fd, ask, sizeof(ask), MSG_NOSIGNAL) == (ssize_t)sizeof(ask) &&
		poll(&p, 1, 20000) == 1 && recv(fd, b, 46, MSG_WAITALL) == 46 && b[16] == 8 &&
		b[17] == 6 && b[25] == 2 && !memcmp(b + 32, ask + 42, 4);
}

static void passt(void)
{
	static const uint8_t none[6];
	const char *path = getenv("PATH");
	CLEAN_FREE char *kept = strdup(path ? path : "");
	int fd;

	if (!run("command -v passt >/dev/null"))
		return;
	CHECK(fresh());
	CHECK(run("ip addr add 10.9.8.7/24 dev eth0"));
	/* nothing that it could pass on to */
	CHECK_EQ(start_passt("none"), -EIO);
	CHECK(!strncmp(e.msg, "passt has given up: ", 20) && strlen(e.msg) > 20);
	CHECK(run("ip route add default via 10.9.8.1"));
	fd = start_passt("8099,8101-8102");
	CHECK_STR(e.msg, "");
	CHECK(fd >= 0);
	CHECK(o.head.mtu == NIC_PASST_MTU && !memcmp(o.head.mac, none, 6));
	CHECK_STR(text(0), "1 10.9.8.7/24 scope 0 via 0.0.0.0 src 0.0.0.0");
	CHECK(answers(fd));
	CHECK(run("test $(ss -Hltn | grep -c -e :8099 -e :8101 -e :8102) = 3"));
	CHECK(run("test $(ss -Hlun | grep -c :8102) = 1"));
	(void)close(fd);
	/* it ends with the connection */
	CHECK(run(
		"for i in $(seq 100); do test -z \"$(ss -Hltn)\" && exit 0; sleep 0.1; done; exit 1"));
	CHECK(!setenv("PATH", "/nowhere", 1));
	CHECK_EQ(start_passt("none"), -ENOENT);
	CHECK(strstr(e.msg, "package \"passt\""));
	CHECK(!setenv("PATH", kept, 1));
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		TEST(what_is_there),
		TEST(which_one),
		TEST(what_it_refuses),
		TEST(walls),
		TEST(lives),
		TEST(too_many),
		TEST(taken),
		TEST(taken_again),
		TEST(all_groups),
		TEST(a_macvlan),
		TEST(not_quite),
		TEST(an_empty_hook),
		TEST(a_small_mtu),
		TEST(somebody_elses),
		TEST(somebody_elses_too),
		TEST(a_tap_that_is_there),
		TEST(passt),
	};

	if (!possible())
		return 77;
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
