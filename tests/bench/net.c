// SPDX-License-Identifier: Apache-2.0
// Measures sockets: one program for both ends, in a guest and out of it, so that rows compare.
/*
 * How it works
 *
 *   net node PORT                        answers commands on PORT, and is a server on PORT + 1
 *   net ask [ADDR:]PORT TEST ADDR PORT MS  has the node there, of loopback, run a test
 *   net test TEST ADDR PORT MS           runs it here
 *   net relay PORT TO [PORT TO]...       carries TCP and UDP from loopback's PORT to its TO
 *
 * A test talks to the server of a node for MS milliseconds and prints one figure, of which more is
 * better:
 *
 *   stream   bytes per second of one TCP connection, as the receiver counted them
 *   rr       requests of one byte per second that were answered by one, over one connection
 *   crr      the same with a connection for each
 *   udp      datagrams of 64 bytes per second that arrived, BURST of them in flight
 *
 * A server handles one connection after the other: nobody measures two things at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CHUNK	   (64U << 10)
#define BURST	   32 /* datagrams before an answer is waited for */
#define ANSWER_MS  200
#define FEW	   8  /* that a test does at least, however slow the machine is */
#define PATIENCE_S 20 /* of a server with a silent client */
#define FLOWS	   16 /* connections of the relay */

static char buf[CHUNK];

struct dgram {
	uint32_t burst, seq, of, got;
	char fill[48];
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in at(const char *addr, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, addr, &a.sin_addr) != 1)
		die(addr);
	return a;
}

static int server(int type, int port)
{
	struct sockaddr_in a = at("0.0.0.0", port);
	int fd = socket(AF_INET, type, 0), one = 1;

	if (fd < 0)
		die("socket");
	if (type == SOCK_STREAM)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)))
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 128))
		die("listen");
	return fd;
}

static int client(int type, const char *addr, int port)
{
	struct sockaddr_in a = at(addr, port);
	int fd = socket(AF_INET, type, 0), one = 1;

	if (fd < 0)
		die("socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect");
	if (type == SOCK_STREAM)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static void put(int fd, const void *p, size_t n)
{
	for (size_t i = 0; i < n;) {
		ssize_t r = send(fd, (const char *)p + i, n - i, MSG_NOSIGNAL);

		if (r <= 0)
			die("send");
		i += (size_t)r;
	}
}

static void get(int fd, void *p, size_t n)
{
	if (recv(fd, p, n, MSG_WAITALL) != (ssize_t)n)
		die("recv");
}

/* ---- a node ---- */

/* The first byte says what is wanted: 'K', to count what comes; 'R', an answer to each byte. */
static void serve(int fd)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };
	uint64_t sum = 0;
	char mode = 0;
	ssize_t n;
	int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		size_t skip = mode ? 0 : 1;

		if (!mode)
			mode = buf[0];
		sum += (uint64_t)n - skip;
		if (mode == 'R' && (size_t)n > skip &&
			send(fd, buf + skip, (size_t)n - skip, MSG_NOSIGNAL) < 0)
			break;
	}
	if (n == 0 && mode == 'K')
		(void)!send(fd, &sum, sizeof(sum), MSG_NOSIGNAL);
	(void)close(fd);
}

static void serve_tcp(int l)
{
	for (;;) {
		int fd = accept(l, NULL, NULL);

		if (fd >= 0)
			serve(fd);
	}
}

/* Tells after each burst how many of it came. */
static void serve_udp(int fd)
{
	uint32_t burst = 0, got = 0;

	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		struct dgram d;

		if (recvfrom(fd, &d, sizeof(d), 0, (struct sockaddr *)&from, &len) != sizeof(d))
			continue;
		if (d.burst != burst)
			got = 0;
		burst = d.burst;
		d.got = ++got;
		if (d.seq == d.of - 1)
			(void)!sendto(fd, &d, sizeof(d), 0, (struct sockaddr *)&from, len);
	}
}

/* ---- tests ---- */

static double test_stream(const char *addr, int port, double s)
{
	int fd = client(SOCK_STREAM, addr, port);
	double t = now(), end = t + s;
	uint64_t got;

	put(fd, "K", 1);
	while (now() < end)
		put(fd, buf, sizeof(buf));
	(void)shutdown(fd, SHUT_WR);
	get(fd, &got, sizeof(got));
	(void)close(fd);
	return (double)got / (now() - t);
}

static double test_rr(const char *addr, int port, double s)
{
	int fd = client(SOCK_STREAM, addr, port);
	double t, end;
	unsigned n = 0;
	char c;

	put(fd, "Rx", 2);
	get(fd, &c, 1);
	for (t = now(), end = t + s; now() < end || n < FEW; n++) {
		put(fd, "x", 1);
		get(fd, &c, 1);
	}
	t = now() - t;
	(void)close(fd);
	return n / t;
}

static double test_crr(const char *addr, int port, double s)
{
	double t = now(), end = t + s;
	unsigned n;
	char c;

	for (n = 0; now() < end || n < FEW; n++) {
		int fd = client(SOCK_STREAM, addr, port);

		put(fd, "Rx", 2);
		get(fd, &c, 1);
		(void)close(fd);
	}
	return n / (now() - t);
}

static double test_udp(const char *addr, int port, double s)
{
	int fd = client(SOCK_DGRAM, addr, port);
	struct dgram d = { .of = BURST }, a;
	double t = now(), end = t + s;
	uint64_t got = 0;
	unsigned sent = 0;

	/* not what a test before this one may have left at the server */
	d.burst = (uint32_t)getpid() << 16;
	while (now() < end || sent < FEW) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		d.burst++;
		sent++;
		for (d.seq = 0; d.seq < BURST; d.seq++) {
			if (send(fd, &d, sizeof(d), 0) < 0 && errno != ECONNREFUSED &&
				errno != ENOBUFS)
				die("send");
		}
		while (poll(&p, 1, ANSWER_MS) > 0) {
			if (recv(fd, &a, sizeof(a), MSG_DONTWAIT) == sizeof(a) &&
				a.burst == d.burst) {
				got += a.got;
				break;
			}
		}
	}
	(void)close(fd);
	return (double)got / (now() - t);
}

static double run_test(const char *test, const char *addr, int port, int ms)
{
	static const struct {
		const char *name;
		double (*fn)(const char *addr, int port, double s);
	} tests[] = {
		{ "stream", test_stream },
		{ "rr", test_rr },
		{ "crr", test_crr },
		{ "udp", test_udp },
	};

	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (!strcmp(test, tests[i].name))
			return tests[i].fn(addr, port, ms / 1e3);
	}
	(void)fprintf(stderr, "net: no test %s\n", test);
	exit(2);
}

/* A command is a line, and so is the answer, which is missing when the test failed. */
static void obey(int fd)
{
	char line[128] = "", test[16], addr[64];
	FILE *f = fdopen(fd, "r+");
	int port, ms;

	if (!f)
		die("fdopen");
	if (fgets(line, sizeof(line), f) &&
		sscanf(line, "%15s %63s %d %d", test, addr, &port, &ms) == 4) {
		(void)fseek(f, 0, SEEK_CUR);
		(void)fprintf(f, "%.1f\n", run_test(test, addr, port, ms));
	}
	(void)fclose(f);
}

/* One that ends with its parent. */
static pid_t child(void)
{
	pid_t p = fork();

	if (!p)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return p;
}

static int node(int port)
{
	int l = server(SOCK_STREAM, port), tcp = server(SOCK_STREAM, port + 1),
	    udp = server(SOCK_DGRAM, port + 1);

	if (!child())
		serve_tcp(tcp);
	if (!child())
		serve_udp(udp);
	/* of the children only tests end, and nobody asks how */
	(void)signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(l, NULL, NULL);

		if (fd >= 0 && !child()) {
			obey(fd);
			exit(0);
		}
		if (fd >= 0)
			(void)close(fd);
	}
}

static int ask(char *whom, char **cmd)
{
	char *colon = strchr(whom, ':'), line[128];
	int fd;
	ssize_t n;

	if (colon)
		*colon = '\0';
	fd = client(SOCK_STREAM, colon ? whom : "127.0.0.1", atoi(colon ? colon + 1 : whom));
	n = snprintf(line, sizeof(line), "%s %s %s %s\n", cmd[0], cmd[1], cmd[2], cmd[3]);
	put(fd, line, (size_t)n);
	n = recv(fd, line, sizeof(line) - 1, 0);
	if (n <= 0) {
		(void)fprintf(stderr, "net: the node failed at %s\n", cmd[0]);
		return 1;
	}
	return fwrite(line, (size_t)n, 1, stdout) != 1;
}

/* ---- the relay ---- */

/* Both ends of a connection, or a datagram socket on each side. */
struct flow {
	int fd[2];
	bool udp, eof[2];
	struct sockaddr_in from; /* of datagrams, where answers go */
};

/* From end @i to the other. */
static void relay_udp(struct flow *f, int i)
{
	socklen_t len = sizeof(f->from);
	ssize_t n = i ? recv(f->fd[1], buf, sizeof(buf), 0)
		      : recvfrom(f->fd[0], buf, sizeof(buf), 0, (struct sockaddr *)&f->from, &len);

	if (n < 0)
		return;
	if (i)
		(void)!sendto(
			f->fd[0], buf, (size_t)n, 0, (struct sockaddr *)&f->from, sizeof(f->from));
	else
		(void)!send(f->fd[1], buf, (size_t)n, 0);
}

static void relay_tcp(struct flow *f, int i)
{
	ssize_t n = recv(f->fd[i], buf, sizeof(buf), 0);

	if (n > 0) {
		put(f->fd[!i], buf, (size_t)n);
		return;
	}
	f->eof[i] = true;
	(void)shutdown(f->fd[!i], SHUT_WR);
	if (!f->eof[!i])
		return;
	(void)close(f->fd[0]);
	(void)close(f->fd[1]);
	f->fd[0] = f->fd[1] = -1;
}

static void relay_accept(struct flow *flows, int l, int to)
{
	int one = 1;

	for (int i = 0; i < FLOWS; i++) {
		if (flows[i].fd[0] >= 0)
			continue;
		flows[i] = (struct flow){ .fd = { accept(l, NULL, NULL),
						  client(SOCK_STREAM, "127.0.0.1", to) } };
		(void)setsockopt(flows[i].fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		return;
	}
}

static int relay(int n, char **ports)
{
	struct pollfd p[FLOWS * 2 + 8];
	struct flow flows[FLOWS];
	int to[4], nl = n / 2;

	if (nl < 1 || nl > 4)
		return 2;
	for (int i = 0; i < FLOWS; i++)
		flows[i].fd[0] = flows[i].fd[1] = -1;
	for (int i = 0; i < nl; i++) {
		to[i] = atoi(ports[2 * i + 1]);
		p[FLOWS * 2 + i] = (struct pollfd){ .fd = server(SOCK_STREAM, atoi(ports[2 * i])),
			.events = POLLIN };
		flows[i] = (struct flow){ .udp = true,
			.fd = { server(SOCK_DGRAM, atoi(ports[2 * i])),
				client(SOCK_DGRAM, "127.0.0.1", to[i]) } };
	}
	for (;;) {
		for (int i = 0; i < FLOWS * 2; i++) {
			const struct flow *f = &flows[i / 2];

			p[i] = (struct pollfd){ .fd = f->eof[i % 2] ? -1 : f->fd[i % 2],
				.events = POLLIN };
		}
		if (poll(p, FLOWS * 2 + (nfds_t)nl, -1) < 0)
			die("poll");
		for (int i = 0; i < FLOWS * 2; i++) {
			struct flow *f = &flows[i / 2];

			if (p[i].fd < 0 || !p[i].revents || f->fd[0] < 0)
				continue;
			if (f->udp)
				relay_udp(f, i % 2);
			else
				relay_tcp(f, i % 2);
		}
		for (int i = 0; i < nl; i++) {
			if (p[FLOWS * 2 + i].revents)
				relay_accept(flows, p[FLOWS * 2 + i].fd, to[i]);
		}
	}
}

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && !strcmp(argv[1], "node"))
		return node(atoi(argv[2]));
	if (argc == 7 && !strcmp(argv[1], "ask"))
		return ask(argv[2], argv + 3);
	if (argc == 6 && !strcmp(argv[1], "test")) {
		printf("%.1f\n", run_test(argv[2], argv[3], atoi(argv[4]), atoi(argv[5])));
		return 0;
	}
	if (argc >= 4 && !strcmp(argv[1], "relay"))
		return relay(argc - 2, argv + 2);
	(void)fprintf(stderr,
		"net: node PORT | ask [ADDR:]PORT TEST ADDR PORT MS | test TEST ADDR PORT MS |"
		" relay PORT TO...\n");
	return 2;
}
