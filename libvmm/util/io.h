/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes at an offset that do all of it: interrupted and short ones go on. Any thread. */
#ifndef KRUN_UTIL_IO_H
#define KRUN_UTIL_IO_H

#include <stddef.h>
#include <stdint.h>

#include "util/util.h"

/* 0 or -errno; -ENODATA: the file ends before, what there was is in @p. -EINVAL: no such offset. */
int io_pread(int fd, void *p, size_t n, uint64_t off) NODISCARD;
/* 0 or -errno; -EIO: the file takes no more and does not say why. */
int io_pwrite(int fd, const void *p, size_t n, uint64_t off) NODISCARD;

#endif
