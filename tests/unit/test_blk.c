// SPDX-License-Identifier: Apache-2.0
// virtio-blk over raw images, driven from the guest's side.

#include <sys/mman.h>
#include <sys/syscall.h>

#include "dev/disk_ring.h"
#include "unit/blk_rig.h"

#define MIB (1U << 20)

/* of linux/io_uring.h */
#define REGISTER_FILES	 2
#define UNREGISTER_FILES 3

static uint8_t model[4 * MIB], buf[MIB];

static unsigned bad_syncs; /* so many fail from now on */

static bool no_room;

/* What the tables are written by; data takes other calls. */
ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
	if (no_room) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, p, n, off);
}

int fdatasync(int fd)
{
	if (!__atomic_load_n(&bad_syncs, __ATOMIC_RELAXED))
		return (int)syscall(SYS_fdatasync, fd);
	__atomic_sub_fetch(&bad_syncs, 1, __ATOMIC_RELAXED);
	errno = EIO;
	return -1;
}

static uint32_t rnd_state = 7;

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 1103515245 + 12345;
	return (rnd_state >> 8) % n;
}

static bool equal(int fd, uint64_t off, const void *p, size_t n)
{
	static uint8_t got[4 * MIB];

	return pread(fd, got, n, (off_t)off) == (ssize_t)n && !memcmp(got, p, n);
}

/* Random requests against a copy in memory. */
static void against_a_model(struct disk_cfg *cfg, uint64_t features)
{
	uint32_t sectors = sizeof(model) / 512;
	struct rig r = { 0 };
	int fd;

	cfg->fd = make_image(sizeof(model));
	CHECK(cfg->fd >= 0);
	fd = again(cfg->fd, O_RDONLY);
	CHECK_EQ(pread(fd, model, sizeof(model), 0), sizeof(model));
	CHECK_EQ(rig_up(&r, cfg, features), 0);
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t at = rnd(sectors), n = 1 + rnd(i % 8 ? 16 : 1000), what = rnd(10);

		n = MIN(n, sectors - at);
		if (what < 4) {
			CHECK_EQ(request(&r, 0, T_IN, at, NULL, 0, buf, n * 512), S_OK);
			CHECK(!memcmp(buf, model + at * 512, n * 512));
		} else if (what < 8) {
			memset(model + at * 512, (int)i, n * 512);
			CHECK_EQ(request(&r, 0, T_OUT, at, model + at * 512, n * 512, NULL, 0),
				S_OK);
		} else if (what == 8) {
			CHECK_EQ(range(&r, i & 1 ? T_WRITE_ZEROES : T_DISCARD, at, n, 0), S_OK);
			memset(model + at * 512, 0, n * 512);
		} else {
			CHECK_EQ(range(&r, T_WRITE_ZEROES, at, n, i & 1), S_OK);
			memset(model + at * 512, 0, n * 512);
		}
	}
	if (r.v->acked & BLK_F_FLUSH)
		CHECK_EQ(request(&r, 0, T_FLUSH, 0, NULL, 0, NULL, 0), S_OK);
	rig_down(&r);
	CHECK(equal(fd, 0, model, sizeof(model)));
	(void)close(fd);
}

static void model_ring(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL };

	against_a_model(&cfg, ALL_FEATURES);
}

static void model_threads(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL, .threads = true };

	against_a_model(&cfg, ALL_FEATURES);
}

/* A driver without FLUSH takes every write for durable. */
static void model_write_through(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL };

	against_a_model(&cfg, ALL_FEATURES & ~BLK_F_FLUSH);
}

static void model_no_sync(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_NONE };

	against_a_model(&cfg, 1ULL << 32 | BLK_F_DISCARD | BLK_F_WRITE_ZEROES);
}

/* A request of one aligned page; its status. */
static int one_page(struct rig *r, bool write, uint64_t at, uint8_t p[4096])
{
	gpa_t data = fake_alloc(&r->g, 4096, 4096), h = fake_alloc(&r->g, 17, 16);
	struct fake_seg seg[] = { { h.v, 16 }, { data.v, 4096 }, { h.v + 16, 1 } };
	uint8_t *mem = fake_ptr(&r->g, data, 4096);
	unsigned nout = write ? 2 : 1;
	uint16_t head;
	uint32_t len;

	memcpy(mem, p, 4096);
	header(fake_ptr(&r->g, h, 16), write ? T_OUT : T_IN, at);
	if (fake_add(&r->d, 0, seg, nout, seg + nout, 3 - nout) < 0)
		return -1;
	(void)fake_kick(&r->d, 0);
	if (fake_wait(&r->d, 0, FAKE_TIMEOUT_MS) || fake_reap(&r->d, 0, &head, &len) != 1)
		return -1;
	memcpy(p, mem, 4096);
	return *((uint8_t *)fake_ptr(&r->g, h, 17) + 16);
}

static void model_direct(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_RELAXED, .direct = true };
	struct error e = { 0 };
	struct rig r = { 0 };
	uint8_t p[4096];
	int fd;

	cfg.fd = make_image(MIB);
	fd = again(cfg.fd, O_RDONLY);
	if (rig_up(&r, &cfg, ALL_FEATURES)) {
		/* a file system without: the error says so, and nothing is left */
		cfg.fd = fd;
		CHECK(blk_new(r.loop, &r.g.mem, &cfg, &r.v, &e) < 0);
		CHECK(strstr(e.msg, "direct"));
		loop_free(r.loop);
		fake_guest_fini(&r.g);
		return;
	}
	for (unsigned i = 0; i < 100; i++) {
		uint64_t at = rnd(MIB / 4096) * 8;

		memset(p, (int)i, 4096);
		CHECK_EQ(one_page(&r, i & 1, at, p), S_OK);
		CHECK(equal(fd, at * 512, p, 4096));
	}
	rig_down(&r);
	(void)close(fd);
}

static void config_says(void)
{
	struct disk_cfg cfg = { .fd = make_image(MIB + 700),
		.sync = DISK_SYNC_FULL,
		.queues = 3,
		.serial = "a serial" };
	struct rig r = { 0 };
	uint8_t c[60];

	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	fake_cfg_read(&r.d, 0, c, sizeof(c));
	CHECK_EQ(get_le64(c), (MIB + 700) / 512);
	CHECK_EQ(get_le32(c + 8), LIM_BLK_SEG);
	CHECK_EQ(get_le32(c + 12), LIM_BLK_SEGS);
	CHECK_EQ(get_le32(c + 20), 512);
	CHECK_EQ(get_le16(c + 34), 3);
	CHECK_EQ(get_le32(c + 40), 1);
	CHECK(LIM_BLK_SEG * LIM_BLK_SEGS + 17 <= LIM_CHAIN_BYTES);
	CHECK_EQ(r.v->acked & (BLK_F_MQ | BLK_F_FLUSH | BLK_F_RO), BLK_F_MQ | BLK_F_FLUSH);
	memset(c, 1, sizeof(c));
	CHECK_EQ(request(&r, 2, T_GET_ID, 0, NULL, 0, c, 20), S_OK);
	CHECK(!memcmp(c, "a serial\0\0\0\0\0\0\0\0\0\0\0\0", 20));
	CHECK_EQ(request(&r, 1, T_GET_ID, 0, NULL, 0, c, 19), S_IOERR);
	rig_down(&r);
}

static void what_makes_no_sense(void)
{
	uint64_t end = MIB / 512;
	struct disk_cfg cfg = { .fd = make_image(MIB), .sync = DISK_SYNC_NONE };
	struct rig r = { 0 };
	uint8_t h[16], status = S_NONE;
	struct fake_out out = { h, 16 };
	struct fake_in in = { &status, 1 };

	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	CHECK_EQ(request(&r, 0, T_IN, end, NULL, 0, buf, 512), S_IOERR);
	CHECK_EQ(request(&r, 0, T_IN, end - 1, NULL, 0, buf, 1024), S_IOERR);
	CHECK_EQ(request(&r, 0, T_OUT, end - 1, buf, 1024, NULL, 0), S_IOERR);
	CHECK_EQ(request(&r, 0, T_OUT, UINT64_MAX, buf, 512, NULL, 0), S_IOERR);
	CHECK_EQ(request(&r, 0, T_IN, 1ULL << 55, NULL, 0, buf, 512), S_IOERR);
	CHECK_EQ(request(&r, 0, T_IN, 0, NULL, 0, buf, 511), S_IOERR);
	CHECK_EQ(request(&r, 0, T_IN, 0, NULL, 0, NULL, 0), S_OK);
	CHECK_EQ(request(&r, 0, T_FLUSH, 0, NULL, 0, NULL, 0), S_UNSUPP); /* not offered */
	CHECK_EQ(request(&r, 0, 77, 0, NULL, 0, NULL, 0), S_UNSUPP);
	CHECK_EQ(range(&r, T_DISCARD, 0, 1, 1), S_UNSUPP);
	CHECK_EQ(range(&r, T_WRITE_ZEROES, 0, 1, 2), S_UNSUPP);
	CHECK_EQ(range(&r, T_DISCARD, end, 1, 0), S_IOERR);
	CHECK_EQ(range(&r, T_DISCARD, UINT64_MAX, 1, 0), S_IOERR);
	CHECK_EQ(range(&r, T_WRITE_ZEROES, 0, UINT32_MAX, 0), S_IOERR);
	CHECK_EQ(range(&r, T_WRITE_ZEROES, end, 0, 0), S_OK);
	CHECK_EQ(request(&r, 0, T_DISCARD, 0, buf, 32, NULL, 0), S_IOERR); /* two segments */
	CHECK_EQ(request(&r, 0, T_DISCARD, 0, buf, 8, NULL, 0), S_IOERR);
	/* a header that is cut short, and no room for a status */
	out.len = 15;
	CHECK_EQ(fake_guest_xfer(&r.d, 0, &out, 1, &in, 1), 1);
	CHECK_EQ(status, S_IOERR);
	out.len = 16;
	header(h, T_IN, 0);
	CHECK_EQ(fake_guest_xfer(&r.d, 0, &out, 1, NULL, 0), 0);
	CHECK(!vdev_is_broken(r.v));
	rig_down(&r);
}

/* More buffers than the driver was told of. */
static void too_many_buffers(void)
{
	struct disk_cfg cfg = { .fd = make_image(MIB), .sync = DISK_SYNC_FULL };
	struct fake_in in[200];
	uint8_t h[16], status = S_NONE;
	struct fake_out out = { h, 16 };
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	header(h, T_IN, 0);
	for (unsigned i = 0; i < 199; i++)
		in[i] = (struct fake_in){ buf + i * 512, 512 };
	in[199] = (struct fake_in){ &status, 1 };
	CHECK_EQ(fake_guest_xfer(&r.d, 0, &out, 1, in, 200), 1);
	CHECK_EQ(status, S_IOERR);
	CHECK_EQ(fake_guest_xfer(&r.d, 0, &out, 1, in + 200 - LIM_BLK_SEGS, LIM_BLK_SEGS),
		(LIM_BLK_SEGS - 1) * 512 + 1);
	CHECK_EQ(status, S_OK);
	rig_down(&r);
}

static void read_only(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL, .readonly = true };
	struct rig r = { 0 };
	int fd = make_image(MIB);

	CHECK_EQ(pread(fd, model, MIB, 0), MIB);
	cfg.fd = again(fd, O_RDONLY);
	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	CHECK(r.v->acked & BLK_F_RO);
	CHECK(!(r.v->acked & (BLK_F_DISCARD | BLK_F_WRITE_ZEROES)));
	CHECK_EQ(request(&r, 0, T_OUT, 0, buf, 512, NULL, 0), S_IOERR);
	CHECK_EQ(range(&r, T_DISCARD, 0, 1, 0), S_IOERR);
	CHECK_EQ(range(&r, T_WRITE_ZEROES, 0, 1, 0), S_IOERR);
	CHECK_EQ(request(&r, 0, T_FLUSH, 0, NULL, 0, NULL, 0), S_OK);
	CHECK_EQ(request(&r, 0, T_IN, 8, NULL, 0, buf, 4096), S_OK);
	CHECK(!memcmp(buf, model + 4096, 4096));
	rig_down(&r);
	CHECK(equal(fd, 0, model, MIB));
	(void)close(fd);
}

static void one_writer(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL };
	struct error e = { 0 };
	struct vdev *v = NULL;
	struct rig r = { 0 };
	int fd = make_image(MIB);

	cfg.fd = again(fd, O_RDWR);
	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	cfg.fd = again(fd, O_RDWR);
	CHECK_EQ(blk_new(r.loop, &r.g.mem, &cfg, &v, &e), -EBUSY);
	CHECK(strstr(e.msg, "somebody else"));
	cfg.readonly = true;
	cfg.fd = again(fd, O_RDONLY);
	CHECK_EQ(blk_new(r.loop, &r.g.mem, &cfg, &v, NULL), -EBUSY);
	rig_down(&r);
	/* readers do not mind each other */
	cfg.fd = again(fd, O_RDONLY);
	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	cfg.fd = again(fd, O_RDONLY);
	CHECK_EQ(blk_new(r.loop, &r.g.mem, &cfg, &v, NULL), 0);
	vdev_fini(v);
	v->cls->destroy(v);
	rig_down(&r);
	(void)close(fd);
}

static void images_that_are_none(void)
{
	struct disk_cfg cfg = { .fd = open("/dev/null", O_RDWR | O_CLOEXEC) };
	struct error e = { 0 };
	struct disk *d;
	int fd = make_image(MIB);

	CHECK_EQ(disk_open(&cfg, &d, &e), -EINVAL);
	cfg.fd = again(fd, O_RDONLY);
	CHECK_EQ(disk_open(&cfg, &d, NULL), -EBADF);
	cfg.fd = again(fd, O_PATH);
	cfg.readonly = true;
	CHECK_EQ(disk_open(&cfg, &d, NULL), -EBADF);
	cfg.fd = again(fd, O_RDONLY);
	cfg.format = 9;
	CHECK_EQ(disk_open(&cfg, &d, &e), -ENOTSUP);
	(void)close(fd);
}

/* The image is cut short while the guest uses it: an error for it, and no more. */
static void image_cut_short(void)
{
	struct disk_cfg cfg = { .fd = make_image(MIB), .sync = DISK_SYNC_FULL };
	struct rig r = { 0 };
	int fd = again(cfg.fd, O_RDWR);

	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
		CHECK_EQ(ftruncate(fd, 8192), 0);
		CHECK_EQ(request(&r, 0, T_IN, 8, NULL, 0, buf, 8192), S_IOERR);
		CHECK_EQ(request(&r, 0, T_IN, 0, NULL, 0, buf, 8192), S_OK);
		rig_down(&r);
		cfg.threads = true;
		CHECK_EQ(ftruncate(fd, MIB), 0);
		cfg.fd = again(fd, O_RDWR);
	}
	(void)close(cfg.fd);
	(void)close(fd);
}

/* A seal forbids what a full disk would: the error reaches the guest, and the disk goes on. */
static void host_says_no(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL };
	struct rig r = { 0 };
	int fd;

	for (unsigned i = 0; i < 2; i++) {
		cfg.fd = memfd_create("sealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
		CHECK(!ftruncate(cfg.fd, MIB));
		fd = again(cfg.fd, O_RDWR);
		CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
		CHECK(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
		CHECK_EQ(request(&r, 0, T_OUT, 8, buf, 8192, NULL, 0), S_IOERR);
		CHECK_EQ(range(&r, T_DISCARD, 0, 8, 0), S_IOERR);
		CHECK_EQ(request(&r, 0, T_IN, 0, NULL, 0, buf, 8192), S_OK);
		CHECK(!vdev_is_broken(r.v));
		rig_down(&r);
		(void)close(fd);
		cfg.threads = true;
	}
}

/* Adds a read of one sector; its status byte's address. */
static uint8_t *add_read(struct rig *r, unsigned q, uint64_t sector)
{
	gpa_t p = fake_alloc(&r->g, 16 + 512 + 1, 16);
	struct fake_seg out = { p.v, 16 }, in = { p.v + 16, 513 };

	header(fake_ptr(&r->g, p, 16), T_IN, sector);
	if (fake_add(&r->d, q, &out, 1, &in, 1) < 0)
		return NULL;
	return (uint8_t *)fake_ptr(&r->g, p, 529) + 528;
}

static bool add_flush(struct rig *r)
{
	gpa_t p = fake_alloc(&r->g, 17, 16);
	struct fake_seg out = { p.v, 16 }, in = { p.v + 16, 1 };

	header(fake_ptr(&r->g, p, 16), T_FLUSH, 0);
	return fake_add(&r->d, 0, &out, 1, &in, 1) >= 0;
}

/* More than there are slots, with one kick. */
static void full_ring(bool threads)
{
	struct disk_cfg cfg = {
		.fd = make_image(MIB), .sync = DISK_SYNC_FULL, .queues = 2, .threads = threads
	};
	struct rig r = { 0 };
	unsigned got[2] = { 0 }, n;

	CHECK_EQ(pread(cfg.fd, model, MIB, 0), MIB);
	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	CHECK_EQ(r.v->nqueues, 2);
	n = r.d.q[0].size;
	CHECK(n > LIM_BLK_INFLIGHT);
	for (unsigned i = 0; i < 2 * n; i++) {
		uint8_t *status = add_read(&r, i % 2, i);

		CHECK(status);
		*status = S_NONE;
	}
	for (unsigned q = 0; q < 2; q++)
		CHECK(fake_kick(&r.d, q));
	while (got[0] + got[1] < 2 * n) {
		unsigned q = got[0] < n ? 0 : 1;
		uint16_t head;
		uint32_t len;

		CHECK_EQ(fake_wait(&r.d, q, FAKE_TIMEOUT_MS), 0);
		for (q = 0; q < 2; q++)
			for (; fake_reap(&r.d, q, &head, &len) > 0; got[q]++)
				CHECK_EQ(len, 513);
	}
	CHECK_EQ(r.d.kicks, 2);
	rig_down(&r);
}

static void full_ring_by_ring(void)
{
	full_ring(false);
}

static void full_ring_by_threads(void)
{
	full_ring(true);
}

static void reset_while_busy(void)
{
	for (unsigned i = 0; i < 20; i++) {
		struct disk_cfg cfg = {
			.fd = make_image(MIB), .sync = DISK_SYNC_FULL, .threads = i & 1
		};
		struct rig r = { 0 };

		CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
		for (unsigned k = 0; k < 100; k++)
			CHECK(add_read(&r, 0, k));
		(void)fake_kick(&r.d, 0);
		CHECK(loop_once(r.loop, 1000) >= 0);
		CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
		CHECK_EQ(request(&r, 0, T_IN, 8, NULL, 0, buf, 8192), S_OK);
		rig_down(&r);
	}
}

static void bad_chain_breaks_the_device(void)
{
	struct disk_cfg cfg = { .fd = make_image(MIB), .sync = DISK_SYNC_FULL };
	struct fake_seg s = { 0x1000, 64 }; /* no memory there */
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	CHECK(fake_add(&r.d, 0, NULL, 0, &s, 1) >= 0);
	CHECK(fake_kick(&r.d, 0));
	CHECK_EQ(fake_wait(&r.d, 0, FAKE_TIMEOUT_MS), -EIO);
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	CHECK_EQ(request(&r, 0, T_IN, 8, NULL, 0, buf, 8192), S_OK);
	rig_down(&r);
}

static void saved_and_loaded(void)
{
	struct disk_cfg cfg = { .fd = make_image(MIB), .sync = DISK_SYNC_FULL };
	struct disk_cfg other = { .fd = make_image(2 * MIB), .sync = DISK_SYNC_FULL };
	struct save_out out = { 0 };
	struct rig r = { 0 };
	struct vdev *twin;
	struct save_in s;
	int fd = again(cfg.fd, O_RDWR);

	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	for (unsigned k = 0; k < 100; k++)
		CHECK(add_read(&r, 0, k));
	(void)fake_kick(&r.d, 0);
	CHECK(loop_once(r.loop, 1000) >= 0);
	vdev_pause(r.v);
	CHECK_EQ(vdev_save(r.v, &out), 0);
	/* an image of another size is not that disk */
	CHECK_EQ(blk_new(r.loop, &r.g.mem, &other, &twin, NULL), 0);
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	CHECK(vdev_load(twin, &s) < 0);
	vdev_fini(twin);
	twin->cls->destroy(twin);
	vdev_fini(r.v);
	r.v->cls->destroy(r.v);
	cfg.fd = fd;
	CHECK_EQ(blk_new(r.loop, &r.g.mem, &cfg, &twin, NULL), 0);
	twin->irq = &r.d.irq;
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	CHECK_EQ(vdev_load(twin, &s), 0);
	CHECK_EQ(load_done(&s), 0);
	r.v = r.d.v = r.d.mmio.v = twin;
	vdev_resume(twin);
	for (unsigned n = 0; n < 100;) {
		uint16_t head;
		uint32_t len;

		CHECK_EQ(fake_wait(&r.d, 0, FAKE_TIMEOUT_MS), 0);
		for (; fake_reap(&r.d, 0, &head, &len) > 0; n++)
			CHECK_EQ(len, 513);
	}
	CHECK_EQ(request(&r, 0, T_OUT, 8, model, 8192, NULL, 0), S_OK);
	save_out_free(&out);
	rig_down(&r);
}

/* Its file is not to be exchanged for another, nor anything else be registered. */
static void ring_is_limited(void)
{
	int fd = make_image(MIB), zero = 0;
	struct disk_ring *ring;
	int r = disk_ring_new(fd, 8, &ring);

	if (r) {
		printf("# no io_uring here: %d\n", r);
	} else {
		CHECK(syscall(SYS_io_uring_register, disk_ring_fd(ring), REGISTER_FILES, &zero, 1) <
			0);
		CHECK_EQ(errno, EACCES);
		CHECK(syscall(SYS_io_uring_register, disk_ring_fd(ring), UNREGISTER_FILES, NULL,
			      0) < 0);
		CHECK_EQ(errno, EACCES);
		disk_ring_free(ring);
	}
	(void)close(fd);
}

/* What a copy of the image holds, as somebody else would read it now. */
static int read_copy(int fd, uint64_t off, uint8_t *p, size_t n)
{
	struct disk_cfg cfg = { .fd = copy_of(fd), .format = DISK_QCOW2, .readonly = true };
	struct iovec v = { p, n };
	struct iobuf b;
	struct disk *d;
	int r = disk_open(&cfg, &d, NULL);

	if (r)
		return r;
	iobuf_init(&b, &v, 1);
	r = disk_run(d, DISK_READ, &b, off, n);
	disk_close(d);
	return r;
}

/* A write that was answered and never flushed is in the image once the device is paused. */
static void qcow2_paused(void)
{
	struct disk_cfg cfg = { .fd = make_qcow2(MIB, 16), .sync = DISK_SYNC_FULL };
	struct rig r = { 0 };
	int fd = again(cfg.fd, O_RDONLY);

	cfg.format = DISK_QCOW2;
	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	memset(model, 0x6b, 8192);
	CHECK_EQ(request(&r, 0, T_OUT, 8, model, 8192, NULL, 0), S_OK);
	CHECK_EQ(read_copy(fd, 4096, buf, 8192), 0);
	CHECK(memcmp(buf, model, 8192) != 0);
	vdev_pause(r.v);
	CHECK_EQ(read_copy(fd, 4096, buf, 8192), 0);
	CHECK(!memcmp(buf, model, 8192));
	vdev_resume(r.v);
	CHECK_EQ(request(&r, 0, T_IN, 8, NULL, 0, buf, 8192), S_OK);
	CHECK(!memcmp(buf, model, 8192));
	rig_down(&r);
	(void)close(fd);
}

/* An operation of the threads that ends while nobody listens is not heard of for ever after. */
static void quiet_after_pause(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL, .format = DISK_QCOW2 };
	struct rig r = { 0 };
	unsigned stirs = 0;

	for (unsigned i = 0; i < 20; i++) {
		cfg.fd = make_qcow2(MIB, 16);
		cfg.threads = i & 1;
		CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
		/* wholly new: aside */
		CHECK_EQ(request(&r, 0, T_OUT, 8, model, 8192, NULL, 0), S_OK);
		CHECK(add_flush(&r));
		(void)fake_kick(&r.d, 0);
		CHECK(loop_once(r.loop, 1000) >= 0);
		if (i & 2) {
			vdev_pause(r.v);
			vdev_resume(r.v);
		} else {
			CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
		}
		while (loop_once(r.loop, 0) > 0 && ++stirs < 1000)
			;
		CHECK(stirs < 1000);
		stirs = 0;
		CHECK_EQ(loop_once(r.loop, 20), 0);
		rig_down(&r);
	}
}

/* An image that ends within a block of the medium, and one whose clusters are smaller. */
static void qcow2_direct(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL, .format = DISK_QCOW2, .direct = true };
	struct error e = { 0 };
	struct rig r = { 0 };
	struct disk *d;
	uint8_t p[4096], want[4096] = { 0 };

	cfg.fd = make_qcow2(MIB, 16);
	if (disk_open(&cfg, &d, &e)) {
		CHECK(strstr(e.msg, "no direct I/O"));
		return;
	}
	disk_close(d);
	for (unsigned i = 0; i < 2; i++) {
		int fd = make_qcow2(MIB, 16);

		cfg.threads = i;
		cfg.fd = again(fd, O_RDWR);
		CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
		memset(p, 0x77, 4096);
		CHECK_EQ(one_page(&r, true, 0, p), S_OK);
		CHECK_EQ(ftruncate(fd, (5 << 16) + 700), 0);
		CHECK_EQ(one_page(&r, false, 0, p), S_OK);
		memset(want, 0x77, 700);
		CHECK(!memcmp(p, want, 4096));
		rig_down(&r);
		(void)close(fd);
	}
	cfg.fd = make_qcow2(MIB, 11);
	CHECK_EQ(disk_open(&cfg, &d, &e), -ENOTSUP);
	CHECK(strstr(e.msg, "clusters of 2048 bytes"));
}

/* The ring's descriptor becomes another: what the kernel says no to from then on. */
static bool break_ring(int null)
{
	for (int fd = 3; fd < 60; fd++) {
		char path[32], to[64];
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		to[MAX(n, 0)] = 0;
		if (strstr(to, "io_uring"))
			return dup3(null, fd, O_CLOEXEC) == fd;
	}
	return false;
}

static void ring_fails(void)
{
	struct disk_cfg cfg = { .fd = make_image(MIB), .sync = DISK_SYNC_FULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct rig r = { 0 };

	CHECK_EQ(pread(cfg.fd, model, MIB, 0), MIB);
	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	if (break_ring(null)) {
		(void)alarm(60);
		for (unsigned i = 0; i < 3; i++) {
			CHECK_EQ(request(&r, 0, T_IN, 8, NULL, 0, buf, 8192), S_OK);
			CHECK(!memcmp(buf, model + 4096, 8192));
			CHECK_EQ(request(&r, 0, T_OUT, 64, model, 8192, NULL, 0), S_OK);
			CHECK_EQ(request(&r, 0, T_FLUSH, 0, NULL, 0, NULL, 0), S_OK);
		}
		CHECK_EQ(request(&r, 0, T_IN, 64, NULL, 0, buf, 8192), S_OK);
		CHECK(!memcmp(buf, model, 8192));
		for (unsigned k = 0; k < 100; k++)
			CHECK(add_read(&r, 0, k));
		(void)fake_kick(&r.d, 0);
		vdev_pause(r.v);
		vdev_resume(r.v);
		(void)alarm(0);
	}
	rig_down(&r);
	(void)close(null);
}

/* No file of a VM beside an image that lacks what its guest was told is there. */
static void not_saved(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL };
	struct rig r = { 0 };

	for (unsigned i = 0; i < 3; i++) {
		struct save_out out = { 0 };

		cfg.format = i ? DISK_QCOW2 : DISK_RAW;
		cfg.threads = true;
		cfg.fd = i ? make_qcow2(MIB, 16) : make_image(MIB);
		CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
		CHECK_EQ(request(&r, 0, T_OUT, 8, model, 8192, NULL, 0), S_OK);
		bad_syncs = i < 2;
		if (i == 0)
			CHECK_EQ(request(&r, 0, T_FLUSH, 0, NULL, 0, NULL, 0), S_IOERR);
		vdev_pause(r.v);
		CHECK_EQ(bad_syncs, 0);
		CHECK_EQ(vdev_save(r.v, &out), i < 2 ? -EIO : 0);
		save_out_free(&out);
		rig_down(&r);
	}
}

/* The kernel tells of what it could not write once: the guest's next flush must not succeed. */
static void failed_sync(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL, .threads = true };
	struct rig r = { 0 };

	for (unsigned i = 0; i < 4; i++) {
		bool through = i & 1;

		cfg.format = i & 2 ? DISK_QCOW2 : DISK_RAW;
		cfg.fd = i & 2 ? make_qcow2(MIB, 16) : make_image(MIB);
		CHECK_EQ(rig_up(&r, &cfg, through ? ALL_FEATURES & ~BLK_F_FLUSH : ALL_FEATURES), 0);
		CHECK_EQ(request(&r, 0, T_OUT, 8, model, 8192, NULL, 0), S_OK);
		bad_syncs = 1;
		CHECK_EQ(request(&r, 0, through ? T_OUT : T_FLUSH, 8, model, through ? 512 : 0,
				 NULL, 0),
			S_IOERR);
		CHECK_EQ(bad_syncs, 0);
		for (unsigned k = 0; k < 3; k++)
			CHECK_EQ(request(&r, 0, T_FLUSH, 0, NULL, 0, NULL, 0), S_IOERR);
		CHECK_EQ(request(&r, 0, T_OUT, 8, model, 8192, NULL, 0),
			through || (i & 2) ? S_IOERR : S_OK);
		CHECK_EQ(request(&r, 0, T_IN, 8, NULL, 0, buf, 8192), S_OK);
		CHECK(!memcmp(buf, model, 8192));
		rig_down(&r);
	}
}

/* Tables that find no room fail a flush, not the disk: with room again the next one is good. */
static void no_room_for_tables(void)
{
	struct disk_cfg cfg = { .sync = DISK_SYNC_FULL, .threads = true, .format = DISK_QCOW2 };
	struct rig r = { 0 };
	int fd;

	cfg.fd = make_qcow2(MIB, 16);
	fd = again(cfg.fd, O_RDONLY);
	CHECK_EQ(rig_up(&r, &cfg, ALL_FEATURES), 0);
	memset(model, 0x5a, 8192);
	CHECK_EQ(request(&r, 0, T_OUT, 8, model, 8192, NULL, 0), S_OK);
	no_room = true;
	CHECK_EQ(request(&r, 0, T_FLUSH, 0, NULL, 0, NULL, 0), S_IOERR);
	no_room = false;
	CHECK_EQ(request(&r, 0, T_OUT, 64, model, 8192, NULL, 0), S_OK);
	CHECK_EQ(request(&r, 0, T_FLUSH, 0, NULL, 0, NULL, 0), S_OK);
	CHECK_EQ(read_copy(fd, 4096, buf, 8192), 0);
	CHECK(!memcmp(buf, model, 8192));
	rig_down(&r);
	(void)close(fd);
}

static const struct test_case cases[] = {
	TEST(ring_is_limited),
	TEST(model_ring),
	TEST(model_threads),
	TEST(model_write_through),
	TEST(model_no_sync),
	TEST(model_direct),
	TEST(config_says),
	TEST(what_makes_no_sense),
	TEST(too_many_buffers),
	TEST(read_only),
	TEST(one_writer),
	TEST(images_that_are_none),
	TEST(image_cut_short),
	TEST(host_says_no),
	TEST(full_ring_by_ring),
	TEST(full_ring_by_threads),
	TEST(reset_while_busy),
	TEST(bad_chain_breaks_the_device),
	TEST(saved_and_loaded),
	TEST(qcow2_paused),
	TEST(quiet_after_pause),
	TEST(failed_sync),
	TEST(no_room_for_tables),
	TEST(not_saved),
	TEST(qcow2_direct),
	TEST(ring_fails),
};

TEST_MAIN(cases)
