// SPDX-License-Identifier: Apache-2.0
/* qcow2: where in the file a range of the disk lies. */
/*
 * How it works
 *
 * L1 is in memory, L2 tables are in the cache. qcow2_map() answers for what it finds there without
 * waiting, for nobody: neither for the lock, which a worker may hold while it waits for the medium.
 * A write is answered with a place only when the cluster has no other user; all the rest goes
 * aside.
 *
 * No cluster of data that a request may have been sent to is ever given back (disk_qcow2_io.c makes
 * holes of it instead), so a place that was answered stays good until the request has ended.
 */
#include <errno.h>
#include <string.h>

#include "core/limits.h"
#include "dev/disk_qcow2.h"
#include "dev/disk_qcow2_be.h"
#include "util/io.h"
#include "util/log.h"

/* For who opens it next. */
static void mark(struct qcow2 *q)
{
	uint8_t be[8];
	int r;

	q->incompatible |= QCOW2_INC_CORRUPT;
	put_be64(be, q->incompatible);
	r = io_pwrite(q->fd, be, sizeof(be), QCOW2_H_INCOMPATIBLE);
	if (!r)
		r = qcow2_sync(q);
	if (r)
		log_guest("disk %s: that cannot be noted in its header: %s", q->d.serial,
			err_text(r));
}

int qcow2_damaged(struct qcow2 *q, const char *what, uint64_t where)
{
	if (q->corrupt)
		return -EUCLEAN;
	q->corrupt = true;
	log_guest("disk %s: the qcow2 image is damaged: %s makes no sense: %llu", q->d.serial, what,
		(unsigned long long)where);
	if (!q->d.readonly && q->version > 2)
		mark(q);
	return -EUCLEAN;
}

uint64_t qcow2_entry(const struct qcow2_tab *t, uint32_t i)
{
	return get_be64(t->p + 8 * (size_t)i);
}

void qcow2_set_entry(struct qcow2_tab *t, uint32_t i, uint64_t v)
{
	put_be64(t->p + 8 * (size_t)i, v);
	qcow2_tab_changed(t, 8 * i, 8);
}

enum qcow2_kind qcow2_kind(const struct qcow2 *q, uint64_t entry, uint64_t *off)
{
	*off = entry & QCOW2_OFFSET;
	if (entry & QCOW2_COMPRESSED)
		return QCOW2_K_PACKED;
	if (q->version > 2 && (entry & QCOW2_ZERO))
		return QCOW2_K_ZERO;
	return *off ? QCOW2_K_DATA : QCOW2_K_NONE;
}

static uint64_t l1_index(const struct qcow2 *q, uint64_t at, uint32_t *index)
{
	*index = (uint32_t)(at >> q->cbits & ((q->csize >> 3) - 1));
	return at >> (2 * q->cbits - 3);
}

int qcow2_l2(struct qcow2 *q, uint64_t at, struct qcow2_tab **out, uint32_t *index)
{
	uint64_t off = q->l1[l1_index(q, at, index)] & QCOW2_OFFSET;

	*out = NULL;
	if (!off)
		return 0;
	if (!qcow2_may_use(q, off))
		return qcow2_damaged(q, "an L2 table's place", off);
	return qcow2_tab_get(q, &q->l2, off, out);
}

/* A copy of @old (0: an empty one), which loses a use. */
static int new_l2(struct qcow2 *q, uint32_t i, uint64_t old, struct qcow2_tab **out)
{
	struct qcow2_tab *t;
	uint64_t off, got;
	int r = 0;

	if (old) {
		r = qcow2_tab_get(q, &q->l2, old, &t);
		if (!r)
			memcpy(q->whole, t->p, q->csize);
	}
	if (!r)
		r = qcow2_alloc(q, 1, &off, &got);
	if (r)
		return r;
	r = qcow2_tab_new(q, &q->l2, off, &t);
	if (!r) {
		if (old)
			memcpy(t->p, q->whole, q->csize);
		q->eof = MAX(q->eof, off + q->csize);
		r = qcow2_tab_write(q, t);
		if (r)
			qcow2_tab_drop(t);
	}
	if (r) {
		(void)qcow2_ref_add(q, off >> q->cbits, -1);
		return r;
	}
	qcow2_l1_set(q, i, off | QCOW2_COPIED);
	*out = t;
	return old ? qcow2_pend(q, old >> q->cbits, 1) : 0;
}

int qcow2_l2_own(struct qcow2 *q, uint64_t at, struct qcow2_tab **out, uint32_t *index)
{
	uint32_t i = (uint32_t)l1_index(q, at, index);
	uint64_t off = q->l1[i] & QCOW2_OFFSET, refs = 1;
	int r = 0;

	if (off && !qcow2_may_use(q, off))
		return qcow2_damaged(q, "an L2 table's place", off);
	if (off && !(q->l1[i] & QCOW2_COPIED))
		r = qcow2_ref_get(q, off >> q->cbits, &refs);
	if (r)
		return r;
	if (!refs)
		return qcow2_damaged(q, "the refcount of an L2 table", off);
	if (!off || refs > 1)
		return new_l2(q, i, off, out);
	if (!(q->l1[i] & QCOW2_COPIED))
		qcow2_l1_set(q, i, off | QCOW2_COPIED);
	return qcow2_tab_get(q, &q->l2, off, out);
}

/* What the entry at index @i offers to a request that cannot wait. */
static enum disk_where quick(
	const struct qcow2 *q, const struct qcow2_tab *t, uint32_t i, bool write, uint64_t *off)
{
	uint64_t e = t ? qcow2_entry(t, i) : 0;

	switch (qcow2_kind(q, e, off)) {
	case QCOW2_K_DATA:
		if ((write && !(e & QCOW2_COPIED)) || !qcow2_may_use(q, *off))
			return DISK_ASIDE;
		return DISK_AT;
	case QCOW2_K_ZERO:
		return write ? DISK_ASIDE : DISK_ZEROES;
	case QCOW2_K_NONE:
		return write || q->backing ? DISK_ASIDE : DISK_ZEROES;
	default:
		return DISK_ASIDE;
	}
}

static void map_locked(struct qcow2 *q, bool write, uint64_t at, struct disk_extent *x)
{
	uint64_t in = at & (q->csize - 1), have, l1 = 0, off;
	struct qcow2_tab *t = NULL;
	enum disk_where w;
	uint32_t i;

	l1 = q->l1[l1_index(q, at, &i)] & QCOW2_OFFSET;
	if (l1 && !(t = qcow2_tab_find(&q->l2, l1)))
		return;
	w = quick(q, t, i, write, &off);
	if (w == DISK_ASIDE || (write && qcow2_may_write(q)))
		return;
	x->where = w;
	x->off = off + in;
	have = q->csize - in;
	/* and what follows in the same way, as far as the table goes */
	while (have < x->len && ++i < q->csize >> 3) {
		uint64_t more;

		if (quick(q, t, i, write, &more) != w || (w == DISK_AT && more != x->off + have))
			break;
		have += q->csize;
	}
	x->len = MIN(x->len, have);
}

void qcow2_map(struct disk *d, bool write, uint64_t off, uint64_t len, struct disk_extent *x)
{
	struct qcow2 *q = CONTAINER_OF(d, struct qcow2, d);

	*x = (struct disk_extent){ DISK_ASIDE, 0, len };
	if (pthread_mutex_trylock(&q->lock))
		return;
	map_locked(q, write, off, x);
	(void)pthread_mutex_unlock(&q->lock);
}
