// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: the SMBIOS table (SMBIOS 3.2): what the machine is called, and strings of its maker's.
 *
 * How it works: the entry point of 64 bits lies at the start of the last 64 KiB below 1 MiB, which
 * kernels search in steps of 16 bytes, and the structures right behind it: BIOS (0), system (1),
 * OEM strings (11) where there are any, the end (127). Each is a fixed part followed by its
 * strings, which are numbered from 1, and an empty one.
 *
 * The strings are the caller's, not the guest's; what they may be at most is checked as they are
 * put in. An empty one would be the end of their list; it becomes a space.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/util.h"

#define ENTRY_LEN 24U
#define TABLE_AT  32U /* behind the entry point */
#define BIOS_LEN  26U /* from version 3.1 on */
#define SYS_LEN	  27U
#define OEM_LEN	  5U
#define END_LEN	  4U
#define FIXED_MAX 512U /* all but the OEM strings */

#define T_BIOS 0
#define T_SYS  1
#define T_OEM  11
#define T_END  127

#define BIOS_UNKNOWN   (1ULL << 3) /* its characteristics are not supported */
#define BIOS_EXT2_VM   0x10
#define BIOS_RELEASES  20 /* of the BIOS and of a controller: two bytes each */
#define NO_RELEASE     0xff
#define WAKE_UP_POWER  6
#define BIOS_START_SEG 0xf000
#define NAME_VENDOR    "krun-oci"
#define NAME_PRODUCT   "libvmm microVM"
#define BIOS_DATE      "01/01/2026"

_Static_assert(TABLE_AT + FIXED_MAX + LIM_SMBIOS <= X86_HIMEM - X86_SMBIOS, "the table fits");

struct smbios {
	uint8_t b[TABLE_AT + FIXED_MAX + LIM_SMBIOS];
	unsigned len;
};

/* The fixed part @p of a structure, whose first four bytes are filled in. */
static void begin(struct smbios *s, uint8_t type, uint8_t *p, uint8_t len, uint16_t handle)
{
	p[0] = type;
	p[1] = len;
	put_le16(p + 2, handle);
	assert(len <= sizeof(s->b) - s->len); /* by FIXED_MAX, and by what string() leaves */
	memcpy(s->b + s->len, p, len);
	s->len += len;
}

/* -E2BIG: no room. */
static int string(struct smbios *s, const char *v)
{
	size_t n = strlen(v) + 1;

	/* the end of this structure's strings, and the last structure, come after it */
	if (n > sizeof(s->b) - s->len - 2 - END_LEN - 2)
		return -E2BIG;
	memcpy(s->b + s->len, v, n);
	s->len += (unsigned)n;
	return 0;
}

/* The end of a structure: an empty string, and where there was none, two. */
static void end(struct smbios *s, bool strings)
{
	s->len += strings ? 1 : 2;
}

static int add_names(struct smbios *s)
{
	uint8_t bios[BIOS_LEN] = { 0 }, sys[SYS_LEN] = { 0 };
	int r;

	bios[4] = 1; /* vendor */
	bios[5] = 2; /* version */
	put_le16(bios + 6, BIOS_START_SEG);
	bios[8] = 3; /* date */
	put_le64(bios + 10, BIOS_UNKNOWN);
	bios[19] = BIOS_EXT2_VM;
	memset(bios + BIOS_RELEASES, NO_RELEASE, 4);
	begin(s, T_BIOS, bios, sizeof(bios), 0);
	r = string(s, NAME_VENDOR);
	if (!r)
		r = string(s, "0");
	if (!r)
		r = string(s, BIOS_DATE);
	end(s, true);
	sys[4] = 1; /* manufacturer */
	sys[5] = 2; /* product; no version, serial number, UUID */
	sys[24] = WAKE_UP_POWER;
	begin(s, T_SYS, sys, sizeof(sys), 0x100);
	if (!r)
		r = string(s, NAME_VENDOR);
	if (!r)
		r = string(s, NAME_PRODUCT);
	end(s, true);
	return r;
}

static int add_oem(struct smbios *s, const char *const *v, unsigned n)
{
	uint8_t p[OEM_LEN] = { [4] = (uint8_t)n };
	int r = 0;

	begin(s, T_OEM, p, sizeof(p), 0xe00);
	for (unsigned i = 0; !r && i < n; i++)
		r = string(s, *v[i] ? v[i] : " ");
	end(s, true);
	return r;
}

static void write_entry(uint8_t *p, unsigned max)
{
	memcpy(p, "_SM3_", 5);
	p[6] = ENTRY_LEN;
	p[7] = 3; /* version 3.2.0 */
	p[8] = 2;
	p[10] = 1; /* of this entry point */
	put_le32(p + 12, max);
	put_le64(p + 16, X86_SMBIOS + TABLE_AT);
	p[5] = x86_checksum(p, ENTRY_LEN);
}

int x86_write_smbios(struct mem *m, const char *const *oem, unsigned n, struct error *e)
{
	struct smbios *s CLEAN_FREE = calloc(1, sizeof(*s));
	uint8_t last[END_LEN];
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "SMBIOS table");
	if (n > LIM_SMBIOS_STRINGS)
		return err_set(
			e, E2BIG, "%u SMBIOS OEM strings: at most %u", n, LIM_SMBIOS_STRINGS);
	s->len = TABLE_AT;
	r = add_names(s);
	if (!r && n)
		r = add_oem(s, oem, n);
	if (r)
		return err_set(e, E2BIG, "SMBIOS OEM strings: over %u bytes", LIM_SMBIOS);
	begin(s, T_END, last, sizeof(last), 0x7f00);
	end(s, false);
	write_entry(s->b, s->len - TABLE_AT);
	r = mem_write(m, GPA(X86_SMBIOS), s->b, s->len);
	return r < 0 ? err_set(e, r, "no RAM for the SMBIOS table") : 0;
}
