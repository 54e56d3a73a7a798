/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk: what its files share (virtio 1.2, section 5.2). All of it is the owner loop's. */
#ifndef KRUN_DEV_BLK_H
#define KRUN_DEV_BLK_H

#include "core/limits.h"
#include "dev/disk.h"
#include "dev/disk_io.h"
#include "virtio/vdev.h"

#define BLK_F_SIZE_MAX	   (1ULL << 1)
#define BLK_F_SEG_MAX	   (1ULL << 2)
#define BLK_F_RO	   (1ULL << 5)
#define BLK_F_BLK_SIZE	   (1ULL << 6)
#define BLK_F_FLUSH	   (1ULL << 9)
#define BLK_F_TOPOLOGY	   (1ULL << 10)
#define BLK_F_MQ	   (1ULL << 12)
#define BLK_F_DISCARD	   (1ULL << 13)
#define BLK_F_WRITE_ZEROES (1ULL << 14)

/* A vector for LIM_BLK_SEGS buffers, of which some lie across a border of memory regions. */
#define BLK_IOV (LIM_BLK_SEGS + 10)

struct blk;

/* A request that is under way. */
struct blk_slot {
	struct disk_op op;
	struct blk *b;
	struct blk_slot *next; /* of those that are free */
	enum disk_cmd cmd;
	uint16_t queue, head;
	uint64_t off, len; /* what is left to do */
	uint32_t written;  /* bytes of the driver's buffers, status aside */
	bool synced;	   /* a write that must be on the medium is */
	struct iobuf data, status;
	struct iovec status_iov[1];
	struct iovec iov[BLK_IOV];
};

struct blk {
	struct vdev v;
	struct disk *disk;
	struct disk_io *io;
	struct blk_slot slot[LIM_BLK_INFLIGHT];
	struct blk_slot *free;
	uint32_t starved;  /* queues that wait for a free slot, a bit each */
	uint32_t answered; /* queues with entries that the driver has not been shown */
	bool unsaved;	   /* the pause could not put into the image all that was answered */
	struct vq_req req; /* the request in hand: too large for the stack */
};

/* blk_req.c: takes b->req, which came from queue @q, and a free slot. It is answered, or will be.
 */
void blk_begin(struct blk *b, unsigned q);
/* Shows the driver what was answered. */
void blk_show(struct blk *b);

#endif
