// SPDX-License-Identifier: Apache-2.0
/* RAM to and from a file: pages of zeroes become holes. */
/*
 * How it works
 *
 * The image is the RAM regions one after the other in the order of the table, at their full size;
 * the windows of shared file systems are not in it. Saving asks a memfd for its holes first, since
 * reading them through the mapping would fill them, and then drops pages of zeroes from what is
 * left: a guest that was given 1 GiB and used 60 MiB costs 60 MiB of disk. Loading reads only the
 * file's data and relies on the regions being fresh, so that holes stay memory that was never
 * touched.
 *
 * Holes are only an optimisation: where a file system has none, both read and write everything. The
 * size of the file is checked before anything is read, as the file may have been cut.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/vm.h"
#include "util/io.h"

#define IMAGE_STEP (2U << 20) /* bytes looked at in one go */
#define IMAGE_PAGE 4096U

static bool is_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

/* Writes the runs of pages in [p, p + n) that hold something. */
static int put_sparse(int fd, const uint8_t *p, size_t n, uint64_t off)
{
	size_t at = 0;

	while (at < n) {
		size_t end = at;
		int r;

		if (is_zero(p + at, IMAGE_PAGE)) {
			at += IMAGE_PAGE;
			continue;
		}
		while (end < n && !is_zero(p + end, IMAGE_PAGE))
			end += IMAGE_PAGE;
		r = io_pwrite(fd, p + at, end - at, off + at);
		if (r)
			return r;
		at = end;
	}
	return 0;
}

/*
 * The next run of bytes from *at on that may hold something: its end, with *at moved to its
 * beginning. A hole of a memfd is passed over, since looking at it through the mapping would fill
 * it.
 */
static uint64_t next_run(const struct mem_region *r, uint64_t *at)
{
	off_t data, hole;

	if (r->backing != MEM_MEMFD)
		return r->len;
	data = lseek(r->fd, (off_t)(r->fd_off + *at), SEEK_DATA);
	if (data < 0) {
		/* anything but "no more data" would be our own mistake: then all of it is read */
		*at = errno == ENXIO ? r->len : *at;
		return r->len;
	}
	*at = MIN((uint64_t)data - r->fd_off, r->len);
	hole = lseek(r->fd, data, SEEK_HOLE);
	return hole < 0 ? r->len : MIN((uint64_t)hole - r->fd_off, r->len);
}

static int put_region(int fd, const struct mem_region *r, uint64_t off)
{
	uint64_t at = 0;
	int err = 0;

	while (!err && at < r->len) {
		uint64_t end = next_run(r, &at);

		for (; !err && at < end; at += IMAGE_STEP)
			err = put_sparse(fd, r->hva + at,
				(size_t)MIN(end - at, (uint64_t)IMAGE_STEP), off + at);
		at = end;
	}
	return err;
}

int mem_image_save(const struct mem *m, int fd, uint64_t off, struct error *e)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->r[i];
		int err;

		if (r->kind != MEM_RAM)
			continue;
		err = put_region(fd, r, off);
		if (err)
			return err_sys(e, err, "cannot write guest memory");
		off += r->len;
	}
	/* the last pages may be a hole: the size says how much RAM there was */
	return ftruncate(fd, (off_t)off) ? err_sys(e, errno, "cannot size the saved memory") : 0;
}

/* Reads only what is data, so that holes stay untouched memory. */
static int get_sparse(int fd, const struct mem_region *r, uint64_t off)
{
	uint64_t at = off, end = off + r->len;

	while (at < end) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;
		int err;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		if ((uint64_t)data >= end)
			return 0;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		at = MIN((uint64_t)hole, end);
		err = io_pread(
			fd, r->hva + ((uint64_t)data - off), at - (uint64_t)data, (uint64_t)data);
		if (err)
			return err;
	}
	return 0;
}

int mem_image_load(const struct mem *m, int fd, uint64_t off, struct error *e)
{
	off_t size = lseek(fd, 0, SEEK_END);
	uint64_t want = mem_ram_bytes(m);

	if (size < 0 || !range_ok(off, want, (uint64_t)size))
		return err_set(e, EINVAL, "the saved memory is shorter than the guest's RAM");
	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *r = &m->r[i];
		int err;

		if (r->kind != MEM_RAM)
			continue;
		err = get_sparse(fd, r, off);
		if (err)
			return err_sys(e, err, "cannot read guest memory");
		off += r->len;
	}
	return 0;
}
