// SPDX-License-Identifier: Apache-2.0
/* Where the guest kernel is, and its command line. */
/*
 * How it works: a kernel is named by the config, by the environment, or lies where the program was
 * installed; the first of these that is there counts, also when it cannot be opened. The command
 * line is ours, then the config's words, then what libvmm adds about the devices: so a word of the
 * config must neither be one of ours nor reach beyond itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/json_text.h"
#include "oci/kernel.h"
#include "util/cleanup.h"
#include "util/util.h"

/*
 * quiet: each line to the console is an exit. tsc=reliable no_timer_check: the clock is the host's,
 * nothing to calibrate. rcu_expedited: no grace periods to wait for during boot. random.trust_cpu:
 * RDRAND seeds the generator, the agent adds the host's entropy. swiotlb=noforce: no device here
 * needs bounce buffers, which are 64 MiB in guests over 3 GiB.
 */
#define CMDLINE                                                                                        \
	"console=hvc0 quiet tsc=reliable no_timer_check rcupdate.rcu_expedited=1 random.trust_cpu=on " \
	"swiotlb=noforce"
/* One CPU for good: the lock prefixes may stay as they are, which saves four million instructions
 * of patching. */
#define CMDLINE_UP " noreplace-smp"
/* The kernel's half of TSI; one that has none ignores it. */
#define CMDLINE_TSI " krun.tsi=on"

static int try_open(const char *path)
{
	CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		return -errno;
	return S_ISREG(st.st_mode) ? TAKE_FD(fd) : -EINVAL;
}

static int beside_program(const char *rel, char *out, size_t n)
{
	char exe[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (len <= 0)
		return -ENOENT;
	exe[len] = 0;
	slash = strrchr(exe, '/');
	if (!slash)
		return -ENOENT;
	*slash = 0;
	return snprintf(out, n, "%s/%s", exe, rel) < (int)n ? 0 : -ENAMETOOLONG;
}

int kernel_open(const struct spec *s, char *path, size_t path_len, struct error *e)
{
	static const char *const beside[] = { "kernel/vmlinux", "../lib/krun-oci/vmlinux" };
	const char *env = getenv("KRUN_OCI_KERNEL");
	char buf[PATH_MAX];
	int fd;

	if (s && s->vm.kernel) {
		(void)snprintf(buf, sizeof(buf), "%s", s->vm.kernel);
		fd = try_open(buf);
		if (fd < 0)
			return err_sys(
				e, fd, "config.json: vm.kernel.path: \"%.120s\"", s->vm.kernel);
	} else if (env && *env) {
		(void)snprintf(buf, sizeof(buf), "%s", env);
		fd = try_open(buf);
		if (fd < 0)
			return err_sys(e, fd, "KRUN_OCI_KERNEL: \"%.120s\"", env);
	} else {
		fd = -ENOENT;
		for (size_t i = 0; fd < 0 && i < ARRAY_SIZE(beside); i++) {
			if (!beside_program(beside[i], buf, sizeof(buf)))
				fd = try_open(buf);
		}
		if (fd < 0) {
			(void)snprintf(buf, sizeof(buf), "%s/vmlinux", PKGLIBDIR);
			fd = try_open(buf);
		}
		if (fd < 0)
			return err_sys(e, fd,
				"no guest kernel: neither beside the program nor at %.100s (kernel/build makes it)",
				buf);
	}
	if (path)
		(void)snprintf(path, path_len, "%s", buf);
	return fd;
}

/* As the kernel compares names: "-" and "_" are one letter. */
static bool same_name(const char *p, size_t n, const char *name)
{
	if (strlen(name) != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (p[i] != name[i] && !(p[i] == '-' && name[i] == '_'))
			return false;
	}
	return true;
}

/* Options that are ours to set: a second value would break the boot or the wall. */
static bool is_ours(const char *p)
{
	static const char *const ours[] = { "init", "rdinit", "root", "rootfstype", "initrd",
		"virtio_mmio.device", "console", "reboot", "panic", "maxcpus", "nr_cpus", "mem",
		"krun.tsi" };

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		if (same_name(p, strcspn(p, "="), ours[i]))
			return true;
	}
	return false;
}

/* What would not be one parameter: blanks (to the kernel 0xa0, too) and quotes make it several or
 * swallow those behind it, and behind "--" are the arguments of init. */
static bool is_one_word(const char *p)
{
	if (!strcmp(p, "--") || !*p)
		return false;
	for (; *p; p++) {
		if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\'')
			return false;
	}
	return true;
}

int kernel_cmdline(
	const struct spec *s, unsigned vcpus, bool tsi, char *buf, size_t len, struct error *e)
{
	size_t n = (size_t)snprintf(
		buf, len, "%s%s%s", CMDLINE, vcpus == 1 ? CMDLINE_UP : "", tsi ? CMDLINE_TSI : "");

	for (size_t i = 0; i < s->vm.kernel_params.n; i++) {
		const char *p = s->vm.kernel_params.v[i];

		if (!is_one_word(p))
			return err_set(e, EINVAL,
				"config.json: vm.kernel.parameters[%zu]: %s is not one parameter of plain characters",
				i, QUOTE(p));
		if (is_ours(p))
			return err_set(e, EINVAL,
				"config.json: vm.kernel.parameters[%zu]: %s is the runtime's own to set",
				i, QUOTE(p));
		n += (size_t)snprintf(buf + n, n < len ? len - n : 0, " %s", p);
		/* what describes the devices must fit after it */
		if (n + 512 > len)
			return err_set(e, E2BIG,
				"config.json: vm.kernel.parameters: over %zu bytes in all",
				len - 512);
	}
	return 0;
}
