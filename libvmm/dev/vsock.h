/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the vsock device (virtio 1.2, section 5.10); what others call is in dev/dev.h.
 *
 *   vsock.c       device record, connects from other threads, pause and stop
 *   vsock_conn.c  the table of connections
 *   vsock_end.c   their fds: what is watched, how each direction begins and ends
 *   vsock_rx.c    host -> guest: control packets, then data, into the guest's receive buffers
 *   vsock_tx.c    guest -> host: every packet checked, then acted upon
 *   vsock_msg.c   SEQPACKET: messages whole, in both directions
 *   vsock_map.c   ports that are mapped to unix sockets of the host
 *   vsock_save.c  save, load, reattach
 *   vsock_tsi*    sockets of the guest that are the host's: dev/vsock_tsi.h
 *
 * Everything but the inbox belongs to the owner loop. A connection is one of
 *
 *   PARKED       made by vsock_connect(), the guest has not knocked yet
 *   REQUESTED    OP_REQUEST is sent or about to be
 *   ESTABLISHED  after OP_RESPONSE; each direction ends for itself (rd_done, wr_done, shut_*)
 *   DRAIN        over for the guest, its last bytes still wait for the host's reader
 *
 * The host opens connections by vsock_connect() and for what connects to it; the guest opens some
 * by OP_REQUEST, and only to ports that vsock_map.c or TSI know. Nothing that the guest opened is
 * ever taken for a stream that vsock_connect() made: those have host ports of their own range.
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

enum vsock_type {
	VSOCK_TYPE_STREAM = 1,
	VSOCK_TYPE_SEQPACKET = 2,
	VSOCK_TYPE_DGRAM = 3, /* libkrun's */
};

#define VSOCK_F_SEQPACKET (1ULL << 1)
#define VSOCK_F_DGRAM	  (1ULL << 3) /* libkrun's */

/* Flags of OP_RW, SEQPACKET: the last packet of a message, of a record */
#define VSOCK_SEQ_EOM 1
#define VSOCK_SEQ_EOR 2

#define VSOCK_EVENT_RESET 0 /* what is in the event queue: all connections are gone */

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

#define VSOCK_HASH	512
#define VSOCK_HDR_MAX	256	     /* bytes that vsock_connect() sends first */
#define VSOCK_TURN	(64U << 10)  /* bytes of one connection before the next has its turn */
#define VSOCK_TURN_END	(4U << 10)   /* what is left of a turn that is not worth a buffer */
#define VSOCK_BATCH	256	     /* packets before the loop serves other devices */
#define VSOCK_ALLOC_MIN (8U << 10)   /* credit that even the last of LIM_VSOCK_CONNS gets */
#define VSOCK_MSG_ALLOC (128U << 10) /* credit of datagram sockets; LIM_TSI_DGRAMS bounds it */
#define VSOCK_AGAIN_MS	100	     /* until what the host had nothing for is tried again */
#define VSOCK_DGRAM_HDR 64U	     /* before each datagram of TSI */
#define VSOCK_MSG_MAX	(65535U + VSOCK_DGRAM_HDR) /* bytes of one message */

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
#define VSOCK_CTL_RESPONSE 8
#define VSOCK_CTL_ALL	   15U

struct vsock;
struct vsock_conn;
struct tsi;

/* What is different about a connection that is not just fds. Each may be NULL. On the owner loop.
 */
struct conn_ops {
	/*
	 * Payload of the guest, @len bytes at @rd, all of which is taken (with conn_forward(), now
	 * or later). -errno: the connection is reset. Must not free it.
	 */
	int (*take)(struct vsock_conn *c, struct iobuf *rd, uint32_t len, uint32_t flags);
	/* Payload for the guest, at most @max bytes, into @b. Bytes; -EAGAIN: none now,
	 * conn_ready() or the fd will tell; 0: end of file; -EFAULT; another -errno. Must not free
	 * it. */
	ssize_t (*give)(struct vsock_conn *c, struct iobuf *b, size_t max, uint32_t *flags);
	/* SEQPACKET, of vsock_msg.c: one whole message to the fd: 0, -EAGAIN, -errno. */
	int (*send)(struct vsock_conn *c, struct iobuf *m);
	/* SEQPACKET: the next message of the fd into @b, and behind it into @tail (VSOCK_MSG_MAX
	 * bytes). As give. */
	ssize_t (*recv)(struct vsock_conn *c, struct iobuf *b, uint8_t *tail);
	/* SEQPACKET with @datagram: an error of the fd that is not its end; may be NULL. */
	void (*soft)(struct vsock_conn *c, int error);
	/* OP_RESPONSE came. */
	void (*up)(struct vsock_conn *c);
	/* The fd failed by conn_fail(), from a place where @c may be freed. Must end it. */
	void (*failed)(struct vsock_conn *c, int error);
	/* It is out of the table: no packet of the guest comes any more. */
	void (*gone)(struct vsock_conn *c);
};

/* A message on its way to a host fd that is full, or not whole yet. */
struct vsock_msg {
	STAILQ_ENTRY(vsock_msg) link;
	uint32_t len;
	uint8_t data[];
};
STAILQ_HEAD(vsock_msgs, vsock_msg);

struct vsock_conn {
	struct vsock *vs;
	LIST_ENTRY(vsock_conn) hash;
	TAILQ_ENTRY(vsock_conn) all, ctl_link, ready, fail;
	bool entered, hashed, on_ctl, on_ready, on_fail;
	const struct conn_ops *ops; /* NULL: fds and no more */
	void *arg;		    /* of ops */

	uint8_t tries; /* of vsock_map.c, to connect @rd; 0: it is connected */
	uint32_t gport, hport;
	uint32_t id; /* survives save and load; 0: none */
	enum vsock_state state;
	uint8_t type;  /* enum vsock_type */
	bool guest;    /* counts towards LIM_VSOCK_GUEST */
	bool waits;    /* ESTABLISHED, and its fd is still to come: no payload either way */
	bool datagram; /* what cannot be held may be dropped */
	bool keep;     /* the fd stays open until the end, both directions being over */
	bool lost;     /* loaded and not yet reattached */
	uint32_t ctl;
	uint8_t shut_sent, shut_seen; /* VSOCK_SHUT_* of us, of the guest */

	/* host -> guest */
	struct hostfd rd;
	uint8_t hdr[VSOCK_HDR_MAX];
	uint32_t hdr_len, hdr_off;
	uint32_t peer_alloc, peer_fwd; /* as the guest last said */
	uint32_t tx_cnt;	       /* payload bytes sent, wraps */
	uint32_t turn;		       /* bytes left of its turn */
	uint32_t need;		       /* credit that the next message takes; 0: any */
	struct vsock_msg *tail;	       /* the rest of a message whose beginning is sent */
	uint32_t tail_off;
	int error;    /* of the fd: conn_fail(), or what follows when there is no more to read */
	bool rd_done; /* nothing more will be read */

	/* guest -> host */
	struct hostfd wr; /* not used when @same: then rd is both */
	bool same;
	struct hostbuf out;
	struct vsock_msgs msgs; /* SEQPACKET: whole ones */
	unsigned nmsgs;
	struct vsock_msg *partial;
	bool skip;	  /* until the end of a message that was dropped */
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
	uint8_t type;
};

TAILQ_HEAD(vsock_list, vsock_conn);
LIST_HEAD(vsock_bucket, vsock_conn);

struct vsock {
	struct vdev v;
	struct vsock_cfg cfg;

	struct vsock_bucket table[VSOCK_HASH];
	struct vsock_list all;	     /* every connection but those in the inbox */
	struct vsock_list ctl;	     /* those that owe a control packet */
	struct vsock_list ready;     /* those whose turn to read it is, in order */
	struct vsock_list fail;	     /* those whose fd failed */
	unsigned nconns;	     /* atomic: inbox included */
	unsigned nall;		     /* entries of @all */
	unsigned nguest;	     /* of these: guest */
	uint64_t msg_bytes;	     /* held in messages of datagram connections, and in tails */
	uint8_t *tail;		     /* VSOCK_MSG_MAX bytes, for vsock_msg.c; owned */
	struct tsi *tsi;	     /* owned; NULL: none */
	struct vsock_listen *listen; /* sockets whose connections go to guest ports; owned */
	unsigned nlisten;
	bool again_set;	   /* vsock_again() is coming */
	bool tries_wait;   /* connections have @tries */
	bool listens_wait; /* listeners take nothing until vsock_freed() */
	bool event_owed;   /* a transport reset */
	uint64_t reserved; /* sum of alloc */
	uint64_t pending;  /* atomic: bytes held for host readers */
	uint32_t next_port;
	bool knocked;
	bool tx_stopped; /* the RST queue was full */
	bool paused;
	bool loaded; /* lost connections have not been looked for yet */

	struct loop_src again; /* a timer, its fd owned; -1: nobody needs one */

	struct vsock_rst *rst; /* ring of LIM_VSOCK_CTRL, owned */
	unsigned rst_head, rst_n;

	pthread_mutex_t inbox_lock;
	struct vsock_list inbox; /* under inbox_lock */

	struct vq_req rx, tx; /* the chain in hand of each queue */
};

/* A unix socket of the host that listens for connections to a guest port. */
struct vsock_listen {
	struct vsock *vs;
	struct loop_src src; /* fd owned */
	uint32_t port;
	bool watched;
	bool starved; /* the host had no descriptor or memory for a connection */
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

/* Bytes or messages of the guest that wait for the fd. */
static inline bool conn_held(const struct vsock_conn *c)
{
	return c->out.len || c->nmsgs;
}

/* Whether one more connection of the guest, or for it, may be. */
static inline bool vsock_has_room(const struct vsock *vs)
{
	return vs->nguest < LIM_VSOCK_GUEST && vs->nall < LIM_VSOCK_CONNS;
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
/*
 * A connection that the guest asked for by @h, ESTABLISHED; or one to the guest's @gport from a new
 * host port. No fds, @waits; the caller sets what is special, enters it, and owes RESPONSE, or
 * calls conn_request(). NULL: no memory or too many.
 */
struct vsock_conn *conn_accept(struct vsock *vs, const struct vsock_hdr *h);
struct vsock_conn *conn_dial(struct vsock *vs, uint32_t gport);
/* A host port that no connection has. */
uint32_t conn_port(struct vsock *vs);
struct vsock_conn *conn_find(struct vsock *vs, uint32_t gport, uint32_t hport);
/* Out of everything that concerns the guest; what is held for the fd is dropped. */
void conn_unlink(struct vsock_conn *c);
void conn_drop_out(struct vsock_conn *c);
/* Out of every list, fds closed, memory freed; also one that was never entered. */
void conn_free(struct vsock_conn *c);
/* There is room for one more: listeners that wait for it look again, from the loop. */
void vsock_freed(struct vsock *vs);

/* ---- vsock_end.c ---- */

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
 * the guest should know. */
void conn_forward(struct vsock_conn *c, uint32_t n);

/* Sends the parked connection's request. */
void conn_request(struct vsock_conn *c);
/* An accepted or dialled connection gets its fd (taken over), and payload begins to flow. */
void conn_begin(struct vsock_conn *c, int fd);
/* The fd failed: ops->failed follows soon, from the loop. */
void conn_fail(struct vsock_conn *c, int error);
/* Writing to the fd failed: no more is written, and what the peer had sent before is still read.
 * Then it is conn_fail(). For connections that have ops->failed. */
void conn_wr_fail(struct vsock_conn *c, int error);
/* Calls them. May free connections. */
void vsock_failed(struct vsock *vs);
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
void vsock_send_rst(struct vsock *vs, uint8_t type, uint32_t gport, uint32_t hport);

static inline bool vsock_rst_full(const struct vsock *vs)
{
	return vs->rst_n == LIM_VSOCK_CTRL;
}

/* ---- vsock_rx.c, vsock_tx.c ---- */

/* Sends what there is to send and fits. Frees no connection. */
void vsock_rx_run(struct vsock *vs);
/* Takes packets of the guest, then vsock_rx_run(). May free connections. */
void vsock_tx_run(struct vsock *vs);

/* ---- vsock_msg.c ---- */

/* The take and give of SEQPACKET connections. */
int vmsg_take(struct vsock_conn *c, struct iobuf *rd, uint32_t len, uint32_t flags);
ssize_t vmsg_give(struct vsock_conn *c, struct iobuf *b, size_t max, uint32_t *flags);
/* Sends held messages: 0, -EAGAIN, -errno. */
int vmsg_drain(struct vsock_conn *c);
void vmsg_drop(struct vsock_conn *c);
/* The rest of a message whose beginning is given: 0, -ENOMEM, -ENOSPC. */
int vmsg_keep_tail(struct vsock_conn *c, const uint8_t *p, size_t n);
void vmsg_drop_tail(struct vsock_conn *c);

/* ---- vsock_map.c ---- */

/* Takes over the listening sockets of vs->cfg. 0 or -ENOMEM. */
int vsock_map_init(struct vsock *vs);
void vsock_map_fini(struct vsock *vs);
/* Takes connections for guest ports while the device is live and has room for them; @on false: not.
 */
void vsock_map_watch(struct vsock *vs, bool on);
/* From the loop, with nothing else in hand: does what had to wait; _retry() after vsock_again()
 * only, and it may free connections. */
void vsock_map_turn(struct vsock *vs);
void vsock_map_retry(struct vsock *vs);
/* A REQUEST of the guest: true when the port is mapped, and the connection stands or is refused. */
bool vsock_map_request(struct vsock *vs, const struct vsock_hdr *h);

/* ---- vsock.c ---- */

/* Connections from other threads become ours, parked. */
void vsock_inbox(struct vsock *vs);
/* Requests every parked connection that may be tried. */
void vsock_unpark(struct vsock *vs);

/* In VSOCK_AGAIN_MS, unless that is coming already: vsock_map_retry(), and the device is kicked.
 * The host had no descriptor or memory, and nothing of the guest's will tell when it has. */
void vsock_again(struct vsock *vs);

/* ---- vsock_save.c ---- */

void vsock_save(struct vdev *v, struct save_out *s);
int vsock_load(struct vdev *v, struct save_in *s);
/* The fields of one connection. Loading neither checks nor enters it. */
void conn_save(const struct vsock_conn *c, struct save_out *s);
void conn_load(struct vsock_conn *c, struct save_in *s);
/* Its counters agree with each other; @held bytes of the guest are not forwarded yet. */
bool conn_counts(const struct vsock_conn *c, uint32_t held);

#endif
