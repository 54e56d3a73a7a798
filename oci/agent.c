// SPDX-License-Identifier: Apache-2.0
/* The host's half of the conversation with the guest's agent. */
/*
 * How it works
 *
 * One end of a socket pair goes to the vsock device, which splices it to a stream to the agent as
 * soon as the guest has knocked; the other end is ours. HELLO and what follows are written at once:
 * they wait in the socket, so that no round trip is lost while the guest boots.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "oci/agent.h"
#include "util/cleanup.h"
#include "util/util.h"
#include "util/log.h"
#include "vmm.h"

#define ERRNO_MAX 4095 /* the kernel's, include/linux/err.h */

static void agent_lost(struct agent *a, const char *why)
{
	agent_close(a);
	a->ops->lost(a->arg, why);
}

static bool flush(struct agent *a)
{
	while (a->out_at < a->out_len) {
		ssize_t n = send(a->src.fd, a->out + a->out_at, a->out_len - a->out_at,
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return false;
		a->out_at += (size_t)n;
	}
	if (a->out_at == a->out_len)
		a->out_at = a->out_len = 0;
	(void)loop_mod(a->loop, &a->src, EPOLLIN | (a->out_len ? EPOLLOUT : 0U));
	return true;
}

static void handle_reply(struct agent *a, const struct msg_hdr *h, const uint8_t *payload)
{
	struct agent_reply r = { .type = h->type, .seq = h->seq, .status = h->status, .text = "" };
	char text[MSG_TEXT_MAX + 1];

	if (!h->status) {
		r.payload = payload;
		r.len = h->len - sizeof(*h);
	}

	/* an errno, or none: nothing else is ever negated or printed */
	if (h->status > 0 || h->status < -ERRNO_MAX)
		return agent_lost(a, "the agent sent a malformed error");
	if (h->status < 0) {
		if (msg_text(h, payload, &r.stage, text))
			return agent_lost(a, "the agent sent a malformed error");
		r.text = text;
	} else if (h->type == MSG_HELLO) {
		struct msg_hello_reply hello;

		if (msg_take(h, payload, &hello, sizeof(hello), NULL, NULL) ||
			hello.version != PROTO_VERSION)
			return agent_lost(a, "the agent speaks another version");
		a->up = true;
		a->hello_ns[0] = hello.started_ns;
		a->hello_ns[1] = hello.ready_ns;
		a->hello_ns[2] = hello.now_ns;
	}
	a->ops->reply(a->arg, &r);
}

static void handle(struct agent *a, const struct msg_hdr *h, const uint8_t *payload)
{
	char text[MSG_TEXT_MAX + 1];
	struct msg_exit x;
	struct msg_oom o;

	if (h->flags & MSG_F_REPLY)
		return handle_reply(a, h, payload);
	switch (h->type) {
	case MSG_EXIT:
		if (msg_take(h, payload, &x, sizeof(x), NULL, NULL))
			return agent_lost(a, "the agent sent a malformed exit");
		return a->ops->exited(a->arg, &x);
	case MSG_OOM:
		if (msg_take(h, payload, &o, sizeof(o), NULL, NULL))
			return agent_lost(a, "the agent sent a malformed OOM event");
		return a->ops->oom(a->arg, &o);
	case MSG_NOTIFY:
		if (a->ops->notify)
			a->ops->notify(a->arg, (const char *)payload, h->len - sizeof(*h));
		return;
	case MSG_LOG:
		if (!msg_text(h, payload, NULL, text))
			log_guest("guest: %s", text);
		return;
	default:
		return;
	}
}

static void on_ready(struct loop_src *src, uint32_t events)
{
	struct agent *a = src->arg;
	const uint8_t *payload;
	struct msg_hdr h;
	size_t room;
	ssize_t n;
	void *to;
	int r;

	if (events & EPOLLOUT && !flush(a))
		return agent_lost(a, "the agent went away");
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	to = msg_rx_space(&a->rx, &room);
	n = to ? recv(src->fd, to, room, MSG_DONTWAIT) : -1;
	if (n < 0 && to && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		return agent_lost(a, "the agent went away");
	msg_rx_add(&a->rx, (size_t)n);
	while ((r = msg_rx_next(&a->rx, &h, &payload)) == 1) {
		handle(a, &h, payload);
		if (a->src.fd < 0)
			return;
	}
	if (r < 0)
		agent_lost(a, "the agent sent a malformed message");
}

static int queue(struct agent *a, const void *p, size_t n)
{
	if (a->out_len + n > a->out_cap) {
		size_t cap = MAX(a->out_cap * 2, a->out_len + n);
		uint8_t *bigger = realloc(a->out, cap);

		if (!bigger)
			return -ENOMEM;
		a->out = bigger;
		a->out_cap = cap;
	}
	if (n)
		(void)memcpy(a->out + a->out_len, p, n);
	a->out_len += n;
	return 0;
}

uint32_t agent_send(struct agent *a, enum msg_type type, const void *payload, size_t len)
{
	struct msg_hdr h = { .len = (uint32_t)(sizeof(h) + len), .type = (uint16_t)type };

	if (a->src.fd < 0 || len > MSG_MAX - sizeof(h))
		return 0;
	h.seq = ++a->seq ? a->seq : ++a->seq;
	if (queue(a, &h, sizeof(h)))
		return 0;
	if (queue(a, payload, len)) {
		a->out_len -= sizeof(h);
		return 0;
	}
	/* a peer that is gone shows itself on the read side */
	(void)flush(a);
	return h.seq;
}

uint32_t agent_send_proc(struct agent *a, enum msg_type type, uint32_t proc)
{
	struct msg_proc p = { .proc = proc };

	return agent_send(a, type, &p, sizeof(p));
}

uint32_t agent_signal(struct agent *a, uint32_t proc, uint32_t signo, uint32_t flags)
{
	struct msg_signal s = { .proc = proc, .signo = signo, .flags = flags };

	return agent_send(a, MSG_SIGNAL, &s, sizeof(s));
}

static uint64_t realtime_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
}

uint32_t agent_resumed(struct agent *a)
{
	struct msg_time t = { .realtime_ns = realtime_ns() };

	return agent_send(a, MSG_RESUMED, &t, sizeof(t));
}

static int say_hello(struct agent *a)
{
	struct msg_time t = { .realtime_ns = realtime_ns(), .flags = MSG_TIME_RESEED };

	if (getrandom(t.entropy, sizeof(t.entropy), 0) != (ssize_t)sizeof(t.entropy))
		return -errno;
	return agent_send(a, MSG_HELLO, &t, sizeof(t)) ? 0 : -ENOMEM;
}

int agent_open(struct agent *a, struct loop *loop, struct vmm *vm, const struct agent_ops *ops,
	void *arg, struct error *e)
{
	struct proto_open o;
	int sv[2], r;

	*a = (struct agent){ .loop = loop, .ops = ops, .arg = arg };
	a->src = (struct loop_src){ .fd = -1, .name = "agent", .fn = on_ready, .arg = a };
	msg_rx_init(&a->rx, MSG_MAX_TO_HOST, 1);
	if (getrandom(a->token, sizeof(a->token), 0) != (ssize_t)sizeof(a->token))
		return err_sys(e, errno, "getrandom");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv))
		return err_sys(e, errno, "socketpair");
	a->src.fd = sv[0];
	proto_open_fill(&o, PROTO_CONTROL, a->token, 0, 0);
	r = vmm_vsock_connect(vm, PROTO_AGENT_PORT, sv[1], sv[1], &o, sizeof(o), AGENT_ID_CONTROL);
	if (!r)
		r = loop_add(loop, &a->src, EPOLLIN);
	if (!r)
		r = say_hello(a);
	return r ? err_sys(e, r, "cannot open the agent's connection") : 0;
}

void agent_close(struct agent *a)
{
	if (a->src.fd >= 0) {
		loop_del(a->loop, &a->src);
		(void)close(TAKE_FD(a->src.fd));
	}
	msg_rx_free(&a->rx);
	free(TAKE_PTR(a->out));
	a->out_len = a->out_at = a->out_cap = 0;
}

static int open_stream(struct agent *a, struct vmm *vm, uint32_t proc, uint32_t which, int rfd,
	int wfd, uint32_t id)
{
	struct proto_open o;

	proto_open_fill(&o, PROTO_STREAM, a->token, proc, which);
	return vmm_vsock_connect(vm, PROTO_AGENT_PORT, rfd, wfd, &o, sizeof(o), id);
}

int agent_stream_way(
	struct agent *a, struct vmm *vm, uint32_t proc, uint32_t which, int fd, bool in, bool out)
{
	return open_stream(
		a, vm, proc, which, in ? fd : -1, out ? fd : -1, AGENT_ID_STREAM(proc, which));
}

int agent_stream(struct agent *a, struct vmm *vm, uint32_t proc, enum proto_fd which, int fd)
{
	return agent_stream_way(a, vm, proc, which, fd, which == PROTO_STDIN || which == PROTO_TTY,
		which != PROTO_STDIN);
}

int agent_accepted(
	struct agent *a, struct vmm *vm, uint32_t proc, uint32_t which, int fd, uint32_t id)
{
	return open_stream(a, vm, proc, which, fd, fd, id);
}
