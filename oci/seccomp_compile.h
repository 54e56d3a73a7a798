/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linux.seccomp → a BPF program for the guest. Compiled at create on the host, installed by the
 * agent with seccomp(SECCOMP_SET_MODE_FILTER, flags) right before the workload's exec. Never
 * applied to the VMM. Single-threaded (libseccomp has global state).
 */
#ifndef KRUN_OCI_SECCOMP_COMPILE_H
#define KRUN_OCI_SECCOMP_COMPILE_H

#include <stddef.h>
#include <stdint.h>

struct error;
struct spec_seccomp;

struct seccomp_prog {
	void *bpf;	/* struct sock_filter[], host byte order = the guest's; owned */
	size_t len;	/* bytes, a multiple of 8, at most SPEC_LIM_BPF_BYTES */
	uint32_t flags; /* SECCOMP_FILTER_FLAG_* */
};

/* 0, or -errno and @e. Where @sc is not set: 0 and len 0. Free with seccomp_prog_free(). */
int seccomp_compile(const struct spec_seccomp *sc, struct seccomp_prog *out, struct error *e);

/* Also for CLEAN(). */
void seccomp_prog_free(struct seccomp_prog *p);

#endif
