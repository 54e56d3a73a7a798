// SPDX-License-Identifier: Apache-2.0
/* Where args[0] is looked for: what create answers, and what it leaves to the guest. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/resolve.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"

static bool file(int root, const char *path, mode_t mode)
{
	CLEAN_FD int fd = openat(root, path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);

	return fd >= 0;
}

static bool made(int root)
{
	static const char *const DIRS[] = { "bin", "opt", "run", "etc", "srv", "srv/run" };
	static const struct {
		const char *to, *at;
	} LINKS[] = {
		{ "/run/app", "opt/app" },
		{ "../run/x/app", "opt/up" },
		{ "app", "opt/two" },
		{ "../../../run/./y", "opt/out" },
		{ "/bin/tool", "opt/tool" },
		{ "/srv/run", "opt/srv" },
		{ "/runner", "opt/runner" },
		{ "self", "opt/self" },
		{ "/opt/dir/../app", "opt/dots" },
		{ "/run/deep", "opt/dir" },
		{ "/run", "opt/mount" },
	};

	for (size_t i = 0; i < sizeof(DIRS) / sizeof(DIRS[0]); i++)
		if (mkdirat(root, DIRS[i], 0755))
			return false;
	for (size_t i = 0; i < sizeof(LINKS) / sizeof(LINKS[0]); i++)
		if (symlinkat(LINKS[i].to, root, LINKS[i].at))
			return false;
	return file(root, "bin/tool", 0755) && file(root, "etc/data", 0644);
}

static void found(void)
{
	static const struct {
		const char *arg;
		int r;
	} t[] = {
		{ "/bin/tool", 0 },
		{ "tool", 0 },
		{ "/bin/none", -ENOENT },
		{ "none", -ENOENT },
		{ "/etc/data", -EACCES },
		{ "/etc", -EACCES },
		{ "/opt/tool", 0 },
		/* a tmpfs of the guest is at /run */
		{ "/run/any", 0 },
		{ "/opt/app", 0 },
		{ "/opt/up", 0 },
		{ "/opt/two", 0 },
		{ "/opt/out", 0 },
		{ "/opt/dir/more", 0 },
		{ "/opt/dots", 0 },
		{ "/opt/./mount//app", 0 },
		{ "../opt/app", 0 },
		/* these do not lead there, or to it alone */
		{ "/opt/srv/app", -ENOENT },
		{ "/opt/runner", -ENOENT },
		{ "/opt/self", -ELOOP },
		{ "/opt/tool/x", -ENOENT },
		{ "/opt/mount", -EACCES },
	};
	char *env[] = { (char[]){ "PATH=/bin:/opt" }, NULL }, *args[] = { NULL, NULL };
	struct spec_mount m = { .kind = SPEC_MNT_TMPFS, .destination = "/run" };
	struct spec s = { .mounts = &m,
		.n_mounts = 1,
		.process = { .set = true, .cwd = "/srv", .args = { args, 1 }, .env = { env, 1 } } };
	char dir[] = "/tmp/krun-test-resolve.XXXXXX", arg[64];
	CLEAN_FD int root = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	CHECK(root >= 0 && made(root));
	args[0] = arg;
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct error e = { 0 };
		int r;

		(void)snprintf(arg, sizeof(arg), "%s", t[i].arg);
		r = resolve_args0(root, &s, &e);
		if (r != t[i].r)
			printf("# %s: %d, %s\n", arg, r, e.msg);
		CHECK_EQ(r, t[i].r);
	}
	CHECK_EQ(remove_tree_at(AT_FDCWD, dir), 0);
}

/* What the mode refuses, and a list of the file's may allow, is the guest's to decide; without any
 * bit for execution nobody may. */
static void listed(void)
{
	/* version 2, then tag, permissions and id each: owner, user 1000, group, mask, others */
	static const uint8_t acl[] = { 2, 0, 0, 0, 1, 0, 7, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 5, 0,
		0xe8, 3, 0, 0, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x10, 0, 5, 0, 0xff, 0xff, 0xff,
		0xff, 0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
	char *args[] = { (char[]){ "/f" }, NULL }, dir[] = "/tmp/krun-test-resolve.XXXXXX";
	struct spec s = { .process = { .set = true, .cwd = "/", .args = { args, 1 } } };
	CLEAN_FD int root = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	CLEAN_FD int fd = root >= 0 ? openat(root, "f", O_RDONLY | O_CREAT | O_CLOEXEC, 0700) : -1;
	struct error e = { 0 };
	int r;

	CHECK(fd >= 0);
	/* the file is another user's than the workload, whoever runs this */
	s.process.user.uid = getuid() == 1000 ? 1001 : 1000;
	s.process.user.gid = 12345;
	CHECK_EQ(resolve_args0(root, &s, &e), -EACCES);
	r = fsetxattr(fd, "system.posix_acl_access", acl, sizeof(acl), 0);
	if (r && errno == EOPNOTSUPP) {
		printf("# no access lists in /tmp\n");
	} else {
		CHECK_EQ(r, 0);
		CHECK_EQ(resolve_args0(root, &s, &e), 0);
		CHECK_EQ(fchmod(fd, 0600), 0);
		CHECK_EQ(resolve_args0(root, &s, &e), -EACCES);
	}
	CHECK_EQ(remove_tree_at(AT_FDCWD, dir), 0);
}

static const struct test_case cases[] = {
	TEST(found),
	TEST(listed),
};

TEST_MAIN(cases)
