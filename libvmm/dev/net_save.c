// SPDX-License-Identifier: Apache-2.0
/* virtio-net: its saved form. */
/*
 * Receive chains that are in hand have had no effect yet, so a saved VM has them in its ring again.
 * Saved is beside the core's what the driver asked for on the control queue, and the whole frames
 * that were read, and not delivered, or taken and not sent. The backend's connection is new after a
 * load: half a frame stays behind.
 */
#include <errno.h>
#include <string.h>

#include "dev/net.h"
#include "util/bytes.h"

static void save_frames(const struct net_pair *p, struct save_out *s)
{
	save_blob(s, p->held, p->nheld);
	save_u8(s, (uint8_t)p->be->ops->header);
	if (p->be->ops->save)
		p->be->ops->save(p->be, s);
	else
		save_blob(s, NULL, 0);
}

void net_save(struct vdev *v, struct save_out *s)
{
	struct net *n = net_of(v);

	save_u64(s, n->guest_offloads);
	net_ctl_save(n, s);
	for (unsigned i = 0; i < n->npairs; i++)
		save_frames(&n->pair[i], s);
	if (n->npairs > 1)
		save_u16(s, (uint16_t)net_pairs(n));
}

static int load_frames(struct net_pair *p, struct save_in *s)
{
	const uint8_t *held = load_blob(s, NET_ROOM - 1, &p->nheld);
	size_t none;

	if (s->err || (p->nheld && p->nheld < NET_HDR + NET_FRAME_MIN))
		return -EINVAL;
	if (p->nheld)
		(void)memcpy(p->held, held, p->nheld);
	/* a frame with the header of another kind of backend would be half a checksum */
	if (load_u8(s) != p->be->ops->header)
		return -EINVAL;
	if (p->be->ops->load)
		p->be->ops->load(p->be, s);
	else
		(void)load_blob(s, 0, &none);
	return s->err;
}

/* Those that were in use are again, with a driver that may have several. */
static int load_pairs(struct net *n, struct save_in *s)
{
	uint16_t pairs = 1;
	int r = 0;

	for (unsigned i = 0; !r && i < n->npairs; i++)
		r = load_frames(&n->pair[i], s);
	if (!r && n->npairs > 1)
		pairs = load_u16(s);
	if (r || s->err || (pairs > 1 && !(n->v.running && vdev_has(&n->v, NET_F_MQ))))
		return -EINVAL;
	for (unsigned i = pairs; i < n->npairs; i++) {
		if (n->pair[i].nheld)
			return -EINVAL;
	}
	return net_set_pairs(n, pairs);
}

int net_load(struct vdev *v, struct save_in *s)
{
	struct net *n = net_of(v);
	uint16_t mtu = v->offered & NET_F_MTU ? get_le16(v->cfg + NET_CFG_MTU) : 0;
	int r;

	n->guest_offloads = load_u64(s);
	r = s->err ? s->err : net_ctl_load(n, s);
	if (!r)
		r = load_pairs(n, s);
	if (!r &&
		(n->guest_offloads & ~(v->acked & NET_GUEST_OFFLOADS) || mtu != n->mtu ||
			get_le16(v->cfg + NET_CFG_PAIRS) != n->npairs ||
			v->cfg[NET_CFG_MAC] & NET_MAC_GROUP))
		r = -EINVAL;
	if (r)
		return r;
	if (v->running && n->up)
		net_up(n);
	else
		net_status(n, n->up ? NET_S_LINK_UP : 0);
	return 0;
}
