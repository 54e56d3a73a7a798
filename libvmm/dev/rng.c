// SPDX-License-Identifier: Apache-2.0
// virtio-rng (virtio 1.2, section 5.4): fills what the guest offers with the host's random bytes.

#include <errno.h>
#include <stdlib.h>

#include "core/limits.h"
#include "dev/dev.h"
#include "dev/rekick.h"
#include "util/err.h"
#include "virtio/iobuf.h"
#include "virtio/vdev.h"
#include "virtio/vq.h"

#define RNG_ID	  4
#define RNG_QUEUE 0
#define RNG_BATCH 16 /* requests for one kick: the loop serves other devices too */

struct rng {
	struct vdev v;
	struct vq_req req; /* the request in hand: too large for the stack */
};

/*
 * One request. A driver may offer gigabytes: it gets what one read of its own would give, and asks
 * again. Where the host cannot write (a page of a window that is gone) the reply is empty.
 */
static void rng_serve(struct rng *r, struct vq *q)
{
	ssize_t n = iobuf_random(&r->req.wr, MIN(r->req.wr.left, LIM_RNG_REQUEST));

	vq_push(q, r->req.head, n > 0 ? (uint32_t)n : 0);
}

static void rng_kick(struct vdev *v, unsigned qi)
{
	struct rng *r = CONTAINER_OF(v, struct rng, v);
	struct vq *q = &v->vq[qi];
	unsigned served = 0;
	int ret = 0;

	while (served < RNG_BATCH && (ret = vq_pop(q, &r->req)) > 0) {
		rng_serve(r, q);
		served++;
	}
	vdev_flush(v, qi);
	if (ret < 0)
		vdev_broken(v, "bad entropy request");
	else if (served == RNG_BATCH)
		rekick(v, qi);
}

/* Between two kicks there is no state of its own: nothing to start or stop, to save or load. */
static int rng_start(struct vdev *v)
{
	(void)v;
	return 0;
}

static void rng_stop(struct vdev *v)
{
	(void)v;
}

static void rng_destroy(struct vdev *v)
{
	free(CONTAINER_OF(v, struct rng, v));
}

static const struct vdev_class rng_class = {
	.name = "rng",
	.id = RNG_ID,
	.nqueues = 1,
	.qsizes = (const uint16_t[]){ 64 },
	.start = rng_start,
	.kick = rng_kick,
	.stop = rng_stop,
	.destroy = rng_destroy,
};

int rng_new(struct loop *loop, struct mem *mem, struct vdev **out, struct error *e)
{
	struct rng *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return err_sys(e, ENOMEM, "rng");
	ret = vdev_init(&r->v, &rng_class, 1, loop, mem, e);
	if (ret < 0) {
		free(r);
		return ret;
	}
	*out = &r->v;
	return 0;
}
