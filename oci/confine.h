/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM process gives up what it does not need. On its only thread, after the last mount and
 * before the first thread. */
#ifndef KRUN_OCI_CONFINE_H
#define KRUN_OCI_CONFINE_H

#include "util/err.h"

/* Capabilities down to those that serving files needs, empty bounding and ambient sets,
 * no_new_privs. */
int confine(struct error *e);

#endif
