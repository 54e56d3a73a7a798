/* SPDX-License-Identifier: Apache-2.0 */
/* Linux capabilities by name. Pure functions. */
#ifndef KRUN_OCI_CAPS_H
#define KRUN_OCI_CAPS_H

/* The bit of "CAP_CHOWN" (any case), or -1. Knows the set of Linux 6.12, whatever the host has. */
int cap_bit(const char *name);

/* "CAP_CHOWN", or NULL at the end of the list. */
const char *cap_bit_name(int bit);

#endif
