// SPDX-License-Identifier: Apache-2.0
/* The descriptors that a process begins with: its own ends, and the agent's. */
/*
 * How it works
 *
 * What the process gets are files of the guest: pipes, so that /dev/stdout can be reopened and
 * SIGPIPE comes as it should, one half of a socket pair for a connected socket, and for a socket
 * that listens one of the guest's own, under an abstract name that nobody has to know. The agent's
 * ends become streams (stream.c); to a socket that listens it connects itself, once for each
 * connection of the host's.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t stream_of(size_t i)
{
	return (uint32_t)(i < 3 ? i : PROTO_MORE + (i - 3));
}

void fds_close(struct fds *f)
{
	for (size_t i = 0; i < f->n; i++) {
		if (f->child[i] >= 0)
			(void)close(f->child[i]);
		if (f->ours[i] >= 0)
			(void)close(f->ours[i]);
	}
	f->n = 0;
}

static int make_null(struct agent *a, struct fds *f, size_t i)
{
	f->child[i] = fcntl(a->devnull, F_DUPFD_CLOEXEC, 3);
	return f->child[i] < 0 ? -errno : 0;
}

/* @in: the workload reads it. */
static int make_pipe(struct fds *f, size_t i, bool in)
{
	int e[2];

	if (pipe2(e, O_CLOEXEC))
		return -errno;
	f->child[i] = e[!in];
	f->ours[i] = e[in];
	return fcntl(f->ours[i], F_SETFL, O_NONBLOCK) ? -errno : 0;
}

static int make_pair(struct fds *f, size_t i)
{
	int e[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, e))
		return -errno;
	f->child[i] = e[0];
	f->ours[i] = e[1];
	return fcntl(e[1], F_SETFL, O_RDWR | O_NONBLOCK) ? -errno : 0;
}

/* The kernel chooses the name: binding the family alone asks for that. */
static int make_listener(struct fds *f, size_t i, struct proc *p)
{
	struct listen_at *at = &p->listen[p->nlisten];
	struct sockaddr_un none = { .sun_family = AF_UNIX };

	f->child[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->child[i] < 0)
		return -errno;
	at->fd = stream_of(i);
	at->len = sizeof(at->addr);
	if (bind(f->child[i], (struct sockaddr *)(void *)&none, sizeof(none.sun_family)) ||
		listen(f->child[i], AGENT_BACKLOG) ||
		getsockname(f->child[i], (struct sockaddr *)(void *)&at->addr, &at->len))
		return -errno;
	p->nlisten++;
	return 0;
}

static int make_more(struct agent *a, struct fds *f, size_t i, uint32_t kind, struct proc *p)
{
	switch ((enum blob_fd_kind)kind) {
	case BLOB_FD_IN:
	case BLOB_FD_OUT:
		return make_pipe(f, i, kind == BLOB_FD_IN);
	case BLOB_FD_SOCKET:
		return make_pair(f, i);
	case BLOB_FD_LISTEN:
		return make_listener(f, i, p);
	case BLOB_FD_NULL:
	case BLOB_FD_KINDS:
		break;
	}
	return make_null(a, f, i);
}

int fds_make(struct agent *a, struct fds *f, const struct blob_view *s, struct proc *p,
	struct fail *fail)
{
	size_t n = 3 + s->nfds;
	int err;

	memset(f, 0xff, sizeof(*f));
	f->n = n;
	if (s->nfds) {
		p->listen = calloc(s->nfds, sizeof(*p->listen));
		if (!p->listen)
			return fail_set(fail, ENOMEM, "descriptors", NULL);
	}
	for (size_t i = 0; i < n; i++) {
		if (i >= 3)
			err = make_more(a, f, i, s->fds[i - 3].kind, p);
		else if (s->p.stdio & BLOB_STDIO(i))
			err = make_pipe(f, i, i == 0);
		else
			err = make_null(a, f, i);
		if (err)
			return fail_set(fail, err, i < 3 ? "stdio" : "a descriptor", NULL);
	}
	return 0;
}

static enum stream_kind kind_of(const struct blob_view *s, size_t i)
{
	uint32_t kind = i < 3 ? (i ? BLOB_FD_OUT : BLOB_FD_IN) : s->fds[i - 3].kind;

	return kind == BLOB_FD_IN ? STREAM_IN : kind == BLOB_FD_OUT ? STREAM_OUT : STREAM_SOCKET;
}

int fds_attach(
	struct agent *a, uint32_t id, struct fds *f, const struct blob_view *s, struct fail *fail)
{
	for (size_t i = 0; i < f->n; i++) {
		struct stream *st;
		int err, fd = f->ours[i];

		if (fd < 0)
			continue;
		st = stream_get(a, id, stream_of(i));
		if (!st)
			return fail_set(fail, ENOSPC, "too many streams", NULL);
		f->ours[i] = -1;
		st->kind = kind_of(s, i);
		if (st->ended) {
			(void)close(fd); /* the host's reader is gone already */
			continue;
		}
		err = stream_set_pipe(a, st, fd);
		if (err)
			return fail_set(fail, err, "watching a descriptor", NULL);
	}
	return 0;
}
