// SPDX-License-Identifier: Apache-2.0
/* The VMM process's main loop: between the caller, the guest's agent and the end of the VM. */
/*
 * How it works
 *
 * One epoll loop on the main thread. Sources: the CLI's sync socket (until COMMIT), a signalfd with
 * every catchable signal, the control socket, the agent, the VM's own event, the reports of
 * finished streams, and a timer for the boot. Nothing in here waits: every request to the guest is
 * answered when its reply comes, and the process ends when the workload has ended and its output
 * has reached our stdout and stderr.
 *
 * HELLO, CREATE and the three streams are queued before the guest's first instruction. The
 * container is "created" when CREATE is answered; CTL_START sends START and its reply makes it
 * "running". A workload that cannot be executed ends the VM with 127 or 126, as a shell would.
 */
/* #syscalls:main read accept4 close openat prctl:PR_SET_PDEATHSIG ioctl:TIOCGWINSZ poll
 * timerfd_settime recvfrom sendmsg pwrite64 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "oci/agent.h"
#include "oci/confine_thread.h"
#include "oci/ctl.h"
#include "oci/guest_blob.h"
#include "oci/log.h"
#include "oci/netaddrs.h"
#include "oci/sync.h"
#include "oci/trace.h"
#include "oci/vmexec.h"
#include "oci/vmproc.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"
#include "vmm.h"

#define BOOT_SECONDS 120 /* a guest that says nothing for so long is lost */
#define CODE_LOST    125 /* the VM failed under the workload */
#define CTL_ASKERS   64	 /* connections that may be silent at a time */
#define WATCHERS     16	 /* connections of CTL_EVENTS */
#define SHOWN_ADDRS  64	 /* addresses of the network namespace that the guest shows */
#define PAUSE_SYNC_S 2	 /* that a pause waits for the guest to write its files back */

struct vmloop {
	struct vmproc *p;
	struct vmm *vm;
	struct loop *loop;
	struct agent agent;
	struct vmexec exec; /* processes of exec */
	struct loop_src sync, sig, sys, ctl, event, done, timer;
	struct loop_src unsynced;	   /* the end of PAUSE_SYNC_S */
	struct loop_src pause;		   /* of the control socket, while no descriptor is free */
	struct loop_src asker[CTL_ASKERS]; /* connections whose request has not come yet */
	unsigned next_asker;
	int watcher[WATCHERS]; /* or -1 */
	int status_fd;
	enum phase phase, unpaused; /* @unpaused: what it was before it was paused */
	uint32_t create_seq, start_seq, update_seq, net_seq, sync_seq;
	int pause_conn;	       /* waits for the guest's files to be written back, or -1 */
	int update_conn;       /* waits for the guest to have changed a limit, or -1 */
	int start_conn;	       /* control connection that waits for the start, or -1 */
	bool exited;	       /* the workload has ended with @code */
	unsigned streams_open; /* BLOB_STDIO bits of the output streams that are not finished */
	int code;
	uint32_t flags; /* STATUS_*, for the status file */
	bool quit;
};

static void set_phase(struct vmloop *l, enum phase ph)
{
	l->phase = ph;
	if (status_write(l->status_fd, ph, l->code, l->flags))
		log_err("cannot write the container's status");
}

static void answer(int conn, int code, const char *text)
{
	struct ctl_reply r = { .code = abs(code) };

	(void)snprintf(r.text, sizeof(r.text), "%.*s", (int)sizeof(r.text) - 1, text);
	(void)send(conn, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(conn);
}

/* The last thing: the status, then whoever waits for a start. */
static void finish(struct vmloop *l, int code)
{
	l->code = code;
	l->quit = true;
	set_phase(l, PHASE_STOPPED);
}

static void fail_create(struct vmloop *l, int code, const char *text)
{
	struct error e = { 0 };

	(void)err_set(&e, code, "%s", text);
	if (l->sync.fd >= 0)
		IGNORE_RESULT(
			sync_send_error(l->sync.fd, &e)); /* a CLI that is gone needs no answer */
	finish(l, 1);
}

static void fail_start(struct vmloop *l, int status, int code, const char *text)
{
	if (l->start_conn >= 0)
		answer(TAKE_FD(l->start_conn), status, text);
	finish(l, code);
}

static void maybe_finish(struct vmloop *l)
{
	if (l->exited && !l->streams_open)
		finish(l, l->code);
}

static void pass_size(struct vmloop *l)
{
	struct msg_winsize w = { .proc = PROTO_PROC_INIT };
	struct winsize ws;

	/* 0x0 is nobody's size, and would undo that of the config */
	if (ioctl(l->p->tty_fd, TIOCGWINSZ, &ws) || (!ws.ws_row && !ws.ws_col))
		return;
	w.rows = ws.ws_row;
	w.cols = ws.ws_col;
	(void)agent_send(&l->agent, MSG_WINSIZE, &w, sizeof(w));
}

static const char cannot_pause[] = "cannot pause a container that is neither created nor running";

static bool may_pause(const struct vmloop *l)
{
	return l->phase == PHASE_RUNNING || (l->phase == PHASE_CREATED && l->start_conn < 0);
}

/* The guest has written back its files, or had its time for that. */
static void pause_now(struct vmloop *l)
{
	int conn = TAKE_FD(l->pause_conn), r;

	if (!may_pause(l))
		return answer(conn, EBUSY, cannot_pause);
	r = vmm_pause(l->vm);
	if (r)
		return answer(conn, r,
			r == -EAGAIN ? "a CPU of the guest cannot be stopped now"
				     : "the VM has ended");
	l->unpaused = l->phase;
	set_phase(l, PHASE_PAUSED);
	answer(conn, 0, "");
}

static void on_unsynced(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) != (ssize_t)sizeof(n) || l->pause_conn < 0)
		return;
	log_warn("the guest has not written back its files in %d s; paused all the same",
		PAUSE_SYNC_S);
	pause_now(l);
}

static void on_reply(void *arg, const struct agent_reply *r)
{
	struct vmloop *l = arg;

	if (r->type == MSG_HELLO && !r->status) {
		trace_mark(TRACE_AGENT);
		trace_guest(l->agent.hello_ns);
	}
	if (r->type == MSG_HELLO && r->status)
		return fail_create(l, r->status, r->text);
	if (r->seq == l->create_seq) {
		if (r->status)
			return fail_create(l, r->status, r->text);
		trace_mark(TRACE_CREATED);
		/* who made the terminal may have set its size before we were told of changes */
		if (l->p->tty_fd >= 0)
			pass_size(l);
		set_phase(l, PHASE_CREATED);
		if (sync_send(l->sync.fd, SYNC_READY))
			finish(l, 1);
		return;
	}
	if (vmexec_reply(&l->exec, r))
		return;
	if (r->seq == l->net_seq && r->status)
		log_warn("the guest does not show all addresses of its network: %s",
			strerror(-r->status));
	if (r->seq == l->sync_seq && l->pause_conn >= 0)
		return pause_now(l);
	if (r->seq == l->update_seq && l->update_conn >= 0)
		return answer(TAKE_FD(l->update_conn), r->status, r->text);
	if (r->seq != l->start_seq || l->phase != PHASE_CREATED)
		return;
	if (r->status)
		return fail_start(l, r->status,
			r->stage == MSG_STAGE_EXEC ? (r->status == -ENOENT ? 127 : 126) : CODE_LOST,
			r->text);
	trace_mark(TRACE_STARTED);
	set_phase(l, PHASE_RUNNING);
	if (l->start_conn >= 0)
		answer(TAKE_FD(l->start_conn), 0, "");
}

static void on_exited(void *arg, const struct msg_exit *x)
{
	struct vmloop *l = arg;

	if (x->proc != PROTO_PROC_INIT)
		return vmexec_exited(&l->exec, x);
	if (l->exited)
		return;
	trace_mark(TRACE_EXITED);
	l->exited = true;
	l->code = x->signo ? 128 + (int)(x->signo & 0x7f) : (int)(x->code & 0xff);
	/* what somebody else may still write to is not waited for */
	if (x->flags & MSG_EXIT_OPEN_STDOUT)
		l->streams_open &= ~BLOB_STDIO(PROTO_STDOUT);
	if (x->flags & MSG_EXIT_OPEN_STDERR)
		l->streams_open &= ~BLOB_STDIO(PROTO_STDERR);
	maybe_finish(l);
}

static void vm_gone(struct vmloop *l, const char *why)
{
	char text[256];

	if (l->quit)
		return;
	(void)snprintf(text, sizeof(text), "the VM ended: %s", why);
	if (l->phase == PHASE_CREATING)
		return fail_create(l, EIO, text);
	if (l->exited)
		return finish(l, l->code);
	log_err("%s", text);
	l->flags |= STATUS_LOST;
	fail_start(l, EIO, CODE_LOST, text);
}

static void on_lost(void *arg, const char *why)
{
	vm_gone(arg, why);
}

/* True unless the watcher is gone; one that does not read is not waited for. */
static bool tell_watcher(int fd, const char *text)
{
	struct ctl_reply r = { 0 };

	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	return send(fd, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

/* podman and conmon take it from an empty file in the bundle that the kernel killed in the
 * container. */
static void on_oom(void *arg, const struct msg_oom *m)
{
	struct vmloop *l = arg;
	int fd = openat(l->p->bundle_fd, "oom",
		O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);

	log_guest("the guest is out of memory, %llu processes killed so far",
		(unsigned long long)m->kills);
	if (fd >= 0)
		(void)close(fd);
	else
		log_guest("cannot make the file \"oom\" in the bundle: %s", err_text(errno));
	for (unsigned i = 0; i < WATCHERS; i++) {
		if (l->watcher[i] >= 0 && !tell_watcher(l->watcher[i], "oom"))
			(void)close(TAKE_FD(l->watcher[i]));
	}
}

static const struct agent_ops agent_ops = {
	.reply = on_reply, .exited = on_exited, .oom = on_oom, .lost = on_lost
};

static void on_event(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;

	(void)events;
	loop_del(l->loop, src);
	vm_gone(l, vmm_why(l->vm));
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	struct vmm_stats st;
	char text[160];

	(void)events;
	loop_del(l->loop, src);
	if (l->phase != PHASE_CREATING)
		return;
	vmm_stats(l->vm, &st);
	(void)snprintf(text, sizeof(text), "the guest did not come up within %d s (%s, %llu exits)",
		BOOT_SECONDS,
		l->agent.up ? "its agent did not make the container" : "no word from its agent",
		(unsigned long long)st.kvm_runs);
	fail_create(l, ETIMEDOUT, text);
}

static void on_done(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	struct vmm_vsock_done d;

	(void)events;
	while (read(src->fd, &d, sizeof(d)) == (ssize_t)sizeof(d)) {
		for (unsigned fd = PROTO_STDOUT; fd < PROTO_FDS; fd++) {
			if (d.id == AGENT_ID_STREAM(PROTO_PROC_INIT, fd))
				l->streams_open &= ~BLOB_STDIO(fd);
		}
		vmexec_done(&l->exec, d.id);
	}
	maybe_finish(l);
}

static void on_sync(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	struct error e = { 0 };

	(void)events;
	if (sync_wait(src->fd, SYNC_COMMIT, &e)) {
		/* the CLI gave up or died: nobody will ever ask for this container */
		finish(l, 1);
		return;
	}
	(void)prctl(PR_SET_PDEATHSIG, 0);
	oci_log_alone();
	/* a CLI that ended before this call would have taken us with it */
	IGNORE_RESULT(sync_send(src->fd, SYNC_COMMITTED));
	loop_del(l->loop, src);
	(void)close(TAKE_FD(src->fd));
}

static void on_signal(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(src->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGWINCH && l->p->tty_fd >= 0)
			pass_size(l);
		else if (si.ssi_signo != SIGCHLD && si.ssi_signo != SIGPIPE)
			(void)agent_signal(&l->agent, PROTO_PROC_INIT, si.ssi_signo, 0);
	}
}

static void on_sigsys(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		(void)agent_signal(&l->agent, PROTO_PROC_INIT, SIGSYS, 0);
}

/* The guest shows the addresses of the namespace as they are now. Nothing hangs on its answer. */
static void show_addresses(struct vmloop *l)
{
	struct msg_netaddr list[SHOWN_ADDRS];
	int n = netaddrs_collect(list, SHOWN_ADDRS);

	if (n < 0)
		log_warn("cannot read the addresses of the network namespace: %s", strerror(-n));
	else if (n > 0)
		l->net_seq = agent_send(&l->agent, MSG_NET, list, (size_t)n * sizeof(list[0]));
}

static void ctl_start(struct vmloop *l, int conn)
{
	if (l->start_conn >= 0 || l->phase == PHASE_RUNNING || l->phase == PHASE_PAUSED)
		return answer(conn, EBUSY, "cannot start an already running container");
	if (l->phase != PHASE_CREATED)
		return answer(conn, EINVAL, "cannot start a container that is not created");
	if (!l->p->spec->process.set)
		return answer(conn, EINVAL,
			"config.json: process: the config has none, there is nothing to start");
	if (l->p->tty_fd >= 0)
		pass_size(l);
	if (l->p->net.tsi)
		show_addresses(l);
	l->start_seq = agent_send_proc(&l->agent, MSG_START, PROTO_PROC_INIT);
	if (!l->start_seq)
		return answer(conn, ENOMEM, "cannot ask the guest to start");
	l->start_conn = conn;
}

static void ctl_signal(struct vmloop *l, int conn, const struct ctl_req *q)
{
	if (q->arg < 1 || q->arg > 64)
		return answer(conn, EINVAL, "unknown signal");
	if (!agent_signal(
		    &l->agent, PROTO_PROC_INIT, q->arg, q->flags & CTL_ALL ? MSG_SIGNAL_ALL : 0))
		return answer(conn, ESRCH, "container not running");
	answer(conn, 0, "");
}

static void ctl_pause(struct vmloop *l, int conn)
{
	const struct itimerspec t = { .it_value.tv_sec = PAUSE_SYNC_S };

	if (l->phase == PHASE_PAUSED)
		return answer(conn, 0, "");
	if (!may_pause(l))
		return answer(conn, EBUSY, cannot_pause);
	if (l->pause_conn >= 0)
		return answer(conn, EBUSY, "the container is being paused");
	l->sync_seq = agent_send(&l->agent, MSG_SYNC, NULL, 0);
	if (!l->sync_seq)
		return answer(conn, ENOMEM, "cannot ask the guest to write back its files");
	l->pause_conn = conn;
	(void)timerfd_settime(l->unsynced.fd, 0, &t, NULL);
}

static void ctl_resume(struct vmloop *l, int conn)
{
	int r;

	if (l->phase != PHASE_PAUSED)
		return answer(conn, 0, "");
	/* waits in the stream, to be read before anything that is sent later */
	(void)agent_resumed(&l->agent);
	r = vmm_resume(l->vm);
	if (r)
		return answer(conn, r, "the VM has ended");
	set_phase(l, l->unpaused);
	answer(conn, 0, "");
}

/* A limit of the workload's cgroup in the guest. */
static void ctl_guest_limit(struct vmloop *l, int conn, const struct ctl_req *q)
{
	const char *file = q->op == CTL_GUEST_MEMORY ? "memory.max" : "pids.max";
	uint64_t v = q->arg | (uint64_t)q->flags << 32;
	CLEAN_FREE uint8_t *blob = NULL;
	size_t len = 0;

	if (l->phase == PHASE_CREATING || l->update_conn >= 0)
		return answer(conn, EBUSY, "the container is being created or updated");
	if (guest_blob_limit(file, v, &blob, &len))
		return answer(conn, ENOMEM, "cannot ask the guest to change a limit");
	l->update_seq = agent_send(&l->agent, MSG_UPDATE, blob, len);
	if (!l->update_seq)
		return answer(conn, ENOMEM, "cannot ask the guest to change a limit");
	/* a paused guest reads it when it goes on, before it runs anything else for long */
	if (l->phase == PHASE_PAUSED)
		return answer(conn, 0, "");
	l->update_conn = conn;
}

static bool asker_gone(int conn);

static void ctl_events(struct vmloop *l, int conn)
{
	for (unsigned i = 0; i < WATCHERS; i++) {
		if (l->watcher[i] >= 0 && asker_gone(l->watcher[i]))
			(void)close(TAKE_FD(l->watcher[i]));
		if (l->watcher[i] >= 0)
			continue;
		if (tell_watcher(conn, ""))
			l->watcher[i] = conn;
		else
			(void)close(conn);
		return;
	}
	answer(conn, EBUSY, "too many watch the events of this container");
}

static void add_asker(struct vmloop *l, int conn);

/* True when nobody waits for the answer any more: who gave up has perhaps done without us. */
static bool asker_gone(int conn)
{
	struct pollfd p = { .fd = conn, .events = POLLRDHUP };

	return poll(&p, 1, 0) != 0;
}

/* @fds: what came with it, of which it takes what it wants. */
static void ctl_request(struct vmloop *l, int conn, const struct ctl_req *q, int *fds)
{
	if (asker_gone(conn))
		(void)close(conn);
	else if (q->op == CTL_EXEC)
		vmexec_request(&l->exec, l->phase, conn, q, fds);
	else if (q->op == CTL_PS)
		vmexec_ps(&l->exec, conn, q);
	else if (q->op == CTL_START)
		ctl_start(l, conn);
	else if (q->op == CTL_SIGNAL)
		ctl_signal(l, conn, q);
	else if (q->op == CTL_PAUSE)
		ctl_pause(l, conn);
	else if (q->op == CTL_RESUME)
		ctl_resume(l, conn);
	else if (q->op == CTL_GUEST_MEMORY || q->op == CTL_GUEST_PIDS)
		ctl_guest_limit(l, conn, q);
	else if (q->op == CTL_EVENTS)
		ctl_events(l, conn);
	else
		answer(conn, ENOTSUP, "the VMM does not know this request");
}

/* Takes the request if it is there, and the connection with it; false when it has to be waited for.
 */
static bool ctl_take(struct vmloop *l, int conn)
{
	int fds[CTL_MAX_FDS];
	struct ctl_req q;
	int r = ctl_recv(conn, &q, fds);

	if (!r)
		return false;
	if (r < 0) {
		(void)close(conn);
		return true;
	}
	ctl_request(l, conn, &q, fds);
	for (unsigned i = 0; i < CTL_MAX_FDS; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	return true;
}

/* An asker has sent its request, or gone. */
static void on_asker(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	int conn = src->fd;

	(void)events;
	/* first: what is taken may be closed, and its number used again */
	loop_del(l->loop, src);
	src->fd = -1;
	if (!ctl_take(l, conn))
		add_asker(l, conn);
}

/* Watches a connection; the oldest that has not said anything yet goes when all places are taken.
 */
static void add_asker(struct vmloop *l, int conn)
{
	struct loop_src *src = &l->asker[l->next_asker];

	l->next_asker = (l->next_asker + 1) % CTL_ASKERS;
	if (src->fd >= 0) {
		loop_del(l->loop, src);
		(void)close(TAKE_FD(src->fd));
	}
	*src = (struct loop_src){ .fd = conn, .name = "asker", .fn = on_asker, .arg = l };
	if (loop_add(l->loop, src, EPOLLIN))
		(void)close(TAKE_FD(src->fd));
}

static void pause_ctl(struct vmloop *l)
{
	const struct itimerspec t = { .it_value.tv_nsec = 100 * 1000 * 1000 };

	loop_del(l->loop, &l->ctl);
	(void)timerfd_settime(l->pause.fd, 0, &t, NULL);
}

static void on_pause_over(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) == (ssize_t)sizeof(n) &&
		loop_add(l->loop, &l->ctl, EPOLLIN))
		log_err("the control socket is lost");
}

static void on_ctl(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	int conn;

	(void)events;
	/* the asking side sends right after it connected: most often it is there already */
	while ((conn = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (!ctl_take(l, conn))
			add_asker(l, conn);
	}
	/* no descriptor is free: who waits there goes on waiting, and we must not spin meanwhile */
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
		pause_ctl(l);
}

static int add(struct vmloop *l, struct loop_src *src, int fd, const char *name, loop_fn *fn)
{
	*src = (struct loop_src){ .fd = fd, .name = name, .fn = fn, .arg = l };
	return fd < 0 ? -errno : loop_add(l->loop, src, EPOLLIN);
}

static int boot_timer(void)
{
	struct itimerspec t = { .it_value.tv_sec = BOOT_SECONDS };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd >= 0)
		(void)timerfd_settime(fd, 0, &t, NULL);
	return fd;
}

/* Hands our stdio to the guest's streams and keeps nothing of it, so that readers see the end when
 * the workload's writers are gone. */
static int give_stdio(struct vmloop *l, unsigned *stdio)
{
	bool tty = l->p->tty_fd >= 0;
	int r = 0;

	if (tty) {
		*stdio = BLOB_STDIO(PROTO_TTY);
		r = agent_stream(&l->agent, l->vm, PROTO_PROC_INIT, PROTO_TTY,
			fcntl(l->p->tty_fd, F_DUPFD_CLOEXEC, 3));
	}

	for (int fd = 0; !r && fd <= 2; fd++) {
		int own = tty ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

		if ((own < 0 && !tty) || dup2(l->p->null_fd, fd) < 0)
			return -errno;
		if (tty)
			continue;
		*stdio |= BLOB_STDIO(fd);
		r = agent_stream(&l->agent, l->vm, PROTO_PROC_INIT, (enum proto_fd)fd, own);
	}
	l->streams_open = *stdio & ~BLOB_STDIO(PROTO_STDIN);
	return r;
}

static int send_create(struct vmloop *l, unsigned stdio, struct error *e)
{
	CLEAN_FREE uint8_t *blob = NULL;
	size_t len = 0;
	int r = guest_blob(l->p->spec, l->p->c, &l->p->size, stdio, &blob, &len, e);

	if (r)
		return r;
	l->create_seq = agent_send(&l->agent, MSG_CREATE, blob, len);
	return l->create_seq ? 0 : err_sys(e, ENOMEM, "cannot describe the container to the guest");
}

int vmloop_new(struct vmproc *p, struct vmm *vm, struct vmloop **out, struct error *e)
{
	struct vmloop *l = calloc(1, sizeof(*l));
	unsigned stdio = 0;
	int r;

	if (!l)
		return err_sys(e, ENOMEM, "main loop");
	*l = (struct vmloop){ .p = p,
		.vm = vm,
		.status_fd = p->status_fd,
		.start_conn = -1,
		.update_conn = -1,
		.pause_conn = -1,
		.phase = PHASE_CREATING };
	l->sync.fd = -1;
	for (unsigned i = 0; i < CTL_ASKERS; i++)
		l->asker[i].fd = -1;
	for (unsigned i = 0; i < WATCHERS; i++)
		l->watcher[i] = -1;
	r = loop_new("main", &l->loop, e);
	if (!r)
		r = agent_open(&l->agent, l->loop, vm, &agent_ops, l, e);
	vmexec_init(&l->exec, l->loop, &l->agent, vm);
	if (!r)
		r = give_stdio(l, &stdio);
	if (!r)
		r = send_create(l, stdio, e);
	*out = l;
	return r ? err_sys(e, r, "cannot reach the guest's agent") : 0;
}

static int begin(struct vmloop *l, int done_fd, struct error *e)
{
	sigset_t all;
	int r;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	r = add(l, &l->sync, l->p->sync_fd, "sync", on_sync);
	if (!r)
		r = add(l, &l->sig, signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK), "signal",
			on_signal);
	if (!r)
		r = add(l, &l->sys, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "SIGSYS", on_sigsys);
	if (!r)
		r = confine_prepare(l->sys.fd, e);
	if (!r)
		r = add(l, &l->ctl, l->p->ctl_fd, "control", on_ctl);
	if (!r)
		r = add(l, &l->pause, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
			"pause", on_pause_over);
	if (!r)
		r = add(l, &l->unsynced,
			timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "unsynced",
			on_unsynced);
	if (!r)
		r = add(l, &l->event, vmm_event_fd(l->vm), "vm", on_event);
	if (!r)
		r = add(l, &l->done, done_fd, "streams", on_done);
	if (!r)
		r = add(l, &l->timer, boot_timer(), "boot", on_timer);
	if (!r)
		r = vmm_start(l->vm, e);
	return r ? err_sys(e, r, "cannot start the VM") : 0;
}

int vmloop_run(struct vmloop *l, int done_fd)
{
	struct error e = { 0 };

	if (begin(l, done_fd, &e)) {
		l->sync.fd = l->p->sync_fd;
		fail_create(l, e.code, e.msg);
	}
	/* from here on it only serves */
	if (!l->quit && confine_thread(CONFINE_MAIN, &e))
		fail_create(l, e.code, e.msg);
	trace_mark(TRACE_RUN);
	while (!l->quit) {
		int r = loop_once(l->loop, -1);

		if (r < 0 && r != -EINTR) {
			log_err("main loop: %s", err_text(r));
			finish(l, CODE_LOST);
		}
	}
	trace_end();
	/* the VM goes with the process: taking it apart first would only cost time */
	return l->code;
}
