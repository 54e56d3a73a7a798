// SPDX-License-Identifier: Apache-2.0
// vsock ports that are mapped to unix sockets of the host, in either direction.
//
// How it works
//
// A request of the guest for a mapped port becomes a connection to the socket of that path, of the
// same type, at once: connecting to a unix socket does not wait. What fails is refused with an RST,
// as is every port that is not mapped. The other way round a socket that was given to us listens,
// and what connects there is connected to the guest's port; bytes wait in it until the guest has
// answered.

/* Of a VM with mapped ports, which the runtime has not: #syscalls of io then have socket:AF_UNIX,
 * connect and accept4 too. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dev/vsock.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"

#define ACCEPTS 16 /* connections that a listener takes in one turn */

static const struct conn_ops msg_ops = {
	.take = vmsg_take,
	.give = vmsg_give,
};

static int connect_to(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	CLEAN_FD int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	size_t n = strlen(path);

	if (fd < 0)
		return -errno;
	if (n >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, n);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	return TAKE_FD(fd);
}

bool vsock_map_request(struct vsock *vs, const struct vsock_hdr *h)
{
	bool msgs = h->type == VSOCK_TYPE_SEQPACKET;
	struct vsock_conn *c;
	int fd = -ENOENT;
	unsigned i;

	for (i = 0; i < vs->cfg.nports; i++) {
		if (vs->cfg.ports[i].port == h->dst_port && vs->cfg.ports[i].fd < 0)
			break;
	}
	if (i == vs->cfg.nports)
		return false;
	c = conn_accept(vs, h);
	if (c)
		fd = connect_to(vs->cfg.ports[i].path, msgs ? SOCK_SEQPACKET : SOCK_STREAM);
	if (!c || fd < 0) {
		log_guest("vsock: port %u: %s", h->dst_port, c ? err_text(fd) : "refused");
		if (c)
			conn_free(c);
		return false;
	}
	c->ops = msgs ? &msg_ops : NULL;
	conn_enter(c);
	conn_owe(c, VSOCK_CTL_RESPONSE);
	conn_begin(c, fd);
	return true;
}

static void map_event(struct loop_src *src, uint32_t events)
{
	struct vsock_listen *l = src->arg;
	struct vsock *vs = l->vs;

	(void)events;
	for (unsigned i = 0; i < ACCEPTS && vsock_has_room(vs); i++) {
		int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct vsock_conn *c;

		if (fd < 0) {
			/* The connection stays there, and so would the event. */
			l->starved = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
			if (l->starved)
				log_warn("vsock: accept for port %u: %s", l->port, err_text(errno));
			break;
		}
		c = conn_dial(vs, l->port);
		if (!c) {
			(void)close(fd);
			continue;
		}
		conn_attach(c, fd, fd);
		c->waits = false;
		conn_enter(c);
		conn_request(c);
	}
	vsock_rx_run(vs);
	vsock_map_watch(vs, true);
	if (l->starved)
		vsock_again(vs);
}

void vsock_map_turn(struct vsock *vs)
{
	for (unsigned i = 0; i < vs->nlisten; i++)
		vs->listen[i].starved = false;
	vsock_map_watch(vs, true);
}

void vsock_map_watch(struct vsock *vs, bool on)
{
	/* without room for another connection it waits in the backlog */
	bool any = on && vsock_live(vs) && vsock_has_room(vs);

	if (on && vs->nlisten && !vsock_has_room(vs))
		vs->listens_wait = true;
	for (unsigned i = 0; i < vs->nlisten; i++) {
		struct vsock_listen *l = &vs->listen[i];
		bool want = any && !l->starved;
		int r = 0;

		if (want && !l->watched)
			r = loop_add(vs->v.loop, &l->src, EPOLLIN);
		else if (!want && l->watched)
			loop_del(vs->v.loop, &l->src);
		if (r < 0)
			log_warn("vsock: listening for port %u: %s", l->port, err_text(r));
		else
			l->watched = want;
	}
}

int vsock_map_init(struct vsock *vs)
{
	const struct vsock_port *from = vs->cfg.ports;
	struct vsock_port *copy;
	struct vsock_listen *l;

	vs->cfg.ports = NULL; /* what the caller has is borrowed */
	if (!vs->cfg.nports)
		return 0;
	copy = calloc(vs->cfg.nports, sizeof(*copy));
	vs->listen = calloc(vs->cfg.nports, sizeof(*vs->listen));
	for (unsigned i = 0; i < vs->cfg.nports; i++) {
		if (!copy || !vs->listen) {
			if (from[i].fd >= 0)
				(void)close(from[i].fd);
			continue;
		}
		copy[i] = from[i];
		if (from[i].fd < 0)
			continue;
		l = &vs->listen[vs->nlisten++];
		l->vs = vs;
		l->port = from[i].port;
		l->src = (struct loop_src){
			.fd = from[i].fd, .name = "vsock listen", .fn = map_event, .arg = l
		};
	}
	if (!copy || !vs->listen) {
		free(copy);
		vs->cfg.nports = 0;
		return -ENOMEM;
	}
	vs->cfg.ports = copy;
	return 0;
}

void vsock_map_fini(struct vsock *vs)
{
	for (unsigned i = 0; i < vs->nlisten; i++) {
		if (vs->listen[i].watched)
			loop_del(vs->v.loop, &vs->listen[i].src);
		(void)close(vs->listen[i].src.fd);
	}
	free(vs->listen);
	free((void *)(uintptr_t)vs->cfg.ports);
}
