// SPDX-License-Identifier: Apache-2.0
/* x86_64: what kind of kernel a file holds, and bounded reads of it. */
#include <errno.h>
#include <elf.h>
#include <string.h>
#include <sys/stat.h>

#include "arch/x86_64/x86.h"
#include "core/mem_pin.h"
#include "util/bytes.h"
#include "util/io.h"
#include "util/util.h"

#define BZ_MAGIC_OFF 0x202
#define BZ_MAGIC     0x53726448U /* "HdrS" */

int x86_read_file(int fd, uint64_t off, void *dst, uint64_t n, struct error *e)
{
	int r = io_pread(fd, dst, n, off);

	if (r == -EINVAL)
		return err_set(e, ENOEXEC, "kernel: an offset of the file is out of range");
	if (r == -ENODATA)
		return err_set(e, ENOEXEC, "kernel: the file ends before offset %llu",
			(unsigned long long)(off + n));
	return r ? err_sys(e, r, "kernel: cannot read the file") : 0;
}

int x86_read_guest(struct mem *m, int fd, uint64_t off, uint64_t n, uint64_t gpa, struct error *e)
{
	void *p;

	if (!n)
		return 0;
	p = mem_pin(m, GPA(gpa), n, 1);
	if (!p)
		return err_set(e, ENOEXEC, "kernel: 0x%llx bytes at 0x%llx do not lie in RAM",
			(unsigned long long)n, (unsigned long long)gpa);
	return x86_read_file(fd, off, p, n, e);
}

bool x86_kernel_fits(const struct mem *m, uint64_t start, uint64_t end)
{
	return start >= X86_HIMEM && start <= end && end <= MIN(x86_low_end(m), X86_IDENTITY_END);
}

int arch_load_kernel(struct mem *m, int fd, bool prefer_pvh, struct arch_kernel *k, struct error *e)
{
	uint8_t head[BZ_MAGIC_OFF + 4];
	struct stat st;
	int r;

	memset(k, 0, sizeof(*k));
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "kernel: cannot look at the file");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ENOEXEC, "kernel: not a regular file");
	if (st.st_size < (off_t)sizeof(head))
		return err_set(
			e, ENOEXEC, "kernel: the file has only %lld bytes", (long long)st.st_size);
	r = x86_read_file(fd, 0, head, sizeof(head), e);
	if (r < 0)
		return r;
	if (!memcmp(head, ELFMAG, SELFMAG))
		return x86_load_elf(m, fd, (uint64_t)st.st_size, prefer_pvh, k, e);
	if (get_le32(head + BZ_MAGIC_OFF) == BZ_MAGIC)
		return x86_load_bzimage(m, fd, (uint64_t)st.st_size, k, e);
	return err_set(e, ENOEXEC, "kernel: neither an ELF file nor a bzImage");
}
