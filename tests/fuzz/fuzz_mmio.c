// SPDX-License-Identifier: Apache-2.0
/* A guest that writes any register with anything, and its memory as well; the device core must hold
 * its invariants. */
/*
 * How it works
 *
 * The input is a program of register accesses, some of them grouped into what a driver does, so
 * that the device gets to run; memory writes; pauses; and save and load into a fresh device. The
 * device asserts in its callbacks what the core promises it.
 */
#include <errno.h>

#include "fake/fake_guest.h"
#include "fuzz/fuzz.h"
#include "util/bytes.h"

#define RAM 0x8000

struct dev {
	struct vdev v;
	unsigned started; /* between start and stop */
	struct vq_req req;
};

static struct dev *dev_of(struct vdev *v)
{
	return CONTAINER_OF(v, struct dev, v);
}

static int dev_start(struct vdev *v)
{
	struct dev *d = dev_of(v);

	FUZZ_CHECK(!d->started++);
	FUZZ_CHECK(v->running && (vdev_status(v) & 12) == 12);
	FUZZ_CHECK(!(v->acked & ~v->offered) && vdev_has(v, VDEV_F_VERSION_1));
	return 0;
}

static void dev_stop(struct vdev *v)
{
	FUZZ_CHECK(dev_of(v)->started-- == 1);
}

static void dev_kick(struct vdev *v, unsigned q)
{
	struct dev *d = dev_of(v);
	uint8_t b[32];
	int n;

	FUZZ_CHECK(d->started && q < v->nqueues && v->vq[q].ready && !v->paused);
	while ((n = vq_pop(&v->vq[q], &d->req)) == 1) {
		size_t len = iobuf_peek(&d->req.rd, b, sizeof(b));

		(void)!iobuf_push(&d->req.wr, b, MIN(len, d->req.wr.left));
		vq_push(&v->vq[q], d->req.head, (uint32_t)d->req.wr.done);
	}
	if (n < 0)
		vdev_broken(v, "bad chain");
	vdev_flush(v, q);
}

static void dev_cfg_write(struct vdev *v, uint32_t off, const uint8_t *data, unsigned len)
{
	FUZZ_CHECK(range_ok(off, len, v->cls->cfg_len));
	vdev_cfg_lock(v);
	memcpy(v->cfg + off, data, len);
	vdev_cfg_unlock(v);
}

static const uint16_t sizes[] = { 4, 8, 8 };
static const struct vdev_class cls = {
	.name = "fuzz",
	.id = 1,
	.features = 1,
	.nqueues = 3,
	.qsizes = sizes,
	.cfg_len = 12,
	.start = dev_start,
	.kick = dev_kick,
	.stop = dev_stop,
	.cfg_write = dev_cfg_write,
};

/* Where a queue can be: near the beginning of RAM, else the input decides. */
static void queue_writes(struct fake_dev *d, struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t base = (uint32_t)FAKE_RAM_GPA + (how >> 4) * 0x100U;

	fake_reg_write(d, 0x30, how & 3);
	fake_reg_write(d, 0x38, 4);
	fake_reg_write(d, 0x80, base);
	fake_reg_write(d, 0x90, base + 0x40);
	fake_reg_write(d, 0xa0, base + 0x50);
	fake_reg_write(d, 0x44, 1);
}

/* A copy of the device goes on in its place. */
static void save_and_load(struct fake_dev *d)
{
	struct save_out s = { 0 };
	struct vdev *v = d->v;
	struct save_in in;
	struct dev *n = calloc(1, sizeof(*n));
	int r;

	FUZZ_CHECK(n != NULL);
	vdev_pause(v);
	FUZZ_CHECK(!vdev_save(v, &s));
	FUZZ_CHECK(!vdev_init(&n->v, &cls, 0, v->loop, v->mem, NULL));
	n->v.irq = v->irq;
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	r = vdev_load(&n->v, &in);
	FUZZ_CHECK(r == 0);
	FUZZ_CHECK(n->v.running == v->running && n->v.status == v->status);
	save_out_free(&s);
	vdev_fini(v);
	FUZZ_CHECK(!dev_of(v)->started);
	free(dev_of(v));
	d->v = d->mmio.v = &n->v;
	vdev_resume(&n->v);
}

static void one(struct fake_dev *d, struct fuzz_in *in)
{
	static const uint8_t regs[] = { 0x10, 0x14, 0x20, 0x24, 0x30, 0x34, 0x38, 0x44, 0x50, 0x60,
		0x64, 0x70, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xac, 0xb0, 0xb8, 0xfc };
	uint8_t op = fuzz_u8(in), b[8];
	unsigned len = 1U << (op >> 4 & 3), off;

	switch (op & 15) {
	case 0:
		fake_reg_write(d, regs[fuzz_u8(in) % sizeof(regs)], fuzz_u32(in));
		break;
	case 1:
		(void)fake_reg_read(d, regs[fuzz_u8(in) % sizeof(regs)]);
		break;
	case 2:
		off = fuzz_u16(in) % (MMIO_LEN - len + 1);
		fuzz_bytes(in, b, len);
		mmio_bus_ops.write(&d->mmio, off, b, len);
		break;
	case 3:
		off = fuzz_u16(in) % (MMIO_LEN - len + 1);
		mmio_bus_ops.read(&d->mmio, off, b, len);
		break;
	case 4:
		(void)fake_dev_negotiate(d, ~(uint64_t)(op >> 4) << 28 | 1ULL << 32);
		break;
	case 5:
		queue_writes(d, in);
		break;
	case 6:
		fake_reg_write(d, 0x70, fuzz_u8(in));
		break;
	case 7:
		fake_reg_write(d, 0x50, op >> 4);
		break;
	case 8:
		fake_poll(d);
		break;
	case 9:
		fuzz_bytes(in, d->g->lo + fuzz_u8(in) * 8, 16);
		break;
	case 10:
		vdev_pause(d->v);
		fake_poll(d);
		vdev_resume(d->v);
		break;
	case 11:
		save_and_load(d);
		break;
	default:
		put_le16(d->g->lo + (op >> 4) * 0x100U + 0x42, (uint16_t)(op & 3));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	struct dev *dev = calloc(1, sizeof(*dev));
	static struct loop *loop;
	struct fake_guest g;
	struct fake_dev d;

	if (!loop)
		FUZZ_CHECK(!loop_new("fuzz", &loop, NULL));
	FUZZ_CHECK(dev && !fake_guest_init(&g, RAM));
	FUZZ_CHECK(!vdev_init(&dev->v, &cls, 0, loop, &g.mem, NULL));
	FUZZ_CHECK(!fake_dev_init(&d, &g, &dev->v));
	d.pump = loop;
	for (unsigned i = 0; in.left && i < 200; i++) {
		one(&d, &in);
		FUZZ_CHECK(d.v->running == (dev_of(d.v)->started == 1));
		FUZZ_CHECK(!(vdev_status(d.v) & 4) || (vdev_status(d.v) & 8));
		FUZZ_CHECK(vdev_is_broken(d.v) == !!(vdev_status(d.v) & 64));
	}
	vdev_fini(d.v);
	FUZZ_CHECK(!dev_of(d.v)->started);
	free(dev_of(d.v));
	fake_dev_fini(&d);
	fake_guest_fini(&g);
	return 0;
}
