// SPDX-License-Identifier: Apache-2.0
// A device of another process, between a driver and a back end that are both not ours.

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#include "dev/dev.h"
#include "dev/vhost_user.h"
#include "fake/fake_guest.h"
#include "fake/fake_vhost.h"
#include "unit/test.h"
#include "util/bytes.h"
#include "util/cleanup.h"

#define ALL	(~0ULL)
#define INPUT	18
#define RNG	4
#define DISK	2
#define FS	26
#define WAIT_MS 20000 /* for what comes; */
#define NOT_MS	20    /* and for what does not */
/* a back end that can do everything, but for the features that the fake one does not serve */
#define GOOD  (ALL & ~VDEV_F_EVENT_IDX & ~VDEV_F_INDIRECT)
#define PROTO (VHU_PROTO_MQ | VHU_PROTO_REPLY_ACK | VHU_PROTO_CONFIG | 1ULL << 15)

struct rig {
	struct fake_guest g;
	struct fake_dev d;
	struct fake_vhost f;
	struct loop *loop;
	struct vdev *v;
	struct error e;
};

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->f.features = GOOD;
	r->f.protocol = PROTO;
	r->f.queues = 2;
	r->f.config_len = 200;
	for (unsigned i = 0; i < sizeof(r->f.config); i++)
		r->f.config[i] = (uint8_t)i;
}

static int rig_make(struct rig *r, struct vhost_user_cfg cfg)
{
	int ret = fake_guest_init_shared(&r->g, 8U << 20);

	if (ret || loop_new("test", &r->loop, NULL))
		return -ENOMEM;
	cfg.fd = fake_vhost_start(&r->f);
	if (!cfg.wait_ms)
		cfg.wait_ms = WAIT_MS;
	ret = vhost_user_new(r->loop, &r->g.mem, &cfg, &r->v, &r->e);
	if (ret || fake_dev_init(&r->d, &r->g, r->v))
		return ret ? ret : -ENOMEM;
	mem_freeze(&r->g.mem);
	r->d.pump = r->loop;
	return 0;
}

static void rig_down(struct rig *r)
{
	if (r->v) {
		vdev_fini(r->v);
		r->v->cls->destroy(r->v);
		fake_dev_fini(&r->d);
	}
	fake_vhost_end(&r->f);
	loop_free(r->loop);
	fake_guest_fini(&r->g);
}

static int echo(struct rig *r, unsigned q)
{
	char back[3000] = { 0 };
	struct fake_out out[] = { { "hello, ", 7 }, { "world", 6 } };
	struct fake_in in[] = { { back, 1 }, { back + 1, sizeof(back) - 1 } };
	int n = fake_guest_xfer(&r->d, q, out, 2, in, 2);

	return n == (int)sizeof(back) && !strcmp(back, "hello, world") &&
			!memcmp(back + 2990, "hello, wor", 10)
		? 0
		: -1;
}

static void serves(void)
{
	struct rig r;

	rig_init(&r);
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG }), 0);
	CHECK_EQ(r.v->nqueues, 2);
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(echo(&r, (unsigned)i % 2), 0);
	CHECK(r.d.interrupts > 0);
	/* the second of the regions */
	r.g.used = r.g.half;
	CHECK_EQ(echo(&r, 0), 0);
	rig_down(&r);
	CHECK_EQ(r.f.served, 1001);
	CHECK(!r.f.error && r.f.owned);
	/* of what it offers the driver has no more than this transport can do */
	CHECK_EQ(r.f.acked, ((1ULL << 24) - 1) | VHU_F_PROTOCOL | VDEV_F_VERSION_1);
	CHECK_EQ(r.f.seen[VHU_SET_MEM_TABLE], 1);
	CHECK_EQ(r.f.seen[VHU_GET_VRING_BASE], 2);
	CHECK_EQ(r.f.seen[VHU_GET_CONFIG], 0);
}

/* Neither protocol features nor acknowledgements: rings run when they have been kicked. */
static void old_back_end(void)
{
	struct rig r;

	rig_init(&r);
	r.f.features = VDEV_F_VERSION_1;
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = FS, .name = "tag" }), 0);
	CHECK_EQ(r.v->nqueues, 2);
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	CHECK_EQ(echo(&r, 0) | echo(&r, 1), 0);
	rig_down(&r);
	CHECK(!r.f.error);
	CHECK_EQ(r.f.acked, VDEV_F_VERSION_1);
	CHECK_EQ(r.f.seen[VHU_SET_VRING_ENABLE] + r.f.seen[VHU_GET_PROTOCOL_FEATURES], 0);
}

static void one_driver_after_another(void)
{
	struct rig r;

	rig_init(&r);
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG }), 0);
	for (int i = 0; i < 20; i++) {
		r.g.used = 0;
		/* one of them has a single queue */
		CHECK_EQ(i == 7 ? fake_dev_negotiate(&r.d, ALL) : fake_dev_start(&r.d, ALL), 0);
		if (i == 7) {
			CHECK_EQ(fake_dev_queue(&r.d, 1, 64), 0);
			CHECK_EQ(fake_dev_ready(&r.d), 0);
		}
		CHECK_EQ(echo(&r, 1), 0);
		CHECK_EQ(echo(&r, 1), 0);
		fake_dev_reset(&r.d);
	}
	rig_down(&r);
	CHECK(!r.f.error);
	CHECK_EQ(r.f.served, 40);
	CHECK_EQ(r.f.seen[VHU_SET_MEM_TABLE], 1);
	CHECK_EQ(r.f.seen[VHU_GET_VRING_BASE], 39);
}

static void config_of_disk(void)
{
	uint8_t c[64] = { 0 };
	struct rig r;

	rig_init(&r);
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = DISK }), 0);
	fake_cfg_read(&r.d, 0, c, sizeof(c));
	for (unsigned i = 0; i < sizeof(c); i++)
		CHECK_EQ(c[i], i == 34 ? 2 : i == 35 || i >= 60 ? 0 : i);
	rig_down(&r);
}

static void config_is_written(void)
{
	uint8_t c[3] = { 0 };
	struct rig r;

	rig_init(&r);
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = INPUT }), 0);
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	fake_cfg_write(&r.d, 5, "xy", 2);
	fake_cfg_read(&r.d, 4, c, sizeof(c));
	CHECK(!memcmp(c, "\4xy", 3));
	/* beyond its end */
	fake_cfg_write(&r.d, 136, "z", 1);
	CHECK(!vdev_is_broken(r.v));
	CHECK_EQ(echo(&r, 0), 0);
	rig_down(&r);
	CHECK(!r.f.error);
	CHECK_EQ(r.f.seen[VHU_SET_CONFIG], 2);
	CHECK_EQ(r.f.config[136], 136);
}

static void config_of_file_system(void)
{
	uint8_t c[40] = { 0 };
	struct rig r;

	rig_init(&r);
	r.f.queues = 8;
	CHECK_EQ(rig_make(&r,
			 (struct vhost_user_cfg){ .type = FS, .name = "the tag", .nqueues = 4 }),
		0);
	fake_cfg_read(&r.d, 0, c, sizeof(c));
	CHECK_STR((char *)c, "the tag");
	CHECK_EQ(get_le32(c + 36), 3);
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	rig_down(&r);
	/* no feature of its own: notifications would make queue 1 another */
	CHECK_EQ(r.f.acked, VHU_F_PROTOCOL | VDEV_F_VERSION_1);
	CHECK_EQ(r.f.seen[VHU_GET_CONFIG], 0);
}

static unsigned open_fds(void)
{
	CLEAN_DIR DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	return n;
}

/* What is wrong with the config, or with what the back end can do. */
static void refused(void)
{
	static const struct {
		struct vhost_user_cfg cfg;
		uint64_t features, protocol, queues;
		int r;
	} t[] = {
		{ { .type = 1 }, GOOD, PROTO, 2, -ENOTSUP },
		{ { .type = 0 }, GOOD, PROTO, 2, -ENOTSUP },
		{ { .type = FS }, GOOD, PROTO, 2, -EINVAL },
		{ { .type = FS, .name = "x", .nqueues = 1 }, GOOD, PROTO, 2, -EINVAL },
		{ { .type = FS, .name = "x" }, GOOD, PROTO, 1, -EINVAL },
		{ { .type = RNG, .qsize = { 3 } }, GOOD, PROTO, 2, -EINVAL },
		{ { .type = RNG, .qsize = { 2048 } }, GOOD, PROTO, 2, -EINVAL },
		{ { .type = RNG, .nqueues = 3 }, GOOD, PROTO, 2, -EINVAL },
		{ { .type = RNG, .nqueues = LIM_VQS + 1 }, GOOD, PROTO, ALL, -EINVAL },
		{ { .type = RNG }, GOOD & ~VDEV_F_VERSION_1, PROTO, 2, -ENOTSUP },
		{ { .type = DISK }, GOOD, PROTO & ~VHU_PROTO_CONFIG, 2, -ENOTSUP },
		{ { .type = DISK }, GOOD & ~VHU_F_PROTOCOL, PROTO, 2, -ENOTSUP },
	};
	unsigned fds = open_fds();
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		rig_init(&r);
		r.f.features = t[i].features;
		r.f.protocol = t[i].protocol;
		r.f.queues = t[i].queues;
		CHECK_EQ(rig_make(&r, t[i].cfg), t[i].r);
		CHECK(r.e.msg[0]);
		rig_down(&r);
	}
	/* more config bytes than the back end has */
	rig_init(&r);
	r.f.config_len = 59;
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = DISK }), -EREMOTEIO);
	rig_down(&r);
	/* as many queues as it likes to say */
	rig_init(&r);
	r.f.queues = ALL;
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG }), 0);
	CHECK_EQ(r.v->nqueues, LIM_VQS);
	rig_down(&r);
	CHECK_EQ(open_fds(), fds);
}

static void private_memory(void)
{
	struct vhost_user_cfg cfg = { .type = RNG };
	struct fake_guest g;
	struct rig r;
	struct vdev *v;
	struct error e = { 0 };

	rig_init(&r);
	CHECK_EQ(fake_guest_init(&g, 1U << 20), 0);
	CHECK_EQ(loop_new("test", &r.loop, NULL), 0);
	cfg.fd = fake_vhost_start(&r.f);
	CHECK_EQ(vhost_user_new(r.loop, &g.mem, &cfg, &v, &e), -EINVAL);
	CHECK(strstr(e.msg, "cannot be shared"));
	fake_vhost_end(&r.f);
	loop_free(r.loop);
	fake_guest_fini(&g);
}

/* One answer goes wrong while the device is made. */
static void hostile_when_made(void)
{
	static const uint32_t at[] = { VHU_GET_FEATURES, VHU_GET_PROTOCOL_FEATURES, VHU_SET_OWNER,
		VHU_GET_QUEUE_NUM, VHU_GET_CONFIG };
	static const struct {
		enum fake_vhost_fault fault;
		int r;
	} how[] = { { FAKE_VHOST_CLOSE, -EPIPE }, { FAKE_VHOST_HALF, -EPIPE },
		{ FAKE_VHOST_OTHER, -EPROTO }, { FAKE_VHOST_VERSION, -EPROTO },
		{ FAKE_VHOST_NO_REPLY, -EPROTO }, { FAKE_VHOST_LONG, -EPROTO },
		{ FAKE_VHOST_SHORT, -EPROTO }, { FAKE_VHOST_SILENT, -ETIMEDOUT },
		{ FAKE_VHOST_FDS, 0 } };
	unsigned fds = open_fds();
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(how); k++) {
			rig_init(&r);
			r.f.fault_at = at[i];
			r.f.fault = how[k].fault;
			CHECK_EQ(rig_make(&r,
					 (struct vhost_user_cfg){ .type = DISK,
						 .wait_ms = how[k].r == -ETIMEDOUT ? NOT_MS : 0 }),
				how[k].r);
			rig_down(&r);
		}
	}
	/* config bytes of another place; an owner that is not wanted */
	rig_init(&r);
	r.f.fault_at = VHU_GET_CONFIG;
	r.f.fault = FAKE_VHOST_WRONG;
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = DISK }), -EREMOTEIO);
	rig_down(&r);
	rig_init(&r);
	r.f.fault_at = VHU_SET_OWNER;
	r.f.fault = FAKE_VHOST_REFUSE;
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = DISK }), -EREMOTEIO);
	CHECK(strstr(r.e.msg, "refuses"));
	rig_down(&r);
	CHECK_EQ(open_fds(), fds);
}

/* One goes wrong at DRIVER_OK: the device wants a reset, and no reset helps. */
static void hostile_at_start(void)
{
	static const uint32_t at[] = { VHU_SET_FEATURES, VHU_SET_MEM_TABLE, VHU_SET_VRING_NUM,
		VHU_SET_VRING_BASE, VHU_SET_VRING_ADDR, VHU_SET_VRING_CALL, VHU_SET_VRING_KICK,
		VHU_SET_VRING_ENABLE };
	static const enum fake_vhost_fault how[] = { FAKE_VHOST_CLOSE, FAKE_VHOST_HALF,
		FAKE_VHOST_OTHER, FAKE_VHOST_LONG, FAKE_VHOST_REFUSE, FAKE_VHOST_SILENT };
	unsigned fds = open_fds();
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(how); k++) {
			rig_init(&r);
			r.f.fault_at = at[i];
			r.f.fault = how[k];
			CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG }), 0);
			if (how[k] == FAKE_VHOST_SILENT)
				vhost_user_set_wait(r.v, NOT_MS);
			(void)fake_dev_start(&r.d, ALL);
			CHECK(vdev_is_broken(r.v));
			r.g.used = 0;
			fake_dev_reset(&r.d);
			CHECK(!vdev_is_broken(r.v));
			(void)fake_dev_start(&r.d, ALL);
			CHECK(vdev_is_broken(r.v));
			rig_down(&r);
		}
	}
	CHECK_EQ(open_fds(), fds);
}

static void goes_away(void)
{
	struct rig r;
	int i;

	rig_init(&r);
	r.f.fault_at = VHU_SET_CONFIG; /* by which the test says when */
	r.f.fault = FAKE_VHOST_CLOSE;
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = INPUT }), 0);
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	CHECK_EQ(echo(&r, 0), 0);
	fake_cfg_write(&r.d, 0, "x", 1);
	CHECK(vdev_is_broken(r.v));
	fake_poll(&r.d);
	CHECK(r.d.cfg_event);
	rig_down(&r);

	/* and while nobody asks it anything */
	rig_init(&r);
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG }), 0);
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	fake_vhost_end(&r.f);
	for (i = 0; i < 100 && !vdev_is_broken(r.v); i++)
		CHECK(loop_once(r.loop, WAIT_MS) >= 0);
	CHECK(vdev_is_broken(r.v));
	fake_dev_reset(&r.d);
	(void)fake_dev_start(&r.d, ALL);
	CHECK(vdev_is_broken(r.v));
	fake_vhost_start(&r.f); /* something for rig_down() to end */
	rig_down(&r);
}

static void says_too_much(void)
{
	struct rig r;

	rig_init(&r);
	r.f.fault_at = VHU_SET_VRING_ENABLE;
	r.f.fault = FAKE_VHOST_CHATTY;
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG, .nqueues = 1 }), 0);
	(void)fake_dev_start(&r.d, ALL);
	for (int i = 0; i < 100 && !vdev_is_broken(r.v); i++)
		CHECK(loop_once(r.loop, WAIT_MS) >= 0);
	CHECK(vdev_is_broken(r.v));
	rig_down(&r);
}

/* A reset ends, whatever the back end does; what it did not end the next driver does not get. */
static void hostile_at_reset(void)
{
	static const enum fake_vhost_fault how[] = { FAKE_VHOST_CLOSE, FAKE_VHOST_SILENT,
		FAKE_VHOST_OTHER, FAKE_VHOST_SHORT, FAKE_VHOST_WRONG };
	struct rig r;

	for (size_t k = 0; k < ARRAY_SIZE(how); k++) {
		rig_init(&r);
		r.f.fault_at = VHU_GET_VRING_BASE;
		r.f.fault = how[k];
		CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG }), 0);
		CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
		CHECK_EQ(echo(&r, 1), 0);
		if (how[k] == FAKE_VHOST_SILENT)
			vhost_user_set_wait(r.v, NOT_MS);
		r.g.used = 0;
		fake_dev_reset(&r.d);
		(void)fake_dev_start(&r.d, ALL);
		CHECK(vdev_is_broken(r.v));
		rig_down(&r);
	}
}

/* Each answer comes in time, all of them together do not: a start and a reset end all the same. */
static void slow(void)
{
	static const uint32_t from[] = { VHU_SET_FEATURES, VHU_GET_VRING_BASE };
	struct rig r;

	for (size_t i = 0; i < ARRAY_SIZE(from); i++) {
		rig_init(&r);
		r.f.fault_at = from[i];
		r.f.fault = FAKE_VHOST_SLOW;
		CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG }), 0);
		/* a start that is not slowed down has all the time it wants */
		if (i == 0)
			vhost_user_set_wait(r.v, FAKE_VHOST_SLOW_MS * 3);
		(void)fake_dev_start(&r.d, ALL);
		CHECK_EQ(vdev_is_broken(r.v), i == 0);
		vhost_user_set_wait(r.v, FAKE_VHOST_SLOW_MS * 3);
		r.g.used = 0;
		fake_dev_reset(&r.d);
		(void)fake_dev_start(&r.d, ALL);
		CHECK(vdev_is_broken(r.v));
		rig_down(&r);
	}
}

static void paused_and_not_saved(void)
{
	struct fake_seg out, in;
	struct save_out s = { 0 };
	struct rig r;

	rig_init(&r);
	CHECK_EQ(rig_make(&r, (struct vhost_user_cfg){ .type = RNG }), 0);
	CHECK_EQ(fake_dev_start(&r.d, ALL), 0);
	vdev_pause(r.v);
	out = in = (struct fake_seg){ fake_alloc(&r.g, 64, 8).v, 64 };
	CHECK(fake_add(&r.d, 0, &out, 1, &in, 1) >= 0);
	(void)fake_kick(&r.d, 0);
	CHECK_EQ(vdev_save(r.v, &s), -ENOTSUP);
	CHECK(s.why && strstr(s.why, "vhost-user"));
	save_out_free(&s);
	vdev_resume(r.v);
	CHECK_EQ(fake_wait(&r.d, 0, FAKE_TIMEOUT_MS), 0);
	CHECK_EQ(fake_reap(&r.d, 0, &(uint16_t){ 0 }, &(uint32_t){ 0 }), 1);
	CHECK_EQ(echo(&r, 0), 0);
	rig_down(&r);
}

static const struct test_case tests[] = { TEST(serves), TEST(old_back_end),
	TEST(one_driver_after_another), TEST(config_of_disk), TEST(config_is_written),
	TEST(config_of_file_system), TEST(refused), TEST(private_memory), TEST(hostile_when_made),
	TEST(hostile_at_start), TEST(goes_away), TEST(says_too_much), TEST(hostile_at_reset),
	TEST(slow), TEST(paused_and_not_saved) };

TEST_MAIN(tests)
