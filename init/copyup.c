// SPDX-License-Identifier: Apache-2.0
/* Fills a new tmpfs with what it is going to hide (tmpcopyup). */
/*
 * How it works
 *
 * A walk by descriptors, each directory with its copy. What a file has beside its content goes to
 * the copy while both are open: owner, then mode (a change of owner drops set-id bits), then
 * extended attributes (it drops file capabilities too). A directory gets its own when it is full,
 * since a default ACL would be in the way of what is made in it.
 *
 * A file that has several names is copied under the first that is met, and the others are links to
 * that: they are found by device and inode in a tree of the paths of copies.
 */
#include "child.h"
#include "sys.h"

#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define MAX_DEPTH 64
#define MAX_XATTR 65536 /* of a value, and of all names, to Linux */

struct named {
	dev_t dev;
	ino_t ino;
	char path[]; /* of its copy, from the root of the copies */
};

struct copy {
	int root; /* of the copies; borrowed */
	void *known;
	char names[MAX_XATTR], value[MAX_XATTR];
	char path[BLOB_MAX_PATH]; /* of the directory that is copied, with a / behind it */
};

static int copy_tree(struct copy *c, int from, int to, unsigned depth);

static int by_inode(const void *x, const void *y)
{
	const struct named *a = x, *b = y;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	return a->ino < b->ino ? -1 : a->ino > b->ino;
}

/* Finds the copy of what @st is of, or remembers @name for it; NULL: no memory. */
static struct named *first_name(struct copy *c, const struct stat *st, const char *name)
{
	size_t room = strlen(c->path) + strlen(name) + 1;
	struct named *n = malloc(sizeof(*n) + room), **at;

	if (!n)
		return NULL;
	n->dev = st->st_dev;
	n->ino = st->st_ino;
	(void)snprintf(n->path, room, "%s%s", c->path, name);
	at = tsearch(n, &c->known, by_inode);
	if (!at || *at != n)
		free(n);
	return at ? *at : NULL;
}

static void forget(struct copy *c)
{
	while (c->known) {
		struct named *n = *(struct named **)c->known;

		(void)tdelete(n, &c->known, by_inode);
		free(n);
	}
}

/* What tmpfs has no place for, as attributes of other file systems, is left out. */
static int copy_xattrs(struct copy *c, int in, int out)
{
	ssize_t len = flistxattr(in, c->names, sizeof(c->names)), n;

	if (len < 0)
		return errno == ENOTSUP ? 0 : -errno;
	for (const char *name = c->names; name < c->names + len; name += strlen(name) + 1) {
		n = fgetxattr(in, name, c->value, sizeof(c->value));
		if (n < 0 && errno == ENODATA)
			continue;
		if (n < 0 || (fsetxattr(out, name, c->value, (size_t)n, 0) && errno != ENOTSUP))
			return -errno;
	}
	return 0;
}

static int copy_rest(struct copy *c, int in, int out, const struct stat *st)
{
	if (fchown(out, st->st_uid, st->st_gid) || fchmod(out, st->st_mode & 07777))
		return -errno;
	return copy_xattrs(c, in, out);
}

static int copy_data(struct copy *c, int from, int to, const char *name, const struct stat *st)
{
	int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC), out, err = 0;
	ssize_t n;

	if (in < 0)
		return -errno;
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		err = -errno;
	while (!err && (n = sendfile(out, in, NULL, 1 << 20)))
		err = n < 0 ? -errno : 0;
	if (!err)
		err = copy_rest(c, in, out, st);
	(void)close(in);
	if (out >= 0)
		(void)close(out);
	return err;
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
	char target[BLOB_MAX_PATH];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	if (symlinkat(target, to, name) ||
		fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW))
		return -errno;
	return 0;
}

static int copy_dir(
	struct copy *c, int from, int to, const char *name, const struct stat *st, unsigned depth)
{
	size_t end = strlen(c->path), room = sizeof(c->path) - end;
	int in, out, err;

	if (depth >= MAX_DEPTH)
		return -ELOOP;
	if ((size_t)snprintf(c->path + end, room, "%s/", name) >= room)
		return -ENAMETOOLONG;
	if (mkdirat(to, name, 0700) && errno != EEXIST)
		return -errno;
	in = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0)
		return -errno;
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = out < 0 ? -errno : copy_tree(c, in, out, depth + 1);
	if (!err)
		err = copy_rest(c, in, out, st);
	c->path[end] = 0;
	(void)close(in);
	if (out >= 0)
		(void)close(out);
	return err;
}

static int copy_one(struct copy *c, int from, int to, const char *name, unsigned depth)
{
	struct named *first = NULL;
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_dir(c, from, to, name, &st, depth);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return 0; /* sockets, pipes and nodes mean nothing in a copy */
	if (st.st_nlink > 1) {
		size_t end = strlen(c->path);

		first = first_name(c, &st, name);
		if (!first)
			return -ENOMEM;
		if (strncmp(first->path, c->path, end) || strcmp(first->path + end, name))
			return linkat(c->root, first->path, to, name, 0) ? -errno : 0;
	}
	return S_ISREG(st.st_mode) ? copy_data(c, from, to, name, &st)
				   : copy_link(from, to, name, &st);
}

static int copy_tree(struct copy *c, int from, int to, unsigned depth)
{
	int fd = fcntl(from, F_DUPFD_CLOEXEC, 3), err = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		err = -errno;
		if (fd >= 0)
			(void)close(fd);
		return err;
	}
	while (!err) {
		errno = 0;
		e = readdir(d);
		if (!e) {
			err = -errno;
			break;
		}
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			err = copy_one(c, from, to, e->d_name, depth);
	}
	(void)closedir(d);
	return err;
}

int copyup(int from, int mnt, struct fail *f)
{
	int to = openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
	struct copy *c = calloc(1, sizeof(*c));

	if (to < 0 || !c) {
		err = to < 0 ? -errno : -ENOMEM;
	} else {
		c->root = to;
		err = copy_tree(c, from, to, 0);
		forget(c);
	}
	free(c);
	if (to >= 0)
		(void)close(to);
	return err ? fail_set(f, err, "tmpcopyup", NULL) : 0;
}
