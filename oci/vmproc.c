// SPDX-License-Identifier: Apache-2.0
/* The VMM process, from its clone to the started VM. */
/*
 * How it works
 *
 * The order is forced from several sides, see docs/architecture.md section 3: the user namespace
 * first (it came with the clone), the VM before the cgroup (inside one KVM_CREATE_VM can cost tens
 * of milliseconds) and before any thread; the cgroup before guest memory is touched, because that
 * is where it is charged; the cgroup namespace after the move; the mount tree, then the VM's
 * devices while the host's /proc can still be seen, then the pivot; AppArmor's profile,
 * capabilities and no_new_privs last, and only then threads. Nothing is forked or loaded from files
 * after the clone; the createContainer hooks are spawned, while the host's tree can be seen.
 *
 * Until COMMIT the process dies with the CLI, so a create that is killed leaves nothing running.
 * Errors go to the CLI as one sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "init/proto/msg.h"
#include "oci/apparmor.h"
#include "oci/confine.h"
#include "oci/confine_thread.h"
#include "oci/console.h"
#include "oci/fsutil.h"
#include "oci/hooks.h"
#include "oci/initramfs.h"
#include "oci/kernel.h"
#include "oci/nic.h"
#include "oci/resolve.h"
#include "oci/sandbox.h"
#include "oci/sync.h"
#include "oci/trace.h"
#include "oci/vmproc.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "vmm.h"

#define OWN_FDS 1024 /* what libvmm and the runtime hold themselves, generously */

static _Noreturn void fail(const struct vmproc *p, const struct error *e)
{
	IGNORE_RESULT(sync_send_error(p->sync_fd, e)); /* the CLI sees our end close in any case */
	_exit(1);
}

static int die_with_parent(const struct vmproc *p, struct error *e)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return err_sys(e, errno, "PR_SET_PDEATHSIG");
	/* it may have died before the call; in a pid namespace of our own its number is 0 all the
	 * time */
	if (getppid() != p->parent && getppid() != 0)
		return err_set(e, ESRCH, "the runtime was killed");
	return 0;
}

static int ask_for_maps(const struct vmproc *p, struct error *e)
{
	int r = sync_send(p->sync_fd, SYNC_USERNS);

	if (!r)
		r = sync_wait(p->sync_fd, SYNC_GO, e);
	if (!r)
		r = ns_become_root(&p->ns, e);
	/* a change of ids clears it */
	return r ? r : die_with_parent(p, e);
}

static int make_vm(const struct vmproc *p, struct vmm **vm, struct error *e)
{
	int r = p->sandbox ? 0 : vmm_new(p->kvm_fd, vm, e);

	trace_mark(TRACE_VM_MADE);
	if (!r)
		r = sync_send(p->sync_fd, SYNC_VM_MADE);
	return r ? r : sync_wait(p->sync_fd, SYNC_GO, e);
}

static int enter_namespaces(const struct vmproc *p, struct error *e)
{
	int r = ns_join(&p->ns, e);

	/* a change of ids clears it */
	if (!r && ns_joins_user(&p->ns))
		r = die_with_parent(p, e);
	if (!r && ns_late_user(&p->ns)) {
		r = ns_make_user(e);
		if (!r)
			r = ask_for_maps(p, e);
	}
	return r ? r : ns_make(&p->ns, p->spec, e);
}

/* The VM runs nothing of the guest's on a thread that could not be confined. */
static void on_thread(enum vmm_thread which, void *arg)
{
	static const enum confine_thread kind[] = {
		[VMM_THREAD_IO] = CONFINE_IO,
		[VMM_THREAD_FS] = CONFINE_FS,
		[VMM_THREAD_BLK] = CONFINE_BLK,
		[VMM_THREAD_NET] = CONFINE_NET,
		[VMM_THREAD_VHOST] = CONFINE_IO, /* no container has one */
		[VMM_THREAD_VCPU] = CONFINE_VCPU,
	};
	struct error e = { 0 };

	if (confine_thread(kind[which], &e))
		fail(arg, &e);
}

static int build_vm(struct vmproc *p, struct vmm *vm, int root_fd, int done_fd, struct error *e)
{
	size_t initrd_len = 0;
	CLEAN_FREE void *initrd = initramfs_make(&initrd_len);
	struct vmm_config cfg = { .on_thread = on_thread,
		.on_thread_arg = p,
		.vcpus = p->size.vcpus,
		.ram_bytes = p->size.ram,
		.hugepages = p->size.hugepages,
		.kernel_fd = p->kernel_fd,
		.initrd = initrd,
		.initrd_len = initrd_len,
		.cmdline = p->cmdline,
		.nfs = 1,
		.rng = true,
		.balloon = true,
		.vsock = true,
		.vsock_knock_port = PROTO_KNOCK_PORT,
		.vsock_done_fd = done_fd,
		.net = p->net,
		.console = true };
	int r;

	if (!initrd)
		return err_sys(e, ENOMEM, "initramfs");
	if (p->nic.kind)
		nic_device(&p->nic, p->c->id, &cfg.nic[cfg.nnics++]);
	cfg.ndisks = p->ndisks;
	(void)memcpy(cfg.disk, p->disk, sizeof(cfg.disk));
	(void)snprintf(cfg.fs[0].tag, sizeof(cfg.fs[0].tag), "root");
	/* a descriptor of our own: the pivot still needs root_fd */
	cfg.fs[0].root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
	cfg.fs[0].dax_bytes = p->size.dax;
	r = spec_cache_rules(p->spec, root_fd, &cfg.fs[0], e);
	/* drop_idle: the host may mount something in it later, which may be written to */
	cfg.fs[0].readonly = !cfg.fs[0].drop_idle && mount_tree_readonly(root_fd);
	if (r)
		return r;
	p->kernel_fd = -1;
	p->ndisks = 0;
	return vmm_build(vm, &cfg, e);
}

/*
 * What the guest has open is open here: as many files as the limits of libvmm allow, not the 1024
 * that a caller's soft limit most often is. The workload's own limits are the guest's business.
 */
static rlim_t raise_open_files(void)
{
	const rlim_t want = LIM_FS_HANDLES + LIM_FS_OPEN_INODES + LIM_FS_PINNED +
		LIM_FS_LOCK_OWNERS + LIM_VSOCK_CONNS + LIM_TSI_SOCKS + OWN_FDS;
	struct rlimit r, more;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return OWN_FDS;
	more.rlim_cur = more.rlim_max = MAX(r.rlim_max, want);
	/* more than the hard limit takes a right that not everybody has */
	if (!setrlimit(RLIMIT_NOFILE, &more))
		return want;
	r.rlim_cur = r.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &r);
	return MIN(r.rlim_max, want);
}

/* Room for every descriptor at once: the kernel then never grows the table under running threads,
 * which waits for all of them. */
static void size_fd_table(void)
{
	int high = fcntl(0, F_DUPFD_CLOEXEC, (int)raise_open_files() - 1);

	if (high >= 0)
		(void)close(high);
}

/* The caller's environment may hold secrets, and whoever may look at this process could read them
 * for as long as it lives. */
static void forget_environ(void)
{
	for (char **v = environ; v && *v; v++)
		explicit_bzero(*v, strlen(*v));
	environ = NULL;
}

/* The tree is there and still hangs in the host's: the CLI's hooks first, then those of the
 * container's namespaces, which are children of ours. */
static int run_hooks(const struct vmproc *p, struct error *e)
{
	const struct spec_hooks *h = p->spec->hooks;
	struct hook_state st = {
		.c = p->c, .status = "created", .pid = getpid(), .watch_fd = -1, .bound = true
	};
	int r = 0;

	if (h[SPEC_HOOK_PRESTART].n || h[SPEC_HOOK_CREATE_RUNTIME].n) {
		r = sync_send(p->sync_fd, SYNC_TREE_MADE);
		if (!r)
			r = sync_wait(p->sync_fd, SYNC_GO, e);
	}
	if (!r)
		r = hooks_run(p->spec, SPEC_HOOK_CREATE_CONTAINER, &st, e);
	forget_environ();
	return r;
}

/* What the VMM process holds when it is ready to run. */
struct ready {
	struct vmm *vm;
	struct vmloop *loop;
};

static int prepare_vm(struct vmproc *p, struct ready *y, int root, int done_fd, struct error *e)
{
	int r = resolve_args0(root, p->spec, e);

	if (!r)
		r = build_vm(p, y->vm, root, done_fd, e);
	trace_vm(y->vm);
	trace_mark(TRACE_BUILT);
	return r ? r : vmloop_new(p, y->vm, &y->loop, e);
}

/* While this process is still the caller's user: an image that goes by the page cache and by
 * O_DIRECT is opened twice. */
static int open_disks(struct vmproc *p, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; !r && i < p->ndisks; i++) {
		struct error why = { 0 };

		r = vmm_disk_open(&p->disk[i], &why);
		if (r)
			(void)err_set(e, r, "config.json: annotations[\"krun-oci.disk.%u\"]: %s", i,
				why.msg);
	}
	return r;
}

static int prepare(struct vmproc *p, struct ready *y, int done_fd, struct error *e)
{
	const char *profile = p->spec->process.apparmor_profile;
	CLEAN_FD int root = -1, attr = -1;
	int r = die_with_parent(p, e);

	(void)umask(0);
	if (!p->sandbox)
		size_fd_table();
	if (!r && p->tty_fd >= 0)
		r = console_take(p->tty_fd, e);
	if (!r)
		r = open_disks(p, e);
	if (!r && p->ns.at_clone & CLONE_NEWUSER)
		r = ask_for_maps(p, e);
	if (!r)
		r = make_vm(p, &y->vm, e);
	if (r)
		return r;
	r = enter_namespaces(p, e);
	if (r)
		return r;
	root = mount_plan_execute(&p->plan, e);
	if (root < 0)
		return root;
	p->bundle_fd = mount_plan_bundle(&p->plan);
	if (p->bundle_fd < 0)
		log_debug("the bundle cannot be kept: %s", err_text(p->bundle_fd));
	r = run_hooks(p, e);
	if (!r && !p->sandbox)
		r = prepare_vm(p, y, root, done_fd, e);
	if (!r && profile) {
		attr = apparmor_open(e);
		r = attr < 0 ? attr : 0;
	}
	if (!r)
		r = mount_pivot(root, e);
	if (!r)
		r = confine(attr, profile, e);
	return !r && p->sandbox ? sandbox_confine(p, e) : r;
}

/* What was the CLI's: above all its lock, which would be held for as long as a copy of it is open.
 */
static void close_cli(struct vmproc *p)
{
	int *fds[] = { &p->c->lock_fd, &p->c->dir_fd, &p->c->root_fd, &p->plan.bundle_fd,
		&p->plan.rootfs_fd, &p->kvm_fd, &p->null_fd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			(void)close(TAKE_FD(*fds[i]));
	}
}

_Noreturn void vmproc_main(struct vmproc *p)
{
	struct error e = { 0 };
	struct ready y = { .vm = NULL };
	int done[2], r;

	trace_mark(TRACE_CLONED);
	/* signals of the caller's terminal and group are its own to pass on; cannot fail, a clone
	 * leads no process group */
	IGNORE_RESULT(setsid());
	(void)prctl(PR_SET_NAME, "krun-oci-vm");
	(void)signal(SIGPIPE, SIG_IGN);
	r = pipe2(done, O_CLOEXEC | O_NONBLOCK) ? err_sys(&e, errno, "pipe") : 0;
	if (!r)
		r = prepare(p, &y, done[1], &e);
	if (r) {
		(void)err_set(&e, r, "create failed");
		fail(p, &e);
	}
	ns_close(&p->ns);
	mount_plan_free(&p->plan);
	close_cli(p);
	_exit(p->sandbox ? sandbox_run(p) : vmloop_run(y.loop, done[0]));
}
