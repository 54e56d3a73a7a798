/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 images, versions 2 and 3 (QEMU's docs/interop/qcow2.txt): what their files share.
 *
 * Everything in struct qcow2 is under its lock, but what open sets for good. A function that wants
 * it held says nothing; qcow2_map() alone takes what it can get. Errors are -errno; -EUCLEAN: the
 * image contradicts itself.
 */
#ifndef KRUN_DEV_DISK_QCOW2_H
#define KRUN_DEV_DISK_QCOW2_H

#include <pthread.h>

#include "dev/disk.h"

#define QCOW2_COPIED	 (1ULL << 63)
#define QCOW2_COMPRESSED (1ULL << 62)
#define QCOW2_ZERO	 1ULL
#define QCOW2_OFFSET	 0x00fffffffffffe00ULL

#define QCOW2_H_INCOMPATIBLE 72 /* of the header */
#define QCOW2_INC_CORRUPT    (1ULL << 1)

#define QCOW2_TABLES 64 /* of one kind in memory, at most */
#define QCOW2_PEND   1024

/* A table in memory: a cluster of the image, in its byte order. */
struct qcow2_tab {
	uint64_t off;  /* in the file; 0: unused */
	uint64_t used; /* when */
	uint8_t *p;
	uint32_t lo, hi; /* bytes that differ from the file's; lo == hi: none */
};

struct qcow2_cache {
	struct qcow2_tab tab[QCOW2_TABLES];
	unsigned n, last;
	uint64_t clock;
};

struct qcow2_range {
	uint64_t first, n; /* clusters */
};

struct qcow2 {
	struct disk d;
	/* set by open */
	int fd; /* d.fd, or the same file without O_DIRECT: for all that qcow2_map() does not say */
	bool own_fd;
	int bounce_fd; /* a file in memory, under the lock */
	unsigned cbits;
	uint64_t csize;
	uint32_t version;
	uint64_t incompatible;	   /* the header's features; version 3 */
	uint64_t snap_off, snap_n; /* the table of snapshots: clusters that it takes at least */
	unsigned ref_bits;
	unsigned rb_bits; /* log2 of the refcounts in a cluster */
	struct disk *backing;
	uint8_t *tables; /* the memory of both caches */
	struct qcow2_zip *zip;

	pthread_mutex_t lock;
	uint64_t *l1, l1_off;
	uint32_t l1_n, l1_lo, l1_hi; /* entries; those that differ from the file's */
	uint64_t *rt, rt_off;	     /* refcount table */
	uint64_t rt_n;
	struct qcow2_cache l2, rb;
	uint64_t hint;			     /* no free cluster lies before */
	uint64_t eof;			     /* from here on the file is holes */
	struct qcow2_range pend[QCOW2_PEND]; /* one use less, once L1 and L2 are written */
	unsigned npend;
	bool refs_unsynced, l2_unsynced; /* written, by whomever, since the last sync */
	bool corrupt;
	uint8_t *whole; /* a cluster's bytes */
};

/* What an L2 entry says. */
enum qcow2_kind {
	QCOW2_K_NONE,
	QCOW2_K_ZERO, /* with a cluster of its own when @off is not 0 */
	QCOW2_K_DATA,
	QCOW2_K_PACKED,
};

/* disk_qcow2.c */
int qcow2_open(const struct disk_cfg *cfg, struct disk *base, struct disk **out, struct error *e);

/* disk_qcow2_tab.c */
int qcow2_tabs_new(struct qcow2 *q);
/* The table in memory, or NULL: no waiting. */
struct qcow2_tab *qcow2_tab_find(struct qcow2_cache *c, uint64_t off);
/* Read in if need be. Any call that gets another may throw it out, changed ones written. */
int qcow2_tab_get(struct qcow2 *q, struct qcow2_cache *c, uint64_t off, struct qcow2_tab **out);
/* Not read: all zeroes, or what the caller fills in; all of it is to be written. */
int qcow2_tab_new(struct qcow2 *q, struct qcow2_cache *c, uint64_t off, struct qcow2_tab **out);
void qcow2_tab_changed(struct qcow2_tab *t, uint32_t at, uint32_t n);
/* Forgets it, and what was changed in it. */
void qcow2_tab_drop(struct qcow2_tab *t);
int qcow2_tab_write(struct qcow2 *q, struct qcow2_tab *t);
void qcow2_l1_set(struct qcow2 *q, uint32_t i, uint64_t v);
/* Nothing is written once the image is known to be damaged, or the medium to have lost something:
 * -EUCLEAN, or why the sync failed. */
int qcow2_may_write(struct qcow2 *q);
/* All that differs from the file, in the order in which a crash at any moment leaves leaks at
 * most. */
int qcow2_write_back(struct qcow2 *q);
/* fdatasync() of what was written, unless the disk is one that syncs nothing. Once it has failed
 * nothing more is written, as tables would be that point at what may not be there. */
int qcow2_sync(struct qcow2 *q);
/* One use less of these clusters, when nothing on the medium says otherwise any more. */
int qcow2_pend(struct qcow2 *q, uint64_t first, uint64_t n);

/* disk_qcow2_ref.c */
int qcow2_ref_get(struct qcow2 *q, uint64_t cluster, uint64_t *v);
/* @delta: 1 or -1. */
int qcow2_ref_add(struct qcow2 *q, uint64_t cluster, int delta);
/* Up to @want clusters in a row, used once from now on; how many there are is in *got. */
int qcow2_alloc(struct qcow2 *q, uint64_t want, uint64_t *off, uint64_t *got);
/* Whether [off, off + csize) may be one of data or a table: not the header, L1 or refcount table.
 */
bool qcow2_may_use(const struct qcow2 *q, uint64_t off);

/* disk_qcow2_map.c */
enum qcow2_kind qcow2_kind(const struct qcow2 *q, uint64_t entry, uint64_t *off);
/* The table that holds the entry of @at, and the entry's index; NULL: there is none yet. */
int qcow2_l2(struct qcow2 *q, uint64_t at, struct qcow2_tab **out, uint32_t *index);
/* The same, made or copied so that it may be changed. */
int qcow2_l2_own(struct qcow2 *q, uint64_t at, struct qcow2_tab **out, uint32_t *index);
uint64_t qcow2_entry(const struct qcow2_tab *t, uint32_t i);
void qcow2_set_entry(struct qcow2_tab *t, uint32_t i, uint64_t v);
void qcow2_map(struct disk *d, bool write, uint64_t off, uint64_t len, struct disk_extent *x);
/* -EUCLEAN. The image takes no more writes, nor does it later: it is marked in its header. */
int qcow2_damaged(struct qcow2 *q, const char *what, uint64_t where);

/* disk_qcow2_io.c */
int qcow2_run(struct disk *d, enum disk_cmd cmd, struct iobuf *b, uint64_t off, uint64_t len);

/* disk_qcow2_zip.c: compressed clusters. The libraries are loaded at open, if they are there. */
int qcow2_zip_new(unsigned cbits, bool zstd, struct qcow2_zip **out, struct error *e);
void qcow2_zip_free(struct qcow2_zip *z);
/* The bytes of the cluster that L2 entry @entry names; they stay until the next call. */
int qcow2_zip_read(struct qcow2 *q, uint64_t entry, const uint8_t **p);
/* Where it lies: in clusters of the file. */
void qcow2_zip_range(const struct qcow2 *q, uint64_t entry, uint64_t *first, uint64_t *n);

#endif
