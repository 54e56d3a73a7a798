// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: loads an ELF vmlinux at its physical addresses.
 *
 * How it works: the program headers are read once into a local table and checked there: every
 * segment inside the file and inside the RAM that is mapped at entry, none over another. Then each
 * is read from the file straight into guest memory; what follows in memory (bss) is fresh and zero
 * already. An ELF kernel is entered at e_entry in 64-bit mode, or, when it carries the note of the
 * PVH protocol and the caller prefers that, at the note's address in 32-bit protected mode.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/x86.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/util.h"

#define MAX_PHDRS	  64
#define MAX_NOTES	  (64U << 10) /* bytes of a segment of notes; a larger one is not looked at */
#define NOTE_PHYS32_ENTRY 18	      /* XEN_ELFNOTE_PHYS32_ENTRY */
#define NOTE_NAME	  "Xen"

struct elf_file {
	int fd;
	uint64_t size;
	Elf64_Ehdr h;
	Elf64_Phdr ph[MAX_PHDRS];
};

static int read_headers(struct elf_file *f, struct error *e)
{
	int r = x86_read_file(f->fd, 0, &f->h, sizeof(f->h), e);

	if (r < 0)
		return r;
	if (f->h.e_ident[EI_CLASS] != ELFCLASS64 || f->h.e_ident[EI_DATA] != ELFDATA2LSB ||
		f->h.e_machine != EM_X86_64)
		return err_set(e, ENOEXEC, "kernel: the ELF file is not for x86_64");
	if (f->h.e_type != ET_EXEC && f->h.e_type != ET_DYN)
		return err_set(e, ENOEXEC, "kernel: the ELF file is not an executable");
	if (f->h.e_phentsize != sizeof(Elf64_Phdr) || !f->h.e_phnum || f->h.e_phnum > MAX_PHDRS)
		return err_set(e, ENOEXEC, "kernel: %u program headers of %u bytes", f->h.e_phnum,
			f->h.e_phentsize);
	if (!range_ok(f->h.e_phoff, (uint64_t)f->h.e_phnum * sizeof(Elf64_Phdr), f->size))
		return err_set(e, ENOEXEC, "kernel: the program headers lie outside the file");
	return x86_read_file(f->fd, f->h.e_phoff, f->ph, f->h.e_phnum * sizeof(Elf64_Phdr), e);
}

/* Segment @i on its own: inside the file, inside the RAM. */
static int check_segment(const struct elf_file *f, const struct mem *m, unsigned i, struct error *e)
{
	const Elf64_Phdr *p = &f->ph[i];

	if (p->p_filesz > p->p_memsz)
		return err_set(
			e, ENOEXEC, "kernel: segment %u is larger in the file than in memory", i);
	if (!range_ok(p->p_offset, p->p_filesz, f->size))
		return err_set(e, ENOEXEC, "kernel: segment %u lies outside the file", i);
	if (p->p_memsz > X86_IDENTITY_END || p->p_paddr > X86_IDENTITY_END ||
		!x86_kernel_fits(m, p->p_paddr, p->p_paddr + p->p_memsz))
		return err_set(e, ENOEXEC,
			"kernel: segment %u, 0x%llx bytes at 0x%llx, does not fit between 1 MiB and the end of RAM (at most 1 GiB)",
			i, (unsigned long long)p->p_memsz, (unsigned long long)p->p_paddr);
	return 0;
}

static bool is_load(const Elf64_Phdr *p)
{
	return p->p_type == PT_LOAD && p->p_memsz;
}

static int check_overlap(const struct elf_file *f, unsigned i, struct error *e)
{
	for (unsigned j = 0; j < i; j++) {
		if (!is_load(&f->ph[j]))
			continue;
		if (f->ph[i].p_paddr < f->ph[j].p_paddr + f->ph[j].p_memsz &&
			f->ph[j].p_paddr < f->ph[i].p_paddr + f->ph[i].p_memsz)
			return err_set(e, ENOEXEC, "kernel: segments %u and %u overlap", j, i);
	}
	return 0;
}

/* The address of the PVH entry in one segment of notes, or 0. */
static uint32_t find_pvh(const uint8_t *b, uint64_t len)
{
	uint64_t at = 0;

	while (range_ok(at, sizeof(Elf64_Nhdr), len)) {
		uint32_t namesz = get_le32(b + at), descsz = get_le32(b + at + 4);
		uint32_t type = get_le32(b + at + 8);
		uint64_t name = at + sizeof(Elf64_Nhdr);
		uint64_t desc = name + ALIGN_UP((uint64_t)namesz, 4);

		if (!range_ok(name, namesz, len) || !range_ok(desc, descsz, len))
			return 0;
		if (type == NOTE_PHYS32_ENTRY && namesz == sizeof(NOTE_NAME) && descsz >= 4 &&
			!memcmp(b + name, NOTE_NAME, sizeof(NOTE_NAME)))
			return get_le32(b + desc);
		at = desc + ALIGN_UP((uint64_t)descsz, 4);
	}
	return 0;
}

static int read_pvh(const struct elf_file *f, uint32_t *entry, struct error *e)
{
	uint8_t *buf CLEAN_FREE = malloc(MAX_NOTES);

	*entry = 0;
	if (!buf)
		return err_sys(e, ENOMEM, "kernel");
	for (unsigned i = 0; i < f->h.e_phnum && !*entry; i++) {
		const Elf64_Phdr *p = &f->ph[i];
		uint64_t n = p->p_filesz;
		int r;

		if (p->p_type != PT_NOTE || n > MAX_NOTES)
			continue;
		if (!range_ok(p->p_offset, n, f->size))
			return err_set(e, ENOEXEC, "kernel: its notes lie outside the file");
		r = x86_read_file(f->fd, p->p_offset, buf, n, e);
		if (r < 0)
			return r;
		*entry = find_pvh(buf, n);
	}
	return 0;
}

static bool in_segment(const struct elf_file *f, uint64_t addr)
{
	for (unsigned i = 0; i < f->h.e_phnum; i++)
		if (is_load(&f->ph[i]) && addr >= f->ph[i].p_paddr &&
			addr - f->ph[i].p_paddr < f->ph[i].p_filesz)
			return true;
	return false;
}

static int choose_entry(
	const struct elf_file *f, bool prefer_pvh, struct arch_kernel *k, struct error *e)
{
	uint32_t pvh = 0;
	int r = read_pvh(f, &pvh, e);

	if (r < 0)
		return r;
	k->boot = ARCH_BOOT_LINUX64;
	k->entry = f->h.e_entry;
	if (pvh && in_segment(f, pvh) && (prefer_pvh || !in_segment(f, k->entry))) {
		k->boot = ARCH_BOOT_PVH;
		k->entry = pvh;
	}
	if (!in_segment(f, k->entry))
		return err_set(e, ENOEXEC, "kernel: the entry point 0x%llx lies in no segment",
			(unsigned long long)k->entry);
	return 0;
}

int x86_load_elf(struct mem *m, int fd, uint64_t size, bool prefer_pvh, struct arch_kernel *k,
	struct error *e)
{
	struct elf_file f = { .fd = fd, .size = size };
	int r = read_headers(&f, e);

	if (r < 0)
		return r;
	k->start = UINT64_MAX;
	for (unsigned i = 0; i < f.h.e_phnum; i++) {
		if (!is_load(&f.ph[i]))
			continue;
		r = check_segment(&f, m, i, e);
		if (!r)
			r = check_overlap(&f, i, e);
		if (r < 0)
			return r;
		k->start = MIN(k->start, f.ph[i].p_paddr);
		k->end = MAX(k->end, f.ph[i].p_paddr + f.ph[i].p_memsz);
	}
	if (!k->end)
		return err_set(e, ENOEXEC, "kernel: the ELF file has nothing to load");
	r = choose_entry(&f, prefer_pvh, k, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < f.h.e_phnum; i++) {
		if (!is_load(&f.ph[i]))
			continue;
		r = x86_read_guest(m, fd, f.ph[i].p_offset, f.ph[i].p_filesz, f.ph[i].p_paddr, e);
		if (r < 0)
			return r;
	}
	return 0;
}
