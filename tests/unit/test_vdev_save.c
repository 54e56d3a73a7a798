// SPDX-License-Identifier: Apache-2.0
/* Device core: pause and resume, save and load, and a saved form that somebody has changed. */
/*
 * How it works
 *
 * The driver's side goes on while the device under it is replaced by one that was loaded from what
 * the first one saved.
 */
#include <errno.h>

#include "unit/test.h"
#include "unit/vdev_rig.h"

static struct rig T; /* zeroed by rig_init() each time */

static void pausing(void)
{
	struct fake_seg o = { 0, 8 };
	char back[16];
	unsigned kicks;

	rig_init(&T, false);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	CHECK_EQ(xfer(&T, 0, "one", back, sizeof(back)), 4);
	vdev_pause(&T.e.v);
	vdev_pause(&T.e.v);
	CHECK_EQ(T.e.pauses, 1);
	CHECK(T.e.paused);
	kicks = T.e.kicks;
	o.gpa = fake_alloc(&T.g, 8, 8).v;
	CHECK(fake_add(&T.d, 0, &o, 1, NULL, 0) >= 0);
	CHECK(fake_kick(&T.d, 0));
	fake_poll(&T.d);
	CHECK_EQ(T.e.kicks, kicks);
	vdev_resume(&T.e.v);
	vdev_resume(&T.e.v);
	CHECK_EQ(T.e.pauses, 2);
	CHECK_EQ(fake_wait(&T.d, 0, FAKE_TIMEOUT_MS), 0);
	rig_fini(&T);
}

/* Makes a second device over the guest's memory and gives it the first one's state. */
static int reload(struct rig *t, struct echo *e2, const struct vdev_class *cls)
{
	struct save_out s = { 0 };
	struct save_in in;
	int r;

	vdev_pause(&t->e.v);
	r = vdev_save(&t->e.v, &s);
	mmio_save(&t->d.mmio, &s);
	memset(e2, 0, sizeof(*e2));
	if (vdev_init(&e2->v, cls, 0, t->loop, &t->g.mem, NULL))
		abort();
	e2->v.irq = &t->d.irq;
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	if (!r)
		r = vdev_load(&e2->v, &in);
	if (!r)
		r = mmio_load(&t->d.mmio, &in);
	if (!r)
		r = load_done(&in);
	save_out_free(&s);
	t->d.v = &e2->v;
	t->d.mmio.v = &e2->v;
	return r;
}

static void save_load(void)
{
	static struct echo e2;
	char back[16];

	rig_init(&T, false);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	for (unsigned i = 0; i < 11; i++)
		CHECK_EQ(xfer(&T, 0, "one", back, sizeof(back)), 4);
	T.e.secret = 0xabad1dea;
	fake_reg_write(&T.d, 0x30, 1);
	CHECK_EQ(reload(&T, &e2, &echo_class), 0);
	CHECK_EQ(e2.secret, 0xabad1dea);
	CHECK(e2.starts == 0 && e2.loads == 1 && e2.paused);
	CHECK_EQ(e2.v.status, 15);
	vdev_resume(&e2.v);
	CHECK(!e2.paused);
	CHECK_EQ(fake_reg_read(&T.d, 0x34), 16);
	for (unsigned i = 0; i < 11; i++)
		CHECK_EQ(xfer(&T, i % 2, "two", back, sizeof(back)), 4);
	fake_dev_reset(&T.d);
	CHECK_EQ(e2.stops, 1);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	CHECK_EQ(e2.starts, 1);
	vdev_fini(&e2.v);
	rig_fini(&T);
}

/* Requests in flight are popped again by the new device, if the class says that this is right. */
static void save_inflight(void)
{
	static struct echo e2;
	static struct vdev_class strict;
	struct fake_seg o[5];
	uint16_t head, seen = 0;
	uint32_t len;

	rig_init(&T, false);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	T.e.hold = true;
	for (unsigned i = 0; i < 5; i++) {
		o[i] = (struct fake_seg){ fake_alloc(&T.g, 8, 8).v, 8 };
		CHECK(fake_add(&T.d, 1, &o[i], 1, NULL, 0) >= 0);
	}
	CHECK(fake_kick(&T.d, 1));
	fake_poll(&T.d);
	CHECK_EQ(T.e.v.vq[1].inflight, 5);
	strict = echo_class;
	strict.redo = false;
	T.e.v.cls = &strict;
	CHECK_EQ(reload(&T, &e2, &strict), -EBUSY);
	vdev_fini(&e2.v);
	T.e.v.cls = &echo_class;
	CHECK_EQ(reload(&T, &e2, &echo_class), 0);
	CHECK_EQ(e2.v.vq[1].nredo, 5);
	vdev_resume(&e2.v);
	CHECK_EQ(fake_wait(&T.d, 1, FAKE_TIMEOUT_MS), 0);
	while (fake_reap(&T.d, 1, &head, &len) == 1)
		seen++;
	CHECK_EQ(seen, 5);
	vdev_fini(&e2.v);
	rig_fini(&T);
}

/* Every truncation and every changed byte of a saved device is refused or gives a device that can
 * be reset. */
static void save_hostile(void)
{
	struct save_out s = { 0 };
	static struct echo e2;
	char back[16];

	rig_init(&T, false);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	CHECK_EQ(xfer(&T, 0, "one", back, sizeof(back)), 4);
	vdev_pause(&T.e.v);
	CHECK_EQ(vdev_save(&T.e.v, &s), 0);
	for (size_t i = 0; i < s.len * 3; i++) {
		struct save_in in = { .buf = s.buf, .len = i < s.len ? i : s.len };
		int r;

		if (i >= s.len)
			s.buf[(i - s.len) / 2] ^= i & 1 ? 0xff : 1;
		memset(&e2, 0, sizeof(e2));
		CHECK_EQ(vdev_init(&e2.v, &echo_class, 0, T.loop, &T.g.mem, NULL), 0);
		e2.v.irq = &T.d.irq;
		r = vdev_load(&e2.v, &in);
		CHECK(i >= s.len || r);
		if (!r) {
			CHECK(!(e2.v.status & 8) || !(e2.v.acked & ~e2.v.offered));
			CHECK(!e2.v.running || (e2.v.status & 12) == 12);
			vdev_resume(&e2.v);
			(void)loop_once(T.loop, 0);
		}
		vdev_fini(&e2.v);
		if (i >= s.len)
			s.buf[(i - s.len) / 2] ^= i & 1 ? 0xff : 1;
	}
	save_out_free(&s);
	rig_fini(&T);
}

static const struct test_case cases[] = {
	TEST(pausing),
	TEST(save_load),
	TEST(save_inflight),
	TEST(save_hostile),
};

TEST_MAIN(cases)
