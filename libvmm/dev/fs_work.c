// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: the worker threads of a device. */
/*
 * How it works
 *
 * A slot goes round: free, the owner's; given to its worker; done, the owner's again. One lock
 * guards the states, and is held for the change of one. A worker that is done writes the eventfd
 * only if the owner has said, by a reap that found nothing, that it goes to sleep: under load the
 * owner finds finished work in passing and no call is made.
 *
 * A worker does fs_xfer_run(): system calls on open files, and guest memory by the request's own
 * vectors. Handles are counted by the owner before and after.
 */
/* #syscalls:fs eventfd2 read clone clone3 prctl:PR_SET_NAME */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dev/fs_work.h"
#include "util/cleanup.h"

enum state {
	S_FREE,
	S_GIVEN,
	S_DONE
};

struct worker {
	struct fs_workers *all;
	struct fs_slot slot;
	pthread_t thread;
	pthread_cond_t given;
	enum state state; /* under lock */
	bool started;	  /* the owner's */
};

struct fs_workers {
	struct fs *fs;
	int efd;
	pthread_mutex_t lock; /* states, asleep, stop */
	pthread_cond_t done;
	bool asleep, stop;
	unsigned busy;	 /* given and not reaped; the owner's */
	bool no_threads; /* could not be started; the owner's */
	struct worker w[LIM_FS_WORKERS];
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct fs_workers *a = w->all;
	bool attached = fs_attach_thread(a->fs) == 0;

	(void)pthread_mutex_lock(&a->lock);
	for (;;) {
		while (w->state != S_GIVEN && !a->stop)
			(void)pthread_cond_wait(&w->given, &a->lock);
		if (w->state != S_GIVEN)
			break;
		(void)pthread_mutex_unlock(&a->lock);
		/* Without its own rights a thread could keep set-id bits that must fall. */
		w->slot.written = attached ? fs_xfer_run(&w->slot.q)
					   : fs_reply(&w->slot.q.head, w->slot.q.h.unique, -EIO, 0);
		if (!attached && w->slot.q.x.own_fd)
			(void)close(w->slot.q.x.fd);
		(void)pthread_mutex_lock(&a->lock);
		w->state = S_DONE;
		(void)pthread_cond_signal(&a->done);
		if (a->asleep) {
			a->asleep = false;
			(void)eventfd_write(a->efd, 1);
		}
	}
	(void)pthread_mutex_unlock(&a->lock);
	return NULL;
}

int fs_workers_new(struct fs *fs, struct fs_workers **out)
{
	struct fs_workers *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->fs = fs;
	a->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (a->efd < 0) {
		free(a);
		return -errno;
	}
	(void)pthread_mutex_init(&a->lock, NULL);
	(void)pthread_cond_init(&a->done, NULL);
	for (unsigned i = 0; i < LIM_FS_WORKERS; i++) {
		a->w[i].all = a;
		(void)pthread_cond_init(&a->w[i].given, NULL);
	}
	*out = a;
	return 0;
}

void fs_workers_free(struct fs_workers *a)
{
	if (!a)
		return;
	(void)pthread_mutex_lock(&a->lock);
	a->stop = true;
	for (unsigned i = 0; i < LIM_FS_WORKERS; i++)
		(void)pthread_cond_signal(&a->w[i].given);
	(void)pthread_mutex_unlock(&a->lock);
	for (unsigned i = 0; i < LIM_FS_WORKERS; i++) {
		if (a->w[i].started)
			(void)pthread_join(a->w[i].thread, NULL);
		(void)pthread_cond_destroy(&a->w[i].given);
	}
	(void)pthread_cond_destroy(&a->done);
	(void)pthread_mutex_destroy(&a->lock);
	(void)close(a->efd);
	free(a);
}

int fs_workers_fd(const struct fs_workers *a)
{
	return a->efd;
}

bool fs_workers_busy(const struct fs_workers *a)
{
	return a->busy;
}

struct fs_slot *fs_workers_slot(struct fs_workers *a)
{
	struct fs_slot *s = NULL;

	if (a->busy == LIM_FS_WORKERS)
		return NULL;
	(void)pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < LIM_FS_WORKERS && !s; i++)
		if (a->w[i].state == S_FREE)
			s = &a->w[i].slot;
	(void)pthread_mutex_unlock(&a->lock);
	return s;
}

static bool start(struct worker *w)
{
	char name[16];

	if (w->started || w->all->no_threads)
		return w->started;
	/* it begins with our rights, and takes those for all that there are */
	fs_cred_fsetid(true);
	if (pthread_create(&w->thread, NULL, work, w)) {
		w->all->no_threads = true;
		return false;
	}
	(void)snprintf(name, sizeof(name), "fs-worker%u", (unsigned)(w - w->all->w) % 16);
	(void)pthread_setname_np(w->thread, name);
	w->started = true;
	return true;
}

bool fs_workers_hand(struct fs_workers *a, struct fs_slot *s)
{
	struct worker *w = CONTAINER_OF(s, struct worker, slot);

	if (!start(w))
		return false;
	a->busy++;
	(void)pthread_mutex_lock(&a->lock);
	w->state = S_GIVEN;
	(void)pthread_cond_signal(&w->given);
	(void)pthread_mutex_unlock(&a->lock);
	return true;
}

static struct worker *find_done(struct fs_workers *a)
{
	for (unsigned i = 0; i < LIM_FS_WORKERS; i++)
		if (a->w[i].state == S_DONE)
			return &a->w[i];
	return NULL;
}

struct fs_slot *fs_workers_reap(struct fs_workers *a, bool wait)
{
	struct worker *w;

	if (!a->busy)
		return NULL;
	(void)pthread_mutex_lock(&a->lock);
	while (!(w = find_done(a)) && wait)
		(void)pthread_cond_wait(&a->done, &a->lock);
	if (w)
		w->state = S_FREE;
	a->asleep = !w;
	(void)pthread_mutex_unlock(&a->lock);
	if (!w)
		return NULL;
	a->busy--;
	return &w->slot;
}
