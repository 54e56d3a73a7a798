// SPDX-License-Identifier: Apache-2.0
/* A guest's kernel without a guest: open files and directories. */
/*
 * How it works
 *
 * There is no page cache: each read and write is a request. What exists is opened by OPEN, what
 * does not is made by CREATE, as the kernel does after its lookup. The last slot of a process is
 * that of fk_list(), which reads a directory in pieces of changing size, with attributes or
 * without.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake/fake_kern.h"
#include "util/util.h"

#define OP_TMPFILE   51U
#define KILL_SUIDGID (1U << 2) /* FUSE_WRITE_KILL_SUIDGID */
#define OPEN_KILL    (1U << 0) /* FUSE_OPEN_KILL_SUIDGID */
#define OFF_MAX	     INT64_MAX

/* may_create_in_sticky(): opening with O_CREAT what is there already. Only files and fifos have a
 * switch. */
static int may_create_in_sticky(const struct fk *k, const struct fk_proc *p,
	const struct fuse_attr *dir, const struct fuse_attr *a)
{
	unsigned rule = S_ISREG(a->mode) ? k->regular : S_ISFIFO(a->mode) ? k->fifos : 1;

	if (!(dir->mode & S_ISVTX) || !rule || a->uid == dir->uid || a->uid == p->uid)
		return 0;
	if ((dir->mode & 0002) || (rule >= 2 && (dir->mode & 0020)))
		return -EACCES;
	return 0;
}

static int may_open(const struct fk_proc *p, const struct fuse_attr *a, int flags)
{
	static const int need[] = { R_OK, W_OK, R_OK | W_OK, R_OK | W_OK };
	int mask = need[flags & O_ACCMODE] | (flags & O_TRUNC ? W_OK : 0), r;

	if (S_ISLNK(a->mode))
		return -ELOOP;
	if (S_ISDIR(a->mode) && (mask & W_OK))
		return -EISDIR;
	r = fk_permission(p, a, mask);
	if (!r && (flags & O_NOATIME) && p->uid && p->uid != a->uid)
		r = -EPERM;
	return r;
}

static int new_file(struct fk_proc *p, unsigned slot, uint64_t id, uint64_t fh, int flags, bool dir)
{
	p->file[slot] =
		(struct fk_file){ .used = true, .dir = dir, .flags = flags, .id = id, .fh = fh };
	return 0;
}

/* The window's bytes @shown, @there of them, are the @n of file @id that are in @b. */
static void compare(struct fk *k, uint64_t id, int64_t off, const void *shown, uint32_t there,
	const void *b, uint32_t n)
{
	k->compared++;
	if (there >= n && !memcmp(shown, b, n))
		return;
	printf("# the window shows something else of %#lx at %ld\n", (unsigned long)id, (long)off);
	k->broken = true;
}

static int open_inode(
	struct fk *k, struct fk_proc *p, unsigned slot, const struct fk_inode *n, int flags)
{
	bool dir = S_ISDIR(n->a.mode);
	struct fuse_open_in in = { .flags = (uint32_t)(flags & ~(O_CREAT | O_EXCL | O_NOCTTY)) };
	struct fuse_open_out o;
	int r;

	if (S_ISFIFO(n->a.mode))
		return (flags & O_ACCMODE) == O_WRONLY ? -ENXIO : FK_SPECIAL;
	if (!dir && !S_ISREG(n->a.mode))
		return -ENXIO;
	if ((flags & O_TRUNC) && p->uid)
		in.open_flags = OPEN_KILL;
	r = fk_call(k, p, dir ? FUSE_OPENDIR : FUSE_OPEN, n->id, &in, sizeof(in), NULL, 0, &o,
		sizeof(o));
	if (r < 0)
		return r;
	if (!dir)
		fk_window_map(k, p, n->id);
	return new_file(p, slot, n->id, o.fh, flags, dir);
}

static int create(struct fk *k, struct fk_proc *p, unsigned slot, const struct fk_at *at, int flags,
	mode_t mode, uint32_t op)
{
	struct fuse_create_in in = { .flags = (uint32_t)(flags & ~O_NOCTTY), .umask = p->umask };
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out;
	const struct fuse_attr *dir = op == OP_TMPFILE ? &at->node.a : &at->dir.a;
	const char *name = op == OP_TMPFILE ? "#1" : at->last;
	int r = fk_permission(p, dir, W_OK | X_OK);

	if (r < 0)
		return r;
	in.mode = S_IFREG | fk_new_mode(p, dir, mode & 07777);
	if (p->uid && (flags & O_TRUNC))
		in.open_flags = OPEN_KILL;
	r = fk_call(k, p, op, op == OP_TMPFILE ? at->node.id : at->dir.id, &in, sizeof(in), name,
		(uint32_t)strlen(name) + 1, &out, sizeof(out));
	if (r < 0)
		return r;
	if (op == OP_TMPFILE)
		fk_looked_up(k, out.e.nodeid);
	else
		fk_name_put(k, at->dir.id, at->last, out.e.nodeid);
	fk_window_map(k, p, out.e.nodeid);
	return new_file(p, slot, out.e.nodeid, out.o.fh, flags, false);
}

int fk_open(
	struct fk *k, struct fk_proc *p, unsigned slot, const char *path, int flags, mode_t mode)
{
	bool excl = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
	struct fk_at at;
	int r = fk_walk(k, p, path, (flags & O_NOFOLLOW) || excl ? 0 : FK_FOLLOW, &at);

	if (r < 0)
		return r;
	if (!at.found)
		return flags & O_CREAT ? create(k, p, slot, &at, flags, mode, FUSE_CREATE)
				       : -ENOENT;
	if (excl)
		return -EEXIST;
	if (flags & O_CREAT) {
		if (S_ISDIR(at.node.a.mode))
			return -EISDIR;
		r = may_create_in_sticky(k, p, &at.dir.a, &at.node.a);
		if (r < 0)
			return r;
	}
	if ((flags & O_DIRECTORY) && !S_ISDIR(at.node.a.mode))
		return -ENOTDIR;
	r = may_open(p, &at.node.a, flags);
	return r < 0 ? r : open_inode(k, p, slot, &at.node, flags);
}

int fk_tmpfile(
	struct fk *k, struct fk_proc *p, unsigned slot, const char *path, int flags, mode_t mode)
{
	struct fk_at at;
	int r;

	if ((flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	r = fk_find(k, p, path, FK_FOLLOW, &at);
	if (!r && !S_ISDIR(at.node.a.mode))
		r = -ENOTDIR;
	return r < 0 ? r : create(k, p, slot, &at, flags, mode, OP_TMPFILE);
}

int fk_close(struct fk *k, struct fk_proc *p, unsigned slot)
{
	struct fk_file *f = &p->file[slot];
	struct fuse_release_in in = { .fh = f->fh, .flags = (uint32_t)f->flags };
	struct fuse_flush_in fl = { .fh = f->fh };
	int r;

	if (!f->dir) {
		r = fk_call(k, p, FUSE_FLUSH, f->id, &fl, sizeof(fl), NULL, 0, NULL, 0);
		if (r < 0 && r != -ENOSYS)
			return r;
	}
	f->used = false;
	return fk_call(k, p, f->dir ? FUSE_RELEASEDIR : FUSE_RELEASE, f->id, &in, sizeof(in), NULL,
		0, NULL, 0);
}

int64_t fk_read(struct fk *k, struct fk_proc *p, unsigned slot, int64_t off, void *b, uint32_t n)
{
	static uint8_t shown[FK_IO];
	const struct fk_file *f = &p->file[slot];
	struct fuse_read_in in = {
		.fh = f->fh, .offset = (uint64_t)off, .size = n, .flags = (uint32_t)f->flags
	};
	uint32_t there;
	bool mapped;
	int r;

	if (off < 0)
		return -EINVAL;
	if ((f->flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	if (f->dir)
		return -EISDIR;
	if (!n)
		return 0;
	mapped = n <= sizeof(shown) && fk_window_take(k, f->id, in.offset, n, shown, &there);
	r = fk_call(k, p, FUSE_READ, f->id, &in, sizeof(in), NULL, 0, b, n);
	if (r < 0)
		return r;
	n = k->out_len;
	if (mapped)
		compare(k, f->id, off, shown, there, b, n);
	if (n)
		fk_window_map(k, p, f->id);
	return n;
}

int64_t fk_write(
	struct fk *k, struct fk_proc *p, unsigned slot, int64_t off, const void *b, uint32_t n)
{
	static uint8_t shown[FK_IO];
	const struct fk_file *f = &p->file[slot];
	struct fuse_write_in in = { .fh = f->fh,
		.offset = (uint64_t)off,
		.size = n,
		.flags = (uint32_t)f->flags,
		.write_flags = p->uid ? KILL_SUIDGID : 0 };
	struct fuse_write_out o = { 0 };
	uint32_t there;
	int r;

	if (off < 0)
		return -EINVAL;
	if ((f->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	if (!n)
		return 0;
	r = fk_call(k, p, FUSE_WRITE, f->id, &in, sizeof(in), b, n, &o, sizeof(o));
	if (r < 0)
		return r;
	if (!(f->flags & O_APPEND) && o.size <= sizeof(shown) &&
		fk_window_take(k, f->id, in.offset, o.size, shown, &there))
		compare(k, f->id, off, shown, there, b, o.size);
	return o.size;
}

int fk_fsync(struct fk *k, struct fk_proc *p, unsigned slot, bool data)
{
	const struct fk_file *f = &p->file[slot];
	struct fuse_fsync_in in = { .fh = f->fh, .fsync_flags = data };

	return fk_call(k, p, f->dir ? FUSE_FSYNCDIR : FUSE_FSYNC, f->id, &in, sizeof(in), NULL, 0,
		NULL, 0);
}

int64_t fk_lseek(struct fk *k, struct fk_proc *p, unsigned slot, int64_t off, int whence)
{
	const struct fk_file *f = &p->file[slot];
	struct fuse_lseek_in in = {
		.fh = f->fh, .offset = (uint64_t)off, .whence = (uint32_t)whence
	};
	struct fuse_lseek_out o = { 0 };
	struct fuse_attr a;
	int r;

	if (f->dir)
		return -EISDIR;
	if (off < 0)
		return -ENXIO;
	r = fk_call(k, p, FUSE_LSEEK, f->id, &in, sizeof(in), NULL, 0, &o, sizeof(o));
	if (r < 0)
		return r;
	r = fk_fstat(k, p, slot, &a);
	return r < 0 ? r : (int64_t)o.offset;
}

int fk_fallocate(struct fk *k, struct fk_proc *p, unsigned slot, int mode, int64_t off, int64_t len)
{
	const struct fk_file *f = &p->file[slot];
	struct fuse_fallocate_in in = { .fh = f->fh,
		.offset = (uint64_t)off,
		.length = (uint64_t)len,
		.mode = (uint32_t)mode };

	if (off < 0 || len <= 0)
		return -EINVAL;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) ==
		(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && !(mode & FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	if ((f->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	return fk_call(k, p, FUSE_FALLOCATE, f->id, &in, sizeof(in), NULL, 0, NULL, 0);
}

/* generic_copy_file_checks(): what is left of @len, or -errno. */
static int64_t copy_checks(struct fk *k, struct fk_proc *p, const struct fk_file *f,
	const struct fk_file *t, int64_t oi, int64_t oo, int64_t len)
{
	struct fuse_attr a, b;
	int r;

	if (f->dir || t->dir)
		return -EISDIR;
	if ((f->flags & O_ACCMODE) == O_WRONLY || (t->flags & O_ACCMODE) == O_RDONLY ||
		(t->flags & O_APPEND))
		return -EBADF;
	r = fk_getattr(k, p, f->id, &a);
	if (!r)
		r = fk_getattr(k, p, t->id, &b);
	if (r < 0)
		return r;
	if (oi > OFF_MAX - len || oo > OFF_MAX - len)
		return -EOVERFLOW;
	len = oi >= (int64_t)a.size ? 0 : MIN(len, (int64_t)a.size - oi);
	if (f->id == t->id && oo + len > oi && oo < oi + len)
		return -EINVAL;
	return len;
}

int64_t fk_copy(struct fk *k, struct fk_proc *p, unsigned from, int64_t oi, unsigned to, int64_t oo,
	uint64_t len)
{
	const struct fk_file *f = &p->file[from], *t = &p->file[to];
	struct fuse_copy_file_range_in in = { .fh_in = f->fh,
		.off_in = (uint64_t)oi,
		.nodeid_out = t->id,
		.fh_out = t->fh,
		.off_out = (uint64_t)oo };
	struct fuse_write_out o = { 0 };
	int64_t n = copy_checks(k, p, f, t, oi, oo, (int64_t)len);
	int r;

	if (n <= 0)
		return n;
	in.len = (uint64_t)n;
	r = fk_call(k, p, FUSE_COPY_FILE_RANGE, f->id, &in, sizeof(in), NULL, 0, &o, sizeof(o));
	return r < 0 ? r : (int64_t)o.size;
}

/* One piece of a directory: its entries to @b, the next offset to *off. */
static int list_piece(struct fk *k, struct fk_inode *dir, const char *buf, bool plus, uint64_t *off,
	char *b, uint32_t room, uint32_t *at)
{
	for (uint32_t i = 0; i < k->out_len;) {
		const struct fuse_entry_out *e = plus ? (const void *)(buf + i) : NULL;
		const struct fuse_dirent *d =
			(const void *)(buf + i + (plus ? sizeof(struct fuse_entry_out) : 0));
		char name[300];

		if (d->namelen > 255 || *at + 300 > room)
			return -EIO;
		memcpy(name, d->name, d->namelen);
		name[d->namelen] = 0;
		*off = d->off;
		i += (uint32_t)(FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d->namelen) +
			(plus ? sizeof(*e) : 0));
		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		if (plus && e->nodeid) {
			if ((e->attr.mode & S_IFMT) >> 12 != d->type)
				return -EIO;
			fk_name_put(k, dir->id, name, e->nodeid);
		}
		*at += (uint32_t)snprintf(b + *at, room - *at, "%u %s\n", d->type, name);
	}
	return 0;
}

int fk_list(struct fk *k, struct fk_proc *p, const char *path, char *b, uint32_t room)
{
	static char buf[32768] __attribute__((aligned(8)));
	struct fuse_read_in in = { .size = 512 + (uint32_t)(k->unique * 977) % 16384 };
	bool plus = k->unique & 4;
	struct fk_at at;
	uint32_t n = 0;
	int r = fk_find(k, p, path, FK_FOLLOW, &at);

	if (!r && !S_ISDIR(at.node.a.mode))
		r = -ENOTDIR;
	if (!r)
		r = may_open(p, &at.node.a, O_RDONLY);
	if (!r)
		r = open_inode(k, p, FK_FILES - 1, &at.node, O_RDONLY | O_DIRECTORY);
	if (r < 0)
		return r;
	in.fh = p->file[FK_FILES - 1].fh;
	do {
		r = fk_call(k, p, plus ? FUSE_READDIRPLUS : FUSE_READDIR, at.node.id, &in,
			sizeof(in), NULL, 0, buf, in.size);
		if (!r)
			r = list_piece(k, &at.node, buf, plus, &in.offset, b, room, &n);
	} while (!r && k->out_len);
	if (!r)
		r = fk_close(k, p, FK_FILES - 1);
	return r < 0 ? r : (int)n;
}
