// SPDX-License-Identifier: Apache-2.0
/* Containers that live through random steps, for many.sh: one worker, which judges every answer. */
/*
 * How it works
 *
 *   lives DIR ID FIRST COUNT STEP SEED
 *
 * makes the containers ID-FIRST, ID-(FIRST+STEP) and so on, up to COUNT, from the bundle DIR/b, one
 * after the other, and walks each through steps that its state allows, or forbids; SEED and FIRST
 * decide which. It is the parent that inherits the VMMs, as conmon is, and so sees with what each
 * ended. The first answer, state, output or status that is not what it must be ends it, with a line
 * on stderr. DIR/config.json is the config, in which @CODE is the exit status of the workload; the
 * workload says "up" on stdout, notes its SIGUSR1s in DIR/shared/usr1, and ends by SIGTERM.
 *
 * It runs no other program than krun-oci: on an emulated processor the test would else be most of
 * what is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CREATE_S 600 /* eight guests that boot on one emulated processor take their time */
#define WAIT_S	 60
#define TEXT	 65536

extern char **environ;

static const char *dir;
static char out[TEXT], err[TEXT]; /* what the last command has said */
static int rc;			  /* its exit status */
static struct {
	char id[64];
	const char *status;
	int code, usr1;
	pid_t vmm;
	bool ended; /* somebody has waited for it */
	int wait_status;
} c;

static _Noreturn void fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s, %s: ", c.id, c.status ? c.status : "not there");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n  last command: status %d\n  stdout: %s\n  stderr: %s\n", rc, out, err);
	exit(1);
}

static void nap(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	(void)nanosleep(&t, NULL);
}

static const char *path(const char *fmt, ...)
{
	static char text[4][512];
	static unsigned at;
	char *p = text[at++ % 4];
	int n = snprintf(p, sizeof(text[0]), "%s/", dir);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(p + n, sizeof(text[0]) - (size_t)n, fmt, ap);
	va_end(ap);
	return p;
}

/* "" when it is not there. */
static void slurp(const char *name, char *to)
{
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, to, TEXT - 1);

	to[n > 0 ? n : 0] = 0;
	if (fd >= 0)
		(void)close(fd);
}

static pid_t begin(const char *const *argv, const char *o, const char *e)
{
	posix_spawn_file_actions_t fa;
	const int flags = O_WRONLY | O_CREAT | O_TRUNC;
	pid_t pid;
	int r;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, o, flags, 0600);
	posix_spawn_file_actions_addopen(&fa, 2, e, flags, 0600);
	r = posix_spawnp(&pid, argv[0], &fa, NULL, (char **)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	if (r)
		fail("%s: %s", argv[0], strerror(r));
	return pid;
}

/* Until @pid has ended, for at most @seconds; the VMM's end is kept when it comes meanwhile. */
static int await(pid_t pid, int seconds, const char *what)
{
	const time_t end = time(NULL) + seconds;
	int status;

	for (;;) {
		pid_t p = waitpid(-1, &status, WNOHANG);

		if (p > 0 && p == c.vmm && !c.ended) {
			c.ended = true;
			c.wait_status = status;
		}
		if (p > 0 && p == pid)
			return status;
		if (p > 0)
			continue;
		if (p < 0 && errno == ECHILD)
			fail("%s: no such child", what);
		if (time(NULL) >= end)
			fail("%s has not ended within %d s", what, seconds);
		nap(5);
	}
}

/* krun-oci with the words that follow, NULL at the end. */
static void run(const char *first, ...)
{
	const char *argv[16] = { "krun-oci", first };
	size_t n = 2;
	va_list ap;
	int status;

	va_start(ap, first);
	while ((argv[n] = va_arg(ap, const char *)))
		n++;
	va_end(ap);
	status = await(begin(argv, path("out"), path("err")), CREATE_S, first);
	rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	slurp(path("out"), out);
	slurp(path("err"), err);
}

static void good(const char *what)
{
	if (rc)
		fail("%s: status %d", what, rc);
}

static void is(const char *status)
{
	char want[64];

	run("state", c.id, NULL);
	(void)snprintf(want, sizeof(want), "\"status\": \"%s\"", status);
	if (rc || !strstr(out, want))
		fail("its state should be %s", status);
}

/* One of @words, with '|' between, is on stderr; the container stays what it is. */
static void refused(const char *words)
{
	char list[128], *save = NULL;
	bool said = false;

	if (!rc)
		fail("done although it is %s", c.status);
	(void)snprintf(list, sizeof(list), "%s", words);
	for (char *w = strtok_r(list, "|", &save); w; w = strtok_r(NULL, "|", &save))
		said |= strcasestr(err, w) != NULL;
	if (!said)
		fail("other words than %s", words);
	is(c.status);
}

static void wait_line(const char *file, const char *line)
{
	const time_t end = time(NULL) + WAIT_S;
	static char text[TEXT];

	for (;;) {
		slurp(file, text);
		text[strcspn(text, "\n")] = 0;
		if (!strcmp(text, line))
			return;
		if (time(NULL) >= end)
			fail("%s does not say \"%s\" within %d s", file, line, WAIT_S);
		nap(20);
	}
}

static unsigned pick(unsigned n)
{
	return (unsigned)(random() % n);
}

static void try_exec(void)
{
	unsigned code = pick(200);
	char script[64], want[16];

	(void)snprintf(script, sizeof(script), "echo here $$ >&2; echo %u; exit %u", code, code);
	run("exec", c.id, "sh", "-c", script, NULL);
	(void)snprintf(want, sizeof(want), "%u\n", code);
	if (rc != (int)code || strcmp(out, want) || strncmp(err, "here ", 5))
		fail("exec ended with %d, not %u", rc, code);
}

static void try_exec_detached(void)
{
	(void)unlink(path("shared/d"));
	run("exec", "-d", "--pid-file", path("exec.pid"), c.id, "sh", "-c", "echo done >/shared/d",
		NULL);
	good("exec -d");
	wait_line(path("shared/d"), "done");
}

static void try_signal(void)
{
	char n[16];

	run("kill", c.id, "USR1", NULL);
	good("kill USR1");
	(void)snprintf(n, sizeof(n), "%d", ++c.usr1);
	wait_line(path("shared/usr1"), n);
}

static void try_update(void)
{
	char n[16];

	(void)snprintf(n, sizeof(n), "%u", 64 + pick(64));
	run("update", "--pids-limit", n, c.id, NULL);
	good("update");
	run("exec", c.id, "cat", "/sys/fs/cgroup/pids.max", NULL);
	out[strcspn(out, "\n")] = 0;
	if (rc || strcmp(out, n))
		fail("pids.max is not %s", n);
}

static void try_list(void)
{
	char *line, *save = NULL;
	bool found = false;

	run("list", NULL);
	good("list");
	for (line = strtok_r(out, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char id[64], status[32];

		if (sscanf(line, "%63s %*s %31s", id, status) == 2 && !strcmp(id, c.id))
			found = !strcmp(status, c.status);
	}
	if (!found)
		fail("the list does not say so");
	if (!strcmp(c.status, "running")) {
		run("ps", "--format", "json", c.id, NULL);
		if (rc || !strpbrk(out, "123456789"))
			fail("ps");
	}
}

static void try_pause(void)
{
	run("pause", c.id, NULL);
	good("pause");
	is(c.status = "paused");
	if (pick(2)) {
		run("exec", c.id, "true", NULL);
		refused("paused");
	}
	if (pick(2)) {
		run("delete", c.id, NULL);
		refused("paused");
	}
	run("pause", c.id, NULL);
	good("a second pause"); /* as crun has it */
	is("paused");
	run("resume", c.id, NULL);
	good("resume");
	is(c.status = "running");
}

static void start(void)
{
	run("start", c.id, NULL);
	good("start");
	c.status = "running";
	wait_line(path("%s.out", c.id), "up");
	is("running");
}

/* What a container of its status may be asked for, some of it wrongly. */
static void step(void)
{
	bool created = !strcmp(c.status, "created");

	switch (pick(8)) {
	case 0:
		return try_list();
	case 1:
	case 2:
		return try_exec();
	case 3:
		return created ? start() : try_exec_detached();
	case 4:
		return created ? start() : try_signal();
	case 5:
		return created ? start() : try_update();
	case 6:
		return created ? start() : try_pause();
	default:
		if (created)
			return start();
		run(pick(2) ? "start" : "delete", c.id, NULL);
		refused("running");
	}
}

static void create(void)
{
	const char *argv[] = { "krun-oci", "create", "--bundle", path("b"), "--pid-file",
		path("pid"), c.id, NULL };
	int status;

	(void)unlink(argv[5]);
	status = await(begin(argv, path("%s.out", c.id), path("%s.err", c.id)), CREATE_S, "create");
	rc = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	out[0] = 0;
	slurp(path("%s.err", c.id), err);
	good("create");
	slurp(path("pid"), out);
	c.vmm = atoi(out);
	if (c.vmm <= 1)
		fail("no pid in the pid file");
	is(c.status = "created");
}

/* One of the ways to end, and what a parent of the VMM sees then. */
static void finish(void)
{
	bool created = !strcmp(c.status, "created");
	unsigned how = pick(4);
	int want, status, code;

	if (how == 3) {
		run("delete", "--force", c.id, NULL);
		good("delete --force");
		want = 137;
	} else {
		want = created || how == 2 ? 137 : c.code;
		run("kill", c.id, want == 137 ? "KILL" : "TERM", NULL);
		good("kill");
	}
	status = c.ended ? c.wait_status : await(c.vmm, WAIT_S, "the VMM");
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (code != want)
		fail("it ended with %d, not %d", code, want);
	if (how != 3) {
		is(c.status = "stopped");
		if (pick(2)) {
			run(pick(2) ? "kill" : "exec", c.id, "TERM", NULL);
			refused("stopped|not running|no such process");
		}
		if (pick(2))
			try_list();
		run("delete", c.id, NULL);
		good("delete");
	}
	run("state", c.id, NULL);
	if (!rc || !strstr(err, "does not exist"))
		fail("it is still there");
}

/* Nobody of it is left; what a detached exec has left behind ends with the VM. */
static void no_children(void)
{
	const time_t end = time(NULL) + WAIT_S;

	while (waitpid(-1, NULL, WNOHANG) >= 0) {
		if (time(NULL) >= end)
			fail("children are left");
		nap(5);
	}
}

static void write_config(void)
{
	static char text[TEXT];
	int fd = open(path("b/config.json"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char *at;

	slurp(path("config.json"), text);
	at = strstr(text, "@CODE");
	if (fd < 0 || !at)
		fail("no config to write, or no @CODE in it");
	(void)dprintf(fd, "%.*s%d%s", (int)(at - text), text, c.code, at + 5);
	(void)close(fd);
}

static void live(const char *id, long n)
{
	memset(&c, 0, sizeof(c));
	(void)snprintf(c.id, sizeof(c.id), "%s-%ld", id, n);
	c.code = (int)(1 + pick(120));
	(void)unlink(path("shared/usr1"));
	write_config();
	create();
	for (unsigned k = 2 + pick(8); k > 0; k--)
		step();
	finish();
	no_children();
	(void)unlink(path("%s.out", c.id));
	(void)unlink(path("%s.err", c.id));
}

int main(int argc, char **argv)
{
	long n, count, by, lived = 0;

	if (argc != 7)
		return 2;
	dir = argv[1];
	n = atol(argv[3]);
	count = atol(argv[4]);
	by = atol(argv[5]);
	srandom((unsigned)(atol(argv[6]) + n));
	if (by <= 0 || prctl(PR_SET_CHILD_SUBREAPER, 1))
		return 2;
	for (; n < count; n += by, lived++)
		live(argv[2], n);
	printf("%ld\n", lived);
	return 0;
}
