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

#include "oci/confine_thread.h"
#include "oci/ctl.h"
#include "oci/guest_blob.h"
#include "oci/log.h"
#include "oci/signals.h"
#include "oci/sync.h"
#include "oci/trace.h"
#include "oci/vmloop.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"
#include "vmm.h"

#define BOOT_SECONDS 120 /* a guest that says nothing for so long is lost */
#define CODE_LOST    125 /* the VM failed under the workload */

/* For the last bytes of connections, and proxies that have only to end. */
#define LINGER_SECONDS 5

const char vmloop_no_status[] = "cannot write the container's status";

int vmloop_set_phase(struct vmloop *l, enum phase ph)
{
	int r = status_write(l->status_fd, ph, l->code, l->flags);

	if (!r)
		l->phase = ph;
	return r;
}

/* The last thing, but for who waits for a start: the next question would be for the state. */
static void finish(struct vmloop *l, int code)
{
	l->code = code;
	l->quit = true;
	/* before anybody hears of the end and looks at the images */
	vmm_settle(l->vm);
	/* else it shows when this process has ended */
	if (vmloop_set_phase(l, PHASE_STOPPED))
		log_err("%s", vmloop_no_status);
	l->phase = PHASE_STOPPED;
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
	finish(l, code);
	if (l->start_conn >= 0)
		vmctl_answer(TAKE_FD(l->start_conn), status, text);
}

/* Connections that the workload's sockets have accepted may still carry its last bytes, and proxies
 * of execs tell codes that they have been told; but who is there at the other end does not decide
 * how long the container lives. */
static void linger(struct vmloop *l)
{
	const struct itimerspec t = { .it_value.tv_sec = LINGER_SECONDS };

	if (l->lingering)
		return;
	l->lingering = true;
	loop_del(l->loop, &l->timer);
	(void)timerfd_settime(l->timer.fd, 0, &t, NULL);
	if (loop_add(l->loop, &l->timer, EPOLLIN))
		l->lingered = true;
}

/* After each round of the loop. */
static void maybe_finish(struct vmloop *l)
{
	bool others;

	if (!l->exited || l->quit)
		return;
	others = l->accepted || vmexec_leaving(&l->exec);
	if (others)
		linger(l);
	if (l->unread.over || (!l->streams_open && (!others || l->lingered)))
		finish(l, l->code);
}

void vmloop_pass_size(struct vmloop *l)
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

/* A network whose machines nobody gives addresses is no reason not to start: those of a tap that
 * was there may be the workload's to set. */
static void nic_is_set(struct vmloop *l, const struct agent_reply *r)
{
	bool silent = r->status == -ETIMEDOUT && l->p->nic.kind == SPEC_NIC_TAP;

	if (silent)
		log_warn("nobody has given the guest an address by DHCP");
	l->nic_up = silent || !r->status;
	/* what is in the namespace is given back, and may be tried again */
	if (!l->nic_up)
		vmm_nic_detach(l->vm, 0);
	vmctl_answer(TAKE_FD(l->nic_conn), silent ? 0 : r->status, r->text);
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
			vmloop_pass_size(l);
		if (vmloop_set_phase(l, PHASE_CREATED))
			return fail_create(l, EIO, vmloop_no_status);
		morefds_listen(&l->more);
		if (sync_send(l->sync.fd, SYNC_READY))
			finish(l, 1);
		return;
	}
	if (vmexec_reply(&l->exec, r) || unread_reply(&l->unread, r, &l->ticking))
		return;
	if (r->seq == l->net_seq && r->status)
		log_warn("the guest does not show all addresses of its network: %s",
			err_text(r->status));
	if (r->seq == l->nic_seq && l->nic_conn >= 0)
		return nic_is_set(l, r);
	if (r->seq == l->sync_seq && l->pause_conn >= 0)
		return vmctl_synced(l);
	if (r->seq == l->update_seq && l->update_conn >= 0)
		return vmctl_answer(TAKE_FD(l->update_conn), r->status, r->text);
	if (r->seq != l->start_seq || l->phase != PHASE_CREATED)
		return;
	if (r->status)
		return fail_start(l, r->status,
			r->stage == MSG_STAGE_EXEC ? (r->status == -ENOENT ? 127 : 126) : CODE_LOST,
			r->text);
	trace_mark(TRACE_STARTED);
	if (vmloop_set_phase(l, PHASE_RUNNING))
		return fail_start(l, EIO, CODE_LOST, vmloop_no_status);
	if (l->start_conn >= 0)
		vmctl_answer(TAKE_FD(l->start_conn), 0, "");
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
	l->streams_open &= ~exit_open(x->flags);
	morefds_stop(&l->more);
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
		if (l->watcher[i] >= 0 && !vmctl_tell(l->watcher[i], "oom"))
			(void)close(TAKE_FD(l->watcher[i]));
	}
}

static void on_notify(void *arg, const char *text, size_t len)
{
	struct vmloop *l = arg;

	notify_relay(&l->p->notify, text, len);
	if (l->ready || !notify_says_ready(text, len))
		return;
	l->ready = true;
	if (l->ready_conn >= 0)
		vmctl_answer(TAKE_FD(l->ready_conn), 0, "");
}

static const struct agent_ops agent_ops = {
	.reply = on_reply, .exited = on_exited, .oom = on_oom, .notify = on_notify, .lost = on_lost
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
	/* that of the boot may come as late */
	l->lingered = l->lingering;
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
		if (d.id & AGENT_ID_ACCEPTED)
			l->accepted -= !!l->accepted;
		else if (AGENT_ID_IS_STREAM(d.id) && AGENT_ID_PROC(d.id) == PROTO_PROC_INIT)
			l->streams_open &= ~STREAM_BIT(AGENT_ID_FD(d.id));
		else
			vmexec_done(&l->exec, d.id);
	}
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

bool vmloop_signal(struct vmloop *l, uint32_t signo, uint32_t flags)
{
	return unread_signal(
		&l->unread, &l->agent, PROTO_PROC_INIT, signo, flags, l->exited, &l->ticking);
}

static void on_tick(struct loop_src *src, uint32_t events)
{
	static const struct itimerspec never;
	struct vmloop *l = src->arg;
	uint64_t n;

	(void)events;
	/* while the VM is paused nobody can take anything */
	if (read(src->fd, &n, sizeof(n)) != (ssize_t)sizeof(n) || l->phase == PHASE_PAUSED)
		return;
	l->ticking.on = unread_count(&l->unread, &l->agent, PROTO_PROC_INIT, l->exited);
	l->ticking.on |= vmexec_tick(&l->exec);
	if (!l->ticking.on)
		(void)timerfd_settime(src->fd, 0, &never, NULL);
}

static void on_signal(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	struct signalfd_siginfo si;

	(void)events;
	while (read(src->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGWINCH && l->p->tty_fd >= 0)
			vmloop_pass_size(l);
		else if (signal_is_passed((int)si.ssi_signo, si.ssi_code, (pid_t)si.ssi_pid))
			(void)vmloop_signal(l, si.ssi_signo, 0);
	}
}

static void on_sigsys(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) == (ssize_t)sizeof(n))
		(void)vmloop_signal(l, SIGSYS, 0);
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

/* Hands our stdio, and what was passed beside it, to the guest's streams and keeps nothing of it,
 * so that readers see the end when the workload's writers are gone. */
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
	l->more = (struct morefds_serve){ .loop = l->loop,
		.agent = &l->agent,
		.vm = l->vm,
		.proc = PROTO_PROC_INIT,
		.next_id = &l->accepted_id,
		.open = &l->accepted };
	return r ? r : morefds_open(&l->more, &l->p->more, &l->streams_open);
}

static int send_create(struct vmloop *l, unsigned stdio, struct error *e)
{
	CLEAN_FREE uint8_t *blob = NULL;
	size_t len = 0;
	int r = guest_blob(l->p->spec, l->p->c, &l->p->size, l->p->notify.path, stdio, &l->p->more,
		&l->p->limits, &blob, &len, e);

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
		.nic_conn = -1,
		.update_conn = -1,
		.pause_conn = -1,
		.ready_conn = -1,
		.phase = PHASE_CREATING };
	l->sync.fd = -1;
	for (unsigned i = 0; i < CTL_ASKERS; i++)
		l->asker[i].fd = -1;
	for (unsigned i = 0; i < WATCHERS; i++)
		l->watcher[i] = -1;
	r = loop_new("main", &l->loop, e);
	if (!r)
		r = agent_open(&l->agent, l->loop, vm, &agent_ops, l, e);
	vmexec_init(&l->exec, l->loop, &l->agent, vm, &l->ticking);
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
		r = add(l, &l->ctl, l->p->ctl_fd, "control", vmctl_on_asked);
	if (!r)
		r = add(l, &l->pause, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
			"pause", vmctl_on_rested);
	if (!r)
		r = add(l, &l->unsynced,
			timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "unsynced",
			vmctl_on_unsynced);
	if (!r)
		r = add(l, &l->tick, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
			"tick", on_tick);
	l->ticking.fd = l->tick.fd;
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
			(void)err_set(
				&e, r, "the main thread cannot wait for events: %s", err_text(r));
			vm_gone(l, e.msg);
		}
		maybe_finish(l);
	}
	trace_end();
	/* the VM goes with the process: taking it apart first would only cost time; finish() has
	 * seen to its disks */
	return l->code;
}
