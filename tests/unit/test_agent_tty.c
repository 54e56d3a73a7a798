// SPDX-License-Identifier: Apache-2.0
/* The agent's terminals: of a container, of an exec, and in place of /dev/console and /dev/hvc0. */
#include "agent_host.h"

static char out[65536];

static void begin(struct box *b)
{
	if (h_pid > 0)
		(void)h_stop_agent();
	if (!h_start_agent())
		printf("# the agent does not answer: %s\n", strerror(errno));
	box_begin(b, BLOB_CREATE);
}

static bool tty_expect(int fd, const char *what)
{
	size_t n = 0;

	while (n < sizeof(out) - 1 && h_readable(fd)) {
		ssize_t r = recv(fd, out + n, sizeof(out) - 1 - n, 0);

		if (r <= 0)
			break;
		n += (size_t)r;
		out[n] = 0;
		if (strstr(out, what))
			return true;
	}
	printf("# terminal said: %s\n", out);
	return false;
}

static void terminal(void)
{
	struct msg_winsize ws = { .proc = 1, .rows = 33, .cols = 99 };
	struct box b;

	begin(&b);
	box_fs(&b, "tmpfs", "/dev", "mode=755");
	box_fs(&b, "devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620");
	b.p.stdio = BLOB_STDIO(PROTO_TTY);
	b.p.rows = 24;
	b.p.cols = 80;
	box_sh(&b,
		"tty; stty size; test -c /dev/console && echo console; read x; stty size; "
		/* "wait" cannot miss a signal that comes just before it; "read" can */
		"trap 'echo int; exit 5' INT; sleep 1000 & echo $x again; wait");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK(tty_expect(b.fd[0], "console"));
	CHECK(strstr(out, "/dev/pts/0") != NULL);
	CHECK(strstr(out, "24 80") != NULL);
	CHECK_EQ(h_ask(MSG_WINSIZE, &ws, sizeof(ws)), 0);
	CHECK_EQ(send(b.fd[0], "word\n", 5, 0), 5);
	CHECK(tty_expect(b.fd[0], "word again"));
	CHECK(strstr(out, "33 99") != NULL);
	CHECK_EQ(send(b.fd[0], "\003", 1, 0), 1);
	CHECK(tty_expect(b.fd[0], "int"));
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 5);
	CHECK(h_exit.bytes[PROTO_TTY] > 20);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void exec_terminal(void)
{
	struct box b, e;

	begin(&b);
	box_fs(&b, "devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620");
	box_arg(&b, "sleep");
	box_arg(&b, "1000");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	box_begin(&e, BLOB_EXEC);
	e.p.stdio = BLOB_STDIO(PROTO_TTY);
	box_sh(&e, "tty; echo done; exit 6");
	CHECK_EQ(box_send(&e, 2, 0, h_ctrl), 0);
	CHECK(tty_expect(e.fd[0], "done"));
	CHECK(strstr(out, "/dev/pts/0") != NULL);
	CHECK(h_wait_exit(2));
	CHECK_EQ(h_exit.code, 6);
	box_end(&e);
	box_end(&b);
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(1));
	CHECK(h_stop_agent());
}

/* What is a terminal of a container whose /dev/hvc0 is what @put makes: "in", "console", "hvc0". */
static int terminals(uint32_t flags, bool tty, void (*put)(struct box *b))
{
	struct box b;

	begin(&b);
	box_fs(&b, "tmpfs", "/dev", "mode=755");
	box_fs(&b, "devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620");
	b.p.stdio = tty ? BLOB_STDIO(PROTO_TTY) : 7;
	b.p.flags = flags;
	if (put)
		put(&b);
	box_sh(&b,
		"test -t 0 && echo in; test -t 0 </dev/console && echo console; "
		"test -t 0 </dev/hvc0 && echo hvc0; echo done");
	if (box_make(&b) || h_ask_proc(MSG_START, 1))
		return -1;
	(void)memset(out, 0, sizeof(out));
	if (!(tty ? tty_expect(b.fd[0], "done") : h_slurp(b.fd[1], out, sizeof(out)) > 0) ||
		!h_wait_exit(1))
		return -1;
	box_end(&b);
	if (!h_stop_agent())
		return -1;
	return (strstr(out, "in\r") ? 1 : 0) | (strstr(out, "console\r") ? 2 : 0) |
		(strstr(out, "hvc0\r") ? 4 : 0);
}

static void put_device(struct box *b)
{
	const struct blob_device d = { .type = S_IFCHR, .major = 1, .minor = 3, .mode = 0600 };

	blob_put_device(&b->w, &d, "/dev/hvc0");
}

static void put_directory(struct box *b)
{
	box_fs(b, "tmpfs", "/dev/hvc0", "mode=755");
}

static void hvc0(void)
{
	CHECK_EQ(terminals(BLOB_P_HVC0, true, put_device), 7);
	CHECK_EQ(terminals(0, true, put_device), 3);
	CHECK_EQ(terminals(BLOB_P_HVC0, true, NULL), 3);
	CHECK_EQ(terminals(BLOB_P_HVC0, true, put_directory), 3);
	/* without a terminal nothing is one */
	CHECK_EQ(terminals(BLOB_P_HVC0, false, put_device), 0);
}

static const struct test_case cases[] = {
	TEST(terminal),
	TEST(exec_terminal),
	TEST(hvc0),
};

AGENT_TEST_MAIN(cases)
