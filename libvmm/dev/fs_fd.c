// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: the fds behind the nodes, and every way in which the server opens something.
 *
 * How it works: an fd of a node is an O_PATH fd in a list by last use, of bounded length, the
 * root's and pinned ones apart. A node without one is opened from its parent's, which may have to
 * be opened first: the names up to the nearest open ancestor are collected, then opened downwards,
 * each with O_NOFOLLOW as one component and compared with what the node stood for. An open file's
 * own fd serves as well as an O_PATH one. Two nodes and their parents at most are in use by one
 * request; those are marked busy and not closed before fs_req_end().
 *
 * System calls: a node with an fd: none; without, parent open: 2 (openat, statx), plus 1 to close
 * what falls out of the list.
 */
/* #syscalls:fs openat statx close read timerfd_settime */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/cleanup.h"

static bool in_lru(const struct fs_node *n)
{
	return n->fd >= 0 && !(n->flags & FS_N_PINNED) && n->idx != FS_ROOT;
}

static void lru_del(struct fs *fs, struct fs_node *n)
{
	if (n->lprev)
		fs_node_at(fs, n->lprev)->lnext = n->lnext;
	else
		fs->lru_new = n->lnext;
	if (n->lnext)
		fs_node_at(fs, n->lnext)->lprev = n->lprev;
	else
		fs->lru_old = n->lprev;
	n->lprev = n->lnext = 0;
	fs->lru_n--;
}

static void lru_add(struct fs *fs, struct fs_node *n)
{
	n->lprev = 0;
	n->lnext = fs->lru_new;
	if (n->lnext)
		fs_node_at(fs, n->lnext)->lprev = n->idx;
	else
		fs->lru_old = n->idx;
	fs->lru_new = n->idx;
	fs->lru_n++;
}

void fs_fd_drop(struct fs *fs, struct fs_node *n)
{
	if (n->fd < 0)
		return;
	if (in_lru(n))
		lru_del(fs, n);
	else if (n->flags & FS_N_PINNED)
		fs->pinned--;
	n->flags &= (uint8_t)~FS_N_PINNED;
	(void)close(n->fd);
	n->fd = -1;
}

void fs_fd_lose(struct fs *fs, struct fs_node *n)
{
	fs_fd_drop(fs, n);
	if (!n->parent && !n->handles)
		fs_node_unhash(fs, n);
}

/* Closes up to @count of the fds used longest ago; returns how many. */
static unsigned evict(struct fs *fs, unsigned count)
{
	struct fs_node *n = fs_node_at(fs, fs->lru_old), *prev;
	unsigned done = 0;

	for (; n && done < count; n = prev) {
		prev = fs_node_at(fs, n->lprev);
		if (n->busy)
			continue;
		fs_fd_drop(fs, n);
		done++;
	}
	return done;
}

void fs_fd_drop_idle(struct fs *fs)
{
	uint64_t n;

	(void)!read(fs->idle_fd, &n, sizeof(n));
	(void)evict(fs, UINT32_MAX);
}

/* The first fd that is kept sets the clock for all; nothing ticks while there is none. */
static void idle_arm(struct fs *fs)
{
	const struct itimerspec t = { .it_value.tv_nsec = FS_IDLE_MS * 1000000L };

	if (fs->drop_idle && !fs->lru_n)
		(void)timerfd_settime(fs->idle_fd, 0, &t, NULL);
}

void fs_fd_keep(struct fs *fs, struct fs_node *n, int fd)
{
	fs_fd_drop(fs, n);
	/* The newest stays: what is opened below it needs it. */
	if (fs->lru_n >= fs->lim.open_nodes)
		(void)evict(fs, fs->lru_n - fs->lim.open_nodes + 1);
	n->fd = fd;
	idle_arm(fs);
	lru_add(fs, n);
}

void fs_fd_pin(struct fs *fs, struct fs_node *n)
{
	if (n->fd < 0 || (n->flags & FS_N_PINNED) || n->idx == FS_ROOT)
		return;
	/* One that is in use goes over the limit until fs_req_end(). */
	if (fs->pinned >= fs->lim.open_nodes / 2 && !n->busy) {
		fs_fd_lose(fs, n);
		return;
	}
	lru_del(fs, n);
	n->flags |= FS_N_PINNED;
	fs->pinned++;
}

void fs_fd_unpin(struct fs *fs, struct fs_node *n)
{
	if (!(n->flags & FS_N_PINNED))
		return;
	n->flags &= (uint8_t)~FS_N_PINNED;
	fs->pinned--;
	idle_arm(fs);
	lru_add(fs, n);
}

int fs_openat(struct fs *fs, int dirfd, const char *name, int flags, mode_t mode)
{
	int fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);

	/* The process may have fewer fds than our budget: give back half of the idle ones. */
	if (fd < 0 && (errno == EMFILE || errno == ENFILE) && evict(fs, fs->lru_n / 2 + 1))
		fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

int fs_reopen(struct fs *fs, int fd, int flags)
{
	char num[16];
	int r;

	(void)snprintf(num, sizeof(num), "%d", fd);
	flags = (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	r = openat(fs->proc_fd, num, flags);
	if (r < 0 && (errno == EMFILE || errno == ENFILE) && evict(fs, fs->lru_n / 2 + 1))
		r = openat(fs->proc_fd, num, flags);
	if (r < 0 && errno == EPERM && (flags & O_NOATIME))
		r = openat(fs->proc_fd, num, flags & ~O_NOATIME);
	return r < 0 ? -errno : r;
}

int fs_stat_fd(int fd, struct statx *sx)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, FS_SX_MASK, sx) < 0 ? -errno : 0;
}

int fs_stat_at(int dirfd, const char *name, struct statx *sx)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

	return statx(dirfd, name, flags, FS_SX_MASK, sx) < 0 ? -errno : 0;
}

/* An fd of @n that is open already, or -1. */
static int have(struct fs *fs, struct fs_node *n)
{
	if (n->fd >= 0) {
		if (in_lru(n) && fs->lru_new != n->idx) {
			lru_del(fs, n);
			lru_add(fs, n);
		}
		return n->fd;
	}
	for (struct fs_handle *h = fs_handle_at(fs, n->handles); h; h = fs_handle_at(fs, h->next))
		if (h->fd >= 0)
			return h->fd;
	return -1;
}

static void mark_busy(struct fs *fs, struct fs_node *n)
{
	for (unsigned i = 0; i < fs->nbusy; i++)
		if (fs->busy[i] == n->idx)
			return;
	if (fs->nbusy < ARRAY_SIZE(fs->busy)) {
		fs->busy[fs->nbusy++] = n->idx;
		n->busy++;
	}
}

void fs_req_end(struct fs *fs)
{
	while (fs->nbusy) {
		struct fs_node *n = fs_node_at(fs, fs->busy[--fs->nbusy]);

		if (!n)
			continue;
		n->busy--;
		if ((n->flags & FS_N_PINNED) && fs->pinned > fs->lim.open_nodes / 2)
			fs_fd_lose(fs, n);
		fs_node_put(fs, n);
	}
}

static int open_child(struct fs *fs, struct fs_node *p, struct fs_node *n)
{
	struct statx sx;
	int r, pfd = have(fs, p);
	CLEAN_FD int fd = fs_pseudo_hidden(p, pfd, n->name)
		? -ENOENT
		: fs_openat(fs, pfd, n->name, O_PATH, 0);

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return -ESTALE;
	if (fd < 0)
		return fd;
	r = fs_stat_fd(fd, &sx);
	if (r < 0)
		return r;
	if (!fs_node_is(n, &sx))
		return -ESTALE;
	fs_fd_keep(fs, n, TAKE_FD(fd));
	return 0;
}

/* Opens @n, whose parent is open and stays so meanwhile, and checks that it is what it was. */
static int open_step(struct fs *fs, struct fs_node *n)
{
	struct fs_node *p = fs_node_at(fs, n->parent);
	int r;

	p->busy++;
	r = open_child(fs, p, n);
	p->busy--;
	return r;
}

int fs_node_fd(struct fs *fs, struct fs_node *n)
{
	struct fs_node *p;
	unsigned depth = 0;
	int r;

	if (n->flags & FS_N_VIRT)
		return -EPERM;
	for (p = n; have(fs, p) < 0; p = fs_node_at(fs, p->parent)) {
		if (!p->parent)
			return -ESTALE;
		if (depth == FS_DEPTH)
			return -ENAMETOOLONG;
		fs->chain[depth++] = p->idx;
	}
	while (depth) {
		r = open_step(fs, fs_node_at(fs, fs->chain[--depth]));
		if (r < 0)
			return r;
	}
	mark_busy(fs, n);
	return have(fs, n);
}

int fs_dir_fd(struct fs *fs, struct fs_node *n)
{
	return n->type == S_IFDIR ? fs_node_fd(fs, n) : -ENOTDIR;
}

/* 1 system call when the node or its parent is open. */
int fs_node_stat(struct fs *fs, struct fs_node *n, struct statx *sx)
{
	int r, fd;

	if (n->flags & FS_N_VIRT) {
		fs_virt_stat(fs, n, sx);
		return 0;
	}
	fd = have(fs, n);
	if (fd >= 0)
		return fs_stat_fd(fd, sx);
	if (!n->parent)
		return -ESTALE;
	fd = fs_dir_fd(fs, fs_node_at(fs, n->parent));
	if (fd < 0)
		return fd;
	r = fs_stat_at(fd, n->name, sx);
	if (r == -ENOENT || r == -ENOTDIR)
		return -ESTALE;
	if (!r && !fs_node_is(n, sx))
		return -ESTALE;
	return r;
}
