// SPDX-License-Identifier: Apache-2.0
/* Runs hooks of the host. */
/*
 * How it works
 *
 * A clone that shares the address space until the exec, as posix_spawn() makes one: it may be made
 * in the VMM process too, where a fork would copy a virtual machine, and it tells why an exec
 * failed. (posix_spawn() itself cannot ask for a signal when the parent dies.) The state is a memfd
 * and not a pipe, so that a hook that reads none of it, or closes its stdin, holds nobody. The hook
 * is awaited by a pidfd, beside that of the container: who deletes a container by force while its
 * hook hangs need not wait for the hook.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "oci/clock.h"
#include "oci/fsutil.h"
#include "oci/hooks.h"
#include "oci/json_write.h"
#include "util/cleanup.h"
#include "util/log.h"

uint32_t hooks_in(const struct spec *s)
{
	uint32_t bits = 0;

	for (int k = 0; k < SPEC_HOOK_KINDS; k++)
		bits |= s->hooks[k].n ? HOOK_BIT(k) : 0;
	return bits;
}

unsigned hooks_ms(const struct spec *s, enum spec_hook_kind kind, unsigned ms)
{
	uint64_t sum = ms;

	for (size_t i = 0; i < s->hooks[kind].n; i++) {
		if (!s->hooks[kind].v[i].timeout)
			return UINT_MAX;
		sum += 1000ULL * s->hooks[kind].v[i].timeout;
	}
	return (unsigned)MIN(sum, (uint64_t)INT_MAX);
}

int hooks_state_json(const struct spec *s, const struct container *c, const char *status, pid_t pid,
	char **out, size_t *len)
{
	struct json_writer w;

	jw_init(&w, false);
	jw_object(&w, NULL);
	jw_string(&w, "ociVersion", c->version ? c->version : "1.0.0");
	jw_string(&w, "id", c->id);
	jw_string(&w, "status", status);
	jw_i64(&w, "pid", pid);
	jw_string(&w, "bundle", c->bundle);
	jw_string(&w, "root", c->rootfs);
	if (s->n_annotations) {
		jw_object(&w, "annotations");
		for (size_t i = 0; i < s->n_annotations; i++)
			jw_string(&w, s->annotations[i].key, s->annotations[i].value);
		jw_end(&w);
	}
	return jw_finish(&w, out, len);
}

/* A file of memory to be read from its beginning. */
static int state_fd(const char *text, size_t len)
{
	CLEAN_FD int fd = memfd_create("state", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : write_full(fd, text, len);

	if (!r && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r ? r : TAKE_FD(fd);
}

/* Where its output goes: our own, or the file that one of crun's annotations names. Without it
 * hooks that clean up run all the same. */
static int output_fd(
	const struct spec *s, enum spec_hook_kind kind, const char *key, int own, struct error *e)
{
	const char *path = spec_annotation(s, key);
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0644)
		      : fcntl(own, F_DUPFD_CLOEXEC, 3);

	if (fd < 0 && kind == SPEC_HOOK_POSTSTOP) {
		log_warn("poststop hooks: annotations[\"%s\"]: \"%.120s\": %s", key,
			path ? path : "", err_text(errno));
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	return fd >= 0 ? fd
		       : err_sys(e, errno, "config.json: annotations[\"%s\"]: \"%.120s\"", key,
				 path ? path : "");
}

#define STACK_BYTES 65536 /* until the exec */

/* The descriptors of one kind's hooks. */
struct hook_fds {
	int state, out, err, bundle;
};

/* What a hook's process is started with. */
struct begin {
	const struct spec_hook *h;
	const struct hook_fds *d;
	pid_t bound_to; /* it dies with this process, which is its parent; 0: it does not */
	int err;
};

/* In the hook's process, in our memory and on another stack, while we wait. */
static int begin(void *arg)
{
	const struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct begin *b = arg;
	const struct spec_hook *h = b->h;
	const struct hook_fds *d = b->d;
	char *self[] = { (char *)(uintptr_t)h->path, NULL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &dfl, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* the parent may have died before the call */
	if (b->bound_to && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != b->bound_to))
		b->err = -ESRCH;
	else if (!setpgid(0, 0) && dup2(d->state, STDIN_FILENO) >= 0 &&
		dup2(d->out, STDOUT_FILENO) >= 0 && dup2(d->err, STDERR_FILENO) >= 0 &&
		!fchdir(d->bundle) && !close_range(3, ~0U, 0))
		(void)execve(
			h->path, h->args.n ? h->args.v : self, h->env_set ? h->env.v : environ);
	b->err = b->err ? b->err : -errno;
	return 127;
}

static int spawn(const struct spec_hook *h, const struct hook_fds *d, bool bound, pid_t *pid)
{
	struct begin b = { .h = h, .d = d, .bound_to = bound ? getpid() : 0 };
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	sigset_t all, old;
	int r;

	if (stack == MAP_FAILED)
		return -errno;
	/* a handler of ours must not run there */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &old);
	*pid = clone(begin, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, &b);
	r = *pid < 0 ? -errno : b.err;
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	(void)munmap(stack, STACK_BYTES);
	while (*pid > 0 && r && waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}

#define REST_MS 5000 /* of a poststart hook whose container has ended; under LOCK_MS */

/* 0 with its wait status; -ETIMEDOUT or -ESRCH (the container went) after the hook was killed. */
static int wait_hook(pid_t pid, unsigned seconds, const struct hook_state *st, int *status)
{
	CLEAN_FD int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p[] = { { .fd = fd, .events = POLLIN },
		{ .fd = st->watch_fd, .events = POLLIN } };
	int64_t end = now_ms() + 1000 * (int64_t)seconds;
	int r = fd < 0 ? -errno : 0, late = -ETIMEDOUT;
	bool limited = seconds;

	while (!r) {
		int64_t left = MAX(end - now_ms(), (int64_t)0);
		int n = poll(p, ARRAY_SIZE(p), limited ? (int)left : -1);

		if (n < 0 && errno != EINTR)
			r = -errno;
		else if (n > 0 && p[0].revents)
			break;
		else if (n > 0 && p[1].revents && st->outlives &&
			status_read(st->c) == PHASE_STOPPED) {
			/* it goes on, but not for ever: nobody could end it any more */
			p[1].fd = -1;
			if (!limited) {
				limited = true;
				end = now_ms() + REST_MS;
				late = -ESRCH;
			}
		} else if (n > 0 && p[1].revents)
			r = -ESRCH;
		else if (!n && limited && now_ms() >= end)
			r = late;
	}
	/* with what it started */
	if (r)
		(void)kill(-pid, SIGKILL);
	while (waitpid(pid, status, 0) < 0 && errno == EINTR)
		;
	return r;
}

static int run_one(const struct spec_hook *h, const char *name, size_t i, const struct hook_fds *d,
	const struct hook_state *st, struct error *e)
{
	int status = 0, r;
	pid_t pid = 0;

	if (lseek(d->state, 0, SEEK_SET) < 0)
		return err_sys(e, errno, "error running %s hook #%zu: its state", name, i);
	r = spawn(h, d, st->bound, &pid);
	if (r)
		return err_sys(e, r, "error running %s hook #%zu: \"%.120s\"", name, i, h->path);
	r = wait_hook(pid, h->timeout, st, &status);
	if (r == -ETIMEDOUT)
		return err_set(e, r,
			"error running %s hook #%zu: \"%.120s\": timed out after %u s and was killed",
			name, i, h->path, h->timeout);
	if (r == -ESRCH)
		return err_set(e, r,
			"error running %s hook #%zu: \"%.100s\": killed, as the container ended meanwhile",
			name, i, h->path);
	if (r)
		return err_sys(e, r, "error running %s hook #%zu: \"%.120s\"", name, i, h->path);
	if (WIFSIGNALED(status))
		return err_set(e, ECANCELED,
			"error running %s hook #%zu: \"%.120s\": killed by signal %d", name, i,
			h->path, WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, ECANCELED,
			"error running %s hook #%zu: \"%.120s\": exit status %d", name, i, h->path,
			WEXITSTATUS(status));
	return 0;
}

static void close_fds(struct hook_fds *d)
{
	int *fds[] = { &d->state, &d->out, &d->err, &d->bundle };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			(void)close(TAKE_FD(*fds[i]));
	}
}

static int open_fds(const struct spec *s, enum spec_hook_kind kind, const struct hook_state *st,
	struct hook_fds *d, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	size_t len = 0;
	int r = hooks_state_json(s, st->c, st->status, st->pid, &text, &len);

	d->state = r ? r : state_fd(text, len);
	if (d->state < 0)
		return err_sys(e, d->state, "the state for hooks");
	d->out = output_fd(s, kind, "run.oci.hooks.stdout", STDOUT_FILENO, e);
	if (d->out < 0)
		return d->out;
	d->err = output_fd(s, kind, "run.oci.hooks.stderr", STDERR_FILENO, e);
	if (d->err < 0)
		return d->err;
	/* the bundle may be gone when the container is deleted, and hooks are to run all the same
	 */
	d->bundle = open(st->c->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (d->bundle < 0)
		d->bundle = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return d->bundle < 0 ? err_sys(e, errno, "the bundle") : 0;
}

int hooks_run(const struct spec *s, enum spec_hook_kind kind, const struct hook_state *st,
	struct error *e)
{
	CLEAN(close_fds) struct hook_fds d = { -1, -1, -1, -1 };
	const struct spec_hooks *h = &s->hooks[kind];
	struct error lost = { 0 };
	int r = h->n ? open_fds(s, kind, st, &d, &lost) : 0;

	/* the container is gone by then, and whoever deletes it cannot mend anything */
	if (r && kind == SPEC_HOOK_POSTSTOP) {
		log_warn("poststop hooks: %s", lost.msg);
		return 0;
	}
	if (r)
		return err_set(e, r, "%s", lost.msg);
	for (size_t i = 0; i < h->n && !r; i++) {
		struct error why = { 0 };

		r = run_one(&h->v[i], spec_hook_name(kind), i, &d, st, &why);
		if (r && kind == SPEC_HOOK_POSTSTOP) {
			log_warn("%s", why.msg);
			r = 0;
		} else if (r) {
			(void)err_set(e, r, "%s", why.msg);
		}
	}
	return r;
}
