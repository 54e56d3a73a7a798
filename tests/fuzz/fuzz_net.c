// SPDX-License-Identifier: Apache-2.0
// A hostile driver and a hostile backend around a network interface: the input is a script of what
// both do, on a stream, on datagrams or, where this process may make one, on a tap with one queue
// or several; by a descriptor, by a path where the backend goes away and comes back, or later.

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
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
static bool by_path, later, many;
static int peer = -1, listener = -1, tap = -1, wire = -1, wires[2];
static struct sockaddr_un at = { .sun_family = AF_UNIX };
static uint8_t scratch[80000];

#define PAIRS 3

static int open_tap(const char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)flags };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &ifr)) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* A socket on the other side of a tap, which is then up. */
static int other_side(const char *name)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htobe16(ETH_P_ALL) };
	struct ifreq ifr = { .ifr_flags = IFF_UP | IFF_PROMISC };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, a.sll_protocol);

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	a.sll_ifindex = (int)if_nametoindex(name);
	FUZZ_CHECK(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof(a)));
	FUZZ_CHECK(!ioctl(fd, SIOCSIFFLAGS, &ifr));
	return fd;
}

#define FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

/* Taps in a network namespace of our own. That of several queues stays when none is open. */
static void make_taps(void)
{
	int quiet, fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return;
	quiet = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
	if (quiet >= 0) {
		(void)!write(quiet, "1", 1);
		(void)close(quiet);
	}
	tap = open_tap("one", FLAGS);
	if (tap < 0)
		return;
	wires[0] = other_side("one");
	fd = open_tap("many", FLAGS | IFF_MULTI_QUEUE);
	FUZZ_CHECK(fd >= 0 && !ioctl(fd, TUNSETPERSIST, 1));
	wires[1] = other_side("many");
	(void)close(fd);
}

/* Where the backend of a path is, or would be. */
static void come(void)
{
	int type = kind == NET_STREAM ? SOCK_STREAM : SOCK_DGRAM;

	if (listener >= 0)
		return;
	(void)unlink(at.sun_path);
	listener = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(listener >= 0 && !bind(listener, (struct sockaddr *)&at, sizeof(at)));
	FUZZ_CHECK(kind != NET_STREAM || !listen(listener, 4));
}

static void go_away(void)
{
	if (listener >= 0)
		(void)close(listener);
	if (peer >= 0)
		(void)close(peer);
	listener = peer = -1;
}

static void drain(int fd)
{
	while (read(fd, scratch, sizeof(scratch)) > 0)
		;
}

static void wire_tap(struct net_cfg *cfg)
{
	wire = wires[many];
	if (!many) {
		drain(tap);
		cfg->fd = dup(tap);
		FUZZ_CHECK(cfg->fd >= 0);
		return;
	}
	cfg->fd = open_tap("many", FLAGS | IFF_MULTI_QUEUE);
	FUZZ_CHECK(cfg->fd >= 0);
	while (cfg->nmore < PAIRS - 1) {
		cfg->more[cfg->nmore] = open_tap("many", FLAGS | IFF_MULTI_QUEUE);
		FUZZ_CHECK(cfg->more[cfg->nmore++] >= 0);
	}
}

static void wire_path(struct net_cfg *cfg)
{
	struct sockaddr_un none = { .sun_family = AF_UNIX };

	(void)memcpy(cfg->path, at.sun_path, sizeof(cfg->path));
	cfg->vfkit = true;
	come();
	if (kind == NET_STREAM)
		return;
	cfg->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(cfg->fd >= 0 && !bind(cfg->fd, (struct sockaddr *)&none, sizeof(sa_family_t)));
}

/* The other side anew, and the interface's configuration to it. */
static struct net_cfg wired(void)
{
	struct net_cfg cfg = {
		.kind = kind, .fd = -1, .mac = { 2, 1, 2, 3, 4, 5 }, .offloads = ~0ULL
	};
	int sv[2];

	go_away();
	if (later)
		cfg.later = true;
	else if (by_path)
		wire_path(&cfg);
	else if (kind == NET_TAP)
		wire_tap(&cfg);
	if (later || by_path || kind == NET_TAP)
		return cfg;
	FUZZ_CHECK(!socketpair(AF_UNIX,
		(kind == NET_STREAM ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		sv));
	cfg.fd = sv[0];
	peer = sv[1];
	return cfg;
}

/* What comes later, of the right kind or of another; and goes. */
static void attach(struct fuzz_in *in)
{
	unsigned how = fuzz_u8(in);
	struct net_cfg cfg;

	if (how & 1) {
		net_detach(v);
		return;
	}
	later = false;
	if (how & 2)
		kind = kind == NET_TAP ? NET_STREAM : tap < 0 ? NET_DGRAM : NET_TAP;
	cfg = wired();
	(void)net_attach(v, cfg.fd, NULL);
	kind = net_of(v)->pair[0].be->ops == &net_tap_ops ? NET_TAP : NET_STREAM;
	later = true;
}

static void backend(struct fuzz_in *in)
{
	struct itimerspec soon = { .it_value.tv_nsec = 1 };
	unsigned how = fuzz_u8(in);

	if (later) {
		attach(in);
	} else if (by_path && how & 1) {
		go_away();
	} else if (by_path) {
		/* the next try is now */
		come();
		(void)timerfd_settime(net_of(v)->timer_fd, 0, &soon, NULL);
	} else if (peer >= 0) {
		(void)shutdown(peer, how % 3);
	}
}

static void chain(struct fuzz_in *in)
{
	unsigned q = fuzz_u8(in) % v->nqueues, how = fuzz_u8(in), nout = how % 4, nin = how / 4 % 4;
	unsigned ctrl = net_ctrl_queue(net_of(v));
	struct fake_seg seg[8];

	for (unsigned i = 0; i < nout + nin; i++) {
		seg[i] = (struct fake_seg){ FAKE_RAM_GPA + (1U << 20) + fuzz_u16(in),
			fuzz_u16(in) % (how & 32 ? 65536 : 2048) };
	}
	/* mostly what the queue is for: a header and a frame, a command, room */
	if (q != ctrl && q % 2 == NET_TX && nout && !(how & 64)) {
		uint8_t *h = fake_ptr(&g, GPA(seg[0].gpa), NET_HDR);

		memset(h, 0, NET_HDR);
		if (how & 128)
			fuzz_bytes(in, h, NET_HDR);
		seg[0].len = NET_HDR;
	}
	if (q == ctrl && nout && !(how & 64)) {
		uint8_t *c = fake_ptr(&g, GPA(seg[0].gpa), 64);

		c[0] = fuzz_u8(in) % 6;
		c[1] = fuzz_u8(in) % 3;
		fuzz_bytes(in, c + 2, how & 128 ? 62 : 8);
		seg[0].len = how & 16 ? seg[0].len : 10;
	}
	if (!d.q[q].size)
		return;
	(void)fake_add(&d, q, q != ctrl && q % 2 == NET_RX && !(how & 64) ? NULL : seg,
		q != ctrl && q % 2 == NET_RX && !(how & 64) ? 0 : nout, seg + nout, nin);
	(void)fake_kick(&d, q);
}

static void receive_buffers(struct fuzz_in *in)
{
	unsigned n = fuzz_u8(in), len = fuzz_u16(in) % 4096 + 12;
	unsigned q = 2 * (n / 64 % net_of(v)->npairs) + NET_RX;

	for (unsigned i = 0; d.q[q].size && i < n % 64; i++) {
		struct fake_seg s = { FAKE_RAM_GPA + (2U << 20) + i * 4096ULL, len };

		(void)fake_add(&d, q, NULL, 0, &s, 1);
	}
	(void)fake_kick(&d, q);
}

/* Who has sent the last datagram to a path. */
static struct sockaddr_un from;
static socklen_t from_len;

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
	if (kind == NET_TAP && wire >= 0)
		(void)!write(wire, scratch, len);
	else if (by_path && kind == NET_DGRAM && listener >= 0)
		(void)!sendto(
			listener, scratch, len, MSG_NOSIGNAL, (struct sockaddr *)&from, from_len);
	else if (peer >= 0)
		(void)!send(peer, scratch, len + (size_t)(p - scratch), MSG_NOSIGNAL);
}

static void listen_to(struct fuzz_in *in)
{
	size_t n = fuzz_u16(in);

	if (by_path && kind == NET_DGRAM && listener >= 0) {
		from_len = sizeof(from);
		(void)!recvfrom(listener, scratch, n, 0, (struct sockaddr *)&from, &from_len);
	} else if (peer >= 0)
		(void)!read(peer, scratch, n);
	else if (kind == NET_TAP)
		(void)!read(wire, scratch, n);
}

static void fresh(void)
{
	struct net_cfg cfg = wired();

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
	enum net_kind was;

	vdev_pause(v);
	FUZZ_CHECK(!vdev_save(v, &out));
	vdev_fini(v);
	v->cls->destroy(v);
	if (how & 1 && out.len)
		out.buf[fuzz_u16(in) % out.len] ^= fuzz_u8(in);
	was = kind;
	if (how & 2 && !many)
		kind = NET_STREAM;
	cfg = wired();
	FUZZ_CHECK(!net_new(loop, &g.mem, &cfg, &v, NULL));
	v->irq = &d.irq;
	d.v = d.mmio.v = v;
	s = (struct save_in){ .buf = out.buf, .len = out.len };
	if (!vdev_load(v, &s)) {
		vdev_resume(v);
	} else {
		FUZZ_CHECK(how & 3);
		kind = was;
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

	for (unsigned k = 0; k < n->npairs; k++) {
		const struct net_pair *p = &n->pair[k];
		unsigned niov = 0;
		size_t room = 0;

		for (unsigned i = 0; i < p->nchains; i++) {
			niov += p->chain[i].niov;
			room += p->chain[i].len;
		}
		FUZZ_CHECK(niov == p->niov && room == p->room && niov <= NET_IOV);
		FUZZ_CHECK(p->nheld < NET_ROOM && (p->used || (k && !p->nheld)));
	}
	FUZZ_CHECK(n->nmacs <= LIM_NET_MACS && net_pairs(n) <= n->npairs);
}

static void reap(void)
{
	uint16_t head;
	uint32_t len;

	fake_poll(&d);
	if (by_path && kind == NET_STREAM && listener >= 0) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0 && peer >= 0)
			(void)close(peer);
		peer = fd >= 0 ? fd : peer;
	}
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
		backend(in);
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
		make_taps();
		(void)snprintf(
			at.sun_path, sizeof(at.sun_path), "/tmp/krun-fuzz-net-%d", (int)getpid());
		FUZZ_CHECK(!fake_guest_init(&g, 8U << 20));
		mem_freeze(&g.mem);
	}
	g.used = 0;
	kind = (enum net_kind)(how % 3);
	if (kind == NET_TAP && tap < 0)
		kind = NET_DGRAM;
	many = kind == NET_TAP && how & 8;
	by_path = kind != NET_TAP && how & 16;
	later = kind != NET_DGRAM && !many && !by_path && how & 32;
	cfg = wired();
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
	go_away();
	(void)unlink(at.sun_path);
	return 0;
}
