// SPDX-License-Identifier: Apache-2.0
/* The balloon of the public interface: on to the device. */
#include <errno.h>

#include "core/vm.h"
#include "dev/dev.h"

int vmm_balloon_set(struct vmm *vm, uint64_t bytes)
{
	if (!vm->balloon)
		return -ENODEV;
	if (!mem_gives_back(&vm->mem))
		return -ENOTSUP;
	if (bytes > mem_ram_bytes(&vm->mem))
		return -EINVAL;
	balloon_set(vm->balloon, bytes);
	return 0;
}

int vmm_balloon(struct vmm *vm, struct vmm_balloon *out)
{
	struct balloon_stats s;
	int r;

	if (!vm->balloon)
		return -ENODEV;
	r = balloon_ask(vm->balloon, &s);
	*out = (struct vmm_balloon){ .target = s.target,
		.actual = s.actual,
		.age = s.age,
		.free = s.free,
		.total = s.total,
		.available = s.available,
		.caches = s.caches,
		.major_faults = s.major_faults,
		.oom_kills = s.oom_kills };
	return r;
}
