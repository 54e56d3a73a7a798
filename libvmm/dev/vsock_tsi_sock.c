// SPDX-License-Identifier: Apache-2.0
// TSI: sockets of the host, made for the guest and never waited for.
//
// How it works
//
// Every socket is non-blocking from its first moment and in the network namespace of this process,
// which is the container's. A connect that is under way and a listener are sources of the loop; a
// socket in any other state is watched by the connection that has its fd, or by nobody. A listener
// is only watched while another connection may be announced, so what the guest does not take waits
// in the backlog of the host's kernel.
//
// Nothing is set that the guest did not ask for. In particular not SO_REUSEPORT, which would let
// two containers of one namespace take each other's connections.

/* #syscalls:io socket:AF_INET socket:AF_INET6 bind connect listen accept4 getsockname getpeername
 * getsockopt setsockopt */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "dev/vsock_tsi.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"

#define ACCEPTS 16 /* connections that a listener takes in one turn */

int tsi_to_sockaddr(const struct tsi_addr *a, struct sockaddr_storage *ss, socklen_t *len)
{
	memset(ss, 0, sizeof(*ss));
	if (a->family == TSI_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)ss;

		in->sin_family = AF_INET;
		in->sin_port = a->port;
		memcpy(&in->sin_addr, a->ip, 4);
		*len = sizeof(*in);
		return 0;
	}
	if (a->family == TSI_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = a->port;
		in6->sin6_flowinfo = a->flowinfo;
		in6->sin6_scope_id = le32toh(a->scope);
		memcpy(&in6->sin6_addr, a->ip, 16);
		*len = sizeof(*in6);
		return 0;
	}
	return -EAFNOSUPPORT;
}

void tsi_from_sockaddr(const struct sockaddr_storage *ss, struct tsi_addr *a)
{
	memset(a, 0, sizeof(*a));
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

		a->family = TSI_INET;
		a->port = in->sin_port;
		memcpy(a->ip, &in->sin_addr, 4);
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

		a->family = TSI_INET6;
		a->port = in6->sin6_port;
		a->flowinfo = in6->sin6_flowinfo;
		a->scope = htole32(in6->sin6_scope_id);
		memcpy(a->ip, &in6->sin6_addr, 16);
	}
}

static in_port_t *port_of(struct sockaddr_storage *ss)
{
	return ss->ss_family == AF_INET ? &((struct sockaddr_in *)ss)->sin_port
					: &((struct sockaddr_in6 *)ss)->sin6_port;
}

int tsi_fd(const struct tsi_sock *s)
{
	if (s->src.fd >= 0)
		return s->src.fd;
	return s->conn && hostfd_is_open(&s->conn->rd) ? s->conn->rd.fd : -1;
}

void tsi_sock_disconnect(struct tsi_sock *s)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };

	/* else the next connect() would be told of this one once more, as ECONNABORTED */
	(void)connect(s->src.fd, &none, sizeof(none));
	s->state = TSI_IDLE;
	tsi_sock_update(s);
}

/* A connect has come to its end. */
static void connect_event(struct tsi_sock *s)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(s->src.fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (err) {
		tsi_sock_disconnect(s);
	} else {
		s->state = TSI_CONNECTED;
		tsi_sock_update(s);
	}
	s->proto->connected(s, -err);
}

/* Errors of accept() that belong to the connection that was to be accepted (accept(2)). */
static bool passing(int err)
{
	return err == ECONNABORTED || err == EINTR || err == ENETDOWN || err == EPROTO ||
		err == ENOPROTOOPT || err == EHOSTDOWN || err == ENONET || err == EHOSTUNREACH ||
		err == EOPNOTSUPP || err == ENETUNREACH || err == EPERM;
}

static void listen_event(struct tsi_sock *s)
{
	for (unsigned i = 0; i < ACCEPTS && s->proto->may_accept(s); i++) {
		int fd = accept4(s->src.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			if (s->proto->incoming(s, fd))
				break;
			continue;
		}
		if (errno == EAGAIN)
			break;
		if (passing(errno))
			continue;
		/* No memory, no descriptors: a later turn may have some. Anything else is the end.
		 */
		if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) {
			s->proto->dead(s, -errno);
			return;
		}
		log_guest("tsi: accept: %s", err_text(errno));
		s->starved = s->t->accepts_wait = true;
		vsock_again(s->t->vs);
		break;
	}
	tsi_sock_update(s);
}

static void sock_event(struct loop_src *src, uint32_t events)
{
	struct tsi_sock *s = src->arg;
	struct vsock *vs = s->t->vs;

	(void)events;
	if (s->state == TSI_CONNECTING)
		connect_event(s);
	else if (s->state == TSI_LISTENING)
		listen_event(s);
	else
		tsi_sock_update(s);
	vsock_rx_run(vs);
}

void tsi_sock_update(struct tsi_sock *s)
{
	struct loop *l = s->t->vs->v.loop;
	uint32_t want = 0;
	int r = 0;

	if (s->src.fd < 0)
		return;
	if (!s->t->vs->paused && s->state == TSI_CONNECTING)
		want = EPOLLOUT;
	else if (!s->t->vs->paused && s->state == TSI_LISTENING && !s->starved &&
		s->proto->may_accept(s))
		want = EPOLLIN;
	if (want == s->events)
		return;
	if (!want)
		loop_del(l, &s->src);
	else
		r = s->events ? loop_mod(l, &s->src, want) : loop_add(l, &s->src, want);
	if (r < 0) {
		log_warn("tsi: watching a socket: %s", err_text(r));
		return;
	}
	s->events = want;
}

int tsi_sock_give(struct tsi_sock *s)
{
	if (s->events)
		loop_del(s->t->vs->v.loop, &s->src);
	s->events = 0;
	return TAKE_FD(s->src.fd);
}

void tsi_sock_take(struct tsi_sock *s, int fd)
{
	s->src = (struct loop_src){ .fd = fd, .name = "tsi", .fn = sock_event, .arg = s };
}

struct tsi_sock *tsi_sock_orphan(struct vsock_conn *c)
{
	const unsigned limit = LIM_TSI_DRAIN_MS;
	struct tsi_sock *s = c->arg;

	if (conn_held(c) && hostfd_is_open(&c->rd))
		(void)setsockopt(c->rd.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof(limit));
	c->arg = NULL;
	if (s)
		s->conn = NULL;
	return s;
}

int tsi_sock_open(struct tsi_sock *s, uint8_t family, uint8_t kind)
{
	const int type = kind == TSI_TCP ? SOCK_STREAM : SOCK_DGRAM;
	int fd, proto = 0;

	if (family != TSI_INET && !(family == TSI_INET6 && s->t->v6))
		return -EAFNOSUPPORT;
	if (kind != TSI_TCP && kind != TSI_UDP && kind != TSI_PING)
		return -EPROTONOSUPPORT;
	if (kind == TSI_PING)
		proto = family == TSI_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	fd = socket(family == TSI_INET ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK,
		proto);
	if (fd < 0)
		return -errno;
	s->family = family;
	s->kind = kind;
	tsi_sock_take(s, fd);
	return 0;
}

/* The host's port for one of the guest's. -EPERM: it has none. */
static int map_port(struct tsi_sock *s, struct sockaddr_storage *ss)
{
	const struct tsi *t = s->t;
	uint16_t port = ntohs(*port_of(ss));

	if (!t->is_mapped || !port)
		return 0;
	for (unsigned i = 0; i < t->nmap; i++) {
		if (t->map[i].guest == port) {
			*port_of(ss) = htons(t->map[i].host);
			s->mapped = port;
			return 0;
		}
	}
	return -EPERM;
}

int tsi_sock_bind(struct tsi_sock *s, const struct sockaddr_storage *ss, socklen_t len)
{
	struct sockaddr_storage to = *ss;
	uint16_t port = ntohs(*port_of(&to));
	int r = 0;

	if (tsi_fd(s) < 0)
		return -EINVAL;
	if (s->kind != TSI_PING && port)
		r = tsi_may_listen(s->t, port);
	if (!r && s->kind != TSI_PING)
		r = map_port(s, &to);
	if (r)
		return r;
	if (bind(tsi_fd(s), (struct sockaddr *)&to, len)) {
		s->mapped = 0;
		return -errno;
	}
	tsi_from_sockaddr(ss, &s->asked);
	return 0;
}

int tsi_sock_connect(struct tsi_sock *s, const struct sockaddr_storage *ss, socklen_t len)
{
	struct sockaddr_storage to = *ss; /* as it was judged */
	int r = tsi_may_reach(s, &to);

	if (r)
		return r;
	if (tsi_fd(s) < 0)
		return -EINVAL;
	r = connect(tsi_fd(s), (const struct sockaddr *)&to, len) ? -errno : 0;
	/* Over loopback the handshake is done by now: asked again connect() says so, or why it
	 * failed, and the answer needs no event and no second turn. */
	if (r == -EINPROGRESS)
		r = connect(tsi_fd(s), (const struct sockaddr *)&to, len) ? -errno : 0;
	if (!r && s->kind == TSI_TCP)
		s->state = TSI_CONNECTED;
	if (r != -EALREADY && r != -EINPROGRESS)
		return r;
	s->state = TSI_CONNECTING;
	tsi_sock_update(s);
	return -EINPROGRESS;
}

int tsi_sock_listen(struct tsi_sock *s, int backlog)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int r;

	if (s->kind != TSI_TCP)
		return -EOPNOTSUPP;
	if (s->src.fd < 0 || (s->state != TSI_IDLE && s->state != TSI_LISTENING))
		return -EINVAL;
	if (s->t->is_mapped && !s->mapped)
		return -EPERM;
	if (backlog < 0 || backlog > SOMAXCONN)
		backlog = SOMAXCONN;
	/* bound to no port yet: the kernel chooses one now */
	if (s->asked.family == TSI_NONE) {
		struct tsi_addr any = { .family = s->family };

		(void)tsi_to_sockaddr(&any, &ss, &len);
		if (bind(s->src.fd, (struct sockaddr *)&ss, len))
			return -errno;
		s->asked = any;
	}
	len = sizeof(ss);
	if (getsockname(s->src.fd, (struct sockaddr *)&ss, &len))
		return -errno;
	r = tsi_may_listen(s->t, s->mapped ? s->mapped : ntohs(*port_of(&ss)));
	if (r)
		return r;
	if (listen(s->src.fd, backlog))
		return -errno;
	/* Where no port was held (IP_BIND_ADDRESS_NO_PORT, after a refused connect) listen() has
	 * taken one now. */
	len = sizeof(ss);
	r = getsockname(s->src.fd, (struct sockaddr *)&ss, &len) ? -errno : 0;
	if (!r)
		r = tsi_may_listen(s->t, s->mapped ? s->mapped : ntohs(*port_of(&ss)));
	if (r) {
		(void)shutdown(s->src.fd, SHUT_RD); /* it listens no more */
		return r;
	}
	s->backlog = backlog;
	s->state = TSI_LISTENING;
	tsi_sock_update(s);
	return 0;
}

void tsi_sock_names(const struct tsi_sock *s, struct tsi_addr *local, struct tsi_addr *peer)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int fd = tsi_fd(s);

	memset(local, 0, sizeof(*local));
	memset(peer, 0, sizeof(*peer));
	if (fd < 0)
		return;
	if (!getsockname(fd, (struct sockaddr *)&ss, &len))
		tsi_from_sockaddr(&ss, local);
	if (s->mapped)
		local->port = htons(s->mapped);
	len = sizeof(ss);
	if (!getpeername(fd, (struct sockaddr *)&ss, &len))
		tsi_from_sockaddr(&ss, peer);
}
