// SPDX-License-Identifier: Apache-2.0
// VMDK images of qemu-img's, read by us, and 5,000 of them with some bytes changed.

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dev/disk_vmdk.h"
#include "unit/image_rig.h"
#include "unit/test.h"

#define MIB  (1U << 20)
#define SIZE (6U * MIB)

static uint8_t model[SIZE], buf[SIZE];
static uint32_t rnd_state = 5;

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 1664525 + 1013904223;
	return (rnd_state >> 8) % n;
}

static int open_extent(void *arg, const char *name)
{
	int fd = strchr(name, '/') ? -1 : image_fd(name, O_RDONLY);

	++*(unsigned *)arg;
	return fd < 0 ? -ENOENT : fd;
}

static int read_all(struct disk *d, uint64_t at, uint8_t *p, uint64_t n)
{
	struct disk_extent x;
	int r = 0;

	for (; !r && n; at += x.len, p += x.len, n -= x.len) {
		struct iovec v = { p, n };
		struct iobuf b;

		disk_map(d, false, at, n, &x);
		v.iov_len = x.len;
		iobuf_init(&b, &v, 1);
		if (x.where == DISK_ZEROES)
			memset(p, 0, x.len);
		else if (x.where == DISK_AT)
			r = disk_read_all(d->fd, &b, x.off, x.len);
		else
			r = disk_run(d, DISK_READ, &b, at, x.len);
	}
	return r;
}

static void made_by_qemu_img(void)
{
	static const char *const types[] = { "monolithicSparse", "monolithicFlat" };
	int fd = image_fd("raw", O_RDWR | O_CREAT);

	for (uint32_t i = 0; i < SIZE; i += 65536)
		memset(model + i, i / 65536 % 5 ? (int)(i / 65536) : 0, 65536);
	CHECK_EQ(write(fd, model, SIZE), SIZE);
	(void)close(fd);
	for (unsigned i = 0; i < 2; i++) {
		unsigned called = 0;
		struct disk_cfg cfg = { .format = DISK_VMDK,
			.readonly = true,
			.open_backing = open_extent,
			.backing_arg = &called };
		struct disk *d;

		CHECK_EQ(
			sh("rm -f a*; qemu-img convert -q -f raw -O vmdk -o subformat=%s raw a.vmdk",
				types[i]),
			0);
		cfg.fd = image_fd("a.vmdk", O_RDONLY);
		CHECK_EQ(disk_open(&cfg, &d, NULL), 0);
		CHECK_EQ(d->bytes, SIZE);
		CHECK_EQ(called, i);
		for (unsigned k = 0; k < 500; k++) {
			uint32_t at = rnd(SIZE / 512) * 512, n = 512 * (1 + rnd(500));

			n = MIN(n, SIZE - at);
			CHECK_EQ(read_all(d, at, buf, n), 0);
			CHECK(!memcmp(buf, model + at, n));
		}
		CHECK_EQ(disk_run(d, DISK_DISCARD, NULL, 0, 512) < 0, 1);
		disk_close(d);
	}
}

static void refused(const char *make, bool readonly, bool rule, const char *says)
{
	unsigned called = 0;
	struct disk_cfg cfg = { .format = DISK_VMDK,
		.readonly = readonly,
		.open_backing = rule ? open_extent : NULL,
		.backing_arg = &called };
	struct error e = { 0 };
	struct disk *d;

	CHECK_EQ(sh("rm -f a*; %s", make), 0);
	cfg.fd = image_fd("a.vmdk", readonly ? O_RDONLY : O_RDWR);
	CHECK(disk_open(&cfg, &d, &e) < 0);
	if (!strstr(e.msg, says))
		printf("# %s\n", e.msg);
	CHECK(strstr(e.msg, says));
}

static void refused_by_name(void)
{
	refused("qemu-img create -q -f vmdk a.vmdk 1M", false, true, "for reading");
	refused("qemu-img create -q -f vmdk -o subformat=monolithicFlat a.vmdk 1M", true, false,
		"none is allowed");
	refused("qemu-img create -q -f vmdk -o subformat=monolithicFlat a.vmdk 1M && sed -i 's/^\\(RW .*\\) 0$/\\1 128/' a.vmdk",
		true, true, "place in the other file");
	refused("qemu-img create -q -f vmdk -o subformat=monolithicFlat a.vmdk 1M && sed -i 's/^\\(RW .*\\)\" 0$/\\1 0/' a.vmdk",
		true, true, "extent's name");
	refused("qemu-img create -q -f vmdk -o subformat=monolithicFlat a.vmdk 1M && echo 'RDONLY 8 FLAT \"x\" 0' >>a.vmdk",
		true, true, "or several");
	refused("qemu-img create -q -f vmdk -o subformat=streamOptimized a.vmdk 1M", true, true,
		"compressed");
	refused("qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentFlat a.vmdk 1M", true, true,
		"twoGbMaxExtentFlat");
	refused("qemu-img create -q -f vmdk b.vmdk 1M; qemu-img create -q -f vmdk -F vmdk -b b.vmdk a.vmdk",
		true, true, "parent");
	refused("printf abc >a.vmdk", true, true, "first bytes");
	refused("qemu-img create -q -f vmdk -o subformat=monolithicFlat a.vmdk 1M; sed -i 's,\"a-,\"/a-,' a.vmdk",
		true, true, "extent");
}

static void mutated(void)
{
	static uint8_t image[2][256 << 10];
	size_t len[2] = { 0 };
	unsigned good = 0, called = 0;

	CHECK_EQ(
		sh("rm -f a* b*; qemu-img create -q -f vmdk a.vmdk 4M; qemu-io -f vmdk -c 'write -P 3 64k 4k' a.vmdk; "
		   "qemu-img create -q -f vmdk -o subformat=monolithicFlat b.vmdk 1M"),
		0);
	for (unsigned i = 0; i < 2; i++) {
		int fd = image_fd(i ? "b.vmdk" : "a.vmdk", O_RDONLY);
		ssize_t n = read(fd, image[i], sizeof(image[i]));

		CHECK(n > 0);
		len[i] = (size_t)n;
		(void)close(fd);
	}
	for (unsigned i = 0; i < 5000; i++) {
		static uint8_t work[256 << 10];
		struct disk_cfg cfg = { .format = DISK_VMDK,
			.readonly = true,
			.open_backing = open_extent,
			.backing_arg = &called };
		unsigned k = i & 1;
		struct disk *d;

		memcpy(work, image[k], len[k]);
		for (unsigned c = 1 + rnd(4); c; c--)
			work[rnd(rnd(3) ? 80 + k * 300 : (uint32_t)MIN(len[k], (size_t)70000))] =
				(uint8_t)rnd(256);
		cfg.fd = memfd_create("image", MFD_CLOEXEC);
		CHECK(write(cfg.fd, work, len[k]) == (ssize_t)len[k]);
		if (disk_open(&cfg, &d, NULL))
			continue;
		good++;
		for (unsigned o = 0; o < 4; o++) {
			uint64_t at = (uint64_t)rnd(8192) * 512;

			if (range_ok(at, 65536, d->bytes))
				(void)read_all(d, at, buf, 65536);
		}
		disk_close(d);
	}
	printf("# %u of 5000 opened, %u extents asked for\n", good, called);
	CHECK(good > 100 && called);
}

static const struct test_case cases[] = {
	TEST(made_by_qemu_img),
	TEST(refused_by_name),
	TEST(mutated),
};

IMAGE_MAIN(cases)
