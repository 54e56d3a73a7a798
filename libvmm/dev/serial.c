// SPDX-License-Identifier: Apache-2.0
/* A serial port: the registers of a 16550A over two fds of the host. */
/*
 * How it works
 *
 * Two rings: @tx, filled by the vCPU that writes the transmit register and emptied by the loop, and
 * @rx the other way. Whoever makes work for the loop (a byte into an empty @tx, room in a @rx that
 * was full) writes @kick; the loop does what there is and watches the fds for the rest. Bytes are
 * copied out of the ring before they are written, without the lock, and taken from it when the host
 * has them: only the loop takes from @tx, so they cannot change meanwhile.
 *
 * The interrupt is a pulse, since ISA's are edges. @causes is what the guest was told of last; a
 * pulse goes out for each cause that is new, and for input that has come. A driver that has seen an
 * interrupt reads the identification register until there is none, as with the chip.
 *
 * "Transmitter empty" is said when there is room, not when the host has read everything: who waits
 * for it does so in a circle of traps.
 */
/* #syscalls:io read write close */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/hostfd.h"
#include "dev/serial.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"
#include "virtio/iobuf.h"

/* offsets */
#define R_DATA 0 /* with DLAB: low byte of the divisor */
#define R_IER  1 /* with DLAB: high byte */
#define R_IIR  2 /* reads; FCR when written */
#define R_LCR  3
#define R_MCR  4
#define R_LSR  5
#define R_MSR  6
#define R_SCR  7

#define IER_RX	    0x01
#define IER_TX	    0x02
#define IER_ALL	    0x0f
#define IIR_NONE    0x01
#define IIR_TX	    0x02
#define IIR_RX	    0x04
#define IIR_FIFO    0xc0
#define FCR_ENABLE  0x01
#define FCR_DROP_RX 0x02
#define LCR_DLAB    0x80
#define MCR_DTR	    0x01
#define MCR_RTS	    0x02
#define MCR_OUT1    0x04
#define MCR_OUT2    0x08
#define MCR_LOOP    0x10
#define MCR_ALL	    0x1f
#define LSR_DATA    0x01
#define LSR_OVERRUN 0x02
#define LSR_THRE    0x20
#define LSR_TEMT    0x40
#define MSR_CTS	    0x10
#define MSR_DSR	    0x20
#define MSR_RI	    0x40
#define MSR_DCD	    0x80

#define DIVISOR_115200 1
#define CHUNK	       4096

#define TAG_SERIAL SAVE_TAG('S', 'E', 'R', ' ')

struct ring {
	uint8_t *b;
	unsigned cap, head, len;
};

struct serial {
	struct loop *loop;
	int kick; /* eventfd */
	struct loop_src kick_src;
	void (*irq)(void *arg);
	void *irq_arg;

	pthread_mutex_t lock; /* guards the registers, the rings and @rx_stopped */
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool fifo, overrun;
	bool thri;	 /* the transmitter has become empty, and nobody has read so */
	uint8_t causes;	 /* IER_RX, IER_TX: of the last pulse */
	bool rx_stopped; /* the loop has nowhere to put input */
	struct ring tx, rx;

	/* of the loop */
	struct hostfd in, out; /* out is not used when @same */
	bool same, paused;
	bool in_done;  /* nothing more to read */
	bool out_dead; /* what the guest writes is dropped; atomic */
	uint8_t tx_bytes[LIM_SERIAL_TX], rx_bytes[LIM_SERIAL_RX];
};

static void ring_put(struct ring *r, uint8_t v)
{
	r->b[(r->head + r->len++) % r->cap] = v;
}

static uint8_t ring_get(struct ring *r)
{
	uint8_t v = r->b[r->head];

	r->head = (r->head + 1) % r->cap;
	r->len--;
	return v;
}

static void wake_loop(const struct serial *s)
{
	const uint64_t one = 1;

	if (write(s->kick, &one, sizeof(one)) < 0 && errno != EAGAIN)
		log_err("serial port: %s", err_text(errno));
}

/* Under the lock: is there a cause that the guest has not been told of? */
static bool new_cause(struct serial *s)
{
	uint8_t now = 0, told = s->causes;

	if (s->rx.len)
		now |= IER_RX;
	if (s->thri)
		now |= IER_TX;
	s->causes = now & s->ier;
	return s->causes & (uint8_t)~told;
}

/* Ends a look at the registers, and interrupts if that has made a reason to. */
static void unlock(struct serial *s)
{
	bool pulse = new_cause(s);

	(void)pthread_mutex_unlock(&s->lock);
	if (pulse)
		s->irq(s->irq_arg);
}

static bool tx_room(const struct serial *s)
{
	return s->tx.len < s->tx.cap;
}

/* ---- the guest's side: under the lock ---- */

static uint8_t read_msr(const struct serial *s)
{
	uint8_t m = 0;

	if (!(s->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if (s->mcr & MCR_RTS)
		m |= MSR_CTS;
	if (s->mcr & MCR_DTR)
		m |= MSR_DSR;
	if (s->mcr & MCR_OUT1)
		m |= MSR_RI;
	if (s->mcr & MCR_OUT2)
		m |= MSR_DCD;
	return m;
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t fifo = s->fifo ? IIR_FIFO : 0;

	if (s->rx.len && (s->ier & IER_RX))
		return IIR_RX | fifo;
	if (s->thri && (s->ier & IER_TX)) {
		s->thri = false;
		return IIR_TX | fifo;
	}
	return IIR_NONE | fifo;
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t l = s->rx.len ? LSR_DATA : 0;

	if (tx_room(s))
		l |= LSR_THRE | LSR_TEMT;
	if (s->overrun)
		l |= LSR_OVERRUN;
	s->overrun = false;
	return l;
}

/*
 * What the host may give now. A driver empties the receiver when it begins, as what is in there may
 * be garbage; here it would be the beginning of the input, which therefore stays with the host
 * until the driver has its interrupt on: in the chip, and by OUT2, behind which PCs have it. Who
 * only looks what is there sets all bits of the first.
 */
static unsigned rx_room(const struct serial *s)
{
	return s->ier & IER_RX && s->mcr & MCR_OUT2 ? s->rx.cap - s->rx.len : 0;
}

/* The loop shall read again, if it has stopped to, and not for each byte. */
static bool rx_again(struct serial *s)
{
	if (!s->rx_stopped || rx_room(s) < s->rx.cap / 2)
		return false;
	s->rx_stopped = false;
	return true;
}

/* @wake: the loop has something to do. */
static uint8_t read_data(struct serial *s, bool *wake)
{
	uint8_t v = s->rx.len ? ring_get(&s->rx) : 0;

	*wake = rx_again(s);
	return v;
}

static uint8_t read_reg(struct serial *s, uint64_t off, bool *wake)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (off) {
	case R_DATA:
		return dlab ? s->dll : read_data(s, wake);
	case R_IER:
		return dlab ? s->dlm : s->ier;
	case R_IIR:
		return read_iir(s);
	case R_LCR:
		return s->lcr;
	case R_MCR:
		return s->mcr;
	case R_LSR:
		return read_lsr(s);
	case R_MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void write_data(struct serial *s, uint8_t v, bool *wake)
{
	if (s->mcr & MCR_LOOP) {
		if (s->rx.len < s->rx.cap)
			ring_put(&s->rx, v);
		else
			s->overrun = true;
		s->thri = true;
		return;
	}
	/* who writes while the transmitter is busy loses the byte, as with the chip */
	if (tx_room(s) && !__atomic_load_n(&s->out_dead, __ATOMIC_RELAXED)) {
		*wake = !s->tx.len;
		ring_put(&s->tx, v);
	}
	s->thri = tx_room(s);
}

static void write_ier(struct serial *s, uint8_t v, bool *wake)
{
	/* asked for while the transmitter is empty: at once */
	if (v & (uint8_t)~s->ier & IER_TX)
		s->thri = tx_room(s);
	s->ier = v & IER_ALL;
	*wake = rx_again(s);
}

static void write_reg(struct serial *s, uint64_t off, uint8_t v, bool *wake)
{
	bool dlab = s->lcr & LCR_DLAB;

	switch (off) {
	case R_DATA:
		if (dlab)
			s->dll = v;
		else
			write_data(s, v, wake);
		break;
	case R_IER:
		if (dlab)
			s->dlm = v;
		else
			write_ier(s, v, wake);
		break;
	case R_IIR: /* FCR */
		s->fifo = v & FCR_ENABLE;
		if (v & FCR_DROP_RX) {
			s->rx.len = 0;
			*wake = rx_again(s);
		}
		/* what was to be sent is out, as the guest sees it: nothing to drop there */
		break;
	case R_LCR:
		s->lcr = v;
		break;
	case R_MCR:
		s->mcr = v & MCR_ALL;
		*wake = rx_again(s);
		break;
	case R_SCR:
		s->scr = v;
		break;
	default: /* the two that are only read */
		break;
	}
}

void serial_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct serial *s = arg;
	bool wake = false;

	memset(data, 0xff, len);
	if (len != 1)
		return;
	(void)pthread_mutex_lock(&s->lock);
	data[0] = read_reg(s, off, &wake);
	unlock(s);
	if (wake)
		wake_loop(s);
}

void serial_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct serial *s = arg;
	bool wake = false;

	if (len != 1)
		return;
	(void)pthread_mutex_lock(&s->lock);
	write_reg(s, off, data[0], &wake);
	unlock(s);
	if (wake)
		wake_loop(s);
}

/* ---- the host's side: on the loop ---- */

static struct hostfd *out_of(struct serial *s)
{
	return s->same ? &s->in : &s->out;
}

/* Takes @n bytes from @tx. The transmitter of a full one is free then. */
static void tx_gone(struct serial *s, unsigned n)
{
	(void)pthread_mutex_lock(&s->lock);
	if (!tx_room(s) && n)
		s->thri = true;
	s->tx.head = (s->tx.head + n) % s->tx.cap;
	s->tx.len -= n;
	unlock(s);
}

static unsigned tx_peek(struct serial *s, uint8_t *to, unsigned max)
{
	unsigned n, first;

	(void)pthread_mutex_lock(&s->lock);
	n = MIN(s->tx.len, max);
	first = MIN(n, s->tx.cap - s->tx.head);
	memcpy(to, s->tx.b + s->tx.head, first);
	memcpy(to + first, s->tx.b, n - first);
	unlock(s);
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
		wake_loop(s);
}

/* How much to read; with nothing the loop stops, until it is told. */
static unsigned rx_ask(struct serial *s)
{
	unsigned n;

	(void)pthread_mutex_lock(&s->lock);
	n = rx_room(s);
	s->rx_stopped = !n;
	unlock(s);
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
	unlock(s);
}

static bool tx_waits(struct serial *s)
{
	bool waits;

	(void)pthread_mutex_lock(&s->lock);
	waits = s->tx.len;
	unlock(s);
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
		wake_loop(s);
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
