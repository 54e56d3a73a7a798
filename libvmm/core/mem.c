// SPDX-License-Identifier: Apache-2.0
/* Guest-physical memory: the table of regions and the three doors to it. */
/*
 * How it works
 *
 * Regions are kept sorted by gpa as they are added. A look-up scans them, since a VM has one or two
 * of RAM, first in the table, and a window per shared file system. Everything that takes a range
 * walks it piece by piece with mem_piece(), which holds the one range check; a copy walks twice,
 * first to see that all of it is there, as the table does not change meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/mem_pin.h"

#define PAGE 4096ULL
#define HUGE ((uint64_t)MEM_HUGE_PAGE)

void mem_init(struct mem *m)
{
	memset(m, 0, sizeof(*m));
}

void mem_destroy(struct mem *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct mem_region *r = &m->r[i];

		if (!r->borrowed)
			(void)munmap(r->hva, r->len);
		if (r->fd >= 0)
			(void)close(r->fd);
	}
	mem_init(m);
}

void mem_freeze(struct mem *m)
{
	m->frozen = true;
}

/* Whether a region may go there. */
static int mem_check_place(const struct mem *m, gpa_t gpa, uint64_t len)
{
	if (m->frozen)
		return -EBUSY;
	if (!len || gpa.v % PAGE || len % PAGE || gpa.v > UINT64_MAX - len || len > LIM_RAM_MAX)
		return -EINVAL;
	if (m->n == LIM_REGIONS)
		return -ENOSPC;
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->r[i];

		if (gpa.v < r->gpa + r->len && r->gpa < gpa.v + len)
			return -EEXIST;
	}
	return 0;
}

static void mem_insert(struct mem *m, const struct mem_region *new)
{
	unsigned i = m->n++;

	for (; i && m->r[i - 1].gpa > new->gpa; i--)
		m->r[i] = m->r[i - 1];
	m->r[i] = *new;
	m->nshm += new->kind == MEM_SHM;
}

/* Address space without pages, congruent with @gpa modulo the huge page size, so that both sides
 * can use huge pages. */
static void *mem_reserve(gpa_t gpa, uint64_t len)
{
	uint64_t all = len + HUGE, head;
	uint8_t *p = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	head = (gpa.v - (uintptr_t)p) % HUGE;
	if (head)
		(void)munmap(p, head);
	if (head != HUGE)
		(void)munmap(p + head + len, all - head - len);
	(void)madvise(p + head, len, MADV_DONTDUMP);
	return p + head;
}

/* A page that is missing when the guest touches it would end the guest: all are taken now, which
 * also a limit of the cgroup's can refuse. */
static int mem_take_huge(int fd, uint64_t len)
{
	int r;

	do
		r = fallocate(fd, 0, 0, (off_t)len) < 0 ? -errno : 0;
	while (r == -EINTR);
	return r == -ENOMEM ? -ENOSPC : r;
}

static int mem_open_memfd(uint64_t len, bool huge)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	int r, fd = memfd_create("guest-ram", flags);

	if (fd < 0)
		return -errno;
	/* Sealed against resizing: nobody who gets this fd can turn our accesses into SIGBUS. */
	if (ftruncate(fd, (off_t)len) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	r = huge ? mem_take_huge(fd, len) : 0;
	if (r) {
		(void)close(fd);
		return r;
	}
	return fd;
}

static int mem_no_memfd(int r, uint64_t len, bool huge, struct error *e)
{
	if (r == -ENOSPC && huge)
		return err_set(e, ENOSPC,
			"%llu MiB of guest RAM in huge pages: the host has too few free ones of "
			"2 MiB (/proc/sys/vm/nr_hugepages), or a hugetlb limit of the cgroup forbids it",
			(unsigned long long)len >> 20);
	if (huge)
		return err_sys(e, r, "guest RAM in huge pages of 2 MiB");
	return err_sys(e, r, "memfd for guest RAM");
}

int mem_add_ram(
	struct mem *m, gpa_t gpa, uint64_t len, const struct mem_ram_opts *o, struct error *e)
{
	struct mem_region new = {
		.gpa = gpa.v, .len = len, .kind = MEM_RAM, .fd = -1, .huge = o->huge
	};
	bool memfd = o->memfd || o->huge;
	int r = mem_check_place(m, gpa, len);
	void *p;

	if (!r && o->huge && (gpa.v | len) % HUGE)
		r = -EINVAL;
	if (r)
		return err_sys(e, r, "guest RAM of %llu bytes at 0x%llx", (unsigned long long)len,
			(unsigned long long)gpa.v);
	if (memfd) {
		new.backing = MEM_MEMFD;
		new.fd = mem_open_memfd(len, o->huge);
		if (new.fd < 0)
			return mem_no_memfd(new.fd, len, o->huge, e);
	}
	new.hva = mem_reserve(gpa, len);
	p = MAP_FAILED;
	if (new.hva)
		p = mmap(new.hva, len, PROT_READ | PROT_WRITE,
			MAP_FIXED | MAP_NORESERVE |
				(memfd ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS),
			new.fd, 0);
	if (p == MAP_FAILED) {
		r = -errno;
		if (new.hva)
			(void)munmap(new.hva, len);
		if (new.fd >= 0)
			(void)close(new.fd);
		return err_sys(e, r, "mapping %llu bytes of guest RAM", (unsigned long long)len);
	}
	/* Both are wishes: a kernel without the feature says EINVAL. The new mapping has lost the
	 * flag of the reservation. */
	(void)madvise(p, len, MADV_DONTDUMP);
	if (o->thp && !o->huge)
		(void)madvise(p, len, MADV_HUGEPAGE);
	mem_insert(m, &new);
	return 0;
}

int mem_add_shm(struct mem *m, gpa_t gpa, uint64_t len, struct error *e)
{
	struct mem_region new = { .gpa = gpa.v, .len = len, .kind = MEM_SHM, .fd = -1 };
	int r = mem_check_place(m, gpa, len);

	if (r)
		return err_sys(e, r, "window of %llu bytes at 0x%llx", (unsigned long long)len,
			(unsigned long long)gpa.v);
	new.hva = mem_reserve(gpa, len);
	if (!new.hva)
		return err_sys(e, errno, "mapping a window of %llu bytes", (unsigned long long)len);
	mem_insert(m, &new);
	return 0;
}

void mem_set_readonly(struct mem *m, gpa_t gpa)
{
	for (unsigned i = 0; !m->frozen && i < m->n; i++)
		if (m->r[i].gpa == gpa.v)
			m->r[i].readonly = true;
}

int mem_add_borrowed(struct mem *m, gpa_t gpa, void *hva, uint64_t len)
{
	struct mem_region new = {
		.gpa = gpa.v, .len = len, .hva = hva, .kind = MEM_RAM, .fd = -1, .borrowed = true
	};
	int r = mem_check_place(m, gpa, len);

	if (!r)
		mem_insert(m, &new);
	return r;
}

/*
 * The region that holds the byte at @gpa and how many of the @len bytes from there lie in it (@n,
 * @off); NULL when there is none.
 */
static const struct mem_region *mem_piece(
	const struct mem *m, uint64_t gpa, uint64_t len, uint64_t *off, uint64_t *n)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->r[i];

		*off = gpa - r->gpa; /* wraps to something large below the region */
		if (*off < r->len) {
			*n = MIN(len, r->len - *off);
			return r;
		}
	}
	return NULL;
}

/* Whether every byte of [gpa, gpa + n) is RAM that may be read, or written. */
static bool mem_all_there(const struct mem *m, gpa_t gpa, uint64_t n, bool write)
{
	uint64_t at = gpa.v, off, part;

	for (; n; at += part, n -= part) {
		const struct mem_region *r = mem_piece(m, at, n, &off, &part);

		if (!r || r->kind != MEM_RAM || (write && r->readonly))
			return false;
	}
	return true;
}

int mem_read(const struct mem *m, void *dst, gpa_t src, size_t n)
{
	uint64_t at = src.v, off = 0, part = 0;
	uint8_t *d = dst;

	if (!mem_all_there(m, src, n, false))
		return -EFAULT;
	for (; n; at += part, d += part, n -= part) {
		const struct mem_region *r = mem_piece(m, at, n, &off, &part);

		memcpy(d, r->hva + off, part);
	}
	return 0;
}

int mem_write(const struct mem *m, gpa_t dst, const void *src, size_t n)
{
	uint64_t at = dst.v, off = 0, part = 0;
	const uint8_t *s = src;

	if (!mem_all_there(m, dst, n, true))
		return -EFAULT;
	for (; n; at += part, s += part, n -= part) {
		const struct mem_region *r = mem_piece(m, at, n, &off, &part);

		memcpy(r->hva + off, s, part);
	}
	return 0;
}

int mem_iov(const struct mem *m, gpa_t gpa, uint64_t len, unsigned flags, struct iovec *iov,
	unsigned max)
{
	uint64_t at = gpa.v, off, part;
	unsigned cnt = 0;

	for (; len; at += part, len -= part) {
		const struct mem_region *r = mem_piece(m, at, len, &off, &part);

		if (!r || (r->kind != MEM_RAM && !(flags & MEM_IOV_SHM)) ||
			((flags & MEM_IOV_WRITE) && r->readonly))
			return -EFAULT;
		if (cnt == max)
			return -E2BIG;
		iov[cnt++] = (struct iovec){ .iov_base = r->hva + off, .iov_len = part };
	}
	return (int)cnt;
}

bool mem_in_window(const struct mem *m, const void *p)
{
	for (unsigned i = 0; m->nshm && i < m->n; i++) {
		const struct mem_region *r = &m->r[i];

		if (r->kind == MEM_SHM && (uintptr_t)p - (uintptr_t)r->hva < r->len)
			return true;
	}
	return false;
}

void *mem_pin(const struct mem *m, gpa_t gpa, uint64_t len, unsigned align)
{
	uint64_t off, part;
	const struct mem_region *r = mem_piece(m, gpa.v, len, &off, &part);

	if (!r || !len || part != len || r->kind != MEM_RAM || r->readonly || gpa.v % align)
		return NULL;
	return r->hva + off;
}

uint64_t mem_ram_bytes(const struct mem *m)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->n; i++)
		sum += m->r[i].kind == MEM_RAM ? m->r[i].len : 0;
	return sum;
}

bool mem_gives_back(const struct mem *m)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->r[i].kind == MEM_RAM && !m->r[i].huge)
			return true;
	return false;
}

uint64_t mem_top(const struct mem *m)
{
	return m->n ? m->r[m->n - 1].gpa + m->r[m->n - 1].len : 0;
}
