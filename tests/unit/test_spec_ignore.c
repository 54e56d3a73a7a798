// SPDX-License-Identifier: Apache-2.0
/* The annotation krun-oci.ignore: which refusals it turns into warnings, and what is left then. */
#include <errno.h>
#include <sys/mount.h>

#include "oci/spec.h"
#include "tests/unit/bad_configs/make.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"

#define HEAD "{'ociVersion':'1.2.1','root':{'path':'rootfs'},"

/* @text with ' for "; NULL and the message on the screen when it does not parse. */
static struct spec *parse(const char *text)
{
	CLEAN_FREE char *json = json_of(text);
	struct error e = { 0 };
	struct spec *s;

	if (spec_parse(json, strlen(json), &s, &e))
		printf("# %s\n", e.msg);
	return s;
}

/* Each field that may be ignored, with what refuses it: so it is gone, and what is beside it stays.
 */
static void ignored(void)
{
	static const struct {
		const char *field, *text;
	} t[] = {
		{ "mounts[].options",
			"'mounts':[{'destination':'/a','source':'/a','options':['rbind','rshared',"
			"'sync','nosuid']},{'destination':'/t','type':'tmpfs','options':['shared',"
			"'lazytime','iversion']}]" },
		{ "linux.namespaces.time.path",
			"'linux':{'namespaces':[{'type':'time','path':'/proc/1/ns/time'}]}" },
		{ "linux.devices",
			"'linux':{'devices':[{'path':'/dev/null','type':'c','major':1,'minor':3},"
			"{'path':'/dev/kmsg','type':'c','major':1,'minor':11},{'path':'/dev/zero',"
			"'type':'c','major':1,'minor':5}]}" },
		{ "linux.netDevices", "'linux':{'netDevices':{'eth0':{}}}" },
		{ "linux.resources.devices",
			"'linux':{'resources':{'devices':[{'allow':false,'type':'c','major':10,"
			"'minor':229,'access':'rwm'}]}}" },
		{ "linux.resources.memory.swap", "'linux':{'resources':{'memory':{'swap':4096}}}" },
		{ "linux.resources.memory.swappiness",
			"'linux':{'resources':{'memory':{'swappiness':60}}}" },
		{ "linux.resources.memory.disableOOMKiller",
			"'linux':{'resources':{'memory':{'disableOOMKiller':true}}}" },
		{ "linux.resources.cpu.realtimeRuntime",
			"'linux':{'resources':{'cpu':{'realtimeRuntime':1,'realtimePeriod':2000}}}" },
		{ "linux.resources.blockIO.leafWeight",
			"'linux':{'resources':{'blockIO':{'leafWeight':10,'weightDevice':[{'major':8,"
			"'minor':0,'leafWeight':10}]}}}" },
		{ "linux.resources.hugepageLimits",
			"'linux':{'resources':{'hugepageLimits':[{'pageSize':'2MB','limit':1}]}}" },
		{ "linux.resources.network",
			"'linux':{'resources':{'network':{'classID':5,'priorities':[{'name':'lo',"
			"'priority':1}]}}}" },
		{ "linux.resources.rdma",
			"'linux':{'resources':{'rdma':{'mlx5_1':{'hcaHandles':3}}}}" },
		{ "linux.resources.unified",
			"'linux':{'resources':{'unified':{'cpu.weight':'5','misc.max':'x 1',"
			"'memory.high':'4096'}}}" },
		{ "linux.sysctl",
			"'linux':{'sysctl':{'net.core.somaxconn':'5','vm.swappiness':'1',"
			"'kernel.msgmax':'9'}}" },
		{ "linux.intelRdt", "'linux':{'intelRdt':{'l3CacheSchema':'L3:0=f'}}" },
		{ "linux.memoryPolicy",
			"'linux':{'memoryPolicy':{'mode':'MPOL_BIND','nodes':'0'}}" },
		{ "annotations", NULL },
	};
	struct error e;
	char text[1024];
	size_t seen = 0;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		for (int with = 0; with < 2; with++) {
			CLEAN(spec_freep) struct spec *s = NULL;

			(void)snprintf(text, sizeof(text),
				HEAD "'annotations':{'krun-oci.ignore':' %s,'%s}%s%s}",
				with ? t[i].field : "", t[i].text ? "" : ",'krun.variant':'sev'",
				t[i].text ? "," : "", t[i].text ? t[i].text : "");
			s = parse(text);
			CHECK(s);
			e = (struct error){ 0 };
			CHECK_EQ(spec_ignore(s, s, &e), 0);
			CHECK_EQ(spec_ignores(s, t[i].field), with);
			CHECK_EQ(spec_refusals(s, &e), with ? 0 : -ENOTSUP);
			if (!with)
				continue;
			/* what is right stays */
			if (s->n_mounts == 2) {
				CHECK_EQ(s->mounts[0].set, MS_NOSUID);
				CHECK_EQ(s->mounts[0].propagation, MS_SLAVE | MS_REC);
				CHECK_EQ(s->mounts[1].set, MS_LAZYTIME);
				CHECK_EQ(s->mounts[1].propagation, MS_SHARED);
			}
			if (!strcmp(t[i].field, "linux.devices")) {
				CHECK_EQ(s->linux_.n_devices, 2);
				CHECK_STR(s->linux_.devices[1].path, "/dev/zero");
			}
			if (!strcmp(t[i].field, "linux.resources.unified"))
				CHECK_EQ(s->linux_.res.n_unified, 2);
			if (!strcmp(t[i].field, "linux.sysctl"))
				CHECK_EQ(s->linux_.n_sysctl, 2);
		}
	}
	/* all of the table but the three that depend on the host */
	for (const char *f; (f = spec_ignorable(seen)); seen++)
		CHECK(spec_is_refused(f) || strstr(f, "apparmor") || strstr(f, "selinux") ||
			strstr(f, "mountLabel"));
	CHECK_EQ(seen, ARRAY_SIZE(t) + 3);
}

/* What would be another container, or lack a wall, and what is misspelled. */
static void not_ignored(void)
{
	static const char *const words[] = { "linux.namespaces.pid.path", "mounts[].type",
		"linux.seccomp.listenerPath", "linux.device", "linux.devices[0]", "*", "x" };
	char text[512];

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		CLEAN(spec_freep) struct spec *s = NULL;
		struct error e = { 0 };

		(void)snprintf(text, sizeof(text),
			HEAD "'annotations':{'krun-oci.ignore':'linux.devices,%s'}}", words[i]);
		s = parse(text);
		CHECK(s);
		CHECK_EQ(spec_ignore(s, s, &e), -EINVAL);
		CHECK(strstr(e.msg, "annotations[\"krun-oci.ignore\"]: \""));
		CHECK(strstr(e.msg, words[i]));
		CHECK_EQ(!!strstr(e.msg, "cannot be ignored"), i < 3);
	}
}

/* What an image must not set, unless the caller answers for it. */
static void trusted_annotations(void)
{
	static const struct {
		const char *annotation;
		bool own;
	} t[] = {
		{ "'krun-oci.ignore':''", true },
		{ "'krun-oci.disk.0':'/dev/sda'", true },
		{ "'krun-oci.disk.7':'/'", true },
		{ "'run.oci.hooks.stdout':'/etc/cron.d/x'", true },
		{ "'run.oci.hooks.stderr':'x'", true },
		{ "'krun-oci.net':'tap'", true },
		{ "'krun-oci.net':'passt'", true },
		{ "'krun-oci.net.interface':'eth0'", true },
		{ "'krun.tap_name':'tap0'", true },
		{ "'krun-oci.hugepages':'on'", true },
		{ "'krun.use_passt':'1'", true },
		{ "'krun.use_passt':'0'", false },
		{ "'krun-oci.net':'none'", false },
		{ "'krun-oci.net':'off'", false },
		{ "'krun-oci.net':'tsi','krun-oci.net.egress':'deny any'", false },
		{ "'krun-oci.disk.0':'config.json'", true },
		{ "'krun-oci.disk.0.options':'ro'", true },
		{ "'krun.ram_mib':'512','run.oci.keep_original_groups':'1'", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		CLEAN(spec_freep) struct spec *s = NULL;
		struct error e = { 0 };
		char text[256], name[64];

		(void)snprintf(
			text, sizeof(text), HEAD "'annotations':{'a':'b',%s}}", t[i].annotation);
		s = parse(text);
		CHECK(s);
		CHECK_EQ(spec_check_trust(s, &e), t[i].own ? -EPERM : 0);
		(void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(t[i].annotation + 1, "'"),
			t[i].annotation + 1);
		CHECK(!t[i].own || strstr(e.msg, name));
	}
}

/* The option's list beside the annotation's. */
static void joined(void)
{
	CLEAN_FREE char *both = spec_ignore_join("linux.devices,x", " annotations, linux.devices");
	CLEAN_FREE char *none = spec_ignore_join(NULL, "");
	struct error e = { 0 };

	CHECK_STR(both, "linux.devices,annotations");
	CHECK_STR(none, "");
	CHECK_EQ(spec_check_ignore(both, "--ignore", &e), 0);
	CHECK_EQ(spec_check_ignore("linux.devices,x", "--ignore", &e), -EINVAL);
	CHECK_STR(e.msg, "--ignore: \"x\" is no field that can be ignored");
}

/* Profiles and labels, of the container and of an exec's process. */
static void ignored_labels(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(HEAD
		"'process':{'args':['x'],'cwd':'/','user':{'uid':0,'gid':0},'apparmorProfile':'p',"
		"'selinuxLabel':'l'},'linux':{'mountLabel':'m'},'annotations':{'krun-oci.ignore':"
		"'process.apparmorProfile, process.selinuxLabel,linux.mountLabel'}}");
	CLEAN(spec_freep) struct spec *own = NULL;
	const char *text = "{\"args\":[\"x\"],\"cwd\":\"/\",\"apparmorProfile\":\"q\"}";

	CHECK(s);
	CHECK_EQ(spec_check_lsm(s, true, NULL), -ENOTSUP);
	CHECK_EQ(spec_ignore(s, s, NULL), 0);
	CHECK_EQ(spec_check_lsm(s, true, NULL), 0);
	CHECK(!s->process.apparmor_profile);
	CHECK_EQ(spec_parse_process(text, strlen(text), &own, NULL), 0);
	CHECK_STR(own->process.apparmor_profile, "q");
	CHECK_EQ(spec_ignore(own, s, NULL), 0);
	CHECK(!own->process.apparmor_profile);
}

static const struct test_case cases[] = {
	TEST(ignored),
	TEST(not_ignored),
	TEST(ignored_labels),
	TEST(trusted_annotations),
	TEST(joined),
};

TEST_MAIN(cases)
