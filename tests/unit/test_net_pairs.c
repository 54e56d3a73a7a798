// SPDX-License-Identifier: Apache-2.0
// virtio-net on a tap of several queues: what the driver uses of them, what it may not ask for, and
// that what is not in use is at rest; the kernel deals connections out to those that are.

#include "unit/tap_rig.h"

#define PAIRS	 3
#define MQ_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)

static struct net_cfg several(void)
{
	struct net_cfg cfg = net_cfg_of(NET_TAP);

	cfg.fd = open_tap("tap0", MQ_FLAGS);
	for (unsigned i = 0; i < PAIRS - 1; i++)
		cfg.more[cfg.nmore++] = open_tap("tap0", MQ_FLAGS);
	return cfg;
}

static bool post_all(struct rig *r)
{
	for (r->pair = 0; r->pair < r->npairs; r->pair++)
		rx_post(r, 64, BUF);
	r->pair = 0;
	return true;
}

static bool several_up(struct rig *r, uint64_t features)
{
	struct net_cfg cfg = several();

	memset(r, 0, sizeof(*r));
	r->peer = -1;
	return cfg.fd >= 0 && cfg.more[PAIRS - 2] >= 0 && bring_up("tap0") && !rig_make(r, &cfg) &&
		!rig_go(r, features) && post_all(r);
}

static int set_pairs(struct rig *r, unsigned n)
{
	uint8_t le[2];

	put_le16(le, (uint16_t)n);
	return ctl(r, 4, 0, le, 2);
}

/* A datagram to the host by pair @out, and one from there by the same connection, which has to come
 * by pair @in. */
static bool talk(struct rig *r, int fd, unsigned out, unsigned in, uint32_t seed)
{
	bool ok;

	r->pair = out;
	udp_frame(300, true, seed);
	ok = tx_add(r, NULL, frame, 342, 1) >= 0 && heard(r, fd) == 300 &&
		!memcmp(back, frame + 42, 300);
	r->pair = in;
	say_to_guest(fd, 200, seed);
	ok = ok && udp_from_host(r) == 242 && is_frame(back + 42, guest_mac, 200, seed);
	r->pair = 0;
	return ok;
}

static unsigned max_pairs(struct rig *r)
{
	uint8_t n[2];

	fake_cfg_read(&r->d, NET_CFG_PAIRS, n, 2);
	return get_le16(n);
}

static void each_pair(void)
{
	int fd = udp_socket();
	struct rig r;

	CHECK(fd >= 0 && several_up(&r, ALL_FEATURES));
	CHECK(r.d.features & NET_F_MQ && max_pairs(&r) == PAIRS);
	/* the first alone, until it asks for more */
	CHECK(talk(&r, fd, 0, 0, 1));
	CHECK_EQ(set_pairs(&r, PAIRS), 0);
	for (uint32_t i = 0; i < 30; i++)
		CHECK(talk(&r, fd, i % PAIRS, i % PAIRS, i));
	/* what cannot be is not, and what was stays */
	CHECK_EQ(set_pairs(&r, 0), 1);
	CHECK_EQ(set_pairs(&r, PAIRS + 1), 1);
	CHECK_EQ(set_pairs(&r, 0x8000), 1);
	CHECK_EQ(ctl(&r, 4, 0, "\1", 1), 1);
	CHECK_EQ(ctl(&r, 4, 1, "\1\0", 2), 1);
	CHECK(talk(&r, fd, 2, 2, 7));
	/* fewer: the connections come by those that are left */
	CHECK_EQ(set_pairs(&r, 1), 0);
	CHECK(talk(&r, fd, 0, 0, 8));
	CHECK_EQ(set_pairs(&r, 2), 0);
	CHECK(talk(&r, fd, 1, 1, 9));
	CHECK(!vdev_is_broken(r.v));
	(void)close(fd);
	rig_down(&r);
}

/* What lies in the queue of a pair that is not in use comes back, and goes nowhere: what the driver
 * put there without asking, and what was there when it asked for fewer. */
static void at_rest(void)
{
	int fd = udp_socket(), back_again = 0;
	struct rig r;

	CHECK(fd >= 0 && several_up(&r, ALL_FEATURES));
	r.pair = 1;
	udp_frame(300, true, 1);
	CHECK(tx_add(&r, NULL, frame, 342, 1) >= 0);
	for (int i = 0; i < 1000 && !back_again; i++)
		back_again = tx_done(&r);
	CHECK_EQ(back_again, 1);
	CHECK_EQ(recv(fd, back, sizeof(back), 0), -1);
	CHECK_EQ(set_pairs(&r, 2), 0);
	/* more than are sent in one turn */
	for (uint32_t i = 0; i < 3 * NET_BATCH; i++)
		CHECK(tx_add(&r, NULL, frame, 342, 1) >= 0);
	CHECK_EQ(set_pairs(&r, 1), 0);
	back_again = 0;
	for (int i = 0; i < 1000 && back_again < 3 * NET_BATCH; i++)
		back_again += tx_done(&r);
	CHECK_EQ(back_again, 3 * NET_BATCH);
	(void)close(fd);
	rig_down(&r);
}

/* A new driver has the first pair, whatever its predecessor had; one that does not know of more
 * finds the control queue behind that. */
static void another_driver(void)
{
	int fd = udp_socket();
	struct rig r;

	CHECK(fd >= 0 && several_up(&r, ALL_FEATURES) && set_pairs(&r, PAIRS) == 0);
	CHECK(talk(&r, fd, 2, 2, 1));
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES & ~NET_F_MQ), 0);
	CHECK(!(r.d.features & NET_F_MQ));
	rx_post(&r, 64, BUF);
	CHECK_EQ(ctl(&r, 0, 0, "\1", 1), 0);
	CHECK_EQ(set_pairs(&r, 2), 1);
	for (uint32_t i = 0; i < 5; i++)
		CHECK(talk(&r, fd, 0, 0, i));
	CHECK_EQ(fake_dev_start(&r.d, ALL_FEATURES), 0);
	CHECK(post_all(&r) && talk(&r, fd, 0, 0, 2));
	CHECK_EQ(set_pairs(&r, 2), 0);
	CHECK(talk(&r, fd, 1, 1, 3));
	(void)close(fd);
	rig_down(&r);
}

/* The device goes on as its twin on the same interface, with what was written spoiled at @spoil. */
static int reload(struct rig *r, size_t spoil)
{
	struct net_cfg cfg;
	struct save_out out = { 0 };
	struct save_in s;
	struct vdev *twin;
	int ret;

	vdev_pause(r->v);
	if (vdev_save(r->v, &out))
		abort();
	/* a tap has as many queues as are open */
	vdev_fini(r->v);
	r->v->cls->destroy(r->v);
	cfg = several();
	if (!bring_up("tap0") || net_new(r->loop, &r->g.mem, &cfg, &twin, NULL))
		abort();
	if (spoil < out.len)
		out.buf[spoil] ^= 0xff;
	twin->irq = &r->d.irq;
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	ret = vdev_load(twin, &s);
	if (!ret)
		ret = load_done(&s);
	save_out_free(&out);
	r->v = r->d.v = r->d.mmio.v = twin;
	if (!ret)
		vdev_resume(twin);
	return ret;
}

static void saved_and_loaded(void)
{
	int fd = udp_socket();
	struct rig r;

	CHECK(fd >= 0 && several_up(&r, ALL_FEATURES) && set_pairs(&r, 2) == 0);
	CHECK(talk(&r, fd, 1, 1, 1));
	CHECK_EQ(reload(&r, SIZE_MAX), 0);
	for (uint32_t i = 0; i < 5; i++)
		CHECK(talk(&r, fd, i % 2, i % 2, i));
	CHECK_EQ(set_pairs(&r, PAIRS), 0);
	CHECK(talk(&r, fd, 2, 2, 6));
	(void)close(fd);
	rig_down(&r);
}

/* How many are in use is the last thing that the device writes: a number that cannot be. */
static void loaded_from_nonsense(void)
{
	struct save_out out = { 0 };
	size_t len;
	struct rig r;

	CHECK(several_up(&r, ALL_FEATURES) && set_pairs(&r, 2) == 0);
	vdev_pause(r.v);
	CHECK_EQ(vdev_save(r.v, &out), 0);
	vdev_resume(r.v);
	len = out.len;
	save_out_free(&out);
	CHECK_EQ(reload(&r, len - 1), -EINVAL);
	rig_down(&r);
}

static void refused(void)
{
	struct net_cfg cfg = net_cfg_of(NET_TAP);
	struct error e = { 0 };
	struct fake_guest g;
	struct loop *loop;
	struct vdev *v;
	int sv[2];

	CHECK(!fake_guest_init(&g, 1U << 20) && !loop_new("test", &loop, NULL));
	/* one tap twice is no tap of two queues */
	cfg.fd = open_tap("one", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	cfg.more[cfg.nmore++] = open_tap("two", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	CHECK(cfg.fd >= 0 && cfg.more[0] >= 0);
	CHECK_EQ(net_new(loop, &g.mem, &cfg, &v, &e), -EINVAL);
	CHECK(strstr(e.msg, "one") && fcntl(cfg.fd, F_GETFD) < 0 &&
		fcntl(cfg.more[0], F_GETFD) < 0);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	cfg = net_cfg_of(NET_STREAM);
	cfg.fd = sv[0];
	cfg.more[cfg.nmore++] = sv[1];
	CHECK_EQ(net_new(loop, &g.mem, &cfg, &v, &e), -EINVAL);
	CHECK(fcntl(sv[0], F_GETFD) < 0 && fcntl(sv[1], F_GETFD) < 0);
	loop_free(loop);
	fake_guest_fini(&g);
}

static const struct test_case cases[] = {
	TEST(each_pair),
	TEST(at_rest),
	TEST(another_driver),
	TEST(saved_and_loaded),
	TEST(loaded_from_nonsense),
	TEST(refused),
};

TAP_MAIN(cases)
