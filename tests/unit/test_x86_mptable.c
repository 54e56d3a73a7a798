// SPDX-License-Identifier: Apache-2.0
/* The processor table: lengths, checksums, what it says of CPUs and interrupt inputs. */
#include <errno.h>

#include "arch/x86_64/x86.h"
#include "tests/unit/test.h"
#include "util/bytes.h"

static uint8_t ram[1 << 20] __attribute__((aligned(4096)));

static int write_table(unsigned vcpus, bool no_pic)
{
	const struct arch_boot_params p = { .vcpus = vcpus, .no_pic = no_pic };
	struct error e = { 0 };
	struct mem m;
	int r;

	memset(ram, 0, sizeof(ram));
	mem_init(&m);
	r = mem_add_borrowed(&m, GPA(0), ram, sizeof(ram));
	if (!r)
		r = x86_write_mptable(&m, &p, &e);
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

static void checksums_and_lengths(void)
{
	for (unsigned n = 1; n <= LIM_VCPUS; n++) {
		const uint8_t *mpf = ram + X86_EBDA, *mpc;

		CHECK_EQ(write_table(n, n & 1), 0);
		CHECK(!memcmp(mpf, "_MP_", 4));
		CHECK_EQ(sum(mpf, 16), 0);
		CHECK_EQ(mpf[8], 1);
		mpc = ram + get_le32(mpf + 4);
		CHECK(!memcmp(mpc, "PCMP", 4));
		CHECK_EQ(sum(mpc, get_le16(mpc + 4)), 0);
		CHECK(get_le32(mpf + 4) + get_le16(mpc + 4) <= X86_EBDA_END);
		CHECK_EQ(get_le32(mpc + 36), X86_LAPIC);
	}
}

/* Walks the entries as a kernel does. */
static void walk(bool no_pic)
{
	const uint8_t *mpc = ram + X86_EBDA + 16, *p = mpc + 44;
	unsigned cpus = 0, bsp = 0, ioapic_id = 0, pins = 0, n = 0;
	unsigned lints[4] = { 0 };

	CHECK_EQ(write_table(4, no_pic), 0);
	for (; p < mpc + get_le16(mpc + 4); n++) {
		switch (p[0]) {
		case 0:
			CHECK_EQ(p[1], cpus);
			CHECK(p[3] & 1);
			bsp += !!(p[3] & 2);
			CHECK_EQ(!!(p[3] & 2), cpus == 0);
			cpus++;
			p += 20;
			continue;
		case 1:
			CHECK(!memcmp(p + 2, "ISA   ", 6));
			break;
		case 2:
			ioapic_id = p[1];
			CHECK_EQ(get_le32(p + 4), X86_IOAPIC);
			CHECK_EQ(p[2] == 0x20, no_pic); /* its version */
			break;
		case 3:
			CHECK_EQ(p[1], 0);
			CHECK_EQ(get_le16(p + 2), 5); /* edge, active high */
			CHECK_EQ(p[5], p[7]);	      /* input n is pin n */
			CHECK_EQ(p[6], ioapic_id);
			CHECK(p[7] < 24 && p[7] != 2);
			pins |= 1U << p[7];
			break;
		case 4:
			CHECK(p[1] < 4);
			lints[p[1] & 3]++;
			break;
		default:
			CHECK(!"a type that exists");
		}
		p += 8;
	}
	CHECK_EQ(p - mpc, get_le16(mpc + 4));
	CHECK_EQ(n, get_le16(mpc + 34));
	CHECK_EQ(cpus, 4);
	CHECK_EQ(bsp, 1);
	CHECK_EQ(lints[1], 1);	     /* NMI */
	CHECK_EQ(lints[3], !no_pic); /* the old controller */
	CHECK_EQ(lints[0] + lints[2], 0);
	CHECK_EQ(pins, 0xffffffU & ~4U);
	for (unsigned i = 0; i < arch_layout.ngsis; i++)
		CHECK(pins & 1U << arch_layout.gsis[i]);
}

static void entries(void)
{
	walk(false);
	walk(true);
}

static void counts_refused(void)
{
	CHECK_EQ(write_table(0, false), -EINVAL);
	CHECK_EQ(write_table(LIM_VCPUS + 1, false), -EINVAL);
}

static const struct test_case cases[] = {
	TEST(checksums_and_lengths),
	TEST(entries),
	TEST(counts_refused),
};

TEST_MAIN(cases)
