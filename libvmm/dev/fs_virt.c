// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: entries that the host does not have: files whose bytes are ours, and directories. */
/*
 * How it works
 *
 * The table is made with the server and never grows. Its first entry stands for the root, which is
 * a directory of the host's or, in an empty share, virtual itself; others lie in the root or in a
 * virtual directory. A name that is virtual is never looked for on the host. What would change such
 * an entry, or something in such a directory, is EPERM, as it has no descriptor that the host could
 * be asked with (fs_node_fd()).
 *
 * A one-shot file is what the guest's first process is started from and nobody else shall find: its
 * name goes with the first lookup, and the file when it is closed after that. What has gone stays
 * so when the guest mounts the share again, or resets the device.
 *
 * A directory of the host's is listed first, with its own offsets, and without the names that are
 * virtual. Those follow, at offsets that no file system uses: the highest, but below what ext4 has
 * for its end.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/fs.h"

#define VIRT_OFF (0x7fffffffULL << 32)
#define VIRT_INO (UINT64_MAX >> 1) /* no file system of ours counts that high */
#define DOTS	 2U /* what is listed in front of entries where the host lists nothing */

_Static_assert(LIM_FS_VIRT + 2 < FS_CHUNK, "virtual nodes outlive a reset in the first chunk");

static struct fs_virt *entry(const struct fs *fs, const struct fs_node *n)
{
	return &fs->virt->v[n->idx - FS_ROOT];
}

static uint32_t node_of(uint32_t i)
{
	return FS_ROOT + i;
}

static uint64_t virt_ino(const struct fs_node *n)
{
	return n->flags & FS_N_VIRT ? VIRT_INO - n->idx : n->ino;
}

/* The entry of these @len bytes in directory @parent; 0: none. */
static uint32_t find(const struct fs_virts *t, uint32_t parent, const char *name, size_t len)
{
	for (uint32_t i = 1; i < t->n; i++) {
		const struct fs_virt *v = &t->v[i];

		if (v->parent == parent && !v->taken && !strncmp(v->name, name, len) &&
			!v->name[len])
			return i;
	}
	return 0;
}

struct fs_node *fs_virt_find(const struct fs *fs, const struct fs_node *dir, const char *name)
{
	uint32_t i;

	if (dir->idx != FS_ROOT && !(dir->flags & FS_N_VIRT))
		return NULL;
	i = find(fs->virt, dir->idx, name, strlen(name));
	return i ? fs_node_at(fs, node_of(i)) : NULL;
}

/* Goes down @path to its last component, *name, whose directory has been an entry before. */
static int walk(const struct fs_virts *t, const char *path, uint32_t *parent, const char **name)
{
	*parent = FS_ROOT;
	for (;;) {
		size_t len = strcspn(path, "/");
		int r = fs_name_ok(path, len);
		uint32_t i;

		if (r < 0)
			return r;
		if (!path[len])
			break;
		i = find(t, *parent, path, len);
		if (!i || !S_ISDIR(t->v[i].mode))
			return i ? -ENOTDIR : -ENOENT;
		*parent = node_of(i);
		path += len + 1;
	}
	*name = path;
	return find(t, *parent, path, strlen(path)) ? -EEXIST : 0;
}

static int add(struct fs_virts *t, const struct fs_virt_cfg *c)
{
	struct fs_virt *v = &t->v[t->n];
	const char *name;
	int r = walk(t, c->path, &v->parent, &name);

	if (r < 0)
		return r;
	if (c->dir ? c->one_shot || c->len : !c->data && c->len)
		return -EINVAL;
	v->name = strdup(name);
	if (!v->name)
		return -ENOMEM;
	v->mode = (c->mode & 07777) | (c->dir ? S_IFDIR : S_IFREG);
	v->data = c->data;
	v->len = c->len;
	v->one_shot = c->one_shot;
	t->n++;
	return 0;
}

int fs_virt_new(struct fs *fs, const struct fs_cfg *cfg, struct error *e)
{
	int r;

	if (!cfg->nvirt && !cfg->empty)
		return 0;
	if (cfg->nvirt > LIM_FS_VIRT)
		return err_set(e, E2BIG, "virtio-fs %s: more than %d virtual entries", cfg->tag,
			LIM_FS_VIRT);
	fs->virt = calloc(1, sizeof(*fs->virt) + (cfg->nvirt + 1) * sizeof(fs->virt->v[0]));
	if (!fs->virt)
		return err_sys(e, ENOMEM, "virtio-fs %s", cfg->tag);
	fs->virt->v[0].mode = S_IFDIR | 0755;
	fs->virt->n = 1;
	for (unsigned i = 0; i < cfg->nvirt; i++) {
		r = add(fs->virt, &cfg->virt[i]);
		if (r < 0)
			return err_sys(e, r, "virtio-fs %s: virtual entry \"%.100s\"", cfg->tag,
				cfg->virt[i].path);
	}
	return 0;
}

int fs_virt_nodes(struct fs *fs)
{
	struct fs_node *n;
	int r;

	for (uint32_t i = 1; fs->virt && i < fs->virt->n; i++) {
		r = fs_node_alloc(fs, &n);
		if (r < 0)
			return r;
		n->flags |= FS_N_VIRT;
		n->type = fs->virt->v[i].mode & S_IFMT;
	}
	return 0;
}

void fs_virt_free(struct fs *fs)
{
	for (uint32_t i = 1; fs->virt && i < fs->virt->n; i++)
		free(fs->virt->v[i].name);
	free(fs->virt);
	fs->virt = NULL;
}

bool fs_virt_one_shot(const struct fs *fs, const struct fs_node *n)
{
	return entry(fs, n)->one_shot;
}

void fs_virt_found(struct fs *fs, struct fs_node *n)
{
	entry(fs, n)->taken = entry(fs, n)->one_shot;
}

void fs_virt_released(struct fs *fs, struct fs_node *n)
{
	if (entry(fs, n)->taken && !n->handles)
		n->nlookup = 0;
}

void fs_virt_stat(const struct fs *fs, const struct fs_node *n, struct statx *sx)
{
	const struct fs_virt *v = entry(fs, n);

	*sx = (struct statx){
		.stx_mask = STATX_BASIC_STATS,
		.stx_mode = (uint16_t)v->mode,
		.stx_nlink = 1,
		.stx_size = v->len,
		.stx_blocks = ALIGN_UP(v->len, 4096) / 512,
		.stx_blksize = 4096,
		.stx_ino = virt_ino(n),
	};
}

int fs_virt_open(struct fs *fs, struct fs_node *n, uint32_t flags, struct fuse_open_out *o)
{
	struct fs_handle *h;
	int r;

	if (n->type == S_IFDIR)
		return -EISDIR;
	if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
		return fs->readonly ? -EROFS : -EACCES;
	r = fs_handle_new(fs, n, FS_H_VIRT, -1, O_RDONLY, &h);
	if (r < 0)
		return r;
	*o = (struct fuse_open_out){ .fh = fs_handle_id(h), .open_flags = FS_FOPEN_KEEP_CACHE };
	return 0;
}

int fs_virt_read(const struct fs *fs, struct fs_req *q, size_t n)
{
	const struct fs_virt *v = entry(fs, q->n);
	uint64_t off = MIN(q->a.read.offset, v->len);

	n = MIN(n, v->len - off);
	return n ? iobuf_push(&q->wr, v->data + off, n) : 0;
}

int fs_virt_lseek(const struct fs *fs, struct fs_req *q, uint64_t *out)
{
	const struct fuse_lseek_in *in = &q->a.lseek;
	uint64_t len = entry(fs, q->n)->len;

	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE && in->whence != SEEK_END)
		return -EINVAL;
	if (in->whence != SEEK_END && in->offset >= len)
		return -ENXIO;
	*out = in->whence == SEEK_DATA ? in->offset : len;
	return 0;
}

bool fs_virt_listed(const struct fs *fs, const struct fs_node *n, uint64_t off)
{
	return (n->flags & FS_N_VIRT) ||
		(fs->virt && n->idx == FS_ROOT && off - VIRT_OFF <= LIM_FS_VIRT);
}

static void put(struct dirent64 *d, uint64_t ino, uint64_t off, mode_t mode, const char *name)
{
	*d = (struct dirent64){ .d_ino = ino, .d_off = (int64_t)off, .d_type = IFTODT(mode) };
	(void)snprintf(d->d_name, sizeof(d->d_name), "%s", name);
}

int fs_virt_next(const struct fs *fs, const struct fs_node *n, uint64_t off, struct dirent64 *d)
{
	const struct fs_virts *t = fs->virt;
	uint64_t base = n->flags & FS_N_VIRT ? 0 : VIRT_OFF;
	uint64_t dots = n->flags & FS_N_VIRT ? DOTS : 0;
	uint64_t at = fs_virt_listed(fs, n, off) ? off - base : 0;
	const struct fs_node *p;

	if (!t || (n->idx != FS_ROOT && !(n->flags & FS_N_VIRT)))
		return 0;
	if (at < dots) {
		p = at && n->idx != FS_ROOT ? fs_node_at(fs, entry(fs, n)->parent) : n;
		put(d, virt_ino(p), base + at + 1, S_IFDIR, at ? ".." : ".");
		return 1;
	}
	/* as many places as the table has, most of them empty */
	for (uint64_t i = at - dots + 1; i < t->n; i++) {
		if (t->v[i].parent != n->idx || t->v[i].taken)
			continue;
		p = fs_node_at(fs, node_of((uint32_t)i));
		put(d, virt_ino(p), base + dots + i, t->v[i].mode, t->v[i].name);
		return 1;
	}
	return 0;
}

void fs_virt_save(const struct fs *fs, struct save_out *s)
{
	save_u32(s, fs->virt ? fs->virt->n : 0);
	save_u8(s, !!(fs_node_at(fs, FS_ROOT)->flags & FS_N_VIRT));
	for (uint32_t i = 1; fs->virt && i < fs->virt->n; i++) {
		const struct fs_virt *v = &fs->virt->v[i];

		save_blob(s, v->name, strlen(v->name));
		save_u32(s, v->parent);
		save_u32(s, v->mode);
		save_u64(s, v->len);
		save_u8(s, v->taken);
		save_u64(s, fs_node_at(fs, node_of(i))->nlookup);
	}
}

/* Of an entry that must be the one that was saved, as far as that is told. */
static int load_entry(struct fs *fs, struct save_in *s, uint32_t i)
{
	struct fs_virt *v = &fs->virt->v[i];
	size_t len;
	const uint8_t *name = load_blob(s, LIM_FS_NAME, &len);
	uint32_t parent = load_u32(s), mode = load_u32(s);
	uint64_t size = load_u64(s), nlookup;
	uint8_t taken = load_u8(s);

	nlookup = load_u64(s);
	if (s->err)
		return s->err;
	if (len != strlen(v->name) || memcmp(name, v->name, len) != 0 || parent != v->parent ||
		mode != v->mode || size != v->len || taken > v->one_shot)
		return -EINVAL;
	v->taken = taken;
	fs_node_at(fs, node_of(i))->nlookup = MIN(nlookup, UINT64_MAX / 2);
	return 0;
}

int fs_virt_load(struct fs *fs, struct save_in *s)
{
	uint32_t n = load_u32(s);
	uint8_t empty = load_u8(s);
	int r = 0;

	if (n != (fs->virt ? fs->virt->n : 0) ||
		empty != !!(fs_node_at(fs, FS_ROOT)->flags & FS_N_VIRT))
		return -EINVAL;
	for (uint32_t i = 1; !r && i < n; i++)
		r = load_entry(fs, s, i);
	return r;
}
