// SPDX-License-Identifier: Apache-2.0
// vsock ports that are mapped to unix sockets of the host, in either direction.
//
// How it works
//
// A request of the guest for a mapped port becomes a connection to the socket of that path, of the
// same type, at once: connecting to a unix socket only waits while its backlog is full, which
// nothing tells the end of. Then the guest's request waits with its socket, and connecting is tried
// by a timer, in the order of the requests, until LIM_VSOCK_TRIES. What fails is refused with an
// RST, as is every port that is not mapped. The other way round a socket that was given to us
// listens, and what connects there is connected to the guest's port; bytes wait in it until the
// guest has answered.

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

/* The port of the guest's requests to @port, or nports. */
static unsigned find_port(const struct vsock *vs, uint32_t port)
{
	unsigned i = 0;

	while (i < vs->cfg.nports && (vs->cfg.ports[i].port != port || vs->cfg.ports[i].fd >= 0))
		i++;
	return i;
}

static int connect_to(int fd, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t n = strlen(path);

	if (n >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, n);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
}

static void map_begin(struct vsock_conn *c, int fd)
{
	c->tries = 0;
	conn_owe(c, VSOCK_CTL_RESPONSE);
	conn_begin(c, fd);
}

bool vsock_map_request(struct vsock *vs, const struct vsock_hdr *h)
{
	const int type = h->type == VSOCK_TYPE_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM;
	unsigned i = find_port(vs, h->dst_port);
	struct vsock_conn *c;
	int r;

	if (i == vs->cfg.nports)
		return false;

	CLEAN_FD int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	r = fd < 0 ? -errno : -EMFILE;
	if (fd >= 0 && vsock_has_room(vs))
		r = connect_to(fd, vs->cfg.ports[i].path);
	c = !r || r == -EAGAIN ? conn_accept(vs, h) : NULL;
	if (!c) {
		log_guest("vsock: port %u: %s", h->dst_port, r ? err_text(r) : "refused");
		return false;
	}
	c->ops = type == SOCK_SEQPACKET ? &msg_ops : NULL;
	conn_enter(c);
	if (!r) {
		map_begin(c, TAKE_FD(fd));
		return true;
	}
	c->tries = 1;
	conn_attach(c, fd, fd);
	(void)TAKE_FD(fd);
	vs->tries_wait = true;
	vsock_again(vs);
	return true;
}

/* One that waits: false while its backlog is full, as are those of @full. May free it. */
static bool try_again(struct vsock_conn *c, bool full[LIM_VSOCK_PORTS])
{
	struct vsock *vs = c->vs;
	unsigned i = find_port(vs, c->hport);
	int r = full[i] ? -EAGAIN : connect_to(c->rd.fd, vs->cfg.ports[i].path);

	if (r == -EAGAIN)
		full[i] = true;
	if (r == -EAGAIN && c->tries < LIM_VSOCK_TRIES)
		return false;
	if (!r) {
		map_begin(c, c->rd.fd);
		return true;
	}
	log_guest("vsock: port %u: %s", c->hport, err_text(r));
	conn_reset(c);
	return true;
}

void vsock_map_retry(struct vsock *vs)
{
	struct vsock_conn *c, *next;
	bool full[LIM_VSOCK_PORTS] = { false };

	if (!vs->tries_wait || !vsock_live(vs))
		return;
	vs->tries_wait = false;
	for (c = TAILQ_FIRST(&vs->all); c; c = next) {
		next = TAILQ_NEXT(c, all);
		if (c->tries && !try_again(c, full)) {
			c->tries++;
			vs->tries_wait = true;
		}
	}
	vsock_rx_run(vs);
	if (vs->tries_wait)
		vsock_again(vs);
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
				log_guest(
					"vsock: accept for port %u: %s", l->port, err_text(errno));
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
	/* the timer may have gone by while nothing could be done */
	if (vs->tries_wait)
		vsock_again(vs);
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
