// SPDX-License-Identifier: Apache-2.0
/* The file system suite: data, holes, copies, mappings, locks. */
/*
 * How it works: as in fs-posix-names.c. Where data lies in a sparse file is asked after fsync(), in
 * pieces that are large enough for any block size.
 */
#include "fs-posix.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define MIB (1L << 20)

static void reads(void)
{
	char b[100] = "";
	struct iovec v[2] = { { b, 3 }, { b + 10, 4 } };
	int r = open("f", O_RDONLY | O_CLOEXEC), w = open("f", O_WRONLY | O_CLOEXEC);

	T("read", read(r, b, 10));
	T("read: EBADF", read(w, b, 10));
	T("read: EFAULT", syscall(SYS_read, r, (void *)1, 10));
	T("pread: past the end", pread(r, b, 10, 100000));
	T("pread: the rest", pread(r, b, 100, 2990));
	T("pread: EINVAL", pread(r, b, 10, -1));
	T("readv", readv(r, v, 2));
	T("preadv", preadv(r, v, 2, 100));
	T("readv: EINVAL", readv(r, v, -1));
	T("lseek", lseek(r, 0, SEEK_CUR));
	T("lseek: end", lseek(r, -5, SEEK_END));
	T("lseek: EINVAL", lseek(r, -1, SEEK_SET));
	T("lseek: EINVAL of whence", lseek(r, 0, 99));
	T("lseek: EBADF", lseek(77, 0, SEEK_SET));
	T("write: EBADF", write(r, b, 1));
	T("write: EFAULT", syscall(SYS_write, w, (void *)1, 10));
	T("pwrite: EINVAL", pwrite(w, b, 1, -1));
	T("pwrite: a hole", pwrite(w, "x", 1, 100000));
	T("pwrite: nothing", pwrite(w, b, 0, 200000));
	show("write: size", "f");
	T("pwritev", pwritev(w, v, 2, 5));
	T("writev", writev(w, v, 2));
	content("write: content", "f");
	T("close", close(r));
	T("close: EBADF", close(r));
	(void)close(w);
	w = open("f", O_WRONLY | O_APPEND | O_CLOEXEC);
	T("append", pwrite(w, "end", 3, 0));
	T("append: truncate", ftruncate(w, 10));
	T("append: again", write(w, "end", 3));
	show("append: size", "f");
	(void)close(w);
	content("append: content", "f");
}

static void sizes(void)
{
	struct rlimit lim = { 1 << 20, 1 << 20 };
	int r = open("f", O_RDONLY | O_CLOEXEC), w = open("f", O_RDWR | O_CLOEXEC);

	T("truncate", truncate("f", 5000));
	show("truncate: longer", "f");
	content("truncate: zeros", "f");
	T("truncate: EINVAL", truncate("f", -1));
	T("truncate: EISDIR", truncate("d", 0));
	T("truncate: ENOENT", truncate("none", 0));
	T("truncate: ENOTDIR", truncate("f/x", 0));
	T("truncate: EINVAL of a fifo", truncate("fifo", 0));
	T("truncate: EFBIG", truncate("f", LONG_MAX));
	T("ftruncate", ftruncate(w, 100));
	T("ftruncate: EINVAL", ftruncate(r, 0));
	T("ftruncate: EBADF", ftruncate(77, 0));
	T("pwrite: EFBIG", pwrite(w, "x", 1, 1L << 45));
	T("fsync", fsync(w));
	T("fdatasync", fdatasync(w));
	T("fsync: EBADF", fsync(77));
	T("sync_file_range", sync_file_range(w, 0, 100, SYNC_FILE_RANGE_WRITE));
	T("syncfs", syncfs(w));
	(void)close(r);
	(void)close(w);
	if (!fork()) {
		(void)signal(SIGXFSZ, SIG_IGN);
		(void)setrlimit(RLIMIT_FSIZE, &lim);
		T("limit: EFBIG", truncate("f", 2 << 20));
		w = open("f", O_RDWR | O_CLOEXEC);
		T("limit: short", pwrite(w, (char[100]){ 0 }, 100, MIB - 50));
		T("limit: EFBIG of a write", pwrite(w, "x", 1, MIB));
		(void)truncate("f", 100);
		_exit(0);
	}
	(void)wait(NULL);
}

static sigjmp_buf back;

static void on_bus(int sig)
{
	siglongjmp(back, sig);
}

static void maps(void)
{
	int r = open("m", O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0644), ro;
	volatile char *p;
	char b[8] = "";

	T("map: size", ftruncate(r, 10000));
	p = mmap(NULL, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, r, 0);
	T("map", p == MAP_FAILED ? -1 : 0);
	p[5000] = 'm';
	T("map: seen by read", pread(r, b, 1, 5000));
	printf("%s: map: %c\n", part, b[0]);
	T("map: write", pwrite(r, "w", 1, 6000));
	printf("%s: map: %c\n", part, p[6000]);
	p[10050] = 'z';
	T("map: msync", msync((void *)(uintptr_t)p, 12288, MS_SYNC));
	show("map: size stays", "m");
	T("map: truncated", ftruncate(r, 4096));
	(void)signal(SIGBUS, on_bus);
	if (!sigsetjmp(back, 1))
		printf("%s: map: past the end %d\n", part, p[8000]);
	else
		printf("%s: map: SIGBUS\n", part);
	(void)signal(SIGBUS, SIG_DFL);
	T("map: longer again", ftruncate(r, 10000));
	printf("%s: map: zeros %d %d\n", part, p[5000], p[6000]);
	(void)munmap((void *)(uintptr_t)p, 12288);
	ro = open("m", O_RDONLY | O_CLOEXEC);
	T("map: EACCES",
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED ? -1 : 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0);
	T("map: private", p == MAP_FAILED ? -1 : 0);
	p[0] = 'p';
	content("map: not its file", "m");
	T("map: EINVAL", mmap(NULL, 4096, PROT_READ, MAP_SHARED, ro, 1) == MAP_FAILED ? -1 : 0);
	(void)close(r);
	(void)close(ro);
}

void data_part(void)
{
	int a, b, fl = 0;

	make("f", 0644, 3000);
	(void)mkdir("d", 0755);
	(void)mkfifo("fifo", 0644);
	reads();
	sizes();
	maps();
	make("s", 0644, 9000);
	a = open("s", O_RDONLY | O_CLOEXEC);
	b = open("t", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	T("sendfile", sendfile(b, a, NULL, 9000));
	content("sendfile: content", "t");
	T("ioctl: ENOTTY", ioctl(a, TCGETS, &fl));
	T("ioctl: FIONREAD", ioctl(a, FIONREAD, &fl));
	T("fcntl: flags", fcntl(b, F_GETFL) & (O_ACCMODE | O_APPEND));
	T("fcntl: O_APPEND", fcntl(b, F_SETFL, O_APPEND));
	T("fcntl: appends", pwrite(b, "x", 1, 0));
	show("fcntl: size", "t");
	T("fadvise", posix_fadvise(a, 0, 0, POSIX_FADV_DONTNEED));
	T("readahead", readahead(a, 0, 4096));
	(void)close(a);
	(void)close(b);
}

static void holes(void)
{
	int fd = open("holes", O_CREAT | O_RDWR | O_CLOEXEC, 0644),
	    d = open(".", O_RDONLY | O_CLOEXEC);
	char x[65536];

	memset(x, 'x', sizeof(x));
	T("hole: data at 1 MiB", pwrite(fd, x, sizeof(x), MIB));
	T("hole: longer", ftruncate(fd, 3 * MIB));
	T("hole: fsync", fsync(fd));
	T("hole: SEEK_DATA", lseek(fd, 0, SEEK_DATA));
	T("hole: SEEK_HOLE", lseek(fd, 0, SEEK_HOLE));
	T("hole: SEEK_HOLE after", lseek(fd, MIB, SEEK_HOLE));
	T("hole: ENXIO", lseek(fd, 2 * MIB, SEEK_DATA));
	T("hole: ENXIO past the end", lseek(fd, 4 * MIB, SEEK_HOLE));
	T("hole: ENXIO below", lseek(fd, -1, SEEK_DATA));
	T("fallocate: keep", fallocate(fd, FALLOC_FL_KEEP_SIZE, 3 * MIB, MIB));
	show("fallocate: size stays", "holes");
	T("fallocate", fallocate(fd, 0, 3 * MIB, MIB));
	show("fallocate: size", "holes");
	T("fallocate: punch",
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB + 100, 1000));
	T("fallocate: zero", fallocate(fd, FALLOC_FL_ZERO_RANGE, MIB + 4096, 8192));
	T("fallocate: zero, longer", fallocate(fd, FALLOC_FL_ZERO_RANGE, 4 * MIB - 10, 4096));
	T("fallocate: zero, keep",
		fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 5 * MIB, 4096));
	content("fallocate: content", "holes");
	T("fallocate: collapse", fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 65536));
	T("fallocate: insert", fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 65536));
	T("fallocate: unshare", fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, 4096));
	T("fallocate: EOPNOTSUPP", fallocate(fd, 0x4000, 0, 4096));
	T("fallocate: punch needs keep", fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
	T("fallocate: EINVAL", fallocate(fd, 0, 0, 0));
	T("fallocate: EINVAL below", fallocate(fd, 0, -1, 10));
	T("fallocate: EFBIG", fallocate(fd, 0, LONG_MAX - 5, 5));
	T("fallocate: EBADF", fallocate(77, 0, 0, 10));
	T("fallocate: a directory", fallocate(d, 0, 0, 10));
	T("posix_fallocate", posix_fallocate(fd, 0, 6 * MIB));
	show("posix_fallocate: size", "holes");
	(void)close(fd);
	(void)close(d);
}

static long copy(int a, off_t ao, int b, off_t bo, size_t n, unsigned flags)
{
	loff_t x = ao, y = bo;

	return syscall(SYS_copy_file_range, a, &x, b, &y, n, flags);
}

void space_part(void)
{
	int a, b, d, ap, ro;

	holes();
	make("from", 0644, 20000);
	a = open("from", O_RDWR | O_CLOEXEC);
	b = open("to", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	ap = open("to", O_WRONLY | O_APPEND | O_CLOEXEC);
	ro = open("to", O_RDONLY | O_CLOEXEC);
	d = open(".", O_RDONLY | O_CLOEXEC);
	T("copy", copy(a, 0, b, 0, 20000, 0));
	T("copy: into the middle", copy(a, 5000, b, 50, 6000, 0));
	T("copy: past the end", copy(a, 19000, b, 30000, 9000, 0));
	T("copy: from the end", copy(a, 20000, b, 0, 100, 0));
	content("copy: content", "to");
	T("copy: in one file", copy(a, 0, a, 50000, 5000, 0));
	T("copy: EINVAL of an overlap", copy(a, 0, a, 100, 5000, 0));
	T("copy: EINVAL of flags", copy(a, 0, b, 0, 100, 1));
	T("copy: EBADF to read", copy(ap, 0, b, 0, 100, 0));
	T("copy: EBADF to append", copy(a, 0, ap, 0, 100, 0));
	T("copy: append no more", fcntl(ap, F_SETFL, 0));
	T("copy: to what was for appending", copy(a, 0, ap, 0, 100, 0));
	T("copy: EBADF to write", copy(a, 0, ro, 0, 100, 0));
	T("copy: EISDIR", copy(d, 0, b, 0, 100, 0));
	T("copy: from the end of numbers", copy(a, LONG_MAX - 5, b, 0, 100, 0));
	T("copy: EOVERFLOW", copy(a, 100, b, 0, SIZE_MAX, 0));
	content("copy: content in the end", "from");
	(void)close(a);
	(void)close(b);
	(void)close(ap);
	(void)close(ro);
	(void)close(d);
}

static long record(int fd, int cmd, short type, off_t at, off_t n)
{
	struct flock l = { .l_type = type, .l_start = at, .l_len = n };
	long r = fcntl(fd, cmd, &l);

	return r < 0 || (cmd != F_GETLK && cmd != F_OFD_GETLK) ? r : l.l_type;
}

/* What another process is told of the locks. */
static void other(const char *when)
{
	char what[80];
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = open("l", O_RDWR | O_CLOEXEC);

		(void)snprintf(what, sizeof(what), "%s: another's flock", when);
		T(what, flock(fd, LOCK_EX | LOCK_NB));
		(void)snprintf(what, sizeof(what), "%s: another's read lock", when);
		T(what, record(fd, F_SETLK, F_RDLCK, 0, 10));
		(void)snprintf(what, sizeof(what), "%s: another's write lock", when);
		T(what, record(fd, F_SETLK, F_WRLCK, 5, 10));
		(void)snprintf(what, sizeof(what), "%s: another's question", when);
		T(what, record(fd, F_GETLK, F_WRLCK, 0, 100));
		(void)snprintf(what, sizeof(what), "%s: another's, elsewhere", when);
		T(what, record(fd, F_SETLK, F_WRLCK, 1000, 10));
		_exit(0);
	}
	(void)waitpid(pid, NULL, 0);
}

void lock_part(void)
{
	int a, b;

	make("l", 0644, 100);
	a = open("l", O_RDWR | O_CLOEXEC);
	b = open("l", O_RDONLY | O_CLOEXEC);
	T("flock", flock(a, LOCK_EX));
	T("flock: EWOULDBLOCK", flock(b, LOCK_SH | LOCK_NB));
	other("flock");
	T("flock: shared", flock(a, LOCK_SH));
	T("flock: two of them", flock(b, LOCK_SH | LOCK_NB));
	T("flock: EWOULDBLOCK of an upgrade", flock(b, LOCK_EX | LOCK_NB));
	T("flock: off", flock(a, LOCK_UN));
	T("flock: EBADF", flock(77, LOCK_SH));
	T("flock: EINVAL", flock(a, 16));
	T("flock: off too", flock(b, LOCK_UN));
	T("lock: read", record(a, F_SETLK, F_RDLCK, 0, 10));
	other("read lock");
	T("lock: write", record(a, F_SETLK, F_WRLCK, 0, 10));
	other("write lock");
	T("lock: EBADF of a write lock", record(b, F_SETLK, F_WRLCK, 50, 10));
	T("lock: EINVAL", record(a, F_SETLK, 99, 0, 10));
	T("lock: EINVAL of a range", record(a, F_SETLK, F_WRLCK, -5, 2));
	T("lock: EBADF", record(77, F_SETLK, F_RDLCK, 0, 10));
	T("lock: OFD", record(b, F_OFD_SETLK, F_RDLCK, 50, 10));
	T("lock: OFD, EAGAIN", record(a, F_OFD_SETLK, F_WRLCK, 50, 10));
	T("lock: OFD, a question", record(a, F_OFD_GETLK, F_WRLCK, 50, 10));
	T("lock: closed", close(b));
	other("after a close");
	T("lock: off", record(a, F_SETLK, F_UNLCK, 0, 0));
	other("none");
	(void)close(a);
}
