// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: what many operations share: names out of requests, attributes into replies. */
#include <errno.h>
#include <string.h>

#include "dev/fs.h"

int fs_name_ok(const char *name, size_t len)
{
	if (!len || memchr(name, '/', len) || memchr(name, '\0', len))
		return -EINVAL;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return -EINVAL;
	return len > LIM_FS_NAME ? -ENAMETOOLONG : 0;
}

int fs_take_str(struct fs_req *q, const char **s, size_t *len)
{
	const char *end = memchr(q->rest, '\0', q->nrest);

	if (!end)
		return -EINVAL;
	*s = q->rest;
	*len = (size_t)(end - q->rest);
	q->rest += *len + 1;
	q->nrest -= *len + 1;
	return 0;
}

int fs_take_name(struct fs_req *q, const char **name)
{
	size_t len;
	int r = fs_take_str(q, name, &len);

	return r < 0 ? r : fs_name_ok(*name, len);
}

/* The kernel's 32-bit form of a device number. */
static uint32_t dev_encode(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

void fs_fill_attr(
	const struct fs *fs, const struct fs_node *n, const struct statx *sx, struct fuse_attr *a)
{
	const struct fs_node *p = fs_node_at(fs, n->parent);

	*a = (struct fuse_attr){
		.ino = sx->stx_ino,
		.size = sx->stx_size,
		.blocks = sx->stx_blocks,
		.atime = (uint64_t)sx->stx_atime.tv_sec,
		.mtime = (uint64_t)sx->stx_mtime.tv_sec,
		.ctime = (uint64_t)sx->stx_ctime.tv_sec,
		.atimensec = sx->stx_atime.tv_nsec,
		.mtimensec = sx->stx_mtime.tv_nsec,
		.ctimensec = sx->stx_ctime.tv_nsec,
		.mode = sx->stx_mode,
		.nlink = sx->stx_nlink,
		.uid = sx->stx_uid,
		.gid = sx->stx_gid,
		.rdev = dev_encode(sx->stx_rdev_major, sx->stx_rdev_minor),
		.blksize = sx->stx_blksize,
	};
	if (p && n->type == S_IFDIR && (fs->flags & FS_I_SUBMOUNTS) &&
		(p->dev != n->dev || p->mnt != n->mnt))
		a->flags |= FS_ATTR_SUBMOUNT;
	if (n->flags & FS_N_DAX)
		a->flags |= FS_ATTR_DAX;
}

enum fs_cache fs_cache_of(const struct fs *fs, const struct fs_node *n)
{
	for (unsigned i = 0; i < fs->nat; i++)
		if (fs->at[i].mnt_id == n->mnt)
			return fs->at[i].cache;
	return fs->cache;
}

void fs_attr_valid(const struct fs *fs, const struct fs_node *n, uint64_t *sec, uint32_t *nsec)
{
	/* A day: long enough to be forever, short enough for any arithmetic in a guest. */
	static const uint32_t secs[] = {
		[FS_CACHE_AUTO] = 1, [FS_CACHE_ALWAYS] = 86400, [FS_CACHE_NONE] = 0
	};

	if (n->flags & FS_N_VIRT)
		*sec = fs_virt_one_shot(fs, n) ? 0 : secs[FS_CACHE_ALWAYS];
	else
		*sec = secs[fs_cache_of(fs, n)];
	*nsec = 0;
}

void fs_fill_entry(const struct fs *fs, const struct fs_node *n, const struct statx *sx,
	struct fuse_entry_out *e)
{
	*e = (struct fuse_entry_out){ .nodeid = fs_node_id(n), .generation = n->gen };
	/* The name is the directory's, which may be on another mount. */
	fs_attr_valid(fs, n->parent ? fs_node_at(fs, n->parent) : n, &e->entry_valid,
		&e->entry_valid_nsec);
	fs_attr_valid(fs, n, &e->attr_valid, &e->attr_valid_nsec);
	fs_fill_attr(fs, n, sx, &e->attr);
}
