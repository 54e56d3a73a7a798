// SPDX-License-Identifier: Apache-2.0
/* What a vCPU's CPUID says, from made-up hosts of both vendors. */
#include "arch/arch.h"
#include "tests/unit/test.h"

static struct arch_cpuid host, out;

static void add(uint32_t leaf, uint32_t index, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	host.e[host.n++] = (struct arch_cpuid_leaf){ leaf, index,
		leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d, a, b, c,
		d };
}

/* Every feature bit on: what is missing afterwards was taken out. */
static void make_host(bool amd)
{
	host.n = 0;
	if (amd)
		add(0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65);
	else
		add(0, 0, 0x1f, 0x756e6547, 0x6c65746e, 0x49656e69);
	add(1, 0, 0x806f8, 0x12345678, ~0U, ~0U);
	if (!amd) {
		add(4, 0, 0xfc004121, 1, 2, 3);
		add(4, 1, 0xfc07c163, 1, 2, 3);
		add(4, 2, 0, 0, 0, 0);
	}
	add(5, 0, 0x40, 0x40, 3, 0);
	add(6, 0, 0xff, 2, 9, 0);
	add(7, 0, 1, ~0U, ~0U, ~0U);
	add(7, 1, 0x1400, 0, 0, 0);
	add(0xa, 0, 0x07300402, 0, 0, 0x603);
	add(0xb, 0, 1, 2, 0x100, 77);
	add(0xd, 0, 7, 0x340, 0x340, 0);
	add(0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	add(0x40000001, 0, 0x01007efb, 0, 0, 0);
	add(0x80000000, 0, 0x80000028, 0, 0, 0);
	add(0x80000001, 0, 0x806f8, 0, ~0U, ~0U);
	add(0x80000008, 0, 0x3030, 0, 0xffff, 0);
	if (amd) {
		add(0x8000000a, 0, 1, 8, 0, ~0U);
		add(0x8000001d, 0, 0x4121, 1, 2, 3);
		add(0x8000001d, 3, 0x1c163, 1, 2, 3);
		add(0x8000001e, 0, 55, 55, 55, 55);
		add(0x80000022, 0, 1, 6, 0, 0);
		add(0x80000026, 0, 1, 6, 0, 0);
	}
}

static const struct arch_cpuid_leaf *get(uint32_t leaf, uint32_t index)
{
	for (unsigned i = 0; i < out.n; i++)
		if (out.e[i].leaf == leaf && out.e[i].index == index)
			return &out.e[i];
	return NULL;
}

static void topology_intel(void)
{
	const struct arch_cpuid_leaf *l;

	make_host(false);
	arch_cpuid(&host, 2, 3, &out);
	l = get(1, 0);
	CHECK(l);
	CHECK_EQ(l->ebx, 2U << 24 | 4U << 16 | 8U << 8 | 0x78);
	CHECK(l->edx & 1U << 28);
	for (unsigned t = 0; t < 2; t++) {
		uint32_t leaf = t ? 0x1f : 0xb;

		l = get(leaf, 0);
		CHECK(l && l->has_index);
		CHECK_EQ(l->eax, 0);
		CHECK_EQ(l->ebx, 1);
		CHECK_EQ(l->ecx, 0x100);
		CHECK_EQ(l->edx, 2);
		l = get(leaf, 1);
		CHECK(l);
		CHECK_EQ(l->eax, 2);
		CHECK_EQ(l->ebx, 3);
		CHECK_EQ(l->ecx, 0x201);
		CHECK_EQ(l->edx, 2);
		l = get(leaf, 2);
		CHECK(l);
		CHECK_EQ(l->ebx, 0);
	}
	l = get(4, 0);
	CHECK(l);
	CHECK_EQ(l->eax >> 26, 3);	   /* cores of the package */
	CHECK_EQ(l->eax >> 14 & 0xfff, 0); /* its own first-level cache */
	l = get(4, 1);
	CHECK(l);
	CHECK_EQ(l->eax >> 14 & 0xfff, 3); /* the third level is shared */
}

static void topology_amd(void)
{
	const struct arch_cpuid_leaf *l;

	make_host(true);
	arch_cpuid(&host, 1, 2, &out);
	l = get(0x80000008, 0);
	CHECK(l);
	CHECK_EQ(l->ecx, 1U << 12 | 1);
	l = get(0x8000001e, 0);
	CHECK(l);
	CHECK_EQ(l->eax, 1);
	CHECK_EQ(l->ebx, 1);
	CHECK_EQ(l->ecx, 0);
	l = get(0x8000001d, 3);
	CHECK(l);
	CHECK_EQ(l->eax >> 14, 1);
	l = get(0x80000001, 0);
	CHECK(l);
	CHECK(l->ecx & 1U << 22); /* TOPOEXT */
	CHECK(l->ecx & 1U << 1);  /* cores, not threads */
	CHECK(get(0xb, 0) && !get(0x1f, 0));
}

static void one_cpu(void)
{
	make_host(false);
	arch_cpuid(&host, 0, 1, &out);
	CHECK(!(get(1, 0)->edx & 1U << 28));
	CHECK_EQ(get(1, 0)->ebx >> 16, 1);
	CHECK_EQ(get(0xb, 1)->eax, 0);
	CHECK_EQ(get(0xb, 1)->ebx, 1);
}

static void largest(void)
{
	make_host(true);
	for (unsigned i = 0; i < LIM_VCPUS; i++) {
		arch_cpuid(&host, i, LIM_VCPUS, &out);
		CHECK_EQ(get(1, 0)->ebx >> 24, i);
		CHECK_EQ(get(1, 0)->ebx >> 16 & 0xff, 16);
		CHECK_EQ(get(0xb, 0)->edx, i);
		CHECK_EQ(get(0x8000001e, 0)->eax, i);
	}
}

static void taken_out(void)
{
	for (unsigned amd = 0; amd < 2; amd++) {
		make_host(amd);
		arch_cpuid(&host, 0, 2, &out);
		CHECK(get(1, 0)->ecx & 1U << 31);	     /* hypervisor */
		CHECK(get(1, 0)->ecx & 1U << 21);	     /* x2APIC as offered */
		CHECK(get(1, 0)->ecx & 1U << 24);	     /* TSC deadline as offered */
		CHECK(!(get(1, 0)->ecx & 1U << 5));	     /* VMX */
		CHECK(!(get(1, 0)->ecx & 1U << 15));	     /* PDCM */
		CHECK(!(get(1, 0)->ecx & 1U << 3));	     /* MONITOR */
		CHECK(!(get(0x80000001, 0)->ecx & 1U << 2)); /* SVM */
		CHECK(!(get(0x80000001, 0)->ecx & 1U << 23));
		CHECK(!get(0xa, 0) && !get(5, 0) && !get(0x8000000a, 0) && !get(0x80000022, 0) &&
			!get(0x80000026, 0));
		CHECK_EQ(get(6, 0)->eax, 4);
		CHECK_EQ(get(6, 0)->ecx, 0);
		CHECK(!(get(7, 0)->ebx & (1U << 2 | 1U << 25)));
		CHECK_EQ(!!(get(7, 0)->edx & 1U << 29), !amd);
		CHECK_EQ(get(7, 1)->eax, 0x1400);
		CHECK_EQ(get(0xd, 0)->ebx, 0x340);
		CHECK_EQ(get(0x40000001, 0)->eax, 0x01007efb);
		CHECK_EQ(get(0x80000000, 0)->eax, 0x80000021);
	}
}

/* For guests of its own a guest gets the one feature that the host has for it. */
static void nested(void)
{
	for (unsigned amd = 0; amd < 2; amd++) {
		make_host(amd);
		arch_cpuid(&host, 0, 2, &out);
		if (amd)
			host.e[1].ecx &= ~(1U << 5);
		CHECK(arch_cpuid_nested(&host, &out));
		CHECK_EQ(!!(get(1, 0)->ecx & 1U << 5), !amd);
		CHECK_EQ(!!(get(0x80000001, 0)->ecx & 1U << 2), amd);
		CHECK_EQ(!!get(0x8000000a, 0), amd);
		CHECK(!(get(1, 0)->ecx & 1U << 15) && !get(0xa, 0)); /* nothing else */
	}
	for (unsigned i = 0; i < host.n; i++)
		host.e[i].ecx = 0;
	arch_cpuid(&host, 0, 2, &out);
	CHECK(!arch_cpuid_nested(&host, &out));
	CHECK(!(get(0x80000001, 0)->ecx & 1U << 2) && !get(0x8000000a, 0));
}

/* A table that is full already must not be written past its end. */
static void full_table(void)
{
	make_host(false);
	while (host.n < ARCH_CPUID_MAX)
		add(0x20000000 + host.n, 0, 1, 1, 1, 1);
	arch_cpuid(&host, 0, 2, &out);
	CHECK(out.n <= ARCH_CPUID_MAX);
	host.n = 0;
	arch_cpuid(&host, 0, 1, &out);
	CHECK_EQ(out.n, 0);
}

static const struct test_case cases[] = {
	TEST(topology_intel),
	TEST(topology_amd),
	TEST(one_cpu),
	TEST(largest),
	TEST(taken_out),
	TEST(nested),
	TEST(full_table),
};

TEST_MAIN(cases)
