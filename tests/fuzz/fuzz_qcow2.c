// SPDX-License-Identifier: Apache-2.0
// A qcow2 image that somebody made up, and requests on it. The input: how, requests, the image.

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk.h"
#include "fuzz/fuzz.h"

#define OPS 12

static uint8_t bytes[64U << 10];

/* The rule of this caller: no file. */
static int open_none(void *arg, const char *name)
{
	FUZZ_CHECK(strlen(name) < 1024);
	++*(unsigned *)arg;
	return -EPERM;
}

static int request(struct disk *d, enum disk_cmd cmd, uint64_t at, uint64_t n)
{
	struct disk_extent x;
	struct iovec v = { bytes, n };
	struct iobuf b;

	iobuf_init(&b, &v, 1);
	if (cmd == DISK_READ || cmd == DISK_WRITE) {
		disk_map(d, cmd == DISK_WRITE, at, n, &x);
		FUZZ_CHECK(x.len && x.len <= n);
		if (x.where == DISK_AT)
			FUZZ_CHECK(x.off >= 512 && x.off < LIM_BLK_BYTES + (4U << 20));
	}
	return disk_run(d, cmd, cmd == DISK_READ || cmd == DISK_WRITE ? &b : NULL, at, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	unsigned how = fuzz_u8(&in), called = 0;
	struct disk_cfg cfg = { .fd = memfd_create("image", MFD_CLOEXEC),
		.format = DISK_QCOW2,
		.sync = DISK_SYNC_FULL,
		.readonly = how & 1,
		.open_backing = how & 2 ? open_none : NULL,
		.backing_arg = &called };
	uint8_t ops[OPS][5];
	struct disk *d;

	fuzz_bytes(&in, ops, sizeof(ops));
	FUZZ_CHECK(cfg.fd >= 0);
	FUZZ_CHECK(write(cfg.fd, in.p, in.left) == (ssize_t)in.left);
	if (disk_open(&cfg, &d, NULL))
		return 0;
	FUZZ_CHECK(d->bytes <= LIM_BLK_BYTES && d->bytes % 512 == 0);
	for (unsigned i = 0; i < OPS; i++) {
		uint64_t at = ops[i][1] * 512ULL, n = 512ULL * (1 + ops[i][4] % 128);

		/* near the beginning, or anywhere */
		if (ops[i][0] & 8)
			at += (uint64_t)ops[i][2] << (ops[i][3] % 40 + 9);
		if (!range_ok(at, n, d->bytes))
			continue;
		(void)request(d, (enum disk_cmd)(ops[i][0] % 6), at, n);
	}
	disk_close(d);
	return 0;
}
