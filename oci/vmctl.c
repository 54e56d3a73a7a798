// SPDX-License-Identifier: Apache-2.0
/* The control socket of a VMM: what other invocations of the runtime ask for. */
/*
 * How it works
 *
 * A connection is one request. Most often it is there when the connection is taken; a silent one
 * waits among the askers, of which the oldest goes when there are too many. What the guest has to
 * answer keeps its connection in the loop's record until the reply comes (on_reply() in vmloop.c);
 * who hangs up meanwhile is not missed. exec's connections go to vmexec.c, those of events stay
 * among the watchers.
 *
 * A pause is in two steps: the guest writes back its files, within a time limit, then the CPUs and
 * devices stop.
 */
/* #syscalls:main accept4 close poll pread64 read recvmsg sendto timerfd_settime */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "oci/ctl.h"
#include "oci/guest_blob.h"
#include "oci/netaddrs.h"
#include "oci/nic.h"
#include "oci/vmloop.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"
#include "vmm.h"

#define SHOWN_ADDRS  64 /* addresses of the network namespace that the guest shows */
#define PAUSE_SYNC_S 2	/* that a pause waits for the guest to write its files back */

void vmctl_answer(int conn, int code, const char *text)
{
	struct ctl_reply r = { .code = abs(code) };

	(void)snprintf(r.text, sizeof(r.text), "%.*s", (int)sizeof(r.text) - 1, text);
	(void)send(conn, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(conn);
}

bool vmctl_tell(int fd, const char *text)
{
	struct ctl_reply r = { 0 };

	(void)snprintf(r.text, sizeof(r.text), "%s", text);
	return send(fd, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN;
}

/* True when nobody waits for the answer any more: who gave up has perhaps done without us. */
static bool asker_gone(int conn)
{
	struct pollfd p = { .fd = conn, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0;
}

static const char cannot_pause[] = "cannot pause a container that is neither created nor running";

static bool may_pause(const struct vmloop *l)
{
	return l->phase == PHASE_RUNNING || (l->phase == PHASE_CREATED && l->start_conn < 0);
}

/* The guest has written back its files, or had its time for that. */
void vmctl_synced(struct vmloop *l)
{
	int conn = TAKE_FD(l->pause_conn), r;

	if (!may_pause(l))
		return vmctl_answer(conn, EBUSY, cannot_pause);
	r = vmm_pause(l->vm);
	if (r)
		return vmctl_answer(conn, r,
			r == -EAGAIN ? "a CPU of the guest cannot be stopped now"
				     : "the VM has ended");
	l->unpaused = l->phase;
	r = vmloop_set_phase(l, PHASE_PAUSED);
	if (r)
		IGNORE_RESULT(vmm_resume(l->vm));
	vmctl_answer(conn, r, r ? vmloop_no_status : "");
}

void vmctl_on_unsynced(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) != (ssize_t)sizeof(n) || l->pause_conn < 0)
		return;
	log_warn("the guest has not written back its files in %d s; paused all the same",
		PAUSE_SYNC_S);
	vmctl_synced(l);
}

/* The guest shows the addresses of the namespace as they are now. Nothing hangs on its answer. */
static void show_addresses(struct vmloop *l)
{
	struct msg_netaddr list[SHOWN_ADDRS];
	int n = netaddrs_collect(list, SHOWN_ADDRS);

	if (n < 0)
		log_warn("cannot read the addresses of the network namespace: %s", err_text(n));
	else if (n > 0)
		l->net_seq = agent_send(&l->agent, MSG_NET, list, (size_t)n * sizeof(list[0]));
}

static void ctl_start(struct vmloop *l, int conn)
{
	if (l->start_conn >= 0 || l->phase == PHASE_RUNNING || l->phase == PHASE_PAUSED)
		return vmctl_answer(conn, EBUSY, "cannot start an already running container");
	if (l->phase != PHASE_CREATED)
		return vmctl_answer(conn, EINVAL, "cannot start a container that is not created");
	if (!l->p->spec->process.set)
		return vmctl_answer(conn, EINVAL,
			"config.json: process: the config has none, there is nothing to start");
	if (l->p->nic.kind && !l->nic_up)
		return vmctl_answer(conn, EINVAL, "the container has no network interface yet");
	if (l->p->tty_fd >= 0)
		vmloop_pass_size(l);
	if (l->p->net.tsi)
		show_addresses(l);
	l->start_seq = agent_send_proc(&l->agent, MSG_START, PROTO_PROC_INIT);
	if (!l->start_seq)
		return vmctl_answer(conn, ENOMEM, "cannot ask the guest to start");
	l->start_conn = conn;
}

/* What is behind the guest's interface, and what the guest is to make of it. */
static int take_nic(struct vmloop *l, uint32_t bytes, int *fds, struct error *e)
{
	CLEAN_FREE uint8_t *head = bytes <= NIC_BYTES_MAX ? malloc(bytes) : NULL;
	int r;

	if (!head || fds[0] < 0 || fds[1] < 0)
		return err_set(e, EINVAL, "no network interface came along");
	if (pread(fds[1], head, bytes, 0) != (ssize_t)bytes)
		return err_set(e, EPROTO, "the description of the network interface is short");
	r = vmm_nic_attach(l->vm, 0, TAKE_FD(fds[0]), e);
	if (r)
		return r;
	l->nic_seq = agent_send(&l->agent, MSG_NIC, head, bytes);
	if (l->nic_seq)
		return 0;
	vmm_nic_detach(l->vm, 0);
	return err_sys(e, ENOMEM, "cannot describe the network to the guest");
}

static void ctl_nic(struct vmloop *l, int conn, const struct ctl_req *q, int *fds)
{
	struct error e = { 0 };

	if (!l->p->nic.kind)
		return vmctl_answer(conn, ENODEV, "the VM has no network interface");
	if (l->nic_up)
		return vmctl_answer(conn, EALREADY, "the network interface is there already");
	if (l->phase != PHASE_CREATED || l->nic_conn >= 0)
		return vmctl_answer(conn, EBUSY, "the container is not waiting for its network");
	if (!q->arg)
		return vmctl_answer(conn, 0, "");
	if (take_nic(l, q->arg, fds, &e))
		return vmctl_answer(conn, e.code, e.msg);
	l->nic_conn = conn;
}

static void ctl_signal(struct vmloop *l, int conn, const struct ctl_req *q)
{
	if (q->arg < 1 || q->arg > 64)
		return vmctl_answer(conn, EINVAL, "unknown signal");
	if (!vmloop_signal(l, q->arg, q->flags & CTL_ALL ? MSG_SIGNAL_ALL : 0))
		return vmctl_answer(conn, ESRCH, "container not running");
	vmctl_answer(conn, 0, "");
}

static void ctl_pause(struct vmloop *l, int conn)
{
	const struct itimerspec t = { .it_value.tv_sec = PAUSE_SYNC_S };

	if (l->phase == PHASE_PAUSED)
		return vmctl_answer(conn, 0, "");
	if (!may_pause(l))
		return vmctl_answer(conn, EBUSY, cannot_pause);
	if (l->pause_conn >= 0)
		return vmctl_answer(conn, EBUSY, "the container is being paused");
	l->sync_seq = agent_send(&l->agent, MSG_SYNC, NULL, 0);
	if (!l->sync_seq)
		return vmctl_answer(conn, ENOMEM, "cannot ask the guest to write back its files");
	l->pause_conn = conn;
	(void)timerfd_settime(l->unsynced.fd, 0, &t, NULL);
}

static void ctl_resume(struct vmloop *l, int conn)
{
	int r;

	if (l->phase != PHASE_PAUSED)
		return vmctl_answer(conn, 0, "");
	/* before anything goes on: it stays paused where that cannot be recorded */
	r = vmloop_set_phase(l, l->unpaused);
	if (r)
		return vmctl_answer(conn, r, vmloop_no_status);
	/* waits in the stream, to be read before anything that is sent later */
	(void)agent_resumed(&l->agent);
	r = vmm_resume(l->vm);
	vmctl_answer(conn, r, r ? "the VM has ended" : "");
}

/* What a file of the workload's cgroup in the guest is to say. */
static const char *limit_text(const struct ctl_req *q, char text[static 32])
{
	uint64_t v = q->arg | (uint64_t)q->flags << 32;

	if (q->op == CTL_GUEST_CPUS)
		(void)snprintf(text, 32, "0-%u", MAX(q->arg, 1U) - 1);
	else if (v == UINT64_MAX)
		(void)snprintf(text, 32, "max");
	else
		(void)snprintf(text, 32, "%" PRIu64, v);
	return text;
}

/* A limit of the workload's cgroup in the guest. */
static void ctl_guest_limit(struct vmloop *l, int conn, const struct ctl_req *q)
{
	const char *file = q->op == CTL_GUEST_MEMORY ? "memory.max"
		: q->op == CTL_GUEST_CPUS	     ? "cpuset.cpus"
						     : "pids.max";
	char text[32];
	CLEAN_FREE uint8_t *blob = NULL;
	size_t len = 0;

	/* a guest that never answers must not keep others away when that one has given up */
	if (l->update_conn >= 0 && asker_gone(l->update_conn))
		(void)close(TAKE_FD(l->update_conn));
	if (l->phase == PHASE_CREATING || l->update_conn >= 0)
		return vmctl_answer(conn, EBUSY, "the container is being created or updated");
	if (guest_blob_limit(file, limit_text(q, text), &blob, &len))
		return vmctl_answer(conn, ENOMEM, "cannot ask the guest to change a limit");
	l->update_seq = agent_send(&l->agent, MSG_UPDATE, blob, len);
	if (!l->update_seq)
		return vmctl_answer(conn, ENOMEM, "cannot ask the guest to change a limit");
	/* a paused guest reads it when it goes on, before it runs anything else for long */
	if (l->phase == PHASE_PAUSED)
		return vmctl_answer(conn, 0, "");
	l->update_conn = conn;
}

static void ctl_events(struct vmloop *l, int conn)
{
	for (unsigned i = 0; i < WATCHERS; i++) {
		if (l->watcher[i] >= 0 && asker_gone(l->watcher[i]))
			(void)close(TAKE_FD(l->watcher[i]));
		if (l->watcher[i] >= 0)
			continue;
		if (vmctl_tell(conn, ""))
			l->watcher[i] = conn;
		else
			(void)close(conn);
		return;
	}
	vmctl_answer(conn, EBUSY, "too many watch the events of this container");
}

/* Of several who wait the last one is told. */
static void ctl_ready(struct vmloop *l, int conn)
{
	if (!l->p->notify.caller)
		return vmctl_answer(
			conn, ENODATA, "the container was created without such a socket");
	if (l->ready)
		return vmctl_answer(conn, 0, "");
	if (l->ready_conn >= 0)
		vmctl_answer(TAKE_FD(l->ready_conn), EBUSY, "somebody else waits for that");
	l->ready_conn = conn;
}

static void add_asker(struct vmloop *l, int conn);

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
	else if (q->op == CTL_NIC)
		ctl_nic(l, conn, q, fds);
	else if (q->op == CTL_SIGNAL)
		ctl_signal(l, conn, q);
	else if (q->op == CTL_PAUSE)
		ctl_pause(l, conn);
	else if (q->op == CTL_RESUME)
		ctl_resume(l, conn);
	else if (q->op == CTL_GUEST_MEMORY || q->op == CTL_GUEST_PIDS || q->op == CTL_GUEST_CPUS)
		ctl_guest_limit(l, conn, q);
	else if (q->op == CTL_READY)
		ctl_ready(l, conn);
	else if (q->op == CTL_EVENTS)
		ctl_events(l, conn);
	else
		vmctl_answer(conn, ENOTSUP, "the VMM does not know this request");
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
		if (r != -ECONNRESET)
			log_warn("a request on the control socket: %s", err_text(r));
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

void vmctl_on_rested(struct loop_src *src, uint32_t events)
{
	struct vmloop *l = src->arg;
	uint64_t n;

	(void)events;
	if (read(src->fd, &n, sizeof(n)) == (ssize_t)sizeof(n) &&
		loop_add(l->loop, &l->ctl, EPOLLIN))
		log_err("the control socket is lost");
}

void vmctl_on_asked(struct loop_src *src, uint32_t events)
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
