/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event loop: epoll, named sources, calls posted from other threads.
 *
 * One thread owns a loop: it alone calls loop_run(), loop_add(), loop_mod() and loop_del(). Any
 * thread may call loop_post(), loop_call() and loop_stop(). A source is embedded in its owner and
 * must be deleted before it is freed; deleting a source inside any callback of the loop is safe,
 * also one whose event is pending. loop_once() and loop_run() do not nest.
 */
#ifndef KRUN_UTIL_LOOP_H
#define KRUN_UTIL_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"

struct loop;
struct loop_src;

typedef void loop_fn(struct loop_src *src, uint32_t events);

struct loop_src {
	int fd;		  /* not owned */
	const char *name; /* static string, for the log */
	loop_fn *fn;
	void *arg;
	bool added; /* private to the loop */
};

int loop_new(const char *name, struct loop **out, struct error *e);
void loop_free(struct loop *l); /* NULL is fine; not while it runs */

/* @events: EPOLLIN, EPOLLOUT, ... level-triggered unless EPOLLET is given. */
int loop_add(struct loop *l, struct loop_src *src, uint32_t events);
int loop_mod(struct loop *l, struct loop_src *src, uint32_t events);
void loop_del(struct loop *l, struct loop_src *src); /* no-op when not added */

/* Runs until loop_stop(); returns 0 or -errno of epoll_wait(). */
int loop_run(struct loop *l);
/*
 * One round: waits at most @timeout_ms (-1: no limit) and dispatches. Returns the number of sources
 * that had events, 0 also on EINTR, or -errno. Tests and the main thread use it.
 */
int loop_once(struct loop *l, int timeout_ms);
/* Ends the current loop_run(), or the next one when none runs. */
void loop_stop(struct loop *l);

#define LOOP_POST_MAX 1024 /* posts that may wait */
/*
 * Runs fn(arg) on the owner thread, in order; never blocks. -ENOMEM, -EAGAIN when LOOP_POST_MAX
 * wait already, -ESHUTDOWN once the loop's thread has ended. Posts made before the thread starts
 * wait for it; those accepted before it ends still run. A loop without a thread that is freed drops
 * what nobody ran.
 */
int loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/*
 * As loop_post(), and waits until it has run. Called on the owner thread itself it runs at once. A
 * loop whose thread has not been started by loop_thread_start(), or has ended, runs it at once in
 * the caller too. Allocates nothing and is not subject to LOOP_POST_MAX: it cannot fail.
 */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);

/*
 * A thread that runs the loop, all signals blocked, named after the loop (15 bytes). join stops the
 * loop and waits; a no-op without a thread.
 */
int loop_thread_start(struct loop *l, struct error *e);
/*
 * Who is told when the thread ends by itself, as epoll_wait() failed, before what was posted is run
 * a last time; or when it cannot be woken. On the thread that found it, with -errno, possibly under
 * the loop's lock: no call of this loop. Before loop_thread_start().
 */
void loop_on_failure(struct loop *l, void (*fn)(void *arg, const char *name, int err), void *arg);
void loop_thread_join(struct loop *l);

#endif
