// SPDX-License-Identifier: Apache-2.0
/*
 * A stand-in for what is behind a guest's interface: frames of a unix socket to a tap device of
 * this network namespace and back.
 *
 *   wire stream SOCKET TAP    as passt and QEMU: a stream, each frame behind its length
 *   wire vfkit SOCKET TAP     as gvproxy: datagrams, the first of which says "VFKT"
 *
 * Makes SOCKET and goes on until it is killed. On a stream one caller at a time.
 */

#include <err.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST 65550

static unsigned char buf[4 + MOST];

static int open_tap(const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	(void)snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r))
		err(1, "the tap %s", name);
	return fd;
}

static int named(int type, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(a.sun_path))
		errx(1, "the socket %s", path);
	strcpy(a.sun_path, path);
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || (type == SOCK_STREAM && listen(fd, 1)))
		err(1, "the socket %s", path);
	return fd;
}

/* All of it; false when the other side has gone. */
static int get(int fd, void *to, size_t n)
{
	return recv(fd, to, n, MSG_WAITALL) == (ssize_t)n;
}

static int put(int fd, const unsigned char *p, size_t n)
{
	while (n) {
		ssize_t r = send(fd, p, n, MSG_NOSIGNAL);

		if (r <= 0)
			return 0;
		p += r;
		n -= (size_t)r;
	}
	return 1;
}

static int from_stream(int fd, int tap)
{
	size_t n;

	if (!get(fd, buf, 4))
		return 0;
	n = (size_t)buf[0] << 24 | (size_t)buf[1] << 16 | (size_t)buf[2] << 8 | buf[3];
	if (n > MOST)
		errx(1, "a frame of %zu bytes", n);
	/* an interface that is down takes none */
	return get(fd, buf, n) && (write(tap, buf, n) == (ssize_t)n || 1);
}

static int from_datagrams(int fd, int tap)
{
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	return n > 0 && (write(tap, buf, (size_t)n) == n || 1);
}

static int from_tap(int tap, int fd, int stream)
{
	ssize_t n = read(tap, buf + 4, MOST);

	if (n <= 0)
		err(1, "the tap");
	buf[0] = (unsigned char)(n >> 24);
	buf[1] = (unsigned char)(n >> 16);
	buf[2] = (unsigned char)(n >> 8);
	buf[3] = (unsigned char)n;
	return stream ? put(fd, buf, (size_t)n + 4) : send(fd, buf + 4, (size_t)n, 0) == n;
}

static void pass_on(int fd, int tap, int stream)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN }, { .fd = tap, .events = POLLIN } };

	for (;;) {
		if (poll(p, 2, -1) < 0)
			err(1, "poll");
		if (p[0].revents && !(stream ? from_stream(fd, tap) : from_datagrams(fd, tap)))
			return;
		if (p[1].revents && !from_tap(tap, fd, stream))
			return;
	}
}

int main(int argc, char **argv)
{
	int stream = argc == 4 && !strcmp(argv[1], "stream"), fd, tap;

	if (argc != 4 || (!stream && strcmp(argv[1], "vfkit") != 0))
		errx(2, "wire stream|vfkit SOCKET TAP");
	tap = open_tap(argv[3]);
	fd = named(stream ? SOCK_STREAM : SOCK_DGRAM, argv[2]);
	for (;;) {
		struct sockaddr_un from;
		socklen_t len = sizeof(from);
		int with = fd;

		if (stream)
			with = accept(fd, NULL, NULL);
		else if (recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len) != 4 ||
			memcmp(buf, "VFKT", 4) != 0 || connect(fd, (struct sockaddr *)&from, len))
			errx(1, "no greeting");
		if (with < 0)
			err(1, "accept");
		pass_on(with, tap, stream);
		if (!stream)
			return 0; /* the caller has gone */
		(void)close(with);
	}
}
