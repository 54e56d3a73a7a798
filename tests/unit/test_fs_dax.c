// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: the DAX window: who gets it, what is mapped, what becomes of it. */
#include <sys/statfs.h>

#include "core/mem.h"
#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

#define R      FS_DAX_RANGE
#define RANGES 5U
#define FIT    4U /* of them, that are promised: Linux wants a fifth free */
#define NO_FH  UINT64_MAX
#define MAP_R  FUSE_SETUPMAPPING_FLAG_READ
#define MAP_RW (FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE)

struct rig {
	struct mem mem;
	struct fc c;
	const uint8_t *w; /* the window as the guest would see it */
};

static int setup(struct rig *r, const struct fs_cfg *base)
{
	int ret;

	mem_init(&r->mem);
	ret = mem_add_shm(&r->mem, GPA(FC_WINDOW_GPA), (uint64_t)RANGES * R, NULL);
	if (ret)
		return ret;
	r->w = r->mem.r[0].hva;
	fc_window = &r->mem;
	return fc_new(&r->c, base, NULL);
}

static bool teardown(struct rig *r)
{
	bool ok = fc_free(&r->c);

	mem_destroy(&r->mem);
	fc_window = NULL;
	return ok;
}

static const char *host_path(const struct rig *r, const char *name)
{
	static char path[120];

	(void)snprintf(path, sizeof(path), "%s/%s", r->c.path, name);
	return path;
}

/* A file of @len bytes whose pages begin with their number, from 1; its blocks are there. */
static int file(struct rig *r, const char *name, uint64_t len, mode_t mode)
{
	int fd = openat(r->c.dir, name, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
	int ret = fd < 0 || posix_fallocate(fd, 0, (off_t)len) || fchmod(fd, mode) ? -EIO : 0;

	for (uint64_t at = 0, n; !ret && at < len; at += 4096) {
		n = at / 4096 + 1;
		ret = pwrite(fd, &n, 8, (off_t)at) == 8 ? 0 : -EIO;
	}
	(void)close(fd);
	return ret;
}

/* Whether the guest is told to use the window for it. */
static bool admitted(struct rig *r, const char *name, uint64_t *node)
{
	struct fuse_entry_out e = { 0 };

	if (fc_lookup_n(&r->c, 1, name, strlen(name) + 1, &e))
		return false;
	*node = e.nodeid;
	return e.attr.flags & FS_ATTR_DAX;
}

static int map(struct rig *r, uint64_t node, uint64_t fh, uint64_t off, uint64_t len,
	uint64_t flags, uint64_t at)
{
	struct fuse_setupmapping_in in = {
		.fh = fh, .foffset = off, .len = len, .flags = flags, .moffset = at
	};

	return fc_call(&r->c, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0, NULL, 0);
}

static int unmap(struct rig *r, uint64_t node, const struct fuse_removemapping_one *one, uint32_t n,
	uint32_t count)
{
	struct fuse_removemapping_in in = { .count = count };

	return fc_call(
		&r->c, FUSE_REMOVEMAPPING, node, &in, sizeof(in), one, n * sizeof(*one), NULL, 0);
}

static uint64_t page(const struct rig *r, uint64_t n)
{
	uint64_t v;

	memcpy(&v, r->w + n * 4096, 8);
	return v;
}

/* Whether the byte there can be read without a signal. */
static bool there(const struct rig *r, uint64_t at)
{
	int p[2];
	bool ok;

	if (pipe(p) < 0)
		return false;
	ok = write(p[1], r->w + at, 1) == 1;
	(void)close(p[0]);
	(void)close(p[1]);
	return ok;
}

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

/* A file that shrinks under its mapping, and what makes it longer again. */
static void shrunk(void)
{
	uint64_t f, fh, v = 0;
	struct rig r;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", 2 * R, 0644), 0);
	f = fc_lookup(&r.c, 1, "f");
	CHECK_EQ(fc_open(&r.c, f, O_RDWR, &fh), 0);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0), 0);
	CHECK_EQ(map(&r, f, NO_FH, R, R, MAP_RW, R), 0);
	CHECK_EQ(mem_shm_mend(&r.mem), 0);
	CHECK_EQ(truncate(host_path(&r, "f"), R + 3 * 4096), 0);
	CHECK(there(&r, R + 2 * 4096) && !there(&r, R + 3 * 4096));
	CHECK_EQ(mem_shm_mend(&r.mem), 1);
	CHECK_EQ(page(&r, 512 + 2), 512 + 3);
	CHECK_EQ(page(&r, 512 + 3), 0);
	CHECK_EQ(page(&r, 1023), 0);
	CHECK(mem_shm_is_mended(&r.mem, GPA(FC_WINDOW_GPA), R));
	/* and once more */
	CHECK_EQ(truncate(host_path(&r, "f"), 4096), 0);
	CHECK_EQ(mem_shm_mend(&r.mem), 2);
	CHECK_EQ(mem_shm_mend(&r.mem), 0);
	CHECK_EQ(page(&r, 0), 1);
	CHECK(!page(&r, 1) && !page(&r, 512));
	/* longer: what is written is what the mapping shows */
	CHECK_EQ(fc_write(&r.c, f, fh, 4096, "longer", 6, O_RDWR, 0), 6);
	CHECK(!memcmp(r.w + 4096, "longer", 6));
	CHECK(!mem_shm_is_mended(&r.mem, GPA(FC_WINDOW_GPA), 0));
	CHECK_EQ(mem_shm_mend(&r.mem), 2);
	/* by the host: seen once the guest asks */
	v = 4711;
	CHECK_EQ(truncate(host_path(&r, "f"), 2 * R), 0);
	CHECK(fc_lookup(&r.c, 1, "f"));
	CHECK(!mem_shm_any_mended(&r.mem, GPA(FC_WINDOW_GPA)));
	CHECK_EQ(fc_write(&r.c, f, fh, R + 8, &v, 8, O_RDWR, 0), 8);
	CHECK(!memcmp(r.w + R + 8, &v, 8));
	CHECK(teardown(&r));
}

/* Where nobody says so, sizes are looked at from time to time; a file that always ended there is
 * none that shrank. */
static void shrunk_unseen(void)
{
	uint64_t f, g, fh, gh;
	struct rig r;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", 2 * R, 0644), 0);
	CHECK_EQ(file(&r, "g", R + 100, 0644), 0);
	f = fc_lookup(&r.c, 1, "f");
	g = fc_lookup(&r.c, 1, "g");
	CHECK_EQ(fc_open(&r.c, f, O_RDWR, &fh), 0);
	CHECK_EQ(fc_open(&r.c, g, O_RDWR, &gh), 0);
	CHECK_EQ(map(&r, f, NO_FH, R, R, MAP_RW, 0), 0);
	CHECK_EQ(map(&r, g, NO_FH, R, R, MAP_RW, R), 0);
	fs_dax_tick(r.c.fs);
	CHECK(!mem_shm_any_mended(&r.mem, GPA(FC_WINDOW_GPA)));
	CHECK_EQ(truncate(host_path(&r, "f"), R + 1), 0);
	fs_dax_tick(r.c.fs);
	CHECK_EQ(page(&r, 0) & 255, 513 & 255);
	CHECK_EQ(page(&r, 1), 0);
	CHECK(!there(&r, R + 4096));
	CHECK_EQ(truncate(host_path(&r, "f"), 0), 0);
	CHECK_EQ(fc_name_op(&r.c, FUSE_UNLINK, 1, "f"), 0);
	CHECK(mem_shm_any_mended(&r.mem, GPA(FC_WINDOW_GPA)));
	fs_dax_tick(r.c.fs);
	CHECK_EQ(page(&r, 0), 0);
	CHECK_EQ(fc_write(&r.c, f, fh, R, "back", 4, O_RDWR, 0), 4);
	CHECK(!memcmp(r.w, "back", 4));
	CHECK(teardown(&r));
}

/* Stores set the file's times, also those after the first once its writer has closed it. */
static void times(void)
{
	struct stat a, b, c;
	uint64_t f, fh;
	struct rig r;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", R, 0644), 0);
	f = fc_lookup(&r.c, 1, "f");
	CHECK_EQ(fc_open(&r.c, f, O_RDWR, &fh), 0);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_RW, 0), 0);
	CHECK_EQ(utimensat(r.c.dir, "f", (struct timespec[2]){ { 1, 0 }, { 1, 0 } }, 0), 0);
	CHECK_EQ(fstatat(r.c.dir, "f", &a, 0), 0);
	CHECK_EQ(a.st_mtime, 1);
	*(uint8_t *)(uintptr_t)r.w = 5;
	CHECK_EQ(fstatat(r.c.dir, "f", &b, 0), 0);
	CHECK(b.st_mtime > 1);
	CHECK_EQ(utimensat(r.c.dir, "f", (struct timespec[2]){ { 1, 0 }, { 1, 0 } }, 0), 0);
	CHECK_EQ(fc_release(&r.c, f, fh, false), 0);
	*(uint8_t *)(uintptr_t)r.w = 6;
	CHECK_EQ(fstatat(r.c.dir, "f", &c, 0), 0);
	CHECK(c.st_mtime > 1);
	CHECK(teardown(&r));
}

/* A hole has a place on the disk before a store can go there. */
static void holes(void)
{
	struct rig r;
	struct stat st;
	uint64_t f;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(fc_host_file(&r.c, "f", "x"), 0);
	CHECK_EQ(truncate(host_path(&r, "f"), R + 4096), 0);
	f = fc_lookup(&r.c, 1, "f");
	CHECK_EQ(map(&r, f, NO_FH, R, R, MAP_RW, R), 0);
	CHECK_EQ(fstatat(r.c.dir, "f", &st, 0), 0);
	CHECK(st.st_blocks * 512 >= 4096 && st.st_blocks * 512 < R);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_RW, 0), 0);
	CHECK_EQ(fstatat(r.c.dir, "f", &st, 0), 0);
	CHECK(st.st_blocks * 512 >= R);
	CHECK_EQ(st.st_size, R + 4096);
	CHECK(teardown(&r));
}

static int again(struct rig *r, const struct save_out *s)
{
	struct save_in in = { .buf = s->buf, .len = s->len };
	int ret;

	fs_dax_reset(r->c.fs);
	fs_server_free(r->c.fs);
	ret = fc_server(&r->c, NULL, NULL);
	return ret ? ret : fs_load(r->c.fs, &in);
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
	CHECK_EQ(again(&r, &s), 0);
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
	CHECK_EQ(again(&r, &was), -EINVAL);
	fc_window = &r.mem;
	save_out_free(&was);
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
	TEST(shrunk),
	TEST(shrunk_unseen),
	TEST(times),
	TEST(holes),
	TEST(saved),
};

int main(int argc, char **argv)
{
	static const uint32_t plain[] = { 0xef53, 0x58465342, 0x01021994, 0x794c7630 };
	struct statfs st;
	bool ok = false;

	if (!statfs("/var/tmp", &st))
		for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
			ok |= (uint32_t)st.f_type == plain[i];
	if (!ok) {
		puts("/var/tmp is on a file system whose files are not mapped");
		return 77;
	}
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
