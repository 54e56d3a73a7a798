// SPDX-License-Identifier: Apache-2.0
// virtio-net on sockets, driven from both sides: frames, backpressure, backends that go and come,
// hostile lengths and headers, the control queue, save and load.

#include <stdlib.h>

#include "unit/net_rig.h"

static uint8_t frame[FRAME_MAX + 1], back[FRAME_MAX + NET_HDR];
static const uint32_t sizes[] = { 14, 60, 1514, 4096, 16384, 20000, 65536, FRAME_MAX };

static void both_ways(enum net_kind kind, uint64_t features, uint32_t buf)
{
	struct rig r;

	CHECK_EQ(rig_up(&r, kind, features), 0);
	rx_post(&r, 256, buf);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		make_frame(frame, guest_mac, sizes[i], i);
		CHECK(tx_add(&r, NULL, frame, sizes[i], 1 + i % 3) >= 0);
		CHECK_EQ(peer_get(&r, kind, back), sizes[i]);
		CHECK(is_frame(back, guest_mac, sizes[i], i));

		make_frame(frame, guest_mac, sizes[i], i + 100);
		CHECK(peer_put(&r, kind, frame, sizes[i]));
		CHECK_EQ(rx_wait(&r, back), sizes[i]);
		CHECK(is_frame(back, guest_mac, sizes[i], i + 100));
		for (unsigned k = 0; k < NET_HDR_NBUFS; k++)
			CHECK_EQ(r.hdr[k], 0);
		CHECK_EQ(r.nbufs, (sizes[i] + NET_HDR + buf - 1) / buf);
	}
	CHECK(!vdev_is_broken(r.v));
	rig_down(&r);
}

static void stream_both_ways(void)
{
	both_ways(NET_STREAM, ALL_FEATURES, BUF);
	both_ways(NET_STREAM, ALL_FEATURES & ~(VDEV_F_INDIRECT | VDEV_F_EVENT_IDX), 64 << 10);
}

static void datagrams_both_ways(void)
{
	both_ways(NET_DGRAM, ALL_FEATURES, BUF);
	both_ways(NET_DGRAM, ALL_FEATURES & ~NET_F_MRG_RXBUF, NET_ROOM);
}

static void frames_in_many_pieces(void)
{
	struct rig r;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t len = i ? 40000 : 1000;

		make_frame(frame, guest_mac, len, i);
		CHECK(tx_add(&r, NULL, frame, len, 60) >= 0);
		CHECK_EQ(peer_get(&r, NET_STREAM, back), len);
		CHECK(is_frame(back, guest_mac, len, i));
	}
	rig_down(&r);
}

/* What a driver says of itself and is told. */
static void config_and_features(void)
{
	uint64_t never =
		NET_F_CSUM | NET_GUEST_OFFLOADS | NET_HOST_SEGMENTS | NET_F_CTRL_GUEST_OFFLOADS;
	struct net_cfg cfg = net_cfg_of(NET_STREAM);
	uint8_t c[NET_CFG_LEN];
	struct rig r = { .peer = -1 };
	int sv[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	cfg.fd = sv[0];
	r.peer = sv[1];
	cfg.mtu = 65520;
	cfg.offloads = ~0ULL;
	CHECK_EQ(rig_make(&r, &cfg), 0);
	CHECK_EQ(rig_go(&r, ALL_FEATURES), 0);
	/* a socket has nobody behind it that would compute a checksum */
	CHECK_EQ(r.d.features & never, 0);
	CHECK(r.d.features & NET_F_MTU && r.d.features & NET_F_MAC);
	fake_cfg_read(&r.d, 0, c, sizeof(c));
	CHECK(!memcmp(c, guest_mac, 6));
	CHECK_EQ(get_le16(c + NET_CFG_STATUS), NET_S_LINK_UP);
	CHECK_EQ(get_le16(c + NET_CFG_MTU), 65520);
	rig_down(&r);
}

/* Without merging a frame has one buffer: one that is too small costs the frame, not the next. */
static void a_buffer_too_small(void)
{
	struct rig r;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES & ~NET_F_MRG_RXBUF), 0);
	rx_post(&r, 4, BUF);
	for (unsigned i = 0; i < 6; i++) {
		make_frame(frame, guest_mac, i % 2 ? 1514 : 1515, i);
		CHECK(peer_put(&r, NET_STREAM, frame, i % 2 ? 1514 : 1515));
	}
	for (unsigned i = 1; i < 6; i += 2) {
		CHECK_EQ(rx_wait(&r, back), 1514);
		CHECK(is_frame(back, guest_mac, 1514, i));
	}
	/* merged, and all of the ring is too little */
	CHECK_EQ(fake_dev_negotiate(&r.d, ALL_FEATURES), 0);
	CHECK_EQ(fake_dev_queue(&r.d, NET_RX, 4), 0);
	CHECK_EQ(fake_dev_queue(&r.d, NET_TX, 4), 0);
	CHECK_EQ(fake_dev_ready(&r.d), 0);
	rx_post(&r, 4, 1000);
	for (unsigned i = 0; i < 3; i++) {
		make_frame(frame, guest_mac, i == 1 ? 4000 : 3988, i);
		CHECK(peer_put(&r, NET_STREAM, frame, i == 1 ? 4000 : 3988));
	}
	for (unsigned i = 0; i < 3; i += 2) {
		CHECK_EQ(rx_wait(&r, back), 3988);
		CHECK(is_frame(back, guest_mac, 3988, i));
		CHECK_EQ(r.nbufs, 4);
	}
	rig_down(&r);
}

/* A guest that gives no buffers: the other side has to wait, and no frame is lost. */
static void receive_backpressure(enum net_kind kind)
{
	unsigned sent = 0, got = 0;
	struct rig r;

	CHECK_EQ(rig_up(&r, kind, ALL_FEATURES), 0);
	for (;; sent++) {
		uint32_t len = 60 + sent * 37 % 1400;

		make_frame(frame, guest_mac, len, sent);
		/* a socket is writable while there is room for much more than this */
		if (!peer_ready(r.peer, POLLOUT))
			break;
		CHECK(peer_put(&r, kind, frame, len));
		fake_poll(&r.d);
		CHECK_EQ(rx_get(&r, back), 0);
	}
	CHECK(sent >= 10);
	rx_post(&r, 3, BUF);
	for (; got < sent; got++) {
		uint32_t len = 60 + got * 37 % 1400;

		CHECK_EQ(rx_wait(&r, back), len);
		CHECK(is_frame(back, guest_mac, len, got));
	}
	rig_down(&r);
}

static void stream_receive_backpressure(void)
{
	receive_backpressure(NET_STREAM);
}

static void datagram_receive_backpressure(void)
{
	receive_backpressure(NET_DGRAM);
}

/* A backend that does not read: the ring stays full, and every frame comes in its order. */
static void transmit_backpressure(enum net_kind kind, uint32_t len, unsigned frames)
{
	unsigned in = 0, out = 0, done = 0, idle = 0;
	struct rig r;

	CHECK_EQ(rig_up(&r, kind, ALL_FEATURES), 0);
	for (; in < frames && idle < 100; in++) {
		make_frame(frame, guest_mac, len + in % 100, in);
		if (tx_add(&r, NULL, frame, len + in % 100, 2) < 0)
			break;
		done += (unsigned)tx_done(&r);
		CHECK(done <= in + 1);
	}
	/* it has stopped taking them, and nobody is woken for nothing */
	CHECK(done < in);
	for (int i = 0; i < 10; i++)
		done += (unsigned)tx_done(&r);
	CHECK_EQ(loop_once(r.loop, 0), 0);
	for (; out < in; out++) {
		CHECK_EQ(peer_get(&r, kind, back), len + out % 100);
		CHECK(is_frame(back, guest_mac, len + out % 100, out));
	}
	CHECK(!vdev_is_broken(r.v));
	rig_down(&r);
}

static void stream_transmit_backpressure(void)
{
	transmit_backpressure(NET_STREAM, 1400, 4000);
	transmit_backpressure(NET_STREAM, 60000, 200);
}

static void datagram_transmit_backpressure(void)
{
	transmit_backpressure(NET_DGRAM, 1400, 1000);
	transmit_backpressure(NET_DGRAM, 30000, 400);
}

/* ---- backends that go ---- */

static void gone(enum net_kind kind)
{
	struct rig r;

	CHECK_EQ(rig_up(&r, kind, ALL_FEATURES), 0);
	rx_post(&r, 64, BUF);
	make_frame(frame, guest_mac, 100, 1);
	CHECK(peer_put(&r, kind, frame, 100));
	(void)close(r.peer);
	r.peer = -1;
	/* what it had said is still heard */
	CHECK_EQ(rx_wait(&r, back), 100);
	CHECK(is_frame(back, guest_mac, 100, 1));
	/* who sends datagrams hears of it when he sends one */
	CHECK(tx_add(&r, NULL, frame, 100, 1) >= 0);
	CHECK_EQ(wait_link(&r, 0), 0);
	fake_poll(&r.d);
	CHECK(r.d.cfg_event);
	for (unsigned i = 0, done = (unsigned)tx_done(&r); done < 300; i++) {
		/* frames go nowhere, and the ring is never full of them */
		CHECK(i < 10000);
		CHECK(tx_add(&r, NULL, frame, 100, 1) >= 0);
		done += (unsigned)tx_done(&r);
	}
	CHECK(!vdev_is_broken(r.v));
	/* a new driver finds the cable pulled as well */
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	CHECK_EQ(link_status(&r), 0);
	rig_down(&r);
}

static void a_stream_that_ends(void)
{
	gone(NET_STREAM);
}

static void datagrams_refused(void)
{
	gone(NET_DGRAM);
}

/* Frames both ways, over r->peer. */
static bool talks(struct rig *r, enum net_kind kind, uint32_t seed)
{
	make_frame(frame, guest_mac, 1000, seed);
	if (tx_add(r, NULL, frame, 1000, 1) < 0 || peer_get(r, kind, back) != 1000 ||
		!is_frame(back, guest_mac, 1000, seed))
		return false;
	make_frame(frame, guest_mac, 900, seed + 1);
	return peer_put(r, kind, frame, 900) && rx_wait(r, back) == 900 &&
		is_frame(back, guest_mac, 900, seed + 1);
}

static void a_stream_that_comes_back(void)
{
	struct net_cfg cfg = net_cfg_of(NET_STREAM);
	struct rig r = { .peer = -1 };
	int l;

	names();
	l = named(SOCK_STREAM, server);
	(void)snprintf(cfg.path, sizeof(cfg.path), "%s", server);
	CHECK_EQ(rig_make(&r, &cfg), 0);
	CHECK_EQ(rig_go(&r, ALL_FEATURES), 0);
	rx_post(&r, 64, BUF);
	for (uint32_t i = 0; i < 3; i++) {
		r.peer = accept(l, NULL, NULL);
		CHECK(r.peer >= 0);
		CHECK(talks(&r, NET_STREAM, i));
		/* half a frame, then the end */
		CHECK_EQ(write(r.peer, "\0\0\1\0half", 8), 8);
		(void)close(l);
		(void)close(r.peer);
		r.peer = -1;
		r.d.cfg_event = false;
		CHECK_EQ(wait_link(&r, 0), 0);
		CHECK(r.d.cfg_event);
		l = named(SOCK_STREAM, server);
		CHECK_EQ(wait_link(&r, NET_S_LINK_UP | NET_S_ANNOUNCE), 0);
		CHECK_EQ(ctl(&r, 3, 0, NULL, 0), 0);
		CHECK_EQ(link_status(&r), NET_S_LINK_UP);
	}
	(void)close(l);
	no_names();
	rig_down(&r);
}

static void datagrams_that_come_back(void)
{
	struct net_cfg cfg = net_cfg_of(NET_DGRAM);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct rig r = { .peer = -1 };

	names();
	r.peer = named(SOCK_DGRAM, server);
	(void)snprintf(cfg.path, sizeof(cfg.path), "%s", server);
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", client);
	cfg.fd = named(SOCK_DGRAM, client);
	cfg.vfkit = true;
	CHECK_EQ(rig_make(&r, &cfg), 0);
	CHECK_EQ(rig_go(&r, ALL_FEATURES & ~NET_F_GUEST_ANNOUNCE), 0);
	rx_post(&r, 64, BUF);
	for (uint32_t i = 0; i < 3; i++) {
		CHECK_EQ(recv(r.peer, back, sizeof(back), 0), 4);
		CHECK(!memcmp(back, "VFKT", 4));
		CHECK_EQ(connect(r.peer, (struct sockaddr *)&a, sizeof(a)), 0);
		CHECK(talks(&r, NET_DGRAM, i));
		(void)close(r.peer);
		CHECK(tx_add(&r, NULL, frame, 100, 1) >= 0);
		CHECK_EQ(wait_link(&r, 0), 0);
		r.peer = named(SOCK_DGRAM, server);
		CHECK_EQ(wait_link(&r, NET_S_LINK_UP), 0);
	}
	no_names();
	rig_down(&r);
}

/* What cannot be had is an error, and the descriptor is closed. */
static void what_is_no_backend(void)
{
	struct net_cfg cfg = net_cfg_of(NET_STREAM);
	struct fake_guest g;
	struct loop *loop;
	struct error e = { 0 };
	struct vdev *v;
	int sv[2];

	names();
	CHECK(!fake_guest_init(&g, 1U << 20) && !loop_new("test", &loop, NULL));
	CHECK_EQ(net_new(loop, &g.mem, &cfg, &v, &e), -EBADF);
	CHECK(e.msg[0]);
	(void)snprintf(cfg.path, sizeof(cfg.path), "%s", server);
	CHECK_EQ(net_new(loop, &g.mem, &cfg, &v, NULL), -ENOENT);
	for (int i = 0; i < 8; i++) {
		cfg = net_cfg_of(i % 3 == 2 ? NET_TAP : i % 3 ? NET_DGRAM : NET_STREAM);
		CHECK_EQ(socketpair(AF_UNIX, i % 3 ? SOCK_STREAM : SOCK_DGRAM, 0, sv), 0);
		cfg.fd = sv[0];
		if (i == 3)
			memset(cfg.path, 'x', sizeof(cfg.path));
		if (i == 4)
			cfg.mac[0] = 1;
		if (i == 5)
			cfg.kind = (enum net_kind)3;
		if (i == 6)
			cfg.mtu = 67;
		if (i == 7)
			(void)snprintf(cfg.path, sizeof(cfg.path), "%s", server);
		CHECK(net_new(loop, &g.mem, &cfg, &v, NULL) < 0);
		CHECK(fcntl(sv[0], F_GETFD) < 0 && errno == EBADF);
		(void)close(sv[1]);
	}
	loop_free(loop);
	fake_guest_fini(&g);
	no_names();
}

/* Made without anything behind it: what the driver sends goes nowhere, until there is. */
static void a_backend_that_comes_later(void)
{
	struct net_cfg cfg = net_cfg_of(NET_STREAM);
	struct rig r = { .peer = -1 };
	struct error e = { 0 };
	int sv[2], wrong[2];

	cfg.later = true;
	CHECK(!rig_make(&r, &cfg) && !rig_go(&r, ALL_FEATURES));
	rx_post(&r, 16, BUF);
	CHECK_EQ(link_status(&r), 0);
	make_frame(frame, guest_mac, 100, 1);
	CHECK(tx_add(&r, NULL, frame, 100, 1) >= 0);
	CHECK_EQ(fake_wait(&r.d, NET_TX, FAKE_TIMEOUT_MS), 0);
	CHECK_EQ(tx_done(&r), 1);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, wrong), 0);
	CHECK_EQ(net_attach(r.v, wrong[0], &e), -EINVAL);
	CHECK(strstr(e.msg, "no stream socket") && fcntl(wrong[0], F_GETFD) < 0);
	CHECK_EQ(link_status(&r), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	r.peer = sv[1];
	/* what waits there already comes in at once */
	make_frame(frame, guest_mac, 200, 2);
	CHECK(peer_put(&r, NET_STREAM, frame, 200));
	CHECK_EQ(net_attach(r.v, sv[0], NULL), 0);
	CHECK_EQ(link_status(&r), NET_S_LINK_UP | NET_S_ANNOUNCE);
	CHECK_EQ(rx_wait(&r, back), 200);
	CHECK(is_frame(back, guest_mac, 200, 2));
	make_frame(frame, guest_mac, 300, 3);
	CHECK(tx_add(&r, NULL, frame, 300, 1) >= 0);
	CHECK_EQ(peer_get(&r, NET_STREAM, back), 300);
	CHECK(is_frame(back, guest_mac, 300, 3));
	e = (struct error){ 0 };
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	CHECK_EQ(net_attach(r.v, sv[0], &e), -EBUSY);
	CHECK(e.msg[0] && fcntl(sv[0], F_GETFD) < 0);
	(void)close(sv[1]);
	(void)close(wrong[1]);
	rig_down(&r);
	/* not both, and not where none can come */
	for (int i = 0; i < 3; i++) {
		cfg = net_cfg_of(i == 2 ? NET_DGRAM : NET_STREAM);
		cfg.later = true;
		if (!i)
			(void)snprintf(cfg.path, sizeof(cfg.path), "/nowhere");
		if (i == 1)
			cfg.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		memset(&r, 0, sizeof(r));
		CHECK(!fake_guest_init(&r.g, rig_ram) && !loop_new("test", &r.loop, NULL));
		CHECK_EQ(net_new(r.loop, &r.g.mem, &cfg, &r.v, NULL), -EINVAL);
		loop_free(r.loop);
		fake_guest_fini(&r.g);
	}
}

/* ---- the hostile ---- */

static void a_length_that_no_frame_has(void)
{
	static const uint32_t bad[] = { FRAME_MAX + 1, 1U << 20, 1U << 31, UINT32_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t head[4] = { (uint8_t)(bad[i] >> 24), (uint8_t)(bad[i] >> 16),
			(uint8_t)(bad[i] >> 8), (uint8_t)bad[i] };
		struct rig r;

		CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
		rx_post(&r, 64, BUF);
		CHECK_EQ(write(r.peer, head, 4), 4);
		CHECK_EQ(wait_link(&r, 0), 0);
		CHECK_EQ(rx_get(&r, back), 0);
		CHECK(!vdev_is_broken(r.v));
		rig_down(&r);
	}
}

/* Frames of no or few bytes are passed over, and those over the limit of a datagram. */
static void frames_that_are_none(void)
{
	for (int kind = NET_STREAM; kind <= NET_DGRAM; kind++) {
		struct rig r;

		CHECK_EQ(rig_up(&r, (enum net_kind)kind, ALL_FEATURES), 0);
		rx_post(&r, 64, BUF);
		for (uint32_t len = 0; len < 14; len++)
			CHECK(peer_put(&r, (enum net_kind)kind, frame, len));
		if (kind == NET_DGRAM) {
			CHECK(peer_put(&r, NET_DGRAM, frame, FRAME_MAX + 1));
			CHECK(peer_put(&r, NET_DGRAM, back, FRAME_MAX + 8));
		}
		CHECK(talks(&r, (enum net_kind)kind, 7));
		rig_down(&r);
	}
}

/* A byte at a time, and several frames at once: the stream has no borders. */
static void a_stream_in_crumbs(void)
{
	uint8_t two[2 * 104];
	struct rig r;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	rx_post(&r, 64, BUF);
	for (unsigned k = 0; k < 2; k++) {
		memcpy(two + k * 104, "\0\0\0\x64", 4);
		make_frame(two + k * 104 + 4, guest_mac, 100, k);
	}
	for (size_t i = 0; i < sizeof(two) - 1; i++) {
		CHECK_EQ(write(r.peer, two + i, 1), 1);
		fake_poll(&r.d);
	}
	CHECK_EQ(rx_wait(&r, back), 100);
	CHECK(is_frame(back, guest_mac, 100, 0));
	CHECK_EQ(rx_get(&r, back), 0);
	CHECK_EQ(write(r.peer, two + sizeof(two) - 1, 1), 1);
	CHECK_EQ(rx_wait(&r, back), 100);
	CHECK(is_frame(back, guest_mac, 100, 1));
	rig_down(&r);
}

static void bad_frames_of_the_driver(void)
{
	static const struct {
		uint8_t hdr[NET_HDR];
	} bad[] = {
		{ { 1 } },    /* a checksum that was not negotiated */
		{ { 1, 1 } }, /* segments */
		{ { 0, 4 } },
		{ { 0, 0x80 } }, /* of no kind */
		{ { 1, 0xff } },
		{ { 1, 2 } },
	};
	struct fake_seg s;
	struct rig r;

	make_frame(frame, guest_mac, 100, 1);
	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(tx_add(&r, bad[i].hdr, frame, 100, 1) >= 0);
		CHECK_EQ(fake_wait(&r.d, NET_TX, FAKE_TIMEOUT_MS), 0);
		fake_poll(&r.d);
		CHECK(vdev_is_broken(r.v));
		CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	}
	/* no header */
	s = (struct fake_seg){ fake_alloc(&r.g, 16, 8).v, NET_HDR - 1 };
	CHECK(fake_add(&r.d, NET_TX, &s, 1, NULL, 0) >= 0);
	(void)fake_kick(&r.d, NET_TX);
	fake_poll(&r.d);
	CHECK(vdev_is_broken(r.v));
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	/* what is too short or too long goes nowhere, and does no harm */
	for (uint32_t len = 1; len < 14; len++)
		CHECK(tx_add(&r, NULL, frame, len, 1) >= 0);
	CHECK(tx_add(&r, NULL, frame, FRAME_MAX + 1, 1) >= 0);
	CHECK(tx_add(&r, NULL, frame, 100, 1) >= 0);
	CHECK_EQ(peer_get(&r, NET_STREAM, back), 100);
	CHECK(!vdev_is_broken(r.v));
	/* receive buffers without room for a header, and ones that are to be read */
	rx_post(&r, 1, NET_HDR - 1);
	fake_poll(&r.d);
	CHECK(vdev_is_broken(r.v));
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	s = (struct fake_seg){ fake_alloc(&r.g, 64, 8).v, 64 };
	CHECK(fake_add(&r.d, NET_RX, &s, 1, NULL, 0) >= 0);
	(void)fake_kick(&r.d, NET_RX);
	fake_poll(&r.d);
	CHECK(vdev_is_broken(r.v));
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	rx_post(&r, 64, BUF);
	CHECK(talks(&r, NET_STREAM, 3));
	rig_down(&r);
}

/* As many pieces as a chain may have, and more than fit into our vector: room for none, or few. */
static void receive_chains_in_pieces(void)
{
	struct fake_seg s[1024];
	struct rig r;
	int head;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	for (unsigned k = 0; k < 3; k++) {
		uint64_t at = fake_alloc(&r.g, 1000 * 8, 8).v;

		for (unsigned i = 0; i < 1000; i++)
			s[i] = (struct fake_seg){ at + i * 8, 8 };
		head = fake_add(&r.d, NET_RX, NULL, 0, s, 1000);
		CHECK(head >= 0);
		r.buf[0][head] = at;
		r.buf_len[0][head] = 8000;
	}
	(void)fake_kick(&r.d, NET_RX);
	/* the second chain has no place beside the first: 8000 bytes are all that there is */
	for (unsigned i = 0; i < 5; i++) {
		make_frame(frame, guest_mac, i ? 7000 : 9000, i);
		CHECK(peer_put(&r, NET_STREAM, frame, i ? 7000 : 9000));
	}
	for (unsigned i = 1; i < 5; i++) {
		CHECK_EQ(rx_wait(&r, back), 7000);
		CHECK(is_frame(back, guest_mac, 7000, i));
	}
	rig_down(&r);
}

/* ---- the control queue ---- */

static bool arrives(struct rig *r, const uint8_t *mac)
{
	static uint32_t seed;
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	int n;

	make_frame(frame, mac, 200, ++seed);
	(void)peer_put(r, NET_STREAM, frame, 200);
	/* a broadcast always does: what comes first tells */
	make_frame(frame, all, 100, ++seed);
	(void)peer_put(r, NET_STREAM, frame, 100);
	n = rx_wait(r, back);
	if (n == 200)
		(void)rx_wait(r, back);
	return n == 200;
}

static void whose_frames(void)
{
	static const uint8_t other[6] = { 2, 9, 9, 9, 9, 9 }, group[6] = { 1, 0, 0x5e, 1, 2, 3 };
	uint8_t table[8 + 2 * 6] = { 1 };
	uint8_t over[4 + 65 * 6 + 4] = { 65 };
	struct rig r;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	rx_post(&r, 64, BUF);
	CHECK(arrives(&r, other) && arrives(&r, group));
	CHECK_EQ(ctl(&r, 0, 0, "\0", 1), 0);
	CHECK(!arrives(&r, other) && !arrives(&r, group) && arrives(&r, guest_mac));
	CHECK_EQ(ctl(&r, 0, 1, "\1", 1), 0);
	CHECK(!arrives(&r, other) && arrives(&r, group));
	CHECK_EQ(ctl(&r, 0, 1, "\0", 1), 0);
	memcpy(table + 4, other, 6);
	table[10] = 1;
	memcpy(table + 14, group, 6);
	CHECK_EQ(ctl(&r, 1, 0, table, sizeof(table)), 0);
	CHECK(arrives(&r, other) && arrives(&r, group));
	CHECK_EQ(ctl(&r, 1, 0, "\0\0\0\0\0\0\0\0", 8), 0);
	CHECK(!arrives(&r, other) && !arrives(&r, group));
	/* more than we keep: all of that kind */
	CHECK_EQ(ctl(&r, 1, 0, over, sizeof(over)), 0);
	CHECK(arrives(&r, other) && !arrives(&r, group));
	/* its own address */
	CHECK_EQ(ctl(&r, 1, 0, "\0\0\0\0\0\0\0\0", 8), 0);
	CHECK_EQ(ctl(&r, 1, 1, other, 6), 0);
	CHECK(arrives(&r, other) && !arrives(&r, guest_mac));
	fake_cfg_read(&r.d, 0, back, 6);
	CHECK(!memcmp(back, other, 6));
	/* a new driver gets all frames again */
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	rx_post(&r, 64, BUF);
	CHECK(arrives(&r, guest_mac));
	rig_down(&r);
}

static void commands_that_are_refused(void)
{
	static const struct {
		uint8_t class, cmd;
		const char *data;
		uint32_t len;
	} bad[] = {
		{ 0, 0, "", 0 },
		{ 0, 0, "\2", 1 },
		{ 0, 2, "\1", 1 },
		{ 1, 0, "\0\0\0", 3 },
		{ 1, 0, "\1\0\0\0abcde", 9 },
		{ 1, 0, "\xff\xff\xff\xff\0\0\0\0", 8 },
		{ 1, 0, "\0\0\0\0\2\0\0\0abcdef", 14 },
		{ 1, 1, "\1bcdef", 6 },
		{ 1, 1, "\2bcde", 5 },
		{ 1, 2, "\2bcdef", 6 },
		{ 2, 0, "\0\1", 2 },
		{ 4, 0, "\1\0", 2 },
		{ 5, 0, "\0\0\0\0\0\0\0\0", 8 },
		{ 255, 255, "", 0 },
	};
	struct fake_seg s;
	struct rig r;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	rx_post(&r, 64, BUF);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(ctl(&r, bad[i].class, bad[i].cmd, bad[i].data, bad[i].len), 1);
	CHECK(!vdev_is_broken(r.v) && talks(&r, NET_STREAM, 1));
	/* no place for an answer */
	s = (struct fake_seg){ fake_alloc(&r.g, 64, 8).v, 8 };
	CHECK(fake_add(&r.d, NET_CTRL(1), &s, 1, NULL, 0) >= 0);
	(void)fake_kick(&r.d, NET_CTRL(1));
	fake_poll(&r.d);
	CHECK(vdev_is_broken(r.v));
	/* what was not negotiated */
	CHECK_EQ(fake_dev_start(&r.d,
			 ALL_FEATURES &
				 ~(NET_F_CTRL_RX | NET_F_CTRL_MAC_ADDR | NET_F_GUEST_ANNOUNCE)),
		0);
	CHECK_EQ(ctl(&r, 0, 0, "\0", 1), 1);
	CHECK_EQ(ctl(&r, 1, 1, "\2bcdef", 6), 1);
	CHECK_EQ(ctl(&r, 3, 0, NULL, 0), 1);
	rig_down(&r);
}

/* ---- save and load ---- */

/* The device goes on as its twin, on a new socket, with what was written spoiled at @spoil. */
static int reload(struct rig *r, enum net_kind kind, int spoil)
{
	struct net_cfg cfg = net_cfg_of(kind);
	struct save_out out = { 0 };
	struct save_in s;
	struct vdev *twin;
	int sv[2], ret;

	if (socketpair(
		    AF_UNIX, (kind == NET_STREAM ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0, sv))
		abort();
	cfg.fd = sv[0];
	vdev_pause(r->v);
	if (vdev_save(r->v, &out) || net_new(r->loop, &r->g.mem, &cfg, &twin, NULL))
		abort();
	if (spoil >= 0)
		out.buf[(size_t)spoil % out.len] ^= 0xff;
	twin->irq = r->v->irq;
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	ret = vdev_load(twin, &s);
	if (!ret)
		ret = load_done(&s);
	save_out_free(&out);
	vdev_fini(r->v);
	r->v->cls->destroy(r->v);
	(void)close(r->peer);
	r->peer = sv[1];
	r->v = r->d.v = r->d.mmio.v = twin;
	if (!ret)
		vdev_resume(twin);
	return ret;
}

static void saved_and_loaded(void)
{
	static const uint8_t other[6] = { 2, 9, 9, 9, 9, 9 };

	for (int kind = NET_STREAM; kind <= NET_DGRAM; kind++) {
		struct rig r;

		CHECK_EQ(rig_up(&r, (enum net_kind)kind, ALL_FEATURES), 0);
		rx_post(&r, 64, BUF);
		CHECK_EQ(ctl(&r, 0, 0, "\0", 1), 0);
		CHECK_EQ(ctl(&r, 1, 1, other, 6), 0);
		CHECK_EQ(reload(&r, (enum net_kind)kind, -1), 0);
		/* the neighbours are to know where its address is now */
		CHECK_EQ(link_status(&r), NET_S_LINK_UP | NET_S_ANNOUNCE);
		make_frame(frame, guest_mac, 100, 1);
		CHECK(peer_put(&r, (enum net_kind)kind, frame, 100));
		make_frame(frame, other, 101, 2);
		CHECK(peer_put(&r, (enum net_kind)kind, frame, 101));
		CHECK_EQ(rx_wait(&r, back), 101);
		CHECK(is_frame(back, other, 101, 2));
		rig_down(&r);
	}
}

/* Frames that were read and not delivered, and taken and not sent: all that were whole go on. */
static void loaded_under_load(void)
{
	unsigned in = 0, first = 0, got = 0;
	uint32_t len = 0;
	struct rig r;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	for (unsigned i = 0; i < 20; i++) {
		make_frame(frame, guest_mac, 1000 + i, i);
		CHECK(peer_put(&r, NET_STREAM, frame, 1000 + i));
	}
	CHECK_EQ(write(r.peer, "\0\0\1\0half", 8), 8);
	/* one buffer: the first frame waits, too large for it, and the others behind it */
	rx_post(&r, 1, 500);
	fake_poll(&r.d);
	fake_poll(&r.d);
	for (; in < 3000; in++) {
		make_frame(frame, guest_mac, 1200, in);
		if (tx_add(&r, NULL, frame, 1200, 1) < 0)
			break;
		(void)tx_done(&r);
	}
	/* what the old socket has is gone with it, up to the frame that was begun */
	while (peer_ready(r.peer, POLLIN)) {
		ssize_t n = recv(r.peer, back, 1204 - len, MSG_DONTWAIT);

		CHECK(n > 0);
		len += (uint32_t)n;
		first += len == 1204;
		len %= 1204;
	}
	CHECK_EQ(reload(&r, NET_STREAM, -1), 0);
	first += len != 0;
	for (unsigned i = first; i < in; i++) {
		CHECK_EQ(peer_get(&r, NET_STREAM, back), 1200);
		CHECK(is_frame(back, guest_mac, 1200, i));
	}
	rx_post(&r, 100, 500);
	for (; got < 20; got++) {
		CHECK_EQ(rx_wait(&r, back), 1000 + got);
		CHECK(is_frame(back, guest_mac, 1000 + got, got));
	}
	CHECK(talks(&r, NET_STREAM, 4));
	rig_down(&r);
}

/* A file that was tampered with is refused or taken, and nothing worse. */
static void loaded_from_nonsense(void)
{
	unsigned refused = 0;

	rig_ram = 2U << 20;
	for (int at = 0; at < 700; at += 3) {
		struct rig r;

		CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
		make_frame(frame, guest_mac, 100, 1);
		CHECK(peer_put(&r, NET_STREAM, frame, 100));
		CHECK(peer_put(&r, NET_STREAM, frame, 100));
		rx_post(&r, 1, 20);
		fake_poll(&r.d);
		fake_poll(&r.d);
		if (reload(&r, NET_STREAM, at)) {
			refused++;
		} else {
			rx_post(&r, 20, BUF);
			for (int i = 0; i < 4; i++)
				fake_poll(&r.d);
		}
		rig_down(&r);
	}
	rig_ram = RAM;
	CHECK(refused > 30);
}

static void paused_and_resumed(void)
{
	struct rig r;

	CHECK_EQ(rig_up(&r, NET_STREAM, ALL_FEATURES), 0);
	rx_post(&r, 64, BUF);
	CHECK(talks(&r, NET_STREAM, 1));
	vdev_pause(r.v);
	make_frame(frame, guest_mac, 100, 9);
	CHECK(peer_put(&r, NET_STREAM, frame, 100));
	CHECK(tx_add(&r, NULL, frame, 100, 1) >= 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(loop_once(r.loop, 0), 0);
	vdev_resume(r.v);
	CHECK_EQ(rx_wait(&r, back), 100);
	CHECK_EQ(peer_get(&r, NET_STREAM, back), 100);
	CHECK(talks(&r, NET_STREAM, 2));
	rig_down(&r);
}

/* Many frames of any size both ways at once, with few buffers and a socket that fills up. */
static void a_busy_line(void)
{
	uint32_t x = 1, in = 0, out = 0, put = 0, got = 0;
	unsigned pending = 0;
	struct rig r;

	CHECK_EQ(rig_up(&r, NET_DGRAM, ALL_FEATURES), 0);
	rx_post(&r, 50, BUF);
	for (unsigned i = 0; i < 200000 && (out < 5000 || got < 5000); i++) {
		x = x * 1664525 + 1013904223;
		if (x >> 30 == 0 && in < 5000 && pending < 100) {
			make_frame(frame, guest_mac, 60 + in * 131 % 9000, in);
			CHECK(tx_add(&r, NULL, frame, 60 + in * 131 % 9000, 2) >= 0);
			in++;
			pending++;
		} else if (x >> 30 == 1 && put < 5000) {
			make_frame(frame, guest_mac, 60 + put * 137 % 9000, put + 7);
			put += peer_put(&r, NET_DGRAM, frame, 60 + put * 137 % 9000);
		} else if (x >> 30 == 2 && recv(r.peer, back, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
			CHECK_EQ(peer_get(&r, NET_DGRAM, back), 60 + out * 131 % 9000);
			CHECK(is_frame(back, guest_mac, 60 + out * 131 % 9000, out));
			out++;
		} else {
			int n = tx_done(&r);

			CHECK(n >= 0 && (unsigned)n <= pending);
			pending -= (unsigned)n;
			n = rx_get(&r, back);
			CHECK(n >= 0);
			if (n) {
				CHECK_EQ(n, 60 + got * 137 % 9000);
				CHECK(is_frame(back, guest_mac, (size_t)n, got + 7));
				got++;
			}
		}
	}
	CHECK_EQ(out, 5000);
	CHECK_EQ(got, 5000);
	rig_down(&r);
}

static const struct test_case cases[] = {
	TEST(stream_both_ways),
	TEST(datagrams_both_ways),
	TEST(frames_in_many_pieces),
	TEST(config_and_features),
	TEST(a_buffer_too_small),
	TEST(stream_receive_backpressure),
	TEST(datagram_receive_backpressure),
	TEST(stream_transmit_backpressure),
	TEST(datagram_transmit_backpressure),
	TEST(a_stream_that_ends),
	TEST(datagrams_refused),
	TEST(a_stream_that_comes_back),
	TEST(datagrams_that_come_back),
	TEST(what_is_no_backend),
	TEST(a_backend_that_comes_later),
	TEST(a_length_that_no_frame_has),
	TEST(frames_that_are_none),
	TEST(a_stream_in_crumbs),
	TEST(bad_frames_of_the_driver),
	TEST(receive_chains_in_pieces),
	TEST(whose_frames),
	TEST(commands_that_are_refused),
	TEST(saved_and_loaded),
	TEST(loaded_under_load),
	TEST(loaded_from_nonsense),
	TEST(paused_and_resumed),
	TEST(a_busy_line),
};

TEST_MAIN(cases)
