// SPDX-License-Identifier: Apache-2.0
/* exec: the verb and its options. */
#include <stdlib.h>
#include <string.h>

#include "oci/log.h"
#include "oci/morefds.h"
#include "src/cli.h"

static struct rt_exec o;
static struct morefds more;
static const char *preserve_fds;

static int exec(const struct rt *rt, char **args, unsigned n, struct error *e)
{
	unsigned more_n;
	int code = 1;

	o.id = args[0];
	o.args = args + 1;
	o.n_args = n - 1;
	if (morefds_count(preserve_fds, &more_n, e) || morefds_take(&more, more_n, oci_log_fd(), e))
		return 1;
	o.more = &more;
	/* with an error it is that of the failure */
	(void)rt_exec(rt, &o, &code, e);
	return code;
}

static const struct opt exec_opts[] = {
	{ "process", 'p', OPT_STRING, "FILE",
		"a file with the process as JSON, as in config.json, instead of COMMAND",
		&o.process },
	{ "tty", 't', OPT_FLAG, NULL, "give it a terminal", &o.tty },
	{ "console-socket", 0, OPT_STRING, "PATH", "where to send the terminal's master",
		&o.console_socket },
	{ "detach", 'd', OPT_FLAG, NULL, "return once it runs", &o.detach },
	{ "pid-file", 0, OPT_STRING, "FILE",
		"write there the id of the process that stands for it on the host", &o.pid_file },
	{ "pidfd-socket", 0, OPT_STRING, "PATH", "where to send a pidfd of that process",
		&o.pidfd_socket },
	{ "cwd", 0, OPT_STRING, "DIR", "working directory (default: the container's)", &o.cwd },
	{ "env", 'e', OPT_LIST, "NAME=VALUE", "set a variable, beside the container's", &o.env },
	{ "user", 'u', OPT_STRING, "UID[:GID]", "user and group (default: the container's; GID: 0)",
		&o.user },
	{ "additional-gids", 'g', OPT_LIST, "GID[,...]", "more groups", &o.gids },
	{ "cap", 'c', OPT_LIST, "CAP", "a capability more than the container's", &o.caps },
	{ "no-new-privs", 0, OPT_FLAG, NULL, "set no_new_privs", &o.no_new_privs },
	{ "ignore-paused", 0, OPT_FLAG, NULL,
		"into a paused container too; it begins when that is resumed", &o.ignore_paused },
	{ "apparmor", 0, OPT_STRING, "PROFILE", NULL, &o.apparmor },
	{ "process-label", 0, OPT_STRING, "LABEL", NULL, &o.label },
	{ "cgroup", 0, OPT_STRING, "PATH", "in this cgroup below the container's own, in the guest",
		&o.cgroup },
	{ "preserve-fds", 0, OPT_STRING, "N", "pass descriptors 3 to 2 + N on to the process",
		&preserve_fds },
	OPT_END,
};

const struct cmd cmd_exec = { "exec", "ID [COMMAND [ARG...]]",
	"Run another process in a container that was created or runs",
	"The exit status is that of the process, 128 + n when signal n ended it, 127 and 126 when it\n"
	"could not be executed. What follows ID is the command's.",
	exec_opts, 1, ARGS_REST, exec };
