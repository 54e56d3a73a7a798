/* SPDX-License-Identifier: Apache-2.0 */
/* Every resource that a guest, an image or a config can grow has its number here. */
#ifndef KRUN_CORE_LIMITS_H
#define KRUN_CORE_LIMITS_H

#define LIM_VCPUS	16 /* the guest kernel's NR_CPUS */
#define LIM_RAM_MIN	(32ULL << 20)
#define LIM_RAM_MAX	(1ULL << 40)
#define LIM_REGIONS	32   /* memory slots: RAM low, RAM high, one window per fs */
#define LIM_VDEVS	19   /* GSIs 5-15 and 16-23 */
#define LIM_VQS		16   /* queues per device */
#define LIM_VQ_SIZE	1024 /* entries of one queue */
#define LIM_CHAIN	1024 /* buffers of one chain, those of an indirect table included */
#define LIM_IOV		1056 /* iovecs of one chain: descriptors may split at region borders */
#define LIM_CHAIN_BYTES (8U << 20) /* bytes of one chain */
#define LIM_CFG_SPACE	256	   /* config bytes of one device */
#define LIM_BUS_RANGES	64
#define LIM_CMDLINE	2048 /* COMMAND_LINE_SIZE of x86, with the NUL */

#define LIM_RNG_REQUEST	   (64U << 10)	/* bytes of entropy for one request */
#define LIM_BALLOON_PFNS   4096		/* page numbers of one request; Linux sends 256 */
#define LIM_BALLOON_STATS  64		/* statistics of one buffer that are looked at */
#define LIM_BALLOON_REPORT (256U << 20) /* bytes of one report; Linux: 32 blocks of 4 MiB */

#define LIM_CONSOLE_PORTS 7	      /* two queues each, and two for control: LIM_VQS */
#define LIM_CONSOLE_BUF	  (64U << 10) /* bytes held per port while its fd is full */

#define LIM_SERIALS   4		  /* as many as PCs have places for */
#define LIM_SERIAL_TX (64U << 10) /* bytes held per port while its fd is full */
#define LIM_SERIAL_RX 256	  /* bytes that the guest has not read; Linux takes 256 at once */

#define LIM_SMBIOS_STRINGS 255	       /* OEM strings: their number is one byte */
#define LIM_SMBIOS	   (60U << 10) /* bytes of them, each with its end */

#define LIM_BLK_DISKS	 8
#define LIM_BLK_QUEUES	 4
#define LIM_BLK_INFLIGHT 128	      /* requests of one disk that the host is at */
#define LIM_BLK_SEGS	 126	      /* buffers of one request; with the next: LIM_CHAIN_BYTES */
#define LIM_BLK_SEG	 (64U << 10)  /* bytes of one buffer, as the driver is told */
#define LIM_BLK_RANGE	 (64U << 20)  /* bytes of one discard or write-zeroes */
#define LIM_BLK_WORKERS	 4	      /* threads of one disk: without io_uring, for qcow2 */
#define LIM_BLK_BYTES	 (1ULL << 50) /* of one disk */
#define LIM_BLK_BACKING	 8	      /* images below one */
#define LIM_QCOW2_L1	 (32U << 20)  /* bytes of an L1 table, all of it in memory */
#define LIM_QCOW2_RT	 (8U << 20)   /* bytes of a refcount table, all of it in memory */
#define LIM_QCOW2_L2	 (4U << 20)   /* bytes of L2 tables in memory, or 4 tables */
#define LIM_QCOW2_REFS	 (1U << 20)   /* bytes of refcount blocks in memory, or 4 blocks */

#define LIM_NET_NICS	 8
#define LIM_NET_PAIRS	 4	      /* of queues, of one interface */
#define LIM_NET_FRAME	 65550	      /* bytes of a frame: the largest of IP, and its link header */
#define LIM_NET_BUF	 (256U << 10) /* bytes held for a stream that is full, and of one */
#define LIM_NET_SOCK_BUF (1U << 20)   /* what a socket is asked to hold, as far as it may */
#define LIM_NET_MACS	 64	      /* addresses that a driver listens to; with more: to all */

#define LIM_VHU_DEVS  8
#define LIM_VHU_QUEUE 256 /* entries of a queue where nobody says */
#define LIM_VHU_WAIT_MS \
	10000 /* for a back end to take the connection; for all answers of a start */

#define LIM_VSOCK_CONNS	   2048		/* connections of one guest */
#define LIM_VSOCK_GUEST	   1920		/* of these: those that it opened, or that came for it */
#define LIM_VSOCK_CONN_BUF (256U << 10) /* bytes held per connection: the credit we give */
#define LIM_VSOCK_BUF	   (32U << 20)	/* bytes held for all of them */
#define LIM_VSOCK_CTRL	   4096		/* control packets waiting for receive buffers */
#define LIM_VSOCK_MSGS	   256 /* messages held per SEQPACKET connection, its credit aside, ... */
#define LIM_VSOCK_MSG_LEN  64  /* ... or, not of TSI, as many of this length as its credit allows */
#define LIM_VSOCK_PORTS	   256 /* ports mapped to unix sockets */
#define LIM_VSOCK_TRIES	   20  /* connects to such a one whose backlog is full, 100 ms apart */

#define LIM_TSI_SOCKS	 2048	      /* sockets of one guest on the host */
#define LIM_TSI_WINDOW	 128	      /* announced connections of a listener that nobody took */
#define LIM_TSI_CTL	 (512U << 10) /* bytes of records that wait for the guest */
#define LIM_TSI_DGRAMS	 (2U << 20)   /* bytes of messages that wait, for host or guest, of all */
#define LIM_TSI_DRAIN_MS 60000 /* that a peer may take to read what a closed socket still holds */
#define LIM_TSI_REPLIES	 512   /* answers of libkrun's protocol that wait for the guest */

/*
 * Nodes that the guest may remember: by their number, and by the memory that they take here, which
 * is 160 bytes each with a name of up to 23 bytes, and 400 with one of 255. The guest's own kernel
 * needs over 1 KiB for each, so what a guest can hold grows with its RAM, and is less than what we
 * allow it: a guest of 1 GiB whose memory were all inodes would have 987,000, and may have 996,000.
 * The servers of a VM together have LIM_FS_NODE_BASE, which is a part of the fixed overhead of a
 * VM, and LIM_FS_NODE_RAM, which whoever limits the memory of this process adds, so that the limit
 * on nodes is met before that on memory; at most LIM_FS_NODE_SUM, which can be saved.
 */
#define LIM_FS_INODES	     (4U << 20)
#define LIM_FS_NODE_BASE     (24ULL << 20)
#define LIM_FS_NODE_RAM(ram) ((ram) / 8)
#define LIM_FS_NODE_SUM	     (512ULL << 20)
#define LIM_FS_OPEN_INODES   2048	/* O_PATH fds kept open for them */
#define LIM_FS_PINNED	     1024	/* ... and for those whose name is gone: half as many */
#define LIM_FS_HANDLES	     16384	/* open files and directories */
#define LIM_FS_LOCK_OWNERS   1024	/* owners of locks on files; an fd each at most */
#define LIM_FS_LOCKS	     4096	/* ranges that they hold */
#define LIM_FS_LOCK_WAITS    512	/* requests that wait for a lock: half of a queue */
#define LIM_FS_WORKERS	     4		/* threads of a share, beside the one that serves it */
#define LIM_FS_IO	     (1U << 20) /* bytes of one read or write */
#define LIM_FS_DAX_RANGES    16384	/* of 2 MiB in all windows: a mapping of ours each */
#define LIM_FS_NAME	     255
#define LIM_FS_VIRT	     256 /* virtual entries of a share */

/* What a program may say in one context of the krun_* API (libvmm/api). */
#define LIM_API_CTXS	      256    /* contexts of a process at a time */
#define LIM_API_LIST	      4096   /* entries of a list */
#define LIM_API_STR	      131072 /* bytes of a string with its NUL: the kernel's own limit */
#define LIM_API_PATH	      4096   /* bytes of a path with its NUL */
#define LIM_API_FS	      8	     /* directories */
#define LIM_API_VIRT_BYTES    (256U << 20) /* of all virtual files */
#define LIM_API_DISKS	      8
#define LIM_API_NETS	      8
#define LIM_API_VHOST	      8
#define LIM_API_VSOCK_PORTS   256
#define LIM_API_PORT_MAP      256
#define LIM_API_CONSOLES      8
#define LIM_API_CONSOLE_PORTS 6 /* of all consoles, beside the kernel's own */
#define LIM_API_RLIMITS	      16
#define LIM_API_CMDLINE	      1536 /* of a caller's kernel command line: devices come after it */

/*
 * Bytes of a saved VM but RAM, all of them in memory while it is saved or loaded. Room for servers
 * full of nodes with the longest names, which take most of it; with names as people give them a
 * million nodes are 65 MiB.
 */
#define LIM_SAVE_STATE (512U << 20)

#endif
