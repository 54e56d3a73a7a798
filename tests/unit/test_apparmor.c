// SPDX-License-Identifier: Apache-2.0
/* process.apparmorProfile: what the kernel is told, and what an exec may ask for. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "oci/apparmor.h"
#include "test.h"

static void enter(void)
{
	char text[64] = "", long_name[5000];
	struct error e = { 0 };
	int fd = memfd_create("attr", 0), full = open("/dev/full", O_WRONLY);

	CHECK(fd >= 0 && full >= 0);
	CHECK_EQ(apparmor_enter(fd, "docker-default", &e), 0);
	CHECK_EQ(pread(fd, text, sizeof(text) - 1, 0),
		(ssize_t)strlen("changeprofile docker-default"));
	CHECK_STR(text, "changeprofile docker-default");
	CHECK_EQ(apparmor_enter(full, "p", &e), -ENOSPC);
	CHECK(strstr(e.msg, "process.apparmorProfile: \"p\": `/proc/self/attr/apparmor/current`"));
	(void)memset(long_name, 'x', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = 0;
	CHECK_EQ(apparmor_enter(fd, long_name, &e), -ENAMETOOLONG);
	close(fd);
	close(full);
}

/* Of a profile that nobody has loaded, where there are profiles. */
static void missing(void)
{
	struct error e = { 0 };
	int fd;

	if (!apparmor_on())
		return;
	fd = apparmor_open(&e);
	CHECK(fd >= 0);
	CHECK_EQ(apparmor_enter(fd, "krun-oci-nobody-has-this", &e), -ENOENT);
	CHECK(strstr(e.msg, "no such profile"));
	CHECK(!strstr(e.msg, "No such file"));
	close(fd);
}

static void suits(void)
{
	CHECK(apparmor_suits(NULL, NULL));
	CHECK(apparmor_suits("p", NULL));
	CHECK(apparmor_suits("p", ""));
	CHECK(apparmor_suits("p", "p"));
	CHECK(!apparmor_suits("p", "q"));
	CHECK(!apparmor_suits("p", "unconfined"));
	CHECK(apparmor_suits("", "unconfined"));
	CHECK(apparmor_suits(NULL, "unconfined"));
	CHECK(apparmor_suits("unconfined", "unconfined"));
	CHECK(!apparmor_suits(NULL, "p"));
}

static const struct test_case cases[] = {
	TEST(enter),
	TEST(missing),
	TEST(suits),
};

TEST_MAIN(cases)
