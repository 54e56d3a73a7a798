// SPDX-License-Identifier: Apache-2.0
/* Operations of a disk on the host's kernel: by its ring, or by its threads. */
/*
 * How it works
 *
 * What is one call goes to the ring, what is more to the threads, and everything to these where
 * there is no ring or where it has failed: then what it had not handed over yet is given to them,
 * and what it had is still waited for. Both tell of ends by a descriptor of their own.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "dev/disk_io.h"
#include "dev/disk_pool.h"
#include "dev/disk_ring.h"
#include "util/log.h"

struct disk_io {
	struct disk_io_cfg c;
	struct disk_ring *ring; /* NULL: threads do it all */
	bool ring_dead;		/* it takes no more, but may still have some */
	struct disk_pool *pool;
	struct loop_src ring_src, pool_src;
	unsigned underway;
};

int disk_io_new(const struct disk_io_cfg *cfg, struct disk_io **out, struct error *e)
{
	struct disk_io *io = calloc(1, sizeof(*io));
	int r;

	if (!io)
		return err_sys(e, ENOMEM, "disk");
	io->c = *cfg;
	r = cfg->ring ? disk_ring_new(cfg->fd, cfg->depth, &io->ring) : 0;
	if (r)
		log_info("disk: no io_uring (%s): threads serve it", err_text(r));
	r = disk_pool_new(cfg->fd, &io->pool);
	if (r) {
		disk_io_free(io);
		return err_sys(e, r, "disk");
	}
	*out = io;
	return 0;
}

void disk_io_free(struct disk_io *io)
{
	if (!io)
		return;
	disk_pool_free(io->pool);
	disk_ring_free(io->ring);
	free(io);
}

bool disk_io_has_ring(const struct disk_io *io)
{
	return io->ring && !io->ring_dead;
}

static void ring_go(struct disk_io *io, bool wait)
{
	struct disk_op *op = io->ring ? disk_ring_go(io->ring, wait) : NULL, *next;

	if (op && !io->ring_dead)
		log_warn("disk: io_uring takes no more: threads serve it");
	io->ring_dead = io->ring_dead || op;
	for (; op; op = next) {
		next = op->next;
		disk_pool_give(io->pool, op);
	}
}

static void ended(struct disk_io *io, struct disk_op *op)
{
	io->underway--;
	op->done(op, op->res);
}

static void reap(struct disk_io *io, bool wait)
{
	struct disk_op *op, *next;

	while (io->ring && (op = disk_ring_reap(io->ring)))
		ended(io, op);
	for (op = disk_pool_reap(io->pool, wait); op; op = next) {
		next = op->next;
		ended(io, op);
	}
}

static void on_pool(struct loop_src *src, uint32_t events)
{
	struct disk_io *io = src->arg;

	(void)events;
	/* first: what ends from here on is told anew */
	disk_pool_heard(io->pool);
	disk_io_go(io);
	io->c.batch(io->c.arg);
}

static void on_ring(struct loop_src *src, uint32_t events)
{
	struct disk_io *io = src->arg;

	(void)events;
	disk_io_go(io);
	io->c.batch(io->c.arg);
}

int disk_io_start(struct disk_io *io, struct loop *loop)
{
	int r = 0;

	io->pool_src = (struct loop_src){
		.fd = disk_pool_fd(io->pool), .name = "disk threads", .fn = on_pool, .arg = io
	};
	if (io->ring) {
		io->ring_src = (struct loop_src){
			.fd = disk_ring_fd(io->ring), .name = "disk ring", .fn = on_ring, .arg = io
		};
		r = loop_add(loop, &io->ring_src, EPOLLIN);
	}
	return r ? r : loop_add(loop, &io->pool_src, EPOLLIN);
}

void disk_io_stop(struct disk_io *io, struct loop *loop)
{
	loop_del(loop, &io->ring_src);
	loop_del(loop, &io->pool_src);
}

void disk_io_add(struct disk_io *io, struct disk_op *op)
{
	io->underway++;
	if (disk_io_has_ring(io) && op->kind != DISK_OP_CALL)
		disk_ring_add(io->ring, op);
	else
		disk_pool_give(io->pool, op);
}

void disk_io_go(struct disk_io *io)
{
	ring_go(io, false);
	reap(io, false);
	/* what the answers added */
	ring_go(io, false);
}

void disk_io_drain(struct disk_io *io)
{
	disk_io_go(io);
	while (io->underway) {
		/* one of the two has something: whoever has not does not wait */
		ring_go(io, true);
		reap(io, true);
	}
	disk_pool_heard(io->pool);
}
