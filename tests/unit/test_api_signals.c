// SPDX-License-Identifier: Apache-2.0
/* Signals that end a program: which are taken, what they do then, and that they are given back. */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/start.h"
#include "tests/unit/test.h"

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void *stand(void *arg)
{
	int n;

	(void)sigwait(arg, &n);
	return NULL;
}

static void own(int n)
{
	(void)n;
}

/* In a process of its own, which returns what is wrong as a number. */
static int taken_and_not(void)
{
	struct sigaction a;
	sigset_t all, usr;
	pthread_t t;
	int fd;

	(void)signal(SIGTERM, SIG_DFL);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, own);
	/* whichever thread the kernel picks: this one does not take them */
	(void)sigemptyset(&usr);
	(void)sigaddset(&usr, SIGUSR1);
	if (pthread_sigmask(SIG_BLOCK, &usr, NULL) || pthread_create(&t, NULL, stand, &usr))
		return 1;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, NULL);
	fd = signals_take();
	if (fd < 0 || readable(fd) || signals_first())
		return 2;
	if (sigaction(SIGHUP, NULL, &a) || a.sa_handler != SIG_IGN || sigaction(SIGINT, NULL, &a) ||
		a.sa_handler != own)
		return 3;
	if (kill(getpid(), SIGTERM) ||
		poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 10000) != 1)
		return 4;
	if (signals_first() != SIGTERM)
		return 5;
	signals_give_back();
	if (sigaction(SIGTERM, NULL, &a) || a.sa_handler != SIG_DFL)
		return 6;
	(void)signal(SIGTERM, own);
	signals_give_back(); /* nothing is left to give */
	if (sigaction(SIGTERM, NULL, &a) || a.sa_handler != own)
		return 7;
	(void)pthread_kill(t, SIGUSR1);
	return pthread_join(t, NULL) ? 8 : 0;
}

/* The first is an event, and the next one ends us. */
static void first_and_second(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		int fd;

		(void)signal(SIGHUP, SIG_DFL);
		(void)signal(SIGTERM, SIG_DFL);
		fd = signals_take();
		if (fd < 0 || raise(SIGHUP) || !readable(fd) || signals_first() != SIGHUP)
			_exit(1);
		signals_give_back();
		fd = signals_take();
		if (fd < 0 || readable(fd) || signals_first() || raise(SIGHUP) || !readable(fd))
			_exit(2);
		(void)raise(SIGTERM);
		_exit(3);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

static void taken(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(taken_and_not());
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

/* Given back they end the process, as if nothing had been. */
static void given_back(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		(void)signal(SIGTERM, SIG_DFL);
		if (signals_take() < 0)
			_exit(1);
		(void)raise(SIGTERM);
		signals_give_back();
		(void)raise(SIGTERM);
		_exit(2);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* The first process of a PID namespace, which none of them would have ended. */
static void first_process(void)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid) {
		struct sigaction a;

		if (unshare(CLONE_NEWPID))
			_exit(77);
		pid = fork();
		if (pid) {
			(void)waitpid(pid, &status, 0);
			_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
		}
		(void)signal(SIGTERM, SIG_DFL);
		_exit(getpid() != 1 || signals_take() < 0 || sigaction(SIGTERM, NULL, &a) ||
			a.sa_handler != SIG_DFL);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		printf("# not tried: no PID namespace\n");
	else
		CHECK_EQ(WEXITSTATUS(status), 0);
}

static const struct test_case cases[] = {
	TEST(taken),
	TEST(first_and_second),
	TEST(given_back),
	TEST(first_process),
};

TEST_MAIN(cases)
