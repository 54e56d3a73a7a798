// SPDX-License-Identifier: Apache-2.0
/* Dispatch of trapped register accesses by address. */
#include <errno.h>
#include <string.h>

#include "core/bus.h"

int bus_add(struct bus *b, uint64_t base, uint64_t len, const struct bus_ops *ops, void *arg)
{
	unsigned i;

	if (b->frozen)
		return -EBUSY;
	if (!len || base > UINT64_MAX - len)
		return -EINVAL;
	if (b->n == LIM_BUS_RANGES)
		return -ENOSPC;
	for (i = 0; i < b->n; i++) {
		if (base < b->r[i].base + b->r[i].len && b->r[i].base < base + len)
			return -EEXIST;
	}
	for (i = b->n++; i && b->r[i - 1].base > base; i--)
		b->r[i] = b->r[i - 1];
	b->r[i] = (struct bus_range){ .base = base, .len = len, .ops = ops, .arg = arg };
	return 0;
}

void bus_freeze(struct bus *b)
{
	b->frozen = true;
}

/* The range that holds all of [addr, addr + len). */
static const struct bus_range *bus_find(const struct bus *b, uint64_t addr, unsigned len)
{
	unsigned lo = 0, hi = b->n;

	if (len != 1 && len != 2 && len != 4 && len != 8)
		return NULL;
	/* The last range whose base is not above addr is r[lo - 1]. */
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (b->r[mid].base <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || !range_ok(addr - b->r[lo - 1].base, len, b->r[lo - 1].len))
		return NULL;
	return &b->r[lo - 1];
}

bool bus_read(const struct bus *b, uint64_t addr, uint8_t *data, unsigned len)
{
	const struct bus_range *r = bus_find(b, addr, len);

	if (!r) {
		memset(data, 0xff, len);
		return false;
	}
	r->ops->read(r->arg, addr - r->base, data, len);
	return true;
}

bool bus_write(const struct bus *b, uint64_t addr, const uint8_t *data, unsigned len)
{
	const struct bus_range *r = bus_find(b, addr, len);

	if (!r)
		return false;
	r->ops->write(r->arg, addr - r->base, data, len);
	return true;
}
