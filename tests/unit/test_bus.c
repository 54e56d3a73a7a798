// SPDX-License-Identifier: Apache-2.0
/* Bus dispatch and interrupt lines. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/bus.h"
#include "core/irq.h"
#include "unit/test.h"

struct hit {
	uint64_t off;
	unsigned len, n;
};

static void on_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct hit *h = arg;

	*h = (struct hit){ off, len, h->n + 1 };
	memset(data, 0x5a, len);
}

static void on_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct hit *h = arg;

	*h = (struct hit){ off, len, h->n + (data[0] == 7) };
}

static const struct bus_ops ops = { on_read, on_write };

static void adding(void)
{
	struct bus b = { 0 };
	struct hit h = { 0 };

	CHECK_EQ(bus_add(&b, 0x1000, 0, &ops, &h), -EINVAL);
	CHECK_EQ(bus_add(&b, UINT64_MAX - 3, 8, &ops, &h), -EINVAL);
	CHECK_EQ(bus_add(&b, 0x3000, 0x1000, &ops, &h), 0);
	CHECK_EQ(bus_add(&b, 0x3fff, 1, &ops, &h), -EEXIST);
	CHECK_EQ(bus_add(&b, 0x2000, 0x1001, &ops, &h), -EEXIST);
	CHECK_EQ(bus_add(&b, 0x2000, 0x1000, &ops, &h), 0);
	CHECK_EQ(bus_add(&b, 0x4000, 0x1000, &ops, &h), 0);
	CHECK_EQ(bus_add(&b, 0, 0x10000, &ops, &h), -EEXIST);
	for (unsigned i = b.n; i < LIM_BUS_RANGES; i++)
		CHECK_EQ(bus_add(&b, 0x100000 - i * 16ULL, 16, &ops, &h), 0);
	CHECK_EQ(bus_add(&b, 0, 16, &ops, &h), -ENOSPC);
	for (unsigned i = 1; i < b.n; i++)
		CHECK(b.r[i - 1].base < b.r[i].base);
	bus_freeze(&b);
	CHECK_EQ(bus_add(&b, 0, 16, &ops, &h), -EBUSY);
}

static void lookup(void)
{
	struct hit h[3] = { 0 };
	struct bus b = { 0 };
	uint8_t d[8] = { 7 };

	CHECK(!bus_read(&b, 0, d, 1));
	CHECK_EQ(bus_add(&b, 0x3000, 0x10, &ops, &h[2]), 0);
	CHECK_EQ(bus_add(&b, 0x1000, 0x10, &ops, &h[0]), 0);
	CHECK_EQ(bus_add(&b, 0x1010, 0x10, &ops, &h[1]), 0);
	bus_freeze(&b);
	d[0] = 7;
	CHECK(bus_write(&b, 0x1000, d, 8));
	CHECK(h[0].n == 1 && h[0].off == 0 && h[0].len == 8);
	CHECK(bus_write(&b, 0x101f, d, 1));
	CHECK(h[1].n == 1 && h[1].off == 15);
	CHECK(bus_read(&b, 0x300c, d, 4));
	CHECK(h[2].n == 1 && h[2].off == 12 && d[0] == 0x5a && d[3] == 0x5a);
	/* nothing there, straddling, odd lengths */
	for (unsigned i = 0; i < 7; i++) {
		static const struct {
			uint64_t addr;
			unsigned len;
		} bad[] = { { 0xfff, 1 }, { 0x1020, 1 }, { 0x1009, 8 }, { 0x301d, 4 },
			{ 0x1000, 3 }, { 0x1000, 0 }, { UINT64_MAX, 8 } };

		memset(d, 0, sizeof(d));
		CHECK(!bus_write(&b, bad[i].addr, d, bad[i].len));
		CHECK(!bus_read(&b, bad[i].addr, d, bad[i].len));
		for (unsigned k = 0; k < 8; k++)
			CHECK_EQ(d[k], k < bad[i].len ? 0xff : 0);
	}
	CHECK(h[0].n == 1 && h[1].n == 1 && h[2].n == 1);
}

static void on_raise(void *arg, unsigned gsi)
{
	*(unsigned *)arg += gsi;
}

static void lines(void)
{
	unsigned sum = 0;
	struct irq_line l = { .efd = -1, .gsi = 5, .raise = on_raise, .arg = &sum };
	uint64_t n;

	irq_raise(&l);
	irq_raise(&l);
	CHECK_EQ(sum, 10);
	CHECK_EQ(l.count, 2);
	l.efd = eventfd(0, EFD_NONBLOCK);
	irq_raise(&l);
	CHECK(read(l.efd, &n, 8) == 8 && n == 1);
	/* a full eventfd is no error: the pulse is there already */
	n = UINT64_MAX - 1;
	CHECK_EQ(write(l.efd, &n, 8), 8);
	irq_raise(&l);
	CHECK_EQ(l.count, 4);
	CHECK_EQ(sum, 10);
	(void)close(l.efd);
}

static const struct test_case cases[] = { TEST(adding), TEST(lookup), TEST(lines) };

TEST_MAIN(cases)
