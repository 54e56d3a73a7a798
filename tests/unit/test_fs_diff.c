// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs as a device against the host's own calls: random operations of processes of several
 * users on a share and on a directory beside it must give the same results, errors, attributes,
 * contents and listings. FS_DIFF_OPS (20000), FS_DIFF_SEED and FS_DIFF_DIR (/var/tmp)
 * change the run; it prints the last operations when there is a difference.
 * timeout: 600
 */
#include <inttypes.h>
#include <sys/xattr.h>

#include "fake/fake_kern.h"
#include "fake/fsop.h"
#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

#define LAST 40

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
	uint64_t n; /* operations run */
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

/* Runs @op on both; false, with the reason printed, when they differ. */
static bool both(struct rig *t, const struct fsop *op, struct fsres *share)
{
	struct fsres native;
	int r = fsop_native_run(&t->nat, op, &native);

	share_run(t, op, share);
	if (!r && !t->k.broken && fsop_same(share, &native, true))
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

/* The two trees, by calls of this process: each line of one must be one of the other. */
static FILE *tree_out;
static size_t tree_cut;

static void tree_content(const char *path, const struct stat *st, struct fsres *r)
{
	uint64_t sum = 0;
	ssize_t n;
	int fd;

	if (S_ISLNK(st->st_mode)) {
		n = readlink(path, text, sizeof(text));
		fsop_sum(r, text, n < 0 ? 0 : (size_t)n);
		return;
	}
	if (!S_ISREG(st->st_mode) || st->st_size > 1 << 22)
		return;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
	while ((n = read(fd, data, sizeof(data))) > 0) {
		fsop_sum(r, data, (size_t)n);
		sum = sum * 31 + r->hash;
	}
	r->hash = sum;
	(void)close(fd);
}

static int tree_line(const char *path, const struct stat *st, int type, struct FTW *f)
{
	struct fsres r = { .ret = 0 }, x = { .ret = 0 };
	ssize_t n = llistxattr(path, text, sizeof(text));

	(void)type;
	(void)f;
	for (ssize_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = '\n';
	text[n > 0 ? n : 0] = 0;
	fsop_sum_lines(&x, text, n > 0 ? (size_t)n : 0);
	tree_content(path, st, &r);
	fprintf(tree_out, "%s %o %u:%u %u %" PRId64 " %" PRIx64 " x%" PRIx64 "\n", path + tree_cut,
		st->st_mode, st->st_uid, st->st_gid, (unsigned)st->st_nlink,
		S_ISDIR(st->st_mode) ? 0 : (int64_t)st->st_size, r.hash, x.hash);
	return 0;
}

static bool tree(const char *path, char **out)
{
	struct fsres r = { .ret = 0 };
	size_t n;

	tree_out = open_memstream(out, &n);
	tree_cut = strlen(path);
	if (!tree_out || nftw(path, tree_line, 32, FTW_PHYS) < 0)
		return false;
	return !fclose(tree_out) && n && (fsop_sum(&r, *out, n), true);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **lines_of(char *s, size_t *n)
{
	char **line = calloc(100000, sizeof(*line));

	*n = 0;
	for (char *l = strtok(s, "\n"); l && *n < 100000; l = strtok(NULL, "\n"))
		line[(*n)++] = l;
	qsort(line, *n, sizeof(*line), by_text);
	return line;
}

static bool trees_same(const struct rig *t)
{
	char *a = NULL, *b = NULL, **la, **lb;
	size_t na, nb;
	bool ok;

	if (!tree(t->share, &a) || !tree(t->native, &b))
		return false;
	la = lines_of(a, &na);
	lb = lines_of(b, &nb);
	ok = na == nb;
	for (size_t i = 0; i < MIN(na, nb); i++) {
		if (!strcmp(la[i], lb[i]))
			continue;
		if (test_failed_)
			printf("# trees differ: \"%s\" and \"%s\"\n", la[i], lb[i]);
		ok = false;
		break;
	}
	free(la);
	free(lb);
	free(a);
	free(b);
	return ok;
}

static int device(struct rig *t)
{
	struct fs_cfg cfg = { .tag = "root", .cache = FS_CACHE_AUTO };
	struct error e = { 0 };
	int r;

	cfg.root_fd = open(t->share, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = fs_new(t->loop, &t->g.mem, &cfg, &t->v, &e);
	if (r < 0)
		printf("# %s\n", e.msg);
	return r;
}

/* Saved, and loaded into a device that was never spoken to. Open files are closed before: one that
 * has lost the name it was seen by, and has others, is stale after a load by design. */
static bool renew(struct rig *t)
{
	struct save_out s = { 0 };
	struct save_in in;
	struct vdev *was = t->v;
	struct fsop op;
	struct fsres r;
	int ret;

	while (fsop_close_one(&t->gen, &op)) {
		if (!both(t, &op, &r))
			return false;
		fsop_done(&t->gen, &op, &r);
	}
	/* A kernel drops what lost its last name and is not open. */
	fk_forget_now(&t->k);
	vdev_pause(was);
	ret = vdev_save(was, &s);
	if (!ret)
		ret = device(t);
	if (!ret) {
		t->v->irq = was->irq;
		in = (struct save_in){ .buf = s.buf, .len = s.len };
		vdev_pause(t->v);
		ret = vdev_load(t->v, &in);
		t->d.v = t->v;
		t->d.mmio.v = t->v;
		vdev_resume(t->v);
		vdev_fini(was);
		was->cls->destroy(was);
	}
	save_out_free(&s);
	if (ret)
		printf("# save and load: %d\n", ret);
	return !ret;
}

static int setup(struct rig *t, uint64_t seed)
{
	const char *dir = getenv("FS_DIFF_DIR");
	struct error e = { 0 };
	int r;

	memset(t, 0, sizeof(*t));
	(void)umask(0);
	t->gen.rnd = seed;
	(void)snprintf(t->top, sizeof(t->top), "%s/krun-diff-XXXXXX", dir ? dir : "/var/tmp");
	if (!mkdtemp(t->top))
		return -errno;
	(void)snprintf(t->share, sizeof(t->share), "%s/share", t->top);
	(void)snprintf(t->native, sizeof(t->native), "%s/native", t->top);
	if (chmod(t->top, 0755) < 0 || mkdir(t->share, 0777) < 0 || mkdir(t->native, 0777) < 0)
		return -errno;
	r = fake_guest_init(&t->g, 16 << 20);
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

static void differential(void)
{
	const char *e = getenv("FS_DIFF_OPS");
	uint64_t ops = e ? strtoull(e, NULL, 0) : 20000, seed = seed_of();
	static struct rig t;
	uint64_t ok = 0;
	unsigned never = 0;

	if (!may_run())
		return;
	printf("# FS_DIFF_SEED=%" PRIu64 ", %" PRIu64 " operations\n", seed, ops);
	(void)fflush(stdout);
	CHECK_EQ(setup(&t, seed), 0);
	/* So that differences are printed. */
	test_failed_ = true;
	while (t.n < ops) {
		if (!one(&t) || (t.n % 5000 == 0 && !trees_same(&t)) ||
			(t.n % 7000 == 0 && !renew(&t))) {
			printf("# after %" PRIu64 " operations\n", t.n);
			return;
		}
	}
	if (!trees_same(&t))
		return;
	test_failed_ = false;
	for (unsigned i = 0; i < FSOP_KINDS; i++) {
		if (!t.kind[i].ok && ++never)
			printf("# kind %u never worked\n", i);
		ok += t.kind[i].ok;
	}
	/* A kind that never works is not tested. */
	CHECK(never <= (ops < 20000 ? FSOP_KINDS : ops < 200000 ? 3 : 0));
	printf("# %" PRIu64 " of %" PRIu64 " operations worked, %" PRIu64 " requests\n", ok, ops,
		t.k.requests);
	fk_forget_all(&t.k);
	teardown(&t);
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

		CHECK_EQ(setup(&t, 4711 + k), 0);
		strcpy(op.path, "witness");
		CHECK(both(&t, &op, &r));
		CHECK_EQ(r.ret, 0);
		op = (struct fsop){ .kind = FSOP_WRITE, .len = 3000 };
		CHECK(both(&t, &op, &r));
		CHECK_EQ(r.ret, 3000);
		CHECK(trees_same(&t));
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
		if (both(&t, &op, &r) || trees_same(&t)) {
			printf("# %s\n", how[k]);
			test_failed_ = true;
		}
		teardown(&t);
	}
}

static const struct test_case cases[] = { TEST(lies_are_found), TEST(differential) };

TEST_MAIN(cases)
