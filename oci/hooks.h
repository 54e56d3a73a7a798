/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks: programs of the host that the config wants run at points of a container's life
 * (config.md, "POSIX-platform Hooks").
 *
 * Each is spawned with the container's state as JSON on stdin, in the bundle, with the environment
 * of the config or the caller's, in a process group of its own. The caller waits; a time limit, and
 * the end of the container meanwhile, end the whole group. Called on a process's only thread: by
 * the CLI (prestart, createRuntime, poststart, poststop), and by the VMM process before it has
 * threads (createContainer). startContainer hooks are the guest's: guest_blob.c gives them to the
 * agent.
 */
#ifndef KRUN_OCI_HOOKS_H
#define KRUN_OCI_HOOKS_H

#include "oci/spec.h"
#include "oci/state.h"

/* Bits of struct container.hooks. */
#define HOOK_BIT(kind) (1U << (kind))

/* Which kinds the config has, as HOOK_BIT()s. */
uint32_t hooks_in(const struct spec *s);

/* What a hook is told. */
struct hook_state {
	const struct container *c;
	const char *status; /* "created", "running", "stopped" */
	pid_t pid;	    /* of the container as the hook sees it; 0: none */
	int watch_fd;	    /* a pidfd: when it ends, so does the hook; -1: none */
	bool bound;	    /* the hook dies with the process that runs it */
	bool outlives;	    /* but not when the workload ended by itself, as its status tells */
};

/*
 * Runs the hooks of @kind in their order. The first that fails (cannot be executed, exits with
 * anything but 0, is killed, takes longer than it may) ends it: -errno and "error running KIND hook
 * #N: ...". Of poststop hooks a failure is a warning, also of what they are to be given, and the
 * next one runs: 0.
 */
int hooks_run(const struct spec *s, enum spec_hook_kind kind, const struct hook_state *st,
	struct error *e);

/* The state as JSON; malloc'ed, NUL-terminated. */
int hooks_state_json(const struct spec *s, const struct container *c, const char *status, pid_t pid,
	char **out, size_t *len);

/* Milliseconds that the hooks of @kind may take on top of @ms; UINT_MAX when one has no limit. */
unsigned hooks_ms(const struct spec *s, enum spec_hook_kind kind, unsigned ms);

#endif
