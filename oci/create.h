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

#endif
