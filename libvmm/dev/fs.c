// SPDX-License-Identifier: Apache-2.0
/*
 * The virtio-fs device (virtio 1.2, section 5.11).
 *
 * How it works: queue 0 is for requests that must not wait (FORGET, INTERRUPT), queue 1 for all
 * others. Both are served on the owner loop, one request after the other; fs_serve_later() is the
 * server behind it. A request that waits for a lock stays in flight; it has had no effect, so a
 * saved queue offers it again.
 *
 * With nothing else to do, whoever serves also moves the bytes: nothing is quicker. When more
 * requests stand in line, and for all that waits for a disk, workers (fs_work.c) do, each in a slot
 * that the request was popped into; so what comes after a large or slow one need not wait for it.
 * Where no processor is left for them, they get only what would wait. Answers are pushed here
 * alone.
 *
 * To be woken takes longer than to serve. When requests have come close together the thread looks
 * for the next one for a moment before it sleeps, and the driver need not kick. Whether that pays
 * is found out by trying: it does where the driver has a processor of its own, and only keeps the
 * driver from running where both share one. So after some vain tries it is left for a while, each
 * time for longer.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "dev/fs.h"
#include "dev/fs_work.h"
#include "dev/rekick.h"
#include "util/cleanup.h"

#define FS_TAG_LEN	 36
#define FS_HAND_BYTES	 (32U << 10) /* moving fewer takes less than waking a worker */
#define FS_POLL_NS	 100000	     /* of looking for the next request before going to sleep */
#define FS_POLL_TRIES	 4	     /* in vain one after the other, then that is left */
#define FS_POLL_SKIP	 16	     /* sleeps without it at first, ... */
#define FS_POLL_SKIP_MAX 4096	     /* and at most */
#define FS_SLOW_NS	 2000000 /* a move that takes longer waits for more than the page cache */
#define FS_SLOW_MOVES	 256	 /* after it are handed on */
#define FS_SPREAD_CPUS	 3	 /* the guest's, ours, and one on which a worker gains something */
#define FS_BATCH	 64 /* requests of one queue before the other and the loop get their turn */

struct fs_dev {
	struct vdev v;
	struct fs *fs;
	struct fs_workers *workers;
	struct loop_src timer, finished, idle, sizes;
	bool answered;			/* a request of the past was; its queue is to be flushed */
	bool poll;			/* requests come so close together that looking pays */
	bool may_poll;			/* there is a processor for whoever asks beside ours */
	bool may_spread;		/* and one more, for workers */
	uint64_t idle_since;		/* ns */
	uint64_t began;			/* a move of many bytes that may wait, here; 0: none */
	unsigned slow;			/* such moves that are still handed on */
	unsigned vain, skip, skip_next; /* tries; sleeps without one: left, of the next time */
	struct fs_slot *cur; /* the workers' slot that is being served; NULL: it is own */
	struct fs_slot own;  /* for when all workers are busy */
};

/* A request's name while it waits: its queue and head. */
static void fs_answer(void *arg, uint32_t token, uint32_t written)
{
	struct fs_dev *d = arg;

	vq_push(&d->v.vq[token >> 16], (uint16_t)token, written);
	d->answered = true;
}

/* Answers what workers have finished; @all: and what they are at. */
static void reap(struct fs_dev *d, bool all)
{
	struct fs_slot *s;

	while ((s = fs_workers_reap(d->workers, all))) {
		fs_xfer_done(d->fs, &s->q);
		fs_answer(d, s->queue << 16 | s->req.head, s->written);
	}
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fs_drain(void *arg)
{
	reap(arg, true);
}

/* Whether to try here what may wait and does not say so first: while what came before did not. */
static bool try_here(struct fs_dev *d)
{
	if (!d->slow) {
		d->began = now_ns();
		return true;
	}
	d->slow--;
	return false;
}

/*
 * Reads what is in the page cache. True: no worker is needed, as that was all of it, the end, or an
 * error that reading again will tell. What would wait, also after a first part, does it elsewhere.
 */
static bool read_here(struct fs_dev *d, struct fs_req *q)
{
	struct fs_handle *h = fs_handle_at(d->fs, q->x.hand[0]);
	bool many = q->x.size >= FS_HAND_BYTES;
	ssize_t n;

	if (many && d->may_spread)
		return false;
	if (!h->no_nowait) {
		n = iobuf_read_cached(&q->wr, h->fd, q->x.size, (off_t)q->x.off);
		if (n > 0) {
			q->x.off += (size_t)n;
			q->x.size -= (size_t)n;
		}
		h->no_nowait = n == -EOPNOTSUPP;
		if (!h->no_nowait)
			return n != -EAGAIN && (n <= 0 || !q->x.size);
	}
	return !many || try_here(d);
}

/*
 * Whether a worker had better do it. Waiting for a disk always, so that others need not wait with
 * it; bytes only when more requests wait, and then a read that has to wait, or many bytes to read
 * where there are processors to spread them over. Writes to one file wait for each other in the
 * host's kernel, so handing them on gains nothing while the page cache takes them: they go once one
 * of them had to wait, as do reads of many bytes from file systems without RWF_NOWAIT.
 *
 * Before the last of a line of long moves the driver is told of those before it: it brings new
 * ones while that one is moved, and is woken once for all of them.
 */
static bool fs_hand(void *arg, struct fs_req *q)
{
	struct fs_dev *d = arg;
	bool wait = q->x.kind != FS_X_READ && q->x.kind != FS_X_WRITE;
	bool last;

	if (!d->cur)
		return false;
	last = vq_pending(&d->v.vq[d->cur->queue]) <= 0;
	if (last && !wait && q->x.size >= FS_HAND_BYTES)
		vdev_flush(&d->v, d->cur->queue);
	if (!wait && last && !fs_workers_busy(d->workers))
		return false;
	if (q->x.kind == FS_X_WRITE && (q->x.size < FS_HAND_BYTES || try_here(d)))
		return false;
	if (q->x.kind == FS_X_READ && read_here(d, q))
		return false;
	fs_xfer_held(d->fs, q);
	if (fs_workers_hand(d->workers, d->cur))
		return true;
	fs_xfer_done(d->fs, q);
	return false;
}

static void flush_answered(struct fs_dev *d)
{
	if (!d->answered)
		return;
	d->answered = false;
	for (unsigned q = 0; q < d->v.nqueues; q++)
		vdev_flush(&d->v, q);
}

static void fs_on_timer(struct loop_src *src, uint32_t events)
{
	struct fs_dev *d = src->arg;

	(void)events;
	if (vdev_is_broken(&d->v)) {
		loop_del(d->v.loop, src);
		return;
	}
	fs_wait_tick(d->fs);
	flush_answered(d);
}

static void fs_on_finished(struct loop_src *src, uint32_t events)
{
	struct fs_dev *d = src->arg;
	uint64_t n;

	(void)events;
	(void)!read(src->fd, &n, sizeof(n));
	reap(d, false);
	flush_answered(d);
}

static void fs_on_idle(struct loop_src *src, uint32_t events)
{
	struct fs_dev *d = src->arg;

	(void)events;
	fs_fd_drop_idle(d->fs);
}

static void fs_on_sizes(struct loop_src *src, uint32_t events)
{
	struct fs_dev *d = src->arg;

	(void)events;
	fs_dax_tick(d->fs);
}

static int listen_on(struct fs_dev *d)
{
	int r = loop_add(d->v.loop, &d->timer, EPOLLIN);

	if (!r)
		r = loop_add(d->v.loop, &d->finished, EPOLLIN);
	if (!r && d->sizes.fd >= 0)
		r = loop_add(d->v.loop, &d->sizes, EPOLLIN);
	return r < 0 ? r : loop_add(d->v.loop, &d->idle, EPOLLIN);
}

static void ignore(struct fs_dev *d)
{
	loop_del(d->v.loop, &d->timer);
	loop_del(d->v.loop, &d->finished);
	loop_del(d->v.loop, &d->idle);
	if (d->sizes.fd >= 0)
		loop_del(d->v.loop, &d->sizes);
}

static int fs_start(struct vdev *v)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);
	int r = fs_attach_thread(d->fs);

	return r < 0 ? r : listen_on(d);
}

/* What workers are at ends; what waits for a lock may wait on. */
static void fs_pause(struct vdev *v, bool paused)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);

	ignore(d);
	fs_drain(d);
	flush_answered(d);
	if (!paused && v->running && listen_on(d) < 0)
		vdev_broken(v, "its own events could not be watched");
}

/* Looking found something, or not. */
static void looked(struct fs_dev *d, bool found)
{
	if (found) {
		d->vain = 0;
		d->skip_next = FS_POLL_SKIP;
	} else if (++d->vain == FS_POLL_TRIES) {
		d->vain = 0;
		d->skip = d->skip_next;
		d->skip_next = MIN(d->skip_next * 2, (unsigned)FS_POLL_SKIP_MAX);
	}
}

/* Nothing waits: whether something came while we looked on. */
static bool look_on(struct fs_dev *d, struct vq *q)
{
	uint64_t end = now_ns() + FS_POLL_NS;
	bool found;

	if (d->skip && d->poll)
		d->skip--;
	else if (d->poll) {
		(void)vq_kicks(q, false);
		while (!(found = vq_pending(q) || vq_pending(&d->v.vq[0])) && now_ns() < end)
			;
		looked(d, found);
		return vq_kicks(q, true);
	}
	return false;
}

static int serve(struct fs_dev *d, unsigned q, unsigned *n)
{
	struct vq *vq = &d->v.vq[q];
	struct fs_slot *s;
	uint32_t written;
	int r = 1;

	for (; *n < FS_BATCH; ++*n) {
		reap(d, false);
		d->cur = fs_workers_slot(d->workers);
		s = d->cur ? d->cur : &d->own;
		r = vq_pop(vq, &s->req);
		if (r <= 0)
			break;
		s->queue = q;
		if (fs_serve_later(
			    d->fs, &s->q, &s->req.rd, &s->req.wr, q << 16 | s->req.head, &written))
			vq_push(vq, s->req.head, written);
		if (d->began && now_ns() - d->began > FS_SLOW_NS)
			d->slow = FS_SLOW_MOVES;
		d->began = 0;
	}
	d->cur = NULL;
	vdev_flush(&d->v, q);
	flush_answered(d);
	return r;
}

static void fs_kick(struct vdev *v, unsigned q)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);
	unsigned n = 0;
	int r;

	/* A loaded device is started by who loads it, and served by its loop's own thread. */
	if (fs_attach_thread(d->fs) < 0) {
		vdev_broken(v, "the serving thread could not be set up");
		return;
	}
	if (d->may_poll && q)
		d->poll = now_ns() - d->idle_since < FS_POLL_NS;
	do
		r = serve(d, q, &n);
	while (!r && q && look_on(d, &v->vq[q]));
	if (r < 0)
		vdev_broken(v, "a bad request queue");
	else if (r)
		rekick(v, q);
	d->idle_since = r ? 0 : now_ns();
}

static unsigned fs_mend(struct vdev *v)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);

	if (!fs_attach_thread(d->fs))
		(void)fs_dax_mend(d->fs);
	return fs_dax_mends(d->fs);
}

static void fs_stop(struct vdev *v)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);

	ignore(d);
	fs_drain(d);
	d->answered = false;
	fs_server_reset(d->fs);
}

static void fs_dev_save(struct vdev *v, struct save_out *s)
{
	fs_save(CONTAINER_OF(v, struct fs_dev, v)->fs, s);
}

static int fs_dev_load(struct vdev *v, struct save_in *s)
{
	return fs_load(CONTAINER_OF(v, struct fs_dev, v)->fs, s);
}

static void fs_destroy(struct vdev *v)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);

	fs_workers_free(d->workers);
	fs_server_free(d->fs);
	free(d);
}

/* The guest's limit of pages per request follows from the size of its queue. */
static const uint16_t fs_qsizes[] = { 128, 1024 };

static const struct vdev_class fs_class = {
	.name = "fs",
	.id = 26,
	.nqueues = 2,
	.qsizes = fs_qsizes,
	.cfg_len = FS_TAG_LEN + 4,
	.essential = true,
	.redo = true,
	.start = fs_start,
	.kick = fs_kick,
	.stop = fs_stop,
	.pause = fs_pause,
	.mend = fs_mend,
	.save = fs_dev_save,
	.load = fs_dev_load,
	.destroy = fs_destroy,
};

/* On which this process may run: a cgroup's or a caller's choice counts, not what there is. */
static int usable_cpus(void)
{
	cpu_set_t set;

	/* More than fit into a set: an error, and enough for anything here. */
	return sched_getaffinity(0, sizeof(set), &set) < 0 ? CPU_SETSIZE : CPU_COUNT(&set);
}

int fs_new(struct loop *loop, struct mem *mem, const struct fs_cfg *cfg, struct vdev **out,
	struct error *e)
{
	CLEAN_FD int root = cfg->root_fd;
	struct fs_cfg c = *cfg;
	size_t tag = strnlen(cfg->tag, sizeof(cfg->tag));
	CLEAN_FREE struct fs_dev *d = NULL;
	int r, cpus;

	if (!tag || tag > FS_TAG_LEN)
		return err_set(e, EINVAL, "virtio-fs: a tag has 1 to %d bytes", FS_TAG_LEN);
	d = calloc(1, sizeof(*d));
	if (!d)
		return err_sys(e, ENOMEM, "virtio-fs %s", cfg->tag);
	r = vdev_init(&d->v, &fs_class, fs_class.nqueues, loop, mem, e);
	if (r < 0)
		return r;
	c.root_fd = TAKE_FD(root);
	r = fs_server_new(&c, NULL, &d->fs, e);
	if (r < 0) {
		vdev_fini(&d->v);
		return r;
	}
	r = cfg->dax_len ? fs_dax_new(d->fs, mem, cfg->dax_gpa, cfg->dax_len) : 0;
	if (!r)
		r = fs_workers_new(d->fs, &d->workers);
	if (r < 0) {
		fs_server_free(d->fs);
		vdev_fini(&d->v);
		return err_sys(e, r, "virtio-fs %s: window or workers", cfg->tag);
	}
	d->skip_next = FS_POLL_SKIP;
	d->v.shm_gpa = cfg->dax_gpa;
	d->v.shm_len = cfg->dax_len;
	cpus = usable_cpus();
	d->may_poll = cpus > 1;
	d->may_spread = cpus >= FS_SPREAD_CPUS;
	d->fs->answer = fs_answer;
	d->fs->answer_arg = d;
	d->fs->hand = fs_hand;
	d->fs->drain = fs_drain;
	d->finished = (struct loop_src){
		.fd = fs_workers_fd(d->workers), .name = "workers", .fn = fs_on_finished, .arg = d
	};
	d->idle = (struct loop_src){
		.fd = d->fs->idle_fd, .name = "idle files", .fn = fs_on_idle, .arg = d
	};
	d->sizes = (struct loop_src){
		.fd = fs_dax_fd(d->fs), .name = "file sizes", .fn = fs_on_sizes, .arg = d
	};
	d->timer = (struct loop_src){
		.fd = d->fs->timer_fd, .name = "lock timer", .fn = fs_on_timer, .arg = d
	};
	memcpy(d->v.cfg, cfg->tag, tag);
	d->v.cfg[FS_TAG_LEN] = 1; /* request queues, le32 */
	*out = &d->v;
	(void)TAKE_PTR(d);
	return 0;
}
