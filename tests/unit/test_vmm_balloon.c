// SPDX-License-Identifier: Apache-2.0
// The balloon by the public interface: what is asked for, and what is not.

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch.h"
#include "tests/fake/fake_hv.h"
#include "tests/unit/test.h"
#include "tests/unit/vmm_rig.h"
#include "vmm.h"

#define BALLOON arch_layout.mmio_base /* the only device */
#define CONFIG	0x100

static struct vmm *vm;

static int up(bool balloon)
{
	struct vmm_config c = { .vcpus = 1,
		.ram_bytes = 32 * MIB,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.balloon = balloon };
	struct error e = { 0 };

	fake_hv_set_opts(NULL);
	return vmm_new(-1, &vm, &e) || vmm_build(vm, &c, &e) || vmm_start(vm, &e);
}

static void without_one(void)
{
	struct vmm_balloon b;

	CHECK_EQ(up(false), 0);
	CHECK_EQ(vmm_balloon_set(vm, MIB), -ENODEV);
	CHECK_EQ(vmm_balloon(vm, &b), -ENODEV);
	vmm_free(vm);
}

static void asked_for(void)
{
	struct vmm_balloon b;
	uint64_t pages = 0;

	CHECK_EQ(up(true), 0);
	CHECK_EQ(vmm_balloon_set(vm, 32 * MIB + 4096), -EINVAL);
	CHECK_EQ(vmm_balloon_set(vm, 8 * MIB), 0);
	CHECK(!fake_hv_mmio_read(fake_hv_last(), 0, BALLOON + CONFIG, &pages, 4));
	CHECK_EQ(pages, 8 * MIB / 4096);
	CHECK(!fake_hv_mmio_write(fake_hv_last(), 0, BALLOON + CONFIG + 4, 100, 4));
	CHECK_EQ(vmm_balloon(vm, &b), 0);
	CHECK_EQ(b.target, 8 * MIB);
	CHECK_EQ(b.actual, 100 * 4096);
	CHECK_EQ(b.age, 0);
	vmm_stop(vm);
	CHECK_EQ(vmm_wait(vm), VMM_END_STOPPED);
	vmm_free(vm);
}

/* The host's pool of huge pages may have none free, which is an error with a reason. */
static void huge_pages(void)
{
	struct vmm_config c = { .vcpus = 1,
		.ram_bytes = 33 * MIB,
		.hugepages = true,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.balloon = true };
	struct error e = { 0 };
	int r;

	fake_hv_set_opts(NULL);
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &c, &e), -EINVAL);
	CHECK(strstr(e.msg, "huge pages"));
	vmm_free(vm);
	c.ram_bytes = 32 * MIB;
	c.kernel_fd = kernel_file();
	e = (struct error){ 0 };
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	r = vmm_build(vm, &c, &e);
	CHECK(r ? r == -ENOSPC && strstr(e.msg, "nr_hugepages") != NULL
		: vmm_balloon_set(vm, MIB) == -ENOTSUP);
	vmm_free(vm);
}

static const struct test_case cases[] = {
	TEST(without_one),
	TEST(huge_pages),
	TEST(asked_for),
};

TEST_MAIN(cases)
