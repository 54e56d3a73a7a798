// SPDX-License-Identifier: Apache-2.0
// vsock: connections whose host sockets are always full get the guest's buffers in turns.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/vsock.h"
#include "fake/fake_vsock.h"
#include "unit/test.h"

#define PORT  5000
#define MANY  16
#define BUFS  2		 /* few: a round of the loop must not empty a socket */
#define TOTAL (8U << 20) /* bytes of all connections */
#define ROOM  (1U << 30) /* credit that no test uses up */

static struct fv f;
static uint8_t buf[64U << 10];

/* What the packets were like, in the order in which they came. */
static struct {
	unsigned n; /* connections that are always full */
	uint64_t got[MANY], sent[MANY];
	uint64_t ahead; /* how far one ever was before another */
	uint64_t packets;
	bool started;
} w;

static bool look(struct fv *v, const struct fv_pkt *p, const uint8_t *data)
{
	unsigned i = p->src_port - FV_PORT0;
	uint64_t least = UINT64_MAX;

	(void)v;
	(void)data;
	if (!w.started || p->op != OP_RW || i >= w.n)
		return false;
	w.got[i] += p->len;
	w.packets++;
	for (unsigned k = 0; k < w.n; k++)
		least = MIN(least, w.got[k]);
	w.ahead = MAX(w.ahead, w.got[i] - least);
	return false;
}

static int dial(unsigned i, uint32_t window)
{
	int sv[2];

	f.conn[i].alloc = window;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) ||
		vsock_connect(f.v, PORT + i, sv[0], sv[0], NULL, 0, 0))
		abort();
	(void)fcntl(sv[1], F_SETFL, O_NONBLOCK);
	fv_settle(&f);
	if (!f.conn[i].open)
		abort();
	return sv[1];
}

/* As much as the socket takes. */
static void fill(int fd, uint64_t *sent)
{
	ssize_t r;

	do {
		fv_fill(buf, sizeof(buf), *sent, FV_TO_GUEST);
		r = write(fd, buf, sizeof(buf));
		if (r > 0)
			*sent += (uint64_t)r;
	} while (r > 0);
	CHECK_EQ(errno, EAGAIN);
}

static void up(uint32_t rx_buf)
{
	memset(&w, 0, sizeof(w));
	f.rx_buf = rx_buf;
	f.raw = look;
	CHECK_EQ(fv_up(&f, false, BUFS), 0);
}

/* All stand in line before the guest has buffers again: from there on it is counted. */
static void begin(unsigned n, const int *fd)
{
	f.no_refill = true;
	for (unsigned i = 0; i < n; i++)
		fill(fd[i], &w.sent[i]);
	fv_settle(&f);
	for (unsigned i = 0; i < n; i++) {
		fill(fd[i], &w.sent[i]);
		w.got[i] = 0;
	}
	w.n = n;
	w.started = true;
	f.no_refill = false;
	fv_post(&f, BUFS);
}

/* @n streams until TOTAL bytes have come; none may have waited for more than one turn. */
static void always_full(unsigned n, uint32_t rx_buf)
{
	uint64_t total = 0;
	int fd[MANY];

	up(rx_buf);
	for (unsigned i = 0; i < n; i++)
		fd[i] = dial(i, ROOM);
	begin(n, fd);
	while (total < TOTAL && !test_failed_) {
		CHECK(fv_step(&f));
		total = 0;
		for (unsigned i = 0; i < n; i++) {
			fill(fd[i], &w.sent[i]);
			CHECK(w.sent[i] - f.conn[i].rx_bytes >= 2 * sizeof(buf));
			CHECK(f.conn[i].open && !f.conn[i].bad);
			total += w.got[i];
		}
	}
	CHECK(!f.bad);
	if (w.ahead > VSOCK_TURN)
		printf("# %u streams: one was %llu bytes ahead\n", n, (unsigned long long)w.ahead);
	CHECK(w.ahead <= VSOCK_TURN);
	/* and packets are as large as buffers are, whatever the end of a turn */
	CHECK(w.packets <= total / rx_buf * 9 / 8);
	/* nor is the turn so short that it is one packet of many */
	CHECK(w.ahead > VSOCK_TURN / 2);
	for (unsigned i = 0; i < n; i++)
		(void)close(fd[i]);
	fv_down(&f);
}

static void two_streams(void)
{
	always_full(2, FV_RX_MAX);
}

static void three_streams(void)
{
	always_full(3, FV_RX_MAX);
}

static void many_streams(void)
{
	always_full(MANY, FV_RX_MAX);
}

/* Those of a stock driver: a turn is many packets. */
static void small_buffers(void)
{
	always_full(2, FV_RX_BUF);
	always_full(3, FV_RX_BUF);
}

/* Who has little to say is not kept waiting by those who have much: at most a turn of each. */
static void a_byte_among_floods(void)
{
	unsigned n = 4, quiet = n;
	uint64_t before, asked = 0;
	int fd[MANY];

	up(FV_RX_MAX);
	for (unsigned i = 0; i <= n; i++)
		fd[i] = dial(i, ROOM);
	w.n = n;
	w.started = true;
	for (unsigned round = 0; round < 100 && !test_failed_; round++) {
		for (unsigned i = 0; i < n; i++)
			fill(fd[i], &w.sent[i]);
		before = 0;
		for (unsigned i = 0; i < n; i++)
			before += w.got[i];
		fv_fill(buf, 1, asked++, FV_TO_GUEST);
		CHECK_EQ(write(fd[quiet], buf, 1), 1);
		while (f.conn[quiet].rx_bytes < asked && !test_failed_) {
			uint64_t now = 0;

			CHECK(fv_step(&f));
			for (unsigned i = 0; i < n; i++) {
				fill(fd[i], &w.sent[i]);
				now += w.got[i];
			}
			/* what was in the guest's buffers and the turn that had begun may go first
			 */
			CHECK(now - before <= (uint64_t)(n + 1) * VSOCK_TURN + BUFS * FV_RX_MAX);
		}
	}
	CHECK(!f.conn[quiet].bad && !f.bad);
	for (unsigned i = 0; i <= n; i++)
		(void)close(fd[i]);
	fv_down(&f);
}

/* One without credit takes no turns: the other two share, and it comes in when it can. */
static void one_without_credit(void)
{
	struct fv_conn *c = &f.conn[2];
	uint64_t at;
	int fd[3];

	up(FV_RX_MAX);
	for (unsigned i = 0; i < 3; i++)
		fd[i] = dial(i, i == 2 ? 10000 : ROOM);
	c->no_read = true;
	fill(fd[2], &w.sent[2]);
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 10000);
	begin(2, fd);
	while (w.got[0] < TOTAL / 4 && !test_failed_) {
		fill(fd[0], &w.sent[0]);
		fill(fd[1], &w.sent[1]);
		CHECK(fv_step(&f));
	}
	CHECK(w.ahead <= VSOCK_TURN);
	CHECK_EQ(c->rx_bytes, 10000);
	c->fwd_cnt = c->rx_cnt;
	c->alloc = ROOM;
	CHECK(fv_op(&f, c, OP_CREDIT, 0));
	at = w.got[0] + w.got[1];
	while (c->rx_bytes < 10000 + VSOCK_TURN && !test_failed_) {
		for (unsigned i = 0; i < 3; i++)
			fill(fd[i], &w.sent[i]);
		CHECK(fv_step(&f));
		CHECK(w.got[0] + w.got[1] - at <= 4ULL * VSOCK_TURN + BUFS * FV_RX_MAX);
	}
	for (unsigned i = 0; i < 3; i++)
		(void)close(fd[i]);
	CHECK(!f.bad && !c->bad);
	fv_down(&f);
}

static const struct test_case cases[] = {
	TEST(two_streams),
	TEST(three_streams),
	TEST(many_streams),
	TEST(small_buffers),
	TEST(a_byte_among_floods),
	TEST(one_without_credit),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
