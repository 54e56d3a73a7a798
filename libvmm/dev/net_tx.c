// SPDX-License-Identifier: Apache-2.0
/* virtio-net: frames from the guest to the backend (virtio 1.2, section 5.1.6.2). */
#include <errno.h>
#include <string.h>

#include "dev/net.h"
#include "dev/rekick.h"
#include "util/bytes.h"
#include "util/log.h"

#define HDR_NEEDS_CSUM 1 /* flags */
#define GSO_NONE       0
#define GSO_TCPV4      1
#define GSO_UDP	       3
#define GSO_TCPV6      4
#define GSO_ECN	       0x80

/* Is what the header asks for something that was agreed on? Takes out what is not for the backend.
 */
static bool header_ok(const struct net *n, uint8_t hdr[NET_HDR])
{
	static const uint64_t needs[] = {
		[GSO_TCPV4] = NET_F_HOST_TSO4,
		[GSO_UDP] = NET_F_HOST_UFO,
		[GSO_TCPV6] = NET_F_HOST_TSO6,
	};
	uint8_t gso = hdr[1] & (uint8_t)~GSO_ECN;

	hdr[0] &= HDR_NEEDS_CSUM;
	put_le16(hdr + NET_HDR_NBUFS, 0);
	if (hdr[0] && !vdev_has(&n->v, NET_F_CSUM))
		return false;
	if (hdr[1] == GSO_NONE)
		return true;
	return hdr[0] && gso < ARRAY_SIZE(needs) && needs[gso] && vdev_has(&n->v, needs[gso]) &&
		(!(hdr[1] & GSO_ECN) || vdev_has(&n->v, NET_F_HOST_ECN));
}

/* 0: the chain is the driver's again, whatever became of the frame. -EAGAIN: not yet. -EBADMSG: the
 * driver broke the rules. Else the backend is gone. */
static int send_one(struct net_pair *p)
{
	struct net *n = p->n;
	struct iobuf *frame = &n->req.rd;
	uint8_t hdr[NET_HDR];
	size_t len;
	int r;

	if (iobuf_pull(frame, hdr, sizeof(hdr)) || !header_ok(n, hdr))
		return -EBADMSG;
	len = frame->left;
	if (!n->up)
		return 0;
	if (len < NET_FRAME_MIN || len > LIM_NET_FRAME) {
		log_guest("net: a frame of %zu bytes is not sent", len);
		return 0;
	}
	r = p->be->ops->send(p->be, hdr, frame);
	if (r == -EMSGSIZE || r == -EFAULT) {
		log_guest("net: %s does not take a frame of %zu bytes", p->be->ops->name, len);
		r = 0;
	}
	return r;
}

static int flush(struct net_pair *p)
{
	return p->n->up && p->be->ops->flush ? p->be->ops->flush(p->be) : 0;
}

void net_give_back(struct net_pair *p)
{
	struct net *n = p->n;
	unsigned i = 2 * p->i + NET_TX;
	int r = 1;

	for (unsigned k = 0; k < NET_BATCH; k++) {
		r = vq_pop(&n->v.vq[i], &n->req);
		if (r <= 0)
			break;
		vq_push(&n->v.vq[i], n->req.head, 0);
	}
	vdev_flush(&n->v, i);
	if (r < 0)
		vdev_broken(&n->v, "a bad transmit queue");
	else if (r == 1)
		rekick(&n->v, i);
}

void net_tx(struct net_pair *p)
{
	struct net *n = p->n;
	unsigned i = 2 * p->i + NET_TX;
	struct vq *q = &n->v.vq[i];
	int r = 1, sent = p->blocked ? -EAGAIN : 0;

	for (unsigned k = 0; !sent && k < NET_BATCH; k++) {
		r = vq_pop(q, &n->req);
		if (r <= 0)
			break;
		sent = send_one(p);
		if (sent == -EAGAIN)
			vq_unpop(q, &n->req);
		else
			vq_push(q, n->req.head, 0);
	}
	if (!sent)
		sent = flush(p);
	vdev_flush(&n->v, i);
	if (r < 0 || sent == -EBADMSG)
		vdev_broken(&n->v, r < 0 ? "a bad transmit queue" : "a bad frame to transmit");
	else if (sent == -EAGAIN)
		p->blocked = true;
	else if (sent)
		net_down(n, sent);
	else if (r == 1)
		rekick(&n->v, i);
	net_watch(p);
}
