// SPDX-License-Identifier: Apache-2.0
/* Disks: checked and kept until krun_start_enter(). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "util/cleanup.h"

#define ID_MAX 256

static int set_path(uint32_t ctx_id, const char *path, bool root)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (!path || !*path)
		return -EINVAL;
	return api_set(root ? &c->root_disk : &c->data_disk, path, LIM_API_PATH);
}

int32_t krun_set_root_disk(uint32_t ctx_id, const char *disk_path)
{
	return set_path(ctx_id, disk_path, true);
}

int32_t krun_set_data_disk(uint32_t ctx_id, const char *disk_path)
{
	return set_path(ctx_id, disk_path, false);
}

int32_t krun_add_disk(uint32_t ctx_id, const char *block_id, const char *disk_path, bool read_only)
{
	return krun_add_disk3(ctx_id, block_id, disk_path, KRUN_DISK_FORMAT_RAW, read_only, false,
		KRUN_SYNC_FULL);
}

int32_t krun_add_disk2(uint32_t ctx_id, const char *block_id, const char *disk_path,
	uint32_t disk_format, bool read_only)
{
	return krun_add_disk3(
		ctx_id, block_id, disk_path, disk_format, read_only, false, KRUN_SYNC_FULL);
}

int32_t krun_add_disk3(uint32_t ctx_id, const char *block_id, const char *disk_path,
	uint32_t disk_format, bool read_only, bool direct_io, uint32_t sync_mode)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	struct api_disk d = {
		.format = disk_format, .sync = sync_mode, .readonly = read_only, .direct = direct_io
	};
	int r;

	if (!c)
		return -ENOENT;
	if (disk_format > KRUN_DISK_FORMAT_VMDK || sync_mode > KRUN_SYNC_FULL || !block_id ||
		!*block_id || !disk_path || !*disk_path)
		return -EINVAL;
	if (c->ndisks == LIM_API_DISKS)
		return -ENOSPC;
	r = api_set(&d.id, block_id, ID_MAX);
	if (!r)
		r = api_set(&d.path, disk_path, LIM_API_PATH);
	if (r) {
		free(d.id);
		return r;
	}
	c->disk[c->ndisks++] = d;
	return 0;
}

int32_t krun_set_root_disk_remount(
	uint32_t ctx_id, const char *device, const char *fstype, const char *options)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (api_check(device, LIM_API_PATH) || !*device ||
		(fstype && api_check(fstype, LIM_API_PATH)) ||
		(options && api_check(options, LIM_API_PATH)) || !c->ndisks)
		return -EINVAL;
	for (unsigned i = 0; i < c->nfs; i++) {
		if (!strcmp(c->fs[i].tag, KRUN_FS_ROOT_TAG))
			return -EINVAL;
	}
	if (fstype && !strcmp(fstype, "auto"))
		fstype = NULL;
	if (api_set_or_null(&c->remount_type, fstype, LIM_API_PATH) ||
		api_set_or_null(&c->remount_opts, options, LIM_API_PATH) ||
		api_set(&c->remount_dev, device, LIM_API_PATH))
		return -ENOMEM;
	/* it stays asked for: the start refuses */
	return -ENOTSUP;
}
