/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian loads and stores at any alignment. */
#ifndef KRUN_UTIL_BYTES_H
#define KRUN_UTIL_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_LE(bits)                                             \
	static inline uint##bits##_t get_le##bits(const void *p)   \
	{                                                          \
		uint##bits##_t v;                                  \
		memcpy(&v, p, sizeof(v));                          \
		return le##bits##toh(v);                           \
	}                                                          \
	static inline void put_le##bits(void *p, uint##bits##_t v) \
	{                                                          \
		v = htole##bits(v);                                \
		memcpy(p, &v, sizeof(v));                          \
	}

BYTES_LE(16)
BYTES_LE(32)
BYTES_LE(64)

#endif
