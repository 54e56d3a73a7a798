// SPDX-License-Identifier: Apache-2.0
/* The I/O APIC: what its registers say, which messages its entries are, edges and levels, saved and
 * loaded. */
#include <errno.h>

#include "dev/ioapic.h"
#include "tests/unit/test.h"
#include "util/bytes.h"
#include "util/util.h"

#define MASKED	0x10000U
#define LEVEL	0x8000U
#define LOGICAL 0x800U
#define IRR	0x4000U

static struct ioapic *a;
static struct ioapic_msg msg[IOAPIC_PINS];
static uint32_t by_call;
static unsigned routes, sent[IOAPIC_PINS];

static void route(void *arg, const struct ioapic_msg m[IOAPIC_PINS], uint32_t calls)
{
	(void)arg;
	memcpy(msg, m, sizeof(msg));
	by_call = calls;
	routes++;
}

static void send(void *arg, unsigned pin)
{
	(void)arg;
	CHECK(pin < IOAPIC_PINS && msg[pin].there);
	sent[pin]++;
}

static const struct ioapic_ops ops = { .route = route, .send = send };

static void up(void)
{
	memset(msg, 0, sizeof(msg));
	memset(sent, 0, sizeof(sent));
	routes = by_call = 0;
	CHECK_EQ(ioapic_new(&ops, NULL, &a), 0);
}

static void put32(uint64_t off, uint32_t v)
{
	uint8_t b[4];

	put_le32(b, v);
	ioapic_write(a, off, b, 4);
}

static uint32_t get32(uint64_t off)
{
	uint8_t b[4] = { 1, 2, 3, 4 };

	ioapic_read(a, off, b, 4);
	return get_le32(b);
}

static void set(uint8_t reg, uint32_t v)
{
	put32(0, reg);
	put32(0x10, v);
}

static uint32_t get(uint8_t reg)
{
	put32(0, reg);
	return get32(0x10);
}

/* As Linux writes an entry: the high half first. */
static void entry(unsigned pin, uint8_t dest, uint32_t low)
{
	set((uint8_t)(0x11 + 2 * pin), (uint32_t)dest << 24);
	set((uint8_t)(0x10 + 2 * pin), low);
}

static uint32_t low(unsigned pin)
{
	return get((uint8_t)(0x10 + 2 * pin));
}

static void registers(void)
{
	uint8_t b[8];

	up();
	CHECK_EQ(get(0), 0);
	CHECK_EQ(get(1), 0x170020); /* 24 inputs, version 0x20 */
	set(0, 0xffffffff);
	CHECK_EQ(get(0), 0x0f000000);
	CHECK_EQ(get(2), 0x0f000000);
	set(1, 0);
	CHECK_EQ(get(1), 0x170020);
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		CHECK_EQ(low(i), MASKED);
		CHECK_EQ(get((uint8_t)(0x11 + 2 * i)), 0);
		entry(i, 0xff, 0xffffffff);
		CHECK_EQ(low(i), 0x1afff); /* neither delivery status nor Remote IRR */
		CHECK_EQ(get((uint8_t)(0x11 + 2 * i)), 0xff000000);
	}
	/* there are no more, and no other registers */
	for (unsigned i = 0; i < 256; i++) {
		if (i > 2 && (i < 0x10 || i >= 0x40)) {
			set((uint8_t)i, 0x12345);
			CHECK_EQ(get((uint8_t)i), 0);
		}
	}
	CHECK_EQ(get32(4), 0);
	CHECK_EQ(get32(0x40), 0);
	put32(0x20, 0x55);
	CHECK_EQ(get32(0x20), 0);
	/* other widths */
	b[0] = 1;
	ioapic_write(a, 0, b, 1);
	ioapic_read(a, 0x10, b, 8);
	CHECK_EQ(get_le64(b), 0x170020);
	ioapic_read(a, 0x10, b, 1);
	CHECK_EQ(b[0], 0x20);
	b[0] = 0x10;
	ioapic_write(a, 0, b, 1);
	b[0] = b[1] = 0;
	ioapic_write(a, 0x10, b, 2); /* half a window is none */
	CHECK_EQ(get32(0x10), 0x1afff);
	ioapic_free(a);
}

static void messages(void)
{
	up();
	entry(5, 3, 0x31);
	CHECK(msg[5].there && msg[5].addr == 0xfee03000 && msg[5].data == 0x4031);
	entry(6, 0x81, 0x1fe | LOGICAL);
	CHECK(msg[6].there && msg[6].addr == 0xfee81004 && msg[6].data == 0x41fe);
	entry(7, 0, 0x40 | LEVEL);
	CHECK(msg[7].there && msg[7].addr == 0xfee00000 && msg[7].data == 0xc040);
	CHECK_EQ(by_call, 1 << 7);
	entry(8, 1, 0x400 | LEVEL); /* an NMI is an edge, and has no vector */
	CHECK(msg[8].there && msg[8].data == 0x4400);
	CHECK_EQ(by_call, 1 << 7);
	entry(9, 1, 0x30 | 0x2000); /* active low */
	CHECK(msg[9].there && msg[9].data == 0x4030);
	/* what cannot be a message: ExtINT, what is reserved, vectors of the processor's own */
	for (unsigned i = 0; i < 4; i++) {
		static const uint32_t bad[] = { 0x730, 0x330, 0x630, 0x0f };

		entry(10, 1, 0x30);
		CHECK(msg[10].there);
		entry(10, 1, bad[i]);
		CHECK(!msg[10].there);
		ioapic_pulse(a, 10);
		entry(10, 1, bad[i] | LEVEL);
		ioapic_pulse(a, 10);
		CHECK(!msg[10].there && !sent[10] && !(low(10) & IRR));
	}
	CHECK(!msg[4].there && !msg[11].there);
	ioapic_free(a);
}

/* The hypervisor hears of changes, and of nothing else. */
static void calls(void)
{
	up();
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		entry(i, 1, 0x30 | MASKED);
	CHECK_EQ(routes, 0);
	entry(5, 1, 0x30);
	CHECK_EQ(routes, 1);
	entry(5, 1, 0x30);
	entry(5, 1, 0x2030);
	CHECK_EQ(routes, 1);
	entry(5, 2, 0x30);
	CHECK_EQ(routes, 2);
	entry(5, 2, 0x30 | MASKED);
	CHECK_EQ(routes, 3);
	CHECK(!msg[5].there);
	ioapic_free(a);
}

static void edges(void)
{
	up();
	ioapic_pulse(a, 5);
	CHECK_EQ(sent[5], 0); /* masked: lost */
	entry(5, 0, 0x30);
	CHECK_EQ(sent[5], 0);
	ioapic_pulse(a, 5);
	ioapic_pulse(a, 5);
	CHECK_EQ(sent[5], 2);
	CHECK(!(low(5) & IRR));
	ioapic_eoi(a, 0x30);
	CHECK_EQ(sent[5], 2);
	ioapic_pulse(a, IOAPIC_PINS);
	ioapic_pulse(a, ~0U);
	ioapic_free(a);
}

static void levels(void)
{
	up();
	entry(5, 0, 0x30 | LEVEL);
	entry(6, 0, 0x31 | LEVEL);
	ioapic_pulse(a, 5);
	CHECK(sent[5] == 1 && (low(5) & IRR));
	/* in service: however many, one more after its end */
	ioapic_pulse(a, 5);
	ioapic_pulse(a, 5);
	CHECK_EQ(sent[5], 1);
	ioapic_eoi(a, 0x31);
	CHECK_EQ(sent[5], 1);
	ioapic_eoi(a, 0x30);
	CHECK(sent[5] == 2 && (low(5) & IRR));
	put32(0x40, 0x30); /* the register says the same */
	CHECK(sent[5] == 2 && !(low(5) & IRR));
	ioapic_eoi(a, 0x30);
	CHECK_EQ(sent[5], 2);
	/* masked: it waits, and keeps its route, so that an end is heard */
	ioapic_pulse(a, 5);
	entry(5, 0, 0x30 | LEVEL | MASKED);
	CHECK(msg[5].there && by_call == (1 << 5 | 1 << 6));
	ioapic_pulse(a, 5);
	ioapic_eoi(a, 0x30);
	CHECK(sent[5] == 3 && !(low(5) & IRR));
	entry(5, 0, 0x30 | LEVEL);
	CHECK(sent[5] == 4 && (low(5) & IRR));
	/* an edge has nothing in service: older kernels end interrupts so */
	entry(5, 0, 0x30 | MASKED);
	CHECK(!(low(5) & IRR) && !msg[5].there && by_call == 1 << 6);
	entry(5, 0, 0x30 | LEVEL);
	CHECK(sent[5] == 4 && !(low(5) & IRR));
	ioapic_pulse(a, 5);
	CHECK_EQ(sent[5], 5);
	/* two inputs of one vector */
	entry(6, 0, 0x30 | LEVEL);
	ioapic_pulse(a, 6);
	ioapic_pulse(a, 6);
	ioapic_eoi(a, 0x30);
	CHECK(!(low(5) & IRR) && (low(6) & IRR) && sent[6] == 2);
	ioapic_free(a);
}

static void saved_and_loaded(void)
{
	static const struct {
		unsigned at;
		uint8_t v;
	} bad[] = { { 16 + 4, 0xf0 }, { 16 + 5 + 1, 0x40 }, { 16 + 5 + 4, 1 },
		{ 16 + 5 + 8 * IOAPIC_PINS + 3, 1 } };
	struct save_out o = { 0 };
	struct save_in in;

	up();
	set(0, 0x05000000);
	entry(5, 1, 0x30);
	entry(6, 2, 0x31 | LEVEL);
	entry(7, 3, 0x32 | LEVEL | MASKED);
	entry(8, 3, 0x33 | LEVEL);
	ioapic_pulse(a, 6);
	ioapic_pulse(a, 7);
	put32(0, 0x15);
	ioapic_save(a, &o);
	CHECK_EQ(o.err, 0);
	CHECK(low(6) & IRR); /* it goes on as if nothing had been */
	ioapic_free(a);

	up();
	in = (struct save_in){ .buf = o.buf, .len = o.len };
	CHECK_EQ(ioapic_load(a, &in), 0);
	CHECK(routes == 1 && by_call == (1 << 6 | 1 << 7 | 1 << 8));
	CHECK_EQ(get32(0), 0x15);
	CHECK_EQ(get(0), 0x05000000);
	CHECK(msg[5].there && msg[5].addr == 0xfee01000 && msg[5].data == 0x4030);
	/* what was in service comes once more; what waits does so still */
	CHECK(sent[6] == 1 && (low(6) & IRR) && sent[7] == 0 && sent[8] == 0);
	entry(7, 3, 0x32 | LEVEL);
	CHECK_EQ(sent[7], 1);
	ioapic_eoi(a, 0x31);
	CHECK(sent[6] == 1 && !(low(6) & IRR));
	ioapic_free(a);

	up();
	for (size_t n = 0; n < o.len; n++) {
		in = (struct save_in){ .buf = o.buf, .len = n };
		CHECK_EQ(ioapic_load(a, &in), -EINVAL);
	}
	/* an ID too large, two bits of an entry that no guest can set, an input that is none */
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t was = o.buf[bad[i].at];

		o.buf[bad[i].at] |= bad[i].v;
		in = (struct save_in){ .buf = o.buf, .len = o.len };
		CHECK_EQ(ioapic_load(a, &in), -EINVAL);
		o.buf[bad[i].at] = was;
	}
	CHECK_EQ(routes, 0);
	ioapic_free(a);
	save_out_free(&o);
}

static const struct test_case cases[] = {
	TEST(registers),
	TEST(messages),
	TEST(calls),
	TEST(edges),
	TEST(levels),
	TEST(saved_and_loaded),
};

TEST_MAIN(cases)
