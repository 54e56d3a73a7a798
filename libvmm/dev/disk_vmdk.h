/* SPDX-License-Identifier: Apache-2.0 */
/* VMDK images, for reading: one file with sparse extents ("monolithicSparse"), or a descriptor
 * beside one flat extent ("monolithicFlat"), whose file the caller's rule opens. */
#ifndef KRUN_DEV_DISK_VMDK_H
#define KRUN_DEV_DISK_VMDK_H

#include "dev/disk.h"

/* As qcow2_open(): @base is the opened file; on success *out takes over what it holds. */
int vmdk_open(
	const struct disk_cfg *cfg, const struct disk *base, struct disk **out, struct error *e);

#endif
