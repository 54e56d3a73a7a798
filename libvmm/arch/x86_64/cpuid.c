// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: the processor that a vCPU sees.
 *
 * How it works: the hypervisor's list of what it supports is the start and the upper bound. Taken
 * out is what it cannot back for us (performance counters, nested virtualisation unless it is asked
 * for, processor trace, enclaves); put in is what depends on the machine that we make: one socket,
 * a core for each vCPU, one thread each, APIC id = index. Where it says how many share something,
 * the number is rounded up to a power of two, as the registers ask for.
 */
#include <string.h>

#include "arch/arch.h"
#include "util/util.h"

#define BIT(n) (1U << (n))

#define VENDOR_AMD_EBX	 0x68747541U /* "Auth" */
#define VENDOR_HYGON_EBX 0x6f677948U /* "Hygo" */
#define EXT_BASE	 0x80000000U
#define EXT_MAX		 0x80000021U
#define SVM_LEAF	 0x8000000aU
#define CPU_VMX		 BIT(5) /* ecx of leaf 1 */
#define CPU_SVM		 BIT(2) /* ecx of 0x80000001 */
#define LEVEL_SMT	 1U
#define LEVEL_CORE	 2U

struct cpu {
	unsigned index, vcpus;
	unsigned shift; /* bits of an APIC id that count cores */
	bool amd;
};

static unsigned log2_up(unsigned n)
{
	unsigned s = 0;

	while ((1U << s) < n)
		s++;
	return s;
}

static const struct arch_cpuid_leaf *find(const struct arch_cpuid *c, uint32_t leaf, uint32_t index)
{
	for (unsigned i = 0; i < c->n && i < ARCH_CPUID_MAX; i++)
		if (c->e[i].leaf == leaf && c->e[i].index == index)
			return &c->e[i];
	return NULL;
}

/* Leaves that are not shown at all. */
static bool hidden(uint32_t leaf, const struct cpu *c)
{
	switch (leaf) {
	case 0x5:	 /* MONITOR */
	case 0xa:	 /* performance counters */
	case 0xb:	 /* made anew */
	case 0x12:	 /* enclaves */
	case 0x14:	 /* processor trace */
	case 0x1c:	 /* branch records */
	case 0x1f:	 /* made anew */
	case 0x23:	 /* performance counters */
	case SVM_LEAF:	 /* nested virtualisation */
	case 0x8000001f: /* memory encryption */
	case 0x80000022: /* performance counters */
		return true;
	default:
		return (leaf > EXT_MAX && leaf < 0xc0000000U) || (leaf >= 0xc0000000U && c->amd);
	}
}

static void fix_leaf1(struct arch_cpuid_leaf *l, const struct cpu *c)
{
	l->ebx = (l->ebx & 0xffU) | 8U << 8 | (1U << c->shift) << 16 | c->index << 24;
	l->ecx &= ~(BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(15) |
		BIT(27));  /* MONITOR VMX SMX EST TM2 PDCM OSXSAVE */
	l->ecx |= BIT(31); /* a hypervisor is there */
	l->edx &= ~(BIT(21) | BIT(22) | BIT(28) | BIT(29)); /* debug store, thermal */
	if (c->vcpus > 1)
		l->edx |= BIT(28); /* the count in ebx is valid */
}

/* Leaf 4 (Intel) and 0x8000001d (AMD): who shares a cache. The last level is everybody's, the
 * others each core's own. */
static void fix_cache(struct arch_cpuid_leaf *l, const struct cpu *c)
{
	unsigned level = l->eax >> 5 & 7U;
	uint32_t sharing = level >= 3 ? (1U << c->shift) - 1 : 0;

	if (!(l->eax & 0x1fU))
		return;
	l->eax = (l->eax & 0x3fffU) | sharing << 14;
	if (l->leaf == 4)
		l->eax |= ((1U << c->shift) - 1) << 26;
}

static void fix_leaf7(struct arch_cpuid_leaf *l, const struct cpu *c)
{
	if (l->index)
		return;
	l->ebx &= ~(BIT(2) | BIT(25)); /* enclaves, processor trace */
	l->ecx &= ~(BIT(4) | BIT(30)); /* OSPKE mirrors a register; enclave launch */
	l->edx &= ~(BIT(19));	       /* branch records */
	if (c->amd)
		l->edx &= ~BIT(29); /* ARCH_CAPABILITIES is Intel's; KVM makes it up */
}

static void fix_ext(struct arch_cpuid_leaf *l, const struct cpu *c, bool topoext)
{
	switch (l->leaf) {
	case 0x80000001:
		l->ecx &= ~(BIT(2) | BIT(3) | BIT(10) | BIT(12) | BIT(22) | BIT(23) | BIT(24) |
			BIT(28)); /* SVM EXTAPIC IBS SKINIT, counters */
		l->ecx &= ~BIT(1);
		if (c->amd && c->vcpus > 1)
			l->ecx |= BIT(1); /* the logical count of leaf 1 is of cores */
		if (topoext)
			l->ecx |= BIT(22);
		break;
	case 0x80000008:
		if (c->amd)
			l->ecx = c->shift << 12 | (c->vcpus - 1);
		break;
	case 0x8000001e:
		l->eax = c->index;
		l->ebx = c->index; /* core; one thread in it */
		l->ecx = 0;	   /* node 0 of one */
		l->edx = 0;
		break;
	default:
		break;
	}
}

static void add_topology(struct arch_cpuid *out, uint32_t leaf, const struct cpu *c)
{
	const struct arch_cpuid_leaf t[3] = {
		{ leaf, 0, 1, 0, 1, LEVEL_SMT << 8 | 0, c->index },
		{ leaf, 1, 1, c->shift, c->vcpus, LEVEL_CORE << 8 | 1, c->index },
		{ leaf, 2, 1, 0, 0, 2, c->index },
	};

	if (out->n > ARCH_CPUID_MAX - ARRAY_SIZE(t))
		return;
	memcpy(&out->e[out->n], t, sizeof(t));
	out->n += ARRAY_SIZE(t);
}

static void fix(struct arch_cpuid_leaf *l, const struct cpu *c, bool topoext)
{
	switch (l->leaf) {
	case 0x1:
		fix_leaf1(l, c);
		break;
	case 0x4:
	case 0x8000001d:
		fix_cache(l, c);
		break;
	case 0x6:
		l->eax &= BIT(2); /* the LAPIC timer always runs; no turbo, no power hints */
		l->ebx = l->ecx = l->edx = 0;
		break;
	case 0x7:
		fix_leaf7(l, c);
		break;
	case EXT_BASE:
		l->eax = MIN(l->eax, EXT_MAX);
		break;
	default:
		fix_ext(l, c, topoext);
		break;
	}
}

void arch_cpuid(
	const struct arch_cpuid *supported, unsigned index, unsigned vcpus, struct arch_cpuid *out)
{
	struct cpu c = { .index = index, .vcpus = vcpus, .shift = log2_up(vcpus) };
	const struct arch_cpuid_leaf *zero;
	bool topoext;
	uint32_t max;

	memset(out, 0, sizeof(*out));
	zero = find(supported, 0, 0);
	max = zero ? zero->eax : 0;
	c.amd = zero && (zero->ebx == VENDOR_AMD_EBX || zero->ebx == VENDOR_HYGON_EBX);
	topoext = c.amd && find(supported, 0x8000001e, 0) && find(supported, 0x8000001d, 0);
	for (unsigned i = 0; i < supported->n && i < ARCH_CPUID_MAX; i++) {
		if (hidden(supported->e[i].leaf, &c))
			continue;
		out->e[out->n] = supported->e[i];
		fix(&out->e[out->n++], &c, topoext);
	}
	if (max >= 0xb)
		add_topology(out, 0xb, &c);
	if (max >= 0x1f && !c.amd)
		add_topology(out, 0x1f, &c);
}

bool arch_cpuid_nested(const struct arch_cpuid *supported, struct arch_cpuid *c)
{
	const struct arch_cpuid_leaf *basic = find(supported, 1, 0);
	const struct arch_cpuid_leaf *ext = find(supported, 0x80000001, 0);
	const struct arch_cpuid_leaf *svm = find(supported, SVM_LEAF, 0);
	uint32_t vmx = basic ? basic->ecx & CPU_VMX : 0;
	uint32_t amd = ext && svm && c->n < ARCH_CPUID_MAX ? ext->ecx & CPU_SVM : 0;

	for (unsigned i = 0; i < c->n; i++) {
		if (c->e[i].leaf == 1)
			c->e[i].ecx |= vmx;
		if (c->e[i].leaf == 0x80000001)
			c->e[i].ecx |= amd;
	}
	if (amd)
		c->e[c->n++] = *svm;
	return vmx || amd;
}
