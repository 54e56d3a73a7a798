// SPDX-License-Identifier: Apache-2.0
// vsock connections: the table, the fds on the host's side, and how each direction ends.
//
// How it works
//
// A connection splices two independent directions. Reading stops at the host's end of file
// (SHUTDOWN(SEND) to the guest) or when the guest receives no more; writing stops when the host's
// reader is gone (SHUTDOWN(RCV), so that the guest's writer gets EPIPE) or when the guest sends no
// more and what is held has been written. When the guest has ended both it gets the RST that its
// stack waits for, at once; bytes that are still held then go on to the host's reader without it
// (DRAIN).
//
// Credit is memory promised: each connection reserves its window from LIM_VSOCK_BUF when it enters,
// generous while there are few and never less than VSOCK_ALLOC_MIN, and it does not change, because
// a driver may not survive a window that shrinks.
//
// conn_update() is the one place that decides what is watched. Nothing is watched that could fire
// without being consumed: no credit, no receive buffer, a pause, all mean that the fd leaves the
// loop.

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/rekick.h"
#include "dev/vsock.h"
#include "util/err.h"
#include "util/log.h"

/* ---- table ---- */

static struct vsock_bucket *conn_bucket(struct vsock *vs, uint32_t gport, uint32_t hport)
{
	return &vs->table[((gport * 0x9e3779b1U) ^ (hport * 0x85ebca6bU)) >> 24 & (VSOCK_HASH - 1)];
}

struct vsock_conn *conn_find(struct vsock *vs, uint32_t gport, uint32_t hport)
{
	struct vsock_conn *c;

	LIST_FOREACH(c, conn_bucket(vs, gport, hport), hash)
	{
		if (c->gport == gport && c->hport == hport)
			return c;
	}
	return NULL;
}

static bool port_used(struct vsock *vs, uint32_t hport)
{
	struct vsock_conn *c;

	TAILQ_FOREACH(c, &vs->all, all)
	{
		if (c->hport == hport)
			return true;
	}
	return false;
}

uint32_t conn_port(struct vsock *vs)
{
	uint32_t p;

	do {
		p = vs->next_port++;
		if (vs->next_port > VSOCK_PORT_LAST)
			vs->next_port = VSOCK_PORT_FIRST;
	} while (p == vs->cfg.knock_port || port_used(vs, p));
	return p;
}

/* What the next connection may hold, such that all that can still come get VSOCK_ALLOC_MIN. */
static uint32_t conn_grant(const struct vsock *vs)
{
	uint64_t floors = (uint64_t)(LIM_VSOCK_CONNS - vs->nall) * VSOCK_ALLOC_MIN;
	uint64_t spare = LIM_VSOCK_BUF - vs->reserved - floors;

	return VSOCK_ALLOC_MIN +
		(uint32_t)MIN(spare / 8, (uint64_t)LIM_VSOCK_CONN_BUF - VSOCK_ALLOC_MIN);
}

static void conn_event(struct loop_src *src, uint32_t events)
{
	struct vsock_conn *c = src->arg;
	struct vsock *vs = c->vs;
	bool reads = src == &c->rd.src, writes = src == &conn_wr(c)->src;

	if (reads && (c->rd.events & EPOLLIN) && events & ~(uint32_t)EPOLLOUT) {
		conn_ready(c);
		vsock_rx_run(vs);
	}
	conn_update(c);
	/* Last: it may free the connection. */
	if (writes && c->out.len && events & ~(uint32_t)EPOLLIN) {
		conn_drain(c);
		vsock_rx_run(vs);
	}
}

void conn_attach(struct vsock_conn *c, int rfd, int wfd)
{
	struct loop *l = c->vs->v.loop;

	c->same = rfd >= 0 && rfd == wfd;
	hostfd_open(&c->rd, rfd);
	hostfd_open(&c->wr, c->same ? -1 : wfd);
	hostfd_bind(&c->rd, l, "vsock in", conn_event, c);
	hostfd_bind(&c->wr, l, "vsock out", conn_event, c);
}

struct vsock_conn *conn_new(struct vsock *vs, uint32_t gport, int rfd, int wfd)
{
	struct vsock_conn *c = calloc(1, sizeof(*c));

	if (!c) {
		if (rfd >= 0)
			(void)close(rfd);
		if (wfd >= 0 && wfd != rfd)
			(void)close(wfd);
		return NULL;
	}
	c->vs = vs;
	c->gport = gport;
	conn_attach(c, rfd, wfd);
	(void)__atomic_add_fetch(&vs->nconns, 1, __ATOMIC_RELAXED);
	return c;
}

void conn_enter(struct vsock_conn *c)
{
	struct vsock *vs = c->vs;

	if (!c->alloc)
		c->alloc = conn_grant(vs);
	vs->reserved += c->alloc;
	vs->nall++;
	TAILQ_INSERT_TAIL(&vs->all, c, all);
	c->entered = true;
	if (c->state != VSOCK_DRAIN) {
		LIST_INSERT_HEAD(conn_bucket(vs, c->gport, c->hport), c, hash);
		c->hashed = true;
	}
}

/* Out of everything that concerns the guest. */
static void conn_unlink(struct vsock_conn *c)
{
	if (c->hashed)
		LIST_REMOVE(c, hash);
	if (c->on_ctl)
		TAILQ_REMOVE(&c->vs->ctl, c, ctl_link);
	if (c->on_ready)
		TAILQ_REMOVE(&c->vs->ready, c, ready);
	c->hashed = c->on_ctl = c->on_ready = false;
	c->ctl = 0;
}

static void conn_drop_out(struct vsock_conn *c)
{
	(void)__atomic_sub_fetch(&c->vs->pending, c->out.len, __ATOMIC_RELAXED);
	hostbuf_drop(&c->out);
}

void conn_report(struct vsock_conn *c, int error)
{
	struct vsock_done d = { .id = c->id, .error = error };

	if (!c->id || c->reported || c->vs->cfg.done_fd <= 0)
		return;
	c->reported = true;
	if (write(c->vs->cfg.done_fd, &d, sizeof(d)) != (ssize_t)sizeof(d))
		log_err("vsock: the end of stream %u could not be reported", c->id);
}

void conn_free(struct vsock_conn *c)
{
	struct vsock *vs = c->vs;

	conn_report(c, -EPIPE);
	conn_unlink(c);
	conn_drop_out(c);
	if (c->entered) {
		TAILQ_REMOVE(&vs->all, c, all);
		vs->nall--;
		vs->reserved -= c->alloc;
	}
	hostfd_close(&c->rd);
	hostfd_close(&c->wr);
	free(c);
	(void)__atomic_sub_fetch(&vs->nconns, 1, __ATOMIC_RELAXED);
}

/* ---- what is watched, what is owed ---- */

uint32_t conn_credit(const struct vsock_conn *c)
{
	uint32_t out = c->tx_cnt - c->peer_fwd;

	/* A forged peer_fwd wraps to a huge number in flight: no credit. */
	return out < c->peer_alloc ? c->peer_alloc - out : 0;
}

static bool conn_wants_read(const struct vsock_conn *c)
{
	return vsock_live(c->vs) && c->state == VSOCK_ESTABLISHED && !c->lost && !c->rd_done &&
		!c->on_ready && conn_credit(c) > 0;
}

void conn_update(struct vsock_conn *c)
{
	uint32_t in = conn_wants_read(c) ? EPOLLIN : 0;
	uint32_t out = !c->vs->paused && !c->lost && c->out.len ? EPOLLOUT : 0;
	int ret = 0, wret = 0;

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

void conn_forward(struct vsock_conn *c, uint32_t n)
{
	c->fwd_cnt += n;
	if (c->state == VSOCK_ESTABLISHED && !(c->shut_seen & VSOCK_SHUT_SEND) &&
		c->fwd_cnt - c->told >= c->alloc / 2)
		conn_owe(c, VSOCK_CTL_CREDIT);
}

void vsock_send_rst(struct vsock *vs, uint32_t gport, uint32_t hport)
{
	if (vsock_rst_full(vs))
		return;
	vs->rst[(vs->rst_head + vs->rst_n++) % LIM_VSOCK_CTRL] = (struct vsock_rst){ gport, hport };
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
	if (!hostfd_is_open(conn_wr(c)))
		conn_wr_dead(c);
	conn_ready(c);
}

/* The fd that is both goes when both directions are done. */
static void conn_close_same(struct vsock_conn *c)
{
	if (c->same && c->rd_done && c->wr_done)
		hostfd_close(&c->rd);
}

static void conn_rd_close(struct vsock_conn *c)
{
	c->rd_done = true;
	conn_unready(c);
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

void conn_guest_shut(struct vsock_conn *c, uint8_t flags)
{
	c->shut_seen |= flags & VSOCK_SHUT_BOTH;
	if (c->shut_seen == VSOCK_SHUT_BOTH) {
		conn_reset(c);
		return;
	}
	if ((c->shut_seen & VSOCK_SHUT_RCV) && !c->rd_done) {
		/* Whoever feeds the stream sees EPIPE, as with a pipe whose reader went away. */
		if (c->same)
			hostfd_shutdown(&c->rd, SHUT_RD);
		conn_rd_close(c);
	}
	if ((c->shut_seen & VSOCK_SHUT_SEND) && !c->wr_done && !c->out.len)
		conn_wr_close(c, 0);
	conn_update(c);
}

void conn_detach(struct vsock_conn *c)
{
	conn_unlink(c);
	c->state = VSOCK_DRAIN;
	conn_rd_close(c);
	conn_update(c);
	if (!c->out.len)
		conn_free(c);
}

void conn_reset(struct vsock_conn *c)
{
	vsock_send_rst(c->vs, c->gport, c->hport);
	conn_detach(c);
}

void conn_drain(struct vsock_conn *c)
{
	uint32_t before = c->out.len;
	ssize_t r = hostbuf_drain(&c->out, conn_wr(c));
	uint32_t gone = before - c->out.len;

	(void)__atomic_sub_fetch(&c->vs->pending, gone, __ATOMIC_RELAXED);
	conn_forward(c, gone);
	if (r < 0 && r != -EAGAIN)
		conn_wr_dead(c);
	else if (!c->out.len && (c->shut_seen & VSOCK_SHUT_SEND) && !c->wr_done)
		conn_wr_close(c, 0);
	if (!c->out.len && c->state == VSOCK_DRAIN)
		conn_free(c);
	else
		conn_update(c);
}
