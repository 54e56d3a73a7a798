// SPDX-License-Identifier: Apache-2.0
// vsock SEQPACKET: messages, whole, between packets of the guest and message sockets of the host.
//
// How it works
//
// A message of the guest may come in several packets, the last of which says so (EOM). One that is
// whole in its packet, with nothing before it that waits, goes from guest memory to the socket; any
// other is copied, and held until it is whole and the socket takes it. What is held counts against
// the connection's credit, which comes back when the message has left; short messages cost less
// credit than memory and are bounded by their number. Datagram connections (TSI) have a window for
// each that is larger than what LIM_TSI_DGRAMS grants them together, and drop what is beyond.
//
// A message for the guest is read into the receive buffer in hand and, what does not fit, into the
// device's one tail buffer. A tail that is not empty is copied to the connection, which gives it in
// further packets before it reads on. A guest may take the beginnings of many and never the rests:
// those count against LIM_TSI_DGRAMS too. A message is only read when the guest has credit for the
// largest, or, with less, when a look at the next one shows that it fits.

/* #syscalls:io recvfrom */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "dev/vsock.h"
#include "util/log.h"

/* ---- guest to host ---- */

static void msg_free(struct vsock_conn *c, struct vsock_msg *m)
{
	if (c->datagram)
		c->vs->msg_bytes -= m->len;
	free(m);
}

void vmsg_drop(struct vsock_conn *c)
{
	struct vsock_msg *m;

	while ((m = STAILQ_FIRST(&c->msgs))) {
		STAILQ_REMOVE_HEAD(&c->msgs, link);
		conn_forward(c, m->len);
		msg_free(c, m);
	}
	if (c->partial) {
		conn_forward(c, c->partial->len);
		msg_free(c, c->partial);
	}
	c->partial = NULL;
	c->nmsgs = 0;
}

static int msg_send(struct vsock_conn *c, struct iobuf *m)
{
	size_t len = m->left;
	ssize_t r;

	if (c->ops && c->ops->send)
		return c->ops->send(c, m);
	if (!len)
		return 0;
	r = hostfd_write(conn_wr(c), m, len);
	return r < 0 ? (int)r : 0;
}

int vmsg_drain(struct vsock_conn *c)
{
	struct vsock_msg *m;

	while ((m = STAILQ_FIRST(&c->msgs))) {
		struct iovec iov = { .iov_base = m->data, .iov_len = m->len };
		struct iobuf b;
		int r;

		iobuf_init(&b, &iov, m->len ? 1 : 0);
		r = msg_send(c, &b);
		if (r < 0)
			return r;
		STAILQ_REMOVE_HEAD(&c->msgs, link);
		c->nmsgs--;
		conn_forward(c, m->len);
		msg_free(c, m);
	}
	return 0;
}

/* Messages cost memory that no credit counts. For those of a mapped port, which may not be dropped,
 * it may be as much again as the credit. */
static unsigned msgs_max(const struct vsock_conn *c)
{
	return c->datagram ? LIM_VSOCK_MSGS : MAX(LIM_VSOCK_MSGS, c->alloc / LIM_VSOCK_MSG_LEN);
}

/* Adds @len bytes to the message that is not whole yet. -ENOSPC: there is no room for it. */
static int msg_add(struct vsock_conn *c, struct iobuf *rd, uint32_t len)
{
	uint32_t have = c->partial ? c->partial->len : 0;
	struct vsock_msg *m;
	int r;

	if (have + len > VSOCK_MSG_MAX)
		return -EMSGSIZE;
	if (c->nmsgs >= msgs_max(c) || (c->datagram && c->vs->msg_bytes + len > LIM_TSI_DGRAMS))
		return -ENOSPC;
	m = realloc(c->partial, sizeof(*m) + have + len);
	if (!m)
		return -ENOSPC;
	m->len = have;
	c->partial = m;
	r = len ? iobuf_pull(rd, m->data + have, len) : 0;
	if (r < 0)
		return r;
	m->len += len;
	if (c->datagram)
		c->vs->msg_bytes += len;
	return 0;
}

static int msg_hold(struct vsock_conn *c, struct iobuf *rd, uint32_t len, bool whole)
{
	int r = msg_add(c, rd, len);

	if (r == -ENOSPC && c->datagram) {
		conn_forward(c, len);
		c->skip = !whole;
		if (c->partial) {
			conn_forward(c, c->partial->len);
			msg_free(c, c->partial);
			c->partial = NULL;
		}
		return 0;
	}
	if (r < 0)
		return r;
	if (whole) {
		STAILQ_INSERT_TAIL(&c->msgs, c->partial, link);
		c->partial = NULL;
		c->nmsgs++;
	}
	return 0;
}

int vmsg_take(struct vsock_conn *c, struct iobuf *rd, uint32_t len, uint32_t flags)
{
	bool whole = flags & VSOCK_SEQ_EOM;
	int r;

	if (c->wr_done || c->on_fail || c->skip) {
		conn_forward(c, len);
		c->skip = c->skip && !whole;
		return 0;
	}
	if (whole && !c->partial && !c->nmsgs) {
		struct iobuf m, again = *rd;

		if (iobuf_take(rd, len, &m) < 0)
			return -EINVAL;
		r = msg_send(c, &m);
		if (r != -EAGAIN) {
			conn_forward(c, len);
			if (r == -EFAULT)
				return r;
			if (r < 0 && c->ops && c->ops->failed)
				conn_fail(c, r);
			else if (r < 0)
				conn_wr_dead(c);
			return 0;
		}
		*rd = again;
	}
	r = msg_hold(c, rd, len, whole);
	if (r < 0)
		return r;
	conn_forward(c, 0); /* it may have used up the window for what is not whole */
	if (c->nmsgs)
		conn_update(c);
	return 0;
}

/* ---- host to guest ---- */

/* The next packet of a message whose beginning the guest has. */
static ssize_t msg_give_tail(struct vsock_conn *c, struct iobuf *b, size_t max, uint32_t *flags)
{
	struct vsock_msg *m = c->tail;
	size_t n = MIN(max, (size_t)(m->len - c->tail_off));

	if (iobuf_push(b, m->data + c->tail_off, n) < 0)
		return -EFAULT;
	c->tail_off += (uint32_t)n;
	if (c->tail_off == m->len) {
		*flags = VSOCK_SEQ_EOM;
		vmsg_drop_tail(c);
	}
	return (ssize_t)n;
}

void vmsg_drop_tail(struct vsock_conn *c)
{
	if (!c->tail)
		return;
	c->vs->msg_bytes -= c->tail->len;
	free(c->tail);
	c->tail = NULL;
}

int vmsg_keep_tail(struct vsock_conn *c, const uint8_t *p, size_t n)
{
	if (c->vs->msg_bytes + n > LIM_TSI_DGRAMS)
		return -ENOSPC;
	c->tail = malloc(sizeof(*c->tail) + n);
	if (!c->tail)
		return -ENOMEM;
	c->tail->len = (uint32_t)n;
	memcpy(c->tail->data, p, n);
	c->tail_off = 0;
	c->vs->msg_bytes += n;
	return 0;
}

/* Bytes of the next message, which stays where it is. */
static ssize_t msg_len(struct vsock_conn *c)
{
	ssize_t n = recv(c->rd.fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

	/* sockets of ICMP echo know no MSG_TRUNC and tell what was copied */
	if (!n)
		n = recv(c->rd.fd, c->vs->tail, VSOCK_MSG_MAX, MSG_PEEK | MSG_DONTWAIT);
	return n < 0 ? -errno : n;
}

/* Whether the next message fits into the guest's credit. One that never will is thrown away. */
static int msg_fits(struct vsock_conn *c)
{
	uint32_t head = c->datagram ? VSOCK_DGRAM_HDR : 0, credit = conn_credit(c);
	ssize_t n;

	c->need = 0;
	if (credit >= VSOCK_MSG_MAX)
		return 0;
	n = msg_len(c);
	if (n < 0) {
		if (!c->datagram || n == -EAGAIN || n == -EINTR)
			return (int)n;
		/* an ICMP answer, and looking at it has taken it off */
		if (c->ops && c->ops->soft)
			c->ops->soft(c, (int)n);
		return -EAGAIN;
	}
	if ((size_t)n + head <= credit)
		return 0;
	if ((size_t)n + head <= c->peer_alloc) {
		c->need = (uint32_t)n + head;
		return -EAGAIN;
	}
	if (!c->datagram)
		return -EMSGSIZE;
	log_guest("vsock: a message of %zd bytes for a window of %u, dropped", n, c->peer_alloc);
	(void)recv(c->rd.fd, NULL, 0, MSG_DONTWAIT);
	return -EAGAIN;
}

static ssize_t msg_recv(struct vsock_conn *c, struct iobuf *b)
{
	struct iovec tail = { .iov_base = c->vs->tail, .iov_len = VSOCK_MSG_MAX };
	struct msghdr m = { 0 };
	ssize_t r;

	if (c->ops && c->ops->recv)
		return c->ops->recv(c, b, c->vs->tail);
	r = iobuf_recvmsg(b, c->rd.fd, &m, &tail, MSG_DONTWAIT);
	if (r > 0 && (m.msg_flags & MSG_TRUNC))
		return -EMSGSIZE;
	return r == -EINTR ? -EAGAIN : r;
}

ssize_t vmsg_give(struct vsock_conn *c, struct iobuf *b, size_t max, uint32_t *flags)
{
	size_t room = b->left;
	ssize_t r;

	if (c->tail)
		return msg_give_tail(c, b, max, flags);
	r = msg_fits(c);
	if (r == 0)
		r = msg_recv(c, b);
	if (r <= 0)
		return r;
	if ((size_t)r <= room) {
		*flags = VSOCK_SEQ_EOM;
		return r;
	}
	if (!vmsg_keep_tail(c, c->vs->tail, (size_t)r - room))
		return (ssize_t)room;
	/* no room for its rest: nothing of it was given yet. A datagram may be lost. */
	if (!c->datagram)
		conn_fail(c, -ENOSPC);
	return -EAGAIN;
}
