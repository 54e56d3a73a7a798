// SPDX-License-Identifier: Apache-2.0
/* Cursors: copies, splits, system calls in the middle of entries, windows. */
/*
 * How it works
 *
 * The alphabet lies in five entries of different lengths; each case asks for all offsets and
 * lengths that matter and compares with the plain string.
 */
#include <errno.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit/test.h"
#include "virtio/iobuf.h"

static char bytes[] = "abcdefghijklmnopqrstuvwxyz";

/* "abc" "d" "efghi" "jklmnopqrst" "uvwxyz" */
static const unsigned cuts[] = { 3, 1, 5, 11, 6 };
#define NV ARRAY_SIZE(cuts)

static void make(struct iobuf *b, struct iovec *v, char *mem)
{
	memcpy(mem, bytes, 26);
	for (unsigned i = 0, at = 0; i < NV; at += cuts[i++])
		v[i] = (struct iovec){ mem + at, cuts[i] };
	iobuf_init(b, v, NV);
}

static void pulls(void)
{
	struct iovec v[NV];
	struct iobuf b;
	char mem[26], got[27];

	for (unsigned step = 1; step <= 26; step++) {
		unsigned at = 0;

		make(&b, v, mem);
		CHECK_EQ(b.left, 26);
		for (; at + step <= 26; at += step) {
			memset(got, 0, sizeof(got));
			CHECK_EQ(iobuf_peek(&b, got, step), step);
			CHECK(!memcmp(got, bytes + at, step));
			CHECK_EQ(iobuf_pull(&b, got, step), 0);
			CHECK(!memcmp(got, bytes + at, step));
			CHECK_EQ(b.done, at + step);
			CHECK_EQ(b.left, 26 - at - step);
		}
		CHECK_EQ(iobuf_pull(&b, got, 27 - at), -ENODATA);
		CHECK_EQ(iobuf_peek(&b, got, 27), 26 - at);
		CHECK_EQ(iobuf_skip(&b, 27 - at), -ENODATA);
		CHECK_EQ(iobuf_skip(&b, 26 - at), 0);
		CHECK(b.left == 0 && b.cnt == 0);
		CHECK_EQ(iobuf_pull(&b, got, 0), 0);
		CHECK_EQ(iobuf_pull(&b, got, SIZE_MAX), -ENODATA);
	}
}

static void pushes(void)
{
	struct iovec v[NV];
	struct iobuf b;
	char mem[26];

	for (unsigned step = 1; step <= 26; step++) {
		unsigned at = 0;

		make(&b, v, mem);
		for (; at + step <= 26; at += step) {
			char x[26];

			memset(x, 'A' + (int)at, sizeof(x));
			CHECK_EQ(iobuf_push(&b, x, step), 0);
		}
		for (unsigned i = 0; i < 26; i++)
			CHECK_EQ(mem[i], i < at ? 'A' + (int)(i / step * step) : bytes[i]);
		CHECK_EQ(iobuf_push(&b, bytes, 27 - at), -ENOSPC);
		CHECK_EQ(iobuf_zero(&b, 99), 26 - at);
		for (unsigned i = at; i < 26; i++)
			CHECK_EQ(mem[i], 0);
	}
}

/* All ways of cutting in three: the parts are what they should be, whichever is read first. */
static void takes(void)
{
	struct iovec v[NV];
	char mem[26], got[26];

	for (unsigned i = 0; i <= 26; i++) {
		for (unsigned k = i; k <= 26; k++) {
			struct iobuf b, x, y;

			make(&b, v, mem);
			CHECK_EQ(iobuf_take(&b, i, &x), 0);
			CHECK_EQ(iobuf_take(&b, k - i, &y), 0);
			CHECK_EQ(iobuf_take(&b, 27 - k, &y), -ENODATA);
			CHECK(x.left == i && y.left == k - i && b.left == 26 - k);
			CHECK(x.done == 0 && y.done == 0 && b.done == k);
			CHECK_EQ(iobuf_pull(&b, got + k, 26 - k), 0);
			CHECK_EQ(iobuf_pull(&y, got + i, k - i), 0);
			CHECK_EQ(iobuf_pull(&x, got, i), 0);
			CHECK_EQ(iobuf_pull(&x, got, 1), -ENODATA);
			CHECK_EQ(iobuf_pull(&y, got, 1), -ENODATA);
			CHECK(!memcmp(got, bytes, 26));
		}
	}
}

/* Every offset and length through a file and back; the vector is as before after each call. */
static void files(void)
{
	struct iovec v[NV], was[NV];
	struct iobuf b;
	char mem[26], got[26];
	int fd = memfd_create("test", 0);

	CHECK(fd >= 0);
	for (unsigned at = 0; at <= 26; at++) {
		for (unsigned n = 0; n <= 30; n++) {
			unsigned want = MIN(n, 26 - at);

			make(&b, v, mem);
			memcpy(was, v, sizeof(v));
			CHECK_EQ(iobuf_skip(&b, at), 0);
			CHECK_EQ(iobuf_write_fd(&b, fd, n, 5), want);
			CHECK(!memcmp(v, was, sizeof(v)));
			CHECK_EQ(b.done, at + want);
			CHECK_EQ(pread(fd, got, want, 5), want);
			CHECK(!memcmp(got, bytes + at, want));
			CHECK_EQ(ftruncate(fd, 0), 0);
			CHECK_EQ(pwrite(fd, "0123456789", 10, 0), 10);
			make(&b, v, mem);
			CHECK_EQ(iobuf_skip(&b, at), 0);
			want = MIN(want, 8);
			CHECK_EQ(iobuf_read_fd(&b, fd, n, 2), want);
			CHECK(!memcmp(v, was, sizeof(v)));
			for (unsigned i = 0; i < 26; i++)
				CHECK_EQ(mem[i],
					i >= at && i < at + want ? '2' + (int)(i - at) : bytes[i]);
		}
	}
	/* at the file's own position; end of file; an error */
	make(&b, v, mem);
	CHECK_EQ(lseek(fd, 4, SEEK_SET), 4);
	CHECK_EQ(iobuf_read_fd(&b, fd, 26, -1), 6);
	CHECK_EQ(iobuf_read_fd(&b, fd, 26, -1), 0);
	CHECK_EQ(iobuf_write_fd(&b, fd, 4, -1), 4);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 14);
	CHECK_EQ(iobuf_read_fd(&b, -1, 4, 0), -EBADF);
	CHECK_EQ(b.done, 10);
	(void)close(fd);
}

static void sockets(void)
{
	struct iovec v[NV];
	struct iobuf b;
	char mem[26];
	int s[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	make(&b, v, mem);
	CHECK_EQ(iobuf_skip(&b, 2), 0);
	CHECK_EQ(iobuf_send(&b, s[0], 10, MSG_NOSIGNAL), 10);
	make(&b, v, mem);
	CHECK_EQ(iobuf_recv(&b, s[1], 100, MSG_DONTWAIT), 10);
	CHECK(!memcmp(mem, "cdefghijklklm", 13));
	CHECK_EQ(iobuf_recv(&b, s[1], 100, MSG_DONTWAIT), -EAGAIN);
	CHECK_EQ(b.left, 16);
	(void)close(s[1]);
	CHECK_EQ(iobuf_send(&b, s[0], 1, MSG_NOSIGNAL), -EPIPE);
	(void)close(s[0]);
}

static void randoms(void)
{
	struct iovec v[NV];
	struct iobuf b;
	char mem[26];

	make(&b, v, mem);
	CHECK_EQ(iobuf_skip(&b, 2), 0);
	CHECK_EQ(iobuf_random(&b, 20), 20);
	CHECK(!memcmp(mem, bytes, 2) && !memcmp(mem + 22, bytes + 22, 4));
	CHECK(memcmp(mem + 2, bytes + 2, 20));
	CHECK_EQ(iobuf_random(&b, 20), 4);
	CHECK_EQ(iobuf_random(&b, 20), 0);
}

/* More entries than one system call takes: a short count, then the rest. */
static void long_vector(void)
{
	static struct iovec v[IOV_MAX + 10];
	static char mem[IOV_MAX + 10];
	int fd = memfd_create("test", 0);
	struct iobuf b;

	CHECK(fd >= 0);
	for (unsigned i = 0; i < ARRAY_SIZE(v); i++)
		v[i] = (struct iovec){ &mem[i], 1 };
	iobuf_init(&b, v, ARRAY_SIZE(v));
	CHECK_EQ(iobuf_write_fd(&b, fd, SIZE_MAX, 0), IOV_MAX);
	CHECK_EQ(iobuf_write_fd(&b, fd, SIZE_MAX, IOV_MAX), 10);
	CHECK_EQ(b.left, 0);
	(void)close(fd);
}

/* Payload in a window without pages: by hand it is refused, by the kernel it is EFAULT, never a
 * signal. */
static void window(void)
{
	struct iobuf b;
	struct iovec v[2];
	struct mem m;
	char got[16];
	int fd = memfd_create("test", 0);

	CHECK(fd >= 0 && !ftruncate(fd, 4096));
	mem_init(&m);
	CHECK_EQ(mem_add_ram(&m, GPA(0), 0x1000, &(struct mem_ram_opts){ 0 }, NULL), 0);
	CHECK_EQ(mem_add_shm(&m, GPA(0x1000), 0x1000, NULL), 0);
	CHECK_EQ(mem_iov(&m, GPA(0xff8), 16, MEM_IOV_SHM, v, 2), 2);
	iobuf_init(&b, v, 2);
	b.win = &m;
	CHECK_EQ(iobuf_peek(&b, got, 16), 8);
	CHECK_EQ(iobuf_pull(&b, got, 16), -EFAULT);
	CHECK_EQ(iobuf_push(&b, got, 9), -EFAULT);
	CHECK_EQ(b.done, 0);
	CHECK_EQ(iobuf_pull(&b, got, 8), 0);
	CHECK_EQ(iobuf_pull(&b, got, 1), -EFAULT);
	CHECK_EQ(iobuf_peek(&b, got, 1), 0);
	CHECK_EQ(iobuf_zero(&b, 4), 0);
	CHECK_EQ(iobuf_read_fd(&b, fd, 8, 0), -EFAULT);
	CHECK_EQ(iobuf_write_fd(&b, fd, 8, 0), -EFAULT);
	CHECK_EQ(iobuf_random(&b, 8), -EFAULT);
	CHECK_EQ(b.left, 8);
	/* with a file behind it the kernel gets through */
	CHECK_EQ(mem_shm_map(&m, GPA(0x1000), 0, 0x1000, fd, 0, true), 0);
	CHECK_EQ(iobuf_read_fd(&b, fd, 4, 0), 4);
	CHECK_EQ(iobuf_pull(&b, got, 1), -EFAULT);
	/* and when the file shrinks it is EFAULT again, where a load would be SIGBUS */
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK_EQ(iobuf_write_fd(&b, fd, 4, 0), -EFAULT);
	mem_destroy(&m);
	(void)close(fd);
}

static void messages(void)
{
	static char byte[IOBUF_MSG_IOV + 1];
	struct iovec v[NV], many[IOBUF_MSG_IOV + 1], tail;
	struct msghdr m;
	struct iobuf b;
	char mem[26], rest[32];
	int s[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	tail = (struct iovec){ rest, sizeof(rest) };
	for (unsigned skip = 0; skip <= 26; skip++) {
		make(&b, v, mem);
		CHECK_EQ(iobuf_skip(&b, skip), 0);
		m = (struct msghdr){ 0 };
		CHECK_EQ(iobuf_sendmsg(&b, s[0], &m, MSG_NOSIGNAL), 26 - skip);
		CHECK_EQ(b.left, 0);
		/* into what is left of another, and the rest behind it */
		make(&b, v, mem);
		memset(mem, '-', sizeof(mem));
		CHECK_EQ(iobuf_skip(&b, 20), 0);
		m = (struct msghdr){ 0 };
		CHECK_EQ(iobuf_recvmsg(&b, s[1], &m, &tail, MSG_DONTWAIT), 26 - skip);
		CHECK_EQ(b.done, 20 + MIN(6U, 26 - skip));
		CHECK(!memcmp(mem + 20, bytes + skip, MIN(6U, 26 - skip)));
		if (26 - skip > 6)
			CHECK(!memcmp(rest, bytes + skip + 6, 20 - skip));
		CHECK_EQ(mem[19], '-');
	}
	make(&b, v, mem);
	m = (struct msghdr){ 0 };
	CHECK_EQ(iobuf_recvmsg(&b, s[1], &m, &tail, MSG_DONTWAIT), -EAGAIN);
	CHECK_EQ(b.left, 26);
	/* more pieces than one call is given */
	for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct iovec){ &byte[i], 1 };
	iobuf_init(&b, many, ARRAY_SIZE(many));
	CHECK_EQ(iobuf_sendmsg(&b, s[0], &m, MSG_NOSIGNAL), -EMSGSIZE);
	CHECK_EQ(iobuf_recvmsg(&b, s[1], &m, &tail, MSG_DONTWAIT), -E2BIG);
	CHECK_EQ(iobuf_skip(&b, 1), 0);
	CHECK_EQ(iobuf_sendmsg(&b, s[0], &m, MSG_NOSIGNAL), IOBUF_MSG_IOV);
	(void)close(s[0]);
	(void)close(s[1]);
}

static const struct test_case cases[] = {
	TEST(pulls),
	TEST(pushes),
	TEST(takes),
	TEST(files),
	TEST(sockets),
	TEST(randoms),
	TEST(long_vector),
	TEST(window),
	TEST(messages),
};

TEST_MAIN(cases)
