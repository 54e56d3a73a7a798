// SPDX-License-Identifier: Apache-2.0
// A VM over the fake hypervisor whose devices are other processes': what it is made of, its pause,
// and that it is not saved.

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/vm.h"
#include "fake/fake_hv.h"
#include "fake/fake_vhost.h"
#include "unit/test.h"
#include "unit/vmm_rig.h"
#include "util/cleanup.h"
#include "vmm.h"

#define GOOD  ((1ULL << 32) | (1ULL << 30))
#define PROTO 0x209

static struct fake_vhost disk, dir;
static struct vmm *vm;
static struct error e;

static void seen(enum vmm_thread which, void *arg)
{
	__atomic_or_fetch((unsigned *)arg, 1U << which, __ATOMIC_RELAXED);
}

static struct vmm_config config(unsigned *threads)
{
	struct vmm_config c = { .vcpus = 1,
		.ram_bytes = 64 * MIB,
		.no_thp = true,
		.kernel_fd = kernel_file(),
		.on_thread = seen,
		.on_thread_arg = threads,
		.nfs = 1,
		.nvhost_user = 2 };

	e = (struct error){ 0 };
	(void)strcpy(c.fs[0].tag, "root");
	c.fs[0].root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	c.fs[0].dax_bytes = 64 * MIB;
	disk = (struct fake_vhost){
		.features = GOOD, .protocol = PROTO, .queues = 2, .config_len = 60
	};
	dir = (struct fake_vhost){ .features = GOOD };
	c.vhost_user[0] = (struct vmm_vhost_user){ .fd = fake_vhost_start(&disk), .type = 2 };
	c.vhost_user[1] =
		(struct vmm_vhost_user){ .fd = fake_vhost_start(&dir), .type = 26, .name = "tag" };
	return c;
}

static int make(struct vmm_config *c)
{
	int r = vmm_new(-1, &vm, &e);

	return r ? r : vmm_build(vm, c, &e);
}

static void end(void)
{
	vmm_free(vm);
	vm = NULL;
	fake_vhost_end(&disk);
	fake_vhost_end(&dir);
}

static void lives(void)
{
	CLEAN_FD int fd = memfd_create("saved", MFD_CLOEXEC);
	unsigned threads = 0, windows = 0;
	struct vmm_config c = config(&threads);

	CHECK_EQ(make(&c), 0);
	CHECK(c.vhost_user[0].fd < 0 && c.vhost_user[1].fd < 0);
	/* all of RAM can be shared, though nobody asked for that, and there is nothing else */
	for (unsigned i = 0; i < vm->mem.n; i++) {
		windows += vm->mem.r[i].kind != MEM_RAM;
		CHECK_EQ(vm->mem.r[i].backing, MEM_MEMFD);
	}
	CHECK_EQ(windows, 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK(__atomic_load_n(&threads, __ATOMIC_RELAXED) >> VMM_THREAD_VHOST & 1);
	CHECK_EQ(vmm_pause(vm), 0);
	CHECK_EQ(vmm_save(vm, fd, &e), -ENOTSUP);
	CHECK(strstr(e.msg, "vhost-user disk") && strstr(e.msg, "another process serves it"));
	CHECK_EQ(vmm_resume(vm), 0);
	end();
	CHECK(!disk.error && !dir.error);
}

static void not_loaded(void)
{
	CLEAN_FD int fd = memfd_create("saved", MFD_CLOEXEC);
	unsigned threads = 0;
	struct vmm_config c = config(&threads);

	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_load(vm, &c, fd, &e), -ENOTSUP);
	CHECK(strstr(e.msg, "vhost-user"));
	end();
}

static void refused(void)
{
	unsigned threads = 0;
	struct vmm_config c = config(&threads);

	c.vhost_user[1].type = 19;
	CHECK_EQ(make(&c), -ENOTSUP);
	end();
	c = config(&threads);
	c.vhost_user[0].queues = VMM_MAX_QUEUES + 1;
	CHECK_EQ(make(&c), -EINVAL);
	end();
	c = config(&threads);
	(void)close(c.vhost_user[1].fd);
	c.vhost_user[1].fd = -1;
	CHECK_EQ(make(&c), -EINVAL);
	end();
	c = config(&threads);
	for (unsigned i = 2; i < VMM_MAX_VHOST_USER; i++)
		c.vhost_user[i].fd = -1;
	c.nvhost_user = VMM_MAX_VHOST_USER + 1;
	CHECK_EQ(make(&c), -EINVAL);
	end();
	/* its memory would have holes of the other process's making */
	c = config(&threads);
	c.hugepages = true;
	CHECK_EQ(make(&c), -ENOTSUP);
	CHECK(strstr(e.msg, "huge pages"));
	end();
	/* kicks would be written to a descriptor of the other process's */
	for (unsigned i = 0; i < 2; i++) {
		const struct fake_hv_opts o = { .no_ioeventfd = i, .ioeventfd_notsup = !i };

		fake_hv_set_opts(&o);
		c = config(&threads);
		CHECK_EQ(make(&c), -ENOTSUP);
		CHECK(strstr(e.msg, "no ioeventfd"));
		end();
	}
	fake_hv_set_opts(NULL);
}

static const struct test_case tests[] = { TEST(lives), TEST(not_loaded), TEST(refused) };

TEST_MAIN(tests)
