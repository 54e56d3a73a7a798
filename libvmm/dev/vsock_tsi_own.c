// SPDX-License-Identifier: Apache-2.0
// TSI, our protocol: what each record does. The records themselves: init/proto/tsi.h.
//
// How it works
//
// A table from record types to functions. Each gets the socket and a copy of the record, which it
// turns into the answer; what it returns becomes the status, and whether the answer is sent at all
// depends on the seq. CONNECT alone is answered later: when the host's kernel has connected and the
// guest's data connection is there, whichever comes last.

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "dev/vsock_tsi.h"
#include "util/log.h"

#define LATER 1 /* of a handler: the answer comes by itself */

static void answer(struct tsi *t, struct tsi_msg *m, int status)
{
	if (!m->seq)
		return;
	m->flags = htole16((uint16_t)(le16toh(m->flags) | TSI_F_REPLY));
	m->status = htole32((uint32_t)status);
	ctl_put(t, m);
}

void own_error(struct tsi_sock *s, int error, uint16_t flags)
{
	struct tsi_msg m = { .type = htole16(TSI_ERROR),
		.flags = htole16(flags),
		.id = htole32(s->id),
		.status = htole32((uint32_t)error) };

	/* of soft ones the last is what counts: when the guest does not listen they may go */
	if ((flags & TSI_F_SOFT) && ctl_is_full(s->t))
		return;
	ctl_put(s->t, &m);
}

/* ---- streams ---- */

/* Both sides are there. */
static void stream_up(struct tsi_sock *s)
{
	struct tsi_msg m = {
		.type = htole16(TSI_CONNECT), .seq = htole32(s->seq), .id = htole32(s->id)
	};

	tsi_sock_names(s, &m.a, &m.b);
	answer(s->t, &m, 0);
	s->state = TSI_UP;
	conn_begin(s->conn, tsi_sock_give(s));
}

static void own_connected(struct tsi_sock *s, int error)
{
	struct tsi_msg m = {
		.type = htole16(TSI_CONNECT), .seq = htole32(s->seq), .id = htole32(s->id)
	};
	struct vsock_conn *c = s->conn;

	if (!error) {
		if (c)
			stream_up(s);
		return;
	}
	answer(s->t, &m, error);
	tsi_unexpect(s);
	s->conn = NULL;
	if (c) {
		c->arg = NULL;
		ctl_reset_late(s->t, c);
	}
}

static void stream_failed(struct vsock_conn *c, int error)
{
	/* of a read that found the peer gone after our own end was told: no news */
	if (c->arg)
		own_error(c->arg, error, 0);
	ctl_reset_late(c->vs->tsi, c);
}

static void stream_gone(struct vsock_conn *c)
{
	struct tsi_sock *s = tsi_sock_orphan(c);

	if (!s)
		return;
	/* of a connect that is under way the guest wants no more */
	s->state = TSI_DEAD;
	tsi_unexpect(s);
	tsi_sock_update(s);
}

/* The guest has taken an incoming connection into its queue. */
static void stream_answered(struct vsock_conn *c)
{
	struct tsi_sock *s = c->arg;

	if (!s)
		return;
	s->state = TSI_UP;
	conn_begin(c, tsi_sock_give(s));
}

const struct conn_ops tsi_stream_ops = {
	.up = stream_answered,
	.failed = stream_failed,
	.gone = stream_gone,
};

/* There is no room for the data connection of @s, or no memory: a connect fails and may be tried
 * again, a datagram socket is of no use without it. */
static void refuse(struct tsi_sock *s, const struct vsock_hdr *h)
{
	struct tsi_msg m = {
		.type = htole16(TSI_CONNECT), .seq = htole32(s->seq), .id = htole32(s->id)
	};

	tsi_unexpect(s);
	if (s->kind == TSI_TCP) {
		answer(s->t, &m, -EMFILE);
		tsi_sock_disconnect(s);
	} else {
		own_error(s, -EMFILE, 0);
		s->state = TSI_DEAD;
	}
	ctl_refuse_late(s->t, h);
}

bool own_request(struct tsi *t, const struct vsock_hdr *h)
{
	struct tsi_sock *s;
	struct vsock_conn *c;

	if (!t->hello || h->dst_port != TSI_DATA_PORT)
		return false;
	s = tsi_expected(t, h->src_port);
	if (!s || (h->type == VSOCK_TYPE_STREAM) != (s->kind == TSI_TCP))
		return false;
	c = conn_accept(t->vs, h);
	if (!c) {
		refuse(s, h);
		return true;
	}
	tsi_unexpect(s);
	c->arg = s;
	c->keep = true;
	c->ops = s->kind == TSI_TCP ? &tsi_stream_ops : &tsi_dgram_ops;
	c->datagram = s->kind != TSI_TCP;
	s->conn = c;
	conn_enter(c);
	conn_owe(c, VSOCK_CTL_RESPONSE);
	if (s->kind != TSI_TCP) {
		s->state = TSI_UP;
		conn_begin(c, tsi_sock_give(s));
	} else if (s->state == TSI_CONNECTED) {
		stream_up(s);
	}
	return true;
}

/* ---- listeners ---- */

static bool own_may_accept(const struct tsi_sock *l)
{
	return l->announced < LIM_TSI_WINDOW && tsi_may_accept(l->t);
}

static int own_incoming(struct tsi_sock *l, int fd)
{
	struct tsi *t = l->t;
	struct tsi_msg m = { .type = htole16(TSI_ACCEPTED), .id = htole32(l->id) };
	struct tsi_sock *s;
	struct vsock_conn *c;

	do {
		t->next_id = (t->next_id + 1) | TSI_ID_HOST;
	} while (tsi_find(t, &tsi_own, t->next_id));
	c = conn_dial(t->vs, TSI_DATA_PORT);
	s = c ? tsi_add(t, &tsi_own, t->next_id) : NULL;
	if (!s) {
		if (c)
			conn_free(c);
		(void)close(fd);
		return -EMFILE;
	}
	s->family = l->family;
	s->kind = TSI_TCP;
	s->mapped = l->mapped;
	tsi_sock_take(s, fd);
	s->conn = c;
	c->arg = s;
	c->keep = true;
	c->ops = &tsi_stream_ops;
	conn_enter(c);
	conn_request(c);
	l->announced++;
	m.arg[0] = htole32(s->id);
	m.arg[1] = htole32(c->hport);
	tsi_sock_names(s, &m.a, &m.b);
	ctl_put(t, &m);
	return 0;
}

static void own_soft(struct tsi_sock *s, int error)
{
	own_error(s, error, TSI_F_SOFT);
}

static void own_dead(struct tsi_sock *s, int error)
{
	own_error(s, error, 0);
	s->state = TSI_DEAD;
	tsi_sock_update(s);
}

const struct tsi_proto tsi_own = {
	.connected = own_connected,
	.incoming = own_incoming,
	.soft = own_soft,
	.dead = own_dead,
	.may_accept = own_may_accept,
};

/* ---- requests ---- */

static int req_close(struct tsi_sock *s, struct tsi_msg *m)
{
	tsi_free(s, le16toh(m->flags) & TSI_F_ABORT);
	return 0;
}

static int req_bind(struct tsi_sock *s, struct tsi_msg *m)
{
	struct sockaddr_storage ss;
	struct tsi_addr peer;
	socklen_t len;
	int r = tsi_to_sockaddr(&m->a, &ss, &len);

	if (!r)
		r = tsi_sock_bind(s, &ss, len);
	if (!r)
		tsi_sock_names(s, &m->a, &peer);
	return r;
}

/* A datagram socket is connected to somebody else, or to nobody. */
static int connect_dgram(struct tsi_sock *s, struct tsi_msg *m)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	if (m->a.family == TSI_NONE) {
		r = connect(tsi_fd(s), &none, sizeof(none)) ? -errno : 0;
	} else {
		r = tsi_to_sockaddr(&m->a, &ss, &len);
		if (!r)
			r = tsi_sock_connect(s, &ss, len);
	}
	if (!r)
		s->peer = m->a;
	tsi_sock_names(s, &m->a, &m->b);
	return r;
}

static int req_connect(struct tsi_sock *s, struct tsi_msg *m)
{
	uint32_t gport = le32toh(m->arg[0]);
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	if (s->kind != TSI_TCP)
		return connect_dgram(s, m);
	if (s->state == TSI_CONNECTING || s->state == TSI_CONNECTED)
		return -EALREADY;
	if (s->state == TSI_LISTENING || s->state == TSI_UP || s->state == TSI_DEAD)
		return -EISCONN;
	if (tsi_expected(s->t, gport) || conn_find(s->t->vs, gport, TSI_DATA_PORT))
		return -EADDRINUSE;
	/* before a peer sees a connection that cannot be */
	if (!vsock_has_room(s->t->vs))
		return -EMFILE;
	r = tsi_to_sockaddr(&m->a, &ss, &len);
	if (!r)
		r = tsi_sock_connect(s, &ss, len);
	if (r && r != -EINPROGRESS)
		return r;
	s->seq = le32toh(m->seq);
	tsi_expect(s, gport);
	return LATER;
}

static int req_listen(struct tsi_sock *s, struct tsi_msg *m)
{
	int r = tsi_sock_listen(s, (int)le32toh(m->arg[0]));

	if (!r) {
		m->arg[0] = htole32(LIM_TSI_WINDOW);
		tsi_sock_names(s, &m->a, &m->b);
	}
	return r;
}

static int req_taken(struct tsi_sock *s, struct tsi_msg *m)
{
	uint32_t n = le32toh(m->arg[0]);

	if (n > s->announced) {
		log_guest("tsi: %u connections taken of %u", n, s->announced);
		return -EPROTO;
	}
	s->announced -= n;
	tsi_sock_update(s);
	return 0;
}

static int req_names(struct tsi_sock *s, struct tsi_msg *m)
{
	tsi_sock_names(s, &m->a, &m->b);
	return 0;
}

static int req_setopt(struct tsi_sock *s, struct tsi_msg *m)
{
	return tsi_opt_set(s, m);
}

static int req_getopt(struct tsi_sock *s, struct tsi_msg *m)
{
	return tsi_opt_get(s, m);
}

/* A socket of its own is asked, so that nothing of this one changes. */
static int req_route(struct tsi_sock *s, struct tsi_msg *m)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd, r = tsi_to_sockaddr(&m->a, &ss, &len);

	if (!r && ss.ss_family == AF_INET6 && !s->t->v6)
		r = -EAFNOSUPPORT;
	if (!r)
		r = tsi_may_reach(s, &ss);
	if (r)
		return r;
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (s->opt_set >> TSI_SO_BROADCAST & 1)
		(void)setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &s->opt_val[TSI_SO_BROADCAST],
			sizeof(int32_t));
	if (connect(fd, (struct sockaddr *)&ss, len))
		r = -errno;
	len = sizeof(ss);
	if (!r && getsockname(fd, (struct sockaddr *)&ss, &len))
		r = -errno;
	(void)close(fd);
	if (!r) {
		tsi_from_sockaddr(&ss, &m->a);
		m->a.port = 0;
	}
	return r;
}

static int (*const requests[])(struct tsi_sock *s, struct tsi_msg *m) = {
	[TSI_CLOSE] = req_close,
	[TSI_BIND] = req_bind,
	[TSI_CONNECT] = req_connect,
	[TSI_LISTEN] = req_listen,
	[TSI_TAKEN] = req_taken,
	[TSI_NAMES] = req_names,
	[TSI_SETOPT] = req_setopt,
	[TSI_GETOPT] = req_getopt,
	[TSI_ROUTE] = req_route,
};

static int open_sock(struct tsi *t, const struct tsi_msg *m)
{
	uint32_t id = le32toh(m->id), family = le32toh(m->arg[0]), kind = le32toh(m->arg[1]);
	uint32_t gport = le32toh(m->arg[2]);
	struct tsi_sock *s;
	int r;

	if (!id || id & TSI_ID_HOST)
		return -EPROTO;
	if (tsi_find(t, &tsi_own, id))
		return -EEXIST;
	s = tsi_add(t, &tsi_own, id);
	if (!s)
		return -EMFILE;
	r = family > UINT8_MAX || kind > UINT8_MAX
		? -EAFNOSUPPORT
		: tsi_sock_open(s, (uint8_t)family, (uint8_t)kind);
	if (!r && kind != TSI_TCP) {
		if (tsi_expected(t, gport) || conn_find(t->vs, gport, TSI_DATA_PORT))
			r = -EADDRINUSE;
		else if (!vsock_has_room(t->vs))
			r = -EMFILE;
		else
			tsi_expect(s, gport);
	}
	s->error = r;
	/* an answered OPEN leaves nothing; for the others the error waits here */
	if (r && m->seq)
		tsi_free(s, false);
	return r;
}

static int hello(struct tsi *t, struct tsi_msg *m)
{
	bool same = le32toh(m->arg[1]) == TSI_VERSION;

	if (t->hello || le32toh(m->arg[0]) != TSI_MAGIC || !m->seq || m->id)
		return -EPROTO;
	m->arg[1] = htole32(TSI_VERSION);
	m->arg[2] = 0;
	m->arg[3] = htole32(LIM_TSI_SOCKS);
	m->flags = htole16(t->v6 ? TSI_F_V6 : 0);
	answer(t, m, same ? 0 : -EPROTONOSUPPORT);
	t->hello = same;
	return 0;
}

int own_record(struct tsi *t, const struct tsi_msg *in)
{
	struct tsi_msg m = *in;
	uint16_t type = le16toh(m.type);
	struct tsi_sock *s;
	int r;

	if (type == TSI_HELLO) {
		r = hello(t, &m);
	} else if (!t->hello) {
		r = -EPROTO;
	} else if (type == TSI_OPEN) {
		r = open_sock(t, &m);
		if (r != -EPROTO)
			answer(t, &m, r);
	} else if (type >= ARRAY_SIZE(requests) || !requests[type]) {
		r = -EPROTO;
	} else {
		s = tsi_find(t, &tsi_own, le32toh(m.id));
		if (type == TSI_CLOSE || (s && !s->error))
			r = s ? requests[type](s, &m) : 0;
		else if (s)
			r = s->error;
		else /* an OPEN that nobody answered may have found no room */
			r = t->nsocks < LIM_TSI_SOCKS ? -EBADF : -EMFILE;
		if (r != LATER && !(r == -EPROTO && type == TSI_TAKEN))
			answer(t, &m, r);
		r = r == -EPROTO && type == TSI_TAKEN ? r : 0;
	}
	if (r == -EPROTO)
		log_guest("tsi: record of type %u breaks the protocol", type);
	return r == -EPROTO ? r : 0;
}
