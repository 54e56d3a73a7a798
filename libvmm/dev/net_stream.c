// SPDX-License-Identifier: Apache-2.0
/* virtio-net: frames over a unix stream socket, as passt and QEMU's stream speak them. */
/*
 * How it works
 *
 * Each frame has its length in front, 32 bits, big-endian. What the socket has is read in one go,
 * however many frames that is, and they are copied to the guest one by one. The other way small
 * frames are gathered and sent together; a large one goes from guest memory into the socket. What
 * the socket does not take of it is kept, since half a frame cannot be taken back; until that has
 * gone nothing more is taken.
 *
 * Not all who read put a frame together from any pieces: passt did not at first, which waited once
 * for what was missing of one, and dropped what was shorter than a length. So what is sent together
 * ends where a frame does, and is short enough that the kernel keeps it in one piece, which is
 * there at once or not at all; of a frame that is longer the kernel makes two.
 *
 * A length that no frame has means that the two ends do not agree where frames begin: the
 * connection is given up.
 */
/* #syscalls:net recvfrom sendto sendmsg close */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/net.h"
#include "util/cleanup.h"

#define LEN   4
#define LARGE (16U << 10) /* a frame that is worth a system call of its own */
/* Linux's unix_stream_sendmsg() makes pieces of 32 KiB and what fits beside the head of one buffer.
 */
#define PIECE	(32U << 10)
#define LONGEST (LEN + LIM_NET_FRAME)

struct bytes {
	size_t head, len;
	uint8_t p[LIM_NET_BUF];
};

struct stream {
	struct net_be be;
	size_t begun; /* bytes at the head of @out that end a frame whose beginning was sent */
	struct bytes in, out;
};

_Static_assert(LIM_NET_BUF >= 2 * LONGEST, "there is room behind what waits");

static struct stream *stream_of(struct net_be *be)
{
	return CONTAINER_OF(be, struct stream, be);
}

static uint32_t get_len(const uint8_t *p)
{
	uint32_t v;

	(void)memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static void put_len(uint8_t *p, size_t len)
{
	uint32_t v = htobe32((uint32_t)len);

	(void)memcpy(p, &v, sizeof(v));
}

/* Where @n bytes can be added, or NULL. */
static uint8_t *room(struct bytes *b, size_t n)
{
	if (n > sizeof(b->p) - b->len)
		return NULL;
	if (n > sizeof(b->p) - b->len - b->head) {
		memmove(b->p, b->p + b->head, b->len);
		b->head = 0;
	}
	return b->p + b->head + b->len;
}

static void eat(struct bytes *b, size_t n)
{
	b->len -= n;
	b->head = b->len ? b->head + n : 0;
}

/* Bytes of the whole frames that @b begins with; -EPROTO. */
static ssize_t whole(const uint8_t *p, size_t len)
{
	size_t at = 0;

	while (len - at >= LEN) {
		uint32_t n = get_len(p + at);

		if (n > LIM_NET_FRAME)
			return -EPROTO;
		if (n > len - at - LEN)
			break;
		at += LEN + n;
	}
	return (ssize_t)at;
}

/* Reads what there is; there is less than a frame in the buffer. */
static int more(struct stream *s)
{
	uint8_t *to = room(&s->in, LONGEST);
	ssize_t r;

	if (!to)
		return -ENOBUFS;
	r = recv(s->be.fd.fd, to, sizeof(s->in.p) - s->in.head - s->in.len, MSG_DONTWAIT);
	if (r <= 0)
		return r ? net_sock_error(-errno) : -ENOTCONN;
	s->in.len += (size_t)r;
	return 0;
}

static ssize_t stream_recv(struct net_be *be, struct iobuf *to)
{
	struct stream *s = stream_of(be);

	for (;;) {
		const uint8_t *p = s->in.p + s->in.head;
		uint32_t n = s->in.len >= LEN ? get_len(p) : 0;
		int r;

		if (n > LIM_NET_FRAME)
			return -EPROTO;
		if (s->in.len >= LEN && s->in.len - LEN >= n) {
			r = iobuf_push(to, p + LEN, n);
			eat(&s->in, LEN + n);
			return r ? r : (ssize_t)n;
		}
		r = more(s);
		if (r)
			return r;
	}
}

/* @n bytes of @out have gone. */
static void sent(struct stream *s, size_t n)
{
	size_t left = n, at = s->out.head;

	while (left) {
		size_t here = s->begun ? s->begun : LEN + get_len(s->out.p + at);
		size_t part = MIN(here, left);

		s->begun = here - part;
		at += part;
		left -= part;
	}
	eat(&s->out, n);
}

/* Bytes of @out that are sent together: the rest of a frame, and whole ones. */
static size_t piece(const struct stream *s)
{
	size_t n = s->begun;

	while (n < s->out.len) {
		size_t next = n + LEN + get_len(s->out.p + s->out.head + n);

		if (n && next > PIECE)
			break;
		n = next;
	}
	return n;
}

static int stream_flush(struct net_be *be)
{
	struct stream *s = stream_of(be);

	while (s->out.len) {
		ssize_t r = send(
			be->fd.fd, s->out.p + s->out.head, piece(s), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r < 0)
			return net_sock_error(-errno);
		sent(s, (size_t)r);
	}
	return 0;
}

/* Keeps the frame. -EFAULT, -EAGAIN: nothing has moved. */
static int keep(struct stream *s, struct iobuf *frame)
{
	size_t len = frame->left;
	uint8_t *to = room(&s->out, LEN + len);
	int r;

	if (!to) {
		r = stream_flush(&s->be);
		to = room(&s->out, LEN + len);
		if (!to)
			return r ? r : -EAGAIN;
	}
	r = iobuf_pull(frame, to + LEN, len);
	if (r)
		return r;
	put_len(to, len);
	s->out.len += LEN + len;
	return 0;
}

/* Nothing is kept. Sends the frame, and keeps what the socket does not take of it. */
static int send_large(struct stream *s, struct iobuf *frame)
{
	const size_t len = frame->left;
	uint8_t head[LEN];
	ssize_t r;

	put_len(head, len);
	r = iobuf_after(frame, s->be.fd.fd, head, LEN, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r == -E2BIG)
		return keep(s, frame);
	if (r < 0)
		return net_sock_error((int)r);
	s->begun = LEN + len - (size_t)r;
	if (r < LEN)
		(void)memcpy(s->out.p, head + r, LEN - (size_t)r);
	s->out.head = 0;
	s->out.len = r < LEN ? LEN - (size_t)r : 0;
	/* what cannot be copied now is a frame that has no end */
	if (iobuf_pull(frame, s->out.p + s->out.len, frame->left))
		return -EPROTO;
	s->out.len = s->begun;
	return 0;
}

static int stream_send(struct net_be *be, const uint8_t *hdr, struct iobuf *frame)
{
	struct stream *s = stream_of(be);
	int r;

	(void)hdr;
	if (frame->left < LARGE) {
		r = keep(s, frame);
		/* payload in a window is only for the kernel to read */
		if (r != -EFAULT)
			return r;
	}
	r = stream_flush(be);
	return r ? r : send_large(s, frame);
}

static void stream_close(struct net_be *be)
{
	struct stream *s = stream_of(be);

	hostfd_close(&be->fd);
	s->in.head = s->in.len = s->out.head = s->out.len = s->begun = 0;
}

static int stream_adopt(int fd, struct hostfd *h, struct error *e)
{
	int r = net_sock_check(fd, SOCK_STREAM, "stream", e);

	if (!r)
		hostfd_open(h, fd);
	return r;
}

static int stream_connect(struct net_be *be)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = fd < 0 ? -errno : net_sock_connect(fd, be->path);

	if (!r)
		r = stream_adopt(fd, &be->fd, NULL);
	if (!r)
		(void)TAKE_FD(fd);
	return r;
}

static void stream_free(struct net_be *be)
{
	hostfd_close(&be->fd);
	free(stream_of(be));
}

static int stream_new(const struct net_cfg *cfg, struct net_be **out, struct error *e)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "network interface");
	s->be.ops = &net_stream_ops;
	s->be.fd.fd = -1;
	(void)memcpy(s->be.path, cfg->path, sizeof(s->be.path));
	if (cfg->later)
		r = 0;
	else if (cfg->fd >= 0)
		r = stream_adopt(cfg->fd, &s->be.fd, e);
	else if (cfg->path[0])
		r = stream_connect(&s->be);
	else
		r = -EBADF;
	if (r) {
		free(s);
		return err_sys(e, r, "network interface: \"%.108s\"", cfg->path);
	}
	*out = &s->be;
	return 0;
}

static void stream_save(const struct net_be *be, struct save_out *out)
{
	const struct stream *s = CONTAINER_OF(be, const struct stream, be);
	const uint8_t *p = s->in.p + s->in.head;
	ssize_t n = whole(p, s->in.len);

	save_blob(out, p, n < 0 ? 0 : (size_t)n);
	save_blob(out, s->out.p + s->out.head + s->begun, s->out.len - s->begun);
}

static void load(struct bytes *b, struct save_in *in)
{
	size_t n;
	const uint8_t *p = load_blob(in, sizeof(b->p), &n);

	if (in->err || !n)
		return;
	if (whole(p, n) != (ssize_t)n) {
		in->err = -EINVAL;
		return;
	}
	(void)memcpy(b->p, p, n);
	b->head = 0;
	b->len = n;
}

static void stream_load(struct net_be *be, struct save_in *in)
{
	load(&stream_of(be)->in, in);
	load(&stream_of(be)->out, in);
}

const struct net_be_ops net_stream_ops = {
	.name = "stream",
	.new = stream_new,
	.adopt = stream_adopt,
	.free = stream_free,
	.recv = stream_recv,
	.send = stream_send,
	.flush = stream_flush,
	.close = stream_close,
	.connect = stream_connect,
	.save = stream_save,
	.load = stream_load,
};
