/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk asks of the host's kernel without waiting for it: by io_uring where that may be used,
 * else by threads (disk_pool.h), which also do what is more than one call.
 *
 * One owner loop calls everything here, and gets the answers on it. Nothing is allocated for an
 * operation: it lies in its request. One file only, that of the disk, is reachable by the ring:
 * it is registered, and the ring takes no other and no other kind of operation than these, so that
 * who has taken over the thread can do no more by it than the disk could.
 */
#ifndef KRUN_DEV_DISK_IO_H
#define KRUN_DEV_DISK_IO_H

#include "util/loop.h"
#include "virtio/iobuf.h"

enum disk_op_kind {
	DISK_OP_READ,
	DISK_OP_WRITE,
	DISK_OP_SYNC,	  /* fdatasync(2) */
	DISK_OP_ALLOCATE, /* fallocate(2) with @mode */
	DISK_OP_CALL,	  /* @call on a thread, which may wait */
};

struct disk_op {
	enum disk_op_kind kind;
	int mode;
	uint64_t off, len;
	struct iobuf
		*buf; /* READ, WRITE: a cursor of its own (iobuf_keep()), advanced by what moved */
	int64_t (*call)(struct disk_op *op);
	/* Owner loop: bytes moved (maybe fewer than asked for) or 0, or -errno; what @call said. */
	void (*done)(struct disk_op *op, int64_t res);
	/* private */
	struct iobuf_async a;
	int64_t res;
	struct disk_op *next;
};

struct disk_io;

struct disk_io_cfg {
	int fd;		/* borrowed for good */
	unsigned depth; /* operations at a time, at most */
	bool ring;	/* try io_uring; where it is not to be had the log says so, once */
	/* Owner loop: after the answers that came by themselves. */
	void (*batch)(void *arg);
	void *arg;
};

int disk_io_new(const struct disk_io_cfg *cfg, struct disk_io **out, struct error *e);
void disk_io_free(struct disk_io *io); /* nothing under way; NULL is fine */
bool disk_io_has_ring(const struct disk_io *io);
/* Completions reach @done by themselves from start to stop. */
int disk_io_start(struct disk_io *io, struct loop *loop);
void disk_io_stop(struct disk_io *io, struct loop *loop);
/* @done may come before disk_io_go(), never before this returns. */
void disk_io_add(struct disk_io *io, struct disk_op *op);
/* Hands over what was added, and answers what has ended already. */
void disk_io_go(struct disk_io *io);
/* Waits until nothing is under way, also of what @done adds. */
void disk_io_drain(struct disk_io *io);

#endif
