/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of a serial port share: serial_regs.c, which vCPUs are in, and serial.c. */
#ifndef KRUN_DEV_SERIAL_PRIV_H
#define KRUN_DEV_SERIAL_PRIV_H

#include <pthread.h>

#include "core/limits.h"
#include "dev/hostfd.h"
#include "dev/serial.h"

#define IER_RX	 0x01
#define IER_TX	 0x02
#define IER_ALL	 0x0f
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_ALL	 0x1f

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

static inline void ring_put(struct ring *r, uint8_t v)
{
	r->b[(r->head + r->len++) % r->cap] = v;
}

/* Tells the loop that there is something to do. */
void serial_wake(const struct serial *s);
/* Ends a look at the registers, and interrupts if that has made a reason to. */
void serial_unlock(struct serial *s);

/* Under the lock: is there room for what the guest writes; how much may the host give? */
bool serial_tx_room(const struct serial *s);
unsigned serial_rx_room(const struct serial *s);

#endif
