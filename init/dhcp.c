// SPDX-License-Identifier: Apache-2.0
/* A DHCP client (RFC 2131) for one interface, once, before anything else runs. */

/*
 * How it works
 *
 * DISCOVER, OFFER, REQUEST, ACK over a packet socket, as an interface without an address takes no
 * packet by IP that is not for all. What is agreed on is set: address, netmask, the first router,
 * the MTU; name servers go into a file of the caller's. The lease is not renewed: who hands them
 * out to a machine of the host's knows when it ends.
 *
 * An answer is bytes from the network: lengths first, and only what belongs to the question asked.
 */
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/route.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVER_PORT 67
#define CLIENT_PORT 68

/* Offsets in a packet: IP, UDP, BOOTP, then options behind four bytes that tell that they are. */
#define UDP	 20
#define BOOTP	 28
#define XID	 (BOOTP + 4)
#define YIADDR	 (BOOTP + 16)
#define CHADDR	 (BOOTP + 28)
#define COOKIE	 (BOOTP + 236)
#define OPTIONS	 (COOKIE + 4)
#define PACKET	 576 /* what everybody takes */
#define LATE_MAX 64  /* packets that are looked at after the time */
#define SERVERS	 3   /* of names: more than resolv.conf(5) allows are of no use */

#define DISCOVER 1
#define OFFER	 2
#define REQUEST	 3
#define ACK	 5

#define OPT_MASK   1
#define OPT_ROUTER 3
#define OPT_DNS	   6
#define OPT_MTU	   26
#define OPT_IP	   50
#define OPT_TYPE   53
#define OPT_SERVER 54
#define OPT_WANT   55
#define OPT_END	   255

static const uint8_t cookie[4] = { 0x63, 0x82, 0x53, 0x63 };

struct client {
	int fd, index;
	char name[IFNAMSIZ];
	uint8_t mac[6], xid[4];
};

struct lease {
	uint8_t type, ip[4], mask[4], router[4], server[4];
	uint8_t dns[SERVERS][4];
	unsigned ndns;
	uint16_t mtu;
};

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint8_t *option(uint8_t *p, uint8_t code, const void *v, uint8_t len)
{
	p[0] = code;
	p[1] = len;
	memcpy(p + 2, v, len);
	return p + 2 + len;
}

static int say(const struct client *c, uint8_t type, const struct lease *l)
{
	static const uint8_t want[] = { OPT_MASK, OPT_ROUTER, OPT_DNS, OPT_MTU };
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_IP),
		.sll_ifindex = c->index,
		.sll_halen = 6,
		.sll_addr = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	uint8_t b[PACKET] = { 0 }, *p = b + OPTIONS;
	uint32_t sum = 0;

	b[0] = 0x45;
	put16(b + 2, PACKET);
	b[8] = 64;
	b[9] = IPPROTO_UDP;
	memset(b + 16, 0xff, 4);
	for (int i = 0; i < UDP; i += 2)
		sum += get16(b + i);
	put16(b + 10, ~((sum >> 16) + (sum & 0xffff)));
	put16(b + UDP, CLIENT_PORT);
	put16(b + UDP + 2, SERVER_PORT);
	put16(b + UDP + 4, PACKET - UDP);
	b[BOOTP] = b[BOOTP + 1] = 1;
	b[BOOTP + 2] = 6;
	memcpy(b + XID, c->xid, 4);
	memcpy(b + CHADDR, c->mac, 6);
	memcpy(b + COOKIE, cookie, 4);
	p = option(p, OPT_TYPE, &type, 1);
	if (type == REQUEST) {
		p = option(p, OPT_IP, l->ip, 4);
		p = option(p, OPT_SERVER, l->server, 4);
	}
	p = option(p, OPT_WANT, want, sizeof(want));
	*p = OPT_END;
	return sendto(c->fd, b, sizeof(b), 0, (struct sockaddr *)(void *)&to, sizeof(to)) < 0
		? -errno
		: 0;
}

static void read_servers(struct lease *l, const uint8_t *v, size_t n)
{
	l->ndns = n < SERVERS ? (unsigned)n : SERVERS;
	memcpy(l->dns, v, l->ndns * sizeof(l->dns[0]));
}

static void read_option(struct lease *l, uint8_t code, const uint8_t *v, size_t len)
{
	if (code == OPT_TYPE && len == 1)
		l->type = v[0];
	else if (code == OPT_MASK && len == 4)
		memcpy(l->mask, v, 4);
	else if (code == OPT_ROUTER && len >= 4)
		memcpy(l->router, v, 4);
	else if (code == OPT_SERVER && len == 4)
		memcpy(l->server, v, 4);
	else if (code == OPT_MTU && len == 2)
		l->mtu = (uint16_t)get16(v);
	else if (code == OPT_DNS && len % 4 == 0)
		read_servers(l, v, len / 4);
}

/* Is this an answer to @c? Then *l is what it says. */
static bool parse(const struct client *c, const uint8_t *b, size_t n, struct lease *l)
{
	*l = (struct lease){ .mask = { 255, 255, 255, 0 } };
	if (n < OPTIONS || b[0] != 0x45 || b[9] != IPPROTO_UDP || get16(b + 2) > n ||
		get16(b + 6) & 0x3fff || get16(b + UDP + 2) != CLIENT_PORT ||
		get16(b + UDP + 4) > n - UDP || b[BOOTP] != 2 || memcmp(b + XID, c->xid, 4) != 0 ||
		memcmp(b + CHADDR, c->mac, 6) != 0 || memcmp(b + COOKIE, cookie, 4) != 0)
		return false;
	memcpy(l->ip, b + YIADDR, 4);
	for (size_t at = OPTIONS; at < n && b[at] != OPT_END;) {
		if (!b[at]) {
			at++;
			continue;
		}
		if (n - at < 2 || b[at + 1] > n - at - 2)
			return false;
		read_option(l, b[at], b + at + 2, b[at + 1]);
		at += 2u + b[at + 1];
	}
	return l->type;
}

static uint64_t now_ms(void)
{
	struct timespec t = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Waits until @end for an answer of @type. */
static int hear(const struct client *c, uint8_t type, uint64_t end, struct lease *l)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	uint8_t b[1500];

	/* it may lie there when the time is up, behind what others have said: it is we who are late
	 */
	for (int late = 0; late < LATE_MAX;) {
		uint64_t now = now_ms();
		ssize_t n;

		late += now >= end;
		if (poll(&p, 1, late ? 0 : (int)(end - now)) <= 0)
			break;
		n = recv(c->fd, b, sizeof(b), MSG_DONTWAIT);
		if (n > 0 && parse(c, b, (size_t)n, l) && l->type == type)
			return 0;
	}
	return -ETIMEDOUT;
}

static int ask(const struct client *c, struct lease *l)
{
	struct lease offer;
	int r = say(c, DISCOVER, NULL);

	if (!r)
		r = hear(c, OFFER, now_ms() + DHCP_TRY_MS, &offer);
	if (!r)
		r = say(c, REQUEST, &offer);
	return r ? r : hear(c, ACK, now_ms() + DHCP_TRY_MS, l);
}

static void set_ip(struct sockaddr *to, const uint8_t *ip)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	memcpy(&a.sin_addr, ip, 4);
	memcpy(to, &a, sizeof(a));
}

static int apply(const struct client *c, int fd, const struct lease *l)
{
	static const uint8_t none[4];
	struct rtentry rt = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, c->name, sizeof(ifr.ifr_name));
	/* one that the device does not have is no reason to go without an address */
	ifr.ifr_mtu = l->mtu;
	if (l->mtu >= PACKET)
		(void)ioctl(fd, SIOCSIFMTU, &ifr);
	set_ip(&ifr.ifr_addr, l->ip);
	if (ioctl(fd, SIOCSIFADDR, &ifr))
		return -errno;
	set_ip(&ifr.ifr_netmask, l->mask);
	if (ioctl(fd, SIOCSIFNETMASK, &ifr))
		return -errno;
	if (!memcmp(l->router, none, sizeof(none)))
		return 0;
	set_ip(&rt.rt_gateway, l->router);
	set_ip(&rt.rt_dst, none);
	set_ip(&rt.rt_genmask, none);
	return ioctl(fd, SIOCADDRT, &rt) ? -errno : 0;
}

/* Without name servers there is no file. */
static int write_servers(const char *file, const struct lease *l)
{
	char text[SERVERS * sizeof("nameserver 255.255.255.255\n")];
	size_t n = 0;
	int fd, r = 0;
	ssize_t k;

	if (!l->ndns)
		return 0;
	for (unsigned i = 0; i < l->ndns; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "nameserver %u.%u.%u.%u\n",
			l->dns[i][0], l->dns[i][1], l->dns[i][2], l->dns[i][3]);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	k = write(fd, text, n);
	if (k != (ssize_t)n)
		r = k < 0 ? -errno : -ENOSPC;
	(void)close(fd);
	/* half of one is worse than the root's own */
	if (r)
		(void)unlink(file);
	return r;
}

/* The interface is up, and c->fd hears it. */
static int begin(struct client *c, int fd)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct ifreq ifr = { 0 };

	memcpy(ifr.ifr_name, c->name, sizeof(ifr.ifr_name));
	if (ioctl(fd, SIOCGIFINDEX, &ifr))
		return -errno;
	a.sll_ifindex = c->index = ifr.ifr_ifindex;
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		return -errno;
	memcpy(c->mac, ifr.ifr_hwaddr.sa_data, 6);
	ifr.ifr_flags = IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		return -errno;
	if (getrandom(c->xid, sizeof(c->xid), 0) != sizeof(c->xid))
		return -errno;
	c->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
	return c->fd < 0 || bind(c->fd, (struct sockaddr *)(void *)&a, sizeof(a)) ? -errno : 0;
}

int dhcp_run(const char *name, int tries, const char *servers)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;
	struct client c = { .fd = -1 };
	struct lease l;

	if (fd < 0)
		return -errno;
	strncpy(c.name, name, sizeof(c.name) - 1);
	r = begin(&c, fd);
	if (!r)
		r = ask(&c, &l);
	for (int i = 1; r == -ETIMEDOUT && i < tries; i++)
		r = ask(&c, &l);
	if (!r)
		r = apply(&c, fd, &l);
	if (!r && servers)
		r = -write_servers(servers, &l);
	if (c.fd >= 0)
		(void)close(c.fd);
	(void)close(fd);
	return r;
}
