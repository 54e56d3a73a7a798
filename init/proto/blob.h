/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container, and each process in it, as the agent gets it: config.json digested by the host
 * into a flat list of records.
 *
 * A blob is a struct blob_hdr and then `count` records, each a struct blob_rec with `len` bytes of
 * payload, padded with zeros to a multiple of 8. A payload is one fixed struct (perhaps none) and
 * then a fixed number of NUL-terminated strings, which end exactly where the payload ends. Records
 * of one tag keep their order; tags may come in any order. Tags, flags and values are closed: what
 * the reader does not know is an error, as are a tag that does not belong to the kind of blob, one
 * that comes twice where one is meant, and counts beyond the limits below.
 *
 * The host writes with blob_put_*(), the agent reads with blob_read(). Both halves compile both.
 */
#ifndef KRUN_PROTO_BLOB_H
#define KRUN_PROTO_BLOB_H

#include "msg.h"

#define BLOB_MAGIC 0x424e524bu /* "KRNB" */
#define BLOB_MAX   (MSG_MAX - 64)

#define BLOB_MAX_ARGS	  65536
#define BLOB_MAX_ENV	  65536
#define BLOB_MAX_GIDS	  65536
#define BLOB_MAX_RLIMITS  16
#define BLOB_MAX_BPF	  4096 /* instructions of a seccomp filter, 8 bytes each */
#define BLOB_MAX_MOUNTS	  4096
#define BLOB_MAX_PATHS	  4096 /* masked, and as many readonly */
#define BLOB_MAX_DEVICES  1024
#define BLOB_MAX_SYSCTLS  1024
#define BLOB_MAX_TIMEOFFS 2
#define BLOB_MAX_CGROUP	  128
#define BLOB_MAX_HOOKS	  256
#define BLOB_MAX_STR	  131072 /* one argument or variable, NUL included: the kernel's own limit */
#define BLOB_MAX_PATH	  4096	 /* a path or name, NUL included */

enum blob_kind {
	BLOB_CREATE = 1, /* process and container */
	BLOB_EXEC = 2,	 /* process only */
	BLOB_UPDATE = 3, /* BLOB_T_CGROUP only */
};

enum blob_tag {
	/* the process: BLOB_CREATE and BLOB_EXEC */
	BLOB_T_PROCESS = 1,   /* blob_process; exactly one */
	BLOB_T_ARG = 2,	      /* string; at least one */
	BLOB_T_ENV = 3,	      /* string NAME=VALUE, the environment; HOME is added if not there */
	BLOB_T_CWD = 4,	      /* string, absolute; at most one, default "/" */
	BLOB_T_GIDS = 5,      /* array of uint32_t, no strings; at most one */
	BLOB_T_RLIMIT = 6,    /* blob_rlimit */
	BLOB_T_SECCOMP = 7,   /* blob_seccomp, then BPF instructions; at most one */
	BLOB_T_FD = 8,	      /* blob_fd; the first is descriptor 3, and so on */
	BLOB_T_IN_CGROUP = 9, /* BLOB_EXEC only: string, a path below the container's cgroup; at
				 most one */

	/* the container: BLOB_CREATE only */
	BLOB_T_CONTAINER = 16, /* blob_container; exactly one */
	BLOB_T_ROOT = 17, /* strings: fs type ("auto": those for disks, until one knows it), source,
			     options; at most one, default virtiofs with tag "root" */
	BLOB_T_HOSTNAME = 18,	/* string; at most one */
	BLOB_T_DOMAINNAME = 19, /* string; at most one */
	BLOB_T_MOUNT = 20,	/* blob_mount, then strings: fs type, source, destination, data */
	BLOB_T_MASKED = 21,	/* string, absolute path */
	BLOB_T_READONLY = 22,	/* string, absolute path */
	BLOB_T_DEVICE = 23,	/* blob_device, then string: absolute path */
	BLOB_T_SYSCTL = 24,	/* strings: dotted name (a slash is a dot within a part), value */
	BLOB_T_TIMEOFF = 26,	/* blob_timeoff */
	BLOB_T_HOOK = 27,	/* blob_hook, then string: absolute path */
	BLOB_T_HOOK_ARG = 28,	/* string, of the hook before it; at least one, argv[0] included */
	BLOB_T_HOOK_ENV = 29,	/* string, of the hook before it, behind its arguments */
	BLOB_T_HOOK_STATE = 30, /* string: what hooks read on stdin; at most one */
	BLOB_T_NOTIFY = 31,	/* string: absolute path, two components or more: datagrams that are
				   sent there become MSG_NOTIFY; at most one */

	/* BLOB_CREATE and BLOB_UPDATE */
	BLOB_T_CGROUP = 32, /* strings: file name ("memory.max"), value; written to the container's
			       cgroup in this order */
};

struct blob_hdr {
	uint32_t magic;
	uint16_t version; /* PROTO_VERSION */
	uint16_t kind;
	uint32_t len; /* of the whole blob */
	uint32_t count;
};

struct blob_rec {
	uint16_t tag;
	uint16_t reserved;
	uint32_t len; /* payload without padding */
};

#define BLOB_P_NO_NEW_PRIVS 0x001u
#define BLOB_P_UMASK	    0x002u /* else the umask is 0022 */
#define BLOB_P_OOM	    0x004u /* oom_score_adj is set, else left alone */
#define BLOB_P_CAPS	    0x008u /* caps[] are applied, else the process keeps all of them (uid 0) */
#define BLOB_P_SCHED	    0x010u /* sched_* are applied */
#define BLOB_P_IOPRIO	    0x020u
#define BLOB_P_PERSONALITY  0x040u
/* BLOB_CREATE only: the program is the one child of a PID 1 that reaps. */
#define BLOB_P_REAPER 0x080u
/* BLOB_CREATE only: who opens /dev/hvc0, where that is, gets the program's terminal, if it has one.
 */
#define BLOB_P_HVC0 0x100u
#define BLOB_P_ALL  0x1ffu

#define BLOB_STDIO(fd)                                                                        \
	(1u << (fd)) /* enum proto_fd; the tty excludes the other three. fd without a stream: \
			/dev/null */

enum blob_cap {
	BLOB_CAP_EFF,
	BLOB_CAP_BND,
	BLOB_CAP_INH,
	BLOB_CAP_PRM,
	BLOB_CAP_AMB,
	BLOB_CAPS
};

struct blob_process {
	uint32_t flags; /* BLOB_P_* */
	uint32_t stdio; /* BLOB_STDIO() bits */
	uint32_t uid;
	uint32_t gid;
	uint32_t umask;
	int32_t oom_score_adj;
	uint16_t rows; /* of the terminal; 0: left alone */
	uint16_t cols;
	uint32_t personality;
	uint64_t caps[BLOB_CAPS]; /* bit n is capability n; bits that the guest's kernel lacks are
				     dropped */
	uint32_t sched_policy;
	int32_t sched_nice;
	uint32_t sched_priority;
	uint32_t ioprio; /* as ioprio_set() wants it: class << 13 | data */
	uint64_t sched_flags;
	uint64_t sched_runtime;
	uint64_t sched_deadline;
	uint64_t sched_period;
	uint64_t cpu_mask; /* of vCPUs; 0: all */
};

struct blob_rlimit {
	uint32_t resource; /* RLIMIT_* of Linux (x86, arm and riscv agree) */
	uint32_t reserved;
	uint64_t soft;
	uint64_t hard;
};

struct blob_seccomp {
	uint32_t flags; /* SECCOMP_FILTER_FLAG_* */
	uint32_t reserved;
};

/* A descriptor of the process behind stderr. */
enum blob_fd_kind {
	BLOB_FD_IN = 1, /* a pipe that the process reads */
	BLOB_FD_OUT,	/* a pipe that it writes */
	BLOB_FD_SOCKET, /* a connected stream socket */
	BLOB_FD_LISTEN, /* one that listens */
	BLOB_FD_NULL,	/* /dev/null; no stream */
	BLOB_FD_KINDS
};

struct blob_fd {
	uint32_t kind; /* enum blob_fd_kind */
	uint32_t reserved;
};

#define BLOB_NS_IPC \
	0x08000000u /* CLONE_NEW*: the namespaces made in the guest. pid and mount always are */
#define BLOB_NS_UTS    0x04000000u
#define BLOB_NS_CGROUP 0x02000000u
#define BLOB_NS_TIME   0x00000080u
#define BLOB_NS_ALL    0x0e000080u

#define BLOB_C_ROOT_RO		1u
#define BLOB_C_ROOT_NOSUID	2u
#define BLOB_C_ROOT_NODEV	4u
#define BLOB_C_ROOT_NOEXEC	8u
#define BLOB_C_ROOT_NOSYMFOLLOW 16u
#define BLOB_C_ALL		31u

struct blob_container {
	uint32_t flags;		   /* BLOB_C_* */
	uint32_t namespaces;	   /* BLOB_NS_* */
	uint32_t root_propagation; /* MS_* propagation flag, perhaps with MS_REC; 0: private */
	uint32_t reserved;
};

/*
 * BLOB_M_FS: a new filesystem of the guest (tmpfs, proc, sysfs, devpts, mqueue, cgroup2, ...); data
 * is its options. BLOB_M_BIND: source is an absolute path in the root share as the host built it
 * (so that what a guest-side mount hides is still reached), normally equal to destination.
 */
enum blob_mount_kind {
	BLOB_M_FS = 1,
	BLOB_M_BIND = 2
};

#define BLOB_M_RECURSIVE 1u /* BLOB_M_BIND: with what is mounted below */
#define BLOB_M_COPYUP	 2u /* BLOB_M_FS: tmpfs starts with a copy of what it hides */
#define BLOB_M_OPTIONAL	 4u /* a failure is a MSG_LOG, not an error */
#define BLOB_M_ALL	 7u

struct blob_mount {
	uint32_t kind;
	uint32_t flags;
	uint64_t attr_set; /* MOUNT_ATTR_* */
	uint64_t attr_clr;
	uint64_t rec_set; /* the same with AT_RECURSIVE, after the former */
	uint64_t rec_clr;
	uint32_t propagation; /* MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, perhaps with
				 MS_REC; 0: none */
	uint32_t reserved;
};

struct blob_device {
	uint32_t type; /* S_IFCHR, S_IFBLK or S_IFIFO */
	uint32_t major;
	uint32_t minor;
	uint32_t mode; /* 07777 */
	uint32_t uid;
	uint32_t gid;
};

struct blob_timeoff {
	uint32_t clock; /* CLOCK_MONOTONIC or CLOCK_BOOTTIME */
	uint32_t nsecs;
	int64_t secs;
};

#define BLOB_HOOK_ENV 1u /* its environment is that of its records, else the container's */

struct blob_hook {
	uint32_t timeout; /* seconds; 0: none */
	uint32_t flags;	  /* BLOB_HOOK_* */
};

PROTO_SIZE(blob_hdr, 16);
PROTO_AT(blob_hdr, magic, 0, 4);
PROTO_AT(blob_hdr, version, 4, 2);
PROTO_AT(blob_hdr, kind, 6, 2);
PROTO_AT(blob_hdr, len, 8, 4);
PROTO_AT(blob_hdr, count, 12, 4);
PROTO_SIZE(blob_rec, 8);
PROTO_AT(blob_rec, tag, 0, 2);
PROTO_AT(blob_rec, reserved, 2, 2);
PROTO_AT(blob_rec, len, 4, 4);
PROTO_SIZE(blob_process, 128);
PROTO_AT(blob_process, flags, 0, 4);
PROTO_AT(blob_process, stdio, 4, 4);
PROTO_AT(blob_process, uid, 8, 4);
PROTO_AT(blob_process, gid, 12, 4);
PROTO_AT(blob_process, umask, 16, 4);
PROTO_AT(blob_process, oom_score_adj, 20, 4);
PROTO_AT(blob_process, rows, 24, 2);
PROTO_AT(blob_process, cols, 26, 2);
PROTO_AT(blob_process, personality, 28, 4);
PROTO_AT(blob_process, caps, 32, 40);
PROTO_AT(blob_process, sched_policy, 72, 4);
PROTO_AT(blob_process, sched_nice, 76, 4);
PROTO_AT(blob_process, sched_priority, 80, 4);
PROTO_AT(blob_process, ioprio, 84, 4);
PROTO_AT(blob_process, sched_flags, 88, 8);
PROTO_AT(blob_process, sched_runtime, 96, 8);
PROTO_AT(blob_process, sched_deadline, 104, 8);
PROTO_AT(blob_process, sched_period, 112, 8);
PROTO_AT(blob_process, cpu_mask, 120, 8);
PROTO_SIZE(blob_rlimit, 24);
PROTO_AT(blob_rlimit, resource, 0, 4);
PROTO_AT(blob_rlimit, soft, 8, 8);
PROTO_AT(blob_rlimit, hard, 16, 8);
PROTO_SIZE(blob_seccomp, 8);
PROTO_SIZE(blob_fd, 8);
PROTO_AT(blob_fd, kind, 0, 4);
PROTO_AT(blob_fd, reserved, 4, 4);
PROTO_SIZE(blob_container, 16);
PROTO_AT(blob_container, flags, 0, 4);
PROTO_AT(blob_container, namespaces, 4, 4);
PROTO_AT(blob_container, root_propagation, 8, 4);
PROTO_AT(blob_container, reserved, 12, 4);
PROTO_SIZE(blob_mount, 48);
PROTO_AT(blob_mount, kind, 0, 4);
PROTO_AT(blob_mount, flags, 4, 4);
PROTO_AT(blob_mount, attr_set, 8, 8);
PROTO_AT(blob_mount, attr_clr, 16, 8);
PROTO_AT(blob_mount, rec_set, 24, 8);
PROTO_AT(blob_mount, rec_clr, 32, 8);
PROTO_AT(blob_mount, propagation, 40, 4);
PROTO_AT(blob_mount, reserved, 44, 4);
PROTO_SIZE(blob_device, 24);
PROTO_AT(blob_device, type, 0, 4);
PROTO_AT(blob_device, major, 4, 4);
PROTO_AT(blob_device, minor, 8, 4);
PROTO_AT(blob_device, mode, 12, 4);
PROTO_AT(blob_device, uid, 16, 4);
PROTO_AT(blob_device, gid, 20, 4);
PROTO_SIZE(blob_hook, 8);
PROTO_AT(blob_hook, timeout, 0, 4);
PROTO_AT(blob_hook, flags, 4, 4);
PROTO_SIZE(blob_timeoff, 16);
PROTO_AT(blob_timeoff, clock, 0, 4);
PROTO_AT(blob_timeoff, nsecs, 4, 4);
PROTO_AT(blob_timeoff, secs, 8, 8);

/*
 * Writer. The first error sticks: put everything, look at the result of blob_done() only. @reserve
 * bytes before the blob are left for a message header, so that one buffer can be sent.
 */
struct blob_w {
	uint8_t *buf;
	size_t len, cap;
	size_t reserve;
	uint32_t count;
	uint16_t kind;
	int err;
	uint16_t err_tag; /* of the record that did not fit */
};

void blob_begin(struct blob_w *w, uint16_t kind, size_t reserve);
/* Strings of one record: @fixed (may be NULL with 0), then @n strings; none may be NULL. */
void blob_put(struct blob_w *w, uint16_t tag, const void *fixed, size_t fixed_len,
	const char *const *strs, size_t n);
void blob_put_str(struct blob_w *w, uint16_t tag, const char *s);
void blob_put_pair(struct blob_w *w, uint16_t tag, const char *a, const char *b);
void blob_put_process(struct blob_w *w, const struct blob_process *p);
void blob_put_gids(struct blob_w *w, const uint32_t *gids, size_t n);
void blob_put_rlimit(struct blob_w *w, uint32_t resource, uint64_t soft, uint64_t hard);
/* @bpf: @n instructions of 8 bytes, a sock_fprog's. */
void blob_put_seccomp(struct blob_w *w, uint32_t flags, const void *bpf, size_t n);
void blob_put_fd(struct blob_w *w, uint32_t kind);
void blob_put_container(struct blob_w *w, const struct blob_container *c);
void blob_put_root(struct blob_w *w, const char *type, const char *source, const char *data);
void blob_put_mount(struct blob_w *w, const struct blob_mount *m, const char *type,
	const char *source, const char *dest, const char *data);
void blob_put_device(struct blob_w *w, const struct blob_device *d, const char *path);
void blob_put_hook(struct blob_w *w, const struct blob_hook *h, const char *path);
void blob_put_timeoff(struct blob_w *w, uint32_t clock, int64_t secs, uint32_t nsecs);
/*
 * 0 and the buffer (free() it): *@len bytes, the reserved ones included and zero; or -ENOMEM,
 * -E2BIG (w->err_tag says which record went over a limit), -EINVAL.
 */
int blob_done(struct blob_w *w, uint8_t **buf, size_t *len);

/* What blob_read() makes: pointers into the blob, which must outlive it and must not change. */
struct blob_view_mount {
	struct blob_mount m;
	const char *type, *source, *dest, *data;
};

struct blob_view_device {
	struct blob_device d;
	const char *path;
};

struct blob_view_hook {
	struct blob_hook h;
	const char *path;
	char **args, **env; /* NULL-terminated */
};

struct blob_view_pair {
	const char *name, *value;
};

struct blob_view {
	uint16_t kind;
	struct blob_process p;
	char **args, **env; /* NULL-terminated */
	size_t nargs, nenv;
	const char *cwd;
	const uint32_t *gids;
	size_t ngids;
	struct blob_rlimit *rlimits;
	size_t nrlimits;
	struct blob_fd *fds; /* descriptors 3 and on */
	size_t nfds;
	const char *in_cgroup; /* or NULL */
	const void *bpf;       /* 8-byte aligned instructions */
	size_t nbpf;
	uint32_t seccomp_flags;

	struct blob_container c;
	const char *root_type, *root_source, *root_data;
	const char *hostname, *domainname; /* or NULL */
	const char *notify;		   /* or NULL */
	struct blob_view_mount *mounts;
	size_t nmounts;
	const char **masked, **readonly;
	size_t nmasked, nreadonly;
	struct blob_view_device *devices;
	size_t ndevices;
	struct blob_view_pair *sysctls, *cgroup;
	size_t nsysctls, ncgroup;
	struct blob_timeoff *timeoffs;
	size_t ntimeoffs;
	struct blob_view_hook *hooks;
	size_t nhooks;
	char **hook_strs; /* args and env of all hooks, each list with its NULL */
	size_t nhook_strs;
	const char *hook_state; /* or NULL */
	void *mem;		/* the arrays */
};

/*
 * Reads @len bytes at @blob (8-byte aligned) as a blob of @kind. 0; -EPROTO with *@why pointing at
 * a constant sentence; -ENOMEM. On failure there is nothing to free.
 */
int blob_read(const void *blob, size_t len, uint16_t kind, struct blob_view *s, const char **why);
void blob_view_free(struct blob_view *s);

#endif
