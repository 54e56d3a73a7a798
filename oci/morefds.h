/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptors behind stderr: --preserve-fds and LISTEN_FDS.
 *
 * The process of a guest gets files of its own there, between which and the caller's the VMM
 * carries bytes, as it does for stdio: pipes and files opened one way become pipes, connected
 * stream sockets a socket pair, and a stream socket that listens one of the guest's, which gets a
 * connection for each that the VMM accepts. /dev/null is the guest's. Everything else is an error
 * that names it.
 *
 * The first half runs on the CLI's only thread, the second on the VMM's main loop.
 */
#ifndef KRUN_OCI_MOREFDS_H
#define KRUN_OCI_MOREFDS_H

#include "init/proto/blob.h"
#include "oci/agent.h"
#include "oci/arena.h"
#include "oci/spec.h"

/* Zero-initialised it is none. */
struct morefds {
	unsigned n;
	uint8_t kind[PROTO_MORE_MAX]; /* enum blob_fd_kind */
	int fd[PROTO_MORE_MAX];	      /* ours: close-on-exec; -1 once handed on */
	const char *listen;	      /* of the environment: LISTEN_FDS, or NULL */
	const char *names;	      /* LISTEN_FDNAMES, or NULL */
};

/* --preserve-fds @text (may be NULL) and the environment: how many there are. -EINVAL. */
int morefds_count(const char *text, unsigned *n, struct error *e);
/* Looks at descriptors 3 to 2 + @n, which the caller of the runtime left open; @own (-1: none) is
 * one that the runtime has opened itself. Where LISTEN_FDS is among the reasons for @n and one of
 * them is not open, only --preserve-fds counts. -EBADF, -ENOTSUP. */
int morefds_take(struct morefds *m, unsigned n, int own, struct error *e);
void morefds_close(struct morefds *m);
/* LISTEN_FDS, LISTEN_FDNAMES and LISTEN_PID in place of those in @env. -ENOMEM. */
int morefds_env(const struct morefds *m, struct arena *a, struct strv *env, struct error *e);

/* Bits of streams that are not finished, by enum proto_fd. */
#define STREAM_BIT(fd) (1ULL << (fd))

struct morefds_listen {
	struct loop_src src;
	struct morefds_serve *s;
	uint32_t fd; /* of the stream */
};

/* Those of one process. */
struct morefds_serve {
	struct loop *loop;
	struct agent *agent;
	struct vmm *vm;
	uint32_t proc;
	uint32_t *next_id; /* of connections, which are counted in *@open; NULL: they are not */
	unsigned *open;
	struct morefds_listen *listen; /* nlisten of them, or NULL */
	unsigned nlisten;
};

/* Opens the streams, and adds those of output to *@streams; takes the descriptors, also after an
 * error. What listens waits for morefds_listen(). 0 or -errno. */
int morefds_open(struct morefds_serve *s, struct morefds *m, uint64_t *streams);
/* The process is there: connections are accepted from now on. */
void morefds_listen(struct morefds_serve *s);
void morefds_stop(struct morefds_serve *s);

#endif
