// SPDX-License-Identifier: Apache-2.0
/* A guest for the snapshot test: building, loading, talking to its agent and its workload. */
/*
 * How it works
 *
 * What the runtime's VMM process does, with nothing of the runtime but the agent's protocol and
 * initramfs: a VM, four vsock streams (control, stdin, stdout, stderr) whose other ends this
 * process holds as a socket and pipes, and on the control stream requests that wait for their
 * reply. Booting and loading differ only in where the VM comes from and in that streams are made or
 * found again by their ids. Every wait also watches the VM's end and the time, and says what it
 * waited for. Bytes of stdout are counted, and compared at the end with what the agent says it
 * sent: none may be lost or doubled by a save.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "guest/snapshot/guest.h"
#include "init/proto/blob.h"
#include "oci/agent.h"
#include "oci/initramfs.h"
#include "util/util.h"

#define CMDLINE                                                                                      \
	"console=hvc0 quiet panic=-1 reboot=t tsc=reliable no_timer_check rcupdate.rcu_expedited=1 " \
	"random.trust_cpu=on"

static const uint8_t token[PROTO_TOKEN_LEN] = "a-snapshot-test";
static int kvm_fd = -1;

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("snapshot: ", stderr);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
	_exit(1);
}

double now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

void need_kvm(void)
{
	struct error e = { 0 };

	kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm_fd >= 0 && !vmm_probe(kvm_fd, VMM_PROBE_GUEST, &e) &&
		!vmm_probe(kvm_fd, VMM_PROBE_CMPXCHG16B, &e) &&
		!vmm_probe(kvm_fd, VMM_PROBE_INT3, &e))
		return;
	(void)printf("skipped: %s\n", kvm_fd < 0 ? "no /dev/kvm" : e.msg);
	exit(77);
}

/* A disk, an interface whose other side is *wire, a balloon. */
static void add_devices(struct vmm_config *cfg, const struct guest_opts *o, int *wire)
{
	static const uint8_t mac[6] = { 2, 0, 0, 1, 2, 3 };
	int fd = open(o->disk, O_RDWR | O_CLOEXEC), sv[2];

	if (fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv))
		die("%s: %s", o->disk, strerror(errno));
	cfg->ndisks = cfg->nnics = 1;
	cfg->disk[0] = (struct vmm_disk){ .fd = fd, .format = VMM_DISK_RAW };
	cfg->nic[0] = (struct vmm_nic){ .kind = VMM_NIC_STREAM, .fd = sv[0] };
	(void)memcpy(cfg->nic[0].mac, mac, sizeof(mac));
	cfg->balloon = true;
	*wire = sv[1];
}

static void fill_config(struct vmm_config *cfg, const struct guest_opts *o, int done_fd, int *wire)
{
	*cfg = (struct vmm_config){ .vcpus = o->vcpus,
		.ram_bytes = (uint64_t)o->mib << 20,
		.ram_memfd = o->memfd,
		.kernel_fd = -1,
		.cmdline = CMDLINE,
		.nfs = 1,
		.rng = true,
		.vsock = true,
		.vsock_knock_port = PROTO_KNOCK_PORT,
		.vsock_done_fd = done_fd,
		.console = true };
	(void)snprintf(cfg->fs[0].tag, sizeof(cfg->fs[0].tag), "root");
	cfg->fs[0].root_fd = open(o->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (cfg->fs[0].root_fd < 0)
		die("%s: %s", o->root, strerror(errno));
	if (o->disk)
		add_devices(cfg, o, wire);
}

static void init(struct guest *g, const struct guest_opts *o)
{
	*g = (struct guest){ .o = o, .wire = -1, .ctrl = -1, .in = -1, .out = -1, .in_rest = -1 };
	msg_rx_init(&g->rx, MSG_MAX_TO_HOST, 1);
	if (pipe2(g->done, O_CLOEXEC | O_NONBLOCK))
		die("pipe: %s", strerror(errno));
}

/* The VM's ends of the four streams; ours go into @g. */
struct ends {
	int ctrl, in, out, err;
};

static void make_ends(struct guest *g, struct ends *e)
{
	int sv[2], in[2], out[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) || pipe2(in, O_CLOEXEC) ||
		pipe2(out, O_CLOEXEC))
		die("streams: %s", strerror(errno));
	*e = (struct ends){ .ctrl = sv[1], .in = in[0], .out = out[1] };
	e->err = fcntl(2, F_DUPFD_CLOEXEC, 3);
	g->ctrl = sv[0];
	g->in = in[1];
	g->out = out[0];
	g->in_rest = fcntl(in[0], F_DUPFD_CLOEXEC, 3);
	if (e->err < 0 || g->in_rest < 0 || fcntl(g->in, F_SETFL, O_NONBLOCK) ||
		fcntl(g->out, F_SETFL, O_NONBLOCK))
		die("streams: %s", strerror(errno));
}

static void connect_one(struct guest *g, uint16_t kind, uint32_t fd, int rfd, int wfd, uint32_t id)
{
	struct proto_open o;
	int r;

	proto_open_fill(&o, kind, token, kind == PROTO_CONTROL ? 0 : PROTO_PROC_INIT, fd);
	r = vmm_vsock_connect(g->vm, PROTO_AGENT_PORT, rfd, wfd, &o, sizeof(o), id);
	if (r)
		die("vsock connect: %s", strerror(-r));
}

static void fill_time(struct msg_time *t)
{
	struct timespec ts;

	*t = (struct msg_time){ .flags = MSG_TIME_RESEED };
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	t->realtime_ns = (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
	if (getrandom(t->entropy, sizeof(t->entropy), 0) != (ssize_t)sizeof(t->entropy))
		die("getrandom: %s", strerror(errno));
}

static void create(struct guest *g)
{
	struct blob_process p = { .stdio = BLOB_STDIO(0) | BLOB_STDIO(1) | BLOB_STDIO(2) };
	struct blob_container c = { .namespaces = BLOB_NS_CGROUP };
	struct blob_mount m = { .kind = BLOB_M_FS };
	struct msg_proc head = { .proc = PROTO_PROC_INIT };
	struct blob_w w;
	uint8_t *blob;
	size_t len;

	blob_begin(&w, BLOB_CREATE, sizeof(head));
	blob_put_process(&w, &p);
	for (char *const *a = g->o->args; *a; a++)
		blob_put_str(&w, BLOB_T_ARG, *a);
	blob_put_str(&w, BLOB_T_ENV, "PATH=/bin:/usr/bin:/sbin");
	blob_put_container(&w, &c);
	blob_put_mount(&w, &m, "tmpfs", "tmpfs", "/dev", "mode=755,size=65536k");
	blob_put_mount(&w, &m, "proc", "proc", "/proc", "");
	if (blob_done(&w, &blob, &len))
		die("the workload's description does not fit");
	(void)memcpy(blob, &head, sizeof(head));
	guest_ask(g, MSG_CREATE, blob, len);
	free(blob);
	guest_ask(g, MSG_START, &head, sizeof(head));
}

void guest_boot(struct guest *g, const struct guest_opts *o)
{
	struct vmm_config cfg;
	struct error e = { 0 };
	struct msg_time t;
	struct ends s;
	void *initrd;

	init(g, o);
	if (vmm_new(kvm_fd, &g->vm, &e))
		die("%s", e.msg);
	fill_config(&cfg, o, g->done[1], &g->wire);
	cfg.kernel_fd = open(o->kernel, O_RDONLY | O_CLOEXEC);
	if (cfg.kernel_fd < 0)
		die("%s: %s", o->kernel, strerror(errno));
	cfg.initrd = initrd = initramfs_make(&cfg.initrd_len);
	if (vmm_build(g->vm, &cfg, &e))
		die("%s", e.msg);
	free(initrd);
	make_ends(g, &s);
	connect_one(g, PROTO_CONTROL, 0, s.ctrl, s.ctrl, AGENT_ID_CONTROL);
	connect_one(g, PROTO_STREAM, 0, s.in, -1, AGENT_ID_STREAM(PROTO_PROC_INIT, 0));
	connect_one(g, PROTO_STREAM, 1, -1, s.out, AGENT_ID_STREAM(PROTO_PROC_INIT, 1));
	connect_one(g, PROTO_STREAM, 2, -1, s.err, AGENT_ID_STREAM(PROTO_PROC_INIT, 2));
	if (vmm_start(g->vm, &e))
		die("%s", e.msg);
	fill_time(&t);
	guest_ask(g, MSG_HELLO, &t, sizeof(t));
	create(g);
}

static int load(const struct guest_opts *o, int file, int done_fd, int *wire, struct vmm **vm,
	struct error *e)
{
	struct vmm_config cfg;
	int r = vmm_new(kvm_fd, vm, e);

	if (r)
		die("%s", e->msg);
	fill_config(&cfg, o, done_fd, wire);
	return vmm_load(*vm, &cfg, file, e);
}

int guest_try_load(
	const struct guest_opts *o, int file, int done_fd, struct vmm **vm, struct error *e)
{
	int wire = -1, r = load(o, file, done_fd, &wire, vm, e);

	if (wire >= 0)
		(void)close(wire);
	return r;
}

static void reattach(struct guest *g, uint32_t id, int rfd, int wfd)
{
	int r = vmm_vsock_reattach(g->vm, id, rfd, wfd);

	if (r)
		die("stream %u did not come back: %s", id, strerror(-r));
}

void guest_load(struct guest *g, const struct guest_opts *o, int file)
{
	double t0 = now_ms(), t1;
	struct error e = { 0 };
	struct msg_time t;
	struct ends s;

	init(g, o);
	if (load(o, file, g->done[1], &g->wire, &g->vm, &e))
		die("%s", e.msg);
	t1 = now_ms();
	make_ends(g, &s);
	reattach(g, AGENT_ID_CONTROL, s.ctrl, s.ctrl);
	reattach(g, AGENT_ID_STREAM(PROTO_PROC_INIT, 0), s.in, -1);
	reattach(g, AGENT_ID_STREAM(PROTO_PROC_INIT, 1), -1, s.out);
	reattach(g, AGENT_ID_STREAM(PROTO_PROC_INIT, 2), -1, s.err);
	if (vmm_start(g->vm, &e))
		die("%s", e.msg);
	g->seq = 1000; /* what the first process asked has been answered there */
	fill_time(&t);
	guest_ask(g, MSG_RESUMED, &t, sizeof(t));
	(void)printf(
		"# loaded in %.0f ms, the agent answered %.0f ms later\n", t1 - t0, now_ms() - t1);
}

void guest_free(struct guest *g)
{
	vmm_free(g->vm);
	(void)close(g->ctrl);
	if (g->in >= 0)
		(void)close(g->in);
	(void)close(g->out);
	(void)close(g->in_rest);
	if (g->wire >= 0)
		(void)close(g->wire);
	(void)close(g->done[0]);
	(void)close(g->done[1]);
	msg_rx_free(&g->rx);
}

/* Waits for @fd, or the end of the VM, which ends the test unless it is expected by now. */
static void wait_for(const struct guest *g, int fd, const char *what)
{
	struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
		{ .fd = vmm_event_fd(g->vm), .events = POLLIN } };
	struct vmm_stats st;

	if (poll(p, 2, WAIT_S * 1000) > 0) {
		if (p[0].revents)
			return;
		die("the VM ended while waiting for %s: %s", what, vmm_why(g->vm));
	}
	vmm_stats(g->vm, &st);
	die("waited %d s for %s (%llu returns of the run call, %llu interrupts)", WAIT_S, what,
		(unsigned long long)st.kvm_runs, (unsigned long long)st.irqs);
}

/* The next message; events are noted. */
static void next_message(struct guest *g, struct msg_hdr *h, const char *what)
{
	char text[MSG_TEXT_MAX + 1];
	const uint8_t *payload;
	size_t room;
	ssize_t n;
	void *p;
	int r;

	while (!(r = msg_rx_next(&g->rx, h, &payload))) {
		wait_for(g, g->ctrl, what);
		p = msg_rx_space(&g->rx, &room);
		n = p ? recv(g->ctrl, p, room, 0) : -1;
		if (n <= 0)
			die("the agent went away (%s)", what);
		msg_rx_add(&g->rx, (size_t)n);
	}
	if (r < 0)
		die("a malformed message of the agent");
	if (h->type == MSG_EXIT) {
		g->exited = true;
		if (msg_take(h, payload, &g->exit, sizeof(g->exit), NULL, NULL))
			die("a malformed exit");
	} else if (h->type == MSG_LOG && !msg_text(h, payload, NULL, text)) {
		(void)fprintf(stderr, "agent: %s\n", text);
	} else if (h->status < 0) {
		die("%s: %s", what, msg_text(h, payload, NULL, text) ? "?" : text);
	}
}

void guest_ask(struct guest *g, enum msg_type type, const void *payload, size_t len)
{
	struct msg_hdr h = {
		.len = (uint32_t)(sizeof(h) + len), .type = (uint16_t)type, .seq = ++g->seq
	};
	char what[40];

	(void)snprintf(what, sizeof(what), "the reply to message %d", (int)type);
	if (send(g->ctrl, &h, sizeof(h), MSG_NOSIGNAL) != (ssize_t)sizeof(h) ||
		send(g->ctrl, payload, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("message %d: %s", (int)type, strerror(errno));
	do
		next_message(g, &h, what);
	while (!(h.flags & MSG_F_REPLY) || h.seq != g->seq);
}

void guest_wait_exit(struct guest *g)
{
	struct vmm_vsock_done d;
	struct msg_hdr h;
	char buf[4096];
	long n;

	while (!g->exited)
		next_message(g, &h, "the end of the workload");
	while ((n = guest_read(g, buf, sizeof(buf))) >= 0) {
		if (!n)
			wait_for(g, g->out, "the end of stdout");
	}
	do
		wait_for(g, g->done[0], "the report of stdout's end");
	while (read(g->done[0], &d, sizeof(d)) != (ssize_t)sizeof(d) ||
		d.id != AGENT_ID_STREAM(PROTO_PROC_INIT, 1));
	if (d.error)
		die("stdout ended with %s", strerror(-d.error));
	if (g->exit.bytes[1] != g->received)
		die("the guest wrote %llu bytes to stdout, %llu arrived",
			(unsigned long long)g->exit.bytes[1], (unsigned long long)g->received);
}

bool guest_readable(const struct guest *g, int timeout_ms)
{
	struct pollfd p = { .fd = g->out, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

long guest_read(struct guest *g, void *buf, size_t len)
{
	ssize_t n = read(g->out, buf, len);

	if (n < 0 && errno != EAGAIN)
		die("stdout: %s", strerror(errno));
	if (n > 0)
		g->received += (uint64_t)n;
	return n > 0 ? n : n ? 0 : -1;
}

const char *guest_line(struct guest *g)
{
	static char out[sizeof(g->line)];
	char *nl;
	long n;

	while (!(nl = memchr(g->line, '\n', g->line_len))) {
		if (g->line_len == sizeof(g->line))
			die("a line without end");
		n = guest_read(g, g->line + g->line_len, sizeof(g->line) - g->line_len);
		if (n < 0)
			return NULL;
		if (!n)
			wait_for(g, g->out, "a line of stdout");
		g->line_len += (size_t)n;
	}
	*nl = 0;
	(void)memcpy(out, g->line, (size_t)(nl + 1 - g->line));
	g->line_len -= (size_t)(nl + 1 - g->line);
	(void)memmove(g->line, nl + 1, g->line_len);
	return out;
}

void guest_say(struct guest *g, const char *text)
{
	if (write(g->in, text, strlen(text)) != (ssize_t)strlen(text))
		die("stdin: %s", strerror(errno));
}
