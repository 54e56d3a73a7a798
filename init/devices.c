// SPDX-License-Identifier: Apache-2.0
/* /dev of the container, device nodes, masked and read-only paths. */
/*
 * How it works
 *
 * The image is a share of the host and must neither get device nodes nor lend any, so a node is
 * made only in a directory whose file system is the guest's own, is_guest_fs(). Where the config
 * has no mount on /dev but the image has the directory, devices_mount_dev() makes it one.
 *
 * Paths come from the config and go through directories of the image: tree_open() resolves them
 * below the container's root, and what it returns is an fd to mount on, so that no path is walked
 * twice. Masking is by mounts: a clone of the guest's /dev/null on a file, one empty read-only
 * tmpfs, cloned for each, on directories. A path that does not exist needs no mask.
 */
#include "child.h"
#include "sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define FUSE_MAGIC 0x65735546

/*
 * The image never gets a device node. Where the config mounts nothing on /dev but the image has the
 * directory, a small tmpfs of the guest takes the nodes.
 */
int devices_mount_dev(struct child *c, struct fail *f)
{
	int dest, mnt, err;

	if (mount_at(c->s, "/dev"))
		return 0;
	dest = tree_open(c, "/dev", 0, NULL);
	if (dest < 0)
		return 0;
	mnt = mount_new("tmpfs", "tmpfs", "mode=755,size=65536k", K_ATTR_NOSUID, f);
	err = mnt < 0 ? mnt : mount_on(mnt, dest);
	if (err && !f->err)
		(void)fail_set(f, err, "mounting on", "/dev");
	if (mnt >= 0)
		(void)close(mnt);
	(void)close(dest);
	return err;
}

/* Is this directory the guest's own, so that a node in it stays in the guest? */
static bool is_guest_fs(struct child *c, int dir)
{
	struct statfs sf;
	struct stat st;

	return !fstatfs(dir, &sf) && !fstat(dir, &st) && sf.f_type != FUSE_MAGIC &&
		st.st_dev != c->share_dev;
}

/* A block device without a number is one of ours, under its name in the guest's own /dev. */
static dev_t number_of(const struct blob_view_device *d)
{
	struct stat st;

	if ((d->d.type & S_IFMT) == S_IFBLK && !d->d.major && !d->d.minor && !stat(d->path, &st) &&
		S_ISBLK(st.st_mode))
		return st.st_rdev;
	return makedev(d->d.major, d->d.minor);
}

static int make_device(struct child *c, const struct blob_view_device *d, struct fail *f)
{
	const char *name = strrchr(d->path, '/') + 1;
	char parent[BLOB_MAX_PATH];
	int dir, err = 0;

	memcpy(parent, d->path, (size_t)(name - d->path));
	parent[name - d->path] = 0;
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return fail_set(f, EINVAL, "device", d->path);
	dir = tree_open(c, parent, 'd', f);
	if (dir < 0)
		return dir;
	if (!is_guest_fs(c, dir)) {
		err = fail_set(
			f, ENOTSUP, "device in a directory that belongs to the image", d->path);
	} else {
		if (unlinkat(dir, name, 0) && errno != ENOENT)
			err = fail_set(f, errno, "device", d->path);
		if (!err && mknodat(dir, name, d->d.type | d->d.mode, number_of(d)))
			err = fail_set(f, errno, "device", d->path);
		if (!err && fchownat(dir, name, d->d.uid, d->d.gid, AT_SYMLINK_NOFOLLOW))
			err = fail_set(f, errno, "owner of the device", d->path);
	}
	(void)close(dir);
	return err;
}

static void make_defaults(int dev)
{
	static const struct {
		const char *name;
		unsigned major, minor;
	} nodes[] = { { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 },
		{ "urandom", 1, 9 }, { "tty", 5, 0 } };
	static const char *const links[][2] = { { "/proc/self/fd", "fd" },
		{ "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
		{ "/proc/self/fd/2", "stderr" }, { "/proc/kcore", "core" },
		{ "pts/ptmx", "ptmx" } };

	/* What is there already was asked for in the config. */
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		(void)mknodat(dev, nodes[i].name, S_IFCHR | 0666,
			makedev(nodes[i].major, nodes[i].minor));
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		(void)symlinkat(links[i][0], dev, links[i][1]);
}

int devices_make(struct child *c, struct fail *f)
{
	const struct blob_view_mount *m = mount_at(c->s, "/dev");
	struct stat st;
	int dev, err;

	for (size_t i = 0; i < c->s->ndevices; i++) {
		err = make_device(c, &c->s->devices[i], f);
		if (err)
			return err;
	}
	/* A /dev that was bound from elsewhere is somebody else's to fill. */
	if (m && m->m.kind == BLOB_M_BIND)
		return 0;
	dev = tree_open(c, "/dev", 0, NULL);
	if (dev < 0)
		return 0;
	if (is_guest_fs(c, dev)) {
		make_defaults(dev);
		if (fstatat(dev, "null", &st, AT_SYMLINK_NOFOLLOW) || !S_ISCHR(st.st_mode)) {
			(void)close(dev);
			return fail_set(f, EPERM, "making /dev/null", NULL);
		}
	}
	(void)close(dev);
	return 0;
}

/* @first: an attached, empty, read-only tmpfs of which every masked directory after the first gets
 * a clone. */
static int mask_dir(int fd, int *first, struct fail *f)
{
	int mnt, err;

	if (*first < 0)
		mnt = mount_new("tmpfs", "tmpfs", "size=4k,nr_inodes=2,mode=555",
			K_ATTR_RDONLY | K_ATTR_NOSUID | K_ATTR_NODEV | K_ATTR_NOEXEC, f);
	else
		mnt = sys_open_tree(
			*first, "", K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (mnt < 0)
		return -errno;
	err = mount_on(mnt, fd);
	if (*first < 0 && !err)
		*first = mnt;
	else
		(void)close(mnt);
	return err;
}

static int mask_file(int fd)
{
	int mnt = sys_open_tree(AT_FDCWD, "/dev/null", K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC);
	int err;

	if (mnt < 0)
		return -errno;
	err = mount_on(mnt, fd);
	(void)close(mnt);
	return err;
}

static int make_readonly(int fd)
{
	struct k_mount_attr a = { .set = K_ATTR_RDONLY };
	int mnt = sys_open_tree(
		fd, "", K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC | K_AT_RECURSIVE | AT_EMPTY_PATH);
	int err;

	if (mnt < 0)
		return -errno;
	err = sys_mount_setattr(mnt, K_AT_RECURSIVE, &a) ? -errno : mount_on(mnt, fd);
	(void)close(mnt);
	return err;
}

int devices_mask(struct child *c, struct fail *f)
{
	const struct blob_view *s = c->s;
	int first = -1, err = 0, fd;
	struct stat st;

	for (size_t i = 0; i < s->nreadonly && !err; i++) {
		fd = tree_open(c, s->readonly[i], 0, NULL);
		if (fd < 0)
			continue;
		err = make_readonly(fd);
		if (err)
			(void)fail_set(f, err, "read-only path", s->readonly[i]);
		(void)close(fd);
	}
	for (size_t i = 0; i < s->nmasked && !err; i++) {
		fd = tree_open(c, s->masked[i], 0, NULL);
		if (fd < 0)
			continue;
		if (fstat(fd, &st))
			err = -errno;
		else
			err = S_ISDIR(st.st_mode) ? mask_dir(fd, &first, f) : mask_file(fd);
		if (err)
			(void)fail_set(f, err, "masked path", s->masked[i]);
		(void)close(fd);
	}
	if (first >= 0)
		(void)close(first);
	return err;
}

/* Consumes @dest. Runs inside the container's root, as do its callers. */
static int terminal_on(const char *slave, int dest, const char *path, struct fail *f)
{
	int mnt = sys_open_tree(AT_FDCWD, slave, K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC);
	int err = mnt < 0 ? -errno : mount_on(mnt, dest);

	if (err)
		(void)fail_set(f, err, "mounting on", path);
	if (mnt >= 0)
		(void)close(mnt);
	(void)close(dest);
	return err;
}

/* What else has that name, or none, is the caller's affair. */
static int over_hvc0(struct child *c, const char *slave, struct fail *f)
{
	struct stat st;
	int dest = tree_open(c, "/dev/hvc0", 0, NULL);

	if (dest == -ENOENT)
		return 0;
	if (dest < 0)
		return fail_set(f, dest, "cannot open in the container's root", "/dev/hvc0");
	if (!fstat(dest, &st) && S_ISCHR(st.st_mode))
		return terminal_on(slave, dest, "/dev/hvc0", f);
	(void)close(dest);
	return 0;
}

int devices_console(struct child *c, const char *slave, bool hvc0, struct fail *f)
{
	int dest, err;

	dest = tree_open(c, "/dev", 0, NULL);
	if (dest < 0)
		return 0;
	err = is_guest_fs(c, dest);
	(void)close(dest);
	if (!err)
		return 0;
	dest = tree_open(c, "/dev/console", 'f', f);
	if (dest < 0)
		return dest;
	err = terminal_on(slave, dest, "/dev/console", f);
	return !err && hvc0 ? over_hvc0(c, slave, f) : err;
}
