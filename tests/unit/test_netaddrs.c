// SPDX-License-Identifier: Apache-2.0
/* The addresses that are told to the guest, in network namespaces of the test's own. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/netaddrs.h"
#include "test.h"
#include "util/cleanup.h"

/* A namespace with lo up and its addresses @a (NULL: none beside its own). False: not allowed here.
 */
static bool fresh(const char *const *a)
{
	CLEAN_FD int fd = -1;
	struct ifreq r = { .ifr_name = "lo" };
	struct sockaddr_in in = { .sin_family = AF_INET };

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r.ifr_flags = IFF_UP;
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r))
		return false;
	for (int i = 0; a && a[i]; i++) {
		(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "lo:%d", i + 1);
		if (inet_pton(AF_INET, a[i], &in.sin_addr) != 1)
			return false;
		(void)memcpy(&r.ifr_addr, &in, sizeof(in));
		if (ioctl(fd, SIOCSIFADDR, &r))
			return false;
		(void)inet_pton(AF_INET, "255.255.240.0", &in.sin_addr);
		(void)memcpy(&r.ifr_netmask, &in, sizeof(in));
		if (ioctl(fd, SIOCSIFNETMASK, &r))
			return false;
	}
	return true;
}

static void nothing_but_loopback(void)
{
	struct msg_netaddr m[4];

	CHECK_EQ(netaddrs_collect(m, 4), 0);
}

static void aliases(void)
{
	static const char *const two[] = { "10.9.8.7", "192.0.2.1", NULL };
	static const uint8_t ip[4] = { 10, 9, 8, 7 };
	struct msg_netaddr m[4];

	CHECK(fresh(two));
	CHECK_EQ(netaddrs_collect(m, 4), 2);
	CHECK_STR(m[0].name, "lo");
	CHECK_EQ(m[0].ifindex, 1);
	CHECK_EQ(m[0].mtu, 65536);
	CHECK_EQ(m[0].family, MSG_NET_INET);
	CHECK_EQ(m[0].prefix, 20);
	CHECK(!memcmp(m[0].ip, ip, sizeof(ip)));
	CHECK_EQ(m[0].reserved, 0);
	CHECK_EQ(netaddrs_collect(m, 1), 1);
	CHECK_EQ(netaddrs_collect(m, 0), 0);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		TEST(nothing_but_loopback),
		TEST(aliases),
	};

	if (!fresh(NULL)) {
		printf("1..0 # skipped: no network namespace may be made here\n");
		return 77;
	}
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
