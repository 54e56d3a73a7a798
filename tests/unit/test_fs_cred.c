// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: the rights of the serving thread, with two servers on one loop, and when the kernel
 * refuses. */
#include <linux/capability.h>
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

/* Also that a new thread finds its rights anew, after the loop before. */
static void refused_by_the_kernel(void)
{
	on_loop(on_loop_refused);
}

static void again(void)
{
	on_loop(on_loop_two);
}

static const struct test_case cases[] = {
	TEST(two_servers_on_one_loop),
	TEST(refused_by_the_kernel),
	TEST(again),
};

int main(int argc, char **argv)
{
	if (geteuid()) {
		printf("# needs root: rights to give up and take back\n");
		return 77;
	}
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
