// SPDX-License-Identifier: Apache-2.0
/* startContainer hooks: programs of the container, run in it before its own. */

/*
 * How it works
 *
 * The child that becomes the workload has been released; it is PID 1 of the container's pid
 * namespace, root, and everything but the settings of its own process is in place. It forks for
 * each hook in turn and waits. stdin is a memfd with the state, so that a hook that does not read
 * it is not waited for; output goes where the workload's will. That the exec failed comes back
 * through a pipe that closes on exec.
 */
#include "child.h"
#include "sys.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static int __attribute__((format(printf, 3, 4))) say(struct fail *f, int err, const char *fmt, ...)
{
	va_list ap;

	f->err = -err;
	va_start(ap, fmt);
	(void)vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return -err;
}

static int state_fd(const struct blob_view *s)
{
	const char *text = s->hook_state ? s->hook_state : "{}";
	size_t len = strlen(text), done = 0;
	int fd = memfd_create("state", MFD_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = -errno;
			(void)close(fd);
			return err;
		}
		done += (size_t)n;
	}
	return fd;
}

static _Noreturn void become_hook(
	struct child *c, const struct blob_view_hook *h, int state, int report)
{
	char **env = h->h.flags & BLOB_HOOK_ENV ? h->env : c->s->env;
	int out = c->tty >= 0 ? c->tty : c->fds[1], err = c->tty >= 0 ? c->tty : c->fds[2], e;

	(void)umask(022);
	/* a group of its own, to be killed with what it starts */
	(void)setpgid(0, 0);
	if (lseek(state, 0, SEEK_SET) == 0 && dup2(state, 0) == 0 && dup2(out, 1) == 1 &&
		dup2(err, 2) == 2 && !chdir("/")) {
		(void)sys_close_range(3, ~0u, 4 /* on exec */);
		(void)execve(h->path, h->args, env);
	}
	e = errno;
	(void)!write(report, &e, sizeof(e));
	_exit(127);
}

static int64_t now_ms(void)
{
	struct timespec ts = { 0 };

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Its wait status, after at most @seconds; -ETIMEDOUT when it had to be killed. */
static int wait_hook(pid_t pid, unsigned seconds, int *status)
{
	int fd = (int)syscall(NR_pidfd_open, pid, 0), err = fd < 0 ? -errno : 0, n = 0;
	int64_t end = now_ms() + 1000 * (int64_t)seconds, left;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (!err && !n) {
		left = end - now_ms();
		if (seconds && left <= 0)
			err = -ETIMEDOUT;
		else
			n = poll(&p, 1, seconds ? (int)left : -1);
		if (n < 0)
			n = errno == EINTR ? 0 : 1;
	}
	if (err)
		(void)kill(-pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	if (fd >= 0)
		(void)close(fd);
	return err;
}

static int run_one(struct child *c, size_t i, int state, struct fail *f)
{
	static const char start[] = "error running startContainer hook";
	const struct blob_view_hook *h = &c->s->hooks[i];
	int pp[2], st = 0, e = 0, err;
	pid_t pid;
	ssize_t n;

	if (pipe2(pp, O_CLOEXEC))
		return say(f, errno, "%s #%zu: %s", start, i, strerror(errno));
	pid = fork();
	if (!pid)
		become_hook(c, h, state, pp[1]);
	(void)close(pp[1]);
	if (pid < 0) {
		(void)close(pp[0]);
		return say(f, EAGAIN, "%s #%zu: fork: %s", start, i, strerror(EAGAIN));
	}
	(void)setpgid(pid, pid);
	do {
		n = read(pp[0], &e, sizeof(e));
	} while (n < 0 && errno == EINTR);
	(void)close(pp[0]);
	err = wait_hook(pid, h->h.timeout, &st);
	if (n == (ssize_t)sizeof(e))
		return say(f, e, "%s #%zu: \"%s\": %s", start, i, h->path, strerror(e));
	if (err == -ETIMEDOUT)
		return say(f, ETIMEDOUT, "%s #%zu: \"%s\": timed out after %u s and was killed",
			start, i, h->path, h->h.timeout);
	if (err)
		return say(f, -err, "%s #%zu: \"%s\": %s", start, i, h->path, strerror(-err));
	if (WIFSIGNALED(st))
		return say(f, ECANCELED, "%s #%zu: \"%s\": killed by signal %d", start, i, h->path,
			WTERMSIG(st));
	if (WEXITSTATUS(st))
		return say(f, ECANCELED, "%s #%zu: \"%s\": exit status %d", start, i, h->path,
			WEXITSTATUS(st));
	return 0;
}

int hooks_run(struct child *c, struct fail *f)
{
	int state, err = 0;

	if (!c->s->nhooks)
		return 0;
	state = state_fd(c->s);
	if (state < 0)
		return say(f, -state, "the state for startContainer hooks: %s", strerror(-state));
	for (size_t i = 0; i < c->s->nhooks && !err; i++)
		err = run_one(c, i, state, f);
	(void)close(state);
	/* what they left behind is ours now, as PID 1, and must not surprise the workload */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return err;
}
