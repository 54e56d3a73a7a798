// SPDX-License-Identifier: Apache-2.0
// Console ports: bytes between their queues and host fds.
//
// How it works
//
// Input is read straight into the driver's buffers, and only while there are some: else the fd
// leaves the loop until the next kick. Output is written straight from the driver's buffers. What
// the host does not take goes into the port's buffer, up to LIM_CONSOLE_BUF; of a chain that does
// not fit we remember how much is out, put it back and stop taking more until the host reads. A
// port whose reader is gone, or that has none, swallows what it gets, so that no guest ever waits
// for it.

#include <errno.h>
#include <sys/epoll.h>

#include "dev/console.h"
#include "dev/rekick.h"
#include "util/err.h"
#include "util/log.h"

/* What one port may do before the loop serves others: chains, and bytes of those begun. */
#define PORT_BATCH 32
#define PORT_BYTES (1U << 20)
#define SINK_CHUNK 512

static struct hostfd *port_out(struct console_port *p)
{
	return p->same ? &p->in : &p->out;
}

static void port_event(struct loop_src *src, uint32_t events)
{
	struct console_port *p = src->arg;

	(void)events;
	if (src == &port_out(p)->src && p->held.len)
		port_tx(p);
	if (src == &p->in.src && (p->in.events & EPOLLIN))
		port_rx(p);
	port_update(p);
}

void port_attach(struct console_port *p, int in_fd, int out_fd)
{
	p->same = in_fd >= 0 && in_fd == out_fd;
	hostfd_open(&p->in, in_fd);
	hostfd_open(&p->out, p->same ? -1 : out_fd);
	hostfd_bind(&p->in, p->con->v.loop, "console in", port_event, p);
	hostfd_bind(&p->out, p->con->v.loop, "console out", port_event, p);
	p->in_done = in_fd < 0;
	p->out_dead = out_fd < 0;
}

void port_detach(struct console_port *p)
{
	hostbuf_drop(&p->held);
	hostfd_close(&p->in);
	hostfd_close(&p->out);
}

static void port_in_done(struct console_port *p)
{
	p->in_done = true;
	if (!p->same)
		hostfd_close(&p->in);
	if (console_multiport(p->con)) {
		p->owed |= CONSOLE_OWE_CLOSE;
		console_ctl_send(p->con);
	}
}

static void port_out_dead(struct console_port *p)
{
	p->out_dead = true;
	hostbuf_drop(&p->held);
	if (!p->same)
		hostfd_close(&p->out);
}

/* A driver that knows ports drops what comes before it has opened one. */
static bool port_wants_input(const struct console_port *p)
{
	return console_live(p->con) && !p->in_done && !p->starved &&
		(p->guest_open || !console_multiport(p->con));
}

void port_update(struct console_port *p)
{
	uint32_t in = port_wants_input(p) ? EPOLLIN : 0;
	uint32_t out = !p->con->paused && p->held.len ? EPOLLOUT : 0;
	int ret = 0, out_ret = 0;

	if (p->same) {
		ret = out_ret = hostfd_watch(&p->in, in | out);
	} else {
		if (hostfd_is_open(&p->in))
			ret = hostfd_watch(&p->in, in);
		if (hostfd_is_open(&p->out))
			out_ret = hostfd_watch(&p->out, out);
	}
	if (in && ret == -EPERM) {
		rekick(&p->con->v, port_rx_queue(p));
	} else if (in && ret < 0) {
		log_warn("console: watching the input of port %u: %s", p->id, err_text(ret));
		port_in_done(p);
	}
	if (out && out_ret < 0) {
		log_warn("console: watching the output of port %u: %s", p->id, err_text(out_ret));
		port_out_dead(p);
	}
}

void port_rx(struct console_port *p)
{
	struct console *con = p->con;
	unsigned qi = port_rx_queue(p);
	struct vq *q = &con->v.vq[qi];
	size_t bytes = 0;
	int got = 0;

	for (unsigned n = 0; n < PORT_BATCH && bytes < PORT_BYTES && port_wants_input(p); n++) {
		size_t max;
		ssize_t r;

		got = vq_pop(q, &con->req);
		p->starved = got == 0;
		if (got <= 0)
			break;
		max = con->req.wr.left;
		bytes += max;
		r = max ? hostfd_read(&p->in, &con->req.wr, max) : -EFAULT;
		if (r > 0 || r == -EFAULT) {
			/* A buffer that cannot be filled goes back empty. */
			vq_push(q, con->req.head, r > 0 ? (uint32_t)r : 0);
		} else {
			vq_unpop(q, &con->req);
			if (r != -EAGAIN)
				port_in_done(p);
		}
		if (r >= 0 && (size_t)r == max)
			continue;
		if (p->in.pollable || r == -EAGAIN)
			break;
	}
	vdev_flush(&con->v, qi);
	if (got < 0)
		vdev_broken(&con->v, "bad console receive buffer");
	port_update(p);
}

static void sink_chain(const struct console *con, struct iobuf *b)
{
	char chunk[SINK_CHUNK];

	while (b->left) {
		size_t n = iobuf_peek(b, chunk, sizeof(chunk));

		if (!n || iobuf_skip(b, n) < 0)
			return;
		con->sink(con->sink_arg, chunk, (unsigned)n);
	}
}

/* Takes the chain in hand. False: the host is full, the rest of the chain stays in the ring. */
static bool tx_chain(struct console_port *p, struct iobuf *b)
{
	size_t before = b->left;
	ssize_t r = 0;

	if (p->con->sink && p->id == 0) {
		sink_chain(p->con, b);
		return true;
	}
	/* The driver may have shortened a chain that we had begun: then it is over. */
	if (iobuf_skip(b, p->tx_skip) < 0)
		return true;
	while (b->left && !p->out_dead) {
		r = hostfd_write(port_out(p), b, b->left);
		if (r <= 0)
			break;
	}
	if (!b->left || p->out_dead || r == -EFAULT)
		return true;
	if (r != -EAGAIN) {
		port_out_dead(p);
		return true;
	}
	r = hostbuf_put(&p->held, LIM_CONSOLE_BUF, b, MIN(b->left, LIM_CONSOLE_BUF));
	if (r < 0)
		return true;
	if (b->left)
		p->tx_skip = (uint32_t)(before - b->left);
	return !b->left;
}

void port_tx(struct console_port *p)
{
	struct console *con = p->con;
	unsigned qi = port_tx_queue(p), n = 0;
	struct vq *q = &con->v.vq[qi];
	size_t bytes = 0;
	int got = 0;

	if (p->held.len) {
		ssize_t r = hostbuf_drain(&p->held, port_out(p));

		if (r < 0 && r != -EAGAIN)
			port_out_dead(p);
	}
	while (console_live(con) && !p->held.len && n < PORT_BATCH && bytes < PORT_BYTES) {
		got = vq_pop(q, &con->req);
		if (got <= 0)
			break;
		bytes += con->req.rd.left;
		if (!tx_chain(p, &con->req.rd)) {
			vq_unpop(q, &con->req);
			break;
		}
		p->tx_skip = 0;
		vq_push(q, con->req.head, 0);
		n++;
	}
	vdev_flush(&con->v, qi);
	if (got < 0)
		vdev_broken(&con->v, "bad console output");
	if (n == PORT_BATCH || bytes >= PORT_BYTES)
		rekick(&con->v, qi);
	port_update(p);
}
