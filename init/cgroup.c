// SPDX-License-Identifier: Apache-2.0
/* The container's cgroup in the guest: limits that the guest's own kernel enforces, and its OOM
 * kills. */
/*
 * How it works
 *
 * The limits arrive as pairs of file name and value that the host has worked out already, so this
 * file knows no controller. The cgroup is made with the first process; exec joins the one that this
 * process is in by then, which it may have moved to itself.
 *
 * OOM kills are told from the difference of a counter, not from the notification: memory.events is
 * polled for EPOLLPRI and must be read for the next one to come, and cgroup_check_oom() is also
 * called when a process is reaped, so that the message is sent before the exit it explains.
 */
#include "agent.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "container"

static int write_file(int dirfd, const char *name, const char *value)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), err = 0;
	size_t len = strlen(value);

	if (fd < 0)
		return -errno;
	if (write(fd, value, len) != (ssize_t)len)
		err = -errno;
	(void)close(fd);
	return err;
}

static ssize_t read_file(int dirfd, const char *name, char *buf, size_t size)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	else
		buf[n] = 0;
	(void)close(fd);
	return n;
}

int cgroup_write_all(int dirfd, const struct blob_view_pair *p, size_t n, struct fail *f)
{
	for (size_t i = 0; i < n; i++) {
		int err = write_file(dirfd, p[i].name, p[i].value);

		if (err)
			return fail_set(f, err, "cgroup in the guest", p[i].name);
	}
	return 0;
}

/* Every controller that the kernel has, one by one: a missing one must not take the others along.
 */
static void enable_controllers(int root)
{
	char have[256], one[64], *save = NULL;

	if (read_file(root, "cgroup.controllers", have, sizeof(have)) <= 0)
		return;
	for (char *t = strtok_r(have, " \n", &save); t; t = strtok_r(NULL, " \n", &save)) {
		if (strlen(t) > sizeof(one) - 2)
			continue;
		one[0] = '+';
		memcpy(one + 1, t, strlen(t) + 1);
		(void)write_file(root, "cgroup.subtree_control", one);
	}
}

static uint64_t count_kills(struct agent *a)
{
	char buf[512], *p;

	if (a->cg_fd < 0 || read_file(a->cg_fd, "memory.events", buf, sizeof(buf)) <= 0)
		return 0;
	p = strstr(buf, "\noom_kill ");
	return p ? strtoull(p + 10, NULL, 10) : 0;
}

void cgroup_check_oom(struct agent *a)
{
	struct msg_oom m = { .kills = count_kills(a) };

	if (m.kills <= a->oom_kills)
		return;
	a->oom_kills = m.kills;
	ctrl_broadcast(a, MSG_OOM, &m, sizeof(m));
}

static void events_changed(struct agent *a, struct ev *ev, uint32_t events)
{
	char buf[512];

	(void)events;
	(void)!pread(ev->fd, buf, sizeof(buf), 0); /* arms the next notification */
	cgroup_check_oom(a);
}

int cgroup_make(struct agent *a, const struct blob_view *s, struct fail *f)
{
	if (a->cg_fd < 0) {
		enable_controllers(a->cg_root);
		if (mkdirat(a->cg_root, NAME, 0755) && errno != EEXIST)
			return fail_set(f, errno, "making a cgroup", NULL);
		a->cg_fd = openat(a->cg_root, NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (a->cg_fd < 0)
			return fail_set(f, errno, "opening a cgroup", NULL);
		a->cg_events.fn = events_changed;
		a->cg_events.fd = openat(a->cg_fd, "memory.events", O_RDONLY | O_CLOEXEC);
		if (a->cg_events.fd >= 0 && !agent_watch(a, &a->cg_events, EPOLLPRI))
			events_changed(a, &a->cg_events, 0);
	}
	return cgroup_write_all(a->cg_fd, s->cgroup, s->ncgroup, f);
}

int cgroup_of_pid(struct agent *a, pid_t pid)
{
	char path[64], buf[4096], *p;
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	n = read_file(AT_FDCWD, path, buf, sizeof(buf));
	p = n > 0 ? strstr(buf, "0::/") : NULL;
	if (!p)
		return n < 0 ? (int)n : -ENOENT;
	p += 4;
	p[strcspn(p, "\n")] = 0;
	fd = openat(a->cg_root, *p ? p : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int cgroup_below(struct agent *a, const char *path, struct fail *f)
{
	int fd = a->cg_fd < 0 ? -ENOTSUP
			      : sys_openat2(a->cg_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC,
					K_RESOLVE_BENEATH | K_RESOLVE_NO_SYMLINKS);

	if (fd < 0)
		return fail_set(f, fd == -ENOTSUP ? ENOTSUP : errno, "--cgroup", path);
	return fd;
}
