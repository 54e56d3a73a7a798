// SPDX-License-Identifier: Apache-2.0
// vsock and a guest that breaks the rules: forged packets, floods, bad buffers.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/vsock.h"
#include "fake/fake_vsock.h"
#include "unit/test.h"

#define PORT 5000

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

static bool closed(int fd)
{
	char ch;

	/* With bytes of ours unread there, a socket says it by a reset. */
	return read(fd, &ch, 1) == 0 || errno == ECONNRESET;
}

/* Every packet here is one that a correct guest does not send. The device must go on. */
static void forged_packets(void)
{
	struct fv_pkt good = { .src_cid = FV_CID,
		.dst_cid = 2,
		.type = 1,
		.op = OP_RW,
		.buf_alloc = 1U << 18 },
		      p;
	struct fv_conn *c = &f.conn[0];
	uint64_t pos = 0, sent = 0;
	int fd, other;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	fd = dial(0);
	other = dial(0);
	good.src_port = c->gport;
	good.dst_port = c->hport;
	memset(buf, 'x', 1000);
	for (int i = 0; i < 7; i++) {
		p = good;
		p.len = 10;
		p.src_cid += i == 0;
		p.dst_cid = i == 1 ? 1 : i == 2 ? FV_CID : 2;
		p.type = i == 3 ? 2 : i == 4 ? 3 : 1;
		p.len = i == 5 ? 1001 : i == 6 ? UINT32_MAX : 10;
		CHECK(fv_send(&f, &p, buf, 1000));
		fv_settle(&f);
		CHECK(c->open && f.stray_rst == 0);
		CHECK_EQ(host_read(fd, &pos), 1);
		CHECK_EQ(pos, 0);
	}
	/* Trailing bytes beyond len do not count. */
	fv_fill(buf, 1000, 0, FV_TO_HOST);
	p = good;
	p.len = 10;
	CHECK(fv_send(&f, &p, buf, 1000));
	fv_settle(&f);
	CHECK_EQ(host_read(fd, &pos), 1);
	CHECK_EQ(pos, 10);
	/* Consumption of bytes that were never sent is no credit. */
	p.op = OP_CREDIT;
	p.len = 0;
	p.fwd_cnt = 5000000;
	CHECK(fv_send(&f, &p, NULL, 0));
	fv_settle(&f);
	CHECK(host_write(fd, &sent, 100));
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 0);
	/* No such connection, whatever the operation: RST, but not for an RST. */
	for (uint16_t op = 0; op < 12; op++) {
		p = good;
		p.src_port++;
		p.op = op;
		CHECK(fv_send(&f, &p, NULL, 0));
	}
	fv_settle(&f);
	CHECK_EQ(f.stray_rst, 11);
	/* An operation that an open connection does not have. */
	p = good;
	p.op = 77;
	CHECK(fv_send(&f, &p, NULL, 0));
	fv_settle(&f);
	CHECK(c->reset && closed(fd));
	CHECK(f.conn[1].open && !vdev_is_broken(f.v));
	(void)close(fd);
	(void)close(other);
	fv_down(&f);
}

static void beyond_the_credit(void)
{
	struct fv_conn *c = &f.conn[0];
	struct fv_pkt p;
	uint64_t got = 0;
	int out[2];

	CHECK_EQ(fv_up(&f, false, 64), 0);
	CHECK(!pipe2(out, O_NONBLOCK));
	CHECK_EQ(vsock_connect(f.v, PORT, -1, out[1], NULL, 0, 0), 0);
	fv_settle(&f);
	while (fv_credit(c)) {
		CHECK(fv_write(&f, c, FV_TX_BUF) > 0);
		fv_settle(&f);
	}
	CHECK(c->open && vsock_pending(f.v) > 0);
	p = (struct fv_pkt){ .src_cid = FV_CID,
		.dst_cid = 2,
		.src_port = c->gport,
		.dst_port = c->hport,
		.len = 1,
		.type = 1,
		.op = OP_RW };
	CHECK(fv_send(&f, &p, "!", 1));
	fv_settle(&f);
	CHECK(c->reset);
	/* What came before it was allowed, and arrives. */
	while (got < c->tx_bytes) {
		CHECK_EQ(host_read(out[0], &got), 1);
		fv_settle(&f);
	}
	CHECK_EQ(host_read(out[0], &got), 0);
	CHECK_EQ(vsock_of(f.v)->nconns, 0);
	(void)close(out[0]);
	fv_down(&f);
}

/* Without receive buffers RSTs queue up to their limit, and then the guest's ring waits. */
static void rst_flood(void)
{
	struct fv_pkt p = {
		.src_cid = FV_CID, .dst_cid = 2, .dst_port = 9, .type = 1, .op = OP_REQUEST
	};
	uint64_t sent = 0;

	CHECK_EQ(fv_up(&f, false, 0), 0);
	for (int idle = 0; idle < 10;) {
		p.src_port = (uint32_t)sent;
		if (fv_send(&f, &p, NULL, 0)) {
			sent++;
			idle = 0;
		} else {
			idle++;
		}
		(void)fv_step(&f);
	}
	CHECK_EQ(vsock_of(f.v)->rst_n, LIM_VSOCK_CTRL);
	CHECK_EQ(sent, LIM_VSOCK_CTRL + 64);
	CHECK_EQ(loop_once(f.loop, 0), 0);
	fv_post(&f, 32);
	fv_settle(&f);
	CHECK_EQ(f.stray_rst, sent);
	fv_down(&f);
}

static void bad_buffers_break_the_device(void)
{
	struct fake_seg s;

	CHECK_EQ(fv_up(&f, false, 0), 0);
	s = (struct fake_seg){ fake_alloc(&f.g, 64, 8).v, 20 };
	CHECK(fake_add(&f.d, 0, NULL, 0, &s, 1) >= 0);
	(void)fake_kick(&f.d, 0);
	CHECK_EQ(vsock_connect(f.v, PORT, -1, -1, NULL, 0, 0), 0);
	for (int i = 0; i < 10; i++)
		(void)loop_once(f.loop, 0);
	CHECK(vdev_is_broken(f.v));
	fv_down(&f);
	/* A driver without a receive queue. */
	CHECK_EQ(fv_up(&f, false, 0), 0);
	CHECK_EQ(fake_dev_negotiate(&f.d, FV_FEATURES), 0);
	CHECK_EQ(fake_dev_queue(&f.d, VSOCK_TX, 0), 0);
	CHECK_EQ(fake_dev_ready(&f.d), -EIO);
	CHECK(vdev_is_broken(f.v));
	fv_down(&f);
}

static const struct test_case cases[] = {
	TEST(forged_packets),
	TEST(beyond_the_credit),
	TEST(rst_flood),
	TEST(bad_buffers_break_the_device),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
