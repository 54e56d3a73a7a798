/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the VMM process's main loop share: vmloop.c, the life of the VM, and
 * vmctl.c, which serves the control socket. All of it on the main thread. Nobody else includes
 * this; oci/vmproc.h is for others.
 */
#ifndef KRUN_OCI_VMLOOP_H
#define KRUN_OCI_VMLOOP_H

#include "oci/agent.h"
#include "oci/morefds.h"
#include "oci/unread.h"
#include "oci/vmexec.h"
#include "oci/vmproc.h"
#include "util/loop.h"

#define CTL_ASKERS 64 /* connections that may be silent at a time */
#define WATCHERS   16 /* connections of CTL_EVENTS */

struct vmloop {
	struct vmproc *p;
	struct vmm *vm;
	struct loop *loop;
	struct agent agent;
	struct vmexec exec; /* processes of exec */
	struct morefds_serve more;
	uint32_t accepted_id; /* of the next connection to a socket of the workload's */
	unsigned accepted;    /* such connections that have not ended */
	struct loop_src sync, sig, sys, ctl, event, done, timer;
	struct loop_src unsynced;	   /* the end of PAUSE_SYNC_S */
	struct loop_src tick;		   /* of @ticking */
	struct loop_src pause;		   /* of the control socket, while no descriptor is free */
	struct loop_src asker[CTL_ASKERS]; /* connections whose request has not come yet */
	unsigned next_asker;
	int watcher[WATCHERS]; /* or -1 */
	int status_fd;
	enum phase phase, unpaused; /* @unpaused: what it was before it was paused */
	uint32_t create_seq, start_seq, update_seq, net_seq, nic_seq, sync_seq;
	int pause_conn;	       /* waits for the guest's files to be written back, or -1 */
	int update_conn;       /* waits for the guest to have changed a limit, or -1 */
	int ready_conn;	       /* waits for the container to say that it is ready, or -1 */
	bool ready;	       /* it has */
	int nic_conn;	       /* waits for the guest to have its network interface, or -1 */
	bool nic_up;	       /* it has */
	int start_conn;	       /* control connection that waits for the start, or -1 */
	bool exited;	       /* the workload has ended with @code */
	uint64_t streams_open; /* STREAM_BIT() of the output streams that are not finished */
	struct unread unread;  /* their limit, after a signal */
	struct unread_tick ticking;
	bool lingering, lingered; /* LINGER_SECONDS have begun, have passed */
	int code;
	uint32_t flags; /* STATUS_*, for the status file */
	bool quit;
};

/* Records the phase, for all who look at the state. -errno: it is what it was, and vmloop_no_status
 * says so. */
extern const char vmloop_no_status[];
int vmloop_set_phase(struct vmloop *l, enum phase ph);
/* The size of the terminal, to the guest. */
void vmloop_pass_size(struct vmloop *l);

/* A signal for the workload. False: it cannot be sent. */
bool vmloop_signal(struct vmloop *l, uint32_t signo, uint32_t flags);

/* One reply on a connection, which it closes. */
void vmctl_answer(int conn, int code, const char *text);
/* One reply to who watches events; false when he is gone, or does not read. */
bool vmctl_tell(int fd, const char *text);
/* The guest has written back its files, or had its time for that: who asked for a pause gets it. */
void vmctl_synced(struct vmloop *l);

/* Sources of the loop. */
void vmctl_on_asked(struct loop_src *src, uint32_t events);    /* the control socket */
void vmctl_on_rested(struct loop_src *src, uint32_t events);   /* its rest is over */
void vmctl_on_unsynced(struct loop_src *src, uint32_t events); /* the guest had its time */

#endif
