// SPDX-License-Identifier: Apache-2.0
// A hostile guest and a restless host around the vsock device: the input is a script of what both
// do.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/vsock.h"
#include "fake/fake_vsock.h"

#define STREAMS 6
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
		vs->pending > vs->reserved || vs->rst_n > LIM_VSOCK_CTRL)
		abort();
}

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
	struct vsock_cfg cfg = { .guest_cid = FV_CID, .knock_port = FV_KNOCK };
	struct save_out out = { 0 };
	struct save_in in;
	struct vdev *twin;

	vdev_pause(f.v);
	if (vdev_save(f.v, &out) || vsock_new(f.loop, &f.g.mem, &cfg, &twin, NULL))
		abort();
	/* Now and then the file is damaged. */
	if (take(s, 1) & 1 && out.len)
		out.buf[take(s, 2) % out.len] ^= (uint8_t)take(s, 1);
	twin->irq = &f.d.irq;
	in = (struct save_in){ .buf = out.buf, .len = out.len };
	if (vdev_load(twin, &in)) {
		vdev_fini(twin);
		twin->cls->destroy(twin);
	} else {
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
	unsigned i;

	switch (take(s, 1) % 10) {
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
	for (unsigned i = 0; i < STREAMS; i++)
		host[i] = -1;
	if (fv_up(&f, take(&s, 1) & 1, 16))
		abort();
	while (s.n)
		one_step(&s);
	fv_settle(&f);
	fake_dev_reset(&f.d);
	fv_down(&f);
	for (unsigned i = 0; i < STREAMS; i++) {
		if (host[i] >= 0)
			(void)close(host[i]);
	}
	return 0;
}
