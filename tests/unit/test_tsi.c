// SPDX-License-Identifier: Apache-2.0
// TSI, our protocol: a guest's sockets against sockets of this process, over loopback.

#include <signal.h>

#include "unit/tsi_rig.h"

static void hello_is_first_and_once(void)
{
	struct tsi_msg m = ft_msg(TSI_OPEN, 1, TSI_INET, TSI_TCP, 0);
	struct ft_conn *c;

	CHECK_EQ(ft_up(&t, &all_allowed, NULL, 0), 0);
	/* nothing before it */
	t.ctl = ft_dial(&t, VSOCK_TYPE_STREAM, TSI_CTL_PORT, TSI_CTL_PORT);
	CHECK(ft_until(&t, is_up, t.ctl));
	(void)ft_send(&t, &m);
	CHECK(ft_until(&t, is_reset, t.ctl));
	/* another version is told so, and has no sockets */
	t.ctl = ft_dial(&t, VSOCK_TYPE_STREAM, TSI_CTL_PORT, TSI_CTL_PORT);
	CHECK(ft_until(&t, is_up, t.ctl));
	m = ft_msg(TSI_HELLO, 0, TSI_MAGIC, TSI_VERSION + 1, 0);
	CHECK_EQ(ft_ask(&t, &m), -EPROTONOSUPPORT);
	CHECK_EQ(m.arg[1], TSI_VERSION);
	m = ft_msg(TSI_NAMES, 1, 0, 0, 0);
	(void)ft_send(&t, &m);
	CHECK(ft_until(&t, is_reset, t.ctl));
	CHECK(ft_hello(&t));
	/* a program of the guest cannot take the kernel's place, nor stand beside it */
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 70000, TSI_CTL_PORT);
	CHECK(ft_until(&t, is_reset, c));
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 70000, TSI_DATA_PORT);
	CHECK(ft_until(&t, is_reset, c));
	CHECK(t.ctl->up);
	m = ft_msg(TSI_HELLO, 0, TSI_MAGIC, TSI_VERSION, 0);
	(void)ft_send(&t, &m);
	CHECK(ft_until(&t, is_reset, t.ctl));
	down();
}

static void without_tsi_there_is_none(void)
{
	struct ft_conn *c;

	CHECK_EQ(ft_up(&t, NULL, NULL, 0), 0);
	c = ft_dial(&t, VSOCK_TYPE_STREAM, TSI_CTL_PORT, TSI_CTL_PORT);
	CHECK(ft_until(&t, is_reset, c));
	CHECK(!(t.f.d.features & VSOCK_F_DGRAM));
	down();
}

static void bytes_go_both_ways(void)
{
	struct ft_conn *c;
	int fd;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	CHECK(fd >= 0 && c->up);
	fv_fill(big, sizeof(big), 0, FV_TO_HOST);
	for (size_t at = 0; at < sizeof(big); at += 32768) {
		CHECK(ft_write(&t, c, big + at, 32768));
		CHECK_EQ(host_read(fd, buf, 32768), 32768);
		CHECK(fv_check(buf, 32768, at, FV_TO_HOST));
	}
	fv_fill(big, sizeof(big), 0, FV_TO_GUEST);
	CHECK(host_write(fd, big, sizeof(big)));
	CHECK(guest_has(c, sizeof(big)));
	CHECK(!memcmp(c->rx, big, sizeof(big)));
	(void)close(fd);
	down();
}

static void names_are_true(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	struct ft_conn *c;
	struct tsi_msg m;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;

	CHECK(up(&all_allowed));
	open_tcp(1);
	CHECK_EQ(tcp_connect(1, 5001, port, &c, &m), 0);
	fd = host_accept(l);
	CHECK(!getpeername(fd, (struct sockaddr *)&a, &len));
	CHECK_EQ(m.a.port, a.sin_port);
	CHECK_EQ(ft_port(&m.b), port);
	CHECK(!memcmp(m.b.ip, "\x7f\0\0\1", 4));
	m = ft_msg(TSI_NAMES, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(m.a.port, a.sin_port);
	CHECK_EQ(ft_port(&m.b), port);
	(void)close(fd);
	(void)close(l);
	down();
}

static void each_direction_ends_for_itself(void)
{
	struct tsi_msg m = ft_msg(TSI_CLOSE, 1, 0, 0, 0);
	struct ft_conn *c;
	int fd;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	CHECK(ft_write(&t, c, "abc", 3));
	CHECK(ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_SEND));
	CHECK_EQ(host_read(fd, buf, 3), 3);
	CHECK_EQ(host_read(fd, buf, 1), 0);
	CHECK(host_write(fd, big, 5000));
	CHECK_EQ(shutdown(fd, SHUT_WR), 0);
	CHECK(ft_until(&t, is_shut, c));
	CHECK_EQ(c->nrx, 5000);
	CHECK(!c->reset && c->up);
	/* the names are still there */
	m = ft_msg(TSI_NAMES, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(m.a.family, TSI_INET);
	m = ft_msg(TSI_CLOSE, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK(ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	CHECK(ft_until(&t, is_reset, c));
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	CHECK_EQ(vsock_of(t.f.v)->nguest, 1);
	(void)close(fd);
	down();
}

static void refused_and_tried_again(void)
{
	struct ft_conn *c;
	struct tsi_msg m;
	uint16_t port, other;
	int l = host_socket(SOCK_STREAM, &port), k = host_socket(SOCK_STREAM, &other), fd;

	(void)close(l);
	CHECK(up(&all_allowed));
	open_tcp(1);
	CHECK_EQ(tcp_connect(1, 5001, port, &c, &m), -ECONNREFUSED);
	CHECK(ft_until(&t, is_reset, c));
	CHECK_EQ(tcp_connect(1, 5002, other, &c, &m), 0);
	fd = host_accept(k);
	CHECK(fd >= 0);
	CHECK_EQ(tcp_connect(1, 5003, other, &c, &m), -EISCONN);
	CHECK(ft_until(&t, is_reset, c));
	(void)close(fd);
	(void)close(k);
	down();
}

static void a_reset_is_told_before_the_end(void)
{
	const struct linger now = { .l_onoff = 1 };
	struct ft_conn *c;
	int fd, i;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	CHECK(host_write(fd, "last", 4));
	CHECK(guest_has(c, 4));
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	(void)close(fd);
	i = ft_event(&t, TSI_ERROR, 1);
	CHECK(i >= 0);
	CHECK_EQ((int)t.rec[i].status, -ECONNRESET);
	CHECK(!(t.rec[i].flags & TSI_F_SOFT));
	CHECK(ft_until(&t, is_reset, c));
	CHECK(t.rec_order[i] < c->reset_order);
	CHECK(!(c->shut & VSOCK_SHUT_SEND));
	down();
}

/* A server that answers before it has read all, and closes: its answer and then its RST lie in the
 * socket when the guest, which had no room for them yet, sends on. */
static void an_answer_before_the_error(void)
{
	struct tsi_msg m;
	struct ft_conn *c;
	int fd, i;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	c->alloc = 0;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	CHECK(ft_write(&t, c, "unread", 6));
	CHECK(host_write(fd, "413", 3));
	ft_settle(&t);
	(void)close(fd);
	for (i = 0; i < 3; i++) {
		CHECK(ft_write(&t, c, "more", 4));
		ft_settle(&t);
	}
	CHECK(!c->reset && c->up);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	/* what is sent meanwhile goes nowhere, and costs no credit */
	for (i = 0; i < 20; i++)
		CHECK(ft_write(&t, c, big, FV_TX_BUF));
	c->alloc = 256U << 10;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	CHECK(guest_has(c, 3));
	CHECK(!memcmp(c->rx, "413", 3));
	i = ft_event(&t, TSI_ERROR, 1);
	CHECK(i >= 0);
	CHECK_EQ((int)t.rec[i].status, -ECONNRESET);
	CHECK(ft_until(&t, is_reset, c));
	CHECK(t.rec_order[i] < c->reset_order);
	CHECK(!(c->shut & VSOCK_SHUT_SEND));
	/* the same while bytes of the guest wait for room in the socket */
	c = pair(2, &fd);
	c->alloc = 0;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	while (!vsock_pending(t.f.v)) {
		CHECK(ft_write(&t, c, big, FV_TX_BUF));
		ft_settle(&t);
	}
	CHECK(host_write(fd, "413", 3));
	(void)close(fd);
	ft_settle(&t);
	CHECK_EQ(vsock_pending(t.f.v), 0);
	CHECK(!c->reset);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	c->alloc = 256U << 10;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	CHECK(guest_has(c, 3));
	CHECK(ft_event(&t, TSI_ERROR, 2) >= 0 && ft_until(&t, is_reset, c));
	/* an error that is not the socket's end: it lives, and no event will come of it */
	c = pair(4, &fd);
	c->alloc = 0;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	CHECK(host_write(fd, "alive", 5));
	ft_settle(&t);
	conn_wr_fail(conn_find(vsock_of(t.f.v), c->gport, c->hport), -ENOBUFS);
	c->alloc = 256U << 10;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	CHECK(guest_has(c, 5));
	i = ft_event(&t, TSI_ERROR, 4);
	CHECK(i >= 0 && (int)t.rec[i].status == -ENOBUFS);
	CHECK(ft_until(&t, is_reset, c));
	(void)close(fd);
	/* a guest that will not read is told at once */
	c = pair(3, &fd);
	c->alloc = 0;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	CHECK(ft_write(&t, c, "unread", 6) && host_write(fd, "413", 3));
	ft_settle(&t);
	(void)close(fd);
	CHECK(ft_write(&t, c, "more", 4) && ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_RCV));
	CHECK(ft_event(&t, TSI_ERROR, 3) >= 0 && ft_until(&t, is_reset, c));
	m = ft_msg(TSI_CLOSE, 3, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	down();
}

/* The guest reads no records: the RST waits, and so does whoever asks for it. */
static void the_end_waits_for_its_reason(void)
{
	const struct linger now = { .l_onoff = 1 };
	struct ft_conn *c;
	int fd, i;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	t.ctl->no_read = true;
	t.ctl->alloc = t.ctl->rx_cnt - t.ctl->fwd_cnt;
	CHECK(ft_op(&t, t.ctl, OP_CREDIT, 0));
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	(void)close(fd);
	ft_settle(&t);
	CHECK(ft_write(&t, c, "x", 1));
	ft_settle(&t);
	CHECK(!c->reset);
	t.ctl->alloc = 256U << 10;
	CHECK(ft_op(&t, t.ctl, OP_CREDIT, 0));
	i = ft_event(&t, TSI_ERROR, 1);
	CHECK(i >= 0 && ft_until(&t, is_reset, c));
	CHECK(t.rec_order[i] < c->reset_order);
	down();
}

static void closing_and_aborting(void)
{
	struct tsi_msg m;
	struct ft_conn *c;
	int fd;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	CHECK(ft_write(&t, c, "bye", 3));
	m = ft_msg(TSI_CLOSE, 1, 0, 0, 0);
	(void)ft_send(&t, &m);
	CHECK(ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	CHECK_EQ(host_read(fd, buf, 3), 3);
	CHECK_EQ(host_read(fd, buf, 1), 0);
	(void)close(fd);
	c = pair(2, &fd);
	m = ft_msg(TSI_CLOSE, 2, 0, 0, 0);
	m.flags = TSI_F_ABORT;
	(void)ft_send(&t, &m);
	CHECK_EQ(host_read(fd, buf, 1), -ECONNRESET);
	CHECK(ft_until(&t, is_reset, c));
	(void)close(fd);
	down();
}

static void accepted_with_both_names(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	uint16_t port = 0;
	struct ft_conn *c;
	int fd, i;

	CHECK(up(&all_allowed));
	CHECK_EQ(listener(1, &port), 0);
	CHECK(port);
	fd = host_connect(port);
	CHECK(fd >= 0);
	CHECK(host_write(fd, "early", 5));
	i = ft_event(&t, TSI_ACCEPTED, 1);
	CHECK(i >= 0);
	CHECK(t.rec[i].arg[0] & TSI_ID_HOST);
	CHECK(!getsockname(fd, (struct sockaddr *)&a, &len));
	CHECK_EQ(t.rec[i].b.port, a.sin_port);
	CHECK_EQ(ft_port(&t.rec[i].a), port);
	c = ft_conn(&t, TSI_DATA_PORT, t.rec[i].arg[1]);
	CHECK(c && c->order < t.rec_order[i]);
	CHECK(guest_has(c, 5));
	CHECK(ft_write(&t, c, "answer", 6));
	CHECK_EQ(host_read(fd, buf, 6), 6);
	(void)close(fd);
	CHECK(ft_until(&t, is_shut, c));
	down();
}

static bool announced(struct ft *f, void *arg)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->nrec; i++)
		n += f->rec[i].type == TSI_ACCEPTED;
	return n == *(unsigned *)arg;
}

static void no_more_than_the_window(void)
{
	static int fd[LIM_TSI_WINDOW + 8];
	unsigned want = LIM_TSI_WINDOW;
	struct tsi_msg m;
	uint16_t port = 0;

	CHECK(up(&all_allowed));
	CHECK_EQ(listener(1, &port), 0);
	m = ft_msg(TSI_LISTEN, 1, 256, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(m.arg[0], LIM_TSI_WINDOW);
	/* more at once than this guest has room for: it refuses, which is no reason not to count */
	t.refuse = true;
	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++) {
		fd[i] = host_connect(port);
		CHECK(fd[i] >= 0);
		ft_settle(&t);
		for (unsigned k = 0; k < FT_CONNS; k++) {
			if (t.c[k].used && !t.c[k].mine)
				t.c[k].used = false;
		}
	}
	CHECK(ft_until(&t, announced, &want));
	ft_settle(&t);
	CHECK(announced(&t, &want));
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	m = ft_msg(TSI_TAKEN, 1, 8, 0, 0);
	(void)ft_send(&t, &m);
	want += 8;
	CHECK(ft_until(&t, announced, &want));
	m = ft_msg(TSI_TAKEN, 1, LIM_TSI_WINDOW + 1, 0, 0);
	(void)ft_send(&t, &m);
	CHECK(ft_until(&t, is_reset, t.ctl));
	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		(void)close(fd[i]);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	down();
}

static void binding_as_the_host_does(void)
{
	struct tsi_msg m;
	uint16_t port, got;
	int l = host_socket(SOCK_STREAM, &port);

	CHECK(up(&all_allowed));
	got = port;
	CHECK_EQ(listener(1, &got), -EADDRINUSE);
	m = ft_msg(TSI_BIND, 1, 0, 0, 0);
	m.a = ft_in4(0xc0000201, 0);
	CHECK_EQ(ft_ask(&t, &m), -EADDRNOTAVAIL);
	m = ft_msg(TSI_BIND, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), -EAFNOSUPPORT);
	/* nothing is shared that the guest did not ask to share */
	got = 0;
	CHECK_EQ(listener(2, &got), 0);
	CHECK_EQ(listener(3, &got), -EADDRINUSE);
	m = ft_msg(TSI_GETOPT, 2, TSI_SO_REUSEPORT, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(m.arg[1], 0);
	/* without a bind the host chooses */
	open_tcp(4);
	m = ft_msg(TSI_LISTEN, 4, 1, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK(m.a.port);
	m = ft_msg(TSI_BIND, 99, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), -EBADF);
	m = ft_msg(TSI_OPEN, 4, TSI_INET, TSI_TCP, 0);
	CHECK_EQ(ft_ask(&t, &m), -EEXIST);
	m = ft_msg(TSI_OPEN, 5, 7, TSI_TCP, 0);
	CHECK_EQ(ft_ask(&t, &m), -EAFNOSUPPORT);
	/* what OPEN did not say the next request does */
	m = ft_msg(TSI_OPEN, 6, TSI_INET, 9, 0);
	m.seq = 0;
	CHECK(ft_write(&t, t.ctl, &m, sizeof(m)));
	m = ft_msg(TSI_LISTEN, 6, 1, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), -EPROTONOSUPPORT);
	(void)close(l);
	down();
}

static int setopt(uint32_t id, uint32_t opt, uint32_t v, uint32_t w)
{
	struct tsi_msg m = ft_msg(TSI_SETOPT, id, opt, v, w);

	return ft_ask(&t, &m);
}

static int getopt_(uint32_t id, uint32_t opt, struct tsi_msg *m)
{
	*m = ft_msg(TSI_GETOPT, id, opt, 0, 0);
	return ft_ask(&t, m);
}

static void options(void)
{
	struct tsi_tcp_info info;
	struct tsi_msg m;
	int fd;

	CHECK(up(&all_allowed));
	(void)pair(1, &fd);
	CHECK_EQ(setopt(1, TSI_TCP_NODELAY, 1, 0), 0);
	CHECK_EQ(getopt_(1, TSI_TCP_NODELAY, &m), 0);
	CHECK_EQ(m.arg[1], 1);
	CHECK_EQ(setopt(1, TSI_SO_RCVBUF, 20000, 0), 0);
	CHECK_EQ(getopt_(1, TSI_SO_RCVBUF, &m), 0);
	CHECK_EQ(m.arg[1], 40000);
	CHECK_EQ(setopt(1, TSI_TCP_KEEPIDLE, 77, 0), 0);
	CHECK_EQ(getopt_(1, TSI_TCP_KEEPIDLE, &m), 0);
	CHECK_EQ(m.arg[1], 77);
	CHECK_EQ(setopt(1, TSI_TCP_KEEPIDLE, UINT32_MAX, 0), -EINVAL);
	CHECK_EQ(setopt(1, TSI_SO_LINGER, 1, 30), 0);
	CHECK_EQ(getopt_(1, TSI_SO_LINGER, &m), 0);
	CHECK(m.arg[1] == 1 && m.arg[2] == 30);
	CHECK_EQ(getopt_(1, TSI_TCP_INFO, &m), 0);
	memcpy(&info, m.data, sizeof(info));
	CHECK_EQ(info.state, 1);
	CHECK(info.snd_mss > 500);
	CHECK_EQ(getopt_(1, TSI_TCP_CONGESTION, &m), 0);
	CHECK(m.data[0]);
	CHECK_EQ(getopt_(1, TSI_OUTQ, &m), 0);
	CHECK_EQ(setopt(1, TSI_TCP_INFO, 1, 0), -ENOPROTOOPT);
	CHECK_EQ(setopt(1, 0, 1, 0), -ENOPROTOOPT);
	CHECK_EQ(setopt(1, TSI_OPT_END, 1, 0), -ENOPROTOOPT);
	CHECK_EQ(getopt_(1, UINT32_MAX, &m), -ENOPROTOOPT);
	(void)close(fd);
	down();
}

/* ---- datagrams ---- */

static void datagrams_keep_borders_and_senders(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	static const size_t sizes[] = { 1, 0, 1400, 4000, 40000, 65507 };
	struct tsi_dgram d;
	struct ft_conn *c;
	struct tsi_msg m;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port);
	size_t at = 0;

	CHECK(up(&all_allowed));
	c = open_udp(1, 6001);
	CHECK(c);
	m = ft_msg(TSI_BIND, 1, 0, 0, 0);
	m.a = ft_in4(LOOP, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	a.sin_port = m.a.port;
	fv_fill(big, 65507, 0, FV_TO_HOST);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK(udp_send(c, port, big, sizes[i]));
		CHECK_EQ(host_recv(fd), sizes[i]);
		CHECK(!memcmp(buf, big, sizes[i]));
		CHECK_EQ(sendto(fd, big, sizes[i], 0, (struct sockaddr *)&a, sizeof(a)), sizes[i]);
		CHECK(guest_has_msgs(c, i + 1));
		CHECK_EQ(c->end[i] - at, sizes[i] + sizeof(d));
		memcpy(&d, c->rx + at, sizeof(d));
		CHECK_EQ(ft_port(&d.peer), port);
		CHECK_EQ(d.peer.family, TSI_INET);
		CHECK(!memcmp(c->rx + at + sizeof(d), big, sizes[i]));
		at = c->end[i];
	}
	(void)close(fd);
	down();
}

/* A sender waits for room for the whole of a datagram: however long the last one was, what has left
 * is told in time. */
static void room_for_the_largest(void)
{
	static const uint32_t sizes[] = { 65440, 65507, 65408, 65507, 32000, 33400, 65507 };
	struct ft_conn *c;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port);

	CHECK(up(&all_allowed));
	c = open_udp(1, 6001);
	CHECK(c);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		ft_settle(&t);
		CHECK(c->peer_alloc - (c->tx_cnt - c->peer_fwd) >=
			65507 + sizeof(struct tsi_dgram));
		CHECK(udp_send(c, port, big, sizes[i]));
		CHECK_EQ(host_recv(fd), sizes[i]);
	}
	(void)close(fd);
	down();
}

static void connected_datagrams_and_soft_errors(void)
{
	struct ft_conn *c;
	struct tsi_msg m;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port), i;

	CHECK(up(&all_allowed));
	c = open_udp(1, 6001);
	CHECK(c);
	m = ft_msg(TSI_CONNECT, 1, 0, 0, 0);
	m.a = ft_in4(LOOP, port);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(ft_port(&m.b), port);
	CHECK(m.a.port);
	CHECK(udp_send(c, 0, "hello", 5));
	CHECK_EQ(host_recv(fd), 5);
	/* nobody there any more: what ICMP says is an error of the socket, which lives on */
	(void)close(fd);
	CHECK(udp_send(c, 0, "hello", 5));
	i = ft_event(&t, TSI_ERROR, 1);
	CHECK(i >= 0);
	CHECK_EQ((int)t.rec[i].status, -ECONNREFUSED);
	CHECK(t.rec[i].flags & TSI_F_SOFT);
	m = ft_msg(TSI_CONNECT, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	fd = host_socket(SOCK_DGRAM, &port);
	CHECK(udp_send(c, port, "again", 5));
	CHECK_EQ(host_recv(fd), 5);
	m = ft_msg(TSI_ROUTE, 1, 0, 0, 0);
	m.a = ft_in4(LOOP, port);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK(!memcmp(m.a.ip, "\x7f\0\0\1", 4));
	CHECK(c->up);
	(void)close(fd);
	down();
}

static void packet_info(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002) };
	struct tsi_dgram d;
	struct ft_conn *c;
	struct tsi_msg m;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port);

	CHECK(up(&all_allowed));
	c = open_udp(1, 6001);
	CHECK(c);
	CHECK_EQ(setopt(1, TSI_IP_PKTINFO, 1, 0), 0);
	m = ft_msg(TSI_BIND, 1, 0, 0, 0);
	m.a = ft_in4(0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	a.sin_port = m.a.port;
	CHECK_EQ(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof(a)), 1);
	CHECK(guest_has_msgs(c, 1));
	memcpy(&d, c->rx, sizeof(d));
	CHECK_EQ(d.local.family, TSI_INET);
	CHECK(!memcmp(d.local.ip, "\x7f\0\0\2", 4));
	CHECK(d.ifindex);
	/* and back from that very address */
	(void)memset(buf, 0, 80);
	d = (struct tsi_dgram){ .peer = ft_in4(LOOP, port), .local = ft_in4(0x7f000002, 0) };
	memcpy(buf, &d, sizeof(d));
	CHECK(ft_write(&t, c, buf, sizeof(d) + 3));
	CHECK_EQ(host_recv(fd), 3);
	(void)close(fd);
	down();
}

/* ---- policy ---- */

static void policy_is_obeyed(void)
{
	uint16_t port, udp;
	int l = host_socket(SOCK_STREAM, &port), fd = host_socket(SOCK_DGRAM, &udp), i;
	struct net_rule egress[] = {
		{ .deny = true,
			.family = 4,
			.prefix = 8,
			.ip = { 127 },
			.first = port,
			.last = port },
		{ .deny = true,
			.family = 4,
			.prefix = 8,
			.ip = { 127 },
			.first = udp,
			.last = udp },
	};
	struct net_rule listen[] = { { .first = 5000, .last = 5009 } };
	struct vsock_net net = { .egress = egress, .negress = 2, .listen = listen, .nlisten = 1 };
	static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 };
	struct ft_conn *c;
	struct tsi_msg m;

	CHECK(up(&net));
	open_tcp(1);
	CHECK_EQ(tcp_connect(1, 5001, port, &c, &m), -EACCES);
	CHECK(ft_until(&t, is_reset, c));
	/* 0.0.0.0 is loopback by another name, and so is ::ffff:127.0.0.1 */
	m = ft_msg(TSI_CONNECT, 1, 5002, 0, 0);
	m.a = ft_in4(0, port);
	CHECK_EQ(ft_ask(&t, &m), -EACCES);
	m = ft_msg(TSI_OPEN, 7, TSI_INET6, TSI_TCP, 0);
	i = ft_ask(&t, &m);
	if (!i) {
		m = ft_msg(TSI_CONNECT, 7, 5003, 0, 0);
		m.a.family = TSI_INET6;
		m.a.port = htons(port);
		memcpy(m.a.ip, mapped, 16);
		CHECK_EQ(ft_ask(&t, &m), -EACCES);
	}
	c = open_udp(2, 6001);
	CHECK(c && udp_send(c, udp, "x", 1));
	i = ft_event(&t, TSI_ERROR, 2);
	CHECK(i >= 0);
	CHECK_EQ((int)t.rec[i].status, -EACCES);
	m = ft_msg(TSI_ROUTE, 2, 0, 0, 0);
	m.a = ft_in4(LOOP, udp);
	CHECK_EQ(ft_ask(&t, &m), -EACCES);
	CHECK(recv(fd, buf, 1, 0) < 0);
	/* listening: 5000-5009, and not what the host would choose */
	open_tcp(3);
	m = ft_msg(TSI_BIND, 3, 0, 0, 0);
	m.a = ft_in4(LOOP, 80);
	CHECK_EQ(ft_ask(&t, &m), -EACCES);
	m = ft_msg(TSI_LISTEN, 3, 1, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), -EACCES);
	m = ft_msg(TSI_LISTEN, 3, 1, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), -EACCES);
	open_tcp(4);
	m = ft_msg(TSI_BIND, 4, 0, 0, 0);
	m.a = ft_in4(LOOP, 5007);
	i = ft_ask(&t, &m);
	CHECK(i == 0 || i == -EADDRINUSE);
	(void)close(l);
	(void)close(fd);
	down();
}

/* Addresses and ports that the host's kernel makes others of. */
static void policy_has_no_way_around(void)
{
	static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 };
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port);
	struct net_rule egress = {
		.deny = true, .family = 4, .prefix = 8, .ip = { 127 }, .last = UINT16_MAX
	};
	struct net_rule listen = { .deny = true, .first = 1, .last = UINT16_MAX };
	struct vsock_net net = { .egress = &egress, .negress = 1, .listen = &listen, .nlisten = 1 };
	struct tsi_msg m;

	CHECK(up(&net));
	/* from ::ffff:127.0.0.1 to [::] is to 127.0.0.1, if it is left to the kernel */
	m = ft_msg(TSI_OPEN, 1, TSI_INET6, TSI_TCP, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	m = ft_msg(TSI_SETOPT, 1, TSI_IP_BIND_ADDRESS_NO_PORT, 1, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	m = ft_msg(TSI_BIND, 1, 0, 0, 0);
	m.a.family = TSI_INET6;
	memcpy(m.a.ip, mapped, 16);
	(void)ft_ask(&t, &m);
	m = ft_msg(TSI_CONNECT, 1, 5001, 0, 0);
	m.a.family = TSI_INET6;
	m.a.port = htons(port);
	CHECK(ft_ask(&t, &m) < 0);
	CHECK(accept4(l, NULL, NULL, SOCK_NONBLOCK) < 0);
	/* listen() takes a port where none is held yet */
	open_tcp(2);
	m = ft_msg(TSI_SETOPT, 2, TSI_IP_BIND_ADDRESS_NO_PORT, 1, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	m = ft_msg(TSI_LISTEN, 2, 1, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), -EACCES);
	(void)close(l);
	down();
}

/* An echo goes to an address. The port in its record is the guest's invention, and opens nothing
 * that is open for a service. */
static void policy_knows_that_an_echo_has_no_port(void)
{
	struct net_rule egress[] = {
		{ .deny = true, .family = 4, .prefix = 8, .ip = { 10 }, .last = UINT16_MAX },
		{ .first = 443, .last = 443 },
		{ .last = 80 },
		{ .family = 4, .prefix = 32, .ip = { 127, 0, 0, 2 }, .last = UINT16_MAX },
	};
	struct vsock_net net = { .egress = egress, .negress = ARRAY_SIZE(egress) };
	static const uint16_t ports[] = { 443, 0, 80, 81 };
	struct tsi_dgram d = { .peer = { 0 } };
	struct ft_conn *c;
	struct tsi_msg m;
	unsigned errors = 0;

	CHECK(up(&net));
	c = open_udp(1, 6001);
	CHECK(c);
	m = ft_msg(TSI_ROUTE, 1, 0, 0, 0);
	m.a = ft_in4(LOOP, 443);
	CHECK_EQ(ft_ask(&t, &m), 0);
	/* who may make real ones is the namespace's to say: this is one as far as TSI knows */
	tsi_find(vsock_of(t.f.v)->tsi, &tsi_own, 1)->kind = TSI_PING;
	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
		m = ft_msg(TSI_ROUTE, 1, 0, 0, 0);
		m.a = ft_in4(LOOP, ports[i]);
		CHECK_EQ(ft_ask(&t, &m), -EACCES);
		m = ft_msg(TSI_CONNECT, 1, 0, 0, 0);
		m.a = ft_in4(LOOP, ports[i]);
		CHECK_EQ(ft_ask(&t, &m), -EACCES);
		d.peer = ft_in4(LOOP, ports[i]);
		CHECK(ft_write(&t, c, &d, sizeof(d)));
		ft_settle(&t);
		m = ft_msg(TSI_ROUTE, 1, 0, 0, 0);
		m.a = ft_in4(LOOP + 1, ports[i]);
		CHECK_EQ(ft_ask(&t, &m), 0);
	}
	for (unsigned i = 0; i < t.nrec; i++)
		errors += t.rec[i].type == TSI_ERROR && (int)t.rec[i].status == -EACCES;
	CHECK_EQ(errors, ARRAY_SIZE(ports));
	down();
}

/* What the host's kernel has not is known from the beginning: to ask again makes it look for a
 * module each time, with the loop waiting. */
static void no_ipv6_is_not_asked_for_again(void)
{
	struct tsi_msg m;
	bool v6;
	int r;

	CHECK_EQ(ft_up(&t, &all_allowed, NULL, 0), 0);
	v6 = vsock_of(t.f.v)->tsi->v6;
	for (unsigned i = 0; i < 2; i++) {
		CHECK(ft_hello(&t));
		CHECK_EQ(!!(t.rec[t.nrec - 1].flags & TSI_F_V6), v6);
		m = ft_msg(TSI_OPEN, 1, TSI_INET6, TSI_TCP, 0);
		CHECK_EQ(ft_ask(&t, &m), v6 ? 0 : -EAFNOSUPPORT);
		m = ft_msg(TSI_OPEN, 2, TSI_INET, TSI_TCP, 0);
		CHECK_EQ(ft_ask(&t, &m), 0);
		m = ft_msg(TSI_ROUTE, 2, 0, 0, 0);
		m.a.family = TSI_INET6;
		m.a.ip[15] = 1;
		r = ft_ask(&t, &m);
		CHECK(v6 ? r != -EAFNOSUPPORT : r == -EAFNOSUPPORT);
		/* the same as on a host without */
		v6 = vsock_of(t.f.v)->tsi->v6 = false;
		m = ft_msg(TSI_HELLO, 0, TSI_MAGIC, TSI_VERSION, 0);
		(void)ft_send(&t, &m);
		CHECK(ft_until(&t, is_reset, t.ctl));
	}
	down();
}

static void port_map(void)
{
	uint16_t host;
	int l = host_socket(SOCK_STREAM, &host), fd, i;
	struct net_map map[] = { { .host = host, .guest = 80 } };
	struct vsock_net net = { .map = map, .nmap = 1, .mapped = true };
	struct tsi_msg m;
	uint16_t port = 80;

	(void)close(l);
	CHECK(up(&net));
	CHECK_EQ(listener(1, &port), 0);
	CHECK_EQ(port, 80);
	fd = host_connect(host);
	CHECK(fd >= 0);
	i = ft_event(&t, TSI_ACCEPTED, 1);
	CHECK(i >= 0);
	CHECK_EQ(ft_port(&t.rec[i].a), 80);
	port = 81;
	CHECK_EQ(listener(2, &port), -EPERM);
	open_tcp(3);
	m = ft_msg(TSI_LISTEN, 3, 1, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), -EPERM);
	(void)close(fd);
	down();
}

static const struct test_case cases[] = {
	TEST(hello_is_first_and_once),
	TEST(without_tsi_there_is_none),
	TEST(bytes_go_both_ways),
	TEST(names_are_true),
	TEST(each_direction_ends_for_itself),
	TEST(refused_and_tried_again),
	TEST(a_reset_is_told_before_the_end),
	TEST(an_answer_before_the_error),
	TEST(the_end_waits_for_its_reason),
	TEST(closing_and_aborting),
	TEST(accepted_with_both_names),
	TEST(no_more_than_the_window),
	TEST(binding_as_the_host_does),
	TEST(options),
	TEST(datagrams_keep_borders_and_senders),
	TEST(room_for_the_largest),
	TEST(connected_datagrams_and_soft_errors),
	TEST(packet_info),
	TEST(policy_is_obeyed),
	TEST(policy_has_no_way_around),
	TEST(policy_knows_that_an_echo_has_no_port),
	TEST(no_ipv6_is_not_asked_for_again),
	TEST(port_map),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)ft_own_net();
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
