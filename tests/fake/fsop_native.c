// SPDX-License-Identifier: Apache-2.0
/* Random operations on a file system, run as system calls by processes of several users. */
/*
 * How it works
 *
 * Each process is a fork that makes the directory its root, takes on its user and waits on a socket
 * for a byte that says that there is an operation in the memory shared with it. It answers with
 * another. The end of the socket is its end.
 *
 * Or the calling thread does all by itself, which saves two switches for each operation: it takes
 * on root directory, umask, groups and ids of the process around the call. Root stays the saved
 * user id, so that the way back is open; what the kernel asks for is the effective capabilities,
 * and those go with the effective user.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fake/fsop.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int fds[FSOP_PROCS][FSOP_SLOTS];
static mode_t masks[FSOP_PROCS];
static uint8_t data[FSOP_IO];
static char text[1 << 20];

static int64_t err(int64_t r)
{
	return r < 0 ? -errno : r;
}

static void attrs(struct fsres *r, const struct stat *st)
{
	unsigned ma = (unsigned)(st->st_rdev >> 8 & 0xfff),
		 mi = (unsigned)((st->st_rdev & 0xff) | (st->st_rdev >> 12 & 0xfff00));

	r->attr = true;
	r->mode = st->st_mode;
	r->uid = st->st_uid;
	r->gid = st->st_gid;
	r->nlink = (uint32_t)st->st_nlink;
	r->rdev = (mi & 0xff) | ma << 8 | (mi & ~0xffU) << 12;
	r->size = S_ISDIR(st->st_mode) ? 0 : (int64_t)st->st_size;
	fsop_time(r->atime, st->st_atim.tv_sec, st->st_atim.tv_nsec);
	fsop_time(r->mtime, st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static int64_t do_open(const struct fsop *op)
{
	int fd = open(op->path, op->flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, op->mode & 07777);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISFIFO(st.st_mode)) {
		(void)close(fd);
		return FSOP_SPECIAL;
	}
	fds[op->proc][op->slot] = fd;
	return 0;
}

static int64_t do_list(const struct fsop *op, struct fsres *r)
{
	DIR *d = opendir(op->path);
	struct dirent *e;
	size_t at = 0;

	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			at += (size_t)snprintf(
				text + at, sizeof(text) - at, "%u %s\n", e->d_type, e->d_name);
	(void)closedir(d);
	fsop_sum_lines(r, text, at);
	return 0;
}

static int64_t do_xattr(const struct fsop *op, struct fsres *r)
{
	size_t n = (size_t)op->len;
	int64_t ret;

	switch (op->kind) {
	case FSOP_SETXATTR:
		fsop_fill(op, data, n);
		return err((op->follow ? setxattr : lsetxattr)(
			op->path, op->path2, data, n, op->flags));
	case FSOP_GETXATTR:
		ret = err((op->follow ? getxattr : lgetxattr)(op->path, op->path2, data, n));
		if (ret > 0 && n)
			fsop_sum(r, data, (size_t)ret);
		return ret;
	case FSOP_LISTXATTR:
		ret = err((op->follow ? listxattr : llistxattr)(op->path, text, n));
		if (ret <= 0 || !n)
			return ret;
		for (int64_t i = 0; i < ret; i++)
			if (!text[i])
				text[i] = '\n';
		text[ret] = 0;
		fsop_sum_lines(r, text, (size_t)ret);
		return ret;
	default:
		return err((op->follow ? removexattr : lremovexattr)(op->path, op->path2));
	}
}

static int64_t on_fd(const struct fsop *op, struct fsres *r)
{
	int fd = fds[op->proc][op->slot];
	off64_t a = op->off, b = op->off2;
	struct stat st;
	int64_t ret;

	switch (op->kind) {
	case FSOP_CLOSE:
		return err(close(fd));
	case FSOP_READ:
		ret = err(pread(fd, data, (size_t)op->len, op->off));
		if (ret > 0)
			fsop_sum(r, data, (size_t)ret);
		return ret;
	case FSOP_WRITE:
		fsop_fill(op, data, (size_t)op->len);
		return err(pwrite(fd, data, (size_t)op->len, op->off));
	case FSOP_FSYNC:
		return err(op->follow ? fsync(fd) : fdatasync(fd));
	case FSOP_LSEEK:
		/* Offsets of a directory mean what its file system likes. */
		if (!fstat(fd, &st) && S_ISDIR(st.st_mode))
			return -EISDIR;
		return err(lseek(fd, op->off, op->flags));
	case FSOP_FALLOCATE:
		return err(fallocate(fd, op->flags, op->off, op->len));
	case FSOP_COPY:
		return err(syscall(SYS_copy_file_range, fd, &a, fds[op->proc][op->slot2], &b,
			(size_t)op->len, 0));
	case FSOP_FTRUNCATE:
		return err(ftruncate(fd, op->off));
	case FSOP_FCHMOD:
		return err(fchmod(fd, op->mode));
	case FSOP_FCHOWN:
		return err(fchown(fd, op->uid, op->gid));
	case FSOP_LINKFD:
		return geteuid() ? -EPERM : err(linkat(fd, "", AT_FDCWD, op->path, AT_EMPTY_PATH));
	default:
		ret = err(fstat(fd, &st));
		if (!ret)
			attrs(r, &st);
		return ret;
	}
}

static int64_t on_path(const struct fsop *op, struct fsres *r)
{
	int nofollow = op->follow ? 0 : AT_SYMLINK_NOFOLLOW;
	const char *p = op->path;
	struct stat st;
	int64_t ret;

	switch (op->kind) {
	case FSOP_OPEN:
	case FSOP_TMPFILE:
		return do_open(op);
	case FSOP_MKDIR:
		return err(mkdir(p, op->mode));
	case FSOP_MKNOD:
		return err(mknod(p, op->mode,
			(dev_t)(op->rdev >> 8 & 0xfff) << 8 | (op->rdev & 0xff) |
				(dev_t)(op->rdev >> 12 & 0xfff00) << 12));
	case FSOP_SYMLINK:
		return err(symlink(op->path2, p));
	case FSOP_LINK:
		return err(linkat(
			AT_FDCWD, p, AT_FDCWD, op->path2, op->follow ? AT_SYMLINK_FOLLOW : 0));
	case FSOP_UNLINK:
		return err(unlink(p));
	case FSOP_RMDIR:
		return err(rmdir(p));
	case FSOP_RENAME:
		return err(syscall(
			SYS_renameat2, AT_FDCWD, p, AT_FDCWD, op->path2, (unsigned)op->flags));
	case FSOP_CHMOD:
		return err(chmod(p, op->mode));
	case FSOP_CHOWN:
		return err(fchownat(AT_FDCWD, p, op->uid, op->gid, nofollow));
	case FSOP_TRUNCATE:
		return err(truncate(p, op->off));
	case FSOP_UTIMES:
		return err(utimensat(AT_FDCWD, p, op->ts, nofollow));
	case FSOP_ACCESS:
		return err(access(p, op->flags));
	case FSOP_READLINK:
		ret = err(readlink(p, text, PATH_MAX));
		if (ret > 0)
			fsop_sum(r, text, (size_t)ret);
		return ret;
	case FSOP_LIST:
		return do_list(op, r);
	case FSOP_UMASK:
		masks[op->proc] = op->mode & 0777;
		(void)umask(op->mode);
		return 0;
	default:
		ret = err(fstatat(AT_FDCWD, p, &st, nofollow));
		if (!ret)
			attrs(r, &st);
		return ret;
	}
}

static void execute(const struct fsop *op, struct fsres *r)
{
	*r = (struct fsres){ .ret = 0 };
	if (op->kind <= FSOP_LINKFD && op->kind >= FSOP_CLOSE)
		r->ret = on_fd(op, r);
	else if (op->kind >= FSOP_SETXATTR && op->kind <= FSOP_REMOVEXATTR)
		r->ret = do_xattr(op, r);
	else
		r->ret = on_path(op, r);
}

static void be(const struct fsop_user *u, const char *dir)
{
	gid_t g[2] = { u->groups[0], u->groups[1] };

	if (chroot(dir) < 0 || chdir("/") < 0 || setgroups(u->ngroups, g) < 0 ||
		setresgid(u->gid, u->gid, u->gid) < 0 || setresuid(u->uid, u->uid, u->uid) < 0)
		_exit(3);
	(void)umask(0);
}

static void child(struct fsop_native *n, unsigned i, const char *dir, int fd)
{
	char c;

	be(&fsop_users[i], dir);
	while (read(fd, &c, 1) == 1) {
		execute(&n->proc[i].shared->op, &n->proc[i].shared->res);
		if (write(fd, &c, 1) != 1)
			break;
	}
	_exit(0);
}

/* Ids of this thread alone: the C library's calls would change all threads. */
static int ids(const struct fsop_user *u, uid_t saved)
{
	gid_t g[2] = { u->groups[0], u->groups[1] };

	if (syscall(SYS_setgroups, u->ngroups, g) < 0 ||
		syscall(SYS_setresgid, u->gid, u->gid, 0) < 0)
		return -errno;
	return syscall(SYS_setresuid, u->uid, u->uid, saved) < 0 ? -errno : 0;
}

static int run_here(struct fsop_native *n, const struct fsop *op, struct fsres *res)
{
	static const struct fsop_user root;
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];
	uint32_t eff[2];
	mode_t was;
	int r;

	if (syscall(SYS_capget, &h, d) < 0 || fchdir(n->dir) < 0 || chroot(".") < 0)
		return -errno;
	eff[0] = d[0].effective;
	eff[1] = d[1].effective;
	was = umask(masks[op->proc]);
	/* From all of root's rights to the user's: what follows the ids is the kernel's. */
	d[0].effective = d[0].permitted;
	d[1].effective = d[1].permitted;
	r = syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
	d[0].effective = eff[0];
	d[1].effective = eff[1];
	if (!r)
		r = ids(&fsop_users[op->proc], 0);
	if (!r)
		execute(op, res);
	if (syscall(SYS_setresuid, 0, 0, 0) < 0)
		return -errno;
	if (!r)
		r = ids(&root, 0);
	(void)umask(was);
	/* Whoever shares this thread may have given some of them away. */
	if (syscall(SYS_capset, &h, d) < 0)
		return -errno;
	if (fchdir(n->root) < 0 || chroot(".") < 0 || fchdir(n->cwd) < 0)
		return -errno;
	return r;
}

static int start_here(struct fsop_native *n, const char *dir)
{
	/* Root and cwd are to be this thread's own. */
	if (unshare(CLONE_FS) < 0)
		return -errno;
	memset(masks, 0, sizeof(masks));
	n->here = true;
	n->root = open("/", O_PATH | O_CLOEXEC);
	n->cwd = open(".", O_PATH | O_CLOEXEC);
	n->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return n->root < 0 || n->cwd < 0 || n->dir < 0 ? -errno : 0;
}

int fsop_native_start(struct fsop_native *n, const char *dir, bool here)
{
	int s[2];

	memset(n, 0, sizeof(*n));
	if (here)
		return start_here(n, dir);
	for (unsigned i = 0; i < FSOP_PROCS; i++) {
		n->proc[i].fd = -1;
		n->proc[i].shared = mmap(NULL, sizeof(*n->proc[i].shared), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (n->proc[i].shared == MAP_FAILED)
			return -errno;
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
			return -errno;
		n->proc[i].fd = s[0];
		n->proc[i].pid = fork();
		if (n->proc[i].pid < 0)
			return -errno;
		if (!n->proc[i].pid) {
			for (unsigned j = 0; j <= i; j++)
				(void)close(n->proc[j].fd);
			(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
			child(n, i, dir, s[1]);
		}
		(void)close(s[1]);
	}
	return 0;
}

int fsop_native_run(struct fsop_native *n, const struct fsop *op, struct fsres *res)
{
	char c = 0;

	if (n->here)
		return run_here(n, op, res);
	n->proc[op->proc].shared->op = *op;
	if (write(n->proc[op->proc].fd, &c, 1) != 1 || read(n->proc[op->proc].fd, &c, 1) != 1)
		return -EPIPE;
	*res = n->proc[op->proc].shared->res;
	return 0;
}

void fsop_native_stop(struct fsop_native *n)
{
	if (n->here) {
		(void)close(n->root);
		(void)close(n->cwd);
		(void)close(n->dir);
		return;
	}
	for (unsigned i = 0; i < FSOP_PROCS; i++) {
		if (n->proc[i].fd >= 0)
			(void)close(n->proc[i].fd);
		if (n->proc[i].pid > 0)
			(void)waitpid(n->proc[i].pid, NULL, 0);
		if (n->proc[i].shared)
			(void)munmap(n->proc[i].shared, sizeof(*n->proc[i].shared));
	}
}
