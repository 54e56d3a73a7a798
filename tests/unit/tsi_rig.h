/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of TSI share: the world outside as sockets of this process over loopback, and a
 * guest that has them connected. One test's state is in `t`.
 */
#ifndef KRUN_TESTS_UNIT_TSI_RIG_H
#define KRUN_TESTS_UNIT_TSI_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/vsock_tsi.h"
#include "fake/fake_tsi.h"
#include "unit/test.h"

#define LOOP 0x7f000001U

static struct ft t;
static const struct vsock_net all_allowed;
static uint8_t buf[256U << 10], big[1U << 20] __attribute__((unused));

/* ---- the world outside ---- */

static inline int host_socket(int type, uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) ||
		getsockname(fd, (struct sockaddr *)&a, &len) ||
		(type == SOCK_STREAM && listen(fd, 128)))
		abort();
	*port = ntohs(a.sin_port);
	return fd;
}

/* A listener that answers no more: its backlog, which nobody takes from, is full after the first.
 */
static inline int full_listener(uint16_t *port, int fill[4])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = host_socket(SOCK_STREAM, port);

	a.sin_port = htons(*port);
	if (listen(l, 0))
		abort();
	for (unsigned i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fill[i], (struct sockaddr *)&a, sizeof(a));
	}
	return l;
}

static inline int host_connect(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* over loopback the handshake needs nobody's help */
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		(void)close(fd);
		return -1;
	}
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

struct io {
	int fd, got;
	size_t n, want;
	uint8_t *p;
	const uint8_t *from;
};

static inline bool io_accept(struct ft *f, void *arg)
{
	struct io *io = arg;

	(void)f;
	io->got = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	return io->got >= 0;
}

static inline int host_accept(int l)
{
	struct io io = { .fd = l };

	return ft_until(&t, io_accept, &io) ? io.got : -1;
}

static inline bool io_read(struct ft *f, void *arg)
{
	struct io *io = arg;
	ssize_t r = read(io->fd, io->p + io->n, io->want - io->n);

	(void)f;
	if (r > 0)
		io->n += (size_t)r;
	io->got = r < 0 ? -errno : (int)r;
	return io->n == io->want || r == 0 || (r < 0 && errno != EAGAIN);
}

/* Reads exactly @n bytes; 0 at end of file, -errno, else n. */
static inline int host_read(int fd, void *p, size_t n)
{
	struct io io = { .fd = fd, .p = p, .want = n };

	if (!ft_until(&t, io_read, &io))
		return -ETIMEDOUT;
	return io.n == n ? (int)n : io.got;
}

static inline bool io_write(struct ft *f, void *arg)
{
	struct io *io = arg;
	ssize_t r = write(io->fd, io->from + io->n, io->want - io->n);

	(void)f;
	if (r > 0)
		io->n += (size_t)r;
	return io->n == io->want;
}

static inline bool host_write(int fd, const void *p, size_t n)
{
	struct io io = { .fd = fd, .from = p, .want = n };

	return ft_until(&t, io_write, &io);
}

static inline bool has_rx(struct ft *f, void *arg)
{
	const struct io *io = arg;

	return f->c[io->fd].nrx >= io->want;
}

static inline bool guest_has(struct ft_conn *c, size_t n)
{
	struct io io = { .fd = (int)(c - t.c), .want = n };

	return ft_until(&t, has_rx, &io);
}

static inline bool is_reset(struct ft *f, void *arg)
{
	(void)f;
	return ((struct ft_conn *)arg)->reset;
}

static inline bool is_shut(struct ft *f, void *arg)
{
	(void)f;
	return ((struct ft_conn *)arg)->shut & VSOCK_SHUT_SEND;
}

static inline bool is_up(struct ft *f, void *arg)
{
	(void)f;
	return ((struct ft_conn *)arg)->up;
}

static inline bool has_msgs(struct ft *f, void *arg)
{
	const struct io *io = arg;

	return f->c[io->fd].nmsgs >= io->want;
}

static inline bool guest_has_msgs(struct ft_conn *c, unsigned n)
{
	struct io io = { .fd = (int)(c - t.c), .want = n };

	return ft_until(&t, has_msgs, &io);
}

/* ---- the guest ---- */

static inline bool up(const struct vsock_net *net)
{
	return !ft_up(&t, net, NULL, 0) && ft_hello(&t);
}

static inline void down(void)
{
	if (t.bad || t.f.bad) {
		printf("# the device broke the protocol\n");
		test_failed_ = true;
	}
	ft_down(&t);
}

static inline void open_tcp(uint32_t id)
{
	struct tsi_msg m = ft_msg(TSI_OPEN, id, TSI_INET, TSI_TCP, 0);

	m.seq = 0;
	(void)ft_write(&t, t.ctl, &m, sizeof(m));
}

/* As a guest does it: all at once, then the answer. *c: the data connection. */
static inline int tcp_connect(
	uint32_t id, uint32_t gport, uint16_t port, struct ft_conn **c, struct tsi_msg *m)
{
	uint32_t seq;

	*m = ft_msg(TSI_CONNECT, id, gport, 0, 0);
	m->a = ft_in4(LOOP, port);
	seq = ft_send(&t, m);
	*c = ft_dial(&t, VSOCK_TYPE_STREAM, gport, TSI_DATA_PORT);
	return ft_answer(&t, seq, m);
}

/* A connected pair: the guest's data connection, and the host's end. */
static inline struct ft_conn *pair(uint32_t id, int *host)
{
	struct ft_conn *c;
	struct tsi_msg m;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port);

	open_tcp(id);
	if (tcp_connect(id, 5000 + id, port, &c, &m))
		abort();
	*host = host_accept(l);
	(void)close(l);
	return c;
}

static inline struct ft_conn *open_udp(uint32_t id, uint32_t gport)
{
	struct tsi_msg m = ft_msg(TSI_OPEN, id, TSI_INET, TSI_UDP, gport);
	struct ft_conn *c;

	if (ft_ask(&t, &m))
		return NULL;
	c = ft_dial(&t, VSOCK_TYPE_SEQPACKET, gport, TSI_DATA_PORT);
	return c && ft_until(&t, is_up, c) ? c : NULL;
}

static inline bool udp_send(struct ft_conn *c, uint16_t port, const void *p, size_t n)
{
	static uint8_t msg[65536 + 64];
	struct tsi_dgram d = { .peer = { 0 } };

	if (port)
		d.peer = ft_in4(LOOP, port);
	memcpy(msg, &d, sizeof(d));
	if (n)
		memcpy(msg + sizeof(d), p, n);
	return ft_write(&t, c, msg, sizeof(d) + n);
}

static inline bool io_recv(struct ft *f, void *arg)
{
	struct io *io = arg;
	ssize_t r = recv(io->fd, io->p, io->want, 0);

	(void)f;
	io->got = (int)r;
	return r >= 0;
}

static inline int host_recv(int fd)
{
	struct io io = { .fd = fd, .p = buf, .want = sizeof(buf) };

	return ft_until(&t, io_recv, &io) ? io.got : -1;
}

static inline int listener(uint32_t id, uint16_t *port)
{
	struct tsi_msg m;
	int r;

	open_tcp(id);
	m = ft_msg(TSI_BIND, id, 0, 0, 0);
	m.a = ft_in4(LOOP, *port);
	r = ft_ask(&t, &m);
	if (r)
		return r;
	*port = ft_port(&m.a);
	m = ft_msg(TSI_LISTEN, id, 8, 0, 0);
	r = ft_ask(&t, &m);
	if (!r && (ft_port(&m.a) != *port || !m.arg[0]))
		return -EPROTO;
	return r;
}

#endif
