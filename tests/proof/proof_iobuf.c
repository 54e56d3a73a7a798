// SPDX-License-Identifier: Apache-2.0
/* Cursors, bounded: every small vector, partly in a window, and every sequence of operations. */
/*
 * How it works
 *
 * The bytes of the vector are known one by one: where each lies, whether in a window, and what it
 * must hold. After every operation the cursor must show just those that are left, and at the end
 * memory must be as the model says.
 */
#include <errno.h>

#include "proof/proof.h"
#include "virtio/iobuf.h"

#define ENTRIES 3
#define MAXLEN	3
#define STEPS	2
#define TOTAL	(ENTRIES * MAXLEN)

static uint8_t ram[ENTRIES][MAXLEN + 1], win[ENTRIES][MAXLEN + 1]; /* one guard byte each */
static struct mem m;

/* The same bytes, one by one. */
static uint8_t *byte[TOTAL];
static bool is_win[TOTAL];
static uint8_t model[TOTAL];

static unsigned build(struct iovec *v, struct iobuf *b)
{
	unsigned cnt = choose(ENTRIES + 1), total = 0;

	m = (struct mem){ .n = 1, .nshm = 1 };
	m.r[0] = (struct mem_region){ .hva = win[0], .len = sizeof(win), .kind = MEM_SHM };
	memset(ram, 0xee, sizeof(ram));
	memset(win, 0xee, sizeof(win));
	for (unsigned i = 0; i < cnt; i++) {
		unsigned len = 1 + choose(MAXLEN);
		bool w = choose(2);
		uint8_t *p = w ? win[i] : ram[i];

		v[i] = (struct iovec){ p, len };
		for (unsigned k = 0; k < len; k++, total++) {
			byte[total] = p + k;
			is_win[total] = w;
			p[k] = model[total] = (uint8_t)(total + 1);
		}
	}
	iobuf_init(b, v, cnt);
	b->win = &m;
	return total;
}

/* Bytes of [at, at + n) before the first in a window. */
static unsigned plain(unsigned at, unsigned n)
{
	unsigned i = 0;

	while (i < n && !is_win[at + i])
		i++;
	return i;
}

static void check_at(const struct iobuf *b, unsigned at, unsigned end)
{
	uint8_t buf[TOTAL];
	size_t n = iobuf_peek(b, buf, sizeof(buf));

	PROVE(b->left == end - at && n == plain(at, end - at));
	for (unsigned i = 0; i < n; i++)
		PROVE(buf[i] == model[at + i]);
}

/* One operation; what moved is returned. */
static unsigned step(struct iobuf *b, unsigned at, unsigned end)
{
	unsigned n = choose(end - at + 2), k = MIN(n, end - at);
	bool fits = n <= end - at, clean = plain(at, k) == k;
	uint8_t buf[TOTAL + 1];
	struct iobuf head;
	int r;

	memset(buf, 0x77, sizeof(buf));
	switch (choose(5)) {
	case 0:
		r = iobuf_pull(b, buf, n);
		PROVE(r == (!fits ? -ENODATA : !clean ? -EFAULT : 0));
		for (unsigned i = 0; i < n; i++)
			PROVE(buf[i] == (r ? 0x77 : model[at + i]));
		return r ? 0 : n;
	case 1:
		r = iobuf_push(b, buf, n);
		PROVE(r == (!fits ? -ENOSPC : !clean ? -EFAULT : 0));
		for (unsigned i = 0; i < n && !r; i++)
			model[at + i] = 0x77;
		return r ? 0 : n;
	case 2:
		r = iobuf_skip(b, n);
		PROVE(r == (fits ? 0 : -ENODATA));
		return r ? 0 : n;
	case 3:
		k = plain(at, k);
		PROVE(iobuf_zero(b, n) == k);
		for (unsigned i = 0; i < k; i++)
			model[at + i] = 0;
		return k;
	default:
		r = iobuf_take(b, n, &head);
		PROVE(r == (fits ? 0 : -ENODATA));
		if (r)
			return 0;
		PROVE(head.done == 0);
		check_at(&head, at, at + n);
		if (n) { /* the head's end is a hard one, also in the middle of an entry */
			r = iobuf_skip(&head, n);
			PROVE(r == 0);
		}
		r = iobuf_skip(&head, 1);
		PROVE(r == -ENODATA);
		return n;
	}
}

static void body(void)
{
	struct iovec v[ENTRIES], was[ENTRIES];
	unsigned at = 0, end;
	struct iobuf b;

	memset(v, 0, sizeof(v));
	end = build(v, &b);
	memcpy(was, v, sizeof(v));
	for (unsigned i = 0; i < STEPS; i++) {
		at += step(&b, at, end);
		PROVE(b.done == at);
		check_at(&b, at, end);
	}
	PROVE(!memcmp(v, was, sizeof(v)));
	for (unsigned i = 0; i < end; i++)
		PROVE(*byte[i] == model[i]);
	for (unsigned i = 0; i < ENTRIES; i++) {
		unsigned n = (unsigned)v[i].iov_len;

		PROVE(ram[i][v[i].iov_base == ram[i] ? n : 0] == 0xee);
		PROVE(win[i][v[i].iov_base == win[i] ? n : 0] == 0xee);
	}
}

PROOF_MAIN(body)
