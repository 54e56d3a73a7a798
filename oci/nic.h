/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's network interface, when the config asks for one: made by the process that starts the
 * container, since that has the rights, and since the network namespace is complete then at the
 * latest. In the CLI, single-threaded, under the container's lock.
 *
 * CTL_NIC is how the VMM gets it. Without an argument it is a question: 0 when the VM has an
 * interface and waits for what is behind it, -EALREADY when that is there, -ENODEV without an
 * interface. With one, two descriptors come along: the tap or socket, and a file from whose
 * beginning the argument's number of bytes are struct msg_nic and its items. The answer comes when
 * the guest has done all of it.
 */
#ifndef KRUN_OCI_NIC_H
#define KRUN_OCI_NIC_H

#include "init/proto/msg.h"
#include "oci/spec_net.h"
#include "oci/state.h"

#define NIC_BYTES_MAX (sizeof(struct msg_nic) + MSG_NIC_ITEMS * sizeof(struct msg_nic_item))

/* @c is created. Records in its state what nic_end() has to undo. Nothing to do when the VM has all
 * of it. When it fails nothing is left, and it can be tried again. */
int nic_start(struct container *c, const struct spec *s, struct error *e);
/* The network namespace in which nic_start() has changed something, for nic_end(): as long as the
 * VMM lives it is the VMM's, then it can only be found by its path. A descriptor, or -errno. */
int nic_hold(const struct container *c);
/* The VMM of @c has gone: what nic_start() changed in @held, which may live on. Best effort, with a
 * warning. */
void nic_end(const struct container *c, int held);
/* What the VM gets at create: an interface with nothing behind it. */
void nic_device(const struct spec_nic *nic, const char *id, struct vmm_nic *out);

#endif
