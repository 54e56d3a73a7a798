// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: the whole FUSE server on a real directory, with a canary outside of it.
 *
 * How it works: the input is a program. Each step takes an operation, a node, a handle, names,
 * flags and numbers from the input, mostly ones that mean something (ids that the server gave out,
 * names that exist, of the host's directory or virtual), sometimes raw bytes; locks may wait and be
 * interrupted; between requests the "host" renames, removes and replaces things, idle fds are
 * dropped, the server is saved and loaded. After each input the canary must be as it was and hold
 * the only name of its inode, no node but the root may be left once everything is forgotten, and no
 * descriptor.
 */
#include <dirent.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "core/mem.h"
#include "dev/fs_dax.h"
#include "tests/unit/fs_client.h"

#define IDS    32
#define WAITS  16
#define WINDOW 4 /* ranges */

struct prog {
	const uint8_t *p;
	size_t n;
	struct fs_cfg cfg;
	uint64_t flags; /* that the guest offers */
	struct fc c;
	uint64_t node[IDS], fh[IDS];
	unsigned nnode, nfh;
};

/* Lock requests that wait, each with the room for its answer. */
static struct {
	uint8_t out[16];
	bool waits;
} later[WAITS];

static const char *const names[] = { "a", "b", "c", "d", "e", "f", "link", "..", ".", "", "a/b",
	"../canary", "/etc/passwd", "virt", "canary", "up", "vdir", "shot" };

static const struct fs_virt_cfg virt[] = {
	{ .path = "virt", .data = "data", .len = 4, .mode = 0755 },
	{ .path = "vdir", .dir = true, .mode = 0755 },
	{ .path = "vdir/a", .data = "a", .len = 1, .mode = 0644 },
	{ .path = "vdir/d", .dir = true, .mode = 0700 },
	{ .path = "vdir/d/b", .mode = 0644 },
	{ .path = "shot", .data = "once", .len = 4, .mode = 0755, .one_shot = true },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t u8(struct prog *g)
{
	if (!g->n)
		return 0;
	g->n--;
	return *g->p++;
}

static uint64_t num(struct prog *g)
{
	uint64_t v = u8(g);

	switch (v >> 6) {
	case 0:
		return v;
	case 1:
		return (v & 63) << 10 | u8(g);
	case 2:
		return 1ULL << (v & 63);
	default:
		return (1ULL << (v & 63)) - 1 + u8(g) % 3;
	}
}

static uint64_t pick(struct prog *g, const uint64_t *ids, unsigned n)
{
	uint8_t v = u8(g);

	if (v >= 250)
		return num(g);
	return n ? ids[v % n] : 1;
}

static void keep(uint64_t *ids, unsigned *n, uint64_t id)
{
	if (!id)
		return;
	if (*n < IDS)
		ids[(*n)++] = id;
	else
		ids[id % IDS] = id;
}

/* A name, NUL-terminated most of the time. */
static size_t put_name(struct prog *g, uint8_t *out)
{
	uint8_t v = u8(g);
	const char *s = names[v % ARRAY_SIZE(names)];
	size_t n = strlen(s);

	memcpy(out, s, n);
	if (v < 240)
		out[n++] = 0;
	return n;
}

static void put_window_args(struct prog *g, uint32_t op, uint8_t *in)
{
	struct fuse_setupmapping_in s;
	uint32_t count;

	if (op == FUSE_REMOVEMAPPING) {
		count = u8(g) < 240 ? 1 + (uint32_t)u8(g) % 2 : (uint32_t)num(g);
		memcpy(in, &count, sizeof(count));
		return;
	}
	s = (struct fuse_setupmapping_in){ .fh = u8(g) < 200 ? UINT64_MAX : pick(g, g->fh, g->nfh),
		.foffset = u8(g) < 200 ? u8(g) % 3 * (uint64_t)FS_DAX_RANGE : num(g),
		.len = u8(g) < 240 ? FS_DAX_RANGE : num(g),
		.flags = u8(g) & (u8(g) < 240 ? 3U : 255U),
		.moffset = u8(g) < 240 ? u8(g) % WINDOW * (uint64_t)FS_DAX_RANGE : num(g) };
	memcpy(in, &s, sizeof(s));
}

/* Fills the fixed arguments: numbers everywhere, then handles, modes and flags where they belong.
 */
static size_t put_args(struct prog *g, uint32_t op, uint8_t *in)
{
	static const uint8_t len[FS_OP_MAX] = { [FUSE_FORGET] = 8,
		[FUSE_GETATTR] = 16,
		[FUSE_SETATTR] = 88,
		[FUSE_MKNOD] = 16,
		[FUSE_MKDIR] = 8,
		[FUSE_RENAME] = 8,
		[FUSE_LINK] = 8,
		[FUSE_OPEN] = 8,
		[FUSE_READ] = 40,
		[FUSE_WRITE] = 40,
		[FUSE_RELEASE] = 24,
		[FUSE_FSYNC] = 16,
		[FUSE_SETXATTR] = 16,
		[FUSE_IOCTL] = 32,
		[FUSE_GETXATTR] = 8,
		[FUSE_LISTXATTR] = 8,
		[FUSE_FLUSH] = 24,
		[FUSE_INIT] = 64,
		[FUSE_OPENDIR] = 8,
		[FUSE_READDIR] = 40,
		[FUSE_RELEASEDIR] = 24,
		[FUSE_FSYNCDIR] = 16,
		[FUSE_GETLK] = 48,
		[FUSE_SETLK] = 48,
		[FUSE_SETLKW] = 48,
		[FUSE_INTERRUPT] = 8,
		[FUSE_ACCESS] = 8,
		[FUSE_CREATE] = 16,
		[FUSE_BATCH_FORGET] = 8,
		[FUSE_FALLOCATE] = 32,
		[FUSE_READDIRPLUS] = 40,
		[FUSE_RENAME2] = 16,
		[FUSE_LSEEK] = 24,
		[FUSE_COPY_FILE_RANGE] = 56,
		[FUSE_SETUPMAPPING] = 40,
		[FUSE_REMOVEMAPPING] = 4,
		[FS_OP_SYNCFS] = 8,
		[FS_OP_TMPFILE] = 16,
		[FS_OP_STATX] = 24 };
	size_t n = len[op];

	memset(in, 0, 96);
	switch (op) {
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
	case FUSE_WRITE: {
		struct fuse_write_in w = { .fh = pick(g, g->fh, g->nfh),
			.offset = num(g),
			.size = (uint32_t)num(g),
			.write_flags = u8(g) & 7,
			.flags = u8(g) & 1 ? O_APPEND : 0 };
		/* keep the tree small */
		if (op == FUSE_WRITE && u8(g) < 250)
			w.offset %= 65536;
		memcpy(in, &w, sizeof(w));
		break;
	}
	case FUSE_SETUPMAPPING:
	case FUSE_REMOVEMAPPING:
		put_window_args(g, op, in);
		break;
	case FUSE_SETATTR: {
		struct fuse_setattr_in s = { .valid = (uint32_t)num(g),
			.fh = pick(g, g->fh, g->nfh),
			.size = num(g) % 65536,
			.mode = (uint32_t)num(g),
			.uid = u8(g),
			.gid = u8(g),
			.mtime = num(g),
			.mtimensec = (uint32_t)num(g) };

		memcpy(in, &s, sizeof(s));
		break;
	}
	case FUSE_COPY_FILE_RANGE: {
		struct fuse_copy_file_range_in s = { .fh_in = pick(g, g->fh, g->nfh),
			.off_in = num(g),
			.nodeid_out = pick(g, g->node, g->nnode),
			.fh_out = pick(g, g->fh, g->nfh),
			.off_out = num(g) % 65536,
			.len = num(g) };

		memcpy(in, &s, sizeof(s));
		break;
	}
	case FUSE_SETXATTR: {
		uint32_t v[4] = { u8(g) % 64, u8(g) % 4, u8(g) & 1, 0 };

		memcpy(in, v, n);
		break;
	}
	case FUSE_IOCTL: {
		static const unsigned long cmd[] = { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS,
			FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, 0x5401 };
		struct fuse_ioctl_in s = { .fh = pick(g, g->fh, g->nfh),
			.cmd = (uint32_t)cmd[u8(g) % ARRAY_SIZE(cmd)],
			.out_size = u8(g) };

		memcpy(in, &s, sizeof(s));
		break;
	}
	case FUSE_FALLOCATE: {
		struct fuse_fallocate_in s = { .fh = pick(g, g->fh, g->nfh),
			.offset = num(g) % 65536,
			.length = num(g) % 65536,
			.mode = u8(g) };

		memcpy(in, &s, sizeof(s));
		break;
	}
	case FUSE_CREATE:
	case FS_OP_TMPFILE:
	case FUSE_OPEN:
	case FUSE_OPENDIR:
	case FUSE_MKNOD:
	case FUSE_MKDIR: {
		uint32_t v[4] = { (uint32_t)num(g), (uint32_t)num(g), 0, u8(g) & 1 };

		/* Directories that the fuzzer itself cannot read are a nuisance; devices are not to
		 * be made. */
		if (op == FUSE_MKNOD)
			v[0] = (v[0] & 07777) | (v[1] & 1 ? S_IFIFO : S_IFREG);
		memcpy(in, v, n);
		break;
	}
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_LINK: {
		uint64_t v[2] = { pick(g, g->node, g->nnode), op == FUSE_RENAME2 ? u8(g) & 7 : 0 };

		memcpy(in, v, n);
		break;
	}
	default: {
		uint64_t v[12] = { op == FUSE_FORGET ? num(g) : pick(g, g->fh, g->nfh), num(g),
			num(g) };

		memcpy(in, v, n);
	}
	}
	return n;
}

/* Once the guest is answered, what a file has the window shows, unless it could not be mapped. */
static void check_shown(struct prog *g, uint64_t id)
{
	struct fs_node *n = fs_node_get(g->c.fs, id);
	struct fs_handle *h = n ? fs_handle_at(g->c.fs, n->handles) : NULL;
	struct stat st;

	while (h && h->fd < 0)
		h = fs_handle_at(g->c.fs, h->next);
	/* who may not open it again has what there was */
	if (!h || geteuid() || fstat(h->fd, &st) < 0)
		return;
	for (uint32_t i = n->maps; i; i = fs_map_at(g->c.fs, i)->next) {
		const struct fs_map *m = fs_map_at(g->c.fs, i);
		uint64_t size = (uint64_t)st.st_size;
		uint64_t have = size > m->off ? (size - m->off + 4095) / 4096 : 0;

		if (m->shown < MIN(have, (uint64_t)FS_DAX_PAGES))
			abort();
	}
}

static void step_request(struct prog *g)
{
	static uint8_t out[70000], more[70000];
	uint32_t op = u8(g) % (FS_OP_MAX + 2);
	uint64_t node = pick(g, g->node, g->nnode);
	struct fuse_entry_out e;
	struct fuse_open_out o;
	uint8_t in[96];
	size_t n_in = 0, n_more = 0, room = num(g) % sizeof(out);
	int r;

	if (op < FS_OP_MAX)
		n_in = put_args(g, op, in);
	switch (op) {
	case FUSE_WRITE:
		n_more = num(g) % 4096;
		memset(more, u8(g), n_more);
		break;
	case FUSE_BATCH_FORGET:
		in[0] = u8(g);
		for (unsigned i = 0; i < in[0] % 8U; i++) {
			struct fuse_forget_one one = { pick(g, g->node, g->nnode), u8(g) % 3 };

			memcpy(more + n_more, &one, sizeof(one));
			n_more += sizeof(one);
		}
		/* mostly as many as there are */
		in[0] = in[0] < 200 ? in[0] % 8 : in[0];
		break;
	case FUSE_REMOVEMAPPING:
		for (unsigned i = 0; i < 2; i++) {
			struct fuse_removemapping_one one = {
				u8(g) < 240 ? u8(g) % WINDOW * (uint64_t)FS_DAX_RANGE : num(g),
				FS_DAX_RANGE
			};

			memcpy(more + n_more, &one, sizeof(one));
			n_more += sizeof(one);
		}
		break;
	case FUSE_SETXATTR:
	case FUSE_GETXATTR:
	case FUSE_REMOVEXATTR: {
		static const char *const x[] = { "user.x", "system.posix_acl_access",
			"system.posix_acl_default", "trusted.x", "security.capability" };
		const char *s = x[u8(g) % ARRAY_SIZE(x)];

		n_more = strlen(s) + 1;
		memcpy(more, s, n_more);
		if (op == FUSE_SETXATTR) {
			uint32_t len = in[0];

			/* what an ACL begins with */
			memset(more + n_more, u8(g), len);
			more[n_more] = 2;
			memset(more + n_more + 1, 0, 3);
			n_more += len;
		}
		break;
	}
	case FUSE_IOCTL:
		n_more = u8(g) % 40;
		memset(more, 0, n_more);
		break;
	case FUSE_LOOKUP:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_LINK:
	case FUSE_CREATE:
	case FS_OP_TMPFILE:
		n_more = put_name(g, more);
		break;
	case FUSE_SYMLINK:
	case FUSE_RENAME:
	case FUSE_RENAME2:
		n_more = put_name(g, more);
		n_more += put_name(g, more + n_more);
		break;
	default:
		break;
	}
	if (u8(g) >= 250)
		n_in = u8(g) % sizeof(in);
	if (room < 512)
		room = 512;
	memset(out, 0, 512);
	r = fc_call(&g->c, op, node, in, n_in, more, n_more, out, room);
	if (r == FC_BROKEN && op != FUSE_NOTIFY_REPLY)
		abort();
	if (!r && op != FUSE_FORGET && op != FUSE_BATCH_FORGET && op != FUSE_INTERRUPT)
		check_shown(g, node);
	if (op == FUSE_DESTROY || (op == FUSE_INIT && !r)) {
		memset(later, 0, sizeof(later));
		g->nfh = 0;
		g->nnode = 0;
		(void)fc_init(&g->c, g->flags);
		keep(g->node, &g->nnode, 1);
	}
	if (r || g->c.out_len < sizeof(o))
		return;
	memcpy(&o, out, sizeof(o));
	memcpy(&e, out, sizeof(e));
	if (op == FUSE_OPEN || op == FUSE_OPENDIR)
		keep(g->fh, &g->nfh, o.fh);
	if (op == FUSE_LOOKUP || op == FUSE_MKDIR || op == FUSE_MKNOD || op == FUSE_SYMLINK ||
		op == FUSE_LINK || op == FUSE_CREATE || op == FS_OP_TMPFILE)
		keep(g->node, &g->nnode, e.nodeid);
	if (op == FUSE_CREATE || op == FS_OP_TMPFILE) {
		memcpy(&o, out + sizeof(e), sizeof(o));
		keep(g->fh, &g->nfh, o.fh);
	}
}

static void answered(void *arg, uint32_t token, uint32_t written)
{
	(void)arg;
	if (token >= WAITS || !later[token].waits || written != sizeof(later[token].out))
		abort();
	later[token].waits = false;
}

/* Locks, waiting ones among them, and what interrupts those. */
static void step_lock(struct prog *g)
{
	uint8_t v = u8(g), owner = u8(g);
	struct {
		struct fuse_in_header h;
		struct fuse_lk_in in;
	} rq = { { .len = sizeof(rq), .nodeid = pick(g, g->node, g->nnode) },
		{ .fh = pick(g, g->fh, g->nfh),
			.owner = owner % 4,
			.lk = { num(g), num(g), v >> 2 & 3, v },
			.lk_flags = v >> 7 } };
	struct fuse_interrupt_in intr = { owner % 16 };
	struct iovec r = { &rq, sizeof(rq) }, w;
	uint32_t token = 0, written;
	struct iobuf rd, wr;
	struct fs_req q;

	if (!(v & 3)) {
		(void)fc_call(&g->c, FUSE_INTERRUPT, 0, &intr, sizeof(intr), NULL, 0, NULL, 0);
		return;
	}
	if (v & 0x10)
		rq.in.lk.end = INT64_MAX;
	while (token < WAITS && later[token].waits)
		token++;
	if (token == WAITS)
		return;
	g->c.fs->answer = answered;
	rq.h.opcode = FUSE_GETLK + (v & 3) - 1;
	rq.h.unique = token;
	w = (struct iovec){ later[token].out, sizeof(later[token].out) };
	iobuf_init(&rd, &r, 1);
	iobuf_init(&wr, &w, 1);
	later[token].waits = !fs_serve_later(g->c.fs, &q, &rd, &wr, token, &written);
}

/*
 * The guest's side of the window: every range is looked at as a vCPU would, by a call that fails
 * where a load would be a signal, with files that shrink and grow under it. What is mapped must be
 * below the export.
 */
static void step_window(struct prog *g)
{
	const uint8_t *w = fc_window->r[0].hva + u8(g) % WINDOW * (size_t)FS_DAX_RANGE;
	size_t at = num(g) % FS_DAX_RANGE;
	uint8_t what = u8(g), byte[7];
	int fd;

	/* the guest stores what it has mapped to be written to; from nowhere it is no signal */
	if (what >= 200) {
		const struct fs_map *m =
			&g->c.fs->dax->map[1 + (w - fc_window->r[0].hva) / FS_DAX_RANGE];

		fd = memfd_create("zeroes", MFD_CLOEXEC);
		if (m->node && m->write && !ftruncate(fd, 7))
			(void)!read(fd, (void *)(uintptr_t)(w + at / 2), 7);
		(void)close(fd);
	}
	if (what < 60) {
		fd = openat(
			g->c.dir, names[what % 6], O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd >= 0) {
			(void)!ftruncate(fd, (off_t)(num(g) % (3ULL * FS_DAX_RANGE)));
			(void)close(fd);
		}
	} else if (what < 120) {
		(void)fs_dax_mend(g->c.fs);
	} else if (what < 160) {
		fs_dax_tick(g->c.fs);
	}
	fd = memfd_create("probe", MFD_CLOEXEC);
	at = MIN(at, (size_t)FS_DAX_RANGE - sizeof(byte));
	if (fd >= 0 && write(fd, w + at, sizeof(byte)) == (ssize_t)sizeof(byte) &&
		pread(fd, byte, 6, 0) == 6 && !memcmp(byte, "canary", 6))
		abort();
	(void)close(fd);
}

/* One of the host's own paths: its directory, beneath the export whatever links lie there. */
struct host_path {
	int dir;
	const char *name;
};

static struct host_path host_path(struct prog *g)
{
	static const char *const s[][2] = { { ".", "a" }, { ".", "b" }, { ".", "c" }, { ".", "d" },
		{ "a", "b" }, { "b", "a" }, { "a", "c" }, { ".", "link" }, { "a/b", "c" } };
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	unsigned i = u8(g) % ARRAY_SIZE(s);

	return (struct host_path){ (int)syscall(SYS_openat2, g->c.dir, s[i][0], &how, sizeof(how)),
		s[i][1] };
}

static void host_does(struct prog *g, const struct host_path *a, const struct host_path *b)
{
	int fd;

	switch (u8(g) % 6) {
	case 0:
		(void)renameat2(a->dir, a->name, b->dir, b->name, 0);
		break;
	case 1:
		(void)renameat2(a->dir, a->name, b->dir, b->name, RENAME_EXCHANGE);
		break;
	case 2:
		(void)unlinkat(a->dir, a->name, u8(g) & 1 ? AT_REMOVEDIR : 0);
		break;
	case 3:
		(void)!symlinkat("..", a->dir, a->name);
		break;
	case 4:
		(void)mkdirat(a->dir, a->name, 0755);
		break;
	default:
		fd = openat(a->dir, a->name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
			0644);
		if (fd >= 0)
			(void)close(fd);
	}
}

static void step_host(struct prog *g)
{
	struct host_path a = host_path(g), b = host_path(g);

	host_does(g, &a, &b);
	if (a.dir >= 0)
		(void)close(a.dir);
	if (b.dir >= 0)
		(void)close(b.dir);
}

static void step_snapshot(struct prog *g)
{
	static const struct fs_limits lim = { 200, 4, 32, 0 };
	struct save_out s = { 0 };
	struct save_in in;
	uint8_t flip = u8(g);
	size_t at = num(g);
	int r;

	fs_save(g->c.fs, &s);
	/* a file without a name that is too long to be saved: the server goes on where it is */
	if (s.err == -E2BIG) {
		save_out_free(&s);
		return;
	}
	if (s.err)
		abort();
	memset(later, 0, sizeof(later));
	if (flip && at < s.len)
		s.buf[at] ^= flip;
	fs_dax_reset(g->c.fs);
	fs_server_free(g->c.fs);
	if (fc_server(&g->c, &g->cfg, &lim) < 0)
		abort();
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	r = fs_load(g->c.fs, &in);
	if (r < 0) {
		/* a mapped file that only root could open again */
		if ((!flip || at >= s.len) && !(r == -EACCES && geteuid()))
			abort();
		(void)fc_init(&g->c, g->flags);
	}
	save_out_free(&s);
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!d)
		abort();
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* Whether beside the export there is the canary, and nothing else. */
static bool nothing_beside(const struct fc *c)
{
	DIR *d = opendir(c->top);
	struct dirent *e;
	bool ok = d;

	while (d && (e = readdir(d)))
		ok &= !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
			!strcmp(e->d_name, "d") || !strcmp(e->d_name, "canary");
	if (d)
		(void)closedir(d);
	return ok;
}

/* What the first two bytes say of the server, and of its guest. */
static void set_up(struct prog *g)
{
	uint8_t how;

	g->cfg = (struct fs_cfg){ .virt = virt, .nvirt = ARRAY_SIZE(virt) };
	how = u8(g);
	g->cfg.readonly = how >= 240 && how < 252;
	g->cfg.empty = how >= 250;
	how = u8(g);
	g->cfg.cache = how % 3;
	g->cfg.drop_idle = how / 3 & 1;
	/* some 20 nodes */
	g->cfg.node_bytes = how / 6 % 8 == 7 ? 4096 : 0;
	g->flags = ~0ULL;
	for (unsigned i = how / 48; how >= 192 && i < 64; i += 7)
		g->flags &= ~(1ULL << (i * how % 64));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fs_limits lim = { 200, 4, 32, 0 };
	struct prog g = { .p = data, .n = size };
	static int home = -1;
	unsigned fds;

	if (!fc_window) {
		static struct mem m;

		mem_init(&m);
		if (mem_add_shm(&m, GPA(FC_WINDOW_GPA), WINDOW * (uint64_t)FS_DAX_RANGE, NULL))
			abort();
		fc_window = &m;
	}
	/* The server moves its thread; the fuzzer's paths are relative to where it began. */
	if (home < 0)
		home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fds = count_fds();
	set_up(&g);
	memset(later, 0, sizeof(later));
	if (fc_new(&g.c, &g.cfg, &lim) < 0 || fc_init(&g.c, g.flags) < 0)
		abort();
	keep(g.node, &g.nnode, 1);
	for (unsigned i = 0; i < 200 && g.n; i++) {
		uint8_t what = u8(&g);

		if (what < 190)
			step_request(&g);
		else if (what < 220)
			step_lock(&g);
		else if (what == 248)
			step_window(&g);
		else if (what == 247)
			fs_wait_tick(g.c.fs);
		else if (what < 245)
			step_host(&g);
		else if (what < 250)
			fs_fd_drop_idle(g.c.fs);
		else
			step_snapshot(&g);
		if (g.c.fs->lru_n > lim.open_nodes + 4 || g.c.fs->nodes.used > lim.nodes ||
			g.c.fs->pinned > lim.open_nodes / 2)
			abort();
	}
	for (uint32_t i = 1; i < g.c.fs->hands.next; i++) {
		struct fs_handle *h = fs_handle_at(g.c.fs, i);

		if (h->kind != FS_H_FREE)
			fs_handle_close(g.c.fs, h);
	}
	if (g.c.fs->locksets.used || g.c.fs->ranges.used || g.c.fs->waits.used || g.c.fs->nforeign)
		abort();
	for (uint32_t i = 1; i < g.c.fs->nodes.next; i++) {
		struct fs_node *n = fs_node_at(g.c.fs, i);

		if (n->flags & FS_N_USED)
			fs_node_forget(g.c.fs, n, UINT64_MAX);
	}
	/* the root, and what is virtual */
	if (g.c.fs->nodes.used != 1 + ARRAY_SIZE(virt))
		abort();
	for (uint32_t i = 1; i <= WINDOW; i++)
		if (g.c.fs->dax->map[i].node)
			abort();
	if (!nothing_beside(&g.c) || !fc_free(&g.c) || fchdir(home) < 0 || count_fds() != fds)
		abort();
	return 0;
}
