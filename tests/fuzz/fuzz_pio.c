// SPDX-License-Identifier: Apache-2.0
/*
 * A hostile guest at the port bus, and a restless host behind it: serial port, clock, the registers
 * that reset. The input is a script of what both do.
 *
 * What must hold whatever it says: nothing is written past a buffer, no access goes unanswered, a
 * loop that has nothing to do comes to rest, and what was saved is loaded.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arch/arch.h"
#include "core/bus.h"
#include "dev/rtc.h"
#include "dev/serial.h"
#include "fuzz/fuzz.h"

#define ROUNDS 64 /* of the loop, after which it is at rest */

static const struct bus_ops serial_ops = { .read = serial_read, .write = serial_write };
static const struct bus_ops rtc_ops = { .read = rtc_read, .write = rtc_write };

struct machine {
	struct loop *loop;
	struct serial *s;
	struct rtc *r;
	struct bus bus;
	int host; /* or -1 */
};

static void nothing(void *arg)
{
	(void)arg;
}

static const struct arch_reset reset = { .reset = nothing };

static void make(struct machine *m, bool same)
{
	struct serial_cfg c = { .irq = nothing };
	int sv[2];

	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv));
	*m = (struct machine){ .host = sv[1] };
	c.in_fd = sv[0];
	c.out_fd = same ? sv[0] : dup(sv[0]);
	FUZZ_CHECK(!loop_new("io", &m->loop, NULL) && !serial_new(m->loop, &c, &m->s, NULL));
	FUZZ_CHECK(!rtc_new(&m->r));
	FUZZ_CHECK(
		!bus_add(&m->bus, arch_layout.uarts[0].port, SERIAL_PORTS_LEN, &serial_ops, m->s));
	FUZZ_CHECK(!bus_add(&m->bus, arch_layout.rtc.port, RTC_PORTS_LEN, &rtc_ops, m->r));
	FUZZ_CHECK(!arch_add_legacy(&m->bus, true, &reset));
	bus_freeze(&m->bus);
}

static void destroy(struct machine *m)
{
	serial_free(m->s);
	loop_free(m->loop);
	rtc_free(m->r);
	if (m->host >= 0)
		(void)close(m->host);
}

static void settle(struct machine *m)
{
	unsigned n = 0;

	while (loop_once(m->loop, 0) > 0)
		FUZZ_CHECK(n++ < ROUNDS);
}

/* What one has saved the other goes on with; else what the script says is no state. */
static void save_and_load(struct machine *m, struct fuzz_in *in, bool same)
{
	struct save_out o = { 0 };
	struct save_in s;
	struct machine twin;
	uint8_t spoil = fuzz_u8(in), what = fuzz_u8(in);

	serial_pause(m->s);
	serial_save(m->s, &o);
	rtc_save(m->r, &o);
	FUZZ_CHECK(!o.err);
	if (spoil)
		o.buf[(spoil * 7U) % o.len] ^= what;
	make(&twin, same);
	s = (struct save_in){ .buf = o.buf, .len = o.len };
	if ((serial_load(twin.s, &s) || rtc_load(twin.r, &s)) && !(spoil && what))
		FUZZ_CHECK(!"what was saved is loaded");
	save_out_free(&o);
	destroy(m);
	*m = twin;
	serial_resume(m->s);
}

static void access_port(struct machine *m, struct fuzz_in *in)
{
	static const uint16_t base[] = { 0x3f8, 0x70, 0x64, 0xcf9, 0x600 };
	uint8_t where = fuzz_u8(in), how = fuzz_u8(in), v[8];
	uint64_t port = base[where % 5] + (where / 5) % 10;
	unsigned len = 1U << (how & 3), times = how >> 4 == 15 ? 16384 : 1U << (how >> 5);

	fuzz_bytes(in, v, sizeof(v));
	/* a string instruction is as many accesses */
	for (unsigned i = 0; i < times; i++) {
		if (how & 4)
			(void)bus_read(&m->bus, port, v, len);
		else
			(void)bus_write(&m->bus, port, v, len);
	}
}

static void host_does(struct machine *m, struct fuzz_in *in)
{
	static uint8_t b[4096];
	uint16_t n = fuzz_u16(in);

	if (m->host < 0)
		return;
	memset(b, (uint8_t)n, sizeof(b));
	if (n & 1)
		(void)!write(m->host, b, n % sizeof(b));
	else
		(void)!read(m->host, b, n % sizeof(b));
	if (n == 0xfffe) {
		(void)close(m->host);
		m->host = -1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	bool same = fuzz_u8(&in) & 1;
	struct machine m;

	make(&m, same);
	serial_resume(m.s);
	for (unsigned i = 0; in.left && i < 4096; i++) {
		switch (fuzz_u8(&in) & 7) {
		case 0:
			host_does(&m, &in);
			break;
		case 1:
			settle(&m);
			break;
		case 2:
			save_and_load(&m, &in, same);
			break;
		case 3:
			serial_pause(m.s);
			settle(&m);
			serial_resume(m.s);
			break;
		default:
			access_port(&m, &in);
			break;
		}
	}
	settle(&m);
	(void)serial_drain(m.s);
	destroy(&m);
	return 0;
}
