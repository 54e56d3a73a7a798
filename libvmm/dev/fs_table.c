// SPDX-License-Identifier: Apache-2.0
/* virtio-fs: growing tables whose records never move, by index from 1. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/fs.h"

void *fs_table_at(const struct fs_table *t, uint32_t idx, size_t size)
{
	if (!idx || idx >= t->next)
		return NULL;
	return (char *)t->chunk[idx / FS_CHUNK] + (size_t)(idx % FS_CHUNK) * size;
}

int fs_table_grow(struct fs_table *t, size_t size, uint32_t upto)
{
	while (upto / FS_CHUNK >= t->nchunks) {
		if (!t->chunk) {
			t->chunk = calloc(t->max / FS_CHUNK + 1, sizeof(*t->chunk));
			if (!t->chunk)
				return -ENOMEM;
		}
		t->chunk[t->nchunks] = calloc(FS_CHUNK, size);
		if (!t->chunk[t->nchunks])
			return -ENOMEM;
		t->nchunks++;
	}
	return 0;
}

/* How each record of a pool begins. */
struct rec {
	uint32_t idx, next;
};

void *fs_pool_get(struct fs_table *t, size_t size)
{
	uint32_t idx = t->free;
	struct rec *r;

	if (t->used >= t->max)
		return NULL;
	if (!t->next)
		t->next = 1;
	if (!idx) {
		idx = t->next;
		if (fs_table_grow(t, size, idx) < 0)
			return NULL;
		t->next++;
	}
	r = fs_table_at(t, idx, size);
	if (idx == t->free)
		t->free = r->next;
	memset(r, 0, size);
	r->idx = idx;
	t->used++;
	return r;
}

void fs_pool_put(struct fs_table *t, void *rec)
{
	struct rec *r = rec;

	r->next = t->free;
	t->free = r->idx;
	t->used--;
}

void fs_table_free(struct fs_table *t)
{
	for (uint32_t i = 0; i < t->nchunks; i++)
		free(t->chunk[i]);
	free(t->chunk);
	*t = (struct fs_table){ .max = t->max };
}
