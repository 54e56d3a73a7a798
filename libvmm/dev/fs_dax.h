/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the DAX window (fs_dax*.c) know of each other; fs.h has what others call. */
#ifndef KRUN_DEV_FS_DAX_H
#define KRUN_DEV_FS_DAX_H

#include "dev/fs.h"

#define FS_DAX_PAGES   (FS_DAX_RANGE / 4096U)
#define FS_DAX_OVERLAY 0x794c7630U
#define FS_DAX_LAYERS  1024 /* mounts of overlayfs that are remembered */

/* A range of the window; @node 0: it is empty. */
struct fs_map {
	uint32_t node;
	uint32_t prev, next; /* of the node's list, 1 and up; 0: none */
	uint16_t shown;	     /* pages, from the first on, that are the file's; zero pages follow */
	bool write;
	bool lower; /* overlayfs may have mapped a file that is not the one it writes to */
	uint64_t off;
	uint64_t stamp; /* of the file when it was mapped, if @lower */
};

/* A mount that was asked for its type. */
struct fs_dax_mount {
	uint64_t mnt;
	uint32_t magic; /* 0: no file of it is mapped */
};

/* A mount of overlayfs on whose upper layer a store has its place. */
struct fs_layer {
	uint64_t mnt;
	bool upper; /* there is one, of the size that follows */
	uint64_t blocks, bsize;
};

struct fs_dax {
	struct mem *mem;
	gpa_t window;
	uint32_t n;	   /* ranges */
	uint32_t limit;	   /* of them, that may be promised */
	uint32_t promised; /* ranges, to nodes */
	int timer_fd;	   /* owned */
	bool ticks;
	struct fs_dax_mount seen[8];
	unsigned nseen;
	struct fs_layer *layer; /* owned */
	unsigned nlayers;
	unsigned mends;	     /* ranges that got zero pages, ever */
	struct fs_map map[]; /* n + 1, from 1 */
};

static inline struct fs_map *fs_map_at(const struct fs *fs, uint32_t i)
{
	return i ? &fs->dax->map[i] : NULL;
}

/* Where in the window range @i begins. */
static inline uint64_t fs_map_place(uint32_t i)
{
	return (uint64_t)(i - 1) * FS_DAX_RANGE;
}

/* fs_dax.c */
void fs_dax_ticks(struct fs_dax *d, bool on);
/*
 * Maps the part of @n that @m says into range @i, by a descriptor that shows the file as it is now,
 * and fills holes if it can. fs_dax_map_by(): by @fd. @m says what became of it.
 */
int fs_dax_map(struct fs *fs, struct fs_node *n, uint32_t i, struct fs_map *m) NODISCARD;
int fs_dax_map_by(struct fs *fs, int fd, uint32_t i, struct fs_map *m) NODISCARD;
/* A new descriptor of @n as it is now; some descriptor, a handle's before its own, so that who has
 * one open can call outside of a request. */
int fs_dax_open(struct fs *fs, struct fs_node *n, bool write) NODISCARD;
int fs_dax_fd_of(struct fs *fs, struct fs_node *n) NODISCARD;

/* fs_dax_layer.c: type of the file system of @n, 0 where nothing is mapped. */
uint32_t fs_dax_type(struct fs *fs, struct fs_node *n);
/* Before the host's /proc is out of sight: which mounts of overlayfs can be told. */
int fs_dax_layers(struct fs_dax *d) NODISCARD;

/* fs_dax_file.c */
/* A store has no errno, so there must be a place on the disk for it: fills the holes of what @m
 * shows of @fd. */
int fs_dax_fill(int fd, const struct fs_map *m) NODISCARD;

#endif
