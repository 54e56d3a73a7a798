// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: entries that the host does not have, in a directory of the host's and without one. */
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/xattr.h>

#include "core/mem.h"
#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

#define NAMES 64

static const struct fs_virt_cfg entries[] = {
	{ .path = "etc", .dir = true, .mode = 0750 },
	{ .path = "etc/conf", .data = "setting", .len = 7, .mode = 0640 },
	{ .path = "etc/d", .dir = true, .mode = 0755 },
	{ .path = "etc/d/empty", .mode = 0444 },
	{ .path = "init", .data = "#!agent", .len = 7, .mode = 04755, .one_shot = true },
	{ .path = "tool", .data = "tool's bytes", .len = 12, .mode = 0755 },
};

static const struct fs_cfg on_host = {
	.cache = FS_CACHE_AUTO, .virt = entries, .nvirt = ARRAY_SIZE(entries)
};
static const struct fs_cfg nothing = {
	.cache = FS_CACHE_AUTO, .virt = entries, .nvirt = ARRAY_SIZE(entries), .empty = true
};

/* How many names the host has in the share. */
static unsigned on_the_host(const struct fc *c)
{
	int fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fdopendir(fd);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	(void)closedir(d);
	return n - 2;
}

static struct {
	char name[NAMES][NAME_MAX + 1];
	uint64_t ino[NAMES], off[NAMES], node[NAMES];
	unsigned n;
} list;

/* One request of @size bytes at @off: 0, or what it answers; *next is where to go on. */
static int list_some(struct fc *c, uint64_t dir, uint64_t fh, uint64_t off, uint32_t size,
	bool plus, uint64_t *next)
{
	struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };
	static uint8_t b[4096] __attribute__((aligned(8)));
	int r = fc_call(
		c, plus ? FUSE_READDIRPLUS : FUSE_READDIR, dir, &in, sizeof(in), NULL, 0, b, size);

	*next = off;
	for (size_t at = 0; !r && at < c->out_len;) {
		struct fuse_entry_out e = { 0 };
		const struct fuse_dirent *d;

		if (plus)
			memcpy(&e, b + at, sizeof(e));
		at += plus ? sizeof(e) : 0;
		d = (const void *)(b + at);
		at += FUSE_DIRENT_SIZE(d);
		if (list.n == NAMES || (e.nodeid && e.attr.ino != d->ino))
			return FC_BROKEN;
		memcpy(list.name[list.n], d->name, d->namelen);
		list.name[list.n][d->namelen] = 0;
		list.ino[list.n] = d->ino;
		list.node[list.n] = e.nodeid;
		list.off[list.n++] = *next = d->off;
	}
	return r;
}

/* Everything in @dir, by requests of @size bytes. */
static int list_all(struct fc *c, uint64_t dir, uint32_t size, bool plus)
{
	uint64_t fh, off = 0, next = 0;
	int r = fc_open(c, dir, O_RDONLY | O_DIRECTORY, &fh);

	list.n = 0;
	if (r)
		return r;
	do {
		off = next;
		r = list_some(c, dir, fh, off, size, plus, &next);
	} while (!r && next != off);
	return r ? r : fc_release(c, dir, fh, true);
}

static int listed(const char *name)
{
	int at = -1;

	for (unsigned i = 0; i < list.n; i++) {
		if (strcmp(list.name[i], name))
			continue;
		if (at >= 0)
			return -2; /* twice */
		at = (int)i;
	}
	return at;
}

static void files(void)
{
	struct fuse_entry_out e = { 0 };
	struct fuse_attr a;
	uint64_t n, dir, fh;
	char buf[32];
	struct fc c;

	CHECK_EQ(fc_new(&c, &on_host, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "tool", "the image's own"), 0);
	CHECK_EQ(fc_lookup_n(&c, 1, "tool", 5, &e), 0);
	n = e.nodeid;
	CHECK(n && e.entry_valid >= 3600 && e.attr_valid >= 3600);
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK(a.size == 12 && a.mode == (S_IFREG | 0755) && a.nlink == 1 && !a.uid && !a.gid);
	CHECK(a.blksize == 4096 && !a.mtime && !a.ctime && !(a.flags & FS_ATTR_DAX));
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_read(&c, n, fh, 0, buf, 32), 12);
	CHECK(!memcmp(buf, "tool's bytes", 12));
	CHECK_EQ(fc_read(&c, n, fh, 5, buf, 32), 7);
	CHECK(!memcmp(buf, "s bytes", 7));
	CHECK_EQ(fc_read(&c, n, fh, 5, buf, 1), 1);
	CHECK_EQ(fc_read(&c, n, fh, 12, buf, 32), 0);
	CHECK_EQ(fc_read(&c, n, fh, 99, buf, 32), 0);
	CHECK_EQ(fc_release(&c, n, fh, false), 0);

	dir = fc_lookup(&c, 1, "etc");
	CHECK_EQ(fc_getattr(&c, dir, &a), 0);
	CHECK(a.mode == (S_IFDIR | 0750) && !a.uid);
	CHECK_EQ(fc_open(&c, dir, O_RDONLY, &fh), -EISDIR);
	n = fc_lookup(&c, dir, "conf");
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK(a.mode == (S_IFREG | 0640) && a.size == 7);
	/* not what is there: told so for long */
	CHECK_EQ(fc_lookup_n(&c, dir, "none", 5, &e), 0);
	CHECK(!e.nodeid && e.entry_valid >= 3600);
	CHECK_EQ(fc_lookup_n(&c, n, "conf", 5, &e), -ENOTDIR);
	n = fc_lookup(&c, fc_lookup(&c, dir, "d"), "empty");
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_read(&c, n, fh, 0, buf, 32), 0);
	CHECK_EQ(on_the_host(&c), 1);
	CHECK(fc_free(&c));
}

/* What cannot be done to them, nor to what lies beside them on the host. */
static void refused_to_files(void)
{
	struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 0777 };
	struct fuse_fallocate_in fa = { .length = 1 };
	struct fuse_lk_in lk = { .owner = 1, .lk = { 0, 1, F_RDLCK, 1 } };
	struct fuse_getxattr_in gx = { .size = 16 };
	struct fuse_ioctl_in io = { .cmd = (uint32_t)FS_IOC_GETFLAGS, .out_size = 4 };
	uint64_t n, real, rfh, fh, x;
	struct fuse_copy_file_range_in cp = { .len = 4 };
	struct fuse_open_in fl[3] = { { 0 } };
	char buf[64];
	struct fc c;

	CHECK_EQ(fc_new(&c, &on_host, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "tool", "the image's own"), 0);
	n = fc_lookup(&c, 1, "tool");
	CHECK_EQ(fc_open(&c, n, O_RDWR, &fh), -EACCES);
	CHECK_EQ(fc_open(&c, n, O_WRONLY, &fh), -EACCES);
	CHECK_EQ(fc_open(&c, n, O_RDONLY | O_TRUNC, &fh), -EACCES);
	CHECK_EQ(fc_open(&c, n, O_RDONLY | O_DIRECTORY, &fh), -ENOTDIR);
	CHECK_EQ(c.fs->hands.used, 0);
	CHECK_EQ(fc_setattr(&c, n, &sa, NULL), -EPERM);
	sa = (struct fuse_setattr_in){ .valid = FATTR_SIZE };
	CHECK_EQ(fc_setattr(&c, n, &sa, NULL), -EPERM);
	CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, "tool"), -EPERM);
	CHECK_EQ(fc_rename(&c, 1, "tool", 1, "y", 0), -EPERM);
	CHECK_EQ(fc_link(&c, n, 1, "copy", &x), -EPERM);
	CHECK_EQ(fc_create(&c, 1, "real", O_RDWR, 0644, &real, &rfh), 0);
	CHECK_EQ(fc_rename(&c, 1, "real", 1, "tool", 0), -EPERM);
	CHECK_EQ(fc_rename(&c, 1, "real", 1, "tool", RENAME_EXCHANGE), -EPERM);
	CHECK_EQ(fc_link(&c, real, 1, "tool", &x), -EEXIST);
	CHECK_EQ(fc_mkdir(&c, 1, "tool", 0755, &x), -EEXIST);
	CHECK_EQ(fc_symlink(&c, 1, "tool", "t", &x), -EEXIST);
	CHECK_EQ(fc_create(&c, 1, "tool", O_RDWR | O_EXCL, 0644, &x, &fh), -EEXIST);
	CHECK_EQ(fc_call(&c, FUSE_READLINK, n, NULL, 0, NULL, 0, buf, sizeof(buf)), -EINVAL);

	/* attributes */
	CHECK_EQ(fc_call(&c, FUSE_GETXATTR, n, &gx, sizeof(gx), "user.x", 7, buf, 16), -ENODATA);
	CHECK_EQ(fc_call(&c, FUSE_GETXATTR, n, &gx, sizeof(gx), "security.capability", 20, buf, 16),
		-ENODATA);
	CHECK_EQ(fc_call(&c, FUSE_LISTXATTR, n, &gx, sizeof(gx), NULL, 0, buf, 16), 0);
	CHECK_EQ(c.out_len, 0);
	CHECK_EQ(fc_name_op(&c, FUSE_REMOVEXATTR, n, "user.x"), -EPERM);
	memset(buf, 0, sizeof(buf));
	buf[0] = 1; /* fuse_setxattr_in with its longer form, and the value */
	memcpy(buf + 16, "user.x\0v", 8);
	CHECK_EQ(fc_call(&c, FUSE_SETXATTR, n, buf, 8, buf + 8, 16, NULL, 0), -EPERM);

	/* open */
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_write(&c, n, fh, 0, "x", 1, 0, 0), -EBADF);
	fa.fh = fh;
	CHECK_EQ(fc_call(&c, FUSE_FALLOCATE, n, &fa, sizeof(fa), NULL, 0, NULL, 0), -EBADF);
	lk.fh = fh;
	CHECK_EQ(fc_call(&c, FUSE_SETLK, n, &lk, sizeof(lk), NULL, 0, NULL, 0), -ENOLCK);
	CHECK_EQ(fc_call(&c, FUSE_GETLK, n, &lk, sizeof(lk), NULL, 0, buf, 24), -ENOLCK);
	io.fh = fh;
	CHECK_EQ(fc_call(&c, FUSE_IOCTL, n, &io, sizeof(io), NULL, 0, buf, 20), -ENOTTY);
	cp.fh_in = fh;
	cp.fh_out = rfh;
	cp.nodeid_out = real;
	CHECK_EQ(fc_call(&c, FUSE_COPY_FILE_RANGE, n, &cp, sizeof(cp), NULL, 0, buf, 8), -EXDEV);
	cp.fh_in = rfh;
	cp.fh_out = fh;
	cp.nodeid_out = n;
	CHECK_EQ(fc_call(&c, FUSE_COPY_FILE_RANGE, real, &cp, sizeof(cp), NULL, 0, buf, 8), -EBADF);
	memcpy(fl, &fh, sizeof(fh));
	CHECK_EQ(fc_call(&c, FUSE_FLUSH, n, fl, sizeof(fl), NULL, 0, NULL, 0), 0);
	CHECK_EQ(fc_call(&c, FUSE_FSYNC, n, fl, 16, NULL, 0, NULL, 0), 0);
	CHECK_EQ(fc_release(&c, n, fh, true), -EBADF);
	CHECK_EQ(fc_release(&c, n, fh, false), 0);
	CHECK_EQ(fc_read(&c, n, fh, 0, buf, 4), -EBADF);
	CHECK_EQ(on_the_host(&c), 2);
	CHECK(fc_free(&c));
}

static int make(struct fc *c, uint64_t dir, uint32_t op)
{
	struct fuse_mknod_in in = { .mode = S_IFREG | 0644 };
	struct fuse_entry_out e;

	return fc_call(c, op, dir, &in, op == FUSE_MKDIR ? 8 : sizeof(in), "new", 4, &e, sizeof(e));
}

/* Nothing can be made or moved in a directory that is virtual, and none goes. */
static void refused_in_directories(const struct fs_cfg *cfg)
{
	struct fuse_create_in tf = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
	struct fuse_statfs_out st;
	uint64_t dir, real = 0, x, fh;
	char buf[256];
	struct fc c;

	CHECK_EQ(fc_new(&c, cfg, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "real", ""), 0);
	real = fc_lookup(&c, 1, "real");
	CHECK_EQ(!real, cfg->empty);
	dir = cfg->empty ? 1 : fc_lookup(&c, 1, "etc");
	for (int round = 0; round < 2; round++) {
		CHECK_EQ(make(&c, dir, FUSE_MKNOD), -EPERM);
		CHECK_EQ(make(&c, dir, FUSE_MKDIR), -EPERM);
		CHECK_EQ(fc_symlink(&c, dir, "new", "t", &x), -EPERM);
		CHECK_EQ(fc_create(&c, dir, "new", O_RDWR, 0644, &x, &fh), -EPERM);
		CHECK_EQ(
			fc_call(&c, FS_OP_TMPFILE, dir, &tf, sizeof(tf), "/", 2, buf, 256), -EPERM);
		CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, dir, "new"), -EPERM);
		CHECK_EQ(fc_name_op(&c, FUSE_RMDIR, dir, "new"), -EPERM);
		CHECK_EQ(fc_rename(&c, dir, "x", dir, "y", 0), -EPERM);
		if (real) {
			CHECK_EQ(fc_rename(&c, 1, "real", dir, "new", 0), -EPERM);
			CHECK_EQ(fc_rename(&c, dir, "conf", 1, "new", 0), -EPERM);
			CHECK_EQ(fc_link(&c, real, dir, "new", &x), -EPERM);
		}
		CHECK_EQ(fc_call(&c, FUSE_STATFS, dir, NULL, 0, NULL, 0, &st, sizeof(st)), 0);
		CHECK(st.st.namelen == 255 && !st.st.blocks == cfg->empty);
		dir = fc_lookup(&c, 1, "etc");
	}
	CHECK_EQ(fc_name_op(&c, FUSE_RMDIR, 1, "etc"), -EPERM);
	CHECK_EQ(fc_name_op(&c, FUSE_RMDIR, dir, "d"), -EPERM);
	CHECK_EQ(on_the_host(&c), 1);
	CHECK(fc_free(&c));
}

static void refused_in_directory(void)
{
	refused_in_directories(&on_host);
}

static void refused_without_host(void)
{
	refused_in_directories(&nothing);
}

static void readonly(void)
{
	struct fs_cfg cfg = on_host;
	uint64_t n, fh, x;
	struct fc c;

	cfg.readonly = true;
	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	n = fc_lookup(&c, 1, "tool");
	CHECK_EQ(fc_open(&c, n, O_RDWR, &fh), -EROFS);
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, "tool"), -EROFS);
	CHECK_EQ(fc_mkdir(&c, fc_lookup(&c, 1, "etc"), "x", 0755, &x), -EROFS);
	CHECK(fc_free(&c));
}

static void seeking(void)
{
	struct fuse_lseek_in in = { .offset = 3, .whence = SEEK_DATA };
	struct fuse_lseek_out o = { 0 };
	uint64_t n, fh;
	struct fc c;

	CHECK_EQ(fc_new(&c, &on_host, NULL), 0);
	n = fc_lookup(&c, 1, "tool");
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	in.fh = fh;
	CHECK_EQ(fc_call(&c, FUSE_LSEEK, n, &in, sizeof(in), NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.offset, 3);
	in.whence = SEEK_HOLE;
	CHECK_EQ(fc_call(&c, FUSE_LSEEK, n, &in, sizeof(in), NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.offset, 12);
	in.offset = 12;
	CHECK_EQ(fc_call(&c, FUSE_LSEEK, n, &in, sizeof(in), NULL, 0, &o, sizeof(o)), -ENXIO);
	in.whence = SEEK_END;
	CHECK_EQ(fc_call(&c, FUSE_LSEEK, n, &in, sizeof(in), NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.offset, 12);
	in.whence = 77;
	CHECK_EQ(fc_call(&c, FUSE_LSEEK, n, &in, sizeof(in), NULL, 0, &o, sizeof(o)), -EINVAL);
	CHECK(fc_free(&c));
}

/* Each name once, whatever the size of the requests, and on from every offset. */
static void listing(void)
{
	static const char *const all[] = { ".", "..", "a", "b", "tool", "etc", "init" };
	uint64_t fh, next, x, etc, looked;
	struct fc c;

	CHECK_EQ(fc_new(&c, &on_host, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "tool", "the image's own"), 0);
	CHECK_EQ(fc_host_file(&c, "a", ""), 0);
	CHECK_EQ(fc_host_file(&c, "b", ""), 0);
	CHECK_EQ(mkdirat(c.dir, "etc", 0755), 0);
	for (uint32_t size = 160; size <= 4000; size += 480) {
		CHECK_EQ(list_all(&c, 1, size, size % 3 == 1), 0);
		CHECK_EQ(list.n, ARRAY_SIZE(all));
		for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
			CHECK(listed(all[i]) >= 0);
	}
	/* no room for one entry is no end */
	CHECK_EQ(fc_open(&c, 1, O_RDONLY | O_DIRECTORY, &fh), 0);
	x = list.off[ARRAY_SIZE(all) - 2];
	CHECK_EQ(list_some(&c, 1, fh, x, 24, false, &next), -EINVAL);
	/* on from where any was listed */
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		x = list.off[i];
		list.n = i + 1;
		next = x;
		do {
			x = next;
			CHECK_EQ(list_some(&c, 1, fh, x, 4000, false, &next), 0);
		} while (next != x);
		CHECK_EQ(list.n, ARRAY_SIZE(all));
	}
	CHECK_EQ(list_some(&c, 1, fh, INT64_MAX, 4000, false, &next), 0);
	CHECK_EQ(list_some(&c, 1, fh, 1ULL << 63, 4000, false, &next), -EINVAL);
	CHECK_EQ(fc_release(&c, 1, fh, true), 0);

	/* with attributes each is a lookup, but of what only one may take */
	etc = fc_lookup(&c, 1, "etc");
	looked = fs_node_get(c.fs, etc)->nlookup;
	CHECK_EQ(list_all(&c, 1, 4000, true), 0);
	CHECK(list.node[listed("etc")] == etc && list.node[listed("tool")]);
	CHECK_EQ(list.node[listed("init")], 0);
	CHECK_EQ(fs_node_get(c.fs, etc)->nlookup, looked + 1);

	/* a virtual one; its parents have the numbers that they have elsewhere */
	for (int plus = 0; plus < 2; plus++) {
		CHECK_EQ(list_all(&c, etc, 300, plus), 0);
		CHECK(list.n == 4 && listed("conf") >= 0 && listed("d") >= 0);
		CHECK(!strcmp(list.name[0], ".") && !strcmp(list.name[1], ".."));
		CHECK_EQ(list.ino[1], fs_node_at(c.fs, FS_ROOT)->ino);
		next = list.ino[0];
		CHECK_EQ(list_all(&c, fc_lookup(&c, etc, "d"), 300, plus), 0);
		CHECK(list.n == 3 && list.ino[1] == next);
	}
	CHECK_EQ(fc_open(&c, etc, O_RDONLY | O_DIRECTORY, &fh), 0);
	CHECK_EQ(list_some(&c, etc, fh, INT64_MAX, 4000, false, &next), 0);
	CHECK_EQ(next, INT64_MAX);
	CHECK_EQ(fc_read(&c, etc, fh, 0, &x, 8), -EISDIR);
	CHECK_EQ(fc_release(&c, etc, fh, false), -EBADF);
	CHECK_EQ(fc_release(&c, etc, fh, true), 0);
	CHECK(fc_free(&c));
}

/* More virtual names than a buffer of the host's entries holds, each of which the host has too. */
static void listing_hidden(void)
{
	static char name[LIM_FS_VIRT][256];
	static struct fs_virt_cfg many[LIM_FS_VIRT];
	struct fs_cfg cfg = { .virt = many, .nvirt = LIM_FS_VIRT };
	uint64_t fh, off = 0, next = 0;
	unsigned n = 0;
	struct fc c;

	for (unsigned i = 0; i < LIM_FS_VIRT; i++) {
		(void)snprintf(name[i], sizeof(name[i]), "%0200u", i);
		many[i] = (struct fs_virt_cfg){ .path = name[i], .mode = 0444 };
	}
	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	for (unsigned i = 0; i < LIM_FS_VIRT; i++)
		CHECK_EQ(fc_host_file(&c, name[i], ""), 0);
	CHECK_EQ(fc_open(&c, 1, O_RDONLY | O_DIRECTORY, &fh), 0);
	do {
		off = next;
		list.n = 0;
		CHECK_EQ(list_some(&c, 1, fh, off, 4000, false, &next), 0);
		n += list.n;
	} while (next != off);
	CHECK_EQ(n, LIM_FS_VIRT + 2);
	CHECK(fc_free(&c));
}

/* What one lookup takes nobody else finds: not by name, number, or by mounting the share anew. */
static void one_shot(void)
{
	struct fuse_entry_out e = { 0 };
	uint64_t n, fh, other, real;
	struct fuse_attr a;
	char buf[32];
	struct fc c;

	CHECK_EQ(fc_new(&c, &on_host, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "init", "the image's own"), 0);
	/* an answer that could not be given takes nothing */
	CHECK_EQ(fc_call(&c, FUSE_LOOKUP, 1, NULL, 0, "init", 5, &e, 8), -EINVAL);
	CHECK_EQ(fc_getattr(&c, fs_node_id(fs_node_at(c.fs, 6)), &a), -ESTALE);
	CHECK_EQ(fc_lookup_n(&c, 1, "init", 5, &e), 0);
	n = e.nodeid;
	CHECK(e.attr.mode == (S_IFREG | 04755) && e.attr.size == 7);
	CHECK(!e.entry_valid && !e.attr_valid);
	real = fc_lookup(&c, 1, "init");
	CHECK(real && real != n);
	CHECK_EQ(list_all(&c, 1, 4000, false), 0);
	CHECK(listed("init") >= 0);
	CHECK_EQ(unlinkat(c.dir, "init", 0), 0);
	CHECK_EQ(fc_lookup(&c, 1, "init"), 0);
	CHECK_EQ(list_all(&c, 1, 4000, true), 0);
	CHECK_EQ(listed("init"), -1);

	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &other), 0);
	CHECK_EQ(fc_release(&c, n, fh, false), 0);
	CHECK_EQ(fc_read(&c, n, other, 0, buf, 32), 7);
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_release(&c, n, fh, false), 0);
	CHECK_EQ(fc_release(&c, n, other, false), 0);
	CHECK_EQ(fc_getattr(&c, n, &a), -ESTALE);
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), -ESTALE);
	fc_forget(&c, n, 1);

	/* the guest's own name may have that place now; a new mount finds no more than that */
	CHECK_EQ(fc_create(&c, 1, "init", O_RDWR, 0644, &real, &fh), 0);
	CHECK_EQ(fc_call(&c, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL, 0), 0);
	CHECK_EQ(fc_init(&c, ~0ULL), 0);
	CHECK_EQ(fc_getattr(&c, n, &a), -ESTALE);
	CHECK_EQ(fc_lookup_n(&c, 1, "init", 5, &e), 0);
	CHECK(e.attr.size == 0 && e.nodeid != n);
	CHECK(fc_free(&c));
}

static void forgetting(void)
{
	uint32_t all = ARRAY_SIZE(entries) + 1;
	uint64_t n, dir, fh;
	struct fuse_attr a;
	struct fc c;

	CHECK_EQ(fc_new(&c, &on_host, NULL), 0);
	CHECK_EQ(c.fs->nodes.used, all);
	/* a number that nobody was told means nothing */
	for (uint64_t i = 2; i <= all; i++)
		CHECK_EQ(fc_getattr(&c, i, &a), -ESTALE);
	dir = fc_lookup(&c, 1, "etc");
	n = fc_lookup(&c, dir, "conf");
	CHECK_EQ(fc_lookup(&c, dir, "conf"), n);
	CHECK_EQ(fs_node_get(c.fs, n)->nlookup, 2);
	fc_forget(&c, n, 1);
	fc_forget(&c, dir, 1);
	CHECK_EQ(fc_getattr(&c, dir, &a), -ESTALE);
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	fc_forget(&c, n, 100);
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK_EQ(fc_release(&c, n, fh, false), 0);
	CHECK_EQ(fc_getattr(&c, n, &a), -ESTALE);
	CHECK_EQ(fc_lookup(&c, 1, "etc"), dir);
	CHECK_EQ(fc_lookup(&c, dir, "conf"), n);
	CHECK_EQ(c.fs->nodes.used, all);
	CHECK_EQ(fc_init(&c, ~0ULL), 0);
	CHECK_EQ(fc_getattr(&c, n, &a), -ESTALE);
	CHECK_EQ(fc_lookup(&c, 1, "etc"), dir);
	CHECK_EQ(c.fs->nodes.used, all);
	CHECK(fc_free(&c));
}

static void no_directory(void)
{
	struct fs_cfg cfg = { .empty = true };
	struct fuse_ioctl_in io = { .cmd = 0x7602, .flags = FUSE_IOCTL_DIR, .arg = 7 };
	uint64_t fh, pad = 0, dir;
	struct fuse_attr a;
	int32_t code = -1;
	char buf[64];
	struct fc c;

	cfg.exit_code = &code;
	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "real", ""), 0);
	CHECK_EQ(fc_getattr(&c, 1, &a), 0);
	CHECK(a.mode == (S_IFDIR | 0755) && !a.uid && a.nlink == 1);
	CHECK_EQ(fc_lookup(&c, 1, "real"), 0);
	CHECK_EQ(list_all(&c, 1, 4000, true), 0);
	CHECK(list.n == 2 && list.ino[0] == list.ino[1] && list.ino[0] == a.ino);
	CHECK_EQ(fc_call(&c, FS_OP_SYNCFS, 1, &pad, sizeof(pad), NULL, 0, NULL, 0), 0);
	CHECK_EQ(fc_open(&c, 1, O_RDONLY | O_DIRECTORY, &fh), 0);
	io.fh = fh;
	CHECK_EQ(fc_call(&c, FUSE_IOCTL, 1, &io, sizeof(io), NULL, 0, buf, 64), 0);
	CHECK_EQ(code, 7);
	CHECK_EQ(fc_init(&c, ~0ULL), 0);
	CHECK_EQ(fc_getattr(&c, 1, &a), 0);
	CHECK(fc_free(&c));

	CHECK_EQ(fc_new(&c, &nothing, NULL), 0);
	dir = fc_lookup(&c, 1, "etc");
	CHECK(dir && fc_lookup(&c, dir, "conf"));
	CHECK_EQ(list_all(&c, 1, 200, false), 0);
	CHECK(list.n == 5 && listed("etc") >= 0 && listed("tool") >= 0);
	pad = list.ino[0];
	CHECK_EQ(list_all(&c, dir, 200, false), 0);
	CHECK(list.n == 4 && list.ino[1] == pad);
	CHECK(fc_free(&c));
}

/* Through the window they are not to be had. */
static void window(void)
{
	static uint8_t large[FS_DAX_RANGE];
	struct fs_virt_cfg v = { .path = "l", .data = large, .len = sizeof(large), .mode = 0644 };
	struct fs_cfg cfg = { .virt = &v, .nvirt = 1 };
	struct fuse_setupmapping_in in = {
		.fh = UINT64_MAX, .len = FS_DAX_RANGE, .flags = FUSE_SETUPMAPPING_FLAG_READ
	};
	struct fuse_entry_out e = { 0 };
	struct mem m;
	struct fc c;

	mem_init(&m);
	CHECK_EQ(mem_add_shm(&m, GPA(FC_WINDOW_GPA), 4ULL * FS_DAX_RANGE, NULL), 0);
	fc_window = &m;
	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	CHECK(c.flags & FS_I_HAS_INODE_DAX);
	CHECK_EQ(fc_lookup_n(&c, 1, "l", 2, &e), 0);
	CHECK(e.nodeid && !(e.attr.flags & FS_ATTR_DAX));
	CHECK_EQ(fc_call(&c, FUSE_SETUPMAPPING, e.nodeid, &in, sizeof(in), NULL, 0, NULL, 0),
		-ENODEV);
	CHECK(fc_free(&c));
	fc_window = NULL;
	mem_destroy(&m);
}

static int load(struct fc *c, const struct fs_cfg *cfg, const struct save_out *s, size_t len)
{
	struct save_in in = { .buf = s->buf, .len = len };
	struct fs *was = c->fs;
	int r = fc_server(c, cfg, NULL);

	fs_server_free(was);
	return r < 0 ? FC_BROKEN : fs_load(c->fs, &in);
}

static void save_and_load(void)
{
	struct fs_virt_cfg other[ARRAY_SIZE(entries)];
	struct fs_cfg cfg = on_host;
	uint64_t dir, n, fh, dh, init, next;
	struct save_out s = { 0 };
	struct fuse_attr a;
	char buf[16];
	struct fc c;

	CHECK_EQ(fc_new(&c, &on_host, NULL), 0);
	dir = fc_lookup(&c, 1, "etc");
	n = fc_lookup(&c, dir, "conf");
	CHECK_EQ(fc_lookup(&c, dir, "conf"), n);
	init = fc_lookup(&c, 1, "init");
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_open(&c, dir, O_RDONLY | O_DIRECTORY, &dh), 0);
	fs_save(c.fs, &s);
	CHECK_EQ(s.err, 0);

	CHECK_EQ(load(&c, &on_host, &s, s.len), 0);
	CHECK_EQ(fs_node_get(c.fs, n)->nlookup, 2);
	CHECK_EQ(fc_read(&c, n, fh, 2, buf, 16), 5);
	CHECK(!memcmp(buf, "tting", 5));
	list.n = 0;
	CHECK_EQ(list_some(&c, dir, dh, 0, 4000, false, &next), 0);
	CHECK_EQ(list.n, 4);
	CHECK_EQ(fc_lookup(&c, 1, "init"), 0);
	CHECK_EQ(fc_getattr(&c, init, &a), 0);
	CHECK_EQ(fc_getattr(&c, fs_node_id(fs_node_at(c.fs, 7)), &a), -ESTALE);
	CHECK_EQ(fc_release(&c, n, fh, false), 0);
	CHECK_EQ(fc_release(&c, dir, dh, true), 0);

	/* another server than it was */
	CHECK(load(&c, &nothing, &s, s.len) < 0);
	CHECK(load(&c, NULL, &s, s.len) < 0);
	cfg.nvirt--;
	CHECK(load(&c, &cfg, &s, s.len) < 0);
	cfg.nvirt++;
	cfg.virt = other;
	memcpy(other, entries, sizeof(other));
	other[1].len--;
	CHECK(load(&c, &cfg, &s, s.len) < 0);
	other[1].len++;
	other[5].path = "tooL";
	CHECK(load(&c, &cfg, &s, s.len) < 0);
	other[5].path = "tool";
	CHECK_EQ(load(&c, &cfg, &s, s.len), 0);

	/* every truncated and every altered copy: refused or loaded, never worse */
	for (size_t at = 0; at < s.len; at++) {
		if (at & 1)
			CHECK(load(&c, &on_host, &s, at) < 0);
		s.buf[at] ^= 0x41;
		CHECK(load(&c, &on_host, &s, s.len) != FC_BROKEN);
		s.buf[at] ^= 0x41;
		(void)fc_init(&c, ~0ULL);
		CHECK_EQ(fc_getattr(&c, 1, &a), 0);
		CHECK(fc_lookup(&c, 1, "tool"));
	}
	save_out_free(&s);
	CHECK_EQ(on_the_host(&c), 0);
	CHECK(fc_free(&c));
}

/* A state in which a file of the host's lies in a directory that is virtual, or under its name. */
static void load_below(void)
{
	struct fs_virt_cfg dir = { .path = "etc", .dir = true, .mode = 0755 };
	struct fs_cfg cfg = { .virt = &dir, .nvirt = 1 };
	const uint32_t was[] = { 3, 0, FS_ROOT }; /* index, generation, parent */
	struct save_out s = { 0 };
	uint8_t *rec;
	struct fc c;

	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "foo", ""), 0);
	CHECK_EQ(fc_lookup(&c, 1, "foo"), was[0]);
	fs_save(c.fs, &s);
	CHECK_EQ(s.err, 0);
	rec = memmem(s.buf, s.len, was, sizeof(was));
	CHECK(rec);
	CHECK_EQ(load(&c, &cfg, &s, s.len), 0);
	rec[8] = 2;
	CHECK_EQ(load(&c, &cfg, &s, s.len), -EINVAL);
	rec[8] = FS_ROOT;
	rec = memmem(rec, s.len - (size_t)(rec - s.buf), "foo", 3);
	CHECK(rec);
	memcpy(rec, "etc", 3);
	CHECK_EQ(load(&c, &cfg, &s, s.len), -EINVAL);
	save_out_free(&s);
	CHECK(fc_free(&c));
}

static void tables(void)
{
	static const struct fs_virt_cfg wrong[][2] = {
		{ { .path = "a" }, { .path = "a" } },
		{ { .path = "a" }, { .path = "a/b" } },
		{ { .path = "a" }, { .path = "d/b" } },
		{ { .path = "a", .dir = true }, { .path = "a/" } },
		{ { .path = "a", .dir = true }, { .path = "a//b" } },
		{ { .path = "a", .dir = true }, { .path = "a/../b" } },
		{ { .path = "a" }, { .path = "/b" } },
		{ { .path = "a" }, { .path = "" } },
		{ { .path = "a" }, { .path = "." } },
		{ { .path = "a" }, { .path = "b", .len = 1 } },
		{ { .path = "a" }, { .path = "b", .dir = true, .one_shot = true } },
		{ { .path = "a" }, { .path = "b", .dir = true, .data = "", .len = 1 } },
	};
	static const int errs[] = { -EEXIST, -ENOTDIR, -ENOENT, -EINVAL, -EINVAL, -EINVAL, -EINVAL,
		-EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL };
	static const struct fs_virt_cfg same[] = { { .path = "x", .dir = true },
		{ .path = "x/x", .dir = true }, { .path = "x/x/x" } };
	struct fs_cfg cfg = { .virt = wrong[0], .nvirt = 2, .empty = true, .root_fd = -1 };
	static struct fs_virt_cfg many[LIM_FS_VIRT + 1];
	const struct fs_limits few = { 3, 4, 4, 0 };
	char text[300];
	struct fs *fs;

	_Static_assert(ARRAY_SIZE(wrong) == ARRAY_SIZE(errs), "one error each");
	strcpy(cfg.tag, "t");
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct error e = { 0 };

		cfg.virt = wrong[i];
		CHECK_EQ(fs_server_new(&cfg, NULL, &fs, &e), errs[i]);
		(void)snprintf(text, sizeof(text), "\"%s\"", wrong[i][1].path);
		CHECK(strstr(e.msg, text));
	}
	cfg.virt = many;
	cfg.nvirt = ARRAY_SIZE(many);
	CHECK_EQ(fs_server_new(&cfg, NULL, &fs, NULL), -E2BIG);
	cfg.virt = same;
	cfg.nvirt = 3;
	CHECK_EQ(fs_server_new(&cfg, &few, &fs, NULL), -ENOMEM);
	CHECK_EQ(fs_server_new(&cfg, NULL, &fs, NULL), 0);
	fs_server_free(fs);
	cfg.root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_EQ(fs_server_new(&cfg, NULL, &fs, NULL), -EINVAL);
	cfg.empty = false;
	cfg.root_fd = -1;
	CHECK_EQ(fs_server_new(&cfg, NULL, &fs, NULL), -EBADF);
}

static const struct test_case cases[] = { TEST(files), TEST(refused_to_files),
	TEST(refused_in_directory), TEST(refused_without_host), TEST(readonly), TEST(seeking),
	TEST(listing), TEST(listing_hidden), TEST(one_shot), TEST(forgetting), TEST(no_directory),
	TEST(window), TEST(save_and_load), TEST(load_below), TEST(tables) };

TEST_MAIN(cases)
