// SPDX-License-Identifier: Apache-2.0
/*
 * Tries with sockets, one after the other, and what came of each, a line: 0 or the name of an
 * errno.
 *
 *   connect ADDRESS PORT     TCP
 *   datagram ADDRESS PORT    UDP, connected: sends, and waits for an answer
 *   sendto ADDRESS PORT      the same, not connected
 *   listen PORT              TCP: bind, listen
 *   hold PORT                TCP: bind, listen, accept, sends a line
 *   choose                   TCP: listen without bind
 *   bind PORT                UDP
 *   echo PORT                UDP: answers until it is killed
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS 20000

static socklen_t addr(struct sockaddr_storage *ss, const char *ip, int port)
{
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *a = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET6, ip, &a6->sin6_addr) == 1) {
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons(port);
		return sizeof(*a6);
	}
	memset(ss, 0, sizeof(*ss));
	if (inet_pton(AF_INET, ip, &a->sin_addr) != 1)
		exit(2);
	a->sin_family = AF_INET;
	a->sin_port = htons(port);
	return sizeof(*a);
}

static int answer(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[64];

	if (poll(&p, 1, WAIT_MS) != 1) {
		errno = ETIMEDOUT;
		return -1;
	}
	return (int)recv(fd, buf, sizeof(buf), 0);
}

static void echo(int fd)
{
	struct sockaddr_storage ss;
	char buf[1024];
	socklen_t len;
	ssize_t n;

	for (;;) {
		len = sizeof(ss);
		n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&ss, &len);
		if (n >= 0)
			(void)!sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&ss, len);
	}
}

/* The result of a call; negative: errno says why. */
static int try(const char *what, const char *ip, int port)
{
	int udp = !strcmp(what, "datagram") || !strcmp(what, "sendto") || !strcmp(what, "bind") ||
		!strcmp(what, "echo");
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, ip, port);
	int fd = socket(ss.ss_family, udp ? SOCK_DGRAM : SOCK_STREAM, 0), r, c;

	if (fd < 0)
		return fd;
	if (!strcmp(what, "sendto")) {
		r = (int)sendto(fd, "try", 3, 0, (struct sockaddr *)&ss, len);
		return r < 0 ? r : answer(fd);
	}
	if (!strcmp(what, "connect") || !strcmp(what, "datagram")) {
		r = connect(fd, (struct sockaddr *)&ss, len);
		if (!r && udp)
			r = (int)send(fd, "try", 3, 0);
		return r < 0 || !udp ? r : answer(fd);
	}
	r = strcmp(what, "choose") ? bind(fd, (struct sockaddr *)&ss, len) : 0;
	if (!r && !udp)
		r = listen(fd, 8);
	if (!r && !strcmp(what, "echo"))
		echo(fd);
	if (r || strcmp(what, "hold"))
		return r;
	c = accept(fd, NULL, NULL);
	return c < 0 || send(c, "held\n", 5, 0) != 5 ? -1 : 0;
}

/* Which of them take an address; the others take a port alone, or nothing. */
static int is_remote(const char *what)
{
	return !strcmp(what, "connect") || !strcmp(what, "datagram") || !strcmp(what, "sendto");
}

int main(int argc, char **argv)
{
	int i = 1;

	while (i < argc) {
		const char *what = argv[i++];
		const char *ip = is_remote(what) && i < argc ? argv[i++] : "0.0.0.0";
		int port = strcmp(what, "choose") && i < argc ? atoi(argv[i++]) : 0;

		printf("%s\n", try(what, ip, port) < 0 ? strerrorname_np(errno) : "0");
		(void)fflush(stdout);
	}
	return 0;
}
