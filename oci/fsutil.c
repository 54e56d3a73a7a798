// SPDX-License-Identifier: Apache-2.0
/* Small files and paths, always relative to a directory fd. */
/*
 * How it works
 *
 * Nothing here follows a path twice: a name is opened once and the fd is what is looked at
 * afterwards. A file that others read is replaced by rename, so a kill at any moment leaves the old
 * one or the new one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "util/cleanup.h"

int open2(int dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC, .mode = mode, .resolve = resolve
	};
	long fd;

	/* EAGAIN: a rename went on somewhere in the tree while ".." was being resolved */
	for (int i = 0; i < 64; i++) {
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

int open_in_root(int rootfd, const char *path, int flags)
{
	return open2(rootfd, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int write_full(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t r = write(fd, p, len);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -EIO;
		p += r;
		len -= (size_t)r;
	}
	return 0;
}

int read_file_at(int dirfd, const char *name, size_t max, char **out, size_t *len)
{
	CLEAN_FD int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	CLEAN_FREE char *buf = NULL;
	size_t cap = 0, n = 0;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t r;

		if (n + 1 >= cap) {
			size_t want = cap ? cap * 2 : 4096;
			char *bigger = realloc(buf, want);

			if (!bigger)
				return -ENOMEM;
			buf = bigger;
			cap = want;
		}
		r = read(fd, buf + n, cap - n - 1);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!r)
			break;
		n += (size_t)r;
		if (n > max)
			return -EFBIG;
	}
	buf[n] = 0;
	if (len)
		*len = n;
	*out = TAKE_PTR(buf);
	return 0;
}

int write_existing_at(int dirfd, const char *name, const char *text)
{
	CLEAN_FD int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t r;

	if (fd < 0)
		return -errno;
	r = write(fd, text, strlen(text));
	return r < 0 ? -errno : 0;
}

int write_file_at(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	char tmp[NAME_MAX + 1];
	int r;

	if (snprintf(tmp, sizeof(tmp), ".%s.%d", name, (int)getpid()) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	{
		CLEAN_FD int fd = openat(
			dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);

		if (fd < 0)
			return -errno;
		r = write_full(fd, data, len);
	}
	if (!r && renameat(dirfd, tmp, dirfd, name))
		r = -errno;
	if (r)
		(void)unlinkat(dirfd, tmp, 0);
	return r;
}

int write_file_path(const char *path, const void *data, size_t len, mode_t mode)
{
	CLEAN_FREE char *dir = strdup(path);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	CLEAN_FD int fd = -1;
	const char *name;

	if (!dir)
		return -ENOMEM;
	name = slash ? path + (slash - dir) + 1 : path;
	if (!*name)
		return -EISDIR;
	if (slash)
		slash[slash == dir ? 1 : 0] = 0;
	fd = open(slash ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : write_file_at(fd, name, data, len, mode);
}

int mkdir_p(int dirfd, const char *path, mode_t mode)
{
	CLEAN_FREE char *p = strdup(path);

	if (!p)
		return -ENOMEM;
	for (char *s = p + 1; *p; s++) {
		char c = *s;

		if (c && c != '/')
			continue;
		*s = 0;
		if (mkdirat(dirfd, p, mode) && errno != EEXIST)
			return -errno;
		*s = c;
		if (!c)
			break;
	}
	return 0;
}

static int remove_dir(int dirfd, const char *name, unsigned depth)
{
	CLEAN_FD int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEAN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	int dfd;

	if (!d)
		return -errno;
	dfd = TAKE_FD(fd);
	while ((de = readdir(d))) {
		int r = 0;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (!unlinkat(dfd, de->d_name, 0))
			continue;
		if (errno == EISDIR || errno == EPERM || errno == ENOTEMPTY)
			r = depth ? remove_dir(dfd, de->d_name, depth - 1) : -ELOOP;
		else if (errno != ENOENT)
			r = -errno;
		if (r)
			return r;
	}
	return unlinkat(dirfd, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

int remove_tree_at(int dirfd, const char *name)
{
	int r = remove_dir(dirfd, name, 8);

	return r == -ENOENT ? 0 : r;
}

int proc_start_time(pid_t pid, uint64_t *start, char *state)
{
	char path[32], *p;
	CLEAN_FREE char *text = NULL;
	unsigned long long v;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = read_file_at(AT_FDCWD, path, 4096, &text, NULL);
	if (r)
		return r == -ENOENT ? -ESRCH : r;
	/* the command name may hold anything, also ") ": what follows the last one counts */
	p = strrchr(text, ')');
	if (!p ||
		sscanf(p + 1,
			" %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			state, &v) != 2)
		return -EPROTO;
	*start = v;
	return 0;
}
