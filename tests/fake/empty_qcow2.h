/* SPDX-License-Identifier: Apache-2.0 */
/* An empty qcow2 image, version 3, where there is no qemu-img to make one. */
#ifndef KRUN_TESTS_FAKE_EMPTY_QCOW2_H
#define KRUN_TESTS_FAKE_EMPTY_QCOW2_H

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static inline void empty_qcow2_be(uint8_t *p, unsigned n, uint64_t v)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

/* Header, refcount table, refcount block and L1, a cluster each or more, into an empty file. */
static inline int empty_qcow2(int fd, uint64_t bytes, unsigned cluster_bits)
{
	uint64_t c = 1ULL << cluster_bits, per_l2 = c * (c / 8);
	uint64_t l1 = (bytes + per_l2 - 1) / per_l2, used = 3 + (8 * l1 + c - 1) / c;
	uint8_t *p = calloc(used, c);
	int r;

	if (!p)
		return -1;
	empty_qcow2_be(p, 4, 0x514649fb);
	empty_qcow2_be(p + 4, 4, 3);
	empty_qcow2_be(p + 20, 4, cluster_bits);
	empty_qcow2_be(p + 24, 8, bytes);
	empty_qcow2_be(p + 36, 4, l1);
	empty_qcow2_be(p + 40, 8, 3 * c);
	empty_qcow2_be(p + 48, 8, c);
	empty_qcow2_be(p + 56, 4, 1);
	empty_qcow2_be(p + 96, 4, 4);
	empty_qcow2_be(p + 100, 4, 104);
	empty_qcow2_be(p + c, 8, 2 * c);
	for (uint64_t i = 0; i < used; i++)
		empty_qcow2_be(p + 2 * c + 2 * i, 2, 1);
	r = pwrite(fd, p, used * c, 0) == (ssize_t)(used * c) ? 0 : -1;
	free(p);
	return r;
}

#endif
