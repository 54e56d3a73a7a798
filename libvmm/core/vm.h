/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine: what core/ knows of it. Built by one thread, frozen by vmm_start(), then read
 * by all.
 *
 * Locks: @lock guards @run, @end, @why and the vCPUs' parked flags; it is held for a few
 * instructions and never while anything else is waited for.
 */
#ifndef KRUN_CORE_VM_H
#define KRUN_CORE_VM_H

#include <pthread.h>

#include "arch/arch.h"
#include "core/bus.h"
#include "core/irq.h"
#include "core/mem.h"
#include "hv/hv.h"
#include "util/loop.h"
#include "virtio/mmio.h"
#include "virtio/vdev.h"
#include "vmm.h"

struct vcpu {
	struct vmm *vm;
	struct hv_vcpu *hv;
	pthread_t thread;
	bool started; /* atomic: the thread exists, or will in a moment; vCPUs that run already look
			 at each other's */
	unsigned index;
	/* of the vCPU's thread */
	unsigned faults;		/* in a row that nothing was found for */
	unsigned mends;			/* of all devices, at the last fault */
	uint64_t fault_ns;		/* when that was over */
	int tid;			/* atomic: 0 until the thread runs */
	bool parked;			/* under vm->lock */
	bool gone;			/* under vm->lock: the thread has ended or is about to */
	uint64_t mmio_exits, pio_exits; /* relaxed atomic */
};

struct serial;
struct rtc;
struct ioapic;

struct vm_serial {
	struct serial *s;
	struct irq_line irq;
};

struct vm_slot {
	struct vdev *v;
	struct mmio t;
	struct irq_line irq;
	uint64_t base;
};

/* What the vCPUs shall do. */
enum vm_run {
	VM_RUN,
	VM_PARK,
	VM_QUIT,
};

struct vmm {
	struct hv *hv;
	struct mem mem;
	struct bus mmio, pio;
	struct arch_reset reset;
	struct loop *io, *fs;
	struct loop *blk, *net; /* NULL without disks, without interfaces */
	struct loop *vhost;	/* NULL without vhost-user devices */
	void (*on_thread)(enum vmm_thread which, void *arg); /* of struct vmm_config */
	void *on_thread_arg;
	struct vm_slot slot[LIM_VDEVS];
	unsigned nslots;
	unsigned ngsis; /* of the architecture's list: given out, or passed over */
	struct vdev *console, *vsock, *balloon; /* also in slot[] */
	struct vdev *nic[VMM_MAX_NICS];
	unsigned nnics;
	struct vm_serial serial[LIM_SERIALS];
	unsigned nserials;
	struct rtc *rtc;       /* or NULL */
	struct ioapic *ioapic; /* or NULL: it is the hypervisor's */
	uint32_t irqs_by_call; /* atomic: GSIs whose interrupts go by @ioapic */
	struct vcpu vcpu[LIM_VCPUS];
	unsigned nvcpus;
	struct arch_cpuid cpuid; /* what the hypervisor can give */
	bool built, started, devices_paused, loaded;
	bool nested, acpi, pit; /* of struct vmm_config */

	pthread_mutex_t lock;
	pthread_cond_t cond; /* by CLOCK_MONOTONIC */
	enum vm_run run;
	enum vmm_end end;
	char why[160];
	int event_fd;

	char line[256]; /* console output up to its newline; io loop */
	unsigned line_len;
	char panic[160]; /* what the guest's kernel said when it gave up; io loop */
	bool panicked;	 /* atomic: and it reset the machine then */
};

/* Ends the VM: the first call counts. Any thread. */
void vm_end(struct vmm *vm, enum vmm_end end, const char *fmt, ...) PRINTF(3, 4);

/* vcpu.c */
/* Ends the VM as its guest has asked to, in whichever way. Any thread but those of the loops. */
void vm_guest_reset(struct vmm *vm);
int vcpu_make(struct vmm *vm, unsigned index, struct error *e);
int vcpu_start(struct vcpu *c, struct error *e);
/*
 * Parked, devices not paused: finishes a register access that is half done, so that its result is
 * in the registers. -EAGAIN: it has no end in sight; -ESRCH: it ended the VM.
 */
int vcpu_complete(struct vcpu *c);
/* Sets what vCPUs shall do. VM_PARK returns when each has parked or gone, the others at once. */
void vcpus_go(struct vmm *vm, enum vm_run run);
/* vm->run is VM_QUIT: waits for the end of each. */
void vcpus_join(struct vmm *vm);

/* vm_build.c: devices of @cfg on their buses, with interrupts and kicks; cmdline gets their
 * descriptions when not NULL. */
int vm_add_devices(struct vmm *vm, struct vmm_config *cfg, char *cmdline, struct error *e);
int vm_add_memory(struct vmm *vm, const struct vmm_config *cfg, struct error *e);
int vm_map_memory(struct vmm *vm, struct error *e);
int vm_check_config(const struct vmm_config *cfg, bool load, struct error *e);
void vm_close_config(struct vmm_config *cfg);

/* vm_disk.c */
int vm_disk_check(const struct vmm_disk *d, unsigned i, struct error *e); /* -EINVAL */
/* A device of @d, whose image is open or is opened now: what it has is taken over in every case. */
int vm_disk_new(struct vmm *vm, struct vmm_disk *d, struct vdev **out, struct error *e);

/*
 * vm_irq.c: interrupt controllers. add() before the devices and vCPUs, on the thread that builds;
 * save() and load() with vCPUs and devices parked or not there, load() after the vCPUs; free() when
 * no thread is left.
 */
int vm_irq_add(struct vmm *vm, const struct vmm_config *cfg, struct error *e);
/* Binds @l, whose gsi is set, to that input: by an event descriptor where there is such a thing. */
int vm_wire_irq(struct vmm *vm, struct irq_line *l, struct error *e);
void vm_irq_eoi(struct vmm *vm, uint64_t vector); /* HV_EXIT_EOI; any thread */
void vm_irq_save(struct vmm *vm, struct save_out *s);
int vm_irq_load(struct vmm *vm, struct save_in *s) NODISCARD;
void vm_irq_free(struct vmm *vm);

/*
 * vm_legacy.c: serial ports and the clock. add() before the virtio devices, on the thread that
 * builds; they are quiet until resume(). pause(), resume(), save() and load() with the vCPUs parked
 * or not there; drain() on the io loop; free() when no thread is left.
 */
int vm_legacy_add(struct vmm *vm, struct vmm_config *cfg, struct error *e);
void vm_legacy_pause(struct vmm *vm);
void vm_legacy_resume(struct vmm *vm);
bool vm_legacy_drain(struct vmm *vm); /* nothing is left that the host will take */
void vm_legacy_save(struct vmm *vm, struct save_out *s);
int vm_legacy_load(struct vmm *vm, struct save_in *s) NODISCARD;
void vm_legacy_free(struct vmm *vm);

/* mem_image.c: RAM to and from a file, holes for zero pages. @off is the file offset of the first
 * byte of RAM. */
int mem_image_save(const struct mem *m, int fd, uint64_t off, struct error *e);
int mem_image_load(const struct mem *m, int fd, uint64_t off, struct error *e);

#endif
