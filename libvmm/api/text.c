// SPDX-License-Identifier: Apache-2.0
/* Strings, lists and numbers as programs give them: looked at once, and copied. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "oci/json_text.h"
#include "util/cleanup.h"

int api_check(const char *s, size_t max)
{
	size_t n = s ? strnlen(s, max) : max;

	return n < max && utf8_check(s, n) == n ? 0 : -EINVAL;
}

int api_set(char **to, const char *s, size_t max)
{
	int r = api_check(s, max);
	char *copy;

	if (r)
		return r;
	copy = strdup(s);
	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

int api_set_or_null(char **to, const char *s, size_t max)
{
	if (s)
		return api_set(to, s, max);
	free(TAKE_PTR(*to));
	return 0;
}

void api_list_free(struct api_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i]);
	free(l->v);
	*l = (struct api_list){ .v = NULL };
}

int api_set_list(struct api_list *to, const char *const v[])
{
	struct api_list l = { .v = NULL };
	size_t n = 0;
	int r = 0;

	if (!v)
		return -EINVAL;
	while (n <= LIM_API_LIST && v[n])
		n++;
	if (n > LIM_API_LIST)
		return -EINVAL;
	l.v = calloc(n + 1, sizeof(*l.v));
	if (!l.v)
		return -ENOMEM;
	for (; !r && l.n < n; l.n += !r)
		r = api_set(&l.v[l.n], v[l.n], LIM_API_STR);
	if (r) {
		api_list_free(&l);
		return r;
	}
	api_list_free(to);
	*to = l;
	return 0;
}

bool api_number(const char **s, char end, uint64_t max, uint64_t *out)
{
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		unsigned d = (unsigned)(*p - '0');

		if (v > (max - d) / 10 || d > max)
			return false;
		v = v * 10 + d;
	}
	if (*p != end)
		return false;
	*s = *p ? p + 1 : p;
	*out = v;
	return true;
}

bool api_fd_ok(int fd)
{
	return fd >= 0 && fcntl(fd, F_GETFD) >= 0;
}
