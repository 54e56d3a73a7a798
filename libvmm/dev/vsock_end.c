// SPDX-License-Identifier: Apache-2.0
// vsock connections: what is watched of their fds, what is owed to the guest, and how each
// direction begins and ends.
//
// How it works
//
// A connection splices two independent directions. Reading stops at the host's end of file
// (SHUTDOWN(SEND) to the guest) or when the guest receives no more; writing stops when the host's
// reader is gone (SHUTDOWN(RCV), so that the guest's writer gets EPIPE) or when the guest sends no
// more and what is held has been written. When the guest has ended both it gets the RST that its
// stack waits for, at once; bytes that are still held then go on to the host's reader without it
// (DRAIN). Where an error of the fd has to be told in another way (TSI), the connection's ops get
// it, later and from the loop, because most places that find one may not free it. One that a write
// meets is told when everything that the peer had sent before has been read: natively a send()
// fails and recv() still returns the answer that explains why.
//
// conn_update() is the one place that decides what is watched. Nothing is watched that could fire
// without being consumed: no credit, no receive buffer, a pause, all mean that the fd leaves the
// loop.

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "dev/rekick.h"
#include "dev/vsock.h"
#include "util/err.h"
#include "util/log.h"

/* ---- what is watched, what is owed ---- */

uint32_t conn_credit(const struct vsock_conn *c)
{
	uint32_t out = c->tx_cnt - c->peer_fwd;

	/* A forged peer_fwd wraps to a huge number in flight: no credit. */
	return out < c->peer_alloc ? c->peer_alloc - out : 0;
}

static bool conn_wants_read(const struct vsock_conn *c)
{
	return vsock_live(c->vs) && c->state == VSOCK_ESTABLISHED && !c->lost && !c->waits &&
		!c->rd_done && !c->on_ready && conn_credit(c) >= MAX(c->need, 1U);
}

void conn_update(struct vsock_conn *c)
{
	uint32_t in = conn_wants_read(c) ? EPOLLIN : 0;
	uint32_t out = !c->vs->paused && !c->lost && conn_held(c) ? EPOLLOUT : 0;
	int ret = 0, wret = 0;

	if (!hostfd_is_open(&c->rd) && !hostfd_is_open(&c->wr))
		return;
	if (c->same) {
		ret = wret = hostfd_watch(&c->rd, in | out);
	} else {
		if (hostfd_is_open(&c->rd))
			ret = hostfd_watch(&c->rd, in);
		if (hostfd_is_open(&c->wr))
			wret = hostfd_watch(&c->wr, out);
	}
	if (in && ret == -EPERM) {
		conn_ready(c);
		rekick(&c->vs->v, VSOCK_RX);
	} else if (in && ret < 0) {
		log_warn("vsock: watching a stream's input: %s", err_text(ret));
		conn_rd_eof(c);
	}
	if (out && wret < 0) {
		log_warn("vsock: watching a stream's output: %s", err_text(wret));
		conn_wr_dead(c);
	}
}

void conn_ready(struct vsock_conn *c)
{
	if (c->on_ready)
		return;
	TAILQ_INSERT_TAIL(&c->vs->ready, c, ready);
	c->on_ready = true;
	c->turn = VSOCK_TURN;
}

void conn_unready(struct vsock_conn *c)
{
	if (!c->on_ready)
		return;
	TAILQ_REMOVE(&c->vs->ready, c, ready);
	c->on_ready = false;
}

void conn_owe(struct vsock_conn *c, uint32_t ctl)
{
	c->ctl |= ctl;
	if (c->on_ctl)
		return;
	TAILQ_INSERT_TAIL(&c->vs->ctl, c, ctl_link);
	c->on_ctl = true;
}

/*
 * Half the window is news enough, unless the guest waits for less: a datagram's sender for room for
 * the whole of it, and the sender of a message that has begun for room for its rest, which is not
 * forwarded before it is whole.
 */
static bool credit_due(const struct vsock_conn *c)
{
	uint32_t news = c->fwd_cnt - c->told, room = c->alloc - (c->rx_cnt - c->told);

	if (c->type != VSOCK_TYPE_SEQPACKET || !news)
		return news >= c->alloc / 2;
	return news >= c->alloc / 2 || (c->datagram && room < VSOCK_MSG_MAX) ||
		(c->partial && !room);
}

void conn_forward(struct vsock_conn *c, uint32_t n)
{
	c->fwd_cnt += n;
	if (c->state == VSOCK_ESTABLISHED && !(c->shut_seen & VSOCK_SHUT_SEND) && credit_due(c))
		conn_owe(c, VSOCK_CTL_CREDIT);
}

void vsock_send_rst(struct vsock *vs, uint8_t type, uint32_t gport, uint32_t hport)
{
	if (vsock_rst_full(vs))
		return;
	vs->rst[(vs->rst_head + vs->rst_n++) % LIM_VSOCK_CTRL] =
		(struct vsock_rst){ gport, hport, type };
}

/* ---- begin and end ---- */

void conn_request(struct vsock_conn *c)
{
	c->state = VSOCK_REQUESTED;
	conn_owe(c, VSOCK_CTL_REQUEST);
}

void conn_established(struct vsock_conn *c)
{
	c->state = VSOCK_ESTABLISHED;
	if (c->ops && c->ops->up)
		c->ops->up(c);
	if (c->waits)
		return;
	if (!hostfd_is_open(conn_wr(c)))
		conn_wr_dead(c);
	conn_ready(c);
}

void conn_begin(struct vsock_conn *c, int fd)
{
	conn_attach(c, fd, fd);
	c->waits = false;
	if (c->state != VSOCK_ESTABLISHED)
		return;
	/* what a guest may have shut before there was anything to shut */
	if (c->shut_seen & VSOCK_SHUT_SEND)
		conn_guest_shut(c, c->shut_seen);
	/* whoever called this ends with vsock_rx_run() */
	if (!c->rd_done)
		conn_ready(c);
}

void conn_fail(struct vsock_conn *c, int error)
{
	if (c->on_fail || c->state == VSOCK_DRAIN)
		return;
	c->error = error;
	c->rd_done = true;
	conn_unready(c);
	conn_drop_out(c);
	c->on_fail = true;
	TAILQ_INSERT_TAIL(&c->vs->fail, c, fail);
	conn_update(c);
	rekick(&c->vs->v, VSOCK_RX);
}

void conn_wr_fail(struct vsock_conn *c, int error)
{
	if (c->rd_done) {
		conn_fail(c, error);
		return;
	}
	c->error = error;
	conn_forward(c, c->out.len);
	conn_drop_out(c);
	/* whoever called this ends with vsock_rx_run() */
	conn_ready(c);
	conn_update(c);
}

void vsock_failed(struct vsock *vs)
{
	struct vsock_conn *c;

	while ((c = TAILQ_FIRST(&vs->fail))) {
		TAILQ_REMOVE(&vs->fail, c, fail);
		c->on_fail = false;
		if (c->ops && c->ops->failed)
			c->ops->failed(c, c->error);
		else
			conn_reset(c);
	}
}

/* The fd that is both goes when both directions are done. */
static void conn_close_same(struct vsock_conn *c)
{
	if (c->same && !c->keep && c->rd_done && c->wr_done)
		hostfd_close(&c->rd);
}

static void conn_rd_close(struct vsock_conn *c)
{
	c->rd_done = true;
	conn_unready(c);
	vmsg_drop_tail(c);
	if (!c->same)
		hostfd_close(&c->rd);
	conn_close_same(c);
}

static void conn_wr_close(struct vsock_conn *c, int error)
{
	c->wr_done = true;
	if (c->same)
		hostfd_shutdown(&c->rd, SHUT_WR);
	else
		hostfd_close(&c->wr);
	conn_close_same(c);
	conn_report(c, error);
}

void conn_rd_none(struct vsock_conn *c)
{
	conn_rd_close(c);
	conn_update(c);
}

void conn_rd_eof(struct vsock_conn *c)
{
	conn_rd_close(c);
	c->shut_sent |= VSOCK_SHUT_SEND;
	conn_owe(c, VSOCK_CTL_SHUTDOWN);
	conn_update(c);
}

void conn_wr_dead(struct vsock_conn *c)
{
	conn_forward(c, c->out.len);
	conn_drop_out(c);
	conn_wr_close(c, -EPIPE);
	if (c->state == VSOCK_ESTABLISHED && !(c->shut_seen & VSOCK_SHUT_SEND)) {
		c->shut_sent |= VSOCK_SHUT_RCV;
		conn_owe(c, VSOCK_CTL_SHUTDOWN);
	}
	conn_update(c);
}

/*
 * A stream out of the guest that has been written to its end: there is nothing that the host could
 * still send, and the guest, which was never told so, waits for its side to be closed.
 */
static bool conn_over(const struct vsock_conn *c)
{
	return c->state == VSOCK_ESTABLISHED && !c->ops && !c->same && c->rd_done && c->wr_done &&
		(c->shut_seen & VSOCK_SHUT_SEND);
}

void conn_guest_shut(struct vsock_conn *c, uint8_t flags)
{
	c->shut_seen |= flags & VSOCK_SHUT_BOTH;
	if (c->shut_seen == VSOCK_SHUT_BOTH) {
		conn_reset(c);
		return;
	}
	if (c->waits)
		return;
	if ((c->shut_seen & VSOCK_SHUT_RCV) && !c->rd_done) {
		/* Whoever feeds the stream sees EPIPE, as with a pipe whose reader went away. */
		if (c->same)
			hostfd_shutdown(&c->rd, SHUT_RD);
		conn_rd_close(c);
		if (c->error)
			conn_fail(c, c->error);
	}
	if ((c->shut_seen & VSOCK_SHUT_SEND) && !c->wr_done && !conn_held(c))
		conn_wr_close(c, 0);
	if (conn_over(c))
		conn_reset(c);
	else
		conn_update(c);
}

void conn_detach(struct vsock_conn *c)
{
	conn_unlink(c);
	c->state = VSOCK_DRAIN;
	conn_rd_close(c);
	conn_update(c);
	if (!conn_held(c) || !hostfd_is_open(conn_wr(c)))
		conn_free(c);
}

void conn_reset(struct vsock_conn *c)
{
	if (c->type != VSOCK_TYPE_DGRAM)
		vsock_send_rst(c->vs, c->type, c->gport, c->hport);
	conn_detach(c);
}

void conn_drain(struct vsock_conn *c)
{
	uint32_t before = c->out.len;
	ssize_t r = c->type == VSOCK_TYPE_SEQPACKET ? vmsg_drain(c)
						    : hostbuf_drain(&c->out, conn_wr(c));
	uint32_t gone = before - c->out.len;

	(void)__atomic_sub_fetch(&c->vs->pending, gone, __ATOMIC_RELAXED);
	conn_forward(c, gone);
	if (r < 0 && r != -EAGAIN) {
		if (c->state != VSOCK_DRAIN && c->ops && c->ops->failed) {
			if (c->type == VSOCK_TYPE_STREAM)
				conn_wr_fail(c, (int)r);
			else
				conn_fail(c, (int)r);
			return;
		}
		conn_wr_dead(c);
	} else if (!conn_held(c) && (c->shut_seen & VSOCK_SHUT_SEND) && !c->wr_done) {
		conn_wr_close(c, 0);
		if (conn_over(c)) {
			rekick(&c->vs->v, VSOCK_RX);
			conn_reset(c);
			return;
		}
	}
	if (!conn_held(c) && c->state == VSOCK_DRAIN)
		conn_free(c);
	else
		conn_update(c);
}
