/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network annotations: krun-oci.net, krun-oci.net.egress, krun-oci.net.listen,
 * krun-oci.net.interface, krun.use_passt, krun.tap_name. Their syntax is in docs/networking.md.
 */
#ifndef KRUN_OCI_SPEC_NET_H
#define KRUN_OCI_SPEC_NET_H

#include <net/if.h>

#include "oci/spec.h"
#include "vmm.h"

enum spec_nic_kind {
	SPEC_NIC_NONE,
	SPEC_NIC_TAKE,	/* an interface of the network namespace becomes the guest's */
	SPEC_NIC_TAP,	/* a tap that is there */
	SPEC_NIC_PASST, /* passt, with the addresses of an interface of the network namespace */
};

struct spec_nic {
	enum spec_nic_kind kind;
	char name[IFNAMSIZ]; /* of the interface, empty for the only one; of the tap */
};

/* 0, or -EINVAL and @e: the annotation, the rule, and what it should be. */
int spec_net(const struct spec *s, struct vmm_net *out, struct error *e);
/* The guest's network interface. Errors as above. */
int spec_nic(const struct spec *s, struct spec_nic *out, struct error *e);
#define SPEC_PORTS_MAX 2048
/* The ports that krun-oci.net.listen allows, as passt wants to be told: "all", "none", or numbers
 * and ranges between commas. Errors as above. */
int spec_ports(const struct spec *s, char out[static SPEC_PORTS_MAX], struct error *e);

#endif
