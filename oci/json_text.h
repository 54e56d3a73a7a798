/* SPDX-License-Identifier: Apache-2.0 */
/* Text rules that the JSON reader, the writer and error messages share. Pure functions, no
 * allocation. */
#ifndef KRUN_OCI_JSON_TEXT_H
#define KRUN_OCI_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 sequence at @s (1-4), or 0 when the @len bytes do not begin with a valid one
 * (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF). */
size_t utf8_step(const char *s, size_t len);

/* The offset of the first byte that is not UTF-8, or @len. */
size_t utf8_check(const char *s, size_t len);

/* The offset of the first \u escape that is half of a surrogate pair, or @len. @s is a JSON text.
 */
size_t json_check_surrogates(const char *s, size_t len);

/* @s in double quotes for a message: escaped, at most @size - 1 bytes, "..." where it was cut.
 * Returns @buf. */
const char *text_quote(char *buf, size_t size, const char *s);

#define QUOTE_MAX 72
/* For one use within an expression. */
#define QUOTE(s) text_quote((char[QUOTE_MAX]){ 0 }, QUOTE_MAX, (s))

/*
 * The exact integer that a JSON number stands for ("12", "-0", "1e3", "1.50e2"): 0; -ERANGE when it
 * does not fit 64 bits of magnitude; -EDOM when it is no whole number. @neg is false for zero.
 */
int json_whole(const char *text, bool *neg, uint64_t *magnitude);

#endif
