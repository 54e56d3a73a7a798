/* SPDX-License-Identifier: Apache-2.0 */
/* The devices: how core/vm_build.c makes each one. Every *_new() returns a device that cls->destroy
 * frees. */
#ifndef KRUN_DEV_DEV_H
#define KRUN_DEV_DEV_H

#include <stdbool.h>
#include <stdint.h>

#include "util/loop.h"
#include "virtio/vdev.h"

int rng_new(struct loop *loop, struct mem *mem, struct vdev **out, struct error *e);

int balloon_new(struct loop *loop, struct mem *mem, struct vdev **out, struct error *e);
/* What vmm.h calls struct vmm_balloon, for those who do not see it. */
struct balloon_stats {
	uint64_t target, actual;
	uint64_t age;
	uint64_t free, total, available, caches;
	uint64_t major_faults, oom_kills;
};
/* Any thread: the guest shall leave so much to the host. */
void balloon_set(struct vdev *v, uint64_t bytes);
/* Any thread: what the driver has told last; it is asked anew, once for all who ask meanwhile.
 * -EAGAIN, -ENOMEM, -ESHUTDOWN: it is not. */
int balloon_ask(struct vdev *v, struct balloon_stats *out);

struct console_port_cfg {
	int in_fd, out_fd;   /* owned; -1: none. Never made non-blocking behind the owner's back */
	const char *name;    /* NULL: unnamed; copied */
	bool console;	     /* announced as a console (hvcN) */
	uint16_t cols, rows; /* 0: unknown */
};

/* One port without multiport feature when n == 1 and it has no name: hvc0 and two queues, the
 * fewest exits. */
int console_new(struct loop *loop, struct mem *mem, const struct console_port_cfg *ports,
	unsigned n, struct vdev **out, struct error *e);
/* Owner loop: a new window size of port @port. */
void console_resize(struct vdev *v, unsigned port, uint16_t cols, uint16_t rows);
/* Any thread: raw console output of port 0 goes to @fn instead of an fd (kernel messages to the
 * log). Before the freeze. */
void console_set_sink(
	struct vdev *v, void (*fn)(void *arg, const char *bytes, unsigned n), void *arg);
/* Writes out what the driver has given to the ports; true: nothing of it is left. */
bool console_drain(struct vdev *v);

enum fs_cache {
	FS_CACHE_AUTO,	 /* entries and attributes for at most 1 s */
	FS_CACHE_ALWAYS, /* read-only trees that nobody changes */
	FS_CACHE_NONE,
};

struct fs_virt_cfg {
	const char *path;
	const void *data; /* borrowed for the device's life */
	uint64_t len;
	uint32_t mode;
	bool dir, one_shot;
};

struct fs_cfg {
	char tag[37]; /* 1-36 bytes */
	int root_fd;  /* directory, owned, O_PATH is enough; -1 with @empty */
	bool readonly;
	enum fs_cache cache; /* of what is on none of the mounts in @at */
	struct fs_cache_at {
		uint64_t mnt_id;
		enum fs_cache cache;
	} at[32];
	unsigned nat;
	bool drop_idle;		   /* keep no descriptor that the guest does not use for a second */
	uint64_t dax_gpa, dax_len; /* window; 0: none */
	int32_t *exit_code;  /* atomic, borrowed for the device's life: where ioctl 0x7602 puts its
				argument; NULL: ENOTTY */
	uint64_t node_bytes; /* of memory for what the guest may remember; 0: only their number
				counts */
	bool empty;	     /* no directory of the host (root_fd is -1): nothing but @virt */
	/* Entries that the host does not have; copied, but for what is in the files. vmm.h has the
	 * same with its explanations. */
	const struct fs_virt_cfg *virt;
	unsigned nvirt;
};

int fs_new(struct loop *loop, struct mem *mem, const struct fs_cfg *cfg, struct vdev **out,
	struct error *e);

enum disk_format {
	DISK_RAW,
	DISK_QCOW2,
	DISK_VMDK,
};

enum disk_sync {
	DISK_SYNC_NONE,	   /* the driver is told that there is nothing to flush */
	DISK_SYNC_RELAXED, /* as full: there is nothing between on Linux */
	DISK_SYNC_FULL,	   /* what was flushed is on the medium */
};

struct disk;

/* A disk of the guest's. vmm.h has the same with its explanations. */
struct disk_cfg {
	int fd;			 /* the image; owned */
	enum disk_format format; /* never guessed */
	enum disk_sync sync;
	bool readonly;
	bool direct;	 /* O_DIRECT */
	bool threads;	 /* no io_uring */
	unsigned queues; /* 0: 1 */
	char serial[21]; /* empty: one that is made of the file's device and inode */
	/* Opens the file that an image names, for reading: the one below a qcow2 image, a VMDK's
	 * extent; its fd or -errno. NULL: such images are refused. */
	int (*open_backing)(void *arg, const char *name);
	void *backing_arg;
	struct disk
		*opened; /* or NULL; of disk_open() with the same: owned, and @fd means nothing */
	unsigned depth;	 /* private: how many images lie above */
	const char *beside; /* private: the directory of the image that names the next, with its
			       slash, from that of the first; or NULL */
};

/* Takes over what is open in @cfg in every case. */
int blk_new(struct loop *loop, struct mem *mem, const struct disk_cfg *cfg, struct vdev **out,
	struct error *e);

enum net_kind {
	NET_STREAM, /* a unix stream socket, each frame behind its length: passt */
	NET_DGRAM,  /* unix datagrams, each a frame: gvproxy */
	NET_TAP,
};

/* A network interface of the guest's. vmm.h has the same with its explanations. */
struct net_cfg {
	enum net_kind kind;
	int fd;		   /* owned; -1: none, of a stream with a path or with @later */
	char path[108];	   /* empty: none; a backend that goes away is connected to again there */
	uint8_t mac[6];	   /* of one station: not a group address */
	uint16_t mtu;	   /* that the guest is told; 0: none */
	uint64_t offloads; /* feature bits that may be offered, as far as the backend can */
	bool vfkit;	   /* NET_DGRAM: "VFKT" goes first */
	bool later;	   /* no fd and no path: the link is down until net_attach() */
	/* NET_TAP: one for each further queue of the same interface; owned. Not with @later. */
	int more[LIM_NET_PAIRS - 1];
	unsigned nmore;
};

int net_new(struct loop *loop, struct mem *mem, const struct net_cfg *cfg, struct vdev **out,
	struct error *e);
/* What is behind one that was made for @later: @fd, which it takes over in every case. Any thread
 * but a vCPU's; waits for the owner loop. -EBUSY: it has one; -EINVAL: not such a one, or no such
 * descriptor. */
int net_attach(struct vdev *v, int fd, struct error *e);
/* Closes that, if it is there. Threads as above. */
void net_detach(struct vdev *v);

/*
 * A device of another process. vmm.h has the same with its explanations. The back end is waited
 * for, here and on @loop, which should have nothing else to do than such devices; @mem has RAM of
 * memfds and nothing else.
 */
struct vhost_user_cfg {
	int fd; /* a unix stream socket, connected; owned */
	uint32_t type;
	unsigned nqueues;	 /* 0: as many as the back end has, or is usual */
	uint16_t qsize[LIM_VQS]; /* 0: as the one before; the first: LIM_VHU_QUEUE */
	char name[37];		 /* for the log; of a file system its tag */
	bool essential;
	unsigned wait_ms; /* for all answers of a start or reset; 0: LIM_VHU_WAIT_MS */
};

int vhost_user_new(struct loop *loop, struct mem *mem, const struct vhost_user_cfg *cfg,
	struct vdev **out, struct error *e);
/* On @loop, or before it runs: cfg->wait_ms from now on. For tests, whose device is to be made
 * without haste, and then not to wait for what does not come. */
void vhost_user_set_wait(struct vdev *v, unsigned ms);

/* What struct vmm_vsock_done says, for those who do not see vmm.h. */
struct vsock_done {
	uint32_t id;
	int32_t error;
};

/* The guest's part of a vsock stream that the host opened; see dev/vsock.h for the rest. */
struct vsock_cfg {
	uint64_t guest_cid;
	/* a guest connect to this host port is refused as any other, and taken as the hint that
	 * parked host connects may be tried (0: none) */
	uint32_t knock_port;
	/*
	 * Gets a struct vsock_done when the guest-to-host direction of a stream with an id has
	 * ended: everything is written to wfd, or never will be. Borrowed, non-blocking; 0: none. A
	 * pipe of the usual size holds thousands.
	 */
	int done_fd;
	const struct vsock_port *ports; /* borrowed for vsock_new(), their fds taken over */
	unsigned nports;
	const struct vsock_net *net; /* TSI; borrowed likewise; NULL: none */
};

/* A port that is mapped to a unix socket. */
struct vsock_port {
	uint32_t port;
	int fd;		/* a socket that listens: what connects there is connected to the guest's
			   @port. -1: the other way round */
	char path[108]; /* connected to when the guest connects to @port, as its type says */
};

/* What the guest's sockets may do; vmm.h has the same with its explanations. */
struct net_rule {
	bool deny;
	uint8_t family, prefix;
	uint8_t ip[16];
	uint16_t first, last;
};
struct net_map {
	uint16_t host, guest;
};
struct vsock_net {
	const struct net_rule *egress, *listen;
	unsigned negress, nlisten;
	const struct net_map *map;
	unsigned nmap;
	bool mapped;
};

int vsock_new(struct loop *loop, struct mem *mem, const struct vsock_cfg *cfg, struct vdev **out,
	struct error *e);
/*
 * Any thread, returns at once (posts to the loop). Connects to guest port @port and splices: bytes
 * read from @rfd go to the guest, bytes from the guest are written to @wfd (both owned; may be the
 * same file or -1; rfd == wfd means one fd, closed once). End of file on rfd (not its absence)
 * becomes a half-close towards the guest, a guest's half-close closes wfd (shutdown(SHUT_WR) when
 * it is the same socket). Until the guest has knocked, or answers, the connect is parked. @hdr (at
 * most 256 bytes, copied) is sent first. @id names the stream across save and load (0: it is reset
 * on load). Without wfd the guest is told that nobody reads as soon as the stream is up; without
 * rfd it is told nothing. -EMFILE, -EMSGSIZE, -ENOMEM: the fds are closed then too. The process
 * must ignore SIGPIPE.
 */
int vsock_connect(struct vdev *v, uint32_t port, int rfd, int wfd, const void *hdr,
	unsigned hdr_len, uint32_t id);
/* Any thread: bytes of the guest that their host readers have not taken yet; they outlive a reset
 * of the device, not the device. */
uint64_t vsock_pending(struct vdev *v);
/* After load and before the device runs: gives a loaded stream its fds (owned). -ENOENT, and then
 * they are closed. */
int vsock_reattach(struct vdev *v, uint32_t id, int rfd, int wfd);

#endif
