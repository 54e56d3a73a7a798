// SPDX-License-Identifier: Apache-2.0
/* How a VM ends: its kernel's last words, output for slow readers, a vCPU that has not heard. */
#include <fcntl.h>
#include <unistd.h>

#include "arch/arch.h"
#include "tests/fake/fake_hv.h"
#include "tests/unit/test.h"
#include "tests/unit/vmm_rig.h"
#include "util/bytes.h"
#include "vmm.h"

#define QUEUES	0x400000ULL /* 16 KiB each */
#define TEXT	0x410000ULL
#define CONSOLE arch_layout.mmio_base /* the only device */

static struct vmm *vm;

static int up(unsigned nports, int out)
{
	struct vmm_config c = { .vcpus = 1,
		.ram_bytes = 32 * MIB,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.console = true,
		.nports = nports };
	struct error e = { 0 };

	c.port[0] = (struct vmm_port){ .in_fd = -1, .out_fd = out, .console = true };
	fake_hv_set_opts(NULL);
	return vmm_new(-1, &vm, &e) || vmm_build(vm, &c, &e) || vmm_start(vm, &e);
}

static bool wr(uint64_t reg, uint64_t v)
{
	return !fake_hv_mmio_write(fake_hv_last(), 0, CONSOLE + reg, v, 4);
}

/* The machine's end, by the keyboard's controller or by a fault that nothing takes. */
static int resets(bool fault)
{
	struct hv_exit x = { .kind = fault ? HV_EXIT_SHUTDOWN : HV_EXIT_PIO, .write = true };

	x.addr = 0x64;
	x.len = x.count = 1;
	x.data = &(uint8_t){ 0xfe };
	return fake_hv_push(fake_hv_last(), 0, &x);
}

/* A driver of the console, which writes the @n bytes at TEXT and then resets the machine. */
static bool last_words(uint32_t n, bool fault)
{
	uint8_t *q = fake_hv_ram(fake_hv_last(), QUEUES, 0x8000);
	bool ok = q && wr(0x70, 0) && wr(0x70, 3) && wr(0x24, 1) && wr(0x20, 1) && wr(0x70, 11);

	for (uint32_t i = 0; ok && i < 2; i++) {
		uint64_t at = QUEUES + i * 0x4000;

		ok = wr(0x30, i) && wr(0x38, 4) && wr(0x80, at) && wr(0x90, at + 0x1000) &&
			wr(0xa0, at + 0x2000) && wr(0x44, 1);
	}
	if (!ok || !wr(0x70, 15))
		return false;
	put_le64(q + 0x4000, TEXT);
	put_le32(q + 0x4008, n);
	__atomic_store_n((uint16_t *)(void *)(q + 0x5002), 1, __ATOMIC_RELEASE);
	return wr(0x50, 1) && !resets(fault) && vmm_wait(vm) == VMM_END_GUEST;
}

/* What a kernel says last is known in whichever way it resets, with and without a port. */
static void panicked(void)
{
	static const char *const lines[] = { "[1] Kernel panic - not syncing: no init\n",
		"[1] no panic\n" };

	for (unsigned i = 0; i < 8; i++) {
		const char *line = lines[i / 4];

		CHECK_EQ(up(i % 2, -1), 0);
		memcpy(fake_hv_ram(fake_hv_last(), TEXT, 64), line, strlen(line));
		CHECK(last_words((uint32_t)strlen(line), i & 2));
		CHECK_EQ(vmm_panicked(vm), i < 4);
		CHECK_STR(vmm_why(vm),
			i < 4 ? "the guest's kernel panicked: no init"
			      : "the guest reset the machine");
		CHECK(vmm_drain(vm, 0));
		vmm_free(vm);
	}
}

/* More than pipe and port have room for, to a reader who comes when the VM has ended. */
static void drained(void)
{
	const size_t n = 300000;
	static uint8_t got[65536];
	uint8_t *text;
	int p[2];

	CHECK(!pipe2(p, O_CLOEXEC | O_NONBLOCK));
	CHECK_EQ(up(1, p[1]), 0);
	text = fake_hv_ram(fake_hv_last(), TEXT, n);
	CHECK(text);
	for (size_t i = 0; i < n; i++)
		text[i] = (uint8_t)(i * 7 + (i >> 8));
	CHECK(last_words((uint32_t)n, false));
	CHECK(!vmm_drain(vm, 20));
	for (size_t at = 0; at < n;) {
		ssize_t r = read(p[0], got, sizeof(got));

		CHECK(r > 0 && (size_t)r <= n - at && !memcmp(got, text + at, (size_t)r));
		at += (size_t)r;
		/* all that is left is in the pipe */
		CHECK(!vmm_drain(vm, 0) || n - at <= sizeof(got));
	}
	CHECK(vmm_drain(vm, 0));
	(void)close(p[0]);
	vmm_free(vm);
}

/* Who waits for a vCPU kicks again. */
static void kick_lost(void)
{
	struct hv *h;

	CHECK_EQ(up(0, -1), 0);
	h = fake_hv_last();
	CHECK(wr(0x70, 0)); /* it is in its guest again when this returns */
	fake_hv_lose_kicks(h, 1);
	CHECK_EQ(vmm_pause(vm), 0);
	CHECK_EQ(fake_hv_lost(h), 1);
	CHECK_EQ(vmm_resume(vm), 0);
	CHECK(wr(0x70, 0));
	fake_hv_lose_kicks(h, 2);
	vmm_stop(vm);
	CHECK_EQ(fake_hv_lost(h), 2);
	CHECK_EQ(vmm_wait(vm), VMM_END_STOPPED);
	vmm_free(vm);
}

static const struct test_case cases[] = { TEST(panicked), TEST(drained), TEST(kick_lost) };

TEST_MAIN(cases)
