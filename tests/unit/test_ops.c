// SPDX-License-Identifier: Apache-2.0
/* start and kill when the VMM does not answer as it should: a process of ours plays it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "oci/create.h"
#include "oci/ctl.h"
#include "oci/fsutil.h"
#include "oci/state.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"

static char base[64];
static struct rt rt = { .name = "krun-oci", .root = base };

/* What the VMM does with the first who asks. */
enum play {
	SILENT,	 /* takes the question and says nothing */
	HANG_UP, /* closes the connection, and ends a moment later */
	DROP,	 /* closes it and lives on */
	REFUSE,	 /* answers that there is no such process */
};

/* SIGUSR1 ends it with 7. */
static void on_usr1(int sig)
{
	(void)sig;
	_exit(7);
}

static _Noreturn void play_vmm(int lfd, enum play what, int ready)
{
	const struct timespec moment = { .tv_nsec = 50 * 1000 * 1000 };
	const struct ctl_reply no = { .code = ESRCH, .text = "nothing here" };
	struct ctl_req q;
	int conn;

	(void)signal(SIGUSR1, on_usr1);
	(void)alarm(120);
	(void)close(ready);
	do {
		conn = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
	} while (conn < 0 && errno == EAGAIN && !usleep(1000));
	if (what != SILENT && recv(conn, &q, sizeof(q), 0) < 0)
		_exit(1);
	if (what == REFUSE)
		(void)send(conn, &no, sizeof(no), MSG_NOSIGNAL);
	if (what != SILENT)
		(void)close(conn);
	if (what == HANG_UP) {
		(void)close(lfd);
		(void)nanosleep(&moment, NULL);
		_exit(0);
	}
	for (;;)
		(void)pause();
}

static bool vmm(struct container *c, const char *id, enum phase ph, enum play what)
{
	CLEAN_FD int status = -1, lfd = -1;
	int ready[2];
	char state;
	bool up;

	*c = (struct container){ .id = strdup(id),
		.root_fd = -1,
		.bundle = strdup("/b"),
		.rootfs = strdup("/b/r"),
		.version = strdup("1.0.0") };
	if (container_make(&rt, c, "{}", 2, NULL))
		return false;
	lfd = ctl_listen(c, NULL);
	status = status_open(c);
	if (lfd < 0 || status < 0 || status_write(status, ph, 0, 0))
		return false;
	(void)fflush(stdout);
	if (pipe2(ready, O_CLOEXEC))
		return false;
	c->pid = fork();
	if (!c->pid)
		play_vmm(lfd, what, ready[1]);
	container_unlock(c);
	/* its handler is there */
	(void)close(ready[1]);
	up = !read(ready[0], &state, 1);
	(void)close(ready[0]);
	return up && c->pid > 0 && !proc_start_time(c->pid, &c->pid_start, &state) &&
		!container_store(c, NULL);
}

/* What it ended with: the exit code, or 1000 + signal. */
static int end_of(const struct container *c)
{
	int st = 0;

	if (waitpid(c->pid, &st, 0) != c->pid)
		return -1;
	return WIFSIGNALED(st) ? 1000 + WTERMSIG(st) : WEXITSTATUS(st);
}

/* Whoever is told that the start failed must not find it running later. */
static void start_without_answer(void)
{
	CLEAN(container_free) struct container c;
	struct error e = { 0 };

	CHECK(vmm(&c, "silent", PHASE_CREATED, SILENT));
	CHECK_EQ(container_start(&c, NULL, 300, &e), -ETIMEDOUT);
	CHECK(strstr(e.msg, "\"silent\" has not started it"));
	CHECK_EQ(end_of(&c), 1000 + SIGKILL);
}

/* An answer is believed, and nobody is killed for it. */
static void start_refused(void)
{
	CLEAN(container_free) struct container c;
	struct error e = { 0 };

	CHECK(vmm(&c, "refused", PHASE_CREATED, REFUSE));
	CHECK_EQ(container_start(&c, NULL, 20000, &e), -ESRCH);
	CHECK_STR(e.msg, "nothing here");
	CHECK(!kill(c.pid, SIGUSR1));
	CHECK_EQ(end_of(&c), 7);
}

static void kill_of_one_that_ends(void)
{
	CLEAN(container_free) struct container c;
	struct error e = { 0 };

	CHECK(vmm(&c, "ends", PHASE_RUNNING, HANG_UP));
	CHECK_EQ(rt_kill(&rt, "ends", SIGUSR1, false, &e), -ESRCH);
	CHECK_STR(e.msg, "container not running: no such process");
	CHECK_EQ(end_of(&c), 0);
	e = (struct error){ 0 };
	CHECK_EQ(rt_kill(&rt, "ends", SIGUSR1, false, &e), -ESRCH);
	CHECK_STR(e.msg, "container not running: no such process");
	CHECK_EQ(rt_kill(&rt, "ends", SIGUSR1, true, NULL), 0);
}

static void kill_without_workload(void)
{
	CLEAN(container_free) struct container c;
	struct error e = { 0 };

	CHECK(vmm(&c, "empty", PHASE_RUNNING, REFUSE));
	CHECK_EQ(rt_kill(&rt, "empty", SIGTERM, false, &e), -ESRCH);
	CHECK_STR(e.msg, "container not running: no such process");
	CHECK_EQ(rt_kill(&rt, "empty", SIGKILL, false, NULL), 0);
	CHECK_EQ(end_of(&c), 1000 + SIGKILL);
}

/* The signal is not lost with the connection. */
static void kill_of_one_that_drops(void)
{
	CLEAN(container_free) struct container c;

	CHECK(vmm(&c, "drops", PHASE_RUNNING, DROP));
	CHECK_EQ(rt_kill(&rt, "drops", SIGUSR1, false, NULL), 0);
	CHECK_EQ(end_of(&c), 7);
}

/* Without an answer only PID 1 could be reached: that is not what was asked for. */
static void kill_of_all_without_answer(void)
{
	CLEAN(container_free) struct container c, d;
	struct error e = { 0 };

	CHECK(vmm(&c, "mute", PHASE_RUNNING, SILENT));
	CHECK_EQ(rt_kill(&rt, "mute", SIGUSR1, true, &e), -ETIMEDOUT);
	CHECK(strstr(e.msg, "\"mute\" does not answer"));
	CHECK(vmm(&d, "drops-all", PHASE_RUNNING, DROP));
	e = (struct error){ 0 };
	CHECK_EQ(rt_kill(&rt, "drops-all", SIGUSR1, true, &e), -ECONNRESET);
	/* neither has got the signal */
	CHECK_EQ(waitpid(c.pid, NULL, WNOHANG), 0);
	CHECK_EQ(waitpid(d.pid, NULL, WNOHANG), 0);
	CHECK(!kill(c.pid, SIGUSR1) && !kill(d.pid, SIGUSR1));
	CHECK_EQ(end_of(&c), 7);
	CHECK_EQ(end_of(&d), 7);
}

/* One that is asked for all, and ends, has no process left. */
static void kill_of_all_that_end(void)
{
	CLEAN(container_free) struct container c;

	CHECK(vmm(&c, "ends-all", PHASE_RUNNING, HANG_UP));
	CHECK_EQ(rt_kill(&rt, "ends-all", SIGUSR1, true, NULL), 0);
	CHECK_EQ(end_of(&c), 0);
}

static const struct test_case cases[] = {
	TEST(start_without_answer),
	TEST(start_refused),
	TEST(kill_of_one_that_ends),
	TEST(kill_without_workload),
	TEST(kill_of_one_that_drops),
	TEST(kill_of_all_without_answer),
	TEST(kill_of_all_that_end),
};

int main(int argc, char **argv)
{
	int r;

	(void)snprintf(base, sizeof(base), "/tmp/krun-test-ops.XXXXXX");
	if (!mkdtemp(base))
		return 1;
	r = test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
	IGNORE_RESULT(remove_tree_at(AT_FDCWD, base));
	return r;
}
