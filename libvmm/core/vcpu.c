// SPDX-License-Identifier: Apache-2.0
/* A vCPU's thread: runs guest code, serves its traps, parks and quits when told. */
/*
 * How it works
 *
 * vm->run says what all vCPUs shall do. Whoever changes it kicks each vCPU, which makes the run
 * call return, and waits on vm->cond until each has parked or gone. A kick that lands between the
 * check of vm->run and the run call is not lost: hv_vcpu_kick() makes the *next* run call return
 * too. Who waits kicks again, after a second and then ever more seldom: a kick's signal may have
 * found no place in its queue.
 *
 * A trapped access is answered on this thread through the frozen buses. Nothing here takes a lock
 * but vm->lock and those of the devices that it reaches. A fault is a question to the devices that
 * have windows, on their loops.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/vm.h"
#include "util/log.h"

#define VCPU_KICK_MAX_S 60 /* between two kicks */
#define VCPU_WARN_S	15
#define VCPU_FAULTS	8 /* in a row, without anything to mend, before the VM ends */
/* Longer than most disks take to find that they cannot read: faults that lie further apart are not
 * of one kind. */
#define VCPU_FAULT_NS 10000000000ULL

static void count(uint64_t *n)
{
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
}

static void vcpu_mmio(struct vcpu *c, struct hv_exit *x)
{
	count(&c->mmio_exits);
	if (x->write)
		(void)bus_write(&c->vm->mmio, x->addr, x->data, x->len);
	else
		(void)bus_read(&c->vm->mmio, x->addr, x->data, x->len);
}

static void vcpu_pio(struct vcpu *c, struct hv_exit *x)
{
	count(&c->pio_exits);
	for (unsigned i = 0; i < x->count; i++) {
		uint8_t *p = x->data + (size_t)i * x->len;

		if (x->write)
			(void)bus_write(&c->vm->pio, x->addr, p, x->len);
		else
			(void)bus_read(&c->vm->pio, x->addr, p, x->len);
	}
}

/* True while guest code shall run; parks in here. */
static bool vcpu_may_run(struct vcpu *c)
{
	struct vmm *vm = c->vm;
	bool run;

	if (__atomic_load_n(&vm->run, __ATOMIC_SEQ_CST) == VM_RUN)
		return true;
	(void)pthread_mutex_lock(&vm->lock);
	while (vm->run == VM_PARK) {
		c->parked = true;
		(void)pthread_cond_broadcast(&vm->cond);
		(void)pthread_cond_wait(&vm->cond, &vm->lock);
	}
	c->parked = false;
	run = vm->run == VM_RUN;
	(void)pthread_mutex_unlock(&vm->lock);
	return run;
}

static void nothing(void *arg)
{
	(void)arg;
}

/*
 * The guest reset its machine, as its kernel does when it panics. The io loop first sees what was
 * written to the console until then: the kicks came before the calls here, of which the first may
 * run ahead of the events of its round.
 */
void vm_guest_reset(struct vmm *vm)
{
	loop_call(vm->io, nothing, NULL);
	loop_call(vm->io, nothing, NULL);
	if (vm->panic[0]) {
		__atomic_store_n(&vm->panicked, true, __ATOMIC_RELEASE);
		vm_end(vm, VMM_END_GUEST, "the guest's kernel panicked: %s", vm->panic);
	} else {
		vm_end(vm, VMM_END_GUEST, "the guest reset the machine");
	}
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/*
 * The guest touched memory that the host cannot give it: a file that a window shows may have become
 * shorter. Only the device knows; its loop never waits for a vCPU. False when this was not it. What
 * is mended meanwhile, for another vCPU or unasked, counts as well; and a vCPU may run guest code
 * for hours without a return that tells, so an old fault counts for nothing.
 */
static bool vcpu_mend(struct vcpu *c)
{
	uint64_t since = now_ns() - c->fault_ns;
	struct vmm *vm = c->vm;
	unsigned n = 0;

	for (unsigned i = 0; i < vm->nslots; i++)
		if (vm->slot[i].v->shm_len)
			n += vdev_mend(vm->slot[i].v);
	if (n != c->mends || since > VCPU_FAULT_NS)
		c->faults = 0;
	if (n == c->mends)
		c->faults++;
	c->mends = n;
	c->fault_ns = now_ns();
	return vm->mem.nshm && c->faults <= VCPU_FAULTS;
}

/* Runs guest code until it traps, and serves the trap. Returns false when this vCPU is done for
 * good. */
static bool vcpu_step(struct vcpu *c)
{
	struct hv_exit x;
	int r = hv_vcpu_run(c->hv, &x);

	if (r) {
		vm_end(c->vm, VMM_END_FAILED, "vCPU %u: run: %s", c->index, err_text(r));
		return false;
	}
	if (x.kind != HV_EXIT_FAULT)
		c->faults = 0;
	switch (x.kind) {
	case HV_EXIT_MMIO:
		vcpu_mmio(c, &x);
		return true;
	case HV_EXIT_PIO:
		vcpu_pio(c, &x);
		return true;
	case HV_EXIT_EOI:
		vm_irq_eoi(c->vm, x.addr);
		return true;
	case HV_EXIT_HALT:
	case HV_EXIT_INTR:
		return true;
	case HV_EXIT_SHUTDOWN:
	case HV_EXIT_RESET:
		vm_guest_reset(c->vm);
		return false;
	case HV_EXIT_FAULT:
		if (vcpu_mend(c))
			return true;
		break;
	case HV_EXIT_FAIL:
		break;
	}
	vm_end(c->vm, VMM_END_FAILED, "vCPU %u: %s", c->index, x.why);
	return false;
}

int vcpu_complete(struct vcpu *c)
{
	int r;

	/* an access that the processor splits comes back part by part; an instruction with more
	 * parts than this is a string that the guest moves into a register, and has no end that
	 * could be waited for */
	for (int i = 0; (r = hv_vcpu_complete(c->hv)) == -EAGAIN && i < 64; i++) {
		if (!vcpu_step(c))
			return -ESRCH;
	}
	return r;
}

static void *vcpu_main(void *arg)
{
	struct vcpu *c = arg;
	char name[16];

	/* by prctl: the libc's call opens /proc, which a confined process may not see */
	(void)snprintf(name, sizeof(name), "vcpu%u", c->index);
	(void)prctl(PR_SET_NAME, name);
	if (c->vm->on_thread)
		c->vm->on_thread(VMM_THREAD_VCPU, c->vm->on_thread_arg);
	/* whoever changes vm->run reads this afterwards: one of both sees the other's */
	__atomic_store_n(&c->tid, (int)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	while (vcpu_may_run(c) && vcpu_step(c))
		;
	(void)pthread_mutex_lock(&c->vm->lock);
	c->gone = true;
	(void)pthread_cond_broadcast(&c->vm->cond);
	(void)pthread_mutex_unlock(&c->vm->lock);
	return NULL;
}

int vcpu_make(struct vmm *vm, unsigned index, struct error *e)
{
	struct vcpu *c = &vm->vcpu[index];

	c->vm = vm;
	c->index = index;
	return hv_vcpu_new(vm->hv, index, &c->hv, e);
}

int vcpu_start(struct vcpu *c, struct error *e)
{
	int r;

	/* Before it is: a vCPU that ends the VM meanwhile kicks those that are marked, and one that
	 * is not would go on without ever being told. */
	__atomic_store_n(&c->started, true, __ATOMIC_RELEASE);
	r = pthread_create(&c->thread, NULL, vcpu_main, c);
	if (!r)
		return 0;
	__atomic_store_n(&c->started, false, __ATOMIC_RELEASE);
	return err_sys(e, r, "cannot start the thread of vCPU %u", c->index);
}

static bool is_started(const struct vcpu *c)
{
	return __atomic_load_n(&c->started, __ATOMIC_ACQUIRE);
}

/* Lock held. */
static bool is_there(const struct vcpu *c)
{
	return !is_started(c) || c->gone || (c->vm->run == VM_PARK && c->parked);
}

static bool all_there(const struct vmm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		if (!is_there(&vm->vcpu[i]))
			return false;
	return true;
}

static void kick(struct vcpu *c)
{
	if (is_started(c))
		hv_vcpu_kick(c->hv, __atomic_load_n(&c->tid, __ATOMIC_SEQ_CST));
}

/* Those that are not there. Lock held, but not while a kick waits for its place. */
static void kick_again(struct vmm *vm, unsigned seconds)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		if (is_there(&vm->vcpu[i]))
			continue;
		(void)pthread_mutex_unlock(&vm->lock);
		log_at(seconds < VCPU_WARN_S ? LOG_INFO : LOG_WARN,
			"vCPU %u has not left its guest for %u s", i, seconds);
		kick(&vm->vcpu[i]);
		(void)pthread_mutex_lock(&vm->lock);
	}
}

/* Waits until all are where vm->run wants them, or it is no longer @run. Lock held. */
static void wait_for_all(struct vmm *vm, enum vm_run run)
{
	unsigned seconds = 0, step = 1;

	while (vm->run == run && !all_there(vm)) {
		struct timespec until;
		int r = 0;

		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += step;
		while (vm->run == run && !all_there(vm) && r != ETIMEDOUT)
			r = pthread_cond_timedwait(&vm->cond, &vm->lock, &until);
		if (r != ETIMEDOUT)
			break;
		seconds += step;
		step = MIN(step * 2, VCPU_KICK_MAX_S);
		kick_again(vm, seconds);
	}
}

void vcpus_go(struct vmm *vm, enum vm_run run)
{
	(void)pthread_mutex_lock(&vm->lock);
	if (vm->run != VM_QUIT)
		__atomic_store_n(&vm->run, run, __ATOMIC_SEQ_CST);
	run = vm->run;
	(void)pthread_cond_broadcast(&vm->cond);
	(void)pthread_mutex_unlock(&vm->lock);
	if (run == VM_RUN)
		return;

	for (unsigned i = 0; i < vm->nvcpus; i++)
		kick(&vm->vcpu[i]);
	if (run == VM_QUIT)
		return;
	(void)pthread_mutex_lock(&vm->lock);
	wait_for_all(vm, VM_PARK);
	(void)pthread_mutex_unlock(&vm->lock);
}

void vcpus_join(struct vmm *vm)
{
	(void)pthread_mutex_lock(&vm->lock);
	wait_for_all(vm, VM_QUIT);
	(void)pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		struct vcpu *c = &vm->vcpu[i];

		if (is_started(c))
			(void)pthread_join(c->thread, NULL);
		__atomic_store_n(&c->started, false, __ATOMIC_RELEASE);
	}
}
