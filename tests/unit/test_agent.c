// SPDX-License-Identifier: Apache-2.0
/* The agent's processes and streams: exit codes, signals, output, input, exec, bad hosts. */
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

static void exit_codes(void)
{
	static const int codes[] = { 0, 1, 42, 126, 127, 128, 255 };
	char script[32];
	struct box b;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		begin(&b);
		snprintf(script, sizeof(script), "exit %d", codes[i]);
		box_sh(&b, script);
		CHECK_EQ(RUN(&b, out), codes[i]);
	}
}

static void killed_by_signal(void)
{
	struct box b;

	begin(&b);
	box_arg(&b, "sleep");
	box_arg(&b, "1000");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	/* PID 1 of its namespace, without a handler: TERM does nothing to it, KILL does. */
	CHECK_EQ(h_kill(1, SIGTERM), 0);
	CHECK_EQ(h_ask(MSG_PING, NULL, 0), 0);
	CHECK(!h_have_exit);
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.signo, SIGKILL);
	CHECK_EQ(h_kill(1, SIGKILL), -ESRCH);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void handler_gets_signal(void)
{
	struct box b;

	begin(&b);
	box_sh(&b, "trap 'exit 43' TERM; echo ready; while :; do read -t 1 x; done");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK(h_readable(b.fd[1]));
	CHECK_EQ(recv(b.fd[1], out, sizeof(out), 0), 6);
	CHECK_EQ(h_kill(1, SIGTERM), 0);
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 43);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void created_runs_nothing(void)
{
	struct stat st;
	struct box b;

	begin(&b);
	(void)unlink(T "/root/tmp/ran");
	box_sh(&b, "touch /tmp/ran");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask(MSG_PING, NULL, 0), 0);
	CHECK(stat(T "/root/tmp/ran", &st) && errno == ENOENT);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	/* Twice is refused, whether it still runs or has ended. */
	CHECK(h_ask_proc(MSG_START, 1) < 0);
	CHECK(h_have_exit || h_wait_exit(1));
	CHECK(!stat(T "/root/tmp/ran", &st));
	box_end(&b);
	CHECK(h_stop_agent());
}

static void kill_before_start(void)
{
	struct box b;

	begin(&b);
	box_sh(&b, "exit 0");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.signo, SIGKILL);
	CHECK_EQ(h_ask_proc(MSG_START, 1), -ESRCH);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void streams_apart(void)
{
	char err[64];
	struct box b;

	begin(&b);
	box_sh(&b, "cat; echo err >&2; test -p /dev/stdout && echo fifo >/dev/stdout");
	box_fs(&b, "proc", "/proc", "");
	b.p.uid = 1000; /* may open its stdout again */
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK_EQ(send(b.fd[0], "input\n", 6, 0), 6);
	CHECK(!shutdown(b.fd[0], SHUT_WR));
	CHECK(h_slurp(b.fd[1], out, sizeof(out)) >= 0);
	CHECK_STR(out, "input\nfifo\n");
	CHECK(h_slurp(b.fd[2], err, sizeof(err)) >= 0);
	CHECK_STR(err, "err\n");
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 0);
	CHECK_EQ(h_exit.flags, 0);
	CHECK_EQ(h_exit.bytes[0], 6);
	CHECK_EQ(h_exit.bytes[1], 11);
	CHECK_EQ(h_exit.bytes[2], 4);
	box_end(&b);
	CHECK(h_stop_agent());
}

/* 64 MiB of numbered words in, the same out, with both directions busy. */
static void sixty_four_mib(void)
{
	enum {
		WORDS = 8192,
		ROUNDS = 1024
	};
	static uint64_t in[WORDS], got[WORDS];
	uint64_t sent = 0, seen = 0, total = (uint64_t)WORDS * 8 * ROUNDS;
	struct box b;

	begin(&b);
	box_arg(&b, "cat");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	while (seen < total) {
		struct pollfd p[2] = { { .fd = b.fd[1], .events = POLLIN },
			{ .fd = sent < total ? b.fd[0] : -1, .events = POLLOUT } };
		size_t off;
		ssize_t n;

		CHECK(poll(p, 2, WAIT_S * 1000) > 0);
		if (p[1].revents) {
			off = sent % sizeof(in);
			for (size_t i = 0; !off && i < WORDS; i++)
				in[i] = (sent / 8 + i) * 0x9e3779b97f4a7c15u;
			n = send(b.fd[0], (char *)in + off, sizeof(in) - off, MSG_DONTWAIT);
			CHECK(n > 0 || errno == EAGAIN);
			sent += n > 0 ? (uint64_t)n : 0;
			if (sent == total)
				CHECK(!shutdown(b.fd[0], SHUT_WR));
		}
		if (p[0].revents) {
			off = seen % sizeof(got);
			n = recv(b.fd[1], (char *)got + off, sizeof(got) - off, 0);
			CHECK(n > 0);
			seen += (uint64_t)n;
			for (size_t i = 0; !(seen % sizeof(got)) && i < WORDS; i++)
				CHECK(got[i] ==
					((seen - sizeof(got)) / 8 + i) * 0x9e3779b97f4a7c15u);
		}
	}
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 0);
	CHECK_EQ(h_exit.bytes[0], total);
	CHECK_EQ(h_exit.bytes[1], total);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void workload_closes_stdout(void)
{
	struct box b;

	begin(&b);
	box_sh(&b, "echo one; exec >&-; read x; exit 9");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK_EQ(h_slurp(b.fd[1], out, sizeof(out)), 4); /* end of file while it still runs */
	CHECK(!h_have_exit);
	CHECK_EQ(send(b.fd[0], "\n", 1, 0), 1);
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.code, 9);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void host_closes_stdout(void)
{
	struct box b;

	begin(&b);
	/* A child of PID 1, since PID 1 itself is not killed by SIGPIPE. */
	box_sh(&b, "(yes; exit 1); exit $?");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK(h_readable(b.fd[1]));
	close(b.fd[1]);
	b.fd[1] = -1;
	CHECK(h_wait_exit(1));
	CHECK(h_exit.code == 128 + SIGPIPE || h_exit.code == 1);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void workload_closes_stdin(void)
{
	char zeros[4096] = { 0 };
	struct box b;
	ssize_t n;

	begin(&b);
	box_sh(&b, "exec <&-; echo closed; while :; do sleep 100; done");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK(h_readable(b.fd[1]));
	do {
		n = send(b.fd[0], zeros, sizeof(zeros), MSG_NOSIGNAL);
	} while (n > 0);
	CHECK_EQ(errno, EPIPE);
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(1));
	box_end(&b);
	CHECK(h_stop_agent());
}

/* With an stdout that nobody has connected to yet. */
static int make_unconnected(struct box *b)
{
	struct msg_proc mp = { .proc = 1 };
	uint8_t *buf;
	size_t len;
	int r;

	b->p.stdio = 0;
	blob_put_process(&b->w, &(struct blob_process){ .stdio = BLOB_STDIO(1) });
	blob_put_container(&b->w, &b->c);
	if (blob_done(&b->w, &buf, &len))
		return -ENOMEM;
	memcpy(buf, &mp, sizeof(mp));
	r = h_ask(MSG_CREATE, buf, len);
	free(buf);
	return r;
}

/* Nobody takes its output: the end is not told, until it is asked for whatever is left. */
static void unread_output(void)
{
	struct msg_signal m = { .proc = 1, .signo = SIGKILL, .flags = MSG_SIGNAL_DROP };
	struct box b;
	int r;

	begin(&b);
	box_sh(&b, "echo unread; exit 7");
	CHECK_EQ(make_unconnected(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	/* it has not ended yet, or it has */
	for (int i = 0; (r = h_ask(MSG_SIGNAL, &m, sizeof(m))) == -EINVAL && i < WAIT_S * 1000; i++)
		usleep(1000);
	CHECK_EQ(r, 0);
	CHECK(h_wait_exit(1));
	CHECK(h_exit.code == 7 && !h_exit.signo && h_exit.flags == MSG_EXIT_OPEN_STDOUT);
	CHECK_EQ(h_ask(MSG_SIGNAL, &m, sizeof(m)), -ESRCH);
	box_end(&b);
	CHECK(h_stop_agent());
}

/* The exit is told only after the last byte, though nobody connects to stdout until it is over. */
static void late_stream(void)
{
	struct box b;

	begin(&b);
	box_sh(&b, "echo late");
	CHECK_EQ(make_unconnected(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	b.fd[1] = h_open(PROTO_STREAM, 1, 1);
	CHECK_EQ(h_slurp(b.fd[1], out, sizeof(out)), 5);
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.bytes[1], 5);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void not_found(void)
{
	static const struct {
		const char *arg;
		int err;
	} t[] = { { "/bin/nothing", ENOENT }, { "nothing", ENOENT }, { "/etc/script", EACCES },
		{ "/bin", EACCES }, { "", ENOENT }, { "/etc/passwd/x", ENOTDIR } };
	struct box b;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		begin(&b);
		box_arg(&b, t[i].arg);
		CHECK_EQ(box_make(&b), 0);
		CHECK_EQ(h_ask_proc(MSG_START, 1), -t[i].err);
		CHECK_EQ(h_stage, MSG_STAGE_EXEC);
		CHECK(strstr(h_text, t[i].arg) != NULL);
		box_end(&b);
		CHECK(h_stop_agent());
	}
}

/* To one process, and to every one of the machine but the agent. */
static void signals_one_and_all(void)
{
	struct msg_signal all = {
		.proc = PROTO_PROC_INIT, .signo = SIGUSR1, .flags = MSG_SIGNAL_ALL
	};
	struct box b;
	ssize_t n;

	begin(&b);
	box_sh(&b,
		"trap 'echo one' USR1; sh -c \"trap 'echo two; exit' USR1; echo up; "
		"while :; do read -t 1 x; done\" & while :; do read -t 1 x; done");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK(h_readable(b.fd[1]));
	CHECK_EQ(recv(b.fd[1], out, 3, MSG_WAITALL), 3);
	CHECK_EQ(h_kill(1, SIGUSR1), 0);
	CHECK(h_readable(b.fd[1]));
	CHECK_EQ(recv(b.fd[1], out, 4, MSG_WAITALL), 4);
	CHECK(!memcmp(out, "one\n", 4));
	CHECK_EQ(h_ask(MSG_SIGNAL, &all, sizeof(all)), 0);
	for (n = 0; n < 8;) {
		CHECK(h_readable(b.fd[1]));
		n += recv(b.fd[1], out + n, (size_t)(8 - n), 0);
	}
	CHECK(!memcmp(out, "one\ntwo\n", 8) || !memcmp(out, "two\none\n", 8));
	all.signo = SIGKILL;
	CHECK_EQ(h_ask(MSG_SIGNAL, &all, sizeof(all)), 0);
	CHECK(h_wait_exit(1));
	CHECK_EQ(h_exit.signo, SIGKILL);
	all.flags = MSG_SIGNAL_ALL | MSG_SIGNAL_DROP;
	CHECK_EQ(h_ask(MSG_SIGNAL, &all, sizeof(all)), -EPROTO);
	box_end(&b);
	CHECK(h_stop_agent());
}

static int exec_sh(uint32_t id, const char *script, struct box *e, int ctrl, uint32_t flags)
{
	box_begin(e, BLOB_EXEC);
	box_sh(e, script);
	return box_send(e, id, flags, ctrl);
}

static void exec_joins(void)
{
	struct box b, e;

	begin(&b);
	box_fs(&b, "proc", "/proc", "");
	b.c.namespaces = BLOB_NS_UTS | BLOB_NS_IPC | BLOB_NS_CGROUP;
	blob_put_str(&b.w, BLOB_T_HOSTNAME, "inside");
	box_arg(&b, "sleep");
	box_arg(&b, "1000");
	CHECK_EQ(box_make(&b), 0);
	/* While created, and while running. */
	for (uint32_t id = 2; id < 5; id++) {
		CHECK_EQ(
			exec_sh(id,
				"hostname; grep -c . /proc/mounts; readlink /proc/1/ns/pid /proc/self/ns/pid | "
				"md5sum; exit 3",
				&e, h_ctrl, 0),
			0);
		CHECK(h_slurp(e.fd[1], out, sizeof(out)) > 0);
		CHECK(!strncmp(out, "inside\n", 7));
		CHECK(h_wait_exit(id));
		CHECK_EQ(h_exit.code, 3);
		box_end(&e);
		if (id == 2)
			CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	}
	CHECK_EQ(exec_sh(5, "exit 0", &e, h_ctrl, 0), 0);
	CHECK(h_wait_exit(5));
	box_end(&e);
	box_begin(&e, BLOB_EXEC);
	box_arg(&e, "/nothing");
	CHECK_EQ(box_send(&e, 9, 0, h_ctrl), -ENOENT);
	CHECK_EQ(h_stage, MSG_STAGE_EXEC);
	box_end(&e);
	/* The end of PID 1 takes the others along. */
	CHECK_EQ(exec_sh(10, "sleep 1000", &e, h_ctrl, 0), 0);
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(10));
	CHECK_EQ(h_exit.signo, SIGKILL);
	CHECK(h_wait_exit(1));
	box_end(&e);
	CHECK(exec_sh(11, "exit 0", &e, h_ctrl, 0) == -ESRCH);
	box_end(&e);
	box_end(&b);
	CHECK(h_stop_agent());
}

static void exec_dies_with_proxy(void)
{
	struct box b, e;
	int ctrl;

	begin(&b);
	box_arg(&b, "sleep");
	box_arg(&b, "1000");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	ctrl = h_open(PROTO_CONTROL, 0, 0);
	CHECK(ctrl >= 0);
	CHECK_EQ(exec_sh(2, "echo up; sleep 1000", &e, ctrl, MSG_PROC_KILL_ON_CLOSE), 0);
	CHECK(h_readable(e.fd[1]));
	close(ctrl);
	CHECK(h_slurp(e.fd[1], out, sizeof(out)) >=
		0); /* its sh is gone; the sleep holds the pipe no longer than that */
	box_end(&e);
	/* Whoever attaches late hears of the end. */
	CHECK_EQ(h_ask_proc(MSG_ATTACH, 2), 0);
	CHECK(h_wait_exit(2));
	CHECK_EQ(h_exit.signo, SIGKILL);
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(1));
	box_end(&b);
	CHECK(h_stop_agent());
}

/* The streams of a process that was refused, or is over, do not stay for ever. */
static void streams_of_nobody(void)
{
	struct msg_proc mp = { .proc = 5 };
	struct box b, e;
	int fd;

	begin(&b);
	box_arg(&b, "sleep");
	box_arg(&b, "1000");
	CHECK_EQ(box_make(&b), 0);
	/* opened before: gone with the refusal, of whatever stage */
	box_begin(&e, BLOB_EXEC);
	box_arg(&e, "/nothing");
	CHECK_EQ(box_send(&e, 2, 0, h_ctrl), -ENOENT);
	for (int i = 0; i < 3; i++)
		CHECK(h_closed(e.fd[i]));
	box_end(&e);
	fd = h_open(PROTO_STREAM, 5, PROTO_STDOUT);
	CHECK_EQ(h_ask(MSG_PING, NULL, 0), 0);
	CHECK_EQ(h_ask(MSG_EXEC, &mp, sizeof(mp)), -EPROTO);
	CHECK(h_closed(fd));
	close(fd);
	/* opened after */
	for (uint32_t id = 2; id < 6; id++) {
		fd = h_open(PROTO_STREAM, id, PROTO_STDIN);
		CHECK(h_closed(fd));
		close(fd);
	}
	/* one that is still to come waits */
	CHECK_EQ(exec_sh(6, "cat", &e, h_ctrl, 0), 0);
	close(e.fd[0]);
	e.fd[0] = -1;
	CHECK(h_wait_exit(6));
	box_end(&e);
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(1));
	box_end(&b);
	CHECK(h_stop_agent());
}

static void hundred_execs(void)
{
	struct box b, e[100];
	uint32_t left = 100;
	struct msg_hdr h;

	begin(&b);
	box_arg(&b, "sleep");
	box_arg(&b, "1000");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	for (uint32_t i = 0; i < 100; i++) {
		struct msg_proc mp = { .proc = 100 + i };
		uint8_t *buf;
		size_t len;

		box_begin(&e[i], BLOB_EXEC);
		box_sh(&e[i], "exit 77");
		e[i].p.stdio = 0;
		blob_put_process(&e[i].w, &e[i].p);
		CHECK_EQ(blob_done(&e[i].w, &buf, &len), 0);
		memcpy(buf, &mp, sizeof(mp));
		CHECK(h_send(h_ctrl, MSG_EXEC, buf, len) > 0);
		free(buf);
	}
	while (left) {
		CHECK_EQ(h_next(&h), 1);
		CHECK(!h.status);
		if (h.type == MSG_EXIT) {
			CHECK_EQ(h_exit.code, 77);
			left--;
		}
	}
	h_have_exit = false;
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(1));
	box_end(&b);
	CHECK(h_stop_agent());
}

/* The processes that one MSG_PS tells from @after on; *@next its cursor. -1: nonsense. */
static int ps_page(uint32_t after, uint32_t *next, uint32_t *first)
{
	struct msg_ps m = { .after = after };
	char text[MSG_PS_TEXT + 1];
	struct msg_ps_reply head;
	struct msg_ps_proc one;
	uint8_t page[MSG_MAX_TO_HOST];
	struct msg_hdr h;
	const uint8_t *p;
	size_t left;
	uint32_t n = 0;
	int r;

	if (!h_send(h_ctrl, MSG_PS, &m, sizeof(m)) ||
		recv(h_ctrl, &h, sizeof(h), MSG_WAITALL) != sizeof(h))
		return -1;
	left = h.len - sizeof(h);
	if (h.type != MSG_PS || h.status || left < sizeof(head) || left > sizeof(page) ||
		recv(h_ctrl, page, left, MSG_WAITALL) != (ssize_t)left)
		return -1;
	memcpy(&head, page, sizeof(head));
	*next = head.next;
	p = page + sizeof(head);
	left -= sizeof(head);
	while ((r = msg_ps_next(&p, &left, &one, text)) == 1) {
		if (!n++ && first)
			*first = one.pid;
		if (strcmp(text, one.pid == 1 ? "sleep 1000" : "sleep 1234") != 0 || one.uid ||
			one.ppid)
			return -1;
	}
	return r || n != head.count ? -1 : (int)n;
}

static void processes(void)
{
	uint32_t next = 0, first = 0;
	struct box b, e[70];
	int n, all = 0;

	begin(&b);
	box_arg(&b, "sleep");
	box_arg(&b, "1000");
	CHECK_EQ(box_make(&b), 0);
	CHECK_EQ(h_ask_proc(MSG_START, 1), 0);
	CHECK_EQ(ps_page(0, &next, &first), 1);
	CHECK_EQ(next, 0);
	CHECK_EQ(first, 1);
	/* more than fit into a message */
	for (uint32_t i = 0; i < 70; i++) {
		box_begin(&e[i], BLOB_EXEC);
		box_arg(&e[i], "sleep");
		box_arg(&e[i], "1234");
		CHECK_EQ(box_send(&e[i], 2 + i, 0, h_ctrl), 0);
		box_end(&e[i]);
	}
	do {
		n = ps_page(next, &next, NULL);
		CHECK(n > 0);
		all += n;
	} while (next);
	CHECK_EQ(all, 71);
	CHECK_EQ(h_ask(MSG_PS, "1234", 4), -EPROTO);
	CHECK_EQ(h_kill(1, SIGKILL), 0);
	CHECK(h_wait_exit(1));
	box_end(&b);
	CHECK(h_stop_agent());
}

static void bad_peers(void)
{
	struct proto_open o;
	struct msg_hdr h = { .len = 8, .type = MSG_PING, .seq = 1 };
	struct box b;
	int fd;

	begin(&b);
	free(b.w.buf);
	proto_open_fill(&o, PROTO_CONTROL, (const uint8_t *)"wrong token here", 0, 0);
	fd = h_connect();
	CHECK_EQ(send(fd, &o, sizeof(o), 0), sizeof(o));
	CHECK(h_closed(fd));
	close(fd);
	proto_open_fill(&o, PROTO_STREAM, h_token, 1, PROTO_FD_LIMIT);
	fd = h_connect();
	CHECK_EQ(send(fd, &o, sizeof(o), 0), sizeof(o));
	CHECK(h_closed(fd));
	close(fd);
	fd = h_open(PROTO_CONTROL, 0, 0);
	CHECK_EQ(send(fd, &h, sizeof(h), 0), sizeof(h)); /* shorter than its own header */
	CHECK(h_closed(fd));
	close(fd);
	/* Well framed nonsense is answered, and the connection lives. */
	CHECK_EQ(h_ask(MSG_START, "x", 1), -EPROTO);
	CHECK_EQ(h_ask(MSG_CREATE, "12345678", 8), -EPROTO);
	CHECK_EQ(h_ask_proc(MSG_CREATE, 2), -EINVAL);
	CHECK_EQ(h_ask_proc(MSG_CREATE, 1), -EPROTO);
	CHECK_EQ(h_ask_proc(MSG_START, 1), -ESRCH);
	CHECK_EQ(h_ask_proc(MSG_ATTACH, 5), -ESRCH);
	CHECK_EQ(h_kill(1, 0), -EINVAL);
	CHECK_EQ(h_kill(7, 9), -ESRCH);
	CHECK_EQ(h_ask(MSG_PING, NULL, 0), 0);
	box_begin(&b, BLOB_EXEC);
	box_sh(&b, "exit 0");
	CHECK_EQ(box_send(&b, 2, 0, h_ctrl), -ESRCH);
	box_end(&b);
	CHECK(h_stop_agent());
}

static const struct test_case cases[] = {
	TEST(exit_codes),
	TEST(killed_by_signal),
	TEST(handler_gets_signal),
	TEST(created_runs_nothing),
	TEST(kill_before_start),
	TEST(streams_apart),
	TEST(sixty_four_mib),
	TEST(workload_closes_stdout),
	TEST(host_closes_stdout),
	TEST(workload_closes_stdin),
	TEST(unread_output),
	TEST(late_stream),
	TEST(not_found),
	TEST(signals_one_and_all),
	TEST(exec_joins),
	TEST(exec_dies_with_proxy),
	TEST(streams_of_nobody),
	TEST(hundred_execs),
	TEST(processes),
	TEST(bad_peers),
};

AGENT_TEST_MAIN(cases)
