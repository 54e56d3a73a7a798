/* SPDX-License-Identifier: Apache-2.0 */
/* The FUSE wire format: <linux/fuse.h> plus what is newer than the oldest header we build with
 * (7.36). */
#ifndef KRUN_DEV_FS_PROTO_H
#define KRUN_DEV_FS_PROTO_H

#include <linux/fuse.h>
#include <stdint.h>

#define FS_MAJOR     7
#define FS_MINOR     41 /* what Linux 6.12 speaks */
#define FS_MINOR_MIN 27 /* older guests lay out their structures differently */

#define FS_OP_SYNCFS  50
#define FS_OP_TMPFILE 51
#define FS_OP_STATX   52
#define FS_OP_MAX     53

/* Bits of flags/flags2 as one 64-bit word; every one as unsigned, which the header's signed 1 << 31
 * is not. */
#define FS_I_ASYNC_READ	      (1ULL << 0)
#define FS_I_POSIX_LOCKS      (1ULL << 1)
#define FS_I_ATOMIC_O_TRUNC   (1ULL << 3)
#define FS_I_BIG_WRITES	      (1ULL << 5)
#define FS_I_DONT_MASK	      (1ULL << 6)
#define FS_I_FLOCK_LOCKS      (1ULL << 10)
#define FS_I_IOCTL_DIR	      (1ULL << 11)
#define FS_I_AUTO_INVAL_DATA  (1ULL << 12)
#define FS_I_DO_READDIRPLUS   (1ULL << 13)
#define FS_I_READDIRPLUS_AUTO (1ULL << 14)
#define FS_I_ASYNC_DIO	      (1ULL << 15)
#define FS_I_WRITEBACK_CACHE  (1ULL << 16)
#define FS_I_PARALLEL_DIROPS  (1ULL << 18)
#define FS_I_POSIX_ACL	      (1ULL << 20)
#define FS_I_MAX_PAGES	      (1ULL << 22)
#define FS_I_CACHE_SYMLINKS   (1ULL << 23)
#define FS_I_EXPLICIT_INVAL   (1ULL << 25)
#define FS_I_MAP_ALIGNMENT    (1ULL << 26)
#define FS_I_SUBMOUNTS	      (1ULL << 27)
#define FS_I_KILLPRIV_V2      (1ULL << 28)
#define FS_I_SETXATTR_EXT     (1ULL << 29)
#define FS_I_INIT_EXT	      (1ULL << 30)
#define FS_I_HAS_INODE_DAX    (1ULL << 33)
#define FS_I_ALLOW_IDMAP      (1ULL << 40)
/* Not upstream's: kernel/patches has them. */
#define FS_I_FLUSH_LOCKS    (1ULL << 61)
#define FS_I_LOCK_INTERRUPT (1ULL << 62)

#define FS_ATTR_SUBMOUNT      1U
#define FS_ATTR_DAX	      2U
#define FS_SETXATTR_KILL_SGID 1U
#define FS_OPEN_KILL_SUIDGID  1U
#define FS_FOPEN_DIRECT_IO    (1U << 0)
#define FS_FOPEN_KEEP_CACHE   (1U << 1)
#define FS_FOPEN_CACHE_DIR    (1U << 3)
#define FS_FATTR_KILL	      (1U << 11)

/* FUSE_STATX, 7.39 */
struct fs_statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};

struct fs_sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct fs_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct fs_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};

struct fs_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct fs_statx stat;
};

_Static_assert(sizeof(struct fs_statx) == 256, "struct fuse_statx");
_Static_assert(sizeof(struct fs_statx_out) == 288, "struct fuse_statx_out");
_Static_assert(sizeof(struct fuse_in_header) == 40, "struct fuse_in_header");
_Static_assert(sizeof(struct fuse_out_header) == 16, "struct fuse_out_header");
_Static_assert(sizeof(struct fuse_entry_out) == 128, "struct fuse_entry_out");
_Static_assert(sizeof(struct fuse_init_out) == 64, "struct fuse_init_out");

#endif
