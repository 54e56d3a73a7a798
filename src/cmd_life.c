// SPDX-License-Identifier: Apache-2.0
/* start, state, kill, delete, list: the verbs on a container that exists. */
#include <errno.h>
#include <string.h>

#include "oci/signals.h"
#include "src/cli.h"

static const struct opt no_opts[] = { OPT_END };

static int start(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	(void)n;
	return rt_start(rt, args[0], e) ? 1 : 0;
}

const struct cmd cmd_start = { "start", "ID", "Start the process of a created container", NULL,
	no_opts, 1, 1, start };

static int state(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	(void)n;
	return rt_state(rt, args[0], stdout, e) ? 1 : 0;
}

const struct cmd cmd_state = { "state", "ID", "Print a container's state as JSON", NULL, no_opts, 1,
	1, state };

static bool all, regex;

static int kill_one(const struct rt *rt, const char *id, void *arg, struct error *e)
{
	return rt_kill(rt, id, *(const int *)arg, all, e);
}

static int kill_(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	int sig = signal_parse(n > 1 ? args[1] : "TERM", e);

	if (sig < 0)
		return 1;
	return (regex ? rt_matching(rt, args[0], kill_one, &sig, e)
		      : rt_kill(rt, args[0], sig, all, e))
		? 1
		: 0;
}

static const struct opt kill_opts[] = {
	{ "regex", 'r', OPT_FLAG, NULL, "ID is a regular expression: to every container it matches",
		&regex },
	{ "all", 'a', OPT_FLAG, NULL, "to every process of the container", &all },
	OPT_END,
};

const struct cmd cmd_kill = { "kill", "ID [SIGNAL]", "Send a signal to a container's process",
	"SIGNAL is a number or a name (TERM, SIGTERM, RTMIN+3); TERM when it is left out.",
	kill_opts, 1, 2, kill_ };

static bool force;

static int delete_one(const struct rt *rt, const char *id, void *arg, struct error *e)
{
	(void)arg;
	return rt_delete(rt, id, force, e);
}

static int delete_(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	(void)n;
	return (regex ? rt_matching(rt, args[0], delete_one, NULL, e)
		      : rt_delete(rt, args[0], force, e))
		? 1
		: 0;
}

static const struct opt delete_opts[] = {
	{ "regex", 'r', OPT_FLAG, NULL, "ID is a regular expression: every container it matches",
		&regex },
	{ "force", 'f', OPT_FLAG, NULL, "kill it first if it runs; no error if it does not exist",
		&force },
	OPT_END,
};

const struct cmd cmd_delete = { "delete", "ID",
	"Delete a container that was created or has stopped", NULL, delete_opts, 1, 1, delete_ };

static bool quiet;
static const char *format;

static int list(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	enum rt_format f = format && !strcmp(format, "json") ? RT_JSON : RT_TABLE;

	(void)args;
	(void)n;
	if (format && strcmp(format, "json") && strcmp(format, "table")) {
		(void)err_set(e, EINVAL, "--format: \"%.40s\" is neither table nor json", format);
		return 1;
	}
	return rt_list(rt, f, quiet, stdout, e) ? 1 : 0;
}

static const struct opt list_opts[] = {
	{ "format", 'f', OPT_STRING, "FMT", "table (default) or json", &format },
	{ "quiet", 'q', OPT_FLAG, NULL, "ids only", &quiet },
	OPT_END,
};

const struct cmd cmd_list = { "list", "", "List containers", NULL, list_opts, 0, 0, list };
