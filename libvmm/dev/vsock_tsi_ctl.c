// SPDX-License-Identifier: Apache-2.0
// TSI, our protocol: the control connection, its records in and out, and what must come after them.
//
// How it works
//
// The connection has no fd: records of the guest are handled as they come, and what the host has to
// say waits in a ring until the guest has room. While the ring holds more than CTL_PAUSE no request
// is handled and nothing is accepted; what is above is room for the answers and errors of sockets
// that exist, two for each, so nothing that the guest must hear is ever dropped. Requests that wait
// are held within the credit of the connection, and then the guest's writer waits.
//
// An RST that must not overtake a record waits in `late` until the ring is empty. Resets go before
// all else in the receive queue, so the ring being empty is what guarantees the order.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/rekick.h"
#include "dev/vsock_tsi.h"
#include "util/log.h"

#define CTL_PAUSE (64U << 10)
#define LATE_MAX  (LIM_TSI_CTL / sizeof(struct tsi_msg))

_Static_assert(
	LIM_TSI_CTL - CTL_PAUSE >= (2 * LIM_TSI_SOCKS + LIM_TSI_WINDOW) * sizeof(struct tsi_msg),
	"an answer and an error of every socket");

bool ctl_is_full(const struct tsi *t)
{
	return t->out_len > CTL_PAUSE;
}

void ctl_put(struct tsi *t, const struct tsi_msg *m)
{
	const uint8_t *p = (const uint8_t *)m;
	uint32_t n = sizeof(*m);

	if (!t->ctl)
		return;
	if (n > LIM_TSI_CTL - t->out_len) {
		log_err("tsi: no room for a record");
		return;
	}
	while (n) {
		uint32_t at = (t->out_head + t->out_len) % LIM_TSI_CTL;
		uint32_t here = MIN(n, LIM_TSI_CTL - at);

		memcpy(t->out + at, p, here);
		t->out_len += here;
		p += here;
		n -= here;
	}
	/* whoever called this ends with vsock_rx_run() */
	conn_ready(t->ctl);
}

/* ---- resets that wait ---- */

static void late_flush(struct tsi *t)
{
	while (t->nlate && !vsock_rst_full(t->vs)) {
		const struct vsock_rst *r = &t->late[--t->nlate];

		vsock_send_rst(t->vs, r->type, r->gport, r->hport);
	}
}

bool ctl_is_late(const struct tsi *t, uint32_t gport, uint32_t hport)
{
	for (unsigned i = 0; i < t->nlate; i++) {
		if (t->late[i].gport == gport && t->late[i].hport == hport)
			return true;
	}
	return false;
}

void ctl_reset_late(struct tsi *t, struct vsock_conn *c)
{
	if (!c->hashed || c->type == VSOCK_TYPE_DGRAM) {
		conn_detach(c);
	} else if (!t->out_len || t->nlate == LATE_MAX) {
		conn_reset(c);
	} else {
		t->late[t->nlate++] = (struct vsock_rst){ c->gport, c->hport, c->type };
		conn_detach(c);
	}
}

void ctl_refuse_late(struct tsi *t, const struct vsock_hdr *h)
{
	if (!t->out_len || t->nlate == LATE_MAX)
		vsock_send_rst(t->vs, (uint8_t)h->type, h->src_port, h->dst_port);
	else
		t->late[t->nlate++] =
			(struct vsock_rst){ h->src_port, h->dst_port, (uint8_t)h->type };
}

/* ---- records of the guest ---- */

/* Handles what is whole of @len bytes; stops when answers pile up. Bytes taken, or -EPROTO. */
static ssize_t ctl_parse(struct tsi *t, struct iobuf *b, uint32_t len)
{
	uint32_t left = len;

	while (left && !ctl_is_full(t)) {
		uint32_t n = MIN(left, (uint32_t)sizeof(t->in) - t->in_len);
		struct tsi_msg m;

		if (iobuf_pull(b, t->in + t->in_len, n) < 0)
			return -EPROTO;
		t->in_len += n;
		left -= n;
		if (t->in_len < sizeof(t->in))
			break;
		t->in_len = 0;
		memcpy(&m, t->in, sizeof(m));
		if (own_record(t, &m) < 0)
			return -EPROTO;
	}
	return len - left;
}

static int ctl_take(struct vsock_conn *c, struct iobuf *rd, uint32_t len, uint32_t flags)
{
	struct tsi *t = c->vs->tsi;
	ssize_t n = 0;

	(void)flags;
	if (!t->held.len)
		n = ctl_parse(t, rd, len);
	if (n < 0)
		return (int)n;
	conn_forward(c, (uint32_t)n);
	if (n == (ssize_t)len)
		return 0;
	return hostbuf_put(&t->held, c->alloc, rd, len - (uint32_t)n);
}

/* Records that were held. */
static int ctl_take_held(struct tsi *t)
{
	while (t->held.len && !ctl_is_full(t)) {
		uint32_t here = MIN(t->held.len, t->held.cap - t->held.head);
		struct iovec iov = { .iov_base = t->held.p + t->held.head, .iov_len = here };
		struct iobuf b;
		ssize_t n;

		iobuf_init(&b, &iov, 1);
		n = ctl_parse(t, &b, here);
		if (n < 0)
			return (int)n;
		if (!t->ctl)
			return 0;
		conn_forward(t->ctl, (uint32_t)n);
		t->held.head = (t->held.head + (uint32_t)n) % t->held.cap;
		t->held.len -= (uint32_t)n;
		if (!t->held.len)
			hostbuf_drop(&t->held);
	}
	return 0;
}

void ctl_turn(struct tsi *t)
{
	if (!t->out_len)
		late_flush(t);
	if (t->ctl && ctl_take_held(t) < 0)
		conn_reset(t->ctl);
}

/* ---- records to the guest ---- */

static ssize_t ctl_give(struct vsock_conn *c, struct iobuf *b, size_t max, uint32_t *flags)
{
	struct tsi *t = c->vs->tsi;
	bool was_full = ctl_is_full(t);
	size_t sum = 0;

	(void)flags;
	while (sum < max && t->out_len) {
		size_t here =
			MIN(MIN((size_t)t->out_len, (size_t)LIM_TSI_CTL - t->out_head), max - sum);

		if (iobuf_push(b, t->out + t->out_head, here) < 0)
			return -EFAULT;
		t->out_head = (t->out_head + (uint32_t)here) % LIM_TSI_CTL;
		t->out_len -= (uint32_t)here;
		sum += here;
	}
	if (!t->out_len)
		late_flush(t);
	if (was_full && !ctl_is_full(t))
		rekick(&c->vs->v, VSOCK_RX);
	return sum ? (ssize_t)sum : -EAGAIN;
}

/* Without it there is nobody to speak for: every socket of the protocol ends. */
static void ctl_gone(struct vsock_conn *c)
{
	struct tsi *t = c->vs->tsi;
	struct tsi_sock *s, *next;

	t->ctl = NULL;
	t->hello = false;
	t->in_len = t->out_len = t->out_head = 0;
	hostbuf_drop(&t->held);
	for (s = TAILQ_FIRST(&t->all); s; s = next) {
		next = TAILQ_NEXT(s, all);
		if (s->proto == &tsi_own)
			tsi_free(s, true);
	}
	late_flush(t);
}

const struct conn_ops tsi_ctl_ops = {
	.take = ctl_take,
	.give = ctl_give,
	.gone = ctl_gone,
};

bool ctl_request(struct tsi *t, const struct vsock_hdr *h)
{
	struct vsock_conn *c;

	if (h->dst_port != TSI_CTL_PORT || h->type != VSOCK_TYPE_STREAM)
		return false;
	if (t->ctl || h->src_port != TSI_CTL_PORT) {
		log_guest("tsi: a second control connection, from port %u, refused", h->src_port);
		return false;
	}
	c = conn_accept(t->vs, h);
	if (!c)
		return false;
	c->ops = &tsi_ctl_ops;
	c->waits = false;
	t->ctl = c;
	conn_enter(c);
	conn_owe(c, VSOCK_CTL_RESPONSE);
	return true;
}
