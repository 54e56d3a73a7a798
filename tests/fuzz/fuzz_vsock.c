// SPDX-License-Identifier: Apache-2.0
// A hostile guest and a restless host around the vsock device: the input is a script of what both
// do, over streams of the runtime's and ports mapped to unix sockets in both directions.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dev/vsock.h"
#include "fake/fake_vsock.h"

#define STREAMS 6
#define DIALED	8	   /* connections of the guest's, and what the host has of them */
#define PORT	80	   /* of streams; the next is of messages, the one after that is nobody's */
#define INBOUND 90	   /* what connects to the listener goes there */
#define RAW_AT	(7U << 20) /* beyond what the driver uses, and across the end of RAM */
#define RAW_LEN (6U << 20)

struct script {
	const uint8_t *p;
	size_t n;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fv f = { .keep = true };
static uint8_t scratch[FV_TX_BUF];
static int host[STREAMS];

/* What the guest dialed, as it knows it. */
static struct dialed {
	bool used;
	uint16_t type;
	uint32_t hport, tx_cnt, rx_cnt, peer_alloc, peer_fwd;
} dialed[DIALED];
static int peer[DIALED], server[2] = { -1, -1 }, listener = -1;
static struct sockaddr_un listener_name = { .sun_family = AF_UNIX };
static struct vsock_port ports[3];

static uint32_t take(struct script *s, unsigned bytes)
{
	uint32_t v = 0;

	for (; bytes-- && s->n; s->n--)
		v = v << 8 | *s->p++;
	return v;
}

static void check_bounds(void)
{
	const struct vsock *vs = vsock_of(f.v);

	if (vs->nconns > LIM_VSOCK_CONNS || vs->reserved > LIM_VSOCK_BUF ||
		vs->pending > vs->reserved || vs->rst_n > LIM_VSOCK_CTRL ||
		vs->nguest > LIM_VSOCK_GUEST || vs->msg_bytes > LIM_TSI_DGRAMS)
		abort();
}

/* ---- mapped ports ---- */

/* A socket that listens under a name which is in no folder any more: it lives in /proc. */
static int serve(int type, char path[108])
{
	char dir[] = "/tmp/fuzz_vsock.XXXXXX";
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), name;

	if (!mkdtemp(dir))
		abort();
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/s", dir);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4))
		abort();
	name = open(a.sun_path, O_PATH | O_CLOEXEC);
	(void)snprintf(path, 108, "/proc/self/fd/%d", name);
	if (name < 0 || unlink(a.sun_path) || rmdir(dir))
		abort();
	return fd;
}

/* Once for all scripts. */
static void world(void)
{
	socklen_t len = sizeof(listener_name);

	if (listener >= 0)
		return;
	server[0] = serve(SOCK_STREAM, ports[0].path);
	server[1] = serve(SOCK_SEQPACKET, ports[1].path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* no name of ours: the kernel chooses one */
	if (bind(listener, (struct sockaddr *)&listener_name, sizeof(sa_family_t)) ||
		listen(listener, 4) ||
		getsockname(listener, (struct sockaddr *)&listener_name, &len))
		abort();
	for (unsigned i = 0; i < 2; i++) {
		ports[i].port = PORT + i;
		ports[i].fd = -1;
	}
	ports[2].port = INBOUND;
}

static void drop_peers(void)
{
	int fd;

	for (unsigned i = 0; i < DIALED; i++) {
		if (peer[i] >= 0)
			(void)close(peer[i]);
		peer[i] = -1;
	}
	for (unsigned i = 0; i < 3; i++) {
		while ((fd = accept(i < 2 ? server[i] : listener, NULL, NULL)) >= 0)
			(void)close(fd);
	}
}

/* Packets for what the guest dialed. */
static bool got(struct fv *v, const struct fv_pkt *p, const uint8_t *data)
{
	unsigned i = p->dst_port - 6000;
	struct dialed *d = &dialed[i % DIALED];

	(void)v;
	(void)data;
	if (i >= DIALED || d->hport != p->src_port)
		return p->type != 1;
	d->peer_alloc = p->buf_alloc;
	d->peer_fwd = p->fwd_cnt;
	if (p->op == OP_RW)
		d->rx_cnt += p->len;
	d->used = d->used && p->op != OP_RST;
	return true;
}

static void dialed_send(unsigned i, uint16_t op, uint32_t flags, uint32_t alloc, uint32_t n)
{
	const struct dialed *d = &dialed[i];
	const struct fv_pkt p = { .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = 6000 + i,
		.dst_port = d->hport,
		.len = n,
		.type = d->type,
		.op = op,
		.flags = flags,
		.buf_alloc = alloc,
		.fwd_cnt = d->rx_cnt };

	if (fv_send(&f, &p, scratch, n))
		dialed[i].tx_cnt += n;
}

static void dial(struct script *s)
{
	unsigned i = take(s, 1) % DIALED, how = take(s, 1);
	struct dialed *d = &dialed[i];

	if (!d->used || how & 16)
		*d = (struct dialed){
			.used = true, .hport = PORT + (how & 3), .type = how & 1 ? 2 : 1
		};
	if (how & 32)
		d->type ^= 3;
	dialed_send(i, OP_REQUEST, 0, how & 64 ? take(s, 2) : 262144, 0);
}

/* Mostly payload within the credit, in pieces that a message may consist of. */
static void send_dialed(struct script *s)
{
	unsigned i = take(s, 1) % DIALED, odd = take(s, 1);
	uint32_t n = take(s, odd & 1 ? 1 : 2), flags = take(s, 1) & 3;
	uint32_t room = dialed[i].peer_alloc - (dialed[i].tx_cnt - dialed[i].peer_fwd);
	uint16_t op = odd & 2 ? (uint16_t)(take(s, 1) % 9) : OP_RW;
	uint32_t alloc = odd & 4 ? take(s, 4) : 262144;

	if (op != OP_RW)
		n = 0;
	else if (!(odd & 8))
		n = MIN(n, room);
	/* many at once: more than the socket takes, more than is held */
	for (unsigned k = odd & 16 ? take(s, 1) : 1; k; k--) {
		dialed_send(i, op, flags, alloc, n);
		if (!f.ntx_free)
			(void)fv_step(&f);
	}
}

static void outside(struct script *s)
{
	unsigned how = take(s, 1), i = how >> 4 & (DIALED - 1);

	/* what a timer does */
	if (how & 8)
		vsock_map_retry(vsock_of(f.v));
	switch (how & 7) {
	case 0:
	case 1:
		if (peer[i] >= 0)
			(void)close(peer[i]);
		peer[i] = accept4(server[how & 1], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		break;
	case 2:
		if (peer[i] >= 0)
			(void)close(peer[i]);
		peer[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(peer[i], (struct sockaddr *)&listener_name, sizeof(sa_family_t) + 6);
		break;
	case 3:
	case 4:
		if (peer[i] >= 0)
			(void)!write(peer[i], scratch, take(s, 2));
		break;
	case 5:
		if (peer[i] >= 0)
			(void)!read(peer[i], scratch, sizeof(scratch));
		break;
	case 6:
		if (peer[i] >= 0)
			(void)shutdown(peer[i], (int)(take(s, 1) % 3));
		break;
	default:
		if (peer[i] >= 0)
			(void)close(peer[i]);
		peer[i] = -1;
		break;
	}
}

/* ---- streams of the runtime's ---- */

static void connect_one(struct script *s)
{
	unsigned i = take(s, 1) % STREAMS, how = take(s, 1);
	int sv[2];

	if (host[i] >= 0)
		(void)close(host[i]);
	host[i] = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv))
		return;
	host[i] = sv[1];
	/* Full after a few packets. */
	(void)setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &(int){ 1 }, sizeof(int));
	if (how & 1)
		(void)vsock_connect(
			f.v, 5, sv[0], how & 2 ? dup(sv[0]) : sv[0], scratch, how >> 4, i + 1);
	else if (how & 2)
		(void)vsock_connect(f.v, 5, sv[0], -1, scratch, how >> 4, 0);
	else
		(void)vsock_connect(f.v, 5, -1, sv[0], NULL, 0, i + 1);
}

/* Fields near the truth: a header of noise would only test the first comparison. */
static void send_packet(struct script *s)
{
	unsigned odd = take(s, 1), n = take(s, 2) % 2000;
	struct fv_conn *c = &f.conn[take(s, 1) % STREAMS];
	struct fv_pkt p = {
		.src_cid = odd & 1 ? take(s, 1) : FV_CID,
		.dst_cid = odd & 2 ? take(s, 1) : 2,
		.src_port = odd & 4 ? take(s, 4) : c->gport,
		.dst_port = odd & 4 ? take(s, 4) : c->hport,
		.type = odd & 8 ? (uint16_t)take(s, 2) : 1,
		.op = (uint16_t)(take(s, 1) % 10),
		.flags = take(s, 1),
		.buf_alloc = odd & 16 ? take(s, 4) : 65536,
		.fwd_cnt = odd & 32 ? take(s, 4) : c->rx_cnt,
	};

	p.len = odd & 64 ? take(s, 4) : n;
	if (odd & 128)
		p.dst_port = FV_KNOCK;
	(void)fv_send(&f, &p, scratch, n);
}

static void raw_chain(struct script *s)
{
	struct fake_seg seg[4];
	unsigned q = take(s, 1) % 3, nout = take(s, 1) % 3, nin = take(s, 1) % 3;

	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++)
		seg[i] = (struct fake_seg){ FAKE_RAM_GPA + RAW_AT + take(s, 3) % RAW_LEN,
			take(s, 2) };
	if (f.d.q[q].nfree > 200)
		(void)fake_add(&f.d, q, seg, nout, seg + nout, nin);
	(void)fake_kick(&f.d, q);
}

static void save_and_load(struct script *s)
{
	struct vsock_cfg cfg = {
		.guest_cid = FV_CID, .knock_port = FV_KNOCK, .ports = ports, .nports = 3
	};
	struct save_out out = { 0 };
	struct save_in in;
	struct vdev *twin;
	bool damaged = false;

	ports[2].fd = dup(listener);
	vdev_pause(f.v);
	if (vdev_save(f.v, &out) || vsock_new(f.loop, &f.g.mem, &cfg, &twin, NULL))
		abort();
	/* Now and then the file is damaged. */
	if (take(s, 1) & 1 && out.len) {
		uint8_t flip = (uint8_t)take(s, 1);
		uint16_t at = (uint16_t)take(s, 2);

		out.buf[at % out.len] ^= flip;
		damaged = flip;
	}
	twin->irq = &f.d.irq;
	in = (struct save_in){ .buf = out.buf, .len = out.len };
	if (vdev_load(twin, &in)) {
		vdev_fini(twin);
		twin->cls->destroy(twin);
	} else {
		f.damaged |= damaged;
		vdev_fini(f.v);
		f.v->cls->destroy(f.v);
		f.v = f.d.v = f.d.mmio.v = twin;
		for (unsigned i = 0; i < STREAMS; i++) {
			if (host[i] >= 0)
				(void)vsock_reattach(f.v, i + 1, dup(host[i]), -1);
		}
	}
	vdev_resume(f.v);
	save_out_free(&out);
}

static void one_step(struct script *s)
{
	unsigned i, op = take(s, 1);

	switch (op < 190 ? op % 10 : 10 + op % 3) {
	case 0:
		connect_one(s);
		break;
	case 1:
	case 2:
	case 3:
		send_packet(s);
		break;
	case 4:
		i = take(s, 1) % STREAMS;
		if (host[i] >= 0)
			(void)!write(host[i], scratch, take(s, 2));
		break;
	case 5:
		i = take(s, 1) % STREAMS;
		if (host[i] >= 0)
			(void)!read(host[i], scratch, take(s, 2));
		break;
	case 6:
		i = take(s, 1) % STREAMS;
		if (host[i] >= 0)
			(void)shutdown(host[i], (int)(take(s, 1) % 3));
		break;
	case 7:
		f.no_refill = take(s, 1) & 1;
		break;
	case 8:
		raw_chain(s);
		break;
	case 10:
		dial(s);
		break;
	case 11:
		send_dialed(s);
		break;
	case 12:
		outside(s);
		break;
	default:
		if (f.d.q[0].size)
			save_and_load(s);
		break;
	}
	(void)fv_step(&f);
	check_bounds();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, size };

	(void)signal(SIGPIPE, SIG_IGN);
	world();
	for (unsigned i = 0; i < DIALED; i++)
		peer[i] = -1;
	memset(dialed, 0, sizeof(dialed));
	ports[2].fd = dup(listener);
	f.raw = got;
	f.ports = ports;
	f.nports = 3;
	for (unsigned i = 0; i < STREAMS; i++)
		host[i] = -1;
	if (fv_up(&f, take(&s, 1) & 1, 16))
		abort();
	while (s.n)
		one_step(&s);
	fv_settle(&f);
	fake_dev_reset(&f.d);
	if (vsock_of(f.v)->msg_bytes)
		abort();
	fv_down(&f);
	drop_peers();
	for (unsigned i = 0; i < STREAMS; i++) {
		if (host[i] >= 0)
			(void)close(host[i]);
	}
	return 0;
}
