/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of network interfaces share: a device, its driver's buffers, frames, and the other
 * side of a socket. */
#ifndef KRUN_TESTS_UNIT_NET_RIG_H
#define KRUN_TESTS_UNIT_NET_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dev/net.h"
#include "fake/fake_guest.h"
#include "unit/test.h"
#include "util/bytes.h"

#define ALL_FEATURES (~0ULL)
#define FRAME_MAX    LIM_NET_FRAME
#define BUF	     1526 /* a receive buffer of a driver that merges them */

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

#define RAM (64U << 20)
static uint64_t rig_ram = RAM;

struct rig {
	struct fake_guest g;
	struct fake_dev d;
	struct loop *loop;
	struct vdev *v;
	int peer;	 /* the other side of a socket, or -1 */
	unsigned npairs; /* of queues, that there are */
	unsigned pair;	 /* that the functions below use */
	/* receive buffers, by pair and head */
	uint64_t buf[LIM_NET_PAIRS][LIM_VQ_SIZE];
	uint32_t buf_len[LIM_NET_PAIRS][LIM_VQ_SIZE];
	uint8_t hdr[NET_HDR]; /* of the last frame received */
	unsigned nbufs;	      /* chains that it took */
};

static inline struct net_cfg net_cfg_of(enum net_kind kind)
{
	struct net_cfg c = { .kind = kind, .fd = -1 };

	memcpy(c.mac, guest_mac, 6);
	return c;
}

static inline int rig_make(struct rig *r, const struct net_cfg *cfg)
{
	(void)signal(SIGPIPE, SIG_IGN);
	r->npairs = 1 + cfg->nmore;
	return fake_guest_init(&r->g, rig_ram) || loop_new("test", &r->loop, NULL) ||
		net_new(r->loop, &r->g.mem, cfg, &r->v, NULL) || fake_dev_init(&r->d, &r->g, r->v);
}

static inline int rig_go(struct rig *r, uint64_t features)
{
	mem_freeze(&r->g.mem);
	r->d.pump = r->loop;
	return fake_dev_start(&r->d, features);
}

/* One end of a socket pair is the interface's, the other is r->peer. */
static inline int rig_up(struct rig *r, enum net_kind kind, uint64_t features)
{
	struct net_cfg cfg = net_cfg_of(kind);
	int sv[2];

	memset(r, 0, sizeof(*r));
	if (socketpair(
		    AF_UNIX, (kind == NET_STREAM ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0, sv))
		return -1;
	cfg.fd = sv[0];
	r->peer = sv[1];
	return rig_make(r, &cfg) ? -1 : rig_go(r, features);
}

static inline void rig_down(struct rig *r)
{
	vdev_fini(r->v);
	r->v->cls->destroy(r->v);
	fake_dev_fini(&r->d);
	loop_free(r->loop);
	fake_guest_fini(&r->g);
	if (r->peer >= 0)
		(void)close(r->peer);
}

/* A frame to @mac of @len bytes that nothing else is like. */
static inline void make_frame(uint8_t *p, const uint8_t *mac, size_t len, uint32_t seed)
{
	uint32_t x = seed * 2654435761U + 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (uint8_t)(x >> 24);
	}
	memcpy(p, mac, 6);
	p[6] = 2;
	p[12] = 0x88;
	p[13] = 0xb5;
}

/* Is @p the frame of make_frame()? */
static inline bool is_frame(const uint8_t *p, const uint8_t *mac, size_t len, uint32_t seed)
{
	static uint8_t want[FRAME_MAX];

	make_frame(want, mac, len, seed);
	return !memcmp(p, want, len);
}

/* ---- the driver ---- */

static inline unsigned rx_queue(const struct rig *r)
{
	return 2 * r->pair + NET_RX;
}

static inline unsigned tx_queue(const struct rig *r)
{
	return 2 * r->pair + NET_TX;
}

static inline unsigned ctrl_queue(const struct rig *r)
{
	return NET_CTRL(r->d.features & NET_F_MQ ? r->npairs : 1);
}

/* Gives @n receive buffers of @len bytes, in one piece each. */
static inline void rx_post(struct rig *r, unsigned n, uint32_t len)
{
	while (n--) {
		struct fake_seg s = { fake_alloc(&r->g, len, 8).v, len };
		int head = fake_add(&r->d, rx_queue(r), NULL, 0, &s, 1);

		if (head < 0)
			break;
		r->buf[r->pair][head] = s.gpa;
		r->buf_len[r->pair][head] = len;
	}
	(void)fake_kick(&r->d, rx_queue(r));
}

/* The next frame that was received, without waiting, and its buffers given back to the device. Its
 * length, 0: none, or a negative number where the answers make no sense. */
static inline int rx_get(struct rig *r, uint8_t *frame)
{
	unsigned left = 1;
	int at = 0;

	for (r->nbufs = 0; left; left--, r->nbufs++) {
		struct fake_seg s;
		uint16_t head;
		uint32_t len, skip = r->nbufs ? 0 : NET_HDR;
		const uint8_t *p;
		int n = fake_reap(&r->d, rx_queue(r), &head, &len);

		if (n <= 0)
			return r->nbufs || n < 0 ? -EPROTO : 0;
		if (len < skip || len > r->buf_len[r->pair][head] || at + len > FRAME_MAX + NET_HDR)
			return -EPROTO;
		p = fake_ptr(&r->g, GPA(r->buf[r->pair][head]), len);
		if (!r->nbufs) {
			memcpy(r->hdr, p, NET_HDR);
			left = get_le16(p + NET_HDR_NBUFS);
			if (!left || (left > 1 && !(r->d.features & NET_F_MRG_RXBUF)))
				return -EPROTO;
		}
		memcpy(frame + at, p + skip, len - skip);
		at += (int)(len - skip);
		s = (struct fake_seg){ r->buf[r->pair][head], r->buf_len[r->pair][head] };
		memset(fake_ptr(&r->g, GPA(s.gpa), s.len), 0xee, s.len);
		n = fake_add(&r->d, rx_queue(r), NULL, 0, &s, 1);
		if (n < 0)
			return n;
		r->buf[r->pair][n] = s.gpa;
		r->buf_len[r->pair][n] = s.len;
	}
	(void)fake_kick(&r->d, rx_queue(r));
	return at;
}

/* As rx_get(), but waits. -ETIMEDOUT, -EIO: the device has broken. */
static inline int rx_wait(struct rig *r, uint8_t *frame)
{
	int n = fake_wait(&r->d, rx_queue(r), FAKE_TIMEOUT_MS);

	return n ? n : rx_get(r, frame);
}

/* Puts a frame with a header into the transmit ring, in @pieces, and kicks; its head. */
static inline int tx_add(
	struct rig *r, const uint8_t *hdr, const uint8_t *frame, uint32_t len, unsigned pieces)
{
	static const uint8_t none[NET_HDR];
	struct fake_seg s[64];
	uint64_t at = fake_alloc(&r->g, NET_HDR + len, 8).v;
	int n;

	memcpy(fake_ptr(&r->g, GPA(at), NET_HDR), hdr ? hdr : none, NET_HDR);
	memcpy(fake_ptr(&r->g, GPA(at + NET_HDR), len), frame, len);
	s[0] = (struct fake_seg){ at, NET_HDR };
	for (unsigned i = 0; i < pieces; i++) {
		uint64_t from = (uint64_t)len * i / pieces, to = (uint64_t)len * (i + 1) / pieces;

		s[1 + i] = (struct fake_seg){ at + NET_HDR + from, (uint32_t)(to - from) };
	}
	n = fake_add(&r->d, tx_queue(r), s, 1 + pieces, NULL, 0);
	(void)fake_kick(&r->d, tx_queue(r));
	return n;
}

/* How many frames the device has given back. */
static inline int tx_done(struct rig *r)
{
	uint16_t head;
	uint32_t len;
	int n = 0, ret;

	fake_poll(&r->d);
	while ((ret = fake_reap(&r->d, tx_queue(r), &head, &len)) == 1)
		n += len ? -1000000 : 1;
	return ret ? ret : n;
}

/* A command of the control queue: its answer, 0 or 1. */
static inline int ctl(struct rig *r, unsigned class, unsigned cmd, const void *data, uint32_t len)
{
	uint8_t c[2] = { (uint8_t) class, (uint8_t)cmd }, answer = 0xff;
	struct fake_out out[2] = { { c, 2 }, { data, len } };
	struct fake_in in = { &answer, 1 };
	int n = fake_guest_xfer(&r->d, ctrl_queue(r), out, len ? 2 : 1, &in, 1);

	return n == 1 ? answer : n < 0 ? n : -EPROTO;
}

static inline unsigned link_status(struct rig *r)
{
	uint8_t s[2];

	fake_cfg_read(&r->d, NET_CFG_STATUS, s, 2);
	return get_le16(s);
}

/* Runs the loop until the link's status is @want: 0, or -1 after a while. */
static inline int wait_link(struct rig *r, unsigned want)
{
	for (int i = 0; i < 1000; i++) {
		fake_poll(&r->d);
		if (link_status(r) == want)
			return 0;
		(void)loop_once(r->loop, 10);
	}
	return -1;
}

/* ---- the other side ---- */

/* Names of sockets in a directory of their own, from names() to no_names(). */
static char dir[64], server[96], client[96];

static inline void names(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(dir, sizeof(dir), "%s/net-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	if (!mkdtemp(dir))
		abort();
	(void)snprintf(server, sizeof(server), "%s/server", dir);
	(void)snprintf(client, sizeof(client), "%s/client", dir);
}

static inline void no_names(void)
{
	(void)unlink(server);
	(void)unlink(client);
	(void)rmdir(dir);
}

static inline int named(int type, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || (type == SOCK_STREAM && listen(fd, 1)))
		abort();
	return fd;
}

static inline bool peer_ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1;
}

/* The whole of @n bytes; the device's loop runs meanwhile. */
static inline bool peer_read(struct rig *r, void *to, size_t n)
{
	uint8_t *p = to;

	for (int i = 0; n && i < 100000; i++) {
		ssize_t got = recv(r->peer, p, n, MSG_DONTWAIT);

		if (!got || (got < 0 && errno != EAGAIN))
			return false;
		if (got < 0) {
			(void)tx_done(r);
			continue;
		}
		p += got;
		n -= (size_t)got;
	}
	return !n;
}

/* A frame: its length, or -1. */
static inline int peer_get(struct rig *r, enum net_kind kind, uint8_t *frame)
{
	uint8_t len[4];
	uint32_t n;

	if (kind == NET_DGRAM) {
		for (int i = 0; i < 100000; i++) {
			ssize_t got = recv(r->peer, frame, FRAME_MAX + 1, MSG_DONTWAIT);

			if (got >= 0 || errno != EAGAIN)
				return (int)got;
			(void)tx_done(r);
		}
		return -1;
	}
	if (!peer_read(r, len, 4))
		return -1;
	n = (uint32_t)len[0] << 24 | (uint32_t)len[1] << 16 | (uint32_t)len[2] << 8 | len[3];
	return n <= FRAME_MAX && peer_read(r, frame, n) ? (int)n : -1;
}

/* Sends a frame without waiting: true when all of it went. */
static inline bool peer_put(struct rig *r, enum net_kind kind, const uint8_t *frame, uint32_t len)
{
	uint8_t head[4] = { (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
		(uint8_t)len };
	struct iovec v[2] = { { head, 4 }, { (void *)(uintptr_t)frame, len } };
	struct msghdr m = { .msg_iov = kind == NET_DGRAM ? v + 1 : v,
		.msg_iovlen = kind == NET_DGRAM ? 1 : 2 };
	ssize_t want = (ssize_t)len + (kind == NET_DGRAM ? 0 : 4);

	return sendmsg(r->peer, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == want;
}

#endif
