/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Output of a process that has ended and whose reader stands still.
 *
 * Such a process is running for everybody outside until its last byte is written, and no signal
 * reaches it, as the guest has reaped it. On a shared kernel it would still be in its write() and
 * would die there. So a signal that ends processes gives its reader UNREAD_SECONDS; what is not
 * taken by then is not waited for, and the process ends with the code it had.
 *
 * Called on the VMM's main loop, whose timer ticks each second while somebody counts.
 */
#ifndef KRUN_OCI_UNREAD_H
#define KRUN_OCI_UNREAD_H

#include <stdbool.h>
#include <stdint.h>

struct agent;
struct agent_reply;

/* Half of the 10 s that managers leave between SIGTERM and SIGKILL: who reads, if slowly, is done
 * by then, and the code is still the workload's own. */
#define UNREAD_SECONDS 5

struct unread_tick {
	int fd;	 /* a timerfd */
	bool on; /* armed; who serves it disarms it */
};

struct unread {
	uint32_t seq;  /* of the last signal that was sent and not answered, or 0 */
	unsigned left; /* ticks, 0: nobody counts */
	bool over;     /* what is left counts no more */
};

/* Signal @signo for process @proc with MSG_SIGNAL_* @flags; @ended: the guest has told its end.
 * False: it cannot be sent. */
bool unread_signal(struct unread *u, struct agent *a, uint32_t proc, uint32_t signo, uint32_t flags,
	bool ended, struct unread_tick *t);
/* True when @r answers the last signal. */
bool unread_reply(struct unread *u, const struct agent_reply *r, struct unread_tick *t);
/* A tick. At the last one ->over is set, and a guest that has not told the end (!@ended) is asked
 * to do so whatever is left. True: it goes on counting. */
bool unread_count(struct unread *u, struct agent *a, uint32_t proc, bool ended);

#endif
