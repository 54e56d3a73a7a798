// SPDX-License-Identifier: Apache-2.0
/* The settings of one process, in the order in which each still has the rights it needs, and the
 * exec. */
/*
 * How it works
 *
 * apply() is the order, from what needs most rights to what needs none: rlimits, priorities and
 * descriptors as root; the working directory, tried as root and again as the user; the bounding set
 * before the capability to shrink it is gone; groups before the uid, which would forbid them; the
 * capability sets after it, kept over the change by PR_SET_KEEPCAPS; no_new_privs and the seccomp
 * filter last, so that the filter need not allow what was done before. Only where neither
 * no_new_privs nor CAP_SYS_ADMIN is left at the end is the filter set early.
 *
 * A PID 1 is not ended by signals that it has no handler for. Where the program is not to be one, a
 * child of this process executes it, with all of these settings, and this one waits for it.
 *
 * Ids are changed by plain system calls: the wrappers of the C library are for processes of several
 * threads, which this is not.
 */
#include "child.h"
#include "sys.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define K_CAP_SYS_ADMIN 21
#define K_CAP_V3	0x20080522
#define DEFAULT_PATH	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int set_sched(const struct blob_process *p, struct fail *f)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} a = { sizeof(a), p->sched_policy, p->sched_flags, p->sched_nice, p->sched_priority,
		p->sched_runtime, p->sched_deadline, p->sched_period };
	uint64_t mask = p->cpu_mask;

	if (p->flags & BLOB_P_SCHED && syscall(SYS_sched_setattr, 0, &a, 0))
		return fail_set(f, errno, "scheduler", NULL);
	if (mask && syscall(SYS_sched_setaffinity, 0, sizeof(mask), &mask))
		return fail_set(f, errno, "CPU affinity", NULL);
	if (p->flags & BLOB_P_IOPRIO && syscall(SYS_ioprio_set, 1, 0, p->ioprio))
		return fail_set(f, errno, "I/O priority", NULL);
	return 0;
}

static int set_limits(struct child *c, struct fail *f)
{
	const struct blob_process *p = &c->s->p;
	char num[16];
	int err;

	if (p->flags & BLOB_P_OOM) {
		(void)snprintf(num, sizeof(num), "%d", p->oom_score_adj);
		err = child_write_self(c, "oom_score_adj", num);
		if (err)
			return fail_set(f, err, "oom_score_adj", NULL);
	}
	err = set_sched(p, f);
	for (size_t i = 0; i < c->s->nrlimits && !err; i++) {
		const struct blob_rlimit *r = &c->s->rlimits[i];
		uint64_t lim[2] = { r->soft, r->hard };

		if (syscall(SYS_prlimit64, 0, r->resource, lim, NULL)) {
			(void)snprintf(num, sizeof(num), "%u", r->resource);
			err = fail_set(f, errno, "rlimit number", num);
		}
	}
	return err;
}

/* Behind stderr they may overwrite what the set-up has opened and left: all of that is closed by
 * the exec anyway, and nothing after this uses it. */
static int set_stdio(struct child *c, struct fail *f)
{
	const struct blob_process *p = &c->s->p;
	struct stat st;

	for (int i = 0; i < (int)c->nfds; i++) {
		bool tty = i < 3 && c->tty >= 0;
		int fd = tty ? c->tty : c->fds[i];

		/* A user who is not root may open /proc/self/fd/1 again only if the pipe is theirs.
		 */
		if (!tty && !fstat(fd, &st) && S_ISFIFO(st.st_mode))
			(void)fchown(fd, p->uid, p->gid);
		if (dup2(fd, i) < 0)
			return fail_set(f, errno, "stdio", NULL);
	}
	if (setsid() < 0)
		return fail_set(f, errno, "setsid", NULL);
	if (c->tty >= 0 && ioctl(0, TIOCSCTTY, 0))
		return fail_set(f, errno, "controlling terminal", NULL);
	return 0;
}

static int make_cwd(const char *path)
{
	char copy[BLOB_MAX_PATH];

	memcpy(copy, path, strlen(path) + 1);
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		(void)mkdir(copy, 0755);
		*p = '/';
	}
	(void)mkdir(copy, 0755);
	return chdir(path) ? -errno : 0;
}

/* Before the user is set, with the rights of root; what only the user may enter is tried again
 * after. Made for the container's own process alone: an exec must not write into the image. */
static int set_cwd(struct child *c, bool *retry, struct fail *f)
{
	const char *cwd = c->s->cwd;
	int err;

	if (!chdir(cwd))
		return 0;
	err = -errno;
	if (err == -ENOENT && c->init_pidfd < 0)
		err = make_cwd(cwd);
	*retry = err == -EACCES;
	return err && !*retry ? fail_set(f, err, "cwd", cwd) : 0;
}

static int last_cap(void)
{
	int n = 0;

	while (n < 63 && prctl(PR_CAPBSET_READ, n + 1, 0, 0, 0) >= 0)
		n++;
	return n;
}

static int drop_bounding(const struct blob_process *p, int last, struct fail *f)
{
	for (int i = 0; i <= last; i++) {
		if (!(p->caps[BLOB_CAP_BND] >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0))
			return fail_set(f, errno, "bounding capabilities", NULL);
	}
	return 0;
}

static int set_caps(const struct blob_process *p, int last, struct fail *f)
{
	uint64_t all = last >= 63 ? ~0ULL : (1ULL << (last + 1)) - 1;
	uint64_t e = p->caps[BLOB_CAP_EFF] & all, m = p->caps[BLOB_CAP_PRM] & all,
		 i = p->caps[BLOB_CAP_INH] & all;
	struct {
		uint32_t version;
		int pid;
	} hdr = { K_CAP_V3, 0 };
	struct {
		uint32_t e, m, i;
	} data[2] = { { (uint32_t)e, (uint32_t)m, (uint32_t)i },
		{ (uint32_t)(e >> 32), (uint32_t)(m >> 32), (uint32_t)(i >> 32) } };

	if (syscall(SYS_capset, &hdr, data))
		return fail_set(f, errno, "capabilities", NULL);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		return fail_set(f, errno, "ambient capabilities", NULL);
	for (int n = 0; n <= last; n++) {
		/* The kernel raises only what is permitted and inheritable; the rest was never
		 * grantable. */
		if (p->caps[BLOB_CAP_AMB] & m & i & 1ULL << n &&
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0))
			return fail_set(f, errno, "ambient capabilities", NULL);
	}
	return 0;
}

static int set_user(struct child *c, struct fail *f)
{
	const struct blob_process *p = &c->s->p;

	if (syscall(SYS_setgroups, c->s->ngids, c->s->gids))
		return fail_set(f, errno, "additional groups", NULL);
	if (syscall(SYS_setresgid, p->gid, p->gid, p->gid))
		return fail_set(f, errno, "gid", NULL);
	if (p->flags & BLOB_P_CAPS && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
		return fail_set(f, errno, "keeping capabilities", NULL);
	if (syscall(SYS_setresuid, p->uid, p->uid, p->uid))
		return fail_set(f, errno, "uid", NULL);
	if (p->flags & BLOB_P_CAPS && prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0))
		return fail_set(f, errno, "keeping capabilities", NULL);
	return 0;
}

static int set_seccomp(const struct blob_view *s, struct fail *f)
{
	struct {
		unsigned short len;
		const void *filter;
	} prog = { (unsigned short)s->nbpf, s->bpf };

	if (s->nbpf && syscall(SYS_seccomp, 1 /* set a filter */, s->seccomp_flags, &prog) < 0)
		return fail_set(f, errno, "seccomp", NULL);
	return 0;
}

static int apply(struct child *c, struct fail *f)
{
	const struct blob_process *p = &c->s->p;
	/* A filter needs no_new_privs or CAP_SYS_ADMIN: without either at the end it goes in while
	 * there is one. */
	bool early = !(p->flags & BLOB_P_NO_NEW_PRIVS) && (p->flags & BLOB_P_CAPS || p->uid) &&
		!(p->flags & BLOB_P_CAPS && p->caps[BLOB_CAP_EFF] >> K_CAP_SYS_ADMIN & 1);
	bool retry = false;
	int last = last_cap(), err;

	err = set_limits(c, f);
	if (!err)
		err = set_stdio(c, f);
	if (!err && p->flags & BLOB_P_PERSONALITY && personality(p->personality) < 0)
		err = fail_set(f, errno, "personality", NULL);
	if (!err)
		err = set_cwd(c, &retry, f);
	if (!err && early)
		err = set_seccomp(c->s, f);
	if (!err && p->flags & BLOB_P_CAPS)
		err = drop_bounding(p, last, f);
	if (!err)
		err = set_user(c, f);
	if (!err && p->flags & BLOB_P_CAPS)
		err = set_caps(p, last, f);
	if (!err && retry && chdir(c->s->cwd))
		err = fail_set(f, errno, "cwd", c->s->cwd);
	(void)umask(p->flags & BLOB_P_UMASK ? p->umask : 022);
	if (!err && p->flags & BLOB_P_NO_NEW_PRIVS && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = fail_set(f, errno, "no_new_privs", NULL);
	if (!err && !early)
		err = set_seccomp(c->s, f);
	return err;
}

static const char *find_path(const struct blob_view *s)
{
	for (size_t i = 0; i < s->nenv; i++) {
		if (!strncmp(s->env[i], "PATH=", 5))
			return s->env[i] + 5;
	}
	return DEFAULT_PATH;
}

/* Tries each directory of PATH. The error that tells most wins: found but not executable, rather
 * than not there. */
static int exec_search(const struct blob_view *s, char **env)
{
	const char *file = s->args[0], *p = find_path(s), *end;
	char path[BLOB_MAX_PATH];
	size_t flen = strlen(file);
	int err = ENOENT;

	if (!*file)
		return -ENOENT;
	if (strchr(file, '/')) {
		(void)execve(file, s->args, env);
		return -errno;
	}
	for (;; p = end + 1) {
		size_t n;

		end = p + strcspn(p, ":");
		n = (size_t)(end - p);
		if (n + flen + 2 <= sizeof(path)) {
			memcpy(path, n ? p : ".", n ? n : 1);
			n = n ? n : 1;
			path[n] = '/';
			memcpy(path + n + 1, file, flen + 1);
			(void)execve(path, s->args, env);
			if (errno != ENOENT && errno != ENOTDIR) {
				err = errno;
				if (errno != EACCES)
					return -err;
			}
		}
		if (!*end)
			return -err;
	}
}

/* PID 1 where the program is not: it takes those whom nobody waits for, and ends as the program
 * did. Nothing that somebody waits for the end of may stay open here. */
static _Noreturn void reap(pid_t program)
{
	pid_t pid;
	int st = 0;

	(void)sys_close_range(0, ~0u, 0);
	do {
		pid = waitpid(-1, &st, 0);
	} while (pid != program && (pid > 0 || errno == EINTR));
	_exit(WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st));
}

/* The program stays in the session and the process group of its parent, so that what is typed
 * reaches it; a PID 1 does not feel that. */
static int below_reaper(struct fail *f)
{
	pid_t pid = fork();

	if (pid > 0)
		reap(pid);
	return pid < 0 ? fail_set(f, errno, "making a process", NULL) : 0;
}

int process_exec(struct child *c, uint32_t *stage, struct fail *f)
{
	/* while everything can be read */
	char **env = env_with_home(c->s);
	int err;

	*stage = MSG_STAGE_SETUP;
	/* before the filter, which need not allow it */
	(void)sys_close_range(3, ~0u, 4 /* on exec */);
	err = apply(c, f);
	if (!err && c->s->p.flags & BLOB_P_REAPER)
		err = below_reaper(f);
	if (err)
		return err;
	*stage = MSG_STAGE_EXEC;
	return fail_set(f, exec_search(c->s, env), "exec", c->s->args[0]);
}
