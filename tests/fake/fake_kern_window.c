// SPDX-License-Identifier: Apache-2.0
/* A guest's kernel without a guest: the DAX window. */
/*
 * How it works
 *
 * Reading goes by requests, as ever; but what the window shows of the same bytes is taken first,
 * and must be the same, whatever was done to the file since it was mapped. After a write the window
 * shows what was written. Files are mapped, into ranges by turns, when they are opened or read. Of
 * each the first range is.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fake/fake_kern.h"
#include "util/util.h"

#define RANGE (2U << 20)

static struct fk_shown *shown_of(struct fk *k, uint64_t id)
{
	for (unsigned i = 0; i < k->nshown; i++)
		if (k->shown[i].id == id)
			return &k->shown[i];
	return NULL;
}

void fk_window_forget(struct fk *k, uint64_t id)
{
	struct fk_shown *s = shown_of(k, id);

	if (s)
		s->id = 0;
}

/* Whether [off, off + n) of file @id is in the window: its bytes, as far as there are any, to @to.
 */
bool fk_window_take(struct fk *k, uint64_t id, uint64_t off, uint32_t n, void *to, uint32_t *got)
{
	const struct fk_shown *s = shown_of(k, id);
	struct iovec l, r;
	ssize_t m;

	*got = 0;
	if (!s || !range_ok(off, n, RANGE))
		return false;
	/* A page that is not there ends the call short, or with EFAULT, instead of the process. */
	l = (struct iovec){ to, n };
	r = (struct iovec){ k->window + (size_t)(s - k->shown) * RANGE + off, n };
	m = process_vm_readv(getpid(), &l, 1, &r, 1, 0);
	*got = m < 0 ? 0 : (uint32_t)m;
	return true;
}

void fk_window_map(struct fk *k, const struct fk_proc *p, uint64_t id)
{
	unsigned i = (unsigned)(k->unique / 2) % MAX(k->nshown, 1U);
	struct fuse_setupmapping_in in = { .fh = UINT64_MAX,
		.len = RANGE,
		.flags = FUSE_SETUPMAPPING_FLAG_READ,
		.moffset = (uint64_t)i * RANGE };
	int r;

	if (!k->nshown || shown_of(k, id))
		return;
	r = fk_call(k, p, FUSE_SETUPMAPPING, id, &in, sizeof(in), NULL, 0, NULL, 0);
	if (!r)
		k->shown[i].id = id;
	else if (r != -ENODEV)
		k->broken = true;
}
