// SPDX-License-Identifier: Apache-2.0
/* The table of contexts, and what belongs to a context as a whole. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/start.h"
#include "util/cleanup.h"

/* Guards the table, the last id and, between api_get() and api_put(), what a context holds. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct api_ctx *table[LIM_API_CTXS];
static uint32_t next_id;

static struct api_ctx **find(uint32_t id)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i] && table[i]->id == id)
			return &table[i];
	}
	return NULL;
}

struct api_ctx *api_get(uint32_t id)
{
	struct api_ctx **p;

	(void)pthread_mutex_lock(&lock);
	p = find(id);
	if (!p)
		(void)pthread_mutex_unlock(&lock);
	return p ? *p : NULL;
}

void api_put(struct api_ctx **c)
{
	if (*c)
		(void)pthread_mutex_unlock(&lock);
}

struct api_ctx *api_take(uint32_t id)
{
	struct api_ctx **p, *c = NULL;

	(void)pthread_mutex_lock(&lock);
	p = find(id);
	if (p)
		c = TAKE_PTR(*p);
	(void)pthread_mutex_unlock(&lock);
	return c;
}

void api_free(struct api_ctx *c)
{
	char *const one[] = { c->remount_dev, c->remount_type, c->remount_opts, c->root_disk,
		c->data_disk, c->gvproxy, c->console_file, c->kernel_console, c->kernel,
		c->initramfs, c->cmdline, c->workdir, c->exec };
	struct api_list *const lists[] = { &c->smbios, &c->volumes, &c->args, &c->env,
		&c->rlimits };

	for (size_t i = 0; i < ARRAY_SIZE(one); i++)
		free(one[i]);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		api_list_free(lists[i]);
	for (unsigned i = 0; i < c->nfs; i++) {
		free(c->fs[i].tag);
		free(c->fs[i].path);
		api_virt_free(&c->fs[i]);
	}
	for (unsigned i = 0; i < c->ndisks; i++) {
		free(c->disk[i].id);
		free(c->disk[i].path);
	}
	for (unsigned i = 0; i < c->nnets; i++)
		free(c->net[i].path);
	for (unsigned i = 0; i < c->nvhost; i++) {
		free(c->vhost[i].path);
		free(c->vhost[i].name);
	}
	for (unsigned i = 0; i < c->nvsock; i++)
		free(c->vsock[i].path);
	for (unsigned i = 0; i < c->nports; i++)
		free(c->port[i].name);
	if (c->shutdown_fd >= 0)
		(void)close(c->shutdown_fd);
	free(c);
}

int32_t krun_create_ctx(void)
{
	struct api_ctx *c = calloc(1, sizeof(*c));
	int32_t id = -ENOMEM;

	if (!c)
		return id;
	c->vcpus = 1;
	c->ram_mib = 128;
	c->passt_fd = c->shutdown_fd = -1;
	(void)pthread_mutex_lock(&lock);
	for (size_t i = 0; i < ARRAY_SIZE(table) && id < 0 && next_id <= INT32_MAX; i++) {
		if (table[i])
			continue;
		c->id = next_id++;
		table[i] = c;
		id = (int32_t)c->id;
	}
	(void)pthread_mutex_unlock(&lock);
	if (id < 0)
		api_free(c);
	return id;
}

int32_t krun_free_ctx(uint32_t ctx_id)
{
	struct api_ctx *c = api_take(ctx_id);

	if (!c)
		return -ENOENT;
	api_free(c);
	return 0;
}
