/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INT, TERM, QUIT and HUP to `run` in the foreground and to `exec`, while there is no process yet
 * that they could be passed on to.
 *
 * A handler ends what most waits are for in the end, the VMM process or the connection to it. So
 * each of these, that for a hook too, ends as it does when they go by themselves; the command
 * undoes what it made, and exits with 128 and the signal's number. Waits for something else (a
 * socket of the caller that takes no connection, a fifo) go on. In the CLI, on its only thread.
 */
#ifndef KRUN_OCI_INTERRUPT_H
#define KRUN_OCI_INTERRUPT_H

#include <sys/types.h>

#include "util/err.h"

/* The caller has blocked all signals. These four no longer are, but for those that the command was
 * begun with ignoring. */
void interrupt_begin(void);
/* What a signal ends, at once when one has come already: @vmm, our child, until 0 is set, as it
 * must be before it is reaped; @conn, hung up, until -1 is set, before it is closed. */
void interrupt_kills(pid_t vmm);
void interrupt_hangs_up(int conn);
/* They are blocked again and end nothing any more. The first that came since the begin, or 0; also
 * when called again, or without a begin. */
int interrupt_end(void);
/* The failure of a command to which @sig, of interrupt_end(), has come: -EINTR, its exit status. */
int interrupt_error(int sig, int *code, struct error *e);

#endif
