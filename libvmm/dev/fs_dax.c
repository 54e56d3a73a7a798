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
 * may find a full disk and a store has no errno; file systems where more can go wrong
 * (fs_dax_layer.c).
 *
 * A range is mapped by a descriptor that the guest has open, else by one opened for it, and ends
 * with its node. On overlayfs one that is open for reading may be the lower file's when there is an
 * upper one, so there a new one is opened. What becomes of a mapping when its file changes is in
 * fs_dax_file.c.
 *
 * System calls: SETUPMAPPING 2 (mmap, madvise; on overlayfs 3 more), for writing 1 to look for
 * holes, without an open handle 2 more; REMOVEMAPPING 2 for each range.
 */
/* #syscalls:fs mmap madvise timerfd_settime close */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "dev/fs_dax.h"
#include "util/log.h"

#define FS_TAG_DAX     SAVE_TAG('F', 'S', 'D', 'X')
#define FS_DAX_VERSION 2
#define FS_DAX_MIN     FS_DAX_RANGE /* bytes of the smallest file that is promised ranges */
#define FS_DAX_TICK_MS 500

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
	return fs_dax_layers(fs->dax);
}

void fs_dax_free(struct fs *fs)
{
	if (fs->dax && fs->dax->timer_fd >= 0)
		(void)close(fs->dax->timer_fd);
	if (fs->dax)
		free(fs->dax->layer);
	free(fs->dax);
	fs->dax = NULL;
}

uint64_t fs_dax_wants(const struct fs *fs)
{
	return fs->dax ? FS_I_MAP_ALIGNMENT | FS_I_HAS_INODE_DAX : 0;
}

static bool worth_it(struct fs *fs, struct fs_node *n, const struct statx *sx)
{
	return n->type == S_IFREG && !(n->flags & FS_N_VIRT) && sx->stx_size >= FS_DAX_MIN &&
		sx->stx_size < (uint64_t)LIM_FS_DAX_RANGES * FS_DAX_RANGE &&
		!(sx->stx_mode & 0111) && sx->stx_blocks >= sx->stx_size / 512 &&
		fs_dax_type(fs, n);
}

void fs_dax_admit(
	struct fs *fs, struct fs_req *q, struct fs_node *n, const struct statx *sx, bool listing)
{
	struct fs_dax *d = fs->dax;
	uint32_t want, room;

	fs_dax_told(fs, q, n, sx);
	if (!d || !(fs->flags & FS_I_HAS_INODE_DAX))
		return;
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

static void unlink_map(struct fs *fs, uint32_t i)
{
	struct fs_map *m = fs_map_at(fs, i), *p = fs_map_at(fs, m->prev),
		      *x = fs_map_at(fs, m->next);

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
	struct fs_map *m = fs_map_at(fs, i);

	unlink_map(fs, i);
	*m = *what;
	m->node = n->idx;
	m->prev = 0;
	m->next = n->maps;
	if (n->maps)
		fs_map_at(fs, n->maps)->prev = i;
	n->maps = i;
}

int fs_dax_fd(const struct fs *fs)
{
	return fs->dax ? fs->dax->timer_fd : -1;
}

void fs_dax_ticks(struct fs_dax *d, bool on)
{
	const struct itimerspec t = { .it_value.tv_nsec = on ? FS_DAX_TICK_MS * 1000000L : 0,
		.it_interval.tv_nsec = on ? FS_DAX_TICK_MS * 1000000L : 0 };

	if (d->ticks != on)
		(void)timerfd_settime(d->timer_fd, 0, &t, NULL);
	d->ticks = on;
}

static void remove_map(struct fs *fs, uint32_t i)
{
	unlink_map(fs, i);
	/* The guest has the range back whatever happens; only memory for the host's own books can
	 * be missing, and then what was mapped stays, which the guest could read before too. */
	if (mem_shm_unmap(fs->dax->mem, fs->dax->window, fs_map_place(i), FS_DAX_RANGE) < 0)
		log_guest("virtio-fs: a range of the window could not be emptied");
}

void fs_dax_forget(struct fs *fs, struct fs_node *n)
{
	while (n->maps)
		remove_map(fs, n->maps);
	if (fs->dax)
		fs->dax->promised -= n->promised;
	n->promised = 0;
	n->flags &= (uint8_t)~FS_N_CUT;
}

void fs_dax_reset(struct fs *fs)
{
	struct fs_dax *d = fs->dax;

	if (!d)
		return;
	memset(d->map, 0, (d->n + 1) * sizeof(d->map[0]));
	d->promised = 0;
	d->nseen = 0;
	fs_dax_ticks(d, false);
	if (mem_shm_unmap(d->mem, d->window, 0, (uint64_t)d->n * FS_DAX_RANGE) < 0)
		log_warn("virtio-fs: the window could not be emptied");
}

static bool fits(const struct fs_handle *h, bool write)
{
	int acc = h->flags & O_ACCMODE;

	return h->kind == FS_H_FILE && h->fd >= 0 && (acc == O_RDWR || (!write && acc == O_RDONLY));
}

int fs_dax_fd_of(struct fs *fs, struct fs_node *n)
{
	for (struct fs_handle *h = fs_handle_at(fs, n->handles); h; h = fs_handle_at(fs, h->next))
		if (h->fd >= 0)
			return h->fd;
	return fs_node_fd(fs, n);
}

int fs_dax_open(struct fs *fs, struct fs_node *n, bool write)
{
	int fd = fs_dax_fd_of(fs, n);

	if (fd < 0)
		return fd;
	return fs_reopen(fs, fd, write ? O_RDWR : O_RDONLY | (fs->readonly ? O_NOATIME : 0));
}

int fs_dax_map_by(struct fs *fs, int fd, uint32_t i, struct fs_map *m)
{
	const struct fs_dax *d = fs->dax;
	struct statx sx = { 0 };
	int r = m->lower ? fs_stat_fd(fd, &sx) : 0;

	if (!r)
		r = mem_shm_map(
			d->mem, d->window, fs_map_place(i), FS_DAX_RANGE, fd, m->off, m->write);
	if (r < 0)
		return r;
	m->shown = FS_DAX_PAGES;
	m->stamp = fs_stamp(&sx);
	return 0;
}

static int map_node(struct fs *fs, struct fs_node *n, uint32_t i, struct fs_map *m, bool fill)
{
	uint32_t magic = fs_dax_type(fs, n);
	struct fs_handle *h = fs_handle_at(fs, n->handles);
	int r = 0, fd;

	if (!magic) {
		/* a file that is not there has no type either */
		fd = fs_dax_fd_of(fs, n);
		return fd < 0 ? fd : -ENODEV;
	}
	m->lower = magic == FS_DAX_OVERLAY && !m->write;
	while (h && !fits(h, m->write || m->lower))
		h = fs_handle_at(fs, h->next);
	/* whoever may write has the upper file */
	m->lower = m->lower && !h;
	fd = h ? h->fd : fs_dax_open(fs, n, m->write);
	if (fd < 0)
		return fd;
	if (m->write)
		r = fs_dax_fill(fd, m);
	if (r < 0 && !fill) {
		log_guest("virtio-fs: no place for the holes of a mapped file: %s", err_text(r));
		r = 0;
	}
	if (!r)
		r = fs_dax_map_by(fs, fd, i, m);
	if (!h)
		(void)close(fd);
	return r;
}

int fs_dax_map(struct fs *fs, struct fs_node *n, uint32_t i, struct fs_map *want)
{
	return map_node(fs, n, i, want, false);
}

int fs_op_setupmapping(struct fs *fs, struct fs_req *q)
{
	const struct fuse_setupmapping_in *in = &q->a.setup;
	struct fs_map want = { .write = in->flags & FUSE_SETUPMAPPING_FLAG_WRITE,
		.off = in->foffset };
	struct fs_dax *d = fs->dax;
	struct fs_handle *h;
	uint32_t i;
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
	/* Linux names no handle. Whoever does must have one; which is used is our affair. */
	if (in->fh != UINT64_MAX) {
		h = fs_handle_get(fs, q->n, in->fh);
		if (!h || !fits(h, want.write))
			return -EBADF;
	}
	i = (uint32_t)(in->moffset / FS_DAX_RANGE) + 1;
	r = map_node(fs, q->n, i, &want, true);
	if (r < 0)
		return r;
	/* A range that was somebody else's is so no more: the guest is to know what it does. */
	link_map(fs, i, q->n, &want);
	fs_dax_ticks(d, true);
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

void fs_dax_save(struct fs *fs, struct save_out *s)
{
	size_t at = save_begin(s, FS_TAG_DAX, FS_DAX_VERSION);
	uint32_t n = fs->dax ? fs->dax->n : 0, maps = 0, promises = 0;

	for (uint32_t i = 1; i <= n; i++)
		maps += fs_map_at(fs, i)->node != 0;
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
		const struct fs_map *m = fs_map_at(fs, i);

		if (!m->node)
			continue;
		save_u32(s, i);
		save_u32(s, m->node);
		save_u64(s, m->off);
		save_u8(s, m->write);
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
	uint8_t write = load_u8(s);
	int r;

	m.write = write;
	if (s->err || !n || !i || i > d->n || fs_map_at(fs, i)->node || write > 1 ||
		m.off % FS_DAX_RANGE || m.off > INT64_MAX - FS_DAX_RANGE ||
		(m.write && fs->readonly))
		return -EINVAL;
	r = fs_dax_map(fs, n, i, &m);
	fs_req_end(fs);
	/* The guest believes in it: a file that is gone reads as zeroes, and is looked for again
	 * with the next request for it. One that is there must not: its guest would take them for
	 * the file's, and lose what it stores. */
	if (r == -ESTALE || r == -ENOENT) {
		log_warn("virtio-fs: a mapped file is not there any more: %s", err_text(r));
		r = mem_shm_zero(d->mem, d->window, fs_map_place(i), FS_DAX_RANGE);
		n->flags |= FS_N_CUT;
	}
	if (r < 0) {
		log_warn("virtio-fs: a mapped file cannot be mapped again: %s", err_text(r));
		return r;
	}
	link_map(fs, i, n, &m);
	fs_dax_ticks(d, true);
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
