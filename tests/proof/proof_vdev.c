// SPDX-License-Identifier: Apache-2.0
/* A device's status, features, queue and interrupts: every sequence of register writes, against a
 * model. */
/*
 * How it works
 *
 * The model is the specification's rules (virtio 1.2, sections 2.1, 2.2, 3.1.1 and 4.2.2) in a few
 * plain variables. A run begins at one of the states that a driver goes through, does STEPS things
 * through the registers of the MMIO transport, well behaved or not, with the device breaking in
 * between, and compares after each all that a driver can read and what the device was told: it is
 * started once and stopped once, never asked for work while it does not run. At the end the device
 * is saved and loaded into a second one, which must read the same.
 *
 * One device serves all runs: each begins with a reset, which the model says leaves nothing behind.
 */
#include <errno.h>

#include "proof/proof.h"
#include "util/bytes.h"
#include "virtio/mmio.h"

#ifndef STEPS
#define STEPS 4 /* behind a beginning of up to 5; one more takes seventeen times as long */
#endif
#define LO   0x10000ULL
#define OURS (1ULL << 3)
#define PUB  (VDEV_S_ACKNOWLEDGE | VDEV_S_DRIVER)

struct device {
	struct vdev v;
	struct mmio t;
	struct irq_line irq;
	unsigned starts, stops, kicks;
};

struct model {
	uint32_t status, irqs; /* the second: interrupt status */
	uint64_t acked;
	uint32_t size;
	bool ready, running, broken;
};

static _Alignas(4096) uint8_t ram[4096];
static struct mem m;
static struct loop *loop;
static struct device a, b;
static struct model want;

static struct device *device_of(struct vdev *v)
{
	return (struct device *)(void *)v;
}

static int dev_start(struct vdev *v)
{
	device_of(v)->starts++;
	return 0;
}

static void dev_stop(struct vdev *v)
{
	device_of(v)->stops++;
}

static void dev_kick(struct vdev *v, unsigned q)
{
	PROVE(q == 0 && v->running && !vdev_is_broken(v));
	device_of(v)->kicks++;
}

static void dev_raise(void *arg, unsigned gsi)
{
	(void)arg;
	(void)gsi;
}

static const uint16_t qsizes[] = { 4 };
static const struct vdev_class cls = {
	.name = "proof",
	.id = 42,
	.features = OURS,
	.nqueues = 1,
	.qsizes = qsizes,
	.start = dev_start,
	.kick = dev_kick,
	.stop = dev_stop,
};

static void make(struct device *d)
{
	int r = vdev_init(&d->v, &cls, 1, loop, &m, NULL);

	PROVE(r == 0);
	d->irq = (struct irq_line){ .efd = -1, .raise = dev_raise };
	d->v.irq = &d->irq;
	mmio_init(&d->t, &d->v);
}

static uint32_t get(struct device *d, uint64_t reg)
{
	uint8_t v[4];

	mmio_bus_ops.read(&d->t, reg, v, 4);
	return get_le32(v);
}

static void put(uint64_t reg, uint32_t val)
{
	uint8_t v[4];

	put_le32(v, val);
	mmio_bus_ops.write(&a.t, reg, v, 4);
}

/* ---- the rules ---- */

static void model_breaks(void)
{
	if (want.broken)
		return;
	want.broken = true;
	want.status |= VDEV_S_NEEDS_RESET;
	if (want.status & VDEV_S_DRIVER_OK)
		want.irqs |= VDEV_INT_CONFIG;
}

static void model_status(uint32_t val)
{
	const uint64_t offered = OURS | VDEV_F_INDIRECT | VDEV_F_EVENT_IDX | VDEV_F_VERSION_1;
	uint32_t had = want.status;

	if (!val) {
		want = (struct model){ .size = 4 };
		return;
	}
	want.status |= val & (PUB | VDEV_S_FAILED);
	if ((val & VDEV_S_FEATURES_OK) && !(want.acked & ~offered) &&
		(want.acked & VDEV_F_VERSION_1))
		want.status |= VDEV_S_FEATURES_OK;
	if ((val & VDEV_S_DRIVER_OK) && (want.status & VDEV_S_FEATURES_OK))
		want.status |= VDEV_S_DRIVER_OK;
	if (!(want.status & ~had & VDEV_S_DRIVER_OK))
		return;
	/* it starts */
	if (want.ready && want.size != 4 && want.size != 2)
		model_breaks();
	else
		want.running = true;
}

static void model_features(uint32_t word, uint32_t bits)
{
	if (word > 1 || (want.status & VDEV_S_FEATURES_OK))
		return;
	want.acked = word ? (want.acked & UINT32_MAX) | (uint64_t)bits << 32
			  : (want.acked & ~(uint64_t)UINT32_MAX) | bits;
}

/* ---- what is done, to both ---- */

static void status(uint32_t val)
{
	put(0x70, val);
	model_status(val);
}

static void features(uint32_t word, uint32_t bits)
{
	put(0x24, word);
	put(0x20, bits);
	model_features(word, bits);
}

static void queue(uint32_t size, uint32_t ready)
{
	put(0x30, 0);
	put(0x38, size);
	put(0x80, LO);
	put(0x90, LO + 0x100);
	put(0xa0, LO + 0x200);
	put(0x44, ready);
	if (want.status & VDEV_S_DRIVER_OK)
		return;
	if (!want.ready)
		want.size = size;
	want.ready = ready;
}

static void kick(void)
{
	unsigned before = a.kicks;
	bool served = want.running && want.ready && !want.broken;

	put(MMIO_QUEUE_NOTIFY, 0);
	put(MMIO_QUEUE_NOTIFY, 1); /* no such queue */
	if (served)
		(void)loop_once(loop, 0);
	PROVE(!!(a.kicks > before) == served);
}

static void step(void)
{
	switch (choose(17)) {
	case 0:
		status(0);
		break;
	case 1:
		status(want.status | PUB);
		break;
	case 2:
		status(want.status | VDEV_S_FEATURES_OK);
		break;
	case 3:
		status(want.status | VDEV_S_DRIVER_OK);
		break;
	case 4:
		status(VDEV_S_FEATURES_OK |
			VDEV_S_DRIVER_OK); /* takes others away: nothing falls */
		break;
	case 5:
		status(VDEV_S_FAILED | VDEV_S_NEEDS_RESET | 0x30);
		break;
	case 6:
		features(0, OURS);
		break;
	case 7:
		features(0, 1); /* not offered */
		break;
	case 8:
		features(1, 1);
		break;
	case 9:
		features(1, 0);
		break;
	case 10:
		features(2, UINT32_MAX);
		break;
	case 11:
		queue(2, 1);
		break;
	case 12:
		queue(3, 1);
		break;
	case 13:
		queue(4, 0);
		break;
	case 14:
		kick();
		break;
	case 15:
		vdev_broken(&a.v, "told to");
		model_breaks();
		break;
	default:
		put(0x64, VDEV_INT_CONFIG);
		want.irqs &= ~(uint32_t)VDEV_INT_CONFIG;
		break;
	}
}

static void same(struct device *d)
{
	PROVE(get(d, 0x70) == want.status);
	PROVE(get(d, 0x60) == want.irqs);
	PROVE(get(d, 0x44) == want.ready);
	PROVE(get(d, 0x34) == 4);
	PROVE(d->v.acked == want.acked);
	PROVE(d->v.running == want.running);
	PROVE(vdev_is_broken(&d->v) == want.broken);
	PROVE(!want.running || (want.status & VDEV_S_DRIVER_OK));
	PROVE(d->starts == d->stops + want.running);
}

/* Into a fresh device, which then is as if all had been done to it. */
static void save_and_load(void)
{
	struct save_out s = { 0 };
	struct save_in in;
	int r;

	vdev_pause(&a.v);
	mmio_save(&a.t, &s);
	r = vdev_save(&a.v, &s);
	PROVE(r == 0 && s.err == 0);
	vdev_resume(&a.v);
	same(&a);
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	r = mmio_load(&b.t, &in);
	PROVE(r == 0);
	r = vdev_load(&b.v, &in);
	PROVE(r == 0 && load_done(&in) == 0);
	same(&b);
	PROVE(b.t.queue_sel == a.t.queue_sel && b.t.drv_feat_sel == a.t.drv_feat_sel);
	PROVE(b.v.vq[0].size == a.v.vq[0].size && b.v.vq[0].desc == a.v.vq[0].desc);
	vdev_resume(&b.v);
	same(&b);
	save_out_free(&s);
	/* as the guest would */
	mmio_bus_ops.write(&b.t, 0x70, (const uint8_t[4]){ 0 }, 4);
	PROVE(b.starts == b.stops);
}

static void body(void)
{
	unsigned from = choose(5);

	if (!loop) {
		int r = loop_new("proof", &loop, NULL);

		PROVE(r == 0);
		m = (struct mem){ .n = 1 };
		m.r[0] = (struct mem_region){ .gpa = LO, .len = sizeof(ram), .hva = ram, .fd = -1 };
		make(&a);
		make(&b);
	}
	status(0);
	same(&a);
	if (from > 0)
		status(PUB);
	if (from > 1)
		features(1, 1);
	if (from > 2)
		status(PUB | VDEV_S_FEATURES_OK);
	if (from > 3) {
		queue(2, 1);
		status(PUB | VDEV_S_FEATURES_OK | VDEV_S_DRIVER_OK);
	}
	same(&a);
	for (unsigned i = 0; i < STEPS; i++) {
		step();
		same(&a);
	}
	save_and_load();
}

PROOF_MAIN(body)
