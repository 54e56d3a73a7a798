/* SPDX-License-Identifier: Apache-2.0 */
/* Finds process.args[0] in the container's tree, so that a missing command is an error of create.
 */
#ifndef KRUN_OCI_RESOLVE_H
#define KRUN_OCI_RESOLVE_H

#include "oci/spec.h"
#include "util/err.h"

/*
 * 0 when args[0] is an executable file for the workload's user below @root_fd, by the PATH of
 * process.env. Errors carry the phrases that clients look for ("executable file `x` not found in
 * $PATH", "permission denied"). What lies under a guest-side mount, also by links of the image,
 * cannot be seen from here and passes: the guest tells at start.
 */
int resolve_args0(int root_fd, const struct spec *s, struct error *e);

#endif
