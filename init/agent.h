/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: what its files share.
 *
 * One process, one thread, one epoll loop; nothing in it blocks but the set-up of the root, which
 * the container waits for anyway. What may fail or take long for a container happens in a child
 * (child.c), which tells how it went through a socket. The agent is PID 1 of the guest (main.c); a
 * test runs the same loop over an AF_UNIX socket as PID 1 of a pid namespace.
 */
#ifndef KRUN_INIT_AGENT_H
#define KRUN_INIT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "proto/blob.h"
#include "proto/msg.h"

#define AGENT_MAX_CONNS 1024
#define AGENT_BACKLOG \
	1024 /* connects of the host that wait: three for each of many execs at once */
#define AGENT_MAX_EARLY	  8 /* openings that wait for the token; the first three streams may */
#define AGENT_MAX_PROCS	  4096
#define AGENT_MAX_STREAMS 8192
#define AGENT_MAX_OUT	  (1u << 20) /* bytes of replies and events that wait for the host */
#define AGENT_STREAM_BUF  16384

/* Where things are. Paths are in the agent's mount namespace. */
struct agent_cfg {
	const char *share;	 /* directory where the root share is, or will be, mounted */
	const char *newroot;	 /* empty directory to build the container's tree on */
	const char *cgroup;	 /* mount point of a cgroup2 hierarchy, or NULL: no cgroups */
	const char *const *hide; /* mounts that the container's namespace loses, NULL-terminated */
	/* where DHCP's name servers go, as a resolv.conf(5); no file: it told none. NULL: never */
	const char *servers;
	bool share_mounted;
	bool vsock;   /* the listener is AF_VSOCK: only the host's CID may connect */
	bool machine; /* this is PID 1 of a guest: clock, entropy and reboot are ours */
	uint64_t started_ns, ready_ns;
};

struct agent;

/* A source of events; fn is NULL once its object is dead and waits for the end of the round. */
struct ev {
	void (*fn)(struct agent *a, struct ev *ev, uint32_t events);
	int fd;
};

#define ev_owner(ev_, type, member) ((type *)(void *)((char *)(ev_)-offsetof(type, member)))

struct sbuf {
	uint8_t *p; /* AGENT_STREAM_BUF bytes once used */
	size_t off, len;
};

/* What is carried. A descriptor behind stderr has none before its process is made. */
enum stream_kind {
	STREAM_UNKNOWN,
	STREAM_IN,     /* to a pipe that the workload reads */
	STREAM_OUT,    /* from one that it writes */
	STREAM_TTY,    /* both ways, a terminal's master */
	STREAM_SOCKET, /* both ways, each of which ends by itself */
};

#define STREAM_ACCEPTED UINT32_MAX /* the fd of a connection of a socket that listens */

/* One (process, fd) between a vsock connection and a pipe, socket or terminal. Either may come
 * first. */
struct stream {
	struct stream *next;
	uint32_t proc, fd;
	enum stream_kind kind;
	struct ev sock; /* fd -1: not connected yet, or gone */
	struct ev pipe; /* the agent's end of the pipe, or the terminal's master; -1: no process
			   yet, or closed */
	struct sbuf in, out; /* terminal, or where splice() is not supported */
	uint64_t bytes;
	bool no_splice;
	bool in_eof;  /* terminal, socket: nothing more goes to the workload */
	bool out_eof; /* socket: nothing more comes from it */
	bool again;   /* stopped for fairness, not for lack of data */
	bool ended;   /* nothing will be carried any more */
	bool dead;
};

enum proc_state {
	PROC_SETUP,
	PROC_HELD,
	PROC_STARTING,
	PROC_RUNNING,
	PROC_EXITED
};

struct conn;

/* A socket of a process's that listens, by an abstract name. */
struct listen_at {
	uint32_t fd; /* of the stream: PROTO_MORE + i */
	struct sockaddr_un addr;
	socklen_t len;
};

struct proc {
	struct proc *next;
	uint32_t id;
	pid_t pid;
	enum proc_state state;
	struct conn *owner; /* gets MSG_EXIT; NULL after it went away */
	bool kill_on_close;
	bool is_init;
	bool reaped;
	bool drop_output; /* its end is told before its output is drained */
	bool dead;
	uint32_t stdio;
	struct listen_at *listen; /* nlisten of them, or NULL */
	size_t nlisten;
	struct ev sync; /* our end of the child's socket */
	struct conn *reply_to;
	uint32_t reply_seq; /* 0: nobody waits */
	uint16_t reply_type;
	int wstatus;
	struct rusage ru;
};

struct conn {
	struct conn *next;
	struct ev ev;
	bool control;
	bool dead;
	bool want_out;
	union {
		struct proto_open open;
		uint8_t bytes[sizeof(struct proto_open)];
	} u;
	size_t got;
	struct msg_rx rx;
	uint8_t *out;
	size_t out_len, out_cap;
};

struct agent {
	struct agent_cfg cfg;
	int ep;
	struct ev listener, sig, cg_events, notify;
	bool have_token;
	uint8_t token[PROTO_TOKEN_LEN];
	struct conn *conns;
	struct proc *procs;
	struct stream *streams;
	size_t nconns, nprocs, nstreams;
	uint32_t last_proc; /* highest process id that was asked for */
	bool stop;	    /* the test's way out; a machine reboots */

	/* the container */
	int init_pidfd; /* -1: no container */
	int own_pidns;	/* /proc/self/ns/pid */
	int devnull;
	int cg_root, cg_fd; /* directories, or -1 */
	uint64_t oom_kills;
	/* MSG_SYNC: a child syncs, as that may take as long as the host's disks */
	pid_t sync_pid;	 /* 0: none */
	bool sync_again; /* asked for since it began */
	struct conn *sync_to;
	uint32_t sync_seq;
	/* MSG_NIC: a child asks for an address */
	pid_t dhcp_pid; /* 0: none */
	struct conn *dhcp_to;
	uint32_t dhcp_seq;
	uint32_t namespaces; /* CLONE_NEW* that exec joins */
	/* sysctls of interfaces, which come with the start: names and values, each with its 0 */
	char *if_sysctls;
	size_t if_sysctls_len;
};

/* What a failed set-up step says: 0 or -errno and a sentence. */
struct fail {
	int err;
	char text[MSG_TEXT_MAX / 2];
};

/* Sets *@f to errno @err (either sign) and "what: name: text of errno"; @name may be NULL. Returns
 * -|err|. The first one wins. */
int fail_set(struct fail *f, int err, const char *what, const char *name);

/* agent.c */
int agent_init(struct agent *a, const struct agent_cfg *cfg, int listener);
int agent_run(struct agent *a); /* returns when a->stop is set, or -errno */
int agent_watch(struct agent *a, struct ev *ev, uint32_t events);
void agent_rewatch(struct agent *a, struct ev *ev, uint32_t events);
void agent_unwatch(struct agent *a, struct ev *ev); /* closes ev->fd */
void conn_accept_all(struct agent *a);
void conn_close(struct agent *a, struct conn *c);

/* ctrl.c: control connections */
void ctrl_event(struct agent *a, struct ev *ev, uint32_t events);
/* The child of a MSG_SYNC has ended. */
void ctrl_synced(struct agent *a);
/* The child of a MSG_NIC has ended, with this status of wait(). */
void ctrl_dhcp_done(struct agent *a, int wstatus);
void ctrl_reply(struct agent *a, struct conn *c, uint16_t type, uint32_t seq, const void *payload,
	size_t len);
void ctrl_fail(struct agent *a, struct conn *c, uint16_t type, uint32_t seq, uint32_t stage,
	int err, const char *text);
void ctrl_send_event(
	struct agent *a, struct conn *c, uint16_t type, const void *payload, size_t len);
/* To every control connection. */
void ctrl_broadcast(struct agent *a, uint16_t type, const void *payload, size_t len);

/*
 * dhcp.c: gives interface @name an address, a default route and an MTU, as a DHCP server says, and
 * waits for that. Name servers go into the file @servers, if there are any and it is not NULL.
 * -ETIMEDOUT: nobody answered @tries times; -errno. A positive errno: it has its address, but no
 * such file could be made.
 */
#define DHCP_TRIES  5
#define DHCP_TRY_MS 2000 /* for each of the two answers */
int dhcp_run(const char *name, int tries, const char *servers);

/* netif.c: MSG_NET's payload as dummy interfaces. All are tried; the first error is the answer. */
int netif_show(const uint8_t *list, size_t len);

/* nic.c: what MSG_NIC says, but for DHCP. 0, and then there may be a warning in f->text; -EPROTO;
 * or -errno with *@f, and the device is as it was. */
int nic_set(const struct msg_nic *n, const uint8_t *items, size_t len, struct fail *f);

/* root.c: mounts on @dir what the blob says of the root; 0, or -errno with *@f. */
int root_mount(const struct blob_view *s, const char *dir, struct fail *f);

/* sysctl.c: sysctl_set() runs in the child that makes the container, and leaves out those of
 * interfaces. The agent keeps a copy of these, and sets them when the interfaces are there. 0, or
 * -errno with *@f. */
int sysctl_set(int proc_sys, const struct blob_view *s, struct fail *f);
int sysctl_keep(struct agent *a, const struct blob_view *s, struct fail *f);
int sysctl_interfaces(struct agent *a, struct fail *f);

/* proc.c */
struct proc *proc_find(struct agent *a, uint32_t id);
/* Makes a process from a blob; the reply to (@c, @seq) follows when the child has reported. 0, or
 * -errno with *@f. */
int proc_spawn(struct agent *a, struct conn *c, uint16_t type, uint32_t seq, uint32_t id,
	uint32_t flags, const struct blob_view *s, struct fail *f);
int proc_release(struct agent *a, struct proc *p, struct conn *c, uint32_t seq);
void proc_reap(struct agent *a);
void proc_maybe_exit(struct agent *a, uint32_t id);    /* sends MSG_EXIT when all is drained */
int proc_drop_output(struct agent *a, struct proc *p); /* of one that has ended; NULL: -ESRCH */
void proc_conn_gone(struct agent *a, struct conn *c);
void proc_gc(struct agent *a);

/* stream.c */
/* Finds or makes; always a new one with STREAM_ACCEPTED. */
struct stream *stream_get(struct agent *a, uint32_t proc, uint32_t fd);
struct stream *stream_find(struct agent *a, uint32_t proc, uint32_t fd);
int stream_set_sock(struct agent *a, struct stream *s, int fd); /* takes the fd, also on failure */
int stream_set_pipe(struct agent *a, struct stream *s, int fd);
/* @sock, which it takes, is a connection to a socket of @proc's that listens at @at. */
void stream_accepted(struct agent *a, uint32_t proc, const struct listen_at *at, int sock);
/* Nothing more to hand over for an exited process: ended, or empty. Tries to make it so. */
bool stream_drained(struct agent *a, struct stream *s);
/* The process was reported: stream_abandon() ends its output, whatever is left in it;
 * stream_finish() its stdin, and its terminal, which the kernel has hung up by now. */
void stream_abandon(struct agent *a, uint32_t proc);
void stream_finish(struct agent *a, uint32_t proc);
void stream_drop_proc(struct agent *a, uint32_t proc);
void stream_gc(struct agent *a);
bool stream_pump_again(
	struct agent *a); /* one round for those stopped for fairness; true: some are left */

/* fds.c: the workload's ends of its descriptors, and ours. */
#define PROC_FDS (3 + PROTO_MORE_MAX)

struct fds {
	int child[PROC_FDS]; /* descriptor 0, 1, ...: for the workload */
	int ours[PROC_FDS];  /* or -1 */
	size_t n;
};

/* Also after an error to be closed by fds_close(). *@p gets the sockets that listen. */
int fds_make(struct agent *a, struct fds *f, const struct blob_view *s, struct proc *p,
	struct fail *fail);
/* Our ends go to the streams, which may have been connected before. */
int fds_attach(
	struct agent *a, uint32_t id, struct fds *f, const struct blob_view *s, struct fail *fail);
void fds_close(struct fds *f);

/* cgroup.c */
int cgroup_make(struct agent *a, const struct blob_view *s, struct fail *f);
int cgroup_write_all(int dirfd, const struct blob_view_pair *p, size_t n, struct fail *f);
int cgroup_of_pid(struct agent *a, pid_t pid); /* directory fd or -errno */
int cgroup_below(
	struct agent *a, const char *path, struct fail *f); /* of the container's: the same */
void cgroup_check_oom(struct agent *a);

/* notify.c: the socket of NOTIFY_SOCKET. */
void notify_take(struct agent *a, int fd); /* takes the fd; the first one counts */
void notify_resume(struct agent *a);	   /* a control connection is no longer slow */

/* ps.c: answers MSG_PS. 0 with *@len bytes in @out (MSG_MAX_TO_HOST less a header), or -errno. */
int ps_list(uint32_t after, uint8_t *out, size_t *len);

/* child.c; everything below runs in the child that becomes the workload */
enum sync_what {
	SYNC_READY = 1,
	SYNC_FAIL = 2,
	SYNC_WARN = 3,
	SYNC_NOTIFY = 4
};

/* child -> agent, SOCK_SEQPACKET; the terminal's master travels with SYNC_READY, the socket of
 * NOTIFY_SOCKET with SYNC_NOTIFY. End of file: execve() succeeded. */
struct sync_msg {
	uint32_t what;
	uint32_t stage;
	struct fail f;
};

struct child {
	const struct agent_cfg *cfg;
	const struct blob_view *s;
	int sync;	   /* the child's end */
	int fds[PROC_FDS]; /* stdin, stdout, stderr, which are not used with a terminal; the rest */
	size_t nfds;
	int init_pidfd; /* exec: whose namespaces to join; else -1 */
	pid_t held;	/* exec: that process, where it was not started yet; else 0 */
	uint32_t namespaces;
	int proc_self; /* directories of the agent's /proc */
	int proc_sys;
	int root; /* the container's root while it is built */
	int share;
	dev_t share_dev;
	int tty; /* the slave, or -1 */
};

_Noreturn void child_main(struct child *c);

#endif
