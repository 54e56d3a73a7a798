/* SPDX-License-Identifier: Apache-2.0 */
/* The VMM process gives up what it does not need. On its only thread, after the last mount and
 * before the first thread. */
#ifndef KRUN_OCI_CONFINE_H
#define KRUN_OCI_CONFINE_H

#include "util/err.h"

/*
 * Capabilities down to those that serving files needs, empty bounding and ambient sets,
 * no_new_privs; with @profile not NULL that AppArmor profile, by @attr_fd of apparmor_open().
 */
int confine(int attr_fd, const char *profile, struct error *e);

#endif
