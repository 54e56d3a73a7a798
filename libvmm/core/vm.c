// SPDX-License-Identifier: Apache-2.0
/* The life of a VM: made, started, paused, ended, released. */
/*
 * How it works
 *
 * vmm_new() makes the hypervisor's VM and nothing else, so that the caller can still move into a
 * cgroup and sandbox itself. vm_build.c fills memory, buses and devices. vmm_start() freezes those
 * tables and starts the loops before the vCPUs, since a vCPU may wait for a loop and a loop never
 * for a vCPU. The VM ends once: the first vm_end() sets the reason, tells the vCPUs to quit and
 * makes the event fd readable; loops go on, so that output on its way to the host's fds still
 * arrives, until vmm_free().
 *
 * Freeing goes backwards: vCPUs joined, loops joined, devices (whose threads are gone), hypervisor,
 * memory.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/vm.h"
#include "util/cleanup.h"
#include "util/log.h"

void vm_end(struct vmm *vm, enum vmm_end end, const char *fmt, ...)
{
	uint64_t one = 1;
	bool first;
	va_list ap;

	(void)pthread_mutex_lock(&vm->lock);
	first = vm->end == VMM_RUNNING;
	if (first) {
		va_start(ap, fmt);
		(void)vsnprintf(vm->why, sizeof(vm->why), fmt, ap);
		va_end(ap);
		__atomic_store_n(&vm->end, end, __ATOMIC_RELEASE);
		__atomic_store_n(&vm->run, VM_QUIT, __ATOMIC_SEQ_CST);
		(void)pthread_cond_broadcast(&vm->cond);
	}
	(void)pthread_mutex_unlock(&vm->lock);
	if (!first)
		return;
	vcpus_go(vm, VM_QUIT);
	/* a counter of one cannot overflow, so the write cannot fail */
	if (write(vm->event_fd, &one, sizeof(one)) < 0)
		log_err("VM event: %s", err_text(errno));
}

int vmm_new(int kvm_fd, struct vmm **out, struct error *e)
{
	struct vmm *vm = calloc(1, sizeof(*vm));
	pthread_condattr_t attr;
	int r;

	if (!vm)
		return err_sys(e, ENOMEM, "cannot make a VM");
	(void)pthread_mutex_init(&vm->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&vm->cond, &attr);
	(void)pthread_condattr_destroy(&attr);
	mem_init(&vm->mem);
	vm->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = vm->event_fd < 0 ? err_sys(e, errno, "eventfd") : hv_open(kvm_fd, &vm->hv, e);
	if (r) {
		vmm_free(vm);
		return r;
	}
	*out = vm;
	return 0;
}

static void devices_fini(struct vmm *vm)
{
	for (unsigned i = vm->nslots; i-- > 0;) {
		struct vdev *v = vm->slot[i].v;

		/* stopping may still raise the interrupt */
		vdev_fini(v);
		if (vm->slot[i].irq.efd >= 0)
			(void)close(vm->slot[i].irq.efd);
		v->cls->destroy(v);
	}
	vm->nslots = 0;
}

void vmm_free(struct vmm *vm)
{
	if (!vm)
		return;
	if (vm->started) {
		vm_end(vm, VMM_END_STOPPED, "stopped");
		vcpus_join(vm);
		if (vm->vhost)
			loop_thread_join(vm->vhost);
		if (vm->net)
			loop_thread_join(vm->net);
		if (vm->blk)
			loop_thread_join(vm->blk);
		loop_thread_join(vm->fs);
		loop_thread_join(vm->io);
	}
	devices_fini(vm);
	vm_legacy_free(vm);
	vm_irq_free(vm);
	for (unsigned i = 0; i < vm->nvcpus; i++)
		hv_vcpu_free(vm->vcpu[i].hv);
	hv_close(vm->hv);
	loop_free(vm->vhost);
	loop_free(vm->net);
	loop_free(vm->blk);
	loop_free(vm->fs);
	loop_free(vm->io);
	mem_destroy(&vm->mem);
	if (vm->event_fd >= 0)
		(void)close(vm->event_fd);
	(void)pthread_cond_destroy(&vm->cond);
	(void)pthread_mutex_destroy(&vm->lock);
	free(vm);
}

static void io_begins(void *arg)
{
	const struct vmm *vm = arg;

	vm->on_thread(VMM_THREAD_IO, vm->on_thread_arg);
}

static void fs_begins(void *arg)
{
	const struct vmm *vm = arg;

	vm->on_thread(VMM_THREAD_FS, vm->on_thread_arg);
}

static void blk_begins(void *arg)
{
	const struct vmm *vm = arg;

	vm->on_thread(VMM_THREAD_BLK, vm->on_thread_arg);
}

static void net_begins(void *arg)
{
	const struct vmm *vm = arg;

	vm->on_thread(VMM_THREAD_NET, vm->on_thread_arg);
}

static void vhost_begins(void *arg)
{
	const struct vmm *vm = arg;

	vm->on_thread(VMM_THREAD_VHOST, vm->on_thread_arg);
}

/*
 * Starts threads with every signal blocked: those of the process are for the caller's own threads.
 * The one that kicks a vCPU is the hypervisor layer's affair, which unblocks it where it runs one.
 */
static int start_threads(struct vmm *vm, struct error *e)
{
	sigset_t all, old;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = loop_thread_start(vm->io, e);
	if (!r)
		r = loop_thread_start(vm->fs, e);
	if (!r && vm->blk)
		r = loop_thread_start(vm->blk, e);
	if (!r && vm->net)
		r = loop_thread_start(vm->net, e);
	if (!r && vm->vhost)
		r = loop_thread_start(vm->vhost, e);
	if (!r && vm->on_thread) {
		loop_call(vm->io, io_begins, vm);
		loop_call(vm->fs, fs_begins, vm);
		if (vm->blk)
			loop_call(vm->blk, blk_begins, vm);
		if (vm->net)
			loop_call(vm->net, net_begins, vm);
		if (vm->vhost)
			loop_call(vm->vhost, vhost_begins, vm);
	}
	for (unsigned i = 0; !r && i < vm->nvcpus; i++)
		r = vcpu_start(&vm->vcpu[i], e);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

int vmm_start(struct vmm *vm, struct error *e)
{
	int r;

	if (!vm->built || vm->started)
		return err_set(e, EINVAL, "vmm_start: not built, or started already");
	bus_freeze(&vm->mmio);
	bus_freeze(&vm->pio);
	vm->started = true;
	r = start_threads(vm, e);
	if (r) {
		vm_end(vm, VMM_END_FAILED, "threads could not be started");
		return r;
	}
	if (!vm->loaded)
		vm_legacy_resume(vm);
	r = vm->loaded ? vmm_resume(vm) : 0;
	return r ? err_set(e, -r, "the VM ended before it was resumed: %s", vm->why) : 0;
}

int vmm_event_fd(const struct vmm *vm)
{
	return vm->event_fd;
}

enum vmm_end vmm_state(const struct vmm *vm)
{
	return __atomic_load_n(&vm->end, __ATOMIC_ACQUIRE);
}

const char *vmm_why(const struct vmm *vm)
{
	return vm->why;
}

bool vmm_panicked(const struct vmm *vm)
{
	return __atomic_load_n(&vm->panicked, __ATOMIC_ACQUIRE);
}

enum vmm_end vmm_wait(struct vmm *vm)
{
	enum vmm_end end;

	(void)pthread_mutex_lock(&vm->lock);
	while (vm->end == VMM_RUNNING)
		(void)pthread_cond_wait(&vm->cond, &vm->lock);
	end = vm->end;
	(void)pthread_mutex_unlock(&vm->lock);
	return end;
}

void vmm_stop(struct vmm *vm)
{
	vm_end(vm, VMM_END_STOPPED, "stopped");
}

/* While the devices still answer: what half an access sets off in them must not happen once they
 * are paused. */
static int complete_all(struct vmm *vm)
{
	int r = 0;

	for (unsigned i = 0; !r && i < vm->nvcpus && vmm_state(vm) == VMM_RUNNING; i++)
		r = vcpu_complete(&vm->vcpu[i]);
	/* one that ended the VM meanwhile leaves nothing to pause */
	return vmm_state(vm) == VMM_RUNNING ? r : -ESRCH;
}

int vmm_pause(struct vmm *vm)
{
	int r;

	if (!vm->started || vmm_state(vm) != VMM_RUNNING)
		return -ESRCH;
	if (vm->devices_paused)
		return 0;
	vcpus_go(vm, VM_PARK);
	r = complete_all(vm);
	if (r) {
		vcpus_go(vm, VM_RUN);
		return r;
	}
	for (unsigned i = 0; i < vm->nslots; i++)
		vdev_pause(vm->slot[i].v);
	vm_legacy_pause(vm);
	vm->devices_paused = true;
	return 0;
}

int vmm_resume(struct vmm *vm)
{
	if (!vm->started || vmm_state(vm) != VMM_RUNNING)
		return -ESRCH;
	if (!vm->devices_paused)
		return 0;
	vm->devices_paused = false;
	for (unsigned i = 0; i < vm->nvcpus; i++)
		hv_vcpu_resumed(vm->vcpu[i].hv);
	for (unsigned i = 0; i < vm->nslots; i++)
		vdev_resume(vm->slot[i].v);
	vm_legacy_resume(vm);
	vcpus_go(vm, VM_RUN);
	return 0;
}

void vmm_settle(struct vmm *vm)
{
	if (vm->started && vm->blk && !vm->devices_paused)
		vmm_stop(vm);
	for (unsigned i = 0; vm->started && !vm->devices_paused && i < vm->nslots; i++)
		if (vm->blk && vm->slot[i].v->loop == vm->blk)
			vdev_pause(vm->slot[i].v);
}

void vmm_stats(const struct vmm *vm, struct vmm_stats *out)
{
	*out = (struct vmm_stats){ .ram_bytes = mem_ram_bytes(&vm->mem) };
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		const struct vcpu *c = &vm->vcpu[i];

		out->kvm_runs += c->hv ? hv_vcpu_runs(c->hv) : 0;
		out->mmio_exits += __atomic_load_n(&c->mmio_exits, __ATOMIC_RELAXED);
		out->pio_exits += __atomic_load_n(&c->pio_exits, __ATOMIC_RELAXED);
	}
	for (unsigned i = 0; i < vm->nslots; i++)
		out->irqs += __atomic_load_n(&vm->slot[i].irq.count, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < vm->nserials; i++)
		out->irqs += __atomic_load_n(&vm->serial[i].irq.count, __ATOMIC_RELAXED);
}
