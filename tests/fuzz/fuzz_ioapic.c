// SPDX-License-Identifier: Apache-2.0
/*
 * A hostile guest at the I/O APIC, and a device behind it. The input is a script of register
 * accesses, pulses, ends of interrupts, saves and loads.
 *
 * What must hold whatever it says: a message is one that a processor can take, none is sent without
 * a route, an input has one interrupt in service at a time, and what was saved is loaded.
 */
#include "dev/ioapic.h"
#include "fuzz/fuzz.h"
#include "util/bytes.h"

#define IRR    0x4000U
#define LEVEL  0x8000U
#define MASKED 0x10000U

static struct ioapic_msg msg[IOAPIC_PINS];
static uint32_t by_call;
static unsigned sent;

static void route(void *arg, const struct ioapic_msg m[IOAPIC_PINS], uint32_t calls)
{
	(void)arg;
	FUZZ_CHECK(!(calls >> IOAPIC_PINS));
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		unsigned mode = m[i].data >> 8 & 7;

		if (!m[i].there)
			continue;
		FUZZ_CHECK((m[i].addr & ~0xff004ULL) == 0xfee00000);
		FUZZ_CHECK((m[i].data & ~0xc7ffU) == 0 && (m[i].data & 0x4000));
		FUZZ_CHECK(mode != 3 && mode != 6 && mode != 7);
		FUZZ_CHECK(mode > 1 || (uint8_t)m[i].data >= 16);
		FUZZ_CHECK(!(m[i].data & LEVEL) || (calls >> i & 1));
	}
	memcpy(msg, m, sizeof(msg));
	by_call = calls;
}

static void send(void *arg, unsigned pin)
{
	(void)arg;
	FUZZ_CHECK(pin < IOAPIC_PINS && msg[pin].there);
	sent++;
}

static const struct ioapic_ops ops = { .route = route, .send = send };

static struct ioapic *make(void)
{
	struct ioapic *a;

	memset(msg, 0, sizeof(msg));
	by_call = 0;
	FUZZ_CHECK(!ioapic_new(&ops, NULL, &a));
	return a;
}

/* The low half of an entry, by the registers; the index is put back. */
static uint32_t low(struct ioapic *a, unsigned pin)
{
	uint8_t was, at = (uint8_t)(0x10 + 2 * pin), v[4];

	ioapic_read(a, 0, &was, 1);
	ioapic_write(a, 0, &at, 1);
	ioapic_read(a, 0x10, v, 4);
	ioapic_write(a, 0, &was, 1);
	return get_le32(v);
}

static void look(struct ioapic *a)
{
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		uint32_t e = low(a, i);
		bool level = (e & LEVEL) && (e >> 8 & 7) <= 1;

		FUZZ_CHECK((by_call >> i & 1) == level);
		FUZZ_CHECK(!(e & IRR) || level);
		FUZZ_CHECK(!msg[i].there || level || !(e & MASKED));
		FUZZ_CHECK(!msg[i].there || (uint8_t)msg[i].data == (uint8_t)e);
	}
}

static void pulse(struct ioapic *a, unsigned pin)
{
	uint32_t e = pin < IOAPIC_PINS ? low(a, pin) : 0;
	unsigned before = sent;

	ioapic_pulse(a, pin);
	FUZZ_CHECK(sent - before <= 1);
	if (e & (IRR | MASKED))
		FUZZ_CHECK(sent == before);
}

/* What one has saved the other goes on with; else what the script says is no state. */
static struct ioapic *save_and_load(struct ioapic *a, struct fuzz_in *in)
{
	uint8_t spoil = fuzz_u8(in), what = fuzz_u8(in);
	struct save_out o = { 0 };
	struct ioapic *twin;
	struct save_in s;
	int r;

	ioapic_save(a, &o);
	FUZZ_CHECK(!o.err);
	if (spoil)
		o.buf[spoil % o.len] ^= what;
	ioapic_free(a);
	twin = make();
	s = (struct save_in){ .buf = o.buf, .len = o.len };
	r = ioapic_load(twin, &s);
	FUZZ_CHECK(!r || (spoil && what));
	save_out_free(&o);
	return twin;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint16_t regs[] = { 0, 0x10, 0x40, 0x0ff8 };
	struct fuzz_in in = { data, len };
	struct ioapic *a = make();
	uint8_t v[8];

	for (unsigned i = 0; in.left && i < 4096; i++) {
		uint8_t op = fuzz_u8(&in), reg = fuzz_u8(&in);
		unsigned width = 1U << (op >> 6);

		switch (op & 7) {
		case 0:
			ioapic_read(a, regs[reg & 3] + (reg >> 5), v, width);
			break;
		case 1:
			fuzz_bytes(&in, v, sizeof(v));
			ioapic_write(a, regs[reg & 3] + (reg >> 5), v, width);
			break;
		case 2:
		case 3: /* a whole half of an entry */
			reg = (uint8_t)(0x10 + reg % 50);
			ioapic_write(a, 0, &reg, 1);
			fuzz_bytes(&in, v, 4);
			ioapic_write(a, 0x10, v, 4);
			break;
		case 4:
			ioapic_eoi(a, reg);
			break;
		case 5:
			a = save_and_load(a, &in);
			break;
		default:
			pulse(a, reg % (IOAPIC_PINS + 2));
			break;
		}
		look(a);
	}
	ioapic_free(a);
	return 0;
}
