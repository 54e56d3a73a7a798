// SPDX-License-Identifier: Apache-2.0
/* Writes the flat description of a container or process. */
/*
 * How it works
 *
 * Records are appended to one growing buffer, zeroed as it grows, so padding and fields that nobody
 * set never hold old memory. The header is written by blob_done(), when count and length are known;
 * the caller's reserve before it leaves room for a message header and saves a copy of the whole.
 *
 * The first error sticks with the tag it happened at, and everything after it does nothing: callers
 * put all records and look once. Each record is held against the table that the reader checks with,
 * so a blob that the agent would refuse is not made.
 */
#include "blob.h"
#include "blob_tags.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void fail(struct blob_w *w, int err, uint16_t tag)
{
	if (w->err)
		return;
	w->err = err;
	w->err_tag = tag;
}

/* @n zeroed bytes at the end, or NULL. */
static uint8_t *grow(struct blob_w *w, size_t n, uint16_t tag)
{
	size_t cap = w->cap ? w->cap : 4096;
	uint8_t *p;

	if (w->err)
		return NULL;
	if (n > BLOB_MAX - (w->len - w->reserve)) {
		fail(w, -E2BIG, tag);
		return NULL;
	}
	while (cap - w->len < n)
		cap *= 2;
	if (cap != w->cap) {
		p = realloc(w->buf, cap);
		if (!p) {
			fail(w, -ENOMEM, tag);
			return NULL;
		}
		w->buf = p;
		w->cap = cap;
	}
	p = w->buf + w->len;
	memset(p, 0, n);
	w->len += n;
	return p;
}

void blob_begin(struct blob_w *w, uint16_t kind, size_t reserve)
{
	memset(w, 0, sizeof(*w));
	w->kind = kind;
	if (reserve > 1024 || reserve % 8) {
		fail(w, -EINVAL, 0);
		return;
	}
	if (grow(w, reserve + sizeof(struct blob_hdr), 0))
		w->reserve = reserve;
}

/* A record's header and padded, zeroed payload. */
static uint8_t *record(struct blob_w *w, uint16_t tag, size_t len)
{
	struct blob_rec r = { .tag = tag, .len = (uint32_t)len };
	uint8_t *p;

	if (len > BLOB_MAX) {
		fail(w, -E2BIG, tag);
		return NULL;
	}
	p = grow(w, sizeof(r) + ((len + 7) & ~(size_t)7), tag);
	if (!p)
		return NULL;
	memcpy(p, &r, sizeof(r));
	w->count++;
	return p + sizeof(r);
}

void blob_put(struct blob_w *w, uint16_t tag, const void *fixed, size_t fixed_len,
	const char *const *strs, size_t n)
{
	const struct blob_tag_info *ti = blob_tag_info(tag);
	size_t len = fixed_len;
	uint8_t *p;

	if (!ti || ti->fixed != fixed_len || ti->nstr != n) {
		fail(w, -EINVAL, tag);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		size_t l = strlen(strs[i]) + 1;

		if (l > ti->str_max) {
			fail(w, -E2BIG, tag);
			return;
		}
		len += l;
	}
	p = record(w, tag, len);
	if (!p)
		return;
	if (fixed_len)
		memcpy(p, fixed, fixed_len);
	p += fixed_len;
	for (size_t i = 0; i < n; i++) {
		size_t l = strlen(strs[i]) + 1;

		memcpy(p, strs[i], l);
		p += l;
	}
}

void blob_put_str(struct blob_w *w, uint16_t tag, const char *s)
{
	blob_put(w, tag, NULL, 0, &s, 1);
}

void blob_put_pair(struct blob_w *w, uint16_t tag, const char *a, const char *b)
{
	const char *const s[] = { a, b };

	blob_put(w, tag, NULL, 0, s, 2);
}

void blob_put_process(struct blob_w *w, const struct blob_process *p)
{
	blob_put(w, BLOB_T_PROCESS, p, sizeof(*p), NULL, 0);
}

void blob_put_gids(struct blob_w *w, const uint32_t *gids, size_t n)
{
	uint8_t *p;

	if (n > BLOB_MAX_GIDS) {
		fail(w, -E2BIG, BLOB_T_GIDS);
		return;
	}
	p = n ? record(w, BLOB_T_GIDS, n * sizeof(*gids)) : NULL;
	if (p)
		memcpy(p, gids, n * sizeof(*gids));
}

void blob_put_rlimit(struct blob_w *w, uint32_t resource, uint64_t soft, uint64_t hard)
{
	struct blob_rlimit r = { .resource = resource, .soft = soft, .hard = hard };

	blob_put(w, BLOB_T_RLIMIT, &r, sizeof(r), NULL, 0);
}

void blob_put_seccomp(struct blob_w *w, uint32_t flags, const void *bpf, size_t n)
{
	struct blob_seccomp s = { .flags = flags };
	uint8_t *p;

	if (!n || n > BLOB_MAX_BPF) {
		fail(w, n ? -E2BIG : -EINVAL, BLOB_T_SECCOMP);
		return;
	}
	p = record(w, BLOB_T_SECCOMP, sizeof(s) + n * 8);
	if (!p)
		return;
	memcpy(p, &s, sizeof(s));
	memcpy(p + sizeof(s), bpf, n * 8);
}

void blob_put_fd(struct blob_w *w, uint32_t kind)
{
	struct blob_fd f = { .kind = kind };

	blob_put(w, BLOB_T_FD, &f, sizeof(f), NULL, 0);
}

void blob_put_container(struct blob_w *w, const struct blob_container *c)
{
	blob_put(w, BLOB_T_CONTAINER, c, sizeof(*c), NULL, 0);
}

void blob_put_root(struct blob_w *w, const char *type, const char *source, const char *data)
{
	const char *const s[] = { type, source, data };

	blob_put(w, BLOB_T_ROOT, NULL, 0, s, 3);
}

void blob_put_mount(struct blob_w *w, const struct blob_mount *m, const char *type,
	const char *source, const char *dest, const char *data)
{
	const char *const s[] = { type, source, dest, data };

	blob_put(w, BLOB_T_MOUNT, m, sizeof(*m), s, 4);
}

void blob_put_device(struct blob_w *w, const struct blob_device *d, const char *path)
{
	blob_put(w, BLOB_T_DEVICE, d, sizeof(*d), &path, 1);
}

void blob_put_hook(struct blob_w *w, const struct blob_hook *h, const char *path)
{
	blob_put(w, BLOB_T_HOOK, h, sizeof(*h), &path, 1);
}

void blob_put_timeoff(struct blob_w *w, uint32_t clock, int64_t secs, uint32_t nsecs)
{
	struct blob_timeoff t = { .clock = clock, .secs = secs, .nsecs = nsecs };

	blob_put(w, BLOB_T_TIMEOFF, &t, sizeof(t), NULL, 0);
}

int blob_done(struct blob_w *w, uint8_t **buf, size_t *len)
{
	struct blob_hdr h = { .magic = BLOB_MAGIC, .version = PROTO_VERSION, .kind = w->kind };
	int err = w->err;

	if (!err) {
		h.len = (uint32_t)(w->len - w->reserve);
		h.count = w->count;
		memcpy(w->buf + w->reserve, &h, sizeof(h));
		*buf = w->buf;
		*len = w->len;
	} else {
		free(w->buf);
	}
	w->buf = NULL;
	return err;
}
