// SPDX-License-Identifier: Apache-2.0
// virtio-vsock (virtio 1.2, section 5.10): the device record, connects from other threads, pause
// and stop.
//
// How it works
//
// The host connects to listeners in the guest and splices each stream to fds. vsock_connect() may
// be called anywhere: it builds the connection, puts it into the inbox and kicks the device's own
// queue. The owner loop takes it from there. Until the guest has knocked (its first agent process
// tried the knock port) connections are parked, so that nobody polls a guest that boots.
//
// A reset by the driver ends what concerns the guest. Bytes that the guest had handed over still go
// to their readers; vsock_pending() says how many there are, for whoever wants to end the process.

/* #syscalls:io read timerfd_settime */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "dev/rekick.h"
#include "dev/vsock_tsi.h"
#include "util/bytes.h"
#include "util/err.h"
#include "util/log.h"

/* ---- connects ---- */

int vsock_connect(struct vdev *v, uint32_t port, int rfd, int wfd, const void *hdr,
	unsigned hdr_len, uint32_t id)
{
	struct vsock *vs = vsock_of(v);
	struct vsock_conn *c = conn_new(vs, port, rfd, wfd);

	if (!c)
		return -ENOMEM;
	if (hdr_len > VSOCK_HDR_MAX) {
		conn_free(c);
		return -EMSGSIZE;
	}
	if (__atomic_load_n(&vs->nconns, __ATOMIC_RELAXED) > LIM_VSOCK_CONNS) {
		conn_free(c);
		return -EMFILE;
	}
	if (hdr_len)
		memcpy(c->hdr, hdr, hdr_len);
	c->hdr_len = hdr_len;
	c->id = id;
	(void)pthread_mutex_lock(&vs->inbox_lock);
	TAILQ_INSERT_TAIL(&vs->inbox, c, all);
	(void)pthread_mutex_unlock(&vs->inbox_lock);
	rekick(v, VSOCK_RX);
	return 0;
}

/* Connections that have ended on the host's side and wait for the guest give way when the table
 * fills up. */
static void vsock_evict(struct vsock *vs)
{
	struct vsock_conn *c, *next;

	for (c = TAILQ_FIRST(&vs->all); c; c = next) {
		next = TAILQ_NEXT(c, all);
		/* the control connection would take others with it, @next maybe */
		if (c->state == VSOCK_ESTABLISHED && c->rd_done && c->wr_done &&
			c->ops != &tsi_ctl_ops)
			conn_reset(c);
	}
}

void vsock_inbox(struct vsock *vs)
{
	struct vsock_conn *c;

	(void)pthread_mutex_lock(&vs->inbox_lock);
	while ((c = TAILQ_FIRST(&vs->inbox))) {
		TAILQ_REMOVE(&vs->inbox, c, all);
		c->hport = conn_port(vs);
		conn_enter(c);
	}
	(void)pthread_mutex_unlock(&vs->inbox_lock);
	if (vs->nall > LIM_VSOCK_CONNS / 4 * 3)
		vsock_evict(vs);
}

void vsock_unpark(struct vsock *vs)
{
	struct vsock_conn *c;

	if (!vsock_live(vs) || (vs->cfg.knock_port && !vs->knocked))
		return;
	TAILQ_FOREACH(c, &vs->all, all)
	{
		if (c->state == VSOCK_PARKED)
			conn_request(c);
	}
}

uint64_t vsock_pending(struct vdev *v)
{
	return __atomic_load_n(&vsock_of(v)->pending, __ATOMIC_RELAXED);
}

/* ---- once more, later ---- */

static void again_event(struct loop_src *src, uint32_t events)
{
	struct vsock *vs = src->arg;
	uint64_t n;

	(void)events;
	(void)!read(src->fd, &n, sizeof(n));
	vs->again_set = false;
	vsock_map_retry(vs);
	rekick(&vs->v, VSOCK_RX);
}

void vsock_again(struct vsock *vs)
{
	const struct itimerspec t = { .it_value.tv_nsec = VSOCK_AGAIN_MS * 1000000L };
	int r = 0;

	if (vs->again_set)
		return;
	if (!vs->again.added)
		r = loop_add(vs->v.loop, &vs->again, EPOLLIN);
	if (r < 0 || timerfd_settime(vs->again.fd, 0, &t, NULL))
		log_warn("vsock: no timer: %s", err_text(r < 0 ? r : -errno));
	else
		vs->again_set = true;
}

static int again_init(struct vsock *vs)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	vs->again =
		(struct loop_src){ .fd = fd, .name = "vsock again", .fn = again_event, .arg = vs };
	return fd < 0 ? -errno : 0;
}

/* ---- device ---- */

/* Tells the driver that all its connections are gone. */
static void vsock_send_event(struct vsock *vs)
{
	struct vq *q = &vs->v.vq[VSOCK_EVENT];
	const uint32_t id = htole32(VSOCK_EVENT_RESET);
	int r = vq_pop(q, &vs->rx);

	if (r == 1) {
		r = iobuf_push(&vs->rx.wr, &id, sizeof(id));
		vq_push(q, vs->rx.head, r < 0 ? 0 : sizeof(id));
		vs->event_owed = false;
		vdev_flush(&vs->v, VSOCK_EVENT);
	}
	if (r < 0)
		vdev_broken(&vs->v, "bad vsock event buffer");
}

/* First thing after a load: streams that nobody reattached end, the others go on. When none goes on
 * and the driver can hear it, one event takes the place of all resets. */
static void vsock_wake_loaded(struct vsock *vs)
{
	struct vsock_conn *c, *next;
	bool lives = vs->tsi && vs->tsi->ctl;

	vs->loaded = false;
	TAILQ_FOREACH(c, &vs->all, all)
	{
		lives = lives || (!c->lost && c->state != VSOCK_DRAIN);
	}
	if (!lives && vs->v.vq[VSOCK_EVENT].ready) {
		vs->event_owed = vs->rst_n || vs->nall;
		vs->rst_head = vs->rst_n = 0;
	}
	if (vs->tsi)
		tsi_wake_loaded(vs->tsi);
	for (c = TAILQ_FIRST(&vs->all); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->lost && c->state != VSOCK_PARKED && c->state != VSOCK_DRAIN &&
			!vs->event_owed)
			vsock_send_rst(vs, c->type, c->gport, c->hport);
		if (c->lost) {
			conn_free(c);
			continue;
		}
		if (c->ops)
			continue;
		if (c->state == VSOCK_ESTABLISHED && !c->wr_done && !hostfd_is_open(conn_wr(c)))
			conn_wr_dead(c);
		if (c->state == VSOCK_ESTABLISHED && !c->rd_done)
			conn_ready(c);
	}
}

/* The kicks that follow find the inbox and the parked connections. */
static int vsock_start(struct vdev *v)
{
	return v->vq[VSOCK_RX].ready && v->vq[VSOCK_TX].ready ? 0 : -EINVAL;
}

static void vsock_kick(struct vdev *v, unsigned q)
{
	struct vsock *vs = vsock_of(v);

	if (!vsock_live(vs))
		return;
	if (vs->loaded)
		vsock_wake_loaded(vs);
	vsock_failed(vs);
	if (vs->tsi)
		tsi_turn(vs->tsi);
	vsock_map_turn(vs);
	vsock_inbox(vs);
	vsock_unpark(vs);
	if (vs->event_owed)
		vsock_send_event(vs);
	if (q == VSOCK_TX)
		vsock_tx_run(vs);
	else if (q == VSOCK_RX)
		vsock_rx_run(vs);
}

static void vsock_stop(struct vdev *v)
{
	struct vsock *vs = vsock_of(v);
	struct vsock_conn *c, *next;

	if (vs->tsi)
		tsi_stop(vs->tsi);
	vsock_map_watch(vs, false);
	for (c = TAILQ_FIRST(&vs->all); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->lost)
			conn_free(c);
		else if (c->state == VSOCK_REQUESTED || c->state == VSOCK_ESTABLISHED)
			conn_detach(c);
	}
	vs->rst_head = vs->rst_n = 0;
	vs->knocked = vs->tx_stopped = vs->loaded = vs->event_owed = false;
}

static void vsock_pause(struct vdev *v, bool paused)
{
	struct vsock *vs = vsock_of(v);
	struct vsock_conn *c, *next;

	vs->paused = paused;
	for (c = TAILQ_FIRST(&vs->all); c; c = next) {
		next = TAILQ_NEXT(c, all);
		conn_update(c);
		if (c->state == VSOCK_DRAIN && !c->lost && !conn_held(c))
			conn_free(c);
	}
	if (vs->tsi)
		tsi_pause(vs->tsi, paused);
	vsock_map_watch(vs, !paused);
}

static void vsock_destroy(struct vdev *v)
{
	struct vsock *vs = vsock_of(v);
	struct vsock_conn *c;

	vsock_inbox(vs);
	tsi_destroy(vs->tsi);
	vs->tsi = NULL;
	while ((c = TAILQ_FIRST(&vs->all)))
		conn_free(c);
	vsock_map_fini(vs);
	loop_del(vs->v.loop, &vs->again);
	if (vs->again.fd >= 0)
		(void)close(vs->again.fd);
	(void)pthread_mutex_destroy(&vs->inbox_lock);
	free(vs->tail);
	free(vs->rst);
	free(vs);
}

static const struct vdev_class vsock_class = {
	.name = "vsock",
	.id = VSOCK_ID,
	.features = VSOCK_F_SEQPACKET | VSOCK_F_DGRAM,
	.nqueues = VSOCK_QUEUES,
	.qsizes = (const uint16_t[]){ 256, 256, 16 },
	.cfg_len = 8, /* guest_cid */
	.essential = true,
	.start = vsock_start,
	.kick = vsock_kick,
	.stop = vsock_stop,
	.pause = vsock_pause,
	.save = vsock_save,
	.load = vsock_load,
	.destroy = vsock_destroy,
};

static void vsock_init(struct vsock *vs, const struct vsock_cfg *cfg)
{
	vs->cfg = *cfg;
	vs->next_port = VSOCK_PORT_FIRST;
	vs->again.fd = -1;
	put_le64(vs->v.cfg, cfg->guest_cid);
	for (unsigned i = 0; i < VSOCK_HASH; i++)
		LIST_INIT(&vs->table[i]);
	TAILQ_INIT(&vs->all);
	TAILQ_INIT(&vs->ctl);
	TAILQ_INIT(&vs->ready);
	TAILQ_INIT(&vs->fail);
	TAILQ_INIT(&vs->inbox);
	(void)pthread_mutex_init(&vs->inbox_lock, NULL);
	if (!cfg->net)
		vs->v.offered &= ~VSOCK_F_DGRAM;
}

static void close_ports(const struct vsock_cfg *cfg)
{
	for (unsigned i = 0; i < cfg->nports; i++) {
		if (cfg->ports[i].fd >= 0)
			(void)close(cfg->ports[i].fd);
	}
}

int vsock_new(struct loop *loop, struct mem *mem, const struct vsock_cfg *cfg, struct vdev **out,
	struct error *e)
{
	struct vsock *vs = NULL;
	int ret = 0;

	/* 0-2 are the hypervisor, the local and the host's CID; a CID is 32 bits wide. */
	if (cfg->guest_cid <= VSOCK_CID_HOST || cfg->guest_cid >= UINT32_MAX)
		ret = err_set(e, EINVAL, "vsock: %llu is no CID for a guest",
			(unsigned long long)cfg->guest_cid);
	else if (cfg->nports > LIM_VSOCK_PORTS)
		ret = err_set(e, EINVAL, "vsock: over %u mapped ports", LIM_VSOCK_PORTS);
	if (!ret) {
		vs = calloc(1, sizeof(*vs));
		ret = vs ? vdev_init(&vs->v, &vsock_class, VSOCK_QUEUES, loop, mem, e)
			 : err_sys(e, ENOMEM, "vsock");
	}
	if (ret < 0) {
		close_ports(cfg);
		free(vs);
		return ret;
	}
	vsock_init(vs, cfg);
	vs->cfg.net = NULL;
	ret = vsock_map_init(vs);
	if (!ret && (cfg->net || cfg->nports))
		ret = again_init(vs);
	vs->rst = calloc(LIM_VSOCK_CTRL, sizeof(*vs->rst));
	vs->tail = malloc(VSOCK_MSG_MAX);
	if (!ret && vs->rst && vs->tail && cfg->net)
		ret = tsi_new(vs, cfg->net, &vs->tsi);
	if (ret < 0 || !vs->rst || !vs->tail) {
		vdev_fini(&vs->v);
		vsock_destroy(&vs->v);
		return err_sys(e, ret < 0 ? -ret : ENOMEM, "vsock");
	}
	*out = &vs->v;
	return 0;
}
