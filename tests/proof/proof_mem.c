// SPDX-License-Identifier: Apache-2.0
/* Guest memory, bounded: every query at every border gives what single bytes would give. */
/*
 * How it works
 *
 * Four places of one page, side by side from PLACE(0): each is absent, RAM, read-only RAM or a
 * window. Queries begin and end within a few bytes of the borders, and at the ends of the 64-bit
 * circle. The model asks for each byte separately; ranges are long, so it asks at the borders only,
 * where alone the answer can change.
 */
#include <errno.h>

#include "core/mem.h"
#include "core/mem_pin.h"
#include "proof/proof.h"

#define PAGE	 4096ULL
#define PLACES	 4
#define PLACE(i) ((2ULL + (i)) * PAGE)

static uint8_t host[PLACES][PAGE * 2]; /* the second page is a gap between host addresses */
static struct mem m;
static unsigned kind[PLACES]; /* 0 absent, 1 RAM, 2 read-only, 3 window */

static void build(void)
{
	mem_init(&m);
	for (unsigned i = PLACES; i--;) {
		int r;

		kind[i] = choose(4);
		if (!kind[i])
			continue;
		r = mem_add_borrowed(&m, GPA(PLACE(i)), host[i], PAGE);
		PROVE(r == 0);
		m.r[0].readonly = kind[i] == 2; /* added downwards: it is the first */
		m.r[0].kind = kind[i] == 3 ? MEM_SHM : MEM_RAM;
		m.nshm += kind[i] == 3;
	}
	for (unsigned i = 1; i < m.n; i++)
		PROVE(m.r[i - 1].gpa < m.r[i].gpa);
	mem_freeze(&m);
}

/* The kind of the place that holds @gpa. */
static unsigned at(uint64_t gpa)
{
	uint64_t page = gpa / PAGE;

	return page >= 2 && page < 2 + PLACES ? kind[page - 2] : 0;
}

/* Whether each byte of the range is one of the kinds in @allowed (bit map). */
static bool all(uint64_t gpa, uint64_t len, unsigned allowed)
{
	uint64_t end = gpa + len; /* one past */

	if (!len)
		return true;
	if (len > PLACES * PAGE || end < gpa)
		return false;
	for (uint64_t p = gpa; p < end; p = (p / PAGE + 1) * PAGE) {
		if (!(allowed >> at(p) & 1))
			return false;
	}
	return true;
}

static void check_iov(uint64_t gpa, uint64_t len)
{
	unsigned flags = choose(4), max = choose(PLACES + 1);
	unsigned allowed = 2U | (flags & MEM_IOV_WRITE ? 0 : 4U) | (flags & MEM_IOV_SHM ? 8U : 0);
	struct iovec v[PLACES + 1];
	unsigned pieces = len ? (unsigned)((gpa + len - 1) / PAGE - gpa / PAGE + 1) : 0;
	int r;

	memset(v, 0x5a, sizeof(v));
	r = mem_iov(&m, GPA(gpa), len, flags, v, max);
	for (unsigned i = max; i < PLACES + 1; i++)
		PROVE(v[i].iov_len == 0x5a5a5a5a5a5a5a5a);
	if (r < 0) {
		PROVE(r == -EFAULT || r == -E2BIG);
		PROVE(!all(gpa, len, allowed) || (r == -E2BIG && pieces > max));
		return;
	}
	PROVE(all(gpa, len, allowed) && (unsigned)r == pieces && pieces <= max);
	for (int i = 0; i < r; i++) {
		uint64_t n = PAGE - gpa % PAGE;

		n = len < n ? len : n;
		PROVE(v[i].iov_base == host[gpa / PAGE - 2] + gpa % PAGE && v[i].iov_len == n);
		PROVE(mem_in_window(&m, v[i].iov_base) == (at(gpa) == 3));
		gpa += n;
		len -= n;
	}
	PROVE(len == 0);
}

static void check_copy(uint64_t gpa, uint64_t len)
{
	static uint8_t buf[PLACES * PAGE], back[PLACES * PAGE];
	int r;

	/* Longer ones end at the check, before the buffer is looked at. */
	memset(buf, (int)len | 1, len <= 64 ? len : 0);
	if (len > sizeof(buf) || (len > 64 && all(gpa, len, 2U)))
		return;
	r = mem_write(&m, GPA(gpa), buf, len);
	PROVE(r == (all(gpa, len, 2U) ? 0 : -EFAULT));
	if (r)
		return;
	r = mem_read(&m, back, GPA(gpa), len);
	PROVE(r == 0 && !memcmp(buf, back, len));
}

static void check_pin(uint64_t gpa, uint64_t len)
{
	unsigned align = 1U << choose(5);
	void *p = mem_pin(&m, GPA(gpa), len, align);
	bool ok = len && all(gpa, len, 2U) && gpa / PAGE == (gpa + len - 1) / PAGE &&
		gpa % align == 0;

	PROVE(p == (ok ? host[gpa / PAGE - 2] + gpa % PAGE : NULL));
}

static void check_place(uint64_t gpa, uint64_t len)
{
	bool overlap = false;
	int r;

	for (unsigned i = 0; i < PLACES; i++)
		overlap |= kind[i] && gpa < PLACE(i) + PAGE && PLACE(i) < gpa + len;
	m.frozen = false;
	r = mem_add_borrowed(&m, GPA(gpa), host[0], len);
	if (gpa % PAGE || len % PAGE || !len || gpa + len < gpa || len > LIM_RAM_MAX)
		PROVE(r == -EINVAL);
	else
		PROVE(r == (overlap ? -EEXIST : 0));
}

static void body(void)
{
	static const uint64_t ends[] = { 0, PAGE, 15 * PAGE, UINT64_MAX - PAGE + 1 };
	static const int near[] = { -16, -1, 0, 1, 8 };
	unsigned b = choose(PLACES + 1 + 4), e;
	uint64_t gpa, len;

	build();
	gpa = (b <= PLACES ? PLACE(b) : ends[b - PLACES - 1]) + (uint64_t)(int64_t)CHOOSE_OF(near);
	e = choose(PLACES + 1 + 3);
	if (e <= PLACES)
		len = PLACE(e) + (uint64_t)(int64_t)CHOOSE_OF(near) - gpa;
	else
		len = e == PLACES + 1 ? 0 : e == PLACES + 2 ? 16 : UINT64_MAX;
	switch (choose(4)) {
	case 0:
		check_iov(gpa, len);
		break;
	case 1:
		check_copy(gpa, len);
		break;
	case 2:
		check_pin(gpa, len);
		break;
	default:
		check_place(gpa, len);
		break;
	}
}

PROOF_MAIN(body)
