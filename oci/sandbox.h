/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandbox containers: those that managers make to hold a pod's namespaces and run nothing else.
 *
 * They get no VM. The process that would be the VMM enters the namespaces and waits there; nothing
 * of the image is executed. Single-threaded all the time.
 */
#ifndef KRUN_OCI_SANDBOX_H
#define KRUN_OCI_SANDBOX_H

#include <stdbool.h>

struct spec;
struct vmproc;
struct error;

/*
 * True for the annotations of the CRI (io.kubernetes.cri.container-type of containerd,
 * io.kubernetes.cri-o.ContainerType of CRI-O: "sandbox"), and for the arguments that Podman's
 * infra containers have: exactly "/catatonit -P" or "/pause".
 */
bool sandbox_wanted(const struct spec *s);

/* The CLI: what a config may ask of a container, and not of this kind. -ENOTSUP. */
int sandbox_check(const struct spec *s, struct error *e);

/* In the process, pivoted and confined: gives up what capabilities are left and all stdio. */
int sandbox_confine(const struct vmproc *p, struct error *e);

/* Answers the control socket until a SIGTERM or SIGINT; returns the exit code of the process. */
int sandbox_run(struct vmproc *p);

#endif
