/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest without a processor: RAM, and a virtio-mmio driver written from the other side of the
 * same specification.
 *
 * It shares no code with libvmm/virtio: layouts and index arithmetic are its own, so that a test
 * sees a mistake of either. One thread drives a fake_dev. The device's loop may have its own
 * thread, or be named as `pump`, and is then run by whoever waits here. Buffers come from a bump
 * allocator; fake_guest_xfer() gives back what it took.
 */
#ifndef KRUN_TESTS_FAKE_GUEST_H
#define KRUN_TESTS_FAKE_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/irq.h"
#include "core/mem.h"
#include "util/loop.h"
#include "virtio/mmio.h"

#define FAKE_RAM_GPA	0x40000000ULL
#define FAKE_TIMEOUT_MS 10000

/* Two regions that touch in guest-physical but not in host addresses: a buffer across @half is
 * split. */
struct fake_guest {
	struct mem mem; /* a test may add windows before its device is made */
	uint8_t *lo, *hi;
	uint64_t bytes, half; /* all of RAM; where the second region begins, from FAKE_RAM_GPA */
	uint64_t used;	      /* bump allocator */
	bool shared;	      /* lo and hi are mappings of memfds */
};

int fake_guest_init(struct fake_guest *g, uint64_t bytes);	  /* a multiple of 8192 */
int fake_guest_init_shared(struct fake_guest *g, uint64_t bytes); /* RAM of memfds */
void fake_guest_fini(struct fake_guest *g);
/* Guest memory, zeroed, wholly in one region; aborts when there is no more. */
gpa_t fake_alloc(struct fake_guest *g, uint64_t n, uint64_t align);
/* The host address of guest memory that lies in one region; aborts when it does not. */
void *fake_ptr(struct fake_guest *g, gpa_t gpa, uint64_t n);

/* A piece of a chain by address: what is in the descriptor. */
struct fake_seg {
	uint64_t gpa;
	uint32_t len;
};

struct fake_vq {
	uint16_t size;
	uint64_t desc, avail, used; /* gpa */
	uint8_t *dp, *ap, *up;	    /* the same as host addresses */
	uint16_t avail_idx;	    /* entries added */
	uint16_t avail_shown;	    /* entries that the device can see */
	uint16_t used_seen;	    /* entries reaped */
	uint16_t nfree, free_head;  /* descriptors, chained by next */
	uint16_t *next;		    /* our own copy of the free list and of chains */
	uint16_t *chain_len;	    /* by head: table descriptors that it holds */
};

struct fake_dev {
	struct fake_guest *g;
	struct vdev *v;
	struct mmio mmio;
	struct irq_line irq; /* efd is ours */
	struct loop *pump;   /* run this loop while waiting; NULL when it has a thread */
	uint64_t features;   /* negotiated */
	bool indirect;	     /* put chains of more than one descriptor into indirect tables */
	unsigned nq;
	struct fake_vq q[LIM_VQS];
	uint64_t kicks, interrupts; /* notify writes made; irq_fd wake-ups that had a reason */
	uint64_t cfg_interrupts;
	bool cfg_event; /* an interrupt said that the config changed; the test clears it */
};

/* Becomes the interrupt line and transport of @v. */
int fake_dev_init(struct fake_dev *d, struct fake_guest *g, struct vdev *v);
void fake_dev_fini(struct fake_dev *d);

uint32_t fake_reg_read(struct fake_dev *d, unsigned reg);
void fake_reg_write(struct fake_dev *d, unsigned reg, uint32_t val);
void fake_cfg_read(struct fake_dev *d, unsigned off, void *p,
	unsigned n); /* byte by byte, generation checked */
void fake_cfg_write(struct fake_dev *d, unsigned off, const void *p, unsigned n);

/* Section 3.1.1 up to DRIVER_OK, all queues, features offered & @want. -ENODEV (no such device),
 * -ENOTSUP (features refused), -EIO. */
int fake_dev_start(struct fake_dev *d, uint64_t want);
/* The parts of it: up to FEATURES_OK; one queue with @size entries (0: the maximum); DRIVER_OK. */
int fake_dev_negotiate(struct fake_dev *d, uint64_t want);
int fake_dev_queue(struct fake_dev *d, unsigned q, uint16_t size);
int fake_dev_ready(struct fake_dev *d);
void fake_dev_reset(struct fake_dev *d);

/* Adds a chain, readable pieces first, without showing it; returns its head or -ENOSPC. */
int fake_add(struct fake_dev *d, unsigned q, const struct fake_seg *out, unsigned nout,
	const struct fake_seg *in, unsigned nin);
/* Shows what was added, and kicks if the device wants to know. True when it kicked. */
bool fake_kick(struct fake_dev *d, unsigned q);
/* 1 with the head and length of the next used entry, 0 when there is none, -EPROTO when it makes no
 * sense. */
int fake_reap(struct fake_dev *d, unsigned q, uint16_t *head, uint32_t *len);
/*
 * Waits for a used entry as a driver does: used_event, barrier, look, sleep until the interrupt. 0,
 * -ETIMEDOUT, -EIO when the device says NEEDS_RESET.
 */
int fake_wait(struct fake_dev *d, unsigned q, int timeout_ms);
/* Takes in a pending interrupt, if any; pumps the loop once without waiting. */
void fake_poll(struct fake_dev *d);

/* A piece of a chain by content. */
struct fake_out {
	const void *p;
	uint32_t len;
};
struct fake_in {
	void *p;
	uint32_t len;
};

/*
 * One request and its reply: copies @out into guest memory, adds, kicks, waits, copies the @in
 * pieces back. Returns the used length or -errno of the above. Nothing else may be in flight on the
 * queue.
 */
int fake_guest_xfer(struct fake_dev *d, unsigned q, const struct fake_out *out, unsigned nout,
	const struct fake_in *in, unsigned nin);

#endif
