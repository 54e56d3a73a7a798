// SPDX-License-Identifier: Apache-2.0
/* The two doors that change what backs guest memory: windows of file pages, and giving pages back.
 */
/*
 * How it works
 *
 * A window is address space that is always mapped: by a file, by nothing (PROT_NONE), or, where the
 * guest was promised more of a file than there is, by zero pages. It is never unmapped, since the
 * hole could be taken by an unrelated mapping that the guest would then see.
 *
 * A page behind the end of its file cannot be given to the guest, and the hypervisor does not say
 * which one was asked for. mem_shm_mend() finds it: of each range that a file fills, the last page
 * that should be the file's is read, by a system call that fails where a load would be a SIGBUS.
 * When that fails, halving finds the first that does, and from there on the range gets zero pages.
 * How many pages are the file's is remembered: it may shrink once more.
 */
/* #syscalls:fs mmap madvise */
/* #syscalls:vcpu mmap madvise process_vm_readv getpid */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/mem_window.h"

#define PAGE	    4096ULL
#define RANGE_PAGES (MEM_SHM_RANGE / 4096U)

struct mem_window *mem_window_new(uint64_t len)
{
	size_t n = len / MEM_SHM_RANGE;
	struct mem_window *w = calloc(1, sizeof(*w) + n * sizeof(w->pages[0]));

	if (!w)
		return NULL;
	w->n = (uint32_t)n;
	(void)pthread_mutex_init(&w->lock, NULL);
	return w;
}

void mem_window_free(struct mem_window *w)
{
	if (!w)
		return;
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

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

/* Notes that range @i has @pages of a file in front, as mem_window.h has it. Under the lock. */
static void note(struct mem_window *w, uint32_t i, uint16_t pages)
{
	bool was = w->pages[i] && w->pages[i] <= RANGE_PAGES;
	bool is = pages && pages <= RANGE_PAGES;

	w->pages[i] = pages;
	if (is != was)
		(void)__atomic_fetch_add(&w->mended, is ? 1U : -1U, __ATOMIC_RELAXED);
}

/* The same for all that [off, off + len) touches: @pages where it covers a range, 0 elsewhere. */
static void note_all(struct mem_window *w, uint64_t off, uint64_t len, uint16_t pages)
{
	for (uint64_t i = off / MEM_SHM_RANGE; i < w->n && i * MEM_SHM_RANGE < off + len; i++) {
		uint64_t at = i * MEM_SHM_RANGE;

		note(w, (uint32_t)i, at >= off && at + MEM_SHM_RANGE <= off + len ? pages : 0);
	}
}

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

static int map_locked(const struct mem_region *r, uint64_t off, uint64_t len, int prot, int flags,
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

static int map_noted(const struct mem_region *r, uint64_t off, uint64_t len, int prot, int flags,
	int fd, uint64_t fd_off, uint16_t pages)
{
	int err;

	(void)pthread_mutex_lock(&r->win->lock);
	err = map_locked(r, off, len, prot, flags, fd, fd_off);
	if (!err)
		note_all(r->win, off, len, pages);
	(void)pthread_mutex_unlock(&r->win->lock);
	return err;
}

static int zero_prot(const struct mem_region *r)
{
	return PROT_READ | (r->readonly ? 0 : PROT_WRITE);
}

int mem_shm_map(struct mem *m, gpa_t window, uint64_t off, uint64_t len, int fd, uint64_t fd_off,
	bool write)
{
	const struct mem_region *r = shm_range(m, window, off, len);

	if (!r || fd_off % PAGE || fd_off > INT64_MAX - len)
		return -EINVAL;
	return map_noted(r, off, len, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, fd_off,
		RANGE_PAGES + 1);
}

int mem_shm_unmap(struct mem *m, gpa_t window, uint64_t off, uint64_t len)
{
	const struct mem_region *r = shm_range(m, window, off, len);

	return r ? map_noted(r, off, len, PROT_NONE, ANON, -1, 0, 0) : -EINVAL;
}

int mem_shm_zero(struct mem *m, gpa_t window, uint64_t off)
{
	const struct mem_region *r = shm_range(m, window, off, MEM_SHM_RANGE);

	if (!r || off % MEM_SHM_RANGE)
		return -EINVAL;
	return map_noted(r, off, MEM_SHM_RANGE, zero_prot(r), ANON, -1, 0, 1);
}

int mem_shm_settle(struct mem *m, gpa_t window, uint64_t off)
{
	const struct mem_region *r = shm_range(m, window, off, MEM_SHM_RANGE);
	int err = 0;

	if (!r || off % MEM_SHM_RANGE)
		return -EINVAL;
	(void)pthread_mutex_lock(&r->win->lock);
	/* Zero pages of a mended range would lose what the guest wrote. */
	if (r->win->pages[off / MEM_SHM_RANGE] == RANGE_PAGES + 1 &&
		madvise(r->hva + off, MEM_SHM_RANGE, MADV_DONTNEED) < 0)
		err = -errno;
	(void)pthread_mutex_unlock(&r->win->lock);
	return err;
}

static bool readable(const uint8_t *p)
{
	uint8_t byte;
	struct iovec to = { &byte, 1 }, from = { (void *)(uintptr_t)p, 1 };

	/* Anything but EFAULT tells nothing of the page. */
	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1 || errno != EFAULT;
}

/* Under the lock: range @i ends in zero pages from page @good on. */
static int cut_range(const struct mem_region *r, uint32_t i, uint32_t good)
{
	uint64_t off = (uint64_t)i * MEM_SHM_RANGE + good * PAGE;
	int err = map_locked(r, off, MEM_SHM_RANGE - good * PAGE, zero_prot(r), ANON, -1, 0);

	if (!err)
		note(r->win, i, (uint16_t)(good + 1));
	return err;
}

/* Under the lock: whether range @i had to be mended, and was. */
static bool mend_range(const struct mem_region *r, uint32_t i)
{
	const uint8_t *p = r->hva + (uint64_t)i * MEM_SHM_RANGE;
	uint32_t good = 0, bad = r->win->pages[i];

	/* Pages below @good are the file's, @bad is not. */
	if (bad < 2 || readable(p + (bad - 2) * PAGE))
		return false;
	for (bad -= 2; good < bad;) {
		uint32_t mid = (good + bad) / 2;

		if (readable(p + mid * PAGE))
			good = mid + 1;
		else
			bad = mid;
	}
	return !cut_range(r, i, good);
}

unsigned mem_shm_mend(struct mem *m)
{
	unsigned sum = 0;

	for (unsigned k = 0; m->nshm && k < m->n; k++) {
		const struct mem_region *r = &m->r[k];

		if (r->kind != MEM_SHM)
			continue;
		(void)pthread_mutex_lock(&r->win->lock);
		for (uint32_t i = 0; i < r->win->n; i++)
			sum += mend_range(r, i);
		(void)pthread_mutex_unlock(&r->win->lock);
	}
	return sum;
}

int mem_shm_cut(struct mem *m, gpa_t window, uint64_t off, unsigned pages)
{
	const struct mem_region *r = shm_range(m, window, off, MEM_SHM_RANGE);
	uint32_t i = (uint32_t)(off / MEM_SHM_RANGE);
	int err = 0;

	if (!r || off % MEM_SHM_RANGE || pages >= RANGE_PAGES)
		return -EINVAL;
	(void)pthread_mutex_lock(&r->win->lock);
	if (r->win->pages[i] > pages + 1)
		err = cut_range(r, i, pages);
	(void)pthread_mutex_unlock(&r->win->lock);
	return err;
}

bool mem_shm_any_mended(const struct mem *m, gpa_t window)
{
	const struct mem_region *r = shm_range(m, window, 0, PAGE);

	return r && __atomic_load_n(&r->win->mended, __ATOMIC_RELAXED);
}

bool mem_shm_is_mended(const struct mem *m, gpa_t window, uint64_t off)
{
	const struct mem_region *r = shm_range(m, window, off, MEM_SHM_RANGE);
	uint16_t pages = 0;

	if (!r || off % MEM_SHM_RANGE)
		return false;
	(void)pthread_mutex_lock(&r->win->lock);
	pages = r->win->pages[off / MEM_SHM_RANGE];
	(void)pthread_mutex_unlock(&r->win->lock);
	return pages && pages <= RANGE_PAGES;
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
