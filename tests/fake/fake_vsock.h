/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's half of vsock for tests: packets, credit and port numbers as a driver keeps them
 * (virtio 1.2, section 5.10).
 *
 * Everything runs on the test's thread: fv_step() runs the device's loop once, takes in what it
 * sent and gives the buffers back. Stream content is a function of the position, so that both ends
 * can be checked without being stored.
 */
#ifndef KRUN_TESTS_FAKE_VSOCK_H
#define KRUN_TESTS_FAKE_VSOCK_H

#include "dev/dev.h"
#include "fake/fake_guest.h"

#define FV_CID	    3
#define FV_KNOCK    1023
#define FV_MAX	    2200
#define FV_PORT0    (1U << 20) /* the first port that the host uses */
#define FV_RX_BUF   4096       /* the stock driver's; fv.rx_buf has another */
#define FV_RX_MAX   (64U << 10)
#define FV_TX_BUF   (64U << 10)
#define FV_FEATURES (~(1ULL << 28)) /* indirect tables would use up the allocator */

enum {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT,
	OP_CREDIT_REQ
};

struct fv_pkt {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

struct fv_conn {
	uint32_t gport, hport;
	bool open, reset;
	uint32_t shut;	/* flags of the host's SHUTDOWN */
	uint32_t alloc; /* our window */
	uint32_t tx_cnt, rx_cnt, fwd_cnt, told;
	uint32_t peer_alloc, peer_fwd;
	uint64_t rx_bytes, tx_bytes;
	bool bad;      /* received bytes that are not the pattern's, or beyond our credit */
	bool no_read;  /* keeps what comes in its window: no credit updates */
	uint64_t skip; /* bytes of a stream header before the pattern */
	uint8_t head[256];
};

struct fv {
	struct fake_guest g;
	struct fake_dev d;
	struct loop *loop;
	struct vdev *v;
	bool keep;   /* fv_down() keeps the guest's memory for the next fv_up() (fuzzing: it is what
			costs) */
	bool accept; /* answer REQUEST by RESPONSE, else by RST */
	bool no_refill;	     /* keep receive buffers */
	unsigned nrx;	     /* receive buffers posted */
	uint64_t *rx_gpa;    /* by head */
	uint64_t tx_gpa[64]; /* pool */
	unsigned tx_free[64], ntx_free;
	uint64_t *tx_of;	     /* by head: pool index */
	struct fv_conn conn[FV_MAX]; /* by hport - FV_PORT0 */
	uint64_t ops[8];	     /* packets received, by operation */
	uint64_t stray_rst;	     /* RSTs for no connection of ours */
	struct fv_pkt last_rst;
	/* kept by fv_up(): what the device is made with */
	const struct vsock_net *net;
	const struct vsock_port *ports;
	unsigned nports;
	/* Sees every packet first; true: it was for it. Kept by fv_up(). */
	unsigned rx_buf; /* bytes of a receive buffer, kept by fv_up(); 0: FV_RX_BUF */
	bool (*raw)(struct fv *f, const struct fv_pkt *p, const uint8_t *data);
	bool bad;     /* a packet that no correct device sends */
	bool damaged; /* a damaged state was loaded: where the rings are, and how far, is what it
			 says, and what a driver reaps from its own is anything */
};

/* Device, driver and @nbufs receive buffers; @knock: its knock port is FV_KNOCK. 0 or -errno. */
int fv_up(struct fv *f, bool knock, unsigned nbufs);
void fv_down(struct fv *f);
/* Posts receive buffers until @n are out. */
void fv_post(struct fv *f, unsigned n);
/* One round; true when anything moved. */
bool fv_step(struct fv *f);
/* Rounds until nothing moves for a few. */
void fv_settle(struct fv *f);

/* A packet of any content. @data may be longer or shorter than p->len says. False when the ring is
 * full. */
bool fv_send(struct fv *f, const struct fv_pkt *p, const void *data, unsigned n);
/* A packet of connection @c with its true credit. */
bool fv_op(struct fv *f, struct fv_conn *c, uint16_t op, uint32_t flags);
/* Sends the next bytes of the pattern within the host's credit, at most @n; returns how many. */
unsigned fv_write(struct fv *f, struct fv_conn *c, unsigned n);
uint32_t fv_credit(const struct fv_conn *c);

/* The pattern. @seed tells the directions apart. */
uint8_t fv_byte(uint64_t pos, unsigned seed);
void fv_fill(uint8_t *p, size_t n, uint64_t pos, unsigned seed);
bool fv_check(const uint8_t *p, size_t n, uint64_t pos, unsigned seed);

#define FV_TO_GUEST 1
#define FV_TO_HOST  2

#endif
