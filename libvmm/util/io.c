// SPDX-License-Identifier: Apache-2.0
/* Reads and writes at an offset, whole. */
#include <errno.h>
#include <unistd.h>

#include "util/io.h"

#define IO_STEP (1UL << 30) /* one call does less than 2 GiB */

int io_pread(int fd, void *p, size_t n, uint64_t off)
{
	uint8_t *b = p;

	if (!range_ok(off, n, INT64_MAX))
		return -EINVAL;
	while (n) {
		ssize_t r = pread(fd, b, MIN(n, IO_STEP), (off_t)off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -ENODATA;
		b += r;
		n -= (size_t)r;
		off += (uint64_t)r;
	}
	return 0;
}

int io_pwrite(int fd, const void *p, size_t n, uint64_t off)
{
	const uint8_t *b = p;

	if (!range_ok(off, n, INT64_MAX))
		return -EINVAL;
	while (n) {
		ssize_t r = pwrite(fd, b, MIN(n, IO_STEP), (off_t)off);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -EIO;
		b += r;
		n -= (size_t)r;
		off += (uint64_t)r;
	}
	return 0;
}
