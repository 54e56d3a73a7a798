/* SPDX-License-Identifier: Apache-2.0 */
/* linux.resources as files of the container's cgroup on the host. The CLI's thread. */
#ifndef KRUN_OCI_CGROUP_LIMITS_H
#define KRUN_OCI_CGROUP_LIMITS_H

#include "oci/spec.h"
#include "util/err.h"

struct cg_setting {
	const char *controller, *file;
	const char *value; /* @number, or what the spec has */
	char number[64];
	char bfq[32]; /* of io.weight: what the file of the BFQ scheduler is to say; else empty */
};

#define CG_SETTINGS 64

struct cg_settings {
	struct cg_setting s[CG_SETTINGS];
	unsigned n;
};

/* The limits of a new cgroup; @size gives memory.max. Those of one controller stand together. */
void cgroup_plan(struct cg_settings *l, const struct spec *s, const struct vm_size *size);

/*
 * What `update` changes: of @s only .linux_.res is looked at, what is absent stays as it is. @size
 * is that of the running VM, @dir its cgroup, for what a part of the setting is needed from.
 */
void cgroup_plan_update(
	struct cg_settings *l, const struct spec *s, const struct vm_size *size, int dir);

/* How many CPUs the cgroup at @dir leaves to what is in it, quotas rounded up; 0: all that are. */
uint64_t cgroup_cpus(int dir);

/* Writes them below the open directory @dir, which messages call @path. */
int cgroup_write(int dir, const char *path, const struct cg_settings *l, struct error *e);

#endif
