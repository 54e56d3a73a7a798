/* SPDX-License-Identifier: Apache-2.0 */
/* x86_64: processor state as plain numbers, shared by arch/ (which decides) and hv/ (which tells
 * the hypervisor). */
#ifndef KRUN_ARCH_STATE_H
#define KRUN_ARCH_STATE_H

#include <stdint.h>

struct arch_seg {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint8_t type, present, dpl, db, s, l, g;
};

/* General and system registers at entry; everything not here keeps its reset value. */
struct arch_regs {
	uint64_t rip, rsp, rbp, rsi, rbx, rflags;
	uint64_t cr0, cr3, cr4, efer;
	struct arch_seg cs, ds, ss, tr; /* es, fs, gs as ds */
	uint64_t gdt_base, idt_base;
	uint16_t gdt_limit, idt_limit;
};

#define ARCH_CPUID_MAX 256

struct arch_cpuid_leaf {
	uint32_t leaf, index;
	uint32_t has_index; /* significant sub-leaf */
	uint32_t eax, ebx, ecx, edx;
};

struct arch_cpuid {
	unsigned n;
	struct arch_cpuid_leaf e[ARCH_CPUID_MAX];
};

#endif
