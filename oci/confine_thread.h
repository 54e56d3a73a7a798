/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread of the VMM may still ask of the kernel: a seccomp filter and, for those that open
 * no files, Landlock. The lists are the "#syscalls:" comments beside the code; oci/gen-syscalls
 * gathers them.
 *
 * A call that is not on the list is not made: one line in the log, and the process ends with status
 * 128 + SIGSYS. The proxy of exec ends without the line, by the signal.
 */
#ifndef KRUN_OCI_CONFINE_THREAD_H
#define KRUN_OCI_CONFINE_THREAD_H

#include "util/err.h"

enum confine_thread {
	CONFINE_MAIN, /* oci/vmloop.c, once it has nothing more to set up */
	CONFINE_IO,   /* console, random numbers, sockets */
	CONFINE_FS,   /* the file server and its workers */
	CONFINE_BLK,  /* disks and their workers */
	CONFINE_NET,  /* network interfaces */
	CONFINE_VCPU,
	CONFINE_PROXY, /* of exec: a process of its own */
};

/*
 * Once, before the first thread: the handler that tells of a call. A SIGSYS that somebody sent is
 * none of its business: it adds 1 to @sent_fd (an eventfd, borrowed for good; -1: none), as the
 * signal can no longer be read from a signalfd. From then on all threads share the
 * one heap of malloc(), as glibc opens a file before it gives back that of a thread.
 */
int confine_prepare(int sent_fd, struct error *e);

/*
 * On the thread itself, for good; threads that it makes begin with the same. no_new_privs must be
 * set, or is set here for CONFINE_PROXY. -errno: nothing, or a part, is in force, and the process
 * must end. A kernel without Landlock is none.
 */
int confine_thread(enum confine_thread which, struct error *e);

#endif
