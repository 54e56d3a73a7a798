// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: locks of one guest, of two, waiting, interrupting, saving. */
#include <poll.h>
#include <sys/file.h>

#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

#define WAITS 600 /* requests that may wait at once here */
#define EOF_  INT64_MAX

static struct later {
	struct fuse_out_header oh;
	bool waiting;
} later[WAITS];
static unsigned answers;

static void answered(void *arg, uint32_t token, uint32_t written)
{
	(void)arg;
	CHECK(token < WAITS && later[token].waiting);
	CHECK_EQ(written, sizeof(struct fuse_out_header));
	CHECK_EQ(later[token].oh.len, written);
	later[token].waiting = false;
	answers++;
}

struct two {
	struct fc a, b; /* b: another guest on the same directory; it has no directory of its own */
	uint64_t an, bn, afh, bfh;
};

/* One lock request of guest @c; FS_LATER when it waits as @token. */
static int lk(struct fc *c, uint32_t op, uint64_t n, uint64_t fh, uint64_t owner, uint32_t type,
	uint64_t start, uint64_t end, uint32_t flags, uint32_t token)
{
	struct {
		struct fuse_in_header h;
		struct fuse_lk_in in;
	} rq = { { .len = sizeof(rq), .opcode = op, .unique = ++c->unique * 2, .nodeid = n },
		{ .fh = fh,
			.owner = owner,
			.lk = { .start = start, .end = end, .type = type, .pid = (uint32_t)owner },
			.lk_flags = flags } };
	static struct fuse_out_header now;
	struct fuse_out_header *oh = token == FS_NOW ? &now : &later[token].oh;
	struct iovec r = { &rq, sizeof(rq) }, w = { oh, sizeof(*oh) };
	struct iobuf rd, wr;
	struct fs_req q;
	uint32_t written;

	iobuf_init(&rd, &r, 1);
	iobuf_init(&wr, &w, 1);
	c->fs->answer = answered;
	if (!fs_serve_later(c->fs, &q, &rd, &wr, token, &written)) {
		later[token].waiting = true;
		return FS_LATER;
	}
	if (written != sizeof(*oh) || oh->unique != rq.h.unique)
		return FC_BROKEN;
	return oh->error;
}

static int set(struct fc *c, uint64_t n, uint64_t fh, uint64_t owner, uint32_t type, uint64_t start,
	uint64_t end)
{
	return lk(c, FUSE_SETLK, n, fh, owner, type, start, end, 0, FS_NOW);
}

static int setw(struct fc *c, uint64_t n, uint64_t fh, uint64_t owner, uint32_t type,
	uint64_t start, uint64_t end, uint32_t token)
{
	return lk(c, FUSE_SETLKW, n, fh, owner, type, start, end, 0, token);
}

static int bsd(struct fc *c, uint32_t op, uint64_t n, uint64_t fh, uint32_t type, uint32_t token)
{
	return lk(c, op, n, fh, fh, type, 0, EOF_, FUSE_LK_FLOCK, token);
}

static int get(struct fc *c, uint64_t n, uint64_t fh, uint64_t owner, uint32_t type, uint64_t start,
	uint64_t end, struct fuse_file_lock *out)
{
	struct fuse_lk_in in = {
		.fh = fh, .owner = owner, .lk = { .start = start, .end = end, .type = type }
	};
	struct fuse_lk_out o = { 0 };
	int r = fc_call(c, FUSE_GETLK, n, &in, sizeof(in), NULL, 0, &o, sizeof(o));

	*out = o.lk;
	return r;
}

static int flush(struct fc *c, uint64_t n, uint64_t fh, uint64_t owner)
{
	struct fuse_flush_in in = { .fh = fh, .lock_owner = owner };

	return fc_call(c, FUSE_FLUSH, n, &in, sizeof(in), NULL, 0, NULL, 0);
}

static int two_new(struct two *t)
{
	int r;

	memset(later, 0, sizeof(later));
	answers = 0;
	r = fc_new(&t->a, NULL, NULL);
	if (r)
		return r;
	t->b = t->a;
	r = fc_server(&t->b, NULL, NULL);
	if (!r)
		r = fc_init(&t->b, ~0ULL);
	if (!r)
		r = fc_host_file(&t->a, "f", "text");
	t->an = fc_lookup(&t->a, 1, "f");
	t->bn = fc_lookup(&t->b, 1, "f");
	if (!r)
		r = fc_open(&t->a, t->an, O_RDWR, &t->afh);
	if (!r)
		r = fc_open(&t->b, t->bn, O_RDWR, &t->bfh);
	return r;
}

static void two_free(struct two *t)
{
	fs_server_free(t->b.fs);
	CHECK(fc_free(&t->a));
}

/* Two owners on one handle, as after fork(); ranges cut, split and joined. */
static void owners(void)
{
	struct fuse_file_lock l;
	struct two t;
	uint64_t fh2;

	CHECK_EQ(two_new(&t), 0);
	CHECK((t.a.flags & FS_I_POSIX_LOCKS) && (t.a.flags & FS_I_FLOCK_LOCKS));
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, 99), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_WRLCK, 99, 99), -EAGAIN);
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_RDLCK, 100, EOF_), 0);
	/* a hole in the middle: two records */
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_UNLCK, 40, 59), 0);
	CHECK_EQ(get(&t.a, t.an, t.afh, 2, F_RDLCK, 0, EOF_, &l), 0);
	CHECK(l.type == F_WRLCK && l.start == 0 && l.end == 39 && l.pid == 1);
	CHECK_EQ(get(&t.a, t.an, t.afh, 2, F_RDLCK, 40, 59, &l), 0);
	CHECK_EQ(l.type, F_UNLCK);
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_WRLCK, 40, 59), 0);
	/* the guest beside sees both, through the host, and no pid */
	CHECK_EQ(get(&t.b, t.bn, t.bfh, 1, F_WRLCK, 50, 59, &l), 0);
	CHECK(l.type == F_WRLCK && l.start == 40 && l.end == 59 && !l.pid);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 60, 60), -EAGAIN);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_RDLCK, 100, 100), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_WRLCK, 100, 100), -EAGAIN);
	/* what touches joins */
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_UNLCK, 40, 59), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 40, 59), 0);
	CHECK_EQ(t.a.fs->ranges.used, 2);
	/* a second handle of owner 1 shares the locks; closing it drops them all */
	CHECK_EQ(fc_open(&t.a, t.an, O_RDWR, &fh2), 0);
	CHECK_EQ(set(&t.a, t.an, fh2, 1, F_RDLCK, 0, 49), 0);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_RDLCK, 0, 49), 0);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_RDLCK, 0, 50), -EAGAIN);
	CHECK_EQ(flush(&t.a, t.an, fh2, 1), 0);
	CHECK_EQ(fc_release(&t.a, t.an, fh2, false), 0);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 0, 99), 0);
	CHECK_EQ(t.a.fs->locksets.used, 1);
	CHECK_EQ(fc_release(&t.a, t.an, t.afh, false), 0);
	CHECK_EQ(t.a.fs->locksets.used, 0);
	CHECK_EQ(t.a.fs->ranges.used, 0);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 0, EOF_), 0);
	two_free(&t);
}

/* What a handle may lock follows from how it is open; a set moves to a handle that can. */
static void modes(void)
{
	struct fuse_file_lock l;
	uint64_t r, w, rw;
	struct two t;

	CHECK_EQ(two_new(&t), 0);
	CHECK_EQ(fc_open(&t.a, t.an, O_RDONLY, &r), 0);
	CHECK_EQ(fc_open(&t.a, t.an, O_WRONLY, &w), 0);
	CHECK_EQ(fc_open(&t.a, t.an, O_RDWR, &rw), 0);
	CHECK_EQ(set(&t.a, t.an, r, 1, F_WRLCK, 0, 9), -EBADF);
	CHECK_EQ(set(&t.a, t.an, w, 1, F_RDLCK, 0, 9), -EBADF);
	CHECK_EQ(set(&t.a, t.an, r, 1, F_RDLCK, 0, 9), 0);
	CHECK_EQ(set(&t.a, t.an, rw, 1, F_WRLCK, 20, 29), 0);
	/* both are held, by the handle that can do both */
	CHECK_EQ(fc_release(&t.a, t.an, r, false), 0);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 5, 5), -EAGAIN);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_RDLCK, 25, 25), -EAGAIN);
	CHECK_EQ(fc_release(&t.a, t.an, rw, false), 0);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 0, 29), 0);
	/* nonsense */
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, 3, 0, 9), -EINVAL);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_RDLCK, 9, 8), -EINVAL);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_RDLCK, 0, 1ULL << 63), -EINVAL);
	CHECK_EQ(set(&t.a, t.an, t.afh + 77, 1, F_RDLCK, 0, 9), -EBADF);
	CHECK_EQ(set(&t.a, 1, t.afh, 1, F_RDLCK, 0, 9), -EBADF);
	/* One owner reads by an open() that cannot write and writes by one that cannot read. */
	CHECK_EQ(fc_open(&t.a, t.an, O_RDONLY, &r), 0);
	CHECK_EQ(set(&t.a, t.an, r, 9, F_RDLCK, 300, 309), 0);
	CHECK_EQ(set(&t.a, t.an, w, 9, F_WRLCK, 305, 319), 0);
	CHECK_EQ(get(&t.b, t.bn, t.bfh, 1, F_WRLCK, 300, 304, &l), 0);
	CHECK_EQ(l.type, F_RDLCK);
	CHECK_EQ(get(&t.b, t.bn, t.bfh, 1, F_RDLCK, 310, 310, &l), 0);
	CHECK_EQ(l.type, F_WRLCK);
	CHECK_EQ(set(&t.a, t.an, r, 9, F_RDLCK, 305, 319), 0);
	CHECK_EQ(get(&t.b, t.bn, t.bfh, 1, F_RDLCK, 310, 310, &l), 0);
	CHECK_EQ(l.type, F_UNLCK);
	CHECK_EQ(set(&t.a, t.an, w, 9, F_UNLCK, 0, INT64_MAX), 0);
	CHECK_EQ(get(&t.b, t.bn, t.bfh, 1, F_WRLCK, 300, 319, &l), 0);
	CHECK_EQ(l.type, F_UNLCK);
	two_free(&t);
}

/* Waiting inside one guest: in order, woken by what is given up, without the timer. */
static void waiting(void)
{
	struct two t;

	CHECK_EQ(two_new(&t), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, 9), 0);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 2, F_WRLCK, 0, 4, 0), FS_LATER);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 3, F_WRLCK, 0, 4, 1), FS_LATER);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 4, F_RDLCK, 5, 9, 2), FS_LATER);
	CHECK_EQ(t.a.fs->nforeign, 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_RDLCK, 5, 9), 0);
	CHECK(!later[2].waiting && !later[2].oh.error && answers == 1);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_UNLCK, 0, 4), 0);
	CHECK(!later[0].waiting && later[1].waiting);
	CHECK_EQ(flush(&t.a, t.an, t.afh, 2), 0);
	CHECK(!later[1].waiting && answers == 3);
	/* a wait that is over may itself give something up: owner 1's first half is for reading */
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_UNLCK, 0, INT64_MAX), 0);
	CHECK_EQ(flush(&t.a, t.an, t.afh, 3), 0);
	CHECK_EQ(flush(&t.a, t.an, t.afh, 4), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, 9), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 3, F_WRLCK, 10, 19), 0);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 2, F_RDLCK, 0, 9, 4), FS_LATER);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 1, F_RDLCK, 0, 19, 5), FS_LATER);
	CHECK_EQ(set(&t.a, t.an, t.afh, 3, F_UNLCK, 0, INT64_MAX), 0);
	CHECK(!later[5].waiting && !later[5].oh.error);
	CHECK(!later[4].waiting && !later[4].oh.error);
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_UNLCK, 0, INT64_MAX), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_UNLCK, 0, INT64_MAX), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, 9), 0);
	/* who waits through a handle that closes is told */
	CHECK_EQ(setw(&t.a, t.an, t.afh, 5, F_WRLCK, 0, 4, 3), FS_LATER);
	CHECK_EQ(fc_release(&t.a, t.an, t.afh, false), 0);
	CHECK(!later[3].waiting);
	CHECK_EQ(later[3].oh.error, -EBADF);
	CHECK_EQ(t.a.fs->waits.used, 0);
	two_free(&t);
}

static void deadlocks(void)
{
	struct two t;

	CHECK_EQ(two_new(&t), 0);
	for (uint64_t o = 1; o <= 3; o++)
		CHECK_EQ(set(&t.a, t.an, t.afh, o, F_WRLCK, o, o), 0);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 1, F_WRLCK, 2, 2, 0), FS_LATER);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 2, F_WRLCK, 3, 3, 1), FS_LATER);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 3, F_WRLCK, 1, 1, 2), -EDEADLK);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 4, F_WRLCK, 1, 1, 2), FS_LATER);
	CHECK_EQ(flush(&t.a, t.an, t.afh, 3), 0);
	CHECK(!later[1].waiting && later[0].waiting);
	two_free(&t);
}

/* Waiting for another guest: the timer tells. */
static void foreign(void)
{
	struct pollfd p;
	struct two t;
	unsigned ticks = 0;

	CHECK_EQ(two_new(&t), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, EOF_), 0);
	CHECK_EQ(setw(&t.b, t.bn, t.bfh, 1, F_WRLCK, 0, 0, 0), FS_LATER);
	CHECK_EQ(t.b.fs->nforeign, 1);
	p = (struct pollfd){ .fd = t.b.fs->timer_fd, .events = POLLIN };
	while (ticks < 5 && poll(&p, 1, 5000) == 1) {
		fs_wait_tick(t.b.fs);
		ticks++;
	}
	CHECK_EQ(ticks, 5);
	CHECK_EQ(t.b.fs->wait_ms, 32);
	CHECK(later[0].waiting);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_UNLCK, 0, EOF_), 0);
	CHECK_EQ(poll(&p, 1, 5000), 1);
	fs_wait_tick(t.b.fs);
	CHECK(!later[0].waiting && !later[0].oh.error);
	CHECK_EQ(t.b.fs->nforeign, 0);
	CHECK_EQ(poll(&p, 1, 100), 0);
	two_free(&t);
}

static void flocks(void)
{
	int fd;
	uint64_t fh2;
	struct two t;

	CHECK_EQ(two_new(&t), 0);
	CHECK_EQ(fc_open(&t.a, t.an, O_RDONLY, &fh2), 0);
	CHECK_EQ(bsd(&t.a, FUSE_SETLK, t.an, t.afh, F_RDLCK, FS_NOW), 0);
	CHECK_EQ(bsd(&t.a, FUSE_SETLK, t.an, fh2, F_RDLCK, FS_NOW), 0);
	CHECK_EQ(bsd(&t.b, FUSE_SETLK, t.bn, t.bfh, F_WRLCK, FS_NOW), -EAGAIN);
	/* flock() and fcntl() do not see each other */
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 0, EOF_), 0);
	fd = openat(t.a.dir, "f", O_RDONLY | O_CLOEXEC);
	CHECK(flock(fd, LOCK_EX | LOCK_NB) < 0);
	CHECK_EQ(flock(fd, LOCK_SH | LOCK_NB), 0);
	(void)close(fd);
	CHECK_EQ(bsd(&t.a, FUSE_SETLKW, t.an, fh2, F_WRLCK, 0), FS_LATER);
	CHECK_EQ(t.a.fs->nforeign, 0);
	CHECK_EQ(bsd(&t.a, FUSE_SETLK, t.an, t.afh, F_UNLCK, FS_NOW), 0);
	CHECK(!later[0].waiting && !later[0].oh.error);
	CHECK_EQ(bsd(&t.b, FUSE_SETLKW, t.bn, t.bfh, F_RDLCK, 1), FS_LATER);
	CHECK_EQ(t.b.fs->nforeign, 1);
	CHECK_EQ(fc_release(&t.a, t.an, fh2, false), 0);
	fs_wait_tick(t.b.fs);
	CHECK(!later[1].waiting && !later[1].oh.error);
	two_free(&t);
}

/* A flock() that waits and is tried again gives up what its file holds meanwhile: who waits for
 * that waits for the other guest from then on. */
static void flock_lost(void)
{
	uint64_t fh2;
	struct two t;

	CHECK_EQ(two_new(&t), 0);
	CHECK_EQ(fc_open(&t.a, t.an, O_RDONLY, &fh2), 0);
	CHECK_EQ(bsd(&t.b, FUSE_SETLK, t.bn, t.bfh, F_RDLCK, FS_NOW), 0);
	CHECK_EQ(bsd(&t.a, FUSE_SETLKW, t.an, fh2, F_WRLCK, 1), FS_LATER);
	CHECK_EQ(bsd(&t.a, FUSE_SETLKW, t.an, t.afh, F_WRLCK, 0), FS_LATER);
	/* by another process that has the same file: both are tried again, the first in vain */
	CHECK_EQ(bsd(&t.a, FUSE_SETLK, t.an, t.afh, F_RDLCK, FS_NOW), 0);
	CHECK_EQ(t.a.fs->nforeign, 2);
	CHECK_EQ(fc_release(&t.a, t.an, t.afh, false), 0);
	CHECK_EQ(bsd(&t.b, FUSE_SETLK, t.bn, t.bfh, F_UNLCK, FS_NOW), 0);
	fs_wait_tick(t.a.fs);
	CHECK(!later[1].waiting && !later[1].oh.error);
	CHECK_EQ(fc_release(&t.a, t.an, fh2, false), 0);
	two_free(&t);
}

static void interrupts(void)
{
	struct fuse_interrupt_in in;
	struct two t;

	CHECK_EQ(two_new(&t), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, 9), 0);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 2, F_WRLCK, 0, 9, 0), FS_LATER);
	in.unique = t.a.unique * 2;
	CHECK_EQ(fc_call(&t.a, FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0, NULL, 0), 0);
	CHECK(!later[0].waiting);
	CHECK_EQ(later[0].oh.error, -EINTR);
	/* the interrupt comes first: by the other queue it may */
	in.unique = t.a.unique * 2 + 4;
	CHECK_EQ(fc_call(&t.a, FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0, NULL, 0), 0);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 2, F_WRLCK, 0, 9, 0), -EINTR);
	CHECK_EQ(setw(&t.a, t.an, t.afh, 2, F_WRLCK, 0, 9, 0), FS_LATER);
	fs_server_reset(t.a.fs);
	CHECK(later[0].waiting);
	CHECK_EQ(t.a.fs->waits.used, 0);
	two_free(&t);
}

static void limits(void)
{
	struct two t;
	int r = 0, n;

	CHECK_EQ(two_new(&t), 0);
	for (n = 0; !r && n < 2 * LIM_FS_LOCKS; n++)
		r = set(&t.a, t.an, t.afh, 1, F_WRLCK, (uint64_t)n * 2, (uint64_t)n * 2);
	CHECK_EQ(r, -ENOLCK);
	CHECK(n >= LIM_FS_LOCKS - 2);
	/* all of it can be given up */
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_UNLCK, 0, EOF_), 0);
	CHECK_EQ(t.a.fs->ranges.used, 0);
	for (n = 1, r = 0; !r && n < 2 * LIM_FS_LOCK_OWNERS; n++)
		r = set(&t.a, t.an, t.afh, (uint64_t)n, F_RDLCK, 0, 0);
	CHECK(r == -ENOLCK || r == -EMFILE);
	for (n = n - 1; n; n--)
		CHECK_EQ(flush(&t.a, t.an, t.afh, (uint64_t)n), 0);
	CHECK_EQ(t.a.fs->locksets.used, 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, 0), 0);
	for (n = 0, r = FS_LATER; r == FS_LATER && n < WAITS; n++)
		r = setw(&t.a, t.an, t.afh, 2, F_WRLCK, 0, 0, (uint32_t)n);
	CHECK_EQ(r, -ENOLCK);
	CHECK_EQ(n, LIM_FS_LOCK_WAITS + 1);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_UNLCK, 0, EOF_), 0);
	CHECK_EQ(answers, LIM_FS_LOCK_WAITS);
	two_free(&t);
}

/* The process that held them is gone when they are taken again. */
static void saved(void)
{
	struct save_out s = { 0 };
	struct save_in in;
	uint64_t fh2, r, w;
	struct two t;

	CHECK_EQ(two_new(&t), 0);
	CHECK_EQ(fc_open(&t.a, t.an, O_RDWR, &fh2), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, 9), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_RDLCK, 20, 29), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_WRLCK, 40, EOF_), 0);
	CHECK_EQ(fc_open(&t.a, t.an, O_RDONLY, &r), 0);
	CHECK_EQ(fc_open(&t.a, t.an, O_WRONLY, &w), 0);
	CHECK_EQ(set(&t.a, t.an, r, 3, F_RDLCK, 30, 30), 0);
	CHECK_EQ(set(&t.a, t.an, w, 3, F_WRLCK, 31, 31), 0);
	CHECK_EQ(bsd(&t.a, FUSE_SETLK, t.an, fh2, F_WRLCK, FS_NOW), 0);
	fs_save(t.a.fs, &s);
	CHECK_EQ(s.err, 0);
	fs_server_free(t.a.fs);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 25, 25), 0);
	CHECK_EQ(fc_server(&t.a, NULL, NULL), 0);
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	CHECK_EQ(fs_load(t.a.fs, &in), 0);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 9, 9), -EAGAIN);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 99, 99), -EAGAIN);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 20, 20), 0); /* lost */
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_WRLCK, 30, 30), -EAGAIN);
	CHECK_EQ(set(&t.b, t.bn, t.bfh, 1, F_RDLCK, 31, 31), -EAGAIN);
	CHECK_EQ(bsd(&t.b, FUSE_SETLK, t.bn, t.bfh, F_RDLCK, FS_NOW), -EAGAIN);
	CHECK_EQ(set(&t.a, t.an, t.afh, 1, F_WRLCK, 0, 9), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_WRLCK, 0, 9), -EAGAIN);
	CHECK_EQ(flush(&t.a, t.an, t.afh, 1), 0);
	CHECK_EQ(set(&t.a, t.an, t.afh, 2, F_WRLCK, 0, 9), 0);
	save_out_free(&s);
	two_free(&t);
}

static const struct test_case cases[] = {
	TEST(owners),
	TEST(modes),
	TEST(waiting),
	TEST(deadlocks),
	TEST(foreign),
	TEST(flocks),
	TEST(flock_lost),
	TEST(interrupts),
	TEST(limits),
	TEST(saved),
};

TEST_MAIN(cases)
