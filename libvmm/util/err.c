// SPDX-License-Identifier: Apache-2.0
/* The error object that set-up code fills for its caller. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "util/util.h"

const char *err_text(int code)
{
	const char *s = strerrordesc_np(abs(code));

	return s ? s : "Unknown error";
}

PRINTF(4, 0)
static int err_vset(struct error *e, int code, const char *tail, const char *fmt, va_list ap)
{
	size_t n;

	code = abs(code);
	if (!e || e->code)
		return -code;
	e->code = code;
	(void)vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	n = strlen(e->msg);
	if (tail)
		(void)snprintf(e->msg + n, sizeof(e->msg) - n, ": %s", tail);
	return -code;
}

int err_set(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = err_vset(e, code, NULL, fmt, ap);
	va_end(ap);
	return r;
}

int err_sys(struct error *e, int code, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = err_vset(e, code, err_text(code), fmt, ap);
	va_end(ap);
	return r;
}
