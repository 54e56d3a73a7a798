/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of a whole VM share: kernels of some instructions. */
#ifndef KRUN_TESTS_VMM_RIG_H
#define KRUN_TESTS_VMM_RIG_H

#include <elf.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB   (1ULL << 20)
#define ENTRY 0x200000ULL

#define CODE_MAX 1024

/* A file of it, an ELF for x86-64 that is entered at its first byte, which lies at ENTRY; the
 * caller's, or -1. */
static inline int kernel_of(const void *code, size_t n)
{
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr p;
		uint8_t code[CODE_MAX];
	} f = { .h = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_entry = ENTRY,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1 },
		.p = { .p_type = PT_LOAD,
			.p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
			.p_paddr = ENTRY,
			.p_filesz = sizeof(f.code),
			.p_memsz = 4096 } };
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	if (n > CODE_MAX)
		return -1;
	memcpy(f.code, code, n);
	return write(fd, &f, sizeof(f)) == (ssize_t)sizeof(f) ? fd : -1;
}

/* It only halts. */
static inline int kernel_file(void)
{
	static const uint8_t code[] = { 0xf4, 0xeb, 0xfd };

	return kernel_of(code, sizeof(code));
}

#endif
