// SPDX-License-Identifier: Apache-2.0
/* virtio-blk (virtio 1.2, section 5.2): the device and its queues. */
/*
 * How it works
 *
 * A kick takes requests out of the ring for as long as there are slots for them (blk_req.c), then
 * hands all that they want of the host over at once. What the page cache has ends there and then;
 * the rest is answered when it ends, in any order. A queue that found no slot is kicked again when
 * one is free.
 *
 * Requests that are under way have had effects, so a pause waits for them, and so does a reset: the
 * kernel is writing into the guest's memory. Nothing is in flight when a device is saved; what is
 * saved beyond the core's is the shape of the disk, which must be that of the image it is loaded
 * with.
 *
 * Config space (section 5.2.4), where we use it:
 *	0 le64 capacity	8 le32 size_max	12 le32 seg_max	20 le32 blk_size
 *	24 u8 physical_block_exp	26 le16 min_io_size	28 le32 opt_io_size
 *	34 le16 num_queues	36 le32 discard: sectors, 40 segments, 44 alignment
 *	48 le32 write zeroes: sectors, 52 segments	56 u8 may unmap
 */
/* #syscalls:blk read write */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/blk.h"
#include "dev/rekick.h"
#include "util/bytes.h"
#include "util/log.h"

#define BLK_ID	    2
#define BLK_CFG_LEN 60
#define BLK_BATCH   64 /* requests of one queue before the others and the loop get their turn */

static void feed(struct blk *b)
{
	uint32_t qs = b->starved;

	if (!b->free)
		return;
	b->starved = 0;
	for (unsigned q = 0; qs; q++, qs >>= 1)
		if (qs & 1)
			rekick(&b->v, q);
}

static void blk_batch(void *arg)
{
	struct blk *b = arg;

	blk_show(b);
	feed(b);
}

static void blk_kick(struct vdev *v, unsigned q)
{
	struct blk *b = CONTAINER_OF(v, struct blk, v);
	int r = 1;

	for (unsigned n = 0; n < BLK_BATCH && b->free; n++) {
		r = vq_pop(&v->vq[q], &b->req);
		if (r <= 0)
			break;
		blk_begin(b, q);
	}
	disk_io_go(b->io);
	blk_show(b);
	if (r < 0)
		vdev_broken(v, "a bad request queue");
	else if (r)
		b->starved |= 1U << q;
	feed(b);
}

static int blk_start(struct vdev *v)
{
	return disk_io_start(CONTAINER_OF(v, struct blk, v)->io, v->loop);
}

static void quiet(struct blk *b)
{
	disk_io_stop(b->io, b->v.loop);
	disk_io_drain(b->io);
	b->starved = 0;
}

static void blk_stop(struct vdev *v)
{
	struct blk *b = CONTAINER_OF(v, struct blk, v);

	quiet(b);
	b->answered = 0;
}

/* What a format has in memory goes into the file: a saved VM is no use beside an image without it,
 * and who ends with a pause has no other time. The second writes what the first counted down. */
static int keep(struct disk *d)
{
	int r = d->plain ? 0 : disk_run(d, DISK_FLUSH, NULL, 0, 0);

	if (!r && !d->plain)
		r = disk_run(d, DISK_FLUSH, NULL, 0, 0);
	if (r)
		log_warn("disk %s: its tables could not be written: %s", d->serial, err_text(r));
	return r;
}

static void blk_pause(struct vdev *v, bool paused)
{
	struct blk *b = CONTAINER_OF(v, struct blk, v);

	quiet(b);
	blk_show(b);
	if (paused)
		b->unsaved = keep(b->disk) != 0;
	if (!paused && v->running && disk_io_start(b->io, v->loop))
		vdev_broken(v, "its own events could not be watched");
}

static void blk_save(struct vdev *v, struct save_out *s)
{
	struct blk *b = CONTAINER_OF(v, struct blk, v);
	struct disk *d = b->disk;

	/* it would be loaded beside an image that lacks what its guest was told is there */
	if ((b->unsaved || disk_sync_end(d, 0)) && !s->err)
		s->err = -EIO;
	save_u64(s, d->bytes);
	save_u32(s, d->block);
	save_u64(s, v->offered);
}

static int blk_load(struct vdev *v, struct save_in *s)
{
	const struct disk *d = CONTAINER_OF(v, struct blk, v)->disk;
	bool same = load_u64(s) == d->bytes;

	same = load_u32(s) == d->block && same;
	same = load_u64(s) == v->offered && same;
	if (!s->err && (!same || get_le64(v->cfg) != d->bytes / DISK_SECTOR))
		s->err = -EINVAL;
	return s->err;
}

static void blk_destroy(struct vdev *v)
{
	struct blk *b = CONTAINER_OF(v, struct blk, v);

	disk_io_free(b->io);
	disk_close(b->disk);
	free(b);
}

static const struct vdev_class blk_class = {
	.name = "blk",
	.id = BLK_ID,
	.features = BLK_F_SIZE_MAX | BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_TOPOLOGY,
	.nqueues = 1,
	.qsizes = (const uint16_t[]){ 256 },
	.cfg_len = BLK_CFG_LEN,
	.start = blk_start,
	.kick = blk_kick,
	.stop = blk_stop,
	.pause = blk_pause,
	.save = blk_save,
	.load = blk_load,
	.destroy = blk_destroy,
};

static void describe(struct vdev *v, const struct disk *d)
{
	uint32_t most = LIM_BLK_RANGE / DISK_SECTOR;
	uint8_t *c = v->cfg;

	put_le64(c, d->bytes / DISK_SECTOR);
	put_le32(c + 8, LIM_BLK_SEG);
	put_le32(c + 12, LIM_BLK_SEGS);
	put_le32(c + 20, d->block);
	c[24] = (uint8_t)__builtin_ctz(d->phys_block / d->block);
	put_le16(c + 26, (uint16_t)(d->phys_block / d->block));
	put_le32(c + 28, d->opt_io / d->block);
	put_le16(c + 34, (uint16_t)v->nqueues);
	v->offered |= v->nqueues > 1 ? BLK_F_MQ : 0;
	v->offered |= d->sync == DISK_SYNC_NONE ? 0 : BLK_F_FLUSH;
	if (d->readonly) {
		v->offered |= BLK_F_RO;
		return;
	}
	v->offered |= BLK_F_DISCARD | BLK_F_WRITE_ZEROES;
	put_le32(c + 36, most);
	put_le32(c + 40, 1);
	put_le32(c + 44, d->discard / DISK_SECTOR);
	put_le32(c + 48, most);
	put_le32(c + 52, 1);
	c[56] = 1;
}

/* Everything but the device's common part. What fails is taken away by blk_destroy(). */
static int make(struct blk *b, const struct disk_cfg *cfg, struct error *e)
{
	struct disk_io_cfg io = {
		.depth = LIM_BLK_INFLIGHT, .ring = !cfg->threads, .batch = blk_batch, .arg = b
	};
	int r;

	b->disk = cfg->opened;
	r = b->disk ? 0 : disk_open(cfg, &b->disk, e);
	if (r)
		return r;
	io.fd = b->disk->fd;
	r = disk_io_new(&io, &b->io, e);
	if (r)
		return r;
	for (unsigned i = 0; i < LIM_BLK_INFLIGHT; i++) {
		b->slot[i].next = b->free;
		b->free = &b->slot[i];
	}
	describe(&b->v, b->disk);
	return 0;
}

int blk_new(struct loop *loop, struct mem *mem, const struct disk_cfg *cfg, struct vdev **out,
	struct error *e)
{
	struct blk *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		r = err_sys(e, ENOMEM, "disk");
	else if (cfg->queues > LIM_BLK_QUEUES || !memchr(cfg->serial, 0, sizeof(cfg->serial)))
		r = err_set(e, EINVAL, "disk: over %u queues, or a serial of over 20 bytes",
			LIM_BLK_QUEUES);
	else
		r = vdev_init(&b->v, &blk_class, cfg->queues, loop, mem, e);
	if (r < 0) {
		if (cfg->opened)
			disk_close(cfg->opened);
		else
			(void)close(cfg->fd);
		free(b);
		return r;
	}
	r = make(b, cfg, e);
	if (r) {
		vdev_fini(&b->v);
		blk_destroy(&b->v);
		return r;
	}
	*out = &b->v;
	return 0;
}
