// SPDX-License-Identifier: Apache-2.0
/* What the workload's standard streams are on this side, and the terminal's mode. */
/*
 * How it works
 *
 * First come the streams that a console is: the default console that is the workload's, else the
 * implicit one (descriptors 0 to 2, or a file), else, where that was disabled, the first terminal
 * that was added as a port. Ports by the names of the original's contract then take their streams
 * from it. With the agent the result is connected to the workload, and no port of the guest is; a
 * first process of the caller's finds all of it as ports (devices.c), and opens them itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "api/start.h"
#include "util/cleanup.h"
#include "util/log.h"

/* What stdio_restore() puts back, last first; one process has one such VM. */
static struct {
	int fd;
	struct termios was;
} before[STDIO_TERMS];
static unsigned nbefore;

static bool both_ways(int fd)
{
	int flags = fd >= 0 && isatty(fd) == 1 ? fcntl(fd, F_GETFL) : -1;

	return flags >= 0 && (flags & O_ACCMODE) == O_RDWR;
}

/* A terminal needs one descriptor for both directions, and output that is one too. */
static int find_tty(const int fd[3])
{
	if (fd[0] < 0 || isatty(fd[0]) != 1 || (fd[1] >= 0 && isatty(fd[1]) != 1))
		return -1;
	return both_ways(fd[0]) ? fd[0] : both_ways(fd[1]) ? fd[1] : -1;
}

/* What stands in their place answers EBADF, as they did. */
int stdio_hold(struct api_ctx *c, struct error *e)
{
	for (int i = 0; i < 3; i++) {
		int fd = api_fd_ok(i) ? -1 : open("/", O_PATH | O_CLOEXEC);

		if (fd == i)
			c->no_std |= 1U << i;
		else if (fd >= 0) /* another thread was faster */
			(void)close(fd);
		else if (!api_fd_ok(i))
			return err_sys(e, errno, "descriptor %d, which is not open", i);
	}
	return 0;
}

void stdio_let_go(struct api_ctx *c)
{
	for (int i = 0; i < 3; i++) {
		if (c->no_std & 1U << i)
			(void)close(i);
	}
	c->no_std = 0;
}

/* Without the implicit console hvc0 is the first terminal of the program's: such a port, where no
 * default console comes before it. */
static const struct api_port *find_hvc0(const struct api_ctx *c)
{
	for (unsigned i = 0; c->no_console && i < c->nconsoles && c->console[i].multiport; i++) {
		for (unsigned n = 0; n < c->nports; n++) {
			if (c->port[n].console == i && c->port[n].tty)
				return &c->port[n];
		}
	}
	return NULL;
}

/* What the streams are unless a port has their name. */
static int find_streams(const struct api_ctx *c, struct stdio *s, struct error *e)
{
	const struct api_console *k = api_workload_console(c);

	if (c->console_file && !c->no_console) {
		s->file = open(c->console_file,
			O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOCTTY | O_CLOEXEC, 0644);
		if (s->file < 0)
			return err_sys(e, errno, "console: \"%.160s\"", c->console_file);
	}
	for (int i = 0; i < 3; i++) {
		if (k)
			s->fd[i] = i == 0 ? k->in : i == 1 ? k->out : k->err;
		else if (c->no_console)
			s->fd[i] = s->hvc0 ? s->hvc0->in : -1;
		else if (s->file >= 0)
			s->fd[i] = i ? s->file : -1;
		else
			s->fd[i] = api_fd_ok(i) && !(c->no_std & 1U << i) ? i : -1;
	}
	return 0;
}

/* A first process opens the ports that have these names, and the last of a name counts. */
static void find_named(const struct api_ctx *c, struct stdio *s)
{
	static const char *const names[] = { "krun-stdin", "krun-stdout", "krun-stderr" };

	for (unsigned n = 0; n < c->nports; n++) {
		for (int i = 0; i < 3; i++) {
			const struct api_port *p = &c->port[n];

			if (!p->tty && p->name && !strcmp(p->name, names[i]) &&
				(i ? p->out : p->in) >= 0)
				s->named[i] = p;
		}
	}
}

/* With the agent the device hvc0 is the kernel's (the workload finds its own terminal there, if it
 * has one: BLOB_P_HVC0), and a terminal of the program's only where no stream is it. */
static void find_console(const struct api_ctx *c, bool own, struct stdio *s)
{
	bool taken = false;

	for (int i = 0; i < 3; i++)
		taken |= !own && s->hvc0 && s->fd[i] == s->hvc0->in;
	s->out = s->file;
	if (s->hvc0 && !taken) {
		s->in = s->out = s->hvc0->in;
	} else if (own) {
		/* its input may be a terminal where its output is none */
		s->in = s->tty >= 0 ? s->tty : isatty(s->fd[0]) == 1 ? s->fd[0] : -1;
		/* it has ports for its streams, but in an initramfs it may be one that knows the
		 * console alone, and a terminal is there for both */
		if (s->file < 0 && (c->initramfs || isatty(s->fd[1]) == 1))
			s->out = s->fd[1];
	}
}

int stdio_find(const struct api_ctx *c, bool own, struct stdio *s, struct error *e)
{
	int r;

	*s = (struct stdio){ .fd = { -1, -1, -1 }, .tty = -1, .file = -1, .in = -1 };
	s->hvc0 = find_hvc0(c);
	r = find_streams(c, s, e);
	if (r)
		return r;
	find_named(c, s);
	for (int i = 0; !own && i < 3; i++) {
		if (s->named[i])
			s->fd[i] = i ? s->named[i]->out : s->named[i]->in;
	}
	s->tty = own && s->hvc0 ? s->hvc0->in : find_tty(s->fd);
	/* the agent's terminal is all three: one more descriptor would get nothing */
	if (!own && s->fd[2] >= 0 && isatty(s->fd[2]) != 1)
		s->tty = -1;
	find_console(c, own, s);
	if (!own)
		stdio_add_term(s, s->tty, -1, true);
	return 0;
}

void stdio_add_term(struct stdio *s, int fd, int port, bool raw)
{
	if (isatty(fd) == 1 && s->nterms < STDIO_TERMS)
		s->term[s->nterms++] = (struct stdio_term){ .fd = fd, .port = port, .raw = raw };
}

void stdio_raw(const struct stdio *s)
{
	struct termios t;

	for (unsigned i = 0; i < s->nterms; i++) {
		if (!s->term[i].raw || tcgetattr(s->term[i].fd, &t))
			continue;
		before[nbefore].fd = s->term[i].fd;
		before[nbefore].was = t;
		cfmakeraw(&t);
		if (tcsetattr(s->term[i].fd, TCSANOW, &t))
			log_warn("the terminal stays as it is: %s", err_text(errno));
		else
			nbefore++;
	}
}

void stdio_restore(void)
{
	sigset_t stop, was;

	/* in the background, too */
	(void)sigemptyset(&stop);
	(void)sigaddset(&stop, SIGTTOU);
	(void)pthread_sigmask(SIG_BLOCK, &stop, &was);
	/* a terminal that is gone needs nothing */
	while (nbefore) {
		nbefore--;
		(void)tcsetattr(before[nbefore].fd, TCSANOW, &before[nbefore].was);
	}
	(void)pthread_sigmask(SIG_SETMASK, &was, NULL);
}
