// SPDX-License-Identifier: Apache-2.0
/* What fs-faults.sh lets happen below a program's files, as the program sees it: natively and in a
 * guest, where it must see the same. */
/*
 *   fs-faults disk DIR    reads what is on a disk that has failed, and tries to change it
 *   fs-faults hand DIR    opens and maps files, makes DIR/ready, waits for DIR/done, and looks
 * again
 *
 * How it works: each call prints a line, "WHAT = result" or an errno's name. In the second mode the
 * script cuts, removes, replaces and moves between "ready" and "done"; what a guest knows of names
 * and sizes is a second old at most, so each look waits for what it must come to see, for a minute.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static void line(const char *what, long r)
{
	if (r < 0)
		printf("%s = %s\n", what, strerrorname_np(errno));
	else
		printf("%s = %ld\n", what, r);
	(void)fflush(stdout);
}

#define T(what, call) line(what, (errno = 0, (long)(call)))

static sigjmp_buf back;

static void on_bus(int sig)
{
	siglongjmp(back, sig);
}

/* The byte at @at of a mapping. */
static void byte(const char *what, const char *p, size_t at)
{
	(void)signal(SIGBUS, on_bus);
	if (sigsetjmp(back, 1))
		printf("%s = SIGBUS\n", what);
	else
		printf("%s = %d\n", what, *(volatile const char *)(p + at));
	(void)signal(SIGBUS, SIG_DFL);
	(void)fflush(stdout);
}

static const char *map(int fd, size_t n)
{
	return mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
}

static int disk(void)
{
	int data = open("data", O_RDONLY | O_CLOEXEC), dir = open("cold", O_RDONLY | O_CLOEXEC), fd;
	const char *p = map(data, 4096);
	struct stat st;
	char b[4096];

	T("what is cached", (fd = open("cached", O_RDONLY | O_CLOEXEC), read(fd, b, 6)));
	(void)close(fd);
	T("read", read(data, b, sizeof(b)));
	T("pread", pread(data, b, sizeof(b), 65536));
	if (p != MAP_FAILED)
		byte("a mapped page", p, 100);
	T("getdents", syscall(SYS_getdents64, dir, b, sizeof(b)));
	T("a name in a directory", stat("cold/f", &st));
	T("readlink", readlink("link", b, sizeof(b)));
	T("getxattr", getxattr("attr", "user.large", b, sizeof(b)));
	T("a file is opened", (fd = open("cached", O_RDWR | O_CLOEXEC), fd < 0 ? -1 : 0));
	T("write and fsync", pwrite(fd, b, 100, 100000) < 0 ? -1 : fsync(fd));
	return 0;
}

static bool waits_for(bool (*fn)(void))
{
	const struct timespec ms = { .tv_nsec = 20000000 };

	for (unsigned i = 0; i < 3000; i++) {
		if (fn())
			return true;
		(void)nanosleep(&ms, NULL);
	}
	printf("waited in vain\n");
	return false;
}

static bool done(void)
{
	return !access("done", F_OK);
}

static bool is_cut(void)
{
	struct stat st;

	return !stat("cut", &st) && st.st_size == 10;
}

static bool names_are_new(void)
{
	struct stat st;

	return stat("removed", &st) < 0 && !stat("replaced", &st) && st.st_size == 4 &&
		!stat("typed", &st) && S_ISDIR(st.st_mode) && stat("gone", &st) < 0 &&
		stat("moved", &st) < 0 && !stat("moved-now/f", &st);
}

static int hand(void)
{
	int cut = open("cut", O_RDWR | O_CLOEXEC), removed = open("removed", O_RDWR | O_CLOEXEC),
	    replaced = open("replaced", O_RDONLY | O_CLOEXEC),
	    typed = open("typed", O_RDONLY | O_CLOEXEC), gone = open("gone", O_RDONLY | O_CLOEXEC),
	    moved = open("moved", O_RDONLY | O_CLOEXEC), fd;
	const char *a = map(cut, 100000), *r = map(removed, 4096), *o = map(replaced, 4096);
	char b[4096] = "";

	if (a == MAP_FAILED || r == MAP_FAILED || o == MAP_FAILED)
		return 2;
	byte("cut, before", a, 50000);
	byte("removed, before", r, 0);
	byte("replaced, before", o, 0);
	(void)close(open("ready", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	if (!waits_for(done) || !waits_for(is_cut) || !waits_for(names_are_new))
		return 1;
	byte("cut: what is left", a, 5);
	byte("cut: the rest of its page", a, 20);
	byte("cut: a page that is gone", a, 50000);
	T("cut: read behind the end", pread(cut, b, 10, 50000));
	T("cut: written behind it", pwrite(cut, "more", 4, 60000));
	byte("cut: a hole, mapped", a, 50000);
	byte("cut: what was written", a, 60000);
	byte("removed: mapped", r, 0);
	T("removed: read", pread(removed, b, 4, 0));
	T("removed: written", pwrite(removed, "R", 1, 0));
	byte("removed: mapped, after that", r, 0);
	T("removed: truncated", ftruncate(removed, 100));
	byte("replaced: mapped", o, 0);
	T("replaced: by the old file", pread(replaced, b, sizeof(b), 0));
	T("replaced: by name", (fd = open("replaced", O_RDONLY | O_CLOEXEC), read(fd, b, 100)));
	(void)close(fd);
	T("typed: by the old file", pread(typed, b, sizeof(b), 0));
	T("typed: to write", open("typed", O_WRONLY));
	T("gone: getdents", syscall(SYS_getdents64, gone, b, sizeof(b)));
	T("gone: a name", openat(gone, "f", O_RDONLY));
	T("gone: a new one", openat(gone, "n", O_RDWR | O_CREAT, 0600));
	T("gone: mkdir", mkdirat(gone, "n", 0700));
	T("moved: a name", (fd = openat(moved, "f", O_RDONLY | O_CLOEXEC), read(fd, b, 100)));
	(void)close(fd);
	T("moved: a new one", mkdirat(moved, "made", 0700));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 3 || chdir(argv[2]) < 0)
		return 2;
	return !strcmp(argv[1], "disk") ? disk() : hand();
}
