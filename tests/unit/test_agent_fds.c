// SPDX-License-Identifier: Apache-2.0
/* The agent's descriptors behind stderr: pipes, sockets, sockets that listen. */
#include "agent_host.h"

static char out[65536];

static void begin(struct box *b)
{
	if (h_pid > 0)
		(void)h_stop_agent();
	if (!h_start_agent())
		printf("# the agent does not answer: %s\n", strerror(errno));
	box_begin(b, BLOB_CREATE);
	box_fs(b, "proc", "/proc", "");
}

static int more(unsigned n)
{
	return h_open(PROTO_STREAM, PROTO_PROC_INIT, PROTO_MORE + n);
}

static void pipes(void)
{
	int in, to;
	struct box b;

	begin(&b);
	b.p.uid = 1000; /* may open them again */
	blob_put_fd(&b.w, BLOB_FD_IN);
	blob_put_fd(&b.w, BLOB_FD_OUT);
	blob_put_fd(&b.w, BLOB_FD_NULL);
	box_sh(&b,
		"cat <&3 >/proc/self/fd/4; readlink /proc/self/fd/5; ls /proc/self/fd | wc -l; "
		"test -p /proc/self/fd/3 && echo pipe; exec 4>&-; read x; exit 3");
	in = more(0);
	to = more(1);
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK_EQ(send(in, "through\n", 8, 0), 8);
	CHECK(!shutdown(in, SHUT_WR));
	CHECK_EQ(h_slurp(to, out, sizeof(out)), 8);
	CHECK_STR(out, "through\n");
	CHECK(!h_have_exit);
	CHECK_EQ(send(b.fd[0], "\n", 1, 0), 1);
	CHECK(h_slurp(b.fd[1], out, sizeof(out)) >= 0);
	CHECK_STR(out, "/dev/null\n7\npipe\n"); /* with the directory */
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 3);
	CHECK_EQ(h_exit.flags, 0);
	box_end(&b);
	close(in);
	close(to);
	CHECK(h_stop_agent());
}

/* What it wrote last is handed over before its end is told, however late the host connects. */
static void late_stream(void)
{
	struct box b;
	int to;

	begin(&b);
	blob_put_fd(&b.w, BLOB_FD_OUT);
	box_sh(&b, "head -c 50000 /dev/zero >&3");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK(!h_have_exit);
	to = more(0);
	CHECK_EQ(h_slurp(to, out, sizeof(out)), 50000);
	CHECK(h_wait_exit(1));
	box_end(&b);
	close(to);
	CHECK(h_stop_agent());
}

static void reader_gone(void)
{
	struct box b;
	int to;

	begin(&b);
	blob_put_fd(&b.w, BLOB_FD_OUT);
	/* a child of PID 1, which itself is not killed by SIGPIPE */
	box_sh(&b, "read x; (yes >&3; exit 1); exit $?");
	to = more(0);
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	close(to);
	CHECK_EQ(send(b.fd[0], "\n", 1, 0), 1);
	CHECK(h_wait_exit(1));
	CHECK(h_exit.code == 128 + SIGPIPE || h_exit.code == 1);
	box_end(&b);
	CHECK(h_stop_agent());
}

/* Each way ends by itself. */
static void connected(void)
{
	struct box b;
	int s;

	begin(&b);
	blob_put_fd(&b.w, BLOB_FD_SOCKET);
	box_sh(&b, "wc -c <&3 >&3; read x; exit 4");
	s = more(0);
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	for (int i = 0; i < 10; i++)
		CHECK_EQ(send(s, out, 10000, 0), 10000);
	CHECK(!shutdown(s, SHUT_WR));
	CHECK(h_readable(s));
	CHECK_EQ(recv(s, out, sizeof(out), 0), 7);
	CHECK(!memcmp(out, "100000\n", 7));
	CHECK(!h_have_exit);
	CHECK_EQ(send(b.fd[0], "\n", 1, 0), 1);
	CHECK_EQ(h_slurp(s, out, sizeof(out)), 0);
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 4);
	CHECK_EQ(h_exit.flags, 0);
	box_end(&b);
	close(s);
	CHECK(h_stop_agent());
}

/* A peer that says nothing learns of it, and is not waited for. */
static void workload_closes_socket(void)
{
	struct pollfd p = { .events = 0 };
	struct box b;

	begin(&b);
	blob_put_fd(&b.w, BLOB_FD_SOCKET);
	box_sh(&b, "exec 3>&-; read x; exit 6");
	p.fd = more(0);
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK_EQ(h_slurp(p.fd, out, sizeof(out)), 0);
	CHECK_EQ(poll(&p, 1, WAIT_S * 1000), 1);
	CHECK(p.revents & POLLHUP);
	CHECK(send(p.fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	CHECK(!h_have_exit);
	CHECK_EQ(send(b.fd[0], "\n", 1, 0), 1);
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 6);
	box_end(&b);
	close(p.fd);
	CHECK(h_stop_agent());
}

/* A connection for the socket waits in its backlog; it ends with the process. */
static void listening(void)
{
	int s[3];
	struct box b;

	begin(&b);
	blob_put_fd(&b.w, BLOB_FD_IN);
	blob_put_fd(&b.w, BLOB_FD_LISTEN);
	blob_put_str(&b.w, BLOB_T_ENV, "LISTEN_PID=9");
	box_sh(&b, "echo $LISTEN_PID; grep -c '@' /proc/net/unix; read x; exit 5");
	CHECK_EQ(box_make(&b), 0);
	for (int i = 0; i < 3; i++) {
		s[i] = more(1);
		CHECK_EQ(send(s[i], "hello", 5, 0), 5);
	}
	CHECK_EQ(h_ask(MSG_PING, NULL, 0), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	/* they are open, and one that hangs up is no harm */
	CHECK(recv(s[0], out, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	close(s[1]);
	CHECK_EQ(send(b.fd[0], "\n", 1, 0), 1);
	CHECK(h_slurp(b.fd[1], out, sizeof(out)) >= 0);
	CHECK(!strncmp(out, "1\n", 2));
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 5);
	CHECK_EQ(h_exit.flags, 0);
	CHECK(h_readable(s[0]));
	CHECK(recv(s[0], out, 1, 0) <= 0);
	CHECK(h_readable(s[2]));
	CHECK(recv(s[2], out, 1, 0) <= 0);
	/* nobody is there any more */
	close(s[0]);
	s[0] = more(1);
	CHECK(h_readable(s[0]));
	CHECK(recv(s[0], out, 1, 0) <= 0);
	box_end(&b);
	close(s[0]);
	close(s[2]);
	CHECK(h_stop_agent());
}

/* All of them, with a small limit of open files that still holds them. */
static void sixty(void)
{
	struct box b;

	begin(&b);
	for (int i = 0; i < PROTO_MORE_MAX; i++)
		blob_put_fd(&b.w, i % 2 ? BLOB_FD_OUT : BLOB_FD_LISTEN);
	blob_put_rlimit(&b.w, RLIMIT_NOFILE, 100, 100);
	box_sh(&b, "ls /proc/self/fd | wc -l; ls -l /proc/self/fd | grep -c socket:");
	CHECK_EQ(RUN(&b, out), 0);
	CHECK_STR(out, "64\n30\n");
}

static const struct test_case cases[] = {
	TEST(pipes),
	TEST(late_stream),
	TEST(reader_gone),
	TEST(connected),
	TEST(workload_closes_socket),
	TEST(listening),
	TEST(sixty),
};

AGENT_TEST_MAIN(cases)
