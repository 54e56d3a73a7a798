// SPDX-License-Identifier: Apache-2.0
/* A container's directory: made and deleted in one step each, locked by one at a time, and never
 * mistaken for another of the same id. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/state.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"

static char base[64];
static struct rt rt = { .name = "krun-oci", .root = base };

static void new_root(void)
{
	(void)snprintf(base, sizeof(base), "/tmp/krun-test-state.XXXXXX");
	if (!mkdtemp(base))
		abort();
}

static void drop_root(void)
{
	IGNORE_RESULT(remove_tree_at(AT_FDCWD, base));
}

static const char *at(const char *name)
{
	static char path[2][128];
	static int turn;

	turn = !turn;
	(void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", base, name);
	return path[turn];
}

static bool exists(const char *name)
{
	return !access(at(name), F_OK);
}

static int make(struct container *c, const char *id)
{
	*c = (struct container){ .id = strdup(id),
		.root_fd = -1,
		.bundle = strdup("/b"),
		.rootfs = strdup("/b/r"),
		.version = strdup("1.0.0") };
	return container_make(&rt, c, "{}", 2, NULL);
}

/* One that nobody holds. */
static int make_and_leave(const char *id)
{
	CLEAN(container_free) struct container c;

	return make(&c, id);
}

static void nothing_there(void)
{
	CLEAN(container_free) struct container c;
	struct error e = { 0 };

	new_root();
	drop_root();
	CHECK_EQ(container_open(&rt, "a", &c, &e), -ENOENT);
	CHECK_STR(e.msg, "container \"a\" does not exist");
	e = (struct error){ 0 };
	CHECK_EQ(rt_delete(&rt, "a", false, &e), -ENOENT);
	CHECK_STR(e.msg, "container \"a\" does not exist");
	CHECK_EQ(rt_delete(&rt, "a", true, &e), 0);
	CHECK_EQ(rt_start(&rt, "a", NULL), -ENOENT);
	CHECK_EQ(rt_kill(&rt, "a", 15, false, NULL), -ENOENT);
}

static void made_and_deleted(void)
{
	struct error e = { 0 };

	new_root();
	CHECK_EQ(make_and_leave("a"), 0);
	CHECK(exists("a/state.json") && exists("a/config.json") && exists("a/lock"));
	CHECK_EQ(make_and_leave("a"), -EEXIST);
	/* what a delete and a create that were killed left: the second one's process is no more */
	CHECK(!mkdir(at(".del-1-2"), 0700) && !mkdir(at(".new-4194999-1"), 0700));
	CHECK(!close(open(at(".del-1-2/status"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	CHECK_EQ(rt_delete(&rt, "a", false, &e), 0);
	CHECK(!exists("a") && !exists(".del-1-2") && !exists(".new-4194999-1"));
	CHECK(!rmdir(base)); /* nothing else is left either */
}

/* A directory of somebody else's that XDG_RUNTIME_DIR names is passed over. */
static void runtime_dir(void)
{
	struct rt own = { .name = "krun-oci" };
	char dir[] = "/tmp/krun-test-xdg.XXXXXX", want[128], got[128];
	const char *env = getenv("XDG_RUNTIME_DIR");
	char *before = env ? strdup(env) : NULL;

	CHECK(mkdtemp(dir) && !setenv("XDG_RUNTIME_DIR", dir, 1));
	(void)snprintf(want, sizeof(want), "%s/krun-oci", dir);
	CHECK_EQ(state_root_path(&own, got, sizeof(got)), 0);
	CHECK_STR(got, want);
	if (!geteuid() && !chown(dir, 1000, 1000)) {
		CHECK_EQ(state_root_path(&own, got, sizeof(got)), 0);
		CHECK_STR(got, "/run/krun-oci");
	}
	CHECK(!rmdir(dir));
	(void)(before ? setenv("XDG_RUNTIME_DIR", before, 1) : unsetenv("XDG_RUNTIME_DIR"));
	free(before);
}

/* Of a version that took the files one by one, or by hand: what is left of ours goes by force. */
static void half_a_container(void)
{
	struct error e = { 0 };

	new_root();
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(make_and_leave("a"), 0);
		CHECK(!unlink(at("a/state.json")));
		CHECK(!i || !unlink(at("a/lock")));
		e = (struct error){ 0 };
		CHECK_EQ(rt_delete(&rt, "a", false, &e), -ENODATA);
		CHECK(strstr(e.msg, "no state.json") != NULL);
		CHECK_EQ(rt_delete(&rt, "a", true, &e), 0);
		CHECK(!exists("a"));
	}
	drop_root();
}

/* Other runtimes keep theirs beside ours. */
static void somebody_elses(void)
{
	FILE *f;

	new_root();
	CHECK(!mkdir(at("x"), 0700));
	f = fopen(at("x/state.json"), "we");
	CHECK(f && fputs("{\"id\":\"x\"}", f) >= 0 && !fclose(f));
	CHECK(rt_delete(&rt, "x", false, NULL) < 0);
	CHECK(rt_delete(&rt, "x", true, NULL) < 0);
	CHECK(exists("x/state.json"));
	drop_root();
}

static void phases(void)
{
	CLEAN(container_free) struct container a, b;

	new_root();
	CHECK_EQ(make(&a, "a"), 0);
	CHECK_EQ(container_open(&rt, "a", &b, NULL), 0);
	CHECK_EQ(container_phase(&b, NULL), PHASE_CREATING);
	CHECK_EQ(container_lock(&b, 0, NULL), -EBUSY);
	container_unlock(&a);
	CHECK_EQ(container_phase(&b, NULL), PHASE_STOPPED);
	/* somebody who only looks, as container_phase() does, is no create */
	a.lock_fd = openat(a.dir_fd, "lock", O_RDONLY | O_CLOEXEC);
	CHECK(a.lock_fd >= 0 && !flock(a.lock_fd, LOCK_SH));
	CHECK_EQ(container_phase(&b, NULL), PHASE_STOPPED);
	drop_root();
}

/* update believes it; a version before had other members. */
static void size_of_the_vm(void)
{
	static const char before[] =
		"{\"id\":\"a\",\"bundle\":\"/b\",\"rootfs\":\"/r\",\"created\":\"x\",\"owner\":0,\"pid\":0,\"pidStart\":0,\"cgroupKept\":0,\"hooks\":0,\"imageCpus\":2,\"imageRam\":1}";
	CLEAN(container_free) struct container a, b;

	new_root();
	CHECK_EQ(make(&a, "a"), 0);
	a.vcpus = 3;
	a.ram = 5ULL << 30;
	CHECK_EQ(container_store(&a, NULL), 0);
	CHECK_EQ(container_open(&rt, "a", &b, NULL), 0);
	CHECK_EQ(b.vcpus, 3);
	CHECK_EQ(b.ram, 5ULL << 30);
	CHECK_EQ(write_file_at(a.dir_fd, "state.json", before, sizeof(before) - 1, 0600), 0);
	CHECK_EQ(container_refresh(&b, NULL), 0);
	CHECK_EQ(b.vcpus, 0);
	CHECK_EQ(b.ram, 0);
	drop_root();
}

static void lock_of_another(void)
{
	CLEAN(container_free) struct container a, b;
	struct error e = { 0 };

	new_root();
	CHECK_EQ(make_and_leave("a"), 0);
	CHECK_EQ(container_open(&rt, "a", &a, NULL), 0);
	CHECK_EQ(container_open(&rt, "a", &b, NULL), 0);
	CHECK_EQ(container_lock(&a, 0, NULL), 0);
	/* b has opened the lock and waits; a goes and another of its id comes */
	b.lock_fd = openat(b.dir_fd, "lock", O_RDWR | O_CLOEXEC);
	CHECK(b.lock_fd >= 0);
	CHECK_EQ(container_remove(&a, NULL), 0);
	container_unlock(&a);
	CHECK_EQ(make_and_leave("a"), 0);
	CHECK_EQ(container_lock(&b, 0, &e), -ENOENT);
	CHECK_STR(e.msg, "container \"a\" does not exist");
	CHECK_EQ(b.lock_fd, -1);
	/* and who reads only now does not find half of the old one */
	CHECK_EQ(container_refresh(&b, NULL), -ENOENT);
	CHECK(exists("a/state.json"));
	drop_root();
}

static void status_file(void)
{
	CLEAN(container_free) struct container a;
	CLEAN_FD int fd = -1;
	int code = 0;

	new_root();
	CHECK_EQ(make(&a, "a"), 0);
	fd = status_open(&a);
	CHECK(fd >= 0);
	CHECK(!container_was_lost(&a));
	CHECK_EQ(status_write(fd, PHASE_STOPPED, 125, STATUS_LOST), 0);
	container_unlock(&a);
	CHECK_EQ(container_phase(&a, &code), PHASE_STOPPED);
	CHECK_EQ(code, 125);
	CHECK(container_was_lost(&a));
	drop_root();
}

static const struct test_case cases[] = {
	TEST(nothing_there),
	TEST(made_and_deleted),
	TEST(runtime_dir),
	TEST(half_a_container),
	TEST(somebody_elses),
	TEST(phases),
	TEST(size_of_the_vm),
	TEST(lock_of_another),
	TEST(status_file),
};

TEST_MAIN(cases)
