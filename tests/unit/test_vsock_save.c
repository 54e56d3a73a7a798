// SPDX-License-Identifier: Apache-2.0
// vsock streams across pause, save and load.

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

/* Saves the device; makes a new one from that in its place, still paused. */
static int save_and_load(struct save_out *out)
{
	struct vsock_cfg cfg = { .guest_cid = FV_CID };
	struct save_in in;
	struct vdev *twin;
	int ret;

	vdev_pause(f.v);
	ret = vdev_save(f.v, out);
	if (ret)
		return ret;
	vdev_fini(f.v);
	f.v->cls->destroy(f.v);
	ret = vsock_new(f.loop, &f.g.mem, &cfg, &twin, NULL);
	if (ret)
		return ret;
	f.v = f.d.v = f.d.mmio.v = twin;
	twin->irq = &f.d.irq;
	in = (struct save_in){ .buf = out->buf, .len = out->len };
	ret = vdev_load(twin, &in);
	return ret ? ret : load_done(&in);
}

static void pause_stops_everything(void)
{
	struct fv_conn *c = &f.conn[0];
	int fd;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	fd = dial(0);
	vdev_pause(f.v);
	fv_fill(buf, 5000, 0, FV_TO_GUEST);
	CHECK_EQ(write(fd, buf, 5000), 5000);
	CHECK_EQ(fv_write(&f, c, 1000), 1000);
	for (int i = 0; i < 10; i++)
		CHECK_EQ(loop_once(f.loop, 0), 0);
	CHECK(read(fd, buf, 1) < 0 && errno == EAGAIN);
	CHECK_EQ(c->rx_bytes, 0);
	vdev_resume(f.v);
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 5000);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 1000);
	(void)close(fd);
	fv_down(&f);
}

/* Bytes in every place: in the host's socket, in our buffer, in the guest's rings; the stream
 * continues without a gap. */
static void named_stream_survives(void)
{
	struct fv_conn *c = &f.conn[0];
	struct save_out out = { 0 };
	uint64_t got = 0, held;
	int sv[2], unnamed;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	c->alloc = 10000;
	c->no_read = true;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	CHECK_EQ(vsock_connect(f.v, PORT, dup(sv[0]), dup(sv[0]), NULL, 0, 42), 0);
	fv_settle(&f);
	unnamed = dial(0);
	CHECK(c->open && f.conn[1].open);
	while (fv_credit(c)) {
		CHECK(fv_write(&f, c, FV_TX_BUF) > 0);
		fv_settle(&f);
	}
	fv_fill(buf, 30000, 0, FV_TO_GUEST);
	CHECK_EQ(write(sv[1], buf, 30000), 30000);
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 10000);
	held = vsock_pending(f.v);
	CHECK(held > 0);

	CHECK_EQ(save_and_load(&out), 0);
	CHECK_EQ(vsock_pending(f.v), held);
	CHECK_EQ(vsock_reattach(f.v, 43, -1, -1), -ENOENT);
	CHECK_EQ(vsock_reattach(f.v, 42, sv[0], sv[0]), 0);
	CHECK_EQ(vsock_reattach(f.v, 42, -1, -1), -ENOENT);
	vdev_resume(f.v);
	fv_settle(&f);
	CHECK(c->open && f.conn[1].reset);
	CHECK(read(unnamed, buf, 1) == 0);
	c->no_read = false;
	c->fwd_cnt = c->rx_cnt;
	CHECK(fv_op(&f, c, OP_CREDIT, 0));
	(void)fcntl(sv[1], F_SETFL, O_NONBLOCK);
	while (got < c->tx_bytes + 5000) {
		ssize_t n = read(sv[1], buf, sizeof(buf));

		if (n > 0) {
			CHECK(fv_check(buf, (size_t)n, got, FV_TO_HOST));
			got += (uint64_t)n;
		}
		if (got == c->tx_bytes)
			break;
		fv_settle(&f);
	}
	CHECK_EQ(got, c->tx_bytes);
	fv_settle(&f);
	CHECK_EQ(c->rx_bytes, 30000);
	CHECK(!c->bad && !f.bad);
	/* Its credit is intact too: another full window. */
	for (uint64_t end = c->tx_bytes + (1U << 20); c->tx_bytes < end;) {
		ssize_t n;

		(void)fv_write(&f, c, FV_TX_BUF);
		fv_settle(&f);
		n = read(sv[1], buf, sizeof(buf));
		CHECK(n > 0 && fv_check(buf, (size_t)n, got, FV_TO_HOST));
		got += (uint64_t)n;
	}
	save_out_free(&out);
	(void)close(sv[1]);
	(void)close(unnamed);
	fv_down(&f);
}

static void draining_stream_survives(void)
{
	struct fv_conn *c = &f.conn[0];
	struct save_out out = { 0 };
	uint64_t got = 0;
	int p[2];

	CHECK_EQ(fv_up(&f, false, 64), 0);
	CHECK(!pipe(p));
	CHECK_EQ(vsock_connect(f.v, PORT, -1, dup(p[1]), NULL, 0, 7), 0);
	fv_settle(&f);
	while (fv_credit(c)) {
		CHECK(fv_write(&f, c, FV_TX_BUF) > 0);
		fv_settle(&f);
	}
	CHECK(fv_op(&f, c, OP_SHUTDOWN, VSOCK_SHUT_BOTH));
	fv_settle(&f);
	CHECK(c->reset && vsock_pending(f.v));
	CHECK_EQ(save_and_load(&out), 0);
	CHECK_EQ(vsock_reattach(f.v, 7, -1, p[1]), 0);
	vdev_resume(f.v);
	while (got < c->tx_bytes) {
		ssize_t n;

		fv_settle(&f);
		n = read(p[0], buf, sizeof(buf));
		CHECK(n > 0 && fv_check(buf, (size_t)n, got, FV_TO_HOST));
		got += (uint64_t)n;
	}
	fv_settle(&f);
	CHECK_EQ(read(p[0], buf, 1), 0);
	CHECK_EQ(vsock_of(f.v)->nconns, 0);
	save_out_free(&out);
	(void)close(p[0]);
	fv_down(&f);
}

/* The saved bytes are a file's: any damage is refused or leads to a device that still works. */
static void damaged_state_is_refused(void)
{
	struct vsock_cfg cfg = { .guest_cid = FV_CID };
	struct save_out out = { 0 };
	unsigned refused = 0, taken = 0;
	int a, b;

	CHECK_EQ(fv_up(&f, false, 64), 0);
	a = dial(1);
	b = dial(2);
	CHECK_EQ(fv_write(&f, &f.conn[0], 1000), 1000);
	fv_settle(&f);
	vdev_pause(f.v);
	CHECK_EQ(vdev_save(f.v, &out), 0);
	for (size_t i = 0; i < out.len; i++) {
		uint8_t old = out.buf[i];
		struct vdev *twin;

		for (unsigned bit = 0; bit < 8; bit += 3) {
			struct save_in in = { .buf = out.buf, .len = out.len };

			out.buf[i] = (uint8_t)(old ^ 1U << bit);
			CHECK_EQ(vsock_new(f.loop, &f.g.mem, &cfg, &twin, NULL), 0);
			twin->irq = &f.d.irq;
			if (vdev_load(twin, &in))
				refused++;
			else
				taken++;
			vdev_fini(twin);
			twin->cls->destroy(twin);
			out.buf[i] = old;
		}
	}
	CHECK(refused > 200);
	CHECK(taken > 0);
	for (size_t n = 0; n < out.len; n += 7) {
		struct save_in in = { .buf = out.buf, .len = n };
		struct vdev *twin;

		CHECK_EQ(vsock_new(f.loop, &f.g.mem, &cfg, &twin, NULL), 0);
		CHECK(vdev_load(twin, &in) < 0);
		vdev_fini(twin);
		twin->cls->destroy(twin);
	}
	save_out_free(&out);
	(void)close(a);
	(void)close(b);
	fv_down(&f);
}

static const struct test_case cases[] = {
	TEST(pause_stops_everything),
	TEST(named_stream_survives),
	TEST(draining_stream_survives),
	TEST(damaged_state_is_refused),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
