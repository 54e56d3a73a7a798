/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of set-up code.
 *
 * Every function that can fail returns 0 or a negative errno. Set-up code also takes a caller-owned
 * `struct error *` and leaves one sentence in it that names what failed, for a person to read. The
 * struct may be NULL where only the number matters. The first error wins: a later err_set() on a
 * struct that already holds one changes nothing.
 */
#ifndef KRUN_UTIL_ERR_H
#define KRUN_UTIL_ERR_H

#include <stdarg.h>

#include "vmm_error.h"

/* Sets @e to errno @code (either sign) with a message; returns -|code|, so `return err_set(...)`.
 */
int err_set(struct error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set(), with ": <text of errno>" at the end of the message. */
int err_sys(struct error *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The text of an errno without locale files or allocation ("No such file or directory"). */
const char *err_text(int code);

#endif
