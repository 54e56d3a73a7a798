// SPDX-License-Identifier: Apache-2.0
/*
 * Running a vCPU of KVM and telling in plain numbers why it stopped.
 *
 * How it works: a kick stores immediate_exit and then sends the signal. Whichever comes first, the
 * run in progress or the next one ends with EINTR, and only there immediate_exit is taken back,
 * before the caller looks at what it is asked: a request made before the kick is seen by then, one
 * made after it makes a kick of its own. The signal is unblocked on the thread that runs the vCPU,
 * by its first run there, so that it need not be everywhere.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hv/kvm/kvm_int.h"
#include "util/cleanup.h"
#include "util/util.h"

/* #syscalls:vcpu ioctl:KVM_RUN rt_sigprocmask rt_sigreturn */
/* #syscalls:main ioctl:KVM_RUN ioctl:KVM_KVMCLOCK_CTRL */
/* #syscalls:main,io,fs,vcpu tgkill clock_nanosleep */

/* One millisecond apart. */
#define ENOMEM_TRIES 100 /* of the first run */
#define KICK_TRIES   300

#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif

static void clean_vcpu(struct hv_vcpu **c)
{
	hv_vcpu_free(*c);
}

int hv_vcpu_new(struct hv *h, unsigned index, struct hv_vcpu **out, struct error *e)
{
	struct hv_vcpu *c CLEAN(clean_vcpu) = calloc(1, sizeof(*c));
	void *p;

	if (!c)
		return err_set(e, ENOMEM, "no memory for vCPU %u", index);
	c->hv = h;
	c->index = index;
	c->fd = -1;
	if (index >= h->features.max_vcpus)
		return err_set(
			e, EINVAL, "KVM allows at most %u vCPUs here", h->features.max_vcpus);
	do {
		c->fd = ioctl(h->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	} while (c->fd < 0 && errno == EINTR);
	if (c->fd < 0)
		return err_sys(e, errno, "KVM cannot create vCPU %u", index);
	p = mmap(NULL, h->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, errno, "cannot map the shared area of vCPU %u", index);
	c->run = p;
	*out = TAKE_PTR(c);
	return 0;
}

void hv_vcpu_free(struct hv_vcpu *c)
{
	if (!c)
		return;
	if (c->run)
		(void)munmap(c->run, c->hv->run_size);
	if (c->fd >= 0)
		(void)close(c->fd);
	free(c);
}

static void own_thread(struct hv_vcpu *c)
{
	sigset_t set;

	if (c->owned && pthread_equal(c->owner, pthread_self()))
		return;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, KVM_KICK_SIGNAL);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	c->owner = pthread_self();
	c->owned = true;
}

static const char *suberror_text(uint32_t n)
{
	switch (n) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "an instruction that it cannot emulate";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "exceptions inside exceptions";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "an event that could not be delivered";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "an exit that it does not know";
	default:
		return "unknown";
	}
}

static void decode_fail(const struct kvm_run *run, struct hv_exit *x)
{
	x->kind = HV_EXIT_FAIL;
	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		(void)snprintf(x->why, sizeof(x->why), "KVM internal error, suberror %u: %s",
			run->internal.suberror, suberror_text(run->internal.suberror));
		break;
	case KVM_EXIT_FAIL_ENTRY:
		(void)snprintf(x->why, sizeof(x->why),
			"the processor refuses to enter the guest, hardware reason 0x%llx",
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_EXCEPTION:
		(void)snprintf(
			x->why, sizeof(x->why), "KVM stopped at exception %u", run->ex.exception);
		break;
	default:
		(void)snprintf(x->why, sizeof(x->why), "KVM exit reason %u is not expected",
			run->exit_reason);
		break;
	}
}

static void decode_event(const struct kvm_run *run, struct hv_exit *x)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		x->kind = HV_EXIT_SHUTDOWN;
		break;
	case KVM_SYSTEM_EVENT_RESET:
		x->kind = HV_EXIT_RESET;
		break;
	default:
		x->kind = HV_EXIT_FAIL;
		(void)snprintf(x->why, sizeof(x->why), "the guest crashed, KVM system event %u",
			run->system_event.type);
		break;
	}
}

static void decode(struct hv_vcpu *c, struct hv_exit *x)
{
	struct kvm_run *run = c->run;

	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		x->kind = HV_EXIT_MMIO;
		x->write = run->mmio.is_write;
		x->addr = run->mmio.phys_addr;
		x->len = MIN(run->mmio.len, (uint32_t)sizeof(run->mmio.data));
		x->count = 1;
		x->data = run->mmio.data;
		break;
	case KVM_EXIT_IO:
		x->kind = HV_EXIT_PIO;
		x->write = run->io.direction == KVM_EXIT_IO_OUT;
		x->addr = run->io.port;
		x->len = run->io.size;
		x->count = run->io.count;
		x->data = (uint8_t *)run + run->io.data_offset;
		if (!range_ok(run->io.data_offset, (uint64_t)x->len * x->count, c->hv->run_size))
			decode_fail(run, x);
		break;
	case KVM_EXIT_HLT:
		x->kind = HV_EXIT_HALT;
		break;
	case KVM_EXIT_SHUTDOWN:
		x->kind = HV_EXIT_SHUTDOWN;
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		decode_event(run, x);
		break;
	case KVM_EXIT_IOAPIC_EOI:
		x->kind = HV_EXIT_EOI;
		x->addr = run->eoi.vector;
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		x->kind = HV_EXIT_INTR;
		break;
	default:
		decode_fail(run, x);
		break;
	}
}

/* One KVM_RUN: 0 or -errno. */
static int run_once(struct hv_vcpu *c)
{
	int r = ioctl(c->fd, KVM_RUN, NULL) < 0 ? -errno : 0;

	__atomic_fetch_add(&c->runs, 1, __ATOMIC_RELAXED);
	return r;
}

static int fault(struct hv_vcpu *c, struct hv_exit *x)
{
	x->kind = HV_EXIT_FAULT;
	if (c->run->exit_reason == KVM_EXIT_MEMORY_FAULT)
		(void)snprintf(
			x->why, sizeof(x->why), "the host cannot back a page of guest memory");
	else
		(void)snprintf(x->why, sizeof(x->why),
			"the host cannot reach guest memory (out of memory, or a file that shrank)");
	return 0;
}

int hv_vcpu_run(struct hv_vcpu *c, struct hv_exit *x)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	unsigned tries = 0;
	int r;

	memset(x, 0, sizeof(*x));
	if (c->redeliver) {
		c->redeliver = false;
		decode(c, x);
		return 0;
	}
	own_thread(c);
	for (;;) {
		r = run_once(c);
		switch (r) {
		case 0:
			c->started = true;
			decode(c, x);
			return 0;
		case -EINTR:
			(void)__atomic_exchange_n(&c->run->immediate_exit, 0, __ATOMIC_ACQ_REL);
			x->kind = HV_EXIT_INTR;
			return 0;
		case -EAGAIN: /* a vCPU that waited for its start-up interrupt woke up */
			continue;
		case -EFAULT:
			return fault(c, x);
		case -ENOMEM:
			/* Linux 6.12 and 6.13 fail so while they start a thread of theirs in a busy
			 * process. */
			if (c->started || ++tries > ENOMEM_TRIES)
				return r;
			(void)nanosleep(&ms, NULL);
			continue;
		default:
			return r;
		}
	}
}

void hv_vcpu_kick(struct hv_vcpu *c, int tid)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	/* A signal of this kind is queued, in memory and within RLIMIT_SIGPENDING of the user's:
	 * what has no room now may have in a moment. One that is not sent leaves the guest where it
	 * is for as long as it pleases. */
	for (unsigned i = 0; i < KICK_TRIES && tid > 0; i++) {
		if (!tgkill(getpid(), tid, KVM_KICK_SIGNAL) || errno != EAGAIN)
			break;
		(void)nanosleep(&ms, NULL);
	}
}

int hv_vcpu_complete(struct hv_vcpu *c)
{
	int r;

	if (c->redeliver)
		return -EAGAIN;
	/* What never stopped at an access has none to complete, and its first run may fail for want
	 * of memory that comes in a moment. */
	if (!c->started)
		return 0;
	/* Not taken back: a kick of another thread may be among it, and one needless HV_EXIT_INTR
	 * does no harm. */
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	r = run_once(c);
	if (r == -EINTR || r == -EAGAIN)
		return 0;
	if (r < 0)
		return r;
	c->redeliver = true;
	return -EAGAIN;
}

uint64_t hv_vcpu_runs(const struct hv_vcpu *c)
{
	return __atomic_load_n(&c->runs, __ATOMIC_RELAXED);
}
