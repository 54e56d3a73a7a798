// SPDX-License-Identifier: Apache-2.0
/* The container's mounts on the host: mapped ids, and whether all of a tree is read-only. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/mounts.h"
#include "oci/ns.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"

/* A mount namespace of our own, whose mounts nobody else sees; false where that cannot be had. */
static bool own_mounts(void)
{
	if (!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return true;
	printf("# no mount namespace: skipped\n");
	return false;
}

static bool file(const char *dir, const char *name, unsigned id)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0 || fchown(fd, id, id))
		return false;
	(void)close(fd);
	return true;
}

static long owner(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0) ? -errno : st.st_uid == st.st_gid ? (long)st.st_uid : -1;
}

static struct mount_plan plan(struct spec *s)
{
	return (struct mount_plan){ .spec = s,
		.bundle_fd = AT_FDCWD,
		.user_fd = -1,
		.rootfs_fd = open("/", O_PATH | O_CLOEXEC),
		.root_tree = -1,
		.bundle_tree = -1 };
}

static void plan_end(struct mount_plan *p)
{
	(void)close(p->rootfs_fd);
	mount_plan_free(p);
}

static void mapped_ids(void)
{
	struct spec_id_map one = { .container = 0, .host = 1000, .size = 1 },
			   many = { .container = 0, .host = 100000, .size = 65536 };
	char dir[] = "/var/tmp/krun-mounts-XXXXXX", sub[64];
	struct spec_mount m = { .kind = SPEC_MNT_BIND,
		.destination = "/ids",
		.source = dir,
		.idmap = true,
		.recursive = true };
	struct spec s = { .root = "/", .mounts = &m, .n_mounts = 1 };
	struct mount_plan p;
	struct error e = { 0 };
	int r;

	CHECK(mkdtemp(dir));
	if (geteuid() || !own_mounts()) {
		(void)rmdir(dir);
		return;
	}
	/* a file system that can be mapped whatever /var/tmp lies on */
	CHECK(!mount("tmpfs", dir, "tmpfs", 0, NULL));
	CHECK(file(dir, "root", 0) && file(dir, "user", 1000));
	(void)snprintf(sub, sizeof(sub), "%s/sub", dir);
	CHECK(!mkdir(sub, 0755) && !mount("tmpfs", sub, "tmpfs", 0, NULL) && file(sub, "root", 0));

	/* by its own mappings */
	m.uid_maps = m.gid_maps = (struct spec_id_maps){ .v = &one, .n = 1 };
	p = plan(&s);
	r = mount_plan_make(&p, &e);
	if (r == -EINVAL) {
		printf("# tmpfs cannot be mapped on this kernel: skipped\n");
		goto out;
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(owner(p.tree[0], "root"), 1000);
	CHECK_EQ(owner(p.tree[0], "user"), 65534);
	CHECK_EQ(owner(p.tree[0], "sub/root"), 0);
	plan_end(&p);
	/* with what is mounted below */
	m.idmap_recursive = true;
	p = plan(&s);
	CHECK_EQ(mount_plan_make(&p, &e), 0);
	CHECK_EQ(owner(p.tree[0], "sub/root"), 1000);
	plan_end(&p);
	m.idmap_recursive = false;
	/* by the mappings of the container's new user namespace, and by one that is joined */
	m.uid_maps = m.gid_maps = (struct spec_id_maps){ 0 };
	s.linux_.uid_maps = s.linux_.gid_maps = (struct spec_id_maps){ .v = &many, .n = 1 };
	p = plan(&s);
	CHECK_EQ(mount_plan_make(&p, &e), 0);
	CHECK_EQ(owner(p.tree[0], "root"), 100000);
	CHECK_EQ(owner(p.tree[0], "user"), 101000);
	plan_end(&p);
	s.linux_.uid_maps = s.linux_.gid_maps = (struct spec_id_maps){ 0 };
	p = plan(&s);
	many.host = 200000;
	p.user_fd =
		ns_of_maps(&(struct spec_id_maps){ &many, 1 }, &(struct spec_id_maps){ &many, 1 });
	CHECK(p.user_fd >= 0);
	CHECK_EQ(mount_plan_make(&p, &e), 0);
	CHECK_EQ(owner(p.tree[0], "user"), 201000);
	(void)close(p.user_fd);
	plan_end(&p);
	/* where the file system cannot, the error says which mount */
	m.source = "/proc";
	m.uid_maps = m.gid_maps = (struct spec_id_maps){ .v = &one, .n = 1 };
	p = plan(&s);
	CHECK(mount_plan_make(&p, &e) < 0);
	CHECK(strstr(e.msg, "mounts[0]: the ids of \"/ids\" cannot be mapped"));
out:
	plan_end(&p);
	(void)umount2(sub, MNT_DETACH);
	(void)umount2(dir, MNT_DETACH);
	(void)rmdir(dir);
}

/* Binds @source to @dest in the tree @root, as the VMM process does; -errno. */
static int bind_at(const char *root, const char *source, const char *dest)
{
	struct spec_mount m = {
		.kind = SPEC_MNT_BIND, .destination = dest, .source = source, .data = ""
	};
	struct spec s = { .root = root, .mounts = &m, .n_mounts = 1 };
	struct mount_plan p = plan(&s);
	struct error e = { 0 };
	int r;

	(void)close(p.rootfs_fd);
	p.rootfs = root;
	p.rootfs_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = mount_plan_make(&p, &e);
	if (!r)
		r = mount_plan_execute(&p, &e);
	plan_end(&p);
	if (r < 0)
		return r;
	(void)close(r);
	return 0;
}

/* Each bind adds a mount of the root on itself. */
static void unbind(const char *root)
{
	while (!umount2(root, MNT_DETACH))
		;
}

/* Mount points that an image links to what is not there: the other end is made, inside. */
static void dangling(void)
{
	static const struct {
		const char *link, *to;	 /* in the root */
		const char *dest, *made; /* NULL: the link alone; an error */
		bool dir;
	} t[] = {
		{ "etc/resolv.conf", "../run/systemd/resolve/conf", "/etc/resolv.conf",
			"run/systemd/resolve/conf", false },
		{ "etc/abs", "/var/lib/abs", "/etc/abs", "var/lib/abs", false },
		{ "etc/out", "../../../../../../tmp/krun-dangling/file", "/etc/out",
			"tmp/krun-dangling/file", false },
		{ "etc/dir", "/srv/a/b", "/etc/dir", "srv/a/b", true },
		{ "var/run", "/run2", "/var/run/deep/x", "run2/deep/x", true },
		{ "etc/two", "three", NULL, NULL, true },
		{ "etc/three", "./four/../five/", "/etc/two", "etc/five", true },
		{ "etc/self", "self", "/etc/self", NULL, false },
		{ "etc/long", "long/x", "/etc/long", NULL, false },
	};
	char dir[] = "/var/tmp/krun-mounts-XXXXXX", root[64], file_[64], path[256];
	struct stat st;

	CHECK(mkdtemp(dir));
	if (geteuid() || !own_mounts()) {
		(void)rmdir(dir);
		return;
	}
	CHECK(!mount("tmpfs", dir, "tmpfs", 0, NULL));
	(void)snprintf(root, sizeof(root), "%s/root", dir);
	(void)snprintf(file_, sizeof(file_), "%s/file", dir);
	CHECK(!mkdir(root, 0755) && file(dir, "file", 0));
	for (const char *const *d = (const char *const[]){ "etc", "var", NULL }; *d; d++) {
		(void)snprintf(path, sizeof(path), "%s/%s", root, *d);
		CHECK(!mkdir(path, 0755));
	}
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", root, t[i].link);
		CHECK(!symlink(t[i].to, path));
		if (!t[i].dest)
			continue;
		CHECK_EQ(!!bind_at(root, t[i].dir ? root : file_, t[i].dest), !t[i].made);
		unbind(root);
		if (!t[i].made)
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", root, t[i].made);
		CHECK(!lstat(path, &st));
		CHECK(t[i].dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
	}
	CHECK(access("/tmp/krun-dangling", F_OK));
	(void)umount2(dir, MNT_DETACH);
	(void)rmdir(dir);
}

/* What file @name of the only mount's tree holds; "" when it cannot be read. */
static const char *in_tree(const struct mount_plan *p, const char *name)
{
	static char text[16];
	CLEAN_FD int fd = openat(p->tree[0], name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = 0;
	return text;
}

static bool holds(const char *dir, const char *name, const char *text)
{
	char path[128];
	CLEAN_FD int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* File systems that the host's kernel mounts: an overlay, and what cannot be one. */
static void file_systems(void)
{
	char dir[] = "/var/tmp/krun-mounts-XXXXXX", path[64], data[512], *end;
	struct spec_mount m = { .kind = SPEC_MNT_OTHER,
		.destination = "/o",
		.type = "overlay",
		.source = "overlay",
		.data = data };
	struct spec s = { .root = "/", .mounts = &m, .n_mounts = 1 };
	struct mount_plan p;
	struct error e = { 0 };
	struct stat st;
	int r;

	CHECK(mkdtemp(dir));
	if (geteuid() || !own_mounts()) {
		(void)rmdir(dir);
		return;
	}
	CHECK(!mount("tmpfs", dir, "tmpfs", 0, NULL));
	for (const char *const *d = (const char *const[]){ "low", "up", "wd", NULL }; *d; d++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, *d);
		CHECK(!mkdir(path, 0755));
	}
	CHECK(holds(dir, "low/a", "low") && holds(dir, "low/b", "low") && holds(dir, "up/b", "up"));
	(void)snprintf(
		data, sizeof(data), "lowerdir=%s/low,upperdir=%s/up,workdir=%s/wd", dir, dir, dir);
	p = plan(&s);
	r = mount_plan_make(&p, &e);
	if (r == -ENODEV) {
		printf("# no overlayfs: skipped\n");
		goto out;
	}
	CHECK_EQ(r, 0);
	CHECK_STR(in_tree(&p, "a"), "low");
	CHECK_STR(in_tree(&p, "b"), "up");
	r = openat(p.tree[0], "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	CHECK(r >= 0 && !close(r));
	(void)snprintf(path, sizeof(path), "%s/up/new", dir);
	CHECK(!stat(path, &st));
	plan_end(&p);
	/* read-only as a whole */
	m.set = MS_RDONLY;
	p = plan(&s);
	CHECK_EQ(mount_plan_make(&p, &e), 0);
	CHECK_EQ(openat(p.tree[0], "x", O_CREAT | O_WRONLY | O_CLOEXEC, 0644), -1);
	CHECK_EQ(errno, EROFS);
	plan_end(&p);
	/* where it fails, the mount is named, and the option */
	end = data + strlen(data);
	(void)snprintf(end, sizeof(data) - (size_t)(end - data), ",volatil=%0256d", 1);
	p = plan(&s);
	CHECK_EQ(mount_plan_make(&p, &e), -ENAMETOOLONG);
	CHECK(strstr(e.msg, "config.json: mounts[0].options: the value of \"volatil\""));
	plan_end(&p);
	*end = 0;
	(void)snprintf(end, sizeof(data) - (size_t)(end - data), ",volatil");
	e = (struct error){ 0 };
	p = plan(&s);
	CHECK_EQ(mount_plan_make(&p, &e), -EINVAL);
	CHECK(strstr(e.msg, "config.json: mounts[0]"));
	plan_end(&p);
	m.type = "nosuchfs";
	e = (struct error){ 0 };
	p = plan(&s);
	CHECK_EQ(mount_plan_make(&p, &e), -ENODEV);
	CHECK(strstr(e.msg, "config.json: mounts[0].type: \"nosuchfs\""));
out:
	plan_end(&p);
	(void)umount2(dir, MNT_DETACH);
	(void)rmdir(dir);
}

static bool readonly(const char *dir)
{
	CLEAN_FD int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd >= 0 && mount_tree_readonly(fd);
}

static bool remount(const char *dir, unsigned long flags)
{
	return !mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | flags, NULL);
}

static void readonly_trees(void)
{
	char dir[] = "/var/tmp/krun-mounts-XXXXXX", sub[64], deep[64], beside[64];

	CHECK(mkdtemp(dir));
	if (geteuid() || !own_mounts()) {
		(void)rmdir(dir);
		return;
	}
	CHECK(!mount("tmpfs", dir, "tmpfs", 0, NULL));
	(void)snprintf(sub, sizeof(sub), "%s/sub", dir);
	(void)snprintf(deep, sizeof(deep), "%s/sub/deep", dir);
	(void)snprintf(beside, sizeof(beside), "%s/beside", dir);
	CHECK(!mkdir(sub, 0755) && !mkdir(beside, 0755) && !mount("tmpfs", sub, "tmpfs", 0, NULL));
	CHECK(!mkdir(deep, 0755) && !mount("tmpfs", deep, "tmpfs", 0, NULL));
	CHECK(!readonly(dir));
	CHECK(remount(dir, MS_RDONLY));
	CHECK(!readonly(dir));
	CHECK(remount(sub, MS_RDONLY));
	CHECK(!readonly(dir) && !readonly(sub));
	CHECK(remount(deep, MS_RDONLY | MS_NOSUID));
	CHECK(readonly(dir) && readonly(sub) && readonly(deep));
	/* moved to below what was mounted after it, and read-only as a file system alone */
	CHECK(!mount("tmpfs", beside, "tmpfs", MS_RDONLY, NULL));
	CHECK(readonly(dir));
	CHECK(remount(beside, 0));
	CHECK(!readonly(dir) && readonly(sub));
	(void)umount2(dir, MNT_DETACH);
	(void)rmdir(dir);
}

static const struct test_case cases[] = {
	TEST(mapped_ids),
	TEST(dangling),
	TEST(file_systems),
	TEST(readonly_trees),
};

TEST_MAIN(cases)
