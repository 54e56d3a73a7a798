// SPDX-License-Identifier: Apache-2.0
/* What krun_start_enter() opens for devices: disks with all that their images name, sockets of
 * vhost-user back ends. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "api/start.h"
#include "tests/fake/empty_qcow2.h"
#include "tests/fake/fake_hv.h"
#include "tests/unit/test.h"
#include "tests/unit/vmm_rig.h"

static char top[32], sub[64];

static const char *in(const char *dir, const char *name)
{
	static char path[4][128];
	static unsigned n;
	char *p = path[n++ % 4];

	(void)snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

static int make(const char *path)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 || ftruncate(fd, 1 << 20) ? -1 : fd;
}

static bool touch(const char *dir, const char *name)
{
	int fd = make(in(dir, name));

	return fd >= 0 && !close(fd);
}

/* A qcow2 image over the raw one called @below. */
static bool image(const char *dir, const char *name, const char *below)
{
	uint8_t ext[16] = { 0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 3, 'r', 'a', 'w' }, at[8], len[4];
	int fd = open(in(dir, name), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	size_t n = strlen(below);
	bool ok;

	empty_qcow2_be(at, 8, 512);
	empty_qcow2_be(len, 4, n);
	ok = fd >= 0 && !empty_qcow2(fd, 1 << 20, 16) && pwrite(fd, at, 8, 8) == 8 &&
		pwrite(fd, len, 4, 16) == 4 && pwrite(fd, ext, sizeof(ext), 104) == sizeof(ext) &&
		pwrite(fd, below, n, 512) == (ssize_t)n;
	return ok && !close(fd);
}

static bool set_up(void)
{
	(void)snprintf(top, sizeof(top), "/tmp/api-XXXXXX");
	if (!mkdtemp(top))
		return false;
	(void)snprintf(sub, sizeof(sub), "%s/sub", top);
	return !mkdir(sub, 0700) && touch(top, "above") && touch(sub, "raw") &&
		touch(sub, "base") && image(sub, "image", "base") &&
		!symlink("../above", in(sub, "link"));
}

static void tear_down(void)
{
	static const char *const names[] = { "raw", "base", "image", "link" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)unlink(in(sub, names[i]));
	(void)unlink(in(top, "above"));
	CHECK(!rmdir(sub) && !rmdir(top));
}

static unsigned fds(void)
{
	unsigned n = 0;

	for (int i = 0; i < 256; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

/* O_DIRECT is not everywhere. */
static bool direct_here(void)
{
	int fd = open(in(sub, "image"), O_RDWR | O_DIRECT | O_CLOEXEC);

	return fd >= 0 && !close(fd);
}

/* As they were asked for, in order, and which files an image may name. */
static void drives(void)
{
	static struct start s;
	struct error e = { 0 };
	struct vmm_disk *d = s.cfg.disk;
	unsigned before = fds();
	uint32_t id;
	int fd;

	CHECK(set_up());
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_add_disk3(id, "a", in(sub, "image"), KRUN_DISK_FORMAT_QCOW2, false, false,
			 KRUN_SYNC_NONE),
		0);
	CHECK_EQ(krun_add_disk(id, "b", in(sub, "raw"), true), 0);
	/* without effect: there are others */
	CHECK_EQ(krun_set_root_disk(id, "/nowhere"), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK_EQ(start_disks(&s, &e), 0);
	CHECK_EQ(s.cfg.ndisks, 2);
	CHECK(d[0].format == VMM_DISK_QCOW2 && d[0].sync == VMM_DISK_SYNC_NONE && !d[0].readonly);
	CHECK(d[1].format == VMM_DISK_RAW && d[1].sync == VMM_DISK_SYNC_FULL && d[1].readonly);
	CHECK(d[0].opened && d[0].fd < 0 && d[1].opened && d[1].fd < 0);
	fd = d[0].open_backing(d[0].backing_arg, "base");
	CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY && !close(fd));
	CHECK_EQ(d[0].open_backing(d[0].backing_arg, "none"), -ENOENT);
	CHECK_EQ(d[0].open_backing(d[0].backing_arg, "../above"), -EXDEV);
	CHECK_EQ(d[0].open_backing(d[0].backing_arg, "link"), -EXDEV);
	CHECK_EQ(d[0].open_backing(d[0].backing_arg, "/etc/passwd"), -EXDEV);
	CHECK_EQ(d[0].open_backing(d[0].backing_arg, "."), -EINVAL);
	start_devices_undo(&s);
	CHECK(s.cfg.ndisks == 0);
	api_free(s.c);

	/* the deprecated ones: the root first, whichever was said first */
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_set_data_disk(id, "/nowhere"), 0);
	CHECK_EQ(krun_set_root_disk(id, in(sub, "raw")), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK_EQ(start_disks(&s, &e), -ENOENT);
	CHECK(s.cfg.ndisks == 1 && d[0].sync == VMM_DISK_SYNC_FULL && strstr(e.msg, "/nowhere"));
	start_devices_undo(&s);
	api_free(s.c);

	/* what the image names is opened with it, or the start fails */
	CHECK(!unlink(in(sub, "base")));
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_add_disk2(id, "a", in(sub, "image"), KRUN_DISK_FORMAT_QCOW2, false), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK_EQ(start_disks(&s, &e), -ENOENT);
	start_devices_undo(&s);
	api_free(s.c);
	tear_down();
	CHECK_EQ(fds(), before);
}

/* All is open before the change of user: the VM is built when every file and directory has gone. */
static void nothing_is_opened_later(void)
{
	static struct start s;
	struct error e = { 0 };
	unsigned before = fds();
	struct vmm *vm;
	uint32_t id;
	bool direct;

	CHECK(set_up());
	direct = direct_here();
	if (!direct)
		printf("# not tried: no O_DIRECT on files in /tmp\n");
	id = (uint32_t)krun_create_ctx();
	CHECK_EQ(krun_add_disk3(id, "a", in(sub, "image"), KRUN_DISK_FORMAT_QCOW2, false, direct,
			 KRUN_SYNC_FULL),
		0);
	CHECK_EQ(krun_add_disk(id, "b", in(sub, "raw"), false), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK_EQ(start_disks(&s, &e), 0);
	tear_down();
	s.cfg.vcpus = 1;
	s.cfg.ram_bytes = 32 * MIB;
	s.cfg.no_thp = true;
	s.cfg.kernel_fd = kernel_file();
	fake_hv_set_opts(NULL);
	CHECK_EQ(vmm_new(-1, &vm, &e), 0);
	CHECK_EQ(vmm_build(vm, &s.cfg, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK(!s.cfg.disk[0].opened && s.cfg.disk[0].fd < 0);
	vmm_free(vm);
	s.cfg.ndisks = 0;
	start_devices_undo(&s);
	api_free(s.c);
	CHECK_EQ(fds(), before);
}

static void none(int n)
{
	(void)n;
}

static int64_t ms_of_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int client(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* One who listens and takes nothing, in time and late, also while signals come. */
static void back_ends(void)
{
	const struct itimerval often = { { 0, 3000 }, { 0, 3000 } }, never = { { 0, 0 }, { 0, 0 } };
	const struct sigaction act = { .sa_handler = none };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval t = { 1, 1 };
	socklen_t n = sizeof(t);
	int l = client(), c[4];
	int64_t begun;

	for (unsigned i = 0; i < 4; i++)
		c[i] = client();
	(void)snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/api-vhost-%d", (int)getpid());
	CHECK_EQ(start_vhost_connect(c[0], a.sun_path, 50), -ENOENT);
	CHECK(!bind(l, (struct sockaddr *)&a, sizeof(a)));
	CHECK_EQ(start_vhost_connect(c[0], a.sun_path, 50), -ECONNREFUSED);
	CHECK(!listen(l, 0));
	CHECK_EQ(start_vhost_connect(c[0], a.sun_path, 10000), 0); /* all that fits */
	CHECK(!getsockopt(c[0], SOL_SOCKET, SO_SNDTIMEO, &t, &n) && !t.tv_sec && !t.tv_usec);
	begun = ms_of_now();
	CHECK_EQ(start_vhost_connect(c[1], a.sun_path, 50), -ETIMEDOUT);
	CHECK(ms_of_now() - begun >= 50);
	CHECK(!sigaction(SIGALRM, &act, NULL) && !setitimer(ITIMER_REAL, &often, NULL));
	begun = ms_of_now();
	CHECK_EQ(start_vhost_connect(c[2], a.sun_path, 50), -ETIMEDOUT);
	CHECK(ms_of_now() - begun >= 50);
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	CHECK(!close(accept(l, NULL, NULL)));
	CHECK_EQ(start_vhost_connect(c[3], a.sun_path, 10000), 0);
	for (unsigned i = 0; i < 4; i++)
		(void)close(c[i]);
	CHECK(!close(l) && !unlink(a.sun_path));
}

static const struct test_case cases[] = {
	TEST(drives),
	TEST(nothing_is_opened_later),
	TEST(back_ends),
};

TEST_MAIN(cases)
