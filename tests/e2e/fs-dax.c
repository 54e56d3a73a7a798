// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest does with a file that it may have through the DAX window.
 *
 *   fs-dax random COUNT SEED FILE...   reads of 4 KiB from random places; prints ns for each
 *   fs-dax scan FILE                   reads it in order, prints ms and a checksum
 *   fs-dax kind FILE                   "dax" or "cache": where its pages are
 *   fs-dax mapped FILE                 maps it, checks what is there, changes it by store and
 * write() fs-dax shrink FILE GO              maps and touches it, waits for the file GO, touches it
 * again fs-dax watch FILE GO               as that, for another content
 *
 * How it works: a file's content is by place, each 4 KiB begin with their number, as 64 bits; so
 * every read can be checked. Waiting for the host is looking for a file that it makes.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096U

static sigjmp_buf jump;

static void on_bus(int sig)
{
	siglongjmp(jump, sig);
}

static void fail(const char *what)
{
	(void)fprintf(stderr, "fs-dax: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static int open_file(const char *path, int flags, uint64_t *blocks)
{
	struct stat st;
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		fail(path);
	*blocks = (uint64_t)st.st_size / BLOCK;
	return fd;
}

/* Each file as large as the first. */
static void do_random(uint64_t count, uint64_t seed, char **file, unsigned n)
{
	uint64_t blocks = 0, buf[BLOCK / 8], t;
	int fd[64];

	if (!n || n > 64)
		fail("files");
	for (unsigned i = 0; i < n; i++)
		fd[i] = open_file(file[i], O_RDONLY, &blocks);
	if (!blocks)
		fail("an empty file");
	t = now_ns();
	for (uint64_t i = 0; i < count; i++) {
		uint64_t r = rnd(&seed), at = (r >> 8) % blocks;

		if (pread(fd[r % n], buf, BLOCK, (off_t)(at * BLOCK)) != BLOCK)
			fail("pread");
		if (buf[0] != at) {
			errno = EIO;
			fail("another block's content");
		}
	}
	printf("%llu\n", (unsigned long long)((now_ns() - t) / count));
}

static void do_scan(const char *path)
{
	static uint64_t buf[(128U << 10) / 8];
	uint64_t blocks, sum = 0, t;
	int fd = open_file(path, O_RDONLY, &blocks);
	ssize_t n;

	t = now_ns();
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n / 8; i++)
			sum = sum * 31 + buf[i];
	printf("%llu %llx\n", (unsigned long long)((now_ns() - t) / 1000000),
		(unsigned long long)sum);
}

static void do_kind(const char *path)
{
	uint64_t blocks;
	struct statx sx;
	int fd = open_file(path, O_RDONLY, &blocks);

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) < 0)
		fail("statx");
	puts(sx.stx_attributes & STATX_ATTR_DAX ? "dax" : "cache");
}

static void do_mapped(const char *path)
{
	uint64_t blocks, out = 4711;
	int fd = open_file(path, O_RDWR, &blocks);
	uint64_t *p = mmap(NULL, blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	for (uint64_t i = 0; i < blocks; i++)
		if (p[i * BLOCK / 8] != i)
			fail("content");
	p[1] = 42;
	p[(blocks - 1) * BLOCK / 8 + 1] = 43;
	if (pwrite(fd, &out, 8, BLOCK + 8) != 8 || p[BLOCK / 8 + 1] != 4711)
		fail("what was written is not in the mapping");
	/* longer than it was: by a request, and seen through the same mapping of the window */
	if (pwrite(fd, &out, 8, (off_t)(blocks * BLOCK)) != 8 ||
		pread(fd, &out, 8, (off_t)(blocks * BLOCK)) != 8 || out != 4711)
		fail("appended");
	puts("mapped");
}

static void do_shrink(const char *path, const char *go)
{
	uint64_t blocks;
	int fd = open_file(path, O_RDONLY, &blocks), sig;
	volatile uint64_t *p = mmap(NULL, blocks * BLOCK, PROT_READ, MAP_SHARED, fd, 0);
	uint64_t last = (blocks - 1) * BLOCK / 8;
	struct sigaction sa = { .sa_handler = on_bus };

	if (p == MAP_FAILED)
		fail("mmap");
	(void)sigaction(SIGBUS, &sa, NULL);
	for (uint64_t i = 0; i < blocks; i++)
		if (p[i * BLOCK / 8] != i)
			fail("content");
	puts("ready");
	(void)fflush(stdout);
	while (access(go, F_OK) < 0)
		(void)usleep(50000);
	sig = sigsetjmp(jump, 1);
	if (sig)
		puts("SIGBUS");
	else
		printf("%llu\n", (unsigned long long)p[last]);
	printf("%llu\n", (unsigned long long)p[BLOCK / 8]);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "random") && argc > 4)
		do_random(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0) | 1, argv + 4,
			(unsigned)argc - 4);
	else if (!strcmp(what, "scan") && argc == 3)
		do_scan(argv[2]);
	else if (!strcmp(what, "kind") && argc == 3)
		do_kind(argv[2]);
	else if (!strcmp(what, "mapped") && argc == 3)
		do_mapped(argv[2]);
	else if (!strcmp(what, "shrink") && argc == 4)
		do_shrink(argv[2], argv[3]);
	else
		return 2;
	return 0;
}
