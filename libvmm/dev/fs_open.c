// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: opening and closing files.
 *
 * How it works: only a regular file is ever opened for the guest, by re-opening the O_PATH fd of
 * its node, whose type has been seen; what else there is (devices, pipes, sockets) the guest's
 * kernel opens itself. Regular is what the host calls so, files of tracefs among them whose reads
 * wait: so it is opened with O_NONBLOCK, which means nothing to files on a disk. Creating uses
 * O_EXCL; a name that exists all the same is the guest's to look up and to open, with the checks
 * that it makes then. O_DIRECT stays in the guest. The guest keeps its pages
 * across open() as long as size and times are those of the last one.
 *
 * System calls: OPEN 2 (openat, statx; none of the latter without caching) and 2 when the node has
 * no fd; CREATE 2; RELEASE 1, after writing 2.
 */
/* #syscalls:fs openat statx dup close */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/cleanup.h"

/* The flags that reach the host, of those the guest gave. */
static int host_flags(const struct fs *fs, uint32_t guest, int *out)
{
	int f = (int)guest & (O_ACCMODE | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC | O_NOATIME);

	if ((f & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (fs->readonly) {
		if ((f & O_ACCMODE) != O_RDONLY || (f & O_TRUNC))
			return -EROFS;
		f |= O_NOATIME;
	}
	*out = f;
	return 0;
}

/* How the guest may cache what it opened as @fd. */
static uint32_t cache_flags(const struct fs *fs, struct fs_node *n, int fd)
{
	struct statx sx;
	uint64_t was = n->stamp;

	enum fs_cache cache = fs_cache_of(fs, n);

	if (cache == FS_CACHE_ALWAYS)
		return FS_FOPEN_KEEP_CACHE;
	if (cache == FS_CACHE_NONE || fs_stat_fd(fd, &sx) < 0)
		return 0;
	n->stamp = fs_stamp(&sx);
	return n->stamp == was ? FS_FOPEN_KEEP_CACHE : 0;
}

static int open_node(struct fs *fs, struct fs_node *n, uint32_t flags, uint32_t open_flags,
	struct fuse_open_out *o)
{
	struct fs_handle *h;
	int fd, f, r;
	bool direct;

	if (n->flags & FS_N_VIRT)
		return fs_virt_open(fs, n, flags, o);
	r = host_flags(fs, flags, &f);
	if (r < 0)
		return r;
	if (n->type != S_IFREG)
		return n->type == S_IFDIR ? -EISDIR : n->type == S_IFLNK ? -ELOOP : -ENXIO;
	if (!fs_handle_room(fs))
		return -ENFILE;
	fd = fs_node_fd(fs, n);
	if (fd < 0)
		return fd;
	if (f & O_TRUNC)
		fs_cred_fsetid(!(open_flags & FS_OPEN_KILL_SUIDGID));
	fd = fs_reopen(fs, fd, f);
	if (fd < 0)
		return fd;
	r = fs_pseudo_opened(fs, n, fd, &direct);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*o = (struct fuse_open_out){ .open_flags =
					     direct ? FS_FOPEN_DIRECT_IO : cache_flags(fs, n, fd) };
	r = fs_handle_new(fs, n, FS_H_FILE, fd, f & ~O_TRUNC, &h);
	if (r < 0)
		return r;
	h->direct = direct;
	if (n->maps)
		fs_dax_opened(fs, n, (f & (O_ACCMODE | O_TRUNC)) != O_RDONLY);
	o->fh = fs_handle_id(h);
	return 0;
}

int fs_op_open(struct fs *fs, struct fs_req *q)
{
	struct fuse_open_out o;
	int r = open_node(fs, q->n, q->a.open.flags, q->a.open.open_flags, &o);

	if (r < 0)
		return r;
	r = iobuf_push(&q->wr, &o, sizeof(o));
	if (r < 0)
		fs_handle_close(fs, fs_handle_get(fs, q->n, o.fh));
	return r;
}

/* Answers with node and handle; what the guest cannot be told of is undone. */
static int reply_create(struct fs *fs, struct fs_req *q, struct fs_node *n, const struct statx *sx,
	const struct fuse_open_out *o)
{
	struct fuse_entry_out e;
	int r;

	fs_dax_told(fs, q, n, sx);
	fs_fill_entry(fs, n, sx, &e);
	n->nlookup++;
	r = iobuf_push(&q->wr, &e, sizeof(e));
	if (!r)
		r = iobuf_push(&q->wr, o, sizeof(*o));
	if (r < 0) {
		fs_handle_close(fs, fs_handle_get(fs, n, o->fh));
		fs_node_forget(fs, n, 1);
	}
	return r;
}

/* @fd is a new file, named @name in @dir (NULL: it has none). */
static int created(struct fs *fs, struct fs_req *q, struct fs_node *dir, const char *name,
	int newfd, int flags)
{
	CLEAN_FD int fd = newfd;
	struct fuse_open_out o = { 0 };
	struct fs_handle *h;
	struct fs_node *n;
	struct statx sx;
	int r = fs_stat_fd(fd, &sx);

	if (!r)
		r = fs_node_attach(fs, dir, name, &sx, &n);
	if (r < 0)
		return r;
	n->stamp = fs_stamp(&sx);
	r = fs_handle_new(fs, n, FS_H_FILE, TAKE_FD(fd), flags, &h);
	if (r < 0) {
		fs_node_put(fs, n);
		return r;
	}
	o.fh = fs_handle_id(h);
	if (fs_cache_of(fs, n) != FS_CACHE_NONE)
		o.open_flags = FS_FOPEN_KEEP_CACHE;
	return reply_create(fs, q, n, &sx, &o);
}

int fs_op_create(struct fs *fs, struct fs_req *q)
{
	const struct fuse_create_in *in = &q->a.create;
	const char *name;
	int dfd, fd, flags = 0, r = fs_take_name(q, &name);

	if (!r)
		r = host_flags(fs, in->flags, &flags);
	if (r < 0)
		return r;
	if (q->nrest)
		return -EINVAL;
	if (fs_is_virt(fs, q->n, name))
		return -EEXIST;
	if (!fs_handle_room(fs) || !fs_node_room(fs))
		return -ENFILE;
	dfd = fs_dir_fd(fs, q->n);
	if (dfd < 0)
		return dfd;
	r = fs_cred_enter(fs, q->h.uid, q->h.gid, in->umask);
	if (r < 0)
		return r;
	flags &= ~O_TRUNC;
	fd = fs_openat(fs, dfd, name, flags | O_CREAT | O_EXCL, in->mode & 07777);
	fs_cred_leave(fs);
	/* The guest's kernel took it for new, and has asked nobody for leave to open it. It looks
	 * again then. */
	if (fd == -EEXIST && !(in->flags & O_EXCL))
		return -ESTALE;
	return fd < 0 ? fd : created(fs, q, q->n, name, fd, flags);
}

/* The name in the request is what the guest's kernel calls any file without one. */
int fs_op_tmpfile(struct fs *fs, struct fs_req *q)
{
	const struct fuse_create_in *in = &q->a.create;
	int dfd, fd, flags = 0, r = host_flags(fs, in->flags, &flags);

	if (r < 0)
		return r;
	if ((flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	if (!fs_handle_room(fs) || !fs_node_room(fs))
		return -ENFILE;
	dfd = fs_dir_fd(fs, q->n);
	if (dfd < 0)
		return dfd;
	r = fs_cred_enter(fs, q->h.uid, q->h.gid, in->umask);
	if (r < 0)
		return r;
	flags &= ~O_TRUNC;
	fd = fs_openat(
		fs, dfd, ".", flags | O_TMPFILE | ((int)in->flags & O_EXCL), in->mode & 07777);
	fs_cred_leave(fs);
	return fd < 0 ? fd : created(fs, q, NULL, NULL, fd, flags);
}

int fs_op_release(struct fs *fs, struct fs_req *q)
{
	struct fs_handle *h = fs_handle_get(fs, q->n, q->a.release.fh);
	struct statx sx;

	if (!h || h->kind == FS_H_DIR)
		return -EBADF;
	/* What the guest wrote it has in its cache: not a reason to drop that at the next open().
	 */
	if (h->wrote && fs_cache_of(fs, q->n) == FS_CACHE_AUTO && !fs_stat_fd(h->fd, &sx))
		q->n->stamp = fs_stamp(&sx);
	if (q->n->maps && (h->flags & O_ACCMODE) != O_RDONLY)
		fs_dax_settle(fs, q->n);
	fs_handle_close(fs, h);
	if (q->n->flags & FS_N_VIRT)
		fs_virt_released(fs, q->n);
	return 0;
}

/*
 * A process closes a file: its POSIX locks on it end. Without those, only file systems over a
 * network have something to say here; the answer ENOSYS is remembered by the guest and saves a
 * request for every close(), as FS_I_FLUSH_LOCKS does with a guest that knows it. It writes its
 * dirty mapped pages first either way.
 */
int fs_op_flush(struct fs *fs, struct fs_req *q)
{
	struct fs_handle *h = fs_handle_get(fs, q->n, q->a.flush.fh);
	int fd;

	if (!fs->net && !(fs->flags & FS_I_POSIX_LOCKS))
		return -ENOSYS;
	if (!h)
		return -EBADF;
	if (fs_lock_drop_owner(fs, q->n, q->a.flush.lock_owner))
		fs_wait_wake(fs, q->n);
	if (!fs->net)
		return 0;
	if (h->fd < 0)
		return h->kind == FS_H_VIRT ? 0 : -ESTALE;
	fd = dup(h->fd);
	if (fd < 0)
		return -errno;
	return close(fd) < 0 ? -errno : 0;
}
