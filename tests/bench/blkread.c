// SPDX-License-Identifier: Apache-2.0
// Reads a disk with a full queue, in a guest: the same program in each monitor's.
/*
 * blkread DEVICE random|sequential BYTES DEPTH MS
 *
 * Keeps DEPTH reads of BYTES under way by AIO, past the page cache, for MS milliseconds. Prints how
 * many a second were done.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST 128

static uint64_t seed = 88172645463325252ULL;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	int fd = argc == 6 ? open(argv[1], O_RDONLY | O_DIRECT) : -1;
	unsigned depth = fd < 0 ? 0 : (unsigned)atoi(argv[4]);
	size_t bytes = fd < 0 ? 0 : (size_t)atoi(argv[3]);
	struct iocb cb[MOST], *start[MOST];
	struct io_event ev[MOST];
	uint64_t blocks, next = 0, n = 0;
	aio_context_t ctx = 0;
	double begin, end;
	long got;
	char *buf;

	if (!depth || depth > MOST || !bytes)
		err(2, "blkread DEVICE random|sequential BYTES DEPTH MS");
	blocks = (uint64_t)lseek(fd, 0, SEEK_END) / bytes;
	buf = aligned_alloc(4096, bytes * depth);
	if (!buf || !blocks || syscall(SYS_io_setup, depth, &ctx))
		err(1, "%s", argv[1]);
	memset(cb, 0, sizeof(cb));
	for (unsigned i = 0; i < depth; i++) {
		cb[i].aio_lio_opcode = IOCB_CMD_PREAD;
		cb[i].aio_fildes = (uint32_t)fd;
		cb[i].aio_buf = (uintptr_t)(buf + i * bytes);
		cb[i].aio_nbytes = bytes;
		start[i] = &cb[i];
	}
	begin = now();
	end = begin + atoi(argv[5]) / 1e3;
	for (got = depth; now() < end; n += (uint64_t)got) {
		for (long i = 0; i < got; i++)
			start[i]->aio_offset =
				(int64_t)((*argv[2] == 'r' ? rnd() : next++) % blocks * bytes);
		for (long done = 0, r; done < got; done += r) {
			r = syscall(SYS_io_submit, ctx, got - done, start + done);
			if (r <= 0)
				err(1, "io_submit");
		}
		got = syscall(SYS_io_getevents, ctx, 1, depth, ev, NULL);
		for (long i = 0; i < got; i++) {
			if (ev[i].res != (int64_t)bytes)
				errx(1, "a read gave %lld", (long long)ev[i].res);
			start[i] = (struct iocb *)(uintptr_t)ev[i].obj;
		}
		if (got <= 0)
			err(1, "io_getevents");
	}
	printf("%.0f\n", (double)n / (now() - begin));
	return 0;
}
