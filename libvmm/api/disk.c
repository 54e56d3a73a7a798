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
	if (disk_format == KRUN_DISK_FORMAT_VMDK && (!read_only || direct_io))
		return -ENOTSUP;
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

/* The share from which the original's first process is started, with the directories that it wants:
 * one of the caller's finds it so. */
static int add_first_root(struct api_ctx *c)
{
	static const char *const dirs[] = { "dev", "proc", "sys", "newroot" };
	int r = api_fs_add(c, KRUN_FS_ROOT_TAG, NULL, 0, false);

	if (r)
		return r;
	for (size_t i = 0; !r && i < ARRAY_SIZE(dirs); i++) {
		const struct vmm_fs_virt v = { .path = dirs[i], .dir = true, .mode = 0755 };

		r = api_virt_put(&c->fs[c->nfs - 1], &v);
	}
	if (r) {
		struct api_fs *f = &c->fs[--c->nfs];

		free(f->tag);
		api_virt_free(f);
	}
	return r;
}

int32_t krun_set_root_disk_remount(
	uint32_t ctx_id, const char *device, const char *fstype, const char *options)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	CLEAN_FREE char *dev = NULL;
	CLEAN_FREE char *type = NULL;
	CLEAN_FREE char *opts = NULL;
	int r;

	if (!c)
		return -ENOENT;
	if (!device || !*device || !c->ndisks || api_fs_find(c, KRUN_FS_ROOT_TAG))
		return -EINVAL;
	if (fstype && (!*fstype || !strcmp(fstype, "auto")))
		fstype = NULL;
	r = api_set(&dev, device, LIM_API_PATH);
	if (!r)
		r = api_set_or_null(&type, fstype, LIM_API_PATH);
	if (!r)
		r = api_set_or_null(&opts, options, LIM_API_PATH);
	if (!r)
		r = add_first_root(c);
	if (r)
		return r;
	c->remount_dev = TAKE_PTR(dev);
	c->remount_type = TAKE_PTR(type);
	c->remount_opts = TAKE_PTR(opts);
	return 0;
}
