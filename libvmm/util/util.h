/* SPDX-License-Identifier: Apache-2.0 */
/* Small macros that everything uses. */
#ifndef KRUN_UTIL_UTIL_H
#define KRUN_UTIL_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a)		      (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)		      ((a) < (b) ? (a) : (b))
#define MAX(a, b)		      ((a) > (b) ? (a) : (b))
#define ALIGN_UP(x, a)		      (((x) + ((a)-1)) & ~((__typeof__(x))(a)-1))
#define ALIGN_DOWN(x, a)	      ((x) & ~((__typeof__(x))(a)-1))
#define IS_POW2(x)		      ((x) && !((x) & ((x)-1)))
#define CONTAINER_OF(p, type, member) ((type *)(void *)((char *)(p)-offsetof(type, member)))
#define NODISCARD		      __attribute__((warn_unused_result))
/* For a NODISCARD result that really does not matter; the comment beside it says why. */
#define IGNORE_RESULT(x)                      \
	do {                                  \
		__typeof__(x) ignored_ = (x); \
		(void)ignored_;               \
	} while (0)
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/* True when [off, off + n) lies within [0, len): the one form in which ranges are checked. */
static inline bool range_ok(uint64_t off, uint64_t n, uint64_t len)
{
	return off <= len && n <= len - off;
}

#endif
