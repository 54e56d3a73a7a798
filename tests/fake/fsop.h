/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on a file system, as data: made from a seed, run as system calls by processes
 * of several users, or by whoever else can; what comes out is comparable.
 *
 * Used by tests/unit/test_fs_diff.c (a share against a directory) and tests/e2e/fs-random.c (a
 * program for guest and host whose traces must be equal), so it includes only the C library. An
 * operation's sequence depends on the seed and on the results so far only.
 */
#ifndef KRUN_TESTS_FAKE_FSOP_H
#define KRUN_TESTS_FAKE_FSOP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

#define FSOP_PROCS   4
#define FSOP_SLOTS   6 /* open files of a process */
#define FSOP_IO	     (192U << 10)
#define FSOP_SPECIAL 1000 /* result of open: a fifo, opened and closed again */

enum fsop_kind {
	FSOP_OPEN,
	FSOP_TMPFILE,
	FSOP_CLOSE,
	FSOP_READ,
	FSOP_WRITE,
	FSOP_FSYNC,
	FSOP_LSEEK,
	FSOP_FALLOCATE,
	FSOP_COPY,
	FSOP_FTRUNCATE,
	FSOP_FSTAT,
	FSOP_FCHMOD,
	FSOP_FCHOWN,
	FSOP_LINKFD,
	FSOP_MKDIR,
	FSOP_MKNOD,
	FSOP_SYMLINK,
	FSOP_LINK,
	FSOP_UNLINK,
	FSOP_RMDIR,
	FSOP_RENAME,
	FSOP_CHMOD,
	FSOP_CHOWN,
	FSOP_TRUNCATE,
	FSOP_UTIMES,
	FSOP_STAT,
	FSOP_ACCESS,
	FSOP_READLINK,
	FSOP_SETXATTR,
	FSOP_GETXATTR,
	FSOP_LISTXATTR,
	FSOP_REMOVEXATTR,
	FSOP_LIST,
	FSOP_UMASK,
	FSOP_KINDS
};

struct fsop {
	uint8_t kind, proc, slot, slot2;
	bool follow;
	int flags; /* open, rename, fallocate, xattr, access; whence */
	uint32_t mode, uid, gid, rdev, seed;
	int64_t off, off2, len;
	struct timespec ts[2];
	char path[600], path2[600]; /* path2: also a symlink's text, an xattr's name */
};

struct fsres {
	int64_t ret; /* -errno, or what the call returns */
	bool attr;   /* the next six are set */
	uint32_t mode, uid, gid, nlink, rdev;
	int64_t size;
	int64_t atime[2], mtime[2]; /* {0, 0}: about now */
	uint64_t hash;		    /* of @n bytes */
	uint32_t n;
};

struct fsop_user {
	uint32_t uid, gid, ngroups, groups[2];
};
extern const struct fsop_user fsop_users[FSOP_PROCS];

struct fsop_gen {
	uint64_t rnd;
	bool used[FSOP_PROCS][FSOP_SLOTS];
};

/* The next operation; what came of it. */
void fsop_next(struct fsop_gen *g, struct fsop *op);
void fsop_done(struct fsop_gen *g, const struct fsop *op, const struct fsres *res);
/* A look by root at what @op may have changed; false when there is nothing to look at. */
bool fsop_look(const struct fsop *op, unsigned which, struct fsop *look);
/* Closes one open file; false when there is none. */
bool fsop_close_one(const struct fsop_gen *g, struct fsop *op);
void fsop_print(FILE *f, const struct fsop *op);
void fsop_print_res(FILE *f, const struct fsres *r);
bool fsop_same(const struct fsres *a, const struct fsres *b, bool atime);

/* For those who run operations. */
void fsop_fill(const struct fsop *op, uint8_t *b, size_t n); /* bytes to write */
void fsop_sum(struct fsres *r, const void *b, size_t n);
void fsop_time(int64_t out[2], int64_t sec, int64_t nsec);
/* The lines of @b sorted, and summed into @r. */
void fsop_sum_lines(struct fsres *r, char *b, size_t n);

/*
 * fsop_native.c: processes of fsop_users[], each at @dir as its root directory. With @here they are
 * no processes: the calling thread acts for each of them, whose cwd must not change meanwhile.
 * Takes root.
 */
struct fsop_native {
	bool here;
	int root, cwd, dir;
	struct {
		pid_t pid;
		int fd;
		struct {
			struct fsop op;
			struct fsres res;
		} * shared;
	} proc[FSOP_PROCS];
};
int fsop_native_start(struct fsop_native *n, const char *dir, bool here);
/* -EPIPE when the process is gone. */
int fsop_native_run(struct fsop_native *n, const struct fsop *op, struct fsres *res);
void fsop_native_stop(struct fsop_native *n);

#endif
