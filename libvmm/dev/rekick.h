/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a device calls itself again.
 *
 * A kick handler that stops at its batch limit, or that got work from another thread, writes the
 * queue's own kick eventfd: the loop comes back to it after the sources that wait now. Any thread;
 * while the VM is paused or the device is stopped nothing happens, and start and resume kick every
 * queue anyway.
 */
#ifndef KRUN_DEV_REKICK_H
#define KRUN_DEV_REKICK_H

#include <sys/eventfd.h>

#include "virtio/vdev.h"

static inline void rekick(const struct vdev *v, unsigned q)
{
	/* Fails only when the counter is full, and then the event is pending already. */
	(void)eventfd_write(v->kick_fd[q], 1);
}

#endif
