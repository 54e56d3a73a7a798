/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VMM process: everything it was given by the CLI before the clone, and its life.
 *
 * It is single-threaded until vmm_start(); from then on this file's code runs on its main thread,
 * in one event loop, and never waits for the guest.
 */
#ifndef KRUN_OCI_VMPROC_H
#define KRUN_OCI_VMPROC_H

#include "oci/kernel.h"
#include "oci/morefds.h"
#include "oci/mounts.h"
#include "oci/notify.h"
#include "oci/ns.h"
#include "oci/guest_blob.h"
#include "oci/spec_disk.h"
#include "oci/spec_net.h"
#include "oci/state.h"

struct vmproc {
	const struct rt_create *opt;
	const struct spec *spec;
	struct container *c;
	struct ns_set ns;
	struct mount_plan plan;
	struct vm_size size;
	struct caller_limits limits;	  /* the CLI's */
	char cmdline[KERNEL_CMDLINE_MAX]; /* of the guest's kernel, without its devices */
	struct vmm_net net;
	struct spec_nic nic;
	struct vmm_disk disk[VMM_MAX_DISKS];
	unsigned ndisks;
	int sync_fd; /* to the CLI */
	int kvm_fd;  /* /dev/kvm */
	int kernel_fd;
	int ctl_fd;    /* control socket, listening */
	int status_fd; /* the status file */
	int null_fd;   /* /dev/null of the host, read-write */
	int bundle_fd; /* the bundle, where clients look for the file "oom": a mount of its own, or
			  negative */
	int tty_fd;    /* slave of the container's terminal, -1 without one */
	struct notify notify;
	struct morefds more; /* the process's descriptors behind stderr */
	pid_t parent;	     /* the CLI, as itself sees its pid */
	bool sandbox;	     /* no VM: the process holds a pod's namespaces (oci/sandbox.h) */
};

/* In the child of ns_clone(); never returns. */
_Noreturn void vmproc_main(struct vmproc *p);

/*
 * vmloop.c. vmloop_new() opens the guest's streams (they wait in the device) while the host's /proc
 * can still be seen; vmloop_run() starts the VM and returns the exit code of the process when it
 * has ended.
 */
struct vmm;
struct vmloop;
int vmloop_new(struct vmproc *p, struct vmm *vm, struct vmloop **out, struct error *e);
int vmloop_run(struct vmloop *l, int done_fd);

#endif
