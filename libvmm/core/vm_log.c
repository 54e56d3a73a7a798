// SPDX-License-Identifier: Apache-2.0
/* The log as a program sees it that has only vmm.h. */
#include "util/log.h"
#include "util/util.h"
#include "vmm.h"

_Static_assert((int)VMM_LOG_ERROR == (int)LOG_ERROR && (int)VMM_LOG_DEBUG == (int)LOG_DEBUG,
	"the levels are the same");

static vmm_log_fn *log_fn;
static void *log_arg;

static void forward(enum log_level level, const char *line)
{
	log_fn(log_arg, (enum vmm_log_level)level, line);
}

void vmm_log_to(vmm_log_fn *fn, void *arg, enum vmm_log_level max)
{
	log_fn = fn;
	log_arg = arg;
	log_set_sink(fn ? forward : NULL, (enum log_level)max);
}
