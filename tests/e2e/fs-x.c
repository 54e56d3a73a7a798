// SPDX-License-Identifier: Apache-2.0
/*
 * One file, and what it must hold: random reads, writes, mappings, truncations, holes and copies,
 * each compared with a copy in memory.
 *
 *   fs-x FILE SEED OPERATIONS
 */
/*
 * How it works
 *
 * The file is open twice, so that one descriptor's writes are the other's reads, and mapped over
 * and over. Every operation changes the model first; every read compares. Now and then the file is
 * synced and its pages are dropped, so that what comes next is read from below; the whole is
 * compared every 200 operations and at the end. A difference prints the last operations.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_SIZE (512U << 10)
#define LAST	 64

static uint8_t model[MAX_SIZE + 1], buf[MAX_SIZE + 1];
static size_t size;
static int fd[2], direct;
static uint64_t state;
static const char *path;
static char last[LAST][80];
static unsigned long n;

static size_t rnd(size_t max)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (size_t)(state >> 20) % (max ? max : 1);
}

static void fail(const char *what, size_t at)
{
	for (unsigned long i = n > LAST ? n - LAST + 1 : 0; i <= n; i++)
		fprintf(stderr, "%lu: %s\n", i, last[i % LAST]);
	fprintf(stderr, "%s at %zu of %zu: %s\n", what, at, size, strerror(errno));
	exit(1);
}

static void note(const char *what, size_t off, size_t len)
{
	(void)snprintf(
		last[n % LAST], sizeof(last[0]), "%s %zu +%zu, size %zu", what, off, len, size);
}

static void compare(const char *what, const uint8_t *b, size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (b[i] != model[off + i]) {
			fprintf(stderr, "%02x, not %02x\n", b[i], model[off + i]);
			fail(what, off + i);
		}
}

/* The model after the file has grown to @to, or shrunk. */
static void resize(size_t to)
{
	if (to > size)
		memset(model + size, 0, to - size);
	size = to;
}

static void fill(size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)rnd(256);
	if (off + len > size)
		resize(off + len);
	memcpy(model + off, buf, len);
}

static void op_write(size_t off, size_t len)
{
	note("write", off, len);
	fill(off, len);
	if (pwrite(fd[rnd(2)], buf, len, (off_t)off) != (ssize_t)len)
		fail("write", off);
}

static void op_read(size_t off, size_t len)
{
	size_t want = off >= size ? 0 : len < size - off ? len : size - off;

	note("read", off, len);
	if (pread(fd[rnd(2)], buf, len, (off_t)off) != (ssize_t)want)
		fail("read", off);
	compare("read", buf, off, want);
}

static void op_map(size_t off, size_t len, int write)
{
	size_t page = off & ~4095UL;
	uint8_t *p;

	note(write ? "map, write" : "map, read", off, len);
	if (write) {
		if (off + len > size) {
			if (ftruncate(fd[0], (off_t)(off + len)) < 0)
				fail("truncate to map", off);
			resize(off + len);
		}
	} else if (off >= size) {
		return;
	} else if (off + len > size) {
		len = size - off;
	}
	if (!len)
		return;
	p = mmap(NULL, off - page + len, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED,
		fd[write ? 0 : rnd(2)], (off_t)page);
	if (p == MAP_FAILED)
		fail("mmap", off);
	if (write) {
		fill(off, len);
		memcpy(p + off - page, buf, len);
		if (!rnd(4) && msync(p, off - page + len, MS_SYNC) < 0)
			fail("msync", off);
	} else {
		compare("map", p + off - page, off, len);
	}
	(void)munmap(p, off - page + len);
}

static void op_truncate(size_t to)
{
	note("truncate", to, 0);
	if ((rnd(2) ? ftruncate(fd[0], (off_t)to) : truncate(path, (off_t)to)) < 0)
		fail("truncate", to);
	resize(to);
}

static void op_fallocate(size_t off, size_t len)
{
	static const int modes[] = { 0, FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE };
	int mode = modes[rnd(5)];

	note(mode & FALLOC_FL_PUNCH_HOLE	      ? "punch"
			: mode & FALLOC_FL_ZERO_RANGE ? "zero"
						      : "allocate",
		off, len);
	if (!len)
		return;
	if (fallocate(fd[0], mode, (off_t)off, (off_t)len) < 0)
		fail("fallocate", off);
	if (!(mode & FALLOC_FL_KEEP_SIZE) && off + len > size)
		resize(off + len);
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) && off < size)
		memset(model + off, 0, len < size - off ? len : size - off);
}

static void op_copy(size_t from, size_t to, size_t len)
{
	loff_t a, b;
	long r;

	if (from >= size)
		return;
	if (len > size - from)
		len = size - from;
	if (from < to + len && to < from + len)
		return;
	note("copy", from, len);
	note("copy to", to, len);
	while (len) {
		a = (loff_t)from;
		b = (loff_t)to;
		r = syscall(SYS_copy_file_range, fd[0], &a, fd[1], &b, len, 0);
		if (r <= 0)
			fail("copy", from);
		if (to + (size_t)r > size)
			resize(to + (size_t)r);
		memcpy(model + to, model + from, (size_t)r);
		from += (size_t)r;
		to += (size_t)r;
		len -= (size_t)r;
	}
}

static void check_all(void)
{
	struct stat st;

	if (fstat(fd[1], &st) < 0 || (size_t)st.st_size != size)
		fail("size", (size_t)st.st_size);
	if (pread(fd[1], buf, sizeof(buf), 0) != (ssize_t)size)
		fail("read of all", 0);
	compare("all", buf, 0, size);
}

static void op_direct(void)
{
	static uint8_t *b;
	size_t off = rnd(size + 1) & ~4095UL, want = size - off < 65536 ? size - off : 65536;

	if (!b && posix_memalign((void **)&b, 4096, 65536))
		fail("memory", 0);
	note("direct read", off, want);
	if (direct < 0)
		return;
	if (pread(direct, b, 65536, (off_t)off) != (ssize_t)want)
		fail("direct read", off);
	compare("direct read", b, off, want);
}

static void op_upset(void)
{
	note("sync, drop, open", 0, 0);
	if (fsync(fd[0]) < 0)
		fail("fsync", 0);
	(void)posix_fadvise(fd[0], 0, 0, POSIX_FADV_DONTNEED);
	(void)close(fd[1]);
	fd[1] = open(path, O_RDWR | O_CLOEXEC);
	if (fd[1] < 0)
		fail("open", 0);
}

int main(int argc, char **argv)
{
	unsigned long ops;

	if (argc != 4) {
		fprintf(stderr, "usage: fs-x FILE SEED OPERATIONS\n");
		return 2;
	}
	path = argv[1];
	state = strtoull(argv[2], NULL, 0) | 1;
	ops = strtoul(argv[3], NULL, 0);
	fd[0] = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644);
	fd[1] = open(path, O_RDWR | O_CLOEXEC);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd[0] < 0 || fd[1] < 0)
		fail("open", 0);
	for (n = 0; n < ops; n++) {
		size_t off = rnd(MAX_SIZE - 70000), len = rnd(rnd(4) ? 9000 : 65536);

		switch (rnd(14)) {
		case 0:
		case 1:
		case 2:
			op_write(off, len);
			break;
		case 3:
		case 4:
		case 5:
			op_read(off, len);
			break;
		case 6:
		case 7:
			op_map(off, len, 1);
			break;
		case 8:
			op_map(off, len, 0);
			break;
		case 9:
			op_truncate(rnd(2) ? off : rnd(size));
			break;
		case 10:
			op_fallocate(off, len);
			break;
		case 11:
			op_copy(off, rnd(MAX_SIZE - 70000), len);
			break;
		case 12:
			op_direct();
			break;
		default:
			if (!rnd(10))
				op_upset();
		}
		if (n % 200 == 0)
			check_all();
	}
	op_upset();
	check_all();
	printf("%lu operations\n", ops);
	return 0;
}
