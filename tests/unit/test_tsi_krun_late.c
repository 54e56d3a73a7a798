// SPDX-License-Identifier: Apache-2.0
// TSI, libkrun's protocol: answers that come later, and requests that the host refuses.

#include <signal.h>

#include "unit/tsi_krun_rig.h"

static bool has_answer(struct ft *f, void *arg)
{
	const uint32_t *op = arg;

	for (unsigned i = 0; i < f->ndg; i++) {
		if (f->dg[i].p.src_port == *op)
			return true;
	}
	return false;
}

static bool answered(uint32_t op)
{
	ft_settle(&t);
	return has_answer(&t, &op);
}

/* Asks for a connection to a listener that does not answer yet: no more does the host. */
static bool connecting(uint32_t svm, uint16_t port)
{
	return create(svm, 2, 1) && with_addr(CONNECT, svm, port) && !answered(CONNECT);
}

static void stop_filling(int fill[4])
{
	for (unsigned i = 0; i < 4; i++)
		(void)close(fill[i]);
}

/* The handshake ends when there is room: one answer, and the stream works. */
static void connected_later(void)
{
	uint16_t port;
	int fill[4], l = full_listener(&port, fill), fd;
	struct ft_conn *c;

	CHECK(krun_up(&all_allowed));
	CHECK(connecting(5000, port));
	/* who asks again is told so, and the first question stays open */
	CHECK(with_addr(CONNECT, 5000, port));
	CHECK_EQ(result(CONNECT), -EALREADY);
	/* no stream before the answer */
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 5000, DATA);
	CHECK(ft_until(&t, is_reset, c));
	c->used = false;
	CHECK(!answered(CONNECT));
	/* the first that is there is what filled the backlog, and has ended */
	stop_filling(fill);
	fd = host_accept(l);
	CHECK(fd >= 0);
	CHECK_EQ(host_read(fd, buf, 1), 0);
	(void)close(fd);
	CHECK_EQ(result(CONNECT), 0);
	CHECK(!answered(CONNECT));
	CHECK(with_addr(CONNECT, 5000, port));
	CHECK_EQ(result(CONNECT), -EISCONN);
	fd = host_accept(l);
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 5000, DATA);
	CHECK(fd >= 0 && ft_until(&t, is_up, c));
	CHECK(ft_write(&t, c, "late", 4));
	CHECK_EQ(host_read(fd, buf, 4), 4);
	CHECK(host_write(fd, "but here", 8) && guest_has(c, 8));
	(void)close(fd);
	(void)close(l);
	down();
}

/* The true error, when the listener ends meanwhile; the proxy can be used again. */
static void refused_later(void)
{
	uint16_t port, other;
	int fill[4], l = full_listener(&port, fill), k = host_socket(SOCK_STREAM, &other), fd;

	CHECK(krun_up(&all_allowed));
	CHECK(connecting(5000, port));
	(void)close(l);
	CHECK_EQ(result(CONNECT), -ECONNREFUSED);
	CHECK(!answered(CONNECT));
	CHECK(create(5000, 2, 1) && with_addr(CONNECT, 5000, other));
	CHECK_EQ(result(CONNECT), 0);
	fd = host_accept(k);
	CHECK(fd >= 0);
	(void)close(fd);
	(void)close(k);
	stop_filling(fill);
	down();
}

/* Released before the answer: there is none, and nothing stays. */
static void released_meanwhile(void)
{
	uint16_t port;
	int fill[4], l = full_listener(&port, fill), fd;

	CHECK(krun_up(&all_allowed));
	CHECK(connecting(5000, port) && two(RELEASE, 5000, DATA));
	ft_settle(&t);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 0);
	stop_filling(fill);
	fd = host_accept(l);
	CHECK(fd >= 0);
	(void)close(fd);
	CHECK(with_addr(CONNECT, 7777, port));
	CHECK_EQ(result(CONNECT), -ECONNREFUSED);
	CHECK(!answered(CONNECT));
	(void)close(l);
	down();
}

static int listen_at(uint32_t svm, uint32_t ip, uint16_t port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip)
	};
	uint8_t m[16 + 128] = { 0 };

	put_le32(m, svm);
	put_le32(m + 4, svm + 1000);
	put_le32(m + 8, 16);
	put_le32(m + 12, sizeof(a));
	memcpy(m + 16, &a, sizeof(a));
	return ft_krun(&t, LISTEN, CTL, m, sizeof(m)) ? result(LISTEN) : 1;
}

/* A port of somebody else's, an address of nobody's: told, and the proxy may try another. */
static void listen_refused(void)
{
	uint16_t port, free_port;
	int l = host_socket(SOCK_STREAM, &port), k = host_socket(SOCK_STREAM, &free_port), fd;
	struct ft_conn *c = NULL;

	(void)close(k);
	CHECK(krun_up(&all_allowed));
	CHECK(create(5000, 2, 1));
	CHECK_EQ(listen_at(5000, LOOP, port), -EADDRINUSE);
	CHECK_EQ(listen_at(5000, 0xc0000201U, free_port), -EADDRNOTAVAIL);
	CHECK(two(ACCEPT, 5000, 0x800));
	CHECK_EQ(result(ACCEPT), -EINVAL);
	CHECK_EQ(listen_at(5000, LOOP, free_port), 0);
	/* nor one that another proxy of the guest has */
	CHECK(create(5001, 2, 1));
	CHECK_EQ(listen_at(5001, LOOP, free_port), -EADDRINUSE);
	fd = host_connect(free_port);
	CHECK(fd >= 0 && ft_until(&t, has_incoming, &c));
	CHECK_EQ(c->gport, 6000);
	(void)close(fd);
	(void)close(l);
	down();
}

/* An empty datagram goes out as one; one that comes cannot be told, and does no harm. */
static void empty_datagram(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	uint32_t svm = 5000;
	uint16_t port;
	int fd = host_socket(SOCK_DGRAM, &port);

	CHECK(krun_up(&all_allowed));
	CHECK(create(svm, 2, 2) && with_addr(SENDTO_ADDR, svm, port));
	CHECK(ft_krun(&t, SENDTO_DATA, svm, "", 0));
	CHECK_EQ(host_recv(fd), 0);
	CHECK(ft_krun(&t, SENDTO_DATA, svm, "next", 4));
	ft_settle(&t);
	CHECK(ft_readable(fd));
	CHECK_EQ(recvfrom(fd, buf, 100, 0, (struct sockaddr *)&a, &len), 4);
	CHECK_EQ(sendto(fd, "", 0, 0, (struct sockaddr *)&a, len), 0);
	ft_settle(&t);
	CHECK_EQ(t.ndg, 0);
	CHECK_EQ(loop_once(t.f.loop, 0), 0);
	CHECK_EQ(sendto(fd, "reply", 5, 0, (struct sockaddr *)&a, len), 5);
	CHECK(ft_until(&t, has_datagram, &svm));
	CHECK_EQ(t.dg[0].p.len, 5);
	/* and connected */
	CHECK(with_addr(CONNECT, svm, port));
	CHECK_EQ(result(CONNECT), 0);
	CHECK(ft_krun(&t, svm, svm, "", 0));
	CHECK_EQ(host_recv(fd), 0);
	(void)close(fd);
	down();
}

/* A packet of vsock's own to the ports of a listening proxy is not about it: only RELEASE is. */
static void reset_of_a_listener(void)
{
	struct fv_pkt p = { .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = 5000,
		.dst_port = DATA,
		.type = VSOCK_TYPE_STREAM,
		.op = OP_RST };
	struct ft_conn *c = NULL;
	uint16_t port;
	int l = host_socket(SOCK_STREAM, &port), fd;

	(void)close(l);
	CHECK(krun_up(&all_allowed));
	CHECK(create(5000, 2, 1));
	CHECK_EQ(listen_on(5000, 6000, port), 0);
	CHECK(fv_send(&t.f, &p, NULL, 0));
	p.op = OP_SHUTDOWN;
	p.flags = VSOCK_SHUT_BOTH;
	CHECK(fv_send(&t.f, &p, NULL, 0));
	ft_settle(&t);
	CHECK_EQ(vsock_of(t.f.v)->tsi->nsocks, 1);
	fd = host_connect(port);
	CHECK(fd >= 0 && ft_until(&t, has_incoming, &c));
	CHECK(two(ACCEPT, 5000, 0x800));
	CHECK_EQ(result(ACCEPT), 0);
	/* nor does the end of what it accepted */
	CHECK(ft_op(&t, c, OP_RST, 0));
	CHECK_EQ(host_read(fd, buf, 1), 0);
	(void)close(fd);
	c->used = false;
	fd = host_connect(port);
	CHECK(fd >= 0 && ft_until(&t, has_incoming, &c));
	(void)close(fd);
	CHECK(two(RELEASE, 5000, DATA));
	ft_settle(&t);
	CHECK(host_connect(port) < 0);
	down();
}

static const struct test_case cases[] = {
	TEST(connected_later),
	TEST(refused_later),
	TEST(released_meanwhile),
	TEST(listen_refused),
	TEST(empty_datagram),
	TEST(reset_of_a_listener),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)ft_own_net();
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
