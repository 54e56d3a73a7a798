// SPDX-License-Identifier: Apache-2.0
/* The event loop: epoll, and a list of calls posted by other threads. */
/*
 * How it works
 *
 * An epoll set holds every source; its user data is the source's address. One more source, an
 * eventfd, wakes the loop for posted calls and for loop_stop(). loop_once() keeps its batch of
 * events in the loop, so that loop_del() can strike out what has been fetched but not yet
 * dispatched: after loop_del() returns, nobody touches the source any more.
 *
 * Posted calls are a list under a mutex. loop_post() allocates its node and is bounded; loop_call()
 * has its node on the caller's stack and waits for `done` on the loop's condition variable. The
 * loop takes the whole list at once and runs it unlocked, so calls that post again wait for the
 * next round and cannot starve the sources.
 *
 * A thread that ends runs what was accepted and closes the list under the same lock, so that no
 * caller waits for a loop that is gone.
 */
/* #syscalls:main,io,fs,blk,net epoll_wait epoll_ctl read */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "util/log.h"
#include "util/loop.h"
#include "util/util.h"

#define LOOP_BATCH 64

struct loop_msg {
	struct loop_msg *next;
	void (*fn)(void *arg);
	void *arg;
	bool done;
	bool waited; /* on the caller's stack, else on the heap */
};

enum loop_life {
	LOOP_IDLE,   /* no thread yet */
	LOOP_THREAD, /* its thread takes posts */
	LOOP_ENDED,
};

struct loop {
	char name[16];
	int ep;
	struct loop_src wake;
	int stop; /* atomic */

	pthread_mutex_t lock;
	pthread_cond_t called;
	struct loop_msg *first, **last; /* under lock */
	bool woken;			/* for what is in the list, under lock */
	unsigned nposts;		/* heap nodes in the list, under lock */
	enum loop_life life;		/* under lock */
	bool owned;			/* owner is valid; under lock */
	pthread_t owner;
	pthread_t thread; /* this and joinable: for the thread that starts and joins */
	bool joinable;

	struct epoll_event batch[LOOP_BATCH];
	int next, fetched; /* batch[next..fetched) is still to be dispatched */

	void (*failed)(void *arg, const char *name, int err);
	void *failed_arg;
};

/* False when it could not be: whoever calls then waits for ever, unless a later one can. */
static bool loop_wake(struct loop *l)
{
	uint64_t one = 1;

	for (int i = 0; i < 3; i++) {
		/* EAGAIN: the counter is so high that the loop is awake anyway */
		if (write(l->wake.fd, &one, sizeof(one)) >= 0 || errno == EAGAIN)
			return true;
	}
	if (l->failed)
		l->failed(l->failed_arg, l->name, -errno);
	else
		log_err("loop %s: wake: %s", l->name, err_text(errno));
	return false;
}

static void loop_run_posts(struct loop *l)
{
	struct loop_msg *m;

	(void)pthread_mutex_lock(&l->lock);
	m = l->first;
	l->first = NULL;
	l->last = &l->first;
	l->nposts = 0;
	l->woken = false;
	(void)pthread_mutex_unlock(&l->lock);

	while (m) {
		struct loop_msg *next = m->next;

		m->fn(m->arg);
		if (m->waited) {
			/* Once done is visible, *m may be gone. */
			(void)pthread_mutex_lock(&l->lock);
			m->done = true;
			(void)pthread_cond_broadcast(&l->called);
			(void)pthread_mutex_unlock(&l->lock);
		} else {
			free(m);
		}
		m = next;
	}
}

static void loop_on_wake(struct loop_src *src, uint32_t events)
{
	struct loop *l = src->arg;
	uint64_t n;

	(void)events;
	/* Cleared before the list is taken: a post in between wakes us once more, never once too
	 * few. */
	if (read(src->fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		log_err("loop %s: %s", l->name, err_text(errno));
	loop_run_posts(l);
}

int loop_new(const char *name, struct loop **out, struct error *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_sys(e, ENOMEM, "event loop %s", name);
	(void)strncpy(l->name, name, sizeof(l->name) - 1);
	l->last = &l->first;
	(void)pthread_mutex_init(&l->lock, NULL);
	(void)pthread_cond_init(&l->called, NULL);
	l->ep = epoll_create1(EPOLL_CLOEXEC);
	l->wake = (struct loop_src){ .name = "wake", .fn = loop_on_wake, .arg = l };
	l->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->ep < 0 || l->wake.fd < 0)
		r = -errno;
	else
		r = loop_add(l, &l->wake, EPOLLIN);
	if (r) {
		loop_free(l);
		return err_sys(e, r, "event loop %s", name);
	}
	*out = l;
	return 0;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->first) {
		struct loop_msg *m = l->first;

		l->first = m->next;
		free(m);
	}
	if (l->wake.fd >= 0)
		(void)close(l->wake.fd);
	if (l->ep >= 0)
		(void)close(l->ep);
	(void)pthread_cond_destroy(&l->called);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

int loop_add(struct loop *l, struct loop_src *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	if (src->added)
		return -EEXIST;
	if (epoll_ctl(l->ep, EPOLL_CTL_ADD, src->fd, &ev) < 0)
		return -errno;
	src->added = true;
	return 0;
}

int loop_mod(struct loop *l, struct loop_src *src, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = src };

	if (!src->added)
		return -ENOENT;
	return epoll_ctl(l->ep, EPOLL_CTL_MOD, src->fd, &ev) < 0 ? -errno : 0;
}

void loop_del(struct loop *l, struct loop_src *src)
{
	if (!src->added)
		return;
	if (epoll_ctl(l->ep, EPOLL_CTL_DEL, src->fd, NULL) < 0)
		log_err("loop %s: removing %s: %s", l->name, src->name, err_text(errno));
	src->added = false;
	for (int i = l->next; i < l->fetched; i++) {
		if (l->batch[i].data.ptr == src)
			l->batch[i].data.ptr = NULL;
	}
}

int loop_once(struct loop *l, int timeout_ms)
{
	int n = epoll_wait(l->ep, l->batch, LOOP_BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	l->fetched = n;
	for (l->next = 0; l->next < l->fetched;) {
		const struct epoll_event *ev = &l->batch[l->next++];
		struct loop_src *src = ev->data.ptr;

		if (src)
			src->fn(src, ev->events);
	}
	l->next = l->fetched = 0;
	return n;
}

int loop_run(struct loop *l)
{
	int r = 0;

	while (r >= 0 && !__atomic_load_n(&l->stop, __ATOMIC_ACQUIRE))
		r = loop_once(l, -1);
	__atomic_store_n(&l->stop, 0, __ATOMIC_RELEASE);
	return MIN(r, 0);
}

void loop_stop(struct loop *l)
{
	__atomic_store_n(&l->stop, 1, __ATOMIC_RELEASE);
	(void)loop_wake(l);
}

/* Under the lock, wake-up included: after it the loop may run the call, end and be freed. */
static void loop_link(struct loop *l, struct loop_msg *m)
{
	m->next = NULL;
	*l->last = m;
	l->last = &m->next;
	if (!l->woken)
		l->woken = loop_wake(l);
}

int loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_msg *m = malloc(sizeof(*m));
	int r = 0;

	if (!m)
		return -ENOMEM;
	*m = (struct loop_msg){ .fn = fn, .arg = arg };
	(void)pthread_mutex_lock(&l->lock);
	if (l->life == LOOP_ENDED) {
		r = -ESHUTDOWN;
	} else if (l->nposts >= LOOP_POST_MAX) {
		r = -EAGAIN;
	} else {
		loop_link(l, m);
		l->nposts++;
	}
	(void)pthread_mutex_unlock(&l->lock);
	if (r)
		free(m);
	return r;
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_msg m = { .fn = fn, .arg = arg, .waited = true };
	bool here;

	(void)pthread_mutex_lock(&l->lock);
	here = l->life != LOOP_THREAD || (l->owned && pthread_equal(l->owner, pthread_self()));
	if (!here) {
		loop_link(l, &m);
		while (!m.done)
			(void)pthread_cond_wait(&l->called, &l->lock);
	}
	(void)pthread_mutex_unlock(&l->lock);
	if (here)
		fn(arg);
}

/* Runs what was accepted until nothing is left, and accepts no more. */
static void loop_close(struct loop *l)
{
	bool ended = false;

	while (!ended) {
		loop_run_posts(l);
		(void)pthread_mutex_lock(&l->lock);
		if (!l->first) {
			l->life = LOOP_ENDED;
			l->owned = false;
			ended = true;
		}
		(void)pthread_mutex_unlock(&l->lock);
	}
}

static void *loop_thread(void *arg)
{
	struct loop *l = arg;
	int r;

	(void)pthread_mutex_lock(&l->lock);
	l->owner = pthread_self();
	l->owned = true;
	(void)pthread_mutex_unlock(&l->lock);
	(void)pthread_setname_np(pthread_self(), l->name);
	r = loop_run(l);
	if (r && l->failed)
		l->failed(l->failed_arg, l->name, r);
	else if (r)
		log_err("loop %s ended: %s", l->name, err_text(r));
	loop_close(l);
	return NULL;
}

static void loop_set_life(struct loop *l, enum loop_life life)
{
	(void)pthread_mutex_lock(&l->lock);
	l->life = life;
	(void)pthread_mutex_unlock(&l->lock);
}

void loop_on_failure(struct loop *l, void (*fn)(void *arg, const char *name, int err), void *arg)
{
	l->failed = fn;
	l->failed_arg = arg;
}

int loop_thread_start(struct loop *l, struct error *e)
{
	sigset_t all, old;
	int r;

	if (l->joinable)
		return err_set(e, EBUSY, "event loop %s has a thread already", l->name);
	loop_set_life(l, LOOP_THREAD);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&l->thread, NULL, loop_thread, l);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r) {
		loop_set_life(l, LOOP_IDLE);
		return err_sys(e, r, "thread of event loop %s", l->name);
	}
	l->joinable = true;
	return 0;
}

void loop_thread_join(struct loop *l)
{
	if (!l->joinable)
		return;
	loop_stop(l);
	(void)pthread_join(l->thread, NULL);
	l->joinable = false;
}
