// SPDX-License-Identifier: Apache-2.0
// What the socket multiplexer costs without a VM: bytes per second of one TCP stream through the
// vsock device and TSI, each way, beside the same bytes by plain loopback.
/*
 * How it works
 *
 * The fake driver is the guest, on this thread together with the device's loop; the peer is a TCP
 * socket over loopback that another thread reads or writes. So one row is: guest memory, one system
 * call of the device, loopback, the peer. The baseline is the same two threads with the same sizes
 * of buffers and no device. The guest's side of each figure includes one copy by the driver, as
 * every driver makes one. Prints "NAME<tab>MiB/s", one row a line.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dev/vsock.h"
#include "fake/fake_tsi.h"

#define TOTAL (1ULL << 30)
#define CHUNK (64U << 10)

static struct ft t;
static const struct vsock_net net;
static uint8_t bytes[CHUNK];

struct peer {
	int fd;
	bool reads;
	uint64_t n;
};

static void *peer_main(void *arg)
{
	static uint8_t mine[CHUNK];
	struct peer *p = arg;

	for (p->n = 0; p->n < TOTAL;) {
		ssize_t r = p->reads ? recv(p->fd, mine, CHUNK, 0) : send(p->fd, mine, CHUNK, 0);

		if (r <= 0)
			break;
		(void)__atomic_add_fetch(&p->n, (uint64_t)r, __ATOMIC_RELAXED);
	}
	return NULL;
}

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void row(const char *name, double seconds)
{
	printf("%s\t%.0f\n", name, (double)TOTAL / (1 << 20) / seconds);
	(void)fflush(stdout);
}

static int listen_at(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) || listen(fd, 8) ||
		getsockname(fd, (struct sockaddr *)&a, &len))
		abort();
	*port = ntohs(a.sin_port);
	return fd;
}

static void plain(const char *name, bool out)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct peer p = { .reads = out };
	uint64_t n = 0;
	uint16_t port;
	int l = listen_at(&port), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pthread_t th;
	double t0;

	a.sin_port = htons(port);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		abort();
	p.fd = accept(l, NULL, NULL);
	t0 = now();
	if (pthread_create(&th, NULL, peer_main, &p))
		abort();
	while (n < TOTAL) {
		ssize_t r = out ? send(fd, bytes, CHUNK, 0) : recv(fd, bytes, CHUNK, 0);

		if (r <= 0)
			abort();
		n += (uint64_t)r;
	}
	(void)pthread_join(th, NULL);
	row(name, now() - t0);
	(void)close(p.fd);
	(void)close(fd);
	(void)close(l);
}

static struct ft_conn *connect_guest(int l, uint16_t port, int *fd)
{
	struct tsi_msg m = ft_msg(TSI_OPEN, 1, TSI_INET, TSI_TCP, 0);
	struct ft_conn *c;
	uint32_t seq;

	if (ft_up(&t, &net, NULL, 0) || !ft_hello(&t) || ft_ask(&t, &m))
		abort();
	m = ft_msg(TSI_CONNECT, 1, 5000, 0, 0);
	m.a = ft_in4(INADDR_LOOPBACK, port);
	seq = ft_send(&t, &m);
	c = ft_dial(&t, VSOCK_TYPE_STREAM, 5000, TSI_DATA_PORT);
	if (ft_answer(&t, seq, &m))
		abort();
	*fd = accept(l, NULL, NULL);
	return c;
}

static bool all_came(struct ft *f, void *arg)
{
	(void)f;
	return ((struct ft_conn *)arg)->rx_bytes >= TOTAL;
}

static void through(const char *name, bool out, unsigned rx_buf)
{
	struct peer p = { .reads = out };
	uint16_t port;
	int l = listen_at(&port);
	struct ft_conn *c;
	pthread_t th;
	double t0;

	t.f.rx_buf = rx_buf;
	c = connect_guest(l, port, &p.fd);
	c->discard = true;
	t0 = now();
	if (pthread_create(&th, NULL, peer_main, &p))
		abort();
	if (out) {
		for (uint64_t n = 0; n < TOTAL; n += CHUNK) {
			if (!ft_write(&t, c, bytes, CHUNK))
				abort();
		}
	} else {
		while (!all_came(&t, c)) {
			if (!fv_step(&t.f))
				(void)loop_once(t.f.loop, 10);
		}
	}
	while (out && __atomic_load_n(&p.n, __ATOMIC_RELAXED) < TOTAL)
		(void)loop_once(t.f.loop, 1);
	(void)pthread_join(th, NULL);
	row(name, now() - t0);
	(void)close(p.fd);
	(void)close(l);
	ft_down(&t);
}

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	plain("loopback, 64 KiB", true);
	through("muxer, guest to host", true, CHUNK);
	through("muxer, host to guest, 64 KiB buffers", false, CHUNK);
	through("muxer, host to guest, 4 KiB buffers", false, FV_RX_BUF);
	return 0;
}
