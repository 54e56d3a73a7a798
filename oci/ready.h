/* SPDX-License-Identifier: Apache-2.0 */
/*
 * READY=1 of a container, for who has started the runtime as a service of type notify: in the CLI,
 * whose own environment has NOTIFY_SOCKET then, as it had when the container was created. Failures
 * are warnings: the container runs.
 */
#ifndef KRUN_OCI_READY_H
#define KRUN_OCI_READY_H

#include "oci/state.h"

/* Asks the VMM of @c, which has been started: a connection on which it answers once the container
 * is ready, the caller's; -1 when nobody waits for that, or cannot. */
int ready_ask(const struct container *c);
/* @fd of ready_ask() can be read, or has to be waited for: tells, with @main that the VMM is the
 * main process from now on, and closes it. */
void ready_tell(const struct container *c, int fd, bool main);

#endif
