/* SPDX-License-Identifier: Apache-2.0 */
/* Private to hv/kvm: the objects behind struct hv and struct hv_vcpu. */
#ifndef KRUN_HV_KVM_INT_H
#define KRUN_HV_KVM_INT_H

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "hv/hv.h"

struct hv {
	int dev_fd; /* our own duplicate */
	int vm_fd;
	struct hv_features features;
	size_t run_size;   /* bytes of struct kvm_run with its pages */
	size_t xsave_size; /* bytes of the extended state that KVM hands out */
	bool xsave2, sregs2, xcrs, tsc_deadline;
	bool irqchip; /* the local APICs, and with !split the other controllers */
	bool split, pit;
};

struct hv_vcpu {
	struct hv *hv;
	unsigned index;
	int fd;
	struct kvm_run *run; /* shared with the kernel, not with the guest */
	uint64_t runs;	     /* relaxed atomic */
	bool started;	     /* a run has succeeded: ENOMEM is final from now on */
	bool redeliver;	     /* *run holds an exit that nobody has seen */
	bool owned;	     /* owner is set: the thread whose signal mask is known to be right */
	pthread_t owner;
};

/* The signal that makes KVM_RUN return. */
#define KVM_KICK_SIGNAL (SIGRTMIN + 0)

/* ioctl() that starts over when a signal came in between; returns -errno. */
int kvm_ioctl(int fd, unsigned long req, void *arg);

struct cpuid_buf {
	struct kvm_cpuid2 h; /* nent: at most ARCH_CPUID_MAX */
	struct kvm_cpuid_entry2 e[ARCH_CPUID_MAX];
};

/* Bits of one leaf that say what a processor can do. */
struct cpuid_bits {
	uint32_t leaf, index;
	uint32_t eax, ebx, ecx, edx;
};

/* The first leaf in which @want has a feature that @have has not; NULL: there is none. */
const struct cpuid_bits *kvm_cpuid_lacks(
	const struct cpuid_buf *want, const struct cpuid_buf *have);

/* The FPU, model-specific registers and LAPIC lines that a firmware would have left behind. */
int kvm_boot_msrs(struct hv_vcpu *c, struct error *e);

/* Model-specific registers of a vCPU in a saved state; kvm_msrs.c. */
int kvm_save_msrs(struct hv_vcpu *c, struct save_out *s);
int kvm_load_msrs(struct hv_vcpu *c, struct save_in *s) NODISCARD;

#endif
