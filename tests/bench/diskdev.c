// SPDX-License-Identifier: Apache-2.0
// The virtio-blk device without a VM: operations per second of a driver that keeps a queue full.
/*
 * How it works
 *
 *   diskdev FILE raw|qcow2 random|sequential BYTES DEPTH SECONDS [direct] [threads] [apart]
 *
 * The fake driver is the guest. Device and driver are on one thread, as fio's submitter and its
 * engine are; with "apart" the device's loop has its own. Each request has its buffers, laid out
 * once; a used one is added anew with another sector. Prints "OPERATIONS-PER-SECOND<tab>MiB/s".
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dev/blk.h"
#include "fake/fake_guest.h"
#include "util/bytes.h"

#define DEPTH_MAX 128

static struct fake_guest g;
static struct fake_dev d;
static struct loop *loop;
static struct vdev *v;
static uint64_t next_at, seed = 88172645463325252ULL;

struct slot {
	uint8_t *h;
	struct fake_seg out, in[2];
};

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Adds @s with its next place on a disk of @blocks; by_head[] says whose a head is. */
static void add(
	struct slot *by_head[], struct slot *s, bool random, uint32_t bytes, uint64_t blocks)
{
	uint64_t at = random ? rnd() % blocks : next_at++ % blocks;
	int head;

	s->h[16] = 0xff;
	put_le32(s->h, 0);
	put_le64(s->h + 8, at * (bytes / 512));
	head = fake_add(&d, 0, &s->out, 1, s->in, 2);
	if (head < 0)
		abort();
	by_head[head] = s;
}

/* Completed operations in @seconds. */
static uint64_t drive(
	struct slot *by_head[], bool random, uint32_t bytes, uint64_t blocks, double seconds)
{
	double end = now() + seconds;
	uint64_t n = 0;

	while (now() < end) {
		uint16_t head;
		uint32_t len;

		if (fake_wait(&d, 0, FAKE_TIMEOUT_MS))
			abort();
		for (; fake_reap(&d, 0, &head, &len) == 1; n++) {
			struct slot *s = by_head[head];

			if (s->h[16]) {
				(void)fprintf(stderr, "diskdev: a request failed\n");
				exit(1);
			}
			add(by_head, s, random, bytes, blocks);
		}
		(void)fake_kick(&d, 0);
	}
	return n;
}

static bool has(int argc, char **argv, const char *what)
{
	for (int i = 7; i < argc; i++)
		if (!strcmp(argv[i], what))
			return true;
	return false;
}

static void set_up(int argc, char **argv)
{
	struct disk_cfg cfg = { .format = strcmp(argv[2], "qcow2") ? DISK_RAW : DISK_QCOW2,
		.sync = DISK_SYNC_FULL,
		.readonly = true,
		.direct = has(argc, argv, "direct"),
		.threads = has(argc, argv, "threads") };
	struct error e = { 0 };

	cfg.fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (cfg.fd < 0 || fake_guest_init(&g, 128U << 20) || loop_new("blk", &loop, &e) ||
		blk_new(loop, &g.mem, &cfg, &v, &e) || fake_dev_init(&d, &g, v)) {
		(void)fprintf(stderr, "diskdev: %s: %s\n", argv[1], e.msg);
		exit(1);
	}
	mem_freeze(&g.mem);
	if (!has(argc, argv, "apart"))
		d.pump = loop;
	else if (loop_thread_start(loop, &e))
		exit(1);
	if (fake_dev_start(&d, ~0ULL))
		exit(1);
	d.indirect = false;
}

int main(int argc, char **argv)
{
	static struct slot slot[DEPTH_MAX], *by_head[LIM_VQ_SIZE];
	uint32_t bytes = argc > 6 ? (uint32_t)atoi(argv[4]) : 0;
	unsigned depth = argc > 6 ? (unsigned)atoi(argv[5]) : 0;
	double seconds = argc > 6 ? atof(argv[6]) : 0, rate;
	bool random = argc > 6 && !strcmp(argv[3], "random");
	uint64_t blocks;

	if (!bytes || bytes % 512 || bytes > 256U << 10 || !depth || depth > DEPTH_MAX ||
		seconds <= 0) {
		(void)fprintf(stderr, "diskdev: see its source\n");
		return 2;
	}
	set_up(argc, argv);
	blocks = get_le64(v->cfg) / (bytes / 512);
	for (unsigned i = 0; i < depth; i++) {
		gpa_t h = fake_alloc(&g, 32, 32), data = fake_alloc(&g, bytes, 4096);

		slot[i].h = fake_ptr(&g, h, 32);
		slot[i].out = (struct fake_seg){ h.v, 16 };
		slot[i].in[0] = (struct fake_seg){ data.v, bytes };
		slot[i].in[1] = (struct fake_seg){ h.v + 16, 1 };
		add(by_head, &slot[i], random, bytes, blocks);
	}
	(void)fake_kick(&d, 0);
	rate = (double)drive(by_head, random, bytes, blocks, seconds) / seconds;
	(void)printf("%.0f\t%.1f\n", rate, rate * bytes / (1 << 20));
	fake_dev_reset(&d);
	loop_thread_join(loop);
	vdev_fini(v);
	v->cls->destroy(v);
	fake_dev_fini(&d);
	loop_free(loop);
	fake_guest_fini(&g);
	return 0;
}
