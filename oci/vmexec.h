/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMM's part of exec: processes that other invocations of the runtime have started in the
 * guest.
 *
 * A proxy (oci/exec.c) sends CTL_EXEC with a memfd that holds the process's blob and with its
 * descriptors: stdin, stdout and stderr, or one terminal, then as many more as @arg says, whose
 * kinds (enum blob_fd_kind) are so many bytes at the end of the memfd. They become streams of the
 * guest's, which end here for all of them; the proxy holds only the connection. On that it is told
 * by one struct exec_event that the process was executed or could not be, and by another one, after
 * the last byte of output was written, that it has ended. It may send CTL_EXEC_SIGNAL and
 * CTL_EXEC_SIZE. When it hangs up, the process is killed. When the VM goes, the connection ends
 * without an event.
 *
 * CTL_PS asks the agent for processes (MSG_PS). Answers: a struct ctl_reply and, when its code is
 * 0, one more packet with the payload of the agent's reply as it came.
 *
 * Called on the VMM's main loop. @flags of the request: EXEC_*.
 */
#ifndef KRUN_OCI_VMEXEC_H
#define KRUN_OCI_VMEXEC_H

#include "oci/agent.h"
#include "oci/ctl.h"
#include "oci/morefds.h"
#include "oci/unread.h"

#define EXEC_TTY    1u /* the second descriptor is a terminal, and the only one */
#define EXEC_PAUSED 2u /* into a paused container too: it begins when that is resumed */
#define EXEC_PROXY  4u /* who waits on the connection may be in our pid namespace */

enum exec_what {
	EXEC_STARTED = 1,
	EXEC_FAILED, /* code: positive errno, stage: enum msg_stage, text */
	EXEC_ENDED,  /* code: exit status, 128 + n for a signal */
};

struct exec_event {
	uint32_t what;
	int32_t code;
	uint32_t stage;
	uint32_t reserved;
	char text[ERR_MSG_MAX];
};

#define PS_MAX 16 /* questions at a time */

struct vmexec_proc;

struct vmexec {
	struct loop *loop;
	struct agent *agent;
	struct vmm *vm;
	struct unread_tick *tick;
	struct vmexec_proc *procs;
	unsigned n;
	struct {
		uint32_t seq; /* 0: free */
		int conn;
	} ps[PS_MAX];
	uint32_t last; /* process id given out last: none is used twice */
};

/* Of the flags of a MSG_EXIT: output streams, by STREAM_BIT(), that somebody else holds on to. */
uint64_t exit_open(uint32_t flags);

/* @tick: its owner calls vmexec_tick(). */
void vmexec_init(struct vmexec *x, struct loop *loop, struct agent *agent, struct vmm *vm,
	struct unread_tick *tick);
/* A CTL_EXEC: takes @conn over, and of @fds (CTL_MAX_FDS) what it sets to -1. */
void vmexec_request(
	struct vmexec *x, enum phase phase, int conn, const struct ctl_req *q, int *fds);
void vmexec_ps(struct vmexec *x, int conn, const struct ctl_req *q);
/* True when it was the answer to one of ours. */
bool vmexec_reply(struct vmexec *x, const struct agent_reply *r);
/* A tick; true: some go on counting. */
bool vmexec_tick(struct vmexec *x);
void vmexec_exited(struct vmexec *x, const struct msg_exit *m);
/* Stream @id has ended: all was written, or nobody reads it any more. */
void vmexec_done(struct vmexec *x, uint32_t id);
/* Processes have ended whose proxies have not, and would not tell their code if we ended now. */
bool vmexec_leaving(const struct vmexec *x);

#endif
