// SPDX-License-Identifier: Apache-2.0
/* Conformance of sockets: calls that wait, and what ends their waiting. */

/*
 * How it works
 *
 * A second thread makes the call; when the kernel says that it sleeps, the first one does what is
 * to end that: a signal, a shutdown, the peer. Bytes are looked at only when FIONREAD says that
 * they are there, so that how they came does not matter.
 */
#include "conform.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* ---- a thread in a call ---- */

enum call {
	C_RECV,
	C_PEEK_ALL,
	C_ACCEPT,
	C_CONNECT_FULL,
};

struct waiter {
	pthread_t thread;
	enum call call;
	int fd, tid;
	long r;
	int err;
};

static int signals;

static void on_signal(int sig)
{
	(void)sig;
	__atomic_add_fetch(&signals, 1, __ATOMIC_SEQ_CST);
}

static void catch_signals(int flags)
{
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };

	sigaction(SIGUSR1, &sa, NULL);
}

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;
	char buf[100];

	__atomic_store_n(&w->tid, gettid(), __ATOMIC_SEQ_CST);
	switch (w->call) {
	case C_RECV:
		w->r = recv(w->fd, buf, sizeof(buf), 0);
		break;
	case C_PEEK_ALL:
		w->r = recv(w->fd, buf, sizeof(buf), MSG_PEEK | MSG_WAITALL);
		break;
	case C_ACCEPT:
		w->r = accept(w->fd, NULL, NULL);
		break;
	case C_CONNECT_FULL:
		w->r = xconnect_to(w->fd, base + S_FULL);
		break;
	}
	w->err = errno;
	return NULL;
}

static char thread_state(int tid)
{
	char path[64], line[256], state = '?', *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (!f)
		return state;
	if (fgets(line, sizeof(line), f) && (p = strrchr(line, ')')))
		state = p[2];
	fclose(f);
	return state;
}

static void asleep(struct waiter *w)
{
	int tid;

	for (int i = 0; i < WAIT_MS; i++) {
		tid = __atomic_load_n(&w->tid, __ATOMIC_SEQ_CST);
		if (tid && thread_state(tid) == 'S')
			return;
		poll(NULL, 0, 1);
	}
	fprintf(stderr, "conform: a call that should wait does not\n");
	exit(1);
}

static struct waiter *waiting(enum call call, int fd)
{
	struct waiter *w = calloc(1, sizeof(*w));

	w->call = call;
	w->fd = fd;
	if (pthread_create(&w->thread, NULL, waiter_main, w)) {
		fprintf(stderr, "conform: pthread_create\n");
		exit(1);
	}
	asleep(w);
	return w;
}

/* The handler has run, and who is restarted waits again. */
static void interrupt(struct waiter *w, int again)
{
	int was = __atomic_load_n(&signals, __ATOMIC_SEQ_CST);

	pthread_kill(w->thread, SIGUSR1);
	for (int i = 0; i < WAIT_MS && __atomic_load_n(&signals, __ATOMIC_SEQ_CST) == was; i++)
		poll(NULL, 0, 1);
	if (again)
		asleep(w);
}

static const char *ended(struct waiter *w)
{
	const char *s;

	pthread_join(w->thread, NULL);
	errno = w->err;
	s = w->call == C_ACCEPT && w->r >= 0 ? "ok" : rs(w->r);
	if (w->call == C_ACCEPT && w->r >= 0)
		close((int)w->r);
	free(w);
	return s;
}

void arrived(int fd, int bytes)
{
	int n = 0;

	for (int i = 0; i < WAIT_MS && (ioctl(fd, FIONREAD, &n) || n < bytes); i++)
		poll(NULL, 0, 1);
}

static int listening(void)
{
	int fd = bound(SOCK_STREAM, "0.0.0.0", "::", 0);

	listen(fd, 8);
	return fd;
}

/* ---- signals ---- */

static void signal_recv(int flags, int limit, const char *name)
{
	int fd = connected(S_ECHO);
	struct waiter *w;

	catch_signals(flags);
	if (limit)
		timeouts(fd, WAIT_MS);
	w = waiting(C_RECV, fd);
	interrupt(w, flags && !limit);
	if (flags && !limit)
		send(fd, "abc", 3, MSG_NOSIGNAL);
	t(name, "%s", ended(w));
	close(fd);
}

void wait_signals(void)
{
	int fd, one = 1, port;
	struct waiter *w;

	signal_recv(0, 0, "recv, a signal");
	signal_recv(SA_RESTART, 0, "recv, a signal, restarted");
	signal_recv(SA_RESTART, 1, "recv with a time limit, a signal");
	catch_signals(0);
	fd = listening();
	port = local_port(fd);
	w = waiting(C_ACCEPT, fd);
	interrupt(w, 0);
	t("accept, a signal", "%s", ended(w));
	catch_signals(SA_RESTART);
	w = waiting(C_ACCEPT, fd);
	interrupt(w, 1);
	ask("call %d %d", fam == F6, port);
	t("accept, a signal, restarted", "%s", ended(w));
	told();
	close(fd);
	catch_signals(0);
	fd = xsocket(SOCK_STREAM);
	w = waiting(C_CONNECT_FULL, fd);
	interrupt(w, 0);
	t("connect, a signal", "%s", ended(w));
	nonblock(fd);
	t("connect, a signal, again", "%s", rs(xconnect_to(fd, base + S_FULL)));
	t("connect, a signal: poll", "%s", bits(polled(fd)));
	close(fd);
	catch_signals(SA_RESTART);
	fd = xsocket(SOCK_STREAM);
	setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &one, sizeof(one));
	w = waiting(C_CONNECT_FULL, fd);
	interrupt(w, 1);
	t("connect, a signal, restarted, until nobody answers", "%s", ended(w));
	t("nobody answered: SO_ERROR", "%s", en(so_error(fd)));
	t("nobody answered: poll", "%s", bits(polled(fd)));
	close(fd);
	fd = xsocket(SOCK_STREAM);
	timeouts(fd, 50);
	t("connect with a time limit", "%s", rs(xconnect_to(fd, base + S_FULL)));
	t("connect with a time limit: recv", "%s", rs(recv(fd, &one, 1, MSG_DONTWAIT)));
	close(fd);
}

/* ---- shutdown by another thread ---- */

void wait_shutdown(void)
{
	static const char *const hows[] = { "RD", "WR", "RDWR" };
	const char *end;
	struct waiter *w;
	char name[64];
	int fd;

	for (int how = SHUT_RD; how <= SHUT_RDWR; how += 2) {
		fd = connected(S_ECHO);
		w = waiting(C_RECV, fd);
		snprintf(name, sizeof(name), "recv, shutdown %s", hows[how]);
		t(name, "%s", rs(shutdown(fd, how)));
		t(name, "%s", ended(w));
		close(fd);
	}
	fd = listening();
	w = waiting(C_ACCEPT, fd);
	t("accept, shutdown RD", "%s", rs(shutdown(fd, SHUT_RD)));
	t("accept, shutdown RD", "%s", ended(w));
	t("listen again", "%s", rs(listen(fd, 8)));
	ask("call %d %d", fam == F6, local_port(fd));
	ready(fd, POLLIN);
	w = calloc(1, sizeof(*w));
	w->r = accept(fd, NULL, NULL);
	t("listen again: accept", "%s", w->r >= 0 ? "ok" : strerrorname_np(errno));
	send((int)w->r, "there\n", 6, MSG_NOSIGNAL);
	close((int)w->r);
	free(w);
	t("listen again: the peer", "%s", told());
	close(fd);
	fd = xsocket(SOCK_STREAM);
	w = waiting(C_CONNECT_FULL, fd);
	t("connect, shutdown RDWR", "%s", rs(shutdown(fd, SHUT_RDWR)));
	/* Which of the two depends on the kernel's version. */
	end = ended(w);
	t("connect, shutdown RDWR", "%s",
		strcmp(end, "EPIPE") && strcmp(end, "ECONNRESET") ? end : "gone");
	t("connect, shutdown RDWR: then", "%s", rs(xconnect_to(fd, base + S_ECHO)));
	close(fd);
}

/* ---- how much is waited for ---- */

static void peek_trunc(int fd, const char *name, int flags)
{
	char a[3], b[64];
	struct iovec iov[2] = { { a, sizeof(a) }, { b, sizeof(b) } };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	t(name, "%s", rs(recv(fd, b, sizeof(b), flags)));
	t(name, "%s in two pieces", rs(recvmsg(fd, &m, flags)));
}

/* A buffer of which only the beginning is in memory takes at once all that has come. */
static void fresh_buffer(const char *name, int flags)
{
	enum {
		PART = 10000,
		ALL = 4 * PART
	};
	static const char part[PART];
	char *buf = mmap(NULL, ALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = connected(S_ECHO);

	for (int i = 0; i < ALL / PART; i++)
		send(fd, part, PART, MSG_NOSIGNAL);
	arrived(fd, ALL);
	memset(buf, 1, PART);
	t(name, "%s", rs(recv(fd, buf, ALL, flags)));
	munmap(buf, ALL);
	close(fd);
}

void wait_amounts(void)
{
	int fd = connected(S_ECHO), v = 10;
	struct waiter *w;
	char buf[128];
	ssize_t n;

	timeouts(fd, 50);
	send(fd, "12345", 5, MSG_NOSIGNAL);
	arrived(fd, 5);
	peek_trunc(fd, "peek WAITALL, too little", MSG_PEEK | MSG_WAITALL);
	peek_trunc(fd, "peek TRUNC WAITALL, too little", MSG_PEEK | MSG_WAITALL | MSG_TRUNC);
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &v, sizeof(v));
	t("lowat: poll, too little", "%s", bits(polled(fd)));
	peek_trunc(fd, "lowat: peek TRUNC, too little", MSG_PEEK | MSG_TRUNC);
	t("lowat: recv DONTWAIT", "%s", rs(recv(fd, buf, 2, MSG_DONTWAIT)));
	t("lowat: recv until the time limit", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	send(fd, "1234567890", 10, MSG_NOSIGNAL);
	t("lowat: poll", "%s", bits(ready(fd, POLLIN)));
	t("lowat: recv", "%s", rs(recv(fd, buf, sizeof(buf), 0)));
	close(fd);

	fd = connected(S_ECHO);
	send(fd, "12345", 5, MSG_NOSIGNAL);
	arrived(fd, 5);
	w = waiting(C_PEEK_ALL, fd);
	t("peek WAITALL, shutdown RD", "%s", rs(shutdown(fd, SHUT_RD)));
	t("peek WAITALL, shutdown RD", "%s", ended(w));
	t("peek WAITALL after it", "%s", rs(recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_WAITALL)));
	t("WAITALL after it", "%s", rs(recv(fd, buf, sizeof(buf), MSG_WAITALL)));
	close(fd);

	fd = connected(S_DISCARD);
	w = waiting(C_PEEK_ALL, fd);
	shutdown(fd, SHUT_WR);
	t("peek WAITALL, the end", "%s", ended(w));
	n = recv(fd, buf, sizeof(buf), MSG_PEEK | MSG_WAITALL);
	t("peek WAITALL after the end", "%s", rs(n));
	n = recv(fd, buf, sizeof(buf), MSG_WAITALL);
	t("WAITALL, the end", "%s", rs(n));
	close(fd);

	fd = connected(S_RESET);
	w = waiting(C_PEEK_ALL, fd);
	send(fd, "x", 1, MSG_NOSIGNAL);
	t("peek WAITALL, a reset", "%s", ended(w));
	close(fd);

	fresh_buffer("fresh buffer: recv DONTWAIT", MSG_DONTWAIT);
	fresh_buffer("fresh buffer: peek DONTWAIT", MSG_PEEK | MSG_DONTWAIT);
	fresh_buffer("fresh buffer: peek WAITALL", MSG_PEEK | MSG_WAITALL);
}

/* ---- room ---- */

void wait_room(void)
{
	struct epoll_event ev = { .events = EPOLLOUT | EPOLLET };
	int ep = epoll_create1(0), fd = connected(S_GATE), n;
	static char buf[65536];
	ssize_t r = 0;

	nonblock(fd);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	/* What the other side's buffers took meanwhile may go first. */
	do {
		for (int i = 0; i < 100000 && (r = send(fd, buf, sizeof(buf), MSG_NOSIGNAL)) > 0;
			i++)
			;
		n = epoll_wait(ep, &ev, 1, 1000);
	} while (n == 1);
	t("edge: full", "%s, %d", rs(r), n);
	t("edge: full, poll", "%s", bits(polled(fd)));
	ask("go");
	told();
	n = epoll_wait(ep, &ev, 1, WAIT_MS);
	t("edge: room", "%d %s", n, bits((int)ev.events));
	t("edge: room, send", "%d", send(fd, buf, 1, MSG_NOSIGNAL) == 1);
	close(fd);
	close(ep);
}
