/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues, device side (virtio 1.2, section 2.7), with indirect descriptors and EVENT_IDX.
 *
 * One thread owns a queue. vq_pop() returns 1 with a request of which everything has been proven
 * (indices in range, no loop, no nested indirect, readable before writable, counts within limits.h,
 * every buffer resident), 0 when the ring is empty, -errno when the driver broke the rules: the
 * device is then broken (vdev_broken()), not the VMM. Each descriptor is read once, as two 64-bit
 * loads.
 */
#ifndef KRUN_VIRTIO_VQ_H
#define KRUN_VIRTIO_VQ_H

#include <stdbool.h>
#include <stdint.h>

#include "core/mem.h"
#include "util/save.h"
#include "virtio/iobuf.h"

struct vring_desc_ {
	uint64_t addr;
	uint64_t len_flags_next; /* u32 len, u16 flags, u16 next */
};

struct vq {
	const struct mem *mem;
	/* geometry: written by the transport before DRIVER_OK, constant after */
	uint16_t size;		    /* power of two, <= max */
	uint16_t max;		    /* offered */
	uint32_t chain_bytes;	    /* of one chain, at most: LIM_CHAIN_BYTES unless its device says
				       otherwise before the first driver */
	uint64_t desc, avail, used; /* guest-physical */
	bool ready;
	bool event_idx;
	bool indirect;
	/* pinned by vq_start() */
	volatile struct vring_desc_ *d;
	volatile uint16_t *a;
	volatile uint16_t *u;
	/* state */
	uint16_t last_avail;   /* next avail entry to take */
	uint16_t used_idx;     /* next used entry to write */
	uint16_t used_flushed; /* the used->idx that the driver can see */
	uint16_t signalled;    /* used_flushed at the last interrupt decision */
	bool signalled_valid;
	bool kicks_off;			 /* the owner asked not to be kicked */
	uint16_t avail_event;		 /* what the driver sees there, EVENT_IDX */
	uint16_t inflight;		 /* popped and not pushed */
	uint16_t nredo;			 /* heads in @redo */
	uint64_t busy[LIM_VQ_SIZE / 64]; /* heads that are in flight */
	uint64_t redo[LIM_VQ_SIZE / 64]; /* heads that were in flight when saved: popped first */
};

/* A popped chain. Lives until vq_push(); rd and wr point into iov. */
struct vq_req {
	struct iobuf rd, wr;
	uint16_t head;
	uint16_t niov;
	bool redone; /* it was in flight when the queue was saved */
	struct iovec iov[LIM_IOV];
};

void vq_init(struct vq *q, const struct mem *m, uint16_t max);
/* At DRIVER_OK: checks the geometry and pins the rings. -EINVAL / -EFAULT. @resume keeps last_avail
 * and used_idx (load). */
int vq_start(struct vq *q, bool resume) NODISCARD;
/* At reset: back to the state of vq_init(). */
void vq_reset(struct vq *q);

/*
 * 1, 0, -EINVAL (rings or descriptors make no sense), -EFAULT (an address outside memory). With
 * kicks on (as after vq_start()), 0 means also that the driver has been told to kick for its next
 * entry, so a loop of pops needs no vq_kicks(); an owner that stops before 0 must come back by
 * itself.
 */
int vq_pop(struct vq *q, struct vq_req *req) NODISCARD;
/* Returns the chain with @len bytes written. Requests may be pushed in any order. A head that is
 * not in flight is our bug. */
void vq_push(struct vq *q, uint16_t head, uint32_t len);
/* Undoes the last vq_pop() (the request stays in the ring). */
void vq_unpop(struct vq *q, const struct vq_req *req);
/* Makes pushed entries visible; true when the driver wants an interrupt. Once per batch. */
bool vq_flush(struct vq *q) NODISCARD;
/*
 * Asks for kicks (true) or says that none are needed. After enabling, returns true when entries
 * arrived meanwhile: the caller must look again before it sleeps.
 */
bool vq_kicks(struct vq *q, bool on);
/* Entries waiting, without taking them; -EINVAL when the driver's index is nonsense. */
int vq_pending(const struct vq *q);

/*
 * Save wants everything pushed to be flushed (else -EINVAL in @s). Requests in flight are saved by
 * head and popped anew after load, lowest head first, before new ones: right only for those that
 * have had no effect yet (vdev_class.redo).
 */
void vq_save(const struct vq *q, struct save_out *s);
/* Fills geometry and indices of a queue fresh from vq_init(); vq_start(q, true) follows. */
int vq_load(struct vq *q, struct save_in *s) NODISCARD;

#endif
