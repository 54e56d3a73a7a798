// SPDX-License-Identifier: Apache-2.0
/* ps: the verb and its options. */
#include <errno.h>
#include <string.h>

#include "src/cli.h"

static const char *format;

/* Other columns are for the container's own ps: the host's knows nothing of its processes. */
static int by_exec(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	static char ps[] = "ps";
	struct rt_exec o = { .id = args[0], .args = args, .n_args = n };
	int code = 1;

	args[0] = ps;
	(void)rt_exec(rt, &o, &code, e);
	return code;
}

static int ps(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	enum rt_format f = format && !strcmp(format, "json") ? RT_JSON : RT_TABLE;

	if (format && strcmp(format, "json") && strcmp(format, "table")) {
		(void)err_set(e, EINVAL, "--format: \"%.40s\" is neither table nor json", format);
		return 1;
	}
	if (f == RT_TABLE && n > 1 && (n > 2 || strcmp(args[1], "-ef") != 0))
		return by_exec(rt, args, n, e);
	return rt_ps(rt, args[0], f, stdout, e) ? 1 : 0;
}

static const struct opt ps_opts[] = {
	{ "format", 'f', OPT_STRING, "FMT", "table (default) or json", &format },
	OPT_END,
};

const struct cmd cmd_ps = { "ps", "ID [PS-OPTION...]", "Print a container's processes",
	"The table shows the guest's processes; with PS-OPTIONs the container's own ps is run. As JSON it\n"
	"is the ids of the host's processes that belong to the container, the VMM's first of all.",
	ps_opts, 1, ARGS_REST, ps };
