// SPDX-License-Identifier: Apache-2.0
/* The seccomp program of a container, kept in its directory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oci/fsutil.h"
#include "oci/seccomp_cache.h"
#include "oci/spec.h"
#include "oci/spec_limits.h"
#include "util/bytes.h"
#include "util/cleanup.h"

#define CACHE_NAME  "seccomp"
#define CACHE_MAGIC 0x4353524bU /* "KRSC" */

struct cache_head {
	uint32_t magic;
	uint32_t flags;
	uint32_t len; /* bytes that follow */
	uint32_t reserved;
};
_Static_assert(sizeof(struct cache_head) == 16, "on disk");

static int load(int dir, struct seccomp_prog *out)
{
	CLEAN_FREE char *text = NULL;
	struct cache_head h;
	size_t len = 0;
	int r = read_file_at(dir, CACHE_NAME, sizeof(h) + SPEC_LIM_BPF_BYTES, &text, &len);

	if (r)
		return r;
	if (len < sizeof(h))
		return -EPROTO;
	(void)memcpy(&h, text, sizeof(h));
	out->len = le32toh(h.len);
	if (le32toh(h.magic) != CACHE_MAGIC || out->len != len - sizeof(h) || !out->len ||
		out->len % 8)
		return -EPROTO;
	out->flags = le32toh(h.flags);
	out->bpf = malloc(out->len);
	if (!out->bpf)
		return -ENOMEM;
	(void)memcpy(out->bpf, text + sizeof(h), out->len);
	return 0;
}

static void save(int dir, const struct seccomp_prog *p)
{
	struct cache_head h = { .magic = htole32(CACHE_MAGIC),
		.flags = htole32(p->flags),
		.len = htole32((uint32_t)p->len) };
	CLEAN_FREE char *text = malloc(sizeof(h) + p->len);

	if (!text)
		return;
	(void)memcpy(text, &h, sizeof(h));
	(void)memcpy(text + sizeof(h), p->bpf, p->len);
	/* without it the next one compiles again */
	IGNORE_RESULT(write_file_at(dir, CACHE_NAME, text, sizeof(h) + p->len, 0600));
}

int seccomp_cached(
	int dir, const struct spec_seccomp *sc, struct seccomp_prog *out, struct error *e)
{
	int r;

	*out = (struct seccomp_prog){ 0 };
	if (!sc->set)
		return 0;
	if (!load(dir, out))
		return 0;
	seccomp_prog_free(out);
	*out = (struct seccomp_prog){ 0 };
	r = seccomp_compile(sc, out, e);
	if (!r && out->len)
		save(dir, out);
	return r;
}
