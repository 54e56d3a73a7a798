/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network annotations: krun-oci.net, krun-oci.net.egress, krun-oci.net.listen. Their syntax is
 * in docs/networking.md.
 */
#ifndef KRUN_OCI_SPEC_NET_H
#define KRUN_OCI_SPEC_NET_H

#include "oci/spec.h"
#include "vmm.h"

/* 0, or -EINVAL and @e: the annotation, the rule, and what it should be. */
int spec_net(const struct spec *s, struct vmm_net *out, struct error *e);

#endif
