/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sd_notify(3) out of the guest: what the container sends to the socket that NOTIFY_SOCKET of its
 * environment names is sent on to the host's, which the caller has bound there (podman's
 * --sdnotify=container: conmon's).
 */
#ifndef KRUN_OCI_NOTIFY_H
#define KRUN_OCI_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "oci/spec.h"

struct notify {
	const char *path; /* in the container; the spec's. NULL: nobody listens, nothing to do */
	int fd;		  /* connected datagram socket, or -1 */
	bool full;	  /* the receiver had no room for the last message */
	bool caller;	  /* it is that of the caller's own environment */
};

/*
 * By the CLI, with the caller's rights and the host's paths. A socket that is not there, or that
 * nobody listens on, is no error: then nothing is sent on, and the container meets what is there.
 * @own: NOTIFY_SOCKET of our own environment, or NULL: where the config has none the container gets
 * PATH/notify for it, in a directory that is nobody else's, and @s that variable.
 */
int notify_open(struct spec *s, int bundle_fd, const char *own, struct notify *n, struct error *e);

/*
 * By the VMM's main thread: sends what a guest has sent, @len bytes of anything, but for lines that
 * speak of its own pids and descriptors. Waits a tenth of a second for a receiver whose queue is
 * full, and for the messages behind that one not at all, until one is taken: the guest decides how
 * many there are.
 */
void notify_relay(struct notify *n, const char *text, size_t len);
/* Whether the message says that its sender is ready. */
bool notify_says_ready(const char *text, size_t len);

/*
 * By the CLI, for who has started us and waits for READY=1: systemd believes its own unit's
 * processes alone, and the VMM is in the container's cgroup. Says that the container is ready, and
 * with @pid > 0 that this is the main process from now on; where our own environment has no
 * NOTIFY_SOCKET nothing.
 */
void notify_tell_caller(pid_t pid);

#endif
