// SPDX-License-Identifier: Apache-2.0
// vsock, guest to host: every packet is checked, then acted upon; payload goes straight from guest
// memory to the host's fd.
/*
 * How it works
 *
 * The header is copied once and checked on the copy. A packet that is not for this device is
 * dropped; one that breaks the rules of its connection (more bytes than credit, an operation out of
 * turn) resets that connection, never the device, which only a broken ring does.
 *
 * Payload is written to the host's fd at once, and what the fd does not take is held in memory; the
 * credit given to the guest is the bound of that, so a reader that sleeps costs alloc bytes and the
 * guest's writer then waits. Credit is given back as bytes leave for the host, not as they arrive.
 *
 * The guest may open connections to ports that are mapped or TSI's; any other request is reset at
 * once. One to the knock port tells that the agent listens now.
 */

#include <errno.h>

#include "dev/rekick.h"
#include "dev/vsock_tsi.h"
#include "util/bytes.h"
#include "util/log.h"

/* Copies the header once; false when the packet is to be dropped. @rd is left at the payload. */
static bool tx_parse(const struct vsock *vs, struct iobuf *rd, struct vsock_hdr *h)
{
	uint8_t raw[VSOCK_HDR_LEN];

	if (iobuf_pull(rd, raw, sizeof(raw)) < 0) {
		log_guest("vsock: packet without a header");
		return false;
	}
	h->src_cid = get_le64(raw);
	h->dst_cid = get_le64(raw + 8);
	h->src_port = get_le32(raw + 16);
	h->dst_port = get_le32(raw + 20);
	h->len = get_le32(raw + 24);
	h->type = get_le16(raw + 28);
	h->op = get_le16(raw + 30);
	h->flags = get_le32(raw + 32);
	h->buf_alloc = get_le32(raw + 36);
	h->fwd_cnt = get_le32(raw + 40);
	if (h->src_cid != vs->cfg.guest_cid || h->dst_cid != VSOCK_CID_HOST) {
		log_guest("vsock: packet from CID %llu to CID %llu dropped",
			(unsigned long long)h->src_cid, (unsigned long long)h->dst_cid);
		return false;
	}
	if (h->type != VSOCK_TYPE_STREAM &&
		!(h->type == VSOCK_TYPE_SEQPACKET && vdev_has(&vs->v, VSOCK_F_SEQPACKET)) &&
		!(h->type == VSOCK_TYPE_DGRAM && vdev_has(&vs->v, VSOCK_F_DGRAM))) {
		log_guest("vsock: packet of type %u dropped", h->type);
		return false;
	}
	if (h->len > rd->left) {
		log_guest("vsock: packet of %u bytes carries %zu, dropped", h->len, rd->left);
		return false;
	}
	return true;
}

/* No connection has these ports. A knock is noticed, and refused. */
static void tx_stranger(struct vsock *vs, const struct vsock_hdr *h)
{
	if (h->op == VSOCK_OP_RST)
		return;
	if (h->op == VSOCK_OP_REQUEST && vs->cfg.knock_port && h->dst_port == vs->cfg.knock_port) {
		vs->knocked = true;
		vsock_unpark(vs);
	} else if (h->op == VSOCK_OP_REQUEST && vsock_map_request(vs, h)) {
		return;
	} else if (vs->tsi && tsi_stranger(vs->tsi, h)) {
		return;
	}
	vsock_send_rst(vs, (uint8_t)h->type, h->src_port, h->dst_port);
}

/* Writes what the host takes now; returns bytes, or -errno other than -EAGAIN. */
static ssize_t tx_write(struct vsock_conn *c, struct iobuf *rd, uint32_t len)
{
	uint32_t sum = 0;

	while (sum < len) {
		ssize_t r = hostfd_write(conn_wr(c), rd, len - sum);

		if (r == -EAGAIN)
			break;
		if (r <= 0)
			return r ? r : -EIO;
		sum += (uint32_t)r;
	}
	return sum;
}

/* May free @c. */
static void tx_data(struct vsock_conn *c, struct iobuf *rd, uint32_t len, uint32_t flags)
{
	ssize_t r = 0;

	/* rx_cnt - told never exceeds alloc: this very check keeps it so. */
	if (len > c->alloc - (c->rx_cnt - c->told) || (c->shut_seen & VSOCK_SHUT_SEND) ||
		c->waits) {
		log_guest("vsock: %u bytes on port %u beyond what was allowed", len, c->hport);
		conn_reset(c);
		return;
	}
	c->rx_cnt += len;
	if (c->ops && c->ops->take) {
		if (c->ops->take(c, rd, len, flags) < 0)
			conn_reset(c);
		return;
	}
	if (c->wr_done || c->on_fail || c->error) {
		conn_forward(c, len);
		return;
	}
	if (!c->out.len)
		r = tx_write(c, rd, len);
	if (r == -EFAULT) {
		conn_reset(c);
		return;
	}
	if (r < 0) {
		conn_forward(c, len);
		if (c->ops && c->ops->failed)
			conn_wr_fail(c, (int)r);
		else
			conn_wr_dead(c);
		return;
	}
	conn_forward(c, (uint32_t)r);
	len -= (uint32_t)r;
	if (!len)
		return;
	if (hostbuf_put(&c->out, c->alloc, rd, len) < 0) {
		conn_reset(c);
		return;
	}
	(void)__atomic_add_fetch(&c->vs->pending, len, __ATOMIC_RELAXED);
	conn_update(c);
}

/* May free @c. */
static void tx_established(struct vsock_conn *c, const struct vsock_hdr *h, struct iobuf *rd)
{
	switch (h->op) {
	case VSOCK_OP_RW:
		tx_data(c, rd, h->len, h->flags);
		break;
	case VSOCK_OP_SHUTDOWN:
		conn_guest_shut(c, (uint8_t)(h->flags & VSOCK_SHUT_BOTH));
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		conn_owe(c, VSOCK_CTL_CREDIT);
		break;
	case VSOCK_OP_CREDIT_UPDATE:
		break;
	case VSOCK_OP_RST:
		conn_detach(c);
		break;
	default:
		log_guest("vsock: operation %u on an open connection", h->op);
		conn_reset(c);
		break;
	}
}

static void tx_packet(struct vsock *vs, struct iobuf *rd)
{
	struct vsock_hdr h;
	struct vsock_conn *c;
	bool starved;

	if (!tx_parse(vs, rd, &h))
		return;
	if (h.type == VSOCK_TYPE_DGRAM) {
		if (vs->tsi)
			tsi_krun_packet(vs->tsi, &h, rd);
		return;
	}
	c = conn_find(vs, h.src_port, h.dst_port);
	if (!c || c->state == VSOCK_PARKED) {
		tx_stranger(vs, &h);
		return;
	}
	if (h.type != c->type) {
		log_guest("vsock: packet of type %u on a connection of type %u", h.type, c->type);
		return;
	}
	starved = conn_credit(c) < MAX(c->need, 1U);
	c->peer_alloc = h.buf_alloc;
	c->peer_fwd = h.fwd_cnt;
	if (c->state == VSOCK_ESTABLISHED) {
		/* Bytes it could not send before are waiting, most likely. */
		if (starved && conn_credit(c) >= MAX(c->need, 1U) && !c->rd_done && !c->waits &&
			!c->lost)
			conn_ready(c);
		tx_established(c, &h, rd);
	} else if (h.op == VSOCK_OP_RESPONSE && !(c->ctl & VSOCK_CTL_REQUEST)) {
		conn_established(c);
	} else if (h.op == VSOCK_OP_RST) {
		conn_detach(c);
	} else {
		log_guest("vsock: operation %u on a connection that was asked for", h.op);
		conn_reset(c);
	}
}

void vsock_tx_run(struct vsock *vs)
{
	struct vq *q = &vs->v.vq[VSOCK_TX];
	unsigned n = 0;
	int ret = 0;

	if (!vsock_live(vs))
		return;
	vs->tx_stopped = false;
	while (n < VSOCK_BATCH) {
		/* One packet asks for one RST at most. Without room for it the ring waits, not the
		 * RST. */
		if (vsock_rst_full(vs) || (vs->tsi && tsi_full(vs->tsi))) {
			vs->tx_stopped = true;
			break;
		}
		ret = vq_pop(q, &vs->tx);
		if (ret <= 0)
			break;
		tx_packet(vs, &vs->tx.rd);
		vq_push(q, vs->tx.head, 0);
		n++;
	}
	if (n)
		vdev_flush(&vs->v, VSOCK_TX);
	if (ret < 0)
		vdev_broken(&vs->v, "bad vsock packet");
	if (n == VSOCK_BATCH)
		rekick(&vs->v, VSOCK_TX);
	vsock_rx_run(vs);
}
