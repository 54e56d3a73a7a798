/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host and the guest's agent say to each other.
 *
 * The agent listens on vsock port PROTO_AGENT_PORT of the guest and, when it can answer, makes one
 * non-blocking connect to host port PROTO_KNOCK_PORT. The host refuses that connect with a reset,
 * whoever it came from, and takes it as a hint to connect. All connections that carry anything are
 * made by the host. Each begins with one struct proto_open, which gets no answer: what the agent
 * does not like it closes.
 *
 * The first connection must be a control connection; its token becomes the VM's, and every later
 * one must show the same.
 *
 * Control connections carry messages: struct msg_hdr, then (len - sizeof header) bytes of payload.
 * The host sends requests, each of which gets exactly one reply (same type and seq, MSG_F_REPLY,
 * status 0 or -errno), in whatever order they are done; the agent sends events (MSG_F_EVENT, seq
 * 0). A reply with status < 0 has a struct msg_error as its payload. A frame that is malformed
 * (length, type, flags) ends the connection. There may be several control connections: events of a
 * process go to the one that made it, or that asked for it last by MSG_ATTACH.
 *
 * Process ids are chosen by the host, each greater than the ones before: PROTO_PROC_INIT is the
 * container's, others come from MSG_EXEC. A stream connection belongs to one (process, fd). It may
 * be opened before or after the process is made; the process is not held up by a stream that is
 * late, its bytes wait in the pipe. One for a process that is over, or was refused, is closed.
 * Which streams a process has is declared in its blob (struct blob_process.stdio).
 *
 *   fd 0      host -> guest. The host's shutdown(SHUT_WR) is end of file. When the workload closes
 * its end, the agent does shutdown(SHUT_RD), so that the host's writes get EPIPE. fd 1, 2   guest
 * -> host. End of file when nobody in the guest can write any more. The host says that its reader
 * is gone by closing the connection (or by SHUT_WR, which means the same here): the workload then
 * gets SIGPIPE. fd 3      both ways, a terminal. Closing it hangs the terminal up. The host's
 * SHUT_WR ends input, nothing else.
 *   PROTO_MORE + i   the process's descriptor 3 + i, of the kind that the blob says (BLOB_T_FD): as
 * 0, as 1, or a socket, whose two ways each end with the SHUT_WR of the writer. For a socket that
 * listens the host opens one for each connection that it has accepted.
 *
 * MSG_EXIT comes after the last byte of the process's streams was given to vsock; it says how many
 * there were, so that the host knows when it has them all. If a background child still holds a
 * pipe, its stream stays open (MSG_EXIT_OPEN_*).
 *
 * All fields are little-endian; the structs are exactly what is on the wire. Fields named reserved
 * are 0 and checked.
 */
#ifndef KRUN_PROTO_MSG_H
#define KRUN_PROTO_MSG_H

#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the structs below are the wire format on little-endian machines only"
#endif

#define PROTO_MAGIC	 0x414e524bu /* "KRNA" */
#define PROTO_VERSION	 1
#define PROTO_AGENT_PORT 5 /* the agent listens here, in the guest */
#define PROTO_KNOCK_PORT 6 /* the host is knocked at here */
#define PROTO_TOKEN_LEN	 16
#define PROTO_PROC_INIT	 1 /* process id of the container's own process */

#define MSG_MAX		(4u << 20) /* bytes of one message to the agent, header included */
#define MSG_MAX_TO_HOST 4096	   /* of one message from the agent */
#define MSG_TEXT_MAX	1024	   /* bytes of text in an error or log message */

enum proto_kind {
	PROTO_CONTROL = 1,
	PROTO_STREAM = 2,
};

enum proto_fd {
	PROTO_STDIN = 0,
	PROTO_STDOUT = 1,
	PROTO_STDERR = 2,
	PROTO_TTY = 3,
	PROTO_FDS = 4,
	PROTO_MORE = 4,	     /* the first of the descriptors behind stderr */
	PROTO_MORE_MAX = 60, /* so many there may be */
	PROTO_FD_LIMIT = 64,
};

/* First bytes of every connection, host -> agent. */
struct proto_open {
	uint32_t magic;
	uint16_t version;
	uint16_t kind; /* enum proto_kind */
	uint8_t token[PROTO_TOKEN_LEN];
	uint32_t proc;	 /* PROTO_STREAM: process id; else 0 */
	uint32_t fd;	 /* PROTO_STREAM: enum proto_fd, below PROTO_FD_LIMIT; else 0 */
	uint64_t offset; /* PROTO_STREAM: bytes of this stream that earlier connections carried;
			    else 0 */
};

enum msg_type {
	MSG_HELLO = 1,	 /* msg_time -> msg_hello_reply; sets clock and entropy of a fresh boot */
	MSG_CREATE = 2,	 /* msg_proc + blob (BLOB_CREATE) -> msg_started; the process is held before
			    its exec */
	MSG_START = 3,	 /* msg_proc -> msg_started once execve() succeeded */
	MSG_SIGNAL = 4,	 /* msg_signal -> nothing; -ESRCH when the process is gone */
	MSG_EXEC = 5,	 /* msg_proc + blob (BLOB_EXEC) -> msg_started once execve() succeeded */
	MSG_WINSIZE = 6, /* msg_winsize -> nothing */
	MSG_ATTACH = 7,	 /* msg_proc -> nothing; events of the process come here from now on, a
			    missed MSG_EXIT at once */
	MSG_SYNC = 8,	 /* nothing -> nothing, after the guest's filesystems were synced */
	MSG_RESUMED = 9, /* msg_time -> nothing: clock and random generator are right again */
	MSG_SHUTDOWN = 10, /* nothing -> maybe a reply: kills, syncs and ends the VM */
	MSG_PING = 11,	   /* nothing -> nothing */
	MSG_UPDATE = 12,   /* msg_proc + blob (BLOB_UPDATE): writes cgroup files -> nothing */
	MSG_NET = 13,	   /* msg_netaddr, any number: interfaces with these addresses -> nothing */
	MSG_NIC = 14, /* msg_nic, then its items: what the VM's interface is -> nothing, when it is
			 up, and has asked for an address if it shall */
	MSG_REQUEST_LAST = MSG_NIC,

	MSG_PS = 32, /* msg_ps -> msg_ps_reply, then processes */

	MSG_EXIT = 64,	 /* event, msg_exit */
	MSG_OOM = 65,	 /* event, msg_oom */
	MSG_LOG = 66,	 /* event, text without NUL: a warning for the runtime's log */
	MSG_NOTIFY = 67, /* event, what was sent to the socket of BLOB_T_NOTIFY, 1..MSG_NOTIFY_MAX
			    bytes: nothing is known of them */
	MSG_EVENT_LAST = MSG_NOTIFY,
};

#define MSG_F_REPLY 1u
#define MSG_F_EVENT 2u

#define MSG_NOTIFY_MAX (MSG_MAX_TO_HOST - 16)

struct msg_hdr {
	uint32_t len; /* with this header */
	uint16_t type;
	uint16_t flags;
	uint32_t seq;	/* of a request: anything but 0; of its reply: the same; of an event: 0 */
	int32_t status; /* of a reply: 0 or -errno; else 0 */
};

/* MSG_HELLO, MSG_RESUMED */
struct msg_time {
	uint64_t realtime_ns; /* 0: leave the clock alone */
	uint8_t entropy[32];
	uint32_t flags; /* MSG_TIME_* */
	uint32_t reserved;
};

#define MSG_TIME_RESEED 1u /* entropy is valid */

struct msg_hello_reply {
	uint32_t version; /* PROTO_VERSION of the agent */
	uint32_t reserved;
	uint64_t started_ns; /* CLOCK_BOOTTIME when the agent's main() began */
	uint64_t ready_ns;   /* ... when it knocked */
	uint64_t now_ns;     /* ... when it wrote this reply */
};

/* MSG_CREATE, MSG_START, MSG_EXEC, MSG_ATTACH, MSG_UPDATE */
struct msg_proc {
	uint32_t proc;
	uint32_t flags; /* MSG_PROC_* */
};

/* MSG_EXEC: SIGKILL for the process when the control connection that owns it goes away. */
#define MSG_PROC_KILL_ON_CLOSE 1u

/* Reply to MSG_CREATE, MSG_START, MSG_EXEC */
struct msg_started {
	uint32_t pid; /* in the guest's initial pid namespace */
	uint32_t reserved;
};

struct msg_signal {
	uint32_t proc;
	uint32_t signo; /* 1..64 */
	uint32_t flags; /* MSG_SIGNAL_* */
	uint32_t reserved;
};

/* To every process of the container. */
#define MSG_SIGNAL_ALL 1u
/* Alone, of a process that has ended: its MSG_EXIT now, whatever output is left. */
#define MSG_SIGNAL_DROP 2u

struct msg_winsize {
	uint32_t proc;
	uint16_t rows;
	uint16_t cols;
	uint16_t xpixel;
	uint16_t ypixel;
	uint32_t reserved;
};

enum msg_stage {
	MSG_STAGE_PROTO = 1, /* the message itself: malformed, out of order, unknown process */
	MSG_STAGE_SETUP = 2, /* making the container or the process */
	MSG_STAGE_EXEC = 3,  /* execve(): -ENOENT is exit code 127, other errors 126 */
};

/* Payload of a reply with status < 0; text_len bytes of text (no NUL) follow. */
struct msg_error {
	uint32_t stage; /* enum msg_stage */
	uint32_t text_len;
};

struct msg_exit {
	uint32_t proc;
	uint32_t flags;		   /* MSG_EXIT_* */
	uint32_t code;		   /* exit code, when signo is 0 */
	uint32_t signo;		   /* signal that ended it, or 0 */
	uint64_t bytes[PROTO_FDS]; /* [0]: taken from the host; [1], [2], [3]: given to the host */
	uint64_t utime_us;
	uint64_t stime_us;
	uint64_t maxrss_kib;
};

#define MSG_EXIT_CORE	     1u
#define MSG_EXIT_OOM	     2u	   /* the cgroup's OOM killer killed in this container */
#define MSG_EXIT_OPEN_STDOUT 0x10u /* somebody else can still write to it */
#define MSG_EXIT_OPEN_STDERR 0x20u
#define MSG_EXIT_OPEN_MORE   0x40u /* to one of the descriptors behind it */

struct msg_oom {
	uint64_t kills; /* processes killed so far */
};

/* MSG_PS: the container's processes, in as many replies as it takes. */
struct msg_ps {
	uint32_t after; /* cursor of the reply before, 0 at first */
	uint32_t reserved;
};

struct msg_ps_reply {
	uint32_t count;
	uint32_t next; /* cursor; 0: there are no more */
};

/* Each: this, then text_len bytes of command line without NUL, then zeros up to 8 bytes. */
struct msg_ps_proc {
	uint32_t pid; /* in the container's pid namespace */
	uint32_t ppid;
	uint32_t uid;
	uint32_t tty;	      /* device number as stat(5) has it, 0: none */
	uint64_t started_ns;  /* CLOCK_REALTIME of the guest */
	uint64_t cpu_ms;      /* user and system */
	uint32_t text_len;    /* 1..MSG_PS_TEXT */
	uint32_t run_seconds; /* since it was started */
};

#define MSG_PS_TEXT 512

/* MSG_NET: an address of the container's network namespace, and of the interface that has it. */
struct msg_netaddr {
	uint32_t ifindex;
	uint32_t mtu;	/* 0: not known */
	char name[16];	/* with its NUL */
	uint8_t mac[6]; /* zeros: none */
	uint8_t family; /* MSG_NET_* */
	uint8_t prefix; /* bits */
	uint8_t ip[16]; /* IPv4: the first four */
	uint64_t reserved;
};

#define MSG_NET_INET  4u
#define MSG_NET_INET6 6u

/* MSG_NIC: the interface of the machine's network device, which is called eth0 until then. */
struct msg_nic {
	uint32_t mtu;	 /* 0: as it is */
	uint32_t nitems; /* struct msg_nic_item that follow, at most MSG_NIC_ITEMS */
	char name[16];	 /* that it gets; with its NUL */
	uint8_t mac[6];	 /* zeros: as it is */
	uint8_t flags;	 /* MSG_NIC_* */
	uint8_t reserved;
};

#define MSG_NIC_DHCP \
	1u /* asks for an IPv4 address; -ETIMEDOUT: nobody answered, all else is done */
/* Set before it is up, and only ever to less than the guest has of it: */
#define MSG_NIC_NO_LINK_LOCAL 2u  /* makes no address of IPv6 for the link by itself */
#define MSG_NIC_NO_IP6	      4u  /* has no IPv6 */
#define MSG_NIC_NO_RA	      8u  /* listens to no routers */
#define MSG_NIC_NO_AUTOCONF   16u /* makes no address of what they say */
#define MSG_NIC_NO_RA_ROUTER  32u /* no default route */
#define MSG_NIC_FLAGS	      63u
#define MSG_NIC_ITEMS	      512

enum msg_nic_kind {
	MSG_NIC_ADDR = 1,  /* ip; via: the other end's, of a link between two; src: broadcast */
	MSG_NIC_ROUTE = 2, /* to ip/prefix; via: router; src: preferred source */
	MSG_NIC_NEIGH = 3, /* ip is at mac, always */
};

/* In the order in which they are set. Addresses: IPv4 the first four bytes; zeros: none. */
struct msg_nic_item {
	uint8_t kind;	/* enum msg_nic_kind */
	uint8_t family; /* MSG_NET_* */
	uint8_t prefix; /* bits */
	uint8_t scope;	/* RT_SCOPE_* */
	uint8_t origin; /* RTPROT_* of a route */
	uint8_t flags;	/* MSG_NIC_NOPREFIXROUTE of an address, MSG_NIC_ONLINK of a route */
	uint8_t type;	/* RTN_* of a route: 0, or 6 to 9 for what nobody is reached by */
	uint8_t reserved;
	uint32_t metric; /* of an address: of the route to its network; 0: the default */
	uint32_t mtu;	 /* of a route; 0: the interface's */
	uint8_t ip[16], via[16], src[16];
	uint8_t mac[6];
	uint16_t reserved2;
	/* seconds, ~0: always; valid 0: an address or route that stays, and is preferred */
	uint32_t valid, preferred;
};

#define MSG_NIC_NOPREFIXROUTE 1u
#define MSG_NIC_ONLINK	      2u
#define MSG_NIC_DAD	      4u /* of an address: nobody knows yet whether it is somebody else's */

#define PROTO_AT(s, f, off, size) \
	_Static_assert(           \
		offsetof(struct s, f) == (off) && sizeof(((struct s *)0)->f) == (size), #s "." #f)
#define PROTO_SIZE(s, size) _Static_assert(sizeof(struct s) == (size), #s)

PROTO_SIZE(proto_open, 40);
PROTO_AT(proto_open, magic, 0, 4);
PROTO_AT(proto_open, version, 4, 2);
PROTO_AT(proto_open, kind, 6, 2);
PROTO_AT(proto_open, token, 8, 16);
PROTO_AT(proto_open, proc, 24, 4);
PROTO_AT(proto_open, fd, 28, 4);
PROTO_AT(proto_open, offset, 32, 8);
PROTO_SIZE(msg_hdr, 16);
PROTO_AT(msg_hdr, len, 0, 4);
PROTO_AT(msg_hdr, type, 4, 2);
PROTO_AT(msg_hdr, flags, 6, 2);
PROTO_AT(msg_hdr, seq, 8, 4);
PROTO_AT(msg_hdr, status, 12, 4);
PROTO_SIZE(msg_time, 48);
PROTO_AT(msg_time, realtime_ns, 0, 8);
PROTO_AT(msg_time, entropy, 8, 32);
PROTO_AT(msg_time, flags, 40, 4);
PROTO_AT(msg_time, reserved, 44, 4);
PROTO_SIZE(msg_hello_reply, 32);
PROTO_AT(msg_hello_reply, version, 0, 4);
PROTO_AT(msg_hello_reply, reserved, 4, 4);
PROTO_AT(msg_hello_reply, started_ns, 8, 8);
PROTO_AT(msg_hello_reply, ready_ns, 16, 8);
PROTO_AT(msg_hello_reply, now_ns, 24, 8);
PROTO_SIZE(msg_proc, 8);
PROTO_AT(msg_proc, proc, 0, 4);
PROTO_AT(msg_proc, flags, 4, 4);
PROTO_SIZE(msg_started, 8);
PROTO_AT(msg_started, pid, 0, 4);
PROTO_AT(msg_started, reserved, 4, 4);
PROTO_SIZE(msg_signal, 16);
PROTO_AT(msg_signal, proc, 0, 4);
PROTO_AT(msg_signal, signo, 4, 4);
PROTO_AT(msg_signal, flags, 8, 4);
PROTO_AT(msg_signal, reserved, 12, 4);
PROTO_SIZE(msg_winsize, 16);
PROTO_AT(msg_winsize, proc, 0, 4);
PROTO_AT(msg_winsize, rows, 4, 2);
PROTO_AT(msg_winsize, cols, 6, 2);
PROTO_AT(msg_winsize, xpixel, 8, 2);
PROTO_AT(msg_winsize, ypixel, 10, 2);
PROTO_AT(msg_winsize, reserved, 12, 4);
PROTO_SIZE(msg_error, 8);
PROTO_AT(msg_error, stage, 0, 4);
PROTO_AT(msg_error, text_len, 4, 4);
PROTO_SIZE(msg_exit, 72);
PROTO_AT(msg_exit, proc, 0, 4);
PROTO_AT(msg_exit, flags, 4, 4);
PROTO_AT(msg_exit, code, 8, 4);
PROTO_AT(msg_exit, signo, 12, 4);
PROTO_AT(msg_exit, bytes, 16, 32);
PROTO_AT(msg_exit, utime_us, 48, 8);
PROTO_AT(msg_exit, stime_us, 56, 8);
PROTO_AT(msg_exit, maxrss_kib, 64, 8);
PROTO_SIZE(msg_ps, 8);
PROTO_AT(msg_ps, after, 0, 4);
PROTO_SIZE(msg_ps_reply, 8);
PROTO_AT(msg_ps_reply, count, 0, 4);
PROTO_AT(msg_ps_reply, next, 4, 4);
PROTO_SIZE(msg_ps_proc, 40);
PROTO_AT(msg_ps_proc, pid, 0, 4);
PROTO_AT(msg_ps_proc, ppid, 4, 4);
PROTO_AT(msg_ps_proc, uid, 8, 4);
PROTO_AT(msg_ps_proc, tty, 12, 4);
PROTO_AT(msg_ps_proc, started_ns, 16, 8);
PROTO_AT(msg_ps_proc, cpu_ms, 24, 8);
PROTO_AT(msg_ps_proc, text_len, 32, 4);
PROTO_AT(msg_ps_proc, run_seconds, 36, 4);
PROTO_SIZE(msg_netaddr, 56);
PROTO_AT(msg_netaddr, ifindex, 0, 4);
PROTO_AT(msg_netaddr, mtu, 4, 4);
PROTO_AT(msg_netaddr, name, 8, 16);
PROTO_AT(msg_netaddr, mac, 24, 6);
PROTO_AT(msg_netaddr, family, 30, 1);
PROTO_AT(msg_netaddr, prefix, 31, 1);
PROTO_AT(msg_netaddr, ip, 32, 16);
PROTO_AT(msg_netaddr, reserved, 48, 8);
PROTO_SIZE(msg_nic, 32);
PROTO_AT(msg_nic, mtu, 0, 4);
PROTO_AT(msg_nic, nitems, 4, 4);
PROTO_AT(msg_nic, name, 8, 16);
PROTO_AT(msg_nic, mac, 24, 6);
PROTO_AT(msg_nic, flags, 30, 1);
PROTO_AT(msg_nic, reserved, 31, 1);
PROTO_SIZE(msg_nic_item, 80);
PROTO_AT(msg_nic_item, kind, 0, 1);
PROTO_AT(msg_nic_item, family, 1, 1);
PROTO_AT(msg_nic_item, prefix, 2, 1);
PROTO_AT(msg_nic_item, scope, 3, 1);
PROTO_AT(msg_nic_item, origin, 4, 1);
PROTO_AT(msg_nic_item, flags, 5, 1);
PROTO_AT(msg_nic_item, type, 6, 1);
PROTO_AT(msg_nic_item, reserved, 7, 1);
PROTO_AT(msg_nic_item, metric, 8, 4);
PROTO_AT(msg_nic_item, mtu, 12, 4);
PROTO_AT(msg_nic_item, ip, 16, 16);
PROTO_AT(msg_nic_item, via, 32, 16);
PROTO_AT(msg_nic_item, src, 48, 16);
PROTO_AT(msg_nic_item, mac, 64, 6);
PROTO_AT(msg_nic_item, reserved2, 70, 2);
PROTO_AT(msg_nic_item, valid, 72, 4);
PROTO_AT(msg_nic_item, preferred, 76, 4);
PROTO_SIZE(msg_oom, 8);
PROTO_AT(msg_oom, kills, 0, 8);

/*
 * Assembles messages from a byte stream. One owner; the buffer belongs to it and grows up to the
 * length of a message that was announced and found legal, never beyond @max.
 *
 *   n = read(fd, msg_rx_space(&rx, &room), room);  msg_rx_add(&rx, n);
 *   while ((r = msg_rx_next(&rx, &hdr, &payload)) == 1) ...;   r < 0: close the connection
 */
struct msg_rx {
	uint8_t *buf;
	size_t cap;
	size_t start; /* first byte not yet taken by msg_rx_next() */
	size_t end;
	uint32_t max;
	int from_guest; /* replies and events are legal, instead of requests */
};

void msg_rx_init(struct msg_rx *rx, uint32_t max, int from_guest);
void msg_rx_free(struct msg_rx *rx);

/* Where to read to, and into *@room how much (> 0); NULL when there is no memory. Call
 * msg_rx_next() to its 0 before. */
void *msg_rx_space(struct msg_rx *rx, size_t *room);
void msg_rx_add(struct msg_rx *rx, size_t n);

/*
 * The next whole message: 1 with *@hdr filled and *@payload at hdr->len - sizeof(*hdr) bytes,
 * 8-byte aligned and valid until the next msg_rx call; 0: more bytes needed; -EPROTO: the stream is
 * malformed and stays so.
 */
int msg_rx_next(struct msg_rx *rx, struct msg_hdr *hdr, const uint8_t **payload);

/* 0, or -EPROTO: header of a message that was read by other means. */
int msg_hdr_check(const struct msg_hdr *hdr, uint32_t max, int from_guest);

/* Fills a connection's opening; @token may be NULL (zeros). */
void proto_open_fill(
	struct proto_open *o, uint16_t kind, const uint8_t *token, uint32_t proc, uint32_t fd);

/* 0; -EPROTO for a malformed opening, -EPROTONOSUPPORT for another version. The token is not looked
 * at. */
int proto_open_check(const struct proto_open *o);

/* Compares tokens in constant time: 1 when they are equal. */
int proto_token_eq(const uint8_t a[PROTO_TOKEN_LEN], const uint8_t b[PROTO_TOKEN_LEN]);

/*
 * Copies the payload of a message into a struct of exactly @size bytes; bytes that follow it are at
 * *@rest, *@rest_len of them, or forbidden when @rest is NULL. 0 or -EPROTO.
 */
int msg_take(const struct msg_hdr *hdr, const uint8_t *payload, void *out, size_t size,
	const uint8_t **rest, size_t *rest_len);

/*
 * The text of an error reply or log event, NUL-terminated in @text, with control characters
 * replaced by
 * "?". *@stage is set for an error reply (@stage may be NULL). 0 or -EPROTO.
 */
int msg_text(const struct msg_hdr *hdr, const uint8_t *payload, uint32_t *stage,
	char text[MSG_TEXT_MAX + 1]);

/*
 * Takes the next process of a MSG_PS reply, of which *@p, *@n is what is left: 1 with *@out and its
 * text, control characters replaced; 0 at the end; -EPROTO.
 */
int msg_ps_next(const uint8_t **p, size_t *n, struct msg_ps_proc *out, char text[MSG_PS_TEXT + 1]);

#endif
