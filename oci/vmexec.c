// SPDX-License-Identifier: Apache-2.0
/* The VMM's part of exec: a table of processes between a proxy's connection and the agent. */
/*
 * How it works
 *
 * A process is known here from its request until three things are true: the guest has told its end
 * (or that it never began), its output streams are finished (those that a background child of it
 * still holds are not waited for), and its proxy has been told and has hung up. The streams are
 * opened before the agent is asked, so that it finds them connected; they live in the vsock device
 * and end by themselves.
 *
 * A hang-up is told to the agent as SIGKILL. The entry stays until the guest has told the end, so
 * its places in the table and in the device cannot be used faster than the guest gives them back.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/proto/blob.h"
#include "oci/vmexec.h"
#include "util/cleanup.h"
#include "util/util.h"
#include "vmm.h"

/* #syscalls:main recvmsg sendto pread64 fstat close epoll_ctl */

#define ID_MAX (AGENT_ID_ACCEPTED / PROTO_FD_LIMIT - 2) /* of AGENT_ID_STREAM() */

struct vmexec_proc {
	struct vmexec_proc *next;
	struct vmexec *x;
	struct loop_src conn; /* fd -1: the proxy is gone */
	uint32_t id, seq;
	uint64_t streams_open; /* STREAM_BIT() of output that is not finished */
	struct unread unread;
	struct morefds_serve more;
	bool proxy, ended, told;
	int code;
};

void vmexec_init(struct vmexec *x, struct loop *loop, struct agent *agent, struct vmm *vm,
	struct unread_tick *tick)
{
	*x = (struct vmexec){
		.loop = loop, .agent = agent, .vm = vm, .tick = tick, .last = PROTO_PROC_INIT
	};
}

static void tell(int conn, enum exec_what what, int code, uint32_t stage, const char *text)
{
	struct exec_event v = { .what = what, .code = code, .stage = stage };

	(void)snprintf(v.text, sizeof(v.text), "%.*s", (int)sizeof(v.text) - 1, text);
	/* a proxy that is gone, or does not read two messages, shows itself by its hang-up */
	(void)send(conn, &v, sizeof(v), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void refuse(int conn, int code, const char *text)
{
	tell(conn, EXEC_FAILED, abs(code), 0, text);
	(void)close(conn);
}

static void drop(struct vmexec_proc *p)
{
	struct vmexec *x = p->x;
	struct vmexec_proc **at = &x->procs;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	x->n--;
	morefds_stop(&p->more);
	if (p->conn.fd >= 0) {
		loop_del(x->loop, &p->conn);
		(void)close(p->conn.fd);
	}
	free(p);
}

static void maybe_end(struct vmexec_proc *p)
{
	if (p->told || !p->ended || (p->streams_open && !p->unread.over))
		return;
	if (p->conn.fd < 0)
		return drop(p);
	/* until it has gone: a VMM that ends takes its proxies with it */
	tell(p->conn.fd, EXEC_ENDED, p->code, 0, "");
	p->told = true;
}

static void hang_up(struct vmexec_proc *p)
{
	struct vmexec *x = p->x;

	if (p->told)
		return drop(p);
	loop_del(x->loop, &p->conn);
	(void)close(TAKE_FD(p->conn.fd));
	/* the guest tells the end; then the entry goes */
	(void)unread_signal(&p->unread, x->agent, p->id, SIGKILL, 0, p->ended, x->tick);
}

static void set_size(struct vmexec_proc *p, uint32_t arg)
{
	struct msg_winsize w = {
		.proc = p->id, .rows = (uint16_t)(arg >> 16), .cols = (uint16_t)(arg & 0xffff)
	};

	(void)agent_send(p->x->agent, MSG_WINSIZE, &w, sizeof(w));
}

static void on_proxy(struct loop_src *src, uint32_t events)
{
	struct vmexec_proc *p = src->arg;
	int fds[CTL_MAX_FDS];
	struct ctl_req q;
	int r;

	(void)events;
	while ((r = ctl_recv(src->fd, &q, fds)) > 0) {
		for (unsigned i = 0; i < CTL_MAX_FDS; i++) {
			if (fds[i] >= 0)
				(void)close(fds[i]);
		}
		if (p->told)
			continue;
		if (q.op == CTL_EXEC_SIGNAL && q.arg >= 1 && q.arg <= 64)
			(void)unread_signal(
				&p->unread, p->x->agent, p->id, q.arg, 0, p->ended, p->x->tick);
		else if (q.op == CTL_EXEC_SIZE)
			set_size(p, q.arg);
	}
	if (r < 0)
		hang_up(p);
}

/* The blob from the proxy's memfd, with room for the head that we fill. */
static int read_blob(int fd, uint8_t **out, size_t *len)
{
	CLEAN_FREE uint8_t *buf = NULL;
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st))
		return -errno;
	/* a file whose reads do not wait, and no more than a message may hold */
	if (!S_ISREG(st.st_mode) || st.st_size <= (off_t)sizeof(struct msg_proc) ||
		st.st_size > (off_t)(MSG_MAX - sizeof(struct msg_hdr)))
		return -EINVAL;
	*len = (size_t)st.st_size;
	buf = malloc(*len);
	if (!buf)
		return -ENOMEM;
	n = pread(fd, buf, *len, 0);
	if (n != (ssize_t)*len)
		return n < 0 ? -errno : -EINVAL;
	*out = TAKE_PTR(buf);
	return 0;
}

/* Streams first, so that the agent finds them when it makes the process. */
static int open_streams(struct vmexec_proc *p, bool tty, int *fds)
{
	static const enum proto_fd plain[] = { PROTO_STDIN, PROTO_STDOUT, PROTO_STDERR };
	struct vmexec *x = p->x;
	int r;

	if (tty) {
		if (fds[1] < 0)
			return -EINVAL;
		p->streams_open = STREAM_BIT(PROTO_TTY);
		return agent_stream(x->agent, x->vm, p->id, PROTO_TTY, TAKE_FD(fds[1]));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
		if (fds[i + 1] < 0)
			return -EINVAL;
		r = agent_stream(x->agent, x->vm, p->id, plain[i], TAKE_FD(fds[i + 1]));
		if (r)
			return r;
		if (plain[i] != PROTO_STDIN)
			p->streams_open |= STREAM_BIT(plain[i]);
	}
	return 0;
}

/* The descriptors behind stderr, of the kinds at the end of the blob's file, which loses them. */
static int take_more(
	struct morefds *m, const struct ctl_req *q, int *fds, const uint8_t *blob, size_t *len)
{
	unsigned first = q->flags & EXEC_TTY ? 2 : 4;

	if (q->arg > PROTO_MORE_MAX || *len <= sizeof(struct msg_proc) + q->arg)
		return -EINVAL;
	*len -= q->arg;
	for (unsigned i = 0; i < q->arg; i++) {
		uint8_t kind = blob[*len + i];

		if (fds[first + i] < 0 || !kind || kind >= BLOB_FD_KINDS)
			return -EINVAL;
		m->kind[i] = kind;
		m->fd[i] = TAKE_FD(fds[first + i]);
		m->n++;
	}
	return 0;
}

static int begin(struct vmexec_proc *p, const struct ctl_req *q, int *fds)
{
	CLEAN(morefds_close) struct morefds more = { 0 };
	struct msg_proc head = { .proc = p->id };
	CLEAN_FREE uint8_t *blob = NULL;
	size_t len = 0;
	int r = read_blob(fds[0], &blob, &len);

	if (!r)
		r = take_more(&more, q, fds, blob, &len);
	if (!r)
		r = open_streams(p, q->flags & EXEC_TTY, fds);
	if (!r)
		r = morefds_open(&p->more, &more, &p->streams_open);
	if (r)
		return r;
	(void)memcpy(blob, &head, sizeof(head));
	p->seq = agent_send(p->x->agent, MSG_EXEC, blob, len);
	return p->seq ? 0 : -ENOMEM;
}

static const char *not_now(const struct vmexec *x, enum phase phase, uint32_t flags)
{
	if (phase == PHASE_PAUSED && !(flags & EXEC_PAUSED))
		return "cannot exec in a paused container";
	if (phase != PHASE_CREATED && phase != PHASE_RUNNING && phase != PHASE_PAUSED)
		return "the container is not running";
	if (x->last >= ID_MAX)
		return "this container has had too many execs";
	return NULL;
}

void vmexec_request(struct vmexec *x, enum phase phase, int conn, const struct ctl_req *q, int *fds)
{
	const char *why = not_now(x, phase, q->flags);
	struct vmexec_proc *p;
	char text[80];
	int r;

	if (!why && x->n >= EXEC_MAX) {
		(void)snprintf(text, sizeof(text),
			"%d execs run in the container, more are not possible", EXEC_MAX);
		why = text;
	}
	if (why)
		return refuse(conn, EBUSY, why);
	p = calloc(1, sizeof(*p));
	if (!p)
		return refuse(conn, ENOMEM, err_text(ENOMEM));
	p->x = x;
	p->id = ++x->last;
	p->proxy = q->flags & EXEC_PROXY;
	p->conn = (struct loop_src){ .fd = conn, .name = "exec", .fn = on_proxy, .arg = p };
	p->more = (struct morefds_serve){
		.loop = x->loop, .agent = x->agent, .vm = x->vm, .proc = p->id
	};
	p->next = x->procs;
	x->procs = p;
	x->n++;
	r = begin(p, q, fds);
	if (!r)
		r = loop_add(x->loop, &p->conn, EPOLLIN);
	if (!r)
		return;
	(void)snprintf(text, sizeof(text), "cannot exec: %s", err_text(r));
	tell(conn, EXEC_FAILED, abs(r), 0, text);
	/* a request without a blob: the guest refuses it, and with it the streams that were opened
	 */
	if (!p->seq)
		(void)agent_send_proc(x->agent, MSG_EXEC, p->id);
	else
		(void)agent_signal(x->agent, p->id, SIGKILL, 0);
	drop(p);
}

static void answer_ps(int conn, int code, const char *text)
{
	struct ctl_reply r = { .code = abs(code) };

	(void)snprintf(r.text, sizeof(r.text), "%.*s", (int)sizeof(r.text) - 1, text);
	(void)send(conn, &r, sizeof(r), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A place whose asker still waits; one that has hung up needs none, whatever the guest says. */
static bool ps_taken(struct vmexec *x, unsigned i)
{
	char b;

	if (!x->ps[i].seq)
		return false;
	if (recv(x->ps[i].conn, &b, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN)
		return true;
	x->ps[i].seq = 0;
	(void)close(x->ps[i].conn);
	return false;
}

void vmexec_ps(struct vmexec *x, int conn, const struct ctl_req *q)
{
	struct msg_ps m = { .after = q->arg };

	for (unsigned i = 0; i < PS_MAX; i++) {
		if (ps_taken(x, i))
			continue;
		x->ps[i].seq = agent_send(x->agent, MSG_PS, &m, sizeof(m));
		if (!x->ps[i].seq)
			break;
		x->ps[i].conn = conn;
		return;
	}
	answer_ps(conn, EBUSY, "the container's processes are being asked for already");
	(void)close(conn);
}

static void ps_reply(struct vmexec *x, const struct agent_reply *r)
{
	for (unsigned i = 0; i < PS_MAX; i++) {
		if (x->ps[i].seq != r->seq)
			continue;
		x->ps[i].seq = 0;
		answer_ps(x->ps[i].conn, r->status, r->text);
		if (!r->status)
			(void)send(x->ps[i].conn, r->payload, r->len, MSG_DONTWAIT | MSG_NOSIGNAL);
		(void)close(x->ps[i].conn);
		return;
	}
}

bool vmexec_reply(struct vmexec *x, const struct agent_reply *r)
{
	struct vmexec_proc *p = x->procs;

	if (r->type == MSG_PS) {
		ps_reply(x, r);
		return true;
	}
	if (r->type == MSG_SIGNAL) {
		while (p && !unread_reply(&p->unread, r, x->tick))
			p = p->next;
		return p;
	}
	if (r->type != MSG_EXEC)
		return false;
	while (p && p->seq != r->seq)
		p = p->next;
	if (!p || p->told)
		return true;
	if (!r->status) {
		morefds_listen(&p->more);
		if (p->conn.fd >= 0)
			tell(p->conn.fd, EXEC_STARTED, 0, 0, "");
		return true;
	}
	if (p->conn.fd >= 0)
		tell(p->conn.fd, EXEC_FAILED, abs(r->status), r->stage, r->text);
	drop(p);
	return true;
}

uint64_t exit_open(uint32_t flags)
{
	return (flags & MSG_EXIT_OPEN_STDOUT ? STREAM_BIT(PROTO_STDOUT) : 0) |
		(flags & MSG_EXIT_OPEN_STDERR ? STREAM_BIT(PROTO_STDERR) : 0) |
		(flags & MSG_EXIT_OPEN_MORE ? ~(STREAM_BIT(PROTO_MORE) - 1) : 0);
}

static struct vmexec_proc *find(struct vmexec *x, uint32_t id)
{
	struct vmexec_proc *p = x->procs;

	while (p && p->id != id)
		p = p->next;
	return p;
}

bool vmexec_tick(struct vmexec *x)
{
	struct vmexec_proc *next;
	bool more = false;

	for (struct vmexec_proc *p = x->procs; p; p = next) {
		next = p->next;
		more |= unread_count(&p->unread, x->agent, p->id, p->ended);
		maybe_end(p);
	}
	return more;
}

void vmexec_exited(struct vmexec *x, const struct msg_exit *m)
{
	struct vmexec_proc *p = find(x, m->proc);

	if (!p || p->ended)
		return;
	p->ended = true;
	p->code = m->signo ? 128 + (int)(m->signo & 0x7f) : (int)(m->code & 0xff);
	p->streams_open &= ~exit_open(m->flags);
	morefds_stop(&p->more);
	maybe_end(p);
}

void vmexec_done(struct vmexec *x, uint32_t id)
{
	struct vmexec_proc *p = AGENT_ID_IS_STREAM(id) ? find(x, AGENT_ID_PROC(id)) : NULL;

	if (!p)
		return;
	p->streams_open &= ~STREAM_BIT(AGENT_ID_FD(id));
	maybe_end(p);
}

bool vmexec_leaving(const struct vmexec *x)
{
	const struct vmexec_proc *p = x->procs;

	while (p && !(p->proxy && p->ended && p->conn.fd >= 0))
		p = p->next;
	return p;
}
