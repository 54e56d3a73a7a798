// SPDX-License-Identifier: Apache-2.0
/* Limits as pairs of a cgroup file and its value. */
/*
 * How it works
 *
 * One list for both drivers and for update. The host's limits hold for the VMM: memory is the
 * guest's RAM plus what the VMM needs (struct vm_size), pids counts the VMM's own threads on top,
 * since the workload's processes live in the guest and are limited there. An update writes "max"
 * where a limit is lifted, and completes a CPU quota by the period that is in force. A weight for
 * disks goes to the file of the BFQ scheduler as well, in that one's scale.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "oci/cgroup_limits.h"
#include "oci/fsutil.h"
#include "oci/spec_read.h"
#include "util/cleanup.h"

#define VMM_THREADS 64 /* vCPUs, loops, workers, exec proxies */

static void PRINTF(4, 5)
	add(struct cg_settings *l, const char *controller, const char *file, const char *fmt, ...)
{
	struct cg_setting *s = &l->s[l->n];
	va_list ap;

	/* more than there are files: does not happen */
	if (l->n == CG_SETTINGS)
		return;
	l->n++;
	s->controller = controller;
	s->file = file;
	va_start(ap, fmt);
	(void)vsnprintf(s->number, sizeof(s->number), fmt, ap);
	va_end(ap);
	s->value = s->number;
}

static void add_text(
	struct cg_settings *l, const char *controller, const char *file, const char *text)
{
	add(l, controller, file, "%s", "");
	l->s[l->n - 1].value = text;
}

static void add_memory(
	struct cg_settings *l, const struct spec_memory *m, const struct vm_size *size)
{
	if (size->host_max)
		add(l, "memory", "memory.max", "%" PRIu64, size->host_max);
	if (m->reservation.set && m->reservation.v > 0)
		add(l, "memory", "memory.low", "%" PRId64, m->reservation.v);
	/* the spec's swap counts memory too; v2 counts swap alone */
	if (m->swap.set && m->limit.set && m->swap.v > 0 && m->limit.v > 0 &&
		m->swap.v >= m->limit.v)
		add(l, "memory", "memory.swap.max", "%" PRId64, m->swap.v - m->limit.v);
	else if (m->swap.set && m->swap.v == -1)
		add(l, "memory", "memory.swap.max", "max");
}

static void add_cpu(struct cg_settings *l, const struct spec_cpu *c)
{
	uint64_t period = c->period.set && c->period.v ? c->period.v : 100000;

	/* the conversion that runc and crun use: [2, 262144] onto [1, 10000] */
	if (c->shares.set && c->shares.v) {
		uint64_t sh = MIN(MAX(c->shares.v, 2ULL), 262144ULL);

		add(l, "cpu", "cpu.weight", "%" PRIu64, 1 + ((sh - 2) * 9999) / 262142);
	}
	if (c->quota.set && c->quota.v > 0)
		add(l, "cpu", "cpu.max", "%" PRId64 " %" PRIu64, c->quota.v, period);
	else if (c->period.set && c->period.v)
		add(l, "cpu", "cpu.max", "max %" PRIu64, period);
	if (c->burst.set)
		add(l, "cpu", "cpu.max.burst", "%" PRIu64, c->burst.v);
	if (c->idle.set)
		add(l, "cpu", "cpu.idle", "%" PRId64, c->idle.v);
	if (c->cpus)
		add_text(l, "cpuset", "cpuset.cpus", c->cpus);
	if (c->mems)
		add_text(l, "cpuset", "cpuset.mems", c->mems);
}

/* The conversion that runc and crun use: [10, 1000] onto [1, 10000]. */
static unsigned io_weight(uint32_t w)
{
	return 1 + (w - 10) * 9999 / 990;
}

static void add_throttles(struct cg_settings *l, const char *key, const struct spec_throttles *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct spec_throttle *d = &t->v[i];

		/* a rate of 0 takes the limit away */
		if (d->rate)
			add(l, "io", "io.max", "%u:%u %s=%" PRIu64, d->major, d->minor, key,
				d->rate);
		else
			add(l, "io", "io.max", "%u:%u %s=max", d->major, d->minor, key);
	}
}

/* Of the device that @device ("MAJOR:MINOR ") names, or of all. */
static void add_weight(struct cg_settings *l, const char *device, uint32_t weight)
{
	struct cg_setting *s = &l->s[l->n];

	if (l->n == CG_SETTINGS)
		return;
	add(l, "io", "io.weight", "%s%u", device, io_weight(weight));
	(void)snprintf(s->bfq, sizeof(s->bfq), "%s%u", device, weight);
}

static void add_blkio(struct cg_settings *l, const struct spec_blkio *b)
{
	char device[24];

	if (b->weight.v)
		add_weight(l, "", b->weight.v);
	for (size_t i = 0; i < b->n_weight_devices; i++) {
		const struct spec_weight_device *d = &b->weight_devices[i];

		(void)snprintf(device, sizeof(device), "%u:%u ", d->major, d->minor);
		if (d->weight.v)
			add_weight(l, device, d->weight.v);
	}
	add_throttles(l, "rbps", &b->read_bps);
	add_throttles(l, "wbps", &b->write_bps);
	add_throttles(l, "riops", &b->read_iops);
	add_throttles(l, "wiops", &b->write_iops);
}

/* Files by their own names, those that are the host's. */
static void add_unified(struct cg_settings *l, const struct spec_resources *r)
{
	static const char *const controllers[] = { "memory", "cpuset", "cpu", "io" };

	for (size_t i = 0; i < r->n_unified; i++) {
		const struct spec_kv *u = &r->unified[i];

		for (size_t k = 0; k < ARRAY_SIZE(controllers); k++) {
			size_t n = strlen(controllers[k]);

			if (!strncmp(u->key, controllers[k], n) && u->key[n] == '.' &&
				spec_unified_side(u->key) == SPEC_UNIFIED_HOST)
				add_text(l, controllers[k], u->key, u->value);
		}
	}
}

void cgroup_plan(struct cg_settings *l, const struct spec *s, const struct vm_size *size)
{
	const struct spec_resources *r = &s->linux_.res;

	add_memory(l, &r->memory, size);
	add_cpu(l, &r->cpu);
	if (r->pids.set && r->pids.v > 0)
		add(l, "pids", "pids.max", "%" PRId64, r->pids.v + VMM_THREADS);
	add_blkio(l, &r->blkio);
	add_unified(l, r);
}

/* A quota alone needs the period beside it, and the other way round. */
static void update_quota(struct cg_settings *l, const struct spec_cpu *c, int dir)
{
	CLEAN_FREE char *now = NULL;
	char quota[32] = "max";
	unsigned long long period = 100000;

	if (!c->quota.set && !(c->period.set && c->period.v))
		return;
	if (!read_file_at(dir, "cpu.max", 64, &now, NULL) &&
		sscanf(now, "%31s %llu", quota, &period) != 2)
		(void)snprintf(quota, sizeof(quota), "max");
	if (c->quota.set && c->quota.v > 0)
		(void)snprintf(quota, sizeof(quota), "%" PRId64, c->quota.v);
	else if (c->quota.set)
		(void)snprintf(quota, sizeof(quota), "max");
	if (c->period.set && c->period.v)
		period = c->period.v;
	add(l, "cpu", "cpu.max", "%s %llu", quota, period);
}

void cgroup_plan_update(
	struct cg_settings *l, const struct spec *s, const struct vm_size *size, int dir)
{
	const struct spec_resources *r = &s->linux_.res;
	struct spec_cpu cpu = r->cpu;
	struct vm_size host = *size;

	/* the guest has its RAM whatever the limit in it: the bound on the host is that of the RAM
	 */
	host.host_max = r->memory.limit.set && r->memory.limit.v > 0
		? size->ram + VM_OVERHEAD_BYTES + LIM_FS_NODE_RAM(size->ram)
		: 0;
	add_memory(l, &r->memory, &host);
	if (r->memory.limit.set && r->memory.limit.v < 0)
		add(l, "memory", "memory.max", "max");
	update_quota(l, &cpu, dir);
	cpu.quota.set = cpu.period.set = false;
	add_cpu(l, &cpu);
	if (r->pids.set && r->pids.v > 0)
		add(l, "pids", "pids.max", "%" PRId64, r->pids.v + VMM_THREADS);
	else if (r->pids.v < 0)
		add(l, "pids", "pids.max", "max");
	add_blkio(l, &r->blkio);
	add_unified(l, r);
}

uint64_t cgroup_cpus(int dir)
{
	CLEAN_FREE char *quota = NULL, *set = NULL;
	unsigned long long us = 0, period = 0;
	uint64_t share = 0;
	unsigned n = 0;

	/* "max" is no number */
	if (!read_file_at(dir, "cpu.max", 64, &quota, NULL) &&
		sscanf(quota, "%llu %llu", &us, &period) == 2 && us && period)
		share = (us - 1) / period + 1;
	if (!read_file_at(dir, "cpuset.cpus", 65536, &set, NULL)) {
		set[strcspn(set, "\n")] = 0;
		if (!rd_cpu_list(set, &n))
			n = 0;
	}
	return share && n ? MIN(share, (uint64_t)n) : share + n;
}

/* The kernel has two ways to share a disk, with a file each that is there or not; a device is
 * shared by one of them, and the other's file does not take it. */
static int write_weight(int dir, const struct cg_setting *s)
{
	int bfq = write_existing_at(dir, "io.bfq.weight", s->bfq);
	int r = write_existing_at(dir, s->file, s->value);

	if (!bfq || !r)
		return 0;
	return r == -ENOENT ? bfq : r;
}

int cgroup_write(int dir, const char *path, const struct cg_settings *l, struct error *e)
{
	for (unsigned i = 0; i < l->n; i++) {
		int r = l->s[i].bfq[0] ? write_weight(dir, &l->s[i])
				       : write_existing_at(dir, l->s[i].file, l->s[i].value);

		/* a kernel without swap accounting has no limit to lift */
		if (r == -ENOENT && !strcmp(l->s[i].file, "memory.swap.max"))
			continue;
		if (r)
			return err_sys(e, r, "cgroup \"/%.80s\": cannot set %s to %s", path,
				l->s[i].file, l->s[i].value);
	}
	return 0;
}
