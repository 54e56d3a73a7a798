// SPDX-License-Identifier: Apache-2.0
/* virtio-blk: one request, from its header to its status byte (virtio 1.2, section 5.2.6). */
/*
 * How it works
 *
 * The header is copied and all that it asks for is checked against the disk before anything is
 * done; what makes no sense is answered with an error, as a real disk would. The payload's vector
 * is kept in the request's slot, since the host's kernel works on it while others are popped.
 *
 * blk_step() is the whole machine: it does the next piece of what is left of a request, and is
 * called again by the end of that piece. A piece is as much as lies in one place of the image; of a
 * raw one that is all. So what the kernel did in part just goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "dev/blk.h"
#include "util/bytes.h"
#include "util/log.h"

#define T_IN	       0
#define T_OUT	       1
#define T_FLUSH	       4
#define T_GET_ID       8
#define T_DISCARD      11
#define T_WRITE_ZEROES 13

#define S_OK	 0
#define S_IOERR	 1
#define S_UNSUPP 2

#define HEADER_LEN 16
#define ID_LEN	   20
#define RANGE_LEN  16
#define F_UNMAP	   1U

static void blk_step(struct blk_slot *s);

static void answer(struct blk_slot *s, uint8_t status)
{
	struct blk *b = s->b;
	uint32_t n = s->written;

	/* Where it cannot be written (a page of a window) the driver has asked for it. */
	if (!iobuf_push(&s->status, &status, 1))
		n++;
	vq_push(&b->v.vq[s->queue], s->head, n);
	b->answered |= 1U << s->queue;
	s->next = b->free;
	b->free = s;
}

static void fail(struct blk_slot *s, int err)
{
	static const char *const doing[] = { "reading", "writing", "flushing", "discarding",
		"zeroing", "zeroing" };

	if (err == -EOPNOTSUPP) {
		answer(s, S_UNSUPP);
		return;
	}
	log_guest("disk %s: %s %llu bytes at %llu: %s", s->b->disk->serial, doing[s->cmd],
		(unsigned long long)s->len, (unsigned long long)s->off, err_text(err));
	answer(s, S_IOERR);
}

/* Zeroes that lie nowhere. */
static bool read_zeroes(struct blk_slot *s, uint64_t len)
{
	if (disk_zero_fill(s->b->disk, &s->data, len))
		return false;
	s->off += len;
	s->len -= len;
	s->written += (uint32_t)len;
	return true;
}

/*
 * Whether the file ended after @n bytes of a read: behind that lies a part of a cluster that nobody
 * has written. With direct I/O a part of a block says so, and there is no asking for what follows.
 */
static bool at_end(const struct blk_slot *s, int64_t n)
{
	const struct disk *d = s->b->disk;

	return s->cmd == DISK_READ && d->zero_tail && n >= 0 &&
		(!n || (d->direct && n % d->block != 0));
}

static void moved(struct disk_op *op, int64_t n)
{
	struct blk_slot *s = CONTAINER_OF(op, struct blk_slot, op);
	uint64_t asked = op->len;

	if (n == -EAGAIN || n == -EINTR) {
		n = 0;
	} else if (at_end(s, n)) {
		n = read_zeroes(s, asked - (uint64_t)n) ? n : -EFAULT;
	} else if (!n) {
		n = -EIO; /* the image has been cut short behind our back */
	}
	if (n < 0) {
		fail(s, (int)n);
		return;
	}
	s->off += (uint64_t)n;
	s->len -= (uint64_t)n;
	s->written += s->cmd == DISK_READ ? (uint32_t)n : 0;
	blk_step(s);
}

static void ran(struct disk_op *op, int64_t res)
{
	struct blk_slot *s = CONTAINER_OF(op, struct blk_slot, op);

	if (res < 0) {
		fail(s, (int)res);
		return;
	}
	s->written += s->cmd == DISK_READ ? (uint32_t)s->len : 0;
	s->len = 0;
	blk_step(s);
}

static void synced(struct disk_op *op, int64_t res)
{
	struct blk_slot *s = CONTAINER_OF(op, struct blk_slot, op);

	s->synced = true;
	res = MIN(res, (int64_t)0);
	/* A format remembers what its own syncs came to: a table that found no room is not that. */
	if (s->b->disk->plain)
		res = disk_sync_end(s->b->disk, (int)res);
	if (res < 0)
		fail(s, (int)res);
	else
		blk_step(s);
}

static int64_t run_aside(struct disk_op *op)
{
	struct blk_slot *s = CONTAINER_OF(op, struct blk_slot, op);

	return disk_run(s->b->disk, s->cmd, &s->data, s->off, s->len);
}

static int64_t flush_aside(struct disk_op *op)
{
	struct blk_slot *s = CONTAINER_OF(op, struct blk_slot, op);

	return disk_run(s->b->disk, DISK_FLUSH, NULL, 0, 0);
}

/* The kernel's own way of zeroing is not there: by hand, then. */
static void allocated(struct disk_op *op, int64_t res)
{
	struct blk_slot *s = CONTAINER_OF(op, struct blk_slot, op);

	if (res == -EOPNOTSUPP && s->cmd != DISK_DISCARD) {
		s->op = (struct disk_op){ .kind = DISK_OP_CALL, .call = run_aside, .done = ran };
		disk_io_add(s->b->io, &s->op);
	} else {
		ran(op, res);
	}
}

/* A write that the driver takes for durable when it is answered: it has not accepted FLUSH. */
static bool must_sync(const struct blk_slot *s)
{
	const struct vdev *v = &s->b->v;

	return s->cmd != DISK_READ && s->cmd != DISK_FLUSH && !s->synced &&
		(v->offered & BLK_F_FLUSH) && !vdev_has(v, BLK_F_FLUSH);
}

static void sync_it(struct blk_slot *s)
{
	s->op = (struct disk_op){ .kind = s->b->disk->plain ? DISK_OP_SYNC : DISK_OP_CALL,
		.call = flush_aside,
		.done = synced };
	disk_io_add(s->b->io, &s->op);
}

static void blk_step(struct blk_slot *s)
{
	bool write = s->cmd == DISK_WRITE;
	struct disk_extent x;

	while (s->len) {
		disk_map(s->b->disk, write, s->off, s->len, &x);
		if (x.where != DISK_ZEROES) {
			s->op = (struct disk_op){
				.kind = x.where == DISK_ASIDE ? DISK_OP_CALL
					: write		      ? DISK_OP_WRITE
							      : DISK_OP_READ,
				.off = x.off,
				.len = x.len,
				.buf = &s->data,
				.call = run_aside,
				.done = x.where == DISK_ASIDE ? ran : moved,
			};
			disk_io_add(s->b->io, &s->op);
			return;
		}
		if (!read_zeroes(s, x.len)) {
			fail(s, -EFAULT);
			return;
		}
	}
	if (must_sync(s))
		sync_it(s);
	else
		answer(s, S_OK);
}

static void begin_move(struct blk_slot *s, uint64_t sector)
{
	const struct disk *d = s->b->disk;

	s->off = sector * DISK_SECTOR;
	s->len = s->data.left;
	if (sector > LIM_BLK_BYTES / DISK_SECTOR || !range_ok(s->off, s->len, d->bytes) ||
		(s->off | s->len) % d->block)
		answer(s, S_IOERR);
	else
		blk_step(s);
}

static void begin_flush(struct blk_slot *s)
{
	s->cmd = DISK_FLUSH;
	if (!(s->b->v.offered & BLK_F_FLUSH))
		answer(s, S_UNSUPP);
	else
		sync_it(s);
}

/* Section 5.2.6: one segment, as the driver has been told. */
static void begin_range(struct blk_slot *s, struct iobuf *rd, bool discard)
{
	const struct disk *d = s->b->disk;
	uint8_t seg[RANGE_LEN];
	uint64_t sector;
	uint32_t flags;

	if (rd->left != RANGE_LEN || iobuf_pull(rd, seg, sizeof(seg))) {
		answer(s, S_IOERR);
		return;
	}
	sector = get_le64(seg);
	s->off = sector * DISK_SECTOR;
	s->len = (uint64_t)get_le32(seg + 8) * DISK_SECTOR;
	flags = get_le32(seg + 12);
	if ((flags & ~F_UNMAP) || (discard && flags)) {
		answer(s, S_UNSUPP);
		return;
	}
	if (sector > LIM_BLK_BYTES / DISK_SECTOR || s->len > LIM_BLK_RANGE ||
		!range_ok(s->off, s->len, d->bytes) || (s->off | s->len) % d->block) {
		answer(s, S_IOERR);
		return;
	}
	s->cmd = discard ? DISK_DISCARD : flags & F_UNMAP ? DISK_ZERO_UNMAP : DISK_ZERO;
	if (!s->len) {
		answer(s, S_OK);
		return;
	}
	s->op = (struct disk_op){ .kind = d->plain ? DISK_OP_ALLOCATE : DISK_OP_CALL,
		.mode = FALLOC_FL_KEEP_SIZE |
			(s->cmd == DISK_ZERO ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE),
		.off = s->off,
		.len = s->len,
		.call = run_aside,
		.done = d->plain ? allocated : ran };
	disk_io_add(s->b->io, &s->op);
}

static void begin_id(struct blk_slot *s)
{
	char id[ID_LEN] = { 0 };

	(void)memcpy(id, s->b->disk->serial, strnlen(s->b->disk->serial, ID_LEN));
	if (s->data.left < ID_LEN || iobuf_push(&s->data, id, sizeof(id))) {
		answer(s, S_IOERR);
		return;
	}
	s->written = ID_LEN;
	answer(s, S_OK);
}

/* Splits what the driver gave into payload and status. -ENODATA: there is no room for a status;
 * -E2BIG: more buffers than were allowed. */
static int lay_out(struct blk_slot *s, struct vq_req *req, bool write)
{
	struct iobuf in;
	int r = -ENODATA;

	if (req->wr.left)
		r = iobuf_take(&req->wr, req->wr.left - 1, &in);
	if (!r)
		r = iobuf_keep(&req->wr, &s->status, s->status_iov, ARRAY_SIZE(s->status_iov));
	if (r)
		return -ENODATA;
	return iobuf_keep(write ? &req->rd : &in, &s->data, s->iov, ARRAY_SIZE(s->iov));
}

static void begin(struct blk_slot *s, struct iobuf *rd, uint32_t type, uint64_t sector)
{
	bool changes = type == T_OUT || type == T_DISCARD || type == T_WRITE_ZEROES;

	if (changes && s->b->disk->readonly)
		answer(s, S_IOERR);
	else if (type == T_IN || type == T_OUT)
		begin_move(s, sector);
	else if (type == T_FLUSH)
		begin_flush(s);
	else if (type == T_GET_ID)
		begin_id(s);
	else if (changes)
		begin_range(s, rd, type == T_DISCARD);
	else
		answer(s, S_UNSUPP);
}

void blk_begin(struct blk *b, unsigned q)
{
	struct vq_req *req = &b->req;
	struct blk_slot *s = b->free;
	uint8_t h[HEADER_LEN];
	int bad = iobuf_pull(&req->rd, h, sizeof(h)), r;
	uint32_t type = bad ? T_IN : get_le32(h);

	s->b = b;
	s->queue = (uint16_t)q;
	s->head = req->head;
	s->off = s->len = 0;
	s->written = 0;
	s->synced = false;
	s->cmd = type == T_OUT ? DISK_WRITE : DISK_READ;
	r = lay_out(s, req, type == T_OUT);
	if (r == -ENODATA) {
		vq_push(&b->v.vq[q], req->head, 0);
		b->answered |= 1U << q;
		return;
	}
	b->free = s->next;
	if (bad || r)
		answer(s, S_IOERR);
	else
		begin(s, &req->rd, type, get_le64(h + 8));
}

void blk_show(struct blk *b)
{
	uint32_t qs = b->answered;

	b->answered = 0;
	for (unsigned q = 0; qs; q++, qs >>= 1)
		if (qs & 1)
			vdev_flush(&b->v, q);
}
