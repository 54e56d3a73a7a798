/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of the guest half of TSI. The rule and the protocol are docs/networking.md and tsi.h.
 *
 *   ctl.c     the control connection: setting up, records out, answers in, its end
 *   event.c   what the host says by itself: ACCEPTED, ERROR, the outcome of a CONNECT
 *   conn.c    data connections, sockets of vsock in the kernel, and whom they wake
 *   addr.c    addresses, and the rule that says what stays in the guest
 *   sock.c    what all kinds share: making, bind, names, release
 *   opts.c    socket options
 *   stream.c  TCP: connect, send, receive, poll, shutdown
 *   accept.c  TCP: listen and accept
 *   dgram.c   UDP and ICMP echo
 *
 * A program's socket stays what it was, a struct socket with a native struct sock; only its proto_ops
 * are ours, and socket->tsi is the struct tsi_sock beside it. So options, SO_ERROR (sk_err), time
 * limits, signals and the wait queue are the native sock's: whatever happens on the host's side wakes
 * that one queue, and poll has one place to wait.
 *
 * Contexts. Programs call in process context. What comes from the host is handled on the work item of
 * the vsock driver that empties the receive queue, packet by packet, with the lock of the packet's
 * vsock socket held: it may sleep for memory, and must not wait for the host (tsi_ctl_post() there, not
 * tsi_ctl_send()), nor take tsi_sock.cfg. As records are handled there at once, what the protocol
 * promises about the order in the receive queue is true for us without more.
 *
 * Locks, outer first: tsi_sock.cfg or tsi_sock.tx, ctl.tx, lock_sock() of a native or vsock socket, the lock of a
 * vsock socket's callbacks, tsi_sock.lock.
 */
#ifndef KRUN_TSI_GUEST_H
#define KRUN_TSI_GUEST_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/net.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <net/af_vsock.h>
#include <net/sock.h>

#include "tsi.h"

#define TSI_STREAM_BUF	(256U << 10)	/* what a connection may hold that the program has not read */
/* What may lie there, all credit being used, however the program reads: credit comes back when half of the buffer has been used up
 * packet by packet, and a packet of 64 KiB may be read in part. */
#define TSI_SURE	(TSI_STREAM_BUF / 4)
#define TSI_DGRAM_BUF	(256U << 10)	/* a message of the host's has at most 65,599 bytes */
#define TSI_PORT_TRIES	16		/* a port that the host chose and that is taken in the guest */
#define TSI_OPT_BYTES	16		/* the longest value of an option that the host is told, or that is judged */
#define TSI_ROUTES	16		/* destinations remembered as reachable; a power of two */

enum tsi_state {
	TSI_S_CLOSE,
	TSI_S_CONNECTING,
	TSI_S_ESTABLISHED,
	TSI_S_LISTEN,
};

enum {
	TSI_NOSPACE,	/* somebody wants to know when there is room to send */
};

/* A data connection. */
struct tsi_conn {
	struct kref ref;
	struct socket *vs;
	u32 port;		/* ours, or for accepted ones the host's */
};

struct tsi_sock {
	refcount_t ref;			/* the program's socket, the table of ids, who works on it */
	struct rcu_head rcu;
	struct sock *sk;		/* held; NULL: a connection that nobody has accepted yet */
	const struct proto_ops *native;
	u8 kind;			/* enum tsi_kind */
	bool v6;
	struct mutex cfg;		/* one bind, connect, listen, ... at a time */
	struct mutex tx;		/* datagrams: one sender at a time */

	/* Under cfg. */
	bool bound;			/* by the program: made again with the host's socket */
	bool only;			/* bound natively only: the port is not published */
	struct tsi_addr asked;		/* ... with this address, of which the port is known */
	bool opening;			/* the host was told of it with the connect that is under way */
	u32 backlog, window, taken;
	u32 gen;			/* the control connection that knows @id, or the stream */

	spinlock_t lock;		/* what follows; written by the receive work too */
	u32 id;				/* on the host; 0: none */
	u8 state;			/* enum tsi_state, of the host's side of a stream */
	u8 shut;			/* RCV_SHUTDOWN, SEND_SHUTDOWN */
	bool nat;			/* connected natively; written under cfg */
	bool ended;			/* the program has closed it */
	u32 connect_seq;
	struct tsi_addr local, peer;	/* TSI_NONE: not known, not there */
	struct tsi_conn *conn;
	struct list_head queue;		/* of a listener: connections to accept */
	int err;			/* of one without a native socket */

	struct list_head link;		/* in a listener's queue */
	u32 listener;			/* whose queue that is, by its id of then */
	unsigned long flags;		/* TSI_NOSPACE */
	struct sk_buff *part;		/* a message of which more packets come; on the receive work only */
	u32 part_port;			/* ... on the data connection from this port */

	/* Under cfg: what the host's socket has to be told. */
	u64 optset;
	s32 opts[TSI_OPT_END];
	s32 linger_s;
	char cc[16];

	u64 routes[TSI_ROUTES];		/* hashes; races cost a question more */
};

/* ---- ctl.c ---- */

/* Records on their way; made by tsi_batch_new(), consumed by sending. */
struct tsi_batch {
	unsigned int n;
	struct tsi_msg m[TSI_OPT_END + 4];
};

/* A question and its answer. */
struct tsi_call {
	struct list_head link;
	u32 seq;
	int err;
	struct completion done;
	struct tsi_msg reply;
};

bool tsi_up(void);
/* Waits for the first answer of the host, or for its absence; -EINTR when the caller is killed. */
int tsi_wait_ready(void);

struct tsi_batch *tsi_batch_new(void);
struct tsi_msg *tsi_batch_add(struct tsi_batch *b, u16 type, u32 id);
u32 tsi_seq(void);
u32 tsi_gen(void);		/* counts control connections */
/* Has that control connection ended, and with it what it knew? Known before any of its data connections ends. */
bool tsi_gone(u32 gen);
/* Sends and frees @b. May wait until the host has read what came before. */
int tsi_ctl_send(struct tsi_batch *b);
/* The last record of @b is a question: tsi_call_wait() has to follow. Answers 0 or -errno of the host. */
void tsi_call_start(struct tsi_call *c, struct tsi_batch *b);
int tsi_call_wait(struct tsi_call *c);
/* Both in one. */
int tsi_call(struct tsi_call *c, struct tsi_batch *b);
/* One record without waiting for anything: for the receive work. */
void tsi_ctl_post(u16 type, u16 flags, u32 id, u32 arg);

/* The table of ids. tsi_id_get() answers with a reference. */
int tsi_id_new(struct tsi_sock *ts);
int tsi_id_host(struct tsi_sock *ts, u32 id);
void tsi_id_drop(struct tsi_sock *ts);
struct tsi_sock *tsi_id_get(u32 id);
/* Calls @fn for all, with a reference. */
void tsi_id_each(void (*fn)(struct tsi_sock *ts));

/* ---- event.c ---- */
void tsi_event(const struct tsi_msg *m);	/* on the receive work */
void tsi_stream_error(struct tsi_sock *ts, int err);
void tsi_lost(struct tsi_sock *ts);		/* the control connection is gone */
void tsi_again(struct tsi_sock *ts);		/* ... and there is a new one */

/* ---- conn.c ---- */
extern struct socket *tsi_listener;		/* on TSI_DATA_PORT */

void tsi_wake(struct sock *sk, __poll_t events);
struct socket *tsi_vs_new(int type, u32 bufsize);
u32 tsi_vs_port(struct socket *vs);
struct tsi_conn *tsi_conn_new(struct socket *vs, u32 port);
/* The host side takes it at once: returns before it has answered. */
int tsi_conn_start(struct tsi_conn *c);
/* A vsock socket's events go to @ts, until tsi_conn_set() takes it away. Consumes @c and a former one. */
void tsi_conn_set(struct tsi_sock *ts, struct tsi_conn *c);
struct tsi_conn *tsi_conn_get(struct tsi_sock *ts);
void tsi_conn_put(struct tsi_conn *c);
/* The connection that the host made from its port @port. */
struct tsi_conn *tsi_conn_take(u32 port);
int tsi_conn_open_listener(void);
s64 tsi_conn_data(struct tsi_conn *c);
s64 tsi_conn_space(struct tsi_conn *c);
/* The room when everything has been taken. */
u32 tsi_conn_most(struct tsi_conn *c);
/* Room for @need bytes? If not, who waits for it will be woken. */
bool tsi_conn_room(struct tsi_sock *ts, struct tsi_conn *c, s64 need);

/* ---- addr.c ---- */
/* @ua as a program gives it, for a socket of that family. -EINVAL, -EAFNOSUPPORT, ... */
int tsi_addr_in(const struct tsi_sock *ts, const struct sockaddr *ua, int len, struct tsi_addr *a);
int tsi_addr_out(const struct tsi_sock *ts, const struct tsi_addr *a, struct sockaddr *ua);
/* Is it an IPv4 address, mapped or not, and which? */
bool tsi_addr_v4(const struct tsi_addr *a, __be32 *ip);
/* The rule: does what goes to @a stay in the guest? */
bool tsi_stays(const struct tsi_sock *ts, const struct tsi_addr *a);

/* ---- sock.c ---- */
struct tsi_sock *tsi_new(u8 kind, bool v6);
void tsi_put(struct tsi_sock *ts);
int tsi_sock_attach(struct net *net, struct socket *sock, int kern);
/* A new socket of the same kind as @like's, with its own native sock, for accept(). */
int tsi_sock_like(struct socket *newsock, struct tsi_sock *ts, const struct tsi_sock *like);
/* OPEN, all options and the address, when the host does not know the socket yet. Under cfg. */
int tsi_open(struct tsi_sock *ts, struct tsi_batch *b, u32 port);
/*
 * Asks the host @type about @ts with address @a; makes the socket there before, and the data connection of
 * a datagram socket. Under cfg. The answer is in @reply.
 */
int tsi_ask(struct tsi_sock *ts, u16 type, const struct tsi_addr *a, u32 arg, struct tsi_msg *reply);
/* The host forgets the socket. Under cfg. */
void tsi_forget(struct tsi_sock *ts, u16 flags);
int tsi_bind_native(struct tsi_sock *ts, const struct tsi_addr *a, __be16 port);
int tsi_bind(struct socket *sock, struct sockaddr *ua, int len);
int tsi_getname(struct socket *sock, struct sockaddr *ua, int peer);
int tsi_release(struct socket *sock);
void tsi_set_error(struct tsi_sock *ts, int err);

/* ---- opts.c ---- */
void tsi_opts_add(struct tsi_sock *ts, struct tsi_batch *b);
void tsi_opts_copy(struct socket *to, struct tsi_sock *ts, const struct tsi_sock *from);
int tsi_setsockopt(struct socket *sock, int level, int name, sockptr_t val, unsigned int len);
int tsi_getsockopt(struct socket *sock, int level, int name, char __user *val, int __user *len);
int tsi_outq(struct tsi_sock *ts);

/* ---- stream.c, accept.c, dgram.c ---- */
extern const struct proto_ops tsi_stream_ops, tsi_stream6_ops;
extern struct proto_ops tsi_dgram_ops, tsi_dgram6_ops;
void tsi_dgram_init(void);	/* at boot */
void tsi_dgram_ready(struct tsi_sock *ts, struct sock *vsk);
/* The host's side of a datagram socket is made, bound, and connected to @peer if that is an address. Under cfg. */
int tsi_dgram_open(struct tsi_sock *ts, const struct tsi_addr *peer);
int tsi_listen(struct socket *sock, int backlog);
int tsi_listen_host(struct tsi_sock *ts);
int tsi_accept(struct socket *sock, struct socket *newsock, struct proto_accept_arg *arg);
void tsi_accept_flush(struct tsi_sock *ts);
void tsi_accepted(struct tsi_sock *ts, const struct tsi_msg *m);

#endif
