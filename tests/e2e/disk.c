// SPDX-License-Identifier: Apache-2.0
// Writes a disk so that it can be told afterwards what is there. Static; for guest and host.
/*
 * How it works
 *
 *   disk fill DEVICE SEED      every sector once, in pieces of random order and size
 *   disk check DEVICE SEED     that what fill wrote is there
 *   disk load DEVICE FILE      for ever: stamped sectors, fdatasync(), and then FILE says what is
 * safe disk look DEVICE FILE      that DEVICE holds what FILE says, or newer
 *
 * A sector is its number and a sequence number, repeated. FILE has a sequence number per piece of
 * PIECE bytes, which the host keeps when the guest is gone.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE 16384U
#define MAX   (64U << 20)

static uint64_t buf[PIECE / 8] __attribute__((aligned(4096)));
static uint64_t seed = 88172645463325252ULL;

static uint64_t rnd(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

_Noreturn static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void stamp(uint64_t at, uint64_t seq)
{
	for (unsigned i = 0; i < PIECE / 8; i += 2) {
		buf[i] = at + i * 8 / 512 * 512;
		buf[i + 1] = seq;
	}
}

/* The sequence number of a whole piece; dies when it is none. */
static uint64_t stamped(int fd, uint64_t at)
{
	uint64_t seq;

	if (pread(fd, buf, PIECE, (off_t)at) != (ssize_t)PIECE)
		die("read");
	seq = buf[1];
	for (unsigned i = 0; i < PIECE / 8; i += 2) {
		uint64_t sector = at + i * 8 / 512 * 512;

		if (buf[i + 1] > seq)
			seq = buf[i + 1];
		if (buf[i + 1] ? buf[i] != sector : buf[i]) {
			(void)fprintf(stderr, "at %llu: what was never written there\n",
				(unsigned long long)sector);
			exit(1);
		}
	}
	/* a piece may be half the newest, which was on its way: the oldest counts */
	for (unsigned i = 1; i < PIECE / 8; i += 2)
		if (buf[i] < seq)
			seq = buf[i];
	return seq;
}

static void load(int fd, uint64_t n, const char *file)
{
	static uint64_t done[MAX / PIECE];
	int f = open(file, O_RDWR | O_CREAT, 0600);

	if (f < 0 || ftruncate(f, (off_t)(n * 8)))
		die(file);
	if (pread(f, done, n * 8, 0) != (ssize_t)(n * 8))
		die(file);
	for (uint64_t seq = 1;; seq++) {
		uint64_t i = rnd(n);

		stamp(i * PIECE, seq);
		if (pwrite(fd, buf, PIECE, (off_t)(i * PIECE)) != (ssize_t)PIECE)
			die("write");
		done[i] = seq;
		if (rnd(16))
			continue;
		if (fdatasync(fd))
			die("fdatasync");
		if (pwrite(f, done, n * 8, 0) != (ssize_t)(n * 8))
			die(file);
	}
}

static void look(int fd, uint64_t n, const char *file)
{
	static uint64_t safe[MAX / PIECE];
	int f = open(file, O_RDONLY);
	unsigned some = 0;

	if (f < 0 || pread(f, safe, n * 8, 0) != (ssize_t)(n * 8))
		die(file);
	for (uint64_t i = 0; i < n; i++) {
		uint64_t seq = stamped(fd, i * PIECE);

		some += safe[i] != 0;
		if (seq < safe[i]) {
			(void)fprintf(stderr, "piece %llu: %llu, but %llu was flushed\n",
				(unsigned long long)i, (unsigned long long)seq,
				(unsigned long long)safe[i]);
			exit(1);
		}
	}
	(void)printf("%u\n", some);
}

int main(int argc, char **argv)
{
	int direct =
		argc > 1 && (!strcmp(argv[1], "fill") || !strcmp(argv[1], "load")) ? O_DIRECT : 0;
	int fd = argc == 4 ? open(argv[2], (direct ? O_RDWR : O_RDONLY) | direct) : -1;
	off_t bytes = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	uint64_t n = (uint64_t)bytes / PIECE;

	if (fd < 0 || bytes <= 0 || bytes > (off_t)MAX)
		die(argc == 4 ? argv[2] : "fill|check|load|look DEVICE SEED|FILE");
	if (!strcmp(argv[1], "load"))
		load(fd, n, argv[3]);
	if (!strcmp(argv[1], "look")) {
		look(fd, n, argv[3]);
		return 0;
	}
	for (uint64_t i = 0; i < n; i++) {
		/* an odd multiplier visits every piece of a power of two once */
		uint64_t at = (i * 2654435761ULL % n) * PIECE, seq = strtoull(argv[3], NULL, 10);

		if (direct) {
			stamp(at, seq);
			if (pwrite(fd, buf, PIECE, (off_t)at) != (ssize_t)PIECE)
				die("write");
		} else if (stamped(fd, at) != seq) {
			(void)fprintf(stderr, "at %llu: another\n", (unsigned long long)at);
			return 1;
		}
	}
	if (direct && fsync(fd))
		die("fsync");
	return 0;
}
