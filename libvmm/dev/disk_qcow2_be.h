/* SPDX-License-Identifier: Apache-2.0 */
/* Big-endian loads and stores at any alignment: the byte order of qcow2. */
#ifndef KRUN_DEV_DISK_QCOW2_BE_H
#define KRUN_DEV_DISK_QCOW2_BE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_BE(bits)                                             \
	static inline uint##bits##_t get_be##bits(const void *p)   \
	{                                                          \
		uint##bits##_t v;                                  \
		memcpy(&v, p, sizeof(v));                          \
		return be##bits##toh(v);                           \
	}                                                          \
	static inline void put_be##bits(void *p, uint##bits##_t v) \
	{                                                          \
		v = htobe##bits(v);                                \
		memcpy(p, &v, sizeof(v));                          \
	}

BYTES_BE(16)
BYTES_BE(32)
BYTES_BE(64)

#endif
