/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's half of the conversation with the guest's agent: the control connection.
 *
 * Owned by the VMM process's main loop, on its thread. Messages are queued and sent as the socket
 * takes them; replies and events come back through callbacks. Everything that arrives is hostile
 * (init/proto/msg.h checks lengths and types) and a malformed stream ends the connection.
 */
#ifndef KRUN_OCI_AGENT_H
#define KRUN_OCI_AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "init/proto/msg.h"
#include "util/err.h"
#include "util/loop.h"

struct vmm;
struct agent;

struct agent_reply {
	uint16_t type; /* of the request */
	uint32_t seq;
	int status;		/* 0 or -errno */
	uint32_t stage;		/* enum msg_stage when status < 0 */
	const char *text;	/* "" unless status < 0 */
	const uint8_t *payload; /* of a reply with status 0; not looked at yet */
	size_t len;
};

struct agent_ops {
	void (*reply)(void *arg, const struct agent_reply *r);
	void (*exited)(void *arg, const struct msg_exit *x);
	void (*oom)(void *arg, const struct msg_oom *m);
	void (*notify)(void *arg, const char *text, size_t len); /* may be NULL */
	void (*lost)(void *arg, const char *why); /* the connection is gone; no more callbacks */
};

struct agent {
	struct loop *loop;
	struct loop_src src;
	const struct agent_ops *ops;
	void *arg;
	struct msg_rx rx;
	uint8_t *out; /* bytes not yet taken by the socket */
	size_t out_len, out_at, out_cap;
	uint32_t seq;
	uint8_t token[PROTO_TOKEN_LEN];
	uint64_t hello_ns[3]; /* agent's start, its knock, its reply: its CLOCK_BOOTTIME */
	bool up;	      /* HELLO was answered */
};

/* Stream ids of vmm_vsock_connect(): the control connection, one per (process, fd), and those of
 * connections to a socket of the process's that listens. */
#define AGENT_ID_CONTROL	  1u
#define AGENT_ID_STREAM(proc, fd) (((uint32_t)(proc) + 1) * PROTO_FD_LIMIT + (uint32_t)(fd))
#define AGENT_ID_IS_STREAM(id)	  ((id) >= PROTO_FD_LIMIT && !((id)&AGENT_ID_ACCEPTED))
#define AGENT_ID_PROC(id)	  ((id) / PROTO_FD_LIMIT - 1)
#define AGENT_ID_FD(id)		  ((id) % PROTO_FD_LIMIT)
#define AGENT_ID_ACCEPTED	  0x80000000u

/* Connects (the stream waits for the guest's knock by itself) and queues HELLO. */
int agent_open(struct agent *a, struct loop *loop, struct vmm *vm, const struct agent_ops *ops,
	void *arg, struct error *e);
void agent_close(struct agent *a);
/* Queues a request; @payload is copied. Returns its seq, or 0 when there is no memory. */
uint32_t agent_send(struct agent *a, enum msg_type type, const void *payload, size_t len);
uint32_t agent_send_proc(struct agent *a, enum msg_type type, uint32_t proc);
uint32_t agent_signal(struct agent *a, uint32_t proc, uint32_t signo, uint32_t flags);
/* Tells the time, after a pause in which the host's clock may have been set. As agent_send(). */
uint32_t agent_resumed(struct agent *a);
/* Opens the stream of one fd of @proc; takes @fd over. */
int agent_stream(struct agent *a, struct vmm *vm, uint32_t proc, enum proto_fd which, int fd);
/* The same of any stream: read from @fd (@in), written to it (@out), or both. */
int agent_stream_way(
	struct agent *a, struct vmm *vm, uint32_t proc, uint32_t which, int fd, bool in, bool out);
/* A connection to the guest's socket @which, which listens; takes @fd over. @id: 0, or
 * AGENT_ID_ACCEPTED and a number. */
int agent_accepted(
	struct agent *a, struct vmm *vm, uint32_t proc, uint32_t which, int fd, uint32_t id);

#endif
