// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: the DAX window: who gets it, what is mapped, what becomes of it. */
#include "tests/unit/fs_dax_rig.h"

static void negotiated(void)
{
	struct fuse_init_in in = { .major = 7, .minor = 41, .flags = ~0U, .flags2 = ~0U };
	struct fuse_init_out out = { 0 };
	struct rig r;
	uint64_t f;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(fc_call(&r.c, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &out, sizeof(out)), 0);
	CHECK(out.flags & FS_I_MAP_ALIGNMENT);
	CHECK(out.flags2 & FS_I_HAS_INODE_DAX >> 32);
	CHECK_EQ(1U << out.map_alignment, R);
	/* a guest that does not ask for it is told of nothing */
	CHECK_EQ(fc_init(&r.c, ~(uint64_t)FS_I_HAS_INODE_DAX), 0);
	CHECK_EQ(file(&r, "f", R, 0644), 0);
	CHECK(!admitted(&r, "f", &f) && f);
	CHECK(teardown(&r));
	/* a server without a window does not know the word */
	CHECK_EQ(fc_new(&r.c, NULL, NULL), 0);
	CHECK(!(r.c.flags & (FS_I_MAP_ALIGNMENT | FS_I_HAS_INODE_DAX)));
	CHECK_EQ(map(&r, 1, NO_FH, 0, R, MAP_R, 0), -ENOSYS);
	CHECK(fc_free(&r.c));
}

static void admission(void)
{
	uint64_t n, big, two;
	struct fuse_attr a;
	struct rig r;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "small", R - 1, 0644), 0);
	CHECK_EQ(file(&r, "program", R, 0755), 0);
	CHECK_EQ(file(&r, "sparse", R, 0644), 0);
	CHECK_EQ(file(&r, "huge", (uint64_t)FIT * R + 1, 0644), 0);
	CHECK_EQ(file(&r, "three", 2 * R + 1, 0644), 0);
	CHECK_EQ(file(&r, "two", 2 * R, 0644), 0);
	CHECK_EQ(file(&r, "one", R, 0644), 0);
	CHECK_EQ(truncate(host_path(&r, "sparse"), 0), 0);
	CHECK_EQ(truncate(host_path(&r, "sparse"), R), 0);
	CHECK(!admitted(&r, "small", &n) && n);
	CHECK(!admitted(&r, "program", &n) && n);
	CHECK(!admitted(&r, "sparse", &n) && n);
	CHECK(!admitted(&r, "huge", &n) && n);
	/* as long as the sum fits, and again when something is forgotten */
	CHECK(admitted(&r, "three", &big));
	CHECK(!admitted(&r, "two", &two) && two);
	CHECK(admitted(&r, "one", &n));
	CHECK_EQ(fc_getattr(&r.c, big, &a), 0);
	CHECK(a.flags & FS_ATTR_DAX);
	fc_forget(&r.c, big, 1);
	/* bits that a write has to take away are not for the window */
	{
		struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 04644 };

		CHECK_EQ(fc_setattr(&r.c, n, &sa, &a), 0);
		CHECK(!(a.flags & FS_ATTR_DAX));
	}
	/* what the guest knows already stays as it is until it has forgotten it too */
	CHECK(!admitted(&r, "two", &two));
	fc_forget(&r.c, two, 2);
	CHECK(admitted(&r, "two", &two));
	/* one that outgrows the window loses it */
	CHECK_EQ(truncate(host_path(&r, "two"), (off_t)FIT * R), 0);
	CHECK_EQ(fc_getattr(&r.c, two, &a), 0);
	CHECK(!(a.flags & FS_ATTR_DAX));
	CHECK(teardown(&r));
}

/* A listing takes up half at most. */
static void listed(void)
{
	static uint8_t out[8192];
	struct fuse_read_in in = { .size = sizeof(out) };
	unsigned dax = 0, files = 0;
	struct rig r;
	uint64_t fh;
	char name[8];

	CHECK_EQ(setup(&r, NULL), 0);
	for (unsigned i = 0; i < FIT; i++) {
		(void)snprintf(name, sizeof(name), "f%u", i);
		CHECK_EQ(file(&r, name, R, 0644), 0);
	}
	CHECK_EQ(fc_open(&r.c, 1, O_DIRECTORY, &fh), 0);
	in.fh = fh;
	CHECK_EQ(fc_call(&r.c, FUSE_READDIRPLUS, 1, &in, sizeof(in), NULL, 0, out, sizeof(out)), 0);
	for (size_t at = 0; at < r.c.out_len;) {
		struct fuse_direntplus d;

		memcpy(&d, out + at, sizeof(d));
		files += d.dirent.type == DT_REG;
		dax += !!(d.entry_out.attr.flags & FS_ATTR_DAX);
		at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + d.dirent.namelen);
	}
	CHECK_EQ(files, FIT);
	CHECK_EQ(dax, FIT / 2);
	CHECK(teardown(&r));
}

static void mapped(void)
{
	struct fuse_removemapping_one one[2] = { { 0, R }, { 3ULL * R, R } };
	uint64_t f, g, v = 7;
	struct rig r;
	int fd;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", 2 * R, 0644), 0);
	CHECK_EQ(file(&r, "g", R, 0644), 0);
	f = fc_lookup(&r.c, 1, "f");
	g = fc_lookup(&r.c, 1, "g");
	CHECK(!there(&r, 0));
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0), 0);
	CHECK_EQ(map(&r, f, NO_FH, R, R, MAP_RW, 3ULL * R), 0);
	CHECK_EQ(page(&r, 0), 1);
	CHECK_EQ(page(&r, 511), 512);
	CHECK_EQ(page(&r, 3 * 512), 513);
	/* both ways at once */
	fd = openat(r.c.dir, "f", O_RDWR | O_CLOEXEC);
	CHECK_EQ(pwrite(fd, &v, 8, 4096), 8);
	CHECK_EQ(page(&r, 1), 7);
	memcpy((uint8_t *)(uintptr_t)r.w + 3ULL * R + 8, &v, 8);
	v = 0;
	CHECK_EQ(pread(fd, &v, 8, R + 8), 8);
	CHECK_EQ(v, 7);
	/* for writing now; by somebody else */
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_RW, 0), 0);
	*(uint8_t *)(uintptr_t)r.w = 99;
	CHECK_EQ(pread(fd, &v, 1, 0), 1);
	CHECK_EQ(v & 255, 99);
	CHECK_EQ(map(&r, g, NO_FH, 0, R, MAP_R, 0), 0);
	CHECK_EQ(page(&r, 1), 2);
	/* one of the two is not f's any more: nothing is done */
	CHECK_EQ(unmap(&r, f, one, 2, 2), -EINVAL);
	CHECK(there(&r, 0) && there(&r, 3ULL * R));
	CHECK_EQ(unmap(&r, f, one + 1, 1, 1), 0);
	CHECK(there(&r, 0) && !there(&r, 3ULL * R));
	CHECK_EQ(unmap(&r, f, one + 1, 1, 1), -EINVAL);
	/* gone with its node, its name does not matter */
	CHECK_EQ(fc_name_op(&r.c, FUSE_UNLINK, 1, "g"), 0);
	CHECK_EQ(page(&r, 1), 2);
	fc_forget(&r.c, g, 1);
	CHECK(!there(&r, 0));
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, R), 0);
	CHECK_EQ(fc_call(&r.c, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL, 0), 0);
	CHECK(!there(&r, R));
	(void)close(fd);
	CHECK(teardown(&r));
}

static void refused(void)
{
	const uint64_t all = (uint64_t)RANGES * R;
	struct fuse_removemapping_one one = { 0, R };
	uint64_t f, g, d, rfh, wfh;
	struct rig r;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", R, 0644), 0);
	CHECK_EQ(file(&r, "g", R, 0644), 0);
	CHECK_EQ(fc_mkdir(&r.c, 1, "d", 0755, &d), 0);
	f = fc_lookup(&r.c, 1, "f");
	g = fc_lookup(&r.c, 1, "g");
	CHECK_EQ(fc_open(&r.c, f, O_RDONLY, &rfh), 0);
	CHECK_EQ(fc_open(&r.c, g, O_WRONLY, &wfh), 0);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, 0, all), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, all), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0 - (uint64_t)R), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 4096), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R | 4, 0), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 0, 2 * R, MAP_R, 0), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 0, 4096, MAP_R, 0), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 0, 0, MAP_R, 0), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 4096, R, MAP_R, 0), -EINVAL);
	CHECK_EQ(map(&r, f, NO_FH, 1ULL << 63, R, MAP_R, 0), -EINVAL);
	CHECK_EQ(map(&r, d, NO_FH, 0, R, MAP_R, 0), -ENODEV);
	CHECK_EQ(map(&r, 1, NO_FH, 0, R, MAP_R, 0), -ENODEV);
	CHECK_EQ(map(&r, f + 17, NO_FH, 0, R, MAP_R, 0), -ESTALE);
	CHECK_EQ(map(&r, f + (1ULL << 32), NO_FH, 0, R, MAP_R, 0), -ESTALE);
	/* a handle of another file, one that is none, one of another mode */
	CHECK_EQ(map(&r, f, wfh, 0, R, MAP_R, 0), -EBADF);
	CHECK_EQ(map(&r, f, 4711, 0, R, MAP_R, 0), -EBADF);
	CHECK_EQ(map(&r, f, rfh, 0, R, MAP_RW, 0), -EBADF);
	CHECK_EQ(map(&r, g, wfh, 0, R, MAP_RW, 0), -EBADF);
	CHECK(!there(&r, 0));
	CHECK_EQ(map(&r, f, rfh, 0, R, MAP_R, 0), 0);
	CHECK_EQ(unmap(&r, g, &one, 1, 1), -EINVAL);
	CHECK_EQ(unmap(&r, f, &one, 1, 0), -EINVAL);
	CHECK_EQ(unmap(&r, f, &one, 1, 2), -EINVAL);
	CHECK_EQ(unmap(&r, f, &one, 1, FS_DAX_REMOVE + 1), -EINVAL);
	one.len = 4096;
	CHECK_EQ(unmap(&r, f, &one, 1, 1), -EINVAL);
	one = (struct fuse_removemapping_one){ all, R };
	CHECK_EQ(unmap(&r, f, &one, 1, 1), -EINVAL);
	CHECK_EQ(page(&r, 0), 1);
	CHECK(teardown(&r));
}

static void read_only(void)
{
	struct fs_cfg cfg = { .cache = FS_CACHE_AUTO, .readonly = true };
	struct rig r;
	uint64_t f;

	CHECK_EQ(setup(&r, &cfg), 0);
	CHECK_EQ(file(&r, "f", R, 0644), 0);
	CHECK(admitted(&r, "f", &f));
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_RW, 0), -EROFS);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0), 0);
	CHECK_EQ(page(&r, 5), 6);
	/* the kernel refuses a store there as it would a guest's */
	CHECK_EQ(pread(r.c.dir, (void *)(uintptr_t)r.w, 1, 0), -1);
	CHECK(teardown(&r));
}

static void saved(void)
{
	struct save_out s = { 0 }, was = { 0 };
	uint64_t f, g, u, fh;
	struct fuse_attr a;
	struct rig r;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", 2 * R, 0644), 0);
	CHECK_EQ(file(&r, "g", R, 0644), 0);
	CHECK_EQ(file(&r, "u", 4096, 0644), 0);
	CHECK(admitted(&r, "f", &f) && admitted(&r, "g", &g));
	u = fc_lookup(&r.c, 1, "u");
	CHECK_EQ(fc_open(&r.c, u, O_RDWR, &fh), 0);
	CHECK_EQ(fc_name_op(&r.c, FUSE_UNLINK, 1, "u"), 0);
	CHECK_EQ(map(&r, f, NO_FH, R, R, MAP_RW, 0), 0);
	CHECK_EQ(map(&r, g, NO_FH, 0, R, MAP_R, R), 0);
	CHECK_EQ(map(&r, u, NO_FH, 0, R, MAP_RW, 2ULL * R), 0);
	fs_save(r.c.fs, &s);
	CHECK_EQ(s.err, 0);
	CHECK_EQ(renameat(r.c.dir, "g", r.c.dir, "away"), 0);
	CHECK_EQ(again(&r, &s, NULL), 0);
	CHECK_EQ(page(&r, 0), 513);
	CHECK_EQ(page(&r, 2 * 512), 1);
	CHECK(there(&r, 3ULL * R - 4096) == false);
	/* what is not there any more reads as zeroes, not as an end of the guest */
	CHECK_EQ(page(&r, 512), 0);
	CHECK_EQ(fc_getattr(&r.c, f, &a), 0);
	CHECK(a.flags & FS_ATTR_DAX);
	*(uint8_t *)(uintptr_t)r.w = 77;
	CHECK_EQ(fc_open(&r.c, f, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_read(&r.c, f, fh, R, &a, 1), 1);
	CHECK_EQ(*(uint8_t *)&a, 77);
	/* another window is another device */
	fs_save(r.c.fs, &was);
	fc_window = NULL;
	CHECK_EQ(again(&r, &was, NULL), -EINVAL);
	fc_window = &r.mem;
	save_out_free(&was);
	save_out_free(&s);
	CHECK(teardown(&r));
}

/* Zeroes are for what is gone; what is there and cannot be mapped keeps the VM from coming back. */
static void saved_or_not(void)
{
	struct save_out s = { 0 };
	struct save_in in;
	struct statx sx;
	struct rig r;
	uint64_t f;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", R, 0644), 0);
	f = fc_lookup(&r.c, 1, "f");
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_RW, R), 0);
	fs_save(r.c.fs, &s);
	CHECK_EQ(s.err, 0);
	/* on a file system of which nothing is mapped */
	CHECK_EQ(statx(r.c.dir, "f", 0, STATX_BASIC_STATS | STATX_MNT_ID, &sx), 0);
	fs_dax_reset(r.c.fs);
	fs_server_free(r.c.fs);
	CHECK_EQ(fc_server(&r.c, NULL, NULL), 0);
	r.c.fs->dax->seen[0] = (struct fs_dax_mount){ .mnt = sx.stx_mnt_id };
	r.c.fs->dax->nseen = 1;
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	CHECK_EQ(fs_load(r.c.fs, &in), -ENODEV);
	CHECK(!there(&r, R));
	CHECK_EQ(again(&r, &s, NULL), 0);
	CHECK_EQ(page(&r, 512), 1);
	/* gone, and nothing else is known of its file system */
	CHECK_EQ(renameat(r.c.dir, "f", r.c.dir, "away"), 0);
	CHECK_EQ(again(&r, &s, NULL), 0);
	CHECK(there(&r, R));
	CHECK_EQ(page(&r, 512), 0);
	save_out_free(&s);
	CHECK(teardown(&r));
}

static const struct test_case cases[] = {
	TEST(negotiated),
	TEST(admission),
	TEST(listed),
	TEST(mapped),
	TEST(refused),
	TEST(read_only),
	TEST(saved),
	TEST(saved_or_not),
};

int main(int argc, char **argv)
{
	return main_(cases, ARRAY_SIZE(cases), argc, argv);
}
