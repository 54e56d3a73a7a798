// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: what a hostile guest sends. Names, ids, handles, lengths; read-only trees; special
 * files. */
#include <malloc.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"

static void hostile_names(void)
{
	static const struct {
		const char *name;
		size_t len;
		int err;
	} bad[] = {
		{ "..", 3, -EINVAL },
		{ ".", 2, -EINVAL },
		{ "", 1, -EINVAL },
		{ "a/b", 4, -EINVAL },
		{ "../canary", 10, -EINVAL },
		{ "/", 2, -EINVAL },
		{ "/etc", 5, -EINVAL },
		{ "a\0b", 4, -EINVAL },
		{ "abc", 3, -EINVAL /* no NUL */ },
		{ "", 0, -EINVAL },
		{ "a\0\0", 3, -EINVAL },
	};
	struct fuse_mkdir_in md = { .mode = 0755 };
	struct fuse_mknod_in mn = { .mode = S_IFREG | 0644 };
	struct fuse_create_in cr = { .flags = O_RDWR, .mode = S_IFREG | 0644 };
	struct fuse_link_in ln = { 0 };
	struct fuse_rename2_in rn = { .newdir = 1 };
	struct fuse_entry_out e;
	char out[256], longname[300], two[64];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "f", "x"), 0);
	ln.oldnodeid = fc_lookup(&c, 1, "f");
	CHECK(ln.oldnodeid);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *n = bad[i].name;
		size_t l = bad[i].len;

		CHECK_EQ(fc_lookup_n(&c, 1, n, l, &e), bad[i].err);
		CHECK_EQ(fc_call(&c, FUSE_MKDIR, 1, &md, sizeof(md), n, l, out, 256), bad[i].err);
		CHECK_EQ(fc_call(&c, FUSE_MKNOD, 1, &mn, sizeof(mn), n, l, out, 256), bad[i].err);
		CHECK_EQ(fc_call(&c, FUSE_CREATE, 1, &cr, sizeof(cr), n, l, out, 256), bad[i].err);
		CHECK_EQ(fc_call(&c, FUSE_LINK, 1, &ln, sizeof(ln), n, l, out, 256), bad[i].err);
		CHECK_EQ(fc_call(&c, FUSE_UNLINK, 1, NULL, 0, n, l, NULL, 0), bad[i].err);
		CHECK_EQ(fc_call(&c, FUSE_RMDIR, 1, NULL, 0, n, l, NULL, 0), bad[i].err);
		/* as first and as second name */
		memcpy(two, n, l);
		memcpy(two + l, "new", 4);
		CHECK_EQ(fc_call(&c, FUSE_RENAME2, 1, &rn, sizeof(rn), two, l + 4, NULL, 0) < 0, 1);
		memcpy(two, "f", 2);
		memcpy(two + 2, n, l);
		CHECK_EQ(fc_call(&c, FUSE_RENAME2, 1, &rn, sizeof(rn), two, l + 2, NULL, 0),
			bad[i].err);
		/* a name with a NUL is a name and a target there */
		if (strlen(n) + 1 >= l)
			CHECK_EQ(fc_call(&c, FUSE_SYMLINK, 1, NULL, 0, n, l, out, 256), -EINVAL);
	}
	memset(longname, 'n', sizeof(longname));
	longname[255] = 0;
	CHECK_EQ(fc_call(&c, FUSE_MKDIR, 1, &md, sizeof(md), longname, 256, out, 256), 0);
	longname[255] = 'n';
	longname[256] = 0;
	CHECK_EQ(fc_lookup_n(&c, 1, longname, 257, &e), -ENAMETOOLONG);
	CHECK(faccessat(c.dir, "f", F_OK, 0) == 0);
	CHECK(fc_free(&c));
}

static void forged_ids(void)
{
	struct fuse_attr a;
	struct fc c;
	uint64_t d, f, fh, other, fh2;
	char b[8];

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_getattr(&c, 0, &a), -ESTALE);
	CHECK_EQ(fc_getattr(&c, 2, &a), -ESTALE);
	CHECK_EQ(fc_getattr(&c, UINT64_MAX, &a), -ESTALE);
	CHECK_EQ(fc_getattr(&c, 1ULL << 32 | 1, &a), -ESTALE);
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &d), 0);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_create(&c, 1, "g", O_RDWR, 0644, &other, &fh2), 0);
	/* a handle belongs to its node and to its kind */
	CHECK_EQ(fc_read(&c, other, fh, 0, b, 1), -EBADF);
	CHECK_EQ(fc_read(&c, f, fh + (1ULL << 32), 0, b, 1), -EBADF);
	CHECK_EQ(fc_read(&c, f, 0, 0, b, 1), -EBADF);
	CHECK_EQ(fc_release(&c, f, fh2, false), -EBADF);
	CHECK_EQ(fc_release(&c, f, fh, true), -EBADF);
	CHECK_EQ(fc_release(&c, f, fh, false), 0);
	CHECK_EQ(fc_release(&c, f, fh, false), -EBADF);
	CHECK_EQ(fc_read(&c, f, fh, 0, b, 1), -EBADF);
	/* an id that was forgotten is not the one that takes its place */
	fc_forget(&c, f, 1);
	CHECK_EQ(fc_getattr(&c, f, &a), -ESTALE);
	CHECK(fc_lookup(&c, 1, "f") != f);
	/* more forgets than lookups */
	fc_forget(&c, d, UINT64_MAX);
	fc_forget(&c, d, UINT64_MAX);
	fc_forget(&c, 1, UINT64_MAX);
	CHECK_EQ(fc_getattr(&c, 1, &a), 0);
	/* directories are no files and the other way round */
	CHECK_EQ(fc_open(&c, other, O_DIRECTORY, &fh), -ENOTDIR);
	CHECK_EQ(fc_open(&c, 1, O_RDONLY, &fh), -EISDIR);
	CHECK_EQ(fc_lookup(&c, other, "x"), 0);
	CHECK(fc_free(&c));
}

/* A "regular" file of procfs or tracefs may have reads that wait: the host's fd never does, also
 * after O_APPEND came and went. */
static void never_waits(void)
{
	uint64_t f, fh;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "f", "x"), 0);
	f = fc_lookup(&c, 1, "f");
	CHECK(f);
	CHECK_EQ(fc_open(&c, f, O_RDWR, &fh), 0);
	CHECK(fcntl(fs_handle_at(c.fs, (uint32_t)fh)->fd, F_GETFL) & O_NONBLOCK);
	CHECK_EQ(fc_write(&c, f, fh, 0, "a", 1, O_WRONLY | O_APPEND, 0), 1);
	CHECK(fcntl(fs_handle_at(c.fs, (uint32_t)fh)->fd, F_GETFL) & O_APPEND);
	CHECK(fcntl(fs_handle_at(c.fs, (uint32_t)fh)->fd, F_GETFL) & O_NONBLOCK);
	CHECK_EQ(fc_write(&c, f, fh, 0, "b", 1, O_WRONLY, 0), 1);
	CHECK_EQ(fcntl(fs_handle_at(c.fs, (uint32_t)fh)->fd, F_GETFL) & (O_APPEND | O_NONBLOCK),
		O_NONBLOCK);
	CHECK(fc_free(&c));
}

/* Raw requests: short, long, lying. */
static void malformed(void)
{
	struct fuse_in_header h = {
		.len = sizeof(h), .opcode = FUSE_GETATTR, .unique = 7, .nodeid = 1
	};
	uint8_t in[256], out[256];
	struct iovec r = { in, 0 }, w = { out, 0 };
	struct iobuf rd, wr;
	uint32_t written;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	memset(in, 0, sizeof(in));
	for (uint32_t op = 0; op < 70; op++) {
		for (uint32_t have = 0; have < 160; have += 4) {
			for (uint32_t say = 0; say < 200; say += 36) {
				for (uint32_t room = 0; room < 40; room += 13) {
					h.opcode = op;
					h.len = say;
					memcpy(in, &h, sizeof(h));
					r.iov_len = have;
					w.iov_len = room;
					iobuf_init(&rd, &r, have ? 1 : 0);
					iobuf_init(&wr, &w, room ? 1 : 0);
					fs_serve(c.fs, &rd, &wr, &written);
					CHECK(written <= room);
					CHECK(room >= 16 || !written);
					if (op == FUSE_DESTROY)
						CHECK_EQ(fc_init(&c, ~0ULL), 0);
				}
			}
		}
	}
	/* more payload promised than sent */
	{
		uint64_t n, fh;
		struct fuse_write_in wi = { .size = 4096 };
		struct fuse_write_out wo;
		struct fuse_read_in ri = { .size = UINT32_MAX };

		CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &n, &fh), 0);
		wi.fh = ri.fh = fh;
		CHECK_EQ(fc_call(&c, FUSE_WRITE, n, &wi, sizeof(wi), "abc", 3, &wo, sizeof(wo)),
			-EINVAL);
		wi.size = UINT32_MAX;
		CHECK_EQ(fc_call(&c, FUSE_WRITE, n, &wi, sizeof(wi), "abc", 3, &wo, sizeof(wo)),
			-EINVAL);
		wi.size = 3;
		wi.offset = INT64_MAX;
		CHECK_EQ(fc_call(&c, FUSE_WRITE, n, &wi, sizeof(wi), "abc", 3, &wo, sizeof(wo)),
			-EFBIG);
		wi.offset = INT64_MAX - 4096;
		CHECK_EQ(fc_call(&c, FUSE_WRITE, n, &wi, sizeof(wi), "abc", 3, &wo, sizeof(wo)),
			-EFBIG);
		ri.offset = INT64_MAX - 1;
		CHECK_EQ(fc_call(&c, FUSE_READ, n, &ri, sizeof(ri), NULL, 0, out, 64), 0);
		CHECK_EQ(c.out_len, 0);
		ri.offset = UINT64_MAX;
		CHECK_EQ(fc_call(&c, FUSE_READ, n, &ri, sizeof(ri), NULL, 0, out, 64), -EINVAL);
		ri.offset = 0;
		CHECK_EQ(fc_call(&c, FUSE_READ, n, &ri, sizeof(ri), NULL, 0, out, 64), 0);
	}
	CHECK(fc_free(&c));
}

static void before_init(void)
{
	struct fuse_init_in in = { .major = 7, .minor = 26 };
	struct fuse_init_out o;
	struct fuse_attr a;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(c.flags & FS_I_KILLPRIV_V2, FS_I_KILLPRIV_V2);
	CHECK_EQ(c.flags & FS_I_WRITEBACK_CACHE, 0);
	CHECK_EQ(c.flags & (2 | 1 << 10), 2 | 1 << 10); /* POSIX locks, flock */
	CHECK_EQ(fc_call(&c, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL, 0), 0);
	CHECK_EQ(fc_getattr(&c, 1, &a), -EIO);
	CHECK_EQ(fc_call(&c, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &o, sizeof(o)), -EPROTO);
	in.minor = 27;
	/* an old guest sends 16 bytes */
	CHECK_EQ(fc_call(&c, FUSE_INIT, 0, &in, 16, NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.major, 7);
	in.major = 8;
	CHECK_EQ(fc_call(&c, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(c.out_len, 8);
	CHECK_EQ(fc_getattr(&c, 1, &a), 0);
	CHECK(fc_free(&c));
}

static void readonly_tree(void)
{
	static const char file[] = "f";
	struct fs_cfg cfg = { .readonly = true };
	char in[256] = { 0 }, out[512], two[8] = "f\0g";
	uint64_t f, fh, n;
	unsigned seen = 0;
	struct fc c;

	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	CHECK_EQ(fc_host_file(&c, file, "text"), 0);
	CHECK_EQ(mkdirat(c.dir, "d", 0755), 0);
	f = fc_lookup(&c, 1, file);
	CHECK_EQ(fc_open(&c, f, O_RDWR, &fh), -EROFS);
	CHECK_EQ(fc_open(&c, f, O_WRONLY, &fh), -EROFS);
	CHECK_EQ(fc_open(&c, f, O_RDONLY | O_TRUNC, &fh), -EROFS);
	CHECK_EQ(fc_open(&c, f, O_RDONLY | O_CREAT | O_APPEND, &fh), 0);
	CHECK_EQ(fc_create(&c, 1, "new", O_RDONLY, 0644, &n, &n), -EROFS);
	for (uint32_t op = 0; op < 64; op++) {
		if (!fs_op_mutates(op))
			continue;
		/* arguments of any operation fit into that many zeroes, names follow */
		size_t fixed = op == FUSE_UNLINK || op == FUSE_RMDIR || op == FUSE_SYMLINK ||
				op == FUSE_REMOVEXATTR
			? 0
			: 128;
		CHECK_EQ(fc_call(&c, op, op == FUSE_WRITE ? f : 1, in, fixed, two, 4, out,
				 sizeof(out)),
			-EROFS);
		seen++;
	}
	CHECK_EQ(seen, 16);
	CHECK_EQ(fc_read(&c, f, fh, 0, out, 64), 4);
	CHECK(faccessat(c.dir, "f", F_OK, 0) == 0 && faccessat(c.dir, "d", F_OK, 0) == 0);
	CHECK(faccessat(c.dir, "new", F_OK, 0) < 0);
	CHECK(fc_free(&c));
}

static void special_files(void)
{
	struct fuse_entry_out e;
	struct fuse_mknod_in mn = { .mode = S_IFDIR | 0755 };
	uint64_t n, fh;
	char buf[64];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	/* A fifo without a writer would block for ever if it were opened. */
	CHECK_EQ(mkfifoat(c.dir, "fifo", 0666), 0);
	n = fc_lookup(&c, 1, "fifo");
	CHECK(n);
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), -ENXIO);
	CHECK_EQ(fc_create(&c, 1, "fifo", O_RDONLY, 0644, &n, &fh), -ESTALE);
	/* What exists is opened by no CREATE, for which the guest's kernel asks nobody's leave. */
	CHECK_EQ(fc_host_file(&c, "secret", "text"), 0);
	CHECK_EQ(fc_create(&c, 1, "secret", O_RDWR | O_TRUNC, 0644, &n, &fh), -ESTALE);
	CHECK_EQ(fc_create(&c, 1, "secret", O_RDWR | O_EXCL, 0644, &n, &fh), -EEXIST);
	CHECK_EQ(c.fs->hands.used, 0);
	n = fc_lookup(&c, 1, "secret");
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), 0);
	CHECK_EQ(fc_read(&c, n, fh, 0, buf, sizeof(buf)), 4);
	CHECK_EQ(fc_release(&c, n, fh, false), 0);
	/* A link that leads outside is text. */
	CHECK_EQ(symlinkat("../canary", c.dir, "out"), 0);
	n = fc_lookup(&c, 1, "out");
	CHECK_EQ(fc_open(&c, n, O_RDWR, &fh), -ELOOP);
	CHECK_EQ(fc_create(&c, 1, "out", O_RDWR | O_TRUNC, 0644, &n, &fh), -ESTALE);
	n = fc_lookup(&c, 1, "out");
	CHECK_EQ(fc_call(&c, FUSE_READLINK, n, NULL, 0, NULL, 0, buf, sizeof(buf)), 0);
	CHECK_EQ(c.out_len, 9);
	CHECK_EQ(fc_lookup(&c, n, "x"), 0);
	CHECK_EQ(symlinkat("..", c.dir, "up"), 0);
	CHECK_EQ(fc_lookup_n(&c, fc_lookup(&c, 1, "up"), "canary", 7, &e), -ENOTDIR);
	/* chmod, chown, truncate of a link do not reach its target */
	{
		struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 0777 };

		CHECK(fc_setattr(&c, n, &sa, NULL) < 0);
		sa = (struct fuse_setattr_in){ .valid = FATTR_SIZE };
		CHECK_EQ(fc_setattr(&c, n, &sa, NULL), -EINVAL);
		sa = (struct fuse_setattr_in){ .valid = FATTR_MTIME, .mtime = 1000 };
		CHECK_EQ(fc_setattr(&c, n, &sa, NULL), 0);
	}
	CHECK_EQ(fc_call(&c, FUSE_MKNOD, 1, &mn, sizeof(mn), "m", 2, &e, sizeof(e)), -EINVAL);
	mn.mode = S_IFLNK | 0777;
	CHECK_EQ(fc_call(&c, FUSE_MKNOD, 1, &mn, sizeof(mn), "m", 2, &e, sizeof(e)), -EINVAL);
	mn.mode = S_IFSOCK | 0600;
	CHECK_EQ(fc_call(&c, FUSE_MKNOD, 1, &mn, sizeof(mn), "m", 2, &e, sizeof(e)), 0);
	CHECK_EQ(fc_open(&c, e.nodeid, O_RDWR, &fh), -ENXIO);
	CHECK(fc_free(&c));
}

/* The host (or another guest) swaps a directory for a link while the guest's nodes lie below it. */
static void swapped_for_link(void)
{
	struct fs_limits lim = { 1000, 2, 100, 0 };
	struct fuse_attr a;
	uint64_t d, f, fh;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &lim), 0);
	CHECK_EQ(mkdirat(c.dir, "d", 0755), 0);
	CHECK_EQ(fc_host_file(&c, "d/canary", "inside"), 0);
	d = fc_lookup(&c, 1, "d");
	f = fc_lookup(&c, d, "canary");
	CHECK(d && f);
	fs_fd_drop_idle(c.fs);
	CHECK_EQ(renameat(c.dir, "d", c.dir, "old"), 0);
	CHECK_EQ(symlinkat("..", c.dir, "d"), 0);
	CHECK_EQ(fc_open(&c, f, O_RDWR, &fh), -ESTALE);
	CHECK_EQ(fc_getattr(&c, f, &a), -ESTALE);
	CHECK_EQ(fc_getattr(&c, d, &a), -ESTALE);
	/* seen again under its new name it works again, and what is below it too */
	CHECK_EQ(fc_lookup(&c, 1, "old"), d);
	CHECK_EQ(fc_open(&c, f, O_RDWR, &fh), 0);
	CHECK(fc_free(&c));
}

static void caps(void)
{
	struct fs_limits lim = { 20, 4, 5, 0 };
	uint64_t n[64], fh[64], x;
	unsigned made = 0;
	char name[16];
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, &lim), 0);
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &x), 0);
	for (unsigned i = 0; i < 6; i++) {
		int r = fc_open(&c, 1, O_DIRECTORY, &fh[i]);

		CHECK_EQ(r, i < 5 ? 0 : -ENFILE);
	}
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &x, &x), -ENFILE);
	CHECK(faccessat(c.dir, "f", F_OK, 0) < 0);
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		made += fc_mkdir(&c, 1, name, 0755, &n[i]) == 0;
	}
	CHECK_EQ(made, 18);
	CHECK(faccessat(c.dir, "n18", F_OK, 0) < 0);
	CHECK(c.fs->lru_n <= 4);
	for (unsigned i = 0; i < 5; i++)
		CHECK_EQ(fc_release(&c, 1, fh[i], true), 0);
	CHECK(fc_free(&c));
}

/* Nodes are bounded by the memory that they take, with short names or long ones, new or renamed. */
static void node_memory(void)
{
	struct fs_cfg cfg = { .node_bytes = 4 << 20 };
	char longname[256], name[16];
	uint64_t n, first = 0, used, base;
	unsigned made = 0, renamed = 0;
	struct mallinfo2 was, now;
	struct fc c;
	int r;

	CHECK_EQ(fc_new(&c, &cfg, NULL), 0);
	base = c.fs->node_bytes;
	was = mallinfo2();
	for (;; made++) {
		(void)snprintf(name, sizeof(name), "%u", made);
		CHECK_EQ(fc_host_file(&c, name, ""), 0);
		n = fc_lookup(&c, 1, name);
		if (!n)
			break;
		first = first ? first : n;
	}
	now = mallinfo2();
	used = c.fs->node_bytes - base;
	CHECK(made >= (4 << 20) / 160 - 3 && made <= (4 << 20) / 160);
	CHECK(now.uordblks + now.hblkhd - was.uordblks - was.hblkhd <= used + (128 << 10));
	CHECK_EQ(fc_mkdir(&c, 1, "d", 0755, &n), -ENOMEM);
	CHECK(faccessat(c.dir, "d", F_OK, 0) < 0);
	/* A longer name is a place that is forgotten, not one too many. */
	memset(longname, 'x', 255);
	longname[255] = 0;
	for (unsigned i = 0; i < 50; i++) {
		(void)snprintf(longname + 252, 4, "%03u", i);
		(void)snprintf(name, sizeof(name), "%u", i);
		r = fc_rename(&c, 1, name, 1, longname, 0);
		CHECK_EQ(r, 0);
		renamed += faccessat(c.dir, longname, F_OK, 0) == 0;
	}
	CHECK_EQ(renamed, 50);
	CHECK(c.fs->node_bytes <= 4 << 20);
	/* What is forgotten makes room, for names; the nodes themselves stay ours. */
	for (unsigned i = 0; i < made; i++)
		fc_forget(&c, first + i, 1);
	CHECK_EQ(c.fs->nodes.used, 1);
	CHECK_EQ(c.fs->node_bytes, base + made * (uint64_t)FS_NODE_FIXED);
	CHECK(fc_lookup(&c, 1, "60"));
	CHECK_EQ(fc_call(&c, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL, 0), 0);
	CHECK(c.fs->node_bytes < 1 << 20);
	CHECK(fc_free(&c));
}

static void *idle_thread(void *arg)
{
	int *pipe = arg;
	pid_t tid = (pid_t)syscall(SYS_gettid);
	char b;

	(void)!write(pipe[1], &tid, sizeof(tid));
	(void)!read(pipe[2], &b, 1);
	return NULL;
}

/* A server on the host's own /proc: the process that serves is not to be found in it, by none of
 * its numbers, nor is anybody's memory to be had; the rest reads as it does on the host. */
static void procfs(void)
{
	struct fuse_open_in in = { .flags = O_RDONLY };
	struct fuse_open_out o;
	int told[2], hold[2], both[3];
	uint64_t child, n, fh;
	char name[32], buf[256];
	pthread_t thread;
	pid_t pid, tid;
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	fs_server_free(c.fs);
	strcpy(c.path, "/proc");
	CHECK_EQ(fc_server(&c, NULL, NULL), 0);
	CHECK_EQ(fc_init(&c, ~0ULL), 0);
	CHECK(!pipe(told) && !pipe(hold));
	both[1] = told[1];
	both[2] = hold[0];
	CHECK_EQ(pthread_create(&thread, NULL, idle_thread, both), 0);
	CHECK_EQ(read(told[0], &tid, sizeof(tid)), sizeof(tid));
	pid = fork();
	if (!pid) {
		(void)close(hold[1]);
		_exit((int)read(hold[0], buf, 1));
	}
	CHECK(pid > 0);

	/* itself, and a thread of it, which no listing shows */
	(void)snprintf(name, sizeof(name), "%d", (int)getpid());
	CHECK_EQ(fc_lookup(&c, 1, name), 0);
	(void)snprintf(name, sizeof(name), "%d", (int)tid);
	CHECK_EQ(fc_lookup(&c, 1, name), 0);
	/* another process of the same user: what is known of it, not what is in it */
	(void)snprintf(name, sizeof(name), "%d", (int)pid);
	child = fc_lookup(&c, 1, name);
	CHECK(child);
	n = fc_lookup(&c, child, "mem");
	CHECK(n);
	CHECK_EQ(fc_open(&c, n, O_RDONLY, &fh), -EACCES);
	CHECK_EQ(fc_open(&c, n, O_RDWR, &fh), -EACCES);
	CHECK_EQ(c.fs->hands.used, 0);
	n = fc_lookup(&c, fc_lookup(&c, fc_lookup(&c, child, "task"), name), "mem");
	CHECK(n);
	CHECK_EQ(fc_open(&c, n, O_WRONLY, &fh), -EACCES);
	/* The size is 0 whatever is in it: the guest's page cache would read nothing. */
	n = fc_lookup(&c, child, "comm");
	CHECK(n);
	CHECK_EQ(fc_call(&c, FUSE_OPEN, n, &in, sizeof(in), NULL, 0, &o, sizeof(o)), 0);
	CHECK_EQ(o.open_flags, FS_FOPEN_DIRECT_IO);
	fh = o.fh;
	CHECK(fc_read(&c, n, fh, 0, buf, sizeof(buf)) > 1);
	CHECK_EQ(fc_release(&c, n, fh, false), 0);

	(void)close(hold[1]);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	(void)close(told[0]);
	(void)close(told[1]);
	(void)close(hold[0]);
	CHECK(fc_free(&c));
}

/* Whose content is made when it is read is not for the guest's page cache. */
static void made_when_read(void)
{
	static const struct {
		const char *path;
		bool direct;
	} f[] = {
		{ "/proc/version", true },
		{ "/sys/kernel/uevent_seqnum", true },
		{ "/etc/passwd", false },
	};
	struct fc c;

	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(f); i++) {
		/* as if it had no device: what is looked at is the file system */
		struct fs_node n = { .type = S_IFREG, .dev = 7 };
		int fd = open(f[i].path, O_RDONLY | O_CLOEXEC);
		bool direct;

		CHECK(fd >= 0);
		CHECK_EQ(fs_pseudo_opened(c.fs, &n, fd, &direct), 0);
		CHECK_EQ(direct, f[i].direct);
		(void)close(fd);
	}
	CHECK(fc_free(&c));
}

static const struct test_case cases[] = {
	TEST(hostile_names),
	TEST(forged_ids),
	TEST(malformed),
	TEST(never_waits),
	TEST(before_init),
	TEST(readonly_tree),
	TEST(special_files),
	TEST(swapped_for_link),
	TEST(caps),
	TEST(node_memory),
	TEST(procfs),
	TEST(made_when_read),
};

TEST_MAIN(cases)
