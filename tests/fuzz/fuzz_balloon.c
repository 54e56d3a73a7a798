// SPDX-License-Identifier: Apache-2.0
// A hostile driver around a balloon: chains on any queue, config writes, resets, the host's
// questions, and the device saved and loaded in between.

#include "core/limits.h"
#include "dev/dev.h"
#include "fake/fake_guest.h"
#include "fuzz/fuzz.h"
#include "util/bytes.h"

#define QUEUES 5
#define RAM    (8U << 20)

static struct fake_guest g;
static struct fake_dev d;
static struct loop *loop;
static struct vdev *v;

static void chain(struct fuzz_in *in)
{
	unsigned q = fuzz_u8(in) % QUEUES, how = fuzz_u8(in), n = how % 4, w = how / 4 % 4;
	struct fake_seg seg[8];

	for (unsigned i = 0; i < n + w; i++) {
		/* beyond the rings, and now and then beyond all memory */
		seg[i].gpa = FAKE_RAM_GPA + (1U << 20) + fuzz_u16(in) * (how & 32 ? 4096ULL : 16);
		seg[i].len = fuzz_u16(in) * (how & 64 ? 4096U : 1);
	}
	if (n && !(how & 128)) {
		uint8_t *p = fake_ptr(&g, GPA(FAKE_RAM_GPA + (1U << 20)), 256);

		seg[0].gpa = FAKE_RAM_GPA + (1U << 20);
		seg[0].len = fuzz_u8(in);
		for (unsigned i = 0; i + 4 <= 256 && in->left; i += 4)
			put_le32(p + i,
				fuzz_u8(in) % 16
					? (uint32_t)(FAKE_RAM_GPA >> 12) + 256 + fuzz_u8(in) * 4U
					: fuzz_u32(in));
	}
	if (!d.q[q].size)
		return;
	(void)fake_add(&d, q, seg, n, seg + n, w);
	(void)fake_kick(&d, q);
}

static void reap(void)
{
	uint16_t head;
	uint32_t len;

	for (unsigned q = 0; q < QUEUES; q++)
		while (d.q[q].size && fake_reap(&d, q, &head, &len) > 0)
			;
}

static void save_and_load(void)
{
	struct save_out out = { 0 };
	struct save_in in;
	struct vdev *twin;

	vdev_pause(v);
	FUZZ_CHECK(!vdev_save(v, &out));
	FUZZ_CHECK(!balloon_new(loop, &g.mem, &twin, NULL));
	twin->irq = v->irq;
	in = (struct save_in){ .buf = out.buf, .len = out.len };
	FUZZ_CHECK(!vdev_load(twin, &in) && !load_done(&in));
	save_out_free(&out);
	vdev_fini(v);
	v->cls->destroy(v);
	v = d.v = d.mmio.v = twin;
	vdev_resume(v);
}

/* A saved form that somebody has changed is refused, or makes a device that can be used. */
static void load_changed(struct fuzz_in *in)
{
	struct save_out out = { 0 };
	struct save_in from;
	struct vdev *twin;

	vdev_pause(v);
	FUZZ_CHECK(!vdev_save(v, &out));
	for (unsigned n = fuzz_u8(in) % 4 + 1; n; n--)
		out.buf[fuzz_u16(in) % out.len] ^= (uint8_t)(1U << fuzz_u8(in) % 8);
	FUZZ_CHECK(!balloon_new(loop, &g.mem, &twin, NULL));
	twin->irq = v->irq;
	from = (struct save_in){ .buf = out.buf, .len = out.len };
	if (!vdev_load(twin, &from)) {
		vdev_resume(twin);
		(void)loop_once(loop, 0);
	}
	save_out_free(&out);
	vdev_fini(twin);
	twin->cls->destroy(twin);
	vdev_resume(v);
}

static void step(struct fuzz_in *in)
{
	struct balloon_stats s;
	uint8_t b[8];
	unsigned what = fuzz_u8(in), off;

	switch (what % 12) {
	case 0:
		balloon_set(v, (uint64_t)fuzz_u16(in) << 12);
		break;
	case 1:
	case 2:
		(void)balloon_ask(v, &s);
		FUZZ_CHECK(s.target <= (uint64_t)UINT16_MAX << 12);
		break;
	case 3:
		off = fuzz_u8(in) % 12;
		fuzz_bytes(in, b, sizeof(b));
		fake_cfg_write(&d, off, b, fuzz_u8(in) % 8);
		break;
	case 4:
		if (!(what & 128))
			break;
		g.used = 0;
		(void)fake_dev_start(&d, (uint64_t)fuzz_u8(in) | ~0xffULL);
		break;
	case 5:
		save_and_load();
		break;
	case 6:
		load_changed(in);
		break;
	default:
		chain(in);
	}
	fake_poll(&d);
	reap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };

	if (!g.lo) {
		FUZZ_CHECK(!fake_guest_init(&g, RAM));
		mem_freeze(&g.mem);
	}
	g.used = 0;
	FUZZ_CHECK(!loop_new("fuzz", &loop, NULL));
	FUZZ_CHECK(!balloon_new(loop, &g.mem, &v, NULL) && !fake_dev_init(&d, &g, v));
	d.pump = loop;
	FUZZ_CHECK(!fake_dev_start(&d, ~0ULL));
	for (unsigned i = 0; in.left && i < 64; i++)
		step(&in);
	vdev_fini(v);
	v->cls->destroy(v);
	fake_dev_fini(&d);
	loop_free(loop);
	return 0;
}
