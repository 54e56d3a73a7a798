/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs share. */
#ifndef KRUN_OCI_CREATE_H
#define KRUN_OCI_CREATE_H

#include "oci/runtime.h"
#include "oci/spec.h"
#include "oci/state.h"

/* How long a start may take: the guest is up, but a loaded host may be slow. Milliseconds. */
#define CTL_START_MS 60000
/* How long a signal may wait for the VMM's main loop before the VMM is signalled itself. */
#define CTL_SIGNAL_MS 2000
/* The same for one that nothing but the main loop can send: to every process. */
#define CTL_ALL_MS 5000
/* The same for a stream of events, which has no other source either. */
#define CTL_EVENTS_MS 10000
/* How long the vCPUs of a guest may take to park, or to go on. */
#define CTL_PAUSE_MS 10000
/* How long the lock of a container is waited for: its holder creates, starts or deletes. */
#define LOCK_MS 10000
/* How long the holder may keep it before delete --force kills the VMM. */
#define FORCE_MS 200
/* How long a VMM that has written its last status, or hung up, may take to end: on a loaded host
 * too, as what comes next takes its exit status away. */
#define EXIT_MS 3000
/* The same for one whose start failed, on a loaded host. */
#define FAILED_MS 5000
/* How long a VMM that was killed, and its cgroup, may take to be gone: a guest's RAM is given back
 * first, which took over 10 s on an overloaded host. */
#define DESTROY_MS 30000

/* Gives @c, which is created and locked, the network interface that it may have (oci/nic.h). When
 * it fails the VMM goes on to wait. */
int container_network(struct container *c, const struct spec *s, struct error *e);
/* Then: releases its process, and runs what poststart hooks there are; when one of them fails the
 * VMM is killed, and when the answer takes longer than @ms and the time limits of the
 * startContainer hooks. */
int container_start(struct container *c, const struct spec *s, unsigned ms, struct error *e);

#endif
