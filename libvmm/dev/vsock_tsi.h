/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of TSI: sockets of the guest that are the host's. docs/networking.md says what it is.
 *
 *   vsock_tsi.c         the table of sockets; what the vsock device calls
 *   vsock_tsi_sock.c    host sockets: made, bound, connected, listened on; never waited for
 *   vsock_tsi_opt.c     socket options
 *   vsock_tsi_policy.c  what may be reached and listened on
 *   vsock_tsi_dgram.c   datagrams, both directions
 *   vsock_tsi_ctl.c     our protocol: the control connection, its records in and out
 *   vsock_tsi_own.c     our protocol: what each record does
 *   vsock_tsi_krun.c    libkrun's protocol
 *   vsock_tsi_save.c    save and load
 *
 * Everything runs on the vsock device's loop. Two protocols share the table; a socket belongs to
 * the one that made it (proto). A socket has its fd itself until a connection of the guest carries
 * its payload, and the connection has it from then on.
 */
#ifndef KRUN_DEV_VSOCK_TSI_H
#define KRUN_DEV_VSOCK_TSI_H

#include <sys/socket.h>

#include "dev/vsock.h"
#include "init/proto/tsi.h"

#define TSI_HASH 512

#define TSI_CONGESTION 16 /* bytes of the name of a congestion control, its NUL included */

/* From LIM_TSI_REPLIES on no packet of the guest is taken, but connects that are under way come to
 * their end: one of each socket. */
#define TSI_REPLY_ROOM (LIM_TSI_REPLIES + LIM_TSI_SOCKS)

enum tsi_state {
	TSI_IDLE,	/* made, maybe bound */
	TSI_CONNECTING, /* the host's kernel is at it */
	TSI_CONNECTED,	/* and the guest's data connection is still to come */
	TSI_LISTENING,
	TSI_UP,	  /* payload flows over conn; datagrams: from OPEN on */
	TSI_DEAD, /* its connection is gone; only CLOSE is of use */
};

struct tsi_sock;

struct tsi_proto {
	/* A connect that was under way has ended: 0 or -errno. */
	void (*connected)(struct tsi_sock *s, int error);
	/* @fd has been accepted (taken over). -errno: cannot take it, it is closed. */
	int (*incoming)(struct tsi_sock *l, int fd);
	/* An error that is not the end (datagrams). */
	void (*soft)(struct tsi_sock *s, int error);
	/* A listener failed. */
	void (*dead)(struct tsi_sock *s, int error);
	bool (*may_accept)(const struct tsi_sock *l);
};

struct tsi_sock {
	struct tsi *t;
	const struct tsi_proto *proto;
	LIST_ENTRY(tsi_sock) hash;
	TAILQ_ENTRY(tsi_sock) all, pending;
	bool on_pending; /* its data connection is expected */
	uint32_t id;
	uint8_t kind, family;
	enum tsi_state state;
	int error; /* OPEN failed: what every request gets */

	struct loop_src src; /* fd owned; -1: none, or conn has it */
	uint32_t events;     /* watched */
	struct vsock_conn *conn;
	uint32_t gport;	       /* of the data connection */
	uint32_t seq;	       /* of the CONNECT to be answered */
	uint16_t mapped;       /* bound by the port map: the port as the guest knows it */
	struct tsi_addr asked; /* as it was bound; TSI_NONE: not */
	struct tsi_addr peer;  /* datagrams: connected to */

	/* listener */
	int backlog;
	uint32_t announced;
	bool starved; /* the host had no descriptor or memory for a connection */

	/* options that were set: to set them again after load */
	uint64_t opt_set;
	int32_t opt_val[TSI_OPT_END];
	int32_t linger_s;
	uint8_t congestion[TSI_CONGESTION];

	/* after a load, until the device runs */
	bool loaded, bound, chosen; /* bound by the guest; to a port of the host's choice */
	uint32_t lost_port;	    /* the host's, of a stream that is no more */

	/* libkrun's */
	uint32_t ctl_port, vm_port;
	struct tsi_sock *parent; /* of an incoming connection until it is up */
	uint32_t accepted;	 /* connections that are up and not asked for */
	bool accept_waits;	 /* an ACCEPT is to be answered */
	struct sockaddr_storage to;
	socklen_t to_len;
	bool to_denied;
};

TAILQ_HEAD(tsi_list, tsi_sock);
LIST_HEAD(tsi_bucket, tsi_sock);

struct tsi_reply {
	uint32_t port, to;
	uint32_t len;
	uint8_t data[136];
};

struct tsi {
	struct vsock *vs;
	struct net_rule *egress, *listen; /* owned */
	unsigned negress, nlisten;
	struct net_map *map; /* owned */
	unsigned nmap;
	bool is_mapped;
	bool v6; /* the host's kernel has AF_INET6 */

	struct tsi_bucket table[TSI_HASH];
	struct tsi_list all;
	struct tsi_list pending;
	unsigned nsocks;
	uint32_t next_id; /* of accepted connections */
	bool stopping;
	bool accepts_wait; /* a listener does not accept until tsi_turn() finds that it may */

	/* our protocol */
	struct vsock_conn *ctl;
	bool hello;
	uint8_t in[sizeof(struct tsi_msg)]; /* a record that is not whole */
	uint32_t in_len;
	struct hostbuf held; /* what cannot be handled before records have left */
	uint8_t *out;	     /* ring of LIM_TSI_CTL; owned */
	uint32_t out_head, out_len;
	struct vsock_rst *late; /* RSTs that come after the records in out; owned */
	unsigned nlate;

	/* libkrun's */
	struct tsi_reply *reply; /* ring of TSI_REPLY_ROOM; owned; NULL until needed */
	unsigned reply_head, nreply;
};

/* ---- vsock_tsi.c ---- */

/* 0, -ENOMEM. */
int tsi_new(struct vsock *vs, const struct vsock_net *net, struct tsi **out);
void tsi_destroy(struct tsi *t);
/* Every socket and connection of TSI ends, without a word to the guest. */
void tsi_stop(struct tsi *t);
void tsi_pause(struct tsi *t, bool paused);
/* From the loop, with nothing else in hand: does what had to wait. May free connections. */
void tsi_turn(struct tsi *t);
/* Whether there is room for a connection that comes and what is said of it; if not, tsi_turn() has
 * listeners look again when there is. */
bool tsi_may_accept(struct tsi *t);
/* A packet for which there is no connection: true when it has been dealt with. */
bool tsi_stranger(struct tsi *t, const struct vsock_hdr *h);
/* No more packets of the guest can be handled now. */
static inline bool tsi_full(const struct tsi *t)
{
	return t->nreply >= LIM_TSI_REPLIES;
}

struct tsi_sock *tsi_find(struct tsi *t, const struct tsi_proto *proto, uint32_t id);
/* A socket without fd, in the table. NULL: too many, or no memory. */
struct tsi_sock *tsi_add(struct tsi *t, const struct tsi_proto *proto, uint32_t id);
/* Out of the table; its fd is closed, its connection goes on by itself to its end, or is reset when
 * it carries nothing yet. @abort: the peer gets an RST. */
void tsi_free(struct tsi_sock *s, bool abort);
/* Expects the data connection from @gport; and no more. */
void tsi_expect(struct tsi_sock *s, uint32_t gport);
void tsi_unexpect(struct tsi_sock *s);
struct tsi_sock *tsi_expected(struct tsi *t, uint32_t gport);

/* ---- vsock_tsi_sock.c ---- */

/* 0 or -EAFNOSUPPORT. */
int tsi_to_sockaddr(const struct tsi_addr *a, struct sockaddr_storage *ss, socklen_t *len);
void tsi_from_sockaddr(const struct sockaddr_storage *ss, struct tsi_addr *a);

/* Where its fd is, -1 when there is none. */
int tsi_fd(const struct tsi_sock *s);
/* @c has lost its guest. What it holds goes on to a peer that may never read it, with nobody who
 * could give up: for LIM_TSI_DRAIN_MS at most. Answers the socket that it was of, if any. */
struct tsi_sock *tsi_sock_orphan(struct vsock_conn *c);
int tsi_sock_open(struct tsi_sock *s, uint8_t family, uint8_t kind);
/* An fd (taken over) of a connection that came. */
void tsi_sock_take(struct tsi_sock *s, int fd);
int tsi_sock_bind(struct tsi_sock *s, const struct sockaddr_storage *ss, socklen_t len);
/* 0: up, -EINPROGRESS: proto->connected comes, -errno. */
int tsi_sock_connect(struct tsi_sock *s, const struct sockaddr_storage *ss, socklen_t len);
/* Of a connect that has failed, or is of no use: it may be tried again. */
void tsi_sock_disconnect(struct tsi_sock *s);
int tsi_sock_listen(struct tsi_sock *s, int backlog);
/* TSI_NONE where there is none. */
void tsi_sock_names(const struct tsi_sock *s, struct tsi_addr *local, struct tsi_addr *peer);
/* Makes what the loop watches agree with the state. */
void tsi_sock_update(struct tsi_sock *s);
/* Gives the fd away. */
int tsi_sock_give(struct tsi_sock *s);

/* ---- vsock_tsi_opt.c ---- */

/* 0 or -errno; -ENOPROTOOPT: no such option. */
int tsi_opt_set(struct tsi_sock *s, const struct tsi_msg *m);
int tsi_opt_get(struct tsi_sock *s, struct tsi_msg *m);
/* Those that were set, again. 0 or the first -errno. */
int tsi_opt_again(struct tsi_sock *s);

/* ---- vsock_tsi_policy.c ---- */

/* Whether @s may: 0 or -EACCES, with a line in the log. Where there are rules an unspecified
 * address in @to becomes the loopback that it is judged as: that is what has to be used. An echo
 * has no port, whatever @to says. */
int tsi_may_reach(const struct tsi_sock *s, struct sockaddr_storage *to);
int tsi_may_listen(const struct tsi *t, uint16_t port);

/* ---- vsock_tsi_dgram.c ---- */

extern const struct conn_ops tsi_dgram_ops;

/* ---- vsock_tsi_ctl.c ---- */

bool ctl_request(struct tsi *t, const struct vsock_hdr *h);
/* Queues a record. */
void ctl_put(struct tsi *t, const struct tsi_msg *m);
/* More records than events and answers under way may fill. */
bool ctl_is_full(const struct tsi *t);
/* Ends @c, which may be freed, with an RST to the guest behind the records that are queued now. */
void ctl_reset_late(struct tsi *t, struct vsock_conn *c);
/* The same for a request of the guest for which there is no connection. */
void ctl_refuse_late(struct tsi *t, const struct vsock_hdr *h);
bool ctl_is_late(const struct tsi *t, uint32_t gport, uint32_t hport);
void ctl_turn(struct tsi *t);
extern const struct conn_ops tsi_ctl_ops;

/* ---- vsock_tsi_own.c ---- */

extern const struct tsi_proto tsi_own;
extern const struct conn_ops tsi_stream_ops;
/* -EPROTO: a rule is broken. */
int own_record(struct tsi *t, const struct tsi_msg *m);
bool own_request(struct tsi *t, const struct vsock_hdr *h);
void own_error(struct tsi_sock *s, int error, uint16_t flags);

/* ---- vsock_tsi_krun.c ---- */

extern const struct tsi_proto tsi_krun;
void tsi_krun_packet(struct tsi *t, const struct vsock_hdr *h, struct iobuf *rd);
bool krun_request(struct tsi *t, const struct vsock_hdr *h);
static inline bool tsi_krun_owes(const struct tsi *t)
{
	return t->nreply > 0;
}
/* The next answer: fills @h, and @b. Bytes, or -EFAULT, -EINVAL. */
ssize_t tsi_krun_reply(struct tsi *t, struct vsock_hdr *h, struct iobuf *b);

/* ---- vsock_tsi_save.c ---- */

void tsi_save(struct tsi *t, struct save_out *s);
int tsi_load(struct tsi *t, struct save_in *s);
/* First thing after a load: sockets are made again, what cannot be is told to the guest. */
void tsi_wake_loaded(struct tsi *t);

#endif
