// SPDX-License-Identifier: Apache-2.0
/* GPU, displays, input, sound: what this library does not have. */
#include <errno.h>

#include "api/api.h"
#include "util/cleanup.h"

/* -ENOTSUP; first what would be wrong with the call in any case. */
static int absent(uint32_t ctx_id, bool good)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	return good ? -ENOTSUP : -EINVAL;
}

/* As the original that is built without: the options of a device that there will not be. */
int32_t krun_set_gpu_options(uint32_t ctx_id, uint32_t virgl_flags)
{
	return krun_set_gpu_options2(ctx_id, virgl_flags, 0);
}

int32_t krun_set_gpu_options2(uint32_t ctx_id, uint32_t virgl_flags, uint64_t shm_size)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	(void)virgl_flags;
	(void)shm_size;
	if (!c)
		return -ENOENT;
	c->gpu = true;
	return 0;
}

int32_t krun_add_display(uint32_t ctx_id, uint32_t width, uint32_t height)
{
	(void)width;
	(void)height;
	return absent(ctx_id, true);
}

int32_t krun_display_set_edid(
	uint32_t ctx_id, uint32_t display_id, const uint8_t *edid_blob, size_t blob_size)
{
	(void)display_id;
	return absent(ctx_id, edid_blob && blob_size);
}

int32_t krun_display_set_dpi(uint32_t ctx_id, uint32_t display_id, uint32_t dpi)
{
	(void)display_id;
	(void)dpi;
	return absent(ctx_id, true);
}

int32_t krun_display_set_physical_size(
	uint32_t ctx_id, uint32_t display_id, uint16_t width_mm, uint16_t height_mm)
{
	(void)display_id;
	(void)width_mm;
	(void)height_mm;
	return absent(ctx_id, true);
}

int32_t krun_display_set_refresh_rate(uint32_t ctx_id, uint32_t display_id, uint32_t refresh_rate)
{
	(void)display_id;
	(void)refresh_rate;
	return absent(ctx_id, true);
}

int32_t krun_set_display_backend(uint32_t ctx_id, const void *display_backend, size_t backend_size)
{
	return absent(ctx_id, display_backend && backend_size);
}

int32_t krun_add_input_device(uint32_t ctx_id, const void *config_backend,
	size_t config_backend_size, const void *events_backend, size_t events_backend_size)
{
	return absent(ctx_id,
		config_backend && config_backend_size && events_backend && events_backend_size);
}

int32_t krun_add_input_device_fd(uint32_t ctx_id, int input_fd)
{
	return absent(ctx_id, api_fd_ok(input_fd));
}

int32_t krun_set_snd_device(uint32_t ctx_id, bool enable)
{
	int r = absent(ctx_id, true);

	return r == -ENOTSUP && !enable ? 0 : r;
}
