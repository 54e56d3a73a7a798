// SPDX-License-Identifier: Apache-2.0
// Host fds of every kind: nothing blocks, nobody's flags change, bytes arrive in order.

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/hostfd.h"
#include "unit/test.h"

static uint8_t data[1U << 20];

static struct iobuf span(struct iovec *v, void *p, size_t n)
{
	struct iobuf b;

	*v = (struct iovec){ .iov_base = p, .iov_len = n };
	iobuf_init(&b, v, 1);
	return b;
}

/* Would hang (and the alarm end the program) if anything blocked. */
static void fill_and_drain(struct hostfd *w, struct hostfd *r, int flags_of)
{
	int flags = fcntl(flags_of, F_GETFL);
	size_t in = 0, out = 0;
	struct iovec v;
	struct iobuf b;
	ssize_t n;

	for (;;) {
		b = span(&v, data, sizeof(data));
		n = hostfd_write(w, &b, sizeof(data));
		if (n < 0)
			break;
		in += (size_t)n;
	}
	CHECK_EQ(n, -EAGAIN);
	CHECK(in >= 1024);
	while (out < in) {
		b = span(&v, data, sizeof(data));
		n = hostfd_read(r, &b, sizeof(data));
		CHECK(n > 0);
		out += (size_t)n;
	}
	b = span(&v, data, sizeof(data));
	CHECK_EQ(hostfd_read(r, &b, sizeof(data)), -EAGAIN);
	CHECK_EQ(out, in);
	CHECK_EQ(fcntl(flags_of, F_GETFL), flags);
}

static void pipe_of_others(void)
{
	struct hostfd r, w;
	int p[2], shared;

	CHECK(!pipe(p));
	shared = dup(p[1]);
	hostfd_open(&r, p[0]);
	hostfd_open(&w, p[1]);
	CHECK_EQ(r.kind, HOSTFD_OWN);
	CHECK_EQ(w.kind, HOSTFD_OWN);
	fill_and_drain(&w, &r, shared);
	hostfd_close(&w);
	(void)close(shared);
	hostfd_close(&r);
}

static void pipe_without_reopening(void)
{
	static const enum hostfd_kind kinds[] = { HOSTFD_NOWAIT, HOSTFD_POLL };
	struct hostfd r, w;
	int p[2];

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		CHECK(!pipe(p));
		hostfd_open(&r, -1);
		hostfd_open(&w, -1);
		r.fd = p[0];
		w.fd = p[1];
		r.kind = w.kind = kinds[i];
		fill_and_drain(&w, &r, p[1]);
		hostfd_close(&w);
		hostfd_close(&r);
	}
}

static void socket_of_others(void)
{
	struct hostfd a, b;
	int sv[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	hostfd_open(&a, sv[0]);
	hostfd_open(&b, sv[1]);
	CHECK_EQ(a.kind, HOSTFD_SOCK);
	fill_and_drain(&a, &b, sv[0]);
	hostfd_close(&a);
	hostfd_close(&b);
}

/* The slave is opened anew, the master must not be: that would make another pty. */
static void terminal(void)
{
	struct hostfd m, s;
	struct termios raw;
	struct stat before, after;
	int mfd, sfd, keep;

	memset(&raw, 0, sizeof(raw));
	cfmakeraw(&raw);
	CHECK(!openpty(&mfd, &sfd, NULL, &raw, NULL));
	keep = dup(sfd);
	CHECK(!fstat(sfd, &before));
	hostfd_open(&m, mfd);
	hostfd_open(&s, sfd);
	CHECK_EQ(m.fd, mfd);
	CHECK(m.kind != HOSTFD_OWN);
	CHECK_EQ(s.kind, HOSTFD_OWN);
	CHECK(!fstat(s.fd, &after));
	CHECK_EQ(before.st_rdev, after.st_rdev);
	fill_and_drain(&s, &m, keep);
	fill_and_drain(&m, &s, mfd);
	hostfd_close(&s);
	hostfd_close(&m);
	(void)close(keep);
}

static void nothing(struct loop_src *src, uint32_t events)
{
	(void)src;
	(void)events;
}

/* Files that are always ready: epoll refuses them, and that is found out whatever stat says of
 * them. */
static void files_are_always_ready(void)
{
	FILE *t = tmpfile();
	struct hostfd null, file;
	struct loop *l;
	struct iovec v;
	struct iobuf b;

	CHECK(t);
	CHECK_EQ(loop_new("test", &l, NULL), 0);
	hostfd_open(&null, open("/dev/null", O_RDWR | O_CLOEXEC));
	hostfd_open(&file, dup(fileno(t)));
	hostfd_bind(&null, l, "null", nothing, NULL);
	hostfd_bind(&file, l, "file", nothing, NULL);
	CHECK_EQ(hostfd_watch(&null, EPOLLIN), -EPERM);
	CHECK_EQ(hostfd_watch(&file, EPOLLIN), -EPERM);
	CHECK(!null.pollable && !file.pollable);
	b = span(&v, data, 1000);
	CHECK_EQ(hostfd_write(&null, &b, 1000), 1000);
	b = span(&v, data, 1000);
	CHECK_EQ(hostfd_read(&null, &b, 1000), 0);
	memset(data, 7, 1000);
	b = span(&v, data, 1000);
	CHECK_EQ(hostfd_write(&file, &b, 1000), 1000);
	CHECK_EQ(lseek(file.fd, 0, SEEK_SET), 0);
	memset(data, 0, 1000);
	b = span(&v, data, 1000);
	CHECK_EQ(hostfd_read(&file, &b, 1000), 1000);
	CHECK_EQ(data[999], 7);
	b = span(&v, data, 1000);
	CHECK_EQ(hostfd_read(&file, &b, 1000), 0);
	hostfd_close(&null);
	hostfd_close(&file);
	(void)fclose(t);
	loop_free(l);
}

static void gone_peers(void)
{
	struct hostfd w, s;
	struct iovec v;
	struct iobuf b;
	int p[2], sv[2];

	CHECK(!pipe(p));
	hostfd_open(&w, p[1]);
	(void)close(p[0]);
	b = span(&v, data, 10);
	CHECK_EQ(hostfd_write(&w, &b, 10), -EPIPE);
	hostfd_close(&w);
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	hostfd_open(&s, sv[0]);
	(void)close(sv[1]);
	b = span(&v, data, 10);
	CHECK_EQ(hostfd_write(&s, &b, 10), -EPIPE);
	b = span(&v, data, 10);
	CHECK_EQ(hostfd_read(&s, &b, 10), 0);
	hostfd_close(&s);
	hostfd_open(&s, -1);
	b = span(&v, data, 10);
	CHECK_EQ(hostfd_read(&s, &b, 10), 0);
	CHECK_EQ(hostfd_write(&s, &b, 10), -EPIPE);
	hostfd_close(&s);
}

static void buffer_wraps(void)
{
	struct hostbuf hb = { 0 };
	uint64_t in = 0, out = 0;
	struct hostfd w;
	uint8_t got[4096], chunk[700];
	int p[2];

	CHECK(!pipe(p));
	CHECK(fcntl(p[1], F_SETPIPE_SZ, 4096) >= 0);
	hostfd_open(&w, p[1]);
	while (out < 100000) {
		struct iovec v;
		struct iobuf b;
		ssize_t n;

		for (unsigned i = 0; i < sizeof(chunk); i++)
			chunk[i] = (uint8_t)((in + i) * 7);
		b = span(&v, chunk, sizeof(chunk));
		if (!hostbuf_put(&hb, 1000, &b, sizeof(chunk)))
			in += sizeof(chunk);
		CHECK(hb.len <= 1000);
		n = hostbuf_drain(&hb, &w);
		CHECK(n > 0 || n == -EAGAIN);
		CHECK(hb.len ? !!hb.p : !hb.p);
		if (n > 0 && out + 3000 > in)
			continue;
		n = read(p[0], got, sizeof(got));
		CHECK(n > 0);
		for (ssize_t i = 0; i < n; i++)
			CHECK_EQ(got[i], (uint8_t)((out + (uint64_t)i) * 7));
		out += (uint64_t)n;
	}
	hostbuf_drop(&hb);
	hostfd_close(&w);
	(void)close(p[0]);
}

/* Bytes that cannot be read in the middle: as if none had come, also when the buffer goes around.
 */
static void put_is_all_or_nothing(void)
{
	struct hostbuf hb = { 0 };
	struct iovec v[2];
	struct iobuf b;
	struct mem m;

	/* a window of guest memory is the one place where this happens: see iobuf.h */
	mem_init(&m);
	CHECK_EQ(mem_add_shm(&m, GPA(1ULL << 32), 2U << 20, NULL), 0);
	b = span(&v[0], data, 600);
	CHECK_EQ(hostbuf_put(&hb, 1000, &b, 600), 0);
	hb.head = 700; /* 600 bytes from here: the next ones begin at 300 */
	v[0] = (struct iovec){ .iov_base = data, .iov_len = 300 };
	v[1] = (struct iovec){ .iov_base = m.r[0].hva, .iov_len = 100 };
	iobuf_init(&b, v, 2);
	b.win = &m;
	CHECK_EQ(hostbuf_put(&hb, 1000, &b, 400), -EFAULT);
	CHECK_EQ(hb.len, 600);
	hostbuf_drop(&hb);
	iobuf_init(&b, v, 2);
	b.win = &m;
	CHECK_EQ(hostbuf_put(&hb, 1000, &b, 400), -EFAULT);
	CHECK(!hb.len && !hb.p);
	mem_destroy(&m);
}

static const struct test_case cases[] = {
	TEST(pipe_of_others),
	TEST(pipe_without_reopening),
	TEST(socket_of_others),
	TEST(terminal),
	TEST(files_are_always_ready),
	TEST(gone_peers),
	TEST(buffer_wraps),
	TEST(put_is_all_or_nothing),
};

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(60);
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
