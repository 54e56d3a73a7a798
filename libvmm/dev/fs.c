// SPDX-License-Identifier: Apache-2.0
/*
 * The virtio-fs device (virtio 1.2, section 5.11): queue 0 for requests that must not wait
 * (FORGET), queue 1 for all others. Both are served on the owner loop, one request after the other;
 * fs_serve() is the server behind it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/fs.h"
#include "dev/rekick.h"
#include "util/cleanup.h"

#define FS_TAG_LEN 36
#define FS_BATCH   64 /* requests of one queue before the other and the loop get their turn */

struct fs_dev {
	struct vdev v;
	struct fs *fs;
	struct vq_req req;
};

static int fs_start(struct vdev *v)
{
	return fs_attach_thread(CONTAINER_OF(v, struct fs_dev, v)->fs);
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
		fs_serve(d->fs, &d->req.rd, &d->req.wr, &written);
		vq_push(&v->vq[q], d->req.head, written);
	}
	vdev_flush(v, q);
	if (r < 0)
		vdev_broken(v, "a bad request queue");
	else if (n == FS_BATCH)
		rekick(v, q);
}

static void fs_stop(struct vdev *v)
{
	struct fs_dev *d = CONTAINER_OF(v, struct fs_dev, v);

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
	.start = fs_start,
	.kick = fs_kick,
	.stop = fs_stop,
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
	memcpy(d->v.cfg, cfg->tag, tag);
	d->v.cfg[FS_TAG_LEN] = 1; /* request queues, le32 */
	*out = &d->v;
	(void)TAKE_PTR(d);
	return 0;
}
