// SPDX-License-Identifier: Apache-2.0
/* The file system suite, run natively and in a guest: the two outputs must be equal but for what
 * fs-posix.differs lists. */
/*
 *   fs-posix DIR [PART...]
 *
 * How it works: DIR is empty; everything happens in folders of it, one for each part, and each call
 * is a line of output. Run by root it becomes other users for some parts. The parts about binds and
 * small disks need what fs-posix.sh and fs-posix-disk.sh make for them, and run only when they are
 * named. fs-posix.matrix has each call with each error of its manual page, and the line that shows
 * it, or why none does: an error for which the kernel would have to be out of memory or the disk to
 * fail (the latter is fs-faults.sh's), and what Linux does not give on any file system.
 */
#include "fs-posix.h"

#include <grp.h>
#include <sys/time.h>
#include <sys/wait.h>

const char *part = "";
bool root;

void line(const char *what, long r, int e)
{
	if (r < 0)
		printf("%s: %s = %s\n", part, what, strerrorname_np(e));
	else
		printf("%s: %s = %ld\n", part, what, r);
	(void)fflush(stdout);
}

static void print_stat(const char *what, int r, const struct stat *st)
{
	if (r < 0) {
		line(what, -1, errno);
		return;
	}
	printf("%s: %s = %o %u:%u links %lu size %ld\n", part, what, st->st_mode, st->st_uid,
		st->st_gid, (unsigned long)st->st_nlink,
		S_ISDIR(st->st_mode) ? 0 : (long)st->st_size);
}

void ring(int seconds)
{
	const struct itimerval t = { { seconds, 0 }, { seconds, 0 } };

	(void)setitimer(ITIMER_REAL, &t, NULL);
}

void show(const char *what, const char *path)
{
	struct stat st;

	print_stat(what, lstat(path, &st), &st);
}

void show_fd(const char *what, int fd)
{
	struct stat st;

	print_stat(what, fstat(fd, &st), &st);
}

void make(const char *path, mode_t mode, size_t n)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	char b[1024];

	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (char)('a' + i % 26);
	for (size_t at = 0; at < n; at += sizeof(b))
		if (pwrite(fd, b, n - at < sizeof(b) ? n - at : sizeof(b), (off_t)at) < 0)
			line("write of a file to work with", -1, errno);
	if (fd < 0 || fchmod(fd, mode) < 0)
		line("a file to work with", -1, errno);
	(void)close(fd);
}

void content(const char *what, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint32_t sum = 0;
	uint8_t b[4096];
	ssize_t n, all = 0;

	while ((n = read(fd, b, sizeof(b))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + b[i];
		all += n;
	}
	printf("%s: %s = %zd bytes, sum %08x\n", part, what, n < 0 ? n : all, sum);
	(void)close(fd);
}

/* @uid 0: as who we are. */
static void child(unsigned uid, void (*fn)(void))
{
	pid_t pid;
	int st;

	(void)fflush(stdout);
	pid = fork();
	if (!pid) {
		gid_t g = 100;

		if (uid &&
			(setgroups(1, &g) < 0 || setresgid(uid, uid, uid) < 0 ||
				setresuid(uid, uid, uid) < 0))
			_exit(3);
		root = root && !uid;
		fn();
		(void)fflush(stdout);
		_exit(0);
	}
	(void)waitpid(pid, &st, 0);
	if (st)
		line("the child", -1, ECHILD);
}

void apart(void (*fn)(void))
{
	child(0, fn);
}

void as_user(unsigned uid, void (*fn)(void))
{
	child(uid, fn);
}

static void run(const char *name, void (*fn)(void))
{
	part = name;
	if (mkdir(name, 0777) < 0 || chmod(name, 0777) < 0 || chdir(name) < 0) {
		line("folder", -1, errno);
		return;
	}
	fn();
	if (chdir("..") < 0)
		line("back", -1, errno);
}

static const struct {
	const char *name;
	void (*fn)(void);
	bool roots, asked; /* only as root; only when it is asked for */
} parts[] = {
	{ "names", names_part, false, false },
	{ "move", move_part, false, false },
	{ "attr", attr_part, false, false },
	{ "xattr", xattr_part, false, false },
	{ "data", data_part, false, false },
	{ "space", space_part, false, false },
	{ "locks", lock_part, false, false },
	{ "cross", cross_part, false, false },
	{ "open", open_part, false, false },
	{ "map", map_part, false, false },
	{ "user", user_part, true, false },
	{ "mount", mount_part, true, false },
	{ "binds", binds_part, false, true },
	{ "full", full_part, false, true },
	{ "links", links_part, false, true },
	{ "fat", fat_part, false, true },
};

static bool wanted(size_t i, char **names)
{
	if (!*names)
		return !parts[i].asked && (root || !parts[i].roots);
	while (*names && strcmp(*names, parts[i].name))
		names++;
	return *names;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--wait"))
		return wait_mode();
	if (argc < 2 || chdir(argv[1]) < 0) {
		fprintf(stderr, "usage: fs-posix DIR [PART...]\n");
		return 2;
	}
	(void)umask(022);
	root = !geteuid();
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (wanted(i, argv + 2))
			run(parts[i].name, parts[i].fn);
	printf("end\n");
	return 0;
}
