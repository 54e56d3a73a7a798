// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: the server's state in a saved VM, and its return in a new process.
 *
 * How it works: a node is saved by id, place and inode number, a handle by id, node and flags; a
 * regular file without a name by its content, mode, owner and times. All such together may have
 * FS_UNLINKED_SAVE bytes: a guest with more is not saved, since it would come back without them.
 * (One that still has a name which the guest did not look up since it lost the known one is not
 * saved: it is stale after loading.) Loading makes all nodes first, then their places, then walks
 * from the root and compares each with what is there: on the same file system the inode number must
 * be the same, on another one (the tree was copied or mounted anew) place and type decide. What is
 * not found answers ESTALE, which makes the guest look again; the VM goes on. What could not be
 * looked for, as with too few descriptors, fails the load: the file is there, and another try may
 * find it. Files without a name come back as O_TMPFILE in the root, or in memory where that cannot
 * be; one that cannot be made again is lost, which is logged. Locks are taken again;
 * those that somebody else took meanwhile are lost, which is logged. Requests that wait for one are
 * the queue's to bring back.
 *
 * The bytes read are as hostile as a guest's: indices, counts, names, types and chains are checked.
 */
/* #syscalls:fs pread64 pwrite64 memfd_create fchmod fchown utimensat flock */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/cleanup.h"
#include "util/io.h"
#include "util/log.h"

#define FS_TAG_STATE SAVE_TAG('F', 'S', 'R', 'V')
#define FS_VERSION   4

/* What one node takes but the content of a file without a name. */
#define FS_NODE_BYTES (51U + LIM_FS_NAME)

_Static_assert(LIM_FS_NODE_SUM / FS_NODE_ROOM * FS_NODE_BYTES + FS_UNLINKED_SAVE + LIM_VSOCK_BUF +
			(8U << 20) <=
		LIM_SAVE_STATE,
	"whatever one guest makes a server remember can be saved, with 8 MiB for all other state");

struct node_rec {
	uint32_t idx, gen, parent;
	uint64_t nlookup, dev, ino, stamp;
	uint16_t type;
	char name[LIM_FS_NAME + 1];
	/* content of a file without a name */
	bool has_data;
	uint32_t mode, uid, gid;
	struct timespec ts[2]; /* of access and of change */
	const uint8_t *data;
	size_t len;
};

/* The content of @n, whose attributes are @sx, straight into the saved state. */
static void save_bytes_of(int fd, const struct statx *sx, struct save_out *s)
{
	size_t n = sx->stx_size;
	uint8_t *p;
	int r = 0;

	save_u8(s, 1);
	save_u32(s, sx->stx_mode);
	save_u32(s, sx->stx_uid);
	save_u32(s, sx->stx_gid);
	save_u64(s, (uint64_t)sx->stx_atime.tv_sec);
	save_u32(s, sx->stx_atime.tv_nsec);
	save_u64(s, (uint64_t)sx->stx_mtime.tv_sec);
	save_u32(s, sx->stx_mtime.tv_nsec);
	p = save_blob_room(s, n);
	if (p && n) {
		memset(p, 0, n);
		r = io_pread(fd, p, n, 0);
	}
	/* -ENODATA: shorter than it was a moment ago, somebody on the host holds it too. */
	if (r < 0 && r != -ENODATA)
		save_fail(s, r, "a file that was removed while open cannot be read");
}

/*
 * The content of @n if it is a file without a name; the save fails when it cannot be had. *budget
 * is what may still be saved.
 */
static void save_content(struct fs *fs, struct fs_node *n, struct save_out *s, size_t *budget)
{
	struct statx sx;
	int nfd = n->type == S_IFREG && !n->parent ? fs_node_fd(fs, n) : -ESTALE;
	CLEAN_FD int fd = nfd >= 0 ? fs_reopen(fs, nfd, O_RDONLY) : -1;
	int r = nfd < 0 ? nfd : fd < 0 ? fd : fs_stat_fd(fd, &sx);

	fs_req_end(fs);
	/* Stale already, or no file. With a name left that we do not know a copy would part from it
	 * unseen: better ESTALE. */
	if (r == -ESTALE || (!r && sx.stx_nlink)) {
		save_u8(s, 0);
	} else if (r < 0) {
		save_fail(s, r, "a file that was removed while open cannot be read");
	} else if (sx.stx_size > *budget) {
		save_fail(s, -E2BIG, "files that were removed while open hold too many bytes");
	} else {
		*budget -= sx.stx_size;
		save_bytes_of(fd, &sx, s);
	}
}

static bool saved_node(const struct fs_node *n)
{
	return (n->flags & FS_N_USED) && !(n->flags & FS_N_VIRT) && n->idx != FS_ROOT;
}

static void save_nodes(struct fs *fs, struct save_out *s)
{
	size_t budget = FS_UNLINKED_SAVE;
	uint32_t count = 0, gen = 0;

	for (uint32_t i = 1; i < fs->nodes.next; i++) {
		gen = MAX(gen, fs_node_at(fs, i)->gen);
		count += saved_node(fs_node_at(fs, i));
	}
	save_u32(s, gen + 1);
	save_u32(s, count);
	for (uint32_t i = 1; i < fs->nodes.next; i++) {
		struct fs_node *n = fs_node_at(fs, i);

		if (!saved_node(n))
			continue;
		save_u32(s, n->idx);
		save_u32(s, n->gen);
		save_u32(s, n->parent);
		save_u64(s, n->nlookup);
		save_u64(s, n->dev);
		save_u64(s, n->ino);
		save_u64(s, n->stamp);
		save_u16(s, n->type);
		save_blob(s, n->name ? n->name : "", n->name ? strlen(n->name) : 0);
		save_content(fs, n, s, &budget);
	}
}

static void save_handles(struct fs *fs, struct save_out *s)
{
	uint32_t gen = 0;

	for (uint32_t i = 1; i < fs->hands.next; i++)
		gen = MAX(gen, fs_handle_at(fs, i)->gen);
	save_u32(s, gen + 1);
	save_u32(s, fs->hands.used);
	for (uint32_t i = 1; i < fs->hands.next; i++) {
		struct fs_handle *h = fs_handle_at(fs, i);

		if (h->kind == FS_H_FREE)
			continue;
		save_u32(s, h->idx);
		save_u32(s, h->gen);
		save_u32(s, h->node);
		save_u8(s, h->kind);
		save_u32(s, (uint32_t)h->flags);
		save_u8(s, h->wrote);
		save_u8(s, h->flock);
	}
}

void fs_save(struct fs *fs, struct save_out *s)
{
	size_t at = save_begin(s, FS_TAG_STATE, FS_VERSION);

	save_u8(s, fs->inited);
	save_u32(s, fs->minor);
	save_u64(s, fs->flags);
	save_u64(s, fs_node_at(fs, FS_ROOT)->nlookup);
	fs_virt_save(fs, s);
	save_nodes(fs, s);
	save_handles(fs, s);
	fs_locks_save(fs, s);
	fs_dax_save(fs, s);
	save_end(s, at);
}

/* That a file is not there any more, or is not to be had, is the host's answer; any other error is
 * about us. */
static bool gone(int r)
{
	switch (r) {
	case -ENOENT:
	case -ENOTDIR:
	case -ELOOP:
	case -ENAMETOOLONG:
	case -ESTALE:
	case -EACCES:
	case -EPERM:
	case -EROFS:
	case -ETXTBSY:
	case -EAGAIN:
		return true;
	default:
		return false;
	}
}

static bool good_type(uint16_t type)
{
	return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO ||
		type == S_IFSOCK || type == S_IFCHR || type == S_IFBLK;
}

static int read_node(struct save_in *s, struct node_rec *n)
{
	const uint8_t *name;
	size_t len;

	n->idx = load_u32(s);
	n->gen = load_u32(s);
	n->parent = load_u32(s);
	n->nlookup = load_u64(s);
	n->dev = load_u64(s);
	n->ino = load_u64(s);
	n->stamp = load_u64(s);
	n->type = load_u16(s);
	name = load_blob(s, LIM_FS_NAME, &len);
	n->has_data = load_u8(s);
	if (n->has_data) {
		n->mode = load_u32(s);
		n->uid = load_u32(s);
		n->gid = load_u32(s);
		for (unsigned i = 0; i < 2; i++) {
			n->ts[i].tv_sec = (time_t)load_u64(s);
			n->ts[i].tv_nsec = load_u32(s);
			if (n->ts[i].tv_nsec >= 1000000000)
				return -EINVAL;
		}
		n->data = load_blob(s, FS_UNLINKED_SAVE, &n->len);
	}
	if (s->err)
		return s->err;
	if (!good_type(n->type) || (n->parent && fs_name_ok((const char *)name, len) < 0))
		return -EINVAL;
	memcpy(n->name, name, len);
	n->name[len] = 0;
	return 0;
}

/* A file without a name again: an fd open for reading and writing. */
static int make_unlinked(struct fs *fs, const struct node_rec *n)
{
	int root = fs_node_at(fs, FS_ROOT)->fd, tmp, r;

	tmp = fs->readonly ? -EROFS : fs_openat(fs, root, ".", O_TMPFILE | O_RDWR, 0600);

	CLEAN_FD int fd = tmp >= 0 ? tmp : memfd_create("unlinked", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	r = io_pwrite(fd, n->data, n->len, 0);
	if (r < 0)
		return r;
	/* Owner first: it clears set-id bits. A rootless server may not be able to, and the file is
	 * ours then. The mode needs a right that a write of this thread may have left off. */
	fs_cred_fsetid(true);
	if (fchown(fd, n->uid, n->gid) < 0 && errno != EPERM && errno != EINVAL)
		return -errno;
	if (fchmod(fd, n->mode & 07777) < 0 || futimens(fd, n->ts) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int place_node(struct fs *fs, const struct node_rec *rec)
{
	struct fs_node *n = fs_node_at(fs, rec->idx), *p = fs_node_at(fs, rec->parent);
	struct statx sx;
	int fd, r;

	if (rec->parent) {
		if (!p || (p->flags & (FS_N_USED | FS_N_VIRT)) != FS_N_USED || p->type != S_IFDIR ||
			p == n || fs_is_virt(fs, p, rec->name))
			return -EINVAL;
		return fs_node_place(fs, n, p, rec->name);
	}
	if (!rec->has_data || rec->type != S_IFREG)
		return 0;
	fd = make_unlinked(fs, rec);
	r = fd < 0 ? fd : fs_stat_fd(fd, &sx);
	if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
		return r;
	/* A full disk must not keep the VM from coming back; the file is lost to it. */
	if (r < 0) {
		if (fd >= 0)
			(void)close(fd);
		log_guest("virtio-fs: a file that was removed while open is lost: %s", err_text(r));
		return 0;
	}
	fs_node_identify(fs, n, &sx);
	/* Held over the limit until its handles have been opened. */
	n->busy++;
	fs_fd_keep(fs, n, fd);
	fs_fd_pin(fs, n);
	return 0;
}

/* Gives @n, whose parent is known to be right, the identity of what is at its place: 1; 0: that is
 * nothing, or something else. */
static int confirm(struct fs *fs, struct fs_node *n)
{
	struct fs_node *p = fs_node_at(fs, n->parent);
	struct statx sx;
	int fd = fs_dir_fd(fs, p), r = fd < 0 ? fd : fs_stat_at(fd, n->name, &sx);
	bool same_dev;

	if (r < 0)
		return gone(r) ? 0 : r;
	if ((sx.stx_mode & S_IFMT) != n->type)
		return 0;
	same_dev = ((uint64_t)sx.stx_dev_major << 32 | sx.stx_dev_minor) == n->dev;
	if (same_dev && sx.stx_ino != n->ino)
		return 0;
	fs_node_identify(fs, n, &sx);
	return 1;
}

/* Confirms @n and, before it, those above it. @chain: FS_DEPTH indices of scratch, since opening a
 * parent needs fs->chain. */
static int confirm_chain(struct fs *fs, struct fs_node *n, uint32_t *chain)
{
	unsigned depth = 0;
	int r = 0;

	for (; n && !(n->flags & FS_N_HASHED) && n->parent && depth < FS_DEPTH;
		n = fs_node_at(fs, n->parent))
		chain[depth++] = n->idx;
	while (depth) {
		n = fs_node_at(fs, chain[--depth]);
		r = fs_node_at(fs, n->parent)->flags & FS_N_HASHED ? confirm(fs, n) : 0;
		fs_req_end(fs);
		if (!r)
			fs_node_detach(fs, n);
		if (r <= 0)
			break;
	}
	return MIN(r, 0);
}

/* Two passes over the records: what they are, then where. Every node is held meanwhile. */
static int load_nodes(struct fs *fs, struct save_in *s, uint32_t *gen)
{
	CLEAN_FREE struct node_rec *rec = calloc(1, sizeof(*rec));
	CLEAN_FREE uint32_t *chain = calloc(FS_DEPTH, sizeof(*chain));
	struct save_in again;
	struct fs_node *n;
	uint32_t count;
	int r;

	if (!rec || !chain)
		return -ENOMEM;
	*gen = load_u32(s);
	count = load_u32(s);
	again = *s;
	if (s->err || count > fs->lim.nodes ||
		(count && (fs_node_at(fs, FS_ROOT)->flags & FS_N_VIRT)))
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		r = read_node(s, rec);
		if (!r)
			r = fs_node_alloc_at(fs, rec->idx, rec->gen, &n);
		if (r < 0)
			return r;
		n->nlookup = rec->nlookup < UINT64_MAX / 2 ? rec->nlookup + 1 : UINT64_MAX / 2;
		n->type = rec->type;
		n->dev = rec->dev;
		n->ino = rec->ino;
		n->stamp = rec->stamp;
	}
	for (uint32_t i = 0; i < count; i++) {
		r = read_node(&again, rec);
		if (!r)
			r = place_node(fs, rec);
		if (r < 0)
			return r;
	}
	r = 0;
	for (uint32_t i = 1; !r && i < fs->nodes.next; i++)
		if (saved_node(fs_node_at(fs, i)))
			r = confirm_chain(fs, fs_node_at(fs, i), chain);
	return r;
}

static int load_handle(struct fs *fs, struct save_in *s)
{
	uint32_t idx = load_u32(s), gen = load_u32(s), node = load_u32(s);
	uint8_t kind = load_u8(s);
	int flags = (int)load_u32(s);
	bool wrote = load_u8(s);
	uint8_t lock = load_u8(s);
	bool direct = false, virt;
	struct fs_node *n = fs_node_at(fs, node);
	struct fs_handle *h;
	int fd = -1, r;

	if (s->err || !n || !(n->flags & FS_N_USED))
		return -EINVAL;
	virt = n->flags & FS_N_VIRT;
	if (kind != FS_H_DIR && kind != FS_H_FILE && kind != FS_H_VIRT)
		return -EINVAL;
	if (lock > F_UNLCK || (lock != F_UNLCK && kind != FS_H_FILE))
		return -EINVAL;
	if ((kind == FS_H_VIRT) != (virt && n->type == S_IFREG) ||
		(kind == FS_H_DIR && n->type != S_IFDIR) ||
		(kind == FS_H_FILE && n->type != S_IFREG))
		return -EINVAL;
	flags &= O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC | O_NOATIME;
	if ((flags & O_ACCMODE) == O_ACCMODE || (fs->readonly && (flags & O_ACCMODE) != O_RDONLY))
		return -EINVAL;
	r = fs_handle_new_at(fs, idx, gen, &h);
	if (r < 0)
		return r;
	if (!virt)
		fd = fs_node_fd(fs, n);
	if (fd >= 0 && kind == FS_H_DIR)
		fd = fs_openat(fs, fd, ".", O_RDONLY | O_DIRECTORY, 0);
	else if (fd >= 0)
		fd = fs_reopen(fs, fd, flags);
	r = fd >= 0 ? fs_pseudo_opened(fs, n, fd, &direct) : 0;
	if (r < 0) {
		(void)close(fd);
		fd = r;
	}
	fs_req_end(fs);
	if (fd < 0 && !virt && !gone(fd))
		return fd;
	h->kind = kind;
	h->fd = fd < 0 ? -1 : fd;
	h->flags = flags;
	h->append = flags & O_APPEND;
	h->wrote = wrote;
	h->direct = direct;
	fs_handle_link(fs, h, n);
	/* Somebody else may have it by now. */
	if (h->fd >= 0 && lock != F_UNLCK) {
		if (!flock(h->fd, (lock == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB))
			h->flock = lock;
		else
			log_warn("virtio-fs: a lock could not be taken again");
	}
	return 0;
}

static int load_state(struct fs *fs, struct save_in *s)
{
	uint32_t ngen = 0, hgen, count;
	uint64_t root_lookups;
	uint8_t inited;
	int r;

	inited = load_u8(s);
	fs->minor = load_u32(s);
	fs->flags = load_u64(s);
	if (fs->minor > FS_MINOR)
		return -EINVAL;
	root_lookups = load_u64(s);
	r = fs_virt_load(fs, s);
	if (!r)
		r = load_nodes(fs, s, &ngen);
	if (r < 0)
		return r;
	hgen = load_u32(s);
	count = load_u32(s);
	if (s->err || count > fs->lim.handles)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		r = load_handle(fs, s);
		if (r < 0)
			return r;
	}
	r = fs_locks_load(fs, s);
	if (!r)
		r = fs_dax_load(fs, s);
	if (r < 0)
		return r;
	for (uint32_t i = 1; i < fs->nodes.next; i++) {
		struct fs_node *n = fs_node_at(fs, i);

		if (!saved_node(n))
			continue;
		n->busy = 0;
		if ((n->flags & FS_N_PINNED) && (n->handles || fs->pinned > fs->lim.open_nodes / 2))
			fs_fd_lose(fs, n);
		fs_node_forget(fs, n, 1);
	}
	fs_nodes_relist(fs, ngen);
	fs_handles_relist(fs, hgen);
	fs_node_at(fs, FS_ROOT)->nlookup = MAX(root_lookups, 1U);
	fs->inited = inited;
	return load_done(s);
}

int fs_load(struct fs *fs, struct save_in *s)
{
	struct save_in sub;
	int r;

	if (!load_section(s, FS_TAG_STATE, FS_VERSION, &sub))
		return s->err ? s->err : -EINVAL;
	r = load_state(fs, &sub);
	/* A partly loaded server is none; the first section's reader decides about the VM. */
	if (r < 0)
		fs_server_reset(fs);
	return r;
}
