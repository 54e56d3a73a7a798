// SPDX-License-Identifier: Apache-2.0
/* The loop of krun_start_enter(): between the guest's agent, the shutdown eventfd and the end. */
/*
 * How it works
 *
 * One epoll loop on the caller's thread. HELLO, CREATE and the workload's streams are queued before
 * the guest's first instruction; when CREATE is answered START follows at once, and the workload's
 * end, with its output written, is the end. A guest with a first process of its own has no agent:
 * its end is that of the VM.
 *
 * Signals keep what the program gave them, with two exceptions. Two are blocked here and in the
 * threads that follow: SIGPIPE, so that a reader who goes away is an error of one write, and
 * SIGWINCH, which comes by a signalfd and goes on to the guest's terminals. And those by which
 * others end a program (signals.c), where it has no say of its own about them, end the loop first,
 * and then the process: what the guest was told is written would go with it, and the terminal stay
 * raw.
 *
 * The end takes its steps in an order in which what waits without a limit, for a medium, comes
 * last: the guest's last words are out by then, and the terminal is the user's again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "api/start.h"
#include "init/proto/blob.h"
#include "oci/agent.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "vmm.h"

#define BOOT_SECONDS  600 /* nobody else waits: a slow host is not a lost guest */
#define STOP_SECONDS  10
#define DRAIN_SECONDS 10
#define WRITE_SECONDS 600 /* for what a guest has not yet written to its root on a disk */
#define HURRY_SECONDS 1	  /* of somebody who sends a signal */
#define CODE_SETUP    125

struct loop_state {
	const struct run_cfg *cfg;
	struct loop *loop;
	struct agent agent;
	struct loop_src event, done, signals, ends, shutdown, timer;
	uint32_t create_seq, start_seq;
	unsigned streams_open; /* output streams that are not finished, BLOB_STDIO bits */
	bool created, exited, stopping, lost, quit;
	bool ending; /* the guest was told to write its root and to end */
	int code;
	bool blocked;
	sigset_t signals_before;
};

static void finish(struct loop_state *l, int code)
{
	if (!l->quit)
		l->code = code;
	l->quit = true;
}

static void set_timer(struct loop_state *l, int seconds)
{
	struct itimerspec t = { .it_value.tv_sec = seconds };

	(void)timerfd_settime(l->timer.fd, 0, &t, NULL);
}

/* A file system on a disk is in the guest's memory, and is not ours to write. */
static void maybe_finish(struct loop_state *l)
{
	if (!l->exited || l->streams_open || l->ending)
		return;
	l->ending = l->cfg->c->remount_dev && agent_send(&l->agent, MSG_SHUTDOWN, NULL, 0);
	if (l->ending)
		set_timer(l, WRITE_SECONDS);
	else
		finish(l, l->code);
}

/* The agent's terminal has its size by a message, others by their ports. */
static void pass_sizes(struct loop_state *l)
{
	const struct stdio *io = l->cfg->stdio;

	for (unsigned i = 0; i < io->nterms; i++) {
		const struct stdio_term *t = &io->term[i];
		struct msg_winsize w = { .proc = PROTO_PROC_INIT };
		struct winsize ws;

		if (ioctl(t->fd, TIOCGWINSZ, &ws) || (!ws.ws_row && !ws.ws_col))
			continue;
		w.rows = ws.ws_row;
		w.cols = ws.ws_col;
		if (t->port >= 0)
			vmm_console_resize(l->cfg->vm, (unsigned)t->port, w.rows, w.cols);
		else if (l->cfg->work && t->fd == io->tty)
			(void)agent_send(&l->agent, MSG_WINSIZE, &w, sizeof(w));
	}
}

/* What the original's guest has where sockets are the host's, its own first address and a
 * link-local one of the kernel's: who asks getaddrinfo() with AI_ADDRCONFIG for one family finds no
 * name without an address of it, and who asks for both finds those of one alone where only that has
 * one. Nothing hangs on it. */
static void show_addresses(struct loop_state *l)
{
	static const struct msg_netaddr list[] = { { .ifindex = 1000,
							   .name = "dummy0",
							   .family = MSG_NET_INET,
							   .prefix = 24,
							   .ip = { 203, 0, 113, 1 } },
		{ .ifindex = 1000,
			.name = "dummy0",
			.family = MSG_NET_INET6,
			.prefix = 64,
			.ip = { 0xfe, 0x80, [15] = 1 } } };

	if (start_tsi(l->cfg->c))
		(void)agent_send(&l->agent, MSG_NET, list, sizeof(list));
}

static void on_reply(void *arg, const struct agent_reply *r)
{
	struct loop_state *l = arg;
	bool ours = r->type == MSG_HELLO || r->seq == l->create_seq || r->seq == l->start_seq;

	if (ours && r->status) {
		bool exec = r->seq == l->start_seq && r->stage == MSG_STAGE_EXEC;

		log_err("the workload cannot be started: %s",
			*r->text ? r->text : err_text(r->status));
		return finish(l, !exec ? CODE_SETUP : r->status == -ENOENT ? 127 : 126);
	}
	if (r->seq == l->create_seq) {
		l->created = true;
		if (!l->stopping)
			set_timer(l, 0);
		pass_sizes(l);
		show_addresses(l);
		l->start_seq = agent_send_proc(&l->agent, MSG_START, PROTO_PROC_INIT);
	}
}

/* reboot() in a PID namespace ends its first process by SIGHUP or SIGINT, which cannot else, as it
 * has no handler for them; how a program died that is not the first process is that one's code. */
int run_exit_code(const struct msg_exit *x)
{
	if (x->signo == SIGHUP || x->signo == SIGINT)
		return 0;
	return x->signo ? 128 + (int)(x->signo & 0x7f) : (int)(x->code & 0xff);
}

static void on_exited(void *arg, const struct msg_exit *x)
{
	struct loop_state *l = arg;

	if (x->proc != PROTO_PROC_INIT || l->exited)
		return;
	l->exited = true;
	l->code = run_exit_code(x);
	if (x->flags & MSG_EXIT_OPEN_STDOUT)
		l->streams_open &= ~BLOB_STDIO(PROTO_STDOUT);
	if (x->flags & MSG_EXIT_OPEN_STDERR)
		l->streams_open &= ~BLOB_STDIO(PROTO_STDERR);
	maybe_finish(l);
}

static void on_oom(void *arg, const struct msg_oom *m)
{
	(void)arg;
	log_guest("the guest is out of memory, %llu processes killed so far",
		(unsigned long long)m->kills);
}

/* What the workload said, else what the VM did. */
int run_end_code(const struct run_end *x)
{
	if (x->exited)
		return x->code;
	if (!x->work && x->init_code != RUN_NO_CODE)
		return x->init_code & 0xff;
	if (x->stopping)
		return x->work ? 128 + SIGTERM : 0;
	if (x->work && !x->created)
		return CODE_SETUP;
	/* nothing in a workload's PID namespace can end the machine itself well */
	if (x->work)
		return 1;
	return x->how == VMM_END_GUEST && !x->panicked ? 0 : 1;
}

static int end_code(const struct loop_state *l, enum vmm_end end)
{
	const struct run_end x = { .how = end,
		.panicked = vmm_panicked(l->cfg->vm),
		.work = l->cfg->work,
		.created = l->created,
		.exited = l->exited,
		.stopping = l->stopping,
		.code = l->code,
		.init_code = __atomic_load_n(l->cfg->code, __ATOMIC_ACQUIRE) };

	return run_end_code(&x);
}

static void on_lost(void *arg, const char *why)
{
	struct loop_state *l = arg;

	if (l->quit)
		return;
	/* a guest that shuts down takes the agent along: the VM's own end, if it comes, says more
	 */
	if (l->created && !l->exited && !l->stopping && vmm_state(l->cfg->vm) == VMM_RUNNING) {
		l->lost = true;
		log_guest("%s", why);
		return set_timer(l, STOP_SECONDS);
	}
	if (!l->exited && !l->stopping)
		log_err("%s", why);
	finish(l, l->exited || l->stopping ? end_code(l, VMM_END_STOPPED) : CODE_SETUP);
}

static const struct agent_ops agent_ops = {
	.reply = on_reply, .exited = on_exited, .oom = on_oom, .lost = on_lost
};

static void on_event(struct loop_src *src, uint32_t events)
{
	struct loop_state *l = src->arg;
	enum vmm_end end = vmm_state(l->cfg->vm);
	bool early = l->cfg->work && !l->created && !l->stopping;
	bool lost = l->cfg->work && !l->stopping;

	(void)events;
	loop_del(l->loop, src);
	if (!l->exited && (end == VMM_END_FAILED || lost || vmm_panicked(l->cfg->vm)))
		log_err("the VM ended%s: %s", early ? " before the workload began" : "",
			vmm_why(l->cfg->vm));
	finish(l, end_code(l, end));
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct loop_state *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) != (ssize_t)sizeof(n))
		return;
	if (l->ending)
		log_err("the guest has not written its root within %d s", WRITE_SECONDS);
	if (l->stopping || l->lost || l->ending)
		vmm_stop(l->cfg->vm);
	if (l->stopping || l->created)
		return;
	log_err("the guest did not come up within %d s (%s)", BOOT_SECONDS,
		l->agent.up ? "its agent did not make the workload" : "no word from its agent");
	finish(l, CODE_SETUP);
}

static void on_done(struct loop_src *src, uint32_t events)
{
	struct loop_state *l = src->arg;
	struct vmm_vsock_done d;

	(void)events;
	while (read(src->fd, &d, sizeof(d)) == (ssize_t)sizeof(d)) {
		for (unsigned fd = PROTO_STDOUT; fd < PROTO_FDS; fd++) {
			if (d.id == AGENT_ID_STREAM(PROTO_PROC_INIT, fd))
				l->streams_open &= ~BLOB_STDIO(fd);
		}
	}
	maybe_finish(l);
}

static void on_signals(struct loop_src *src, uint32_t events)
{
	struct signalfd_siginfo si;

	(void)events;
	while (read(src->fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		pass_sizes(src->arg);
}

/* The signal is the end's reason, whatever comes after it. */
static void on_end_signal(struct loop_src *src, uint32_t events)
{
	struct loop_state *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) != (ssize_t)sizeof(n) || l->quit)
		return;
	*l->cfg->signal = signals_first();
	finish(l, 128 + *l->cfg->signal);
}

static void on_shutdown(struct loop_src *src, uint32_t events)
{
	struct loop_state *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) != (ssize_t)sizeof(n) || l->stopping)
		return;
	l->stopping = true;
	if (!l->cfg->work || !l->created) {
		vmm_stop(l->cfg->vm);
		return;
	}
	(void)agent_signal(&l->agent, PROTO_PROC_INIT, SIGTERM, MSG_SIGNAL_ALL);
	set_timer(l, STOP_SECONDS);
}

static int add(struct loop_state *l, struct loop_src *src, int fd, const char *name, loop_fn *fn)
{
	*src = (struct loop_src){ .fd = fd, .name = name, .fn = fn, .arg = l };
	return fd < 0 ? -errno : loop_add(l->loop, src, EPOLLIN);
}

static int stream(struct loop_state *l, enum proto_fd which, int fd, unsigned *stdio)
{
	int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return 0;
	if (own < 0)
		return -errno;
	*stdio |= BLOB_STDIO(which);
	return agent_stream(&l->agent, l->cfg->vm, PROTO_PROC_INIT, which, own);
}

static int tell_agent(struct loop_state *l, struct error *e)
{
	const struct stdio *s = l->cfg->stdio;
	CLEAN_FREE uint8_t *blob = NULL;
	unsigned stdio = 0;
	size_t len = 0;
	int r = agent_open(&l->agent, l->loop, l->cfg->vm, &agent_ops, l, e);

	if (!r && s->tty >= 0)
		r = stream(l, PROTO_TTY, s->tty, &stdio);
	for (int i = 0; !r && s->tty < 0 && i < 3; i++)
		r = stream(l, (enum proto_fd)i, s->fd[i], &stdio);
	l->streams_open = stdio & ~BLOB_STDIO(PROTO_STDIN);
	if (!r)
		r = work_blob(l->cfg->work, l->cfg->c, stdio, s->tty, s->in < 0, &blob, &len, e);
	if (r)
		return err_sys(e, r, "cannot reach the guest's agent");
	l->create_seq = agent_send(&l->agent, MSG_CREATE, blob, len);
	return l->create_seq ? 0 : err_sys(e, ENOMEM, "cannot describe the workload to the guest");
}

static int block_signals(struct loop_state *l)
{
	sigset_t s;

	(void)sigemptyset(&s);
	(void)sigaddset(&s, SIGWINCH);
	l->signals.fd = signalfd(-1, &s, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signals.fd < 0)
		return -errno;
	(void)sigaddset(&s, SIGPIPE);
	if (pthread_sigmask(SIG_BLOCK, &s, &l->signals_before))
		return -EINVAL;
	l->blocked = true;
	return 0;
}

static int begin(struct loop_state *l, struct error *e)
{
	const struct run_cfg *cfg = l->cfg;
	int r = block_signals(l);

	if (!r)
		r = loop_new("krun", &l->loop, e);
	if (!r)
		r = add(l, &l->event, vmm_event_fd(cfg->vm), "vm", on_event);
	if (!r)
		r = add(l, &l->done, cfg->done_fd, "streams", on_done);
	if (!r)
		r = add(l, &l->signals, l->signals.fd, "signals", on_signals);
	if (!r)
		r = add(l, &l->ends, signals_take(), "end", on_end_signal);
	if (!r)
		r = add(l, &l->timer, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
			"timer", on_timer);
	if (!r && cfg->c->shutdown_fd >= 0)
		r = add(l, &l->shutdown, cfg->c->shutdown_fd, "shutdown", on_shutdown);
	if (!r && cfg->work)
		r = tell_agent(l, e);
	if (!r && cfg->work)
		set_timer(l, BOOT_SECONDS);
	if (!r)
		r = vmm_start(cfg->vm, e);
	return r ? err_sys(e, r, "cannot start the VM") : 0;
}

/* What a start that failed holds; one that did not ends with the process. */
static void give_up(struct loop_state *l)
{
	if (l->agent.loop)
		agent_close(&l->agent);
	signals_give_back();
	/* the program was to end by it, and goes on otherwise */
	if (l->ends.fd >= 0 && signals_first())
		(void)raise(signals_first());
	if (l->ends.fd >= 0)
		(void)close(l->ends.fd);
	if (l->signals.fd >= 0)
		(void)close(l->signals.fd);
	if (l->timer.fd >= 0)
		(void)close(l->timer.fd);
	loop_free(l->loop);
	if (l->blocked)
		(void)pthread_sigmask(SIG_SETMASK, &l->signals_before, NULL);
}

/* What is on its way to slow readers would end with the process; no more may come. */
static void drain(const struct run_cfg *cfg)
{
	unsigned seconds = 0;

	while (!vmm_drain(cfg->vm, 1000)) {
		seconds++;
		if (seconds < DRAIN_SECONDS && !(signals_first() && seconds >= HURRY_SECONDS))
			continue;
		log_warn("console output was lost: nobody read it within %u s", seconds);
		return;
	}
}

int run(const struct run_cfg *cfg, struct error *e)
{
	struct loop_state l = {
		.cfg = cfg, .agent.src.fd = -1, .signals.fd = -1, .ends.fd = -1, .timer.fd = -1
	};
	int r = begin(&l, e);

	if (r) {
		give_up(&l);
		return r;
	}
	stdio_raw(cfg->stdio);
	while (!l.quit) {
		r = loop_once(l.loop, -1);
		if (r < 0 && r != -EINTR) {
			log_err("main loop: %s", err_text(r));
			finish(&l, CODE_SETUP);
		}
	}
	vmm_stop(cfg->vm);
	drain(cfg);
	stdio_restore();
	/* what the guest was told is done is in its disks, also where it flushed nothing */
	vmm_settle(cfg->vm);
	/* also one that came when the guest had ended by itself */
	*cfg->signal = signals_first();
	signals_give_back();
	return l.code;
}
