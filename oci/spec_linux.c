// SPDX-License-Identifier: Apache-2.0
/* The `linux` section but resources and seccomp. */
/*
 * How it works
 *
 * Each part has a reader that takes its members through rd_*(), which check type, range and count
 * and keep the first error with the JSON path of its place; so readers do not test for errors but
 * before a loop or after an allocation. Order matters once: namespaces first, because mappings and
 * time offsets are wrong without theirs.
 *
 * Names that become paths on the host or in the guest (sysctls, cgroups, RDT groups, network
 * devices of the host) are checked here for what would lead out of their directory; later code may
 * rely on that. What the guest's kernel decides, such as whether a sysctl exists, is left to it.
 */
#include <string.h>
#include <sys/personality.h>

#include "oci/spec_read.h"

static const struct rd_name NAMESPACES[] = {
	{ "mount", SPEC_NS_MOUNT },
	{ "pid", SPEC_NS_PID },
	{ "network", SPEC_NS_NETWORK },
	{ "ipc", SPEC_NS_IPC },
	{ "uts", SPEC_NS_UTS },
	{ "user", SPEC_NS_USER },
	{ "cgroup", SPEC_NS_CGROUP },
	{ "time", SPEC_NS_TIME },
};

const char *spec_ns_name(enum spec_ns_type t)
{
	return NAMESPACES[t].name;
}

static void read_namespaces(struct rd *p, const struct json *n, struct spec_linux *out)
{
	const struct json *a = rd_array(p, n, "namespaces", 64, JSON_OBJECT), *ns;
	bool warned = false;

	if (!a)
		return;
	json_for_each(ns, a)
	{
		const struct json *type = rd_need(p, ns, "type", JSON_STRING);
		uint64_t v;

		if (!type || !rd_name(p, type, NAMESPACES, ARRAY_SIZE(NAMESPACES), "namespace", &v))
			return;
		if (out->ns[v].set) {
			rd_fail(p, type, NULL, "the %s namespace stands twice", type->text);
			return;
		}
		out->ns[v].set = true;
		out->ns[v].path = rd_abs_path(p, ns, "path", false);
		/* one line for both: a pod shares them together */
		if (out->ns[v].path && (v == SPEC_NS_IPC || v == SPEC_NS_UTS) && !warned) {
			rd_warn(p, ns, "path",
				"ipc and uts are joined on the host only, the workload sees the guest's own");
			warned = true;
		}
	}
}

/* Whether two extents share an id on either side. */
static bool overlap(const struct spec_id_map *a, const struct spec_id_map *b)
{
	return ((uint64_t)a->container < (uint64_t)b->container + b->size &&
		       (uint64_t)b->container < (uint64_t)a->container + a->size) ||
		((uint64_t)a->host < (uint64_t)b->host + b->size &&
			(uint64_t)b->host < (uint64_t)a->host + a->size);
}

void spec_read_id_maps(
	struct rd *p, const struct json *obj, const char *key, struct spec_id_maps *out)
{
	const struct json *a = rd_array(p, obj, key, SPEC_LIM_ID_MAPS, JSON_OBJECT), *n;

	if (!a)
		return;
	out->v = rd_alloc(p, a->n, sizeof(*out->v));
	json_for_each(n, a)
	{
		struct spec_id_map m = {
			.container = rd_need_u32(p, n, "containerID", UINT32_MAX - 1),
			.host = rd_need_u32(p, n, "hostID", UINT32_MAX - 1),
			.size = rd_need_u32(p, n, "size", UINT32_MAX),
		};

		if (p->err)
			return;
		if (!m.size || (uint64_t)m.container + m.size > UINT32_MAX ||
			(uint64_t)m.host + m.size > UINT32_MAX) {
			rd_fail(p, n, "size", "%u is out of range", m.size);
			return;
		}
		for (size_t i = 0; i < out->n; i++)
			if (overlap(&m, &out->v[i])) {
				rd_fail(p, n, NULL, "overlaps with [%zu]", i);
				return;
			}
		out->v[out->n++] = m;
	}
}

static void read_time_offset(
	struct rd *p, const struct json *offsets, const char *key, struct spec_time_offset *out)
{
	const struct json *n = rd_get(p, offsets, key, JSON_OBJECT);

	if (!n)
		return;
	out->set = true;
	out->secs = rd_i64(p, n, "secs", INT64_MIN, INT64_MAX).v;
	out->nsecs = rd_u32(p, n, "nanosecs", 999999999).v;
}

static void read_time_offsets(struct rd *p, const struct json *n, struct spec_linux *out)
{
	const struct json *offsets = rd_get(p, n, "timeOffsets", JSON_OBJECT), *o;

	if (!offsets)
		return;
	json_for_each(o, offsets) if (strcmp(o->key, "monotonic") && strcmp(o->key, "boottime"))
		rd_fail(p, o, NULL, "unknown clock");
	read_time_offset(p, offsets, "monotonic", &out->monotonic);
	read_time_offset(p, offsets, "boottime", &out->boottime);
	if (offsets->n && !out->ns[SPEC_NS_TIME].set)
		rd_fail(p, offsets, NULL, "needs a time namespace");
}

static void read_netdevs(struct rd *p, const struct json *n, struct spec_linux *out)
{
	const struct json *m = rd_get(p, n, "netDevices", JSON_OBJECT), *d;

	if (!m)
		return;
	if (m->n > SPEC_LIM_NETDEVS) {
		rd_fail(p, m, NULL, "%u devices, at most %d are allowed", m->n, SPEC_LIM_NETDEVS);
		return;
	}
	out->netdevs = rd_alloc(p, m->n, sizeof(*out->netdevs));
	json_for_each(d, m)
	{
		struct spec_netdev *dev;
		size_t len = strlen(d->key);

		if (!rd_is(p, d, JSON_OBJECT))
			return;
		if (!len || len > 15 || strpbrk(d->key, "/: \t\n") || !strcmp(d->key, ".") ||
			!strcmp(d->key, "..")) {
			rd_fail(p, d, NULL, "not the name of a network device");
			return;
		}
		dev = &out->netdevs[out->n_netdevs++];
		dev->host_name = rd_dup(p, d->key);
		dev->name = rd_string(p, d, "name");
	}
}

/* sysctl(8) takes either separator; the first one decides. Made dots, with '/' for a dot inside a
 * part. */
static char *sysctl_key(struct rd *p, const struct json *at, const char *key)
{
	char *out = rd_dup(p, key);
	bool swap = key[strcspn(key, "./")] == '/', dots_only = true;
	size_t part = 0;

	for (size_t i = 0; out; i++) {
		if (swap && (out[i] == '/' || out[i] == '.'))
			out[i] = out[i] == '/' ? '.' : '/';
		if (out[i] == '.' || !out[i]) {
			/* A part of nothing but slashes would be "." or ".." as a file name. */
			if (!part || dots_only) {
				rd_fail(p, at, key, "not the name of a sysctl");
				return NULL;
			}
			part = 0;
			dots_only = true;
			if (!out[i])
				break;
			continue;
		}
		part++;
		dots_only = dots_only && out[i] == '/';
	}
	return out;
}

static void read_sysctl(struct rd *p, const struct json *n, struct spec_linux *out)
{
	out->sysctl = rd_map(p, n, "sysctl", SPEC_LIM_SYSCTLS, &out->n_sysctl);
	for (size_t i = 0; i < out->n_sysctl && !p->err; i++)
		out->sysctl[i].key = sysctl_key(p, json_get(n, "sysctl"), out->sysctl[i].key);
}

static void read_paths(struct rd *p, const struct json *n, const char *key, struct strv *out)
{
	const struct json *a = rd_array(p, n, key, SPEC_LIM_PATHS, JSON_STRING), *s;

	out->v = rd_alloc(p, a ? a->n + 1 : 1, sizeof(*out->v));
	if (!a || !out->v)
		return;
	json_for_each(s, a)
	{
		if (s->text[0] != '/' || s->len > SPEC_LIM_PATH) {
			rd_fail(p, s, NULL, "%s is not an absolute path", QUOTE(s->text));
			return;
		}
		out->v[out->n] = rd_clean(p, s->text);
		if (p->err)
			return;
		out->n++;
	}
}

static void read_personality(struct rd *p, const struct json *n, struct spec_linux *out)
{
	static const struct rd_name DOMAINS[] = {
		{ "LINUX", PER_LINUX },
		{ "LINUX32", PER_LINUX32 },
	};
	const struct json *o = rd_get(p, n, "personality", JSON_OBJECT);
	const struct json *domain = o ? rd_need(p, o, "domain", JSON_STRING) : NULL;
	const struct json *flags = rd_array(p, o, "flags", 16, JSON_STRING);
	uint64_t v;

	if (!domain || !rd_name(p, domain, DOMAINS, ARRAY_SIZE(DOMAINS), "domain", &v))
		return;
	if (flags && flags->n)
		rd_fail(p, flags, NULL, "unknown flag %s", QUOTE(flags->child->text));
	out->personality_set = true;
	out->personality = v;
}

static void read_mempolicy(struct rd *p, const struct json *n, struct spec_mempolicy *out)
{
	static const struct rd_name MODES[] = {
		{ "MPOL_DEFAULT", 0 },
		{ "MPOL_PREFERRED", 1 },
		{ "MPOL_BIND", 2 },
		{ "MPOL_INTERLEAVE", 3 },
		{ "MPOL_LOCAL", 4 },
		{ "MPOL_PREFERRED_MANY", 5 },
		{ "MPOL_WEIGHTED_INTERLEAVE", 6 },
	};
	static const struct rd_name FLAGS[] = {
		{ "MPOL_F_STATIC_NODES", 1U << 15 },
		{ "MPOL_F_RELATIVE_NODES", 1U << 14 },
		{ "MPOL_F_NUMA_BALANCING", 1U << 13 },
	};
	const struct json *mode = rd_need(p, n, "mode", JSON_STRING);
	const struct json *flags = rd_array(p, n, "flags", 8, JSON_STRING), *f;
	uint64_t v;
	unsigned count;

	out->set = true;
	if (!mode || !rd_name(p, mode, MODES, ARRAY_SIZE(MODES), "mode", &v))
		return;
	out->mode = (unsigned)v;
	if (flags)
		json_for_each(f, flags)
		{
			if (!rd_name(p, f, FLAGS, ARRAY_SIZE(FLAGS), "flag", &v))
				return;
			out->flags |= (unsigned)v;
		}
	out->nodes = rd_string(p, n, "nodes");
	if (out->nodes && !rd_cpu_list(out->nodes, &count))
		rd_fail(p, n, "nodes", "%s is not a list of nodes", QUOTE(out->nodes));
}

static void read_rdt(struct rd *p, const struct json *n, struct spec_rdt *out)
{
	out->set = true;
	out->clos_id = rd_string(p, n, "closID");
	if (out->clos_id &&
		(strchr(out->clos_id, '/') || !strcmp(out->clos_id, ".") ||
			!strcmp(out->clos_id, "..")))
		rd_fail(p, n, "closID", "%s is not a file name", QUOTE(out->clos_id));
	out->l3_schema = rd_string(p, n, "l3CacheSchema");
	out->mem_bw_schema = rd_string(p, n, "memBwSchema");
	rd_strings(p, n, "schemata", 64, &out->schemata);
	out->monitoring = rd_bool(p, n, "enableMonitoring");
}

static void read_cgroups_path(struct rd *p, const struct json *n, struct spec_linux *out)
{
	const char *s = rd_string(p, n, "cgroupsPath");

	out->cgroups_path = s && *s ? s : NULL;
	if (s && strlen(s) > SPEC_LIM_PATH)
		rd_fail(p, n, "cgroupsPath", "the path is longer than %d bytes", SPEC_LIM_PATH);
	while (s && *s) {
		size_t len = strcspn(s, "/");

		if (len == 2 && !strncmp(s, "..", 2)) {
			rd_fail(p, n, "cgroupsPath", "must not contain \"..\"");
			return;
		}
		if (len > SPEC_LIM_NAME) {
			rd_fail(p, n, "cgroupsPath", "a name is longer than %d bytes",
				SPEC_LIM_NAME);
			return;
		}
		s += len + (s[len] == '/');
	}
}

static void read_user_maps(struct rd *p, const struct json *n, struct spec_linux *out)
{
	const struct spec_ns *user = &out->ns[SPEC_NS_USER];

	spec_read_id_maps(p, n, "uidMappings", &out->uid_maps);
	spec_read_id_maps(p, n, "gidMappings", &out->gid_maps);
	if (!user->set && (out->uid_maps.n || out->gid_maps.n))
		rd_fail(p, n, out->uid_maps.n ? "uidMappings" : "gidMappings",
			"needs a user namespace");
	/* Without any, a new namespace maps the caller alone: crun's own `spec --rootless` has
	 * none. */
	if (user->set && !user->path && !out->uid_maps.n != !out->gid_maps.n)
		rd_fail(p, n, out->uid_maps.n ? "gidMappings" : "uidMappings",
			"missing, user and group mappings go together");
}

void spec_read_linux(struct rd *p, const struct json *n, struct spec_linux *out)
{
	const struct json *part;
	const char *word;

	out->set = true;
	read_namespaces(p, n, out);
	read_user_maps(p, n, out);
	read_time_offsets(p, n, out);
	spec_read_devices(p, n, out);
	read_netdevs(p, n, out);
	read_cgroups_path(p, n, out);
	part = rd_get(p, n, "resources", JSON_OBJECT);
	if (part)
		spec_read_resources(p, part, &out->res);
	word = rd_string(p, n, "rootfsPropagation");
	if (word && *word && !spec_propagation(word, &out->rootfs_propagation))
		rd_fail(p, n, "rootfsPropagation", "unknown propagation %s", QUOTE(word));
	part = rd_get(p, n, "seccomp", JSON_OBJECT);
	if (part)
		spec_read_seccomp(p, part, &out->seccomp);
	read_sysctl(p, n, out);
	read_paths(p, n, "maskedPaths", &out->masked_paths);
	read_paths(p, n, "readonlyPaths", &out->readonly_paths);
	out->mount_label = rd_string(p, n, "mountLabel");
	part = rd_get(p, n, "intelRdt", JSON_OBJECT);
	if (part)
		read_rdt(p, part, &out->rdt);
	read_personality(p, n, out);
	part = rd_get(p, n, "memoryPolicy", JSON_OBJECT);
	if (part)
		read_mempolicy(p, part, &out->mempolicy);
}
