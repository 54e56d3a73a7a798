// SPDX-License-Identifier: Apache-2.0
/* The JSON reader: yajl's events made into a tree, with bounds. */
/*
 * How it works: json_parse() first checks what yajl is lax about (UTF-8, surrogates), then feeds
 * the text to yajl, whose parser is a state machine without recursion. Each event makes a node in
 * the document's arena below b.at, the innermost open array or object; b.key is the key that waits
 * for its value. An event that breaks a bound writes the error with the path of the place and
 * cancels yajl.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "oci/arena.h"
#include "oci/json.h"
#include "oci/json_text.h"
#include "oci/spec_limits.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"

struct json_doc {
	struct arena *arena;
	struct json *root;
	const char *name;
};

struct builder {
	struct json_doc *doc;
	struct json *at;
	char *key;
	unsigned depth;
	unsigned nodes;
	int err;
	struct error *e;
};

static int no_memory(struct builder *b)
{
	b->err = err_set(b->e, ENOMEM, "%s: out of memory", b->doc->name);
	return 0;
}

static int refuse(struct builder *b, int code, const struct json *n, const char *what)
{
	char path[JSON_PATH_MAX];

	b->err = err_set(b->e, code, "%s: %s", json_path(n, NULL, path), what);
	return 0;
}

static struct json *add(struct builder *b, enum json_type type)
{
	struct json *n = arena_alloc(b->doc->arena, sizeof(*n));

	if (!n) {
		no_memory(b);
		return NULL;
	}
	n->type = type;
	n->parent = b->at;
	n->key = b->at ? b->key : b->doc->name;
	b->key = NULL;
	if (b->at) {
		n->index = b->at->n++;
		if (b->at->last)
			b->at->last->next = n;
		else
			b->at->child = n;
		b->at->last = n;
	} else {
		b->doc->root = n;
	}
	if (++b->nodes > SPEC_LIM_NODES) {
		refuse(b, E2BIG, n, "too many values in this file");
		return NULL;
	}
	return n;
}

static int on_null(void *ctx)
{
	return add(ctx, JSON_NULL) != NULL;
}

static int on_bool(void *ctx, int v)
{
	struct json *n = add(ctx, JSON_BOOL);

	if (!n)
		return 0;
	n->boolean = v != 0;
	return 1;
}

static int set_text(struct builder *b, struct json *n, const char *s, size_t len)
{
	if (len > SPEC_LIM_STRING)
		return refuse(b, E2BIG, n, "the string is too long");
	if (len && memchr(s, 0, len))
		return refuse(b, EINVAL, n, "a NUL character in a string");
	n->text = arena_strndup(b->doc->arena, s, len);
	n->len = len;
	return n->text ? 1 : no_memory(b);
}

static int on_number(void *ctx, const char *s, size_t len)
{
	struct json *n = add(ctx, JSON_NUMBER);

	return n ? set_text(ctx, n, s, len) : 0;
}

static int on_string(void *ctx, const unsigned char *s, size_t len)
{
	struct json *n = add(ctx, JSON_STRING);

	return n ? set_text(ctx, n, (const char *)s, len) : 0;
}

static int on_key(void *ctx, const unsigned char *s, size_t len)
{
	struct builder *b = ctx;

	if (len > SPEC_LIM_STRING)
		return refuse(b, E2BIG, b->at, "a key is too long");
	if (len && memchr(s, 0, len))
		return refuse(b, EINVAL, b->at, "a NUL character in a key");
	b->key = arena_strndup(b->doc->arena, (const char *)s, len);
	return b->key ? 1 : no_memory(b);
}

static int open_node(struct builder *b, enum json_type type)
{
	struct json *n = add(b, type);

	if (!n)
		return 0;
	if (++b->depth > SPEC_LIM_DEPTH)
		return refuse(b, EINVAL, n, "nested too deeply");
	b->at = n;
	return 1;
}

static int close_node(void *ctx)
{
	struct builder *b = ctx;

	b->at = b->at->parent;
	b->depth--;
	return 1;
}

static int on_map(void *ctx)
{
	return open_node(ctx, JSON_OBJECT);
}

static int on_array(void *ctx)
{
	return open_node(ctx, JSON_ARRAY);
}

static const yajl_callbacks CALLBACKS = {
	.yajl_null = on_null,
	.yajl_boolean = on_bool,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_map,
	.yajl_map_key = on_key,
	.yajl_end_map = close_node,
	.yajl_start_array = on_array,
	.yajl_end_array = close_node,
};

/* Names a place in the text as an editor does. */
static int syntax_error(
	const char *name, const char *text, size_t off, const char *what, struct error *e)
{
	size_t line = 1, column = 1;

	for (size_t i = 0; i < off; i++) {
		if (text[i] == '\n') {
			line++;
			column = 1;
		} else {
			column++;
		}
	}
	return err_set(e, EINVAL, "%s: line %zu, column %zu: %s", name, line, column, what);
}

static void free_handle(yajl_handle *h)
{
	if (*h)
		yajl_free(*h);
}

/* yajl's own sentence without its newline and without an excerpt of the text. */
static void yajl_reason(yajl_handle h, char *buf, size_t size)
{
	unsigned char *s = yajl_get_error(h, 0, NULL, 0);

	(void)snprintf(buf, size, "%s", s ? (const char *)s : "not JSON");
	buf[strcspn(buf, "\n")] = '\0';
	if (s)
		yajl_free_error(h, s);
}

static int feed(struct builder *b, const char *text, size_t len)
{
	CLEAN(free_handle) yajl_handle h = yajl_alloc(&CALLBACKS, NULL, b);
	yajl_status st;
	char why[120];

	if (!h)
		return err_set(b->e, ENOMEM, "%s: out of memory", b->doc->name);
	st = yajl_parse(h, (const unsigned char *)text, len);
	if (st == yajl_status_ok)
		st = yajl_complete_parse(h);
	if (b->err)
		return b->err;
	if (st == yajl_status_ok)
		return b->doc->root ? 0
				    : err_set(b->e, EINVAL, "%s: the file is empty", b->doc->name);
	yajl_reason(h, why, sizeof(why));
	return syntax_error(b->doc->name, text, MIN(yajl_get_bytes_consumed(h), len), why, b->e);
}

int json_parse(
	const char *name, const char *text, size_t len, struct json_doc **out, struct error *e)
{
	CLEAN(json_freep) struct json_doc *d = NULL;
	struct builder b = { .e = e };
	size_t off;
	int r;

	*out = NULL;
	if (len > SPEC_LIM_FILE)
		return err_set(e, E2BIG, "%s: larger than %u bytes", name, SPEC_LIM_FILE);
	off = utf8_check(text, len);
	if (off < len)
		return syntax_error(name, text, off, "a byte that is not UTF-8", e);
	off = json_check_surrogates(text, len);
	if (off < len)
		return syntax_error(name, text, off, "half of a surrogate pair", e);
	d = calloc(1, sizeof(*d));
	if (d)
		d->arena = arena_new();
	if (d && d->arena)
		d->name = arena_strndup(d->arena, name, strlen(name));
	if (!d || !d->name)
		return err_set(e, ENOMEM, "%s: out of memory", name);
	b.doc = d;
	r = feed(&b, text, len);
	if (r)
		return r;
	*out = TAKE_PTR(d);
	return 0;
}

void json_free(struct json_doc *d)
{
	if (!d)
		return;
	arena_free(d->arena);
	free(d);
}

void json_freep(struct json_doc **d)
{
	json_free(*d);
}

const struct json *json_root(const struct json_doc *d)
{
	return d->root;
}

const struct json *json_get(const struct json *obj, const char *key)
{
	const struct json *n;

	if (!obj || obj->type != JSON_OBJECT)
		return NULL;
	json_for_each(n, obj) if (!strcmp(n->key, key)) return n;
	return NULL;
}

const char *json_get_string(const struct json *obj, const char *key)
{
	const struct json *n = json_get(obj, key);

	return n && n->type == JSON_STRING ? n->text : NULL;
}

bool json_get_i64(const struct json *obj, const char *key, int64_t *v)
{
	const struct json *n = json_get(obj, key);
	uint64_t m;
	bool neg;

	if (!n || n->type != JSON_NUMBER || json_whole(n->text, &neg, &m) ||
		m > (uint64_t)INT64_MAX + neg)
		return false;
	*v = neg ? (int64_t)(0 - m) : (int64_t)m;
	return true;
}

static bool plain_key(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return n && !s[n] && n <= 40;
}

static void put(char *buf, size_t *n, const char *s)
{
	size_t len = MIN(strlen(s), (size_t)(JSON_PATH_MAX - 1) - *n);

	memcpy(buf + *n, s, len);
	*n += len;
	buf[*n] = '\0';
}

static void put_member(char *buf, size_t *n, const char *key, bool first)
{
	char quoted[48];

	if (plain_key(key)) {
		put(buf, n, first ? "" : ".");
		put(buf, n, key);
	} else {
		put(buf, n, "[");
		put(buf, n, text_quote(quoted, sizeof(quoted), key));
		put(buf, n, "]");
	}
}

const char *json_path(const struct json *n, const char *member, char buf[static JSON_PATH_MAX])
{
	const struct json *chain[SPEC_LIM_DEPTH + 2];
	size_t depth = 0, len = 0;
	char index[16];
	bool first = true;

	for (; n->parent && depth < ARRAY_SIZE(chain); n = n->parent)
		chain[depth++] = n;
	buf[0] = '\0';
	put(buf, &len, n->key);
	if (depth || member)
		put(buf, &len, ": ");
	while (depth--) {
		const struct json *c = chain[depth];

		if (c->parent->type == JSON_OBJECT) {
			put_member(buf, &len, c->key, first);
		} else {
			(void)snprintf(index, sizeof(index), "[%u]", c->index);
			put(buf, &len, index);
		}
		first = false;
	}
	if (member)
		put_member(buf, &len, member, first);
	return buf;
}

const char *json_type_name(enum json_type t)
{
	static const char *const NAMES[] = {
		[JSON_NULL] = "null",
		[JSON_BOOL] = "true or false",
		[JSON_NUMBER] = "a number",
		[JSON_STRING] = "a string",
		[JSON_ARRAY] = "an array",
		[JSON_OBJECT] = "an object",
	};

	return NAMES[t];
}
