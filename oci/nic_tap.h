/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps, and interfaces whose frames go to one: by the process that starts or deletes the container,
 * in the container's network namespace, single-threaded. It takes CAP_NET_ADMIN there.
 */
#ifndef KRUN_OCI_NIC_TAP_H
#define KRUN_OCI_NIC_TAP_H

#include "oci/nic_look.h"

/*
 * A tap of our own, up, and from now on every frame that comes in by the interface @o goes to it,
 * every one that is written to it goes out by that. Its descriptor, with which it goes: then the
 * interface drops what comes, until nic_release() (oci/nic_hook.h) or the next of these. -EBUSY:
 * somebody else has filters there, a container that runs included; -EPERM, and others, with @e.
 * -EINVAL: a guest could not use it. Nothing is left then. The MTU of @o is what a tap can have.
 */
int nic_take(int fd, struct nic_if *o, struct error *e);
/* The descriptor of the tap @name, which exists and is nobody's. -ENODEV, -EBUSY, -EINVAL and @e.
 */
int nic_open_tap(int fd, const char *name, struct error *e);

#endif
