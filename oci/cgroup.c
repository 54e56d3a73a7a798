// SPDX-License-Identifier: Apache-2.0
/* The container's cgroup on the host: made, filled with limits, emptied, removed. */
/*
 * How it works
 *
 * The limits are a list of {controller, file, value} made from the spec first; then the path is
 * walked down from the mount, enabling the controllers on every level that lacks them (those that
 * values need, and of the others what can be had, as they count for `events` and for managers), and
 * the values are written. What of the path was there before is looked up and recorded first, so
 * that also a create that is killed leaves nothing that nobody removes; a parent that another
 * container's delete takes away on the walk down is made again. The cgroup is marked as this
 * container's (cgroup_mark.h) before a process is in it: a delete that finds another's mark leaves
 * it alone. The host's limits hold for the VMM:
 * memory is the guest's RAM plus what the VMM needs (struct vm_size), pids counts the VMM's own
 * threads on top, since the workload's processes live in the guest and are limited there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "oci/cgroup.h"
#include "oci/cgroup_limits.h"
#include "oci/cgroup_systemd.h"
#include "oci/fsutil.h"
#include "util/cleanup.h"

#define CGROUP_MOUNT "/sys/fs/cgroup"
#define DESCENTS     20 /* how often a parent may go under us */

int cgroup_mount(struct error *e)
{
	struct statfs fs;
	int fd = open(CGROUP_MOUNT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cgroup v2 is not mounted at " CGROUP_MOUNT);
	if (fstatfs(fd, &fs)) {
		int r = err_sys(e, errno, CGROUP_MOUNT);

		(void)close(fd);
		return r;
	}
	if (fs.f_type == CGROUP2_SUPER_MAGIC)
		return fd;
	(void)close(fd);
	return err_set(e, ENOTSUP,
		"this host mounts cgroup v1 (or the hybrid layout) at " CGROUP_MOUNT
		": only cgroup v2 is supported (boot with systemd.unified_cgroup_hierarchy=1)");
}

char *cgroup_path(const struct spec *s, const char *id, struct error *e)
{
	const char *p = s->linux_.cgroups_path ? s->linux_.cgroups_path : id;
	char *out;

	while (*p == '/')
		p++;
	if (!*p)
		p = id;
	for (const char *q = p; *q; q += strcspn(q, "/"), q += strspn(q, "/")) {
		size_t n = strcspn(q, "/");

		if ((n == 1 && q[0] == '.') || (n == 2 && !strncmp(q, "..", 2))) {
			(void)err_set(e, EINVAL,
				"config.json: linux.cgroupsPath: \"%.100s\" has a component that leaves its place",
				s->linux_.cgroups_path);
			return NULL;
		}
	}
	out = strdup(p);
	if (!out)
		(void)err_sys(e, ENOMEM, "cgroup path");
	return out;
}

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; *p; p += strcspn(p, " \n"), p += strspn(p, " \n")) {
		if (strcspn(p, " \n") == n && !strncmp(p, word, n))
			return true;
	}
	return false;
}

/* Enables @controller for the children of @dirfd unless it is on already. */
static int enable(int dirfd, const char *controller)
{
	CLEAN_FREE char *have = NULL;
	char word[32];
	int r = read_file_at(dirfd, "cgroup.subtree_control", 4096, &have, NULL);

	if (r)
		return r;
	if (has_word(have, controller))
		return 0;
	(void)snprintf(word, sizeof(word), "+%s", controller);
	return write_existing_at(dirfd, "cgroup.subtree_control", word);
}

void cgroup_offer(int dirfd)
{
	CLEAN_FREE char *all = NULL;
	CLEAN_FREE char *have = NULL;
	char words[512] = "", *save = NULL;
	size_t n = 0;

	if (read_file_at(dirfd, "cgroup.controllers", 400, &all, NULL) ||
		read_file_at(dirfd, "cgroup.subtree_control", 4096, &have, NULL))
		return;
	for (char *w = strtok_r(all, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
		int len = has_word(have, w)
			? 0
			: snprintf(words + n, sizeof(words) - n, "%s+%s", n ? " " : "", w);

		n = MIN(n + (size_t)len, sizeof(words) - 1);
	}
	if (!n || !write_existing_at(dirfd, "cgroup.subtree_control", words))
		return;
	/* one that cannot be had must not keep the others away */
	save = NULL;
	for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
		IGNORE_RESULT(write_existing_at(dirfd, "cgroup.subtree_control", w));
}

static int enable_all(int dirfd, const struct cg_settings *l, const char *where, struct error *e)
{
	for (unsigned i = 0; i < l->n; i++) {
		int r;

		if (i && !strcmp(l->s[i].controller, l->s[i - 1].controller))
			continue;
		r = enable(dirfd, l->s[i].controller);
		if (r)
			return err_sys(e, r,
				"cannot enable the %s controller in cgroup \"/%.100s\"",
				l->s[i].controller, where);
	}
	return 0;
}

/* Children first: a cgroup with children cannot go. */
static int remove_cgroup(int parent, const char *name, unsigned depth)
{
	CLEAN_FD int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEAN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;
	int dfd;

	if (!d)
		return errno == ENOENT ? 0 : -errno;
	dfd = TAKE_FD(fd);
	while (depth && (de = readdir(d))) {
		int r;

		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		r = remove_cgroup(dfd, de->d_name, depth - 1);
		if (r)
			return r;
	}
	return unlinkat(parent, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : 0;
}

size_t cgroup_there(const char *path)
{
	CLEAN_FREE char *copy = strdup(path);
	CLEAN_FD int mnt = cgroup_mount(NULL);

	while (copy && *copy) {
		char *slash = strrchr(copy, '/');

		if (mnt < 0 || !faccessat(mnt, copy, F_OK, AT_SYMLINK_NOFOLLOW))
			return strlen(copy);
		if (!slash)
			return 0;
		*slash = 0;
	}
	/* without memory nothing is ours to remove */
	return copy ? 0 : strlen(path);
}

/*
 * Walks to the container's own cgroup, making what is missing; returns its fd. What had been there
 * and has to be made all the same comes off *@kept.
 */
static int descend(const char *path, const struct cg_settings *l, size_t *kept, struct error *e)
{
	CLEAN_FREE char *copy = strdup(path);
	CLEAN_FD int dir = cgroup_mount(e);
	char *save = NULL;

	if (!copy)
		return err_sys(e, ENOMEM, "cgroup");
	if (dir < 0)
		return dir;
	for (char *w = strtok_r(copy, "/", &save); w; w = strtok_r(NULL, "/", &save)) {
		CLEAN_FD int next = -1;
		int r;

		cgroup_offer(dir);
		r = enable_all(dir, l, path, e);
		if (r)
			return r;
		if (!mkdirat(dir, w, 0755))
			*kept = MIN(*kept, w > copy ? (size_t)(w - copy) - 1 : 0);
		else if (errno != EEXIST)
			return err_sys(e, errno, "cannot make cgroup \"/%.120s\"", path);
		next = openat(dir, w, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return err_sys(e, errno, "cannot make cgroup \"/%.120s\"", path);
		(void)close(dir);
		dir = TAKE_FD(next);
	}
	return TAKE_FD(dir);
}

/* Removes what descend() made, from the end; what others use meanwhile stays. */
static void unmake(const char *path, size_t kept)
{
	CLEAN_FREE char *copy = strdup(path);
	CLEAN_FD int mnt = cgroup_mount(NULL);

	while (copy && mnt >= 0 && strlen(copy) > kept) {
		char *slash = strrchr(copy, '/');

		if (remove_cgroup(mnt, copy, 0) || !slash)
			return;
		*slash = 0;
	}
}

static bool populated(int dir)
{
	CLEAN_FREE char *text = NULL;

	return !read_file_at(dir, "cgroup.events", 4096, &text, NULL) &&
		strstr(text, "populated 1");
}

static int set_limits(int dir, const char *path, const struct cg_settings *l, struct error *e)
{
	/* what is in it, or below it, would die with the container */
	if (populated(dir))
		return err_set(e, EEXIST, "cgroup \"/%.120s\" holds processes already", path);
	return cgroup_write(dir, path, l, e);
}

bool cgroup_has_limits(const struct spec *s, const struct vm_size *size)
{
	struct cg_settings l = { 0 };

	cgroup_plan(&l, s, size);
	return l.n;
}

/* The last step: whoever fails before it leaves the mark of the one that has the cgroup. */
static int claim(int dir, const char *path, const struct cg_mark *m, size_t *kept, struct error *e)
{
	int r;

	(void)cg_mark_get(dir, m, kept);
	r = cg_mark_set(dir, m, *kept);
	return r ? err_sys(e, r, "cannot mark cgroup \"/%.120s\"", path) : 0;
}

int cgroup_make(const char *path, const struct spec *s, const struct vm_size *size,
	const struct cg_mark *m, size_t *kept, struct error *e)
{
	struct cg_settings l = { 0 };
	int dir, r;

	cgroup_plan(&l, s, size);
	for (int i = 0;; i++) {
		struct error why = { 0 };

		dir = descend(path, &l, kept, &why);
		/* a parent went while we were in it: its last other container was deleted */
		if ((dir == -ENOENT || dir == -ENODEV) && i < DESCENTS)
			continue;
		if (dir < 0)
			(void)err_set(e, dir, "%s", why.msg);
		break;
	}
	r = dir < 0 ? dir : set_limits(dir, path, &l, e);
	if (!r)
		r = claim(dir, path, m, kept, e);
	if (dir >= 0)
		(void)close(dir);
	if (r)
		unmake(path, *kept);
	return r;
}

int cgroup_open(const char *path)
{
	CLEAN_FD int mnt = cgroup_mount(NULL);

	return mnt < 0 ? mnt : open2(mnt, path, O_RDONLY | O_DIRECTORY, 0, RESOLVE_BENEATH);
}

int cgroup_claim(const char *path, const struct cg_mark *m, size_t kept, struct error *e)
{
	CLEAN_FD int dir = cgroup_open(path);

	return dir < 0 ? err_sys(e, dir, "cgroup \"/%.120s\"", path)
		       : claim(dir, path, m, &kept, e);
}

bool cgroup_is_ours(const char *path, const struct cg_mark *m)
{
	CLEAN_FD int dir = cgroup_open(path);
	size_t kept = 0;

	return dir >= 0 && cg_mark_get(dir, m, &kept) == CG_OURS;
}

/* What the limits need on every level above the container's. */
static int enable_above(const char *path, const struct cg_settings *l, struct error *e)
{
	CLEAN_FREE char *copy = strdup(path);
	CLEAN_FD int dir = cgroup_mount(e);
	char *save = NULL;

	if (!copy)
		return err_sys(e, ENOMEM, "cgroup");
	if (dir < 0)
		return dir;
	for (char *w = strtok_r(copy, "/", &save); w; w = strtok_r(NULL, "/", &save)) {
		int r = enable_all(dir, l, path, e), next;

		if (r)
			return r;
		next = openat(dir, w, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return err_sys(e, errno, "cgroup \"/%.120s\"", path);
		(void)close(dir);
		dir = next;
	}
	return 0;
}

int cgroup_update(const char *path, const char *scope, const struct spec *s,
	const struct vm_size *size, struct error *e)
{
	CLEAN_FD int dir = cgroup_open(path);
	struct cg_settings l = { 0 };
	int r;

	if (dir < 0)
		return err_sys(e, dir, "cgroup \"/%.120s\"", path);
	cgroup_plan_update(&l, s, size, dir);
	r = scope ? sd_scope_set(scope, &l, e) : enable_above(path, &l, e);
	return r ? r : cgroup_write(dir, path, &l, e);
}

int cgroup_of(pid_t pid, char **path, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	char name[32], *p;
	int r;

	(void)snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	r = read_file_at(AT_FDCWD, name, 65536, &text, NULL);
	if (r)
		return err_sys(e, r, "%s", name);
	p = strstr(text, "0::/");
	if (p)
		p[strcspn(p, "\n")] = 0;
	if (!p || !strchr(p + 4, '/'))
		return err_set(e, EINVAL, "%s: not a cgroup of its own", name);
	*path = strdup(p + 4);
	return *path ? 0 : err_sys(e, ENOMEM, "cgroup");
}

int cgroup_limit(const char *path, const struct cg_settings *l, struct error *e)
{
	CLEAN_FD int dir = cgroup_open(path);

	return dir < 0 ? err_sys(e, dir, "cgroup \"/%.120s\"", path)
		       : cgroup_write(dir, path, l, e);
}

int cgroup_add(const char *path, pid_t pid, struct error *e)
{
	CLEAN_FD int dir = cgroup_open(path);
	char text[16];
	int r = dir;

	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	if (dir >= 0)
		r = write_existing_at(dir, "cgroup.procs", text);
	return r < 0 ? err_sys(e, r, "cannot move the VMM into cgroup \"/%.120s\"", path) : 0;
}

/* Waits for "populated 0": cgroup.events tells by POLLPRI when it changes. */
static int wait_empty(int dir, unsigned ms)
{
	CLEAN_FD int ev = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
	struct timespec a, b;

	if (ev < 0)
		return -errno;
	(void)clock_gettime(CLOCK_MONOTONIC, &a);
	while (populated(dir)) {
		struct pollfd p = { .fd = ev, .events = POLLPRI };
		int64_t left;

		(void)clock_gettime(CLOCK_MONOTONIC, &b);
		left = (int64_t)ms -
			((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000);
		if (left <= 0)
			return -ETIMEDOUT;
		/* the short limit covers a change between the look and the poll */
		if (poll(&p, 1, (int)MIN(left, (int64_t)50)) < 0 && errno != EINTR)
			return -errno;
	}
	return 0;
}

/* Until nothing is in it; -EAGAIN when it is to be left alone. */
static int empty(int dir, const char *path, bool all_ours, unsigned ms, struct error *e)
{
	int r;

	if (all_ours) /* the wait tells how it went */
		IGNORE_RESULT(write_existing_at(dir, "cgroup.kill", "1"));
	r = wait_empty(dir, all_ours ? ms : MIN(ms, 1000U));
	if (r && !all_ours)
		return -EAGAIN;
	return r ? err_sys(e, r, "processes are left in cgroup \"/%.120s\"", path) : 0;
}

int cgroup_destroy(const char *path, size_t kept, const struct cg_mark *m, bool moved, unsigned ms,
	struct error *e)
{
	CLEAN_FD int dir = cgroup_open(path);
	CLEAN_FD int mnt = -1;
	struct timespec nap = { .tv_nsec = 2 * 1000 * 1000 };
	enum cg_owner whose;
	bool busy;
	int r;

	if (dir == -ENOENT) /* a create may have been killed between the parents and this */
		unmake(path, kept);
	if (dir == -ENOENT || dir == -ENOTSUP)
		return 0;
	if (dir < 0)
		return err_sys(e, dir, "cgroup \"/%.120s\"", path);
	busy = populated(dir);
	/* the mark second: who has come meanwhile has set its own before it moved in */
	whose = cg_mark_get(dir, m, &kept);
	if (whose == CG_OTHERS)
		return 0;
	r = busy ? empty(dir, path, moved && whose == CG_OURS, ms, e) : 0;
	if (r)
		return r == -EAGAIN ? 0 : r;
	mnt = cgroup_mount(e);
	if (mnt < 0)
		return mnt;
	/* a process that is being reaped keeps it busy for a moment longer than it counts as
	 * populated */
	for (int i = 0; (r = remove_cgroup(mnt, path, 16)) == -EBUSY && i < 500; i++) {
		(void)nanosleep(&nap, NULL);
		if (cg_mark_get(dir, m, &kept) == CG_OTHERS)
			return 0;
	}
	if (r && cg_mark_get(dir, m, &kept) == CG_OTHERS)
		return 0;
	if (r)
		return err_sys(e, r, "cannot remove cgroup \"/%.120s\"", path);
	unmake(path, kept);
	return 0;
}
