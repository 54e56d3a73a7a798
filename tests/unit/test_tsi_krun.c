// SPDX-License-Identifier: Apache-2.0
// TSI, libkrun's protocol: every exchange that a libkrunfw kernel makes, by hand, byte by byte.

#include <signal.h>

#include "unit/tsi_krun_rig.h"

static void stream_out(void)
{
	struct sockaddr_in a = { 0 };
	struct ft_conn *c;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;

	CHECK(krun_up(&all_allowed));
	/* the first has no answer, and both may come at once */
	CHECK(create(5000, 2, 1) && with_addr(CONNECT, 5000, port));
	CHECK_EQ(result(CONNECT), 0);
	/* the proxy waits for the guest's stream */
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 5000, DATA);
	CHECK(ft_until(&t, is_up, c));
	fd = host_accept(l);
	CHECK(fd >= 0);
	CHECK(ft_write(&t, c, "GET /", 5));
	CHECK_EQ(host_read(fd, buf, 5), 5);
	fv_fill(big, 300000, 0, FV_TO_GUEST);
	CHECK(host_write(fd, big, 300000));
	CHECK(guest_has(c, 300000));
	CHECK(!memcmp(c->rx, big, 300000));
	CHECK_EQ(getname(5000, DATA, &a), 0);
	CHECK_EQ(ntohs(a.sin_port), port);
	CHECK(a.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	/* the guest asks for credit, and is answered */
	CHECK(ft_op(&t, c, OP_CREDIT_REQ, 0));
	ft_settle(&t);
	CHECK(t.f.ops[OP_CREDIT]);
	/* release, then the transport's own close */
	CHECK(two(RELEASE, 5000, DATA));
	CHECK(ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	CHECK(ft_until(&t, is_reset, c));
	CHECK_EQ(host_read(fd, buf, 1), 0);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	(void)close(fd);
	(void)close(l);
	down();
}

static void true_errors(void)
{
	struct sockaddr_in a;
	uint16_t port;
	struct ft_conn *c;
	int l = host_socket(SOCK_STREAM, &port);

	(void)close(l);
	CHECK(krun_up(&all_allowed));
	CHECK(create(5000, 2, 1) && with_addr(CONNECT, 5000, port));
	CHECK_EQ(result(CONNECT), -ECONNREFUSED);
	/* proxies that do not exist */
	CHECK(with_addr(CONNECT, 7777, port));
	CHECK_EQ(result(CONNECT), -ECONNREFUSED);
	CHECK_EQ(listen_on(7777, 1, 0), -EPERM);
	CHECK(two(ACCEPT, 7777, 0));
	CHECK_EQ(result(ACCEPT), -EINVAL);
	CHECK_EQ(getname(7777, DATA, &a), -EINVAL);
	CHECK_EQ(getname(5000, DATA, &a), -ENOTCONN);
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 7777, DATA);
	CHECK(ft_until(&t, is_reset, c));
	/* one that is not connected takes no stream */
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 5000, DATA);
	CHECK(ft_until(&t, is_reset, c));
	/* unix sockets are the guest's own */
	CHECK(create(5001, 1, 1) && with_addr(CONNECT, 5001, port));
	CHECK_EQ(result(CONNECT), -ECONNREFUSED);
	down();
}

static void stream_in(void)
{
	struct sockaddr_in a, own;
	socklen_t len = sizeof(own);
	struct ft_conn *c = NULL;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;

	(void)close(l);
	CHECK(krun_up(&all_allowed));
	CHECK(create(5000, 2, 1));
	CHECK_EQ(listen_on(5000, 6000, port), 0);
	CHECK_EQ(listen_on(5000, 6000, port), 0);
	CHECK(two(ACCEPT, 5000, 0x800));
	CHECK_EQ(result(ACCEPT), -EWOULDBLOCK);
	/* an accept that waits is answered after the stream stands */
	CHECK(two(ACCEPT, 5000, 0));
	ft_settle(&t);
	fd = host_connect(port);
	CHECK(fd >= 0);
	CHECK_EQ(result(ACCEPT), 0);
	CHECK(ft_until(&t, has_incoming, &c));
	CHECK(ft_write(&t, c, "220 ", 4));
	CHECK_EQ(host_read(fd, buf, 4), 4);
	CHECK(!getsockname(fd, (struct sockaddr *)&own, &len));
	CHECK_EQ(getname(6000, c->hport, &a), 0);
	CHECK_EQ(a.sin_port, own.sin_port);
	CHECK(two(RELEASE, 6000, c->hport));
	CHECK(ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	CHECK(ft_until(&t, is_reset, c));
	CHECK_EQ(host_read(fd, buf, 1), 0);
	(void)close(fd);
	c->used = false;
	/* one that came before it was asked for */
	fd = host_connect(port);
	CHECK(fd >= 0 && ft_until(&t, has_incoming, &c));
	CHECK(two(ACCEPT, 5000, 0x800));
	CHECK_EQ(result(ACCEPT), 0);
	(void)close(fd);
	CHECK(ft_until(&t, is_shut, c));
	CHECK(two(RELEASE, 5000, DATA));
	ft_settle(&t);
	CHECK(host_connect(port) < 0);
	down();
}

static void guest_refuses(void)
{
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;
	struct ft_conn *c = NULL;

	(void)close(l);
	CHECK(krun_up(&all_allowed));
	CHECK(create(5000, 2, 1));
	CHECK_EQ(listen_on(5000, 6000, port), 0);
	t.refuse = true;
	fd = host_connect(port);
	CHECK(fd >= 0);
	CHECK_EQ(host_read(fd, buf, 1), 0);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 1);
	(void)close(fd);
	/* as often as it likes: what it refused takes no place in the window */
	for (unsigned i = 0; i < LIM_TSI_WINDOW + 2; i++) {
		fd = host_connect(port);
		CHECK(fd >= 0);
		CHECK_EQ(host_read(fd, buf, 1), 0);
		(void)close(fd);
	}
	for (unsigned i = 0; i < FT_CONNS; i++)
		t.c[i].used = false;
	t.refuse = false;
	fd = host_connect(port);
	CHECK(fd >= 0 && ft_until(&t, has_incoming, &c));
	CHECK(two(ACCEPT, 5000, 0x800));
	CHECK_EQ(result(ACCEPT), 0);
	CHECK(ft_write(&t, c, "here", 4));
	CHECK_EQ(host_read(fd, buf, 4), 4);
	(void)close(fd);
	down();
}

/* A guest that releases what it was not told of yet loses no place in the window either. */
static void released_before_it_was_up(void)
{
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;
	struct ft_conn *c = NULL;
	const struct vsock_conn *k;

	(void)close(l);
	CHECK(krun_up(&all_allowed));
	CHECK(create(5000, 2, 1));
	CHECK_EQ(listen_on(5000, 6000, port), 0);
	t.f.no_refill = true;
	while (t.f.nrx) {
		CHECK(two(ACCEPT, 7777, 0));
		ft_settle(&t);
	}
	for (unsigned i = 0; i < LIM_TSI_WINDOW + 2; i++) {
		fd = host_connect(port);
		CHECK(fd >= 0);
		ft_settle(&t);
		k = TAILQ_FIRST(&vsock_of(t.f.v)->all);
		CHECK(k && two(RELEASE, 6000, k->hport));
		ft_settle(&t);
		CHECK_EQ(host_read(fd, buf, 1), 0);
		(void)close(fd);
	}
	t.f.no_refill = false;
	fv_post(&t.f, 64);
	ft_settle(&t);
	fd = host_connect(port);
	CHECK(fd >= 0 && ft_until(&t, has_incoming, &c));
	(void)close(fd);
	down();
}

static void datagrams(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	uint32_t svm = 5000, svm2 = 5001;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port);

	CHECK(krun_up(&all_allowed));
	CHECK(create(svm, 2, 2) && with_addr(SENDTO_ADDR, svm, port));
	CHECK(ft_krun(&t, SENDTO_DATA, svm, "query", 5));
	CHECK_EQ(host_recv(fd), 5);
	CHECK(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, 0) < 0);
	/* the way back, to the port of the proxy */
	CHECK(ft_krun(&t, SENDTO_DATA, svm, "query", 5));
	ft_settle(&t);
	CHECK(ft_readable(fd));
	CHECK(recvfrom(fd, buf, 100, 0, (struct sockaddr *)&a, &len) == 5);
	CHECK_EQ(sendto(fd, "reply", 5, 0, (struct sockaddr *)&a, len), 5);
	CHECK(ft_until(&t, has_datagram, &svm));
	CHECK_EQ(t.dg[0].p.len, 5);
	CHECK(!memcmp(t.dg[0].data, "reply", 5));
	CHECK(t.dg[0].p.src_cid == FV_CID && t.dg[0].p.dst_cid == 2);
	/* connected */
	CHECK(create(svm2, 2, 2) && with_addr(CONNECT, svm2, port));
	CHECK_EQ(result(CONNECT), 0);
	CHECK(ft_krun(&t, svm2, svm2, "connected", 9));
	CHECK_EQ(host_recv(fd), 9);
	CHECK(two(RELEASE, svm2, DATA) && two(RELEASE, svm, DATA));
	ft_settle(&t);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	CHECK_EQ(vsock_of(t.f.v)->nall, 0);
	CHECK_EQ(t.f.stray_rst, 0);
	(void)close(fd);
	down();
}

static bool has_credit_update(struct ft *f, void *arg)
{
	(void)arg;
	return f->f.ops[OP_CREDIT] > 0;
}

/* A stream of the guest's to a socket of ours; both ends. */
static struct ft_conn *stream(uint32_t svm, int *host)
{
	struct ft_conn *c;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port);

	if (!create(svm, 2, 1) || !with_addr(CONNECT, svm, port) || result(CONNECT))
		abort();
	c = ft_dial(&t, VSOCK_TYPE_STREAM, svm, DATA);
	if (!ft_until(&t, is_up, c))
		abort();
	*host = host_accept(l);
	(void)close(l);
	return c;
}

/* Each way in which a stream ends. */
static void ends_of_a_stream(void)
{
	struct ft_conn *c;
	int fd;

	CHECK(krun_up(&all_allowed));
	/* the guest sends no more; the answer still comes */
	c = stream(5000, &fd);
	CHECK(ft_write(&t, c, "last", 4) && ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_SEND));
	CHECK_EQ(host_read(fd, buf, 4), 4);
	CHECK_EQ(host_read(fd, buf, 1), 0);
	CHECK(host_write(fd, "answer", 6) && guest_has(c, 6));
	/* the host sends no more */
	(void)close(fd);
	CHECK(ft_until(&t, is_shut, c));
	CHECK(two(RELEASE, 5000, DATA) && ft_op(&t, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	CHECK(ft_until(&t, is_reset, c));
	c->used = false;
	/* the host's end is an RST of TCP */
	c = stream(5001, &fd);
	CHECK(ft_write(&t, c, "unread", 6));
	ft_settle(&t);
	(void)close(fd);
	CHECK(ft_until(&t, is_reset, c));
	c->used = false;
	CHECK(two(RELEASE, 5001, DATA));
	/* the guest's is one of vsock: what was sent arrives */
	c = stream(5002, &fd);
	CHECK(ft_write(&t, c, "sent", 4) && ft_op(&t, c, OP_RST, 0));
	CHECK_EQ(host_read(fd, buf, 4), 4);
	CHECK_EQ(host_read(fd, buf, 1), 0);
	(void)close(fd);
	c->up = true;
	/* payload to what is gone is answered by an RST, an RST and a credit update not by one */
	c->peer_alloc = UINT32_MAX / 2;
	CHECK(ft_write(&t, c, "late", 4));
	CHECK(ft_until(&t, is_reset, c));
	CHECK(two(RELEASE, 5002, DATA));
	ft_settle(&t);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	CHECK_EQ(vsock_of(t.f.v)->nall, 0);
	down();
}

/* Without room in the guest nothing is sent; a credit update brings the rest. The other way round
 * the host tells when it has taken what the guest sent. */
static void credit(void)
{
	struct ft_conn *c;
	size_t sent = 0;
	int fd;

	CHECK(krun_up(&all_allowed));
	c = stream(5000, &fd);
	c->no_read = true;
	fv_fill(big, 600000, 0, FV_TO_GUEST);
	while (sent < 600000) {
		ssize_t r = write(fd, big + sent, 600000 - sent);

		if (r <= 0)
			break;
		sent += (size_t)r;
		ft_settle(&t);
	}
	CHECK(sent > c->alloc);
	CHECK_EQ(c->rx_cnt, c->alloc);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	c->no_read = false;
	c->fwd_cnt = c->rx_cnt;
	CHECK(ft_op(&t, c, OP_CREDIT, 0));
	CHECK(guest_has(c, sent));
	CHECK(!memcmp(c->rx, big, sent));
	memset(big, 'x', sizeof(big));
	CHECK(ft_write(&t, c, big, 100000) && ft_write(&t, c, big, 100000));
	CHECK_EQ(host_read(fd, buf, 200000), 200000);
	CHECK(ft_until(&t, has_credit_update, NULL));
	CHECK(c->peer_fwd > 0);
	(void)close(fd);
	down();
}

/* AF_INET6 has Linux's number on the wire, and its own addresses. */
static void inet6(void)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), fd;
	uint8_t m[8 + 128] = { 0 };
	const struct ft_dgram *d;
	struct ft_conn *c;

	CHECK(krun_up(&all_allowed));
	if (l < 0 || bind(l, (struct sockaddr *)&a, len) || listen(l, 1)) {
		printf("# no IPv6 here\n");
		if (l >= 0)
			(void)close(l);
		down();
		return;
	}
	CHECK(!getsockname(l, (struct sockaddr *)&a, &len));
	put_le32(m, 5000);
	put_le32(m + 4, sizeof(a));
	memcpy(m + 8, &a, sizeof(a));
	CHECK(create(5000, 10, 1) && ft_krun(&t, CONNECT, CTL, m, sizeof(m)));
	CHECK_EQ(result(CONNECT), 0);
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 5000, DATA);
	CHECK(ft_until(&t, is_up, c));
	fd = host_accept(l);
	CHECK(fd >= 0 && ft_write(&t, c, "six", 3));
	CHECK_EQ(host_read(fd, buf, 3), 3);
	put_le32(m + 4, DATA);
	put_le32(m + 8, 1);
	CHECK(ft_krun(&t, GETNAME, CTL, m, 12));
	d = ft_krun_answer(&t, GETNAME, CTL, 136);
	CHECK(d && get_le32(d->data + 4) == sizeof(a) && !memcmp(d->data + 8, &a, 24));
	(void)close(fd);
	(void)close(l);
	down();
}

/* A listener or an accept of a datagram socket is not left without an answer. */
static void datagrams_do_not_listen(void)
{
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port), r;

	(void)close(fd);
	CHECK(krun_up(&all_allowed));
	CHECK(create(5000, 2, 2));
	r = listen_on(5000, 6000, port);
	CHECK(r < 0);
	CHECK(two(ACCEPT, 5000, 0));
	r = result(ACCEPT);
	CHECK(r < 0);
	/* nor one of a stream that does not listen */
	CHECK(create(5001, 2, 1) && two(ACCEPT, 5001, 0));
	r = result(ACCEPT);
	CHECK(r < 0);
	down();
}

static void mapped_and_denied(void)
{
	uint16_t port, out;
	int l = host_socket(SOCK_STREAM, &port), k = host_socket(SOCK_STREAM, &out), fd;
	struct net_map map[] = { { .host = port, .guest = 80 } };
	struct net_rule rule = {
		.deny = true, .family = 4, .prefix = 32, .ip = { 127, 0, 0, 1 }, .last = 65535
	};
	struct vsock_net net = {
		.map = map, .nmap = 1, .mapped = true, .egress = &rule, .negress = 1
	};

	(void)close(l);
	CHECK(krun_up(&net));
	CHECK(create(5000, 2, 1));
	CHECK_EQ(listen_on(5000, 6000, 80), 0);
	fd = host_connect(port);
	CHECK(fd >= 0);
	/* a port that is not mapped: the guest's kernel then listens by itself */
	CHECK(create(5001, 2, 1));
	CHECK_EQ(listen_on(5001, 6001, 81), -EPERM);
	CHECK(create(5002, 2, 1) && with_addr(CONNECT, 5002, out));
	CHECK_EQ(result(CONNECT), -EACCES);
	(void)close(fd);
	(void)close(k);
	down();
}

/* Short requests, lengths that lie, operations that are none. */
static void malformed(void)
{
	uint8_t m[200];
	struct fv_pkt p = { .src_cid = FV_CID, .dst_cid = 2, .src_port = CTL, .type = 3 };

	CHECK(krun_up(&all_allowed));
	memset(m, 0xff, sizeof(m));
	CHECK(create(5000, 2, 1) && create(5001, 2, 2));
	for (uint32_t op = CREATE; op <= RELEASE; op++) {
		for (unsigned n = 0; n < 24; n++) {
			CHECK(ft_krun(&t, op, CTL, m, n));
			ft_settle(&t);
		}
		put_le32(m, op & 1 ? 5000 : 5001);
		CHECK(ft_krun(&t, op, CTL, m, sizeof(m)));
		ft_settle(&t);
	}
	for (uint16_t op = 0; op < 9; op++) {
		p.op = op;
		p.dst_port = CREATE;
		CHECK(fv_send(&t.f, &p, NULL, 0));
		ft_settle(&t);
	}
	CHECK_EQ(t.f.stray_rst, 0);
	CHECK(!vdev_is_broken(t.f.v));
	down();
}

/* Questions without buffers for the answers: the guest's ring waits, and then all are answered. */
static void answers_wait_for_buffers(void)
{
	unsigned sent = 0;
	struct fv *f = &t.f;

	CHECK(krun_up(&all_allowed));
	f->no_refill = true;
	for (unsigned idle = 0; idle < 8;) {
		bool more = with_addr(CONNECT, 7777, 1);

		sent += more;
		idle = fv_step(f) || more ? 0 : idle + 1;
	}
	CHECK_EQ(vsock_of(f->v)->tsi->nreply, LIM_TSI_REPLIES);
	CHECK(sent > LIM_TSI_REPLIES && sent < LIM_TSI_REPLIES + 256);
	CHECK_EQ(loop_once(f->loop, 0), 0);
	f->no_refill = false;
	fv_post(f, 64);
	ft_settle(&t);
	CHECK_EQ(vsock_of(f->v)->tsi->nreply, 0);
	CHECK_EQ(f->ops[OP_RW], sent);
	down();
}

static bool has_replies(struct ft *f, void *arg)
{
	return vsock_of(f->f.v)->tsi->nreply >= *(unsigned *)arg;
}

/* The guest waits for each without end: also for those that end while the ring is full. */
static void a_connect_under_way_is_answered(void)
{
	unsigned sent = 0, want = LIM_TSI_REPLIES + 4;
	struct fv *f = &t.f;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;

	CHECK(krun_up(&all_allowed));
	/* one connection fills its queue, and the others' SYNs are dropped */
	CHECK(!listen(l, 0));
	fd = host_connect(port);
	CHECK(fd >= 0);
	for (uint32_t i = 0; i < 4; i++) {
		CHECK(create(5000 + i, 2, 1) && with_addr(CONNECT, 5000 + i, port));
		ft_settle(&t);
		CHECK_EQ(tsi_find(vsock_of(f->v)->tsi, &tsi_krun, 5000 + i)->state, TSI_CONNECTING);
	}
	f->no_refill = true;
	for (unsigned idle = 0; idle < 8;) {
		bool more = with_addr(CONNECT, 7777, 1);

		sent += more;
		idle = fv_step(f) || more ? 0 : idle + 1;
	}
	CHECK_EQ(vsock_of(f->v)->tsi->nreply, LIM_TSI_REPLIES);
	/* the next SYN is refused */
	(void)close(l);
	CHECK(ft_until(&t, has_replies, &want));
	CHECK_EQ(vsock_of(f->v)->tsi->nreply, LIM_TSI_REPLIES + 4);
	f->no_refill = false;
	fv_post(f, 64);
	ft_settle(&t);
	CHECK_EQ(vsock_of(f->v)->tsi->nreply, 0);
	CHECK_EQ(f->ops[OP_RW], sent + 4);
	(void)close(fd);
	down();
}

static void ours_takes_its_place(void)
{
	CHECK(krun_up(&all_allowed));
	CHECK(ft_hello(&t));
	CHECK(with_addr(CONNECT, 7777, 1));
	ft_settle(&t);
	CHECK_EQ(t.ndg, 0);
	down();
}

static const struct test_case cases[] = {
	TEST(stream_out),
	TEST(true_errors),
	TEST(stream_in),
	TEST(guest_refuses),
	TEST(released_before_it_was_up),
	TEST(datagrams),
	TEST(ends_of_a_stream),
	TEST(credit),
	TEST(inet6),
	TEST(datagrams_do_not_listen),
	TEST(mapped_and_denied),
	TEST(malformed),
	TEST(answers_wait_for_buffers),
	TEST(a_connect_under_way_is_answered),
	TEST(ours_takes_its_place),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)ft_own_net();
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
