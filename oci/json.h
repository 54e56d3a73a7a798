/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded JSON reader (RFC 8259) over yajl's tokeniser: text in, a tree of nodes out.
 *
 * Refused: more than SPEC_LIM_FILE bytes, SPEC_LIM_DEPTH levels, SPEC_LIM_NODES values or
 * SPEC_LIM_STRING bytes in one string; bytes that are not UTF-8, half surrogate pairs, NUL
 * characters, anything after the first value. Numbers keep their text, so that no digit is lost in
 * a double. Single-threaded; nodes are read-only and live until json_free().
 */
#ifndef KRUN_OCI_JSON_H
#define KRUN_OCI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum json_type {
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

struct json {
	enum json_type type;
	bool boolean;
	uint32_t index;	  /* position within the parent */
	uint32_t n;	  /* children */
	const char *key;  /* within an object, else NULL; of the root: the document's name */
	const char *text; /* of a string or a number, NUL-terminated */
	size_t len;
	struct json *parent, *next, *child;
	struct json *last; /* child, while building */
};

struct json_doc;

/* @name is what messages call the document ("config.json"). 0, or -EINVAL/-E2BIG/-ENOMEM and @e. */
int json_parse(
	const char *name, const char *text, size_t len, struct json_doc **out, struct error *e);
void json_free(struct json_doc *d);
void json_freep(struct json_doc **d);

const struct json *json_root(const struct json_doc *d);

/* The first member of @obj called @key, or NULL (also when @obj is NULL or no object). */
const struct json *json_get(const struct json *obj, const char *key);

/* A member's string, or NULL. */
const char *json_get_string(const struct json *obj, const char *key);

/* True and @v when the member is a whole number that fits. */
bool json_get_i64(const struct json *obj, const char *key, int64_t *v);

/* "config.json: process.rlimits[1]"; with @member, that of a member that need not exist. */
#define JSON_PATH_MAX 128
const char *json_path(const struct json *n, const char *member, char buf[static JSON_PATH_MAX]);

/* "a string", "a number", ... */
const char *json_type_name(enum json_type t);

#define json_for_each(n, parent_) for ((n) = (parent_)->child; (n); (n) = (n)->next)

#endif
