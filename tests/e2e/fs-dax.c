// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest does with a file that it may have through the DAX window.
 *
 *   fs-dax random COUNT SEED FILE...   reads of 4 KiB from random places; prints ns for each
 *   fs-dax scan FILE                   reads it in order, prints ms and a checksum
 *   fs-dax kind FILE                   "dax" or "cache": where its pages are
 *   fs-dax mapped FILE                 maps it, checks what is there, changes it by store and by
 *                                      write()
 *   fs-dax shrink FILE GO              maps and touches it, waits for the file GO, touches it again
 *   fs-dax regrow FILE SECONDS         truncates it and writes it again, 3 times and for so long,
 * with another process that touches its end, and checks the mapping fs-dax first FILE is the first
 * to write to it, while it is open for reading fs-dax full FILE OTHER             makes holes in
 * what is mapped, with OTHER filling the disk
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

/* Touches the last page of @p for ever, whatever is there. */
static void touch(volatile uint64_t *p, uint64_t blocks)
{
	struct sigaction sa = { .sa_handler = on_bus };
	volatile uint64_t sum = 0;

	(void)sigaction(SIGBUS, &sa, NULL);
	(void)sigsetjmp(jump, 1);
	for (;; (void)usleep(1000))
		sum += p[(blocks - 1) * BLOCK / 8];
}

static void write_all(int fd, uint64_t blocks, uint64_t round)
{
	static uint64_t buf[(512U << 10) / 8];
	const uint64_t n = sizeof(buf) / BLOCK;

	for (uint64_t at = 0; at < blocks; at += n) {
		for (uint64_t i = 0; i < n; i++) {
			buf[i * BLOCK / 8] = at + i;
			buf[i * BLOCK / 8 + 1] = round;
		}
		if (pwrite(fd, buf, sizeof(buf), (off_t)(at * BLOCK)) != sizeof(buf))
			fail("pwrite");
	}
}

static void do_regrow(const char *path, uint64_t seconds)
{
	uint64_t blocks, end = now_ns() + seconds * 1000000000U, round = 0;
	int fd = open_file(path, O_RDWR, &blocks);
	uint64_t *p = mmap(NULL, blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pid_t pid;

	if (p == MAP_FAILED)
		fail("mmap");
	for (uint64_t i = 0; i < blocks; i++)
		p[i * BLOCK / 8 + 2] = i;
	pid = fork();
	if (!pid)
		touch(p, blocks);
	while (round < 3 || now_ns() < end) {
		round++;
		if (ftruncate(fd, 0) < 0)
			fail("ftruncate");
		(void)usleep(300000);
		write_all(fd, blocks, round);
		for (uint64_t i = 0; i < blocks; i++)
			if (p[i * BLOCK / 8] != i || p[i * BLOCK / 8 + 1] != round)
				fail("what was written is not in the mapping");
	}
	(void)kill(pid, SIGKILL);
	puts("regrown");
}

static void do_first(const char *path)
{
	uint64_t blocks, v = 4711;
	int fd = open_file(path, O_RDONLY, &blocks), w;
	uint64_t *p = mmap(NULL, blocks * BLOCK, PROT_READ, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	if (p[BLOCK / 8] != 1 || pread(fd, &v, 8, 2 * BLOCK) != 8 || v != 2)
		fail("content");
	w = open_file(path, O_RDWR, &blocks);
	v = 4711;
	if (pwrite(w, &v, 8, BLOCK) != 8 || pread(fd, &v, 8, BLOCK) != 8)
		fail("pwrite, pread");
	printf("%llu %llu\n", (unsigned long long)v, (unsigned long long)p[BLOCK / 8]);
}

static const char *answer(int r)
{
	return r < 0 ? strerror(errno) : "done";
}

/* The file has 4 MiB; half a MiB of its first range is written to in the end. */
static void do_full(const char *path, const char *other)
{
	static const char zeroes[64 << 10];
	uint64_t blocks;
	int fd = open_file(path, O_RDWR, &blocks), o = open(other, O_CREAT | O_WRONLY, 0600);
	uint64_t *p = mmap(NULL, blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED || o < 0)
		fail("mmap, open");
	p[1] = 1;
	if (ftruncate(fd, 1 << 20) < 0)
		fail("ftruncate");
	while (write(o, zeroes, sizeof(zeroes)) > 0)
		;
	printf("%s\n", strerror(errno));
	printf("%s\n", answer(ftruncate(fd, 2 << 20)));
	printf("%s\n",
		answer(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 512 << 10)));
	for (unsigned i = 0; i < (512 << 10) / BLOCK; i++)
		p[i * BLOCK / 8 + 1] = i + 1;
	printf("%lld\n", (long long)lseek(fd, 0, SEEK_END));
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
	else if (!strcmp(what, "regrow") && argc == 4)
		do_regrow(argv[2], strtoull(argv[3], NULL, 0));
	else if (!strcmp(what, "first") && argc == 3)
		do_first(argv[2]);
	else if (!strcmp(what, "full") && argc == 4)
		do_full(argv[2], argv[3]);
	else
		return 2;
	return 0;
}
