// SPDX-License-Identifier: Apache-2.0
// TSI, libkrun's protocol: what a kernel of libkrunfw says, and our answers.
//
// How it works
//
// Requests are datagrams (vsock type 3) to ports 1024-1031; answers go back to the port that they
// came from, with the request's port as source. They wait in a ring for receive buffers; when it
// holds LIM_TSI_REPLIES the transmit ring waits, and what is left is room for the connects that are
// under way. A stream proxy is named by a vsock port of the guest (svm_port), whose connection to
// port 620 follows a successful connect. An accepted connection is opened by us to the listener's
// vm_port, and its proxy is named by both ports. Datagrams of the guest name their proxy by their
// source port; those for the guest are addressed by destination port alone, which is all that its
// kernel looks at.
//
// Differences from libkrun that a guest may see: the true errno of a connect; an answer to every
// request that has one, also for proxies that do not exist; answers of their own length; a proxy
// that exists is made anew by PROXY_CREATE; half-close of the host's peer is SHUTDOWN, not RST;
// unix sockets are refused.

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dev/rekick.h"
#include "dev/vsock_tsi.h"
#include "util/bytes.h"
#include "util/log.h"

enum {
	KRUN_DATA = 620,
	KRUN_CREATE = 1024,
	KRUN_CONNECT,
	KRUN_GETNAME,
	KRUN_SENDTO_ADDR,
	KRUN_SENDTO_DATA,
	KRUN_LISTEN,
	KRUN_ACCEPT,
	KRUN_RELEASE,
};

#define KRUN_ADDR     128    /* bytes of a sockaddr on the wire */
#define KRUN_NONBLOCK 0x800U /* O_NONBLOCK of every architecture that libkrun knows */
#define KRUN_HOLD     0U     /* our port of the connection that carries a proxy's datagrams */

/* Children of a listener: not to be found by a request for the listener's name */
static const struct tsi_proto krun_child;

/* ---- answers ---- */

static struct tsi_reply *reply_new(struct tsi *t, uint32_t port, uint32_t to, int32_t result)
{
	struct tsi_reply *r;

	if (!t->reply)
		t->reply = calloc(TSI_REPLY_ROOM, sizeof(*t->reply));
	if (!t->reply || t->nreply == TSI_REPLY_ROOM) {
		log_guest("tsi: an answer of port %u is lost", port);
		return NULL;
	}
	r = &t->reply[(t->reply_head + t->nreply++) % TSI_REPLY_ROOM];
	*r = (struct tsi_reply){ .port = port, .to = to, .len = 4 };
	put_le32(r->data, (uint32_t)result);
	rekick(&t->vs->v, VSOCK_RX);
	return r;
}

ssize_t tsi_krun_reply(struct tsi *t, struct vsock_hdr *h, struct iobuf *b)
{
	const struct tsi_reply *r = &t->reply[t->reply_head];

	if (b->left < r->len)
		return -EINVAL;
	if (iobuf_push(b, r->data, r->len) < 0)
		return -EFAULT;
	h->op = VSOCK_OP_RW;
	h->type = VSOCK_TYPE_DGRAM;
	h->src_port = r->port;
	h->dst_port = r->to;
	h->len = r->len;
	t->reply_head = (t->reply_head + 1) % TSI_REPLY_ROOM;
	t->nreply--;
	return (ssize_t)h->len;
}

/* ---- addresses ---- */

/* A sockaddr of the guest at @p; @room bytes of it are there. */
static int get_addr(const struct tsi_sock *s, const uint8_t *p, uint32_t len, size_t room,
	struct sockaddr_storage *ss, socklen_t *out)
{
	const bool v6 = s->family == TSI_INET6;

	*out = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	if (len > KRUN_ADDR || len > room || len < *out)
		return -EINVAL;
	memset(ss, 0, sizeof(*ss));
	memcpy(ss, p, *out);
	return ss->ss_family == (v6 ? AF_INET6 : AF_INET) ? 0 : -EAFNOSUPPORT;
}

/* ---- streams ---- */

static void krun_gone(struct vsock_conn *c)
{
	struct tsi_sock *s = tsi_sock_orphan(c);

	if (!s)
		return;
	if (s->proto == &krun_child)
		tsi_free(s, false);
	else
		s->state = TSI_DEAD;
}

static void krun_failed(struct vsock_conn *c, int error)
{
	(void)error;
	conn_reset(c);
}

/* A connection that waited for the guest is in its accept queue. */
static void krun_up(struct vsock_conn *c)
{
	struct tsi_sock *s = c->arg, *l = s ? s->parent : NULL;

	if (!s)
		return;
	s->parent = NULL;
	s->state = TSI_UP;
	conn_begin(c, tsi_sock_give(s));
	if (!l)
		return;
	if (l->accept_waits) {
		l->accept_waits = false;
		l->announced--;
		tsi_sock_update(l);
		(void)reply_new(s->t, KRUN_ACCEPT, l->ctl_port, 0);
	} else {
		l->accepted++;
	}
}

static const struct conn_ops krun_stream_ops = {
	.up = krun_up,
	.failed = krun_failed,
	.gone = krun_gone,
};

static void krun_connected(struct tsi_sock *s, int error)
{
	(void)reply_new(s->t, KRUN_CONNECT, s->ctl_port, error);
	vsock_rx_run(s->t->vs);
}

bool krun_request(struct tsi *t, const struct vsock_hdr *h)
{
	struct tsi_sock *s = tsi_find(t, &tsi_krun, h->src_port);
	struct vsock_conn *c;

	if (h->dst_port != KRUN_DATA || h->type != VSOCK_TYPE_STREAM || t->ctl || !s ||
		s->state != TSI_CONNECTED || s->kind != TSI_TCP)
		return false;
	c = conn_accept(t->vs, h);
	if (!c)
		return false;
	c->arg = s;
	c->ops = &krun_stream_ops;
	s->conn = c;
	s->state = TSI_UP;
	conn_enter(c);
	conn_owe(c, VSOCK_CTL_RESPONSE);
	conn_begin(c, tsi_sock_give(s));
	return true;
}

static bool krun_may_accept(const struct tsi_sock *l)
{
	return l->announced < LIM_TSI_WINDOW && tsi_may_accept(l->t);
}

static int krun_incoming(struct tsi_sock *l, int fd)
{
	struct tsi *t = l->t;
	struct vsock_conn *c = conn_dial(t->vs, l->vm_port);
	struct tsi_sock *s = c ? tsi_add(t, &krun_child, c->hport) : NULL;

	if (!s) {
		if (c)
			conn_free(c);
		(void)close(fd);
		return -EMFILE;
	}
	s->family = l->family;
	s->kind = TSI_TCP;
	s->parent = l;
	tsi_sock_take(s, fd);
	s->conn = c;
	c->arg = s;
	c->ops = &krun_stream_ops;
	conn_enter(c);
	conn_request(c);
	l->announced++;
	return 0;
}

static void krun_soft(struct tsi_sock *s, int error)
{
	/* there is no way to tell it */
	(void)s;
	(void)error;
}

static void krun_dead(struct tsi_sock *s, int error)
{
	(void)error;
	s->state = TSI_DEAD;
	tsi_sock_update(s);
}

const struct tsi_proto tsi_krun = {
	.connected = krun_connected,
	.incoming = krun_incoming,
	.soft = krun_soft,
	.dead = krun_dead,
	.may_accept = krun_may_accept,
};

static const struct tsi_proto krun_child = {
	.soft = krun_soft,
};

/* ---- datagrams ---- */

static ssize_t dgram_give(struct vsock_conn *c, struct iobuf *b, size_t max, uint32_t *flags)
{
	ssize_t r;

	(void)max;
	(void)flags;
	/* an empty one cannot be told from none on this wire, and an ICMP error cannot be told */
	for (unsigned i = 0; i < 8; i++) {
		r = iobuf_recv(b, c->rd.fd, b->left, MSG_DONTWAIT);
		if (r > 0) {
			/* datagrams have no credit */
			c->peer_fwd = c->tx_cnt + (uint32_t)r;
			return r;
		}
		if (r == -EAGAIN || r == -EFAULT)
			return r;
	}
	rekick(&c->vs->v, VSOCK_RX);
	return -EAGAIN;
}

static const struct conn_ops krun_dgram_ops = {
	.give = dgram_give,
	.failed = krun_failed,
	.gone = krun_gone,
};

/* From here on what comes to the socket goes to the guest. */
static int dgram_begin(struct tsi_sock *s)
{
	struct vsock_hdr h = { .src_port = s->id,
		.dst_port = KRUN_HOLD,
		.type = VSOCK_TYPE_DGRAM,
		.buf_alloc = UINT32_MAX };
	struct vsock_conn *c;

	if (s->conn)
		return 0;
	if (conn_find(s->t->vs, s->id, KRUN_HOLD))
		return -EADDRINUSE;
	c = conn_accept(s->t->vs, &h);
	if (!c)
		return -EMFILE;
	c->arg = s;
	c->datagram = c->keep = true;
	c->ops = &krun_dgram_ops;
	s->conn = c;
	s->state = TSI_UP;
	conn_enter(c);
	conn_begin(c, tsi_sock_give(s));
	return 0;
}

/* A datagram of a proxy: to where SENDTO_ADDR said, or to the connected peer. */
static void dgram_send(struct tsi *t, const struct vsock_hdr *h, struct iobuf *rd)
{
	struct tsi_sock *s = tsi_find(t, &tsi_krun, h->src_port);
	struct iobuf m;
	struct msghdr msg = { 0 };

	if (!s || s->kind == TSI_TCP || tsi_fd(s) < 0 || iobuf_take(rd, h->len, &m) < 0)
		return;
	if (h->dst_port == KRUN_SENDTO_DATA) {
		if (!s->to_len || s->to_denied)
			return;
		msg.msg_name = &s->to;
		msg.msg_namelen = s->to_len;
	}
	/* what the socket does not take now is lost, as UDP may */
	(void)iobuf_sendmsg(&m, tsi_fd(s), &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- requests ---- */

struct req {
	const struct vsock_hdr *h;
	const uint8_t *p;
	size_t len;
};

static void req_create(struct tsi *t, const struct req *q)
{
	uint32_t id = get_le32(q->p);
	uint16_t family = get_le16(q->p + 4), type = get_le16(q->p + 6);
	struct tsi_sock *s = tsi_find(t, &tsi_krun, id);

	/* unix sockets are the guest's own; the requests that follow say so */
	if ((family != AF_INET && family != AF_INET6) ||
		(type != SOCK_STREAM && type != SOCK_DGRAM))
		return;
	if (s)
		tsi_free(s, false);
	s = tsi_add(t, &tsi_krun, id);
	if (!s)
		return;
	s->ctl_port = q->h->src_port;
	if (tsi_sock_open(s, family == AF_INET ? TSI_INET : TSI_INET6,
		    type == SOCK_STREAM ? TSI_TCP : TSI_UDP))
		tsi_free(s, false);
}

static void req_connect(struct tsi *t, const struct req *q)
{
	struct tsi_sock *s = tsi_find(t, &tsi_krun, get_le32(q->p));
	struct sockaddr_storage ss;
	socklen_t len;
	int r = -ECONNREFUSED;

	if (s) {
		s->ctl_port = q->h->src_port;
		r = get_addr(s, q->p + 8, get_le32(q->p + 4), q->len - 8, &ss, &len);
		if (!r && s->kind == TSI_TCP && s->state != TSI_IDLE)
			r = s->state == TSI_CONNECTING ? -EALREADY : -EISCONN;
		if (!r)
			r = tsi_sock_connect(s, &ss, len);
		if (!r && s->kind == TSI_UDP)
			r = dgram_begin(s);
	}
	if (r != -EINPROGRESS)
		(void)reply_new(t, KRUN_CONNECT, q->h->src_port, r);
}

static void req_getname(struct tsi *t, const struct req *q)
{
	uint32_t id = get_le32(q->p), peer_port = get_le32(q->p + 4);
	struct vsock_conn *c = conn_find(t->vs, id, peer_port);
	struct tsi_sock *s = tsi_find(t, &tsi_krun, id);
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct tsi_reply *r;
	int err = -EINVAL;

	if (peer_port != KRUN_DATA)
		s = c && c->ops == &krun_stream_ops ? c->arg : NULL;
	memset(&ss, 0, sizeof(ss));
	if (s && tsi_fd(s) >= 0)
		err = getpeername(tsi_fd(s), (struct sockaddr *)&ss, &len) ? -errno : 0;
	r = reply_new(t, KRUN_GETNAME, q->h->src_port, err);
	if (!r)
		return;
	put_le32(r->data + 4, err ? 0 : len);
	if (!err)
		memcpy(r->data + 8, &ss, MIN(len, (socklen_t)KRUN_ADDR));
	r->len = 8 + KRUN_ADDR;
}

static void req_sendto(struct tsi *t, const struct req *q)
{
	struct tsi_sock *s = tsi_find(t, &tsi_krun, get_le32(q->p));
	struct tsi_addr any;
	struct sockaddr_storage ss;
	socklen_t len;

	if (!s || s->kind != TSI_UDP)
		return;
	if (get_addr(s, q->p + 8, get_le32(q->p + 4), q->len - 8, &s->to, &s->to_len)) {
		s->to_len = 0;
		return;
	}
	s->to_denied = tsi_may_reach(s, &s->to) < 0;
	if (s->conn)
		return;
	any = (struct tsi_addr){ .family = s->family };
	if (!tsi_to_sockaddr(&any, &ss, &len) && !tsi_sock_bind(s, &ss, len))
		(void)dgram_begin(s);
}

static int listen_on(struct tsi_sock *s, const struct req *q)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int r = get_addr(s, q->p + 16, get_le32(q->p + 12), q->len - 16, &ss, &len);

	if (r || s->state == TSI_LISTENING)
		return r;
	s->vm_port = get_le32(q->p + 4);
	r = tsi_sock_bind(s, &ss, len);
	return r ? r : tsi_sock_listen(s, (int)get_le32(q->p + 8));
}

static void req_listen(struct tsi *t, const struct req *q)
{
	struct tsi_sock *s = tsi_find(t, &tsi_krun, get_le32(q->p));
	int r = -EPERM;

	if (s) {
		s->ctl_port = q->h->src_port;
		r = listen_on(s, q);
	}
	(void)reply_new(t, KRUN_LISTEN, q->h->src_port, r);
}

static void req_accept(struct tsi *t, const struct req *q)
{
	struct tsi_sock *s = tsi_find(t, &tsi_krun, get_le32(q->p));
	int r = -EINVAL;

	if (s && s->state == TSI_LISTENING) {
		s->ctl_port = q->h->src_port;
		r = -EWOULDBLOCK;
		if (s->accepted) {
			s->accepted--;
			s->announced--;
			tsi_sock_update(s);
			r = 0;
		} else if (!(get_le32(q->p + 4) & KRUN_NONBLOCK)) {
			s->accept_waits = true;
			return;
		}
	}
	(void)reply_new(t, KRUN_ACCEPT, q->h->src_port, r);
}

static void req_release(struct tsi *t, const struct req *q)
{
	uint32_t id = get_le32(q->p), peer_port = get_le32(q->p + 4);
	struct vsock_conn *c = conn_find(t->vs, id, peer_port);
	struct tsi_sock *s = tsi_find(t, &tsi_krun, id);

	if (peer_port != KRUN_DATA)
		s = c && c->ops == &krun_stream_ops ? c->arg : NULL;
	if (s)
		tsi_free(s, false);
}

static const struct {
	size_t min;
	void (*fn)(struct tsi *t, const struct req *q);
} requests[] = {
	[0 /* KRUN_CREATE */] = { 8, req_create },
	[KRUN_CONNECT - KRUN_CREATE] = { 8, req_connect },
	[KRUN_GETNAME - KRUN_CREATE] = { 12, req_getname },
	[KRUN_SENDTO_ADDR - KRUN_CREATE] = { 8, req_sendto },
	[KRUN_LISTEN - KRUN_CREATE] = { 16, req_listen },
	[KRUN_ACCEPT - KRUN_CREATE] = { 8, req_accept },
	[KRUN_RELEASE - KRUN_CREATE] = { 8, req_release },
};

void tsi_krun_packet(struct tsi *t, const struct vsock_hdr *h, struct iobuf *rd)
{
	uint8_t buf[16 + KRUN_ADDR];
	struct req q = { .h = h, .p = buf };
	uint32_t n = h->dst_port - KRUN_CREATE;

	if (t->ctl || h->op != VSOCK_OP_RW) {
		log_guest("tsi: datagram packet of operation %u dropped", h->op);
		return;
	}
	if (n >= ARRAY_SIZE(requests) || !requests[n].fn) {
		dgram_send(t, h, rd);
		return;
	}
	memset(buf, 0, sizeof(buf));
	q.len = MIN((size_t)h->len, sizeof(buf));
	if (q.len < requests[n].min || iobuf_pull(rd, buf, q.len) < 0) {
		log_guest("tsi: request of %u bytes to port %u", h->len, h->dst_port);
		return;
	}
	requests[n].fn(t, &q);
}
