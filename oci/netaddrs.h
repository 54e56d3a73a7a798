/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of this process's network namespace, for the guest to show on interfaces of the
 * same names and numbers (docs/networking.md). Called by the VMM's main loop, when the container
 * starts: by then a manager has set the namespace up.
 */
#ifndef KRUN_OCI_NETADDRS_H
#define KRUN_OCI_NETADDRS_H

#include <stddef.h>

#include "init/proto/msg.h"

/* Up to @max addresses of interfaces that are up, without those that a guest has on lo anyway. How
 * many; -errno. */
int netaddrs_collect(struct msg_netaddr *out, size_t max);

#endif
