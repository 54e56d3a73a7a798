// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs as a device against the host's own calls: random operations of processes of several
 * users on a share and on a directory beside it must give the same results, errors, attributes,
 * contents and listings. FS_DIFF_OPS (20000), FS_DIFF_SEED and FS_DIFF_DIR (/var/tmp)
 * change the run; it prints the last operations when there is a difference.
 * timeout: 600
 */
#include <inttypes.h>
#include <sched.h>
#include <sys/mount.h>

#include "fake/fake_kern.h"
#include "fake/fsop.h"
#include "tests/unit/fs_client.h"
#include "tests/unit/fs_tree.h"
#include "tests/unit/test.h"

#define LAST   40
#define WINDOW (4ULL << 30) /* where it is */
#define RANGES FK_RANGES

struct rig {
	struct fake_guest g;
	struct loop *loop;
	struct vdev *v;
	struct fake_dev d;
	struct fk k;
	struct fk_proc proc[FSOP_PROCS];
	struct fsop_native nat;
	struct fsop_gen gen;
	char top[64], share[80], native[80];
	struct fsop last[LAST];
	struct fsres was[LAST];
	uint64_t n;	/* operations run */
	unsigned kept;	/* open files that went through a save and a load */
	unsigned cut;	/* ranges that showed more than the file had */
	unsigned holes; /* answers about holes that differed, and both were true */
	bool window;
	struct {
		uint64_t ok, all;
	} kind[FSOP_KINDS];
};

static uint8_t data[FSOP_IO];
static char text[1 << 20];

static void attrs(struct fsres *r, const struct fuse_attr *a)
{
	r->attr = true;
	r->mode = a->mode;
	r->uid = a->uid;
	r->gid = a->gid;
	r->nlink = a->nlink;
	r->rdev = a->rdev;
	r->size = S_ISDIR(a->mode) ? 0 : (int64_t)a->size;
	fsop_time(r->atime, (int64_t)a->atime, a->atimensec);
	fsop_time(r->mtime, (int64_t)a->mtime, a->mtimensec);
}

static int64_t share_xattr(struct fk *k, struct fk_proc *p, const struct fsop *op, struct fsres *r)
{
	uint32_t n = (uint32_t)op->len;
	int64_t ret;

	switch (op->kind) {
	case FSOP_SETXATTR:
		fsop_fill(op, data, n);
		return fk_setxattr(k, p, op->path, op->follow, op->path2, data, n, op->flags);
	case FSOP_GETXATTR:
		ret = fk_getxattr(k, p, op->path, op->follow, op->path2, data, n);
		if (ret > 0 && n)
			fsop_sum(r, data, (size_t)ret);
		return ret;
	case FSOP_LISTXATTR:
		ret = fk_listxattr(k, p, op->path, op->follow, text, n);
		if (ret <= 0 || !n)
			return ret;
		for (int64_t i = 0; i < ret; i++)
			if (!text[i])
				text[i] = '\n';
		text[ret] = 0;
		fsop_sum_lines(r, text, (size_t)ret);
		return ret;
	default:
		return fk_removexattr(k, p, op->path, op->follow, op->path2);
	}
}

static int64_t share_file(struct fk *k, struct fk_proc *p, const struct fsop *op, struct fsres *r)
{
	uint32_t n = (uint32_t)op->len;
	struct fuse_attr a;
	int64_t ret;

	switch (op->kind) {
	case FSOP_CLOSE:
		return fk_close(k, p, op->slot);
	case FSOP_READ:
		ret = fk_read(k, p, op->slot, op->off, data, n);
		if (ret > 0)
			fsop_sum(r, data, (size_t)ret);
		return ret;
	case FSOP_WRITE:
		fsop_fill(op, data, n);
		return fk_write(k, p, op->slot, op->off, data, n);
	case FSOP_FSYNC:
		return fk_fsync(k, p, op->slot, !op->follow);
	case FSOP_LSEEK:
		return fk_lseek(k, p, op->slot, op->off, op->flags);
	case FSOP_FALLOCATE:
		return fk_fallocate(k, p, op->slot, op->flags, op->off, op->len);
	case FSOP_COPY:
		return fk_copy(k, p, op->slot, op->off, op->slot2, op->off2, (uint64_t)op->len);
	case FSOP_FTRUNCATE:
		return fk_truncate(k, p, NULL, op->slot, op->off);
	case FSOP_FCHMOD:
		return fk_chmod(k, p, NULL, op->slot, op->mode);
	case FSOP_FCHOWN:
		return fk_chown(k, p, NULL, op->slot, true, op->uid, op->gid);
	case FSOP_LINKFD:
		return p->uid ? -EPERM : fk_link_file(k, p, op->slot, op->path);
	default:
		ret = fk_fstat(k, p, op->slot, &a);
		if (!ret)
			attrs(r, &a);
		return ret;
	}
}

static int64_t share_name(struct fk *k, struct fk_proc *p, const struct fsop *op, struct fsres *r)
{
	struct fuse_attr a;
	int64_t ret;

	switch (op->kind) {
	case FSOP_OPEN:
		return fk_open(k, p, op->slot, op->path, op->flags, op->mode);
	case FSOP_TMPFILE:
		return fk_tmpfile(k, p, op->slot, op->path, op->flags, op->mode);
	case FSOP_MKDIR:
		return fk_mkdir(k, p, op->path, op->mode);
	case FSOP_MKNOD:
		return fk_mknod(k, p, op->path, op->mode, op->rdev);
	case FSOP_SYMLINK:
		return fk_symlink(k, p, op->path2, op->path);
	case FSOP_LINK:
		return fk_link(k, p, op->path, op->path2, op->follow);
	case FSOP_UNLINK:
	case FSOP_RMDIR:
		return fk_remove(k, p, op->path, op->kind == FSOP_RMDIR);
	case FSOP_RENAME:
		return fk_rename(k, p, op->path, op->path2, (unsigned)op->flags);
	case FSOP_CHMOD:
		return fk_chmod(k, p, op->path, 0, op->mode);
	case FSOP_CHOWN:
		return fk_chown(k, p, op->path, 0, op->follow, op->uid, op->gid);
	case FSOP_TRUNCATE:
		return fk_truncate(k, p, op->path, 0, op->off);
	case FSOP_UTIMES:
		return fk_utimes(k, p, op->path, op->follow, op->ts);
	case FSOP_ACCESS:
		return fk_access(k, p, op->path, op->flags);
	case FSOP_READLINK:
		ret = fk_readlink(k, p, op->path, text, 4096);
		if (ret > 0)
			fsop_sum(r, text, (size_t)ret);
		return ret;
	case FSOP_LIST:
		ret = fk_list(k, p, op->path, text, sizeof(text));
		if (ret < 0)
			return ret;
		text[ret] = 0;
		fsop_sum_lines(r, text, (size_t)ret);
		return 0;
	case FSOP_UMASK:
		p->umask = op->mode & 0777;
		return 0;
	default:
		ret = fk_stat(k, p, op->path, op->follow, &a);
		if (!ret)
			attrs(r, &a);
		return ret;
	}
}

static void share_run(struct rig *t, const struct fsop *op, struct fsres *r)
{
	struct fk_proc *p = &t->proc[op->proc];

	*r = (struct fsres){ .ret = 0 };
	fk_settle(&t->k);
	if (op->kind >= FSOP_CLOSE && op->kind <= FSOP_LINKFD)
		r->ret = share_file(&t->k, p, op, r);
	else if (op->kind >= FSOP_SETXATTR && op->kind <= FSOP_REMOVEXATTR)
		r->ret = share_xattr(&t->k, p, op, r);
	else
		r->ret = share_name(&t->k, p, op, r);
}

static void print_last(const struct rig *t)
{
	uint64_t from = t->n > LAST ? t->n - LAST : 0;

	for (uint64_t i = from; i < t->n; i++) {
		printf("# %" PRIu64 ": ", i);
		fsop_print(stdout, &t->last[i % LAST]);
		printf(" = ");
		fsop_print_res(stdout, &t->was[i % LAST]);
		printf("\n");
	}
}

/*
 * Where an extent is allocated and not written, the host's kernel calls data what is in its page
 * cache, and a window brings pages there that read() does not: SEEK_HOLE and SEEK_DATA may answer
 * differently. What either calls a hole must still be zeros, on both sides.
 */
static bool zeros_between(
	struct rig *t, const struct fsop *op, const struct fsres *share, const struct fsres *native)
{
	struct fsop rd = *op;
	int64_t a = share->ret, b = native->ret, n;
	struct fsres r[2], z = { 0 };

	/* -ENXIO: no data up to the end */
	if ((a < 0 && a != -ENXIO) || (b < 0 && b != -ENXIO) || (a < 0 && b < 0))
		return false;
	n = op->flags == SEEK_HOLE || a < 0 || b < 0 ? FSOP_IO : a < b ? b - a : a - b;
	rd.off = a < 0 ? b : b < 0 || a < b ? a : b;
	if (op->flags == SEEK_HOLE)
		n = 4096 - rd.off % 4096;
	if (n > FSOP_IO)
		return false;
	rd.kind = FSOP_READ;
	rd.len = n;
	if (fsop_native_run(&t->nat, &rd, &r[1]) < 0)
		return false;
	share_run(t, &rd, &r[0]);
	if (!fsop_same(&r[0], &r[1], true))
		return false;
	t->holes++;
	if (r[0].ret == -EBADF) /* open for writing only */
		return true;
	if (r[0].ret < 0 || (r[0].ret == FSOP_IO && (a < 0 || b < 0)))
		return false;
	memset(data, 0, (size_t)r[0].ret);
	fsop_sum(&z, data, (size_t)r[0].ret);
	return z.n == r[0].n && z.hash == r[0].hash;
}

/* Runs @op on both; false, with the reason printed, when they differ. */
static bool both(struct rig *t, const struct fsop *op, struct fsres *share)
{
	struct fsres native;
	int r = fsop_native_run(&t->nat, op, &native);

	share_run(t, op, share);
	if (!r && !t->k.broken && fsop_same(share, &native, true))
		return true;
	if (!r && !t->k.broken && t->window && op->kind == FSOP_LSEEK &&
		zeros_between(t, op, share, &native))
		return true;
	if (!test_failed_)
		return false;
	print_last(t);
	printf("# differs: ");
	fsop_print(stdout, op);
	printf("\n# share:   ");
	fsop_print_res(stdout, share);
	printf("\n# native:  ");
	fsop_print_res(stdout, &native);
	printf("\n");
	return false;
}

static bool one(struct rig *t)
{
	struct fsop op, look;
	struct fsres r, l;

	fsop_next(&t->gen, &op);
	if (!both(t, &op, &r))
		return false;
	fsop_done(&t->gen, &op, &r);
	t->kind[op.kind].all++;
	t->kind[op.kind].ok += r.ret >= 0;
	t->last[t->n % LAST] = op;
	t->was[t->n % LAST] = r;
	t->n++;
	for (unsigned i = 0; r.ret >= 0 && fsop_look(&op, i, &look); i++)
		if (!both(t, &look, &l))
			return false;
	return true;
}

static int device(struct rig *t)
{
	struct fs_cfg cfg = { .tag = "root", .cache = FS_CACHE_AUTO };
	struct error e = { 0 };
	int r;

	if (t->window) {
		cfg.dax_gpa = WINDOW;
		cfg.dax_len = RANGES * (uint64_t)FS_DAX_RANGE;
	}
	cfg.root_fd = open(t->share, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = fs_new(t->loop, &t->g.mem, &cfg, &t->v, &e);
	if (r < 0)
		printf("# %s\n", e.msg);
	return r;
}

/* Looks up every name that there is. A file open by another name than the last one it was seen by
 * would be stale after a load, by design. */
static struct rig *seer;

static int see(const char *path, const struct stat *st, int type, struct FTW *f)
{
	struct fuse_attr a;

	(void)st;
	(void)type;
	(void)f;
	fk_settle(&seer->k);
	return path[tree_cut] ? fk_stat(&seer->k, &seer->proc[0], path + tree_cut, false, &a) : 0;
}

static int see_not(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)path;
	(void)st;
	(void)type;
	(void)f;
	return 0;
}

static bool see_all(struct rig *t)
{
	/* Its directories are read as well: times of access. */
	if (nftw(t->native, see_not, 32, FTW_PHYS) < 0) {
		printf("# nftw: %s\n", strerror(errno));
		return false;
	}
	seer = t;
	tree_cut = strlen(t->share);
	fk_forget_all(&t->k);
	return !nftw(t->share, see, 32, FTW_PHYS);
}

/*
 * What each open file is, on both sides, told by reading it. What has no name is closed then: its
 * attributes and holes do not come back; before a save, only directories of that kind, which do not
 * come back at all.
 */
static bool look_at_open(struct rig *t, bool loaded, unsigned *kept)
{
	for (unsigned i = 0; i < FSOP_PROCS * FSOP_SLOTS; i++) {
		struct fsop op = { .proc = (uint8_t)(i / FSOP_SLOTS),
			.slot = (uint8_t)(i % FSOP_SLOTS),
			.kind = FSOP_FSTAT,
			.len = FSOP_IO };
		struct fsres r;
		bool nameless;

		if (!t->gen.used[op.proc][op.slot])
			continue;
		if (!both(t, &op, &r))
			return false;
		nameless = r.ret >= 0 && !r.nlink;
		op.kind = FSOP_READ;
		if (loaded && !S_ISDIR(r.mode) && !both(t, &op, &r))
			return false;
		op.kind = FSOP_CLOSE;
		if (nameless && (loaded || S_ISDIR(r.mode))) {
			if (!both(t, &op, &r))
				return false;
			fsop_done(&t->gen, &op, &r);
		}
		*kept += loaded;
	}
	return true;
}

/* Saved in the midst of things, and loaded into a device that was never spoken to. */
static bool renew(struct rig *t)
{
	struct save_out s = { 0 };
	struct save_in in;
	struct vdev *was = t->v;
	int ret;

	if (!look_at_open(t, false, &t->kept) || !see_all(t))
		return false;
	/* A kernel drops what lost its last name and is not open. */
	fk_forget_now(&t->k);
	vdev_pause(was);
	ret = vdev_save(was, &s);
	/* nameless files with more bytes than are saved: the guest goes on where it is */
	if (ret == -E2BIG) {
		save_out_free(&s);
		vdev_resume(was);
		return true;
	}
	if (!ret)
		ret = device(t);
	/* which empties the window */
	if (!ret && t->window)
		vdev_fini(was);
	if (!ret) {
		t->v->irq = was->irq;
		in = (struct save_in){ .buf = s.buf, .len = s.len };
		vdev_pause(t->v);
		ret = vdev_load(t->v, &in);
		t->d.v = t->v;
		t->d.mmio.v = t->v;
		vdev_resume(t->v);
		if (!t->window)
			vdev_fini(was);
		was->cls->destroy(was);
	}
	save_out_free(&s);
	if (ret)
		printf("# save and load: %d\n", ret);
	return !ret && look_at_open(t, true, &t->kept);
}

/* Nobody's times of access change by mapping a file; 1: there is no right to mount. */
static int without_atime(const char *path)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return errno == EPERM ? 1 : -errno;
	if (mount(path, path, NULL, MS_BIND, NULL) ||
		mount("none", path, NULL, MS_BIND | MS_REMOUNT | MS_NOATIME, NULL))
		return -errno;
	return 0;
}

static int setup(struct rig *t, uint64_t seed, bool window)
{
	const char *dir = getenv("FS_DIFF_DIR");
	struct error e = { 0 };
	int r;

	memset(t, 0, sizeof(*t));
	t->window = window;
	(void)umask(0);
	t->gen.rnd = seed;
	(void)snprintf(t->top, sizeof(t->top), "%s/krun-diff-XXXXXX", dir ? dir : "/var/tmp");
	if (!mkdtemp(t->top))
		return -errno;
	r = window ? without_atime(t->top) : 0;
	if (r) {
		(void)rmdir(t->top);
		return r;
	}
	(void)snprintf(t->share, sizeof(t->share), "%s/share", t->top);
	(void)snprintf(t->native, sizeof(t->native), "%s/native", t->top);
	if (chmod(t->top, 0755) < 0 || mkdir(t->share, 0777) < 0 || mkdir(t->native, 0777) < 0)
		return -errno;
	r = fake_guest_init(&t->g, 16 << 20);
	if (!r && window)
		r = mem_add_shm(&t->g.mem, GPA(WINDOW), RANGES * (uint64_t)FS_DAX_RANGE, &e);
	if (!r)
		r = loop_new("fs", &t->loop, &e);
	if (!r)
		r = device(t);
	if (!r)
		r = fake_dev_init(&t->d, &t->g, t->v);
	/* The driver runs the loop while it waits: a thread of its own would cost two switches for
	 * each request. */
	t->d.pump = t->loop;
	if (!r)
		r = fake_dev_start(&t->d, ~0ULL);
	/* The server has given this thread its cwd. */
	if (!r)
		r = fsop_native_start(&t->nat, t->native, true);
	t->d.indirect = seed & 1;
	if (!r)
		r = fk_init(&t->k, &t->d, seed);
	if (window) {
		t->k.window = t->g.mem.r[t->g.mem.n - 1].hva;
		t->k.nshown = RANGES;
	}
	for (unsigned i = 0; i < FSOP_PROCS; i++) {
		const struct fsop_user *u = &fsop_users[i];

		t->proc[i] =
			(struct fk_proc){ .uid = u->uid, .gid = u->gid, .ngroups = u->ngroups };
		for (unsigned j = 0; j < u->ngroups; j++)
			t->proc[i].groups[j] = u->groups[j];
	}
	t->k.procs = t->proc;
	t->k.nprocs = FSOP_PROCS;
	return r;
}

static void teardown(struct rig *t)
{
	fake_dev_reset(&t->d);
	vdev_fini(t->v);
	fake_dev_fini(&t->d);
	t->v->cls->destroy(t->v);
	loop_free(t->loop);
	fake_guest_fini(&t->g);
	fsop_native_stop(&t->nat);
	(void)umount2(t->top, MNT_DETACH);
	(void)nftw(t->top, fc_rm_, 32, FTW_DEPTH | FTW_PHYS);
}

static uint64_t seed_of(void)
{
	const char *s = getenv("FS_DIFF_SEED");

	return s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ULL | 1;
}

static bool may_run(void)
{
	if (!geteuid())
		return true;
	printf("# not root: processes of several users take it\n");
	return false;
}

static void run(bool window)
{
	const char *e = getenv("FS_DIFF_OPS");
	uint64_t ops = e ? strtoull(e, NULL, 0) : 20000, seed = seed_of();
	static struct rig t;
	uint64_t ok = 0;
	unsigned never = 0;
	int r;

	if (!may_run())
		return;
	printf("# FS_DIFF_SEED=%" PRIu64 ", %" PRIu64 " operations\n", seed, ops);
	(void)fflush(stdout);
	r = setup(&t, seed, window);
	if (r == 1) {
		puts("# no right to mount: not tested");
		return;
	}
	CHECK_EQ(r, 0);
	/* So that differences are printed. */
	test_failed_ = true;
	while (t.n < ops) {
		/* what a fault of the guest would bring about, at any time */
		if (window && t.n % 7 == 0)
			t.cut += vdev_mend(t.v);
		if (!one(&t) || (t.n % 5000 == 0 && !trees_same(t.share, t.native, test_failed_)) ||
			(t.n % 500 == 0 && !renew(&t))) {
			printf("# after %" PRIu64 " operations\n", t.n);
			return;
		}
	}
	if (!trees_same(t.share, t.native, test_failed_))
		return;
	test_failed_ = false;
	for (unsigned i = 0; i < FSOP_KINDS; i++) {
		if (!t.kind[i].ok && ++never)
			printf("# kind %u never worked\n", i);
		ok += t.kind[i].ok;
	}
	/* A kind that never works is not tested. */
	CHECK(never <= (ops < 20000 ? FSOP_KINDS : ops < 200000 ? 3 : 0));
	printf("# %" PRIu64 " of %" PRIu64 " operations worked, %" PRIu64
	       " requests, %u open files saved and loaded\n",
		ok, ops, t.k.requests, t.kept);
	CHECK(t.kept || ops < 20000);
	if (window) {
		printf("# %u reads beside the window, %u ranges ended in zero pages, %u holes by the "
		       "page cache\n",
			t.k.compared, t.cut, t.holes);
		CHECK((t.k.compared && t.cut) || ops < 20000);
	}
	fk_forget_all(&t.k);
	teardown(&t);
}

static void differential(void)
{
	run(false);
}

/* What the window shows of a file is what reading it gives. */
static void differential_window(void)
{
	run(true);
}

/* A server that lies: what is changed behind the back of one side must be found out. */
static void lies_are_found(void)
{
	static const char *const how[] = { "byte", "mode", "name", "link", "owner" };

	if (!may_run())
		return;
	for (unsigned k = 0; k < ARRAY_SIZE(how); k++) {
		static struct rig t;
		struct fsop op = { .kind = FSOP_OPEN, .flags = O_CREAT | O_RDWR, .mode = 0644 };
		struct fsres r;
		int dir, fd;

		CHECK_EQ(setup(&t, 4711 + k, false), 0);
		strcpy(op.path, "witness");
		CHECK(both(&t, &op, &r));
		CHECK_EQ(r.ret, 0);
		op = (struct fsop){ .kind = FSOP_WRITE, .len = 3000 };
		CHECK(both(&t, &op, &r));
		CHECK_EQ(r.ret, 3000);
		CHECK(trees_same(t.share, t.native, test_failed_));
		dir = open(t.share, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fd = openat(dir, "witness", O_WRONLY | O_CLOEXEC);
		switch (k) {
		case 0:
			CHECK_EQ(pwrite(fd, "", 1, 1500), 1);
			break;
		case 1:
			CHECK_EQ(fchmod(fd, 0645), 0);
			break;
		case 2:
			CHECK_EQ(renameat(dir, "witness", dir, "wutness"), 0);
			break;
		case 3:
			CHECK_EQ(linkat(dir, "witness", dir, "n0", 0), 0);
			break;
		default:
			CHECK_EQ(fchown(fd, 1, 0), 0);
		}
		(void)close(fd);
		(void)close(dir);
		op = (struct fsop){ .kind = FSOP_FSTAT };
		if (k == 0)
			op = (struct fsop){ .kind = FSOP_READ, .len = 3000 };
		if (k == 2)
			op = (struct fsop){ .kind = FSOP_LIST, .path = "/" };
		if (both(&t, &op, &r) || trees_same(t.share, t.native, test_failed_)) {
			printf("# %s\n", how[k]);
			test_failed_ = true;
		}
		teardown(&t);
	}
}

/* What random operations hardly ever meet. Each is one call on both sides; the answers must be
 * equal. */
static bool call(struct rig *t, struct fsop op)
{
	struct fsres r;
	bool was = test_failed_, ok;

	/* So that a difference is printed. */
	test_failed_ = true;
	ok = both(t, &op, &r);
	test_failed_ = was;
	return ok;
}

static void name_to(struct fsop *op, const char *path)
{
	(void)snprintf(op->path, sizeof(op->path), "%s", path);
}

/* A file made with O_NOATIME is read after its times were set: reading must not change them. */
static void noatime_from_the_start(void)
{
	static struct rig t;
	struct fsop op = { .kind = FSOP_OPEN, .mode = 0644 };
	struct fsres r;

	if (!may_run())
		return;
	CHECK_EQ(setup(&t, 1, false), 0);
	for (unsigned i = 0; i < 2; i++) {
		op = (struct fsop){ .kind = FSOP_OPEN, .mode = 0644, .slot = (uint8_t)i };
		op.flags = O_CREAT | O_EXCL | O_RDWR | (i ? O_NOATIME : 0);
		name_to(&op, i ? "/without" : "/with");
		CHECK(call(&t, op));
		CHECK(call(
			&t, (struct fsop){ .kind = FSOP_WRITE, .slot = (uint8_t)i, .len = 100 }));
		op.kind = FSOP_UTIMES;
		op.follow = true;
		op.ts[0].tv_sec = 1000;
		op.ts[1].tv_sec = 2000;
		CHECK(call(&t, op));
		CHECK(call(&t, (struct fsop){ .kind = FSOP_READ, .slot = (uint8_t)i, .len = 10 }));
		op = (struct fsop){ .kind = FSOP_FSTAT, .slot = (uint8_t)i };
		CHECK(both(&t, &op, &r));
		/* Without the flag it is an access, or this file system tells nothing. */
		if (!i && r.atime[0] == 1000)
			printf("# no times of access in this directory\n");
		CHECK(!i || r.atime[0] == 1000);
	}
	fk_forget_all(&t.k);
	teardown(&t);
}

/* More names than a reply and than the server's buffer hold, by replies of many sizes. */
static void big_directory(void)
{
	static struct rig t;
	struct fsop op;

	if (!may_run())
		return;
	CHECK_EQ(setup(&t, 2, false), 0);
	for (unsigned i = 0; i < 400; i++) {
		op = (struct fsop){ .kind = FSOP_OPEN, .flags = O_CREAT | O_WRONLY, .mode = 0644 };
		(void)snprintf(op.path, sizeof(op.path), "/%0*u", 40 + (int)(i * 7 % 180), i);
		CHECK(call(&t, op));
		CHECK(call(&t, (struct fsop){ .kind = FSOP_CLOSE }));
	}
	op = (struct fsop){ .kind = FSOP_LIST, .path = "/" };
	for (unsigned i = 0; i < 20; i++)
		CHECK(call(&t, op));
	fk_forget_all(&t.k);
	teardown(&t);
}

/*
 * The host removes a file that the guest knows, and makes one of another type, which gets
 * the number of the first, or not.
 */
static void number_again(struct rig *t, bool link_first, unsigned *again)
{
	const char *dirs[] = { t->share, t->native };
	char path[2][96];
	struct fsop op = { .kind = FSOP_STAT, .path = "/f" };
	struct stat was, is;
	uint64_t known;

	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(path[i], sizeof(path[i]), "%s/f", dirs[i]);
		if (link_first)
			CHECK_EQ(symlink("g", path[i]), 0);
		else
			CHECK_EQ(mknod(path[i], S_IFREG | 0644, 0), 0);
	}
	CHECK(call(t, op));
	CHECK_EQ(lstat(path[0], &was), 0);
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(unlink(path[i]), 0);
		if (link_first)
			CHECK_EQ(mknod(path[i], S_IFREG | 0644, 0), 0);
		else
			CHECK_EQ(symlink("g", path[i]), 0);
	}
	CHECK_EQ(lstat(path[0], &is), 0);
	/* A second has passed. */
	known = fk_name_take(&t->k, FUSE_ROOT_ID, "f");
	if (known)
		fk_looked_up(&t->k, known);
	CHECK(call(t, op));
	op.kind = link_first ? FSOP_OPEN : FSOP_READLINK;
	CHECK(call(t, op));
	if (link_first)
		CHECK(call(t, (struct fsop){ .kind = FSOP_CLOSE }));
	op.kind = FSOP_UNLINK;
	CHECK(call(t, op));
	*again += was.st_ino == is.st_ino;
}

static void numbers_of_the_host(void)
{
	static struct rig t;
	unsigned again = 0;

	if (!may_run())
		return;
	CHECK_EQ(setup(&t, 3, false), 0);
	test_failed_ = false;
	for (unsigned i = 0; i < 40 && !test_failed_; i++)
		number_again(&t, i & 1, &again);
	printf("# %u of 40 got the number of what was before\n", again);
	fk_forget_all(&t.k);
	teardown(&t);
}

static const struct test_case cases[] = { TEST(lies_are_found), TEST(noatime_from_the_start),
	TEST(big_directory), TEST(numbers_of_the_host), TEST(differential),
	TEST(differential_window) };

TEST_MAIN(cases)
