// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: the node table.
 *
 * How it works: a node is found by its index (checked against the generation in the node id), by
 * identity (device, inode number, mount, type: hard links are one node) and by its place (parent,
 * name). The place is where it was seen last. A parent lives as long as it has nodes below it,
 * whatever the guest forgets, so a chain of places always ends at the root or at a node without a
 * place. Directories that the host moved below themselves in our records are cut out of the chain.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/fs.h"

_Static_assert(FS_NODE_FIXED + FS_NAME_ROOM(23) == 160 && FS_NODE_ROOM == 400,
	"the memory of nodes is what core/limits.h says");

struct fs_node *fs_node_at(const struct fs *fs, uint32_t idx)
{
	return fs_table_at(&fs->nodes, idx, sizeof(struct fs_node));
}

uint64_t fs_node_id(const struct fs_node *n)
{
	return (uint64_t)n->gen << 32 | n->idx;
}

struct fs_node *fs_node_get(const struct fs *fs, uint64_t id)
{
	struct fs_node *n = fs_node_at(fs, (uint32_t)id);

	if (!n || !(n->flags & FS_N_USED) || n->gen != id >> 32)
		return NULL;
	/* A node that only its children keep is one that the guest forgot. */
	return n->nlookup || n->handles ? n : NULL;
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 29;
}

uint64_t fs_stamp(const struct statx *sx)
{
	uint64_t h;

	if (S_ISCHR(sx->stx_mode) || S_ISBLK(sx->stx_mode))
		return mix(mix(1, sx->stx_rdev_major), sx->stx_rdev_minor) | 1;
	h = mix(1, (uint64_t)sx->stx_mtime.tv_sec);

	h = mix(h, sx->stx_mtime.tv_nsec);
	if (!S_ISLNK(sx->stx_mode)) {
		h = mix(h, (uint64_t)sx->stx_ctime.tv_sec);
		h = mix(h, sx->stx_ctime.tv_nsec);
		h = mix(h, sx->stx_size);
	}
	return h | 1;
}

static uint64_t sx_dev(const struct statx *sx)
{
	return (uint64_t)sx->stx_dev_major << 32 | sx->stx_dev_minor;
}

static uint32_t ident_hash(uint64_t dev, uint64_t ino, uint64_t mnt)
{
	return (uint32_t)mix(mix(mix(0, ino), dev), mnt);
}

/* The seed is the server's own, so that no guest can choose names that meet in one slot. */
static uint32_t name_hash(const struct fs *fs, uint32_t parent, const char *name)
{
	uint64_t h = fs->seed ^ parent;

	while (*name)
		h = (h ^ (uint8_t)*name++) * 0x100000001b3ULL;
	return (uint32_t)mix(h, 0);
}

static uint32_t *ident_slot(const struct fs *fs, const struct fs_node *n)
{
	return &fs->by_ident.head[ident_hash(n->dev, n->ino, n->mnt) & fs->by_ident.mask];
}

static uint32_t *name_slot(const struct fs *fs, uint32_t parent, const char *name)
{
	return &fs->by_name.head[name_hash(fs, parent, name) & fs->by_name.mask];
}

static void ident_add(struct fs *fs, struct fs_node *n)
{
	uint32_t *s = ident_slot(fs, n);

	n->inext = *s;
	*s = n->idx;
	n->flags |= FS_N_HASHED;
}

static void ident_del(struct fs *fs, struct fs_node *n)
{
	uint32_t *s;

	if (!(n->flags & FS_N_HASHED))
		return;
	for (s = ident_slot(fs, n); *s != n->idx; s = &fs_node_at(fs, *s)->inext)
		;
	*s = n->inext;
	n->flags &= (uint8_t)~FS_N_HASHED;
}

static void name_add(struct fs *fs, struct fs_node *n)
{
	uint32_t *s = name_slot(fs, n->parent, n->name);

	n->dnext = *s;
	*s = n->idx;
}

static void name_del(struct fs *fs, struct fs_node *n)
{
	uint32_t *s = name_slot(fs, n->parent, n->name);

	while (*s != n->idx)
		s = &fs_node_at(fs, *s)->dnext;
	*s = n->dnext;
}

/* Doubles both hashes when there are more nodes than heads. The only allocations that are not one
 * record's. */
static int hash_grow(struct fs *fs)
{
	uint32_t size = fs->by_ident.head ? (fs->by_ident.mask + 1) * 2 : FS_CHUNK;
	uint32_t *a, *b;

	if (fs->by_ident.head && fs->nodes.used <= fs->by_ident.mask)
		return 0;
	a = calloc(size, sizeof(*a));
	b = calloc(size, sizeof(*b));
	if (!a || !b) {
		free(a);
		free(b);
		return fs->by_ident.head ? 0 : -ENOMEM;
	}
	free(fs->by_ident.head);
	free(fs->by_name.head);
	fs->by_ident = (struct fs_hash){ a, size - 1 };
	fs->by_name = (struct fs_hash){ b, size - 1 };
	for (uint32_t i = 1; i < fs->nodes.next; i++) {
		struct fs_node *n = fs_node_at(fs, i);

		if (!(n->flags & FS_N_USED))
			continue;
		if (n->flags & FS_N_HASHED)
			ident_add(fs, n);
		if (n->name)
			name_add(fs, n);
	}
	return 0;
}

/* Of @n more bytes. */
static bool room(const struct fs *fs, size_t n)
{
	return n <= fs->node_max && fs->node_bytes <= fs->node_max - n;
}

bool fs_node_room(const struct fs *fs)
{
	/* What was a node once stays ours. */
	return fs->nodes.used < fs->nodes.max &&
		room(fs, fs->nodes.free ? FS_NAME_ROOM(LIM_FS_NAME) : FS_NODE_ROOM);
}

int fs_node_alloc(struct fs *fs, struct fs_node **out)
{
	struct fs_table *t = &fs->nodes;
	struct fs_node *n;
	int r;

	if (!fs_node_room(fs))
		return -ENOMEM;
	r = hash_grow(fs);
	if (r < 0)
		return r;
	if (t->free) {
		n = fs_node_at(fs, t->free);
		t->free = n->inext;
	} else {
		if (!t->next)
			t->next = 1;
		r = fs_table_grow(t, sizeof(*n), t->next);
		if (r < 0)
			return r;
		t->next++;
		fs->node_bytes += FS_NODE_FIXED;
		n = fs_node_at(fs, t->next - 1);
		n->idx = t->next - 1;
		n->gen = t->gen;
	}
	*n = (struct fs_node){ .idx = n->idx, .gen = n->gen, .fd = -1, .flags = FS_N_USED };
	t->used++;
	*out = n;
	return 0;
}

static bool unreferenced(const struct fs_node *n)
{
	return !n->nlookup && !n->kids && !n->handles && !n->busy && n->idx != FS_ROOT &&
		!(n->flags & FS_N_VIRT);
}

/* Takes @n out of its place; returns the parent, which may have lost its last child. */
static struct fs_node *unplace(struct fs *fs, struct fs_node *n)
{
	struct fs_node *p = fs_node_at(fs, n->parent);

	if (!p)
		return NULL;
	name_del(fs, n);
	fs->node_bytes -= FS_NAME_ROOM(strlen(n->name));
	free(n->name);
	n->name = NULL;
	n->parent = 0;
	p->kids--;
	return p;
}

void fs_node_put(struct fs *fs, struct fs_node *n)
{
	while (n && (n->flags & FS_N_USED) && unreferenced(n)) {
		struct fs_node *p = unplace(fs, n);

		ident_del(fs, n);
		fs_dax_forget(fs, n);
		fs_fd_drop(fs, n);
		n->flags = 0;
		n->gen++;
		n->inext = fs->nodes.free;
		fs->nodes.free = n->idx;
		fs->nodes.used--;
		n = p;
	}
}

struct fs_node *fs_node_child(const struct fs *fs, const struct fs_node *dir, const char *name)
{
	struct fs_node *n = fs_node_at(fs, *name_slot(fs, dir->idx, name));

	while (n && (n->parent != dir->idx || strcmp(n->name, name)))
		n = fs_node_at(fs, n->dnext);
	return n;
}

bool fs_node_is(const struct fs_node *n, const struct statx *sx)
{
	return n->ino == sx->stx_ino && n->dev == sx_dev(sx) && n->mnt == sx->stx_mnt_id &&
		n->type == (sx->stx_mode & S_IFMT);
}

/* The guest keeps the text of a link, and the number of a device, as long as the node. */
static bool is_what_it_says(mode_t type)
{
	return type == S_IFLNK || type == S_IFCHR || type == S_IFBLK;
}

void fs_node_identify(struct fs *fs, struct fs_node *n, const struct statx *sx)
{
	ident_del(fs, n);
	n->dev = sx_dev(sx);
	n->ino = sx->stx_ino;
	n->mnt = sx->stx_mnt_id;
	n->type = sx->stx_mode & S_IFMT;
	if (is_what_it_says(n->type))
		n->stamp = fs_stamp(sx);
	ident_add(fs, n);
}

/*
 * A link or a device made anew that got the old one's inode number must not be taken for it: what
 * the guest keeps of it belongs to the identity. The node that is not meant any more must not be
 * found.
 */
static struct fs_node *find(struct fs *fs, const struct statx *sx)
{
	uint32_t h = ident_hash(sx_dev(sx), sx->stx_ino, sx->stx_mnt_id) & fs->by_ident.mask;
	struct fs_node *n = fs_node_at(fs, fs->by_ident.head[h]);

	while (n && (n->ino != sx->stx_ino || n->dev != sx_dev(sx) || n->mnt != sx->stx_mnt_id))
		n = fs_node_at(fs, n->inext);
	if (!n)
		return NULL;
	if (n->type == (sx->stx_mode & S_IFMT) &&
		(!is_what_it_says(n->type) || n->stamp == fs_stamp(sx)))
		return n;
	ident_del(fs, n);
	return NULL;
}

void fs_node_unhash(struct fs *fs, struct fs_node *n)
{
	ident_del(fs, n);
}

void fs_node_detach(struct fs *fs, struct fs_node *n)
{
	struct fs_node *p;

	if (n->idx == FS_ROOT || !n->parent)
		return;
	p = unplace(fs, n);
	if (n->fd >= 0)
		fs_fd_pin(fs, n);
	/* Busy: it is given a new place at once. */
	if (n->fd < 0 && !n->handles && !n->busy)
		ident_del(fs, n);
	fs_node_put(fs, n);
	fs_node_put(fs, p);
}

/* True when @n is @below or one of its parents; *child is then the node just under @n on that way.
 */
static bool above(
	const struct fs *fs, const struct fs_node *n, struct fs_node *below, struct fs_node **child)
{
	*child = NULL;
	for (unsigned i = 0; below && i < FS_DEPTH; i++) {
		if (below == n)
			return true;
		*child = below;
		below = fs_node_at(fs, below->parent);
	}
	return false;
}

static int place(struct fs *fs, struct fs_node *n, struct fs_node *dir, const char *name)
{
	struct fs_node *was, *cut;
	char *copy;

	if (n->kids && above(fs, n, dir, &cut)) {
		if (!cut)
			return -ELOOP;
		fs_node_detach(fs, cut);
	}
	copy = room(fs, FS_NAME_ROOM(strlen(name))) ? strdup(name) : NULL;
	if (!copy)
		return -ENOMEM;
	fs->node_bytes += FS_NAME_ROOM(strlen(name));
	dir->kids++;
	was = fs_node_child(fs, dir, name);
	if (was)
		fs_node_detach(fs, was);
	was = unplace(fs, n);
	n->parent = dir->idx;
	n->name = copy;
	name_add(fs, n);
	fs_fd_unpin(fs, n);
	fs_node_put(fs, was);
	return 0;
}

int fs_node_place(struct fs *fs, struct fs_node *n, struct fs_node *dir, const char *name)
{
	int r;

	if (n->parent == dir->idx && !strcmp(n->name, name))
		return 0;
	if (n->idx == FS_ROOT)
		return -ELOOP;
	/* Both must outlive what is cut and freed on the way. */
	n->busy++;
	dir->busy++;
	r = place(fs, n, dir, name);
	dir->busy--;
	n->busy--;
	return r;
}

int fs_node_attach(struct fs *fs, struct fs_node *dir, const char *name, const struct statx *sx,
	struct fs_node **out)
{
	struct fs_node *n = find(fs, sx);
	int r;

	if (!n) {
		r = fs_node_alloc(fs, &n);
		if (r < 0)
			return r;
		fs_node_identify(fs, n, sx);
	}
	if (!dir && n->parent) {
		/* A new inode without a name has the number of one that the host has removed. */
		n->busy++;
		fs_node_detach(fs, n);
		n->busy--;
	}
	if (dir) {
		r = fs_node_place(fs, n, dir, name);
		if (r < 0) {
			fs_node_put(fs, n);
			return r;
		}
	}
	*out = n;
	return 0;
}

void fs_node_forget(struct fs *fs, struct fs_node *n, uint64_t count)
{
	n->nlookup -= MIN(count, n->nlookup);
	if (n->idx == FS_ROOT && !n->nlookup)
		n->nlookup = 1;
	if (n->flags & FS_N_VIRT)
		return;
	fs_node_put(fs, n);
}

int fs_node_alloc_at(struct fs *fs, uint32_t idx, uint32_t gen, struct fs_node **out)
{
	struct fs_node *n;
	int r;

	if (!idx || idx > fs->nodes.max)
		return -EINVAL;
	if (idx >= fs->nodes.next && !room(fs, (idx + 1 - fs->nodes.next) * FS_NODE_FIXED))
		return -ENOMEM;
	r = hash_grow(fs);
	if (!r)
		r = fs_table_grow(&fs->nodes, sizeof(*n), idx);
	if (r < 0)
		return r;
	for (; fs->nodes.next <= idx; fs->nodes.next++) {
		uint32_t i = fs->nodes.next;

		n = (struct fs_node *)fs->nodes.chunk[i / FS_CHUNK] + i % FS_CHUNK;
		*n = (struct fs_node){ .idx = i, .fd = -1 };
		fs->node_bytes += FS_NODE_FIXED;
	}
	n = fs_node_at(fs, idx);
	if (n->flags & FS_N_USED)
		return -EEXIST;
	*n = (struct fs_node){ .idx = idx, .gen = gen, .fd = -1, .flags = FS_N_USED };
	fs->nodes.used++;
	*out = n;
	return 0;
}

void fs_nodes_relist(struct fs *fs, uint32_t gen)
{
	fs->nodes.free = 0;
	fs->nodes.gen = gen;
	for (uint32_t i = fs->nodes.next; i-- > 1;) {
		struct fs_node *n = fs_node_at(fs, i);

		if (n->flags & FS_N_USED)
			continue;
		n->gen = gen;
		n->inext = fs->nodes.free;
		fs->nodes.free = i;
	}
}

void fs_nodes_reset(struct fs *fs)
{
	struct fs_table *t = &fs->nodes;
	uint32_t keep = fs->virt ? fs->virt->n : FS_ROOT;

	for (uint32_t i = 1; i < t->next; i++) {
		struct fs_node *n = fs_node_at(fs, i);

		if (i <= keep) {
			n->kids = n->handles = n->inext = n->dnext = 0;
			n->busy = 0;
			n->nlookup = i == FS_ROOT;
			continue;
		}
		if (!(n->flags & FS_N_USED))
			continue;
		fs_fd_drop(fs, n);
		free(n->name);
		*n = (struct fs_node){ .idx = i, .fd = -1 };
	}
	while (t->nchunks > 1)
		free(t->chunk[--t->nchunks]);
	t->next = keep + 1;
	t->used = keep;
	t->free = 0;
	/* The hashes stay as large as they are. */
	fs->node_bytes =
		keep * FS_NODE_FIXED + 2 * sizeof(uint32_t) * ((uint64_t)fs->by_ident.mask + 1);
	memset(fs->by_ident.head, 0, (fs->by_ident.mask + 1) * sizeof(uint32_t));
	memset(fs->by_name.head, 0, (fs->by_name.mask + 1) * sizeof(uint32_t));
	if (!(fs_node_at(fs, FS_ROOT)->flags & FS_N_VIRT))
		ident_add(fs, fs_node_at(fs, FS_ROOT));
}

void fs_nodes_clear(struct fs *fs)
{
	for (uint32_t i = 1; i < fs->nodes.next; i++) {
		struct fs_node *n = fs_node_at(fs, i);

		if (!(n->flags & FS_N_USED))
			continue;
		fs_fd_drop(fs, n);
		free(n->name);
	}
	fs_table_free(&fs->nodes);
	free(fs->by_ident.head);
	free(fs->by_name.head);
	fs->by_ident = fs->by_name = (struct fs_hash){ 0 };
}
