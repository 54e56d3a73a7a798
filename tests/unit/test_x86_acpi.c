// SPDX-License-Identifier: Apache-2.0
/* The ACPI tables, parsed back as a kernel does: sums, lengths, what they say of processors,
 * devices and registers; and disassembled by iasl where that is installed. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/x86_64/x86.h"
#include "tests/unit/test.h"
#include "util/bytes.h"
#include "util/util.h"

#define RAM_LEN (1U << 20)

static uint8_t *ram;
static struct arch_vdev vdevs[LIM_VDEVS];
static const uint8_t *fadt, *madt, *dsdt;

static int write_tables(struct arch_boot_params p, uint64_t len, struct error *e)
{
	struct mem m;
	int r;

	if (!ram)
		ram = mmap(
			NULL, RAM_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return -ENOMEM;
	memset(ram, 0, RAM_LEN);
	for (unsigned i = 0; i < LIM_VDEVS; i++)
		vdevs[i] = (struct arch_vdev){ arch_layout.mmio_base + i * 0x1000ULL,
			arch_layout.gsis[i] };
	p.vdevs = vdevs;
	mem_init(&m);
	r = mem_add_borrowed(&m, GPA(0), ram, len);
	if (!r)
		r = x86_write_acpi(&m, &p, e);
	mem_destroy(&m);
	return r;
}

static uint8_t sum(const uint8_t *p, unsigned n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

/* A table that is whole, or NULL. */
static const uint8_t *table(uint64_t at, const char *sig)
{
	const uint8_t *p = ram + at;
	uint32_t len;

	if (at < X86_ACPI || at > X86_SMBIOS - 36 || at % 16 || memcmp(p, sig, 4))
		return NULL;
	len = get_le32(p + 4);
	return len >= 36 && len <= X86_SMBIOS - at && !sum(p, len) ? p : NULL;
}

/* Follows the pointers from the root. */
static bool find_tables(void)
{
	const uint8_t *r = ram + X86_ACPI, *x;

	fadt = madt = dsdt = NULL;
	if (memcmp(r, "RSD PTR ", 8) || sum(r, 20) || sum(r, 36) || r[15] != 2 ||
		get_le32(r + 20) != 36)
		return false;
	x = table(get_le64(r + 24), "XSDT");
	if (!x || get_le32(x + 4) != 36 + 16)
		return false;
	fadt = table(get_le64(x + 36), "FACP");
	madt = table(get_le64(x + 44), "APIC");
	if (!fadt || !madt || get_le64(fadt + 140) != get_le32(fadt + 40))
		return false;
	dsdt = table(get_le64(fadt + 140), "DSDT");
	return dsdt != NULL;
}

static void tables_are_whole(void)
{
	for (unsigned n = 1; n <= LIM_VCPUS; n++) {
		struct arch_boot_params p = { .vcpus = n, .nvdevs = n };

		CHECK_EQ(write_tables(p, RAM_LEN, NULL), 0);
		CHECK(find_tables());
	}
}

/* Nothing but what lies between the two marks is written, however large the VM. */
static void bounds(void)
{
	struct arch_boot_params p = { .vcpus = LIM_VCPUS, .nvdevs = LIM_VDEVS };
	struct error e = { 0 };

	CHECK_EQ(write_tables(p, RAM_LEN, NULL), 0);
	CHECK(find_tables());
	for (unsigned i = 0; i < RAM_LEN; i++)
		CHECK(!ram[i] || (i >= X86_ACPI && i < X86_SMBIOS));
	p.vcpus++;
	CHECK_EQ(write_tables(p, RAM_LEN, &e), -EINVAL);
	CHECK(strstr(e.msg, "17 vCPUs"));
	p.vcpus = 0;
	CHECK_EQ(write_tables(p, RAM_LEN, NULL), -EINVAL);
	p = (struct arch_boot_params){ .vcpus = 1, .nvdevs = LIM_VDEVS + 1 };
	CHECK_EQ(write_tables(p, RAM_LEN, NULL), -EINVAL);
	p.nvdevs = 0;
	CHECK(write_tables(p, X86_ACPI, NULL) < 0); /* no RAM there */
}

static void fixed_registers(void)
{
	struct arch_boot_params p = { .vcpus = 1 };

	CHECK_EQ(write_tables(p, RAM_LEN, NULL), 0);
	CHECK(find_tables());
	CHECK_EQ(get_le32(fadt + 4), 276);
	CHECK_EQ(fadt[8], 6);
	CHECK(get_le32(fadt + 112) & 1U << 20); /* hardware-reduced */
	CHECK(get_le32(fadt + 112) & 1U << 10); /* the reset register counts */
	CHECK(!(get_le16(fadt + 109) & 2));	/* no keyboard controller */
	CHECK_EQ(fadt[116], 1);			/* at an I/O port */
	CHECK_EQ(get_le64(fadt + 120), 0x64);
	CHECK_EQ(fadt[128], 0xfe);
	CHECK_EQ(fadt[244], 1);
	CHECK_EQ(get_le64(fadt + 248), 0x600);
	CHECK_EQ(get_le64(fadt + 260), 0x601);
}

static void processors(void)
{
	struct arch_boot_params p = { .vcpus = 5 };
	unsigned cpus = 0, ioapics = 0, nmis = 0;
	const uint8_t *d, *end;

	CHECK_EQ(write_tables(p, RAM_LEN, NULL), 0);
	CHECK(find_tables());
	CHECK_EQ(get_le32(madt + 36), X86_LAPIC);
	end = madt + get_le32(madt + 4);
	for (d = madt + 44; d < end; d += d[1]) {
		CHECK(end - d >= 2 && d[1] >= 2 && d[1] <= end - d);
		switch (d[0]) {
		case 0:
			CHECK_EQ(d[1], 8);
			CHECK_EQ(d[2], cpus);
			CHECK_EQ(d[3], cpus++);
			CHECK_EQ(get_le32(d + 4), 1);
			break;
		case 1:
			CHECK_EQ(d[1], 12);
			CHECK_EQ(d[2], 6); /* no processor's */
			CHECK_EQ(get_le32(d + 4), X86_IOAPIC);
			CHECK_EQ(get_le32(d + 8), 0); /* its first interrupt */
			ioapics++;
			break;
		case 4:
			CHECK_EQ(d[1], 6);
			CHECK_EQ(d[2], 0xff);
			CHECK_EQ(d[5], 1);
			nmis++;
			break;
		default:
			CHECK(!"a type that is ours");
		}
	}
	CHECK(d == end);
	CHECK_EQ(cpus, 5);
	CHECK_EQ(ioapics, 1);
	CHECK_EQ(nmis, 1);
}

/* The length of a definition, and where what it counts begins. */
static unsigned pkg(const uint8_t *p, unsigned *n)
{
	unsigned follow = p[0] >> 6, len = follow ? p[0] & 15U : p[0] & 63U;

	for (unsigned i = 0; i < follow; i++)
		len |= (unsigned)p[1 + i] << (4 + 8 * i);
	*n = len;
	return 1 + follow;
}

/* One device of the bytecode: name, identity, and what its resources say. */
struct seen {
	char name[5], hid[9];
	unsigned uid;
	uint64_t base;
	unsigned len, gsi, irq_flags, pnp, port, ports;
};

static bool read_resources(const uint8_t *r, unsigned n, struct seen *s)
{
	unsigned at = 0;

	while (at < n && r[at] != 0x79) {
		if (r[at] == 0x47 && r[at + 1] == 1 &&
			get_le16(r + at + 2) == get_le16(r + at + 4)) {
			s->port = get_le16(r + at + 2);
			s->ports = r[at + 7];
			at += 8;
			continue;
		}
		if (r[at] == 0x86 && get_le16(r + at + 1) == 9) {
			s->base = get_le32(r + at + 4);
			s->len = get_le32(r + at + 8);
		} else if (r[at] == 0x89 && get_le16(r + at + 1) == 6 && r[at + 4] == 1) {
			s->irq_flags = r[at + 3];
			s->gsi = get_le32(r + at + 5);
		} else {
			return false;
		}
		at += 3U + get_le16(r + at + 1);
	}
	return at + 2 == n && !r[at + 1];
}

/* Objects of a device, each "Name (XXXX, ...)". */
static bool read_device(const uint8_t *p, const uint8_t *end, struct seen *s)
{
	unsigned n;

	*s = (struct seen){ .uid = 99 };
	memcpy(s->name, p, 4);
	for (p += 4; p < end;) {
		const uint8_t *v = p + 5;

		if (*p != 0x08)
			return false;
		if (!memcmp(p + 1, "_HID", 4) && *v == 0x0d) {
			(void)snprintf(s->hid, sizeof(s->hid), "%s", (const char *)v + 1);
			p = v + 2 + strlen((const char *)v + 1);
		} else if (!memcmp(p + 1, "_HID", 4) && *v == 0x0c && v[1] == 0x41 &&
			v[2] == 0xd0) {
			s->pnp = (unsigned)v[3] << 8 | v[4];
			p = v + 5;
		} else if (!memcmp(p + 1, "_UID", 4) && *v == 0x0a) {
			s->uid = v[1];
			p = v + 2;
		} else if (!memcmp(p + 1, "_CRS", 4) && *v == 0x11) {
			const uint8_t *b = v + 1 + pkg(v + 1, &n);

			p = v + 1 + n;
			if (b[0] != 0x0a || b + 2 + b[1] != p || !read_resources(b + 2, b[1], s))
				return false;
		} else {
			return false;
		}
	}
	return p == end;
}

static void devices(void)
{
	struct arch_boot_params p = { .vcpus = 1, .nvdevs = LIM_VDEVS };
	const uint8_t *d, *end, *scope_end;
	unsigned n, found = 0;

	CHECK_EQ(write_tables(p, RAM_LEN, NULL), 0);
	CHECK(find_tables());
	end = dsdt + get_le32(dsdt + 4);
	d = dsdt + 36;
	CHECK_EQ(*d++, 0x10);
	CHECK(pkg(d, &n) == 3 && n <= end - d);
	scope_end = d + n;
	CHECK(!memcmp(d + 3, "\\_SB_", 5));
	for (d += 8; d < scope_end; found++) {
		char name[8];
		struct seen s;

		CHECK(d[0] == 0x5b && d[1] == 0x82);
		CHECK(pkg(d + 2, &n) == 3 && n <= scope_end - d - 2);
		CHECK(read_device(d + 5, d + 2 + n, &s));
		(void)snprintf(name, sizeof(name), "VR%02u", found);
		CHECK_STR(s.name, name);
		CHECK_STR(s.hid, "LNRO0005");
		CHECK_EQ(s.uid, found);
		CHECK_EQ(s.base, vdevs[found].base);
		CHECK_EQ(s.len, 0x1000);
		CHECK_EQ(s.gsi, vdevs[found].gsi);
		CHECK_EQ(s.irq_flags, 3); /* edge, active high, its own */
		d += 2 + n;
	}
	CHECK_EQ(found, LIM_VDEVS);
	CHECK(d == scope_end);
	CHECK(!memcmp(d, "\x08_S5_\x12", 6));
	CHECK(pkg(d + 6, &n) == 3 && d + 6 + n == end);
	CHECK(!memcmp(d + 9, "\x02\x0a\x05\0", 4));
}

/* Serial ports and the clock, behind the others. */
static void legacy_devices(void)
{
	struct arch_boot_params p = { .vcpus = 1, .nvdevs = 1, .nuarts = 3, .rtc = true };
	static const char *const names[] = { "VR00", "COM1", "COM2", "COM3", "RTC_" };
	const uint8_t *d;
	unsigned n;

	CHECK_EQ(write_tables(p, RAM_LEN, NULL), 0);
	CHECK(find_tables());
	CHECK(!(get_le16(fadt + 109) & 1U << 5)); /* it has a clock */
	d = dsdt + 36 + 9;
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		struct seen s;

		CHECK(pkg(d + 2, &n) == 3 && read_device(d + 5, d + 2 + n, &s));
		CHECK_STR(s.name, names[i]);
		d += 2 + n;
		if (i >= 1 && i <= 3) {
			CHECK_EQ(s.pnp, 0x0501);
			CHECK_EQ(s.uid, i);
			CHECK_EQ(s.port, arch_layout.uarts[i - 1].port);
			CHECK_EQ(s.ports, 8);
			CHECK_EQ(s.gsi, arch_layout.uarts[i - 1].gsi);
			CHECK_EQ(s.irq_flags, 11); /* edge, active high, shared */
		} else if (i == 4) {
			CHECK(s.pnp == 0x0b00 && s.port == 0x70 && s.ports == 2 && !s.irq_flags);
		}
	}
	CHECK(!memcmp(d, "\x08_S5_", 5));
	p.rtc = false;
	CHECK_EQ(write_tables(p, RAM_LEN, NULL), 0);
	CHECK(find_tables());
	CHECK(get_le16(fadt + 109) & 1U << 5);
	p.nuarts = LIM_SERIALS + 1;
	CHECK_EQ(write_tables(p, RAM_LEN, NULL), -EINVAL);
}

/* What somebody else's disassembler makes of it. */
static void as_iasl_reads_it(void)
{
	struct arch_boot_params p = {
		.vcpus = 2, .nvdevs = LIM_VDEVS, .nuarts = LIM_SERIALS, .rtc = true
	};
	char dir[] = "/tmp/acpi.XXXXXX", cmd[512];
	FILE *f;

	if (system("command -v iasl >/dev/null")) { /* NOLINT(cert-env33-c) */
		printf("# skipped: no iasl (acpica-tools)\n");
		return;
	}
	CHECK_EQ(write_tables(p, RAM_LEN, NULL), 0);
	CHECK(find_tables() && mkdtemp(dir));
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *t[] = { dsdt, fadt, madt };
		char name[64];

		(void)snprintf(name, sizeof(name), "%s/%u.dat", dir, i);
		f = fopen(name, "we");
		CHECK(f && fwrite(t[i], get_le32(t[i] + 4), 1, f) == 1 && !fclose(f));
	}
	/* disassembled, the devices are all there, and it compiles again without a complaint */
	(void)snprintf(cmd, sizeof(cmd),
		"cd %s && iasl -d 0.dat 1.dat 2.dat >log 2>&1 && ! grep -iE 'error|warning|invalid' log && "
		"[ \"$(grep -c 'Memory32Fixed (ReadWrite' 0.dsl)\" = %u ] && grep -q 'Package (0x02)' 0.dsl && "
		"[ \"$(grep -c 'EisaId (\\\"PNP0501\\\")' 0.dsl)\" = 4 ] && "
		"grep -q 'Hardware Reduced (V5) : 1' 1.dsl && "
		"[ \"$(grep -c 'Processor Local APIC' 2.dsl)\" = 2 ] && "
		"iasl 0.dsl >log 2>&1 && grep -q '0 Errors, 0 Warnings' log || { cat log; exit 1; }",
		dir, LIM_VDEVS);
	CHECK_EQ(system(cmd), 0); /* NOLINT(cert-env33-c) */
	(void)snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	CHECK_EQ(system(cmd), 0); /* NOLINT(cert-env33-c) */
}

static const struct test_case cases[] = {
	TEST(tables_are_whole),
	TEST(bounds),
	TEST(fixed_registers),
	TEST(processors),
	TEST(devices),
	TEST(legacy_devices),
	TEST(as_iasl_reads_it),
};

TEST_MAIN(cases)
