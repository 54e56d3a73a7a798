/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's kernel without a guest: the file system calls of processes, made of FUSE requests to a
 * virtio-fs device.
 *
 * It does what Linux 6.12 does above the wire: walks paths by LOOKUP or from a small cache of
 * names, follows symlinks, checks permissions, sticky bits and the kernel's link and file
 * protections (those of the machine it runs on), applies umasks, strips set-id bits where the VFS
 * does, and says in each request what the kernel would say. Nothing is shared with the server.
 *
 * One thread; calls return -errno or a result. Nodes are forgotten late and in batches, never while
 * a file of theirs is open.
 */
#ifndef KRUN_TESTS_FAKE_KERN_H
#define KRUN_TESTS_FAKE_KERN_H

#include <linux/fuse.h>
#include <sys/stat.h>
#include <time.h>

#include "fake/fake_guest.h"

#define FK_FILES   8		/* open files of a process */
#define FK_IO	   (256U << 10) /* bytes of one read or write */
#define FK_NAMES   48		/* names remembered */
#define FK_FORGETS 2048		/* lookups that wait to be forgotten, at most */
#define FK_SETTLE  64		/* and between two calls */
#define FK_DEPTH   128		/* of a path */
#define FK_RANGES  8		/* of the window, at most */
#define FK_SPECIAL 1000		/* fk_open() of a fifo: opened, and closed again */

struct fk_inode {
	uint64_t id;
	struct fuse_attr a;
};

struct fk_file {
	bool used, dir;
	int flags;
	uint64_t id, fh;
};

struct fk_proc {
	uint32_t uid, gid, groups[4];
	unsigned ngroups;
	mode_t umask;
	struct fk_file file[FK_FILES];
};

struct fk_name {
	uint64_t dir, id;
	char name[64];
};

/* What a range of the window shows the beginning of; 0: nothing. */
struct fk_shown {
	uint64_t id;
};

struct fk {
	struct fake_dev *d;
	uint8_t *window; /* as the host has it */
	struct fk_shown shown[FK_RANGES];
	unsigned nshown;   /* ranges; 0: there is no window */
	unsigned compared; /* reads of what is mapped */
	uint64_t unique, rnd;
	uint64_t flags; /* negotiated */
	struct fk_name name[FK_NAMES];
	struct fuse_forget_one forget[FK_FORGETS];
	unsigned nforget;
	unsigned symlinks, hardlinks, fifos, regular; /* fs.protected_* */
	struct fk_proc *procs;			      /* all that there are; the owner's */
	unsigned nprocs;
	uint64_t requests;
	bool broken; /* a reply made no sense */
	uint32_t out_len;
};

/* FUSE_INIT with what this kernel can do. */
int fk_init(struct fk *k, struct fake_dev *d, uint64_t seed);
/* Between two calls: forgets what nothing holds, when there is enough of it. */
void fk_settle(struct fk *k);
void fk_forget_now(struct fk *k); /* however few */
/* Forgets all names and waiting lookups. */
void fk_forget_all(struct fk *k);

/* How a walk ends. */
enum {
	FK_FOLLOW = 1, /* a symlink in the last place too */
	FK_PARENT = 2, /* the last place is not looked at; fk_last() does */
};

struct fk_at {
	struct fk_inode dir, node;
	bool found;
	char last[300];
	uint64_t up[FK_DEPTH]; /* the directories from the root to @dir */
	unsigned nup;
};

/* fake_kern.c: what the other parts need. */
int fk_call(struct fk *k, const struct fk_proc *p, uint32_t op, uint64_t node, const void *in,
	uint32_t n_in, const void *more, uint32_t n_more, void *out, uint32_t n_out);
int fk_walk(struct fk *k, const struct fk_proc *p, const char *path, int how, struct fk_at *at);
int fk_last(struct fk *k, const struct fk_proc *p, struct fk_at *at);
/* The same as fk_walk(), -ENOENT when there is nothing. */
int fk_find(struct fk *k, const struct fk_proc *p, const char *path, int how, struct fk_at *at);
int fk_permission(const struct fk_proc *p, const struct fuse_attr *a, int mask);
bool fk_in_group(const struct fk_proc *p, uint32_t gid);
int fk_getattr(struct fk *k, const struct fk_proc *p, uint64_t id, struct fuse_attr *a);
/* A lookup that the server counted. */
void fk_looked_up(struct fk *k, uint64_t id);
void fk_name_put(struct fk *k, uint64_t dir, const char *name, uint64_t id);
uint64_t fk_name_take(struct fk *k, uint64_t dir, const char *name);
/* The mode of what is created in @dir. */
uint32_t fk_new_mode(const struct fk_proc *p, const struct fuse_attr *dir, uint32_t mode);

/* fake_kern_window.c: the window's own bytes of a file that is mapped, mapping, forgetting one. */
bool fk_window_take(struct fk *k, uint64_t id, uint64_t off, uint32_t n, void *to, uint32_t *got);
void fk_window_map(struct fk *k, const struct fk_proc *p, uint64_t id);
void fk_window_forget(struct fk *k, uint64_t id);

/* fake_kern_name.c */
int fk_mkdir(struct fk *k, struct fk_proc *p, const char *path, mode_t mode);
int fk_mknod(struct fk *k, struct fk_proc *p, const char *path, mode_t mode, uint32_t rdev);
int fk_symlink(struct fk *k, struct fk_proc *p, const char *target, const char *path);
int fk_link(struct fk *k, struct fk_proc *p, const char *old, const char *path, bool follow);
int fk_link_file(struct fk *k, struct fk_proc *p, unsigned slot, const char *path);
int fk_remove(struct fk *k, struct fk_proc *p, const char *path, bool dir);
int fk_rename(struct fk *k, struct fk_proc *p, const char *from, const char *to, unsigned flags);

/* fake_kern_attr.c */
int fk_stat(struct fk *k, struct fk_proc *p, const char *path, bool follow, struct fuse_attr *a);
int fk_fstat(struct fk *k, struct fk_proc *p, unsigned slot, struct fuse_attr *a);
int fk_access(struct fk *k, struct fk_proc *p, const char *path, int mask);
int fk_readlink(struct fk *k, struct fk_proc *p, const char *path, char *buf, uint32_t n);
/* @path, or the open file @slot when it is NULL. */
int fk_chmod(struct fk *k, struct fk_proc *p, const char *path, unsigned slot, mode_t mode);
int fk_chown(struct fk *k, struct fk_proc *p, const char *path, unsigned slot, bool follow,
	uint32_t uid, uint32_t gid);
int fk_truncate(struct fk *k, struct fk_proc *p, const char *path, unsigned slot, int64_t size);
int fk_utimes(struct fk *k, struct fk_proc *p, const char *path, bool follow,
	const struct timespec ts[2]);
int fk_setxattr(struct fk *k, struct fk_proc *p, const char *path, bool follow, const char *name,
	const void *v, uint32_t n, int flags);
int fk_getxattr(struct fk *k, struct fk_proc *p, const char *path, bool follow, const char *name,
	void *v, uint32_t n);
int fk_listxattr(
	struct fk *k, struct fk_proc *p, const char *path, bool follow, void *v, uint32_t n);
int fk_removexattr(
	struct fk *k, struct fk_proc *p, const char *path, bool follow, const char *name);

/* fake_kern_file.c. The file gets the slot given, which must be free. */
int fk_open(
	struct fk *k, struct fk_proc *p, unsigned slot, const char *path, int flags, mode_t mode);
int fk_tmpfile(
	struct fk *k, struct fk_proc *p, unsigned slot, const char *path, int flags, mode_t mode);
int fk_close(struct fk *k, struct fk_proc *p, unsigned slot);
int64_t fk_read(struct fk *k, struct fk_proc *p, unsigned slot, int64_t off, void *b, uint32_t n);
int64_t fk_write(
	struct fk *k, struct fk_proc *p, unsigned slot, int64_t off, const void *b, uint32_t n);
int fk_fsync(struct fk *k, struct fk_proc *p, unsigned slot, bool data);
int64_t fk_lseek(struct fk *k, struct fk_proc *p, unsigned slot, int64_t off, int whence);
int fk_fallocate(
	struct fk *k, struct fk_proc *p, unsigned slot, int mode, int64_t off, int64_t len);
int64_t fk_copy(struct fk *k, struct fk_proc *p, unsigned from, int64_t oi, unsigned to, int64_t oo,
	uint64_t len);
/* "TYPE NAME\n" for each entry but . and .., in @b; returns bytes. */
int fk_list(struct fk *k, struct fk_proc *p, const char *path, char *b, uint32_t room);

#endif
