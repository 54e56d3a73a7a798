// SPDX-License-Identifier: Apache-2.0
// TSI and a guest that wants more than there is: sockets, connections, memory, turns. What it costs
// the host is counted, and another connection goes on.

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "unit/tsi_rig.h"

#define ROUNDS 5000

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		(void)closedir(d);
	return n;
}

/* The connection that must not suffer: 32 KiB each way. */
static bool goes_on(struct ft_conn *c, int fd)
{
	size_t had = c->nrx;

	memset(big, 'x', 32768);
	return ft_write(&t, c, big, 32768) && host_read(fd, buf, 32768) == 32768 &&
		host_write(fd, big, 32768) && guest_has(c, had + 32768);
}

/* Sockets made and closed as fast as it can: none stays, and no descriptor does. */
static void opened_and_closed(void)
{
	struct ft_conn *c;
	unsigned before;
	int fd;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	before = open_fds();
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct tsi_msg m = ft_msg(TSI_CLOSE, 2 + i, 0, 0, 0);

		open_tcp(2 + i);
		CHECK(ft_write(&t, t.ctl, &m, sizeof(m)));
		if (i % 1000 == 0)
			CHECK(goes_on(c, fd));
	}
	ft_settle(&t);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 1);
	CHECK_EQ(open_fds(), before);
	CHECK_EQ(t.f.ops[OP_RST], 0);
	(void)close(fd);
	down();
}

/* Closes datagram socket @id, of which there are as many as may be: what is asked for together gets
 * the one place, and whoever comes too late is told. A connect that failed may be tried again. */
static void the_last_one(uint32_t id)
{
	struct tsi_msg m = ft_msg(TSI_CLOSE, id, 0, 0, 0);
	struct ft_conn *c = ft_conn(&t, 10000 + id - 100, TSI_DATA_PORT), *u;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), i, fd;
	uint32_t seq;

	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK(ft_op(&t, c, OP_RST, 0));
	c->used = false;
	ft_settle(&t);
	m = ft_msg(TSI_OPEN, 92, TSI_INET, TSI_UDP, 9002);
	CHECK_EQ(ft_ask(&t, &m), 0);
	open_tcp(93);
	m = ft_msg(TSI_CONNECT, 93, 9003, 0, 0);
	m.a = ft_in4(LOOP, port);
	seq = ft_send(&t, &m);
	m = ft_msg(TSI_OPEN, 94, TSI_INET, TSI_UDP, 9004);
	CHECK_EQ(ft_ask(&t, &m), 0);
	u = ft_dial(&t, VSOCK_TYPE_SEQPACKET, 9002, TSI_DATA_PORT);
	CHECK(ft_until(&t, is_up, u));
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 9003, TSI_DATA_PORT);
	CHECK(ft_until(&t, is_reset, c));
	CHECK_EQ(ft_answer(&t, seq, &m), -EMFILE);
	c = ft_dial(&t, VSOCK_TYPE_SEQPACKET, 9004, TSI_DATA_PORT);
	CHECK(ft_until(&t, is_reset, c));
	i = ft_event(&t, TSI_ERROR, 94);
	CHECK(i >= 0 && (int)t.rec[i].status == -EMFILE && t.rec_order[i] < c->reset_order);
	CHECK(ft_op(&t, u, OP_RST, 0));
	u->used = false;
	ft_settle(&t);
	/* the first of two in the backlog was of the attempt that failed */
	CHECK_EQ(tcp_connect(93, 9005, port, &c, &m), 0);
	fd = host_accept(l);
	CHECK(fd >= 0);
	(void)close(fd);
	fd = host_accept(l);
	CHECK(ft_write(&t, c, "fine", 4));
	CHECK_EQ(host_read(fd, buf, 4), 4);
	(void)close(fd);
	(void)close(l);
	ft_settle(&t);
}

/* Every connection that it may have; the one after is refused, and the runtime still gets its own.
 */
static void all_the_connections(void)
{
	struct vsock *vs;
	struct ft_conn *c, *d;
	unsigned n = 0, before, requests;
	int fd;

	CHECK(up(&all_allowed));
	vs = vsock_of(t.f.v);
	c = pair(1, &fd);
	before = open_fds();
	while (vs->nguest < LIM_VSOCK_GUEST && n < LIM_VSOCK_GUEST) {
		CHECK(open_udp(100 + n, 10000 + n));
		n++;
	}
	CHECK_EQ(vs->nguest, LIM_VSOCK_GUEST);
	CHECK(vs->reserved <= LIM_VSOCK_BUF);
	CHECK_EQ(open_fds(), before + n);
	for (unsigned i = 0; i < 10; i++) {
		struct tsi_msg m = ft_msg(TSI_OPEN, 90, TSI_INET, TSI_UDP, 9000);

		CHECK_EQ(ft_ask(&t, &m), -EMFILE);
		open_tcp(91);
		CHECK_EQ(tcp_connect(91, 9001, 1, &d, &m), -EMFILE);
		CHECK(ft_until(&t, is_reset, d));
		m = ft_msg(TSI_CLOSE, 91, 0, 0, 0);
		CHECK_EQ(ft_ask(&t, &m), 0);
	}
	CHECK_EQ(vs->nguest, LIM_VSOCK_GUEST);
	the_last_one(100);
	requests = t.f.ops[OP_REQUEST];
	CHECK_EQ(vsock_connect(t.f.v, 5000, -1, -1, NULL, 0, 0), 0);
	ft_settle(&t);
	CHECK_EQ(t.f.ops[OP_REQUEST], requests + 1);
	CHECK(goes_on(c, fd));
	/* all go with the control connection, and their descriptors */
	CHECK(ft_op(&t, t.ctl, OP_RST, 0));
	ft_settle(&t);
	CHECK_EQ(vs->tsi->nsocks, 0);
	CHECK_EQ(vs->msg_bytes, 0);
	CHECK_EQ(vs->nguest, 0);
	CHECK(open_fds() <= before);
	(void)close(fd);
	down();
}

/* A packet of a message, which need not be its last. */
static bool part(struct ft_conn *c, uint32_t n, uint32_t flags)
{
	struct fv_pkt k = { .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = c->gport,
		.dst_port = c->hport,
		.len = n,
		.type = c->type,
		.op = OP_RW,
		.flags = flags,
		.buf_alloc = c->alloc,
		.fwd_cnt = c->fwd_cnt };
	bool sent = fv_send(&t.f, &k, big, n);

	c->told = c->fwd_cnt;
	c->tx_cnt += sent ? n : 0;
	ft_settle(&t);
	return sent;
}

/* Datagrams whose ends never come, on many sockets: what is held has its limit for all of them, and
 * one that is whole passes. */
static void datagrams_without_an_end(void)
{
	enum {
		SOCKS = 50,
		PARTS = 12
	};
	struct ft_conn *c[SOCKS], *whole;
	uint64_t most = 0;
	struct vsock *vs;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port);

	CHECK(up(&all_allowed));
	vs = vsock_of(t.f.v);
	memset(big, 0, sizeof(big));
	for (uint32_t i = 0; i < SOCKS; i++) {
		c[i] = open_udp(10 + i, 7000 + i);
		CHECK(c[i]);
	}
	whole = open_udp(1, 6999);
	for (unsigned k = 0; k < PARTS; k++) {
		for (unsigned i = 0; i < SOCKS; i++) {
			CHECK(part(c[i], 5000, 0));
			most = MAX(most, vs->msg_bytes);
		}
	}
	CHECK(most <= LIM_TSI_DGRAMS);
	CHECK(most > LIM_TSI_DGRAMS / 2);
	CHECK(whole && udp_send(whole, port, "whole", 5));
	CHECK_EQ(host_recv(fd), 5);
	for (unsigned i = 0; i < SOCKS; i++) {
		CHECK(part(c[i], 1, VSOCK_SEQ_EOM));
		CHECK(!c[i]->reset);
	}
	CHECK_EQ(vs->msg_bytes, 0);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	/* and each of them is as good as new */
	CHECK(udp_send(c[7], port, "again", 5));
	CHECK_EQ(host_recv(fd), 5);
	/* longer than any datagram: that is no datagram */
	for (unsigned k = 0; k < 14 && !c[9]->reset; k++)
		(void)part(c[9], 5000, 0);
	CHECK(ft_until(&t, is_reset, c[9]));
	CHECK_EQ(vs->msg_bytes, 0);
	(void)close(fd);
	down();
}

/* The beginning of a datagram is taken and its rest is not, by many sockets: what is held for them
 * has its limit, and what is given up has not begun. */
static void rests_that_nobody_takes(void)
{
	enum {
		SOCKS = 50,
		LEN = 60000
	};
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct tsi_msg m;
	struct ft_conn *c[SOCKS], *stream;
	unsigned taken = 0, whole = 0;
	uint16_t to[SOCKS], port;
	struct vsock *vs;
	int fd = host_socket(SOCK_DGRAM, &port), sfd;

	CHECK(up(&all_allowed));
	vs = vsock_of(t.f.v);
	stream = pair(1, &sfd);
	for (uint32_t i = 0; i < SOCKS; i++) {
		c[i] = open_udp(10 + i, 7000 + i);
		m = ft_msg(TSI_BIND, 10 + i, 0, 0, 0);
		m.a = ft_in4(LOOP, 0);
		CHECK(c[i] && !ft_ask(&t, &m));
		to[i] = m.a.port;
	}
	t.f.no_refill = true;
	while (t.f.nrx) {
		CHECK(write(sfd, big, 1) == 1);
		ft_settle(&t);
	}
	for (unsigned i = 0; i < SOCKS; i++) {
		a.sin_port = to[i];
		CHECK_EQ(sendto(fd, big, LEN, 0, (struct sockaddr *)&a, sizeof(a)), LEN);
		ft_settle(&t);
		fv_post(&t.f, 1);
		ft_settle(&t);
		c[i]->alloc = 0;
		CHECK(ft_op(&t, c[i], OP_CREDIT, 0));
		ft_settle(&t);
		taken += c[i]->nrx > 0;
		CHECK(vs->msg_bytes <= LIM_TSI_DGRAMS);
	}
	CHECK(vs->msg_bytes > LIM_TSI_DGRAMS / 2);
	CHECK(taken > LIM_TSI_DGRAMS / LEN / 2 && taken < SOCKS);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	/* closed with its rest unread */
	CHECK(ft_op(&t, c[0], OP_RST, 0));
	t.f.no_refill = false;
	fv_post(&t.f, 64);
	for (unsigned i = 1; i < SOCKS; i++) {
		c[i]->alloc = 256U << 10;
		CHECK(ft_op(&t, c[i], OP_CREDIT, 0));
		ft_settle(&t);
		whole += c[i]->nmsgs == 1 && c[i]->nrx == LEN + sizeof(struct tsi_dgram);
		CHECK(c[i]->nmsgs == 1 || !c[i]->nrx);
	}
	CHECK_EQ(whole, taken - 1);
	CHECK_EQ(vs->msg_bytes, 0);
	CHECK(goes_on(stream, sfd));
	(void)close(fd);
	(void)close(sfd);
	down();
}

/* Credit for 4 GiB, or byte by byte: nothing is held for it, and a packet of it gets one at most.
 */
static void credit_that_lies(void)
{
	struct ft_conn *c, *other;
	unsigned rw;
	int fd, ofd;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	other = pair(2, &ofd);
	c->no_read = true;
	c->alloc = UINT32_MAX;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	t.f.no_refill = true;
	memset(big, 'y', sizeof(big));
	for (int i = 0; i < 50; i++) {
		(void)!write(fd, big, sizeof(big));
		ft_settle(&t);
	}
	/* the buffers are used up, and what the peer sent is in the peer's socket */
	CHECK_EQ(vsock_pending(t.f.v), 0);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	t.f.no_refill = false;
	fv_post(&t.f, 64);
	ft_settle(&t);
	CHECK(goes_on(other, ofd));
	/* a byte of room at a time */
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	(void)!write(fd, big, sizeof(big));
	c->alloc = 0;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	ft_settle(&t);
	rw = t.f.ops[OP_RW];
	for (int i = 0; i < 500; i++) {
		c->fwd_cnt = c->rx_cnt;
		c->alloc = 1;
		CHECK(ft_op(&t, c, OP_CREDIT, 0));
		ft_settle(&t);
	}
	CHECK(t.f.ops[OP_RW] - rw <= 500);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	/* more consumed than was ever sent is no room */
	c->fwd_cnt = c->rx_cnt + 1000000;
	c->alloc = 1000;
	rw = t.f.ops[OP_RW];
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	ft_settle(&t);
	CHECK_EQ(t.f.ops[OP_RW], rw);
	CHECK(goes_on(other, ofd));
	/* what came is more than the credit as it was changed afterwards */
	CHECK(t.bad);
	t.bad = false;
	(void)close(fd);
	(void)close(ofd);
	down();
}

static bool took_it(struct ft *f, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < f->nrec; i++) {
		if (f->rec[i].type == TSI_ACCEPTED)
			return true;
	}
	return false;
}

/* What comes for a guest that has all it may have waits, as it would for a program that is slow. */
static void what_comes_waits_for_room(void)
{
	struct tsi_msg m;
	struct vsock *vs;
	struct ft_conn *c;
	uint16_t port = 0;
	unsigned n = 0;
	int fd;

	CHECK(up(&all_allowed));
	vs = vsock_of(t.f.v);
	CHECK_EQ(listener(1, &port), 0);
	while (vs->nguest < LIM_VSOCK_GUEST && n < LIM_VSOCK_GUEST) {
		CHECK(open_udp(100 + n, 10000 + n));
		n++;
	}
	t.nrec = 0;
	fd = host_connect(port);
	CHECK(fd >= 0);
	ft_settle(&t);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	CHECK(!took_it(&t, NULL));
	CHECK(recv(fd, buf, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	c = ft_conn(&t, 10000, TSI_DATA_PORT);
	CHECK(ft_op(&t, c, OP_RST, 0));
	c->used = false;
	CHECK(ft_until(&t, took_it, NULL));
	/* the other limit: sockets that are no connections */
	(void)close(fd);
	t.nrec = 0;
	for (uint32_t i = 0; vs->tsi->nsocks < LIM_TSI_SOCKS && i < LIM_TSI_SOCKS; i++) {
		open_tcp(5000 + i);
		ft_settle(&t);
	}
	c = ft_conn(&t, 10001, TSI_DATA_PORT);
	CHECK(ft_op(&t, c, OP_RST, 0));
	c->used = false;
	fd = host_connect(port);
	CHECK(fd >= 0);
	ft_settle(&t);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	CHECK(!took_it(&t, NULL));
	CHECK(recv(fd, buf, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	m = ft_msg(TSI_CLOSE, 5000, 0, 0, 0);
	m.seq = 0;
	CHECK(ft_write(&t, t.ctl, &m, sizeof(m)));
	CHECK(ft_until(&t, took_it, NULL));
	(void)close(fd);
	down();
}

/* The host has no descriptor for what comes. The guest has no reason to do anything that would have
 * it looked at again. */
static void host_without_descriptors(void)
{
	struct rlimit was, none;
	unsigned woken = 0;
	uint16_t port = 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	CHECK(up(&all_allowed));
	CHECK_EQ(listener(1, &port), 0);
	ft_settle(&t);
	a.sin_port = htons(port);
	CHECK(!getrlimit(RLIMIT_NOFILE, &was));
	none = was;
	none.rlim_cur = 0;
	CHECK(!setrlimit(RLIMIT_NOFILE, &none));
	CHECK(!connect(fd, (struct sockaddr *)&a, sizeof(a)));
	/* it looks now and then; who spins has something each time */
	for (unsigned i = 0; i < 1000; i++)
		woken += loop_once(t.f.loop, 0) > 0;
	CHECK(woken < 500);
	CHECK(!setrlimit(RLIMIT_NOFILE, &was));
	/* as quiet as a guest is that waits in accept() */
	while (!took_it(&t, NULL) && loop_once(t.f.loop, FAKE_TIMEOUT_MS) > 0)
		while (fv_step(&t.f))
			;
	CHECK(took_it(&t, NULL));
	(void)close(fd);
	down();
}

/* Connects to nobody, one after the other: each is answered, none leaves anything. */
static void connects_to_nobody(void)
{
	struct ft_conn *c, *other;
	struct tsi_msg m;
	unsigned before;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;

	(void)close(l);
	CHECK(up(&all_allowed));
	other = pair(1, &fd);
	before = open_fds();
	for (uint32_t i = 2; i < 500; i++) {
		open_tcp(i);
		CHECK_EQ(tcp_connect(i, 5000 + i, port, &c, &m), -ECONNREFUSED);
		CHECK(ft_until(&t, is_reset, c));
		c->used = false;
		m = ft_msg(TSI_CLOSE, i, 0, 0, 0);
		CHECK_EQ(ft_ask(&t, &m), 0);
		t.nrec = 0;
	}
	CHECK_EQ(open_fds(), before);
	CHECK_EQ(vsock_of(t.f.v)->nall, 2);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 1);
	CHECK(goes_on(other, fd));
	(void)close(fd);
	down();
}

/* An end by RST, as our kernel's sockets end: what was sent arrives, then a FIN. */
static void closed_by_a_reset(void)
{
	struct tsi_msg m = ft_msg(TSI_CLOSE, 1, 0, 0, 0);
	struct ft_conn *c;
	unsigned rst;
	int fd;

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	memset(big, 'z', 200000);
	CHECK(ft_write(&t, c, big, 200000));
	rst = t.f.ops[OP_RST];
	CHECK(ft_write(&t, t.ctl, &m, sizeof(m)));
	CHECK(ft_op(&t, c, OP_RST, 0));
	ft_settle(&t);
	CHECK_EQ(host_read(fd, buf, 200000), 200000);
	CHECK_EQ(host_read(fd, buf, 1), 0);
	ft_settle(&t);
	/* it is not answered, and nothing is left */
	CHECK_EQ(t.f.ops[OP_RST], rst);
	CHECK_EQ(vsock_of(t.f.v)->nall, 1);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	(void)close(fd);
	down();
}

/* Datagrams to a socket that the guest has closed, but not its connection. */
static void closed_but_not_reset(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct tsi_msg m = ft_msg(TSI_BIND, 1, 0, 0, 0);
	struct ft_conn *c;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port);

	CHECK(up(&all_allowed));
	c = open_udp(1, 6001);
	m.a = ft_in4(LOOP, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	a.sin_port = m.a.port;
	m = ft_msg(TSI_CLOSE, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof(a)), 1);
	for (int i = 0; i < 3; i++)
		(void)loop_once(t.f.loop, 0);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	CHECK_EQ(c->nmsgs, 0);
	/* what it sends goes nowhere, and its RST ends it */
	CHECK(udp_send(c, port, "late", 4));
	CHECK(ft_op(&t, c, OP_RST, 0));
	ft_settle(&t);
	CHECK_EQ(vsock_of(t.f.v)->nall, 1);
	(void)close(fd);
	down();
}

/* A network namespace of its own, in which echo sockets are allowed. False: not here. */
static bool pings_allowed(void)
{
	FILE *f;

	/* the right to one comes with a user namespace */
	if (!ft_own_net() && (unshare(CLONE_NEWUSER) || !ft_own_net()))
		return false;
	f = fopen("/proc/sys/net/ipv4/ping_group_range", "we");
	if (!f)
		return false;
	(void)fprintf(f, "0 2147483647\n");
	return !fclose(f);
}

/* Echoes too count against the credit of a guest that does not read them. The last test: it leaves
 * the network namespace. */
static void echoes_within_the_credit(void)
{
	struct tsi_dgram d = { .peer = ft_in4(LOOP, 0) };
	struct ft_conn *c;
	struct tsi_msg m;

	if (!pings_allowed()) {
		printf("# skipped: no network namespace of its own\n");
		return;
	}
	CHECK(up(&all_allowed));
	m = ft_msg(TSI_OPEN, 1, TSI_INET, TSI_PING, 6001);
	CHECK_EQ(ft_ask(&t, &m), 0);
	c = ft_dial(&t, VSOCK_TYPE_SEQPACKET, 6001, TSI_DATA_PORT);
	CHECK(c && ft_until(&t, is_up, c));
	c->alloc = 4096;
	c->no_read = true;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	memset(buf, 0, 1472);
	memcpy(buf, &d, sizeof(d));
	buf[sizeof(d)] = 8; /* echo request */
	for (unsigned i = 0; i < 6; i++) {
		CHECK(ft_write(&t, c, buf, 1472));
		ft_settle(&t);
	}
	CHECK(guest_has_msgs(c, 2));
	CHECK_EQ(c->rx_cnt, 2 * 1472);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	c->no_read = false;
	c->fwd_cnt = c->rx_cnt;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	CHECK(guest_has_msgs(c, 6));
	CHECK_EQ(c->nrx, 6 * 1472);
	down();
}

static const struct test_case cases[] = {
	TEST(opened_and_closed),
	TEST(all_the_connections),
	TEST(datagrams_without_an_end),
	TEST(rests_that_nobody_takes),
	TEST(credit_that_lies),
	TEST(what_comes_waits_for_room),
	TEST(host_without_descriptors),
	TEST(connects_to_nobody),
	TEST(closed_by_a_reset),
	TEST(closed_but_not_reset),
	TEST(echoes_within_the_credit),
};

int main(int argc, char **argv)
{
	struct rlimit r;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)ft_own_net();
	/* as oci/vmproc.c does for the VMM */
	if (!getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
