/* SPDX-License-Identifier: Apache-2.0 */
/* What programs of the host that we start have in common; on any thread. */
#ifndef KRUN_OCI_SPAWN_H
#define KRUN_OCI_SPAWN_H

#include <spawn.h>

/* Makes @at such that the program has every signal as it is by default and none blocked, with
 * @flags (POSIX_SPAWN_*) besides; the caller destroys it. */
void spawn_attr(posix_spawnattr_t *at, short flags);

#endif
