// SPDX-License-Identifier: Apache-2.0
/* A virtio-mmio driver for tests, written from the guest's side. */
/*
 * How it works
 *
 * RAM is two borrowed regions. Rings are laid out by hand (virtio 1.2, section 2.7): 16-byte
 * descriptors; avail = flags, idx, ring of u16, used_event; used = flags, idx, ring of 8 bytes,
 * avail_event. The free list lives in arrays of our own, never in the rings.
 *
 * A kick is suppressed when the device asked so: by used->flags, or with EVENT_IDX unless an entry
 * numbered avail_event has just been shown. Waiting is the same with the roles exchanged;
 * fake_wait() relies on the interrupt alone once it has looked, so a lost wake-up on either side
 * shows as -ETIMEDOUT.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "fake/fake_guest.h"
#include "util/bytes.h"

#define F_NEXT	   1
#define F_WRITE	   2
#define F_INDIRECT 4

#define MIN_ALIGN 4096

static _Noreturn void die(const char *why)
{
	(void)fprintf(stderr, "fake guest: %s\n", why);
	abort();
}

int fake_guest_init(struct fake_guest *g, uint64_t bytes)
{
	int r;

	memset(g, 0, sizeof(*g));
	g->bytes = bytes;
	g->half = bytes / 2;
	g->lo = aligned_alloc(MIN_ALIGN, g->half);
	g->hi = aligned_alloc(MIN_ALIGN, g->half);
	if (!g->lo || !g->hi)
		die("no memory");
	memset(g->lo, 0, g->half);
	memset(g->hi, 0, g->half);
	mem_init(&g->mem);
	r = mem_add_borrowed(&g->mem, GPA(FAKE_RAM_GPA), g->lo, g->half);
	if (!r)
		r = mem_add_borrowed(&g->mem, GPA(FAKE_RAM_GPA + g->half), g->hi, g->half);
	return r;
}

int fake_guest_init_shared(struct fake_guest *g, uint64_t bytes)
{
	const struct mem_ram_opts o = { .memfd = true };
	int r;

	memset(g, 0, sizeof(*g));
	g->bytes = bytes;
	g->half = bytes / 2;
	g->shared = true;
	mem_init(&g->mem);
	r = mem_add_ram(&g->mem, GPA(FAKE_RAM_GPA), g->half, &o, NULL);
	if (!r)
		r = mem_add_ram(&g->mem, GPA(FAKE_RAM_GPA + g->half), g->half, &o, NULL);
	if (r)
		return r;
	g->lo = g->mem.r[0].hva;
	g->hi = g->mem.r[1].hva;
	return 0;
}

void fake_guest_fini(struct fake_guest *g)
{
	mem_destroy(&g->mem);
	if (g->shared)
		return;
	free(g->lo);
	free(g->hi);
}

void *fake_ptr(struct fake_guest *g, gpa_t gpa, uint64_t n)
{
	uint64_t off = gpa.v - FAKE_RAM_GPA;

	if (range_ok(off, n, g->half))
		return g->lo + off;
	if (off >= g->half && range_ok(off - g->half, n, g->half))
		return g->hi + (off - g->half);
	die("address outside RAM");
}

gpa_t fake_alloc(struct fake_guest *g, uint64_t n, uint64_t align)
{
	uint64_t at = ALIGN_UP(g->used, align);

	if (at < g->half && at + n > g->half)
		at = g->half;
	if (!range_ok(at, n, g->bytes))
		die("out of guest memory");
	g->used = at + n;
	memset(fake_ptr(g, GPA(FAKE_RAM_GPA + at), n), 0, n);
	return GPA(FAKE_RAM_GPA + at);
}

int fake_dev_init(struct fake_dev *d, struct fake_guest *g, struct vdev *v)
{
	memset(d, 0, sizeof(*d));
	d->g = g;
	d->v = v;
	d->irq.efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->irq.efd < 0)
		return -errno;
	v->irq = &d->irq;
	mmio_init(&d->mmio, v);
	return 0;
}

static void fake_vq_free(struct fake_vq *vq)
{
	free(vq->next);
	free(vq->chain_len);
	memset(vq, 0, sizeof(*vq));
}

void fake_dev_fini(struct fake_dev *d)
{
	for (unsigned i = 0; i < LIM_VQS; i++)
		fake_vq_free(&d->q[i]);
	(void)close(d->irq.efd);
}

uint32_t fake_reg_read(struct fake_dev *d, unsigned reg)
{
	uint8_t b[4];

	mmio_bus_ops.read(&d->mmio, reg, b, 4);
	return get_le32(b);
}

void fake_reg_write(struct fake_dev *d, unsigned reg, uint32_t val)
{
	uint8_t b[4];

	put_le32(b, val);
	mmio_bus_ops.write(&d->mmio, reg, b, 4);
}

void fake_cfg_read(struct fake_dev *d, unsigned off, void *p, unsigned n)
{
	uint32_t gen;

	do {
		gen = fake_reg_read(d, 0xfc);
		for (unsigned i = 0; i < n; i++)
			mmio_bus_ops.read(&d->mmio, 0x100 + off + i, (uint8_t *)p + i, 1);
	} while (gen != fake_reg_read(d, 0xfc));
}

void fake_cfg_write(struct fake_dev *d, unsigned off, const void *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		mmio_bus_ops.write(&d->mmio, 0x100 + off + i, (const uint8_t *)p + i, 1);
}

static void status_add(struct fake_dev *d, uint32_t bit)
{
	fake_reg_write(d, 0x70, fake_reg_read(d, 0x70) | bit);
}

int fake_dev_negotiate(struct fake_dev *d, uint64_t want)
{
	uint64_t offered;

	if (fake_reg_read(d, 0) != 0x74726976 || fake_reg_read(d, 4) != 2 || !fake_reg_read(d, 8))
		return -ENODEV;
	fake_dev_reset(d);
	status_add(d, 1);
	status_add(d, 2);
	fake_reg_write(d, 0x14, 0);
	offered = fake_reg_read(d, 0x10);
	fake_reg_write(d, 0x14, 1);
	offered |= (uint64_t)fake_reg_read(d, 0x10) << 32;
	d->features = offered & want;
	fake_reg_write(d, 0x24, 0);
	fake_reg_write(d, 0x20, (uint32_t)d->features);
	fake_reg_write(d, 0x24, 1);
	fake_reg_write(d, 0x20, (uint32_t)(d->features >> 32));
	status_add(d, 8);
	d->indirect = d->features >> 28 & 1;
	return fake_reg_read(d, 0x70) & 8 ? 0 : -ENOTSUP;
}

int fake_dev_queue(struct fake_dev *d, unsigned q, uint16_t size)
{
	struct fake_vq *vq = &d->q[q];
	uint32_t max;

	fake_reg_write(d, 0x30, q);
	max = fake_reg_read(d, 0x34);
	if (!max || fake_reg_read(d, 0x44))
		return -ENODEV;
	fake_vq_free(vq);
	vq->size = size ? size : (uint16_t)max;
	vq->desc = fake_alloc(d->g, 16ULL * vq->size, 16).v;
	vq->avail = fake_alloc(d->g, 6 + 2ULL * vq->size, 2).v;
	vq->used = fake_alloc(d->g, 6 + 8ULL * vq->size, 4).v;
	vq->dp = fake_ptr(d->g, GPA(vq->desc), 16ULL * vq->size);
	vq->ap = fake_ptr(d->g, GPA(vq->avail), 6 + 2ULL * vq->size);
	vq->up = fake_ptr(d->g, GPA(vq->used), 6 + 8ULL * vq->size);
	vq->next = calloc(vq->size, sizeof(*vq->next));
	vq->chain_len = calloc(vq->size, sizeof(*vq->chain_len));
	if (!vq->next || !vq->chain_len)
		die("no memory");
	for (unsigned i = 0; i < vq->size; i++)
		vq->next[i] = (uint16_t)(i + 1);
	vq->nfree = vq->size;
	fake_reg_write(d, 0x38, vq->size);
	fake_reg_write(d, 0x80, (uint32_t)vq->desc);
	fake_reg_write(d, 0x84, (uint32_t)(vq->desc >> 32));
	fake_reg_write(d, 0x90, (uint32_t)vq->avail);
	fake_reg_write(d, 0x94, (uint32_t)(vq->avail >> 32));
	fake_reg_write(d, 0xa0, (uint32_t)vq->used);
	fake_reg_write(d, 0xa4, (uint32_t)(vq->used >> 32));
	fake_reg_write(d, 0x44, 1);
	if (q >= d->nq)
		d->nq = q + 1;
	return fake_reg_read(d, 0x44) == 1 ? 0 : -EIO;
}

int fake_dev_ready(struct fake_dev *d)
{
	status_add(d, 4);
	return (fake_reg_read(d, 0x70) & (4 | 64)) == 4 ? 0 : -EIO;
}

int fake_dev_start(struct fake_dev *d, uint64_t want)
{
	int r = fake_dev_negotiate(d, want);

	for (unsigned i = 0; i < d->v->nqueues && !r; i++)
		r = fake_dev_queue(d, i, 0);
	return r ? r : fake_dev_ready(d);
}

void fake_dev_reset(struct fake_dev *d)
{
	fake_reg_write(d, 0x70, 0);
	for (unsigned i = 0; i < LIM_VQS; i++)
		fake_vq_free(&d->q[i]);
	d->nq = 0;
	d->features = 0;
}

static void desc_write(uint8_t *p, struct fake_seg s, unsigned flags, unsigned next)
{
	put_le64(p, s.gpa);
	put_le32(p + 8, s.len);
	put_le16(p + 12, (uint16_t)flags);
	put_le16(p + 14, (uint16_t)next);
}

/* Takes a descriptor from the free list. */
static uint16_t desc_get(struct fake_vq *vq)
{
	uint16_t i = vq->free_head;

	vq->free_head = vq->next[i];
	vq->nfree--;
	return i;
}

static uint16_t add_indirect(struct fake_dev *d, struct fake_vq *vq, const struct fake_seg *out,
	unsigned nout, const struct fake_seg *in, unsigned nin)
{
	unsigned n = nout + nin;
	struct fake_seg tab = { .gpa = fake_alloc(d->g, 16ULL * n, 16).v, .len = 16 * n };
	uint8_t *t = fake_ptr(d->g, GPA(tab.gpa), tab.len);
	uint16_t head = desc_get(vq);

	for (unsigned i = 0; i < n; i++) {
		unsigned flags = (i < nout ? 0 : F_WRITE) | (i + 1 < n ? F_NEXT : 0);

		desc_write(t + 16UL * i, i < nout ? out[i] : in[i - nout], flags, i + 1);
	}
	desc_write(vq->dp + 16UL * head, tab, F_INDIRECT, 0);
	vq->chain_len[head] = 1;
	return head;
}

static uint16_t add_direct(struct fake_vq *vq, const struct fake_seg *out, unsigned nout,
	const struct fake_seg *in, unsigned nin)
{
	unsigned n = nout + nin;
	uint16_t head = vq->free_head, cur;

	for (unsigned i = 0; i < n; i++) {
		unsigned flags = (i < nout ? 0 : F_WRITE) | (i + 1 < n ? F_NEXT : 0);

		cur = desc_get(vq);
		/* next[cur] is the one that desc_get() hands out after it, and keeps the chain for
		 * the release. */
		desc_write(vq->dp + 16UL * cur, i < nout ? out[i] : in[i - nout], flags,
			vq->next[cur]);
	}
	vq->chain_len[head] = (uint16_t)n;
	return head;
}

int fake_add(struct fake_dev *d, unsigned q, const struct fake_seg *out, unsigned nout,
	const struct fake_seg *in, unsigned nin)
{
	struct fake_vq *vq = &d->q[q];
	bool indirect = d->indirect && nout + nin > 1;
	uint16_t head;

	if (vq->nfree < (indirect ? 1 : nout + nin) || nout + nin == 0)
		return -ENOSPC;
	head = indirect ? add_indirect(d, vq, out, nout, in, nin)
			: add_direct(vq, out, nout, in, nin);
	put_le16(vq->ap + 4 + 2UL * (vq->avail_idx % vq->size), head);
	vq->avail_idx++;
	return head;
}

static uint16_t shared_load(const uint8_t *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE));
}

static void shared_store(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, htole16(v), __ATOMIC_RELEASE);
}

bool fake_kick(struct fake_dev *d, unsigned q)
{
	struct fake_vq *vq = &d->q[q];
	uint16_t shown = (uint16_t)(vq->avail_idx - vq->avail_shown), event;
	bool want;

	if (!shown)
		return false;
	shared_store(vq->ap + 2, vq->avail_idx);
	__sync_synchronize();
	if (d->features >> 29 & 1) {
		event = shared_load(vq->up + 4 + 8UL * vq->size);
		/* The entry numbered `event` is among the shown ones. */
		want = (uint16_t)(event - vq->avail_shown) < shown;
	} else {
		want = !(shared_load(vq->up) & 1);
	}
	vq->avail_shown = vq->avail_idx;
	if (want) {
		d->kicks++;
		fake_reg_write(d, 0x50, q);
	}
	return want;
}

int fake_reap(struct fake_dev *d, unsigned q, uint16_t *head, uint32_t *len)
{
	struct fake_vq *vq = &d->q[q];
	const uint8_t *e = vq->up + 4 + 8UL * (vq->used_seen % vq->size);
	uint32_t id;
	uint16_t last;

	if (shared_load(vq->up + 2) == vq->used_seen)
		return 0;
	id = get_le32(e);
	if (id >= vq->size || !vq->chain_len[id])
		return -EPROTO;
	*head = (uint16_t)id;
	*len = get_le32(e + 4);
	last = *head;
	for (unsigned i = 1; i < vq->chain_len[id]; i++)
		last = vq->next[last];
	vq->next[last] = vq->free_head;
	vq->free_head = *head;
	vq->nfree = (uint16_t)(vq->nfree + vq->chain_len[id]);
	vq->chain_len[id] = 0;
	vq->used_seen++;
	return 1;
}

static void take_interrupt(struct fake_dev *d)
{
	uint64_t n;
	uint32_t why;

	if (read(d->irq.efd, &n, sizeof(n)) != sizeof(n))
		return;
	why = fake_reg_read(d, 0x60);
	if (!why)
		return;
	fake_reg_write(d, 0x64, why);
	d->interrupts++;
	if (why & 2) {
		d->cfg_interrupts++;
		d->cfg_event = true;
	}
}

void fake_poll(struct fake_dev *d)
{
	if (d->pump && loop_once(d->pump, 0) < 0)
		die("loop");
	take_interrupt(d);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int fake_wait(struct fake_dev *d, unsigned q, int timeout_ms)
{
	struct fake_vq *vq = &d->q[q];
	int64_t end = now_ms() + timeout_ms, left;
	struct pollfd p = { .fd = d->irq.efd, .events = POLLIN };

	if (d->features >> 29 & 1)
		shared_store(vq->ap + 4 + 2UL * vq->size, vq->used_seen);
	__sync_synchronize();
	while (shared_load(vq->up + 2) == vq->used_seen) {
		if (fake_reg_read(d, 0x70) & 64)
			return -EIO;
		/* once more when the time is up: it may have been somebody else's */
		left = MAX(end - now_ms(), (int64_t)0);
		if (d->pump && loop_once(d->pump, (int)left) < 0)
			die("loop");
		if (!d->pump)
			(void)poll(&p, 1, (int)left);
		take_interrupt(d);
		if (!left && shared_load(vq->up + 2) == vq->used_seen)
			return -ETIMEDOUT;
	}
	return 0;
}

int fake_guest_xfer(struct fake_dev *d, unsigned q, const struct fake_out *out, unsigned nout,
	const struct fake_in *in, unsigned nin)
{
	struct fake_seg *seg = calloc(nout + nin + 1, sizeof(*seg));
	uint64_t mark = d->g->used;
	uint16_t head;
	uint32_t len = 0;
	int r, added;

	if (!seg)
		die("no memory");
	for (unsigned i = 0; i < nout + nin; i++) {
		seg[i].len = i < nout ? out[i].len : in[i - nout].len;
		seg[i].gpa = fake_alloc(d->g, seg[i].len, 8).v;
		if (i < nout && seg[i].len)
			memcpy(fake_ptr(d->g, GPA(seg[i].gpa), seg[i].len), out[i].p, seg[i].len);
	}
	r = added = fake_add(d, q, seg, nout, seg + nout, nin);
	if (r >= 0) {
		(void)fake_kick(d, q);
		r = fake_wait(d, q, FAKE_TIMEOUT_MS);
	}
	if (!r)
		r = fake_reap(d, q, &head, &len) == 1 && head == added ? (int)len : -EPROTO;
	for (unsigned i = 0; i < nin && r >= 0; i++) {
		struct fake_seg s = seg[nout + i];

		if (s.len)
			memcpy(in[i].p, fake_ptr(d->g, GPA(s.gpa), s.len), s.len);
	}
	/* On failure the device may still hold the buffers: they stay out of use. */
	if (r >= 0)
		d->g->used = mark;
	free(seg);
	return r;
}
