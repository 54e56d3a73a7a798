// SPDX-License-Identifier: Apache-2.0
/* create and run: the two verbs that make a container, with the options that they share. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "oci/log.h"
#include "oci/morefds.h"
#include "oci/trace.h"
#include "src/cli.h"
#include "util/util.h"

static struct rt_create o;
static const char *preserve;
static struct morefds more;
static bool ignored;

#define SHARED                                                                                    \
	{ "bundle", 'b', OPT_STRING, "DIR", "the bundle (default: here)", &o.bundle },            \
		{ "config", 'f', OPT_STRING, "FILE",                                              \
			"config file instead of config.json of the bundle", &o.config },          \
		{ "pid-file", 0, OPT_STRING, "FILE", "write the VMM's process id there",          \
			&o.pid_file },                                                            \
		{ "console-socket", 0, OPT_STRING, "PATH", "where to send the terminal's master", \
			&o.console_socket },                                                      \
		{ "pidfd-socket", 0, OPT_STRING, "PATH", "where to send a pidfd of the VMM",      \
			&o.pidfd_socket },                                                        \
		{ "preserve-fds", 0, OPT_STRING, "N",                                             \
			"pass descriptors 3 to 2 + N on to the process", &preserve },             \
		{ "no-pivot", 0, OPT_FLAG, NULL, NULL, &o.no_pivot },                             \
		{ "no-new-keyring", 0, OPT_FLAG, NULL, NULL, &o.no_new_keyring },                 \
	{                                                                                         \
		"no-subreaper", 0, OPT_FLAG, NULL, NULL, &ignored                                 \
	}

/* Closes every descriptor from @first on but two (-1: fewer). */
static void close_but(unsigned first, int a, int b)
{
	int low = MIN(a, b), high = MAX(a, b);

	if (low >= (int)first) {
		if (low > (int)first)
			(void)close_range(first, (unsigned)low - 1, 0);
		first = (unsigned)low + 1;
	}
	if (high >= (int)first) {
		if (high > (int)first)
			(void)close_range(first, (unsigned)high - 1, 0);
		first = (unsigned)high + 1;
	}
	(void)close_range(first, ~0U, 0);
}

static int prepare(char **args, struct error *e)
{
	unsigned more_n;
	int r;

	o.id = args[0];
	/* before anything of ours can take their numbers */
	r = morefds_count(preserve, &more_n, e);
	if (!r)
		r = morefds_take(&more, more_n, oci_log_fd(), e);
	if (r)
		return r;
	o.more = &more;
	/* before the rest goes: it may be one of the descriptors that the caller left for us */
	if (o.config) {
		o.config_fd = open(o.config, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		if (o.config_fd < 0)
			return err_sys(e, errno, "--config \"%.150s\"", o.config);
	}
	/* what the caller left open would live as long as the container: ports, pipes, locks of its
	 * own */
	close_but(3 + more_n, oci_log_fd(), o.config ? o.config_fd : -1);
	trace_open();
	return 0;
}

static int create(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	(void)n;
	return prepare(args, e) || rt_create(rt, &o, e) ? 1 : 0;
}

static int run(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	int code = 1;

	(void)n;
	/* with an error it is that of the failure */
	if (!prepare(args, e))
		IGNORE_RESULT(rt_run(rt, &o, &code, e));
	return code;
}

static const struct opt create_opts[] = { SHARED, OPT_END };

static const struct opt run_opts[] = {
	SHARED,
	{ "detach", 'd', OPT_FLAG, NULL, "return once it runs", &o.detach },
	{ "keep", 0, OPT_FLAG, NULL, "leave the container behind when it has ended", &o.keep },
	OPT_END,
};

const struct cmd cmd_create = { "create", "ID",
	"Create a container: its VM is up, its process not yet started",
	"The config is read once; later changes to it have no effect. \"start\" runs the process.",
	create_opts, 1, 1, create };

const struct cmd cmd_run = { "run", "ID", "Create and start a container, wait for it, delete it",
	"The exit status is that of the container's process, 128 + n when signal n ended it.",
	run_opts, 1, 1, run };
