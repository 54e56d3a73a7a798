/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line does, one function a verb. Called by src/ on the CLI's only thread.
 *
 * Every function returns 0 or -errno with one sentence in @e; nothing is printed but what a verb's
 * output is, on stdout.
 */
#ifndef KRUN_OCI_RUNTIME_H
#define KRUN_OCI_RUNTIME_H

#include <stdbool.h>
#include <stdio.h>

#include "util/err.h"

struct morefds; /* oci/morefds.h */

/* The global flags. */
struct rt {
	const char *name;	/* base name of the program: default state directory */
	const char *root;	/* --root, or NULL for the default */
	bool cgroup_disabled;	/* --cgroup-manager disabled */
	bool systemd_cgroup;	/* --systemd-cgroup, --cgroup-manager systemd */
	bool rootless;		/* where the caller may not make a cgroup, go on without */
	bool trust_annotations; /* those that an image must not set are honoured */
	const char *ignore; /* of a create: as the annotation krun-oci.ignore, checked; or NULL */
};

struct rt_create {
	const char *id;
	const char *bundle; /* default "." */
	const char *config; /* --config FILE, default <bundle>/config.json */
	int config_fd; /* the same, open; taken over (read and closed); looked at when @config is
			  set */
	const char *pid_file;	    /* or NULL */
	const char *console_socket; /* or NULL */
	const char *pidfd_socket;   /* or NULL */
	struct morefds *more;	    /* the descriptors behind stderr, taken over */
	bool no_pivot;		    /* accepted; the VMM's tree is pivoted into all the same */
	bool no_new_keyring;
	bool keep;   /* run: leave the container's state behind */
	bool detach; /* run */
};

/* Words that an option gave, in their order; of argv. */
struct rt_words {
	const char **v;
	unsigned n;
};

struct rt_exec {
	const char *id;
	char **args; /* of the command line; n_args 0 with @process */
	unsigned n_args;
	const char *process;	    /* a file with a process object, or NULL */
	const char *pid_file;	    /* or NULL */
	const char *console_socket; /* or NULL */
	const char *pidfd_socket;   /* or NULL */
	const char *cwd, *user, *cgroup, *apparmor, *label; /* or NULL */
	struct rt_words env, caps, gids;
	struct morefds *more; /* the descriptors behind stderr, taken over */
	bool detach, tty, no_new_privs, ignore_paused;
};

int rt_create(const struct rt *rt, const struct rt_create *o, struct error *e);
/*
 * Foreground: returns the workload's exit code in *code (128 + n for a signal). With an error *code
 * is the exit status that goes with it: 126 or 127 when the start failed in exec(), 125 when the VM
 * ended under the workload, else 1.
 */
int rt_run(const struct rt *rt, const struct rt_create *o, int *code, struct error *e);
/*
 * Without --detach: returns the process's exit code in *code, 128 + n for a signal, 137 when the VM
 * ended. With an error *code is 127 or 126 when it could not be executed, else 1. With --detach 0
 * and a proxy process left behind.
 */
int rt_exec(const struct rt *rt, const struct rt_exec *o, int *code, struct error *e);
int rt_start(const struct rt *rt, const char *id, struct error *e);
int rt_state(const struct rt *rt, const char *id, FILE *out, struct error *e);
int rt_kill(const struct rt *rt, const char *id, int sig, bool all, struct error *e);
/* Nothing to do, and no error, where it is paused (or runs) already. -ESRCH when it has stopped;
 * but a paused container that was killed can be resumed. */
int rt_pause(const struct rt *rt, const char *id, struct error *e);
int rt_resume(const struct rt *rt, const char *id, struct error *e);
/* Figures of the cgroup on @out, once (@stats) or every @ms until the container ends, with its OOM
 * kills in between. -ESRCH when it does not run, -ENOTSUP when it has no cgroup. */
int rt_events(
	const struct rt *rt, const char *id, bool stats, unsigned ms, FILE *out, struct error *e);
/*
 * Changes the limits of a container that is created, running or paused: those in @s (of which only
 * .linux_.res counts), on the host and in the guest. -ENOTSUP for what a running VM cannot follow.
 */
struct spec;
int rt_update(const struct rt *rt, const char *id, struct spec *s, struct error *e);
int rt_delete(const struct rt *rt, const char *id, bool force, struct error *e);

/* Calls @fn for each container whose id @regex (POSIX extended) matches; the first error, after all
 * of them. */
typedef int rt_each_fn(const struct rt *rt, const char *id, void *arg, struct error *e);
int rt_matching(const struct rt *rt, const char *regex, rt_each_fn *fn, void *arg, struct error *e);

enum rt_format {
	RT_TABLE,
	RT_JSON,
};
int rt_list(const struct rt *rt, enum rt_format format, bool quiet, FILE *out, struct error *e);

/*
 * The container's processes. RT_JSON: an array of the host's pids, which are the VMM's and those of
 * proxies of exec. RT_TABLE: the guest's, as ps -ef writes them.
 */
int rt_ps(const struct rt *rt, const char *id, enum rt_format format, FILE *out, struct error *e);

/* Prints one line per fact; *fit tells whether this host can run containers. */
int rt_check(const struct rt *rt, bool json, FILE *out, bool *fit, struct error *e);
/* For create: 0, or the one sentence why this host is unfit. Uses the result cached for this boot.
 */
int rt_check_quick(int kvm_fd, struct error *e);

#endif
