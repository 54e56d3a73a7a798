/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor seam. hv/kvm/ implements it; tests/fake/fake_hv.c links in its place.
 *
 * A VM belongs to the process that made it. hv_vcpu_run() and the vCPU's state functions run on the
 * vCPU's own thread (or, before it exists and while it is parked, on the one that builds, saves or
 * loads); hv_vcpu_kick() on any thread.
 */
#ifndef KRUN_HV_HV_H
#define KRUN_HV_HV_H

#include <stdbool.h>
#include <stdint.h>

#include "arch_state.h" /* by -Iarch/$ARCH: struct arch_regs, struct arch_cpuid */
#include "util/err.h"
#include "util/save.h"

struct hv;
struct hv_vcpu;

enum hv_exit_kind {
	HV_EXIT_MMIO,
	HV_EXIT_PIO,
	HV_EXIT_HALT,
	HV_EXIT_SHUTDOWN, /* triple fault, power off */
	HV_EXIT_RESET,
	HV_EXIT_EOI,  /* after hv_irqchip_split(): a level-triggered interrupt has ended; its vector
			 in @addr */
	HV_EXIT_INTR, /* kicked, or a signal: look at what is asked and run again */
	HV_EXIT_FAULT, /* guest memory that the host cannot give; @why says what is known. Mend it
			  and run again, or give up */
	HV_EXIT_FAIL,  /* the hypervisor gave up; @why says what it said */
};

struct hv_exit {
	enum hv_exit_kind kind;
	bool write;
	uint64_t addr;	/* MMIO: guest-physical; PIO: port */
	unsigned len;	/* bytes of one access: 1, 2, 4, 8 */
	unsigned count; /* PIO string accesses; else 1 */
	uint8_t *data;	/* count * len bytes; for reads, filled in before the next run */
	char why[96];
};

struct hv_features {
	bool irqfd, ioeventfd;
	bool readonly_mem;
	unsigned max_vcpus;
};

/* Makes the VM from an open device (not taken over). Touches no guest memory, makes no thread. */
int hv_open(int dev_fd, struct hv **out, struct error *e);
void hv_close(struct hv *h); /* after every vCPU; NULL is fine */
const struct hv_features *hv_features(const struct hv *h);

/* Memory slot @slot: [gpa, gpa+len) backed by hva. len 0 removes it. */
int hv_set_region(struct hv *h, unsigned slot, uint64_t gpa, uint64_t len, void *hva, bool readonly,
	struct error *e);
/* In-kernel interrupt controllers; a PIT only when asked for. Before the first vCPU. */
int hv_irqchip(struct hv *h, bool pit, struct error *e);
/*
 * In its place: local APICs alone. GSIs below @pins lead nowhere until hv_irq_route() says where,
 * and a vCPU that ends an interrupt whose route is level-triggered returns HV_EXIT_EOI. -ENOTSUP:
 * there is no such thing.
 */
int hv_irqchip_split(struct hv *h, unsigned pins, struct error *e);
/* The message that each GSI is, from 0 on; data 0: none. For irqfds and pulses that come from now
 * on. Any thread, one at a time. */
struct hv_msi {
	uint64_t addr;
	uint32_t data;
};
#define HV_ROUTES_MAX 24
int hv_irq_route(struct hv *h, const struct hv_msi *m, unsigned n);
/* -ENOTSUP, or features without them, makes the core use hv_irq_pulse() and trapped kicks. */
int hv_irqfd(struct hv *h, int efd, unsigned gsi);
int hv_ioeventfd(struct hv *h, uint64_t addr, unsigned len, uint64_t datamatch, int efd);
int hv_irq_pulse(struct hv *h, unsigned gsi);

int hv_vcpu_new(struct hv *h, unsigned index, struct hv_vcpu **out, struct error *e);
void hv_vcpu_free(struct hv_vcpu *c); /* NULL is fine */
/*
 * 0 with *x filled, or -errno that cannot be retried (ENOMEM of the first runs is retried inside,
 * bounded). Unblocks the kick's signal on the thread that calls it, unless it has only an exit to
 * return that hv_vcpu_complete() met, for which any thread may call.
 */
int hv_vcpu_run(struct hv_vcpu *c, struct hv_exit *x);
/* Makes the current or the next hv_vcpu_run() return HV_EXIT_INTR, once. @tid: the vCPU thread, 0
 * when it has none yet. Waits, 0.3 s at most, while RLIMIT_SIGPENDING or want of memory leaves its
 * signal no place; after that only the next run hears it: who waits for the vCPU kicks again. */
void hv_vcpu_kick(struct hv_vcpu *c, int tid);
/*
 * Completes a pending access, whose exit has been served, without running guest code; needed before
 * registers are saved. -EAGAIN: the same access has a further part, which the next hv_vcpu_run()
 * returns at once: serve it and call again.
 */
int hv_vcpu_complete(struct hv_vcpu *c);
/* Returns of the run call so far. */
uint64_t hv_vcpu_runs(const struct hv_vcpu *c);

/* Boot state: what the host can give, what the guest sees, where it starts. */
int hv_cpuid_supported(struct hv *h, struct arch_cpuid *out, struct error *e);
int hv_vcpu_set_cpuid(struct hv_vcpu *c, const struct arch_cpuid *in, struct error *e);
int hv_vcpu_set_regs(struct hv_vcpu *c, const struct arch_regs *r, struct error *e);

/*
 * Whole state; the VM's vCPUs parked and their accesses completed. In both directions every vCPU
 * first, the VM's own state after them. Load: into a VM that has not run, after hv_irqchip(), vCPUs
 * made and their CPUID set (the saved one takes its place, and -ENOTSUP says that it has features
 * which the one set before has not).
 */
int hv_save(struct hv *h, struct save_out *s);
int hv_load(struct hv *h, struct save_in *s) NODISCARD;
int hv_vcpu_save(struct hv_vcpu *c, struct save_out *s);
int hv_vcpu_load(struct hv_vcpu *c, struct save_in *s) NODISCARD;
/* Tells the guest that it was stopped (no soft-lockup alarms). After resume or load, per vCPU. */
void hv_vcpu_resumed(struct hv_vcpu *c);

/* What the host can do; each is bounded in time (the guests to two seconds) and leaves nothing
 * behind. */
enum hv_probe {
	HV_PROBE_API,	/* the interface's version */
	HV_PROBE_CAPS,	/* everything that hv_* needs */
	HV_PROBE_GUEST, /* ten instructions in 64-bit mode and a port write */
	HV_PROBE_CMPXCHG16B,
	HV_PROBE_INT3,
	HV_PROBE_XSAVE, /* keeping the extended registers, by FXSAVE where no XSAVE is offered */
	HV_PROBE_MAX,
};
/* 0, or -errno with a sentence that names what is missing. @dev_fd as for hv_open(). */
int hv_probe(int dev_fd, enum hv_probe what, struct error *e);

#endif
