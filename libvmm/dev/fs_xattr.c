// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: extended attributes. */
/*
 * How it works
 *
 * The guest's kernel is not trusted to ask for the right that "trusted." needs, so these stay
 * invisible, and of "security." only the file capabilities can be written: labels of the host's
 * security modules are not the guest's. POSIX ACLs are attributes of "system.", set and read where
 * the guest's kernel obeys them (FS_I_POSIX_ACL); the host then changes the mode that goes with
 * them.
 *
 * An O_PATH fd is no fd for these calls: the file is named as "N" in /proc/self/fd, the thread's
 * own cwd. 1 system call. Values go through fs->out at full size and are then held against the room
 * that the guest gave, so that "how large?" and "too small" need no second call.
 */
/* #syscalls:fs setxattr getxattr listxattr removexattr */
#include <errno.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "dev/fs.h"

static bool starts(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool is_acl(const struct fs *fs, const char *name)
{
	return (fs->flags & FS_I_POSIX_ACL) &&
		(!strcmp(name, "system.posix_acl_access") ||
			!strcmp(name, "system.posix_acl_default"));
}

static bool may_list(const struct fs *fs, const char *name)
{
	return starts(name, "user.") || starts(name, "security.") || is_acl(fs, name);
}

static int may_read(const struct fs *fs, const char *name)
{
	if (may_list(fs, name))
		return 0;
	return starts(name, "trusted.") ? -ENODATA : -EOPNOTSUPP;
}

static int may_write(const struct fs *fs, const char *name)
{
	if (starts(name, "user.") || !strcmp(name, "security.capability") || is_acl(fs, name))
		return 0;
	return starts(name, "trusted.") || starts(name, "security.") ? -EPERM : -EOPNOTSUPP;
}

/* The attribute's name out of the request. Slashes and dots are nothing special in it. */
static int take_attr(struct fs_req *q, const char **name)
{
	size_t len;
	int r = fs_take_str(q, name, &len);

	if (r < 0)
		return r;
	return !len || len > XATTR_NAME_MAX ? -ERANGE : 0;
}

static int path_of(struct fs *fs, struct fs_req *q, char num[16])
{
	int fd;

	if (!fs_thread_attached())
		return -EOPNOTSUPP;
	fd = fs_node_fd(fs, q->n);
	if (fd < 0)
		return fd;
	(void)snprintf(num, 16, "%d", fd);
	return 0;
}

int fs_op_setxattr(struct fs *fs, struct fs_req *q)
{
	const struct fuse_setxattr_in *in = &q->a.setxattr;
	uint32_t ext[2] = { 0 };
	const char *name;
	char num[16];
	int r;

	/* The longer form of the arguments, where it was agreed upon. */
	if (fs->flags & FS_I_SETXATTR_EXT) {
		if (q->nrest < sizeof(ext))
			return -EINVAL;
		memcpy(ext, q->rest, sizeof(ext));
		q->rest += sizeof(ext);
		q->nrest -= sizeof(ext);
	}
	r = take_attr(q, &name);
	if (r < 0)
		return r;
	if (q->nrest != in->size || (in->flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE)))
		return -EINVAL;
	if (in->size > XATTR_SIZE_MAX)
		return -E2BIG;
	r = may_write(fs, name);
	if (!r)
		r = path_of(fs, q, num);
	if (r < 0)
		return r;
	fs_cred_fsetid(!(ext[0] & FS_SETXATTR_KILL_SGID));
	/* as with set-id bits: see set_mode() */
	if (starts(name, "security."))
		q->n->flags &= (uint8_t)~FS_N_DAX;
	return setxattr(num, name, q->rest, in->size, (int)in->flags) < 0 ? -errno : 0;
}

/* @n bytes in fs->out, or only their number when the guest has no room for any. */
static int reply_sized(struct fs *fs, struct fs_req *q, uint32_t room, size_t n)
{
	struct fuse_getxattr_out o = { .size = (uint32_t)n };

	if (!room)
		return iobuf_push(&q->wr, &o, sizeof(o));
	if (n > room || n > q->wr.left)
		return -ERANGE;
	return iobuf_push(&q->wr, fs->out, n);
}

int fs_op_getxattr(struct fs *fs, struct fs_req *q)
{
	const char *name;
	char num[16];
	ssize_t n;
	int r = take_attr(q, &name);

	if (r < 0)
		return r;
	if (q->nrest)
		return -EINVAL;
	r = may_read(fs, name);
	if (!r && (q->n->flags & FS_N_VIRT))
		r = -ENODATA;
	if (!r)
		r = path_of(fs, q, num);
	if (r < 0)
		return r;
	n = getxattr(num, name, fs->out, FS_OUT_MAX);
	/* a file system that has no lists: the guest's kernel would refuse the file altogether */
	if (n < 0 && errno == EOPNOTSUPP && is_acl(fs, name))
		return -ENODATA;
	return n < 0 ? -errno : reply_sized(fs, q, q->a.getxattr.size, (size_t)n);
}

int fs_op_listxattr(struct fs *fs, struct fs_req *q)
{
	char *list = (char *)fs->out, num[16];
	size_t kept = 0, len;
	ssize_t n;
	int r;

	if (q->n->flags & FS_N_VIRT)
		return reply_sized(fs, q, q->a.getxattr.size, 0);
	r = path_of(fs, q, num);
	if (r < 0)
		return r;
	n = listxattr(num, list, FS_OUT_MAX);
	if (n < 0)
		return -errno;
	for (size_t at = 0; at < (size_t)n; at += len) {
		len = strnlen(list + at, (size_t)n - at) + 1;
		if (!may_list(fs, list + at))
			continue;
		memmove(list + kept, list + at, len);
		kept += len;
	}
	return reply_sized(fs, q, q->a.getxattr.size, kept);
}

int fs_op_removexattr(struct fs *fs, struct fs_req *q)
{
	const char *name;
	char num[16];
	int r = take_attr(q, &name);

	if (r < 0)
		return r;
	if (q->nrest)
		return -EINVAL;
	r = may_write(fs, name);
	if (!r)
		r = path_of(fs, q, num);
	if (r < 0)
		return r;
	return removexattr(num, name) < 0 ? -errno : 0;
}
