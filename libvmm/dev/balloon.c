// SPDX-License-Identifier: Apache-2.0
/* The memory balloon (virtio 1.2, section 5.5): memory that the guest has no use for is the host's.
 */
/*
 * How it works
 *
 * Three ways lead back to the host. The driver reports free pages by itself, as buffers of which it
 * says that their content is nothing (section 5.5.6.7); it takes pages out of use and names them on
 * the inflate queue until it has as many as the config space asks for; and, asked for fewer, it
 * says on the deflate queue which it uses again. Pages that are given are discarded at once, and
 * read as zeroes afterwards; the host gives others when the guest touches them, so nothing has to
 * be done for those that are taken back.
 *
 * Nothing of the host's depends on what the driver says: a page that it names and goes on to use
 * has lost its content, which is the guest's loss alone.
 *
 * The driver's buffer of the statistics queue is held until somebody wants new ones (section
 * 5.5.6.3). It is pushed then, and comes back with them.
 *
 * Linux numbers its queues without gaps, the specification each by a number of its own: without
 * hints of free pages, which are not offered, reports come by the fourth queue or by the fifth.
 * Both are served.
 */
/* #syscalls:io madvise fallocate */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/limits.h"
#include "dev/dev.h"
#include "dev/rekick.h"
#include "util/bytes.h"
#include "util/err.h"
#include "util/log.h"
#include "virtio/iobuf.h"
#include "virtio/vdev.h"
#include "virtio/vq.h"

#define BALLOON_ID 5

/* section 5.5.3 */
#define F_STATS_VQ	 (1ULL << 1)
#define F_DEFLATE_ON_OOM (1ULL << 2)
#define F_REPORTING	 (1ULL << 5)

enum {
	Q_INFLATE,
	Q_DEFLATE,
	Q_STATS,
	Q_REPORT_LINUX,
	Q_REPORT,
	QUEUES
};

/* config space, section 5.5.4 */
#define CFG_NUM_PAGES 0
#define CFG_ACTUAL    4
#define CFG_LEN	      8

#define PAGE	  4096U /* of the balloon, whatever the guest's are */
#define STAT_LEN  10	/* le16 tag, le64 value */
#define BATCH	  16	/* requests of a kick, or chunks: the loop serves other devices too */
#define PFN_CHUNK 256	/* page numbers that are looked at together: what Linux sends */

/* tags, section 5.5.6.3.1 */
static const struct {
	uint16_t tag;
	uint16_t at;
} stats[] = {
	{ 4, offsetof(struct balloon_stats, free) },
	{ 5, offsetof(struct balloon_stats, total) },
	{ 6, offsetof(struct balloon_stats, available) },
	{ 7, offsetof(struct balloon_stats, caches) },
	{ 2, offsetof(struct balloon_stats, major_faults) },
	{ 10, offsetof(struct balloon_stats, oom_kills) },
};

struct balloon {
	struct vdev v;
	struct vq_req req; /* the request in hand: too large for the stack */
	bool held;	   /* the driver's buffer for statistics, ... */
	uint16_t held_head;
	bool asked;		   /* atomic: ask() is on its way */
	struct balloon_stats last; /* under the config lock: others ask */
};

static struct balloon *balloon_of(struct vdev *v)
{
	return CONTAINER_OF(v, struct balloon, v);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Neighbours go together: a guest fills its balloon by whole blocks, in whichever order. */
static void discard_pages(struct balloon *b, uint32_t *pfn, unsigned n)
{
	qsort(pfn, n, sizeof(*pfn), compare);
	for (unsigned i = 0, k; i < n; i = k) {
		uint64_t len = PAGE;
		int r;

		for (k = i + 1; k < n && pfn[k] - pfn[k - 1] <= 1; k++)
			len += (pfn[k] - pfn[k - 1]) * (uint64_t)PAGE;
		r = mem_discard(b->v.mem, GPA(pfn[i] * (uint64_t)PAGE), len);
		if (r)
			log_guest("balloon: %llu KiB at page %u: %s",
				(unsigned long long)len / 1024, pfn[i], err_text(r));
	}
}

static int inflate(struct balloon *b)
{
	struct iobuf *rd = &b->req.rd;

	if (rd->left > LIM_BALLOON_PFNS * sizeof(uint32_t) || rd->left % sizeof(uint32_t))
		return -EINVAL;
	while (rd->left) {
		uint32_t pfn[PFN_CHUNK];
		unsigned n = (unsigned)MIN(rd->left, sizeof(pfn)) / sizeof(pfn[0]);
		int r = iobuf_pull(rd, pfn, n * sizeof(pfn[0]));

		if (r)
			return r;
		for (unsigned i = 0; i < n; i++)
			pfn[i] = le32toh(pfn[i]);
		discard_pages(b, pfn, n);
	}
	return 0;
}

/* Free pages. What cannot be given back is kept, which is all the same to the driver. */
static int reported(struct balloon *b)
{
	int r = iobuf_discard(&b->req.wr, b->v.mem);

	if (r)
		log_guest("balloon: a report of free pages: %s", err_text(r));
	return 0;
}

static void take_stat(struct balloon_stats *to, uint16_t tag, uint64_t value)
{
	for (unsigned i = 0; i < ARRAY_SIZE(stats); i++)
		if (stats[i].tag == tag)
			(void)memcpy((uint8_t *)to + stats[i].at, &value, sizeof(value));
}

static int take_stats(struct balloon *b)
{
	struct balloon_stats s = { 0 };
	uint8_t one[STAT_LEN];

	for (unsigned i = 0; i < LIM_BALLOON_STATS && b->req.rd.left >= STAT_LEN; i++) {
		int r = iobuf_pull(&b->req.rd, one, STAT_LEN);

		if (r)
			return r;
		take_stat(&s, get_le16(one), get_le64(one + 2));
	}
	(void)pthread_mutex_lock(&b->v.cfg_lock); /* the config space stays as it is */
	s.age = b->last.age + 1;
	b->last = s;
	(void)pthread_mutex_unlock(&b->v.cfg_lock);
	return 0;
}

/* @hold: the chain stays with us. */
static int serve(struct balloon *b, unsigned q, bool *hold)
{
	switch (q) {
	case Q_INFLATE:
		return inflate(b);
	case Q_DEFLATE:
		return 0;
	case Q_STATS:
		/* without gaps this is where reports come when there are no statistics */
		if (!vdev_has(&b->v, F_STATS_VQ))
			return reported(b);
		/* one buffer is all that there ever is */
		if (b->held)
			return -EINVAL;
		*hold = true;
		return take_stats(b);
	default:
		return reported(b);
	}
}

/* How many of the batch the request in hand is. */
static unsigned share(const struct balloon *b)
{
	return 1 + (unsigned)(b->req.rd.left / (PFN_CHUNK * sizeof(uint32_t) + 1));
}

static void balloon_kick(struct vdev *v, unsigned qi)
{
	struct balloon *b = balloon_of(v);
	struct vq *q = &v->vq[qi];
	unsigned served = 0;
	int r = 0;

	while (served < BATCH && (r = vq_pop(q, &b->req)) > 0) {
		unsigned cost = share(b);
		bool hold = false;

		r = serve(b, qi, &hold);
		if (r)
			break;
		if (hold) {
			b->held = true;
			b->held_head = b->req.head;
		} else {
			vq_push(q, b->req.head, 0);
		}
		served += cost;
	}
	vdev_flush(v, qi);
	if (r < 0)
		vdev_broken(v, "a bad balloon request");
	else if (served >= BATCH)
		rekick(v, qi);
}

/* The buffer goes to the driver, who gives it back with what is true now. */
static void ask(void *arg)
{
	struct balloon *b = arg;

	__atomic_store_n(&b->asked, false, __ATOMIC_RELEASE);
	if (!b->held || !b->v.running || b->v.paused || vdev_is_broken(&b->v))
		return;
	b->held = false;
	vq_push(&b->v.vq[Q_STATS], b->held_head, 0);
	vdev_flush(&b->v, Q_STATS);
}

/* Whoever asks again before the loop has heard it has asked once: no number of callers fills it. */
int balloon_ask(struct vdev *v, struct balloon_stats *out)
{
	struct balloon *b = balloon_of(v);
	int r;

	(void)pthread_mutex_lock(&v->cfg_lock); /* to read: it stays the generation that it was */
	*out = b->last;
	out->target = get_le32(v->cfg + CFG_NUM_PAGES) * (uint64_t)PAGE;
	out->actual = get_le32(v->cfg + CFG_ACTUAL) * (uint64_t)PAGE;
	(void)pthread_mutex_unlock(&v->cfg_lock);
	if (__atomic_exchange_n(&b->asked, true, __ATOMIC_ACQ_REL))
		return 0;
	r = loop_post(v->loop, ask, b);
	if (r)
		__atomic_store_n(&b->asked, false, __ATOMIC_RELEASE);
	return r;
}

void balloon_set(struct vdev *v, uint64_t bytes)
{
	vdev_cfg_lock(v);
	put_le32(v->cfg + CFG_NUM_PAGES, (uint32_t)MIN(bytes / PAGE, (uint64_t)UINT32_MAX));
	vdev_cfg_unlock(v);
	vdev_cfg_changed(v);
}

/* The driver says how many pages the balloon has; the rest of the bytes is ours. */
static void balloon_cfg_write(struct vdev *v, uint32_t off, const uint8_t *data, unsigned len)
{
	vdev_cfg_lock(v);
	for (unsigned i = 0; i < len; i++)
		if (off + i >= CFG_ACTUAL)
			v->cfg[off + i] = data[i];
	vdev_cfg_unlock(v);
}

static int balloon_start(struct vdev *v)
{
	(void)v;
	return 0;
}

/* A driver that begins anew has nothing in its balloon. */
static void balloon_stop(struct vdev *v)
{
	struct balloon *b = balloon_of(v);

	b->held = false;
	vdev_cfg_lock(v);
	put_le32(v->cfg + CFG_ACTUAL, 0);
	vdev_cfg_unlock(v);
}

static void balloon_destroy(struct vdev *v)
{
	free(balloon_of(v));
}

static const struct vdev_class balloon_class = {
	.name = "balloon",
	.id = BALLOON_ID,
	.features = F_STATS_VQ | F_DEFLATE_ON_OOM | F_REPORTING,
	.nqueues = QUEUES,
	.qsizes = (const uint16_t[]){ 128, 128, 2, 64, 64 },
	.cfg_len = CFG_LEN,
	/* a buffer for statistics is as good after a load as before */
	.redo = true,
	.start = balloon_start,
	.kick = balloon_kick,
	.stop = balloon_stop,
	.cfg_write = balloon_cfg_write,
	.destroy = balloon_destroy,
};

int balloon_new(struct loop *loop, struct mem *mem, struct vdev **out, struct error *e)
{
	struct balloon *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return err_sys(e, ENOMEM, "balloon");
	r = vdev_init(&b->v, &balloon_class, 0, loop, mem, e);
	if (r) {
		free(b);
		return r;
	}
	/* what cannot be given back need not be reported, nor asked for */
	if (!mem_gives_back(mem))
		b->v.offered &= ~F_REPORTING;
	/* reports are whole blocks of free memory, many in one */
	for (unsigned q = Q_STATS; q < QUEUES; q++)
		b->v.vq[q].chain_bytes = LIM_BALLOON_REPORT;
	*out = &b->v;
	return 0;
}
