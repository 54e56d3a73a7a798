/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts of config.json that are neither binds nor the guest's own: file systems that the host's
 * kernel mounts, of which the guest sees files, as of a bind. fsopen(2), fsconfig(2), fsmount(2).
 */
#ifndef KRUN_OCI_MOUNT_FS_H
#define KRUN_OCI_MOUNT_FS_H

#include <stdbool.h>

#include "oci/spec.h"
#include "util/err.h"

/*
 * Whether the host mounts file systems of @type for a container: those that hold files and need no
 * device. The others would give a guest, which is not trusted, the host's disks to parse by the
 * host's kernel, or that kernel's own interfaces.
 */
bool mount_fs_type(const char *type);
/*
 * Mounts what mounts[@i] says, attached nowhere. In the CLI or, where that lacks the right, in the
 * VMM process. A descriptor, the caller's, or -errno with an error that names the mount.
 */
int mount_fs_make(const struct spec *s, size_t i, struct error *e);

#endif
