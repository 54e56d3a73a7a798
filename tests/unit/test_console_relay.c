// SPDX-License-Identifier: Apache-2.0
/* `run` and `exec` in a terminal: what is relayed, and what happens when nobody reads it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "oci/console.h"
#include "tests/unit/test.h"

#define MUCH (256 * 1024) /* more than a pty and a pipe hold */

struct seen {
	int end; /* readable when the process is over */
	unsigned hups, others;
	int late;  /* a signal that comes with the end */
	bool held; /* somebody else holds the terminal open, too */
	int full;  /* our stdin, which the process fills the other way of and then sends SIGTERM */
};

static bool ready(void *arg, int *code)
{
	const struct seen *s = arg;
	char c;

	if (read(s->end, &c, 1) != 1)
		return false;
	*code = c;
	if (s->late)
		(void)raise(s->late);
	return true;
}

static void on_signal(void *arg, int signo)
{
	struct seen *s = arg;

	s->hups += signo == SIGHUP;
	s->others += signo != SIGHUP;
}

/* The process in the terminal: says @much, reads a line if it is to, and ends with 7. */
static _Noreturn void process(int slave, int end, size_t much, bool reads)
{
	char buf[4096];

	(void)alarm(60);
	memset(buf, 'x', sizeof(buf));
	for (size_t n = 0; n < much; n += sizeof(buf)) {
		if (write(slave, buf, sizeof(buf)) != (ssize_t)sizeof(buf))
			_exit(1);
	}
	if (reads && (read(slave, buf, sizeof(buf)) != 3 || write(slave, buf, 3) != 3))
		_exit(1);
	_exit(write(end, "\7", 1) != 1);
}

/* Waits until the relay takes no more of our stdin: not a byte in a hundred looks. */
static void until_stuck(int in)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	int before = 0, now = 0, still = 0;

	while (still < 100) {
		if (nanosleep(&ms, NULL) || ioctl(in, FIONREAD, &now))
			_exit(1);
		still = now == before ? still + 1 : 0;
		before = now;
	}
}

/* One that reads nothing and says all that the terminal takes: both ways are full then. */
static _Noreturn void deaf_process(int slave, int end, int in)
{
	char buf[256];
	ssize_t n;

	(void)alarm(60);
	memset(buf, 'x', sizeof(buf));
	if (fcntl(slave, F_SETFL, O_NONBLOCK))
		_exit(1);
	do {
		until_stuck(in);
		n = write(slave, buf, sizeof(buf));
		while (write(slave, buf, sizeof(buf)) > 0)
			;
	} while (n > 0);
	until_stuck(in);
	_exit(kill(getppid(), SIGTERM) || write(end, "\7", 1) != 1);
}

/* console_relay() between @in, @out and such a process; its code, or -1. Both are closed. */
static int relay(int in, int out, size_t much, bool reads, struct seen *s)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), end[2], old[2], slave, r = -1;
	struct console_peer peer = { .arg = s, .ready = ready, .signal = on_signal };
	struct termios t;
	pid_t pid;

	if (master < 0 || grantpt(master) || unlockpt(master) || pipe2(end, O_CLOEXEC | O_NONBLOCK))
		return -1;
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || tcgetattr(slave, &t))
		return -1;
	cfmakeraw(&t);
	(void)tcsetattr(slave, TCSANOW, &t);
	s->hups = s->others = 0;
	s->end = end[0];
	peer.fd = end[0];
	(void)fflush(stdout);
	pid = fork();
	if (!pid && s->full > 0)
		deaf_process(slave, end[1], s->full);
	if (!pid)
		process(slave, end[1], much, reads);
	if (!s->held) {
		(void)close(slave);
		slave = -1;
	}
	(void)close(end[1]);
	old[0] = fcntl(0, F_DUPFD_CLOEXEC, 3);
	old[1] = fcntl(1, F_DUPFD_CLOEXEC, 3);
	if (pid > 0 && dup2(in, 0) == 0 && dup2(out, 1) == 1) {
		(void)close(in);
		(void)close(out);
		r = console_relay(master, &peer);
	}
	(void)dup2(old[0], 0);
	(void)dup2(old[1], 1);
	(void)close(old[0]);
	(void)close(old[1]);
	(void)close(end[0]);
	(void)close(master);
	if (slave >= 0)
		(void)close(slave);
	return waitpid(pid, NULL, 0) == pid ? r : -1;
}

static void both_ways(void)
{
	int in[2], out[2];
	struct seen s = { 0 };
	char buf[8192];

	CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	CHECK_EQ(write(in[1], "abc", 3), 3);
	CHECK_EQ(relay(in[0], out[1], 4096, true, &s), 7);
	CHECK_EQ(read(out[0], buf, sizeof(buf)), 4099);
	CHECK(!memcmp(buf + 4095, "xabc", 4));
	CHECK_EQ(s.hups + s.others, 0);
	(void)close(in[1]);
	(void)close(out[0]);
}

/* The process is told, once, and not held up by what nobody will read. */
static void no_reader(void)
{
	int in[2], out[2];
	struct seen s = { 0 };

	CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	(void)close(out[0]);
	CHECK_EQ(relay(in[0], out[1], MUCH, false, &s), 7);
	CHECK_EQ(s.hups, 1);
	CHECK_EQ(s.others, 0);
	(void)close(in[1]);
}

/* A hangup, say, that is pending when all is over is nobody's, and must not keep us; nor does who
 * holds the terminal, for longer than a second. What is typed then stays. */
static void late_signal(void)
{
	int in[2], out[2], typed;
	struct seen s = { .late = SIGHUP, .held = true };
	sigset_t set;
	char buf[8];

	CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	typed = fcntl(in[0], F_DUPFD_CLOEXEC, 3);
	CHECK_EQ(relay(in[0], out[1], 0, false, &s), 7);
	CHECK_EQ(s.hups + s.others, 0);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGHUP);
	CHECK_EQ(sigwaitinfo(&set, NULL), SIGHUP);
	CHECK_EQ(write(in[1], "abc", 3), 3);
	CHECK_EQ(read(typed, buf, sizeof(buf)), 3);
	(void)close(typed);
	(void)close(in[1]);
	(void)close(out[0]);
}

/* Fills the pipe. */
static void fill(int fd)
{
	char buf[4096];
	int flags = fcntl(fd, F_GETFL);

	memset(buf, 'y', sizeof(buf));
	CHECK(!fcntl(fd, F_SETFL, flags | O_NONBLOCK));
	while (write(fd, buf, sizeof(buf)) > 0)
		;
	CHECK(errno == EAGAIN && !fcntl(fd, F_SETFL, flags));
}

/* Neither we nor the process reads: signals are passed on all the same. */
static void both_full(void)
{
	int in[2], out[2];
	struct seen s = { .held = true };

	CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	fill(in[1]);
	fill(out[1]);
	s.full = in[1];
	CHECK_EQ(relay(in[0], out[1], 0, false, &s), 7);
	CHECK_EQ(s.others, 1);
	CHECK_EQ(s.hups, 0);
	(void)close(in[1]);
	(void)close(out[0]);
}

static const struct test_case cases[] = {
	TEST(both_ways),
	TEST(no_reader),
	TEST(late_signal),
	TEST(both_full),
};

int main(int argc, char **argv)
{
	sigset_t set;

	/* as run and exec do */
	(void)sigfillset(&set);
	(void)sigdelset(&set, SIGTTOU);
	(void)sigdelset(&set, SIGALRM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)alarm(120);
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
