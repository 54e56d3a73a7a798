/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's first file system: our agent as /init, and /dev/console. Made in memory. */
#ifndef KRUN_OCI_INITRAMFS_H
#define KRUN_OCI_INITRAMFS_H

#include <stddef.h>

/* A cpio archive (newc, uncompressed); heap, NULL when there is no memory. */
void *initramfs_make(size_t *len);

/* The agent that is linked into this program. */
extern const unsigned char agent_image[];
extern const unsigned char agent_image_end[];

#endif
