// SPDX-License-Identifier: Apache-2.0
/* A serial port from both of its ends: a driver at the registers, a host at the fds. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/serial.h"
#include "tests/unit/test.h"
#include "util/util.h"

/* registers */
enum {
	DATA,
	IER,
	IIR,
	LCR,
	MCR,
	LSR,
	MSR,
	SCR
};
#define FCR IIR

static struct loop *loop;
static struct serial *s;
static unsigned irqs; /* atomic */
static int host;      /* the other end of a socket */

static void count_irq(void *arg)
{
	(void)arg;
	__atomic_add_fetch(&irqs, 1, __ATOMIC_RELAXED);
}

static int make(int in, int out)
{
	const struct serial_cfg c = { .in_fd = in, .out_fd = out, .irq = count_irq };

	irqs = 0;
	return loop_new("io", &loop, NULL) || serial_new(loop, &c, &s, NULL) ? -1 : 0;
}

static int begin(void)
{
	int sv[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv))
		return -1;
	host = sv[1];
	r = make(sv[0], sv[0]);
	serial_resume(s);
	return r;
}

static void done(void)
{
	serial_free(s);
	loop_free(loop);
	if (host >= 0)
		(void)close(host);
	host = -1;
	s = NULL;
}

static uint8_t in(unsigned reg)
{
	uint8_t v;

	serial_read(s, reg, &v, 1);
	return v;
}

static void out(unsigned reg, uint8_t v)
{
	serial_write(s, reg, &v, 1);
}

/* Until nothing happens any more. */
static void settle(void)
{
	while (loop_once(loop, 0) > 0)
		;
}

static unsigned host_reads(uint8_t *b, unsigned max)
{
	ssize_t r = read(host, b, max);

	return r > 0 ? (unsigned)r : 0;
}

/* What Linux looks at to find a 16550A. */
static void a_driver_finds_it(void)
{
	CHECK_EQ(begin(), 0);
	CHECK_EQ(in(LSR), 0x60);
	out(IER, 0);
	CHECK_EQ(in(IER), 0);
	out(IER, 0xff);
	CHECK_EQ(in(IER), 0x0f);
	CHECK_EQ(in(IIR), 0x02); /* of the empty transmitter */
	CHECK_EQ(irqs, 1);
	out(IER, 0);
	out(SCR, 0x5a);
	CHECK_EQ(in(SCR), 0x5a);
	out(MCR, 0x1a); /* loopback, OUT2 and RTS: seen as DCD and CTS */
	CHECK_EQ(in(MSR)&0xf0, 0x90);
	out(MCR, 0x15); /* DTR and OUT1: DSR and RI */
	CHECK_EQ(in(MSR)&0xf0, 0x60);
	out(MCR, 0xe0);
	CHECK_EQ(in(MCR), 0);
	CHECK_EQ(in(MSR), 0xb0); /* somebody is there */
	CHECK_EQ(in(IIR), 0x01);
	out(FCR, 0x01);
	CHECK_EQ(in(IIR), 0xc1); /* it has FIFOs */
	out(FCR, 0);
	out(LCR, 0x83);
	CHECK_EQ(in(DATA), 1); /* the divisor: 115200 */
	out(DATA, 12);
	out(IER, 34);
	CHECK_EQ(in(DATA), 12);
	CHECK_EQ(in(IER), 34);
	out(LCR, 3);
	CHECK_EQ(in(IER), 0);
	CHECK_EQ(in(LCR), 3);
	out(LSR, 0xff);
	out(MSR, 0xff);
	CHECK_EQ(in(LSR), 0x60);
	CHECK_EQ(in(MSR), 0xb0);
	CHECK_EQ(irqs, 1);
	done();
}

static void output(void)
{
	uint8_t got[64];

	CHECK_EQ(begin(), 0);
	for (const char *p = "hello"; *p; p++)
		out(DATA, (uint8_t)*p);
	settle();
	CHECK_EQ(host_reads(got, sizeof(got)), 5);
	CHECK(!memcmp(got, "hello", 5));
	CHECK_EQ(irqs, 0); /* nobody asked */
	done();
}

/* Linux's test of the interrupt: asked for with an empty transmitter it comes at once, and again
 * when it is asked for anew. */
static void transmitter_interrupt(void)
{
	CHECK_EQ(begin(), 0);
	for (unsigned i = 1; i <= 3; i++) {
		out(IER, 2);
		CHECK_EQ(irqs, i);
		CHECK_EQ(in(IIR), 0x02);
		CHECK_EQ(in(IIR), 0x01); /* reading it has settled it */
		out(IER, 0);
	}
	out(IER, 2);
	CHECK_EQ(in(IIR), 0x02);
	CHECK_EQ(irqs, 4);
	/* sixteen bytes make one event, not one each */
	for (unsigned i = 0; i < 16; i++)
		out(DATA, 'x');
	CHECK_EQ(irqs, 5);
	CHECK_EQ(in(IIR), 0x02);
	CHECK_EQ(in(IIR), 0x01);
	out(DATA, 'y');
	CHECK_EQ(irqs, 6);
	done();
}

static void input(void)
{
	CHECK_EQ(begin(), 0);
	out(MCR, 8);
	out(IER, 1);
	CHECK_EQ(write(host, "abc", 3), 3);
	settle();
	CHECK_EQ(irqs, 1);
	CHECK_EQ(in(IIR), 0x04);
	CHECK_EQ(in(LSR), 0x61);
	CHECK_EQ(in(DATA), 'a');
	CHECK_EQ(in(DATA), 'b');
	CHECK_EQ(in(IIR), 0x04);
	CHECK_EQ(in(DATA), 'c');
	CHECK_EQ(in(IIR), 0x01);
	CHECK_EQ(in(LSR), 0x60);
	CHECK_EQ(in(DATA), 0);
	/* more of it interrupts again, read or not */
	CHECK_EQ(write(host, "d", 1), 1);
	settle();
	CHECK_EQ(write(host, "e", 1), 1);
	settle();
	CHECK_EQ(irqs, 3);
	/* before output */
	out(IER, 3);
	CHECK_EQ(in(IIR), 0x04);
	CHECK(in(DATA) == 'd' && in(DATA) == 'e');
	CHECK_EQ(in(IIR), 0x02);
	done();
}

/* A driver empties the receiver when it begins: what the host has given by then must not be lost.
 */
static void input_waits_for_the_driver(void)
{
	CHECK_EQ(begin(), 0);
	CHECK_EQ(write(host, "early", 5), 5);
	settle();
	CHECK_EQ(in(LSR), 0x60);
	/* somebody who looks whether this is a serial port */
	out(IER, 0x0f);
	settle();
	CHECK_EQ(in(LSR), 0x60);
	out(IER, 0);
	out(FCR, 0x07);
	(void)in(DATA);
	out(IER, 1);
	settle();
	CHECK_EQ(in(LSR), 0x60);
	out(MCR, 8);
	settle();
	for (const char *p = "early"; *p; p++)
		CHECK_EQ(in(DATA), *p);
	/* and stops when the driver does */
	out(IER, 0);
	settle();
	CHECK_EQ(write(host, "late", 4), 4);
	settle();
	CHECK_EQ(in(LSR), 0x60);
	out(MCR, 8);
	out(IER, 1);
	settle();
	CHECK_EQ(in(DATA), 'l');
	out(FCR, 0x03); /* what is here goes */
	CHECK_EQ(in(LSR), 0x60);
	done();
}

/* More than fits: the rest stays with the host, byte for byte. */
static void input_in_excess(void)
{
	uint8_t b[5 * LIM_SERIAL_RX];
	unsigned got = 0;

	for (unsigned i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 7);
	CHECK_EQ(begin(), 0);
	out(MCR, 8);
	out(IER, 1);
	CHECK_EQ(write(host, b, sizeof(b)), sizeof(b));
	settle();
	CHECK_EQ(loop_once(loop, 0), 0); /* quiet, though the host has more */
	while (in(LSR)&1) {
		CHECK_EQ(in(DATA), (uint8_t)(got * 7));
		got++;
		settle();
	}
	CHECK_EQ(got, sizeof(b));
	done();
}

/* A host that does not read: the transmitter is busy when so much waits, and free when some is
 * gone. */
static void output_in_excess(void)
{
	static uint8_t b[LIM_SERIAL_TX];
	unsigned sent = 0, got = 0, n;

	CHECK_EQ(begin(), 0);
	while (in(LSR)&0x20) {
		out(DATA, (uint8_t)(sent++ * 3));
		if (sent % 4096 == 0)
			settle();
		CHECK(sent < 64U << 20);
	}
	settle();
	CHECK(!(in(LSR)&0x60));
	CHECK(sent >= LIM_SERIAL_TX);
	out(DATA, 0xee); /* lost, as with the chip */
	CHECK(!serial_drain(s));
	out(IER, 2);
	CHECK_EQ(irqs, 0);
	CHECK_EQ(loop_once(loop, 0), 0);
	while ((n = host_reads(b, sizeof(b)))) {
		for (unsigned i = 0; i < n; i++)
			CHECK_EQ(b[i], (uint8_t)(got++ * 3));
		settle();
	}
	CHECK_EQ(got, sent);
	CHECK_EQ(irqs, 1);
	CHECK_EQ(in(IIR), 0x02);
	CHECK(serial_drain(s));
	done();
}

static void loopback(void)
{
	uint8_t b;

	CHECK_EQ(begin(), 0);
	out(MCR, 0x10);
	for (unsigned i = 0; i < LIM_SERIAL_RX; i++)
		out(DATA, (uint8_t)i);
	CHECK_EQ(in(LSR), 0x61);
	out(DATA, 0xff);
	CHECK_EQ(in(LSR), 0x63); /* overrun, told once */
	CHECK_EQ(in(LSR), 0x61);
	for (unsigned i = 0; i < LIM_SERIAL_RX; i++)
		CHECK_EQ(in(DATA), (uint8_t)i);
	settle();
	CHECK_EQ(host_reads(&b, 1), 0);
	/* what the host says meanwhile waits there */
	out(MCR, 0x18);
	out(IER, 1);
	CHECK_EQ(write(host, "h", 1), 1);
	settle();
	CHECK_EQ(in(LSR)&1, 0);
	out(MCR, 8);
	settle();
	CHECK_EQ(in(DATA), 'h');
	done();
}

/* A VM that was paused may be stopped: what it wrote last goes out all the same. */
static void paused_and_drained(void)
{
	uint8_t b = 0;

	CHECK_EQ(begin(), 0);
	serial_pause(s);
	out(DATA, 'z');
	settle();
	CHECK_EQ(host_reads(&b, 1), 0);
	CHECK(serial_drain(s));
	CHECK_EQ(host_reads(&b, 1), 1);
	CHECK_EQ(b, 'z');
	done();
}

static void hang_up(void)
{
	CHECK_EQ(begin(), 0);
	out(MCR, 8);
	out(IER, 1);
	(void)close(host);
	host = -1;
	settle();
	CHECK_EQ(loop_once(loop, 0), 0); /* no circle of events */
	for (unsigned i = 0; i < 2 * LIM_SERIAL_TX; i++) {
		out(DATA, 'x');
		if (i % 1000 == 0)
			settle();
	}
	settle();
	CHECK_EQ(in(LSR), 0x60); /* what is written is swallowed, and nobody waits */
	CHECK(serial_drain(s));
	done();
}

static void without_fds(void)
{
	host = -1;
	CHECK_EQ(make(-1, -1), 0);
	serial_resume(s);
	out(IER, 3);
	for (unsigned i = 0; i < 2 * LIM_SERIAL_TX; i++)
		out(DATA, 'x');
	settle();
	CHECK_EQ(in(LSR), 0x60);
	CHECK(serial_drain(s));
	done();
}

/* Files, which no loop can watch. */
static void files(void)
{
	FILE *from = tmpfile(), *to = tmpfile();
	char b[8] = "";

	CHECK(from && to && fputs("in", from) >= 0 && !fflush(from));
	rewind(from);
	host = -1;
	CHECK_EQ(make(dup(fileno(from)), dup(fileno(to))), 0);
	serial_resume(s);
	out(MCR, 8);
	out(IER, 1);
	for (const char *p = "out"; *p; p++)
		out(DATA, (uint8_t)*p);
	settle();
	CHECK(in(DATA) == 'i' && in(DATA) == 'n');
	CHECK_EQ(in(LSR), 0x60);
	CHECK_EQ(pread(fileno(to), b, sizeof(b) - 1, 0), 3);
	CHECK_STR(b, "out");
	done();
	(void)fclose(from);
	(void)fclose(to);
}

static void widths(void)
{
	uint8_t v[4] = { 0, 0, 0, 0 };

	CHECK_EQ(begin(), 0);
	serial_read(s, LSR, v, 2);
	CHECK(v[0] == 0xff && v[1] == 0xff);
	v[0] = v[1] = 'x';
	serial_write(s, DATA, v, 2);
	settle();
	CHECK_EQ(host_reads(v, sizeof(v)), 0);
	done();
}

static void paused_and_loaded(void)
{
	struct save_out o = { 0 };
	struct save_in i;
	uint8_t got[8];

	CHECK_EQ(begin(), 0);
	out(MCR, 8);
	out(IER, 1);
	out(LCR, 0x1b);
	out(SCR, 77);
	CHECK_EQ(write(host, "in", 2), 2);
	settle();
	serial_pause(s);
	CHECK_EQ(write(host, "later", 5), 5);
	out(DATA, 'o');
	out(DATA, 'k');
	settle();
	CHECK_EQ(host_reads(got, sizeof(got)), 0); /* quiet */
	serial_save(s, &o);
	CHECK_EQ(o.err, 0);
	done();

	CHECK_EQ(begin(), 0);
	serial_pause(s);
	i = (struct save_in){ .buf = o.buf, .len = o.len };
	CHECK_EQ(serial_load(s, &i), 0);
	serial_resume(s);
	settle();
	CHECK_EQ(host_reads(got, sizeof(got)), 2);
	CHECK(!memcmp(got, "ok", 2));
	CHECK(in(IER) == 1 && in(LCR) == 0x1b && in(SCR) == 77);
	CHECK(in(DATA) == 'i' && in(DATA) == 'n');
	CHECK_EQ(in(LSR), 0x60);

	/* what nobody has saved: cut short, registers that cannot be, more than the rings hold */
	serial_pause(s);
	for (size_t n = 0; n < o.len; n++) {
		i = (struct save_in){ .buf = o.buf, .len = n };
		CHECK(serial_load(s, &i) < 0);
	}
	o.buf[16] = 0xf0;
	i = (struct save_in){ .buf = o.buf, .len = o.len };
	CHECK_EQ(serial_load(s, &i), -EINVAL);
	o.buf[16] = 1;
	o.buf[16 + 10 + 3] = 0x7f; /* of the length of what waits */
	i = (struct save_in){ .buf = o.buf, .len = o.len };
	CHECK(serial_load(s, &i) < 0);
	save_out_free(&o);
	done();
}

#define STORM 20000U

/* A processor that writes and reads with the loop on a thread of its own. */
static void *storm(void *arg)
{
	unsigned *got = arg;

	for (unsigned n = 0; n < STORM;) {
		if (in(LSR)&0x20) {
			out(DATA, (uint8_t)n);
			n++;
		}
		while (in(LSR)&1) {
			if (in(DATA) != (uint8_t)*got)
				*got += STORM;
			++*got;
		}
	}
	return NULL;
}

static void resume_it(void *arg)
{
	serial_resume(arg);
}

static void with_threads(void)
{
	unsigned got = 0, sent = 0, back = 0;
	pthread_t t;
	int sv[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	host = sv[1];
	CHECK_EQ(fcntl(host, F_SETFL, O_NONBLOCK), 0);
	CHECK_EQ(make(sv[0], sv[0]), 0);
	CHECK_EQ(loop_thread_start(loop, NULL), 0);
	loop_call(loop, resume_it, s);
	out(MCR, 8);
	out(IER, 3);
	CHECK_EQ(pthread_create(&t, NULL, storm, &got), 0);
	while (back < STORM) {
		uint8_t b[512];
		ssize_t n = read(host, b, sizeof(b));

		for (ssize_t k = 0; k < n; k++)
			CHECK_EQ(b[k], (uint8_t)back++);
		b[0] = (uint8_t)sent;
		if (sent < STORM / 2 && write(host, b, 1) == 1)
			sent++;
	}
	(void)pthread_join(t, NULL);
	/* what the processor has not read yet comes as well */
	for (unsigned i = 0; i < 20000 && got < sent; i++) {
		while (in(LSR)&1) {
			CHECK_EQ(in(DATA), (uint8_t)got);
			got++;
		}
		(void)usleep(1000);
	}
	CHECK_EQ(got, sent);
	loop_thread_join(loop);
	CHECK(irqs);
	done();
}

static const struct test_case cases[] = {
	TEST(a_driver_finds_it),
	TEST(output),
	TEST(transmitter_interrupt),
	TEST(input),
	TEST(input_waits_for_the_driver),
	TEST(input_in_excess),
	TEST(output_in_excess),
	TEST(loopback),
	TEST(paused_and_drained),
	TEST(hang_up),
	TEST(without_fds),
	TEST(files),
	TEST(widths),
	TEST(paused_and_loaded),
	TEST(with_threads),
};

TEST_MAIN(cases)
