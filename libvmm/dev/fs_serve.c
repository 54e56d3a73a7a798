// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: one request in, one reply out.
 *
 * How it works: the header is copied and its length compared with the bytes that are there; the
 * operation's fixed arguments are copied by the length its table entry names, names and values into
 * one buffer, all before anything is looked at. What the table says of an operation is checked here
 * once: room for its reply, a node id that means something, a tree that may be changed. Operations
 * see locals only and write their payload behind a reserved header, which is written last. A
 * request that makes no sense is answered with an error when there is room for one, and dropped
 * when not.
 */
#include <errno.h>
#include <string.h>

#include "dev/fs.h"
#include "util/log.h"

enum {
	O_MUT = 1,     /* changes the tree: EROFS on a read-only share */
	O_NODE = 2,    /* works on a node: h.nodeid must be one */
	O_REST = 4,    /* takes names or values behind its fixed arguments */
	O_NOREPLY = 8, /* is never answered */
	O_EARLY = 16,  /* allowed before FUSE_INIT */
	O_SHORT = 32,  /* fixed arguments may be shorter: the rest is zero */
};

struct fs_op {
	fs_op_fn *fn;
	uint8_t flags;
	uint16_t in;  /* bytes of fixed arguments */
	uint16_t out; /* least bytes of payload that a successful reply needs */
};

#define OP(fn_, flags_, in_, out_)                                               \
	{                                                                        \
		.fn = fs_op_##fn_, .flags = (flags_), .in = (in_), .out = (out_) \
	}
#define SZ(t) ((uint16_t)sizeof(struct t))
#define ENTRY SZ(fuse_entry_out)

static int fs_op_ignore(struct fs *fs, struct fs_req *q)
{
	(void)fs;
	(void)q;
	return 0;
}

/*
 * What is not here answers ENOSYS, which the guest remembers: FUSE_POLL and FUSE_BMAP are done
 * without.
 */
static const struct fs_op ops[FS_OP_MAX] = {
	[FUSE_LOOKUP] = OP(lookup, O_NODE | O_REST, 0, ENTRY),
	[FUSE_FORGET] = OP(forget, O_NOREPLY, SZ(fuse_forget_in), 0),
	[FUSE_BATCH_FORGET] = OP(batch_forget, O_NOREPLY, SZ(fuse_batch_forget_in), 0),
	[FUSE_GETATTR] = OP(getattr, O_NODE, SZ(fuse_getattr_in), SZ(fuse_attr_out)),
	[FUSE_SETATTR] = OP(setattr, O_NODE | O_MUT, SZ(fuse_setattr_in), SZ(fuse_attr_out)),
	[FS_OP_STATX] = OP(statx, O_NODE, SZ(fs_statx_in), SZ(fs_statx_out)),
	[FUSE_READLINK] = OP(readlink, O_NODE, 0, 0),
	[FUSE_SYMLINK] = OP(symlink, O_NODE | O_REST | O_MUT, 0, ENTRY),
	[FUSE_MKNOD] = OP(mknod, O_NODE | O_REST | O_MUT, SZ(fuse_mknod_in), ENTRY),
	[FUSE_MKDIR] = OP(mkdir, O_NODE | O_REST | O_MUT, SZ(fuse_mkdir_in), ENTRY),
	[FUSE_UNLINK] = OP(unlink, O_NODE | O_REST | O_MUT, 0, 0),
	[FUSE_RMDIR] = OP(rmdir, O_NODE | O_REST | O_MUT, 0, 0),
	[FUSE_RENAME] = OP(rename, O_NODE | O_REST | O_MUT, SZ(fuse_rename_in), 0),
	[FUSE_RENAME2] = OP(rename2, O_NODE | O_REST | O_MUT, SZ(fuse_rename2_in), 0),
	[FUSE_LINK] = OP(link, O_NODE | O_REST | O_MUT, SZ(fuse_link_in), ENTRY),
	[FUSE_OPEN] = OP(open, O_NODE, SZ(fuse_open_in), SZ(fuse_open_out)),
	[FUSE_READ] = OP(read, O_NODE, SZ(fuse_read_in), 0),
	[FUSE_WRITE] = OP(write, O_NODE | O_MUT, SZ(fuse_write_in), SZ(fuse_write_out)),
	[FUSE_STATFS] = OP(statfs, O_NODE, 0, SZ(fuse_statfs_out)),
	[FUSE_RELEASE] = OP(release, O_NODE, SZ(fuse_release_in), 0),
	[FUSE_FSYNC] = OP(fsync, O_NODE, SZ(fuse_fsync_in), 0),
	[FUSE_SETXATTR] = OP(setxattr, O_NODE | O_REST | O_MUT, FUSE_COMPAT_SETXATTR_IN_SIZE, 0),
	[FUSE_GETXATTR] = OP(getxattr, O_NODE | O_REST, SZ(fuse_getxattr_in), 0),
	[FUSE_LISTXATTR] = OP(listxattr, O_NODE, SZ(fuse_getxattr_in), 0),
	[FUSE_REMOVEXATTR] = OP(removexattr, O_NODE | O_REST | O_MUT, 0, 0),
	[FUSE_FLUSH] = OP(flush, O_NODE, SZ(fuse_flush_in), 0),
	[FUSE_INIT] = OP(init, O_EARLY | O_SHORT, SZ(fuse_init_in), 8),
	[FUSE_OPENDIR] = OP(opendir, O_NODE, SZ(fuse_open_in), SZ(fuse_open_out)),
	[FUSE_READDIR] = OP(readdir, O_NODE, SZ(fuse_read_in), 0),
	[FUSE_READDIRPLUS] = OP(readdirplus, O_NODE, SZ(fuse_read_in), 0),
	[FUSE_RELEASEDIR] = OP(releasedir, O_NODE, SZ(fuse_release_in), 0),
	[FUSE_FSYNCDIR] = OP(fsync, O_NODE, SZ(fuse_fsync_in), 0),
	[FUSE_GETLK] = OP(getlk, O_NODE, SZ(fuse_lk_in), SZ(fuse_lk_out)),
	[FUSE_SETLK] = OP(setlk, O_NODE, SZ(fuse_lk_in), 0),
	[FUSE_SETLKW] = OP(setlkw, O_NODE, SZ(fuse_lk_in), 0),
	[FUSE_ACCESS] = OP(access, O_NODE, SZ(fuse_access_in), 0),
	[FUSE_CREATE] =
		OP(create, O_NODE | O_REST | O_MUT, SZ(fuse_create_in), ENTRY + SZ(fuse_open_out)),
	[FUSE_INTERRUPT] = OP(interrupt, O_NOREPLY, SZ(fuse_interrupt_in), 0),
	[FUSE_DESTROY] = OP(destroy, 0, 0, 0),
	[FUSE_IOCTL] = OP(ioctl, O_NODE | O_REST, SZ(fuse_ioctl_in), SZ(fuse_ioctl_out)),
	[FUSE_NOTIFY_REPLY] = OP(ignore, O_NOREPLY, 0, 0),
	[FUSE_FALLOCATE] = OP(fallocate, O_NODE | O_MUT, SZ(fuse_fallocate_in), 0),
	[FUSE_LSEEK] = OP(lseek, O_NODE, SZ(fuse_lseek_in), SZ(fuse_lseek_out)),
	[FUSE_COPY_FILE_RANGE] =
		OP(copy, O_NODE | O_MUT, SZ(fuse_copy_file_range_in), SZ(fuse_write_out)),
	[FUSE_SETUPMAPPING] = OP(setupmapping, O_NODE, SZ(fuse_setupmapping_in), 0),
	[FUSE_REMOVEMAPPING] = OP(removemapping, O_NODE, SZ(fuse_removemapping_in), 0),
	[FS_OP_SYNCFS] = OP(syncfs, O_NODE, 0, 0),
	[FS_OP_TMPFILE] =
		OP(tmpfile, O_NODE | O_REST | O_MUT, SZ(fuse_create_in), ENTRY + SZ(fuse_open_out)),
};

bool fs_op_mutates(uint32_t opcode)
{
	return opcode < FS_OP_MAX && (ops[opcode].flags & O_MUT);
}

static int pull_args(struct fs *fs, struct fs_req *q, const struct fs_op *op)
{
	size_t in = op->in;

	if (op->flags & O_SHORT)
		in = MIN(in, q->rd.left);
	if (iobuf_pull(&q->rd, &q->a, in) < 0)
		return -EINVAL;
	if (!(op->flags & O_REST))
		return 0;
	q->nrest = q->rd.left;
	if (q->nrest > FS_IN_MAX)
		return -E2BIG;
	if (iobuf_pull(&q->rd, fs->in, q->nrest) < 0)
		return -EINVAL;
	fs->in[q->nrest] = 0;
	q->rest = (const char *)fs->in;
	return 0;
}

static int run(struct fs *fs, struct fs_req *q, const struct fs_op *op)
{
	int r;

	if (!op || !op->fn)
		return -ENOSYS;
	if (!fs->inited && !(op->flags & O_EARLY))
		return -EIO;
	r = pull_args(fs, q, op);
	if (r < 0)
		return r;
	if (q->wr.left < op->out)
		return -EINVAL;
	if (op->flags & O_NODE) {
		q->n = fs_node_get(fs, q->h.nodeid);
		if (!q->n)
			return -ESTALE;
	}
	if ((op->flags & O_MUT) && fs->readonly)
		return -EROFS;
	return op->fn(fs, q);
}

uint32_t fs_reply(struct iobuf *head, uint64_t unique, int err, size_t payload)
{
	struct fuse_out_header oh = {
		.len = (uint32_t)(sizeof(oh) + (err ? 0 : payload)),
		.error = err,
		.unique = unique,
	};

	return iobuf_push(head, &oh, sizeof(oh)) < 0 ? 0 : oh.len;
}

bool fs_serve_later(struct fs *fs, struct fs_req *q, struct iobuf *rd, struct iobuf *wr,
	uint32_t token, uint32_t *written)
{
	const struct fs_op *op = NULL;
	bool answer;
	int r;

	*written = 0;
	/* The union's first argument may be compared by an operation that got none of it. */
	memset(q, 0, sizeof(*q));
	q->token = token;
	if (iobuf_pull(rd, &q->h, sizeof(q->h)) < 0) {
		log_guest("virtio-fs: a request of %zu bytes", rd->left);
		return true;
	}
	if (q->h.opcode < FS_OP_MAX)
		op = &ops[q->h.opcode];
	answer = !(op && (op->flags & O_NOREPLY));
	if (answer && iobuf_take(wr, sizeof(struct fuse_out_header), &q->head) < 0) {
		log_guest("virtio-fs: no room for the reply to operation %u", q->h.opcode);
		return true;
	}
	q->wr = *wr;
	q->wr.done = 0;
	if (q->h.len < sizeof(q->h) || iobuf_take(rd, q->h.len - sizeof(q->h), &q->rd) < 0)
		r = -EINVAL;
	else
		r = run(fs, q, op);
	if (r == FS_XFER && fs->hand && token != FS_NOW && fs->hand(fs->answer_arg, q))
		r = FS_LATER;
	else if (r == FS_XFER)
		r = fs_xfer_do(q);
	if (r != FS_LATER)
		fs_dax_done(fs, &q->x, q->told ? NULL : q->n);
	fs_req_end(fs);
	if (r == FS_LATER)
		return false;
	if (answer)
		*written = fs_reply(&q->head, q->h.unique, r, q->wr.done);
	return true;
}

void fs_serve(struct fs *fs, struct iobuf *rd, struct iobuf *wr, uint32_t *written)
{
	struct fs_req q;

	(void)fs_serve_later(fs, &q, rd, wr, FS_NOW, written);
}
