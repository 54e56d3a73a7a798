/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvmm: a virtual machine in this process.
 *
 *	vmm_new()	makes the VM (KVM_CREATE_VM); no thread, no guest memory yet
 *	vmm_build()	memory, devices, kernel from a struct vmm_config; nothing runs
 *	vmm_start()	freezes the build and starts loops and vCPUs
 *	vmm_wait()	until it has ended, or poll vmm_event_fd()
 *	vmm_free()	stops what runs and releases everything
 *
 * One thread drives these calls (the one that made the VM); vmm_stop(), vmm_vsock_connect(),
 * vmm_stats() and those below that say so may be called from any. A process may have several VMs.
 * The library ends the process only where an assertion of its own fails, and prints nothing.
 * Outside of struct vmm it keeps the log's sink, counts that limit the log's lines, and what
 * belongs to threads of its own.
 *
 * Errors are 0 or -errno with a sentence in struct error.
 *
 * What a program sees to:
 *   - SIGRTMIN+0 kicks vCPUs: the first vmm_new() installs its handler, and it stays. The program
 *     ignores SIGPIPE; the library's own threads block every other signal.
 *   - A descriptor that the configuration does not use is -1 and not 0: kernel_fd, those of ports.
 *   - Each share takes up to half of RLIMIT_NOFILE for the guest's files: raise it before. /proc is
 *     mounted. Who shares files as root has PR_SET_DUMPABLE changed now and then.
 *   - The kernel has virtio-mmio from its command line and the MP table, as ours has, or ACPI
 *     (@acpi). `pkg-config --variable=kernel libvmm` is where ours is installed.
 *   - "console=hvc0" is the virtio console. With "reboot=t panic=-1" a guest that restarts or
 *     panics ends its VM.
 *
 * A program outside of this tree includes <libvmm/vmm.h> and links with libvmm.a (`pkg-config
 * libvmm`), of one and the same version: there is no promise that the next has the same interface,
 * nor that it loads what this one has saved. examples/libvmm.c in the documentation's directory is
 * one.
 */
#ifndef KRUN_VMM_H
#define KRUN_VMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm_error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vmm;

#define VMM_MAX_FS	    8
#define VMM_MAX_FS_VIRT	    256
#define VMM_MAX_FS_AT	    32 /* mounts of one share with caching of their own */
#define VMM_MAX_DISKS	    8
#define VMM_MAX_NICS	    8
#define VMM_MAX_NIC_QUEUES  4
#define VMM_MAX_VHOST_USER  8
#define VMM_MAX_QUEUES	    16 /* of one device */
#define VMM_MAX_PORTS	    7
#define VMM_MAX_SERIALS	    4
#define VMM_VCPUS_MAX	    16
#define VMM_GUEST_CID	    3
#define VMM_MAX_VSOCK_PORTS 256
#define VMM_MAX_NET_RULES   64
#define VMM_MAX_PORT_MAP    256

enum vmm_fs_cache {
	VMM_FS_CACHE_AUTO,
	VMM_FS_CACHE_ALWAYS,
	VMM_FS_CACHE_NONE,
};

/*
 * An entry of a share that the host does not have: the guest finds it by its name, in place of what
 * the host has under that, and nothing that the guest does to it reaches the host. It is root's,
 * can be read alone, and does not change; in such a directory nothing can be made.
 */
struct vmm_fs_virt {
	/* From the share's root, without a slash in front. What is above the last component are
	 * directories that come before this one in the list. Borrowed until vmm_build() returns. */
	const char *path;
	const void *data; /* of a file; borrowed until vmm_free() */
	uint64_t len;
	uint32_t mode; /* permissions; set-id bits and the sticky bit as well */
	bool dir;      /* a directory: no data */
	/* Its name is there until it is looked up, and the file until it is closed after that:
	 * never again in this VM, whatever the guest does. Of a file. */
	bool one_shot;
};

/* A directory shared with the guest by virtio-fs. */
struct vmm_fs {
	char tag[37]; /* 1-36 bytes, NUL-terminated */
	int root_fd;  /* directory; taken over by vmm_build(). -1 with @empty */
	bool empty;   /* no directory of the host's: the guest finds @virt, and nothing else */
	bool readonly;
	enum vmm_fs_cache cache; /* where no entry of @at says otherwise */
	struct vmm_fs_at {
		uint64_t mnt_id; /* of a mount below the directory, as statx(2) says it */
		enum vmm_fs_cache cache;
	} at[VMM_MAX_FS_AT];
	unsigned nat;
	/* What the host unmounts below the directory must go (slave mounts): descriptors of files
	 * that the guest has not open are kept for less than a second. */
	bool drop_idle;
	/* 0: no window; nor with @drop_idle, as a mapping keeps its mount busy like a descriptor,
	 * nor beside a vhost-user device, whose back end would be given addresses that it cannot
	 * see */
	uint64_t dax_bytes;
	/* Atomic, borrowed until vmm_free(): gets the argument of ioctl 0x7602 on any file or
	 * directory of the share, by which libkrun's init tells how it ended. NULL: no such ioctl.
	 */
	int32_t *exit_code;
	/* nvirt of them, at most VMM_MAX_FS_VIRT; for vmm_load() the same as when it was saved */
	const struct vmm_fs_virt *virt;
	unsigned nvirt;
};

enum vmm_disk_format {
	VMM_DISK_RAW,
	VMM_DISK_QCOW2,
	VMM_DISK_VMDK,
};

enum vmm_disk_sync {
	VMM_DISK_SYNC_NONE,    /* the guest is told that there is nothing to flush */
	VMM_DISK_SYNC_RELAXED, /* the same as full */
	VMM_DISK_SYNC_FULL,    /* what the guest flushed is on the medium */
};

/*
 * A disk of the guest's (virtio-blk): a regular file or a block device, locked for as long as the
 * VM lasts (-EBUSY: somebody else has it). Disks are found in the order of the config: vda, vdb.
 */
struct vmm_disk {
	int fd; /* open for reading and writing, or for reading with @readonly; taken over */
	enum vmm_disk_format format; /* never guessed */
	enum vmm_disk_sync sync;
	bool readonly;
	bool direct;	 /* O_DIRECT: past the host's page cache */
	bool threads;	 /* not by io_uring */
	unsigned queues; /* 1 to 4; 0: 1 */
	char serial[21]; /* at most 20 bytes; empty: one made of the file's device and inode */
	/*
	 * Opens, for reading, the file that an image names: the one below a qcow2 image, the flat
	 * extent of a VMDK. Called within vmm_build(), vmm_load() or vmm_disk_open(); returns its
	 * fd, which is taken over, or -errno. The name is whatever stands in the image, a relative
	 * one made to begin in the first image's directory: which files it may mean is this
	 * function's rule. NULL: an image with such a file is refused.
	 */
	int (*open_backing)(void *arg, const char *name);
	void *backing_arg;
	void *opened; /* of vmm_disk_open(), with @fd -1; NULL else */
};

/*
 * Opens, reads and locks all of the image @d now, with what it names, where vmm_build() would: for
 * who gives up rights in between. Takes over d->fd in every case; vmm_build() and vmm_load() take
 * what became of it, or vmm_disk_close() does.
 */
int vmm_disk_open(struct vmm_disk *d, struct error *e);
void vmm_disk_close(struct vmm_disk *d); /* opened, or with its fd alone, or with neither */

enum vmm_nic_kind {
	VMM_NIC_STREAM, /* a unix stream socket, each frame behind its length (32 bits, big-endian):
			   passt, QEMU */
	VMM_NIC_DGRAM,	/* unix datagrams, a frame each: gvproxy, vfkit */
	VMM_NIC_TAP,	/* a tap interface, opened with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR */
};

/*
 * A network interface of the guest's (virtio-net): eth0, eth1 in the order of the config. When the
 * other side goes away the guest sees the link go down. With @path it is connected to again there
 * as soon as it answers, by the rights, the root directory and the network namespace that this
 * process has then, and a thread that has been confined must be allowed socket() and connect().
 */
struct vmm_nic {
	enum vmm_nic_kind kind;
	/*
	 * Taken over; non-blocking from then on where it is a tap. A socket is connected, unless
	 * there is a path. STREAM: -1 with a path. DGRAM: with a path a socket that has a name, by
	 * which it is answered.
	 */
	int fd;
	char path[108]; /* NUL-terminated; empty: none. Not of a tap */
	uint8_t mac[6];
	/* What the guest is told that a packet may have; 0: nothing. passt takes 65520. */
	uint16_t mtu;
	/* What may be left to the other side: feature bits of virtio-net (CSUM 0, GUEST_CSUM 1,
	 * GUEST_TSO4 7, GUEST_TSO6 8, GUEST_ECN 9, GUEST_UFO 10, HOST_TSO4 11, HOST_TSO6 12,
	 * HOST_ECN 13, HOST_UFO 14). Of these the guest is offered what that can do: a tap all,
	 * sockets none. */
	uint32_t offloads;
	bool vfkit; /* DGRAM with a path: "VFKT" is the first datagram of each connection */
	/* STREAM, TAP: neither fd nor path, the link is down until vmm_nic_attach(). Of a tap that
	 * is not known yet the guest is offered what every kernel's can do. */
	bool later;
	/*
	 * TAP: descriptors of further queues of the same interface, which was made with
	 * IFF_MULTI_QUEUE; taken over. A driver that wants more than one pair of queues has a
	 * queue of the tap for each, and connections are dealt out to them by the kernel. They
	 * spare a guest's processors the lock of a queue: all interfaces have one thread and each
	 * has one interrupt. Not with @later.
	 */
	int queue_fd[VMM_MAX_NIC_QUEUES - 1];
	unsigned nqueue_fds;
};

/*
 * A device that another process serves by vhost-user, a disk of qemu-storage-daemon's or a
 * directory of virtiofsd's for example. That process gets all of the guest's memory, which is
 * shared memory then, whatever ram_memfd says: it is trusted with the guest, though not with this
 * process. When it goes away, or breaks the protocol, the device is of no more use, and a line in
 * the log says why. A VM that has one is neither saved nor loaded (-ENOTSUP).
 */
struct vmm_vhost_user {
	int fd; /* a unix stream socket, connected; taken over. It is used within vmm_build() */
	/* virtio's number: 2 a disk, 3 console, 4 random numbers, 17 clock, 18 input, 25 sound, 26
	 * a file system, 36 CAN; -ENOTSUP for others */
	uint32_t type;
	unsigned queues;		     /* 0: as many as the back end has, or is usual */
	uint16_t queue_size[VMM_MAX_QUEUES]; /* 0: as the one before; the first: 256 */
	char name[37];	/* NUL-terminated; of a file system its tag, of others for the log */
	bool essential; /* the VM ends when the device breaks */
};

/* A port of the virtio console. fds are taken over by vmm_build(); -1: none. */
struct vmm_port {
	int in_fd, out_fd;
	char name[33]; /* empty: unnamed */
	bool console;
	uint16_t rows, cols; /* of a terminal; 0: not known */
};

/* A serial port as PCs have them (a 16550A): ttyS0, ttyS1 in the order of the config. Slow, since
 * each byte is a trap; for kernels that have no other console. fds as those of a port. */
struct vmm_serial {
	int in_fd, out_fd;
};

struct vmm_vsock_done {
	uint32_t id;
	int32_t error; /* 0, or -EPIPE: the reader went away, or the stream was reset, before its
			  end */
};

/*
 * A vsock port that is mapped to a unix socket of the host (krun_add_vsock_port2()). With @listen
 * what connects to @fd, a socket that listens (taken over by vmm_build()), is connected to the
 * guest's @port; without, a connection of the guest to @port is one to @path, made with the rights
 * and the root directory that this process has then, SOCK_STREAM or SOCK_SEQPACKET as the guest's
 * is.
 */
struct vmm_vsock_port {
	uint32_t port;
	bool listen;
	int fd;		/* -1 without @listen */
	char path[108]; /* NUL-terminated */
};

/*
 * What the guest may do by TSI: the first rule that matches decides, and when none does the
 * opposite of the last; without rules all is allowed. An IPv4-mapped address is judged as IPv4, the
 * unspecified one as loopback. Egress: addresses and ports of TCP connects and of each UDP
 * datagram. Listen: ports alone (family 0), for explicit binds and for what listens.
 */
struct vmm_net_rule {
	bool deny;
	uint8_t family; /* 4, 6, 0: any address */
	uint8_t prefix; /* bits of @ip that count */
	uint8_t ip[16]; /* network order; IPv4: the first 4 */
	uint16_t first_port, last_port;
};

/* The guest's port @guest is @host on the host. */
struct vmm_port_map {
	uint16_t host, guest;
};

struct vmm_net {
	bool tsi; /* the guest's sockets are made by this process, in its network namespace */
	struct vmm_net_rule egress[VMM_MAX_NET_RULES], listen[VMM_MAX_NET_RULES];
	unsigned negress, nlisten;
	/* krun_set_port_map(): with @mapped only the ports of the map are the host's, and a guest
	 * socket bound to another is the guest's alone. No port twice on one side. */
	bool mapped;
	struct vmm_port_map map[VMM_MAX_PORT_MAP];
	unsigned nmap;
};

enum vmm_thread {
	VMM_THREAD_IO,	  /* console, random numbers, vsock, balloon */
	VMM_THREAD_FS,	  /* shares; starts workers of its own */
	VMM_THREAD_BLK,	  /* disks, when there are any; starts workers of its own */
	VMM_THREAD_NET,	  /* network interfaces, when there are any */
	VMM_THREAD_VHOST, /* vhost-user devices, when there are any */
	VMM_THREAD_VCPU,
};

/* Plain data; zero-initialise it, then set what matters. */
struct vmm_config {
	/*
	 * Called on each thread that vmm_start() makes, before it serves or runs a guest: what the
	 * caller sets there (a seccomp filter) is in force from then on, also in threads that this
	 * one starts. It cannot say no; where it fails it ends the process.
	 */
	void (*on_thread)(enum vmm_thread which, void *arg);
	void *on_thread_arg;
	unsigned vcpus;	    /* 1-16 */
	uint64_t ram_bytes; /* multiple of 4096, at least 32 MiB */
	bool ram_memfd;	    /* shareable memory instead of private anonymous */
	bool no_thp;	    /* do not ask for transparent huge pages */
	/*
	 * All of the RAM, a multiple of 2 MiB then, in 2 MiB pages of the host's pool, taken by
	 * vmm_build() or vmm_load(): -ENOSPC when it has too few. Shareable memory that is never
	 * given back.
	 */
	bool hugepages;
	bool pit; /* an interval timer, which kernels without KVM support want */
	/*
	 * The I/O APIC in this process, the local APICs alone in the kernel, and no PIC; without
	 * @pit. -ENOTSUP where the host's KVM cannot. What confines threads has to let vCPUs call
	 * KVM_SET_GSI_ROUTING and KVM_IRQ_LINE, and, for a guest that makes inputs level-triggered,
	 * all threads the latter; KVM tells the processors that are meant.
	 */
	bool split_irqchip;
	/* The guest may run guests of its own (-ENOTSUP where the host's KVM does not let it). What
	 * it is then in the middle of cannot be saved: vmm_save() and vmm_load() answer -ENOTSUP.
	 */
	bool nested;
	/* ACPI tables beside the MP table, a reset and a sleep register that they name: for kernels
	 * of distributions, which have neither MP tables nor devices on the command line. */
	bool acpi;
	/* The clock of a PC, which tells the host's time, UTC: for kernels without KVM support. It
	 * takes an interrupt input, so that there can be one device less. */
	bool rtc;
	/* An SMBIOS table, with OEM strings if there are any: at most 255, and 60 KiB in all;
	 * borrowed until vmm_build() returns. */
	bool smbios;
	const char *const *oem_strings;
	unsigned noem_strings;

	int kernel_fd; /* ELF vmlinux or bzImage; taken over; -1 only for vmm_load() */
	bool prefer_pvh;
	const void *initrd; /* borrowed until vmm_build() returns */
	size_t initrd_len;
	const char *cmdline; /* the kernel's; device descriptions are appended; borrowed likewise */
	const char *cmdline_end; /* or NULL: what stands behind those, borrowed likewise */

	struct vmm_fs fs[VMM_MAX_FS];
	unsigned nfs;
	struct vmm_disk disk[VMM_MAX_DISKS];
	unsigned ndisks;
	struct vmm_nic nic[VMM_MAX_NICS];
	unsigned nnics;
	struct vmm_vhost_user vhost_user[VMM_MAX_VHOST_USER];
	unsigned nvhost_user;
	bool rng;
	/* Memory that the guest frees is the host's again, within two seconds with a kernel that
	 * reports free pages; and vmm_balloon_set(). With @hugepages it tells figures alone. */
	bool balloon;
	bool vsock;
	uint32_t vsock_knock_port; /* see vmm_vsock_connect() */
	/*
	 * A pipe or socket (borrowed, non-blocking) that gets a struct vmm_vsock_done for every
	 * stream with an id whose guest-to-host direction has ended: all of it was written to wfd,
	 * or wfd is gone, or the stream was reset. 0: none.
	 */
	int vsock_done_fd;
	struct vmm_vsock_port vsock_port[VMM_MAX_VSOCK_PORTS];
	unsigned nvsock_ports;
	struct vmm_net net; /* needs vsock */
	bool console; /* a virtio console; without ports its output goes to the log as warnings, of
		       * which a guest has a few each second */
	struct vmm_port port[VMM_MAX_PORTS];
	unsigned nports;
	struct vmm_serial serial[VMM_MAX_SERIALS];
	unsigned nserials;
};

/* How a VM ended. */
enum vmm_end {
	VMM_RUNNING,
	VMM_END_GUEST,	 /* the guest shut itself down or reset the machine */
	VMM_END_STOPPED, /* vmm_stop() */
	VMM_END_FAILED,	 /* hypervisor failure, or a device that it cannot live without broke;
			    vmm_why() */
};

struct vmm_stats {
	uint64_t kvm_runs; /* returns of the run call, all vCPUs */
	uint64_t mmio_exits, pio_exits;
	uint64_t irqs; /* device interrupts raised */
	uint64_t ram_bytes;
};

enum vmm_log_level {
	VMM_LOG_ERROR,
	VMM_LOG_WARN,
	VMM_LOG_INFO,
	VMM_LOG_DEBUG,
};

/* @line is NUL-terminated, without newline; called from several threads at once. */
typedef void vmm_log_fn(void *arg, enum vmm_log_level level, const char *line);
/* Before there is a VM: where lines up to @max go, of all VMs. NULL: nowhere, as at the beginning.
 */
void vmm_log_to(vmm_log_fn *fn, void *arg, enum vmm_log_level max);

/* @kvm_fd: an open /dev/kvm, borrowed for the call. */
int vmm_new(int kvm_fd, struct vmm **out, struct error *e);
/* Takes over the fds of @cfg in every case. */
int vmm_build(struct vmm *vm, struct vmm_config *cfg, struct error *e);
int vmm_start(struct vmm *vm, struct error *e);
/* Readable once the VM has ended; owned by the VM. */
int vmm_event_fd(const struct vmm *vm);
enum vmm_end vmm_state(const struct vmm *vm);
const char *vmm_why(const struct vmm *vm);
/* Did the guest's kernel give up? Only known where the VM has ended and the console's port 0, or
 * the console without ports, had no descriptor for output. */
bool vmm_panicked(const struct vmm *vm);
enum vmm_end vmm_wait(struct vmm *vm);
/* Any thread: asks the vCPUs to end; vmm_wait() returns soon after. */
void vmm_stop(struct vmm *vm);
/* Between vmm_build() and vmm_free(), any thread: the size of port @port of the console is another
 * one. What is no port is passed over. */
void vmm_console_resize(struct vmm *vm, unsigned port, uint16_t rows, uint16_t cols);
/* Once it has ended: waits, at most @ms, until the host has what the guest wrote to its console,
 * the console's ports and serial ports. False: some of it is left. */
bool vmm_drain(struct vmm *vm, unsigned ms);
void vmm_free(struct vmm *vm); /* NULL is fine */

/*
 * Parks every vCPU and quiets every device; nested calls are not counted. -ESRCH: the VM has ended;
 * -EAGAIN: a vCPU is in the middle of an access without end, nothing is paused, the caller may try
 * again.
 */
int vmm_pause(struct vmm *vm);
int vmm_resume(struct vmm *vm);
/*
 * For a process that ends without vmm_free(): stops the VM, and what the guest was told is done is
 * in the files of its disks afterwards, also what a format keeps in memory until a flush; that
 * waits for the medium. The disks do nothing more. In every state, also of a VM that has ended;
 * nothing to do without disks.
 */
void vmm_settle(struct vmm *vm);
/*
 * Paused: writes the whole VM, RAM included (sparse), to @fd, an open regular file whose old
 * content goes. -EBUSY: a device holds a request that it can neither finish nor do again after
 * loading. -EIO: a disk's image lacks what the guest was told is there. The VM stays as it is and
 * can go on.
 */
int vmm_save(struct vmm *vm, int fd, struct error *e);
/*
 * In place of vmm_build(): the same cfg (vcpus, RAM, fs, ports; kernel, initrd and cmdline unused)
 * and the file; then vmm_start() begins paused-free where the guest was. Streams
 * (vmm_vsock_connect()) that were open come back without their fds: the caller attaches new ones
 * with vmm_vsock_reattach() before vmm_start(), the others are reset.
 */
int vmm_load(struct vmm *vm, struct vmm_config *cfg, int fd, struct error *e);

/*
 * Opens a stream to guest port @port: bytes read from @rfd go to the guest, bytes from the guest to
 * @wfd. Both are taken over; they may be equal (a socket) or -1. @hdr (at most 256 bytes) is sent
 * first. A connect made before the guest listens waits for its knock: a guest connect to the host's
 * knock port, which is refused as any other but taken as a hint. Returns at once.
 * @id names the stream for vmm_vsock_reattach(); unique among open streams, 0 for none.
 */
int vmm_vsock_connect(struct vmm *vm, uint32_t port, int rfd, int wfd, const void *hdr,
	size_t hdr_len, uint32_t id);
/*
 * Between vmm_load() and vmm_start(), on the thread that makes these: gives a loaded stream its
 * fds, taken over in every case. -ENOENT: no such stream; -EBUSY: started; -ENODEV.
 */
int vmm_vsock_reattach(struct vmm *vm, uint32_t id, int rfd, int wfd);

/*
 * What is behind the guest's interface @n, which was made for @later: the link comes up. @fd is as
 * of struct vmm_nic, taken over in every case. Any thread but those of the VM; waits for its loop.
 * -EBUSY: there is something already; -EINVAL: no such interface, not made for that, or not of its
 * kind.
 */
int vmm_nic_attach(struct vmm *vm, unsigned n, int fd, struct error *e);
/* The other way: what was attached is closed when this returns, the link is down, and there may be
 * another. Nothing where there is none. Threads as above. */
void vmm_nic_detach(struct vmm *vm, unsigned n);

void vmm_stats(const struct vmm *vm, struct vmm_stats *out);

/* Bytes but for counts. */
struct vmm_balloon {
	uint64_t target, actual; /* of the balloon: asked for, and what the guest has put into it */
	uint64_t age;		 /* how often the guest has told the rest; 0: never, and all is 0 */
	uint64_t free, total, available, caches; /* as /proc/meminfo has them in the guest */
	uint64_t major_faults, oom_kills;	 /* since it began */
};
/*
 * Any thread, needs a balloon (-ENODEV). The guest is asked to do without @bytes of its RAM, which
 * are the host's until it is asked for less; it takes some back by itself before it kills a process
 * for want of memory. Returns at once: vmm_balloon() tells how far it is. -ENOTSUP: its RAM is in
 * huge pages, which stay.
 */
int vmm_balloon_set(struct vmm *vm, uint64_t bytes);
/* Any thread. What the guest has told last, and asks it to tell anew, once for all who ask
 * meanwhile: for current figures call now and then until @age has grown. -ENODEV: it has none.
 * -ESHUTDOWN (the VM has ended), -EAGAIN, -ENOMEM: it is not asked, and *out is filled all the
 * same. */
int vmm_balloon(struct vmm *vm, struct vmm_balloon *out);

/* Probes what the host can do, each in microseconds where all is well and in two seconds at most;
 * the guest probe runs ten instructions in a VM of its own. */
enum vmm_probe {
	VMM_PROBE_API,	 /* API version 12 */
	VMM_PROBE_CAPS,	 /* irqchip, user memory, irqfd, ioeventfd, ... */
	VMM_PROBE_GUEST, /* a guest that really runs */
	VMM_PROBE_CMPXCHG16B,
	VMM_PROBE_INT3,
	VMM_PROBE_XSAVE,
	VMM_PROBE_MAX,
};
int vmm_probe(int kvm_fd, enum vmm_probe what, struct error *e);

#ifdef __cplusplus
}
#endif
#endif
