// SPDX-License-Identifier: Apache-2.0
// vsock streams driven from both sides: data, credit, half-close, knocks, limits.

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/vsock.h"
#include "fake/fake_vsock.h"
#include "unit/test.h"

#define PORT   5000
#define STREAM (64ULL << 20)

static struct fv f;
static uint8_t buf[256U << 10];

/* Connects a stream over a socket pair; returns our end. */
static int dial(uint32_t id)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) ||
		vsock_connect(f.v, PORT, sv[0], sv[0], NULL, 0, id))
		return -1;
	(void)fcntl(sv[1], F_SETFL, O_NONBLOCK);
	fv_settle(&f);
	return sv[1];
}

/* Reads what is there; checks it against the pattern from *pos on. -1: wrong bytes or error, 0: end
 * of file, else 1. */
static int host_read(int fd, uint64_t *pos)
{
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n < 0)
		return errno == EAGAIN ? 1 : -1;
	if (!fv_check(buf, (size_t)n, *pos, FV_TO_HOST))
		return -1;
	*pos += (uint64_t)n;
	return n > 0;
}

static bool host_write(int fd, uint64_t *pos, uint64_t end)
{
	size_t n = MIN(sizeof(buf), end - *pos);
	ssize_t r;

	fv_fill(buf, n, *pos, FV_TO_GUEST);
	r = write(fd, buf, n);
	if (r > 0)
		*pos += (uint64_t)r;
	return r > 0 || (r < 0 && errno == EAGAIN);
}

static void pump_both(int rd, int wr, struct fv_conn *c, uint64_t total)
{
	uint64_t sent = 0, got = 0;

	while (got < total || c->rx_bytes < total) {
		if (sent < total)
			CHECK(host_write(wr, &sent, total));
		if (c->tx_bytes < total)
			(void)fv_write(&f, c, (unsigned)MIN(FV_TX_BUF, total - c->tx_bytes));
		(void)fv_step(&f);
		CHECK(host_read(rd, &got) == 1);
		CHECK(c->open && !c->bad && !f.bad);
	}
	CHECK_EQ(c->rx_bytes, total);
	CHECK_EQ(got, total);
	CHECK_EQ(vsock_pending(f.v), 0);
}

static void stream_over_socket(void)
{
	int fd;

	CHECK_EQ(fv_up(&f, false, 128), 0);
	fd = dial(0);
	CHECK(fd >= 0 && f.conn[0].open);
	pump_both(fd, fd, &f.conn[0], STREAM);
	CHECK(!test_failed_);
	(void)close(fd);
	fv_down(&f);
}

static void stream_over_pipes(void)
{
	int in[2], out[2];

	CHECK_EQ(fv_up(&f, false, 200), 0);
	CHECK(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC));
	CHECK_EQ(vsock_connect(f.v, PORT, in[0], out[1], NULL, 0, 0), 0);
	(void)fcntl(in[1], F_SETFL, O_NONBLOCK);
	(void)fcntl(out[0], F_SETFL, O_NONBLOCK);
	fv_settle(&f);
	CHECK(f.conn[0].open);
	pump_both(out[0], in[1], &f.conn[0], STREAM);
	CHECK(!test_failed_);
	(void)close(in[1]);
	(void)close(out[0]);
	fv_down(&f);
}

static void header_goes_first(void)
{
	struct fv_conn *c = &f.conn[0];
	int sv[2];

	CHECK_EQ(fv_up(&f, false, 64), 0);
	c->skip = 200;
	c->alloc = 64; /* the header alone needs several windows */
	memset(buf, 'h', 200);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	CHECK_EQ(write(sv[1], "", 0), 0);
	CHECK_EQ(vsock_connect(f.v, PORT, sv[0], sv[0], buf, 200, 0), 0);
	CHECK_EQ(vsock_connect(f.v, PORT, -1, -1, buf, VSOCK_HDR_MAX + 1, 0), -EMSGSIZE);
	fv_fill(buf, 5000, 0, FV_TO_GUEST);
	CHECK_EQ(write(sv[1], buf, 5000), 5000);
	for (int i = 0; i < 2000 && c->rx_bytes < 5200; i++) {
		if (!fv_step(&f) && c->open)
			(void)fv_op(&f, c, OP_CREDIT, 0);
	}
	CHECK_EQ(c->rx_bytes, 5200);
	CHECK(!c->bad);
	for (int i = 0; i < 200; i++)
		CHECK_EQ(c->head[i], 'h');
	(void)close(sv[1]);
	fv_down(&f);
}

static void host_half_closes(void)
{
	struct fv_conn *c = &f.conn[0];
	uint64_t pos = 0;
	int fd;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	fd = dial(0);
	fv_fill(buf, 1000, 0, FV_TO_GUEST);
	CHECK_EQ(write(fd, buf, 1000), 1000);
	CHECK_EQ(shutdown(fd, SHUT_WR), 0);
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 1000);
	CHECK_EQ(c->shut, VSOCK_SHUT_SEND);
	/* The other direction lives on. */
	CHECK_EQ(fv_write(&f, c, 3000), 3000);
	fv_settle(&f);
	CHECK_EQ(host_read(fd, &pos), 1);
	CHECK_EQ(pos, 3000);
	/* The guest closes: what it waits for is the RST. */
	CHECK(fv_op(&f, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	fv_settle(&f);
	CHECK(c->reset);
	CHECK_EQ(host_read(fd, &pos), 0);
	CHECK_EQ(vsock_of(f.v)->nconns, 0);
	(void)close(fd);
	fv_down(&f);
}

static void guest_half_closes(void)
{
	struct fv_conn *c = &f.conn[0];
	uint64_t pos = 0, sent = 0;
	int fd;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	fd = dial(0);
	CHECK_EQ(fv_write(&f, c, 2000), 2000);
	CHECK(fv_op(&f, c, OP_SHUTDOWN, VSOCK_SHUT_SEND));
	fv_settle(&f);
	CHECK_EQ(host_read(fd, &pos), 1);
	CHECK_EQ(host_read(fd, &pos), 0);
	CHECK_EQ(pos, 2000);
	CHECK(host_write(fd, &sent, 700));
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 700);
	CHECK(c->open);
	/* The guest stops receiving too: we cannot write any more. */
	CHECK(fv_op(&f, c, OP_SHUTDOWN, VSOCK_SHUT_RCV));
	fv_settle(&f);
	CHECK(c->reset);
	CHECK(write(fd, buf, 1) < 0 && errno == EPIPE);
	(void)close(fd);
	fv_down(&f);
}

static void reader_goes_away(void)
{
	struct fv_conn *c = &f.conn[0];
	int in[2], out[2];
	uint64_t sent = 0;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	CHECK(!pipe(in) && !pipe(out));
	CHECK_EQ(vsock_connect(f.v, PORT, in[0], out[1], NULL, 0, 0), 0);
	fv_settle(&f);
	(void)close(out[0]);
	CHECK_EQ(fv_write(&f, c, 100), 100);
	fv_settle(&f);
	CHECK_EQ(c->shut, VSOCK_SHUT_RCV);
	/* What the guest had under way is swallowed, its credit flows. */
	for (int i = 0; i < 40; i++) {
		CHECK(fv_write(&f, c, 32768) > 0);
		fv_settle(&f);
	}
	CHECK(c->open);
	CHECK(host_write(in[1], &sent, 500));
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 500);
	(void)close(in[1]);
	fv_settle(&f);
	CHECK_EQ(c->shut, VSOCK_SHUT_BOTH);
	CHECK(fv_op(&f, c, OP_RST, 0));
	fv_settle(&f);
	CHECK_EQ(vsock_of(f.v)->nconns, 0);
	fv_down(&f);
}

/* Of a stream that only comes out of the guest both sides are gone once it is written, at once or
 * after a wait. */
static void output_ends(void)
{
	struct fv_conn *c = &f.conn[0];
	uint64_t got = 0;
	int out[2];

	for (int held = 0; held < 2; held++) {
		CHECK_EQ(fv_up(&f, false, 64), 0);
		CHECK(!pipe(out));
		(void)fcntl(out[0], F_SETFL, O_NONBLOCK);
		CHECK_EQ(vsock_connect(f.v, PORT, -1, out[1], NULL, 0, 0), 0);
		fv_settle(&f);
		for (int i = 0; i < (held ? 6 : 1); i++) {
			CHECK_EQ(fv_write(&f, c, 32768), 32768);
			fv_settle(&f);
		}
		CHECK(fv_op(&f, c, OP_SHUTDOWN, VSOCK_SHUT_SEND));
		fv_settle(&f);
		CHECK_EQ(vsock_of(f.v)->nconns, held);
		CHECK_EQ(c->open, held);
		for (int i = 0; i < 10; i++) {
			CHECK(host_read(out[0], &got) >= 0);
			fv_settle(&f);
		}
		CHECK_EQ(got, held ? 6 * 32768 : 32768);
		CHECK_EQ(vsock_of(f.v)->nconns, 0);
		CHECK(!c->open);
		got = 0;
		(void)close(out[0]);
		fv_down(&f);
	}
}

/* One reader stalls: memory is bounded, the loop does not spin, the others go on; then nothing is
 * lost. */
static void reader_stalls(void)
{
	struct fv_conn *a = &f.conn[0], *b = &f.conn[1];
	uint64_t got = 0, other = 0, sent = 0;
	int out[2], fd;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	CHECK(!pipe(out));
	CHECK_EQ(vsock_connect(f.v, PORT, -1, out[1], NULL, 0, 0), 0);
	(void)fcntl(out[0], F_SETFL, O_NONBLOCK);
	fd = dial(0);
	CHECK(a->open && b->open);
	while (fv_credit(a)) {
		CHECK(fv_write(&f, a, FV_TX_BUF) > 0);
		fv_settle(&f);
	}
	CHECK(vsock_pending(f.v) > 0 && vsock_pending(f.v) <= LIM_VSOCK_CONN_BUF);
	CHECK_EQ(loop_once(f.loop, 0), 0);
	while (b->rx_bytes < 1U << 20 || other < 1U << 20) {
		(void)host_write(fd, &sent, 1U << 20);
		if (b->tx_bytes < 1U << 20)
			(void)fv_write(&f, b, 16384);
		(void)fv_step(&f);
		CHECK_EQ(host_read(fd, &other), 1);
	}
	CHECK(fv_op(&f, a, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	fv_settle(&f);
	CHECK(a->reset);
	while (got < a->tx_bytes) {
		CHECK_EQ(host_read(out[0], &got), 1);
		fv_settle(&f);
	}
	CHECK_EQ(host_read(out[0], &got), 0);
	CHECK_EQ(vsock_pending(f.v), 0);
	CHECK_EQ(vsock_of(f.v)->nconns, 1);
	(void)close(out[0]);
	(void)close(fd);
	fv_down(&f);
}

/* The guest does not read, or offers no buffers: host bytes stay in the host's socket. */
static void guest_stalls(void)
{
	struct fv_conn *c = &f.conn[0];
	uint64_t sent = 0, more;
	int fd;

	CHECK_EQ(fv_up(&f, false, 8), 0);
	c->alloc = 20000;
	c->no_read = true;
	fd = dial(0);
	for (int i = 0; i < 50; i++) {
		(void)host_write(fd, &sent, 1U << 20);
		fv_settle(&f);
	}
	CHECK_EQ(c->rx_bytes, 20000);
	CHECK_EQ(loop_once(f.loop, 0), 0);
	c->no_read = false;
	c->fwd_cnt = c->rx_cnt;
	f.no_refill = true;
	CHECK(fv_op(&f, c, OP_CREDIT, 0));
	fv_settle(&f);
	more = c->rx_bytes;
	CHECK(more > 20000 && f.nrx == 0);
	CHECK_EQ(loop_once(f.loop, 0), 0);
	f.no_refill = false;
	fv_post(&f, 8);
	while (sent < 1U << 20 || c->rx_bytes < sent) {
		(void)host_write(fd, &sent, 1U << 20);
		(void)fv_step(&f);
		CHECK(!c->bad && c->open);
	}
	(void)close(fd);
	fv_down(&f);
}

static bool closed(int fd)
{
	char ch;

	/* With bytes of ours unread there, a socket says it by a reset. */
	return read(fd, &ch, 1) == 0 || errno == ECONNRESET;
}

static void parked_until_the_knock(void)
{
	struct fv_pkt knock = { .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = 7,
		.dst_port = FV_KNOCK,
		.type = 1,
		.op = OP_REQUEST };
	int a, b;

	CHECK_EQ(fv_up(&f, true, 64), 0);
	a = dial(0);
	b = dial(0);
	CHECK_EQ(f.ops[OP_REQUEST], 0);
	knock.dst_port = FV_KNOCK + 1;
	CHECK(fv_send(&f, &knock, NULL, 0));
	fv_settle(&f);
	CHECK_EQ(f.stray_rst, 1);
	CHECK_EQ(f.ops[OP_REQUEST], 0);
	knock.dst_port = FV_KNOCK;
	CHECK(fv_send(&f, &knock, NULL, 0));
	fv_settle(&f);
	CHECK_EQ(f.stray_rst, 2);
	CHECK_EQ(f.last_rst.dst_port, 7);
	CHECK_EQ(f.last_rst.src_port, FV_KNOCK);
	CHECK_EQ(f.ops[OP_REQUEST], 2);
	CHECK(f.conn[0].open && f.conn[1].open);
	/* From now on at once, and a refusal ends it. */
	f.accept = false;
	(void)close(a);
	a = dial(0);
	CHECK_EQ(f.ops[OP_REQUEST], 3);
	CHECK(closed(a));
	/* A reset of the driver: open streams end, new ones wait for the next knock. */
	fake_dev_reset(&f.d);
	CHECK(closed(b));
	CHECK_EQ(vsock_of(f.v)->nconns, 0);
	(void)close(a);
	(void)close(b);
	fv_down(&f);
}

static void thousand_connections(void)
{
	static int fd[LIM_VSOCK_CONNS + 1];
	struct vsock *vs;
	uint64_t pos;

	CHECK_EQ(fv_up(&f, false, 128), 0);
	vs = vsock_of(f.v);
	for (unsigned i = 0; i < LIM_VSOCK_CONNS; i++) {
		int sv[2];

		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
		fd[i] = sv[1];
		(void)fcntl(fd[i], F_SETFL, O_NONBLOCK);
		CHECK_EQ(vsock_connect(f.v, PORT + i, sv[0], sv[0], NULL, 0, 0), 0);
	}
	CHECK_EQ(vsock_connect(f.v, PORT, dup(0), -1, NULL, 0, 0), -EMFILE);
	fv_settle(&f);
	CHECK_EQ(f.ops[OP_REQUEST], LIM_VSOCK_CONNS);
	CHECK(vs->reserved <= LIM_VSOCK_BUF);
	for (unsigned i = 0; i < LIM_VSOCK_CONNS; i++) {
		struct fv_conn *c = &f.conn[i];
		uint64_t sent = 0;

		CHECK(c->open && c->peer_alloc >= VSOCK_ALLOC_MIN);
		CHECK(host_write(fd[i], &sent, 3000));
		while (!fv_write(&f, c, 3000))
			(void)fv_step(&f);
	}
	fv_settle(&f);
	for (unsigned i = 0; i < LIM_VSOCK_CONNS; i++) {
		pos = 0;
		CHECK_EQ(host_read(fd[i], &pos), 1);
		CHECK_EQ(pos, 3000);
		CHECK_EQ(f.conn[i].rx_bytes, 3000);
		CHECK(!f.conn[i].bad);
		while (!fv_op(&f, &f.conn[i], OP_SHUTDOWN, VSOCK_SHUT_BOTH))
			(void)fv_step(&f);
	}
	fv_settle(&f);
	for (unsigned i = 0; i < LIM_VSOCK_CONNS; i++) {
		CHECK(f.conn[i].reset && closed(fd[i]));
		(void)close(fd[i]);
	}
	CHECK_EQ(vs->nconns, 0);
	CHECK_EQ(vs->reserved, 0);
	fv_down(&f);
}

/* Files are never polled: they are read in turns, and their end is an end. */
static void files_as_both_ends(void)
{
	struct fv_conn *c = &f.conn[0], *null = &f.conn[1];
	FILE *in = tmpfile(), *out = tmpfile();

	CHECK(in && out);
	fv_fill(buf, 200000, 0, FV_TO_GUEST);
	CHECK_EQ(fwrite(buf, 1, 200000, in), 200000);
	rewind(in);
	CHECK_EQ(fv_up(&f, false, 32), 0);
	CHECK_EQ(vsock_connect(f.v, PORT, dup(fileno(in)), dup(fileno(out)), NULL, 0, 0), 0);
	CHECK_EQ(
		vsock_connect(f.v, PORT, open("/dev/null", O_RDWR | O_CLOEXEC), -1, NULL, 0, 0), 0);
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 200000);
	CHECK_EQ(c->shut, VSOCK_SHUT_SEND);
	CHECK_EQ(null->rx_bytes, 0);
	CHECK_EQ(null->shut, VSOCK_SHUT_BOTH);
	CHECK(!c->bad);
	while (c->tx_bytes < 150000) {
		(void)fv_write(&f, c, 20000);
		(void)fv_step(&f);
	}
	fv_settle(&f);
	rewind(out);
	CHECK_EQ(fread(buf, 1, sizeof(buf), out), c->tx_bytes);
	CHECK(fv_check(buf, c->tx_bytes, 0, FV_TO_HOST));
	CHECK_EQ(vsock_pending(f.v), 0);
	(void)fclose(in);
	(void)fclose(out);
	fv_down(&f);
}

/* On done_fd: when the last byte is with the host's reader, and not before. */
static void end_is_reported(void)
{
	struct fv_conn *c = &f.conn[0];
	struct vsock_done done;
	uint64_t got = 0;
	int out[2], told[2];

	CHECK(!pipe2(out, O_NONBLOCK) && !pipe2(told, O_NONBLOCK));
	CHECK_EQ(fv_up(&f, false, 64), 0);
	vsock_of(f.v)->cfg.done_fd = told[1];
	CHECK_EQ(vsock_connect(f.v, PORT, -1, out[1], NULL, 0, 77), 0);
	fv_settle(&f);
	while (fv_credit(c)) {
		CHECK(fv_write(&f, c, FV_TX_BUF) > 0);
		fv_settle(&f);
	}
	CHECK(fv_op(&f, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	fv_settle(&f);
	CHECK(c->reset && vsock_pending(f.v));
	CHECK(read(told[0], &done, sizeof(done)) < 0 && errno == EAGAIN);
	while (got < c->tx_bytes) {
		CHECK_EQ(host_read(out[0], &got), 1);
		fv_settle(&f);
	}
	CHECK_EQ(read(told[0], &done, sizeof(done)), sizeof(done));
	CHECK_EQ(done.id, 77);
	CHECK_EQ(done.error, 0);
	CHECK(read(told[0], &done, sizeof(done)) < 0 && errno == EAGAIN);
	/* A reader that goes away is an end too, and a different one. */
	(void)close(out[0]);
	CHECK(!pipe2(out, O_NONBLOCK));
	CHECK_EQ(vsock_connect(f.v, PORT, -1, out[1], NULL, 0, 78), 0);
	fv_settle(&f);
	(void)close(out[0]);
	CHECK_EQ(fv_write(&f, &f.conn[1], 10), 10);
	fv_settle(&f);
	CHECK_EQ(read(told[0], &done, sizeof(done)), sizeof(done));
	CHECK_EQ(done.id, 78);
	CHECK_EQ(done.error, -EPIPE);
	fv_down(&f);
	(void)close(told[0]);
	(void)close(told[1]);
}

static void *dialer(void *arg)
{
	for (unsigned i = 0; i < 100; i++) {
		if (vsock_connect(f.v, PORT, -1, -1, "x", 1, 0))
			return arg;
	}
	return NULL;
}

static void connects_from_many_threads(void)
{
	pthread_t t[4];
	void *failed;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	for (unsigned i = 0; i < 400; i++)
		f.conn[i].skip = 1;
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		CHECK_EQ(pthread_create(&t[i], NULL, dialer, f.v), 0);
	while (f.ops[OP_REQUEST] < 400)
		(void)fv_step(&f);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		CHECK_EQ(pthread_join(t[i], &failed), 0);
		CHECK(!failed);
	}
	fv_settle(&f);
	for (unsigned i = 0; i < 400; i++) {
		CHECK(f.conn[i].open && f.conn[i].rx_bytes == 1);
		/* Nobody reads, which the guest is told; nobody writes, which is no end of file. */
		CHECK_EQ(f.conn[i].shut, VSOCK_SHUT_RCV);
	}
	fv_down(&f);
}

/* A guest that ends both directions at once has written to the end all the same. One that goes
 * without a word has not. */
static void end_of_both_is_reported(void)
{
	struct vsock_done done;
	uint64_t got;
	int out[2], told[2];

	CHECK(!pipe2(out, O_NONBLOCK) && !pipe2(told, O_NONBLOCK));
	CHECK_EQ(fv_up(&f, false, 64), 0);
	vsock_of(f.v)->cfg.done_fd = told[1];
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(vsock_connect(f.v, PORT, -1, dup(out[1]), NULL, 0, 77 + i), 0);
		fv_settle(&f);
		CHECK_EQ(fv_write(&f, &f.conn[i], 10), 10);
		fv_settle(&f);
		got = 0;
		CHECK_EQ(host_read(out[0], &got), 1);
		CHECK_EQ(got, 10);
		CHECK(i ? fv_op(&f, &f.conn[i], OP_RST, 0)
			: fv_op(&f, &f.conn[i], OP_SHUTDOWN, VSOCK_SHUT_BOTH));
		fv_settle(&f);
		CHECK_EQ(read(told[0], &done, sizeof(done)), sizeof(done));
		CHECK_EQ(done.id, 77 + i);
		CHECK_EQ(done.error, i ? -EPIPE : 0);
		CHECK(read(told[0], &done, sizeof(done)) < 0 && errno == EAGAIN);
	}
	fv_down(&f);
	(void)close(out[0]);
	(void)close(out[1]);
	(void)close(told[0]);
	(void)close(told[1]);
}

static const struct test_case cases[] = {
	TEST(stream_over_socket),
	TEST(stream_over_pipes),
	TEST(header_goes_first),
	TEST(host_half_closes),
	TEST(guest_half_closes),
	TEST(reader_goes_away),
	TEST(output_ends),
	TEST(reader_stalls),
	TEST(guest_stalls),
	TEST(parked_until_the_knock),
	TEST(thousand_connections),
	TEST(files_as_both_ends),
	TEST(end_is_reported),
	TEST(end_of_both_is_reported),
	TEST(connects_from_many_threads),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
