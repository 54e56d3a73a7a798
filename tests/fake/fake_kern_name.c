// SPDX-License-Identifier: Apache-2.0
/* A guest's kernel without a guest: calls that make, move and remove names. */
/*
 * How it works
 *
 * The order of the checks is the VFS's, since it decides which of several errors a caller sees: the
 * parents of both names, then the names, then their relation, then permissions. The table of names
 * follows what worked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake/fake_kern.h"

/* The place of a name that is to be made. */
static int new_place(struct fk *k, const struct fk_proc *p, const char *path, struct fk_at *at)
{
	int r = fk_walk(k, p, path, 0, at);

	if (r < 0)
		return r;
	return at->found ? -EEXIST : fk_permission(p, &at->dir.a, W_OK | X_OK);
}

/* The reply to what made @at's name. */
static int made(struct fk *k, const struct fk_at *at, int r, const struct fuse_entry_out *e)
{
	if (!r)
		fk_name_put(k, at->dir.id, at->last, e->nodeid);
	return r;
}

int fk_mkdir(struct fk *k, struct fk_proc *p, const char *path, mode_t mode)
{
	struct fuse_mkdir_in in = { .umask = p->umask };
	struct fuse_entry_out e;
	struct fk_at at;
	int r = new_place(k, p, path, &at);

	if (r < 0)
		return r;
	in.mode = mode & 01777 & ~p->umask;
	r = fk_call(k, p, FUSE_MKDIR, at.dir.id, &in, sizeof(in), at.last,
		(uint32_t)strlen(at.last) + 1, &e, sizeof(e));
	return made(k, &at, r, &e);
}

int fk_mknod(struct fk *k, struct fk_proc *p, const char *path, mode_t mode, uint32_t rdev)
{
	struct fuse_mknod_in in = { .rdev = rdev, .umask = p->umask };
	struct fuse_entry_out e;
	struct fk_at at;
	int r = new_place(k, p, path, &at);

	/* Anybody may make a whiteout. */
	if (!r && (S_ISCHR(mode) || S_ISBLK(mode)) && p->uid && !(S_ISCHR(mode) && !rdev))
		r = -EPERM;
	if (r < 0)
		return r;
	in.mode = (mode & S_IFMT) | fk_new_mode(p, &at.dir.a, mode & 07777);
	r = fk_call(k, p, FUSE_MKNOD, at.dir.id, &in, sizeof(in), at.last,
		(uint32_t)strlen(at.last) + 1, &e, sizeof(e));
	return made(k, &at, r, &e);
}

/* Two strings one after the other, as a request has them. */
static uint32_t two(char *b, size_t room, const char *x, const char *y)
{
	int n = snprintf(b, room, "%s%c%s", x, 0, y);

	return (uint32_t)n + 1;
}

int fk_symlink(struct fk *k, struct fk_proc *p, const char *target, const char *path)
{
	struct fuse_entry_out e;
	struct fk_at at;
	char b[8192];
	int r = *target ? new_place(k, p, path, &at) : -ENOENT;

	if (r < 0)
		return r;
	r = fk_call(k, p, FUSE_SYMLINK, at.dir.id, NULL, 0, b, two(b, sizeof(b), at.last, target),
		&e, sizeof(e));
	return made(k, &at, r, &e);
}

static int may_link(const struct fk *k, const struct fk_proc *p, const struct fuse_attr *a)
{
	if (!k->hardlinks || !p->uid || p->uid == a->uid)
		return 0;
	if (!S_ISREG(a->mode) || (a->mode & S_ISUID) ||
		(a->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		return -EPERM;
	return fk_permission(p, a, R_OK | W_OK) ? -EPERM : 0;
}

static int link_inode(struct fk *k, struct fk_proc *p, const struct fk_inode *old, const char *path,
	bool linkable)
{
	struct fuse_link_in in = { .oldnodeid = old->id };
	struct fuse_entry_out e;
	struct fk_at at;
	int r = fk_walk(k, p, path, 0, &at);

	if (!r && at.found)
		r = -EEXIST;
	if (!r)
		r = may_link(k, p, &old->a);
	if (!r)
		r = fk_permission(p, &at.dir.a, W_OK | X_OK);
	if (!r && S_ISDIR(old->a.mode))
		r = -EPERM;
	if (!r && !old->a.nlink && !linkable)
		r = -ENOENT;
	if (r < 0)
		return r;
	r = fk_call(k, p, FUSE_LINK, at.dir.id, &in, sizeof(in), at.last,
		(uint32_t)strlen(at.last) + 1, &e, sizeof(e));
	return made(k, &at, r, &e);
}

int fk_link(struct fk *k, struct fk_proc *p, const char *old, const char *path, bool follow)
{
	struct fk_at at;
	int r = fk_find(k, p, old, follow ? FK_FOLLOW : 0, &at);

	return r < 0 ? r : link_inode(k, p, &at.node, path, false);
}

int fk_link_file(struct fk *k, struct fk_proc *p, unsigned slot, const char *path)
{
	struct fk_inode old = { .id = p->file[slot].id };
	int r = fk_getattr(k, p, old.id, &old.a);

	/* A file that was made without a name may get one, once. */
	if (!r)
		r = link_inode(k, p, &old, path, (p->file[slot].flags & O_TMPFILE) == O_TMPFILE);
	if (!r)
		p->file[slot].flags &= ~O_TMPFILE;
	return r;
}

/* Whether @p may take the name of @a out of @dir, @dir being asked for as a directory or not. */
static int may_delete(const struct fk_proc *p, const struct fuse_attr *dir,
	const struct fuse_attr *a, bool as_dir)
{
	int r = fk_permission(p, dir, W_OK | X_OK);

	if (r < 0)
		return r;
	if ((dir->mode & S_ISVTX) && p->uid && p->uid != a->uid && p->uid != dir->uid)
		return -EPERM;
	if (as_dir)
		return S_ISDIR(a->mode) ? 0 : -ENOTDIR;
	return S_ISDIR(a->mode) ? -EISDIR : 0;
}

static void drop_name(struct fk *k, uint64_t dir, const char *name)
{
	uint64_t id = fk_name_take(k, dir, name);

	if (id)
		fk_looked_up(k, id);
}

int fk_remove(struct fk *k, struct fk_proc *p, const char *path, bool dir)
{
	struct fk_at at;
	int r = fk_find(k, p, path, 0, &at);

	if (!r)
		r = may_delete(p, &at.dir.a, &at.node.a, dir);
	if (!r)
		r = fk_call(k, p, dir ? FUSE_RMDIR : FUSE_UNLINK, at.dir.id, NULL, 0, at.last,
			(uint32_t)strlen(at.last) + 1, NULL, 0);
	if (!r)
		drop_name(k, at.dir.id, at.last);
	return r;
}

static bool is_above(uint64_t id, const struct fk_at *at)
{
	for (unsigned i = 0; i < at->nup; i++)
		if (at->up[i] == id)
			return true;
	return false;
}

static int rename_checks(
	const struct fk_proc *p, const struct fk_at *f, const struct fk_at *t, unsigned flags)
{
	bool dir = S_ISDIR(f->node.a.mode), tdir = t->found && S_ISDIR(t->node.a.mode);
	int r = may_delete(p, &f->dir.a, &f->node.a, dir);

	if (r < 0)
		return r;
	if (!t->found)
		r = fk_permission(p, &t->dir.a, W_OK | X_OK);
	else
		r = may_delete(p, &t->dir.a, &t->node.a, flags & RENAME_EXCHANGE ? tdir : dir);
	if (!r && dir && f->dir.id != t->dir.id)
		r = fk_permission(p, &f->node.a, W_OK);
	if (!r && tdir && (flags & RENAME_EXCHANGE) && f->dir.id != t->dir.id)
		r = fk_permission(p, &t->node.a, W_OK);
	return r;
}

/* The names that are remembered, after it worked. */
static void renamed(struct fk *k, const struct fk_at *f, const struct fk_at *t, unsigned flags)
{
	uint64_t a = fk_name_take(k, f->dir.id, f->last), b = fk_name_take(k, t->dir.id, t->last);

	if (a)
		fk_name_put(k, t->dir.id, t->last, a);
	if (b && (flags & RENAME_EXCHANGE))
		fk_name_put(k, f->dir.id, f->last, b);
	else if (b)
		fk_looked_up(k, b);
}

int fk_rename(struct fk *k, struct fk_proc *p, const char *from, const char *to, unsigned flags)
{
	struct fuse_rename2_in in = { .flags = flags };
	struct fk_at f, t;
	char b[1024];
	int r;

	if ((flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) && (flags & RENAME_EXCHANGE))
		return -EINVAL;
	r = fk_walk(k, p, from, FK_PARENT, &f);
	if (!r)
		r = fk_walk(k, p, to, FK_PARENT, &t);
	if (!r)
		r = fk_last(k, p, &f);
	if (!r && !f.found)
		r = -ENOENT;
	if (!r)
		r = fk_last(k, p, &t);
	if (!r && t.found && (flags & RENAME_NOREPLACE))
		r = -EEXIST;
	if (!r && !t.found && (flags & RENAME_EXCHANGE))
		r = -ENOENT;
	if (!r && is_above(f.node.id, &t))
		r = -EINVAL;
	if (!r && t.found && is_above(t.node.id, &f))
		r = flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	if (r < 0)
		return r;
	if (t.found && f.node.id == t.node.id)
		return 0;
	r = rename_checks(p, &f, &t, flags);
	if (r < 0)
		return r;
	in.newdir = t.dir.id;
	r = flags ? fk_call(k, p, FUSE_RENAME2, f.dir.id, &in, sizeof(in), b,
			    two(b, sizeof(b), f.last, t.last), NULL, 0)
		  : fk_call(k, p, FUSE_RENAME, f.dir.id, &in, sizeof(struct fuse_rename_in), b,
			    two(b, sizeof(b), f.last, t.last), NULL, 0);
	if (!r)
		renamed(k, &f, &t, flags);
	return r;
}
