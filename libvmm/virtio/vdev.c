// SPDX-License-Identifier: Apache-2.0
/* What is common to all virtio devices: status, features, config bytes, interrupts, start and stop.
 */
/*
 * How it works
 *
 * Register writes come on vCPU threads, one at a time under v->lock. What they set off in the
 * device (start, stop) is a call on the owner loop that the vCPU waits for; so callbacks never
 * overlap each other, nor the kicks, which arrive on eventfds that are sources of the same loop
 * while the device runs. Nothing there takes v->lock, so the wait cannot be circular; status and
 * int_status, which a callback may have to change (vdev_broken(), vdev_flush()), are atomics
 * instead.
 *
 * Status (virtio 1.2, sections 2.1 and 3.1.1): bits are only ever added, writing 0 resets.
 * FEATURES_OK sticks when the driver's choice is one that we offered, DRIVER_OK when FEATURES_OK
 * stands; then features and queue geometry are closed until reset.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/log.h"
#include "virtio/vdev.h"
#include "virtio/vdev_loop.h"

#define STATUS_DRIVER_BITS \
	(VDEV_S_ACKNOWLEDGE | VDEV_S_DRIVER | VDEV_S_DRIVER_OK | VDEV_S_FEATURES_OK | VDEV_S_FAILED)

static void vdev_status_or(struct vdev *v, uint32_t bits)
{
	__atomic_fetch_or(&v->status, bits, __ATOMIC_SEQ_CST);
}

uint32_t vdev_status(struct vdev *v)
{
	return __atomic_load_n(&v->status, __ATOMIC_SEQ_CST);
}

bool vdev_is_broken(const struct vdev *v)
{
	return __atomic_load_n(&v->broken, __ATOMIC_ACQUIRE);
}

static void vdev_interrupt(struct vdev *v, uint32_t why)
{
	__atomic_fetch_or(&v->int_status, why, __ATOMIC_SEQ_CST);
	irq_raise(v->irq);
}

void vdev_flush(struct vdev *v, unsigned q)
{
	if (v->running && vq_flush(&v->vq[q]))
		vdev_interrupt(v, VDEV_INT_USED);
}

void vdev_used(struct vdev *v)
{
	if (v->running)
		vdev_interrupt(v, VDEV_INT_USED);
}

void vdev_cfg_lock(struct vdev *v)
{
	(void)pthread_mutex_lock(&v->cfg_lock);
	/* Before the change: a driver that has read half of the old bytes then finds another
	 * generation (section 2.5). */
	v->cfg_gen++;
}

void vdev_cfg_unlock(struct vdev *v)
{
	(void)pthread_mutex_unlock(&v->cfg_lock);
}

void vdev_cfg_changed(struct vdev *v)
{
	if (vdev_status(v) & VDEV_S_DRIVER_OK)
		vdev_interrupt(v, VDEV_INT_CONFIG);
}

void vdev_broken(struct vdev *v, const char *why)
{
	if (__atomic_exchange_n(&v->broken, true, __ATOMIC_ACQ_REL))
		return;
	log_guest("%s: device stopped: %s", v->cls->name, why);
	vdev_status_or(v, VDEV_S_NEEDS_RESET);
	vdev_cfg_changed(v);
	if (v->cls->essential && v->host.fatal)
		v->host.fatal(v->host.arg, v->cls->name, why);
}

/*
 * A kick, or the one that we give ourselves when a device starts or goes on. The eventfd is watched
 * for edges, and each write is one, so nobody has to read it: the counter would take centuries to
 * fill.
 */
static void vdev_on_kick(struct loop_src *src, uint32_t events)
{
	struct vdev *v = src->arg;

	(void)events;
	if (v->running && !vdev_is_broken(v))
		v->cls->kick(v, (unsigned)(src - v->kick_src));
}

static int vdev_init_queues(struct vdev *v)
{
	unsigned nsizes = v->cls->nqueues;

	for (unsigned i = 0; i < v->nqueues; i++) {
		vq_init(&v->vq[i], v->mem, v->cls->qsizes[MIN(i, nsizes - 1)]);
		v->kick_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (v->kick_fd[i] < 0)
			return -errno;
		v->kick_src[i] = (struct loop_src){
			.fd = v->kick_fd[i], .name = "kick", .fn = vdev_on_kick, .arg = v
		};
	}
	return 0;
}

int vdev_init(struct vdev *v, const struct vdev_class *cls, unsigned nqueues, struct loop *loop,
	struct mem *mem, struct error *e)
{
	int r;

	memset(v, 0, sizeof(*v));
	v->cls = cls;
	v->loop = loop;
	v->mem = mem;
	v->offered = cls->features | VDEV_F_INDIRECT | VDEV_F_EVENT_IDX | VDEV_F_VERSION_1;
	v->nqueues = nqueues ? nqueues : cls->nqueues;
	if (!cls->nqueues || v->nqueues > LIM_VQS || cls->cfg_len > LIM_CFG_SPACE)
		return err_set(e, EINVAL, "%s: %u queues and %u config bytes", cls->name,
			v->nqueues, cls->cfg_len);
	for (unsigned i = 0; i < LIM_VQS; i++)
		v->kick_fd[i] = -1;
	(void)pthread_mutex_init(&v->lock, NULL);
	(void)pthread_mutex_init(&v->cfg_lock, NULL);
	r = vdev_init_queues(v);
	if (r) {
		vdev_fini(v);
		return err_sys(e, r, "queues of %s", cls->name);
	}
	return 0;
}

/*
 * Kicks become sources of the loop and every queue gets one: it may have entries already. Where
 * another process reads them nothing is written: it shares the descriptor and could make the write
 * wait. The driver kicks once it has said DRIVER_OK, and what it kicked while we were paused
 * counts.
 */
int vdev_loop_listen(struct vdev *v)
{
	uint64_t one = 1;

	for (unsigned i = 0; i < v->nqueues; i++) {
		int r = 0;

		if (!v->vq[i].ready)
			continue;
		if (v->cls->elsewhere)
			continue;
		r = loop_add(v->loop, &v->kick_src[i], EPOLLIN | EPOLLET);
		if (!r && write(v->kick_fd[i], &one, sizeof(one)) < 0 && errno != EAGAIN)
			r = -errno;
		if (r)
			return r;
	}
	return 0;
}

void vdev_loop_ignore(struct vdev *v)
{
	for (unsigned i = 0; i < v->nqueues; i++)
		loop_del(v->loop, &v->kick_src[i]);
}

int vdev_loop_pin(struct vdev *v, bool resume)
{
	for (unsigned i = 0; i < v->nqueues; i++) {
		struct vq *q = &v->vq[i];
		int r;

		q->event_idx = vdev_has(v, VDEV_F_EVENT_IDX);
		q->indirect = vdev_has(v, VDEV_F_INDIRECT);
		r = q->ready ? vq_start(q, resume) : 0;
		if (r)
			return r;
	}
	return 0;
}

/* DRIVER_OK, on the owner loop. */
static void vdev_loop_start(void *arg)
{
	struct vdev *v = arg;
	int r;

	/* No vCPU runs while a VM is paused; one that ends has been settled, and is not to begin.
	 */
	if (v->paused)
		return;
	if (vdev_loop_pin(v, false)) {
		vdev_broken(v, "a queue's size or addresses make no sense");
		return;
	}
	/* Before the callback: it may push and flush. */
	v->running = true;
	r = v->cls->start(v);
	if (r) {
		v->running = false;
		vdev_broken(v, err_text(r));
		return;
	}
	r = vdev_loop_listen(v);
	if (r)
		vdev_broken(v, err_text(r));
}

/* Reset or end, on the owner loop. */
static void vdev_loop_stop(void *arg)
{
	struct vdev *v = arg;

	vdev_loop_ignore(v);
	if (v->running)
		v->cls->stop(v);
	v->running = false;
	for (unsigned i = 0; i < v->nqueues; i++)
		vq_reset(&v->vq[i]);
}

void vdev_fini(struct vdev *v)
{
	loop_call(v->loop, vdev_loop_stop, v);
	for (unsigned i = 0; i < v->nqueues; i++) {
		if (v->kick_fd[i] >= 0)
			(void)close(v->kick_fd[i]);
		v->kick_fd[i] = -1;
	}
	(void)pthread_mutex_destroy(&v->cfg_lock);
	(void)pthread_mutex_destroy(&v->lock);
}

struct mend {
	struct vdev *v;
	unsigned n;
};

static void vdev_loop_mend(void *arg)
{
	struct mend *m = arg;

	if (m->v->running && !m->v->paused)
		m->n = m->v->cls->mend(m->v);
}

unsigned vdev_mend(struct vdev *v)
{
	struct mend m = { .v = v };

	if (v->cls->mend)
		loop_call(v->loop, vdev_loop_mend, &m);
	return m.n;
}

static void vdev_reset(struct vdev *v)
{
	loop_call(v->loop, vdev_loop_stop, v);
	v->acked = 0;
	__atomic_store_n(&v->int_status, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->broken, false, __ATOMIC_RELEASE);
	__atomic_store_n(&v->status, 0, __ATOMIC_SEQ_CST);
}

void vdev_set_status(struct vdev *v, uint32_t status)
{
	uint32_t cur = vdev_status(v), add;

	if (!status) {
		vdev_reset(v);
		return;
	}
	add = status & STATUS_DRIVER_BITS & ~cur;
	if ((add & VDEV_S_FEATURES_OK) &&
		((v->acked & ~v->offered) || !vdev_has(v, VDEV_F_VERSION_1)))
		add &= ~(uint32_t)VDEV_S_FEATURES_OK;
	if (!((cur | add) & VDEV_S_FEATURES_OK))
		add &= ~(uint32_t)VDEV_S_DRIVER_OK;
	/* The bit first: what goes wrong while starting is told by a config interrupt, which wants
	 * DRIVER_OK. */
	vdev_status_or(v, add);
	if (add & VDEV_S_DRIVER_OK)
		loop_call(v->loop, vdev_loop_start, v);
}

void vdev_set_features(struct vdev *v, unsigned word, uint32_t bits)
{
	unsigned shift = word * 32;

	if (word > 1 || (vdev_status(v) & VDEV_S_FEATURES_OK))
		return;
	v->acked = (v->acked & ~(0xffffffffULL << shift)) | (uint64_t)bits << shift;
}

bool vdev_queue_open(struct vdev *v, unsigned q)
{
	return q < v->nqueues && !v->vq[q].ready && !(vdev_status(v) & VDEV_S_DRIVER_OK);
}

void vdev_kick(struct vdev *v, unsigned q)
{
	uint64_t one = 1;

	if (q >= v->nqueues || !(vdev_status(v) & VDEV_S_DRIVER_OK))
		return;
	if (write(v->kick_fd[q], &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_guest("%s: kick: %s", v->cls->name, err_text(errno));
}

void vdev_cfg_read(struct vdev *v, uint64_t off, uint8_t *data, unsigned len)
{
	memset(data, 0, len);
	if (off >= v->cls->cfg_len)
		return;
	(void)pthread_mutex_lock(&v->cfg_lock);
	memcpy(data, v->cfg + off, MIN(len, v->cls->cfg_len - (unsigned)off));
	(void)pthread_mutex_unlock(&v->cfg_lock);
}

void vdev_cfg_write(struct vdev *v, uint64_t off, const uint8_t *data, unsigned len)
{
	if (v->cls->cfg_write && range_ok(off, len, v->cls->cfg_len))
		v->cls->cfg_write(v, (uint32_t)off, data, len);
}
