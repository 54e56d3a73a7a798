// SPDX-License-Identifier: Apache-2.0
/* The other end of the conformance program: services on loopback, and a control connection that
 * asks for more. */

/*
 * How it works
 *
 * peer BASE PORTFILE listens on IPv4 and IPv6, any address, at ports BASE + service, and writes
 * PORTFILE when it is ready. A process per connection, all ended with this one.
 */
#include "conform.h"

#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/un.h>

static int first;
static int gate[2], fds[S_END];

static int serving(int type, int port, int backlog)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int fd = socket(AF_INET6, type, 0), one = 1, zero = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a))) {
		perror("peer: bind");
		exit(1);
	}
	if (type == SOCK_STREAM && listen(fd, backlog)) {
		perror("peer: listen");
		exit(1);
	}
	return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return;
		p += k;
		n -= (size_t)k;
	}
}

static void echo(int fd)
{
	static char buf[65536];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		send_all(fd, buf, (size_t)n);
}

/* Reads to the end, then says how much it was and how it ended. */
static void discard(int fd, int report)
{
	static unsigned char buf[65536];
	unsigned long total = 0, sum = 0;
	char line[80];
	ssize_t n;
	int err;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		total += (unsigned long)n;
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + buf[i];
	}
	err = n < 0 ? errno : 0;
	snprintf(line, sizeof(line), "got %lu %08lx %s\n", total, sum & 0xffffffff,
		err ? strerrorname_np(err) : "EOF");
	if (report >= 0)
		(void)!write(report, line, strlen(line));
	send_all(fd, line, strlen(line));
}

static void source(int fd)
{
	static char buf[SOURCE_BYTES];

	for (int i = 0; i < SOURCE_BYTES; i++)
		buf[i] = (char)(i * 7 + i / 251);
	send_all(fd, buf, sizeof(buf));
}

static void reset(int fd)
{
	struct linger l = { .l_onoff = 1 };
	char c;

	(void)!recv(fd, &c, 1, 0);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

static int loopback(int v6, int port, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *a = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*ss));
	if (v6) {
		*a6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
			.sin6_port = htons(port),
			.sin6_addr = in6addr_loopback };
		return sizeof(*a6);
	}
	*a = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return sizeof(*a);
}

/* What connect gives, and the first line that the listener sends. */
static void call(int v6, int port, char *answer, size_t size)
{
	struct sockaddr_storage ss;
	socklen_t len = (socklen_t)loopback(v6, port, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM, 0);
	struct timeval tv = { .tv_sec = 20 };
	char buf[64];
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&ss, len)) {
		snprintf(answer, size, "connect %s", strerrorname_np(errno));
	} else {
		/* A reset that is there by now is told by the first call that meets it. */
		n = send(fd, "hello\n", 6, MSG_NOSIGNAL);
		if (n > 0)
			n = recv(fd, buf, sizeof(buf) - 1, 0);
		if (n < 0)
			snprintf(answer, size, "recv %s", strerrorname_np(errno));
		else
			snprintf(answer, size, "read %.*s",
				(int)(n > 0 && buf[n - 1] == '\n' ? n - 1 : n), buf);
	}
	close(fd);
}

static void try_bind(int type, int v6, int port, char *answer, size_t size)
{
	struct sockaddr_storage ss;
	socklen_t len = (socklen_t)loopback(v6, port, &ss);
	int fd = socket(ss.ss_family, type, 0);

	snprintf(answer, size, "%s",
		bind(fd, (struct sockaddr *)&ss, len) ? strerrorname_np(errno) : "0");
	close(fd);
}

static void send_to(int v6, int port, const char *text)
{
	struct sockaddr_storage ss;
	socklen_t len = (socklen_t)loopback(v6, port, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0);

	sendto(fd, text, strlen(text), 0, (struct sockaddr *)&ss, len);
	close(fd);
}

/* With the fields of a header that a receiver can ask for. */
static void send_with_header(int v6, int port, int ttl, int tos)
{
	struct sockaddr_storage ss;
	socklen_t len = (socklen_t)loopback(v6, port, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0);

	setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_UNICAST_HOPS : IP_TTL, &ttl,
		sizeof(ttl));
	setsockopt(
		fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof(tos));
	sendto(fd, "header", 6, 0, (struct sockaddr *)&ss, len);
	close(fd);
}

static void burst(int v6, int port, int count, int size)
{
	static char buf[65536];
	struct sockaddr_storage ss;
	socklen_t len = (socklen_t)loopback(v6, port, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0);

	for (int i = 0; i < count && size > 0 && size <= (int)sizeof(buf); i++)
		sendto(fd, buf, (size_t)size, 0, (struct sockaddr *)&ss, len);
	close(fd);
}

/* The backlog of @fd is for one, and here that is: of all others not even a SYN is answered. */
static void fill(int port)
{
	struct sockaddr_storage ss;
	socklen_t len = (socklen_t)loopback(0, port, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&ss, len)) {
		perror("peer: connect");
		exit(1);
	}
}

/* A name of AF_UNIX in this namespace, which is not one in the guest. */
static void unix_name(int port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "conform-%d", port);

	if (bind(fd, (struct sockaddr *)&a,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) ||
		listen(fd, 8)) {
		perror("peer: unix socket");
		exit(1);
	}
}

/*
 * Lines: call V6 PORT, bind TYPE V6 PORT, send V6 PORT TEXT, header V6 PORT TTL TOS,
 * burst V6 PORT COUNT SIZE, go, room, report. An answer is a line.
 */
static void control(int fd, int report)
{
	FILE *f = fdopen(fd, "r");
	char line[256], answer[256], text[64];
	int a, b, c, d;

	while (fgets(line, sizeof(line), f)) {
		strcpy(answer, "ok");
		if (sscanf(line, "call %d %d", &a, &b) == 2) {
			call(a, b, answer, sizeof(answer) - 1);
		} else if (sscanf(line, "bind %d %d %d", &a, &b, &c) == 3) {
			try_bind(a, b, c, answer, sizeof(answer) - 1);
		} else if (sscanf(line, "send %d %d %63s", &a, &b, text) == 3) {
			send_to(a, b, text);
		} else if (sscanf(line, "header %d %d %d %d", &a, &b, &c, &d) == 4) {
			send_with_header(a, b, c, d);
		} else if (sscanf(line, "burst %d %d %d %d", &a, &b, &c, &d) == 4) {
			burst(a, b, c, d);
		} else if (!strncmp(line, "go", 2)) {
			if (write(gate[1], "", 1) != 1)
				strcpy(answer, "no");
		} else if (!strncmp(line, "room", 4)) {
			/* for one more, which fills it again */
			close(accept(fds[S_FULL], NULL, NULL));
		} else if (!strncmp(line, "report", 6)) {
			/* What the last connection to the discard service was like. */
			ssize_t n = read(report, answer, sizeof(answer) - 2);

			answer[n > 0 ? n - 1 : 0] = 0;
		}
		strcat(answer, "\n");
		send_all(fd, answer, strlen(answer));
	}
}

static void serve(int service, int fd, const int report[2])
{
	char c;

	switch (service) {
	case S_CONTROL:
		control(fd, report[0]);
		break;
	case S_ECHO:
		echo(fd);
		break;
	case S_DISCARD:
		discard(fd, -1);
		break;
	case S_REPORT:
		discard(fd, report[1]);
		break;
	case S_SOURCE:
		source(fd);
		break;
	case S_RESET:
		reset(fd);
		break;
	case S_GREET:
		send_all(fd, "hello", 5);
		discard(fd, report[1]);
		break;
	case S_GATE:
		if (read(gate[0], &c, 1) == 1)
			discard(fd, -1);
		break;
	case S_STUCK:
		pause();
		break;
	}
}

static void udp(int service, int fd)
{
	static char buf[65536];
	struct sockaddr_storage ss;
	socklen_t len;
	ssize_t n;

	for (;;) {
		len = sizeof(ss);
		n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&ss, &len);
		if (n < 0 || service == S_UDP_SINK)
			continue;
		if (service == S_UDP_PORT)
			n = snprintf(buf, sizeof(buf), "%d",
				ntohs(((struct sockaddr_in6 *)&ss)->sin6_port));
		sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&ss, len);
	}
}

int main(int argc, char **argv)
{
	int report[2];
	FILE *ready;

	first = argc > 2 ? atoi(argv[1]) : 0;
	if (first <= 0 || pipe(report) || pipe(gate))
		return 2;
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (int s = 0; s < S_END; s++)
		fds[s] = serving(s >= S_UDP_ECHO ? SOCK_DGRAM : SOCK_STREAM, first + s,
			s == S_FULL ? 0 : 16);
	fill(first + S_FULL);
	unix_name(first);
	for (int s = 0; s < S_END; s++) {
		if (s == S_FULL || fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (s >= S_UDP_ECHO)
			udp(s, fds[s]);
		for (;;) {
			int fd = accept(fds[s], NULL, NULL);

			if (fd < 0)
				continue;
			if (!fork()) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				serve(s, fd, report);
				_exit(0);
			}
			close(fd);
		}
	}
	ready = fopen(argv[2], "w");
	if (!ready || fprintf(ready, "%d\n", first) < 0 || fclose(ready))
		return 2;
	pause();
	return 0;
}
