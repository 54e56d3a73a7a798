// SPDX-License-Identifier: Apache-2.0
/* A serial port: the registers of a 16550A, as the guest's processors read and write them. */
/*
 * How it works
 *
 * All of it is under the lock, for a few instructions each time. Bytes go into and come out of the
 * rings of serial.c; whoever has made work for the loop wakes it, once the lock is given up.
 *
 * The interrupt is a pulse, since ISA's are edges. @causes is what the guest was told of last; a
 * pulse goes out for each cause that is new, and for input that has come. A driver that has seen an
 * interrupt reads the identification register until there is none, as with the chip.
 *
 * "Transmitter empty" is said when there is room, not when the host has read everything: who waits
 * for it does so in a circle of traps.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "dev/serial_priv.h"
#include "util/log.h"

/* offsets */
#define R_DATA 0 /* with DLAB: low byte of the divisor */
#define R_IER  1 /* with DLAB: high byte */
#define R_IIR  2 /* reads; FCR when written */
#define R_LCR  3
#define R_MCR  4
#define R_LSR  5
#define R_MSR  6
#define R_SCR  7

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
#define LSR_DATA    0x01
#define LSR_OVERRUN 0x02
#define LSR_THRE    0x20
#define LSR_TEMT    0x40
#define MSR_CTS	    0x10
#define MSR_DSR	    0x20
#define MSR_RI	    0x40
#define MSR_DCD	    0x80

static uint8_t ring_get(struct ring *r)
{
	uint8_t v = r->b[r->head];

	r->head = (r->head + 1) % r->cap;
	r->len--;
	return v;
}

void serial_wake(const struct serial *s)
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

void serial_unlock(struct serial *s)
{
	bool pulse = new_cause(s);

	(void)pthread_mutex_unlock(&s->lock);
	if (pulse)
		s->irq(s->irq_arg);
}

bool serial_tx_room(const struct serial *s)
{
	return s->tx.len < s->tx.cap;
}

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

	if (serial_tx_room(s))
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
 * only looks what is there sets all bits of the first. A chip that listens to itself hears nobody.
 */
unsigned serial_rx_room(const struct serial *s)
{
	return s->ier & IER_RX && s->mcr & MCR_OUT2 && !(s->mcr & MCR_LOOP) ? s->rx.cap - s->rx.len
									    : 0;
}

/* The loop shall read again, if it has stopped to, and not for each byte. */
static bool rx_again(struct serial *s)
{
	if (!s->rx_stopped || serial_rx_room(s) < s->rx.cap / 2)
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
	if (serial_tx_room(s) && !__atomic_load_n(&s->out_dead, __ATOMIC_RELAXED)) {
		*wake = !s->tx.len;
		ring_put(&s->tx, v);
	}
	s->thri = serial_tx_room(s);
}

static void write_ier(struct serial *s, uint8_t v, bool *wake)
{
	/* asked for while the transmitter is empty: at once */
	if (v & (uint8_t)~s->ier & IER_TX)
		s->thri = serial_tx_room(s);
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
	serial_unlock(s);
	if (wake)
		serial_wake(s);
}

void serial_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct serial *s = arg;
	bool wake = false;

	if (len != 1)
		return;
	(void)pthread_mutex_lock(&s->lock);
	write_reg(s, off, data[0], &wake);
	serial_unlock(s);
	if (wake)
		serial_wake(s);
}
