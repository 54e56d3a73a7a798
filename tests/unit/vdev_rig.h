/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the device core share: a fake guest, its driver, a loop (run by the driver
 * while it waits, or with its own thread) and a device that echoes and counts its callbacks.
 */
#ifndef KRUN_TESTS_UNIT_VDEV_RIG_H
#define KRUN_TESTS_UNIT_VDEV_RIG_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake/fake_guest.h"

#define F_OURS (1ULL << 3)
#define ALL    (~0ULL)

/* A device that echoes: what it reads it writes back, queue 0; queue 1 holds requests until told.
 */
struct echo {
	struct vdev v;
	unsigned starts, stops, kicks, loads, pauses;
	bool paused;
	int start_err;
	const char *broke;
	uint32_t secret; /* saved state */
	bool hold;	 /* keep popped requests of queue 1 in flight */
	struct vq_req req;
};

static inline struct echo *echo_of(struct vdev *v)
{
	return CONTAINER_OF(v, struct echo, v);
}

static inline int echo_start(struct vdev *v)
{
	echo_of(v)->starts++;
	return echo_of(v)->start_err;
}

static inline void echo_stop(struct vdev *v)
{
	echo_of(v)->stops++;
}

static inline void echo_kick(struct vdev *v, unsigned q)
{
	struct echo *e = echo_of(v);
	struct vq_req *r = &e->req;
	uint8_t buf[256];
	int n;

	e->kicks++;
	while ((n = vq_pop(&v->vq[q], r)) == 1) {
		size_t part;

		if (q == 1 && e->hold)
			continue;
		while ((part = iobuf_peek(&r->rd, buf, MIN(sizeof(buf), r->wr.left)))) {
			if (iobuf_skip(&r->rd, part) || iobuf_push(&r->wr, buf, part))
				return;
		}
		vq_push(&v->vq[q], r->head, (uint32_t)r->wr.done);
	}
	if (n < 0)
		vdev_broken(v, "bad chain");
	vdev_flush(v, q);
}

static inline void echo_pause(struct vdev *v, bool paused)
{
	echo_of(v)->pauses++;
	echo_of(v)->paused = paused;
}

static inline void echo_cfg_write(struct vdev *v, uint32_t off, const uint8_t *data, unsigned len)
{
	vdev_cfg_lock(v);
	memcpy(v->cfg + off, data, len);
	vdev_cfg_unlock(v);
}

static inline void echo_save(struct vdev *v, struct save_out *s)
{
	save_u32(s, echo_of(v)->secret);
}

static inline int echo_load(struct vdev *v, struct save_in *s)
{
	echo_of(v)->loads++;
	echo_of(v)->secret = load_u32(s);
	return s->err;
}

static const uint16_t echo_sizes[] = { 8, 16 };

static const struct vdev_class echo_class = {
	.name = "echo",
	.id = 42,
	.features = F_OURS,
	.nqueues = 2,
	.qsizes = echo_sizes,
	.cfg_len = 6,
	.essential = true,
	.redo = true,
	.start = echo_start,
	.kick = echo_kick,
	.stop = echo_stop,
	.pause = echo_pause,
	.cfg_write = echo_cfg_write,
	.save = echo_save,
	.load = echo_load,
};

struct rig {
	struct fake_guest g;
	struct fake_dev d;
	struct echo e;
	struct loop *loop;
};

static inline void on_fatal(void *arg, const char *device, const char *why)
{
	struct echo *e = arg;

	if (!strcmp(device, "echo"))
		e->broke = why;
}

static inline void rig_init_class(struct rig *t, bool thread, const struct vdev_class *cls)
{
	memset(t, 0, sizeof(*t));
	if (loop_new("io", &t->loop, NULL) || fake_guest_init(&t->g, 1 << 20) ||
		vdev_init(&t->e.v, cls, 0, t->loop, &t->g.mem, NULL) ||
		fake_dev_init(&t->d, &t->g, &t->e.v))
		abort();
	t->e.v.host.fatal = on_fatal;
	t->e.v.host.arg = &t->e;
	memcpy(t->e.v.cfg, "config", 6);
	if (!thread)
		t->d.pump = t->loop;
	else if (loop_thread_start(t->loop, NULL))
		abort();
}

static inline void rig_init(struct rig *t, bool thread)
{
	rig_init_class(t, thread, &echo_class);
}

static inline void rig_fini(struct rig *t)
{
	loop_thread_join(t->loop);
	vdev_fini(&t->e.v);
	fake_dev_fini(&t->d);
	fake_guest_fini(&t->g);
	loop_free(t->loop);
}

static inline int xfer(struct rig *t, unsigned q, const char *what, char *back, uint32_t room)
{
	struct fake_out out[2] = { { what, 1 }, { what + 1, (uint32_t)strlen(what) } };
	struct fake_in in[2] = { { back, 2 }, { back + 2, room - 2 } };

	return fake_guest_xfer(&t->d, q, out, 2, in, 2);
}

#endif
