// SPDX-License-Identifier: Apache-2.0
// TSI across save and load: connections end by ECONNRESET, listeners and datagram sockets go on.

#include <signal.h>

#include "unit/tsi_rig.h"
#include "util/save.h"

static const struct vsock_net *twin_net = &all_allowed;

static int make_twin(struct vdev **twin)
{
	struct vsock_cfg cfg = { .guest_cid = FV_CID, .net = twin_net };
	int r = vsock_new(t.f.loop, &t.f.g.mem, &cfg, twin, NULL);

	if (!r)
		(*twin)->irq = &t.f.d.irq;
	return r;
}

static int save_and_load(struct save_out *out)
{
	struct save_in in;
	struct vdev *twin;
	int r;

	vdev_pause(t.f.v);
	r = vdev_save(t.f.v, out);
	if (r)
		return r;
	vdev_fini(t.f.v);
	t.f.v->cls->destroy(t.f.v);
	r = make_twin(&twin);
	if (r)
		return r;
	t.f.v = t.f.d.v = t.f.d.mmio.v = twin;
	in = (struct save_in){ .buf = out->buf, .len = out->len };
	r = vdev_load(twin, &in);
	if (!r)
		r = load_done(&in);
	vdev_resume(twin);
	return r;
}

static void what_goes_on_and_what_ends(void)
{
	struct save_out out = { 0 };
	struct ft_conn *c, *u;
	struct tsi_msg m;
	uint16_t port = 0, udp, there;
	int fd, sock = host_socket(SOCK_DGRAM, &there), i;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	CHECK(up(&all_allowed));
	c = pair(1, &fd);
	CHECK_EQ(listener(2, &port), 0);
	u = open_udp(3, 6001);
	CHECK(u);
	m = ft_msg(TSI_BIND, 3, 0, 0, 0);
	m.a = ft_in4(LOOP, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	udp = ft_port(&m.a);
	m = ft_msg(TSI_SETOPT, 3, TSI_SO_BROADCAST, 1, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK(udp_send(u, there, "one", 3));
	CHECK_EQ(host_recv(sock), 3);
	/* of a record only the beginning has come */
	m = ft_msg(TSI_NAMES, 3, 0, 0, 0);
	m.seq = 4711;
	CHECK(ft_write(&t, t.ctl, &m, 40));
	ft_settle(&t);
	CHECK_EQ(save_and_load(&out), 0);
	/* the stream ended, and why; its socket of the host is gone */
	i = ft_event(&t, TSI_ERROR, 1);
	CHECK(i >= 0);
	CHECK_EQ((int)t.rec[i].status, -ECONNRESET);
	CHECK(ft_until(&t, is_reset, c));
	CHECK(t.rec_order[i] < c->reset_order);
	(void)close(fd);
	/* the rest of the record */
	CHECK(ft_write(&t, t.ctl, (uint8_t *)&m + 40, sizeof(m) - 40));
	CHECK_EQ(ft_answer(&t, 4711, &m), 0);
	CHECK_EQ(ft_port(&m.a), udp);
	m = ft_msg(TSI_GETOPT, 3, TSI_SO_BROADCAST, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(m.arg[1], 1);
	/* datagrams, both ways, over the connection that was there */
	CHECK(udp_send(u, there, "two!", 4));
	CHECK_EQ(host_recv(sock), 4);
	a.sin_port = htons(udp);
	CHECK_EQ(sendto(sock, "back", 4, 0, (struct sockaddr *)&a, sizeof(a)), 4);
	CHECK(guest_has_msgs(u, 1));
	/* the listener, on its port */
	fd = host_connect(port);
	CHECK(fd >= 0);
	CHECK(ft_event(&t, TSI_ACCEPTED, 2) >= 0);
	m = ft_msg(TSI_CLOSE, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	save_out_free(&out);
	(void)close(fd);
	(void)close(sock);
	down();
}

static int names(uint32_t id, struct tsi_msg *m)
{
	*m = ft_msg(TSI_NAMES, id, 0, 0, 0);
	return ft_ask(&t, m);
}

static bool no_error(void)
{
	for (unsigned i = 0; i < t.nrec; i++) {
		if (t.rec[i].type == TSI_ERROR)
			return false;
	}
	return true;
}

/* A port that the host chose is not the policy's nor the map's, then or after. */
static void ports_of_the_hosts_choice(void)
{
	struct net_rule none = { .deny = true, .last = UINT16_MAX };
	const struct vsock_net nets[] = { { .nmap = 0 }, { .listen = &none, .nlisten = 1 },
		{ .mapped = true } };
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint16_t there;
	int sock = host_socket(SOCK_DGRAM, &there);

	for (unsigned i = 0; i < ARRAY_SIZE(nets); i++) {
		struct ft_conn *u, *sends;
		struct tsi_msg m;
		uint16_t bound, sent;

		twin_net = &nets[i];
		CHECK(up(twin_net));
		u = open_udp(1, 6001);
		sends = open_udp(2, 6002);
		CHECK(u && sends);
		m = ft_msg(TSI_BIND, 1, 0, 0, 0);
		m.a = ft_in4(LOOP, 0);
		CHECK_EQ(ft_ask(&t, &m), 0);
		bound = m.a.port;
		CHECK(udp_send(sends, there, "one", 3));
		CHECK_EQ(host_recv(sock), 3);
		CHECK_EQ(names(2, &m), 0);
		sent = m.a.port;
		/* twice: what was loaded is as what was saved */
		for (unsigned k = 0; k < 2; k++) {
			struct save_out out = { 0 };

			CHECK_EQ(save_and_load(&out), 0);
			save_out_free(&out);
			ft_settle(&t);
			CHECK(no_error());
			CHECK_EQ(names(1, &m), 0);
			CHECK_EQ(m.a.port, bound);
			CHECK(!memcmp(m.a.ip, "\x7f\0\0\1", 4));
			a.sin_port = bound;
			CHECK_EQ(sendto(sock, "to", 2, 0, (struct sockaddr *)&a, sizeof(a)), 2);
			CHECK(guest_has_msgs(u, k + 1));
			CHECK_EQ(names(2, &m), 0);
			CHECK_EQ(m.a.port, sent);
			a.sin_port = sent;
			CHECK_EQ(sendto(sock, "to", 2, 0, (struct sockaddr *)&a, sizeof(a)), 2);
			CHECK(guest_has_msgs(sends, k + 1));
		}
		down();
	}
	twin_net = &all_allowed;
	(void)close(sock);
}

/* What a connect, or the lack of a port, makes of an address is not what was asked for. */
static void bound_as_it_was_asked(void)
{
	struct save_out out = { 0 };
	struct tsi_msg m;
	uint16_t there, free_port, full;
	int sock = host_socket(SOCK_DGRAM, &there), l = host_socket(SOCK_STREAM, &full), fd;

	(void)close(host_socket(SOCK_DGRAM, &free_port));
	CHECK(!listen(l, 0));
	fd = host_connect(full);
	CHECK(fd >= 0);
	CHECK(up(&all_allowed));
	CHECK(open_udp(1, 6001));
	m = ft_msg(TSI_BIND, 1, 0, 0, 0);
	m.a = ft_in4(0, free_port);
	CHECK_EQ(ft_ask(&t, &m), 0);
	m = ft_msg(TSI_CONNECT, 1, 0, 0, 0);
	m.a = ft_in4(LOOP, there);
	CHECK_EQ(ft_ask(&t, &m), 0);
	open_tcp(2);
	m = ft_msg(TSI_SETOPT, 2, TSI_IP_BIND_ADDRESS_NO_PORT, 1, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	m = ft_msg(TSI_BIND, 2, 0, 0, 0);
	m.a = ft_in4(LOOP + 1, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(m.a.port, 0);
	/* a connect under way: its address would bind the next one to loopback */
	open_tcp(3);
	m = ft_msg(TSI_CONNECT, 3, 5003, 0, 0);
	m.a = ft_in4(LOOP, full);
	m.seq = 4711;
	CHECK(ft_write(&t, t.ctl, &m, sizeof(m)));
	ft_settle(&t);
	CHECK_EQ(tsi_find(vsock_of(t.f.v)->tsi, &tsi_own, 3)->state, TSI_CONNECTING);
	CHECK_EQ(save_and_load(&out), 0);
	CHECK_EQ(ft_answer(&t, 4711, &m), -ECONNRESET);
	CHECK(no_error());
	CHECK_EQ(names(1, &m), 0);
	CHECK_EQ(ft_port(&m.a), free_port);
	CHECK_EQ(ft_port(&m.b), there);
	m = ft_msg(TSI_CONNECT, 1, 0, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	CHECK_EQ(names(1, &m), 0);
	CHECK_EQ(ft_port(&m.a), free_port);
	CHECK(!memcmp(m.a.ip, "\0\0\0\0", 4));
	CHECK_EQ(names(2, &m), 0);
	CHECK_EQ(m.a.port, 0);
	CHECK(!memcmp(m.a.ip, "\x7f\0\0\2", 4));
	CHECK_EQ(names(3, &m), 0);
	CHECK_EQ(m.a.port, 0);
	CHECK(!memcmp(m.a.ip, "\0\0\0\0", 4));
	save_out_free(&out);
	(void)close(fd);
	(void)close(l);
	(void)close(sock);
	down();
}

/* A name, where the other options are numbers. */
static void congestion_control_is_kept(void)
{
	struct save_out out = { 0 };
	struct tsi_msg m;
	uint16_t port = 0;

	CHECK(up(&all_allowed));
	open_tcp(1);
	CHECK_EQ(listener(2, &port), 0);
	m = ft_msg(TSI_GETOPT, 1, TSI_TCP_CONGESTION, 0, 0);
	CHECK_EQ(ft_ask(&t, &m), 0);
	/* every kernel has it */
	if (!strcmp((char *)m.data, "reno"))
		printf("# another than reno is not known here\n");
	for (uint32_t id = 1; id <= 2; id++) {
		m = ft_msg(TSI_SETOPT, id, TSI_TCP_CONGESTION, 0, 0);
		memcpy(m.data, "reno", 5);
		CHECK_EQ(ft_ask(&t, &m), 0);
		m = ft_msg(TSI_SETOPT, id, TSI_TCP_CONGESTION, 0, 0);
		memset(m.data, 'x', sizeof(m.data));
		CHECK_EQ(ft_ask(&t, &m), -EINVAL);
	}
	/* one that the host of the load does not have is no reason to end a socket */
	open_tcp(3);
	m = ft_msg(TSI_SETOPT, 3, TSI_TCP_CONGESTION, 0, 0);
	memcpy(m.data, "reno", 5);
	CHECK_EQ(ft_ask(&t, &m), 0);
	memcpy(tsi_find(vsock_of(t.f.v)->tsi, &tsi_own, 3)->congestion, "nosuch", 7);
	CHECK_EQ(save_and_load(&out), 0);
	for (uint32_t id = 1; id <= 2; id++) {
		m = ft_msg(TSI_GETOPT, id, TSI_TCP_CONGESTION, 0, 0);
		CHECK_EQ(ft_ask(&t, &m), 0);
		CHECK(!strcmp((char *)m.data, "reno"));
	}
	CHECK_EQ(names(3, &m), 0);
	CHECK(no_error());
	save_out_free(&out);
	down();
}

/* Nothing of ours goes on: one event in place of all resets. */
static void nothing_survives(void)
{
	struct save_out out = { 0 };
	uint32_t id = 1;
	struct fake_seg s;
	uint16_t head;
	uint32_t len;

	CHECK_EQ(ft_up(&t, &all_allowed, NULL, 0), 0);
	s = (struct fake_seg){ fake_alloc(&t.f.g, 8, 8).v, 8 };
	memset(fake_ptr(&t.f.g, GPA(s.gpa), 8), 0xff, 8);
	CHECK(fake_add(&t.f.d, VSOCK_EVENT, NULL, 0, &s, 1) >= 0);
	(void)fake_kick(&t.f.d, VSOCK_EVENT);
	CHECK_EQ(vsock_connect(t.f.v, 5000, -1, -1, NULL, 0, 0), 0);
	ft_settle(&t);
	CHECK_EQ(t.f.ops[OP_REQUEST], 1);
	CHECK_EQ(save_and_load(&out), 0);
	ft_settle(&t);
	CHECK_EQ(fake_reap(&t.f.d, VSOCK_EVENT, &head, &len), 1);
	CHECK_EQ(len, 4);
	memcpy(&id, fake_ptr(&t.f.g, GPA(s.gpa), 8), 4);
	CHECK_EQ(id, 0);
	CHECK_EQ(t.f.ops[OP_RST], 0);
	CHECK_EQ(vsock_of(t.f.v)->nall, 0);
	save_out_free(&out);
	down();
}

/* The saved bytes are a file's. */
static void damaged_state_is_refused(void)
{
	struct save_out out = { 0 };
	unsigned refused = 0, taken = 0;
	uint16_t port = 0;
	int fd;

	CHECK(up(&all_allowed));
	(void)pair(1, &fd);
	CHECK_EQ(listener(2, &port), 0);
	CHECK(open_udp(3, 6001));
	vdev_pause(t.f.v);
	CHECK_EQ(vdev_save(t.f.v, &out), 0);
	for (size_t i = 0; i < out.len; i++) {
		uint8_t old = out.buf[i];
		struct vdev *twin;

		for (unsigned bit = 0; bit < 8; bit += 3) {
			struct save_in in = { .buf = out.buf, .len = out.len };

			out.buf[i] = (uint8_t)(old ^ 1U << bit);
			CHECK_EQ(make_twin(&twin), 0);
			if (vdev_load(twin, &in)) {
				refused++;
			} else {
				taken++;
				/* whatever it was: a reset ends it */
				vdev_set_status(twin, 0);
				CHECK_EQ(vsock_of(twin)->tsi->nsocks, 0);
			}
			vdev_fini(twin);
			twin->cls->destroy(twin);
			out.buf[i] = old;
		}
	}
	CHECK(refused > 200);
	CHECK(taken > 0);
	for (size_t n = 0; n < out.len; n += 7) {
		struct save_in in = { .buf = out.buf, .len = n };
		struct vdev *twin;

		CHECK_EQ(make_twin(&twin), 0);
		CHECK(vdev_load(twin, &in) < 0);
		vdev_fini(twin);
		twin->cls->destroy(twin);
	}
	vdev_resume(t.f.v);
	save_out_free(&out);
	(void)close(fd);
	down();
}

/* The control connection has no fd whose end could have come. One that is said to be over would be
 * taken for one that may go when the table is full. */
static void control_connection_that_is_over(void)
{
	for (unsigned i = 0; i < 4; i++) {
		struct save_out out = { 0 };
		struct save_in in;
		struct vsock_conn *c;
		struct vdev *twin;

		CHECK(up(&all_allowed));
		c = vsock_of(t.f.v)->tsi->ctl;
		c->rd_done = i & 1;
		c->wr_done = i & 2;
		vdev_pause(t.f.v);
		CHECK_EQ(vdev_save(t.f.v, &out), 0);
		CHECK_EQ(make_twin(&twin), 0);
		in = (struct save_in){ .buf = out.buf, .len = out.len };
		CHECK_EQ(vdev_load(twin, &in), i ? -EINVAL : 0);
		vdev_fini(twin);
		twin->cls->destroy(twin);
		vdev_resume(t.f.v);
		save_out_free(&out);
		down();
	}
}

static const struct test_case cases[] = {
	TEST(what_goes_on_and_what_ends),
	TEST(ports_of_the_hosts_choice),
	TEST(bound_as_it_was_asked),
	TEST(congestion_control_is_kept),
	TEST(nothing_survives),
	TEST(damaged_state_is_refused),
	TEST(control_connection_that_is_over),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)ft_own_net();
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
