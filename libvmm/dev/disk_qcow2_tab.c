// SPDX-License-Identifier: Apache-2.0
/* qcow2: tables in memory, and how they get back into the file. */
/*
 * How it works
 *
 * L2 tables and refcount blocks are clusters of the image, kept in two caches as they are in the
 * file, with the range of bytes that was changed. They are written when the guest flushes, when a
 * changed table must make room, and at the end. A new one has its place in the file at once, so
 * that a host without room is an error of the request that wanted it, and not of all that come
 * after it.
 *
 * The order is what makes a kill, or a loss of power, at any moment harmless. First refcounts: they
 * only ever say that more is used than before, so stopping after them is a leak. Then L2 tables,
 * whose clusters are counted by now; then L1, whose tables are there by now. Between the steps the
 * medium is synced. What has lost a use is counted down only after that, when nothing in the file
 * points at it any more; until then it is not given to anybody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk_qcow2.h"
#include "dev/disk_qcow2_be.h"
#include "util/io.h"

#define SECTOR_MASK (DISK_SECTOR - 1)

static unsigned tables_for(const struct qcow2 *q, uint64_t bytes)
{
	uint64_t n = bytes >> q->cbits;

	return (unsigned)(n < 4 ? 4 : MIN(n, (uint64_t)QCOW2_TABLES));
}

int qcow2_tabs_new(struct qcow2 *q)
{
	uint8_t *p;

	q->l2.n = tables_for(q, LIM_QCOW2_L2);
	q->rb.n = tables_for(q, LIM_QCOW2_REFS);
	q->tables = aligned_alloc(
		4096, ALIGN_UP((uint64_t)(q->l2.n + q->rb.n + 1) << q->cbits, (uint64_t)4096));
	if (!q->tables)
		return -ENOMEM;
	p = q->tables;
	for (unsigned i = 0; i < q->l2.n; i++, p += q->csize)
		q->l2.tab[i].p = p;
	for (unsigned i = 0; i < q->rb.n; i++, p += q->csize)
		q->rb.tab[i].p = p;
	q->whole = p;
	return 0;
}

struct qcow2_tab *qcow2_tab_find(struct qcow2_cache *c, uint64_t off)
{
	struct qcow2_tab *t = &c->tab[c->last];

	for (unsigned i = 0; t->off != off; i++) {
		if (i == c->n)
			return NULL;
		t = &c->tab[i];
		c->last = i;
	}
	t->used = ++c->clock;
	return t;
}

void qcow2_tab_changed(struct qcow2_tab *t, uint32_t at, uint32_t n)
{
	uint32_t lo = at & ~SECTOR_MASK, hi = (at + n + SECTOR_MASK) & ~SECTOR_MASK;

	if (t->lo == t->hi) {
		t->lo = lo;
		t->hi = hi;
	} else {
		t->lo = MIN(t->lo, lo);
		t->hi = MAX(t->hi, hi);
	}
}

int qcow2_tab_write(struct qcow2 *q, struct qcow2_tab *t)
{
	int r = t->lo == t->hi ? 0 : io_pwrite(q->fd, t->p + t->lo, t->hi - t->lo, t->off + t->lo);

	if (t->lo != t->hi && t >= q->rb.tab && t < q->rb.tab + QCOW2_TABLES)
		q->refs_unsynced = true;
	else if (t->lo != t->hi)
		q->l2_unsynced = true;
	if (!r)
		t->lo = t->hi = 0;
	return r;
}

void qcow2_tab_drop(struct qcow2_tab *t)
{
	*t = (struct qcow2_tab){ .p = t->p };
}

static bool is_changed(const struct qcow2_tab *t)
{
	return t->lo != t->hi;
}

/* Shall @a go rather than @b? What is as the file has it costs nothing, and cannot fail. */
static bool goes_first(const struct qcow2_tab *a, const struct qcow2_tab *b)
{
	return is_changed(a) != is_changed(b) ? is_changed(b) : a->used < b->used;
}

int qcow2_may_write(struct qcow2 *q)
{
	return q->corrupt ? -EUCLEAN : disk_sync_end(&q->d, 0);
}

/* One that is empty, or is written now if it has to be. */
static int make_room(struct qcow2 *q, struct qcow2_cache *c, struct qcow2_tab **out)
{
	struct qcow2_tab *t = &c->tab[0];
	int r = 0;

	for (unsigned i = 0; i < c->n && t->off; i++)
		if (!c->tab[i].off || goes_first(&c->tab[i], t))
			t = &c->tab[i];
	if (is_changed(t)) {
		r = qcow2_may_write(q);
		if (!r)
			r = c == &q->rb ? qcow2_tab_write(q, t) : qcow2_write_back(q);
	}
	if (r)
		return r;
	qcow2_tab_drop(t);
	*out = t;
	return 0;
}

static void take_in(struct qcow2_cache *c, struct qcow2_tab *t, uint64_t off)
{
	t->off = off;
	t->used = ++c->clock;
	c->last = (unsigned)(t - c->tab);
}

int qcow2_tab_get(struct qcow2 *q, struct qcow2_cache *c, uint64_t off, struct qcow2_tab **out)
{
	struct qcow2_tab *t = qcow2_tab_find(c, off);
	int r;

	if (!t) {
		if (!off || (off & (q->csize - 1)))
			return qcow2_damaged(q, "a table's place", off);
		r = make_room(q, c, &t);
		if (!r)
			r = io_pread(q->fd, t->p, q->csize, off);
		if (r)
			return r == -ENODATA ? qcow2_damaged(q, "a table's place", off) : r;
		take_in(c, t, off);
	}
	*out = t;
	return 0;
}

int qcow2_tab_new(struct qcow2 *q, struct qcow2_cache *c, uint64_t off, struct qcow2_tab **out)
{
	struct qcow2_tab *t = qcow2_tab_find(c, off);
	int r = t ? 0 : make_room(q, c, &t);

	if (r)
		return r;
	memset(t->p, 0, q->csize);
	take_in(c, t, off);
	qcow2_tab_changed(t, 0, (uint32_t)q->csize);
	*out = t;
	return 0;
}

void qcow2_l1_set(struct qcow2 *q, uint32_t i, uint64_t v)
{
	q->l1[i] = v;
	if (q->l1_lo == q->l1_hi) {
		q->l1_lo = i;
		q->l1_hi = i + 1;
	} else {
		q->l1_lo = MIN(q->l1_lo, i);
		q->l1_hi = MAX(q->l1_hi, i + 1);
	}
}

static int write_l1(struct qcow2 *q)
{
	uint8_t buf[512];
	int r = 0;

	while (!r && q->l1_lo < q->l1_hi) {
		uint32_t n = MIN(q->l1_hi - q->l1_lo, (uint32_t)(sizeof(buf) / 8));

		for (uint32_t i = 0; i < n; i++)
			put_be64(buf + 8 * i, q->l1[q->l1_lo + i]);
		r = io_pwrite(q->fd, buf, 8 * n, q->l1_off + 8ULL * q->l1_lo);
		q->l1_lo += r ? 0 : n;
	}
	if (!r)
		q->l1_lo = q->l1_hi = 0;
	return r;
}

int qcow2_sync(struct qcow2 *q)
{
	int r = 0;

	if (q->d.sync != DISK_SYNC_NONE)
		r = disk_sync_end(&q->d, fdatasync(q->fd) ? -errno : 0);
	if (!r)
		q->refs_unsynced = q->l2_unsynced = false;
	return r;
}

static bool any_changed(const struct qcow2_cache *c)
{
	for (unsigned i = 0; i < c->n; i++)
		if (is_changed(&c->tab[i]))
			return true;
	return false;
}

static int write_cache(struct qcow2 *q, struct qcow2_cache *c)
{
	int r = 0;

	for (unsigned i = 0; !r && i < c->n; i++)
		r = qcow2_tab_write(q, &c->tab[i]);
	return r;
}

static int count_down(struct qcow2 *q)
{
	int r = 0;

	while (!r && q->npend) {
		struct qcow2_range *p = &q->pend[q->npend - 1];

		if (!p->n) {
			q->npend--;
			continue;
		}
		r = qcow2_ref_add(q, p->first, -1);
		p->first++;
		p->n--;
	}
	return r;
}

int qcow2_write_back(struct qcow2 *q)
{
	bool l2 = any_changed(&q->l2), l1 = q->l1_lo != q->l1_hi;
	int r = qcow2_may_write(q);

	if (!r)
		r = write_cache(q, &q->rb);
	/* also what was written to make room, or by a write-back that failed half way */
	if (!r && q->refs_unsynced && (l2 || l1))
		r = qcow2_sync(q);
	if (!r && l2)
		r = write_cache(q, &q->l2);
	if (!r && q->l2_unsynced && l1)
		r = qcow2_sync(q);
	if (!r && l1)
		r = write_l1(q);
	if (!r && q->npend) {
		r = qcow2_sync(q);
		if (!r)
			r = count_down(q);
	}
	return r;
}

int qcow2_pend(struct qcow2 *q, uint64_t first, uint64_t n)
{
	if (q->npend == QCOW2_PEND) {
		int r = qcow2_write_back(q);

		if (r)
			return r;
	}
	q->pend[q->npend++] = (struct qcow2_range){ first, n };
	return 0;
}
