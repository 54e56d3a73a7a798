/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of the agent for tests: the agent's own code runs as PID 1 of a pid namespace,
 * listening on an AF_UNIX socket, and makes containers from a small busybox tree on a tmpfs.
 * Everything is gone when the test program ends.
 */
#ifndef KRUN_TESTS_AGENT_HOST_H
#define KRUN_TESTS_AGENT_HOST_H

#include "init/agent.h"
#include "init/sys.h"
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define T      "/tmp/krun-agent-test"
#define SOCK   T "/agent.sock"
#define WAIT_S 20 /* nothing here takes a second; this long means that it hangs */

static pid_t h_pid;
static int h_ctrl = -1;
static struct msg_rx h_rx;
static uint32_t h_seq;
static const uint8_t h_token[PROTO_TOKEN_LEN] = "0123456789abcde";

/* What the last messages said. */
static struct msg_exit h_exit;
static bool h_have_exit;
static uint32_t h_stage;
static char h_text[MSG_TEXT_MAX + 1];
static char h_log[MSG_TEXT_MAX + 1];
static char h_notify[MSG_NOTIFY_MAX + 1];
static unsigned h_notified;

static inline bool h_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, WAIT_S * 1000) == 1;
}

static inline bool h_closed(int fd)
{
	char c;

	return h_readable(fd) && recv(fd, &c, 1, 0) <= 0;
}

static inline int h_connect(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = SOCK };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline int h_open(uint16_t kind, uint32_t proc, uint32_t fd)
{
	struct proto_open o;
	int s = h_connect();

	proto_open_fill(&o, kind, h_token, proc, fd);
	if (s >= 0 && send(s, &o, sizeof(o), MSG_NOSIGNAL) != sizeof(o))
		return -1;
	return s;
}

static inline uint32_t h_send(int fd, uint16_t type, const void *p, size_t n)
{
	struct msg_hdr h = { .len = (uint32_t)(sizeof(h) + n), .type = type, .seq = ++h_seq };

	if (send(fd, &h, sizeof(h), MSG_NOSIGNAL | MSG_MORE) != sizeof(h) ||
		(n && send(fd, p, n, MSG_NOSIGNAL) != (ssize_t)n))
		return 0;
	return h_seq;
}

/* One message into the globals: 1 with *@h, 0 at the end of the connection, -1 on time-out or
 * nonsense. */
static inline int h_next(struct msg_hdr *h)
{
	const uint8_t *p;
	size_t room;
	ssize_t n;
	void *buf;
	int r;

	while (!(r = msg_rx_next(&h_rx, h, &p))) {
		if (!h_readable(h_ctrl))
			return -1;
		buf = msg_rx_space(&h_rx, &room);
		n = buf ? recv(h_ctrl, buf, room, 0) : -1;
		if (n <= 0)
			return (int)n;
		msg_rx_add(&h_rx, (size_t)n);
	}
	if (r < 0)
		return -1;
	if (h->status < 0)
		return msg_text(h, p, &h_stage, h_text) ? -1 : 1;
	if (h->type == MSG_LOG)
		return msg_text(h, p, NULL, h_log) ? -1 : 1;
	if (h->type == MSG_NOTIFY) {
		memcpy(h_notify, p, h->len - sizeof(*h));
		h_notify[h->len - sizeof(*h)] = 0;
		h_notified++;
		return 1;
	}
	if (h->type == MSG_EXIT) {
		h_have_exit = true;
		return msg_take(h, p, &h_exit, sizeof(h_exit), NULL, NULL) ? -1 : 1;
	}
	return 1;
}

/* The status of the reply to @seq; events on the way go to the globals. 1000: none came. */
static inline int h_reply(uint32_t seq)
{
	struct msg_hdr h;

	while (seq && h_next(&h) == 1) {
		if (h.flags == MSG_F_REPLY && h.seq == seq)
			return h.status;
	}
	return 1000;
}

static inline int h_ask(uint16_t type, const void *p, size_t n)
{
	return h_reply(h_send(h_ctrl, type, p, n));
}

static inline int h_ask_proc(uint16_t type, uint32_t proc)
{
	struct msg_proc m = { .proc = proc };

	return h_ask(type, &m, sizeof(m));
}

static inline int h_kill(uint32_t proc, uint32_t signo)
{
	struct msg_signal m = { .proc = proc, .signo = signo };

	return h_ask(MSG_SIGNAL, &m, sizeof(m));
}

static inline bool h_wait_exit(uint32_t proc)
{
	struct msg_hdr h;

	while (!h_have_exit || h_exit.proc != proc) {
		if (h_next(&h) != 1)
			return false;
	}
	h_have_exit = false;
	return true;
}

static inline void h_write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

static inline bool h_make_tree(void)
{
	static const char *const dirs[] = { "", "/r", "/c", "/root", "/root/bin", "/root/dev",
		"/root/proc", "/root/sys", "/root/tmp", "/root/etc", "/root/mnt", "/root/run",
		"/root/run/secrets" };
	static const char *const applets[] = { "sh", "cat", "id", "sleep", "grep", "ls", "stat",
		"true", "hostname", "tty", "stty", "yes", "head", "touch", "mount", "awk",
		"readlink", "md5sum", "echo", "test", "mkdir", "ps", "env", "pwd", "dd", "wc",
		"kill", "ln" };
	char path[256];
	int in, out;
	struct stat st;

	(void)mkdir(T, 0755);
	if (unshare(CLONE_NEWNS) || sys_mount(NULL, "/", NULL, K_MS_REC | K_MS_PRIVATE, NULL) ||
		sys_mount("tmpfs", T, "tmpfs", 0, NULL))
		return false;
	for (size_t i = 1; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		snprintf(path, sizeof(path), T "%s", dirs[i]);
		if (mkdir(path, 0755))
			return false;
	}
	in = open("/bin/busybox", O_RDONLY);
	out = open(T "/root/bin/busybox", O_WRONLY | O_CREAT, 0755);
	if (in < 0 || out < 0 || fstat(in, &st) ||
		sendfile(out, in, NULL, (size_t)st.st_size) != st.st_size)
		return false;
	close(in);
	close(out);
	for (size_t i = 0; i < sizeof(applets) / sizeof(applets[0]); i++) {
		snprintf(path, sizeof(path), T "/root/bin/%s", applets[i]);
		(void)symlink("busybox", path);
	}
	h_write(T "/root/etc/passwd", "root:x:0:0::/:/bin/sh\n");
	h_write(T "/root/etc/script", "not a program\n");
	h_write(T "/root/run/secrets/key", "secret\n");
	(void)chmod(T "/root/etc/script", 0644);
	return !chmod(T "/root/tmp", 01777) && !sys_mount(T "/root", T "/r", NULL, K_MS_BIND, NULL);
}

/* The child: PID 1 of a new pid namespace, with a /proc of its own. */
static bool h_no_share; /* it mounts what the blob says of the root */

static inline void h_agent(int lfd)
{
	static const char *const hide[] = { T "/r", NULL };
	struct agent_cfg cfg = { .share = T "/r",
		.newroot = T "/c",
		.hide = hide,
		.servers = T "/servers",
		.share_mounted = !h_no_share };
	static struct agent a;

	if (unshare(CLONE_NEWNS) || sys_mount("proc", "/proc", "proc", 0, NULL))
		_exit(1);
	_exit(agent_init(&a, &cfg, lfd) || agent_run(&a));
}

/* Starts it; nobody has connected yet. */
static inline bool h_spawn_agent(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = SOCK };
	int lfd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), null, i;

	(void)unlink(SOCK);
	if (lfd < 0 || bind(lfd, (struct sockaddr *)&sa, sizeof(sa)) || listen(lfd, 64))
		return false;
	fflush(stdout);
	h_pid = (pid_t)syscall(
		SYS_clone, CLONE_NEWPID | CLONE_NEWNET | SIGCHLD, NULL, NULL, NULL, NULL);
	if (!h_pid) {
		null = open("/dev/null", O_RDWR);
		for (i = 0; i < 2; i++)
			dup2(null, i);
		h_agent(lfd);
	}
	close(lfd);
	h_have_exit = false;
	h_log[0] = 0;
	msg_rx_init(&h_rx, MSG_MAX_TO_HOST, 1);
	return h_pid > 0;
}

/* Opens the control connection and shakes hands. */
static inline bool h_hello(void)
{
	struct msg_time t = { 0 };

	h_ctrl = h_open(PROTO_CONTROL, 0, 0);
	return h_ctrl >= 0 && !h_ask(MSG_HELLO, &t, sizeof(t));
}

static inline bool h_start_agent(void)
{
	return h_spawn_agent() && h_hello();
}

static inline bool h_stop_agent(void)
{
	int st = 0;

	if (h_pid <= 0)
		return true;
	(void)h_send(h_ctrl, MSG_SHUTDOWN, NULL, 0);
	if (!h_readable(h_ctrl))
		(void)kill(h_pid, SIGKILL);
	while (waitpid(h_pid, &st, 0) < 0 && errno == EINTR)
		;
	h_pid = 0;
	close(h_ctrl);
	h_ctrl = -1;
	msg_rx_free(&h_rx);
	return WIFEXITED(st) && !WEXITSTATUS(st);
}

/* A container under construction, with defaults: root, all streams, busybox sh -c SCRIPT. */
struct box {
	struct blob_w w;
	struct blob_process p;
	struct blob_container c;
	int fd[3]; /* its streams */
};

static inline void box_begin(struct box *b, uint16_t kind)
{
	memset(b, 0, sizeof(*b));
	blob_begin(&b->w, kind, sizeof(struct msg_proc));
	b->p.stdio = 7;
	b->fd[0] = b->fd[1] = b->fd[2] = -1;
	blob_put_str(&b->w, BLOB_T_ENV, "PATH=/bin");
}

static inline void box_arg(struct box *b, const char *a)
{
	blob_put_str(&b->w, BLOB_T_ARG, a);
}

static inline void box_sh(struct box *b, const char *script)
{
	box_arg(b, "sh");
	box_arg(b, "-c");
	box_arg(b, script);
}

static inline void box_fs(struct box *b, const char *type, const char *dest, const char *data)
{
	struct blob_mount m = { .kind = BLOB_M_FS };

	blob_put_mount(&b->w, &m, type, type, dest, data);
}

/* Sends MSG_CREATE or MSG_EXEC with the streams opened before; the reply's status. */
static inline int box_send(struct box *b, uint32_t proc, uint32_t flags, int ctrl)
{
	struct msg_proc mp = { .proc = proc, .flags = flags };
	bool create = b->w.kind == BLOB_CREATE;
	uint8_t *buf;
	uint32_t seq;
	size_t len;

	for (uint32_t i = 0; i < 3; i++) {
		if (b->p.stdio & BLOB_STDIO(i))
			b->fd[i] = h_open(PROTO_STREAM, proc, i);
	}
	if (b->p.stdio & BLOB_STDIO(PROTO_TTY))
		b->fd[0] = h_open(PROTO_STREAM, proc, PROTO_TTY);
	blob_put_process(&b->w, &b->p);
	if (create)
		blob_put_container(&b->w, &b->c);
	if (blob_done(&b->w, &buf, &len))
		return 1001;
	memcpy(buf, &mp, sizeof(mp));
	seq = h_send(ctrl, create ? MSG_CREATE : MSG_EXEC, buf, len);
	free(buf);
	return ctrl == h_ctrl ? h_reply(seq) : 0;
}

static inline int box_make(struct box *b)
{
	return box_send(b, PROTO_PROC_INIT, 0, h_ctrl);
}

static inline void box_end(struct box *b)
{
	for (int i = 0; i < 3; i++) {
		if (b->fd[i] >= 0)
			close(b->fd[i]);
	}
}

/* Reads to the end of file into @out, NUL-terminated; the number of bytes or -1. */
static inline ssize_t h_slurp(int fd, char *out, size_t size)
{
	size_t n = 0;
	ssize_t r;

	while (h_readable(fd)) {
		r = recv(fd, out + n, size - 1 - n, 0);
		if (r <= 0) {
			out[n] = 0;
			return r < 0 ? -1 : (ssize_t)n;
		}
		n += (size_t)r;
	}
	out[n] = 0;
	return -1;
}

/* Runs a prepared container to its end: its exit code (1000 + signal), its output in @out.
 * Negative: what failed, -errno. */
static inline int box_run(struct box *b, char *out, size_t size)
{
	int r = box_make(b);

	out[0] = 0;
	if (!r)
		r = h_ask_proc(MSG_START, PROTO_PROC_INIT);
	if (r) {
		printf("# status %d stage %u: %s\n", r, h_stage, h_text);
		return r;
	}
	(void)shutdown(b->fd[0], SHUT_WR);
	if (h_slurp(b->fd[1], out, size) < 0 || !h_wait_exit(PROTO_PROC_INIT))
		return -ETIMEDOUT;
	box_end(b);
	return h_exit.signo ? 1000 + (int)h_exit.signo : (int)h_exit.code;
}

/* The usual shape of a test: one container, one script, what it printed. */
#define RUN(box, out)                                    \
	({                                               \
		int r_ = box_run(box, out, sizeof(out)); \
		if (!h_stop_agent())                     \
			r_ = -ECHILD;                    \
		r_;                                      \
	})

static inline int h_setup(void)
{
	if (getuid()) {
		printf("1..0 # SKIP not root\n");
		return 77;
	}
	if (!h_make_tree()) {
		printf("1..0 # SKIP no mount namespace or no /bin/busybox here: %s\n",
			strerror(errno));
		return 77;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)alarm(300);
	return 0;
}

#define AGENT_TEST_MAIN(cases)                                                                   \
	int main(int argc, char **argv)                                                          \
	{                                                                                        \
		int r = h_setup();                                                               \
		return r ? r : test_run_(cases, sizeof(cases) / sizeof((cases)[0]), argc, argv); \
	}

#endif
