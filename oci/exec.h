/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of exec on the command line's side share. Single-threaded. */
#ifndef KRUN_OCI_EXEC_H
#define KRUN_OCI_EXEC_H

#include "oci/runtime.h"
#include "oci/spec.h"
#include "oci/state.h"

/*
 * exec_process.c: the process that @o asks for in a container of config @s, into @out, whose
 * strings belong to @s, @o or *@own (freed by the caller, also after an error). With --process it
 * is that file's; user, AppArmor profile and label that it leaves out are the container's.
 * Otherwise it is the container's own process with other args, and what the options change.
 * -ENOTSUP names what cannot be honoured.
 */
int exec_process(const struct spec *s, const struct rt_exec *o, struct spec **own,
	struct spec_process *out, struct error *e);

/* exec_proxy.c: our end of an exec in the VMM. */
struct exec_proxy {
	const struct container *c;
	const char *name; /* of the program, for messages */
	int conn;	  /* to the VMM */
	int tty;	  /* the slave of the terminal whose size we follow, or -1 */
};

/* Waits up to CTL_START_MS for the VMM to say that the process runs; with @pause_waits a pause does
 * not count. 0, or -errno with @e and the exit status that goes with it in *@code. */
int exec_proxy_started(const struct exec_proxy *p, bool pause_waits, int *code, struct error *e);
/*
 * Passes signals on until the process has ended; its exit code, 137 when the VM has gone. All
 * signals that it should pass on are blocked. -errno with @e when it cannot wait: the process ends
 * with the connection.
 */
int exec_proxy_wait(const struct exec_proxy *p, struct error *e);
/* The same, relaying between our terminal and @master. */
int exec_proxy_relay(const struct exec_proxy *p, int master, struct error *e);

#endif
