// SPDX-License-Identifier: Apache-2.0
// virtio-net on a tap in a network namespace of the test's own: frames as the host's stack sees
// them, checksums and segments that are left to it, an interface that goes away.

#include "unit/tap_rig.h"

static void both_ways(void)
{
	struct rig r;
	int fd = udp_socket();

	CHECK(fd >= 0 && tap_up(&r, 0, ALL_FEATURES));
	CHECK_EQ(r.d.features & (OFFLOADS | NET_F_CTRL_GUEST_OFFLOADS), 0);
	for (uint32_t i = 0; i < 20; i++) {
		udp_frame(100 + i * 60, true, i);
		CHECK(tx_add(&r, NULL, frame, 142 + i * 60, 1 + i * 3) >= 0);
		CHECK_EQ(heard(&r, fd), 100 + i * 60);
		CHECK(!memcmp(back, frame + 42, 100 + i * 60));
		say_to_guest(fd, 200 + i * 60, i);
		CHECK_EQ(udp_from_host(&r), 242 + i * 60);
		CHECK(is_frame(back + 42, guest_mac, 200 + i * 60, i));
		/* nothing was agreed on: the sum is there, and the header says nothing */
		CHECK_EQ(fold(sum(back + 34, 208 + i * 60, pseudo(back, 242 + i * 60))), 0xffff);
		CHECK_EQ(r.hdr[0] | r.hdr[1], 0);
	}
	(void)close(fd);
	rig_down(&r);
}

static void checksums(void)
{
	uint8_t hdr[NET_HDR] = { 1 };
	struct rig r;
	int fd = udp_socket();

	CHECK(fd >= 0 && tap_up(&r, OFFLOADS, ALL_FEATURES));
	CHECK_EQ(r.d.features & NET_HOST_OFFLOADS, NET_HOST_OFFLOADS);
	CHECK(r.d.features & NET_F_GUEST_CSUM && r.d.features & NET_F_GUEST_TSO4);
	put_le16(hdr + 6, 34);
	put_le16(hdr + 8, 6);
	for (uint32_t i = 0; i < 20; i++) {
		udp_frame(500 + i, false, i);
		CHECK(tx_add(&r, hdr, frame, 542 + i, 2) >= 0);
		CHECK_EQ(heard(&r, fd), 500 + i);
		CHECK(!memcmp(back, frame + 42, 500 + i));
		/* the other way it is left to the guest */
		say_to_guest(fd, 300 + i, i);
		CHECK_EQ(udp_from_host(&r), 342 + i);
		CHECK_EQ(r.hdr[0] & 1, 1);
		CHECK_EQ(get_le16(r.hdr + 6), 34);
		CHECK_EQ(get_le16(r.hdr + 8), 6);
		CHECK_EQ(get_be16(back + 40), fold(pseudo(back, 342 + i)));
	}
	/* a driver that no longer wants it has its sums made */
	CHECK_EQ(ctl(&r, 5, 0, "\0\0\0\0\0\0\0\0", 8), 0);
	say_to_guest(fd, 300, 1);
	CHECK_EQ(udp_from_host(&r), 342);
	CHECK_EQ(r.hdr[0] & 1, 0);
	CHECK_EQ(fold(sum(back + 34, 308, pseudo(back, 342))), 0xffff);
	CHECK_EQ(ctl(&r, 5, 0, "\1\0\0\0\0\0\0\0", 8), 1);
	/* what the kernel finds wrong costs the frame, not the device */
	put_le16(hdr + 6, 60000);
	CHECK(tx_add(&r, hdr, frame, 500, 1) >= 0);
	put_le16(hdr + 6, 34);
	udp_frame(77, false, 1);
	CHECK(tx_add(&r, hdr, frame, 42 + 77, 1) >= 0);
	CHECK_EQ(heard(&r, fd), 77);
	CHECK(!vdev_is_broken(r.v) && link_status(&r) == NET_S_LINK_UP);
	(void)close(fd);
	rig_down(&r);
}

/* A tap that comes when the driver has chosen its offloads: they are told to it. */
static void a_tap_that_comes_later(void)
{
	struct net_cfg cfg = net_cfg_of(NET_TAP);
	int fd = udp_socket(), tap;
	struct rig r = { .peer = -1 };
	struct error e = { 0 };

	cfg.later = true;
	cfg.offloads = OFFLOADS;
	CHECK(fd >= 0 && !rig_make(&r, &cfg) && !rig_go(&r, ALL_FEATURES));
	CHECK(r.d.features & NET_F_GUEST_TSO4 && !(r.d.features & NET_F_GUEST_UFO));
	rx_post(&r, 128, BUF);
	tap = open_tap("tap0", IFF_TAP | IFF_NO_PI);
	CHECK_EQ(net_attach(r.v, tap, &e), -EINVAL);
	CHECK(strstr(e.msg, "tap0") && link_status(&r) == 0);
	tap = open_tap("tap0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	CHECK(tap >= 0 && bring_up("tap0"));
	CHECK_EQ(net_attach(r.v, tap, NULL), 0);
	CHECK_EQ(link_status(&r) & NET_S_LINK_UP, NET_S_LINK_UP);
	udp_frame(500, true, 1);
	CHECK(tx_add(&r, NULL, frame, 542, 2) >= 0);
	CHECK_EQ(heard(&r, fd), 500);
	CHECK(!memcmp(back, frame + 42, 500));
	say_to_guest(fd, 300, 2);
	CHECK_EQ(udp_from_host(&r), 342);
	CHECK_EQ(r.hdr[0] & 1, 1);
	(void)close(fd);
	rig_down(&r);
}

/* One large frame of the guest's is what the host's side of the tap sees. */
static void segments(void)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_IP));
	uint8_t hdr[NET_HDR] = { 1, 1 };
	uint32_t len = 54 + 40000;
	struct rig r;

	CHECK(fd >= 0 && tap_up(&r, OFFLOADS, ALL_FEATURES));
	a.sll_ifindex = (int)if_nametoindex("tap0");
	CHECK_EQ(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	put_le16(hdr + 2, 54);
	put_le16(hdr + 4, 1448);
	put_le16(hdr + 6, 34);
	put_le16(hdr + 8, 16);
	udp_frame(len - 42, false, 3);
	frame[23] = IPPROTO_TCP;
	put_be16(frame + 24, 0);
	put_be16(frame + 24, (uint16_t)~fold(sum(frame + 14, 20, 0)));
	memset(frame + 38, 0, 16);
	frame[46] = 0x50;
	frame[47] = 0x10;
	put_be16(frame + 50, fold(pseudo(frame, len)));
	/* in more pieces than one call of ours takes as they are */
	for (unsigned pieces = 3; pieces <= 60; pieces += 57) {
		CHECK(tx_add(&r, hdr, frame, len, pieces) >= 0);
		CHECK_EQ(heard(&r, fd), len);
		CHECK(!memcmp(back, frame, len));
	}
	(void)close(fd);
	rig_down(&r);
}

/* An interface that is down takes frames as a cable without an end; one that is deleted is gone. */
static void down_and_gone(void)
{
	struct ifreq ifr = { .ifr_flags = 0 };
	struct rig r;
	int fd = udp_socket();

	CHECK(fd >= 0 && tap_up(&r, OFFLOADS, ALL_FEATURES));
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "tap0");
	CHECK_EQ(ioctl(ctl_sock, SIOCSIFFLAGS, &ifr), 0);
	udp_frame(100, true, 1);
	CHECK(tx_add(&r, NULL, frame, 142, 1) >= 0);
	CHECK_EQ(fake_wait(&r.d, NET_TX, FAKE_TIMEOUT_MS), 0);
	CHECK_EQ(tx_done(&r), 1);
	CHECK_EQ(link_status(&r), NET_S_LINK_UP);
	CHECK(bring_up("tap0"));
	CHECK(tx_add(&r, NULL, frame, 142, 1) >= 0);
	CHECK_EQ(heard(&r, fd), 100);
	CHECK_EQ(system("ip link delete tap0"), 0);
	CHECK_EQ(wait_link(&r, 0), 0);
	CHECK(tx_add(&r, NULL, frame, 142, 1) >= 0);
	CHECK_EQ(fake_wait(&r.d, NET_TX, FAKE_TIMEOUT_MS), 0);
	CHECK(!vdev_is_broken(r.v));
	(void)close(fd);
	rig_down(&r);
}

static void other_taps_are_refused(void)
{
	static const int flags[] = { IFF_TAP | IFF_NO_PI, IFF_TUN | IFF_NO_PI | IFF_VNET_HDR };
	struct fake_guest g;
	struct loop *loop;
	struct vdev *v;

	CHECK(!fake_guest_init(&g, 1U << 20) && !loop_new("test", &loop, NULL));
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		struct net_cfg cfg = net_cfg_of(NET_TAP);
		struct error e = { 0 };

		cfg.fd = open_tap("tap1", flags[i]);
		CHECK(cfg.fd >= 0);
		CHECK_EQ(net_new(loop, &g.mem, &cfg, &v, &e), -EINVAL);
		CHECK(strstr(e.msg, "tap1"));
	}
	loop_free(loop);
	fake_guest_fini(&g);
}

static const struct test_case cases[] = {
	TEST(both_ways),
	TEST(checksums),
	TEST(a_tap_that_comes_later),
	TEST(segments),
	TEST(down_and_gone),
	TEST(other_taps_are_refused),
};

TAP_MAIN(cases)
