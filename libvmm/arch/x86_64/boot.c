// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: what the kernel finds in memory and registers when it is entered.
 *
 * How it works: two entry protocols. The 64-bit one of Linux wants paging on with the low memory
 * mapped one to one, and rsi at the zero page (boot_params). PVH wants 32-bit protected mode
 * without paging and ebx at a start-info block. Both get the command line, the initrd and the
 * memory map at the same places, and the tables that describe the machine: always the MP table, and
 * on demand those of ACPI and SMBIOS. The initrd lies as high as it may, so that it is out of the
 * way of a kernel that unpacks or moves itself.
 */
#include <errno.h>
#include <string.h>

#include "arch/x86_64/x86.h"
#include "util/bytes.h"
#include "util/util.h"

/* offsets in the zero page */
#define ZP_ACPI_RSDP	 0x070
#define ZP_E820_ENTRIES	 0x1e8
#define ZP_SETUP_HEADER	 0x1f1
#define ZP_BOOT_FLAG	 0x1fe
#define ZP_HEADER	 0x202
#define ZP_VERSION	 0x206
#define ZP_LOADER	 0x210
#define ZP_RAMDISK	 0x218
#define ZP_RAMDISK_SIZE	 0x21c
#define ZP_CMDLINE	 0x228
#define ZP_KERNEL_ALIGN	 0x230
#define ZP_CMDLINE_SIZE	 0x238
#define ZP_E820		 0x2d0
#define ZP_E820_LEN	 20
#define LOADER_UNDEFINED 0xff
#define HEADER_MAGIC	 0x53726448U
#define PROTOCOL_VERSION 0x020f
#define KERNEL_ALIGN	 0x1000000

/* hvm_start_info, version 1 */
#define PVH_MAGIC      0x336ec578U
#define PVH_INFO_LEN   56
#define PVH_MODULE_LEN 32
#define PVH_MAP_LEN    24

#define GDT_CODE64  0x00af9b000000ffffULL
#define GDT_DATA    0x00cf93000000ffffULL
#define GDT_TSS64   0x008f8b000000ffffULL
#define GDT_CODE32  0x00cf9b000000ffffULL
#define GDT_TSS32   0x00008b0000000067ULL
#define GDT_ENTRIES 4
#define SEL_CODE    0x08
#define SEL_DATA    0x10
#define SEL_TSS	    0x18

#define CR0_PE	  1ULL
#define CR0_ET	  0x10ULL
#define CR0_PG	  0x80000000ULL
#define CR4_PAE	  0x20ULL
#define EFER_LME  0x100ULL
#define EFER_LMA  0x400ULL
#define PTE_TABLE 3ULL
#define PTE_2M	  0x83ULL

struct placed {
	uint64_t initrd, initrd_len;
	uint64_t cmdline_len; /* with the NUL */
};

static int put(struct mem *m, uint64_t gpa, const void *p, size_t n, struct error *e)
{
	int r = mem_write(m, GPA(gpa), p, n);

	return r < 0 ? err_set(e, r, "no RAM for the boot data at 0x%llx", (unsigned long long)gpa)
		     : 0;
}

static int place_initrd(struct mem *m, const struct arch_boot_params *p,
	const struct arch_kernel *k, struct placed *out, struct error *e)
{
	uint64_t top = x86_low_end(m), floor = ALIGN_UP(MAX(k->end, X86_HIMEM), X86_PAGE);

	if (!p->initrd || !p->initrd_len)
		return 0;
	if (k->initrd_max)
		top = MIN(top, k->initrd_max + 1);
	if (top < floor || p->initrd_len > ALIGN_DOWN(top, X86_PAGE) - floor)
		return err_set(e, ENOSPC,
			"an initrd of %llu bytes does not fit into RAM behind the kernel",
			(unsigned long long)p->initrd_len);
	out->initrd = ALIGN_DOWN(top - p->initrd_len, X86_PAGE);
	out->initrd_len = p->initrd_len;
	return put(m, out->initrd, p->initrd, p->initrd_len, e);
}

static int write_zero_page(struct mem *m, const struct arch_boot_params *p,
	const struct arch_kernel *k, const struct placed *pl, struct error *e)
{
	uint8_t zp[X86_PAGE] = { 0 };
	struct x86_range r[X86_E820_MAX];
	unsigned n = x86_memory_map(m, p->acpi || p->smbios, r);

	put_le64(zp + ZP_ACPI_RSDP, p->acpi ? X86_ACPI : 0);
	if (k->notes_len) {
		memcpy(zp + ZP_SETUP_HEADER, k->notes, MIN(k->notes_len, ARCH_KERNEL_NOTES));
	} else {
		put_le16(zp + ZP_BOOT_FLAG, 0xaa55);
		put_le32(zp + ZP_HEADER, HEADER_MAGIC);
		put_le16(zp + ZP_VERSION, PROTOCOL_VERSION);
		put_le32(zp + ZP_KERNEL_ALIGN, KERNEL_ALIGN);
		put_le32(zp + ZP_CMDLINE_SIZE, (uint32_t)pl->cmdline_len);
	}
	zp[ZP_LOADER] = LOADER_UNDEFINED;
	put_le32(zp + ZP_CMDLINE, (uint32_t)X86_CMDLINE);
	put_le32(zp + ZP_RAMDISK, (uint32_t)pl->initrd); /* below the gap, so 32 bits hold it */
	put_le32(zp + ZP_RAMDISK_SIZE, (uint32_t)pl->initrd_len);
	zp[ZP_E820_ENTRIES] = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		uint8_t *d = zp + ZP_E820 + i * ZP_E820_LEN;

		put_le64(d, r[i].addr);
		put_le64(d + 8, r[i].len);
		put_le32(d + 16, r[i].type);
	}
	return put(m, X86_ZERO_PAGE, zp, sizeof(zp), e);
}

static int write_page_tables(struct mem *m, struct error *e)
{
	uint8_t pd[X86_PAGE], one[8];
	int r;

	for (unsigned i = 0; i < X86_PAGE / 8; i++)
		put_le64(pd + i * 8, ((uint64_t)i << 21) | PTE_2M);
	r = put(m, X86_PD, pd, sizeof(pd), e);
	put_le64(one, X86_PD | PTE_TABLE);
	if (!r)
		r = put(m, X86_PDPT, one, sizeof(one), e);
	put_le64(one, X86_PDPT | PTE_TABLE);
	return r ? r : put(m, X86_PML4, one, sizeof(one), e);
}

static int write_pvh(
	struct mem *m, const struct arch_boot_params *p, const struct placed *pl, struct error *e)
{
	uint8_t info[PVH_INFO_LEN] = { 0 }, mod[PVH_MODULE_LEN] = { 0 };
	uint8_t map[X86_E820_MAX * PVH_MAP_LEN] = { 0 };
	struct x86_range r[X86_E820_MAX];
	unsigned n = x86_memory_map(m, p->acpi || p->smbios, r);
	int err;

	put_le32(info, PVH_MAGIC);
	put_le32(info + 4, 1); /* version */
	if (pl->initrd_len) {
		put_le32(info + 12, 1);
		put_le64(info + 16, X86_PVH_MODULES);
		put_le64(mod, pl->initrd);
		put_le64(mod + 8, pl->initrd_len);
	}
	put_le64(info + 24, X86_CMDLINE);
	put_le64(info + 32, p->acpi ? X86_ACPI : 0);
	put_le64(info + 40, X86_PVH_MEMMAP);
	put_le32(info + 48, n);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *d = map + i * PVH_MAP_LEN;

		put_le64(d, r[i].addr);
		put_le64(d + 8, r[i].len);
		put_le32(d + 16, r[i].type);
	}
	err = put(m, X86_PVH_INFO, info, sizeof(info), e);
	if (!err)
		err = put(m, X86_PVH_MODULES, mod, sizeof(mod), e);
	return err ? err : put(m, X86_PVH_MEMMAP, map, sizeof(map), e);
}

static int write_tables(struct mem *m, bool pvh, struct error *e)
{
	uint8_t gdt[GDT_ENTRIES * 8] = { 0 }, idt[8] = { 0 };
	int r;

	put_le64(gdt + SEL_CODE, pvh ? GDT_CODE32 : GDT_CODE64);
	put_le64(gdt + SEL_DATA, GDT_DATA);
	put_le64(gdt + SEL_TSS, pvh ? GDT_TSS32 : GDT_TSS64);
	r = put(m, X86_GDT, gdt, sizeof(gdt), e);
	return r ? r : put(m, X86_IDT, idt, sizeof(idt), e);
}

int arch_boot_setup(struct mem *m, const struct arch_boot_params *p, const struct arch_kernel *k,
	struct error *e)
{
	struct placed pl = { .cmdline_len = strlen(p->cmdline) + 1 };
	bool pvh = k->boot == ARCH_BOOT_PVH;
	int r;

	if (k->cmdline_max && pl.cmdline_len - 1 > k->cmdline_max)
		return err_set(e, E2BIG, "kernel command line: %llu bytes, this kernel takes %u",
			(unsigned long long)pl.cmdline_len - 1, k->cmdline_max);
	if (pl.cmdline_len > LIM_CMDLINE)
		return err_set(e, E2BIG, "a kernel command line of %llu bytes: at most %u",
			(unsigned long long)pl.cmdline_len - 1, LIM_CMDLINE - 1);
	r = place_initrd(m, p, k, &pl, e);
	if (!r)
		r = put(m, X86_CMDLINE, p->cmdline, pl.cmdline_len, e);
	if (!r)
		r = write_tables(m, pvh, e);
	if (!r)
		r = x86_write_mptable(m, p, e);
	if (!r && p->acpi)
		r = x86_write_acpi(m, p, e);
	if (!r && p->smbios)
		r = x86_write_smbios(m, p->oem_strings, p->noem_strings, e);
	if (r)
		return r;
	if (pvh)
		return write_pvh(m, p, &pl, e);
	r = write_page_tables(m, e);
	return r ? r : write_zero_page(m, p, k, &pl, e);
}

static struct arch_seg flat(uint16_t sel, uint8_t type, bool code64, bool code32)
{
	return (struct arch_seg){
		.limit = 0xffffffff,
		.selector = sel,
		.type = type,
		.present = 1,
		.db = !code64 && (code32 || sel == SEL_DATA),
		.s = 1,
		.l = code64,
		.g = 1,
	};
}

void arch_boot_regs(const struct arch_kernel *k, unsigned index, struct arch_regs *out)
{
	bool pvh = k->boot == ARCH_BOOT_PVH;

	(void)index; /* the start-up interrupt resets what the others hold */
	*out = (struct arch_regs){
		.rip = k->entry,
		.rflags = 2,
		.rsp = pvh ? 0 : X86_STACK,
		.rbp = pvh ? 0 : X86_STACK,
		.rsi = pvh ? 0 : X86_ZERO_PAGE,
		.rbx = pvh ? X86_PVH_INFO : 0,
		.cr0 = CR0_PE | CR0_ET | (pvh ? 0 : CR0_PG),
		.cr3 = pvh ? 0 : X86_PML4,
		.cr4 = pvh ? 0 : CR4_PAE,
		.efer = pvh ? 0 : EFER_LME | EFER_LMA,
		.cs = flat(SEL_CODE, 11, !pvh, pvh),
		.ds = flat(SEL_DATA, 3, false, false),
		.ss = flat(SEL_DATA, 3, false, false),
		.tr = {
			.limit = pvh ? 0x67 : 0xfffff,
			.selector = SEL_TSS,
			.type = 11,
			.present = 1,
			.g = !pvh,
		},
		.gdt_base = X86_GDT,
		.gdt_limit = GDT_ENTRIES * 8 - 1,
		.idt_base = X86_IDT,
		.idt_limit = 7,
	};
	if (!pvh)
		out->tr.limit = 0xffffffff;
}
