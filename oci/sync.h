/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the CLI and the VMM process say to each other while a container is created.
 *
 * One SOCK_SEQPACKET pair, one struct per packet, both ends ours and of the same binary. The VMM's
 * end closes when it dies, so a wait never hangs on a dead peer. Order: [USERNS GO] VM_MADE GO
 * [TREE_MADE GO] READY COMMIT COMMITTED; ERROR from the VMM at any point ends it.
 *
 * The CLI and the proxy of an exec (oci/exec.c) say READY or ERROR, and GO, in the same way.
 */
#ifndef KRUN_OCI_SYNC_H
#define KRUN_OCI_SYNC_H

#include <stdint.h>

#include "util/err.h"

enum sync_type {
	SYNC_USERNS = 1, /* VMM: I am in my new user namespace, write my id maps */
	SYNC_VM_MADE,	 /* VMM: the VM exists; move me into the cgroup */
	SYNC_TREE_MADE,	 /* VMM: namespaces and mount tree are there; run the host's hooks */
	SYNC_GO,	 /* CLI: done, go on */
	SYNC_READY,	 /* VMM: the container is created, its process is held */
	SYNC_COMMIT,	 /* CLI: everything is on record; you no longer die with me */
	SYNC_COMMITTED,	 /* VMM: so it is, and you may end */
	SYNC_WARN,	 /* VMM: a sentence for the log */
	SYNC_ERROR,	 /* VMM: create failed, and why; it exits */
};

struct sync_msg {
	uint32_t type;
	int32_t code; /* SYNC_ERROR: positive errno */
	char text[ERR_MSG_MAX];
};

int sync_send(int fd, enum sync_type type);
int sync_send_error(int fd, const struct error *e);
int sync_send_warn(int fd, const char *text);
/* Waits for @want. Warnings on the way go to the log. -errno and @e for ERROR, another type, or a
 * closed peer. */
int sync_wait(int fd, enum sync_type want, struct error *e);

#endif
