// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel loader on any file: it refuses or loads, within RAM, and the boot data fit around what
 * was loaded.
 *
 * The first byte of the input chooses: bit 0 PVH preferred, bit 1 with an initrd, bits 2-5 vCPUs
 * less one, bit 6 with ACPI tables. The rest is the file.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/x86_64/x86.h"
#include "fuzz/fuzz.h"

#define RAM LIM_RAM_MIN

static void boot(struct mem *m, const struct arch_kernel *k, uint8_t choice)
{
	static const uint8_t initrd[5000] = { 0xaa };
	const struct arch_boot_params p = {
		.vcpus = 1 + (choice >> 2 & 15),
		.cmdline = "quiet",
		.initrd = choice & 2 ? initrd : NULL,
		.initrd_len = sizeof(initrd),
		.acpi = choice & 64,
	};
	struct error e = { 0 };
	struct arch_regs r;
	uint8_t word[4] = { 0 };
	uint32_t at;
	int err = arch_boot_setup(m, &p, k, &e);

	arch_boot_regs(k, 0, &r);
	FUZZ_CHECK(r.rip >= k->start && r.rip < k->end);
	FUZZ_CHECK(!err || (err == -ENOSPC && (choice & 2)));
	if (err || !(choice & 2))
		return;
	/* Where the kernel is told to look for it: not over the kernel, wholly in RAM, the bytes
	 * there. */
	FUZZ_CHECK(!mem_read(m, word,
		k->boot == ARCH_BOOT_PVH ? GPA(X86_PVH_MODULES) : GPA(X86_ZERO_PAGE + 0x218), 4));
	memcpy(&at, word, 4);
	FUZZ_CHECK(at >= k->end && at % 4096 == 0 && at + sizeof(initrd) <= RAM);
	FUZZ_CHECK(!mem_read(m, word, GPA(at), 1) && word[0] == 0xaa);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct mem_ram_opts o = { 0 };
	struct error e = { 0 };
	struct arch_kernel k;
	struct mem m;
	uint8_t b = 0;
	int fd, r;

	if (!len)
		return 0;
	fd = memfd_create("kernel", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && write(fd, data + 1, len - 1) == (ssize_t)(len - 1));
	mem_init(&m);
	FUZZ_CHECK(!arch_add_ram(&m, RAM, &o, &e));
	r = arch_load_kernel(&m, fd, data[0] & 1, &k, &e);
	FUZZ_CHECK(r == 0 || (r == -ENOEXEC && e.code == ENOEXEC && e.msg[0]));
	if (!r) {
		FUZZ_CHECK(k.start >= X86_HIMEM && k.start < k.end && k.end <= RAM);
		FUZZ_CHECK(k.notes_len <= ARCH_KERNEL_NOTES);
		/* Nothing past what it says to occupy. */
		FUZZ_CHECK(k.end == RAM || (!mem_read(&m, &b, GPA(k.end), 1) && !b));
		boot(&m, &k, data[0]);
	}
	mem_destroy(&m);
	(void)close(fd);
	return 0;
}
