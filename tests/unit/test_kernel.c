// SPDX-License-Identifier: Apache-2.0
/* Which guest kernel a config leads to. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oci/kernel.h"
#include "test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"

#define HEAD "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"vm\":"

static char ours[] = "/tmp/krun-test-kernel.XXXXXX";
static struct error e;

/* Where a config with that `vm` section finds its kernel; NULL: nowhere, as e says. */
static const char *kernel_of(const char *vm)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	static char path[PATH_MAX];
	char text[512];
	int fd;

	e = (struct error){ 0 };
	(void)snprintf(text, sizeof(text), HEAD "%s}", vm);
	if (spec_parse(text, strlen(text), &s, &e))
		return NULL;
	fd = kernel_open(s, path, sizeof(path), &e);
	if (fd < 0)
		return NULL;
	(void)close(fd);
	return path;
}

/* The section may be there without a kernel: then it is the same as for everybody else. */
static void section_without_kernel(void)
{
	CHECK_STR(kernel_of("{}"), ours);
	CHECK_STR(kernel_of("{\"hwConfig\":{\"vcpus\":2,\"memory\":268435456}}"), ours);
	CHECK_STR(kernel_of("{\"kernel\":{}}"), ours);
}

static void kernel_of_its_own(void)
{
	char vm[128];

	CHECK(!setenv("KRUN_OCI_KERNEL", "/none", 1));
	CHECK(!kernel_of("{}"));
	CHECK(strstr(e.msg, "KRUN_OCI_KERNEL: \"/none\""));
	(void)snprintf(vm, sizeof(vm), "{\"kernel\":{\"path\":\"%s\"}}", ours);
	CHECK_STR(kernel_of(vm), ours);
	CHECK(!setenv("KRUN_OCI_KERNEL", ours, 1));
	CHECK(!kernel_of("{\"kernel\":{\"path\":\"/no/kernel\"}}"));
	CHECK(strstr(e.msg, "vm.kernel.path: \"/no/kernel\": No such file"));
	CHECK(!kernel_of("{\"kernel\":{\"path\":\"/tmp\"}}"));
	CHECK_EQ(e.code, EINVAL);
}

/* The command line with these words of JSON as parameters, or NULL. */
static const char *line_of(const char *words)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	static char line[KERNEL_CMDLINE_MAX];
	char text[4096];

	e = (struct error){ 0 };
	(void)snprintf(text, sizeof(text),
		HEAD "{\"kernel\":{\"path\":\"/k\",\"parameters\":[%s]}}}", words);
	if (spec_parse(text, strlen(text), &s, &e) || spec_refusals(s, &e))
		return NULL;
	return kernel_cmdline(s, 2, true, line, sizeof(line), &e) ? NULL : line;
}

static void parameters(void)
{
	static const char *const words[] = { "quiet init=/x", "a\\tb", "a\\nb", "a\\u000bb", "",
		"x=\\\"", "'", "--", "a=\\u00e0", "a\\u007f" };
	static const char *const taken[] = { "init=/x", "rdinit=/x", "virtio_mmio.device=1K@2:3",
		"virtio-mmio.device=1K@2:3", "console", "mem=1G", "krun.tsi=off", "nr-cpus=1",
		"root=" };
	CLEAN_FREE char *plain = strdup(line_of(""));
	char text[3000];
	const char *line;

	CHECK(plain && strstr(plain, "console=hvc0") && strstr(plain, " krun.tsi=on"));
	line = line_of("\"nokaslr\",\"initcall_debug\",\"printk.time=1\",\"---\"");
	CHECK(line && !strncmp(line, plain, strlen(plain)));
	CHECK_STR(line + strlen(plain), " nokaslr initcall_debug printk.time=1 ---");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		(void)snprintf(text, sizeof(text), "\"a\",\"%s\"", words[i]);
		CHECK(!line_of(text));
		CHECK(strstr(e.msg, "vm.kernel.parameters[1]: \""));
		CHECK(strstr(e.msg, "is not one parameter"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++) {
		(void)snprintf(text, sizeof(text), "\"%s\"", taken[i]);
		CHECK(!line_of(text));
		CHECK(strstr(e.msg, "own to set"));
	}
	/* devices are described behind them */
	(void)memset(text, 'x', sizeof(text));
	text[0] = '"';
	(void)snprintf(text + 1200, sizeof(text) - 1200, "\"");
	CHECK(line_of(text));
	text[1200] = text[1201] = 'x';
	(void)snprintf(text + 1600, sizeof(text) - 1600, "\"");
	CHECK(!line_of(text));
	CHECK_EQ(e.code, E2BIG);
}

static const struct test_case cases[] = {
	TEST(parameters),
	TEST(section_without_kernel),
	TEST(kernel_of_its_own),
};

int main(int argc, char **argv)
{
	int fd = mkstemp(ours), r;

	if (fd < 0 || setenv("KRUN_OCI_KERNEL", ours, 1))
		return 1;
	(void)close(fd);
	r = test_run_(cases, ARRAY_SIZE(cases), argc, argv);
	(void)unlink(ours);
	return r;
}
