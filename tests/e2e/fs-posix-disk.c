// SPDX-License-Identifier: Apache-2.0
/* The file system suite: small disks: no blocks, no inodes, no links left, a quota; and a file
 * system that cannot do much. */
/*
 * How it works: fs-posix-disk.sh makes the disks and gives each part by name one of its own. What
 * takes a block and what takes an inode are asked for when there is none; the same calls meet the
 * end of a disk and of a quota. A directory takes a block when its names do not fit, so it is
 * filled with long names first. In the end something is given back, and all must be well.
 */
#include "fs-posix.h"

#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>

static char block[65536], long255[256];

static long move2(const char *a, const char *b, unsigned flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

static int bound(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	r = bind(s, (void *)&un, sizeof(un));
	(void)close(s);
	return r;
}

/* Writes to @path until not one byte more fits, with nothing left that only was not written yet. */
static void fill(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644), e = 0;
	bool more = true;

	while (more) {
		more = false;
		for (size_t n = sizeof(block); n; n /= 2) {
			while (write(fd, block, n) > 0)
				more = true;
			e = errno;
		}
		if (fsync(fd) < 0)
			line("fill: fsync", -1, errno);
	}
	line("fill", -1, e);
	(void)close(fd);
}

/* A name of 255 bytes in "names". */
static const char *name(unsigned i)
{
	static char path[300];

	(void)snprintf(path, sizeof(path), "names/%03u%s", i, long255 + 3);
	return path;
}

static void no_room_for_names(void)
{
	unsigned n = 0;

	while (n < 1000 && !link("f", name(n)))
		n++;
	T("link", link("f", name(n)));
	printf("%s: link: %u names fit\n", part, n);
	T("rename", rename("f2", name(n)));
	FD("open, O_CREAT", open(name(n), O_RDWR | O_CREAT, 0600));
	T("mknod", mknod(name(n), S_IFREG | 0600, 0));
	T("mkfifo", mkfifo(name(n), 0600));
	T("symlink, a short one", symlink("x", name(n)));
	T("mkdir, no room for its name", mkdir(name(n), 0700));
	T("what fits", unlink(name(0)));
	T("rename, to where there is room", rename("f2", name(0)));
	T("rename, back", rename(name(0), "f2"));
}

static sigjmp_buf back;

static void on_bus(int sig)
{
	siglongjmp(back, sig);
}

/* A store to a hole. */
static void no_room_for_a_page(void)
{
	int fd = open("hole", O_RDWR | O_CLOEXEC);
	volatile char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	T("mmap of a hole", p == MAP_FAILED ? -1 : 0);
	(void)signal(SIGBUS, on_bus);
	if (!sigsetjmp(back, 1)) {
		p[0] = 'x';
		line("a store to a hole", 0, 0);
	} else {
		line("a store to a hole", -1, EFAULT);
	}
	(void)signal(SIGBUS, SIG_DFL);
	T("msync of a hole", msync((void *)(uintptr_t)p, 65536, MS_SYNC));
	T("fsync of a hole", fsync(fd));
	(void)munmap((void *)(uintptr_t)p, 65536);
	(void)close(fd);
}

static void no_blocks(void)
{
	struct iovec v = { block, 5000 };
	int s = open("src", O_RDONLY | O_CLOEXEC), w = open("empty", O_RDWR | O_CLOEXEC);
	loff_t at = 0;

	fill("big");
	T("write", write(w, block, 5000));
	T("pwrite", pwrite(w, block, 5000, 100000));
	T("writev", writev(w, &v, 1));
	T("pwritev", pwritev(w, &v, 1, 200000));
	T("copy_file_range", copy_file_range(s, &at, w, &(loff_t){ 0 }, 65536, 0));
	T("sendfile", (at = 0, sendfile(w, s, &at, 65536)));
	T("fallocate", fallocate(w, 0, 0, 1 << 20));
	T("fallocate, KEEP_SIZE", fallocate(w, FALLOC_FL_KEEP_SIZE, 0, 1 << 20));
	T("posix_fallocate", -(errno = posix_fallocate(w, 0, 1 << 20)));
	T("ftruncate: a hole takes nothing", ftruncate(w, 1 << 20));
	T("fsync", fsync(w));
	T("ftruncate: back", ftruncate(w, 0));
	show("empty", "empty");
	T("setxattr", setxattr("f", "user.large", block, 3000, 0));
	T("lsetxattr", lsetxattr("f", "user.large", block, 3000, 0));
	T("fsetxattr", fsetxattr(s, "user.large", block, 3000, 0));
	T("mkdir", mkdir("dir", 0700));
	memset(block, 't', 200);
	block[200] = 0;
	T("symlink", symlink(block, "long-link"));
	memset(block, 0, 201);
	no_room_for_names();
	no_room_for_a_page();
	content("what was there", "src");
	T("unlink of what filled it", unlink("big"));
	T("write, now", write(w, block, 5000));
	T("mkdir, now", mkdir("dir", 0700));
	T("setxattr, now", setxattr("f", "user.large", block, 3000, 0));
	T("fsync, now", fsync(w));
	show("empty, now", "empty");
	(void)close(s);
	(void)close(w);
}

static void no_inodes(void)
{
	char path[32];
	unsigned n = 0;
	int fd = 0;

	for (; n < 5000 && fd >= 0; n++) {
		(void)snprintf(path, sizeof(path), "names/%u", n);
		fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fd >= 0)
			(void)close(fd);
	}
	printf("%s: %u files fit\n", part, n - 1);
	FD("open, O_CREAT, no inode", open("x", O_CREAT | O_RDWR, 0600));
	FD("creat, no inode", creat("x", 0600));
	FD("open, O_TMPFILE, no inode", open(".", O_TMPFILE | O_RDWR, 0600));
	T("mkdir, no inode", mkdir("x", 0700));
	T("mknod, no inode", mknod("x", S_IFREG | 0600, 0));
	T("mkfifo, no inode", mkfifo("x", 0600));
	T("symlink, no inode", symlink("y", "x"));
	T("bind, no inode", bound("x"));
	T("rename, WHITEOUT, no inode", move2("f2", "x", RENAME_WHITEOUT));
	T("rename needs none", rename("f2", "f3"));
	T("rename back", rename("f3", "f2"));
	T("link needs none", link("f", "hard"));
	T("unlink of the link", unlink("hard"));
	show("nothing was made", "x");
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(path, sizeof(path), "names/%u", i);
		(void)unlink(path);
	}
	FD("open, O_CREAT, now", open("x", O_CREAT | O_RDWR, 0600));
	T("unlink of that", unlink("x"));
}

static void to_work_with(void)
{
	memset(long255, 'n', 255);
	make("f", 0644, 10);
	make("f2", 0644, 10);
	make("src", 0644, 65536);
	make("empty", 0644, 0);
	make("hole", 0644, 0);
	T("a hole", truncate("hole", 65536));
	(void)mkdir("names", 0755);
}

void full_part(void)
{
	to_work_with();
	no_inodes();
	no_blocks();
}

/* The directory and the file with as many links as there can be. */
void links_part(void)
{
	make("f", 0644, 10);
	(void)mkdir("d", 0755);
	(void)mkdir("e", 0755);
	show("a directory", "../many");
	show("a file", "../much");
	T("link: EMLINK", link("../much", "x"));
	T("linkat: EMLINK", linkat(AT_FDCWD, "../much", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
	T("mkdir: EMLINK", mkdir("../many/x", 0700));
	T("rename: EMLINK", rename("d", "../many/x"));
	T("rename: EMLINK, NOREPLACE", move2("d", "../many/x", RENAME_NOREPLACE));
	T("rename: EMLINK, EXCHANGE", move2("d", "../many/f", RENAME_EXCHANGE));
	T("a file can be made there", mknod("../many/x", S_IFREG | 0600, 0));
	T("and a link of another", link("f", "../many/y"));
	T("one less", unlink("../much"));
	show("a directory, after", "../many");
}

/* FAT: no owners, no links, no devices, no attributes, names that are no names, small files. */
void fat_part(void)
{
	int w;

	make("f", 0644, 5000);
	(void)mkdir("d", 0755);
	w = open("f", O_RDWR | O_CLOEXEC);
	FD("open: EINVAL of a name", open("a:b", O_CREAT | O_RDWR, 0600));
	FD("open: ENOENT of that name", open("a:b", O_RDONLY));
	T("mkdir: EINVAL of a name", mkdir("a*b", 0700));
	T("rename: EINVAL of a name", rename("f", "a?b"));
	FD("open: EOPNOTSUPP", open(".", O_TMPFILE | O_RDWR, 0600));
	T("symlink: EPERM", symlink("f", "ln"));
	T("link: EPERM", link("f", "hard"));
	T("mknod: EPERM", mknod("dev", S_IFCHR | 0600, makedev(1, 3)));
	T("mkfifo: EPERM", mkfifo("fifo", 0600));
	T("bind: EPERM", bound("sock"));
	T("rename: WHITEOUT", move2("f", "g", RENAME_WHITEOUT));
	T("setxattr: ENOTSUP", setxattr("f", "user.a", "v", 1, 0));
	T("getxattr: ENOTSUP", getxattr("f", "user.a", NULL, 0));
	T("removexattr: ENOTSUP", removexattr("f", "user.a"));
	T("listxattr", listxattr("f", NULL, 0));
	T("chown: EPERM", chown("f", 5, 5));
	T("chmod: EPERM", chmod("f", 04000));
	T("truncate: EFBIG", truncate("f", 1L << 33));
	T("ftruncate: EFBIG", ftruncate(w, 1L << 33));
	T("pwrite: EFBIG", pwrite(w, "x", 1, 1L << 33));
	T("fallocate: EFBIG", fallocate(w, FALLOC_FL_KEEP_SIZE, 1L << 33, 10));
	T("fallocate: EOPNOTSUPP", fallocate(w, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10));
	T("ioctl: ENOTTY", ioctl(w, FS_IOC_GETFLAGS, &(int){ 0 }) < 0 ? -1 : 0);
	FD("open: ENOENT", open("none/x", O_RDONLY));
	FD("open: by the other case", open("F", O_RDONLY));
	T("mkdir: EEXIST by the other case", mkdir("D", 0700));
	T("rmdir: ENOTEMPTY", (make("d/f", 0644, 1), rmdir("d")));
	T("mkdir, unlink, rmdir", (unlink("d/f"), rmdir("d")));
	content("what was there", "f");
	(void)close(w);
}
