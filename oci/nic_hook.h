/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in by an interface goes to another: by the process that starts or deletes the
 * container, in the container's network namespace, under its lock (oci/nic_ns.h). It takes
 * CAP_NET_ADMIN there. @fd is of rtnl_open().
 */
#ifndef KRUN_OCI_NIC_HOOK_H
#define KRUN_OCI_NIC_HOOK_H

#include <stdbool.h>

#include "util/err.h"

/* From now on every frame that comes in by interface @index, which is called @name, goes out by
 * @to. @groups: that interface hears all multicast groups too (IFF_ALLMULTI). -EBUSY: somebody else
 * has filters there, a container that runs included; others. With @e, and nothing is left then. */
int nic_redirect(int fd, const char *name, int index, int to, bool groups, struct error *e);
/* Interface @index is as it was before nic_redirect(), whose other interface has gone. Nothing to
 * do where there is none of that. 0 or -errno. */
int nic_release(int fd, int index);

#endif
