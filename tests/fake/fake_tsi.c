// SPDX-License-Identifier: Apache-2.0
// A guest that has TSI, for tests.
/*
 * How it works
 *
 * It hangs in fake_vsock as the one who sees every packet first. Connections are found by their
 * ports; one of the host's is answered at once, as the guest's transport does. Payload is kept
 * whole; that of the control connection is cut into records. Everything that comes gets a number,
 * so that a test can ask what came before what.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "dev/vsock.h"
#include "fake/fake_tsi.h"

bool ft_own_net(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int was = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;
	bool ok;

	if (was < 0 || unshare(CLONE_NEWNET)) {
		if (was >= 0)
			(void)close(was);
		return false;
	}
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ok = fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &r);
	if (fd >= 0)
		(void)close(fd);
	if (!ok)
		(void)setns(was, CLONE_NEWNET);
	(void)close(was);
	return ok;
}

bool ft_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, FAKE_TIMEOUT_MS) == 1;
}

static struct ft *ft_of(struct fv *f)
{
	return CONTAINER_OF(f, struct ft, f);
}

struct ft_conn *ft_conn(struct ft *t, uint32_t gport, uint32_t hport)
{
	for (unsigned i = 0; i < FT_CONNS; i++) {
		if (t->c[i].used && t->c[i].gport == gport && t->c[i].hport == hport)
			return &t->c[i];
	}
	return NULL;
}

static struct ft_conn *conn_add(struct ft *t, uint16_t type, uint32_t gport, uint32_t hport)
{
	struct ft_conn *c = ft_conn(t, gport, hport);

	for (unsigned i = 0; !c && i < FT_CONNS; i++) {
		if (!t->c[i].used)
			c = &t->c[i];
	}
	if (!c)
		abort();
	free(c->rx);
	/* the place of one that has ended */
	if (c == t->ctl)
		t->ctl = NULL;
	*c = (struct ft_conn){ .used = true,
		.type = type,
		.gport = gport,
		.hport = hport,
		.alloc = 256U << 10,
		.order = t->order };
	return c;
}

bool ft_op(struct ft *t, struct ft_conn *c, uint16_t op, uint32_t flags)
{
	struct fv_pkt p = { .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = c->gport,
		.dst_port = c->hport,
		.type = c->type,
		.op = op,
		.flags = flags,
		.buf_alloc = c->alloc,
		.fwd_cnt = c->fwd_cnt };

	c->told = c->fwd_cnt;
	return fv_send(&t->f, &p, NULL, 0);
}

static void keep(struct ft_conn *c, const uint8_t *p, uint32_t n)
{
	if (c->nrx + n > c->cap) {
		c->cap = (c->nrx + n) * 2;
		c->rx = realloc(c->rx, c->cap);
		if (!c->rx)
			abort();
	}
	if (n)
		memcpy(c->rx + c->nrx, p, n);
	c->nrx += n;
}

static void cut_records(struct ft *t)
{
	struct ft_conn *c = t->ctl;

	while (c->nrx >= sizeof(struct tsi_msg)) {
		if (t->nrec == FT_RECORDS)
			abort();
		memcpy(&t->rec[t->nrec], c->rx, sizeof(struct tsi_msg));
		t->rec_order[t->nrec++] = t->order;
		c->nrx -= sizeof(struct tsi_msg);
		memmove(c->rx, c->rx + sizeof(struct tsi_msg), c->nrx);
	}
}

static void got_payload(
	struct ft *t, struct ft_conn *c, const struct fv_pkt *p, const uint8_t *data)
{
	c->rx_cnt += p->len;
	if (c->rx_cnt - c->told > c->alloc || !c->up)
		t->bad = true;
	c->rx_bytes += p->len;
	if (!c->discard)
		keep(c, data, p->len);
	if (c->type == VSOCK_TYPE_SEQPACKET && (p->flags & VSOCK_SEQ_EOM) && c->nmsgs < FT_MSGS)
		c->end[c->nmsgs++] = c->nrx;
	if (c == t->ctl)
		cut_records(t);
	if (c->no_read)
		return;
	c->fwd_cnt += p->len;
	if (c->fwd_cnt - c->told >= c->alloc / 2)
		(void)ft_op(t, c, OP_CREDIT, 0);
}

static bool got(struct fv *f, const struct fv_pkt *p, const uint8_t *data)
{
	struct ft *t = ft_of(f);
	struct ft_conn *c;

	t->order++;
	if (p->type == VSOCK_TYPE_DGRAM) {
		if (t->ndg < FT_DGRAMS && p->len <= sizeof(t->dg[0].data)) {
			t->dg[t->ndg].p = *p;
			memcpy(t->dg[t->ndg++].data, data, p->len);
		}
		return true;
	}
	c = ft_conn(t, p->dst_port, p->src_port);
	if (p->op == OP_REQUEST) {
		c = conn_add(t, p->type, p->dst_port, p->src_port);
		c->peer_alloc = p->buf_alloc;
		c->peer_fwd = p->fwd_cnt;
		c->up = !t->refuse;
		(void)ft_op(t, c, t->refuse ? OP_RST : OP_RESPONSE, 0);
		return true;
	}
	if (!c)
		return false;
	if (p->type != c->type || p->src_cid != 2 || p->dst_cid != FV_CID)
		t->bad = true;
	if (p->op == OP_RST) {
		c->reset = true;
		c->up = false;
		c->reset_order = t->order;
		return true;
	}
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd = p->fwd_cnt;
	if (p->op == OP_RESPONSE)
		c->up = true;
	else if (p->op == OP_RW)
		got_payload(t, c, p, data);
	else if (p->op == OP_SHUTDOWN)
		c->shut |= p->flags;
	else if (p->op == OP_CREDIT_REQ)
		(void)ft_op(t, c, OP_CREDIT, 0);
	return true;
}

int ft_up(
	struct ft *t, const struct vsock_net *net, const struct vsock_port *ports, unsigned nports)
{
	struct fake_guest g = t->f.g;
	bool was = t->f.keep;
	unsigned rx_buf = t->f.rx_buf;

	memset(t, 0, sizeof(*t));
	t->f.keep = was;
	if (was)
		t->f.g = g;
	t->f.raw = got;
	t->f.rx_buf = rx_buf;
	t->f.net = net;
	t->f.ports = ports;
	t->f.nports = nports;
	return fv_up(&t->f, false, 64);
}

void ft_down(struct ft *t)
{
	fv_down(&t->f);
	for (unsigned i = 0; i < FT_CONNS; i++)
		free(t->c[i].rx);
	memset(t->c, 0, sizeof(t->c));
}

void ft_settle(struct ft *t)
{
	fv_settle(&t->f);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

bool ft_until(struct ft *t, bool (*cond)(struct ft *t, void *arg), void *arg)
{
	uint64_t end = now_ms() + FAKE_TIMEOUT_MS;

	while (!cond(t, arg)) {
		if (now_ms() > end)
			return false;
		if (!fv_step(&t->f))
			(void)loop_once(t->f.loop, 10);
	}
	return true;
}

struct ft_conn *ft_dial(struct ft *t, uint16_t type, uint32_t gport, uint32_t hport)
{
	struct ft_conn *c = conn_add(t, type, gport, hport);

	c->mine = true;
	return ft_op(t, c, OP_REQUEST, 0) ? c : NULL;
}

bool ft_write(struct ft *t, struct ft_conn *c, const void *p, size_t n)
{
	uint64_t end = now_ms() + FAKE_TIMEOUT_MS;
	const uint8_t *b = p;

	do {
		uint32_t credit = c->peer_alloc - (c->tx_cnt - c->peer_fwd);
		uint32_t here = (uint32_t)MIN(MIN(n, (size_t)FV_TX_BUF), (size_t)credit);
		struct fv_pkt k = { .src_cid = FV_CID,
			.dst_cid = 2,
			.src_port = c->gport,
			.dst_port = c->hport,
			.len = here,
			.type = c->type,
			.op = OP_RW,
			.buf_alloc = c->alloc,
			.fwd_cnt = c->fwd_cnt };

		if (c->type == VSOCK_TYPE_SEQPACKET && here == n)
			k.flags = VSOCK_SEQ_EOM;
		if ((here || !n) && fv_send(&t->f, &k, b, here)) {
			c->told = c->fwd_cnt;
			c->tx_cnt += here;
			b += here;
			n -= here;
			if (!n)
				return true;
		}
		if (!fv_step(&t->f))
			(void)loop_once(t->f.loop, 10);
	} while (now_ms() < end && c->used && !c->reset);
	return false;
}

/* ---- our protocol ---- */

struct tsi_msg ft_msg(uint16_t type, uint32_t id, uint32_t a0, uint32_t a1, uint32_t a2)
{
	return (struct tsi_msg){ .type = type, .id = id, .arg = { a0, a1, a2 } };
}

struct tsi_addr ft_in4(uint32_t ip, uint16_t port)
{
	struct tsi_addr a = { .family = TSI_INET, .port = htons(port) };

	ip = htonl(ip);
	memcpy(a.ip, &ip, 4);
	return a;
}

uint16_t ft_port(const struct tsi_addr *a)
{
	return ntohs(a->port);
}

uint32_t ft_send(struct ft *t, struct tsi_msg *m)
{
	m->seq = ++t->seq;
	if (!ft_write(t, t->ctl, m, sizeof(*m)))
		t->bad = true;
	return m->seq;
}

struct want {
	uint32_t seq, id;
	uint16_t type;
	int found;
};

static bool have_answer(struct ft *t, void *arg)
{
	struct want *w = arg;

	for (unsigned i = 0; i < t->nrec; i++) {
		if ((t->rec[i].flags & TSI_F_REPLY) && t->rec[i].seq == w->seq) {
			w->found = (int)i;
			return true;
		}
	}
	return false;
}

int ft_answer(struct ft *t, uint32_t seq, struct tsi_msg *m)
{
	struct want w = { .seq = seq };

	if (!ft_until(t, have_answer, &w))
		return 1;
	*m = t->rec[w.found];
	return (int)m->status;
}

int ft_ask(struct ft *t, struct tsi_msg *m)
{
	return ft_answer(t, ft_send(t, m), m);
}

static bool have_event(struct ft *t, void *arg)
{
	struct want *w = arg;

	for (unsigned i = 0; i < t->nrec; i++) {
		if (!t->rec[i].seq && t->rec[i].type == w->type && t->rec[i].id == w->id) {
			w->found = (int)i;
			return true;
		}
	}
	return false;
}

int ft_event(struct ft *t, uint16_t type, uint32_t id)
{
	struct want w = { .type = type, .id = id };

	return ft_until(t, have_event, &w) ? w.found : -1;
}

static bool is_up(struct ft *t, void *arg)
{
	(void)t;
	return ((struct ft_conn *)arg)->up;
}

bool ft_hello(struct ft *t)
{
	struct tsi_msg m = ft_msg(TSI_HELLO, 0, TSI_MAGIC, TSI_VERSION, 0);

	t->ctl = ft_dial(t, VSOCK_TYPE_STREAM, TSI_CTL_PORT, TSI_CTL_PORT);
	return t->ctl && ft_until(t, is_up, t->ctl) && ft_ask(t, &m) == 0 &&
		m.arg[0] == TSI_MAGIC && m.arg[1] == TSI_VERSION;
}

/* ---- libkrun's ---- */

bool ft_krun(struct ft *t, uint32_t op, uint32_t from, const void *p, unsigned n)
{
	struct fv_pkt k = { .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = from,
		.dst_port = op,
		.len = n,
		.type = VSOCK_TYPE_DGRAM,
		.op = OP_RW };

	return fv_send(&t->f, &k, p, n);
}

static bool have_dgram(struct ft *t, void *arg)
{
	struct want *w = arg;

	for (unsigned i = 0; i < t->ndg; i++) {
		if (t->dg[i].p.src_port == w->id && t->dg[i].p.dst_port == w->seq) {
			w->found = (int)i;
			return true;
		}
	}
	return false;
}

const struct ft_dgram *ft_krun_answer(struct ft *t, uint32_t op, uint32_t to, unsigned n)
{
	static struct ft_dgram d;
	struct want w = { .id = op, .seq = to };

	if (!ft_until(t, have_dgram, &w) || t->dg[w.found].p.len < n)
		return NULL;
	d = t->dg[w.found];
	/* each is looked at once */
	t->dg[w.found].p.src_port = UINT32_MAX;
	return &d;
}
