// SPDX-License-Identifier: Apache-2.0
/* qcow2: reads, writes, discards and flushes that are more than one place in the file. */
/*
 * How it works
 *
 * A request is done cluster by cluster under the lock, which is given up for reads of plain data
 * alone. A write into a cluster that is the disk's own goes there. Any other gets a new one: what
 * the write does not cover is copied from where it was, the data follows, and only then does the L2
 * entry change, in memory. Clusters in a row that are wholly new are allocated and written as one.
 *
 * Discard makes a hole in the file below a cluster of the disk's own and keeps it allocated: it
 * reads as zeroes then, nothing in the image changes, and no request that is still on its way to
 * that cluster can meet another owner. Zeroes are the same, or version 3's flag in the L2 entry.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk_qcow2.h"
#include "util/io.h"

/* A cursor over bytes of ours. */
struct local {
	struct iovec v;
	struct iobuf b;
};

static struct iobuf *over(struct local *l, const void *p, size_t n)
{
	l->v = (struct iovec){ .iov_base = (void *)(uintptr_t)p, .iov_len = n };
	iobuf_init(&l->b, &l->v, 1);
	return &l->b;
}

static int zero_fill(const struct qcow2 *q, struct iobuf *b, uint64_t n)
{
	return disk_zero_fill(&q->d, b, n);
}

/* Bytes of ours. What lies in a window is for the kernel to write: by way of a file, then. */
static int give(const struct qcow2 *q, struct iobuf *b, const uint8_t *p, uint64_t n)
{
	int r = iobuf_push(b, p, n);

	if (r != -EFAULT)
		return r;
	r = io_pwrite(q->bounce_fd, p, n, 0);
	return r ? r : disk_read_all(q->bounce_fd, b, 0, n);
}

/* From the file; behind its end are zeroes. */
static int read_data(const struct qcow2 *q, struct iobuf *b, uint64_t off, uint64_t n)
{
	size_t before = b->left;
	int r = disk_read_all(q->fd, b, off, n);

	return r == -ENODATA ? zero_fill(q, b, n - (before - b->left)) : r;
}

/* What no cluster of this image holds. */
static int read_below(const struct qcow2 *q, struct iobuf *b, uint64_t at, uint64_t n)
{
	uint64_t there = 0;
	int r = 0;

	if (q->backing && at < q->backing->bytes)
		there = MIN(n, q->backing->bytes - at);
	if (there)
		r = disk_run(q->backing, DISK_READ, b, at, there);
	return !r && there < n ? zero_fill(q, b, n - there) : r;
}

/* @n bytes at @at, within one cluster, whose entry is @e. */
static int read_entry(struct qcow2 *q, uint64_t e, struct iobuf *b, uint64_t at, uint64_t n)
{
	uint64_t off, in = at & (q->csize - 1);
	const uint8_t *p;
	int r;

	switch (qcow2_kind(q, e, &off)) {
	case QCOW2_K_DATA:
		if (!qcow2_may_use(q, off))
			return qcow2_damaged(q, "a cluster's place", off);
		return read_data(q, b, off + in, n);
	case QCOW2_K_ZERO:
		return zero_fill(q, b, n);
	case QCOW2_K_NONE:
		return read_below(q, b, at, n);
	default:
		r = qcow2_zip_read(q, e, &p);
		return r ? r : give(q, b, p + in, n);
	}
}

static int do_read(struct qcow2 *q, struct iobuf *b, uint64_t at, uint64_t n)
{
	struct qcow2_tab *t;
	uint64_t e, off;
	uint32_t i;
	int r = qcow2_l2(q, at, &t, &i);

	if (r)
		return r;
	e = t ? qcow2_entry(t, i) : 0;
	if (qcow2_kind(q, e, &off) != QCOW2_K_DATA)
		return read_entry(q, e, b, at, n);
	/* No cluster with data loses its content while it can be read here. */
	if (!qcow2_may_use(q, off))
		return qcow2_damaged(q, "a cluster's place", off);
	(void)pthread_mutex_unlock(&q->lock);
	r = read_data(q, b, off + (at & (q->csize - 1)), n);
	(void)pthread_mutex_lock(&q->lock);
	return r;
}

/* The part [from, to) of a new cluster at @off that a write leaves over. */
static int fill(struct qcow2 *q, uint64_t e, uint64_t at, uint64_t off, uint64_t from, uint64_t to)
{
	uint64_t base = at & ~(q->csize - 1), old;
	enum qcow2_kind k = qcow2_kind(q, e, &old);
	struct local l;
	int r;

	if (from == to)
		return 0;
	if (k == QCOW2_K_ZERO || (k == QCOW2_K_NONE && !q->backing))
		return off >= q->eof ? 0 : disk_zero_range(q->fd, false, off + from, to - from);
	r = read_entry(q, e, over(&l, q->whole, to - from), base + from, to - from);
	return r ? r : io_pwrite(q->fd, q->whole, to - from, off + from);
}

/* What an entry that is replaced has in the file loses a use. */
static int let_go(struct qcow2 *q, uint64_t e)
{
	uint64_t off, first, n;

	switch (qcow2_kind(q, e, &off)) {
	case QCOW2_K_PACKED:
		qcow2_zip_range(q, e, &first, &n);
		return qcow2_pend(q, first, n);
	case QCOW2_K_NONE:
		return 0;
	default:
		return off ? qcow2_pend(q, off >> q->cbits, 1) : 0;
	}
}

/* Whether a write may go to the cluster of @e; then the entry is the disk's own. */
static int make_own(struct qcow2 *q, struct qcow2_tab *t, uint32_t i, uint64_t e, bool *own)
{
	uint64_t off, refs = 1;
	int r = 0;

	*own = false;
	if (qcow2_kind(q, e, &off) != QCOW2_K_DATA)
		return 0;
	if (!qcow2_may_use(q, off))
		return qcow2_damaged(q, "a cluster's place", off);
	if (!(e & QCOW2_COPIED))
		r = qcow2_ref_get(q, off >> q->cbits, &refs);
	if (r)
		return r;
	if (!refs)
		return qcow2_damaged(q, "the refcount of a cluster in use", off);
	*own = refs == 1;
	if (*own && !(e & QCOW2_COPIED))
		qcow2_set_entry(t, i, e | QCOW2_COPIED);
	return 0;
}

/* Entries from @i on that are to become new clusters and hold nothing yet, up to @most. */
static uint64_t empty_run(
	const struct qcow2 *q, const struct qcow2_tab *t, uint32_t i, uint64_t most)
{
	uint64_t n = 1, off;

	while (n < most && i + n < q->csize >> 3) {
		uint64_t e = qcow2_entry(t, (uint32_t)(i + n));
		enum qcow2_kind k = qcow2_kind(q, e, &off);

		if (k != QCOW2_K_NONE && (k != QCOW2_K_ZERO || off))
			break;
		n++;
	}
	return n;
}

/* A write of up to @n bytes into clusters that are not there yet; *done: so many. */
static int write_new(struct qcow2 *q, struct qcow2_tab *t, uint32_t i, struct iobuf *b, uint64_t at,
	uint64_t n, uint64_t *done)
{
	uint64_t in = at & (q->csize - 1), want = (in + n + q->csize - 1) >> q->cbits, off, got,
		 end;
	uint64_t e = qcow2_entry(t, i), last;
	int r = qcow2_alloc(q, empty_run(q, t, i, want), &off, &got);

	if (r)
		return r;
	n = MIN(n, (got << q->cbits) - in);
	end = in + n;
	last = qcow2_entry(t, (uint32_t)(i + got - 1));
	r = fill(q, e, at, off, 0, in);
	if (!r && (end & (q->csize - 1)))
		r = fill(q, last, at + n, off + ((got - 1) << q->cbits), end & (q->csize - 1),
			q->csize);
	if (!r)
		r = disk_write_all(q->fd, b, off + in, n);
	if (r) {
		for (uint64_t k = 0; k < got; k++)
			(void)qcow2_ref_add(q, (off >> q->cbits) + k, -1);
		/* it may have been written to: no longer a hole */
		q->eof = MAX(q->eof, off + (got << q->cbits));
		return r;
	}
	q->eof = MAX(q->eof, off + (got << q->cbits));
	for (uint64_t k = 0; k < got; k++)
		qcow2_set_entry(t, (uint32_t)(i + k), (off + (k << q->cbits)) | QCOW2_COPIED);
	*done = n;
	return let_go(q, e);
}

static int do_write(struct qcow2 *q, struct iobuf *b, uint64_t at, uint64_t n, uint64_t *done)
{
	uint64_t in = at & (q->csize - 1), e;
	struct qcow2_tab *t;
	uint32_t i;
	bool own;
	int r = qcow2_l2_own(q, at, &t, &i);

	if (r)
		return r;
	e = qcow2_entry(t, i);
	r = make_own(q, t, i, e, &own);
	if (r)
		return r;
	if (!own)
		return write_new(q, t, i, b, at, n, done);
	*done = MIN(n, q->csize - in);
	/* by the way that other requests take to this cluster: the page cache and O_DIRECT at once
	 * would lose one of them */
	return disk_write_all(q->d.fd, b, (e & QCOW2_OFFSET) + in, *done);
}

/* Zeroes by hand, where nothing else makes them. */
static int write_zeroes(struct qcow2 *q, uint64_t at, uint64_t n)
{
	static const uint8_t zeroes[4096] __attribute__((aligned(4096)));
	uint64_t done = 0;
	int r = 0;

	for (; !r && n; at += done, n -= done) {
		struct local l;

		r = do_write(q, over(&l, zeroes, MIN(n, sizeof(zeroes))), at,
			MIN(n, sizeof(zeroes)), &done);
	}
	return r;
}

/* @n bytes within one cluster become zeroes. */
static int do_zero(struct qcow2 *q, bool unmap, uint64_t at, uint64_t n)
{
	struct qcow2_tab *t;
	enum qcow2_kind k;
	uint64_t e, off;
	uint32_t i;
	bool own;
	int r = qcow2_l2(q, at, &t, &i);

	if (r)
		return r;
	e = t ? qcow2_entry(t, i) : 0;
	k = qcow2_kind(q, e, &off);
	if (k == QCOW2_K_ZERO || (k == QCOW2_K_NONE && !q->backing))
		return 0;
	r = qcow2_l2_own(q, at, &t, &i);
	if (!r)
		r = make_own(q, t, i, e, &own);
	if (r)
		return r;
	/* what is the disk's own stays allocated: somebody may be reading there */
	if (own)
		return disk_zero_range(q->fd, unmap, off + (at & (q->csize - 1)), n);
	if (n < q->csize || q->version < 3)
		return write_zeroes(q, at, n);
	qcow2_set_entry(t, i, QCOW2_ZERO);
	return let_go(q, e);
}

/* Whole clusters of the disk's own; nothing else is worth the trouble. */
static int do_discard(struct qcow2 *q, uint64_t at, uint64_t n)
{
	struct qcow2_tab *t;
	uint64_t e, off;
	uint32_t i;
	int r = qcow2_l2(q, at, &t, &i);

	if (r || !t || n < q->csize)
		return r;
	e = qcow2_entry(t, i);
	if (qcow2_kind(q, e, &off) != QCOW2_K_DATA || !(e & QCOW2_COPIED) || !qcow2_may_use(q, off))
		return 0;
	if (!fallocate(q->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)n))
		return 0;
	return errno == EOPNOTSUPP ? 0 : -errno;
}

static int do_flush(struct qcow2 *q)
{
	int r = qcow2_write_back(q);

	return r ? r : qcow2_sync(q);
}

static int one(struct qcow2 *q, enum disk_cmd cmd, struct iobuf *b, uint64_t at, uint64_t n,
	uint64_t *done)
{
	*done = MIN(n, q->csize - (at & (q->csize - 1)));
	switch (cmd) {
	case DISK_READ:
		return do_read(q, b, at, *done);
	case DISK_WRITE:
		return do_write(q, b, at, n, done);
	case DISK_DISCARD:
		return do_discard(q, at, *done);
	default:
		return do_zero(q, cmd == DISK_ZERO_UNMAP, at, *done);
	}
}

/* Whether it is done at all. A disk that is only read has nothing to flush. */
static int admit(struct qcow2 *q, enum disk_cmd cmd)
{
	if (cmd == DISK_READ || (cmd == DISK_FLUSH && q->d.readonly))
		return 0;
	return q->d.readonly ? -EROFS : qcow2_may_write(q);
}

int qcow2_run(struct disk *d, enum disk_cmd cmd, struct iobuf *b, uint64_t off, uint64_t len)
{
	struct qcow2 *q = CONTAINER_OF(d, struct qcow2, d);
	uint64_t done = 0;
	int r;

	(void)pthread_mutex_lock(&q->lock);
	r = admit(q, cmd);
	if (!r && cmd == DISK_FLUSH)
		r = d->readonly ? 0 : do_flush(q);
	else
		for (; !r && len; off += done, len -= done)
			r = one(q, cmd, b, off, len, &done);
	/* nobody will flush: then it is in the file as soon as it is answered */
	if (!r && cmd != DISK_READ && cmd != DISK_FLUSH && d->sync == DISK_SYNC_NONE)
		r = qcow2_write_back(q);
	(void)pthread_mutex_unlock(&q->lock);
	return r;
}
