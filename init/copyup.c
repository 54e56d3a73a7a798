// SPDX-License-Identifier: Apache-2.0
/* Fills a new tmpfs with what it is going to hide (tmpcopyup). */
#include "child.h"
#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define MAX_DEPTH 64

static int copy_tree(int from, int to, unsigned depth);

static int copy_data(int from, int to, const char *name, mode_t mode)
{
	int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), out, err = 0;
	ssize_t n;

	if (in < 0)
		return -errno;
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 07777);
	if (out < 0)
		err = -errno;
	while (!err && (n = sendfile(out, in, NULL, 1 << 20)))
		err = n < 0 ? -errno : 0;
	(void)close(in);
	if (out >= 0)
		(void)close(out);
	return err;
}

static int copy_link(int from, int to, const char *name)
{
	char target[BLOB_MAX_PATH];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	return symlinkat(target, to, name) ? -errno : 0;
}

static int copy_dir(int from, int to, const char *name, unsigned depth)
{
	int in, out, err;

	if (depth >= MAX_DEPTH)
		return -ELOOP;
	if (mkdirat(to, name, 0700) && errno != EEXIST)
		return -errno;
	in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0)
		return -errno;
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = out < 0 ? -errno : copy_tree(in, out, depth + 1);
	(void)close(in);
	if (out >= 0)
		(void)close(out);
	return err;
}

static int copy_one(int from, int to, const char *name, unsigned depth)
{
	struct stat st;
	int err;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (S_ISREG(st.st_mode))
		err = copy_data(from, to, name, st.st_mode);
	else if (S_ISDIR(st.st_mode))
		err = copy_dir(from, to, name, depth);
	else if (S_ISLNK(st.st_mode))
		err = copy_link(from, to, name);
	else
		return 0; /* sockets, pipes and nodes mean nothing in a copy */
	if (err)
		return err;
	if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW))
		return -errno;
	/* After the owner, since a change of owner drops set-id bits. */
	if (!S_ISLNK(st.st_mode) && fchmodat(to, name, st.st_mode & 07777, 0))
		return -errno;
	return 0;
}

static int copy_tree(int from, int to, unsigned depth)
{
	DIR *d = fdopendir(dup(from));
	struct dirent *e;
	int err = 0;

	if (!d)
		return -errno;
	while (!err && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			err = copy_one(from, to, e->d_name, depth);
	}
	(void)closedir(d);
	return err;
}

int copyup(int from, int mnt, struct fail *f)
{
	int to = openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int err;

	if (to < 0)
		return fail_set(f, errno, "tmpcopyup", NULL);
	err = copy_tree(from, to, 0);
	if (!err && !fstat(from, &st))
		err = fchown(to, st.st_uid, st.st_gid) || fchmod(to, st.st_mode & 07777) ? -errno
											 : 0;
	(void)close(to);
	return err ? fail_set(f, err, "tmpcopyup", NULL) : 0;
}
