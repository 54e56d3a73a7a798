/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The saved form of everything but RAM: little-endian numbers and length-prefixed bytes in named
 * sections.
 *
 * A writer grows a heap buffer; a reader walks a buffer that it does not own. Both hold the first
 * error and make all later calls no-ops, so a save or load function is written straight down and
 * checks once at its end. A reader must treat the bytes as hostile: every count is compared with a
 * limit before it is used.
 *
 * Section: u32 tag, u32 version, u64 length, bytes. Nested sections are legal.
 */
#ifndef KRUN_UTIL_SAVE_H
#define KRUN_UTIL_SAVE_H

#include <stddef.h>
#include <stdint.h>

#include "util/util.h"

#define SAVE_TAG(a, b, c, d) \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

struct save_out {
	uint8_t *buf; /* owned; save_out_free() */
	size_t len, cap;
	size_t max;	 /* bytes that it may grow to, set by the owner; 0: no limit */
	int err;	 /* 0 or -errno, sticky; -E2BIG: over max */
	const char *why; /* what failed, in a phrase, of save_fail(); or NULL */
};

struct save_in {
	const uint8_t *buf;
	size_t len, pos;
	int err; /* 0 or -errno, sticky */
};

void save_out_free(struct save_out *s);
void save_u8(struct save_out *s, uint8_t v);
void save_u16(struct save_out *s, uint16_t v);
void save_u32(struct save_out *s, uint32_t v);
void save_u64(struct save_out *s, uint64_t v);
void save_bytes(struct save_out *s, const void *p, size_t n); /* no length prefix */
void save_blob(struct save_out *s, const void *p, size_t n);  /* u32 length + bytes */
/* As save_blob(), but the caller fills in the @n bytes before it saves anything else; NULL when the
 * writer has failed. */
uint8_t *save_blob_room(struct save_out *s, size_t n);
/* What was to be saved cannot be: the writer has failed with -errno @err. @why is not copied. */
void save_fail(struct save_out *s, int err, const char *why);
/* Begins a section; returns where, for save_end(). */
size_t save_begin(struct save_out *s, uint32_t tag, uint32_t version);
void save_end(struct save_out *s, size_t at);

uint8_t load_u8(struct save_in *s);
uint16_t load_u16(struct save_in *s);
uint32_t load_u32(struct save_in *s);
uint64_t load_u64(struct save_in *s);
/* Copies exactly @n bytes; on error @p is zeroed. */
void load_bytes(struct save_in *s, void *p, size_t n);
/* A blob of at most @max bytes, in place (not copied); NULL and *n = 0 on error. */
const uint8_t *load_blob(struct save_in *s, size_t max, size_t *n);
/* Enters the next section, which must carry @tag and a version from 1 to @max_version; *sub is
 * limited to it. Returns the version or 0. */
uint32_t load_section(struct save_in *s, uint32_t tag, uint32_t max_version, struct save_in *sub);
/* -EINVAL unless everything was read and nothing failed. */
int load_done(const struct save_in *s) NODISCARD;

#endif
