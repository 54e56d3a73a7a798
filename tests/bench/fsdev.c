// SPDX-License-Identifier: Apache-2.0
/*
 * The virtio-fs device beside Debian's virtiofsd and the direct system call, without a guest.
 *
 *	fsdev DIRECTORY [--peer SOCKET --pid PID] [--rounds N] [--only OPERATION] [--ours N]
 *
 * Prints, for each operation: its name, then our rate, the peer's, the direct call's (per second,
 *0: there is none), for driver and server placed freely, on one processor, and on different ones.
 *--ours N does N of each operation through our device alone, for whoever counts system calls. The
 *directory is filled and emptied by this program.
 */
/*
 * How it works
 *
 * One driver for both: rings and buffers in a memfd that is the guest's memory, a kick is a write
 * to an eventfd, an interrupt a read from another, as with ioeventfd and irqfd. Ours is a device on
 * a loop of its own in this process; the peer maps the memfd, told by the vhost-user protocol.
 *
 * Peers take turns in rounds, and each keeps its best of each placement: what else the machine does
 * meanwhile only makes a round slower. Whether driver and server share a processor changes a rate
 * several times over, and left alone a pair stays for long where it happened to begin; so rounds go
 * through the placements, for both alike.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/irq.h"
#include "dev/dev.h"

#define RAM   (64ULL << 20)
#define BASE  0x40000000ULL /* guest-physical address of the memfd's first byte */
#define QSIZE 128U
#define FILES 500U
#define BIG   (64ULL << 20)
#define SEQ   (256U << 10)
#define DEPTH 4U
#define SLOT  (SEQ + 4096U)

#define F_NEXT	1
#define F_WRITE 2

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct queue {
	struct desc *d;
	volatile uint16_t *avail, *used;
	uint16_t avail_idx, used_idx;
	int kick, call;
};

struct peer {
	const char *name;
	uint8_t *ram;
	int memfd;
	struct queue q[2];
	uint64_t unique;
	uint64_t node[FILES], big, big_fh, dir_fh;
	unsigned serial;
};

/* Where in its memory each thing lies: two queues, then slots of requests. */
#define RINGS	 65536U
#define SLOTS	 (2U * RINGS)
#define IN_OFF	 0U    /* header and arguments */
#define OUT_OFF	 2048U /* reply */
#define DATA_OFF 4096U

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "fsdev: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void peer_memory(struct peer *p, const char *name)
{
	*p = (struct peer){ .name = name, .memfd = memfd_create("ram", MFD_CLOEXEC) };
	if (p->memfd < 0 || ftruncate(p->memfd, (off_t)RAM) < 0)
		die("memfd");
	p->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, p->memfd, 0);
	if (p->ram == MAP_FAILED)
		die("mmap");
	memset(p->ram, 0, RAM);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *r = p->ram + (size_t)i * RINGS;

		p->q[i].d = (struct desc *)(void *)r;
		p->q[i].avail = (volatile uint16_t *)(void *)(r + 16384);
		p->q[i].used = (volatile uint16_t *)(void *)(r + 32768);
	}
}

static struct vdev *ours_new(struct peer *p, const char *dir, struct loop **loop)
{
	static struct mem mem;
	static struct irq_line irq;
	struct fs_cfg cfg = { .tag = "bench", .cache = FS_CACHE_AUTO };
	struct error e = { 0 };
	struct vdev *v;

	peer_memory(p, "ours");
	mem_init(&mem);
	cfg.root_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (mem_add_borrowed(&mem, GPA(BASE), p->ram, RAM) < 0 || loop_new("fs", loop, &e) < 0 ||
		fs_new(*loop, &mem, &cfg, &v, &e) < 0 || loop_thread_start(*loop, &e) < 0) {
		(void)fprintf(stderr, "fsdev: %s\n", e.msg);
		exit(1);
	}
	irq.efd = eventfd(0, EFD_CLOEXEC);
	v->irq = &irq;
	for (unsigned i = 0; i < 2; i++) {
		struct vq *q = &v->vq[i];

		q->size = QSIZE;
		q->desc = BASE + (uint64_t)i * RINGS;
		q->avail = q->desc + 16384;
		q->used = q->desc + 32768;
		q->ready = true;
		p->q[i].kick = v->kick_fd[i];
		p->q[i].call = irq.efd;
	}
	vdev_set_status(v, VDEV_S_ACKNOWLEDGE | VDEV_S_DRIVER);
	vdev_set_features(v, 0, (uint32_t)VDEV_F_EVENT_IDX);
	vdev_set_features(v, 1, (uint32_t)(VDEV_F_VERSION_1 >> 32));
	vdev_set_status(v, VDEV_S_FEATURES_OK);
	vdev_set_status(v, VDEV_S_DRIVER_OK);
	return v;
}

/* vhost-user: requests by number, as its specification lists them. */
enum {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES,
	VU_SET_OWNER,
	VU_SET_MEM_TABLE = 5,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR,
	VU_SET_VRING_BASE,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL,
	VU_SET_VRING_ENABLE = 18,
};

static void vu_send(int s, uint32_t req, const void *body, uint32_t n, int fd)
{
	uint32_t h[3] = { req, 1, n };
	char ctl[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov[2] = { { h, sizeof(h) }, { (void *)(uintptr_t)body, n } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = n ? 2 : 1 };

	if (fd >= 0) {
		m.msg_control = ctl;
		m.msg_controllen = sizeof(ctl);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(s, &m, 0) != (ssize_t)(sizeof(h) + n))
		die("vhost-user");
}

static void vu_new(struct peer *p, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct {
		uint32_t n, pad;
		uint64_t gpa, size, user, off;
	} mem;
	struct {
		uint32_t h[3];
		uint64_t v;
	} __attribute__((packed)) features;
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t f = VDEV_F_VERSION_1 | VDEV_F_EVENT_IDX | 1ULL << 30;

	peer_memory(p, "virtiofsd");
	(void)strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	if (s < 0 || connect(s, (struct sockaddr *)&a, sizeof(a)) < 0)
		die(path);
	vu_send(s, VU_GET_FEATURES, NULL, 0, -1);
	if (recv(s, &features, sizeof(features), MSG_WAITALL) != sizeof(features))
		die("vhost-user features");
	f &= features.v;
	vu_send(s, VU_SET_OWNER, NULL, 0, -1);
	vu_send(s, VU_SET_FEATURES, &f, sizeof(f), -1);
	mem.n = 1;
	mem.pad = 0;
	mem.gpa = BASE;
	mem.size = RAM;
	mem.user = (uint64_t)(uintptr_t)p->ram;
	mem.off = 0;
	vu_send(s, VU_SET_MEM_TABLE, &mem, sizeof(mem), p->memfd);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t num[2] = { i, QSIZE }, base[2] = { i, 0 }, on[2] = { i, 1 };
		uint64_t idx = i, at = mem.user + (uint64_t)i * RINGS;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr = { i, 0, at, at + 32768, at + 16384, 0 };

		p->q[i].kick = eventfd(0, EFD_CLOEXEC);
		p->q[i].call = eventfd(0, EFD_CLOEXEC);
		vu_send(s, VU_SET_VRING_NUM, num, sizeof(num), -1);
		vu_send(s, VU_SET_VRING_BASE, base, sizeof(base), -1);
		vu_send(s, VU_SET_VRING_ADDR, &addr, sizeof(addr), -1);
		vu_send(s, VU_SET_VRING_KICK, &idx, sizeof(idx), p->q[i].kick);
		vu_send(s, VU_SET_VRING_CALL, &idx, sizeof(idx), p->q[i].call);
		if (f & 1ULL << 30)
			vu_send(s, VU_SET_VRING_ENABLE, on, sizeof(on), -1);
	}
}

/* One request in slot @slot, not shown yet. Payload bytes lie at the slot's DATA_OFF. */
struct rq {
	uint32_t op;
	uint64_t node;
	const void *in;
	uint32_t n_in;
	const char *name;  /* behind the arguments, or */
	uint32_t data_in;  /* payload bytes to the device */
	uint32_t out;	   /* bytes of the reply's fixed part */
	uint32_t data_out; /* payload bytes from it */
	bool no_reply;
};

static void add(struct peer *p, unsigned qi, unsigned slot, const struct rq *r)
{
	struct queue *q = &p->q[qi];
	uint64_t at = SLOTS + (uint64_t)slot * SLOT;
	uint8_t *b = p->ram + at;
	uint32_t n_name = r->name ? (uint32_t)strlen(r->name) + 1 : 0, d = slot * 4, n = 0;
	struct fuse_in_header h = { .opcode = r->op, .unique = p->unique += 2, .nodeid = r->node };
	struct desc *c = q->d + d;

	h.len = (uint32_t)sizeof(h) + r->n_in + n_name + r->data_in;
	memcpy(b + IN_OFF, &h, sizeof(h));
	if (r->n_in)
		memcpy(b + IN_OFF + sizeof(h), r->in, r->n_in);
	if (n_name)
		memcpy(b + IN_OFF + sizeof(h) + r->n_in, r->name, n_name);
	c[n++] = (struct desc){ BASE + at + IN_OFF, h.len - r->data_in, 0, 0 };
	if (r->data_in)
		c[n++] = (struct desc){ BASE + at + DATA_OFF, r->data_in, 0, 0 };
	if (!r->no_reply)
		c[n++] = (struct desc){ BASE + at + OUT_OFF,
			(uint32_t)sizeof(struct fuse_out_header) + r->out, F_WRITE, 0 };
	if (r->data_out)
		c[n++] = (struct desc){ BASE + at + DATA_OFF, r->data_out, F_WRITE, 0 };
	for (uint32_t i = 0; i + 1 < n; i++) {
		c[i].flags |= F_NEXT;
		c[i].next = (uint16_t)(d + i + 1);
	}
	q->avail[2 + q->avail_idx++ % QSIZE] = (uint16_t)d;
}

/* Shows what was added, and kicks if the device asked for it. */
static void show(struct queue *q)
{
	uint16_t old = q->avail[1], event;

	__atomic_thread_fence(__ATOMIC_RELEASE);
	q->avail[1] = q->avail_idx;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = q->used[2 + QSIZE * 4];
	if ((uint16_t)(q->avail_idx - event - 1) < (uint16_t)(q->avail_idx - old) &&
		eventfd_write(q->kick, 1) < 0)
		die("kick");
}

/* Waits for the next used entry; its slot. */
static unsigned reap(struct queue *q)
{
	eventfd_t n;
	unsigned slot;

	for (;;) {
		q->avail[2 + QSIZE] = q->used_idx; /* used_event */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (q->used[1] != q->used_idx)
			break;
		if (eventfd_read(q->call, &n) < 0 && errno != EINTR)
			die("interrupt");
	}
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	slot = q->used[2 + (unsigned)(q->used_idx++ % QSIZE) * 4] / 4;
	return slot;
}

static void *reply(struct peer *p, unsigned slot)
{
	return p->ram + SLOTS + (uint64_t)slot * SLOT + OUT_OFF + sizeof(struct fuse_out_header);
}

static int error_of(struct peer *p, unsigned slot)
{
	struct fuse_out_header h;

	memcpy(&h, p->ram + SLOTS + (uint64_t)slot * SLOT + OUT_OFF, sizeof(h));
	return h.error;
}

static void *call(struct peer *p, const struct rq *r)
{
	int e;

	add(p, 1, 0, r);
	show(&p->q[1]);
	(void)reap(&p->q[1]);
	e = error_of(p, 0);
	if (e) {
		(void)fprintf(
			stderr, "fsdev: %s: operation %u: %s\n", p->name, r->op, strerror(-e));
		exit(1);
	}
	return reply(p, 0);
}

static void forget(struct peer *p, uint64_t node)
{
	struct fuse_forget_in in = { 1 };
	struct rq r = {
		.op = FUSE_FORGET, .node = node, .in = &in, .n_in = sizeof(in), .no_reply = true
	};

	add(p, 0, 4, &r);
	show(&p->q[0]);
	(void)reap(&p->q[0]);
}

static uint64_t lookup(struct peer *p, const char *name)
{
	struct rq r = {
		.op = FUSE_LOOKUP, .node = 1, .name = name, .out = sizeof(struct fuse_entry_out)
	};

	return ((struct fuse_entry_out *)call(p, &r))->nodeid;
}

static uint64_t open_node(struct peer *p, uint64_t node, uint32_t op, uint32_t flags)
{
	struct fuse_open_in in = { .flags = flags };
	struct rq r = { .op = op,
		.node = node,
		.in = &in,
		.n_in = sizeof(in),
		.out = sizeof(struct fuse_open_out) };

	return ((struct fuse_open_out *)call(p, &r))->fh;
}

static void release(struct peer *p, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };
	struct rq r = { .op = FUSE_RELEASE, .node = node, .in = &in, .n_in = sizeof(in) };

	(void)call(p, &r);
}

static void name_of(char *buf, unsigned i)
{
	(void)snprintf(buf, 32, "file%u", i % FILES);
}

/* What each operation does @n times; @p NULL: by the direct call in @dir. Returns how many units.
 */
typedef uint64_t op_fn(struct peer *p, int dir, uint64_t n);

static uint64_t do_lookup(struct peer *p, int dir, uint64_t n)
{
	struct stat st;
	char name[32];

	for (uint64_t i = 0; i < n; i++) {
		name_of(name, (unsigned)i * 7);
		if (p)
			(void)lookup(p, name);
		else if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			die("fstatat");
	}
	return n;
}

static uint64_t do_getattr(struct peer *p, int dir, uint64_t n)
{
	struct fuse_getattr_in in = { 0 };
	struct rq r = { .op = FUSE_GETATTR,
		.in = &in,
		.n_in = sizeof(in),
		.out = sizeof(struct fuse_attr_out) };
	struct stat st;
	char name[32];

	for (uint64_t i = 0; i < n; i++) {
		if (p) {
			r.node = p->node[i * 7 % FILES];
			(void)call(p, &r);
		} else {
			name_of(name, (unsigned)i * 7);
			if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
				die("fstatat");
		}
	}
	return n;
}

static uint64_t do_open(struct peer *p, int dir, uint64_t n)
{
	char name[32];

	for (uint64_t i = 0; i < n; i++) {
		if (p) {
			uint64_t node = p->node[i * 7 % FILES];

			release(p, node, open_node(p, node, FUSE_OPEN, O_RDONLY));
		} else {
			name_of(name, (unsigned)i * 7);
			(void)close(openat(dir, name, O_RDONLY | O_CLOEXEC));
		}
	}
	return n;
}

static uint64_t do_create(struct peer *p, int dir, uint64_t n)
{
	struct fuse_create_in in = { .flags = O_RDWR | O_EXCL | O_CREAT, .mode = S_IFREG | 0644 };
	char name[32];
	struct rq r = { .op = FUSE_CREATE,
		.node = 1,
		.in = &in,
		.n_in = sizeof(in),
		.name = name,
		.out = sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out) };
	struct rq u = { .op = FUSE_UNLINK, .node = 1, .name = name };

	for (uint64_t i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "new%u", p ? p->serial++ : (unsigned)i);
		if (p) {
			uint8_t *o = call(p, &r);
			uint64_t node = ((struct fuse_entry_out *)(void *)o)->nodeid;

			release(p, node,
				((struct fuse_open_out *)(void *)(o +
					 sizeof(struct fuse_entry_out)))
					->fh);
			(void)call(p, &u);
			forget(p, node);
		} else {
			(void)close(openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
			(void)unlinkat(dir, name, 0);
		}
	}
	return n;
}

/* The whole directory by pages of 4 KiB, as a guest asks; the unit is an entry. */
static uint64_t do_readdir(struct peer *p, int dir, uint64_t n)
{
	static uint8_t buf[32768];
	uint64_t entries = 0;

	while (entries < n) {
		struct fuse_read_in in = { .size = 4096 };
		struct rq r = { .op = FUSE_READDIR,
			.node = 1,
			.in = &in,
			.n_in = sizeof(in),
			.data_out = 4096 };
		long got;

		if (!p) {
			(void)lseek(dir, 0, SEEK_SET);
			while ((got = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
				;
			entries += FILES;
			continue;
		}
		in.fh = p->dir_fh;
		for (;;) {
			struct fuse_out_header h;
			uint8_t *data = p->ram + SLOTS + DATA_OFF;

			(void)call(p, &r);
			memcpy(&h, p->ram + SLOTS + OUT_OFF, sizeof(h));
			if (h.len == sizeof(h))
				break;
			for (size_t at = 0; at + FUSE_NAME_OFFSET <= h.len - sizeof(h); entries++) {
				struct fuse_dirent *e = (void *)(data + at);

				in.offset = e->off;
				at += FUSE_DIRENT_SIZE(e);
			}
		}
	}
	return entries;
}

static uint64_t spot(uint64_t i)
{
	return (i * 2654435761ULL % (BIG / 4096)) * 4096;
}

static uint64_t do_read4k(struct peer *p, int dir, uint64_t n)
{
	static int fd = -1;
	static char buf[4096];

	if (!p && fd < 0)
		fd = openat(dir, "big", O_RDWR | O_CLOEXEC);
	for (uint64_t i = 0; i < n; i++) {
		if (p) {
			struct fuse_read_in in = {
				.fh = p->big_fh, .offset = spot(i), .size = 4096
			};
			struct rq r = { .op = FUSE_READ,
				.node = p->big,
				.in = &in,
				.n_in = sizeof(in),
				.data_out = 4096 };

			(void)call(p, &r);
		} else if (pread(fd, buf, sizeof(buf), (off_t)spot(i)) != sizeof(buf)) {
			die("pread");
		}
	}
	return n;
}

static uint64_t do_write4k(struct peer *p, int dir, uint64_t n)
{
	static int fd = -1;
	static char buf[4096];

	if (!p && fd < 0)
		fd = openat(dir, "big", O_RDWR | O_CLOEXEC);
	for (uint64_t i = 0; i < n; i++) {
		if (p) {
			struct fuse_write_in in = {
				.fh = p->big_fh, .offset = spot(i), .size = 4096
			};
			struct rq r = { .op = FUSE_WRITE,
				.node = p->big,
				.in = &in,
				.n_in = sizeof(in),
				.data_in = 4096,
				.out = sizeof(struct fuse_write_out) };

			(void)call(p, &r);
		} else if (pwrite(fd, buf, sizeof(buf), (off_t)spot(i)) != sizeof(buf)) {
			die("pwrite");
		}
	}
	return n;
}

/* DEPTH requests in flight, in order of the file, as read-ahead has them. */
static uint64_t seq(struct peer *p, int dir, uint64_t n, bool write)
{
	static int fd = -1;
	static char buf[SEQ];

	if (!p && fd < 0)
		fd = openat(dir, "big", O_RDWR | O_CLOEXEC);
	for (uint64_t i = 0; i < n; i++) {
		off_t off = (off_t)(i * SEQ % BIG);
		struct fuse_read_in in = { .offset = (uint64_t)off, .size = SEQ };
		struct fuse_write_in wi = { .offset = (uint64_t)off, .size = SEQ };
		struct rq r = { .op = FUSE_READ, .in = &in, .n_in = sizeof(in), .data_out = SEQ };
		unsigned slot = (unsigned)i;

		if (!p) {
			if ((write ? pwrite(fd, buf, SEQ, off) : pread(fd, buf, SEQ, off)) != SEQ)
				die("sequential");
			continue;
		}
		if (i >= DEPTH) {
			slot = reap(&p->q[1]);
			if (error_of(p, slot))
				die("sequential");
		}
		if (write)
			r = (struct rq){ .op = FUSE_WRITE,
				.in = &wi,
				.n_in = sizeof(wi),
				.data_in = SEQ,
				.out = sizeof(struct fuse_write_out) };
		in.fh = wi.fh = p->big_fh;
		r.node = p->big;
		add(p, 1, slot, &r);
		show(&p->q[1]);
	}
	for (uint64_t i = 0; p && i < MIN(n, (uint64_t)DEPTH); i++)
		(void)reap(&p->q[1]);
	return n;
}

static uint64_t do_seqread(struct peer *p, int dir, uint64_t n)
{
	return seq(p, dir, n, false);
}

static uint64_t do_seqwrite(struct peer *p, int dir, uint64_t n)
{
	return seq(p, dir, n, true);
}

static const struct bench {
	const char *name;
	op_fn *fn;
	uint64_t n; /* of one round */
} benches[] = {
	{ "lookup", do_lookup, 2000 },
	{ "getattr", do_getattr, 2000 },
	{ "open-close", do_open, 1000 },
	{ "create-unlink", do_create, 500 },
	{ "readdir-entry", do_readdir, 5000 },
	{ "read-4k", do_read4k, 2000 },
	{ "write-4k", do_write4k, 2000 },
	{ "read-sequential", do_seqread, 512 },
	{ "write-sequential", do_seqwrite, 512 },
};

static void prepare(struct peer *p)
{
	struct fuse_init_in in = { .major = 7,
		.minor = 36,
		.max_readahead = 1 << 20,
		.flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS |
			FUSE_ATOMIC_O_TRUNC | FUSE_DO_READDIRPLUS };
	struct rq r = {
		.op = FUSE_INIT, .in = &in, .n_in = sizeof(in), .out = sizeof(struct fuse_init_out)
	};
	char name[32];

	(void)call(p, &r);
	for (unsigned i = 0; i < FILES; i++) {
		name_of(name, i);
		p->node[i] = lookup(p, name);
	}
	p->big = lookup(p, "big");
	p->big_fh = open_node(p, p->big, FUSE_OPEN, O_RDWR);
	p->dir_fh = open_node(p, 1, FUSE_OPENDIR, O_RDONLY | O_DIRECTORY);
}

static int fill(const char *path)
{
	static char buf[1 << 20];
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
	char name[32];

	if (dir < 0)
		die(path);
	for (unsigned i = 0; i < FILES; i++) {
		name_of(name, i);
		(void)close(openat(dir, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	}
	fd = openat(dir, "big", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
	for (uint64_t at = 0; at < BIG; at += sizeof(buf))
		if (write(fd, buf, sizeof(buf)) != sizeof(buf))
			die("big");
	(void)close(fd);
	return dir;
}

static void clear(int dir)
{
	char name[32];

	for (unsigned i = 0; i < FILES; i++) {
		name_of(name, i);
		(void)unlinkat(dir, name, 0);
	}
	(void)unlinkat(dir, "big", 0);
	(void)close(dir);
}

enum place {
	FREE,
	TOGETHER,
	APART,
	PLACES
};

/* Where the threads of process @pid but @but may run. */
static void bind_tasks(pid_t pid, pid_t but, const cpu_set_t *set)
{
	char path[64];
	struct dirent *e;
	DIR *d;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	if (!d)
		die(path);
	while ((e = readdir(d))) {
		pid_t t = (pid_t)strtol(e->d_name, NULL, 10);

		/* one that has ended meanwhile */
		if (t > 0 && t != but && sched_setaffinity(t, sizeof(*set), set) < 0 &&
			errno != ESRCH)
			die("sched_setaffinity");
	}
	(void)closedir(d);
}

/* Puts this thread, the driver, and both servers' threads there. */
static void put(enum place where, const cpu_set_t *all, pid_t peer)
{
	cpu_set_t mine = *all, theirs = *all;
	int first = 0;

	while (!CPU_ISSET(first, all))
		first++;
	if (where != FREE) {
		CPU_ZERO(&mine);
		CPU_SET(first, &mine);
	}
	if (where == TOGETHER)
		theirs = mine;
	else if (where == APART)
		CPU_CLR(first, &theirs);
	bind_tasks(getpid(), getpid(), &theirs);
	if (peer)
		bind_tasks(peer, 0, &theirs);
	if (sched_setaffinity(0, sizeof(mine), &mine) < 0)
		die("sched_setaffinity");
}

static double rate(const struct bench *b, struct peer *p, int dir, uint64_t n)
{
	struct timespec t0, t1;
	uint64_t units;

	(void)clock_gettime(CLOCK_MONOTONIC, &t0);
	units = b->fn(p, dir, n);
	(void)clock_gettime(CLOCK_MONOTONIC, &t1);
	return (double)units /
		((double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-9);
}

int main(int argc, char **argv)
{
	static struct peer ours, peer;
	struct peer *who[3] = { &ours, NULL, NULL }; /* the last is the direct call */
	const char *only = NULL, *sock = NULL;
	unsigned rounds = 15;
	uint64_t count = 0;
	struct loop *loop;
	pid_t pid = 0;
	cpu_set_t all;
	int dir;

	for (int i = 2; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--peer"))
			sock = argv[i + 1];
		else if (!strcmp(argv[i], "--pid"))
			pid = (pid_t)strtol(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--rounds"))
			rounds = (unsigned)strtoul(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--only"))
			only = argv[i + 1];
		else if (!strcmp(argv[i], "--ours"))
			count = strtoul(argv[i + 1], NULL, 10);
	}
	if (argc < 2 || argc % 2) {
		(void)fprintf(stderr,
			"fsdev DIRECTORY [--peer SOCKET --pid PID] [--rounds N] [--only OP] "
			"[--ours N]\n");
		return 2;
	}
	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		die("sched_getaffinity");
	dir = fill(argv[1]);
	(void)ours_new(&ours, argv[1], &loop);
	prepare(&ours);
	if (sock) {
		vu_new(&peer, sock);
		who[1] = &peer;
		prepare(&peer);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(benches); i++) {
		unsigned places = CPU_COUNT(&all) > 1 ? PLACES : 1;
		double best[PLACES][3] = { 0 };

		if (only && strcmp(only, benches[i].name) != 0)
			continue;
		for (unsigned r = 0; r < rounds * places && !count; r++) {
			put(r % places, &all, pid);
			for (unsigned w = 0; w < 3; w++)
				if (w != 1 || who[1])
					best[r % places][w] = MAX(best[r % places][w],
						rate(&benches[i], who[w], dir, benches[i].n));
		}
		if (count)
			(void)benches[i].fn(&ours, dir, count);
		printf("%s", benches[i].name);
		for (unsigned r = 0; r < PLACES; r++)
			printf(" %.0f %.0f %.0f", best[r][0], best[r][1], best[r][2]);
		printf("\n");
		(void)fflush(stdout);
	}
	clear(dir);
	/* Threads of the device live on; the process ends with them. */
	_exit(0);
}
