// SPDX-License-Identifier: Apache-2.0
/* The file system suite: what open(2) and fcntl(2) say that has to do with limits, leases, fifos
 * and devices. */
/*
 * How it works: as in fs-posix-names.c. A signal ends what waits, by alarm(); a fifo and a device
 * are names in the file system and things of the kernel that opens them, so that a guest must find
 * the same there.
 */
#include "fs-posix.h"

#include <linux/loop.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

static long how(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how h = { .flags = flags, .resolve = resolve };

	return syscall(SYS_openat2, dir, path, &h, sizeof(h));
}

static void nothing(int sig)
{
	(void)sig;
}

static void few_files(void)
{
	struct rlimit lim = { 3, 3 };

	T("limit of 3 files", setrlimit(RLIMIT_NOFILE, &lim));
	FD("open: EMFILE", open("f", O_RDONLY));
	FD("creat: EMFILE", creat("never", 0600));
	FD("openat2: EMFILE", how(AT_FDCWD, "f", O_RDONLY, 0));
	FD("tmpfile: EMFILE", open(".", O_TMPFILE | O_RDWR, 0600));
	FD("opendir: EMFILE", open(".", O_RDONLY | O_DIRECTORY));
	FD("fcntl: EMFILE", fcntl(1, F_DUPFD, 0));
	FD("fcntl: EINVAL of F_DUPFD", fcntl(1, F_DUPFD, -1));
	FD("fcntl: EINVAL of F_DUPFD, over the limit", fcntl(1, F_DUPFD, 4));
	show("creat: made nothing", "never");
}

static void resolves(void)
{
	struct {
		struct open_how h;
		uint64_t more;
	} big = { .h.flags = O_RDONLY, .more = 1 };
	int fd = open("f", O_RDONLY | O_CLOEXEC);
	char p[64];

	(void)snprintf(p, sizeof(p), "/proc/self/fd/%d", fd);
	FD("openat2: E2BIG", syscall(SYS_openat2, AT_FDCWD, "f", &big, sizeof(big)));
	big.more = 0;
	FD("openat2: larger and empty", syscall(SYS_openat2, AT_FDCWD, "f", &big, sizeof(big)));
	FD("openat2: EFAULT", syscall(SYS_openat2, AT_FDCWD, "f", (void *)1, sizeof(big.h)));
	FD("openat2: EINVAL of resolve", how(AT_FDCWD, "f", O_RDONLY, 1 << 20));
	FD("openat2: EINVAL of two roots",
		how(AT_FDCWD, "f", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT));
	FD("openat2: EAGAIN", how(AT_FDCWD, "never seen", O_RDONLY, RESOLVE_CACHED));
	FD("openat2: EAGAIN of O_CREAT", how(AT_FDCWD, "new", O_RDWR | O_CREAT, RESOLVE_CACHED));
	FD("openat2: ELOOP of a magic link", how(AT_FDCWD, p, O_RDONLY, RESOLVE_NO_MAGICLINKS));
	FD("openat2: ELOOP", how(AT_FDCWD, "loop1", O_RDONLY, 0));
	FD("openat2: ENOENT", how(AT_FDCWD, "none", O_RDONLY, 0));
	FD("openat2: EXDEV of an absolute name", how(AT_FDCWD, "/", O_RDONLY, RESOLVE_BENEATH));
	FD("openat2: EXDEV of a link", how(AT_FDCWD, "up/f", O_RDONLY, RESOLVE_BENEATH));
	FD("openat2: a link in its root", how(AT_FDCWD, "up/f", O_RDONLY, RESOLVE_IN_ROOT));
	FD("openat2: EBADF", how(77, "f", O_RDONLY, 0));
	FD("openat2: ENOTDIR", how(fd, "f", O_RDONLY, 0));
	FD("open: EINVAL of flags", syscall(SYS_open, ".", O_DIRECTORY | O_CREAT | O_TMPFILE));
	(void)close(fd);
}

static void larger_pipe(void)
{
	int fd = open("fifo", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	T("fcntl: EPERM of F_SETPIPE_SZ", fcntl(fd, F_SETPIPE_SZ, 1 << 26));
	(void)close(fd);
}

static void fill(int fd)
{
	static char page[4096];

	while (write(fd, page, sizeof(page)) > 0)
		;
}

static void fifos(void)
{
	int f = open("f", O_RDONLY | O_CLOEXEC), r, w, rw;
	char b[8];

	(void)signal(SIGPIPE, SIG_IGN);
	r = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	T("read: a fifo that nobody writes to", read(r, b, 1));
	w = open("fifo", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	T("read: EAGAIN", read(r, b, 1));
	fill(w);
	T("write: EAGAIN", write(w, b, 1));
	T("sendfile: EAGAIN", sendfile(w, f, NULL, 5));
	T("splice: EAGAIN", splice(f, NULL, w, NULL, 5, SPLICE_F_NONBLOCK));
	T("fcntl: EBUSY", fcntl(w, F_SETPIPE_SZ, 4096));
	T("fallocate: ESPIPE", fallocate(w, 0, 0, 10));
	T("posix_fallocate: ESPIPE", -(errno = posix_fallocate(w, 0, 10)));
	T("fadvise: ESPIPE", -(errno = posix_fadvise(w, 0, 0, POSIX_FADV_NORMAL)));
	T("fsync: EINVAL", fsync(w));
	(void)close(r);
	T("write: EPIPE", write(w, b, 1));
	(void)close(w);
	ring(1);
	FD("open: EINTR", open("fifo", O_RDONLY));
	ring(0);
	rw = open("fifo", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	T("fcntl: waits now", fcntl(rw, F_SETFL, 0));
	ring(1);
	T("read: EINTR", read(rw, b, 1));
	ring(0);
	T("fcntl: waits not", fcntl(rw, F_SETFL, O_NONBLOCK));
	fill(rw);
	T("fcntl: waits again", fcntl(rw, F_SETFL, 0));
	ring(1);
	T("write: EINTR", write(rw, b, 1));
	ring(0);
	(void)close(rw);
	(void)close(f);
	if (root)
		as_user(1000, larger_pipe);
	else
		larger_pipe();
}

/* A lease: who wants to write is held up until it is given back. */
static void leases(void)
{
	int l, w;

	(void)signal(SIGIO, SIG_IGN);
	make("lease", 0644, 10);
	l = open("lease", O_RDONLY | O_CLOEXEC);
	w = open("lease", O_WRONLY | O_CLOEXEC);
	T("fcntl: EAGAIN of F_SETLEASE", fcntl(l, F_SETLEASE, F_RDLCK));
	(void)close(w);
	T("fcntl: F_SETLEASE", fcntl(l, F_SETLEASE, F_RDLCK));
	FD("open: EWOULDBLOCK", open("lease", O_WRONLY | O_NONBLOCK));
	ring(1);
	FD("open: EINTR of a lease", open("lease", O_WRONLY));
	ring(0);
	ring(1);
	T("truncate: EINTR", truncate("lease", 5));
	ring(0);
	T("fcntl: the lease is given back", fcntl(l, F_SETLEASE, F_UNLCK));
	FD("open: nothing holds it up", open("lease", O_WRONLY | O_NONBLOCK));
	show("truncate: did nothing", "lease");
	(void)close(l);
}

static long with_pid(int fd, int cmd)
{
	struct flock l = { .l_type = F_RDLCK, .l_len = 10, .l_pid = 5 };

	return fcntl(fd, cmd, &l);
}

static void controls(void)
{
	int fd = open("f", O_RDWR | O_CLOEXEC);

	T("fcntl: EBADF", fcntl(77, F_GETFL));
	T("fcntl: EINVAL", fcntl(fd, 9999));
	T("fcntl: ENOTDIR", fcntl(fd, F_NOTIFY, DN_CREATE));
	T("fcntl: EINVAL of a signal", fcntl(fd, F_SETSIG, 999));
	T("fcntl: EINVAL of seals", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	T("fcntl: EINVAL of F_GET_SEALS", fcntl(fd, F_GET_SEALS));
	T("fcntl: EBADF of F_SETPIPE_SZ", fcntl(fd, F_SETPIPE_SZ, 4096) < 0 ? -1 : 0);
	T("fcntl: EINVAL of a pid", with_pid(fd, F_OFD_SETLK));
	T("fcntl: EINVAL of a pid, F_OFD_SETLKW", with_pid(fd, F_OFD_SETLKW));
	T("fcntl: EINVAL of a pid, F_OFD_GETLK", with_pid(fd, F_OFD_GETLK));
	T("fcntl: EFAULT of F_GETLK", fcntl(fd, F_GETLK, (void *)1));
	T("fcntl: EFAULT of F_SETLKW", fcntl(fd, F_SETLKW, (void *)1));
	T("fcntl: EFAULT of F_OFD_SETLK", fcntl(fd, F_OFD_SETLK, (void *)1));
	(void)close(fd);
}

static void loop_device(void)
{
	int c, n, a;

	T("mknod: loop-control", mknod("loop-control", S_IFCHR | 0600, makedev(10, 237)));
	c = open("loop-control", O_RDWR | O_CLOEXEC);
	n = c < 0 ? -1 : ioctl(c, LOOP_CTL_GET_FREE);
	T("a free loop device", n < 0 ? -1 : 0);
	T("mknod: a loop device", mknod("loop", S_IFBLK | 0600, makedev(7, n)));
	a = open("loop", O_RDONLY | O_EXCL | O_CLOEXEC);
	T("open: a device for itself", a < 0 ? -1 : 0);
	FD("open: EBUSY", open("loop", O_RDONLY | O_EXCL));
	(void)close(a);
	(void)close(c);
}

static void devices(void)
{
	int fd;

	T("mknod: a device that is not", mknod("none1", S_IFCHR | 0600, makedev(10, 199)));
	FD("open: ENODEV", open("none1", O_RDONLY));
	T("mknod: a driver that is not", mknod("none2", S_IFCHR | 0600, makedev(120, 1)));
	FD("open: ENXIO", open("none2", O_RDONLY));
	T("mknod: a disk that is not", mknod("none3", S_IFBLK | 0600, makedev(120, 1)));
	FD("open: ENXIO of a disk", open("none3", O_RDONLY));
	T("mknod: null", mknod("null", S_IFCHR | 0600, makedev(1, 3)));
	fd = open("null", O_RDWR | O_CLOEXEC);
	T("fallocate: ENODEV", fallocate(fd, 0, 0, 10));
	T("posix_fallocate: ENODEV", -(errno = posix_fallocate(fd, 0, 10)));
	T("ftruncate: EINVAL of a device", ftruncate(fd, 0));
	T("truncate: EINVAL of a device", truncate("null", 0));
	T("sync_file_range: ESPIPE", sync_file_range(fd, 0, 10, SYNC_FILE_RANGE_WRITE));
	T("copy_file_range: EINVAL of a device", copy_file_range(fd, NULL, fd, NULL, 5, 0));
	(void)close(fd);
	loop_device();
}

void open_part(void)
{
	struct sigaction sa = { .sa_handler = nothing };

	(void)sigaction(SIGALRM, &sa, NULL);
	make("f", 0644, 100);
	(void)!symlink("loop2", "loop1");
	(void)!symlink("loop1", "loop2");
	(void)!symlink("/", "up");
	(void)mkfifo("fifo", 0666);
	(void)chmod("fifo", 0666);
	apart(few_files);
	resolves();
	fifos();
	leases();
	controls();
	if (root)
		devices();
}
