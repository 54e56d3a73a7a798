// SPDX-License-Identifier: Apache-2.0
/* UTF-8, JSON numbers, and quoting of foreign text in messages. */
/*
 * How it works
 *
 * These are the places where JSON leaves room that config.json must not use. Surrogate escapes are
 * looked for in the raw text, as after decoding half a pair is gone or replaced. Numbers are taken
 * as decimal text, never as a double: a limit above 2^53 would change its value without a word, and
 * 1e3 is a legal way to write 1000. Digits are worked through from the left with trailing zeros
 * held back, so the result is exact or an error.
 *
 * text_quote() is for strings of a config or image inside an error message: control characters,
 * which could write to the terminal or forge a line of the log, come out escaped, and the length is
 * bounded.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "oci/json_text.h"

size_t utf8_step(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	unsigned char lo = 0x80, hi = 0xbf;
	size_t n;

	if (!len)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;
	/* The second byte alone keeps out overlong forms, surrogates and what lies above U+10FFFF.
	 */
	if (s[0] == 0xe0)
		lo = 0xa0;
	else if (s[0] == 0xed)
		hi = 0x9f;
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f;
	if (s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

size_t utf8_check(const char *s, size_t len)
{
	size_t off = 0;

	while (off < len) {
		size_t n = utf8_step(s + off, len - off);

		if (!n)
			return off;
		off += n;
	}
	return len;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The value of "\uXXXX" at @s, or -1. */
static int32_t unicode_escape(const char *s, size_t len)
{
	int32_t v = 0;

	if (len < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	for (size_t i = 2; i < 6; i++) {
		int d = hex_digit(s[i]);

		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

size_t json_check_surrogates(const char *s, size_t len)
{
	size_t i = 0;

	/* Outside a string a backslash is a syntax error, so no need to know where strings begin.
	 */
	while (i < len) {
		int32_t v, low;

		if (s[i] != '\\') {
			i++;
			continue;
		}
		v = unicode_escape(s + i, len - i);
		if (v < 0) {
			i += 2;
			continue;
		}
		if (v >= 0xdc00 && v <= 0xdfff)
			return i;
		if (v < 0xd800 || v > 0xdbff) {
			i += 6;
			continue;
		}
		low = unicode_escape(s + i + 6, len - i - 6);
		if (low < 0xdc00 || low > 0xdfff)
			return i;
		i += 12;
	}
	return len;
}

const char *text_quote(char *buf, size_t size, const char *s)
{
	size_t len = strlen(s), n = 0, off = 0;

	/* Room for the two quotes, the dots, the NUL and the longest piece. */
	if (size < 16) {
		if (size)
			buf[0] = '\0';
		return buf;
	}
	buf[n++] = '"';
	while (off < len) {
		size_t step = utf8_step(s + off, len - off);
		unsigned char c = (unsigned char)s[off];

		if (n + 10 > size) {
			memcpy(buf + n, "...", 3);
			n += 3;
			break;
		}
		if (!step || c < 0x20 || c == 0x7f) {
			n += (size_t)snprintf(buf + n, size - n, "\\x%02x", c);
			step = 1;
		} else {
			if (c == '"' || c == '\\')
				buf[n++] = '\\';
			memcpy(buf + n, s + off, step);
			n += step;
		}
		off += step;
	}
	buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}

static int scale_up(uint64_t *v, long scale)
{
	while (*v && scale-- > 0)
		if (__builtin_mul_overflow(*v, (uint64_t)10, v))
			return -ERANGE;
	return 0;
}

int json_whole(const char *text, bool *neg, uint64_t *magnitude)
{
	const char *p = text;
	uint64_t v = 0;
	long scale = 0, exp = 0, zeros = 0;
	bool fraction = false, exp_neg;

	*neg = *p == '-';
	p += *neg;
	/* Zeros are held back, so that "100.000" and "1.0e30" cost no digits of the 64 bits. */
	for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
		if (*p == '.') {
			fraction = true;
			continue;
		}
		scale -= fraction;
		if (*p == '0') {
			zeros++;
			continue;
		}
		if (scale_up(&v, zeros + 1) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -ERANGE;
		zeros = 0;
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		exp_neg = *p == '-';
		p += *p == '-' || *p == '+';
		for (; *p >= '0' && *p <= '9'; p++)
			exp = exp < 100000 ? exp * 10 + (*p - '0') : exp;
		exp = exp_neg ? -exp : exp;
	}
	*magnitude = 0;
	if (!v) {
		*neg = false;
		return 0;
	}
	scale += exp + zeros;
	if (scale < 0)
		return -EDOM;
	if (scale_up(&v, scale))
		return -ERANGE;
	*magnitude = v;
	return 0;
}
