/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of disks share: a file, a device on it, and a driver's requests. */
#ifndef KRUN_TESTS_UNIT_BLK_RIG_H
#define KRUN_TESTS_UNIT_BLK_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/blk.h"
#include "fake/empty_qcow2.h"
#include "fake/fake_guest.h"
#include "unit/test.h"
#include "util/bytes.h"

#define ALL_FEATURES (~0ULL)

enum {
	T_IN,
	T_OUT,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13
};
enum {
	S_OK,
	S_IOERR,
	S_UNSUPP,
	S_NONE = 99
};

struct rig {
	struct fake_guest g;
	struct fake_dev d;
	struct loop *loop;
	struct vdev *v;
};

/* A file of its own without a name, of random bytes. */
static inline int make_image(uint64_t bytes)
{
	const char *dir = getenv("TMPDIR");
	int fd = open(dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	uint32_t x = 1;

	for (uint64_t i = 0; fd >= 0 && i < bytes; i += 4096) {
		uint32_t b[1024];

		for (unsigned k = 0; k < 1024; k++)
			b[k] = x = x * 1664525 + 1013904223;
		if (pwrite(fd, b, MIN((size_t)(bytes - i), sizeof(b)), (off_t)i) < 0)
			return -1;
	}
	return fd;
}

/* An empty qcow2 image without a name. */
static inline int make_qcow2(uint64_t bytes, unsigned cluster_bits)
{
	const char *dir = getenv("TMPDIR");
	int fd = open(dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 || empty_qcow2(fd, bytes, cluster_bits) ? -1 : fd;
}

/* A file like @fd's: to look into an image that its owner has locked. */
static inline int copy_of(int fd)
{
	const char *dir = getenv("TMPDIR");
	int to = open(dir ? dir : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	uint8_t b[4096];
	ssize_t n = 0;

	for (off_t at = 0; to >= 0 && (n = pread(fd, b, sizeof(b), at)) > 0; at += n)
		if (pwrite(to, b, (size_t)n, at) != n)
			return -1;
	return n ? -1 : to;
}

/* Another open file description of @fd's file. */
static inline int again(int fd, int flags)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

static inline int rig_up(struct rig *r, const struct disk_cfg *cfg, uint64_t features)
{
	if (fake_guest_init(&r->g, 32U << 20) || loop_new("test", &r->loop, NULL) ||
		blk_new(r->loop, &r->g.mem, cfg, &r->v, NULL) || fake_dev_init(&r->d, &r->g, r->v))
		return -1;
	mem_freeze(&r->g.mem);
	r->d.pump = r->loop;
	return fake_dev_start(&r->d, features);
}

static inline void rig_down(struct rig *r)
{
	vdev_fini(r->v);
	r->v->cls->destroy(r->v);
	fake_dev_fini(&r->d);
	loop_free(r->loop);
	fake_guest_fini(&r->g);
}

static inline void header(uint8_t h[16], uint32_t type, uint64_t sector)
{
	put_le32(h, type);
	put_le32(h + 4, 0);
	put_le64(h + 8, sector);
}

/* One request with its payload in two pieces; the status, S_NONE when there was none. */
static inline int request(struct rig *r, unsigned q, uint32_t type, uint64_t sector,
	const void *out, uint32_t nout, void *in, uint32_t nin)
{
	uint8_t h[16], status = S_NONE;
	const uint8_t *o = out;
	uint8_t *i = in;
	uint32_t co = nout / 3, ci = nin / 3;
	struct fake_out fo[] = { { h, sizeof(h) }, { o, co }, { o + co, nout - co } };
	struct fake_in fi[] = { { i, ci }, { i + ci, nin - ci }, { &status, 1 } };
	unsigned at = nin && ci ? 0 : nin ? 1 : 2, no = !nout ? 1 : co ? 3 : 2;
	int n;

	if (nout && !co)
		fo[1] = fo[2];
	header(h, type, sector);
	n = fake_guest_xfer(&r->d, q, fo, no, fi + at, 3 - at);
	return n < 0 ? n : status;
}

static inline int range(struct rig *r, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	uint8_t seg[16];

	put_le64(seg, sector);
	put_le32(seg + 8, n);
	put_le32(seg + 12, flags);
	return request(r, 0, type, 0, seg, sizeof(seg), NULL, 0);
}

#endif
