// SPDX-License-Identifier: Apache-2.0
// virtio-console driven from the guest's side.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/console.h"
#include "fake/fake_guest.h"
#include "unit/test.h"
#include "util/bytes.h"

#define FEATURES (~(1ULL << 28))
#define TOTAL	 (8U << 20)

static struct fake_guest g;
static struct fake_dev d;
static struct loop *loop;
static struct vdev *v;
static uint8_t buf[256U << 10];

static int up(const struct console_port_cfg *ports, unsigned n)
{
	if (fake_guest_init(&g, 16U << 20) || loop_new("test", &loop, NULL) ||
		console_new(loop, &g.mem, ports, n, &v, NULL) || fake_dev_init(&d, &g, v))
		return -1;
	mem_freeze(&g.mem);
	d.pump = loop;
	return fake_dev_start(&d, FEATURES);
}

static void down(void)
{
	vdev_fini(v);
	v->cls->destroy(v);
	fake_dev_fini(&d);
	loop_free(loop);
	fake_guest_fini(&g);
}

static void settle(void)
{
	for (unsigned quiet = 0; quiet < 4;)
		quiet = loop_once(loop, 0) > 0 ? 0 : quiet + 1;
}

static uint8_t byte_at(uint64_t pos)
{
	return (uint8_t)(pos * 13 + (pos >> 9));
}

static void fill(uint8_t *p, size_t n, uint64_t pos)
{
	for (size_t i = 0; i < n; i++)
		p[i] = byte_at(pos + i);
}

static bool matches(const uint8_t *p, size_t n, uint64_t pos)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != byte_at(pos + i))
			return false;
	}
	return true;
}

/* Shows one receive buffer; returns where it is. */
static uint64_t post(unsigned q, uint32_t len)
{
	struct fake_seg s = { fake_alloc(&g, len, 8).v, len };

	if (fake_add(&d, q, NULL, 0, &s, 1) < 0)
		abort();
	(void)fake_kick(&d, q);
	return s.gpa;
}

static void output_in_order_to_a_slow_reader(void)
{
	struct console_port_cfg cfg = { .in_fd = -1 };
	uint64_t sent = 0, got = 0, gpa;
	unsigned inflight = 0;
	int p[2];

	CHECK(!pipe2(p, O_CLOEXEC));
	cfg.out_fd = p[1];
	CHECK_EQ(up(&cfg, 1), 0);
	CHECK_EQ(v->nqueues, 2);
	CHECK(!(v->acked & CONSOLE_F_MULTIPORT));
	(void)fcntl(p[0], F_SETFL, O_NONBLOCK);
	/* Chains larger than pipe and buffer together. */
	gpa = fake_alloc(&g, 300000, 8).v;
	while (got < TOTAL) {
		struct fake_seg s = { gpa, 300000 };
		uint16_t head;
		uint32_t len;
		ssize_t n;

		if (!inflight && sent < TOTAL) {
			fill(fake_ptr(&g, GPA(gpa), s.len), s.len, sent);
			CHECK(fake_add(&d, 1, &s, 1, NULL, 0) >= 0);
			(void)fake_kick(&d, 1);
			sent += s.len;
			inflight = 1;
		}
		settle();
		CHECK(console_of(v)->port[0].held.len <= LIM_CONSOLE_BUF);
		if (fake_reap(&d, 1, &head, &len) == 1)
			inflight = 0;
		n = read(p[0], buf, 50000);
		CHECK(n > 0 && matches(buf, (size_t)n, got));
		got += (uint64_t)n;
	}
	(void)close(p[0]);
	/* Nobody reads any more: the guest still gets its buffers back. */
	for (int i = 0; i < 10; i++) {
		struct fake_out out = { buf, 5000 };

		settle();
		while (inflight) {
			uint16_t head;
			uint32_t len;

			settle();
			inflight = fake_reap(&d, 1, &head, &len) != 1;
		}
		CHECK_EQ(fake_guest_xfer(&d, 1, &out, 1, NULL, 0), 0);
	}
	down();
}

/* Without a turn of the loop: all that the driver has shown, as far as the host takes it.
 */
static void drained(void)
{
	struct console_port_cfg cfg = { .in_fd = -1 };
	const uint32_t len = 50000;
	uint64_t got = 0, gpa;
	int p[2];

	CHECK(!pipe2(p, O_CLOEXEC));
	cfg.out_fd = p[1];
	CHECK_EQ(up(&cfg, 1), 0);
	settle();
	CHECK(console_drain(v));
	CHECK_EQ(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
	gpa = fake_alloc(&g, 5 * len, 8).v;
	for (unsigned i = 0; i < 5; i++) {
		struct fake_seg s = { gpa + (uint64_t)i * len, len };

		fill(fake_ptr(&g, GPA(s.gpa), len), len, (uint64_t)i * len);
		CHECK(fake_add(&d, 1, &s, 1, NULL, 0) >= 0);
	}
	(void)fake_kick(&d, 1); /* of which the loop does not know yet */
	/* more than pipe and buffer have room for */
	CHECK(!console_drain(v));
	CHECK(console_of(v)->port[0].held.len);
	for (bool done = false; got < 5 * len;) {
		ssize_t n = read(p[0], buf, sizeof(buf));

		CHECK(n > 0 && matches(buf, (size_t)n, got));
		got += (uint64_t)n;
		CHECK(!done || got == 5 * len);
		done = console_drain(v);
	}
	CHECK(console_drain(v));
	/* nobody reads any more: nothing to wait for */
	for (unsigned i = 0; i < 5; i++) {
		struct fake_seg s = { gpa, len };

		CHECK(fake_add(&d, 1, &s, 1, NULL, 0) >= 0);
	}
	(void)fake_kick(&d, 1);
	CHECK(!console_drain(v));
	(void)close(p[0]);
	CHECK(console_drain(v));
	down();
}

/* Chains as large as a driver may make them, into a file that takes everything: the loop gets its
 * turn after some, and all of them come back. */
static void large_chains_take_turns(void)
{
	struct console_port_cfg cfg = { .in_fd = -1 };
	const uint32_t len = 4U << 20;
	unsigned done = 0, turns = 0;
	uint64_t gpa;

	cfg.out_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	CHECK_EQ(up(&cfg, 1), 0);
	settle();
	gpa = fake_alloc(&g, len, 8).v;
	for (unsigned i = 0; i < 16; i++) {
		struct fake_seg s = { gpa, len };

		CHECK(fake_add(&d, 1, &s, 1, NULL, 0) >= 0);
	}
	(void)fake_kick(&d, 1);
	while (done < 16) {
		unsigned before = done;
		uint16_t head;
		uint32_t n;

		CHECK(turns++ < 1000);
		(void)loop_once(loop, 0);
		while (fake_reap(&d, 1, &head, &n) == 1)
			done++;
		CHECK(done - before <= 1);
	}
	down();
}

static void input_waits_for_buffers(void)
{
	struct console_port_cfg cfg = { .out_fd = -1 };
	uint64_t gpa;
	uint16_t head;
	uint32_t len;
	int p[2];

	CHECK(!pipe2(p, O_CLOEXEC));
	cfg.in_fd = p[0];
	CHECK_EQ(up(&cfg, 1), 0);
	CHECK_EQ(write(p[1], "hello world", 11), 11);
	settle();
	CHECK_EQ(loop_once(loop, 0), 0);
	gpa = post(0, 5);
	settle();
	CHECK_EQ(fake_reap(&d, 0, &head, &len), 1);
	CHECK_EQ(len, 5);
	CHECK(!memcmp(fake_ptr(&g, GPA(gpa), 5), "hello", 5));
	gpa = post(0, 100);
	settle();
	CHECK_EQ(fake_reap(&d, 0, &head, &len), 1);
	CHECK_EQ(len, 6);
	CHECK(!memcmp(fake_ptr(&g, GPA(gpa), 6), " world", 6));
	/* While paused nothing is read. */
	(void)post(0, 100);
	settle();
	vdev_pause(v);
	CHECK_EQ(write(p[1], "x", 1), 1);
	CHECK_EQ(loop_once(loop, 0), 0);
	CHECK_EQ(fake_reap(&d, 0, &head, &len), 0);
	vdev_resume(v);
	settle();
	CHECK_EQ(fake_reap(&d, 0, &head, &len), 1);
	CHECK_EQ(len, 1);
	(void)close(p[1]);
	settle();
	CHECK_EQ(loop_once(loop, 0), 0);
	down();
}

static void file_input_is_read_to_its_end(void)
{
	struct console_port_cfg cfg = { .out_fd = -1 };
	FILE *t = tmpfile();
	uint64_t pos = 0;

	CHECK(t);
	fill(buf, 200000, 0);
	CHECK_EQ(fwrite(buf, 1, 200000, t), 200000);
	rewind(t);
	cfg.in_fd = dup(fileno(t));
	CHECK_EQ(up(&cfg, 1), 0);
	while (pos < 200000) {
		uint64_t gpa = post(0, 4096);
		uint16_t head;
		uint32_t len;

		settle();
		CHECK_EQ(fake_reap(&d, 0, &head, &len), 1);
		CHECK(len > 0 && matches(fake_ptr(&g, GPA(gpa), len), len, pos));
		pos += len;
	}
	settle();
	CHECK_EQ(loop_once(loop, 0), 0);
	(void)fclose(t);
	down();
}

static char sunk[4096];
static unsigned nsunk;

static void sink(void *arg, const char *bytes, unsigned n)
{
	CHECK(arg == sunk && nsunk + n <= sizeof(sunk));
	memcpy(sunk + nsunk, bytes, n);
	nsunk += n;
}

static void sink_gets_everything(void)
{
	struct console_port_cfg cfg = { .in_fd = -1, .out_fd = -1 };
	struct fake_out out[2];

	CHECK_EQ(up(&cfg, 1), 0);
	console_set_sink(v, sink, sunk);
	fill(buf, 3000, 0);
	out[0] = (struct fake_out){ buf, 1000 };
	out[1] = (struct fake_out){ buf + 1000, 2000 };
	CHECK_EQ(fake_guest_xfer(&d, 1, out, 2, NULL, 0), 0);
	CHECK_EQ(nsunk, 3000);
	CHECK(matches((uint8_t *)sunk, 3000, 0));
	down();
}

static void window_size(void)
{
	struct console_port_cfg cfg = { .in_fd = -1, .out_fd = -1, .cols = 80, .rows = 25 };
	uint8_t c[12];

	CHECK_EQ(up(&cfg, 1), 0);
	fake_cfg_read(&d, 0, c, sizeof(c));
	CHECK_EQ(get_le16(c), 80);
	CHECK_EQ(get_le16(c + 2), 25);
	CHECK_EQ(get_le32(c + 4), 1);
	console_resize(v, 0, 132, 43);
	console_resize(v, 1, 1, 1);
	fake_poll(&d);
	CHECK(d.cfg_event);
	fake_cfg_read(&d, 0, c, 4);
	CHECK_EQ(get_le16(c), 132);
	CHECK_EQ(get_le16(c + 2), 43);
	down();
}

/* The driver's side of the control queues. */
static void ctl_send(uint32_t id, uint16_t event, uint16_t value)
{
	struct fake_out out = { buf, 8 };

	put_le32(buf, id);
	put_le16(buf + 4, event);
	put_le16(buf + 6, value);
	CHECK_EQ(fake_guest_xfer(&d, 3, &out, 1, NULL, 0), 0);
}

/* The next message must be this one. */
static bool ctl_expect(uint64_t *ring, uint32_t id, uint16_t event, uint16_t value,
	const void *more, uint32_t nmore)
{
	const uint8_t *m;
	uint16_t head;
	uint32_t len;

	settle();
	if (fake_reap(&d, 2, &head, &len) != 1 || len != 8 + nmore)
		return false;
	m = fake_ptr(&g, GPA(*ring), 128);
	*ring += 128;
	return get_le32(m) == id && get_le16(m + 4) == event && get_le16(m + 6) == value &&
		!memcmp(m + 8, more, nmore);
}

static void multiport(void)
{
	struct console_port_cfg cfg[3] = {
		{ .in_fd = -1, .out_fd = -1, .console = true, .cols = 100, .rows = 50 },
		{ .in_fd = -1, .out_fd = -1, .name = "org.one" },
		{ .in_fd = -1, .out_fd = -1, .name = "two" },
	};
	uint8_t size[4], c[4];
	uint64_t ring, gpa;
	uint16_t head;
	uint32_t len;
	int sv[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	cfg[1].in_fd = cfg[1].out_fd = sv[0];
	CHECK_EQ(up(cfg, 3), 0);
	CHECK_EQ(v->nqueues, 8);
	CHECK(v->acked & CONSOLE_F_MULTIPORT);
	fake_cfg_read(&d, 4, c, 4);
	CHECK_EQ(get_le32(c), 3);
	ring = fake_alloc(&g, 128 * 20, 128).v;
	for (int i = 0; i < 20; i++) {
		struct fake_seg s = { ring + 128U * (unsigned)i, 128 };

		CHECK(fake_add(&d, 2, NULL, 0, &s, 1) >= 0);
	}
	(void)fake_kick(&d, 2);
	ctl_send(0, 0, 1);
	for (uint32_t i = 0; i < 3; i++)
		CHECK(ctl_expect(&ring, i, 1, 1, "", 0));
	ctl_send(0, 3, 1);
	put_le16(size, 100);
	put_le16(size + 2, 50);
	CHECK(ctl_expect(&ring, 0, 4, 1, "", 0));
	CHECK(ctl_expect(&ring, 0, 6, 1, "", 0));
	CHECK(ctl_expect(&ring, 0, 5, 0, size, 4));
	ctl_send(1, 3, 1);
	CHECK(ctl_expect(&ring, 1, 7, 1, "org.one", 7));
	CHECK(ctl_expect(&ring, 1, 6, 1, "", 0));
	/* Nonsense is ignored. */
	ctl_send(3, 3, 1);
	ctl_send(UINT32_MAX, 6, 1);
	ctl_send(1, 99, 1);
	/* Input comes once the guest has opened the port, on its own queue. */
	CHECK_EQ(write(sv[1], "early", 5), 5);
	gpa = post(4, 64);
	settle();
	CHECK_EQ(fake_reap(&d, 4, &head, &len), 0);
	ctl_send(1, 6, 1);
	settle();
	CHECK_EQ(fake_reap(&d, 4, &head, &len), 1);
	CHECK_EQ(len, 5);
	CHECK(!memcmp(fake_ptr(&g, GPA(gpa), 5), "early", 5));
	CHECK_EQ(fake_guest_xfer(&d, 5, &(struct fake_out){ "reply", 5 }, 1, NULL, 0), 0);
	CHECK_EQ(read(sv[1], buf, 10), 5);
	console_resize(v, 0, 1, 2);
	put_le16(size, 1);
	put_le16(size + 2, 2);
	CHECK(ctl_expect(&ring, 0, 5, 0, size, 4));
	/* The host's end of file is told. */
	(void)post(4, 64);
	(void)close(sv[1]);
	CHECK(ctl_expect(&ring, 1, 6, 0, "", 0));
	down();
}

static void too_many_ports(void)
{
	struct console_port_cfg cfg[LIM_CONSOLE_PORTS + 1];
	struct error e = { 0 };
	struct vdev *none;

	for (unsigned i = 0; i <= LIM_CONSOLE_PORTS; i++)
		cfg[i] = (struct console_port_cfg){ .in_fd = -1, .out_fd = -1 };
	CHECK_EQ(loop_new("test", &loop, NULL), 0);
	CHECK_EQ(console_new(loop, &g.mem, cfg, LIM_CONSOLE_PORTS + 1, &none, &e), -EINVAL);
	CHECK(strstr(e.msg, "ports"));
	loop_free(loop);
}

/* A chain that is half out, and bytes in the buffer. */
static void saved_with_output_in_flight(void)
{
	struct console_port_cfg cfg = { .in_fd = -1 };
	struct save_out out = { 0 };
	uint64_t got = 0, gpa;
	struct save_in in;
	struct fake_seg s;
	int p[2];

	CHECK(!pipe2(p, O_CLOEXEC));
	cfg.out_fd = dup(p[1]);
	CHECK_EQ(up(&cfg, 1), 0);
	gpa = fake_alloc(&g, 300000, 8).v;
	s = (struct fake_seg){ gpa, 300000 };
	fill(fake_ptr(&g, GPA(gpa), s.len), s.len, 0);
	CHECK(fake_add(&d, 1, &s, 1, NULL, 0) >= 0);
	(void)fake_kick(&d, 1);
	settle();
	CHECK(console_of(v)->port[0].held.len && console_of(v)->port[0].tx_skip);
	vdev_pause(v);
	CHECK_EQ(vdev_save(v, &out), 0);
	vdev_fini(v);
	v->cls->destroy(v);
	cfg.out_fd = p[1];
	CHECK_EQ(console_new(loop, &g.mem, &cfg, 1, &v, NULL), 0);
	v->irq = &d.irq;
	d.v = d.mmio.v = v;
	in = (struct save_in){ .buf = out.buf, .len = out.len };
	CHECK_EQ(vdev_load(v, &in), 0);
	vdev_resume(v);
	while (got < s.len) {
		ssize_t n;

		settle();
		n = read(p[0], buf, sizeof(buf));
		CHECK(n > 0 && matches(buf, (size_t)n, got));
		got += (uint64_t)n;
	}
	CHECK_EQ(fake_wait(&d, 1, FAKE_TIMEOUT_MS), 0);
	save_out_free(&out);
	(void)close(p[0]);
	down();
}

static const struct test_case cases[] = {
	TEST(output_in_order_to_a_slow_reader),
	TEST(input_waits_for_buffers),
	TEST(drained),
	TEST(large_chains_take_turns),
	TEST(file_input_is_read_to_its_end),
	TEST(sink_gets_everything),
	TEST(window_size),
	TEST(multiport),
	TEST(too_many_ports),
	TEST(saved_with_output_in_flight),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(120);
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
