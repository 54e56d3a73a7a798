// SPDX-License-Identifier: Apache-2.0
/*
 * Boot state of an x86 vCPU under KVM: CPUID, registers, what a firmware would have set.
 *
 * How it works: arch/ decides values as plain numbers, this file only carries them over. Registers
 * that arch/ does not name keep what KVM gave them at reset. All vCPUs get the same model-specific
 * registers (Linux compares the memory type registers of its processors); the interrupt lines of
 * the LAPIC matter on the first alone, the others lose them at their INIT.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv/kvm/kvm_int.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/util.h"

#define MSR_IA32_MISC_ENABLE	0x1a0
#define MISC_FAST_STRING	1
#define MSR_IA32_MTRRDEFTYPE	0x2ff
#define MTRR_ENABLED_WB		0x806
#define LAPIC_LVT0		0x350
#define LAPIC_LVT1		0x360
#define LVT_MODE_MASK		0x700U
#define LVT_MODE_NMI		0x400U
#define LVT_MODE_EXTINT		0x700U
#define CPUID1_ECX_TSC_DEADLINE (1U << 24)
#define CPUID1_ECX_X2APIC	(1U << 21)

int hv_cpuid_supported(struct hv *h, struct arch_cpuid *out, struct error *e)
{
	struct cpuid_buf *b CLEAN_FREE = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(e, ENOMEM, "no memory for the CPUID table");
	b->h.nent = ARCH_CPUID_MAX;
	r = kvm_ioctl(h->dev_fd, KVM_GET_SUPPORTED_CPUID, b);
	if (r < 0)
		return err_sys(e, r, "KVM does not tell which CPUID it supports");
	memset(out, 0, sizeof(*out));
	out->n = MIN(b->h.nent, ARCH_CPUID_MAX);
	for (unsigned i = 0; i < out->n; i++) {
		const struct kvm_cpuid_entry2 *s = &b->e[i];
		struct arch_cpuid_leaf *d = &out->e[i];

		d->leaf = s->function;
		d->index = s->index;
		d->has_index = !!(s->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
		d->eax = s->eax;
		d->ebx = s->ebx;
		d->ecx = s->ecx;
		d->edx = s->edx;
		/* Both are the LAPIC's, which KVM has or not by other means than this list. */
		if (d->leaf == 1 && h->tsc_deadline && h->irqchip)
			d->ecx |= CPUID1_ECX_TSC_DEADLINE;
		if (d->leaf == 1 && h->irqchip)
			d->ecx |= CPUID1_ECX_X2APIC;
	}
	return 0;
}

int hv_vcpu_set_cpuid(struct hv_vcpu *c, const struct arch_cpuid *in, struct error *e)
{
	struct cpuid_buf *b CLEAN_FREE = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_set(e, ENOMEM, "no memory for the CPUID table");
	if (in->n > ARCH_CPUID_MAX)
		return err_set(e, EINVAL, "CPUID table of %u entries", in->n);
	b->h.nent = in->n;
	for (unsigned i = 0; i < in->n; i++) {
		const struct arch_cpuid_leaf *s = &in->e[i];

		b->e[i] = (struct kvm_cpuid_entry2){
			.function = s->leaf,
			.index = s->index,
			.flags = s->has_index ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = s->eax,
			.ebx = s->ebx,
			.ecx = s->ecx,
			.edx = s->edx,
		};
	}
	r = kvm_ioctl(c->fd, KVM_SET_CPUID2, b);
	if (r < 0)
		return err_sys(e, r, "KVM refuses the CPUID of vCPU %u", c->index);
	return 0;
}

static void put_seg(struct kvm_segment *d, const struct arch_seg *s)
{
	*d = (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->type,
		.present = s->present,
		.dpl = s->dpl,
		.db = s->db,
		.s = s->s,
		.l = s->l,
		.g = s->g,
	};
}

static int set_sregs(struct hv_vcpu *c, const struct arch_regs *r)
{
	struct kvm_sregs s;
	int err = kvm_ioctl(c->fd, KVM_GET_SREGS, &s);

	if (err < 0)
		return err;
	put_seg(&s.cs, &r->cs);
	put_seg(&s.ds, &r->ds);
	put_seg(&s.es, &r->ds);
	put_seg(&s.fs, &r->ds);
	put_seg(&s.gs, &r->ds);
	put_seg(&s.ss, &r->ss);
	put_seg(&s.tr, &r->tr);
	s.gdt.base = r->gdt_base;
	s.gdt.limit = r->gdt_limit;
	s.idt.base = r->idt_base;
	s.idt.limit = r->idt_limit;
	s.cr0 = r->cr0;
	s.cr3 = r->cr3;
	s.cr4 = r->cr4;
	s.efer = r->efer;
	return kvm_ioctl(c->fd, KVM_SET_SREGS, &s);
}

static int set_lapic_lines(struct hv_vcpu *c)
{
	struct kvm_lapic_state l;
	int r = kvm_ioctl(c->fd, KVM_GET_LAPIC, &l);

	if (r < 0)
		return r;
	if (!c->hv->split) /* there is an old controller at that line */
		put_le32(l.regs + LAPIC_LVT0,
			(get_le32(l.regs + LAPIC_LVT0) & ~LVT_MODE_MASK) | LVT_MODE_EXTINT);
	put_le32(l.regs + LAPIC_LVT1,
		(get_le32(l.regs + LAPIC_LVT1) & ~LVT_MODE_MASK) | LVT_MODE_NMI);
	return kvm_ioctl(c->fd, KVM_SET_LAPIC, &l);
}

int kvm_boot_msrs(struct hv_vcpu *c, struct error *e)
{
	struct {
		struct kvm_msrs h;
		struct kvm_msr_entry e[2];
	} m = {
		.h.nmsrs = 2,
		.e[0] = { .index = MSR_IA32_MTRRDEFTYPE, .data = MTRR_ENABLED_WB },
		.e[1] = { .index = MSR_IA32_MISC_ENABLE, .data = MISC_FAST_STRING },
	};
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };
	int r = kvm_ioctl(c->fd, KVM_SET_FPU, &fpu);

	if (r < 0)
		return err_sys(e, r, "KVM refuses the FPU state of vCPU %u", c->index);
	r = kvm_ioctl(c->fd, KVM_SET_MSRS, &m);
	if (r < 0)
		return err_sys(e, r, "KVM refuses the boot registers of vCPU %u", c->index);
	if (r != 2)
		return err_set(e, EINVAL, "KVM refuses model-specific register 0x%x of vCPU %u",
			m.e[r].index, c->index);
	if (!c->hv->irqchip)
		return 0;
	r = set_lapic_lines(c);
	if (r < 0)
		return err_sys(e, r, "KVM refuses the local APIC state of vCPU %u", c->index);
	return 0;
}

int hv_vcpu_set_regs(struct hv_vcpu *c, const struct arch_regs *r, struct error *e)
{
	struct kvm_regs regs = {
		.rip = r->rip,
		.rsp = r->rsp,
		.rbp = r->rbp,
		.rsi = r->rsi,
		.rbx = r->rbx,
		.rflags = r->rflags,
	};
	int err = set_sregs(c, r);

	if (err < 0)
		return err_sys(e, err, "KVM refuses the system registers of vCPU %u", c->index);
	err = kvm_ioctl(c->fd, KVM_SET_REGS, &regs);
	if (err < 0)
		return err_sys(e, err, "KVM refuses the registers of vCPU %u", c->index);
	return kvm_boot_msrs(c, e);
}
