// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: prints what each call gave. The trace is compared with that of a native
 * run. */

/*
 * How it works
 *
 * conform BASE [FAMILY...] runs every case against the peer (peer.c) at ports BASE and up of
 * loopback, once over IPv4, once over IPv6 and once over IPv4-mapped addresses of IPv6 sockets, or
 * over those of "v4", "v6" and "mapped" that are named. A case prints
 * "FAMILY NAME: RESULT"; results are names of errnos, bits of poll, lengths and the like, never a
 * number that the kernel chose. Nothing is waited for by sleeping: where something has to arrive,
 * poll waits for it, 20 s at most.
 */
#include "conform.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>

static const char *const family_names[] = { "v4", "v6", "mapped" };
enum family fam;
int base;
static int ctl = -1;
static FILE *ctl_in;
unsigned cases;

/* ---- the trace ---- */

void t(const char *name, const char *fmt, ...)
{
	va_list ap;

	printf("%s %s: ", family_names[fam], name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	cases++;
}

/* A result of a call: a number, or the name of the errno. */
const char *rs(long r)
{
	static char buf[8][32];
	static unsigned i;
	char *p = buf[i++ % 8];

	if (r < 0)
		return strerrorname_np(errno);
	snprintf(p, 32, "%ld", r);
	return p;
}

const char *bits(int r)
{
	static const struct {
		int bit;
		const char *name;
	} names[] = { { POLLIN, "IN" }, { POLLPRI, "PRI" }, { POLLOUT, "OUT" }, { POLLERR, "ERR" },
		{ POLLHUP, "HUP" }, { POLLRDHUP, "RDHUP" } };
	static char buf[4][64];
	static unsigned i;
	char *p = buf[i++ % 4];

	p[0] = 0;
	for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (r & names[k].bit)
			strcat(strcat(p, *p ? "|" : ""), names[k].name);
	return *p ? p : "-";
}

/* ---- addresses ---- */

int family(void)
{
	return fam == F4 ? AF_INET : AF_INET6;
}

socklen_t addr(struct sockaddr_storage *ss, const char *v4, const char *v6, int port)
{
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *a = (struct sockaddr_in *)ss;
	char text[64];

	memset(ss, 0, sizeof(*ss));
	if (fam == F4) {
		a->sin_family = AF_INET;
		a->sin_port = htons(port);
		inet_pton(AF_INET, v4, &a->sin_addr);
		return sizeof(*a);
	}
	snprintf(text, sizeof(text), "%s%s", fam == FM ? "::ffff:" : "", fam == FM ? v4 : v6);
	a6->sin6_family = AF_INET6;
	a6->sin6_port = htons(port);
	inet_pton(AF_INET6, text, &a6->sin6_addr);
	return sizeof(*a6);
}

int port_of(const struct sockaddr_storage *ss)
{
	return ntohs(((const struct sockaddr_in *)ss)->sin_port);
}

const char *ip_of(const struct sockaddr_storage *ss)
{
	static char buf[2][64];
	static unsigned i;
	char *p = buf[i++ % 2];

	if (ss->ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)ss)->sin_addr, p, 64);
	else if (ss->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)ss)->sin6_addr, p, 64);
	else
		snprintf(p, 64, "family %d", ss->ss_family);
	return p;
}

/* An address with the port told by what it is. */
const char *name_of(int fd, int peer)
{
	static char buf[2][128];
	static unsigned i;
	char *p = buf[i++ % 2];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int r = peer ? getpeername(fd, (struct sockaddr *)&ss, &len)
		     : getsockname(fd, (struct sockaddr *)&ss, &len);
	int port;

	if (r)
		return strerrorname_np(errno);
	port = port_of(&ss);
	if (port >= base && port < base + S_END)
		snprintf(p, 128, "%s base+%d len %u", ip_of(&ss), port - base, len);
	else
		snprintf(p, 128, "%s %s len %u", ip_of(&ss), port ? "port" : "0", len);
	return p;
}

int local_port(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return getsockname(fd, (struct sockaddr *)&ss, &len) ? -1 : port_of(&ss);
}

int xsocket(int type)
{
	int fd = socket(family(), type, 0);

	if (fd < 0) {
		perror("conform: socket");
		exit(1);
	}
	return fd;
}

int xconnect_to(int fd, int port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", port);

	return connect(fd, (struct sockaddr *)&ss, len);
}

int connected(int service)
{
	int fd = xsocket(SOCK_STREAM);

	if (xconnect_to(fd, base + service))
		t("connect", "%s", strerrorname_np(errno));
	return fd;
}

int bound(int type, const char *v4, const char *v6, int port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, v4, v6, port);
	int fd = xsocket(type);

	if (bind(fd, (struct sockaddr *)&ss, len)) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

/* Waits until one of @events is there and says which are. */
int ready(int fd, int events)
{
	struct pollfd p = { .fd = fd, .events = (short)events };
	int r = poll(&p, 1, WAIT_MS);

	return r > 0 ? p.revents : 0;
}

int polled(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP };

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

int so_error(int fd)
{
	int e = -1;
	socklen_t len = sizeof(e);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
	return e;
}

const char *en(int e)
{
	return e ? strerrorname_np(e) : "0";
}

void nonblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void timeouts(int fd, int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* Asks the peer for something; the answer has to be fetched by told(). */
void ask(const char *fmt, ...)
{
	char line[128];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	if (send(ctl, line, (size_t)n, MSG_NOSIGNAL) != n) {
		perror("conform: control");
		exit(1);
	}
}

const char *told(void)
{
	static char line[256];

	if (!fgets(line, sizeof(line), ctl_in)) {
		fprintf(stderr, "conform: the peer has gone\n");
		exit(1);
	}
	line[strcspn(line, "\n")] = 0;
	return line;
}

void connect_error(const char *what, int type, const char *v4, const char *v6, int port)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, v4, v6, port);
	int fd = xsocket(type);

	t(what, "%s", rs(connect(fd, (struct sockaddr *)&ss, len)));
	close(fd);
}

static bool is_wanted(enum family f, int argc, char **argv)
{
	for (int i = 2; i < argc; i++)
		if (!strcmp(argv[i], family_names[f]))
			return true;
	return argc <= 2;
}

int main(int argc, char **argv)
{
	static void (*const tests[])(void) = { tcp_echo, tcp_iov, tcp_half_close, tcp_peer_closes,
		tcp_shut_rd, tcp_reset, tcp_refused, tcp_nonblock, tcp_fresh, tcp_errors,
		tcp_disconnect, tcp_how_it_ends, tcp_memory, tcp_volume, tcp_server_states,
		tcp_servers, tcp_server_peer, tcp_local, tcp_reuse, tcp_descriptors, tcp_epoll,
		tcp_select, tcp_sigpipe, tcp_dual, wait_signals, wait_shutdown, wait_amounts,
		wait_room, async_uring, async_signals, async_lowat, async_inq, tcp_options,
		udp_bursts, udp_unconnected, udp_connected, udp_server, udp_sizes, udp_many,
		udp_errors, level, passing, ping, unix_sockets, refused, kinds, rights };

	base = argc > 1 ? atoi(argv[1]) : 0;
	if (base <= 0) {
		fprintf(stderr, "usage: conform BASE_PORT [v4|v6|mapped]...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	fam = F4;
	ctl = connected(S_CONTROL);
	ctl_in = fdopen(ctl, "r");
	for (fam = F4; fam <= FM; fam++) {
		if (!is_wanted(fam, argc, argv))
			continue;
		for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
			tests[i]();
	}
	fprintf(stderr, "%u cases\n", cases);
	return 0;
}
