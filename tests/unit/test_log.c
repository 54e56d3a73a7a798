// SPDX-License-Identifier: Apache-2.0
/* --log journald: and syslog: what their daemons are sent. Sockets of ours take their places, in a
 * mount namespace of ours. */
#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "oci/log.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"

#define JOURNAL "/run/systemd/journal/socket"

static char got[4096];

static int daemon_at(const char *path)
{
	CLEAN_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	(void)snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) ? -1 : TAKE_FD(fd);
}

/* The next message, which is there already; "" for none. */
static const char *next(int fd)
{
	ssize_t n = recv(fd, got, sizeof(got) - 1, MSG_DONTWAIT);

	got[n > 0 ? n : 0] = 0;
	return got;
}

static void journal(void)
{
	CLEAN_FD int fd = -1;
	struct error e = { 0 };

	CHECK_EQ(oci_log_open("journald:me", NULL, NULL, &e), -ENOENT);
	CHECK_STR(e.msg, "cannot reach the log at " JOURNAL ": No such file or directory");
	fd = daemon_at(JOURNAL);
	CHECK(fd >= 0);
	CHECK_EQ(oci_log_open("journald:me", "json", "warning", NULL), 0);
	oci_log(OCI_WARNING, "a \"word\" of %d", 1);
	CHECK_STR(next(fd), "PRIORITY=4\nSYSLOG_IDENTIFIER=me\nMESSAGE=a \"word\" of 1\n");
	/* what an image says adds no field of its own */
	oci_log(OCI_ERROR, "a\nMESSAGE_ID=b\x7f\xff");
	CHECK_STR(next(fd),
		"PRIORITY=3\nSYSLOG_IDENTIFIER=me\nMESSAGE=a MESSAGE_ID=b \xef\xbf\xbd\n");
	oci_log(OCI_DEBUG, "not at this level");
	CHECK_STR(next(fd), "");
	CHECK(oci_log_fd() >= 0);
	/* nor does the identifier, which is one of the command line */
	CHECK_EQ(oci_log_open("journald:me\nPRIORITY=0", NULL, NULL, NULL), 0);
	oci_log(OCI_ERROR, "x");
	CHECK_STR(next(fd), "PRIORITY=3\nSYSLOG_IDENTIFIER=me\nMESSAGE=x\n");
	/* a daemon that goes takes nobody with it */
	(void)close(TAKE_FD(fd));
	oci_log(OCI_ERROR, "to nobody");
	oci_log_close();
	CHECK(!unlink(JOURNAL));
}

static void syslog_(void)
{
	CLEAN_FD int fd = -1;
	struct error e = { 0 };
	char want[64];

	CHECK_EQ(oci_log_open("syslog:me", NULL, NULL, &e), -ENOENT);
	CHECK_STR(e.msg, "cannot reach the log at /dev/log: No such file or directory");
	fd = daemon_at("/dev/log");
	CHECK(fd >= 0);
	CHECK_EQ(oci_log_open("syslog:me", NULL, "debug", NULL), 0);
	oci_log(OCI_DEBUG, "one\ntwo");
	/* daemon.debug */
	(void)snprintf(want, sizeof(want), "<31>me[%d]: one two", (int)getpid());
	CHECK_STR(next(fd), want);
	oci_log(OCI_ERROR, "three");
	(void)snprintf(want, sizeof(want), "<27>me[%d]: three", (int)getpid());
	CHECK_STR(next(fd), want);
	oci_log_close();
}

static const struct test_case cases[] = {
	TEST(journal),
	TEST(syslog_),
};

int main(int argc, char **argv)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		mount("tmpfs", "/run", "tmpfs", 0, NULL) ||
		mount("tmpfs", "/dev", "tmpfs", 0, NULL) || mkdir("/run/systemd", 0755) ||
		mkdir("/run/systemd/journal", 0755)) {
		printf("1..0 # SKIP no mount namespace of its own: %s\n", err_text(errno));
		return 77;
	}
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
