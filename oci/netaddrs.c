// SPDX-License-Identifier: Apache-2.0
/* The addresses of a network namespace, as records for the guest's agent. */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/netaddrs.h"
#include "util/cleanup.h"
#include "util/util.h"

static void free_list(struct ifaddrs **list)
{
	if (*list)
		freeifaddrs(*list);
}

static uint8_t prefix_of(const uint8_t *mask, size_t len)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; i++)
		n += (unsigned)__builtin_popcount(mask[i]);
	return (uint8_t)n;
}

/* The interface's name, number and hardware address; 0 when it is there. @label: the name, or
 * "NAME:ALIAS". */
static int link_of(const struct ifaddrs *list, const char *label, struct msg_netaddr *m)
{
	size_t len = strcspn(label, ":");

	if (!len || len >= sizeof(m->name))
		return -ENODEV;
	(void)memcpy(m->name, label, len);
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		struct sockaddr_ll ll;

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_PACKET ||
			strcmp(i->ifa_name, m->name) != 0)
			continue;
		(void)memcpy(&ll, i->ifa_addr, sizeof(ll));
		if (ll.sll_ifindex <= 0)
			return -ENODEV;
		m->ifindex = (uint32_t)ll.sll_ifindex;
		if (ll.sll_halen == sizeof(m->mac))
			(void)memcpy(m->mac, ll.sll_addr, sizeof(m->mac));
		return 0;
	}
	return -ENODEV;
}

static bool address_of(const struct ifaddrs *i, struct msg_netaddr *m)
{
	struct sockaddr_in6 a6, m6;
	struct sockaddr_in a4, m4;

	if (!i->ifa_addr || !i->ifa_netmask)
		return false;
	if (i->ifa_addr->sa_family == AF_INET) {
		(void)memcpy(&a4, i->ifa_addr, sizeof(a4));
		(void)memcpy(&m4, i->ifa_netmask, sizeof(m4));
		m->family = MSG_NET_INET;
		(void)memcpy(m->ip, &a4.sin_addr, 4);
		m->prefix = prefix_of((const uint8_t *)&m4.sin_addr, 4);
		return (ntohl(a4.sin_addr.s_addr) >> 24) != IN_LOOPBACKNET;
	}
	if (i->ifa_addr->sa_family != AF_INET6)
		return false;
	(void)memcpy(&a6, i->ifa_addr, sizeof(a6));
	(void)memcpy(&m6, i->ifa_netmask, sizeof(m6));
	m->family = MSG_NET_INET6;
	(void)memcpy(m->ip, &a6.sin6_addr, 16);
	m->prefix = prefix_of((const uint8_t *)&m6.sin6_addr, 16);
	return !IN6_IS_ADDR_LOOPBACK(&a6.sin6_addr);
}

static uint32_t mtu_of(int sock, const char *name)
{
	struct ifreq r = { 0 };

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	return sock >= 0 && !ioctl(sock, SIOCGIFMTU, &r) && r.ifr_mtu > 0 ? (uint32_t)r.ifr_mtu : 0;
}

/* #syscalls:main socket:AF_INET socket:AF_NETLINK bind sendto recvmsg getsockname ioctl:SIOCGIFMTU
 * close */
int netaddrs_collect(struct msg_netaddr *out, size_t max)
{
	CLEAN(free_list) struct ifaddrs *list = NULL;
	CLEAN_FD int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	size_t n = 0;

	if (getifaddrs(&list))
		return -errno;
	for (const struct ifaddrs *i = list; i && n < max; i = i->ifa_next) {
		struct msg_netaddr m = { 0 };

		if (!(i->ifa_flags & IFF_UP) || !address_of(i, &m) ||
			link_of(list, i->ifa_name, &m))
			continue;
		m.mtu = mtu_of(sock, m.name);
		out[n++] = m;
	}
	return (int)n;
}
