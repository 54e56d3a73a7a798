// SPDX-License-Identifier: Apache-2.0
/* sd_notify(3) out of the guest: the host's end. */
/*
 * How it works: the socket is looked up where the bind mount that holds it has its source, below
 * that directory and through no link, and connected to by its descriptor; that of the caller's own
 * environment is opened as it is. Messages are lines; those
 * that mean something to the guest alone go (pids and descriptors), the rest is sent as it is: the
 * receiver believes a container no more than any other sender.
 */
/* #syscalls:main sendto */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "init/proto/msg.h"
#include "oci/arena.h"
#include "oci/fsutil.h"
#include "oci/notify.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"

#define UNIX_PATH      sizeof(((struct sockaddr_un *)0)->sun_path)
#define NOTIFY_WAIT_US 100000 /* for a receiver whose queue is full; then the message is lost */

#define KEY "NOTIFY_SOCKET="

/* What the config says, or NULL. */
static const char *in_config(const struct spec *s)
{
	/* the first of several, as getenv(3) in the guest takes it */
	for (size_t i = 0; s->process.set && i < s->process.env.n; i++)
		if (!strncmp(s->process.env.v[i], KEY, sizeof(KEY) - 1))
			return s->process.env.v[i] + sizeof(KEY) - 1;
	return NULL;
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

static bool is_socket(int file)
{
	struct stat st;

	return file >= 0 && !fstat(file, &st) && S_ISSOCK(st.st_mode);
}

static int add_env(struct spec *s, char *word)
{
	struct strv *env = &s->process.env;
	char **v = arena_array(s->arena, env->n + 2, sizeof(*v));

	if (!v)
		return -ENOMEM;
	if (env->n)
		(void)memcpy(v, env->v, env->n * sizeof(*v));
	v[env->n] = word;
	v[env->n + 1] = NULL;
	*env = (struct strv){ v, env->n + 1 };
	return 0;
}

/* The caller's, which the container knows nothing of yet. */
static int open_own(struct spec *s, const char *own, struct notify *n, struct error *e)
{
	CLEAN_FD int file = own[0] == '/' ? open(own, O_PATH | O_CLOEXEC) : -ENOENT;
	char word[sizeof(KEY) + UNIX_PATH + 1];
	char *kept;

	if (own[0] != '/' || strlen(own) + sizeof("/notify") > UNIX_PATH) {
		log_warn(
			"NOTIFY_SOCKET in the environment: \"%.120s\" is not passed on, only a path of up to %zu bytes can be",
			own, UNIX_PATH - sizeof("/notify"));
		return 0;
	}
	n->fd = is_socket(file) ? connect_to(file, e) : -ENOTSOCK;
	if (n->fd < 0) {
		log_debug("NOTIFY_SOCKET in the environment: nobody listens: %s", err_text(n->fd));
		n->fd = -1;
		return 0;
	}
	(void)snprintf(word, sizeof(word), KEY "%s/notify", own);
	kept = arena_strndup(s->arena, word, strlen(word));
	if (!kept || add_env(s, kept))
		return err_sys(e, ENOMEM, "NOTIFY_SOCKET");
	n->path = kept + sizeof(KEY) - 1;
	n->caller = true;
	return 0;
}

int notify_open(struct spec *s, int bundle_fd, const char *own, struct notify *n, struct error *e)
{
	const char *path = in_config(s);
	/* an abstract address is the guest's own affair, as a network namespace's is */
	CLEAN_FD int file = path && *path == '/' ? find(s, bundle_fd, path) : -ENOENT;

	*n = (struct notify){ .fd = -1 };
	if (!path && own && *own && s->process.set)
		return open_own(s, own, n, e);
	if (!is_socket(file))
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

bool notify_says_ready(const char *text, size_t len)
{
	static const char word[] = "READY=1";

	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t line = end ? (size_t)(end - text) : len;

		if (line == sizeof(word) - 1 && !memcmp(text, word, line))
			return true;
		line = MIN(line + 1, len);
		text += line;
		len -= line;
	}
	return false;
}

void notify_tell_caller(pid_t pid)
{
	const char *own = getenv("NOTIFY_SOCKET");
	CLEAN_FD int file = own && *own == '/' ? open(own, O_PATH | O_CLOEXEC) : -ENOENT;
	CLEAN_FD int fd = is_socket(file) ? connect_to(file, NULL) : -ENOTSOCK;
	char text[64];
	int n = pid > 0 ? snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\n", (int)pid)
			: snprintf(text, sizeof(text), "READY=1\n");

	if (own && *own && (fd < 0 || send(fd, text, (size_t)n, MSG_NOSIGNAL) != n))
		log_warn(
			"NOTIFY_SOCKET in the environment: cannot say that the container is ready");
}
