// SPDX-License-Identifier: Apache-2.0
/* Carries bytes between a vsock connection and a pipe, socket or terminal of the workload. */

/*
 * How it works
 *
 * The workload gets real pipes, so that /dev/stdout can be reopened, fstat() says FIFO, and SIGPIPE
 * comes as it should. The agent moves the bytes with splice(). Both ends are watched
 * edge-triggered, and each edge tries again until neither end can go on: that splice()'s EAGAIN
 * does not tell which end was short then does not matter. A stream that never runs dry is put back
 * after BURST calls and goes on in the next round of the loop, so that one writer cannot keep the
 * others waiting.
 *
 * A terminal goes through two small buffers instead, and so does a socket, and a pipe whose socket
 * cannot splice.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST  32
#define CHUNK  65536
#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

enum moved {
	DRY,
	MORE,
	SRC_END,
	DST_GONE
};

struct stream *stream_find(struct agent *a, uint32_t proc, uint32_t fd)
{
	for (struct stream *s = a->streams; s; s = s->next) {
		if (!s->dead && s->proc == proc && s->fd == fd)
			return s;
	}
	return NULL;
}

struct stream *stream_get(struct agent *a, uint32_t proc, uint32_t fd)
{
	struct stream *s = fd == STREAM_ACCEPTED ? NULL : stream_find(a, proc, fd);

	if (s)
		return s;
	s = a->nstreams < AGENT_MAX_STREAMS ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return NULL;
	s->proc = proc;
	s->fd = fd;
	s->kind = fd == PROTO_STDIN ? STREAM_IN
		: fd == PROTO_TTY   ? STREAM_TTY
		: fd < PROTO_MORE   ? STREAM_OUT
				    : STREAM_UNKNOWN;
	s->sock.fd = s->pipe.fd = -1;
	s->next = a->streams;
	a->streams = s;
	a->nstreams++;
	return s;
}

static void end_sock(struct agent *a, struct stream *s)
{
	agent_unwatch(a, &s->sock);
	s->ended = true;
}

static void end_all(struct agent *a, struct stream *s)
{
	agent_unwatch(a, &s->pipe);
	end_sock(a, s);
}

/* One direction through a buffer. *@count grows by what reached @dst. */
static enum moved copy(int src, int dst, struct sbuf *b, uint64_t *count)
{
	if (!b->p) {
		b->p = malloc(AGENT_STREAM_BUF);
		if (!b->p)
			return DST_GONE;
	}
	for (int i = 0; i < BURST; i++) {
		ssize_t n;

		if (!b->len) {
			b->off = 0;
			n = read(src, b->p, AGENT_STREAM_BUF);
			if (n < 0 && errno == EINTR)
				continue;
			/* A terminal without a slave says EIO; it may be opened again. */
			if (n < 0)
				return errno == EAGAIN || errno == EIO ? DRY : SRC_END;
			if (!n)
				return SRC_END;
			b->len = (size_t)n;
		}
		n = write(dst, b->p + b->off, b->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? DRY : DST_GONE;
		b->off += (size_t)n;
		b->len -= (size_t)n;
		if (count)
			*count += (uint64_t)n;
	}
	return MORE;
}

static enum moved move(struct stream *s, int src, int dst)
{
	for (int i = 0; i < BURST && !s->no_splice; i++) {
		ssize_t n = splice(src, NULL, dst, NULL, CHUNK, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

		if (n > 0) {
			s->bytes += (uint64_t)n;
			continue;
		}
		if (!n)
			return SRC_END;
		if (errno == EAGAIN)
			return DRY;
		if (errno == EINVAL || errno == ENOSYS)
			s->no_splice = true;
		else if (errno != EINTR)
			/* Which end it was is known by the direction: a pipe that we read cannot
			 * fail. */
			return (errno == ECONNRESET || errno == ENOTCONN) && s->kind == STREAM_IN
				? SRC_END
				: DST_GONE;
	}
	return s->no_splice ? copy(src, dst, &s->out, &s->bytes) : MORE;
}

static void pump_in(struct agent *a, struct stream *s)
{
	enum moved m = move(s, s->sock.fd, s->pipe.fd);

	s->again = m == MORE;
	if (m == SRC_END) {
		end_all(a, s);
	} else if (m == DST_GONE) {
		/* The host learns at once, and from then on gets EPIPE; the socket lives until it
		 * closes. */
		agent_unwatch(a, &s->pipe);
		(void)shutdown(s->sock.fd, SHUT_RD);
		s->ended = true;
	}
}

static void pump_out(struct agent *a, struct stream *s)
{
	enum moved m = move(s, s->pipe.fd, s->sock.fd);

	s->again = m == MORE;
	if (m == SRC_END) {
		/* Only our direction: a close could overtake bytes that the host has not taken yet.
		 */
		agent_unwatch(a, &s->pipe);
		(void)shutdown(s->sock.fd, SHUT_WR);
		s->ended = true;
	} else if (m == DST_GONE) {
		end_all(a, s);
	}
}

static void pump_tty(struct agent *a, struct stream *s)
{
	enum moved in = DRY, out;

	out = copy(s->pipe.fd, s->sock.fd, &s->out, &s->bytes);
	if (out == DST_GONE) {
		end_all(a, s);
		return;
	}
	if (!s->in_eof) {
		in = copy(s->sock.fd, s->pipe.fd, &s->in, NULL);
		if (in == SRC_END)
			s->in_eof = true;
	}
	s->again = in == MORE || out == MORE;
}

static bool hung_up(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) == 1;
}

/* Either end may end its writing by itself. The connection is closed when the host has, so that
 * the close overtakes nothing. */
static void pump_socket(struct agent *a, struct stream *s)
{
	enum moved in = DRY, out = DRY;

	if (!s->out_eof)
		out = copy(s->pipe.fd, s->sock.fd, &s->out, &s->bytes);
	if (out == SRC_END)
		(void)shutdown(s->sock.fd, SHUT_WR);
	else if (out == DST_GONE)
		(void)shutdown(s->pipe.fd, SHUT_RD);
	s->out_eof = s->out_eof || out == SRC_END || out == DST_GONE;
	if (!s->in_eof)
		in = copy(s->sock.fd, s->pipe.fd, &s->in, NULL);
	if (in == SRC_END)
		(void)shutdown(s->pipe.fd, SHUT_WR);
	else if (in == DST_GONE)
		(void)shutdown(s->sock.fd, SHUT_RD);
	s->in_eof = s->in_eof || in == SRC_END || in == DST_GONE;
	/* closed rather than shut: a client that says nothing would keep the stream for ever */
	if (!s->in_eof && s->out_eof && hung_up(s->pipe.fd)) {
		(void)shutdown(s->sock.fd, SHUT_RD);
		s->in_eof = true;
	}
	s->again = in == MORE || out == MORE;
	if (!s->in_eof || !s->out_eof)
		return;
	agent_unwatch(a, &s->pipe);
	s->ended = true;
	if (hung_up(s->sock.fd))
		end_sock(a, s);
}

static void pump(struct agent *a, struct stream *s)
{
	s->again = false;
	if (s->ended || s->sock.fd < 0 || s->pipe.fd < 0)
		return;
	if (s->kind == STREAM_TTY)
		pump_tty(a, s);
	else if (s->kind == STREAM_SOCKET)
		pump_socket(a, s);
	else if (s->kind == STREAM_IN)
		pump_in(a, s);
	else
		pump_out(a, s);
}

static void sock_event(struct agent *a, struct ev *ev, uint32_t events)
{
	struct stream *s = ev_owner(ev, struct stream, sock);
	bool gone = events & (EPOLLHUP | EPOLLERR);

	/* Nothing ever comes in on an output stream, so the end of that direction says that the
	 * reader is gone. */
	if (s->kind == STREAM_OUT)
		gone = gone || events & EPOLLRDHUP;
	else if (s->kind != STREAM_TTY && !s->ended && s->pipe.fd < 0)
		gone = false; /* its bytes wait for the process */
	if (s->ended || (gone && (s->kind == STREAM_OUT || s->kind == STREAM_TTY))) {
		if (gone)
			end_all(a, s);
	} else {
		pump(a, s);
	}
	proc_maybe_exit(a, s->proc);
}

static void pipe_event(struct agent *a, struct ev *ev, uint32_t events)
{
	struct stream *s = ev_owner(ev, struct stream, pipe);

	if (s->kind == STREAM_IN && events & EPOLLERR) {
		agent_unwatch(a, &s->pipe);
		if (s->sock.fd >= 0)
			(void)shutdown(s->sock.fd, SHUT_RD);
		s->ended = true;
	} else if (s->sock.fd < 0 && events & EPOLLHUP && s->kind != STREAM_IN) {
		return; /* bytes may be in it: they wait for the connection */
	} else {
		pump(a, s);
	}
	proc_maybe_exit(a, s->proc);
}

static int set_fd(struct agent *a, struct stream *s, struct ev *ev, int fd,
	void (*fn)(struct agent *a, struct ev *ev, uint32_t events))
{
	int err;

	ev->fd = fd;
	ev->fn = fn;
	err = agent_watch(a, ev, EVENTS);
	if (err) {
		end_all(a, s);
		return err;
	}
	return 0; /* adding to epoll reports what is ready: the first edge pumps */
}

int stream_set_sock(struct agent *a, struct stream *s, int fd)
{
	return set_fd(a, s, &s->sock, fd, sock_event);
}

int stream_set_pipe(struct agent *a, struct stream *s, int fd)
{
	return set_fd(a, s, &s->pipe, fd, pipe_event);
}

void stream_accepted(struct agent *a, uint32_t proc, const struct listen_at *at, int sock)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stream *s = NULL;

	/* a full backlog refuses, as it would the host's client */
	if (fd >= 0 && !connect(fd, (const struct sockaddr *)(const void *)&at->addr, at->len))
		s = stream_get(a, proc, STREAM_ACCEPTED);
	if (!s) {
		if (fd >= 0)
			(void)close(fd);
		(void)close(sock);
		return;
	}
	s->kind = STREAM_SOCKET;
	if (stream_set_sock(a, s, sock))
		(void)close(fd);
	else
		(void)stream_set_pipe(a, s, fd);
}

bool stream_drained(struct agent *a, struct stream *s)
{
	int n = 0;

	if (s->kind == STREAM_IN || s->ended || s->pipe.fd < 0)
		return true;
	/* More than one process may write on: what is in the pipe now is what the exited one can
	 * have left. */
	pump(a, s);
	if (s->ended || s->pipe.fd < 0 || s->out_eof)
		return true;
	if (s->again || s->out.len)
		return false;
	if (s->kind == STREAM_TTY && s->sock.fd >= 0)
		return true; /* the read of a master flushes, and it had nothing */
	return !ioctl(s->pipe.fd, FIONREAD, &n) && !n;
}

void stream_abandon(struct agent *a, uint32_t proc)
{
	for (struct stream *s = a->streams; s; s = s->next) {
		if (!s->dead && s->proc == proc && s->kind == STREAM_OUT)
			end_all(a, s);
	}
}

void stream_finish(struct agent *a, uint32_t proc)
{
	struct stream *s;

	for (s = a->streams; s; s = s->next) {
		if (!s->dead && s->proc == proc && s->kind == STREAM_IN)
			end_all(a, s);
	}
	s = stream_find(a, proc, PROTO_TTY);
	if (s && !s->ended) {
		agent_unwatch(a, &s->pipe);
		/* both: the host holds its side of the terminal until it is told that nobody will
		 * take input any more */
		if (s->sock.fd >= 0)
			(void)shutdown(s->sock.fd, SHUT_RDWR);
		s->ended = true;
	}
}

void stream_drop_proc(struct agent *a, uint32_t proc)
{
	for (struct stream *s = a->streams; s; s = s->next) {
		if (s->proc == proc) {
			end_all(a, s);
			s->dead = true;
		}
	}
}

bool stream_pump_again(struct agent *a)
{
	bool left = false;

	for (struct stream *s = a->streams; s; s = s->next) {
		if (!s->again)
			continue;
		pump(a, s);
		if (!s->again)
			proc_maybe_exit(a, s->proc);
		left = left || s->again;
	}
	return left;
}

void stream_gc(struct agent *a)
{
	struct stream **at = &a->streams, *s;

	while ((s = *at)) {
		/* An ended stream stays for its byte count until its process was reported. */
		bool over = s->dead || (s->ended && s->sock.fd < 0 && !proc_find(a, s->proc));

		if (!over) {
			at = &s->next;
			continue;
		}
		*at = s->next;
		a->nstreams--;
		agent_unwatch(a, &s->pipe);
		agent_unwatch(a, &s->sock);
		free(s->in.p);
		free(s->out.p);
		free(s);
	}
}
