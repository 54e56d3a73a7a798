// SPDX-License-Identifier: Apache-2.0
/* The agent's loop: epoll, the listener, and the opening of each connection. */
/*
 * How it works
 *
 * Every event source is a struct ev with a function, and epoll hands back its address. Events of
 * one round may name an object that an earlier one of the same round ended, so nothing is freed
 * while the round runs: closing only clears ev.fn and marks the object, and the gc functions free
 * it after the round. No function here keeps a connection or process beyond that point.
 *
 * A connection begins as bytes for one struct proto_open and becomes either a control connection or
 * the socket of a stream; the opening is read to the byte so that what follows it is still in the
 * socket for its new reader. The first control connection brings the token that all later ones must
 * show: it is the runtime's, as nothing of the container runs before that.
 *
 * Children are reaped by signalfd, in the same loop, so process state needs no locks.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUND 64 /* events of one epoll_wait() */

struct vsock_addr {
	unsigned short family, reserved;
	unsigned int port, cid;
	unsigned char flags, zero[3];
};

#define HOST_CID 2

int fail_set(struct fail *f, int err, const char *what, const char *name)
{
	const char *parts[] = { what, name ? ": " : "", name ? name : "", ": ",
		strerror(abs(err)) };
	size_t n = 0;

	if (f->err)
		return f->err;
	f->err = err ? -abs(err) : -EIO;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		for (const char *p = parts[i]; *p && n < sizeof(f->text) - 1; p++)
			f->text[n++] = *p;
	}
	f->text[n] = 0;
	return f->err;
}

int agent_watch(struct agent *a, struct ev *ev, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = ev };

	return epoll_ctl(a->ep, EPOLL_CTL_ADD, ev->fd, &e) ? -errno : 0;
}

void agent_rewatch(struct agent *a, struct ev *ev, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = ev };

	(void)epoll_ctl(a->ep, EPOLL_CTL_MOD, ev->fd, &e);
}

void agent_unwatch(struct agent *a, struct ev *ev)
{
	if (ev->fd < 0)
		return;
	/* A child may hold a copy of the description, so closing alone does not end the watch. */
	(void)epoll_ctl(a->ep, EPOLL_CTL_DEL, ev->fd, NULL);
	(void)close(ev->fd);
	ev->fd = -1;
	ev->fn = NULL;
}

void conn_close(struct agent *a, struct conn *c)
{
	if (c->dead)
		return;
	c->dead = true;
	agent_unwatch(a, &c->ev);
	proc_conn_gone(a, c);
	notify_resume(a);
	if (a->sync_to == c)
		a->sync_to = NULL;
	if (a->dhcp_to == c)
		a->dhcp_to = NULL;
}

static void conn_gc(struct agent *a)
{
	struct conn **at = &a->conns, *c;

	while ((c = *at)) {
		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		a->nconns--;
		msg_rx_free(&c->rx);
		free(c->out);
		free(c);
	}
}

static void conn_opened(struct agent *a, struct conn *c);

/* Waits for the token: its opening is whole. */
static bool conn_is_early(const struct conn *c)
{
	return !c->dead && !c->control && c->got == sizeof(c->u.bytes);
}

/* The token is known now: what waited for it goes on. */
static void conn_opened_early(struct agent *a)
{
	for (struct conn *c = a->conns; c; c = c->next) {
		if (conn_is_early(c))
			conn_opened(a, c);
	}
}

/* The host sent the control connection's opening first, but that socket was accepted and read a
 * moment before it came: this one waits for it. */
static void conn_wait(struct agent *a, struct conn *c)
{
	unsigned n = 0;

	for (const struct conn *o = a->conns; o; o = o->next)
		n += conn_is_early(o);
	/* @c is among them. Room must be left for the control connection. */
	if (n > AGENT_MAX_EARLY)
		conn_close(a, c);
	else
		agent_rewatch(a, &c->ev, 0);
}

static const struct listen_at *listen_find(const struct proc *p, uint32_t fd)
{
	for (size_t i = 0; p && i < p->nlisten; i++) {
		if (p->listen[i].fd == fd)
			return &p->listen[i];
	}
	return NULL;
}

/* The socket leaves the connection, which ends. */
static int conn_take_fd(struct agent *a, struct conn *c)
{
	int fd = c->ev.fd;

	(void)epoll_ctl(a->ep, EPOLL_CTL_DEL, fd, NULL);
	c->ev.fd = -1;
	conn_close(a, c);
	return fd;
}

static void conn_to_stream(struct agent *a, struct conn *c)
{
	const struct proto_open o = c->u.open;
	struct proc *p = proc_find(a, o.proc);
	const struct listen_at *at = listen_find(p, o.fd);
	struct stream *s;

	if (at) {
		stream_accepted(a, o.proc, at, conn_take_fd(a, c));
		return;
	}
	s = stream_find(a, o.proc, o.fd);
	/* of a process that is over, or was refused: nobody would ever end it */
	if (!s && (o.proc > a->last_proc || p))
		s = stream_get(a, o.proc, o.fd);
	if (!s || s->ended || s->sock.fd >= 0 || o.offset != s->bytes)
		conn_close(a, c);
	else
		(void)stream_set_sock(a, s, conn_take_fd(a, c));
}

/* The opening is whole: the connection becomes a control connection, or its socket goes to a
 * stream. */
static void conn_opened(struct agent *a, struct conn *c)
{
	const struct proto_open *o = &c->u.open;
	bool first = false;

	if (proto_open_check(o)) {
		conn_close(a, c);
		return;
	}
	if (!a->have_token && o->kind != PROTO_CONTROL) {
		conn_wait(a, c);
		return;
	}
	if (!a->have_token) {
		memcpy(a->token, o->token, sizeof(a->token));
		a->have_token = true;
		first = true;
	} else if (!proto_token_eq(a->token, o->token)) {
		conn_close(a, c);
		return;
	}
	if (o->kind == PROTO_CONTROL) {
		c->control = true;
		msg_rx_init(&c->rx, MSG_MAX, 0);
		c->ev.fn = ctrl_event;
		if (first)
			conn_opened_early(a);
		return;
	}
	conn_to_stream(a, c);
}

static void conn_opening(struct agent *a, struct ev *ev, uint32_t events)
{
	struct conn *c = ev_owner(ev, struct conn, ev);
	ssize_t n;

	(void)events;
	/* Not one byte more than the opening: what follows belongs to whoever takes the socket. */
	n = recv(ev->fd, c->u.bytes + c->got, sizeof(c->u.bytes) - c->got, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(a, c);
		return;
	}
	c->got += (size_t)n;
	if (c->got == sizeof(c->u.bytes))
		conn_opened(a, c);
}

static void conn_add(struct agent *a, int fd)
{
	struct conn *c = a->nconns < AGENT_MAX_CONNS ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		(void)close(fd);
		return;
	}
	c->ev.fd = fd;
	c->ev.fn = conn_opening;
	if (agent_watch(a, &c->ev, EPOLLIN)) {
		(void)close(fd);
		free(c);
		return;
	}
	c->next = a->conns;
	a->conns = c;
	a->nconns++;
	conn_opening(a, &c->ev, EPOLLIN); /* most often it is there already */
}

void conn_accept_all(struct agent *a)
{
	for (;;) {
		struct vsock_addr sa;
		socklen_t len = sizeof(sa);
		int fd;

		memset(&sa, 0, sizeof(sa));
		if (a->cfg.vsock)
			fd = accept4(a->listener.fd, (struct sockaddr *)(void *)&sa, &len,
				SOCK_CLOEXEC | SOCK_NONBLOCK);
		else
			fd = accept4(a->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EINTR || errno == ECONNABORTED)
				continue;
			return;
		}
		if (a->cfg.vsock && sa.cid != HOST_CID)
			(void)close(fd);
		else
			conn_add(a, fd);
	}
}

static void listener_event(struct agent *a, struct ev *ev, uint32_t events)
{
	(void)ev;
	(void)events;
	conn_accept_all(a);
}

static void signal_event(struct agent *a, struct ev *ev, uint32_t events)
{
	struct signalfd_siginfo si[8];

	(void)events;
	while (read(ev->fd, si, sizeof(si)) > 0)
		;
	proc_reap(a);
}

int agent_init(struct agent *a, const struct agent_cfg *cfg, int listener)
{
	sigset_t set;
	int err;

	memset(a, 0, sizeof(*a));
	a->cfg = *cfg;
	a->init_pidfd = a->cg_root = a->cg_fd = a->cg_events.fd = a->sig.fd = a->notify.fd = -1;
	a->listener = (struct ev){ listener_event, listener };
	a->sig.fn = signal_event;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	a->ep = epoll_create1(EPOLL_CLOEXEC);
	a->sig.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	a->own_pidns = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	a->devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (a->ep < 0 || a->sig.fd < 0 || a->own_pidns < 0 || a->devnull < 0)
		return -errno;
	if (cfg->cgroup) {
		a->cg_root = open(cfg->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (a->cg_root < 0)
			return -errno;
	}
	err = agent_watch(a, &a->sig, EPOLLIN);
	return err ? err : agent_watch(a, &a->listener, EPOLLIN);
}

int agent_run(struct agent *a)
{
	struct epoll_event e[ROUND];
	bool again = false;

	while (!a->stop) {
		int n = epoll_wait(a->ep, e, ROUND, again ? 0 : -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct ev *ev = e[i].data.ptr;

			if (ev->fn)
				ev->fn(a, ev, e[i].events);
		}
		again = stream_pump_again(a);
		conn_gc(a);
		proc_gc(a);
		stream_gc(a);
	}
	return 0;
}
