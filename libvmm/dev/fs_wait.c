// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: requests that wait for a lock. */
/*
 * How it works
 *
 * A lock that cannot be had at once is a record in a list, first come first: which lock, and where
 * in guest memory the answer goes. No thread and no queue waits. When something on the node is
 * given up in this guest, its waits are tried in order. What stands in the way may also be outside
 * of the guest, of which nothing tells us: such a wait is called foreign and tried by a timer, 1 ms
 * after it began, then at doubling intervals up to FS_TICK_MAX, at most FS_TICK_TRY tries a tick in
 * turn, so that any number of them costs little. Waits that are known to be blocked inside the
 * guest are not tried by it.
 *
 * Waits have had no effect on anything: a saved queue offers their requests again.
 *
 * FUSE_INTERRUPT comes by the other queue and may overtake its request: numbers that nobody waits
 * under are remembered, and a request with one of them does not begin to wait.
 *
 * Two processes of the guest that wait for each other are found as the guest's own kernel would
 * find them, by following who is in whose way (EDEADLK); a circle that leads through another guest
 * is not.
 */
/* #syscalls:fs timerfd_settime read */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "dev/fs.h"

#define DEADLOCK_STEPS 16

static struct fs_wait *wait_at(const struct fs *fs, uint32_t idx)
{
	return fs_table_at(&fs->waits, idx, sizeof(struct fs_wait));
}

static void set_foreign(struct fs *fs, struct fs_wait *w, bool on)
{
	fs->nforeign += (unsigned)on - (unsigned)w->foreign;
	w->foreign = on;
}

static void timer_arm(struct fs *fs)
{
	struct itimerspec t = { .it_value.tv_nsec = (long)fs->wait_ms * 1000000 };

	if (!fs->nforeign)
		t.it_value.tv_nsec = 0;
	/* Fails for no reason that a valid time and fd could give. */
	(void)timerfd_settime(fs->timer_fd, 0, &t, NULL);
}

static void wait_free(struct fs *fs, struct fs_wait *w)
{
	struct fs_wait *prev = wait_at(fs, w->prev), *next = wait_at(fs, w->next);

	if (fs->wait_at == w->idx)
		fs->wait_at = w->next;
	if (prev)
		prev->next = w->next;
	else
		fs->wait_first = w->next;
	if (next)
		next->prev = w->prev;
	else
		fs->wait_last = w->prev;
	set_foreign(fs, w, false);
	fs_pool_put(&fs->waits, w);
}

static void wait_end(struct fs *fs, struct fs_wait *w, int err)
{
	uint32_t token = w->token, written = fs_reply(&w->head, w->unique, err, 0);

	wait_free(fs, w);
	fs->answer(fs->answer_arg, token, written);
}

/* True when it waits no longer; @freed: less is held than before, maybe. */
static bool wait_try(struct fs *fs, struct fs_wait *w, bool *freed)
{
	struct fs_node *n = fs_node_at(fs, w->node);
	struct fs_handle *h = fs_handle_at(fs, w->handle);
	uint8_t had = h->flock;
	uint64_t blocker;
	bool inside;
	int r = fs_lock_try(fs, n, h, &w->lk, &inside, &blocker);

	if (r != -EAGAIN) {
		*freed |= !r && w->lk.type == F_RDLCK;
		wait_end(fs, w, r);
		return true;
	}
	/* flock(2) has given up what the file held for what could not be had */
	*freed |= had != h->flock;
	set_foreign(fs, w, !inside);
	return false;
}

void fs_wait_wake(struct fs *fs, struct fs_node *n)
{
	unsigned foreign = fs->nforeign;
	bool freed = fs->wait_first != 0;

	/* each further round is of one wait less, or of one file that holds a lock */
	while (freed) {
		struct fs_wait *w = wait_at(fs, fs->wait_first), *next;

		for (freed = false; w; w = next) {
			next = wait_at(fs, w->next);
			if (w->node == n->idx)
				(void)wait_try(fs, w, &freed);
		}
	}
	if (!foreign && fs->nforeign) {
		fs->wait_ms = 1;
		timer_arm(fs);
	}
}

void fs_wait_cancel(struct fs *fs, struct fs_handle *h, int err)
{
	struct fs_wait *w = wait_at(fs, fs->wait_first), *next;

	for (; w; w = next) {
		next = wait_at(fs, w->next);
		if (w->handle == h->idx)
			wait_end(fs, w, err);
	}
}

void fs_wait_tick(struct fs *fs)
{
	struct fs_wait *w = wait_at(fs, fs->wait_at ? fs->wait_at : fs->wait_first), *next;
	uint32_t downgraded[FS_TICK_TRY];
	unsigned tries = 0, ndown = 0;
	bool got = false;
	uint64_t n;

	(void)!read(fs->timer_fd, &n, sizeof(n));
	for (; w && tries < FS_TICK_TRY; w = next) {
		bool freed = false;

		next = wait_at(fs, w->next);
		if (!w->foreign)
			continue;
		tries++;
		downgraded[ndown] = w->node;
		got |= wait_try(fs, w, &freed);
		ndown += freed;
	}
	fs->wait_at = w ? w->idx : 0;
	for (unsigned i = 0; i < ndown; i++)
		fs_wait_wake(fs, fs_node_at(fs, downgraded[i]));
	if (got)
		fs->wait_ms = 1;
	else if (!w)
		fs->wait_ms = MIN(fs->wait_ms * 2, (unsigned)FS_TICK_MAX);
	timer_arm(fs);
}

void fs_waits_clear(struct fs *fs)
{
	fs_table_free(&fs->waits);
	fs->wait_first = fs->wait_last = fs->wait_at = 0;
	fs->nforeign = 0;
	fs->wait_ms = 1;
	memset(fs->intr, 0, sizeof(fs->intr));
	timer_arm(fs);
}

/* Whether @owner, waiting for @blocker, would close a circle of processes of this guest. */
static bool deadlock(struct fs *fs, uint64_t owner, uint64_t blocker)
{
	for (unsigned i = 0; i < DEADLOCK_STEPS; i++) {
		struct fs_wait *w = wait_at(fs, fs->wait_first);
		struct fs_lockset *s = NULL;

		if (blocker == owner)
			return true;
		while (w && (w->lk.flock || w->lk.owner != blocker))
			w = wait_at(fs, w->next);
		if (w)
			s = fs_lock_conflict(fs, fs_node_at(fs, w->node), &w->lk, NULL);
		if (!s)
			return false;
		blocker = s->owner;
	}
	return false;
}

static bool interrupted(const struct fs *fs, uint64_t unique)
{
	for (unsigned i = 0; i < FS_INTRS; i++)
		if (fs->intr[i] == unique)
			return true;
	return false;
}

static int wait_add(
	struct fs *fs, struct fs_req *q, struct fs_handle *h, const struct fs_lk *lk, bool inside)
{
	struct fs_wait *w, *last = wait_at(fs, fs->wait_last);
	int r;

	/* Whoever cannot wait is told to come again; so is one in whose stead nobody waits. */
	if (q->token == FS_NOW)
		return -EAGAIN;
	if (interrupted(fs, q->h.unique))
		return -EINTR;
	w = fs_pool_get(&fs->waits, sizeof(*w));
	if (!w)
		return -ENOLCK;
	r = iobuf_keep(&q->head, &w->head, w->iov, ARRAY_SIZE(w->iov));
	if (r < 0) {
		fs_pool_put(&fs->waits, w);
		return -EINVAL;
	}
	w->node = q->n->idx;
	w->handle = h->idx;
	w->token = q->token;
	w->unique = q->h.unique;
	w->lk = *lk;
	w->prev = fs->wait_last;
	if (last)
		last->next = w->idx;
	else
		fs->wait_first = w->idx;
	fs->wait_last = w->idx;
	if (!inside) {
		set_foreign(fs, w, true);
		fs->wait_ms = 1;
		timer_arm(fs);
	}
	return FS_LATER;
}

static int take_lk(struct fs *fs, struct fs_req *q, struct fs_lk *lk, struct fs_handle **out)
{
	const struct fuse_lk_in *in = &q->a.lk;
	struct fs_handle *h = fs_handle_get(fs, q->n, in->fh);

	if (!h || h->kind == FS_H_DIR)
		return -EBADF;
	if (h->kind == FS_H_VIRT)
		return -ENOLCK;
	if (h->fd < 0)
		return -ESTALE;
	if (in->lk.type > F_UNLCK || in->lk.start > in->lk.end || in->lk.end > INT64_MAX)
		return -EINVAL;
	*lk = (struct fs_lk){ .owner = in->owner,
		.start = in->lk.start,
		.end = in->lk.end,
		.pid = in->lk.pid,
		.type = (uint8_t)in->lk.type,
		.flock = in->lk_flags & FUSE_LK_FLOCK };
	*out = h;
	return 0;
}

static int set_lock(struct fs *fs, struct fs_req *q, bool may_wait)
{
	struct fs_handle *h = NULL;
	struct fs_lk lk;
	uint64_t blocker = 0;
	bool inside;
	int r = take_lk(fs, q, &lk, &h);

	if (!r)
		r = fs_lock_try(fs, q->n, h, &lk, &inside, &blocker);
	/* Less than before may be held now, also after a flock() that failed. */
	if (r == -EAGAIN ? lk.flock : !r && lk.type != F_WRLCK)
		fs_wait_wake(fs, q->n);
	if (r != -EAGAIN || !may_wait)
		return r;
	if (inside && !lk.flock && deadlock(fs, lk.owner, blocker))
		return -EDEADLK;
	return wait_add(fs, q, h, &lk, inside);
}

int fs_op_setlk(struct fs *fs, struct fs_req *q)
{
	return set_lock(fs, q, false);
}

int fs_op_setlkw(struct fs *fs, struct fs_req *q)
{
	return set_lock(fs, q, true);
}

int fs_op_interrupt(struct fs *fs, struct fs_req *q)
{
	struct fs_wait *w = wait_at(fs, fs->wait_first);

	while (w && w->unique != q->a.intr.unique)
		w = wait_at(fs, w->next);
	if (w)
		wait_end(fs, w, -EINTR);
	else
		fs->intr[fs->intr_next++ % FS_INTRS] = q->a.intr.unique;
	return 0;
}
