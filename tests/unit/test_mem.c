// SPDX-License-Identifier: Apache-2.0
/* Guest memory: the table, the doors, windows and discarding. */
/*
 * How it works
 *
 * Regions over real mappings, checked through the host: residency by mincore(), what is in a file
 * by pread(), absence of pages by EFAULT.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/mem.h"
#include "core/mem_pin.h"
#include "unit/test.h"

#define PAGE 4096ULL
#define MB   (1ULL << 20)

static const struct mem_ram_opts plain = { 0 }, memfd = { .memfd = true }, thp = { .thp = true };

static void table(void)
{
	struct error e = { 0 };
	struct mem m;

	mem_init(&m);
	CHECK_EQ(mem_top(&m), 0);
	CHECK_EQ(mem_add_ram(&m, GPA(4 * MB), 2 * MB, &plain, &e), 0);
	CHECK_EQ(mem_add_ram(&m, GPA(0), 4 * MB, &memfd, &e), 0);
	CHECK_EQ(mem_add_shm(&m, GPA(64 * MB), 8 * MB, &e), 0);
	CHECK_EQ(e.code, 0);
	CHECK(m.r[0].gpa == 0 && m.r[1].gpa == 4 * MB && m.r[2].gpa == 64 * MB);
	CHECK_EQ(mem_ram_bytes(&m), 6 * MB);
	CHECK_EQ(mem_top(&m), 72 * MB);
	CHECK_EQ(mem_add_ram(&m, GPA(6 * MB - PAGE), 2 * PAGE, &plain, NULL), -EEXIST);
	CHECK_EQ(mem_add_shm(&m, GPA(6 * MB), 100 * MB, NULL), -EEXIST);
	CHECK_EQ(mem_add_ram(&m, GPA(6 * MB), 0, &plain, NULL), -EINVAL);
	CHECK_EQ(mem_add_ram(&m, GPA(6 * MB), 100, &plain, NULL), -EINVAL);
	CHECK_EQ(mem_add_ram(&m, GPA(6 * MB + 1), PAGE, &plain, NULL), -EINVAL);
	CHECK_EQ(mem_add_ram(&m, GPA(0 - PAGE), PAGE, &plain, NULL), -EINVAL);
	CHECK_EQ(mem_add_ram(&m, GPA(0 - PAGE), 2 * PAGE, &plain, NULL), -EINVAL);
	mem_freeze(&m);
	CHECK_EQ(mem_add_ram(&m, GPA(6 * MB), PAGE, &plain, &e), -EBUSY);
	CHECK(strstr(e.msg, "guest RAM") != NULL);
	mem_destroy(&m);
	CHECK_EQ(m.n, 0);
	for (unsigned i = 0; i < LIM_REGIONS; i++)
		CHECK_EQ(mem_add_ram(&m, GPA(i * 2 * PAGE), PAGE, &plain, NULL), 0);
	CHECK_EQ(mem_add_ram(&m, GPA(MB * 64), PAGE, &plain, NULL), -ENOSPC);
	mem_destroy(&m);
}

static unsigned resident(const void *p, size_t len)
{
	unsigned char vec[4096];
	unsigned n = 0;

	if (len / PAGE > sizeof(vec) || mincore((void *)(uintptr_t)p, len, vec))
		return UINT32_MAX;
	for (size_t i = 0; i < len / PAGE; i++)
		n += vec[i] & 1;
	return n;
}

static void mappings(void)
{
	struct mem m;
	uint64_t one = 1;

	mem_init(&m);
	/* far more than this machine has, as nothing is touched */
	CHECK_EQ(mem_add_ram(&m, GPA(1ULL << 32), 1ULL << 38, &plain, NULL), 0);
	CHECK_EQ(mem_add_ram(&m, GPA(3 * MB), 5 * MB, &thp, NULL), 0);
	CHECK_EQ(mem_add_ram(&m, GPA(16 * MB), 4 * MB, &memfd, NULL), 0);
	for (unsigned i = 0; i < m.n; i++)
		CHECK_EQ((uintptr_t)m.r[i].hva % (2 * MB), m.r[i].gpa % (2 * MB));
	CHECK_EQ(resident(m.r[1].hva, 4 * MB), 0);
	CHECK_EQ(mem_write(&m, GPA((1ULL << 38) + (1ULL << 32) - 8), &one, 8), 0);
	CHECK_EQ(m.r[1].fd >= 0, 1);
	/* the memfd can't be resized under us */
	CHECK_EQ(ftruncate(m.r[1].fd, 0), -1);
	CHECK_EQ(errno, EPERM);
	CHECK_EQ(mem_write(&m, GPA(16 * MB), &one, 8), 0);
	one = 0;
	CHECK_EQ(pread(m.r[1].fd, &one, 8, 0), 8);
	CHECK_EQ(one, 1);
	mem_destroy(&m);
}

/* [0x10000, 0x20000) and [0x20000, 0x30000) of RAM, a hole, read-only at 0x40000, a window at
 * 0x50000. */
static void rig(struct mem *m)
{
	mem_init(m);
	if (mem_add_ram(m, GPA(0x20000), 0x10000, &plain, NULL) ||
		mem_add_ram(m, GPA(0x10000), 0x10000, &plain, NULL) ||
		mem_add_ram(m, GPA(0x40000), 0x10000, &plain, NULL) ||
		mem_add_shm(m, GPA(0x50000), 0x10000, NULL))
		abort();
	m->r[2].readonly = true;
	mem_freeze(m);
}

static void copies(void)
{
	struct mem m;
	char buf[16] = "0123456789abcde", got[16];

	rig(&m);
	CHECK_EQ(mem_write(&m, GPA(0x1fff8), buf, 16), 0);
	CHECK_EQ(mem_read(&m, got, GPA(0x1fff8), 16), 0);
	CHECK_STR(got, buf);
	CHECK(!memcmp(m.r[0].hva + 0xfff8, buf, 8) && !memcmp(m.r[1].hva, buf + 8, 8));
	CHECK_EQ(mem_write(&m, GPA(0x2fff0), buf, 16), 0);
	/* all or nothing */
	CHECK_EQ(mem_write(&m, GPA(0x2fff8), "................", 16), -EFAULT);
	CHECK(!memcmp(m.r[1].hva + 0xfff0, buf, 16));
	CHECK_EQ(mem_read(&m, got, GPA(0x2fff8), 16), -EFAULT);
	CHECK_STR(got, buf);
	CHECK_EQ(mem_read(&m, got, GPA(0xffff), 1), -EFAULT);
	CHECK_EQ(mem_read(&m, got, GPA(UINT64_MAX), 2), -EFAULT);
	CHECK_EQ(mem_read(&m, got, GPA(0x10000), SIZE_MAX), -EFAULT);
	CHECK_EQ(mem_read(&m, got, GPA(12345), 0), 0);
	/* read-only, and windows */
	CHECK_EQ(mem_read(&m, got, GPA(0x40000), 16), 0);
	CHECK_EQ(mem_write(&m, GPA(0x40000), buf, 1), -EFAULT);
	CHECK_EQ(mem_read(&m, got, GPA(0x4ffff), 2), -EFAULT);
	CHECK_EQ(mem_read(&m, got, GPA(0x50000), 1), -EFAULT);
	mem_destroy(&m);
}

static void vectors(void)
{
	struct iovec v[4];
	struct mem m;

	rig(&m);
	CHECK_EQ(mem_iov(&m, GPA(0x10000), 0x20000, MEM_IOV_WRITE, v, 4), 2);
	CHECK(v[0].iov_base == m.r[0].hva && v[0].iov_len == 0x10000);
	CHECK(v[1].iov_base == m.r[1].hva && v[1].iov_len == 0x10000);
	CHECK_EQ(mem_iov(&m, GPA(0x10000), 0x20000, 0, v, 1), -E2BIG);
	CHECK_EQ(mem_iov(&m, GPA(0x10000), 0x10000, 0, v, 1), 1);
	CHECK_EQ(mem_iov(&m, GPA(0x10000), 0x10001, 0, v, 1), -E2BIG);
	CHECK_EQ(mem_iov(&m, GPA(0x2ffff), 2, 0, v, 4), -EFAULT);
	CHECK_EQ(mem_iov(&m, GPA(0xffff), 2, 0, v, 4), -EFAULT);
	CHECK_EQ(mem_iov(&m, GPA(UINT64_MAX), UINT64_MAX, 0, v, 4), -EFAULT);
	CHECK_EQ(mem_iov(&m, GPA(0), 0, 0, v, 0), 0);
	CHECK_EQ(mem_iov(&m, GPA(0x4fff0), 0x20, 0, v, 4), -EFAULT);
	CHECK_EQ(mem_iov(&m, GPA(0x4fff0), 0x20, MEM_IOV_SHM, v, 4), 2);
	CHECK(!mem_in_window(&m, v[0].iov_base) && mem_in_window(&m, v[1].iov_base));
	CHECK_EQ(mem_iov(&m, GPA(0x4fff0), 0x20, MEM_IOV_SHM | MEM_IOV_WRITE, v, 4), -EFAULT);
	CHECK_EQ(mem_iov(&m, GPA(0x50000), 0x10000, MEM_IOV_SHM | MEM_IOV_WRITE, v, 4), 1);
	CHECK(!mem_in_window(&m, m.r[3].hva + 0x10000));
	mem_destroy(&m);
}

static void pins(void)
{
	struct mem m;

	rig(&m);
	CHECK(mem_pin(&m, GPA(0x10000), 0x10000, 16) == m.r[0].hva);
	CHECK(mem_pin(&m, GPA(0x1fff0), 16, 16) == m.r[0].hva + 0xfff0);
	CHECK(!mem_pin(&m, GPA(0x1fff0), 17, 16)); /* crosses */
	CHECK(!mem_pin(&m, GPA(0x1fff8), 8, 16));
	CHECK(!mem_pin(&m, GPA(0x10000), 0, 1));
	CHECK(!mem_pin(&m, GPA(0x10000), UINT64_MAX, 1));
	CHECK(!mem_pin(&m, GPA(0x30000), 1, 1));
	CHECK(!mem_pin(&m, GPA(0x40000), 1, 1)); /* read-only */
	CHECK(!mem_pin(&m, GPA(0x50000), 1, 1)); /* window */
	mem_destroy(&m);
}

static void windows(void)
{
	char name[] = "/tmp/krun-mem-XXXXXX";
	uint64_t v = 42;
	struct mem m;
	int fd = mkstemp(name);

	CHECK(fd >= 0 && !unlink(name) && !ftruncate(fd, 0x4000));
	CHECK_EQ(pwrite(fd, &v, 8, 0x2000), 8);
	rig(&m);
	CHECK_EQ(mem_shm_map(&m, GPA(0x50000), 0xe000, 0x2000, fd, 0x2000, false), 0);
	CHECK_EQ(*(uint64_t *)(void *)(m.r[3].hva + 0xe000), 42);
	CHECK_EQ(mem_shm_map(&m, GPA(0x50000), 0, 0x1000, fd, 0x1000, true), 0);
	*m.r[3].hva = 7;
	CHECK_EQ(pread(fd, &v, 1, 0x1000), 1);
	CHECK_EQ(v, 7);
	CHECK_EQ(mem_shm_unmap(&m, GPA(0x50000), 0xe000, 0x2000), 0);
	CHECK_EQ(write(fd, m.r[3].hva + 0xe000, 8), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(write(fd, m.r[3].hva, 8), 8);
	/* zero pages, which are the guest's own */
	CHECK_EQ(mem_shm_zero(&m, GPA(0x50000), 0x1000, 0x2000), 0);
	CHECK_EQ(m.r[3].hva[0x1000], 0);
	m.r[3].hva[0x2000] = 9;
	CHECK_EQ(mem_shm_settle(&m, GPA(0x50000), 0, 0x1000), 0);
	CHECK_EQ(*m.r[3].hva, 7);
	CHECK_EQ(m.r[3].hva[0x2000], 9);
	CHECK_EQ(mem_shm_zero(&m, GPA(0x50000), 0xf000, 0x2000), -EINVAL);
	CHECK_EQ(mem_shm_settle(&m, GPA(0x50000), 0xf000, 0x2000), -EINVAL);
	CHECK_EQ(mem_shm_zero(&m, GPA(0x10000), 0, 0x1000), -EINVAL);
	/* outside, unaligned, not a window, not its beginning */
	CHECK_EQ(mem_shm_map(&m, GPA(0x50000), 0xf000, 0x2000, fd, 0, false), -EINVAL);
	CHECK_EQ(mem_shm_map(&m, GPA(0x50000), UINT64_MAX - 0xfff, 0x2000, fd, 0, false), -EINVAL);
	CHECK_EQ(mem_shm_map(&m, GPA(0x50000), 0, 0x10, fd, 0, false), -EINVAL);
	CHECK_EQ(mem_shm_map(&m, GPA(0x50000), 0, 0x1000, fd, 8, false), -EINVAL);
	CHECK_EQ(mem_shm_map(&m, GPA(0x50000), 0, 0x1000, fd, 1ULL << 63, false), -EINVAL);
	CHECK_EQ(mem_shm_map(&m, GPA(0x50000), 0, 0, fd, 0, false), -EINVAL);
	CHECK_EQ(mem_shm_map(&m, GPA(0x51000), 0, 0x1000, fd, 0, false), -EINVAL);
	CHECK_EQ(mem_shm_map(&m, GPA(0x10000), 0, 0x1000, fd, 0, false), -EINVAL);
	CHECK_EQ(mem_shm_unmap(&m, GPA(0x10000), 0, 0x1000), -EINVAL);
	mem_destroy(&m);
	(void)close(fd);
}

static void discards(void)
{
	struct stat st;
	struct mem m;
	uint8_t *b;

	mem_init(&m);
	b = aligned_alloc(PAGE, 2 * PAGE);
	CHECK_EQ(mem_add_ram(&m, GPA(0), MB, &plain, NULL), 0);
	CHECK_EQ(mem_add_ram(&m, GPA(MB), MB, &memfd, NULL), 0);
	CHECK_EQ(mem_add_borrowed(&m, GPA(2 * MB), b, 2 * PAGE), 0);
	CHECK_EQ(mem_add_shm(&m, GPA(2 * MB + 2 * PAGE), PAGE, NULL), 0);
	memset(m.r[0].hva, 1, MB);
	memset(m.r[1].hva, 2, MB);
	memset(b, 3, 2 * PAGE);
	CHECK_EQ(mem_discard(&m, GPA(PAGE), 2 * MB), 0);
	CHECK_EQ(m.r[0].hva[PAGE - 1], 1);
	CHECK_EQ(resident(m.r[0].hva, MB), 1);
	for (uint64_t i = PAGE; i < MB; i += PAGE)
		CHECK_EQ(m.r[0].hva[i], 0);
	for (uint64_t i = 0; i < MB; i += PAGE)
		CHECK_EQ(m.r[1].hva[i], 0);
	CHECK(b[0] == 0 && b[PAGE - 1] == 0 && b[PAGE] == 3);
	/* reading has brought pages of the memfd back; after this they are gone from the file too
	 */
	CHECK_EQ(mem_discard(&m, GPA(MB), MB), 0);
	CHECK_EQ(fstat(m.r[1].fd, &st), 0);
	CHECK_EQ(st.st_blocks, 0);
	CHECK_EQ(st.st_size, MB);
	CHECK_EQ(mem_discard(&m, GPA(PAGE), 100), -EINVAL);
	CHECK_EQ(mem_discard(&m, GPA(1), PAGE), -EINVAL);
	CHECK_EQ(mem_discard(&m, GPA(0 - PAGE), 2 * PAGE), -EINVAL);
	m.r[0].hva[0] = 9;
	CHECK_EQ(mem_discard(&m, GPA(0), 4 * MB), -EFAULT);
	CHECK_EQ(mem_discard(&m, GPA(2 * MB), 3 * PAGE), -EFAULT); /* into the window */
	CHECK(m.r[0].hva[0] == 9 && b[PAGE] == 3);
	CHECK_EQ(mem_discard(&m, GPA(0), 0), 0);
	mem_destroy(&m);
	free(b);
}

static uint64_t free_huge_pages(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	unsigned long n = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "HugePages_Free: %lu", &n) != 1)
		;
	if (f)
		(void)fclose(f);
	return n;
}

/* Huge pages are all there or an error; they are never given back. The host's pool may have none.
 */
static void huge_pages(void)
{
	const struct mem_ram_opts huge = { .huge = true, .thp = true };
	struct error e = { 0 };
	struct mem m;
	int r;

	mem_init(&m);
	CHECK_EQ(mem_add_ram(&m, GPA(0), 3 * MB, &huge, &e), -EINVAL);
	CHECK_EQ(mem_add_ram(&m, GPA(MB), 2 * MB, &huge, NULL), -EINVAL);
	e = (struct error){ 0 };
	/* one more than the host has free */
	CHECK_EQ(mem_add_ram(&m, GPA(0), (free_huge_pages() + 1) * 2 * MB, &huge, &e), -ENOSPC);
	CHECK(strstr(e.msg, "too few free"));
	CHECK(m.n == 0 && !mem_gives_back(&m));
	r = mem_add_ram(&m, GPA(0), 4 * MB, &huge, NULL);
	if (r) {
		printf("# no free huge pages: what is done with them is not tried\n");
		CHECK_EQ(r, -ENOSPC);
		return;
	}
	CHECK(m.r[0].backing == MEM_MEMFD && m.r[0].fd >= 0 && m.r[0].hva[3 * MB] == 0);
	m.r[0].hva[3 * MB] = 7;
	CHECK(!mem_gives_back(&m));
	CHECK_EQ(mem_discard(&m, GPA(2 * MB), 2 * MB), -EOPNOTSUPP);
	CHECK_EQ(m.r[0].hva[3 * MB], 7);
	CHECK_EQ(mem_add_ram(&m, GPA(4 * MB), MB, &plain, NULL), 0);
	CHECK(mem_gives_back(&m));
	mem_destroy(&m);
}

/* A private file mapping shows the file again. */
static void discard_file(void)
{
	char name[] = "/tmp/krun-mem-XXXXXX";
	int fd = mkstemp(name);
	struct mem m;
	void *p;

	CHECK(fd >= 0 && !unlink(name) && !ftruncate(fd, 0x2000) &&
		pwrite(fd, "F", 1, 0x1000) == 1);
	p = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED);
	mem_init(&m);
	m.r[m.n++] = (struct mem_region){ .len = 0x2000, .hva = p, .backing = MEM_FILE, .fd = fd };
	CHECK_EQ(mem_write(&m, GPA(0x1000), "G", 1), 0);
	CHECK_EQ(m.r[0].hva[0x1000], 'G');
	CHECK_EQ(mem_discard(&m, GPA(0x1000), 0x1000), 0);
	CHECK_EQ(m.r[0].hva[0x1000], 'F');
	mem_destroy(&m);
	CHECK_EQ(fcntl(fd, F_GETFD), -1);
}

static const struct test_case cases[] = {
	TEST(table),
	TEST(mappings),
	TEST(copies),
	TEST(vectors),
	TEST(pins),
	TEST(windows),
	TEST(discards),
	TEST(discard_file),
	TEST(huge_pages),
};

TEST_MAIN(cases)
