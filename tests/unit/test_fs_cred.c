// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: the rights of the serving thread, with two servers on one loop, and when the kernel
 * refuses; what no right helps against. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/fs_client.h"
#include "tests/unit/test.h"
#include "util/loop.h"

#define BITS 06755

/* A file of @c with set-id bits, open for writing. */
static bool open_suid(struct fc *c, uint64_t *f, uint64_t *fh)
{
	return !fc_host_file(c, "s", "abc") && !fchmodat(c->dir, "s", BITS, 0) &&
		(*f = fc_lookup(c, 1, "s")) && !fc_open(c, *f, O_RDWR, fh);
}

static int mode_of(const struct fc *c, const char *name)
{
	struct stat st;

	return fstatat(c->dir, name, &st, 0) ? -1 : (int)(st.st_mode & 07777);
}

/* The second server comes when the first one has given CAP_FSETID away, and both then wish
 * different things in turns. */
static void two_servers(void)
{
	struct fc a, b;
	uint64_t fa, fb, ha, hb, n, h;
	struct stat st;

	CHECK_EQ(fc_new(&a, NULL, NULL), 0);
	CHECK(open_suid(&a, &fa, &ha));
	CHECK_EQ(fc_write(&a, fa, ha, 0, "x", 1, 0, FUSE_WRITE_KILL_SUIDGID), 1);
	CHECK_EQ(mode_of(&a, "s"), 0755);

	CHECK_EQ(fc_new(&b, NULL, NULL), 0);
	CHECK(open_suid(&b, &fb, &hb));
	CHECK_EQ(fc_write(&b, fb, hb, 0, "x", 1, 0, 0), 1);
	CHECK_EQ(mode_of(&b, "s"), BITS);
	for (unsigned i = 0; i < 4; i++) {
		struct fc *kill = i & 1 ? &a : &b, *keep = i & 1 ? &b : &a;

		CHECK(!fchmodat(a.dir, "s", BITS, 0) && !fchmodat(b.dir, "s", BITS, 0));
		CHECK_EQ(fc_write(kill, kill == &a ? fa : fb, kill == &a ? ha : hb, 0, "x", 1, 0,
				 FUSE_WRITE_KILL_SUIDGID),
			1);
		CHECK_EQ(
			fc_write(keep, keep == &a ? fa : fb, keep == &a ? ha : hb, 0, "x", 1, 0, 0),
			1);
		CHECK_EQ(mode_of(kill, "s"), 0755);
		CHECK_EQ(mode_of(keep, "s"), BITS);
	}
	/* what one of them creates for a user is that user's, and the thread itself again after */
	CHECK_EQ(fc_write(&a, fa, ha, 0, "x", 1, 0, FUSE_WRITE_KILL_SUIDGID), 1);
	b.uid = 1234;
	b.gid = 4321;
	CHECK(!fchmod(b.dir, 0700)); /* the right to enter is the server's */
	CHECK_EQ(fc_create(&b, 1, "mine", O_RDWR, 02755, &n, &h), 0);
	CHECK(!fstatat(b.dir, "mine", &st, 0) && st.st_uid == 1234 && st.st_gid == 4321);
	CHECK_EQ(setfsuid((uid_t)-1), 0);
	CHECK_EQ(fc_create(&a, 1, "ours", O_RDWR, 0644, &n, &h), 0);
	CHECK(!fstatat(a.dir, "ours", &st, 0) && st.st_uid == 0);
	CHECK(fc_free(&b));
	CHECK(fc_free(&a));
}

/* What the wire has no flags for: an ordinary user's fallocate() and copy_file_range() take set-id
 * bits, root's do not; what a move leaves in the old place is the user's who moved. */
static void on_loop_users(void *arg)
{
	struct fuse_fallocate_in fa = { .length = 100 };
	struct fuse_copy_file_range_in cp = { .len = 2 };
	uint64_t f, g, fh, gh;
	struct stat st;
	struct fc c;

	(void)arg;
	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK(open_suid(&c, &f, &fh));
	CHECK_EQ(fc_create(&c, 1, "from", O_RDWR, 0644, &g, &gh), 0);
	CHECK_EQ(fc_write(&c, g, gh, 0, "xyz", 3, 0, 0), 3);
	cp.fh_in = gh;
	cp.nodeid_out = f;
	fa.fh = cp.fh_out = fh;
	for (unsigned i = 0; i < 2; i++) {
		struct fuse_write_out o;

		c.uid = i ? 1234 : 0;
		CHECK(!fchmodat(c.dir, "s", BITS, 0));
		CHECK_EQ(fc_call(&c, FUSE_FALLOCATE, f, &fa, sizeof(fa), NULL, 0, NULL, 0), 0);
		CHECK_EQ(mode_of(&c, "s"), i ? 0755 : BITS);
		CHECK(!fchmodat(c.dir, "s", BITS, 0));
		CHECK_EQ(fc_call(&c, FUSE_COPY_FILE_RANGE, g, &cp, sizeof(cp), NULL, 0, &o,
				 sizeof(o)),
			0);
		CHECK_EQ(mode_of(&c, "s"), i ? 0755 : BITS);
	}
	c.gid = 4321;
	CHECK_EQ(fc_rename(&c, 1, "from", 1, "to", RENAME_WHITEOUT), 0);
	CHECK(!fstatat(c.dir, "from", &st, 0) && S_ISCHR(st.st_mode) && !st.st_rdev);
	CHECK(st.st_uid == 1234 && st.st_gid == 4321);
	CHECK(!fstatat(c.dir, "to", &st, 0) && !st.st_uid);
	CHECK_EQ(setfsuid((uid_t)-1), 0);
	/* O_NOATIME is its owner's right, also where the file is new. */
	CHECK_EQ(fc_create(&c, 1, "quiet", O_RDWR | O_NOATIME, 0600, &g, &gh), 0);
	CHECK(fcntl(fs_handle_get(c.fs, fs_node_get(c.fs, g), gh)->fd, F_GETFL) & O_NOATIME);
	CHECK(fc_free(&c));
}

/* Takes CAP_SYS_CHROOT out of what this thread may have: what it held before cannot be set again.
 */
static int lose_a_right(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	d[0].permitted &= ~(1U << CAP_SYS_CHROOT);
	d[0].effective &= ~(1U << CAP_SYS_CHROOT);
	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

static int mark(const struct fc *c, const char *name, int flags)
{
	int fd = openat(c->dir, name, O_RDONLY | O_CLOEXEC), now = 0;
	int r = fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &now) < 0 ? -errno : 0;

	now = (now & ~(FS_IMMUTABLE_FL | FS_APPEND_FL)) | flags;
	if (!r)
		r = ioctl(fd, FS_IOC_SETFLAGS, &now) < 0 ? -errno : 0;
	if (fd >= 0)
		(void)close(fd);
	return r;
}

/* A file that the host has marked, also when the guest has it open. */
static void marked_files(struct fc *c)
{
	struct fuse_setattr_in mode = { .valid = FATTR_MODE, .mode = 0600 }, none = { 0 };
	struct fuse_attr a;
	uint64_t f, n, fh, ah;

	CHECK_EQ(fc_create(c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_open(c, f, O_RDWR | O_APPEND, &ah), 0);
	CHECK_EQ(mark(c, "f", FS_IMMUTABLE_FL), 0);
	CHECK_EQ(fc_setattr(c, f, &mode, NULL), -EPERM);
	CHECK_EQ(fc_setattr(c, f, &none, NULL), -EPERM);
	CHECK_EQ(fc_write(c, f, fh, 0, "x", 1, 0, 0), -EPERM);
	CHECK_EQ(fc_open(c, f, O_WRONLY, &n), -EPERM);
	CHECK_EQ(fc_link(c, f, 1, "g", &n), -EPERM);
	CHECK_EQ(fc_rename(c, 1, "f", 1, "g", 0), -EPERM);
	CHECK_EQ(mark(c, "f", FS_APPEND_FL), 0);
	CHECK_EQ(fc_setattr(c, f, &mode, NULL), -EPERM);
	CHECK_EQ(fc_setattr(c, f, &none, NULL), 0);
	CHECK_EQ(fc_write(c, f, ah, 0, "abc", 3, O_APPEND, 0), 3);
	CHECK_EQ(fc_write(c, f, ah, 0, "def", 3, O_APPEND, 0), 3);
	/* what is not for the end, as a page that is written back */
	CHECK_EQ(fc_write(c, f, ah, 0, "x", 1, O_APPEND, FUSE_WRITE_CACHE), -EPERM);
	CHECK_EQ(fc_write(c, f, ah, 0, "x", 1, 0, 0), -EPERM);
	CHECK_EQ(fc_write(c, f, ah, 0, "ghi", 3, O_APPEND, 0), 3);
	CHECK_EQ(fc_open(c, f, O_WRONLY, &n), -EPERM);
	CHECK_EQ(fc_open(c, f, O_WRONLY | O_APPEND | O_TRUNC, &n), -EPERM);
	CHECK_EQ(mark(c, "f", 0), 0);
	CHECK_EQ(fc_setattr(c, f, &mode, NULL), 0);
	CHECK_EQ(fc_setattr(c, f, &none, &a), 0);
	CHECK_EQ(a.size, 9);
}

static void on_loop_marked(void *arg)
{
	struct fc c;

	(void)arg;
	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_host_file(&c, "try", "x"), 0);
	if (mark(&c, "try", FS_IMMUTABLE_FL) < 0) {
		printf("# no marks on this file system: skipped\n");
	} else {
		CHECK_EQ(mark(&c, "try", 0), 0);
		marked_files(&c);
	}
	CHECK(fc_free(&c));
}

static void on_loop_two(void *arg)
{
	(void)arg;
	two_servers();
}

static void on_loop_refused(void *arg)
{
	uint64_t n, h;
	struct fc c;

	(void)arg;
	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(lose_a_right(), 0);
	c.uid = 1234;
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &n, &h), -EPERM);
	CHECK_EQ(setfsuid((uid_t)-1), 0);
	CHECK_EQ(mode_of(&c, "f"), -1);
	CHECK(fc_free(&c));
}

/* O_NOATIME is for who owns the file, or may do as if: it is left out then, and what changes the
 * flags of such a file later knows that it was. */
static void on_loop_noatime(void *arg)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2], less[2];
	struct fuse_setattr_in sa = { .valid = FATTR_UID, .uid = 12 };
	struct fuse_attr a;
	uint64_t f, fh;
	struct fc c;

	(void)arg;
	CHECK_EQ(fc_new(&c, NULL, NULL), 0);
	CHECK_EQ(fc_create(&c, 1, "f", O_RDWR, 0644, &f, &fh), 0);
	CHECK_EQ(fc_setattr(&c, f, &sa, &a), 0);
	CHECK_EQ(syscall(SYS_capget, &h, d), 0);
	memcpy(less, d, sizeof(less));
	less[0].effective &= ~(1U << CAP_FOWNER);
	CHECK_EQ(syscall(SYS_capset, &h, less), 0);
	CHECK_EQ(fc_open(&c, f, O_RDWR | O_NOATIME, &fh), 0);
	CHECK_EQ(fc_write(&c, f, fh, 0, "one.", 4, 0, 0), 4);
	CHECK_EQ(fc_write(&c, f, fh, 0, "two.", 4, O_APPEND, 0), 4);
	CHECK_EQ(fc_write(&c, f, fh, 0, "ONE.", 4, 0, 0), 4);
	CHECK_EQ(fc_getattr(&c, f, &a), 0);
	CHECK_EQ(a.size, 8);
	CHECK_EQ(syscall(SYS_capset, &h, d), 0);
	CHECK(fc_free(&c));
}

/* On a loop's own thread: what it does to its rights stays there. */
static void on_loop(void (*fn)(void *))
{
	struct loop *l;

	CHECK_EQ(loop_new("fs", &l, NULL), 0);
	CHECK_EQ(loop_thread_start(l, NULL), 0);
	loop_call(l, fn, NULL);
	loop_thread_join(l);
	loop_free(l);
}

static void two_servers_on_one_loop(void)
{
	on_loop(on_loop_two);
}

static void ordinary_users(void)
{
	on_loop(on_loop_users);
}

/* Also that a new thread finds its rights anew, after the loop before. */
static void refused_by_the_kernel(void)
{
	on_loop(on_loop_refused);
}

static void marked_by_the_host(void)
{
	on_loop(on_loop_marked);
}

static void noatime_of_others(void)
{
	on_loop(on_loop_noatime);
}

static void again(void)
{
	on_loop(on_loop_two);
}

static const struct test_case cases[] = {
	TEST(two_servers_on_one_loop),
	TEST(refused_by_the_kernel),
	TEST(again),
	TEST(ordinary_users),
	TEST(marked_by_the_host),
	TEST(noatime_of_others),
};

int main(int argc, char **argv)
{
	if (geteuid()) {
		printf("# needs root: rights to give up and take back\n");
		return 77;
	}
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
