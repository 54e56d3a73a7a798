// SPDX-License-Identifier: Apache-2.0
// A hostile back end of a vhost-user device: its answers are there before the questions, framed as
// answers or not at all, while a driver starts, resets and writes config bytes.

#include <sys/socket.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/dev.h"
#include "fake/fake_guest.h"
#include "fuzz/fuzz.h"
#include "util/bytes.h"

#define RAM	(1U << 20)
#define TYPES	9
#define ALLOWED (((1ULL << 24) - 1) | VDEV_F_INDIRECT | VDEV_F_EVENT_IDX | VDEV_F_VERSION_1)

static struct fake_guest g;
static struct fake_dev d;
static struct loop *loop;
static struct vdev *v;
static int peer;

/* What stands in the input as: how, request, length, bytes. */
static void say(struct fuzz_in *in)
{
	uint8_t m[12 + 255];
	unsigned how = fuzz_u8(in), what = fuzz_u8(in), n = fuzz_u8(in), skip = how & 64 ? 12 : 0;

	put_le32(m, what % 32);
	put_le32(m + 4, how & 32 ? fuzz_u32(in) : 5);
	put_le32(m + 8, how & 16 ? fuzz_u32(in) : n);
	fuzz_bytes(in, m + 12, n);
	/* features and the like are of use with some bits alone */
	if (how & 8 && n == 8)
		put_le64(m + 12, get_le64(m + 12) | VDEV_F_VERSION_1 | 1ULL << 30);
	(void)send(peer, m + skip, 12 + n - skip, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void start(struct fuzz_in *in)
{
	unsigned how = fuzz_u8(in);

	g.used = 0;
	if (how % 4) {
		(void)fake_dev_start(&d, ~0ULL);
		return;
	}
	if (fake_dev_negotiate(&d, ~0ULL) || fake_dev_queue(&d, how / 4 % v->nqueues, 0))
		return;
	(void)fake_dev_ready(&d);
}

static void step(struct fuzz_in *in)
{
	struct save_out s = { 0 };
	uint8_t b[8];
	unsigned off;

	switch (fuzz_u8(in) % 8) {
	case 0:
		start(in);
		break;
	case 1:
		fake_dev_reset(&d);
		break;
	case 2:
		off = fuzz_u8(in);
		fuzz_bytes(in, b, sizeof(b));
		fake_cfg_write(&d, off, b, fuzz_u8(in) % 8);
		break;
	case 3:
		fake_cfg_read(&d, fuzz_u8(in), b, sizeof(b));
		break;
	case 4:
		vdev_pause(v);
		FUZZ_CHECK(vdev_save(v, &s) < 0);
		save_out_free(&s);
		vdev_resume(v);
		break;
	case 5:
		fake_reg_write(&d, MMIO_QUEUE_NOTIFY, fuzz_u8(in));
		break;
	default:
		say(in);
	}
	fake_poll(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint32_t types[TYPES] = { 2, 3, 4, 17, 18, 25, 26, 36, 1 };
	struct fuzz_in in = { data, len };
	struct vhost_user_cfg cfg = { .name = "x", .wait_ms = 1 };
	int s[2], lowest = dup(2), again;

	FUZZ_CHECK(lowest >= 0 && !close(lowest));
	if (!g.lo) {
		FUZZ_CHECK(!fake_guest_init_shared(&g, RAM));
		mem_freeze(&g.mem);
		lowest = dup(2);
		(void)close(lowest);
	}
	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	FUZZ_CHECK(!loop_new("fuzz", &loop, NULL));
	peer = s[1];
	cfg.fd = s[0];
	cfg.type = types[fuzz_u8(&in) % TYPES];
	cfg.nqueues = fuzz_u8(&in) % (LIM_VQS + 2);
	for (unsigned n = fuzz_u8(&in) % 32; n && in.left; n--)
		say(&in);
	if (!vhost_user_new(loop, &g.mem, &cfg, &v, NULL)) {
		FUZZ_CHECK(!(v->offered & ~ALLOWED) && v->offered & VDEV_F_VERSION_1);
		FUZZ_CHECK(v->nqueues && v->nqueues <= LIM_VQS);
		FUZZ_CHECK(!fake_dev_init(&d, &g, v));
		d.pump = loop;
		for (unsigned i = 0; in.left && i < 40; i++)
			step(&in);
		vdev_fini(v);
		v->cls->destroy(v);
		fake_dev_fini(&d);
	}
	loop_free(loop);
	(void)close(peer);
	again = dup(2);
	FUZZ_CHECK(again == lowest && !close(again));
	return 0;
}
