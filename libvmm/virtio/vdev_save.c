// SPDX-License-Identifier: Apache-2.0
/* Pausing a virtio device, and its saved form. */
/*
 * How it works
 *
 * Each entry point is a call on the owner loop, as start and stop are. Saved is what the driver can
 * see (features, status, interrupt status, config bytes, queues) and then, in a section of its own,
 * what the device adds. Loading walks the same order into a fresh device; it checks that the state
 * is one that a driver could have reached, pins the queues where they were, and leaves the device
 * paused: its kicks are no sources yet, and it gets a kick per queue when it goes on.
 */
#include <errno.h>
#include <string.h>

#include "util/log.h"
#include "virtio/vdev.h"
#include "virtio/vdev_loop.h"

#define TAG_VDEV  SAVE_TAG('v', 'd', 'e', 'v')
#define TAG_STATE SAVE_TAG('s', 't', 'a', 't')
#define VERSION	  1

#define STATUS_ALL                                                                    \
	(VDEV_S_ACKNOWLEDGE | VDEV_S_DRIVER | VDEV_S_DRIVER_OK | VDEV_S_FEATURES_OK | \
		VDEV_S_NEEDS_RESET | VDEV_S_FAILED)

static void vdev_loop_pause(void *arg)
{
	struct vdev *v = arg;

	if (v->paused)
		return;
	vdev_loop_ignore(v);
	if (v->cls->pause)
		v->cls->pause(v, true);
	v->paused = true;
}

void vdev_pause(struct vdev *v)
{
	(void)pthread_mutex_lock(&v->lock);
	loop_call(v->loop, vdev_loop_pause, v);
	(void)pthread_mutex_unlock(&v->lock);
}

static void vdev_loop_resume(void *arg)
{
	struct vdev *v = arg;
	int r;

	if (!v->paused)
		return;
	v->paused = false;
	if (v->cls->pause)
		v->cls->pause(v, false);
	r = v->running ? vdev_loop_listen(v) : 0;
	if (r)
		vdev_broken(v, err_text(r));
	/* The pulse may have been on its way when the VM was saved; one too many does no harm. */
	if (v->running && __atomic_load_n(&v->int_status, __ATOMIC_SEQ_CST))
		irq_raise(v->irq);
}

void vdev_resume(struct vdev *v)
{
	(void)pthread_mutex_lock(&v->lock);
	loop_call(v->loop, vdev_loop_resume, v);
	(void)pthread_mutex_unlock(&v->lock);
}

struct vdev_save_call {
	struct vdev *v;
	struct save_out *s;
};

static void vdev_loop_save(void *arg)
{
	struct vdev_save_call *c = arg;
	struct save_out *s = c->s;
	struct vdev *v = c->v;
	size_t at = save_begin(s, TAG_VDEV, VERSION), sub;

	save_u32(s, v->cls->id);
	save_u64(s, v->acked);
	save_u32(s, vdev_status(v));
	save_u32(s, __atomic_load_n(&v->int_status, __ATOMIC_SEQ_CST));
	save_u32(s, v->cfg_gen);
	save_u8(s, v->running);
	save_blob(s, v->cfg, v->cls->cfg_len);
	save_u32(s, v->nqueues);
	for (unsigned i = 0; i < v->nqueues; i++) {
		if (v->vq[i].inflight && !v->cls->redo && !s->err)
			s->err = -EBUSY;
		vq_save(&v->vq[i], s);
	}
	sub = save_begin(s, TAG_STATE, VERSION);
	if (v->cls->save)
		v->cls->save(v, s);
	save_end(s, sub);
	save_end(s, at);
}

int vdev_save(struct vdev *v, struct save_out *s)
{
	struct vdev_save_call c = { .v = v, .s = s };

	if (!v->paused)
		return -EINVAL;
	(void)pthread_mutex_lock(&v->lock);
	loop_call(v->loop, vdev_loop_save, &c);
	(void)pthread_mutex_unlock(&v->lock);
	return s->err;
}

struct vdev_load_call {
	struct vdev *v;
	struct save_in s, state;
	int err;
};

/* The core's part; the file is hostile, so it must be something that a driver could have reached.
 */
static int vdev_load_core(struct vdev *v, struct save_in *s)
{
	uint32_t status;
	const uint8_t *cfg;
	size_t n;

	if (load_u32(s) != v->cls->id)
		return -EINVAL;
	v->acked = load_u64(s);
	status = load_u32(s);
	v->int_status = load_u32(s) & (VDEV_INT_USED | VDEV_INT_CONFIG);
	v->cfg_gen = load_u32(s);
	v->running = load_u8(s);
	cfg = load_blob(s, v->cls->cfg_len, &n);
	if (s->err || n != v->cls->cfg_len || load_u32(s) != v->nqueues || (status & ~STATUS_ALL))
		return -EINVAL;
	if ((status & VDEV_S_FEATURES_OK) &&
		((v->acked & ~v->offered) || !vdev_has(v, VDEV_F_VERSION_1)))
		return -EINVAL;
	if ((v->running || (status & VDEV_S_DRIVER_OK)) &&
		(status & (VDEV_S_DRIVER_OK | VDEV_S_FEATURES_OK)) !=
			(VDEV_S_DRIVER_OK | VDEV_S_FEATURES_OK))
		return -EINVAL;
	memcpy(v->cfg, cfg, n);
	v->status = status;
	v->broken = status & VDEV_S_NEEDS_RESET;
	for (unsigned i = 0; i < v->nqueues; i++) {
		int r = vq_load(&v->vq[i], s);

		if (r)
			return r;
	}
	return 0;
}

static void vdev_loop_load(void *arg)
{
	struct vdev_load_call *c = arg;
	struct vdev *v = c->v;
	struct save_in state;

	v->paused = true;
	if (v->cls->pause)
		v->cls->pause(v, true);
	c->err = vdev_load_core(v, &c->s);
	if (!c->err && !load_section(&c->s, TAG_STATE, VERSION, &state))
		c->err = -EINVAL;
	if (!c->err)
		c->err = load_done(&c->s);
	if (!c->err && v->running)
		c->err = vdev_loop_pin(v, true);
	if (c->err) {
		v->running = false;
		return;
	}
	if (v->cls->load)
		c->err = v->cls->load(v, &state);
	else if (v->running)
		c->err = v->cls->start(v);
	if (!c->err)
		c->err = load_done(&state);
	if (c->err)
		v->running = false;
}

int vdev_load(struct vdev *v, struct save_in *s)
{
	struct vdev_load_call c = { .v = v };

	if (v->running || !load_section(s, TAG_VDEV, VERSION, &c.s))
		return s->err ? s->err : -EINVAL;
	(void)pthread_mutex_lock(&v->lock);
	loop_call(v->loop, vdev_loop_load, &c);
	(void)pthread_mutex_unlock(&v->lock);
	return c.err;
}
