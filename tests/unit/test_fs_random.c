// SPDX-License-Identifier: Apache-2.0
/*
 * virtio-fs: random operations through the server and the same ones by system call on a directory
 * beside it must give the same results, errors, attributes, contents and listings. The seed is
 * printed; FS_RANDOM_OPS and FS_RANDOM_SEED change the run.
 */
#include <time.h>

#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

#define NAMES 8

static uint64_t state;

static unsigned rnd(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 33) % n;
}

struct file {
	uint64_t node, fh;
	int fd;
};

struct both {
	struct fc c;
	int nat; /* the native directory */
	struct file open[12];
	unsigned nopen;
};

/* A random path of one to three components; the guest's way to its directory. */
struct place {
	char path[32], last[8];
	uint64_t dir;
	int err; /* of the walk */
};

/* Walks like a kernel without cache; what was looked up on the way is forgotten with the whole at
 * the end. */
static struct place place(struct both *b)
{
	unsigned depth = 1 + rnd(3);
	struct place p = { .dir = 1 };
	size_t at = 0;

	for (unsigned i = 0; i < depth; i++) {
		(void)snprintf(p.last, sizeof(p.last), "n%u", rnd(NAMES));
		at += (size_t)snprintf(
			p.path + at, sizeof(p.path) - at, "%s%s", i ? "/" : "", p.last);
		if (i + 1 < depth && !p.err) {
			struct fuse_entry_out e = { 0 };

			p.err = fc_lookup_n(&b->c, p.dir, p.last, strlen(p.last) + 1, &e);
			if (!p.err && !e.nodeid)
				p.err = -ENOENT;
			if (!p.err && S_ISLNK(e.attr.mode))
				p.err = -ELOOP;
			else if (!p.err && !S_ISDIR(e.attr.mode))
				p.err = -ENOTDIR;
			p.dir = e.nodeid;
		}
	}
	return p;
}

/* Symlinks here point nowhere, so a native walk through one ends in ENOENT. */
static bool same_err(int guest, int native)
{
	return guest == native || (guest == -ELOOP && native == -ENOENT);
}

static int nat_err(int r)
{
	return r < 0 ? -errno : 0;
}

static bool same_attr(const struct fuse_attr *a, const struct stat *st)
{
	return a->mode == st->st_mode && a->uid == st->st_uid && a->gid == st->st_gid &&
		(S_ISDIR(st->st_mode) || a->size == (uint64_t)st->st_size) &&
		a->nlink == st->st_nlink;
}

static bool op_make(struct both *b)
{
	static const mode_t modes[] = { 0644, 0755, 0600, 01777, 02755, 0, 04711 };
	mode_t m = modes[rnd(ARRAY_SIZE(modes))];
	struct place p = place(b);
	int r = p.err, n;
	uint64_t node;

	if (rnd(2)) {
		if (!r)
			r = fc_mkdir(&b->c, p.dir, p.last, m, &node);
		n = nat_err(mkdirat(b->nat, p.path, m));
	} else {
		if (!r)
			r = fc_symlink(&b->c, p.dir, p.last, "nowhere", &node);
		n = nat_err(symlinkat("nowhere", b->nat, p.path));
	}
	return same_err(r, n);
}

static bool op_open(struct both *b)
{
	static const int how[] = { O_RDWR, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND, O_RDWR | O_EXCL,
		O_RDONLY };
	int flags = how[rnd(ARRAY_SIZE(how))] | O_CREAT;
	struct place p = place(b);
	struct file f = { .fd = -1 };
	int r = p.err, n;

	if (b->nopen == ARRAY_SIZE(b->open))
		return true;
	if (!r)
		r = fc_create(&b->c, p.dir, p.last, (uint32_t)flags, 0640, &f.node, &f.fh);
	/* it is not new: the guest's kernel looks for it, and opens it */
	if (r == -ESTALE) {
		f.node = fc_lookup(&b->c, p.dir, p.last);
		r = f.node ? fc_open(&b->c, f.node, (uint32_t)flags & ~(uint32_t)O_CREAT, &f.fh)
			   : -ENOENT;
	}
	f.fd = openat(b->nat, p.path, flags | O_NOFOLLOW | O_CLOEXEC, 0640);
	n = nat_err(f.fd);
	if (!n && !r)
		b->open[b->nopen++] = f;
	/* O_CREAT on a directory is EISDIR in both; on a link the guest's kernel would have
	 * followed it. */
	return same_err(r, n);
}

static bool op_close(struct both *b)
{
	unsigned i = b->nopen ? rnd(b->nopen) : 0;

	if (!b->nopen)
		return true;
	(void)close(b->open[i].fd);
	if (fc_release(&b->c, b->open[i].node, b->open[i].fh, false))
		return false;
	b->open[i] = b->open[--b->nopen];
	return true;
}

static bool op_data(struct both *b)
{
	static uint8_t x[9000], y[9000];
	unsigned n = 1 + rnd(sizeof(x) - 1), off = rnd(20000);
	const struct file *f = &b->open[b->nopen ? rnd(b->nopen) : 0];
	int r, k;

	if (!b->nopen)
		return true;
	if (rnd(2)) {
		memset(x, (int)rnd(256), n);
		k = fcntl(f->fd, F_GETFL);
		r = fc_write(&b->c, f->node, f->fh, off, x, n, (uint32_t)k, 0);
		k = (int)pwrite(f->fd, x, n, off);
		k = k < 0 ? -errno : k;
		if (r != k)
			printf("# write: %d, not %d\n", r, k);
		return r == k;
	}
	r = fc_read(&b->c, f->node, f->fh, off, y, n);
	k = (int)pread(f->fd, x, n, off);
	if (r != (k < 0 ? -errno : k))
		printf("# read: %d, not %d\n", r, k);
	return k < 0 ? r == -errno : r == k && !memcmp(x, y, (size_t)k);
}

static bool op_fstat(struct both *b)
{
	const struct file *f = &b->open[b->nopen ? rnd(b->nopen) : 0];
	struct fuse_setattr_in in = { .valid = FATTR_SIZE, .size = rnd(30000) };
	struct fuse_attr a;
	struct stat st;
	int r;

	if (!b->nopen)
		return true;
	if (!rnd(3)) {
		in.valid |= FATTR_FH;
		in.fh = f->fh;
		/* as ftruncate(): the guest's kernel refuses a file that is not open for writing */
		if ((fcntl(f->fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
			return true;
		r = fc_setattr(&b->c, f->node, &in, NULL);
		return r == nat_err(ftruncate(f->fd, (off_t)in.size));
	}
	r = fc_getattr(&b->c, f->node, &a);
	if (r || fstat(f->fd, &st) || !same_attr(&a, &st))
		printf("# %d: mode %o/%o uid %u/%u size %llu/%llu links %u/%u\n", r, a.mode,
			st.st_mode, a.uid, st.st_uid, (unsigned long long)a.size,
			(unsigned long long)st.st_size, a.nlink, (unsigned)st.st_nlink);
	return !r && !fstat(f->fd, &st) && same_attr(&a, &st);
}

static bool op_remove(struct both *b)
{
	bool dir = rnd(3) == 0;
	struct place p = place(b);
	int r = p.err;

	if (!r)
		r = fc_name_op(&b->c, dir ? FUSE_RMDIR : FUSE_UNLINK, p.dir, p.last);
	return same_err(r, nat_err(unlinkat(b->nat, p.path, dir ? AT_REMOVEDIR : 0)));
}

static bool op_rename(struct both *b)
{
	static const unsigned how[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	unsigned flags = how[rnd(ARRAY_SIZE(how))];
	struct place from = place(b), to = place(b);
	int r = from.err ? from.err : to.err;

	if (!r)
		r = fc_rename(&b->c, from.dir, from.last, to.dir, to.last, flags);
	return same_err(r, nat_err(renameat2(b->nat, from.path, b->nat, to.path, flags)));
}

static bool op_link(struct both *b)
{
	struct place from = place(b), to = place(b);
	int r = from.err;
	uint64_t old = 0, n;

	if (!r) {
		old = fc_lookup(&b->c, from.dir, from.last);
		r = old ? 0 : -ENOENT;
	}
	if (!r)
		r = to.err;
	if (!r)
		r = fc_link(&b->c, old, to.dir, to.last, &n);
	n = (uint64_t)nat_err(linkat(b->nat, from.path, b->nat, to.path, 0));
	/* The order of the checks for "exists" and "is a directory" is the guest kernel's there. */
	return same_err(r, (int)n) || (r == -EPERM && (int)n == -EEXIST) ||
		(r == -EEXIST && (int)n == -EPERM);
}

static bool op_stat(struct both *b)
{
	struct place p = place(b);
	struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = rnd(010000) };
	struct fuse_entry_out e = { 0 };
	struct fuse_attr a;
	struct stat st;
	int r = p.err, n;

	if (!r)
		r = fc_lookup_n(&b->c, p.dir, p.last, strlen(p.last) + 1, &e);
	if (!r && !e.nodeid)
		r = -ENOENT;
	n = nat_err(fstatat(b->nat, p.path, &st, AT_SYMLINK_NOFOLLOW));
	if (!same_err(r, n))
		return false;
	if (r)
		return true;
	if (!same_attr(&e.attr, &st))
		return false;
	if (S_ISLNK(st.st_mode) || rnd(3))
		return true;
	if (rnd(2))
		in = (struct fuse_setattr_in){
			.valid = FATTR_UID | FATTR_GID, .uid = rnd(3), .gid = rnd(3)
		};
	r = fc_setattr(&b->c, e.nodeid, &in, &a);
	if (in.valid & FATTR_MODE)
		n = nat_err(fchmodat(b->nat, p.path, in.mode, 0));
	else
		n = nat_err(fchownat(b->nat, p.path, in.uid, in.gid, 0));
	if (r != n)
		return false;
	return r || (!fstatat(b->nat, p.path, &st, 0) && same_attr(&a, &st));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static bool op_list(struct both *b)
{
	char g[64][8] = { { 0 } }, n[64][8] = { { 0 } }, buf[8192];
	struct fuse_read_in in = { .size = 300 + rnd(4000) };
	unsigned ng = 0, nn = 0;
	struct place p = place(b);
	struct dirent *de;
	uint64_t dir;
	int fd;

	if (p.err)
		return true;
	dir = fc_lookup(&b->c, p.dir, p.last);
	if (!dir || fc_open(&b->c, dir, O_DIRECTORY, &in.fh))
		return openat(b->nat, p.path, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC) < 0;
	for (;;) {
		if (fc_call(&b->c, FUSE_READDIRPLUS, dir, &in, sizeof(in), NULL, 0, buf, in.size))
			return false;
		if (!b->c.out_len)
			break;
		for (size_t at = 0; at < b->c.out_len;) {
			struct fuse_dirent *d = (void *)(buf + at + sizeof(struct fuse_entry_out));

			memcpy(g[ng++ % 64], d->name, MIN(d->namelen, 7));
			in.offset = d->off;
			at += sizeof(struct fuse_entry_out) + FUSE_DIRENT_SIZE(d);
		}
	}
	if (fc_release(&b->c, dir, in.fh, true))
		return false;
	fd = openat(b->nat, p.path, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;

	DIR *d = fdopendir(fd);

	while ((de = readdir(d)))
		memcpy(n[nn++ % 64], de->d_name, MIN(strlen(de->d_name), 7));
	(void)closedir(d);
	qsort(g, ng, 8, by_name);
	qsort(n, nn, 8, by_name);
	return ng == nn && !memcmp(g, n, sizeof(g));
}

/* A file that lost its known name and has others is stale after a load, by design. */
static bool has_lost_link(struct both *b)
{
	for (unsigned i = 0; i < b->nopen; i++) {
		struct fs_node *n = fs_node_get(b->c.fs, b->open[i].node);
		struct stat st;

		if (n && !n->parent && !fstat(b->open[i].fd, &st) && st.st_nlink)
			return true;
	}
	return false;
}

/* Where the server believes its nodes to be, they are: nobody else changes this tree. */
static bool places_hold(struct both *b)
{
	bool ok = true;

	for (unsigned i = 2; i < b->c.fs->nodes.next && ok; i++) {
		struct fs_node *n = fs_node_at(b->c.fs, i);
		struct statx sx;

		if (!n || !n->parent)
			continue;
		ok = !fs_stat_at(
			     fs_dir_fd(b->c.fs, fs_node_at(b->c.fs, n->parent)), n->name, &sx) &&
			fs_node_is(n, &sx);
		if (!ok)
			printf("# node %u is not %s of %u\n", n->idx, n->name, n->parent);
		fs_req_end(b->c.fs);
	}
	return ok;
}

/* The server goes away and comes back, or forgets its fds. */
static bool op_upset(struct both *b)
{
	static const struct fs_limits lim = { 100000, 6, 64, 0 };
	struct save_out s = { 0 };
	struct save_in in;
	int r;

	fs_fd_drop_idle(b->c.fs);
	if (rnd(10) || has_lost_link(b))
		return true;
	fs_save(b->c.fs, &s);
	fs_server_free(b->c.fs);
	r = fc_server(&b->c, NULL, &lim);
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	if (!r)
		r = s.err ? s.err : fs_load(b->c.fs, &in);
	save_out_free(&s);
	if (r)
		printf("# load: %d\n", r);
	return !r;
}

static bool (*const all[])(struct both *) = { op_make, op_make, op_open, op_open, op_close, op_data,
	op_data, op_data, op_fstat, op_remove, op_rename, op_rename, op_link, op_stat, op_stat,
	op_list };

static void random_ops(void)
{
	static const struct fs_limits lim = { 100000, 6, 64, 0 };
	const char *e = getenv("FS_RANDOM_OPS"), *sd = getenv("FS_RANDOM_SEED");
	unsigned long ops = e ? strtoul(e, NULL, 0) : 20000;
	struct both b = { .nopen = 0 };

	if (geteuid()) {
		printf("# not root: skipped\n");
		return;
	}
	state = sd ? strtoull(sd, NULL, 0) : (uint64_t)time(NULL) * 0x9e3779b97f4a7c15ULL;
	printf("# seed %llu, %lu operations\n", (unsigned long long)state, ops);
	CHECK_EQ(fc_new(&b.c, NULL, &lim), 0);
	CHECK_EQ(mkdirat(b.c.dir, "../native", 0755), 0);
	b.nat = openat(b.c.dir, "../native", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned long i = 0; i < ops; i++) {
		unsigned k = rnd(200) ? rnd(ARRAY_SIZE(all)) : 1000;

		if (!(k == 1000 ? op_upset(&b) : all[k](&b)) ||
			((k == 1000 || !rnd(500)) && !places_hold(&b))) {
			printf("# operation %lu of kind %u differs\n", i, k);
			CHECK(false);
		}
	}
	while (b.nopen)
		CHECK(op_close(&b));
	(void)close(b.nat);
	CHECK(fc_free(&b.c));
}

static const struct test_case cases[] = { TEST(random_ops) };

TEST_MAIN(cases)
