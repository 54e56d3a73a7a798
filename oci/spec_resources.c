// SPDX-License-Identifier: Apache-2.0
/* linux.resources: of config.json, and of update's --resources file. */
/*
 * How it works
 *
 * This file says what the config means, not what is done: every number keeps whether it was set, as
 * 0, -1 and absent differ, and update changes only what it names. The translation to files of
 * cgroup v2 is cgroup.c's for the host and guest_blob.c's for the guest.
 *
 * Limits that contradict each other are refused here, with the bounds of the kernel, because a
 * write to a cgroup file fails with EINVAL and no word. What cgroup v2 does not have is warned of.
 * Keys of `unified` become file names, so they must look like one: with a dot, without a slash.
 */
#include <string.h>

#include "oci/spec_read.h"

/* -1 means unlimited in every signed limit. */
static struct opt_i64 limit(struct rd *p, const struct json *n, const char *key)
{
	return rd_i64(p, n, key, -1, INT64_MAX);
}

static void read_memory(struct rd *p, const struct json *n, struct spec_memory *m)
{
	m->set = true;
	m->limit = limit(p, n, "limit");
	m->reservation = limit(p, n, "reservation");
	m->swap = limit(p, n, "swap");
	m->kernel = limit(p, n, "kernel");
	m->kernel_tcp = limit(p, n, "kernelTCP");
	m->swappiness = rd_u64(p, n, "swappiness", 100);
	m->disable_oom_killer = rd_bool(p, n, "disableOOMKiller");
	m->use_hierarchy = rd_bool(p, n, "useHierarchy");
	m->check_before_update = rd_bool(p, n, "checkBeforeUpdate");
	/* Swap is memory plus swap. */
	if (m->limit.v > 0 && m->swap.v > 0 && m->swap.v < m->limit.v)
		rd_fail(p, n, "swap", "smaller than limit, which it includes");
	if (m->limit.v > 0 && m->reservation.v > m->limit.v)
		rd_fail(p, n, "reservation", "larger than limit");
	if (m->kernel.set || m->kernel_tcp.set)
		rd_warn(p, n, m->kernel.set ? "kernel" : "kernelTCP",
			"left out, cgroup v2 has no such limit");
	if (m->use_hierarchy)
		rd_warn(p, n, "useHierarchy", "left out, cgroup v2 has nothing else");
	if (m->check_before_update)
		rd_warn(p, n, "checkBeforeUpdate", "left out, a limit is set whatever is in use");
}

static const char *read_list(struct rd *p, const struct json *n, const char *key, unsigned *count)
{
	const struct json *s = rd_get(p, n, key, JSON_STRING);

	*count = 0;
	if (!s || !s->len)
		return NULL;
	if (!rd_cpu_list(s->text, count)) {
		rd_fail(p, s, NULL, "%s is not a list of numbers", QUOTE(s->text));
		return NULL;
	}
	return rd_dup(p, s->text);
}

static void read_cpu(struct rd *p, const struct json *n, struct spec_cpu *c)
{
	unsigned nodes;

	c->set = true;
	c->shares = rd_u64(p, n, "shares", UINT64_MAX);
	c->quota = limit(p, n, "quota");
	c->burst = rd_u64(p, n, "burst", INT64_MAX / 1000);
	c->period = rd_u64(p, n, "period", INT64_MAX / 1000);
	c->rt_runtime = limit(p, n, "realtimeRuntime");
	c->rt_period = rd_u64(p, n, "realtimePeriod", INT64_MAX / 1000);
	c->idle = rd_i64(p, n, "idle", 0, 1);
	c->cpus = read_list(p, n, "cpus", &c->n_cpus);
	c->mems = read_list(p, n, "mems", &nodes);
	/* The kernel's bounds, in microseconds; 0 is what managers write for "not set". */
	if (c->period.v && (c->period.v < 1000 || c->period.v > 1000000))
		rd_fail(p, n, "period", "must be 1000 to 1000000 microseconds");
	if (c->quota.v > 0 && c->quota.v < 1000)
		rd_fail(p, n, "quota", "must be at least 1000 microseconds");
	if (c->burst.v && c->quota.v > 0 && c->burst.v > (uint64_t)c->quota.v)
		rd_fail(p, n, "burst", "larger than quota");
}

static void read_hugepages(struct rd *p, const struct json *n, struct spec_resources *out)
{
	const struct json *a = rd_array(p, n, "hugepageLimits", SPEC_LIM_RES_ITEMS, JSON_OBJECT),
			  *h;

	if (!a)
		return;
	out->hugepages = rd_alloc(p, a->n, sizeof(*out->hugepages));
	json_for_each(h, a)
	{
		const char *size = rd_need_string(p, h, "pageSize");
		struct opt_u64 v = rd_u64(p, h, "limit", UINT64_MAX);
		size_t digits = size ? strspn(size, "0123456789") : 0;

		if (!p->err && !v.set)
			rd_fail(p, h, "limit", "missing");
		if (!p->err &&
			(!digits || strlen(size) != digits + 2 || size[digits + 1] != 'B' ||
				!strchr("KMG", size[digits])))
			rd_fail(p, h, "pageSize", "%s is not a size like \"2MB\"", QUOTE(size));
		if (p->err)
			return;
		out->hugepages[out->n_hugepages++] = (struct spec_hugepage){ size, v.v };
	}
}

static void read_network(struct rd *p, const struct json *n, struct spec_resources *out)
{
	const struct json *a = rd_array(p, n, "priorities", SPEC_LIM_RES_ITEMS, JSON_OBJECT), *i;

	out->net_class = rd_u32(p, n, "classID", UINT32_MAX);
	if (!a)
		return;
	out->net_prios = rd_alloc(p, a->n, sizeof(*out->net_prios));
	json_for_each(i, a)
	{
		if (p->err)
			return;
		out->net_prios[out->n_net_prios++] = (struct spec_net_prio){
			.name = rd_need_string(p, i, "name"),
			.priority = rd_need_u32(p, i, "priority", UINT32_MAX),
		};
	}
}

static void read_rdma(struct rd *p, const struct json *n, struct spec_resources *out)
{
	const struct json *m = rd_get(p, n, "rdma", JSON_OBJECT), *d;

	if (!m)
		return;
	if (m->n > SPEC_LIM_RES_ITEMS) {
		rd_fail(p, m, NULL, "%u devices, at most %d are allowed", m->n, SPEC_LIM_RES_ITEMS);
		return;
	}
	out->rdma = rd_alloc(p, m->n, sizeof(*out->rdma));
	json_for_each(d, m)
	{
		struct spec_rdma *r;

		if (p->err || !rd_is(p, d, JSON_OBJECT))
			return;
		r = &out->rdma[out->n_rdma++];
		r->device = rd_dup(p, d->key);
		r->handles = rd_u32(p, d, "hcaHandles", UINT32_MAX);
		r->objects = rd_u32(p, d, "hcaObjects", UINT32_MAX);
		if (!r->handles.set && !r->objects.set)
			rd_fail(p, d, NULL, "needs hcaHandles or hcaObjects");
	}
}

static void read_unified(struct rd *p, const struct json *n, struct spec_resources *out)
{
	out->unified = rd_map(p, n, "unified", SPEC_LIM_RES_ITEMS, &out->n_unified);
	for (size_t i = 0; i < out->n_unified; i++) {
		const char *k = out->unified[i].key;

		if (strchr(k, '/') || !strchr(k, '.') || k[0] == '.' || strlen(k) > SPEC_LIM_NAME) {
			rd_fail(p, json_get(n, "unified"), k, "not the name of a cgroup file");
			return;
		}
	}
}

static void read_dev_rules(struct rd *p, const struct json *n, struct spec_resources *out)
{
	const struct json *a = rd_array(p, n, "devices", SPEC_LIM_DEV_RULES, JSON_OBJECT), *r;

	if (!a)
		return;
	out->devices = rd_alloc(p, a->n, sizeof(*out->devices));
	json_for_each(r, a)
	{
		if (p->err)
			return;
		spec_read_dev_rule(p, r, &out->devices[out->n_devices++]);
	}
}

void spec_read_resources(struct rd *p, const struct json *n, struct spec_resources *out)
{
	const struct json *part;

	out->set = true;
	read_dev_rules(p, n, out);
	part = rd_get(p, n, "memory", JSON_OBJECT);
	if (part)
		read_memory(p, part, &out->memory);
	part = rd_get(p, n, "cpu", JSON_OBJECT);
	if (part)
		read_cpu(p, part, &out->cpu);
	part = rd_get(p, n, "pids", JSON_OBJECT);
	if (part)
		out->pids = limit(p, part, "limit");
	part = rd_get(p, n, "blockIO", JSON_OBJECT);
	if (part)
		spec_read_blkio(p, part, &out->blkio);
	read_hugepages(p, n, out);
	part = rd_get(p, n, "network", JSON_OBJECT);
	if (part)
		read_network(p, part, out);
	read_rdma(p, n, out);
	read_unified(p, n, out);
}

enum spec_unified_side spec_unified_side(const char *key)
{
	/* what memory.max and pids.max would be set to follows from the size of the VM */
	static const struct {
		const char *key;
		enum spec_unified_side side;
	} KEYS[] = {
		{ "cpu.idle", SPEC_UNIFIED_HOST },
		{ "cpu.max", SPEC_UNIFIED_HOST },
		{ "cpu.max.burst", SPEC_UNIFIED_HOST },
		{ "cpu.weight", SPEC_UNIFIED_HOST },
		{ "cpu.weight.nice", SPEC_UNIFIED_HOST },
		{ "cpuset.cpus", SPEC_UNIFIED_HOST },
		{ "cpuset.mems", SPEC_UNIFIED_HOST },
		{ "io.latency", SPEC_UNIFIED_HOST },
		{ "io.max", SPEC_UNIFIED_HOST },
		{ "io.weight", SPEC_UNIFIED_HOST },
		{ "memory.low", SPEC_UNIFIED_HOST },
		{ "memory.min", SPEC_UNIFIED_HOST },
		{ "memory.swap.max", SPEC_UNIFIED_HOST },
		{ "memory.high", SPEC_UNIFIED_GUEST },
		{ "memory.oom.group", SPEC_UNIFIED_GUEST },
	};

	for (size_t i = 0; i < ARRAY_SIZE(KEYS); i++)
		if (!strcmp(key, KEYS[i].key))
			return KEYS[i].side;
	return SPEC_UNIFIED_NOBODY;
}
