// SPDX-License-Identifier: Apache-2.0
/* A queue whose rings, descriptors and tables are the input; what vq_pop() promises is checked on
 * every chain. */
/*
 * How it works
 *
 * The input is a program: the driver's steps (write a descriptor, any byte, offer an entry) and the
 * owner's (pop, push, flush, ...) in any order. Memory is two regions and a window, which lies at a
 * host address that nobody may touch by hand.
 */
#include <errno.h>

#include "core/mem.h"
#include "fuzz/fuzz.h"
#include "util/bytes.h"
#include "virtio/vq.h"

#define N     8
#define LO    0x10000ULL
#define HALF  0x2000ULL /* two regions, then a window */
#define PAGES 0x1000ULL
#define TABLE 512

static _Alignas(4096) uint8_t lo[HALF], hi[HALF];
static uint8_t window[PAGES]; /* an address only */

static struct vq_req req[N];
static struct mem mem;

static bool inside(const struct iovec *v, const uint8_t *base, size_t len)
{
	return range_ok((uint64_t)((uintptr_t)v->iov_base - (uintptr_t)base), v->iov_len, len);
}

static void check_chain(const struct vq_req *r)
{
	size_t sum = 0;

	FUZZ_CHECK(r->head < N && r->niov <= LIM_IOV);
	FUZZ_CHECK(r->rd.cnt + r->wr.cnt == r->niov);
	FUZZ_CHECK(r->rd.iov == r->iov && r->wr.iov == r->iov + r->rd.cnt);
	for (unsigned i = 0; i < r->niov; i++) {
		FUZZ_CHECK(r->iov[i].iov_len != 0);
		FUZZ_CHECK(inside(&r->iov[i], lo, sizeof(lo)) ||
			inside(&r->iov[i], hi, sizeof(hi)) ||
			inside(&r->iov[i], window, sizeof(window)));
		sum += r->iov[i].iov_len;
	}
	FUZZ_CHECK(sum == r->rd.left + r->wr.left && sum <= LIM_CHAIN_BYTES);
}

/* Touches every byte that hands may touch, so that a sanitizer sees a wrong one. */
static void use_chain(struct vq_req *r)
{
	uint8_t buf[512];
	size_t n;

	while ((n = iobuf_peek(&r->rd, buf, sizeof(buf))))
		FUZZ_CHECK(iobuf_skip(&r->rd, n) == 0);
	(void)iobuf_zero(&r->wr, 64);
}

static void setup(struct vq *q, struct fuzz_in *in)
{
	uint8_t how = fuzz_u8(in);

	mem_init(&mem);
	FUZZ_CHECK(!mem_add_borrowed(&mem, GPA(LO), lo, sizeof(lo)));
	FUZZ_CHECK(!mem_add_borrowed(&mem, GPA(LO + HALF), hi, sizeof(hi)));
	FUZZ_CHECK(!mem_add_borrowed(&mem, GPA(LO + 2 * HALF), window, sizeof(window)));
	mem.r[2].kind = MEM_SHM;
	mem.nshm = 1;
	mem.r[1].readonly = how & 8;
	vq_init(q, &mem, N);
	q->event_idx = how & 1;
	q->indirect = how & 2;
	q->desc = LO;
	q->avail = LO + 16 * N;
	q->used = LO + 16 * N + 32;
	if (how & 4) {
		q->size = fuzz_u16(in);
		q->desc = LO + fuzz_u16(in);
		q->avail = LO + fuzz_u16(in);
		q->used = LO + fuzz_u16(in);
	}
}

/* A descriptor of the ring, or (@i >= N) of the table at TABLE, as a driver might write it. */
static void put_desc(struct fuzz_in *in, unsigned i)
{
	static const uint64_t where[] = { LO, LO + TABLE, LO + TABLE + 4, LO + HALF - 8,
		LO + 2 * HALF - 16, LO + 2 * HALF, LO + 2 * HALF + PAGES - 8, UINT64_MAX - 7 };
	uint8_t *p = i < N ? lo + 16UL * i : lo + TABLE + 16UL * (i - N);
	uint8_t how = fuzz_u8(in), link = fuzz_u8(in);

	put_le64(p, where[how & 7] + (how & 8 ? fuzz_u8(in) : 0));
	put_le32(p + 8, how & 16 ? fuzz_u32(in) : how & 32 ? 16U * (how >> 6) : fuzz_u8(in));
	put_le16(p + 12, link & 7);
	put_le16(p + 14, link >> 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	unsigned busy[N] = { 0 }, nbusy = 0;
	struct vq q;

	setup(&q, &in);
	memset(lo, 0, sizeof(lo));
	memset(hi, 0, sizeof(hi));
	if (vq_start(&q, false))
		return 0;
	while (in.left) {
		uint8_t op = fuzz_u8(&in);
		unsigned i = op >> 4 & (N - 1);
		int r;

		switch (op & 7) {
		case 0:
		case 1:
			for (i = 0; i < N && busy[i]; i++)
				;
			if (i == N)
				break;
			r = vq_pop(&q, &req[i]);
			FUZZ_CHECK(r == 0 || r == 1 || r == -EINVAL || r == -EFAULT);
			if (r != 1)
				break;
			check_chain(&req[i]);
			use_chain(&req[i]);
			for (unsigned k = 0; k < N; k++)
				FUZZ_CHECK(!busy[k] || req[k].head != req[i].head);
			busy[i] = 1;
			nbusy++;
			if (op & 8) {
				vq_unpop(&q, &req[i]);
				busy[i] = 0;
				nbusy--;
			}
			break;
		case 2:
			if (busy[i])
				vq_push(&q, req[i].head, (uint32_t)req[i].wr.done);
			nbusy -= busy[i];
			busy[i] = 0;
			break;
		case 3:
			(void)!vq_flush(&q);
			break;
		case 4:
			(void)vq_kicks(&q, op & 8);
			break;
		case 5: /* the driver offers one more */
			if (q.size >= 1)
				*(volatile uint16_t *)(q.a + 1) = (uint16_t)(q.a[1] + 1);
			break;
		case 6: /* the guest changes anything */
			lo[fuzz_u16(&in) % 1024] = fuzz_u8(&in);
			break;
		default:
			put_desc(&in, op >> 3);
			break;
		}
		FUZZ_CHECK(q.inflight == nbusy);
		FUZZ_CHECK(vq_pending(&q) <= q.size);
	}
	return 0;
}
