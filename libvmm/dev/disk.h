/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images: what lies where in a file, and what there is to do when that is not simple.
 *
 * disk_open() is for set-up, on any thread. Then the owner loop asks disk_map(), which never waits,
 * and workers call disk_run(), which may; several at a time. A format guards its own state.
 */
#ifndef KRUN_DEV_DISK_H
#define KRUN_DEV_DISK_H

#include <errno.h>

#include "dev/dev.h"
#include "virtio/iobuf.h"

#define DISK_SECTOR 512U

enum disk_cmd {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,
	DISK_DISCARD,
	DISK_ZERO, /* the range reads as zeroes, and stays allocated where that means something */
	DISK_ZERO_UNMAP, /* as much as can be is given back */
};

enum disk_where {
	DISK_AT,     /* in the file, at @off */
	DISK_ZEROES, /* nowhere: it reads as zeroes */
	DISK_ASIDE,  /* disk_run() */
};

struct disk_extent {
	enum disk_where where;
	uint64_t off, len; /* @len bytes from where was asked: 1 to as many as were asked for */
};

struct disk;

struct disk_ops {
	/* May leave all to run: then NULL. */
	void (*map)(struct disk *d, bool write, uint64_t off, uint64_t len, struct disk_extent *x);
	/* READ, WRITE: all @len bytes of @b, from @off of the disk. 0 or -errno. */
	int (*run)(struct disk *d, enum disk_cmd cmd, struct iobuf *b, uint64_t off, uint64_t len);
	void (*close)(struct disk *d); /* frees what the format has; @fd is closed after it */
};

struct disk {
	const struct disk_ops *ops;
	int fd;		     /* the image; reads and writes of extents go there */
	uint64_t bytes;	     /* of the disk; a multiple of @block, unless it lies below another */
	uint32_t block;	     /* least unit of a request, 512 or more */
	uint32_t phys_block; /* that the medium works in; a multiple of @block */
	uint32_t discard;    /* bytes that a discard had better be a multiple of */
	uint32_t opt_io;     /* bytes that it likes best; 0: unknown */
	bool readonly;
	bool direct;	/* @fd is open with O_DIRECT, and takes whole blocks alone */
	bool plain;	/* the file is the disk: commands are system calls on it */
	bool zero_tail; /* what lies in no file yet, behind its end, reads as zeroes */
	enum disk_sync sync;
	int zero_fd;  /* /dev/zero, for disk_zero_fill() */
	int sync_err; /* atomic; see disk_sync_end() */
	char serial[21];
};

/* Takes over cfg->fd in every case. */
int disk_open(const struct disk_cfg *cfg, struct disk **out, struct error *e);
void disk_close(struct disk *d); /* NULL is fine */

static inline void disk_map(
	struct disk *d, bool write, uint64_t off, uint64_t len, struct disk_extent *x)
{
	if (d->plain)
		*x = (struct disk_extent){ DISK_AT, off, len };
	else
		d->ops->map(d, write, off, len, x);
}

static inline int disk_run(
	struct disk *d, enum disk_cmd cmd, struct iobuf *b, uint64_t off, uint64_t len)
{
	return d->ops->run(d, cmd, b, off, len);
}

/*
 * What a sync of the file came to, @r, for whoever asked for it. One that failed is remembered for
 * good: the kernel tells of it once and takes the pages for written, so that the next would succeed
 * without them. Any thread.
 */
static inline int disk_sync_end(struct disk *d, int r)
{
	if (r && r != -EINTR)
		__atomic_store_n(&d->sync_err, -EIO, __ATOMIC_RELAXED);
	return r ? r : __atomic_load_n(&d->sync_err, __ATOMIC_RELAXED);
}

/* For the formats: all of @len bytes between @b and the file. -ENODATA: the file ends before. */
int disk_read_all(int fd, struct iobuf *b, uint64_t off, uint64_t len) NODISCARD;
int disk_write_all(int fd, struct iobuf *b, uint64_t off, uint64_t len) NODISCARD;
/* @n bytes of zeroes into @b; what may not be touched by hand gets them from the kernel. */
int disk_zero_fill(const struct disk *d, struct iobuf *b, uint64_t n) NODISCARD;
/* Makes a range of a file read as zeroes, by fallocate(2) where it can. */
int disk_zero_range(int fd, bool unmap, uint64_t off, uint64_t len) NODISCARD;

#endif
