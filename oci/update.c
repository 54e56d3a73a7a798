// SPDX-License-Identifier: Apache-2.0
/* update: other limits for a container that exists. */
/*
 * How it works
 *
 * A VM has the RAM and the CPUs that it was made with. Inside of these the guest's cgroup follows a
 * new limit of memory, processes and CPUs at once, and the cgroup on the host follows all of them.
 * The host goes first: its limits are the wall, and a guest that does not answer must not veto
 * them.
 */
#include <errno.h>

#include "oci/cgroup.h"
#include "oci/cgroup_limits.h"
#include "oci/create.h"
#include "oci/ctl.h"
#include "oci/sandbox.h"
#include "oci/spec.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"

/*
 * The size that the VM was made with, as it is on record: what this host has by now, or the one who
 * asks may use of it, says nothing of it. What the container ignores, @more must not ask for
 * either.
 */
static int vm_size(
	const struct container *c, struct spec *more, struct vm_size *size, struct error *e)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	int r = spec_load(c->dir_fd, "config.json", &s, NULL, NULL, e);

	if (!r) {
		if (c->ignore)
			s->ignore = c->ignore;
		r = spec_ignore(more, s, e);
	}
	if (!r && sandbox_wanted(s))
		r = err_set(e, ENOTSUP,
			"container \"%s\" is a sandbox: its limits cannot be changed by this version",
			c->id);
	if (!r && !c->vcpus)
		r = err_set(e, ENOTSUP,
			"container \"%s\" was created by a version that did not record the size of its VM: its limits cannot be changed",
			c->id);
	*size = (struct vm_size){ .vcpus = c->vcpus, .ram = c->ram };
	return r;
}

static int check(const struct spec *s, const struct vm_size *size, struct error *e)
{
	const struct spec_resources *r = &s->linux_.res;
	const struct spec_cpu *c = &r->cpu;
	uint64_t period = c->period.v ? c->period.v : 100000;
	int err = spec_refusals(s, e);

	if (err)
		return err;
	if (r->memory.limit.v > 0 && (uint64_t)r->memory.limit.v > size->ram)
		return err_set(e, ENOTSUP,
			"resources: memory.limit: %lld bytes are more than the %llu MiB of RAM that the guest was made with, and a running guest cannot be given more",
			(long long)r->memory.limit.v, (unsigned long long)(size->ram >> 20));
	if (r->memory.limit.v > 0 && (uint64_t)r->memory.limit.v < 4096)
		return err_set(e, EINVAL, "resources: memory.limit: %lld bytes are too few",
			(long long)r->memory.limit.v);
	if (c->quota.v > 0 && ((uint64_t)c->quota.v - 1) / period + 1 > size->vcpus)
		log_warn(
			"resources: cpu.quota: the guest was made with %u CPUs, and cannot use more",
			size->vcpus);
	return 0;
}

/* What the limits on the host leave of the VM's CPUs, if @more may have changed that. */
static struct opt_i64 cpus_left(
	const struct container *c, const struct spec_resources *more, const struct vm_size *size)
{
	CLEAN_FD int dir = -1;
	uint64_t n;

	if (!more->cpu.quota.set && !more->cpu.period.set && !more->cpu.cpus && !more->n_unified)
		return (struct opt_i64){ 0 };
	dir = cgroup_open(c->cgroup);
	n = dir < 0 ? 0 : cgroup_cpus(dir);
	return (struct opt_i64){ true, (int64_t)(n ? MIN(n, (uint64_t)size->vcpus) : size->vcpus) };
}

static int ask(const struct container *c, uint32_t op, const struct opt_i64 *v, struct error *e)
{
	uint64_t n = v->v > 0 ? (uint64_t)v->v : UINT64_MAX;
	struct ctl_req q = { .op = op, .arg = (uint32_t)n, .flags = (uint32_t)(n >> 32) };
	struct error why = { 0 };
	int r;

	/* 0 is no limit that anybody could mean */
	if (!v->set || !v->v)
		return 0;
	r = ctl_ask(c, &q, CTL_START_MS, &why);
	return r ? err_set(e, r, "the host's limits are set, the guest's are not: %s", why.msg) : 0;
}

static int update(const struct container *c, struct spec *s, struct error *e)
{
	struct vm_size size;
	struct opt_i64 cpus;
	int r = vm_size(c, s, &size, e);

	if (!r)
		r = check(s, &size, e);
	if (!r && !c->cgroup)
		r = err_set(
			e, ENOTSUP, "container \"%s\" has no cgroup of its own to update", c->id);
	if (!r)
		r = cgroup_update(c->cgroup, c->scope, s, &size, e);
	if (!r)
		r = ask(c, CTL_GUEST_MEMORY, &s->linux_.res.memory.limit, e);
	if (!r)
		r = ask(c, CTL_GUEST_PIDS, &s->linux_.res.pids, e);
	if (r)
		return r;
	cpus = cpus_left(c, &s->linux_.res, &size);
	return ask(c, CTL_GUEST_CPUS, &cpus, e);
}

int rt_update(const struct rt *rt, const char *id, struct spec *s, struct error *e)
{
	CLEAN(container_free) struct container c;
	enum phase ph;
	int r = container_open(rt, id, &c, e);

	if (!r)
		r = container_lock(&c, LOCK_MS, e);
	if (r)
		return r;
	ph = container_phase(&c, NULL);
	for (size_t i = 0; i < s->warnings.n; i++)
		log_warn("%s", s->warnings.v[i]);
	if (ph == PHASE_STOPPED || ph == PHASE_CREATING)
		return err_set(
			e, ESRCH, "cannot update container \"%s\": container not running", id);
	return update(&c, s, e);
}
