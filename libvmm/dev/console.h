/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the console device (virtio 1.2, section 5.3); what others call is in dev/dev.h.
 *
 *   console.c       device record, ports, making and resizing them
 *   console_io.c    bytes between queues and host fds
 *   console_ctl.c   the control queues of a multiport device
 *
 * All on the owner loop.
 */
#ifndef KRUN_DEV_CONSOLE_H
#define KRUN_DEV_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/limits.h"
#include "dev/dev.h"
#include "dev/hostfd.h"
#include "virtio/vdev.h"
#include "virtio/vq.h"

#define CONSOLE_ID 3

#define CONSOLE_F_SIZE	    (1ULL << 0)
#define CONSOLE_F_MULTIPORT (1ULL << 1)

#define CONSOLE_Q_CTL_RX 2
#define CONSOLE_Q_CTL_TX 3

_Static_assert(2 * LIM_CONSOLE_PORTS + 2 <= LIM_VQS, "the ports' queues fit into one device");
#define CONSOLE_NAME_MAX 64

/* Control messages that a port owes the driver, in the order in which they are sent */
#define CONSOLE_OWE_ADD	    1
#define CONSOLE_OWE_CONSOLE 2
#define CONSOLE_OWE_NAME    4
#define CONSOLE_OWE_OPEN    8
#define CONSOLE_OWE_RESIZE  16
#define CONSOLE_OWE_CLOSE   32
#define CONSOLE_OWE_ALL	    63

struct console;

struct console_port {
	struct console *con;
	unsigned id;
	char name[CONSOLE_NAME_MAX]; /* "": none */
	bool console;
	uint16_t cols, rows;
	uint32_t owed; /* CONSOLE_OWE_* */
	bool guest_open;

	struct hostfd in, out; /* out is not used when @same */
	bool same;
	bool in_done;	     /* nothing more to read */
	bool out_dead;	     /* what the guest writes is dropped */
	bool starved;	     /* the guest has no receive buffer */
	struct hostbuf held; /* for out */
	uint32_t tx_skip;    /* bytes of the chain at the head of the transmit queue that are out
				already */
};

struct console {
	struct vdev v;
	bool paused;
	unsigned nports;
	struct console_port port[LIM_CONSOLE_PORTS];
	void (*sink)(void *arg, const char *bytes, unsigned n); /* of port 0 */
	void *sink_arg;
	struct vq_req req; /* the chain in hand */
};

static inline struct console *console_of(struct vdev *v)
{
	return CONTAINER_OF(v, struct console, v);
}

static inline bool console_live(const struct console *con)
{
	return con->v.running && !con->paused && !vdev_is_broken(&con->v);
}

static inline bool console_multiport(const struct console *con)
{
	return vdev_has(&con->v, CONSOLE_F_MULTIPORT);
}

static inline unsigned port_rx_queue(const struct console_port *p)
{
	return p->id ? 2 + 2 * p->id : 0;
}

static inline unsigned port_tx_queue(const struct console_port *p)
{
	return port_rx_queue(p) + 1;
}

/* ---- console_io.c ---- */

void port_attach(struct console_port *p, int in_fd, int out_fd);
void port_detach(struct console_port *p);
/* Makes what the loop watches agree with the state. */
void port_update(struct console_port *p);
/* Host bytes into receive buffers. */
void port_rx(struct console_port *p);
/* Guest bytes to the host. */
void port_tx(struct console_port *p);

/* ---- console_ctl.c ---- */

/* Sends owed messages while the driver has buffers. */
void console_ctl_send(struct console *con);
/* Takes messages of the driver. */
void console_ctl_recv(struct console *con);

#endif
