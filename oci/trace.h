/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a start spends its time: marks in memory, written as one line of JSON at the end to the
 * file that $KRUN_OCI_TRACE named when the runtime was called. Without it a mark is one comparison.
 * The CLI opens the file before the clone; the VMM process writes to it. Main threads only.
 */
#ifndef KRUN_OCI_TRACE_H
#define KRUN_OCI_TRACE_H

#include <stdint.h>

enum trace_point {
	TRACE_BEGIN,   /* main() of the CLI */
	TRACE_CLONED,  /* the VMM process runs */
	TRACE_VM_MADE, /* KVM_CREATE_VM has returned */
	TRACE_BUILT,   /* memory, devices, kernel are in place */
	TRACE_RUN,     /* vCPUs run */
	TRACE_AGENT,   /* the agent answered HELLO */
	TRACE_CREATED, /* the container is created */
	TRACE_STARTED, /* the workload has been exec'ed */
	TRACE_EXITED,  /* the workload has ended */
	TRACE_POINTS,
};

struct vmm;

/* After what the caller left open was closed. */
void trace_open(void);
void trace_mark(enum trace_point p);
/* What the agent said of itself: its start, its knock and its first answer on the guest's clock,
 * which begins early in the kernel's boot. */
void trace_guest(const uint64_t ns[3]);
/* Writes the line, with exit counts at the marks. */
void trace_end(void);
/* From which VM the marks after it take their counts. */
void trace_vm(const struct vmm *vm);

#endif
