/* SPDX-License-Identifier: Apache-2.0 */
/* An interrupt line that a device pulses: an irqfd where the hypervisor has one, else a call. */
#ifndef KRUN_CORE_IRQ_H
#define KRUN_CORE_IRQ_H

#include <stdint.h>

struct irq_line {
	const uint32_t *by_call; /* or NULL: inputs, a bit each, that take raise() instead of @efd;
				    atomic */
	int efd; /* eventfd bound to @gsi, -1 when raise() is used instead; owned by the VM */
	unsigned gsi;
	void (*raise)(void *arg, unsigned gsi); /* edge; any thread */
	/* the eventfd does not take it, -errno: the driver would wait for ever; any thread, may be
	 * NULL */
	void (*lost)(void *arg, unsigned gsi, int err);
	void *arg;	/* of both */
	uint64_t count; /* interrupts asked for so far, relaxed atomic: a tracked figure */
};

void irq_raise(struct irq_line *l);

#endif
