/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp program of a container, kept in its directory: to compile a manager's default profile
 * takes longer than all the rest of an exec. Nothing but the config goes into it, and that never
 * changes, so the file (little-endian: magic, flags, instructions) is right for as long as it is
 * there. The CLI, single-threaded.
 */
#ifndef KRUN_OCI_SECCOMP_CACHE_H
#define KRUN_OCI_SECCOMP_CACHE_H

#include "oci/seccomp_compile.h"

/* As seccomp_compile(); what it made is kept in directory @dir where that can be written. */
int seccomp_cached(
	int dir, const struct spec_seccomp *sc, struct seccomp_prog *out, struct error *e);

#endif
