/* SPDX-License-Identifier: Apache-2.0 */
/* Steps on the owner loop that vdev.c and vdev_save.c share; private to them. */
#ifndef KRUN_VIRTIO_VDEV_LOOP_H
#define KRUN_VIRTIO_VDEV_LOOP_H

#include "virtio/vdev.h"

/* Hands the negotiated features to the queues and pins those that are ready. */
int vdev_loop_pin(struct vdev *v, bool resume) NODISCARD;
/* Kicks of ready queues reach the device (each queue gets one at once) / reach it no more. */
int vdev_loop_listen(struct vdev *v) NODISCARD;
void vdev_loop_ignore(struct vdev *v);

#endif
