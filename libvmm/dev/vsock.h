/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the vsock device (virtio 1.2, section 5.10); what others call is in dev/dev.h.
 *
 *   vsock.c       device record, connects from other threads, pause and stop
 *   vsock_conn.c  the table of connections, their fds, how they end
 *   vsock_rx.c    host -> guest: control packets, then data, into the guest's receive buffers
 *   vsock_tx.c    guest -> host: every packet checked, then acted upon
 *   vsock_save.c  save, load, reattach
 *
 * Everything but the inbox belongs to the owner loop. A connection is one of
 *
 *   PARKED       made by vsock_connect(), the guest has not knocked yet
 *   REQUESTED    OP_REQUEST is sent or about to be
 *   ESTABLISHED  after OP_RESPONSE; each direction ends for itself (rd_done, wr_done, shut_*)
 *   DRAIN        over for the guest, its last bytes still wait for the host's reader
 */
#ifndef KRUN_DEV_VSOCK_H
#define KRUN_DEV_VSOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "core/limits.h"
#include "dev/dev.h"
#include "dev/hostfd.h"
#include "virtio/vdev.h"
#include "virtio/vq.h"

#define VSOCK_ID       19
#define VSOCK_CID_HOST 2

enum vsock_queue {
	VSOCK_RX,
	VSOCK_TX,
	VSOCK_EVENT,
	VSOCK_QUEUES,
};

#define VSOCK_TYPE_STREAM 1

enum vsock_op {
	VSOCK_OP_INVALID,
	VSOCK_OP_REQUEST,
	VSOCK_OP_RESPONSE,
	VSOCK_OP_RST,
	VSOCK_OP_SHUTDOWN,
	VSOCK_OP_RW,
	VSOCK_OP_CREDIT_UPDATE,
	VSOCK_OP_CREDIT_REQUEST,
};

/* Flags of OP_SHUTDOWN: what the sender will not do any more */
#define VSOCK_SHUT_RCV	1
#define VSOCK_SHUT_SEND 2
#define VSOCK_SHUT_BOTH (VSOCK_SHUT_RCV | VSOCK_SHUT_SEND)

/* The packet header: 44 bytes, little-endian, in this order on the wire */
#define VSOCK_HDR_LEN 44

struct vsock_hdr {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

#define VSOCK_PORT_FIRST (1U << 20) /* host ports of connects */
#define VSOCK_PORT_LAST	 (1U << 30)

#define VSOCK_HASH	256
#define VSOCK_HDR_MAX	256	    /* bytes that vsock_connect() sends first */
#define VSOCK_TURN	(64U << 10) /* bytes of one connection before the next has its turn */
#define VSOCK_BATCH	256	    /* packets before the loop serves other devices */
#define VSOCK_ALLOC_MIN (16U << 10) /* credit that even the last of LIM_VSOCK_CONNS gets */

enum vsock_state {
	VSOCK_PARKED,
	VSOCK_REQUESTED,
	VSOCK_ESTABLISHED,
	VSOCK_DRAIN,
};

/* Control packets that a connection owes the guest, sent before data; RST is not among them, it
 * outlives its connection. */
#define VSOCK_CTL_REQUEST  1
#define VSOCK_CTL_CREDIT   2
#define VSOCK_CTL_SHUTDOWN 4 /* flags: shut_sent */

struct vsock;

struct vsock_conn {
	struct vsock *vs;
	LIST_ENTRY(vsock_conn) hash;
	TAILQ_ENTRY(vsock_conn) all, ctl_link, ready;
	bool entered, hashed, on_ctl, on_ready;

	uint32_t gport, hport;
	uint32_t id; /* survives save and load; 0: none */
	enum vsock_state state;
	bool lost; /* loaded and not yet reattached */
	uint32_t ctl;
	uint8_t shut_sent, shut_seen; /* VSOCK_SHUT_* of us, of the guest */

	/* host -> guest */
	struct hostfd rd;
	uint8_t hdr[VSOCK_HDR_MAX];
	uint32_t hdr_len, hdr_off;
	uint32_t peer_alloc, peer_fwd; /* as the guest last said */
	uint32_t tx_cnt;	       /* payload bytes sent, wraps */
	uint32_t turn;		       /* bytes left of its turn */
	bool rd_done;		       /* nothing more will be read */

	/* guest -> host */
	struct hostfd wr; /* not used when @same: then rd is both */
	bool same;
	struct hostbuf out;
	uint32_t alloc;	  /* credit given, reserved from LIM_VSOCK_BUF; constant */
	uint32_t rx_cnt;  /* payload bytes received, wraps */
	uint32_t fwd_cnt; /* of these: gone from here */
	uint32_t told;	  /* the fwd_cnt that the guest knows */
	bool wr_done;	  /* nothing more will be written */
	bool reported;	  /* its end was told on done_fd */
};

/* A reset that waits for a receive buffer. */
struct vsock_rst {
	uint32_t gport, hport;
};

TAILQ_HEAD(vsock_list, vsock_conn);
LIST_HEAD(vsock_bucket, vsock_conn);

struct vsock {
	struct vdev v;
	struct vsock_cfg cfg;

	struct vsock_bucket table[VSOCK_HASH];
	struct vsock_list all;	 /* every connection but those in the inbox */
	struct vsock_list ctl;	 /* those that owe a control packet */
	struct vsock_list ready; /* those whose turn to read it is, in order */
	unsigned nconns;	 /* atomic: inbox included */
	unsigned nall;		 /* entries of @all */
	uint64_t reserved;	 /* sum of alloc */
	uint64_t pending;	 /* atomic: bytes held for host readers */
	uint32_t next_port;
	bool knocked;
	bool tx_stopped; /* the RST queue was full */
	bool paused;
	bool loaded; /* lost connections have not been looked for yet */

	struct vsock_rst *rst; /* ring of LIM_VSOCK_CTRL, owned */
	unsigned rst_head, rst_n;

	pthread_mutex_t inbox_lock;
	struct vsock_list inbox; /* under inbox_lock */

	struct vq_req rx, tx; /* the chain in hand of each queue */
};

static inline struct vsock *vsock_of(struct vdev *v)
{
	return CONTAINER_OF(v, struct vsock, v);
}

/* True when queues and fds may be touched. */
static inline bool vsock_live(const struct vsock *vs)
{
	return vs->v.running && !vs->paused && !vdev_is_broken(&vs->v);
}

/* The fd that guest bytes go to. */
static inline struct hostfd *conn_wr(struct vsock_conn *c)
{
	return c->same ? &c->rd : &c->wr;
}

/* ---- vsock_conn.c ---- */

/* A connection that takes both fds (rfd == wfd: one), in no list yet. Any thread. NULL: no memory,
 * the fds are closed. */
struct vsock_conn *conn_new(struct vsock *vs, uint32_t gport, int rfd, int wfd);
/* Before a connection is in a list: gives it (other) fds. */
void conn_attach(struct vsock_conn *c, int rfd, int wfd);
/* Into the list of all and, but for DRAIN, the table. Reserves its credit unless it has some
 * (load). */
void conn_enter(struct vsock_conn *c);
/* A host port that no connection has. */
uint32_t conn_port(struct vsock *vs);
struct vsock_conn *conn_find(struct vsock *vs, uint32_t gport, uint32_t hport);
/* Out of every list, fds closed, memory freed; also one that was never entered. */
void conn_free(struct vsock_conn *c);

/* Payload bytes that the guest has room for. */
uint32_t conn_credit(const struct vsock_conn *c);
/* Makes what the loop watches agree with the state. Frees nothing. */
void conn_update(struct vsock_conn *c);
/* OP_RESPONSE came: both directions begin. */
void conn_established(struct vsock_conn *c);
/* In line for a turn of reading; the caller sees to conn_update() when the fd may be watched. */
void conn_ready(struct vsock_conn *c);
void conn_unready(struct vsock_conn *c);
/* Owes the guest @ctl. */
void conn_owe(struct vsock_conn *c, uint32_t ctl);
/* Bytes for the host's reader have gone (or will never go): notes it, and owes a credit update when
 * half the window is new. */
void conn_forward(struct vsock_conn *c, uint32_t n);

/* Sends the parked connection's request. */
void conn_request(struct vsock_conn *c);
/* There never was a reading side: nothing is sent, and the guest is not told that nothing will be.
 */
void conn_rd_none(struct vsock_conn *c);
/* End of file on the host's side: half-closes towards the guest. */
void conn_rd_eof(struct vsock_conn *c);
/* The host's reader is gone: the guest must not send any more, what is held is dropped. */
void conn_wr_dead(struct vsock_conn *c);
/* The guest said OP_SHUTDOWN. May free @c. */
void conn_guest_shut(struct vsock_conn *c, uint8_t flags);
/* Tells the owner of a named stream, once, that no more will be written to its wfd. */
void conn_report(struct vsock_conn *c, int error);
/* Over for the guest: frees @c, or leaves it draining. */
void conn_detach(struct vsock_conn *c);
/* The same with an RST to the guest. */
void conn_reset(struct vsock_conn *c);
/* Writes held bytes. May free @c. */
void conn_drain(struct vsock_conn *c);

/* Queues an RST; without room there is none, and the guest gets its RST when it next sends on that
 * connection. */
void vsock_send_rst(struct vsock *vs, uint32_t gport, uint32_t hport);

static inline bool vsock_rst_full(const struct vsock *vs)
{
	return vs->rst_n == LIM_VSOCK_CTRL;
}

/* ---- vsock_rx.c, vsock_tx.c ---- */

/* Sends what there is to send and fits. Frees no connection. */
void vsock_rx_run(struct vsock *vs);
/* Takes packets of the guest, then vsock_rx_run(). May free connections. */
void vsock_tx_run(struct vsock *vs);

/* ---- vsock.c ---- */

/* Connections from other threads become ours, parked. */
void vsock_inbox(struct vsock *vs);
/* Requests every parked connection that may be tried. */
void vsock_unpark(struct vsock *vs);

/* ---- vsock_save.c ---- */

void vsock_save(struct vdev *v, struct save_out *s);
int vsock_load(struct vdev *v, struct save_in *s);

#endif
