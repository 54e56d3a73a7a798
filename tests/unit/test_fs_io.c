// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: data, attributes, ownership, directories, xattrs; and random operations against a
 * directory used directly. */
#include <sys/resource.h>
#include <sys/xattr.h>

#include <linux/fs.h>

#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

static void appending(void)
{
	uint64_t f, fh, fh2;
	char b[32];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_create(&c, 1, "log", O_WRONLY | O_APPEND, 0644, &f, &fh), 0);
	CHECK_EQ(fc_write(&c, f, fh, 0, "one.", 4, O_APPEND, 0), 4);
	/* somebody else appends: the guest's idea of the end is old */
	CHECK_EQ(fc_host_file(&c, "log", "one.two."), 0);
	CHECK_EQ(fc_write(&c, f, fh, 4, "three.", 6, O_APPEND, 0), 6);
	/* a page of a mapping goes where it belongs */
	CHECK_EQ(fc_write(&c, f, fh, 0, "ONE.", 4, O_APPEND, FUSE_WRITE_CACHE), 4);
	CHECK_EQ(fc_write(&c, f, fh, 0, "four.", 5, O_APPEND, 0), 5);
	CHECK_EQ(fc_open(&c, f, O_RDONLY, &fh2), 0);
	CHECK_EQ(fc_read(&c, f, fh2, 0, b, 32), 19);
	CHECK(!memcmp(b, "ONE.two.three.four.", 19));
	CHECK_EQ(fc_write(&c, f, fh2, 0, "x", 1, 0, 0), -EBADF);
	CHECK_EQ(fc_read(&c, f, fh, 0, b, 1), -EBADF);
	CHECK(fc_free(&c));
}

static void set_id_bits(void)
{
	struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 06755 };
	uint64_t f, fh, g, gh;
	struct fuse_attr a;
	struct fc c;

	if (geteuid()) {
		printf("# not root: skipped\n");
		return;
	}
	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0755, &f, &fh), 0);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
		CHECK_EQ(a.mode & 07777, 06755);
		/* a writer with the right to keep them, then one without */
		CHECK_EQ(fc_write(&c, f, fh, 0, "x", 1, 0, 0), 1);
		CHECK_EQ(fc_getattr(&c, f, &a), 0);
		CHECK_EQ(a.mode & 07777, 06755);
		CHECK_EQ(fc_write(&c, f, fh, 0, "x", 1, 0, FUSE_WRITE_KILL_SUIDGID), 1);
		CHECK_EQ(fc_getattr(&c, f, &a), 0);
		CHECK_EQ(a.mode & 07777, 0755);
	}
	CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
	sa = (struct fuse_setattr_in){ .valid = FATTR_SIZE, .size = 10 };
	CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
	CHECK_EQ(a.mode & 07777, 06755);
	sa.valid |= FS_FATTR_KILL;
	CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
	CHECK_EQ(a.mode & 07777, 0755);
	/* chown takes them away as it does natively */
	sa = (struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 06755 };
	CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
	sa = (struct fuse_setattr_in){ .valid = FATTR_UID | FATTR_GID, .uid = 12, .gid = 34 };
	CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
	CHECK_EQ(a.mode & 07777, 0755);
	CHECK_EQ(a.uid, 12);
	CHECK_EQ(a.gid, 34);
	CHECK_EQ(fc_create(&c, 1, "g", O_RDWR, 0644, &g, &gh), 0);
	/* but a set-group bit without execution, if it is root's, whoever wrote before */
	for (unsigned i = 0; i < 2; i++) {
		c.uid = 0;
		sa = (struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 02644 };
		CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
		CHECK_EQ(fc_write(&c, g, gh, 0, "x", 1, 0, i ? 0 : FUSE_WRITE_KILL_SUIDGID), 1);
		sa.valid |= FATTR_GID | FATTR_UID;
		sa.gid = 56 + i;
		sa.uid = 12;
		sa.valid &= ~(uint32_t)FATTR_MODE;
		c.uid = i ? 12 : 0;
		CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
		CHECK_EQ(a.gid, 56 + i);
		CHECK_EQ(a.mode & 07777, i ? 0644 : 02644);
	}
	CHECK(fc_free(&c));
}

static void ownership(void)
{
	uint64_t d, f, fh, n;
	struct fuse_attr a;
	struct fc c;

	if (geteuid()) {
		printf("# not root: skipped\n");
		return;
	}
	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	/* the user's right to write here was checked in the guest, whatever the mode says on the
	 * host */
	c.uid = 1234;
	c.gid = 567;
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0700, &d), 0);
	CHECK_EQ(fc_getattr(&c, d, &a), 0);
	CHECK_EQ(a.uid, 1234);
	CHECK_EQ(a.gid, 567);
	c.uid = 99;
	CHECK_EQ(fc_create(&c, d, "f", O_RDWR, 04711, &f, &fh), 0);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	CHECK_EQ(a.uid, 99);
	CHECK_EQ(a.mode & 07777, 04711);
	CHECK_EQ(fc_symlink(&c, d, "l", "t", &n), 0);
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK_EQ(a.uid, 99);
	/* a directory with SGID gives its group, and to directories the bit */
	CHECK_EQ(fchmodat(c.dir, "d", 02777, 0), 0);
	c.gid = 8;
	CHECK_EQ(fc_mkdir(&c, d, "sub", 0755, &n), 0);
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK_EQ(a.gid, 567);
	CHECK_EQ(a.mode & 07777, 02755);
	CHECK_EQ(fc_create(&c, d, "g", O_RDWR, 0644, &n, &fh), 0);
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK_EQ(a.gid, 567);
	/* the thread is itself again */
	c.uid = c.gid = 0;
	CHECK_EQ(fc_mkdir(&c, 1, "root", 0755, &n), 0);
	CHECK_EQ(fc_getattr(&c, n, &a), 0);
	CHECK_EQ(a.uid, 0);
	CHECK(fc_free(&c));
}

static void keep_cache(void)
{
	struct fuse_open_in in = { .flags = O_RDONLY };
	struct fuse_open_out o;
	uint64_t f, fh;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "f", "text"), 0);
	f = fc_lookup(&c, 1, "f");
	CHECK_EQ(fc_call(&c, FUSE_OPEN, f, &in, 8, NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.open_flags & FOPEN_KEEP_CACHE, 0);
	CHECK_EQ(fc_call(&c, FUSE_OPEN, f, &in, 8, NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.open_flags & FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE);
	CHECK_EQ(fc_host_file(&c, "f", "other text"), 0);
	CHECK_EQ(fc_call(&c, FUSE_OPEN, f, &in, 8, NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.open_flags & FOPEN_KEEP_CACHE, 0);
	/* what the guest wrote itself does not count */
	CHECK_EQ(fc_open(&c, f, O_WRONLY, &fh), 0);
	CHECK_EQ(fc_write(&c, f, fh, 0, "mine, and longer", 16, 0, 0), 16);
	CHECK_EQ(fc_release(&c, f, fh, false), 0);
	CHECK_EQ(fc_call(&c, FUSE_OPEN, f, &in, 8, NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.open_flags & FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE);
	CHECK(fc_free(&c));
}

/* Reads a directory in replies of @room bytes; counts entries, checks names and lookups. */
static int list(struct fc *c, uint64_t dir, uint64_t fh, bool plus, uint32_t room, unsigned *dots)
{
	struct fuse_read_in in = { .fh = fh, .size = room };
	static char b[65536];
	size_t len;
	int n = 0;

	*dots = 0;
	for (;;) {
		int r = fc_call(c, plus ? FUSE_READDIRPLUS : FUSE_READDIR, dir, &in, sizeof(in),
			NULL, 0, b, room);
		size_t head = plus ? sizeof(struct fuse_entry_out) : 0;

		if (r)
			return r;
		len = c->out_len;
		if (!len)
			return n;
		for (size_t at = 0; at < len;) {
			struct fuse_dirent *d = (void *)(b + at + head);
			struct fuse_entry_out *e = (void *)(b + at);

			if (plus && e->nodeid &&
				(S_ISDIR(e->attr.mode) ? DT_DIR : DT_REG) != d->type)
				return -1;
			if (d->name[0] == '.') {
				(*dots)++;
				if (plus && e->nodeid)
					return -1;
			} else if (plus && !e->nodeid) {
				return -1;
			} else if (plus) {
				fc_forget(c, e->nodeid, 1);
			}
			n++;
			in.offset = d->off;
			at += head + FUSE_DIRENT_SIZE(d);
		}
	}
}

static void directories(void)
{
	struct fs_limits lim = { 4000, 8, 100, 0 };
	struct fuse_read_in in = { .size = 16 };
	uint64_t d, fh[40];
	unsigned dots;
	char name[32], b[32];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &lim), 0);
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &d), 0);
	for (unsigned i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "d/%s%u", i % 3 ? "f" : "a-longer-name-", i);
		if (i % 5)
			CHECK_EQ(fc_host_file(&c, name, ""), 0);
		else
			CHECK_EQ(mkdirat(c.dir, name, 0755), 0);
	}
	/* more handles than buffers, read in turns by one and in whole by the others */
	for (unsigned i = 0; i < 40; i++)
		CHECK_EQ(fc_open(&c, d, O_DIRECTORY, &fh[i]), 0);
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(list(&c, d, fh[i], i & 1, i % 3 ? 4096 : 512, &dots), 1002);
		CHECK_EQ(dots, 2);
	}
	/* every entry was forgotten: only root and d are left */
	CHECK_EQ(c.fs->nodes.used, 2);
	/* rewound, it shows what is new; no entry fits into 16 bytes */
	CHECK_EQ(fc_host_file(&c, "d/new", ""), 0);
	CHECK_EQ(list(&c, d, fh[0], false, 4096, &dots), 1003);
	in.fh = fh[0];
	CHECK_EQ(fc_call(&c, FUSE_READDIR, d, &in, sizeof(in), NULL, 0, b, 16), -EINVAL);
	in.offset = UINT64_MAX;
	CHECK_EQ(fc_call(&c, FUSE_READDIR, d, &in, sizeof(in), NULL, 0, b, 16), -EINVAL);
	for (unsigned i = 0; i < 40; i++)
		CHECK_EQ(fc_release(&c, d, fh[i], true), 0);
	CHECK_EQ(fc_read(&c, d, fh[0], 0, b, 16), -EBADF);
	CHECK(fc_free(&c));
}

static int set_x(struct fc *c, uint64_t n, const char *name, const void *v, uint32_t len)
{
	struct fuse_setxattr_in in = { .size = len };
	char b[300];
	size_t l = strlen(name) + 1;

	memcpy(b, name, l);
	memcpy(b + l, v, len);
	return fc_call(c, FUSE_SETXATTR, n, &in, sizeof(in), b, l + len, NULL, 0);
}

static int get_x(struct fc *c, uint64_t n, const char *name, void *v, uint32_t room)
{
	struct fuse_getxattr_in in = { .size = room };
	struct fuse_getxattr_out o;
	int r = fc_call(c, FUSE_GETXATTR, n, &in, sizeof(in), name, strlen(name) + 1, room ? v : &o,
		room ? room : sizeof(o));

	return r ? r : room ? (int)c->out_len : (int)o.size;
}

static void xattrs(void)
{
	struct fuse_getxattr_in in = { .size = 100 };
	uint64_t f, l, dev;
	char b[128];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "f", ""), 0);
	f = fc_lookup(&c, 1, "f");
	CHECK_EQ(fc_symlink(&c, 1, "l", "../canary", &l), 0);
	CHECK_EQ(set_x(&c, f, "user.a", "value", 5), 0);
	CHECK_EQ(get_x(&c, f, "user.a", b, 0), 5);
	CHECK_EQ(get_x(&c, f, "user.a", b, 100), 5);
	CHECK(!memcmp(b, "value", 5));
	CHECK_EQ(get_x(&c, f, "user.a", b, 3), -ERANGE);
	CHECK_EQ(get_x(&c, f, "user.none", b, 3), -ENODATA);
	CHECK_EQ(set_x(&c, f, "trusted.a", "x", 1), -EPERM);
	CHECK_EQ(set_x(&c, f, "security.selinux", "x", 1), -EPERM);
	CHECK_EQ(set_x(&c, f, "system.posix_acl_access", "x", 1), -EINVAL);
	if (!geteuid()) {
		char path[100];

		(void)snprintf(path, sizeof(path), "%s/f", c.path);
		CHECK_EQ(setxattr(path, "trusted.host", "secret", 6, 0), 0);
		CHECK_EQ(get_x(&c, f, "trusted.host", b, 100), -ENODATA);
	}
	CHECK_EQ(fc_call(&c, FUSE_LISTXATTR, f, &in, sizeof(in), NULL, 0, b, 100), 0);
	CHECK_EQ(c.out_len, 7);
	CHECK(!memcmp(b, "user.a", 7));
	/* a link's are the link's, which may have none of user. */
	CHECK(set_x(&c, l, "user.a", "x", 1) < 0);
	CHECK_EQ(get_x(&c, l, "user.a", b, 100), -ENODATA);
	CHECK_EQ(mkfifoat(c.dir, "fifo", 0600), 0);
	dev = fc_lookup(&c, 1, "fifo");
	CHECK_EQ(fc_call(&c, FUSE_LISTXATTR, dev, &in, sizeof(in), NULL, 0, b, 100), 0);
	CHECK_EQ(fc_name_op(&c, FUSE_REMOVEXATTR, f, "user.a"), 0);
	CHECK_EQ(fc_name_op(&c, FUSE_REMOVEXATTR, f, "user.a"), -ENODATA);
	CHECK_EQ(fc_name_op(&c, FUSE_REMOVEXATTR, f, ""), -ERANGE);
	CHECK(fc_free(&c));
}

static void holes_and_copies(void)
{
	const struct fuse_setupmapping_in setup = { 0 };
	struct fuse_fallocate_in fa = { .offset = 0, .length = 1 << 20 };
	struct fuse_lseek_in ls = { .whence = SEEK_DATA };
	struct fuse_lseek_out lo;
	struct fuse_copy_file_range_in cp = { .len = 1 << 20 };
	struct fuse_write_out wo;
	struct fuse_statfs_out so;
	struct fs_statx_in sx = { .sx_mask = STATX_BTIME };
	struct fs_statx_out xo;
	struct fuse_fsync_in fsy = { 0 };
	uint64_t f, fh, g, gh, pad = 0;
	struct fuse_attr a;
	char b[8];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_create(&c, 1, "g", O_RDWR, 0644, &g, &gh), 0);
	fa.fh = ls.fh = cp.fh_in = fsy.fh = fh;
	CHECK_EQ(fc_write(&c, f, fh, 1 << 20, "end", 3, 0, 0), 3);
	CHECK_EQ(fc_call(&c, FUSE_LSEEK, f, &ls, sizeof(ls), NULL, 0, &lo, sizeof(lo)), 0);
	CHECK_EQ(lo.offset, 1 << 20);
	CHECK_EQ(fc_call(&c, FUSE_FALLOCATE, f, &fa, sizeof(fa), NULL, 0, NULL, 0), 0);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	CHECK(a.blocks >= 2048);
	fa.mode = 0x40;
	CHECK_EQ(fc_call(&c, FUSE_FALLOCATE, f, &fa, sizeof(fa), NULL, 0, NULL, 0), -EOPNOTSUPP);
	fa.mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	CHECK_EQ(fc_call(&c, FUSE_FALLOCATE, f, &fa, sizeof(fa), NULL, 0, NULL, 0), 0);
	cp.nodeid_out = g;
	cp.fh_out = gh;
	cp.off_in = 1 << 20;
	CHECK_EQ(
		fc_call(&c, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp), NULL, 0, &wo, sizeof(wo)), 0);
	CHECK_EQ(wo.size, 3);
	CHECK_EQ(fc_read(&c, g, gh, 0, b, 8), 3);
	/* to a file that was opened for appending and is not any more, as only the guest knows */
	CHECK_EQ(fc_open(&c, g, O_WRONLY | O_APPEND, &cp.fh_out), 0);
	CHECK_EQ(
		fc_call(&c, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp), NULL, 0, &wo, sizeof(wo)), 0);
	CHECK_EQ(wo.size, 3);
	CHECK_EQ(fc_read(&c, g, gh, 0, b, 8), 3);
	cp.fh_out = fh;
	CHECK_EQ(fc_call(&c, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp), NULL, 0, &wo, sizeof(wo)),
		-EBADF);
	CHECK_EQ(fc_call(&c, FUSE_STATFS, f, NULL, 0, NULL, 0, &so, sizeof(so)), 0);
	CHECK(so.st.blocks && so.st.namelen == 255);
	CHECK_EQ(fc_call(&c, FS_OP_STATX, f, &sx, sizeof(sx), NULL, 0, &xo, sizeof(xo)), 0);
	CHECK_EQ(xo.stat.size, (1 << 20) + 3);
	CHECK(xo.stat.mask & STATX_BTIME);
	CHECK_EQ(fc_call(&c, FUSE_FSYNC, f, &fsy, sizeof(fsy), NULL, 0, NULL, 0), 0);
	CHECK_EQ(fc_call(&c, FS_OP_SYNCFS, 1, &pad, 8, NULL, 0, NULL, 0), 0);
	CHECK_EQ(fc_call(&c, FUSE_IOCTL, f, b, 8, NULL, 0, NULL, 0), -EINVAL);
	CHECK_EQ(fc_call(&c, FUSE_SETUPMAPPING, f, &setup, sizeof(setup), NULL, 0, NULL, 0),
		-ENOSYS);
	CHECK_EQ(fc_call(&c, FUSE_GETLK, f, b, 8, NULL, 0, NULL, 0), -EINVAL);
	CHECK(fc_free(&c));
}

/* The process runs out of fds: idle ones are given back, the guest sees an error only when nothing
 * else is left. */
static void out_of_fds(void)
{
	struct rlimit was, few;
	uint64_t d[64], fh;
	char name[16];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = was;
	few.rlim_cur = 24;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (unsigned i = 0; i < 64; i++) {
		(void)snprintf(name, sizeof(name), "d%u", i);
		CHECK_EQ(fc_mkdir(&c, 1, name, 0755, &d[i]), 0);
		CHECK_EQ(fc_open(&c, d[i], O_DIRECTORY, &fh), 0);
		CHECK_EQ(fc_release(&c, d[i], fh, true), 0);
	}
	for (unsigned i = 0; i < 64; i++) {
		int r = fc_open(&c, d[i], O_DIRECTORY, &fh);

		CHECK(r == 0 || r == -EMFILE);
		CHECK(i < 24 || r == -EMFILE);
	}
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &was), 0);
	CHECK_EQ(fc_open(&c, d[0], O_DIRECTORY, &fh), 0);
	CHECK(fc_free(&c));
}

static int do_ioctl(struct fc *c, uint64_t n, uint64_t fh, uint32_t cmd, const void *arg,
	uint32_t n_arg, void *res, uint32_t n_res)
{
	struct fuse_ioctl_in in = { .fh = fh, .cmd = cmd, .in_size = n_arg, .out_size = n_res };
	struct {
		struct fuse_ioctl_out o;
		uint8_t b[64];
	} out;
	int r = fc_call(c, FUSE_IOCTL, n, &in, sizeof(in), arg, n_arg, &out, sizeof(out.o) + n_res);

	if (!r && n_res)
		memcpy(res, out.b, n_res);
	return r;
}

static void ioctls(void)
{
	struct fsxattr x = { 0 };
	uint64_t f, fh;
	uint32_t v = 0;
	struct fc c;
	int r;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(do_ioctl(&c, f, fh, 0x5401, NULL, 0, NULL, 0), -ENOTTY);
	CHECK_EQ(do_ioctl(&c, f, fh + 5, (uint32_t)FS_IOC_GETFLAGS, NULL, 0, &v, 4), -EBADF);
	r = do_ioctl(&c, f, fh, (uint32_t)FS_IOC_GETFLAGS, NULL, 0, &v, 4);
	/* not every file system has them */
	if (!r) {
		CHECK_EQ(do_ioctl(&c, f, fh, (uint32_t)FS_IOC_SETFLAGS, &v, 4, NULL, 0), 0);
		CHECK_EQ(do_ioctl(&c, f, fh, (uint32_t)FS_IOC_SETFLAGS, &v, 3, NULL, 0), -EINVAL);
		/* a kernel that does not ask whose file it is */
		c.fs->minor = 31;
		c.uid = 1234;
		CHECK_EQ(do_ioctl(&c, f, fh, (uint32_t)FS_IOC_SETFLAGS, &v, 4, NULL, 0), -EPERM);
		c.uid = geteuid();
		CHECK_EQ(do_ioctl(&c, f, fh, (uint32_t)FS_IOC_SETFLAGS, &v, 4, NULL, 0), 0);
		/* nor whether the owner may do what takes a right */
		(void)!fchownat(c.dir, "f", 1234, (gid_t)-1, 0);
		c.uid = 1234;
		v ^= FS_APPEND_FL;
		CHECK_EQ(do_ioctl(&c, f, fh, (uint32_t)FS_IOC_SETFLAGS, &v, 4, NULL, 0), -EPERM);
		c.uid = geteuid();
	} else {
		CHECK(r == -ENOTTY || r == -EOPNOTSUPP);
	}
	r = do_ioctl(&c, f, fh, (uint32_t)FS_IOC_FSGETXATTR, NULL, 0, &x, sizeof(x));
	if (!r) {
		x.fsx_projid ^= 1;
		CHECK_EQ(do_ioctl(&c, f, fh, (uint32_t)FS_IOC_FSSETXATTR, &x, sizeof(x), NULL, 0),
			-EPERM);
	} else {
		CHECK(r == -ENOTTY || r == -EOPNOTSUPP);
	}
	CHECK(fc_free(&c));
}

/* What a guest's init ends with is taken where somebody asked for it, on files and directories. */
static void exit_codes(void)
{
	int32_t code = INT32_MAX;
	const struct fs_cfg cfg = { .exit_code = &code };
	struct fuse_ioctl_in in = { .cmd = 0x7602, .arg = 7, .flags = FUSE_IOCTL_DIR };
	struct fuse_ioctl_out out;
	uint64_t f, fh;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_open(&c, 1, O_DIRECTORY, &in.fh), 0);
	CHECK_EQ(fc_call(&c, FUSE_IOCTL, 1, &in, sizeof(in), NULL, 0, &out, sizeof(out)), -ENOTTY);
	CHECK(fc_free(&c));
	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	in.fh = 99;
	CHECK_EQ(fc_call(&c, FUSE_IOCTL, 1, &in, sizeof(in), NULL, 0, &out, sizeof(out)), -EBADF);
	CHECK_EQ(code, INT32_MAX);
	CHECK_EQ(fc_open(&c, 1, O_DIRECTORY, &in.fh), 0);
	CHECK_EQ(fc_call(&c, FUSE_IOCTL, 1, &in, sizeof(in), NULL, 0, &out, sizeof(out)), 0);
	CHECK_EQ(code, 7);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	in = (struct fuse_ioctl_in){ .cmd = 0x7602, .arg = 300, .fh = fh };
	CHECK_EQ(fc_call(&c, FUSE_IOCTL, f, &in, sizeof(in), NULL, 0, &out, sizeof(out)), 0);
	CHECK_EQ(code, 300);
	CHECK(fc_free(&c));
}

static int set_acl(
	struct fc *c, uint64_t n, const char *name, const void *acl, uint32_t size, uint32_t ext)
{
	struct fuse_setxattr_in in = { .size = size };
	uint8_t b[256];
	size_t at = strlen(name) + 1;

	in.setxattr_flags = ext;
	memcpy(b, name, at);
	memcpy(b + at, acl, size);
	return fc_call(c, FUSE_SETXATTR, n, &in, sizeof(in), b, at + size, NULL, 0);
}

/* ACLs: the mode follows them, a directory's default one stands in for the umask, SGID may fall. */
static void acls(void)
{
	/* version 2; owner rwx, user 1000 rwx, group r-x, mask rwx, others --- */
	static const uint8_t acl[] = { 2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 232,
		3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 0,
		0, 255, 255, 255, 255 };
	struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 02755 };
	struct fuse_mkdir_in md = { .mode = 0777, .umask = 077 };
	struct fuse_entry_out e;
	struct fuse_attr a;
	uint64_t d;
	struct fc c;
	int r;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK(c.flags & FS_I_POSIX_ACL);
	/* What write(2) has returned for is the host's: the guest keeps nothing back. */
	CHECK(!(c.flags & FS_I_WRITEBACK_CACHE));
	CHECK_EQ(fc_call(&c, FUSE_MKDIR, 1, &md, sizeof(md), "d", 2, &e, sizeof(e)), 0);
	CHECK_EQ(e.attr.mode & 07777, 0700);
	d = e.nodeid;
	CHECK_EQ(fc_setattr(&c, d, &sa, NULL), 0);
	r = set_acl(&c, d, "system.posix_acl_access", acl, sizeof(acl), 0);
	if (r == -EOPNOTSUPP) {
		printf("# no ACLs on this file system\n");
		CHECK(fc_free(&c));
		return;
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(fc_getattr(&c, d, &a), 0);
	CHECK_EQ(a.mode & 0777, 0770);
	CHECK_EQ(set_acl(&c, d, "system.posix_acl_default", acl, sizeof(acl), 0), 0);
	CHECK_EQ(fc_call(&c, FUSE_MKDIR, d, &md, sizeof(md), "e", 2, &e, sizeof(e)), 0);
	CHECK_EQ(e.attr.mode & 0777, 0770);
	CHECK_EQ(set_acl(&c, d, "system.other", acl, sizeof(acl), 0), -EOPNOTSUPP);
	CHECK_EQ(set_acl(&c, d, "trusted.x", acl, sizeof(acl), 0), -EPERM);
	/* a guest that takes no ACLs does without, and its umask is its own */
	CHECK_EQ(fc_init(&c, ~(FS_I_POSIX_ACL | FS_I_SETXATTR_EXT)), 0);
	CHECK(!(c.flags & FS_I_DONT_MASK));
	CHECK_EQ(fc_call(&c, FUSE_MKDIR, 1, &md, sizeof(md), "g", 2, &e, sizeof(e)), 0);
	CHECK_EQ(e.attr.mode & 07777, 0777);
	CHECK(fc_free(&c));
}

/* What has been written is in the host's file when the answer comes, without flush or release. */
static void written(void)
{
	uint64_t f, fh;
	struct fc c;
	char b[8];
	int fd;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_write(&c, f, fh, 0, "written", 7, 0, 0), 7);
	fd = openat(c.dir, "f", O_RDONLY | O_CLOEXEC);
	CHECK_EQ(read(fd, b, sizeof(b)), 7);
	CHECK(!memcmp(b, "written", 7));
	(void)close(fd);
	CHECK(fc_free(&c));
}

/* A number in two pieces is one number to a file of procfs. */
static void at_once(void)
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char text[] = "11\n", bad[] = "x";
	struct iovec v[2] = { { text, 1 }, { text + 1, 2 } }, w;
	struct fuse_write_out o = { 0 };
	struct fs_req q = { .x = { .kind = FS_X_WRITE, .fd = fd, .size = 3, .at_once = true } };
	char b[16] = "";

	CHECK(fd >= 0);
	w = (struct iovec){ &o, sizeof(o) };
	iobuf_init(&q.rd, v, 2);
	iobuf_init(&q.wr, &w, 1);
	CHECK_EQ(fs_xfer_do(&q), 0);
	CHECK_EQ(o.size, 3);
	CHECK_EQ(pread(fd, b, sizeof(b) - 1, 0), 3);
	CHECK_STR(b, "11\n");
	/* what the kernel does not take */
	v[0] = (struct iovec){ bad, 1 };
	q.x.size = 3;
	iobuf_init(&q.rd, v, 2);
	iobuf_init(&q.wr, &w, 1);
	CHECK_EQ(fs_xfer_do(&q), -EINVAL);
	(void)close(fd);
}

static const struct test_case cases[] = {
	TEST(appending),
	TEST(set_id_bits),
	TEST(ownership),
	TEST(keep_cache),
	TEST(directories),
	TEST(xattrs),
	TEST(holes_and_copies),
	TEST(out_of_fds),
	TEST(ioctls),
	TEST(exit_codes),
	TEST(acls),
	TEST(written),
	TEST(at_once),
};

TEST_MAIN(cases)
