// SPDX-License-Identifier: Apache-2.0
/* The kernel that libkrunfw.so.5 carries, ours or another's. */
/*
 * How it works
 *
 * The library gives a piece of memory, the guest address where it belongs, and the address of its
 * 64-bit entry. What loads kernels here reads ELF files, and checks there that a kernel fits into
 * RAM and its entry into it: so the memory becomes an ELF file of one segment, in a memfd. That
 * costs a copy, where the original maps the library's pages into the guest; it keeps one way in.
 *
 * The library stays loaded: its constructor, if it has one, ran with the rights of this process in
 * any case, so a program that does not trust it must not be able to find it.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/start.h"
#include "util/cleanup.h"
#include "util/io.h"

#define LIBRARY	  "libkrunfw.so.5"
#define DATA_AT	  4096U
#define IMAGE_MAX (256ULL << 20)

typedef char *get_kernel_fn(size_t *load, size_t *entry, size_t *size);

int bundle_elf(const struct bundle *b, struct error *e)
{
	uint64_t load = b->load, entry = b->entry, size = b->size;
	CLEAN_FD int fd = memfd_create("kernel", MFD_CLOEXEC);
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr p;
	} f = { .h = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			       EV_CURRENT },
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_entry = entry,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1 },
		.p = { .p_type = PT_LOAD,
			.p_flags = PF_R | PF_W | PF_X,
			.p_offset = DATA_AT,
			.p_vaddr = load,
			.p_paddr = load,
			.p_filesz = size,
			.p_memsz = size,
			.p_align = 4096 } };
	int r;

	if (!b->image || !size || size > IMAGE_MAX || entry < load || entry - load >= size)
		return err_set(
			e, ENOEXEC, LIBRARY ": it has no kernel, or one that makes no sense");
	if (fd < 0)
		return err_sys(e, errno, "memfd");
	r = io_pwrite(fd, &f, sizeof(f), 0);
	if (!r)
		r = io_pwrite(fd, b->image, size, DATA_AT);
	return r ? err_sys(e, r, "the kernel of " LIBRARY) : TAKE_FD(fd);
}

int bundle_find(struct bundle *b, struct error *e)
{
	void *lib = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	get_kernel_fn *get = NULL;
	void *sym = lib ? dlsym(lib, "krunfw_get_kernel") : NULL;

	if (!sym)
		return err_set(e, ENOENT, "%s",
			lib ? LIBRARY ": it has no krunfw_get_kernel()" : "no " LIBRARY);
	memcpy(&get, &sym, sizeof(get));
	b->image = get(&b->load, &b->entry, &b->size);
	return 0;
}
