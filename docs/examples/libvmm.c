// SPDX-License-Identifier: Apache-2.0
/*
 * A virtual machine in this process: boots a kernel with an initramfs, its console here.
 *
 *   cc libvmm.c $(pkg-config --cflags --libs libvmm) -o vm
 *   ./vm "$(pkg-config --variable=kernel libvmm)" INITRAMFS
 *
 * The initramfs holds an /init; when that ends the machine (reboot(2)), the program goes on.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libvmm/vmm.h>

static void to_stderr(void *arg, enum vmm_log_level level, const char *line)
{
	(void)arg;
	(void)level;
	(void)fprintf(stderr, "vm: %s\n", line);
}

static int fail(const char *what, const char *why)
{
	(void)fprintf(stderr, "vm: %s: %s\n", what, why);
	return 1;
}

int main(int argc, char **argv)
{
	struct vmm_config cfg = {
		.vcpus = 1,
		.ram_bytes = 256 << 20,
		.kernel_fd = -1,
		.cmdline = "console=hvc0 reboot=t panic=-1",
		.rng = true,
		.console = true,
		.nports = 1,
		.port[0] = { .in_fd = -1, .out_fd = -1, .console = true },
	};
	struct error e = { 0 };
	struct vmm *vm = NULL;
	struct stat st;
	void *initrd;
	int kvm, fd;

	if (argc != 3)
		return fail("usage", "vm KERNEL INITRAMFS");
	(void)signal(SIGPIPE, SIG_IGN);
	vmm_log_to(to_stderr, NULL, VMM_LOG_WARN);
	fd = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(argv[2], "cannot be read");
	initrd = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (initrd == MAP_FAILED)
		return fail(argv[2], "cannot be mapped");
	cfg.initrd = initrd;
	cfg.initrd_len = (size_t)st.st_size;

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0 || vmm_probe(kvm, VMM_PROBE_GUEST, &e) < 0)
		return fail("/dev/kvm", e.msg[0] ? e.msg : "cannot be opened");
	/* from here on vmm_build() has them, in every case */
	cfg.kernel_fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	cfg.port[0].out_fd = dup(STDOUT_FILENO);
	if (vmm_new(kvm, &vm, &e) || vmm_build(vm, &cfg, &e) || vmm_start(vm, &e)) {
		vmm_free(vm);
		return fail("start", e.msg);
	}
	(void)vmm_wait(vm);
	(void)vmm_drain(vm, 5000);
	(void)fprintf(stderr, "vm: %s\n", vmm_why(vm));
	vmm_free(vm);
	return 0;
}
