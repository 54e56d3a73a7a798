/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE server behind the virtio-fs device: what its parts (fs_*.c) know of each other.
 *
 * A server is used by one thread at a time, the owner loop's after fs_attach_thread() there, so
 * nothing here locks; what fs_xfer.c does to an open file may be a worker's. fs_serve() is the
 * whole of it: one request in, one reply out, with or without a queue around it. fs_serve_later()
 * may put a request aside that waits for a lock.
 *
 * Nodes. A node is an inode that the guest may name by its node id (index and generation, so a
 * forged or old id is found out). It knows its parent node and its name there; its O_PATH fd is a
 * cache entry: at most fs_limits.open_nodes are kept, the oldest idle one is closed and re-opened
 * from the parent's, component by component, each checked by device, inode number, mount and type
 * (-ESTALE when that changed). Reading attributes needs no fd of the node at all: one statx() at
 * the parent's. A node lives while the guest counts lookups, has it open, or has nodes below it.
 * One that lost its name (unlinked, replaced, or seen elsewhere) keeps its fd pinned instead, since
 * no path leads to it any more.
 */
#ifndef KRUN_DEV_FS_H
#define KRUN_DEV_FS_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/limits.h"
#include "dev/dev.h"
#include "dev/fs_proto.h"
#include "util/save.h"
#include "util/util.h"
#include "virtio/iobuf.h"

#define FS_ROOT	    1U		/* index and node id of the root */
#define FS_CHUNK    1024	/* nodes or handles of one allocation */
#define FS_DEPTH    4096	/* components that one re-open may walk; deeper is -ENAMETOOLONG */
#define FS_IN_MAX   (72U << 10) /* names and values of one request: an xattr of 64 KiB, its name */
#define FS_OUT_MAX  (64U << 10) /* an xattr, a list of them, a link's target */
#define FS_DIR_BUFS 16
#define FS_DIR_BUF  (32U << 10)
#define FS_UNLINKED_SAVE \
	(48U << 20)    /* bytes of unlinked open files in a saved VM; fits LIM_SAVE_STATE */
#define FS_INTRS   128 /* of FUSE_INTERRUPT, remembered */
#define FS_IDLE_MS 500 /* that an idle fd is kept where the host may want to unmount */
#define FS_TICK_MAX                                                                   \
	64 /* ms between two tries of a lock that somebody outside of the guest holds \
	    */
#define FS_TICK_TRY   32	    /* tries of one tick */
#define FS_DAX_RANGE  MEM_SHM_RANGE /* of the window: what Linux maps at a time */
#define FS_DAX_REMOVE 256	    /* ranges of one REMOVEMAPPING */
#define FS_NOW	      UINT32_MAX    /* a token: the request cannot be put aside */
#define FS_LATER      1		    /* of an operation: its request was put aside */
#define FS_XFER	      2		    /* of an operation: q->x is what is left to do */
#define FS_COPY_MAX   (16U << 20)   /* bytes of one COPY_FILE_RANGE: the queue waits meanwhile */

/*
 * The memory of a node without its name: two heads of a hash twice, as half of them may be unused,
 * and once more while the hashes grow. Of its name, in the allocator's pieces of 16 with 8 of its
 * own.
 */
#define FS_NODE_FIXED	  (sizeof(struct fs_node) + 3 * 2 * sizeof(uint32_t))
#define FS_NAME_ROOM(len) (((size_t)((len) < 23 ? 23 : (len)) + 1 + 8 + 15) & ~(size_t)15)
#define FS_NODE_ROOM	  (FS_NODE_FIXED + FS_NAME_ROOM(LIM_FS_NAME))

/* What every statx() here asks for. */
#define FS_SX_MASK (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

enum {
	FS_N_USED = 1,
	FS_N_VIRT = 2,	 /* of a virtual entry, or the root of a share that has no directory */
	FS_N_PINNED = 4, /* fd held without being in the LRU list */
	FS_N_HASHED = 8, /* found by identity */
	FS_N_DAX = 16,	 /* the guest is told to read it through the window */
	FS_N_CUT = 32,	 /* ranges that show it may end in zero pages */
};

struct fs_node {
	uint64_t dev, ino, mnt; /* identity on the host */
	uint64_t nlookup;
	uint64_t stamp; /* of size and times when the guest last opened it; of what it is for a link
			   or a device */
	char *name;	/* owned; NULL without a parent */
	uint32_t idx, gen;
	uint32_t parent;       /* index; 0: none */
	uint32_t kids;	       /* nodes whose parent this is */
	uint32_t handles;      /* first handle of its list, as index; 0: none */
	uint32_t locks;	       /* first lock set of its list; 0: none */
	uint32_t maps;	       /* first range of the window that shows it; 0: none */
	uint32_t promised;     /* ranges of the window that are kept for it */
	uint32_t inext, dnext; /* hash chains, by identity and by (parent, name); inext is also the
				  free list */
	uint32_t lprev, lnext; /* LRU of open fds */
	int fd;		       /* -1: none */
	uint16_t type;	       /* S_IFMT bits */
	uint8_t flags;
	uint8_t busy; /* used by the request that is being served: not to be closed */
};

enum fs_hkind {
	FS_H_FREE,
	FS_H_FILE,
	FS_H_DIR,
	FS_H_VIRT /* a virtual file; a virtual directory is FS_H_DIR */
};

struct fs_handle {
	uint32_t idx, gen;
	uint32_t node;	     /* index */
	uint32_t prev, next; /* of the node's list; next is also the free list */
	int fd;	   /* owned; -1 for what is virtual and for one that could not be restored */
	int flags; /* of open(2), as the host's fd has them */
	uint8_t kind;
	bool append; /* O_APPEND is set on fd now */
	bool wrote;
	bool direct;	  /* of a file whose content is made when it is read */
	bool no_nowait;	  /* the host cannot tell whether reading would wait */
	uint16_t uses;	  /* transfers of it that workers do now */
	uint8_t flock;	  /* F_RDLCK, F_WRLCK: held by flock(2) on fd; F_UNLCK: not */
	uint32_t lockset; /* whose locks are held by fd; 0: none */
	int64_t pos;	  /* directory: where fd stands, -1: unknown */
};

/*
 * The POSIX locks of one owner on one node. They are locks of an open file description on the host
 * (OFD), so each set has one of its own: that of the handle that it was first locked through if no
 * other owner has taken it, else the same file opened once more. It ends with that handle at the
 * latest, or when the owner closes any handle of the node (FUSE_FLUSH).
 */
struct fs_lockset {
	uint32_t idx, next; /* of the node's list; next is also the free list */
	uint32_t node, handle;
	uint32_t ranges; /* first, in order; they do not overlap */
	uint32_t pid;	 /* of the guest, who locked last */
	uint64_t owner;
	int fd; /* owned if it is not the handle's */
	bool own_fd;
	uint8_t mode; /* O_ACCMODE bits of fd */
};

struct fs_range {
	uint32_t idx, next;
	uint64_t start, end; /* end is the last byte */
	uint8_t type;
};

/* What a lock request asks for. */
struct fs_lk {
	uint64_t owner, start, end;
	uint32_t pid;
	uint8_t type; /* F_RDLCK, F_WRLCK, F_UNLCK */
	bool flock;
};

/* A request that waits for a lock; first come, first tried. */
struct fs_wait {
	uint32_t idx, next; /* next is also the free list */
	uint32_t prev;
	uint32_t node, handle, token;
	uint64_t unique;
	struct fs_lk lk;
	bool foreign; /* nobody of this guest is in the way: only trying tells */
	struct iobuf head;
	struct iovec iov[2]; /* of head */
};

/* A table of records that never move, by index from 1. */
struct fs_table {
	void **chunk;
	uint32_t nchunks, max; /* max: highest index allowed */
	uint32_t next, free, used;
	uint32_t gen; /* generation of indices that were never used: above all before a load */
};

struct fs_hash {
	uint32_t *head;
	uint32_t mask;
};

struct fs_limits {
	uint32_t nodes, open_nodes, handles;
	uint32_t lock_owners; /* 0: LIM_FS_LOCK_OWNERS */
};

struct fs_req;

/* Who a thread is on the host; one for each thread, see fs_cred.c. */
struct fs_cred {
	bool attached, can_setid, entered, dumpable, masked;
	uint32_t uid, gid;	 /* own file system ids */
	uint32_t ok_uid, ok_gid; /* last pair that was seen to work */
	uint64_t base, cur;	 /* effective capabilities: all that we have, and now */
	uint64_t permitted, inheritable;
};

/*
 * A virtual entry. It exists from the beginning, as the node whose index is one more than its own
 * in the table, and is never freed; the guest may name the node while it counts lookups of it or
 * has it open, as any other.
 */
struct fs_virt {
	char *name;	     /* owned; of the root: NULL */
	uint32_t parent;     /* node's index: the root's, or of an entry before this one */
	uint32_t mode;	     /* with its type */
	const uint8_t *data; /* borrowed */
	uint64_t len;
	bool one_shot;
	bool taken; /* it was looked up, and its name is no more */
};

struct fs_virts {
	uint32_t n; /* with the root, which is the first */
	struct fs_virt v[];
};

/* Directory entries read ahead. A handle's buffer may be taken away at any time; it then seeks. */
struct fs_dirbuf {
	uint64_t owner; /* file handle; 0: free */
	uint32_t at, len;
	int64_t off; /* the offset that the guest must ask for to go on at @at */
	uint8_t *b;  /* FS_DIR_BUF bytes, owned */
};

struct fs {
	uint64_t seed; /* of the hash of names */
	struct fs_limits lim;
	bool readonly, inited, net, no_flush;
	enum fs_cache cache;
	struct fs_cache_at at[32]; /* mounts with another */
	unsigned nat;
	int32_t *exit_code; /* of fs_cfg */
	bool drop_idle;
	int idle_fd; /* owned; readable when fs_fd_drop_idle() is due */
	uint32_t minor;
	uint64_t flags;	       /* negotiated */
	int proc_fd;	       /* /proc/self/fd of this process, owned */
	struct fs_virts *virt; /* NULL: no virtual entries */

	struct fs_table nodes, hands;
	uint64_t node_bytes, node_max; /* what nodes, names and hashes take, and may take */
	struct fs_hash by_ident, by_name;
	uint32_t lru_new, lru_old, lru_n, pinned;
	uint32_t busy[4];
	unsigned nbusy;
	struct fs_dirbuf dirbuf[FS_DIR_BUFS];
	unsigned dirbuf_next;

	struct fs_dax *dax; /* NULL: no window */

	struct fs_table locksets, ranges, waits;
	uint32_t wait_first, wait_last;
	uint32_t wait_at;  /* the foreign wait whose turn it is at the next tick; 0: the first */
	unsigned nforeign; /* waits that are foreign */
	unsigned wait_ms;  /* until the next tick */
	int timer_fd;	   /* owned; readable when fs_wait_tick() is due */
	uint64_t intr[FS_INTRS]; /* requests that were interrupted before they were seen */
	unsigned intr_next;
	/* Tells whoever uses fs_serve_later() that the request @token is answered. */
	void (*answer)(void *arg, uint32_t token, uint32_t written);
	void *answer_arg;
	/*
	 * Optional: takes q->x over, to call fs_xfer_run() on any attached thread, fs_xfer_done()
	 * on ours, and to answer the request. False: it is done here and now. drain() returns when
	 * no transfer is under way.
	 */
	bool (*hand)(void *arg, struct fs_req *q);
	void (*drain)(void *arg);

	uint32_t chain[FS_DEPTH];
	uint8_t in[FS_IN_MAX + 1] __attribute__((aligned(8)));
	uint8_t out[FS_OUT_MAX] __attribute__((aligned(8)));
};

enum fs_xkind {
	FS_X_READ,
	FS_X_WRITE,
	FS_X_SYNC,
	FS_X_DATASYNC,
	FS_X_SYNCFS,
	FS_X_COPY,
};

/* Bytes to be moved, or a disk to be waited for: all that touches open files alone. */
struct fs_xfer {
	enum fs_xkind kind;
	int fd, to;
	bool own_fd;	/* close fd afterwards */
	bool keep_bits; /* of set-id, when writing */
	bool at_once;	/* what is written is one thing to the host's kernel */
	uint64_t off, to_off, size;
	uint32_t hand[2]; /* handles in use, as indices; 0: none */
};

/* One request, while it is served. */
struct fs_req {
	struct fuse_in_header h;
	union {
		struct fuse_forget_in forget;
		struct fuse_batch_forget_in batch;
		struct fuse_getattr_in getattr;
		struct fuse_setattr_in setattr;
		struct fs_statx_in statx;
		struct fuse_mknod_in mknod;
		struct fuse_mkdir_in mkdir;
		struct fuse_rename_in rename;
		struct fuse_rename2_in rename2;
		struct fuse_link_in link;
		struct fuse_open_in open;
		struct fuse_create_in create;
		struct fuse_release_in release;
		struct fuse_flush_in flush;
		struct fuse_read_in read;
		struct fuse_write_in write;
		struct fuse_fsync_in fsync;
		struct fuse_setxattr_in setxattr;
		struct fuse_getxattr_in getxattr;
		struct fuse_access_in access;
		struct fuse_init_in init;
		struct fuse_fallocate_in fallocate;
		struct fuse_lseek_in lseek;
		struct fuse_copy_file_range_in copy;
		struct fuse_ioctl_in ioctl;
		struct fuse_lk_in lk;
		struct fuse_interrupt_in intr;
		struct fuse_setupmapping_in setup;
		struct fuse_removemapping_in remove;
	} a;
	uint32_t token;	   /* of fs_serve_later() */
	struct iobuf head; /* room for the reply's header */
	struct iobuf rd;   /* the arguments after @a */
	struct iobuf wr;   /* the reply's payload */
	const char *rest;  /* names and values, copied to fs->in and NUL-terminated behind the last
			      byte */
	size_t nrest;
	struct fs_node *n; /* h.nodeid, when the operation wants one */
	bool told;	   /* the answer's size of @n is one that its mappings were made to show */
	struct fs_xfer x;
};

typedef int fs_op_fn(struct fs *fs, struct fs_req *q);

/* fs_init.c. @lim NULL: those of limits.h and @cfg. Takes cfg->root_fd, on failure too. */
int fs_server_new(
	const struct fs_cfg *cfg, const struct fs_limits *lim, struct fs **out, struct error *e);
void fs_server_free(struct fs *fs);
/* Forgets every node and handle but the root and what is virtual: reset and FUSE_DESTROY. */
void fs_server_reset(struct fs *fs);
fs_op_fn fs_op_init, fs_op_destroy;

/*
 * fs_serve.c. Serves the request in @rd; *written is how many bytes of @wr hold the reply, 0 when
 * there is none (FORGET, or no room for a header). Never fails: what is wrong with a request is
 * answered.
 */
void fs_serve(struct fs *fs, struct iobuf *rd, struct iobuf *wr, uint32_t *written);
/*
 * As fs_serve(), with @q to work in. False: the request waits, and fs->answer() will be called with
 * @token, in this or another call into the server, unless that is reset before. Of @rd and @wr
 * nothing is remembered but where in guest memory the reply goes.
 */
bool fs_serve_later(struct fs *fs, struct fs_req *q, struct iobuf *rd, struct iobuf *wr,
	uint32_t token, uint32_t *written);
/* Writes the header of a reply; returns the bytes of all of it, 0 when that could not be. */
uint32_t fs_reply(struct iobuf *head, uint64_t unique, int err, size_t payload);
/* True when @opcode changes the tree, so that a read-only share answers EROFS (OPEN decides by its
 * flags). */
bool fs_op_mutates(uint32_t opcode);

/*
 * fs_req.c: names, attributes, replies.
 * fs_name_ok(): 0 when @name (@len bytes, NUL behind) is one component, else -EINVAL,
 * -ENAMETOOLONG. fs_take_name(): the next NUL-terminated string of q->rest as a component.
 */
int fs_name_ok(const char *name, size_t len);
int fs_take_str(struct fs_req *q, const char **s, size_t *len) NODISCARD;
int fs_take_name(struct fs_req *q, const char **name) NODISCARD;
void fs_fill_attr(
	const struct fs *fs, const struct fs_node *n, const struct statx *sx, struct fuse_attr *a);
void fs_fill_entry(const struct fs *fs, const struct fs_node *n, const struct statx *sx,
	struct fuse_entry_out *e);
/* How the guest may cache what is on the mount of @n, and for how long. */
enum fs_cache fs_cache_of(const struct fs *fs, const struct fs_node *n);
void fs_attr_valid(const struct fs *fs, const struct fs_node *n, uint64_t *sec, uint32_t *nsec);
uint64_t fs_stamp(const struct statx *sx);

/* fs_table.c */
void *fs_table_at(const struct fs_table *t, uint32_t idx, size_t size);
int fs_table_grow(struct fs_table *t, size_t size, uint32_t upto) NODISCARD;
void fs_table_free(struct fs_table *t);
/* Records that begin with their index and a link: one zeroed but for its index, NULL at the limit
 * or without memory; and back. */
void *fs_pool_get(struct fs_table *t, size_t size);
void fs_pool_put(struct fs_table *t, void *rec);

/* fs_node.c */
struct fs_node *fs_node_at(const struct fs *fs, uint32_t idx); /* 0: NULL */
struct fs_node *fs_node_get(const struct fs *fs, uint64_t id);
uint64_t fs_node_id(const struct fs_node *n);
/* The node known under @name of @dir. */
struct fs_node *fs_node_child(const struct fs *fs, const struct fs_node *dir, const char *name);
/* True when @sx is still the inode that @n stands for. */
bool fs_node_is(const struct fs_node *n, const struct statx *sx);
/*
 * The node for what @sx describes, found as @name of @dir (NULL: it has no name). Made when it is
 * not known, its place updated when it is. Lookups are not counted here.
 */
int fs_node_attach(struct fs *fs, struct fs_node *dir, const char *name, const struct statx *sx,
	struct fs_node **out) NODISCARD;
int fs_node_alloc(struct fs *fs, struct fs_node **out) NODISCARD;
int fs_node_place(
	struct fs *fs, struct fs_node *n, struct fs_node *dir, const char *name) NODISCARD;
void fs_node_identify(struct fs *fs, struct fs_node *n, const struct statx *sx);
/* It has lost its name: an open fd of it is pinned. With neither that nor handles it answers
 * -ESTALE until seen again. */
void fs_node_detach(struct fs *fs, struct fs_node *n);
/* It has neither a name nor an fd any more: the host may give its inode number to another file,
 * which is not to be found as this one. */
void fs_node_unhash(struct fs *fs, struct fs_node *n);
void fs_node_forget(struct fs *fs, struct fs_node *n, uint64_t count);
/* Frees @n, and parents that only it kept, unless something refers to it. */
void fs_node_put(struct fs *fs, struct fs_node *n);
/* Whether there is room for one more, with whatever name. */
bool fs_node_room(const struct fs *fs);
void fs_nodes_clear(struct fs *fs);
/* Leaves the root and what is virtual, as nobody had seen them. */
void fs_nodes_reset(struct fs *fs);
/* Load: a node of given index; after the last one, free indices are listed anew with generation
 * @gen. */
int fs_node_alloc_at(struct fs *fs, uint32_t idx, uint32_t gen, struct fs_node **out) NODISCARD;
void fs_nodes_relist(struct fs *fs, uint32_t gen);

/* fs_fd.c. Fds returned stay valid until the request ends. */
int fs_node_fd(struct fs *fs, struct fs_node *n) NODISCARD;
int fs_dir_fd(struct fs *fs, struct fs_node *n) NODISCARD; /* -ENOTDIR */
int fs_node_stat(struct fs *fs, struct fs_node *n, struct statx *sx) NODISCARD;
int fs_stat_fd(int fd, struct statx *sx) NODISCARD;
int fs_stat_at(int dirfd, const char *name, struct statx *sx) NODISCARD;
/* open(2) of a single component, with O_NOFOLLOW and O_CLOEXEC added; makes room when fds run out.
 */
int fs_openat(struct fs *fs, int dirfd, const char *name, int flags, mode_t mode) NODISCARD;
/*
 * The inode behind @fd (O_PATH is enough) opened anew with @flags, and without waiting: what looks
 * like a regular file may be one of tracefs or procfs whose reads wait for events, or one that a
 * lease holds, and this thread serves all of the guest. Both are EAGAIN then.
 */
int fs_reopen(struct fs *fs, int fd, int flags) NODISCARD;
void fs_fd_keep(struct fs *fs, struct fs_node *n, int fd); /* takes @fd as the node's */
void fs_fd_drop(struct fs *fs, struct fs_node *n);
/* As fs_fd_drop() of a pinned one, which may have been the last way to the file. */
void fs_fd_lose(struct fs *fs, struct fs_node *n);
void fs_fd_pin(struct fs *fs, struct fs_node *n);
void fs_fd_unpin(struct fs *fs, struct fs_node *n);
/* Closes every idle fd but the root's; also what to do when fs->idle_fd is readable. */
void fs_fd_drop_idle(struct fs *fs);
void fs_req_end(struct fs *fs);

/*
 * fs_pseudo.c: file systems that the host's kernel makes up. fs_pseudo_hidden(): @name of @dir,
 * open as @dfd, is what the guest must not reach, and is as if it were not there.
 * fs_pseudo_opened(): the same of what was opened as @fd for @n: -EACCES. *direct: the guest must
 * read it past its page cache.
 */
bool fs_pseudo_hidden(const struct fs_node *dir, int dfd, const char *name);
int fs_pseudo_opened(const struct fs *fs, const struct fs_node *n, int fd, bool *direct) NODISCARD;

/*
 * fs_virt.c: entries that the host does not have. fs_virt_new() makes the table, and with it
 * fs_virt_nodes() the nodes, which come right after the root's.
 */
int fs_virt_new(struct fs *fs, const struct fs_cfg *cfg, struct error *e) NODISCARD;
int fs_virt_nodes(struct fs *fs) NODISCARD;
void fs_virt_free(struct fs *fs);
/* What @name of @dir is virtually; NULL: nothing, and the host's counts. */
struct fs_node *fs_virt_find(const struct fs *fs, const struct fs_node *dir, const char *name);
/* The guest was told of @n by a lookup of its name; it has closed @n. */
void fs_virt_found(struct fs *fs, struct fs_node *n);
void fs_virt_released(struct fs *fs, struct fs_node *n);
bool fs_virt_one_shot(const struct fs *fs, const struct fs_node *n);
void fs_virt_stat(const struct fs *fs, const struct fs_node *n, struct statx *sx);
int fs_virt_open(struct fs *fs, struct fs_node *n, uint32_t flags, struct fuse_open_out *o);
int fs_virt_read(const struct fs *fs, struct fs_req *q, size_t n) NODISCARD;
int fs_virt_lseek(const struct fs *fs, struct fs_req *q, uint64_t *out) NODISCARD;
/*
 * Listing. Whether directory @n, read from @off on, is at its virtual entries; and the one that is
 * next there: 1; 0: there is none. The entry's d_off is where to go on.
 */
bool fs_virt_listed(const struct fs *fs, const struct fs_node *n, uint64_t off);
struct dirent64;
int fs_virt_next(const struct fs *fs, const struct fs_node *n, uint64_t off, struct dirent64 *d);
void fs_virt_save(const struct fs *fs, struct save_out *s);
int fs_virt_load(struct fs *fs, struct save_in *s) NODISCARD;

static inline bool fs_is_virt(const struct fs *fs, const struct fs_node *dir, const char *name)
{
	return fs->virt && fs_virt_find(fs, dir, name);
}

/* fs_handle.c */
/* Takes @fd, on failure too. -ENFILE when the guest has too many. */
int fs_handle_new(struct fs *fs, struct fs_node *n, enum fs_hkind kind, int fd, int flags,
	struct fs_handle **out) NODISCARD;
struct fs_handle *fs_handle_at(const struct fs *fs, uint32_t idx);
/* The handle @fh of node @n; NULL when it is not one. */
struct fs_handle *fs_handle_get(const struct fs *fs, const struct fs_node *n, uint64_t fh);
uint64_t fs_handle_id(const struct fs_handle *h);
void fs_handle_link(struct fs *fs, struct fs_handle *h, struct fs_node *n);
void fs_handle_close(struct fs *fs, struct fs_handle *h);
bool fs_handle_room(const struct fs *fs);
void fs_handles_clear(struct fs *fs);
/* Load: as fs_handle_new() with a given index and generation. */
int fs_handle_new_at(struct fs *fs, uint32_t idx, uint32_t gen, struct fs_handle **out) NODISCARD;
void fs_handles_relist(struct fs *fs, uint32_t gen);

/* fs_lock.c */
struct fs_lockset *fs_lockset_at(const struct fs *fs, uint32_t idx);
struct fs_range *fs_range_at(const struct fs *fs, uint32_t idx);
/*
 * Takes, changes or gives up a lock through @h. -EAGAIN: somebody else has it; *inside tells
 * whether that is known to be an owner in this guest, and *blocker which. Nobody is woken.
 */
int fs_lock_try(struct fs *fs, struct fs_node *n, struct fs_handle *h, const struct fs_lk *lk,
	bool *inside, uint64_t *blocker) NODISCARD;
/* Who of this guest is in the way of @lk, and by which range (NULL: never mind); NULL: nobody. */
struct fs_lockset *fs_lock_conflict(const struct fs *fs, const struct fs_node *n,
	const struct fs_lk *lk, struct fs_range **range);
/* Drops the locks of @owner on @n; true when there were any. */
bool fs_lock_drop_owner(struct fs *fs, struct fs_node *n, uint64_t owner);
/* @h closes: drops what is held through it and ends what waits through it. */
void fs_lock_close(struct fs *fs, struct fs_handle *h);
void fs_locks_clear(struct fs *fs);
void fs_locks_save(struct fs *fs, struct save_out *s);
int fs_locks_load(struct fs *fs, struct save_in *s) NODISCARD;
fs_op_fn fs_op_getlk;

/* fs_wait.c */
/* Something on @n was given up: whoever waits for it in this guest tries again. */
void fs_wait_wake(struct fs *fs, struct fs_node *n);
/* Answers what waits through @h with @err. */
void fs_wait_cancel(struct fs *fs, struct fs_handle *h, int err);
/* fs->timer_fd was readable. */
void fs_wait_tick(struct fs *fs);
/* Forgets whoever waits, unanswered. */
void fs_waits_clear(struct fs *fs);
fs_op_fn fs_op_setlk, fs_op_setlkw, fs_op_interrupt;

/*
 * fs_cred.c. fs_attach_thread() gives the calling thread its own cwd and umask, and reads its
 * rights, once; nothing when that was done, for whichever server. Before serving on a thread.
 * fs_cred_enter() acts as @uid:@gid, with the umask of the request where the guest leaves that to
 * us, until fs_cred_leave(). fs_cred_fsetid() decides whether writing keeps set-id bits.
 */
int fs_attach_thread(struct fs *fs) NODISCARD;
bool fs_thread_attached(void);
int fs_cred_enter(struct fs *fs, uint32_t uid, uint32_t gid, uint32_t mask) NODISCARD;
void fs_cred_leave(struct fs *fs);
void fs_cred_fsetid(bool keep_bits);

/* fs_name.c */
/* Finds @name in @dir (open as @dfd): fills *sx and the node. -ENOENT. */
int fs_lookup(struct fs *fs, struct fs_node *dir, int dfd, const char *name, struct statx *sx,
	struct fs_node **out) NODISCARD;
fs_op_fn fs_op_lookup, fs_op_forget, fs_op_batch_forget, fs_op_symlink, fs_op_mknod, fs_op_mkdir,
	fs_op_link;
/* fs_rename.c */
fs_op_fn fs_op_unlink, fs_op_rmdir, fs_op_rename, fs_op_rename2;
/* fs_meta.c */
fs_op_fn fs_op_getattr, fs_op_setattr, fs_op_statx, fs_op_readlink, fs_op_statfs, fs_op_access;
/* fs_open.c */
fs_op_fn fs_op_open, fs_op_create, fs_op_tmpfile, fs_op_release, fs_op_flush;
/* fs_io.c */
fs_op_fn fs_op_read, fs_op_write, fs_op_fsync, fs_op_lseek, fs_op_fallocate, fs_op_copy,
	fs_op_syncfs;
/*
 * fs_xfer.c. fs_xfer_run() does q->x and writes the reply, of which it returns the bytes; it
 * touches nothing of the server. fs_xfer_held() and fs_xfer_done() go around it when a worker does
 * it.
 */
uint32_t fs_xfer_run(struct fs_req *q);
/* The same, returning the error and leaving the reply's header to the caller. */
int fs_xfer_do(struct fs_req *q) NODISCARD;
void fs_xfer_held(struct fs *fs, struct fs_req *q);
void fs_xfer_done(struct fs *fs, struct fs_req *q);
/* fs_dir.c */
fs_op_fn fs_op_opendir, fs_op_readdir, fs_op_readdirplus, fs_op_releasedir;
void fs_dirbuf_drop(struct fs *fs, uint64_t fh);
/* fs_ioctl.c */
fs_op_fn fs_op_ioctl;
/* fs_xattr.c */
fs_op_fn fs_op_setxattr, fs_op_getxattr, fs_op_listxattr, fs_op_removexattr;

/*
 * fs_dax.c. fs_dax_new() gives a server that has served nothing yet the window of @mem at @gpa;
 * fs_dax_wants() is what it asks for in FUSE_INIT then.
 */
int fs_dax_new(struct fs *fs, struct mem *mem, uint64_t gpa, uint64_t len) NODISCARD;
void fs_dax_free(struct fs *fs);
uint64_t fs_dax_wants(const struct fs *fs);
/* Before the guest is told of @n, whose attributes are @sx: whether it shall use the window for it
 * (FS_N_DAX). @listing: it did not ask for this very file. */
void fs_dax_admit(
	struct fs *fs, struct fs_req *q, struct fs_node *n, const struct statx *sx, bool listing);
/* The node goes, or all do. */
void fs_dax_forget(struct fs *fs, struct fs_node *n);
void fs_dax_reset(struct fs *fs);
/*
 * Before an answer that may tell of a file's size: what the file has is what is shown. Costs
 * nothing unless it has been shorter. fs_dax_told(): the guest is told of @sx, and @q, which is
 * answered at once, changes nothing any more. fs_dax_done(): a transfer is over, and a request for
 * @n unless that is NULL; a statx for each file of theirs that ends within a range.
 */
void fs_dax_told(struct fs *fs, struct fs_req *q, struct fs_node *n, const struct statx *sx);
void fs_dax_done(struct fs *fs, const struct fs_xfer *x, struct fs_node *n);
/* Of a node with maps: it was opened, and maybe to be written to (a truncation too); somebody who
 * may have written to it has closed it. */
void fs_dax_opened(struct fs *fs, struct fs_node *n, bool write);
void fs_dax_settle(struct fs *fs, struct fs_node *n);
/*
 * Whether the guest can store to @n. fs_dax_grow() is called before the guest makes it longer with
 * a hole up to @to, fs_dax_punched() after it made one; @fd is open for writing. Errors are those
 * of fallocate(2), and the request's.
 */
bool fs_dax_stores(const struct fs *fs, const struct fs_node *n);
int fs_dax_grow(struct fs *fs, struct fs_node *n, int fd, uint64_t to) NODISCARD;
int fs_dax_punched(struct fs *fs, struct fs_node *n, int fd, uint64_t off, uint64_t len) NODISCARD;
/* The guest touched what the host cannot give it: vdev_class.mend. Between two requests. Returns in
 * how many places something was mended. fs_dax_mends(): in how many ever, also before it asked. */
unsigned fs_dax_mend(struct fs *fs);
unsigned fs_dax_mends(const struct fs *fs);
/* What to do when fs_dax_fd() is readable (-1: there is no window): files may be shorter. */
int fs_dax_fd(const struct fs *fs);
void fs_dax_tick(struct fs *fs);
void fs_dax_save(struct fs *fs, struct save_out *s);
int fs_dax_load(struct fs *fs, struct save_in *s) NODISCARD;
fs_op_fn fs_op_setupmapping, fs_op_removemapping;

/* fs_save.c. Load is for a server that has served nothing yet. */
void fs_save(struct fs *fs, struct save_out *s);
int fs_load(struct fs *fs, struct save_in *s) NODISCARD;

#endif
