/* SPDX-License-Identifier: Apache-2.0 */
/* Where the guest kernel is, and its command line. */
#ifndef KRUN_OCI_KERNEL_H
#define KRUN_OCI_KERNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "oci/spec.h"
#include "util/err.h"

/*
 * Opens vm.kernel.path of the config, else the file that $KRUN_OCI_KERNEL names, else
 * "kernel/vmlinux" or "../lib/krun-oci/vmlinux" beside the program, else the installed one. @spec
 * may be NULL. @path (may be NULL) gets what was opened. -ENOENT names the places.
 */
int kernel_open(const struct spec *s, char *path, size_t path_len, struct error *e);

#define KERNEL_CMDLINE_MAX 2048 /* bytes, COMMAND_LINE_SIZE of the kernel */

/* Our own options, then those of vm.kernel.parameters; refuses the ones that would break the boot
 * or would be more than one. -EINVAL, -E2BIG. */
int kernel_cmdline(
	const struct spec *s, unsigned vcpus, bool tsi, char *buf, size_t len, struct error *e);

#endif
