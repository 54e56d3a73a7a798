// SPDX-License-Identifier: Apache-2.0
/* The socket of sd_notify(3) in the container: its datagrams are passed on to the host. */
/*
 * How it works
 *
 * A socket of the host is a file in the share, but nobody listens behind it here. So the child that
 * builds the container binds a socket of the guest where NOTIFY_SOCKET points to: over what the
 * host has put there, else in a small tmpfs on a directory made for it, for nothing may be written
 * into the image. The agent keeps the socket's one end, which is all there is of a datagram socket.
 *
 * Descriptors that come along are dropped by the kernel, as nobody takes them: that ends the
 * barrier of sd_notify_barrier(3), behind what was sent before it. While a control connection is
 * slow nothing is read, and senders wait where the socket's queue (net.unix.max_dgram_qlen) is
 * full.
 */
#include "child.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define NOTIFY_BURST 16 /* datagrams before other events get their turn */

/* In directory @dir under @name, for everybody. */
static int bind_in(int dir, const char *name, int sock)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (!*name || strlen(name) >= sizeof(un.sun_path))
		return *name ? -ENAMETOOLONG : -EISDIR;
	memcpy(un.sun_path, name, strlen(name));
	if (fchdir(dir) || bind(sock, (struct sockaddr *)&un, sizeof(un)))
		return -errno;
	return fchmodat(dir, name, 0777, 0) ? -errno : 0;
}

/* Over the file that is there: a mount of the socket alone, out of a tmpfs that is gone again. */
static int cover(int tmp, const char *name, int target)
{
	int one = sys_open_tree(tmp, name, K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC), err;

	if (one < 0)
		return -errno;
	/* "." is its root: what it hid must be seen again */
	err = fchdir(tmp) || sys_umount(".") ? -errno : mount_on(one, target);
	(void)close(one);
	return err;
}

static int place(struct child *c, int sock, struct fail *f)
{
	const char *path = c->s->notify, *name = strrchr(path, '/') + 1;
	char dir_path[BLOB_MAX_PATH];
	int target = tree_open(c, path, 0, NULL), dir, tmp, err;

	memcpy(dir_path, path, (size_t)(name - path));
	dir_path[name - path] = 0;
	dir = tree_open(c, dir_path, 'd', f);
	if (dir < 0)
		return dir;
	tmp = mount_new("tmpfs", "notify", "mode=0755,size=64k,nr_inodes=8",
		K_ATTR_NOSUID | K_ATTR_NODEV | K_ATTR_NOEXEC, f);
	if (tmp < 0)
		return tmp;
	err = mount_on(tmp, dir);
	if (!err)
		err = bind_in(tmp, name, sock);
	if (!err && target >= 0)
		err = cover(tmp, name, target);
	(void)close(tmp);
	(void)close(dir);
	if (target >= 0)
		(void)close(target);
	return err ? fail_set(f, err, "the socket of NOTIFY_SOCKET", path) : 0;
}

int notify_make(struct child *c, int *sock, struct fail *f)
{
	*sock = -1;
	if (!c->s->notify)
		return 0;
	*sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*sock < 0)
		return fail_set(f, errno, "the socket of NOTIFY_SOCKET", NULL);
	return place(c, *sock, f);
}

static bool host_is_slow(const struct agent *a)
{
	for (const struct conn *c = a->conns; c; c = c->next) {
		if (c->control && !c->dead && c->want_out)
			return true;
	}
	return false;
}

static void notify_event(struct agent *a, struct ev *ev, uint32_t events)
{
	char buf[MSG_NOTIFY_MAX + 1];
	ssize_t n;

	(void)events;
	for (int i = 0; i < NOTIFY_BURST; i++) {
		if (host_is_slow(a)) {
			agent_rewatch(a, ev, 0);
			return;
		}
		n = recv(ev->fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0)
			return;
		if (n && n <= MSG_NOTIFY_MAX)
			ctrl_broadcast(a, MSG_NOTIFY, buf, (size_t)n);
	}
}

void notify_resume(struct agent *a)
{
	if (a->notify.fd >= 0 && !host_is_slow(a))
		agent_rewatch(a, &a->notify, EPOLLIN);
}

void notify_take(struct agent *a, int fd)
{
	if (a->notify.fd >= 0) {
		(void)close(fd);
		return;
	}
	a->notify = (struct ev){ .fn = notify_event, .fd = fd };
	(void)agent_watch(a, &a->notify, EPOLLIN);
}
