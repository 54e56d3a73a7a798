// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: the processor table of the MultiProcessor Specification 1.4, which tells the kernel its
 * CPUs and interrupt inputs.
 *
 * How it works: the floating pointer lies at the start of the extended BIOS data area, where
 * kernels look for it, and the table right behind it. Input n of the one ISA bus is pin n of the
 * IOAPIC for all 24 pins but the second (the cascade of the old controllers), marked edge-triggered
 * and active high, which is how the hypervisor's event descriptors pulse them. Linux numbers
 * interrupts by pin, and reads trigger and polarity from here for the pins from 16 on too; without
 * an entry it would take those for level-triggered ones. Where the interrupt controller is split,
 * no old controller is at the first processor's LINT0.
 */
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86.h"
#include "util/bytes.h"
#include "util/util.h"

#define SPEC_REV	4
#define APIC_VERSION	0x14
#define IOAPIC_VERSION	0x20 /* of ours; the hypervisor's has another, and nobody looks here */
#define CPU_ENABLED	1
#define CPU_BSP		2
#define CPU_SIGNATURE	0x600
#define CPU_FEATURES	0x201 /* FPU and APIC on the chip */
#define ENTRY_CPU	0
#define ENTRY_BUS	1
#define ENTRY_IOAPIC	2
#define ENTRY_IOINT	3
#define ENTRY_LINT	4
#define INT_PLAIN	0
#define INT_NMI		1
#define INT_EXTINT	3
#define INT_EDGE_HIGH	5 /* polarity 01, trigger 01 */
#define INT_BUS_DEFAULT 0
#define BUS_ISA		0
#define CASCADE_PIN	2
#define ALL_LAPICS	0xff

struct table {
	uint8_t b[X86_EBDA_END - X86_EBDA];
	unsigned len;
	unsigned entries;
};

static uint8_t *add(struct table *t, uint8_t type, unsigned n)
{
	uint8_t *p = t->b + t->len;

	p[0] = type;
	t->len += n;
	t->entries++;
	return p;
}

uint8_t x86_checksum(const uint8_t *b, size_t n)
{
	uint8_t sum = 0;

	while (n--)
		sum = (uint8_t)(sum + *b++);
	return (uint8_t)-sum;
}

static void add_cpu(struct table *t, unsigned index)
{
	uint8_t *p = add(t, ENTRY_CPU, 20);

	p[1] = (uint8_t)index;
	p[2] = APIC_VERSION;
	p[3] = CPU_ENABLED | (index ? 0 : CPU_BSP);
	put_le32(p + 4, CPU_SIGNATURE);
	put_le32(p + 8, CPU_FEATURES);
}

static void add_int(struct table *t, uint8_t entry, uint8_t kind, uint16_t flags, uint8_t irq,
	uint8_t apic, uint8_t pin)
{
	uint8_t *p = add(t, entry, 8);

	p[1] = kind;
	put_le16(p + 2, flags);
	p[4] = BUS_ISA;
	p[5] = irq;
	p[6] = apic;
	p[7] = pin;
}

#define MPF_LEN 16
#define MPC_LEN 44

_Static_assert(MPF_LEN + MPC_LEN + LIM_VCPUS * 20 + 8 + 8 + X86_IOAPIC_PINS * 8 + 2 * 8 <=
		X86_EBDA_END - X86_EBDA,
	"the table of the largest VM fits");

int x86_write_mptable(struct mem *m, const struct arch_boot_params *params, struct error *e)
{
	unsigned vcpus = params->vcpus;
	struct table t = { .len = MPF_LEN + MPC_LEN };
	uint8_t *mpf = t.b, *mpc = t.b + MPF_LEN, *p;
	uint8_t ioapic = (uint8_t)(vcpus + 1);
	int r;

	if (!vcpus || vcpus > LIM_VCPUS)
		return err_set(e, EINVAL, "%u vCPUs: from 1 to %u", vcpus, LIM_VCPUS);
	for (unsigned i = 0; i < vcpus; i++)
		add_cpu(&t, i);
	p = add(&t, ENTRY_BUS, 8);
	p[1] = BUS_ISA;
	memcpy(p + 2, "ISA   ", 6);
	p = add(&t, ENTRY_IOAPIC, 8);
	p[1] = ioapic;
	p[2] = params->no_pic ? IOAPIC_VERSION : APIC_VERSION;
	p[3] = 1; /* usable */
	put_le32(p + 4, X86_IOAPIC);
	for (uint8_t pin = 0; pin < X86_IOAPIC_PINS; pin++)
		if (pin != CASCADE_PIN)
			add_int(&t, ENTRY_IOINT, INT_PLAIN, INT_EDGE_HIGH, pin, ioapic, pin);
	if (!params->no_pic)
		add_int(&t, ENTRY_LINT, INT_EXTINT, INT_BUS_DEFAULT, 0, 0, 0);
	add_int(&t, ENTRY_LINT, INT_NMI, INT_BUS_DEFAULT, 0, ALL_LAPICS, 1);

	memcpy(mpc, "PCMP", 4);
	put_le16(mpc + 4, (uint16_t)(t.len - MPF_LEN));
	mpc[6] = SPEC_REV;
	memcpy(mpc + 8, "KRUN    ", 8);
	memcpy(mpc + 16, "MICROVM     ", 12);
	put_le16(mpc + 34, (uint16_t)t.entries);
	put_le32(mpc + 36, X86_LAPIC);
	mpc[7] = x86_checksum(mpc, t.len - MPF_LEN);

	memcpy(mpf, "_MP_", 4);
	put_le32(mpf + 4, (uint32_t)(X86_EBDA + MPF_LEN));
	mpf[8] = 1; /* length in units of 16 bytes */
	mpf[9] = SPEC_REV;
	mpf[10] = x86_checksum(mpf, MPF_LEN);
	r = mem_write(m, GPA(X86_EBDA), t.b, t.len);
	return r < 0 ? err_set(e, r, "no RAM for the processor table") : 0;
}
