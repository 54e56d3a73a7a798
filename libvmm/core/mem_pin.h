/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The third door to guest memory: bare pointers.
 *
 * For the rings in virtio/vq.c and for loading the kernel before the first vCPU runs; tests/lint
 * refuses any other includer. What is read through the pointer is read once, with an atomic load,
 * and checked afterwards.
 */
#ifndef KRUN_CORE_MEM_PIN_H
#define KRUN_CORE_MEM_PIN_H

#include "core/mem.h"

/* @len bytes at @gpa, wholly inside one writable RAM region and aligned to @align (a power of two),
 * or NULL. */
void *mem_pin(const struct mem *m, gpa_t gpa, uint64_t len, unsigned align) NODISCARD;

#endif
