/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that has TSI: connections of its own to the host, the records of our protocol, the
 * datagrams of libkrun's. Written from init/proto/tsi.h and the description of libkrun's wire, not
 * from our host half.
 *
 * On the test's thread, over fake_vsock. What comes is kept; a test looks at it when ft_until() has
 * seen what it waits for.
 */
#ifndef KRUN_TESTS_FAKE_TSI_H
#define KRUN_TESTS_FAKE_TSI_H

#include "fake/fake_vsock.h"
#include "init/proto/tsi.h"

#define FT_CONNS   2048
#define FT_RECORDS 8192
#define FT_MSGS	   64
#define FT_DGRAMS  64
#define FT_HOST(c) (!(c)->mine)

/* A connection: of the guest to the host, or of the host to TSI_DATA_PORT or a port of libkrun's.
 */
struct ft_conn {
	bool used, mine, up, reset, no_read, discard;
	uint16_t type;
	uint32_t gport, hport, shut;
	uint32_t tx_cnt, rx_cnt, fwd_cnt, told, alloc, peer_alloc, peer_fwd;
	uint64_t rx_bytes;
	uint8_t *rx; /* all that came, unless @discard */
	size_t nrx, cap;
	size_t end[FT_MSGS]; /* SEQPACKET: where messages end in rx */
	unsigned nmsgs;
	unsigned order; /* when it came, in the order of everything that came */
	unsigned reset_order;
};

struct ft_dgram {
	struct fv_pkt p;
	uint8_t data[2048];
};

struct ft {
	struct fv f;
	struct ft_conn c[FT_CONNS];
	struct ft_conn *ctl;
	struct tsi_msg rec[FT_RECORDS]; /* records of the host, in order */
	unsigned rec_order[FT_RECORDS];
	unsigned nrec, order;
	uint32_t seq;
	bool refuse; /* connections of the host are answered by RST */
	struct ft_dgram dg[FT_DGRAMS];
	unsigned ndg;
	bool bad;
};

/* A network namespace with nothing but its loopback: nobody else takes a port that was just given
 * back. False where it is refused; then the one that there is stays. */
bool ft_own_net(void);
/* Something is there to be read, or comes in time. */
bool ft_readable(int fd);

/* The device with @net (NULL: no TSI) and @ports. */
int ft_up(
	struct ft *t, const struct vsock_net *net, const struct vsock_port *ports, unsigned nports);
void ft_down(struct ft *t);
/* Runs everything until @cond holds; false after FAKE_TIMEOUT_MS. */
bool ft_until(struct ft *t, bool (*cond)(struct ft *t, void *arg), void *arg);
void ft_settle(struct ft *t);

struct ft_conn *ft_dial(struct ft *t, uint16_t type, uint32_t gport, uint32_t hport);
struct ft_conn *ft_conn(struct ft *t, uint32_t gport, uint32_t hport);
/* Payload within credit; SEQPACKET: one message, in packets of 64 KiB. Waits for room. */
bool ft_write(struct ft *t, struct ft_conn *c, const void *p, size_t n);
bool ft_op(struct ft *t, struct ft_conn *c, uint16_t op, uint32_t flags);

/* Control connection and HELLO. */
bool ft_hello(struct ft *t);
/* Queues a record with a new seq, or without; returns the seq. */
uint32_t ft_send(struct ft *t, struct tsi_msg *m);
/* Sends it and waits for the answer, which replaces it; returns the status, or 1 when none comes.
 */
int ft_ask(struct ft *t, struct tsi_msg *m);
int ft_answer(struct ft *t, uint32_t seq, struct tsi_msg *m);
/* Waits for an event of this type and id; index in rec, or -1. */
int ft_event(struct ft *t, uint16_t type, uint32_t id);
struct tsi_msg ft_msg(uint16_t type, uint32_t id, uint32_t a0, uint32_t a1, uint32_t a2);
struct tsi_addr ft_in4(uint32_t ip, uint16_t port);
uint16_t ft_port(const struct tsi_addr *a);

/* libkrun's: a request; the answer of that port, at least @n bytes, or NULL. */
bool ft_krun(struct ft *t, uint32_t op, uint32_t from, const void *p, unsigned n);
const struct ft_dgram *ft_krun_answer(struct ft *t, uint32_t op, uint32_t to, unsigned n);

#endif
