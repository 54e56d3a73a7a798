// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: nodes over time. Few fds, renames, removals, hard links, changes by the host, save and
 * load. */
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

static const struct fs_limits tiny = { 4096, 3, 64, 0 };

/* A tree deeper and wider than the fds that may be kept; every node is used again, top and bottom.
 */
static void few_fds(void)
{
	uint64_t d[40], f[40], fh;
	struct fuse_attr a;
	char b[8];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &tiny), 0);
	for (unsigned i = 0; i < 40; i++) {
		CHECK_EQ(fc_mkdir(&c, i ? d[i - 1] : 1, "d", 0755, &d[i]), 0);
		CHECK_EQ(fc_create(&c, d[i], "f", O_RDWR, 0644, &f[i], &fh), 0);
		CHECK_EQ(fc_write(&c, f[i], fh, 0, "abcd", 4, 0, 0), 4);
		CHECK_EQ(fc_release(&c, f[i], fh, false), 0);
		CHECK(c.fs->lru_n <= 3);
	}
	for (unsigned i = 40; i-- > 0;) {
		CHECK_EQ(fc_open(&c, f[i], O_RDONLY, &fh), 0);
		CHECK_EQ(fc_read(&c, f[i], fh, 0, b, 8), 4);
		CHECK_EQ(fc_release(&c, f[i], fh, false), 0);
		CHECK_EQ(fc_getattr(&c, d[(i * 7) % 40], &a), 0);
		CHECK(c.fs->lru_n <= 3);
	}
	/* Parents that the guest forgot stay as long as something is below them. */
	for (unsigned i = 0; i < 40; i++)
		fc_forget(&c, d[i], 1);
	CHECK_EQ(fc_getattr(&c, d[20], &a), -ESTALE);
	CHECK_EQ(fc_getattr(&c, f[39], &a), 0);
	for (unsigned i = 0; i < 40; i++)
		fc_forget(&c, f[i], 1);
	CHECK_EQ(c.fs->nodes.used, 1);
	CHECK(fc_free(&c));
}

static void rename_then_reopen(void)
{
	uint64_t d, e, f, g, fh, x;
	struct fuse_attr a;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &tiny), 0);
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &d), 0);
	CHECK_EQ(fc_mkdir(&c, 1, "e", 0755, &e), 0);
	CHECK_EQ(fc_create(&c, d, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_release(&c, f, fh, false), 0);
	CHECK_EQ(fc_rename(&c, 1, "d", e, "moved", 0), 0);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_open(&c, f, O_RDWR, &fh), 0);
	CHECK_EQ(fc_release(&c, f, fh, false), 0);
	CHECK_EQ(fc_rename(&c, d, "f", 1, "g", 0), 0);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	CHECK_EQ(fc_lookup(&c, 1, "g"), f);
	/* exchange of a file and a directory */
	CHECK_EQ(fc_rename(&c, 1, "g", e, "moved", RENAME_EXCHANGE), 0);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	CHECK(S_ISREG(a.mode));
	CHECK_EQ(fc_getattr(&c, d, &a), 0);
	CHECK(S_ISDIR(a.mode));
	CHECK_EQ(fc_lookup(&c, e, "moved"), f);
	/* what a rename replaces lives on for who knows it */
	CHECK_EQ(fc_create(&c, 1, "new", O_RDWR, 0600, &g, &x), 0);
	CHECK_EQ(fc_rename(&c, 1, "new", e, "moved", RENAME_NOREPLACE), -EEXIST);
	CHECK_EQ(fc_rename(&c, 1, "new", e, "moved", 0), 0);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	CHECK_EQ(a.nlink, 0);
	CHECK_EQ(fc_getattr(&c, g, &a), 0);
	CHECK_EQ(a.nlink, 1);
	CHECK_EQ(fc_rename(&c, 1, "nothing", 1, "x", 0), -ENOENT);
	CHECK_EQ(fc_rename(&c, 1, "e", e, "x", 0), -EINVAL);
	CHECK_EQ(fc_rename(&c, 1, "e", 1, "x", 1U << 7), -EINVAL);
	CHECK(fc_free(&c));
}

static void unlinked(void)
{
	struct fuse_setattr_in sa = { .valid = FATTR_SIZE | FATTR_MODE, .size = 2, .mode = 0640 };
	uint64_t f, fh, d, x;
	struct fuse_attr a;
	char b[8];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &tiny), 0);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_write(&c, f, fh, 0, "abcd", 4, 0, 0), 4);
	CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, "f"), 0);
	CHECK_EQ(fc_lookup(&c, 1, "f"), 0);
	CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
	CHECK_EQ(a.size, 2);
	CHECK_EQ(a.nlink, 0);
	CHECK_EQ(fc_read(&c, f, fh, 0, b, 8), 2);
	/* closed, but still known: its last fd is kept, and can be opened again (/proc/self/fd) */
	CHECK_EQ(fc_release(&c, f, fh, false), 0);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_open(&c, f, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_read(&c, f, fh, 0, b, 8), 2);
	CHECK_EQ(fc_release(&c, f, fh, false), 0);
	fc_forget(&c, f, 1);
	CHECK_EQ(c.fs->pinned, 0);
	/* a directory that is somebody's cwd */
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &d), 0);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_name_op(&c, FUSE_RMDIR, 1, "d"), 0);
	CHECK_EQ(fc_getattr(&c, d, &a), 0);
	CHECK_EQ(fc_mkdir(&c, d, "x", 0755, &x), -ENOENT);
	CHECK_EQ(fc_name_op(&c, FUSE_RMDIR, 1, "d"), -ENOENT);
	fc_forget(&c, d, 1);
	CHECK_EQ(c.fs->nodes.used, 1);
	/* more of them than may be held: the rest is stale, nothing leaks */
	for (unsigned i = 0; i < 20; i++) {
		CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &d), 0);
		CHECK_EQ(fc_name_op(&c, FUSE_RMDIR, 1, "d"), 0);
		CHECK(c.fs->pinned <= 1);
	}
	CHECK_EQ(fc_getattr(&c, d, &a), -ESTALE);
	CHECK(fc_free(&c));
}

static void hard_links(void)
{
	uint64_t f, fh, g, d;
	struct fuse_attr a;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &tiny), 0);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_release(&c, f, fh, false), 0);
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &d), 0);
	CHECK_EQ(fc_link(&c, f, d, "g", &g), 0);
	CHECK_EQ(g, f);
	CHECK_EQ(fc_link(&c, f, d, "g", &g), -EEXIST);
	CHECK_EQ(fc_link(&c, d, 1, "dir", &g), -EPERM);
	CHECK_EQ(fc_lookup(&c, 1, "f"), f);
	/* the name that the node was seen under last goes; it is found under the other */
	CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, "f"), 0);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	CHECK_EQ(a.nlink, 1);
	CHECK_EQ(fc_lookup(&c, d, "g"), f);
	CHECK_EQ(c.fs->pinned, 0);
	/* both names of one inode: nothing happens, both stay */
	CHECK_EQ(fc_link(&c, f, 1, "h", &g), 0);
	CHECK_EQ(fc_rename(&c, 1, "h", d, "g", 0), 0);
	CHECK_EQ(fc_lookup(&c, 1, "h"), f);
	CHECK_EQ(fc_lookup(&c, d, "g"), f);
	CHECK(fc_free(&c));
}

static void host_changes(void)
{
	uint64_t a1, b1, f, fh;
	struct fuse_attr a;
	char b[16];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &tiny), 0);
	CHECK_EQ(mkdirat(c.dir, "a", 0755), 0);
	CHECK_EQ(mkdirat(c.dir, "a/b", 0755), 0);
	CHECK_EQ(fc_host_file(&c, "a/b/f", "old"), 0);
	a1 = fc_lookup(&c, 1, "a");
	b1 = fc_lookup(&c, a1, "b");
	f = fc_lookup(&c, b1, "f");
	CHECK_EQ(fc_open(&c, f, O_RDONLY, &fh), 0);
	/* our records would make a ring of them: b goes up, a goes below it */
	CHECK_EQ(renameat(c.dir, "a/b", c.dir, "b"), 0);
	CHECK_EQ(renameat(c.dir, "a", c.dir, "b/a"), 0);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_getattr(&c, b1, &a), -ESTALE);
	CHECK_EQ(fc_lookup(&c, 1, "b"), b1);
	CHECK_EQ(fc_lookup(&c, b1, "a"), a1);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(fc_getattr(&c, a1, &a), 0);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	/* replaced under the guest: the open file is the old one, the name is the new one */
	CHECK_EQ(fc_host_file(&c, "b/n", "newer"), 0);
	CHECK_EQ(renameat(c.dir, "b/n", c.dir, "b/f"), 0);
	CHECK_EQ(fc_read(&c, f, fh, 0, b, 16), 3);
	CHECK(fc_lookup(&c, b1, "f") != f);
	CHECK_EQ(fc_read(&c, f, fh, 0, b, 16), 3);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	CHECK_EQ(a.nlink, 0);
	/* removed under the guest */
	CHECK_EQ(unlinkat(c.dir, "b/f", 0), 0);
	CHECK_EQ(fc_lookup(&c, b1, "f"), 0);
	CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, b1, "f"), -ENOENT);
	CHECK(fc_free(&c));
}

/* The state of a busy server moves into a new one; ids and handles go on. */
static void save_and_load(void)
{
	uint64_t d, f, fh, u, ufh, dh, t, tfh, old, gone, sub;
	struct fuse_create_in tf = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
	struct fuse_read_in rd = { .size = 512 };
	struct save_out s = { 0 };
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out;
	struct fuse_attr a;
	struct save_in in;
	struct fs *was;
	char b[512], rest[512];
	size_t rest_len;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &tiny), 0);
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &d), 0);
	CHECK_EQ(fc_mkdir(&c, d, "sub", 0755, &sub), 0);
	CHECK_EQ(fc_create(&c, sub, "f", O_RDWR | O_APPEND, 0644, &f, &fh), 0);
	CHECK_EQ(fc_write(&c, f, fh, 0, "line1\n", 6, O_APPEND, 0), 6);
	CHECK_EQ(fc_create(&c, 1, "u", O_WRONLY, 04755, &u, &ufh), 0);
	CHECK_EQ(fc_write(&c, u, ufh, 0, "unlinked", 8, 0, 0), 8);
	CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, "u"), 0);
	CHECK_EQ(fc_call(&c, FS_OP_TMPFILE, 1, &tf, sizeof(tf), "/", 2, &out, sizeof(out)), 0);
	t = out.e.nodeid;
	tfh = out.o.fh;
	CHECK_EQ(fc_write(&c, t, tfh, 0, "tmp", 3, 0, 0), 3);
	CHECK_EQ(fc_host_file(&c, "gone", "x"), 0);
	gone = fc_lookup(&c, 1, "gone");
	for (unsigned i = 0; i < 50; i++) {
		(void)snprintf(b, sizeof(b), "e%02u", i);
		CHECK_EQ(fc_host_file(&c, b, ""), 0);
	}
	CHECK_EQ(fc_open(&c, 1, O_DIRECTORY, &dh), 0);
	rd.fh = dh;
	CHECK_EQ(fc_call(&c, FUSE_READDIR, 1, &rd, sizeof(rd), NULL, 0, b, 512), 0);
	for (size_t at = 0; at < c.out_len;) {
		struct fuse_dirent *e = (void *)(b + at);

		rd.offset = e->off;
		at += FUSE_DIRENT_SIZE(e);
	}
	CHECK_EQ(fc_call(&c, FUSE_READDIR, 1, &rd, sizeof(rd), NULL, 0, rest, 512), 0);
	rest_len = c.out_len;
	old = fc_lookup(&c, 1, "e00");
	fc_forget(&c, old, 1);

	fs_save(c.fs, &s);
	CHECK_EQ(s.err, 0);
	CHECK_EQ(unlinkat(c.dir, "gone", 0), 0);
	was = c.fs;
	CHECK_EQ(fc_server(&c, NULL, &tiny), 0);
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	CHECK_EQ(fs_load(c.fs, &in), 0);
	CHECK_EQ(c.fs->nodes.used, was->nodes.used);
	fs_server_free(was);

	CHECK_EQ(fc_getattr(&c, old, &a), -ESTALE);
	CHECK_EQ(fc_getattr(&c, gone, &a), -ESTALE);
	CHECK_EQ(fc_getattr(&c, sub, &a), 0);
	CHECK_EQ(fc_lookup(&c, d, "sub"), sub);
	CHECK_EQ(fc_write(&c, f, fh, 0, "line2\n", 6, O_APPEND, 0), 6);
	CHECK_EQ(fc_read(&c, f, fh, 0, b, 64), 12);
	CHECK(!memcmp(b, "line1\nline2\n", 12));
	CHECK_EQ(fc_write(&c, u, ufh, 8, "!", 1, 0, 0), 1);
	CHECK_EQ(fc_read(&c, u, ufh, 0, b, 64), -EBADF); /* it was opened for writing */
	CHECK_EQ(fc_getattr(&c, u, &a), 0);
	CHECK_EQ(a.size, 9);
	CHECK_EQ(a.mode, S_IFREG | 04755);
	CHECK_EQ(a.nlink, 0);
	CHECK_EQ(fc_read(&c, t, tfh, 0, b, 64), 3);
	CHECK(!memcmp(b, "tmp", 3));
	CHECK_EQ(fc_call(&c, FUSE_READDIR, 1, &rd, sizeof(rd), NULL, 0, b, 512), 0);
	CHECK_EQ(c.out_len, rest_len);
	CHECK(!memcmp(b, rest, rest_len));
	CHECK_EQ(fc_release(&c, f, fh, false), 0);
	CHECK_EQ(fc_release(&c, u, ufh, false), 0);
	CHECK_EQ(fc_release(&c, t, tfh, false), 0);
	CHECK_EQ(fc_release(&c, 1, dh, true), 0);
	/* new ids do not repeat old ones */
	CHECK(fc_lookup(&c, 1, "e00") != old);
	CHECK(fc_free(&c));

	/* every truncated and every altered copy: refused or loaded, never worse */
	for (size_t cut = 0; cut < s.len; cut += 3) {
		CHECK_EQ(fc_new(&c, NULL, &tiny), 0);
		CHECK_EQ(mkdirat(c.dir, "d", 0755), 0);
		CHECK_EQ(mkdirat(c.dir, "d/sub", 0755), 0);
		was = c.fs;
		CHECK_EQ(fc_server(&c, NULL, &tiny), 0);
		fs_server_free(was);
		in = (struct save_in){ .buf = s.buf, .len = s.len };
		if (cut & 1) {
			in.len = cut;
			CHECK(fs_load(c.fs, &in) < 0);
		} else {
			s.buf[cut] ^= 0x41;
			(void)!fs_load(c.fs, &in);
			s.buf[cut] ^= 0x41;
		}
		(void)fc_init(&c, ~0ULL);
		CHECK_EQ(fc_getattr(&c, 1, &a), 0);
		CHECK(fc_free(&c));
	}
	save_out_free(&s);
}

/* Of files that were removed while open some are held when they are closed. One that is not has no
 * identity left: the host gives its number to another file, which is not that one. */
static void removed_and_dropped(void)
{
	struct fs_limits lim = { 100, 2, 64, 0 };
	char name[2] = "a";
	uint64_t f[3], fh[3];
	struct fuse_attr a;
	struct fs_node *n;
	struct statx sx[3];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &lim), 0);
	for (unsigned i = 0; i < 3; i++) {
		name[0] = (char)('a' + i);
		CHECK_EQ(fc_create(&c, 1, name, O_RDWR, 0644, &f[i], &fh[i]), 0);
		CHECK_EQ(fs_stat_at(c.dir, name, &sx[i]), 0);
		CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, name), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(fc_release(&c, f[i], fh[i], false), 0);
	CHECK_EQ(c.fs->pinned, 1);
	for (unsigned i = 0; i < 3; i++) {
		bool held = fs_node_at(c.fs, (uint32_t)f[i])->fd >= 0;

		CHECK_EQ(fc_getattr(&c, f[i], &a), held ? 0 : -ESTALE);
		if (held)
			continue;
		CHECK_EQ(fs_node_attach(c.fs, fs_node_at(c.fs, FS_ROOT), "new", &sx[i], &n), 0);
		CHECK(fs_node_id(n) != f[i]);
		fs_node_put(c.fs, n);
	}
	/* the same where the request itself holds it over the limit until it ends */
	CHECK_EQ(fc_host_file(&c, "d", "x"), 0);
	f[0] = fc_lookup(&c, 1, "d");
	CHECK_EQ(fs_stat_at(c.dir, "d", &sx[0]), 0);
	CHECK(fs_node_fd(c.fs, fs_node_at(c.fs, (uint32_t)f[0])) >= 0);
	CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, "d"), 0);
	CHECK_EQ(fs_node_at(c.fs, (uint32_t)f[0])->fd, -1);
	CHECK_EQ(fs_node_attach(c.fs, fs_node_at(c.fs, FS_ROOT), "new", &sx[0], &n), 0);
	CHECK(fs_node_id(n) != f[0]);
	fs_node_put(c.fs, n);
	CHECK(fc_free(&c));
}

/* With too few descriptors a load fails: what is there must not become stale for good. */
static void load_without_fds(void)
{
	struct fuse_create_in tf = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
	struct fuse_lk_in lk = { .owner = 7, .lk = { .start = 0, .end = 9, .type = F_WRLCK } };
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out;
	uint64_t d, sub, f, fh, fh2, dh;
	struct save_out s = { 0 };
	struct rlimit was, few;
	struct save_in in;
	unsigned failed = 0;
	struct fc c;
	char b[16];
	int r = -1;

	CHECK_EQ(fc_new(&c, NULL, &tiny), 0);
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &d), 0);
	CHECK_EQ(fc_mkdir(&c, d, "sub", 0755, &sub), 0);
	CHECK_EQ(fc_create(&c, sub, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_write(&c, f, fh, 0, "text", 4, 0, 0), 4);
	CHECK_EQ(fc_open(&c, f, O_RDWR, &fh2), 0);
	for (unsigned i = 0; i < 2; i++) {
		lk.fh = i ? fh2 : fh;
		lk.owner += i;
		lk.lk.start += 10 * i;
		lk.lk.end += 10 * i;
		CHECK_EQ(fc_call(&c, FUSE_SETLK, f, &lk, sizeof(lk), NULL, 0, NULL, 0), 0);
	}
	CHECK_EQ(fc_open(&c, d, O_DIRECTORY, &dh), 0);
	CHECK_EQ(fc_call(&c, FS_OP_TMPFILE, 1, &tf, sizeof(tf), "/", 2, &out, sizeof(out)), 0);
	CHECK_EQ(fc_write(&c, out.e.nodeid, out.o.fh, 0, "tmp", 3, 0, 0), 3);
	fs_save(c.fs, &s);
	CHECK_EQ(s.err, 0);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (unsigned extra = 0; r && extra < 20; extra++) {
		fs_server_free(c.fs);
		CHECK_EQ(fc_server(&c, NULL, &tiny), 0);
		in = (struct save_in){ .buf = s.buf, .len = s.len };
		r = dup(0);
		CHECK(r >= 0);
		(void)close(r);
		few = was;
		few.rlim_cur = (rlim_t)r + extra;
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = fs_load(c.fs, &in);
		(void)setrlimit(RLIMIT_NOFILE, &was);
		if (r)
			CHECK_EQ(r, -EMFILE);
		failed += r < 0;
	}
	CHECK_EQ(r, 0);
	CHECK(failed >= 4);
	CHECK_EQ(fc_read(&c, f, fh, 0, b, 16), 4);
	CHECK_EQ(fc_read(&c, f, fh2, 0, b, 16), 4);
	CHECK_EQ(fc_read(&c, out.e.nodeid, out.o.fh, 0, b, 16), 3);
	CHECK_EQ(fc_release(&c, d, dh, true), 0);
	CHECK_EQ(c.fs->locksets.used, 2);
	save_out_free(&s);
	CHECK(fc_free(&c));
}

/* A state without what the guest has in its files would be no state: it is refused, by a sentence.
 */
static void unlinked_too_large(void)
{
	struct fuse_setattr_in sa = { .valid = FATTR_SIZE, .size = FS_UNLINKED_SAVE / 2 + 1 };
	struct save_out s = { 0 };
	uint64_t f[2], fh[2];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f[i], &fh[i]), 0);
		CHECK_EQ(fc_setattr(&c, f[i], &sa, NULL), 0);
		CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, "f"), 0);
	}
	fs_save(c.fs, &s);
	CHECK_EQ(s.err, -E2BIG);
	CHECK_STR(s.why, "files that were removed while open hold too many bytes");
	save_out_free(&s);
	/* the server goes on, and what fits is saved */
	sa.size = 5;
	CHECK_EQ(fc_setattr(&c, f[1], &sa, NULL), 0);
	fs_save(c.fs, &s);
	CHECK_EQ(s.err, 0);
	CHECK(s.len > FS_UNLINKED_SAVE / 2);
	save_out_free(&s);
	/* and never more than the writer may hold */
	s.max = 1 << 20;
	fs_save(c.fs, &s);
	CHECK_EQ(s.err, -E2BIG);
	CHECK(s.cap <= 1 << 20);
	save_out_free(&s);
	CHECK(fc_free(&c));
}

/* Caching by mount, and fds that do not keep the host from unmounting. */
static void by_mount(void)
{
	struct fs_cfg cfg = { .cache = FS_CACHE_NONE, .drop_idle = true, .nat = 1 };
	struct fuse_entry_out e;
	struct pollfd p;
	struct statx sx;
	struct fc c;
	uint64_t fh;
	char b[4];

	CHECK_EQ(statx(AT_FDCWD, "/var/tmp", 0, STATX_MNT_ID, &sx), 0);
	cfg.at[0] = (struct fs_cache_at){ sx.stx_mnt_id, FS_CACHE_ALWAYS };
	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "f", "x"), 0);
	CHECK_EQ(fc_lookup_n(&c, 1, "f", 2, &e), 0);
	CHECK(e.entry_valid == 86400 && e.attr_valid == 86400);
	CHECK(c.fs->flags & FS_I_KILLPRIV_V2);
	c.fs->at[0].mnt_id++;
	CHECK_EQ(fc_lookup_n(&c, 1, "f", 2, &e), 0);
	CHECK(!e.entry_valid && !e.attr_valid);
	p = (struct pollfd){ .fd = c.fs->idle_fd, .events = POLLIN };
	CHECK_EQ(poll(&p, 1, 0), 0);
	CHECK_EQ(fc_open(&c, e.nodeid, O_RDONLY, &fh), 0);
	CHECK_EQ(c.fs->lru_n, 1);
	CHECK_EQ(poll(&p, 1, 10000), 1);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(c.fs->lru_n, 0);
	CHECK_EQ(poll(&p, 1, 0), 0);
	/* what the guest has open stays */
	CHECK_EQ(fc_read(&c, e.nodeid, fh, 0, b, 4), 1);
	CHECK_EQ(fc_release(&c, e.nodeid, fh, false), 0);
	/* one that has lost its name is kept, and idle again as soon as it has another */
	CHECK_EQ(linkat(c.dir, "f", c.dir, "g", 0), 0);
	CHECK_EQ(fc_name_op(&c, FUSE_UNLINK, 1, "f"), 0);
	CHECK_EQ(c.fs->pinned, 1);
	CHECK_EQ(poll(&p, 1, 10000), 1);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(c.fs->pinned, 1);
	CHECK_EQ(fc_lookup(&c, 1, "g"), e.nodeid);
	CHECK_EQ(c.fs->pinned, 0);
	CHECK_EQ(c.fs->lru_n, 1);
	CHECK_EQ(poll(&p, 1, 10000), 1);
	CHECK(fc_free(&c));
}

/* What a device is the guest keeps with its node: one made anew is another, whatever its number. */
static void device_made_anew(void)
{
	uint64_t n, old;
	struct stat st;
	struct fc c;
	ino_t ino;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	if (mknodat(c.dir, "dev", S_IFCHR | 0600, makedev(1, 3)) < 0 && errno == EPERM) {
		printf("# not by an ordinary user\n");
		CHECK(fc_free(&c));
		return;
	}
	CHECK_EQ(fstatat(c.dir, "dev", &st, AT_SYMLINK_NOFOLLOW), 0);
	ino = st.st_ino;
	old = fc_lookup(&c, 1, "dev");
	CHECK(old);
	CHECK_EQ(fc_lookup(&c, 1, "dev"), old);
	fs_fd_drop_idle(c.fs);
	/* ext4 gives the number out again at once, tmpfs never */
	CHECK_EQ(unlinkat(c.dir, "dev", 0), 0);
	CHECK_EQ(mknodat(c.dir, "dev", S_IFCHR | 0600, makedev(1, 5)), 0);
	CHECK_EQ(fstatat(c.dir, "dev", &st, AT_SYMLINK_NOFOLLOW), 0);
	n = fc_lookup(&c, 1, "dev");
	CHECK(n && n != old);
	printf("# %s\n", st.st_ino == ino ? "under the same number" : "under another number");
	CHECK(fc_free(&c));
}

static void seeds(void)
{
	struct fc a, b;

	CHECK_EQ(fc_new(&a, NULL, NULL), 0);
	CHECK_EQ(fc_new(&b, NULL, NULL), 0);
	CHECK(a.fs->seed != b.fs->seed);
	CHECK(fc_free(&b));
	CHECK(fc_free(&a));
}

/* What only the guest's own kernel can keep true where attributes are believed for a day. */
static void always_for_all(void)
{
	struct fs_cfg cfg = { .cache = FS_CACHE_ALWAYS };
	struct fc c;

	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	CHECK(c.fs->flags & FS_I_EXPLICIT_INVAL);
	CHECK(!(c.fs->flags & FS_I_KILLPRIV_V2));
	CHECK(fc_free(&c));
}

/* A file system with errors of its own at close(), mounted below a root that has none. */
static void network_below(void)
{
	char opts[80], path[128];
	struct fc c, d;
	int fd;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK(!c.fs->net);
	CHECK_EQ(mkdirat(c.dir, "sub", 0755), 0);
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	(void)snprintf(opts, sizeof(opts), "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
	(void)snprintf(path, sizeof(path), "%s/sub", c.path);
	if (fd < 0 || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		mount("test", path, "fuse.test", 0, opts)) {
		printf("# no FUSE file system can be mounted here\n");
	} else {
		d = c;
		CHECK_EQ(fc_server(&d, NULL, NULL), 0);
		CHECK(d.fs->net);
		fs_server_free(d.fs);
		CHECK_EQ(umount2(path, MNT_DETACH), 0);
	}
	(void)close(fd);
	CHECK(fc_free(&c));
}

/* All that a guest can make the server hold leaves descriptors for others, whatever the limit. */
static void limits_leave_some(void)
{
	struct rlimit was, few;
	struct fc c;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (rlim_t n = 512; n <= 8192; n *= 2) {
		rlim_t sum;

		few = was;
		few.rlim_cur = n;
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
		CHECK_EQ(fc_new(&c, NULL, NULL), 0);
		sum = (rlim_t)c.fs->lim.open_nodes * 3 / 2 + c.fs->lim.handles +
			c.fs->lim.lock_owners;
		CHECK(sum <= n - n / 8);
		CHECK(fc_free(&c));
	}
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &was), 0);
}

static const struct test_case cases[] = {
	TEST(few_fds),
	TEST(rename_then_reopen),
	TEST(unlinked),
	TEST(hard_links),
	TEST(host_changes),
	TEST(save_and_load),
	TEST(load_without_fds),
	TEST(removed_and_dropped),
	TEST(unlinked_too_large),
	TEST(by_mount),
	TEST(limits_leave_some),
	TEST(device_made_anew),
	TEST(seeds),
	TEST(always_for_all),
	TEST(network_below),
};

TEST_MAIN(cases)
