/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to arch/x86_64: where things lie in guest memory, and what the files of this folder offer
 * to each other.
 *
 * The low addresses are those that other microVM monitors use for the same entry protocols; a
 * kernel that boots there boots here.
 */
#ifndef KRUN_ARCH_X86_H
#define KRUN_ARCH_X86_H

#include "arch/arch.h"

#define X86_GDT		 0x500ULL
#define X86_IDT		 0x520ULL
#define X86_PVH_INFO	 0x6000ULL
#define X86_PVH_MODULES	 0x6040ULL
#define X86_PVH_MEMMAP	 0x7000ULL
#define X86_ZERO_PAGE	 0x7000ULL
#define X86_STACK	 0x8ff0ULL
#define X86_PML4	 0x9000ULL
#define X86_PDPT	 0xa000ULL
#define X86_PD		 0xb000ULL
#define X86_CMDLINE	 0x20000ULL
#define X86_EBDA	 0x9fc00ULL /* MP table; end of the first range of usable RAM */
#define X86_EBDA_END	 0xa0000ULL
#define X86_ACPI	 0xe0000ULL /* where a BIOS would be: the root pointer and all tables */
#define X86_SMBIOS	 0xf0000ULL /* entry point and table */
#define X86_HIMEM	 0x100000ULL
#define X86_IDENTITY_END (1ULL << 30) /* mapped at entry; kernel and bss lie below */
#define X86_GAP_START	 0xd0000000ULL
#define X86_GAP_END	 0x100000000ULL
#define X86_MMIO_END	 0xd1000000ULL
#define X86_IOAPIC	 0xfec00000U
#define X86_LAPIC	 0xfee00000U

#define X86_PAGE	4096ULL
#define X86_IOAPIC_PINS 24

/* Registers that end the VM, and what is written there. */
#define X86_I8042_CMD	 0x64
#define X86_I8042_RESET	 0xfe
#define X86_CF9		 0xcf9
#define X86_SLEEP_CTL	 0x600 /* the sleep registers of hardware-reduced ACPI */
#define X86_SLEEP_STATUS 0x601
#define X86_SLEEP_OFF	 5 /* what stands for S5 in X86_SLEEP_CTL */

/* Ranges of the map that the kernel is given: at most X86_E820_MAX of them. */
#define X86_E820_MAX	  5
#define X86_E820_RAM	  1
#define X86_E820_RESERVED 2

struct x86_range {
	uint64_t addr, len;
	uint32_t type;
};

/* Fills @r from the RAM that @m has; returns how many. @bios: there are tables in a BIOS's area. */
unsigned x86_memory_map(const struct mem *m, bool bios, struct x86_range r[X86_E820_MAX]);
/* End of the RAM that begins at 0 (0 when there is none). */
uint64_t x86_low_end(const struct mem *m);

/* Exactly @n bytes of the file straight into guest memory / into @dst. -ENOEXEC when the file is
 * too short. */
int x86_read_guest(struct mem *m, int fd, uint64_t off, uint64_t n, uint64_t gpa, struct error *e);
int x86_read_file(int fd, uint64_t off, void *dst, uint64_t n, struct error *e);

int x86_load_elf(struct mem *m, int fd, uint64_t size, bool prefer_pvh, struct arch_kernel *k,
	struct error *e);
int x86_load_bzimage(struct mem *m, int fd, uint64_t size, struct arch_kernel *k, struct error *e);
/* [start, end) lies in RAM that a kernel may take at entry. */
bool x86_kernel_fits(const struct mem *m, uint64_t start, uint64_t end);

/* What makes the sum of @b's bytes 0. */
uint8_t x86_checksum(const uint8_t *b, size_t n);
/* Of @p the processors and no_pic count. */
int x86_write_mptable(struct mem *m, const struct arch_boot_params *p, struct error *e);
/* Root pointer at X86_ACPI and what hangs on it. -EINVAL: more than the limits have. */
int x86_write_acpi(struct mem *m, const struct arch_boot_params *p, struct error *e);
/* Entry point at X86_SMBIOS and the structures. -E2BIG: too many strings, or too long ones; an
 * empty one becomes a space. */
int x86_write_smbios(struct mem *m, const char *const *oem, unsigned n, struct error *e);
/* The bytecode of the DSDT without its header into @b, which has room for that of the largest VM;
 * returns its length. */
unsigned x86_dsdt(const struct arch_boot_params *p, uint8_t *b, unsigned max);

#endif
