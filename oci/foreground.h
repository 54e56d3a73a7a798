/* SPDX-License-Identifier: Apache-2.0 */
/* run without --detach: the command stays until the VMM has ended. In the CLI, single-threaded. */
#ifndef KRUN_OCI_FOREGROUND_H
#define KRUN_OCI_FOREGROUND_H

#include <signal.h>

#include "oci/state.h"

/* The signals that are passed on; who calls foreground_wait() has blocked them. */
void foreground_signals(sigset_t *set);

/*
 * Waits for the VMM of @c, our child, passing signals on to it; relays between our terminal and
 * @master unless that is -1; tells that the container is ready when @ready_fd says so (of
 * ready_ask(), taken over). Returns its exit code, 128 + n for a signal.
 */
int foreground_wait(const struct container *c, int master, int ready_fd);

#endif
