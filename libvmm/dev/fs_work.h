/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of a virtio-fs device: threads that move bytes of open files while the device's own
 * thread, the only one that touches the server and the queues, goes on with other requests.
 *
 * A worker has one slot: a request, popped straight into it. All functions are for the owner.
 */
#ifndef KRUN_DEV_FS_WORK_H
#define KRUN_DEV_FS_WORK_H

#include "dev/fs.h"
#include "virtio/vq.h"

struct fs_workers;

/* What a request is popped into and served from. */
struct fs_slot {
	struct vq_req req;
	struct fs_req q;
	unsigned queue;
	uint32_t written; /* when it is done */
};

/* No thread yet: they start when they are first needed. */
int fs_workers_new(struct fs *fs, struct fs_workers **out);
/* Waits for what is under way, unanswered. NULL is fine. */
void fs_workers_free(struct fs_workers *w);
/* Readable when slots are done and the owner said that it would sleep. */
int fs_workers_fd(const struct fs_workers *w);
/* A slot that no worker has; the same until it is handed over. NULL: all are busy. */
struct fs_slot *fs_workers_slot(struct fs_workers *w);
/* Whether any is busy. */
bool fs_workers_busy(const struct fs_workers *w);
/* Gives that slot to its worker. False: there is no thread for it. */
bool fs_workers_hand(struct fs_workers *w, struct fs_slot *s);
/*
 * A slot that is done, to be answered and forgotten before the next call; NULL: none. @wait: for
 * one if any is busy. A NULL means also that from now on the fd will tell.
 */
struct fs_slot *fs_workers_reap(struct fs_workers *w, bool wait);

#endif
