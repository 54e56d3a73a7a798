// SPDX-License-Identifier: Apache-2.0
/* Streams and consoles of krun_start_enter(): which descriptor is whose, and which port it is in
 * the guest. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "api/start.h"
#include "core/vm.h"
#include "test.h"
#include "tests/unit/vmm_rig.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "virtio/vdev.h"

static void streams(void)
{
	char file[] = "/tmp/api-XXXXXX";
	CLEAN_FD int made = mkstemp(file);
	CLEAN_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint32_t id = (uint32_t)krun_create_ctx();
	struct error e = { 0 };
	struct api_ctx *c;
	struct stdio s;

	CHECK(made >= 0 && write(made, "old", 3) == 3);
	CHECK_EQ(krun_set_console_output(id, file), 0);
	c = api_get(id);
	CHECK(c);
	CHECK_EQ(stdio_find(c, false, &s, &e), 0);
	CHECK(s.file >= 0 && s.fd[0] == -1 && s.fd[1] == s.file && s.fd[2] == s.file &&
		s.tty == -1);
	CHECK(lseek(s.file, 0, SEEK_END) == 0);
	(void)close(s.file);
	api_put(&c);
	CHECK_EQ(krun_add_virtio_console_default(id, -1, null, -1), 0);
	c = api_get(id);
	CHECK_EQ(stdio_find(c, false, &s, &e), 0);
	CHECK(s.fd[0] == -1 && s.fd[1] == null && s.fd[2] == -1);
	/* the implicit console is still there, and writes there */
	CHECK(s.file >= 0 && s.out == s.file && s.in == -1);
	(void)close(s.file);
	api_put(&c);
	CHECK_EQ(krun_disable_implicit_console(id), 0);
	c = api_get(id);
	CHECK_EQ(stdio_find(c, false, &s, &e), 0);
	CHECK(s.file == -1 && s.fd[1] == null && s.out == -1);
	api_put(&c);
	CHECK_EQ(krun_free_ctx(id), 0);
	CHECK_EQ(unlink(file), 0);
}

/* Descriptors 0 to 2 that are closed are no streams, and nothing that is opened gets their place.
 */
static void closed_streams(void)
{
	uint32_t id = (uint32_t)krun_create_ctx();
	struct error e = { 0 };
	struct stdio s = { .file = -1 };
	int keep[3], opened, event, r;
	struct api_ctx *c;
	bool back;

	for (int i = 0; i < 3; i++) {
		keep[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		CHECK(keep[i] >= 0);
	}
	/* nothing can be said until they are back */
	(void)close(0);
	(void)close(2);
	event = krun_get_shutdown_eventfd(id);
	c = api_take(id);
	r = stdio_hold(c, &e);
	if (!r)
		r = stdio_find(c, false, &s, &e);
	opened = open("/dev/null", O_RDWR | O_CLOEXEC);
	stdio_let_go(c);
	back = fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) >= 0 && fcntl(2, F_GETFD) < 0;
	for (int i = 0; i < 3; i++) {
		(void)dup2(keep[i], i);
		(void)close(keep[i]);
	}
	CHECK_EQ(r, 0);
	CHECK(event > 2 && opened > 2 && !close(opened));
	CHECK(s.fd[0] == -1 && s.fd[1] == 1 && s.fd[2] == -1);
	CHECK(back);
	api_free(c);
}

/* A first process of the caller's has its streams as ports too: what is too many is an error of the
 * start, and nothing is written behind the list. */
static void too_many_ports(void)
{
	static struct start s;
	CLEAN_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint32_t id = (uint32_t)krun_create_ctx();
	struct error e = { 0 };

	CHECK_EQ(krun_add_virtio_console_default(id, null, null, null), 0);
	CHECK_EQ(krun_add_virtio_console_multiport(id), 1);
	for (unsigned i = 0; i < LIM_API_CONSOLE_PORTS; i++)
		CHECK_EQ(krun_add_console_port_inout(id, 1, "p", -1, null), 0);
	s = (struct start){ .c = api_take(id), .kernel.boot = BOOT_OWN };
	CHECK(s.c);
	CHECK_EQ(stdio_find(s.c, s.kernel.boot == BOOT_OWN, &s.stdio, &e), 0);
	CHECK_EQ(start_devices(&s, &e), -ENOSPC);
	CHECK_EQ(s.cfg.nports, VMM_MAX_PORTS);
	start_devices_undo(&s);
	api_free(s.c);
}

/* A first process of the caller's has its streams as ports; what its kernel says goes to them only
 * where the process may have nothing else. */
static void own_console(void)
{
	static struct start s;
	CLEAN_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint32_t id = (uint32_t)krun_create_ctx();
	struct error e = { 0 };

	CHECK_EQ(krun_set_root(id, "/"), 0);
	CHECK_EQ(krun_add_virtio_console_default(id, null, null, null), 0);
	s = (struct start){ .c = api_take(id), .kernel.boot = BOOT_OWN };
	CHECK(s.c);
	CHECK_EQ(stdio_find(s.c, true, &s.stdio, &e), 0);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK_EQ(s.cfg.nports, 4);
	CHECK(s.cfg.port[0].console && s.cfg.port[0].out_fd < 0 && s.cfg.port[2].out_fd >= 0);
	CHECK_STR(s.cfg.port[2].name, "krun-stdout");
	CHECK(s.cfg.nfs == 1 && s.cfg.fs[0].exit_code == &s.code);
	start_devices_undo(&s);
	s.c->initramfs = strdup("/i");
	CHECK_EQ(stdio_find(s.c, true, &s.stdio, &e), 0);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK(s.cfg.port[0].console && s.cfg.port[0].out_fd >= 0);
	start_devices_undo(&s);
	free(s.c->fs[0].tag);
	s.c->fs[0].tag = strdup("another");
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK(s.cfg.fs[0].exit_code == &s.code);
	start_devices_undo(&s);
	s.kernel.boot = BOOT_AGENT;
	s.cfg.fs[0].exit_code = NULL;
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK(!s.cfg.fs[0].exit_code);
	start_devices_undo(&s);
	api_free(s.c);
}

/* The agent's terminal is for all three streams; a first process of the caller's has a port for an
 * error output that is none. */
static void terminals(void)
{
	CLEAN_FD int pty = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	CLEAN_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct {
		int fd[3];
		bool agent, own;
	} t[] = { { { pty, pty, pty }, true, true }, { { pty, pty, -1 }, true, true },
		{ { pty, pty, null }, false, true }, { { pty, null, null }, false, false },
		{ { null, pty, pty }, false, false } };

	CHECK(pty >= 0 && null >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint32_t id = (uint32_t)krun_create_ctx();
		struct api_ctx *c;
		struct error e = { 0 };
		struct stdio s;

		CHECK_EQ(krun_disable_implicit_console(id), 0);
		CHECK_EQ(
			krun_add_virtio_console_default(id, t[i].fd[0], t[i].fd[1], t[i].fd[2]), 0);
		c = api_take(id);
		CHECK(c);
		CHECK_EQ(stdio_find(c, false, &s, &e), 0);
		CHECK_EQ(s.tty, t[i].agent ? pty : -1);
		CHECK_EQ(s.fd[2], t[i].fd[2]);
		CHECK_EQ(stdio_find(c, true, &s, &e), 0);
		CHECK_EQ(s.tty, t[i].own ? pty : -1);
		api_free(c);
	}
}

/* A second console on a terminal beside the implicit one is hvc1, and the workload's are 0 to 2. */
static void second_console(void)
{
	CLEAN_FD int pty = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	static struct start s;
	uint32_t id = (uint32_t)krun_create_ctx();
	struct error e = { 0 };

	CHECK(pty >= 0);
	CHECK_EQ(krun_add_virtio_console_default(id, pty, pty, pty), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK(s.c && !api_workload_console(s.c));
	CHECK_EQ(stdio_find(s.c, false, &s.stdio, &e), 0);
	CHECK(s.stdio.fd[1] == 1 && s.stdio.tty != pty);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK_EQ(s.cfg.nports, 2);
	CHECK(s.cfg.port[0].out_fd < 0 && s.cfg.port[1].console && s.cfg.port[1].in_fd >= 0);
	start_devices_undo(&s);
	s.c->no_console = true;
	CHECK_EQ(stdio_find(s.c, false, &s.stdio, &e), 0);
	CHECK(s.stdio.fd[1] == pty && s.stdio.tty == pty);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK_EQ(s.cfg.nports, 0);
	start_devices_undo(&s);
	api_free(s.c);
}

/* Without the implicit console the first terminal is hvc0, and ports with the names of the
 * original's contract are the streams. */
static void named_ports(void)
{
	CLEAN_FD int pty = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	CLEAN_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	static struct start s;
	const struct vmm_port *p = s.cfg.port;
	const struct stdio *io = &s.stdio;
	uint32_t id = (uint32_t)krun_create_ctx();
	const struct winsize ws = { .ws_row = 33, .ws_col = 99 };
	struct error e = { 0 };
	struct termios t;

	CHECK(pty >= 0 && null >= 0 && !ioctl(pty, TIOCSWINSZ, &ws));
	CHECK_EQ(krun_disable_implicit_console(id), 0);
	CHECK_EQ(krun_add_virtio_console_multiport(id), 0);
	CHECK_EQ(krun_add_console_port_inout(id, 0, "data", -1, null), 0);
	CHECK_EQ(krun_add_console_port_tty(id, 0, "main", pty), 0);
	s = (struct start){ .c = api_take(id) };
	CHECK(s.c);
	/* the agent's workload has the terminal, and its kernel the log */
	CHECK_EQ(stdio_find(s.c, false, &s.stdio, &e), 0);
	CHECK(io->tty == pty && io->fd[2] == pty && io->in == -1 && io->out == -1);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK(s.cfg.nports == 2 && p[0].out_fd < 0);
	CHECK_STR(p[1].name, "data");
	start_devices_undo(&s);
	/* a first process of the caller's finds it as hvc0 */
	s.kernel.boot = BOOT_OWN;
	CHECK_EQ(stdio_find(s.c, true, &s.stdio, &e), 0);
	CHECK(io->tty == pty && io->nterms == 0);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK(s.cfg.nports == 2 && p[0].console && p[0].in_fd >= 0 && p[0].out_fd >= 0);
	CHECK_STR(p[0].name, "main");
	/* with its size, and as a cable until the end */
	CHECK(p[0].rows == 33 && p[0].cols == 99 && !p[1].rows);
	CHECK(io->nterms == 1 && io->term[0].fd == pty && io->term[0].port == 0);
	stdio_raw(io);
	CHECK(!tcgetattr(pty, &t) && !(t.c_lflag & (ICANON | ECHO | ISIG)));
	stdio_restore();
	CHECK(!tcgetattr(pty, &t) && t.c_lflag & ICANON && t.c_lflag & ECHO);
	start_devices_undo(&s);
	/* streams by name: one is missing, and is the terminal's */
	for (int i = 0; i < 2; i++) {
		struct api_port *n = &s.c->port[s.c->nports++];

		*n = (struct api_port){ .in = i ? -1 : null, .out = i ? null : -1 };
		n->name = strdup(i ? "krun-stdout" : "krun-stdin");
	}
	CHECK_EQ(stdio_find(s.c, true, &s.stdio, &e), 0);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK(s.cfg.nports == 4 && p[0].in_fd >= 0);
	CHECK_STR(p[3].name, "krun-stdout");
	start_devices_undo(&s);
	s.kernel.boot = BOOT_AGENT;
	CHECK_EQ(stdio_find(s.c, false, &s.stdio, &e), 0);
	CHECK(io->fd[0] == null && io->fd[1] == null && io->fd[2] == pty && io->tty == -1);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK(s.cfg.nports == 2 && p[0].in_fd < 0);
	start_devices_undo(&s);
	/* with the third the terminal is the kernel's */
	s.c->port[s.c->nports++] =
		(struct api_port){ .in = -1, .out = null, .name = strdup("krun-stderr") };
	CHECK_EQ(stdio_find(s.c, false, &s.stdio, &e), 0);
	CHECK(io->fd[2] == null && io->tty == -1 && io->nterms == 0);
	CHECK_EQ(start_devices(&s, &e), 0);
	CHECK(s.cfg.nports == 2 && p[0].in_fd >= 0 && p[0].out_fd >= 0);
	CHECK_STR(p[0].name, "main");
	start_devices_undo(&s);
	api_free(s.c);
}

/* In a process of its own, as what run() leaves ends with one: a VM without an agent, whose
 * terminal is resized, and that is then asked to end. The status, 100 when it did not come to that.
 */
static int resized(int tty, int event)
{
	const struct stdio io = { .fd = { -1, -1, -1 },
		.tty = tty,
		.file = -1,
		.in = -1,
		.out = -1,
		.term = { { .fd = tty, .port = 0, .raw = true } },
		.nterms = 1 };
	const struct api_ctx c = { .shutdown_fd = event };
	struct vmm_config cfg = { .vcpus = 1,
		.ram_bytes = 64 * MIB,
		.no_thp = true,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.console = true };
	int sig = 0;
	struct run_cfg r = { .c = &c, .stdio = &io, .signal = &sig };
	const int32_t code = RUN_NO_CODE;
	struct error e = { 0 };
	struct vmm *vm;
	int done[2];
	sigset_t winch;

	(void)sigemptyset(&winch);
	(void)sigaddset(&winch, SIGWINCH);
	if (pthread_sigmask(SIG_BLOCK, &winch, NULL) || raise(SIGWINCH) || pipe(done) ||
		eventfd_write(event, 1) || vmm_new(-1, &vm, &e) || vmm_build(vm, &cfg, &e))
		return 100;
	r.vm = vm;
	r.done_fd = done[0];
	r.code = &code;
	if (run(&r, &e) || get_le16(vm->console->cfg) != 99 || get_le16(vm->console->cfg + 2) != 33)
		return 100;
	return 0;
}

/* Where there is no agent nothing is sent to one, as descriptor 0 is not its connection; a port has
 * the new size. */
static void no_agent(void)
{
	CLEAN_FD int pty = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	CLEAN_FD int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const struct winsize ws = { .ws_row = 33, .ws_col = 99 };
	int sv[2], st = -1;
	pid_t pid;
	char b;

	CHECK(pty >= 0 && event >= 0 && !ioctl(pty, TIOCSWINSZ, &ws));
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pid = fork();
	if (!pid) {
		(void)alarm(60);
		_exit(dup2(sv[1], 0) ? 100 : resized(pty, event));
	}
	CHECK(pid > 0 && waitpid(pid, &st, 0) == pid);
	CHECK(WIFEXITED(st));
	CHECK_EQ(WEXITSTATUS(st), 0);
	CHECK(recv(sv[0], &b, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
	CHECK(!close(sv[0]) && !close(sv[1]));
}

static const struct test_case cases[] = { TEST(streams), TEST(too_many_ports), TEST(own_console),
	TEST(terminals), TEST(closed_streams), TEST(second_console), TEST(named_ports),
	TEST(no_agent) };

TEST_MAIN(cases)
