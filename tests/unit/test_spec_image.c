// SPDX-License-Identifier: Apache-2.0
/* /.krun_vm.json: what an image may say of its guest's size, and where it is not believed. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "oci/fsutil.h"
#include "oci/spec.h"
#include "oci/spec_limits.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"

#define MIB (1ULL << 20)

static char dir[] = "/tmp/krun-test-image.XXXXXX";
static int dir_fd = -1;

static bool put(const char *text, size_t len)
{
	(void)unlinkat(dir_fd, ".krun_vm.json", 0);
	return !write_file_at(dir_fd, ".krun_vm.json", text, len, 0644);
}

/* The size by a config with these members more, on a host of @cpus, as "CPUS RAM" in MiB. */
static const char *size_by(const char *more, unsigned cpus)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	static char text[512];
	struct error e = { 0 };
	struct vm_size size;

	(void)snprintf(
		text, sizeof(text), "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"}%s}", more);
	if (spec_parse(text, strlen(text), &s, &e))
		return e.msg[0] ? strcpy(text, e.msg) : "?";
	spec_image_size(s, dir_fd, cpus);
	if (spec_vm_size(s, cpus, &size, &e))
		return strcpy(text, e.msg);
	(void)snprintf(
		text, sizeof(text), "%u %llu", size.vcpus, (unsigned long long)(size.ram / MIB));
	return text;
}

#define PUT(s) put(s, sizeof(s) - 1)

static void said(void)
{
	CHECK_STR(size_by("", 8), "4 1024");
	CHECK(PUT("{\"cpus\":2,\"ram_mib\":200,\"unknown\":{}}"));
	CHECK_STR(size_by("", 8), "2 200");
	CHECK(PUT("{\"cpus\":6}"));
	CHECK_STR(size_by("", 8), "6 1024");
	/* whoever else says something wins */
	CHECK(PUT("{\"cpus\":3,\"ram_mib\":200}"));
	CHECK_STR(size_by(",\"annotations\":{\"krun.cpus\":\"5\",\"krun.ram_mib\":\"300\"}", 8),
		"5 300");
	CHECK_STR(size_by(",\"vm\":{\"hwConfig\":{\"vcpus\":1,\"memory\":134217728}}", 8), "1 128");
	CHECK_STR(size_by(",\"linux\":{\"resources\":{\"cpu\":{\"quota\":150000,\"period\":100000},"
			  "\"memory\":{\"limit\":104857600}}}",
			  8),
		"2 100");
}

static void bounded(void)
{
	char want[64];

	CHECK(PUT("{\"cpus\":64,\"ram_mib\":9000000000000000}"));
	(void)snprintf(
		want, sizeof(want), "8 %llu", (unsigned long long)(spec_host_ram() / 2 / MIB));
	CHECK_STR(size_by("", 8), want);
	(void)snprintf(want, sizeof(want), "%d %llu", LIM_VCPUS,
		(unsigned long long)(spec_host_ram() / 2 / MIB));
	CHECK_STR(size_by("", 1000), want);
	CHECK(PUT("{\"cpus\":1,\"ram_mib\":1}"));
	CHECK_STR(size_by("", 8), "1 64");
}

static void not_believed(void)
{
	static const char *const bad[] = { "", "{", "[]", "7", "null",
		"{\"cpus\":0,\"ram_mib\":-1}", "{\"cpus\":\"2\",\"ram_mib\":1.5}",
		"{\"cpus\":1e300}", "{\"cpus\":99999999999999999999}",
		"{\"kernel_path\":\"/bzImage\",\"gpu_flags\":1}", "\xff\xfe" };
	CLEAN_FREE char *big = malloc(SPEC_LIM_IMAGE_FILE + 64);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(put(bad[i], strlen(bad[i])));
		CHECK_STR(size_by("", 8), "4 1024");
	}
	CHECK(big);
	memset(big, ' ', SPEC_LIM_IMAGE_FILE + 64);
	memcpy(big, "{\"cpus\":2}", 10);
	CHECK(put(big, SPEC_LIM_IMAGE_FILE + 64));
	CHECK_STR(size_by("", 8), "4 1024");
	/* not a file: nobody waits for a writer, and no link leads to the host's */
	(void)unlinkat(dir_fd, ".krun_vm.json", 0);
	CHECK(!mkfifoat(dir_fd, ".krun_vm.json", 0644));
	CHECK_STR(size_by("", 8), "4 1024");
	(void)unlinkat(dir_fd, ".krun_vm.json", 0);
	CHECK(!write_file_at(dir_fd, "other", "{\"cpus\":2}", 10, 0644));
	CHECK(!symlinkat("other", dir_fd, ".krun_vm.json"));
	CHECK_STR(size_by("", 8), "4 1024");
}

static const struct test_case cases[] = {
	TEST(said),
	TEST(bounded),
	TEST(not_believed),
};

int main(int argc, char **argv)
{
	int r;

	if (!mkdtemp(dir))
		return 1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = test_run_(cases, ARRAY_SIZE(cases), argc, argv);
	IGNORE_RESULT(remove_tree_at(AT_FDCWD, dir));
	return r;
}
