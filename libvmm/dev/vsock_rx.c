// SPDX-License-Identifier: Apache-2.0
// vsock, host to guest: what is owed and what the host's fds have, into the guest's receive
// buffers.
/*
 * How it works
 *
 * Four sources feed the receive queue: resets, answers of libkrun's protocol, control packets of
 * connections that owe some, payload, strictly in this order. Resets come first because the
 * transmit side stops when their ring is full. Control packets are made from the connection's state
 * when a buffer is there, so a credit update that waited carries the newest count.
 *
 * Payload is read from the host's fd straight into the guest's buffer, behind room left for the
 * header, which is written last, when the length is known. A buffer that got nothing goes back to
 * the queue. Connections that have something stand in line; each has VSOCK_TURN bytes and then goes
 * to the end, so a stream that is always full does not starve the others. Without credit of the
 * guest a connection leaves the line and its fd is not polled until credit comes.
 */

#include <errno.h>
#include <sys/epoll.h>

#include "dev/rekick.h"
#include "dev/vsock_tsi.h"
#include "util/bytes.h"

/* Every packet of a connection carries our side of its credit. */
static void rx_credit(struct vsock_conn *c, struct vsock_hdr *h)
{
	h->buf_alloc = c->alloc;
	h->fwd_cnt = c->fwd_cnt;
	c->told = c->fwd_cnt;
	c->ctl &= ~(uint32_t)VSOCK_CTL_CREDIT;
}

static int rx_push_hdr(struct iobuf *b, const struct vsock_hdr *h)
{
	uint8_t raw[VSOCK_HDR_LEN];

	put_le64(raw, h->src_cid);
	put_le64(raw + 8, h->dst_cid);
	put_le32(raw + 16, h->src_port);
	put_le32(raw + 20, h->dst_port);
	put_le32(raw + 24, h->len);
	put_le16(raw + 28, h->type);
	put_le16(raw + 30, h->op);
	put_le32(raw + 32, h->flags);
	put_le32(raw + 36, h->buf_alloc);
	put_le32(raw + 40, h->fwd_cnt);
	return iobuf_push(b, raw, sizeof(raw));
}

static void rx_rst(struct vsock *vs, struct vsock_hdr *h)
{
	const struct vsock_rst *r = &vs->rst[vs->rst_head];

	h->op = VSOCK_OP_RST;
	h->type = r->type;
	h->src_port = r->hport;
	h->dst_port = r->gport;
	vs->rst_head = (vs->rst_head + 1) % LIM_VSOCK_CTRL;
	vs->rst_n--;
}

/* One control packet of the first connection that owes some. */
static void rx_ctl(struct vsock *vs, struct vsock_hdr *h)
{
	struct vsock_conn *c = TAILQ_FIRST(&vs->ctl);

	h->src_port = c->hport;
	h->dst_port = c->gport;
	h->type = c->type;
	if (c->ctl & VSOCK_CTL_REQUEST) {
		h->op = VSOCK_OP_REQUEST;
		c->ctl &= ~(uint32_t)VSOCK_CTL_REQUEST;
	} else if (c->ctl & VSOCK_CTL_RESPONSE) {
		h->op = VSOCK_OP_RESPONSE;
		c->ctl &= ~(uint32_t)VSOCK_CTL_RESPONSE;
	} else if (c->ctl & VSOCK_CTL_SHUTDOWN) {
		h->op = VSOCK_OP_SHUTDOWN;
		h->flags = c->shut_sent;
		c->ctl &= ~(uint32_t)VSOCK_CTL_SHUTDOWN;
	} else {
		h->op = VSOCK_OP_CREDIT_UPDATE;
	}
	rx_credit(c, h);
	TAILQ_REMOVE(&vs->ctl, c, ctl_link);
	c->on_ctl = false;
	if (c->ctl)
		conn_owe(c, c->ctl);
}

/* After @n bytes of its turn: next in line, or back to waiting for more. */
static void rx_turn(struct vsock_conn *c, uint32_t n, bool drained)
{
	/* a message may be longer than the turn */
	c->turn -= MIN(n, c->turn);
	if (drained) {
		conn_unready(c);
		conn_update(c);
	} else if (c->turn < VSOCK_TURN_END) {
		/* a buffer of 64 KiB also holds a header: the last bytes would have one of their
		 * own */
		conn_unready(c);
		conn_ready(c);
	}
}

/* Payload from where the connection has it; *drained: there is no more now. */
static ssize_t rx_read(
	struct vsock_conn *c, struct iobuf *b, size_t max, uint32_t *flags, bool *drained)
{
	ssize_t r;

	if (c->hdr_off < c->hdr_len) {
		r = (ssize_t)MIN(max, c->hdr_len - c->hdr_off);
		if (iobuf_push(b, c->hdr + c->hdr_off, (size_t)r) < 0)
			return -EFAULT;
		c->hdr_off += (uint32_t)r;
		return r;
	}
	if (c->ops && c->ops->give)
		return c->ops->give(c, b, max, flags);
	r = hostfd_read(&c->rd, b, max);
	*drained = r < (ssize_t)max && c->rd.pollable;
	return r;
}

/* Payload of the connection whose turn it is. Returns bytes; 0: it has none, and left the line;
 * -errno: the guest's fault. */
static ssize_t rx_data(struct vsock_conn *c, struct iobuf *b, uint32_t *flags)
{
	size_t max = MIN(MIN(b->left, conn_credit(c)), c->turn);
	bool drained = false;
	ssize_t r;

	if (!b->left)
		return -EINVAL;
	if (!max || c->rd_done || c->waits) {
		conn_unready(c);
		conn_update(c);
		return 0;
	}
	if (c->hdr_off == c->hdr_len && !hostfd_is_open(&c->rd) && !(c->ops && c->ops->give)) {
		conn_rd_none(c);
		return 0;
	}
	r = rx_read(c, b, max, flags, &drained);
	/* of a write, which has taken it off the socket: the end that is here is not a FIN */
	if (r <= 0 && r != -EFAULT && c->error) {
		conn_fail(c, c->error);
		return 0;
	}
	if (r == -EAGAIN) {
		conn_unready(c);
		conn_update(c);
		return 0;
	}
	if (r == -EFAULT)
		return r;
	if (r < 0 && c->ops && c->ops->failed) {
		conn_fail(c, (int)r);
		return 0;
	}
	if (r <= 0) {
		conn_rd_eof(c);
		return 0;
	}
	c->tx_cnt += (uint32_t)r;
	/* with an error of a write there may be no event any more that brings the end */
	rx_turn(c, (uint32_t)r, drained && !c->error);
	return r;
}

/* Fills the chain in hand. 1: done, 0: nothing for it after all, -errno: the guest's fault. */
static int rx_fill(struct vsock *vs)
{
	struct vsock_hdr h = { .src_cid = VSOCK_CID_HOST, .dst_cid = vs->cfg.guest_cid };
	struct vsock_conn *c;
	struct iobuf head;
	ssize_t n = 0;

	if (iobuf_take(&vs->rx.wr, VSOCK_HDR_LEN, &head) < 0)
		return -EINVAL;
	if (vs->rst_n) {
		rx_rst(vs, &h);
	} else if (vs->tsi && tsi_krun_owes(vs->tsi)) {
		n = tsi_krun_reply(vs->tsi, &h, &vs->rx.wr);
		if (n < 0)
			return (int)n;
	} else if (!TAILQ_EMPTY(&vs->ctl)) {
		rx_ctl(vs, &h);
	} else {
		c = TAILQ_FIRST(&vs->ready);
		n = rx_data(c, &vs->rx.wr, &h.flags);
		if (n <= 0)
			return (int)n;
		h.op = VSOCK_OP_RW;
		h.type = c->type;
		h.src_port = c->hport;
		h.dst_port = c->gport;
		if (c->type == VSOCK_TYPE_DGRAM) {
			/* as a libkrunfw kernel knows it */
			h.src_cid = vs->cfg.guest_cid;
			h.dst_cid = VSOCK_CID_HOST;
		}
		h.len = (uint32_t)n;
		rx_credit(c, &h);
	}
	return rx_push_hdr(&head, &h) < 0 ? -EFAULT : 1;
}

static bool rx_wanted(const struct vsock *vs)
{
	return vs->rst_n || (vs->tsi && tsi_krun_owes(vs->tsi)) || !TAILQ_EMPTY(&vs->ctl) ||
		!TAILQ_EMPTY(&vs->ready);
}

void vsock_rx_run(struct vsock *vs)
{
	struct vq *q = &vs->v.vq[VSOCK_RX];
	unsigned n = 0;
	int ret = 0;

	if (!vsock_live(vs) || !rx_wanted(vs))
		return;
	while (rx_wanted(vs)) {
		if (n++ == VSOCK_BATCH) {
			rekick(&vs->v, VSOCK_RX);
			break;
		}
		ret = vq_pop(q, &vs->rx);
		if (ret <= 0)
			break;
		ret = rx_fill(vs);
		if (ret)
			vq_push(q, vs->rx.head, ret > 0 ? (uint32_t)vs->rx.wr.done : 0);
		else
			vq_unpop(q, &vs->rx);
		if (ret < 0)
			break;
	}
	vdev_flush(&vs->v, VSOCK_RX);
	if (ret < 0)
		vdev_broken(&vs->v, "bad vsock receive buffer");
	if (vs->tx_stopped && !vsock_rst_full(vs) && !(vs->tsi && tsi_full(vs->tsi)))
		rekick(&vs->v, VSOCK_TX);
}
