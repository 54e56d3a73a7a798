/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of a disk. They start when they are first needed, up to LIM_BLK_WORKERS, and take
 * operations in the order in which they were given. All functions are for the owner.
 */
#ifndef KRUN_DEV_DISK_POOL_H
#define KRUN_DEV_DISK_POOL_H

#include "dev/disk_io.h"

struct disk_pool;

int disk_pool_new(int fd, struct disk_pool **out);
void disk_pool_free(struct disk_pool *p); /* NULL is fine; nothing may be under way */
/* Readable when something has ended, maybe also when it has been reaped since. */
int disk_pool_fd(const struct disk_pool *p);
/* No longer readable until something more has ended. To be followed by disk_pool_reap(). */
void disk_pool_heard(struct disk_pool *p);
/* Where no thread can be made it is done here and now; it ends as all others do. */
void disk_pool_give(struct disk_pool *p, struct disk_op *op);
/* What has ended, as a list by @next, in order. @wait: for at least one, if any is under way. */
struct disk_op *disk_pool_reap(struct disk_pool *p, bool wait);
#endif
