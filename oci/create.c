// SPDX-License-Identifier: Apache-2.0
/* create, and what run has of it: the CLI's half. */
/*
 * How it works
 *
 * Everything that can be wrong with the request is looked at before anything is made
 * (create_look.c). Then, in an order in which each step can be undone by
 * what the previous ones recorded: the state directory (with the cgroup's name), the cgroup, the
 * VMM process. When a step fails, container_destroy() takes away whatever exists. The pid file is
 * written last and only on success.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/cgroup.h"
#include "oci/console.h"
#include "oci/create.h"
#include "oci/creation.h"
#include "oci/ctl.h"
#include "oci/fsutil.h"
#include "oci/hooks.h"
#include "oci/interrupt.h"
#include "oci/sandbox.h"
#include "oci/sync.h"
#include "oci/trace.h"
#include "util/cleanup.h"
#include "util/log.h"

void create_free(struct create *x)
{
	int *fds[] = { &x->bundle_fd, &x->rootfs_fd, &x->sync[0], &x->sync[1], &x->p.kvm_fd,
		&x->p.kernel_fd, &x->p.ctl_fd, &x->p.status_fd, &x->p.null_fd, &x->p.tty_fd,
		&x->p.notify.fd, &x->master };

	morefds_close(&x->p.more);
	ns_close(&x->p.ns);
	mount_plan_free(&x->p.plan);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			(void)close(TAKE_FD(*fds[i]));
	}
	for (unsigned i = 0; i < x->p.ndisks; i++)
		(void)close(x->p.disk[i].fd);
	container_free(&x->c);
	spec_free(x->spec);
	free(x->config);
}

void create_init(struct create *x, const struct rt *rt, const struct rt_create *o)
{
	*x = (struct create){ .rt = rt,
		.o = o,
		.bundle_fd = -1,
		.rootfs_fd = -1,
		.sync = { -1, -1 },
		.p = { .kvm_fd = -1,
			.kernel_fd = -1,
			.null_fd = -1,
			.sync_fd = -1,
			.tty_fd = -1,
			.notify = { .fd = -1 },
			.ctl_fd = -1,
			.status_fd = -1 },
		.master = -1,
		.c = { .root_fd = -1, .dir_fd = -1, .lock_fd = -1 } };
	if (o->more) {
		x->p.more = *o->more;
		o->more->n = 0;
	}
	for (int t = 0; t < SPEC_NS_TYPES; t++)
		x->p.ns.fd[t] = -1;
	caller_limits(&x->p.limits);
}

static int make_terminal(struct create *x, struct error *e)
{
	const struct spec_process *p = &x->spec->process;
	int r;

	if (!p->set || !p->terminal)
		return 0;
	r = console_open(p, STDIN_FILENO, &x->master, &x->p.tty_fd, e);
	if (r || !x->o->console_socket)
		return r;
	r = socket_send_fd("--console-socket", x->o->console_socket, " ", x->master, e);
	(void)close(TAKE_FD(x->master));
	return r;
}

/* Without a cgroup of its own, after error @r: an ordinary user may not be able to have one. */
static bool may_stay(const struct create *x, int r)
{
	return x->rt->rootless && (r == -EACCES || r == -EPERM || r == -EROFS) &&
		!cgroup_has_limits(x->spec, &x->p.size);
}

static int make_cgroup(struct create *x, struct error *e)
{
	struct error why = { 0 };
	struct cg_mark m;
	int r = 0;

	cg_mark_of(&m, x->c.created, x->c.id);
	if (x->c.cgroup)
		r = cgroup_make(x->c.cgroup, x->spec, &x->p.size, &m, &x->c.cgroup_kept, &why);
	if (!r)
		return 0;
	/* not made, not ours to remove */
	free(TAKE_PTR(x->c.cgroup));
	if (may_stay(x, r)) {
		log_warn("%s: the container stays in the caller's", why.msg);
		return 0;
	}
	return err_set(e, r, "%s", why.msg);
}

/* From the clone on it can be found, and ended, by those whom this create keeps waiting. */
static int record(struct create *x, struct error *e)
{
	char state;

	/* ours until we reap it, so it is there, if only as a zombie */
	if (proc_start_time(x->c.pid, &x->c.pid_start, &state))
		return err_set(e, ECONNRESET,
			"the VMM process ended while the container was being created");
	return container_store(&x->c, e);
}

/* With the systemd driver the cgroup is made around the process. */
static int adopt_scope(struct create *x, struct error *e)
{
	struct cg_settings l = { 0 };
	struct cg_mark m;
	int r;

	cg_mark_of(&m, x->c.created, x->c.id);
	cgroup_plan(&l, x->spec, &x->p.size);
	r = sd_scope_start(&x->scope, x->c.pid, x->c.id, &l, e);
	if (!r)
		r = cgroup_of(x->c.pid, &x->c.cgroup, e);
	if (r)
		return r;
	/* what is above is systemd's */
	x->c.cgroup_kept = (size_t)(strrchr(x->c.cgroup, '/') - x->c.cgroup);
	r = container_store(&x->c, e);
	if (!r)
		r = cgroup_claim(x->c.cgroup, &m, x->c.cgroup_kept, e);
	return r ? r : cgroup_limit(x->c.cgroup, &l, e);
}

/* Into the one that make_cgroup() has made. */
static int adopt_cgroup(struct create *x, struct error *e)
{
	struct error why = { 0 };
	struct cg_mark m;
	int r = cgroup_add(x->c.cgroup, x->c.pid, &why);

	if (!r)
		return 0;
	if (!may_stay(x, r))
		return err_set(e, r, "%s", why.msg);
	log_warn("%s: the container stays in the caller's", why.msg);
	cg_mark_of(&m, x->c.created, x->c.id);
	r = cgroup_destroy(x->c.cgroup, x->c.cgroup_kept, &m, false, DESTROY_MS, e);
	if (r)
		return r;
	free(TAKE_PTR(x->c.cgroup));
	return container_store(&x->c, e);
}

/* The VMM process has made the VM: it goes into the cgroup. */
static int adopt(struct create *x, struct error *e)
{
	int r = sync_wait(x->sync[0], SYNC_VM_MADE, e);

	if (!r && x->c.scope)
		r = adopt_scope(x, e);
	else if (!r && x->c.cgroup)
		r = adopt_cgroup(x, e);
	return r ? r : sync_send(x->sync[0], SYNC_GO);
}

static int user_namespace(struct create *x, struct error *e)
{
	int r;

	if (!(x->p.ns.make & CLONE_NEWUSER))
		return 0;
	r = sync_wait(x->sync[0], SYNC_USERNS, e);
	if (!r)
		r = ns_write_maps(x->c.pid, x->spec, e);
	return r ? r : sync_send(x->sync[0], SYNC_GO);
}

/* Sets our own: what is cloned then has it, whatever namespaces it is in. *@old gets what it was.
 */
static int set_oom_score(long v, long *old)
{
	CLEAN_FREE char *was = NULL;
	char text[16];
	int r = read_file_at(AT_FDCWD, "/proc/self/oom_score_adj", 16, &was, NULL);

	if (r)
		return r;
	*old = strtol(was, NULL, 10);
	(void)snprintf(text, sizeof(text), "%ld", v);
	return *old == v ? 0 : write_existing_at(AT_FDCWD, "/proc/self/oom_score_adj", text);
}

/* As ns_clone(), with process.oomScoreAdj: on the host it is the VMM that the kernel may choose. */
static pid_t clone_vmm(struct create *x, struct error *e)
{
	const struct spec_process *p = &x->spec->process;
	long old = 0, ignored;
	pid_t pid;
	int r = p->set && p->oom_score_adj.set ? set_oom_score((long)p->oom_score_adj.v, &old) : 0;

	if (r == -EACCES && x->rt->rootless)
		log_warn("config.json: process.oomScoreAdj: lower than an ordinary user may go");
	else if (r)
		return err_sys(e, r, "config.json: process.oomScoreAdj");
	pid = ns_clone(&x->p.ns);
	if (pid && !r && p->set && p->oom_score_adj.set)
		IGNORE_RESULT(set_oom_score(old, &ignored));
	return pid < 0 ? err_sys(e, pid, "cannot make the VMM process") : pid;
}

/* Between the VMM process's tree and its pivot: the hooks that run where the CLI is. */
static int host_hooks(struct create *x, struct error *e)
{
	CLEAN_FD int fd = -1;
	struct hook_state st = { .c = &x->c, .status = "created", .pid = x->c.pid };
	int r;

	if (!(x->c.hooks & (HOOK_BIT(SPEC_HOOK_PRESTART) | HOOK_BIT(SPEC_HOOK_CREATE_RUNTIME))))
		return 0;
	r = sync_wait(x->sync[0], SYNC_TREE_MADE, e);
	if (r)
		return r;
	fd = container_pidfd(&x->c);
	/* nobody would end the wait for a hook of one that has gone */
	if (fd < 0)
		return err_sys(e, fd, "the VMM process has ended before the hooks");
	st.watch_fd = fd;
	r = hooks_run(x->spec, SPEC_HOOK_PRESTART, &st, e);
	if (!r)
		r = hooks_run(x->spec, SPEC_HOOK_CREATE_RUNTIME, &st, e);
	return r ? r : sync_send(x->sync[0], SYNC_GO);
}

static int start_vmm(struct create *x, struct error *e)
{
	bool late = ns_late_user(&x->p.ns);
	pid_t pid;
	int r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, x->sync))
		return err_sys(e, errno, "socketpair");
	/* with the caller's rights: in a user namespace of its own the VMM process has none here */
	x->p.status_fd = status_open(&x->c);
	x->p.ctl_fd = ctl_listen(&x->c, e);
	if (x->p.status_fd < 0 || x->p.ctl_fd < 0)
		return err_sys(e, x->p.status_fd < 0 ? x->p.status_fd : x->p.ctl_fd,
			"cannot open the container's state");
	x->p.opt = x->o;
	x->p.spec = x->spec;
	x->p.c = &x->c;
	x->p.sync_fd = x->sync[1];
	x->p.parent = getpid();
	pid = clone_vmm(x, e);
	if (pid < 0)
		return pid;
	if (!pid) {
		(void)interrupt_end();
		(void)close(x->sync[0]);
		if (x->master >= 0)
			(void)close(x->master);
		vmproc_main(&x->p);
	}
	x->c.pid = pid;
	interrupt_kills(pid);
	(void)close(TAKE_FD(x->sync[1]));
	/* a copy of ours would take connections that nobody answers once the VMM is gone */
	(void)close(TAKE_FD(x->p.ctl_fd));
	/* and of these ends would not be seen */
	morefds_close(&x->p.more);
	r = record(x, e);
	if (!r && !late)
		r = user_namespace(x, e);
	if (!r)
		r = adopt(x, e);
	if (!r && late)
		r = user_namespace(x, e);
	if (!r)
		r = host_hooks(x, e);
	return r ? r : sync_wait(x->sync[0], SYNC_READY, e);
}

static int write_pid_file(const struct create *x, struct error *e)
{
	char text[16];
	int n, r;

	if (!x->o->pid_file)
		return 0;
	/* digits and nothing else: some readers take no newline */
	n = snprintf(text, sizeof(text), "%d", (int)x->c.pid);
	r = write_file_path(x->o->pid_file, text, (size_t)n, 0644);
	return r ? err_sys(e, r, "--pid-file \"%.150s\"", x->o->pid_file) : 0;
}

static int send_pidfd(const struct create *x, struct error *e)
{
	CLEAN_FD int fd = -1;

	if (!x->o->pidfd_socket)
		return 0;
	fd = (int)syscall(SYS_pidfd_open, x->c.pid, 0);
	if (fd < 0)
		return err_sys(e, errno, "--pidfd-socket: pidfd_open");
	return socket_send_fd("--pidfd-socket", x->o->pidfd_socket, "pidfd", fd, e);
}

/* From here on the VMM lives without us. */
static int commit(struct create *x, struct error *e)
{
	int r = sync_send(x->sync[0], SYNC_COMMIT);

	r = r ? err_sys(e, r, "the VMM process") : sync_wait(x->sync[0], SYNC_COMMITTED, e);
	if (r && x->o->pid_file)
		(void)unlink(x->o->pid_file);
	return r;
}

void create_undo(struct create *x, struct error *e)
{
	struct error first = *e, left = { 0 };

	interrupt_kills(0);
	if (x->c.pid > 0 && !x->reaped) {
		(void)kill(x->c.pid, SIGKILL);
		(void)waitpid(x->c.pid, NULL, 0);
	}
	if (!container_destroy(&x->c, DESTROY_MS, &left))
		return;
	*e = (struct error){ 0 };
	(void)err_set(e, first.code ? first.code : left.code,
		"%.150s%swhat was made stays until delete --force: %s", first.msg,
		*first.msg ? "; " : "", left.msg);
}

/* What the container's cgroup will be called, to be on record before there is one. */
static int name_cgroup(struct create *x, struct error *e)
{
	CLEAN_FD int mnt = -1;
	int r = 0;

	if (x->rt->cgroup_disabled)
		return 0;
	mnt = cgroup_mount(e);
	if (mnt < 0)
		return mnt;
	if (x->rt->systemd_cgroup) {
		r = sd_available(e);
		if (!r)
			r = sd_scope_name(x->spec->linux_.cgroups_path, x->c.id, &x->scope, e);
		x->c.scope = r ? NULL : strdup(x->scope.name);
		return r ? r : x->c.scope ? 0 : err_sys(e, ENOMEM, "cgroup");
	}
	x->c.cgroup = cgroup_path(x->spec, x->c.id, e);
	if (!x->c.cgroup)
		return -EINVAL;
	x->c.cgroup_kept = cgroup_there(x->c.cgroup);
	return 0;
}

/* The file says that this container was out of memory: that of one before it must not. */
static void drop_oom_file(const struct create *x)
{
	struct stat st;

	/* ours is empty: whatever else has that name is somebody's */
	if (!fstatat(x->bundle_fd, "oom", &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) &&
		!st.st_size && unlinkat(x->bundle_fd, "oom", 0) && errno != ENOENT)
		log_warn("the file \"oom\" of an earlier container stays in the bundle: %s",
			err_text(errno));
}

int create_make(struct create *x, struct error *e)
{
	int r = create_look(x, e);

	if (!r)
		r = name_cgroup(x, e);
	if (r)
		return r;
	r = container_make(x->rt, &x->c, x->config, x->config_len, e);
	if (r)
		return r;
	drop_oom_file(x);
	r = make_cgroup(x, e);
	if (!r)
		r = make_terminal(x, e);
	if (!r)
		r = start_vmm(x, e);
	if (!r)
		r = send_pidfd(x, e);
	if (!r)
		r = write_pid_file(x, e);
	if (!r)
		r = commit(x, e);
	if (r)
		create_undo(x, e);
	return r;
}

int rt_create(const struct rt *rt, const struct rt_create *o, struct error *e)
{
	CLEAN(create_free) struct create x;

	create_init(&x, rt, o);
	return create_make(&x, e); /* create_free() lets the lock go */
}
