// SPDX-License-Identifier: Apache-2.0
/* Whose a cgroup is, by an extended attribute of its directory. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "oci/cgroup_mark.h"
#include "util/util.h"

/* "user.": an ordinary user may have it as well, in what was delegated to him */
#define NAME "user.krun-oci"

void cg_mark_of(struct cg_mark *m, const char *created, const char *id)
{
	(void)snprintf(m->text, sizeof(m->text), "%s %s", created ? created : "?", id);
}

int cg_mark_set(int dir, const struct cg_mark *m, size_t kept)
{
	char value[sizeof(m->text) + 24];
	int n = snprintf(value, sizeof(value), "%zu %s", kept, m->text);

	return fsetxattr(dir, NAME, value, (size_t)n, 0) ? -errno : 0;
}

enum cg_owner cg_mark_get(int dir, const struct cg_mark *m, size_t *kept)
{
	char value[sizeof(m->text) + 24], *end;
	ssize_t n = fgetxattr(dir, NAME, value, sizeof(value) - 1);
	unsigned long long v;

	if (n < 0)
		return errno == ERANGE ? CG_OTHERS : CG_NOBODY;
	value[n] = 0;
	v = strtoull(value, &end, 10);
	if (end == value || *end != ' ')
		return CG_OTHERS;
	*kept = MIN(*kept, (size_t)v);
	return strcmp(end + 1, m->text) ? CG_OTHERS : CG_OURS;
}
