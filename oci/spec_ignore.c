// SPDX-License-Identifier: Apache-2.0
/* --ignore and the annotation krun-oci.ignore: refusals that are warnings for a container. */
/*
 * How it works
 *
 * Both list fields by the names that the refusals give them. Of each that may be ignored
 * there is a function here which takes out of the spec what the refusal found, so that nobody after
 * it sees the field: the container is as if the config did not ask. What cannot be left out like
 * that, since the container would be another one or a wall would be missing, is not in the table.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "oci/spec.h"
#include "oci/json_text.h"
#include "oci/mounts.h"
#include "util/err.h"
#include "util/util.h"

static void drop_mount_flags(struct spec *s)
{
	for (size_t i = 0; i < s->n_mounts; i++) {
		struct spec_mount *m = &s->mounts[i];

		m->set &= ~spec_refused_flags(m);
		/* what the host mounts is seen, what the guest mounts is the guest's */
		if (!mount_is_guests(m) && m->propagation & MS_SHARED)
			m->propagation = MS_SLAVE | (m->propagation & MS_REC);
	}
}

static void drop_devices(struct spec *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->linux_.n_devices; i++) {
		if (!spec_is_host_device(&s->linux_.devices[i]))
			s->linux_.devices[n++] = s->linux_.devices[i];
	}
	s->linux_.n_devices = n;
}

static void drop_sysctl(struct spec *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->linux_.n_sysctl; i++) {
		if (spec_sysctl_allowed(s->linux_.sysctl[i].key))
			s->linux_.sysctl[n++] = s->linux_.sysctl[i];
	}
	s->linux_.n_sysctl = n;
}

static void drop_unified(struct spec *s)
{
	struct spec_resources *r = &s->linux_.res;
	size_t n = 0;

	for (size_t i = 0; i < r->n_unified; i++) {
		if (spec_unified_side(r->unified[i].key) != SPEC_UNIFIED_NOBODY)
			r->unified[n++] = r->unified[i];
	}
	r->n_unified = n;
}

static void drop_leaf_weight(struct spec *s)
{
	struct spec_blkio *b = &s->linux_.res.blkio;

	b->leaf_weight = (struct opt_u32){ 0 };
	for (size_t i = 0; i < b->n_weight_devices; i++)
		b->weight_devices[i].leaf_weight = (struct opt_u32){ 0 };
}

static void drop_realtime(struct spec *s)
{
	s->linux_.res.cpu.rt_runtime = (struct opt_i64){ 0 };
	s->linux_.res.cpu.rt_period = (struct opt_u64){ 0 };
}

static void drop_net_class(struct spec *s)
{
	s->linux_.res.net_class = (struct opt_u32){ 0 };
	s->linux_.res.n_net_prios = 0;
}

/* A function whose work is one expression over `s`. */
#define DROP(name, expr)                        \
	static void drop_##name(struct spec *s) \
	{                                       \
		expr;                           \
	}

DROP(apparmor, s->process.apparmor_profile = NULL)
DROP(selinux, s->process.selinux_label = NULL)
DROP(mount_label, s->linux_.mount_label = NULL)
DROP(time_ns, s->linux_.ns[SPEC_NS_TIME].path = NULL)
DROP(netdevs, s->linux_.n_netdevs = 0)
/* a guest holds no device of the host, and rules about its own are nobody's to enforce */
DROP(device_rules, s->linux_.res.n_devices = 0)
DROP(swap, s->linux_.res.memory.swap = (struct opt_i64){ 0 })
DROP(swappiness, s->linux_.res.memory.swappiness = (struct opt_u64){ 0 })
DROP(oom_killer, s->linux_.res.memory.disable_oom_killer = false)
DROP(hugepages, s->linux_.res.n_hugepages = 0)
DROP(rdma, s->linux_.res.n_rdma = 0)
DROP(rdt, s->linux_.rdt.set = false)
DROP(mempolicy, s->linux_.mempolicy.set = false)
DROP(annotations, s->annotations_ignored = true)

static const struct {
	const char *field;
	void (*drop)(struct spec *s);
} SOFT[] = {
	{ "process.apparmorProfile", drop_apparmor },
	{ "process.selinuxLabel", drop_selinux },
	{ "mounts[].options", drop_mount_flags },
	{ "linux.mountLabel", drop_mount_label },
	{ "linux.namespaces.time.path", drop_time_ns },
	{ "linux.devices", drop_devices },
	{ "linux.netDevices", drop_netdevs },
	{ "linux.resources.devices", drop_device_rules },
	{ "linux.resources.memory.swap", drop_swap },
	{ "linux.resources.memory.swappiness", drop_swappiness },
	{ "linux.resources.memory.disableOOMKiller", drop_oom_killer },
	{ "linux.resources.cpu.realtimeRuntime", drop_realtime },
	{ "linux.resources.blockIO.leafWeight", drop_leaf_weight },
	{ "linux.resources.hugepageLimits", drop_hugepages },
	{ "linux.resources.network", drop_net_class },
	{ "linux.resources.rdma", drop_rdma },
	{ "linux.resources.unified", drop_unified },
	{ "linux.sysctl", drop_sysctl },
	{ "linux.intelRdt", drop_rdt },
	{ "linux.memoryPolicy", drop_mempolicy },
	{ "annotations", drop_annotations },
};

const char *spec_ignorable(size_t i)
{
	return i < ARRAY_SIZE(SOFT) ? SOFT[i].field : NULL;
}

/* The next word of a list with commas and blanks between; false at its end. */
static bool next_word(const char **list, const char **word, size_t *len)
{
	*word = *list + strspn(*list, ", ");
	*len = strcspn(*word, ", ");
	*list = *word + *len;
	return *len;
}

static bool listed(const char *list, const char *field)
{
	const char *word;
	size_t len;

	while (list && next_word(&list, &word, &len)) {
		if (len == strlen(field) && !strncmp(word, field, len))
			return true;
	}
	return false;
}

bool spec_ignores(const struct spec *by, const char *field)
{
	return listed(by->ignore, field);
}

char *spec_ignore_join(const char *a, const char *b)
{
	size_t size = 1, used = 0;
	char *out;

	for (size_t i = 0; i < ARRAY_SIZE(SOFT); i++)
		size += strlen(SOFT[i].field) + 1;
	out = calloc(1, size);
	for (size_t i = 0; out && i < ARRAY_SIZE(SOFT); i++) {
		if (listed(a, SOFT[i].field) || listed(b, SOFT[i].field))
			used += (size_t)snprintf(
				out + used, size - used, "%s%s", used ? "," : "", SOFT[i].field);
	}
	return out;
}

static int unknown(const char *where, const char *word, size_t len, struct error *e)
{
	char name[80];

	(void)snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name) - 1), word);
	return err_set(e, EINVAL, "%s: %s %s", where, QUOTE(name),
		spec_is_refused(name) ? "is a refusal that cannot be ignored"
				      : "is no field that can be ignored");
}

/* In the table; its end when it is not there. */
static size_t find(const char *word, size_t len)
{
	size_t i = 0;

	while (i < ARRAY_SIZE(SOFT) &&
		(strlen(SOFT[i].field) != len || strncmp(word, SOFT[i].field, len) != 0))
		i++;
	return i;
}

int spec_check_ignore(const char *list, const char *where, struct error *e)
{
	const char *word;
	size_t len;

	while (next_word(&list, &word, &len)) {
		if (find(word, len) == ARRAY_SIZE(SOFT))
			return unknown(where, word, len, e);
	}
	return 0;
}

int spec_ignore(struct spec *s, const struct spec *by, struct error *e)
{
	const char *list = by->ignore, *word;
	size_t len;

	while (list && next_word(&list, &word, &len)) {
		size_t i = find(word, len);

		if (i == ARRAY_SIZE(SOFT))
			return unknown(
				"config.json: annotations[\"" SPEC_IGNORE_KEY "\"]", word, len, e);
		spec_warn_refusals(s, SOFT[i].field);
		SOFT[i].drop(s);
	}
	return 0;
}
