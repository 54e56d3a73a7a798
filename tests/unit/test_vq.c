// SPDX-License-Identifier: Apache-2.0
/* Queues on rings written by hand: what is accepted, what is refused, who is told when. */
/*
 * How it works
 *
 * Descriptors and indices are put into guest memory by hand, so that wrong ones can be too; no
 * transport, no driver. Ring size is N; RAM is large enough for a chain of LIM_CHAIN_BYTES.
 */
#include <errno.h>

#include "fake/fake_guest.h"
#include "unit/test.h"
#include "util/bytes.h"
#include "virtio/vq.h"

#define N	 8
#define NEXT	 1
#define WRITE	 2
#define INDIRECT 4
#define RAM	 FAKE_RAM_GPA

static struct rig {
	struct fake_guest g;
	struct vq q;
	struct vq_req r;
	uint8_t *d, *a, *u;
} T;

static void rig_start(bool event_idx, bool indirect)
{
	memset(&T, 0, sizeof(T));
	if (fake_guest_init(&T.g, 64 << 20))
		abort();
	vq_init(&T.q, &T.g.mem, N);
	T.q.desc = fake_alloc(&T.g, 16 * N, 16).v;
	T.q.avail = fake_alloc(&T.g, 6 + 2 * N, 2).v;
	T.q.used = fake_alloc(&T.g, 6 + 8 * N, 4).v;
	T.d = fake_ptr(&T.g, GPA(T.q.desc), 16 * N);
	T.a = fake_ptr(&T.g, GPA(T.q.avail), 6 + 2 * N);
	T.u = fake_ptr(&T.g, GPA(T.q.used), 6 + 8 * N);
	T.q.event_idx = event_idx;
	T.q.indirect = indirect;
	T.q.ready = true;
	if (vq_start(&T.q, false))
		abort();
}

static void rig_end(void)
{
	fake_guest_fini(&T.g);
}

static void put_desc(
	uint8_t *tab, unsigned i, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
	put_le64(tab + 16 * i, addr);
	put_le32(tab + 16 * i + 8, len);
	put_le16(tab + 16 * i + 12, (uint16_t)flags);
	put_le16(tab + 16 * i + 14, (uint16_t)next);
}

static void offer(unsigned head)
{
	uint16_t idx = get_le16(T.a + 2);

	put_le16(T.a + 4 + 2 * (idx % N), (uint16_t)head);
	put_le16(T.a + 2, (uint16_t)(idx + 1));
}

static void direct_chain(void)
{
	rig_start(false, false);
	CHECK_EQ(vq_pop(&T.q, &T.r), 0);
	CHECK_EQ(vq_pending(&T.q), 0);
	put_desc(T.d, 5, RAM, 100, NEXT, 2);
	put_desc(T.d, 2, RAM + 0x100, 0, NEXT, 7); /* empty: skipped, wherever it points */
	put_desc(T.d, 7, RAM + T.g.half - 8, 16, NEXT | WRITE, 0);
	put_desc(T.d, 0, RAM + 0x300, 1, WRITE, 999); /* next means nothing without NEXT */
	offer(5);
	CHECK_EQ(vq_pending(&T.q), 1);
	CHECK_EQ(vq_pop(&T.q, &T.r), 1);
	CHECK_EQ(vq_pending(&T.q), 0);
	CHECK_EQ(T.r.head, 5);
	CHECK_EQ(T.r.niov, 4);
	CHECK(T.r.rd.left == 100 && T.r.rd.cnt == 1);
	CHECK(T.r.wr.left == 17 && T.r.wr.cnt == 3); /* split where the regions meet */
	CHECK(T.r.rd.iov[0].iov_base == T.g.lo && T.r.wr.iov[1].iov_base == T.g.hi);
	CHECK_EQ(T.q.inflight, 1);
	vq_push(&T.q, T.r.head, 17);
	CHECK_EQ(get_le16(T.u + 2), 0); /* not before the flush */
	CHECK(vq_flush(&T.q));
	CHECK_EQ(get_le16(T.u + 2), 1);
	CHECK(get_le32(T.u + 4) == 5 && get_le32(T.u + 8) == 17);
	CHECK(!vq_flush(&T.q));
	rig_end();
}

static int pop_one(unsigned head)
{
	offer(head);
	return vq_pop(&T.q, &T.r);
}

/* Each refusal leaves the queue as it was. */
#define REFUSED(err, head)                                                       \
	do {                                                                     \
		CHECK_EQ(pop_one(head), err);                                    \
		CHECK(T.q.last_avail == 0 && T.q.inflight == 0 && !T.q.busy[0]); \
		put_le16(T.a + 2, 0);                                            \
	} while (0)

static void refused(void)
{
	rig_start(false, true);
	REFUSED(-EINVAL, N);
	REFUSED(-EINVAL, 0xffff);
	put_desc(T.d, 0, RAM, 8, NEXT, N);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, RAM, 8, NEXT, 0); /* loops */
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, RAM, 0, NEXT, 1);
	put_desc(T.d, 1, RAM, 0, NEXT, 0);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, RAM, 8, NEXT | WRITE, 1);
	put_desc(T.d, 1, RAM, 8, 0, 0); /* readable after writable */
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, RAM - 1, 8, 0, 0);
	REFUSED(-EFAULT, 0);
	put_desc(T.d, 0, RAM + (64 << 20) - 7, 8, 0, 0);
	REFUSED(-EFAULT, 0);
	put_desc(T.d, 0, UINT64_MAX - 3, 8, 0, 0);
	REFUSED(-EFAULT, 0);
	put_desc(T.d, 0, RAM, LIM_CHAIN_BYTES + 1, 0, 0);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, RAM, LIM_CHAIN_BYTES, NEXT, 1);
	put_desc(T.d, 1, RAM, 1, WRITE, 0);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 1, RAM, 0, WRITE, 0);
	CHECK_EQ(pop_one(0), 1);
	CHECK_EQ(T.r.rd.left, LIM_CHAIN_BYTES);
	/* in flight already: by its head */
	CHECK_EQ(pop_one(0), -EINVAL);
	/* an index that is more than the ring ahead, or behind */
	put_le16(T.a + 2, (uint16_t)(1 + N + 1));
	CHECK_EQ(vq_pop(&T.q, &T.r), -EINVAL);
	CHECK_EQ(vq_pending(&T.q), -EINVAL);
	put_le16(T.a + 2, 0);
	CHECK_EQ(vq_pop(&T.q, &T.r), -EINVAL);
	rig_end();
}

static void indirect_chain(void)
{
	uint64_t gpa;
	uint8_t *t;

	rig_start(true, true);
	gpa = fake_alloc(&T.g, 16 * 4, 16).v;
	t = fake_ptr(&T.g, GPA(gpa), 64);
	put_desc(t, 0, RAM, 10, NEXT, 3);
	put_desc(t, 3, RAM, 20, NEXT | WRITE, 1);
	put_desc(t, 1, RAM, 30, WRITE, 0);
	put_desc(T.d, 0, gpa, 64, INDIRECT, 0);
	CHECK_EQ(pop_one(0), 1);
	CHECK(T.r.rd.left == 10 && T.r.wr.left == 50 && T.r.niov == 3);
	/* at the end of direct ones; the table's own WRITE flag means nothing */
	put_desc(T.d, 1, RAM, 5, NEXT, 2);
	put_desc(T.d, 2, gpa, 64, INDIRECT | WRITE, 77);
	CHECK_EQ(pop_one(1), 1);
	CHECK(T.r.rd.left == 15 && T.r.wr.left == 50 && T.r.niov == 4);
	/* a table at an odd address, and one across regions, is copied instead of pinned */
	for (unsigned i = 0; i < 2; i++) {
		uint64_t odd = i ? RAM + T.g.half - 24 : gpa + 0x1001;

		CHECK_EQ(mem_write(&T.g.mem, GPA(odd), t, 64), 0);
		put_desc(T.d, 3, odd, 64, INDIRECT, 0);
		CHECK_EQ(pop_one(3), 1);
		CHECK(T.r.rd.left == 10 && T.r.wr.left == 50 && T.r.niov == 3);
		vq_push(&T.q, 3, 0);
	}
	rig_end();
}

static void indirect_refused(void)
{
	uint64_t gpa;
	uint8_t *t;

	rig_start(true, true);
	gpa = fake_alloc(&T.g, 16 * 2048, 16).v;
	t = fake_ptr(&T.g, GPA(gpa), 16 * 2048);
	put_desc(t, 0, RAM, 10, 0, 0);
	put_desc(T.d, 0, gpa, 0, INDIRECT, 0);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, gpa, 8, INDIRECT, 0);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, gpa, 17, INDIRECT, 0);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, gpa, 16 * (LIM_CHAIN + 1), INDIRECT, 0);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, gpa, 16, INDIRECT | NEXT, 1);
	REFUSED(-EINVAL, 0);
	put_desc(T.d, 0, RAM + (64 << 20), 16, INDIRECT, 0);
	REFUSED(-EFAULT, 0);
	put_desc(T.d, 0, UINT64_MAX - 8, 32, INDIRECT, 0);
	REFUSED(-EFAULT, 0);
	put_desc(T.d, 0, gpa, 16, INDIRECT, 0);
	put_desc(t, 0, gpa, 16, INDIRECT, 0); /* nested */
	REFUSED(-EINVAL, 0);
	put_desc(t, 0, RAM, 10, NEXT, 1); /* next beyond the table */
	REFUSED(-EINVAL, 0);
	put_desc(t, 0, RAM, 10, NEXT, 0);
	REFUSED(-EINVAL, 0);
	/* as many as there may be, then one direct descriptor more */
	for (unsigned i = 0; i < LIM_CHAIN; i++)
		put_desc(t, i, RAM, 1, i + 1 < LIM_CHAIN ? NEXT : 0, i + 1);
	put_desc(T.d, 1, gpa, 16 * LIM_CHAIN, INDIRECT, 0);
	put_desc(T.d, 0, RAM, 1, NEXT, 1);
	REFUSED(-EINVAL, 0);
	/* the descriptor that names the table is no buffer and does not count */
	CHECK_EQ(pop_one(1), 1);
	CHECK_EQ(T.r.rd.left, LIM_CHAIN);
	T.q.indirect = false;
	CHECK_EQ(pop_one(2), 1);
	put_desc(T.d, 3, gpa, 16, INDIRECT, 0);
	CHECK_EQ(pop_one(3), -EINVAL); /* not negotiated */
	rig_end();
}

static void windows(void)
{
	struct mem m;
	struct vq_req *r = &T.r;
	struct vq *q = &T.q;
	uint8_t b[8];

	rig_start(false, true);
	CHECK_EQ(mem_add_shm(&T.g.mem, GPA(1ULL << 40), 0x10000, NULL), 0);
	m = T.g.mem;
	CHECK_EQ(m.nshm, 1);
	put_desc(T.d, 0, RAM, 8, NEXT, 1);
	put_desc(T.d, 1, 1ULL << 40, 0x10000, 0, 0);
	put_desc(T.d, 2, 1ULL << 40, 16, INDIRECT, 0);
	CHECK_EQ(pop_one(0), 1);
	CHECK_EQ(iobuf_pull(&r->rd, b, 8), 0);
	CHECK_EQ(iobuf_pull(&r->rd, b, 1), -EFAULT);
	CHECK_EQ(pop_one(2), -EFAULT); /* tables are no payload */
	vq_reset(q);
	q->desc = 1ULL << 40;
	q->avail = T.g.used + RAM;
	q->used = T.g.used + RAM + 64;
	CHECK_EQ(vq_start(q, false), -EFAULT); /* nor are rings */
	rig_end();
}

static void unpop(void)
{
	rig_start(true, true);
	put_desc(T.d, 1, RAM, 1, 0, 0);
	put_desc(T.d, 2, RAM, 2, 0, 0);
	offer(1);
	offer(2);
	CHECK_EQ(vq_pop(&T.q, &T.r), 1);
	CHECK_EQ(vq_pop(&T.q, &T.r), 1);
	vq_unpop(&T.q, &T.r);
	CHECK_EQ(T.q.inflight, 1);
	CHECK_EQ(vq_pending(&T.q), 1);
	CHECK_EQ(vq_pop(&T.q, &T.r), 1);
	CHECK(T.r.head == 2 && T.r.rd.left == 2);
	CHECK_EQ(vq_pop(&T.q, &T.r), 0);
	/* out of order */
	vq_push(&T.q, 2, 0);
	vq_push(&T.q, 1, 0);
	CHECK(vq_flush(&T.q));
	CHECK(get_le32(T.u + 4) == 2 && get_le32(T.u + 12) == 1);
	rig_end();
}

static void cycle(void)
{
	offer(0);
	if (vq_pop(&T.q, &T.r) != 1)
		abort();
	vq_push(&T.q, 0, 0);
}

/* used_event at every distance, all around the 16-bit circle. */
static void interrupts_event(void)
{
	rig_start(true, false);
	put_desc(T.d, 0, RAM, 1, 0, 0);
	cycle();
	CHECK(vq_flush(&T.q)); /* the first always */
	for (unsigned n = 1; n < 200000; n++) {
		int ahead = (int)(n % 5) - 2; /* of the entry about to be written */

		put_le16(T.a + 4 + 2 * N, (uint16_t)(T.q.used_idx + ahead));
		cycle();
		CHECK_EQ(vq_flush(&T.q), ahead == 0);
	}
	/* a batch: any event within it */
	for (int ahead = -2; ahead < 6; ahead++) {
		put_le16(T.a + 4 + 2 * N, (uint16_t)(T.q.used_idx + ahead));
		for (unsigned i = 0; i < 4; i++)
			cycle();
		CHECK_EQ(vq_flush(&T.q), ahead >= 0 && ahead < 4);
	}
	rig_end();
}

static void interrupts_flag(void)
{
	rig_start(false, false);
	put_desc(T.d, 0, RAM, 1, 0, 0);
	for (unsigned n = 0; n < 6; n++) {
		put_le16(T.a, n & 1);
		cycle();
		CHECK_EQ(vq_flush(&T.q), !(n & 1));
	}
	rig_end();
}

static void kicks_event(void)
{
	const uint8_t *event;

	rig_start(true, false);
	event = T.u + 4 + 8 * N;
	put_desc(T.d, 0, RAM, 1, 0, 0);
	CHECK_EQ(get_le16(event), 0);
	cycle();
	CHECK_EQ(get_le16(event), 0); /* there may be more: no kick wanted yet */
	CHECK_EQ(vq_pop(&T.q, &T.r), 0);
	CHECK_EQ(get_le16(event), 1); /* it is empty: kick for the next */
	CHECK(!vq_kicks(&T.q, false));
	cycle();
	CHECK_EQ(vq_pop(&T.q, &T.r), 0);
	CHECK_EQ(get_le16(event), 1);
	CHECK(!vq_kicks(&T.q, true));
	CHECK_EQ(get_le16(event), 2);
	CHECK(!vq_kicks(&T.q, false));
	offer(0);
	CHECK(vq_kicks(&T.q, true)); /* something came meanwhile */
	CHECK(vq_kicks(&T.q, true)); /* and is still there */
	rig_end();
}

static void kicks_flag(void)
{
	rig_start(false, false);
	put_desc(T.d, 0, RAM, 1, 0, 0);
	CHECK_EQ(get_le16(T.u), 0);
	CHECK(!vq_kicks(&T.q, false));
	CHECK_EQ(get_le16(T.u), 1);
	offer(0);
	CHECK(vq_kicks(&T.q, true));
	CHECK_EQ(get_le16(T.u), 0);
	rig_end();
}

static void geometry(void)
{
	struct vq q;
	uint64_t end = RAM + (64 << 20);

	rig_start(true, true);
	for (unsigned size = 0; size < 20; size++) {
		q = T.q;
		q.size = (uint16_t)size;
		CHECK_EQ(vq_start(&q, false),
			size == 1 || size == 2 || size == 4 || size == 8 ? 0 : -EINVAL);
	}
	q = T.q;
	q.desc += 8;
	CHECK_EQ(vq_start(&q, false), -EFAULT);
	q.desc = end - 16 * N;
	CHECK_EQ(vq_start(&q, false), 0);
	q.desc += 16;
	CHECK_EQ(vq_start(&q, false), -EFAULT);
	q = T.q;
	q.avail = end - (6 + 2 * N);
	CHECK_EQ(vq_start(&q, false), 0);
	q.avail += 2;
	CHECK_EQ(vq_start(&q, false), -EFAULT);
	q.event_idx = false; /* used_event isn't there then */
	CHECK_EQ(vq_start(&q, false), 0);
	q = T.q;
	q.used = end - (4 + 8 * N);
	CHECK_EQ(vq_start(&q, false), -EFAULT);
	q.event_idx = false;
	CHECK_EQ(vq_start(&q, false), 0);
	q.used -= 2;
	CHECK_EQ(vq_start(&q, false), -EFAULT);
	q = T.q;
	q.desc = RAM + T.g.half - 16;
	CHECK_EQ(vq_start(&q, false), -EFAULT); /* across regions */
	q.avail = q.used = UINT64_MAX - 3;
	CHECK_EQ(vq_start(&q, false), -EFAULT);
	rig_end();
}

static void saving(void)
{
	struct save_out s = { 0 };
	struct save_in in;
	struct vq q;

	rig_start(true, true);
	for (unsigned i = 0; i < 4; i++)
		put_desc(T.d, i, RAM, i + 1, 0, 0);
	cycle();
	vq_save(&T.q, &s);
	CHECK_EQ(s.err, -EINVAL); /* pushed and not flushed */
	save_out_free(&s);
	CHECK(vq_flush(&T.q));
	for (unsigned i = 1; i < 4; i++)
		offer(i);
	CHECK_EQ(vq_pop(&T.q, &T.r), 1);
	CHECK_EQ(vq_pop(&T.q, &T.r), 1);
	vq_save(&T.q, &s);
	CHECK_EQ(s.err, 0);
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	vq_init(&q, &T.g.mem, N);
	CHECK_EQ(vq_load(&q, &in), 0);
	CHECK_EQ(load_done(&in), 0);
	CHECK(q.ready && q.desc == T.q.desc && q.size == N);
	q.event_idx = q.indirect = true;
	CHECK_EQ(vq_start(&q, true), 0);
	CHECK_EQ(vq_pending(&q), 3);
	for (unsigned i = 1; i < 4; i++) {
		CHECK_EQ(vq_pop(&q, &T.r), 1);
		CHECK(T.r.head == i && T.r.rd.left == i + 1 && T.r.redone == (i < 3));
		if (i == 1) { /* a redone one goes back among its kind */
			vq_unpop(&q, &T.r);
			CHECK_EQ(vq_pending(&q), 3);
			CHECK_EQ(vq_pop(&q, &T.r), 1);
			CHECK_EQ(T.r.head, 1);
		}
	}
	CHECK_EQ(vq_pop(&q, &T.r), 0);
	vq_push(&q, 3, 9);
	CHECK(vq_flush(&q));
	CHECK(get_le16(T.u + 2) == 2 && get_le32(T.u + 4 + 8) == 3);
	/* heads twice or out of range, more than there are */
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	put_le16(s.buf + s.len - 2, 1);
	vq_init(&q, &T.g.mem, N);
	CHECK_EQ(vq_load(&q, &in), -EINVAL);
	in.pos = 0, in.err = 0;
	put_le16(s.buf + s.len - 2, N);
	vq_init(&q, &T.g.mem, N);
	CHECK_EQ(vq_load(&q, &in), -EINVAL);
	in.pos = 0, in.err = 0;
	put_le16(s.buf + s.len - 6, N + 1);
	vq_init(&q, &T.g.mem, N);
	CHECK_EQ(vq_load(&q, &in), -EINVAL);
	save_out_free(&s);
	rig_end();
}

/* A device may look at a queue of its own that the driver never made ready. */
static void never_ready(void)
{
	struct vq q;

	rig_start(true, true);
	vq_init(&q, &T.g.mem, N);
	q.event_idx = true;
	CHECK_EQ(vq_pop(&q, &T.r), 0);
	CHECK_EQ(vq_pending(&q), 0);
	CHECK(!vq_kicks(&q, true));
	CHECK(!vq_kicks(&q, false));
	CHECK(!vq_flush(&q));
	rig_end();
}

static const struct test_case cases[] = {
	TEST(direct_chain),
	TEST(refused),
	TEST(indirect_chain),
	TEST(indirect_refused),
	TEST(windows),
	TEST(unpop),
	TEST(interrupts_event),
	TEST(interrupts_flag),
	TEST(kicks_event),
	TEST(kicks_flag),
	TEST(geometry),
	TEST(saving),
	TEST(never_ready),
};

TEST_MAIN(cases)
