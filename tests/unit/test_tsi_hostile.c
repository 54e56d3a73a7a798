// SPDX-License-Identifier: Apache-2.0
// TSI and a guest that breaks the rules, floods, or never reads: bounded, and nobody else is hurt.

#include <signal.h>

#include "unit/tsi_rig.h"

/* Payload where none may be, ports that are another's, ids that are nobody's to give. */
static void forged_streams(void)
{
	struct ft_conn *c, *other;
	struct tsi_msg m;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;

	CHECK(up(&all_allowed));
	other = pair(9, &fd);
	/* the data port without a record that names the guest's */
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 4242, TSI_DATA_PORT);
	CHECK(ft_until(&t, is_reset, c));
	/* two sockets, one port */
	open_tcp(1);
	open_tcp(2);
	CHECK_EQ(tcp_connect(1, 5001, port, &c, &m), 0);
	m = ft_msg(TSI_CONNECT, 2, 5001, 0, 0);
	m.a = ft_in4(LOOP, port);
	CHECK_EQ(ft_ask(&t, &m), -EADDRINUSE);
	/* of the wrong type */
	m = ft_msg(TSI_OPEN, 3, TSI_INET, TSI_UDP, 5003);
	CHECK_EQ(ft_ask(&t, &m), 0);
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 5003, TSI_DATA_PORT);
	CHECK(ft_until(&t, is_reset, c));
	/* a datagram without a header ends its socket alone */
	c = open_udp(4, 5004);
	CHECK(c && ft_write(&t, c, "short", 5));
	CHECK(ft_until(&t, is_reset, c));
	CHECK(ft_event(&t, TSI_ERROR, 4) >= 0);
	/* beyond the credit */
	c = ft_conn(&t, 5001, TSI_DATA_PORT);
	c->peer_alloc += 1U << 30;
	for (int i = 0; i < 100 && !c->reset; i++)
		(void)ft_write(&t, c, big, FV_TX_BUF);
	CHECK(ft_until(&t, is_reset, c));
	CHECK(other->up && ft_write(&t, other, "fine", 4));
	CHECK_EQ(host_read(fd, buf, 4), 4);
	/* an id of the host's */
	m = ft_msg(TSI_OPEN, TSI_ID_HOST | 5, TSI_INET, TSI_TCP, 0);
	(void)ft_send(&t, &m);
	CHECK(ft_until(&t, is_reset, t.ctl));
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	CHECK(!vdev_is_broken(t.f.v));
	(void)close(l);
	(void)close(fd);
	down();
}

static void payload_before_the_answer(void)
{
	struct ft_conn *c;
	struct tsi_msg m;
	uint16_t port;
	int fill[4], l = full_listener(&port, fill);

	CHECK(up(&all_allowed));
	open_tcp(1);
	t.nrec = 0;
	m = ft_msg(TSI_CONNECT, 1, 5001, 0, 0);
	m.a = ft_in4(LOOP, port);
	(void)ft_send(&t, &m);
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 5001, TSI_DATA_PORT);
	CHECK(ft_until(&t, is_up, c));
	ft_settle(&t);
	CHECK_EQ(t.nrec, 0);
	CHECK(c->up && ft_write(&t, c, "x", 1));
	CHECK(ft_until(&t, is_reset, c));
	/* the socket is of no use any more, and is still to be closed */
	m = ft_msg(TSI_CONNECT, 1, 5002, 0, 0);
	m.a = ft_in4(LOOP, port);
	CHECK_EQ(ft_ask(&t, &m), -EISCONN);
	m = ft_msg(TSI_CLOSE, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(fill); i++)
		(void)close(fill[i]);
	(void)close(l);
	down();
}

static void records_of_no_type(void)
{
	static const uint16_t types[] = { 0, TSI_ROUTE + 1, TSI_ACCEPTED, TSI_ERROR, 0xffff };
	struct tsi_msg m;

	CHECK(!ft_up(&t, &all_allowed, NULL, 0));
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		CHECK(ft_hello(&t));
		m = ft_msg(types[i], 1, 0, 0, 0);
		(void)ft_send(&t, &m);
		CHECK(ft_until(&t, is_reset, t.ctl));
		t.nrec = 0;
	}
	down();
}

/* Requests without reading an answer: the host's ring and what it holds have their bounds, and the
 * guest's writer then waits. The agent's stream goes on. */
static void answers_that_nobody_reads(void)
{
	struct tsi_msg m = ft_msg(TSI_NAMES, 1, 0, 0, 0);
	const struct tsi *s;
	struct ft_conn *c;
	unsigned sent = 0;
	int fd;

	CHECK(up(&all_allowed));
	s = vsock_of(t.f.v)->tsi;
	c = pair(1, &fd);
	t.ctl->no_read = true;
	t.ctl->alloc = t.ctl->rx_cnt - t.ctl->fwd_cnt;
	CHECK(ft_op(&t, t.ctl, OP_CREDIT, 0));
	for (;;) {
		uint32_t room = t.ctl->peer_alloc - (t.ctl->tx_cnt - t.ctl->peer_fwd);

		if (room < sizeof(m)) {
			ft_settle(&t);
			room = t.ctl->peer_alloc - (t.ctl->tx_cnt - t.ctl->peer_fwd);
		}
		if (room < sizeof(m))
			break;
		(void)ft_send(&t, &m);
		sent++;
	}
	CHECK(s->out_len <= 65536 + sizeof(m) && s->held.len <= t.ctl->peer_alloc);
	CHECK(sent < 10000);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	CHECK(ft_write(&t, c, "fine", 4));
	CHECK_EQ(host_read(fd, buf, 4), 4);
	/* then all of them come, in order */
	t.ctl->no_read = false;
	t.ctl->fwd_cnt = t.ctl->rx_cnt;
	t.ctl->alloc = 256U << 10;
	CHECK(ft_op(&t, t.ctl, OP_CREDIT, 0));
	CHECK_EQ(ft_answer(&t, t.seq, &m), 0);
	(void)close(fd);
	down();
}

static void sockets_have_a_limit(void)
{
	struct tsi_msg m;

	CHECK(up(&all_allowed));
	for (unsigned i = 1; i <= LIM_TSI_SOCKS; i++)
		open_tcp(i);
	m = ft_msg(TSI_OPEN, LIM_TSI_SOCKS + 1, TSI_INET, TSI_TCP, 0);
	CHECK_EQ(ft_ask(&t, &m), -EMFILE);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, LIM_TSI_SOCKS);
	/* an OPEN that is not answered: the next request tells */
	open_tcp(LIM_TSI_SOCKS + 1);
	m = ft_msg(TSI_BIND, LIM_TSI_SOCKS + 1, 0, 0, 0);
	m.a = ft_in4(LOOP, 0);
	CHECK_EQ(ft_ask(&t, &m), -EMFILE);
	m = ft_msg(TSI_CLOSE, 7, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	m = ft_msg(TSI_OPEN, LIM_TSI_SOCKS + 1, TSI_INET, TSI_TCP, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	/* and all of them go with the control connection */
	CHECK(ft_op(&t, t.ctl, OP_RST, 0));
	ft_settle(&t);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	down();
}

/* A peer that does not read costs the credit of its connection; the others go on. */
static void a_peer_that_never_reads(void)
{
	struct ft_conn *a, *b;
	int slow, fd;

	CHECK(up(&all_allowed));
	a = pair(1, &slow);
	b = pair(2, &fd);
	memset(big, 'x', sizeof(big));
	for (;;) {
		uint32_t room = a->peer_alloc - (a->tx_cnt - a->peer_fwd);

		if (!room) {
			ft_settle(&t);
			room = a->peer_alloc - (a->tx_cnt - a->peer_fwd);
		}
		if (!room)
			break;
		CHECK(ft_write(&t, a, big, MIN(room, FV_TX_BUF)));
	}
	CHECK(vsock_pending(t.f.v) <= LIM_VSOCK_CONN_BUF);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	for (unsigned i = 0; i < 20; i++) {
		CHECK(ft_write(&t, b, big, 32768));
		CHECK_EQ(host_read(fd, buf, 32768), 32768);
	}
	(void)close(slow);
	(void)close(fd);
	down();
}

/* No receive buffers, and much to say: nothing spins, nothing is lost. */
static void no_buffers(void)
{
	struct ft_conn *c;
	int fd;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	t.f.no_refill = true;
	fv_fill(big, sizeof(big), 0, FV_TO_GUEST);
	while (t.f.nrx) {
		CHECK(write(fd, big, 1) == 1);
		ft_settle(&t);
	}
	CHECK(write(fd, big, 10000) == 10000);
	ft_settle(&t);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	t.f.no_refill = false;
	fv_post(&t.f, 64);
	CHECK(guest_has(c, 10000));
	(void)close(fd);
	CHECK(ft_until(&t, is_shut, c));
	down();
}

/* Everything in the middle of its life when the driver resets the device. */
static void reset_in_the_middle(void)
{
	struct ft_conn *c;
	uint16_t port = 0;
	int fd, k;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	CHECK_EQ(listener(2, &port), 0);
	CHECK(open_udp(3, 6001));
	k = host_connect(port);
	CHECK(k >= 0 && ft_event(&t, TSI_ACCEPTED, 2) >= 0);
	CHECK(ft_write(&t, c, "end", 3));
	fake_dev_reset(&t.f.d);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	CHECK_EQ(vsock_of(t.f.v)->nguest, 0);
	CHECK(host_connect(port) < 0);
	(void)close(fd);
	(void)close(k);
	down();
}

/* Many short connections, each to its end: none is lost, none stays. */
static void many_short_ones(void)
{
	struct ft_conn *c;
	struct tsi_msg m;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port);

	CHECK(up(&all_allowed));
	for (uint32_t i = 1; i <= 500; i++) {
		int fd;

		open_tcp(i);
		CHECK_EQ(tcp_connect(i, 5000 + i, port, &c, &m), 0);
		fd = host_accept(l);
		CHECK(fd >= 0 && ft_write(&t, c, "ping", 4));
		CHECK_EQ(host_read(fd, buf, 4), 4);
		CHECK(host_write(fd, "pong", 4) && guest_has(c, 4));
		(void)close(fd);
		CHECK(ft_until(&t, is_shut, c));
		m = ft_msg(TSI_CLOSE, i, 0, 0, 0);
		(void)ft_send(&t, &m);
		CHECK(ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
		CHECK(ft_until(&t, is_reset, c));
		c->used = false;
		t.nrec = 0;
	}
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	CHECK_EQ(vsock_of(t.f.v)->nall, 1);
	(void)close(l);
	down();
}

static const struct test_case cases[] = {
	TEST(forged_streams),
	TEST(payload_before_the_answer),
	TEST(records_of_no_type),
	TEST(answers_that_nobody_reads),
	TEST(sockets_have_a_limit),
	TEST(a_peer_that_never_reads),
	TEST(no_buffers),
	TEST(reset_in_the_middle),
	TEST(many_short_ones),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)ft_own_net();
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
