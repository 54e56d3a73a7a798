// SPDX-License-Identifier: Apache-2.0
/* Virtual entries of shares: files and directories that the guest sees and the host does not have.
 */
/*
 * How it works
 *
 * A share has a list of them by path, each directory before what is in it; what a program says is
 * checked against that list and copied. An entry of a path that is there already replaces it, and
 * all that was in it, as the last call counts in the original.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "util/cleanup.h"

static void entry_free(struct vmm_fs_virt *v)
{
	free((void *)(uintptr_t)v->path);
	free((void *)(uintptr_t)v->data);
	*v = (struct vmm_fs_virt){ .path = NULL };
}

void api_virt_free(struct api_fs *f)
{
	for (unsigned i = 0; i < f->nvirt; i++)
		entry_free(&f->virt[i]);
	free(f->virt);
	f->virt = NULL;
	f->nvirt = 0;
}

const struct vmm_fs_virt *api_virt_find(const struct api_fs *f, const char *path, size_t len)
{
	for (unsigned i = 0; i < f->nvirt; i++) {
		if (!strncmp(f->virt[i].path, path, len) && !f->virt[i].path[len])
			return &f->virt[i];
	}
	return NULL;
}

void api_virt_drop(struct api_fs *f, const char *path)
{
	size_t len = strlen(path);
	unsigned n = 0;

	for (unsigned i = 0; i < f->nvirt; i++) {
		struct vmm_fs_virt *v = &f->virt[i];

		if (!strncmp(v->path, path, len) && (!v->path[len] || v->path[len] == '/'))
			entry_free(v);
		else
			f->virt[n++] = *v;
	}
	f->nvirt = n;
}

static bool is_name(const char *s, size_t len)
{
	return len && len <= LIM_FS_NAME && !(*s == '.' && (len == 1 || (len == 2 && s[1] == '.')));
}

/* Whether the directories of @path are there. */
static int check_path(const struct api_fs *f, const char *path)
{
	for (size_t end = 0;; end++) {
		size_t len = strcspn(path + end, "/");
		const struct vmm_fs_virt *v;

		if (!is_name(path + end, len))
			return -EINVAL;
		end += len;
		if (!path[end])
			return 0;
		v = api_virt_find(f, path, end);
		if (!v || !v->dir)
			return v ? -ENOTDIR : -ENOENT;
	}
}

static uint64_t bytes_of(const struct api_ctx *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < c->nfs; i++) {
		for (unsigned k = 0; k < c->fs[i].nvirt; k++)
			n += c->fs[i].virt[k].len;
	}
	return n;
}

int api_virt_put(struct api_fs *f, const struct vmm_fs_virt *v)
{
	struct vmm_fs_virt own = *v;
	void *data = NULL;

	if (!f->virt)
		f->virt = calloc(LIM_FS_VIRT, sizeof(*f->virt));
	own.path = strdup(v->path);
	if (v->len)
		data = malloc(v->len);
	own.data = data;
	if (!f->virt || !own.path || (v->len && !data)) {
		entry_free(&own);
		return -ENOMEM;
	}
	if (v->len)
		(void)memcpy(data, v->data, v->len);
	api_virt_drop(f, own.path);
	f->virt[f->nvirt++] = own;
	return 0;
}

/* Is @v what krun_get_default_init() gives out, at the place that it has? */
static bool is_default_init(const char *tag, const struct vmm_fs_virt *v)
{
	const uint8_t *p;
	size_t n;

	return !strcmp(tag, KRUN_FS_ROOT_TAG) && !strcmp(v->path, API_INIT_NAME) &&
		!krun_get_default_init(&p, &n) && v->len == n && !memcmp(v->data, p, n);
}

static int add(uint32_t ctx_id, const char *tag, struct vmm_fs_virt *v)
{
	CLEAN(api_put) struct api_ctx *c = api_get(ctx_id);
	const struct vmm_fs_virt *was;
	struct api_fs *f;
	int r;

	if (!c)
		return -ENOENT;
	if (api_check(tag, LIM_API_PATH) || api_check(v->path, LIM_API_PATH) ||
		(!v->data && v->len))
		return -EINVAL;
	v->path += *v->path == '/';
	f = api_fs_find(c, tag);
	if (!f)
		return -ENOENT;
	r = check_path(f, v->path);
	if (r)
		return r;
	if (is_default_init(tag, v)) {
		api_virt_drop(f, v->path);
		c->no_init = false;
		return 0;
	}
	was = api_virt_find(f, v->path, strlen(v->path));
	if ((!was && f->nvirt == LIM_FS_VIRT) ||
		v->len > LIM_API_VIRT_BYTES - bytes_of(c) + (was ? was->len : 0))
		return -ENOSPC;
	return api_virt_put(f, v);
}

int32_t krun_fs_add_overlay_file(uint32_t ctx_id, const char *tag, const char *path,
	const uint8_t *data, size_t len, uint32_t mode, bool one_shot)
{
	struct vmm_fs_virt v = {
		.path = path, .data = data, .len = len, .mode = mode & 07777, .one_shot = one_shot
	};

	return add(ctx_id, tag, &v);
}

int32_t krun_fs_add_overlay_dir(uint32_t ctx_id, const char *tag, const char *path, uint32_t mode)
{
	struct vmm_fs_virt v = { .path = path, .mode = mode & 07777, .dir = true };

	return add(ctx_id, tag, &v);
}
