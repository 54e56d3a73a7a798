// SPDX-License-Identifier: Apache-2.0
// Starts one command in the test host and finds the processes that came of it.
/*
 * How it works: the request is one block of zero-terminated strings (directory, environment,
 * arguments) that is checked while it is cut up. The command gets pipes or a terminal, a session of
 * its own and every signal as by default. What came of it is found in /proc: as the server is a
 * subreaper, everything that descends from the command, daemons included, has the server as its
 * ancestor, so the tree below our PID is exactly that. It is used to say where each process sleeps,
 * and to kill.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define MAX_PROCS 4096

/* The next zero-terminated string of the request, or NULL where it has no end. */
static char *next_string(char **at, const char *end)
{
	char *s = *at;
	char *zero = memchr(s, 0, (size_t)(end - s));

	if (!zero)
		return NULL;
	*at = zero + 1;
	return s;
}

static char **next_strings(char **at, const char *end, uint32_t n)
{
	char **list;

	if (n > (size_t)(end - *at)) /* each takes at least its zero */
		return NULL;
	list = calloc((size_t)n + 1, sizeof(*list));
	if (!list)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		list[i] = next_string(at, end);
		if (!list[i]) {
			free(list);
			return NULL;
		}
	}
	return list;
}

/* In the child. Errors go to the new stderr, where the user looks for them. */
static void __attribute__((noreturn))
run_child(const int fds[3], bool tty, const char *dir, char **env, char **args)
{
	struct rlimit nofile = { 1024, 524288 };
	sigset_t none;
	int code;

	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	for (int i = 0; i < 3; i++)
		if (dup2(fds[i], i) < 0)
			_exit(125);
	if (tty)
		ioctl(0, TIOCSCTTY, 0);
	setrlimit(RLIMIT_NOFILE, &nofile);
	if (chdir(dir) < 0) {
		dprintf(2, "test host: cannot enter %s: %s\n", dir, strerror(errno));
		_exit(125);
	}
	environ = env;
	execvp(args[0], args);
	code = errno == ENOENT ? 127 : 126;
	dprintf(2, "test host: %s: %s\n", args[0], strerror(errno));
	_exit(code);
}

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

/* fds: the child's 0, 1, 2; mine: our ends of them. */
static int open_pipes(int fds[3], int mine[3], bool with_stdin)
{
	int p[2];

	if (with_stdin) {
		if (pipe2(p, O_CLOEXEC) < 0)
			return -errno;
		fds[0] = p[0];
		mine[0] = p[1];
	} else {
		fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (fds[0] < 0)
			return -errno;
	}
	for (int i = 1; i < 3; i++) {
		if (pipe2(p, O_CLOEXEC) < 0)
			return -errno;
		mine[i] = p[0];
		fds[i] = p[1];
	}
	for (int i = 0; i < 3; i++)
		if (mine[i] >= 0 && fcntl(mine[i], F_SETFL, O_NONBLOCK) < 0)
			return -errno;
	return 0;
}

static int open_terminal(int fds[3], int mine[3], uint32_t rows, uint32_t cols)
{
	struct winsize ws = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
	char name[64];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (master < 0)
		return -errno;
	mine[0] = mine[1] = master;
	if (grantpt(master) < 0 || unlockpt(master) < 0 ||
		ptsname_r(master, name, sizeof(name)) != 0)
		return -EIO;
	ioctl(master, TIOCSWINSZ, &ws);
	fds[0] = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fds[0] < 0)
		return -errno;
	fds[1] = dup(fds[0]);
	fds[2] = dup(fds[0]);
	return fds[1] < 0 || fds[2] < 0 ? -errno : 0;
}

static int start(
	struct job *job, const struct chan_request *rq, const char *dir, char **env, char **args)
{
	int fds[3] = { -1, -1, -1 }, mine[3] = { -1, -1, -1 };
	bool tty = rq->flags & CHAN_REQ_TTY;
	pid_t pid = -1;
	int ret;

	ret = tty ? open_terminal(fds, mine, rq->rows, rq->cols)
		  : open_pipes(fds, mine, rq->flags & CHAN_REQ_STDIN);
	if (ret == 0) {
		pid = fork();
		if (pid == 0)
			run_child(fds, tty, dir, env, args);
		if (pid < 0)
			ret = -errno;
	}
	close_all(fds, 3);
	if (ret < 0) {
		if (tty)
			mine[1] = -1; /* the same as mine[0] */
		close_all(mine, 3);
		return ret;
	}
	*job = (struct job){ .pid = pid, .in = mine[0], .out = mine[1], .err = mine[2] };
	return 0;
}

/*
 * The clock chip counts whole seconds, so files written outside would have times in our future.
 * Once per boot: later steps would disturb what runs.
 */
static void set_clock(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000),
		.tv_nsec = (long)(ns % 1000000000) };
	int fd = open("/run/testhost/clock", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	if (fd < 0)
		return;
	close(fd);
	if (clock_settime(CLOCK_REALTIME, &t) < 0)
		fprintf(stderr, "testhost-agent: clock_settime: %s\n", strerror(errno));
}

int job_start(struct job *job, char *req, size_t len, char *msg, size_t msg_len)
{
	struct chan_request rq;
	char *at, **env, **args, *dir;
	int ret = -EINVAL;

	snprintf(msg, msg_len, "test host: the request is malformed\n");
	if (len < sizeof(rq))
		return ret;
	memcpy(&rq, req, sizeof(rq));
	at = req + sizeof(rq);
	dir = next_string(&at, req + len);
	env = dir ? next_strings(&at, req + len, rq.nenv) : NULL;
	args = env && rq.nargs ? next_strings(&at, req + len, rq.nargs) : NULL;
	if (args) {
		set_clock(rq.clock_ns);
		ret = start(job, &rq, dir, env, args);
		snprintf(msg, msg_len, "test host: cannot start %s: %s\n", args[0], strerror(-ret));
	}
	free(args);
	free(env);
	return ret;
}

static ssize_t read_proc(pid_t pid, const char *what, char *buf, size_t len)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, buf, len - 1);
	close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n;
}

struct proc {
	pid_t pid, parent;
	char state;
};

static unsigned int read_procs(struct proc *procs, unsigned int max)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	unsigned int n = 0;

	while (dir && n < max && (e = readdir(dir))) {
		pid_t pid = (pid_t)atoi(e->d_name);
		char stat[512], *p;

		if (pid <= 0 || read_proc(pid, "stat", stat, sizeof(stat)) <= 0)
			continue;
		p = strrchr(stat, ')'); /* the name before it may hold anything */
		if (p && strlen(p) > 4)
			procs[n++] = (struct proc){
				.pid = pid, .state = p[2], .parent = (pid_t)atoi(p + 4)
			};
	}
	if (dir)
		closedir(dir);
	return n;
}

/* Moves our descendants to the front of the list; how many. Whatever thread forked a process, its
 * parent is the process. */
static unsigned int find_tree(struct proc *procs, unsigned int max)
{
	unsigned int all = read_procs(procs, max), n = 0, done = 0;
	pid_t at = getpid();

	for (;;) {
		for (unsigned int i = n; i < all; i++) {
			struct proc p = procs[i];

			if (p.parent != at)
				continue;
			procs[i] = procs[n];
			procs[n++] = p;
		}
		if (done == n)
			return n;
		at = procs[done++].pid;
	}
}

unsigned int tree_signal(int sig)
{
	static struct proc procs[MAX_PROCS];
	unsigned int n = find_tree(procs, MAX_PROCS), alive = 0;

	for (unsigned int i = 0; i < n; i++) {
		if (procs[i].state == 'Z')
			continue;
		alive++;
		kill(procs[i].pid, sig);
	}
	return alive;
}

/* What a file of a thread says, in one line. */
static void read_line(pid_t pid, const char *tid, const char *what, char *buf, size_t len)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "task/%s/%s", tid, what);
	if (read_proc(pid, name, buf, len) <= 0)
		buf[0] = 0;
	buf[strcspn(buf, "\n")] = 0;
}

/* The functions of a thread's kernel stack in one line, the innermost first. */
static void read_stack(pid_t pid, const char *tid, char *buf, size_t len)
{
	char path[64], stack[1600], name[64];
	char *line, *save = NULL;
	size_t used = 0;

	buf[0] = 0;
	(void)snprintf(path, sizeof(path), "task/%s/stack", tid);
	if (read_proc(pid, path, stack, sizeof(stack)) <= 0)
		return;
	for (line = strtok_r(stack, "\n", &save); line && used < len;
		line = strtok_r(NULL, "\n", &save))
		if (sscanf(line, "%*s %63[^/+ ]", name) == 1)
			used += (size_t)snprintf(
				buf + used, len - used, "%s%s", used ? " < " : "", name);
}

/* A line of a thread's status, without its name. */
static void read_status(pid_t pid, const char *tid, const char *key, char *buf, size_t len)
{
	char path[64], text[2048];
	char *at;

	buf[0] = 0;
	(void)snprintf(path, sizeof(path), "task/%s/status", tid);
	if (read_proc(pid, path, text, sizeof(text)) <= 0)
		return;
	at = strstr(text, key);
	if (!at)
		return;
	at += strlen(key);
	(void)snprintf(buf, len, "%.*s", (int)strcspn(at, "\n"), at);
}

/* One thread, two lines: its state, name and ticks of CPU time, the system call that it is in, the
 * signals that wait for it and those it blocks; its kernel stack. */
static size_t describe_thread(
	const struct proc *p, const char *tid, bool running, char *buf, size_t len)
{
	char name[64], stat[512], syscall[160], stack[800], pending[32], blocked[32];
	unsigned long user = 0, sys = 0;
	const char *state;
	size_t used;

	read_line(p->pid, tid, "comm", name, sizeof(name));
	read_line(p->pid, tid, "stat", stat, sizeof(stat));
	state = strrchr(stat, ')');
	if (running && (!state || strncmp(state, ") R", 3) != 0))
		return 0;
	read_line(p->pid, tid, "syscall", syscall, sizeof(syscall));
	read_stack(p->pid, tid, stack, sizeof(stack));
	read_status(p->pid, tid, "SigPnd:\t", pending, sizeof(pending));
	read_status(p->pid, tid, "SigBlk:\t", blocked, sizeof(blocked));
	if (state) /* fields 14 and 15 of stat, behind the name's, 2 */
		(void)sscanf(state + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lu %lu",
			&user, &sys);
	used = (size_t)snprintf(buf, len,
		"    %s %c %s, ticks %lu+%lu, system call %s, pending %s, blocked %s\n      %s\n",
		tid, state && strlen(state) > 2 ? state[2] : '?', name, user, sys, syscall, pending,
		blocked, stack);
	return used < len ? used : len;
}

static size_t describe_one(const struct proc *p, bool running, char *buf, size_t len)
{
	char cmd[200], path[64];
	ssize_t n = read_proc(p->pid, "cmdline", cmd, sizeof(cmd));
	struct dirent *e;
	size_t used;
	DIR *tasks;

	for (ssize_t i = 0; i + 1 < n; i++)
		if ((unsigned char)cmd[i] < 0x20)
			cmd[i] = ' ';
	if (n <= 0)
		n = read_proc(p->pid, "comm", cmd, sizeof(cmd));
	cmd[strcspn(cmd, "\n")] = 0;
	used = running ? 0 : (size_t)snprintf(buf, len, "  %d %c %s\n", p->pid, p->state, cmd);
	if (used >= len)
		return len;
	(void)snprintf(path, sizeof(path), "/proc/%d/task", p->pid);
	tasks = opendir(path);
	while (tasks && used < len && (e = readdir(tasks)))
		if (e->d_name[0] != '.')
			used += describe_thread(p, e->d_name, running, buf + used, len - used);
	if (tasks)
		closedir(tasks);
	return used < len ? used : len;
}

size_t memory_describe(char *buf, size_t len)
{
	unsigned long total = 0, unused = 0, available = 0;
	FILE *f = fopen("/proc/meminfo", "re");
	int used = 0;

	if (f &&
		fscanf(f, "MemTotal: %lu kB MemFree: %lu kB MemAvailable: %lu", &total, &unused,
			&available) == 3)
		used = snprintf(buf, len, "  memory: %lu MiB, %lu free, %lu available\n",
			total >> 10, unused >> 10, available >> 10);
	if (f)
		(void)fclose(f);
	return used > 0 && (size_t)used < len ? (size_t)used : 0;
}

size_t tree_describe(bool running, char *buf, size_t len)
{
	static struct proc procs[MAX_PROCS];
	unsigned int n = running ? read_procs(procs, MAX_PROCS) : find_tree(procs, MAX_PROCS);
	size_t used = 0;

	for (unsigned int i = 0; i < n && used < len; i++)
		if (!running || procs[i].pid != getpid())
			used += describe_one(&procs[i], running, buf + used, len - used);
	return used;
}
