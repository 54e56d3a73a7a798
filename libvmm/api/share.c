// SPDX-License-Identifier: Apache-2.0
/* Directories of the host in the guest: the root, further shares, volumes, and the first process.
 */
/*
 * How it works
 *
 * A share is a tag and a path; the root is the one with KRUN_FS_ROOT_TAG. One without a path has
 * nothing but what overlay.c adds. Nothing is opened here: the tree may change until the start, and
 * rights with it. Shares and volumes count against one limit, since each volume becomes a share.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "oci/initramfs.h"
#include "util/cleanup.h"

#define DAX_STEP (2ULL << 20)
#define TAG_MAX	 36
#define OUR_TAG	 "root"	    /* of the root share, between us and the agent */
#define OUR_TAGS "libkrun." /* of volumes, likewise */

struct api_fs *api_fs_find(struct api_ctx *c, const char *tag)
{
	for (unsigned i = 0; i < c->nfs; i++) {
		if (!strcmp(c->fs[i].tag, tag))
			return &c->fs[i];
	}
	return NULL;
}

/* Pages of all windows together. */
static uint64_t dax_steps(const struct api_ctx *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < c->nfs; i++)
		n += c->fs[i].dax / DAX_STEP;
	return n;
}

int api_fs_add(struct api_ctx *c, const char *tag, const char *path, uint64_t shm, bool ro)
{
	struct api_fs f = { .readonly = ro };

	if (api_check(tag, TAG_MAX + 1) || !*tag || !strcmp(tag, OUR_TAG) ||
		!strncmp(tag, OUR_TAGS, strlen(OUR_TAGS)))
		return -EINVAL;
	if (path && (api_check(path, LIM_API_PATH) || !*path))
		return -EINVAL;
	if (api_fs_find(c, tag))
		return -EEXIST;
	if (shm > LIM_FS_DAX_RANGES * DAX_STEP)
		return -EINVAL;
	f.dax = ALIGN_UP(shm, DAX_STEP);
	if (f.dax / DAX_STEP > LIM_FS_DAX_RANGES - dax_steps(c))
		return -EINVAL;
	if (c->nfs + c->volumes.n >= LIM_API_FS)
		return -ENOSPC;
	f.tag = strdup(tag);
	f.path = path ? strdup(path) : NULL;
	if (!f.tag || (path && !f.path)) {
		free(f.tag);
		free(f.path);
		return -ENOMEM;
	}
	c->fs[c->nfs++] = f;
	return 0;
}

int32_t krun_set_root(uint32_t ctx_id, const char *root_path)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	return root_path ? api_fs_add(c, KRUN_FS_ROOT_TAG, root_path, 0, false) : -EINVAL;
}

int32_t krun_add_virtiofs(uint32_t ctx_id, const char *c_tag, const char *c_path)
{
	return krun_add_virtiofs3(ctx_id, c_tag, c_path, 0, false);
}

int32_t krun_add_virtiofs2(
	uint32_t ctx_id, const char *c_tag, const char *c_path, uint64_t shm_size)
{
	return krun_add_virtiofs3(ctx_id, c_tag, c_path, shm_size, false);
}

int32_t krun_add_virtiofs3(
	uint32_t ctx_id, const char *c_tag, const char *c_path, uint64_t shm_size, bool read_only)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	return c ? api_fs_add(c, c_tag, c_path, shm_size, read_only) : -ENOENT;
}

const char *api_volume_guest(const char *s)
{
	const char *colon = strchr(s, ':');

	return *s == '/' && colon && colon[1] == '/' && colon[2] && !strchr(colon + 1, ':')
		? colon + 1
		: NULL;
}

int32_t krun_set_mapped_volumes(uint32_t ctx_id, const char *const mapped_volumes[])
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	struct api_list l = { .v = NULL };
	int r;

	if (!c)
		return -ENOENT;
	r = api_set_list(&l, mapped_volumes);
	for (size_t i = 0; !r && i < l.n; i++) {
		if (strlen(l.v[i]) >= LIM_API_PATH || !api_volume_guest(l.v[i]))
			r = -EINVAL;
	}
	if (!r && c->nfs + l.n > LIM_API_FS)
		r = -ENOSPC;
	if (r) {
		api_list_free(&l);
		return r;
	}
	api_list_free(&c->volumes);
	c->volumes = l;
	return 0;
}

int32_t krun_disable_implicit_init(uint32_t ctx_id)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);

	if (!c)
		return -ENOENT;
	if (api_fs_find(c, KRUN_FS_ROOT_TAG))
		return -EINVAL;
	c->no_init = true;
	return 0;
}

int32_t krun_get_default_init(const uint8_t **data_out, size_t *len_out)
{
	if (!data_out || !len_out)
		return -EINVAL;
	*data_out = agent_image;
	*len_out = (size_t)((uintptr_t)agent_image_end - (uintptr_t)agent_image);
	return 0;
}
