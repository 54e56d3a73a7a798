// SPDX-License-Identifier: Apache-2.0
/*
 * A VM whose sockets are those of this process's network namespace.
 *
 *   vm [-c VCPUS] [-m MIB] [-t SECONDS] KERNEL INITRD [ARG...]
 *
 * ARG..., without commas or spaces, go to the guest's init (init.c), whose console comes to stdout.
 * Exit status: that of the program that init ran; 124 when it took too long, 125 when the VM
 * failed, 77 without KVM.
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

static char tail[64]; /* the last line, which tells the exit status */
static size_t tail_len;

static void show(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] == '\r')
				continue;
			putchar(buf[i]);
			/* "EXIT N" stays, whatever the kernel says after it. */
			if (buf[i] == '\n' && strncmp(tail, "EXIT ", 5)) {
				tail_len = 0;
				tail[0] = 0;
			} else if (buf[i] != '\n' && tail_len < sizeof(tail) - 1) {
				tail[tail_len++] = buf[i];
				tail[tail_len] = 0;
			}
		}
		fflush(stdout);
	}
}

static int fail(const char *what, const struct error *e)
{
	(void)fprintf(stderr, "vm: %s: %s\n", what, e->msg);
	return 125;
}

int main(int argc, char **argv)
{
	unsigned mib = 256, seconds = 600;
	char cmdline[2048];
	struct vmm_config cfg = { .vcpus = 1,
		.kernel_fd = -1,
		.rng = true,
		.vsock = true,
		.console = true,
		.nports = 1,
		.net.tsi = true,
		.port[0] = { .in_fd = -1, .console = true } };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), c, fd, p[2], status = 125;
	struct error e = { 0 };
	struct vmm *vm;
	struct stat st;

	while ((c = getopt(argc, argv, "+c:m:t:")) != -1) {
		unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

		if (c == 'c')
			cfg.vcpus = n;
		else if (c == 'm')
			mib = n;
		else if (c == 't')
			seconds = n;
		else
			return 2;
	}
	if (argc - optind < 2)
		return 2;
	if (kvm < 0 || vmm_probe(kvm, VMM_PROBE_GUEST, &e)) {
		(void)fprintf(stderr, "vm: no KVM that runs guests here: %s\n", e.msg);
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
	if (cfg.initrd == MAP_FAILED)
		return fail("initrd", &e);
	strcpy(cmdline,
		"console=hvc0 loglevel=5 panic=-1 reboot=t tsc=reliable no_timer_check krun.tsi=on RUN=");
	for (int i = optind + 2; i < argc; i++) {
		if (i > optind + 2)
			strncat(cmdline, ",", sizeof(cmdline) - strlen(cmdline) - 1);
		strncat(cmdline, argv[i], sizeof(cmdline) - strlen(cmdline) - 1);
	}
	cfg.cmdline = cmdline;
	cfg.port[0].out_fd = p[1];
	if (vmm_new(kvm, &vm, &e) || vmm_build(vm, &cfg, &e) || vmm_start(vm, &e))
		return fail("start", &e);

	for (unsigned long left = seconds * 10UL; left > 0; left--) {
		struct pollfd f[2] = { { .fd = p[0], .events = POLLIN },
			{ .fd = vmm_event_fd(vm), .events = POLLIN } };

		(void)poll(f, 2, 100);
		show(p[0]);
		if (f[1].revents) {
			status = 0;
			break;
		}
	}
	if (status)
		(void)fprintf(stderr, "vm: no end after %u s\n", seconds);
	else if (vmm_state(vm) != VMM_END_GUEST)
		return fail(vmm_why(vm), &e);
	vmm_free(vm);
	show(p[0]);
	return status ? 124 : sscanf(tail, "EXIT %d", &status) == 1 ? status : 125;
}
