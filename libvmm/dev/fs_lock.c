// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: locks on files, as they are held on the host. */
/*
 * How it works
 *
 * flock() is a lock of the open file, and every open file of the guest is one here: it is flock(2)
 * on the handle's fd. A POSIX lock belongs to an owner (a process of the guest, as a number), who
 * may use several handles and share one with others; on the host it is a lock of an open file
 * description (F_OFD_SETLK), of which each set of locks has its own. So both kinds are felt by
 * other containers and by processes of the host, and mean the same to them.
 *
 * What each owner holds is also written down: conflicts inside the guest are found without a system
 * call and with the process that is in the way, and a saved server can take its locks again. The
 * host's answer comes first, and the room for writing it down before that.
 *
 * System calls: a lock or unlock 1; none when somebody in the guest is in the way; 1 more when an
 * owner has to open the file for itself, because another uses the handle.
 */
/* #syscalls:fs fcntl:F_OFD_SETLK fcntl:F_OFD_GETLK flock openat close */
#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/log.h"

struct fs_lockset *fs_lockset_at(const struct fs *fs, uint32_t idx)
{
	return fs_table_at(&fs->locksets, idx, sizeof(struct fs_lockset));
}

struct fs_range *fs_range_at(const struct fs *fs, uint32_t idx)
{
	return fs_table_at(&fs->ranges, idx, sizeof(struct fs_range));
}

static int host_lock(int fd, uint8_t type, uint64_t start, uint64_t end)
{
	struct flock l = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)start,
		.l_len = end == INT64_MAX ? 0 : (off_t)(end - start + 1),
	};

	if (!fcntl(fd, F_OFD_SETLK, &l))
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

static struct fs_lockset *set_find(const struct fs *fs, const struct fs_node *n, uint64_t owner)
{
	struct fs_lockset *s = fs_lockset_at(fs, n->locks);

	while (s && s->owner != owner)
		s = fs_lockset_at(fs, s->next);
	return s;
}

struct fs_lockset *fs_lock_conflict(const struct fs *fs, const struct fs_node *n,
	const struct fs_lk *lk, struct fs_range **range)
{
	struct fs_lockset *s = fs_lockset_at(fs, n->locks);

	for (; s; s = fs_lockset_at(fs, s->next)) {
		struct fs_range *r = s->owner == lk->owner ? NULL : fs_range_at(fs, s->ranges);

		for (; r && r->start <= lk->end; r = fs_range_at(fs, r->next)) {
			if (r->end < lk->start || (lk->type == F_RDLCK && r->type == F_RDLCK))
				continue;
			if (range)
				*range = r;
			return s;
		}
	}
	return NULL;
}

/* Takes [start, end] out of the ranges of @s; returns the link at which a range of it belongs. */
static uint32_t *cut(
	struct fs *fs, struct fs_lockset *s, uint64_t start, uint64_t end, struct fs_range **spare)
{
	uint32_t *at = &s->ranges;
	struct fs_range *r, *tail;

	while ((r = fs_range_at(fs, *at)) && r->start <= end) {
		if (r->start >= start && r->end <= end) {
			*at = r->next;
			fs_pool_put(&fs->ranges, r);
			continue;
		}
		if (r->start >= start) {
			r->start = end + 1;
			break;
		}
		at = &r->next;
		if (r->end > end) {
			tail = *spare;
			*spare = NULL;
			tail->start = end + 1;
			tail->end = r->end;
			tail->type = r->type;
			tail->next = r->next;
			r->next = tail->idx;
		}
		if (r->end >= start)
			r->end = start - 1;
	}
	return at;
}

static void join(struct fs *fs, struct fs_lockset *s)
{
	struct fs_range *r = fs_range_at(fs, s->ranges), *next;

	while (r && (next = fs_range_at(fs, r->next))) {
		if (next->type == r->type && next->start == r->end + 1) {
			r->end = next->end;
			r->next = next->next;
			fs_pool_put(&fs->ranges, next);
		} else {
			r = next;
		}
	}
}

/* Writes down that [start, end] is now @type; @spare: two records, of which the rest goes back. */
static void set_ranges(struct fs *fs, struct fs_lockset *s, uint8_t type, uint64_t start,
	uint64_t end, struct fs_range *spare[2])
{
	uint32_t *at = cut(fs, s, start, end, &spare[0]);
	struct fs_range *r;

	if (type != F_UNLCK) {
		r = spare[1];
		spare[1] = NULL;
		r->start = start;
		r->end = end;
		r->type = type;
		r->next = *at;
		*at = r->idx;
		join(fs, s);
	}
}

static void put_spares(struct fs *fs, struct fs_range *spare[2])
{
	for (unsigned i = 0; i < 2; i++)
		if (spare[i])
			fs_pool_put(&fs->ranges, spare[i]);
}

/* Gives @s the open file of @h, or one of its own when that has an owner or is not of @mode. */
static int set_open(struct fs *fs, struct fs_lockset *s, struct fs_handle *h, int mode)
{
	int fd = h->fd;

	if (h->lockset || mode != (h->flags & O_ACCMODE)) {
		fd = fs_reopen(fs, h->fd, mode);
		if (fd < 0)
			return fd == -EMFILE || fd == -ENFILE ? fd : -ENOLCK;
	} else {
		h->lockset = s->idx;
	}
	s->own_fd = fd != h->fd;
	s->fd = fd;
	s->handle = h->idx;
	s->mode = (uint8_t)mode;
	return 0;
}

/* Lets go of the open file that @s has; what it holds goes with it. */
static void set_close(struct fs *fs, const struct fs_lockset *s)
{
	if (s->own_fd) {
		(void)close(s->fd);
		return;
	}
	/* The handle may live on, its fd even longer. */
	(void)host_lock(s->fd, F_UNLCK, 0, INT64_MAX);
	fs_handle_at(fs, s->handle)->lockset = 0;
}

static void set_free(struct fs *fs, struct fs_lockset *s)
{
	uint32_t *at = &fs_node_at(fs, s->node)->locks;
	struct fs_range *r;

	while (*at != s->idx)
		at = &fs_lockset_at(fs, *at)->next;
	*at = s->next;
	set_close(fs, s);
	while ((r = fs_range_at(fs, s->ranges))) {
		s->ranges = r->next;
		fs_pool_put(&fs->ranges, r);
	}
	fs_pool_put(&fs->locksets, s);
}

static struct fs_lockset *set_new(struct fs *fs, struct fs_node *n, uint64_t owner)
{
	struct fs_lockset *s = fs_pool_get(&fs->locksets, sizeof(*s));

	if (!s)
		return NULL;
	s->owner = owner;
	s->node = n->idx;
	s->next = n->locks;
	n->locks = s->idx;
	return s;
}

/*
 * @s was opened for reading, and now its owner locks for writing by @h: the set moves to an open
 * file that can do both. Its read locks suffer their double meanwhile. (The other way round, with
 * write locks held through an fd that cannot read, there is no way without a gap: -ENOLCK.)
 */
static int set_move(struct fs *fs, struct fs_lockset *s, struct fs_handle *h)
{
	struct fs_lockset was = *s;
	int r = set_open(fs, s, h, O_RDWR);

	for (struct fs_range *g = fs_range_at(fs, s->ranges); g && !r; g = fs_range_at(fs, g->next))
		r = host_lock(s->fd, g->type, g->start, g->end);
	if (!r) {
		set_close(fs, &was);
		return 0;
	}
	if (s->fd != was.fd)
		set_close(fs, s);
	s->fd = was.fd;
	s->own_fd = was.own_fd;
	s->handle = was.handle;
	s->mode = was.mode;
	return r == -EAGAIN ? -ENOLCK : r;
}

/* Whether an fd opened as @mode can hold a lock of @type. */
static bool can_hold(int mode, uint8_t type)
{
	return type == F_UNLCK || mode == O_RDWR || mode == (type == F_RDLCK ? O_RDONLY : O_WRONLY);
}

static int posix_try(struct fs *fs, struct fs_node *n, struct fs_handle *h, const struct fs_lk *lk,
	struct fs_range *spare[2])
{
	struct fs_lockset *s = set_find(fs, n, lk->owner);
	int r = 0;

	if (!s && lk->type == F_UNLCK)
		return 0;
	if (!s) {
		s = set_new(fs, n, lk->owner);
		if (!s)
			return -ENOLCK;
		r = set_open(fs, s, h, h->flags & O_ACCMODE);
		if (r < 0) {
			n->locks = s->next;
			fs_pool_put(&fs->locksets, s);
			return r;
		}
	}
	if (!can_hold(s->mode, lk->type))
		r = set_move(fs, s, h);
	if (!r)
		r = host_lock(s->fd, lk->type, lk->start, lk->end);
	if (!r) {
		set_ranges(fs, s, lk->type, lk->start, lk->end, spare);
		s->pid = lk->pid;
	}
	if (!s->ranges)
		set_free(fs, s);
	return r;
}

static int flock_try(const struct fs *fs, const struct fs_node *n, struct fs_handle *h,
	const struct fs_lk *lk, bool *inside)
{
	static const uint8_t op[] = {
		[F_RDLCK] = LOCK_SH, [F_WRLCK] = LOCK_EX, [F_UNLCK] = LOCK_UN
	};
	struct fs_handle *o;

	if (h->flock == lk->type)
		return 0;
	if (!flock(h->fd, op[lk->type] | LOCK_NB)) {
		h->flock = lk->type;
		return 0;
	}
	if (errno != EWOULDBLOCK)
		return -errno;
	/* What is to be changed is given up first, as flock(2) says. */
	h->flock = F_UNLCK;
	for (o = fs_handle_at(fs, n->handles); o && !*inside; o = fs_handle_at(fs, o->next))
		*inside = o != h && o->flock != F_UNLCK &&
			(o->flock == F_WRLCK || lk->type == F_WRLCK);
	return -EAGAIN;
}

/* As fs_lock_try() of a POSIX lock that no other owner of this guest is in the way of; @h may be of
 * another mode than the lock, as when it had been given another open file. */
static int try_posix(struct fs *fs, struct fs_node *n, struct fs_handle *h, const struct fs_lk *lk)
{
	struct fs_range *spare[2] = { fs_pool_get(&fs->ranges, sizeof(**spare)),
		fs_pool_get(&fs->ranges, sizeof(**spare)) };
	int r = -ENOLCK;

	/* Giving all up must be possible to the last. */
	if (spare[0] && spare[1])
		r = posix_try(fs, n, h, lk, spare);
	put_spares(fs, spare);
	if (r == -ENOLCK && lk->type == F_UNLCK && !lk->start && lk->end == INT64_MAX) {
		(void)fs_lock_drop_owner(fs, n, lk->owner);
		r = 0;
	}
	return r;
}

int fs_lock_try(struct fs *fs, struct fs_node *n, struct fs_handle *h, const struct fs_lk *lk,
	bool *inside, uint64_t *blocker)
{
	struct fs_lockset *s;

	*inside = false;
	if (lk->flock)
		return flock_try(fs, n, h, lk, inside);
	if (!can_hold(h->flags & O_ACCMODE, lk->type))
		return -EBADF;
	s = lk->type == F_UNLCK ? NULL : fs_lock_conflict(fs, n, lk, NULL);
	if (s) {
		*inside = true;
		*blocker = s->owner;
		return -EAGAIN;
	}
	return try_posix(fs, n, h, lk);
}

int fs_op_getlk(struct fs *fs, struct fs_req *q)
{
	const struct fuse_lk_in *in = &q->a.lk;
	struct fs_handle *h = fs_handle_get(fs, q->n, in->fh);
	struct fs_lk lk = { .owner = in->owner, .start = in->lk.start, .end = in->lk.end };
	struct fuse_lk_out o = { .lk = { .type = F_UNLCK } };
	struct flock l = { .l_whence = SEEK_SET };
	struct fs_lockset *s;
	struct fs_range *r = NULL;

	if (h && h->kind == FS_H_VIRT)
		return -ENOLCK;
	if (!h || h->fd < 0 || h->kind != FS_H_FILE)
		return -EBADF;
	if (lk.start > lk.end || lk.end > INT64_MAX || in->lk.type > F_WRLCK)
		return -EINVAL;
	lk.type = (uint8_t)in->lk.type;
	s = fs_lock_conflict(fs, q->n, &lk, &r);
	if (s) {
		o.lk = (struct fuse_file_lock){
			.start = r->start, .end = r->end, .type = r->type, .pid = s->pid
		};
		return iobuf_push(&q->wr, &o, sizeof(o));
	}
	s = set_find(fs, q->n, lk.owner);
	l.l_type = lk.type;
	l.l_start = (off_t)lk.start;
	l.l_len = lk.end == INT64_MAX ? 0 : (off_t)(lk.end - lk.start + 1);
	if (fcntl(s ? s->fd : h->fd, F_OFD_GETLK, &l) < 0)
		return -errno;
	/* Who it is means nothing in the guest. */
	if (l.l_type != F_UNLCK)
		o.lk = (struct fuse_file_lock){
			.start = (uint64_t)l.l_start,
			.end = l.l_len ? (uint64_t)(l.l_start + l.l_len - 1) : INT64_MAX,
			.type = (uint32_t)l.l_type,
		};
	return iobuf_push(&q->wr, &o, sizeof(o));
}

bool fs_lock_drop_owner(struct fs *fs, struct fs_node *n, uint64_t owner)
{
	struct fs_lockset *s = set_find(fs, n, owner);

	if (s)
		set_free(fs, s);
	return s;
}

void fs_lock_close(struct fs *fs, struct fs_handle *h)
{
	struct fs_node *n = fs_node_at(fs, h->node);
	struct fs_lockset *s = fs_lockset_at(fs, n->locks), *next;
	bool any = h->flock != F_UNLCK;

	for (; s; s = next) {
		next = fs_lockset_at(fs, s->next);
		if (s->handle != h->idx)
			continue;
		set_free(fs, s);
		any = true;
	}
	/* Said, since the fd may become the node's. */
	if (h->flock != F_UNLCK)
		(void)flock(h->fd, LOCK_UN);
	h->flock = F_UNLCK;
	fs_wait_cancel(fs, h, -EBADF);
	if (any)
		fs_wait_wake(fs, n);
}

void fs_locks_clear(struct fs *fs)
{
	for (uint32_t i = 1; i < fs->nodes.next; i++) {
		struct fs_node *n = fs_node_at(fs, i);

		while (n->locks)
			set_free(fs, fs_lockset_at(fs, n->locks));
	}
	fs_table_free(&fs->locksets);
	fs_table_free(&fs->ranges);
}

void fs_locks_save(struct fs *fs, struct save_out *s)
{
	save_u32(s, fs->locksets.used);
	for (uint32_t i = 1; i < fs->nodes.next; i++) {
		struct fs_lockset *l = fs_lockset_at(fs, fs_node_at(fs, i)->locks);
		uint32_t n = 0;

		for (; l; l = fs_lockset_at(fs, l->next)) {
			save_u32(s, l->handle);
			save_u32(s, l->pid);
			save_u64(s, l->owner);
			for (struct fs_range *r = fs_range_at(fs, l->ranges); r;
				r = fs_range_at(fs, r->next))
				n++;
			save_u32(s, n);
			for (struct fs_range *r = fs_range_at(fs, l->ranges); r;
				r = fs_range_at(fs, r->next)) {
				save_u64(s, r->start);
				save_u64(s, r->end);
				save_u8(s, r->type);
			}
			n = 0;
		}
	}
}

/* One owner's locks, taken again. What others have taken meanwhile is lost, and told. */
static int load_set(struct fs *fs, struct save_in *s)
{
	struct fs_handle *h = fs_handle_at(fs, load_u32(s));
	struct fs_lk lk = { .pid = load_u32(s) };
	uint32_t count, lost = 0;
	int r;

	lk.owner = load_u64(s);
	count = load_u32(s);
	if (s->err || !h || h->kind != FS_H_FILE || count > LIM_FS_LOCKS)
		return -EINVAL;
	for (; count; count--) {
		lk.start = load_u64(s);
		lk.end = load_u64(s);
		lk.type = load_u8(s);
		if (s->err || lk.start > lk.end || lk.end > INT64_MAX || lk.type > F_WRLCK)
			return -EINVAL;
		r = h->fd < 0 ? -ESTALE : try_posix(fs, fs_node_at(fs, h->node), h, &lk);
		if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
			return r;
		lost += r < 0;
	}
	if (lost)
		log_warn("virtio-fs: %u locks could not be taken again", lost);
	return 0;
}

int fs_locks_load(struct fs *fs, struct save_in *s)
{
	uint32_t count = load_u32(s);
	int r = 0;

	if (s->err || count > LIM_FS_LOCK_OWNERS)
		return -EINVAL;
	for (; count && !r; count--)
		r = load_set(fs, s);
	return r;
}
