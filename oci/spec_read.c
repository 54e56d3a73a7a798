// SPDX-License-Identifier: Apache-2.0
/* Typed, ranged access to members of a JSON object. */
/*
 * How it works: every function takes the sticky error in struct rd into account, so the readers of
 * the sections are plain lists of assignments. A JSON null counts as an absent member (Go writes
 * one for a nil pointer without omitempty). Looking a member up walks the whole object: that also
 * finds a key that stands twice, of which two parsers would take different values.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oci/spec_read.h"

bool rd_fail(struct rd *p, const struct json *n, const char *key, const char *fmt, ...)
{
	char path[JSON_PATH_MAX], msg[ERR_MSG_MAX];
	va_list ap;

	if (p->err)
		return false;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	p->err = err_set(p->e, EINVAL, "%s: %s", json_path(n, key, path), msg);
	return false;
}

void rd_warn(struct rd *p, const struct json *n, const char *key, const char *fmt, ...)
{
	char path[JSON_PATH_MAX], msg[ERR_MSG_MAX], line[JSON_PATH_MAX + ERR_MSG_MAX + 2];
	struct strv *w = &p->s->warnings;
	va_list ap;

	if (p->err || w->n >= SPEC_LIM_WARNINGS)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (w->n == SPEC_LIM_WARNINGS - 1)
		(void)snprintf(line, sizeof(line), "more warnings were left out");
	else
		(void)snprintf(line, sizeof(line), "%s: %s", json_path(n, key, path), msg);
	w->v[w->n] = rd_dup(p, line);
	w->n += w->v[w->n] != NULL;
}

void *rd_alloc(struct rd *p, size_t n, size_t size)
{
	void *m = p->err ? NULL : arena_array(p->a, n, size);

	if (!m && !p->err)
		p->err = err_set(p->e, ENOMEM, "out of memory");
	return m;
}

char *rd_dup(struct rd *p, const char *s)
{
	size_t len = strlen(s);
	char *d = rd_alloc(p, len + 1, 1);

	if (d)
		memcpy(d, s, len);
	return d;
}

bool rd_is(struct rd *p, const struct json *n, enum json_type t)
{
	if (p->err)
		return false;
	if (n->type != t)
		return rd_fail(p, n, NULL, "expected %s, found %s", json_type_name(t),
			json_type_name(n->type));
	return true;
}

const struct json *rd_get(struct rd *p, const struct json *obj, const char *key, enum json_type t)
{
	const struct json *n, *found = NULL;

	if (p->err || !obj)
		return NULL;
	json_for_each(n, obj)
	{
		if (strcmp(n->key, key))
			continue;
		if (found) {
			rd_fail(p, obj, key, "stands twice");
			return NULL;
		}
		found = n;
	}
	if (!found || found->type == JSON_NULL || !rd_is(p, found, t))
		return NULL;
	return found;
}

const struct json *rd_need(struct rd *p, const struct json *obj, const char *key, enum json_type t)
{
	const struct json *n = rd_get(p, obj, key, t);

	if (!n && obj)
		rd_fail(p, obj, key, "missing");
	return n;
}

const struct json *rd_array(
	struct rd *p, const struct json *obj, const char *key, size_t max, enum json_type t)
{
	const struct json *a = rd_get(p, obj, key, JSON_ARRAY), *n;

	if (!a)
		return NULL;
	if (a->n > max) {
		rd_fail(p, a, NULL, "%u elements, at most %zu are allowed", a->n, max);
		return NULL;
	}
	json_for_each(n, a) if (!rd_is(p, n, t)) return NULL;
	return a;
}

const char *rd_string(struct rd *p, const struct json *obj, const char *key)
{
	const struct json *n = rd_get(p, obj, key, JSON_STRING);

	return n ? rd_dup(p, n->text) : NULL;
}

const char *rd_need_string(struct rd *p, const struct json *obj, const char *key)
{
	const struct json *n = rd_need(p, obj, key, JSON_STRING);

	if (!n)
		return NULL;
	if (!n->len) {
		rd_fail(p, n, NULL, "must not be empty");
		return NULL;
	}
	return rd_dup(p, n->text);
}

const char *rd_abs_path(struct rd *p, const struct json *obj, const char *key, bool clean)
{
	const struct json *n = rd_get(p, obj, key, JSON_STRING);

	if (!n || !n->len)
		return NULL;
	if (n->text[0] != '/') {
		rd_fail(p, n, NULL, "%s is not an absolute path", QUOTE(n->text));
		return NULL;
	}
	if (n->len > SPEC_LIM_PATH) {
		rd_fail(p, n, NULL, "the path is longer than %d bytes", SPEC_LIM_PATH);
		return NULL;
	}
	return clean ? rd_clean(p, n->text) : rd_dup(p, n->text);
}

bool rd_bool(struct rd *p, const struct json *obj, const char *key)
{
	const struct json *n = rd_get(p, obj, key, JSON_BOOL);

	return n && n->boolean;
}

/* Sign and magnitude of a number; false after an error. */
static bool whole(struct rd *p, const struct json *n, bool *neg, uint64_t *m)
{
	int r = json_whole(n->text, neg, m);

	if (r == -EDOM)
		return rd_fail(p, n, NULL, "%.24s is not a whole number", n->text);
	if (r)
		return rd_fail(p, n, NULL, "%.24s is out of range", n->text);
	return true;
}

struct opt_i64 rd_i64(
	struct rd *p, const struct json *obj, const char *key, int64_t min, int64_t max)
{
	const struct json *n = rd_get(p, obj, key, JSON_NUMBER);
	struct opt_i64 out = { 0 };
	uint64_t m;
	bool neg;

	if (!n || !whole(p, n, &neg, &m))
		return out;
	if (m <= (uint64_t)INT64_MAX + neg) {
		out.v = neg ? (int64_t)(0 - m) : (int64_t)m;
		out.set = out.v >= min && out.v <= max;
	}
	if (!out.set)
		rd_fail(p, n, NULL, "%.24s is out of range (%lld to %lld)", n->text, (long long)min,
			(long long)max);
	return out;
}

struct opt_u64 rd_u64(struct rd *p, const struct json *obj, const char *key, uint64_t max)
{
	const struct json *n = rd_get(p, obj, key, JSON_NUMBER);
	struct opt_u64 out = { 0 };
	bool neg;

	if (!n || !whole(p, n, &neg, &out.v))
		return out;
	out.set = !neg && out.v <= max;
	if (!out.set)
		rd_fail(p, n, NULL, "%.24s is out of range (0 to %llu)", n->text,
			(unsigned long long)max);
	return out;
}

struct opt_u32 rd_u32(struct rd *p, const struct json *obj, const char *key, uint32_t max)
{
	struct opt_u64 v = rd_u64(p, obj, key, max);

	return (struct opt_u32){ .set = v.set, .v = (uint32_t)v.v };
}

uint32_t rd_need_u32(struct rd *p, const struct json *obj, const char *key, uint32_t max)
{
	struct opt_u32 v = rd_u32(p, obj, key, max);

	if (!v.set && obj)
		rd_fail(p, obj, key, "missing");
	return v.v;
}

void rd_strings(struct rd *p, const struct json *obj, const char *key, size_t max, struct strv *out)
{
	const struct json *a = rd_array(p, obj, key, max, JSON_STRING), *n;

	out->n = 0;
	out->v = rd_alloc(p, a ? a->n + 1 : 1, sizeof(*out->v));
	if (!a || !out->v)
		return;
	json_for_each(n, a)
	{
		out->v[out->n] = rd_dup(p, n->text);
		if (p->err)
			return;
		out->n++;
	}
}

static int by_key(const void *a, const void *b)
{
	const struct spec_kv *x = a, *y = b;

	return strcmp(x->key, y->key);
}

struct spec_kv *rd_map(
	struct rd *p, const struct json *obj, const char *key, size_t max, size_t *count)
{
	const struct json *m = rd_get(p, obj, key, JSON_OBJECT), *n;
	struct spec_kv *v;
	size_t i = 0;

	*count = 0;
	if (!m)
		return NULL;
	if (m->n > max) {
		rd_fail(p, m, NULL, "%u members, at most %zu are allowed", m->n, max);
		return NULL;
	}
	v = rd_alloc(p, m->n, sizeof(*v));
	json_for_each(n, m)
	{
		if (!v || !rd_is(p, n, JSON_STRING))
			return NULL;
		if (!n->key[0]) {
			rd_fail(p, n, NULL, "an empty name");
			return NULL;
		}
		v[i].key = rd_dup(p, n->key);
		v[i++].value = rd_dup(p, n->text);
		if (p->err)
			return NULL;
	}
	if (v)
		qsort(v, i, sizeof(*v), by_key);
	for (size_t k = 1; k < i; k++)
		if (!strcmp(v[k - 1].key, v[k].key)) {
			rd_fail(p, m, v[k].key, "stands twice");
			return NULL;
		}
	*count = i;
	return v;
}

bool rd_name(struct rd *p, const struct json *n, const struct rd_name *t, size_t count,
	const char *what, uint64_t *v)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(n->text, t[i].name)) {
			*v = t[i].value;
			return true;
		}
	return rd_fail(p, n, NULL, "unknown %s %s", what, QUOTE(n->text));
}

char *rd_clean(struct rd *p, const char *path)
{
	char *out = rd_alloc(p, strlen(path) + 2, 1);
	size_t n = 0;

	if (!out)
		return NULL;
	while (*path) {
		size_t len = strcspn(path, "/");

		if (len == 2 && path[0] == '.' && path[1] == '.') {
			while (n && out[--n] != '/')
				;
		} else if (len && !(len == 1 && path[0] == '.')) {
			out[n++] = '/';
			memcpy(out + n, path, len);
			n += len;
		}
		path += len;
		path += *path == '/';
	}
	if (!n)
		out[n++] = '/';
	out[n] = '\0';
	return out;
}

#define CPU_MAX (SPEC_CPU_WORDS * 64)

static bool cpu_number(const char **s, unsigned *v)
{
	unsigned n = 0;

	if (**s < '0' || **s > '9')
		return false;
	for (; **s >= '0' && **s <= '9'; (*s)++) {
		n = n * 10 + (unsigned)(**s - '0');
		if (n >= CPU_MAX)
			return false;
	}
	*v = n;
	return true;
}

static bool cpu_bits(const char *s, uint64_t seen[static SPEC_CPU_WORDS])
{
	(void)memset(seen, 0, SPEC_CPU_WORDS * sizeof(*seen));
	while (*s) {
		unsigned lo, hi;

		if (!cpu_number(&s, &lo))
			return false;
		hi = lo;
		if (*s == '-') {
			s++;
			if (!cpu_number(&s, &hi) || hi < lo)
				return false;
		}
		for (unsigned i = lo; i <= hi; i++)
			seen[i / 64] |= 1ULL << (i % 64);
		if (*s && *s++ != ',')
			return false;
		if (!*s)
			return s[-1] != ',';
	}
	return true;
}

bool rd_cpu_list(const char *s, unsigned *count)
{
	uint64_t seen[SPEC_CPU_WORDS];
	bool good = cpu_bits(s, seen);

	*count = 0;
	for (size_t i = 0; good && i < ARRAY_SIZE(seen); i++)
		*count += (unsigned)__builtin_popcountll(seen[i]);
	return good;
}

bool spec_cpu_bits(const char *list, uint64_t *bits, size_t words)
{
	uint64_t seen[SPEC_CPU_WORDS], any = 0;

	if (!cpu_bits(list, seen))
		return false;
	for (size_t i = 0; i < words; i++)
		any |= bits[i] = seen[i];
	return any;
}
