// SPDX-License-Identifier: Apache-2.0
/* Connects and room that come later, for who does not wait in a call: io_uring, signals, poll. */

/*
 * How it works
 *
 * S_FULL answers no SYN until the control connection says that there is room; the SYN is sent again
 * a second later, so a connect is under way until then, natively as in the guest. io_uring is used
 * by its system calls. What a program waits for is a descriptor or a queued signal, 20 s at most.
 */
#include "conform.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef TCP_INQ
#define TCP_INQ 36
#endif
#define LOWAT 131072

/* ---- a ring of four, without a library ---- */

struct ring {
	int fd;
	struct io_uring_params p;
	uint8_t *sq, *cq;
	struct io_uring_sqe *sqe;
};

static int ring_open(struct ring *r)
{
	const int prot = PROT_READ | PROT_WRITE;

	memset(r, 0, sizeof(*r));
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->p);
	if (r->fd < 0)
		return -1;
	r->sq = mmap(NULL, r->p.sq_off.array + r->p.sq_entries * 4, prot, MAP_SHARED, r->fd,
		IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe), prot,
		MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	r->sqe = mmap(
		NULL, r->p.sq_entries * sizeof(*r->sqe), prot, MAP_SHARED, r->fd, IORING_OFF_SQES);
	return r->sq == MAP_FAILED || r->cq == MAP_FAILED || r->sqe == MAP_FAILED ? -1 : 0;
}

static int ring_connect(struct ring *r, int fd, const struct sockaddr_storage *ss, socklen_t len)
{
	uint32_t *tail = (uint32_t *)(r->sq + r->p.sq_off.tail);

	memset(r->sqe, 0, sizeof(*r->sqe));
	r->sqe->opcode = IORING_OP_CONNECT;
	r->sqe->fd = fd;
	r->sqe->addr = (uint64_t)(uintptr_t)ss;
	r->sqe->off = len;
	((uint32_t *)(r->sq + r->p.sq_off.array))[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	return (int)syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0);
}

/* The result of what was begun, once it is there. */
static const char *ring_result(struct ring *r)
{
	const struct io_uring_cqe *cqe = (struct io_uring_cqe *)(r->cq + r->p.cq_off.cqes);
	struct pollfd p = { .fd = r->fd, .events = POLLIN };

	if (poll(&p, 1, WAIT_MS) != 1)
		return "nothing";
	if (cqe->res < 0)
		return en(-cqe->res);
	return rs(cqe->res);
}

/* A connect to whose peer has no room yet: its SYN is sent again after a second. */
void async_uring(void)
{
	struct sockaddr_storage ss;
	socklen_t len = addr(&ss, "127.0.0.1", "::1", base + S_FULL);
	int fd = xsocket(SOCK_STREAM);
	struct ring r;

	if (ring_open(&r)) {
		fprintf(stderr, "conform: no io_uring\n");
		exit(1);
	}
	t("io_uring connect", "%s", rs(ring_connect(&r, fd, &ss, len)));
	t("io_uring connect: poll of the socket", "%s", bits(polled(fd)));
	ask("room");
	told();
	t("io_uring connect: the peer has room", "%s", ring_result(&r));
	t("io_uring connect: poll after it", "%s", bits(polled(fd)));
	close(r.fd);
	close(fd);
}

/* Sends until for a while there has been no room: what the other side's buffers take goes first.
 * The first @least bytes are known to find some. */
static size_t fill(int fd, size_t least, size_t most)
{
	static char buf[65536];
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	size_t sent = 0;
	ssize_t n;

	do {
		while (sent < most && (n = send(fd, buf, sizeof(buf), MSG_NOSIGNAL)) > 0)
			sent += (size_t)n;
	} while (sent < most && poll(&p, 1, sent < least ? WAIT_MS : 1000) == 1);
	return sent;
}

/* ---- signals ---- */

/* SIGIO by a queue, which tells for what. */
static void by_signal(int fd, sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, set, NULL);
	fcntl(fd, F_SETSIG, SIGRTMIN);
	fcntl(fd, F_SETOWN, getpid());
	fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC);
}

/* Signals until one says that writing is possible. */
static const char *writable_by_signal(const sigset_t *set)
{
	const struct timespec ts = { WAIT_MS / 1000, 0 };
	siginfo_t si;

	while (sigtimedwait(set, &si, &ts) == SIGRTMIN)
		if (si.si_band & POLLOUT)
			return bits((int)(si.si_band & (POLLIN | POLLOUT | POLLERR | POLLHUP)));
	return "nothing";
}

void async_signals(void)
{
	const struct timespec none = { 0, 0 };
	int fd = xsocket(SOCK_STREAM);
	sigset_t set;

	by_signal(fd, &set);
	t("signal: connect", "%s", rs(xconnect_to(fd, base + S_FULL)));
	ask("room");
	told();
	t("signal: connected", "%s", writable_by_signal(&set));
	t("signal: connected, SO_ERROR", "%s", en(so_error(fd)));
	close(fd);

	fd = connected(S_GATE);
	by_signal(fd, &set);
	fill(fd, 1, SIZE_MAX);
	/* a byte may still find a place that a large piece does not */
	while (send(fd, "", 1, MSG_NOSIGNAL) == 1)
		;
	while (sigtimedwait(&set, NULL, &none) > 0)
		;
	t("signal: full", "%s", rs(send(fd, "", 1, MSG_NOSIGNAL)));
	ask("go");
	told();
	t("signal: room", "%s", writable_by_signal(&set));
	fcntl(fd, F_SETFL, 0);
	close(fd);
	while (sigtimedwait(&set, NULL, &none) > 0)
		;
}

/* ---- amounts ---- */

/* A peer that has much more to send than there is room for, and a reader who wants much at once. */
void async_lowat(void)
{
	static char buf[140000];
	int fd = connected(S_ECHO), v = LOWAT;
	size_t sent;
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &v, sizeof(v));
	nonblock(fd);
	sent = fill(fd, 3 * sizeof(buf) + LOWAT, 5 * sizeof(buf));
	t("large lowat: sent", "%d", sent >= 3 * sizeof(buf) + LOWAT);
	for (int i = 0; i < 3; i++) {
		t("large lowat: poll", "%s", bits(ready(fd, POLLIN) & POLLIN));
		n = 0;
		while (n < (ssize_t)sizeof(buf)) {
			ssize_t k = recv(fd, buf, sizeof(buf) - (size_t)n, MSG_DONTWAIT);

			if (k > 0)
				n += k;
			else if (k == 0 || !ready(fd, POLLIN))
				break;
		}
		t("large lowat: read", "%zd", n);
	}
	close(fd);
}

static void with_inq(const char *name, int fd, size_t len)
{
	char buf[128], control[64];
	struct iovec iov = { buf, len };
	struct msghdr m = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(fd, &m, 0);
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int inq = -1;

	if (c && c->cmsg_level == IPPROTO_TCP && c->cmsg_type == TCP_INQ)
		memcpy(&inq, CMSG_DATA(c), sizeof(inq));
	t(name, "%s, %d more", rs(n), inq);
}

void async_inq(void)
{
	int fd = connected(S_ECHO), one = 1;
	char buf[100] = { 0 };

	t("TCP_INQ", "%s", rs(setsockopt(fd, IPPROTO_TCP, TCP_INQ, &one, sizeof(one))));
	send(fd, buf, sizeof(buf), MSG_NOSIGNAL);
	arrived(fd, (int)sizeof(buf));
	with_inq("TCP_INQ, of 100", fd, 40);
	with_inq("TCP_INQ, the rest", fd, 60);
	shutdown(fd, SHUT_WR);
	with_inq("TCP_INQ, the end", fd, 10);
	close(fd);
}
