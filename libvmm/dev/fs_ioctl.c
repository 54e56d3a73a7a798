// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: ioctl: flags of an inode, to read and to write, and what a guest's init ends with. */
/*
 * How it works
 *
 * Any other number means something to the file system of the host that we do not know: ENOTTY, as
 * from a file system without ioctls. Of flags, those that need a right of their own on the host
 * (immutable, append-only) meet its check, and the VMM does not have it. A project id is the
 * host's means to count, so it stays what it is, with the flag by which directories hand it on, and
 * so do the other fields beside the flags.
 *
 * A share may take one number more (fs_cfg.exit_code), which is for the VMM itself: by libkrun's
 * contract the guest's init tells so how its workload ended. It is a word that any process of that
 * guest can say, and it goes no further than into that variable.
 *
 * The argument has the size that its number says; the guest's kernel does the copying (no
 * FUSE_IOCTL_UNRESTRICTED).
 */
/* #syscalls:fs ioctl:FS_IOC_GETFLAGS ioctl:FS_IOC_SETFLAGS ioctl:FS_IOC_FSGETXATTR
 * ioctl:FS_IOC_FSSETXATTR */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "dev/fs.h"

/* Linux asks who owns a file before it passes such an ioctl on from 5.13 on; 5.14 is the first to
 * speak this. */
#define MINOR_CHECKS 34

#define IOC_EXIT_CODE 0x7602

static int reply(struct fs_req *q, const void *arg, size_t n)
{
	struct fuse_ioctl_out o = { 0 };
	int r = q->a.ioctl.out_size < n ? -EINVAL : iobuf_push(&q->wr, &o, sizeof(o));

	return r < 0 ? r : iobuf_push(&q->wr, arg, n);
}

/* Of the flags of a file, by both ioctls: those that take a right which only root is sure to have,
 * where the guest does not look itself. */
static bool may_fix(const struct fs *fs, const struct fs_req *q)
{
	return fs->minor >= MINOR_CHECKS || !q->h.uid;
}

static int set_flags(const struct fs *fs, const struct fs_req *q, int fd)
{
	uint32_t v, now = 0;

	if (q->nrest < sizeof(v))
		return -EINVAL;
	memcpy(&v, q->rest, sizeof(v));
	if (ioctl(fd, FS_IOC_GETFLAGS, &now) < 0)
		return -errno;
	if ((v ^ now) & (FS_PROJINHERIT_FL | (may_fix(fs, q) ? 0 : FS_IMMUTABLE_FL | FS_APPEND_FL)))
		return -EPERM;
	return ioctl(fd, FS_IOC_SETFLAGS, &v) < 0 ? -errno : 0;
}

static int set_xflags(const struct fs *fs, const struct fs_req *q, int fd)
{
	uint32_t fixed =
		FS_XFLAG_PROJINHERIT | (may_fix(fs, q) ? 0 : FS_XFLAG_IMMUTABLE | FS_XFLAG_APPEND);
	struct fsxattr want, now;

	if (q->nrest < sizeof(want))
		return -EINVAL;
	memcpy(&want, q->rest, sizeof(want));
	if (ioctl(fd, FS_IOC_FSGETXATTR, &now) < 0)
		return -errno;
	if (want.fsx_projid != now.fsx_projid || ((want.fsx_xflags ^ now.fsx_xflags) & fixed))
		return -EPERM;
	now.fsx_xflags = want.fsx_xflags;
	return ioctl(fd, FS_IOC_FSSETXATTR, &now) < 0 ? -errno : 0;
}

static bool owner_asks(const struct fs_req *q, int fd)
{
	struct statx sx;

	return !q->h.uid || (!fs_stat_fd(fd, &sx) && sx.stx_uid == q->h.uid);
}

static int on_fd(struct fs *fs, struct fs_req *q, int fd)
{
	struct fsxattr x;
	uint32_t v = 0;
	int r;

	switch (q->a.ioctl.cmd) {
	case (uint32_t)FS_IOC_GETFLAGS:
		return ioctl(fd, FS_IOC_GETFLAGS, &v) < 0 ? -errno : reply(q, &v, sizeof(v));
	case (uint32_t)FS_IOC_FSGETXATTR:
		memset(&x, 0, sizeof(x));
		return ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0 ? -errno : reply(q, &x, sizeof(x));
	case (uint32_t)FS_IOC_SETFLAGS:
	case (uint32_t)FS_IOC_FSSETXATTR:
		if (fs->readonly)
			return -EROFS;
		if (fs->minor < MINOR_CHECKS && !owner_asks(q, fd))
			return -EPERM;
		r = q->a.ioctl.cmd == (uint32_t)FS_IOC_SETFLAGS ? set_flags(fs, q, fd)
								: set_xflags(fs, q, fd);
		return r < 0 ? r : reply(q, &v, 0);
	default:
		return -ENOTTY;
	}
}

int fs_op_ioctl(struct fs *fs, struct fs_req *q)
{
	struct fs_handle *h = fs_handle_get(fs, q->n, q->a.ioctl.fh);

	if (q->a.ioctl.flags & ~(uint32_t)(FUSE_IOCTL_DIR | FUSE_IOCTL_COMPAT | FUSE_IOCTL_32BIT))
		return -ENOTTY;
	if (!h)
		return -EBADF;
	if (fs->exit_code && q->a.ioctl.cmd == IOC_EXIT_CODE) {
		__atomic_store_n(fs->exit_code, (int32_t)q->a.ioctl.arg, __ATOMIC_RELEASE);
		return reply(q, NULL, 0);
	}
	if (h->fd < 0)
		return q->n->flags & FS_N_VIRT ? -ENOTTY : -ESTALE;
	return on_fd(fs, q, h->fd);
}
