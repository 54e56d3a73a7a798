/* SPDX-License-Identifier: Apache-2.0 */
/* What the conformance program of sockets and its peer share. */
#ifndef KRUN_TESTS_CONFORM_H
#define KRUN_TESTS_CONFORM_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_MS	     20000
#define SOURCE_BYTES 300000

/* Services of the peer, by their distance from the base port. */
enum {
	S_CONTROL,
	S_ECHO,
	S_DISCARD, /* reads to the end, says what it has got, closes */
	S_REPORT,  /* the same; what it got is told by the control connection */
	S_SOURCE,  /* SOURCE_BYTES, then the end */
	S_RESET,   /* a byte, then an RST */
	S_STUCK,   /* never reads */
	S_GREET,   /* five bytes, then as S_REPORT */
	S_GATE,	   /* reads when the control connection says so */
	S_FULL,	   /* its backlog is full: no SYN is answered */
	S_UDP_ECHO,
	S_UDP_PORT, /* answers the sender's port */
	S_UDP_SINK, /* answers nothing; may be flooded */
	S_END,
	S_CLOSED = 40, /* nobody is there */
};

/* ---- conform.c: the trace, addresses, what cases share ---- */

enum family {
	F4,
	F6,
	FM
};

/* The family that the cases are run with, the peer's base port. */
extern enum family fam;
extern int base;
extern unsigned cases;

void t(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *rs(long r);
const char *bits(int r);
int family(void);
socklen_t addr(struct sockaddr_storage *ss, const char *v4, const char *v6, int port);
int port_of(const struct sockaddr_storage *ss);
const char *ip_of(const struct sockaddr_storage *ss);
const char *name_of(int fd, int peer);
int local_port(int fd);
int xsocket(int type);
int xconnect_to(int fd, int port);
int connected(int service);
int bound(int type, const char *v4, const char *v6, int port);
int ready(int fd, int events);
int polled(int fd);
void arrived(int fd, int n); /* conform_wait.c: until so much can be read */
int so_error(int fd);
const char *en(int e);
void nonblock(int fd);
void timeouts(int fd, int ms);
void ask(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *told(void);
void connect_error(const char *what, int type, const char *v4, const char *v6, int port);

/* ---- the cases ---- */

void tcp_echo(void);
void tcp_iov(void);
void tcp_half_close(void);
void tcp_peer_closes(void);
void tcp_shut_rd(void);
void tcp_reset(void);
void tcp_refused(void);
void tcp_nonblock(void);
void tcp_fresh(void);
void tcp_errors(void);
void tcp_disconnect(void);
void tcp_how_it_ends(void);
void tcp_memory(void);
void tcp_volume(void);
void tcp_server_states(void);
void tcp_server_peer(void);
void tcp_local(void);
void tcp_reuse(void);
void tcp_servers(void);
void tcp_descriptors(void);
void tcp_epoll(void);
void tcp_select(void);
void tcp_sigpipe(void);
void tcp_options(void);
void tcp_dual(void);
void wait_signals(void);
void wait_shutdown(void);
void wait_amounts(void);
void wait_room(void);
void async_uring(void);
void async_signals(void);
void async_lowat(void);
void async_inq(void);
void udp_bursts(void);
void udp_unconnected(void);
void udp_connected(void);
void udp_server(void);
void udp_sizes(void);
void udp_many(void);
void udp_errors(void);
void level(void);
void passing(void);
void ping(void);
void refused(void);
void unix_sockets(void);
void kinds(void);
void rights(void);

#endif
