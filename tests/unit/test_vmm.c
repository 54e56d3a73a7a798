// SPDX-License-Identifier: Apache-2.0
/* The life of a VM over the fake hypervisor, and each way in which it fails. */
/*
 * How it works
 *
 * Every case begins and ends with the same number of open descriptors, and close() is watched: a
 * descriptor that is closed twice may by then be somebody else's. The kernel is a few bytes of ELF;
 * what it would do, the test pushes into the vCPUs.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/arch.h"
#include "core/vm.h"
#include "tests/fake/fake_hv.h"
#include "tests/unit/test.h"
#include "tests/unit/vmm_rig.h"
#include "util/bytes.h"
#include "virtio/mmio.h"
#include "virtio/vdev.h"
#include "vmm.h"

#define STREAM 7U

/* What TSan watches itself cannot be watched here too. */
#ifndef __SANITIZE_THREAD__
static unsigned closed_twice; /* atomic */

int close(int fd)
{
	int r = (int)syscall(SYS_close, fd);

	if (r < 0 && errno == EBADF)
		__atomic_add_fetch(&closed_twice, 1, __ATOMIC_RELAXED);
	return r;
}
#else
static const unsigned closed_twice;
#endif

static struct vmm *vm;
static struct error e;
static unsigned fds_before;
static int root = -1;

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	(void)closedir(d);
	return n;
}

/* Every device there is, and a console port whose two sides are one socket. */
static struct vmm_config full_config(unsigned vcpus, uint64_t ram)
{
	struct vmm_config c = { .vcpus = vcpus,
		.ram_bytes = ram,
		.ram_memfd = true,
		.no_thp = true,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.nfs = 1,
		.ndisks = 1,
		.rng = true,
		.vsock = true,
		.console = true,
		.nports = 1 };
	int s[2] = { -1, -1 };

	memcpy(c.fs[0].tag, "root", 5);
	c.fs[0].root_fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
	c.disk[0].fd = memfd_create("disk", MFD_CLOEXEC);
	(void)!ftruncate(c.disk[0].fd, 1 << 20);
	(void)socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s);
	c.port[0] = (struct vmm_port){ .in_fd = s[0], .out_fd = s[0], .console = true };
	(void)close(s[1]);
	return c;
}

static void begin(const struct fake_hv_opts *o)
{
	fds_before = count_fds();
	fake_hv_set_opts(o);
	e = (struct error){ 0 };
	vm = NULL;
}

static bool ended_clean(void)
{
	unsigned now;

	vmm_free(vm);
	vm = NULL;
	now = count_fds();
	if (now != fds_before)
		printf("# %u descriptors, %u before\n", now, fds_before);
	return now == fds_before && !closed_twice && !fake_hv_last();
}

static int make(const struct fake_hv_opts *o, unsigned vcpus, uint64_t ram)
{
	struct vmm_config c;
	int r;

	begin(o);
	c = full_config(vcpus, ram);
	r = vmm_new(-1, &vm, &e);
	if (!r)
		r = vmm_build(vm, &c, &e);
	if (r)
		printf("# %s\n", e.msg);
	return r;
}

static int guest_says(enum hv_exit_kind kind)
{
	struct hv_exit x = { .kind = kind, .why = "told to" };

	return fake_hv_push(fake_hv_last(), 0, &x);
}

static void built_and_run(void)
{
	static const struct {
		unsigned vcpus;
		uint64_t ram;
	} t[] = { { 1, 32 * MIB }, { 2, 64 * MIB }, { 16, 32 * MIB }, { 4, 3329 * MIB },
		{ 16, 8192 * MIB } };

	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct vmm_stats st;
		struct pollfd p;
		struct hv *hv;
		uint64_t v;
		uint8_t *code;
		bool pit;

		CHECK_EQ(make(NULL, t[i].vcpus, t[i].ram), 0);
		hv = fake_hv_last();
		CHECK(fake_hv_has_irqchip(hv, &pit) && !pit);
		code = fake_hv_ram(hv, ENTRY, 4);
		CHECK(code && code[0] == 0xf4);
		CHECK(!fake_hv_ram(hv, arch_layout.gap_start, 1));
		/* the last byte of RAM, behind the gap when it does not fit below */
		v = t[i].ram > arch_layout.gap_start
			? t[i].ram - arch_layout.gap_start + arch_layout.gap_end
			: t[i].ram;
		CHECK(fake_hv_ram(hv, v - 1, 1) && !fake_hv_ram(hv, v, 1));
		CHECK_EQ(fake_hv_regs(hv, 0)->rip, ENTRY);
		CHECK(fake_hv_cpuid(hv, t[i].vcpus - 1)->n);
		CHECK(!fake_hv_regs(hv, t[i].vcpus));
		CHECK_EQ(vmm_state(vm), VMM_RUNNING);
		CHECK_EQ(vmm_start(vm, &e), 0);
		CHECK_EQ(vmm_start(vm, &e), -EINVAL);
		CHECK(e.msg[0]);
		for (unsigned n = 0; n < 5; n++) {
			CHECK_EQ(fake_hv_mmio_read(
					 hv, 0, arch_layout.mmio_base + n * MMIO_LEN, &v, 4),
				0);
			CHECK_EQ(v, 0x74726976);
		}
		CHECK_EQ(fake_hv_mmio_read(
				 hv, t[i].vcpus - 1, arch_layout.mmio_base + 5 * MMIO_LEN, &v, 4),
			0);
		CHECK_EQ(v, 0xffffffff);
		vmm_stats(vm, &st);
		CHECK_EQ(st.ram_bytes, t[i].ram);
		CHECK_EQ(st.mmio_exits, 6);
		p = (struct pollfd){ .fd = vmm_event_fd(vm), .events = POLLIN };
		CHECK_EQ(poll(&p, 1, 0), 0);
		CHECK_EQ(guest_says(HV_EXIT_SHUTDOWN), 0);
		CHECK_EQ(vmm_wait(vm), VMM_END_GUEST);
		CHECK_EQ(poll(&p, 1, 10000), 1);
		CHECK(ended_clean());
	}
}

/* A window above RAM, which the driver finds by the transport's registers; a fault of the guest in
 * it ends the VM only when nothing can be mended, again and again. */
static void window(void)
{
	const uint64_t at = 4ULL << 30, fs = arch_layout.mmio_base + 2 * MMIO_LEN;
	struct vmm_config c;
	struct hv *hv;
	uint64_t v;

	for (int ro = 0; ro < 2; ro++) {
		begin(NULL);
		c = full_config(1, 32 * MIB);
		c.fs[0].dax_bytes = 8 * MIB;
		c.fs[0].readonly = ro;
		CHECK_EQ(vmm_new(-1, &vm, &e), 0);
		CHECK_EQ(vmm_build(vm, &c, &e), 0);
		hv = fake_hv_last();
		CHECK(fake_hv_ram(hv, at, 8 * MIB) && !fake_hv_ram(hv, at + 8 * MIB, 1));
		CHECK_EQ(vmm_start(vm, &e), 0);
		CHECK_EQ(fake_hv_mmio_read(hv, 0, fs + 8, &v, 4), 0);
		CHECK_EQ(v, 26);
		CHECK_EQ(fake_hv_mmio_write(hv, 0, fs + 0xac, 0, 4), 0);
		CHECK_EQ(fake_hv_mmio_read(hv, 0, fs + 0xb0, &v, 4), 0);
		CHECK_EQ(v, 8 * MIB);
		CHECK_EQ(fake_hv_mmio_read(hv, 0, fs + 0xb8, &v, 4), 0);
		CHECK_EQ(v, 0);
		CHECK_EQ(fake_hv_mmio_read(hv, 0, fs + 0xbc, &v, 4), 0);
		CHECK_EQ(v, 1);
		/* another vCPU may have mended it: it is tried again, and what works counts */
		for (unsigned i = 0; i < 8; i++)
			CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
		CHECK_EQ(guest_says(HV_EXIT_INTR), 0);
		for (unsigned i = 0; i < 8; i++)
			CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
		CHECK_EQ(fake_hv_drain(hv, 0), 0);
		CHECK_EQ(vmm_state(vm), VMM_RUNNING);
		CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
		CHECK_EQ(vmm_wait(vm), VMM_END_FAILED);
		CHECK_STR(vmm_why(vm), "vCPU 0: told to");
		CHECK(ended_clean());
	}
}

/* What is mapped could not be unmounted. */
static void window_or_unmount(void)
{
	struct vmm_config c;

	begin(NULL);
	c = full_config(1, 32 * MIB);
	c.fs[0].dax_bytes = 8 * MIB;
	c.fs[0].drop_idle = true;
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), 0);
	CHECK(!fake_hv_ram(fake_hv_last(), 4ULL << 30, 1));
	CHECK(ended_clean());
}

static unsigned mended;		/* atomic: calls */
static unsigned mended_unasked; /* atomic */

static unsigned mend_twice(struct vdev *v)
{
	unsigned n = __atomic_add_fetch(&mended, 1, __ATOMIC_RELAXED);

	(void)v;
	return MIN(n, 2U) + __atomic_load_n(&mended_unasked, __ATOMIC_RELAXED);
}

/* A fault is the device's to mend, on its loop; what it mends counts anew, also what it mended
 * without this vCPU, and so does a fault long after the last. */
static void mending(void)
{
	struct vdev_class cls;
	struct vmm_config c;
	struct vdev *v;

	begin(NULL);
	c = full_config(1, 32 * MIB);
	c.fs[0].dax_bytes = 8 * MIB;
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), 0);
	v = vm->slot[2].v;
	CHECK(v->shm_len && v->cls->mend);
	cls = *v->cls;
	cls.mend = mend_twice;
	v->cls = &cls;
	mended = mended_unasked = 0;
	CHECK_EQ(vmm_start(vm, &e), 0);
	/* a device that does not run has promised nothing */
	CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
	CHECK_EQ(fake_hv_drain(fake_hv_last(), 0), 0);
	CHECK_EQ(mended, 0);
	v->running = true;
	for (unsigned i = 0; i < 2 + 8; i++)
		CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
	CHECK_EQ(fake_hv_drain(fake_hv_last(), 0), 0);
	CHECK_EQ(mended, 10);
	CHECK_EQ(vmm_state(vm), VMM_RUNNING);
	__atomic_add_fetch(&mended_unasked, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 1 + 8; i++)
		CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
	CHECK_EQ(fake_hv_drain(fake_hv_last(), 0), 0);
	CHECK_EQ(vmm_state(vm), VMM_RUNNING);
	vm->vcpu[0].fault_ns -= 11000000000ULL;
	for (unsigned i = 0; i < 8; i++)
		CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
	CHECK_EQ(fake_hv_drain(fake_hv_last(), 0), 0);
	CHECK_EQ(vmm_state(vm), VMM_RUNNING);
	CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
	CHECK_EQ(vmm_wait(vm), VMM_END_FAILED);
	CHECK(ended_clean());
}

static void ends(void)
{
	CHECK_EQ(make(NULL, 2, 32 * MIB), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK_EQ(fake_hv_push(fake_hv_last(), 1,
			 &(struct hv_exit){ .kind = HV_EXIT_PIO,
				 .write = true,
				 .addr = 0x64,
				 .len = 1,
				 .count = 1,
				 .data = &(uint8_t){ 0xfe } }),
		0);
	CHECK_EQ(vmm_wait(vm), VMM_END_GUEST);
	CHECK_STR(vmm_why(vm), "the guest reset the machine");
	CHECK(!vmm_panicked(vm) && vmm_drain(vm, 0));
	CHECK(ended_clean());

	CHECK_EQ(make(NULL, 1, 32 * MIB), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK_EQ(guest_says(HV_EXIT_FAIL), 0);
	CHECK_EQ(vmm_wait(vm), VMM_END_FAILED);
	CHECK_STR(vmm_why(vm), "vCPU 0: told to");
	CHECK_EQ(vmm_pause(vm), -ESRCH);
	CHECK_EQ(vmm_resume(vm), -ESRCH);
	CHECK(ended_clean());

	CHECK_EQ(make(NULL, 1, 32 * MIB), 0);
	CHECK_EQ(fake_hv_push_error(fake_hv_last(), 0, EFAULT), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK_EQ(vmm_wait(vm), VMM_END_FAILED);
	CHECK(strstr(vmm_why(vm), "vCPU 0: run: "));
	CHECK(ended_clean());

	/* memory that the host cannot give: there is no window whose file could have shrunk */
	CHECK_EQ(make(NULL, 1, 32 * MIB), 0);
	CHECK_EQ(guest_says(HV_EXIT_FAULT), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK_EQ(vmm_wait(vm), VMM_END_FAILED);
	CHECK_STR(vmm_why(vm), "vCPU 0: told to");
	CHECK(ended_clean());

	/* stopped: while it runs, before it runs, and freed as it runs */
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(make(NULL, 3, 32 * MIB), 0);
		if (i == 1)
			vmm_stop(vm);
		CHECK_EQ(vmm_start(vm, &e), 0);
		if (!i)
			vmm_stop(vm);
		if (i < 2)
			CHECK_EQ(vmm_wait(vm), VMM_END_STOPPED);
		CHECK(ended_clean());
	}
}

/* Arguments stand behind the descriptions of devices, or there is no room for them. */
static void command_line(void)
{
	static char end[LIM_CMDLINE];
	struct vmm_config c;
	char *line = NULL;

	begin(NULL);
	c = full_config(1, 32 * MIB);
	c.cmdline_end = " -- \"a\"";
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), 0);
	line = fake_hv_ram(fake_hv_last(), 0x20000, LIM_CMDLINE);
	CHECK(line && !strncmp(line, "quiet virtio_mmio.device=", 25));
	CHECK_STR(strrchr(line, ':'), ":9 -- \"a\"");
	CHECK(ended_clean());

	begin(NULL);
	c = full_config(1, 32 * MIB);
	memset(end, 'x', sizeof(end) - 1);
	c.cmdline_end = end;
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), -E2BIG);
	CHECK(ended_clean());
}

/* Each call to the hypervisor fails once: a sentence, and nothing is left. */
static void each_step_of_build_fails(void)
{
	unsigned total;

	begin(&(struct fake_hv_opts){ .open_error = EACCES });
	CHECK_EQ(vmm_new(-1, &vm, &e), -EACCES);
	CHECK(e.msg[0]);
	CHECK(ended_clean());
	CHECK_EQ(make(NULL, 2, 3500 * MIB), 0);
	total = fake_hv_calls();
	CHECK(total > 20); /* memory, interrupts, kicks, processors */
	CHECK(ended_clean());
	for (unsigned i = 1; i <= total; i++) {
		const struct fake_hv_opts o = { .fail_call = i };
		struct vmm_config c;

		begin(&o);
		c = full_config(2, 3500 * MIB);
		CHECK_EQ(vmm_new(-1, &vm, &e), 0);
		CHECK_EQ(vmm_build(vm, &c, &e), -EIO);
		CHECK(e.msg[0]);
		CHECK_EQ(c.kernel_fd, -1);
		CHECK_EQ(vmm_start(vm, NULL), -EINVAL);
		CHECK_EQ(vmm_pause(vm), -ESRCH);
		CHECK(ended_clean());
	}
	begin(&(struct fake_hv_opts){ .max_vcpus = 2 });
	struct vmm_config c = full_config(3, 32 * MIB);

	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), -EINVAL);
	CHECK(ended_clean());
}

/* Shares of virtual entries. */
static void bad_virtual(void)
{
	static const struct vmm_fs_virt good = { .path = "d", .dir = true, .mode = 0755 };
	static const struct vmm_fs_virt bad = { .path = "d/f", .mode = 0644 };
	static const int want[] = { 0, 0, -ENOENT, -EINVAL, -EINVAL, -EINVAL };

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		struct vmm_config c;
		struct vmm_fs *f = &c.fs[0];

		begin(NULL);
		c = full_config(1, 32 * MIB);
		f->virt = i == 2 ? &bad : &good;
		f->nvirt = i == 3 ? VMM_MAX_FS_VIRT + 1 : 1;
		f->empty = i == 1 || i == 4;
		if (i == 1 || i == 5) {
			(void)close(f->root_fd);
			f->root_fd = -1;
		}
		CHECK_EQ(vmm_new(-1, &vm, &e), 0);
		CHECK_EQ(vmm_build(vm, &c, &e), want[i]);
		CHECK(!!e.msg[0] == !!want[i]);
		CHECK(ended_clean());
	}
}

static void bad_configs(void)
{
	static char line[4096];

	for (unsigned i = 0; i < 16; i++) {
		struct vmm_config c;
		int want = -EINVAL;

		begin(NULL);
		c = full_config(1, 32 * MIB);
		switch (i) {
		case 0:
			c.vcpus = 0;
			break;
		case 1:
			c.vcpus = VMM_VCPUS_MAX + 1;
			break;
		case 2:
			c.ram_bytes = 32 * MIB - 4096;
			break;
		case 3:
			c.ram_bytes = 32 * MIB + 1;
			break;
		case 4:
			c.ram_bytes = UINT64_MAX & ~4095ULL;
			break;
		case 5:
			(void)close(c.kernel_fd);
			c.kernel_fd = -1;
			break;
		case 6:
			memset(c.fs[0].tag, 'x', sizeof(c.fs[0].tag));
			break;
		case 7:
			c.fs[0].tag[0] = 0;
			break;
		case 8:
			c.fs[0].dax_bytes = MIB;
			break;
		case 9:
			c.fs[0].cache = (enum vmm_fs_cache)3;
			break;
		case 10:
			c.fs[0].cache = (enum vmm_fs_cache) - 1;
			break;
		case 11:
			memset(c.port[0].name, 'x', sizeof(c.port[0].name));
			break;
		case 12:
			c.nports = VMM_MAX_PORTS + 1;
			for (unsigned p = 1; p < VMM_MAX_PORTS; p++)
				c.port[p].in_fd = c.port[p].out_fd = -1;
			break;
		case 13:
			c.nfs = VMM_MAX_FS + 1;
			for (unsigned f = 1; f < VMM_MAX_FS; f++)
				c.fs[f].root_fd = -1;
			break;
		case 14:
			memset(line, 'x', sizeof(line) - 1);
			c.cmdline = line;
			want = -E2BIG;
			break;
		default:
			(void)close(c.kernel_fd);
			c.kernel_fd = memfd_create("empty", MFD_CLOEXEC);
			want = -ENOEXEC;
			break;
		}
		CHECK_EQ(vmm_new(-1, &vm, &e), 0);
		CHECK_EQ(vmm_build(vm, &c, &e), want);
		CHECK(e.msg[0]);
		CHECK(ended_clean());
	}
	/* twice */
	CHECK_EQ(make(NULL, 1, 32 * MIB), 0);
	struct vmm_config again = full_config(1, 32 * MIB);

	CHECK_EQ(vmm_build(vm, &again, &e), -EINVAL);
	CHECK(ended_clean());
}

/* As many ports and file systems as the interface offers. */
static void most_devices(void)
{
	struct vmm_config c;

	begin(NULL);
	c = full_config(1, 32 * MIB);
	c.nports = VMM_MAX_PORTS;
	for (unsigned i = 1; i < c.nports; i++)
		c.port[i] = (struct vmm_port){ .in_fd = -1,
			.out_fd = fcntl(root, F_DUPFD_CLOEXEC, 3),
			.name = { 'p', (char)('0' + i) } };
	c.nfs = VMM_MAX_FS;
	for (unsigned i = 1; i < c.nfs; i++) {
		c.fs[i].root_fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
		c.fs[i].tag[0] = (char)('0' + i);
	}
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK(ended_clean());
}

static bool wr(uint64_t base, uint64_t reg, uint32_t v)
{
	return !fake_hv_mmio_write(fake_hv_last(), 0, base + reg, v, 4);
}

/* A driver of the entropy device: one buffer. True when it came back, with an interrupt. */
static bool rng_works(void)
{
	struct hv *hv = fake_hv_last();
	const struct timespec ms = { .tv_nsec = 1000000 };
	uint64_t base = arch_layout.mmio_base + MMIO_LEN, irqs;
	unsigned gsi = arch_layout.gsis[1];
	uint8_t *q = fake_hv_ram(hv, 0x400000, 0x4000);

	if (!q)
		return false;
	irqs = fake_hv_irqs(hv, gsi);
	/* before the memory: a queue that still runs is looked at when its VM goes on */
	if (!wr(base, 0x70, 0))
		return false;
	memset(q, 0, 0x4000);
	put_le64(q, 0x403000); /* the one descriptor: 32 bytes to write */
	put_le32(q + 8, 32);
	put_le16(q + 12, 2);
	if (!wr(base, 0x70, 3) || !wr(base, 0x24, 1) || !wr(base, 0x20, 1) || !wr(base, 0x70, 11) ||
		!wr(base, 0x30, 0) || !wr(base, 0x38, 4) || !wr(base, 0x80, 0x400000) ||
		!wr(base, 0x90, 0x401000) || !wr(base, 0xa0, 0x402000) || !wr(base, 0x44, 1) ||
		!wr(base, 0x70, 15))
		return false;
	__atomic_store_n((uint16_t *)(void *)(q + 0x1002), 1, __ATOMIC_RELEASE);
	if (!wr(base, 0x50, 0))
		return false;
	for (unsigned i = 0; i < 10000; i++) {
		if (__atomic_load_n((uint16_t *)(void *)(q + 0x2002), __ATOMIC_ACQUIRE) == 1 &&
			fake_hv_irqs(hv, gsi) > irqs)
			return true;
		(void)nanosleep(&ms, NULL);
	}
	return false;
}

/* With and without event descriptors, and when they are offered but not given. */
static void interrupts_and_kicks(void)
{
	for (unsigned i = 0; i < 16; i++) {
		const struct fake_hv_opts o = { .no_irqfd = i & 1,
			.no_ioeventfd = i & 2,
			.irqfd_notsup = i & 4,
			.ioeventfd_notsup = i & 8 };
		struct vmm_stats st;

		CHECK_EQ(make(&o, 1, 32 * MIB), 0);
		CHECK_EQ(vmm_start(vm, &e), 0);
		CHECK(rng_works());
		vmm_stats(vm, &st);
		/* 12 registers, and the kick where it is trapped */
		CHECK_EQ(st.mmio_exits, 12 + !!(i & 10));
		CHECK(st.irqs >= 1);
		CHECK(ended_clean());
	}
}

static int load(int fd, unsigned vcpus, uint64_t ram, const struct fake_hv_opts *o)
{
	struct vmm_config c;
	int r;

	fake_hv_set_opts(o);
	e = (struct error){ 0 };
	c = full_config(vcpus, ram);
	(void)close(c.kernel_fd);
	c.kernel_fd = -1;
	r = vmm_new(-1, &vm, &e);
	return r ? r : vmm_load(vm, &c, fd, &e);
}

static void pause_save_load(void)
{
	unsigned total_save, total_load;
	struct arch_regs regs;
	int fd = memfd_create("saved", MFD_CLOEXEC);

	CHECK_EQ(make(NULL, 3, 64 * MIB), 0);
	CHECK_EQ(vmm_pause(vm), -ESRCH);
	CHECK_EQ(vmm_save(vm, fd, &e), -EINVAL);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK(rng_works());
	CHECK_EQ(vmm_resume(vm), 0);
	CHECK_EQ(vmm_pause(vm), 0);
	CHECK_EQ(vmm_pause(vm), 0);
	/* each call fails once, and the VM can still be saved */
	fake_hv_set_opts(NULL);
	e = (struct error){ 0 };
	CHECK_EQ(vmm_save(vm, fd, &e), 0);
	total_save = fake_hv_calls();
	CHECK_EQ(total_save, 4);
	for (unsigned i = 1; i <= total_save; i++) {
		fake_hv_set_opts(&(struct fake_hv_opts){ .fail_call = i });
		e = (struct error){ 0 };
		CHECK_EQ(vmm_save(vm, fd, &e), -EIO);
		CHECK(e.msg[0]);
	}
	CHECK_EQ(vmm_save(vm, root, NULL), -EBADF); /* a directory opened for its path */
	fake_hv_set_opts(NULL);
	CHECK_EQ(vmm_save(vm, fd, &e), 0);
	CHECK_EQ(vmm_resume(vm), 0);
	CHECK_EQ(fake_hv_resumed(fake_hv_last(), 2), 1);
	CHECK(rng_works());
	regs = *fake_hv_regs(fake_hv_last(), 0);
	vmm_free(vm);

	CHECK_EQ(load(fd, 3, 64 * MIB, NULL), 0);
	total_load = fake_hv_calls();
	CHECK(!memcmp(&regs, fake_hv_regs(fake_hv_last(), 0), sizeof(regs)));
	CHECK_EQ(*(uint8_t *)fake_hv_ram(fake_hv_last(), ENTRY, 1), 0xf4);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK_EQ(fake_hv_resumed(fake_hv_last(), 2), 1);
	CHECK(rng_works());
	CHECK_EQ(guest_says(HV_EXIT_SHUTDOWN), 0);
	CHECK_EQ(vmm_wait(vm), VMM_END_GUEST);
	vmm_free(vm);

	for (unsigned i = 1; i <= total_load; i++) {
		CHECK_EQ(load(fd, 3, 64 * MIB, &(struct fake_hv_opts){ .fail_call = i }), -EIO);
		CHECK(e.msg[0]);
		CHECK_EQ(vmm_start(vm, NULL), -EINVAL);
		vmm_free(vm);
	}
	CHECK_EQ(load(fd, 2, 64 * MIB, NULL), -EINVAL);
	CHECK_STR(e.msg, "saved with 3 vCPUs, loaded with 2");
	vmm_free(vm);
	CHECK_EQ(load(fd, 3, 32 * MIB, NULL), -EINVAL);
	CHECK_STR(e.msg, "saved with another size of RAM");
	vmm_free(vm);
	/* stopped before it goes on: a sentence */
	CHECK_EQ(load(fd, 3, 64 * MIB, NULL), 0);
	vmm_stop(vm);
	CHECK_EQ(vmm_start(vm, &e), -ESRCH);
	CHECK(strstr(e.msg, "stopped"));
	vmm_free(vm);
	vm = NULL;
	CHECK(ended_clean());
	(void)close(fd);
}

static int build_net(void (*change)(struct vmm_config *c), bool vsock)
{
	struct vmm_config c;

	begin(NULL);
	c = full_config(1, 32 * MIB);
	c.vsock = vsock;
	c.net.tsi = vsock;
	change(&c);
	if (vmm_new(-1, &vm, &e))
		return -EIO;
	return vmm_build(vm, &c, &e);
}

static void net_good(struct vmm_config *c)
{
	c->net.negress = c->net.nlisten = 1;
	c->net.egress[0] = (struct vmm_net_rule){ .family = 6, .prefix = 128, .last_port = 9 };
	c->net.mapped = true;
	c->net.nmap = 2;
	c->net.map[0] = (struct vmm_port_map){ 8080, 80 };
	c->net.map[1] = (struct vmm_port_map){ 8081, 81 };
	c->nvsock_ports = 2;
	c->vsock_port[0] = (struct vmm_vsock_port){ .port = 1, .fd = -1, .path = "/run/s" };
	c->vsock_port[1] = (struct vmm_vsock_port){ .port = 2, .listen = true };
	c->vsock_port[1].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void net_no_device(struct vmm_config *c)
{
	c->net.tsi = true;
}

static void net_prefix(struct vmm_config *c)
{
	net_good(c);
	c->net.egress[0].family = 4;
}

static void net_family(struct vmm_config *c)
{
	net_good(c);
	c->net.listen[0].family = 5;
}

static void net_range(struct vmm_config *c)
{
	net_good(c);
	c->net.egress[0].first_port = 10;
}

static void net_many(struct vmm_config *c)
{
	net_good(c);
	c->net.nlisten = VMM_MAX_NET_RULES + 1;
}

static void net_twice(struct vmm_config *c)
{
	net_good(c);
	c->net.map[1].guest = 80;
}

static void net_port_0(struct vmm_config *c)
{
	net_good(c);
	c->net.map[1].host = 0;
}

static void net_no_path(struct vmm_config *c)
{
	net_good(c);
	c->vsock_port[0].path[0] = 0;
}

static void net_no_end(struct vmm_config *c)
{
	net_good(c);
	memset(c->vsock_port[0].path, 'x', sizeof(c->vsock_port[0].path));
}

static void net_no_socket(struct vmm_config *c)
{
	net_good(c);
	(void)close(c->vsock_port[1].fd);
	c->vsock_port[1].fd = -1;
}

static void networks(void)
{
	static void (*const bad[])(struct vmm_config *) = { net_prefix, net_family, net_range,
		net_many, net_twice, net_port_0, net_no_path, net_no_end, net_no_socket };

	CHECK_EQ(build_net(net_good, true), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK(ended_clean());
	CHECK_EQ(build_net(net_no_device, false), -EINVAL);
	CHECK(ended_clean());
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(build_net(bad[i], true), -EINVAL);
		CHECK(e.msg[0]);
		CHECK(ended_clean());
	}
}

static void streams(void)
{
	struct vmm_config c;
	int p[2], s[2];

	begin(NULL);
	c = full_config(1, 32 * MIB);
	c.vsock = false;
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), 0);
	CHECK(!pipe2(p, O_CLOEXEC) && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	CHECK_EQ(vmm_vsock_connect(vm, 1, p[0], p[1], NULL, 0, STREAM), -ENODEV);
	CHECK_EQ(vmm_vsock_connect(vm, 1, s[0], s[0], NULL, 0, STREAM), -ENODEV);
	CHECK_EQ(vmm_vsock_reattach(vm, STREAM, s[1], s[1]), -ENODEV);
	CHECK(!pipe2(p, O_CLOEXEC));
	CHECK_EQ(vmm_vsock_reattach(vm, STREAM, p[0], p[1]), -ENODEV);
	CHECK(ended_clean());

	CHECK_EQ(make(NULL, 1, 32 * MIB), 0);
	CHECK(!pipe2(p, O_CLOEXEC) && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	CHECK_EQ(vmm_vsock_reattach(vm, STREAM, p[0], p[1]), -ENOENT);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK_EQ(vmm_vsock_reattach(vm, STREAM, s[0], s[0]), -EBUSY);
	CHECK_EQ(vmm_vsock_connect(vm, 1, s[1], s[1], NULL, 257, STREAM), -EINVAL);
	CHECK(ended_clean());
}

static void *stopper(void *arg)
{
	const struct timespec t = { .tv_nsec = (long)(uintptr_t)arg };

	(void)nanosleep(&t, NULL);
	vmm_stop(vm);
	return NULL;
}

static void *ender(void *arg)
{
	(void)arg;
	(void)guest_says(HV_EXIT_SHUTDOWN);
	return NULL;
}

/* Pausing while somebody else ends it: an answer either way, and everything comes to rest. */
static void pause_races(void)
{
	for (unsigned i = 0; i < 60; i++) {
		const struct timespec ms = { .tv_nsec = 1000000 };
		unsigned rounds = 0;
		pthread_t t;
		int r = 0;

		CHECK_EQ(make(NULL, 1 + i % 4, 32 * MIB), 0);
		CHECK_EQ(vmm_start(vm, &e), 0);
		CHECK_EQ(pthread_create(
				 &t, NULL, i & 1 ? stopper : ender, (void *)(uintptr_t)(i * 20000)),
			0);
		while (!r) {
			r = vmm_pause(vm);
			if (!r)
				r = vmm_resume(vm);
			/* who is parked again before it has woken never comes to its end */
			if (!r && !(++rounds % 16))
				(void)nanosleep(&ms, NULL);
		}
		CHECK_EQ(r, -ESRCH);
		CHECK_EQ(pthread_join(t, NULL), 0);
		CHECK_EQ(vmm_wait(vm), i & 1 ? VMM_END_STOPPED : VMM_END_GUEST);
		CHECK(ended_clean());
	}
}

/* Ended by a vCPU that runs while the others are still being started. */
static void ends_while_it_starts(void)
{
	for (unsigned i = 0; i < 60; i++) {
		CHECK_EQ(make(NULL, 16, 32 * MIB), 0);
		CHECK_EQ(guest_says(i & 1 ? HV_EXIT_RESET : HV_EXIT_FAIL), 0);
		CHECK_EQ(vmm_start(vm, &e), 0);
		CHECK_EQ(vmm_wait(vm), i & 1 ? VMM_END_GUEST : VMM_END_FAILED);
		CHECK(ended_clean());
	}
}

/* The disk's device is the only one on its loop. */
static bool disk_quiet(void)
{
	for (unsigned i = 0; i < vm->nslots; i++)
		if (vm->slot[i].v->loop == vm->blk)
			return vm->slot[i].v->paused;
	return false;
}

static void settled(void)
{
	CHECK_EQ(make(NULL, 2, 32 * MIB), 0);
	vmm_settle(vm);
	CHECK(!disk_quiet());
	CHECK_EQ(vmm_start(vm, &e), 0);
	vmm_settle(vm);
	CHECK(disk_quiet());
	CHECK_EQ(vmm_wait(vm), VMM_END_STOPPED);
	vmm_settle(vm);
	CHECK(ended_clean());

	CHECK_EQ(make(NULL, 2, 32 * MIB), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK_EQ(guest_says(HV_EXIT_SHUTDOWN), 0);
	CHECK_EQ(vmm_wait(vm), VMM_END_GUEST);
	vmm_settle(vm);
	CHECK(disk_quiet());
	CHECK(ended_clean());
}

/* Two VMs in one process know nothing of each other. */
static void two_at_once(void)
{
	struct vmm *first;

	CHECK_EQ(make(NULL, 1, 32 * MIB), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	first = vm;
	struct vmm_config c = full_config(2, 64 * MIB);

	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK(rng_works());
	CHECK_EQ(guest_says(HV_EXIT_SHUTDOWN), 0);
	CHECK_EQ(vmm_wait(vm), VMM_END_GUEST);
	vmm_free(vm);
	CHECK_EQ(vmm_state(first), VMM_RUNNING);
	CHECK_EQ(vmm_pause(first), 0);
	CHECK_EQ(vmm_resume(first), 0);
	vm = first;
	CHECK(ended_clean());
	vmm_free(NULL);
}

static const struct test_case cases[] = {
	TEST(built_and_run),
	TEST(window),
	TEST(window_or_unmount),
	TEST(mending),
	TEST(ends),
	TEST(command_line),
	TEST(each_step_of_build_fails),
	TEST(bad_configs),
	TEST(bad_virtual),
	TEST(most_devices),
	TEST(interrupts_and_kicks),
	TEST(pause_save_load),
	TEST(streams),
	TEST(networks),
	TEST(pause_races),
	TEST(ends_while_it_starts),
	TEST(settled),
	TEST(two_at_once),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(180);
	root = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
