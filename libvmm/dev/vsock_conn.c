// SPDX-License-Identifier: Apache-2.0
// vsock connections: the table, their ports, their credit, making and freeing them.
//
// How it works
//
// Credit is memory promised: each connection reserves its window from LIM_VSOCK_BUF when it enters,
// generous while there are few and never less than VSOCK_ALLOC_MIN, and it does not change, because
// a driver may not survive a window that shrinks. Datagram connections are the exception: their
// window is one that the largest datagram fits into, and what they hold together is bounded by
// LIM_TSI_DGRAMS, beyond which it is dropped.
//
// Of the LIM_VSOCK_CONNS those that the guest opens, or that come for it from outside, get
// LIM_VSOCK_GUEST: what the runtime itself connects to the agent always finds room.

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dev/rekick.h"
#include "dev/vsock.h"
#include "util/log.h"

/* ---- table ---- */

static struct vsock_bucket *conn_bucket(struct vsock *vs, uint32_t gport, uint32_t hport)
{
	return &vs->table[((gport * 0x9e3779b1U) ^ (hport * 0x85ebca6bU)) >> 23 & (VSOCK_HASH - 1)];
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
	/* vsock_connect() counts before the inbox is taken in: they may be a few more */
	uint64_t left = LIM_VSOCK_CONNS - MIN(vs->nall, (unsigned)LIM_VSOCK_CONNS);
	uint64_t taken = vs->reserved + left * VSOCK_ALLOC_MIN;
	uint64_t spare = taken < LIM_VSOCK_BUF ? LIM_VSOCK_BUF - taken : 0;

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
	if (writes && conn_held(c) && events & ~(uint32_t)EPOLLIN) {
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
	c->type = VSOCK_TYPE_STREAM;
	STAILQ_INIT(&c->msgs);
	conn_attach(c, rfd, wfd);
	(void)__atomic_add_fetch(&vs->nconns, 1, __ATOMIC_RELAXED);
	return c;
}

void conn_enter(struct vsock_conn *c)
{
	struct vsock *vs = c->vs;

	if (!c->alloc)
		c->alloc = c->datagram ? VSOCK_MSG_ALLOC : conn_grant(vs);
	if (!c->datagram)
		vs->reserved += c->alloc;
	vs->nall++;
	vs->nguest += c->guest;
	TAILQ_INSERT_TAIL(&vs->all, c, all);
	c->entered = true;
	if (c->state != VSOCK_DRAIN) {
		LIST_INSERT_HEAD(conn_bucket(vs, c->gport, c->hport), c, hash);
		c->hashed = true;
	}
}

struct vsock_conn *conn_accept(struct vsock *vs, const struct vsock_hdr *h)
{
	struct vsock_conn *c;

	if (!vsock_has_room(vs)) {
		log_guest("vsock: over %u connections of the guest", LIM_VSOCK_GUEST);
		return NULL;
	}
	c = conn_new(vs, h->src_port, -1, -1);
	if (!c)
		return NULL;
	c->hport = h->dst_port;
	c->type = (uint8_t)h->type;
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	c->state = VSOCK_ESTABLISHED;
	c->guest = c->waits = true;
	return c;
}

struct vsock_conn *conn_dial(struct vsock *vs, uint32_t gport)
{
	struct vsock_conn *c;

	if (!vsock_has_room(vs)) {
		log_guest("vsock: over %u connections of the guest", LIM_VSOCK_GUEST);
		return NULL;
	}
	c = conn_new(vs, gport, -1, -1);
	if (!c)
		return NULL;
	c->hport = conn_port(vs);
	c->guest = c->waits = true;
	return c;
}

void conn_unlink(struct vsock_conn *c)
{
	bool was = c->hashed;

	if (c->hashed)
		LIST_REMOVE(c, hash);
	if (c->on_ctl)
		TAILQ_REMOVE(&c->vs->ctl, c, ctl_link);
	if (c->on_ready)
		TAILQ_REMOVE(&c->vs->ready, c, ready);
	if (c->on_fail)
		TAILQ_REMOVE(&c->vs->fail, c, fail);
	c->hashed = c->on_ctl = c->on_ready = c->on_fail = false;
	c->ctl = 0;
	if (was && c->ops && c->ops->gone)
		c->ops->gone(c);
}

void conn_drop_out(struct vsock_conn *c)
{
	(void)__atomic_sub_fetch(&c->vs->pending, c->out.len, __ATOMIC_RELAXED);
	hostbuf_drop(&c->out);
	vmsg_drop(c);
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

void vsock_freed(struct vsock *vs)
{
	if (vs->listens_wait)
		rekick(&vs->v, VSOCK_RX);
	vs->listens_wait = false;
}

void conn_free(struct vsock_conn *c)
{
	struct vsock *vs = c->vs;

	/* ended with its last byte written, by a guest that ended the other direction as well */
	conn_report(c, (c->shut_seen & VSOCK_SHUT_SEND) && !conn_held(c) ? 0 : -EPIPE);
	conn_unlink(c);
	conn_drop_out(c);
	if (c->entered) {
		TAILQ_REMOVE(&vs->all, c, all);
		vs->nall--;
		vs->nguest -= c->guest;
		if (!c->datagram)
			vs->reserved -= c->alloc;
		vsock_freed(vs);
	}
	hostfd_close(&c->rd);
	hostfd_close(&c->wr);
	vmsg_drop_tail(c);
	free(c);
	(void)__atomic_sub_fetch(&vs->nconns, 1, __ATOMIC_RELAXED);
}
