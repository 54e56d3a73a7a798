/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces of a test's own, with a pair of interfaces that ip(8) makes. */
#ifndef KRUN_OCI_TEST_NIC_RIG_H
#define KRUN_OCI_TEST_NIC_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

#define HDR 10 /* struct virtio_net_hdr, in the kernel's first form */

/* A namespace with eth0, which is up, and its other end. */
static inline bool fresh(void)
{
	return !unshare(CLONE_NEWNET) &&
		!system("ip -batch - <<.\n"
			"link set lo up\n"
			"link add eth0 type veth peer name far\n"
			"link set eth0 addrgenmode none\n"
			"link set far addrgenmode none\n"
			"link set eth0 address 02:00:00:0a:0b:0c mtu 1400 up\n"
			"link set far up\n.\n");
}

static inline bool run(const char *cmd)
{
	return !system(cmd);
}

/* Filters are tried as well: a kernel may have hooks and nothing to put there. */
static inline bool possible(void)
{
	if (unshare(CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespace: %s\n", strerror(errno));
		return false;
	}
	if (system("exec >/dev/null 2>&1; ip tuntap add t0 mode tap && "
		   "ip link add v0 type veth peer name v1 && tc qdisc add dev v0 ingress && "
		   "tc filter add dev v0 ingress matchall action mirred egress redirect dev v1")) {
		printf("1..0 # SKIP no taps, pairs of interfaces or ingress hooks here\n");
		return false;
	}
	return true;
}

static inline int far_socket(void)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
		.sll_protocol = htons(0x88b5),
		.sll_ifindex = (int)if_nametoindex("far") };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5));

	return fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ? -1 : fd;
}

/* Reads until it is a frame of ours: its payload's first byte, or -1 after a while. */
static inline int heard(int fd, size_t hdr)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint8_t b[2048];

	while (poll(&p, 1, 20000) == 1) {
		ssize_t n = read(fd, b, sizeof(b));

		if (n > (ssize_t)hdr + 14 && b[hdr + 12] == 0x88 && b[hdr + 13] == 0xb5)
			return b[hdr + 14];
	}
	return -1;
}

static inline bool say(int fd, size_t hdr, uint8_t what)
{
	uint8_t b[HDR + 60] = { 0 };

	memset(b + hdr, 0xff, 6);
	b[hdr + 6] = 2;
	b[hdr + 12] = 0x88;
	b[hdr + 13] = 0xb5;
	b[hdr + 14] = what;
	return write(fd, b, hdr + 60) == (ssize_t)(hdr + 60);
}

#endif
