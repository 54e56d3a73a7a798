// SPDX-License-Identifier: Apache-2.0
/*
 * The virtio-fs device (virtio 1.2, section 5.11).
 *
 * How it works: queue 0 is for requests that must not wait (FORGET, INTERRUPT), queue 1 for all
 * others. Both are served on the owner loop, one request after the other; fs_serve_later() is the
 * server behind it. A request that waits for a lock stays in flight; it has had no effect, so a
 * saved queue offers it again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dev/fs.h"
#include "dev/rekick.h"
#include "util/cleanup.h"

#define FS_TAG_LEN 36
#define FS_BATCH   64 /* requests of one queue before the other and the loop get their turn */

struct fs_dev {
	struct vdev v;
	struct fs *fs;
	struct loop_src timer;
	bool answered; /* a request of the past was; its queue is to be flushed */
	struct vq_req req;
	struct fs_req work;
};

/* A request's name while it waits: its queue and head. */
static void fs_answer(void *arg, uint32_t token, uint32_t written)
{
	struct fs_dev *d = arg;

	vq_push(&d->v.vq[token >> 16], (uint16_t)token, written);
	d->answered = true;
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

static int fs_start(struct vdev *v)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);
	int r = fs_attach_thread(d->fs);

	return r < 0 ? r : loop_add(v->loop, &d->timer, EPOLLIN);
}

static void fs_pause(struct vdev *v, bool paused)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);

	loop_del(v->loop, &d->timer);
	if (!paused && v->running && loop_add(v->loop, &d->timer, EPOLLIN) < 0)
		vdev_broken(v, "the timer could not be watched");
}

static void fs_kick(struct vdev *v, unsigned q)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);
	uint32_t written;
	unsigned n = 0;
	int r = 0;

	/* A loaded device is started by who loads it, and served by its loop's own thread. */
	if (fs_attach_thread(d->fs) < 0) {
		vdev_broken(v, "the serving thread could not be set up");
		return;
	}
	for (; n < FS_BATCH && (r = vq_pop(&v->vq[q], &d->req)) > 0; n++) {
		if (fs_serve_later(d->fs, &d->work, &d->req.rd, &d->req.wr, q << 16 | d->req.head,
			    &written))
			vq_push(&v->vq[q], d->req.head, written);
	}
	vdev_flush(v, q);
	flush_answered(d);
	if (r < 0)
		vdev_broken(v, "a bad request queue");
	else if (n == FS_BATCH)
		rekick(v, q);
}

static void fs_stop(struct vdev *v)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);

	loop_del(v->loop, &d->timer);
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
	.save = fs_dev_save,
	.load = fs_dev_load,
	.destroy = fs_destroy,
};

int fs_new(struct loop *loop, struct mem *mem, const struct fs_cfg *cfg, struct vdev **out,
	struct error *e)
{
	CLEAN_FD int root = cfg->root_fd;
	struct fs_cfg c = *cfg;
	size_t tag = strnlen(cfg->tag, sizeof(cfg->tag));
	CLEAN_FREE struct fs_dev *d = NULL;
	int r;

	if (!tag || tag > FS_TAG_LEN)
		return err_set(e, EINVAL, "virtio-fs: a tag has 1 to %d bytes", FS_TAG_LEN);
	if (cfg->dax_len)
		return err_set(e, ENOTSUP, "virtio-fs %s: a DAX window is not supported", cfg->tag);
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
	d->fs->answer = fs_answer;
	d->fs->answer_arg = d;
	d->timer = (struct loop_src){
		.fd = d->fs->timer_fd, .name = "lock timer", .fn = fs_on_timer, .arg = d
	};
	memcpy(d->v.cfg, cfg->tag, tag);
	d->v.cfg[FS_TAG_LEN] = 1; /* request queues, le32 */
	*out = &d->v;
	(void)TAKE_PTR(d);
	return 0;
}
