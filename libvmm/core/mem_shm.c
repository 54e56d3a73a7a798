// SPDX-License-Identifier: Apache-2.0
/* The two doors that change what backs guest memory: windows of file pages, and giving pages back.
 */
/*
 * How it works
 *
 * A window is address space that is always mapped: by a file, by nothing (PROT_NONE), or, where the
 * guest was promised more of a file than there is, by zero pages. It is never unmapped, since the
 * hole could be taken by an unrelated mapping that the guest would then see. What lies where is
 * known to the device whose window it is (dev/fs_dax.c), whose loop alone changes it.
 */
/* #syscalls:fs mmap madvise */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/mem.h"

#define PAGE 4096ULL

static bool page_aligned(uint64_t a, uint64_t b)
{
	return (a | b) % PAGE == 0;
}

/* The window that begins at @window if [off, off + len) lies in it, or NULL. */
static const struct mem_region *shm_range(
	const struct mem *m, gpa_t window, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->r[i];

		if (r->kind == MEM_SHM && r->gpa == window.v && len && range_ok(off, len, r->len) &&
			page_aligned(off, len))
			return r;
	}
	return NULL;
}

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static int map_at(const struct mem_region *r, uint64_t off, uint64_t len, int prot, int flags,
	int fd, uint64_t fd_off)
{
	uint8_t *p = r->hva + off;
	void *q = mmap(NULL, len, prot, flags, fd, (off_t)fd_off);

	/* Elsewhere first: a MAP_FIXED that fails late leaves a hole where it was to be, and what
	 * this process maps there next would be the guest's. */
	if (q == MAP_FAILED)
		return -errno;
	(void)madvise(q, len, MADV_DONTDUMP);
	if (mremap(q, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, p) == MAP_FAILED) {
		int err = errno;

		(void)munmap(q, len);
		/* it may have gone half way: the place is taken again, or nothing goes on */
		if (mmap(p, len, PROT_NONE, ANON | MAP_FIXED, -1, 0) == MAP_FAILED)
			abort();
		return -err;
	}
	return 0;
}

int mem_shm_map(struct mem *m, gpa_t window, uint64_t off, uint64_t len, int fd, uint64_t fd_off,
	bool write)
{
	const struct mem_region *r = shm_range(m, window, off, len);

	if (!r || fd_off % PAGE || fd_off > INT64_MAX - len)
		return -EINVAL;
	return map_at(r, off, len, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, fd_off);
}

int mem_shm_unmap(struct mem *m, gpa_t window, uint64_t off, uint64_t len)
{
	const struct mem_region *r = shm_range(m, window, off, len);

	return r ? map_at(r, off, len, PROT_NONE, ANON, -1, 0) : -EINVAL;
}

int mem_shm_zero(struct mem *m, gpa_t window, uint64_t off, uint64_t len)
{
	const struct mem_region *r = shm_range(m, window, off, len);

	if (!r)
		return -EINVAL;
	return map_at(r, off, len, PROT_READ | (r->readonly ? 0 : PROT_WRITE), ANON, -1, 0);
}

int mem_shm_settle(struct mem *m, gpa_t window, uint64_t off, uint64_t len)
{
	const struct mem_region *r = shm_range(m, window, off, len);

	if (!r)
		return -EINVAL;
	return madvise(r->hva + off, len, MADV_DONTNEED) < 0 ? -errno : 0;
}

static int region_discard(const struct mem_region *r, uint64_t off, uint64_t len)
{
	if (r->huge)
		return -EOPNOTSUPP;
	if (r->borrowed) {
		memset(r->hva + off, 0, len);
		return 0;
	}
	if (r->backing == MEM_MEMFD)
		return fallocate(r->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			       (off_t)(r->fd_off + off), (off_t)len) < 0
			? -errno
			: 0;
	return madvise(r->hva + off, len, MADV_DONTNEED) < 0 ? -errno : 0;
}

/* Calls region_discard() for each piece, or only checks that every byte is RAM. */
static int mem_discard_walk(struct mem *m, uint64_t at, uint64_t len, bool dry)
{
	while (len) {
		const struct mem_region *r = NULL;
		uint64_t part;
		int err;

		for (unsigned i = 0; i < m->n && !r; i++) {
			if (at - m->r[i].gpa < m->r[i].len)
				r = &m->r[i];
		}
		if (!r || r->kind != MEM_RAM || r->readonly)
			return -EFAULT;
		part = MIN(len, r->len - (at - r->gpa));
		err = dry ? 0 : region_discard(r, at - r->gpa, part);
		if (err)
			return err;
		at += part;
		len -= part;
	}
	return 0;
}

int mem_discard(struct mem *m, gpa_t gpa, uint64_t len)
{
	int r;

	if (!page_aligned(gpa.v, len) || gpa.v > UINT64_MAX - len)
		return -EINVAL;
	r = mem_discard_walk(m, gpa.v, len, true);
	return r ? r : mem_discard_walk(m, gpa.v, len, false);
}

int mem_discard_iov(struct mem *m, const void *hva, uint64_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->r[i];
		uint64_t off = (uintptr_t)hva - (uintptr_t)r->hva, begin = ALIGN_UP(off, PAGE), end;

		if (off >= r->len)
			continue;
		if (r->kind != MEM_RAM || r->readonly || len > r->len - off)
			return -EFAULT;
		end = (off + len) / PAGE * PAGE;
		return begin < end ? region_discard(r, begin, end - begin) : 0;
	}
	return -EFAULT;
}
