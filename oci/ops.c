// SPDX-License-Identifier: Apache-2.0
/* start, kill and delete: each a look at the state directory and at most one question to the VMM.
 */
/*
 * How it works
 *
 * There is no daemon: what a container is, is found out each time, from its directory and from
 * whether the VMM process behind its pid still lives (container_phase()). The process is always
 * signalled by pidfd, so that a pid used again by somebody else is never hit.
 *
 * SIGKILL goes to the VMM itself, the wall around the container, and needs no cooperation from
 * inside; other signals are asked of it, and of a VMM that does not answer too, by sending it the
 * signal. That reaches the container's process alone, so with --all the failure is told. start and
 * delete take the container's lock, then look again, since a create may have ended meanwhile.
 * delete --force kills a VMM whose create, start or delete holds the lock and does not end, and
 * also removes what cannot be read.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci/cgroup.h"
#include "oci/cgroup_systemd.h"
#include "oci/create.h"
#include "oci/ctl.h"
#include "oci/fsutil.h"
#include "oci/hooks.h"
#include "oci/interrupt.h"
#include "oci/nic.h"
#include "oci/ready.h"
#include "util/cleanup.h"
#include "util/log.h"

/* Until there is something to read, the end of a process included; UINT_MAX: for ever. */
static int wait_for(int fd, unsigned ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r;

	do {
		r = poll(&p, 1, (int)ms);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r ? 0 : -ETIMEDOUT;
}

/* @vmm: its pidfd. */
static int poststart(const struct container *c, const struct spec *s, int vmm, struct error *e)
{
	struct hook_state st = {
		.c = c, .status = "running", .pid = c->pid, .watch_fd = vmm, .outlives = true
	};
	int r = hooks_run(s, SPEC_HOOK_POSTSTART, &st, e);

	if (r)
		(void)syscall(SYS_pidfd_send_signal, vmm, SIGKILL, NULL, 0);
	return r;
}

/* The workload may run at any moment after the request, whatever was answered: who is told of a
 * failure must be able to believe it. */
static int no_answer(const struct container *c, int vmm, int why, unsigned ms, struct error *e)
{
	(void)syscall(SYS_pidfd_send_signal, vmm, SIGKILL, NULL, 0);
	if (why == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT,
			"the VMM of container \"%s\" has not started it within %u s and was killed",
			c->id, ms / 1000);
	if (why == -ECONNRESET)
		return err_set(e, ECONNRESET, "container \"%s\" is not running", c->id);
	return err_sys(e, why,
		"the answer of the VMM of container \"%s\" cannot be read, and it was killed",
		c->id);
}

int container_network(struct container *c, const struct spec *s, struct error *e)
{
	return c->nic ? nic_start(c, s, e) : 0;
}

int container_start(struct container *c, const struct spec *s, unsigned ms, struct error *e)
{
	struct ctl_req q = { .op = CTL_START };
	struct ctl_reply reply = { 0 };
	/* before it runs: who could not end it must not start it */
	CLEAN_FD int vmm = container_pidfd(c);
	CLEAN_FD int fd = ctl_connect(c, e);
	int r;

	if (fd < 0)
		return fd;
	if (vmm < 0)
		return err_sys(e, vmm, "the VMM process of container \"%s\"", c->id);
	if (s)
		ms = hooks_ms(s, SPEC_HOOK_START_CONTAINER, ms);
	r = ctl_send(fd, &q, NULL, 0, e);
	if (r)
		return r;
	r = ctl_reply(fd, ms, &reply);
	if (r)
		return no_answer(c, vmm, r, ms, e);
	if (reply.code)
		return err_set(e, reply.code, "%s", reply.text);
	/* it runs: what comes from now on, while a poststart hook does, is its own */
	if (interrupt_end())
		return err_set(e, EINTR, "ended by a signal");
	return s ? poststart(c, s, vmm, e) : 0;
}

/* As container_start(); the config is needed for hooks and the network alone. */
static int start_created(struct container *c, struct error *e)
{
	const uint32_t both = HOOK_BIT(SPEC_HOOK_START_CONTAINER) | HOOK_BIT(SPEC_HOOK_POSTSTART);
	CLEAN(spec_freep) struct spec *s = NULL;
	int r = c->hooks & both || c->nic ? spec_load(c->dir_fd, "config.json", &s, NULL, NULL, e)
					  : 0;

	if (!r && s)
		r = container_network(c, s, e);
	return r ? r : container_start(c, s, CTL_START_MS, e);
}

int rt_start(const struct rt *rt, const char *id, struct error *e)
{
	CLEAN(container_free) struct container c;
	enum phase ph;
	int r = container_open(rt, id, &c, e), fd;

	if (r)
		return r;
	ph = container_phase(&c, NULL);
	if (ph == PHASE_CREATED) {
		/* a create that is about to end, or a delete that is quicker */
		r = container_lock(&c, LOCK_MS, e);
		if (r)
			return r;
		ph = container_phase(&c, NULL);
	}
	switch (ph) {
	case PHASE_CREATED:
		r = start_created(&c, e);
		/* others may delete it now, also while we wait for its word */
		container_unlock(&c);
		fd = r ? -1 : ready_ask(&c);
		if (fd >= 0)
			ready_tell(&c, fd, true);
		return r;
	case PHASE_RUNNING:
	case PHASE_PAUSED:
		return err_set(e, EBUSY, "cannot start an already running container");
	case PHASE_STOPPED:
		return err_set(e, EINVAL, "cannot start a container that has stopped");
	case PHASE_CREATING:
		break;
	}
	return err_set(e, EBUSY, "cannot start a container that is still being created");
}

/* Clients know it by these words. */
static int not_running(struct error *e)
{
	return err_set(e, ESRCH, "container not running: no such process");
}

static int send_to_vmm(const struct container *c, int sig, struct error *e)
{
	CLEAN_FD int fd = container_pidfd(c);

	return fd < 0 || syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) ? not_running(e) : 0;
}

/* The VMM has hung up: because it ends, or because too many others ask. */
static int send_to_ending(const struct container *c, int sig, struct error *e)
{
	CLEAN_FD int fd = container_pidfd(c);

	return fd < 0 || !wait_for(fd, EXIT_MS) ? not_running(e) : send_to_vmm(c, sig, e);
}

/* The VMM has not taken the question, or not answered in time. What it is sent itself it passes on
 * to the container's process, and only to that. */
static int kill_unasked(
	const struct container *c, int sig, bool all, const struct error *why, struct error *e)
{
	CLEAN_FD int fd = all ? container_pidfd(c) : -1;

	/* not answering is no reason for a signal to be lost */
	if (!all)
		return why->code == ECONNRESET || why->code == EPIPE ? send_to_ending(c, sig, e)
								     : send_to_vmm(c, sig, e);
	if (fd < 0 || !wait_for(fd, EXIT_MS))
		return 0;
	return err_set(e, why->code,
		"the VMM of container \"%s\" does not answer: the signal may not have been sent to all of its processes",
		c->id);
}

int rt_kill(const struct rt *rt, const char *id, int sig, bool all, struct error *e)
{
	CLEAN(container_free) struct container c;
	struct ctl_req q = { .op = CTL_SIGNAL, .arg = (uint32_t)sig, .flags = all ? CTL_ALL : 0 };
	struct error ask = { 0 };
	enum phase ph;
	int r = container_open(rt, id, &c, e);

	if (r)
		return r;
	ph = container_phase(&c, NULL);
	if (ph == PHASE_STOPPED && all)
		return 0;
	if (ph == PHASE_STOPPED || (ph == PHASE_CREATING && (sig != SIGKILL || c.pid <= 0)))
		return not_running(e);
	/* the wall itself: no need to ask inside, and a create that hangs ends by it too */
	if (sig == SIGKILL)
		return send_to_vmm(&c, sig, e);
	r = ctl_ask(&c, &q, all ? CTL_ALL_MS : CTL_SIGNAL_MS, &ask);
	if (!r)
		return 0;
	if (r == -ETIMEDOUT || r == -ECONNREFUSED || r == -ECONNRESET || r == -EPIPE)
		return kill_unasked(&c, sig, all, &ask, e);
	if (r == -ESRCH || container_phase(&c, NULL) == PHASE_STOPPED)
		return not_running(e);
	return err_set(e, ask.code, "%s", ask.msg);
}

/* Kills the VMM and waits until it is gone, reaped or not. */
static int end_vmm(const struct container *c, unsigned ms, struct error *e)
{
	CLEAN_FD int fd = container_pidfd(c);
	uint64_t start = 0;
	char state = '?';
	int r;

	if (fd < 0)
		return 0;
	/* it is ending by itself, and its exit status is the workload's: somebody may wait for that
	 */
	if (container_phase(c, NULL) == PHASE_STOPPED && !wait_for(fd, EXIT_MS))
		return 0;
	if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) && errno != ESRCH)
		return err_sys(e, errno, "cannot kill the VMM of container \"%s\" (pid %d)", c->id,
			(int)c->pid);
	r = wait_for(fd, ms);
	if (r != -ETIMEDOUT)
		return r ? err_sys(e, r, "cannot wait for the VMM of container \"%s\"", c->id) : 0;
	/* D: in the kernel, by a file system or device that hangs; R: a busy host; S: the parent of
	 * an exec's process does not take its end */
	if (proc_start_time(c->pid, &start, &state))
		state = '?';
	return err_set(e, ETIMEDOUT,
		"the VMM of container \"%s\" (pid %d) is still there %u s after SIGKILL, in state %c",
		c->id, (int)c->pid, ms / 1000, state);
}

/* The config of a container that is about to go, when it has poststop hooks. */
static struct spec *poststop_spec(const struct container *c)
{
	struct spec *s = NULL;
	struct error why = { 0 };

	/* without a VMM nothing was ever made that they could be about */
	if (c->pid > 0 && c->hooks & HOOK_BIT(SPEC_HOOK_POSTSTOP) &&
		spec_load(c->dir_fd, "config.json", &s, NULL, NULL, &why))
		log_warn("poststop hooks: %s", why.msg);
	return s;
}

int container_destroy(struct container *c, unsigned ms, struct error *e)
{
	CLEAN(spec_freep) struct spec *s = poststop_spec(c);
	struct hook_state st = { .c = c, .status = "stopped", .watch_fd = -1 };
	CLEAN_FD int net = nic_hold(c);
	struct cg_mark m;
	int r = end_vmm(c, ms, e);

	if (r)
		return r;
	nic_end(c, net);
	/* the name of the scope, and the path of the cgroup, may be another container's by now */
	cg_mark_of(&m, c->created, c->id);
	if (c->scope && c->cgroup && cgroup_is_ours(c->cgroup, &m))
		sd_scope_stop(c->scope);
	if (c->cgroup) {
		r = cgroup_destroy(c->cgroup, c->cgroup_kept, &m, c->pid > 0, ms, e);
		if (r)
			return r;
	}
	r = container_remove(c, e);
	/* their failures are warnings */
	if (!r && s)
		r = hooks_run(s, SPEC_HOOK_POSTSTOP, &st, e);
	return r;
}

/* As container_lock(); a create or start that holds the lock ends with the VMM that it waits for.
 */
static int lock_by_force(struct container *c, struct error *e)
{
	for (unsigned waited = 0;; waited += FORCE_MS) {
		struct error why = { 0 };
		int r = container_lock(c, FORCE_MS, &why);
		CLEAN_FD int fd = -1;

		if (r != -EBUSY || waited >= LOCK_MS)
			return r ? err_set(e, r, "%s", why.msg) : 0;
		/* its pid may have been recorded only now */
		IGNORE_RESULT(container_refresh(c, NULL));
		fd = container_phase(c, NULL) == PHASE_STOPPED ? -1 : container_pidfd(c);
		if (fd >= 0)
			(void)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	}
}

static int lock_for_delete(struct container *c, bool force, int opened, struct error *e)
{
	struct error why = { 0 };
	int r = force ? lock_by_force(c, &why) : container_lock(c, LOCK_MS, &why);

	/* no lock: half of one of ours, which may go; what has a state of another kind may not */
	if (r == -ENOLCK && force && (!opened || opened == -ENODATA))
		return 0;
	return r ? err_set(e, r, "%s", why.msg) : 0;
}

static int delete_open(struct container *c, bool force, int opened, struct error *e)
{
	struct error why = { 0 };
	enum phase ph;
	int r = lock_for_delete(c, force, opened, e);

	if (r)
		return r;
	/* create may have gone on while the lock was waited for */
	r = container_refresh(c, &why);
	if (r && !force)
		return err_set(e, r, "%s", why.msg);
	ph = container_phase(c, NULL);
	if (!force && ph != PHASE_STOPPED && ph != PHASE_CREATED)
		return err_set(e, EBUSY, "cannot delete container \"%s\" that is not stopped: %s",
			c->id, phase_name(ph));
	return container_destroy(c, DESTROY_MS, e);
}

int rt_delete(const struct rt *rt, const char *id, bool force, struct error *e)
{
	CLEAN(container_free) struct container c;
	struct error why = { 0 };
	int opened = container_open(rt, id, &c, &why), r = opened;

	if (c.root_fd >= 0)
		state_sweep(c.root_fd);
	/* with force also what cannot be read goes, as long as the directory is there */
	if (!r || (force && c.dir_fd >= 0 && r != -ENOENT)) {
		why = (struct error){ 0 };
		r = delete_open(&c, force, opened, &why);
	}
	if (r == -ENOENT && force)
		return 0;
	return r ? err_set(e, r, "%s", why.msg) : 0;
}
