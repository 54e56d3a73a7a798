// SPDX-License-Identifier: Apache-2.0
/* Signals to a command that has no process yet: what they end, and what becomes of the others. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/interrupt.h"
#include "tests/unit/test.h"
#include "util/util.h"

static const int FOUR[] = { SIGINT, SIGTERM, SIGQUIT, SIGHUP };

static bool is_blocked(int sig)
{
	sigset_t now;

	return !sigprocmask(SIG_BLOCK, NULL, &now) && sigismember(&now, sig) == 1;
}

/* A child that ends by signals alone, with none of ours. */
static pid_t sleeper(void)
{
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (!pid) {
		(void)alarm(60);
		(void)interrupt_end();
		for (;;)
			(void)pause();
	}
	return pid;
}

static bool was_killed(pid_t pid)
{
	int status = 0;

	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
		WTERMSIG(status) == SIGKILL;
}

static void kills(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(FOUR); i++) {
		struct error e = { 0 };
		pid_t pid;
		int code = 0;

		interrupt_begin();
		pid = sleeper();
		interrupt_kills(pid);
		CHECK(!kill(getpid(), FOUR[i]));
		interrupt_kills(0);
		CHECK(was_killed(pid));
		/* the first counts */
		CHECK(!kill(getpid(), FOUR[(i + 1) % ARRAY_SIZE(FOUR)]));
		CHECK_EQ(interrupt_end(), FOUR[i]);
		CHECK_EQ(interrupt_end(), FOUR[i]);
		CHECK(is_blocked(FOUR[i]));
		CHECK_EQ(interrupt_error(FOUR[i], &code, &e), -EINTR);
		CHECK_EQ(code, 128 + FOUR[i]);
	}
}

/* A signal that is earlier than what it is to end. */
static void early(void)
{
	int sv[2];
	char c;
	pid_t pid;

	interrupt_begin();
	CHECK(!kill(getpid(), SIGTERM));
	pid = sleeper();
	interrupt_kills(pid);
	interrupt_kills(0);
	CHECK(was_killed(pid));
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	interrupt_hangs_up(sv[0]);
	CHECK_EQ(recv(sv[1], &c, 1, MSG_DONTWAIT), 0);
	CHECK_EQ(interrupt_end(), SIGTERM);
	(void)close(sv[0]);
	(void)close(sv[1]);
}

/* Both ends of the connection see it. */
static void hangs_up(void)
{
	int sv[2];
	char c;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	interrupt_begin();
	interrupt_hangs_up(sv[0]);
	CHECK_EQ(recv(sv[1], &c, 1, MSG_DONTWAIT), -1);
	CHECK(!kill(getpid(), SIGHUP));
	CHECK_EQ(recv(sv[0], &c, 1, MSG_DONTWAIT), 0);
	CHECK_EQ(recv(sv[1], &c, 1, MSG_DONTWAIT), 0);
	CHECK_EQ(interrupt_end(), SIGHUP);
	(void)close(sv[0]);
	(void)close(sv[1]);
}

/* Once it is over they wait, as the others do, for who passes them on; and end nothing. */
static void afterwards(void)
{
	sigset_t set;
	pid_t pid;

	interrupt_begin();
	pid = sleeper();
	interrupt_kills(pid);
	CHECK(!kill(getpid(), SIGUSR1));
	CHECK_EQ(interrupt_end(), 0);
	CHECK(!kill(getpid(), SIGTERM));
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	CHECK_EQ(sigwaitinfo(&set, NULL), SIGTERM);
	(void)sigaddset(&set, SIGUSR1);
	CHECK_EQ(sigwaitinfo(&set, NULL), SIGUSR1);
	CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
	CHECK(!kill(pid, SIGKILL) && was_killed(pid));
}

/* nohup: what the caller ignores ends nothing, and waits to be passed on. */
static void ignored(void)
{
	sigset_t set;

	(void)signal(SIGHUP, SIG_IGN);
	interrupt_begin();
	CHECK(is_blocked(SIGHUP) && !is_blocked(SIGTERM));
	CHECK(!kill(getpid(), SIGHUP));
	CHECK_EQ(interrupt_end(), 0);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGHUP);
	CHECK_EQ(sigwaitinfo(&set, NULL), SIGHUP);
	(void)signal(SIGHUP, SIG_DFL);
}

static const struct test_case cases[] = {
	TEST(kills),
	TEST(early),
	TEST(hangs_up),
	TEST(afterwards),
	TEST(ignored),
};

int main(int argc, char **argv)
{
	sigset_t set;

	/* whoever runs the tests may ignore some, as nohup does */
	for (size_t i = 0; i < ARRAY_SIZE(FOUR); i++)
		(void)signal(FOUR[i], SIG_DFL);
	/* as run and exec do */
	(void)sigfillset(&set);
	(void)sigdelset(&set, SIGALRM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)alarm(120);
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
