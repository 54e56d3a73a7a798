/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt(1) between the guest and the sockets of a network namespace: started by the process that
 * starts the container, in the container's network namespace, single-threaded.
 */
#ifndef KRUN_OCI_NIC_PASST_H
#define KRUN_OCI_NIC_PASST_H

#include "oci/nic_look.h"

#define NIC_PASST_MTU 65520 /* what it takes, and tells others to use */

/*
 * Starts it with the addresses of the interface @o and makes of @o what the guest is to have with
 * it. It takes connections to @ports (spec_ports()), is in @cgroup unless that is NULL, has none of
 * the caller's stdio, and ends when the other end of the returned stream socket is closed. -ENOENT
 * where there is no passt, what it says when it gives up, and @e.
 */
int nic_passt(struct nic_if *o, const char *ports, const char *cgroup, struct error *e);

#endif
