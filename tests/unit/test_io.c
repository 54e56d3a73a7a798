// SPDX-License-Identifier: Apache-2.0
/* Whole reads and writes at an offset: ends of files, full files, offsets that are none. */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "util/io.h"

static uint8_t out[100000], in[100000];

static void there_and_back(void)
{
	int fd = memfd_create("io", MFD_CLOEXEC);

	CHECK(fd >= 0);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + (i >> 8));
	CHECK_EQ(io_pwrite(fd, out, sizeof(out), 1ULL << 33), 0);
	CHECK_EQ(io_pread(fd, in, sizeof(in), 1ULL << 33), 0);
	CHECK(!memcmp(in, out, sizeof(in)));
	CHECK_EQ(io_pread(fd, in, 0, 0), 0);
	CHECK_EQ(io_pwrite(fd, in, 0, 0), 0);
	/* what there was before the end is there */
	memset(in, 0, sizeof(in));
	CHECK_EQ(io_pread(fd, in, 11, (1ULL << 33) + sizeof(out) - 10), -ENODATA);
	CHECK(!memcmp(in, out + sizeof(out) - 10, 10) && !in[10]);
	(void)close(fd);
}

static void refused(void)
{
	struct rlimit was, lim;
	FILE *f = tmpfile();
	int fd, p[2];

	CHECK(f);
	fd = fileno(f);
	CHECK_EQ(io_pread(fd, in, 2, INT64_MAX - 1), -EINVAL);
	CHECK_EQ(io_pread(fd, in, 1, UINT64_MAX), -EINVAL);
	CHECK_EQ(io_pwrite(fd, in, 2, INT64_MAX - 1), -EINVAL);
	CHECK_EQ(io_pread(-1, in, 1, 0), -EBADF);
	CHECK_EQ(io_pwrite(-1, in, 1, 0), -EBADF);
	CHECK(!pipe(p));
	CHECK_EQ(io_pread(p[0], in, 1, 0), -ESPIPE);
	(void)close(p[0]);
	(void)close(p[1]);
	/* a first part is taken, the second is not */
	CHECK(!getrlimit(RLIMIT_FSIZE, &was));
	lim = (struct rlimit){ .rlim_cur = 50000, .rlim_max = was.rlim_max };
	CHECK(!setrlimit(RLIMIT_FSIZE, &lim));
	CHECK_EQ(io_pwrite(fd, out, sizeof(out), 0), -EFBIG);
	CHECK(!setrlimit(RLIMIT_FSIZE, &was));
	CHECK_EQ(lseek(fd, 0, SEEK_END), 50000);
	(void)fclose(f);
}

static const struct test_case cases[] = {
	TEST(there_and_back),
	TEST(refused),
};

int main(int argc, char **argv)
{
	(void)signal(SIGXFSZ, SIG_IGN);
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
