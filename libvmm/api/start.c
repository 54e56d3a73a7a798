// SPDX-License-Identifier: Apache-2.0
/* krun_start_enter(). */
#include <errno.h>

#include "api/api.h"
#include "util/log.h"

int32_t krun_start_enter(uint32_t ctx_id)
{
	struct api_ctx *c = api_take(ctx_id);

	if (!c)
		return -ENOENT;
	log_err("this library does not start VMs");
	api_free(c);
	return -ENOTSUP;
}
