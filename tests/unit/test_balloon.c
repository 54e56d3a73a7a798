// SPDX-License-Identifier: Apache-2.0
// virtio-balloon driven from the guest's side.

#include <errno.h>

#include "dev/dev.h"
#include "fake/fake_guest.h"
#include "unit/test.h"
#include "util/bytes.h"
#include "util/loop.h"

#define ALL	    (~0ULL)
#define F_REPORTING (1ULL << 5)
#define STATS	    (1ULL << 1)
#define PAGE	    4096U
#define FILL	    0x5a
#define INFLATE	    0
#define DEFLATE	    1
#define STATS_Q	    2
#define REPORT	    3
#define REPORT_5TH  4

struct rig {
	struct fake_guest g;
	struct fake_dev d;
	struct loop *loop;
	struct vdev *v;
};

static int rig_up(struct rig *r, uint64_t features)
{
	if (fake_guest_init(&r->g, 32U << 20) || loop_new("test", &r->loop, NULL) ||
		balloon_new(r->loop, &r->g.mem, &r->v, NULL) || fake_dev_init(&r->d, &r->g, r->v))
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

/* How many of @n pages at @gpa still have what touched() has written. */
static unsigned kept(struct rig *r, uint64_t gpa, unsigned n)
{
	const uint8_t *p = fake_ptr(&r->g, GPA(gpa), n * (uint64_t)PAGE);
	unsigned sum = 0;

	for (unsigned i = 0; i < n; i++, p += PAGE)
		sum += p[0] == FILL && !memcmp(p, p + 1, PAGE - 1);
	return sum;
}

/* @n pages of memory, all of them written. */
static uint64_t touched(struct rig *r, unsigned n)
{
	gpa_t at = fake_alloc(&r->g, n * (uint64_t)PAGE, PAGE);

	memset(fake_ptr(&r->g, at, n * (uint64_t)PAGE), FILL, n * (size_t)PAGE);
	return at.v;
}

static void inflated_pages_are_the_hosts(void)
{
	uint32_t pfn[64];
	struct fake_out out = { pfn, sizeof(pfn) };
	struct rig r = { 0 };
	uint64_t at;

	CHECK_EQ(rig_up(&r, ALL), 0);
	at = touched(&r, 128);
	CHECK_EQ(kept(&r, at, 128), 128);
	/* every other, from the end, so that none has a neighbour */
	for (unsigned i = 0; i < 64; i++)
		pfn[i] = htole32((uint32_t)(at / PAGE) + 126 - 2 * i);
	CHECK_EQ(fake_guest_xfer(&r.d, INFLATE, &out, 1, NULL, 0), 0);
	CHECK_EQ(kept(&r, at, 128), 64);
	CHECK_EQ(*(uint8_t *)fake_ptr(&r.g, GPA(at), 1), 0);
	CHECK_EQ(*(uint8_t *)fake_ptr(&r.g, GPA(at + PAGE), 1), FILL);
	/* with their neighbours, and one of them twice */
	for (unsigned i = 0; i < 64; i++)
		pfn[i] = htole32((uint32_t)(at / PAGE) + 64 + (i * 37) % 63);
	CHECK_EQ(fake_guest_xfer(&r.d, INFLATE, &out, 1, NULL, 0), 0);
	CHECK_EQ(kept(&r, at + 64 * PAGE, 63), 0);
	CHECK_EQ(kept(&r, at + 127 * PAGE, 1), 1);
	CHECK_EQ(fake_guest_xfer(&r.d, DEFLATE, &out, 1, NULL, 0), 0);
	CHECK(!vdev_is_broken(r.v));
	rig_down(&r);
}

/* Memory that stays: the driver is not asked to report it, and what it inflates is kept. */
static void huge_pages_stay(void)
{
	uint32_t pfn = 0;
	struct fake_out out = { &pfn, sizeof(pfn) };
	struct rig r = { 0 };
	uint64_t at;

	CHECK_EQ(fake_guest_init(&r.g, 32U << 20), 0);
	for (unsigned i = 0; i < r.g.mem.n; i++)
		r.g.mem.r[i].huge = true;
	CHECK(!loop_new("test", &r.loop, NULL) && !balloon_new(r.loop, &r.g.mem, &r.v, NULL) &&
		!fake_dev_init(&r.d, &r.g, r.v));
	mem_freeze(&r.g.mem);
	r.d.pump = r.loop;
	CHECK_EQ(r.v->offered & F_REPORTING, 0);
	CHECK_EQ(fake_dev_start(&r.d, ALL & ~F_REPORTING), 0);
	at = touched(&r, 4);
	pfn = htole32((uint32_t)(at / PAGE));
	CHECK_EQ(fake_guest_xfer(&r.d, INFLATE, &out, 1, NULL, 0), 0);
	CHECK_EQ(kept(&r, at, 4), 4);
	CHECK(!vdev_is_broken(r.v));
	rig_down(&r);
}

static void pages_that_are_no_memory(void)
{
	uint32_t pfn[] = { htole32(1), htole32(UINT32_MAX), 0 };
	struct fake_out out = { pfn, sizeof(pfn) };
	struct rig r = { 0 };
	uint64_t at;

	CHECK_EQ(rig_up(&r, ALL), 0);
	at = touched(&r, 1);
	pfn[2] = htole32((uint32_t)(at / PAGE));
	CHECK_EQ(fake_guest_xfer(&r.d, INFLATE, &out, 1, NULL, 0), 0);
	CHECK(!vdev_is_broken(r.v));
	CHECK_EQ(kept(&r, at, 1), 0);
	rig_down(&r);
}

static void requests_have_a_limit(void)
{
	static uint32_t pfn[LIM_BALLOON_PFNS + 1];
	struct fake_out out = { pfn, LIM_BALLOON_PFNS * sizeof(pfn[0]) };
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, ALL), 0);
	for (unsigned i = 0; i < LIM_BALLOON_PFNS; i++)
		pfn[i] = htole32((uint32_t)(FAKE_RAM_GPA / PAGE) + 4000);
	CHECK_EQ(fake_guest_xfer(&r.d, INFLATE, &out, 1, NULL, 0), 0);
	out.len = sizeof(pfn);
	CHECK_EQ(fake_guest_xfer(&r.d, INFLATE, &out, 1, NULL, 0), -EIO);
	CHECK(vdev_is_broken(r.v));
	/* a number that is cut off */
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	out.len = 6;
	CHECK_EQ(fake_guest_xfer(&r.d, INFLATE, &out, 1, NULL, 0), -EIO);
	rig_down(&r);
}

static int report(struct rig *r, unsigned q, const struct fake_seg *s, unsigned n)
{
	uint16_t head;
	uint32_t len;
	int ret;

	if (fake_add(&r->d, q, NULL, 0, s, n) < 0 || !fake_kick(&r->d, q))
		return -ENOSPC;
	ret = fake_wait(&r->d, q, FAKE_TIMEOUT_MS);
	return ret ? ret : fake_reap(&r->d, q, &head, &len) == 1 ? 0 : -EPROTO;
}

static void reported_pages_are_the_hosts(void)
{
	struct rig r = { 0 };
	struct fake_seg s[2];
	uint64_t at;

	CHECK_EQ(rig_up(&r, ALL), 0);
	at = touched(&r, 1024);
	s[0] = (struct fake_seg){ at, 512 * PAGE };
	s[1] = (struct fake_seg){ at + 1000ULL * PAGE, 20 * PAGE };
	CHECK_EQ(report(&r, REPORT, s, 2), 0);
	CHECK_EQ(kept(&r, at, 1024), 1024 - 512 - 20);
	/* by the specification's number; what is no whole page is kept */
	s[0] = (struct fake_seg){ at + 600ULL * PAGE + 1, 3 * PAGE };
	CHECK_EQ(report(&r, REPORT_5TH, s, 1), 0);
	CHECK_EQ(kept(&r, at + 600ULL * PAGE, 1), 1);
	CHECK_EQ(kept(&r, at + 601ULL * PAGE, 2), 0);
	CHECK_EQ(kept(&r, at + 603ULL * PAGE, 1), 1);
	s[0].len = 17;
	CHECK_EQ(report(&r, REPORT, s, 1), 0);
	/* a driver without statistics, where Linux's queue moves up */
	CHECK_EQ(fake_dev_start(&r.d, ALL & ~STATS), 0);
	s[0] = (struct fake_seg){ at + 700ULL * PAGE, PAGE };
	CHECK_EQ(report(&r, STATS_Q, s, 1), 0);
	CHECK_EQ(kept(&r, at + 700ULL * PAGE, 1), 0);
	CHECK(!vdev_is_broken(r.v));
	rig_down(&r);
}

/* Longer than any other chain may be, in one buffer for each region. */
static void long_reports(void)
{
	struct rig r = { 0 };
	struct fake_seg s[3];

	CHECK_EQ(rig_up(&r, ALL), 0);
	CHECK(LIM_CHAIN_BYTES < 30U << 20);
	(void)touched(&r, 1);
	/* the rings lie below */
	s[0] = (struct fake_seg){ FAKE_RAM_GPA + (2U << 20), 14U << 20 };
	s[1] = (struct fake_seg){ FAKE_RAM_GPA + (16U << 20), 16U << 20 };
	CHECK_EQ(report(&r, REPORT, s, 2), 0);
	CHECK(!vdev_is_broken(r.v));
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	CHECK_EQ(report(&r, REPORT, s, 2), 0);
	/* the other queues keep the limit that all have */
	CHECK_EQ(report(&r, INFLATE, s + 1, 1), -EIO);
	rig_down(&r);
}

static void put_stat(uint8_t *p, uint16_t tag, uint64_t v)
{
	put_le16(p, tag);
	put_le64(p + 2, v);
}

static void statistics(void)
{
	struct balloon_stats got;
	struct rig r = { 0 };
	struct fake_seg s;
	uint16_t head;
	uint32_t len;
	uint8_t *p;

	CHECK_EQ(rig_up(&r, ALL), 0);
	CHECK_EQ(balloon_ask(r.v, &got), 0);
	CHECK_EQ(got.age, 0);
	CHECK_EQ(got.free, 0);
	fake_poll(&r.d);
	s = (struct fake_seg){ fake_alloc(&r.g, 64, 8).v, 45 };
	p = fake_ptr(&r.g, GPA(s.gpa), 64);
	put_stat(p, 4, 1000);	   /* free */
	put_stat(p + 10, 77, 1);   /* unknown */
	put_stat(p + 20, 5, 5000); /* total */
	put_stat(p + 30, 10, 3);   /* oom kills; and half a statistic */
	CHECK(fake_add(&r.d, STATS_Q, &s, 1, NULL, 0) >= 0);
	CHECK(fake_kick(&r.d, STATS_Q));
	fake_poll(&r.d);
	/* it is kept until somebody asks */
	CHECK_EQ(fake_reap(&r.d, STATS_Q, &head, &len), 0);
	CHECK_EQ(balloon_ask(r.v, &got), 0);
	CHECK_EQ(got.age, 1);
	CHECK_EQ(got.free, 1000);
	CHECK_EQ(got.total, 5000);
	CHECK_EQ(got.oom_kills, 3);
	CHECK_EQ(got.available, 0);
	CHECK_EQ(fake_wait(&r.d, STATS_Q, FAKE_TIMEOUT_MS), 0);
	CHECK_EQ(fake_reap(&r.d, STATS_Q, &head, &len), 1);
	/* nothing to give back until the driver has answered */
	CHECK_EQ(balloon_ask(r.v, &got), 0);
	fake_poll(&r.d);
	put_stat(p, 4, 2000);
	CHECK(fake_add(&r.d, STATS_Q, &s, 1, NULL, 0) >= 0);
	CHECK(fake_kick(&r.d, STATS_Q));
	fake_poll(&r.d);
	CHECK_EQ(balloon_ask(r.v, &got), 0);
	CHECK_EQ(got.age, 2);
	CHECK_EQ(got.free, 2000);
	fake_poll(&r.d);
	/* two at a time are one too many */
	CHECK_EQ(fake_reap(&r.d, STATS_Q, &head, &len), 1);
	CHECK(fake_add(&r.d, STATS_Q, &s, 1, NULL, 0) >= 0);
	CHECK(fake_add(&r.d, STATS_Q, &s, 1, NULL, 0) >= 0);
	CHECK(fake_kick(&r.d, STATS_Q));
	fake_poll(&r.d);
	CHECK(vdev_is_broken(r.v));
	rig_down(&r);
}

/* Many ask before the loop has heard the first: it is asked once, and its queue of calls is no
 * limit to them. What the config space says is no newer than it was. */
static void asked_by_many(void)
{
	struct balloon_stats got;
	struct rig r = { 0 };
	uint32_t gen;

	CHECK_EQ(rig_up(&r, ALL), 0);
	gen = r.v->cfg_gen;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 2 * LOOP_POST_MAX; i++)
			CHECK_EQ(balloon_ask(r.v, &got), 0);
		fake_poll(&r.d);
	}
	CHECK_EQ(r.v->cfg_gen, gen);
	rig_down(&r);
}

static uint32_t config(struct rig *r, unsigned off)
{
	uint8_t b[4];

	fake_cfg_read(&r->d, off, b, sizeof(b));
	return get_le32(b);
}

static void the_size_is_asked_for(void)
{
	uint8_t b[4], none[4] = { 0xff, 0xff, 0xff, 0xff };
	struct balloon_stats got;
	struct rig r = { 0 };

	CHECK_EQ(rig_up(&r, ALL), 0);
	CHECK_EQ(config(&r, 0), 0);
	balloon_set(r.v, 1000ULL * PAGE + 1);
	fake_poll(&r.d);
	CHECK(r.d.cfg_event);
	CHECK_EQ(config(&r, 0), 1000);
	put_le32(b, 600);
	fake_cfg_write(&r.d, 4, b, sizeof(b));
	/* what is asked for is not the driver's to write */
	fake_cfg_write(&r.d, 0, none, sizeof(none));
	CHECK_EQ(balloon_ask(r.v, &got), 0);
	CHECK_EQ(got.target, 1000ULL * PAGE);
	CHECK_EQ(got.actual, 600ULL * PAGE);
	/* a driver that begins anew has none, and is asked for as much */
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	CHECK_EQ(config(&r, 0), 1000);
	CHECK_EQ(config(&r, 4), 0);
	rig_down(&r);
}

static void saved_and_loaded(void)
{
	struct save_out out = { 0 };
	struct balloon_stats got;
	struct rig r = { 0 };
	struct vdev *twin;
	struct save_in s;
	struct fake_seg seg;
	uint16_t head;
	uint32_t len;
	uint8_t b[4];

	CHECK_EQ(rig_up(&r, ALL), 0);
	balloon_set(r.v, 10 * PAGE);
	put_le32(b, 7);
	fake_cfg_write(&r.d, 4, b, sizeof(b));
	seg = (struct fake_seg){ fake_alloc(&r.g, 10, 8).v, 10 };
	put_stat(fake_ptr(&r.g, GPA(seg.gpa), 10), 4, 1000);
	CHECK(fake_add(&r.d, STATS_Q, &seg, 1, NULL, 0) >= 0);
	CHECK(fake_kick(&r.d, STATS_Q));
	fake_poll(&r.d);
	vdev_pause(r.v);
	/* nothing happens to a device that is paused */
	CHECK_EQ(balloon_ask(r.v, &got), 0);
	fake_poll(&r.d);
	CHECK_EQ(vdev_save(r.v, &out), 0);
	CHECK_EQ(balloon_new(r.loop, &r.g.mem, &twin, NULL), 0);
	twin->irq = r.v->irq;
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	CHECK_EQ(vdev_load(twin, &s), 0);
	CHECK_EQ(load_done(&s), 0);
	vdev_fini(r.v);
	r.v->cls->destroy(r.v);
	r.v = r.d.v = r.d.mmio.v = twin;
	vdev_resume(twin);
	fake_poll(&r.d);
	/* the buffer that was held is held again */
	CHECK_EQ(balloon_ask(twin, &got), 0);
	CHECK_EQ(got.target, 10ULL * PAGE);
	CHECK_EQ(got.actual, 7ULL * PAGE);
	CHECK_EQ(got.free, 1000);
	CHECK_EQ(fake_wait(&r.d, STATS_Q, FAKE_TIMEOUT_MS), 0);
	CHECK_EQ(fake_reap(&r.d, STATS_Q, &head, &len), 1);
	save_out_free(&out);
	rig_down(&r);
}

static const struct test_case cases[] = {
	TEST(inflated_pages_are_the_hosts),
	TEST(huge_pages_stay),
	TEST(pages_that_are_no_memory),
	TEST(requests_have_a_limit),
	TEST(reported_pages_are_the_hosts),
	TEST(long_reports),
	TEST(statistics),
	TEST(asked_by_many),
	TEST(the_size_is_asked_for),
	TEST(saved_and_loaded),
};

TEST_MAIN(cases)
