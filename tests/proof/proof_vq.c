// SPDX-License-Identifier: Apache-2.0
/* Descriptor chains, bounded: vq_pop() against a second reading of the specification. */
/*
 * How it works
 *
 * The model walks a chain and chooses each descriptor when it gets there; those that nobody reaches
 * hold a good one of one byte, which a walk that goes wrong would take. So every chain over the
 * boundary values below is met, in a ring of 1, 2 or 4 descriptors and tables of 1 to 3, without
 * counting the same one twice. vq_pop() must then agree with the model: the same refusal, or the
 * same bytes in the same order. 35 million chains are 105 s of a processor of its own, with the
 * sanitizers:
 * timeout: 900
 */
#include <errno.h>

#include "core/mem.h"
#include "proof/proof.h"
#include "util/bytes.h"
#include "virtio/vq.h"

#define PAGE 4096ULL
#define LO   0x10000ULL
#define TAB  0x800 /* of the table in the first page */
#define MAXN 4

#define NEXT	 1U
#define WRITE	 2U
#define INDIRECT 4U

/* Two pages of RAM that meet, a read-only one, a window; then nothing. */
static _Alignas(4096) uint8_t page[4][PAGE * 2];
static struct mem m;

struct buffer {
	uint64_t gpa;
	uint32_t len;
};

/* What a descriptor may say about a buffer, or about a table. */
static const struct buffer few[] = {
	{ LO + 0x900, 8 },	  /* plain */
	{ LO + PAGE - 4, 8 },	  /* across two regions */
	{ LO + 4 * PAGE - 4, 8 }, /* half of it is nowhere */
	{ 0, 0 },		  /* empty */
};
static const struct buffer many[] = {
	{ LO + 0x900, 8 },
	{ LO + PAGE - 4, 8 },
	{ LO + 2 * PAGE - 4, 8 }, /* the second half read-only */
	{ LO + 2 * PAGE, 8 },
	{ LO + 3 * PAGE - 4, 8 }, /* read-only, then window */
	{ LO + 3 * PAGE, PAGE },
	{ LO + 4 * PAGE - 4, 8 },
	{ LO + 4 * PAGE, 1 },
	{ LO - 1, 1 },
	{ LO - 1, 2 },
	{ LO, 4 * PAGE }, /* all there is */
	{ LO, 4 * PAGE + 1 },
	{ UINT64_MAX, 1 },
	{ UINT64_MAX, 2 },
	{ 0, 0 },
	{ LO, UINT32_MAX },
};
static const struct buffer tables[] = {
	{ LO + TAB, 16 },
	{ LO + TAB, 32 },
	{ LO + TAB, 48 },
	{ LO + TAB + 4, 32 },	/* not aligned */
	{ LO + PAGE - 16, 32 }, /* across regions */
	{ LO + TAB, 0 },
	{ LO + TAB, 15 },
	{ LO + TAB, 24 },
	{ LO + TAB, 16 * (LIM_CHAIN + 1) },
	{ LO + 3 * PAGE, 16 }, /* in a window */
	{ LO + 4 * PAGE - 8, 16 },
	{ UINT64_MAX - 15, 32 },
};

static const struct buffer unchosen = { LO + 0xa00, 1 };

struct model {
	unsigned n, level; /* entries of the ring; 0: few choices, 1: all */
	bool indirect_ok;
	int err;
	/* bytes of the chain by piece, in order */
	unsigned np, nrd;
	struct {
		const uint8_t *p;
		uint64_t len;
	} piece[64];
	uint64_t bytes;
	bool wrote;
};

static void store(uint64_t gpa, unsigned i, const struct buffer *b, unsigned flags, unsigned next)
{
	uint8_t d[16];

	put_le64(d, b->gpa);
	put_le32(d + 8, b->len);
	put_le16(d + 12, (uint16_t)flags);
	put_le16(d + 14, (uint16_t)next);
	for (unsigned k = 0; k < 16; k++) {
		uint64_t off = gpa + 16ULL * i + k - LO;

		if (off < 4 * PAGE)
			page[off / PAGE][off % PAGE] = d[k];
	}
}

/* A buffer, page by page. */
static int model_buffer(struct model *o, const struct buffer *b, bool wr)
{
	uint64_t gpa = b->gpa, left = b->len;

	if (!wr && o->wrote)
		return -EINVAL;
	o->wrote = wr;
	o->bytes += left;
	if (o->bytes > LIM_CHAIN_BYTES)
		return -EINVAL;
	while (left) {
		uint64_t off = gpa - LO, n = PAGE - off % PAGE;

		if (off >= 4 * PAGE || (wr && off / PAGE == 2))
			return -EFAULT;
		n = left < n ? left : n;
		o->piece[o->np].p = &page[off / PAGE][off % PAGE];
		o->piece[o->np++].len = n;
		gpa += n;
		left -= n;
	}
	if (!wr)
		o->nrd = o->np;
	return 0;
}

/* Chooses and follows a chain in a table of @n entries at @gpa, from entry @i. */
static int model_walk(struct model *o, uint64_t gpa, unsigned n, unsigned i, bool in_table)
{
	unsigned seen = 0; /* bit map of entries that have been passed */

	for (;;) {
		struct buffer b;
		unsigned flags, next;
		int r;

		if (i >= n)
			return -EINVAL;
		if (seen >> i & 1)
			return -EINVAL;
		seen |= 1U << i;
		flags = choose(8);
		if (flags & INDIRECT)
			b = CHOOSE_OF(tables);
		else
			b = o->level ? CHOOSE_OF(many) : CHOOSE_OF(few);
		next = flags & NEXT ? choose(n + 2) : 0xffff;
		if (next == n + 1)
			next = 0xffff;
		store(gpa, i, &b, flags, next);
		if (flags & INDIRECT) {
			if (in_table || !o->indirect_ok || (flags & NEXT) || !b.len || b.len % 16 ||
				b.len / 16 > LIM_CHAIN)
				return -EINVAL;
			/* Tables that are partly elsewhere fail when the walk gets to that part. */
			if (b.gpa - LO >= 3 * PAGE)
				return -EFAULT;
			return model_walk(o, b.gpa, b.len / 16, 0, true);
		}
		r = model_buffer(o, &b, flags & WRITE);
		if (r || !(flags & NEXT))
			return r;
		i = next;
	}
}

static void compare(const struct model *o, const struct vq_req *q)
{
	PROVE(q->niov == o->np && q->rd.cnt == o->nrd && q->wr.cnt == o->np - o->nrd);
	PROVE(q->rd.iov == q->iov && q->wr.iov == q->iov + o->nrd);
	PROVE(q->rd.left + q->wr.left == o->bytes);
	for (unsigned i = 0; i < o->np; i++)
		PROVE(q->iov[i].iov_base == o->piece[i].p && q->iov[i].iov_len == o->piece[i].len);
}

static void body(void)
{
	static struct vq_req req;
	static struct model o;
	unsigned head;
	struct vq q;
	int r;

	memset(&o, 0, sizeof(o));
	m = (struct mem){ .n = 4, .nshm = 1 };
	for (unsigned i = 0; i < 4; i++)
		m.r[i] = (struct mem_region){ .gpa = LO + i * PAGE,
			.len = PAGE,
			.hva = page[i],
			.kind = i == 3 ? MEM_SHM : MEM_RAM,
			.readonly = i == 2 };
	for (unsigned i = 0; i < MAXN; i++) {
		store(LO, i, &unchosen, 0, 0);
		store(LO + TAB, i, &unchosen, 0, 0);
	}
	o.n = 1U << choose(3);
	o.level = o.n < 4;
	o.indirect_ok = choose(2);
	head = choose(o.n > 1 ? 3 : 2);
	head = head == 1 ? o.n : head == 2 ? o.n - 1 : 0;

	vq_init(&q, &m, MAXN);
	q.size = (uint16_t)o.n;
	q.indirect = o.indirect_ok;
	q.desc = LO;
	q.avail = LO + 16 * MAXN;
	q.used = LO + 16 * MAXN + 32;
	r = vq_start(&q, false);
	PROVE(r == 0);
	o.err = model_walk(&o, LO, o.n, head, false);
	put_le16(page[0] + 16 * MAXN + 2, 1);
	put_le16(page[0] + 16 * MAXN + 4, (uint16_t)head);

	r = vq_pop(&q, &req);
	PROVE(r == (o.err ? o.err : 1));
	if (r == 1) {
		PROVE(req.head == head && q.inflight == 1 && q.last_avail == 1);
		compare(&o, &req);
		/* The same head again, while it is in flight. */
		put_le16(page[0] + 16 * MAXN + 2, 2);
		for (unsigned i = 0; i < o.n; i++)
			put_le16(page[0] + 16 * MAXN + 4 + 2 * i, (uint16_t)head);
		r = vq_pop(&q, &req);
		PROVE(r == -EINVAL && q.inflight == 1 && q.last_avail == 1);
	} else {
		PROVE(q.inflight == 0 && q.last_avail == 0 && q.busy[0] == 0);
	}
}

PROOF_MAIN(body)
