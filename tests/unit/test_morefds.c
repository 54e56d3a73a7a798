// SPDX-License-Identifier: Apache-2.0
/* Descriptors behind stderr: which there are, of which kind, and what the environment says of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "oci/morefds.h"
#include "test.h"
#include "util/err.h"

static struct error e;
static struct morefds m;

/* @fd as descriptor 3, alone. */
static int take(int fd, int own)
{
	int r;

	e = (struct error){ 0 };
	if (fd >= 0 && fd != 3 && (dup2(fd, 3) != 3 || close(fd)))
		return 1;
	r = morefds_take(&m, 1, own, &e);
	if (r)
		(void)close(3);
	else if (!(fcntl(3, F_GETFD) & FD_CLOEXEC))
		r = 2;
	else
		morefds_close(&m);
	return r;
}

static void counts(void)
{
	static const char *const bad[] = { "", "-1", "x", "1x", " 1", "61",
		"99999999999999999999" };
	unsigned n;

	(void)unsetenv("LISTEN_FDS");
	CHECK_EQ(morefds_count(NULL, &n, &e), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(morefds_count("60", &n, &e), 0);
	CHECK_EQ(n, 60);
	(void)setenv("LISTEN_FDS", "2", 1);
	CHECK_EQ(morefds_count("3", &n, &e), 0);
	CHECK_EQ(n, 5);
	e = (struct error){ 0 };
	CHECK_EQ(morefds_count("59", &n, &e), -EINVAL);
	CHECK(strstr(e.msg, "more than 60"));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_EQ(morefds_count(bad[i], &n, NULL), -EINVAL);
		(void)setenv("LISTEN_FDS", bad[i], 1);
		CHECK_EQ(morefds_count(NULL, &n, NULL), *bad[i] ? -EINVAL : 0);
		(void)unsetenv("LISTEN_FDS");
	}
}

static void kinds(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int p[2], fd;

	CHECK_EQ(take(open("/dev/null", O_RDWR), -1), 0);
	CHECK_EQ(m.kind[0], BLOB_FD_NULL);
	CHECK_EQ(take(open("/proc/self/exe", O_RDONLY), -1), 0);
	CHECK_EQ(m.kind[0], BLOB_FD_IN);
	CHECK(!pipe(p));
	(void)close(p[0]);
	CHECK_EQ(take(p[1], -1), 0);
	CHECK_EQ(m.kind[0], BLOB_FD_OUT);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	CHECK_EQ(take(p[1], -1), 0);
	CHECK_EQ(m.kind[0], BLOB_FD_SOCKET);
	if (p[0] != 3)
		(void)close(p[0]);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof(a.sun_family)) && !listen(fd, 1));
	CHECK_EQ(take(fd, -1), 0);
	CHECK_EQ(m.kind[0], BLOB_FD_LISTEN);
}

static void refused(void)
{
	CHECK_EQ(take(-1, -1), -EBADF);
	CHECK_EQ(take(open("/dev/null", O_RDWR), 3), -EBADF); /* the runtime's own */
	CHECK_EQ(take(open("/dev/zero", O_RDONLY), -1), -ENOTSUP);
	CHECK(strstr(e.msg, "descriptor 3 is a device"));
	CHECK_EQ(take(open("/", O_RDONLY | O_DIRECTORY), -1), -ENOTSUP);
	CHECK(strstr(e.msg, "a directory"));
	CHECK_EQ(take(open("/proc/self/exe", O_PATH), -1), -ENOTSUP);
	CHECK_EQ(take(socket(AF_UNIX, SOCK_DGRAM, 0), -1), -ENOTSUP);
	CHECK(strstr(e.msg, "a socket that is no stream"));
	CHECK_EQ(take(socket(AF_UNIX, SOCK_STREAM, 0), -1), -ENOTSUP);
	CHECK(strstr(e.msg, "neither connected nor listens"));
}

/* A variable that has outlived its descriptors. */
static void stale(void)
{
	(void)setenv("LISTEN_FDS", "1", 1);
	(void)close(3);
	CHECK_EQ(morefds_take(&m, 1, -1, &e), 0);
	CHECK_EQ(m.n, 0);
	CHECK(!m.listen);
	/* the runtime's own has its place */
	CHECK_EQ(dup2(1, 3), 3);
	CHECK_EQ(morefds_take(&m, 1, 3, &e), 0);
	CHECK_EQ(m.n, 0);
	/* what --preserve-fds names is there, or is not */
	CHECK_EQ(take(open("/dev/null", O_RDWR), -1), 0);
	CHECK_STR(m.listen, "1");
	CHECK_EQ(dup2(open("/dev/null", O_RDWR), 3), 3);
	CHECK_EQ(morefds_take(&m, 2, 4, &e), 0);
	CHECK_EQ(m.n, 1);
	CHECK_EQ(m.kind[0], BLOB_FD_NULL);
	CHECK(!m.listen);
	morefds_close(&m);
	CHECK_EQ(morefds_take(&m, 2, -1, &e), -EBADF);
	(void)unsetenv("LISTEN_FDS");
	CHECK_EQ(morefds_take(&m, 1, -1, &e), -EBADF);
}

static void environment(void)
{
	char listen_fds[] = "LISTEN_FDS=9", path[] = "PATH=/bin", pid[] = "LISTEN_PID=77";
	char *words[] = { listen_fds, path, pid, NULL };
	struct strv env = { words, 3 };
	struct arena *a = arena_new();

	m = (struct morefds){ 0 };
	CHECK_EQ(morefds_env(&m, a, &env, &e), 0);
	CHECK_EQ(env.n, 3);
	m.listen = "1";
	m.names = "web";
	CHECK_EQ(morefds_env(&m, a, &env, &e), 0);
	CHECK_EQ(env.n, 4);
	CHECK_STR(env.v[0], "PATH=/bin");
	CHECK_STR(env.v[1], "LISTEN_FDS=1");
	CHECK_STR(env.v[2], "LISTEN_FDNAMES=web");
	CHECK_STR(env.v[3], "LISTEN_PID=1");
	CHECK(!env.v[4]);
	arena_free(a);
}

static const struct test_case cases[] = {
	TEST(counts),
	TEST(kinds),
	TEST(refused),
	TEST(stale),
	TEST(environment),
};

TEST_MAIN(cases)
