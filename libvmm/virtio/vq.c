// SPDX-License-Identifier: Apache-2.0
/* Split virtqueues, device side. */
/*
 * How it works
 *
 * The rings lie in memory that the guest changes whenever it likes. So each field is loaded once,
 * atomically, into a local, checked there, and used from there. What we own (last_avail, used_idx,
 * the busy map) lives in struct vq and is never read back from the guest.
 *
 * vq_pop(): avail->idx (acquire) tells how many entries wait; a distance beyond the queue's size is
 * nonsense. The head is checked against the busy map, as a driver that offers a chain twice would
 * make two requests share their buffers and their completion. Then the chain is walked, table by
 * table: at most as many steps as the table has entries, so a loop ends the walk.
 *
 * vq_push() writes used entries and vq_flush() publishes them: one store of used->idx (release), a
 * full barrier, one look at whether the driver wants an interrupt. The barrier pairs with the
 * driver's own between writing used_event and reading used->idx; without it both could miss each
 * other. vq_kicks() is the same dance with the roles exchanged.
 *
 * Ring layouts (virtio 1.2, sections 2.7.6 and 2.7.8), in 16-bit units:
 *	avail: flags, idx, ring[size], used_event
 *	used:  flags, idx, ring[size] of { u32 id, u32 len }, avail_event
 */
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "core/mem_pin.h"
#include "virtio/vq.h"

#define DESC_NEXT     1U
#define DESC_WRITE    2U
#define DESC_INDIRECT 4U
#define DESC_BYTES    16U

#define AVAIL_NO_INTERRUPT 1U
#define USED_NO_NOTIFY	   1U

#define RING_FLAGS 0
#define RING_IDX   1
#define RING_FIRST 2

/* A descriptor, as loaded once. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static uint16_t ring_load(const volatile uint16_t *p)
{
	return le16toh(__atomic_load_n(p, __ATOMIC_RELAXED));
}

static void ring_store(volatile uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, htole16(v), __ATOMIC_RELAXED);
}

static volatile uint16_t *used_event(const struct vq *q)
{
	return q->a + RING_FIRST + q->size;
}

static volatile uint16_t *avail_event(const struct vq *q)
{
	return q->u + RING_FIRST + 4U * q->size;
}

/* True when an index that moved from @old to @new has passed @event (section 2.7.7.2 and 2.7.10).
 */
static bool event_passed(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static bool map_test(const uint64_t *map, uint16_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static void map_set(uint64_t *map, uint16_t i)
{
	map[i / 64] |= 1ULL << (i % 64);
}

static void map_clear(uint64_t *map, uint16_t i)
{
	map[i / 64] &= ~(1ULL << (i % 64));
}

void vq_init(struct vq *q, const struct mem *m, uint16_t max)
{
	assert(max <= LIM_VQ_SIZE);
	*q = (struct vq){ .mem = m, .max = max, .size = max, .chain_bytes = LIM_CHAIN_BYTES };
}

void vq_reset(struct vq *q)
{
	uint32_t bytes = q->chain_bytes;

	vq_init(q, q->mem, q->max);
	q->chain_bytes = bytes;
}

int vq_start(struct vq *q, bool resume)
{
	unsigned event = q->event_idx ? 2 : 0;

	if (!IS_POW2(q->size) || q->size > q->max || q->size > LIM_VQ_SIZE)
		return -EINVAL;
	q->d = mem_pin(q->mem, GPA(q->desc), (uint64_t)DESC_BYTES * q->size, 16);
	q->a = mem_pin(q->mem, GPA(q->avail), 4U + 2U * q->size + event, 2);
	q->u = mem_pin(q->mem, GPA(q->used), 4U + 8U * q->size + event, 4);
	if (!q->d || !q->a || !q->u)
		return -EFAULT;
	if (!resume) {
		q->last_avail = q->used_idx = q->used_flushed = 0;
		q->nredo = 0;
		memset(q->redo, 0, sizeof(q->redo));
	}
	q->inflight = 0;
	memset(q->busy, 0, sizeof(q->busy));
	/* The first batch always interrupts, which after a load makes up for one that may have been
	 * lost. */
	q->signalled_valid = false;
	q->kicks_off = false;
	q->avail_event = q->last_avail;
	ring_store(q->u + RING_FLAGS, 0);
	if (q->event_idx)
		ring_store(avail_event(q), q->avail_event);
	return 0;
}

static struct desc desc_split(uint64_t addr, uint64_t rest)
{
	rest = le64toh(rest);
	return (struct desc){
		.addr = le64toh(addr),
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48),
	};
}

/* A walk along one chain. */
struct walk {
	const struct vq *q;
	struct vq_req *req;
	/* the table that we are in: pinned, or (odd alignment, or across regions) read by copies */
	volatile struct vring_desc_ *tab;
	uint64_t tab_gpa;
	unsigned tab_len; /* entries */
	unsigned steps;	  /* descriptors seen in it */
	bool indirect;
	/* what the whole chain has come to */
	unsigned descs, niov, nrd;
	bool writable;
	uint64_t bytes;
};

static int walk_load(const struct walk *w, unsigned i, struct desc *out)
{
	struct vring_desc_ copy;
	int r;

	if (w->tab) {
		*out = desc_split(__atomic_load_n(&w->tab[i].addr, __ATOMIC_RELAXED),
			__atomic_load_n(&w->tab[i].len_flags_next, __ATOMIC_RELAXED));
		return 0;
	}
	r = mem_read(w->q->mem, &copy, GPA(w->tab_gpa + (uint64_t)i * DESC_BYTES), sizeof(copy));
	if (!r)
		*out = desc_split(copy.addr, copy.len_flags_next);
	return r;
}

/* Section 2.7.5.3: the descriptor names a table that the chain goes on in, from its entry 0. */
static int walk_enter(struct walk *w, const struct desc *d)
{
	if (w->indirect || !w->q->indirect || (d->flags & DESC_NEXT) || !d->len ||
		d->len % DESC_BYTES || d->len / DESC_BYTES > LIM_CHAIN)
		return -EINVAL;
	if (d->addr > UINT64_MAX - d->len)
		return -EFAULT;
	w->tab = mem_pin(w->q->mem, GPA(d->addr), d->len, 8);
	w->tab_gpa = d->addr;
	w->tab_len = d->len / DESC_BYTES;
	w->steps = 0;
	w->indirect = true;
	return 0;
}

static int walk_buffer(struct walk *w, const struct desc *d)
{
	bool wr = d->flags & DESC_WRITE;
	int n;

	if (!wr && w->writable)
		return -EINVAL;
	w->writable = wr;
	w->bytes += d->len;
	if (++w->descs > LIM_CHAIN || w->bytes > w->q->chain_bytes)
		return -EINVAL;
	n = mem_iov(w->q->mem, GPA(d->addr), d->len, MEM_IOV_SHM | (wr ? MEM_IOV_WRITE : 0),
		w->req->iov + w->niov, LIM_IOV - w->niov);
	if (n < 0)
		return n;
	w->niov += (unsigned)n;
	if (!wr)
		w->nrd = w->niov;
	return 0;
}

static int walk_chain(struct walk *w, unsigned i)
{
	for (;;) {
		struct desc d;
		int r;

		if (i >= w->tab_len || w->steps++ >= w->tab_len)
			return -EINVAL;
		r = walk_load(w, i, &d);
		if (r)
			return r;
		if (d.flags & DESC_INDIRECT) {
			r = walk_enter(w, &d);
			i = 0;
		} else {
			r = walk_buffer(w, &d);
			if (!r && !(d.flags & DESC_NEXT))
				return 0;
			i = d.next;
		}
		if (r)
			return r;
	}
}

/* Fills @req from the chain at @head and marks it in flight. */
static int vq_take(struct vq *q, uint16_t head, struct vq_req *req)
{
	struct walk w = { .q = q, .req = req, .tab = q->d, .tab_len = q->size };
	int r;

	if (head >= q->size || map_test(q->busy, head))
		return -EINVAL;
	r = walk_chain(&w, head);
	if (r)
		return r;
	req->head = head;
	req->niov = (uint16_t)w.niov;
	iobuf_init(&req->rd, req->iov, w.nrd);
	iobuf_init(&req->wr, req->iov + w.nrd, w.niov - w.nrd);
	req->rd.win = req->wr.win = q->mem->nshm ? q->mem : NULL;
	map_set(q->busy, head);
	q->inflight++;
	return 1;
}

/* Entries of the avail ring that we have not taken, redo aside. */
static int vq_waiting(const struct vq *q)
{
	uint16_t idx = le16toh(__atomic_load_n(q->a + RING_IDX, __ATOMIC_ACQUIRE));
	uint16_t n = (uint16_t)(idx - q->last_avail);

	return n > q->size ? -EINVAL : n;
}

int vq_pending(const struct vq *q)
{
	int n = q->d ? vq_waiting(q) : 0;

	return n < 0 ? n : n + q->nredo;
}

/* Tells the driver that its next entry wants a kick; then how many came before it could see that.
 */
static int vq_arm(struct vq *q)
{
	if (q->event_idx) {
		q->avail_event = q->last_avail;
		ring_store(avail_event(q), q->avail_event);
	} else {
		ring_store(q->u + RING_FLAGS, 0);
	}
	__sync_synchronize();
	return vq_waiting(q);
}

/* A request that was in flight when the queue was saved. */
static int vq_pop_redo(struct vq *q, struct vq_req *req)
{
	for (uint16_t i = 0; i < q->size; i++) {
		if (!map_test(q->redo, i))
			continue;
		map_clear(q->redo, i);
		q->nredo--;
		req->redone = true;
		return vq_take(q, i, req);
	}
	return -EINVAL;
}

int vq_pop(struct vq *q, struct vq_req *req)
{
	int n;

	/* a queue that the driver never made ready is an empty one, whoever looks at it */
	if (!q->d)
		return 0;
	if (q->nredo)
		return vq_pop_redo(q, req);
	n = vq_waiting(q);
	/* When avail_event is there already, the ring has been looked at since it was written. */
	if (!n && q->event_idx && !q->kicks_off && q->avail_event != q->last_avail)
		n = vq_arm(q);
	if (n <= 0)
		return n;
	req->redone = false;
	n = vq_take(q, ring_load(q->a + RING_FIRST + (q->last_avail & (q->size - 1))), req);
	if (n == 1)
		q->last_avail++;
	return n;
}

void vq_push(struct vq *q, uint16_t head, uint32_t len)
{
	volatile void *ring = q->u + RING_FIRST;
	volatile uint32_t *elem = (volatile uint32_t *)ring + 2U * (q->used_idx & (q->size - 1));

	assert(head < q->size && map_test(q->busy, head));
	elem[0] = htole32(head);
	elem[1] = htole32(len);
	map_clear(q->busy, head);
	q->inflight--;
	q->used_idx++;
}

void vq_unpop(struct vq *q, const struct vq_req *req)
{
	assert(req->head < q->size && map_test(q->busy, req->head));
	map_clear(q->busy, req->head);
	q->inflight--;
	if (req->redone) {
		map_set(q->redo, req->head);
		q->nredo++;
	} else {
		q->last_avail--;
	}
}

bool vq_flush(struct vq *q)
{
	uint16_t old = q->used_flushed;
	bool had = q->signalled_valid;

	if (q->used_idx == q->used_flushed)
		return false;
	q->used_flushed = q->used_idx;
	__atomic_store_n(q->u + RING_IDX, htole16(q->used_idx), __ATOMIC_RELEASE);
	__sync_synchronize();
	if (!q->event_idx)
		return !(ring_load(q->a + RING_FLAGS) & AVAIL_NO_INTERRUPT);
	q->signalled_valid = true;
	return !had || event_passed(ring_load(used_event(q)), q->used_idx, old);
}

bool vq_kicks(struct vq *q, bool on)
{
	q->kicks_off = !on;
	if (!q->d)
		return false;
	if (on)
		return vq_arm(q) != 0;
	if (!q->event_idx)
		ring_store(q->u + RING_FLAGS, USED_NO_NOTIFY);
	return false;
}

void vq_save(const struct vq *q, struct save_out *s)
{
	if (q->used_idx != q->used_flushed && !s->err)
		s->err = -EINVAL;
	save_u16(s, q->size);
	save_u8(s, q->ready);
	save_u64(s, q->desc);
	save_u64(s, q->avail);
	save_u64(s, q->used);
	save_u16(s, q->last_avail);
	save_u16(s, q->used_idx);
	save_u16(s, (uint16_t)(q->inflight + q->nredo));
	for (unsigned i = 0; i < q->max; i++) {
		if (map_test(q->busy, (uint16_t)i) || map_test(q->redo, (uint16_t)i))
			save_u16(s, (uint16_t)i);
	}
}

int vq_load(struct vq *q, struct save_in *s)
{
	uint16_t n;

	q->size = load_u16(s);
	q->ready = load_u8(s);
	q->desc = load_u64(s);
	q->avail = load_u64(s);
	q->used = load_u64(s);
	q->last_avail = load_u16(s);
	q->used_idx = q->used_flushed = load_u16(s);
	n = load_u16(s);
	if (!s->err && (n > q->max || (q->ready && n > q->size)))
		s->err = -EINVAL;
	for (; n && !s->err; n--) {
		uint16_t head = load_u16(s);

		if (s->err || head >= q->max || head >= q->size || map_test(q->redo, head)) {
			s->err = s->err ? s->err : -EINVAL;
			break;
		}
		map_set(q->redo, head);
		q->nredo++;
	}
	return s->err;
}
