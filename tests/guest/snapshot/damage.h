/* SPDX-License-Identifier: Apache-2.0 */
/* Loading what was not saved like that. */
#ifndef KRUN_TESTS_SNAPSHOT_DAMAGE_H
#define KRUN_TESTS_SNAPSHOT_DAMAGE_H

#include "guest/snapshot/guest.h"

/* Damages @file in place, undoing each time, @mutations times with checksums that are right, and
 * loads it with other configs. Ends the program when a load says the wrong thing. */
void damage_all(const struct guest_opts *o, const char *file, unsigned mutations);

#endif
