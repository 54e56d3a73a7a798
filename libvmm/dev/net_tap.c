// SPDX-License-Identifier: Apache-2.0
/* virtio-net: a tap interface of the host's, whose frames have the same header. */
/*
 * How it works
 *
 * The kernel does here what a card does: it computes the checksums and cuts the segments that the
 * guest left to it, as far as the guest has let it the other way. Which of that it can is tried out
 * once. It looks at the headers itself, and what it finds wrong costs the frame. An interface that
 * is down takes frames and drops them, like one without a cable.
 *
 * One that was made with several queues deals frames out to those that are attached, by the
 * connection that they belong to.
 */
/* #syscalls:net readv writev ioctl:TUNSETOFFLOAD ioctl:TUNSETQUEUE */
/* #syscalls:main fcntl:F_GETFL fcntl:F_SETFL ioctl:TUNGETIFF ioctl:TUNSETVNETHDRSZ
 * ioctl:TUNSETVNETLE ioctl:TUNSETQUEUE */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "dev/net.h"

#define ALWAYS (NET_HOST_OFFLOADS) /* what the kernel takes from any tap */
/* what every kernel's tap can leave to the guest: of one that comes later nothing else is known */
#define EXPECTED (NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN)

struct tap {
	struct net_be be;
	uint8_t flat[LIM_NET_FRAME]; /* a frame in too many pieces */
};

static const struct {
	uint64_t feature;
	unsigned bit;
} bits[] = {
	{ NET_F_GUEST_CSUM, TUN_F_CSUM },
	{ NET_F_GUEST_TSO4, TUN_F_TSO4 },
	{ NET_F_GUEST_TSO6, TUN_F_TSO6 },
	{ NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	{ NET_F_GUEST_UFO, TUN_F_UFO },
};

static int tap_offload(struct net_be *be, uint64_t features)
{
	unsigned long f = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		f |= features & bits[i].feature ? bits[i].bit : 0;
	return ioctl(be->fd.fd, TUNSETOFFLOAD, f) ? -errno : 0;
}

static void probe(struct net_be *be)
{
	uint64_t can = 0;

	/* the first is what the others need */
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (!tap_offload(be, can | bits[i].feature))
			can |= bits[i].feature;
	be->offloads = can | ALWAYS;
}

static ssize_t tap_recv(struct net_be *be, struct iobuf *to)
{
	ssize_t r = iobuf_read_fd(to, be->fd.fd, NET_ROOM, -1);

	return r == -EINTR ? -EAGAIN : r;
}

static ssize_t in_one_piece(struct tap *t, const uint8_t *hdr, struct iobuf *frame)
{
	struct iovec v = { t->flat, frame->left };
	struct iobuf b;
	int r = iobuf_pull(frame, t->flat, frame->left);

	if (r)
		return r;
	iobuf_init(&b, &v, 1);
	return iobuf_after(&b, t->be.fd.fd, hdr, NET_HDR, -1);
}

static int tap_send(struct net_be *be, const uint8_t *hdr, struct iobuf *frame)
{
	ssize_t r = iobuf_after(frame, be->fd.fd, hdr, NET_HDR, -1);

	if (r == -E2BIG)
		r = in_one_piece(CONTAINER_OF(be, struct tap, be), hdr, frame);
	switch (r) {
	case -EINTR:
		return -EAGAIN;
	case -EIO: /* it is down */
		return 0;
	case -EINVAL:
	case -ENOMEM:
		return -EMSGSIZE;
	default:
		return (int)MIN(r, 0);
	}
}

static int tap_use(struct net_be *be, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	return ioctl(be->fd.fd, TUNSETQUEUE, &ifr) ? -errno : 0;
}

static void tap_close(struct net_be *be)
{
	hostfd_close(&be->fd);
}

static void tap_free(struct net_be *be)
{
	hostfd_close(&be->fd);
	free(CONTAINER_OF(be, struct tap, be));
}

static int set_up(int fd, bool several, struct error *e)
{
	int hdr = NET_HDR, little = 1, flags = fcntl(fd, F_GETFL);
	struct ifreq ifr = { 0 };

	if (flags < 0 || ioctl(fd, TUNGETIFF, &ifr))
		return err_sys(e, errno, "network interface: its descriptor is no tap's");
	if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) !=
		(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
		return err_set(e, EINVAL,
			"network interface: %.16s is no tap with a virtio header and nothing else",
			ifr.ifr_name);
	if (several && !(ifr.ifr_flags & IFF_MULTI_QUEUE))
		return err_set(
			e, EINVAL, "network interface: %.16s is a tap of one queue", ifr.ifr_name);
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) || ioctl(fd, TUNSETVNETHDRSZ, &hdr) ||
		ioctl(fd, TUNSETVNETLE, &little))
		return err_sys(e, errno, "network interface: %.16s", ifr.ifr_name);
	return 0;
}

static int take(int fd, bool several, struct hostfd *h, struct error *e)
{
	int r = set_up(fd, several, e);

	if (r)
		return r;
	hostfd_open(h, fd);
	h->kind = HOSTFD_OWN;
	return 0;
}

static int tap_adopt(int fd, struct hostfd *h, struct error *e)
{
	return take(fd, false, h, e);
}

static int tap_new(const struct net_cfg *cfg, struct net_be **out, struct error *e)
{
	struct tap *t = calloc(1, sizeof(*t));
	int r = t ? 0 : err_sys(e, ENOMEM, "network interface");

	if (!r && cfg->later)
		hostfd_open(&t->be.fd, -1);
	else if (!r)
		r = take(cfg->fd, cfg->nmore, &t->be.fd, e);
	if (r) {
		free(t);
		return r;
	}
	t->be.ops = &net_tap_ops;
	*out = &t->be;
	if (cfg->later) {
		t->be.offloads = EXPECTED | ALWAYS;
		return 0;
	}
	probe(&t->be);
	if (tap_offload(&t->be, 0)) {
		free(t);
		return err_sys(e, errno, "network interface: its offloads");
	}
	return 0;
}

const struct net_be_ops net_tap_ops = {
	.name = "tap",
	.header = true,
	.new = tap_new,
	.adopt = tap_adopt,
	.free = tap_free,
	.recv = tap_recv,
	.send = tap_send,
	.close = tap_close,
	.offload = tap_offload,
	.use = tap_use,
};
