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

static bool mergeable(const struct net *n)
{
	return vdev_has(&n->v, NET_F_MRG_RXBUF);
}

/* Takes a chain in hand: 1, 0: there is none or no place for it. */
static int take(struct net *n)
{
	struct vq *q = &n->v.vq[NET_RX];
	struct iobuf kept;
	int r = vq_pop(q, &n->req);

	if (r <= 0)
		return r;
	/* the driver has to leave room for a header in each */
	if (n->req.wr.left < NET_HDR)
		return -EINVAL;
	r = iobuf_keep(&n->req.wr, &kept, n->iov + n->niov, NET_IOV - n->niov);
	if (r) {
		vq_unpop(q, &n->req);
		n->full = true;
		return n->nchains ? 0 : r;
	}
	n->chain[n->nchains++] = (struct net_chain){
		.head = n->req.head, .niov = (uint16_t)kept.cnt, .len = (uint32_t)kept.left
	};
	n->niov += kept.cnt;
	n->room += kept.left;
	n->win = kept.win;
	return 1;
}

static int fill(struct net *n)
{
	int r = 1;

	while (r == 1 && !n->full && (mergeable(n) ? n->room < NET_ROOM : !n->nchains))
		r = take(n);
	return MIN(r, 0);
}

/* Bytes that one frame may have, with its header. */
static size_t room(const struct net *n)
{
	if (mergeable(n))
		return n->room;
	return n->nchains ? n->chain[0].len : 0;
}

/* The driver has no more to give than what is in hand. */
static bool at_most(const struct net *n)
{
	return !mergeable(n) || n->full || n->nchains == n->v.vq[NET_RX].size;
}

static struct iobuf cursor(struct net *n)
{
	struct iobuf b;

	iobuf_init(&b, n->iov, mergeable(n) || !n->nchains ? n->niov : n->chain[0].niov);
	b.win = n->win;
	return b;
}

/* The header of the frame in front, which took @k chains. */
static int put_header(struct net *n, unsigned k)
{
	uint8_t hdr[NET_HDR] = { 0 };
	struct iobuf b = cursor(n);

	put_le16(hdr + NET_HDR_NBUFS, (uint16_t)k);
	/* what the backend says of checksums is for those who asked */
	if (!n->be->ops->header || !vdev_has(&n->v, NET_F_GUEST_CSUM))
		return iobuf_push(&b, hdr, sizeof(hdr));
	return iobuf_skip(&b, NET_HDR_NBUFS) ? -EINVAL : iobuf_push(&b, hdr + NET_HDR_NBUFS, 2);
}

/* The frame in front, with its header @total bytes, is the driver's. */
static int give(struct net *n, size_t total)
{
	size_t left = total;
	unsigned k = 0, niov = 0;
	int r;

	for (; left; k++) {
		size_t len = MIN(left, (size_t)n->chain[k].len);

		left -= len;
		niov += n->chain[k].niov;
		n->room -= n->chain[k].len;
		vq_push(&n->v.vq[NET_RX], n->chain[k].head, (uint32_t)len);
	}
	r = put_header(n, k);
	n->nchains -= k;
	n->niov -= niov;
	n->full = false;
	memmove(n->chain, n->chain + k, n->nchains * sizeof(n->chain[0]));
	memmove(n->iov, n->iov + niov, n->niov * sizeof(n->iov[0]));
	return r;
}

/* Receives a frame into @to: its bytes with the header, 0 for one that nobody wants, or -errno. */
static ssize_t receive(struct net *n, struct iobuf to)
{
	size_t skip = n->be->ops->header ? 0 : NET_HDR;
	struct iobuf at = to;
	uint8_t mac[6];
	ssize_t r;

	if (iobuf_skip(&at, skip))
		return -EINVAL;
	r = n->be->ops->recv(n->be, &at);
	if (r < 0)
		return r;
	r += (ssize_t)skip;
	if (r < NET_HDR + NET_FRAME_MIN || r >= NET_ROOM || iobuf_skip(&to, NET_HDR))
		return 0;
	/* the driver may change its copy under our eyes: then it gets what it asked for */
	if (iobuf_peek(&to, mac, sizeof(mac)) == sizeof(mac) && !net_ctl_wants(n, mac))
		return 0;
	return r;
}

static int receive_held(struct net *n)
{
	struct iovec v = { n->held, NET_ROOM };
	struct iobuf b;
	ssize_t r;

	/* a header that the backend does not have is made when the frame is given */
	iobuf_init(&b, &v, 1);
	r = receive(n, b);
	n->nheld = r > 0 ? (size_t)r : 0;
	return (int)MIN(r, 0);
}

static int receive_here(struct net *n)
{
	ssize_t r = receive(n, cursor(n));

	return r > 0 ? give(n, (size_t)r) : (int)r;
}

/* The frame that waits: 1: it has gone, 0: it goes on waiting. */
static int give_held(struct net *n)
{
	struct iobuf b = cursor(n);
	int r = 0;

	if (room(n) >= n->nheld) {
		r = iobuf_push(&b, n->held, n->nheld);
		if (!r)
			r = give(n, n->nheld);
	} else if (n->nchains && at_most(n)) {
		log_guest("net: a frame of %zu bytes dropped: the driver's buffers are too small",
			n->nheld - NET_HDR);
	} else {
		return 0;
	}
	n->nheld = 0;
	return r ? r : 1;
}

/* 1: there may be more; 0: no buffers; -errno. */
static int one(struct net *n)
{
	int r;

	if (n->nheld) {
		r = give_held(n);
		return r;
	}
	if (!room(n))
		return 0;
	if (!n->up)
		return -EAGAIN;
	r = room(n) >= NET_ROOM ? receive_here(n) : receive_held(n);
	return r ? r : 1;
}

bool net_rx(struct net *n)
{
	bool bad = false;
	int r = 1;

	for (unsigned k = 0; r == 1 && k < NET_BATCH; k++) {
		bad = fill(n);
		if (bad)
			break;
		r = one(n);
	}
	/* what came before a bad chain is the driver's, and is not left half given */
	vdev_flush(&n->v, NET_RX);
	if (bad) {
		vdev_broken(&n->v, "a bad receive queue");
		return false;
	}
	n->starved = !r;
	if (r == 1)
		rekick(&n->v, NET_RX);
	else if (r == -EFAULT)
		vdev_broken(&n->v, "a receive buffer that is no memory");
	else if (r < 0 && r != -EAGAIN)
		net_down(n, r == -ENOTCONN ? 0 : r);
	net_watch(n);
	return r == -EAGAIN;
}

void net_rx_stop(struct net *n)
{
	n->nchains = n->niov = 0;
	n->room = n->nheld = 0;
	n->full = n->starved = false;
}
