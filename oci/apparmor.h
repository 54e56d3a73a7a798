/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.apparmorProfile: on the host it is the VMM process that it confines, or the process of a
 * sandbox container. Processes of the guest are in none.
 */
#ifndef KRUN_OCI_APPARMOR_H
#define KRUN_OCI_APPARMOR_H

#include <stdbool.h>

#include "util/err.h"

/* Whether this host's kernel has AppArmor switched on; needs the host's /sys. Where it is off a
 * profile means nothing. */
bool apparmor_on(void);
/* Which profile a container that asks for @profile (may be NULL) has to enter; NULL: none, with a
 * warning where that is not what it asked for. */
const char *apparmor_settle(const char *profile);

/*
 * In the process that is to be confined, while it has one thread and sees the host's /proc: a
 * descriptor for apparmor_enter(), the caller's, or -errno. Later the file cannot be had: the image
 * has put its own /proc there.
 */
int apparmor_open(struct error *e);
/*
 * Puts the process into @profile, for good. Before no_new_privs, which would forbid it, and before
 * other threads, which would not be in it. -ENOENT when the host has not loaded it.
 */
int apparmor_enter(int fd, const char *profile, struct error *e);

/* Whether an exec that asks for @want (NULL or empty: nothing) gets it in a VMM that was put into
 * @have (NULL or empty: none). */
bool apparmor_suits(const char *have, const char *want);

#endif
