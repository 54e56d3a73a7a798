// SPDX-License-Identifier: Apache-2.0
/* JSON text out: for state, list, features, spec and the log. */
/*
 * How it works
 *
 * One growing buffer, always NUL-terminated. The commas and the bracket that ends each level are
 * the writer's business: .close is a stack of them, so callers say jw_end() whatever they opened.
 * Lack of memory, or more than 64 levels, sets .failed; all later calls do nothing and jw_finish()
 * tells.
 *
 * Strings are paths and names of the host, which may hold any bytes, while the output must be UTF-8
 * for every reader: invalid bytes become U+FFFD, control characters are escaped. Nothing is written
 * to a file from here, so a reader never sees half of an object that could not be finished.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oci/json_text.h"
#include "oci/json_write.h"
#include "util/util.h"

static void put_bytes(struct json_writer *w, const char *s, size_t len)
{
	if (w->failed)
		return;
	if (w->cap - w->len <= len) {
		size_t cap = MAX(w->cap * 2, w->len + len + 256);
		char *buf = realloc(w->buf, cap);

		if (!buf) {
			w->failed = true;
			return;
		}
		w->buf = buf;
		w->cap = cap;
	}
	memcpy(w->buf + w->len, s, len);
	w->len += len;
	w->buf[w->len] = '\0';
}

static void put(struct json_writer *w, const char *s)
{
	put_bytes(w, s, strlen(s));
}

static void new_line(struct json_writer *w)
{
	if (!w->pretty)
		return;
	put(w, "\n");
	for (unsigned i = 0; i < w->depth; i++)
		put(w, "    ");
}

static void put_string(struct json_writer *w, const char *s)
{
	size_t len = strlen(s), off = 0;
	char esc[8];

	put(w, "\"");
	while (off < len) {
		size_t step = utf8_step(s + off, len - off);
		unsigned char c = (unsigned char)s[off];

		if (!step) {
			put(w, "\xef\xbf\xbd");
			step = 1;
		} else if (c == '"' || c == '\\') {
			esc[0] = '\\';
			esc[1] = (char)c;
			put_bytes(w, esc, 2);
		} else if (c == '\n') {
			put(w, "\\n");
		} else if (c == '\t') {
			put(w, "\\t");
		} else if (c < 0x20 || c == 0x7f) {
			(void)snprintf(esc, sizeof(esc), "\\u%04x", c);
			put(w, esc);
		} else {
			put_bytes(w, s + off, step);
		}
		off += step;
	}
	put(w, "\"");
}

static void before_value(struct json_writer *w, const char *key)
{
	if (w->comma)
		put(w, ",");
	if (w->depth)
		new_line(w);
	w->comma = true;
	if (!key)
		return;
	put_string(w, key);
	put(w, w->pretty ? ": " : ":");
}

static void open_level(struct json_writer *w, const char *key, const char *bracket, char close)
{
	before_value(w, key);
	if (w->depth >= sizeof(w->close)) {
		w->failed = true;
		return;
	}
	put(w, bracket);
	w->close[w->depth++] = close;
	w->comma = false;
}

void jw_init(struct json_writer *w, bool pretty)
{
	*w = (struct json_writer){ .pretty = pretty };
}

void jw_object(struct json_writer *w, const char *key)
{
	open_level(w, key, "{", '}');
}

void jw_array(struct json_writer *w, const char *key)
{
	open_level(w, key, "[", ']');
}

void jw_end(struct json_writer *w)
{
	if (w->failed || !w->depth)
		return;
	w->depth--;
	if (w->comma)
		new_line(w);
	put_bytes(w, &w->close[w->depth], 1);
	w->comma = true;
}

void jw_string(struct json_writer *w, const char *key, const char *s)
{
	before_value(w, key);
	put_string(w, s);
}

void jw_opt_string(struct json_writer *w, const char *key, const char *s)
{
	if (s)
		jw_string(w, key, s);
}

void jw_strings(struct json_writer *w, const char *key, const char *const *v, size_t n)
{
	jw_array(w, key);
	for (size_t i = 0; i < n; i++)
		jw_string(w, NULL, v[i]);
	jw_end(w);
}

void jw_u64(struct json_writer *w, const char *key, uint64_t v)
{
	char num[24];

	before_value(w, key);
	(void)snprintf(num, sizeof(num), "%" PRIu64, v);
	put(w, num);
}

void jw_i64(struct json_writer *w, const char *key, int64_t v)
{
	char num[24];

	before_value(w, key);
	(void)snprintf(num, sizeof(num), "%" PRId64, v);
	put(w, num);
}

void jw_bool(struct json_writer *w, const char *key, bool v)
{
	before_value(w, key);
	put(w, v ? "true" : "false");
}

int jw_finish(struct json_writer *w, char **out, size_t *len)
{
	while (!w->failed && w->depth)
		jw_end(w);
	put(w, "\n");
	*out = NULL;
	if (w->failed) {
		jw_free(w);
		return -ENOMEM;
	}
	*out = w->buf;
	if (len)
		*len = w->len;
	*w = (struct json_writer){ 0 };
	return 0;
}

void jw_free(struct json_writer *w)
{
	free(w->buf);
	*w = (struct json_writer){ 0 };
}
