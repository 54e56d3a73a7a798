// SPDX-License-Identifier: Apache-2.0
// vsock: save, load, and giving loaded streams their fds again.
/*
 * How it works
 *
 * A named stream (id != 0) is saved with its ports, credits and the bytes that it holds: what it
 * has read is in guest memory already, what it has not read is still in the host's pipe. Of the
 * others only the ports are, for the RST that they get after load. What is loaded is treated as
 * hostile: it may come from a file. A connection is read into a record that is in no list, and only
 * conn_sane() lets it in: counters that disagree would be credit that was never granted.
 *
 * A loaded stream is lost until vsock_reattach() names its id and gives it fds, before the VM runs;
 * what is still lost then is reset.
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/vsock_tsi.h"
#include "util/save.h"

#define VSOCK_SAVE_TAG	   SAVE_TAG('V', 'S', 'C', 'K')
#define VSOCK_SAVE_VERSION 2

#define CONN_RD_DONE 1
#define CONN_WR_DONE 2

void conn_save(const struct vsock_conn *c, struct save_out *s)
{
	save_u32(s, c->id);
	save_u32(s, c->gport);
	save_u32(s, c->hport);
	save_u8(s, (uint8_t)c->state);
	save_u8(s, c->shut_sent);
	save_u8(s, c->shut_seen);
	save_u8(s, (uint8_t)((c->rd_done ? CONN_RD_DONE : 0) | (c->wr_done ? CONN_WR_DONE : 0)));
	save_u32(s, c->ctl);
	save_blob(s, c->hdr, c->hdr_len);
	save_u32(s, c->hdr_off);
	save_u32(s, c->peer_alloc);
	save_u32(s, c->peer_fwd);
	save_u32(s, c->tx_cnt);
	save_u32(s, c->alloc);
	save_u32(s, c->rx_cnt);
	save_u32(s, c->fwd_cnt);
	save_u32(s, c->told);
	hostbuf_save(&c->out, s);
}

/* Neither saved nor told: TSI knows what becomes of it. */
static bool is_tsi(const struct vsock_conn *c)
{
	return c->ops == &tsi_ctl_ops ||
		(c->arg && (c->ops == &tsi_stream_ops || c->ops == &tsi_dgram_ops));
}

/* Its end is told after load. */
static bool wants_rst(const struct vsock_conn *c)
{
	return !c->id && c->hashed && c->state != VSOCK_PARKED && c->type != VSOCK_TYPE_DGRAM &&
		!is_tsi(c);
}

static void save_rst(struct save_out *s, uint8_t type, uint32_t gport, uint32_t hport)
{
	save_u8(s, type);
	save_u32(s, gport);
	save_u32(s, hport);
}

void vsock_save(struct vdev *v, struct save_out *s)
{
	struct vsock *vs = vsock_of(v);
	size_t at = save_begin(s, VSOCK_SAVE_TAG, VSOCK_SAVE_VERSION);
	struct vsock_conn *c;
	uint32_t named = 0, rst = vs->rst_n;

	vsock_inbox(vs);
	TAILQ_FOREACH(c, &vs->all, all)
	{
		named += c->id != 0;
		rst += wants_rst(c);
	}
	save_u64(s, vs->cfg.guest_cid);
	save_u32(s, vs->next_port);
	save_u8(s, vs->knocked);
	save_u32(s, rst);
	for (unsigned i = 0; i < vs->rst_n; i++) {
		const struct vsock_rst *r = &vs->rst[(vs->rst_head + i) % LIM_VSOCK_CTRL];

		save_rst(s, r->type, r->gport, r->hport);
	}
	TAILQ_FOREACH(c, &vs->all, all)
	{
		if (wants_rst(c))
			save_rst(s, c->type, c->gport, c->hport);
	}
	save_u32(s, named);
	TAILQ_FOREACH(c, &vs->all, all)
	{
		if (c->id)
			conn_save(c, s);
	}
	save_u8(s, vs->tsi != NULL);
	if (vs->tsi)
		tsi_save(vs->tsi, s);
	save_end(s, at);
}

bool conn_counts(const struct vsock_conn *c, uint32_t held)
{
	return c->hdr_off <= c->hdr_len && c->rx_cnt - c->told <= c->alloc &&
		c->rx_cnt - c->fwd_cnt == held && c->fwd_cnt - c->told <= c->alloc &&
		!((c->shut_sent | c->shut_seen) & ~VSOCK_SHUT_BOTH);
}

/* The counters and flags agree with each other, and the window is one that we could have granted.
 */
static bool conn_sane(const struct vsock_conn *c)
{
	const struct vsock *vs = c->vs;
	uint64_t floors = (uint64_t)(LIM_VSOCK_CONNS - vs->nall - 1) * VSOCK_ALLOC_MIN;

	return c->id && c->state <= VSOCK_DRAIN && conn_counts(c, c->out.len) &&
		!(c->shut_seen == VSOCK_SHUT_BOTH && c->state != VSOCK_DRAIN) &&
		!(c->ctl & ~(uint32_t)VSOCK_CTL_ALL) &&
		!(c->ctl && c->state != VSOCK_REQUESTED && c->state != VSOCK_ESTABLISHED) &&
		c->hport >= VSOCK_PORT_FIRST && c->hport <= VSOCK_PORT_LAST &&
		c->alloc >= VSOCK_ALLOC_MIN && c->alloc <= LIM_VSOCK_CONN_BUF &&
		vs->reserved + c->alloc + floors <= LIM_VSOCK_BUF && !(c->wr_done && c->out.len) &&
		!(c->state == VSOCK_DRAIN && !c->out.len);
}

void conn_load(struct vsock_conn *c, struct save_in *s)
{
	const uint8_t *hdr;
	size_t hdr_len;
	uint8_t done;

	c->id = load_u32(s);
	c->gport = load_u32(s);
	c->hport = load_u32(s);
	c->state = load_u8(s);
	c->shut_sent = load_u8(s);
	c->shut_seen = load_u8(s);
	done = load_u8(s);
	c->rd_done = done & CONN_RD_DONE;
	c->wr_done = done & CONN_WR_DONE;
	c->ctl = load_u32(s);
	hdr = load_blob(s, VSOCK_HDR_MAX, &hdr_len);
	if (hdr)
		memcpy(c->hdr, hdr, hdr_len);
	c->hdr_len = (uint32_t)hdr_len;
	c->hdr_off = load_u32(s);
	c->peer_alloc = load_u32(s);
	c->peer_fwd = load_u32(s);
	c->tx_cnt = load_u32(s);
	c->alloc = load_u32(s);
	c->rx_cnt = load_u32(s);
	c->fwd_cnt = load_u32(s);
	c->told = load_u32(s);
	if (!s->err && (c->alloc < VSOCK_ALLOC_MIN || c->alloc > LIM_VSOCK_CONN_BUF))
		s->err = -EINVAL;
	hostbuf_load(&c->out, c->alloc, s);
	(void)__atomic_add_fetch(&c->vs->pending, c->out.len, __ATOMIC_RELAXED);
}

/* A named one: into the table, lost. */
static void load_named(struct vsock_conn *c, struct save_in *s)
{
	uint32_t ctl;

	conn_load(c, s);
	ctl = c->ctl;
	c->lost = true;
	if (!s->err && (!conn_sane(c) || conn_find(c->vs, c->gport, c->hport)))
		s->err = -EINVAL;
	c->ctl = 0;
	if (s->err)
		return;
	conn_enter(c);
	if (ctl)
		conn_owe(c, ctl);
}

/* What a reset would have ended, only a device that runs can have: nothing would end it. */
static bool idle_sane(const struct vsock *vs)
{
	const struct vsock_conn *c;

	TAILQ_FOREACH(c, &vs->all, all)
	{
		if (c->state == VSOCK_REQUESTED || c->state == VSOCK_ESTABLISHED)
			return false;
	}
	return !vs->rst_n && !vs->knocked;
}

int vsock_load(struct vdev *v, struct save_in *in)
{
	struct vsock *vs = vsock_of(v);
	struct save_in s;
	uint32_t n;

	if (load_section(in, VSOCK_SAVE_TAG, VSOCK_SAVE_VERSION, &s) != VSOCK_SAVE_VERSION)
		return in->err ? in->err : -EINVAL;
	if (load_u64(&s) != vs->cfg.guest_cid ||
		(v->running && !(v->vq[VSOCK_RX].ready && v->vq[VSOCK_TX].ready)))
		s.err = -EINVAL;
	vs->next_port = load_u32(&s);
	vs->knocked = load_u8(&s);
	n = load_u32(&s);
	if (n > LIM_VSOCK_CTRL + LIM_VSOCK_CONNS || vs->next_port < VSOCK_PORT_FIRST ||
		vs->next_port > VSOCK_PORT_LAST)
		s.err = -EINVAL;
	while (!s.err && n--) {
		uint8_t type = load_u8(&s);
		uint32_t gport = load_u32(&s);

		if (type != VSOCK_TYPE_STREAM && type != VSOCK_TYPE_SEQPACKET)
			s.err = -EINVAL;
		vsock_send_rst(vs, type, gport, load_u32(&s));
	}
	n = load_u32(&s);
	if (n > LIM_VSOCK_CONNS)
		s.err = -EINVAL;
	while (!s.err && n--) {
		struct vsock_conn *c = conn_new(vs, 0, -1, -1);

		if (!c)
			return -ENOMEM;
		load_named(c, &s);
		if (s.err)
			conn_free(c);
	}
	/* whether there is TSI is part of the config, which must be the same */
	if (load_u8(&s) != (vs->tsi != NULL) && !s.err)
		s.err = -EINVAL;
	if (!s.err && vs->tsi)
		s.err = tsi_load(vs->tsi, &s);
	if (!s.err && !v->running && !idle_sane(vs))
		s.err = -EINVAL;
	vs->loaded = true;
	return load_done(&s);
}

int vsock_reattach(struct vdev *v, uint32_t id, int rfd, int wfd)
{
	struct vsock *vs = vsock_of(v);
	struct vsock_conn *c;

	TAILQ_FOREACH(c, &vs->all, all)
	{
		if (c->lost && c->id == id)
			break;
	}
	if (!c) {
		if (rfd >= 0)
			(void)close(rfd);
		if (wfd >= 0 && wfd != rfd)
			(void)close(wfd);
		return -ENOENT;
	}
	conn_attach(c, rfd, wfd);
	c->lost = false;
	if (c->rd_done && !c->same)
		hostfd_close(&c->rd);
	if (c->wr_done && !c->same)
		hostfd_close(&c->wr);
	if (c->same && c->rd_done && c->wr_done)
		hostfd_close(&c->rd);
	if (c->same && c->wr_done)
		hostfd_shutdown(&c->rd, SHUT_WR);
	/* whoever loads a VM learns what had ended before it was saved */
	if (c->wr_done)
		conn_report(c, c->shut_seen & VSOCK_SHUT_SEND ? 0 : -EPIPE);
	return 0;
}
