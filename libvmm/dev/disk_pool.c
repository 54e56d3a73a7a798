// SPDX-License-Identifier: Apache-2.0
/* The threads of a disk: operations in, results out. */
/*
 * How it works
 *
 * Two lists under one lock, which is held for the change of one. A thread that finishes puts the
 * operation on the list of those that have ended and, if that was empty, writes the eventfd; the
 * owner takes the whole list at once. It may do so before it is told: the eventfd is read where it
 * is listened to, whether or not there is still something on the list. Threads are made by the
 * owner when there are more operations than threads that look for one, so that a disk which is
 * served by io_uring has none.
 */
/* #syscalls:blk clone clone3 eventfd2 fallocate fdatasync prctl:PR_SET_NAME preadv pwritev read
 * readv write writev */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk_pool.h"

struct disk_pool {
	int fd, efd;
	pthread_mutex_t lock; /* the lists, idle, stop */
	pthread_cond_t given, ended;
	struct disk_op *waiting, **given_end;
	struct disk_op *done, **done_end;
	unsigned idle;
	bool stop;
	pthread_t thread[LIM_BLK_WORKERS]; /* the owner's, as all that follows */
	unsigned nthreads;
	unsigned busy; /* given and not reaped */
};

static int64_t run(struct disk_op *op, int fd)
{
	int64_t r = -EINVAL;

	do {
		switch (op->kind) {
		case DISK_OP_READ:
			r = iobuf_read_fd(op->buf, fd, op->len, (off_t)op->off);
			break;
		case DISK_OP_WRITE:
			r = iobuf_write_fd(op->buf, fd, op->len, (off_t)op->off);
			break;
		case DISK_OP_SYNC:
			r = fdatasync(fd) ? -errno : 0;
			break;
		case DISK_OP_ALLOCATE:
			r = fallocate(fd, op->mode, (off_t)op->off, (off_t)op->len) ? -errno : 0;
			break;
		case DISK_OP_CALL:
			return op->call(op);
		}
	} while (r == -EINTR);
	return r;
}

static void finish(struct disk_pool *p, struct disk_op *op)
{
	bool first = !p->done;

	op->next = NULL;
	*p->done_end = op;
	p->done_end = &op->next;
	(void)pthread_cond_signal(&p->ended);
	if (first)
		(void)eventfd_write(p->efd, 1);
}

static void *work(void *arg)
{
	struct disk_pool *p = arg;

	/* by itself: another thread would do it by a file */
	(void)prctl(PR_SET_NAME, "blk-worker");
	(void)pthread_mutex_lock(&p->lock);
	for (;;) {
		struct disk_op *op;

		p->idle++;
		while (!p->waiting && !p->stop)
			(void)pthread_cond_wait(&p->given, &p->lock);
		p->idle--;
		op = p->waiting;
		if (!op)
			break;
		p->waiting = op->next;
		if (!p->waiting)
			p->given_end = &p->waiting;
		(void)pthread_mutex_unlock(&p->lock);
		op->res = run(op, p->fd);
		(void)pthread_mutex_lock(&p->lock);
		finish(p, op);
	}
	(void)pthread_mutex_unlock(&p->lock);
	return NULL;
}

int disk_pool_new(int fd, struct disk_pool **out)
{
	struct disk_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->fd = fd;
	p->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->efd < 0) {
		int r = -errno;

		free(p);
		return r;
	}
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->given, NULL);
	(void)pthread_cond_init(&p->ended, NULL);
	p->given_end = &p->waiting;
	p->done_end = &p->done;
	*out = p;
	return 0;
}

void disk_pool_free(struct disk_pool *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->stop = true;
	(void)pthread_cond_broadcast(&p->given);
	(void)pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		(void)pthread_join(p->thread[i], NULL);
	(void)pthread_cond_destroy(&p->ended);
	(void)pthread_cond_destroy(&p->given);
	(void)pthread_mutex_destroy(&p->lock);
	(void)close(p->efd);
	free(p);
}

int disk_pool_fd(const struct disk_pool *p)
{
	return p->efd;
}

static void one_more(struct disk_pool *p)
{
	if (p->nthreads < LIM_BLK_WORKERS &&
		!pthread_create(&p->thread[p->nthreads], NULL, work, p))
		p->nthreads++;
}

void disk_pool_give(struct disk_pool *p, struct disk_op *op)
{
	/* @busy counts also what has ended unseen: at worst a thread starts early */
	if (p->busy >= p->nthreads)
		one_more(p);
	p->busy++;
	op->next = NULL;
	if (!p->nthreads)
		op->res = run(op, p->fd);
	(void)pthread_mutex_lock(&p->lock);
	if (!p->nthreads) {
		finish(p, op);
	} else {
		*p->given_end = op;
		p->given_end = &op->next;
		(void)pthread_cond_signal(&p->given);
	}
	(void)pthread_mutex_unlock(&p->lock);
}

void disk_pool_heard(struct disk_pool *p)
{
	eventfd_t n;

	(void)eventfd_read(p->efd, &n);
}

struct disk_op *disk_pool_reap(struct disk_pool *p, bool wait)
{
	struct disk_op *list;

	if (!p->busy)
		return NULL;
	(void)pthread_mutex_lock(&p->lock);
	while (!p->done && wait)
		(void)pthread_cond_wait(&p->ended, &p->lock);
	list = p->done;
	p->done = NULL;
	p->done_end = &p->done;
	(void)pthread_mutex_unlock(&p->lock);
	for (struct disk_op *op = list; op; op = op->next)
		p->busy--;
	return list;
}
