// SPDX-License-Identifier: Apache-2.0
/* Right configs: every field arrives, what managers write is not refused, and guests get their
 * size. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/proto/blob.h"
#include "oci/guest_blob.h"
#include "oci/sandbox.h"
#include "oci/spec.h"
#include "oci/spec_limits.h"
#include "tests/unit/bad_configs/make.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/util.h"
#include "vmm.h"

static const struct morefds none;

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

#define HEAD "{'ociVersion':'1.2.1+dev','root':{'path':'rootfs','readonly':true},"

static void process(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(
		HEAD "'hostname':'h','domainname':'d','process':{'terminal':false,'consoleSize':{"
		     "'height':24,'width':80},"
		     "'user':{'uid':1000,'gid':100,'umask':18,'additionalGids':[5,6]},'args':["
		     "'sh','-c',''],"
		     "'env':['A=1','B='],'cwd':'/tmp','capabilities':{'bounding':['CAP_KILL',"
		     "'cap_chown','CAP_NEW'],"
		     "'effective':['CAP_KILL'],'permitted':['CAP_KILL'],'ambient':null},"
		     "'rlimits':[{'type':'RLIMIT_NOFILE','soft':1e3,'hard':18446744073709551615}],"
		     "'noNewPrivileges':true,'oomScoreAdj':-17,'apparmorProfile':'p','future':{"
		     "'x':[1]}}}");

	CHECK(s);
	CHECK_STR(s->version, "1.2.1+dev");
	CHECK(s->root_set && s->root_readonly);
	CHECK_STR(s->root, "rootfs");
	CHECK_STR(s->hostname, "h");
	CHECK_STR(s->domainname, "d");
	CHECK(s->process.set && !s->process.terminal && s->process.no_new_privs);
	CHECK_EQ(s->process.rows, 24);
	CHECK_EQ(s->process.cols, 80);
	CHECK_EQ(s->process.user.uid, 1000);
	CHECK_EQ(s->process.user.gid, 100);
	CHECK(s->process.user.umask.set);
	CHECK_EQ(s->process.user.umask.v, 022);
	CHECK_EQ(s->process.user.n_groups, 2);
	CHECK_EQ(s->process.user.groups[1], 6);
	CHECK_EQ(s->process.args.n, 3);
	CHECK_STR(s->process.args.v[1], "-c");
	CHECK_STR(s->process.args.v[2], "");
	CHECK(!s->process.args.v[3]);
	CHECK_EQ(s->process.env.n, 2);
	CHECK_STR(s->process.cwd, "/tmp");
	CHECK(s->process.caps.set);
	CHECK_EQ(s->process.caps.bounding, 1 << 5 | 1 << 0);
	CHECK_EQ(s->process.caps.effective, 1 << 5);
	CHECK_EQ(s->process.caps.ambient, 0);
	CHECK_EQ(s->process.n_rlimits, 1);
	CHECK_EQ(s->process.rlimits[0].resource, RLIMIT_NOFILE);
	CHECK_EQ(s->process.rlimits[0].soft, 1000);
	CHECK(s->process.rlimits[0].hard == RLIM_INFINITY);
	CHECK(s->process.oom_score_adj.set);
	CHECK_EQ(s->process.oom_score_adj.v, -17);
	CHECK_EQ(s->warnings.n, 1);
	CHECK(strstr(s->warnings.v[0],
		"process.capabilities.bounding[2]: unknown capability \"CAP_NEW\""));
	CHECK_EQ(spec_refusals(s, NULL), 0);
	CHECK_EQ(spec_check_lsm(s, true, NULL), 0);
}

/* What means nothing on a host is no reason to refuse, nor is a node of a number without a driver.
 */
static void empty_words(void)
{
	static const char text[] = HEAD
		"'process':{'args':['x'],'cwd':'/','user':{'uid':0,'gid':0},'selinuxLabel':'a'},"
		"'linux':{'mountLabel':'a:b','devices':[{'path':'/dev/f','type':'p'},"
		"{'path':'/dev/c','type':'c','major':4095,'minor':1048575}]}}";
	struct spec *s = parse(text);
	struct error e = { 0 };

	CHECK(s);
	CHECK_EQ(spec_refusals(s, NULL), 0);
	CHECK_EQ(spec_check_lsm(s, false, NULL), 0);
	CHECK_EQ(spec_check_lsm(s, true, &e), -ENOTSUP);
	CHECK(strstr(e.msg, "process.selinuxLabel: "));
	s->process.selinux_label = NULL;
	e = (struct error){ 0 };
	CHECK_EQ(spec_check_lsm(s, true, &e), -ENOTSUP);
	CHECK(strstr(e.msg, "linux.mountLabel: "));
	spec_free(s);
}

static void mounts(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(HEAD
		"'mounts':["
		"{'destination':'/a//b/./c/../d/','type':'tmpfs','source':'x','options':["
		"'nosuid','ro','rw','size=64m','mode=1777','noatime','strictatime']},"
		"{'destination':'rel','source':'/src','options':['rbind','rslave','rro',"
		"'size=10m','rnoatime']},"
		"{'destination':'/sys','type':'none','source':'/sys','options':['rbind','ro']},"
		"{'destination':'/dev/pts','type':'devpts','options':['newinstance',"
		"'ptmxmode=0666','mode=0620','gid=5']},"
		"{'destination':'/sys/fs/cgroup','type':'cgroup','source':'cgroup'},"
		"{'destination':'/x','type':'overlay','source':'/dev/sda','options':["
		"'lowerdir=/a,upperdir=/b','workdir=/c']}]}");
	const struct spec_mount *m;

	CHECK(s);
	CHECK_EQ(s->n_mounts, 6);
	m = s->mounts;
	CHECK_STR(m->destination, "/a/b/d");
	CHECK_EQ(m->kind, SPEC_MNT_TMPFS);
	CHECK_EQ(m->set, MS_NOSUID | MS_STRICTATIME);
	CHECK_EQ(m->clear, MS_RDONLY);
	CHECK_STR(m->data, "size=64m,mode=1777");
	CHECK_EQ(m->options.n, 7);
	m++;
	CHECK_STR(m->destination, "/rel");
	CHECK_EQ(m->kind, SPEC_MNT_BIND);
	CHECK(m->recursive && !m->type);
	CHECK_EQ(m->propagation, MS_SLAVE | MS_REC);
	CHECK_EQ(m->rec_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
	CHECK_EQ(m->rec_clear, MOUNT_ATTR__ATIME);
	CHECK_STR(m->data, "");
	m++;
	CHECK_EQ(m->kind, SPEC_MNT_SYSFS);
	CHECK(m->from_host);
	CHECK_EQ(m->set, MS_RDONLY);
	m++;
	CHECK_EQ(m->kind, SPEC_MNT_DEVPTS);
	CHECK_STR(m->data, "newinstance,ptmxmode=0666,mode=0620,gid=5");
	m++;
	CHECK_EQ(m->kind, SPEC_MNT_CGROUP);
	CHECK(!m->from_host);
	m++;
	CHECK_EQ(m->kind, SPEC_MNT_OTHER);
	CHECK_STR(m->data, "lowerdir=/a,upperdir=/b,workdir=/c");
	CHECK_EQ(s->warnings.n, 2);
	CHECK(strstr(s->warnings.v[1],
		"mounts[1].options[3]: \"size=10m\" means nothing for a bind mount"));
}

static void linux_section(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(
		HEAD "'linux':{"
		     "'namespaces':[{'type':'network','path':'/run/netns/a'},{'type':'pid'},{"
		     "'type':'user'},{'type':'uts','path':''}],"
		     "'uidMappings':[{'containerID':0,'hostID':1000,'size':1},{'containerID':1,"
		     "'hostID':100000,'size':65536}],"
		     "'gidMappings':[{'containerID':0,'hostID':1000,'size':1}],"
		     "'devices':[{'path':'/dev/fuse','type':'c','major':10,'minor':229,"
		     "'fileMode':8630,'uid':0,'gid':0}],"
		     "'cgroupsPath':'user.slice:libpod:abc','rootfsPropagation':'rslave',"
		     "'maskedPaths':['/proc/kcore','/proc//keys/'],'readonlyPaths':['/proc/sys'],"
		     "'sysctl':{'net.ipv4.conf.eth0/1.mtu':'9','net/ipv4/conf/eth0.1/x':'1'},"
		     "'resources':{'devices':[{'allow':false,'access':'rwm'},{'allow':true,"
		     "'type':'c','major':5,'minor':-1,'access':'r'}],"
		     "'memory':{'limit':134217728,'swap':-1},'cpu':{'shares':1024,'quota':150000,"
		     "'period':100000,'cpus':'0-1,3'},"
		     "'pids':{'limit':2048},'blockIO':{'weight':0},'hugepageLimits':[{"
		     "'pageSize':'2MB','limit':0}]}}}");
	const struct spec_linux *l;

	CHECK(s);
	l = &s->linux_;
	CHECK(l->ns[SPEC_NS_NETWORK].set && l->ns[SPEC_NS_PID].set && !l->ns[SPEC_NS_MOUNT].set);
	CHECK_STR(l->ns[SPEC_NS_NETWORK].path, "/run/netns/a");
	CHECK(l->ns[SPEC_NS_UTS].set && !l->ns[SPEC_NS_UTS].path);
	CHECK_EQ(l->uid_maps.n, 2);
	CHECK_EQ(l->uid_maps.v[1].size, 65536);
	CHECK_EQ(l->n_devices, 1);
	CHECK_EQ(l->devices[0].mode.v, 0666);
	CHECK_STR(l->cgroups_path, "user.slice:libpod:abc");
	CHECK_EQ(l->rootfs_propagation, MS_SLAVE | MS_REC);
	CHECK_STR(l->masked_paths.v[1], "/proc/keys");
	CHECK_EQ(l->n_sysctl, 2);
	CHECK_STR(l->sysctl[0].key, "net.ipv4.conf.eth0/1.mtu");
	CHECK_STR(l->sysctl[1].key, "net.ipv4.conf.eth0/1.x");
	CHECK_EQ(l->res.n_devices, 2);
	CHECK_EQ(l->res.devices[0].type, 'a');
	CHECK(l->res.devices[0].m && !l->res.devices[1].m && l->res.devices[1].r);
	CHECK_EQ(l->res.devices[1].minor, -1);
	CHECK_EQ(l->res.memory.limit.v, 134217728);
	CHECK_EQ(l->res.memory.swap.v, -1);
	CHECK_EQ(l->res.cpu.n_cpus, 3);
	CHECK_EQ(l->res.pids.v, 2048);
	CHECK_EQ(spec_refusals(s, NULL), 0);
}

/* Those of other runtimes that would have meant something there. */
static void annotations_of_others(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(HEAD
		"'annotations':{'run.oci.systemd.subgroup':'x','org.systemd.property.TasksMax':'5',"
		"'org.systemd.other':'y','run.oci.keep_original_groups':'1'}}");

	CHECK(s);
	CHECK_EQ(s->warnings.n, 2);
	CHECK(strstr(s->warnings.v[0], "\"org.systemd.property.TasksMax\" means nothing"));
	CHECK(strstr(s->warnings.v[1], "\"run.oci.systemd.subgroup\" means nothing"));
}

static void hooks_and_annotations(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(
		HEAD "'annotations':{'b':'2','a':'1'},'hooks':{'prestart':[{'path':'/h','args':["
		     "'h','x'],'env':[],'timeout':3},{'path':'/i'}],'unknown':1}}");

	CHECK(s);
	CHECK_EQ(s->hooks[SPEC_HOOK_PRESTART].n, 2);
	CHECK_EQ(s->hooks[SPEC_HOOK_PRESTART].v[0].timeout, 3);
	CHECK(s->hooks[SPEC_HOOK_PRESTART].v[0].env_set);
	CHECK(!s->hooks[SPEC_HOOK_PRESTART].v[1].env_set);
	CHECK_EQ(s->hooks[SPEC_HOOK_PRESTART].v[1].timeout, 0);
	CHECK_STR(spec_annotation(s, "a"), "1");
	CHECK(!spec_annotation(s, "c"));
}

/* The parts of what podman, docker and containerd write that could trip a strict reader. */
static void managers(void)
{
	static const char *const TEXTS[] = {
		/* no value where Go's marshaller leaves its zero value */
		HEAD "'process':{'user':{'uid':0,'gid':0},'args':['sh'],'cwd':'/',"
		     "'capabilities':{},'rlimits':null,'selinuxLabel':'','apparmorProfile':''},"
		     "'hooks':{},'mounts':[],'annotations':null,'linux':{'resources':{'memory':{"
		     "'disableOOMKiller':false},'cpu':{},'pids':{'limit':0},'blockIO':{"
		     "'weight':0},'network':{}},"
		     "'cgroupsPath':'','mountLabel':'','seccomp':null,'sysctl':{}},'vm':null}",
		/* the device rules of docker */
		HEAD "'linux':{'resources':{'devices':[{'allow':false,'access':'rwm'},{"
		     "'allow':true,'type':'c','major':1,'minor':5,'access':'rwm'},"
		     "{'allow':true,'type':'c','major':136,'access':'rwm'},{'allow':true,"
		     "'type':'b','access':'m'},{'allow':false,'type':'c','major':10,'minor':229,"
		     "'access':'rwm'}]}}}",
		/* privileged */
		HEAD "'linux':{'resources':{'devices':[{'allow':true,'access':'rwm'}]}}}",
		/* podman */
		HEAD "'mounts':[{'destination':'/proc','type':'proc','source':'proc','options':["
		     "'nosuid','noexec','nodev']},"
		     "{'destination':'/dev','type':'tmpfs','source':'tmpfs','options':['nosuid',"
		     "'strictatime','mode=755','size=65536k']},"
		     "{'destination':'/etc/hosts','type':'bind','source':'/run/x','options':["
		     "'bind','rprivate']},"
		     "{'destination':'/dev/shm','type':'bind','source':'/run/shm','options':["
		     "'bind','rprivate','nosuid','noexec','nodev']},"
		     "{'destination':'/sys/fs/cgroup','type':'cgroup','source':'cgroup',"
		     "'options':['rprivate','nosuid','noexec','nodev','relatime','ro']}],"
		     "'annotations':{'io.container.manager':'libpod',"
		     "'io.kubernetes.cri-o.ContainerType':'x',"
		     "'org.opencontainers.image.stopSignal':'15',"
		     "'run.oci.keep_original_groups':'1','krun.use_passt':'0'},"
		     "'linux':{'sysctl':{'net.ipv4.ping_group_range':'0 0'},'personality':{"
		     "'domain':'LINUX'}}}",
		/* a rootless config whose user namespace names no mapping */
		HEAD "'linux':{'namespaces':[{'type':'user'},{'type':'mount'}]}}",
		"\n{'ociVersion':'1.4.0-rc.1','root':{'path':'/r'}}\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
		CLEAN(spec_freep) struct spec *s = parse(TEXTS[i]);
		struct error e = { 0 };

		CHECK(s);
		if (spec_refusals(s, &e))
			printf("# %zu: %s\n", i, e.msg);
		CHECK(!e.code);
		CHECK(s->process.args.v && s->linux_.masked_paths.v && s->vm.kernel_params.v);
	}
}

static void own_output(void)
{
	for (int rootless = 0; rootless < 2; rootless++) {
		CLEAN_FREE char *text = NULL;
		CLEAN(spec_freep) struct spec *s = NULL;
		struct error e = { 0 };
		size_t len;

		CHECK_EQ(spec_default(rootless, 1000, 100, &text, &len), 0);
		CHECK_EQ(len, strlen(text));
		CHECK_EQ(spec_parse(text, len, &s, &e), 0);
		CHECK_EQ(spec_refusals(s, &e), 0);
		CHECK_EQ(s->linux_.ns[SPEC_NS_USER].set, rootless);
		CHECK_EQ(s->linux_.uid_maps.n, rootless);
		CHECK(!rootless || s->linux_.uid_maps.v[0].host == 1000);
		CHECK_EQ(s->linux_.ns[SPEC_NS_NETWORK].set, !rootless);
		CHECK_EQ(s->warnings.n, 0);
	}
}

static void partial_documents(void)
{
	static const char PROC[] = "{\"args\":[\"id\"],\"cwd\":\"/\"}";
	static const char RES[] = "{\"pids\":{\"limit\":-1}}";
	CLEAN(spec_freep) struct spec *p = NULL;
	CLEAN(spec_freep) struct spec *r = NULL;
	CLEAN(spec_freep) struct spec *bad = NULL;
	struct error e = { 0 };

	CHECK_EQ(spec_parse_process(PROC, strlen(PROC), &p, NULL), 0);
	CHECK_STR(p->process.args.v[0], "id");
	CHECK_EQ(spec_parse_resources(RES, strlen(RES), &r, NULL), 0);
	CHECK(r->linux_.res.pids.set);
	CHECK_EQ(r->linux_.res.pids.v, -1);
	CHECK_EQ(spec_parse_process("{\"cwd\":1}", 9, &bad, &e), -EINVAL);
	CHECK_STR(e.msg, "process: args: missing");
}

struct size_case {
	const char *text; /* members behind HEAD */
	unsigned host_cpus, vcpus;
	uint64_t ram_mib, guest_max, host_max;
};

#define MIB    (1ULL << 20)
#define RES(x) "'linux':{'resources':{" x "}}}"
#define ANN(x) "'annotations':{" x "},"

static void vm_sizes(void)
{
	static const struct size_case SIZES[] = {
		{ "'linux':{}}", 8, 4, 1024, 0, 0 },
		{ "'linux':{}}", 2, 2, 1024, 0, 0 },
		{ "'linux':{}}", 0, 1, 1024, 0, 0 },
		{ RES("'memory':{'limit':134217728}"), 2, 2, 128, 128 * MIB, 208 * MIB },
		{ RES("'memory':{'limit':134217729}"), 2, 2, 129, 128 * MIB + 1,
			193 * MIB + 129 * MIB / 8 },
		{ RES("'memory':{'limit':16777216}"), 2, 2, 64, 16 * MIB, 136 * MIB },
		{ RES("'memory':{'limit':-1}"), 2, 2, 1024, 0, 0 },
		{ RES("'memory':{'limit':0}"), 2, 2, 1024, 0, 0 },
		{ RES("'memory':{'limit':9223372036854771712}"), 2, 2, 1024, 0, 0 },
		{ RES("'cpu':{'quota':50000,'period':100000}"), 8, 1, 1024, 0, 0 },
		{ RES("'cpu':{'quota':150000,'period':100000}"), 8, 2, 1024, 0, 0 },
		{ RES("'cpu':{'quota':600000}"), 8, 6, 1024, 0, 0 },
		{ RES("'cpu':{'quota':600000}"), 2, 2, 1024, 0, 0 },
		{ RES("'cpu':{'quota':-1}"), 8, 4, 1024, 0, 0 },
		{ RES("'cpu':{'cpus':'0-5'}"), 8, 6, 1024, 0, 0 },
		{ RES("'cpu':{'cpus':'0-5','quota':200000}"), 8, 2, 1024, 0, 0 },
		{ RES("'cpu':{'cpus':'0,2','quota':800000}"), 8, 2, 1024, 0, 0 },
		{ RES("'cpu':{'cpus':'0-63'}"), 64, 16, 1024, 0, 0 },
		{ ANN("'krun.cpus':'3','krun.ram_mib':'512'") "'linux':{}}", 1, 3, 512, 0, 0 },
		{ ANN("'krun.ram_mib':'128'") "'linux':{}}", 1, 1, 1024, 0, 0 },
		{ ANN("'krun.ram_mib':'129'") RES("'memory':{'limit':268435456}"), 1, 1, 129,
			256 * MIB, 193 * MIB + 129 * MIB / 8 },
		{ "'vm':{'hwConfig':{'vcpus':5,'memory':134217729}}}", 1, 5, 129, 0, 0 },
		{ ANN("'krun.cpus':'2'") "'vm':{'hwConfig':{'vcpus':5}}}", 8, 2, 1024, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
		const struct size_case *c = &SIZES[i];
		CLEAN_FREE char *text = NULL;
		CLEAN(spec_freep) struct spec *s = NULL;
		struct vm_size v;

		CHECK(asprintf(&text, HEAD "%s", c->text) > 0);
		s = parse(text);
		CHECK(s);
		CHECK_EQ(spec_vm_size(s, c->host_cpus, &v, NULL), 0);
		if (v.vcpus != c->vcpus || v.ram != c->ram_mib * MIB ||
			v.guest_max != c->guest_max || v.host_max != c->host_max)
			printf("# %s: %u vCPUs, %llu, %llu, %llu\n", c->text, v.vcpus,
				(unsigned long long)v.ram, (unsigned long long)v.guest_max,
				(unsigned long long)v.host_max);
		CHECK_EQ(v.vcpus, c->vcpus);
		CHECK_EQ(v.ram, c->ram_mib * MIB);
		CHECK_EQ(v.guest_max, c->guest_max);
		CHECK_EQ(v.host_max, c->host_max);
	}
}

/* CPUs within those that the VM is made with: all, or as many as the limits leave. */
static void workload_cpus(void)
{
	static const struct {
		const char *text;
		unsigned vcpus, cpus;
	} t[] = {
		{ "'linux':{}}", 4, 4 },
		{ RES("'cpu':{'quota':150000}"), 2, 2 },
		{ ANN("'krun.cpus':'6'") "'linux':{}}", 6, 6 },
		{ ANN("'krun.cpus':'6'") RES("'cpu':{'quota':150000}"), 6, 2 },
		{ ANN("'krun.cpus':'6'") RES("'cpu':{'cpus':'1-3'}"), 6, 3 },
		{ ANN("'krun.cpus':'6'") RES("'cpu':{'cpus':'1-3','quota':50000}"), 6, 1 },
		{ ANN("'krun.cpus':'2'") RES("'cpu':{'quota':900000}"), 2, 2 },
		{ "'vm':{'hwConfig':{'vcpus':5}}," RES("'cpu':{'quota':400000}"), 5, 4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		CLEAN_FREE uint8_t *blob = NULL;
		CLEAN_FREE char *text = NULL;
		CLEAN(spec_freep) struct spec *s = NULL;
		const char *why;
		struct blob_view b;
		struct vm_size v;
		char want[16];
		size_t len = 0;

		CHECK(asprintf(&text, HEAD "%s", t[i].text) > 0);
		s = parse(text);
		CHECK(s);
		CHECK_EQ(spec_vm_size(s, 8, &v, NULL), 0);
		CHECK_EQ(v.vcpus, t[i].vcpus);
		CHECK_EQ(v.cpus, t[i].cpus);
		CHECK_EQ(guest_blob(s, NULL, &v, NULL, 0, &none, NULL, &blob, &len, NULL), 0);
		CHECK_EQ(blob_read(blob + sizeof(struct msg_proc), len - sizeof(struct msg_proc),
				 BLOB_CREATE, &b, &why),
			0);
		CHECK_EQ(b.ncgroup, t[i].cpus < t[i].vcpus);
		(void)snprintf(want, sizeof(want), "0-%u", t[i].cpus - 1);
		if (b.ncgroup) {
			CHECK_STR(b.cgroup[0].name, "cpuset.cpus");
			CHECK_STR(b.cgroup[0].value, want);
		}
		blob_view_free(&b);
	}
}

static void bad_sizes(void)
{
	static const char *const BAD[][2] = {
		{ ANN("'krun.cpus':'0'") "'linux':{}}",
			"annotations[\"krun.cpus\"]: \"0\" is not a number from 1 to 16" },
		{ ANN("'krun.cpus':'17'") "'linux':{}}", "annotations[\"krun.cpus\"]: \"17\"" },
		{ ANN("'krun.cpus':'two'") "'linux':{}}", "annotations[\"krun.cpus\"]: \"two\"" },
		{ ANN("'krun.cpus':''") "'linux':{}}", "annotations[\"krun.cpus\"]: \"\"" },
		{ ANN("'krun.cpus':'2 '") "'linux':{}}", "annotations[\"krun.cpus\"]: \"2 \"" },
		{ ANN("'krun.ram_mib':'-1'") "'linux':{}}",
			"annotations[\"krun.ram_mib\"]: \"-1\"" },
		{ ANN("'krun.ram_mib':'99999999999999999999'") "'linux':{}}",
			"annotations[\"krun.ram_mib\"]: " },
		{ ANN("'krun.ram_mib':'512'") RES("'memory':{'limit':268435456}"),
			"annotations[\"krun.ram_mib\"]: 512 MiB are more than "
			"linux.resources.memory.limit" },
		{ "'vm':{'hwConfig':{'memory':536870912}}," RES("'memory':{'limit':268435456}"),
			"config.json: vm.hwConfig.memory: 512 MiB are more" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
		CLEAN_FREE char *text = NULL;
		CLEAN(spec_freep) struct spec *s = NULL;
		struct error e = { 0 };
		struct vm_size v;

		CHECK(asprintf(&text, HEAD "%s", BAD[i][0]) > 0);
		s = parse(text);
		CHECK(s);
		CHECK_EQ(spec_vm_size(s, 4, &v, &e), -EINVAL);
		CHECK(strstr(e.msg, BAD[i][1]));
	}
}

static void ids(void)
{
	static const char *const GOOD[] = { "a", "0", "A-b_c.d+e", "x..y", "a-", "_" };
	static const char *const BAD[] = { "", ".", "..", ".a", "a/b", "../a", "a b", "a\n",
		"\xc3\xa9", "a:b", "a%", "-", "-a" };
	char longest[SPEC_LIM_NAME + 2];

	for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++)
		CHECK_EQ(spec_check_id(GOOD[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
		struct error e = { 0 };

		CHECK_EQ(spec_check_id(BAD[i], &e), -EINVAL);
		CHECK(e.msg[0]);
	}
	memset(longest, 'a', sizeof(longest));
	longest[SPEC_LIM_NAME + 1] = '\0';
	CHECK_EQ(spec_check_id(longest, NULL), -EINVAL);
	longest[SPEC_LIM_NAME] = '\0';
	CHECK_EQ(spec_check_id(longest, NULL), 0);
}

static void loading(void)
{
	char dir[] = "/tmp/test_spec.XXXXXX";
	CLEAN_FREE char *text = NULL;
	CLEAN(spec_freep) struct spec *s = NULL;
	struct error e = { 0 };
	size_t len = 0;
	static const char DOC[] = "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"}}";

	CHECK(mkdtemp(dir));
	CLEAN_FD int d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(d >= 0);
	CLEAN_FD int f = openat(d, "config.json", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CHECK_EQ(write(f, DOC, sizeof(DOC) - 1), sizeof(DOC) - 1);
	CHECK_EQ(mkfifoat(d, "fifo", 0600), 0);
	CHECK_EQ(spec_load(d, "config.json", &s, &text, &len, &e), 0);
	CHECK_EQ(len, sizeof(DOC) - 1);
	CHECK(!memcmp(text, DOC, len));
	CHECK_STR(s->root, "r");
	spec_free(s);
	s = NULL;
	CHECK_EQ(spec_load(d, "none", &s, NULL, NULL, &e), -ENOENT);
	CHECK_STR(e.msg, "none: cannot be opened: No such file or directory");
	CHECK_EQ(spec_load(d, "fifo", &s, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(spec_load(d, ".", &s, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(ftruncate(f, SPEC_LIM_FILE + 1), 0);
	CHECK_EQ(spec_load(d, "config.json", &s, NULL, NULL, NULL), -E2BIG);
	CHECK(!s);
	(void)unlinkat(d, "config.json", 0);
	(void)unlinkat(d, "fifo", 0);
	CHECK_EQ(rmdir(dir), 0);
}

/* The guest makes every bind again, in its place among the others: with or without flags, hidden by
 * a mount of the guest's or not. */
static void guest_mounts(void)
{
	static const struct {
		uint32_t kind;
		const char *dest;
		bool readonly;
	} want[] = {
		{ BLOB_M_FS, "/dev", false },
		{ BLOB_M_BIND, "/plain", false },
		{ BLOB_M_BIND, "/flags", true },
		{ BLOB_M_FS, "/run", false },
		{ BLOB_M_BIND, "/var/run/x", false },
		{ BLOB_M_BIND, "/times", false },
	};
	CLEAN(spec_freep)
	struct spec *s = parse(
		HEAD "'process':{'args':['x'],'cwd':'/','user':{'uid':0,'gid':0}},'mounts':["
		     "{'destination':'/plain','source':'/a','options':['rbind']},"
		     "{'destination':'/flags','source':'/a','type':'bind','options':['bind','ro']},"
		     "{'destination':'/run','type':'tmpfs','source':'t'},"
		     "{'destination':'/var/run/x','source':'/b','options':['bind']},"
		     "{'destination':'/times','source':'/b','options':['bind','atime']}]}");
	CLEAN_FREE uint8_t *blob = NULL;
	struct vm_size size = { .vcpus = 1 };
	const char *why = NULL;
	struct blob_view v;
	size_t len = 0;

	CHECK(s);
	CHECK_EQ(guest_blob(s, NULL, &size, NULL, 0, &none, NULL, &blob, &len, NULL), 0);
	CHECK(len > sizeof(struct msg_proc));
	CHECK_EQ(blob_read(blob + sizeof(struct msg_proc), len - sizeof(struct msg_proc),
			 BLOB_CREATE, &v, &why),
		0);
	CHECK_EQ(v.nmounts, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		CHECK_EQ(v.mounts[i].m.kind, want[i].kind);
		CHECK_STR(v.mounts[i].dest, want[i].dest);
		CHECK_EQ(!!(v.mounts[i].m.attr_set & MOUNT_ATTR_RDONLY), want[i].readonly);
		if (want[i].kind == BLOB_M_BIND)
			CHECK_STR(v.mounts[i].source, want[i].dest);
		/* mount_setattr(2) takes all of the access times or none */
		CHECK_EQ(v.mounts[i].m.attr_clr & MOUNT_ATTR__ATIME, 0);
	}
	blob_view_free(&v);
}

/* Flags of a file system go to one that is new. */
static void flags_of_new(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(HEAD
		"'mounts':[{'destination':'/dev','type':'tmpfs','source':'t','options':['sync',"
		"'mode=755','lazytime']},{'destination':'/d','type':'tmpfs','options':["
		"'dirsync','shared']}]}");
	struct vm_size size = { .vcpus = 1, .ram = 1 << 30 };
	CLEAN_FREE uint8_t *blob = NULL;
	struct blob_view v;
	const char *why;
	size_t len = 0;

	CHECK(s);
	CHECK_EQ(spec_refusals(s, NULL), 0);
	CHECK_EQ(guest_blob(s, NULL, &size, NULL, 0, &none, NULL, &blob, &len, NULL), 0);
	CHECK_EQ(blob_read(blob + sizeof(struct msg_proc), len - sizeof(struct msg_proc),
			 BLOB_CREATE, &v, &why),
		0);
	CHECK_EQ(v.nmounts, 2);
	CHECK_STR(v.mounts[0].data, "mode=755,sync,lazytime");
	CHECK_STR(v.mounts[1].data, "dirsync");
	CHECK_EQ(v.mounts[1].m.propagation, MS_SHARED);
	blob_view_free(&v);
}

static void blob_of_process(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(HEAD
		"'process':{'args':['x'],'cwd':'/','user':{'uid':0,'gid':0},'scheduler':{'policy':"
		"'SCHED_RR','priority':7,'flags':['SCHED_FLAG_RESET_ON_FORK']},'ioPriority':{'class':"
		"'IOPRIO_CLASS_BE','priority':3}},'mounts':[{'destination':'/t','type':'tmpfs',"
		"'source':'t','options':['tmpcopyup']}],'linux':{'personality':{'domain':'LINUX32'},"
		"'namespaces':[{'type':'time'}],'timeOffsets':{'boottime':{'secs':-5,'nanosecs':6}},"
		"'resources':{'unified':{'memory.high':'4096','cpu.weight':'5'}}}}");
	CLEAN_FREE uint8_t *blob = NULL;
	struct vm_size size = { .vcpus = 1 };
	const char *why = NULL;
	struct blob_view v;
	size_t len = 0;

	CHECK(s);
	CHECK_EQ(spec_refusals(s, NULL), 0);
	CHECK_EQ(guest_blob(s, NULL, &size, NULL, 0, &none, NULL, &blob, &len, NULL), 0);
	CHECK_EQ(blob_read(blob + sizeof(struct msg_proc), len - sizeof(struct msg_proc),
			 BLOB_CREATE, &v, &why),
		0);
	CHECK_EQ(v.p.flags, BLOB_P_CAPS | BLOB_P_SCHED | BLOB_P_IOPRIO | BLOB_P_PERSONALITY);
	CHECK_EQ(v.p.sched_policy, 2);
	CHECK_EQ(v.p.sched_priority, 7);
	CHECK_EQ(v.p.sched_flags, 1);
	CHECK_EQ(v.p.ioprio, 2 << 13 | 3);
	CHECK_EQ(v.p.personality, 8);
	CHECK(v.c.namespaces & BLOB_NS_TIME);
	CHECK_EQ(v.ntimeoffs, 1);
	CHECK_EQ(v.timeoffs[0].secs, -5);
	CHECK_EQ(v.timeoffs[0].clock, 7);
	CHECK_EQ(v.mounts[1].m.flags, BLOB_M_COPYUP);
	CHECK_EQ(v.ncgroup, 1);
	CHECK_STR(v.cgroup[0].name, "memory.high");
	blob_view_free(&v);
}

/* What a config does not say is the caller's, as with other runtimes. */
static void blob_of_limits(void)
{
	CLEAN(spec_freep)
	struct spec *s =
		parse(HEAD "'process':{'args':['x'],'cwd':'/','user':{'uid':0,'gid':0},'rlimits':["
			   "{'type':'RLIMIT_CORE','soft':1,'hard':2}]}}");
	CLEAN_FREE uint8_t *blob = NULL;
	struct vm_size size = { .vcpus = 1 };
	struct caller_limits lim;
	const char *why = NULL;
	struct blob_view v;
	size_t len = 0;

	CHECK(s);
	caller_limits(&lim);
	CHECK_EQ(guest_blob(s, NULL, &size, NULL, 0, &none, &lim, &blob, &len, NULL), 0);
	CHECK_EQ(blob_read(blob + sizeof(struct msg_proc), len - sizeof(struct msg_proc),
			 BLOB_CREATE, &v, &why),
		0);
	CHECK_EQ(v.nrlimits, RLIM_NLIMITS);
	CHECK_EQ(v.rlimits[0].resource, RLIMIT_CORE);
	CHECK(v.rlimits[0].soft == 1 && v.rlimits[0].hard == 2);
	for (size_t i = 1; i < v.nrlimits; i++) {
		const struct blob_rlimit *r = &v.rlimits[i];

		CHECK(r->resource != RLIMIT_CORE);
		CHECK(r->soft == lim.v[r->resource].rlim_cur);
		CHECK(r->hard == lim.v[r->resource].rlim_max);
	}
	blob_view_free(&v);
}

static int cache_of(const char *value, struct vmm_fs *f, struct error *e)
{
	char text[600];
	struct spec *s;
	int r;

	*e = (struct error){ 0 };
	(void)snprintf(text, sizeof(text),
		"{'ociVersion':'1.0.2','root':{'path':'r'},'mounts':["
		"{'destination':'/data','source':'/d','options':['rbind','rslave']},"
		"{'destination':'/t','type':'tmpfs','source':'tmpfs'}],"
		"'annotations':{'krun-oci.virtiofs.cache':'%s'}}",
		value);
	s = parse(text);
	if (!s)
		return -EIO;
	r = spec_cache_rules(s, -1, f, e);
	spec_free(s);
	return r;
}

/* The annotation about caching: its grammar, and what it may name. */
static void cache_rules(void)
{
	struct vmm_fs f = { 0 };
	struct error e;

	CHECK_EQ(cache_of("always", &f, &e), 0);
	CHECK(f.cache == VMM_FS_CACHE_ALWAYS && !f.nat && f.drop_idle);
	CHECK_EQ(cache_of("none,/data=always", &f, &e), 0);
	CHECK(f.cache == VMM_FS_CACHE_NONE && f.nat == 1);
	CHECK_EQ(f.at[0].cache, VMM_FS_CACHE_ALWAYS);
	CHECK_EQ(cache_of("/data=auto", &f, &e), 0);
	CHECK(f.cache == VMM_FS_CACHE_AUTO && f.nat == 1);
	CHECK_EQ(cache_of("writeback", &f, &e), -EINVAL);
	CHECK(strstr(e.msg, "auto, always, none"));
	CHECK_EQ(cache_of("", &f, &e), -EINVAL);
	CHECK_EQ(cache_of("auto,", &f, &e), -EINVAL);
	CHECK_EQ(cache_of("/t=none", &f, &e), -EINVAL);
	CHECK(strstr(e.msg, "/t is the destination of no bind"));
	CHECK_EQ(cache_of("/data/=none", &f, &e), -EINVAL);
}

static int dax_of(const char *value, uint64_t ram_mib, uint64_t *mib, struct error *e)
{
	struct spec *s;
	char text[200];
	int r;

	*e = (struct error){ 0 };
	(void)snprintf(text, sizeof(text),
		"{'ociVersion':'1.0.2','root':{'path':'r'},'annotations':{'%s':'%s'}}",
		value ? "krun-oci.virtiofs.dax" : "a", value ? value : "b");
	s = parse(text);
	if (!s)
		return -EIO;
	r = spec_dax(s, ram_mib << 20, mib, e);
	*mib >>= 20;
	spec_free(s);
	return r;
}

/* The window: a quarter of RAM, at most half, none below 512 MiB. */
static void dax_size(void)
{
	static const char *const bad[] = { "", "yes", "0", "-2", "3", "2 ", "2M", "99999999999",
		"130" };
	struct error e;
	uint64_t n;

	CHECK_EQ(dax_of(NULL, 1024, &n, &e), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(dax_of("on", 1024, &n, &e), 0);
	CHECK_EQ(n, 256);
	CHECK_EQ(dax_of("on", 511, &n, &e), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(dax_of("on", 514, &n, &e), 0);
	CHECK_EQ(n, 128);
	CHECK_EQ(dax_of("on", 1 << 20, &n, &e), 0);
	CHECK_EQ(n, 32768);
	CHECK_EQ(dax_of("off", 1024, &n, &e), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(dax_of("512", 1024, &n, &e), 0);
	CHECK_EQ(n, 512);
	CHECK_EQ(dax_of("514", 1024, &n, &e), -EINVAL);
	CHECK(strstr(e.msg, "half of its RAM"));
	CHECK_EQ(dax_of("2", 256, &n, &e), -EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(dax_of(bad[i], 257, &n, &e), -EINVAL);
}

/* Huge pages by annotation: RAM is a multiple of them then. */
static void huge_pages(void)
{
	static const struct {
		const char *value;
		uint64_t mib;
		int result;
		bool huge;
	} tries[] = { { "on", 640, 0, true }, { "off", 641, 0, false }, { "", 0, -EINVAL, false },
		{ "2M", 0, -EINVAL, false } };

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		struct error e = { 0 };
		struct vm_size size;
		char text[200];
		struct spec *s;

		(void)snprintf(text, sizeof(text),
			"{'ociVersion':'1.0.2','root':{'path':'r'},'annotations':{"
			"'krun.ram_mib':'641','krun-oci.hugepages':'%s'}}",
			tries[i].value);
		s = parse(text);
		CHECK(s != NULL);
		if (!s)
			return;
		CHECK_EQ(spec_vm_size(s, 1, &size, &e), tries[i].result);
		CHECK(tries[i].result ||
			(size.ram == tries[i].mib << 20 && size.hugepages == tries[i].huge));
		CHECK(!tries[i].result || strstr(e.msg, "krun-oci.hugepages"));
		spec_free(s);
	}
}

/* What managers call a sandbox: by an annotation, or by exactly the arguments of theirs. */
static void sandboxes(void)
{
	static const struct {
		const char *args, *annotations;
		bool is;
	} known[] = {
		{ "'/pause'", "", true },
		{ "'/pause','x'", "", false },
		{ "'pause'", "", false },
		{ "'/catatonit','-P'", "", true },
		{ "'/catatonit'", "", false },
		{ "'/catatonit','-P','sh'", "", false },
		{ "'sh'", "'io.kubernetes.cri.container-type':'sandbox'", true },
		{ "'sh'", "'io.kubernetes.cri.container-type':'container'", false },
		{ "'sh'", "'io.kubernetes.cri-o.ContainerType':'sandbox'", true },
		{ "'sh'", "", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		char text[512];
		CLEAN(spec_freep) struct spec *s = NULL;

		(void)snprintf(text, sizeof(text),
			"{'ociVersion':'1.0.2','root':{'path':'r'},'process':{'cwd':'/','user':{'uid':0,'gid':0},"
			"'args':[%s]},'annotations':{%s}}",
			known[i].args, known[i].annotations);
		s = parse(text);
		CHECK(s);
		CHECK_EQ(sandbox_wanted(s), known[i].is);
	}
}

/* What cgroup v2 has not is left out, and said. */
static void left_out(void)
{
	static const char *const FIELDS[] = { "kernel", "useHierarchy", "checkBeforeUpdate" };
	CLEAN(spec_freep)
	struct spec *s = parse(HEAD "'linux':{'resources':{'memory':{'kernel':1048576,"
				    "'useHierarchy':true,'checkBeforeUpdate':true}}}}");

	CHECK_EQ(s->warnings.n, ARRAY_SIZE(FIELDS));
	for (size_t i = 0; i < ARRAY_SIZE(FIELDS); i++) {
		char want[80];

		(void)snprintf(
			want, sizeof(want), "linux.resources.memory.%s: left out", FIELDS[i]);
		CHECK(strstr(s->warnings.v[i], want));
	}
	CHECK_EQ(spec_refusals(s, NULL), 0);
}

/* A shared ipc or uts namespace: one warning for both. */
static void shared_names(void)
{
	CLEAN(spec_freep)
	struct spec *s = parse(HEAD "'linux':{'namespaces':[{'type':'ipc','path':'/a'},"
				    "{'type':'uts','path':'/b'},{'type':'network','path':'/c'}]}}");

	CHECK(s);
	CHECK_EQ(s->warnings.n, 1);
	CHECK_EQ(spec_refusals(s, NULL), 0);
}

static void cpu_bits(void)
{
	uint64_t b[SPEC_CPU_WORDS];

	CHECK(spec_cpu_bits("0-3,8", b, 1));
	CHECK_EQ(b[0], 0x10f);
	CHECK(spec_cpu_bits("63,62", b, 1));
	CHECK(b[0] == 3ULL << 62);
	CHECK(spec_cpu_bits("1,64-8191", b, 1));
	CHECK_EQ(b[0], 2);
	CHECK(!spec_cpu_bits("64-8191", b, 1));
	CHECK(spec_cpu_bits("8191", b, SPEC_CPU_WORDS));
	CHECK(b[SPEC_CPU_WORDS - 1] == 1ULL << 63);
	CHECK_EQ(b[0], 0);
	CHECK(!spec_cpu_bits("", b, 1));
	CHECK(!spec_cpu_bits("8192", b, SPEC_CPU_WORDS));
	CHECK(!spec_cpu_bits("1-", b, 1));
	CHECK(!spec_cpu_bits("2-1", b, 1));
	CHECK(!spec_cpu_bits("1,", b, 1));
}

static const struct test_case CASES[] = {
	TEST(cpu_bits),
	TEST(process),
	TEST(empty_words),
	TEST(mounts),
	TEST(linux_section),
	TEST(hooks_and_annotations),
	TEST(annotations_of_others),
	TEST(flags_of_new),
	TEST(blob_of_process),
	TEST(blob_of_limits),
	TEST(managers),
	TEST(own_output),
	TEST(partial_documents),
	TEST(vm_sizes),
	TEST(guest_mounts),
	TEST(workload_cpus),
	TEST(bad_sizes),
	TEST(ids),
	TEST(loading),
	TEST(cache_rules),
	TEST(dax_size),
	TEST(huge_pages),
	TEST(sandboxes),
	TEST(left_out),
	TEST(shared_names),
};

TEST_MAIN(CASES)
