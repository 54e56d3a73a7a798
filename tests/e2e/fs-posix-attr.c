// SPDX-License-Identifier: Apache-2.0
/* The file system suite: attributes, extended attributes, rights of ordinary users, mounts. */
/*
 * How it works: as in fs-posix-names.c. The users' part is prepared by root and then looked at by
 * uid 1000 (with group 100); the mounts' part makes a mount namespace of its own.
 */
#include "fs-posix.h"

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

static char long256[257];
static const struct {
	uint32_t magic, p, i, p2, i2;
} cap = { 0x02000000, 1 << 10, 0, 0, 0 };

static void times(void)
{
	struct timespec ts[2] = { { 1000000000, 5 }, { 1100000000, 999999999 } };
	struct stat st;

	T("utimensat", utimensat(AT_FDCWD, "f", ts, 0));
	(void)stat("f", &st);
	printf("%s: times %ld.%09ld %ld.%09ld\n", part, st.st_atim.tv_sec, st.st_atim.tv_nsec,
		st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	ts[0].tv_nsec = UTIME_OMIT;
	ts[1].tv_nsec = UTIME_NOW;
	T("utimensat: one of them now", utimensat(AT_FDCWD, "f", ts, 0));
	(void)stat("f", &st);
	printf("%s: times %ld.%09ld, changed %d\n", part, st.st_atim.tv_sec, st.st_atim.tv_nsec,
		st.st_mtim.tv_sec > 1200000000);
	ts[0].tv_nsec = 1000000000;
	T("utimensat: EINVAL", utimensat(AT_FDCWD, "f", ts, 0));
	T("utimensat: EINVAL of flags", utimensat(AT_FDCWD, "f", NULL, 0x8000));
	T("utimensat: ENOENT", utimensat(AT_FDCWD, "none", NULL, 0));
	ts[0] = ts[1] = (struct timespec){ 900000000, 1 };
	T("utimensat: a link", utimensat(AT_FDCWD, "ln", ts, AT_SYMLINK_NOFOLLOW));
	(void)lstat("ln", &st);
	printf("%s: link's time %ld.%09ld\n", part, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	ts[1] = (struct timespec){ -1000000000, 0 };
	T("utimensat: before 1970", utimensat(AT_FDCWD, "f", ts, 0));
	(void)stat("f", &st);
	printf("%s: times %ld %ld\n", part, st.st_atim.tv_sec, st.st_mtim.tv_sec);
	ts[1] = (struct timespec){ 1LL << 40, 0 };
	T("utimensat: too far", utimensat(AT_FDCWD, "f", ts, 0));
	(void)stat("f", &st);
	printf("%s: times %ld\n", part, st.st_mtim.tv_sec);
}

static void stats(void)
{
	struct statx sx;
	struct statfs sf;
	struct stat st;

	T("stat: ENOENT", stat("none", &st));
	T("stat: ENOTDIR", stat("f/x", &st));
	T("stat: ENAMETOOLONG", stat(long256, &st));
	T("stat: ENOENT of nothing", stat("", &st));
	T("stat: EFAULT", syscall(SYS_stat, "f", (void *)1));
	T("fstat: EBADF", fstat(77, &st));
	T("fstatat: EINVAL", fstatat(AT_FDCWD, "f", &st, 0x8000));
	T("statx", statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME, &sx));
	printf("%s: statx mask %x, mode %o, blksize %d\n", part, sx.stx_mask & 0xfff, sx.stx_mode,
		sx.stx_blksize >= 512);
	T("statx: sync", statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_SIZE, &sx));
	T("statx: EINVAL", statx(AT_FDCWD, "f", AT_STATX_SYNC_TYPE, STATX_SIZE, &sx));
	T("statx: EINVAL of the mask", statx(AT_FDCWD, "f", 0, 0x80000000U, &sx));
	T("statx: ENOENT", statx(AT_FDCWD, "", 0, STATX_SIZE, &sx));
	T("statx: nothing", statx(AT_FDCWD, "", AT_EMPTY_PATH, STATX_SIZE, &sx));
	T("statfs", statfs("f", &sf));
	printf("%s: names of %ld bytes\n", part, (long)sf.f_namelen);
	T("statfs: ENOENT", statfs("none", &sf));
	T("fstatfs: EBADF", fstatfs(77, &sf));
	T("access", access("f", R_OK | W_OK));
	T("access: EACCES of x", access("f", X_OK));
	T("access: ENOENT", access("none", F_OK));
	T("access: EINVAL", access("f", 64));
	T("faccessat: EINVAL", faccessat(AT_FDCWD, "f", R_OK, 0x8000));
}

static void modes(void)
{
	int fd;

	T("chmod", chmod("f", 07777));
	show("chmod: mode", "f");
	T("chmod: a link", chmod("ln", 0640));
	show("chmod: its file", "f");
	T("chmod: ENOENT", chmod("none", 0644));
	T("chmod: ENOTDIR", chmod("f/x", 0644));
	T("fchmod: EBADF", fchmod(77, 0644));
	T("fchmodat: EINVAL", fchmodat(AT_FDCWD, "f", 0644, 0x8000));
	T("fchmodat: a link itself", fchmodat(AT_FDCWD, "ln", 0600, AT_SYMLINK_NOFOLLOW));
	T("chmod: a directory", chmod("d", 01777));
	show("chmod: sticky", "d");
	T("chown", chown("f", 0, 0));
	T("chown: ENOENT", chown("none", 0, 0));
	T("lchown", lchown("ln", 0, 0));
	T("fchownat: EINVAL", fchownat(AT_FDCWD, "f", 0, 0, 0x8000));
	if (!root)
		return;
	T("chmod: set-id", chmod("f", 06755));
	T("chown: by root", chown("f", 1, 2));
	show("chown: set-id bits", "f");
	T("chmod: set-group of what is not executed", chmod("f", 02644));
	T("chown: by root, of that", chown("f", 5, 6));
	show("chown: the bit stays", "f");
	T("chmod: set-id for root's calls", chmod("f", 06755));
	fd = open("f", O_RDWR | O_CLOEXEC);
	T("fallocate: by root", fallocate(fd, 0, 0, 100));
	show("fallocate: set-id bits", "f");
	T("copy_file_range: by root",
		copy_file_range(fd, &(off_t){ 0 }, fd, &(off_t){ 50 }, 20, 0));
	show("copy_file_range: set-id bits", "f");
	(void)close(fd);
	T("chown: back to what it was", chown("f", 1, 2));
	T("chmod: set-id of a directory", chmod("d", 06755));
	T("chown: a directory", chown("d", 1, 2));
	show("chown: they stay", "d");
	T("lchown: a link", lchown("ln", 3, 4));
	show("lchown: its own", "ln");
	T("chown: large ids", chown("f", 0x7ffffffe, 0x7ffffffd));
	show("chown: large", "f");
	T("chown: back", chown("f", 0, 0));
	T("chmod: set-id again", chmod("f", 06755));
	fd = open("f", O_WRONLY | O_CLOEXEC);
	T("write by root", write(fd, "x", 1));
	show("write: bits stay", "f");
	(void)close(fd);
}

void attr_part(void)
{
	memset(long256, 'n', 256);
	make("f", 0644, 100);
	(void)mkdir("d", 0755);
	(void)!symlink("f", "ln");
	times();
	stats();
	modes();
}

static void lists(const char *what, const char *path)
{
	char b[2000];
	ssize_t n = llistxattr(path, b, sizeof(b));
	unsigned count = 0;
	size_t sum = 0;

	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(b + i) + 1) {
		count++;
		for (const char *s = b + i; *s; s++)
			sum += (size_t)*s * (size_t)*s;
	}
	printf("%s: %s = %u names, sum %zu\n", part, what, count, sum);
}

static void acls(void)
{
	static const uint8_t acl[] = { 2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232,
		3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 0,
		0, 255, 255, 255, 255 };
	char b[100];

	T("acl: set", setxattr("f", "system.posix_acl_access", acl, sizeof(acl), 0));
	show("acl: mode", "f");
	T("acl: get", getxattr("f", "system.posix_acl_access", b, sizeof(b)));
	T("acl: EACCES of a default",
		setxattr("f", "system.posix_acl_default", acl, sizeof(acl), 0));
	T("acl: default", setxattr("d", "system.posix_acl_default", acl, sizeof(acl), 0));
	T("acl: EINVAL", setxattr("f", "system.posix_acl_access", acl, 10, 0));
	make("d/inherits", 0666, 0);
	T("acl: inherited", getxattr("d/inherits", "system.posix_acl_access", b, sizeof(b)));
	show("acl: mode of that", "d/inherits");
	T("acl: remove", removexattr("f", "system.posix_acl_access"));
}

void xattr_part(void)
{
	static char big[65537], name[300];
	char b[100];
	int fd;

	make("f", 0644, 100);
	(void)mkdir("d", 0755);
	(void)!symlink("f", "ln");
	(void)mkfifo("fifo", 0644);
	T("set", setxattr("f", "user.a", "value", 5, 0));
	T("set: empty", setxattr("f", "user.e", "", 0, 0));
	T("set: EEXIST", setxattr("f", "user.a", "v", 1, XATTR_CREATE));
	T("set: ENODATA", setxattr("f", "user.n", "v", 1, XATTR_REPLACE));
	T("set: replace", setxattr("f", "user.a", "new value", 9, XATTR_REPLACE));
	T("set: EINVAL", setxattr("f", "user.a", "v", 1, 64));
	T("set: EOPNOTSUPP", setxattr("f", "nothing", "v", 1, 0));
	T("set: EOPNOTSUPP of a class", setxattr("f", "odd.x", "v", 1, 0));
	T("set: user. alone", setxattr("f", "user.", "v", 1, 0));
	T("set: ERANGE", setxattr("f", "", "v", 1, 0));
	memset(name, 'x', 280);
	memcpy(name, "user.", 5);
	T("set: ERANGE of a name", setxattr("f", name, "v", 1, 0));
	name[255] = 0;
	T("set: 255", setxattr("f", name, "v", 1, 0));
	T("set: E2BIG", setxattr("f", "user.big", big, 65537, 0));
	T("set: ENOSPC", setxattr("f", "user.big", big, 65536, 0));
	T("set: ENOENT", setxattr("none", "user.a", "v", 1, 0));
	T("set: a directory", setxattr("d", "user.a", "v", 1, 0));
	T("set: EPERM of a link", lsetxattr("ln", "user.a", "v", 1, 0));
	T("set: EPERM of a fifo", setxattr("fifo", "user.a", "v", 1, 0));
	T("get", getxattr("f", "user.a", b, sizeof(b)));
	T("get: size", getxattr("f", "user.a", NULL, 0));
	T("get: ERANGE", getxattr("f", "user.a", b, 2));
	T("get: empty", getxattr("f", "user.e", b, sizeof(b)));
	T("get: ENODATA", getxattr("f", "user.n", b, sizeof(b)));
	T("get: ENODATA of a link", lgetxattr("ln", "user.a", b, sizeof(b)));
	T("get: EOPNOTSUPP", getxattr("f", "odd.x", b, sizeof(b)));
	T("list: size", listxattr("f", NULL, 0));
	T("list: ERANGE", listxattr("f", b, 3));
	lists("list", "f");
	lists("list: of a link", "ln");
	T("remove", removexattr("f", "user.e"));
	T("remove: ENODATA", removexattr("f", "user.e"));
	T("remove: EPERM of a link", lremovexattr("ln", "user.a"));
	fd = open("f", O_RDONLY | O_CLOEXEC);
	T("fset", fsetxattr(fd, "user.f", "v", 1, 0));
	T("fget", fgetxattr(fd, "user.f", b, sizeof(b)));
	T("fremove", fremovexattr(fd, "user.f"));
	T("fget: EBADF", fgetxattr(77, "user.f", b, sizeof(b)));
	(void)close(fd);
	T("trusted: set", setxattr("f", "trusted.t", "v", 1, 0));
	T("trusted: get", getxattr("f", "trusted.t", b, sizeof(b)));
	T("trusted: of a link", lsetxattr("ln", "trusted.t", "v", 1, 0));
	T("security: set", setxattr("f", "security.t", "v", 1, 0));
	T("security: get", getxattr("f", "security.t", b, sizeof(b)));
	T("capability: set", setxattr("f", "security.capability", &cap, sizeof(cap), 0));
	T("capability: get", getxattr("f", "security.capability", b, sizeof(b)));
	T("capability: EINVAL", setxattr("f", "security.capability", "x", 1, 0));
	fd = open("f", O_WRONLY | O_CLOEXEC);
	T("capability: a write", write(fd, "x", 1));
	T("capability: is gone", getxattr("f", "security.capability", b, sizeof(b)));
	(void)close(fd);
	acls();
}

static void by_user(void)
{
	struct timespec ts[2] = { { 1, 1 }, { 1, 1 } };
	char b[100];
	int fd;

	FD("user: EACCES to read", open("secret", O_RDONLY));
	FD("user: EACCES to write", open("readable", O_WRONLY));
	FD("user: reads", open("readable", O_RDONLY));
	FD("user: EACCES to search", open("closed/x", O_RDONLY));
	FD("user: EACCES to create", open("readdir/x", O_CREAT | O_RDWR, 0600));
	FD("user: EACCES to list", open("xonly", O_RDONLY | O_DIRECTORY));
	FD("user: through x alone", open("xonly/x", O_RDONLY));
	FD("user: by its group", open("group", O_RDWR));
	FD("user: EPERM of O_NOATIME", open("readable", O_RDONLY | O_NOATIME));
	FD("user: EACCES of O_TRUNC", open("readable", O_RDONLY | O_TRUNC));
	FD("user: tmpfile, EACCES", open("readdir", O_TMPFILE | O_RDWR, 0600));
	T("user: mkdir, EACCES", mkdir("readdir/d", 0700));
	T("user: mknod, EPERM", mknod("mine/dev", S_IFCHR | 0600, 259));
	T("user: whiteout", mknod("mine/white", S_IFCHR, 0));
	show("user: whiteout's owner", "mine/white");
	T("user: unlink, EACCES", unlink("readdir/file"));
	T("user: unlink, EPERM of sticky", unlink("sticky/roots"));
	T("user: unlink of its own", unlink("sticky/users"));
	T("user: rmdir, EPERM of sticky", rmdir("sticky/rootsdir"));
	T("user: rename, EPERM of sticky", rename("sticky/roots", "sticky/x"));
	T("user: rename over, EPERM", rename("mine/file", "sticky/roots"));
	T("user: rename, EACCES", rename("readdir/file", "mine/x"));
	T("user: rename of another's directory", rename("sticky777/rootsdir", "mine/x"));
	T("user: link, EPERM of protected", link("secret", "mine/l"));
	T("user: link, EACCES", link("mine/file", "readdir/l"));
	T("user: symlink, EACCES", symlink("x", "readdir/s"));
	T("user: chmod, EPERM", chmod("readable", 0666));
	T("user: chmod", chmod("mine/file", 02755));
	show("user: chmod keeps SGID of its group", "mine/file");
	T("user: chgrp to its other", chown("mine/file", (uid_t)-1, 100));
	show("user: chgrp", "mine/file");
	T("user: chgrp, EPERM", chown("mine/file", (uid_t)-1, 7));
	T("user: chown, EPERM", chown("mine/file", 1001, (gid_t)-1));
	T("user: chown to itself", chown("mine/file", 1000, (gid_t)-1));
	T("user: chmod of a foreign group", chmod("foreign", 02755));
	show("user: SGID is taken", "foreign");
	T("user: truncate, EACCES", truncate("readable", 0));
	T("user: times, EPERM", utimensat(AT_FDCWD, "group", ts, 0));
	T("user: touch, by its right to write", utimensat(AT_FDCWD, "group", NULL, 0));
	T("user: touch, EACCES", utimensat(AT_FDCWD, "readable", NULL, 0));
	T("user: access", access("secret", R_OK));
	T("user: access of a group", access("group", R_OK | W_OK));
	T("user: set, EACCES", setxattr("readable", "user.a", "v", 1, 0));
	T("user: get, EACCES", getxattr("secret", "user.a", b, sizeof(b)));
	T("user: set, EPERM of sticky", setxattr("sticky", "user.a", "v", 1, 0));
	T("user: trusted, EPERM", setxattr("mine/file", "trusted.a", "v", 1, 0));
	T("user: trusted, ENODATA", getxattr("mine/file", "trusted.a", b, sizeof(b)));
	T("user: capability, EPERM",
		setxattr("mine/file", "security.capability", &cap, sizeof(cap), 0));
	fd = open("suid", O_WRONLY | O_CLOEXEC);
	T("user: write", write(fd, "x", 1));
	show("user: set-id bits after a write", "suid");
	(void)close(fd);
	T("user: truncate", truncate("suid2", 5));
	show("user: set-id bits after a truncation", "suid2");
	FD("user: O_TRUNC", open("suid3", O_WRONLY | O_TRUNC));
	show("user: set-id bits after O_TRUNC", "suid3");
	fd = open("suid4", O_WRONLY | O_CLOEXEC);
	T("user: fallocate", fallocate(fd, 0, 0, 5000));
	show("user: set-id bits after fallocate", "suid4");
	(void)close(fd);
	FD("user: creates in SGID", open("sgid/f", O_CREAT | O_RDWR, 02775));
	show("user: group of the directory", "sgid/f");
	T("user: mkdir in SGID", mkdir("sgid/d", 0755));
	show("user: and SGID", "sgid/d");
	T("user: link of a symlink not its own", link("rootln", "mine/ln"));
}

void user_part(void)
{
	static const char *const suid[] = { "suid", "suid2", "suid3", "suid4" };

	make("secret", 0600, 10);
	make("readable", 0644, 10);
	make("group", 0660, 10);
	(void)!chown("group", 0, 100);
	(void)mkdir("closed", 0700);
	(void)mkdir("readdir", 0755);
	make("readdir/file", 0666, 1);
	(void)mkdir("xonly", 0711);
	make("xonly/x", 0644, 1);
	(void)mkdir("mine", 0755);
	make("mine/file", 0644, 1);
	(void)!chown("mine", 1000, 1000);
	(void)!chown("mine/file", 1000, 1000);
	(void)mkdir("sticky", 0755);
	make("sticky/roots", 0666, 1);
	make("sticky/users", 0666, 1);
	(void)mkdir("sticky/rootsdir", 0777);
	(void)!chown("sticky/users", 1000, 1000);
	(void)chmod("sticky", 01777);
	(void)mkdir("sticky777", 0755);
	(void)mkdir("sticky777/rootsdir", 0755);
	(void)chmod("sticky777", 0777);
	make("foreign", 0644, 1);
	(void)!chown("foreign", 1000, 55);
	(void)mkdir("sgid", 0755);
	(void)!chown("sgid", 0, 55);
	(void)chmod("sgid", 02777);
	(void)!symlink("x", "rootln");
	for (unsigned i = 0; i < 4; i++) {
		make(suid[i], 0666, 10);
		(void)chmod(suid[i], 06777);
	}
	as_user(1000, by_user);
}

static void over_mounts(void)
{
	int a = open("src/f", O_RDWR | O_CLOEXEC), b = open("busy/f", O_RDWR | O_CLOEXEC);
	struct open_how h = { .flags = O_RDONLY, .resolve = RESOLVE_NO_XDEV };
	char *args[] = { "f", NULL };

	FD("EXDEV: openat2", syscall(SYS_openat2, AT_FDCWD, "busy/f", &h, sizeof(h)));
	FD("EXDEV: openat2 of a bind", syscall(SYS_openat2, AT_FDCWD, "ro/f", &h, sizeof(h)));
	T("EXDEV: copy_file_range", copy_file_range(a, NULL, b, NULL, 5, 0));
	T("EXDEV: copy_file_range, back", copy_file_range(b, NULL, a, NULL, 5, 0));
	T("EXDEV: clone", ioctl(a, FICLONE, b));
	T("chmod to execute", chmod("src/f", 0755));
	T("noexec", mount(NULL, "ro", NULL, MS_REMOUNT | MS_BIND | MS_NOEXEC | MS_RDONLY, NULL));
	T("EACCES: execve of noexec", execve("ro/f", args, NULL));
	(void)close(b);
	b = open("ro/f", O_RDONLY | O_CLOEXEC);
	T("EPERM: mmap of noexec",
		mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, b, 0) == MAP_FAILED ? -1 : 0);
	T("access to execute, of noexec", access("ro/f", X_OK));
	(void)close(a);
	(void)close(b);
}

void mount_part(void)
{
	struct statfs sf;

	(void)mkdir("ro", 0755);
	(void)mkdir("busy", 0755);
	(void)mkdir("src", 0755);
	make("src/f", 0644, 10);
	T("unshare", unshare(CLONE_NEWNS));
	T("private", mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	T("bind", mount("src", "ro", NULL, MS_BIND, NULL));
	T("read-only", mount(NULL, "ro", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
	T("tmpfs", mount("t", "busy", "tmpfs", 0, NULL));
	FD("EROFS: open", open("ro/f", O_RDWR));
	FD("EROFS: create", open("ro/n", O_CREAT | O_RDWR, 0600));
	FD("EROFS: reads", open("ro/f", O_RDONLY));
	FD("EROFS: O_TRUNC", open("ro/f", O_RDONLY | O_TRUNC));
	T("EROFS: mkdir", mkdir("ro/d", 0755));
	T("EROFS: mknod", mknod("ro/d", S_IFREG | 0755, 0));
	T("EROFS: symlink", symlink("x", "ro/d"));
	T("EROFS: link", link("ro/f", "ro/g"));
	T("EROFS: unlink", unlink("ro/f"));
	T("EROFS: rename", rename("ro/f", "ro/g"));
	T("EROFS: chmod", chmod("ro/f", 0600));
	T("EROFS: chown", chown("ro/f", 0, 0));
	T("EROFS: truncate", truncate("ro/f", 0));
	T("EROFS: utimensat", utimensat(AT_FDCWD, "ro/f", NULL, 0));
	T("EROFS: setxattr", setxattr("ro/f", "user.a", "v", 1, 0));
	T("EROFS: access", access("ro/f", W_OK));
	FD("EROFS: tmpfile", open("ro", O_TMPFILE | O_RDWR, 0600));
	T("EBUSY: rmdir", rmdir("busy"));
	T("EBUSY: rename", rename("busy", "busy2"));
	T("EXDEV: rename", rename("src/f", "busy/f"));
	T("EXDEV: link", link("src/f", "busy/f"));
	T("EXDEV: link over a bind", link("src/f", "ro/f2"));
	make("busy/f", 0755, 10);
	T("EBUSY: unlink, a mount on a file",
		(make("on", 0644, 1), mount("src/f", "on", NULL, MS_BIND, NULL)));
	T("EBUSY: unlink", unlink("on"));
	T("EBUSY: rename of a file", rename("on", "off"));
	T("EBUSY: rename over a file", rename("src/f", "on"));
	T("umount of that", umount("on"));
	over_mounts();
	T("statfs of the tmpfs", statfs("busy", &sf));
	T("umount", umount("busy"));
	T("umount of the bind", umount("ro"));
	T("rmdir, now", rmdir("busy"));
}
