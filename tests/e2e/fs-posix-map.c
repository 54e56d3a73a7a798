// SPDX-License-Identifier: Apache-2.0
/* The file system suite: mappings, vectors, copies between files, handles of names, flags of
 * inodes: what they refuse. */
/*
 * How it works: as in fs-posix-names.c. What is refused for a limit of the process is called in a
 * child that has it.
 */
#include "fs-posix.h"

#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static long mapped(size_t n, int prot, int flags, int fd, off_t off)
{
	void *p = mmap(NULL, n, prot, flags, fd, off);

	return p == MAP_FAILED ? -1 : munmap(p, n);
}

static void locked_memory(void)
{
	struct rlimit lim = { 4096, 4096 };
	int fd = open("f", O_RDONLY | O_CLOEXEC);

	T("limit of locked memory", setrlimit(RLIMIT_MEMLOCK, &lim));
	T("mmap: EAGAIN", mapped(65536, PROT_READ, MAP_SHARED | MAP_LOCKED, fd, 0));
	lim.rlim_cur = 0;
	T("limit of none", setrlimit(RLIMIT_MEMLOCK, &lim));
	T("mmap: EPERM of MAP_LOCKED", mapped(4096, PROT_READ, MAP_SHARED | MAP_LOCKED, fd, 0));
	(void)close(fd);
}

static void maps(void)
{
	int fd = open("f", O_RDWR | O_CLOEXEC);
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	T("mmap", p == MAP_FAILED ? -1 : 0);
	T("mmap: EINVAL of flags", mapped(4096, PROT_READ, 0, fd, 0));
	T("mmap: EINVAL of MAP_HUGETLB", mapped(4096, PROT_READ, MAP_SHARED | MAP_HUGETLB, fd, 0));
	T("mmap: EOPNOTSUPP", mapped(4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0));
	T("mmap: EEXIST",
		mmap(p, 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) == MAP_FAILED
			? -1
			: 0);
	T("mmap: ENOMEM", mapped(1L << 47, PROT_READ, MAP_SHARED, fd, 0));
	T("mmap: EOVERFLOW", mapped(4096, PROT_READ, MAP_SHARED, fd, LONG_MAX & ~4095L));
	T("mmap: MAP_DENYWRITE is nothing",
		mapped(4096, PROT_READ, MAP_SHARED | MAP_DENYWRITE, fd, 0));
	T("msync", msync(p, 8192, MS_SYNC));
	T("msync: EINVAL", msync(p, 8192, 64));
	T("msync: EINVAL of both", msync(p, 8192, MS_SYNC | MS_ASYNC));
	T("msync: EINVAL of a place", msync(p + 1, 4096, MS_SYNC));
	T("msync: ENOMEM", (munmap(p + 4096, 4096), msync(p, 8192, MS_SYNC)));
	T("mlock", mlock(p, 4096));
	T("msync: EBUSY", msync(p, 4096, MS_INVALIDATE));
	(void)munmap(p, 4096);
	(void)close(fd);
	if (root)
		as_user(1000, locked_memory);
	else
		apart(locked_memory);
}

static void vectors(void)
{
	static char b[8192] __attribute__((aligned(4096)));
	struct iovec v[2] = { { b, 3 }, { b + 10, (size_t)-1 } };
	int fd = open("f", O_RDWR | O_CLOEXEC), d;

	T("readv: EINVAL of the sum", readv(fd, v, 2));
	T("writev: EINVAL of the sum", writev(fd, v, 2));
	v[1].iov_len = 5;
	T("readv: EINVAL of 1025", syscall(SYS_readv, fd, v, 1025));
	T("writev: EINVAL of 1025", syscall(SYS_writev, fd, v, 1025));
	T("readv: EFAULT", syscall(SYS_readv, fd, (void *)1, 2));
	T("preadv: EINVAL", preadv(fd, v, 2, -5));
	T("pwritev: EINVAL", pwritev(fd, v, 2, -5));
	T("preadv2: EOPNOTSUPP", preadv2(fd, v, 2, 0, 0x8000));
	T("pwritev2: EOPNOTSUPP", pwritev2(fd, v, 2, 0, 0x8000));
	T("pwritev2: RWF_APPEND", pwritev2(fd, v, 2, 0, RWF_APPEND));
	show("pwritev2: size", "f");
	(void)close(fd);
	d = open("f", O_RDWR | O_DIRECT | O_CLOEXEC);
	T("O_DIRECT: read", pread(d, b, 4096, 0));
	T("O_DIRECT: read: EINVAL of a length", pread(d, b, 100, 0));
	T("O_DIRECT: read: EINVAL of memory", pread(d, b + 1, 4096, 0));
	T("O_DIRECT: read: EINVAL of a place", pread(d, b, 4096, 7));
	T("O_DIRECT: write: EINVAL of a length", pwrite(d, b, 100, 0));
	T("O_DIRECT: write: EINVAL of memory", pwrite(d, b + 1, 4096, 0));
	(void)close(d);
}

static void copy_to_limit(void)
{
	struct rlimit lim = { 1 << 20, 1 << 20 };
	int a = open("f", O_RDONLY | O_CLOEXEC), b = open("to", O_WRONLY | O_CREAT, 0644);
	loff_t at = 1 << 20;

	(void)signal(SIGXFSZ, SIG_IGN);
	(void)setrlimit(RLIMIT_FSIZE, &lim);
	T("copy_file_range: EFBIG of the limit", copy_file_range(a, NULL, b, &at, 100, 0));
	T("sendfile: EFBIG of the limit", (lseek(b, 1 << 20, SEEK_SET), sendfile(b, a, NULL, 10)));
	T("fallocate: EFBIG of the limit", fallocate(b, 0, 0, 2 << 20));
	T("posix_fallocate: EFBIG of the limit", -(errno = posix_fallocate(b, 0, 2 << 20)));
	(void)close(a);
	(void)close(b);
}

static void copies(void)
{
	int a = open("f", O_RDWR | O_CLOEXEC), w = open("g", O_RDWR | O_CREAT | O_CLOEXEC, 0644),
	    ap = open("g", O_WRONLY | O_APPEND | O_CLOEXEC), p[2];
	loff_t far = 1L << 45, at = 0;

	apart(copy_to_limit);
	T("copy_file_range: EFBIG", copy_file_range(a, &at, w, &far, 100, 0));
	far = LONG_MAX - 50;
	T("copy_file_range: EFBIG at the end", copy_file_range(a, &at, w, &far, 100, 0));
	T("copy_file_range: EFAULT", syscall(SYS_copy_file_range, a, (void *)1, w, NULL, 5, 0));
	T("fallocate: EFBIG", fallocate(w, 0, 1L << 45, 4096));
	T("posix_fallocate: EFBIG", -(errno = posix_fallocate(w, 1L << 45, 4096)));
	T("posix_fallocate: EINVAL", -(errno = posix_fallocate(w, 0, 0)));
	T("posix_fallocate: EBADF", -(errno = posix_fallocate(77, 0, 10)));
	T("sendfile: EBADF", sendfile(77, a, NULL, 10));
	T("sendfile: EBADF to read", sendfile(w, ap, NULL, 10));
	T("sendfile: EFAULT", syscall(SYS_sendfile, w, a, (void *)1, 10));
	T("sendfile: EINVAL to append", sendfile(ap, a, NULL, 10));
	T("sendfile: EINVAL below", (at = -5, sendfile(w, a, &at, 10)));
	T("sendfile: EINVAL at the end of numbers", (at = LONG_MAX - 2, sendfile(w, a, &at, 10)));
	T("sendfile: EOVERFLOW", (at = 1L << 45, sendfile(w, a, &at, 10)));
	T("fadvise: EBADF", -(errno = posix_fadvise(77, 0, 0, POSIX_FADV_NORMAL)));
	T("fadvise: EINVAL", -(errno = posix_fadvise(a, 0, 0, 99)));
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return;
	T("sendfile: ESPIPE", (at = 0, sendfile(w, p[0], &at, 10)));
	T("splice: EBADF", splice(77, NULL, p[1], NULL, 10, 0));
	T("splice: EBADF to read", splice(ap, NULL, p[1], NULL, 10, 0));
	T("splice: EINVAL of no pipe", splice(a, NULL, w, NULL, 10, 0));
	T("splice: ESPIPE", (at = 0, splice(a, NULL, p[1], &at, 10, 0)));
	T("splice: into a pipe", splice(a, &at, p[1], NULL, 10, 0));
	T("splice: EINVAL to append", splice(p[0], NULL, ap, NULL, 10, 0));
	T("splice: out of it", splice(p[0], NULL, w, NULL, 10, 0));
	T("splice: EAGAIN of an empty one", splice(p[0], NULL, w, NULL, 10, SPLICE_F_NONBLOCK));
	(void)close(p[0]);
	(void)close(p[1]);
	(void)close(a);
	(void)close(w);
	(void)close(ap);
}

union handle {
	struct file_handle h;
	char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static long handle_of(union handle *h, int dir, const char *path, unsigned room, int flags)
{
	int id;

	h->h.handle_bytes = room;
	return name_to_handle_at(dir, path, &h->h, &id, flags);
}

static void handle_of_user(void)
{
	int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	union handle h = { 0 };

	T("name_to_handle_at: by a user", handle_of(&h, AT_FDCWD, "f", MAX_HANDLE_SZ, 0));
	FD("open_by_handle_at: EPERM", open_by_handle_at(dir, &h.h, O_RDONLY));
	(void)close(dir);
}

static void handles(void)
{
	int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), id,
	    file = open("f", O_RDONLY | O_CLOEXEC);
	union handle h = { 0 }, none = { 0 };

	T("name_to_handle_at: EOVERFLOW", handle_of(&h, AT_FDCWD, "f", 0, 0));
	T("name_to_handle_at: EINVAL", handle_of(&h, AT_FDCWD, "f", MAX_HANDLE_SZ + 1, 0));
	T("name_to_handle_at: EINVAL of flags",
		handle_of(&h, AT_FDCWD, "f", MAX_HANDLE_SZ, 0x8000));
	T("name_to_handle_at: ENOENT", handle_of(&h, AT_FDCWD, "", MAX_HANDLE_SZ, 0));
	T("name_to_handle_at: EBADF", handle_of(&h, 77, "f", MAX_HANDLE_SZ, 0));
	T("name_to_handle_at: ENOTDIR", handle_of(&h, file, "f", MAX_HANDLE_SZ, 0));
	T("name_to_handle_at: EFAULT",
		syscall(SYS_name_to_handle_at, AT_FDCWD, "f", (void *)1, &id, 0));
	T("name_to_handle_at", handle_of(&h, AT_FDCWD, "f", MAX_HANDLE_SZ, 0));
	if (root) {
		FD("open_by_handle_at", open_by_handle_at(dir, &h.h, O_RDONLY));
		FD("open_by_handle_at: EBADF", open_by_handle_at(77, &h.h, O_RDONLY));
		FD("open_by_handle_at: EINVAL", open_by_handle_at(dir, &none.h, O_RDONLY));
		FD("open_by_handle_at: EFAULT",
			syscall(SYS_open_by_handle_at, dir, (void *)1, O_RDONLY));
		T("a link's handle", handle_of(&h, AT_FDCWD, "ln", MAX_HANDLE_SZ, 0));
		FD("open_by_handle_at: ELOOP", open_by_handle_at(dir, &h.h, O_RDONLY));
		make("gone", 0644, 1);
		T("a handle", handle_of(&h, AT_FDCWD, "gone", MAX_HANDLE_SZ, 0));
		T("its file goes", unlink("gone"));
		FD("open_by_handle_at: ESTALE", open_by_handle_at(dir, &h.h, O_RDONLY));
		as_user(1000, handle_of_user);
	} else {
		handle_of_user();
	}
	(void)close(file);
	(void)close(dir);
}

static long set_flags(int fd, int add)
{
	int v = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &v) < 0)
		return -1;
	v |= add;
	return ioctl(fd, FS_IOC_SETFLAGS, &v);
}

static long set_xflags(int fd, unsigned add)
{
	struct fsxattr x = { 0 };

	if (ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
		return -1;
	x.fsx_xflags |= add;
	x.fsx_extsize = 4096;
	return ioctl(fd, FS_IOC_FSSETXATTR, &x);
}

static void flags_of_user(void)
{
	int f = open("f", O_RDONLY | O_CLOEXEC), own = open("users", O_RDONLY | O_CREAT, 0644);

	if (getuid() == 1000)
		T("ioctl: EPERM of immutable", set_flags(own, FS_IMMUTABLE_FL));
	T("ioctl: EPERM of append-only", set_flags(own, FS_APPEND_FL));
	T("ioctl: noatime", set_flags(own, FS_NOATIME_FL));
	T("ioctl: of the owner only", set_flags(f, FS_NODUMP_FL));
	(void)close(f);
	(void)close(own);
}

static void controls(void)
{
	int f = open("f", O_RDWR | O_CLOEXEC), d = open(".", O_RDONLY | O_CLOEXEC),
	    p = open("f", O_RDONLY | O_CLOEXEC),
	    w = open("g", O_WRONLY | O_CREAT | O_CLOEXEC, 0644),
	    ap = open("g", O_WRONLY | O_APPEND | O_CLOEXEC),
	    fifo = open("fifo", O_RDWR | O_CLOEXEC);
	struct {
		struct file_dedupe_range r;
		struct file_dedupe_range_info i;
	} same = { { .src_length = 4096, .dest_count = 1 }, { .dest_fd = w } };

	T("ioctl: EBADF", ioctl(77, FS_IOC_GETFLAGS, &(int){ 0 }));
	T("ioctl: EFAULT", ioctl(f, FS_IOC_SETFLAGS, (void *)1));
	T("ioctl: EFAULT of xflags", ioctl(f, FS_IOC_FSGETXATTR, (void *)1));
	T("ioctl: ENOTTY", ioctl(f, 0x5401, &(char[64]){ 0 }));
	T("ioctl: ENOTTY of no number", ioctl(f, 0x12345678, &(int){ 0 }));
	T("ioctl: EINVAL of a size hint", set_xflags(d, FS_XFLAG_EXTSIZE));
	T("ioctl: EOPNOTSUPP of a flag", set_flags(f, 0x40000000));
	T("clone: EBADF", ioctl(w, FICLONE, 77));
	T("clone: EBADF to read", ioctl(p, FICLONE, f));
	T("clone: EBADF to append", ioctl(ap, FICLONE, f));
	T("clone: EISDIR", ioctl(w, FICLONE, d));
	T("clone: EOPNOTSUPP", ioctl(w, FICLONE, f));
	T("clone: EFAULT", ioctl(w, FICLONERANGE, (void *)1));
	T("clone: EINVAL", ioctl(w, FICLONE, fifo));
	T("dedupe: EBADF", ioctl(77, FIDEDUPERANGE, &same));
	T("dedupe: EFAULT", ioctl(f, FIDEDUPERANGE, (void *)1));
	T("dedupe", ioctl(f, FIDEDUPERANGE, &same));
	T("dedupe: of that file", same.i.status < 0 ? (errno = -same.i.status, -1) : 0);
	T("dedupe: EISDIR", ioctl(d, FIDEDUPERANGE, &same));
	T("dedupe: EINVAL", (same.r.reserved1 = 1, ioctl(f, FIDEDUPERANGE, &same)));
	T("dedupe: ENOMEM",
		(same.r.reserved1 = 0, same.r.dest_count = 9999, ioctl(f, FIDEDUPERANGE, &same)));
	(void)close(f);
	(void)close(d);
	(void)close(p);
	(void)close(w);
	(void)close(ap);
	(void)close(fifo);
	if (root)
		as_user(1000, flags_of_user);
	else
		flags_of_user();
}

void map_part(void)
{
	make("f", 0644, 9000);
	(void)!symlink("f", "ln");
	(void)mkfifo("fifo", 0644);
	maps();
	vectors();
	copies();
	handles();
	controls();
}
