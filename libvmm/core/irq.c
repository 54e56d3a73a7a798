// SPDX-License-Identifier: Apache-2.0
/* Pulsing an interrupt line. */
#include <errno.h>
#include <unistd.h>

#include "core/irq.h"
#include "util/err.h"
#include "util/log.h"

void irq_raise(struct irq_line *l)
{
	uint64_t one = 1;

	__atomic_fetch_add(&l->count, 1, __ATOMIC_RELAXED);
	if (l->efd < 0 ||
		(l->by_call && __atomic_load_n(l->by_call, __ATOMIC_RELAXED) >> l->gsi & 1)) {
		l->raise(l->arg, l->gsi);
		return;
	}
	/* EAGAIN: so many pulses are waiting that one more makes no difference. */
	if (write(l->efd, &one, sizeof(one)) >= 0 || errno == EAGAIN)
		return;
	if (l->lost)
		l->lost(l->arg, l->gsi, -errno);
	else
		log_err("interrupt %u: %s", l->gsi, err_text(errno));
}
