/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The annotations krun-oci.disk.N: disks of the guest's beside the container's tree. Their form is
 * in docs/config.md.
 */
#ifndef KRUN_OCI_SPEC_DISK_H
#define KRUN_OCI_SPEC_DISK_H

#include "oci/spec.h"
#include "vmm.h"

/* How many there are: numbered without a gap, else spec_disks() says what is wrong. */
unsigned spec_disk_count(const struct spec *s);
/*
 * Opens the images, with the caller's rights: relative paths from @bundle_fd and not out of there,
 * none by a symlink of a bundle, and of it regular files alone. 0, or -errno and @e; then nothing
 * is left open. -1 as @bundle_fd: looks at the annotations alone, and opens nothing.
 */
int spec_disks(const struct spec *s, int bundle_fd, struct vmm_disk out[VMM_MAX_DISKS], unsigned *n,
	struct error *e);

#endif
