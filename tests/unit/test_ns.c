// SPDX-License-Identifier: Apache-2.0
/* User namespaces of the VMM process: a new one without mappings, and one that is joined by path,
 * together with a namespace that belongs to it and one that belongs to the host. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
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
	if (ns_become_root(NULL) || getuid() || getgid())
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

static const struct test_case cases[] = {
	TEST(only_maps),
	TEST(no_mappings),
	TEST(joined),
	TEST(own_network),
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
