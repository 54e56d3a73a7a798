/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE client without a kernel: requests put together by hand for fs_serve(), on a temporary
 * directory with a file outside of it (the canary). Every reply's framing is checked here.
 */
#ifndef KRUN_TESTS_UNIT_FS_CLIENT_H
#define KRUN_TESTS_UNIT_FS_CLIENT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/fs.h"

#define FC_BROKEN     (-100000) /* the reply itself was wrong */
#define FC_WINDOW_GPA (1ULL << 32)

/* Memory whose region at FC_WINDOW_GPA servers get as their DAX window; NULL: none. */
static struct mem *fc_window;

struct fc {
	struct fs *fs;
	char top[64];  /* holds "canary" and the export "d" */
	char path[80]; /* the export */
	int dir;       /* its fd */
	uint64_t unique;
	uint32_t uid, gid;
	uint64_t flags; /* as negotiated */
	size_t out_len; /* payload bytes of the last reply */
};

/* One request: header, fixed arguments, more bytes; the reply's payload to @out. Returns the
 * reply's error or FC_BROKEN. */
static inline int fc_call(struct fc *c, uint32_t op, uint64_t node, const void *in, size_t n_in,
	const void *more, size_t n_more, void *out, size_t n_out)
{
	struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + n_in + n_more),
		.opcode = op,
		.unique = ++c->unique,
		.nodeid = node,
		.uid = c->uid,
		.gid = c->gid,
		.pid = 1 };
	struct fuse_out_header oh = { 0 };
	struct iovec r[3] = { { &h, sizeof(h) }, { (void *)(uintptr_t)in, n_in },
		{ (void *)(uintptr_t)more, n_more } };
	struct iovec w[2] = { { &oh, sizeof(oh) }, { out, n_out } };
	struct iobuf rd, wr;
	uint32_t written;

	if (!n_in)
		r[1] = r[2];
	iobuf_init(&rd, r, 1 + !!n_in + !!n_more);
	iobuf_init(&wr, w, 1 + !!n_out);
	fs_serve(c->fs, &rd, &wr, &written);
	c->out_len = 0;
	if (op == FUSE_FORGET || op == FUSE_BATCH_FORGET || op == FUSE_INTERRUPT)
		return written ? FC_BROKEN : 0;
	if (written < sizeof(oh) || oh.len != written || oh.unique != h.unique || oh.error > 0 ||
		written > sizeof(oh) + n_out || (oh.error && written != sizeof(oh)))
		return FC_BROKEN;
	c->out_len = written - sizeof(oh);
	return oh.error;
}

static inline int fc_init(struct fc *c, uint64_t flags)
{
	struct fuse_init_in in = { .major = 7,
		.minor = 41,
		.max_readahead = 131072,
		.flags = (uint32_t)flags | FUSE_INIT_EXT,
		.flags2 = (uint32_t)(flags >> 32) };
	struct fuse_init_out out = { 0 };
	int r = fc_call(c, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &out, sizeof(out));

	c->flags = out.flags | (uint64_t)out.flags2 << 32;
	return r;
}

static inline int fc_server(struct fc *c, const struct fs_cfg *base, const struct fs_limits *lim)
{
	struct fs_cfg cfg = base ? *base : (struct fs_cfg){ .cache = FS_CACHE_AUTO };
	struct error e = { 0 };
	int r;

	strcpy(cfg.tag, "test");
	cfg.root_fd = cfg.empty ? -1 : open(c->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = fs_server_new(&cfg, lim, &c->fs, &e);
	if (r < 0) {
		printf("# %s\n", e.msg);
		return r;
	}
	if (fc_window) {
		r = fs_dax_new(c->fs, fc_window, FC_WINDOW_GPA, mem_top(fc_window) - FC_WINDOW_GPA);
		if (r < 0)
			return r;
	}
	return fs_attach_thread(c->fs);
}

/* By its whole path: tests/fuzz/watch tells our calls from the server's by that. */
static inline const char *fc_canary(const struct fc *c, char buf[80])
{
	(void)snprintf(buf, 80, "%s/canary", c->top);
	return buf;
}

/* The directory, a server on it, FUSE_INIT with all that a 6.12 guest offers. */
static inline int fc_new(struct fc *c, const struct fs_cfg *base, const struct fs_limits *lim)
{
	char canary[80];
	int fd, r;

	*c = (struct fc){ .dir = -1 };
	(void)umask(0);
	strcpy(c->top, "/var/tmp/krun-fs-XXXXXX");
	if (!mkdtemp(c->top))
		return -errno;
	(void)snprintf(c->path, sizeof(c->path), "%s/d", c->top);
	if (mkdir(c->path, 0755) < 0)
		return -errno;
	c->dir = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = open(fc_canary(c, canary), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "canary", 6) != 6)
		return -EIO;
	(void)close(fd);
	r = fc_server(c, base, lim);
	return r < 0 ? r : fc_init(c, ~0ULL);
}

static inline int fc_rm_(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

/* False when the canary was touched. */
static inline bool fc_free(struct fc *c)
{
	struct stat st;
	char buf[8] = "", canary[80];
	int fd = open(fc_canary(c, canary), O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && read(fd, buf, 7) == 6 && !strcmp(buf, "canary") && !fstat(fd, &st) &&
		(st.st_mode & 07777) == 0600 && st.st_nlink == 1;

	(void)close(fd);
	fs_server_free(c->fs);
	(void)close(c->dir);
	(void)nftw(c->top, fc_rm_, 16, FTW_DEPTH | FTW_PHYS);
	return ok;
}

static inline int fc_lookup_n(
	struct fc *c, uint64_t dir, const char *name, size_t len, struct fuse_entry_out *e)
{
	return fc_call(c, FUSE_LOOKUP, dir, NULL, 0, name, len, e, sizeof(*e));
}

/* Node id of @name, 0 when it does not exist (or fails). */
static inline uint64_t fc_lookup(struct fc *c, uint64_t dir, const char *name)
{
	struct fuse_entry_out e = { 0 };

	return fc_lookup_n(c, dir, name, strlen(name) + 1, &e) ? 0 : e.nodeid;
}

static inline void fc_forget(struct fc *c, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	(void)fc_call(c, FUSE_FORGET, node, &in, sizeof(in), NULL, 0, NULL, 0);
}

static inline int fc_getattr(struct fc *c, uint64_t node, struct fuse_attr *a)
{
	struct fuse_getattr_in in = { 0 };
	struct fuse_attr_out o = { 0 };
	int r = fc_call(c, FUSE_GETATTR, node, &in, sizeof(in), NULL, 0, &o, sizeof(o));

	*a = o.attr;
	return r;
}

static inline int fc_open(struct fc *c, uint64_t node, uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out o = { 0 };
	int r = fc_call(c, flags & O_DIRECTORY ? FUSE_OPENDIR : FUSE_OPEN, node, &in, sizeof(in),
		NULL, 0, &o, sizeof(o));

	*fh = o.fh;
	return r;
}

static inline int fc_create(struct fc *c, uint64_t dir, const char *name, uint32_t flags,
	uint32_t mode, uint64_t *node, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = flags, .mode = mode | S_IFREG };
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out = { 0 };
	int r = fc_call(
		c, FUSE_CREATE, dir, &in, sizeof(in), name, strlen(name) + 1, &out, sizeof(out));

	*node = out.e.nodeid;
	*fh = out.o.fh;
	return r;
}

static inline int fc_release(struct fc *c, uint64_t node, uint64_t fh, bool is_dir)
{
	struct fuse_release_in in = { .fh = fh };

	return fc_call(c, is_dir ? FUSE_RELEASEDIR : FUSE_RELEASE, node, &in, sizeof(in), NULL, 0,
		NULL, 0);
}

/* Bytes or -errno. */
static inline int fc_read(
	struct fc *c, uint64_t node, uint64_t fh, uint64_t off, void *buf, uint32_t n)
{
	struct fuse_read_in in = { .fh = fh, .offset = off, .size = n };
	int r = fc_call(c, FUSE_READ, node, &in, sizeof(in), NULL, 0, buf, n);

	return r ? r : (int)c->out_len;
}

static inline int fc_write(struct fc *c, uint64_t node, uint64_t fh, uint64_t off, const void *buf,
	uint32_t n, uint32_t flags, uint32_t wflags)
{
	struct fuse_write_in in = {
		.fh = fh, .offset = off, .size = n, .flags = flags, .write_flags = wflags
	};
	struct fuse_write_out o = { 0 };
	int r = fc_call(c, FUSE_WRITE, node, &in, sizeof(in), buf, n, &o, sizeof(o));

	return r ? r : (int)o.size;
}

static inline int fc_name_op(struct fc *c, uint32_t op, uint64_t dir, const char *name)
{
	return fc_call(c, op, dir, NULL, 0, name, strlen(name) + 1, NULL, 0);
}

static inline int fc_mkdir(
	struct fc *c, uint64_t dir, const char *name, uint32_t mode, uint64_t *node)
{
	struct fuse_mkdir_in in = { .mode = mode };
	struct fuse_entry_out e = { 0 };
	int r = fc_call(c, FUSE_MKDIR, dir, &in, sizeof(in), name, strlen(name) + 1, &e, sizeof(e));

	*node = e.nodeid;
	return r;
}

static inline int fc_rename(
	struct fc *c, uint64_t od, const char *on, uint64_t nd, const char *nn, uint32_t flags)
{
	struct fuse_rename2_in in = { .newdir = nd, .flags = flags };
	char names[600];
	size_t a = strlen(on) + 1, b = strlen(nn) + 1;

	memcpy(names, on, a);
	memcpy(names + a, nn, b);
	return fc_call(c, FUSE_RENAME2, od, &in, sizeof(in), names, a + b, NULL, 0);
}

static inline int fc_setattr(
	struct fc *c, uint64_t node, const struct fuse_setattr_in *in, struct fuse_attr *a)
{
	struct fuse_attr_out o = { 0 };
	int r = fc_call(c, FUSE_SETATTR, node, in, sizeof(*in), NULL, 0, &o, sizeof(o));

	if (a)
		*a = o.attr;
	return r;
}

static inline int fc_link(
	struct fc *c, uint64_t old, uint64_t dir, const char *name, uint64_t *node)
{
	struct fuse_link_in in = { .oldnodeid = old };
	struct fuse_entry_out e = { 0 };
	int r = fc_call(c, FUSE_LINK, dir, &in, sizeof(in), name, strlen(name) + 1, &e, sizeof(e));

	*node = e.nodeid;
	return r;
}

static inline int fc_symlink(
	struct fc *c, uint64_t dir, const char *name, const char *target, uint64_t *node)
{
	struct fuse_entry_out e = { 0 };
	char b[600];
	size_t n = strlen(name) + 1, t = strlen(target) + 1;
	int r;

	memcpy(b, name, n);
	memcpy(b + n, target, t);
	r = fc_call(c, FUSE_SYMLINK, dir, NULL, 0, b, n + t, &e, sizeof(e));
	*node = e.nodeid;
	return r;
}

static inline int fc_host_file(struct fc *c, const char *name, const char *text)
{
	int fd = openat(c->dir, name, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
	int ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	(void)close(fd);
	return ok ? 0 : -EIO;
}

#endif
