// SPDX-License-Identifier: Apache-2.0
/* Programs as people write them for libkrun, for tests/e2e/krun-api.sh: built with -lkrun and
 * nothing else of ours. */
/*
 * How it works
 *
 * The first argument names one of them, the second is the root. Each makes a context, says what it
 * wants, and enters; what comes after krun_start_enter() is its failure. CALL() ends the program
 * with what the library answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <libkrun.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CALL(x)                                                         \
	do {                                                            \
		int r_ = (x);                                           \
		if (r_ < 0) {                                           \
			fprintf(stderr, "%s: %s\n", #x, strerror(-r_)); \
			exit(99);                                       \
		}                                                       \
	} while (0)

static const char *const env[] = { "PATH=/bin:/sbin:/usr/bin", "FROM=program", NULL };

static uint32_t begin(const char *root)
{
	int id = krun_create_ctx();

	CALL(id);
	CALL(krun_set_log_level(KRUN_LOG_LEVEL_WARN));
	CALL(krun_set_vm_config((uint32_t)id, 1, 256));
	if (root)
		CALL(krun_set_root((uint32_t)id, root));
	return (uint32_t)id;
}

static int enter(uint32_t ctx)
{
	/* must not be seen: the process ends without handlers */
	(void)atexit(abort);
	CALL(krun_start_enter(ctx));
	return 98;
}

/* ROOT PROGRAM [ARG...]: with everything that has to do with the process itself. */
static int chroot_like(char **a)
{
	static const char *const limits[] = { "7=100:200", "6=50:50", NULL };
	static const char *const map[] = { "18080:8080", NULL };
	uint32_t ctx = begin(a[0]);

	/* launchers call it whatever there is */
	CALL(krun_set_gpu_options(ctx, VIRGLRENDERER_USE_EGL | VIRGLRENDERER_VENUS));
	CALL(krun_set_port_map(ctx, map));
	CALL(krun_set_rlimits(ctx, limits));
	CALL(krun_set_workdir(ctx, "/tmp"));
	CALL(krun_set_exec(ctx, a[1], (const char *const *)(a + 2), env));
	return enter(ctx);
}

/* ROOT SHARE VOLUME: no program, which is for /.krun_config.json to say. */
static int config(char **a)
{
	char volume[4096];
	const char *const volumes[] = { volume, NULL };
	uint32_t ctx = begin(a[0]);

	(void)snprintf(volume, sizeof(volume), "%s:/mnt/volume", a[2]);
	CALL(krun_add_virtiofs(ctx, "share", a[1]));
	CALL(krun_set_mapped_volumes(ctx, volumes));
	CALL(krun_set_env(ctx, env));
	return enter(ctx);
}

/* ROOT FORMAT KERNEL INITRAMFS|- CMDLINE|- PROGRAM [ARG...] */
static int kernel(char **a)
{
	uint32_t ctx = begin(a[0]);

	CALL(krun_set_kernel(ctx, a[2], (uint32_t)atoi(a[1]), strcmp(a[3], "-") ? a[3] : NULL,
		strcmp(a[4], "-") ? a[4] : NULL));
	CALL(krun_set_exec(ctx, a[5], (const char *const *)(a + 6), env));
	return enter(ctx);
}

/* ROOT PROGRAM [ARG...]: the I/O APIC is the library's; two processors. */
static int split(char **a)
{
	uint32_t ctx = begin(a[0]);

	CALL(krun_set_vm_config(ctx, 2, 256));
	CALL(krun_split_irqchip(ctx, true));
	CALL(krun_set_exec(ctx, a[1], (const char *const *)(a + 2), env));
	return enter(ctx);
}

/* KERNEL INITRAMFS CMDLINE SHARE [SPLIT]: a distribution's kernel. Its console is the serial port,
 * on our input and output; a share, and a port of the virtio console, are there by their drivers.
 * It may run guests, where this host lets it. */
static int distribution(char **a)
{
	static const char *const strings[] = { "first string", "io.systemd.credential:x=y", NULL };
	uint32_t ctx = begin(NULL);
	int ports;

	CALL(krun_set_vm_config(ctx, 2, 512));
	CALL(krun_set_kernel(ctx, a[0], KRUN_KERNEL_FORMAT_RAW, a[1], a[2]));
	CALL(krun_set_nested_virt(ctx, krun_check_nested_virt() == 1));
	CALL(krun_split_irqchip(ctx, a[4] != NULL));
	CALL(krun_set_smbios_oem_strings(ctx, strings));
	CALL(krun_disable_implicit_console(ctx));
	CALL(krun_add_serial_console_default(ctx, 0, 1));
	ports = krun_add_virtio_console_multiport(ctx);
	CALL(ports);
	CALL(krun_add_console_port_inout(ctx, (uint32_t)ports, "data", -1, 2));
	CALL(krun_add_virtiofs(ctx, "share", a[3]));
	return enter(ctx);
}

/* ROOT OUT-SOCKET IN-SOCKET PROGRAM [ARG...]: 1234 of the guest to the host, 1235 the other way. */
static int vsock(char **a)
{
	uint32_t ctx = begin(a[0]);

	CALL(krun_add_vsock_port(ctx, 1234, a[1]));
	CALL(krun_add_vsock_port2(ctx, 1235, a[2], true));
	CALL(krun_set_exec(ctx, a[3], (const char *const *)(a + 4), env));
	return enter(ctx);
}

/* ROOT IN OUT PROGRAM [ARG...]: the workload's streams, and a named port. */
static int consoles(char **a)
{
	int in = open(a[1], O_RDONLY | O_CLOEXEC),
	    out = open(a[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	uint32_t ctx = begin(a[0]);
	int ports;

	CALL(krun_disable_implicit_console(ctx));
	CALL(krun_add_virtio_console_default(ctx, -1, 1, 2));
	ports = krun_add_virtio_console_multiport(ctx);
	CALL(ports);
	CALL(krun_add_console_port_inout(ctx, (uint32_t)ports, "data", in, out));
	CALL(krun_set_exec(ctx, a[3], (const char *const *)(a + 4), env));
	return enter(ctx);
}

/* ROOT FILE PROGRAM [ARG...] */
static int output(char **a)
{
	uint32_t ctx = begin(a[0]);

	CALL(krun_set_console_output(ctx, a[1]));
	CALL(krun_set_exec(ctx, a[2], (const char *const *)(a + 3), env));
	return enter(ctx);
}

static char *ready;
static int shutdown_fd;

static void *ask(void *arg)
{
	const uint64_t one = 1;
	struct stat st;

	while (stat(ready, &st))
		usleep(20000);
	if (write(shutdown_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
		_exit(97);
	return arg;
}

/* ROOT FILE PROGRAM [ARG...]: asked to end as soon as FILE is there. */
static int shut_down(char **a)
{
	uint32_t ctx = begin(a[0]);
	pthread_t t;

	ready = a[1];
	/* as daemons do; nothing of the library's may pass for the workload's input */
	(void)close(0);
	shutdown_fd = krun_get_shutdown_eventfd(ctx);
	CALL(shutdown_fd);
	CALL(krun_set_exec(ctx, a[2], (const char *const *)(a + 3), env));
	if (pthread_create(&t, NULL, ask, NULL))
		return 97;
	return enter(ctx);
}

/* ROOT DISK-SOCKET DIRECTORY-SOCKET PROGRAM [ARG...]: devices that other processes serve. */
static int vhost_user(char **a)
{
	uint32_t ctx = begin(a[0]);

	CALL(krun_add_vhost_user_device(ctx, 2, a[1], NULL, 0, NULL));
	CALL(krun_add_vhost_user_device(ctx, 26, a[2], "theirs", 0, NULL));
	CALL(krun_set_exec(ctx, a[3], (const char *const *)(a + 4), env));
	return enter(ctx);
}

/* ROOT RAW QCOW2 READONLY PROGRAM [ARG...]: three disks, each by another call. */
static int disks(char **a)
{
	uint32_t ctx = begin(a[0]);

	CALL(krun_add_disk3(ctx, "raw", a[1], KRUN_DISK_FORMAT_RAW, false, false, KRUN_SYNC_NONE));
	CALL(krun_add_disk2(ctx, "qcow2", a[2], KRUN_DISK_FORMAT_QCOW2, false));
	CALL(krun_add_disk(ctx, "readonly", a[3], true));
	CALL(krun_set_exec(ctx, a[4], (const char *const *)(a + 5), env));
	return enter(ctx);
}

/* ROOT UID RAW QCOW2 DIRECT PROGRAM [ARG...]: of a user who may not open any of them. */
static int user_disks(char **a)
{
	uint32_t ctx = begin(a[0]);

	CALL(krun_setgid(ctx, (gid_t)atoi(a[1])));
	CALL(krun_setuid(ctx, (uid_t)atoi(a[1])));
	CALL(krun_add_disk(ctx, "raw", a[2], false));
	CALL(krun_add_disk3(
		ctx, "qcow2", a[3], KRUN_DISK_FORMAT_QCOW2, false, atoi(a[4]), KRUN_SYNC_FULL));
	CALL(krun_set_exec(ctx, a[5], (const char *const *)(a + 6), env));
	return enter(ctx);
}

/* ROOT RAW DATA PROGRAM [ARG...]: as it was done before those. */
static int old_disks(char **a)
{
	uint32_t ctx = begin(a[0]);

	CALL(krun_set_data_disk(ctx, a[2]));
	CALL(krun_set_root_disk(ctx, a[1]));
	CALL(krun_set_exec(ctx, a[3], (const char *const *)(a + 4), env));
	return enter(ctx);
}

/* ROOT KIND WHERE PROGRAM [ARG...]: eth0, with an address by DHCP, by a socket or a tap. */
static int nic(char **a)
{
	uint8_t mac[6] = { 0x52, 0x54, 0, 7, 8, 9 };
	uint32_t ctx = begin(a[0]), flags = NET_FLAG_DHCP_CLIENT;

	if (!strcmp(a[1], "stream"))
		CALL(krun_add_net_unixstream(ctx, a[2], -1, mac, 0, flags));
	else if (!strcmp(a[1], "vfkit"))
		CALL(krun_add_net_unixgram(ctx, a[2], -1, mac, 0, flags | NET_FLAG_VFKIT));
	else
		CALL(krun_add_net_tap(ctx, a[2], mac, COMPAT_NET_FEATURES, flags));
	CALL(krun_set_exec(ctx, a[3], (const char *const *)(a + 4), env));
	return enter(ctx);
}

/* What the guest writes to a terminal, to standard error, until it has ended. */
static void *relay(void *arg)
{
	char buf[256];
	ssize_t n;

	while ((n = read(*(int *)arg, buf, sizeof(buf))) > 0)
		if (write(STDERR_FILENO, buf, (size_t)n) != n)
			break;
	return NULL;
}

/* ROOT DISK TAP SHARE PROGRAM [ARG...]: two processors, a raw disk, a tap that may have several
 * queues, a share that can only be read, a port that is a terminal. */
static int devices(char **a)
{
	uint8_t mac[6] = { 0x52, 0x54, 0, 7, 8, 10 };
	uint32_t ctx = begin(a[0]);
	static int far;
	pthread_t t;
	int near, console;

	CALL(krun_set_vm_config(ctx, 2, 256));
	CALL(krun_add_disk(ctx, "d", a[1], false));
	CALL(krun_add_net_tap(ctx, a[2], mac, COMPAT_NET_FEATURES, NET_FLAG_DHCP_CLIENT));
	CALL(krun_add_virtiofs3(ctx, "share", a[3], 0, true));
	if (openpty(&far, &near, NULL, NULL, NULL) || pthread_create(&t, NULL, relay, &far))
		return 97;
	console = krun_add_virtio_console_multiport(ctx);
	CALL(console);
	CALL(krun_add_console_port_tty(ctx, (uint32_t)console, "term", near));
	CALL(krun_set_exec(ctx, a[4], (const char *const *)(a + 5), env));
	return enter(ctx);
}

static void put(uint32_t ctx, const char *tag, const char *path, const char *text, bool once)
{
	CALL(krun_fs_add_overlay_file(
		ctx, tag, path, (const uint8_t *)text, strlen(text), 0640, once));
}

/* ROOT CONFIG PROGRAM: what the host does not have. In the root the text of /.krun_config.json, a
 * directory, and PROGRAM's file as one that can be started once; a share of nothing else. */
static int overlay(char **a)
{
	uint32_t ctx = begin(a[0]);
	int fd = open(a[2], O_RDONLY | O_CLOEXEC);
	uint8_t *file = malloc(8 << 20);
	ssize_t n = file && fd >= 0 ? read(fd, file, 8 << 20) : -1;

	if (n <= 0)
		return 97;
	CALL(krun_fs_add_overlay_dir(ctx, KRUN_FS_ROOT_TAG, "/virt", 0755));
	put(ctx, KRUN_FS_ROOT_TAG, "/virt/f", "in memory\n", false);
	put(ctx, KRUN_FS_ROOT_TAG, "/.krun_config.json", a[1], true);
	CALL(krun_fs_add_overlay_file(
		ctx, KRUN_FS_ROOT_TAG, "/virt/echo", file, (size_t)n, 0755, true));
	memset(file, 0, (size_t)n);
	free(file);
	CALL(krun_add_virtiofs(ctx, "nothing", NULL));
	CALL(krun_fs_add_overlay_dir(ctx, "nothing", "d", 0755));
	put(ctx, "nothing", "d/f", "alone\n", false);
	CALL(krun_set_env(ctx, env));
	return enter(ctx);
}

/* IMAGE READONLY DEVICE TYPE|- OPTIONS|- PROGRAM [ARG...]: the root on a disk. */
static int root_disk(char **a)
{
	uint32_t ctx = begin(NULL);

	CALL(krun_add_disk(ctx, "root", a[0], atoi(a[1])));
	CALL(krun_set_root_disk_remount(
		ctx, a[2], strcmp(a[3], "-") ? a[3] : NULL, strcmp(a[4], "-") ? a[4] : NULL));
	CALL(krun_set_exec(ctx, a[5], (const char *const *)(a + 6), env));
	return enter(ctx);
}

/* ROOT UID PROGRAM [ARG...]: what the workload writes, by a port of the name that its streams have.
 */
static int user(char **a)
{
	uint32_t ctx = begin(a[0]);
	int ports;

	CALL(krun_disable_implicit_console(ctx));
	ports = krun_add_virtio_console_multiport(ctx);
	CALL(ports);
	CALL(krun_add_console_port_inout(ctx, (uint32_t)ports, "krun-stdout", -1, 1));

	CALL(krun_setgid(ctx, (gid_t)atoi(a[1])));
	CALL(krun_setuid(ctx, (uid_t)atoi(a[1])));
	CALL(krun_set_exec(ctx, a[2], (const char *const *)(a + 3), env));
	return enter(ctx);
}

/* ROOT: the library's own first process as a file of the root's, which it cannot be. */
static int default_init(char **a)
{
	const uint8_t *init;
	char path[4096];
	size_t len;
	FILE *f;
	uint32_t ctx = begin(NULL);

	(void)snprintf(path, sizeof(path), "%s/init.krun", a[0]);
	CALL(krun_get_default_init(&init, &len));
	f = fopen(path, "w");
	if (!f || fwrite(init, len, 1, f) != 1 || fchmod(fileno(f), 0755) || fclose(f))
		return 97;
	CALL(krun_disable_implicit_init(ctx));
	CALL(krun_set_root(ctx, a[0]));
	return enter(ctx);
}

/* ROOT: what cannot start comes back, several times. */
static int errors(char **a)
{
	uint8_t mac[6] = { 2 };
	char nowhere[] = "/nowhere/at/all";

	for (int i = 0; i < 20; i++) {
		uint32_t none = begin(NULL), gone = begin("/nowhere/at/all"), net = begin(a[0]);

		CALL(krun_add_net_unixstream(net, nowhere, -1, mac, 0, 0));
		if (krun_start_enter(none) != -EINVAL || krun_start_enter(none) != -ENOENT ||
			krun_start_enter(gone) != -ENOENT || krun_start_enter(net) != -ENOENT)
			return 1;
	}
	return open("/dev/null", O_RDONLY | O_CLOEXEC) < 10 ? 0 : 2;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*fn)(char **a);
	} programs[] = {
		{ "chroot", 2, chroot_like },
		{ "config", 3, config },
		{ "kernel", 6, kernel },
		{ "split", 2, split },
		{ "distribution", 4, distribution },
		{ "vsock", 4, vsock },
		{ "consoles", 4, consoles },
		{ "output", 3, output },
		{ "shutdown", 3, shut_down },
		{ "nic", 4, nic },
		{ "devices", 5, devices },
		{ "user", 3, user },
		{ "vhost-user", 4, vhost_user },
		{ "errors", 1, errors },
		{ "default-init", 1, default_init },
		{ "disks", 5, disks },
		{ "user-disks", 6, user_disks },
		{ "old-disks", 4, old_disks },
		{ "root-disk", 6, root_disk },
		{ "overlay", 3, overlay },
	};

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		if (argc > 1 && !strcmp(argv[1], programs[i].name) && argc >= 2 + programs[i].args)
			return programs[i].fn(argv + 2);
	}
	return 96;
}
