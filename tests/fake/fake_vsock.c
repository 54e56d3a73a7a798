// SPDX-License-Identifier: Apache-2.0
// The guest's half of vsock, for tests.
/*
 * How it works
 *
 * A driver over fake_guest's queues. RX buffers are all of one size and are given back as soon as
 * their packet was taken in, unless a test starves the device. TX packets use 64 slots; a packet
 * that may ask for an answer is taken in only while two slots are free, so an answer can always be
 * sent. Content is fv_byte() of the position in the stream, in either direction with another seed:
 * nothing that was sent has to be kept to be compared. What breaks the protocol sets `bad`, of the
 * connection or of the whole, and the test looks there at its end. fv_settle() goes on until
 * nothing has moved for four steps, since a step of one side may need two of the other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake/fake_vsock.h"
#include "util/bytes.h"

#define HDR	 44
#define NOT_OURS UINT64_MAX /* a chain that a test added by itself */

enum {
	Q_RX,
	Q_TX
};

uint8_t fv_byte(uint64_t pos, unsigned seed)
{
	return (uint8_t)(pos * 131 + (pos >> 8) * 29 + (pos >> 17) + seed * 77);
}

void fv_fill(uint8_t *p, size_t n, uint64_t pos, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = fv_byte(pos + i, seed);
}

bool fv_check(const uint8_t *p, size_t n, uint64_t pos, unsigned seed)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != fv_byte(pos + i, seed))
			return false;
	}
	return true;
}

int fv_up(struct fv *f, bool knock, unsigned nbufs)
{
	const struct vsock_net *net = f->net;
	const struct vsock_port *ports = f->ports;
	unsigned nports = f->nports, rx_buf = f->rx_buf ? f->rx_buf : FV_RX_BUF;
	bool (*raw)(struct fv *, const struct fv_pkt *, const uint8_t *) = f->raw;
	struct vsock_cfg cfg = { .guest_cid = FV_CID,
		.knock_port = knock ? FV_KNOCK : 0,
		.net = f->net,
		.ports = f->ports,
		.nports = f->nports };
	struct fake_guest g = f->g;
	bool keep = f->keep;
	int ret;

	memset(f, 0, sizeof(*f));
	f->net = net;
	f->ports = ports;
	f->nports = nports;
	f->raw = raw;
	f->rx_buf = rx_buf;
	f->accept = true;
	f->keep = keep;
	if (keep && g.lo) {
		f->g = g;
		f->g.used = 0;
	} else if (fake_guest_init(&f->g, 12U << 20)) {
		return -ENOMEM;
	}
	if (loop_new("test", &f->loop, NULL))
		return -ENOMEM;
	ret = vsock_new(f->loop, &f->g.mem, &cfg, &f->v, NULL);
	if (ret)
		return ret;
	ret = fake_dev_init(&f->d, &f->g, f->v);
	if (ret)
		return ret;
	if (!f->g.mem.frozen)
		mem_freeze(&f->g.mem);
	f->d.pump = f->loop;
	ret = fake_dev_start(&f->d, FV_FEATURES);
	if (ret)
		return ret;
	f->rx_gpa = calloc(f->d.q[Q_RX].size, sizeof(*f->rx_gpa));
	f->tx_of = calloc(f->d.q[Q_TX].size, sizeof(*f->tx_of));
	if (!f->rx_gpa || !f->tx_of)
		return -ENOMEM;
	for (unsigned i = 0; i < f->d.q[Q_TX].size; i++)
		f->tx_of[i] = NOT_OURS;
	for (unsigned i = 0; i < 64; i++) {
		f->tx_gpa[i] = fake_alloc(&f->g, FV_TX_BUF + HDR, 64).v;
		f->tx_free[f->ntx_free++] = i;
	}
	fv_post(f, nbufs);
	return 0;
}

void fv_down(struct fv *f)
{
	vdev_fini(f->v);
	f->v->cls->destroy(f->v);
	fake_dev_fini(&f->d);
	loop_free(f->loop);
	if (!f->keep) {
		fake_guest_fini(&f->g);
		f->g.lo = NULL;
	}
	free(f->rx_gpa);
	free(f->tx_of);
}

static void rx_add(struct fv *f, uint64_t gpa)
{
	struct fake_seg s = { gpa, f->rx_buf };
	int head = fake_add(&f->d, Q_RX, NULL, 0, &s, 1);

	if (head < 0)
		abort();
	f->rx_gpa[head] = gpa;
}

void fv_post(struct fv *f, unsigned n)
{
	for (; f->nrx < n; f->nrx++)
		rx_add(f, fake_alloc(&f->g, f->rx_buf, 64).v);
	(void)fake_kick(&f->d, Q_RX);
}

bool fv_send(struct fv *f, const struct fv_pkt *p, const void *data, unsigned n)
{
	struct fake_seg s[2];
	unsigned slot;
	uint8_t *b;
	int head;

	if (!f->ntx_free)
		return false;
	slot = f->tx_free[--f->ntx_free];
	b = fake_ptr(&f->g, GPA(f->tx_gpa[slot]), HDR + n);
	put_le64(b, p->src_cid);
	put_le64(b + 8, p->dst_cid);
	put_le32(b + 16, p->src_port);
	put_le32(b + 20, p->dst_port);
	put_le32(b + 24, p->len);
	put_le16(b + 28, p->type);
	put_le16(b + 30, p->op);
	put_le32(b + 32, p->flags);
	put_le32(b + 36, p->buf_alloc);
	put_le32(b + 40, p->fwd_cnt);
	if (n)
		memcpy(b + HDR, data, n);
	s[0] = (struct fake_seg){ f->tx_gpa[slot], HDR };
	s[1] = (struct fake_seg){ f->tx_gpa[slot] + HDR, n };
	head = fake_add(&f->d, Q_TX, s, n ? 2 : 1, NULL, 0);
	if (head < 0)
		abort();
	f->tx_of[head] = slot;
	(void)fake_kick(&f->d, Q_TX);
	return true;
}

static struct fv_pkt conn_pkt(struct fv_conn *c, uint16_t op, uint32_t flags, uint32_t len)
{
	c->told = c->fwd_cnt;
	return (struct fv_pkt){ .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = c->gport,
		.dst_port = c->hport,
		.len = len,
		.type = 1,
		.op = op,
		.flags = flags,
		.buf_alloc = c->alloc,
		.fwd_cnt = c->fwd_cnt };
}

bool fv_op(struct fv *f, struct fv_conn *c, uint16_t op, uint32_t flags)
{
	struct fv_pkt p = conn_pkt(c, op, flags, 0);

	return fv_send(f, &p, NULL, 0);
}

uint32_t fv_credit(const struct fv_conn *c)
{
	return c->peer_alloc - (c->tx_cnt - c->peer_fwd);
}

unsigned fv_write(struct fv *f, struct fv_conn *c, unsigned n)
{
	static uint8_t buf[FV_TX_BUF];
	struct fv_pkt p;

	n = MIN(MIN(n, FV_TX_BUF), fv_credit(c));
	if (!n || !f->ntx_free)
		return 0;
	fv_fill(buf, n, c->tx_bytes, FV_TO_HOST);
	p = conn_pkt(c, OP_RW, 0, n);
	if (!fv_send(f, &p, buf, n))
		return 0;
	c->tx_cnt += n;
	c->tx_bytes += n;
	return n;
}

static void got_data(struct fv *f, struct fv_conn *c, const uint8_t *b, uint32_t len)
{
	c->rx_cnt += len;
	if (c->rx_cnt - c->told > c->alloc)
		c->bad = true;
	while (len && c->rx_bytes < c->skip) {
		c->head[c->rx_bytes++] = *b++;
		len--;
		c->fwd_cnt++;
	}
	if (!fv_check(b, len, c->rx_bytes - c->skip, FV_TO_GUEST))
		c->bad = true;
	c->rx_bytes += len;
	if (c->no_read)
		return;
	c->fwd_cnt += len;
	if (c->fwd_cnt - c->told >= c->alloc / 2)
		(void)fv_op(f, c, OP_CREDIT, 0);
}

static void got_request(struct fv *f, struct fv_conn *c, const struct fv_pkt *p)
{
	c->gport = p->dst_port;
	c->hport = p->src_port;
	if (!c->alloc)
		c->alloc = 256U << 10;
	c->open = f->accept;
	c->peer_alloc = p->buf_alloc;
	c->peer_fwd = p->fwd_cnt;
	(void)fv_op(f, c, f->accept ? OP_RESPONSE : OP_RST, 0);
}

static void got_packet(struct fv *f, const uint8_t *b, uint32_t len)
{
	struct fv_pkt p = { 0 };
	struct fv_conn *c = NULL;

	if (len < HDR) {
		f->bad = true;
		return;
	}
	p.src_cid = get_le64(b);
	p.dst_cid = get_le64(b + 8);
	p.src_port = get_le32(b + 16);
	p.dst_port = get_le32(b + 20);
	p.len = get_le32(b + 24);
	p.type = get_le16(b + 28);
	p.op = get_le16(b + 30);
	p.flags = get_le32(b + 32);
	p.buf_alloc = get_le32(b + 36);
	p.fwd_cnt = get_le32(b + 40);
	if (f->raw && p.len == len - HDR && f->raw(f, &p, b + HDR)) {
		if (p.op <= OP_CREDIT_REQ)
			f->ops[p.op]++;
		return;
	}
	if (p.src_cid != 2 || p.dst_cid != FV_CID || p.type != 1 || p.len != len - HDR ||
		p.op < OP_REQUEST || p.op > OP_CREDIT_REQ || (p.len && p.op != OP_RW)) {
		f->bad = true;
		return;
	}
	f->ops[p.op]++;
	if (p.src_port - FV_PORT0 < FV_MAX)
		c = &f->conn[p.src_port - FV_PORT0];
	if (c && p.op == OP_REQUEST) {
		got_request(f, c, &p);
		return;
	}
	if (!c || !c->open || c->gport != p.dst_port) {
		if (p.op == OP_RST) {
			f->stray_rst++;
			f->last_rst = p;
		} else {
			f->bad = true;
		}
		return;
	}
	if (p.op == OP_RST) {
		c->reset = true;
		c->open = false;
		return;
	}
	c->peer_alloc = p.buf_alloc;
	c->peer_fwd = p.fwd_cnt;
	if (p.op == OP_RW)
		got_data(f, c, b + HDR, p.len);
	else if (p.op == OP_SHUTDOWN)
		c->shut |= p.flags;
	else if (p.op == OP_CREDIT_REQ)
		(void)fv_op(f, c, OP_CREDIT, 0);
}

bool fv_step(struct fv *f)
{
	static uint8_t copy[FV_RX_MAX];
	bool moved = false;
	uint16_t head;
	uint32_t len;

	moved = loop_once(f->loop, 0) > 0;
	while (fake_reap(&f->d, Q_TX, &head, &len) == 1) {
		if (f->tx_of[head] != NOT_OURS)
			f->tx_free[f->ntx_free++] = (unsigned)f->tx_of[head];
		f->tx_of[head] = NOT_OURS;
		moved = true;
	}
	/* A packet may ask for an answer: take one only while there is room for it. */
	while (f->ntx_free > 2 && fake_reap(&f->d, Q_RX, &head, &len) == 1) {
		uint64_t gpa = f->rx_gpa[head];

		moved = true;
		f->rx_gpa[head] = 0;
		if (!gpa)
			continue;
		if (len > f->rx_buf && !f->damaged)
			abort();
		len = MIN(len, f->rx_buf);
		memcpy(copy, fake_ptr(&f->g, GPA(gpa), f->rx_buf), len);
		if (f->no_refill)
			f->nrx--;
		else
			rx_add(f, gpa);
		got_packet(f, copy, len);
	}
	(void)fake_kick(&f->d, Q_RX);
	fake_poll(&f->d);
	return moved;
}

void fv_settle(struct fv *f)
{
	for (unsigned quiet = 0; quiet < 4;)
		quiet = fv_step(f) ? 0 : quiet + 1;
}
