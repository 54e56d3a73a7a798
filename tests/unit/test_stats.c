// SPDX-License-Identifier: Apache-2.0
/* The figures of a cgroup as JSON, and the times that events takes. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/stats.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"

static char dir[64];

static int make_dir(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/krun-test-stats.XXXXXX");
	return mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

static void put(int fd, const char *name, const char *text)
{
	if (write_file_at(fd, name, text, strlen(text), 0644))
		abort();
}

static void all_files(void)
{
	CLEAN_FD int fd = make_dir();
	CLEAN_FREE char *text = NULL;
	size_t len = 0;

	put(fd, "cpu.stat",
		"usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 4\nnr_throttled 3\nthrottled_usec 2\n");
	put(fd, "memory.current", "1000\n");
	put(fd, "memory.max", "max\n");
	put(fd, "memory.peak", "2000\n");
	put(fd, "memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n");
	put(fd, "memory.stat", "anon 600\nfile 400\n");
	put(fd, "pids.current", "9\n");
	put(fd, "pids.max", "100\n");
	put(fd, "io.stat",
		"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n7:1 \n259:12 rbytes=5 wbytes=6 rios=7 wios=8 dbytes=0 dios=0\n");
	put(fd, "hugetlb.2MB.current", "4096\n");
	put(fd, "hugetlb.2MB.max", "8192\n");
	put(fd, "hugetlb.2MB.rsvd.current", "1\n");
	CHECK_EQ(stats_json(fd, "i", &text, &len), 0);
	CHECK_STR(text,
		"{\"type\":\"stats\",\"id\":\"i\",\"data\":{\"cpu\":{\"usage\":{\"total\":30000,\"kernel\":20000,"
		"\"user\":10000},\"throttling\":{\"periods\":4,\"throttledPeriods\":3,\"throttledTime\":2000}},"
		"\"memory\":{\"cache\":400,\"usage\":{\"limit\":18446744073709551615,\"usage\":1000,\"max\":2000,"
		"\"failcnt\":7},\"swap\":{\"limit\":0,\"usage\":0,\"failcnt\":0},\"kernel\":{\"limit\":0,\"usage\":0,"
		"\"failcnt\":0},\"kernelTCP\":{\"limit\":0,\"usage\":0,\"failcnt\":0},\"raw\":{\"anon\":600,"
		"\"file\":400}},\"pids\":{\"current\":9,\"limit\":100},\"blkio\":{\"ioServiceBytesRecursive\":["
		"{\"major\":8,\"minor\":0,\"op\":\"Read\",\"value\":1},{\"major\":8,\"minor\":0,\"op\":\"Write\","
		"\"value\":2},{\"major\":259,\"minor\":12,\"op\":\"Read\",\"value\":5},{\"major\":259,\"minor\":12,"
		"\"op\":\"Write\",\"value\":6}],\"ioServicedRecursive\":[{\"major\":8,\"minor\":0,\"op\":\"Read\","
		"\"value\":3},{\"major\":8,\"minor\":0,\"op\":\"Write\",\"value\":4},{\"major\":259,\"minor\":12,"
		"\"op\":\"Read\",\"value\":7},{\"major\":259,\"minor\":12,\"op\":\"Write\",\"value\":8}]},"
		"\"hugetlb\":{\"2MB\":{\"limit\":8192,\"usage\":4096,\"failcnt\":0}}}}\n");
	CHECK_EQ(remove_tree_at(AT_FDCWD, dir), 0);
}

static void no_files(void)
{
	CLEAN_FD int fd = make_dir();
	CLEAN_FREE char *text = NULL;
	size_t len = 0;

	put(fd, "io.stat", "nonsense\n8:0 rbytes=1\n:\n\n8:");
	put(fd, "memory.stat", "\n \nx\ny z");
	CHECK_EQ(stats_json(fd, "\"", &text, &len), 0);
	CHECK(strstr(text, "\"id\":\"\\\"\""));
	CHECK(strstr(text, "\"ioServiceBytesRecursive\":[]"));
	CHECK(strstr(text, "\"pids\":{\"current\":0,\"limit\":0}"));
	CHECK_EQ(remove_tree_at(AT_FDCWD, dir), 0);
}

static void oom(void)
{
	CLEAN_FREE char *text = NULL;
	size_t len = 0;

	CHECK_EQ(stats_oom_json("x", &text, &len), 0);
	CHECK_STR(text, "{\"type\":\"oom\",\"id\":\"x\"}\n");
}

static void intervals(void)
{
	static const char *const bad[] = { "", "5", "s", "-1s", "0s", "5s ", "1d", "25h", "5s5",
		"99999999999999999999s", "1m99999999999999999999ms", "24h1ms" };
	struct error e = { 0 };
	unsigned ms = 0;

	CHECK_EQ(stats_interval("5s", &ms, NULL), 0);
	CHECK_EQ(ms, 5000);
	CHECK_EQ(stats_interval("1h1m30s250ms", &ms, NULL), 0);
	CHECK_EQ(ms, 3690250);
	CHECK_EQ(stats_interval("24h", &ms, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(stats_interval(bad[i], &ms, NULL), -EINVAL);
	CHECK_EQ(stats_interval("5", &ms, &e), -EINVAL);
	CHECK(strstr(e.msg, "--interval: \"5\" is no time"));
}

static const struct test_case cases[] = {
	TEST(all_files),
	TEST(no_files),
	TEST(oom),
	TEST(intervals),
};

TEST_MAIN(cases)
