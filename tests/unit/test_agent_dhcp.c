// SPDX-License-Identifier: Apache-2.0
/* The agent's DHCP client on a tap, the test being the server, and one that lies. */
#include "agent.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* linux/if_tun.h has the rest of the kernel's headers in its train */
#define K_TUNSETIFF 0x400454caUL
#define K_IFF_TAP   0x1002 /* and IFF_NO_PI */

#define BOOTP	 42 /* in a frame */
#define OPTIONS	 (BOOTP + 240)
#define DISCOVER 1
#define OFFER	 2
#define REQUEST	 3
#define ACK	 5

static int tap = -1;
static char servers[] = "/tmp/test_agent_dhcp.XXXXXX";
static uint8_t frame[1600];
static size_t len;

/* The client in a process of its own: its exit status is the errno. */
static pid_t client(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(-dhcp_run("dh0", DHCP_TRIES, servers));
	return pid;
}

/* The type of the client's next packet, or 0 after @ms. */
static uint8_t hear(int ms)
{
	struct pollfd p = { .fd = tap, .events = POLLIN };

	while (poll(&p, 1, ms) == 1) {
		ssize_t n = read(tap, frame, sizeof(frame));

		if (n < OPTIONS + 3 || frame[23] != 17 || frame[36] != 0 || frame[37] != 67)
			continue;
		len = (size_t)n;
		return frame[OPTIONS] == 53 ? frame[OPTIONS + 2] : 0;
	}
	return 0;
}

static bool heard(uint8_t type)
{
	return hear(20000) == type;
}

/* Turns what was heard into an answer of @type with the options @o, to be sent by send_it(). */
static void answer(uint8_t type, const void *o, size_t n)
{
	const uint8_t head[] = { 53, 1, type, 54, 4, 10, 96, 0, 1 }, ip[4] = { 10, 96, 0, 7 };

	memmove(frame, frame + 6, 6);
	memcpy(frame + 6, "\2\0\0\0\0\1", 6);
	frame[34] = 0;
	frame[35] = 67;
	frame[36] = 0;
	frame[37] = 68;
	frame[BOOTP] = 2;
	memcpy(frame + BOOTP + 16, ip, 4);
	memcpy(frame + OPTIONS, head, sizeof(head));
	memcpy(frame + OPTIONS + sizeof(head), o, n);
	len = OPTIONS + sizeof(head) + n;
	frame[16] = (uint8_t)((len - 14) >> 8);
	frame[17] = (uint8_t)(len - 14);
	frame[38] = (uint8_t)((len - 34) >> 8);
	frame[39] = (uint8_t)(len - 34);
}

static bool send_it(void)
{
	return write(tap, frame, len) == (ssize_t)len;
}

static uint32_t get_ip(unsigned long what)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in a = { 0 };
	struct ifreq r = { .ifr_name = "dh0" };

	if (!ioctl(fd, (int)what, &r))
		memcpy(&a, &r.ifr_addr, sizeof(a));
	(void)close(fd);
	return ntohl(a.sin_addr.s_addr);
}

static int mtu(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq r = { .ifr_name = "dh0" };

	(void)ioctl(fd, SIOCGIFMTU, &r);
	(void)close(fd);
	return r.ifr_mtu;
}

/* The gateway of the default route, as the kernel's table prints it. */
static uint32_t gateway(void)
{
	FILE *f = fopen("/proc/net/route", "re");
	unsigned dst, gw = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "dh0 %x %x", &dst, &gw) == 2 && !dst)
			break;
		gw = 0;
	}
	if (f)
		(void)fclose(f);
	return ntohl(gw);
}

static const uint8_t good[] = { 1, 4, 255, 255, 0, 0, 0, 3, 8, 10, 96, 0, 1, 10, 96, 0, 2, 26, 2,
	0x05, 0x14, 6, 16, 10, 96, 0, 1, 192, 168, 255, 254, 8, 8, 8, 8, 9, 9, 9, 9, 255 };

/* What the file of name servers has; empty where there is none. */
static const char *told(void)
{
	static char text[256];
	FILE *f = fopen(servers, "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = 0;
	if (f)
		(void)fclose(f);
	return text;
}

/* Answers until the client has ended, which asks again when we are late: its exit status. */
static int serve(pid_t pid, const void *ack, size_t n)
{
	/* a request is for what was offered, from whom */
	static const char same[] = "\x32\4\x0a\x60\0\7\x36\4\x0a\x60\0\1";
	bool ok = true;
	int st;

	while (waitpid(pid, &st, WNOHANG) == 0) {
		uint8_t type = hear(20);

		if (!type)
			continue;
		if (type == REQUEST)
			ok = ok && !memcmp(frame + OPTIONS + 3, same, sizeof(same) - 1);
		if (type == REQUEST)
			answer(ACK, ack, n);
		else
			answer(OFFER, good, sizeof(good));
		ok = send_it() && ok;
	}
	return ok && WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

static void an_address(void)
{
	CHECK_EQ(serve(client(), good, sizeof(good)), 0);
	CHECK_EQ(get_ip(SIOCGIFADDR), 0x0a600007);
	CHECK_EQ(get_ip(SIOCGIFNETMASK), 0xffff0000);
	CHECK_EQ(gateway(), 0x0a600001);
	CHECK_EQ(mtu(), 1300);
	/* those that a resolver asks */
	CHECK(!strcmp(
		told(), "nameserver 10.96.0.1\nnameserver 192.168.255.254\nnameserver 8.8.8.8\n"));
	CHECK(!unlink(servers));
}

/* Answers to others, of other kinds, and without sense are passed over. */
static void lies(void)
{
	static const uint8_t odd[] = { 6, 5, 10, 96, 0, 1, 10, 255 };
	static const uint8_t cut[] = { 1, 200, 255 }, end[] = { 3 };
	uint8_t keep[sizeof(frame)];
	size_t n;
	pid_t pid = client();

	CHECK(heard(DISCOVER));
	n = len;
	memcpy(keep, frame, n);
	for (int i = 0; i < 9; i++) {
		memcpy(frame, keep, n);
		len = n;
		answer(i == 0 ? ACK : OFFER,
			i == 1		 ? cut
				: i == 2 ? end
					 : good,
			i == 1		 ? sizeof(cut)
				: i == 2 ? sizeof(end)
					 : sizeof(good));
		if (i == 3)
			frame[BOOTP + 4] ^= 1;
		if (i == 4)
			frame[BOOTP + 28] ^= 1;
		if (i == 5)
			frame[BOOTP + 236] ^= 1;
		if (i == 6)
			frame[BOOTP] = 1;
		if (i == 7)
			frame[39] = 0xff;
		if (i == 8)
			len = OPTIONS - 1;
		CHECK(send_it());
	}
	/* it asks again, and believes none of them */
	CHECK(heard(DISCOVER));
	answer(OFFER, good, sizeof(good));
	CHECK(send_it());
	/* nor half of a name server */
	CHECK_EQ(serve(pid, odd, sizeof(odd)), 0);
	CHECK_EQ(get_ip(SIOCGIFADDR), 0x0a600007);
	CHECK_EQ(get_ip(SIOCGIFNETMASK), 0xffffff00);
	CHECK(access(servers, F_OK));
}

/* The address is there all the same, and a positive errno tells of the rest. */
static void no_place_for_servers(void)
{
	char was = servers[0];

	servers[0] = 0;
	CHECK_EQ(serve(client(), good, sizeof(good)), -ENOENT & 0xff);
	servers[0] = was;
	CHECK_EQ(get_ip(SIOCGIFNETMASK), 0xffff0000);
}

static void no_such_interface(void)
{
	CHECK_EQ(dhcp_run("none0", 1, NULL), -ENODEV);
}

static const struct test_case cases[] = { TEST(an_address), TEST(lies), TEST(no_place_for_servers),
	TEST(no_such_interface) };

int main(int argc, char **argv)
{
	struct ifreq r = { .ifr_name = "dh0", .ifr_flags = K_IFF_TAP };
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespace: %s\n", strerror(errno));
		return 77;
	}
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (tap < 0 || ioctl(tap, (int)K_TUNSETIFF, &r)) {
		printf("1..0 # SKIP /dev/net/tun: %s\n", strerror(errno));
		return 77;
	}
	fd = mkstemp(servers);
	if (fd < 0 || close(fd) || unlink(servers))
		return 1;
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
