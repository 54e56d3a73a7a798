// SPDX-License-Identifier: Apache-2.0
/* The process that becomes the workload: namespaces, the container's set-up, the wait for release.
 */

/*
 * How it works
 *
 * The agent clones itself into a new pid and mount namespace (and uts and ipc). The clone builds
 * the container with the rights of the guest's root, tells the agent that it is ready and sleeps on
 * its socket. One byte releases it: it takes on the user, capabilities and the rest of the
 * process's settings and executes the program.
 */
#include "child.h"
#include "sys.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define K_TIOCSPTLCK  0x40045431u
#define K_TIOCGPTN    0x80045430u
#define K_TIOCGPTPEER 0x5441u

static void tell(struct child *c, uint32_t what, uint32_t stage, const struct fail *f, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} cm;
	struct sync_msg m = { .what = what, .stage = stage };
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *h;

	if (f)
		m.f = *f;
	if (fd >= 0) {
		memset(&cm, 0, sizeof(cm));
		mh.msg_control = &cm;
		mh.msg_controllen = sizeof(cm);
		h = CMSG_FIRSTHDR(&mh);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	}
	(void)sendmsg(c->sync, &mh, MSG_NOSIGNAL);
}

void child_warn(struct child *c, const struct fail *f)
{
	tell(c, SYNC_WARN, MSG_STAGE_SETUP, f, -1);
}

/* The agent's sockets and pipes must not live on here: their other ends wait for them to be closed.
 */
static void close_others(const struct child *c)
{
	int keep[PROC_FDS + 2] = { c->sync, c->init_pidfd };
	unsigned from = 3;

	memcpy(keep + 2, c->fds, c->nfds * sizeof(c->fds[0]));
	for (;;) {
		unsigned next = ~0u;

		for (size_t i = 0; i < c->nfds + 2; i++) {
			if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		}
		if (next > from)
			(void)sys_close_range(from, next - (next != ~0u), 0);
		if (next == ~0u)
			return;
		from = next + 1;
	}
}

static int raise_fd(int *fd, size_t above)
{
	int high = *fd < 0 || (size_t)*fd >= above ? *fd : fcntl(*fd, F_DUPFD_CLOEXEC, (int)above);

	if (high == *fd)
		return 0;
	if (high < 0)
		return -errno;
	(void)close(*fd);
	*fd = high;
	return 0;
}

/* What is still needed when the workload's descriptors take their places must not stand there. */
static int make_room(struct child *c, struct fail *f)
{
	int err = raise_fd(&c->sync, c->nfds);

	if (!err)
		err = raise_fd(&c->init_pidfd, c->nfds);
	for (size_t i = 0; i < c->nfds && !err; i++)
		err = raise_fd(&c->fds[i], c->nfds);
	return err ? fail_set(f, err, "descriptors", NULL) : 0;
}

static int write_at(int dirfd, const char *name, const char *value, size_t len)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, value, len) != (ssize_t)len)
		err = -errno;
	(void)close(fd);
	return err;
}

int child_write_self(struct child *c, const char *name, const char *value)
{
	return write_at(c->proc_self, name, value, strlen(value));
}

static int set_names(struct child *c, struct fail *f)
{
	const struct blob_view *s = c->s;

	if (s->hostname && syscall(SYS_sethostname, s->hostname, strlen(s->hostname)))
		return fail_set(f, errno, "hostname", s->hostname);
	if (s->domainname && syscall(SYS_setdomainname, s->domainname, strlen(s->domainname)))
		return fail_set(f, errno, "domainname", s->domainname);
	return 0;
}

static int set_time_offsets(struct child *c, struct fail *f)
{
	char line[96];
	int n, err;

	if (!(c->namespaces & K_CLONE_NEWTIME))
		return 0;
	if (syscall(SYS_unshare, K_CLONE_NEWTIME))
		return fail_set(f, errno, "time namespace", NULL);
	for (size_t i = 0; i < c->s->ntimeoffs; i++) {
		const struct blob_timeoff *t = &c->s->timeoffs[i];

		n = snprintf(
			line, sizeof(line), "%u %lld %u", t->clock, (long long)t->secs, t->nsecs);
		err = write_at(c->proc_self, "timens_offsets", line, (size_t)n);
		if (err)
			return fail_set(f, err, "time offsets", NULL);
	}
	return 0;
}

/* A pty of the container's own devpts; *@master goes to the agent, the slave stays in c->tty. */
static int open_tty(struct child *c, int *master, char name[32], struct fail *f)
{
	static const char *const paths[] = { "/dev/pts/ptmx", "/dev/ptmx" };
	const struct blob_process *p = &c->s->p;
	struct winsize ws = { .ws_row = p->rows, .ws_col = p->cols };
	unsigned n = 0;
	int fd = -1, zero = 0;

	for (size_t i = 0; i < 2 && fd < 0; i++)
		fd = open(paths[i], O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return fail_set(f, errno, "terminal: /dev/ptmx", NULL);
	if (ioctl(fd, K_TIOCSPTLCK, &zero) || ioctl(fd, K_TIOCGPTN, &n))
		return fail_set(f, errno, "terminal", NULL);
	c->tty = ioctl(fd, K_TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->tty < 0)
		return fail_set(f, errno, "terminal", NULL);
	(void)fchown(c->tty, p->uid, (gid_t)-1);
	if ((p->rows || p->cols) && ioctl(fd, TIOCSWINSZ, &ws))
		return fail_set(f, errno, "terminal size", NULL);
	(void)snprintf(name, 32, "/dev/pts/%u", n);
	*master = fd;
	return 0;
}

static int open_dirs(struct child *c, struct fail *f)
{
	c->proc_self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	c->proc_sys = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->proc_self < 0 || c->proc_sys < 0)
		return fail_set(f, errno, "/proc of the guest", NULL);
	return 0;
}

static int make_container(struct child *c, int *master, struct fail *f)
{
	bool tty = c->s->p.stdio & BLOB_STDIO(PROTO_TTY);
	char name[32];
	int err = 0, notify = -1;

	if (c->namespaces & K_CLONE_NEWCGROUP && syscall(SYS_unshare, K_CLONE_NEWCGROUP))
		err = fail_set(f, errno, "cgroup namespace", NULL);
	if (!err)
		err = set_names(c, f);
	if (!err)
		err = mounts_build(c, f);
	if (!err)
		err = notify_make(c, &notify, f);
	if (notify >= 0) {
		tell(c, SYNC_NOTIFY, 0, NULL, notify);
		(void)close(notify);
	}
	if (!err)
		err = sysctl_set(c->proc_sys, c->s, f);
	if (!err)
		err = mounts_enter(c, f);
	if (!err && tty)
		err = open_tty(c, master, name, f);
	if (!err && tty)
		err = devices_console(c, name, c->s->p.flags & BLOB_P_HVC0, f);
	if (!err)
		err = set_time_offsets(c, f);
	return err;
}

/* A process that has not been executed yet is itself still in the agent's time namespace. */
static int open_time(struct child *c, int *fd)
{
	char path[48];

	*fd = -1;
	if (!c->held || !(c->namespaces & K_CLONE_NEWTIME))
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/time_for_children", (int)c->held);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	return *fd < 0 ? -1 : 0;
}

static int join_container(struct child *c, int *master, struct fail *f)
{
	int err = 0, time_ns;
	char name[32];

	if (open_time(c, &time_ns) || syscall(SYS_setns, c->init_pidfd, c->namespaces) ||
		(time_ns >= 0 && syscall(SYS_setns, time_ns, K_CLONE_NEWTIME)))
		err = fail_set(f, errno, "joining the container", NULL);
	if (time_ns >= 0)
		(void)close(time_ns);
	if (!err && c->s->p.stdio & BLOB_STDIO(PROTO_TTY))
		err = open_tty(c, master, name, f);
	return err;
}

/* Until the agent says go. It never says no: it kills. */
static void wait_for_go(struct child *c)
{
	char b;
	ssize_t n;

	do {
		n = recv(c->sync, &b, 1, 0);
	} while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(0);
}

_Noreturn void child_main(struct child *c)
{
	bool create = c->init_pidfd < 0;
	uint32_t stage = MSG_STAGE_SETUP;
	struct fail f = { 0 };
	int master = -1, err;
	sigset_t none;

	c->root = c->share = c->tty = -1;
	/* until the exec it has the agent's view of /proc, which nobody in the container may share
	 */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	/* a shell cannot trap what it found ignored, and exec keeps that */
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)umask(0);
	close_others(c);
	err = make_room(c, &f);
	if (!err)
		err = open_dirs(c, &f);
	if (!err)
		err = create ? make_container(c, &master, &f) : join_container(c, &master, &f);
	if (!err) {
		if (create || master >= 0)
			tell(c, SYNC_READY, 0, NULL, master);
		if (master >= 0)
			(void)close(master);
		if (create)
			wait_for_go(c);
		if (create)
			err = hooks_run(c, &f);
		if (!err)
			err = process_exec(c, &stage, &f);
	}
	tell(c, SYNC_FAIL, stage, &f, -1);
	_exit(err == -ENOENT ? 127 : 126);
}
