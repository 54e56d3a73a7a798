// SPDX-License-Identifier: Apache-2.0
/* Device core and mmio transport, driven by the fake guest: status machine, kicks, interrupts. */
/*
 * How it works
 *
 * Cases look at the device of vdev_rig.h from both sides: by registers, as a driver, and by its
 * struct.
 */
#include <errno.h>
#include <pthread.h>

#include "unit/test.h"
#include "unit/vdev_rig.h"

static struct rig T; /* zeroed by rig_init() each time */

static void echoes(void)
{
	uint64_t want[] = { ALL, ALL & ~VDEV_F_INDIRECT, ALL & ~VDEV_F_EVENT_IDX,
		VDEV_F_VERSION_1 };
	char back[64];

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(want); i++) {
		rig_init(&T, i & 1);
		CHECK_EQ(fake_dev_start(&T.d, want[i / 2]), 0);
		CHECK_EQ(T.d.indirect, !!(want[i / 2] & VDEV_F_INDIRECT));
		for (unsigned n = 0; n < 70000; n += n < 100 ? 1 : 997) {
			memset(back, 0, sizeof(back));
			CHECK_EQ(xfer(&T, n % 2, "hello", back, sizeof(back)), 6);
			CHECK_STR(back, "hello");
		}
		CHECK_EQ(T.e.starts, 1);
		rig_fini(&T);
		CHECK_EQ(T.e.stops, 1);
	}
}

/* The 16-bit indices wrap. */
static void many(void)
{
	char back[8];

	rig_init(&T, false);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	for (unsigned i = 0; i < 140000; i++)
		CHECK_EQ(xfer(&T, 0, "abc", back, sizeof(back)), 4);
	CHECK(T.d.kicks == 140000);
	rig_fini(&T);
}

/* A batch costs one kick and one interrupt with EVENT_IDX. */
static void batch(void)
{
	uint16_t head;
	uint32_t len;

	rig_init(&T, false);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	fake_poll(&T.d);
	for (unsigned round = 0; round < 5; round++) {
		uint64_t kicks = T.d.kicks, irqs = T.d.irq.count;

		for (unsigned i = 0; i < 8; i++) {
			struct fake_seg o = { fake_alloc(&T.g, 64, 8).v, 64 };

			CHECK(fake_add(&T.d, 0, &o, 1, NULL, 0) >= 0);
			(void)fake_kick(&T.d, 0);
		}
		CHECK_EQ(fake_wait(&T.d, 0, FAKE_TIMEOUT_MS), 0);
		for (unsigned i = 0; i < 8; i++)
			CHECK_EQ(fake_reap(&T.d, 0, &head, &len), 1);
		CHECK_EQ(fake_reap(&T.d, 0, &head, &len), 0);
		CHECK_EQ(T.d.kicks - kicks, 1);
		CHECK_EQ(T.d.irq.count - irqs, 1);
	}
	rig_fini(&T);
}

static void registers(void)
{
	uint8_t b[8];
	char cfg[9];

	rig_init(&T, false);
	CHECK_EQ(fake_reg_read(&T.d, 0x00), 0x74726976);
	CHECK_EQ(fake_reg_read(&T.d, 0x04), 2);
	CHECK_EQ(fake_reg_read(&T.d, 0x08), 42);
	CHECK_EQ(fake_reg_read(&T.d, 0x34), 8);
	fake_reg_write(&T.d, 0x30, 1);
	CHECK_EQ(fake_reg_read(&T.d, 0x34), 16);
	fake_reg_write(&T.d, 0x30, 2);
	CHECK_EQ(fake_reg_read(&T.d, 0x34), 0);
	fake_reg_write(&T.d, 0x44, 1);
	fake_reg_write(&T.d, 0x30, 0xffffffff);
	CHECK_EQ(fake_reg_read(&T.d, 0x34), 0);
	fake_reg_write(&T.d, 0x14, 2);
	CHECK_EQ(fake_reg_read(&T.d, 0x10), 0);
	/* only aligned 32-bit accesses reach registers */
	mmio_bus_ops.read(&T.d.mmio, 0, b, 2);
	CHECK(!b[0] && !b[1]);
	mmio_bus_ops.read(&T.d.mmio, 0, b, 8);
	CHECK(!b[0] && !b[7]);
	memset(b, 0xff, sizeof(b));
	mmio_bus_ops.write(&T.d.mmio, 0x70, b, 1);
	CHECK_EQ(fake_reg_read(&T.d, 0x70), 0);
	/* no window, then one */
	CHECK_EQ(fake_reg_read(&T.d, 0xb0), 0xffffffff);
	CHECK_EQ(fake_reg_read(&T.d, 0xbc), 0xffffffff);
	T.e.v.shm_gpa = 0x123456789000;
	T.e.v.shm_len = 0x200000000;
	CHECK_EQ(fake_reg_read(&T.d, 0xb0), 0);
	CHECK_EQ(fake_reg_read(&T.d, 0xb4), 2);
	CHECK_EQ(fake_reg_read(&T.d, 0xb8), 0x56789000);
	CHECK_EQ(fake_reg_read(&T.d, 0xbc), 0x1234);
	fake_reg_write(&T.d, 0xac, 1);
	CHECK_EQ(fake_reg_read(&T.d, 0xb4), 0xffffffff);
	/* config: any width, zeroes beyond, whatever lies there */
	memset(T.e.v.cfg + 6, 0xcc, sizeof(T.e.v.cfg) - 6);
	memset(cfg, 1, sizeof(cfg));
	fake_cfg_read(&T.d, 0, cfg, 9);
	CHECK(!memcmp(cfg, "config\0\0\0", 9));
	memset(b, 1, sizeof(b));
	mmio_bus_ops.read(&T.d.mmio, 0x103, b, 8);
	CHECK(!memcmp(b, "fig\0\0\0\0\0", 8));
	memset(b, 1, sizeof(b));
	mmio_bus_ops.read(&T.d.mmio, 0x107, b, 8);
	CHECK(!memcmp(b, "\0\0\0\0\0\0\0\0", 8));
	mmio_bus_ops.read(&T.d.mmio, 0xffc, b, 4);
	CHECK(!b[0] && !b[3]);
	fake_cfg_write(&T.d, 4, "XYZ", 3);
	fake_cfg_read(&T.d, 0, cfg, 7);
	CHECK(!memcmp(cfg, "confXY\0", 7));
	rig_fini(&T);
}

static void status_machine(void)
{
	rig_init(&T, false);
	/* DRIVER_OK without FEATURES_OK does not stick */
	fake_reg_write(&T.d, 0x70, 1 | 2 | 4);
	CHECK_EQ(fake_reg_read(&T.d, 0x70), 3);
	CHECK_EQ(T.e.starts, 0);
	/* FEATURES_OK without VERSION_1 neither */
	CHECK_EQ(fake_dev_negotiate(&T.d, ALL & ~VDEV_F_VERSION_1), -ENOTSUP);
	CHECK_EQ(fake_reg_read(&T.d, 0x70), 3);
	/* nor with something that was not offered */
	fake_reg_write(&T.d, 0x24, 0);
	fake_reg_write(&T.d, 0x20, 1 << 4);
	fake_reg_write(&T.d, 0x24, 1);
	fake_reg_write(&T.d, 0x20, 1);
	fake_reg_write(&T.d, 0x70, 1 | 2 | 8);
	CHECK_EQ(fake_reg_read(&T.d, 0x70), 3);
	CHECK_EQ(fake_dev_negotiate(&T.d, ALL), 0);
	CHECK(vdev_has(&T.e.v, F_OURS | VDEV_F_VERSION_1));
	/* features are closed now; bits are not cleared but by 0 */
	fake_reg_write(&T.d, 0x24, 0);
	fake_reg_write(&T.d, 0x20, 0);
	CHECK(vdev_has(&T.e.v, F_OURS));
	fake_reg_write(&T.d, 0x70, 1);
	CHECK_EQ(fake_reg_read(&T.d, 0x70), 11);
	/* the driver can't claim NEEDS_RESET, nor bits that mean nothing */
	fake_reg_write(&T.d, 0x70, 11 | 64 | 16);
	CHECK_EQ(fake_reg_read(&T.d, 0x70), 11);
	fake_reg_write(&T.d, 0x70, 128);
	CHECK_EQ(fake_reg_read(&T.d, 0x70), 139);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	CHECK_EQ(T.e.starts, 1);
	fake_reg_write(&T.d, 0x70, 15); /* no second start */
	CHECK_EQ(T.e.starts, 1);
	fake_dev_reset(&T.d);
	CHECK_EQ(T.e.stops, 1);
	CHECK_EQ(fake_reg_read(&T.d, 0x70), 0);
	CHECK_EQ(T.e.v.acked, 0);
	fake_dev_reset(&T.d);
	CHECK_EQ(T.e.stops, 1);
	rig_fini(&T);
	CHECK_EQ(T.e.stops, 1);
}

static void queue_closed(void)
{
	uint64_t desc;

	rig_init(&T, false);
	CHECK_EQ(fake_dev_negotiate(&T.d, ALL), 0);
	CHECK_EQ(fake_dev_queue(&T.d, 0, 4), 0);
	desc = T.e.v.vq[0].desc;
	fake_reg_write(&T.d, 0x80, 0x1000);
	fake_reg_write(&T.d, 0x38, 8);
	CHECK_EQ(T.e.v.vq[0].desc, desc);
	CHECK_EQ(T.e.v.vq[0].size, 4);
	/* before DRIVER_OK ready can be taken back */
	fake_reg_write(&T.d, 0x44, 0);
	CHECK_EQ(fake_reg_read(&T.d, 0x44), 0);
	CHECK_EQ(fake_dev_queue(&T.d, 0, 8), 0);
	CHECK_EQ(fake_dev_ready(&T.d), 0);
	fake_reg_write(&T.d, 0x44, 0);
	CHECK_EQ(fake_reg_read(&T.d, 0x44), 1);
	/* queue 1 was not made ready: neither geometry nor kicks do anything now */
	fake_reg_write(&T.d, 0x30, 1);
	fake_reg_write(&T.d, 0x44, 1);
	CHECK_EQ(fake_reg_read(&T.d, 0x44), 0);
	fake_reg_write(&T.d, 0x50, 1);
	fake_reg_write(&T.d, 0x50, 99);
	fake_poll(&T.d);
	CHECK_EQ(T.e.kicks, 1);
	rig_fini(&T);
}

static void bad_geometry(void)
{
	static const struct {
		unsigned reg;
		uint32_t val;
	} bad[] = {
		{ 0x38, 0 },
		{ 0x38, 3 },
		{ 0x38, 16 },
		{ 0x38, 0x10008 },
		{ 0x84, 1 },
		{ 0x94, 0xffffffff },
		{ 0xa4, 0xffffffff },
		{ 0x80, 0x40000008 },
		{ 0x90, 0x40000001 },
		{ 0xa0, 0x40000002 },
		{ 0xa0, 0x400ffffc },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		rig_init(&T, false);
		CHECK_EQ(fake_dev_negotiate(&T.d, ALL), 0);
		CHECK_EQ(fake_dev_queue(&T.d, 0, 0), 0);
		fake_reg_write(&T.d, 0x44, 0);
		fake_reg_write(&T.d, bad[i].reg, bad[i].val);
		fake_reg_write(&T.d, 0x44, 1);
		CHECK_EQ(fake_dev_ready(&T.d), -EIO);
		CHECK_EQ(T.e.starts, 0);
		CHECK(T.e.broke != NULL);
		fake_poll(&T.d);
		CHECK(T.d.cfg_event);
		/* a reset heals */
		CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
		rig_fini(&T);
	}
}

static void broken(void)
{
	struct fake_seg s = { 0, 16 };
	char back[16];
	unsigned kicks;

	rig_init(&T, false);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	CHECK(fake_add(&T.d, 0, &s, 1, NULL, 0) >= 0);
	CHECK(fake_kick(&T.d, 0));
	CHECK_EQ(fake_wait(&T.d, 0, FAKE_TIMEOUT_MS), -EIO);
	fake_poll(&T.d);
	CHECK(T.d.cfg_event);
	CHECK_STR(T.e.broke, "bad chain");
	kicks = T.e.kicks;
	fake_reg_write(&T.d, 0x50, 0);
	fake_poll(&T.d);
	CHECK_EQ(T.e.kicks, kicks);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	CHECK_EQ(xfer(&T, 0, "again", back, sizeof(back)), 6);
	/* start may fail too; stop is not called for it */
	T.e.start_err = -ENOMEM;
	fake_dev_reset(&T.d);
	kicks = T.e.stops;
	CHECK_EQ(fake_dev_start(&T.d, ALL), -EIO);
	fake_dev_reset(&T.d);
	CHECK_EQ(T.e.stops, kicks);
	rig_fini(&T);
}

static void cfg_changed(void)
{
	uint32_t gen;

	rig_init(&T, false);
	vdev_cfg_changed(&T.e.v);
	CHECK_EQ(T.d.irq.count, 0);
	CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
	gen = fake_reg_read(&T.d, 0xfc);
	vdev_cfg_lock(&T.e.v);
	T.e.v.cfg[0] = 'C';
	vdev_cfg_unlock(&T.e.v);
	vdev_cfg_changed(&T.e.v);
	CHECK(fake_reg_read(&T.d, 0xfc) != gen);
	CHECK_EQ(fake_reg_read(&T.d, 0x60), 2);
	fake_poll(&T.d);
	CHECK(T.d.cfg_event);
	CHECK_EQ(fake_reg_read(&T.d, 0x60), 0);
	rig_fini(&T);
}

/* A second vCPU that touches registers while the first one resets and starts the device. */
static void *other_vcpu(void *arg)
{
	const int *stop = arg;
	uint8_t b[4] = { 0 };

	for (unsigned i = 0; !__atomic_load_n(stop, __ATOMIC_RELAXED); i++) {
		b[0] = i & 1;
		mmio_bus_ops.write(&T.d.mmio, MMIO_QUEUE_NOTIFY, b, 4);
		mmio_bus_ops.read(&T.d.mmio, 0x60 + 16 * (i & 1), b, 4);
		mmio_bus_ops.read(&T.d.mmio, 0x100 + i % 8, b, 4);
		if (i % 64 == 0) {
			vdev_cfg_lock(&T.e.v);
			T.e.v.cfg[5]++;
			vdev_cfg_unlock(&T.e.v);
			vdev_cfg_changed(&T.e.v);
		}
	}
	return NULL;
}

static void reset_race(void)
{
	char back[16];
	int stop = 0;
	pthread_t t;

	rig_init(&T, true);
	CHECK_EQ(pthread_create(&t, NULL, other_vcpu, &stop), 0);
	for (unsigned i = 0; i < 300; i++) {
		T.g.used = 0;
		CHECK_EQ(fake_dev_start(&T.d, ALL), 0);
		for (unsigned k = 0; k < 5; k++)
			CHECK_EQ(xfer(&T, k % 2, "race", back, sizeof(back)), 5);
		if (i % 16 == 0) {
			vdev_pause(&T.e.v);
			vdev_resume(&T.e.v);
		}
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(T.e.starts, 300);
	CHECK_EQ(T.e.stops, 299);
	rig_fini(&T);
}

static const struct test_case cases[] = {
	TEST(echoes),
	TEST(many),
	TEST(batch),
	TEST(registers),
	TEST(status_machine),
	TEST(queue_closed),
	TEST(bad_geometry),
	TEST(broken),
	TEST(cfg_changed),
	TEST(reset_race),
};

TEST_MAIN(cases)
