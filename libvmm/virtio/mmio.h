/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mmio transport, version 2 registers only (virtio 1.2, section 4.2). */
#ifndef KRUN_VIRTIO_MMIO_H
#define KRUN_VIRTIO_MMIO_H

#include "core/bus.h"
#include "virtio/vdev.h"

#define MMIO_LEN	  0x1000 /* bytes of one device's window */
#define MMIO_QUEUE_NOTIFY 0x50

struct mmio {
	struct vdev *v;
	uint32_t dev_feat_sel, drv_feat_sel, queue_sel, shm_sel; /* under v->lock */
};

void mmio_init(struct mmio *t, struct vdev *v);
extern const struct bus_ops mmio_bus_ops; /* arg: struct mmio * */
void mmio_save(const struct mmio *t, struct save_out *s);
int mmio_load(struct mmio *t, struct save_in *s) NODISCARD;

#endif
