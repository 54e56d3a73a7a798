// SPDX-License-Identifier: Apache-2.0
/* sd_notify(3) out of the guest: the host's end. */
/*
 * How it works: the socket is looked up where the bind mount that holds it has its source, below
 * that directory and through no link, and connected to by its descriptor. Messages are lines; those
 * that mean something to the guest alone go (pids and descriptors), the rest is sent as it is: the
 * receiver believes a container no more than any other sender.
 */
/* #syscalls:main sendto */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "init/proto/msg.h"
#include "oci/fsutil.h"
#include "oci/notify.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"

#define NOTIFY_WAIT_US 100000 /* for a receiver whose queue is full; then the message is lost */

static const char *wanted(const struct spec *s)
{
	static const char key[] = "NOTIFY_SOCKET=";
	const char *path = NULL;

	/* the first of several, as getenv(3) in the guest takes it */
	for (size_t i = 0; !path && s->process.set && i < s->process.env.n; i++)
		if (!strncmp(s->process.env.v[i], key, sizeof(key) - 1))
			path = s->process.env.v[i] + sizeof(key) - 1;
	/* an abstract address is the guest's own affair, as a network namespace's is */
	return path && path[0] == '/' ? path : NULL;
}

/* What @path is below @dest, "" for @dest itself; NULL: it is not. Both are without "." and "..".
 */
static const char *below(const char *path, const char *dest)
{
	size_t n = strlen(dest);

	if (strncmp(path, dest, n) != 0 || (path[n] && path[n] != '/'))
		return NULL;
	return path + n + strspn(path + n, "/");
}

/* The socket's file on the host, O_PATH. */
static int find(const struct spec *s, int bundle_fd, const char *path)
{
	const struct spec_mount *m = NULL;
	const char *rest = NULL;
	CLEAN_FD int src = -1;

	for (size_t i = 0; i < s->n_mounts; i++) {
		const char *b = below(path, s->mounts[i].destination);

		/* the last one that covers it, as they are mounted in this order */
		if (b) {
			m = &s->mounts[i];
			rest = b;
		}
	}
	if (!m || m->kind != SPEC_MNT_BIND)
		return -ENOENT;
	src = openat(bundle_fd, m->source, O_PATH | O_CLOEXEC);
	if (src < 0)
		return -errno;
	if (!*rest)
		return TAKE_FD(src);
	return open2(src, rest, O_PATH | O_NOFOLLOW, 0,
		RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

static int connect_to(int file, struct error *e)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct timeval limit = { .tv_usec = NOTIFY_WAIT_US };
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)))
		return err_sys(e, errno, "a socket for NOTIFY_SOCKET");
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d", file);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : TAKE_FD(fd);
}

int notify_open(const struct spec *s, int bundle_fd, struct notify *n, struct error *e)
{
	const char *path = wanted(s);
	CLEAN_FD int file = path ? find(s, bundle_fd, path) : -ENOENT;
	struct stat st;

	*n = (struct notify){ .fd = -1 };
	if (file < 0 || fstat(file, &st) || !S_ISSOCK(st.st_mode))
		return 0;
	if (strrchr(path, '/') == path)
		return err_set(e, ENOTSUP,
			"config.json: process.env: NOTIFY_SOCKET=%.60s: the socket must lie in a directory of its own",
			path);
	n->fd = connect_to(file, e);
	if (n->fd >= 0) {
		n->path = path;
		return 0;
	}
	log_debug("NOTIFY_SOCKET: nobody listens: %s", err_text(n->fd));
	n->fd = -1;
	return 0;
}

/* Whether the line speaks of what only the guest knows. */
static bool inward(const char *line, size_t len)
{
	static const char *const names[] = { "MAINPID=", "MAINPIDFD=", "MAINPIDFDID=", "BARRIER=",
		"FDSTORE=", "FDSTOREREMOVE=", "FDNAME=", "FDPOLL=" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i]);

		if (len >= n && !memcmp(line, names[i], n))
			return true;
	}
	return false;
}

void notify_relay(struct notify *n, const char *text, size_t len)
{
	char out[MSG_NOTIFY_MAX];
	size_t at = 0, used = 0;

	if (n->fd < 0 || len > sizeof(out))
		return;
	while (at < len) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t line = end ? (size_t)(end - text) + 1 - at : len - at;

		if (!inward(text + at, line)) {
			memcpy(out + used, text + at, line);
			used += line;
		}
		at += line;
	}
	if (!used)
		return;
	n->full = send(n->fd, out, used, MSG_NOSIGNAL | (n->full ? MSG_DONTWAIT : 0)) < 0;
	if (n->full)
		log_guest("a message for NOTIFY_SOCKET could not be sent on: %s", err_text(errno));
}
