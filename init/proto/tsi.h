/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * TSI, our protocol: sockets of the guest's programs that are made by the VMM.
 *
 * Compiled by the VMM (libvmm/dev/vsock_tsi*) and by the guest's kernel (kernel/tsi). How the parts
 * fit, and the rule for what stays in the guest, is docs/networking.md; here are the bytes.
 *
 * Three kinds of virtio-vsock connections, CID 2 being the host:
 *
 *   control    guest TSI_CTL_PORT -> host TSI_CTL_PORT, STREAM. One, for the life of the guest's
 *              kernel. Both sides send records, struct tsi_msg, nothing else.
 *   outgoing   guest, any port -> host TSI_DATA_PORT. STREAM for a TCP socket, SEQPACKET for a
 *              datagram socket. Taken only when a record has named the guest's port before.
 *   incoming   host, any port -> guest TSI_DATA_PORT, STREAM: an accepted TCP connection.
 *
 * A STREAM data connection carries the bytes of the TCP stream and nothing else. Each message of a
 * SEQPACKET one is a struct tsi_dgram and the datagram behind it.
 *
 * Every number is little-endian, but the addresses and ports of struct tsi_addr, which are in
 * network order as in a sockaddr. Fields that are not named for a request are 0, and come back in
 * its reply as they are; what is reserved is sent as 0 and not looked at. The guest is never
 * trusted: a record that breaks a rule marked "must" ends the control connection, and with it every
 * socket. Which request is answered how in which state is a table of docs/networking.md.
 */
#ifndef KRUN_PROTO_TSI_H
#define KRUN_PROTO_TSI_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/types.h>
#else
#include <linux/types.h>
#define static_assert _Static_assert
#endif

#define TSI_VERSION   1
#define TSI_MAGIC     0x4953544bU /* "KTSI" */
#define TSI_CTL_PORT  621	  /* on both sides; below 1024, so that no ordinary user binds it */
#define TSI_DATA_PORT 622	  /* on both sides */

/* ---- addresses ---- */

enum tsi_family {
	TSI_NONE = 0, /* no address: unknown, or "to the connected peer", or "disconnect" */
	TSI_INET = 4,
	TSI_INET6 = 6,
};

/* A sockaddr_in or sockaddr_in6. A v4-mapped address is TSI_INET6, as the program wrote it. */
struct tsi_addr {
	__u8 family; /* enum tsi_family */
	__u8 reserved;
	__be16 port;	 /* of an echo socket: the identifier */
	__be32 flowinfo; /* INET6 */
	__le32 scope;	 /* INET6: index of an interface of the host's network namespace */
	__u8 ip[16];	 /* INET: the first 4 */
};
static_assert(sizeof(struct tsi_addr) == 28, "on the wire");

/* ---- records ---- */

/*
 * Types. A request of the guest is answered by a record of the same type with TSI_F_REPLY, the same
 * seq and id, and a status; one with seq 0 is not answered. Answers come in any order. Events come
 * from the host, with seq 0.
 *
 * Records are acted upon in the order in which they come. The guest may send several without
 * waiting (OPEN, SETOPT, BIND, CONNECT in one write); after an unanswered OPEN that failed, every
 * later request for its id is answered by the error of that OPEN, but for -EEXIST, where the
 * older socket answers. A type that is no request must not be.
 */
enum tsi_type {
	/*
	 * First, once, with id 0 and a seq, which must be: arg = { TSI_MAGIC, TSI_VERSION,
	 * features (0) }. Reply: arg = { TSI_MAGIC, the host's version, features (0), most
	 * sockets }, and TSI_F_V6 if the host's network has IPv6. status -EPROTONOSUPPORT: another
	 * version; the guest ends the connection. Anything before HELLO must not be.
	 */
	TSI_HELLO = 1,
	/*
	 * A socket on the host: arg = { enum tsi_family, enum tsi_kind, guest's vsock port }. The
	 * port is that of the SEQPACKET data connection, for datagrams; 0 for TSI_TCP. The id is of
	 * the guest's choice, but 0 or one with bit 31 must not be. -EAFNOSUPPORT,
	 * -EPROTONOSUPPORT (kind), -EMFILE (too many sockets or connections), -EEXIST (id is in
	 * use), -EADDRINUSE (the vsock port is), -EACCES (echo sockets: the host does not allow
	 * them).
	 */
	TSI_OPEN = 2,
	/*
	 * The end of @id, at any time, not answered by an error. Without TSI_F_ABORT what the host
	 * still holds is sent and the stream ends with a FIN (or as LINGER says); with it, by an
	 * RST at once. The id may be used again after it. A data connection that is still there is
	 * closed by an RST, or as usual for vsock, which the host answers by an RST. With
	 * TSI_F_ABORT, or while a connect is under way, the host sends the RST of itself: until it
	 * has come that port of the guest must not be used again.
	 */
	TSI_CLOSE = 3,
	/*
	 * a = address. Reply: status, a = the address and port really bound. -EPERM: the port is
	 * not published on the host (a port map); the guest then binds natively only.
	 */
	TSI_BIND = 4,
	/*
	 * a = peer. TSI_TCP: arg[0] = the guest's vsock port, whose connection to TSI_DATA_PORT is
	 * opened right after this record without waiting: the host takes it at once. The reply
	 * comes when the TCP connection is up or has failed: status, a = local, b = peer. The guest
	 * sends no payload before. After a failure the data connection is reset; the socket may be
	 * bound or connected again. Datagrams: answered at once, a and b as above; TSI_NONE
	 * dissolves.
	 */
	TSI_CONNECT = 5,
	/* arg[0] = backlog. Reply: status, a = local, arg[0] = the window: how many connections may
	 * be announced that are not taken. Again on a listener: changes the backlog. -EACCES
	 * (policy), -EPERM (a port map without that port), -EOPNOTSUPP (datagrams). */
	TSI_LISTEN = 6,
	/* arg[0] = n: programs have taken n more connections of listener @id, or the guest gave
	 * them up. More than were announced must not be. Best sent with seq 0. */
	TSI_TAKEN = 7,
	/* Reply: a = local, b = peer (TSI_NONE when there is none). */
	TSI_NAMES = 8,
	/* arg[0] = enum tsi_opt, arg[1..2] or data = value. */
	TSI_SETOPT = 9,
	/* arg[0] = enum tsi_opt. Reply: arg[0] the same, arg[1..2] or data = value. */
	TSI_GETOPT = 10,
	/* Datagrams: could something be sent to a? status 0, -EACCES (policy), -ENETUNREACH,
	 * -EHOSTUNREACH, ... Reply: a = the source address that it would have. */
	TSI_ROUTE = 11,

	/* Events */

	/*
	 * A connection has come to listener @id: arg = { its new id (bit 31 set), the host's vsock
	 * port }, a = local, b = peer. The REQUEST from that port to the guest's TSI_DATA_PORT is
	 * in the receive queue before this record: whoever reads the record finds the connection
	 * among those to be accepted, unless the guest has refused it itself (then: TAKEN, CLOSE).
	 * The new id is a TSI_TCP socket like any other from then on; CLOSE ends it also when
	 * nobody took it.
	 */
	TSI_ACCEPTED = 64,
	/*
	 * An error of socket @id (status = -errno: -ECONNRESET, -ETIMEDOUT, -EPIPE, ...). Streams:
	 * the data connection is over, and its RST comes after this record; bytes that came before
	 * are still to be read. An end without this record is a FIN (SHUTDOWN with SEND). A
	 * listener: no more connections come. With TSI_F_SOFT (datagrams: -ECONNREFUSED,
	 * -EMSGSIZE, ...) the socket lives on, the error is the next answer of SO_ERROR.
	 */
	TSI_ERROR = 65,
};

/* Flags of a record */
#define TSI_F_REPLY 1
#define TSI_F_SOFT  2
#define TSI_F_ABORT 4
#define TSI_F_V6    8

enum tsi_kind {
	TSI_TCP = 1,
	TSI_UDP = 2,
	TSI_PING = 3, /* ICMP or ICMPv6 echo (SOCK_DGRAM); datagrams begin with the ICMP header */
};

#define TSI_ID_HOST  0x80000000U /* ids that the host gives have it, those of the guest do not */
#define TSI_DATA_MAX 56

struct tsi_msg {
	__le16 type;  /* enum tsi_type */
	__le16 flags; /* TSI_F_* */
	__le32 seq;
	__le32 id;     /* of the socket; 0: none (HELLO) */
	__le32 status; /* of replies and events: 0 or -errno (Linux's numbers), two's complement */
	__le32 arg[6];
	union {
		struct {
			struct tsi_addr a, b;
		};
		__u8 data[TSI_DATA_MAX];
	};
};
static_assert(sizeof(struct tsi_msg) == 96, "on the wire");

/* ---- datagrams ---- */

/*
 * Before each datagram. From the guest: peer = destination (TSI_NONE: the connected one), local =
 * the source address to send from (TSI_NONE: as bound; its port is not looked at). To the guest:
 * peer = sender, local = destination address when the option PKTINFO is on. Empty datagrams are
 * datagrams. What cannot be sent comes back as a soft TSI_ERROR; what the host's buffers cannot
 * hold is dropped, as UDP may.
 */
struct tsi_dgram {
	struct tsi_addr peer, local;
	__le32 flags;	/* reserved */
	__le32 ifindex; /* to the guest, with PKTINFO: the interface in the host's namespace */
};
static_assert(sizeof(struct tsi_dgram) == 64, "on the wire");
#define TSI_DGRAM_MAX 65535 /* bytes behind the header */

/* ---- options ---- */

/*
 * Socket options that go to the host. One number in arg[1], unless said otherwise. What is not here
 * is the guest's own (SO_RCVTIMEO, SO_SNDTIMEO, SO_TYPE, ...) or is not there (multicast).
 */
enum tsi_opt {
	TSI_SO_REUSEADDR = 1,
	TSI_SO_REUSEPORT,
	TSI_SO_KEEPALIVE,
	TSI_SO_BROADCAST,
	TSI_SO_LINGER, /* arg[1] = on, arg[2] = seconds */
	TSI_SO_SNDBUF, /* as the program gives it; read: as the host's kernel says, doubled */
	TSI_SO_RCVBUF,
	TSI_SO_PRIORITY,
	TSI_SO_OOBINLINE,
	TSI_SO_DONTROUTE,
	TSI_IP_TOS,
	TSI_IP_TTL,
	TSI_IP_MTU_DISCOVER,
	TSI_IP_MTU,	/* read only */
	TSI_IP_PKTINFO, /* of the socket's family: IP_PKTINFO or IPV6_RECVPKTINFO */
	TSI_IP_BIND_ADDRESS_NO_PORT,
	TSI_IP_FREEBIND,
	TSI_IPV6_V6ONLY,
	TSI_IPV6_TCLASS,
	TSI_IPV6_UNICAST_HOPS,
	TSI_IPV6_MTU_DISCOVER,
	TSI_IPV6_MTU, /* read only */
	TSI_TCP_NODELAY,
	TSI_TCP_CORK,
	TSI_TCP_KEEPIDLE,
	TSI_TCP_KEEPINTVL,
	TSI_TCP_KEEPCNT,
	TSI_TCP_SYNCNT,
	TSI_TCP_USER_TIMEOUT,
	TSI_TCP_DEFER_ACCEPT,
	TSI_TCP_QUICKACK,
	TSI_TCP_MAXSEG,
	TSI_TCP_LINGER2,
	TSI_TCP_WINDOW_CLAMP,
	TSI_TCP_NOTSENT_LOWAT,
	TSI_TCP_CONGESTION, /* data = name with a NUL, at most 16 bytes */
	TSI_TCP_INFO,	    /* read only; data = struct tsi_tcp_info */
	TSI_OUTQ, /* read only; bytes that the host's socket has not sent or not had acknowledged
		   */
	TSI_OPT_END,
};

/* What of struct tcp_info is true also seen from the guest: the connection between the host's
 * kernel and the peer. The counters of bytes and the queues in between are not. */
struct tsi_tcp_info {
	__u8 state, ca_state, retransmits, options;
	__u8 snd_wscale, rcv_wscale, reserved[2];
	__le32 rto, snd_mss, rcv_mss;
	__le32 unacked, lost, retrans;
	__le32 pmtu, rtt, rttvar, snd_cwnd;
	__le32 total_retrans, min_rtt;
};
static_assert(sizeof(struct tsi_tcp_info) == TSI_DATA_MAX, "on the wire");

#endif
