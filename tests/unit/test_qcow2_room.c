// SPDX-License-Identifier: Apache-2.0
// qcow2 on a host without room, images that are there to keep us busy, and clusters that are the
// disk's own without saying so.

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "dev/disk_qcow2.h"
#include "dev/disk_qcow2_be.h"
#include "unit/image_rig.h"

#define MIB	(1U << 20)
#define STRETCH 32768U /* of the disk, by one L2 table of 512 bytes */
#define TABLES	80U    /* more than there are in memory */

static uint8_t buf[65536];

/* A request that has no room is one error. Flushes, reads and writes of what is there go on, also
 * those that need a table which is not in memory. */
static void a_table_without_room(void)
{
	struct rlimit old, small;
	struct stat st;
	struct disk *d;

	_Static_assert(TABLES > QCOW2_TABLES, "some have to be read anew");
	CHECK(!getrlimit(RLIMIT_FSIZE, &old));
	(void)signal(SIGXFSZ, SIG_IGN);
	SH_OK("qemu-img create -q -f qcow2 -o cluster_size=512 a 6M");
	d = open_disk("a", false, false, NULL);
	CHECK(d);
	for (unsigned i = 0; i < TABLES; i++) {
		memset(buf, (int)i + 1, 512);
		CHECK_EQ(request(d, DISK_WRITE, i * STRETCH, buf, 512), 0);
	}
	CHECK_EQ(request(d, DISK_FLUSH, 0, NULL, 0), 0);
	CHECK(!fstat(((struct qcow2 *)d)->fd, &st));
	small = (struct rlimit){ .rlim_cur = (rlim_t)st.st_size, .rlim_max = old.rlim_max };
	CHECK(!setrlimit(RLIMIT_FSIZE, &small));
	for (unsigned i = TABLES; i < TABLES + 20; i++) {
		CHECK_EQ(request(d, DISK_WRITE, i * STRETCH, buf, 512), -EFBIG);
		CHECK_EQ(request(d, DISK_FLUSH, 0, NULL, 0), 0);
	}
	for (unsigned i = 0; i < TABLES; i++) {
		CHECK_EQ(request(d, DISK_READ, i * STRETCH, buf, 512), 0);
		CHECK(buf[0] == i + 1 && !memcmp(buf, buf + 1, 511));
		memset(buf, (int)i + 101, 512);
		CHECK_EQ(request(d, DISK_WRITE, i * STRETCH, buf, 512), 0);
	}
	CHECK_EQ(request(d, DISK_FLUSH, 0, NULL, 0), 0);
	CHECK(!setrlimit(RLIMIT_FSIZE, &old));
	CHECK_EQ(request(d, DISK_WRITE, TABLES * STRETCH, buf, 512), 0);
	disk_close(d);
	SH_OK("qemu-img check -q a");
	d = open_disk("a", true, false, NULL);
	CHECK(d);
	for (unsigned i = 0; i < TABLES; i++) {
		CHECK_EQ(request(d, DISK_READ, i * STRETCH, buf, 512), 0);
		CHECK(buf[0] == i + 101 && !memcmp(buf, buf + 1, 511));
	}
	disk_close(d);
}

/* All counts of an image, for 1 EiB of it, are one block that is full. */
static void counts_without_end(void)
{
	uint64_t rt = 4ULL * MIB, n = 8ULL * MIB, block;
	uint8_t be[12];
	struct disk *d;
	clock_t begin; /* of the processor: a busy host has its own */
	int fd;

	SH_OK("rm -f a && qemu-img create -q -f qcow2 -o cluster_size=64k,refcount_bits=1 a 6M");
	fd = image_fd("a", O_RDWR);
	CHECK(fd >= 0 && pread(fd, be, 8, 48) == 8);
	CHECK_EQ(pread(fd, be, 8, (off_t)get_be64(be)), 8);
	block = get_be64(be);
	for (unsigned i = 0; i < sizeof(buf); i += 8)
		put_be64(buf + i, block);
	for (uint64_t at = 0; at < n; at += sizeof(buf))
		CHECK_EQ(pwrite(fd, buf, sizeof(buf), (off_t)(rt + at)), sizeof(buf));
	memset(buf, 0xff, sizeof(buf));
	CHECK_EQ(pwrite(fd, buf, sizeof(buf), (off_t)block), sizeof(buf));
	put_be64(be, rt);
	put_be32(be + 8, (uint32_t)(n / 65536));
	CHECK_EQ(pwrite(fd, be, 12, 48), 12);
	(void)close(fd);
	d = open_disk("a", false, false, NULL);
	CHECK(d);
	begin = clock();
	for (unsigned i = 0; i < 10; i++)
		CHECK_EQ(request(d, DISK_WRITE, i * 65536, buf, 512), -EFBIG);
	CHECK(clock() - begin < 30 * CLOCKS_PER_SEC);
	disk_close(d);
}

/* A cluster that nobody else has stays where it is when it is zeroed, flag or no flag: who reads
 * there has been told its place. */
static void zeroes_in_place(void)
{
	uint64_t l1, l2, entry, now;
	uint8_t be[8];
	struct disk *d;
	int fd;

	SH_OK("rm -f a && qemu-img create -q -f qcow2 -o cluster_size=4k a 6M && "
	      "qemu-io -f qcow2 -c 'write -P 3 0 64k' a");
	fd = image_fd("a", O_RDWR);
	CHECK(fd >= 0 && pread(fd, be, 8, 40) == 8);
	l1 = get_be64(be);
	CHECK_EQ(pread(fd, be, 8, (off_t)l1), 8);
	l2 = get_be64(be) & QCOW2_OFFSET;
	CHECK_EQ(pread(fd, be, 8, (off_t)l2), 8);
	entry = get_be64(be);
	CHECK(entry & QCOW2_COPIED);
	put_be64(be, entry & ~QCOW2_COPIED);
	CHECK_EQ(pwrite(fd, be, 8, (off_t)l2), 8);
	d = open_disk("a", false, false, NULL);
	CHECK(d);
	CHECK_EQ(request(d, DISK_ZERO_UNMAP, 0, NULL, 4096), 0);
	CHECK_EQ(request(d, DISK_READ, 0, buf, 8192), 0);
	CHECK(!buf[0] && !memcmp(buf, buf + 1, 4095) && buf[4096] == 3);
	disk_close(d);
	CHECK_EQ(pread(fd, be, 8, (off_t)l2), 8);
	now = get_be64(be);
	CHECK_EQ(now, entry);
	(void)close(fd);
	SH_OK("qemu-img check -q a");
}

static const struct test_case cases[] = {
	TEST(a_table_without_room),
	TEST(counts_without_end),
	TEST(zeroes_in_place),
};

IMAGE_MAIN(cases)
