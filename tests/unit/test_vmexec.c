// SPDX-License-Identifier: Apache-2.0
/* The VMM's table of execs, between a proxy and an agent that this test plays, honest or not. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake/fake_hv.h"
#include "init/proto/blob.h"
#include "oci/vmexec.h"
#include "test.h"
#include "util/loop.h"
#include "util/util.h"
#include "vmm.h"

static struct vmm *vm;
static struct loop *loop;
static struct agent agent;
static struct vmexec x;
static struct error e;
static int guest = -1; /* the agent's end */
static struct unread_tick tick;

static void nothing(struct loop_src *src, uint32_t events)
{
	(void)src;
	(void)events;
}

static int kernel_file(void)
{
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr p;
		uint8_t code[1024];
	} f = { .h = { .e_ident = ELFMAG,
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_entry = 0x1000000,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1 },
		.p = { .p_type = PT_LOAD,
			.p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
			.p_paddr = 0x1000000,
			.p_filesz = 64,
			.p_memsz = 4096 } };
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	f.h.e_ident[EI_CLASS] = ELFCLASS64;
	f.h.e_ident[EI_DATA] = ELFDATA2LSB;
	return write(fd, &f, sizeof(f)) == (ssize_t)sizeof(f) ? fd : -1;
}

static int begin(void)
{
	struct vmm_config c = { .vcpus = 1,
		.ram_bytes = 64U << 20,
		.no_thp = true,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.vsock = true };
	int sv[2];

	e = (struct error){ 0 };
	fake_hv_set_opts(NULL);
	if (vmm_new(-1, &vm, &e) || vmm_build(vm, &c, &e) || loop_new("test", &loop, &e) ||
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv)) {
		printf("# %s\n", e.msg);
		return -1;
	}
	agent = (struct agent){ .loop = loop, .src = { .fd = sv[0], .name = "a", .fn = nothing } };
	guest = sv[1];
	tick = (struct unread_tick){ .fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC) };
	vmexec_init(&x, loop, &agent, vm, &tick);
	return loop_add(loop, &agent.src, EPOLLIN);
}

static void end(void)
{
	CHECK_EQ(x.n, 0);
	agent_close(&agent);
	close(guest);
	close(tick.fd);
	loop_free(loop);
	vmm_free(vm);
	CHECK(!fake_hv_last());
}

/* The next message to the agent: its type, and up to @cap bytes of payload. 0: there is none. */
static unsigned told(void *payload, size_t cap, struct msg_hdr *h)
{
	char rest[256];
	size_t n;

	if (recv(guest, h, sizeof(*h), MSG_DONTWAIT) != (ssize_t)sizeof(*h))
		return 0;
	n = h->len - sizeof(*h);
	if (n > cap + sizeof(rest) || recv(guest, payload, MIN(n, cap), 0) < 0)
		return 0;
	if (n > cap && recv(guest, rest, n - cap, 0) < 0)
		return 0;
	return h->type;
}

static int blob_file(size_t n)
{
	int fd = memfd_create("blob", MFD_CLOEXEC);

	return ftruncate(fd, (off_t)n) ? -1 : fd;
}

/* A request as a proxy sends it; its end of the connection. */
static int request(enum phase phase, uint32_t flags, size_t blob)
{
	struct ctl_req q = { .op = CTL_EXEC, .flags = flags };
	int fds[CTL_MAX_FDS] = { blob_file(blob), -1, -1, -1 }, sv[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return -1;
	for (unsigned i = 1; i < CTL_MAX_FDS; i++)
		fds[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
	vmexec_request(&x, phase, sv[0], &q, fds);
	for (unsigned i = 0; i < CTL_MAX_FDS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	return sv[1];
}

static void reply(uint32_t seq, int status, uint32_t stage)
{
	struct agent_reply r = {
		.type = MSG_EXEC, .seq = seq, .status = status, .stage = stage, .text = "why"
	};

	CHECK(vmexec_reply(&x, &r));
}

static void exits(uint32_t proc, uint32_t code, uint32_t signo, uint32_t flags)
{
	struct msg_exit m = { .proc = proc, .code = code, .signo = signo, .flags = flags };

	vmexec_exited(&x, &m);
}

static void both_done(uint32_t proc)
{
	vmexec_done(&x, AGENT_ID_STREAM(proc, PROTO_STDOUT));
	vmexec_done(&x, AGENT_ID_STREAM(proc, PROTO_STDERR));
}

/* What the proxy heard; 0: nothing. */
static uint32_t heard(int conn, struct exec_event *v)
{
	return recv(conn, v, sizeof(*v), MSG_DONTWAIT) == (ssize_t)sizeof(*v) ? v->what : 0;
}

static void leaves(int conn)
{
	close(conn);
	(void)loop_once(loop, 0);
}

static void a_life(void)
{
	struct exec_event v;
	struct msg_proc mp;
	struct msg_hdr h;
	int conn;

	CHECK_EQ(begin(), 0);
	conn = request(PHASE_RUNNING, 0, 64);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	CHECK_EQ(h.len, sizeof(h) + 64);
	CHECK_EQ(mp.proc, 2);
	CHECK_EQ(heard(conn, &v), 0);
	reply(h.seq, 0, 0);
	CHECK_EQ(heard(conn, &v), EXEC_STARTED);
	/* the end is told when the output has arrived, too */
	exits(2, 7, 0, 0);
	vmexec_done(&x, AGENT_ID_STREAM(2, PROTO_STDOUT));
	CHECK_EQ(heard(conn, &v), 0);
	vmexec_done(&x, AGENT_ID_STREAM(2, PROTO_STDERR));
	CHECK_EQ(heard(conn, &v), EXEC_ENDED);
	CHECK_EQ(v.code, 7);
	/* it has a place until it has gone */
	CHECK_EQ(x.n, 1);
	leaves(conn);
	CHECK_EQ(x.n, 0);
	/* what a background child holds is not waited for; a signal is 128 more; the id is another
	 */
	conn = request(PHASE_CREATED, 0, 64);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	CHECK_EQ(mp.proc, 3);
	reply(h.seq, 0, 0);
	exits(3, 0, 15, MSG_EXIT_OPEN_STDOUT | MSG_EXIT_OPEN_STDERR);
	CHECK_EQ(heard(conn, &v), EXEC_STARTED);
	CHECK_EQ(heard(conn, &v), EXEC_ENDED);
	CHECK_EQ(v.code, 143);
	leaves(conn);
	end();
}

/* Behind stdio, of the kinds at the end of the blob's file, which the agent does not see. */
static void more_descriptors(void)
{
	static const uint8_t kinds[] = { BLOB_FD_IN, BLOB_FD_OUT, BLOB_FD_LISTEN };
	struct ctl_req q = { .op = CTL_EXEC, .arg = sizeof(kinds) };
	int fds[CTL_MAX_FDS] = { blob_file(64) }, sv[2], s = socket(AF_UNIX, SOCK_STREAM, 0), c[2];
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	struct exec_event v;
	struct msg_proc mp;
	struct msg_hdr h;

	CHECK_EQ(begin(), 0);
	CHECK(!bind(s, (struct sockaddr *)&a, sizeof(a.sun_family)) && !listen(s, 8) &&
		!getsockname(s, (struct sockaddr *)&a, &len));
	CHECK(!fcntl(s, F_SETFL, O_NONBLOCK));
	CHECK_EQ(pwrite(fds[0], kinds, sizeof(kinds), 64), sizeof(kinds));
	for (unsigned i = 1; i < CTL_MAX_FDS; i++)
		fds[i] = i < 6 ? open("/dev/null", O_RDWR | O_CLOEXEC) : i == 6 ? s : -1;
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	vmexec_request(&x, PHASE_RUNNING, sv[0], &q, fds);
	CHECK_EQ(fds[6], -1);
	if (fds[0] >= 0)
		close(fds[0]);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	CHECK_EQ(h.len, sizeof(h) + 64);
	/* a client waits until the process is there */
	for (int i = 0; i < 2; i++)
		c[i] = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(!connect(c[0], (struct sockaddr *)&a, len));
	CHECK_EQ(loop_once(loop, 0), 0);
	reply(h.seq, 0, 0);
	CHECK_EQ(loop_once(loop, 1000), 1);
	CHECK_EQ(loop_once(loop, 0), 0);
	exits(2, 7, 0, MSG_EXIT_OPEN_STDOUT | MSG_EXIT_OPEN_STDERR);
	CHECK_EQ(heard(sv[1], &v), EXEC_STARTED);
	CHECK_EQ(heard(sv[1], &v), 0);
	/* nobody takes one any more */
	CHECK(connect(c[1], (struct sockaddr *)&a, len) && errno == ECONNREFUSED);
	vmexec_done(&x, AGENT_ID_STREAM(2, PROTO_MORE + 1));
	CHECK_EQ(heard(sv[1], &v), EXEC_ENDED);
	leaves(sv[1]);
	close(c[0]);
	close(c[1]);
	end();
}

static void wrong_kinds(void)
{
	struct ctl_req q = { .op = CTL_EXEC, .arg = 1 };
	int fds[CTL_MAX_FDS] = { blob_file(65) }, sv[2];
	struct exec_event v;
	struct msg_proc mp;
	struct msg_hdr h;

	CHECK_EQ(begin(), 0);
	for (unsigned i = 1; i < CTL_MAX_FDS; i++)
		fds[i] = i < 5 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	vmexec_request(&x, PHASE_RUNNING, sv[0], &q, fds);
	CHECK_EQ(heard(sv[1], &v), EXEC_FAILED);
	CHECK_EQ(v.code, EINVAL);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC); /* takes back what was opened */
	for (unsigned i = 0; i < CTL_MAX_FDS; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	leaves(sv[1]);
	end();
}

static void failures(void)
{
	struct exec_event v;
	struct msg_proc mp;
	struct msg_hdr h;
	int conn;

	CHECK_EQ(begin(), 0);
	conn = request(PHASE_RUNNING, 0, 64);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	reply(h.seq, -ENOENT, MSG_STAGE_EXEC);
	CHECK_EQ(heard(conn, &v), EXEC_FAILED);
	CHECK_EQ(v.code, ENOENT);
	CHECK_EQ(v.stage, MSG_STAGE_EXEC);
	CHECK_STR(v.text, "why");
	leaves(conn);
	/* no blob, or half a head: the guest is asked for nothing that it would take */
	for (size_t n = 0; n <= sizeof(mp); n += sizeof(mp)) {
		conn = request(PHASE_RUNNING, 0, n);
		CHECK_EQ(heard(conn, &v), EXEC_FAILED);
		CHECK_EQ(v.code, EINVAL);
		CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
		CHECK_EQ(h.len, sizeof(h) + sizeof(mp));
		reply(h.seq, -EPROTO, MSG_STAGE_PROTO);
		leaves(conn);
	}
	conn = request(PHASE_PAUSED, 0, 64);
	CHECK_EQ(heard(conn, &v), EXEC_FAILED);
	CHECK(strstr(v.text, "paused"));
	leaves(conn);
	conn = request(PHASE_CREATING, 0, 64);
	CHECK_EQ(heard(conn, &v), EXEC_FAILED);
	CHECK(strstr(v.text, "is not running"));
	leaves(conn);
	CHECK_EQ(told(&mp, sizeof(mp), &h), 0);
	end();
}

static void proxies(void)
{
	struct ctl_req q = { .op = CTL_EXEC_SIGNAL, .arg = 15 };
	struct msg_winsize w;
	struct msg_signal s;
	struct msg_proc mp;
	struct msg_hdr h;
	int conn;

	CHECK_EQ(begin(), 0);
	conn = request(PHASE_RUNNING, EXEC_TTY, 64);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	reply(h.seq, 0, 0);
	CHECK_EQ(ctl_send(conn, &q, NULL, 0, &e), 0);
	q.arg = 65; /* no signal */
	CHECK_EQ(ctl_send(conn, &q, NULL, 0, &e), 0);
	q = (struct ctl_req){ .op = CTL_EXEC_SIZE, .arg = 24U << 16 | 80 };
	CHECK_EQ(ctl_send(conn, &q, NULL, 0, &e), 0);
	CHECK(loop_once(loop, 1000) > 0);
	CHECK_EQ(told(&s, sizeof(s), &h), MSG_SIGNAL);
	CHECK(s.proc == 2 && s.signo == 15);
	CHECK_EQ(told(&w, sizeof(w), &h), MSG_WINSIZE);
	CHECK(w.rows == 24 && w.cols == 80);
	/* its death is that of the process, whose place is taken until the guest says so */
	close(conn);
	CHECK(loop_once(loop, 1000) > 0);
	CHECK_EQ(told(&s, sizeof(s), &h), MSG_SIGNAL);
	CHECK_EQ(s.signo, 9);
	CHECK_EQ(x.n, 1);
	exits(2, 0, 9, 0);
	vmexec_done(&x, AGENT_ID_STREAM(2, PROTO_TTY));
	end();
}

static bool ticks(void)
{
	struct itimerspec t;

	return tick.on && !timerfd_gettime(tick.fd, &t) && t.it_interval.tv_sec == 1;
}

/* So many ticks; what the last one says. */
static bool seconds(unsigned n)
{
	bool more = false;

	while (n--)
		more = vmexec_tick(&x);
	return more;
}

/* The number of the message to the guest; 0: there is none. */
static void signals(int conn, uint32_t signo, uint32_t *seq)
{
	struct ctl_req q = { .op = CTL_EXEC_SIGNAL, .arg = signo };
	struct msg_signal s;
	struct msg_hdr h;

	CHECK_EQ(ctl_send(conn, &q, NULL, 0, &e), 0);
	CHECK(loop_once(loop, 1000) > 0);
	*seq = told(&s, sizeof(s), &h) == MSG_SIGNAL ? h.seq : 0;
	CHECK(!*seq || (s.signo == signo && !s.flags));
}

/* The proxy's end of the connection of an exec that has begun, or -1. */
static int running(void)
{
	int conn = request(PHASE_RUNNING, 0, 64);
	struct exec_event v;
	struct msg_proc mp;
	struct msg_hdr h;

	if (told(&mp, sizeof(mp), &h) != MSG_EXEC)
		return -1;
	reply(h.seq, 0, 0);
	return heard(conn, &v) == EXEC_STARTED ? conn : -1;
}

/* Ended in the guest, and its output stands: after a signal that may last so long and no longer. */
static void unread(void)
{
	struct agent_reply r = { .type = MSG_SIGNAL, .text = "" };
	struct exec_event v;
	struct msg_signal s;
	struct msg_hdr h;
	int conn;

	CHECK_EQ(begin(), 0);
	conn = running();
	CHECK(conn >= 0);
	/* one that arrives; the answer to nobody's; and one that is no wish for an end */
	signals(conn, SIGTERM, &r.seq);
	CHECK(r.seq && vmexec_reply(&x, &r));
	r.status = -ESRCH;
	r.seq++;
	CHECK(!vmexec_reply(&x, &r) && !ticks());
	r.seq = 0;
	CHECK(!vmexec_reply(&x, &r) && !ticks());
	signals(conn, SIGWINCH, &r.seq);
	CHECK(r.seq && !vmexec_reply(&x, &r) && !ticks());
	/* one for which there is no process any more */
	signals(conn, SIGTERM, &r.seq);
	CHECK(r.seq && vmexec_reply(&x, &r) && ticks());
	CHECK(seconds(UNREAD_SECONDS - 1));
	CHECK_EQ(told(&s, sizeof(s), &h), 0);
	CHECK(!seconds(1));
	CHECK_EQ(told(&s, sizeof(s), &h), MSG_SIGNAL);
	CHECK(s.proc == 2 && s.flags == MSG_SIGNAL_DROP);
	CHECK_EQ(heard(conn, &v), 0);
	exits(2, 7, 0, MSG_EXIT_OPEN_STDOUT);
	CHECK(heard(conn, &v) == EXEC_ENDED && v.code == 7);
	leaves(conn);

	/* the end has been told, and only we stand */
	conn = running();
	CHECK(conn >= 0);
	exits(3, 8, 0, 0);
	CHECK(!seconds(2 * UNREAD_SECONDS));
	signals(conn, SIGCONT, &r.seq);
	CHECK(!r.seq && !seconds(2 * UNREAD_SECONDS));
	signals(conn, SIGTERM, &r.seq);
	CHECK_EQ(r.seq, 0);
	CHECK(seconds(UNREAD_SECONDS - 1) && !heard(conn, &v));
	CHECK(!seconds(1));
	CHECK_EQ(told(&s, sizeof(s), &h), 0);
	CHECK(heard(conn, &v) == EXEC_ENDED && v.code == 8);
	leaves(conn);
	end();
}

/* Whose proxy has hung up: its place is free when its reader has had its time. */
static void unread_of_nobody(void)
{
	struct msg_signal s;
	struct msg_proc mp;
	struct msg_hdr h;
	int conn;

	CHECK_EQ(begin(), 0);
	conn = request(PHASE_RUNNING, 0, 64);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	exits(2, 7, 0, 0);
	close(conn);
	CHECK(loop_once(loop, 1000) > 0);
	CHECK_EQ(told(&s, sizeof(s), &h), 0);
	CHECK(ticks() && seconds(UNREAD_SECONDS - 1));
	CHECK_EQ(x.n, 1);
	CHECK(!seconds(1));
	end();
}

/* Who has to tell a code before we may end. */
static void leaving(void)
{
	struct exec_event v;
	struct msg_proc mp;
	struct msg_hdr h;
	int command, proxy;

	CHECK_EQ(begin(), 0);
	command = request(PHASE_RUNNING, 0, 64);
	proxy = request(PHASE_RUNNING, EXEC_PROXY, 64);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	exits(2, 0, 0, 0);
	CHECK(!vmexec_leaving(&x));
	exits(3, 3, 0, 0);
	CHECK(vmexec_leaving(&x) && !heard(proxy, &v));
	both_done(3);
	CHECK(vmexec_leaving(&x) && heard(proxy, &v) == EXEC_ENDED && v.code == 3);
	leaves(proxy);
	CHECK(!vmexec_leaving(&x) && x.n == 1);
	both_done(2);
	leaves(command);
	end();
}

/* A guest that says what it likes. */
static void hostile(void)
{
	struct exec_event v;
	struct msg_proc mp;
	struct msg_hdr h;
	int conn;

	CHECK_EQ(begin(), 0);
	exits(2, 0, 0, 0);
	exits(0, 0, 0, ~0U);
	exits(UINT32_MAX, ~0U, ~0U, ~0U);
	for (uint32_t id = 0; id < 16; id++)
		vmexec_done(&x, id);
	vmexec_done(&x, UINT32_MAX);
	reply(0, 0, 0);
	reply(99, -EIO, 77);
	conn = request(PHASE_RUNNING, 0, 64);
	CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	/* the end before the beginning, twice, and then that it began */
	exits(2, 300, 0, 0);
	exits(2, 9, 0, 0);
	both_done(2);
	CHECK_EQ(heard(conn, &v), EXEC_ENDED);
	CHECK_EQ(v.code, 300 & 0xff);
	reply(h.seq, 0, 0);
	both_done(2);
	CHECK_EQ(heard(conn, &v), 0);
	CHECK_EQ(x.n, 1);
	leaves(conn);
	end();
}

static void limit(void)
{
	static int conns[EXEC_MAX];
	struct exec_event v;
	struct msg_proc mp;
	struct msg_hdr h;
	int more;

	CHECK_EQ(begin(), 0);
	for (unsigned i = 0; i < EXEC_MAX; i++) {
		conns[i] = request(PHASE_RUNNING, 0, 64);
		CHECK_EQ(told(&mp, sizeof(mp), &h), MSG_EXEC);
	}
	more = request(PHASE_RUNNING, 0, 64);
	CHECK_EQ(heard(more, &v), EXEC_FAILED);
	CHECK_EQ(v.code, EBUSY);
	close(more);
	for (unsigned i = 0; i < EXEC_MAX; i++) {
		exits(2 + i, 0, 0, 0);
		both_done(2 + i);
		CHECK_EQ(heard(conns[i], &v), EXEC_ENDED);
		leaves(conns[i]);
	}
	end();
}

static void ps(void)
{
	struct ctl_req q = { .op = CTL_PS, .arg = 5 };
	struct agent_reply r = {
		.type = MSG_PS, .text = "", .payload = (const void *)"12345678", .len = 8
	};
	struct ctl_reply got;
	struct msg_hdr h;
	struct msg_ps m;
	char page[16];
	int sv[PS_MAX + 1][2];

	CHECK_EQ(begin(), 0);
	for (unsigned i = 0; i <= PS_MAX; i++) {
		CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv[i]));
		vmexec_ps(&x, sv[i][0], &q);
	}
	CHECK_EQ(recv(sv[PS_MAX][1], &got, sizeof(got), 0), (ssize_t)sizeof(got));
	CHECK_EQ(got.code, EBUSY);
	close(sv[PS_MAX][1]);
	for (unsigned i = 0; i < PS_MAX; i++) {
		CHECK_EQ(told(&m, sizeof(m), &h), MSG_PS);
		CHECK_EQ(m.after, 5);
		r.seq = h.seq;
		r.status = i ? 0 : -EIO;
		CHECK(vmexec_reply(&x, &r));
		CHECK(vmexec_reply(&x, &r)); /* once more: nobody waits */
		CHECK_EQ(recv(sv[i][1], &got, sizeof(got), 0), (ssize_t)sizeof(got));
		CHECK_EQ(got.code, i ? 0 : EIO);
		CHECK_EQ(recv(sv[i][1], page, sizeof(page), 0), i ? 8 : 0);
		close(sv[i][1]);
	}
	end();
}

/* A guest that never answers does not keep the places of those who gave up. */
static void ps_of_who_hung_up(void)
{
	struct ctl_req q = { .op = CTL_PS };
	struct ctl_reply got;
	int sv[PS_MAX + 1][2];

	CHECK_EQ(begin(), 0);
	for (unsigned i = 0; i <= PS_MAX; i++) {
		CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv[i]));
		if (i == PS_MAX)
			close(sv[3][1]);
		vmexec_ps(&x, sv[i][0], &q);
	}
	CHECK(recv(sv[PS_MAX][1], &got, sizeof(got), MSG_DONTWAIT) < 0 && errno == EAGAIN);
	for (unsigned i = 0; i <= PS_MAX; i++) {
		if (i != 3)
			close(sv[i][1]);
	}
	end();
}

static const struct test_case cases[] = {
	TEST(a_life),
	TEST(more_descriptors),
	TEST(wrong_kinds),
	TEST(failures),
	TEST(proxies),
	TEST(unread),
	TEST(unread_of_nobody),
	TEST(leaving),
	TEST(hostile),
	TEST(limit),
	TEST(ps),
	TEST(ps_of_who_hung_up),
};

TEST_MAIN(cases)
