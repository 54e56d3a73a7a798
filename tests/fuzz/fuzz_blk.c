// SPDX-License-Identifier: Apache-2.0
// A hostile driver of virtio-blk: requests of any shape on a raw disk or a qcow2 image,
// resets, saves.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dev/blk.h"
#include "fake/empty_qcow2.h"
#include "fake/fake_guest.h"
#include "fuzz/fuzz.h"
#include "util/bytes.h"

#define DISK_BYTES   (256U << 10)
#define CLUSTER_BITS 12
#define BEYOND	     0xa5 /* what the file holds behind the disk's end: never read or written */

static struct fake_guest g;
static struct fake_dev d;
static struct loop *loop;
static struct vdev *v;
static struct disk_cfg cfg;
static int raw = -1, qcow2 = -1, image = -1; /* the last: one of them */

static int image_fd(void)
{
	char path[48];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", image);
	return open(path, O_RDWR | O_CLOEXEC);
}

static void chain(struct fuzz_in *in)
{
	unsigned q = fuzz_u8(in) % v->nqueues, how = fuzz_u8(in), nout = how % 4, nin = how / 4 % 4;
	struct fake_seg seg[8];
	uint8_t *h;

	for (unsigned i = 0; i < nout + nin; i++) {
		seg[i] = (struct fake_seg){ FAKE_RAM_GPA + (1U << 20) + fuzz_u16(in),
			fuzz_u16(in) & (how & 64 ? 0xfe00 : 0xffff) };
	}
	if (nout) {
		/* mostly a header; the sector near the disk */
		if (!(how & 128))
			seg[0].len = 16;
		h = fake_ptr(&g, GPA(seg[0].gpa), 40);
		put_le32(h, fuzz_u8(in) % 16);
		put_le64(h + 8, how & 32 ? fuzz_u32(in) << (how & 16) : fuzz_u16(in) % 600);
		/* and a range to go with it */
		put_le64(h + 16, fuzz_u16(in));
		put_le32(h + 24, fuzz_u16(in));
		put_le32(h + 28, fuzz_u8(in) % 4);
	}
	if (nin && !(how & 128))
		seg[nout + nin - 1].len |= 1;
	if (!d.q[q].size)
		return;
	(void)fake_add(&d, q, seg, nout, seg + nout, nin);
	(void)fake_kick(&d, q);
}

/* Another driver, whose rings are where its predecessor's were. */
static void start(void)
{
	g.used = 0;
	(void)fake_dev_start(&d, ~0ULL);
}

static void save_and_load(struct fuzz_in *in)
{
	struct save_out out = { 0 };
	struct save_in s;
	struct vdev *twin;
	bool spoil = fuzz_u8(in) & 1;

	vdev_pause(v);
	FUZZ_CHECK(!vdev_save(v, &out));
	vdev_fini(v);
	v->cls->destroy(v);
	if (spoil && out.len)
		out.buf[fuzz_u16(in) % out.len] ^= fuzz_u8(in);
	cfg.fd = image_fd();
	FUZZ_CHECK(!blk_new(loop, &g.mem, &cfg, &twin, NULL));
	twin->irq = &d.irq;
	v = d.v = d.mmio.v = twin;
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	if (vdev_load(v, &s)) {
		FUZZ_CHECK(spoil);
		vdev_fini(v);
		v->cls->destroy(v);
		cfg.fd = image_fd();
		FUZZ_CHECK(!blk_new(loop, &g.mem, &cfg, &v, NULL));
		v->irq = &d.irq;
		d.v = d.mmio.v = v;
		start();
	} else {
		vdev_resume(v);
	}
	save_out_free(&out);
}

static void reap(void)
{
	uint16_t head;
	uint32_t len;

	fake_poll(&d);
	for (unsigned q = 0; q < v->nqueues; q++)
		while (d.q[q].size && fake_reap(&d, q, &head, &len) == 1)
			;
}

/* The bytes behind the disk's end, which its last half block belongs to, are as they were. */
static void look_behind(void)
{
	uint8_t tail[256];

	FUZZ_CHECK(pread(raw, tail, sizeof(tail), DISK_BYTES) == sizeof(tail));
	for (unsigned i = 0; i < sizeof(tail); i++)
		FUZZ_CHECK(tail[i] == BEYOND);
}

/* Whatever the driver did, the image is one that may be written again, and not marked. */
static void look_at_qcow2(void)
{
	uint8_t incompatible[8];
	struct disk *disk;

	cfg.fd = image_fd();
	FUZZ_CHECK(!disk_open(&cfg, &disk, NULL));
	disk_close(disk);
	FUZZ_CHECK(pread(image, incompatible, 8, 72) == 8);
	FUZZ_CHECK(!memcmp(incompatible, "\0\0\0\0\0\0\0", 8));
}

static void set_up(void)
{
	uint8_t tail[256];

	FUZZ_CHECK(!fake_guest_init(&g, 4U << 20));
	mem_freeze(&g.mem);
	raw = memfd_create("raw", MFD_CLOEXEC);
	qcow2 = memfd_create("qcow2", MFD_CLOEXEC);
	memset(tail, BEYOND, sizeof(tail));
	FUZZ_CHECK(!ftruncate(raw, DISK_BYTES));
	FUZZ_CHECK(pwrite(raw, tail, sizeof(tail), DISK_BYTES) == sizeof(tail));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	unsigned how = fuzz_u8(&in);

	if (raw < 0)
		set_up();
	g.used = 0;
	image = how & 64 ? qcow2 : raw;
	if (how & 64)
		FUZZ_CHECK(!ftruncate(image, 0) && !empty_qcow2(image, DISK_BYTES, CLUSTER_BITS));
	cfg = (struct disk_cfg){ .fd = image_fd(),
		.format = how & 64 ? DISK_QCOW2 : DISK_RAW,
		.sync = how & 1 ? DISK_SYNC_FULL : DISK_SYNC_NONE,
		.readonly = how & 2,
		.threads = (how & 12) != 12,
		.queues = 1 + how / 16 % 4 };
	FUZZ_CHECK(!loop_new("fuzz", &loop, NULL));
	FUZZ_CHECK(!blk_new(loop, &g.mem, &cfg, &v, NULL));
	FUZZ_CHECK(!fake_dev_init(&d, &g, v));
	d.pump = loop;
	FUZZ_CHECK(!fake_dev_start(&d, ~(how & 128 ? 1ULL << 29 | BLK_F_FLUSH : 0)));
	while (in.left) {
		switch (fuzz_u8(&in) % 16) {
		case 0:
			save_and_load(&in);
			break;
		case 1:
			start();
			break;
		case 2:
			vdev_pause(v);
			vdev_resume(v);
			break;
		default:
			chain(&in);
			break;
		}
		reap();
	}
	fake_dev_reset(&d);
	vdev_fini(v);
	v->cls->destroy(v);
	fake_dev_fini(&d);
	loop_free(loop);
	if (how & 64)
		look_at_qcow2();
	look_behind();
	return 0;
}
