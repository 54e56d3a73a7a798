// SPDX-License-Identifier: Apache-2.0
/* What the workload's standard streams are on this side, and the terminal's mode. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "api/start.h"
#include "util/cleanup.h"
#include "util/log.h"

/* What stdio_restore() puts back; one process has one such VM. */
static struct termios before;
static int raw_fd = -1;

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

int stdio_find(const struct api_ctx *c, bool own, struct stdio *s, struct error *e)
{
	const struct api_console *k = NULL;

	*s = (struct stdio){ .fd = { -1, -1, -1 }, .tty = -1, .raw = -1, .file = -1 };
	for (unsigned i = 0; i < c->nconsoles && !k; i++) {
		if (!c->console[i].multiport)
			k = &c->console[i];
	}
	if (k) {
		s->fd[0] = k->in;
		s->fd[1] = k->out;
		s->fd[2] = k->err;
	} else if (c->console_file && !c->no_console) {
		s->file = open(c->console_file,
			O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOCTTY | O_CLOEXEC, 0644);
		if (s->file < 0)
			return err_sys(e, errno, "console: \"%.160s\"", c->console_file);
		s->fd[1] = s->fd[2] = s->file;
	} else if (!c->no_console) {
		for (int i = 0; i < 3; i++)
			s->fd[i] = api_fd_ok(i) && !(c->no_std & 1U << i) ? i : -1;
	}
	s->tty = find_tty(s->fd);
	/* the agent's terminal is all three: one more descriptor would get nothing */
	if (!own && s->fd[2] >= 0 && isatty(s->fd[2]) != 1)
		s->tty = -1;
	s->raw = s->tty;
	for (unsigned i = 0; i < c->nserials && s->raw < 0; i++) {
		if (c->serial[i].in >= 0 && isatty(c->serial[i].in) == 1)
			s->raw = c->serial[i].in;
	}
	return 0;
}

void stdio_raw(const struct stdio *s)
{
	struct termios t;

	if (s->raw < 0 || tcgetattr(s->raw, &before))
		return;
	t = before;
	cfmakeraw(&t);
	if (tcsetattr(s->raw, TCSANOW, &t))
		log_warn("the terminal stays as it is: %s", err_text(errno));
	else
		raw_fd = s->raw;
}

void stdio_restore(void)
{
	/* a terminal that is gone needs nothing */
	if (raw_fd >= 0)
		(void)tcsetattr(TAKE_FD(raw_fd), TCSANOW, &before);
}
