/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fake hypervisor's side that tests see. It links in the place of hv/kvm and runs no guest
 * code: a test puts exits into a vCPU's queue, the vCPU's thread takes them from hv_vcpu_run() as
 * if a guest had caused them.
 *
 * The calls with a `struct hv *` may come from any thread but a vCPU's own. Waits end after
 * FAKE_HV_WAIT_S seconds with -ETIMEDOUT.
 */
#ifndef KRUN_TESTS_FAKE_HV_H
#define KRUN_TESTS_FAKE_HV_H

#include "hv/hv.h"

#define FAKE_HV_QUEUE  64 /* exits waiting for one vCPU */
#define FAKE_HV_WAIT_S 10

/* What the next hv_open() offers; kept until changed. Default: all. */
struct fake_hv_opts {
	bool no_irqfd, no_ioeventfd, no_readonly_mem, no_split;
	int route_error;    /* of every hv_irq_route() */
	unsigned max_vcpus; /* 0: 16 */
	int open_error;	    /* errno that hv_open() fails with */
	/* Offered, but the call says -ENOTSUP. */
	bool irqfd_notsup, ioeventfd_notsup;
	/* That call after hv_open() of those that make, save or load something fails with EIO; from
	 * 1, 0: none. */
	unsigned fail_call;
	int probe_error[HV_PROBE_MAX];
};
void fake_hv_set_opts(const struct fake_hv_opts *o); /* NULL: the defaults */
/* How many such calls there were since the options were set. */
unsigned fake_hv_calls(void);

/* The VM made last and not closed, or NULL. */
struct hv *fake_hv_last(void);

/* Queues an exit; its data is copied. Returns without waiting; -ENOSPC, -ENOENT (no such vCPU). */
int fake_hv_push(struct hv *h, unsigned vcpu, const struct hv_exit *x);
/* Makes the next run of the vCPU fail with -@err. */
int fake_hv_push_error(struct hv *h, unsigned vcpu, int err);
/* Waits until the vCPU has taken all of its queue and come back for more. */
int fake_hv_drain(struct hv *h, unsigned vcpu);

/*
 * Accesses of a guest, served by the VMM when they return. A write that an ioeventfd matches
 * signals that instead. @len: 1, 2, 4, 8; values little-endian.
 */
int fake_hv_mmio_write(struct hv *h, unsigned vcpu, uint64_t addr, uint64_t v, unsigned len);
int fake_hv_mmio_read(struct hv *h, unsigned vcpu, uint64_t addr, uint64_t *v, unsigned len);
int fake_hv_pio_write(struct hv *h, unsigned vcpu, uint16_t port, uint32_t v, unsigned len);
int fake_hv_pio_read(struct hv *h, unsigned vcpu, uint16_t port, uint32_t *v, unsigned len);

/* Interrupts that have arrived at @gsi since the VM was made, by irqfd and by pulse; where
 * controllers are split, of those alone that met a route. */
uint64_t fake_hv_irqs(struct hv *h, unsigned gsi);
struct hv_msi fake_hv_route(struct hv *h, unsigned gsi); /* the VMM's last; data 0: none */
/* The memory that the guest has at [gpa, gpa + len), or NULL. */
void *fake_hv_ram(struct hv *h, uint64_t gpa, uint64_t len);

/* The next @n kicks of vCPUs of @h do nothing. */
void fake_hv_lose_kicks(struct hv *h, unsigned n);
unsigned fake_hv_lost(struct hv *h); /* how many did nothing */

/* What the VMM has set. */
bool fake_hv_has_irqchip(const struct hv *h, bool *pit);
const struct arch_regs *fake_hv_regs(struct hv *h, unsigned vcpu);
const struct arch_cpuid *fake_hv_cpuid(struct hv *h, unsigned vcpu);
unsigned fake_hv_resumed(struct hv *h, unsigned vcpu); /* calls of hv_vcpu_resumed() */

#endif
