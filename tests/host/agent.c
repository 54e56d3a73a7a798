// SPDX-License-Identifier: Apache-2.0
// Runs inside the test host as PID 1 or a service: serves commands over virtio-serial ports.
/*
 * How it works: one process per port named testhost.N, each running at most one command at a time,
 * so they cannot disturb each other. A server is a subreaper: whatever its command leaves behind
 * stays below it, lives on after a normal end (a command may start a daemon for later ones) and is
 * killed with the command when time is up or the client is gone. The port is non-blocking and
 * watched edge-triggered, since poll() on a port without a client says POLLHUP all the time. Output
 * waits in one buffer; while it holds data, the command's pipes are not read, which is the whole
 * flow control in that direction. Input is bounded by the client's window.
 */
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <linux/rtc.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define MAX_PORTS  32
#define MAX_INODES 24000

struct server {
	int port, epoll, sig;
	bool framed; /* the client said hello */
	char in[CHAN_FRAME + CHAN_HELLO_LEN];
	size_t in_len;
	char out[2 * CHAN_FRAME];
	size_t out_at, out_len;
	char *req;
	size_t req_len;
	struct job job; /* pid 0: none */
	bool exited, stopped;
	int status;
	char *feed; /* stdin on its way to the command */
	size_t feed_at, feed_len;
	bool feed_eof;
	uint32_t ack; /* bytes to acknowledge */
	long kill_at; /* when the stopped command is killed; times are monotonic milliseconds */
	long gone_at; /* when a client that hung up counts as gone; 0: it did not */
};

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void flush_out(struct server *s)
{
	while (s->out_at < s->out_len) {
		ssize_t n = write(s->port, s->out + s->out_at, s->out_len - s->out_at);

		if (n <= 0)
			return; /* the next edge tries again; without a client all is dropped then
				 */
		s->out_at += (size_t)n;
	}
	s->out_at = s->out_len = 0;
}

static size_t out_room(const struct server *s)
{
	return sizeof(s->out) - s->out_len;
}

static void put_frame(struct server *s, enum chan_type type, const void *data, uint32_t len)
{
	struct chan_hdr h = { .len = len, .type = type };

	if (out_room(s) < sizeof(h) + len)
		return; /* only for words of our own: data and the end are put into an empty buffer
			 */
	memcpy(s->out + s->out_len, &h, sizeof(h));
	if (len)
		memcpy(s->out + s->out_len + sizeof(h), data, len);
	s->out_len += sizeof(h) + len;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void end_job(struct server *s)
{
	bool tty = s->job.in >= 0 && s->job.in == s->job.out;

	close_fd(&s->job.in);
	if (tty)
		s->job.out = -1;
	close_fd(&s->job.out);
	close_fd(&s->job.err);
	s->job.pid = 0;
	s->exited = s->stopped = s->feed_eof = false;
	s->feed_at = s->feed_len = s->req_len = 0;
	s->ack = 0;
	s->kill_at = 0;
}

static void reap(struct server *s)
{
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	while (read(s->sig, &si, sizeof(si)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != s->job.pid || s->exited)
			continue;
		s->exited = true;
		s->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
}

/* The client is gone or talks nonsense: nothing of its command stays. */
static void reset(struct server *s)
{
	if (s->job.pid) {
		for (int i = 0; i < 100 && tree_signal(SIGKILL); i++) {
			usleep(10000);
			reap(s);
		}
		reap(s);
		end_job(s);
	}
	s->framed = false;
	s->in_len = s->out_at = s->out_len = s->req_len = 0;
}

static void start_job(struct server *s)
{
	char msg[512];
	struct chan_exit x = { .code = 125, .flags = CHAN_EXIT_FAILED };

	if (s->job.pid)
		return;
	if (job_start(&s->job, s->req, s->req_len, msg, sizeof(msg)) < 0) {
		put_frame(s, CHAN_LOG, msg, (uint32_t)strlen(msg));
		put_frame(s, CHAN_EXIT, &x, sizeof(x));
		end_job(s);
	}
}

static void stop_job(struct server *s)
{
	static char text[CHAN_PAYLOAD];
	size_t n;

	if (!s->job.pid || s->stopped)
		return;
	s->stopped = true;
	s->kill_at = now() + 2000;
	n = (size_t)snprintf(
		text, sizeof(text), "test host: the command's processes stood here:\n");
	n += memory_describe(text + n, sizeof(text) - n);
	n += tree_describe(false, text + n, sizeof(text) * 3 / 4 - n);
	/* again, to tell what goes on from what stands still */
	(void)nanosleep(&(struct timespec){ .tv_nsec = 300000000 }, NULL);
	n += (size_t)snprintf(text + n, sizeof(text) - n, "  those that run, 0.3 s later:\n");
	n = n < sizeof(text) ? n : sizeof(text);
	n += tree_describe(true, text + n, sizeof(text) - n);
	put_frame(s, CHAN_LOG, text, (uint32_t)n);
	tree_signal(SIGTERM);
}

static void take_input(struct server *s, const char *data, uint32_t len)
{
	if (!len)
		s->feed_eof = true;
	if (s->feed_len + len > CHAN_WINDOW && s->feed_at) {
		memmove(s->feed, s->feed + s->feed_at, s->feed_len - s->feed_at);
		s->feed_len -= s->feed_at;
		s->feed_at = 0;
	}
	if (s->feed_len + len > CHAN_WINDOW) {
		reset(s);
		return;
	}
	memcpy(s->feed + s->feed_len, data, len);
	s->feed_len += len;
}

static void take_frame(struct server *s, uint32_t type, const char *data, uint32_t len)
{
	uint32_t v[2];

	memset(v, 0, sizeof(v));
	memcpy(v, data, len < sizeof(v) ? len : sizeof(v));
	switch (type) {
	case CHAN_REQ:
		if (len > CHAN_REQUEST - s->req_len) {
			reset(s);
			break;
		}
		memcpy(s->req + s->req_len, data, len);
		s->req_len += len;
		break;
	case CHAN_START:
		start_job(s);
		break;
	case CHAN_IN:
		take_input(s, data, len);
		break;
	case CHAN_SIG:
		if (s->job.pid && !s->exited)
			kill(-s->job.pid, (int)v[0]);
		break;
	case CHAN_WINCH:
		if (s->job.in >= 0) {
			struct winsize ws = { .ws_row = (unsigned short)v[0],
				.ws_col = (unsigned short)v[1] };

			ioctl(s->job.in, TIOCSWINSZ, &ws);
		}
		break;
	case CHAN_STOP:
		stop_job(s);
		break;
	default:
		reset(s);
	}
}

/* Takes one item off the input buffer; false: more bytes are needed. */
static bool take_one(struct server *s)
{
	struct chan_hdr h;
	char *hello;
	size_t used;

	if (!s->framed) {
		hello = memmem(s->in, s->in_len, CHAN_MAGIC, CHAN_MAGIC_LEN);
		if (!hello) {
			used = s->in_len < CHAN_MAGIC_LEN ? 0 : s->in_len - (CHAN_MAGIC_LEN - 1);
		} else if ((size_t)(s->in + s->in_len - hello) < CHAN_HELLO_LEN) {
			used = (size_t)(hello - s->in);
		} else {
			memcpy(s->out, hello, CHAN_HELLO_LEN);
			s->out_at = 0;
			s->out_len = CHAN_HELLO_LEN;
			s->framed = true;
			used = (size_t)(hello - s->in) + CHAN_HELLO_LEN;
		}
	} else {
		if (s->in_len < sizeof(h))
			return false;
		memcpy(&h, s->in, sizeof(h));
		if (h.len > CHAN_PAYLOAD) {
			reset(s);
			return false;
		}
		used = sizeof(h) + h.len;
		if (s->in_len < used)
			return false;
		take_frame(s, h.type, s->in + sizeof(h), h.len);
		if (!s->framed)
			return false;
	}
	memmove(s->in, s->in + used, s->in_len - used);
	s->in_len -= used;
	return used > 0;
}

static void read_port(struct server *s)
{
	for (;;) {
		ssize_t n = read(s->port, s->in + s->in_len, sizeof(s->in) - s->in_len);

		if (n <= 0)
			return;
		s->in_len += (size_t)n;
		while (take_one(s))
			;
	}
}

/* Reads one of the command's outputs into the empty buffer; false: nothing there now. */
static bool read_job(struct server *s, int *fd, enum chan_type type)
{
	struct chan_hdr h = { .type = type };
	ssize_t n;

	if (*fd < 0 || s->out_len)
		return false;
	n = read(*fd, s->out + sizeof(h), CHAN_PAYLOAD);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) { /* a terminal says EIO when its last user is gone */
		if (*fd != s->job.in)
			close_fd(fd);
		return false;
	}
	h.len = (uint32_t)n;
	memcpy(s->out, &h, sizeof(h));
	s->out_len = sizeof(h) + (size_t)n;
	flush_out(s);
	return true;
}

/*
 * In turns, and not for ever: a client's frame may wait. Once the command has ended, what its pipes
 * hold is drained, but not more, since something that it left behind may go on writing.
 */
static void relay_output(struct server *s)
{
	int turns = s->exited ? 128 : 16;
	bool more = true;

	while (more && turns-- > 0) {
		more = read_job(s, &s->job.out, CHAN_OUT);
		more |= read_job(s, &s->job.err, CHAN_ERR);
	}
}

static void feed_job(struct server *s)
{
	bool tty = s->job.in >= 0 && s->job.in == s->job.out;

	while (s->feed_at < s->feed_len) {
		ssize_t n = s->job.in < 0
			? -1
			: write(s->job.in, s->feed + s->feed_at, s->feed_len - s->feed_at);

		if (n < 0 && s->job.in >= 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) { /* the command does not want it: swallow */
			n = (ssize_t)(s->feed_len - s->feed_at);
			if (!tty)
				close_fd(&s->job.in);
		}
		s->feed_at += (size_t)n;
		s->ack += (uint32_t)n;
	}
	s->feed_at = s->feed_len = 0;
	if (s->feed_eof && !tty)
		close_fd(&s->job.in);
}

static void work(struct server *s)
{
	struct chan_exit x;

	flush_out(s);
	if (!s->job.pid)
		return;
	feed_job(s);
	if (s->ack && !s->out_len) {
		put_frame(s, CHAN_ACK, &s->ack, sizeof(s->ack));
		s->ack = 0;
		flush_out(s);
	}
	relay_output(s);
	if (s->stopped && now() >= s->kill_at) {
		tree_signal(SIGKILL);
		s->kill_at = now() + 1000;
	}
	if (!s->exited || s->out_len)
		return;
	if (s->stopped && tree_signal(0) && now() < s->kill_at + 5000)
		return;
	x = (struct chan_exit){ .code = (uint32_t)s->status,
		.flags = s->stopped ? CHAN_EXIT_STOPPED : 0 };
	put_frame(s, CHAN_EXIT, &x, sizeof(x));
	flush_out(s);
	end_job(s);
}

/*
 * The driver learns of a client's coming and going later than of its bytes: the next client's hello
 * may be here before the last one's hang-up, which must not be taken for the new one's. If no hello
 * follows, the port stays hung up.
 */
static void check_gone(struct server *s)
{
	struct pollfd p = { .fd = s->port };

	if (!s->gone_at || now() < s->gone_at)
		return;
	s->gone_at = 0;
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLHUP))
		reset(s);
}

static void wait_for_work(struct server *s)
{
	struct pollfd p[5] = { { .fd = s->epoll, .events = POLLIN },
		{ .fd = s->sig, .events = POLLIN } };
	struct epoll_event ev;
	nfds_t n = 2;

	if (s->job.pid && !s->out_len) {
		if (s->job.out >= 0 && !s->exited)
			p[n++] = (struct pollfd){ .fd = s->job.out, .events = POLLIN };
		if (s->job.err >= 0 && !s->exited)
			p[n++] = (struct pollfd){ .fd = s->job.err, .events = POLLIN };
	}
	if (s->job.pid && s->job.in >= 0 && s->feed_at < s->feed_len)
		p[n++] = (struct pollfd){ .fd = s->job.in, .events = POLLOUT };
	if (poll(p, n, s->stopped || s->gone_at ? 100 : -1) < 0 && errno != EINTR)
		_exit(1);
	if (epoll_wait(s->epoll, &ev, 1, 0) == 1 && (ev.events & EPOLLHUP) && !s->gone_at)
		s->gone_at = now() + 200;
	check_gone(s);
	read_port(s);
	reap(s);
}

static void __attribute__((noreturn)) serve(const char *path)
{
	struct server *s = calloc(1, sizeof(*s));
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLET };
	sigset_t set;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_SETMASK, &set, NULL);
	if (!s)
		_exit(1);
	s->job = (struct job){ .in = -1, .out = -1, .err = -1 };
	s->req = malloc(CHAN_REQUEST);
	s->feed = malloc(CHAN_WINDOW);
	s->port = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->sig = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (!s->req || !s->feed || s->port < 0 || s->epoll < 0 || s->sig < 0 ||
		epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->port, &ev) < 0) {
		fprintf(stderr, "testhost-agent: %s: %s\n", path, strerror(errno));
		_exit(1);
	}
	for (;;) {
		work(s);
		wait_for_work(s);
	}
}

/*
 * The daemon that shares the files holds a descriptor for each inode that we know, of which it may
 * have few: when there are many, unused ones are forgotten. The count is that of all file systems,
 * which is cheap to read and large enough.
 */
static void forget_inodes(void)
{
	char line[64] = "";
	int fd = open("/proc/sys/fs/inode-nr", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (read(fd, line, sizeof(line) - 1) < 0)
		line[0] = 0;
	close(fd);
	if (atol(line) < MAX_INODES)
		return;
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "2", 1) != 1)
		fprintf(stderr, "testhost-agent: drop_caches: %s\n", strerror(errno));
	close(fd);
}

struct port {
	char path[64];
	pid_t pid;
};

static unsigned int find_ports(struct port *ports)
{
	DIR *dir = opendir("/sys/class/virtio-ports");
	struct dirent *e;
	unsigned int n = 0;

	while (dir && n < MAX_PORTS && (e = readdir(dir))) {
		char path[300], name[32] = "";
		FILE *f;

		if (e->d_name[0] == '.' || strlen(e->d_name) > 32)
			continue;
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(name, sizeof(name), f) && !strncmp(name, "testhost.", 9))
			snprintf(ports[n++].path, sizeof(ports[0].path), "/dev/%.32s", e->d_name);
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return n;
}

/*
 * Keeps one VM for as long as this host lives. The first VM and the end of the last one patch the
 * scheduler's code (a static key), and now and then a processor of the emulator runs on in the old
 * code for good; with one VM always there the code is patched once, at the start.
 */
static void hold_vm(void)
{
	static int vm = -1;
	int kvm;

	if (vm >= 0)
		return;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC); /* its module may still be on the way */
	if (kvm < 0)
		return;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	close(kvm);
}

/*
 * An interrupt each second that the local APIC's timer has no part in. QEMU 7.2's emulated
 * processor changes its word of waiting interrupts in do_vmexit() without the lock under which
 * other threads set bits there, so that the notice of the timer's interrupt can be lost. It is
 * one-shot: no other comes, and a guest that spins has the processor until a device interrupts, as
 * the APIC is asked again then. (Read from the code; two tests that stood still on CI and one here
 * fit.)
 */
static void start_heartbeat(void)
{
	int fd = open("/dev/rtc0", O_RDONLY | O_CLOEXEC); /* stays open */

	if (fd < 0 || ioctl(fd, RTC_UIE_ON, 0) < 0)
		fprintf(stderr, "testhost-agent: /dev/rtc0: %s\n", strerror(errno));
}

int main(void)
{
	static struct port ports[MAX_PORTS];
	unsigned int n = find_ports(ports);
	struct timespec pause = { .tv_sec = 1 };
	sigset_t set;
	pid_t pid;

	if (!n) {
		fprintf(stderr, "testhost-agent: no port named testhost.N\n");
		return 1;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	start_heartbeat();
	for (;;) {
		hold_vm();
		for (unsigned int i = 0; i < n; i++) {
			if (ports[i].pid)
				continue;
			ports[i].pid = fork();
			if (ports[i].pid == 0)
				serve(ports[i].path);
			if (ports[i].pid < 0)
				ports[i].pid = 0;
		}
		sigtimedwait(&set, NULL, &pause);
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			for (unsigned int i = 0; i < n; i++)
				if (ports[i].pid == pid)
					ports[i].pid = 0;
		forget_inodes();
	}
}
