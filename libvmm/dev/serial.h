/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A serial port as PCs have it: the registers of a 16550A (National Semiconductor's data sheet;
 * what Linux's 8250 driver looks at) between a guest and two fds of the host.
 *
 * It is no virtio device: its eight registers lie on the port bus. serial_read() and serial_write()
 * run on whichever vCPU trapped, everything else on the owner loop or, before that has a thread, on
 * the thread that builds. A lock of its own, held for a few instructions, guards registers and
 * buffers.
 *
 * What it has not: a speed (bytes go as fast as the host takes them), modem lines that change,
 * breaks and errors of a line. Input comes only to a guest that has the interrupt for it on. Its
 * receive buffer is larger than the chip's; what the guest writes waits here while the host does
 * not read, and when LIM_SERIAL_TX bytes do the transmitter is busy.
 */
#ifndef KRUN_DEV_SERIAL_H
#define KRUN_DEV_SERIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"
#include "util/loop.h"
#include "util/save.h"

#define SERIAL_PORTS_LEN 8 /* registers */

struct serial;

struct serial_cfg {
	int in_fd, out_fd; /* -1: none; taken over; may be equal */
	/* Pulses its interrupt. On any thread, no lock held. */
	void (*irq)(void *arg);
	void *irq_arg;
};

/* Quiet until serial_resume(): nothing is read or written. On failure the fds are closed. */
int serial_new(struct loop *l, const struct serial_cfg *c, struct serial **out, struct error *e);
void serial_free(struct serial *s); /* the loop's thread has ended; NULL is fine */

/* For struct bus_ops: @arg is the struct serial. Other lengths than 1 read as all ones, and write
 * nothing. */
void serial_read(void *arg, uint64_t off, uint8_t *data, unsigned len);
void serial_write(void *arg, uint64_t off, const uint8_t *data, unsigned len);

/* On the owner loop. */
void serial_pause(struct serial *s);
void serial_resume(struct serial *s);
/* Writes what waits; true when nothing is left that the host will take. */
bool serial_drain(struct serial *s);

/* Paused. What waits in either direction is saved with the registers. load() is -EINVAL for what no
 * save() has written. */
void serial_save(struct serial *s, struct save_out *o);
int serial_load(struct serial *s, struct save_in *in) NODISCARD;

#endif
