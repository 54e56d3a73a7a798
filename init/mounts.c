// SPDX-License-Identifier: Apache-2.0
/* The container's tree in the guest: the root share, the mounts of the config, the switch into it.
 */

/*
 * How it works
 *
 * The share is mounted once, by the agent, and left as it is. The container's root is a clone of
 * that mount, attached in the container's own mount namespace; a bind is a clone of a subtree of
 * the share, so that a tmpfs over /run does not hide what the host put into /run/secrets. Every
 * destination is opened below the root with RESOLVE_IN_ROOT and mounted on by fd: no path of the
 * image is ever walked from the agent's root. At the end the agent's own mounts go and the tree is
 * moved to "/".
 */
#include "child.h"
#include "sys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_LINKS 40 /* to follow for one mount point, as the kernel does for a path */

#define ATTR_PLAIN                                                                      \
	(K_ATTR_RDONLY | K_ATTR_NOSUID | K_ATTR_NODEV | K_ATTR_NOEXEC | K_ATTR__ATIME | \
		K_ATTR_NODIRATIME | K_ATTR_NOSYMFOLLOW)

static int open_below(int root, const char *path, uint64_t flags)
{
	int fd;

	while (*path == '/')
		path++;
	fd = sys_openat2(root, *path ? path : ".", O_PATH | flags,
		K_RESOLVE_IN_ROOT | K_RESOLVE_NO_MAGICLINKS);
	return fd < 0 ? -errno : fd;
}

/* Opens @name of directory @at, by its whole @path, making it as what @kind says when it is
 * missing. -EEXIST: it is a link to what is missing. */
static int open_made(int root, int at, const char *path, const char *name, char kind)
{
	int fd = open_below(root, path, 0), err;

	if (fd != -ENOENT)
		return fd;
	if (kind == 'f')
		err = mknodat(at, name, S_IFREG | 0644, 0) ? -errno : 0;
	else
		err = mkdirat(at, name, 0755) ? -errno : 0;
	if (err && err != -EEXIST)
		return err;
	fd = open_below(root, path, 0);
	return fd == -ENOENT && err ? err : fd;
}

/* Puts what the link @name of @at says into @path, in place of its own name, which ends at @end. */
static int follow(int at, char *path, char *name, char *end)
{
	char link[BLOB_MAX_PATH], rest[BLOB_MAX_PATH], cut = *end, *to;
	ssize_t n;
	size_t room;

	*end = 0;
	n = readlinkat(at, name, link, sizeof(link) - 1);
	*end = cut;
	if (n <= 0)
		return n < 0 && errno != EINVAL ? -errno : -ENOENT;
	link[n] = 0;
	(void)snprintf(rest, sizeof(rest), "%s", end);
	to = link[0] == '/' ? path : name;
	room = (size_t)(path + BLOB_MAX_PATH - to);
	return (size_t)snprintf(to, room, "%s%s", link, rest) < room ? 0 : -ENAMETOOLONG;
}

/*
 * Makes the missing components of @path one by one, each inside the directory that the part before
 * resolves to. -EAGAIN: there was a link to what is missing, and @path (BLOB_MAX_PATH bytes) has
 * become what it leads to.
 */
static int make_path(int root, char *path, char last)
{
	int at = open_below(root, "/", O_DIRECTORY), fd;
	char *name = path + strspn(path, "/");

	while (at >= 0) {
		char *end = name + strcspn(name, "/"), cut = *end;
		bool final = !end[strspn(end, "/")];

		*end = 0;
		fd = open_made(root, at, path, name, final ? last : 'd');
		*end = cut;
		if (fd == -EEXIST) {
			fd = follow(at, path, name, end);
			fd = fd ? fd : -EAGAIN;
		}
		(void)close(at);
		if (fd < 0 || final)
			return fd;
		at = fd;
		name = end + strspn(end, "/");
	}
	return at;
}

int tree_open(struct child *c, const char *path, char make, struct fail *f)
{
	char copy[BLOB_MAX_PATH];
	int fd = open_below(c->root, path, 0);

	if (fd == -ENOENT && make) {
		memcpy(copy, path, strlen(path) + 1);
		fd = -EAGAIN;
		for (int links = 0; links < MAX_LINKS && fd == -EAGAIN; links++)
			fd = make_path(c->root, copy, make);
		fd = fd == -EAGAIN ? -ELOOP : fd;
		if (fd < 0 && f)
			return fail_set(f, fd, "cannot create mount point", path);
	}
	if (fd < 0 && f)
		return fail_set(f, fd, "cannot open in the container's root", path);
	return fd;
}

int mount_on(int mnt, int dest)
{
	return sys_move_mount(mnt, "", dest, "", K_MOVE_F_EMPTY | K_MOVE_T_EMPTY) ? -errno : 0;
}

/* Do two absolute paths name the same place by their components? */
static bool same_path(const char *a, const char *b)
{
	for (;;) {
		size_t n, m;

		a += strspn(a, "/");
		b += strspn(b, "/");
		n = strcspn(a, "/");
		m = strcspn(b, "/");
		if (n != m || memcmp(a, b, n))
			return false;
		if (!n)
			return true;
		a += n;
		b += m;
	}
}

const struct blob_view_mount *mount_at(const struct blob_view *s, const char *dest)
{
	for (size_t i = s->nmounts; i; i--) {
		if (same_path(s->mounts[i - 1].dest, dest))
			return &s->mounts[i - 1];
	}
	return NULL;
}

/* The kernel's own words about a failed mount, if it left any: "e tmpfs: Bad value for 'size'". */
static int fail_mount(struct fail *f, int fs, int err, const char *what, const char *name)
{
	char log[256], text[384];
	ssize_t n = fs >= 0 ? read(fs, log, sizeof(log) - 1) : -1;

	if (n <= 2 || log[0] != 'e')
		return fail_set(f, err, what, name);
	log[n] = 0;
	log[strcspn(log, "\n")] = 0;
	(void)snprintf(text, sizeof(text), "%.64s (%.250s)", name, log + 2);
	return fail_set(f, err, what, text);
}

static int set_options(int fs, const char *data, struct fail *f)
{
	char *copy = strdup(data), *save = NULL, *eq;
	int r = 0;

	if (!copy)
		return fail_set(f, ENOMEM, "mount options", NULL);
	for (char *t = strtok_r(copy, ",", &save); t && !r; t = strtok_r(NULL, ",", &save)) {
		eq = strchr(t, '=');
		if (eq)
			*eq = 0;
		if (sys_fsconfig(fs, eq ? K_FSCONFIG_SET_STRING : K_FSCONFIG_SET_FLAG, t,
			    eq ? eq + 1 : NULL))
			r = fail_mount(f, fs, errno, "mount option", t);
	}
	free(copy);
	return r;
}

int mount_new(const char *type, const char *source, const char *data, unsigned attr, struct fail *f)
{
	int fs = sys_fsopen(type), mnt, err;

	if (fs < 0)
		return fail_set(f, errno, "filesystem type", type);
	err = set_options(fs, data, f);
	if (!err && *source && sys_fsconfig(fs, K_FSCONFIG_SET_STRING, "source", source))
		err = fail_mount(f, fs, errno, "mount source", source);
	if (!err && sys_fsconfig(fs, K_FSCONFIG_CMD_CREATE, NULL, NULL))
		err = fail_mount(f, fs, errno, "mounting", type);
	mnt = err ? -1 : sys_fsmount(fs, attr);
	if (!err && mnt < 0)
		err = fail_mount(f, fs, errno, "mounting", type);
	(void)close(fs);
	return err ? err : mnt;
}

/*
 * The source of a bind. A directory where another file system of the host begins is a mount of its
 * own in the guest, which the kernel makes when a path goes through it: here, so that it is that
 * from the start what is bound, with its own device number, and not the place where it will be.
 */
static int open_source(struct child *c, const char *path, struct stat *st)
{
	int fd = open_below(c->share, path, 0), in;

	if (fd < 0)
		return fd;
	if (fstat(fd, st) || !S_ISDIR(st->st_mode))
		return fd;
	in = open_below(c->share, path, O_DIRECTORY);
	(void)close(fd);
	return in;
}

static int clone_source(struct child *c, const struct blob_view_mount *m, bool *dir, struct fail *f)
{
	unsigned flags = K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
	struct stat st = { 0 };
	int src = open_source(c, m->source, &st), mnt;

	if (src < 0)
		return fail_set(f, src, "bind source", m->source);
	if (m->m.flags & BLOB_M_RECURSIVE)
		flags |= K_AT_RECURSIVE;
	mnt = sys_open_tree(src, "", flags);
	if (mnt < 0)
		(void)fail_set(f, errno, "bind", m->source);
	else
		*dir = S_ISDIR(st.st_mode);
	(void)close(src);
	return mnt < 0 ? f->err : mnt;
}

static int change_attrs(int mnt, const struct blob_view_mount *m, struct fail *f)
{
	struct k_mount_attr a = { .set = m->m.attr_set, .clr = m->m.attr_clr };
	unsigned rec = m->m.propagation & K_MS_REC ? K_AT_RECURSIVE : 0;

	if (a.set & K_ATTR__ATIME)
		a.clr |= K_ATTR__ATIME;
	if ((a.set || a.clr) && sys_mount_setattr(mnt, 0, &a))
		return fail_set(f, errno, "mount attributes", m->dest);
	a = (struct k_mount_attr){ .set = m->m.rec_set, .clr = m->m.rec_clr };
	if (a.set & K_ATTR__ATIME)
		a.clr |= K_ATTR__ATIME;
	if ((a.set || a.clr) && sys_mount_setattr(mnt, K_AT_RECURSIVE, &a))
		return fail_set(f, errno, "recursive mount attributes", m->dest);
	a = (struct k_mount_attr){ .propagation = m->m.propagation & ~(uint64_t)K_MS_REC };
	if (a.propagation && sys_mount_setattr(mnt, rec, &a))
		return fail_set(f, errno, "mount propagation", m->dest);
	return 0;
}

static int do_mount(struct child *c, const struct blob_view_mount *m, struct fail *f)
{
	int mnt, dest, old = -1, err = 0;
	const char *type = m->type;
	bool dir = true;

	if ((m->m.attr_set | m->m.attr_clr | m->m.rec_set | m->m.rec_clr) & ~(uint64_t)ATTR_PLAIN)
		return fail_set(f, ENOTSUP, "mount attributes in the guest", m->dest);
	if (m->m.kind == BLOB_M_BIND) {
		mnt = clone_source(c, m, &dir, f);
	} else {
		if (!strcmp(type, "cgroup"))
			type = "cgroup2";
		mnt = mount_new(type, m->source, m->data, 0, f);
	}
	if (mnt < 0)
		return mnt;
	dest = tree_open(c, m->dest, dir ? 'd' : 'f', f);
	if (dest < 0)
		err = dest;
	/* What it will hide must be open before: afterwards the path leads to the new mount. */
	if (!err && m->m.flags & BLOB_M_COPYUP) {
		old = openat(dest, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		err = old < 0 ? fail_set(f, errno, "tmpcopyup", m->dest) : copyup(old, mnt, f);
	}
	if (!err)
		err = change_attrs(mnt, m, f);
	if (!err && mount_on(mnt, dest))
		err = fail_set(f, errno, "mounting on", m->dest);
	if (old >= 0)
		(void)close(old);
	if (dest >= 0)
		(void)close(dest);
	(void)close(mnt);
	return err;
}

static int open_root(struct child *c, struct fail *f)
{
	struct stat st;

	/* Nothing that is done here may travel to the agent's namespace or back. */
	if (sys_mount(NULL, "/", NULL, K_MS_REC | K_MS_PRIVATE, NULL))
		return fail_set(f, errno, "making mounts private", NULL);
	c->share = open(c->cfg->share, O_PATH | O_DIRECTORY | O_CLOEXEC);
	c->root = sys_open_tree(
		AT_FDCWD, c->cfg->share, K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC | K_AT_RECURSIVE);
	if (c->share < 0 || c->root < 0 || fstat(c->share, &st))
		return fail_set(f, errno, "the root share", NULL);
	c->share_dev = st.st_dev;
	if (sys_move_mount(c->root, "", AT_FDCWD, c->cfg->newroot, K_MOVE_F_EMPTY))
		return fail_set(f, errno, "attaching the root", NULL);
	return 0;
}

static int finish_root(struct child *c, struct fail *f)
{
	uint32_t flags = c->s->c.flags, p = c->s->c.root_propagation;
	struct k_mount_attr a = { .set = (flags & BLOB_C_ROOT_RO ? K_ATTR_RDONLY : 0) |
			(flags & BLOB_C_ROOT_NOSUID ? K_ATTR_NOSUID : 0) |
			(flags & BLOB_C_ROOT_NODEV ? K_ATTR_NODEV : 0) |
			(flags & BLOB_C_ROOT_NOEXEC ? K_ATTR_NOEXEC : 0) |
			(flags & BLOB_C_ROOT_NOSYMFOLLOW ? K_ATTR_NOSYMFOLLOW : 0) };

	if (a.set && sys_mount_setattr(c->root, 0, &a))
		return fail_set(f, errno, "mount attributes of the root", NULL);
	a = (struct k_mount_attr){ .propagation = p & ~(uint32_t)K_MS_REC };
	if (p && sys_mount_setattr(c->root, p & K_MS_REC ? K_AT_RECURSIVE : 0, &a))
		return fail_set(f, errno, "propagation of the root", NULL);
	return 0;
}

/*
 * The name servers that DHCP has told, over the root's own file: it is not written into. Where
 * there is none, an empty one is made, as for a bind. What the config mounts there stays.
 */
static int lay_servers(struct child *c, struct fail *f)
{
	static const char dest[] = "/etc/resolv.conf";
	int mnt, fd, r;

	if (!c->cfg->servers || mount_at(c->s, dest))
		return 0;
	mnt = sys_open_tree(AT_FDCWD, c->cfg->servers, K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC);
	if (mnt < 0)
		return errno == ENOENT ? 0 : fail_set(f, errno, "name servers", c->cfg->servers);
	fd = tree_open(c, dest, 'f', f);
	r = fd < 0 ? fd : mount_on(mnt, fd);
	if (fd >= 0 && r)
		(void)fail_set(f, r, "name servers on", dest);
	if (fd >= 0)
		(void)close(fd);
	(void)close(mnt);
	return r;
}

int mounts_build(struct child *c, struct fail *f)
{
	struct fail servers = { 0 };
	int err = open_root(c, f);

	if (!err)
		err = devices_mount_dev(c, f);
	for (size_t i = 0; i < c->s->nmounts && !err; i++) {
		const struct blob_view_mount *m = &c->s->mounts[i];
		struct fail one = { 0 };

		if (!do_mount(c, m, &one))
			continue;
		if (m->m.flags & BLOB_M_OPTIONAL) {
			child_warn(c, &one);
			continue;
		}
		*f = one;
		err = one.err;
	}
	if (!err && lay_servers(c, &servers))
		child_warn(c, &servers);
	if (!err)
		err = devices_make(c, f);
	if (!err)
		err = devices_mask(c, f);
	return err;
}

int mounts_enter(struct child *c, struct fail *f)
{
	for (const char *const *h = c->cfg->hide; *h; h++)
		(void)sys_umount(*h);
	(void)close(c->share);
	c->share = -1;
	/*
	 * Not pivot_root(): the initial root filesystem cannot be pivoted away from. What lies
	 * below the moved mount is the agent's initramfs, and ".." does not lead to it.
	 */
	if (fchdir(c->root) || sys_mount(".", "/", NULL, K_MS_MOVE, NULL) || chroot("."))
		return fail_set(f, errno, "entering the container's root", NULL);
	return finish_root(c, f);
}
