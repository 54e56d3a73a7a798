// SPDX-License-Identifier: Apache-2.0
/* A disk's io_uring. */
/*
 * How it works
 *
 * The ring is made while the VM is built, when the thread that will use it has no filter yet, and
 * limited for good before it is enabled: six kinds of operations on the one registered file.
 * Completions make the ring's own descriptor readable, so the loop needs no eventfd for them.
 * There are never more operations under way than the submission queue has entries, so room is
 * always found, and the completion queue, twice as long, cannot overflow.
 *
 * What the kernel does not take at once waits for what is under way to end. When nothing is, or for
 * another reason, that is the end of this ring: what it has not taken goes back to the caller, to
 * be done by others, and no entry is handed over any more, as those are still in the queue.
 */
/* #syscalls:blk io_uring_enter */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "core/limits.h"
#include "dev/disk_ring.h"

#ifdef HAVE_LIBURING
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

struct disk_ring {
	struct io_uring u;
	unsigned added;	   /* and not handed over: as many on the list */
	unsigned underway; /* handed over and not reaped */
	struct disk_op *first, **last;
};

/* How often the kernel may be out of memory with nothing under way that would make room. */
#define TRIES 100

/* The file's place in the table of registered ones. */
#define THE_FILE 0

/* Not by the library: Debian 12's shared one keeps these two to itself. */
static int set_up(const struct io_uring *u, unsigned what, const void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, u->ring_fd, what, arg, n) < 0 ? -errno : 0;
}

static int limit(struct io_uring *u)
{
	struct io_uring_restriction r[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITE },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
	};
	unsigned workers[2] = { LIM_BLK_WORKERS, LIM_BLK_WORKERS };
	int ret = io_uring_register_iowq_max_workers(u, workers);

	if (ret >= 0)
		ret = set_up(u, IORING_REGISTER_RESTRICTIONS, r, ARRAY_SIZE(r));
	return ret < 0 ? ret : set_up(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

int disk_ring_new(int fd, unsigned depth, struct disk_ring **out)
{
	struct disk_ring *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return -ENOMEM;
	r->last = &r->first;
	ret = io_uring_queue_init(depth, &r->u, IORING_SETUP_R_DISABLED);
	if (ret < 0) {
		free(r);
		return ret;
	}
	ret = io_uring_register_files(&r->u, &fd, 1);
	if (ret >= 0)
		ret = limit(&r->u);
	if (ret < 0) {
		disk_ring_free(r);
		return ret;
	}
	*out = r;
	return 0;
}

void disk_ring_free(struct disk_ring *r)
{
	if (!r)
		return;
	io_uring_queue_exit(&r->u);
	free(r);
}

int disk_ring_fd(const struct disk_ring *r)
{
	return r->u.ring_fd;
}

void disk_ring_add(struct disk_ring *r, struct disk_op *op)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&r->u);

	switch (op->kind) {
	case DISK_OP_READ:
	case DISK_OP_WRITE:
		iobuf_begin(op->buf, op->len, &op->a);
		/* one piece spares the kernel a copy of the vector */
		if (op->a.cnt == 1 && op->kind == DISK_OP_READ)
			io_uring_prep_read(s, THE_FILE, op->a.iov[0].iov_base,
				(unsigned)op->a.iov[0].iov_len, op->off);
		else if (op->a.cnt == 1)
			io_uring_prep_write(s, THE_FILE, op->a.iov[0].iov_base,
				(unsigned)op->a.iov[0].iov_len, op->off);
		else if (op->kind == DISK_OP_READ)
			io_uring_prep_readv(s, THE_FILE, op->a.iov, op->a.cnt, op->off);
		else
			io_uring_prep_writev(s, THE_FILE, op->a.iov, op->a.cnt, op->off);
		break;
	case DISK_OP_ALLOCATE:
		io_uring_prep_fallocate(s, THE_FILE, op->mode, (off_t)op->off, (off_t)op->len);
		break;
	default:
		io_uring_prep_fsync(s, THE_FILE, IORING_FSYNC_DATASYNC);
		break;
	}
	s->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(s, op);
	r->added++;
	op->next = NULL;
	*r->last = op;
	r->last = &op->next;
}

/* The kernel has taken the first @n. */
static void taken(struct disk_ring *r, unsigned n)
{
	r->added -= n;
	r->underway += n;
	while (n--)
		r->first = r->first->next;
	if (!r->first)
		r->last = &r->first;
}

static struct disk_op *give_up(struct disk_ring *r)
{
	struct disk_op *list = r->first;

	for (struct disk_op *op = list; op; op = op->next)
		if (op->kind == DISK_OP_READ || op->kind == DISK_OP_WRITE)
			(void)iobuf_end(op->buf, &op->a, 0);
	r->first = NULL;
	r->last = &r->first;
	r->added = 0;
	return list;
}

/* One that has ended is there, or there is none to wait for. */
static void wait_for_one(struct disk_ring *r)
{
	struct io_uring_cqe *c;

	while (r->underway && io_uring_wait_cqe(&r->u, &c) == -EINTR)
		;
}

struct disk_op *disk_ring_go(struct disk_ring *r, bool wait)
{
	for (unsigned tries = 0; r->added; tries++) {
		int n = io_uring_submit(&r->u);

		if (n > 0)
			taken(r, (unsigned)n);
		else if (n != -EINTR && !r->underway && (n != -EAGAIN || tries >= TRIES))
			return give_up(r);
		else if (n != -EINTR && n != -EAGAIN && n != -EBUSY)
			return give_up(r);
		else if (n != -EINTR && r->underway)
			break; /* what ends makes room: it is tried again with the next call */
	}
	if (wait)
		wait_for_one(r);
	return NULL;
}

struct disk_op *disk_ring_reap(struct disk_ring *r)
{
	struct io_uring_cqe *c;
	struct disk_op *op;

	if (!r->underway || io_uring_peek_cqe(&r->u, &c))
		return NULL;
	op = io_uring_cqe_get_data(c);
	op->res = c->res;
	io_uring_cqe_seen(&r->u, c);
	r->underway--;
	if (op->kind == DISK_OP_READ || op->kind == DISK_OP_WRITE)
		op->res = iobuf_end(op->buf, &op->a, op->res);
	return op;
}

#else
struct disk_ring {
	int none;
};

int disk_ring_new(int fd, unsigned depth, struct disk_ring **out)
{
	(void)fd;
	(void)depth;
	(void)out;
	return -ENOTSUP;
}

void disk_ring_free(struct disk_ring *r)
{
	free(r);
}

int disk_ring_fd(const struct disk_ring *r)
{
	(void)r;
	return -1;
}

void disk_ring_add(struct disk_ring *r, struct disk_op *op)
{
	(void)r;
	(void)op;
}

struct disk_op *disk_ring_go(struct disk_ring *r, bool wait)
{
	(void)r;
	(void)wait;
	return NULL;
}

struct disk_op *disk_ring_reap(struct disk_ring *r)
{
	(void)r;
	return NULL;
}
#endif
