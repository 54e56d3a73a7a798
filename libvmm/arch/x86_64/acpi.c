// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: ACPI tables (ACPI 6.3), for kernels that know neither the MP table nor devices on their
 * command line.
 *
 * How it works: a machine of "hardware-reduced" ACPI, which has no fixed registers but those that
 * reset and switch off. The root pointer lies where the area of a BIOS begins, which is searched by
 * who is not told; behind it, one after the other, DSDT, FADT, MADT and the table that lists them.
 * The MADT says what the MP table says: processors, the IOAPIC, and that input n is interrupt n;
 * that they are edge-triggered and active high stands with each device in the DSDT (dsdt.c).
 *
 * All of it is made in one buffer of this thread's and copied to the guest at once, so the guest
 * can change it only afterwards, for itself; nothing is ever read back.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86.h"
#include "util/bytes.h"
#include "util/util.h"

#define ALIGN	 16U
#define RSDP_LEN 36U
#define HEAD_LEN 36U
#define FADT_LEN 276U
#define XSDT_LEN (HEAD_LEN + 2 * 8)

#define FADT_REVISION	    6
#define FADT_WBINVD	    (1U << 0)
#define FADT_NO_POWER_FIXED (1U << 4) /* buttons are devices, if any */
#define FADT_NO_SLEEP_FIXED (1U << 5)
#define FADT_RESET_REG	    (1U << 10)
#define FADT_HW_REDUCED	    (1U << 20)
#define BOOT_NO_VGA	    (1U << 2)
#define BOOT_NO_RTC	    (1U << 5)
#define GAS_IO		    1

#define MADT_REVISION	 4
#define MADT_LAPIC	 0
#define MADT_IOAPIC	 1
#define MADT_LAPIC_NMI	 4
#define MADT_CPU_ENABLED 1
#define MADT_ALL_CPUS	 0xff

#define DSDT_MAX 4096U
#define ACPI_MAX                                                                             \
	(RSDP_LEN + DSDT_MAX + FADT_LEN + HEAD_LEN + 8 + LIM_VCPUS * 8 + 12 + 6 + XSDT_LEN + \
		5 * ALIGN)

_Static_assert(ACPI_MAX <= X86_SMBIOS - X86_ACPI, "the tables of the largest VM fit");

struct tables {
	uint8_t b[ACPI_MAX];
	unsigned len; /* used; the next table begins at the next multiple of ALIGN */
};

static void seal(uint8_t *sum, const uint8_t *b, unsigned n)
{
	*sum = 0;
	*sum = x86_checksum(b, n);
}

/* Room for a table of @n bytes, all zero; its address in the guest in *gpa. */
static uint8_t *place(struct tables *t, unsigned n, uint64_t *gpa)
{
	uint8_t *p;

	t->len = ALIGN_UP(t->len, ALIGN);
	assert(n <= sizeof(t->b) - t->len); /* by ACPI_MAX */
	p = t->b + t->len;
	*gpa = X86_ACPI + t->len;
	t->len += n;
	return p;
}

/* The header that all tables but the root pointer have; last, as it has their checksum. */
static void head(uint8_t *p, const char *sig, unsigned len, uint8_t revision)
{
	memcpy(p, sig, 4);
	put_le32(p + 4, len);
	p[8] = revision;
	memcpy(p + 10, "KRUN  ", 6);
	memcpy(p + 16, "MICROVM ", 8);
	put_le32(p + 24, 1);
	memcpy(p + 28, "KRUN", 4);
	put_le32(p + 32, 1);
	seal(p + 9, p, len);
}

/* A generic address: one byte at an I/O port. */
static void io_reg(uint8_t *p, uint16_t port)
{
	p[0] = GAS_IO;
	p[1] = 8; /* bits */
	p[3] = 1; /* accessed by bytes */
	put_le64(p + 4, port);
}

static uint64_t add_dsdt(struct tables *t, const struct arch_boot_params *p)
{
	uint8_t body[DSDT_MAX - HEAD_LEN];
	unsigned n = x86_dsdt(p, body, sizeof(body));
	uint64_t gpa;
	uint8_t *d = place(t, HEAD_LEN + n, &gpa);

	memcpy(d + HEAD_LEN, body, n);
	head(d, "DSDT", HEAD_LEN + n, 2);
	return gpa;
}

static uint64_t add_fadt(struct tables *t, bool rtc, uint64_t dsdt)
{
	uint64_t gpa;
	uint8_t *f = place(t, FADT_LEN, &gpa);

	put_le32(f + 40, (uint32_t)dsdt);
	put_le16(f + 109, BOOT_NO_VGA | (rtc ? 0 : BOOT_NO_RTC));
	put_le32(f + 112,
		FADT_WBINVD | FADT_NO_POWER_FIXED | FADT_NO_SLEEP_FIXED | FADT_RESET_REG |
			FADT_HW_REDUCED);
	io_reg(f + 116, X86_I8042_CMD);
	f[128] = X86_I8042_RESET;
	f[131] = 3; /* minor revision */
	put_le64(f + 140, dsdt);
	io_reg(f + 244, X86_SLEEP_CTL);
	io_reg(f + 256, X86_SLEEP_STATUS);
	head(f, "FACP", FADT_LEN, FADT_REVISION);
	return gpa;
}

static uint64_t add_madt(struct tables *t, unsigned vcpus)
{
	unsigned len = HEAD_LEN + 8 + vcpus * 8 + 12 + 6;
	uint64_t gpa;
	uint8_t *m = place(t, len, &gpa), *d = m + HEAD_LEN;

	put_le32(d, X86_LAPIC);
	d += 8;
	for (unsigned i = 0; i < vcpus; i++, d += 8) {
		d[0] = MADT_LAPIC;
		d[1] = 8;
		d[2] = (uint8_t)i; /* the processor's name, and its APIC's */
		d[3] = (uint8_t)i;
		put_le32(d + 4, MADT_CPU_ENABLED);
	}
	d[0] = MADT_IOAPIC;
	d[1] = 12;
	d[2] = (uint8_t)(vcpus + 1);
	put_le32(d + 4, X86_IOAPIC);
	d += 12;
	d[0] = MADT_LAPIC_NMI;
	d[1] = 6;
	d[2] = MADT_ALL_CPUS;
	d[5] = 1; /* LINT1 */
	head(m, "APIC", len, MADT_REVISION);
	return gpa;
}

static uint64_t add_xsdt(struct tables *t, uint64_t fadt, uint64_t madt)
{
	uint64_t gpa;
	uint8_t *x = place(t, XSDT_LEN, &gpa);

	put_le64(x + HEAD_LEN, fadt);
	put_le64(x + HEAD_LEN + 8, madt);
	head(x, "XSDT", XSDT_LEN, 1);
	return gpa;
}

int x86_write_acpi(struct mem *m, const struct arch_boot_params *p, struct error *e)
{
	struct tables t = { .len = 0 };
	uint64_t rsdp, dsdt;
	uint8_t *r = place(&t, RSDP_LEN, &rsdp);
	int err;

	if (!p->vcpus || p->vcpus > LIM_VCPUS || p->nvdevs > LIM_VDEVS ||
		p->nuarts > arch_layout.nuarts)
		return err_set(e, EINVAL,
			"%u vCPUs, %u devices and %u serial ports: at most %u, %u and %u", p->vcpus,
			p->nvdevs, p->nuarts, LIM_VCPUS, LIM_VDEVS, arch_layout.nuarts);
	dsdt = add_dsdt(&t, p);
	memcpy(r, "RSD PTR ", 8);
	memcpy(r + 9, "KRUN  ", 6);
	r[15] = 2; /* revision: there is an XSDT, and no RSDT */
	put_le32(r + 20, RSDP_LEN);
	put_le64(r + 24, add_xsdt(&t, add_fadt(&t, p->rtc, dsdt), add_madt(&t, p->vcpus)));
	seal(r + 8, r, 20);
	seal(r + 32, r, RSDP_LEN);
	err = mem_write(m, GPA(X86_ACPI), t.b, t.len);
	return err < 0 ? err_set(e, err, "no RAM for the ACPI tables") : 0;
}
