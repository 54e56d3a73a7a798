// SPDX-License-Identifier: Apache-2.0
/* A guest's kernel without a guest: calls about attributes. */
/*
 * How it works
 *
 * Each call finds its inode, asks for its attributes and checks what the VFS checks before it asks
 * the file system: owner and groups for chmod, chown and times, the permission to write for
 * truncation and "user." attributes. Requests carry the bits that Linux's client sets: KILL for
 * users without CAP_FSETID, the time of now with a truncation by name but not by file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <string.h>
#include <unistd.h>

#include "fake/fake_kern.h"

#define V_MODE	    (1U << 0)
#define V_UID	    (1U << 1)
#define V_GID	    (1U << 2)
#define V_SIZE	    (1U << 3)
#define V_ATIME	    (1U << 4)
#define V_MTIME	    (1U << 5)
#define V_FH	    (1U << 6)
#define V_ATIME_NOW (1U << 7)
#define V_MTIME_NOW (1U << 8)
#define V_KILL	    (1U << 11)

int fk_stat(struct fk *k, struct fk_proc *p, const char *path, bool follow, struct fuse_attr *a)
{
	struct fk_at at;
	int r = fk_find(k, p, path, follow ? FK_FOLLOW : 0, &at);

	*a = at.node.a;
	return r;
}

int fk_fstat(struct fk *k, struct fk_proc *p, unsigned slot, struct fuse_attr *a)
{
	struct fuse_getattr_in in = { .getattr_flags = FUSE_GETATTR_FH, .fh = p->file[slot].fh };
	struct fuse_attr_out o = { 0 };
	int r;

	/* The kernel names the handle of regular files only. */
	if (p->file[slot].dir)
		return fk_getattr(k, p, p->file[slot].id, a);
	r = fk_call(k, p, FUSE_GETATTR, p->file[slot].id, &in, sizeof(in), NULL, 0, &o, sizeof(o));
	*a = o.attr;
	return r;
}

int fk_access(struct fk *k, struct fk_proc *p, const char *path, int mask)
{
	struct fk_at at;
	int r = fk_find(k, p, path, FK_FOLLOW, &at);

	return r < 0 ? r : fk_permission(p, &at.node.a, mask);
}

int fk_readlink(struct fk *k, struct fk_proc *p, const char *path, char *buf, uint32_t n)
{
	struct fk_at at;
	int r = fk_find(k, p, path, 0, &at);

	if (!r && !S_ISLNK(at.node.a.mode))
		r = -EINVAL;
	if (!r)
		r = fk_call(k, p, FUSE_READLINK, at.node.id, NULL, 0, NULL, 0, buf, n);
	return r < 0 ? r : (int)k->out_len;
}

/* What a call names: the end of a path, or an open file. */
static int target(struct fk *k, struct fk_proc *p, const char *path, unsigned slot, bool follow,
	struct fk_inode *out)
{
	struct fk_at at;
	int r;

	if (path) {
		r = fk_find(k, p, path, follow ? FK_FOLLOW : 0, &at);
		*out = at.node;
		return r;
	}
	out->id = p->file[slot].id;
	return fk_getattr(k, p, out->id, &out->a);
}

static int setattr(struct fk *k, struct fk_proc *p, uint64_t id, const struct fuse_setattr_in *in)
{
	struct fuse_attr_out o;

	return fk_call(k, p, FUSE_SETATTR, id, in, sizeof(*in), NULL, 0, &o, sizeof(o));
}

int fk_chmod(struct fk *k, struct fk_proc *p, const char *path, unsigned slot, mode_t mode)
{
	struct fuse_setattr_in in = { .valid = V_MODE };
	struct fk_inode n;
	int r = target(k, p, path, slot, true, &n);

	if (r < 0)
		return r;
	if (p->uid && p->uid != n.a.uid)
		return -EPERM;
	if (p->uid && !fk_in_group(p, n.a.gid))
		mode &= ~(mode_t)S_ISGID;
	in.mode = (mode & 07777) | (n.a.mode & S_IFMT);
	return setattr(k, p, n.id, &in);
}

int fk_chown(struct fk *k, struct fk_proc *p, const char *path, unsigned slot, bool follow,
	uint32_t uid, uint32_t gid)
{
	struct fuse_setattr_in in = { .uid = uid, .gid = gid };
	struct fk_inode n;
	int r = target(k, p, path, slot, follow, &n);

	if (r < 0)
		return r;
	if (uid != UINT32_MAX) {
		in.valid |= V_UID;
		if (p->uid && (p->uid != n.a.uid || uid != n.a.uid))
			return -EPERM;
	}
	if (gid != UINT32_MAX) {
		in.valid |= V_GID;
		if (p->uid && (p->uid != n.a.uid || (!fk_in_group(p, gid) && gid != n.a.gid)))
			return -EPERM;
	}
	return setattr(k, p, n.id, &in);
}

int fk_truncate(struct fk *k, struct fk_proc *p, const char *path, unsigned slot, int64_t size)
{
	struct fuse_setattr_in in = { .valid = V_SIZE, .size = (uint64_t)size };
	struct fk_inode n;
	int r;

	if (size < 0)
		return -EINVAL;
	if (p->uid)
		in.valid |= V_KILL;
	if (!path) {
		if (p->file[slot].dir || (p->file[slot].flags & O_ACCMODE) == O_RDONLY)
			return -EINVAL;
		in.valid |= V_FH;
		in.fh = p->file[slot].fh;
		return setattr(k, p, p->file[slot].id, &in);
	}
	r = target(k, p, path, 0, true, &n);
	if (!r && !S_ISREG(n.a.mode))
		r = S_ISDIR(n.a.mode) ? -EISDIR : -EINVAL;
	if (!r)
		r = fk_permission(p, &n.a, W_OK);
	in.valid |= V_MTIME | V_MTIME_NOW;
	return r < 0 ? r : setattr(k, p, n.id, &in);
}

int fk_utimes(
	struct fk *k, struct fk_proc *p, const char *path, bool follow, const struct timespec ts[2])
{
	struct fuse_setattr_in in = { .atime = (uint64_t)ts[0].tv_sec,
		.mtime = (uint64_t)ts[1].tv_sec,
		.atimensec = (uint32_t)ts[0].tv_nsec,
		.mtimensec = (uint32_t)ts[1].tv_nsec };
	bool now = ts[0].tv_nsec == UTIME_NOW && ts[1].tv_nsec == UTIME_NOW;
	struct fk_inode n;
	int r;

	for (unsigned i = 0; i < 2; i++)
		if ((ts[i].tv_nsec < 0 || ts[i].tv_nsec > 999999999) &&
			ts[i].tv_nsec != UTIME_NOW && ts[i].tv_nsec != UTIME_OMIT)
			return -EINVAL;
	if (ts[0].tv_nsec == UTIME_OMIT && ts[1].tv_nsec == UTIME_OMIT)
		return 0;
	r = target(k, p, path, 0, follow, &n);
	if (r < 0)
		return r;
	if (p->uid && p->uid != n.a.uid) {
		if (!now)
			return -EPERM;
		r = fk_permission(p, &n.a, W_OK);
		if (r < 0)
			return r;
	}
	if (ts[0].tv_nsec != UTIME_OMIT)
		in.valid |= V_ATIME | (ts[0].tv_nsec == UTIME_NOW ? V_ATIME_NOW : 0);
	if (ts[1].tv_nsec != UTIME_OMIT)
		in.valid |= V_MTIME | (ts[1].tv_nsec == UTIME_NOW ? V_MTIME_NOW : 0);
	if (in.valid & V_ATIME_NOW)
		in.atimensec = 0;
	if (in.valid & V_MTIME_NOW)
		in.mtimensec = 0;
	return setattr(k, p, n.id, &in);
}

static bool is_user(const char *name)
{
	return !strncmp(name, XATTR_USER_PREFIX, XATTR_USER_PREFIX_LEN);
}

/* xattr_permission(), for "user." and for what the file system's own rules cover. */
static int may_xattr(
	const struct fk_proc *p, const struct fuse_attr *a, const char *name, bool write)
{
	if (!is_user(name))
		return write && p->uid ? -EPERM : 0;
	if (!S_ISREG(a->mode) && !S_ISDIR(a->mode))
		return write ? -EPERM : -ENODATA;
	if (write && S_ISDIR(a->mode) && (a->mode & S_ISVTX) && p->uid && p->uid != a->uid)
		return -EPERM;
	return fk_permission(p, a, write ? W_OK : R_OK);
}

int fk_setxattr(struct fk *k, struct fk_proc *p, const char *path, bool follow, const char *name,
	const void *v, uint32_t n, int flags)
{
	static uint8_t b[(64 << 10) + 300];
	struct fuse_setxattr_in in = { .size = n, .flags = (uint32_t)flags };
	uint32_t len = (uint32_t)strlen(name) + 1;
	struct fk_inode node;
	int r;

	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if (len == 1 || len > 256)
		return -ERANGE;
	if (n > (64 << 10))
		return -E2BIG;
	r = target(k, p, path, 0, follow, &node);
	if (!r)
		r = may_xattr(p, &node.a, name, true);
	if (r < 0)
		return r;
	memcpy(b, name, len);
	memcpy(b + len, v, n);
	return fk_call(k, p, FUSE_SETXATTR, node.id, &in, FUSE_COMPAT_SETXATTR_IN_SIZE, b, len + n,
		NULL, 0);
}

/* With room for nothing the reply is the size. */
static int sized(struct fk *k, int r, uint32_t room, const struct fuse_getxattr_out *o)
{
	if (r < 0)
		return r;
	return room ? (int)k->out_len : (int)o->size;
}

int fk_getxattr(struct fk *k, struct fk_proc *p, const char *path, bool follow, const char *name,
	void *v, uint32_t n)
{
	struct fuse_getxattr_in in = { .size = n };
	struct fuse_getxattr_out o = { 0 };
	struct fk_inode node;
	int r = target(k, p, path, 0, follow, &node);

	if (!r)
		r = may_xattr(p, &node.a, name, false);
	if (r < 0)
		return r;
	r = fk_call(k, p, FUSE_GETXATTR, node.id, &in, sizeof(in), name, (uint32_t)strlen(name) + 1,
		n ? v : &o, n ? n : (uint32_t)sizeof(o));
	return sized(k, r, n, &o);
}

int fk_listxattr(
	struct fk *k, struct fk_proc *p, const char *path, bool follow, void *v, uint32_t n)
{
	struct fuse_getxattr_in in = { .size = n };
	struct fuse_getxattr_out o = { 0 };
	struct fk_inode node;
	int r = target(k, p, path, 0, follow, &node);

	if (r < 0)
		return r;
	r = fk_call(k, p, FUSE_LISTXATTR, node.id, &in, sizeof(in), NULL, 0, n ? v : &o,
		n ? n : (uint32_t)sizeof(o));
	return sized(k, r, n, &o);
}

int fk_removexattr(struct fk *k, struct fk_proc *p, const char *path, bool follow, const char *name)
{
	struct fk_inode node;
	int r = target(k, p, path, 0, follow, &node);

	if (!r)
		r = may_xattr(p, &node.a, name, true);
	if (r < 0)
		return r;
	return fk_call(k, p, FUSE_REMOVEXATTR, node.id, NULL, 0, name, (uint32_t)strlen(name) + 1,
		NULL, 0);
}
