// SPDX-License-Identifier: Apache-2.0
// TSI: save and load.
//
// How it works
//
// Host sockets cannot be saved, but what the guest knows of them can be kept true. The control
// connection goes on, with the records that were on their way. Sockets are made again from what
// they were asked for, on the port that they had: address, options, backlog; those for datagrams
// also keep their connection to the guest. A TCP connection cannot come back: its socket gets
// ECONNRESET and its stream an RST, as if the peer had gone, and so does a connect that was under
// way. Sockets of libkrun's protocol are not kept; their streams are reset.
//
// What is loaded is treated as hostile, and only makes sockets after the whole has been accepted,
// when the device first runs again.

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/rekick.h"
#include "dev/vsock_tsi.h"
#include "util/save.h"

#define TSI_SAVE_TAG	 SAVE_TAG('T', 'S', 'I', ' ')
#define TSI_SAVE_VERSION 3

/* How a socket was bound */
enum {
	BOUND = 1,  /* by the guest */
	CHOSEN = 2, /* the port is of the host's choice */
};

/* ---- save ---- */

static void save_ring(
	const uint8_t *p, uint32_t cap, uint32_t head, uint32_t len, struct save_out *s)
{
	uint32_t first = len ? MIN(len, cap - head) : 0;

	save_u32(s, len);
	if (len) {
		save_bytes(s, p + head, first);
		save_bytes(s, p, len - first);
	}
}

static void save_dgram(struct vsock_conn *c, struct save_out *s)
{
	/* what the host's socket did not take is lost, as UDP may; the middle of a message is not
	 * its beginning */
	c->skip = c->skip || c->partial;
	vmsg_drop(c);
	conn_save(c, s);
	save_u8(s, c->skip);
	save_blob(s, c->tail ? c->tail->data + c->tail_off : NULL,
		c->tail ? c->tail->len - c->tail_off : 0);
}

/* What it is to be bound to: the address as it was asked for, which a connect narrows down in the
 * kernel, and the port that it has. Returns how. */
static uint8_t bound_to(const struct tsi_sock *s, struct tsi_addr *a)
{
	bool no_port = s->opt_set >> TSI_IP_BIND_ADDRESS_NO_PORT & 1 &&
		s->opt_val[TSI_IP_BIND_ADDRESS_NO_PORT];
	struct tsi_addr local, peer;
	uint8_t how;

	*a = s->asked;
	if (s->loaded)
		return (s->bound ? BOUND : 0) | (s->chosen ? CHOSEN : 0);
	how = (a->family != TSI_NONE ? BOUND : 0) | (!a->port ? CHOSEN : 0);
	/* a port that is there for one connection goes with it */
	if ((s->state == TSI_CONNECTING || s->state == TSI_CONNECTED) &&
		(!(how & BOUND) || (no_port && how & CHOSEN)))
		return how;
	tsi_sock_names(s, &local, &peer);
	if (local.port) {
		a->family = s->family;
		a->port = local.port;
	}
	return how;
}

static void save_sock(struct tsi_sock *s, struct save_out *out)
{
	struct tsi_addr at;
	uint8_t how = bound_to(s, &at);

	save_u32(out, s->id);
	save_u8(out, s->kind);
	save_u8(out, s->family);
	save_u8(out, (uint8_t)s->state);
	save_u32(out, (uint32_t)s->error);
	save_u32(out, s->gport);
	save_u8(out, s->on_pending);
	save_u32(out, s->seq);
	save_u8(out, how);
	save_bytes(out, &at, sizeof(at));
	save_bytes(out, &s->peer, sizeof(s->peer));
	save_u32(out, (uint32_t)s->backlog);
	save_u32(out, s->announced);
	save_u64(out, s->opt_set);
	for (unsigned i = 0; i < TSI_OPT_END; i++) {
		if (s->opt_set >> i & 1)
			save_u32(out, (uint32_t)s->opt_val[i]);
	}
	save_u32(out, (uint32_t)s->linger_s);
	save_bytes(out, s->congestion, sizeof(s->congestion));
	save_u8(out, s->conn != NULL);
	if (!s->conn)
		return;
	save_u32(out, s->conn->gport);
	save_u32(out, s->conn->hport);
	if (s->kind != TSI_TCP)
		save_dgram(s->conn, out);
}

void tsi_save(struct tsi *t, struct save_out *s)
{
	size_t at = save_begin(s, TSI_SAVE_TAG, TSI_SAVE_VERSION);
	struct tsi_sock *k;
	uint32_t n = 0;

	save_u8(s, t->ctl != NULL);
	if (t->ctl) {
		conn_save(t->ctl, s);
		save_u8(s, t->hello);
		save_u32(s, t->next_id);
		save_blob(s, t->in, t->in_len);
		save_ring(t->held.p, t->held.cap, t->held.head, t->held.len, s);
		save_ring(t->out, LIM_TSI_CTL, t->out_head, t->out_len, s);
		save_u32(s, t->nlate);
		for (unsigned i = 0; i < t->nlate; i++) {
			save_u8(s, t->late[i].type);
			save_u32(s, t->late[i].gport);
			save_u32(s, t->late[i].hport);
		}
		TAILQ_FOREACH(k, &t->all, all)
		{
			n += k->proto == &tsi_own;
		}
		save_u32(s, n);
		TAILQ_FOREACH(k, &t->all, all)
		{
			if (k->proto == &tsi_own)
				save_sock(k, s);
		}
	}
	save_end(s, at);
}

/* ---- load ---- */

/* A connection of ours as it was saved, into the table. @hport and @type are what it must have. */
static struct vsock_conn *load_conn(
	struct tsi *t, struct save_in *s, uint8_t type, uint32_t hport, const struct conn_ops *ops)
{
	struct vsock_conn *c = conn_new(t->vs, 0, -1, -1);
	uint32_t ctl;

	if (!c) {
		s->err = -ENOMEM;
		return NULL;
	}
	conn_load(c, s);
	ctl = c->ctl;
	c->ctl = 0;
	c->type = type;
	c->guest = true;
	c->datagram = type == VSOCK_TYPE_SEQPACKET;
	if (!s->err &&
		(c->id || c->hport != hport || c->state != VSOCK_ESTABLISHED || c->out.len ||
			c->hdr_len || (ctl & ~(uint32_t)VSOCK_CTL_ALL) ||
			(c->datagram && c->alloc != VSOCK_MSG_ALLOC) ||
			c->shut_seen == VSOCK_SHUT_BOTH || t->vs->nguest >= LIM_VSOCK_GUEST ||
			conn_find(t->vs, c->gport, hport)))
		s->err = -EINVAL;
	if (!s->err && !c->datagram &&
		t->vs->reserved + c->alloc +
				(uint64_t)(LIM_VSOCK_CONNS - t->vs->nall - 1) * VSOCK_ALLOC_MIN >
			LIM_VSOCK_BUF)
		s->err = -EINVAL;
	if (s->err) {
		conn_free(c);
		return NULL;
	}
	c->ops = ops;
	conn_enter(c);
	if (ctl)
		conn_owe(c, ctl);
	return c;
}

static void load_dgram(struct tsi_sock *k, struct save_in *s)
{
	struct vsock_conn *c =
		load_conn(k->t, s, VSOCK_TYPE_SEQPACKET, TSI_DATA_PORT, &tsi_dgram_ops);
	const uint8_t *p;
	size_t n;

	if (!c)
		return;
	c->waits = c->keep = true;
	c->skip = load_u8(s);
	p = load_blob(s, VSOCK_MSG_MAX, &n);
	if (!s->err && (!conn_counts(c, 0) || c->gport != k->gport))
		s->err = -EINVAL;
	if (!s->err && p && n)
		s->err = vmsg_keep_tail(c, p, n);
	c->arg = k;
	k->conn = c;
}

static bool sock_sane(const struct tsi_sock *k)
{
	/* one that failed to open has neither family nor kind */
	bool opened = (k->kind == TSI_TCP || k->kind == TSI_UDP || k->kind == TSI_PING) &&
		(k->family == TSI_INET || k->family == TSI_INET6);

	return k->id && (opened || k->error < 0) && k->error <= 0 && k->state <= TSI_DEAD &&
		k->announced <= LIM_TSI_WINDOW && !(k->opt_set >> TSI_OPT_END) &&
		!(k->state == TSI_LISTENING && k->kind != TSI_TCP);
}

static void load_sock(struct tsi *t, struct save_in *s)
{
	uint32_t id = load_u32(s);
	struct tsi_sock *k = NULL;
	uint32_t hport;
	uint8_t how;

	if (!s->err && tsi_find(t, &tsi_own, id))
		s->err = -EINVAL;
	if (!s->err)
		k = tsi_add(t, &tsi_own, id);
	if (!k) {
		s->err = s->err ? s->err : -ENOMEM;
		return;
	}
	k->kind = load_u8(s);
	k->family = load_u8(s);
	k->state = load_u8(s);
	k->error = (int)load_u32(s);
	k->gport = load_u32(s);
	if (load_u8(s))
		tsi_expect(k, k->gport);
	k->seq = load_u32(s);
	how = load_u8(s);
	load_bytes(s, &k->asked, sizeof(k->asked));
	k->bound = how & BOUND;
	k->chosen = how & CHOSEN;
	load_bytes(s, &k->peer, sizeof(k->peer));
	k->backlog = (int)load_u32(s);
	k->announced = load_u32(s);
	k->opt_set = load_u64(s);
	for (unsigned i = 0; i < TSI_OPT_END; i++) {
		if (k->opt_set >> i & 1)
			k->opt_val[i] = (int32_t)load_u32(s);
	}
	k->linger_s = (int32_t)load_u32(s);
	load_bytes(s, k->congestion, sizeof(k->congestion));
	k->loaded = true;
	if (!s->err && (!sock_sane(k) || how > (BOUND | CHOSEN)))
		s->err = -EINVAL;
	if (!load_u8(s) || s->err)
		return;
	k->gport = load_u32(s);
	hport = load_u32(s);
	k->lost_port = hport;
	if (k->kind != TSI_TCP)
		load_dgram(k, s);
}

static void load_late(struct tsi *t, struct save_in *s)
{
	uint32_t n = load_u32(s);

	if (n > LIM_TSI_CTL / sizeof(struct tsi_msg))
		s->err = -EINVAL;
	for (uint32_t i = 0; i < n && !s->err; i++) {
		struct vsock_rst *r = &t->late[t->nlate++];

		r->type = load_u8(s);
		r->gport = load_u32(s);
		r->hport = load_u32(s);
		if (r->type != VSOCK_TYPE_STREAM && r->type != VSOCK_TYPE_SEQPACKET)
			s->err = -EINVAL;
	}
}

static void load_ctl(struct tsi *t, struct save_in *s)
{
	const uint8_t *p;
	size_t n;

	t->ctl = load_conn(t, s, VSOCK_TYPE_STREAM, TSI_CTL_PORT, &tsi_ctl_ops);
	if (!t->ctl)
		return;
	t->hello = load_u8(s);
	t->next_id = load_u32(s);
	p = load_blob(s, sizeof(t->in) - 1, &n);
	if (p && n)
		memcpy(t->in, p, n);
	t->in_len = (uint32_t)n;
	hostbuf_load(&t->held, t->ctl->alloc, s);
	p = load_blob(s, LIM_TSI_CTL, &n);
	if (p && n)
		memcpy(t->out, p, n);
	t->out_len = (uint32_t)n;
	load_late(t, s);
	/* it has no fd that could come to an end */
	if (!s->err &&
		(!conn_counts(t->ctl, t->held.len) || t->ctl->gport != TSI_CTL_PORT ||
			t->ctl->rd_done || t->ctl->wr_done))
		s->err = -EINVAL;
	n = load_u32(s);
	if (n > LIM_TSI_SOCKS)
		s->err = -EINVAL;
	while (!s->err && n--)
		load_sock(t, s);
}

int tsi_load(struct tsi *t, struct save_in *in)
{
	struct save_in s;

	if (load_section(in, TSI_SAVE_TAG, TSI_SAVE_VERSION, &s) != TSI_SAVE_VERSION)
		return in->err ? in->err : -EINVAL;
	if (load_u8(&s)) {
		/* with the device at rest no reset would end it */
		if (t->vs->v.running)
			load_ctl(t, &s);
		else
			s.err = -EINVAL;
	}
	return load_done(&s);
}

/* ---- the first moments after it ---- */

/* A port that the host chose was asked of no policy and of no map, and is not now. */
static int bind_again(struct tsi_sock *k, const struct tsi_addr *want)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	if (want->family == TSI_NONE)
		return 0;
	r = tsi_to_sockaddr(want, &ss, &len);
	if (r)
		return r;
	if (!k->chosen)
		return tsi_sock_bind(k, &ss, len);
	r = bind(tsi_fd(k), (struct sockaddr *)&ss, len) ? -errno : 0;
	/* one that it chose for the sake of sending is as good as another */
	if (!k->bound)
		return 0;
	if (!r) {
		k->asked = *want;
		k->asked.port = 0;
	}
	return r;
}

/* Makes the host's socket again as the guest knows it. */
static int remake(struct tsi_sock *k)
{
	struct sockaddr_storage ss;
	struct tsi_addr want = k->asked;
	enum tsi_state was = k->state;
	socklen_t len;
	int r;

	k->asked = (struct tsi_addr){ 0 };
	k->state = TSI_IDLE;
	r = tsi_sock_open(k, k->family, k->kind);
	if (!r)
		r = tsi_opt_again(k);
	if (!r)
		r = bind_again(k, &want);
	if (!r && k->kind != TSI_TCP && k->peer.family != TSI_NONE &&
		!tsi_to_sockaddr(&k->peer, &ss, &len))
		(void)tsi_sock_connect(k, &ss, len);
	if (!r && was == TSI_LISTENING)
		r = tsi_sock_listen(k, k->backlog);
	return r;
}

static void lost_stream(struct tsi_sock *k)
{
	struct tsi *t = k->t;

	if (k->lost_port && t->nlate < LIM_TSI_CTL / sizeof(struct tsi_msg))
		t->late[t->nlate++] =
			(struct vsock_rst){ k->gport, k->lost_port, VSOCK_TYPE_STREAM };
}

static void wake_sock(struct tsi_sock *k)
{
	enum tsi_state was = k->state;
	struct tsi_msg m = { .type = htole16(TSI_CONNECT),
		.flags = htole16(TSI_F_REPLY),
		.seq = htole32(k->seq),
		.id = htole32(k->id),
		.status = htole32((uint32_t)-ECONNRESET) };
	int r;

	k->loaded = false;
	if (k->error || was == TSI_DEAD)
		return;
	if (k->kind == TSI_TCP && (was == TSI_CONNECTING || was == TSI_CONNECTED)) {
		tsi_unexpect(k);
		if (k->seq)
			ctl_put(k->t, &m);
		lost_stream(k);
		k->state = TSI_IDLE;
	} else if (k->kind == TSI_TCP && (was == TSI_UP || k->lost_port)) {
		own_error(k, -ECONNRESET, 0);
		lost_stream(k);
		k->state = TSI_DEAD;
		return;
	}
	r = remake(k);
	if (r) {
		own_error(k, r, 0);
		if (k->conn)
			ctl_reset_late(k->t, k->conn);
		k->state = TSI_DEAD;
		return;
	}
	if (k->conn) {
		k->state = TSI_UP;
		conn_begin(k->conn, tsi_sock_give(k));
	}
}

void tsi_wake_loaded(struct tsi *t)
{
	struct tsi_sock *k;

	TAILQ_FOREACH(k, &t->all, all)
	{
		if (k->loaded)
			wake_sock(k);
	}
	if (t->ctl && t->out_len)
		conn_ready(t->ctl);
	rekick(&t->vs->v, VSOCK_RX);
}
