// SPDX-License-Identifier: Apache-2.0
// Runs one command in a booted test host and passes its streams and status on.
/*
 *   testhost-client [options] DIR COMMAND [ARG...]
 *
 *   -t S           time limit of the command
 *   -b S           time limit until the agent answers
 *   -T             a terminal
 *   -i             pass stdin on
 *   -e NAME=VALUE  set (or NAME: unset) in the command's environment; all else is ours
 *
 * DIR holds port.N (QEMU's sockets), port.N.lock and console.log. Exit: the command's status; 124
 * time is up; 125 the test host failed.
 *
 * How it works: a port serves one client at a time, so the client takes the lock of a free one, or
 * waits for one chosen by its PID. QEMU listens long before the agent runs, and the last client's
 * bytes may still be on their way, so both ends look for a hello with a fresh number before frames
 * count (see chan.h). Then one poll loop passes frames on: output as it comes, input within a
 * window that the agent acknowledges, signals and the terminal's size. When time is up the agent is
 * asked to stop the command, which prints where its processes stand; only an agent that does not
 * answer that is given up.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "chan.h"

#define MAX_PORTS  32
#define STOP_GRACE 15.0 /* seconds that the agent has to answer CHAN_STOP */

struct client {
	const char *dir;
	double limit, boot_limit;
	bool tty, with_stdin;
	int fd, sig;
	char hello[CHAN_HELLO_LEN];
	bool up, stopped, stdin_open;
	char in[2 * CHAN_FRAME];
	size_t in_len;
	char *out; /* everything on its way to the agent */
	size_t out_at, out_len, out_cap;
	uint32_t unacked;
	double deadline;
};

static struct termios saved_tty;
static bool tty_changed;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void restore_tty(void)
{
	if (tty_changed)
		tcsetattr(0, TCSADRAIN, &saved_tty);
}

/* Ends us with `code`, the message and what the console said last. */
static void __attribute__((noreturn, format(printf, 3, 4)))
die_as(const struct client *c, int code, const char *fmt, ...)
{
	char path[512], tail[6000];
	ssize_t n = 0;
	va_list ap;
	int fd;

	restore_tty();
	fflush(stdout);
	fputs("test host: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	snprintf(path, sizeof(path), "%s/console.log", c->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		off_t size = lseek(fd, 0, SEEK_END);
		off_t from = size > (off_t)sizeof(tail) - 1 ? size - ((off_t)sizeof(tail) - 1) : 0;

		n = pread(fd, tail, sizeof(tail) - 1, from);
	}
	if (n > 0) {
		tail[n] = 0;
		fprintf(stderr, "test host: the end of its console:\n%s%s", tail,
			tail[n - 1] == '\n' ? "" : "\n");
	}
	exit(code);
}

#define die(c, ...) die_as(c, 125, __VA_ARGS__)

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			poll(&p, 1, -1);
			continue;
		}
		if (n <= 0) { /* our reader left: so does the command, as it would in a pipe */
			restore_tty();
			_exit(128 + SIGPIPE);
		}
		data += n;
		len -= (size_t)n;
	}
}

static void put(struct client *c, const void *data, size_t len)
{
	if (c->out_at == c->out_len)
		c->out_at = c->out_len = 0;
	if (c->out_cap - c->out_len < len) {
		c->out_cap = c->out_len + len + CHAN_WINDOW;
		c->out = realloc(c->out, c->out_cap);
		if (!c->out)
			die(c, "no memory");
	}
	memcpy(c->out + c->out_len, data, len);
	c->out_len += len;
}

static void put_frame(struct client *c, enum chan_type type, const void *data, uint32_t len)
{
	struct chan_hdr h = { .len = len, .type = type };

	put(c, &h, sizeof(h));
	if (len)
		put(c, data, len);
}

static void put_request(struct client *c, char **env, char **args)
{
	struct chan_request rq = { .flags = (c->tty ? CHAN_REQ_TTY : 0) |
			(c->with_stdin ? CHAN_REQ_STDIN : 0) };
	struct winsize ws;
	struct timespec t;
	char *req = NULL, *cwd = getcwd(NULL, 0);
	size_t len = 0;
	FILE *f = open_memstream(&req, &len);

	if (!f || !cwd)
		die(c, "no memory or no current directory");
	if (c->tty && ioctl(0, TIOCGWINSZ, &ws) == 0) {
		rq.rows = ws.ws_row;
		rq.cols = ws.ws_col;
	}
	while (env[rq.nenv])
		rq.nenv++;
	while (args[rq.nargs])
		rq.nargs++;
	clock_gettime(CLOCK_REALTIME, &t);
	rq.clock_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	fwrite(&rq, sizeof(rq), 1, f);
	fwrite(cwd, strlen(cwd) + 1, 1, f);
	for (uint32_t i = 0; i < rq.nenv; i++)
		fwrite(env[i], strlen(env[i]) + 1, 1, f);
	for (uint32_t i = 0; i < rq.nargs; i++)
		fwrite(args[i], strlen(args[i]) + 1, 1, f);
	if (fclose(f) != 0 || len > CHAN_REQUEST)
		die(c, "arguments and environment take %zu bytes, %u are possible", len,
			CHAN_REQUEST);
	for (size_t at = 0; at < len; at += CHAN_PAYLOAD)
		put_frame(c, CHAN_REQ, req + at,
			(uint32_t)(len - at < CHAN_PAYLOAD ? len - at : CHAN_PAYLOAD));
	put_frame(c, CHAN_START, NULL, 0);
	free(req);
	free(cwd);
}

static void put_hello(struct client *c)
{
	char junk[CHAN_PREAMBLE];

	memset(junk, 0xff, sizeof(junk));
	memcpy(c->hello, CHAN_MAGIC, CHAN_MAGIC_LEN);
	if (getrandom(c->hello + CHAN_MAGIC_LEN, CHAN_NONCE_LEN, 0) != CHAN_NONCE_LEN)
		die(c, "getrandom: %s", strerror(errno));
	put(c, junk, sizeof(junk));
	put(c, c->hello, sizeof(c->hello));
}

/* Takes a port's lock, which lasts as long as we do. -1: no such port; 0: busy; 1: ours. */
static int lock_port(struct client *c, int n, int how)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/port.%d.lock", c->dir, n);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (flock(fd, how) < 0) {
		close(fd);
		return 0;
	}
	futimens(fd, NULL); /* the session's keeper sees that it is in use */
	return 1;
}

static int take_port(struct client *c)
{
	int ports = 0;

	for (; ports < MAX_PORTS; ports++) {
		int ret = lock_port(c, ports, LOCK_EX | LOCK_NB);

		if (ret > 0)
			return ports;
		if (ret < 0)
			break;
	}
	if (!ports)
		die(c, "%s is not that of a test host", c->dir);
	if (lock_port(c, (int)getpid() % ports, LOCK_EX) != 1)
		die(c, "cannot wait for a port: %s", strerror(errno));
	return (int)getpid() % ports;
}

static void connect_port(struct client *c)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int port = take_port(c);
	double until = now() + 10, refused = now() + 1;

	if ((size_t)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/port.%d", c->dir, port) >=
		sizeof(sa.sun_path))
		die(c, "the path %s is too long for a socket", c->dir);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		/* A socket that nobody listens at is that of a QEMU that has ended. */
		if (now() > (errno == ECONNREFUSED ? refused : until))
			die(c, "QEMU does not answer at %s: %s", sa.sun_path, strerror(errno));
		usleep(10000);
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static void take_exit(struct client *c, const char *data, uint32_t len)
{
	struct chan_exit x;

	if (len != sizeof(x))
		die(c, "the agent's last frame is malformed");
	memcpy(&x, data, sizeof(x));
	restore_tty();
	exit(c->stopped ? 124 : (int)(x.code & 0xff));
}

static void take_frame(struct client *c, uint32_t type, const char *data, uint32_t len)
{
	uint32_t v = 0;

	switch (type) {
	case CHAN_OUT:
		write_all(1, data, len);
		break;
	case CHAN_ERR:
	case CHAN_LOG:
		write_all(2, data, len);
		break;
	case CHAN_ACK:
		memcpy(&v, data, len < sizeof(v) ? len : sizeof(v));
		if (v > c->unacked)
			die(c, "the agent acknowledges more than was sent");
		c->unacked -= v;
		break;
	case CHAN_EXIT:
		take_exit(c, data, len);
		break;
	default:
		die(c, "the agent sent an unknown frame %u", type);
	}
}

/* Takes one item off the input buffer; false: more bytes are needed. */
static bool take_one(struct client *c, char **env, char **args)
{
	struct chan_hdr h;
	size_t used;

	if (!c->up) {
		char *at = memmem(c->in, c->in_len, c->hello, CHAN_HELLO_LEN);

		if (at) {
			c->up = true;
			used = (size_t)(at - c->in) + CHAN_HELLO_LEN;
			c->deadline = c->limit > 0 ? now() + c->limit : 0;
			put_request(c, env, args);
		} else {
			used = c->in_len < CHAN_HELLO_LEN ? 0 : c->in_len - (CHAN_HELLO_LEN - 1);
		}
	} else {
		if (c->in_len < sizeof(h))
			return false;
		memcpy(&h, c->in, sizeof(h));
		if (h.len > CHAN_PAYLOAD)
			die(c, "the agent sent a frame of %u bytes", h.len);
		used = sizeof(h) + h.len;
		if (c->in_len < used)
			return false;
		take_frame(c, h.type, c->in + sizeof(h), h.len);
	}
	memmove(c->in, c->in + used, c->in_len - used);
	c->in_len -= used;
	return used > 0;
}

static void take_signals(struct client *c)
{
	struct signalfd_siginfo si;

	while (read(c->sig, &si, sizeof(si)) == sizeof(si)) {
		uint32_t v[2] = { si.ssi_signo, 0 };
		struct winsize ws;

		if (!c->up) {
			if (si.ssi_signo == SIGWINCH)
				continue;
			restore_tty();
			_exit(128 + (int)si.ssi_signo);
		}
		if (si.ssi_signo != SIGWINCH) {
			put_frame(c, CHAN_SIG, v, sizeof(v[0]));
		} else if (c->tty && ioctl(0, TIOCGWINSZ, &ws) == 0) {
			v[0] = ws.ws_row;
			v[1] = ws.ws_col;
			put_frame(c, CHAN_WINCH, v, sizeof(v));
		}
	}
}

static void read_stdin(struct client *c)
{
	char buf[CHAN_PAYLOAD];
	size_t room = CHAN_WINDOW - c->unacked;
	ssize_t n = read(0, buf, room < sizeof(buf) ? room : sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		c->stdin_open = false;
		n = 0;
	}
	c->unacked += (uint32_t)n;
	put_frame(c, CHAN_IN, buf, (uint32_t)n);
}

static void check_time(struct client *c)
{
	if (!c->deadline || now() < c->deadline)
		return;
	if (!c->up)
		die(c, "it did not come up within %.0f s", c->boot_limit);
	if (c->stopped)
		die_as(c, 124, "the time limit of %.0f s has passed and the agent does not answer",
			c->limit);
	fprintf(stderr, "test host: the command's time limit of %.0f s has passed\n", c->limit);
	c->stopped = true;
	c->deadline = now() + STOP_GRACE;
	put_frame(c, CHAN_STOP, NULL, 0);
}

static void __attribute__((noreturn)) relay(struct client *c, char **env, char **args)
{
	for (;;) {
		struct pollfd p[3] = { { .fd = c->fd, .events = POLLIN },
			{ .fd = c->sig, .events = POLLIN } };
		double left = c->deadline ? c->deadline - now() : 3600;
		ssize_t n;

		if (c->out_at < c->out_len)
			p[0].events |= POLLOUT;
		p[2].fd = c->up && c->stdin_open && c->unacked < CHAN_WINDOW &&
				c->out_at == c->out_len
			? 0
			: -1;
		p[2].events = POLLIN;
		if (poll(p, 3, left > 0 ? (int)(left * 1000) + 1 : 0) < 0 && errno != EINTR)
			die(c, "poll: %s", strerror(errno));
		if (p[0].revents & POLLOUT) {
			n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
			if (n > 0)
				c->out_at += (size_t)n;
		}
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			n = read(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len);
			if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
				die(c, "QEMU ended %s",
					c->up ? "while the command ran"
					      : "before the agent was up");
			c->in_len += n > 0 ? (size_t)n : 0;
			while (take_one(c, env, args))
				;
		}
		if (p[2].revents)
			read_stdin(c);
		take_signals(c);
		check_time(c);
	}
}

static void raw_tty(struct client *c)
{
	struct termios t;

	if (tcgetattr(0, &saved_tty) < 0)
		die(c, "a terminal was asked for and stdin is none");
	t = saved_tty;
	cfmakeraw(&t);
	tty_changed = tcsetattr(0, TCSADRAIN, &t) == 0;
}

static double seconds(struct client *c, const char *s)
{
	char *end;
	double v = strtod(s, &end);

	if (*s == 0 || *end || v < 0 || v > 1e6)
		die(c, "not a number of seconds: %s", s);
	return v;
}

int main(int argc, char **argv)
{
	struct client *c = calloc(1, sizeof(*c));
	sigset_t set;
	int opt;

	if (!c)
		return 125;
	c->dir = "/nonexistent";
	c->boot_limit = 120;
	while ((opt = getopt(argc, argv, "+t:b:Tie:")) != -1) {
		switch (opt) {
		case 't':
			c->limit = seconds(c, optarg);
			break;
		case 'b':
			c->boot_limit = seconds(c, optarg);
			break;
		case 'T':
			c->tty = c->with_stdin = true;
			break;
		case 'i':
			c->with_stdin = true;
			break;
		case 'e':
			if (strchr(optarg, '='))
				putenv(optarg);
			else
				unsetenv(optarg);
			break;
		default:
			return 125;
		}
	}
	if (argc - optind < 2) {
		fprintf(stderr,
			"usage: testhost-client [-t S] [-b S] [-T] [-i] [-e NAME[=VALUE]] "
			"DIR COMMAND [ARG...]\n");
		return 125;
	}
	c->dir = argv[optind];
	c->stdin_open = c->with_stdin;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	c->sig = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	connect_port(c);
	if (c->tty)
		raw_tty(c);
	put_hello(c);
	c->deadline = now() + c->boot_limit;
	relay(c, environ, argv + optind + 1);
}
