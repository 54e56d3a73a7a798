// SPDX-License-Identifier: Apache-2.0
/* The `vm` section, and the size of the guest. */
/*
 * How it works
 *
 * A container is not given a machine but limits, so spec_vm_size() turns these into one. The most
 * explicit wins: an annotation (krun.cpus, krun.ram_mib), then vm.hwConfig, then memory.limit, CPU
 * quota and cpuset, then the image's /.krun_vm.json, then a default. Sizes that were asked for and
 * exceed memory.limit are refused: such a guest would be killed by the host in the middle of its
 * work, while one sized by the limit meets its own OOM killer. CPUs beyond quota and cpuset are
 * made all the same, since an update may want them: the workload is kept off them in the guest.
 *
 * The cgroup of the host gets the guest's RAM, VM_OVERHEAD_BYTES for the VMM itself and what the
 * file server may remember for a guest of that size; the cgroup in the guest gets the limit as it
 * stands in the config. Nothing here fails on a host with fewer CPUs
 * or less memory: derived sizes are cut to it.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "oci/spec_read.h"

#define MIB (1ULL << 20)

static void read_hardware(struct rd *p, const struct json *n, struct spec_vm *out)
{
	const struct json *a;

	out->vcpus = rd_u64(p, n, "vcpus", UINT32_MAX);
	out->memory = rd_u64(p, n, "memory", INT64_MAX);
	if (out->vcpus.v > LIM_VCPUS)
		rd_fail(p, n, "vcpus", "%llu is more than the %d that a guest can have",
			(unsigned long long)out->vcpus.v, LIM_VCPUS);
	if (out->memory.v && (out->memory.v < VM_RAM_FLOOR || out->memory.v > LIM_RAM_MAX))
		rd_fail(p, n, "memory", "%llu is out of range (%llu to %llu bytes)",
			(unsigned long long)out->memory.v, VM_RAM_FLOOR, LIM_RAM_MAX);
	out->device_tree = rd_abs_path(p, n, "deviceTree", false);
	a = rd_array(p, n, "dtdevs", SPEC_LIM_RES_ITEMS, JSON_STRING);
	out->n_dtdevs = a ? a->n : 0;
	a = rd_array(p, n, "iomems", SPEC_LIM_RES_ITEMS, JSON_OBJECT);
	out->n_iomems = a ? a->n : 0;
	a = rd_array(p, n, "irqs", SPEC_LIM_RES_ITEMS, JSON_NUMBER);
	out->n_irqs = a ? a->n : 0;
}

void spec_read_vm(struct rd *p, const struct json *n, struct spec_vm *out)
{
	static const struct rd_name FORMATS[] = {
		{ "raw", 0 },
		{ "qcow2", 1 },
		{ "vdi", 2 },
		{ "vmdk", 3 },
		{ "vhd", 4 },
	};
	const struct json *part, *format;
	uint64_t v;

	out->set = true;
	part = rd_get(p, n, "hypervisor", JSON_OBJECT);
	out->hypervisor = rd_abs_path(p, part, "path", false);
	rd_strings(p, part, "parameters", SPEC_LIM_ARGS, &out->hypervisor_params);
	if (part && part->n && !out->hypervisor)
		rd_fail(p, part, "path", "missing");
	part = rd_get(p, n, "kernel", JSON_OBJECT);
	out->kernel = rd_abs_path(p, part, "path", false);
	rd_strings(p, part, "parameters", SPEC_LIM_ARGS, &out->kernel_params);
	out->initrd = rd_abs_path(p, part, "initrd", false);
	if (!out->kernel && (out->kernel_params.n || out->initrd))
		rd_fail(p, part, "path", "missing");
	part = rd_get(p, n, "image", JSON_OBJECT);
	out->image = rd_abs_path(p, part, "path", false);
	format = part && part->n ? rd_need(p, part, "format", JSON_STRING) : NULL;
	if (format && rd_name(p, format, FORMATS, ARRAY_SIZE(FORMATS), "format", &v)) {
		out->image_format = rd_dup(p, format->text);
		if (!out->image)
			rd_fail(p, part, "path", "missing");
	}
	part = rd_get(p, n, "hwConfig", JSON_OBJECT);
	if (part)
		read_hardware(p, part, out);
}

/* A decimal annotation: 1 when there, 0 when absent, or -EINVAL. */
static int annotation_number(const struct spec *s, const char *key, uint64_t min, uint64_t max,
	uint64_t *v, struct error *e)
{
	const char *text = spec_annotation(s, key);
	size_t digits;

	if (!text)
		return 0;
	digits = strspn(text, "0123456789");
	*v = 0;
	for (size_t i = 0; i < digits && *v <= max; i++)
		*v = *v * 10 + (uint64_t)(text[i] - '0');
	if (!digits || text[digits] || *v < min || *v > max)
		return err_set(e, EINVAL,
			"config.json: annotations[\"%s\"]: %s is not a number from %llu to %llu",
			key, QUOTE(text), (unsigned long long)min, (unsigned long long)max);
	return 1;
}

/* memory.limit in bytes; 0 when there is none, or none that this machine could feel. */
static uint64_t memory_limit(const struct spec *s)
{
	const struct spec_memory *m = &s->linux_.res.memory;

	return m->limit.v > 0 && (uint64_t)m->limit.v <= LIM_RAM_MAX ? (uint64_t)m->limit.v : 0;
}

uint64_t spec_host_ram(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGE_SIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : LIM_RAM_MAX;
}

/* A guest larger than its own limit would be killed by the host in the middle of its work. */
static int check_against_limit(const char *what, uint64_t ram, uint64_t limit, struct error *e)
{
	if (!limit || ram <= MAX(ALIGN_UP(limit, MIB), VM_RAM_FLOOR))
		return 0;
	return err_set(e, EINVAL,
		"config.json: %s: %llu MiB are more than linux.resources.memory.limit (%llu bytes)",
		what, (unsigned long long)(ram / MIB), (unsigned long long)limit);
}

static int ram_size(const struct spec *s, uint64_t limit, uint64_t *ram, struct error *e)
{
	uint64_t mib = 0;
	int r = annotation_number(s, "krun.ram_mib", 0, LIM_RAM_MAX / MIB, &mib, e);

	if (r < 0)
		return r;
	/* Up to 128 the annotation counts as unset, as with crun. */
	if (r && mib > 128) {
		*ram = mib * MIB;
		return check_against_limit("annotations[\"krun.ram_mib\"]", *ram, limit, e);
	}
	if (s->vm.memory.v) {
		*ram = ALIGN_UP(s->vm.memory.v, MIB);
		return check_against_limit("vm.hwConfig.memory", *ram, limit, e);
	}
	*ram = s->image_ram ? MAX(ALIGN_DOWN(s->image_ram, MIB), VM_RAM_FLOOR) : VM_RAM_DEFAULT;
	if (limit)
		*ram = MAX(
			MIN(ALIGN_UP(limit, MIB), ALIGN_DOWN(spec_host_ram(), MIB)), VM_RAM_FLOOR);
	return 0;
}

/* CPUs that cpuset and quota leave; 0: both leave all. */
static uint64_t cpu_limit(const struct spec_cpu *c)
{
	uint64_t period = c->period.v ? c->period.v : 100000, share;

	if (c->quota.v <= 0)
		return c->n_cpus;
	share = ((uint64_t)c->quota.v - 1) / period + 1;
	return c->n_cpus ? MIN(c->n_cpus, share) : share;
}

static int cpu_count(const struct spec *s, unsigned host_cpus, struct vm_size *out, struct error *e)
{
	uint64_t n = 0, limit = cpu_limit(&s->linux_.res.cpu);
	int r = annotation_number(s, "krun.cpus", 1, LIM_VCPUS, &n, e);

	if (r < 0)
		return r;
	if (!r)
		n = s->vm.vcpus.v;
	if (!n) {
		n = s->image_cpus ? s->image_cpus : VM_CPUS_DEFAULT;
		if (limit)
			n = limit;
		n = MIN(n, (uint64_t)MAX(host_cpus, 1U));
		n = MIN(n, (uint64_t)LIM_VCPUS);
	}
	out->vcpus = (unsigned)n;
	out->cpus = (unsigned)(limit ? MIN(n, limit) : n);
	return 0;
}

int spec_vm_size(const struct spec *s, unsigned host_cpus, struct vm_size *out, struct error *e)
{
	uint64_t limit = memory_limit(s);
	int r;

	*out = (struct vm_size){ .guest_max = limit };
	r = cpu_count(s, host_cpus, out, e);
	if (!r)
		r = ram_size(s, limit, &out->ram, e);
	if (!r)
		r = spec_hugepages(s, &out->hugepages, e);
	if (!r && out->hugepages)
		out->ram = ALIGN_DOWN(out->ram, 2 * MIB);
	if (!r)
		r = spec_dax(s, out->ram, &out->dax, e);
	if (!r && limit)
		out->host_max = out->ram + VM_OVERHEAD_BYTES + LIM_FS_NODE_RAM(out->ram);
	return r;
}
