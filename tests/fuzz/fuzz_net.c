// SPDX-License-Identifier: Apache-2.0
// A hostile driver and a hostile backend around a network interface: the input is a script of what
// both do, on a stream, on datagrams or, where this process may make one, on a tap.

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/net.h"
#include "fake/fake_guest.h"
#include "fuzz/fuzz.h"
#include "util/bytes.h"

static struct fake_guest g;
static struct fake_dev d;
static struct loop *loop;
static struct vdev *v;
static enum net_kind kind;
static int peer = -1, tap = -1, wire = -1;
static uint8_t scratch[80000];

/* A tap in a network namespace of our own, and a socket on its other side. */
static void make_tap(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htobe16(ETH_P_ALL) };
	int quiet;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return;
	quiet = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (quiet >= 0) {
		(void)!write(quiet, "1", 1);
		(void)close(quiet);
	}
	tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap >= 0 && ioctl(tap, TUNSETIFF, &ifr)) {
		(void)close(tap);
		tap = -1;
	}
	wire = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, a.sll_protocol);
	if (tap < 0 || wire < 0)
		return;
	a.sll_ifindex = (int)if_nametoindex(ifr.ifr_name);
	ifr.ifr_flags = IFF_UP | IFF_PROMISC;
	FUZZ_CHECK(!bind(wire, (struct sockaddr *)&a, sizeof(a)));
	FUZZ_CHECK(!ioctl(wire, SIOCSIFFLAGS, &ifr));
}

static struct net_cfg wired(enum net_kind k)
{
	struct net_cfg cfg = { .kind = k, .mac = { 2, 1, 2, 3, 4, 5 }, .offloads = ~0ULL };
	int sv[2];

	if (peer >= 0)
		(void)close(peer);
	peer = -1;
	if (k == NET_TAP) {
		while (read(tap, scratch, sizeof(scratch)) > 0)
			;
		cfg.fd = dup(tap);
		FUZZ_CHECK(cfg.fd >= 0);
		return cfg;
	}
	FUZZ_CHECK(!socketpair(AF_UNIX,
		(k == NET_STREAM ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		sv));
	cfg.fd = sv[0];
	peer = sv[1];
	return cfg;
}

static void chain(struct fuzz_in *in)
{
	unsigned q = fuzz_u8(in) % NET_QUEUES, how = fuzz_u8(in), nout = how % 4, nin = how / 4 % 4;
	struct fake_seg seg[8];

	for (unsigned i = 0; i < nout + nin; i++) {
		seg[i] = (struct fake_seg){ FAKE_RAM_GPA + (1U << 20) + fuzz_u16(in),
			fuzz_u16(in) % (how & 32 ? 65536 : 2048) };
	}
	/* mostly what the queue is for: a header and a frame, a command, room */
	if (q == NET_TX && nout && !(how & 64)) {
		uint8_t *h = fake_ptr(&g, GPA(seg[0].gpa), NET_HDR);

		memset(h, 0, NET_HDR);
		if (how & 128)
			fuzz_bytes(in, h, NET_HDR);
		seg[0].len = NET_HDR;
	}
	if (q == NET_CTRL && nout && !(how & 64)) {
		uint8_t *c = fake_ptr(&g, GPA(seg[0].gpa), 64);

		c[0] = fuzz_u8(in) % 6;
		c[1] = fuzz_u8(in) % 3;
		fuzz_bytes(in, c + 2, how & 128 ? 62 : 8);
		seg[0].len = how & 16 ? seg[0].len : 10;
	}
	if (!d.q[q].size)
		return;
	(void)fake_add(&d, q, q == NET_RX && !(how & 64) ? NULL : seg,
		q == NET_RX && !(how & 64) ? 0 : nout, seg + nout, nin);
	(void)fake_kick(&d, q);
}

static void receive_buffers(struct fuzz_in *in)
{
	unsigned n = fuzz_u8(in) % 64, len = fuzz_u16(in) % 4096 + 12;

	for (unsigned i = 0; d.q[NET_RX].size && i < n; i++) {
		struct fake_seg s = { FAKE_RAM_GPA + (2U << 20) + i * 4096ULL, len };

		(void)fake_add(&d, NET_RX, NULL, 0, &s, 1);
	}
	(void)fake_kick(&d, NET_RX);
}

/* A frame, or bytes that are none. */
static void say(struct fuzz_in *in, bool frame)
{
	uint32_t len = fuzz_u16(in);
	uint8_t *p = scratch;

	if (kind == NET_STREAM && frame) {
		*p++ = 0;
		*p++ = 0;
		*p++ = (uint8_t)(len >> 8);
		*p++ = (uint8_t)len;
	}
	fuzz_bytes(in, p, 16);
	if (kind == NET_TAP)
		(void)!write(wire, scratch, len);
	else if (peer >= 0)
		(void)!send(peer, scratch, len + (size_t)(p - scratch), MSG_NOSIGNAL);
}

static void listen_to(struct fuzz_in *in)
{
	size_t n = fuzz_u16(in);

	if (peer >= 0)
		(void)!read(peer, scratch, n);
	else if (kind == NET_TAP)
		(void)!read(wire, scratch, n);
}

static void fresh(void)
{
	struct net_cfg cfg = wired(kind);

	FUZZ_CHECK(!net_new(loop, &g.mem, &cfg, &v, NULL));
	v->irq = &d.irq;
	d.v = d.mmio.v = v;
	g.used = 0;
	(void)fake_dev_start(&d, ~0ULL);
}

static void save_and_load(struct fuzz_in *in)
{
	struct save_out out = { 0 };
	struct net_cfg cfg;
	struct save_in s;
	unsigned how = fuzz_u8(in);

	vdev_pause(v);
	FUZZ_CHECK(!vdev_save(v, &out));
	vdev_fini(v);
	v->cls->destroy(v);
	if (how & 1 && out.len)
		out.buf[fuzz_u16(in) % out.len] ^= fuzz_u8(in);
	cfg = wired(how & 2 ? NET_STREAM : kind);
	FUZZ_CHECK(!net_new(loop, &g.mem, &cfg, &v, NULL));
	v->irq = &d.irq;
	d.v = d.mmio.v = v;
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	if (!vdev_load(v, &s)) {
		kind = how & 2 ? NET_STREAM : kind;
		vdev_resume(v);
	} else {
		FUZZ_CHECK(how & 3);
		vdev_fini(v);
		v->cls->destroy(v);
		fresh();
	}
	save_out_free(&out);
}

/* What is in hand adds up, whatever has come. */
static void look(void)
{
	const struct net *n = net_of(v);
	unsigned niov = 0;
	size_t room = 0;

	for (unsigned i = 0; i < n->nchains; i++) {
		niov += n->chain[i].niov;
		room += n->chain[i].len;
	}
	FUZZ_CHECK(niov == n->niov && room == n->room && niov <= NET_IOV);
	FUZZ_CHECK(n->nheld < NET_ROOM && n->nmacs <= LIM_NET_MACS);
}

static void reap(void)
{
	uint16_t head;
	uint32_t len;

	fake_poll(&d);
	for (unsigned q = 0; q < v->nqueues; q++)
		while (d.q[q].size && fake_reap(&d, q, &head, &len) == 1)
			;
	look();
}

static void step(struct fuzz_in *in)
{
	switch (fuzz_u8(in) % 16) {
	case 0:
		save_and_load(in);
		break;
	case 1:
		g.used = 0;
		(void)fake_dev_start(&d, ~(uint64_t)fuzz_u32(in));
		break;
	case 2:
		vdev_pause(v);
		vdev_resume(v);
		break;
	case 3:
		if (peer >= 0)
			(void)shutdown(peer, fuzz_u8(in) % 3);
		break;
	case 4:
	case 5:
		listen_to(in);
		break;
	case 6:
		say(in, false);
		break;
	case 7:
	case 8:
	case 9:
		say(in, true);
		break;
	case 10:
	case 11:
		receive_buffers(in);
		break;
	default:
		chain(in);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	unsigned how = fuzz_u8(&in);
	struct net_cfg cfg;

	if (!g.lo) {
		(void)signal(SIGPIPE, SIG_IGN);
		make_tap();
		FUZZ_CHECK(!fake_guest_init(&g, 8U << 20));
		mem_freeze(&g.mem);
	}
	g.used = 0;
	kind = (enum net_kind)(how % 3);
	if (kind == NET_TAP && tap < 0)
		kind = NET_DGRAM;
	cfg = wired(kind);
	FUZZ_CHECK(!loop_new("fuzz", &loop, NULL));
	FUZZ_CHECK(!net_new(loop, &g.mem, &cfg, &v, NULL));
	FUZZ_CHECK(!fake_dev_init(&d, &g, v));
	d.pump = loop;
	FUZZ_CHECK(!fake_dev_start(
		&d, ~(how & 64 ? VDEV_F_INDIRECT : 0) & ~(how & 128 ? NET_F_MRG_RXBUF : 0)));
	while (in.left) {
		step(&in);
		reap();
	}
	fake_dev_reset(&d);
	vdev_fini(v);
	v->cls->destroy(v);
	fake_dev_fini(&d);
	loop_free(loop);
	return 0;
}
