// SPDX-License-Identifier: Apache-2.0
/* The config that `krun-oci spec` writes. */
/*
 * How it works
 *
 * It is written by calls in the order that people expect to read it, with values that other
 * runtimes write as well, so that a bundle made here runs there. It is the start for editing, so it
 * states what could be left out: masked paths, namespaces, a read-only root, no new privileges.
 *
 * Rootless means one id mapped onto the caller, and what does not work with it goes: the group of
 * /dev/pts, the network namespace (a user namespace stands in its place), the device rules.
 */
#include "oci/json_write.h"
#include "oci/spec.h"
#include "util/util.h"

#define LIST(w, key, ...)                                           \
	do {                                                        \
		static const char *const list_[] = { __VA_ARGS__ }; \
		jw_strings((w), (key), list_, ARRAY_SIZE(list_));   \
	} while (0)

static void process(struct json_writer *w)
{
	static const char *const CAPS[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE" };
	static const char *const SETS[] = { "bounding", "effective", "permitted" };

	jw_object(w, "process");
	jw_bool(w, "terminal", true);
	jw_object(w, "user");
	jw_u64(w, "uid", 0);
	jw_u64(w, "gid", 0);
	jw_end(w);
	LIST(w, "args", "sh");
	LIST(w, "env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TERM=xterm");
	jw_string(w, "cwd", "/");
	jw_object(w, "capabilities");
	for (size_t i = 0; i < ARRAY_SIZE(SETS); i++)
		jw_strings(w, SETS[i], CAPS, ARRAY_SIZE(CAPS));
	jw_end(w);
	jw_array(w, "rlimits");
	jw_object(w, NULL);
	jw_string(w, "type", "RLIMIT_NOFILE");
	jw_u64(w, "hard", 1024);
	jw_u64(w, "soft", 1024);
	jw_end(w);
	jw_end(w);
	jw_bool(w, "noNewPrivileges", true);
	jw_end(w);
}

static void mount(struct json_writer *w, const char *destination, const char *type,
	const char *source, const char *const *options, size_t n)
{
	jw_object(w, NULL);
	jw_string(w, "destination", destination);
	jw_string(w, "type", type);
	jw_string(w, "source", source);
	if (n)
		jw_strings(w, "options", options, n);
	jw_end(w);
}

#define MOUNT(w, destination, type, source, ...)                                             \
	do {                                                                                 \
		static const char *const options_[] = { __VA_ARGS__ };                       \
		mount((w), (destination), (type), (source), options_, ARRAY_SIZE(options_)); \
	} while (0)

static void mounts(struct json_writer *w, bool rootless)
{
	jw_array(w, "mounts");
	mount(w, "/proc", "proc", "proc", NULL, 0);
	MOUNT(w, "/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k");
	/* The group tty has no number in a user namespace of one id. */
	if (rootless)
		MOUNT(w, "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance",
			"ptmxmode=0666", "mode=0620");
	else
		MOUNT(w, "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance",
			"ptmxmode=0666", "mode=0620", "gid=5");
	MOUNT(w, "/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777",
		"size=65536k");
	MOUNT(w, "/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev");
	MOUNT(w, "/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro");
	MOUNT(w, "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime",
		"ro");
	jw_end(w);
}

static void mapping(struct json_writer *w, const char *key, uint32_t host)
{
	jw_array(w, key);
	jw_object(w, NULL);
	jw_u64(w, "containerID", 0);
	jw_u64(w, "hostID", host);
	jw_u64(w, "size", 1);
	jw_end(w);
	jw_end(w);
}

static void namespaces(struct json_writer *w, bool rootless)
{
	static const enum spec_ns_type TYPES[] = { SPEC_NS_PID, SPEC_NS_IPC, SPEC_NS_UTS,
		SPEC_NS_CGROUP, SPEC_NS_MOUNT };
	size_t n = ARRAY_SIZE(TYPES) + 1;

	jw_array(w, "namespaces");
	for (size_t i = 0; i < n; i++) {
		enum spec_ns_type last = rootless ? SPEC_NS_USER : SPEC_NS_NETWORK;

		jw_object(w, NULL);
		jw_string(w, "type", spec_ns_name(i < ARRAY_SIZE(TYPES) ? TYPES[i] : last));
		jw_end(w);
	}
	jw_end(w);
}

static void linux_section(struct json_writer *w, bool rootless, uint32_t uid, uint32_t gid)
{
	jw_object(w, "linux");
	if (rootless) {
		mapping(w, "uidMappings", uid);
		mapping(w, "gidMappings", gid);
	} else {
		jw_object(w, "resources");
		jw_array(w, "devices");
		jw_object(w, NULL);
		jw_bool(w, "allow", false);
		jw_string(w, "access", "rwm");
		jw_end(w);
		jw_end(w);
		jw_end(w);
	}
	namespaces(w, rootless);
	LIST(w, "maskedPaths", "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
		"/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
		"/proc/scsi", "/sys/firmware");
	LIST(w, "readonlyPaths", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
		"/proc/sysrq-trigger");
	jw_end(w);
}

int spec_default(bool rootless, uint32_t uid, uint32_t gid, char **out, size_t *len)
{
	struct json_writer w;

	jw_init(&w, true);
	jw_object(&w, NULL);
	jw_string(&w, "ociVersion", "1.2.0");
	process(&w);
	jw_object(&w, "root");
	jw_string(&w, "path", "rootfs");
	jw_bool(&w, "readonly", true);
	jw_end(&w);
	jw_string(&w, "hostname", "krun");
	mounts(&w, rootless);
	linux_section(&w, rootless, uid, gid);
	return jw_finish(&w, out, len);
}
