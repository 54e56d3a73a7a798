/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: many small allocations with one lifetime. Single-threaded; freed as a whole by its
 * owner. Memory is zeroed and aligned for any type.
 */
#ifndef KRUN_OCI_ARENA_H
#define KRUN_OCI_ARENA_H

#include <stddef.h>

struct arena;

/* NULL when memory is short. */
struct arena *arena_new(void);
void arena_free(struct arena *a);

/* @n == 0 gives a valid pointer to nothing; NULL when memory is short. */
void *arena_alloc(struct arena *a, size_t n);

/* An array of @n elements of @size; NULL also when the product overflows. */
void *arena_array(struct arena *a, size_t n, size_t size);

/* @len bytes of @s plus a NUL. */
char *arena_strndup(struct arena *a, const char *s, size_t len);

#endif
