// SPDX-License-Identifier: Apache-2.0
/* krun_start_enter(): from the context to a VM, and to the end of the process. */
/*
 * How it works
 *
 * Everything that can be wrong is looked at before the VM exists, as far as that can be known:
 * kernel, directories, sockets, console file. /dev/kvm and the disks are opened before the change
 * of user, which may lose the right to, and after that change come the VM and what it opens. Then
 * run() has the process, and what run() returns ends it, without handlers of the program's: in the
 * original's contract it is _exit().
 *
 * What fails before that point goes back as an error, and nothing is left of it but the limit of
 * open files, the name of the thread, and the user. The umask is the program's, for its sockets and
 * files; the threads that make files for the guest have one of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/start.h"
#include "init/proto/msg.h"
#include "oci/initramfs.h"
#include "util/cleanup.h"
#include "util/io.h"
#include "util/log.h"
#include "vmm.h"

#define OWN_FDS	   1024
#define INITRD_MAX (512ULL << 20)

static int check(const struct api_ctx *c, struct error *e)
{
	/* a kernel of the caller's may find it on a disk; look() knows whether it gets the agent */
	if (!start_root(c) && !c->initramfs && !c->kernel)
		return err_set(e, EINVAL, "there is no root: krun_set_root()");
	return 0;
}

/* As many open files as libvmm's limits add up to, where the hard limit lets it. */
static void raise_open_files(void)
{
	const rlim_t want = LIM_FS_HANDLES + LIM_FS_OPEN_INODES + LIM_FS_PINNED +
		LIM_FS_LOCK_OWNERS + LIM_VSOCK_CONNS + LIM_TSI_SOCKS + OWN_FDS;
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur >= want)
		return;
	r.rlim_cur = MIN(r.rlim_max, want);
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

static int change_user(const struct api_ctx *c, struct error *e)
{
	if (c->set_gid && setgid(c->gid))
		return err_sys(e, errno, "setgid(%u)", (unsigned)c->gid);
	if (c->set_uid && setuid(c->uid))
		return err_sys(e, errno, "setuid(%u)", (unsigned)c->uid);
	return 0;
}

static int read_initramfs(struct start *s, struct error *e)
{
	CLEAN_FD int fd = open(s->c->initramfs, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st))
		return err_sys(e, errno, "initramfs: \"%.160s\"", s->c->initramfs);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > INITRD_MAX)
		return err_set(e, EINVAL, "initramfs: \"%.160s\" is no file, or too large",
			s->c->initramfs);
	s->cfg.initrd_len = (size_t)st.st_size;
	s->initrd = malloc(s->cfg.initrd_len + 1);
	r = s->initrd ? io_pread(fd, s->initrd, s->cfg.initrd_len, 0) : -ENOMEM;
	return r ? err_sys(e, r, "initramfs: \"%.160s\"", s->c->initramfs) : 0;
}

static int add_initrd(struct start *s, struct error *e)
{
	int r = 0;

	if (s->c->initramfs)
		r = read_initramfs(s, e);
	else if (s->kernel.boot == BOOT_AGENT)
		s->initrd = initramfs_make(&s->cfg.initrd_len);
	else
		return 0;
	s->cfg.initrd = s->initrd;
	return r || s->initrd ? r : err_sys(e, ENOMEM, "initramfs");
}

/* What is looked at before anything of the process is changed. */
static int look(struct start *s, struct error *e)
{
	const struct api_fs *root = start_root(s->c);
	CLEAN_FD int fd = -1;
	int r = check(s->c, e);

	if (s->c->gpu)
		log_warn("there is no GPU in this library: the guest has none");
	if (!r)
		r = kernel_find(s->c, &s->kernel, e);
	s->cfg.kernel_fd = s->kernel.fd;
	if (!r)
		r = kernel_line(s->c, &s->kernel, start_tsi(s->c), s->line, s->line_end, e);
	if (r)
		return r;
	if (s->kernel.boot != BOOT_OWN && !root)
		return err_set(e, EINVAL, "there is no root: krun_set_root()");
	s->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (s->kvm_fd < 0)
		return err_sys(e, errno, "/dev/kvm");
	if (s->kernel.boot == BOOT_OWN)
		return 0;
	if (root->path)
		fd = open(root->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root->path && fd < 0)
		return err_sys(e, errno, "root: \"%.160s\"", root->path);
	return work_make(s->c, fd, &s->work, e);
}

static int build(struct start *s, struct error *e)
{
	int r = start_disks(s, e);

	if (!r)
		r = change_user(s->c, e);
	raise_open_files();
	if (!r && pipe2(s->done, O_CLOEXEC | O_NONBLOCK))
		r = err_sys(e, errno, "pipe");
	if (!r)
		r = stdio_find(s->c, s->kernel.boot == BOOT_OWN, &s->stdio, e);
	if (!r)
		r = start_devices(s, e);
	if (!r)
		r = add_initrd(s, e);
	if (!r)
		r = vmm_new(s->kvm_fd, &s->vm, e);
	if (r)
		return r;
	s->cfg.vcpus = s->c->vcpus;
	s->cfg.nested = s->c->nested;
	s->cfg.ram_bytes = (uint64_t)s->c->ram_mib << 20;
	s->cfg.split_irqchip = s->c->split_irqchip;
	/* it hangs on an old controller, which that has not */
	s->cfg.pit = s->kernel.foreign && !s->c->split_irqchip;
	/* any kernel of the caller's may be a distribution's */
	s->cfg.acpi = s->cfg.rtc = s->c->kernel != NULL;
	s->cfg.smbios = s->cfg.acpi || s->c->smbios.n;
	s->cfg.oem_strings = (const char *const *)s->c->smbios.v;
	s->cfg.noem_strings = (unsigned)s->c->smbios.n;
	s->cfg.cmdline = s->line;
	s->cfg.cmdline_end = s->line_end;
	s->cfg.balloon = true;
	s->cfg.rng = !start_has_vhost(s->c, KRUN_VIRTIO_DEVICE_RNG);
	/* nobody but the agent knocks */
	s->cfg.vsock_knock_port = s->kernel.boot == BOOT_OWN ? 0 : PROTO_KNOCK_PORT;
	s->cfg.vsock_done_fd = s->done[1];
	r = vmm_build(s->vm, &s->cfg, e);
	s->kernel.fd = -1;
	s->cfg.nfs = s->cfg.nports = s->cfg.nserials = s->cfg.nvsock_ports = s->cfg.nnics = 0;
	s->cfg.ndisks = s->cfg.nvhost_user = 0;
	return r;
}

/* What a start that failed holds. */
static void undo(struct start *s)
{
	int fds[] = { s->kernel.fd, s->kvm_fd, s->done[0], s->done[1], s->stdio.file };

	vmm_free(s->vm);
	start_devices_undo(s);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	work_free(&s->work);
	free(s->initrd);
	stdio_let_go(s->c);
	api_free(s->c);
	free(s);
}

/* As the process would have ended if nobody had taken the signal. */
static _Noreturn void end_process(int by_signal, int code)
{
	sigset_t s;

	if (by_signal) {
		(void)sigemptyset(&s);
		(void)sigaddset(&s, by_signal);
		(void)pthread_sigmask(SIG_UNBLOCK, &s, NULL);
		(void)raise(by_signal);
	}
	_exit(code);
}

/* What process lists call a VM, as the original does. */
static void name_process(void)
{
	const char *host = getenv("HOSTNAME");
	char name[16];

	(void)snprintf(name, sizeof(name), "%s%s", host ? "VM:" : "libkrun VM", host ? host : "");
	(void)prctl(PR_SET_NAME, name);
}

int32_t krun_start_enter(uint32_t ctx_id)
{
	struct api_ctx *c = api_take(ctx_id);
	struct start *s = c ? calloc(1, sizeof(*s)) : NULL;
	struct error e = { 0 };
	int r;

	if (!c)
		return -ENOENT;
	if (!s) {
		api_free(c);
		return -ENOMEM;
	}
	*s = (struct start){ .c = c,
		.kernel.fd = -1,
		.stdio.file = -1,
		.kvm_fd = -1,
		.code = RUN_NO_CODE,
		.done = { -1, -1 } };
	api_log_default();
	r = stdio_hold(c, &e);
	if (!r)
		r = look(s, &e);
	if (!r)
		r = build(s, &e);
	if (!r) {
		struct run_cfg cfg = { .vm = s->vm,
			.c = c,
			.stdio = &s->stdio,
			.work = s->kernel.boot == BOOT_OWN ? NULL : &s->work,
			.done_fd = s->done[0],
			.code = &s->code,
			.signal = &s->signal };

		name_process();
		r = run(&cfg, &e);
		if (r >= 0) {
			start_nics_unname(s);
			start_vsock_unname(s);
			end_process(s->signal, r);
		}
	}
	log_err("krun_start_enter: %s", e.msg);
	undo(s);
	return r;
}
