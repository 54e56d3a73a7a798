// SPDX-License-Identifier: Apache-2.0
/* Ring indices, bounded: every sequence of steps, from corners of the 16-bit circle. */
/*
 * How it works
 *
 * The model is two counters that do not wrap. Besides that entries are neither lost nor doubled it
 * proves that nobody sleeps on work: when the device has seen the ring empty with kicks on, the
 * driver's rule says to kick for the next entry; when the driver has asked for an interrupt at the
 * next used entry and seen none, the flush that shows one says to interrupt. And an avail index
 * that is more than the ring ahead is refused, whichever it is.
 *
 * Each sequence may end with the queue saved and loaded, at once or again after some of what was in
 * flight has been taken anew: all of that comes back once, lowest head first, then what waits, then
 * nothing; and all of it can be completed.
 */
#include <errno.h>

#include "core/mem.h"
#include "proof/proof.h"
#include "util/bytes.h"
#include "virtio/vq.h"

#define PAGE 4096ULL
#define LO   0x10000ULL
#ifndef STEPS
#define STEPS 6 /* 7 takes seven times as long */
#endif
#define MAXN 4

static _Alignas(4096) uint8_t ram[PAGE];
static struct mem m;
static struct vq_req req[MAXN];

struct state {
	struct vq q;
	unsigned n;
	uint16_t base; /* where the indices started */
	unsigned added, popped, pushed, flushed, seen;
	unsigned fifo[MAXN]; /* request slots in flight, oldest first */
	unsigned nfly;
	bool device_sleeps, driver_sleeps;
};

static uint8_t *avail(void)
{
	return ram + 16 * MAXN;
}

static uint8_t *used(void)
{
	return ram + 16 * MAXN + 32;
}

static void start(struct state *s)
{
	static const uint16_t bases[] = { 0, 0xfffd, 0x7ffe };
	int r;

	memset(ram, 0, sizeof(ram));
	memset(s, 0, sizeof(*s));
	m = (struct mem){ .n = 1 };
	m.r[0] = (struct mem_region){ .gpa = LO, .len = PAGE, .hva = ram, .fd = -1 };
	s->n = 1U << choose(3);
	vq_init(&s->q, &m, MAXN);
	s->q.size = (uint16_t)s->n;
	s->q.event_idx = choose(2);
	s->q.desc = LO;
	s->q.avail = LO + 16 * MAXN;
	s->q.used = LO + 16 * MAXN + 32;
	s->base = CHOOSE_OF(bases);
	/* As after a load: the rings go on where they were. */
	s->q.last_avail = s->q.used_idx = s->q.used_flushed = s->base;
	put_le16(avail() + 2, s->base);
	put_le16(used() + 2, s->base);
	for (unsigned i = 0; i < MAXN; i++)
		put_le32(ram + 16UL * i + 8, 0);
	r = vq_start(&s->q, true);
	PROVE(r == 0);
	s->q.signalled_valid = s->q.event_idx && choose(2); /* not the first batch */
}

static uint16_t idx(const struct state *s, unsigned n)
{
	return (uint16_t)(s->base + n);
}

/* The driver adds an entry, if it has a free descriptor, and decides about the kick. */
static void driver_add(struct state *s)
{
	unsigned slot = idx(s, s->added) % s->n;
	bool kick;

	if (s->added - s->seen >= s->n)
		return;
	/* Requests are completed in order here, so the slot's own descriptor is free. */
	put_le16(avail() + 4 + 2UL * slot, (uint16_t)slot);
	s->added++;
	put_le16(avail() + 2, idx(s, s->added));
	if (s->q.event_idx)
		kick = get_le16(used() + 4 + 8UL * s->n) == idx(s, s->added - 1);
	else
		kick = !(get_le16(used()) & 1);
	PROVE(!s->device_sleeps || kick);
	if (kick)
		s->device_sleeps = false;
}

static void driver_reap(struct state *s)
{
	PROVE(get_le16(used() + 2) == idx(s, s->flushed));
	if (s->seen < s->flushed) {
		const uint8_t *e = used() + 4 + 8UL * (idx(s, s->seen) % s->n);

		PROVE(get_le32(e) == idx(s, s->seen) % s->n && get_le32(e + 4) == s->seen + 100);
		s->seen++;
		s->driver_sleeps = false;
		return;
	}
	/* Nothing there: ask for an interrupt, look once more, sleep. */
	put_le16(avail(), 0);
	put_le16(avail() + 4 + 2UL * s->n, idx(s, s->seen));
	s->driver_sleeps = true;
}

static void device_pop(struct state *s)
{
	unsigned slot = idx(s, s->popped) % s->n;
	int r;

	PROVE(vq_pending(&s->q) == (int)(s->added - s->popped));
	r = vq_pop(&s->q, &req[slot]);
	PROVE(r == (s->popped < s->added));
	if (r == 1) {
		PROVE(req[slot].head == slot);
		s->fifo[s->nfly++] = slot;
		s->popped++;
		s->device_sleeps = false;
	} else {
		s->device_sleeps = !s->q.kicks_off;
	}
}

static void device_push(struct state *s)
{
	if (!s->nfly)
		return;
	vq_push(&s->q, req[s->fifo[0]].head, s->pushed + 100);
	memmove(s->fifo, s->fifo + 1, sizeof(s->fifo) - sizeof(s->fifo[0]));
	s->nfly--;
	s->pushed++;
}

static void device_flush(struct state *s)
{
	bool irq = vq_flush(&s->q);

	PROVE(!irq || s->flushed < s->pushed);
	PROVE(irq || !s->driver_sleeps || s->flushed == s->pushed);
	s->flushed = s->pushed;
	if (irq)
		s->driver_sleeps = false;
}

static void device_unpop(struct state *s)
{
	if (!s->nfly)
		return;
	vq_unpop(&s->q, &req[s->fifo[--s->nfly]]);
	s->popped--;
	s->device_sleeps = false;
}

/* The queue in a new process; what was pushed is flushed before. */
static void save_and_load(struct state *s)
{
	struct vq old = s->q;
	struct save_out out = { 0 };
	struct save_in in;
	int r;

	vq_save(&old, &out);
	PROVE(out.err == 0);
	vq_init(&s->q, &m, MAXN);
	in = (struct save_in){ .buf = out.buf, .len = out.len };
	r = vq_load(&s->q, &in);
	PROVE(r == 0 && load_done(&in) == 0);
	s->q.event_idx = old.event_idx;
	r = vq_start(&s->q, true);
	PROVE(r == 0);
	save_out_free(&out);
	PROVE(s->q.inflight == 0 && s->q.nredo == old.inflight + old.nredo);
	PROVE(s->q.last_avail == old.last_avail && s->q.used_idx == old.used_idx);
}

/* Pops the next of the heads in @mask, the lowest one. */
static void pop_redo(struct state *s, unsigned *mask)
{
	unsigned head = (unsigned)__builtin_ctz(*mask);
	int r = vq_pop(&s->q, &req[head]);

	PROVE(r == 1 && req[head].head == head && req[head].redone);
	*mask &= *mask - 1;
}

static void reload(struct state *s)
{
	unsigned waiting = s->added - s->popped, fly = 0, left, again, done = 0;
	bool irq;
	int r;

	device_flush(s);
	for (unsigned i = 0; i < s->nfly; i++)
		fly |= 1U << s->fifo[i];
	save_and_load(s);
	left = fly;
	again = choose(s->nfly + 2);
	for (unsigned i = 0; i < again && left; i++)
		pop_redo(s, &left);
	if (again > s->nfly && fly) {
		/* one that was taken anew is put back, in its place among the others */
		unsigned last = 31U - (unsigned)__builtin_clz(fly);

		vq_unpop(&s->q, &req[last]);
		PROVE(s->q.nredo == 1);
		left = 1U << last;
	}
	save_and_load(s);
	PROVE(vq_pending(&s->q) == (int)(waiting + s->nfly));
	left = fly;
	while (left)
		pop_redo(s, &left);
	for (unsigned i = 0; i < waiting; i++) {
		unsigned slot = idx(s, s->popped + i) % s->n;

		r = vq_pop(&s->q, &req[slot]);
		PROVE(r == 1 && req[slot].head == slot && !req[slot].redone);
		PROVE(!(fly >> slot & 1));
		fly |= 1U << slot;
	}
	r = vq_pop(&s->q, &req[0]);
	PROVE(r == 0 || s->nfly + waiting == s->n);
	for (unsigned i = 0; i < s->n; i++) {
		if (!(fly >> i & 1))
			continue;
		vq_push(&s->q, (uint16_t)i, i);
		done++;
	}
	/* the new process does not know what the driver was told: it interrupts */
	irq = vq_flush(&s->q);
	PROVE(irq == (done > 0));
	PROVE(get_le16(used() + 2) == idx(s, s->flushed + done) && s->q.inflight == 0);
}

static void body(void)
{
	static const uint16_t far[] = { 1, 2, 0x7fff, 0xfff0 };
	struct state s;
	int r;

	start(&s);
	for (unsigned i = 0; i < STEPS; i++) {
		switch (choose(7)) {
		case 0:
			driver_add(&s);
			break;
		case 1:
			driver_reap(&s);
			break;
		case 2:
			device_pop(&s);
			break;
		case 3:
			device_push(&s);
			break;
		case 4:
			device_flush(&s);
			break;
		case 5:
			device_unpop(&s);
			break;
		default:
			if (s.q.kicks_off) {
				bool more = vq_kicks(&s.q, true);

				PROVE(more == (s.popped < s.added));
				s.device_sleeps = !more;
			} else {
				(void)vq_kicks(&s.q, false);
				s.device_sleeps = false;
			}
			break;
		}
		PROVE(s.q.inflight == s.nfly);
	}
	if (choose(2)) {
		reload(&s);
		return;
	}
	put_le16(avail() + 2, (uint16_t)(idx(&s, s.popped) + s.n + CHOOSE_OF(far)));
	r = vq_pop(&s.q, &req[0]);
	PROVE(r == -EINVAL && vq_pending(&s.q) == -EINVAL);
}

PROOF_MAIN(body)
