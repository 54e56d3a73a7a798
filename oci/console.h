/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal on the host's side: a pty whose slave the VMM splices to the guest's own pty, and
 * whose master is either sent to the caller's console socket or served by `run` itself. In the CLI,
 * single-threaded; console_take() in the VMM process.
 */
#ifndef KRUN_OCI_CONSOLE_H
#define KRUN_OCI_CONSOLE_H

#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include "oci/spec.h"
#include "util/err.h"

/* A new pty, the slave raw: echo, line editing and signals are the guest's business. The size is
 * that of the config, else of @like when it is a terminal. */
int console_open(const struct spec_process *p, int like, int *master, int *slave, struct error *e);
/* Sends @send through the stream socket at @path: @text, at least a byte, with one descriptor.
 * @flag: the option that gave the path, for the errors. */
int socket_send_fd(const char *flag, const char *path, const char *text, int send, struct error *e);
/* The VMM process, which leads a session: @slave becomes its terminal, so that a change of size is
 * a signal. */
int console_take(int slave, struct error *e);

/*
 * Who is behind a terminal that console_relay() serves. @fd is polled beside the signals, -1: none.
 * ready() is called when @fd is readable or a child has ended, and returns true with *@code once
 * all is over; signal() passes a signal on; size() tells of a new size, and may be NULL.
 */
struct console_peer {
	int fd;
	void *arg;
	bool (*ready)(void *arg, int *code);
	void (*signal)(void *arg, int signo);
	void (*size)(void *arg, const struct winsize *ws);
};

/* Relays between our stdin/stdout and @master, which is made non-blocking and must be nobody
 * else's, until the peer says that it is over; returns its code. Our terminal is raw meanwhile.
 * Signals are blocked by the caller, SIGPIPE may be ignored. When our stdout fails the peer gets
 * SIGHUP, once, and what comes after goes nowhere. */
int console_relay(int master, const struct console_peer *peer);

#endif
