/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: what other invocations of the runtime ask of a container's VMM.
 *
 * A SOCK_SEQPACKET socket "s" in the container's directory, reached through a dirfd
 * (/proc/self/fd/N/s), since the directory's path may be longer than a socket address. One request
 * and one reply a connection; who may connect is decided by the directory's mode. The VMM answers
 * from its main loop; the asking side waits a bounded time. A request whose asker has hung up
 * before it was looked at is dropped: a kill that waited in vain signals the VMM itself.
 *
 * CTL_EXEC is longer: descriptors come with it, the connection lives as long as the process, and
 * oci/vmexec.h says what travels on it.
 */
#ifndef KRUN_OCI_CTL_H
#define KRUN_OCI_CTL_H

#include <stdint.h>
#include <sys/types.h>

#include "init/proto/msg.h"
#include "oci/state.h"

enum ctl_op {
	CTL_START = 1, /* release the workload; the reply comes when it has been exec'ed */
	CTL_SIGNAL,    /* arg: signal number; flags: CTL_ALL */

	CTL_EXEC = 16,	 /* see oci/vmexec.h */
	CTL_PS,		 /* see oci/vmexec.h; arg: cursor */
	CTL_EXEC_SIGNAL, /* on the connection of an exec; arg: signal number */
	CTL_EXEC_SIZE,	 /* the same; arg: rows << 16 | columns of its terminal */

	CTL_PAUSE = 32, /* park the vCPUs and quiet the devices; nothing to do when they are */
	CTL_RESUME = 33,
	CTL_GUEST_MEMORY = 35, /* memory.max in the guest: arg | flags << 32, all ones for none */
	CTL_GUEST_PIDS = 36,   /* pids.max, the same way */
	CTL_READY = 37,	     /* the reply comes when the container says READY=1; see oci/ready.h */
	CTL_GUEST_CPUS = 38, /* cpuset.cpus in the guest: arg of its CPUs, from the first on */
	CTL_NIC = 39,	     /* see oci/nic.h; arg: bytes of the description, 0 to ask only */
	CTL_EVENTS = 34,     /* keeps the connection: a reply now, and one for each OOM kill */
};

#define CTL_ALL		    1u
#define CTL_CONNECT_SECONDS 5
/* Execs at a time, with three streams each of LIM_VSOCK_CONNS; all may ask at once. */
#define EXEC_MAX    256
#define CTL_MAX_FDS (4 + PROTO_MORE_MAX) /* descriptors that may come with a request */

struct ctl_req {
	uint32_t op;
	uint32_t arg;
	uint32_t flags;
	uint32_t reserved;
};

struct ctl_reply {
	int32_t code; /* 0 or a positive errno */
	char text[ERR_MSG_MAX];
};

/* The VMM process (before it loses sight of the host's tree): a listening socket in @c's directory.
 */
int ctl_listen(const struct container *c, struct error *e);
/* The CLI: a connection to the VMM. -ECONNREFUSED when nobody listens, -ETIMEDOUT when it takes
 * nobody; a send on it is limited to the same time. */
int ctl_connect(const struct container *c, struct error *e);
/* Sends @q with @n descriptors, which stay the caller's. */
int ctl_send(int fd, const struct ctl_req *q, const int *fds, unsigned n, struct error *e);
/* recv() on a connection. Of a peer that has closed it with something of ours unread, what it had
 * said comes all the same: the kernel puts ECONNRESET before it, once. */
ssize_t ctl_read(int fd, void *buf, size_t len, int flags);
/* The CLI: waits at most @ms (UINT_MAX: for ever) for the answer to what was sent, whatever it is.
 * -ETIMEDOUT; -ECONNRESET when the VMM has hung up. */
int ctl_reply(int fd, unsigned ms, struct ctl_reply *reply);
/* The same, and what it answers as an error of ours. */
int ctl_answer(const struct container *c, int fd, unsigned ms, struct error *e);
/* The VMM: one request with the descriptors that came with it, -1 where there is none; the caller
 * owns them. 1; 0 when it has not come yet; -errno: the connection is of no use. */
int ctl_recv(int fd, struct ctl_req *q, int fds[static CTL_MAX_FDS]);
/* The CLI: all three. -ECONNREFUSED when nobody listens, -EPIPE when nobody does any more. */
int ctl_ask(const struct container *c, const struct ctl_req *q, unsigned ms, struct error *e);

/* As ctl_ask(); the connection stays open as *@fd for what comes after the first reply. */
int ctl_open(
	const struct container *c, const struct ctl_req *q, unsigned ms, int *fd, struct error *e);

#endif
