// SPDX-License-Identifier: Apache-2.0
/* virtio-net: the control queue (virtio 1.2, section 5.1.6.5), and whose frames are wanted. */
/*
 * How it works
 *
 * A command is two bytes, class and number, and its data; the answer is one byte. What a driver has
 * not negotiated is refused. Until it has said what it listens to it gets every frame, as it does
 * where it cannot say so.
 *
 * The filter spares a driver frames for others, as those of a bridge that floods; it is no wall,
 * and a driver that listens to more addresses than we keep gets all of that kind.
 */
#include <errno.h>
#include <string.h>

#include "dev/net.h"
#include "dev/rekick.h"
#include "util/bytes.h"

#define CTL_BATCH 16
#define CTL_OK	  0
#define CTL_ERR	  1

/* Class << 8 | command. */
#define CTL_RX_PROMISC	  0x0000
#define CTL_RX_ALLMULTI	  0x0001
#define CTL_MAC_TABLE_SET 0x0100
#define CTL_MAC_ADDR_SET  0x0101
#define CTL_ANNOUNCE_ACK  0x0300
#define CTL_PAIRS_SET	  0x0400
#define CTL_OFFLOADS_SET  0x0500

static bool is_group(const uint8_t *mac)
{
	return mac[0] & 1;
}

bool net_ctl_wants(const struct net *n, const uint8_t *mac)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (n->promisc || !memcmp(mac, all, sizeof(all)))
		return true;
	if (is_group(mac) ? n->allmulti || n->multi_over : n->uni_over)
		return true;
	/* the bytes in the config change on this thread alone */
	if (!memcmp(mac, n->v.cfg + NET_CFG_MAC, 6))
		return true;
	for (unsigned i = 0; i < n->nmacs; i++) {
		if (!memcmp(mac, n->mac[i], 6))
			return true;
	}
	return false;
}

static int set_flag(struct iobuf *rd, bool *flag)
{
	uint8_t on;

	if (iobuf_pull(rd, &on, 1) || on > 1)
		return -EINVAL;
	*flag = on;
	return 0;
}

/* le32 count, and that many addresses. */
static int read_table(struct net *n, struct iobuf *rd, bool *over)
{
	uint8_t count[4];
	uint32_t want;

	if (iobuf_pull(rd, count, sizeof(count)))
		return -EINVAL;
	want = get_le32(count);
	if (want > rd->left / 6)
		return -EINVAL;
	*over = want > LIM_NET_MACS - n->nmacs;
	if (*over)
		return iobuf_skip(rd, (size_t)want * 6);
	for (; want; want--) {
		if (iobuf_pull(rd, n->mac[n->nmacs], 6))
			return -EINVAL;
		n->nmacs++;
	}
	return 0;
}

/* One of the other kind in a table does no harm: it is compared whole. */
static int set_table(struct net *n, struct iobuf *rd)
{
	int r;

	n->nmacs = 0;
	n->uni_over = n->multi_over = false;
	r = read_table(n, rd, &n->uni_over);
	if (!r)
		r = read_table(n, rd, &n->multi_over);
	if (r) {
		/* a table that is half there hides frames that were asked for */
		n->nmacs = 0;
		n->uni_over = n->multi_over = true;
	}
	return r;
}

static int set_mac(struct net *n, struct iobuf *rd)
{
	uint8_t mac[6];

	if (iobuf_pull(rd, mac, sizeof(mac)) || is_group(mac))
		return -EINVAL;
	vdev_cfg_lock(&n->v);
	(void)memcpy(n->v.cfg + NET_CFG_MAC, mac, sizeof(mac));
	vdev_cfg_unlock(&n->v);
	return 0;
}

static int set_offloads(struct net *n, struct iobuf *rd)
{
	uint8_t le[8];
	uint64_t f, was;
	int r;

	if (iobuf_pull(rd, le, sizeof(le)))
		return -EINVAL;
	f = get_le64(le);
	if (f & ~(n->v.acked & NET_GUEST_OFFLOADS))
		return -EINVAL;
	was = n->guest_offloads;
	n->guest_offloads = f;
	r = net_offload(n);
	if (r)
		n->guest_offloads = was;
	return r;
}

static int set_pairs(struct net *n, struct iobuf *rd)
{
	uint8_t le[2];

	return iobuf_pull(rd, le, sizeof(le)) ? -EINVAL : net_set_pairs(n, get_le16(le));
}

static int command(struct net *n, unsigned cmd, struct iobuf *rd)
{
	uint64_t needs = cmd >> 8 == 0	   ? NET_F_CTRL_RX
		: cmd == CTL_MAC_TABLE_SET ? NET_F_CTRL_RX
		: cmd == CTL_MAC_ADDR_SET  ? NET_F_CTRL_MAC_ADDR
		: cmd == CTL_ANNOUNCE_ACK  ? NET_F_GUEST_ANNOUNCE
		: cmd == CTL_PAIRS_SET	   ? NET_F_MQ
					   : NET_F_CTRL_GUEST_OFFLOADS;

	if (!vdev_has(&n->v, needs | NET_F_CTRL_VQ))
		return -ENOTSUP;
	switch (cmd) {
	case CTL_RX_PROMISC:
		return set_flag(rd, &n->promisc);
	case CTL_RX_ALLMULTI:
		return set_flag(rd, &n->allmulti);
	case CTL_MAC_TABLE_SET:
		return set_table(n, rd);
	case CTL_MAC_ADDR_SET:
		return set_mac(n, rd);
	case CTL_ANNOUNCE_ACK:
		net_announced(n);
		return 0;
	case CTL_PAIRS_SET:
		return set_pairs(n, rd);
	case CTL_OFFLOADS_SET:
		return set_offloads(n, rd);
	default:
		return -ENOTSUP;
	}
}

void net_ctl(struct net *n)
{
	unsigned at = net_ctrl_queue(n);
	struct vq *q = &n->v.vq[at];
	int r = 1;

	for (unsigned k = 0; k < CTL_BATCH; k++) {
		uint8_t cmd[2], answer;

		r = vq_pop(q, &n->req);
		if (r <= 0)
			break;
		if (iobuf_pull(&n->req.rd, cmd, sizeof(cmd)) || !n->req.wr.left) {
			r = -EINVAL;
			break;
		}
		answer = command(n, (unsigned)cmd[0] << 8 | cmd[1], &n->req.rd) ? CTL_ERR : CTL_OK;
		r = iobuf_push(&n->req.wr, &answer, 1);
		if (r)
			break;
		vq_push(q, n->req.head, 1);
		r = 1;
	}
	vdev_flush(&n->v, at);
	if (r < 0)
		vdev_broken(&n->v, "a bad control queue");
	else if (r)
		rekick(&n->v, at);
}

void net_ctl_reset(struct net *n)
{
	n->promisc = true;
	n->allmulti = n->uni_over = n->multi_over = false;
	n->nmacs = 0;
}

void net_ctl_save(const struct net *n, struct save_out *s)
{
	save_u8(s, n->promisc);
	save_u8(s, n->allmulti);
	save_u8(s, n->uni_over);
	save_u8(s, n->multi_over);
	save_blob(s, n->mac, n->nmacs * sizeof(n->mac[0]));
}

int net_ctl_load(struct net *n, struct save_in *s)
{
	const uint8_t *macs;
	size_t len;

	n->promisc = load_u8(s);
	n->allmulti = load_u8(s);
	n->uni_over = load_u8(s);
	n->multi_over = load_u8(s);
	macs = load_blob(s, sizeof(n->mac), &len);
	if (s->err || len % sizeof(n->mac[0]))
		return -EINVAL;
	n->nmacs = (unsigned)(len / sizeof(n->mac[0]));
	if (len)
		(void)memcpy(n->mac, macs, len);
	return 0;
}
