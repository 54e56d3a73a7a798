// SPDX-License-Identifier: Apache-2.0
/* virtio-net (virtio 1.2, section 5.1): the device and its link. */
/*
 * How it works
 *
 * A receive and a transmit queue (net_rx.c, net_tx.c), a control queue (net_ctl.c), and a backend
 * (struct net_be_ops) that moves frames. Of an interface with several pairs of queues each has a
 * backend of its own, and those that the driver does not use are at rest; what is behind them is
 * one, and goes as one. Both directions are held up, not thinned out: what the backend does not
 * take stays in the transmit ring, what the driver has no buffer for stays with the backend. The
 * descriptor is watched for what is missing, and not at all while nothing is.
 *
 * A backend that is gone is a cable that was pulled: the status in config space says so, by an
 * interrupt. What the driver sends then ends nowhere, as with any card. Where there is a path it is
 * tried again, after 0.1 s and then less and less often, up to every second; when that succeeds the
 * link is up, and the driver is asked to announce its addresses. So it is with a backend that comes
 * later, by net_attach().
 */
/* #syscalls:net read timerfd_settime */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "dev/net.h"
#include "dev/rekick.h"
#include "util/bytes.h"
#include "util/log.h"

#define NET_ID	     1
#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 1000
#define MTU_MIN	     68 /* section 5.1.4.1 */

static void arm(struct net *n)
{
	struct itimerspec t = { .it_value = { .tv_sec = n->retry_ms / 1000,
					.tv_nsec = n->retry_ms % 1000 * 1000000L } };

	if (n->timer_fd >= 0)
		(void)timerfd_settime(n->timer_fd, 0, &t, NULL);
}

void net_watch(struct net_pair *p)
{
	struct net *n = p->n;
	uint32_t events = 0;

	if (n->up && p->used && n->v.running && !n->v.paused && !vdev_is_broken(&n->v))
		events = (p->starved ? 0 : (uint32_t)EPOLLIN) |
			(p->blocked ? (uint32_t)EPOLLOUT : 0);
	if (hostfd_is_open(&p->be->fd) && hostfd_watch(&p->be->fd, events))
		vdev_broken(&n->v, "its backend could not be watched");
}

void net_status(struct net *n, uint16_t status)
{
	vdev_cfg_lock(&n->v);
	put_le16(n->v.cfg + NET_CFG_STATUS, status);
	vdev_cfg_unlock(&n->v);
	vdev_cfg_changed(&n->v);
}

void net_announced(struct net *n)
{
	vdev_cfg_lock(&n->v);
	put_le16(n->v.cfg + NET_CFG_STATUS, n->up ? NET_S_LINK_UP : 0);
	vdev_cfg_unlock(&n->v);
}

static void link_down(struct net *n)
{
	n->up = false;
	for (unsigned i = 0; i < n->npairs; i++) {
		struct net_pair *p = &n->pair[i];

		p->blocked = false;
		(void)hostfd_watch(&p->be->fd, 0);
		p->be->ops->close(p->be);
		/* what is in the ring goes nowhere, and the driver has it back */
		rekick(&n->v, 2 * i + NET_TX);
	}
	net_status(n, 0);
}

void net_down(struct net *n, int r)
{
	if (!n->up)
		return;
	log_guest("net: %s: the other side is gone: %s", n->pair[0].be->ops->name,
		r ? err_text(r) : "it has ended the connection");
	link_down(n);
	n->retry_ms = RETRY_MIN_MS;
	arm(n);
}

/* The link is there again, maybe with a driver that knows nothing of it. */
void net_up(struct net *n)
{
	bool tell = vdev_has(&n->v, NET_F_GUEST_ANNOUNCE | NET_F_CTRL_VQ | NET_F_STATUS);

	n->up = true;
	for (unsigned i = 0; i < n->npairs; i++)
		n->pair[i].blocked = n->pair[i].starved = false;
	net_status(n, tell ? NET_S_LINK_UP | NET_S_ANNOUNCE : NET_S_LINK_UP);
}

static void on_event(struct loop_src *src, uint32_t events)
{
	struct net_pair *p = src->arg;

	if (!p->used)
		return;
	if (p->blocked && events & ~(uint32_t)EPOLLIN) {
		p->blocked = false;
		net_tx(p);
	}
	/* who has hung up and has nothing more to say would wake us for ever */
	if (events & ~(uint32_t)EPOLLOUT && net_rx(p) && events & (EPOLLHUP | EPOLLERR))
		net_down(p->n, 0);
}

/* Within net_attach(), on the owner loop. */
struct attach {
	struct net *n;
	struct hostfd h;
	int r;
};

static void attach(void *arg)
{
	struct attach *a = arg;
	struct net *n = a->n;
	struct net_pair *p = &n->pair[0];

	if (n->up || !n->later) {
		a->r = n->later ? -EBUSY : -EINVAL;
		return;
	}
	p->be->fd = a->h;
	a->h.fd = -1;
	if (n->v.running && p->be->ops->offload && p->be->ops->offload(p->be, n->guest_offloads)) {
		p->be->ops->close(p->be);
		a->r = -EIO;
		return;
	}
	hostfd_bind(&p->be->fd, n->v.loop, "net", on_event, p);
	net_up(n);
	if (n->v.running && !n->v.paused)
		(void)net_rx(p);
}

static void detach(void *arg)
{
	struct net *n = arg;

	if (n->later && n->up)
		link_down(n);
}

void net_detach(struct vdev *v)
{
	loop_call(v->loop, detach, net_of(v));
}

int net_attach(struct vdev *v, int fd, struct error *e)
{
	struct attach a = { .n = net_of(v), .h = { .fd = -1 } };

	/* here, so that the loop's thread needs no calls for it */
	a.r = a.n->pair[0].be->ops->adopt ? a.n->pair[0].be->ops->adopt(fd, &a.h, e) : -EINVAL;
	if (!a.r)
		loop_call(v->loop, attach, &a);
	else if (fd >= 0)
		(void)close(fd);
	hostfd_close(&a.h);
	return a.r ? err_sys(e, a.r, "network interface: its other side") : 0;
}

static void on_timer(struct loop_src *src, uint32_t events)
{
	struct net *n = src->arg;
	struct net_pair *p = &n->pair[0];
	uint64_t ticks;

	(void)events;
	if (read(n->timer_fd, &ticks, sizeof(ticks)) < 0 || n->up || vdev_is_broken(&n->v))
		return;
	if (p->be->ops->connect(p->be)) {
		n->retry_ms = MIN(n->retry_ms * 2, (unsigned)RETRY_MAX_MS);
		arm(n);
		return;
	}
	log_guest("net: %s: connected again", p->be->ops->name);
	hostfd_bind(&p->be->fd, n->v.loop, "net", on_event, p);
	net_up(n);
	(void)net_rx(p);
}

static int begin(struct net *n)
{
	int r = 0;

	if (net_offload(n))
		return -EIO;
	if (n->timer_fd >= 0)
		r = loop_add(n->v.loop, &n->timer, EPOLLIN);
	if (!r && !n->up)
		arm(n);
	return r;
}

static int net_start(struct vdev *v)
{
	struct net *n = net_of(v);

	net_ctl_reset(n);
	n->guest_offloads = v->acked & NET_GUEST_OFFLOADS;
	return net_set_pairs(n, 1) ? -EIO : begin(n);
}

static void net_kick(struct vdev *v, unsigned q)
{
	struct net *n = net_of(v);
	struct net_pair *p = q / 2 < n->npairs ? &n->pair[q / 2] : NULL;

	if (q == net_ctrl_queue(n))
		net_ctl(n);
	else if (p && p->used && q % 2 == NET_RX)
		(void)net_rx(p);
	else if (p && p->used)
		net_tx(p);
	else if (p && q % 2 == NET_TX)
		net_give_back(p);
}

static void quiet(struct net *n)
{
	for (unsigned i = 0; i < n->npairs; i++) {
		(void)hostfd_watch(&n->pair[i].be->fd, 0);
		n->pair[i].blocked = false;
	}
	loop_del(n->v.loop, &n->timer);
}

static void net_stop(struct vdev *v)
{
	struct net *n = net_of(v);

	quiet(n);
	for (unsigned i = 0; i < n->npairs; i++)
		net_rx_stop(&n->pair[i]);
	/* what a driver has been asked to do, and has asked for, is not its successor's */
	net_announced(n);
	/* where it cannot be the next start says so */
	(void)!net_set_pairs(n, 1);
}

static void net_pause(struct vdev *v, bool paused)
{
	struct net *n = net_of(v);

	if (!v->running)
		return;
	/* the kicks that come with a resume look at the queues, whatever was missing */
	quiet(n);
	if (!paused && begin(n))
		vdev_broken(v, "its own events could not be watched");
}

static void net_destroy(struct vdev *v)
{
	struct net *n = net_of(v);

	for (unsigned i = 0; i < n->npairs; i++) {
		if (n->pair[i].be)
			n->pair[i].be->ops->free(n->pair[i].be);
	}
	if (n->timer_fd >= 0)
		(void)close(n->timer_fd);
	free(n);
}

static const struct vdev_class net_class = {
	.name = "net",
	.id = NET_ID,
	.features = NET_F_MAC | NET_F_STATUS | NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_CTRL_RX |
		NET_F_CTRL_MAC_ADDR | NET_F_GUEST_ANNOUNCE,
	.nqueues = NET_QUEUES,
	.qsizes = (const uint16_t[]){ 1024, 1024, 64 },
	.cfg_len = NET_CFG_LEN,
	.redo = true,
	.start = net_start,
	.kick = net_kick,
	.stop = net_stop,
	.pause = net_pause,
	.save = net_save,
	.load = net_load,
	.destroy = net_destroy,
};

/* What may be offered together (section 5.1.3.1) of what is wanted and the backend can do. */
static uint64_t offloads(uint64_t want, uint64_t can)
{
	uint64_t f = want & can;

	if (!(f & NET_F_CSUM))
		f &= ~(uint64_t)NET_HOST_SEGMENTS;
	if (!(f & NET_F_GUEST_CSUM))
		f &= ~(uint64_t)NET_GUEST_SEGMENTS;
	if (!(f & (NET_F_HOST_TSO4 | NET_F_HOST_TSO6)))
		f &= ~(uint64_t)NET_F_HOST_ECN;
	if (!(f & (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6)))
		f &= ~(uint64_t)NET_F_GUEST_ECN;
	return f & NET_GUEST_OFFLOADS ? f | NET_F_CTRL_GUEST_OFFLOADS : f;
}

static void describe(struct net *n, const struct net_cfg *cfg)
{
	uint8_t *c = n->v.cfg;

	(void)memcpy(c + NET_CFG_MAC, cfg->mac, sizeof(cfg->mac));
	put_le16(c + NET_CFG_STATUS, n->up ? NET_S_LINK_UP : 0);
	put_le16(c + NET_CFG_PAIRS, (uint16_t)n->npairs);
	put_le16(c + NET_CFG_MTU, cfg->mtu);
	n->mtu = cfg->mtu;
	n->v.offered |= offloads(cfg->offloads, n->pair[0].be->offloads);
	n->v.offered |= (cfg->mtu ? NET_F_MTU : 0) | (n->npairs > 1 ? NET_F_MQ : 0);
}

static const struct net_be_ops *const kinds[] = {
	[NET_STREAM] = &net_stream_ops,
	[NET_DGRAM] = &net_dgram_ops,
	[NET_TAP] = &net_tap_ops,
};

static int check(const struct net_cfg *cfg, struct error *e)
{
	if ((unsigned)cfg->kind >= ARRAY_SIZE(kinds) || !memchr(cfg->path, 0, sizeof(cfg->path)) ||
		(cfg->path[0] && !kinds[cfg->kind]->connect))
		return err_set(e, EINVAL, "network interface: no such backend, or no such path");
	if (cfg->later && (cfg->path[0] || cfg->fd >= 0 || !kinds[cfg->kind]->adopt))
		return err_set(e, EINVAL,
			"network interface: what is behind it cannot be there and come later");
	if (cfg->nmore > ARRAY_SIZE(cfg->more) ||
		(cfg->nmore && (cfg->later || !kinds[cfg->kind]->use)))
		return err_set(e, EINVAL, "network interface: more queues than it can have");
	if (cfg->mac[0] & NET_MAC_GROUP)
		return err_set(e, EINVAL, "network interface: its address is one of a group");
	if (cfg->mtu && cfg->mtu < MTU_MIN)
		return err_set(e, EINVAL, "network interface: an MTU of %u", cfg->mtu);
	return 0;
}

/* Takes over the descriptor, also when it fails. The first is in use from the start. */
static int make_pair(struct net *n, unsigned i, struct net_cfg *cfg, struct error *e)
{
	struct net_pair *p = &n->pair[i];
	int r;

	p->n = n;
	p->i = i;
	if (i)
		cfg->fd = cfg->more[i - 1];
	r = kinds[cfg->kind]->new (cfg, &p->be, e);
	if (r) {
		if (cfg->fd >= 0)
			(void)close(cfg->fd);
		return r;
	}
	p->used = true;
	hostfd_bind(&p->be->fd, n->v.loop, "net", on_event, p);
	if (!i)
		return 0;
	p->used = false;
	r = p->be->ops->use(p->be, false);
	return r ? err_sys(e, r, "network interface: its queue %u", i) : 0;
}

/* Everything but the device's common part. What fails is taken away by net_destroy(). */
static int make(struct net *n, const struct net_cfg *cfg, struct error *e)
{
	struct net_cfg c = *cfg;
	int r = 0;

	for (unsigned i = 0; i <= cfg->nmore; i++) {
		if (!r)
			r = make_pair(n, i, &c, e);
		else if (cfg->more[i - 1] >= 0)
			(void)close(cfg->more[i - 1]);
	}
	if (r)
		return r;
	n->later = cfg->later;
	n->up = !cfg->later;
	if (cfg->path[0]) {
		n->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (n->timer_fd < 0)
			return err_sys(e, errno, "network interface: a timer");
	}
	n->timer = (struct loop_src){
		.fd = n->timer_fd, .name = "net timer", .fn = on_timer, .arg = n
	};
	describe(n, cfg);
	return 0;
}

static void close_all(const struct net_cfg *cfg)
{
	if (cfg->fd >= 0)
		(void)close(cfg->fd);
	for (unsigned i = 0; i < cfg->nmore && i < ARRAY_SIZE(cfg->more); i++) {
		if (cfg->more[i] >= 0)
			(void)close(cfg->more[i]);
	}
}

/* The common part, with as many queues. The class has the sizes of the first pair's, and of the
 * control queue behind the last. */
static int init(struct net *n, const struct net_cfg *cfg, struct loop *loop, struct mem *mem,
	struct error *e)
{
	unsigned ctrl = NET_CTRL(1 + cfg->nmore);
	int r = vdev_init(&n->v, &net_class, ctrl + 1, loop, mem, e);

	if (r)
		return r;
	n->npairs = 1 + cfg->nmore;
	for (unsigned q = 2; q < ctrl; q++)
		vq_init(&n->v.vq[q], mem, net_class.qsizes[q % 2]);
	return 0;
}

int net_new(struct loop *loop, struct mem *mem, const struct net_cfg *cfg, struct vdev **out,
	struct error *e)
{
	struct net *n = calloc(1, sizeof(*n));
	int r = n ? check(cfg, e) : err_sys(e, ENOMEM, "network interface");

	if (!r)
		r = init(n, cfg, loop, mem, e);
	if (r) {
		close_all(cfg);
		free(n);
		return r;
	}
	n->timer_fd = -1;
	r = make(n, cfg, e);
	if (r) {
		vdev_fini(&n->v);
		net_destroy(&n->v);
		return r;
	}
	*out = &n->v;
	return 0;
}
