// SPDX-License-Identifier: Apache-2.0
/* For two guests: counter flock|posix|mapped FILE N adds 1 to the number in FILE N times, each time
 * under a lock, with the file open all the time. "mapped": by shared memory, under a POSIX lock.
 * counter flags FILE: do the flags of one write go before those of the open file?
 * counter made FILE N: opens it with O_CREAT and removes it, N times; prints what fails.
 * counter records FILE N: two processes add to a number each, in one page, under a lock of that.
 * counter downgrade FILE: writes 77 by shared memory under a lock that becomes one for reading;
 * says so, and sleeps. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20 /* Linux 6.9 */
#endif

static bool lock(int fd, bool whole, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET };

	return whole ? !flock(fd, type == F_UNLCK ? LOCK_UN : LOCK_EX) : !fcntl(fd, F_SETLKW, &l);
}

static bool flags(const char *path)
{
	const struct iovec x = { (char[]){ "x" }, 1 }, y = { (char[]){ "y" }, 1 };
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0644);
	char b[16] = "";

	return fd >= 0 && write(fd, "0123456789", 10) == 10 &&
		pwritev2(fd, &x, 1, 0, RWF_NOAPPEND) == 1 && !fcntl(fd, F_SETFL, 0) &&
		pwritev2(fd, &y, 1, 0, RWF_APPEND) == 1 && pwrite(fd, "Z", 1, 1) == 1 &&
		pread(fd, b, sizeof(b) - 1, 0) == 11 && !strcmp(b, "xZ23456789y");
}

/* Who removes it may be somebody else. */
static int made(const char *path, int n)
{
	int bad = 0;

	while (n--) {
		int fd = open(path, O_RDWR | O_CREAT, 0666);

		bad |= fd < 0;
		if (fd < 0)
			perror("open");
		(void)close(fd);
		(void)unlink(path);
	}
	return bad;
}

/* Nobody else writes record @i: what is read is what was written last. */
static int record(const char *path, int n, int i)
{
	struct flock l = { .l_whence = SEEK_SET, .l_start = i * 64, .l_len = 64 };
	int fd = open(path, O_RDWR);

	for (uint32_t last = 0, v; n--; last = v) {
		l.l_type = F_WRLCK;
		if (fcntl(fd, F_SETLKW, &l) || pread(fd, &v, sizeof(v), l.l_start) != sizeof(v))
			return 1;
		if (v != last)
			return printf("record %d: %u after %u\n", i, v, last);
		v++;
		if (pwrite(fd, &v, sizeof(v), l.l_start) != sizeof(v))
			return 1;
		l.l_type = F_UNLCK;
		if (fcntl(fd, F_SETLK, &l))
			return 1;
	}
	return 0;
}

static int records(const char *path, int n)
{
	pid_t pid = fork();
	int st;

	if (!pid)
		exit(record(path, n, 1));
	n = record(path, n, 0);
	return waitpid(pid, &st, 0) == pid && !st ? n : 1;
}

static int downgrade(const char *path)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = open(path, O_RDWR);
	volatile uint32_t *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED || fcntl(fd, F_SETLKW, &l))
		return 1;
	*map = 77;
	l.l_type = F_RDLCK;
	if (!fcntl(fd, F_SETLK, &l) && dprintf(STDOUT_FILENO, "for reading\n") > 0)
		(void)pause();
	return 1;
}

int main(int argc, char **argv)
{
	volatile uint32_t *map = NULL;
	uint32_t v;
	int fd;

	if (argc == 3 && !strcmp(argv[1], "flags"))
		return flags(argv[2]) ? 0 : 1;
	if (argc == 3 && !strcmp(argv[1], "downgrade"))
		return downgrade(argv[2]);
	if (argc != 4)
		return 2;
	if (!strcmp(argv[1], "made"))
		return made(argv[2], atoi(argv[3]));
	if (!strcmp(argv[1], "records"))
		return records(argv[2], atoi(argv[3]));
	fd = open(argv[2], O_RDWR);
	if (fd < 0)
		return 2;
	if (!strcmp(argv[1], "mapped")) {
		map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			return 2;
	}
	for (int n = atoi(argv[3]); n; n--) {
		if (!lock(fd, argv[1][0] == 'f', F_WRLCK))
			return 1;
		if (map) {
			*map = *map + 1;
		} else {
			if (pread(fd, &v, sizeof(v), 0) != sizeof(v))
				return 1;
			v++;
			if (pwrite(fd, &v, sizeof(v), 0) != sizeof(v))
				return 1;
		}
		if (!lock(fd, argv[1][0] == 'f', F_UNLCK))
			return 1;
	}
	return 0;
}
