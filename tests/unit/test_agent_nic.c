// SPDX-License-Identifier: Apache-2.0
/* The guest's interface as it is told to be, on a tap that is called as a machine's device. */
#include "agent.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* linux/if_tun.h has the rest of the kernel's headers in its train */
#define K_TUNSETIFF 0x400454caUL
#define K_IFF_TAP   0x1002 /* and IFF_NO_PI */

#define STATIC 4 /* RTPROT_STATIC */
#define BOOT   3
#define LINK   253 /* RT_SCOPE_LINK */

static int tap = -1;

/* A device that is down, as after a boot. */
static bool fresh(void)
{
	struct ifreq r = { .ifr_name = "eth0", .ifr_flags = K_IFF_TAP };

	if (tap >= 0)
		(void)close(tap);
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	return tap >= 0 && !ioctl(tap, K_TUNSETIFF, &r);
}

/* What a command prints, each of its lines being one of words with one space between. */
static const char *shown(const char *cmd)
{
	static char out[4096];
	FILE *f = popen(cmd, "re");
	size_t n = f ? fread(out, 1, sizeof(out) - 1, f) : 0;

	out[n] = 0;
	if (f)
		(void)pclose(f);
	return out;
}

static struct msg_nic_item item(
	uint8_t kind, uint8_t family, uint8_t prefix, const uint8_t *ip, size_t len)
{
	struct msg_nic_item m = { .kind = kind, .family = family, .prefix = prefix };

	memcpy(m.ip, ip, len);
	return m;
}

#define IP4(a, b, c, d)	      ((const uint8_t[16]){ a, b, c, d })
#define V4(kind, prefix, ...) item(kind, MSG_NET_INET, prefix, IP4(__VA_ARGS__), 4)

static const uint8_t v6[16] = { 0xfd, 0x77, [15] = 2 }, gw6[16] = { 0xfd, 0x77, [15] = 1 },
		     ll[16] = { 0xfe, 0x80, [15] = 9 }, any[16];

static void as_it_was(void)
{
	struct msg_nic n = { .mtu = 1400,
		.name = "net5",
		.flags = MSG_NIC_NO_LINK_LOCAL,
		.mac = { 2, 0, 0, 1, 2, 3 } };
	struct msg_nic_item m[9];
	struct fail f = { 0 };

	CHECK(fresh());
	m[0] = V4(MSG_NIC_ADDR, 24, 10, 9, 8, 7);
	memcpy(m[0].src, IP4(10, 9, 8, 255), 4);
	m[1] = V4(MSG_NIC_ADDR, 32, 10, 1, 1, 1);
	m[1].flags = MSG_NIC_NOPREFIXROUTE;
	m[2] = item(MSG_NIC_ADDR, MSG_NET_INET6, 64, v6, 16);
	m[3] = item(MSG_NIC_ADDR, MSG_NET_INET6, 64, ll, 16);
	m[3].scope = LINK;
	m[4] = V4(MSG_NIC_NEIGH, 0, 10, 9, 8, 1);
	memcpy(m[4].mac, "\2\0\0\7\7\7", 6);
	m[5] = V4(MSG_NIC_ROUTE, 32, 169, 254, 1, 1);
	m[5].scope = LINK;
	m[5].origin = STATIC;
	m[6] = V4(MSG_NIC_ROUTE, 0, 0, 0, 0, 0);
	memcpy(m[6].via, IP4(10, 9, 8, 1), 4);
	memcpy(m[6].src, IP4(10, 1, 1, 1), 4);
	m[6].origin = STATIC;
	m[6].metric = 100;
	m[7] = V4(MSG_NIC_ROUTE, 16, 172, 20, 0, 0);
	memcpy(m[7].via, IP4(192, 0, 2, 1), 4);
	m[7].flags = MSG_NIC_ONLINK;
	m[7].mtu = 1300;
	m[7].origin = BOOT;
	m[8] = item(MSG_NIC_ROUTE, MSG_NET_INET6, 0, any, 16);
	m[8].origin = BOOT;
	memcpy(m[8].via, gw6, 16);
	m[8].metric = 1024;
	n.nitems = 9;
	CHECK_EQ(nic_set(&n, (const uint8_t *)m, sizeof(m), &f), 0);
	CHECK_STR(f.text, "");
	CHECK_STR(shown("ip -o link show net5 | grep -o 'mtu [0-9]*\\|link/ether [0-9a-f:]*'"),
		"mtu 1400\nlink/ether 02:00:00:01:02:03\n");
	CHECK_STR(
		shown("ip -o addr show net5 | sed 's/  */ /g;s/\\\\.*//;s/ *$//' | cut -d' ' -f3-"),
		"inet 10.9.8.7/24 brd 10.9.8.255 scope global net5\n"
		"inet 10.1.1.1/32 scope global noprefixroute net5\n"
		"inet6 fd77::2/64 scope global nodad\n"
		"inet6 fe80::9/64 scope link nodad\n");
	CHECK_STR(shown("ip route | sed 's/ *$//;s/ linkdown//'"),
		"default via 10.9.8.1 dev net5 proto static src 10.1.1.1 metric 100\n"
		"10.9.8.0/24 dev net5 proto kernel scope link src 10.9.8.7\n"
		"169.254.1.1 dev net5 proto static scope link\n"
		"172.20.0.0/16 via 192.0.2.1 dev net5 onlink mtu 1300\n");
	CHECK_STR(shown("ip -6 route show default | grep -o 'via.*metric 1024'"),
		"via fd77::1 dev net5 metric 1024\n");
	CHECK_STR(shown("ip neigh show nud permanent | sed 's/ *$//'"),
		"10.9.8.1 dev net5 lladdr 02:00:00:07:07:07 PERMANENT\n");
}

/* What the namespace refuses is refused before the link is up, and nothing else is changed. */
static void as_it_refuses(void)
{
	static const struct {
		uint8_t flags;
		const char *is;
	} t[] = {
		{ 0, "1 1 1 1 0" },
		{ MSG_NIC_NO_RA, "0 1 1 1 0" },
		{ MSG_NIC_NO_AUTOCONF, "1 0 0 1 0" },
		{ MSG_NIC_NO_RA_ROUTER, "1 1 1 0 0" },
		{ MSG_NIC_NO_IP6 | MSG_NIC_NO_RA, "0 1 1 1 1" },
	};
	struct fail f = { 0 };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct msg_nic n = { .name = "eth0", .flags = t[i].flags | MSG_NIC_NO_LINK_LOCAL };

		CHECK(fresh());
		CHECK_EQ(nic_set(&n, NULL, 0, &f), 0);
		CHECK_STR(f.text, "");
		CHECK_STR(
			shown("cd /proc/sys/net/ipv6/conf/eth0 && printf %s \"$(echo $(cat accept_ra "
			      "autoconf accept_ra_pinfo accept_ra_defrtr disable_ipv6))\""),
			t[i].is);
		CHECK_STR(shown("ip -o addr show eth0"), "");
	}
}

/* A tap that is nobody's model has what the kernel makes. */
static void as_the_kernel_does(void)
{
	struct msg_nic n = { .name = "eth0" };
	struct fail f = { 0 };

	CHECK(fresh());
	CHECK_EQ(nic_set(&n, NULL, 0, &f), 0);
	CHECK_STR(shown("ip -o addr show eth0 | grep -o 'inet6 fe80:'"), "inet6 fe80:\n");
}

/* Without a word about it, it keeps what it has; and nothing that the namespace has not. */
static void as_it_is(void)
{
	struct msg_nic n = { .name = "eth0", .flags = MSG_NIC_NO_LINK_LOCAL };
	struct fail f = { 0 };

	CHECK(fresh());
	CHECK_EQ(nic_set(&n, NULL, 0, &f), 0);
	CHECK_STR(shown("ip -o link show eth0 | grep -o 'mtu [0-9]*'"), "mtu 1500\n");
	CHECK_STR(shown("ip -o addr show eth0"), "");
	/* it is called so no more: there is none to be set a second time */
	memcpy(n.name, "lan", 4);
	CHECK(fresh());
	CHECK_EQ(nic_set(&n, NULL, 0, &f), 0);
	CHECK_EQ(nic_set(&n, NULL, 0, &f), -ENODEV);
	CHECK_STR(f.text, "the machine has no network device: No such device");
}

/* What is given for a time; and an address that the guest has to look for itself. */
static void lives(void)
{
	struct msg_nic n = { .name = "eth0", .nitems = 4, .flags = MSG_NIC_NO_LINK_LOCAL };
	struct msg_nic_item m[4];
	struct fail f = { 0 };

	CHECK(fresh());
	m[0] = V4(MSG_NIC_ADDR, 24, 10, 9, 8, 7);
	m[0].valid = 2000;
	m[0].preferred = 1000;
	m[1] = item(MSG_NIC_ADDR, MSG_NET_INET6, 64, gw6, 16);
	m[1].valid = 0xffffffff;
	m[2] = item(MSG_NIC_ADDR, MSG_NET_INET6, 64, v6, 16);
	m[2].flags = MSG_NIC_DAD;
	m[3] = item(MSG_NIC_ROUTE, MSG_NET_INET6, 0, any, 16);
	memcpy(m[3].via, v6, 15);
	m[3].via[15] = 9;
	m[3].origin = BOOT;
	m[3].valid = 3000;
	CHECK_EQ(nic_set(&n, (const uint8_t *)m, sizeof(m), &f), 0);
	CHECK_STR(f.text, "");
	CHECK_STR(shown("ip -o -4 addr show eth0 | grep -o -e 'valid_lft [12]...sec' -e "
			"'preferred_lft [0-9]*sec' | sed 's/ [0-9]*sec/ N/'"),
		"valid_lft N\npreferred_lft N\n");
	CHECK_STR(
		shown("ip -o -6 addr show eth0 | grep fd77::1/ | grep -o -e deprecated -e nodad -e "
		      "'valid_lft forever' -e 'preferred_lft 0sec'"),
		"nodad\ndeprecated\nvalid_lft forever\npreferred_lft 0sec\n");
	CHECK_STR(shown("ip -o -6 addr show eth0 | grep fd77::2/ | grep -o -e nodad -e "
			"'preferred_lft forever'"),
		"preferred_lft forever\n");
	CHECK_STR(shown("ip -6 route show default | grep -o 'expires [23]...sec' | cut -c-7"),
		"expires\n");
}

/* What nobody is reached by; it goes again as the rest does. */
static void walls(void)
{
	struct msg_nic n = { .name = "eth0", .nitems = 3, .flags = MSG_NIC_NO_LINK_LOCAL };
	struct msg_nic_item m[3];
	struct fail f = { 0 };

	CHECK(fresh());
	m[0] = V4(MSG_NIC_ROUTE, 32, 169, 254, 169, 254);
	m[0].type = 6; /* RTN_BLACKHOLE */
	m[0].origin = BOOT;
	m[1] = item(MSG_NIC_ROUTE, MSG_NET_INET6, 16, v6, 16);
	memset(m[1].ip + 2, 0, 14);
	m[1].type = 8; /* RTN_PROHIBIT */
	m[1].origin = BOOT;
	m[1].metric = 1024;
	m[2] = V4(MSG_NIC_ROUTE, 8, 10, 0, 0, 0);
	memcpy(m[2].via, IP4(192, 0, 2, 1), 4);
	CHECK_EQ(nic_set(&n, (const uint8_t *)m, sizeof(m), &f), -ENETUNREACH);
	CHECK_STR(shown("ip route show type blackhole; ip -6 route show type prohibit"), "");
	f = (struct fail){ 0 };
	n.nitems = 2;
	CHECK_EQ(nic_set(&n, (const uint8_t *)m, 2 * sizeof(m[0]), &f), 0);
	CHECK_STR(shown("ip route show type blackhole | sed 's/ *$//'"),
		"blackhole 169.254.169.254\n");
	CHECK_STR(shown("ip -6 route show type prohibit | grep -o '^prohibit fd77::/16'"),
		"prohibit fd77::/16\n");
	CHECK_STR(shown("ip route flush type blackhole; ip -6 route flush type prohibit"), "");
}

/* What has failed can be tried again, and leaves nothing. */
static void a_second_try(void)
{
	struct msg_nic n = { .name = "net5", .nitems = 4, .flags = MSG_NIC_NO_LINK_LOCAL };
	struct msg_nic_item m[4];
	struct fail f = { 0 };

	CHECK(fresh());
	m[0] = V4(MSG_NIC_ADDR, 24, 10, 9, 8, 7);
	m[1] = item(MSG_NIC_ADDR, MSG_NET_INET6, 64, v6, 16);
	m[2] = V4(MSG_NIC_NEIGH, 0, 10, 9, 8, 1);
	m[3] = V4(MSG_NIC_ROUTE, 8, 10, 0, 0, 0);
	memcpy(m[3].via, IP4(192, 0, 2, 1), 4);
	for (unsigned i = 0; i < 2; i++) {
		f = (struct fail){ 0 };
		CHECK_EQ(nic_set(&n, (const uint8_t *)m, sizeof(m), &f), -ENETUNREACH);
		CHECK_STR(shown("ip -o link show eth0 | grep -o -e state.DOWN -e '[<,]UP'"),
			"state DOWN\n");
		CHECK_STR(shown("ip -o addr show eth0; ip route; ip -6 route show dev eth0; "
				"ip neigh show nud permanent"),
			"");
	}
	memcpy(m[3].via, IP4(10, 9, 8, 1), 4);
	f = (struct fail){ 0 };
	CHECK_EQ(nic_set(&n, (const uint8_t *)m, sizeof(m), &f), 0);
	CHECK_STR(shown("ip -o addr show net5 | grep -c inet"), "2\n");
	CHECK_STR(shown("ip route show 10.0.0.0/8 | grep -o 'via 10.9.8.1 dev net5'"),
		"via 10.9.8.1 dev net5\n");
}

/* The config may have turned IPv6 off: what is left out is told, and is no failure. */
static void without_ip6(void)
{
	struct msg_nic n = { .name = "eth0", .nitems = 3, .flags = MSG_NIC_NO_LINK_LOCAL };
	struct msg_nic_item m[3];
	struct fail f = { 0 };

	CHECK(fresh());
	CHECK_STR(shown("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && echo done"), "done\n");
	m[0] = item(MSG_NIC_ADDR, MSG_NET_INET6, 64, v6, 16);
	m[1] = V4(MSG_NIC_ADDR, 24, 10, 9, 8, 7);
	m[2] = item(MSG_NIC_ROUTE, MSG_NET_INET6, 0, any, 16);
	memcpy(m[2].via, gw6, 16);
	CHECK_EQ(nic_set(&n, (const uint8_t *)m, sizeof(m), &f), 0);
	CHECK_EQ(f.err, 0);
	CHECK_STR(f.text,
		"the guest has no IPv6 on eth0: 2 addresses, neighbours and routes are left out");
	CHECK_STR(shown("ip -o addr show eth0 | grep -o 'inet6\\?.[^ ]*'"), "inet 10.9.8.7/24\n");
	CHECK_STR(shown("echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && echo done"), "done\n");
}

static void what_the_kernel_refuses(void)
{
	struct msg_nic n = { .name = "eth0", .nitems = 1 };
	struct msg_nic_item m = V4(MSG_NIC_ROUTE, 8, 10, 0, 0, 0);
	struct fail f = { 0 };

	CHECK(fresh());
	memcpy(m.via, IP4(192, 0, 2, 1), 4);
	CHECK_EQ(nic_set(&n, (const uint8_t *)&m, sizeof(m), &f), -ENETUNREACH);
	CHECK_STR(f.text, "route to: 10.0.0.0/8: Network unreachable");
	f = (struct fail){ 0 };
	memcpy(n.name, "lo", 3);
	CHECK(fresh());
	CHECK_EQ(nic_set(&n, (const uint8_t *)&m, sizeof(m), &f), -EEXIST);
	CHECK_STR(f.text, "network interface: lo: File exists");
}

static void malformed(void)
{
	struct msg_nic_item m = V4(MSG_NIC_ADDR, 24, 10, 9, 8, 7);
	struct fail f = { 0 };

	CHECK(fresh());
	for (unsigned i = 0; i < 15; i++) {
		struct msg_nic n = { .name = "eth0", .nitems = 1 };
		struct msg_nic_item bad = m;

		switch (i) {
		case 0:
			n.name[0] = 0;
			break;
		case 1:
			memset(n.name, 'x', sizeof(n.name));
			break;
		case 2:
			n.reserved = 1;
			break;
		case 3:
			n.flags = 64;
			break;
		case 4:
			n.nitems = 2;
			break;
		case 5:
			n.nitems = MSG_NIC_ITEMS + 1;
			break;
		case 6:
			bad.kind = 0;
			break;
		case 7:
			bad.kind = 4;
			break;
		case 8:
			bad.prefix = 33;
			break;
		case 9:
			bad.family = 2;
			break;
		case 10:
			bad.flags = 8;
			break;
		case 13:
			bad.preferred = 1;
			break;
		case 11:
			bad.type = 7; /* of an address */
			break;
		case 12:
			bad.kind = MSG_NIC_ROUTE;
			bad.type = 1;
			break;
		default:
			bad.reserved2 = 1;
			break;
		}
		CHECK_EQ(nic_set(&n, (const uint8_t *)&bad, sizeof(bad), &f), -EPROTO);
		CHECK_EQ(f.err, 0);
	}
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		TEST(as_it_was),
		TEST(as_it_refuses),
		TEST(as_the_kernel_does),
		TEST(as_it_is),
		TEST(lives),
		TEST(walls),
		TEST(a_second_try),
		TEST(without_ip6),
		TEST(what_the_kernel_refuses),
		TEST(malformed),
	};

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespace: %s\n", strerror(errno));
		return 77;
	}
	if (!fresh()) {
		printf("1..0 # SKIP /dev/net/tun: %s\n", strerror(errno));
		return 77;
	}
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
