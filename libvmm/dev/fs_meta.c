// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: attributes, links' targets, figures of the file system. */
/*
 * How it works
 *
 * Attributes are read by the handle when the guest names one, which also works for a file without a
 * name, else at the parent's fd. Changes need the node's own fd. That is O_PATH, so each uses the
 * form of its call that takes one: AT_EMPTY_PATH, or "N" in /proc/self/fd for chmod. Truncation
 * needs an fd open for writing: any such handle of the node will do, since a mode changed after
 * open must not stop a process that has the file open already; without one the file is opened for
 * it.
 *
 * System calls: GETATTR, STATX 1 (node or parent open); SETATTR 1 for each kind of change and 1 to
 * answer, truncation of a file that is not open for writing 2 more.
 */
/* #syscalls:fs statx fchmodat fchownat utimensat ftruncate readlinkat fstatfs close */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/cleanup.h"

/* By the handle when the guest names one, else by node. */
static int stat_req(struct fs *fs, struct fs_req *q, bool by_fh, uint64_t fh, struct statx *sx)
{
	struct fs_handle *h = by_fh ? fs_handle_get(fs, q->n, fh) : NULL;

	if (by_fh && !h)
		return -EBADF;
	if (h && h->fd >= 0)
		return fs_stat_fd(h->fd, sx);
	return fs_node_stat(fs, q->n, sx);
}

static int reply_attr(struct fs *fs, struct fs_req *q, const struct statx *sx)
{
	struct fuse_attr_out o = { 0 };

	fs_attr_valid(fs, q->n, &o.attr_valid, &o.attr_valid_nsec);
	fs_dax_admit(fs, q, q->n, sx, false);
	fs_fill_attr(fs, q->n, sx, &o.attr);
	return iobuf_push(&q->wr, &o, sizeof(o));
}

int fs_op_getattr(struct fs *fs, struct fs_req *q)
{
	const struct fuse_getattr_in *in = &q->a.getattr;
	struct statx sx;
	int r = stat_req(fs, q, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &sx);

	return r < 0 ? r : reply_attr(fs, q, &sx);
}

static struct fs_sx_time sx_time(const struct statx_timestamp *t)
{
	return (struct fs_sx_time){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

int fs_op_statx(struct fs *fs, struct fs_req *q)
{
	const struct fs_statx_in *in = &q->a.statx;
	struct fs_statx_out o = { 0 };
	struct statx sx;
	int r = stat_req(fs, q, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &sx);

	if (r < 0)
		return r;
	fs_dax_told(fs, q, q->n, &sx);
	fs_attr_valid(fs, q->n, &o.attr_valid, &o.attr_valid_nsec);
	o.stat = (struct fs_statx){
		.mask = sx.stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
		.blksize = sx.stx_blksize,
		.attributes = sx.stx_attributes,
		.nlink = sx.stx_nlink,
		.uid = sx.stx_uid,
		.gid = sx.stx_gid,
		.mode = sx.stx_mode,
		.ino = sx.stx_ino,
		.size = sx.stx_size,
		.blocks = sx.stx_blocks,
		.attributes_mask = sx.stx_attributes_mask,
		.atime = sx_time(&sx.stx_atime),
		.btime = sx_time(&sx.stx_btime),
		.ctime = sx_time(&sx.stx_ctime),
		.mtime = sx_time(&sx.stx_mtime),
		.rdev_major = sx.stx_rdev_major,
		.rdev_minor = sx.stx_rdev_minor,
		.dev_major = sx.stx_dev_major,
		.dev_minor = sx.stx_dev_minor,
	};
	return iobuf_push(&q->wr, &o, sizeof(o));
}

static bool writable(const struct fs_handle *h)
{
	return h->kind == FS_H_FILE && h->fd >= 0 && (h->flags & O_ACCMODE) != O_RDONLY;
}

static int set_size_at(struct fs *fs, struct fs_req *q, int fd)
{
	const struct fuse_setattr_in *in = &q->a.setattr;
	int r = fs_dax_grow(fs, q->n, fd, in->size);

	if (r < 0)
		return r;
	fs_cred_fsetid(!(in->valid & FS_FATTR_KILL) || !(fs->flags & FS_I_KILLPRIV_V2));
	return ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
}

static int set_size(struct fs *fs, struct fs_req *q, int fd)
{
	const struct fuse_setattr_in *in = &q->a.setattr;
	struct fs_handle *h = NULL;

	if (q->n->type != S_IFREG)
		return q->n->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (in->size > INT64_MAX)
		return -EINVAL;
	if (in->valid & FATTR_FH)
		h = fs_handle_get(fs, q->n, in->fh);
	if (!h || !writable(h))
		for (h = fs_handle_at(fs, q->n->handles); h && !writable(h);)
			h = fs_handle_at(fs, h->next);
	if (h)
		return set_size_at(fs, q, h->fd);

	CLEAN_FD int w = fs_reopen(fs, fd, O_WRONLY);

	if (w < 0)
		return w;
	if (q->n->maps)
		fs_dax_opened(fs, q->n, true);
	return set_size_at(fs, q, w);
}

static int set_owner(struct fs_req *q, int fd)
{
	const struct fuse_setattr_in *in = &q->a.setattr;
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	/* A set-group bit on what is not executed stays for root, and must not go because a write
	 * of somebody else came before. */
	fs_cred_fsetid(!q->h.uid);
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_mode(struct fs *fs, struct fs_node *n, const struct fuse_setattr_in *in, int fd)
{
	char num[16];

	/* No write() through the window would take such a bit away: the next attributes say so. */
	if (in->mode & (S_ISUID | S_ISGID | 0111))
		n->flags &= (uint8_t)~FS_N_DAX;

	/* A chmod() by a user without the right to SGID comes without the bit from the guest's
	 * kernel. */
	fs_cred_fsetid(true);
	(void)snprintf(num, sizeof(num), "%d", fd);
	return fchmodat(fs->proc_fd, num, in->mode & 07777, 0) < 0 ? -errno : 0;
}

static struct timespec set_time(
	uint32_t valid, uint32_t given, uint32_t now, uint64_t sec, uint32_t nsec)
{
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (!(valid & given))
		return (struct timespec){ .tv_nsec = UTIME_OMIT };
	/* UTIME_NOW and UTIME_OMIT are out of range as a number of nanoseconds, and must not get in
	 * that way. */
	return (struct timespec){ .tv_sec = (time_t)sec, .tv_nsec = MIN(nsec, 999999999U) };
}

static int set_times(const struct fuse_setattr_in *in, int fd)
{
	struct timespec ts[2] = {
		set_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		set_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	return utimensat(fd, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

#define FS_FATTR_OWNER (FATTR_UID | FATTR_GID)
#define FS_FATTR_TIMES (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)

/* Size before owner before mode before times: each may change what comes after it. A chown() that
 * changes neither owner comes as a change of nothing, to which the host would have something to
 * say only where a file is marked immutable. */
int fs_op_setattr(struct fs *fs, struct fs_req *q)
{
	const struct fuse_setattr_in *in = &q->a.setattr;
	uint32_t v = in->valid;
	struct statx sx;
	int r = 0, fd;

	if ((v & FATTR_FH) && !fs_handle_get(fs, q->n, in->fh))
		return -EBADF;
	fd = fs_node_fd(fs, q->n);
	if (fd < 0)
		return fd;
	if (v & FATTR_SIZE)
		r = set_size(fs, q, fd);
	if (!r && (v & FS_FATTR_OWNER))
		r = set_owner(q, fd);
	if (!r && (v & FATTR_MODE))
		r = set_mode(fs, q->n, in, fd);
	if (!r && (v & FS_FATTR_TIMES))
		r = set_times(in, fd);
	if (!r)
		r = fs_stat_fd(fd, &sx);
	if (!r && !(v & (FATTR_SIZE | FATTR_MODE | FS_FATTR_OWNER | FS_FATTR_TIMES)) &&
		(sx.stx_attributes & STATX_ATTR_IMMUTABLE))
		r = -EPERM;
	if (r < 0)
		return r;
	if (q->n->type == S_IFLNK)
		q->n->stamp = fs_stamp(&sx);
	return reply_attr(fs, q, &sx);
}

int fs_op_readlink(struct fs *fs, struct fs_req *q)
{
	ssize_t n;
	int fd;

	if (q->n->type != S_IFLNK)
		return -EINVAL;
	fd = fs_node_fd(fs, q->n);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", (char *)fs->out, FS_OUT_MAX);
	if (n < 0)
		return -errno;
	return iobuf_push(&q->wr, fs->out, (size_t)n) < 0 ? -ERANGE : 0;
}

int fs_op_statfs(struct fs *fs, struct fs_req *q)
{
	struct fs_node *n = q->n->flags & FS_N_VIRT ? fs_node_at(fs, FS_ROOT) : q->n;
	struct fuse_statfs_out o = { 0 };
	struct statfs st;
	int fd;

	if (n->flags & FS_N_VIRT) {
		o.st.bsize = o.st.frsize = 4096;
		o.st.namelen = LIM_FS_NAME;
		return iobuf_push(&q->wr, &o, sizeof(o));
	}
	fd = fs_node_fd(fs, n);
	if (fd < 0)
		return fd;
	if (fstatfs(fd, &st) < 0)
		return -errno;
	o.st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = (uint32_t)MIN(st.f_namelen, LIM_FS_NAME),
		.frsize = (uint32_t)st.f_frsize,
	};
	return iobuf_push(&q->wr, &o, sizeof(o));
}

/* Linux asks this only of a server that checks access itself; answered from the mode alone. */
int fs_op_access(struct fs *fs, struct fs_req *q)
{
	uint32_t mask = q->a.access.mask, bits;
	struct statx sx;
	int r;

	if (mask & ~7U)
		return -EINVAL;
	r = fs_node_stat(fs, q->n, &sx);
	if (r < 0)
		return r;
	if ((mask & 2) && fs->readonly && (S_ISREG(sx.stx_mode) || S_ISDIR(sx.stx_mode)))
		return -EROFS;
	if (!q->h.uid)
		return (mask & 1) && S_ISREG(sx.stx_mode) && !(sx.stx_mode & 0111) ? -EACCES : 0;
	bits = sx.stx_mode;
	if (q->h.uid == sx.stx_uid)
		bits >>= 6;
	else if (q->h.gid == sx.stx_gid)
		bits >>= 3;
	return mask & ~bits & 7 ? -EACCES : 0;
}
