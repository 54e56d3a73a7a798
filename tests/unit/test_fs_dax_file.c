// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: files that change under their mapping in the DAX window; overlayfs, where it may be
 * mounted. */
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "tests/unit/fs_dax_rig.h"

static unsigned looks; /* atomic: calls of statx(2) */

int statx(int dir, const char *path, int flags, unsigned mask, struct statx *sx)
{
	__atomic_add_fetch(&looks, 1, __ATOMIC_RELAXED);
	return (int)syscall(SYS_statx, dir, path, flags, mask, sx);
}

static uint64_t blocks(const struct rig *r, const char *name)
{
	struct stat st;

	return fstatat(r->c.dir, name, &st, 0) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

/* A file of two ranges, open, the second one mapped to be written to; its node and handle. */
static int mapped_file(struct rig *r, uint64_t *f, uint64_t *fh)
{
	int ret = setup(r, NULL);

	if (!ret)
		ret = file(r, "f", 2 * R, 0644);
	*f = ret ? 0 : fc_lookup(&r->c, 1, "f");
	if (!ret)
		ret = fc_open(&r->c, *f, O_RDWR, fh);
	return ret ? ret : map(r, *f, NO_FH, R, R, MAP_RW, R);
}

/* A file that shrinks under its mapping, and what makes it longer again. */
static void shrunk(void)
{
	uint64_t f, fh, v = 4711;
	struct rig r;

	CHECK_EQ(mapped_file(&r, &f, &fh), 0);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0), 0);
	CHECK_EQ(fs_dax_mend(r.c.fs), 0);
	CHECK_EQ(truncate(host_path(&r, "f"), R + 3 * 4096), 0);
	CHECK(there(&r, R + 2 * 4096) && !there(&r, R + 3 * 4096));
	CHECK_EQ(fs_dax_mend(r.c.fs), 1);
	CHECK_EQ(page(&r, 512 + 2), 512 + 3);
	CHECK_EQ(page(&r, 512 + 3), 0);
	CHECK_EQ(page(&r, 1023), 0);
	CHECK_EQ(ended(&r), 1);
	/* and once more */
	CHECK_EQ(truncate(host_path(&r, "f"), 4096), 0);
	CHECK_EQ(fs_dax_mend(r.c.fs), 2);
	CHECK_EQ(fs_dax_mend(r.c.fs), 0);
	CHECK_EQ(page(&r, 0), 1);
	CHECK(!page(&r, 1) && !page(&r, 512));
	/* longer: what is written is what the mapping shows */
	CHECK_EQ(fc_write(&r.c, f, fh, 4096, "longer", 6, O_RDWR, 0), 6);
	CHECK(!memcmp(r.w + 4096, "longer", 6));
	CHECK_EQ(ended(&r), 1);
	CHECK_EQ(fs_dax_mend(r.c.fs), 1);
	CHECK_EQ(ended(&r), 2);
	/* by the host: seen once the guest asks */
	CHECK_EQ(truncate(host_path(&r, "f"), 2 * R), 0);
	CHECK(fc_lookup(&r.c, 1, "f"));
	CHECK_EQ(ended(&r), 0);
	CHECK_EQ(fc_write(&r.c, f, fh, R + 8, &v, 8, O_RDWR, 0), 8);
	CHECK(!memcmp(r.w + R + 8, &v, 8));
	CHECK(teardown(&r));
}

/* Where nobody says so, sizes are looked at from time to time, whatever the guest believes. */
static void shrunk_unseen(void)
{
	uint64_t f, g, fh, gh;
	struct rig r;

	CHECK_EQ(mapped_file(&r, &f, &fh), 0);
	CHECK_EQ(file(&r, "g", R + 100, 0644), 0);
	g = fc_lookup(&r.c, 1, "g");
	CHECK_EQ(fc_open(&r.c, g, O_RDWR, &gh), 0);
	CHECK_EQ(map(&r, g, NO_FH, R, R, MAP_RW, 0), 0);
	fs_dax_tick(r.c.fs);
	CHECK_EQ(ended(&r), 1);
	/* whom that took something from may learn that it was mended */
	CHECK_EQ(fs_dax_mends(r.c.fs), 1);
	CHECK_EQ(fs_dax_mend(r.c.fs), 0);
	CHECK_EQ(fs_dax_mends(r.c.fs), 1);
	CHECK_EQ(page(&r, 0) & 255, 513 & 255);
	CHECK_EQ(page(&r, 1), 0);
	CHECK_EQ(truncate(host_path(&r, "f"), R + 1), 0);
	/* mapped after it was shortened, by who does not know that yet */
	CHECK_EQ(map(&r, f, NO_FH, R, R, MAP_RW, 2ULL * R), 0);
	CHECK(!there(&r, 2ULL * R + 4096));
	fs_dax_tick(r.c.fs);
	CHECK_EQ(page(&r, 512) & 255, 513 & 255);
	CHECK_EQ(page(&r, 513), 0);
	CHECK_EQ(page(&r, 1025), 0);
	CHECK_EQ(truncate(host_path(&r, "f"), 0), 0);
	CHECK_EQ(fc_name_op(&r.c, FUSE_UNLINK, 1, "f"), 0);
	CHECK_EQ(ended(&r), 3);
	fs_dax_tick(r.c.fs);
	CHECK_EQ(page(&r, 512), 0);
	CHECK_EQ(fc_write(&r.c, f, fh, R, "back", 4, O_RDWR, 0), 4);
	CHECK(!memcmp(r.w + R, "back", 4));
	CHECK(teardown(&r));
}

/* An answer about a file that is still short leaves its zero pages where they are: what has been
 * seen to be short is not looked for again. */
static void still_short(void)
{
	struct fuse_attr a;
	uint64_t f, fh;
	struct rig r;

	CHECK_EQ(mapped_file(&r, &f, &fh), 0);
	CHECK_EQ(truncate(host_path(&r, "f"), R + 4096), 0);
	fs_dax_tick(r.c.fs);
	*(uint8_t *)(uintptr_t)(r.w + R + 5 * 4096) = 7;
	CHECK_EQ(fc_getattr(&r.c, f, &a), 0);
	CHECK_EQ(page(&r, 512 + 5), 7);
	CHECK_EQ(fc_write(&r.c, f, fh, R, "x", 1, O_RDWR, 0), 1);
	CHECK(fc_lookup(&r.c, 1, "f"));
	CHECK_EQ(page(&r, 512 + 5), 7);
	/* longer, and short of it still */
	CHECK_EQ(fc_write(&r.c, f, fh, R + 2 * 4096, "x", 1, O_RDWR, 0), 1);
	CHECK_EQ(page(&r, 512 + 2), 'x');
	fs_dax_tick(r.c.fs);
	CHECK_EQ(page(&r, 512 + 3), 0);
	CHECK(teardown(&r));
}

/* A file that ends within a range, as most do, is looked at once for a request, by whoever wants to
 * know. */
static void looked_at_once(void)
{
	struct fuse_copy_file_range_in copy = { .off_out = 4096, .len = 1 };
	struct fs_statx_in in = { 0 };
	struct fs_statx_out out;
	struct fuse_attr a;
	struct rig r;
	uint64_t f;
	char c;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", R / 2, 0644), 0);
	f = fc_lookup(&r.c, 1, "f");
	CHECK_EQ(fc_open(&r.c, f, O_RDWR, &copy.fh_in), 0);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0), 0);
	fs_dax_tick(r.c.fs);
	CHECK_EQ(ended(&r), 1);
	looks = 0;
	CHECK_EQ(fc_getattr(&r.c, f, &a), 0);
	CHECK_EQ(looks, 1);
	CHECK_EQ(fc_call(&r.c, FS_OP_STATX, f, &in, sizeof(in), NULL, 0, &out, sizeof(out)), 0);
	CHECK_EQ(looks, 2);
	CHECK(fc_lookup(&r.c, 1, "f"));
	CHECK_EQ(looks, 3);
	CHECK_EQ(fc_read(&r.c, f, copy.fh_in, 0, &c, 1), 1);
	CHECK_EQ(looks, 4);
	CHECK_EQ(fc_write(&r.c, f, copy.fh_in, 0, "x", 1, O_RDWR, 0), 1);
	CHECK_EQ(looks, 5);
	copy.nodeid_out = f;
	copy.fh_out = copy.fh_in;
	CHECK_EQ(fc_call(&r.c, FUSE_COPY_FILE_RANGE, f, &copy, sizeof(copy), NULL, 0, &out, 8), 0);
	CHECK_EQ(looks, 6);
	/* longer: shown before it is told, without another look */
	for (unsigned i = 0; i < 3; i++) {
		const uint64_t at = R / 2 + i * 4096;
		int fd = openat(r.c.dir, "f", O_WRONLY | O_CLOEXEC);

		CHECK_EQ(pwrite(fd, "y", 1, (off_t)at), 1);
		(void)close(fd);
		CHECK_EQ(page(&r, at / 4096), 0);
		looks = 0;
		if (!i)
			CHECK_EQ(fc_getattr(&r.c, f, &a), 0);
		else if (i == 1)
			CHECK_EQ(fc_call(&r.c, FS_OP_STATX, f, &in, sizeof(in), NULL, 0, &out,
					 sizeof(out)),
				0);
		else
			CHECK(fc_lookup(&r.c, 1, "f"));
		CHECK_EQ(looks, 1);
		CHECK_EQ(page(&r, at / 4096), 'y');
		fs_dax_tick(r.c.fs);
	}
	CHECK(teardown(&r));
}

/* Whoever carries out transfers: first the host's file is looked at once more. */
static bool tick_then_leave(void *arg, struct fs_req *q)
{
	struct rig *r = arg;

	(void)q;
	fs_dax_tick(r->c.fs);
	return false;
}

static bool tick_then_do(void *arg, struct fs_req *q)
{
	struct rig *r = arg;

	fs_xfer_held(r->c.fs, q);
	fs_dax_tick(r->c.fs);
	(void)fs_xfer_run(q);
	fs_dax_tick(r->c.fs);
	fs_xfer_done(r->c.fs, q);
	return true;
}

/* Zero pages that come between a request and its answer are gone with that, whoever does the work.
 */
static void cut_between(void)
{
	struct {
		struct fuse_in_header h;
		struct fuse_write_in in;
		char data[4];
	} rq = { .h = { .opcode = FUSE_WRITE, .len = sizeof(rq) }, .data = "data" };
	uint8_t out[64];
	struct iovec rv = { &rq, sizeof(rq) }, wv = { out, sizeof(out) };
	struct iobuf rd, wr;
	uint32_t written;
	struct fs_req q;
	struct rig r;

	for (int worker = 0; worker < 2; worker++) {
		CHECK_EQ(mapped_file(&r, &rq.h.nodeid, &rq.in.fh), 0);
		CHECK_EQ(truncate(host_path(&r, "f"), 0), 0);
		fs_dax_tick(r.c.fs);
		CHECK_EQ(page(&r, 512), 0);
		rq.in.offset = R + 4096;
		rq.in.size = sizeof(rq.data);
		iobuf_init(&rd, &rv, 1);
		iobuf_init(&wr, &wv, 1);
		r.c.fs->hand = worker ? tick_then_do : tick_then_leave;
		r.c.fs->answer_arg = &r;
		CHECK_EQ(fs_serve_later(r.c.fs, &q, &rd, &wr, 0, &written), !worker);
		r.c.fs->hand = NULL;
		CHECK(!memcmp(r.w + R + 4096, "data", 4));
		CHECK(teardown(&r));
	}
}

/* What cannot be read for another reason than the file's end is left alone. */
static void not_the_end(void)
{
	uint64_t f, fh;
	uint8_t *last;
	struct rig r;

	CHECK_EQ(mapped_file(&r, &f, &fh), 0);
	last = (uint8_t *)(uintptr_t)r.w + 2ULL * R - 4096;
	CHECK_EQ(mprotect(last, 4096, PROT_NONE), 0);
	CHECK_EQ(fs_dax_mend(r.c.fs), 0);
	CHECK_EQ(ended(&r), 0);
	CHECK_EQ(mprotect(last, 4096, PROT_READ), 0);
	CHECK_EQ(page(&r, 1023), 1024);
	/* also of a file that is not open */
	CHECK_EQ(fc_release(&r.c, f, fh, false), 0);
	CHECK_EQ(truncate(host_path(&r, "f"), R), 0);
	CHECK_EQ(fs_dax_mend(r.c.fs), 1);
	CHECK_EQ(page(&r, 1023), 0);
	CHECK(teardown(&r));
}

/* Stores set the file's times, also those after the first once its writer has closed it, and where
 * the file ends within the range. */
static void times(void)
{
	struct stat a, b, c;
	uint64_t f, fh;
	struct rig r;

	CHECK_EQ(setup(&r, NULL), 0);
	CHECK_EQ(file(&r, "f", R / 2, 0644), 0);
	f = fc_lookup(&r.c, 1, "f");
	CHECK_EQ(fc_open(&r.c, f, O_RDWR, &fh), 0);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_RW, 0), 0);
	fs_dax_tick(r.c.fs);
	CHECK_EQ(ended(&r), 1);
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
	CHECK(blocks(&r, "f") >= 4096 && blocks(&r, "f") < R);
	CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_RW, 0), 0);
	CHECK(blocks(&r, "f") >= R);
	CHECK_EQ(fstatat(r.c.dir, "f", &st, 0), 0);
	CHECK_EQ(st.st_size, R + 4096);
	CHECK(teardown(&r));
}

/* The same for holes that are made afterwards. */
static void later_holes(void)
{
	struct fuse_fallocate_in punch = {
		.offset = R, .length = R, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
	};
	struct fuse_setattr_in size = { .valid = FATTR_SIZE, .size = R };
	struct fuse_copy_file_range_in copy = { .len = 4096 };
	uint64_t f, g, gh;
	struct rig r;
	int fd;

	CHECK_EQ(mapped_file(&r, &f, &punch.fh), 0);
	CHECK_EQ(fc_call(&r.c, FUSE_FALLOCATE, f, &punch, sizeof(punch), NULL, 0, NULL, 0), 0);
	CHECK_EQ(page(&r, 512), 0);
	CHECK(blocks(&r, "f") >= 2 * R);
	/* what is not mapped to be written to may be a hole */
	punch.offset = 0;
	CHECK_EQ(fc_call(&r.c, FUSE_FALLOCATE, f, &punch, sizeof(punch), NULL, 0, NULL, 0), 0);
	CHECK(blocks(&r, "f") < 2 * R);
	/* cut and made longer */
	CHECK_EQ(fc_setattr(&r.c, f, &size, NULL), 0);
	CHECK(blocks(&r, "f") < R);
	size.size = R + R / 2;
	CHECK_EQ(fc_setattr(&r.c, f, &size, NULL), 0);
	CHECK(blocks(&r, "f") >= R / 2 && blocks(&r, "f") < R);
	/* by a write, by a reservation */
	CHECK_EQ(fc_write(&r.c, f, punch.fh, R + R * 3 / 4, "x", 1, O_RDWR, 0), 1);
	CHECK(blocks(&r, "f") >= R * 3 / 4);
	size.size = R;
	CHECK_EQ(fc_setattr(&r.c, f, &size, NULL), 0);
	punch = (struct fuse_fallocate_in){
		.fh = punch.fh, .offset = 2 * R - 4096, .length = 4096
	};
	CHECK_EQ(fc_call(&r.c, FUSE_FALLOCATE, f, &punch, sizeof(punch), NULL, 0, NULL, 0), 0);
	CHECK(blocks(&r, "f") >= R);
	/* by somebody else */
	fd = openat(r.c.dir, "f", O_RDWR | O_CLOEXEC);
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, R, R / 2), 0);
	(void)close(fd);
	CHECK(blocks(&r, "f") < R);
	fs_dax_tick(r.c.fs);
	CHECK(blocks(&r, "f") >= R);
	/* blocks that are shared would have to be copied */
	CHECK_EQ(file(&r, "g", 8192, 0644), 0);
	g = fc_lookup(&r.c, 1, "g");
	CHECK_EQ(fc_open(&r.c, g, O_RDWR, &gh), 0);
	copy.fh_in = punch.fh;
	copy.nodeid_out = g;
	copy.fh_out = gh;
	CHECK_EQ(fc_call(&r.c, FUSE_COPY_FILE_RANGE, f, &copy, sizeof(copy), NULL, 0, &fd, 8),
		-EXDEV);
	copy.fh_in = gh;
	copy.nodeid_out = f;
	copy.fh_out = punch.fh;
	CHECK_EQ(fc_call(&r.c, FUSE_COPY_FILE_RANGE, g, &copy, sizeof(copy), NULL, 0, &fd, 8),
		-EXDEV);
	CHECK(teardown(&r));
}

/*
 * A server on a directory with overlayfs at "m", by paths or, so that nobody can tell what it lies
 * on, relative to a directory which so happens to be ours; the lower layer has the file "f". 1: no
 * right to mount.
 */
static int overlay(struct rig *r, const struct fs_cfg *cfg, bool known)
{
	int ret = setup(r, NULL), home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *from = known ? r->c.top : ".";
	char opts[400], at[120];

	if (!ret)
		ret = file(r, "f", R, 0644);
	if (ret || chdir(r->c.top) || mkdir("l", 0755) || mkdir("u x", 0755) || mkdir("w", 0755) ||
		mkdirat(r->c.dir, "m", 0755) || renameat(r->c.dir, "f", AT_FDCWD, "l/f"))
		return ret ? ret : -errno;
	(void)snprintf(at, sizeof(at), "%s/m", r->c.path);
	(void)snprintf(
		opts, sizeof(opts), "lowerdir=%s/l,upperdir=%s/u x,workdir=%s/w", from, from, from);
	if (mount("overlay", at, "overlay", 0, opts))
		ret = errno == EPERM ? 1 : -errno;
	if (ret == 1)
		puts("# no right to mount: not tested");
	fs_server_free(r->c.fs);
	if (fc_server(&r->c, cfg, NULL) || fchdir(home) || close(home))
		return -EIO;
	return fc_init(&r->c, ~0ULL) ? -EIO : ret;
}

static bool overlay_end(struct rig *r)
{
	char at[120];

	(void)snprintf(at, sizeof(at), "%s/m", r->c.path);
	fs_dax_reset(r->c.fs);
	fs_server_reset(r->c.fs);
	(void)umount2(at, MNT_DETACH);
	return teardown(r);
}

static bool admitted_there(struct rig *r, uint64_t *node)
{
	struct fuse_entry_out e = { 0 };

	if (fc_lookup_n(&r->c, fc_lookup(&r->c, 1, "m"), "f", 2, &e))
		return false;
	*node = e.nodeid;
	return e.attr.flags & FS_ATTR_DAX;
}

/* A file is open for reading, from the lower layer, when somebody writes to it first. */
static void copied_up(void)
{
	struct fuse_setattr_in size = { .valid = FATTR_SIZE, .size = 4096 };
	uint64_t f, fh, wh, v;
	int fd, ret;
	struct rig r;

	for (int how = 0; how < 4; how++) {
		ret = overlay(&r, NULL, true);
		CHECK(ret >= 0);
		if (!ret) {
			CHECK(admitted_there(&r, &f));
			CHECK_EQ(fc_open(&r.c, f, O_RDONLY, &fh), 0);
			CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0), 0);
			CHECK_EQ(page(&r, 1), 2);
			v = 4711;
			switch (how) {
			case 0: /* the guest, by a handle; it is seen in a new mapping too */
				CHECK_EQ(fc_open(&r.c, f, O_RDWR, &wh), 0);
				CHECK_EQ(fc_write(&r.c, f, wh, 0, &v, 8, O_RDWR, 0), 8);
				CHECK_EQ(page(&r, 0), 4711);
				CHECK_EQ(fc_release(&r.c, f, wh, false), 0);
				CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, R), 0);
				CHECK_EQ(page(&r, 512), 4711);
				break;
			case 1: /* the guest, by truncating what it has not open to write */
				CHECK_EQ(fc_setattr(&r.c, f, &size, NULL), 0);
				CHECK(there(&r, 4095) && !there(&r, 4096));
				break;
			default: /* the host; seen after a while, or when the guest opens it */
				fd = open(host_path(&r, "m/f"), O_RDWR | O_CLOEXEC);
				CHECK_EQ(pwrite(fd, &v, 8, 0), 8);
				(void)close(fd);
				if (how == 2)
					fs_dax_tick(r.c.fs);
				else
					CHECK_EQ(fc_open(&r.c, f, O_RDONLY, &wh), 0);
				CHECK_EQ(page(&r, 0), 4711);
			}
		}
		CHECK(overlay_end(&r));
	}
}

/* overlayfs is mapped where stores have a place, or there are none; also after a load. */
static void layers(void)
{
	struct fs_cfg ro = { .cache = FS_CACHE_AUTO, .readonly = true };
	struct save_out s = { 0 };
	struct rig r;
	uint64_t f;
	int ret;

	ret = overlay(&r, NULL, false);
	CHECK(ret >= 0);
	if (!ret) {
		CHECK(!admitted_there(&r, &f) && f);
		CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0), -ENODEV);
	}
	CHECK(overlay_end(&r));
	ret = overlay(&r, &ro, false);
	CHECK(ret >= 0);
	if (!ret) {
		CHECK(admitted_there(&r, &f));
		CHECK_EQ(map(&r, f, NO_FH, 0, R, MAP_R, 0), 0);
		CHECK_EQ(page(&r, 1), 2);
		fs_save(r.c.fs, &s);
		CHECK_EQ(s.err, 0);
		CHECK_EQ(again(&r, &s, &ro), 0);
		CHECK_EQ(page(&r, 1), 2);
		CHECK(r.c.fs->dax->map[1].lower);
		/* the same share, and it may be written to now: the file is there, so no zeroes */
		CHECK_EQ(again(&r, &s, NULL), -ENODEV);
		CHECK(!there(&r, 4096));
		save_out_free(&s);
	}
	CHECK(overlay_end(&r));
}

static const struct test_case cases[] = {
	TEST(shrunk),
	TEST(shrunk_unseen),
	TEST(still_short),
	TEST(looked_at_once),
	TEST(cut_between),
	TEST(not_the_end),
	TEST(times),
	TEST(holes),
	TEST(later_holes),
	TEST(copied_up),
	TEST(layers),
};

int main(int argc, char **argv)
{
	/* What is mounted here is nobody else's affair. */
	if (!unshare(CLONE_NEWNS))
		(void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return main_(cases, ARRAY_SIZE(cases), argc, argv);
}
