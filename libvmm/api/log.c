// SPDX-License-Identifier: Apache-2.0
/* Where the log of this process goes: krun_set_log_level() and krun_init_log(). */
/*
 * How it works
 *
 * libvmm's one sink is set at the first call, or by a start, and stays; what it looks at later
 * calls change, under a lock: a line is never written to a descriptor that another thread has just
 * closed. Levels of the API are one more than libvmm's, 0 being none at all; TRACE is DEBUG, there
 * is nothing below.
 *
 * Lines come from the threads of devices as well. Where nobody reads the log one of them waits for
 * a while, those after it do not: they are counted, and the next that is written says how many.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "api/api.h"
#include "util/log.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows, and the write */
static int target = STDERR_FILENO;			 /* owned when above 2 */
static bool colour;
static uint32_t max_level;
static bool chosen;	  /* by the program */
static unsigned lost;	  /* lines since the last one that was written */
static int terminal = -1; /* the last target that was one, once more; owned */

#define WAIT_MS 1000

/* A line to a descriptor that takes it, of which this is the only sure sign: to make it
 * non-blocking would make it so for all who have it. Who has gone would be a SIGPIPE. */
static bool takes_line(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, lost ? 0 : WAIT_MS) == 1 &&
		(p.revents & (POLLOUT | POLLERR | POLLHUP)) == POLLOUT;
}

/* Where a line goes. A terminal says that it takes something when that is one byte, and waits for
 * the rest: it gets a description of our own that does not wait. The program may put another file
 * in the target's place at any time. */
static int writer(void)
{
	struct stat now, own;
	char path[32];

	if (isatty(target) != 1 || fstat(target, &now))
		return target;
	if (terminal >= 0 && !fstat(terminal, &own) && own.st_rdev == now.st_rdev)
		return terminal;
	if (terminal >= 0)
		(void)close(terminal);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	terminal = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return terminal >= 0 ? terminal : target;
}

/* In a raw terminal, as that of a start is, a line does not begin where the screen does. */
static const char *line_end(void)
{
	struct termios t;

	return !tcgetattr(target, &t) && !(t.c_oflag & OPOST) ? "\r\n" : "\n";
}

static void put(enum log_level level, const char *line)
{
	static const struct {
		const char *name, *begin;
	} names[] = {
		[LOG_ERROR] = { "ERROR", "\033[31m" },
		[LOG_WARN] = { "WARN", "\033[33m" },
		[LOG_INFO] = { "INFO", "\033[32m" },
		[LOG_DEBUG] = { "DEBUG", "\033[34m" },
	};
	char text[LOG_LINE_MAX + 128], before[48] = "";
	int n, fd = writer();

	if (!takes_line(fd)) {
		lost++;
		return;
	}
	if (lost)
		(void)snprintf(before, sizeof(before), "(%u lines before this were lost) ", lost);
	n = snprintf(text, sizeof(text), "[%s%s%s libkrun] %s%s%s",
		colour ? names[level].begin : "", names[level].name, colour ? "\033[0m" : "",
		before, line, line_end());
	n = MIN(n, (int)sizeof(text) - 1);
	/* there is no other place to say that the log cannot be written */
	if (write(fd, text, (size_t)n) == n)
		lost = 0;
	else
		lost++;
}

static void sink(enum log_level level, const char *line)
{
	(void)pthread_mutex_lock(&lock);
	if ((uint32_t)level < max_level)
		put(level, line);
	(void)pthread_mutex_unlock(&lock);
}

/* Which of @names the first @n bytes of @s are, or -1. */
static int one_of(const char *s, size_t n, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strlen(names[i]) == n && !strncasecmp(s, names[i], n))
			return (int)i;
	}
	return -1;
}

/* -1: the variable says nothing. Of a list ("module=debug,warn") what names no module is for all.
 */
static int level_of_env(void)
{
	static const char *const names[] = { "off", "error", "warn", "info", "debug", "trace" };
	const char *v = getenv("RUST_LOG");
	int level = -1;

	while (v && *v) {
		size_t n = strcspn(v, ",");
		int one = one_of(v, n, names, ARRAY_SIZE(names));

		if (one >= 0)
			level = one;
		v += n + (v[n] == ',');
	}
	return level;
}

static bool colours_of(uint32_t style, int fd, bool env)
{
	static const char *const names[] = { "auto", "always", "never" };
	const char *v = env ? getenv("RUST_LOG_STYLE") : NULL;
	int of_env = v ? one_of(v, strlen(v), names, ARRAY_SIZE(names)) : -1;

	if (of_env >= 0)
		style = (uint32_t)of_env;
	return style == KRUN_LOG_STYLE_ALWAYS || (style == KRUN_LOG_STYLE_AUTO && isatty(fd) == 1);
}

static void set_sink(void)
{
	log_set_sink(sink, LOG_DEBUG);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

void api_log_default(void)
{
	int from_env = level_of_env();

	(void)pthread_once(&once, set_sink);
	(void)pthread_mutex_lock(&lock);
	if (!chosen)
		max_level = from_env >= 0 ? (uint32_t)from_env : KRUN_LOG_LEVEL_ERROR;
	(void)pthread_mutex_unlock(&lock);
}

static void use(int fd, uint32_t level, bool colours, bool env)
{
	int from_env = env ? level_of_env() : -1;

	(void)pthread_once(&once, set_sink);
	(void)pthread_mutex_lock(&lock);
	max_level = from_env >= 0 ? (uint32_t)from_env : level;
	chosen = true;
	colour = colours;
	if (target > STDERR_FILENO && target != fd)
		(void)close(target);
	target = fd;
	(void)pthread_mutex_unlock(&lock);
}

int32_t krun_set_log_level(uint32_t level)
{
	use(STDERR_FILENO, level, colours_of(KRUN_LOG_STYLE_AUTO, STDERR_FILENO, true), true);
	return 0;
}

int32_t krun_init_log(int target_fd, uint32_t level, uint32_t style, uint32_t options)
{
	int fd = target_fd == KRUN_LOG_TARGET_DEFAULT ? STDERR_FILENO : target_fd;
	bool env = options != KRUN_LOG_OPTION_NO_ENV;

	if (fd <= 0 || style > KRUN_LOG_STYLE_NEVER || options > KRUN_LOG_OPTION_NO_ENV)
		return -EINVAL;
	if (!api_fd_ok(fd))
		return -EINVAL;
	use(fd, level, colours_of(style, fd, env), env);
	return 0;
}
