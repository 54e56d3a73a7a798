// SPDX-License-Identifier: Apache-2.0
/* Writer and reader of the saved form: little-endian numbers in sections, errors sticky. */
/*
 * How it works
 *
 * A writer appends to a buffer that doubles: save_room() is the only place that grows it and the
 * only one that sets its error. A section begins with a length of 0, which save_end() fills in.
 *
 * A reader goes through load_take(), which holds the one range check; everything else is built on
 * it. A section becomes a reader of its own over the same bytes, so what is inside cannot read
 * beyond it, and the outer one is past it at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/bytes.h"
#include "util/save.h"

#define SECTION_HEAD 16 /* tag, version, length */

void save_out_free(struct save_out *s)
{
	free(s->buf);
	*s = (struct save_out){ 0 };
}

/* Room for @n more bytes, counted as used; NULL when the writer has failed. */
static uint8_t *save_room(struct save_out *s, size_t n)
{
	uint8_t *p;

	if (s->err)
		return NULL;
	if (s->max && n > s->max - s->len) {
		s->err = -E2BIG;
		return NULL;
	}
	if (n > SIZE_MAX / 2 - s->len) {
		s->err = -ENOMEM;
		return NULL;
	}
	if (s->len + n > s->cap) {
		size_t cap = MAX(s->cap * 2, MAX(s->len + n, 256));

		if (s->max)
			cap = MIN(cap, s->max);
		p = realloc(s->buf, cap);
		if (!p) {
			s->err = -ENOMEM;
			return NULL;
		}
		s->buf = p;
		s->cap = cap;
	}
	p = s->buf + s->len;
	s->len += n;
	return p;
}

void save_u8(struct save_out *s, uint8_t v)
{
	save_bytes(s, &v, 1);
}

void save_u16(struct save_out *s, uint16_t v)
{
	uint8_t *p = save_room(s, 2);

	if (p)
		put_le16(p, v);
}

void save_u32(struct save_out *s, uint32_t v)
{
	uint8_t *p = save_room(s, 4);

	if (p)
		put_le32(p, v);
}

void save_u64(struct save_out *s, uint64_t v)
{
	uint8_t *p = save_room(s, 8);

	if (p)
		put_le64(p, v);
}

void save_bytes(struct save_out *s, const void *src, size_t n)
{
	uint8_t *p = save_room(s, n);

	if (p && n)
		memcpy(p, src, n);
}

uint8_t *save_blob_room(struct save_out *s, size_t n)
{
	if (n > UINT32_MAX) {
		if (!s->err)
			s->err = -EOVERFLOW;
		return NULL;
	}
	save_u32(s, (uint32_t)n);
	return save_room(s, n);
}

void save_blob(struct save_out *s, const void *p, size_t n)
{
	uint8_t *dst = save_blob_room(s, n);

	if (dst && n)
		memcpy(dst, p, n);
}

void save_fail(struct save_out *s, int err, const char *why)
{
	if (s->err)
		return;
	s->err = err;
	s->why = why;
}

size_t save_begin(struct save_out *s, uint32_t tag, uint32_t version)
{
	size_t at = s->len;

	save_u32(s, tag);
	save_u32(s, version);
	save_u64(s, 0);
	return at;
}

void save_end(struct save_out *s, size_t at)
{
	if (!s->err)
		put_le64(s->buf + at + 8, s->len - at - SECTION_HEAD);
}

/* The next @n bytes, consumed; NULL when the reader has failed or fewer are left. */
static const uint8_t *load_take(struct save_in *s, size_t n)
{
	const uint8_t *p;

	if (s->err)
		return NULL;
	if (!range_ok(s->pos, n, s->len)) {
		s->err = -EINVAL;
		return NULL;
	}
	p = s->buf + s->pos;
	s->pos += n;
	return p;
}

uint8_t load_u8(struct save_in *s)
{
	const uint8_t *p = load_take(s, 1);

	return p ? *p : 0;
}

uint16_t load_u16(struct save_in *s)
{
	const uint8_t *p = load_take(s, 2);

	return p ? get_le16(p) : 0;
}

uint32_t load_u32(struct save_in *s)
{
	const uint8_t *p = load_take(s, 4);

	return p ? get_le32(p) : 0;
}

uint64_t load_u64(struct save_in *s)
{
	const uint8_t *p = load_take(s, 8);

	return p ? get_le64(p) : 0;
}

void load_bytes(struct save_in *s, void *dst, size_t n)
{
	const uint8_t *p = load_take(s, n);

	if (!n)
		return;
	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

const uint8_t *load_blob(struct save_in *s, size_t max, size_t *n)
{
	uint32_t len = load_u32(s);
	const uint8_t *p;

	*n = 0;
	if (!s->err && len > max)
		s->err = -EINVAL;
	p = load_take(s, len);
	if (p)
		*n = len;
	return p;
}

uint32_t load_section(struct save_in *s, uint32_t tag, uint32_t max_version, struct save_in *sub)
{
	uint32_t got = load_u32(s), version = load_u32(s);
	uint64_t len = load_u64(s);
	const uint8_t *p;

	*sub = (struct save_in){ .err = -EINVAL };
	if (!s->err && (got != tag || !version || version > max_version || len > s->len - s->pos))
		s->err = -EINVAL;
	p = load_take(s, len);
	if (!p)
		return 0;
	*sub = (struct save_in){ .buf = p, .len = len };
	return version;
}

int load_done(const struct save_in *s)
{
	if (s->err)
		return s->err;
	return s->pos == s->len ? 0 : -EINVAL;
}
