// SPDX-License-Identifier: Apache-2.0
/* The event loop: dispatch, deletion inside callbacks, posts and calls from other threads, the end
 * of its thread. */
/*
 * How it works
 *
 * Sources are pipes. What needs two threads is decided by counts and joins, never by time.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "unit/test.h"
#include "util/loop.h"
#include "util/util.h"

#define NSRC 8

struct pipes {
	struct loop *l;
	struct loop_src src[NSRC];
	int wr[NSRC];
	unsigned hits[NSRC];
	bool kill_others; /* whoever comes first deletes all the others */
};

static void on_pipe(struct loop_src *src, uint32_t events)
{
	struct pipes *p = src->arg;
	unsigned i = (unsigned)(src - p->src);
	char c;

	p->hits[i]++;
	if (!(events & EPOLLIN) || read(src->fd, &c, 1) != 1)
		abort();
	for (unsigned k = 0; p->kill_others && k < NSRC; k++) {
		if (k != i)
			loop_del(p->l, &p->src[k]);
	}
}

static void pipes_open(struct pipes *p)
{
	int fd[2];

	memset(p, 0, sizeof(*p));
	if (loop_new("test", &p->l, NULL))
		abort();
	for (unsigned i = 0; i < NSRC; i++) {
		if (pipe(fd))
			abort();
		p->wr[i] = fd[1];
		p->src[i] =
			(struct loop_src){ .fd = fd[0], .name = "pipe", .fn = on_pipe, .arg = p };
		if (loop_add(p->l, &p->src[i], EPOLLIN))
			abort();
	}
}

static void pipes_write(struct pipes *p)
{
	for (unsigned i = 0; i < NSRC; i++) {
		if (write(p->wr[i], "x", 1) != 1)
			abort();
	}
}

static void pipes_close(struct pipes *p)
{
	for (unsigned i = 0; i < NSRC; i++) {
		loop_del(p->l, &p->src[i]);
		(void)close(p->src[i].fd);
		(void)close(p->wr[i]);
	}
	loop_free(p->l);
}

static void dispatch(void)
{
	struct pipes p;

	pipes_open(&p);
	CHECK_EQ(loop_once(p.l, 0), 0);
	CHECK_EQ(loop_add(p.l, &p.src[0], EPOLLIN), -EEXIST);
	pipes_write(&p);
	CHECK_EQ(loop_once(p.l, -1), NSRC);
	for (unsigned i = 0; i < NSRC; i++)
		CHECK_EQ(p.hits[i], 1);
	CHECK_EQ(loop_mod(p.l, &p.src[3], 0), 0);
	pipes_write(&p);
	CHECK_EQ(loop_once(p.l, 0), NSRC - 1);
	CHECK_EQ(loop_mod(p.l, &p.src[3], EPOLLIN), 0);
	CHECK_EQ(loop_once(p.l, 0), 1);
	CHECK_EQ(p.hits[3], 2);
	loop_del(p.l, &p.src[3]);
	CHECK_EQ(loop_mod(p.l, &p.src[3], EPOLLIN), -ENOENT);
	loop_del(p.l, &p.src[3]);
	pipes_write(&p);
	CHECK_EQ(loop_once(p.l, 0), NSRC - 1);
	pipes_close(&p);
}

static void delete_pending(void)
{
	struct pipes p;
	unsigned sum = 0;

	pipes_open(&p);
	pipes_write(&p);
	p.kill_others = true;
	CHECK_EQ(loop_once(p.l, -1), NSRC); /* fetched in one batch */
	for (unsigned i = 0; i < NSRC; i++)
		sum += p.hits[i];
	CHECK_EQ(sum, 1);
	pipes_close(&p);
}

struct count {
	struct loop *l;
	unsigned n, order_bad;
	pthread_t on;
};

static void count_up(void *arg)
{
	struct count *c = arg;

	c->n++;
	c->on = pthread_self();
}

static void post_again(void *arg)
{
	struct count *c = arg;

	c->n++;
	if (loop_post(c->l, post_again, c))
		abort();
}

static void posts_wait_for_run(void)
{
	struct count c = { 0 };

	CHECK_EQ(loop_new("idle", &c.l, NULL), 0);
	for (unsigned i = 0; i < LOOP_POST_MAX; i++)
		CHECK_EQ(loop_post(c.l, count_up, &c), 0);
	CHECK_EQ(loop_post(c.l, count_up, &c), -EAGAIN);
	CHECK_EQ(c.n, 0);
	CHECK_EQ(loop_once(c.l, 0), 1);
	CHECK_EQ(c.n, LOOP_POST_MAX);
	/* no thread: a call runs at once */
	loop_call(c.l, count_up, &c);
	CHECK_EQ(c.n, LOOP_POST_MAX + 1);
	/* a post that posts itself takes one round each */
	CHECK_EQ(loop_post(c.l, post_again, &c), 0);
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(loop_once(c.l, 0), 1);
	CHECK_EQ(c.n, LOOP_POST_MAX + 6);
	loop_free(c.l); /* with one still waiting */
}

static void call_inside(void *arg)
{
	struct count *c = arg;

	loop_call(c->l, count_up, c);
	c->order_bad += c->n != 1;
}

static void signals_blocked(void *arg)
{
	struct count *c = arg;
	sigset_t s;
	char name[16];

	(void)pthread_sigmask(SIG_SETMASK, NULL, &s);
	(void)pthread_getname_np(pthread_self(), name, sizeof(name));
	c->order_bad += !sigismember(&s, SIGTERM) || !sigismember(&s, SIGRTMIN) ||
		strcmp(name, "a-very-long-nam") != 0;
}

static void thread_calls(void)
{
	struct count c = { 0 };
	sigset_t before, after;

	(void)pthread_sigmask(SIG_SETMASK, NULL, &before);
	CHECK_EQ(loop_new("a-very-long-name-indeed", &c.l, NULL), 0);
	CHECK_EQ(loop_thread_start(c.l, NULL), 0);
	CHECK_EQ(loop_thread_start(c.l, NULL), -EBUSY);
	(void)pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int i = 1; i <= SIGRTMAX; i++)
		CHECK_EQ(sigismember(&before, i), sigismember(&after, i));
	loop_call(c.l, call_inside, &c);
	CHECK_EQ(c.n, 1);
	CHECK_EQ(c.order_bad, 0);
	CHECK(!pthread_equal(c.on, pthread_self()));
	loop_call(c.l, signals_blocked, &c);
	CHECK_EQ(c.order_bad, 0);
	loop_thread_join(c.l);
	loop_thread_join(c.l);
	CHECK_EQ(loop_post(c.l, count_up, &c), -ESHUTDOWN);
	loop_call(c.l, count_up, &c);
	CHECK(pthread_equal(c.on, pthread_self()));
	/* and it can have another thread */
	CHECK_EQ(loop_thread_start(c.l, NULL), 0);
	loop_call(c.l, count_up, &c);
	CHECK(!pthread_equal(c.on, pthread_self()));
	loop_thread_join(c.l);
	loop_free(c.l);
}

struct failure {
	pthread_t on;
	char name[16];
	int err;
	unsigned n;
	sem_t told;
};

static void has_failed(void *arg, const char *name, int err)
{
	struct failure *f = arg;

	f->on = pthread_self();
	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	f->err = err;
	f->n++;
	(void)sem_post(&f->told);
}

/* Whose epoll instance is taken away tells so, and still runs what it had accepted. */
static void waits_no_more(void)
{
	int before = dup(STDERR_FILENO), other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct count c = { 0 };
	struct failure f = { 0 };

	/* the loop's epoll instance has the lowest free number, its eventfd the next */
	CHECK(before >= 0 && other >= 0);
	CHECK_EQ(sem_init(&f.told, 0, 0), 0);
	(void)close(before);
	CHECK_EQ(loop_new("fails", &c.l, NULL), 0);
	loop_on_failure(c.l, has_failed, &f);
	CHECK_EQ(loop_thread_start(c.l, NULL), 0);
	loop_call(c.l, count_up, &c);
	CHECK_EQ(dup3(other, before, O_CLOEXEC), before);
	loop_call(c.l, count_up, &c);
	CHECK_EQ(c.n, 2);
	/* joined at once, a thread that has not come to wait again would just stop, without failing
	 */
	while (sem_wait(&f.told) < 0)
		CHECK_EQ(errno, EINTR);
	loop_thread_join(c.l);
	CHECK_EQ(f.n, 1);
	CHECK_EQ(f.err, -EINVAL);
	CHECK(!strcmp(f.name, "fails"));
	CHECK(!pthread_equal(f.on, pthread_self()));
	CHECK_EQ(loop_post(c.l, count_up, &c), -ESHUTDOWN);
	loop_free(c.l);
	(void)sem_destroy(&f.told);
	(void)close(other);
}

struct poster {
	struct loop *l;
	unsigned *total; /* only the loop's thread touches it */
	unsigned accepted;
	bool calls; /* waits for each instead of posting */
};

static void add_one(void *arg)
{
	++*(unsigned *)arg;
}

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (unsigned i = 0; i < 20000; i++) {
		if (p->calls) {
			loop_call(p->l, add_one, p->total);
			p->accepted++;
		} else if (!loop_post(p->l, add_one, p->total)) {
			p->accepted++;
		}
	}
	return NULL;
}

/* Whatever was accepted has run once the thread is joined, and nothing twice. */
static void many_threads(void)
{
	struct poster p[4];
	pthread_t t[4];
	unsigned total = 0, sum = 0;
	struct loop *l;

	CHECK_EQ(loop_new("busy", &l, NULL), 0);
	CHECK_EQ(loop_thread_start(l, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = (struct poster){ .l = l, .total = &total, .calls = i & 1 };
		CHECK_EQ(pthread_create(&t[i], NULL, poster_main, &p[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		CHECK_EQ(pthread_join(t[i], NULL), 0);
		sum += p[i].accepted;
	}
	loop_thread_join(l);
	CHECK_EQ(total, sum);
	CHECK(sum >= 40000);
	loop_free(l);
}

/* Posts race with the end of the thread: accepted ones run all the same. */
static void end_race(void)
{
	for (unsigned round = 0; round < 50; round++) {
		unsigned total = 0;
		struct poster p = { .total = &total };
		pthread_t t;

		CHECK_EQ(loop_new("end", &p.l, NULL), 0);
		CHECK_EQ(loop_thread_start(p.l, NULL), 0);
		CHECK_EQ(pthread_create(&t, NULL, poster_main, &p), 0);
		loop_thread_join(p.l);
		CHECK_EQ(pthread_join(t, NULL), 0);
		CHECK_EQ(total, p.accepted);
		loop_free(p.l);
	}
}

static void stop_early(void)
{
	struct loop *l;

	CHECK_EQ(loop_new("stop", &l, NULL), 0);
	loop_stop(l);
	CHECK_EQ(loop_run(l), 0);
	CHECK_EQ(loop_once(l, 0), 1); /* the wake-up is still there; harmless */
	CHECK_EQ(loop_once(l, 0), 0);
	loop_free(l);
	loop_free(NULL);
}

static const struct test_case cases[] = {
	TEST(dispatch),
	TEST(delete_pending),
	TEST(posts_wait_for_run),
	TEST(thread_calls),
	TEST(waits_no_more),
	TEST(many_threads),
	TEST(end_race),
	TEST(stop_early),
};

TEST_MAIN(cases)
