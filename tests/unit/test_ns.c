// SPDX-License-Identifier: Apache-2.0
/* User namespaces of the VMM process: a new one without mappings, and one that is joined by path,
 * together with a namespace that belongs to it and one that belongs to the host. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/ns.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"

/* The exit status of @pid, or -1. */
static int end_of(pid_t pid)
{
	int status = 0;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool map_is(const char *file, const char *want)
{
	CLEAN_FREE char *text = NULL;
	unsigned v[3];
	char line[48];

	if (read_file_at(AT_FDCWD, file, 4096, &text, NULL) ||
		sscanf(text, "%u %u %u", &v[0], &v[1], &v[2]) != 3)
		return false;
	(void)snprintf(line, sizeof(line), "%u %u %u", v[0], v[1], v[2]);
	return !strcmp(line, want);
}

/* In the child; the exit status tells which step went wrong. */
static int look_inside(int wait_fd, unsigned uid, unsigned gid)
{
	char want[32], c;

	if (read(wait_fd, &c, 1) != 0)
		return 1;
	if (ns_become_root(&(struct ns_set){ 0 }, NULL) || getuid() || getgid())
		return 2;
	(void)snprintf(want, sizeof(want), "0 %u 1", uid);
	if (!map_is("/proc/self/uid_map", want))
		return 3;
	(void)snprintf(want, sizeof(want), "0 %u 1", gid);
	return map_is("/proc/self/gid_map", want) ? 0 : 4;
}

static void no_mappings(void)
{
	unsigned uid = geteuid(), gid = getegid();
	struct spec s = { .version = "1.0.0" };
	struct ns_set n;
	int p[2];
	pid_t pid;

	s.linux_.ns[SPEC_NS_USER].set = true;
	CHECK_EQ(ns_open(&s, &n, NULL), 0);
	CHECK(!pipe(p));
	pid = ns_clone(&n);
	CHECK(pid >= 0);
	if (!pid) {
		(void)close(p[1]);
		_exit(look_inside(p[0], uid, gid));
	}
	CHECK_EQ(ns_write_maps(pid, &s, NULL), 0);
	CHECK(!close(p[1]) && !close(p[0]));
	CHECK_EQ(end_of(pid), 0);
	ns_close(&n);
}

static bool same_ns(pid_t pid, const char *name)
{
	char path[64];
	struct stat a, b;

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	if (stat(path, &a))
		return false;
	(void)snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return !stat(path, &b) && a.st_ino == b.st_ino;
}

/* A process in namespaces of its own, which says so by closing @fd. */
static pid_t owner(int p[2])
{
	pid_t pid = fork();

	if (pid)
		return pid;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		_exit(1);
	(void)close(p[0]);
	(void)close(p[1]);
	for (;;)
		(void)pause();
}

static bool reads(const char *path, const char *want)
{
	char got[64] = "";
	FILE *f = fopen(path, "re");
	bool same = f && fgets(got, sizeof(got), f) && !strcmp(got, want);

	if (f)
		(void)fclose(f);
	return same;
}

/* The second one is unknown, and a warning. */
static void joined(void)
{
	struct spec_kv settings[] = { { "net.ipv4.ping_group_range", "0 0" },
		{ "net.no.such", "1" } };
	char user[64], net[64], uts[] = "/proc/self/ns/uts", c;
	struct spec s = { .version = "1.0.0" };
	struct spec_ns *ns = s.linux_.ns;
	struct ns_set n;
	pid_t pid, own;
	int p[2];

	CHECK(!pipe(p));
	own = owner(p);
	CHECK(own > 0 && !close(p[1]));
	CHECK_EQ(read(p[0], &c, 1), 0);
	CHECK(!close(p[0]));
	s.linux_.sysctl = settings;
	s.linux_.n_sysctl = 2;
	ns[SPEC_NS_USER].set = true;
	CHECK_EQ(ns_write_maps(own, &s, NULL), 0);
	(void)snprintf(user, sizeof(user), "/proc/%d/ns/user", (int)own);
	(void)snprintf(net, sizeof(net), "/proc/%d/ns/net", (int)own);
	ns[SPEC_NS_USER].path = user;
	ns[SPEC_NS_NETWORK] = (struct spec_ns){ .set = true, .path = net };
	/* the host's own: only its root may join that */
	if (!geteuid())
		ns[SPEC_NS_UTS] = (struct spec_ns){ .set = true, .path = uts };
	CHECK_EQ(ns_open(&s, &n, NULL), 0);
	CHECK(ns_joins_user(&n));
	pid = ns_clone(&n);
	CHECK(pid >= 0);
	if (!pid) {
		if (ns_join(&n, NULL) || getuid() || getgid())
			_exit(1);
		if (!same_ns(own, "user") || !same_ns(own, "net"))
			_exit(2);
		if (ns_make(&n, &s, NULL))
			_exit(3);
		_exit(reads("/proc/sys/net/ipv4/ping_group_range", "0\t0\n") ? 0 : 4);
	}
	CHECK_EQ(end_of(pid), 0);
	CHECK(!kill(own, SIGKILL));
	CHECK_EQ(end_of(own), -1);
	ns_close(&n);
}

/* The caller's own network is known whatever name it has; net.* settings are not made there. */
static void own_network(void)
{
	struct spec s = { .version = "1.0.0" };
	struct ns_set n;

	s.linux_.ns[SPEC_NS_NETWORK].set = true;
	CHECK_EQ(ns_open(&s, &n, NULL), 0);
	CHECK(!n.own_net);
	ns_close(&n);
	s.linux_.ns[SPEC_NS_NETWORK].path = "/proc/self/ns/net";
	CHECK_EQ(ns_open(&s, &n, NULL), 0);
	CHECK(n.own_net);
	ns_close(&n);
}

/* A namespace that nobody is in, with maps as they were given. */
static void only_maps(void)
{
	struct spec_id_map one = { .container = 5, .host = 1000, .size = 7 };
	struct spec_id_maps m = { .v = &one, .n = 1 };
	int fd, r;
	pid_t pid;

	if (geteuid()) {
		printf("# not root: skipped\n");
		return;
	}
	fd = ns_of_maps(&m, &m);
	CHECK(fd >= 0);
	CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
	CHECK_EQ(errno, ECHILD);
	pid = fork();
	if (!pid) {
		if (setns(fd, CLONE_NEWUSER))
			_exit(1);
		_exit(map_is("/proc/self/uid_map", "5 1000 7") &&
					map_is("/proc/self/gid_map", "5 1000 7")
				? 0
				: 2);
	}
	(void)close(fd);
	CHECK_EQ(end_of(pid), 0);
	/* what the kernel does not take */
	one.size = 0;
	r = ns_of_maps(&m, &m);
	CHECK_EQ(r, -EINVAL);
	CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
}

/* In a child, who is an ordinary user: what ns_write_maps() says of a process of his. */
static int maps_of_user(const struct spec *s, const char *tools, const char *message)
{
	struct ns_set n = { .at_clone = CLONE_NEWUSER };
	struct error e = { 0 };
	pid_t pid;
	int r;

	if (setenv("PATH", tools, 1) || setresgid(65534, 65534, 65534) ||
		setresuid(65534, 65534, 65534))
		return 1;
	/* what it has in /proc is root's otherwise */
	if (prctl(PR_SET_DUMPABLE, 1))
		return 2;
	pid = ns_clone(&n);
	if (!pid) {
		(void)pause();
		_exit(0);
	}
	r = pid < 0 ? pid : ns_write_maps(pid, s, &e);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	if (message)
		return r == -EPERM && strstr(e.msg, message) ? 0 : 3;
	if (r)
		printf("# %s\n", e.msg);
	return r ? 4 : 0;
}

static int try_user(const struct spec *s, const char *tools, const char *message)
{
	pid_t pid = fork();

	if (!pid) {
		int r = maps_of_user(s, tools, message);

		(void)fflush(stdout);
		_exit(r);
	}
	return end_of(pid);
}

/* A tool that notes what it was called with, and ends with @code. */
static bool tool(int dir, const char *name, int code)
{
	char text[128];
	int n = snprintf(text, sizeof(text),
		"#!/bin/sh\necho \"${0##*/}\" \"$@\" >>\"${0%%/*}/seen\"\nexit %d\n", code);

	return !write_file_at(dir, name, text, (size_t)n, 0755);
}

/* An ordinary user's mappings to ids of others go by the tools that may, and his own do not. */
static void by_tools(void)
{
	struct spec_id_map v[] = { { 0, 65534, 1 }, { 1, 500000, 65536 } };
	struct spec s = { .version = "1.0.0",
		.linux_ = { .uid_maps = { v, 2 }, .gid_maps = { v, 2 } } };
	char dir[] = "/var/tmp/krun-test-ns.XXXXXX", name[2][16];
	CLEAN_FD int fd = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	CLEAN_FREE char *seen = NULL;
	unsigned pid[2], a[2][6];

	CHECK(fd >= 0);
	if (geteuid()) {
		printf("# not root: skipped\n");
		return;
	}
	CHECK(!chmod(dir, 0777));
	CHECK(tool(fd, "newuidmap", 0) && tool(fd, "newgidmap", 0));
	CHECK_EQ(try_user(&s, dir, NULL), 0);
	CHECK_EQ(read_file_at(fd, "seen", 4096, &seen, NULL), 0);
	CHECK_EQ(sscanf(seen, "%15s %u %u %u %u %u %u %u %15s %u %u %u %u %u %u %u", name[0],
			 &pid[0], &a[0][0], &a[0][1], &a[0][2], &a[0][3], &a[0][4], &a[0][5],
			 name[1], &pid[1], &a[1][0], &a[1][1], &a[1][2], &a[1][3], &a[1][4],
			 &a[1][5]),
		16);
	CHECK_STR(name[0], "newuidmap");
	CHECK_STR(name[1], "newgidmap");
	CHECK(pid[0] > 1 && pid[0] == pid[1]);
	CHECK(!memcmp(a[0], v, sizeof(v)) && !memcmp(a[1], v, sizeof(v)));
	/* one that says no, and one that is not there */
	CHECK(tool(fd, "newgidmap", 1));
	CHECK_EQ(try_user(&s, dir, "linux.gidMappings: newgidmap does not map them"), 0);
	CHECK_EQ(unlinkat(fd, "newuidmap", 0), 0);
	CHECK_EQ(try_user(&s, dir, NULL), 4);
	/* his own take no tool */
	s.linux_.uid_maps.n = s.linux_.gid_maps.n = 1;
	CHECK_EQ(try_user(&s, "/nowhere", NULL), 0);
	CHECK_EQ(remove_tree_at(AT_FDCWD, dir), 0);
}

static const struct test_case cases[] = {
	TEST(only_maps),
	TEST(no_mappings),
	TEST(joined),
	TEST(own_network),
	TEST(by_tools),
};

int main(int argc, char **argv)
{
	pid_t pid = fork();

	if (!pid)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNET) ? 1 : 0);
	if (end_of(pid)) {
		printf("1..0 # SKIP no user namespaces here\n");
		return 77;
	}
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
