// SPDX-License-Identifier: Apache-2.0
/* The log sink and the rate limit for what a guest can make us say. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "util/log.h"
#include "util/util.h"

static log_sink_fn *sink;
static enum log_level sink_max = LOG_ERROR;

void log_set_sink(log_sink_fn *fn, enum log_level max)
{
	sink = fn;
	sink_max = max;
}

PRINTF(2, 0)
static void log_v(enum log_level level, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX];
	int saved = errno;

	if (!sink || level > sink_max)
		return;
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	sink(level, line);
	errno = saved;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_v(level, fmt, ap);
	va_end(ap);
}

/* Two threads may race on @r and let a line more through: the limit is on volume, not exact. */
void log_limited(struct log_rate *r, enum log_level level, const char *fmt, ...)
{
	uint32_t dropped = 0;
	struct timespec ts;
	va_list ap;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	if (__atomic_load_n(&r->second, __ATOMIC_RELAXED) != (uint64_t)ts.tv_sec) {
		__atomic_store_n(&r->second, (uint64_t)ts.tv_sec, __ATOMIC_RELAXED);
		__atomic_store_n(&r->count, 0, __ATOMIC_RELAXED);
		dropped = __atomic_exchange_n(&r->dropped, 0, __ATOMIC_RELAXED);
	}
	if (__atomic_fetch_add(&r->count, 1, __ATOMIC_RELAXED) >= LOG_GUEST_BURST) {
		__atomic_fetch_add(&r->dropped, 1, __ATOMIC_RELAXED);
		return;
	}
	if (dropped)
		log_at(level, "%u similar lines dropped", dropped);
	va_start(ap, fmt);
	log_v(level, fmt, ap);
	va_end(ap);
}
