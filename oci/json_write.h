/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON writer into memory. Calls nest as the text does; @key is the member's name inside an
 * object and NULL inside an array. Strings may hold any bytes: what is not UTF-8 becomes U+FFFD. A
 * lack of memory is remembered and told by jw_finish(). One writer, one thread.
 */
#ifndef KRUN_OCI_JSON_WRITE_H
#define KRUN_OCI_JSON_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_writer {
	char *buf;
	size_t len, cap;
	unsigned depth;
	bool pretty; /* four blanks per level, else one line */
	bool comma;  /* a value stands before in this array or object */
	bool failed;
	char close[64]; /* the bracket that ends each level */
};

/* @w is to be ended by jw_finish() or jw_free(). */
void jw_init(struct json_writer *w, bool pretty);
void jw_object(struct json_writer *w, const char *key);
void jw_array(struct json_writer *w, const char *key);
void jw_end(struct json_writer *w);
void jw_string(struct json_writer *w, const char *key, const char *s);
/* As jw_string(), nothing at all when @s is NULL. */
void jw_opt_string(struct json_writer *w, const char *key, const char *s);
void jw_strings(struct json_writer *w, const char *key, const char *const *v, size_t n);
void jw_u64(struct json_writer *w, const char *key, uint64_t v);
void jw_i64(struct json_writer *w, const char *key, int64_t v);
void jw_bool(struct json_writer *w, const char *key, bool v);

/* Ends every open level and hands out the NUL-terminated text with a newline at its end: 0, or
 * -ENOMEM. */
int jw_finish(struct json_writer *w, char **out, size_t *len);
void jw_free(struct json_writer *w);

#endif
