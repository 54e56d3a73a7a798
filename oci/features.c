// SPDX-License-Identifier: Apache-2.0
/* The output of `krun-oci features`. */
#include "config.h"

#include <string.h>

#include "oci/caps.h"
#include "oci/json_write.h"
#include "oci/spec.h"
#include "util/util.h"

#ifdef HAVE_SYSTEMD
#define SYSTEMD true
#else
#define SYSTEMD false
#endif

static const char *hook(size_t i)
{
	return i < SPEC_HOOK_KINDS ? spec_hook_name((enum spec_hook_kind)i) : NULL;
}

static const char *capability(size_t i)
{
	return cap_bit_name((int)i);
}

static void words(struct json_writer *w, const char *key, const char *(*word)(size_t))
{
	jw_array(w, key);
	for (size_t i = 0; word(i); i++)
		jw_string(w, NULL, word(i));
	jw_end(w);
}

/* Words that a refusal takes away are not listed. */
static const char *const TAKEN_AWAY[][2] = {
	{ "SCMP_ACT_NOTIFY", "linux.seccomp.listenerPath" },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "linux.seccomp.listenerPath" },
	{ "mand", "mounts[].options" },
	{ "iversion", "mounts[].options" },
	{ "remount", "mounts[].options" },
	{ "shared", "mounts[].options" },
	{ "rshared", "mounts[].options" },
};

static bool taken_away(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(TAKEN_AWAY); i++)
		if (!strcmp(word, TAKEN_AWAY[i][0]) && spec_is_refused(TAKEN_AWAY[i][1]))
			return true;
	return false;
}

static void mount_options(struct json_writer *w)
{
	const char *word;

	jw_array(w, "mountOptions");
	for (size_t i = 0; (word = spec_mount_option(i)); i++)
		if (!taken_away(word))
			jw_string(w, NULL, word);
	jw_end(w);
}

static void enabled(struct json_writer *w, const char *key, bool yes)
{
	jw_object(w, key);
	jw_bool(w, "enabled", yes);
	jw_end(w);
}

static void seccomp_words(
	struct json_writer *w, const char *key, enum spec_seccomp_list list, bool all)
{
	const char *word;

	jw_array(w, key);
	for (size_t i = 0; (word = spec_seccomp_word(list, i)); i++)
		if (all || !taken_away(word))
			jw_string(w, NULL, word);
	jw_end(w);
}

static void seccomp(struct json_writer *w)
{
	jw_object(w, "seccomp");
	jw_bool(w, "enabled", true);
	seccomp_words(w, "actions", SPEC_SECCOMP_ACTIONS, false);
	seccomp_words(w, "operators", SPEC_SECCOMP_OPERATORS, false);
	seccomp_words(w, "archs", SPEC_SECCOMP_ARCHS, false);
	seccomp_words(w, "knownFlags", SPEC_SECCOMP_FLAGS, true);
	seccomp_words(w, "supportedFlags", SPEC_SECCOMP_FLAGS, false);
	jw_end(w);
}

static void linux_section(struct json_writer *w)
{
	jw_object(w, "linux");
	jw_array(w, "namespaces");
	for (int t = 0; t < SPEC_NS_TYPES; t++)
		if (!taken_away(spec_ns_name((enum spec_ns_type)t)))
			jw_string(w, NULL, spec_ns_name((enum spec_ns_type)t));
	jw_end(w);
	words(w, "capabilities", capability);
	jw_object(w, "cgroup");
	jw_bool(w, "v1", false);
	jw_bool(w, "v2", true);
	jw_bool(w, "systemd", SYSTEMD);
	jw_bool(w, "systemdUser", SYSTEMD);
	jw_bool(w, "rdma", !spec_is_refused("linux.resources.rdma"));
	jw_end(w);
	seccomp(w);
	enabled(w, "apparmor", true);
	enabled(w, "selinux", false);
	enabled(w, "intelRdt", !spec_is_refused("linux.intelRdt"));
	enabled(w, "memoryPolicy", !spec_is_refused("linux.memoryPolicy"));
	jw_object(w, "mountExtensions");
	enabled(w, "idmap", true);
	jw_end(w);
	enabled(w, "netDevices", !spec_is_refused("linux.netDevices"));
	jw_end(w);
}

int features_json(const char *version, char **out, size_t *len)
{
	static const char *const UNSAFE[] = { "krun.", "krun-oci.", "run.oci.",
		"io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType" };
	struct json_writer w;

	jw_init(&w, true);
	jw_object(&w, NULL);
	jw_string(&w, "ociVersionMin", "1.0.0");
	jw_string(&w, "ociVersionMax", SPEC_VERSION);
	words(&w, "hooks", hook);
	mount_options(&w);
	linux_section(&w);
	jw_object(&w, "annotations");
	jw_string(&w, "krun-oci.version", version);
	jw_end(&w);
	jw_strings(&w, "potentiallyUnsafeConfigAnnotations", UNSAFE, ARRAY_SIZE(UNSAFE));
	return jw_finish(&w, out, len);
}
