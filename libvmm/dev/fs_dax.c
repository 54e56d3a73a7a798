// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: the DAX window, in which the guest sees pages of files as the host has them. */
/*
 * How it works
 *
 * The window is cut into ranges of 2 MiB (FS_DAX_RANGE), as Linux's client does it. The guest says
 * which range shall show which part of which file, and takes ranges back when it runs out of them;
 * so whoever reads more than fits pays for a mapping with each miss, which is slower than reading.
 * What we have in hand is whether a file is used so at all: an attribute of the inode, which the
 * guest looks at when it meets the file first. Each file that gets it is promised as many ranges as
 * it has, until the guest forgets it. A fifth of the window is never promised: Linux begins to take
 * ranges back when fewer are free, and would never rest. A listing may use up half, so that a walk
 * over the tree leaves room for what is opened. A file that outgrows what is left loses the
 * attribute; the guest goes on until it closes it.
 *
 * Not promised: small files, of which one request reads all; programs, since each page of a window
 * costs a fault of its own where the page cache maps sixteen; files with holes, as writing there
 * may find a full disk and a store has no errno; file systems where every write may (PLAIN_FS).
 *
 * A range is mapped by the descriptor that the guest has open, else by one opened for it, and ends
 * with its node. What overlayfs maps for reading stays the lower file when the upper one is made,
 * so such ranges are mapped anew when the guest opens the file to write, or finds it changed.
 * Writes through the window set the file's times when the host sees them, at the first to a page
 * since it was mapped, synced, or closed by a writer (fs_dax_settle()).
 *
 * Who shortens a file on the host takes pages from under the guest. Often the hypervisor says so,
 * and the core puts zero pages there (mem_shm_mend()). But Linux up to 6.12 lets the processor wait
 * for such a page as for one on a disk, and try again for ever, without a word to us. So twice a
 * second the sizes of open files that are mapped are compared with what they were. The zero pages
 * are taken away before the next request for the node, which may be what makes the file longer.
 *
 * System calls: SETUPMAPPING 3 (mmap, madvise, statx), for writing 1 to look for holes, without an
 * open handle 2 more; REMOVEMAPPING 2 for each range.
 */
/* #syscalls:fs mmap madvise lseek fallocate fstatfs statx timerfd_settime read close */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/cleanup.h"
#include "util/log.h"

#define FS_TAG_DAX     SAVE_TAG('F', 'S', 'D', 'X')
#define FS_DAX_VERSION 1
#define FS_DAX_MIN     FS_DAX_RANGE /* bytes of the smallest file that is promised ranges */
#define OVERLAY_MAGIC  0x794c7630U
#define FS_DAX_TICK_MS 500

/* A range of the window; @node 0: it is empty. */
struct fs_map {
	uint32_t node;
	uint32_t prev, next; /* of the node's list, 1 and up; 0: none */
	bool write;
	bool lower; /* overlayfs may have mapped a file that is not the one it writes to */
	uint64_t off;
	uint64_t size; /* of the file when the guest was last promised pages of it */
};

/* A file system that was asked for its type. */
struct fs_dax_fs {
	uint64_t dev;
	uint32_t magic; /* 0: no file of it is mapped */
};

struct fs_dax {
	struct mem *mem;
	gpa_t window;
	uint32_t n;	   /* ranges */
	uint32_t limit;	   /* of them, that may be promised */
	uint32_t promised; /* ranges, to nodes */
	int timer_fd;	   /* owned */
	bool ticks;
	struct fs_dax_fs seen[8];
	unsigned nseen;
	struct fs_map map[]; /* n + 1, from 1 */
};

int fs_dax_new(struct fs *fs, struct mem *mem, uint64_t gpa, uint64_t len)
{
	uint64_t n = len / FS_DAX_RANGE;

	if (!n || len % FS_DAX_RANGE || n > LIM_FS_DAX_RANGES)
		return -EINVAL;
	fs->dax = calloc(1, sizeof(*fs->dax) + (n + 1) * sizeof(fs->dax->map[0]));
	if (!fs->dax)
		return -ENOMEM;
	fs->dax->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fs->dax->timer_fd < 0)
		return -errno;
	fs->dax->mem = mem;
	fs->dax->window = GPA(gpa);
	fs->dax->n = (uint32_t)n;
	fs->dax->limit = (uint32_t)(n - (n + 4) / 5);
	return 0;
}

void fs_dax_free(struct fs *fs)
{
	if (fs->dax && fs->dax->timer_fd >= 0)
		(void)close(fs->dax->timer_fd);
	free(fs->dax);
	fs->dax = NULL;
}

uint64_t fs_dax_wants(const struct fs *fs)
{
	return fs->dax ? FS_I_MAP_ALIGNMENT | FS_I_HAS_INODE_DAX : 0;
}

static uint64_t window_off(uint32_t i)
{
	return (uint64_t)(i - 1) * FS_DAX_RANGE;
}

/*
 * Type of the file system of @n, or 0 where nothing is mapped: the kernel's own, whose files may be
 * a device's registers; those over a network, where a page may fail to come; those that write
 * elsewhere each time, where a store can meet a full disk.
 */
static uint32_t fs_type(struct fs *fs, struct fs_node *n)
{
	static const uint32_t PLAIN_FS[] = { 0xef53 /* ext2, 3, 4 */, 0x58465342 /* xfs */,
		0x01021994 /* tmpfs */, OVERLAY_MAGIC, 0xe0f5e1e2 /* erofs */,
		0x73717368 /* squashfs */ };
	struct fs_dax *d = fs->dax;
	uint32_t magic = 0;
	struct statfs st;
	int fd;

	for (unsigned i = 0; i < ARRAY_SIZE(d->seen); i++)
		if (i < d->nseen && d->seen[i].dev == n->dev)
			return d->seen[i].magic;
	fd = fs_node_fd(fs, n);
	if (fd < 0 || fstatfs(fd, &st) < 0)
		return 0;
	for (unsigned i = 0; i < ARRAY_SIZE(PLAIN_FS); i++)
		if ((uint32_t)st.f_type == PLAIN_FS[i])
			magic = PLAIN_FS[i];
	/* The last place is anybody's. */
	if (d->nseen < ARRAY_SIZE(d->seen))
		d->nseen++;
	d->seen[d->nseen - 1] = (struct fs_dax_fs){ n->dev, magic };
	return magic;
}

static bool worth_it(struct fs *fs, struct fs_node *n, const struct statx *sx)
{
	return n->type == S_IFREG && !(n->flags & FS_N_VIRT) && sx->stx_size >= FS_DAX_MIN &&
		sx->stx_size < (uint64_t)LIM_FS_DAX_RANGES * FS_DAX_RANGE &&
		!(sx->stx_mode & 0111) && sx->stx_blocks >= sx->stx_size / 512 && fs_type(fs, n);
}

void fs_dax_admit(struct fs *fs, struct fs_node *n, const struct statx *sx, bool listing)
{
	struct fs_dax *d = fs->dax;
	uint32_t want, room;

	if (!d || !(fs->flags & FS_I_HAS_INODE_DAX))
		return;
	if (n->maps)
		fs_dax_heal(fs, n);
	/* Its inode in the guest is what it is; a promise can only grow with the file. */
	if (n->nlookup && !(n->flags & FS_N_DAX))
		return;
	if (!n->nlookup && !worth_it(fs, n, sx))
		return;
	want = (uint32_t)MIN(
		(sx->stx_size + FS_DAX_RANGE - 1) / FS_DAX_RANGE, (uint64_t)LIM_FS_DAX_RANGES);
	if (want <= n->promised)
		return;
	want -= n->promised;
	room = d->limit - d->promised;
	if (listing && !n->promised)
		room -= MIN(room, d->limit / 2);
	if (want > room) {
		n->flags &= (uint8_t)~FS_N_DAX;
		return;
	}
	n->flags |= FS_N_DAX;
	n->promised += want;
	d->promised += want;
}

static struct fs_map *map_at(const struct fs *fs, uint32_t i)
{
	return i ? &fs->dax->map[i] : NULL;
}

static void unlink_map(struct fs *fs, uint32_t i)
{
	struct fs_map *m = map_at(fs, i), *p = map_at(fs, m->prev), *x = map_at(fs, m->next);

	if (!m->node)
		return;
	if (p)
		p->next = m->next;
	else
		fs_node_at(fs, m->node)->maps = m->next;
	if (x)
		x->prev = m->prev;
	*m = (struct fs_map){ 0 };
}

static void link_map(struct fs *fs, uint32_t i, struct fs_node *n, const struct fs_map *what)
{
	struct fs_map *m = map_at(fs, i);

	unlink_map(fs, i);
	*m = *what;
	m->node = n->idx;
	m->prev = 0;
	m->next = n->maps;
	if (n->maps)
		map_at(fs, n->maps)->prev = i;
	n->maps = i;
}

int fs_dax_fd(const struct fs *fs)
{
	return fs->dax ? fs->dax->timer_fd : -1;
}

static void tick(struct fs_dax *d, bool on)
{
	const struct itimerspec t = { .it_value.tv_nsec = on ? FS_DAX_TICK_MS * 1000000L : 0,
		.it_interval.tv_nsec = on ? FS_DAX_TICK_MS * 1000000L : 0 };

	if (d->ticks != on)
		(void)timerfd_settime(d->timer_fd, 0, &t, NULL);
	d->ticks = on;
}

/* Puts zeroes where @n, whose size is @size, has no pages any more that it had. */
static void cut(struct fs *fs, struct fs_node *n, uint64_t size)
{
	for (uint32_t i = n->maps; i; i = map_at(fs, i)->next) {
		struct fs_map *m = map_at(fs, i);
		uint64_t have = size > m->off ? (size - m->off + 4095) / 4096 : 0;
		bool less = size < m->size;

		m->size = size;
		if (less && have < FS_DAX_RANGE / 4096 &&
			!mem_shm_cut(fs->dax->mem, fs->dax->window, window_off(i), (unsigned)have))
			log_guest("virtio-fs: a mapped file became shorter");
	}
}

/* A file that the guest has not open it cannot touch, whatever is mapped of it. */
void fs_dax_tick(struct fs *fs)
{
	struct fs_dax *d = fs->dax;
	bool any = false;
	struct statx sx;
	uint64_t times;

	(void)!read(d->timer_fd, &times, sizeof(times));
	for (uint32_t i = 1; i <= d->n; i++) {
		struct fs_node *n = map_at(fs, i)->prev ? NULL : fs_node_at(fs, d->map[i].node);
		struct fs_handle *h = n ? fs_handle_at(fs, n->handles) : NULL;

		any |= h != NULL;
		if (h && h->fd >= 0 && !fs_stat_fd(h->fd, &sx))
			cut(fs, n, sx.stx_size);
	}
	tick(d, any);
}

static void remove_map(struct fs *fs, uint32_t i)
{
	unlink_map(fs, i);
	/* The guest has the range back whatever happens; only memory for the host's own books can
	 * be missing, and then what was mapped stays, which the guest could read before too. */
	if (mem_shm_unmap(fs->dax->mem, fs->dax->window, window_off(i), FS_DAX_RANGE) < 0)
		log_guest("virtio-fs: a range of the window could not be emptied");
}

void fs_dax_forget(struct fs *fs, struct fs_node *n)
{
	while (n->maps)
		remove_map(fs, n->maps);
	if (fs->dax)
		fs->dax->promised -= n->promised;
	n->promised = 0;
}

void fs_dax_reset(struct fs *fs)
{
	struct fs_dax *d = fs->dax;

	if (!d)
		return;
	memset(d->map, 0, (d->n + 1) * sizeof(d->map[0]));
	d->promised = 0;
	d->nseen = 0;
	tick(d, false);
	if (mem_shm_unmap(d->mem, d->window, 0, (uint64_t)d->n * FS_DAX_RANGE) < 0)
		log_warn("virtio-fs: the window could not be emptied");
}

static bool fits(const struct fs_handle *h, bool write)
{
	int acc = h->flags & O_ACCMODE;

	return h->kind == FS_H_FILE && h->fd >= 0 && (acc == O_RDWR || (!write && acc == O_RDONLY));
}

/* A descriptor of @n to map by: one that the guest has open, else a new one, which *own says. */
static int map_fd(struct fs *fs, struct fs_node *n, bool write, bool *own)
{
	int fd;

	*own = false;
	for (struct fs_handle *h = fs_handle_at(fs, n->handles); h; h = fs_handle_at(fs, h->next))
		if (fits(h, write))
			return h->fd;
	fd = fs_node_fd(fs, n);
	if (fd < 0)
		return fd;
	fd = fs_reopen(fs, fd, write ? O_RDWR : O_RDONLY | (fs->readonly ? O_NOATIME : 0));
	*own = fd >= 0;
	return fd;
}

/*
 * A store has no errno, so there must be a place on the disk for what is stored: holes of the part
 * that is mapped are filled. Behind its end there is nothing to store to.
 */
static int fill_holes(int fd, uint64_t off)
{
	off_t size = lseek(fd, 0, SEEK_END), hole, end;

	if (size < 0)
		return -errno;
	end = (off_t)MIN((uint64_t)size, off + FS_DAX_RANGE);
	if ((off_t)off >= end)
		return 0;
	hole = lseek(fd, (off_t)off, SEEK_HOLE);
	if (hole < 0 || hole >= end)
		return 0;
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, end - (off_t)off) < 0 ? -errno : 0;
}

/* Maps the part of @n that @want says into range @i, by @fd. */
static int map_by(struct fs *fs, int fd, uint32_t i, struct fs_map *want)
{
	struct fs_dax *d = fs->dax;
	struct statx sx;
	int r = fs_stat_fd(fd, &sx);

	if (!r && want->write)
		r = fill_holes(fd, want->off);
	if (!r)
		r = mem_shm_map(
			d->mem, d->window, window_off(i), FS_DAX_RANGE, fd, want->off, want->write);
	if (!r)
		want->size = sx.stx_size;
	return r;
}

static int map_range(struct fs *fs, struct fs_node *n, uint32_t i, struct fs_map *want)
{
	bool own;
	int r, fd = map_fd(fs, n, want->write, &own);

	if (fd < 0)
		return fd;
	r = map_by(fs, fd, i, want);
	if (own)
		(void)close(fd);
	return r;
}

int fs_op_setupmapping(struct fs *fs, struct fs_req *q)
{
	const struct fuse_setupmapping_in *in = &q->a.setup;
	struct fs_map want = { .write = in->flags & FUSE_SETUPMAPPING_FLAG_WRITE,
		.off = in->foffset };
	struct fs_dax *d = fs->dax;
	struct fs_handle *h;
	uint32_t i, magic;
	int r;

	if (!d)
		return -ENOSYS;
	if ((in->flags & ~(FUSE_SETUPMAPPING_FLAG_WRITE | FUSE_SETUPMAPPING_FLAG_READ)) ||
		in->len != FS_DAX_RANGE || in->foffset % FS_DAX_RANGE ||
		in->foffset > INT64_MAX - FS_DAX_RANGE || in->moffset % FS_DAX_RANGE ||
		!range_ok(in->moffset, in->len, (uint64_t)d->n * FS_DAX_RANGE))
		return -EINVAL;
	if (want.write && fs->readonly)
		return -EROFS;
	if (q->n->type != S_IFREG || (q->n->flags & FS_N_VIRT))
		return -ENODEV;
	magic = fs_type(fs, q->n);
	if (!magic)
		return -ENODEV;
	i = (uint32_t)(in->moffset / FS_DAX_RANGE) + 1;
	want.lower = magic == OVERLAY_MAGIC && !want.write && !fs->readonly;
	/* Linux names no handle. */
	if (in->fh != UINT64_MAX) {
		h = fs_handle_get(fs, q->n, in->fh);
		if (!h || !fits(h, want.write))
			return -EBADF;
		r = map_by(fs, h->fd, i, &want);
	} else {
		r = map_range(fs, q->n, i, &want);
	}
	if (r < 0)
		return r;
	/* A range that was somebody else's is so no more: the guest is to know what it does. */
	link_map(fs, i, q->n, &want);
	tick(d, true);
	return 0;
}

/* All of it is looked at before any of it is done. */
int fs_op_removemapping(struct fs *fs, struct fs_req *q)
{
	struct fuse_removemapping_one one[FS_DAX_REMOVE];
	uint32_t count = q->a.remove.count;
	struct fs_dax *d = fs->dax;

	if (!d)
		return -ENOSYS;
	if (!count || count > FS_DAX_REMOVE || iobuf_pull(&q->rd, one, count * sizeof(one[0])) < 0)
		return -EINVAL;
	for (uint32_t k = 0; k < count; k++) {
		if (one[k].len != FS_DAX_RANGE || one[k].moffset % FS_DAX_RANGE ||
			!range_ok(one[k].moffset, one[k].len, (uint64_t)d->n * FS_DAX_RANGE))
			return -EINVAL;
		if (d->map[one[k].moffset / FS_DAX_RANGE + 1].node != q->n->idx)
			return -EINVAL;
	}
	for (uint32_t k = 0; k < count; k++)
		remove_map(fs, (uint32_t)(one[k].moffset / FS_DAX_RANGE) + 1);
	return 0;
}

/* Maps anew what is mapped of @n and is @stale; what cannot be stays as it is. */
static void map_anew(struct fs *fs, struct fs_node *n, bool (*stale)(const struct fs *, uint32_t))
{
	for (uint32_t i = n->maps; i; i = map_at(fs, i)->next)
		if (stale(fs, i) && map_range(fs, n, i, map_at(fs, i)) < 0)
			log_guest("virtio-fs: a mapped file cannot be opened any more");
}

static bool is_mended(const struct fs *fs, uint32_t i)
{
	return mem_shm_is_mended(fs->dax->mem, fs->dax->window, window_off(i));
}

void fs_dax_heal(struct fs *fs, struct fs_node *n)
{
	if (mem_shm_any_mended(fs->dax->mem, fs->dax->window))
		map_anew(fs, n, is_mended);
}

static bool is_lower(const struct fs *fs, uint32_t i)
{
	return map_at(fs, i)->lower;
}

void fs_dax_opened(struct fs *fs, struct fs_node *n, bool changed)
{
	if (changed)
		map_anew(fs, n, is_lower);
	tick(fs->dax, true);
}

void fs_dax_settle(struct fs *fs, struct fs_node *n)
{
	for (uint32_t i = n->maps; i; i = map_at(fs, i)->next)
		if (map_at(fs, i)->write)
			(void)mem_shm_settle(fs->dax->mem, fs->dax->window, window_off(i));
}

void fs_dax_save(struct fs *fs, struct save_out *s)
{
	size_t at = save_begin(s, FS_TAG_DAX, FS_DAX_VERSION);
	uint32_t n = fs->dax ? fs->dax->n : 0, maps = 0, promises = 0;

	for (uint32_t i = 1; i <= n; i++)
		maps += map_at(fs, i)->node != 0;
	for (uint32_t i = 1; i < fs->nodes.next; i++)
		promises += fs_node_at(fs, i)->promised != 0;
	save_u32(s, n);
	save_u32(s, promises);
	for (uint32_t i = 1; promises && i < fs->nodes.next; i++) {
		const struct fs_node *p = fs_node_at(fs, i);

		if (!p->promised)
			continue;
		save_u32(s, i);
		save_u32(s, p->promised);
		save_u8(s, !!(p->flags & FS_N_DAX));
	}
	save_u32(s, maps);
	for (uint32_t i = 1; i <= n; i++) {
		const struct fs_map *m = map_at(fs, i);

		if (!m->node)
			continue;
		save_u32(s, i);
		save_u32(s, m->node);
		save_u64(s, m->off);
		save_u8(s, (uint8_t)(m->write | m->lower << 1));
	}
	save_end(s, at);
}

static struct fs_node *load_file(struct fs *fs, struct save_in *s)
{
	struct fs_node *n = fs_node_at(fs, load_u32(s));

	return n && (n->flags & FS_N_USED) && !(n->flags & FS_N_VIRT) && n->type == S_IFREG ? n
											    : NULL;
}

static int load_promise(struct fs *fs, struct save_in *s)
{
	struct fs_node *n = load_file(fs, s);
	uint32_t count = load_u32(s);
	bool on = load_u8(s);

	if (s->err || !n || n->promised || !count || count > fs->dax->limit - fs->dax->promised)
		return -EINVAL;
	n->promised = count;
	fs->dax->promised += count;
	if (on)
		n->flags |= FS_N_DAX;
	return 0;
}

static int load_map(struct fs *fs, struct save_in *s)
{
	struct fs_dax *d = fs->dax;
	uint32_t i = load_u32(s);
	struct fs_node *n = load_file(fs, s);
	struct fs_map m = { .off = load_u64(s) };
	uint8_t bits = load_u8(s);
	int r;

	m.write = bits & 1;
	m.lower = bits & 2;
	if (s->err || !n || !i || i > d->n || map_at(fs, i)->node || bits > 2 ||
		m.off % FS_DAX_RANGE || m.off > INT64_MAX - FS_DAX_RANGE ||
		(m.write && fs->readonly))
		return -EINVAL;
	r = map_range(fs, n, i, &m);
	fs_req_end(fs);
	/* The guest believes in it: a file that is gone reads as zeroes, and is looked for again
	 * with the next request for it. */
	if (r < 0) {
		log_warn("virtio-fs: a mapped file is not there any more");
		r = mem_shm_zero(d->mem, d->window, window_off(i));
	}
	if (r < 0)
		return r;
	link_map(fs, i, n, &m);
	tick(d, true);
	return 0;
}

int fs_dax_load(struct fs *fs, struct save_in *s)
{
	struct save_in sub;
	uint32_t count;
	int r = 0;

	if (!load_section(s, FS_TAG_DAX, FS_DAX_VERSION, &sub))
		return s->err ? s->err : -EINVAL;
	if (load_u32(&sub) != (fs->dax ? fs->dax->n : 0))
		return -EINVAL;
	count = load_u32(&sub);
	if (count && (!fs->dax || count > fs->dax->n))
		return -EINVAL;
	for (; !r && count; count--)
		r = load_promise(fs, &sub);
	count = r < 0 ? 0 : load_u32(&sub);
	if (count && (!fs->dax || count > fs->dax->n))
		return -EINVAL;
	for (; !r && count; count--)
		r = load_map(fs, &sub);
	return r < 0 ? r : load_done(&sub);
}
