// SPDX-License-Identifier: Apache-2.0
/* A container's directory: made whole, read by anybody, true after a kill at any moment. */
/*
 * How it works
 *
 * container_make() builds ".new-<pid>-<n>" with config, state.json and a locked lock file, then
 * renames it to the id without replacing: two creates of one id cannot both win and no reader ever
 * sees half a directory. container_remove() renames it to ".del-<pid>-<inode>" before it takes the
 * files away, so a delete that is killed leaves the id free. What a dead create or delete left
 * aside is swept by the next of either.
 *
 * A lock counts only while the id still leads to the directory it is in: who waited for it
 * meanwhile may hold the lock of what was deleted, beside a new container of the same id.
 *
 * container_phase() asks three things in order: is there a VMM pid, is that very process (same
 * start time, no zombie) alive, and what does its status file say. A dead VMM is "stopped" whatever
 * was written; no pid yet is "creating" while create holds the lock and "stopped" once nobody does.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/json.h"
#include "oci/json_write.h"
#include "oci/spec.h"
#include "oci/state.h"
#include "util/bytes.h"
#include "util/cleanup.h"

#define STATE_MAX (64U << 10)

const char *phase_name(enum phase p)
{
	static const char *const names[] = {
		[PHASE_CREATING] = "creating",
		[PHASE_CREATED] = "created",
		[PHASE_RUNNING] = "running",
		[PHASE_PAUSED] = "paused",
		[PHASE_STOPPED] = "stopped",
	};

	return names[p];
}

/* What read_state() sets. */
static void free_read(struct container *c)
{
	free(TAKE_PTR(c->bundle));
	free(TAKE_PTR(c->rootfs));
	free(TAKE_PTR(c->cgroup));
	free(TAKE_PTR(c->scope));
	free(TAKE_PTR(c->created));
	free(TAKE_PTR(c->version));
	free(TAKE_PTR(c->ignore));
}

void container_free(struct container *c)
{
	int *fds[] = { &c->root_fd, &c->dir_fd, &c->lock_fd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			(void)close(TAKE_FD(*fds[i]));
	}
	free(TAKE_PTR(c->id));
	free_read(c);
}

/* $XDG_RUNTIME_DIR/<name>, or /run/<name>: named after the program, as clients expect. */
static int default_root(const struct rt *rt, char *buf, size_t n)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	struct stat st;
	int len;

	/* that of somebody else, as after `sudo -E`: its owner could exchange what is in it */
	if (!xdg || *xdg != '/' || (!stat(xdg, &st) && st.st_uid != geteuid()))
		xdg = "/run";
	len = snprintf(buf, n, "%s/%s", xdg, rt->name);
	return len < 0 || (size_t)len >= n ? -ENAMETOOLONG : 0;
}

int state_root_path(const struct rt *rt, char *buf, size_t n)
{
	if (!rt->root)
		return default_root(rt, buf, n);
	return snprintf(buf, n, "%s", rt->root) >= (int)n ? -ENAMETOOLONG : 0;
}

int state_root(const struct rt *rt, bool create, struct error *e)
{
	char path[4096];
	int r, fd;

	if (rt->root && !strcmp(rt->root, "/"))
		return err_set(e, EINVAL, "--root: \"/\" cannot hold containers");
	r = state_root_path(rt, path, sizeof(path));
	if (!r && create)
		r = mkdir_p(AT_FDCWD, path, 0700);
	if (r)
		return err_sys(e, r, "state directory %.180s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT && !rt->root)
		return -ENOENT;
	return err_sys(e, errno, "state directory %.180s", path);
}

static int make_json(const struct container *c, char **out, size_t *len)
{
	struct json_writer w;

	jw_init(&w, false);
	jw_object(&w, NULL);
	jw_string(&w, "type", "krun-oci");
	jw_string(&w, "id", c->id);
	jw_opt_string(&w, "ociVersion", c->version);
	jw_string(&w, "bundle", c->bundle);
	jw_string(&w, "rootfs", c->rootfs);
	jw_opt_string(&w, "cgroup", c->cgroup);
	jw_opt_string(&w, "scope", c->scope);
	jw_opt_string(&w, "ignore", c->ignore);
	jw_u64(&w, "cgroupKept", c->cgroup_kept);
	jw_string(&w, "created", c->created);
	jw_u64(&w, "owner", c->owner);
	jw_i64(&w, "pid", c->pid);
	jw_u64(&w, "pidStart", c->pid_start);
	jw_u64(&w, "hooks", c->hooks);
	jw_u64(&w, "vcpus", c->vcpus);
	jw_u64(&w, "ram", c->ram);
	jw_u64(&w, "nic", c->nic);
	jw_u64(&w, "netInode", c->net_inode);
	jw_u64(&w, "netIndex", c->net_index);
	jw_end(&w);
	return jw_finish(&w, out, len);
}

int container_store(const struct container *c, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	size_t len = 0;
	int r = make_json(c, &text, &len);

	if (!r)
		r = write_file_at(c->dir_fd, "state.json", text, len, 0600);
	return r ? err_sys(e, r, "cannot write the state of container \"%s\"", c->id) : 0;
}

static char *now_rfc3339(void)
{
	char buf[64], day[32];
	struct timespec ts;
	struct tm tm;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	(void)gmtime_r(&ts.tv_sec, &tm);
	(void)strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(buf, sizeof(buf), "%s.%09ldZ", day, ts.tv_nsec);
	return strdup(buf);
}

void state_sweep(int root_fd)
{
	CLEAN_FD int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEAN_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	if (!d)
		return;
	(void)TAKE_FD(fd);
	while ((de = readdir(d))) {
		int pid;

		/* what is to be deleted anybody may delete; what is being made belongs to its maker
		 */
		if (!strncmp(de->d_name, ".del-", 5) ||
			(sscanf(de->d_name, ".new-%d-", &pid) == 1 && kill(pid, 0) &&
				errno == ESRCH))
			IGNORE_RESULT(remove_tree_at(root_fd, de->d_name));
	}
}

static int fill_new(struct container *c, const char *config, size_t len, struct error *e)
{
	struct status_file st = { .magic = htole32(STATUS_MAGIC),
		.phase = htole32(PHASE_CREATING) };
	int r;

	c->lock_fd = openat(c->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (c->lock_fd < 0 || flock(c->lock_fd, LOCK_EX | LOCK_NB))
		return err_sys(e, errno, "cannot lock the state of container \"%s\"", c->id);
	r = write_file_at(c->dir_fd, "config.json", config, len, 0600);
	if (!r)
		r = write_file_at(c->dir_fd, "status", &st, sizeof(st), 0600);
	if (r)
		return err_sys(e, r, "cannot write the state of container \"%s\"", c->id);
	return container_store(c, e);
}

int container_make(const struct rt *rt, struct container *c, const char *config, size_t config_len,
	struct error *e)
{
	char tmp[64];
	int r;

	c->dir_fd = c->lock_fd = -1;
	c->root_fd = state_root(rt, true, e);
	if (c->root_fd < 0)
		return c->root_fd;
	c->created = now_rfc3339();
	c->owner = getuid();
	state_sweep(c->root_fd);
	(void)snprintf(
		tmp, sizeof(tmp), ".new-%d-%llx", (int)getpid(), (unsigned long long)time(NULL));
	if (mkdirat(c->root_fd, tmp, 0700))
		return err_sys(e, errno, "cannot make the state of container \"%s\"", c->id);
	c->dir_fd = openat(c->root_fd, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = c->dir_fd < 0 ? err_sys(e, errno, "state directory")
			  : fill_new(c, config, config_len, e);
	if (!r && renameat2(c->root_fd, tmp, c->root_fd, c->id, RENAME_NOREPLACE)) {
		r = errno == EEXIST
			? err_set(e, EEXIST, "container \"%s\" already exists", c->id)
			: err_sys(e, errno, "cannot make the state of container \"%s\"", c->id);
	}
	if (r)
		IGNORE_RESULT(remove_tree_at(c->root_fd, tmp));
	return r;
}

static char *dup_member(const struct json *root, const char *key)
{
	const char *s = json_get_string(root, key);

	return s ? strdup(s) : NULL;
}

/* Does the id still lead to the directory that was opened? */
static bool still_there(const struct container *c)
{
	struct stat a, b;

	return !fstat(c->dir_fd, &a) && !fstatat(c->root_fd, c->id, &b, AT_SYMLINK_NOFOLLOW) &&
		a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int no_such(const struct container *c, struct error *e)
{
	return err_set(e, ENOENT, "container \"%s\" does not exist", c->id);
}

/* What is not there in the state of a version that did not record it: 0 then. */
static uint64_t get_later(const struct json *root, const char *key)
{
	int64_t v = 0;

	return json_get_i64(root, key, &v) ? (uint64_t)v : 0;
}

static int read_state(struct container *c, struct error *e)
{
	CLEAN(json_freep) struct json_doc *doc = NULL;
	CLEAN_FREE char *text = NULL;
	const struct json *root;
	int64_t pid = 0, start = 0, owner = 0, kept = 0, hooks = 0;
	size_t len = 0;
	int r = read_file_at(c->dir_fd, "state.json", STATE_MAX, &text, &len);

	if (r == -ENOENT)
		return still_there(c)
			? err_set(e, ENODATA, "the directory of container \"%s\" has no state.json",
				  c->id)
			: no_such(c, e);
	if (r)
		return err_sys(e, r, "cannot read the state of container \"%s\"", c->id);
	r = json_parse("state.json", text, len, &doc, e);
	if (r)
		return r;
	root = json_root(doc);
	free_read(c);
	c->bundle = dup_member(root, "bundle");
	c->rootfs = dup_member(root, "rootfs");
	c->cgroup = dup_member(root, "cgroup");
	c->scope = dup_member(root, "scope");
	c->created = dup_member(root, "created");
	c->version = dup_member(root, "ociVersion");
	c->ignore = dup_member(root, "ignore");
	if (!c->bundle || !c->rootfs || !c->created || !json_get_i64(root, "pid", &pid) ||
		!json_get_i64(root, "pidStart", &start) || !json_get_i64(root, "owner", &owner) ||
		!json_get_i64(root, "cgroupKept", &kept) || !json_get_i64(root, "hooks", &hooks))
		return err_set(e, EPROTO, "container \"%s\" was not made by this runtime", c->id);
	c->pid = (pid_t)pid;
	c->pid_start = (uint64_t)start;
	c->owner = (uint32_t)owner;
	c->cgroup_kept = (size_t)kept;
	c->hooks = (uint32_t)hooks;
	c->vcpus = (uint32_t)get_later(root, "vcpus");
	c->ram = get_later(root, "ram");
	c->nic = (uint32_t)get_later(root, "nic");
	c->net_inode = get_later(root, "netInode");
	c->net_index = (uint32_t)get_later(root, "netIndex");
	return 0;
}

int container_open(const struct rt *rt, const char *id, struct container *c, struct error *e)
{
	struct error why = { 0 };
	int r = spec_check_id(id, e);

	*c = (struct container){ .root_fd = -1, .dir_fd = -1, .lock_fd = -1 };
	if (r)
		return r;
	c->id = strdup(id);
	c->root_fd = state_root(rt, false, &why);
	if (c->root_fd == -ENOENT)
		return no_such(c, e);
	if (c->root_fd < 0)
		return err_set(e, why.code, "%s", why.msg);
	c->dir_fd = openat(c->root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->dir_fd < 0)
		return errno == ENOENT ? no_such(c, e) : err_sys(e, errno, "container \"%s\"", id);
	return read_state(c, e);
}

int container_refresh(struct container *c, struct error *e)
{
	return read_state(c, e);
}

int container_lock(struct container *c, unsigned ms, struct error *e)
{
	const struct timespec nap = { .tv_nsec = 5 * 1000 * 1000 };

	if (c->lock_fd < 0)
		c->lock_fd = openat(c->dir_fd, "lock", O_RDWR | O_CLOEXEC);
	if (c->lock_fd < 0 && errno == ENOENT)
		return still_there(c) ? err_set(e, ENOLCK, "container \"%s\" has no lock", c->id)
				      : no_such(c, e);
	if (c->lock_fd < 0)
		return err_sys(e, errno, "cannot lock container \"%s\"", c->id);
	/* flock() has no time limit of its own; whoever holds it is a create, a start or a delete,
	 * all of them short */
	for (unsigned waited = 0; flock(c->lock_fd, LOCK_EX | LOCK_NB); waited += 5) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(e, errno, "cannot lock container \"%s\"", c->id);
		if (waited >= ms)
			return err_set(e, EBUSY,
				"container \"%s\" is being created, started or deleted", c->id);
		(void)nanosleep(&nap, NULL);
	}
	if (still_there(c))
		return 0;
	(void)close(TAKE_FD(c->lock_fd));
	return no_such(c, e);
}

void container_unlock(struct container *c)
{
	if (c->lock_fd >= 0)
		(void)close(TAKE_FD(c->lock_fd));
}

int container_remove(struct container *c, struct error *e)
{
	char aside[64];
	struct stat st;
	int r = fstat(c->dir_fd, &st) ? -errno : 0;

	/* aside in one step: a kill in the middle of what follows must not leave half a container
	 */
	(void)snprintf(
		aside, sizeof(aside), ".del-%d-%llx", (int)getpid(), (unsigned long long)st.st_ino);
	if (!r && renameat2(c->root_fd, c->id, c->root_fd, aside, RENAME_NOREPLACE))
		r = -errno;
	if (!r)
		r = remove_tree_at(c->root_fd, aside);
	return r ? err_sys(e, r, "cannot remove the state of container \"%s\"", c->id) : 0;
}

int container_pidfd(const struct container *c)
{
	uint64_t start = 0;
	char state = 0;
	int fd, r;

	if (c->pid <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (fd < 0)
		return -errno;
	/* the fd first, then the look: from here on the number cannot be reused under us */
	r = proc_start_time(c->pid, &start, &state);
	if (!r && (start != c->pid_start || proc_has_ended(state)))
		r = -ESRCH;
	if (r) {
		(void)close(fd);
		return r;
	}
	return fd;
}

static bool lock_is_held(const struct container *c)
{
	CLEAN_FD int fd = openat(c->dir_fd, "lock", O_RDONLY | O_CLOEXEC);

	/* shared: two who look at once must not take each other for a create */
	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
}

static bool read_status(const struct container *c, struct status_file *st)
{
	CLEAN_FD int fd = openat(c->dir_fd, "status", O_RDONLY | O_CLOEXEC);

	return fd >= 0 && pread(fd, st, sizeof(*st), 0) == (ssize_t)sizeof(*st) &&
		le32toh(st->magic) == STATUS_MAGIC;
}

enum phase status_read(const struct container *c)
{
	struct status_file st;

	return read_status(c, &st) && le32toh(st.phase) <= PHASE_STOPPED
		? (enum phase)le32toh(st.phase)
		: PHASE_STOPPED;
}

enum phase container_phase(const struct container *c, int *exit_code)
{
	struct status_file st = { 0 };
	CLEAN_FD int pidfd = container_pidfd(c);
	uint32_t phase = PHASE_CREATING;

	if (exit_code)
		*exit_code = -1;
	if (read_status(c, &st))
		phase = le32toh(st.phase);
	if (phase == PHASE_STOPPED && exit_code)
		*exit_code = (int)le32toh((uint32_t)st.exit_code);
	/* with the lock in our own hands there is no create */
	if (!c->pid)
		return c->lock_fd < 0 && lock_is_held(c) ? PHASE_CREATING : PHASE_STOPPED;
	if (pidfd < 0 || phase > PHASE_STOPPED)
		return PHASE_STOPPED;
	return (enum phase)phase;
}

int status_open(const struct container *c)
{
	int fd = openat(c->dir_fd, "status", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

bool container_was_lost(const struct container *c)
{
	struct status_file st;

	return read_status(c, &st) && le32toh(st.flags) & STATUS_LOST;
}

int status_write(int fd, enum phase p, int exit_code, uint32_t flags)
{
	struct status_file st = { .magic = htole32(STATUS_MAGIC),
		.phase = htole32(p),
		.exit_code = (int32_t)htole32((uint32_t)exit_code),
		.flags = htole32(flags) };
	ssize_t n = pwrite(fd, &st, sizeof(st), 0);

	return n == (ssize_t)sizeof(st) ? 0 : n < 0 ? -errno : -EIO;
}
