// SPDX-License-Identifier: Apache-2.0
/* The file system suite: what a runtime and its host decide: binds, read-only ones, files that the
 * host has marked immutable or append-only, the guards of sticky directories. */
/*
 * How it works: fs-posix.sh has made, beside the parts' folders, "tree" (a read-only bind), "vol"
 * (one to write to) and "fixed" (files to be marked). No container may mark a file, so the part
 * asks for it, by making "ask", and waits until the host has made "told"; before that it opens what
 * must be open already. Then every call of the tables in fs-posix-cross.c meets all of these.
 */
#include "fs-posix.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

static long move2(const char *a, const char *b, unsigned flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void readonly(void)
{
	int f = open("../tree/f", O_RDONLY | O_CLOEXEC),
	    d = open("../tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC), v = 0;

	each_path("read-only, there", AT_FDCWD, "../tree/f");
	each_path("read-only, new", AT_FDCWD, "../tree/new");
	each_path("read-only, a directory", AT_FDCWD, "../tree/d");
	each_path("read-only, a link", AT_FDCWD, "../tree/ln");
	each_path("read-only, by its directory", d, "f");
	each_fd("read-only", f);
	each_fd("read-only, a directory", d);
	T("link inside, read-only", link("../tree/f", "../tree/g"));
	T("rename inside, read-only", rename("../tree/f", "../tree/g"));
	T("exchange inside, read-only", move2("../tree/f", "../tree/d", RENAME_EXCHANGE));
	T("access, W_OK, read-only", access("../tree/f", W_OK));
	T("FS_IOC_SETFLAGS, read-only", ioctl(f, FS_IOC_SETFLAGS, &v));
	(void)close(f);
	(void)close(d);
}

static void across(void)
{
	int a = open("f", O_RDONLY | O_CLOEXEC),
	    b = open("../vol/copy", O_CREAT | O_RDWR | O_CLOEXEC, 0644);

	T("rename: EXDEV", rename("f", "../vol/x"));
	T("rename: EXDEV, back", rename("../vol/f", "x"));
	T("rename: EXDEV of a directory", rename("d", "../vol/x"));
	T("rename: EXDEV, NOREPLACE", move2("f", "../vol/x", RENAME_NOREPLACE));
	T("rename: EXDEV, EXCHANGE", move2("f", "../vol/f", RENAME_EXCHANGE));
	T("link: EXDEV", link("f", "../vol/x"));
	T("link: EXDEV, back", link("../vol/f", "x"));
	T("copy_file_range over binds", copy_file_range(a, NULL, b, NULL, 10, 0));
	T("rmdir: EBUSY", rmdir("../vol"));
	T("unlink: EISDIR", unlink("../vol"));
	T("rename: EBUSY", rename("../vol", "x"));
	T("rename: EBUSY over it", rename("d", "../vol"));
	T("rename: EBUSY, EXCHANGE", move2("d", "../vol", RENAME_EXCHANGE));
	(void)close(a);
	(void)close(b);
}

/* The host marks what lies in "fixed". It has a minute. */
static bool asked(void)
{
	const struct timespec ms = { .tv_nsec = 20000000 };

	make("../ask", 0644, 0);
	for (unsigned i = 0; i < 3000; i++) {
		if (!access("../told", F_OK))
			return true;
		(void)nanosleep(&ms, NULL);
	}
	return false;
}

static void marked(void)
{
	int w = open("../fixed/imm", O_RDWR | O_CLOEXEC),
	    a = open("../fixed/app", O_RDWR | O_APPEND | O_CLOEXEC),
	    d = open("../fixed/immdir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct timespec ts[2] = { { 1, 1 }, { 1, 1 } };

	if (!asked()) {
		line("the host marks files", -1, ETIME);
		return;
	}
	each_path("an immutable file", AT_FDCWD, "../fixed/imm");
	each_path("in an immutable directory", AT_FDCWD, "../fixed/immdir/f");
	each_path("new in an immutable directory", AT_FDCWD, "../fixed/immdir/new");
	(void)unlink("made-link");
	(void)unlink("made-link2");
	each_path("an append-only file", AT_FDCWD, "../fixed/app");
	each_path("in an append-only directory", AT_FDCWD, "../fixed/appdir/f");
	each_path("new in an append-only directory", AT_FDCWD, "../fixed/appdir/new");
	each_fd("immutable, opened before", w);
	each_fd("append-only, opened before", a);
	each_fd("an immutable directory", d);
	T("access, W_OK, immutable", access("../fixed/imm", W_OK));
	T("access, W_OK, append-only", access("../fixed/app", W_OK));
	T("utimensat, immutable", utimensat(AT_FDCWD, "../fixed/imm", ts, 0));
	T("utimensat, append-only", utimensat(AT_FDCWD, "../fixed/app", ts, 0));
	T("rename over, immutable", rename("f2", "../fixed/immdir/f"));
	T("rename a directory, immutable", rename("../fixed/immdir", "../fixed/moved"));
	T("rmdir, immutable", rmdir("../fixed/immdir"));
	T("rmdir, append-only", rmdir("../fixed/appdir"));
	(void)close(a);
	a = open("../fixed/app", O_RDWR | O_APPEND | O_CLOEXEC);
	FD("open to append, append-only", open("../fixed/app", O_WRONLY | O_APPEND));
	FD("open to append and O_TRUNC", open("../fixed/app", O_WRONLY | O_APPEND | O_TRUNC));
	FD("open to read, append-only", open("../fixed/app", O_RDONLY));
	FD("open to read, immutable", open("../fixed/imm", O_RDONLY));
	T("write, append-only", write(a, "end", 3));
	content("content, append-only", "../fixed/app");
	T("fallocate to punch, append-only",
		fallocate(a, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	T("mmap to write, append-only",
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, a, 0) == MAP_FAILED ? -1 : 0);
	T("F_SETFL without O_APPEND, append-only", fcntl(a, F_SETFL, 0));
	(void)close(w);
	(void)close(a);
	(void)close(d);
}

static bool sysctl(const char *path, char value, char *was)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool ok = fd >= 0 && (!was || read(fd, was, 1) == 1) && pwrite(fd, &value, 1, 0) == 1;

	if (fd >= 0)
		(void)close(fd);
	return ok;
}

static void in_sticky(void)
{
	FD("open: EACCES of protected_regular", open("sticky/others", O_RDWR | O_CREAT, 0600));
	FD("open: without O_CREAT", open("sticky/others", O_RDWR));
	FD("open: EACCES of protected_fifos", open("sticky/fifo", O_RDWR | O_CREAT, 0600));
	FD("open: one's own", open("sticky/own", O_RDWR | O_CREAT, 0600));
}

static void guarded(void)
{
	static const char reg[] = "/proc/sys/fs/protected_regular",
			  fifo[] = "/proc/sys/fs/protected_fifos";
	char was[2] = "00";

	(void)mkdir("sticky", 0755);
	make("sticky/others", 0666, 1);
	make("sticky/own", 0666, 1);
	(void)mkfifo("sticky/fifo", 0666);
	(void)chmod("sticky/fifo", 0666);
	(void)!chown("sticky/others", 1001, 1001);
	(void)!chown("sticky/fifo", 1001, 1001);
	(void)!chown("sticky/own", 1000, 1000);
	(void)chmod("sticky", 01777);
	T("sysctl", sysctl(reg, '2', was) && sysctl(fifo, '2', was + 1) ? 0 : -1);
	as_user(1000, in_sticky);
	(void)sysctl(reg, was[0], NULL);
	(void)sysctl(fifo, was[1], NULL);
}

void binds_part(void)
{
	make("f", 0644, 100);
	make("f2", 0644, 10);
	make("f3", 0644, 10);
	make("from", 0644, 10);
	(void)mkdir("d", 0755);
	readonly();
	across();
	marked();
	if (root)
		guarded();
}
