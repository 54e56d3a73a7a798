// SPDX-License-Identifier: Apache-2.0
/* krun-oci check: can this host run containers in microVMs, and if not, what to change. */
/*
 * How it works
 *
 * A table of facts, each with a function that looks and a sentence that says what to do. The probes
 * that run guest code do so in a child with a time limit, because a host's KVM may do anything, and
 * their verdict is kept for this boot in the run-time directory (named after the boot id and the
 * device's number), so that create pays for one read of a file. What may pass is not a verdict: a
 * probe that ran out of memory is made again by the next create, and one that ran out of time when
 * SLOW_SECONDS have passed: a KVM that hangs must not cost every create that time, and a host that
 * was busy once is not unfit for good. An ordinary user's verdict is in $XDG_RUNTIME_DIR.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "oci/cgroup.h"
#include "oci/fsutil.h"
#include "oci/json_write.h"
#include "oci/kernel.h"
#include "oci/runtime.h"
#include "oci/state.h"
#include "util/cleanup.h"
#include "util/util.h"
#include "vmm.h"

#define PROBE_MS     5000
#define SLOW_SECONDS 60
#define CACHE_NAME   "krun-oci-check"
#define VERDICT_OK   "fit\n"

struct fact {
	const char *name;
	bool ok;
	char text[ERR_MSG_MAX]; /* what was found, or what is wrong */
	const char *advice;	/* when not ok */
};

#define MAX_FACTS 16

struct report {
	struct fact f[MAX_FACTS];
	unsigned n;
};

static void add(struct report *r, const char *name, int err, const struct error *e,
	const char *found, const char *advice)
{
	struct fact *f = &r->f[r->n];

	if (r->n == MAX_FACTS)
		return;
	r->n++;
	*f = (struct fact){ .name = name, .ok = !err, .advice = advice };
	(void)snprintf(f->text, sizeof(f->text), "%s", err ? e->msg : found);
}

static const struct {
	enum vmm_probe probe;
	const char *name, *found, *advice;
} probes[] = {
	{ VMM_PROBE_API, "kvm-api", "KVM API version 12", "use a kernel of this century" },
	{ VMM_PROBE_CAPS, "kvm-capabilities", "everything that is needed",
		"use Linux 5.10 or newer with in-kernel interrupt controllers" },
	{ VMM_PROBE_GUEST, "kvm-guest", "a small guest runs",
		"this KVM cannot run a guest: enable virtualisation (VT-x, AMD-V) in the firmware, or nested virtualisation on the machine's own host" },
	{ VMM_PROBE_CMPXCHG16B, "kvm-cmpxchg16b", "a guest executes it",
		"this KVM emulates instructions instead of running them: it needs real (or nested) hardware virtualisation" },
	{ VMM_PROBE_INT3, "kvm-int3", "a guest executes it",
		"this KVM emulates instructions instead of running them: it needs real (or nested) hardware virtualisation" },
	{ VMM_PROBE_XSAVE, "kvm-xsave", "a guest executes it",
		"this KVM emulates instructions instead of running them: it needs real (or nested) hardware virtualisation" },
};

/* In the child: it neither outlives us nor holds what a reader of ours waits for. */
static void on_its_own(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		(void)dup2(null, fd);
}

/* One probe in a child of its own: a KVM that hangs or kills must not take us with it. */
static int probe_in_child(int kvm_fd, enum vmm_probe what, struct error *e)
{
	int p[2], status;
	struct pollfd pfd;
	ssize_t n = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC))
		return err_sys(e, errno, "pipe");
	pid = fork();
	if (!pid) {
		struct error own = { 0 };
		int r;

		on_its_own();
		r = vmm_probe(kvm_fd, what, &own);
		own.code = r ? abs(r) : 0;
		_exit(write(p[1], &own, sizeof(own)) != (ssize_t)sizeof(own));
	}
	(void)close(p[1]);
	pfd = (struct pollfd){ .fd = p[0], .events = POLLIN };
	if (pid > 0 && poll(&pfd, 1, PROBE_MS) == 1)
		n = read(p[0], e, sizeof(*e));
	(void)close(p[0]);
	if (pid < 0)
		return err_sys(e, errno, "fork");
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, &status, 0);
	if (n == (ssize_t)sizeof(*e))
		return -e->code;
	*e = (struct error){ 0 };
	return err_set(e, ETIMEDOUT, "the probe did not come back within %d s", PROBE_MS / 1000);
}

/* <boot id>-<device number>: a new boot is a new verdict, and so is another file at /dev/kvm. */
static int cache_name(int kvm_fd, char *buf, size_t n)
{
	CLEAN_FREE char *id = NULL;
	int r = read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &id, NULL);
	struct stat st;

	if (r)
		return r;
	if (fstat(kvm_fd, &st))
		return -errno;
	id[strcspn(id, "\n")] = 0;
	return snprintf(buf, n, "%s-%llx", id, (unsigned long long)st.st_rdev) < (int)n
		? 0
		: -ENAMETOOLONG;
}

/* Only root's and one's own directory is believed: others could write a verdict there. */
static int cache_dir(const char *base, bool make)
{
	CLEAN_FD int at = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEAN_FD int fd = -1;
	struct stat st;

	if (at < 0 || (make && mkdirat(at, CACHE_NAME, 0755) && errno != EEXIST))
		return -errno;
	fd = openat(at, CACHE_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || (st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & 022)
		return -EPERM;
	return TAKE_FD(fd);
}

/* Where an ordinary user may keep one; NULL for root. */
static const char *own_base(void)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");

	return geteuid() && xdg && *xdg == '/' ? xdg : NULL;
}

/* True when the verdict @name of @dir may still be believed. */
static bool fresh(int dir, const char *name)
{
	struct timespec now;
	struct stat st;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) && st.st_mtime <= now.tv_sec &&
		now.tv_sec - st.st_mtime < SLOW_SECONDS;
}

static int verdict_in(const char *base, int kvm_fd, char **text)
{
	CLEAN_FD int dir = cache_dir(base, false);
	char name[64], slow[72];
	int r = dir < 0 ? dir : cache_name(kvm_fd, name, sizeof(name));

	if (r)
		return r;
	(void)snprintf(slow, sizeof(slow), "%s-slow", name);
	if (fresh(dir, slow) && !read_file_at(dir, slow, ERR_MSG_MAX, text, NULL))
		return 0;
	return read_file_at(dir, name, ERR_MSG_MAX, text, NULL);
}

static int cached_verdict(int kvm_fd, char **text)
{
	const char *own = own_base();
	int r = verdict_in("/run", kvm_fd, text);

	return r && own ? verdict_in(own, kvm_fd, text) : r;
}

static void keep_verdict(int kvm_fd, const char *text, bool slow)
{
	const char *own = own_base();
	CLEAN_FD int dir = cache_dir(own ? own : "/run", true);
	char name[64], file[72];

	/* without a cache the next create probes again */
	if (dir < 0 || cache_name(kvm_fd, name, sizeof(name)))
		return;
	(void)snprintf(file, sizeof(file), "%s-slow", name);
	(void)unlinkat(dir, file, 0);
	IGNORE_RESULT(write_file_at(dir, slow ? file : name, text, strlen(text), 0644));
}

/* Says nothing about the host, only about this moment. */
static bool may_pass(int err)
{
	return err == -ENOMEM || err == -EAGAIN || err == -EMFILE || err == -ENFILE ||
		err == -EINTR || err == -EBUSY;
}

static int run_probes(int kvm_fd, struct report *rep, struct error *first)
{
	int bad = 0;

	for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
		struct error e = { 0 };
		int r = probe_in_child(kvm_fd, probes[i].probe, &e);

		if (rep)
			add(rep, probes[i].name, r, &e, probes[i].found, probes[i].advice);
		if (r && !bad) {
			bad = r;
			(void)err_set(first, r,
				"this host cannot run microVMs: %s: %.130s (krun-oci check tells more)",
				probes[i].name, e.msg);
		}
		/* the first failure says it all when nobody wants the list */
		if (r && !rep)
			break;
	}
	if (!may_pass(bad))
		keep_verdict(kvm_fd, bad ? first->msg : VERDICT_OK, bad == -ETIMEDOUT);
	return bad;
}

int rt_check_quick(int kvm_fd, struct error *e)
{
	CLEAN_FREE char *text = NULL;

	if (cached_verdict(kvm_fd, &text))
		return run_probes(kvm_fd, NULL, e);
	return strcmp(text, VERDICT_OK) ? err_set(e, ENOTSUP, "%s", text) : 0;
}

static int check_kernel(char *path, size_t n, struct error *e)
{
	int fd = kernel_open(NULL, path, n, e);

	if (fd < 0)
		return fd;
	(void)close(fd);
	return 0;
}

/* Its own directory, or else the nearest above it, where it would be made. */
static int check_root(const struct rt *rt, char *path, size_t n, struct error *e)
{
	CLEAN_FREE char *at = NULL;
	int r = state_root_path(rt, path, n);

	if (r)
		return err_sys(e, r, "state directory");
	at = strdup(path);
	while (at && access(at, W_OK | X_OK)) {
		char *slash = errno == ENOENT ? strrchr(at, '/') : NULL;

		if (!slash)
			return err_sys(e, errno, "cannot write to %.150s", at);
		slash[slash == at] = 0;
	}
	return at ? 0 : err_sys(e, ENOMEM, "state directory");
}

/* The cgroup of a container is made below the root of the mount. */
static int check_cgroup_rights(struct error *e)
{
	return access("/sys/fs/cgroup", W_OK | X_OK)
		? err_sys(e, errno, "cannot make cgroups in /sys/fs/cgroup")
		: 0;
}

/* Makes the namespaces that every container has, in a child; an ordinary user's come with a user
 * namespace. */
static int check_namespaces(struct error *e)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
			CLONE_NEWUTS | CLONE_NEWCGROUP;

		on_its_own();
		_exit(unshare(geteuid() ? flags | CLONE_NEWUSER : flags) ? errno & 0xff : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return err_sys(e, errno, "fork");
	if (!WIFEXITED(status))
		return err_set(e, EIO, "the probe ended with signal %d", WTERMSIG(status));
	return WEXITSTATUS(status)
		? err_sys(e, WEXITSTATUS(status), "cannot make the namespaces of a container")
		: 0;
}

static void check_rights(struct report *rep)
{
	struct error e = { 0 };
	int r = check_cgroup_rights(&e);

	/* an ordinary user's containers go without one */
	if (r && geteuid())
		add(rep, "cgroup-rights", 0, &e,
			"none: containers stay in the caller's cgroup, and limits are refused",
			NULL);
	else
		add(rep, "cgroup-rights", r, &e, "cgroups can be made",
			"run as root of the host, with /sys/fs/cgroup mounted read-write");
	e = (struct error){ 0 };
	r = check_namespaces(&e);
	add(rep, "namespaces", r, &e,
		geteuid() ? "can be made, within a user namespace" : "can be made",
		geteuid()
			? "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)"
			: "run with CAP_SYS_ADMIN, and a kernel that has all namespaces");
}

static void collect(const struct rt *rt, struct report *rep)
{
	CLEAN_FD int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	struct error e = { 0 };
	char path[ERR_MSG_MAX];
	int r = kvm < 0 ? err_sys(&e, errno, "/dev/kvm") : 0;

	add(rep, "kvm-device", r, &e, "/dev/kvm opens",
		"load kvm-intel or kvm-amd, and give this user access (group kvm, or chmod 0666 /dev/kvm)");
	e = (struct error){ 0 };
	if (kvm >= 0)
		(void)run_probes(kvm, rep, &e);
	e = (struct error){ 0 };
	r = cgroup_mount(&e);
	if (r >= 0)
		(void)close(r);
	add(rep, "cgroup-v2", r < 0 ? r : 0, &e, "mounted at /sys/fs/cgroup",
		"boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2 there");
	check_rights(rep);
	e = (struct error){ 0 };
	r = check_kernel(path, sizeof(path), &e);
	add(rep, "guest-kernel", r, &e, path,
		"run kernel/build, or point KRUN_OCI_KERNEL at a vmlinux");
	e = (struct error){ 0 };
	r = check_root(rt, path, sizeof(path), &e);
	add(rep, "state-directory", r, &e, path, "run as root, or set XDG_RUNTIME_DIR or --root");
}

static int print_json(const struct report *rep, bool fit, FILE *out, struct error *e)
{
	CLEAN_FREE char *text = NULL;
	struct json_writer w;
	size_t len = 0;
	int r;

	jw_init(&w, true);
	jw_object(&w, NULL);
	jw_bool(&w, "fit", fit);
	jw_array(&w, "facts");
	for (unsigned i = 0; i < rep->n; i++) {
		const struct fact *f = &rep->f[i];

		jw_object(&w, NULL);
		jw_string(&w, "name", f->name);
		jw_bool(&w, "ok", f->ok);
		jw_string(&w, "text", f->text);
		if (!f->ok)
			jw_string(&w, "advice", f->advice);
		jw_end(&w);
	}
	r = jw_finish(&w, &text, &len);
	if (!r && fwrite(text, 1, len, out) != len)
		r = -EIO;
	return r ? err_sys(e, r, "cannot write the output") : 0;
}

int rt_check(const struct rt *rt, bool json, FILE *out, bool *fit, struct error *e)
{
	struct report rep = { .n = 0 };

	collect(rt, &rep);
	*fit = true;
	for (unsigned i = 0; i < rep.n; i++)
		*fit &= rep.f[i].ok;
	if (json)
		return print_json(&rep, *fit, out, e);
	for (unsigned i = 0; i < rep.n; i++) {
		(void)fprintf(out, "%-4s %-18s %s\n", rep.f[i].ok ? "ok" : "BAD", rep.f[i].name,
			rep.f[i].text);
		if (!rep.f[i].ok)
			(void)fprintf(out, "     %-18s -> %s\n", "", rep.f[i].advice);
	}
	(void)fprintf(out, "%s\n",
		*fit ? "This host can run containers in microVMs."
		     : "This host cannot run containers in microVMs.");
	return 0;
}
