/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatch of trapped accesses to emulated registers.
 *
 * Ranges are added, in order of their addresses, while the VM is built; after bus_freeze() there
 * are no more, and vCPU threads look them up without a lock. A device sees an offset into its
 * range, never an address.
 */
#ifndef KRUN_CORE_BUS_H
#define KRUN_CORE_BUS_H

#include <stdint.h>

#include "core/limits.h"
#include "util/util.h"

struct bus_ops {
	/* On the thread of the vCPU that trapped. @len is 1, 2, 4 or 8 and off + len lies in the
	 * range. */
	void (*read)(void *arg, uint64_t off, uint8_t *data, unsigned len);
	void (*write)(void *arg, uint64_t off, const uint8_t *data, unsigned len);
};

struct bus_range {
	uint64_t base, len;
	const struct bus_ops *ops;
	void *arg;
};

struct bus {
	struct bus_range r[LIM_BUS_RANGES];
	unsigned n;
	bool frozen;
};

/* -EBUSY after the freeze, -EINVAL (empty, or wraps), -EEXIST (overlaps), -ENOSPC. */
int bus_add(
	struct bus *b, uint64_t base, uint64_t len, const struct bus_ops *ops, void *arg) NODISCARD;
void bus_freeze(struct bus *b);
/* False when nothing is there: a read then leaves all-ones in @data. Odd lengths and straddling
 * accesses count as nothing. */
bool bus_read(const struct bus *b, uint64_t addr, uint8_t *data, unsigned len);
bool bus_write(const struct bus *b, uint64_t addr, const uint8_t *data, unsigned len);

#endif
