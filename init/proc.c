// SPDX-License-Identifier: Apache-2.0
/* The table of processes: making them, hearing from them, reaping them, reporting their end. */

/*
 * How it works
 *
 * A process starts as a clone of the agent that runs child_main(). It reports through a
 * SOCK_SEQPACKET pair that closes on exec: SYNC_READY when the container is set up (MSG_CREATE is
 * answered, the child is held until a byte comes), SYNC_FAIL with a sentence, and end of file when
 * execve() succeeded (MSG_START and MSG_EXEC are answered).
 *
 *   MSG_CREATE -> SETUP -> HELD -> (MSG_START) STARTING -> RUNNING -> EXITED -> gone
 *   MSG_EXEC   ------------------------------> STARTING -> ...
 *
 * EXITED lasts until the streams have been handed over and somebody is there to hear of it.
 */
#include "agent.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct proc *proc_find(struct agent *a, uint32_t id)
{
	for (struct proc *p = a->procs; p; p = p->next) {
		if (!p->dead && p->id == id)
			return p;
	}
	return NULL;
}

static void proc_bury(struct agent *a, struct proc *p)
{
	p->dead = true;
	agent_unwatch(a, &p->sync);
	if (p->is_init && a->init_pidfd >= 0) {
		(void)close(a->init_pidfd);
		a->init_pidfd = -1;
	}
}

void proc_gc(struct agent *a)
{
	struct proc **at = &a->procs, *p;

	while ((p = *at)) {
		if (!p->dead) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		a->nprocs--;
		free(p->listen);
		free(p);
	}
}

void proc_conn_gone(struct agent *a, struct conn *c)
{
	for (struct proc *p = a->procs; p; p = p->next) {
		if (p->reply_to == c)
			p->reply_to = NULL;
		if (p->owner != c || p->dead)
			continue;
		p->owner = NULL;
		if (p->kill_on_close && !p->reaped)
			(void)kill(p->pid, SIGKILL);
		proc_maybe_exit(a, p->id);
	}
}

static void answer(struct agent *a, struct proc *p)
{
	struct msg_started m = { .pid = (uint32_t)p->pid };

	if (p->reply_seq && p->reply_to)
		ctrl_reply(a, p->reply_to, p->reply_type, p->reply_seq, &m, sizeof(m));
	p->reply_seq = 0;
}

/* The process never came to run: whoever waits hears why, and it leaves no trace. */
static void give_up(struct agent *a, struct proc *p, uint32_t stage, int err, const char *text)
{
	if (p->reply_seq && p->reply_to)
		ctrl_fail(a, p->reply_to, p->reply_type, p->reply_seq, stage, err, text);
	p->reply_seq = 0;
	if (!p->reaped)
		(void)kill(p->pid, SIGKILL);
	stream_drop_proc(a, p->id);
	proc_bury(a, p);
}

static void sync_message(struct agent *a, struct proc *p, struct sync_msg *m, int fd)
{
	struct stream *s;

	m->f.text[sizeof(m->f.text) - 1] = 0;
	if (m->what == SYNC_WARN) {
		ctrl_send_event(a, p->owner, MSG_LOG, m->f.text, strlen(m->f.text));
	} else if (m->what == SYNC_FAIL) {
		give_up(a, p, m->stage, m->f.err, m->f.text);
	} else if (m->what == SYNC_NOTIFY) {
		if (fd >= 0 && p->is_init) {
			notify_take(a, fd);
			fd = -1;
		}
	} else if (m->what == SYNC_READY) {
		if (fd >= 0) {
			(void)fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
			s = stream_get(a, p->id, PROTO_TTY);
			if (s && s->pipe.fd < 0 && !s->ended) {
				(void)stream_set_pipe(a, s, fd);
				fd = -1;
			}
		}
		if (p->state == PROC_SETUP) {
			p->state = PROC_HELD;
			answer(a, p);
		}
	}
	if (fd >= 0)
		(void)close(fd);
}

/* One message or the end of file; false when there is nothing more to read now. */
static bool sync_read(struct agent *a, struct proc *p)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} cm;
	struct sync_msg m;
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof(cm)
	};
	struct cmsghdr *h;
	ssize_t n;
	int fd = -1;

	if (p->dead || p->sync.fd < 0)
		return false;
	n = recvmsg(p->sync.fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n == (ssize_t)sizeof(m)) {
		h = CMSG_FIRSTHDR(&mh);
		if (h && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&fd, CMSG_DATA(h), sizeof(fd));
		sync_message(a, p, &m, fd);
		return true;
	}
	agent_unwatch(a, &p->sync);
	if (p->state == PROC_SETUP) {
		give_up(a, p, MSG_STAGE_SETUP, ECHILD,
			"the container's process ended during its set-up");
	} else if (p->state == PROC_STARTING) {
		p->state = PROC_RUNNING;
		answer(a, p);
	}
	return false;
}

static void sync_event(struct agent *a, struct ev *ev, uint32_t events)
{
	struct proc *p = ev_owner(ev, struct proc, sync);

	(void)events;
	while (sync_read(a, p))
		;
}

/* The descriptors behind stderr. Connections that it accepted are not waited for: they go on. */
static bool more_drained(struct agent *a, uint32_t id, bool drop, uint32_t *flags)
{
	for (struct stream *s = a->streams; s; s = s->next) {
		if (s->dead || s->proc != id || s->fd < PROTO_MORE || s->fd == STREAM_ACCEPTED)
			continue;
		if (!stream_drained(a, s) && !drop)
			return false;
		if (!s->ended && s->pipe.fd >= 0 && s->kind != STREAM_IN)
			*flags |= MSG_EXIT_OPEN_MORE;
	}
	return true;
}

void proc_maybe_exit(struct agent *a, uint32_t id)
{
	static const uint32_t open_flag[PROTO_FDS] = { 0, MSG_EXIT_OPEN_STDOUT,
		MSG_EXIT_OPEN_STDERR, 0 };
	struct proc *p = proc_find(a, id);
	struct msg_exit m = { .proc = id };
	struct stream *s;

	if (!p || !p->reaped || p->state < PROC_HELD || p->state == PROC_STARTING || !p->owner)
		return;
	p->state = PROC_EXITED;
	for (uint32_t fd = 0; fd < PROTO_FDS; fd++) {
		s = p->stdio & BLOB_STDIO(fd) ? stream_find(a, id, fd) : NULL;
		if (!s)
			continue;
		if (!stream_drained(a, s) && !p->drop_output)
			return;
		m.bytes[fd] = s->bytes;
		if (!s->ended && s->pipe.fd >= 0)
			m.flags |= open_flag[fd];
	}
	if (!more_drained(a, id, p->drop_output, &m.flags))
		return;
	if (WIFSIGNALED(p->wstatus)) {
		m.signo = (uint32_t)WTERMSIG(p->wstatus);
		m.flags |= WCOREDUMP(p->wstatus) ? MSG_EXIT_CORE : 0;
		m.flags |= m.signo == SIGKILL && a->oom_kills ? MSG_EXIT_OOM : 0;
	} else {
		m.code = (uint32_t)WEXITSTATUS(p->wstatus);
	}
	if (p->is_init && a->oom_kills)
		m.flags |= MSG_EXIT_OOM;
	m.utime_us = (uint64_t)p->ru.ru_utime.tv_sec * 1000000u + (uint64_t)p->ru.ru_utime.tv_usec;
	m.stime_us = (uint64_t)p->ru.ru_stime.tv_sec * 1000000u + (uint64_t)p->ru.ru_stime.tv_usec;
	m.maxrss_kib = (uint64_t)p->ru.ru_maxrss;
	ctrl_send_event(a, p->owner, MSG_EXIT, &m, sizeof(m));
	if (p->drop_output)
		stream_abandon(a, id);
	stream_finish(a, id);
	proc_bury(a, p);
}

int proc_drop_output(struct agent *a, struct proc *p)
{
	if (!p)
		return -ESRCH;
	if (!p->reaped)
		return -EINVAL;
	p->drop_output = true;
	proc_maybe_exit(a, p->id);
	return 0;
}

void proc_reap(struct agent *a)
{
	struct rusage ru;
	struct proc *p;
	int st;

	for (;;) {
		pid_t pid = wait4(-1, &st, WNOHANG, &ru);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return;
		if (pid == a->sync_pid) {
			ctrl_synced(a);
			continue;
		}
		if (pid == a->dhcp_pid) {
			ctrl_dhcp_done(a, st);
			continue;
		}
		for (p = a->procs; p; p = p->next) {
			if (p->pid == pid && !p->reaped)
				break;
		}
		if (!p)
			continue;
		p->reaped = true;
		p->wstatus = st;
		p->ru = ru;
		if (p->dead)
			continue;
		/* What it said before it ended counts. */
		while (sync_read(a, p))
			;
		if (p->is_init)
			cgroup_check_oom(a);
		proc_maybe_exit(a, p->id);
	}
}

int proc_release(struct agent *a, struct proc *p, struct conn *c, uint32_t seq)
{
	struct fail f = { 0 };

	if (p->reaped)
		return -ESRCH;
	if (p->state != PROC_HELD)
		return -EBUSY;
	p->state = PROC_STARTING;
	p->reply_to = c;
	p->reply_seq = seq;
	p->reply_type = MSG_START;
	if (p->is_init && sysctl_interfaces(a, &f)) {
		give_up(a, p, MSG_STAGE_SETUP, f.err, f.text);
		return 1;
	}
	/* The answer comes from sync_read(), also when the child is gone already. */
	(void)send(p->sync.fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	return 1;
}

/* The virtio-fs (or other) root, once; it takes a round trip to the host, so main() does it before
 * it is asked. */
static int mount_share(struct agent *a, const struct blob_view *s, struct fail *f)
{
	int err = a->cfg.share_mounted ? 0 : root_mount(s, a->cfg.share, f);

	a->cfg.share_mounted |= !err;
	return err;
}

/* The clone itself: for exec into the container's pid namespace, both into its cgroup, or into @cg
 * where that is not -1. 0 in the child, else a pid or -errno. */
static pid_t clone_child(
	struct agent *a, bool create, uint32_t ns, int cg, int *pidfd, struct fail *f)
{
	struct k_clone_args ca = { .exit_signal = SIGCHLD, .flags = K_CLONE_PIDFD };
	bool given = cg >= 0;
	long pid;

	ca.pidfd = (uintptr_t)pidfd;
	if (create)
		ca.flags |=
			K_CLONE_NEWNS | K_CLONE_NEWPID | (ns & (K_CLONE_NEWUTS | K_CLONE_NEWIPC));
	else if (syscall(SYS_setns, a->init_pidfd, K_CLONE_NEWPID))
		return fail_set(f, ESRCH, "the container is not running", NULL);
	if (a->cg_fd >= 0) {
		ca.flags |= K_CLONE_INTO_CGROUP;
		ca.cgroup = (uint64_t)(given ? cg : a->cg_fd);
	}
	pid = sys_clone3(&ca);
	if (pid < 0 && errno == EBUSY && !create && !given) {
		/* The workload manages its cgroups itself, so processes live only in the leaves. */
		struct proc *init = proc_find(a, PROTO_PROC_INIT);

		cg = init ? cgroup_of_pid(a, init->pid) : -1;
		if (cg >= 0) {
			ca.cgroup = (uint64_t)cg;
			pid = sys_clone3(&ca);
		}
	}
	if (!pid)
		return 0;
	if (pid < 0)
		(void)fail_set(f, errno, "making a process", NULL);
	if (cg >= 0 && !given)
		(void)close(cg);
	if (!create)
		(void)syscall(SYS_setns, a->own_pidns, K_CLONE_NEWPID);
	return pid < 0 ? f->err : (pid_t)pid;
}

static int prepare_container(struct agent *a, const struct blob_view *s, struct fail *f)
{
	int err = mount_share(a, s, f);

	if (!err && a->cg_root >= 0)
		err = cgroup_make(a, s, f);
	if (!err)
		err = sysctl_keep(a, s, f);
	if (!err)
		a->namespaces = s->c.namespaces | K_CLONE_NEWNS;
	return err;
}

static int check_can_exec(struct agent *a, struct fail *f)
{
	struct proc *init = proc_find(a, PROTO_PROC_INIT);

	if (!init || init->reaped || init->state == PROC_SETUP)
		return fail_set(f, ESRCH, "the container is not running", NULL);
	return 0;
}

/* The container's own process until it has been executed, else 0. */
static pid_t held_init(struct agent *a)
{
	const struct proc *init = proc_find(a, PROTO_PROC_INIT);

	return init && (init->state == PROC_HELD || init->state == PROC_STARTING) ? init->pid : 0;
}

int proc_spawn(struct agent *a, struct conn *c, uint16_t type, uint32_t seq, uint32_t id,
	uint32_t flags, const struct blob_view *s, struct fail *f)
{
	struct child ch = { .cfg = &a->cfg, .s = s, .init_pidfd = -1 };
	bool create = type == MSG_CREATE;
	int sp[2] = { -1, -1 }, pidfd = -1, cg = -1, err;
	struct fds pp;
	struct proc *p;

	err = create ? prepare_container(a, s, f) : check_can_exec(a, f);
	if (!err && s->in_cgroup)
		cg = cgroup_below(a, s->in_cgroup, f);
	if (err || cg < -1)
		return err ? err : cg;
	p = calloc(1, sizeof(*p));
	if (!p) {
		if (cg >= 0)
			(void)close(cg);
		return fail_set(f, ENOMEM, "a process", NULL);
	}
	err = fds_make(a, &pp, s, p, f);
	if (!err && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sp))
		err = fail_set(f, errno, "a socket pair", NULL);
	if (!err) {
		ch.sync = sp[1];
		ch.namespaces = a->namespaces;
		ch.init_pidfd = create ? -1 : a->init_pidfd;
		ch.held = create ? 0 : held_init(a);
		memcpy(ch.fds, pp.child, sizeof(ch.fds));
		ch.nfds = pp.n;
		p->pid = clone_child(a, create, a->namespaces, cg, &pidfd, f);
		if (!p->pid)
			child_main(&ch);
		err = p->pid < 0 ? p->pid : 0;
	}
	if (sp[1] >= 0)
		(void)close(sp[1]);
	if (cg >= 0)
		(void)close(cg);
	if (err) {
		if (sp[0] >= 0)
			(void)close(sp[0]);
		fds_close(&pp);
		free(p->listen);
		free(p);
		return err;
	}
	p->id = id;
	p->is_init = create;
	p->state = create ? PROC_SETUP : PROC_STARTING;
	p->owner = p->reply_to = c;
	p->kill_on_close = flags & MSG_PROC_KILL_ON_CLOSE;
	p->reply_seq = seq;
	p->reply_type = type;
	p->stdio = s->p.stdio;
	p->sync = (struct ev){ sync_event, sp[0] };
	p->next = a->procs;
	a->procs = p;
	a->nprocs++;
	if (create)
		a->init_pidfd = pidfd;
	else
		(void)close(pidfd);
	err = agent_watch(a, &p->sync, EPOLLIN);
	if (err)
		(void)fail_set(f, err, "watching a process", NULL);
	else
		err = fds_attach(a, id, &pp, s, f);
	fds_close(&pp);
	if (err) {
		p->reply_seq = 0; /* the caller answers */
		give_up(a, p, 0, err, "");
	}
	return err;
}
