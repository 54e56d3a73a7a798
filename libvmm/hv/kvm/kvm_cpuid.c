// SPDX-License-Identifier: Apache-2.0
/*
 * Whether a processor can do what another one could: for a saved VM, whose guest has looked at its
 * processor once and will not look again.
 *
 * How it works: a table of the leaves that hold feature bits, of which those do not count that
 * mirror the state of a register. Families, sizes, topology and names may differ: the guest keeps
 * the ones it was saved with.
 */
#include "hv/kvm/kvm_int.h"
#include "util/util.h"

#define ALL ~0U

static const struct cpuid_bits features[] = {
	{ 1, 0, 0, 0, ~(1U << 27 | 1U << 3), ~(1U << 9) }, /* but OSXSAVE, MONITOR, APIC */
	{ 7, 0, 0, ALL, ~(1U << 4), ALL },		   /* but OSPKE */
	{ 7, 1, ALL, ALL, ALL, ALL }, { 7, 2, 0, 0, 0, ALL },
	{ 0xd, 0, ALL, 0, 0, ALL },   /* XCR0; the others are sizes */
	{ 0xd, 1, ALL, 0, ALL, ALL }, /* XSAVEC and its kin, IA32_XSS; ebx is a size */
	{ 0x80000001, 0, 0, 0, ALL, ~(1U << 9) },
	{ 0x80000007, 0, 0, 0, 0, ALL }, /* the invariant TSC */
	{ 0x80000008, 0, 0, ALL, 0, 0 }, /* eax: address sizes, ecx: topology */
	{ 0x40000001, 0, ALL, 0, 0, 0 }, /* KVM's own; edx holds hints */
};

static const struct kvm_cpuid_entry2 *find_leaf(
	const struct cpuid_buf *b, uint32_t leaf, uint32_t index)
{
	for (unsigned i = 0; i < b->h.nent && i < ARCH_CPUID_MAX; i++)
		if (b->e[i].function == leaf && b->e[i].index == index)
			return &b->e[i];
	return NULL;
}

const struct cpuid_bits *kvm_cpuid_lacks(const struct cpuid_buf *want, const struct cpuid_buf *have)
{
	static const struct kvm_cpuid_entry2 none;

	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		const struct cpuid_bits *t = &features[i];
		const struct kvm_cpuid_entry2 *w = find_leaf(want, t->leaf, t->index);
		const struct kvm_cpuid_entry2 *h = find_leaf(have, t->leaf, t->index);

		if (!w)
			continue;
		h = h ? h : &none;
		if ((w->eax & ~h->eax & t->eax) | (w->ebx & ~h->ebx & t->ebx) |
			(w->ecx & ~h->ecx & t->ecx) | (w->edx & ~h->edx & t->edx))
			return t;
	}
	return NULL;
}
