// SPDX-License-Identifier: Apache-2.0
/* The two doors that change what backs guest memory: windows of file pages, and giving pages back.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "core/mem.h"

#define PAGE 4096ULL

static bool page_aligned(uint64_t a, uint64_t b)
{
	return (a | b) % PAGE == 0;
}

/* Host address of [off, off + len) of the window that begins at @window, or NULL. */
static void *shm_range(const struct mem *m, gpa_t window, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->r[i];

		if (r->kind == MEM_SHM && r->gpa == window.v && len && range_ok(off, len, r->len) &&
			page_aligned(off, len))
			return r->hva + off;
	}
	return NULL;
}

int mem_shm_map(struct mem *m, gpa_t window, uint64_t off, uint64_t len, int fd, uint64_t fd_off,
	bool write)
{
	void *p = shm_range(m, window, off, len);

	if (!p || fd_off % PAGE || fd_off > INT64_MAX - len)
		return -EINVAL;
	if (mmap(p, len, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED | MAP_FIXED, fd,
		    (off_t)fd_off) == MAP_FAILED)
		return -errno;
	(void)madvise(p, len, MADV_DONTDUMP);
	return 0;
}

int mem_shm_unmap(struct mem *m, gpa_t window, uint64_t off, uint64_t len)
{
	void *p = shm_range(m, window, off, len);

	if (!p)
		return -EINVAL;
	/* Never munmap(): the hole could be taken by an unrelated mapping that the guest would then
	 * see. */
	if (mmap(p, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		    0) == MAP_FAILED)
		return -errno;
	(void)madvise(p, len, MADV_DONTDUMP);
	return 0;
}

static int region_discard(const struct mem_region *r, uint64_t off, uint64_t len)
{
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
