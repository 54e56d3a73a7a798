// SPDX-License-Identifier: Apache-2.0
/* virtio-net: frames from the backend to the guest (virtio 1.2, section 5.1.6.3). */
/*
 * How it works
 *
 * Chains of the receive queue are taken ahead, until those in hand have room for the longest frame,
 * and lie one after the other in one vector. The backend receives straight into that; then it is
 * known how many chains the frame took, which goes into its header, and those go back to the
 * driver. Without mergeable buffers a frame has one chain.
 *
 * With less room the frame is received into memory of ours, and copied as soon as there are buffers
 * for it: no frame is lost because the driver is slow. Only one that can never fit, whatever the
 * driver has put into its ring, is dropped. With no buffer at all nothing is received.
 */
#include <errno.h>
#include <string.h>

#include "dev/net.h"
#include "dev/rekick.h"
#include "util/bytes.h"
#include "util/log.h"

static struct vq *queue(struct net_pair *p)
{
	return &p->n->v.vq[2 * p->i + NET_RX];
}

static bool mergeable(const struct net_pair *p)
{
	return vdev_has(&p->n->v, NET_F_MRG_RXBUF);
}

/* Takes a chain in hand: 1, 0: there is none or no place for it. */
static int take(struct net_pair *p)
{
	struct vq *q = queue(p);
	struct vq_req *req = &p->n->req;
	struct iobuf kept;
	int r = vq_pop(q, req);

	if (r <= 0)
		return r;
	/* the driver has to leave room for a header in each */
	if (req->wr.left < NET_HDR)
		return -EINVAL;
	r = iobuf_keep(&req->wr, &kept, p->iov + p->niov, NET_IOV - p->niov);
	if (r) {
		vq_unpop(q, req);
		p->full = true;
		return p->nchains ? 0 : r;
	}
	p->chain[p->nchains++] = (struct net_chain){
		.head = req->head, .niov = (uint16_t)kept.cnt, .len = (uint32_t)kept.left
	};
	p->niov += kept.cnt;
	p->room += kept.left;
	p->win = kept.win;
	return 1;
}

static int fill(struct net_pair *p)
{
	int r = 1;

	while (r == 1 && !p->full && (mergeable(p) ? p->room < NET_ROOM : !p->nchains))
		r = take(p);
	return MIN(r, 0);
}

/* Bytes that one frame may have, with its header. */
static size_t room(const struct net_pair *p)
{
	if (mergeable(p))
		return p->room;
	return p->nchains ? p->chain[0].len : 0;
}

/* The driver has no more to give than what is in hand. */
static bool at_most(const struct net_pair *p)
{
	return !mergeable(p) || p->full || p->nchains == p->n->v.vq[2 * p->i + NET_RX].size;
}

static struct iobuf cursor(struct net_pair *p)
{
	struct iobuf b;

	iobuf_init(&b, p->iov, mergeable(p) || !p->nchains ? p->niov : p->chain[0].niov);
	b.win = p->win;
	return b;
}

/* The header of the frame in front, which took @k chains. */
static int put_header(struct net_pair *p, unsigned k)
{
	uint8_t hdr[NET_HDR] = { 0 };
	struct iobuf b = cursor(p);

	put_le16(hdr + NET_HDR_NBUFS, (uint16_t)k);
	/* what the backend says of checksums is for those who asked */
	if (!p->be->ops->header || !vdev_has(&p->n->v, NET_F_GUEST_CSUM))
		return iobuf_push(&b, hdr, sizeof(hdr));
	return iobuf_skip(&b, NET_HDR_NBUFS) ? -EINVAL : iobuf_push(&b, hdr + NET_HDR_NBUFS, 2);
}

/* The frame in front, with its header @total bytes, is the driver's. */
static int give(struct net_pair *p, size_t total)
{
	size_t left = total;
	unsigned k = 0, niov = 0;
	int r;

	for (; left; k++) {
		size_t len = MIN(left, (size_t)p->chain[k].len);

		left -= len;
		niov += p->chain[k].niov;
		p->room -= p->chain[k].len;
		vq_push(queue(p), p->chain[k].head, (uint32_t)len);
	}
	r = put_header(p, k);
	p->nchains -= k;
	p->niov -= niov;
	p->full = false;
	memmove(p->chain, p->chain + k, p->nchains * sizeof(p->chain[0]));
	memmove(p->iov, p->iov + niov, p->niov * sizeof(p->iov[0]));
	return r;
}

/* Receives a frame into @to: its bytes with the header, 0 for one that nobody wants, or -errno. */
static ssize_t receive(struct net_pair *p, struct iobuf to)
{
	size_t skip = p->be->ops->header ? 0 : NET_HDR;
	struct iobuf at = to;
	uint8_t mac[6];
	ssize_t r;

	if (iobuf_skip(&at, skip))
		return -EINVAL;
	r = p->be->ops->recv(p->be, &at);
	if (r < 0)
		return r;
	r += (ssize_t)skip;
	if (r < NET_HDR + NET_FRAME_MIN || r >= NET_ROOM || iobuf_skip(&to, NET_HDR))
		return 0;
	/* the driver may change its copy under our eyes: then it gets what it asked for */
	if (iobuf_peek(&to, mac, sizeof(mac)) == sizeof(mac) && !net_ctl_wants(p->n, mac))
		return 0;
	return r;
}

static int receive_held(struct net_pair *p)
{
	struct iovec v = { p->held, NET_ROOM };
	struct iobuf b;
	ssize_t r;

	/* a header that the backend does not have is made when the frame is given */
	iobuf_init(&b, &v, 1);
	r = receive(p, b);
	p->nheld = r > 0 ? (size_t)r : 0;
	return (int)MIN(r, 0);
}

static int receive_here(struct net_pair *p)
{
	ssize_t r = receive(p, cursor(p));

	return r > 0 ? give(p, (size_t)r) : (int)r;
}

/* The frame that waits: 1: it has gone, 0: it goes on waiting. */
static int give_held(struct net_pair *p)
{
	struct iobuf b = cursor(p);
	int r = 0;

	if (room(p) >= p->nheld) {
		r = iobuf_push(&b, p->held, p->nheld);
		if (!r)
			r = give(p, p->nheld);
	} else if (p->nchains && at_most(p)) {
		log_guest("net: a frame of %zu bytes dropped: the driver's buffers are too small",
			p->nheld - NET_HDR);
	} else {
		return 0;
	}
	p->nheld = 0;
	return r ? r : 1;
}

/* 1: there may be more; 0: no buffers; -errno. */
static int one(struct net_pair *p)
{
	int r;

	if (p->nheld) {
		r = give_held(p);
		return r;
	}
	if (!room(p))
		return 0;
	if (!p->n->up)
		return -EAGAIN;
	r = room(p) >= NET_ROOM ? receive_here(p) : receive_held(p);
	return r ? r : 1;
}

bool net_rx(struct net_pair *p)
{
	struct net *n = p->n;
	unsigned q = 2 * p->i + NET_RX;
	bool bad = false;
	int r = 1;

	for (unsigned k = 0; r == 1 && k < NET_BATCH; k++) {
		bad = fill(p);
		if (bad)
			break;
		r = one(p);
	}
	/* what came before a bad chain is the driver's, and is not left half given */
	vdev_flush(&n->v, q);
	if (bad) {
		vdev_broken(&n->v, "a bad receive queue");
		return false;
	}
	p->starved = !r;
	if (r == 1)
		rekick(&n->v, q);
	else if (r == -EFAULT)
		vdev_broken(&n->v, "a receive buffer that is no memory");
	else if (r < 0 && r != -EAGAIN)
		net_down(n, r == -ENOTCONN ? 0 : r);
	net_watch(p);
	return r == -EAGAIN;
}

void net_rx_stop(struct net_pair *p)
{
	p->nchains = p->niov = 0;
	p->room = p->nheld = 0;
	p->full = p->starved = false;
}
