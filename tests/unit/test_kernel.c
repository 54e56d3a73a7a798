// SPDX-License-Identifier: Apache-2.0
/* Which guest kernel a config leads to. */
#include <errno.h>
#include <limits.h>
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

static const struct test_case cases[] = {
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
