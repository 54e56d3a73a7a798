// SPDX-License-Identifier: Apache-2.0
// qcow2 images of qemu-img's, changed by us and looked at by it.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/limits.h"
#include "dev/disk_qcow2.h"
#include "dev/disk_qcow2_be.h"
#include "unit/image_rig.h"
#include "unit/test.h"

#define MIB	 (1U << 20)
#define SIZE	 (6U * MIB)
#define SECTORS	 (SIZE / 512)
#define CHECK_OK 0
#define LEAKS	 3 /* qemu-img check: nothing worse */

static uint8_t model[SIZE], buf[SIZE];
static uint32_t rnd_state = 11;

static uint32_t rnd(uint32_t n)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 17;
	rnd_state ^= rnd_state << 5;
	return (rnd_state >> 4) % n;
}

/* Where was written, and when the medium was synced, in order; and where it fails. */
#define SYNCED UINT64_MAX
static uint64_t event[64], fail_at;
static unsigned nevents;

static void note(uint64_t what)
{
	if (nevents < ARRAY_SIZE(event))
		event[nevents++] = what;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t off)
{
	note((uint64_t)off);
	if (fail_at && (uint64_t)off >= fail_at && (uint64_t)off < fail_at + 512) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pwrite64, fd, p, n, off);
}

int fdatasync(int fd)
{
	note(SYNCED);
	return (int)syscall(SYS_fdatasync, fd);
}

static int put_model(const char *name)
{
	int fd = image_fd(name, O_RDWR | O_CREAT | O_TRUNC);
	int r = write(fd, model, SIZE) == (ssize_t)SIZE ? 0 : -1;

	(void)close(fd);
	return r;
}

/* A disk's worth of bytes that are partly zero, partly easy to compress. */
static void fill_model(void)
{
	for (uint32_t i = 0; i < SIZE; i += 4096) {
		uint32_t how = rnd(4);

		for (uint32_t k = 0; k < 4096; k++)
			model[i + k] = how == 0 ? 0
				: how == 1	? (uint8_t)rnd(256)
						: (uint8_t)(i / 4096 + how + k / 100);
	}
}

/* Series of random requests, each ended by a close and a look by qemu-img. */
static void work_on(const char *name, unsigned series, unsigned ops)
{
	for (unsigned s = 0; s < series; s++) {
		struct error e = { 0 };
		struct disk *d = open_disk(name, false, false, &e);

		if (!d)
			printf("# %s\n", e.msg);
		CHECK(d);
		CHECK_EQ(d->bytes, SIZE);
		for (unsigned i = 0; i < ops; i++) {
			uint32_t at = rnd(SECTORS), n = 1 + rnd(i % 16 ? 40 : 3000), what = rnd(20);
			uint64_t off;

			n = MIN(n, SECTORS - at);
			off = (uint64_t)at * 512;
			if (what < 8) {
				CHECK_EQ(request(d, DISK_READ, off, buf, n * 512), 0);
				CHECK(!memcmp(buf, model + off, n * 512));
			} else if (what < 15) {
				for (uint32_t k = 0; k < n * 512; k++)
					model[off + k] = (uint8_t)(rnd_state + k / 512 + i);
				CHECK_EQ(request(d, DISK_WRITE, off, model + off, n * 512), 0);
			} else if (what < 18) {
				CHECK_EQ(request(d, what & 1 ? DISK_ZERO : DISK_ZERO_UNMAP, off,
						 NULL, n * 512),
					0);
				memset(model + off, 0, n * 512);
			} else if (what == 18) {
				/* what it reads afterwards is the old or zeroes, cluster by cluster
				 */
				CHECK_EQ(request(d, DISK_DISCARD, off, NULL, n * 512), 0);
				CHECK_EQ(request(d, DISK_READ, off, buf, n * 512), 0);
				for (uint32_t k = 0; k < n * 512; k++)
					CHECK(buf[k] == model[off + k] || !buf[k]);
				memcpy(model + off, buf, n * 512);
			} else {
				CHECK_EQ(request(d, DISK_FLUSH, 0, NULL, 0), 0);
			}
		}
		disk_close(d);
		CHECK_EQ(put_model("model"), 0);
		SH_OK("qemu-img check -q -f qcow2 %s", name);
		SH_OK("qemu-img compare -f qcow2 -F raw %s model", name);
	}
}

#define WORK(...)                     \
	do {                          \
		work_on(__VA_ARGS__); \
		if (test_failed_)     \
			return;       \
	} while (0)

static void empty_images(void)
{
	static const char *const opts[] = { "cluster_size=64k", "compat=0.10,cluster_size=64k",
		"cluster_size=512", "cluster_size=4k,refcount_bits=1",
		"cluster_size=512,refcount_bits=64", "cluster_size=2M,refcount_bits=8",
		"lazy_refcounts=on,cluster_size=1k", "refcount_bits=4,cluster_size=32k",
		"preallocation=metadata", "preallocation=full,cluster_size=4k" };

	for (unsigned i = 0; i < ARRAY_SIZE(opts); i++) {
		memset(model, 0, SIZE);
		SH_OK("rm -f a && qemu-img create -q -f qcow2 -o %s a %u", opts[i], SIZE);
		WORK("a", 2, 400);
	}
}

static void from_qemu_io(void)
{
	struct disk *d;

	memset(model, 0, SIZE);
	SH_OK("rm -f a && qemu-img create -q -f qcow2 a %u && qemu-io -f qcow2 -c 'write -P 7 100k 300k' "
	      "-c 'write -z 200k 64k' -c 'discard 300k 64k' -c 'write -P 9 3M 1k' a",
		SIZE);
	SH_OK("qemu-img convert -q -f qcow2 -O raw a raw");
	d = open_disk("a", true, false, NULL);
	CHECK(d);
	CHECK_EQ(request(d, DISK_READ, 0, model, SIZE), 0);
	CHECK(request(d, DISK_WRITE, 0, model, 512) < 0);
	disk_close(d);
	CHECK_EQ(put_model("model"), 0);
	SH_OK("cmp raw model");
	WORK("a", 2, 300);
}

static void compressed(void)
{
	static const char *const opts[] = { "cluster_size=64k", "cluster_size=4k",
		"compression_type=zstd,cluster_size=64k", "compat=0.10,cluster_size=512" };

	for (unsigned i = 0; i < ARRAY_SIZE(opts); i++) {
		fill_model();
		CHECK_EQ(put_model("raw"), 0);
		SH_OK("rm -f a && qemu-img convert -q -c -f raw -O qcow2 -o %s raw a", opts[i]);
		WORK("a", 2, 300);
	}
}

/* Clusters that a snapshot has too are copied when they are written; it still reads as it did. */
static void snapshots(void)
{
	static const char *const opts[] = { "cluster_size=64k", "cluster_size=4k",
		"compat=0.10,cluster_size=64k", "cluster_size=512" };

	for (unsigned i = 0; i < ARRAY_SIZE(opts); i++) {
		fill_model();
		CHECK_EQ(put_model("raw"), 0);
		SH_OK("rm -f a && qemu-img convert -q %s -f raw -O qcow2 -o %s raw a",
			i & 1 ? "-c" : "", opts[i]);
		SH_OK("qemu-img snapshot -c one a");
		WORK("a", 1, 200);
		SH_OK("cp model then && qemu-img snapshot -c two a");
		WORK("a", 1, 200);
		SH_OK("qemu-img convert -q -l snapshot.name=one -f qcow2 -O raw a x && cmp x raw");
		SH_OK("qemu-img convert -q -l snapshot.name=two -f qcow2 -O raw a x && cmp x then");
		SH_OK("qemu-img snapshot -d one a && qemu-img check -q a");
		WORK("a", 1, 200);
	}
}

static void backing_files(void)
{
	struct disk_cfg cfg = { .format = DISK_QCOW2, .sync = DISK_SYNC_FULL };
	struct error e = { 0 };
	struct disk *d;
	int fd;

	fill_model();
	CHECK_EQ(put_model("raw"), 0);
	memset(model + 4 * MIB, 0, 2 * MIB);
	SH_OK("truncate -s 4M raw && rm -f a b && qemu-img convert -q -f raw -O qcow2 raw b");
	SH_OK("qemu-img create -q -f qcow2 -F qcow2 -b b a %u", SIZE);
	WORK("a", 2, 300);
	/* two deep, and a raw one below */
	SH_OK("rm -f a b; qemu-img create -q -f qcow2 -F raw -b raw b && "
	      "qemu-img create -q -f qcow2 -o compat=0.10 -F qcow2 -b b a %u",
		SIZE);
	fd = image_fd("raw", O_RDONLY);
	CHECK_EQ(pread(fd, model, 4 * MIB, 0), 4 * MIB);
	(void)close(fd);
	memset(model + 4 * MIB, 0, 2 * MIB);
	WORK("a", 2, 300);
	/* the lower name is of a file beside the image that has it, not beside the first */
	SH_OK("rm -rf a sub && mkdir sub && mv raw sub/low && head -c 4M /dev/urandom >low && "
	      "(cd sub && qemu-img create -q -f qcow2 -F raw -b low mid) && "
	      "qemu-img create -q -f qcow2 -F qcow2 -b sub/mid a %u",
		SIZE);
	fd = image_fd("sub/low", O_RDONLY);
	CHECK_EQ(pread(fd, model, 4 * MIB, 0), 4 * MIB);
	(void)close(fd);
	memset(model + 4 * MIB, 0, 2 * MIB);
	WORK("a", 1, 300);
	SH_OK("mv sub/low raw && rm -rf a sub low && qemu-img create -q -f qcow2 -F raw -b raw a %u",
		SIZE);
	/* not allowed; and one whose format is not said */
	cfg.fd = image_fd("a", O_RDWR);
	CHECK_EQ(disk_open(&cfg, &d, &e), -EPERM);
	CHECK(strstr(e.msg, "backing file"));
	SH_OK("rm -f c; qemu-img create -q -f qcow2 -F raw -b raw c && qemu-img rebase -q -u -b '' c && "
	      "qemu-img create -q -f qcow2 -o backing_file=raw,backing_fmt=vmdk -u c %u",
		SIZE);
	e = (struct error){ 0 };
	CHECK(!open_disk("c", false, false, &e));
	CHECK_EQ(e.code, ENOTSUP);
}

/* A raw file below that ends within a sector. */
static void odd_backing(void)
{
	struct disk *d;

	fill_model();
	memset(model + MIB, 0xee, MIB);
	CHECK_EQ(put_model("raw"), 0);
	SH_OK("truncate -s %u raw && rm -f a && qemu-img create -q -f qcow2 -F raw -b raw a %u",
		2 * MIB - 300, SIZE);
	memset(model + 2 * MIB - 300, 0, SIZE - 2 * MIB + 300);
	d = open_disk("a", true, false, NULL);
	CHECK(d);
	CHECK_EQ(request(d, DISK_READ, 0, buf, SIZE), 0);
	CHECK(!memcmp(buf, model, SIZE));
	CHECK_EQ(request(d, DISK_READ, 2 * MIB - 512, buf, 512), 0);
	CHECK(!memcmp(buf, model + 2 * MIB - 512, 512));
	disk_close(d);
	d = open_disk("a", false, false, NULL);
	CHECK(d);
	memset(model + 2 * MIB - 4096, 1, 512);
	CHECK_EQ(request(d, DISK_WRITE, 2 * MIB - 4096, model + 2 * MIB - 4096, 512), 0);
	CHECK_EQ(request(d, DISK_READ, 0, buf, SIZE), 0);
	CHECK(!memcmp(buf, model, SIZE));
	disk_close(d);
	CHECK_EQ(put_model("model"), 0);
	SH_OK("qemu-img compare -f qcow2 -F raw a model");
}

static void direct_io(void)
{
	struct error e = { 0 };
	struct disk *d;
	uint8_t *p = aligned_alloc(4096, 65536);

	SH_OK("rm -f a && qemu-img create -q -f qcow2 a %u", SIZE);
	d = open_disk("a", false, true, &e);
	if (!d) {
		CHECK(strstr(e.msg, "direct"));
		free(p);
		return;
	}
	for (unsigned i = 0; i < 3; i++) {
		memset(p, 0x55 + (int)i, 65536);
		CHECK_EQ(request(d, DISK_WRITE, MIB + 4096, p, 32768), 0);
		memset(p, 0, 65536);
		CHECK_EQ(request(d, DISK_READ, MIB, p, 65536), 0);
		CHECK(!p[4095] && p[4096] == 0x55 + i && p[36863] == 0x55 + i && !p[36864]);
	}
	disk_close(d);
	free(p);
	SH_OK("qemu-img check -q a && qemu-io -f qcow2 -c 'read -P 0x57 1052672 32768' a");
}

#define WINDOW 0x10000U

/* What no hand may write: pages of a window, which may be missing. */
static int read_into_window(struct disk *d, uint64_t at, uint32_t n, uint8_t *p)
{
	int fd = memfd_create("window", MFD_CLOEXEC), r;
	struct iovec v[2];
	struct iobuf b;
	struct mem m;

	mem_init(&m);
	if (fd < 0 || ftruncate(fd, WINDOW) ||
		mem_add_ram(&m, GPA(0), 0x1000, &(struct mem_ram_opts){ 0 }, NULL) ||
		mem_add_shm(&m, GPA(WINDOW), WINDOW, NULL) ||
		mem_shm_map(&m, GPA(WINDOW), 0, WINDOW, fd, 0, true) ||
		pwrite(fd, "not zero", 8, 0) != 8 ||
		mem_iov(&m, GPA(WINDOW), n, MEM_IOV_SHM, v, 2) != 1)
		return -1;
	iobuf_init(&b, v, 1);
	b.win = &m;
	r = disk_run(d, DISK_READ, &b, at, n);
	if (!r && pread(fd, p, n, 0) != (ssize_t)n)
		r = -1;
	mem_destroy(&m);
	(void)close(fd);
	return r;
}

static void into_a_window(void)
{
	struct disk *d;

	fill_model();
	CHECK_EQ(put_model("raw"), 0);
	SH_OK("rm -f a b && qemu-img convert -q -c -f raw -O qcow2 raw b && "
	      "qemu-img create -q -f qcow2 -F qcow2 -b b a %u && "
	      "qemu-io -f qcow2 -c 'write -z 64k 64k' a",
		SIZE + MIB);
	memset(model + WINDOW, 0, WINDOW);
	d = open_disk("a", true, false, NULL);
	CHECK(d);
	for (uint64_t at = 0; at < SIZE; at += WINDOW) {
		CHECK_EQ(read_into_window(d, at, WINDOW, buf), 0);
		CHECK(!memcmp(buf, model + at, WINDOW));
	}
	/* the backing file is shorter */
	CHECK_EQ(read_into_window(d, SIZE, 4096, buf), 0);
	for (unsigned i = 0; i < 4096; i++)
		CHECK(!buf[i]);
	disk_close(d);
}

/* What the child has asked for and got, by sector: in memory that outlives it. */
struct record {
	uint32_t asked[SECTORS], flushed[SECTORS];
	uint32_t ops;
};

static void stamp(uint8_t *p, uint32_t sector, uint32_t seq)
{
	for (unsigned i = 0; i < 512; i += 8) {
		put_be32(p + i, sector);
		put_be32(p + i + 4, seq);
	}
}

/* Until it is killed. */
static void child(const char *name, struct record *rec, uint32_t seq)
{
	static uint32_t done[SECTORS];
	struct disk *d = open_disk(name, false, false, NULL);

	if (!d)
		_exit(1);
	memcpy(done, rec->flushed, sizeof(done));
	for (;; seq++) {
		uint32_t at = rnd(SECTORS), n = 1 + rnd(200);

		n = MIN(n, SECTORS - at);
		if (!rnd(12)) {
			if (request(d, DISK_FLUSH, 0, NULL, 0))
				_exit(2);
			memcpy(rec->flushed, done, sizeof(done));
			continue;
		}
		for (uint32_t i = 0; i < n; i++) {
			stamp(buf + i * 512, at + i, seq);
			rec->asked[at + i] = seq;
		}
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (request(d, DISK_WRITE, (uint64_t)at * 512, buf, n * 512))
			_exit(3);
		for (uint32_t i = 0; i < n; i++)
			done[at + i] = seq;
		rec->ops = seq;
	}
}

/* Everything that was flushed is there, or what was written over it. */
static void look_after_kill(const char *name, struct record *rec)
{
	struct disk *d = open_disk(name, true, false, NULL);

	CHECK(d);
	CHECK_EQ(request(d, DISK_READ, 0, buf, SIZE), 0);
	disk_close(d);
	for (uint32_t i = 0; i < SECTORS; i++) {
		uint32_t seq = get_be32(buf + i * 512 + 4);
		uint8_t want[512] = { 0 };

		if (seq)
			stamp(want, i, seq);
		CHECK(!memcmp(buf + i * 512, want, 512));
		CHECK(seq >= rec->flushed[i] && seq <= rec->asked[i]);
		rec->flushed[i] = rec->asked[i] = seq;
	}
}

static void killed(const char *opts, unsigned rounds)
{
	struct record *rec =
		mmap(NULL, sizeof(*rec), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(rec != MAP_FAILED);
	SH_OK("rm -f k && qemu-img create -q -f qcow2 -o %s k %u", opts, SIZE);
	for (unsigned i = 0; i < rounds; i++) {
		uint32_t from = rec->ops + 2, stop = from + 1 + rnd(300);
		pid_t pid = fork();
		int rc, st;

		if (!pid)
			child("k", rec, from);
		CHECK(pid > 0);
		while (__atomic_load_n(&rec->ops, __ATOMIC_RELAXED) < stop &&
			!waitpid(pid, &st, WNOHANG))
			(void)usleep(rnd(200));
		CHECK(!kill(pid, SIGKILL));
		CHECK_EQ(waitpid(pid, &st, 0), pid);
		CHECK(WIFSIGNALED(st));
		rc = sh("qemu-img check -q k");
		if (rc != CHECK_OK && rc != LEAKS)
			said();
		CHECK(rc == CHECK_OK || rc == LEAKS);
		look_after_kill("k", rec);
		if (test_failed_)
			return;
		if (i % 4 == 3)
			SH_OK("qemu-img check -q -r leaks k && qemu-img snapshot -c s%u k", i);
		rnd_state += i;
	}
	(void)munmap(rec, sizeof(*rec));
}

static void killed_at_any_moment(void)
{
	static const char *const opts[] = { "cluster_size=64k", "cluster_size=4k",
		"cluster_size=512", "compat=0.10" };

	for (unsigned i = 0; i < ARRAY_SIZE(opts) && !test_failed_; i++)
		killed(opts[i], 12);
}

/* A file that may not grow, as one on a full disk may not: errors, and an image without a fault. */
static void no_room(void)
{
	struct rlimit old, small = { 0 };
	unsigned failed = 0;
	struct disk *d;

	CHECK(!getrlimit(RLIMIT_FSIZE, &old));
	(void)signal(SIGXFSZ, SIG_IGN);
	memset(model, 0, SIZE);
	SH_OK("rm -f a && qemu-img create -q -f qcow2 -o cluster_size=4k a %u", SIZE);
	d = open_disk("a", false, false, NULL);
	CHECK(d);
	small = (struct rlimit){ .rlim_cur = 2 * MIB, .rlim_max = old.rlim_max };
	CHECK(!setrlimit(RLIMIT_FSIZE, &small));
	for (unsigned i = 1; i < 600; i++) {
		uint32_t at = rnd(SECTORS), most = 1 + rnd(40), n = MIN(most, SECTORS - at);
		uint64_t off = (uint64_t)at * 512;
		int r;

		for (uint32_t k = 0; k < n; k++)
			stamp(buf + k * 512, at + k, i);
		r = request(d, DISK_WRITE, off, buf, n * 512);
		CHECK(!r || r == -EFBIG);
		failed += r != 0;
		CHECK_EQ(request(d, DISK_READ, off, buf, n * 512), 0);
		for (uint32_t k = 0; k < n; k++) {
			const uint8_t *now = buf + k * 512;
			uint8_t new[512];

			stamp(new, at + k, i);
			CHECK(!memcmp(now, new, 512) ||
				(r && !memcmp(now, model + off + k * 512, 512)));
		}
		memcpy(model + off, buf, n * 512);
		if (!rnd(20))
			(void)request(d, DISK_FLUSH, 0, NULL, 0);
	}
	CHECK(failed > 20);
	CHECK(!setrlimit(RLIMIT_FSIZE, &old));
	CHECK_EQ(request(d, DISK_FLUSH, 0, NULL, 0), 0);
	disk_close(d);
	CHECK_EQ(put_model("model"), 0);
	SH_OK("qemu-img check -q a && qemu-img compare -f qcow2 -F raw a model");
}

static void refused_by_name(void)
{
	static const struct {
		unsigned at;
		uint8_t v[8];
		unsigned n;
		const char *says;
	} t[] = {
		{ 0, "QFX", 3, "magic" },
		{ 4, { 0, 0, 0, 4 }, 4, "version 4" },
		{ 20, { 0, 0, 0, 8 }, 4, "cluster size" },
		{ 20, { 0, 0, 0, 22 }, 4, "cluster size" },
		{ 24, { 0x7f, 0xff }, 2, "over" },
		{ 32, { 0, 0, 0, 2 }, 4, "encrypted" },
		{ 36, { 0, 0, 0, 0 }, 4, "too short" },
		{ 36, { 0xff, 0xff, 0xff, 0xff }, 4, "L1 table" },
		{ 40, { 0, 0, 0, 0, 0, 1, 2, 3 }, 8, "L1 table" },
		{ 48, { 0 }, 8, "refcount table" },
		{ 56, { 0xff }, 1, "refcount table" },
		{ 56, { 0, 0, 0, 0 }, 4, "refcount table" },
		{ 72, { 0, 0, 0, 0, 0, 0, 0, 1 }, 8, "repair" },
		{ 72, { 0, 0, 0, 0, 0, 0, 0, 2 }, 8, "corrupt" },
		{ 72, { 0, 0, 0, 0, 0, 0, 0, 4 }, 8, "another file" },
		{ 72, { 0, 0, 0, 0, 0, 0, 0, 16 }, 8, "extended L2" },
		{ 72, { 0x80 }, 1, "bit 63" },
		{ 96, { 0, 0, 0, 7 }, 4, "refcounts" },
		{ 100, { 0, 0, 0, 8 }, 4, "length" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct error e = { 0 };
		struct disk *d;
		int fd;

		SH_OK("test -e good || qemu-img create -q -f qcow2 good %u; cp good a", SIZE);
		fd = image_fd("a", O_RDWR);
		CHECK_EQ(pwrite(fd, t[i].v, t[i].n, t[i].at), t[i].n);
		(void)close(fd);
		d = open_disk("a", false, false, &e);
		if (d || !strstr(e.msg, t[i].says))
			printf("# %u: %s, not %s\n", i, d ? "opened" : e.msg, t[i].says);
		CHECK(!d);
		CHECK(strstr(e.msg, t[i].says));
	}
}

static int never_opened(void *arg, const char *name)
{
	(void)name;
	++*(unsigned *)arg;
	return -EPERM;
}

/* Whether a descriptor leads to a file that the test did not open. */
static bool foreign_fd(int mine)
{
	for (int fd = 3; fd < 40; fd++) {
		char path[32], to[256];
		ssize_t n;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, to, sizeof(to) - 1);
		if (n <= 0 || fd == mine)
			continue;
		to[n] = 0;
		if (to[0] == '/' && !strstr(to, "memfd:") && strncmp(to, "/dev/", 5) != 0)
			return printf("# open: %s\n", to) > 0;
	}
	return false;
}

static void try_image(const uint8_t *image, size_t n, bool readonly, void *called, bool *opened)
{
	struct disk_cfg cfg = { .format = DISK_QCOW2,
		.sync = DISK_SYNC_NONE,
		.readonly = readonly,
		.open_backing = called ? never_opened : NULL,
		.backing_arg = called };
	struct disk *d;

	cfg.fd = memfd_create("image", MFD_CLOEXEC);
	CHECK(cfg.fd >= 0 && write(cfg.fd, image, n) == (ssize_t)n);
	*opened = !disk_open(&cfg, &d, NULL);
	CHECK(!foreign_fd(-1));
	if (!*opened)
		return;
	for (unsigned i = 0; i < 8 && d->bytes >= 512; i++) {
		uint64_t at = i & 1 ? (uint64_t)rnd(SECTORS) * 512 : 0, len = 512U << rnd(8);

		if (at >= d->bytes)
			continue;
		len = MIN(len, d->bytes - at);
		(void)request(d, i < 4 ? DISK_READ : i < 6 ? DISK_WRITE : DISK_ZERO, at, buf, len);
	}
	disk_close(d);
}

/* 10,000 images with some bytes of header or tables changed: an error, or a disk of nonsense. */
static void mutated(void)
{
	static uint8_t image[8][2 * MIB];
	size_t len[8] = { 0 };
	unsigned good = 0, called = 0, kinds = 0;

	memset(model, 0x5a, SIZE);
	CHECK_EQ(put_model("raw"), 0);
	SH_OK("rm -f m?; qemu-img create -q -f qcow2 -o cluster_size=4k m0 %u; qemu-io -f qcow2 -c 'write -P 3 1M 400k' m0",
		SIZE);
	SH_OK("qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=512 m1 %u; qemu-io -f qcow2 -c 'write -P 3 1k 40k' m1",
		SIZE);
	SH_OK("qemu-img create -q -f qcow2 -F raw -b /etc/passwd m2 %u", SIZE);
	SH_OK("qemu-img convert -q -c -f raw -O qcow2 raw m3; qemu-img snapshot -c s m3");
	for (unsigned i = 0; i < 4; i++) {
		char name[] = { 'm', (char)('0' + i), 0 };
		int fd = image_fd(name, O_RDONLY);
		ssize_t n = read(fd, image[kinds], sizeof(image[0]));

		CHECK(n > 0);
		len[kinds++] = (size_t)n;
		(void)close(fd);
	}
	for (unsigned i = 0; i < 10000 && !test_failed_; i++) {
		static uint8_t work[2 * MIB];
		unsigned k = rnd(kinds);
		bool opened = false;

		memcpy(work, image[k], len[k]);
		for (unsigned c = 1 + rnd(6); c; c--) {
			/* the header for the most part, else anywhere in the first tables */
			uint32_t at = rnd(4) ? rnd(112) & ~(rnd(2) * 7U) : rnd((uint32_t)len[k]);

			work[at] = rnd(3) ? (uint8_t)rnd(256) : (uint8_t)(rnd(2) * 255);
		}
		try_image(work, len[k], i & 1, i & 2 ? &called : NULL, &opened);
		good += opened;
	}
	printf("# %u of 10000 opened, %u asked for a backing file\n", good, called);
	CHECK(good > 500 && good < 9500);
	CHECK(called);
}

/* Whether the medium is synced between the last write at @first and the first one at @then. */
static bool synced_between(uint64_t first, uint64_t n, uint64_t then)
{
	bool written = false, synced = false;

	for (unsigned i = 0; i < nevents; i++) {
		if (event[i] == SYNCED)
			synced = true;
		else if (event[i] >= first && event[i] < first + n)
			written = !(synced = false);
		else if (event[i] >= then && event[i] < then + n)
			return written && synced;
	}
	return false;
}

/* Refcounts that had to make room are on the medium before tables that count on them; and the
 * tables, when the write of L1 failed, before L1. */
static void order(void)
{
	struct qcow2_tab *t = NULL;
	struct qcow2 *q;
	struct disk *d;
	uint64_t rb, l2;

	SH_OK("rm -f a && qemu-img create -q -f qcow2 -o cluster_size=4k a %u", SIZE);
	d = open_disk("a", false, false, NULL);
	CHECK(d);
	q = (struct qcow2 *)d;
	CHECK_EQ(request(d, DISK_WRITE, 0, model, 4096), 0);
	for (unsigned i = 0; i < q->rb.n; i++)
		if (q->rb.tab[i].lo != q->rb.tab[i].hi)
			t = &q->rb.tab[i];
	CHECK(t);
	rb = t->off;
	l2 = q->l1[0] & QCOW2_OFFSET;
	nevents = 0;
	/* as the cache does it */
	CHECK_EQ(qcow2_tab_write(q, t), 0);
	fail_at = q->l1_off;
	CHECK_EQ(request(d, DISK_FLUSH, 0, NULL, 0), -EIO);
	fail_at = 0;
	CHECK(synced_between(rb, q->csize, l2));
	CHECK_EQ(request(d, DISK_FLUSH, 0, NULL, 0), 0);
	CHECK(synced_between(l2, q->csize, q->l1_off));
	disk_close(d);
	SH_OK("qemu-img check -q a");
}

/* A table that is counted as free is not given to data; and the next who opens the image knows. */
static void table_counted_free(void)
{
	static const char *const kinds[] = { "an L2 table", "a refcount block", "snapshots" };

	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct error e = { 0 };
		uint8_t be[8], was[4096] = { 0 }, is[4096] = { 0 };
		uint64_t off, rb;
		struct qcow2 *q;
		struct disk *d;
		ssize_t len;
		int fd;

		SH_OK("rm -f a && qemu-img create -q -f qcow2 -o cluster_size=4k a %u && "
		      "qemu-io -f qcow2 -c 'write -P 3 0 64k' a && qemu-img snapshot -c s a",
			SIZE);
		d = open_disk("a", true, false, NULL);
		CHECK(d);
		q = (struct qcow2 *)d;
		rb = q->rt[0];
		off = k == 0 ? q->l1[0] & QCOW2_OFFSET : k == 1 ? rb : q->snap_off;
		CHECK(off && rb);
		disk_close(d);
		fd = image_fd("a", O_RDWR);
		put_be16(be, 0);
		CHECK_EQ(pwrite(fd, be, 2, (off_t)(rb + 2 * (off / 4096))), 2);
		len = pread(fd, was, 4096, (off_t)off); /* the file may end there */
		CHECK(len > 0);
		d = open_disk("a", false, false, NULL);
		CHECK(d);
		memset(buf, 9, 4096);
		for (unsigned i = 0; i < 64; i++)
			if (request(d, DISK_WRITE, 4 * MIB + i * 4096, buf, 4096))
				break;
		CHECK_EQ(request(d, DISK_WRITE, 2 * MIB, buf, 4096), -EUCLEAN);
		disk_close(d);
		CHECK(pread(fd, is, (size_t)len, (off_t)off) == len);
		CHECK(!memcmp(was, is, 4096));
		CHECK_EQ(pread(fd, be, 8, 72), 8);
		CHECK(be[7] & 2);
		(void)close(fd);
		CHECK(!open_disk("a", false, false, &e));
		CHECK(strstr(e.msg, "marked as corrupt"));
	}
}

static const struct test_case cases[] = {
	TEST(empty_images),
	TEST(from_qemu_io),
	TEST(compressed),
	TEST(snapshots),
	TEST(backing_files),
	TEST(odd_backing),
	TEST(into_a_window),
	TEST(direct_io),
	TEST(killed_at_any_moment),
	TEST(no_room),
	TEST(refused_by_name),
	TEST(order),
	TEST(table_counted_free),
	TEST(mutated),
};

IMAGE_MAIN(cases)
