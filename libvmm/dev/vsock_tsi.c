// SPDX-License-Identifier: Apache-2.0
// TSI: the table of sockets, and what the vsock device calls.
//
// How it works
//
// A socket and the connection of the guest that carries its payload point at each other (s->conn,
// c->arg) until one of them goes. When the socket goes first, by CLOSE, the connection goes on
// alone: what it holds is written, and the guest's SHUTDOWN ends it. When the connection goes first
// the socket stays, dead, until the guest closes it; the number of sockets is limited, so a guest
// that never does hurts itself.

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/rekick.h"
#include "dev/vsock_tsi.h"
#include "util/cleanup.h"
#include "util/log.h"

static struct tsi_bucket *bucket(struct tsi *t, uint32_t id)
{
	return &t->table[(id * 0x9e3779b1U) >> 23 & (TSI_HASH - 1)];
}

struct tsi_sock *tsi_find(struct tsi *t, const struct tsi_proto *proto, uint32_t id)
{
	struct tsi_sock *s;

	LIST_FOREACH(s, bucket(t, id), hash)
	{
		if (s->id == id && s->proto == proto)
			return s;
	}
	return NULL;
}

struct tsi_sock *tsi_add(struct tsi *t, const struct tsi_proto *proto, uint32_t id)
{
	struct tsi_sock *s;

	if (t->nsocks >= LIM_TSI_SOCKS) {
		log_guest("tsi: over %u sockets", LIM_TSI_SOCKS);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->t = t;
	s->proto = proto;
	s->id = id;
	s->src.fd = -1;
	t->nsocks++;
	LIST_INSERT_HEAD(bucket(t, id), s, hash);
	TAILQ_INSERT_TAIL(&t->all, s, all);
	return s;
}

void tsi_expect(struct tsi_sock *s, uint32_t gport)
{
	s->gport = gport;
	if (!s->on_pending)
		TAILQ_INSERT_TAIL(&s->t->pending, s, pending);
	s->on_pending = true;
}

void tsi_unexpect(struct tsi_sock *s)
{
	if (s->on_pending)
		TAILQ_REMOVE(&s->t->pending, s, pending);
	s->on_pending = false;
}

struct tsi_sock *tsi_expected(struct tsi *t, uint32_t gport)
{
	struct tsi_sock *s;

	TAILQ_FOREACH(s, &t->pending, pending)
	{
		if (s->gport == gport)
			return s;
	}
	return NULL;
}

/* Its connection, from here on without it. */
static void let_go(struct tsi_sock *s, bool abort)
{
	struct vsock_conn *c = s->conn;
	const struct linger now = { .l_onoff = 1 };

	s->conn = NULL;
	c->arg = NULL;
	if (abort && hostfd_is_open(&c->rd))
		(void)setsockopt(c->rd.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	if (abort)
		conn_drop_out(c);
	if (s->t->stopping)
		conn_detach(c);
	else if (abort || c->waits || c->type == VSOCK_TYPE_DGRAM)
		ctl_reset_late(s->t, c);
	else if (c->datagram)
		conn_rd_none(c); /* what still comes has no socket to come to */
}

void tsi_free(struct tsi_sock *s, bool abort)
{
	const struct linger now = { .l_onoff = 1 };
	struct tsi *t = s->t;
	struct tsi_sock *other;

	LIST_REMOVE(s, hash);
	TAILQ_REMOVE(&t->all, s, all);
	tsi_unexpect(s);
	t->nsocks--;
	vsock_freed(t->vs);
	/* refused, or over before the guest had it: it is nobody's to accept */
	if (s->parent) {
		s->parent->announced--;
		tsi_sock_update(s->parent);
	}
	if (s->proto == &tsi_krun) {
		TAILQ_FOREACH(other, &t->all, all)
		{
			if (other->parent == s)
				other->parent = NULL;
		}
	}
	if (s->conn)
		let_go(s, abort);
	if (s->src.fd >= 0) {
		if (abort)
			(void)setsockopt(s->src.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		loop_del(t->vs->v.loop, &s->src);
		(void)close(s->src.fd);
	}
	free(s);
}

bool tsi_stranger(struct tsi *t, const struct vsock_hdr *h)
{
	/* its RST is on the way, behind a record */
	if (ctl_is_late(t, h->src_port, h->dst_port))
		return true;
	if (h->op != VSOCK_OP_REQUEST)
		return false;
	return ctl_request(t, h) || own_request(t, h) || krun_request(t, h);
}

bool tsi_may_accept(struct tsi *t)
{
	if (!ctl_is_full(t) && vsock_has_room(t->vs) && t->nsocks < LIM_TSI_SOCKS)
		return true;
	t->accepts_wait = t->vs->listens_wait = true;
	return false;
}

void tsi_turn(struct tsi *t)
{
	struct tsi_sock *s;

	ctl_turn(t);
	if (!t->accepts_wait || !tsi_may_accept(t))
		return;
	t->accepts_wait = false;
	TAILQ_FOREACH(s, &t->all, all)
	{
		s->starved = false;
		tsi_sock_update(s);
	}
}

void tsi_pause(struct tsi *t, bool paused)
{
	struct tsi_sock *s;

	(void)paused;
	TAILQ_FOREACH(s, &t->all, all)
	{
		tsi_sock_update(s);
	}
}

void tsi_stop(struct tsi *t)
{
	struct tsi_sock *s;

	t->stopping = true;
	while ((s = TAILQ_FIRST(&t->all)))
		tsi_free(s, false);
	if (t->ctl)
		conn_detach(t->ctl);
	t->stopping = false;
	hostbuf_drop(&t->held);
	t->in_len = t->out_len = t->out_head = 0;
	t->nlate = t->reply_head = t->nreply = 0;
	t->hello = false;
}

void tsi_destroy(struct tsi *t)
{
	if (!t)
		return;
	tsi_stop(t);
	free(t->egress);
	free(t->listen);
	free(t->map);
	free(t->out);
	free(t->late);
	free(t->reply);
	free(t);
}

/* Asked once, before the guest runs: a kernel without it looks for a module each time, and waits.
 */
static bool has_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static void *copy(const void *p, size_t n)
{
	void *q = malloc(n ? n : 1);

	if (q && n)
		memcpy(q, p, n);
	return q;
}

int tsi_new(struct vsock *vs, const struct vsock_net *net, struct tsi **out)
{
	struct tsi *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->vs = vs;
	TAILQ_INIT(&t->all);
	TAILQ_INIT(&t->pending);
	t->negress = net->negress;
	t->nlisten = net->nlisten;
	t->nmap = net->nmap;
	t->is_mapped = net->mapped;
	t->v6 = has_ipv6();
	t->egress = copy(net->egress, net->negress * sizeof(*net->egress));
	t->listen = copy(net->listen, net->nlisten * sizeof(*net->listen));
	t->map = copy(net->map, net->nmap * sizeof(*net->map));
	t->out = malloc(LIM_TSI_CTL);
	t->late = calloc(LIM_TSI_CTL / sizeof(struct tsi_msg), sizeof(*t->late));
	if (!t->egress || !t->listen || !t->map || !t->out || !t->late) {
		tsi_destroy(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}
