/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interface of a network namespace, as the guest is to have it: read by the process that starts
 * the container, in the namespace, single-threaded.
 */
#ifndef KRUN_OCI_NIC_LOOK_H
#define KRUN_OCI_NIC_LOOK_H

#include <stdbool.h>

#include "init/proto/msg.h"
#include "util/err.h"

/* What our own taps are called, a number behind it: never the interface that is looked for. */
#define NIC_OWN_TAP "krun"

struct nic_if {
	int index;
	bool no_arp;   /* who is behind it is not asked for: an ipvlan of layer 3 */
	unsigned left; /* routes of its that cannot be told to a guest */
	/* walls of the namespace that hold for its own packets: rules of routing beside those that
	 * every namespace has, and tables of netfilter */
	unsigned rules, tables;
	struct msg_nic head;
	struct msg_nic_item item[MSG_NIC_ITEMS]; /* head.nitems of them, in the order to be set */
};

/*
 * The interface @name, or with an empty one the only one that is up. @fd: of rtnl_open(). -ENODEV,
 * -ENETDOWN, -EINVAL (several, or not Ethernet), -E2BIG, and @e.
 */
int nic_look(int fd, const char *name, struct nic_if *out, struct error *e);
/* Counts the walls; @fd as above. Best effort: what cannot be read is not there. */
void nic_walls(int fd, struct nic_if *out);

#endif
