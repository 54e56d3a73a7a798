// SPDX-License-Identifier: Apache-2.0
/* virtio-net: frames as unix datagrams, as gvproxy and vfkit speak them. */
/*
 * The socket is one that its owner has bound to a name, by which the other side answers, and stays
 * the same when that goes away and comes back: it is connected anew. That the other side is gone is
 * known when something is sent to it. The kernel keeps no half datagrams, so nothing is kept here.
 */
/* #syscalls:net recvmsg sendmsg */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "dev/net.h"

static const char magic[4] = "VFKT";

struct dgram {
	struct net_be be;
	bool vfkit;
};

static struct dgram *dgram_of(struct net_be *be)
{
	return CONTAINER_OF(be, struct dgram, be);
}

static ssize_t dgram_recv(struct net_be *be, struct iobuf *to)
{
	ssize_t r = iobuf_recv(to, be->fd.fd, LIM_NET_FRAME + 1, MSG_DONTWAIT);

	return r < 0 ? net_sock_error((int)r) : r;
}

static int dgram_send(struct net_be *be, const uint8_t *hdr, struct iobuf *frame)
{
	ssize_t r;

	(void)hdr;
	if (frame->cnt > IOV_MAX)
		return -EMSGSIZE;
	r = iobuf_send(frame, be->fd.fd, frame->left, MSG_DONTWAIT | MSG_NOSIGNAL);
	return r < 0 ? net_sock_error((int)r) : 0;
}

static int dgram_connect(struct net_be *be)
{
	int r = net_sock_connect(be->fd.fd, be->path);

	if (!r && dgram_of(be)->vfkit &&
		send(be->fd.fd, magic, sizeof(magic), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		r = -errno;
	return r;
}

static void dgram_close(struct net_be *be)
{
	if (!be->path[0])
		hostfd_close(&be->fd);
}

static void dgram_free(struct net_be *be)
{
	hostfd_close(&be->fd);
	free(dgram_of(be));
}

static int dgram_new(const struct net_cfg *cfg, struct net_be **out, struct error *e)
{
	struct dgram *d = calloc(1, sizeof(*d));
	int r = d ? net_sock_check(cfg->fd, SOCK_DGRAM, "datagram", e) : -ENOMEM;

	if (r) {
		free(d);
		return err_sys(e, r, "network interface");
	}
	d->be.ops = &net_dgram_ops;
	d->be.fd.fd = cfg->fd;
	d->vfkit = cfg->vfkit;
	(void)memcpy(d->be.path, cfg->path, sizeof(d->be.path));
	r = cfg->path[0] ? dgram_connect(&d->be) : 0;
	if (r) {
		free(d);
		return err_sys(e, r, "network interface: \"%.108s\"", cfg->path);
	}
	hostfd_open(&d->be.fd, cfg->fd);
	*out = &d->be;
	return 0;
}

const struct net_be_ops net_dgram_ops = {
	.name = "datagrams",
	.new = dgram_new,
	.free = dgram_free,
	.recv = dgram_recv,
	.send = dgram_send,
	.close = dgram_close,
	.connect = dgram_connect,
};
