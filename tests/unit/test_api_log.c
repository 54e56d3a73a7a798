// SPDX-License-Identifier: Apache-2.0
/* The log of a program that uses libkrun.h: whose it is, and what is written where. */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "api/api.h"
#include "test.h"
#include "util/log.h"

/* What is at the level and below is written, to a descriptor that is then ours. */
static void lines(void)
{
	char buf[200] = "";
	int p[2];

	CHECK_EQ(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	CHECK_EQ(krun_init_log(p[1], KRUN_LOG_LEVEL_WARN, KRUN_LOG_STYLE_NEVER, 1), 0);
	log_warn("one %d", 1);
	log_info("two");
	CHECK(read(p[0], buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "[WARN libkrun] one 1\n");
	CHECK_EQ(krun_init_log(2, KRUN_LOG_LEVEL_OFF, KRUN_LOG_STYLE_NEVER, 1), 0);
	log_err("three");
	/* closed with the last who could write */
	CHECK_EQ(read(p[0], buf, sizeof(buf)), 0);
	(void)close(p[0]);
}

static void levels(void)
{
	int fd = dup(1);

	CHECK(fd > 2);
	CHECK_EQ(krun_init_log(0, 1, 0, 1), -EINVAL);
	CHECK_EQ(krun_init_log(-2, 1, 0, 1), -EINVAL);
	CHECK_EQ(krun_init_log(1 << 20, 1, 0, 1), -EINVAL);
	CHECK_EQ(krun_init_log(2, 1, 3, 1), -EINVAL);
	CHECK_EQ(krun_init_log(2, 1, 0, 2), -EINVAL);
	CHECK_EQ(krun_init_log(fd, 5, KRUN_LOG_STYLE_ALWAYS, 1), 0);
	CHECK_EQ(krun_init_log(fd, 77, KRUN_LOG_STYLE_NEVER, 1), 0);
	CHECK(api_fd_ok(fd));
	/* ours, until it is told another one */
	CHECK_EQ(krun_init_log(-1, 0, 0, 1), 0);
	CHECK(!api_fd_ok(fd));
	CHECK_EQ(krun_set_log_level(99), 0);
	CHECK_EQ(setenv("RUST_LOG", "off", 1), 0);
	CHECK_EQ(krun_set_log_level(5), 0);
	CHECK_EQ(unsetenv("RUST_LOG"), 0);
	CHECK_EQ(krun_set_log_level(0), 0);
}

/* What a line of level INFO looks like, "" when it is not written. */
static void logged(uint32_t level, uint32_t style, uint32_t options, const char *want)
{
	char buf[200] = "";
	int p[2];

	CHECK_EQ(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
	CHECK_EQ(krun_init_log(p[1], level, style, options), 0);
	log_info("x");
	CHECK((read(p[0], buf, sizeof(buf) - 1) > 0) == !!*want);
	CHECK_STR(buf, want);
	CHECK_EQ(krun_init_log(2, KRUN_LOG_LEVEL_OFF, KRUN_LOG_STYLE_NEVER, 1), 0);
	(void)close(p[0]);
}

static void environment(void)
{
	CHECK_EQ(setenv("RUST_LOG", "module=debug,INFO,other=off", 1), 0);
	logged(KRUN_LOG_LEVEL_OFF, KRUN_LOG_STYLE_NEVER, 0, "[INFO libkrun] x\n");
	logged(KRUN_LOG_LEVEL_OFF, KRUN_LOG_STYLE_NEVER, 1, "");
	CHECK_EQ(setenv("RUST_LOG", "module=off,nonsense", 1), 0);
	logged(KRUN_LOG_LEVEL_INFO, KRUN_LOG_STYLE_NEVER, 0, "[INFO libkrun] x\n");
	CHECK_EQ(setenv("RUST_LOG", "info,warn", 1), 0);
	logged(KRUN_LOG_LEVEL_INFO, KRUN_LOG_STYLE_NEVER, 0, "");
	CHECK_EQ(unsetenv("RUST_LOG"), 0);
	CHECK_EQ(setenv("RUST_LOG_STYLE", "always", 1), 0);
	logged(KRUN_LOG_LEVEL_INFO, KRUN_LOG_STYLE_NEVER, 0, "[\033[32mINFO\033[0m libkrun] x\n");
	logged(KRUN_LOG_LEVEL_INFO, KRUN_LOG_STYLE_NEVER, 1, "[INFO libkrun] x\n");
	CHECK_EQ(unsetenv("RUST_LOG_STYLE"), 0);
}

/* Where nobody reads, a line is lost after a while and those that follow at once. */
static void nobody_reads(void)
{
	char fill[8192] = { 0 }, buf[200] = "";
	int p[2];

	CHECK_EQ(pipe2(p, O_CLOEXEC), 0);
	CHECK_EQ(fcntl(p[1], F_SETPIPE_SZ, sizeof(fill)), sizeof(fill));
	CHECK_EQ(write(p[1], fill, sizeof(fill)), sizeof(fill));
	CHECK_EQ(krun_init_log(p[1], KRUN_LOG_LEVEL_WARN, KRUN_LOG_STYLE_NEVER, 1), 0);
	log_warn("one");
	log_warn("two");
	CHECK_EQ(read(p[0], fill, sizeof(fill)), sizeof(fill));
	log_warn("three");
	log_warn("four");
	CHECK(read(p[0], buf, sizeof(buf) - 1) > 0);
	CHECK_STR(
		buf, "[WARN libkrun] (2 lines before this were lost) three\n[WARN libkrun] four\n");
	/* whose reader has gone: no SIGPIPE */
	(void)close(p[0]);
	log_warn("five");
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p));
	CHECK_EQ(krun_init_log(p[1], KRUN_LOG_LEVEL_WARN, KRUN_LOG_STYLE_NEVER, 1), 0);
	(void)close(p[0]);
	log_warn("six");
	CHECK_EQ(krun_init_log(2, KRUN_LOG_LEVEL_OFF, KRUN_LOG_STYLE_NEVER, 1), 0);
}

/* A terminal takes part of a line; then it has to be there at once, too. */
static void nobody_reads_the_terminal(void)
{
	char buf[8192];
	bool told = false;
	int far, near, p[2];

	CHECK_EQ(openpty(&far, &near, NULL, NULL, NULL), 0);
	CHECK_EQ(krun_init_log(near, KRUN_LOG_LEVEL_WARN, KRUN_LOG_STYLE_NEVER, 1), 0);
	for (unsigned i = 0; i < 3000; i++)
		log_warn("a line that is longer than what is left: %u", i);
	CHECK_EQ(fcntl(far, F_SETFL, O_NONBLOCK), 0);
	while (read(far, buf, sizeof(buf)) > 0)
		;
	log_warn("again");
	for (ssize_t n; (n = read(far, buf, sizeof(buf) - 1)) > 0;) {
		buf[n] = 0;
		told = told || strstr(buf, "lines before this were lost) again");
	}
	CHECK(told);
	/* the program puts something else in its place */
	CHECK(!pipe2(p, O_CLOEXEC) && dup2(p[1], near) == near);
	log_warn("elsewhere");
	CHECK(read(p[0], buf, sizeof(buf) - 1) > 0 && strstr(buf, "elsewhere"));
	(void)close(p[0]);
	(void)close(p[1]);
	CHECK_EQ(krun_init_log(2, KRUN_LOG_LEVEL_OFF, KRUN_LOG_STYLE_NEVER, 1), 0);
	(void)close(far);
}

static void terminal(void)
{
	char buf[200] = "";
	struct termios t;
	int far, near;

	CHECK_EQ(openpty(&far, &near, NULL, NULL, NULL), 0);
	CHECK_EQ(tcgetattr(near, &t), 0);
	cfmakeraw(&t);
	CHECK_EQ(tcsetattr(near, TCSANOW, &t), 0);
	CHECK_EQ(krun_init_log(near, KRUN_LOG_LEVEL_WARN, KRUN_LOG_STYLE_AUTO, 1), 0);
	log_warn("one");
	CHECK(read(far, buf, sizeof(buf) - 1) > 0);
	CHECK(strstr(buf, "libkrun] ") && strstr(buf, "one\r\n"));
	CHECK_EQ(krun_init_log(2, KRUN_LOG_LEVEL_OFF, KRUN_LOG_STYLE_NEVER, 1), 0);
	(void)close(far);
}

static const struct test_case cases[] = { TEST(lines), TEST(levels), TEST(environment),
	TEST(nobody_reads), TEST(nobody_reads_the_terminal), TEST(terminal) };

TEST_MAIN(cases)
