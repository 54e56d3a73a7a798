// SPDX-License-Identifier: Apache-2.0
/* The file system suite: calls about names. */
/*
 * How it works: a part makes what it needs, calls, and shows what became of it. Long names are the
 * same in all parts; a loop of two symlinks stands for every ELOOP.
 */
#include "fs-posix.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

static char long256[257], long255[256], path5000[5001];

static void start(void)
{
	memset(long256, 'n', 256);
	memset(long255, 'm', 255);
	for (unsigned i = 0; i < 5000; i++)
		path5000[i] = i % 2 ? '/' : 'd';
	make("f", 0644, 10);
	(void)mkdir("d", 0755);
	(void)!symlink("loop2", "loop1");
	(void)!symlink("loop1", "loop2");
	(void)!symlink("f", "ln");
	(void)!symlink("d", "lnd");
	(void)!symlink("none", "dangling");
	(void)mkfifo("fifo", 0644);
}

static long how(const char *path, uint64_t flags, uint64_t mode, uint64_t resolve, size_t size)
{
	struct open_how h = { .flags = flags, .mode = mode, .resolve = resolve };

	return syscall(SYS_openat2, AT_FDCWD, path, &h, size);
}

static void opens(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	FD("open: there", open("f", O_RDONLY));
	FD("open: ENOENT", open("none", O_RDONLY));
	FD("open: ENOENT of a parent", open("none/x", O_RDWR | O_CREAT, 0600));
	FD("open: ENOENT of nothing", open("", O_RDONLY));
	FD("open: ENOTDIR", open("f/x", O_RDONLY));
	FD("open: ENOTDIR by flag", open("f", O_RDONLY | O_DIRECTORY));
	FD("open: ENOTDIR by slash", open("f/", O_RDONLY));
	FD("open: EISDIR", open("d", O_WRONLY));
	FD("open: EISDIR, O_CREAT", open("d", O_RDONLY | O_CREAT, 0600));
	FD("open: EISDIR by slash", open("newdir/", O_WRONLY | O_CREAT, 0600));
	FD("open: EEXIST", open("f", O_RDWR | O_CREAT | O_EXCL, 0600));
	FD("open: EEXIST of a link", open("dangling", O_RDWR | O_CREAT | O_EXCL, 0600));
	FD("open: ELOOP", open("loop1", O_RDONLY));
	FD("open: ELOOP, O_NOFOLLOW", open("ln", O_RDONLY | O_NOFOLLOW));
	FD("open: ENAMETOOLONG", open(long256, O_RDONLY));
	FD("open: ENAMETOOLONG of a path", open(path5000, O_RDONLY));
	FD("open: 255", open(long255, O_RDWR | O_CREAT, 0600));
	FD("open: ENXIO of a fifo", open("fifo", O_WRONLY | O_NONBLOCK));
	FD("open: a fifo", open("fifo", O_RDONLY | O_NONBLOCK));
	T("bind", bind(s, (void *)&un, sizeof(un)));
	FD("open: ENXIO of a socket", open("sock", O_RDWR));
	FD("open: EFAULT", syscall(SYS_open, (char *)1, O_RDONLY));
	FD("openat: EBADF", openat(77, "f", O_RDONLY));
	FD("open: through a dangling link", open("dangling", O_RDWR | O_CREAT, 0640));
	show("open: made by that", "none");
	FD("open: O_PATH of a link", open("ln", O_PATH | O_NOFOLLOW));
	FD("open: O_TRUNC", open("f", O_WRONLY | O_TRUNC));
	show("open: truncated", "f");
	FD("creat", creat("created", 04777));
	show("creat: mode", "created");
	FD("creat: EISDIR", creat("d", 0600));
	FD("open: O_DIRECT", open("f", O_RDWR | O_DIRECT));
	FD("tmpfile: EINVAL", open("d", O_TMPFILE | O_RDONLY, 0600));
	FD("tmpfile: ENOENT", open("nodir", O_TMPFILE | O_RDWR, 0600));
	FD("tmpfile: ENOTDIR", open("f", O_TMPFILE | O_RDWR, 0600));
	FD("openat2", how("f", O_RDONLY, 0, 0, sizeof(struct open_how)));
	FD("openat2: EINVAL of flags", how("f", 1ULL << 40, 0, 0, sizeof(struct open_how)));
	FD("openat2: EINVAL of a mode", how("f", O_RDONLY, 0600, 0, sizeof(struct open_how)));
	FD("openat2: EINVAL of a size", how("f", O_RDONLY, 0, 0, 1));
	FD("openat2: EXDEV", how("../move", O_RDONLY, 0, RESOLVE_BENEATH, sizeof(struct open_how)));
	FD("openat2: ELOOP", how("ln", O_RDONLY, 0, RESOLVE_NO_SYMLINKS, sizeof(struct open_how)));
	FD("openat2: in root", how("/f", O_RDONLY, 0, RESOLVE_IN_ROOT, sizeof(struct open_how)));
	(void)close(s);
}

static void tmpfiles(void)
{
	int fd = open("d", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
	char p[64];

	show_fd("tmpfile", fd);
	T("tmpfile: write", write(fd, "abc", 3));
	(void)snprintf(p, sizeof(p), "/proc/self/fd/%d", fd);
	T("tmpfile: link", linkat(AT_FDCWD, p, AT_FDCWD, "d/named", AT_SYMLINK_FOLLOW));
	show("tmpfile: named", "d/named");
	content("tmpfile: content", "d/named");
	T("tmpfile: EEXIST", linkat(AT_FDCWD, p, AT_FDCWD, "d/named", AT_SYMLINK_FOLLOW));
	(void)close(fd);
	fd = open("d", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0640);
	(void)snprintf(p, sizeof(p), "/proc/self/fd/%d", fd);
	T("tmpfile: O_EXCL", linkat(AT_FDCWD, p, AT_FDCWD, "d/named2", AT_SYMLINK_FOLLOW));
	(void)close(fd);
}

static void makes(void)
{
	T("mkdir", mkdir("m", 07777));
	show("mkdir: mode", "m");
	T("mkdir: EEXIST", mkdir("m", 0755));
	T("mkdir: EEXIST of a dangling link", mkdir("loop1", 0755));
	T("mkdir: ENOENT", mkdir("no/x", 0755));
	T("mkdir: ENOTDIR", mkdir("f/x", 0755));
	T("mkdir: ENAMETOOLONG", mkdir(long256, 0755));
	T("mkdir: ELOOP", mkdir("loop1/x", 0755));
	T("mkdir: slash", mkdir("m2/", 0755));
	T("mkdir: EEXIST of .", mkdir(".", 0755));
	T("chmod of a parent", chmod("m", 02775));
	T("mkdir: below SGID", mkdir("m/s", 0755));
	show("mkdir: SGID", "m/s");
	T("mknod: file", mknod("k1", S_IFREG | 0666, 0));
	T("mknod: fifo", mknod("k2", S_IFIFO | 0666, 0));
	T("mknod: socket", mknod("k3", S_IFSOCK | 0666, 0));
	T("mknod: char", mknod("k4", S_IFCHR | 0666, makedev(1, 3)));
	T("mknod: block", mknod("k5", S_IFBLK | 0666, makedev(7, 70000)));
	T("mknod: whiteout", mknod("k6", S_IFCHR, 0));
	T("mknod: a directory", mknod("k7", S_IFDIR | 0755, 0));
	T("mknod: EINVAL", mknod("k7", S_IFLNK | 0755, 0));
	T("mknod: EEXIST", mknod("k1", S_IFREG | 0666, 0));
	T("mknod: ENOENT", mknod("no/x", S_IFREG | 0666, 0));
	for (char n[3] = "k1"; n[1] <= '6'; n[1]++)
		show(n, n);
	T("symlink: EEXIST", symlink("x", "f"));
	T("symlink: ENOENT", symlink("", "e"));
	T("symlink: ENOENT of a parent", symlink("x", "no/e"));
	T("symlink: ENAMETOOLONG", symlink("x", long256));
	T("symlink: ENAMETOOLONG of its text", symlink(path5000, "e"));
	path5000[4095] = 0;
	T("symlink: 4095", symlink(path5000, "e4095"));
	path5000[4095] = '/';
	show("symlink: its size", "e4095");
}

static void links(void)
{
	char b[16] = "";

	T("readlink", readlink("ln", b, sizeof(b)));
	T("readlink: cut", readlink("e4095", b, 5));
	T("readlink: EINVAL", readlink("f", b, sizeof(b)));
	T("readlink: EINVAL of no room", readlink("ln", b, 0));
	T("readlink: ENOENT", readlink("nothing", b, sizeof(b)));
	T("link", link("f", "hard"));
	show("link: two", "f");
	T("link: EEXIST", link("f", "hard"));
	T("link: ENOENT", link("nothing", "h2"));
	T("link: ENOENT of a parent", link("f", "no/h"));
	T("link: EPERM of a directory", link("d", "h2"));
	T("link: ENOTDIR", link("f/x", "h2"));
	T("link: a symlink", link("ln", "hardln"));
	show("link: of a symlink", "hardln");
	T("linkat: followed", linkat(AT_FDCWD, "ln", AT_FDCWD, "hard3", AT_SYMLINK_FOLLOW));
	show("link: three", "hard3");
	T("linkat: EINVAL", linkat(AT_FDCWD, "f", AT_FDCWD, "h2", 0x8000));
	T("link: a fifo", link("fifo", "fifo2"));
	show("link: of a fifo", "fifo2");
	T("unlink", unlink("hard"));
	show("unlink: one less", "f");
	T("unlink: ENOENT", unlink("hard"));
	T("unlink: EISDIR", unlink("d"));
	T("unlink: ENOTDIR", unlink("f/x"));
	T("unlink: ENOTDIR by slash", unlink("f/"));
	T("unlinkat: EINVAL", unlinkat(AT_FDCWD, "f", 0x8000));
	T("unlinkat: ENOTDIR", unlinkat(AT_FDCWD, "f", AT_REMOVEDIR));
	T("unlink: ELOOP", unlink("loop1/x"));
	T("unlink: a link", unlink("hardln"));
	T("rmdir: ENOTEMPTY", rmdir("m"));
	T("rmdir: ENOTDIR", rmdir("f"));
	T("rmdir: ENOTDIR of a link", rmdir("lnd"));
	T("rmdir: EINVAL", rmdir("m/."));
	T("rmdir: ENOTEMPTY of a parent", rmdir("m/s/.."));
	T("rmdir: ENOENT", rmdir("nothing"));
	T("rmdir", rmdir("m/s"));
	show("rmdir: links of the parent", "m");
}

/* What has lost its name lives as long as it is open. */
static void nameless(void)
{
	int fd = open("gone", O_CREAT | O_RDWR | O_CLOEXEC, 0600), d;
	char b[8] = "";

	T("gone: write", write(fd, "text", 4));
	T("gone: unlink", unlink("gone"));
	show_fd("gone: links", fd);
	T("gone: read", pread(fd, b, 4, 0));
	T("gone: grows", pwrite(fd, "more", 4, 100));
	T("gone: chmod", fchmod(fd, 0644));
	T("gone: truncate", ftruncate(fd, 50));
	show_fd("gone: after", fd);
	FD("gone: its name again", open("gone", O_CREAT | O_EXCL | O_RDWR, 0600));
	(void)close(fd);
	(void)mkdir("gonedir", 0755);
	d = open("gonedir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	T("gone: rmdir", rmdir("gonedir"));
	FD("gone: ENOENT", openat(d, "x", O_CREAT | O_RDWR, 0600));
	T("gone: ENOENT of mkdir", mkdirat(d, "x", 0700));
	T("gone: getdents", syscall(SYS_getdents64, d, b, sizeof(b)));
	(void)close(d);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void lists(void)
{
	static char seen[1100][16];
	struct dirent *e;
	unsigned n = 0;
	char name[16], b[4096];
	long at = 0;
	DIR *d;
	int fd;

	(void)mkdir("list", 0755);
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "list/%03u", i);
		make(name, 0644, 0);
	}
	d = opendir("list");
	while ((e = readdir(d)) && n < 1100) {
		(void)snprintf(seen[n++], 16, "%u %.12s", e->d_type, e->d_name);
		if (n == 500)
			at = telldir(d);
	}
	qsort(seen, n, 16, by_name);
	printf("%s: list: %u names, %s, %s\n", part, n, seen[0], seen[n - 1]);
	seekdir(d, at);
	for (n = 0; readdir(d); n++)
		;
	printf("%s: list: %u after the 500th\n", part, n);
	make("list/late", 0644, 0);
	rewinddir(d);
	for (n = 0; readdir(d); n++)
		;
	printf("%s: list: %u after one more\n", part, n);
	(void)closedir(d);
	fd = open("f", O_RDONLY | O_CLOEXEC);
	T("getdents: ENOTDIR", syscall(SYS_getdents64, fd, b, sizeof(b)));
	T("getdents: EBADF", syscall(SYS_getdents64, 77, b, sizeof(b)));
	(void)close(fd);
	fd = open("list", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	T("getdents: EINVAL", syscall(SYS_getdents64, fd, b, 10));
	T("fsync of a directory", fsync(fd));
	T("read of a directory", read(fd, b, 10));
	T("write of a directory", write(fd, b, 10));
	(void)close(fd);
}

void names_part(void)
{
	start();
	opens();
	tmpfiles();
	makes();
	links();
	nameless();
	lists();
}

static long move2(const char *a, const char *b, unsigned flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

void move_part(void)
{
	char b[16] = "";
	int fd;

	start();
	(void)mkdir("full", 0755);
	make("full/x", 0644, 1);
	(void)mkdir("empty", 0755);
	make("g", 0600, 20);
	(void)link("g", "g2");
	T("rename", rename("f", "f2"));
	T("rename: ENOENT", rename("f", "f3"));
	T("rename: ENOENT of a parent", rename("f2", "no/x"));
	T("rename: ENOTDIR", rename("f2/x", "f3"));
	T("rename: EISDIR", rename("f2", "d"));
	T("rename: ENOTDIR over a file", rename("d", "f2"));
	T("rename: ENOTEMPTY", rename("empty", "full"));
	T("rename: EINVAL", rename("full", "full/below"));
	T("rename: ENOTEMPTY of a parent", rename("full/x", "full"));
	T("rename: EBUSY", rename(".", "x"));
	T("rename: ENAMETOOLONG", rename("f2", long256));
	T("rename: ELOOP", rename("loop1/x", "y"));
	T("rename: one inode", rename("g", "g2"));
	show("rename: both are there", "g");
	T("rename: over a directory", rename("full", "empty"));
	show("rename: moved with what it held", "empty/x");
	T("rename: a link", rename("ln", "ln2"));
	T("rename: a link's text", readlink("ln2", b, sizeof(b)));
	fd = open("g2", O_RDWR | O_CLOEXEC);
	T("rename: over an open file", rename("f2", "g2"));
	show_fd("rename: what was open", fd);
	T("rename: and is written", pwrite(fd, "z", 1, 0));
	content("rename: by its other name", "g");
	(void)close(fd);
	T("rename: NOREPLACE", move2("g", "g2", RENAME_NOREPLACE));
	T("rename: NOREPLACE, free", move2("g", "h", RENAME_NOREPLACE));
	T("rename: EXCHANGE", move2("h", "empty", RENAME_EXCHANGE));
	show("rename: exchanged", "h");
	show("rename: for it", "empty");
	T("rename: EXCHANGE, ENOENT", move2("h", "none", RENAME_EXCHANGE));
	T("rename: EINVAL of both", move2("h", "x", RENAME_EXCHANGE | RENAME_NOREPLACE));
	T("rename: EINVAL of a flag", move2("h", "x", 64));
	T("rename: EXCHANGE, EINVAL", move2("h", "h/x", RENAME_EXCHANGE));
	T("rename: WHITEOUT", move2("g2", "w", RENAME_WHITEOUT));
	show("rename: what it left", "g2");
	T("rename: into a directory", rename("w", "d/w"));
	T("rename: back", rename("d/w", "./w"));
	show("rename: all the way", "w");
}
