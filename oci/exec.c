// SPDX-License-Identifier: Apache-2.0
/* exec: another process in a container, from the command line's side. */
/*
 * How it works
 *
 * The process is described here, handed to the VMM with our stdio (oci/vmexec.h), and waited for.
 * In the foreground the command itself waits. With --detach it leaves a proxy behind, cloned into
 * the container's cgroup. It says by a socket that it is confined, or why it cannot be, and waits
 * there: its parent tells it to go on once the guest has executed the program and the pid file is
 * written, and when the parent dies before that, the proxy ends, its connection with it, and so the
 * process in the guest.
 *
 * The guest begins to work as soon as the request is sent; the proxy is cloned meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/proto/blob.h"
#include "oci/cgroup.h"
#include "oci/confine_thread.h"
#include "oci/console.h"
#include "oci/create.h"
#include "oci/ctl.h"
#include "oci/exec.h"
#include "oci/fsutil.h"
#include "oci/guest_blob.h"
#include "oci/interrupt.h"
#include "oci/json_text.h"
#include "oci/morefds.h"
#include "oci/seccomp_cache.h"
#include "oci/signals.h"
#include "oci/sync.h"
#include "oci/vmexec.h"
#include "util/cleanup.h"
#include "util/log.h"

struct exec {
	const struct rt *rt;
	const struct rt_exec *o;
	struct morefds more;
	struct container c;
	struct spec *spec, *own; /* the container's; what holds strings of the process */
	struct spec_process p;
	bool child; /* a proxy beside us, rather than ourselves */
	int master, slave, blob, null, conn;
	int vm_slave; /* the VMM's, which does not block */
	int sync[2];  /* ours and the proxy's, as in oci/sync.h: READY or ERROR, GO */
	pid_t pid;    /* the proxy */
};

static void exec_free(struct exec *x)
{
	int *fds[] = { &x->master, &x->slave, &x->vm_slave, &x->blob, &x->null, &x->conn,
		&x->sync[0], &x->sync[1] };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			(void)close(TAKE_FD(*fds[i]));
	}
	morefds_close(&x->more);
	spec_free(x->own);
	spec_free(x->spec);
	container_free(&x->c);
}

static int check_phase(const struct exec *x, struct error *e)
{
	switch (container_phase(&x->c, NULL)) {
	case PHASE_CREATED:
	case PHASE_RUNNING:
		return 0;
	case PHASE_PAUSED:
		return x->o->ignore_paused ? 0
					   : err_set(e, EBUSY, "cannot exec in a paused container");
	case PHASE_STOPPED:
		return err_set(e, EINVAL,
			"container \"%s\" is not running: cannot exec in a stopped container",
			x->c.id);
	case PHASE_CREATING:
		break;
	}
	return err_set(
		e, EBUSY, "container \"%s\" is not running: it is still being created", x->c.id);
}

/* Below the container's, however many slashes it begins with. */
static const char *cgroup_of_guest(const char *path)
{
	return path ? path + strspn(path, "/") : NULL;
}

static int check_request(struct exec *x, struct error *e)
{
	const struct rt_exec *o = x->o;

	if (o->cgroup && (!*cgroup_of_guest(o->cgroup) || strchr(o->cgroup, ':')))
		return err_set(e, EINVAL,
			"--cgroup: \"%.150s\" is no path below the container's cgroup (of cgroup v2, without a controller)",
			o->cgroup);
	if (x->p.terminal && o->detach && !o->console_socket)
		return err_set(e, EINVAL, "a terminal with --detach needs --console-socket");
	if (o->console_socket && !x->p.terminal)
		return err_set(e, EINVAL, "--console-socket: the process has no terminal");
	/* who is to follow a terminal's size must lead a session of its own */
	x->child = o->detach || o->console_socket;
	return 0;
}

/* Where we and what stands for the process run, for as long as no cgroup says otherwise. */
static int initial_cpus(const struct spec_process *p, struct error *e)
{
	uint64_t bits[SPEC_CPU_WORDS];

	if (!p->cpu_initial)
		return 0;
	(void)spec_cpu_bits(p->cpu_initial, bits, SPEC_CPU_WORDS);
	if (syscall(SYS_sched_setaffinity, 0, sizeof(bits), bits))
		return err_sys(
			e, errno, "process.execCPUAffinity.initial: %s", QUOTE(p->cpu_initial));
	return 0;
}

static int make_terminal(struct exec *x, struct error *e)
{
	int r = console_open(&x->p, x->child ? -1 : STDIN_FILENO, &x->master, &x->slave, e);
	struct winsize ws;

	if (r)
		return r;
	x->vm_slave = ioctl(x->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (x->vm_slave < 0)
		return err_sys(e, errno, "cannot open the terminal's other side");
	/* the guest's terminal begins with it */
	if (!ioctl(x->master, TIOCGWINSZ, &ws)) {
		x->p.rows = ws.ws_row;
		x->p.cols = ws.ws_col;
	}
	if (!x->o->console_socket)
		return 0;
	r = socket_send_fd("--console-socket", x->o->console_socket, " ", x->master, e);
	(void)close(TAKE_FD(x->master));
	return r;
}

static int make_blob(struct exec *x, struct error *e)
{
	unsigned stdio = x->p.terminal
		? BLOB_STDIO(PROTO_TTY)
		: BLOB_STDIO(PROTO_STDIN) | BLOB_STDIO(PROTO_STDOUT) | BLOB_STDIO(PROTO_STDERR);
	CLEAN(seccomp_prog_free) struct seccomp_prog filter = { 0 };
	CLEAN_FREE uint8_t *blob = NULL;
	struct caller_limits lim;
	size_t len = 0;
	int r = seccomp_cached(x->c.dir_fd, &x->spec->linux_.seccomp, &filter, e);

	caller_limits(&lim);
	if (!r)
		r = guest_blob_exec(x->spec, &x->p, &filter, cgroup_of_guest(x->o->cgroup), stdio,
			&x->more, &lim, &blob, &len, e);
	if (r)
		return r;
	x->blob = memfd_create("krun-oci-exec", MFD_CLOEXEC);
	r = x->blob < 0 ? -errno : write_full(x->blob, blob, len);
	if (!r && x->more.n)
		r = write_full(x->blob, x->more.kind, x->more.n);
	return r ? err_sys(e, r, "cannot describe the process to the VMM") : 0;
}

/*
 * A description of a pipe that is nobody else's, so that the VMM may read and write
 * without waiting: after its pivot it cannot make one itself. What cannot be opened again (another
 * user's pipe, a socket, a file) goes as it is.
 */
static int own_description(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;
	char path[32];

	if (flags < 0 || fstat(fd, &st) || !S_ISFIFO(st.st_mode))
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, (flags & (O_ACCMODE | O_DIRECT)) | O_NONBLOCK | O_CLOEXEC);
}

/* A copy of @fd for the VMM, in the next place of @fds. */
static int hand_over(int *fds, unsigned *n, int fd, struct error *e)
{
	int own = own_description(fd);

	fds[*n] = own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fds[*n] < 0)
		return err_sys(e, errno, "cannot hand descriptor %d over", fd);
	(*n)++;
	return 0;
}

static int send_request(struct exec *x, struct error *e)
{
	struct ctl_req q = { .op = CTL_EXEC, .arg = x->more.n };
	int fds[CTL_MAX_FDS] = { x->blob };
	unsigned n = 1;
	int r = 0;

	x->conn = ctl_connect(&x->c, e);
	if (x->conn < 0)
		return x->conn;
	interrupt_hangs_up(x->conn);
	q.flags = (x->p.terminal ? EXEC_TTY : 0) | (x->o->ignore_paused ? EXEC_PAUSED : 0) |
		(x->child ? EXEC_PROXY : 0);
	if (x->p.terminal)
		fds[n++] = TAKE_FD(x->vm_slave);
	for (int fd = 0; fd <= 2 && !x->p.terminal && !r; fd++)
		r = hand_over(fds, &n, fd, e);
	for (unsigned i = 0; i < x->more.n && !r; i++)
		r = hand_over(fds, &n, x->more.fd[i], e);
	if (!r)
		r = ctl_send(x->conn, &q, fds, n, e);
	for (unsigned i = 1; i < n; i++)
		(void)close(fds[i]);
	/* what we held of them, their readers would wait for */
	morefds_close(&x->more);
	return r;
}

/* What was handed over we do not hold: a reader would wait for us, a writer go on to fill. stderr
 * stays for our own words, unless @all. */
static void leave_stdio(const struct exec *x, bool all)
{
	for (int fd = 0; fd <= (all ? 2 : 1); fd++)
		(void)dup2(x->null, fd);
}

/* What the caller's environment and our arguments hold may be secret, and whoever may look at this
 * process could read them for as long as it lives. */
static void forget_words(const struct rt_exec *o)
{
	for (char **v = environ; v && *v; v++)
		explicit_bzero(*v, strlen(*v));
	for (unsigned i = 0; i < o->n_args; i++)
		explicit_bzero(o->args[i], strlen(o->args[i]));
	for (unsigned i = 0; i < o->env.n; i++)
		explicit_bzero((void *)(uintptr_t)o->env.v[i], strlen(o->env.v[i]));
}

/* All from 3 on but @n descriptors, -1 among them for none. */
static void close_but(const int *keep, size_t n)
{
	unsigned from = 3;

	for (;;) {
		unsigned next = ~0U;

		for (size_t i = 0; i < n; i++) {
			if (keep[i] >= (int)from)
				next = MIN(next, (unsigned)keep[i]);
		}
		if (next > from)
			(void)close_range(from, next - (next != ~0U), 0);
		if (next == ~0U)
			return;
		from = next + 1;
	}
}

/* #syscalls:proxy close recvfrom */
static _Noreturn void proxy_main(struct exec *x)
{
	struct exec_proxy p = { .c = &x->c, .name = "", .conn = x->conn, .tty = x->slave };
	const int keep[] = { x->conn, x->slave, x->sync[1] };
	struct error e = { 0 };
	int code;

	(void)interrupt_end();
	(void)prctl(PR_SET_NAME, "krun-oci-exec");
	(void)setsid(); /* a clone leads no process group: it cannot fail */
	if (x->slave >= 0)
		(void)ioctl(x->slave, TIOCSCTTY, 0);
	leave_stdio(x, true);
	/* in the foreground the process is to end with the command, as it does without a child; one
	 * that has ended already says no SYNC_GO */
	if (!x->o->detach && prctl(PR_SET_PDEATHSIG, SIGKILL))
		_exit(1);
	forget_words(x->o);
	close_but(keep, ARRAY_SIZE(keep));
	if (confine_thread(CONFINE_PROXY, &e)) {
		(void)sync_send_error(x->sync[1], &e);
		_exit(1);
	}
	/* the end of the socket: the command failed, or was killed */
	if (sync_send(x->sync[1], SYNC_READY) || sync_wait(x->sync[1], SYNC_GO, &e))
		_exit(1);
	(void)close(x->sync[1]);
	code = exec_proxy_wait(&p, &e);
	_exit(code < 0 ? 1 : code);
}

/* @own_tty: we read and write it ourselves, and stop as all do who do so in the background. */
static void block_signals(bool own_tty)
{
	sigset_t set;

	(void)sigfillset(&set);
	if (own_tty) {
		(void)sigdelset(&set, SIGTTIN);
		(void)sigdelset(&set, SIGTTOU);
	}
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

/* The kernel ends a pid namespace's processes, and has them reaped, before anybody sees the end of
 * its first one, which is the VMM. So managers that look at the processes of their execs when the
 * container has ended find none, as with a shared kernel. Where there is no such namespace, or it
 * may not be joined, they end because the VMM has. */
static bool join_pid_ns(const struct exec *x)
{
	CLEAN_FD int vmm = container_pidfd(&x->c);

	return vmm >= 0 && !setns(vmm, CLONE_NEWPID);
}

/* Its sockets end long before it has, as it waits for those in its namespace. */
static bool vmm_is_gone(const struct exec *x)
{
	struct pollfd p = { .fd = x->conn };

	return container_phase(&x->c, NULL) == PHASE_STOPPED || poll(&p, 1, 0) == 1;
}

/* Cloned right into the container's cgroup: to move it there later would wait for all CPUs. */
static pid_t clone_proxy(const struct exec *x, struct error *e)
{
	struct clone_args a = { .exit_signal = SIGCHLD };
	CLEAN_FD int cg = -1;
	bool joined;
	long pid;
	int err;

	if (x->c.cgroup) {
		CLEAN_FD int mnt = cgroup_mount(e);

		if (mnt < 0)
			return mnt;
		cg = openat(mnt, x->c.cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (cg < 0)
			return err_sys(e, errno, "the cgroup of container \"%s\"", x->c.id);
		a.flags = CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)cg;
	}
	joined = join_pid_ns(x);
	pid = syscall(SYS_clone3, &a, sizeof(a));
	/* an ordinary user's: in another session's part of the tree than the container's */
	if (pid < 0 && cg >= 0 && x->rt->rootless && (errno == EACCES || errno == EPERM)) {
		log_warn(
			"the cgroup of container \"%s\": %s: the exec's process stays in the caller's",
			x->c.id, err_text(errno));
		a.flags = 0;
		pid = syscall(SYS_clone3, &a, sizeof(a));
	}
	if (pid >= 0)
		return (pid_t)pid;
	err = errno;
	/* the kernel's word for a namespace whose first process ends */
	if (err == ENOMEM && joined && vmm_is_gone(x))
		return err_set(e, ECONNRESET, "container \"%s\" is not running", x->c.id);
	return err_sys(e, err, "cannot make the exec's process");
}

static int start_proxy(struct exec *x, struct error *e)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, x->sync))
		return err_sys(e, errno, "socketpair");
	x->pid = clone_proxy(x, e);
	if (x->pid < 0)
		return x->pid;
	if (!x->pid)
		proxy_main(x);
	(void)close(TAKE_FD(x->sync[1]));
	if (x->slave >= 0)
		(void)close(TAKE_FD(x->slave));
	return 0;
}

/* If there is one. Nobody but us is to reap it; in a cgroup that was frozen meanwhile it would not
 * see the end of the socket. */
static void stop_proxy(struct exec *x)
{
	if (x->pid <= 0)
		return;
	(void)close(TAKE_FD(x->sync[0]));
	(void)kill(x->pid, SIGKILL);
	while (waitpid(x->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int write_pid_file(const struct exec *x, struct error *e)
{
	char text[16];
	int n, r;

	if (!x->o->pid_file)
		return 0;
	n = snprintf(text, sizeof(text), "%d", (int)x->pid);
	r = write_file_path(x->o->pid_file, text, (size_t)n, 0644);
	return r ? err_sys(e, r, "--pid-file \"%.150s\"", x->o->pid_file) : 0;
}

static int send_pidfd(const struct exec *x, struct error *e)
{
	CLEAN_FD int fd = -1;

	if (!x->o->pidfd_socket)
		return 0;
	fd = (int)syscall(SYS_pidfd_open, x->pid, 0);
	if (fd < 0)
		return err_sys(e, errno, "--pidfd-socket: pidfd_open");
	return socket_send_fd("--pidfd-socket", x->o->pidfd_socket, "pidfd", fd, e);
}

/* The process runs: those who wait for its pid get it. */
static int announce(struct exec *x, struct error *e)
{
	int r = write_pid_file(x, e);

	if (!r)
		r = send_pidfd(x, e);
	if (r && x->o->pid_file)
		(void)unlink(x->o->pid_file);
	return r;
}

/* Of a child that is not left behind: signals go to it, its status comes from it. */
static int wait_child(pid_t pid)
{
	siginfo_t si;
	sigset_t set;
	int status, sig;

	(void)sigfillset(&set);
	while (waitpid(pid, &status, WNOHANG) != pid) {
		sig = sigwaitinfo(&set, &si);
		if (sig > 0 && signal_is_passed(sig, si.si_code, si.si_pid))
			(void)kill(pid, sig);
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Asks for the process, and waits until it runs. */
static int start(struct exec *x, int *code, struct error *e)
{
	struct exec_proxy p = { .c = &x->c, .name = x->p.args.v[0], .tty = -1 };
	int r = x->p.terminal ? make_terminal(x, e) : 0;

	if (!r)
		r = make_blob(x, e);
	if (!r)
		r = send_request(x, e);
	if (!r && x->child)
		r = start_proxy(x, e);
	if (r)
		return r;
	if (!x->child && x->slave >= 0)
		(void)close(TAKE_FD(x->slave));
	else if (!x->child)
		leave_stdio(x, false);
	p.conn = x->conn;
	return exec_proxy_started(&p, x->o->ignore_paused, code, e);
}

/* The same; a signal that comes meanwhile ends it, as there is no process yet to pass it on to. */
static int start_or_end(struct exec *x, int *code, struct error *e)
{
	struct error why = { 0 };
	int r, sig;

	interrupt_begin();
	r = start(x, code, &why);
	sig = interrupt_end();
	if (sig)
		return interrupt_error(sig, code, e);
	return r ? err_set(e, r, "%s", why.msg) : 0;
}

/* The proxy can do its work: only then is there something to announce. */
static int proxy_ready(const struct exec *x, struct error *e)
{
	struct error why = { 0 };
	int r = sync_wait(x->sync[0], SYNC_READY, &why);

	if (r == -ECONNRESET)
		return err_set(e, r, "the exec's process was killed");
	return r ? err_set(e, r, "the exec's process: %s", why.msg) : 0;
}

static int by_child(struct exec *x, int *code, struct error *e)
{
	int r = start_or_end(x, code, e);

	if (!r)
		r = proxy_ready(x, e);
	if (!r)
		r = announce(x, e);
	if (!r && sync_send(x->sync[0], SYNC_GO)) {
		r = err_set(e, ECONNRESET, "the exec's process was killed");
		if (x->o->pid_file)
			(void)unlink(x->o->pid_file);
	}
	if (r) {
		stop_proxy(x);
		return r;
	}
	(void)close(TAKE_FD(x->conn));
	*code = x->o->detach ? 0 : wait_child(x->pid);
	return 0;
}

static int by_ourselves(struct exec *x, int *code, struct error *e)
{
	struct exec_proxy p = { .c = &x->c, .name = x->p.args.v[0], .tty = -1 };
	int r = start_or_end(x, code, e);

	x->pid = getpid();
	if (!r)
		r = announce(x, e);
	if (r)
		return r;
	p.conn = x->conn;
	r = x->master >= 0 ? exec_proxy_relay(&p, x->master, e) : exec_proxy_wait(&p, e);
	if (x->o->pid_file)
		(void)unlink(x->o->pid_file);
	if (r < 0)
		return r;
	*code = r;
	return 0;
}

int rt_exec(const struct rt *rt, const struct rt_exec *o, int *code, struct error *e)
{
	CLEAN(exec_free)
	struct exec x = { .rt = rt,
		.o = o,
		.master = -1,
		.slave = -1,
		.vm_slave = -1,
		.blob = -1,
		.null = -1,
		.conn = -1,
		.sync = { -1, -1 } };
	int r;

	if (o->more) {
		x.more = *o->more;
		o->more->n = 0;
	}
	r = container_open(rt, o->id, &x.c, e);
	*code = 1;
	if (!r)
		r = check_phase(&x, e);
	if (!r)
		r = spec_load(x.c.dir_fd, "config.json", &x.spec, NULL, NULL, e);
	if (!r && x.c.ignore)
		x.spec->ignore = x.c.ignore;
	if (!r)
		r = exec_process(x.spec, o, &x.own, &x.p, e);
	if (!r)
		r = morefds_env(&x.more, x.spec->arena, &x.p.env, e);
	if (!r)
		r = check_request(&x, e);
	if (!r)
		r = initial_cpus(&x.p, e);
	if (r)
		return r;
	x.null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (x.null < 0)
		return err_sys(e, errno, "/dev/null");
	/* once it runs they are the process's */
	block_signals(x.p.terminal && !x.child);
	return x.child ? by_child(&x, code, e) : by_ourselves(&x, code, e);
}
