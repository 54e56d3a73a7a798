// SPDX-License-Identifier: Apache-2.0
/* The SMBIOS table, read as a kernel does: entry point, structures, strings by their numbers. */
#include <errno.h>
#include <sys/mman.h>

#include "arch/x86_64/x86.h"
#include "tests/unit/test.h"
#include "util/bytes.h"
#include "util/util.h"

#define RAM_LEN (1U << 20)

static uint8_t *ram;

static int write_it(const char *const *oem, unsigned n, uint64_t len)
{
	struct error e = { 0 };
	struct mem m;
	int r;

	if (!ram)
		ram = mmap(
			NULL, RAM_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		return -ENOMEM;
	memset(ram, 0, RAM_LEN);
	mem_init(&m);
	r = mem_add_borrowed(&m, GPA(0), ram, len);
	if (!r)
		r = x86_write_smbios(&m, oem, n, &e);
	mem_destroy(&m);
	return r;
}

static const uint8_t *table_end;

/* The first structure, or NULL where the entry point is not whole. */
static const uint8_t *first(void)
{
	const uint8_t *p = ram + X86_SMBIOS;
	uint64_t at = get_le64(p + 16);
	uint8_t sum = 0;

	for (unsigned i = 0; i < 24; i++)
		sum = (uint8_t)(sum + p[i]);
	if (memcmp(p, "_SM3_", 5) || p[6] != 24 || sum || at < X86_SMBIOS + 24 || at >= X86_HIMEM ||
		get_le32(p + 12) > X86_HIMEM - at)
		return NULL;
	table_end = ram + at + get_le32(p + 12);
	return ram + at;
}

/* String @n of the structure @p, or NULL; what comes after the structure in *next. */
static const char *string(const uint8_t *p, unsigned n, const uint8_t **next)
{
	const char *s = (const char *)p + p[1], *found = NULL;
	unsigned i = 1;

	for (; *s && s < (const char *)table_end; s += strlen(s) + 1)
		if (i++ == n)
			found = s;
	if (next)
		*next = (const uint8_t *)s + (i == 1 ? 2 : 1);
	return found;
}

static const uint8_t *find(uint8_t type)
{
	const uint8_t *p = first(), *next;

	for (; p && p < table_end; p = next) {
		if (p[0] == type)
			return p;
		(void)string(p, 0, &next);
	}
	return NULL;
}

static void names(void)
{
	const uint8_t *p, *next;

	CHECK_EQ(write_it(NULL, 0, RAM_LEN), 0);
	p = find(0);
	/* what a table of the version that the entry point gives must have */
	CHECK(ram[X86_SMBIOS + 7] == 3 && ram[X86_SMBIOS + 8] == 2);
	CHECK(p && p[1] == 26);
	CHECK_EQ(get_le32(p + 20), 0xffffffff); /* no release of the BIOS, nor of a controller */
	CHECK_EQ(get_le16(p + 24), 0);		/* the size stands in its old place */
	CHECK_STR(string(p, p[4], NULL), "krun-oci");
	CHECK_EQ(strlen(string(p, p[8], NULL)), 10); /* a date */
	p = find(1);
	CHECK(p && p[1] == 27);
	CHECK_STR(string(p, p[4], NULL), "krun-oci");
	CHECK_STR(string(p, p[5], NULL), "libvmm microVM");
	CHECK(!find(11));
	p = find(127);
	CHECK(p && p[1] == 4);
	(void)string(p, 0, &next);
	CHECK(next == table_end);
}

static void oem_strings(void)
{
	static const char *const v[] = { "one", "a longer one, with=things", "" };
	const uint8_t *p;

	CHECK_EQ(write_it(v, 3, RAM_LEN), 0);
	p = find(11);
	CHECK(p && p[1] == 5 && p[4] == 3);
	for (unsigned i = 0; i < 3; i++)
		CHECK_STR(string(p, i + 1, NULL), *v[i] ? v[i] : " ");
	CHECK(!string(p, 4, NULL));
	CHECK(find(127) && find(0));
}

/* As many and as long as may be; one more is refused, and nothing is written past the end. */
static void bounds(void)
{
	static char longest[LIM_SMBIOS + 64];
	static const char *v[LIM_SMBIOS_STRINGS + 1];
	const uint8_t *p;

	for (unsigned i = 0; i <= LIM_SMBIOS_STRINGS; i++)
		v[i] = "x";
	CHECK_EQ(write_it(v, LIM_SMBIOS_STRINGS, RAM_LEN), 0);
	p = find(11);
	CHECK(p && p[4] == 255);
	CHECK_STR(string(p, 255, NULL), "x");
	CHECK_EQ(write_it(v, LIM_SMBIOS_STRINGS + 1, RAM_LEN), -E2BIG);
	memset(longest, 'y', sizeof(longest) - 1);
	longest[LIM_SMBIOS - 1] = 0;
	v[0] = longest;
	CHECK_EQ(write_it(v, 1, RAM_LEN), 0);
	p = find(11);
	CHECK(p && strlen(string(p, 1, NULL)) == LIM_SMBIOS - 1);
	CHECK(find(127));
	longest[LIM_SMBIOS - 1] = 'y'; /* what the other structures leave, and more */
	longest[sizeof(longest) - 1] = 0;
	v[1] = longest;
	CHECK_EQ(write_it(v, 2, RAM_LEN), -E2BIG);
	for (unsigned i = 0; i < X86_SMBIOS; i++)
		CHECK(!ram[i]);
	CHECK(write_it(NULL, 0, X86_SMBIOS) < 0); /* no RAM there */
}

static const struct test_case cases[] = {
	TEST(names),
	TEST(oem_strings),
	TEST(bounds),
};

TEST_MAIN(cases)
