// SPDX-License-Identifier: Apache-2.0
/* A virtio device whose queues another process serves, by the vhost-user protocol. */
/*
 * How it works
 *
 * When the device is made the back end is asked what it can do: features, how many queues, config
 * bytes. At DRIVER_OK it gets the features, all of RAM as descriptors, and for each queue size,
 * addresses and two eventfds; from then on it works on the guest's memory by itself. At a reset
 * each ring is stopped, which is waited for: a driver may use its memory for something else
 * afterwards.
 *
 * A kick goes from the hypervisor straight to the back end, which has the queue's own eventfd; our
 * loop does not look at it (vdev_class.elsewhere). An interrupt does go through this process, as a
 * driver of virtio-mmio asks a register why it was interrupted, and handles nothing where that says
 * nothing. One eventfd for all queues is enough, since the device has one line.
 *
 * The back end is trusted with all of the guest's memory: that is what vhost-user is. It is not
 * trusted with this process. Its answers are checked (vhost_user.h), it is waited for with a time
 * limit, on a loop that has nothing but such devices, and what it puts into the rings is for the
 * driver to look at. The rings' places were proven by the core, which pins them.
 *
 * When it goes away, or says what makes no sense, the device is broken: what the driver waits for
 * never comes, and after a reset it is broken again, as there is no second connection.
 *
 * A paused VM has its interrupts when it goes on. It is not saved: what the back end knows of its
 * requests, and of files, is in no state of ours.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/dev.h"
#include "dev/vhost_user.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/log.h"

#define ID_BLK	2
#define ID_FS	26
#define FS_TAG	36U /* bytes of the tag in config space; the number of queues follows */
#define BLK_NQ	34U /* where a disk's config space has the number of queues */
#define BLK_LEN 60U

/* Device-type bits that all of the types below have their own in; the others are the transport's,
 * where ours has what vdev.h says. */
#define TYPE_FEATURES ((1ULL << 24) - 1)

static const struct kind {
	uint32_t id;
	const char *name;
	uint16_t nqueues; /* where nobody says */
	uint16_t cfg_len;
} kinds[] = {
	{ ID_BLK, "vhost-user disk", 1, BLK_LEN },
	{ 3, "vhost-user console", 4, 12 },
	{ 4, "vhost-user rng", 1, 0 },
	{ 17, "vhost-user clock", 2, 0 },
	{ 18, "vhost-user input", 2, 136 },
	{ 25, "vhost-user sound", 4, 12 },
	{ ID_FS, "vhost-user file system", 2, FS_TAG + 4 },
	{ 36, "vhost-user CAN", 3, 2 },
};

struct vhost_user {
	struct vdev v;
	struct vdev_class cls; /* constant once the device is made */
	uint16_t qsizes[LIM_VQS];
	char name[sizeof(((struct vhost_user_cfg *)0)->name)];
	struct vhu_conn c;
	bool protocol;	/* there are protocol features: rings have to be enabled */
	bool config;	/* config space is the back end's */
	bool has_table; /* it has been told of the memory */
	unsigned nmax;	/* queues that it has; 0: it does not say */
	int call_fd;
	struct loop_src call, hangup;
};

static struct vhost_user *vhu_of(struct vdev *v)
{
	return CONTAINER_OF(v, struct vhost_user, v);
}

static const struct kind *kind_of(uint32_t id)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].id == id)
			return &kinds[i];
	return NULL;
}

/* ---- while it runs ---- */

static const char *reason(int r)
{
	switch (r) {
	case -ENOTCONN:
	case -EPIPE:
		return "its back end is gone";
	case -ETIMEDOUT:
		return "its back end does not answer";
	case -EPROTO:
		return "its back end gave an answer that makes no sense";
	case -EREMOTEIO:
		return "its back end refuses";
	default:
		return err_text(r);
	}
}

static void unwatch(struct vhost_user *u)
{
	loop_del(u->v.loop, &u->call);
	loop_del(u->v.loop, &u->hangup);
}

static int watch(struct vhost_user *u)
{
	int r = loop_add(u->v.loop, &u->call, EPOLLIN | EPOLLET);

	u->hangup.fd = u->c.fd;
	return r ? r : loop_add(u->v.loop, &u->hangup, EPOLLIN | EPOLLRDHUP);
}

static void lost(struct vhost_user *u, const char *why)
{
	unwatch(u);
	vhu_close(&u->c);
	vdev_broken(&u->v, why);
}

static void on_call(struct loop_src *src, uint32_t events)
{
	struct vhost_user *u = src->arg;

	(void)events;
	vdev_used(&u->v);
}

/* Between two questions of ours there is nothing for it to say. */
static void on_hangup(struct loop_src *src, uint32_t events)
{
	struct vhost_user *u = src->arg;
	char c;

	(void)events;
	if (recv(u->c.fd, &c, 1, MSG_DONTWAIT | MSG_PEEK) > 0)
		lost(u, "its back end says what it was not asked");
	else
		lost(u, reason(-EPIPE));
}

static int tell_u64(struct vhost_user *u, enum vhu_request what, uint64_t v)
{
	return vhu_tell(&u->c, what, &v, sizeof(v), NULL, 0);
}

static int tell_state(struct vhost_user *u, enum vhu_request what, unsigned q, uint32_t num)
{
	const struct vhu_state s = { q, num };

	return vhu_tell(&u->c, what, &s, sizeof(s), NULL, 0);
}

static int tell_fd(struct vhost_user *u, enum vhu_request what, unsigned q, int fd)
{
	const uint64_t v = q;

	return vhu_tell(&u->c, what, &v, sizeof(v), &fd, 1);
}

static int tell_memory(struct vhost_user *u)
{
	const struct mem *m = u->v.mem;
	struct vhu_mem t = { 0 };
	int fds[VHU_REGIONS], r;

	for (unsigned i = 0; i < m->n; i++) {
		const struct mem_region *g = &m->r[i];

		if (g->kind != MEM_RAM)
			continue;
		if (g->backing != MEM_MEMFD || t.n == VHU_REGIONS)
			return -EINVAL;
		fds[t.n] = g->fd;
		t.r[t.n++] =
			(struct vhu_region){ g->gpa, g->len, g->gpa + VHU_USER_BASE, g->fd_off };
	}
	r = vhu_tell(&u->c, VHU_SET_MEM_TABLE, &t, 8 + 32 * t.n, fds, t.n);
	u->has_table = !r;
	return r;
}

static int tell_queue(struct vhost_user *u, unsigned q)
{
	const struct vq *vq = &u->v.vq[q];
	const struct vhu_addr a = { .index = q,
		.desc = vq->desc + VHU_USER_BASE,
		.used = vq->used + VHU_USER_BASE,
		.avail = vq->avail + VHU_USER_BASE };
	int r = tell_state(u, VHU_SET_VRING_NUM, q, vq->size);

	if (!r)
		r = tell_state(u, VHU_SET_VRING_BASE, q, 0);
	if (!r)
		r = vhu_tell(&u->c, VHU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
	if (!r)
		r = tell_fd(u, VHU_SET_VRING_CALL, q, u->call_fd);
	return r ? r : tell_fd(u, VHU_SET_VRING_KICK, q, u->v.kick_fd[q]);
}

static int set_up(struct vhost_user *u)
{
	struct vdev *v = &u->v;
	int r = tell_u64(u, VHU_SET_FEATURES, v->acked | (u->protocol ? VHU_F_PROTOCOL : 0));

	if (!r && !u->has_table)
		r = tell_memory(u);
	for (unsigned q = 0; !r && q < v->nqueues; q++)
		if (v->vq[q].ready)
			r = tell_queue(u, q);
	for (unsigned q = 0; !r && u->protocol && q < v->nqueues; q++)
		if (v->vq[q].ready)
			r = tell_state(u, VHU_SET_VRING_ENABLE, q, 1);
	return r ? r : watch(u);
}

static int vhu_start(struct vdev *v)
{
	struct vhost_user *u = vhu_of(v);
	int r;

	vhu_begin(&u->c);
	r = set_up(u);
	/* what it has been given of a device that does not run is taken back with the connection */
	if (r)
		lost(u, reason(r));
	return r;
}

static void vhu_kick(struct vdev *v, unsigned q)
{
	(void)v;
	(void)q;
}

/* The last entry that it took is of no interest: a driver begins anew. */
static void vhu_stop(struct vdev *v)
{
	struct vhost_user *u = vhu_of(v);
	struct vhu_state s;
	int r = 0;

	unwatch(u);
	vhu_begin(&u->c);
	for (unsigned q = 0; u->c.fd >= 0 && q < v->nqueues; q++) {
		if (!v->vq[q].ready)
			continue;
		if (u->protocol)
			r = tell_state(u, VHU_SET_VRING_ENABLE, q, 0);
		s = (struct vhu_state){ .index = q };
		if (!r || r == -EREMOTEIO)
			r = vhu_ask(
				&u->c, VHU_GET_VRING_BASE, &s, sizeof(s), &s, sizeof(s), sizeof(s));
		if (r >= 0 && s.index != q) {
			vhu_close(&u->c);
			r = -EPROTO;
		}
		if (r < 0)
			log_guest("%s: not stopped: %s", u->name, reason(r));
		r = 0;
	}
}

static void vhu_pause(struct vdev *v, bool paused)
{
	struct vhost_user *u = vhu_of(v);
	int r;

	if (!v->running || u->c.fd < 0)
		return;
	unwatch(u);
	r = paused ? 0 : watch(u);
	if (r)
		lost(u, err_text(r));
}

static void vhu_save(struct vdev *v, struct save_out *s)
{
	(void)v;
	save_fail(s, -ENOTSUP, "another process serves it, by vhost-user");
}

/* ---- config space ---- */

static int read_config(struct vhost_user *u)
{
	uint32_t len = u->cls.cfg_len;
	struct vhu_config c = { .size = len };
	int r = vhu_ask(&u->c, VHU_GET_CONFIG, &c, VHU_CONFIG_HEAD + len, &c, VHU_CONFIG_HEAD,
		VHU_CONFIG_HEAD + len);

	if (r < 0)
		return r;
	/* one that has no such bytes gives none */
	if (r != (int)(VHU_CONFIG_HEAD + len) || c.size != len || c.offset)
		return -EREMOTEIO;
	if (u->cls.id == ID_BLK) {
		unsigned n = get_le16(c.bytes + BLK_NQ);

		put_le16(c.bytes + BLK_NQ, (uint16_t)MIN(MAX(n, 1U), u->v.nqueues));
	}
	vdev_cfg_lock(&u->v);
	memcpy(u->v.cfg, c.bytes, len);
	vdev_cfg_unlock(&u->v);
	return 0;
}

struct config_write {
	struct vhost_user *u;
	struct vhu_config c;
};

/* On the owner loop. What was written may change what is to be read, elsewhere in it too. */
static void write_config(void *arg)
{
	struct config_write *w = arg;
	struct vhost_user *u = w->u;
	int r;

	vhu_begin(&u->c);
	r = u->c.fd < 0
		? -EREMOTEIO
		: vhu_tell(&u->c, VHU_SET_CONFIG, &w->c, VHU_CONFIG_HEAD + w->c.size, NULL, 0);

	if (!r)
		r = read_config(u);
	if (r && r != -EREMOTEIO)
		lost(u, reason(r));
}

static void vhu_cfg_write(struct vdev *v, uint32_t off, const uint8_t *data, unsigned len)
{
	struct config_write w = { .u = vhu_of(v), .c = { .offset = off, .size = len } };

	if (len > sizeof(w.c.bytes))
		return;
	memcpy(w.c.bytes, data, len);
	loop_call(v->loop, write_config, &w);
}

/* ---- made and taken away ---- */

static void vhu_destroy(struct vdev *v)
{
	struct vhost_user *u = vhu_of(v);

	vhu_close(&u->c);
	if (u->call_fd >= 0)
		(void)close(u->call_fd);
	free(u);
}

static int ask_u64(struct vhost_user *u, enum vhu_request what, uint64_t *out)
{
	int r = vhu_ask(&u->c, what, NULL, 0, out, sizeof(*out), sizeof(*out));

	return MIN(r, 0);
}

/* Features, protocol features, and the number of queues. */
static int negotiate(struct vhost_user *u, uint64_t *features)
{
	uint64_t proto = 0, n = 0;
	int r = ask_u64(u, VHU_GET_FEATURES, features);

	u->protocol = *features & VHU_F_PROTOCOL;
	if (!r && u->protocol)
		r = ask_u64(u, VHU_GET_PROTOCOL_FEATURES, &proto);
	proto &= VHU_PROTO_MQ | VHU_PROTO_REPLY_ACK | VHU_PROTO_CONFIG;
	if (!r && u->protocol)
		r = tell_u64(u, VHU_SET_PROTOCOL_FEATURES, proto);
	if (r)
		return r;
	u->c.reply_ack = proto & VHU_PROTO_REPLY_ACK;
	u->config = proto & VHU_PROTO_CONFIG;
	r = vhu_tell(&u->c, VHU_SET_OWNER, NULL, 0, NULL, 0);
	if (!r && proto & VHU_PROTO_MQ)
		r = ask_u64(u, VHU_GET_QUEUE_NUM, &n);
	u->nmax = (unsigned)MIN(n, (uint64_t)LIM_VQS);
	return r;
}

/* How many queues the device has; 0 and @e: not as asked for. */
static unsigned count_queues(const struct vhost_user *u, const struct vhost_user_cfg *cfg,
	const struct kind *k, struct error *e)
{
	unsigned n = cfg->nqueues, max = u->nmax ? u->nmax : LIM_VQS;

	if (!n && u->nmax && k->id != ID_FS)
		n = u->nmax;
	else if (!n)
		n = MIN(k->nqueues, max);
	if (n <= max && (k->id != ID_FS || n >= 2))
		return n;
	(void)err_set(e, EINVAL, "%s: %u queues, where its back end has %u", u->name, n, max);
	return 0;
}

static void class_of(struct vhost_user *u, const struct vhost_user_cfg *cfg, const struct kind *k)
{
	for (unsigned i = 0; i < LIM_VQS; i++)
		u->qsizes[i] = cfg->qsize[i] ? cfg->qsize[i] : i ? u->qsizes[i - 1] : LIM_VHU_QUEUE;
	u->cls = (struct vdev_class){ .name = u->name,
		.id = k->id,
		.nqueues = LIM_VQS,
		.qsizes = u->qsizes,
		.cfg_len = k->id == ID_FS || u->config ? k->cfg_len : 0,
		.essential = cfg->essential,
		.elsewhere = true,
		.start = vhu_start,
		.kick = vhu_kick,
		.stop = vhu_stop,
		.pause = vhu_pause,
		.cfg_write = u->config && k->id != ID_FS ? vhu_cfg_write : NULL,
		.save = vhu_save,
		.destroy = vhu_destroy };
}

static int describe(struct vhost_user *u, const struct vhost_user_cfg *cfg, struct error *e)
{
	int r;

	if (u->cls.id != ID_FS) {
		r = u->cls.cfg_len ? read_config(u) : 0;
		return r ? err_set(e, -r, "%s: config space: %s", u->name, reason(r)) : 0;
	}
	memcpy(u->v.cfg, cfg->name, strnlen(cfg->name, FS_TAG));
	put_le32(u->v.cfg + FS_TAG, u->v.nqueues - 1);
	return 0;
}

static int check(const struct vhost_user_cfg *cfg, const struct mem *mem, struct error *e)
{
	const struct kind *k = kind_of(cfg->type);

	if (!k)
		return err_set(e, ENOTSUP, "vhost-user: no devices of type %u", cfg->type);
	if (!memchr(cfg->name, 0, sizeof(cfg->name)) || (k->id == ID_FS && !cfg->name[0]))
		return err_set(e, EINVAL, "%s: no tag, or no end of a name", k->name);
	for (unsigned i = 0; i < LIM_VQS; i++)
		if (cfg->qsize[i] && (!IS_POW2(cfg->qsize[i]) || cfg->qsize[i] > LIM_VQ_SIZE))
			return err_set(
				e, EINVAL, "%s: a queue of %u entries", k->name, cfg->qsize[i]);
	for (unsigned i = 0; i < mem->n; i++)
		if (mem->r[i].kind != MEM_RAM || mem->r[i].backing != MEM_MEMFD)
			return err_set(e, EINVAL, "%s: memory that cannot be shared", k->name);
	return 0;
}

/* The connection and the eventfd are @u's already. */
static int make(struct vhost_user *u, struct loop *loop, struct mem *mem,
	const struct vhost_user_cfg *cfg, struct error *e)
{
	const struct kind *k = kind_of(cfg->type);
	uint64_t features = 0;
	unsigned n;
	int r;

	vhu_begin(&u->c);
	r = negotiate(u, &features);
	if (r)
		return err_set(e, -r, "%s: %s", u->name, reason(r));
	if (!(features & VDEV_F_VERSION_1))
		return err_set(e, ENOTSUP, "%s: its back end is older than virtio 1", u->name);
	if (k->cfg_len && k->id != ID_FS && !u->config)
		return err_set(e, ENOTSUP, "%s: its back end has no config space", u->name);
	n = count_queues(u, cfg, k, e);
	if (!n)
		return -EINVAL;
	class_of(u, cfg, k);
	r = vdev_init(&u->v, &u->cls, n, loop, mem, e);
	if (r)
		return r;
	u->v.offered &= features;
	/* of a file system there is one, notifications, which changes what its queues are */
	u->v.offered |= k->id == ID_FS ? 0 : features & TYPE_FEATURES;
	u->call = (struct loop_src){ .fd = u->call_fd, .name = "call", .fn = on_call, .arg = u };
	u->hangup = (struct loop_src){ .fd = -1, .name = "vhost", .fn = on_hangup, .arg = u };
	r = describe(u, cfg, e);
	if (r)
		vdev_fini(&u->v);
	return r;
}

int vhost_user_new(struct loop *loop, struct mem *mem, const struct vhost_user_cfg *cfg,
	struct vdev **out, struct error *e)
{
	struct vhost_user *u = NULL;
	int r = check(cfg, mem, e);

	if (!r) {
		u = calloc(1, sizeof(*u));
		r = u ? 0 : err_sys(e, ENOMEM, "vhost-user");
	}
	if (r) {
		(void)close(cfg->fd);
		return r;
	}
	(void)snprintf(u->name, sizeof(u->name), "%s",
		cfg->name[0] && cfg->type != ID_FS ? cfg->name : kind_of(cfg->type)->name);
	u->c = (struct vhu_conn){ .fd = cfg->fd,
		.wait_ms = cfg->wait_ms ? cfg->wait_ms : LIM_VHU_WAIT_MS };
	u->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = u->call_fd < 0 ? err_sys(e, errno, "eventfd") : make(u, loop, mem, cfg, e);
	if (r) {
		vhu_destroy(&u->v);
		return r;
	}
	*out = &u->v;
	return 0;
}

void vhost_user_set_wait(struct vdev *v, unsigned ms)
{
	vhu_of(v)->c.wait_ms = ms ? ms : LIM_VHU_WAIT_MS;
}
