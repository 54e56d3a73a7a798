// SPDX-License-Identifier: Apache-2.0
/* The descriptors behind stderr, from the caller of the runtime into the guest. */
/*
 * How it works
 *
 * What a descriptor can do is asked of the kernel, not of its owner: type and flags say which of
 * the kinds it is. Kinds travel to the agent in the process's blob, and the streams are opened
 * beside those of stdio, before the process is made.
 *
 * A socket that listens stays with the VMM. What it accepts goes to the agent by a stream of its
 * own, which the agent connects to the guest's socket: so the guest's backlog is what a client
 * waits in, and connections that come before the start are served after it.
 */
/* #syscalls:main accept4 close epoll_ctl */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "oci/morefds.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"
#include "vmm.h"

static int number(const char *what, const char *text, unsigned *n, struct error *e)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || v > PROTO_MORE_MAX)
		return err_set(e, EINVAL, "%s: \"%.40s\" is not a number up to %d", what, text,
			PROTO_MORE_MAX);
	*n += (unsigned)v;
	return 0;
}

int morefds_count(const char *text, unsigned *n, struct error *e)
{
	const char *fds = getenv("LISTEN_FDS");
	int r = 0;

	*n = 0;
	if (text)
		r = number("--preserve-fds", text, n, e);
	if (!r && fds && *fds)
		r = number("LISTEN_FDS in the environment", fds, n, e);
	if (!r && *n > PROTO_MORE_MAX)
		return err_set(e, EINVAL, "--preserve-fds and LISTEN_FDS: more than %d descriptors",
			PROTO_MORE_MAX);
	return r;
}

/* Its kind, or 0 with what it is. */
static unsigned socket_kind(int fd, const char **why)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(int), alen = sizeof(a);
	int type = 0, accepts = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM) {
		*why = "a socket that is no stream";
		return 0;
	}
	len = sizeof(int);
	if (!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) && accepts)
		return BLOB_FD_LISTEN;
	if (!getpeername(fd, (struct sockaddr *)&a, &alen))
		return BLOB_FD_SOCKET;
	*why = "a socket that is neither connected nor listens";
	return 0;
}

static unsigned kind_of(int fd, int flags, const struct stat *st, const char **why)
{
	int mode = flags & O_ACCMODE;

	*why = "of a kind that only its own kernel knows";
	if (flags & O_PATH)
		return 0;
	if (S_ISSOCK(st->st_mode))
		return socket_kind(fd, why);
	if (S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3))
		return BLOB_FD_NULL;
	if (S_ISFIFO(st->st_mode) || S_ISREG(st->st_mode)) {
		if (mode != O_RDWR)
			return mode == O_RDONLY ? BLOB_FD_IN : BLOB_FD_OUT;
		*why = S_ISREG(st->st_mode) ? "a file opened for reading and writing"
					    : "a FIFO opened for reading and writing";
	} else if (S_ISDIR(st->st_mode)) {
		*why = "a directory";
	} else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		*why = "a device";
	}
	return 0;
}

/* Of @n descriptors how many there are when LISTEN_FDS has outlived its own, in the environment of
 * a service that was activated by a socket: then it means nothing to us. */
static unsigned without_stale(unsigned n, int own)
{
	const char *text = getenv("LISTEN_FDS");
	unsigned listen = text ? (unsigned)strtoul(text, NULL, 10) : 0;

	for (unsigned i = 0; listen && i < n; i++) {
		int fd = (int)i + 3;

		if (fd != own && fcntl(fd, F_GETFD) >= 0)
			continue;
		log_warn(
			"LISTEN_FDS in the environment: descriptor %d is not open, nothing of it is passed on",
			fd);
		return n - MIN(n, listen);
	}
	return n;
}

int morefds_take(struct morefds *m, unsigned n, int own, struct error *e)
{
	const unsigned asked = n;

	n = without_stale(n, own);
	*m = (struct morefds){ .n = n };
	for (unsigned i = 0; i < n; i++) {
		int fd = (int)i + 3, flags = fcntl(fd, F_GETFL);
		const char *why;
		struct stat st;

		m->fd[i] = fd;
		if (fd == own || flags < 0 || fstat(fd, &st))
			return err_set(e, EBADF, "--preserve-fds: descriptor %d is not open", fd);
		m->kind[i] = (uint8_t)kind_of(fd, flags, &st, &why);
		if (!m->kind[i])
			return err_set(e, ENOTSUP,
				"--preserve-fds, LISTEN_FDS: descriptor %d is %s, which cannot be carried into a guest",
				fd, why);
		if (fcntl(fd, F_SETFD, FD_CLOEXEC) ||
			/* others may take a connection before us: the loop must not wait then */
			(m->kind[i] == BLOB_FD_LISTEN && fcntl(fd, F_SETFL, flags | O_NONBLOCK)))
			return err_sys(e, errno, "descriptor %d", fd);
	}
	if (n < asked)
		return 0;
	m->listen = getenv("LISTEN_FDS");
	m->names = getenv("LISTEN_FDNAMES");
	if (m->listen && !strtoul(m->listen, NULL, 10))
		m->listen = NULL;
	return 0;
}

void morefds_close(struct morefds *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		if (m->fd[i] >= 0)
			(void)close(TAKE_FD(m->fd[i]));
	}
}

int morefds_env(const struct morefds *m, struct arena *a, struct strv *env, struct error *e)
{
	const struct {
		const char *name, *value;
	} words[] = { { "LISTEN_FDS=", m->listen }, { "LISTEN_FDNAMES=", m->names },
		/* the agent puts the process's own there */
		{ "LISTEN_PID=", "1" } };
	char **v;
	size_t n = 0;

	if (!m->listen)
		return 0;
	v = arena_alloc(a, (env->n + ARRAY_SIZE(words) + 1) * sizeof(*v));
	for (size_t i = 0; v && i < env->n; i++) {
		if (strncmp(env->v[i], "LISTEN_FDS=", 11) != 0 &&
			strncmp(env->v[i], "LISTEN_FDNAMES=", 15) != 0 &&
			strncmp(env->v[i], "LISTEN_PID=", 11) != 0)
			v[n++] = env->v[i];
	}
	for (size_t i = 0; v && i < ARRAY_SIZE(words); i++) {
		size_t len;

		if (!words[i].value)
			continue;
		len = strlen(words[i].name) + strlen(words[i].value) + 1;
		v[n] = arena_alloc(a, len);
		if (!v[n])
			v = NULL;
		else
			(void)snprintf(v[n++], len, "%s%s", words[i].name, words[i].value);
	}
	if (!v)
		return err_sys(e, ENOMEM, "LISTEN_FDS");
	v[n] = NULL;
	*env = (struct strv){ v, n };
	return 0;
}

/* One at a time: the loop asks again while there are more. */
static void on_connection(struct loop_src *src, uint32_t events)
{
	struct morefds_listen *l = src->arg;
	struct morefds_serve *s = l->s;
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uint32_t id = s->next_id ? AGENT_ID_ACCEPTED | (*s->next_id)++ : 0;

	(void)events;
	if (fd < 0) {
		/* no descriptor is free, and to be asked again at once would not help */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			log_err("cannot accept connections for descriptor %u of the guest any more: %s",
				l->fd - PROTO_MORE + 3, err_text(errno));
			loop_del(s->loop, src);
			(void)close(TAKE_FD(src->fd));
		}
		return;
	}
	if (agent_accepted(s->agent, s->vm, s->proc, l->fd, fd, id))
		log_warn("a connection for the guest was lost: it has too many");
	else if (s->open)
		(*s->open)++;
}

int morefds_open(struct morefds_serve *s, struct morefds *m, uint64_t *streams)
{
	int r = 0;

	s->listen = m->n ? calloc(m->n, sizeof(*s->listen)) : NULL;
	if (m->n && !s->listen)
		r = -ENOMEM;
	for (unsigned i = 0; i < m->n && !r; i++) {
		uint32_t fd = PROTO_MORE + i;

		if (m->kind[i] == BLOB_FD_NULL)
			continue;
		if (m->kind[i] == BLOB_FD_LISTEN) {
			struct morefds_listen *l = &s->listen[s->nlisten++];

			*l = (struct morefds_listen){ .s = s, .fd = fd };
			l->src = (struct loop_src){ .fd = TAKE_FD(m->fd[i]),
				.name = "listener",
				.fn = on_connection,
				.arg = l };
			continue;
		}
		r = agent_stream_way(s->agent, s->vm, s->proc, fd, TAKE_FD(m->fd[i]),
			m->kind[i] != BLOB_FD_OUT, m->kind[i] != BLOB_FD_IN);
		if (m->kind[i] != BLOB_FD_IN)
			*streams |= STREAM_BIT(fd);
	}
	morefds_close(m);
	return r;
}

void morefds_listen(struct morefds_serve *s)
{
	for (unsigned i = 0; i < s->nlisten; i++) {
		struct loop_src *src = &s->listen[i].src;

		if (loop_add(s->loop, src, EPOLLIN)) {
			log_err("cannot watch a socket that listens");
			(void)close(TAKE_FD(src->fd));
		}
	}
}

void morefds_stop(struct morefds_serve *s)
{
	for (unsigned i = 0; i < s->nlisten; i++) {
		if (s->listen[i].src.fd >= 0) {
			loop_del(s->loop, &s->listen[i].src);
			(void)close(TAKE_FD(s->listen[i].src.fd));
		}
	}
	s->nlisten = 0;
	free(TAKE_PTR(s->listen));
}
