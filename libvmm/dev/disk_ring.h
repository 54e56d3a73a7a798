/* SPDX-License-Identifier: Apache-2.0 */
/* A disk's io_uring, for one owner. Every function but disk_ring_new() is for its loop's thread. */
#ifndef KRUN_DEV_DISK_RING_H
#define KRUN_DEV_DISK_RING_H

#include "dev/disk_io.h"

struct disk_ring;

/* -ENOTSUP: built without; else what the kernel said (EPERM, ENOSYS: not to be had). */
int disk_ring_new(int fd, unsigned depth, struct disk_ring **out);
void disk_ring_free(struct disk_ring *r); /* NULL is fine; nothing under way */
int disk_ring_fd(const struct disk_ring *r);
/* There is room for @depth operations. */
void disk_ring_add(struct disk_ring *r, struct disk_op *op);
/* Hands over what was added; @wait: and waits until one has ended, if any is under way. What the
 * kernel will not take comes back as a list by @next, untouched: nothing may be added after that.
 */
struct disk_op *disk_ring_go(struct disk_ring *r, bool wait);
/* One that has ended, with its @res; NULL: none. */
struct disk_op *disk_ring_reap(struct disk_ring *r);

#endif
