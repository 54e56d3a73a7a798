// SPDX-License-Identifier: Apache-2.0
/* Marks of where a start spends its time and how many exits it took. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/trace.h"
#include "vmm.h"

static const char *const names[TRACE_POINTS] = { "begin", "cloned", "vm_made", "built", "run",
	"agent", "created", "started", "exited" };

static struct {
	int fd;
	const struct vmm *vm;
	uint64_t ns[TRACE_POINTS];
	struct vmm_stats st[TRACE_POINTS];
	uint64_t guest_ns[3];
} t = { .fd = -1 };

void trace_open(void)
{
	const char *path = getenv("KRUN_OCI_TRACE");

	if (path && *path)
		t.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

void trace_vm(const struct vmm *vm)
{
	t.vm = vm;
}

void trace_mark(enum trace_point p)
{
	struct timespec ts;

	if (t.fd < 0 && p != TRACE_BEGIN)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	t.ns[p] = (uint64_t)ts.tv_sec * 1000000000ULL + (uint64_t)ts.tv_nsec;
	if (t.vm)
		vmm_stats(t.vm, &t.st[p]);
}

void trace_guest(const uint64_t ns[3])
{
	(void)memcpy(t.guest_ns, ns, sizeof(t.guest_ns));
}

void trace_end(void)
{
	char line[2048];
	size_t n = 0;

	if (t.fd < 0)
		return;
	n += (size_t)snprintf(line + n, sizeof(line) - n, "{");
	for (int i = 0; i < TRACE_POINTS; i++) {
		if (t.ns[i])
			n += (size_t)snprintf(line + n, sizeof(line) - n,
				"%s\"%s\":{\"us\":%llu,\"runs\":%llu,\"mmio\":%llu,\"irqs\":%llu}",
				n > 1 ? "," : "", names[i],
				(unsigned long long)(t.ns[i] - t.ns[TRACE_BEGIN]) / 1000,
				(unsigned long long)t.st[i].kvm_runs,
				(unsigned long long)t.st[i].mmio_exits,
				(unsigned long long)t.st[i].irqs);
	}
	n += (size_t)snprintf(line + n, sizeof(line) - n,
		"%s\"guest\":{\"pid1_us\":%llu,\"knock_us\":%llu,\"answer_us\":%llu}}\n",
		n > 1 ? "," : "", (unsigned long long)t.guest_ns[0] / 1000,
		(unsigned long long)t.guest_ns[1] / 1000, (unsigned long long)t.guest_ns[2] / 1000);
	IGNORE_RESULT(write_full(
		t.fd, line, n)); /* a measurement that cannot be written is no reason to fail */
}
