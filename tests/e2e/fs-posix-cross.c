// SPDX-License-Identifier: Apache-2.0
/* The file system suite: every call by path with every bad path, every call by descriptor with
 * every wrong one. */
/*
 * How it works: two tables of calls, each crossed with a table of what they are given. Where a call
 * works with one of those that is a line like any other; what it made stays, for the next as well.
 * Then what takes two processes: a program that runs, signals, locks in a circle.
 */
#include "fs-posix.h"

#include <linux/fs.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static char long256[257], long_arg[200000];

/* By path, from a directory. */

static long closed(long fd)
{
	if (fd < 0)
		return -1;
	(void)close((int)fd);
	return 0;
}

static long there_and_back(const char *p)
{
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	long r = chdir(p), e = errno;

	if (!r && fchdir(here) < 0)
		line("fchdir", -1, errno);
	(void)close(here);
	errno = (int)e;
	return r;
}

/* What execve() says, in a child; a program that can be executed is not among the files here. */
static long executed(const char *p)
{
	char *args[] = { "x", NULL };
	int st = 0;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (!pid) {
		(void)execve(p, args, NULL);
		_exit(errno);
	}
	(void)waitpid(pid, &st, 0);
	errno = WIFEXITED(st) ? WEXITSTATUS(st) : 0;
	return errno ? -1 : 0;
}

#define PATH(name, call)                             \
	static long p_##name(int dir, const char *p) \
	{                                            \
		(void)dir;                           \
		return (long)(call);                 \
	}

PATH(open, closed(openat(dir, p, O_RDONLY | O_CLOEXEC)))
PATH(open_w, closed(openat(dir, p, O_WRONLY | O_CLOEXEC)))
PATH(open_t, closed(openat(dir, p, O_RDWR | O_TRUNC | O_CLOEXEC)))
PATH(open_p, closed(openat(dir, p, O_PATH | O_CLOEXEC)))
PATH(create, closed(openat(dir, p, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)))
PATH(tmpfile, closed(openat(dir, p, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600)))
PATH(mkdir, mkdirat(dir, p, 0700))
PATH(mknod, mknodat(dir, p, S_IFREG | 0600, 0))
PATH(mkfifo, mkfifoat(dir, p, 0600))
PATH(symlink, symlinkat("text", dir, p))
PATH(link_from, linkat(dir, p, AT_FDCWD, "made-link", 0))
PATH(link_follow, linkat(dir, p, AT_FDCWD, "made-link2", AT_SYMLINK_FOLLOW))
PATH(link_to, linkat(AT_FDCWD, "f", dir, p, 0))
PATH(rename_from, renameat(dir, p, AT_FDCWD, "made-name"))
PATH(rename_to, renameat(AT_FDCWD, "f2", dir, p))
PATH(exchange, syscall(SYS_renameat2, AT_FDCWD, "f3", dir, p, 2))
PATH(unlink, unlinkat(dir, p, 0))
PATH(rmdir, unlinkat(dir, p, AT_REMOVEDIR))
PATH(readlink, readlinkat(dir, p, (char[64]){ 0 }, 64))
PATH(stat, fstatat(dir, p, &(struct stat){ 0 }, 0))
PATH(lstat, fstatat(dir, p, &(struct stat){ 0 }, AT_SYMLINK_NOFOLLOW))
PATH(statx, statx(dir, p, 0, STATX_BASIC_STATS, &(struct statx){ 0 }))
PATH(access, faccessat(dir, p, R_OK, 0))
PATH(access_x, faccessat(dir, p, X_OK, 0))
PATH(chmod, fchmodat(dir, p, 0640, 0))
PATH(chown, fchownat(dir, p, (uid_t)-1, (gid_t)-1, 0))
PATH(chown_own, fchownat(dir, p, geteuid(), getegid(), 0))
PATH(lchown, fchownat(dir, p, (uid_t)-1, (gid_t)-1, AT_SYMLINK_NOFOLLOW))
PATH(utimens, utimensat(dir, p, NULL, 0))
PATH(lutimens, utimensat(dir, p, NULL, AT_SYMLINK_NOFOLLOW))
/* These know no directory but the current one. */
PATH(truncate, truncate(p, 5))
PATH(statfs, statfs(p, &(struct statfs){ 0 }))
PATH(chdir, there_and_back(p))
PATH(execve, executed(p))
PATH(setxattr, setxattr(p, "user.a", "v", 1, 0))
PATH(getxattr, getxattr(p, "user.none", NULL, 0))
PATH(listxattr, listxattr(p, NULL, 0) < 0 ? -1 : 0)
PATH(removexattr, removexattr(p, "user.none"))
PATH(lsetxattr, lsetxattr(p, "user.a", "v", 1, 0))
PATH(lgetxattr, lgetxattr(p, "user.none", NULL, 0))
PATH(llistxattr, llistxattr(p, NULL, 0) < 0 ? -1 : 0)
PATH(lremovexattr, lremovexattr(p, "user.none"))

static const struct {
	const char *name;
	long (*fn)(int, const char *);
	bool no_dir;
} by_path[] = {
	{ "open", p_open, false },
	{ "open to write", p_open_w, false },
	{ "open, O_TRUNC", p_open_t, false },
	{ "open, O_PATH", p_open_p, false },
	{ "open, O_EXCL", p_create, false },
	{ "open, O_TMPFILE", p_tmpfile, false },
	{ "mkdir", p_mkdir, false },
	{ "mknod", p_mknod, false },
	{ "mkfifo", p_mkfifo, false },
	{ "symlink", p_symlink, false },
	{ "link from", p_link_from, false },
	{ "link from, followed", p_link_follow, false },
	{ "link to", p_link_to, false },
	{ "rename from", p_rename_from, false },
	{ "rename to", p_rename_to, false },
	{ "rename, EXCHANGE", p_exchange, false },
	{ "rmdir", p_rmdir, false },
	{ "unlink", p_unlink, false },
	{ "readlink", p_readlink, false },
	{ "stat", p_stat, false },
	{ "lstat", p_lstat, false },
	{ "statx", p_statx, false },
	{ "access", p_access, false },
	{ "access to execute", p_access_x, false },
	{ "chmod", p_chmod, false },
	{ "chown", p_chown, false },
	{ "chown to oneself", p_chown_own, false },
	{ "lchown", p_lchown, false },
	{ "utimensat", p_utimens, false },
	{ "utimensat of a link", p_lutimens, false },
	{ "truncate", p_truncate, true },
	{ "statfs", p_statfs, true },
	{ "chdir", p_chdir, true },
	{ "execve", p_execve, true },
	{ "setxattr", p_setxattr, true },
	{ "getxattr", p_getxattr, true },
	{ "listxattr", p_listxattr, true },
	{ "removexattr", p_removexattr, true },
	{ "lsetxattr", p_lsetxattr, true },
	{ "lgetxattr", p_lgetxattr, true },
	{ "llistxattr", p_llistxattr, true },
	{ "lremovexattr", p_lremovexattr, true },
};

void each_path(const char *what, int dir, const char *path)
{
	char text[96];

	for (size_t i = 0; i < sizeof(by_path) / sizeof(*by_path); i++) {
		if (dir != AT_FDCWD && by_path[i].no_dir)
			continue;
		(void)snprintf(text, sizeof(text), "%s: %s", by_path[i].name, what);
		T(text, by_path[i].fn(dir, path));
	}
}

static void closed_dir(void)
{
	each_path("below a closed directory", AT_FDCWD, "closed/x");
	/* what can be searched and not be read or written to */
	each_path("in a directory that cannot be written", AT_FDCWD, "bare/x");
}

static void paths(void)
{
	int file = open("f", O_RDONLY | O_CLOEXEC);

	memset(long256, 'n', 256);
	each_path("a loop", AT_FDCWD, "loop1/x");
	each_path("a loop at the end", AT_FDCWD, "loop1");
	each_path("256 bytes", AT_FDCWD, long256);
	each_path("no directory", AT_FDCWD, "f/x");
	each_path("no parent", AT_FDCWD, "none/x");
	each_path("no name", AT_FDCWD, "");
	each_path("no pointer", AT_FDCWD, (char *)1);
	each_path("a bad descriptor", 77, "f");
	each_path("a descriptor of a file", file, "x");
	if (root)
		as_user(1000, closed_dir);
	else
		closed_dir();
	T("fchdir: EBADF", fchdir(77));
	T("fchdir: ENOTDIR", fchdir(file));
	(void)close(file);
}

/* By descriptor. */

#define DESC(name, call)             \
	static long d_##name(int fd) \
	{                            \
		return (long)(call); \
	}

static long unmapped(void *p)
{
	return p == MAP_FAILED ? -1 : munmap(p, 4096);
}

static long record(int fd, int cmd, short type)
{
	struct flock l = { .l_type = type, .l_len = 10 };

	return fcntl(fd, cmd, &l);
}

DESC(read, read(fd, (char[8]){ 0 }, 0))
DESC(pread, pread(fd, (char[8]){ 0 }, 8, 1L << 40))
DESC(write, write(fd, "", 0))
DESC(pwrite, pwrite(fd, "x", 1, 0))
DESC(lseek, lseek(fd, 0, SEEK_SET))
DESC(seek_data, lseek(fd, 0, SEEK_DATA))
DESC(seek_end, lseek(fd, -(1L << 50), SEEK_END))
DESC(seek_over, lseek(fd, INT64_MAX, SEEK_END))
DESC(ftruncate, ftruncate(fd, 10))
DESC(fallocate, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10))
DESC(fsync, fsync(fd))
DESC(fdatasync, fdatasync(fd))
DESC(syncfs, syncfs(fd))
DESC(range, sync_file_range(fd, 0, 10, SYNC_FILE_RANGE_WRITE))
DESC(range_bad, sync_file_range(fd, 0, 10, 0x80))
DESC(readahead, readahead(fd, 0, 4096))
DESC(copy_from, copy_file_range(fd, &(loff_t){ 0 }, 76, &(loff_t){ 0 }, 5, 0))
DESC(copy_to, copy_file_range(75, &(loff_t){ 0 }, fd, &(loff_t){ 0 }, 5, 0))
DESC(flock, flock(fd, LOCK_SH | LOCK_NB))
DESC(lock_r, record(fd, F_SETLK, F_RDLCK))
DESC(lock_w, record(fd, F_SETLK, F_WRLCK))
DESC(lock_get, record(fd, F_GETLK, F_WRLCK))
DESC(lock_null, fcntl(fd, F_SETLK, (struct flock *)1))
DESC(setfl, fcntl(fd, F_SETFL, O_RDONLY))
DESC(lease, fcntl(fd, F_SETLEASE, 77))
DESC(getdents, (lseek(fd, 0, SEEK_SET), syscall(SYS_getdents64, fd, (char *)1, 4096)))
DESC(fstat, fstat(fd, &(struct stat){ 0 }))
DESC(fstat_null, syscall(SYS_fstat, fd, (void *)1))
DESC(fstatfs, fstatfs(fd, &(struct statfs){ 0 }))
DESC(fchmod, fchmod(fd, 0755))
DESC(fchown, fchown(fd, (uid_t)-1, (gid_t)-1))
DESC(futimens, futimens(fd, NULL))
DESC(fchdir, syscall(SYS_openat, fd, ".", O_RDONLY | O_DIRECTORY | O_TMPFILE, 0))
DESC(fsetxattr, fsetxattr(fd, "user.b", "v", 1, 0))
DESC(fgetxattr, fgetxattr(fd, "user.none", NULL, 0))
DESC(flistxattr, flistxattr(fd, NULL, 0) < 0 ? -1 : 0)
DESC(fremovexattr, fremovexattr(fd, "user.none"))
DESC(getflags, ioctl(fd, FS_IOC_GETFLAGS, &(int){ 0 }) < 0 ? -1 : 0)
DESC(getflags_null, ioctl(fd, FS_IOC_GETFLAGS, (int *)1))
DESC(map_r, unmapped(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0)))
DESC(map_w, unmapped(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)))
DESC(map_p, unmapped(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0)))
DESC(map_none, unmapped(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0)))

static const struct {
	const char *name;
	long (*fn)(int);
} by_fd[] = {
	{ "read nothing", d_read },
	{ "pread", d_pread },
	{ "write nothing", d_write },
	{ "pwrite", d_pwrite },
	{ "lseek", d_lseek },
	{ "lseek, SEEK_DATA", d_seek_data },
	{ "lseek below 0", d_seek_end },
	{ "lseek over the end of numbers", d_seek_over },
	{ "ftruncate", d_ftruncate },
	{ "fallocate", d_fallocate },
	{ "fsync", d_fsync },
	{ "fdatasync", d_fdatasync },
	{ "syncfs", d_syncfs },
	{ "sync_file_range", d_range },
	{ "sync_file_range, a bad flag", d_range_bad },
	{ "readahead", d_readahead },
	{ "copy_file_range from", d_copy_from },
	{ "copy_file_range to", d_copy_to },
	{ "flock", d_flock },
	{ "a read lock", d_lock_r },
	{ "a write lock", d_lock_w },
	{ "F_GETLK", d_lock_get },
	{ "F_SETLK, no pointer", d_lock_null },
	{ "F_SETFL", d_setfl },
	{ "F_SETLEASE, no such", d_lease },
	{ "getdents, no pointer", d_getdents },
	{ "fstat", d_fstat },
	{ "fstat, no pointer", d_fstat_null },
	{ "fstatfs", d_fstatfs },
	{ "fchmod", d_fchmod },
	{ "fchown", d_fchown },
	{ "futimens", d_futimens },
	{ "openat, a tmpfile to read", d_fchdir },
	{ "fsetxattr", d_fsetxattr },
	{ "fgetxattr", d_fgetxattr },
	{ "flistxattr", d_flistxattr },
	{ "fremovexattr", d_fremovexattr },
	{ "FS_IOC_GETFLAGS", d_getflags },
	{ "FS_IOC_GETFLAGS, no pointer", d_getflags_null },
	{ "mmap to read", d_map_r },
	{ "mmap to write", d_map_w },
	{ "mmap of one's own", d_map_p },
	{ "mmap of nothing", d_map_none },
};

void each_fd(const char *what, int fd)
{
	/* what copies go from and to, at known numbers */
	int from = open("from", O_RDONLY | O_CREAT | O_CLOEXEC, 0644),
	    to = open("to", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	char text[96];

	if (dup2(from, 75) != 75 || dup2(to, 76) != 76)
		line("dup2", -1, errno);
	for (size_t i = 0; i < sizeof(by_fd) / sizeof(*by_fd); i++) {
		(void)snprintf(text, sizeof(text), "%s: %s", by_fd[i].name, what);
		T(text, by_fd[i].fn(fd));
	}
	(void)close(from);
	(void)close(to);
	(void)close(75);
	(void)close(76);
}

static void descriptors(void)
{
	struct {
		const char *what;
		int fd;
	} kinds[] = {
		{ "a bad descriptor", 77 },
		{ "O_PATH", open("f", O_PATH | O_CLOEXEC) },
		{ "a directory", open("dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC) },
		{ "to read", open("f", O_RDONLY | O_CLOEXEC) },
		{ "to write", open("f", O_WRONLY | O_CLOEXEC) },
		{ "to append", open("f", O_RDWR | O_APPEND | O_CLOEXEC) },
		{ "a fifo", open("fifo", O_RDWR | O_NONBLOCK | O_CLOEXEC) },
	};

	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++)
		each_fd(kinds[k].what, kinds[k].fd);
	for (size_t k = 1; k < sizeof(kinds) / sizeof(*kinds); k++)
		(void)close(kinds[k].fd);
}

/* A file that is executed cannot be written to, and one that is written to cannot be executed. */
static void busy_text(void)
{
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), in[2], out[2], w;
	int prog = open("prog", O_CREAT | O_WRONLY | O_CLOEXEC, 0755);
	char *args[] = { "prog", "--wait", NULL }, b;
	pid_t pid;

	T("a program", copy_file_range(self, NULL, prog, NULL, 1 << 30, 0) < 0 ? -1 : 0);
	while (copy_file_range(self, NULL, prog, NULL, 1 << 30, 0) > 0)
		;
	(void)close(self);
	T("execve: ETXTBSY", execve("prog", args, NULL));
	(void)close(prog);
	T("execve: EACCES", (chmod("f", 0644), execve("f", args, NULL)));
	T("execve: ENOEXEC", (chmod("to", 0755), execve("to", args, NULL)));
	memset(long_arg, 'x', sizeof(long_arg) - 1);
	T("execve: E2BIG", execve("to", (char *[]){ long_arg, NULL }, NULL));
	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (!pid) {
		(void)dup2(in[0], 0);
		(void)dup2(out[1], 1);
		execve("prog", args, NULL);
		_exit(9);
	}
	(void)close(out[1]);
	T("it runs", read(out[0], &b, 1));
	FD("open: ETXTBSY", open("prog", O_WRONLY | O_CLOEXEC));
	FD("open, O_TRUNC: ETXTBSY", open("prog", O_RDONLY | O_TRUNC | O_CLOEXEC));
	T("truncate: ETXTBSY", truncate("prog", 10));
	T("unlink of what runs", unlink("prog"));
	(void)close(in[1]);
	(void)close(in[0]);
	(void)close(out[0]);
	T("waitpid", waitpid(pid, &w, 0) == pid ? w : -1);
}

static void nothing(int sig)
{
	(void)sig;
}

static void interrupted(void)
{
	struct sigaction sa = { .sa_handler = nothing };
	int a = open("f", O_RDWR | O_CLOEXEC), b = open("f", O_RDWR | O_CLOEXEC), p[2];
	pid_t pid;
	char c;

	(void)sigaction(SIGALRM, &sa, NULL);
	T("flock", flock(a, LOCK_EX));
	ring(1);
	T("flock: EINTR", flock(b, LOCK_EX));
	ring(0);
	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	(void)fflush(stdout);
	pid = fork();
	if (!pid) {
		(void)close(p[0]);
		(void)record(a, F_SETLK, F_WRLCK);
		(void)write(p[1], "x", 1);
		(void)pause();
		_exit(0);
	}
	(void)close(p[1]);
	T("another has it", read(p[0], &c, 1));
	ring(1);
	T("F_SETLKW: EINTR", record(b, F_SETLKW, F_WRLCK));
	ring(0);
	ring(1);
	T("F_OFD_SETLKW: EINTR", record(b, F_OFD_SETLKW, F_WRLCK));
	ring(0);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	(void)close(p[0]);
	(void)close(a);
	(void)close(b);
}

static long at_byte(int fd, int cmd, off_t at)
{
	struct flock l = { .l_type = F_WRLCK, .l_start = at, .l_len = 1 };

	return fcntl(fd, cmd, &l);
}

/* Each has one byte and wants the other's: one of the two is told so, and lets go. */
static void circle(void)
{
	int fd = open("f", O_RDWR | O_CLOEXEC), p[2], st = -1, mine, e;
	pid_t pid;
	char c;

	(void)fflush(stdout);
	if (at_byte(fd, F_SETLK, 0) < 0 || pipe2(p, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (!pid) {
		(void)at_byte(fd, F_SETLK, 1);
		(void)write(p[1], "x", 1);
		_exit(at_byte(fd, F_SETLKW, 0) < 0 ? errno : 0);
	}
	(void)!read(p[0], &c, 1);
	mine = at_byte(fd, F_SETLKW, 1) < 0 ? errno : 0;
	(void)close(fd);
	(void)waitpid(pid, &st, 0);
	e = WIFEXITED(st) ? WEXITSTATUS(st) : -1;
	line("a circle of two locks", mine || e ? -1 : 0, mine > e ? mine : e);
	line("the other of the two", mine && e ? -1 : 0, mine > e ? e : mine);
	(void)close(p[0]);
	(void)close(p[1]);
}

int wait_mode(void)
{
	char c;

	(void)!write(1, "r", 1);
	(void)!read(0, &c, 1);
	return 0;
}

void cross_part(void)
{
	make("f", 0644, 3000);
	make("f2", 0644, 10);
	make("f3", 0644, 10);
	(void)!symlink("loop2", "loop1");
	(void)!symlink("loop1", "loop2");
	(void)mkfifo("fifo", 0644);
	(void)mkdir("dir", 0755);
	(void)mkdir("closed", 0);
	(void)mkdir("bare", 0755);
	make("bare/x", 0644, 10);
	if (!root)
		(void)chmod("bare", 0555);
	paths();
	make("f", 0644, 3000);
	descriptors();
	busy_text();
	interrupted();
	circle();
	(void)chmod("closed", 0700);
	(void)chmod("bare", 0755);
}
