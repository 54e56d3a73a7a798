// SPDX-License-Identifier: Apache-2.0
/* Builds the container's mount tree on the host by file descriptors. */
/*
 * How it works
 *
 * Everything is an fd: a source is looked up once, as a detached clone by open_tree(2) or as a file
 * system that is mounted for this, attached nowhere (mount_fs.h), and
 * attached with move_mount(2) to a destination that was looked up once, beneath the container's
 * root (openat2 RESOLVE_IN_ROOT, no magic links). Between the two nobody can swap a symlink in,
 * since no path is looked at again. Where the CLI lacks the right to clone (rootless), the VMM
 * process does the same inside its own namespaces.
 *
 * A mount point that is missing is made by walking the destination one component at a time; each
 * step is resolved in the root again, so an image's symlink may lead elsewhere inside it but never
 * out. A link to what is missing is read, and the walk begins again, from the root, with what it
 * says.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/mount_fs.h"
#include "oci/mounts.h"
#include "oci/ns.h"
#include "util/cleanup.h"

#define MAX_LINKS 40 /* to follow for one mount point, as the kernel does for a path */

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256 /* linux/mount.h, 5.10 */
#endif

static int sys_open_tree(int dirfd, const char *path, unsigned flags)
{
	long fd = syscall(SYS_open_tree, dirfd, path, flags | OPEN_TREE_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

static int sys_move_mount(int from, int to)
{
	return syscall(SYS_move_mount, from, "", to, "",
		       MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
		? -errno
		: 0;
}

static int sys_setattr(int fd, unsigned flags, uint64_t set, uint64_t clr, uint64_t propagation)
{
	struct mount_attr a = { .attr_set = set, .attr_clr = clr, .propagation = propagation };

	if (!set && !clr && !propagation)
		return 0;
	return syscall(SYS_mount_setattr, fd, "", flags | AT_EMPTY_PATH, &a, sizeof(a)) ? -errno
											: 0;
}

bool mount_is_guests(const struct spec_mount *m)
{
	return m->kind != SPEC_MNT_BIND && m->kind != SPEC_MNT_OTHER;
}

/* True when @dest is @dir or lies below it. */
static bool is_below(const char *dest, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(dest, dir, n) && (!dest[n] || dest[n] == '/');
}

bool mount_hidden_by_guest(const struct spec *s, size_t i)
{
	for (size_t j = 0; j < i; j++) {
		if (mount_is_guests(&s->mounts[j]) &&
			is_below(s->mounts[i].destination, s->mounts[j].destination))
			return true;
	}
	return false;
}

/* What mount @i shows, attached nowhere. -EPERM leaves no error: another process may have the
 * right.
 */
static int source_tree(const struct mount_plan *p, size_t i, struct error *e)
{
	const struct spec_mount *m = &p->spec->mounts[i];
	struct error why = { 0 };
	int fd;

	if (m->kind == SPEC_MNT_OTHER)
		fd = mount_fs_make(p->spec, i, &why);
	else
		fd = sys_open_tree(p->bundle_fd, m->source,
			OPEN_TREE_CLONE | (m->recursive ? AT_RECURSIVE : 0));
	if (fd >= 0 || fd == -EPERM)
		return fd;
	return why.code ? err_set(e, fd, "%s", why.msg)
			: err_sys(e, fd, "config.json: mounts[%zu].source: cannot open \"%.100s\"",
				  i, m->source);
}

/*
 * The ids of the source's file system become others by the maps of a user namespace: those of the
 * mount, or the container's. The kernel takes that only for a tree that is not attached yet.
 */
static int map_ids(const struct mount_plan *p, size_t i, struct error *e)
{
	const struct spec_mount *m = &p->spec->mounts[i];
	const struct spec_linux *l = &p->spec->linux_;
	CLEAN_FD int own = -1;
	struct mount_attr a = { .attr_set = MOUNT_ATTR_IDMAP };
	unsigned flags = AT_EMPTY_PATH | (m->idmap_recursive ? AT_RECURSIVE : 0);

	if (p->tree[i] < 0)
		return err_sys(e, p->tree[i],
			"config.json: mounts[%zu]: \"%.100s\": an idmapped mount takes the right to mount on the host",
			i, m->destination);
	if (m->uid_maps.n || p->user_fd < 0)
		own = m->uid_maps.n ? ns_of_maps(&m->uid_maps, &m->gid_maps)
				    : ns_of_maps(&l->uid_maps, &l->gid_maps);
	else
		own = fcntl(p->user_fd, F_DUPFD_CLOEXEC, 3);
	if (own < 0)
		return err_sys(e, own,
			"config.json: mounts[%zu]: the ids of \"%.100s\" cannot be mapped", i,
			m->destination);
	a.userns_fd = (uint64_t)own;
	if (syscall(SYS_mount_setattr, p->tree[i], "", flags, &a, sizeof(a)))
		return err_sys(e, errno,
			"config.json: mounts[%zu]: the ids of \"%.100s\" cannot be mapped, its file system may not be able to",
			i, m->destination);
	return 0;
}

int mount_plan_make(struct mount_plan *p, struct error *e)
{
	const struct spec *s = p->spec;
	int r;

	p->tree = calloc(s->n_mounts ? s->n_mounts : 1, sizeof(*p->tree));
	if (!p->tree)
		return err_sys(e, ENOMEM, "mounts");
	for (size_t i = 0; i < s->n_mounts; i++)
		p->tree[i] = -1;
	p->root_tree =
		sys_open_tree(p->rootfs_fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
	if (p->root_tree < 0 && p->root_tree != -EPERM)
		return err_sys(
			e, p->root_tree, "config.json: root.path: cannot bind \"%.100s\"", s->root);
	p->bundle_tree = sys_open_tree(p->bundle_fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct spec_mount *m = &s->mounts[i];

		if (mount_is_guests(m))
			continue;
		p->tree[i] = source_tree(p, i, e);
		/* without the right to clone here, the VMM process tries in its own namespaces */
		if (p->tree[i] < 0 && p->tree[i] != -EPERM)
			return p->tree[i];
		r = m->idmap ? map_ids(p, i, e) : 0;
		if (r)
			return r;
	}
	return 0;
}

void mount_plan_free(struct mount_plan *p)
{
	if (!p->tree)
		return;
	for (size_t i = 0; i < p->spec->n_mounts; i++) {
		if (p->tree[i] >= 0)
			(void)close(p->tree[i]);
	}
	if (p->root_tree >= 0)
		(void)close(TAKE_FD(p->root_tree));
	if (p->bundle_tree >= 0)
		(void)close(TAKE_FD(p->bundle_tree));
	free(TAKE_PTR(p->tree));
}

/* Opens @name of directory @at, by its whole @path from the root, making it when it is missing.
 * -EEXIST: it is a link to what is missing. */
static int open_made(int root, int at, const char *path, const char *name, bool dir)
{
	int fd = open_in_root(root, path, O_PATH), r;

	if (fd != -ENOENT)
		return fd;
	if (dir) {
		r = mkdirat(at, name, 0755) ? -errno : 0;
	} else {
		CLEAN_FD int f = openat(
			at, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);

		r = f < 0 ? -errno : 0;
	}
	if (r && r != -EEXIST)
		return r;
	fd = open_in_root(root, path, O_PATH);
	return fd == -ENOENT && r ? r : fd;
}

/*
 * Puts what the link @name of @at says into @path, in place of its own name, which ends at @end.
 * The result is no more than another path, to be walked from the root like any.
 */
static int follow(int at, char path[static PATH_MAX], char *name, char *end)
{
	char link[PATH_MAX], rest[PATH_MAX], cut = *end;
	ssize_t n;
	char *to;

	*end = 0;
	n = readlinkat(at, name, link, sizeof(link) - 1);
	*end = cut;
	if (n <= 0)
		return n < 0 && errno != EINVAL ? -errno : -ENOENT;
	link[n] = 0;
	(void)snprintf(rest, sizeof(rest), "%s", end);
	to = link[0] == '/' ? path : name;
	n = path + PATH_MAX - to;
	return snprintf(to, (size_t)n, "%s%s", link, rest) < n ? 0 : -ENAMETOOLONG;
}

/* One walk of open_target(); -EAGAIN: @path has become what a link leads to. */
static int walk(int root, char path[static PATH_MAX], bool dir)
{
	CLEAN_FD int at = open_in_root(root, "/", O_PATH | O_DIRECTORY);

	for (char *name = path + strspn(path, "/"); at >= 0;) {
		char *end = name + strcspn(name, "/"), cut = *end;
		bool last = !end[strspn(end, "/")];
		int fd, r;

		*end = 0;
		fd = open_made(root, at, path, name, dir || !last);
		*end = cut;
		if (fd == -EEXIST) {
			r = follow(at, path, name, end);
			return r ? r : -EAGAIN;
		}
		if (fd < 0 || last)
			return fd;
		(void)close(at);
		at = fd;
		name = end + strspn(end, "/");
	}
	return at;
}

/*
 * Opens a mount point, making it (directory or empty file) when it is missing, and what leads
 * there. A link of the image to what is missing counts as that: systems link /etc/resolv.conf to a
 * file that a service of theirs would make.
 */
static int open_target(int root, const char *dest, bool dir)
{
	int fd = open_in_root(root, dest, O_PATH);
	char path[PATH_MAX];

	if (fd != -ENOENT)
		return fd;
	if (snprintf(path, sizeof(path), "%s", dest) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (int links = 0; links < MAX_LINKS; links++) {
		fd = walk(root, path, dir);
		if (fd != -EAGAIN)
			return fd;
	}
	return -ELOOP;
}

static bool fd_is_dir(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISDIR(st.st_mode);
}

/* MS_* of the spec to MOUNT_ATTR_*, for the flags that exist as both. */
uint64_t mount_attr_of(unsigned long ms)
{
	static const struct {
		unsigned long ms;
		uint64_t attr;
	} map[] = {
		{ MS_RDONLY, MOUNT_ATTR_RDONLY },
		{ MS_NOSUID, MOUNT_ATTR_NOSUID },
		{ MS_NODEV, MOUNT_ATTR_NODEV },
		{ MS_NOEXEC, MOUNT_ATTR_NOEXEC },
		{ MS_NODIRATIME, MOUNT_ATTR_NODIRATIME },
		{ MS_NOATIME, MOUNT_ATTR_NOATIME },
		{ MS_STRICTATIME, MOUNT_ATTR_STRICTATIME },
		{ MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
	};
	uint64_t a = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
		if (ms & map[i].ms)
			a |= map[i].attr;
	}
	return a;
}

/* The kernel wants the whole atime field cleared when one of its values is set. */
static uint64_t with_atime(uint64_t set, uint64_t clr)
{
	return set & (MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME) ? clr | MOUNT_ATTR__ATIME : clr;
}

/*
 * The VMM opens no device of the tree, and one that has been taken over, which may have the right
 * to make device nodes, shall not either. The guest's own mounts have the config's flags.
 */
static int without_devices(int tree)
{
	return sys_setattr(tree, AT_RECURSIVE, MOUNT_ATTR_NODEV, 0, 0);
}

int mount_plan_bundle(struct mount_plan *p)
{
	CLEAN_FD int tree = p->bundle_tree >= 0
		? TAKE_FD(p->bundle_tree)
		: sys_open_tree(AT_FDCWD, p->bundle, OPEN_TREE_CLONE);
	int r;

	if (tree < 0)
		return tree;
	r = without_devices(tree);
	return r ? r : TAKE_FD(tree);
}

#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000 /* include/linux/statfs.h */
#endif

/* What the mount that @tree was cloned from forbids, as a clone does. */
static uint64_t attrs_of(int tree)
{
	static const struct {
		unsigned long st;
		uint64_t attr;
	} map[] = {
		{ ST_RDONLY, MOUNT_ATTR_RDONLY },
		{ ST_NOSUID, MOUNT_ATTR_NOSUID },
		{ ST_NODEV, MOUNT_ATTR_NODEV },
		{ ST_NOEXEC, MOUNT_ATTR_NOEXEC },
		{ ST_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW },
	};
	struct statfs st;
	uint64_t a = 0;

	if (fstatfs(tree, &st))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		a |= (unsigned long)st.f_flags & map[i].st ? map[i].attr : 0;
	return a;
}

static int set_flags(int tree, const struct spec_mount *m)
{
	uint64_t set = mount_attr_of(m->set), clr = mount_attr_of(m->clear) & ~set;
	unsigned rec = m->propagation & MS_REC ? AT_RECURSIVE : 0;
	int r = sys_setattr(tree, 0, set, with_atime(set, clr & ~(uint64_t)MOUNT_ATTR__ATIME), 0);

	if (!r)
		r = sys_setattr(
			tree, AT_RECURSIVE, m->rec_set, with_atime(m->rec_set, m->rec_clear), 0);
	if (!r)
		r = without_devices(tree);
	/* binds are private unless the config says otherwise: nothing of the container's reaches
	 * the host */
	if (!r && m->propagation)
		r = sys_setattr(tree, rec, 0, 0, m->propagation & ~(unsigned long)MS_REC);
	else if (!r)
		r = sys_setattr(tree, AT_RECURSIVE, 0, 0, MS_PRIVATE);
	return r;
}

static int do_bind(const struct mount_plan *p, int root, size_t i, struct error *e)
{
	struct spec_mount *m = &p->spec->mounts[i];
	CLEAN_FD int own = p->tree[i] < 0 ? source_tree(p, i, e) : -1;
	int tree = p->tree[i] < 0 ? own : p->tree[i], r;
	CLEAN_FD int target = -1;
	bool dir;

	if (tree < 0)
		return err_sys(e, tree, "config.json: mounts[%zu]: cannot mount \"%.100s\"", i,
			m->destination);
	dir = fd_is_dir(tree);
	target = open_target(root, m->destination, dir);
	if (target < 0)
		return err_sys(e, target, "config.json: mounts[%zu].destination: \"%.100s\"", i,
			m->destination);
	if (dir != fd_is_dir(target))
		return err_set(e, ENOTDIR,
			"config.json: mounts[%zu]: \"%.70s\" is %s directory, \"%.70s\" is not: not a directory",
			i, dir ? m->source : m->destination, "a", dir ? m->destination : m->source);
	m->source_attr = attrs_of(tree) & ~mount_attr_of(m->clear);
	r = set_flags(tree, m);
	if (r)
		return err_sys(e, r, "config.json: mounts[%zu].options: mount \"%.100s\"", i,
			m->destination);
	r = sys_move_mount(tree, target);
	return r ? err_sys(e, r, "config.json: mounts[%zu]: mount on \"%.100s\"", i, m->destination)
		 : 0;
}

static int do_mounts(const struct mount_plan *p, int root, struct error *e)
{
	const struct spec *s = p->spec;

	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct spec_mount *m = &s->mounts[i];
		int r = 0;

		if (!mount_is_guests(m)) {
			r = do_bind(p, root, i, e);
		} else if (!mount_hidden_by_guest(s, i)) {
			int fd = open_target(root, m->destination, true);

			/* the guest mounts here; a root that cannot be written and lacks the place
			 * is its error to tell */
			if (fd >= 0)
				(void)close(fd);
			else if (fd != -EROFS)
				r = err_sys(e, fd,
					"config.json: mounts[%zu].destination: \"%.100s\"", i,
					m->destination);
		}
		if (r)
			return r;
	}
	return 0;
}

/*
 * The rootfs as this mount namespace has it: an fd of the CLI belongs to the CLI's namespace, where
 * this process may not mount. That it is the same directory is checked.
 */
static int open_rootfs(const struct mount_plan *p)
{
	CLEAN_FD int fd = open(p->rootfs, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat a, b;

	if (fd < 0 || fstat(fd, &a) || fstat(p->rootfs_fd, &b))
		return -errno;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? TAKE_FD(fd) : -ESTALE;
}

static int attach_root(const struct mount_plan *p)
{
	unsigned long prop = p->spec->linux_.rootfs_propagation;
	CLEAN_FD int at = open_rootfs(p);
	CLEAN_FD int root = -1;
	int r;

	if (at < 0)
		return at;
	root = p->root_tree >= 0
		? fcntl(p->root_tree, F_DUPFD_CLOEXEC, 3)
		: sys_open_tree(at, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
	if (root < 0)
		return p->root_tree >= 0 ? -errno : root;
	p->spec->root_attr = attrs_of(root);
	r = sys_setattr(root, AT_RECURSIVE, 0, 0, prop & MS_SLAVE ? MS_SLAVE : MS_PRIVATE);
	if (!r)
		r = without_devices(root);
	if (!r)
		r = sys_move_mount(root, at);
	return r ? r : TAKE_FD(root);
}

int mount_plan_execute(const struct mount_plan *p, struct error *e)
{
	const struct spec *s = p->spec;
	CLEAN_FD int root = -1;
	int r;

	/* receive what the host mounts, give it nothing back */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return err_sys(e, errno, "cannot make the mount namespace the container's own");
	root = attach_root(p);
	if (root < 0)
		return err_sys(e, root, "config.json: root.path: cannot mount \"%.100s\"", s->root);
	r = do_mounts(p, root, e);
	if (r)
		return r;
	if (s->root_readonly) {
		r = sys_setattr(root, 0, MOUNT_ATTR_RDONLY, 0, 0);
		if (r)
			return err_sys(
				e, r, "config.json: root.readonly: cannot make the root read-only");
	}
	return TAKE_FD(root);
}

struct mount_line {
	uint64_t id, parent;
	bool ro, in;
};

/* The mounts of this process; NULL when they cannot be read. */
static struct mount_line *read_mounts(size_t *n)
{
	CLEAN_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
	CLEAN_FREE struct mount_line *v = NULL;
	CLEAN_FREE char *line = NULL;
	size_t room = 0, cap = 0;

	*n = 0;
	while (f && getline(&line, &room, f) > 0) {
		struct mount_line m = { 0 };
		char ro[4];

		/* ID PARENT DEVICE ROOT PLACE FLAGS: those of this mount, which nobody else can
		 * change as they can a file system's */
		if (sscanf(line, "%" SCNu64 " %" SCNu64 " %*s %*s %*s %3[^, ]", &m.id, &m.parent,
			    ro) != 3)
			return NULL;
		m.ro = !strcmp(ro, "ro");
		if (*n == cap) {
			struct mount_line *more = reallocarray(v, cap + 64, sizeof(*v));

			if (!more)
				return NULL;
			v = more;
			cap += 64;
		}
		v[(*n)++] = m;
	}
	return f && !ferror(f) ? TAKE_PTR(v) : NULL;
}

static bool parent_in(const struct mount_line *v, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].id == id)
			return v[i].in;
	return false;
}

bool mount_tree_readonly(int root_fd)
{
	size_t n;
	CLEAN_FREE struct mount_line *v = read_mounts(&n);
	bool ro = true, found = false, more = true;
	struct statx sx;

	if (!v || statx(root_fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) ||
		!(sx.stx_mask & STATX_MNT_ID))
		return false;
	/* A parent may come after what is mounted on it. */
	while (more && ro) {
		more = false;
		for (size_t i = 0; i < n; i++) {
			if (v[i].in || (v[i].id != sx.stx_mnt_id && !parent_in(v, n, v[i].parent)))
				continue;
			v[i].in = found = more = true;
			ro = ro && v[i].ro;
		}
	}
	return found && ro;
}

int mount_pivot(int root_fd, struct error *e)
{
	if (fchdir(root_fd) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) ||
		chdir("/"))
		return err_sys(e, errno, "cannot change into the container's root");
	return 0;
}
