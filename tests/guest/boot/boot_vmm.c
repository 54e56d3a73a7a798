// SPDX-License-Identifier: Apache-2.0
/*
 * Boots a kernel through the public interface of libvmm, with every device but a root file system.
 *
 *   boot_vmm [-p] [-x] [-i] [-c VCPUS] [-m MIB] [-t SECONDS] KERNEL INITRD
 *
 * How it works: the guest's init (init.c) writes what it sees to the kernel's log, which the virtio
 * console brings here. Passed when the guest said the right numbers and ended the machine by
 * itself. With -x there is neither init nor console port: the kernel panics, and the VM's end must
 * tell so. With -i the I/O APIC is the library's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"
#include "vmm.h"

#define OUT_MAX (256U << 10)

static char out[OUT_MAX];
static size_t out_len;

static int fail(const char *what, const struct error *e)
{
	(void)fprintf(stderr, "boot_vmm: %s: %s\n%.*s\n", what, e->msg, (int)out_len, out);
	return 1;
}

static bool said(const char *fmt, unsigned n)
{
	char want[64];

	(void)snprintf(want, sizeof(want), fmt, n);
	if (strstr(out, want))
		return true;
	printf("missing from the guest's log: \"%s\"\n", want);
	return false;
}

/* What the guest writes until it ends; false when it takes longer than that. */
static bool listen_to(struct vmm *vm, int fd, unsigned seconds)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
		{ .fd = vmm_event_fd(vm), .events = POLLIN } };
	int left = (int)seconds * 10;

	while (left-- > 0) {
		ssize_t r = 1;

		if (poll(p, 2, 100) > 0)
			left++;
		while (r > 0 && out_len < OUT_MAX - 1) {
			r = read(fd, out + out_len, OUT_MAX - 1 - out_len);
			out_len += r > 0 ? (size_t)r : 0;
		}
		if (p[1].revents)
			return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	unsigned mib = 256, seconds = 60;
	struct vmm_config cfg = { .vcpus = 1,
		.kernel_fd = -1,
		.cmdline = "console=hvc0 panic=-1 reboot=t tsc=reliable no_timer_check",
		.rng = true,
		.vsock = true,
		.console = true,
		.nports = 1,
		.port[0] = { .in_fd = -1, .console = true } };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), c, fd, p[2];
	struct error e = { 0 };
	struct vmm *vm;
	struct stat st;
	bool ok, panics = false;

	while ((c = getopt(argc, argv, "pxic:m:t:")) != -1) {
		unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

		if (c == 'p')
			cfg.prefer_pvh = true;
		else if (c == 'x')
			panics = true;
		else if (c == 'i')
			cfg.split_irqchip = true;
		else if (c == 'c')
			cfg.vcpus = n;
		else if (c == 'm')
			mib = n;
		else if (c == 't')
			seconds = n;
		else
			return 2;
	}
	if (argc - optind != 2)
		return 2;
	if (kvm < 0 || vmm_probe(kvm, VMM_PROBE_GUEST, &e)) {
		(void)fprintf(stderr, "boot_vmm: no KVM that runs guests here: %s\n", e.msg);
		return 77;
	}
	cfg.ram_bytes = (uint64_t)mib << 20;
	cfg.kernel_fd = open(argv[optind], O_RDONLY | O_CLOEXEC);
	fd = open(argv[optind + 1], O_RDONLY | O_CLOEXEC);
	if (cfg.kernel_fd < 0 || fd < 0 || fstat(fd, &st) < 0 ||
		pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return fail("files", &e);
	cfg.initrd = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	cfg.initrd_len = (size_t)st.st_size;
	(void)close(fd);
	if (cfg.initrd == MAP_FAILED)
		return fail("initrd", &e);
	cfg.port[0].out_fd = p[1];
	if (panics) {
		cfg.nports = 0;
		cfg.initrd = NULL;
		cfg.initrd_len = 0;
		(void)close(p[1]);
	}
	if (vmm_new(kvm, &vm, &e) || vmm_build(vm, &cfg, &e) || vmm_start(vm, &e))
		return fail("start", &e);
	ok = listen_to(vm, p[0], seconds);
	if (!ok)
		printf("no end after %u s\n", seconds);
	ok &= vmm_state(vm) == VMM_END_GUEST;
	if (panics) {
		printf("%s\n", vmm_why(vm));
		ok &= !!strstr(vmm_why(vm), "panicked: VFS: ");
		vmm_free(vm);
		return !ok;
	}
	vmm_free(vm);
	/* what was on its way is in the pipe now */
	for (ssize_t r = 1; r > 0 && out_len < OUT_MAX - 1;) {
		r = read(p[0], out + out_len, OUT_MAX - 1 - out_len);
		out_len += r > 0 ? (size_t)r : 0;
	}
	ok &= said("SMOKE cpus=%u ", cfg.vcpus) & said(" reached=%u ", cfg.vcpus) &
		said("SMOKE end", 0);
	if (!ok)
		printf("the guest's last words:\n%s\n",
			out + (out_len > 1500 ? out_len - 1500 : 0));
	return !ok;
}
