// SPDX-License-Identifier: Apache-2.0
/* Digests a checked config into the flat blob that the guest's agent gets. */
/*
 * How it works
 *
 * One function a section of the config, each putting records in the order of the spec. The binds
 * that the host made are made again in the guest, each from where the share shows it: only a mount
 * of its own stays writable below a read-only root, keeps the flags that the guest's kernel has to
 * enforce, and is not hidden by a mount of the guest's, which a symlink of the image may bring
 * there unforeseen. A root without a /dev of its own gets a tmpfs there, so that device nodes are
 * never made in the image.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>

#include "oci/guest_blob.h"
#include "oci/hooks.h"
#include "oci/json_text.h"
#include "oci/mounts.h"
#include "oci/seccomp_compile.h"
#include "oci/spec_disk.h"
#include "oci/spec_limits.h"
#include "util/cleanup.h"
#include "util/util.h"

#define FS_DATA_MAX (SPEC_LIM_MOUNT_DATA + 32)

_Static_assert(RLIM_NLIMITS <= BLOB_MAX_RLIMITS, "all of them fit");
_Static_assert(BLOB_NS_IPC == CLONE_NEWIPC && BLOB_NS_UTS == CLONE_NEWUTS &&
		BLOB_NS_CGROUP == CLONE_NEWCGROUP && BLOB_NS_TIME == CLONE_NEWTIME,
	"kernel's numbers");

void caller_limits(struct caller_limits *l)
{
	for (unsigned i = 0; i < RLIM_NLIMITS; i++)
		l->have[i] = !getrlimit((__rlimit_resource_t)i, &l->v[i]);
}

static void put_rlimits(
	struct blob_w *w, const struct spec_process *p, const struct caller_limits *lim)
{
	uint32_t given = 0;

	for (size_t i = 0; i < p->n_rlimits; i++) {
		given |= 1U << p->rlimits[i].resource;
		blob_put_rlimit(w, (uint32_t)p->rlimits[i].resource, p->rlimits[i].soft,
			p->rlimits[i].hard);
	}
	for (unsigned i = 0; lim && i < RLIM_NLIMITS; i++) {
		if (lim->have[i] && !(given >> i & 1))
			blob_put_rlimit(w, i, lim->v[i].rlim_cur, lim->v[i].rlim_max);
	}
}

static void put_process(struct blob_w *w, const struct spec_process *p, const struct spec_linux *l,
	unsigned stdio, const struct morefds *more, const struct caller_limits *lim,
	uint64_t cpu_mask)
{
	struct blob_process b = { .flags = BLOB_P_CAPS,
		.stdio = stdio,
		.cpu_mask = cpu_mask,
		.uid = p->user.uid,
		.gid = p->user.gid,
		.rows = p->rows,
		.cols = p->cols };

	if (p->no_new_privs)
		b.flags |= BLOB_P_NO_NEW_PRIVS;
	if (p->user.umask.set) {
		b.flags |= BLOB_P_UMASK;
		b.umask = p->user.umask.v;
	}
	if (p->oom_score_adj.set) {
		b.flags |= BLOB_P_OOM;
		b.oom_score_adj = (int32_t)p->oom_score_adj.v;
	}
	if (p->scheduler.set) {
		const struct spec_scheduler *d = &p->scheduler;

		b.flags |= BLOB_P_SCHED;
		b.sched_policy = d->policy;
		b.sched_nice = d->nice;
		b.sched_priority = (uint32_t)d->priority;
		b.sched_flags = d->flags;
		b.sched_runtime = d->runtime;
		b.sched_deadline = d->deadline;
		b.sched_period = d->period;
	}
	if (p->ioprio.set) {
		b.flags |= BLOB_P_IOPRIO;
		b.ioprio = (uint32_t)p->ioprio.class << 13 | (uint32_t)p->ioprio.priority;
	}
	if (l->personality_set) {
		b.flags |= BLOB_P_PERSONALITY;
		b.personality = (uint32_t)l->personality;
	}
	b.caps[BLOB_CAP_EFF] = p->caps.effective;
	b.caps[BLOB_CAP_BND] = p->caps.bounding;
	b.caps[BLOB_CAP_INH] = p->caps.inheritable;
	b.caps[BLOB_CAP_PRM] = p->caps.permitted;
	b.caps[BLOB_CAP_AMB] = p->caps.ambient;
	blob_put_process(w, &b);
	for (size_t i = 0; i < p->args.n; i++)
		blob_put_str(w, BLOB_T_ARG, p->args.v[i]);
	for (size_t i = 0; i < p->env.n; i++)
		blob_put_str(w, BLOB_T_ENV, p->env.v[i]);
	blob_put_str(w, BLOB_T_CWD, p->cwd);
	if (p->user.n_groups)
		blob_put_gids(w, p->user.groups, p->user.n_groups);
	put_rlimits(w, p, lim);
	for (unsigned i = 0; i < more->n; i++)
		blob_put_fd(w, more->kind[i]);
}

/* A container without "process" can be created: something harmless is held and never released. */
static void put_no_process(struct blob_w *w)
{
	struct blob_process b = { .flags = 0 };

	blob_put_process(w, &b);
	blob_put_str(w, BLOB_T_ARG, "/");
}

static int put_seccomp(struct blob_w *w, const struct spec *s, struct error *e)
{
	CLEAN(seccomp_prog_free) struct seccomp_prog prog = { 0 };
	int r = seccomp_compile(&s->linux_.seccomp, &prog, e);

	if (!r && prog.len)
		blob_put_seccomp(w, prog.flags, prog.bpf, prog.len / 8);
	return r;
}

static const char *fs_type(enum spec_mount_kind k)
{
	static const char *const names[] = {
		[SPEC_MNT_TMPFS] = "tmpfs",
		[SPEC_MNT_PROC] = "proc",
		[SPEC_MNT_SYSFS] = "sysfs",
		[SPEC_MNT_DEVPTS] = "devpts",
		[SPEC_MNT_MQUEUE] = "mqueue",
		[SPEC_MNT_CGROUP] = "cgroup2",
	};

	return names[k];
}

static bool mounts_on(const struct spec *s, const char *where)
{
	for (size_t i = 0; i < s->n_mounts; i++) {
		if (!strcmp(s->mounts[i].destination, where))
			return true;
	}
	return false;
}

/* What a file system of the guest's is mounted with, the flags of it as a whole among them. */
static const char *fs_data(const struct spec_mount *m, char text[static FS_DATA_MAX])
{
	if (m->kind == SPEC_MNT_CGROUP)
		return "";
	(void)snprintf(text, FS_DATA_MAX, "%s%s%s%s", m->data,
		m->set & MS_SYNCHRONOUS ? ",sync" : "", m->set & MS_DIRSYNC ? ",dirsync" : "",
		m->set & MS_LAZYTIME ? ",lazytime" : "");
	return text + (*text == ',');
}

static void put_mounts(struct blob_w *w, const struct spec *s)
{
	char data[FS_DATA_MAX];

	if (!mounts_on(s, "/dev")) {
		struct blob_mount dev = { .kind = BLOB_M_FS,
			.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME };

		blob_put_mount(w, &dev, "tmpfs", "tmpfs", "/dev", "mode=755,size=65536k");
	}
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct spec_mount *m = &s->mounts[i];
		struct blob_mount b = { .attr_set = mount_attr_of(m->set),
			/* atime, nostrictatime: what is so by itself; the kernel takes no half of
			   it */
			.attr_clr = mount_attr_of(m->clear) & ~(uint64_t)MOUNT_ATTR__ATIME,
			.rec_set = m->rec_set,
			.rec_clr = m->rec_clear,
			.propagation = (uint32_t)m->propagation };

		if (mount_is_guests(m)) {
			b.kind = BLOB_M_FS;
			b.flags = m->tmpcopyup ? BLOB_M_COPYUP : 0;
			blob_put_mount(w, &b, fs_type(m->kind),
				m->source ? m->source : fs_type(m->kind), m->destination,
				fs_data(m, data));
		} else {
			/* what is not recursive ends at the host's side */
			b.kind = BLOB_M_BIND;
			b.attr_set |= m->source_attr;
			b.flags = BLOB_M_RECURSIVE;
			blob_put_mount(w, &b, "", m->destination, m->destination, "");
		}
	}
}

static void put_limits(struct blob_w *w, const struct spec *s, const struct vm_size *size)
{
	const struct spec_resources *r = &s->linux_.res;
	char text[32];

	if (size->guest_max) {
		(void)snprintf(text, sizeof(text), "%" PRIu64, size->guest_max);
		blob_put_pair(w, BLOB_T_CGROUP, "memory.max", text);
	}
	if (r->pids.set && r->pids.v > 0) {
		(void)snprintf(text, sizeof(text), "%" PRId64, r->pids.v);
		blob_put_pair(w, BLOB_T_CGROUP, "pids.max", text);
	}
	if (size->cpus && size->cpus < size->vcpus) {
		(void)snprintf(text, sizeof(text), "0-%u", size->cpus - 1);
		blob_put_pair(w, BLOB_T_CGROUP, "cpuset.cpus", text);
	}
	for (size_t i = 0; i < r->n_unified; i++) {
		const struct spec_kv *u = &r->unified[i];

		if (spec_unified_side(u->key) == SPEC_UNIFIED_GUEST)
			blob_put_pair(w, BLOB_T_CGROUP, u->key, u->value);
	}
}

/* In a UTS namespace that is not of its own the container goes by the names that are set there. */
static void put_names(struct blob_w *w, const struct spec *s)
{
	const struct spec_ns *ns = &s->linux_.ns[SPEC_NS_UTS];
	const char *host = s->hostname, *domain = s->domainname;
	struct utsname u;

	if ((!ns->set || ns->path) && !uname(&u)) {
		host = host ? host : u.nodename;
		if (!domain && strcmp(u.domainname, "(none)") != 0)
			domain = u.domainname;
	}
	if (host && *host)
		blob_put_str(w, BLOB_T_HOSTNAME, host);
	if (domain && *domain)
		blob_put_str(w, BLOB_T_DOMAINNAME, domain);
}

static void put_container(struct blob_w *w, const struct spec *s)
{
	bool ro = s->root_readonly || s->root_attr & MOUNT_ATTR_RDONLY;
	struct blob_container c = { .flags = (ro ? BLOB_C_ROOT_RO : 0) |
			(s->root_attr & MOUNT_ATTR_NOSUID ? BLOB_C_ROOT_NOSUID : 0) |
			(s->root_attr & MOUNT_ATTR_NODEV ? BLOB_C_ROOT_NODEV : 0) |
			(s->root_attr & MOUNT_ATTR_NOEXEC ? BLOB_C_ROOT_NOEXEC : 0) |
			(s->root_attr & MOUNT_ATTR_NOSYMFOLLOW ? BLOB_C_ROOT_NOSYMFOLLOW : 0),
		.root_propagation = (uint32_t)s->linux_.rootfs_propagation };

	if (s->linux_.ns[SPEC_NS_IPC].set)
		c.namespaces |= BLOB_NS_IPC;
	if (s->linux_.ns[SPEC_NS_UTS].set)
		c.namespaces |= BLOB_NS_UTS;
	if (s->linux_.ns[SPEC_NS_TIME].set)
		c.namespaces |= BLOB_NS_TIME;
	/* without its own cgroup namespace the guest would show the agent's side of the tree, which
	 * is nobody's business */
	c.namespaces |= BLOB_NS_CGROUP;
	blob_put_container(w, &c);
	if (s->linux_.monotonic.set)
		blob_put_timeoff(
			w, CLOCK_MONOTONIC, s->linux_.monotonic.secs, s->linux_.monotonic.nsecs);
	if (s->linux_.boottime.set)
		blob_put_timeoff(
			w, CLOCK_BOOTTIME, s->linux_.boottime.secs, s->linux_.boottime.nsecs);
	put_names(w, s);
	put_mounts(w, s);
	for (size_t i = 0; i < s->linux_.masked_paths.n; i++)
		blob_put_str(w, BLOB_T_MASKED, s->linux_.masked_paths.v[i]);
	for (size_t i = 0; i < s->linux_.readonly_paths.n; i++)
		blob_put_str(w, BLOB_T_READONLY, s->linux_.readonly_paths.v[i]);
	for (size_t i = 0; i < s->linux_.n_sysctl; i++)
		blob_put_pair(w, BLOB_T_SYSCTL, s->linux_.sysctl[i].key, s->linux_.sysctl[i].value);
}

static void put_devices(struct blob_w *w, const struct spec *s)
{
	for (size_t i = 0; i < s->linux_.n_devices; i++) {
		const struct spec_device *d = &s->linux_.devices[i];
		struct blob_device b = { .type = d->type == 'b' ? S_IFBLK
				: d->type == 'p'		? S_IFIFO
								: S_IFCHR,
			.major = d->major,
			.minor = d->minor,
			.mode = d->mode.set ? d->mode.v & 07777 : 0666,
			.uid = d->uid.set ? d->uid.v : 0,
			.gid = d->gid.set ? d->gid.v : 0 };

		blob_put_device(w, &b, d->path);
	}
	/* Numbers of the guest's kernel: the agent finds them by the name. */
	for (unsigned i = 0; i < spec_disk_count(s); i++) {
		char path[] = { '/', 'd', 'e', 'v', '/', 'v', 'd', (char)('a' + i), 0 };
		struct blob_device b = { .type = S_IFBLK,
			.mode = 0600,
			.uid = s->process.user.uid,
			.gid = s->process.user.gid };

		blob_put_device(w, &b, path);
	}
}

/* startContainer hooks run in the container's namespaces, which are the guest's. */
static int put_hooks(
	struct blob_w *w, const struct spec *s, const struct container *c, struct error *e)
{
	const struct spec_hooks *hooks = &s->hooks[SPEC_HOOK_START_CONTAINER];
	CLEAN_FREE char *state = NULL;
	size_t len = 0;
	int r = hooks->n ? hooks_state_json(s, c, "created", 1, &state, &len) : 0;

	if (r)
		return err_sys(e, r, "the state for hooks");
	if (state)
		blob_put_str(w, BLOB_T_HOOK_STATE, state);
	for (size_t i = 0; i < hooks->n; i++) {
		const struct spec_hook *h = &hooks->v[i];
		struct blob_hook b = { .timeout = h->timeout,
			.flags = h->env_set ? BLOB_HOOK_ENV : 0 };

		blob_put_hook(w, &b, h->path);
		if (!h->args.n)
			blob_put_str(w, BLOB_T_HOOK_ARG, h->path);
		for (size_t k = 0; k < h->args.n; k++)
			blob_put_str(w, BLOB_T_HOOK_ARG, h->args.v[k]);
		for (size_t k = 0; h->env_set && k < h->env.n; k++)
			blob_put_str(w, BLOB_T_HOOK_ENV, h->env.v[k]);
	}
	return 0;
}

/* What of the config a record is made from. */
static const char *field(uint16_t tag)
{
	static const char *const names[] = {
		[BLOB_T_ARG] = "process.args",
		[BLOB_T_ENV] = "process.env",
		[BLOB_T_CWD] = "process.cwd",
		[BLOB_T_GIDS] = "process.user.additionalGids",
		[BLOB_T_RLIMIT] = "process.rlimits",
		[BLOB_T_SECCOMP] = "linux.seccomp",
		[BLOB_T_IN_CGROUP] = "--cgroup",
		[BLOB_T_HOSTNAME] = "hostname",
		[BLOB_T_DOMAINNAME] = "domainname",
		[BLOB_T_MOUNT] = "mounts",
		[BLOB_T_MASKED] = "linux.maskedPaths",
		[BLOB_T_READONLY] = "linux.readonlyPaths",
		[BLOB_T_DEVICE] = "linux.devices",
		[BLOB_T_SYSCTL] = "linux.sysctl",
		[BLOB_T_HOOK] = "hooks.startContainer",
		[BLOB_T_HOOK_ARG] = "hooks.startContainer",
		[BLOB_T_HOOK_ENV] = "hooks.startContainer",
		[BLOB_T_HOOK_STATE] = "hooks.startContainer: the state, annotations among it",
		[BLOB_T_NOTIFY] = "process.env: NOTIFY_SOCKET",
		[BLOB_T_CGROUP] = "linux.resources",
	};

	return tag < ARRAY_SIZE(names) && names[tag] ? names[tag] : "process";
}

int guest_blob(const struct spec *s, const struct container *c, const struct vm_size *size,
	const char *notify, unsigned stdio, const struct morefds *more,
	const struct caller_limits *lim, uint8_t **out, size_t *len, struct error *e)
{
	struct msg_proc head = { .proc = PROTO_PROC_INIT };
	struct blob_w w;
	int r;

	blob_begin(&w, BLOB_CREATE, sizeof(head));
	if (s->process.set)
		put_process(&w, &s->process, &s->linux_, stdio, more, lim, 0);
	else
		put_no_process(&w);
	r = put_seccomp(&w, s, e);
	put_container(&w, s);
	if (notify)
		blob_put_str(&w, BLOB_T_NOTIFY, notify);
	put_devices(&w, s);
	put_limits(&w, s, size);
	if (!r)
		r = put_hooks(&w, s, c, e);
	if (r) {
		free(w.buf);
		return r;
	}
	r = blob_done(&w, out, len);
	if (r)
		return err_sys(e, r, "config.json: %s: too large for the guest", field(w.err_tag));
	(void)memcpy(*out, &head, sizeof(head));
	return 0;
}

int guest_blob_exec(const struct spec *s, const struct spec_process *p,
	const struct seccomp_prog *filter, const char *cgroup, unsigned stdio,
	const struct morefds *more, const struct caller_limits *lim, uint8_t **out, size_t *len,
	struct error *e)
{
	uint64_t cpus = 0;
	struct blob_w w;
	int r;

	/* as sched_setaffinity(2) sees it: what is not there does not count, unless that is all */
	if (p->cpu_final && !spec_cpu_bits(p->cpu_final, &cpus, 1))
		return err_set(e, EINVAL,
			"process.execCPUAffinity.final: %s: the guest has no such CPU",
			QUOTE(p->cpu_final));
	blob_begin(&w, BLOB_EXEC, sizeof(struct msg_proc));
	put_process(&w, p, &s->linux_, stdio, more, lim, cpus);
	if (cgroup)
		blob_put_str(&w, BLOB_T_IN_CGROUP, cgroup);
	if (filter->len)
		blob_put_seccomp(&w, filter->flags, filter->bpf, filter->len / 8);
	r = blob_done(&w, out, len);
	if (r)
		return err_sys(e, r, "%s: too large for the guest", field(w.err_tag));
	return 0;
}

int guest_blob_limit(const char *file, const char *text, uint8_t **out, size_t *len)
{
	struct msg_proc head = { .proc = PROTO_PROC_INIT };
	struct blob_w w;
	int r;

	blob_begin(&w, BLOB_UPDATE, sizeof(head));
	blob_put_pair(&w, BLOB_T_CGROUP, file, text);
	r = blob_done(&w, out, len);
	if (!r)
		(void)memcpy(*out, &head, sizeof(head));
	return r;
}
