/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: a const table of verbs, each with its own options and one function.
 *
 * Options are taken as "--flag value" and "--flag=value", once or several times, and (but for exec
 * and ps) also after the container's id; letters also together, as "-td" and "-u7". An option that
 * is not known is an error that names it.
 */
#ifndef KRUN_SRC_CLI_H
#define KRUN_SRC_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "oci/runtime.h"
#include "util/err.h"

enum opt_kind {
	OPT_FLAG,   /* no value; takes "=true" and "=false" too */
	OPT_STRING, /* needs a value */
	OPT_MAYBE,  /* a value only by "=" */
	OPT_LIST,   /* needs a value; each time one more */
};

struct opt {
	const char *name; /* without dashes */
	char letter;	  /* 0: none */
	enum opt_kind kind;
	const char *arg;  /* name of the value in the help */
	const char *help; /* NULL: accepted, not shown */
	void *to; /* bool *, const char ** or struct rt_words *; NULL: accepted and ignored */
};

#define OPT_END              \
	{                    \
		.name = NULL \
	}

#define ARGS_REST (~0U)

struct cmd {
	const char *name;
	const char *args;  /* "ID", "ID [SIGNAL]" */
	const char *brief; /* one line */
	const char *help;  /* more, or NULL */
	const struct opt *opts;
	unsigned min_args,
		max_args; /* max ARGS_REST: what follows the first is none of our options */
	/* Returns the exit status; errors in @e are reported by main(). */
	int (*run)(const struct rt *rt, char **args, unsigned n, struct error *e);
};

extern const struct cmd *const commands[]; /* NULL-terminated */
extern const struct cmd cmd_create, cmd_start, cmd_state, cmd_kill, cmd_delete, cmd_run, cmd_list,
	cmd_features, cmd_spec, cmd_check, cmd_exec, cmd_ps, cmd_pause, cmd_resume, cmd_events,
	cmd_update;

/* Reads options up to the first positional (@stop) or throughout; *n positionals are left in @argv.
 * 1: help was asked for. */
int opt_parse(
	const struct opt *opts, char **argv, int argc, bool stop, unsigned *n, struct error *e);
void opt_help(const struct opt *opts);

#endif
