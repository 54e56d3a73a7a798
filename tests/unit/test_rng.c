// SPDX-License-Identifier: Apache-2.0
// virtio-rng driven from the guest's side.

#include <errno.h>

#include "dev/dev.h"
#include "fake/fake_guest.h"
#include "unit/test.h"

#define ALL_FEATURES (~0ULL)

struct rig {
	struct fake_guest g;
	struct fake_dev d;
	struct loop *loop;
	struct vdev *v;
};

static int rig_up(struct rig *r, uint64_t features)
{
	if (fake_guest_init(&r->g, 16U << 20) || loop_new("test", &r->loop, NULL) ||
		rng_new(r->loop, &r->g.mem, &r->v, NULL) || fake_dev_init(&r->d, &r->g, r->v))
		return -1;
	mem_freeze(&r->g.mem);
	r->d.pump = r->loop;
	return fake_dev_start(&r->d, features);
}

static void rig_down(struct rig *r)
{
	vdev_fini(r->v);
	r->v->cls->destroy(r->v);
	fake_dev_fini(&r->d);
	loop_free(r->loop);
	fake_guest_fini(&r->g);
}

/* Bytes that differ from zero: of 4096 random ones about 16 do not. */
static unsigned nonzero(const uint8_t *p, size_t n)
{
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += p[i] != 0;
	return sum;
}

static void fills_all_pieces(void)
{
	static uint8_t a[100], b[4096], c[1];
	struct fake_in in[] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, ALL_FEATURES), 0);
	CHECK_EQ(fake_guest_xfer(&r.d, 0, NULL, 0, in, 3), sizeof(a) + sizeof(b) + sizeof(c));
	CHECK(nonzero(a, sizeof(a)) > 80);
	CHECK(nonzero(b, sizeof(b)) > 4000);
	rig_down(&r);
}

static void two_requests_differ(void)
{
	static uint8_t a[64], b[64];
	struct fake_in in_a = { a, sizeof(a) }, in_b = { b, sizeof(b) };
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, 1ULL << 32), 0);
	CHECK_EQ(fake_guest_xfer(&r.d, 0, NULL, 0, &in_a, 1), 64);
	CHECK_EQ(fake_guest_xfer(&r.d, 0, NULL, 0, &in_b, 1), 64);
	CHECK(memcmp(a, b, sizeof(a)));
	rig_down(&r);
}

static void request_is_capped(void)
{
	static uint8_t a[LIM_RNG_REQUEST * 3];
	struct fake_in in = { a, sizeof(a) };
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, ALL_FEATURES), 0);
	CHECK_EQ(fake_guest_xfer(&r.d, 0, NULL, 0, &in, 1), LIM_RNG_REQUEST);
	CHECK(nonzero(a, LIM_RNG_REQUEST) > LIM_RNG_REQUEST * 9 / 10);
	CHECK_EQ(nonzero(a + LIM_RNG_REQUEST, LIM_RNG_REQUEST * 2), 0);
	rig_down(&r);
}

static void request_without_room(void)
{
	struct fake_out out = { "x", 1 };
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, ALL_FEATURES), 0);
	CHECK_EQ(fake_guest_xfer(&r.d, 0, &out, 1, NULL, 0), 0);
	rig_down(&r);
}

/* More than one batch in the ring with a single kick: the device comes back by itself. */
static void full_ring_one_kick(void)
{
	struct rig r = { 0 };
	unsigned got = 0, n;

	CHECK_EQ(rig_up(&r, ALL_FEATURES), 0);
	n = r.d.q[0].size;
	CHECK(n > 16);
	for (unsigned i = 0; i < n; i++) {
		struct fake_seg s = { fake_alloc(&r.g, 32, 8).v, 32 };

		CHECK(fake_add(&r.d, 0, NULL, 0, &s, 1) >= 0);
	}
	CHECK(fake_kick(&r.d, 0));
	while (got < n) {
		uint16_t head;
		uint32_t len;
		int ret;

		CHECK_EQ(fake_wait(&r.d, 0, FAKE_TIMEOUT_MS), 0);
		while ((ret = fake_reap(&r.d, 0, &head, &len)) > 0) {
			CHECK_EQ(len, 32);
			got++;
		}
		CHECK_EQ(ret, 0);
	}
	CHECK_EQ(r.d.kicks, 1);
	rig_down(&r);
}

static void bad_chain_breaks_the_device(void)
{
	struct fake_seg s = { 0x1000, 64 }; /* no memory there */
	struct fake_in in;
	uint8_t byte;
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, ALL_FEATURES), 0);
	CHECK(fake_add(&r.d, 0, NULL, 0, &s, 1) >= 0);
	CHECK(fake_kick(&r.d, 0));
	CHECK_EQ(fake_wait(&r.d, 0, FAKE_TIMEOUT_MS), -EIO);
	CHECK(vdev_is_broken(r.v));
	/* A reset makes it whole again. */
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	in = (struct fake_in){ &byte, 1 };
	CHECK_EQ(fake_guest_xfer(&r.d, 0, NULL, 0, &in, 1), 1);
	rig_down(&r);
}

static void saved_and_loaded(void)
{
	struct save_out out = { 0 };
	struct rig r = { 0 };
	struct fake_in in;
	struct vdev *twin;
	struct save_in s;
	uint8_t buf[16];

	CHECK_EQ(rig_up(&r, ALL_FEATURES), 0);
	vdev_pause(r.v);
	CHECK_EQ(vdev_save(r.v, &out), 0);
	CHECK_EQ(rng_new(r.loop, &r.g.mem, &twin, NULL), 0);
	twin->irq = r.v->irq;
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	CHECK_EQ(vdev_load(twin, &s), 0);
	CHECK_EQ(load_done(&s), 0);
	vdev_fini(r.v);
	r.v->cls->destroy(r.v);
	r.v = r.d.v = r.d.mmio.v = twin;
	vdev_resume(twin);
	in = (struct fake_in){ buf, sizeof(buf) };
	CHECK_EQ(fake_guest_xfer(&r.d, 0, NULL, 0, &in, 1), sizeof(buf));
	save_out_free(&out);
	rig_down(&r);
}

static const struct test_case cases[] = {
	TEST(fills_all_pieces),
	TEST(two_requests_differ),
	TEST(request_is_capped),
	TEST(request_without_room),
	TEST(full_ring_one_kick),
	TEST(bad_chain_breaks_the_device),
	TEST(saved_and_loaded),
};

TEST_MAIN(cases)
