// SPDX-License-Identifier: Apache-2.0
/*
 * Fuzz target: the state of a saved VM, loaded into the real devices over the fake hypervisor.
 *
 * How it works: the input is the state, to which a right header and empty RAM are added. It is for
 * a VM with the devices of a container, or else for one that has a disk, an interface and a balloon
 * too. What loads is saved, and that must load; then it gets its streams and is started, so that
 * every device meets its rings, paused, saved and freed. Nothing may be left: descriptors are
 * counted.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fuzz.h"
#include "util/bytes.h"
#include "util/err.h"
#include "vmm.h"

#define STATE_AT  4096
#define STATE_MAX (1U << 20)
#define RAM_AT	  (2U << 20)
#define RAM	  (128U << 20)

static int root = -1, in_fd = -1, out_fd = -1, disk_fd = -1;
static bool devices;

static uint64_t checksum(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

/* The tree that the seeds' guests had open, in small. */
static void set_up(void)
{
	char dir[] = "/tmp/fuzz-snapshot-XXXXXX";
	static const char *const dirs[] = { "bin", "data", "data/dir", "dev", "proc" };
	static const char *const files[] = { "work.sh", "bin/busybox", "bin/cat", "data/held",
		"data/log", "data/dir/moved-here", "data/dir/file" };

	(void)signal(SIGPIPE, SIG_IGN);
	FUZZ_CHECK(mkdtemp(dir));
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(root >= 0);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		FUZZ_CHECK(!mkdirat(root, dirs[i], 0755));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		int fd = openat(root, files[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

		FUZZ_CHECK(fd >= 0 && write(fd, "content\n", 8) == 8);
		(void)close(fd);
	}
	in_fd = memfd_create("in", MFD_CLOEXEC);
	out_fd = memfd_create("out", MFD_CLOEXEC);
	disk_fd = memfd_create("disk", MFD_CLOEXEC);
	FUZZ_CHECK(in_fd >= 0 && out_fd >= 0 && disk_fd >= 0 && !ftruncate(disk_fd, 65536));
}

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	FUZZ_CHECK(d);
	while (readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* As the guest of the seed had them. What is behind the interface goes away at once. */
static void add_devices(struct vmm_config *cfg)
{
	int sv[2];

	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv));
	(void)close(sv[1]);
	cfg->ndisks = cfg->nnics = 1;
	cfg->disk[0] = (struct vmm_disk){ .fd = fcntl(disk_fd, F_DUPFD_CLOEXEC, 3) };
	cfg->nic[0] = (struct vmm_nic){ .kind = VMM_NIC_STREAM, .fd = sv[0], .mac = { 2 } };
	cfg->balloon = true;
}

static int load(struct vmm **vm, int fd)
{
	struct vmm_config cfg = { .vcpus = 1,
		.ram_bytes = RAM,
		.ram_memfd = true,
		.kernel_fd = -1,
		.nfs = 1,
		.rng = true,
		.vsock = true,
		.vsock_knock_port = 6,
		.console = true };
	struct error e = { 0 };
	int r;

	FUZZ_CHECK(!vmm_new(-1, vm, &e));
	memcpy(cfg.fs[0].tag, "root", 5);
	cfg.fs[0].root_fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
	if (devices)
		add_devices(&cfg);
	r = vmm_load(*vm, &cfg, fd, &e);
	FUZZ_CHECK(!r == !e.msg[0]);
	return r;
}

/* Some streams get a reader or a writer, some come back to nobody. */
static void reattach(struct vmm *vm, unsigned which)
{
	for (uint32_t id = 1; id < 12; id++) {
		int p[2];

		if (!(which >> (id % 3) & 1))
			continue;
		FUZZ_CHECK(!pipe2(p, O_CLOEXEC));
		(void)vmm_vsock_reattach(vm, id, id % 2 ? p[0] : -1, id % 2 ? -1 : p[1]);
		(void)close(p[id % 2]);
	}
}

static void save_again(struct vmm *vm)
{
	struct vmm *again = NULL;
	struct error e = { 0 };

	FUZZ_CHECK(!vmm_save(vm, out_fd, &e));
	FUZZ_CHECK(!load(&again, out_fd));
	vmm_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t head[48] = "KRUNSNAP";
	struct vmm *vm = NULL;
	struct error e = { 0 };
	unsigned fds;
	int r;

	if (root < 0)
		set_up();
	if (len > STATE_MAX)
		return 0;
	fds = count_fds();
	put_le32(head + 8, 1);
	put_le64(head + 16, len);
	put_le64(head + 24, checksum(data, len));
	put_le64(head + 32, RAM_AT);
	put_le64(head + 40, checksum(head, 40));
	FUZZ_CHECK(!ftruncate(in_fd, 0) && !ftruncate(in_fd, (off_t)RAM_AT + RAM));
	FUZZ_CHECK(pwrite(in_fd, head, sizeof(head), 0) == (ssize_t)sizeof(head));
	FUZZ_CHECK(pwrite(in_fd, data, len, STATE_AT) == (ssize_t)len);
	devices = false;
	r = load(&vm, in_fd);
	if (r) {
		vmm_free(vm);
		devices = true;
		r = load(&vm, in_fd);
	}
	if (!r) {
		save_again(vm);
		reattach(vm, len ? data[len - 1] : 0);
		/* its devices meet their rings, which are all zeroes; that ends it, mostly */
		r = vmm_start(vm, &e);
		if (!r && !vmm_pause(vm))
			save_again(vm);
	}
	vmm_free(vm);
	FUZZ_CHECK(count_fds() == fds);
	return 0;
}
