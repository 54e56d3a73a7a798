// SPDX-License-Identifier: Apache-2.0
/* The namespaces that the VMM process lives in. */
/*
 * How it works
 *
 * The VMM must not be forked once it has made the VM, so pid and user namespaces come with the
 * clone itself; all others are joined or unshared by the process afterwards. A namespace given by
 * path is opened by the CLI with the caller's rights and checked to be of its type there. Paths and
 * a new user namespace together: the process joins first and makes the user namespace last of the
 * two, because from inside it setns() into what the host owns is refused; its pid namespace is then
 * the host-owned one made at clone.
 *
 * An ordinary user maps himself; other ids are mapped by newuidmap and newgidmap, as /etc/subuid
 * and /etc/subgid allow it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>

#include "oci/fsutil.h"
#include "oci/ns.h"
#include "oci/spawn.h"
#include "oci/spec_limits.h"
#include "util/cleanup.h"
#include "util/log.h"

static const struct {
	const char *name;
	unsigned long flag;
} types[SPEC_NS_TYPES] = {
	[SPEC_NS_MOUNT] = { "mount", CLONE_NEWNS },
	[SPEC_NS_PID] = { "pid", CLONE_NEWPID },
	[SPEC_NS_NETWORK] = { "network", CLONE_NEWNET },
	[SPEC_NS_IPC] = { "ipc", CLONE_NEWIPC },
	[SPEC_NS_UTS] = { "uts", CLONE_NEWUTS },
	[SPEC_NS_USER] = { "user", CLONE_NEWUSER },
	[SPEC_NS_CGROUP] = { "cgroup", CLONE_NEWCGROUP },
	[SPEC_NS_TIME] = { "time", CLONE_NEWTIME },
};

static int open_path(enum spec_ns_type t, const char *path, struct error *e)
{
	CLEAN_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int kind;

	if (fd < 0)
		return err_sys(e, errno,
			"config.json: linux.namespaces: %s: cannot open \"%.120s\"", types[t].name,
			path);
	kind = ioctl(fd, NS_GET_NSTYPE);
	if (kind < 0 || (unsigned long)kind != types[t].flag)
		return err_set(e, EINVAL,
			"config.json: linux.namespaces: \"%.120s\" is not a %s namespace", path,
			types[t].name);
	return TAKE_FD(fd);
}

/* Whether it is the one that we are in ourselves, as managers say "the host's". */
static bool is_own_net(int fd)
{
	struct stat a, b;

	return fd >= 0 && !fstat(fd, &a) && !stat("/proc/self/ns/net", &b) &&
		a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int ns_open(const struct spec *s, struct ns_set *n, struct error *e)
{
	const char *keep = spec_annotation(s, "run.oci.keep_original_groups");
	bool joins = false;

	*n = (struct ns_set){ .keep_groups = keep && !strcmp(keep, "1") };
	for (int t = 0; t < SPEC_NS_TYPES; t++)
		n->fd[t] = -1;
	for (int t = 0; t < SPEC_NS_TYPES; t++) {
		const struct spec_ns *ns = &s->linux_.ns[t];

		/* the time of the guest is its own: nothing to do on the host */
		if (!ns->set || t == SPEC_NS_TIME)
			continue;
		if (!ns->path) {
			n->make |= types[t].flag;
			continue;
		}
		n->fd[t] = open_path((enum spec_ns_type)t, ns->path, e);
		if (n->fd[t] < 0)
			return n->fd[t];
		joins |= t != SPEC_NS_USER;
	}
	n->own_net = is_own_net(n->fd[SPEC_NS_NETWORK]);
	/* the tree that the guest sees is always the VMM's own */
	if (n->fd[SPEC_NS_MOUNT] < 0)
		n->make |= CLONE_NEWNS;
	n->at_clone = n->make & (joins ? CLONE_NEWPID : CLONE_NEWPID | CLONE_NEWUSER);
	return 0;
}

void ns_close(struct ns_set *n)
{
	for (int t = 0; t < SPEC_NS_TYPES; t++) {
		if (n->fd[t] >= 0)
			(void)close(TAKE_FD(n->fd[t]));
	}
}

pid_t ns_clone(const struct ns_set *n)
{
	struct clone_args a = { .flags = n->at_clone, .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &a, sizeof(a));

	return pid < 0 ? -errno : (pid_t)pid;
}

/* The two kinds of ids: what is called how. */
static const struct id_kind {
	const char *file, *tool, *field, *allowed;
} UIDS = { "uid_map", "newuidmap", "uidMappings", "/etc/subuid" },
  GIDS = { "gid_map", "newgidmap", "gidMappings", "/etc/subgid" };

/* Whether an ordinary user may write it himself: he is in there alone. */
static bool only_own(const struct spec_id_maps *m, unsigned own)
{
	return !m->n || (m->n == 1 && m->v[0].size == 1 && m->v[0].host == own);
}

/* In the CLI's environment and with its stderr, where the tool says what it does not allow. */
static int spawn_tool(const char *tool, char *const *argv, pid_t *pid)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	int r;

	(void)posix_spawn_file_actions_init(&fa);
	spawn_attr(&at, 0);
	r = posix_spawn_file_actions_addopen(&fa, STDIN_FILENO, "/dev/null", O_RDWR, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, STDIN_FILENO, STDOUT_FILENO);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	if (!r)
		r = posix_spawnp(pid, tool, &fa, &at, argv, environ);
	(void)posix_spawn_file_actions_destroy(&fa);
	(void)posix_spawnattr_destroy(&at);
	return -r;
}

/* The set-uid tools of shadow give an ordinary user the ids that the system's files say are his. */
static int map_by_tool(
	pid_t pid, const struct id_kind *k, const struct spec_id_maps *m, struct error *e)
{
	char number[SPEC_LIM_ID_MAPS * 3 + 1][12], *argv[SPEC_LIM_ID_MAPS * 3 + 3];
	size_t n = 0;
	int status = 0, r;
	pid_t tool = 0;

	argv[n++] = (char *)(uintptr_t)k->tool;
	(void)snprintf(number[0], sizeof(number[0]), "%d", (int)pid);
	argv[n++] = number[0];
	for (size_t i = 0; i < m->n && i < SPEC_LIM_ID_MAPS; i++) {
		const uint32_t v[] = { m->v[i].container, m->v[i].host, m->v[i].size };

		for (unsigned j = 0; j < 3; j++, n++) {
			(void)snprintf(number[n - 1], sizeof(number[0]), "%u", v[j]);
			argv[n] = number[n - 1];
		}
	}
	argv[n] = NULL;
	r = spawn_tool(k->tool, argv, &tool);
	if (r)
		return err_sys(
			e, r, "config.json: linux.%s: ids of others take %s", k->field, k->tool);
	while (waitpid(tool, &status, 0) < 0 && errno == EINTR)
		;
	return status
		? err_set(e, EPERM,
			  "config.json: linux.%s: %s does not map them, %s tells which ids may be",
			  k->field, k->tool, k->allowed)
		: 0;
}

static int write_map(pid_t pid, int dir, const struct id_kind *k, const struct spec_id_maps *m,
	unsigned own, struct error *e)
{
	char text[SPEC_LIM_ID_MAPS * 36];
	size_t n = 0;
	int r;

	/* none given: root in there is who we are, and nobody else exists */
	if (!m->n)
		(void)snprintf(text, sizeof(text), "0 %u 1\n", own);
	for (size_t i = 0; i < m->n && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%u %u %u\n", m->v[i].container,
			m->v[i].host, m->v[i].size);
	r = write_existing_at(dir, k->file, text);
	if (r == -EPERM && !only_own(m, own))
		return map_by_tool(pid, k, m, e);
	return r ? err_sys(e, r, "cannot write %s of the new user namespace", k->file) : 0;
}

static int write_maps(
	pid_t pid, const struct spec_id_maps *u, const struct spec_id_maps *g, struct error *e)
{
	char path[32];
	CLEAN_FD int dir = -1;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "cannot reach the process of a new user namespace");
	/* who maps himself alone, without a right to that, must give up setgroups() first */
	if (geteuid() && only_own(g, getegid()))
		IGNORE_RESULT(write_existing_at(dir, "setgroups", "deny"));
	r = write_map(pid, dir, &UIDS, u, geteuid(), e);
	return r ? r : write_map(pid, dir, &GIDS, g, getegid(), e);
}

int ns_write_maps(pid_t pid, const struct spec *s, struct error *e)
{
	return write_maps(pid, &s->linux_.uid_maps, &s->linux_.gid_maps, e);
}

/* The user namespace of the process @pid with these maps. */
static int mapped_ns(pid_t pid, const struct spec_id_maps *u, const struct spec_id_maps *g)
{
	int r = write_maps(pid, u, g, NULL), fd;
	char path[48];

	if (r)
		return r;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int ns_of_maps(const struct spec_id_maps *u, const struct spec_id_maps *g)
{
	struct clone_args a = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	int p[2], fd;
	long pid;
	char c;

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	pid = syscall(SYS_clone3, &a, sizeof(a));
	if (!pid) {
		/* Until we are done with it, or gone. */
		(void)close(p[1]);
		_exit(read(p[0], &c, 1) != 0);
	}
	fd = pid < 0 ? -errno : mapped_ns((pid_t)pid, u, g);
	(void)close(p[0]);
	(void)close(p[1]);
	while (pid > 0 && waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}

int ns_become_root(const struct ns_set *n, struct error *e)
{
	/* refused where setgroups() was denied: then the groups are the caller's own, which is all
	 * that can be had */
	if (!n->keep_groups && setgroups(0, NULL) && errno != EPERM)
		return err_sys(e, errno, "setgroups");
	if (setresgid(0, 0, 0) || setresuid(0, 0, 0))
		return err_sys(e, errno,
			"config.json: linux.uidMappings: id 0 of the user namespace is not mapped");
	return 0;
}

static int loopback_up(struct error *e)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	CLEAN_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr))
		return err_sys(e, errno, "cannot look at the loopback interface");
	ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &ifr)
		? err_sys(e, errno, "cannot bring the loopback interface up")
		: 0;
}

static int join_one(const struct ns_set *n, int t, struct error *e)
{
	return setns(n->fd[t], (int)types[t].flag)
		? err_sys(e, errno, "config.json: linux.namespaces: cannot join the %s namespace",
			  types[t].name)
		: 0;
}

int ns_join(const struct ns_set *n, struct error *e)
{
	unsigned inside = 0;
	int r = 0;

	/* what belongs to the host is joined with the rights of the host; what belongs to the user
	 * namespace, or is an ordinary user's, can only be joined from inside of that */
	for (int t = 0; t < SPEC_NS_TYPES && !r; t++) {
		if (n->fd[t] < 0 || t == SPEC_NS_USER)
			continue;
		r = join_one(n, t, n->fd[SPEC_NS_USER] < 0 ? e : NULL);
		if (r == -EPERM && n->fd[SPEC_NS_USER] >= 0) {
			inside |= 1U << t;
			r = 0;
		} else if (r) {
			(void)err_sys(e, r,
				"config.json: linux.namespaces: cannot join the %s namespace",
				types[t].name);
		}
	}
	if (r || n->fd[SPEC_NS_USER] < 0)
		return r;
	r = join_one(n, SPEC_NS_USER, e);
	for (int t = 0; t < SPEC_NS_TYPES && !r; t++) {
		if (inside & 1U << t)
			r = join_one(n, t, e);
	}
	return r ? r : ns_become_root(n, e);
}

bool ns_joins_user(const struct ns_set *n)
{
	return n->fd[SPEC_NS_USER] >= 0;
}

bool ns_late_user(const struct ns_set *n)
{
	return n->make & ~n->at_clone & CLONE_NEWUSER;
}

int ns_make_user(struct error *e)
{
	return unshare(CLONE_NEWUSER)
		? err_sys(e, errno, "cannot make the container's user namespace")
		: 0;
}

/*
 * The net.* settings of the config, in the namespace where the guest's sockets are really made. The
 * guest has them as well, which is where a wrong one is refused: its kernel and the host's do not
 * know the same ones, so a failure here is a warning.
 */
static void set_net(const struct spec *s)
{
	CLEAN_FD int dir = open("/proc/sys/net", O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; i < s->linux_.n_sysctl; i++) {
		CLEAN_FREE char *path = NULL;
		CLEAN_FD int fd = -1;
		size_t len = strlen(s->linux_.sysctl[i].value);

		if (strncmp(s->linux_.sysctl[i].key, "net.", 4) != 0)
			continue;
		path = strdup(s->linux_.sysctl[i].key + 4);
		for (char *c = path; c && *c; c++) {
			if (*c == '.' || *c == '/')
				*c = *c == '.' ? '/' : '.';
		}
		fd = path ? open2(dir, path, O_WRONLY, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
			  : -ENOMEM;
		if (fd < 0 || write(fd, s->linux_.sysctl[i].value, len) != (ssize_t)len)
			log_warn("config.json: linux.sysctl: %s is not set on the host: %s",
				s->linux_.sysctl[i].key, err_text(fd < 0 ? fd : errno));
	}
}

int ns_make(const struct ns_set *n, const struct spec *s, struct error *e)
{
	unsigned long rest = n->make & ~n->at_clone & ~(unsigned long)CLONE_NEWUSER;
	int r = 0;

	if (unshare((int)rest))
		return err_sys(e, errno, "cannot make the container's namespaces");
	if (n->make & CLONE_NEWNET)
		r = loopback_up(e);
	if (!r && (n->make & CLONE_NEWNET || (n->fd[SPEC_NS_NETWORK] >= 0 && !n->own_net)))
		set_net(s);
	if (r || !(n->make & CLONE_NEWUTS))
		return r;
	if (s->hostname && sethostname(s->hostname, strlen(s->hostname)))
		return err_sys(e, errno, "config.json: hostname");
	if (s->domainname && setdomainname(s->domainname, strlen(s->domainname)))
		return err_sys(e, errno, "config.json: domainname");
	return 0;
}

bool ns_in_user(void)
{
	CLEAN_FREE char *map = NULL;
	unsigned long inside, outside, n;

	if (read_file_at(AT_FDCWD, "/proc/self/uid_map", 16384, &map, NULL) ||
		sscanf(map, "%lu %lu %lu", &inside, &outside, &n) != 3)
		return false;
	return inside || outside || n != UINT32_MAX;
}
