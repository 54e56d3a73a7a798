// SPDX-License-Identifier: Apache-2.0
// A hostile guest and a restless host around the console device: the input is a script of what both
// do.

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/console.h"
#include "fake/fake_guest.h"

#define PORTS_MAX 3

struct script {
	const uint8_t *p;
	size_t n;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake_guest g;
static struct fake_dev d;
static struct loop *loop;
static struct vdev *v;
static struct console_port_cfg cfg[PORTS_MAX];
static unsigned nports;
static int host[PORTS_MAX];
static uint8_t scratch[70000];

static uint32_t take(struct script *s, unsigned bytes)
{
	uint32_t x = 0;

	for (; bytes-- && s->n; s->n--)
		x = x << 8 | *s->p++;
	return x;
}

static void wire(void)
{
	int sv[2];

	for (unsigned i = 0; i < nports; i++) {
		if (host[i] >= 0)
			(void)close(host[i]);
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv))
			abort();
		host[i] = sv[1];
		cfg[i].in_fd = sv[0];
		cfg[i].out_fd = i == 1 ? dup(sv[0]) : sv[0];
	}
}

static void chain(struct script *s)
{
	unsigned q = take(s, 1) % v->nqueues, nout = take(s, 1) % 3, nin = take(s, 1) % 3,
		 where = take(s, 1);
	struct fake_seg seg[4];

	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++) {
		seg[i] = (struct fake_seg){ FAKE_RAM_GPA + (1U << 20) + take(s, 2), take(s, 2) };
		if (where & 1)
			seg[i].len *= 16;
	}
	/* What the device reads there is the script too. */
	for (unsigned i = 0; i < 8; i++)
		*(uint8_t *)fake_ptr(&g, GPA(seg[0].gpa + i), 1) = (uint8_t)take(s, 1);
	if (!d.q[q].size)
		return;
	(void)fake_add(&d, q, seg, nout, seg + nout, nin);
	(void)fake_kick(&d, q);
}

static void save_and_load(struct script *s)
{
	struct save_out out = { 0 };
	struct save_in in;
	struct vdev *twin;

	vdev_pause(v);
	wire();
	if (vdev_save(v, &out) || console_new(loop, &g.mem, cfg, nports, &twin, NULL))
		abort();
	if (take(s, 1) & 1 && out.len)
		out.buf[take(s, 2) % out.len] ^= (uint8_t)take(s, 1);
	twin->irq = &d.irq;
	in = (struct save_in){ .buf = out.buf, .len = out.len };
	if (vdev_load(twin, &in)) {
		vdev_fini(twin);
		twin->cls->destroy(twin);
	} else {
		vdev_fini(v);
		v->cls->destroy(v);
		v = d.v = d.mmio.v = twin;
	}
	vdev_resume(v);
	save_out_free(&out);
}

static void one_step(struct script *s)
{
	unsigned i = take(s, 1) % nports;
	uint16_t head;
	uint32_t len;

	switch (take(s, 1) % 8) {
	case 0:
		(void)!write(host[i], scratch, take(s, 2));
		break;
	case 1:
		(void)!read(host[i], scratch, take(s, 2));
		break;
	case 2:
		(void)shutdown(host[i], (int)(take(s, 1) % 3));
		break;
	case 3:
		console_resize(v, take(s, 1) % 4, (uint16_t)take(s, 2), 24);
		break;
	case 4:
		save_and_load(s);
		break;
	default:
		chain(s);
		break;
	}
	fake_poll(&d);
	for (unsigned q = 0; q < v->nqueues; q++) {
		while (d.q[q].size && fake_reap(&d, q, &head, &len) == 1)
			;
	}
	for (i = 0; i < nports; i++) {
		if (console_of(v)->port[i].held.len > LIM_CONSOLE_BUF)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, size };
	unsigned how = take(&s, 1);

	(void)signal(SIGPIPE, SIG_IGN);
	nports = 1 + how % PORTS_MAX;
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		host[i] = -1;
		cfg[i] = (struct console_port_cfg){ .name = i || how & 64 ? "port" : NULL,
			.console = i == 0 };
	}
	wire();
	if (!g.lo) {
		if (fake_guest_init(&g, 4U << 20))
			abort();
		mem_freeze(&g.mem);
	}
	g.used = 0;
	if (loop_new("fuzz", &loop, NULL) || console_new(loop, &g.mem, cfg, nports, &v, NULL) ||
		fake_dev_init(&d, &g, v))
		abort();
	d.pump = loop;
	if (fake_dev_start(&d, ~(1ULL << 28 | (how & 128 ? 2 : 0))) && !(how & 128))
		abort();
	while (s.n)
		one_step(&s);
	fake_dev_reset(&d);
	vdev_fini(v);
	v->cls->destroy(v);
	fake_dev_fini(&d);
	loop_free(loop);
	for (unsigned i = 0; i < nports; i++)
		(void)close(host[i]);
	return 0;
}
