/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the spec_*.c readers take members out of JSON. Internal to them.
 *
 * One struct rd goes through a whole parse. The first error sticks in .err (and in .e) and every
 * reader is harmless after it: getters return "absent", so callers check .err only before they loop
 * or dereference what was allocated.
 */
#ifndef KRUN_OCI_SPEC_READ_H
#define KRUN_OCI_SPEC_READ_H

#include "oci/arena.h"
#include "oci/json.h"
#include "oci/json_text.h"
#include "oci/spec.h"
#include "oci/spec_limits.h"
#include "util/err.h"
#include "util/util.h"

struct rd {
	struct spec *s;
	struct arena *a;
	struct error *e;
	int err;
};

struct rd_name {
	const char *name;
	uint64_t value;
};

/* Error at @n, or at its member @key when that is not NULL. Returns false. */
bool rd_fail(struct rd *p, const struct json *n, const char *key, const char *fmt, ...)
	PRINTF(4, 5);
void rd_warn(struct rd *p, const struct json *n, const char *key, const char *fmt, ...)
	PRINTF(4, 5);

/* Zeroed memory of the spec; NULL sets the error. */
void *rd_alloc(struct rd *p, size_t n, size_t size);
char *rd_dup(struct rd *p, const char *s);

/* True when @n has type @t, else the error. */
bool rd_is(struct rd *p, const struct json *n, enum json_type t);

/* A member of type @t. NULL when it is absent or null; the same key twice is an error. */
const struct json *rd_get(struct rd *p, const struct json *obj, const char *key, enum json_type t);
/* As rd_get(), absence is an error. */
const struct json *rd_need(struct rd *p, const struct json *obj, const char *key, enum json_type t);
/* An array of at most @max elements, each of type @t. */
const struct json *rd_array(
	struct rd *p, const struct json *obj, const char *key, size_t max, enum json_type t);

const char *rd_string(struct rd *p, const struct json *obj, const char *key);
/* Present and not empty. */
const char *rd_need_string(struct rd *p, const struct json *obj, const char *key);
/* An absolute path of at most SPEC_LIM_PATH bytes; "" counts as absent. Without @clean as given. */
const char *rd_abs_path(struct rd *p, const struct json *obj, const char *key, bool clean);
bool rd_bool(struct rd *p, const struct json *obj, const char *key);
struct opt_i64 rd_i64(
	struct rd *p, const struct json *obj, const char *key, int64_t min, int64_t max);
struct opt_u64 rd_u64(struct rd *p, const struct json *obj, const char *key, uint64_t max);
struct opt_u32 rd_u32(struct rd *p, const struct json *obj, const char *key, uint32_t max);
/* As rd_u32(), absence is an error. */
uint32_t rd_need_u32(struct rd *p, const struct json *obj, const char *key, uint32_t max);
void rd_strings(
	struct rd *p, const struct json *obj, const char *key, size_t max, struct strv *out);
/* An object of strings. Keys are not empty and stand once. */
struct spec_kv *rd_map(
	struct rd *p, const struct json *obj, const char *key, size_t max, size_t *n);

/* The value of the string @n in a table; an unknown one is an error that calls it @what. */
bool rd_name(struct rd *p, const struct json *n, const struct rd_name *t, size_t count,
	const char *what, uint64_t *v);

/* Lexical: absolute, without "." "..", "//" or a slash at the end; ".." stops at the root. */
char *rd_clean(struct rd *p, const char *path);

/* "0-3,8": true and the number of members, or false. Members are below 8192. */
bool rd_cpu_list(const char *s, unsigned *count);

/* One per file. */
void spec_read_process(struct rd *p, const struct json *n, struct spec_process *out);
void spec_read_mounts(struct rd *p, const struct json *root);
void spec_read_id_maps(
	struct rd *p, const struct json *obj, const char *key, struct spec_id_maps *out);
bool spec_propagation(const char *word, unsigned long *flags);
void spec_read_linux(struct rd *p, const struct json *n, struct spec_linux *out);
void spec_read_devices(struct rd *p, const struct json *n, struct spec_linux *out);
void spec_read_resources(struct rd *p, const struct json *n, struct spec_resources *out);
void spec_read_dev_rule(struct rd *p, const struct json *n, struct spec_dev_rule *r);
void spec_read_blkio(struct rd *p, const struct json *n, struct spec_blkio *out);
void spec_read_seccomp(struct rd *p, const struct json *n, struct spec_seccomp *out);
void spec_read_vm(struct rd *p, const struct json *n, struct spec_vm *out);

#endif
