/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves between a chain and an fd that must not block but whose O_NONBLOCK flag is somebody else's.
 *
 * As iobuf_read_fd()/iobuf_write_fd() at the file's own position, with RWF_NOWAIT: -EAGAIN where
 * the call would have waited, -EOPNOTSUPP where the kernel cannot tell for this kind of file
 * (nothing moved then either).
 */
#ifndef KRUN_VIRTIO_IOBUF_NOWAIT_H
#define KRUN_VIRTIO_IOBUF_NOWAIT_H

#include "virtio/iobuf.h"

ssize_t iobuf_read_nowait(struct iobuf *b, int fd, size_t n);
ssize_t iobuf_write_nowait(struct iobuf *b, int fd, size_t n);

#endif
