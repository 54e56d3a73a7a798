// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: what becomes of a mapping in the DAX window when its file changes. */
/*
 * How it works
 *
 * Shorter. Who shortens a file takes pages from under the guest. The hypervisor may say so, without
 * telling which (fs_dax_mend()). But Linux lets the processor wait for such a page as for one on a
 * disk, and try again for ever, without a word to us. So twice a second the sizes of open files
 * that are mapped are compared with what is shown of them: what lies behind a file's end gets zero
 * pages, also where the guest knows the end; so nothing need be remembered of what it was told.
 *
 * Longer. Zero pages where the file has pages again would hide them. The guest touches them once it
 * has been told of the new size, so before each answer that may tell of it, on whichever thread the
 * work was done, the file is mapped there again (fs_dax_told(), fs_dax_done()). Only this loop puts
 * zero pages anywhere, and only behind the end that the file has at that moment; so none can come
 * between. Where the file is still shorter they stay.
 *
 * Another. What overlayfs maps for reading stays the lower file when the upper one is made. Such
 * ranges are mapped anew when the guest opens the file to write or truncates it, and when the file
 * is found changed, which is looked for at each open and twice a second.
 *
 * Holes. A store has no errno, so what is mapped to be written to has its place on the disk: holes
 * are filled when it is mapped; before the guest makes the file longer over one; after it punched
 * one; and twice a second where somebody else may have made one. A copy to or from such a file is
 * one of bytes, since blocks that are shared get a new place when they are written to.
 *
 * Times. Writes through the window set them when the host sees those, at the first to a page since
 * it was mapped, synced, or closed by a writer (fs_dax_settle()).
 */
/* #syscalls:fs lseek fallocate statx read close */
#include <errno.h>
#include <unistd.h>

#include "dev/fs_dax.h"
#include "util/log.h"

/* Of what @m may show, the pages that a file of @size bytes has. */
static uint32_t pages_of(const struct fs_map *m, uint64_t size)
{
	uint64_t n = size > m->off ? (size - m->off + 4095) / 4096 : 0;

	return (uint32_t)MIN(n, (uint64_t)FS_DAX_PAGES);
}

static struct fs_handle *open_handle(const struct fs *fs, const struct fs_node *n, bool write)
{
	struct fs_handle *h = fs_handle_at(fs, n->handles);

	while (h &&
		(h->kind != FS_H_FILE || h->fd < 0 ||
			(write && (h->flags & O_ACCMODE) == O_RDONLY)))
		h = fs_handle_at(fs, h->next);
	return h;
}

static int stat_node(struct fs *fs, struct fs_node *n, struct statx *sx)
{
	const struct fs_handle *h = open_handle(fs, n, false);

	return h ? fs_stat_fd(h->fd, sx) : fs_node_stat(fs, n, sx);
}

/* Puts zero pages where @n, whose size is @size, has none of its own. Returns in how many ranges.
 */
static unsigned cut(struct fs *fs, struct fs_node *n, uint64_t size)
{
	struct fs_dax *d = fs->dax;
	unsigned sum = 0;

	for (uint32_t i = n->maps; i; i = fs_map_at(fs, i)->next) {
		struct fs_map *m = fs_map_at(fs, i);
		uint64_t have = pages_of(m, size), at = fs_map_place(i) + have * 4096;

		if (m->shown <= have ||
			mem_shm_zero(d->mem, d->window, at, (FS_DAX_PAGES - have) * 4096) < 0)
			continue;
		m->shown = (uint16_t)have;
		n->flags |= FS_N_CUT;
		sum++;
	}
	d->mends += sum;
	return sum;
}

/* Maps @n anew where zero pages hide what a file of @size bytes has. */
static void heal(struct fs *fs, struct fs_node *n, uint64_t size)
{
	bool left = false;

	for (uint32_t i = n->maps; i; i = fs_map_at(fs, i)->next) {
		struct fs_map *m = fs_map_at(fs, i);

		if (m->shown < pages_of(m, size) && fs_dax_map(fs, n, i, m) < 0)
			log_guest("virtio-fs: a mapped file that became longer cannot be opened");
		left |= m->shown < FS_DAX_PAGES;
	}
	if (!left)
		n->flags &= (uint8_t)~FS_N_CUT;
}

void fs_dax_told(struct fs *fs, struct fs_req *q, struct fs_node *n, const struct statx *sx)
{
	if (n->flags & FS_N_CUT)
		heal(fs, n, sx->stx_size);
	q->told |= n == q->n;
}

static void look_and_heal(struct fs *fs, struct fs_node *n)
{
	struct statx sx;

	if ((n->flags & FS_N_CUT) && !stat_node(fs, n, &sx))
		heal(fs, n, sx.stx_size);
}

void fs_dax_done(struct fs *fs, const struct fs_xfer *x, struct fs_node *n)
{
	if (n)
		look_and_heal(fs, n);
	for (unsigned i = 0; i < ARRAY_SIZE(x->hand); i++) {
		const struct fs_handle *h = fs_handle_at(fs, x->hand[i]);
		const struct fs_node *last = n;

		n = h ? fs_node_at(fs, h->node) : n;
		if (n != last)
			look_and_heal(fs, n);
	}
}

/*
 * Maps anew what overlayfs may have mapped of a lower file: all of it when the guest is about to
 * write to the @upper one, which then it is, else where the file is not as it was. What cannot be
 * mapped stays as it is, and is tried again.
 */
static void map_anew(struct fs *fs, struct fs_node *n, uint64_t stamp, bool upper)
{
	int r = 0, fd = -1;

	for (uint32_t i = n->maps; i && r >= 0; i = fs_map_at(fs, i)->next) {
		struct fs_map *m = fs_map_at(fs, i);

		if (!m->lower || (!upper && m->stamp == stamp))
			continue;
		if (fd < 0)
			r = fd = fs_dax_open(fs, n, false);
		if (fd >= 0)
			r = fs_dax_map_by(fs, fd, i, m);
		if (r >= 0 && upper)
			m->lower = false;
	}
	if (r < 0)
		log_guest("virtio-fs: a mapped file cannot be opened any more: %s", err_text(r));
	if (fd >= 0)
		(void)close(fd);
}

void fs_dax_opened(struct fs *fs, struct fs_node *n, bool write)
{
	struct statx sx;

	if (!stat_node(fs, n, &sx))
		map_anew(fs, n, fs_stamp(&sx), write);
	fs_dax_ticks(fs->dax, true);
}

/* A file that the guest has not open it cannot touch, whatever is mapped of it. */
void fs_dax_tick(struct fs *fs)
{
	struct fs_dax *d = fs->dax;
	bool any = false;
	uint64_t times;

	(void)!read(d->timer_fd, &times, sizeof(times));
	for (uint32_t i = 1; i <= d->n; i++) {
		const struct fs_map *first = fs_map_at(fs, i);
		struct fs_node *n = first->prev ? NULL : fs_node_at(fs, first->node);
		const struct fs_handle *h = n ? open_handle(fs, n, false) : NULL;
		struct statx sx;

		any |= h != NULL;
		if (!h || fs_stat_fd(h->fd, &sx) < 0)
			continue;
		map_anew(fs, n, fs_stamp(&sx), false);
		(void)cut(fs, n, sx.stx_size);
		h = sx.stx_blocks < sx.stx_size / 512 ? open_handle(fs, n, true) : NULL;
		for (uint32_t k = h ? n->maps : 0; k; k = fs_map_at(fs, k)->next)
			if (fs_map_at(fs, k)->write && fs_dax_fill(h->fd, fs_map_at(fs, k)) < 0)
				log_guest("virtio-fs: a hole of a mapped file cannot be filled");
	}
	fs_req_end(fs);
	fs_dax_ticks(d, any);
}

unsigned fs_dax_mend(struct fs *fs)
{
	unsigned sum = 0;

	for (uint32_t i = 1; fs->dax && i <= fs->dax->n; i++) {
		const struct fs_map *first = fs_map_at(fs, i);
		struct fs_node *n = first->prev ? NULL : fs_node_at(fs, first->node);
		struct statx sx;

		if (n && !stat_node(fs, n, &sx))
			sum += cut(fs, n, sx.stx_size);
		fs_req_end(fs);
	}
	if (sum)
		log_guest(
			"virtio-fs: a mapped file became shorter: %u parts of 2 MiB end in zeroes",
			sum);
	return sum;
}

unsigned fs_dax_mends(const struct fs *fs)
{
	return fs->dax ? fs->dax->mends : 0;
}

void fs_dax_settle(struct fs *fs, struct fs_node *n)
{
	const struct fs_dax *d = fs->dax;

	for (uint32_t i = n->maps; i; i = fs_map_at(fs, i)->next) {
		const struct fs_map *m = fs_map_at(fs, i);

		if (m->write && m->shown)
			(void)mem_shm_settle(
				d->mem, d->window, fs_map_place(i), m->shown * 4096ULL);
	}
}

static int allocate(int fd, uint64_t from, uint64_t to)
{
	int r;

	/* on our behalf, not that of who writes */
	fs_cred_fsetid(true);
	do
		r = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from));
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

int fs_dax_fill(int fd, const struct fs_map *m)
{
	off_t size = lseek(fd, 0, SEEK_END), hole, end;

	if (size < 0)
		return -errno;
	end = (off_t)MIN((uint64_t)size, m->off + FS_DAX_RANGE);
	if ((off_t)m->off >= end)
		return 0;
	hole = lseek(fd, (off_t)m->off, SEEK_HOLE);
	/* it may have been cut meanwhile */
	if (hole < 0)
		return errno == ENXIO ? 0 : -errno;
	return hole < end ? allocate(fd, m->off, (uint64_t)end) : 0;
}

bool fs_dax_stores(const struct fs *fs, const struct fs_node *n)
{
	uint32_t i = n->maps;

	while (i && !fs_map_at(fs, i)->write)
		i = fs_map_at(fs, i)->next;
	return i;
}

/* What of [from, to) the guest can store to gets a place. */
static int allocate_mapped(struct fs *fs, struct fs_node *n, int fd, uint64_t from, uint64_t to)
{
	int r = 0;

	for (uint32_t i = n->maps; i && !r; i = fs_map_at(fs, i)->next) {
		const struct fs_map *m = fs_map_at(fs, i);
		uint64_t a = MAX(from, m->off), b = MIN(to, m->off + FS_DAX_RANGE);

		if (m->write && a < b)
			r = allocate(fd, a, b);
	}
	return r;
}

int fs_dax_grow(struct fs *fs, struct fs_node *n, int fd, uint64_t to)
{
	struct statx sx;
	int r;

	if (!fs_dax_stores(fs, n))
		return 0;
	r = fs_stat_fd(fd, &sx);
	if (r < 0 || to <= sx.stx_size)
		return r;
	return allocate_mapped(fs, n, fd, ALIGN_DOWN(sx.stx_size, 4096U), to);
}

int fs_dax_punched(struct fs *fs, struct fs_node *n, int fd, uint64_t off, uint64_t len)
{
	struct statx sx;
	int r;

	if (!fs_dax_stores(fs, n))
		return 0;
	r = fs_stat_fd(fd, &sx);
	return r < 0 ? r : allocate_mapped(fs, n, fd, off, MIN(off + len, sx.stx_size));
}
