// SPDX-License-Identifier: Apache-2.0
// virtio-console (virtio 1.2, section 5.3): the device record, making and resizing ports.
/*
 * How it works
 *
 * A single unnamed port is the plain form: two queues, no control messages, window size from the
 * config space. Everything else is a multiport device, whose driver is told of each port after it
 * says that it is ready.
 *
 * What a port wants of the world is derived, not remembered: kicks, pause and stop change flags,
 * and port_update() makes what the loop watches agree with them. A port whose guest has no receive
 * buffer is starved and its input is not polled until the next kick, so a host that writes on
 * cannot make the loop spin. Saving writes flags and held output only; the fds are the ones the new
 * device was made with.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dev/console.h"
#include "util/bytes.h"
#include "util/err.h"

#define CONSOLE_SAVE_TAG     SAVE_TAG('C', 'O', 'N', 'S')
#define CONSOLE_SAVE_VERSION 1

/* Config space: u16 cols, u16 rows, u32 max_nr_ports, u32 emerg_wr */
#define CONSOLE_CFG_LEN 12

static bool console_queues_ready(const struct console *con)
{
	unsigned n = console_multiport(con) ? con->v.nqueues : 2;

	for (unsigned i = 0; i < n; i++) {
		if (!con->v.vq[i].ready)
			return false;
	}
	return true;
}

static int console_start(struct vdev *v)
{
	return console_queues_ready(console_of(v)) ? 0 : -EINVAL;
}

static void console_kick(struct vdev *v, unsigned q)
{
	struct console *con = console_of(v);
	struct console_port *p;

	if (!console_live(con))
		return;
	if (q == CONSOLE_Q_CTL_RX) {
		console_ctl_send(con);
	} else if (q == CONSOLE_Q_CTL_TX) {
		console_ctl_recv(con);
	} else {
		p = &con->port[q < 2 ? 0 : (q - 2) / 2];
		if (p->id && !console_multiport(con))
			return;
		if (q % 2) {
			port_tx(p);
		} else {
			p->starved = false;
			port_rx(p);
		}
	}
}

static void console_stop(struct vdev *v)
{
	struct console *con = console_of(v);

	for (unsigned i = 0; i < con->nports; i++) {
		struct console_port *p = &con->port[i];

		p->owed = 0;
		p->guest_open = false;
		p->starved = true; /* until the next driver's first kick */
		p->tx_skip = 0;
		port_update(p);
	}
}

static void console_pause(struct vdev *v, bool paused)
{
	struct console *con = console_of(v);

	con->paused = paused;
	for (unsigned i = 0; i < con->nports; i++)
		port_update(&con->port[i]);
}

static void console_save(struct vdev *v, struct save_out *s)
{
	const struct console *con = console_of(v);
	size_t at = save_begin(s, CONSOLE_SAVE_TAG, CONSOLE_SAVE_VERSION);

	save_u32(s, con->nports);
	for (unsigned i = 0; i < con->nports; i++) {
		const struct console_port *p = &con->port[i];

		save_u16(s, p->cols);
		save_u16(s, p->rows);
		save_u32(s, p->owed);
		save_u8(s, p->guest_open);
		save_u32(s, p->tx_skip);
		hostbuf_save(&p->held, s);
	}
	save_end(s, at);
}

/* The fds are those that this device was made with; their ends of file are found out anew. */
static int console_load(struct vdev *v, struct save_in *in)
{
	struct console *con = console_of(v);
	struct save_in s;

	if (!load_section(in, CONSOLE_SAVE_TAG, CONSOLE_SAVE_VERSION, &s))
		return in->err;
	if (load_u32(&s) != con->nports || (v->running && !console_queues_ready(con)))
		return -EINVAL;
	for (unsigned i = 0; i < con->nports && !s.err; i++) {
		struct console_port *p = &con->port[i];

		p->cols = load_u16(&s);
		p->rows = load_u16(&s);
		p->owed = load_u32(&s) & CONSOLE_OWE_ALL;
		p->guest_open = load_u8(&s);
		p->tx_skip = load_u32(&s);
		hostbuf_load(&p->held, LIM_CONSOLE_BUF, &s);
		if (p->out_dead)
			hostbuf_drop(&p->held);
	}
	return load_done(&s);
}

static void console_destroy(struct vdev *v)
{
	struct console *con = console_of(v);

	for (unsigned i = 0; i < con->nports; i++)
		port_detach(&con->port[i]);
	free(con);
}

static const struct vdev_class console_class = {
	.name = "console",
	.id = CONSOLE_ID,
	.features = CONSOLE_F_SIZE | CONSOLE_F_MULTIPORT,
	.nqueues = 4,
	.qsizes = (const uint16_t[]){ 64, 64, 32, 32 },
	.cfg_len = CONSOLE_CFG_LEN,
	.start = console_start,
	.kick = console_kick,
	.stop = console_stop,
	.pause = console_pause,
	.save = console_save,
	.load = console_load,
	.destroy = console_destroy,
};

static void port_init(struct console *con, unsigned id, const struct console_port_cfg *cfg)
{
	struct console_port *p = &con->port[id];

	p->con = con;
	p->id = id;
	p->console = cfg->console;
	p->cols = cfg->cols;
	p->rows = cfg->rows;
	p->starved = true;
	if (cfg->name)
		memcpy(p->name, cfg->name, strlen(cfg->name));
	port_attach(p, cfg->in_fd, cfg->out_fd);
}

static int console_check(const struct console_port_cfg *ports, unsigned n, struct error *e)
{
	if (!n || n > LIM_CONSOLE_PORTS)
		return err_set(
			e, EINVAL, "console: %u ports, 1 to %d are possible", n, LIM_CONSOLE_PORTS);
	for (unsigned i = 0; i < n; i++) {
		if (ports[i].name &&
			(!ports[i].name[0] || strlen(ports[i].name) >= CONSOLE_NAME_MAX))
			return err_set(e, EINVAL,
				"console: the name of port %u has 0 or more than %d bytes", i,
				CONSOLE_NAME_MAX - 1);
	}
	return 0;
}

static void close_all(const struct console_port_cfg *ports, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (ports[i].in_fd >= 0)
			(void)close(ports[i].in_fd);
		if (ports[i].out_fd >= 0 && ports[i].out_fd != ports[i].in_fd)
			(void)close(ports[i].out_fd);
	}
}

int console_new(struct loop *loop, struct mem *mem, const struct console_port_cfg *ports,
	unsigned n, struct vdev **out, struct error *e)
{
	bool multi = n != 1 || ports[0].name;
	struct console *con = NULL;
	int ret = console_check(ports, n, e);

	if (!ret) {
		con = calloc(1, sizeof(*con));
		ret = con ? vdev_init(&con->v, &console_class, multi ? 2 + 2 * n : 2, loop, mem, e)
			  : err_sys(e, ENOMEM, "console");
	}
	if (ret < 0) {
		close_all(ports, n);
		free(con);
		return ret;
	}
	if (!multi)
		con->v.offered &= ~CONSOLE_F_MULTIPORT;
	put_le16(con->v.cfg, ports[0].cols);
	put_le16(con->v.cfg + 2, ports[0].rows);
	put_le32(con->v.cfg + 4, n);
	con->nports = n;
	for (unsigned i = 0; i < n; i++)
		port_init(con, i, &ports[i]);
	*out = &con->v;
	return 0;
}

void console_resize(struct vdev *v, unsigned port, uint16_t cols, uint16_t rows)
{
	struct console *con = console_of(v);
	struct console_port *p;

	if (port >= con->nports)
		return;
	p = &con->port[port];
	p->cols = cols;
	p->rows = rows;
	if (port == 0) {
		vdev_cfg_lock(v);
		put_le16(v->cfg, cols);
		put_le16(v->cfg + 2, rows);
		vdev_cfg_unlock(v);
	}
	if (!v->running)
		return;
	if (console_multiport(con)) {
		p->owed |= CONSOLE_OWE_RESIZE;
		console_ctl_send(con);
	} else if (port == 0) {
		vdev_cfg_changed(v);
	}
}

void console_set_sink(
	struct vdev *v, void (*fn)(void *arg, const char *bytes, unsigned n), void *arg)
{
	struct console *con = console_of(v);

	con->sink = fn;
	con->sink_arg = arg;
}

bool console_drain(struct vdev *v)
{
	struct console *con = console_of(v);
	bool left = false;

	for (unsigned i = 0; i < (console_multiport(con) ? con->nports : 1); i++) {
		struct console_port *p = &con->port[i];

		port_tx(p);
		left |= p->held.len ||
			(console_live(con) && vq_pending(&v->vq[port_tx_queue(p)]) > 0);
	}
	return !left;
}
