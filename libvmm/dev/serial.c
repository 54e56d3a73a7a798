// SPDX-License-Identifier: Apache-2.0
/* A serial port: its two fds of the host, its making and its saving. */
/*
 * How it works
 *
 * Two rings: @tx, filled by the vCPU that writes the transmit register and emptied by the loop, and
 * @rx the other way. Whoever makes work for the loop (a byte into an empty @tx, room in a @rx that
 * was full) writes @kick; the loop does what there is and watches the fds for the rest. Bytes are
 * copied out of the ring before they are written, without the lock, and taken from it when the host
 * has them: only the loop takes from @tx, so they cannot change meanwhile.
 */
/* #syscalls:io read write close */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dev/serial_priv.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"
#include "virtio/iobuf.h"

#define DIVISOR_115200 1
#define CHUNK	       4096

#define TAG_SERIAL SAVE_TAG('S', 'E', 'R', ' ')

/* ---- the host's side: on the loop ---- */

static struct hostfd *out_of(struct serial *s)
{
	return s->same ? &s->in : &s->out;
}

/* Takes @n bytes from @tx. The transmitter of a full one is free then. */
static void tx_gone(struct serial *s, unsigned n)
{
	(void)pthread_mutex_lock(&s->lock);
	if (!serial_tx_room(s) && n)
		s->thri = true;
	s->tx.head = (s->tx.head + n) % s->tx.cap;
	s->tx.len -= n;
	serial_unlock(s);
}

static unsigned tx_peek(struct serial *s, uint8_t *to, unsigned max)
{
	unsigned n, first;

	(void)pthread_mutex_lock(&s->lock);
	n = MIN(s->tx.len, max);
	first = MIN(n, s->tx.cap - s->tx.head);
	memcpy(to, s->tx.b + s->tx.head, first);
	memcpy(to + first, s->tx.b, n - first);
	serial_unlock(s);
	return n;
}

static void out_is_dead(struct serial *s)
{
	uint8_t gone[CHUNK];
	unsigned n;

	__atomic_store_n(&s->out_dead, true, __ATOMIC_RELAXED);
	if (!s->same)
		hostfd_close(&s->out);
	while ((n = tx_peek(s, gone, sizeof(gone))))
		tx_gone(s, n);
}

static void do_tx(struct serial *s)
{
	uint8_t chunk[CHUNK];
	unsigned n, all = 0;

	/* at most one ring full for one event, however fast the guest fills it */
	while (!s->out_dead && all < LIM_SERIAL_TX && (n = tx_peek(s, chunk, sizeof(chunk)))) {
		struct iovec v = { chunk, n };
		struct iobuf b;
		ssize_t r;

		iobuf_init(&b, &v, 1);
		r = hostfd_write(out_of(s), &b, n);
		if (r > 0)
			tx_gone(s, (unsigned)r);
		all += n;
		if (r == -EAGAIN)
			return;
		if (r <= 0)
			out_is_dead(s);
	}
	if (all >= LIM_SERIAL_TX)
		serial_wake(s);
}

/* How much to read; with nothing the loop stops, until it is told. */
static unsigned rx_ask(struct serial *s)
{
	unsigned n;

	(void)pthread_mutex_lock(&s->lock);
	n = serial_rx_room(s);
	s->rx_stopped = !n;
	serial_unlock(s);
	return n;
}

static void do_rx(struct serial *s)
{
	uint8_t chunk[LIM_SERIAL_RX];
	unsigned n = rx_ask(s);
	struct iovec v = { chunk, n };
	struct iobuf b;
	ssize_t r;

	if (!n)
		return;
	iobuf_init(&b, &v, 1);
	r = hostfd_read(&s->in, &b, n);
	if (r == -EAGAIN)
		return;
	if (r <= 0) {
		s->in_done = true;
		if (!s->same)
			hostfd_close(&s->in);
		return;
	}
	(void)pthread_mutex_lock(&s->lock);
	/* in loopback the guest may have filled it meanwhile */
	for (ssize_t i = 0; i < r; i++) {
		if (s->rx.len < s->rx.cap)
			ring_put(&s->rx, chunk[i]);
		else
			s->overrun = true;
	}
	s->causes &= (uint8_t)~IER_RX; /* again: who has missed the last pulse sees this one */
	serial_unlock(s);
}

static bool tx_waits(struct serial *s)
{
	bool waits;

	(void)pthread_mutex_lock(&s->lock);
	waits = s->tx.len;
	serial_unlock(s);
	return waits;
}

/* Makes what the loop watches agree with the state. */
static void update(struct serial *s)
{
	uint32_t in = !s->paused && !s->in_done && rx_ask(s) ? EPOLLIN : 0;
	uint32_t out = !s->paused && !s->out_dead && tx_waits(s) ? EPOLLOUT : 0;
	int ir = 0, or = 0;

	if (s->same) {
		ir = or = hostfd_watch(&s->in, in | out);
	} else {
		if (hostfd_is_open(&s->in))
			ir = hostfd_watch(&s->in, in);
		if (hostfd_is_open(&s->out))
			or = hostfd_watch(&s->out, out);
	}
	/* always ready: the loop comes back by itself */
	if ((in && ir == -EPERM) || (out && or == -EPERM))
		serial_wake(s);
	if (in && ir < 0 && ir != -EPERM) {
		log_warn("serial port: watching its input: %s", err_text(ir));
		s->in_done = true;
	}
	if (out && or < 0 && or != -EPERM) {
		log_warn("serial port: watching its output: %s", err_text(or));
		out_is_dead(s);
	}
}

static void work(struct serial *s)
{
	if (s->paused)
		return;
	do_tx(s);
	if (!s->in_done)
		do_rx(s);
	update(s);
}

static void on_event(struct loop_src *src, uint32_t events)
{
	(void)events;
	work(src->arg);
}

static void on_kick(struct loop_src *src, uint32_t events)
{
	struct serial *s = src->arg;
	uint64_t n;

	(void)events;
	(void)!read(s->kick, &n, sizeof(n));
	work(s);
}

void serial_pause(struct serial *s)
{
	s->paused = true;
	update(s);
}

void serial_resume(struct serial *s)
{
	s->paused = false;
	work(s);
}

bool serial_drain(struct serial *s)
{
	/* also of a VM that was paused and is stopped now */
	do_tx(s);
	work(s);
	return s->out_dead || !tx_waits(s);
}

int serial_new(struct loop *l, const struct serial_cfg *c, struct serial **out, struct error *e)
{
	struct serial *s = calloc(1, sizeof(*s));
	int r = s ? 0 : -ENOMEM;

	if (s) {
		s->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = s->kick < 0 ? -errno : 0;
	}
	if (r) {
		free(s);
		if (c->in_fd >= 0)
			(void)close(c->in_fd);
		if (c->out_fd >= 0 && c->out_fd != c->in_fd)
			(void)close(c->out_fd);
		return err_sys(e, r, "serial port");
	}
	(void)pthread_mutex_init(&s->lock, NULL);
	s->loop = l;
	s->irq = c->irq;
	s->irq_arg = c->irq_arg;
	s->dll = DIVISOR_115200;
	s->paused = true;
	s->tx = (struct ring){ .b = s->tx_bytes, .cap = sizeof(s->tx_bytes) };
	s->rx = (struct ring){ .b = s->rx_bytes, .cap = sizeof(s->rx_bytes) };
	s->same = c->in_fd >= 0 && c->in_fd == c->out_fd;
	hostfd_open(&s->in, c->in_fd);
	hostfd_open(&s->out, s->same ? -1 : c->out_fd);
	hostfd_bind(&s->in, l, "serial in", on_event, s);
	hostfd_bind(&s->out, l, "serial out", on_event, s);
	s->in_done = c->in_fd < 0;
	s->out_dead = c->out_fd < 0;
	s->kick_src = (struct loop_src){ .fd = s->kick, .name = "serial", .fn = on_kick, .arg = s };
	r = loop_add(l, &s->kick_src, EPOLLIN);
	if (r) {
		serial_free(s);
		return err_sys(e, r, "serial port");
	}
	*out = s;
	return 0;
}

void serial_free(struct serial *s)
{
	if (!s)
		return;
	hostfd_close(&s->in);
	hostfd_close(&s->out);
	loop_del(s->loop, &s->kick_src);
	(void)close(s->kick);
	(void)pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- saved and loaded ---- */

static void save_ring(const struct ring *r, struct save_out *o)
{
	uint8_t *p = save_blob_room(o, r->len);

	for (unsigned i = 0; p && i < r->len; i++)
		p[i] = r->b[(r->head + i) % r->cap];
}

static void load_ring(struct ring *r, struct save_in *in)
{
	size_t n;
	const uint8_t *p = load_blob(in, r->cap, &n);

	r->head = 0;
	r->len = (unsigned)n;
	if (p)
		memcpy(r->b, p, n);
}

void serial_save(struct serial *s, struct save_out *o)
{
	size_t at = save_begin(o, TAG_SERIAL, 1);

	(void)pthread_mutex_lock(&s->lock);
	save_u8(o, s->ier);
	save_u8(o, s->lcr);
	save_u8(o, s->mcr);
	save_u8(o, s->scr);
	save_u8(o, s->dll);
	save_u8(o, s->dlm);
	save_u8(o, s->fifo);
	save_u8(o, s->overrun);
	save_u8(o, s->thri);
	save_u8(o, s->causes);
	save_ring(&s->tx, o);
	save_ring(&s->rx, o);
	(void)pthread_mutex_unlock(&s->lock);
	save_end(o, at);
}

int serial_load(struct serial *s, struct save_in *in)
{
	struct save_in sub;
	uint8_t b[10];

	if (!load_section(in, TAG_SERIAL, 1, &sub))
		return -EINVAL;
	load_bytes(&sub, b, sizeof(b));
	if ((b[0] & ~IER_ALL) || (b[2] & ~MCR_ALL) || b[6] > 1 || b[7] > 1 || b[8] > 1 ||
		(b[9] & ~b[0]))
		return -EINVAL;
	(void)pthread_mutex_lock(&s->lock);
	s->ier = b[0];
	s->lcr = b[1];
	s->mcr = b[2];
	s->scr = b[3];
	s->dll = b[4];
	s->dlm = b[5];
	s->fifo = b[6];
	s->overrun = b[7];
	s->thri = b[8];
	s->causes = b[9];
	load_ring(&s->tx, &sub);
	load_ring(&s->rx, &sub);
	(void)pthread_mutex_unlock(&s->lock);
	return load_done(&sub);
}
