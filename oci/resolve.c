// SPDX-License-Identifier: Apache-2.0
/* Finds process.args[0] in the container's tree. */
/*
 * How it works
 *
 * A program that is missing has to be told by the create, in the words that clients look for; the
 * guest could say it at the start only. Each candidate of PATH is looked up in the root as the
 * host has it. Where a mount of the guest's own lies on the way, or a link of the image leads below
 * one, the host cannot know: that candidate counts as found, and the guest's exec decides. Links
 * are walked by text for that, component by component, as there may be nothing to open.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/mounts.h"
#include "oci/resolve.h"
#include "util/cleanup.h"

#define MAX_LINKS    40 /* as the kernel does */
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *env_path(const struct spec_process *p)
{
	/* of two the first, as the guest and getenv() have it */
	for (size_t i = 0; i < p->env.n; i++) {
		if (!strncmp(p->env.v[i], "PATH=", 5))
			return p->env.v[i] + 5;
	}
	return DEFAULT_PATH;
}

/* A guest-side mount on the way: only the guest can see what is there. */
static bool under_guest_mount(const struct spec *s, const char *path)
{
	for (size_t i = 0; i < s->n_mounts; i++) {
		size_t n = strlen(s->mounts[i].destination);

		if (mount_is_guests(&s->mounts[i]) && !strncmp(path, s->mounts[i].destination, n) &&
			path[n] == '/')
			return true;
	}
	return false;
}

/* The name of which @n bytes at @name are, behind directory @done: what it links to, in @rest
 * before what is there. False: it is no link. */
static bool follow(
	int root, const char *done, const char *name, size_t n, char rest[static PATH_MAX])
{
	CLEAN_FD int at = open_in_root(root, *done ? done : "/", O_PATH | O_DIRECTORY);
	char link[PATH_MAX], more[PATH_MAX], leaf[NAME_MAX + 1];
	ssize_t len;

	if (at < 0 || n > NAME_MAX)
		return false;
	(void)snprintf(leaf, sizeof(leaf), "%.*s", (int)n, name);
	len = readlinkat(at, leaf, link, sizeof(link) - 1);
	if (len <= 0)
		return false;
	link[len] = 0;
	(void)snprintf(more, sizeof(more), "%s", name + n);
	return snprintf(rest, PATH_MAX, "%s%s", link, more) < PATH_MAX;
}

/* Whether links of the image lead from @path to below a guest-side mount. */
static bool leads_to_guest(int root, const struct spec *s, const char *path)
{
	char done[PATH_MAX] = "", rest[PATH_MAX];
	int links = 0;

	if (snprintf(rest, sizeof(rest), "%s", path) >= (int)sizeof(rest))
		return false;
	for (char *name = rest + strspn(rest, "/"); *name; name += strspn(name, "/")) {
		size_t n = strcspn(name, "/"), end = strlen(done);

		if (n == 2 && !strncmp(name, "..", 2)) {
			char *up = strrchr(done, '/');

			*(up ? up : done) = 0;
		} else if ((n != 1 || *name != '.') && follow(root, done, name, n, rest)) {
			if (++links > MAX_LINKS)
				return false;
			if (*rest == '/')
				*done = 0;
			name = rest;
			continue;
		} else if (n != 1 || *name != '.') {
			if (snprintf(done + end, sizeof(done) - end, "/%.*s", (int)n, name) >=
				(int)(sizeof(done) - end))
				return false;
			if (under_guest_mount(s, done))
				return true;
		}
		name += n;
	}
	return false;
}

static bool in_group(const struct spec_user *u, gid_t gid)
{
	if (u->gid == gid)
		return true;
	for (size_t i = 0; i < u->n_groups; i++) {
		if (u->groups[i] == gid)
			return true;
	}
	return false;
}

/* The mode bits' verdict. */
static bool may_exec(const struct spec_user *u, const struct stat *st)
{
	if (!(st->st_mode & 0111))
		return false;
	if (!u->uid)
		return true;
	if (st->st_uid == u->uid)
		return st->st_mode & 0100;
	return in_group(u, st->st_gid) ? st->st_mode & 0010 : st->st_mode & 0001;
}

/* A file's access list may allow what its mode does not show. */
static bool has_acl(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return getxattr(path, "system.posix_acl_access", NULL, 0) > 0;
}

/* What the host sees of one candidate. */
static int look_here(int root, const struct spec *s, const char *path)
{
	CLEAN_FD int fd = open_in_root(root, path, O_PATH);
	struct stat st;

	if (fd < 0)
		return fd == -ENOTDIR ? -ENOENT : fd;
	if (fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	/* with mappings the ids on disk are not those of the container, and a list is not read
	 * here: then the guest's exec tells */
	if (!s->linux_.uid_maps.n && !may_exec(&s->process.user, &st) &&
		!(st.st_mode & 0111 && has_acl(fd)))
		return -EACCES;
	return 0;
}

/* 0, -ENOENT, -EACCES, -EISDIR: of one candidate. */
static int look(int root, const struct spec *s, const char *path)
{
	int r = under_guest_mount(s, path) ? 0 : look_here(root, s, path);

	return r && leads_to_guest(root, s, path) ? 0 : r;
}

static int tell(const char *arg, int r, struct error *e)
{
	switch (r) {
	case 0:
		return 0;
	case -EISDIR:
		return err_set(e, EACCES,
			"the path `%.150s` is not a regular file: permission denied", arg);
	case -EACCES:
		return err_set(e, EACCES, "open executable `%.150s`: permission denied", arg);
	case -ENOENT:
		return err_set(e, ENOENT,
			"executable file not found in $PATH: `%.120s`: no such file or directory",
			arg);
	default:
		return err_sys(e, r, "open executable `%.150s`", arg);
	}
}

int resolve_args0(int root, const struct spec *s, struct error *e)
{
	const struct spec_process *p = &s->process;
	int best = -ENOENT;
	const char *arg;
	char path[PATH_MAX];

	if (!p->set)
		return 0;
	arg = p->args.v[0];
	if (arg[0] == '/')
		return tell(arg, look(root, s, arg), e);
	if (strchr(arg, '/')) {
		if (snprintf(path, sizeof(path), "%s/%s", p->cwd, arg) >= (int)sizeof(path))
			return err_sys(e, ENAMETOOLONG, "open executable `%.150s`", arg);
		return tell(arg, look(root, s, path), e);
	}
	for (const char *d = env_path(p); d; d = strchr(d, ':') ? strchr(d, ':') + 1 : NULL) {
		int n = (int)strcspn(d, ":"), r;

		if (snprintf(path, sizeof(path), "%.*s/%s", n ? n : PATH_MAX, n ? d : p->cwd,
			    arg) >= (int)sizeof(path))
			continue;
		r = look(root, s, path);
		if (!r)
			return 0;
		if (r != -ENOENT)
			best = r;
	}
	return tell(arg, best, e);
}
