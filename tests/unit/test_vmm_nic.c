// SPDX-License-Identifier: Apache-2.0
// Network interfaces by the public interface: their thread, and what comes behind one later.

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arch/arch.h"
#include "tests/fake/fake_hv.h"
#include "tests/unit/test.h"
#include "tests/unit/vmm_rig.h"
#include "vmm.h"

static struct vmm *vm;
static struct error e;

static void seen(enum vmm_thread which, void *arg)
{
	__atomic_fetch_or((unsigned *)arg, 1U << which, __ATOMIC_RELAXED);
}

/* A built VM with one interface, or why not. */
static int build(struct vmm_nic nic, unsigned *threads)
{
	struct vmm_config c = { .vcpus = 1,
		.ram_bytes = 32 * MIB,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.on_thread = seen,
		.on_thread_arg = threads,
		.nic = { nic },
		.nnics = 1 };
	int r;

	e = (struct error){ 0 };
	fake_hv_set_opts(NULL);
	if (vmm_new(-1, &vm, &e))
		return -1;
	r = vmm_build(vm, &c, &e);
	/* the descriptor is taken in every case, and what fails says why */
	return c.nic[0].fd < 0 && !r == !e.msg[0] ? r : -1;
}

/* More queues than there can be, and queues of what has none: all are taken and closed. */
static void queues_refused(void)
{
	unsigned threads = 0;

	for (unsigned n = 1; n <= VMM_MAX_NIC_QUEUES + 1; n++) {
		struct vmm_nic nic = { .kind = VMM_NIC_STREAM, .nqueue_fds = n };
		int sv[2], more = -1;

		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		nic.fd = sv[0];
		for (unsigned i = 0; i < MIN(n, VMM_MAX_NIC_QUEUES - 1U); i++)
			nic.queue_fd[i] = more = dup(sv[0]);
		CHECK_EQ(build(nic, &threads), -EINVAL);
		CHECK(strstr(e.msg, "queues") && fcntl(more, F_GETFD) < 0);
		(void)close(sv[1]);
		vmm_free(vm);
	}
}

/* A network interface has a thread of its own, which is told of like the others. */
static void a_thread_of_its_own(void)
{
	unsigned threads = 0;
	int n[2];

	for (int bad = 1; bad >= 0; bad--) {
		CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, n), 0);
		CHECK_EQ(build((struct vmm_nic){ .kind = bad ? VMM_NIC_DGRAM : VMM_NIC_STREAM,
				       .fd = n[0] },
				 &threads),
			bad ? -EINVAL : 0);
		CHECK_EQ(close(n[1]), 0);
		if (!bad) {
			CHECK_EQ(vmm_start(vm, &e), 0);
			CHECK_EQ(vmm_pause(vm), 0);
			CHECK_EQ(vmm_resume(vm), 0);
			CHECK(threads >> VMM_THREAD_NET & 1);
		}
		vmm_free(vm);
	}
}

/* What is behind one may come when the VM runs, or is paused. */
static void attached_later(void)
{
	unsigned threads = 0;
	int n[2], m[2];

	CHECK_EQ(build((struct vmm_nic){ .kind = VMM_NIC_STREAM, .fd = -1, .later = true },
			 &threads),
		0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	CHECK_EQ(vmm_pause(vm), 0);
	/* there is no second one, and what was meant for it is closed */
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, n), 0);
	CHECK_EQ(vmm_nic_attach(vm, 1, n[0], &e), -EINVAL);
	CHECK(e.msg[0] && send(n[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK_EQ(close(n[1]), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, n), 0);
	CHECK_EQ(vmm_nic_attach(vm, 0, n[0], NULL), 0);
	CHECK_EQ(send(n[1], "x", 1, MSG_NOSIGNAL), 1);
	CHECK_EQ(vmm_nic_attach(vm, 0, -1, NULL), -EBADF);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, m), 0);
	CHECK_EQ(vmm_nic_attach(vm, 0, m[0], NULL), -EBUSY);
	CHECK_EQ(close(m[1]), 0);
	CHECK_EQ(vmm_resume(vm), 0);
	/* and go again, and another come */
	vmm_nic_detach(vm, 1);
	vmm_nic_detach(vm, 0);
	vmm_nic_detach(vm, 0);
	CHECK(send(n[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK_EQ(close(n[1]), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, n), 0);
	CHECK_EQ(vmm_nic_attach(vm, 0, n[0], NULL), 0);
	CHECK_EQ(send(n[1], "x", 1, MSG_NOSIGNAL), 1);
	vmm_free(vm);
	/* that was the VM's end of it */
	CHECK(send(n[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK_EQ(close(n[1]), 0);
}

/* One that had its other side from the beginning has lost it for good. */
static void not_made_for_it(void)
{
	unsigned threads = 0;
	int n[2], m[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, n), 0);
	CHECK_EQ(build((struct vmm_nic){ .kind = VMM_NIC_STREAM, .fd = n[0] }, &threads), 0);
	CHECK_EQ(vmm_start(vm, &e), 0);
	vmm_nic_detach(vm, 0);
	CHECK_EQ(send(n[1], "x", 1, MSG_NOSIGNAL), 1);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, m), 0);
	CHECK_EQ(vmm_nic_attach(vm, 0, m[0], NULL), -EINVAL);
	CHECK_EQ(close(m[1]), 0);
	vmm_free(vm);
	CHECK_EQ(close(n[1]), 0);
}

static const struct test_case cases[] = {
	TEST(queues_refused),
	TEST(a_thread_of_its_own),
	TEST(attached_later),
	TEST(not_made_for_it),
};

TEST_MAIN(cases)
