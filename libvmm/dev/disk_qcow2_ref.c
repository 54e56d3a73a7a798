// SPDX-License-Identifier: Apache-2.0
/* qcow2: how often each cluster of the file is used, and finding those that are not. */
/*
 * How it works
 *
 * The refcount table names a block of counts for each stretch of the file. A stretch without one is
 * unused: whoever needs the first cluster there puts the block itself into it. When the table is
 * full, a longer one is laid down behind all that it covers, with the blocks that count it, and the
 * header is pointed at it by one write. Both happen so rarely that they are written at once, in
 * order.
 *
 * Clusters are found by looking from the lowest that may be free. Their counts change in memory;
 * disk_qcow2_tab.c writes them before anything that points there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk_qcow2.h"
#include "dev/disk_qcow2_be.h"
#include "util/cleanup.h"
#include "util/io.h"

#define HEADER_RT 48 /* be64 offset and be32 clusters of the refcount table, in the header */
/* Clusters behind the end of the file that may be counted: some are when who wrote the image was
 * killed. More of them are there to make us count. */
#define BEYOND (1U << 20)

static uint64_t ref_load(const struct qcow2 *q, const uint8_t *p, uint64_t i)
{
	switch (q->ref_bits) {
	case 8:
		return p[i];
	case 16:
		return get_be16(p + 2 * i);
	case 32:
		return get_be32(p + 4 * i);
	case 64:
		return get_be64(p + 8 * i);
	default:
		i *= q->ref_bits;
		return p[i / 8] >> (i % 8) & ((1U << q->ref_bits) - 1);
	}
}

static void ref_store(const struct qcow2 *q, uint8_t *p, uint64_t i, uint64_t v)
{
	switch (q->ref_bits) {
	case 8:
		p[i] = (uint8_t)v;
		break;
	case 16:
		put_be16(p + 2 * i, (uint16_t)v);
		break;
	case 32:
		put_be32(p + 4 * i, (uint32_t)v);
		break;
	case 64:
		put_be64(p + 8 * i, v);
		break;
	default:
		i *= q->ref_bits;
		p[i / 8] &= (uint8_t) ~(((1U << q->ref_bits) - 1) << (i % 8));
		p[i / 8] |= (uint8_t)(v << (i % 8));
	}
}

static uint64_t ref_max(const struct qcow2 *q)
{
	return q->ref_bits == 64 ? UINT64_MAX : (1ULL << q->ref_bits) - 1;
}

bool qcow2_may_use(const struct qcow2 *q, uint64_t off)
{
	return off >= q->csize && !(off & (q->csize - 1)) && off < LIM_BLK_BYTES &&
		!(off < q->l1_off + 8ULL * q->l1_n && off + q->csize > q->l1_off) &&
		!(off < q->rt_off + 8 * q->rt_n && off + q->csize > q->rt_off);
}

/* The block of @cluster's count, NULL where there is none, and the index in it. */
static int block_of(struct qcow2 *q, uint64_t cluster, struct qcow2_tab **out, uint64_t *i)
{
	uint64_t n = cluster >> q->rb_bits, off;

	*out = NULL;
	*i = cluster & ((1ULL << q->rb_bits) - 1);
	off = n < q->rt_n ? q->rt[n] & ~511ULL : 0;
	if (!off)
		return 0;
	if (!qcow2_may_use(q, off))
		return qcow2_damaged(q, "a refcount block's place", off);
	return qcow2_tab_get(q, &q->rb, off, out);
}

int qcow2_ref_get(struct qcow2 *q, uint64_t cluster, uint64_t *v)
{
	struct qcow2_tab *t;
	uint64_t i;
	int r = block_of(q, cluster, &t, &i);

	*v = !r && t ? ref_load(q, t->p, i) : 0;
	return r;
}

static void ref_set(const struct qcow2 *q, struct qcow2_tab *t, uint64_t i, uint64_t v)
{
	ref_store(q, t->p, i, v);
	qcow2_tab_changed(t, (uint32_t)(i * q->ref_bits / 8), MAX(q->ref_bits / 8, 1U));
}

int qcow2_ref_add(struct qcow2 *q, uint64_t cluster, int delta)
{
	struct qcow2_tab *t;
	uint64_t i, v;
	int r = block_of(q, cluster, &t, &i);

	if (r)
		return r;
	v = t ? ref_load(q, t->p, i) : 0;
	if (!t || (delta < 0 && !v))
		return qcow2_damaged(q, "the refcount of a cluster in use", cluster << q->cbits);
	if (delta > 0 && v == ref_max(q))
		return -EMLINK;
	v += (uint64_t)(int64_t)delta;
	ref_set(q, t, i, v);
	if (!v)
		q->hint = MIN(q->hint, cluster);
	return 0;
}

static bool within(uint64_t off, uint64_t from, uint64_t n)
{
	return off - from < n && off >= from;
}

/*
 * Clusters that nothing counts, but that tables are known to lie in: an image with such counts
 * would have its tables written over. What snapshots alone have is not known here.
 */
static int check_unused(struct qcow2 *q, uint64_t first, uint64_t n)
{
	uint64_t off = first << q->cbits, len = n << q->cbits;

	for (uint64_t i = 0; i < q->rt_n; i++)
		if (q->rt[i] && within(q->rt[i] & ~511ULL, off, len))
			return qcow2_damaged(q, "the refcount of a refcount block", q->rt[i]);
	for (uint32_t i = 0; i < q->l1_n; i++)
		if (q->l1[i] && within(q->l1[i] & QCOW2_OFFSET, off, len))
			return qcow2_damaged(
				q, "the refcount of an L2 table", q->l1[i] & QCOW2_OFFSET);
	if (q->snap_n &&
		(within(q->snap_off, off, len) || within(off, q->snap_off, q->snap_n << q->cbits)))
		return qcow2_damaged(q, "the refcount of the snapshot table", q->snap_off);
	return 0;
}

/* A block for the stretch of @cluster, which lies in that cluster itself. */
static int new_block(struct qcow2 *q, uint64_t cluster)
{
	uint64_t n = cluster >> q->rb_bits, off = cluster << q->cbits;
	struct qcow2_tab *t;
	uint8_t be[8];
	int r = check_unused(q, cluster, 1);

	if (!r)
		r = qcow2_tab_new(q, &q->rb, off, &t);
	if (r)
		return r;
	ref_set(q, t, cluster & ((1ULL << q->rb_bits) - 1), 1);
	r = qcow2_tab_write(q, t);
	if (!r)
		r = qcow2_sync(q);
	put_be64(be, off);
	if (!r)
		r = io_pwrite(q->fd, be, sizeof(be), q->rt_off + 8 * n);
	if (r) {
		qcow2_tab_drop(t);
		return r;
	}
	q->rt[n] = off;
	q->refs_unsynced = true;
	q->eof = MAX(q->eof, off + q->csize);
	return 0;
}

/* Blocks that count themselves and @table clusters behind them. */
static uint64_t blocks_for(const struct qcow2 *q, uint64_t table)
{
	uint64_t per = 1ULL << q->rb_bits, n = 1;

	while (n * per < n + table)
		n++;
	return n;
}

/* Writes the longer table and its blocks from cluster @at on. */
static int lay_down(struct qcow2 *q, uint64_t at, uint64_t blocks, uint64_t table, uint64_t *rt)
{
	uint64_t per = 1ULL << q->rb_bits, n = at >> q->rb_bits;
	CLEAN_FREE uint8_t *be = NULL;
	int r = 0;

	for (uint64_t b = 0; !r && b < blocks; b++) {
		struct qcow2_tab *t;

		rt[n + b] = (at + b) << q->cbits;
		r = qcow2_tab_new(q, &q->rb, rt[n + b], &t);
		for (uint64_t i = 0; !r && i < per && b * per + i < blocks + table; i++)
			ref_store(q, t->p, i, 1);
		if (!r)
			r = qcow2_tab_write(q, t);
	}
	be = calloc(1, MAX(table << q->cbits, 512ULL));
	if (!be)
		return -ENOMEM;
	for (uint64_t i = 0; i < n + blocks; i++)
		put_be64(be + 8 * i, rt[i]);
	if (!r)
		r = io_pwrite(q->fd, be, table << q->cbits, (at + blocks) << q->cbits);
	return r ? r : qcow2_sync(q);
}

/* The blocks of a table that is not to be. */
static void take_up(struct qcow2 *q, uint64_t at, uint64_t blocks)
{
	for (uint64_t b = 0; b < blocks; b++) {
		struct qcow2_tab *t = qcow2_tab_find(&q->rb, (at + b) << q->cbits);

		if (t)
			qcow2_tab_drop(t);
	}
}

static int longer_table(struct qcow2 *q)
{
	uint64_t at = q->rt_n << q->rb_bits, old = q->rt_n * 8 >> q->cbits, table = 2 * old,
		 blocks = blocks_for(q, table), old_off = q->rt_off;
	CLEAN_FREE uint64_t *rt = NULL;
	uint8_t be[12];
	int r;

	if (table << q->cbits > LIM_QCOW2_RT || at >= LIM_BLK_BYTES >> q->cbits)
		return -EFBIG;
	r = check_unused(q, at, blocks + table);
	if (r)
		return r;
	rt = calloc(table, q->csize);
	if (!rt)
		return -ENOMEM;
	memcpy(rt, q->rt, q->rt_n * 8);
	r = lay_down(q, at, blocks, table, rt);
	put_be64(be, (at + blocks) << q->cbits);
	put_be32(be + 8, (uint32_t)table);
	if (!r)
		r = io_pwrite(q->fd, be, sizeof(be), HEADER_RT);
	if (!r)
		r = qcow2_sync(q);
	if (r) {
		take_up(q, at, blocks);
		return r;
	}
	free(q->rt);
	q->rt = TAKE_PTR(rt);
	q->rt_off = (at + blocks) << q->cbits;
	q->rt_n = table << q->cbits >> 3;
	q->eof = MAX(q->eof, q->rt_off + (table << q->cbits));
	return qcow2_pend(q, old_off >> q->cbits, old);
}

/* Whether @c is free; a place that nothing counts yet is made to. */
static int is_free(struct qcow2 *q, uint64_t c, bool *yes)
{
	struct qcow2_tab *t;
	uint64_t i;
	int r = 0;

	*yes = false;
	if (c >> q->rb_bits >= q->rt_n)
		return longer_table(q); /* which lies there; the next is looked at anew */
	r = block_of(q, c, &t, &i);
	if (!r && t)
		*yes = !ref_load(q, t->p, i) && qcow2_may_use(q, c << q->cbits);
	else if (!r && qcow2_may_use(q, c << q->cbits))
		r = new_block(q, c);
	return r;
}

int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *off, uint64_t *got)
{
	uint64_t c = q->hint, first, n = 0;
	bool yes = false;
	int r = 0;

	/* what has been looked at is not looked at again, whether it leads to something or not */
	for (; !r && !yes; q->hint = c++) {
		if (c >= LIM_BLK_BYTES >> q->cbits || c > (q->eof >> q->cbits) + BEYOND)
			return -EFBIG;
		r = is_free(q, c, &yes);
	}
	first = c - 1;
	while (!r && yes) {
		r = qcow2_ref_add(q, first + n, 1);
		n += !r;
		if (r || n == want)
			break;
		/* the rest as far as it goes: not across a stretch that is not counted yet */
		if ((first + n) >> q->rb_bits >= q->rt_n || !q->rt[(first + n) >> q->rb_bits])
			break;
		r = is_free(q, first + n, &yes);
	}
	if (!n)
		return r;
	r = check_unused(q, first, n);
	if (r)
		return r;
	q->hint = first + n;
	*off = first << q->cbits;
	*got = n;
	return 0;
}
