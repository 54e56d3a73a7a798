// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: making and ending a server, and what it agrees upon with the guest's kernel. */
/*
 * How it works
 *
 * A server is whole before the process changes its root, as /proc/self/fd, through which O_PATH fds
 * are opened anew, is out of reach or not the kernel's afterwards. The root directory is node 1,
 * what is virtual comes next; these exist from the beginning and outlive a reset, whatever the
 * guest forgets.
 *
 * FUSE_INIT takes the common part of what the guest offers and WANTED. What is not in WANTED is so
 * for a reason, as the writeback cache: another writer on the host would be overruled; and idmapped
 * mounts within the guest: with them only what makes something says who asks, and root would lose
 * set-id bits by chown(), fallocate() and copy_file_range(). A second FUSE_INIT is a guest that
 * rebooted and starts with nothing.
 */
/* #syscalls:fs statx close */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dev/fs.h"
#include "util/cleanup.h"

#define TREE_MOUNTS 256 /* of a share, that are looked at when it is made */

/* Flags that we take when the guest offers them, whatever the caching. */
#define WANTED                                                                                   \
	(FS_I_ASYNC_READ | FS_I_POSIX_LOCKS | FS_I_FLOCK_LOCKS | FS_I_ATOMIC_O_TRUNC |           \
		FS_I_BIG_WRITES | FS_I_IOCTL_DIR | FS_I_DO_READDIRPLUS | FS_I_READDIRPLUS_AUTO | \
		FS_I_ASYNC_DIO | FS_I_PARALLEL_DIROPS | FS_I_MAX_PAGES | FS_I_CACHE_SYMLINKS |   \
		FS_I_SUBMOUNTS | FS_I_KILLPRIV_V2 | FS_I_INIT_EXT | FS_I_LOCK_INTERRUPT)

/* An ACL of a directory decides in place of the umask, which so is the host's to apply; and only
 * the guest knows whether SGID survives a new ACL. All of it or none. */
#define ACLS (FS_I_POSIX_ACL | FS_I_DONT_MASK | FS_I_SETXATTR_EXT)

int fs_op_init(struct fs *fs, struct fs_req *q)
{
	const struct fuse_init_in *in = &q->a.init;
	struct fuse_init_out o = { .major = FS_MAJOR, .minor = FS_MINOR };
	uint64_t offered = in->flags, want = WANTED;

	/* A newer major asks again with ours. */
	if (in->major > FS_MAJOR)
		return iobuf_push(&q->wr, &o, FUSE_COMPAT_INIT_OUT_SIZE);
	if (in->major < FS_MAJOR || in->minor < FS_MINOR_MIN || q->wr.left < sizeof(o))
		return -EPROTO;
	if (fs->inited)
		fs_server_reset(fs);
	if (offered & FS_I_INIT_EXT)
		offered |= (uint64_t)in->flags2 << 32;
	/* A tree that nobody changes keeps its pages whatever its times say; and its modes, so that
	 * set-id bits must not fall without the guest's word. */
	if (fs->cache == FS_CACHE_ALWAYS && !fs->nat)
		want = (want | FS_I_EXPLICIT_INVAL) & ~FS_I_KILLPRIV_V2;
	else
		want |= FS_I_AUTO_INVAL_DATA;
	want |= fs_dax_wants(fs);
	/* A close() without locks tells a server on a disk nothing. */
	if (!fs->net)
		want |= FS_I_FLUSH_LOCKS;
	if ((offered & ACLS) == ACLS)
		want |= ACLS;
	fs->flags = offered & want;
	fs->minor = MIN(in->minor, (uint32_t)FS_MINOR);
	fs->inited = true;
	o.max_readahead = in->max_readahead;
	o.flags = (uint32_t)fs->flags;
	o.flags2 = (uint32_t)(fs->flags >> 32);
	o.max_background = 256;
	o.congestion_threshold = 192;
	o.max_write = LIM_FS_IO;
	o.time_gran = 1;
	o.max_pages = LIM_FS_IO / 4096;
	o.map_alignment = fs->flags & FS_I_MAP_ALIGNMENT ? __builtin_ctz(FS_DAX_RANGE) : 0;
	return iobuf_push(&q->wr, &o, sizeof(o));
}

int fs_op_destroy(struct fs *fs, struct fs_req *q)
{
	(void)q;
	fs_server_reset(fs);
	return 0;
}

/* The root, and what is virtual: the first nodes. @fd is the root's, -1 if that is virtual too. */
static int make_roots(struct fs *fs, int fd)
{
	struct fs_node *n;
	struct statx sx;
	int r = fd < 0 ? 0 : fs_stat_fd(fd, &sx);

	if (!r)
		r = fs_node_alloc(fs, &n);
	if (r < 0)
		return r;
	n->fd = fd;
	n->nlookup = 1;
	if (fd >= 0) {
		fs_node_identify(fs, n, &sx);
	} else {
		n->flags |= FS_N_VIRT;
		n->type = S_IFDIR;
	}
	return fs_virt_nodes(fs);
}

void fs_server_reset(struct fs *fs)
{
	/* workers hold fds and indices of handles */
	if (fs->drain)
		fs->drain(fs->answer_arg);
	fs_req_end(fs);
	fs_waits_clear(fs);
	fs_locks_clear(fs);
	fs_handles_clear(fs);
	for (unsigned i = 0; i < FS_DIR_BUFS; i++)
		fs->dirbuf[i].owner = 0;
	fs_nodes_reset(fs);
	fs_dax_reset(fs);
	fs->inited = false;
}

void fs_server_free(struct fs *fs)
{
	if (!fs)
		return;
	fs_waits_clear(fs);
	fs_locks_clear(fs);
	fs_handles_clear(fs);
	fs_nodes_clear(fs);
	fs_dax_free(fs);
	for (unsigned i = 0; i < FS_DIR_BUFS; i++)
		free(fs->dirbuf[i].b);
	if (fs->proc_fd >= 0)
		(void)close(fs->proc_fd);
	if (fs->timer_fd >= 0)
		(void)close(fs->timer_fd);
	if (fs->idle_fd >= 0)
		(void)close(fs->idle_fd);
	fs_virt_free(fs);
	free(fs);
}

static void server_cleanup(struct fs **fs)
{
	fs_server_free(*fs);
}

/* Where closing a file may report what writing did not: the guest must ask then (FUSE_FLUSH). */
static bool is_network(int fd)
{
	static const uint32_t magic[] = { 0x6969 /* nfs */, 0xff534d42 /* cifs */,
		0xfe534d42 /* smb2 */, 0x517b /* smb */, 0x01021997 /* 9p */, 0x65735546 /* fuse */,
		0x00c36400 /* ceph */, 0x5346414f /* afs */ };
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(magic); i++)
		if ((uint32_t)st.f_type == magic[i])
			return true;
	return false;
}

static bool is_network_type(const char *type)
{
	static const char *const words[] = { "nfs", "cifs", "smb", "9p", "fuse ", "fuse.",
		"fuseblk", "ceph", "afs", "virtiofs", "lustre", "beegfs", "gpfs", "ocfs2", "gfs2",
		"orangefs", "coda" };

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (!strncmp(type, words[i], strlen(words[i])))
			return true;
	return false;
}

struct tree_mounts {
	uint64_t id[TREE_MOUNTS];
	unsigned n;
};

static bool in_tree(const struct tree_mounts *t, uint64_t id)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->id[i] == id)
			return true;
	return false;
}

/* Once through the mount table @f: 1 when it has what is looked for, or cannot be read or kept. */
static int add_mounts(struct tree_mounts *t, FILE *f)
{
	CLEAN_FREE char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		const char *type = strstr(line, " - ");
		unsigned long long id, parent;

		if (!type || sscanf(line, "%llu %llu", &id, &parent) != 2 || in_tree(t, id) ||
			!in_tree(t, parent))
			continue;
		if (t->n == TREE_MOUNTS || is_network_type(type + 3))
			return 1;
		t->id[t->n++] = id;
	}
	return !!ferror(f);
}

/*
 * Whether such a file system is mounted in the tree of @root, by the mount table, where a parent
 * may come after what lies in it. What is mounted later is not known; when there are more than can
 * be kept, or the table cannot be read, it is one.
 */
static bool has_network(int root)
{
	CLEAN_FILE FILE *f = fopen("/proc/self/mountinfo", "re");
	struct tree_mounts t = { .n = 1 };
	unsigned before;
	struct statx sx;

	if (!f || is_network(root) || fs_stat_fd(root, &sx) < 0)
		return true;
	t.id[0] = sx.stx_mnt_id;
	do {
		before = t.n;
		rewind(f);
		if (add_mounts(&t, f))
			return true;
	} while (t.n > before);
	return false;
}

/*
 * What a process that may open few files can hold: an ordinary user's begin at 4096 for all of it.
 * A sixth for nodes, and half as many for those that have lost their name (fs_fd_pin()), half for
 * what the guest opens, an eighth for its locks; the eighth that is left is for others.
 */
static struct fs_limits limits_here(struct fs_limits l)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == RLIM_INFINITY)
		return l;
	l.open_nodes = MIN(l.open_nodes, (uint32_t)MAX(r.rlim_cur / 6, (rlim_t)32));
	l.handles = MIN(l.handles, (uint32_t)MAX(r.rlim_cur / 2, (rlim_t)64));
	l.lock_owners = MIN(l.lock_owners, (uint32_t)MAX(r.rlim_cur / 8, (rlim_t)16));
	return l;
}

int fs_server_new(
	const struct fs_cfg *cfg, const struct fs_limits *lim, struct fs **out, struct error *e)
{
	static const struct fs_limits dflt = { LIM_FS_INODES, LIM_FS_OPEN_INODES, LIM_FS_HANDLES,
		LIM_FS_LOCK_OWNERS };
	CLEAN_FD int root = cfg->root_fd;
	struct fs *fs CLEAN(server_cleanup) = calloc(1, sizeof(*fs));
	struct stat st;
	int r;

	if (!fs)
		return err_sys(e, ENOMEM, "virtio-fs %s", cfg->tag);
	fs->proc_fd = fs->timer_fd = fs->idle_fd = -1;
	if (getrandom(&fs->seed, sizeof(fs->seed), 0) != sizeof(fs->seed))
		return err_sys(e, errno, "virtio-fs %s: random numbers", cfg->tag);
	if (cfg->empty && root >= 0)
		return err_set(e, EINVAL, "virtio-fs %s: an empty share has no root", cfg->tag);
	if (!cfg->empty && fstat(root, &st) < 0)
		return err_sys(e, errno, "virtio-fs %s: root directory", cfg->tag);
	if (!cfg->empty && !S_ISDIR(st.st_mode))
		return err_sys(e, ENOTDIR, "virtio-fs %s: root directory", cfg->tag);
	r = fs_virt_new(fs, cfg, e);
	if (r < 0)
		return r;
	fs->lim = lim ? *lim : limits_here(dflt);
	fs->node_max = cfg->node_bytes ? cfg->node_bytes : UINT64_MAX;
	fs->nodes.max = fs->lim.nodes;
	fs->hands.max = fs->lim.handles;
	fs->locksets.max = fs->lim.lock_owners ? fs->lim.lock_owners : LIM_FS_LOCK_OWNERS;
	fs->ranges.max = LIM_FS_LOCKS;
	fs->waits.max = LIM_FS_LOCK_WAITS;
	fs->readonly = cfg->readonly;
	fs->cache = cfg->cache;
	fs->nat = MIN(cfg->nat, (unsigned)ARRAY_SIZE(fs->at));
	memcpy(fs->at, cfg->at, sizeof(fs->at));
	fs->exit_code = cfg->exit_code;
	fs->drop_idle = cfg->drop_idle;
	fs->net = root >= 0 && has_network(root);
	/* Before the process changes its root: the tree's own /proc is image content. */
	fs->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->proc_fd < 0)
		return err_sys(e, errno, "virtio-fs: /proc/self/fd");
	fs->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	fs->idle_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fs->timer_fd < 0 || fs->idle_fd < 0)
		return err_sys(e, errno, "virtio-fs %s: timer", cfg->tag);
	r = make_roots(fs, root);
	if (fs_node_at(fs, FS_ROOT) && fs_node_at(fs, FS_ROOT)->fd == root)
		(void)TAKE_FD(root);
	if (r < 0)
		return err_sys(e, r, "virtio-fs %s: root directory", cfg->tag);
	*out = TAKE_PTR(fs);
	return 0;
}
