/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the document of a row of table.h; the caller frees it. */
#ifndef KRUN_TESTS_BAD_CONFIGS_MAKE_H
#define KRUN_TESTS_BAD_CONFIGS_MAKE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/bad_configs/table.h"

/* ' becomes " */
static inline char *json_of(const char *text)
{
	char *s = strdup(text);

	for (char *c = s; s && *c; c++)
		if (*c == '\'')
			*c = '"';
	return s;
}

static inline char *make_bad(const struct bad_config *b)
{
	static const char *const FRAMES[][2] = {
		[WHOLE] = { "", "" },
		[TOP] = { "", ",'linux':{}}" },
		[PROCESS] = { "'process':{'args':['true'],'cwd':'/',", "}}" },
		[LINUX] = { "'linux':{", "}}" },
		[RESOURCES] = { "'linux':{'resources':{", "}}}" },
		[SECCOMP] = { "'linux':{'seccomp':{'defaultAction':'SCMP_ACT_KILL',", "}}}" },
		[MOUNT] = { "'mounts':[{'destination':'/m',", "}]}" },
	};
	char *text = NULL, *out;

	if (asprintf(&text, "%s%s%s%s",
		    b->where == WHOLE ? "" : "{'ociVersion':'1.0.2','root':{'path':'rootfs'},",
		    FRAMES[b->where][0], b->text, FRAMES[b->where][1]) < 0)
		return NULL;
	out = json_of(text);
	free(text);
	return out;
}

#endif
