/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: what its files share (virtio 1.2, section 5.1). All of it is the owner loop's.
 *
 * net.c is the device, net_pairs.c which queues are in use, net_rx.c, net_tx.c and net_ctl.c are
 * what they do, net_save.c is its saved form, and each of net_stream.c, net_dgram.c and net_tap.c a
 * backend: a struct net_be_ops.
 */
#ifndef KRUN_DEV_NET_H
#define KRUN_DEV_NET_H

#include "core/limits.h"
#include "dev/dev.h"
#include "dev/hostfd.h"
#include "virtio/vdev.h"

#define NET_F_CSUM		  (1ULL << 0)
#define NET_F_GUEST_CSUM	  (1ULL << 1)
#define NET_F_CTRL_GUEST_OFFLOADS (1ULL << 2)
#define NET_F_MTU		  (1ULL << 3)
#define NET_F_MAC		  (1ULL << 5)
#define NET_F_GUEST_TSO4	  (1ULL << 7)
#define NET_F_GUEST_TSO6	  (1ULL << 8)
#define NET_F_GUEST_ECN		  (1ULL << 9)
#define NET_F_GUEST_UFO		  (1ULL << 10)
#define NET_F_HOST_TSO4		  (1ULL << 11)
#define NET_F_HOST_TSO6		  (1ULL << 12)
#define NET_F_HOST_ECN		  (1ULL << 13)
#define NET_F_HOST_UFO		  (1ULL << 14)
#define NET_F_MRG_RXBUF		  (1ULL << 15)
#define NET_F_STATUS		  (1ULL << 16)
#define NET_F_CTRL_VQ		  (1ULL << 17)
#define NET_F_CTRL_RX		  (1ULL << 18)
#define NET_F_GUEST_ANNOUNCE	  (1ULL << 21)
#define NET_F_MQ		  (1ULL << 22)
#define NET_F_CTRL_MAC_ADDR	  (1ULL << 23)

#define NET_GUEST_SEGMENTS (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN | NET_F_GUEST_UFO)
#define NET_HOST_SEGMENTS  (NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN | NET_F_HOST_UFO)
#define NET_GUEST_OFFLOADS (NET_F_GUEST_CSUM | NET_GUEST_SEGMENTS)
#define NET_HOST_OFFLOADS  (NET_F_CSUM | NET_HOST_SEGMENTS)

/* Config space, section 5.1.4 */
#define NET_CFG_MAC    0
#define NET_CFG_STATUS 6
#define NET_CFG_PAIRS  8
#define NET_CFG_MTU    10
#define NET_CFG_LEN    12

#define NET_S_LINK_UP  1
#define NET_S_ANNOUNCE 2

/* Queues, section 5.1.2: those of pair i are 2i and 2i + 1. The control queue comes behind the last
 * pair that there can be, which without NET_F_MQ is the first. */
#define NET_RX		0
#define NET_TX		1
#define NET_CTRL(pairs) (2 * (pairs))
#define NET_QUEUES	3

/* In front of each frame of the driver's, section 5.1.6: u8 flags, u8 gso type, le16 header length,
 * segment size, csum start, csum offset, number of buffers. */
#define NET_HDR	      12
#define NET_HDR_NBUFS 10

#define NET_FRAME_MIN 14 /* a link header */
#define NET_MAC_GROUP 1	 /* of an address's first byte */
/* One byte over what there may be tells a frame that was too long from one that fits. */
#define NET_ROOM  (NET_HDR + LIM_NET_FRAME + 1)
#define NET_IOV	  1024 /* pieces of receive buffers in hand: what one system call takes */
#define NET_BATCH 128  /* frames of one direction before the other and the loop get their turn */

struct net_be;

/*
 * What sends and receives frames. Descriptors and memory are the backend's; it watches nothing. An
 * errno that is not said here means that it is gone: the link is taken down, and close is called.
 */
struct net_be_ops {
	const char *name;
	bool header; /* frames have a struct virtio_net_hdr, both ways */
	/* Takes over cfg->fd, and is connected afterwards, unless cfg->later. On failure the
	 * descriptor is the caller's. */
	int (*new)(const struct net_cfg *cfg, struct net_be **out, struct error *e);
	/* Is @fd one, and gets what it needs; taken over into *@h, unless that fails. Any thread.
	 * NULL: none can come later. */
	int (*adopt)(int fd, struct hostfd *h, struct error *e);
	void (*free)(struct net_be *be);
	/* One frame into @to, which has room for the longest; its bytes (0 or too few: to be passed
	 * over). -EAGAIN. */
	ssize_t (*recv)(struct net_be *be, struct iobuf *to);
	/*
	 * The frame goes, or is kept: 0. -EAGAIN: nothing of it; to be asked again when the
	 * descriptor is writable. -EMSGSIZE, -EFAULT: it will never go. @hdr: NET_HDR bytes.
	 */
	int (*send)(struct net_be *be, const uint8_t *hdr, struct iobuf *frame);
	/* Optional: what is kept goes. -EAGAIN: some of it is left, as above. */
	int (*flush)(struct net_be *be);
	/* Is gone: forgets what it has of either direction. */
	void (*close)(struct net_be *be);
	/* Once more, at be->path; NULL where that cannot be. Does not wait. */
	int (*connect)(struct net_be *be);
	/* Optional: what the driver takes of what arrives, NET_F_GUEST_*; of the first pair's. */
	int (*offload)(struct net_be *be, uint64_t features);
	/* Of those of which one interface can have several: frames come and go by it, or by the
	 * others alone. They do when it is new. NULL: there are no others. */
	int (*use)(struct net_be *be, bool on);
	/* Optional: whole frames that it holds. Loaded into one that is new. */
	void (*save)(const struct net_be *be, struct save_out *s);
	void (*load)(struct net_be *be, struct save_in *s);
};

extern const struct net_be_ops net_stream_ops, net_dgram_ops, net_tap_ops;

struct net_be {
	const struct net_be_ops *ops;
	struct hostfd fd;  /* what is watched */
	uint64_t offloads; /* NET_F_* that it can do; set by new */
	char path[108];	   /* empty: none */
};

/* A chain of the receive queue that is in hand. */
struct net_chain {
	uint16_t head, niov;
	uint32_t len;
};

/* A receive and a transmit queue, and the backend that is theirs. */
struct net_pair {
	struct net *n;
	unsigned i;
	struct net_be *be;
	bool used; /* by the driver: the first, and as many as it says; the others are at rest */

	/* receive: chains in hand, in order, and their pieces one after the other */
	struct net_chain chain[LIM_VQ_SIZE];
	unsigned nchains, niov;
	size_t room; /* bytes of all chains */
	struct iovec iov[NET_IOV];
	const struct mem *win;	/* of struct iobuf, the same for all */
	bool full;		/* the next chain has no place in iov */
	bool starved;		/* nothing can be received before the driver gives a buffer */
	uint8_t held[NET_ROOM]; /* a frame that waits for buffers, with its header */
	size_t nheld;

	bool blocked; /* transmit: the backend takes nothing until it is writable */
};

struct net {
	struct vdev v;
	struct net_pair pair[LIM_NET_PAIRS];
	unsigned npairs;
	bool up;      /* the backend is there: all of them */
	bool later;   /* ... or comes by net_attach() */
	int timer_fd; /* of the next try to connect; -1: never */
	struct loop_src timer;
	unsigned retry_ms;
	uint16_t mtu;

	/* control */
	bool promisc, allmulti;
	uint8_t mac[LIM_NET_MACS][6]; /* that are listened to beside cfg's and broadcast */
	unsigned nmacs;
	bool uni_over, multi_over; /* there were more: all are listened to */
	uint64_t guest_offloads;

	struct vq_req req; /* the request in hand: too large for the stack */
};

static inline struct net *net_of(struct vdev *v)
{
	return CONTAINER_OF(v, struct net, v);
}

/* net.c */
/* Watches the backend for what is waited for: after each turn. */
void net_watch(struct net_pair *p);
/* The backend is gone, @r is its errno: link down, and where there is a path it is tried again. */
void net_down(struct net *n, int r);
/* The guest has made itself known. */
void net_announced(struct net *n);
/* Writes the status into the config, NET_S_*, and tells the driver. */
void net_status(struct net *n, uint16_t status);
/* There is a backend again, maybe with a driver that knows nothing of it. */
void net_up(struct net *n);

/* net_pairs.c */
/* The backend learns what the driver takes, n->guest_offloads. */
int net_offload(struct net *n) NODISCARD;
/* The index of the control queue, as the driver has agreed on it. */
unsigned net_ctrl_queue(const struct net *n);
/* How many the driver uses. */
unsigned net_pairs(const struct net *n);
/* It uses the first @pairs: -EINVAL, or the backend's error; then it is as before. */
int net_set_pairs(struct net *n, unsigned pairs) NODISCARD;

/* net_save.c: see struct vdev_class */
void net_save(struct vdev *v, struct save_out *s);
int net_load(struct vdev *v, struct save_in *s) NODISCARD;

/* net_rx.c, net_tx.c */
/* True: the backend had nothing more. */
bool net_rx(struct net_pair *p);
void net_rx_stop(struct net_pair *p);
void net_tx(struct net_pair *p);
/* What is in the ring of a pair that is not in use is the driver's again, and goes nowhere. */
void net_give_back(struct net_pair *p);

/* net_ctl.c */
void net_ctl(struct net *n);
void net_ctl_reset(struct net *n);
/* Has the driver asked for frames to @mac? */
bool net_ctl_wants(const struct net *n, const uint8_t *mac);
void net_ctl_save(const struct net *n, struct save_out *s);
int net_ctl_load(struct net *n, struct save_in *s) NODISCARD;

/* net_sock.c: what the two kinds of unix sockets share */
/* Is it a unix socket of this @type? Asks for its buffers. */
int net_sock_check(int fd, int type, const char *what, struct error *e) NODISCARD;
int net_sock_connect(int fd, const char *path) NODISCARD;
/* A frame that the socket did not take: -EAGAIN while it is full. */
int net_sock_error(int r) NODISCARD;

#endif
