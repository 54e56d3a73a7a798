/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the test host's agent have in common. */
#ifndef TESTHOST_AGENT_H
#define TESTHOST_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "chan.h"

/* A started command. The descriptors are ours, non-blocking, -1 when closed; with a terminal in and
 * out are one. */
struct job {
	pid_t pid;
	int in, out, err;
};

/*
 * Starts what `req` (of `len` bytes, not trusted) describes. 0, or -errno with a line in `msg`;
 * then nothing runs and no descriptor is open.
 */
int job_start(struct job *job, char *req, size_t len, char *msg, size_t msg_len);

/* Describes every thread of the calling process's descendants, two lines each: state, where it
 * sleeps, signals, kernel stack. @running: instead, whatever else in the system is on a processor
 * or waits for one. */
size_t tree_describe(bool running, char *buf, size_t len);
size_t memory_describe(char *buf, size_t len); /* one line: what there is, free, available */

/* Sends `sig` to every descendant of the calling process; how many there were. */
unsigned int tree_signal(int sig);

#endif
