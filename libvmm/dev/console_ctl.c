// SPDX-License-Identifier: Apache-2.0
// Control messages of a multiport console (virtio 1.2, section 5.3.6.2).
/*
 * How it works
 *
 * Messages to the driver are not queued but owed: each port has a bit for every kind, and the
 * message is made from the port's state when a buffer for it is there. So there is nothing to
 * overflow, and a window resized ten times meanwhile is told once, with its last size. Bits are
 * sent lowest first, which is the order that the driver needs: the port, that it is a console, its
 * name, that it is open.
 *
 * Messages of the driver are taken CTL_BATCH at a time, then the loop serves others. What is
 * malformed or names no port is logged and skipped; only a broken ring, or a buffer too small for a
 * message, breaks the device.
 */

#include <errno.h>
#include <string.h>

#include "dev/console.h"
#include "dev/rekick.h"
#include "util/bytes.h"
#include "util/log.h"

#define CTL_LEN	  8 /* u32 port, u16 event, u16 value */
#define CTL_BATCH 64

enum ctl_event {
	CTL_DEVICE_READY,
	CTL_PORT_ADD,
	CTL_PORT_REMOVE,
	CTL_PORT_READY,
	CTL_CONSOLE_PORT,
	CTL_RESIZE,
	CTL_PORT_OPEN,
	CTL_PORT_NAME,
};

/* The message for the lowest bit that @p owes; returns its length. */
static unsigned ctl_message(struct console_port *p, uint8_t *msg)
{
	uint32_t owed = p->owed & -p->owed;
	unsigned len = CTL_LEN;
	uint16_t event = CTL_PORT_ADD, value = 1;

	switch (owed) {
	case CONSOLE_OWE_CONSOLE:
		event = CTL_CONSOLE_PORT;
		break;
	case CONSOLE_OWE_NAME:
		event = CTL_PORT_NAME;
		memcpy(msg + CTL_LEN, p->name, strlen(p->name));
		len += (unsigned)strlen(p->name);
		break;
	case CONSOLE_OWE_OPEN:
	case CONSOLE_OWE_CLOSE:
		event = CTL_PORT_OPEN;
		value = owed == CONSOLE_OWE_OPEN;
		break;
	case CONSOLE_OWE_RESIZE:
		event = CTL_RESIZE;
		value = 0;
		put_le16(msg + CTL_LEN, p->cols);
		put_le16(msg + CTL_LEN + 2, p->rows);
		len += 4;
		break;
	default:
		break;
	}
	put_le32(msg, p->id);
	put_le16(msg + 4, event);
	put_le16(msg + 6, value);
	p->owed &= ~owed;
	return len;
}

static struct console_port *ctl_next(struct console *con)
{
	for (unsigned i = 0; i < con->nports; i++) {
		if (con->port[i].owed)
			return &con->port[i];
	}
	return NULL;
}

void console_ctl_send(struct console *con)
{
	struct vq *q = &con->v.vq[CONSOLE_Q_CTL_RX];
	uint8_t msg[CTL_LEN + CONSOLE_NAME_MAX];
	struct console_port *p;
	int got = 0;

	if (!console_live(con) || !console_multiport(con))
		return;
	while ((p = ctl_next(con))) {
		unsigned len;

		got = vq_pop(q, &con->req);
		if (got <= 0)
			break;
		len = ctl_message(p, msg);
		got = iobuf_push(&con->req.wr, msg, len);
		vq_push(q, con->req.head, got < 0 ? 0 : len);
		if (got < 0)
			break;
	}
	vdev_flush(&con->v, CONSOLE_Q_CTL_RX);
	if (got < 0)
		vdev_broken(&con->v, "bad console control buffer");
}

static void ctl_port_ready(struct console_port *p)
{
	p->owed |= CONSOLE_OWE_OPEN;
	if (p->console)
		p->owed |= CONSOLE_OWE_CONSOLE;
	if (p->name[0])
		p->owed |= CONSOLE_OWE_NAME;
	if (p->cols && p->rows)
		p->owed |= CONSOLE_OWE_RESIZE;
}

static void ctl_handle(struct console *con, struct iobuf *b)
{
	uint8_t msg[CTL_LEN];
	uint32_t id;
	uint16_t event, value;

	if (iobuf_pull(b, msg, sizeof(msg)) < 0) {
		log_guest("console: short control message");
		return;
	}
	id = get_le32(msg);
	event = get_le16(msg + 4);
	value = get_le16(msg + 6);
	if (event == CTL_DEVICE_READY) {
		for (unsigned i = 0; value && i < con->nports; i++)
			con->port[i].owed |= CONSOLE_OWE_ADD;
		return;
	}
	if (id >= con->nports || (event != CTL_PORT_READY && event != CTL_PORT_OPEN)) {
		log_guest("console: control message %u for port %u ignored", event, id);
		return;
	}
	if (event == CTL_PORT_OPEN) {
		con->port[id].guest_open = value;
		port_update(&con->port[id]);
	} else if (value) {
		ctl_port_ready(&con->port[id]);
	}
}

void console_ctl_recv(struct console *con)
{
	struct vq *q = &con->v.vq[CONSOLE_Q_CTL_TX];
	unsigned n = 0;
	int got = 0;

	while (n < CTL_BATCH) {
		uint16_t head;

		got = vq_pop(q, &con->req);
		if (got <= 0)
			break;
		head = con->req.head;
		/* It may send, which takes another chain in hand. */
		ctl_handle(con, &con->req.rd);
		vq_push(q, head, 0);
		n++;
	}
	vdev_flush(&con->v, CONSOLE_Q_CTL_TX);
	if (got < 0)
		vdev_broken(&con->v, "bad console control message");
	if (n == CTL_BATCH)
		rekick(&con->v, CONSOLE_Q_CTL_TX);
	console_ctl_send(con);
}
