// SPDX-License-Identifier: Apache-2.0
/* Which processors a saved VM may be loaded on. */
#include "hv/kvm/kvm_int.h"
#include "tests/unit/test.h"
#include "util/util.h"

static struct cpuid_buf want, have;

static void add(struct cpuid_buf *b, uint32_t leaf, uint32_t index, const uint32_t r[4])
{
	b->e[b->h.nent++] = (struct kvm_cpuid_entry2){
		.function = leaf, .index = index, .eax = r[0], .ebx = r[1], .ecx = r[2], .edx = r[3]
	};
}

/* Each bit of each register of the leaf: missing on the host, does the load fail? @counts has the
 * bits for which it must. */
static bool leaf_counts(uint32_t leaf, uint32_t index, const uint32_t counts[4])
{
	for (unsigned reg = 0; reg < 4; reg++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			uint32_t r[4] = { 0 }, none[4] = { 0 }, all[4] = { ~0U, ~0U, ~0U, ~0U };
			const struct cpuid_bits *l;

			want.h.nent = have.h.nent = 0;
			r[reg] = 1U << bit;
			add(&want, leaf, index, r);
			add(&have, leaf, index + 1, all); /* of another index: not looked at */
			add(&have, leaf, index, none);
			l = kvm_cpuid_lacks(&want, &have);
			if (!!l != !!(counts[reg] >> bit & 1) ||
				(l && (l->leaf != leaf || l->index != index))) {
				printf("# leaf 0x%x.%u register %u bit %u\n", leaf, index, reg,
					bit);
				return false;
			}
			have.h.nent = 0; /* the whole leaf is missing */
			if (kvm_cpuid_lacks(&want, &have) != l)
				return false;
			add(&have, leaf, index, all);
			if (kvm_cpuid_lacks(&want, &have))
				return false;
			/* more than was there is fine */
			want.h.nent = 0;
			add(&want, leaf, index, none);
			if (kvm_cpuid_lacks(&want, &have))
				return false;
		}
	}
	return true;
}

static void every_bit(void)
{
	static const struct {
		uint32_t leaf, index, counts[4];
	} t[] = {
		{ 0, 0, { 0, 0, 0, 0 } },
		{ 1, 0, { 0, 0, 0xf7fffff7, 0xfffffdff } },
		{ 7, 0, { 0, ~0U, 0xffffffef, ~0U } },
		{ 7, 1, { ~0U, ~0U, ~0U, ~0U } },
		{ 7, 2, { 0, 0, 0, ~0U } },
		{ 0xb, 0, { 0, 0, 0, 0 } },
		{ 0xd, 0, { ~0U, 0, 0, ~0U } },
		{ 0xd, 1, { ~0U, 0, ~0U, ~0U } },
		{ 0xd, 2, { 0, 0, 0, 0 } },
		{ 0x40000001, 0, { ~0U, 0, 0, 0 } },
		{ 0x80000001, 0, { 0, 0, ~0U, 0xfffffdff } },
		{ 0x80000007, 0, { 0, 0, 0, ~0U } },
		{ 0x80000008, 0, { 0, ~0U, 0, 0 } },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		CHECK(leaf_counts(t[i].leaf, t[i].index, t[i].counts));
}

/* A full table, and one that says it has more entries than there is room for. */
static void sizes(void)
{
	const uint32_t one[4] = { 1, 1, 1, 1 }, none[4] = { 0 };

	want.h.nent = have.h.nent = 0;
	for (unsigned i = 0; i < ARCH_CPUID_MAX - 1; i++) {
		add(&want, 0x40000100 + i, 0, one);
		add(&have, 0x40000100 + i, 0, none);
	}
	CHECK(!kvm_cpuid_lacks(&want, &have));
	add(&want, 7, 1, one);
	CHECK(kvm_cpuid_lacks(&want, &have));
	want.h.nent = have.h.nent = UINT32_MAX;
	have.e[ARCH_CPUID_MAX - 1] = want.e[ARCH_CPUID_MAX - 1];
	CHECK(!kvm_cpuid_lacks(&want, &have));
}

static const struct test_case cases[] = {
	TEST(every_bit),
	TEST(sizes),
};

TEST_MAIN(cases)
