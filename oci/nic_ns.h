/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done in a container's network namespace, by a child of the process that starts or deletes
 * the container: single-threaded, and a process that went in itself could not always come back.
 *
 * Only one of them at a time takes or releases the interfaces of a namespace, whichever container
 * it is for and wherever that is recorded: they wait for each other by flock() on the namespace, 10
 * s at most. Who is in the namespace can hold that lock, too, and keeps others from starting by
 * that; what is somebody's is not touched without it either.
 */
#ifndef KRUN_OCI_NIC_NS_H
#define KRUN_OCI_NIC_NS_H

#include <stdbool.h>
#include <stdint.h>

#include "oci/spec_net.h"
#include "util/err.h"

struct nic_job {
	const struct spec_nic *nic; /* what to make; NULL: nic_release() of @index */
	const char *ports, *cgroup; /* for passt */
	bool told_ip6; /* whether the guest has IPv6 is the config's word, not the namespace's */
	int ns_fd;     /* the namespace: borrowed */
	int index;
};

struct nic_made {
	int fds[2]; /* the tap or socket, and the description as a file; the caller's to close, or
		       -1 */
	int index;  /* of the interface that was to be taken, or 0; set when it fails, too */
	unsigned left, rules, tables; /* of struct nic_if */
	uint32_t bytes;		      /* of the description */
};

/* Interface @index is about to be taken: whatever happens from now on, it has to be released. Not
 * 0, with @e: it is left alone. */
typedef int nic_before_fn(void *arg, int index, struct error *e);

/*
 * Does @j. @before is called, in the caller, before anything is changed that does not go with the
 * descriptors. When the caller ends before he has them, nothing is taken, or it is released again,
 * unless the child was killed with him: then nic_release() is for whoever knows from @before.
 * -EBUSY: another one has the namespace; and others, with @e.
 */
int nic_in_ns(const struct nic_job *j, nic_before_fn *before, void *arg, struct nic_made *m,
	struct error *e);

#endif
