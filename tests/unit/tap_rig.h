/* SPDX-License-Identifier: Apache-2.0 */
/* A rig around an interface on a tap, in a network namespace of the test's own. */
#ifndef KRUN_TESTS_UNIT_TAP_RIG_H
#define KRUN_TESTS_UNIT_TAP_RIG_H

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "unit/net_rig.h"

#define HOST_IP	 0x0a090001U
#define GUEST_IP 0x0a090002U
#define PORT	 4711
#define OFFLOADS (NET_HOST_OFFLOADS | NET_GUEST_OFFLOADS)

static uint8_t frame[FRAME_MAX + 1], back[FRAME_MAX + NET_HDR], host_mac[6];
static int ctl_sock = -1;

static inline int open_tap(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr)) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static inline void ip_of(struct sockaddr *sa, uint32_t ip)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(ip) };

	memcpy(sa, &a, sizeof(a));
}

/* Up, with an address, and the guest's in the table of neighbours. */
static inline bool bring_up(const char *name)
{
	struct ifreq ifr = { 0 };
	struct arpreq arp = { .arp_flags = ATF_COM | ATF_PERM };

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(ctl_sock, SIOCGIFHWADDR, &ifr))
		return false;
	memcpy(host_mac, ifr.ifr_hwaddr.sa_data, 6);
	ip_of(&ifr.ifr_addr, HOST_IP);
	if (ioctl(ctl_sock, SIOCSIFADDR, &ifr))
		return false;
	ip_of(&ifr.ifr_netmask, 0xffffff00);
	if (ioctl(ctl_sock, SIOCSIFNETMASK, &ifr))
		return false;
	ifr.ifr_flags = IFF_UP;
	if (ioctl(ctl_sock, SIOCSIFFLAGS, &ifr))
		return false;
	ip_of(&arp.arp_pa, GUEST_IP);
	memcpy(arp.arp_ha.sa_data, guest_mac, 6);
	(void)snprintf(arp.arp_dev, sizeof(arp.arp_dev), "%s", name);
	return !ioctl(ctl_sock, SIOCSARP, &arp);
}

static inline bool tap_up(struct rig *r, uint64_t offloads, uint64_t features)
{
	struct net_cfg cfg = net_cfg_of(NET_TAP);

	memset(r, 0, sizeof(*r));
	r->peer = -1;
	cfg.fd = open_tap("tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	cfg.offloads = offloads;
	if (cfg.fd < 0 || !bring_up("tap0") || rig_make(r, &cfg) || rig_go(r, features))
		return false;
	rx_post(r, 128, BUF);
	return true;
}

static inline uint32_t sum(const uint8_t *p, size_t n, uint32_t at)
{
	for (size_t i = 0; i < n; i++)
		at += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return at;
}

static inline uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

static inline void put_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline unsigned get_be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* Of UDP's or TCP's pseudo header, from a frame. */
static inline uint32_t pseudo(const uint8_t *f, size_t len)
{
	return sum(f + 26, 8, 0) + f[23] + (uint32_t)(len - 34);
}

/* The guest's datagram to the host: the sum of all, or as the driver leaves it, of the pseudo
 * header alone. */
static inline void udp_frame(uint32_t payload, bool whole, uint32_t seed)
{
	uint32_t ips[2] = { htonl(GUEST_IP), htonl(HOST_IP) }, len = 42 + payload;
	uint8_t *f = frame;

	make_frame(f, host_mac, len, seed);
	memcpy(f + 6, guest_mac, 6);
	put_be16(f + 12, ETH_P_IP);
	memset(f + 14, 0, 28);
	f[14] = 0x45;
	put_be16(f + 16, len - 14);
	f[22] = 64;
	f[23] = IPPROTO_UDP;
	memcpy(f + 26, ips, 8);
	put_be16(f + 24, (uint16_t)~fold(sum(f + 14, 20, 0)));
	put_be16(f + 34, PORT);
	put_be16(f + 36, PORT);
	put_be16(f + 38, len - 34);
	put_be16(f + 40, fold(pseudo(f, len)));
	if (whole) {
		put_be16(f + 40, 0);
		put_be16(f + 40, (uint16_t)~fold(sum(f + 34, len - 34, pseudo(f, len))));
	}
}

static inline int udp_socket(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ? -1 : fd;
}

/* The next datagram that a socket of the host gets, the device's loop running. */
static inline int heard(struct rig *r, int fd)
{
	for (int i = 0; i < 10000; i++) {
		ssize_t n = recv(fd, back, sizeof(back), 0);

		if (n >= 0 || errno != EAGAIN)
			return (int)n;
		if (tx_done(r) < 0)
			return -1;
		(void)loop_once(r->loop, 1);
	}
	return -1;
}

/* The next frame from the host that is UDP, among what its stack has to say by itself. */
static inline int udp_from_host(struct rig *r)
{
	for (int i = 0; i < 1000; i++) {
		int n = rx_wait(r, back);

		if (n < 0 || (n > 42 && get_be16(back + 12) == ETH_P_IP && back[23] == IPPROTO_UDP))
			return n;
	}
	return -1;
}

static inline void say_to_guest(int fd, uint32_t len, uint32_t seed)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(GUEST_IP)
	};

	make_frame(frame, guest_mac, len, seed);
	if (sendto(fd, frame, len, 0, (struct sockaddr *)&a, sizeof(a)) != (ssize_t)len)
		printf("# sendto: %s\n", strerror(errno));
}

/* The namespace with this process, and all that it makes: 0, or what a test returns that cannot
 * run. */
static inline int tap_namespace(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespace: %s\n", strerror(errno));
		return 77;
	}
	fd = open_tap("probe", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	if (fd < 0) {
		printf("1..0 # SKIP /dev/net/tun: %s\n", strerror(errno));
		return 77;
	}
	(void)close(fd);
	ctl_sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return 0;
}

#define TAP_MAIN(cases)                                                         \
	int main(int argc, char **argv)                                         \
	{                                                                       \
		int r = tap_namespace();                                        \
                                                                                \
		return r ? r : test_run_(cases, ARRAY_SIZE(cases), argc, argv); \
	}

#endif
