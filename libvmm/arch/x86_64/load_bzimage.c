// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: loads a bzImage (Linux x86 boot protocol 2.12 or later) for its 64-bit entry.
 *
 * How it works: the file is a boot sector and setup code for real mode, which nobody runs here, and
 * behind them the protected-mode part: the decompressor with its payload. That part goes to the
 * address that the kernel prefers; its 64-bit entry is 0x200 bytes in. The setup header is kept for
 * the zero page, where the decompressor reads it. Loaded where it prefers, it need not be
 * relocatable; one that is would gain nothing elsewhere, as it never unpacks itself below that
 * address. From its start the kernel needs init_size bytes of memory for unpacking itself, which is
 * therefore what it occupies.
 */
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86.h"
#include "util/bytes.h"
#include "util/util.h"

#define SECTOR		 512U
#define HDR_START	 0x1f1 /* setup header: from here to HDR_JUMP_END plus the byte there */
#define HDR_SETUP_SECTS	 0x1f1
#define HDR_SYSSIZE	 0x1f4
#define HDR_BOOT_FLAG	 0x1fe
#define HDR_JUMP_LEN	 0x201
#define HDR_MAGIC	 0x202
#define HDR_VERSION	 0x206
#define HDR_LOADFLAGS	 0x211
#define HDR_INITRD_MAX	 0x22c
#define HDR_XLOADFLAGS	 0x236
#define HDR_CMDLINE_SIZE 0x238
#define HDR_PREF_ADDRESS 0x258
#define HDR_INIT_SIZE	 0x260
#define HDR_MIN_END	 0x264 /* the header reaches at least to here from 2.10 on */
#define HDR_MAX_END	 0x290 /* after it the zero page holds other things */

#define BOOT_FLAG      0xaa55
#define MIN_VERSION    0x020c
#define LOADED_HIGH    1
#define XLF_KERNEL_64  1
#define ENTRY64_OFFSET 0x200
#define SYSSIZE_UNIT   16

static int check_header(const uint8_t *h, unsigned *end, struct error *e)
{
	*end = HDR_MAGIC + h[HDR_JUMP_LEN];
	if (get_le16(h + HDR_BOOT_FLAG) != BOOT_FLAG)
		return err_set(e, ENOEXEC, "kernel: the bzImage has no boot flag");
	if (get_le16(h + HDR_VERSION) < MIN_VERSION)
		return err_set(e, ENOEXEC,
			"kernel: the bzImage speaks boot protocol %u.%02u, needed is 2.12",
			h[HDR_VERSION + 1], h[HDR_VERSION]);
	if (*end < HDR_MIN_END || *end > HDR_MAX_END)
		return err_set(e, ENOEXEC, "kernel: the bzImage's setup header ends at 0x%x", *end);
	if (!(h[HDR_LOADFLAGS] & LOADED_HIGH) || !(get_le16(h + HDR_XLOADFLAGS) & XLF_KERNEL_64))
		return err_set(e, ENOEXEC, "kernel: the bzImage has no 64-bit entry");
	return 0;
}

int x86_load_bzimage(struct mem *m, int fd, uint64_t size, struct arch_kernel *k, struct error *e)
{
	uint8_t h[HDR_MAX_END];
	uint64_t off, n, load, init_size;
	unsigned end = 0;
	int r;

	if (size < sizeof(h))
		return err_set(e, ENOEXEC, "kernel: the bzImage has only %llu bytes",
			(unsigned long long)size);
	r = x86_read_file(fd, 0, h, sizeof(h), e);
	if (!r)
		r = check_header(h, &end, e);
	if (r < 0)
		return r;
	off = ((h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4) + 1ULL) * SECTOR;
	n = (uint64_t)get_le32(h + HDR_SYSSIZE) * SYSSIZE_UNIT;
	if (off >= size || n <= ENTRY64_OFFSET || n - SYSSIZE_UNIT >= size - off)
		return err_set(e, ENOEXEC,
			"kernel: the bzImage should hold 0x%llx bytes from offset 0x%llx on, but has 0x%llx in all",
			(unsigned long long)n, (unsigned long long)off, (unsigned long long)size);
	n = MIN(n, size - off);
	load = get_le64(h + HDR_PREF_ADDRESS);
	init_size = MAX((uint64_t)get_le32(h + HDR_INIT_SIZE), n);
	if (load > X86_IDENTITY_END || !x86_kernel_fits(m, load, load + init_size))
		return err_set(e, ENOEXEC,
			"kernel: the bzImage wants 0x%llx bytes at 0x%llx, which do not fit between 1 MiB and the end of RAM (at most 1 GiB)",
			(unsigned long long)init_size, (unsigned long long)load);
	r = x86_read_guest(m, fd, off, n, load, e);
	if (r < 0)
		return r;
	k->boot = ARCH_BOOT_LINUX64;
	k->entry = load + ENTRY64_OFFSET;
	k->start = load;
	k->end = load + init_size;
	k->initrd_max = get_le32(h + HDR_INITRD_MAX);
	k->cmdline_max = get_le32(h + HDR_CMDLINE_SIZE);
	k->notes_len = end - HDR_START;
	memcpy(k->notes, h + HDR_START, k->notes_len);
	return 0;
}

_Static_assert(HDR_MAX_END - HDR_START <= ARCH_KERNEL_NOTES, "the setup header fits");
