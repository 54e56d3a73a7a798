// SPDX-License-Identifier: Apache-2.0
/* What a config may ask for and this version does not give: refused by name, never ignored. */
/*
 * How it works: one table row per field: how it is called, why not, and a function that finds it in
 * a spec. A finder may give the exact place (an index, a key) in `where`. To honour a field, delete
 * its row: `features` asks the same table.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "oci/apparmor.h"
#include "oci/spec.h"
#include "oci/json_text.h"
#include "oci/mount_fs.h"
#include "oci/mounts.h"
#include "util/err.h"
#include "util/log.h"
#include "util/util.h"

#define WHERE_MAX 160

struct row {
	const char *field;
	bool (*found)(const struct spec *s, char where[static WHERE_MAX]);
	const char *why;
};

static bool idmap(const struct spec *s, char where[static WHERE_MAX])
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (s->mounts[i].idmap &&
			(s->mounts[i].kind != SPEC_MNT_BIND || s->mounts[i].from_host ||
				(!s->mounts[i].uid_maps.n && !s->linux_.ns[SPEC_NS_USER].set))) {
			(void)snprintf(where, WHERE_MAX, "mounts[%zu].%s", i,
				s->mounts[i].idmap_option ? "options" : "uidMappings");
			return true;
		}
	return false;
}

static bool other_fs(const struct spec *s, char where[static WHERE_MAX])
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (s->mounts[i].kind == SPEC_MNT_OTHER && !mount_fs_type(s->mounts[i].type)) {
			(void)snprintf(where, WHERE_MAX, "mounts[%zu].type: %s", i,
				QUOTE(s->mounts[i].type));
			return true;
		}
	return false;
}

/* The character devices that a guest has by itself. */
static bool guest_device(int64_t major, int64_t minor)
{
	static const struct {
		uint16_t major, minor;
	} KNOWN[] = {
		{ 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 },
		{ 1, 9 },			       /* null zero full random urandom */
		{ 5, 0 }, { 5, 1 }, { 5, 2 },	       /* tty console ptmx */
		{ 10, 200 }, { 10, 229 }, { 10, 232 }, /* net/tun fuse kvm */
	};

	for (size_t i = 0; i < ARRAY_SIZE(KNOWN); i++)
		if (major == KNOWN[i].major && minor == KNOWN[i].minor)
			return true;
	return false;
}

bool spec_host_has_selinux(void)
{
	return !access("/sys/fs/selinux/enforce", F_OK);
}

/* A node of a number that no driver has opens nowhere: in the guest it says so as on the host. */
static bool host_has(const struct spec_device *d)
{
	char path[48];

	(void)snprintf(path, sizeof(path), "/sys/dev/%s/%u:%u", d->type == 'b' ? "block" : "char",
		d->major, d->minor);
	return !access(path, F_OK) || errno != ENOENT;
}

bool spec_is_host_device(const struct spec_device *d)
{
	return d->type != 'p' && !(d->type == 'c' && guest_device(d->major, d->minor)) &&
		host_has(d);
}

static bool host_device(const struct spec *s, char where[static WHERE_MAX])
{
	for (size_t i = 0; i < s->linux_.n_devices; i++) {
		const struct spec_device *d = &s->linux_.devices[i];

		if (!spec_is_host_device(d))
			continue;
		(void)snprintf(where, WHERE_MAX, "linux.devices[%zu]: %s (%c %u:%u)", i,
			QUOTE(d->path), d->type, d->major, d->minor);
		return true;
	}
	return false;
}

static bool either_any(int64_t a, int64_t b)
{
	return a < 0 || b < 0 || a == b;
}

/* True when nothing that rule @i denies is allowed by those before it, as all of it was denied. */
static bool denied_before(const struct spec_resources *r, size_t i)
{
	const struct spec_dev_rule *d = &r->devices[i];

	while (i--) {
		const struct spec_dev_rule *b = &r->devices[i];

		if ((b->type != 'a' && d->type != 'a' && b->type != d->type) ||
			!either_any(b->major, d->major) || !either_any(b->minor, d->minor) ||
			!((b->r && d->r) || (b->w && d->w) || (b->m && d->m)))
			continue;
		if (b->allow)
			return false;
		if ((b->type == 'a' || b->type == d->type) &&
			(b->major < 0 || b->major == d->major) &&
			(b->minor < 0 || b->minor == d->minor) && b->r >= d->r && b->w >= d->w &&
			b->m >= d->m)
			return true;
	}
	return false;
}

/*
 * A guest holds no device of the host, so to allow one costs and gives nothing, and to deny all of
 * them is what is. To deny one of the guest's own is a rule that somebody would have to enforce in
 * there.
 */
static bool device_rule(const struct spec *s, char where[static WHERE_MAX])
{
	const struct spec_resources *r = &s->linux_.res;

	for (size_t i = 0; i < r->n_devices; i++) {
		const struct spec_dev_rule *d = &r->devices[i];

		if (d->allow || d->type == 'b' || (d->type == 'a' && d->major < 0 && d->minor < 0))
			continue;
		if (d->major >= 0 && d->minor >= 0 && !guest_device(d->major, d->minor))
			continue;
		if (denied_before(r, i))
			continue;
		(void)snprintf(where, WHERE_MAX, "linux.resources.devices[%zu]", i);
		return true;
	}
	return false;
}

bool spec_sysctl_allowed(const char *key)
{
	static const char *const NAMES[] = {
		"kernel.hostname",
		"kernel.domainname",
		"kernel.sem",
		"kernel.msgmax",
		"kernel.msgmnb",
		"kernel.msgmni",
		"kernel.msg_next_id",
		"kernel.shmmax",
		"kernel.shmall",
		"kernel.shmmni",
		"kernel.shm_rmid_forced",
		"kernel.shm_next_id",
		"kernel.sem_next_id",
	};

	if (!strncmp(key, "net.", 4) || !strncmp(key, "fs.mqueue.", 10))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++)
		if (!strcmp(key, NAMES[i]))
			return true;
	return false;
}

static bool sysctl(const struct spec *s, char where[static WHERE_MAX])
{
	for (size_t i = 0; i < s->linux_.n_sysctl; i++)
		if (!spec_sysctl_allowed(s->linux_.sysctl[i].key)) {
			(void)snprintf(where, WHERE_MAX, "linux.sysctl[%s]",
				QUOTE(s->linux_.sysctl[i].key));
			return true;
		}
	return false;
}

static bool hugepages(const struct spec *s, char where[static WHERE_MAX])
{
	/* None is what a guest without huge page pools has anyway. */
	for (size_t i = 0; i < s->linux_.res.n_hugepages; i++)
		if (s->linux_.res.hugepages[i].limit) {
			(void)snprintf(where, WHERE_MAX, "linux.resources.hugepageLimits[%zu]", i);
			return true;
		}
	return false;
}

static bool leaf_weight(const struct spec *s, char where[static WHERE_MAX])
{
	const struct spec_blkio *b = &s->linux_.res.blkio;

	for (size_t i = 0; i < b->n_weight_devices; i++)
		if (b->weight_devices[i].leaf_weight.v) {
			(void)snprintf(where, WHERE_MAX,
				"linux.resources.blockIO.weightDevice[%zu].leafWeight", i);
			return true;
		}
	return b->leaf_weight.v;
}

static bool many_throttles(const struct spec *s, char where[static WHERE_MAX])
{
	const struct spec_blkio *b = &s->linux_.res.blkio;

	(void)where;
	return b->n_weight_devices + b->read_bps.n + b->write_bps.n + b->read_iops.n +
		b->write_iops.n >
		SPEC_MAX_THROTTLES;
}

static bool unified(const struct spec *s, char where[static WHERE_MAX])
{
	for (size_t i = 0; i < s->linux_.res.n_unified; i++)
		if (spec_unified_side(s->linux_.res.unified[i].key) == SPEC_UNIFIED_NOBODY) {
			(void)snprintf(where, WHERE_MAX, "linux.resources.unified[%s]",
				QUOTE(s->linux_.res.unified[i].key));
			return true;
		}
	return false;
}

bool spec_annotation_on(const char *value)
{
	return value && *value && strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}

static bool annotations(const struct spec *s, char where[static WHERE_MAX])
{
	static const char *const KEYS[] = {
		"krun.gpu_flags",
		"krun.nested_virt",
		"krun.variant",
	};

	for (size_t i = 0; !s->annotations_ignored && i < ARRAY_SIZE(KEYS); i++)
		if (spec_annotation_on(spec_annotation(s, KEYS[i]))) {
			(void)snprintf(where, WHERE_MAX, "annotations[\"%s\"]", KEYS[i]);
			return true;
		}
	return false;
}

static bool handler(const struct spec *s, char where[static WHERE_MAX])
{
	const char *h = spec_annotation(s, "run.oci.handler");

	(void)where;
	return h && strcmp(h, "krun") != 0;
}

unsigned long spec_refused_flags(const struct spec_mount *m)
{
	bool fresh = m->kind == SPEC_MNT_TMPFS || m->kind == SPEC_MNT_OTHER;

	return m->set & SPEC_SUPER_FLAGS & (fresh ? ~SPEC_NEW_FS_FLAGS : ~0UL);
}

/* The host would have to see what the guest mounts. */
static bool shared_bind(const struct spec *s, char where[static WHERE_MAX])
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (!mount_is_guests(&s->mounts[i]) && (s->mounts[i].propagation & MS_SHARED)) {
			(void)snprintf(where, WHERE_MAX, "mounts[%zu].options", i);
			return true;
		}
	return false;
}

static bool super_flags(const struct spec *s, char where[static WHERE_MAX])
{
	for (size_t i = 0; i < s->n_mounts; i++)
		if (spec_refused_flags(&s->mounts[i])) {
			(void)snprintf(where, WHERE_MAX, "mounts[%zu].options", i);
			return true;
		}
	return false;
}

/* A row whose condition is one expression over `s`. */
#define WHEN(name, expr)                                                     \
	static bool name(const struct spec *s, char where[static WHERE_MAX]) \
	{                                                                    \
		(void)where;                                                 \
		return (expr);                                               \
	}

WHEN(mount_ns, s->linux_.ns[SPEC_NS_MOUNT].path)
WHEN(pid_ns, s->linux_.ns[SPEC_NS_PID].path)
WHEN(time_ns, s->linux_.ns[SPEC_NS_TIME].path)
WHEN(netdevs, s->linux_.n_netdevs)
/* The spec's swap is memory and swap together. */
WHEN(swap_alone, s->linux_.res.memory.swap.v > 0 && s->linux_.res.memory.limit.v <= 0)
WHEN(swappiness, s->linux_.res.memory.swappiness.set)
WHEN(oom_killer, s->linux_.res.memory.disable_oom_killer)
WHEN(realtime, s->linux_.res.cpu.rt_runtime.v || s->linux_.res.cpu.rt_period.v)
WHEN(net_class, s->linux_.res.net_class.v || s->linux_.res.n_net_prios)
WHEN(rdma, s->linux_.res.n_rdma)
WHEN(notify, s->linux_.seccomp.notify || s->linux_.seccomp.listener_path)
WHEN(rdt, s->linux_.rdt.set)
WHEN(mempolicy, s->linux_.mempolicy.set)
WHEN(hypervisor, s->vm.hypervisor || s->vm.hypervisor_params.n)
WHEN(initrd, s->vm.initrd)
WHEN(image, s->vm.image)
WHEN(vm_devices, s->vm.device_tree || s->vm.n_dtdevs || s->vm.n_iomems || s->vm.n_irqs)

static const struct row ROWS[] = {
	{ "mounts[].uidMappings", idmap,
		"only the ids of a bind mount can be mapped, by mappings of its own or a user namespace's" },
	{ "mounts[].options", super_flags,
		"mand, iversion and remount are not supported by this version, and sync, dirsync "
		"and lazytime for a tmpfs and what the host mounts only: other file systems are there already" },
	{ "mounts[].options", shared_bind,
		"shared propagation is not supported, the guest's mounts cannot reach the host" },
	{ "mounts[].type", other_fs,
		"the host mounts overlays and network file systems for a container; what takes a "
		"device, or shows the host's kernel, is not one of them" },
	{ "linux.namespaces.mount.path", mount_ns,
		"a mount namespace cannot be joined, the container's tree is made in a new one" },
	{ "linux.namespaces.pid.path", pid_ns,
		"a pid namespace cannot be shared, processes of a guest are not the host's" },
	{ "linux.namespaces.time.path", time_ns,
		"a time namespace cannot be joined, that of a container is its guest's" },
	{ "linux.devices", host_device, "the guest has no such device" },
	{ "linux.netDevices", netdevs, "not supported by this version" },
	{ "linux.resources.devices", device_rule,
		"to deny one of the guest's own devices is not supported by this version" },
	{ "linux.resources.memory.swap", swap_alone,
		"it includes memory, so it needs linux.resources.memory.limit" },
	{ "linux.resources.memory.swappiness", swappiness, "cgroup v2 has no such setting" },
	{ "linux.resources.memory.disableOOMKiller", oom_killer, "cgroup v2 has no such setting" },
	{ "linux.resources.cpu.realtimeRuntime", realtime, "cgroup v2 has no such setting" },
	{ "linux.resources.blockIO.leafWeight", leaf_weight, "cgroup v2 has no such setting" },
	{ "linux.resources.blockIO", many_throttles, "more entries than are supported (32)" },
	{ "linux.resources.hugepageLimits", hugepages, "not supported by this version" },
	{ "linux.resources.network", net_class, "cgroup v2 has no such setting" },
	{ "linux.resources.rdma", rdma, "not supported by this version" },
	{ "linux.resources.unified", unified,
		"this cgroup file is not supported, or it is set by another field" },
	{ "linux.seccomp.listenerPath", notify,
		"seccomp notification is not supported, the notifying process is inside a guest" },
	{ "linux.sysctl", sysctl, "not a setting of a namespace of the container" },
	{ "linux.intelRdt", rdt, "not supported by this version" },
	{ "linux.memoryPolicy", mempolicy, "not supported by this version" },
	{ "vm.hypervisor", hypervisor, "the hypervisor is built in" },
	{ "vm.kernel.initrd", initrd, "the initrd is the runtime's own: it brings the agent" },
	{ "vm.image", image, "not supported by this version" },
	{ "vm.hwConfig", vm_devices,
		"devices and interrupts of the host cannot be given to a guest" },
	{ "annotations", annotations, "not supported by this version" },
	{ "annotations[\"run.oci.handler\"]", handler, "only \"krun\" is supported" },
};

int spec_refusals(const struct spec *s, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
		char where[WHERE_MAX] = "";

		if (!ROWS[i].found(s, where))
			continue;
		return err_set(e, ENOTSUP, "config.json: %s: %s", where[0] ? where : ROWS[i].field,
			ROWS[i].why);
	}
	return 0;
}

void spec_warn_refusals(const struct spec *s, const char *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
		char where[WHERE_MAX] = "";

		if (!strcmp(field, ROWS[i].field) && ROWS[i].found(s, where))
			log_warn("config.json: %s: ignored: %s", where[0] ? where : field,
				ROWS[i].why);
	}
	/* not in the table, as they depend on the host */
	if (!strcmp(field, "process.apparmorProfile") && s->process.apparmor_profile &&
		apparmor_on())
		log_warn("config.json: %s: ignored: the profile of the caller stays", field);
	else if ((!strcmp(field, "process.selinuxLabel") || !strcmp(field, "linux.mountLabel")) &&
		(s->process.selinux_label || s->linux_.mount_label) && spec_host_has_selinux())
		log_warn("config.json: %s: ignored: this version applies no SELinux label", field);
}

bool spec_is_refused(const char *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++)
		if (!strcmp(field, ROWS[i].field))
			return true;
	return false;
}

const char *spec_refused_field(size_t i)
{
	return i < ARRAY_SIZE(ROWS) ? ROWS[i].field : NULL;
}

int spec_check_lsm(const struct spec *s, bool selinux, struct error *e)
{
	const char *label = s->process.selinux_label, *mounts = s->linux_.mount_label;

	if (label && *label && selinux)
		return err_set(e, ENOTSUP,
			"config.json: process.selinuxLabel: %s, but this version applies "
			"no SELinux label",
			QUOTE(label));
	if (mounts && *mounts && selinux)
		return err_set(e, ENOTSUP,
			"config.json: linux.mountLabel: %s, but this version applies "
			"no SELinux label",
			QUOTE(mounts));
	return 0;
}
