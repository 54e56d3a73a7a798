// SPDX-License-Identifier: Apache-2.0
/* krun-oci: an OCI runtime in which every container is a KVM microVM. */
/*
 * How it works
 *
 * Global options come before the verb, the verb's own after it; both are const tables that parsing
 * and help share, so no option can be taken and not be documented by mistake. A command returns its
 * exit status and leaves one sentence in struct error; only main() prints it, once, to log and
 * stderr. Managers read that line, so usage errors go the same way and exit with 1.
 *
 * Options that other runtimes take and that mean nothing here (--criu) are accepted, as managers
 * pass them unasked. fds 0 to 2 are opened first if the caller closed them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "oci/log.h"
#include "oci/ns.h"
#include "oci/spec.h"
#include "oci/trace.h"
#include "src/cli.h"

#ifdef HAVE_SYSTEMD
#define SYSTEMD_TAG " +SYSTEMD"
#else
#define SYSTEMD_TAG ""
#endif

const struct cmd *const commands[] = {
	&cmd_create,
	&cmd_start,
	&cmd_state,
	&cmd_kill,
	&cmd_delete,
	&cmd_run,
	&cmd_exec,
	&cmd_pause,
	&cmd_resume,
	&cmd_update,
	&cmd_events,
	&cmd_list,
	&cmd_ps,
	&cmd_spec,
	&cmd_features,
	&cmd_check,
	NULL,
};

static struct {
	const char *root, *log, *log_format, *log_level, *cgroup_manager, *rootless, *ignore;
	bool debug, systemd_cgroup, trust, version;
} g;

static const struct opt globals[] = {
	{ "root", 0, OPT_STRING, "DIR",
		"where containers' state is kept (default $XDG_RUNTIME_DIR/krun-oci or /run/krun-oci)",
		&g.root },
	{ "log", 0, OPT_STRING, "FILE",
		"write the log to FILE, file:FILE, journald:ID or syslog:ID", &g.log },
	{ "log-format", 0, OPT_STRING, "FMT", "text or json", &g.log_format },
	{ "log-level", 0, OPT_STRING, "LEVEL", "error, warning or debug", &g.log_level },
	{ "debug", 0, OPT_FLAG, NULL, "the same as --log-level debug", &g.debug },
	{ "cgroup-manager", 0, OPT_STRING, "MGR", "cgroupfs (default), systemd or disabled",
		&g.cgroup_manager },
	{ "systemd-cgroup", 0, OPT_FLAG, NULL, "the same as --cgroup-manager systemd",
		&g.systemd_cgroup },
	{ "rootless", 0, OPT_MAYBE, NULL,
		"=true, =false or =auto (default): go on without a cgroup where none can be made",
		&g.rootless },
	{ "ignore", 0, OPT_STRING, "FIELDS",
		"what would be refused in these fields is left out, as the annotation krun-oci.ignore does (--ignore linux.devices for --privileged)",
		&g.ignore },
	{ "trust-annotations", 0, OPT_FLAG, NULL,
		"honour annotations that an image must not set: krun-oci.ignore, run.oci.hooks.*, disks, huge pages, network interfaces",
		&g.trust },
	{ "criu", 0, OPT_STRING, NULL, NULL, NULL },
	{ "version", 'v', OPT_FLAG, NULL, "print the version", &g.version },
	{ "Version", 'V', OPT_FLAG, NULL, NULL, &g.version },
	OPT_END,
};

static void print_version(const char *name)
{
	(void)printf("%s version %s\ncommit: %s\nspec: %s\n+CGROUP_V2 +SECCOMP +CAP +KVM%s\n", name,
		PACKAGE_VERSION, GIT_COMMIT, SPEC_VERSION, SYSTEMD_TAG);
}

static void print_help(const char *name)
{
	(void)printf(
		"Usage: %s [GLOBAL OPTION...] COMMAND [OPTION...] [ID]\n\n"
		"Runs OCI containers, each in a KVM microVM of its own.\n\n"
		"A first container (a bundle is a directory with config.json and a root file system):\n"
		"  %s check                      can this host do it?\n"
		"  %s spec                       write a config.json to edit\n"
		"  %s run --bundle DIR NAME      run it in the foreground\n\nCommands:\n",
		name, name, name, name);
	for (const struct cmd *const *c = commands; *c; c++)
		(void)printf("  %-10s %s\n", (*c)->name, (*c)->brief);
	(void)printf("\nGlobal options:\n");
	opt_help(globals);
	(void)printf("\n\"%s COMMAND --help\" tells more about one command.\n", name);
}

static void cmd_help(const char *name, const struct cmd *c)
{
	(void)printf("Usage: %s %s [OPTION...] %s\n\n%s.\n", name, c->name, c->args, c->brief);
	if (c->help)
		(void)printf("\n%s\n", c->help);
	if (c->opts->name) {
		(void)printf("\nOptions:\n");
		opt_help(c->opts);
	}
}

static int fill_rootless(struct rt *rt, struct error *e)
{
	const char *v = g.rootless;

	if (!v || !strcmp(v, "auto"))
		rt->rootless = geteuid() != 0 || ns_in_user();
	else if (!strcmp(v, "true") || !strcmp(v, "1"))
		rt->rootless = true;
	else if (strcmp(v, "false") && strcmp(v, "0"))
		return err_set(e, EINVAL, "--rootless: \"%.80s\" is none of true, false, auto", v);
	return 0;
}

static int fill_rt(struct rt *rt, struct error *e)
{
	const char *m = g.cgroup_manager;

	rt->root = g.root;
	rt->systemd_cgroup = g.systemd_cgroup;
	rt->trust_annotations = g.trust;
	rt->ignore = g.ignore;
	if (g.ignore && spec_check_ignore(g.ignore, "--ignore", e))
		return -EINVAL;
	if (m && !strcmp(m, "systemd"))
		rt->systemd_cgroup = true;
	else if (m && !strcmp(m, "disabled"))
		rt->cgroup_disabled = true;
	else if (m && strcmp(m, "cgroupfs"))
		return err_set(e, EINVAL,
			"--cgroup-manager: \"%.80s\" is none of cgroupfs, systemd, disabled", m);
	return fill_rootless(rt, e);
}

static const struct cmd *find_cmd(const char *name)
{
	for (const struct cmd *const *c = commands; *c; c++) {
		if (!strcmp((*c)->name, name))
			return *c;
	}
	return NULL;
}

static int run_cmd(struct rt *rt, const struct cmd *c, char **argv, int argc, struct error *e)
{
	unsigned n = 0;
	int r = opt_parse(c->opts, argv, argc, c->max_args == ARGS_REST, &n, e);

	if (r == 1) {
		cmd_help(rt->name, c);
		return 0;
	}
	if (!r && n < c->min_args)
		r = err_set(e, EINVAL, "%s: needs %s", c->name, c->args);
	if (!r && n > c->max_args)
		r = err_set(e, EINVAL, "%s: \"%.80s\" is one argument too many", c->name,
			argv[c->max_args]);
	return r ? 1 : c->run(rt, argv, n, e);
}

/* 0, 1 and 2 exist: what is opened later must not become somebody's stdin. */
static void have_stdio(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		(void)close(fd);
}

static int dispatch(struct rt *rt, char **argv, int argc, struct error *e)
{
	unsigned n = 0;
	int r = opt_parse(globals, argv, argc, true, &n, e);
	const struct cmd *c;
	bool debug;

	if (r < 0)
		return 1;
	if (r == 1) {
		print_help(rt->name);
		return 0;
	}
	if (g.version) {
		print_version(rt->name);
		return 0;
	}
	if (oci_log_open(g.log, g.log_format, g.debug ? "debug" : g.log_level, e) || fill_rt(rt, e))
		return 1;
	debug = g.debug || (g.log_level && !strcmp(g.log_level, "debug"));
	log_set_sink(oci_log_sink, debug ? LOG_DEBUG : LOG_WARN);
	if (!n) {
		print_help(rt->name);
		return err_set(e, EINVAL, "no command given") ? 1 : 0;
	}
	c = find_cmd(argv[0]);
	if (!c)
		return err_set(e, EINVAL, "unknown command: %.80s (--help lists them)", argv[0])
			? 1
			: 0;
	return run_cmd(rt, c, argv + 1, (int)n - 1, e);
}

int main(int argc, char **argv)
{
	const char *slash = argc ? strrchr(argv[0], '/') : NULL;
	struct rt rt = { .name = slash ? slash + 1 : argc ? argv[0] : "krun-oci" };
	struct error e = { 0 };
	int status;

	have_stdio();
	/* ignored, as a caller may leave it to us, it would hide the ends of our children */
	(void)signal(SIGCHLD, SIG_DFL);
	trace_mark(TRACE_BEGIN);
	status = dispatch(&rt, argv + 1, argc ? argc - 1 : 0, &e);
	if (status && e.code)
		oci_log_fail(e.msg);
	oci_log_close();
	return status;
}
