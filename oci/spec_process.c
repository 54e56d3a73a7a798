// SPDX-License-Identifier: Apache-2.0
/* The `process` section: of config.json, and of exec's --process file. */
/*
 * How it works
 *
 * Names become the numbers of the kernel here, by tables, so that nothing behind this file compares
 * strings. What would fail in the guest with a bare errno is checked for while the place in the
 * config can still be named: soft limits above hard ones, effective capabilities that are not
 * permitted, priorities that do not fit the policy, arguments larger than the kernel takes.
 *
 * An unknown capability is a warning, since configs are written for kernels newer than the guest's
 * and leaving a right out is safe; an unknown rlimit or policy is an error, as leaving a limit out
 * is not.
 */
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/resource.h>

#include "oci/caps.h"
#include "oci/spec_read.h"

static const struct rd_name RLIMITS[] = {
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
};

static const struct rd_name POLICIES[] = {
	{ "SCHED_OTHER", SCHED_NORMAL },
	{ "SCHED_FIFO", SCHED_FIFO },
	{ "SCHED_RR", SCHED_RR },
	{ "SCHED_BATCH", SCHED_BATCH },
	{ "SCHED_ISO", 4 /* reserved */ },
	{ "SCHED_IDLE", SCHED_IDLE },
	{ "SCHED_DEADLINE", SCHED_DEADLINE },
};

static const struct rd_name SCHED_FLAGS[] = {
	{ "SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK },
	{ "SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM },
	{ "SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN },
	{ "SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY },
	{ "SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS },
	{ "SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX },
};

static const struct rd_name IO_CLASSES[] = {
	{ "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT },
	{ "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE },
	{ "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE },
};

/* (uid_t)-1 means "leave as it is" to the kernel, so it is no id. */
#define ID_MAX (UINT32_MAX - 1)

static void read_user(struct rd *p, const struct json *n, struct spec_user *u)
{
	const struct json *groups, *g;

	u->uid = rd_u32(p, n, "uid", ID_MAX).v;
	u->gid = rd_u32(p, n, "gid", ID_MAX).v;
	u->umask = rd_u32(p, n, "umask", 0777);
	groups = rd_array(p, n, "additionalGids", SPEC_LIM_GROUPS, JSON_NUMBER);
	if (!groups)
		return;
	u->groups = rd_alloc(p, groups->n, sizeof(*u->groups));
	json_for_each(g, groups)
	{
		uint64_t v;
		bool neg;

		if (p->err)
			return;
		if (json_whole(g->text, &neg, &v) || neg || v > ID_MAX) {
			rd_fail(p, g, NULL, "%.24s is not a group id", g->text);
			return;
		}
		u->groups[u->n_groups++] = (uint32_t)v;
	}
}

static void read_args(struct rd *p, const struct json *n, struct spec_process *out)
{
	size_t bytes = 0;

	(void)rd_need(p, n, "args", JSON_ARRAY);
	rd_strings(p, n, "args", SPEC_LIM_ARGS, &out->args);
	rd_strings(p, n, "env", SPEC_LIM_ENV, &out->env);
	if (p->err)
		return;
	if (!out->args.n || !out->args.v[0][0]) {
		rd_fail(p, n, "args", "must name a program");
		return;
	}
	for (size_t i = 0; i < out->env.n; i++) {
		const char *eq = strchr(out->env.v[i], '=');

		bytes += strlen(out->env.v[i]) + 1 + sizeof(char *);
		if (!eq || eq == out->env.v[i]) {
			rd_fail(p, n, "env", "%s is not of the form NAME=VALUE",
				QUOTE(out->env.v[i]));
			return;
		}
	}
	for (size_t i = 0; i < out->args.n; i++)
		bytes += strlen(out->args.v[i]) + 1 + sizeof(char *);
	if (bytes > SPEC_LIM_ARG_BYTES)
		rd_fail(p, n, "args", "args and env together are larger than %u bytes",
			SPEC_LIM_ARG_BYTES);
}

static uint64_t read_cap_set(struct rd *p, const struct json *n, const char *key)
{
	const struct json *a = rd_array(p, n, key, SPEC_LIM_CAPS, JSON_STRING), *c;
	uint64_t set = 0;

	if (!a)
		return 0;
	json_for_each(c, a)
	{
		int bit = cap_bit(c->text);

		if (bit < 0)
			rd_warn(p, c, NULL, "unknown capability %s is left out", QUOTE(c->text));
		else
			set |= 1ULL << bit;
	}
	return set;
}

static void read_caps(struct rd *p, const struct json *n, struct spec_caps *out)
{
	uint64_t excess;

	out->set = true;
	out->bounding = read_cap_set(p, n, "bounding");
	out->effective = read_cap_set(p, n, "effective");
	out->inheritable = read_cap_set(p, n, "inheritable");
	out->permitted = read_cap_set(p, n, "permitted");
	out->ambient = read_cap_set(p, n, "ambient");
	excess = out->effective & ~out->permitted;
	if (excess)
		rd_fail(p, n, "effective", "%s is not in permitted",
			cap_bit_name(__builtin_ctzll(excess)));
}

static void read_rlimit(struct rd *p, const struct json *n, struct spec_process *out)
{
	struct spec_rlimit *l = &out->rlimits[out->n_rlimits];
	const struct json *type = rd_need(p, n, "type", JSON_STRING);
	struct opt_u64 soft = rd_u64(p, n, "soft", UINT64_MAX);
	struct opt_u64 hard = rd_u64(p, n, "hard", UINT64_MAX);
	uint64_t v;

	if (!type || !rd_name(p, type, RLIMITS, ARRAY_SIZE(RLIMITS), "resource", &v))
		return;
	if (!soft.set || !hard.set) {
		rd_fail(p, n, soft.set ? "hard" : "soft", "missing");
		return;
	}
	if (soft.v > hard.v) {
		rd_fail(p, n, "soft", "larger than hard");
		return;
	}
	for (size_t i = 0; i < out->n_rlimits; i++)
		if (out->rlimits[i].resource == (int)v) {
			rd_fail(p, type, NULL, "%s stands twice", type->text);
			return;
		}
	*l = (struct spec_rlimit){ (int)v, rd_dup(p, type->text), soft.v, hard.v };
	out->n_rlimits++;
}

static void read_rlimits(struct rd *p, const struct json *n, struct spec_process *out)
{
	const struct json *a = rd_array(p, n, "rlimits", 2 * ARRAY_SIZE(RLIMITS), JSON_OBJECT), *l;

	if (!a)
		return;
	out->rlimits = rd_alloc(p, a->n, sizeof(*out->rlimits));
	json_for_each(l, a)
	{
		if (p->err)
			return;
		read_rlimit(p, l, out);
	}
}

static void read_scheduler(struct rd *p, const struct json *n, struct spec_scheduler *out)
{
	const struct json *policy = rd_need(p, n, "policy", JSON_STRING);
	const struct json *flags = rd_array(p, n, "flags", 16, JSON_STRING), *f;
	uint64_t v;
	bool rt;

	out->set = true;
	if (!policy || !rd_name(p, policy, POLICIES, ARRAY_SIZE(POLICIES), "policy", &v))
		return;
	out->policy = (uint32_t)v;
	out->nice = (int32_t)rd_i64(p, n, "nice", -20, 19).v;
	out->priority = (int32_t)rd_i64(p, n, "priority", 0, 99).v;
	out->runtime = rd_u64(p, n, "runtime", UINT64_MAX).v;
	out->deadline = rd_u64(p, n, "deadline", UINT64_MAX).v;
	out->period = rd_u64(p, n, "period", UINT64_MAX).v;
	if (flags)
		json_for_each(f, flags)
		{
			if (!rd_name(p, f, SCHED_FLAGS, ARRAY_SIZE(SCHED_FLAGS), "flag", &v))
				return;
			out->flags |= v;
		}
	rt = out->policy == SCHED_FIFO || out->policy == SCHED_RR;
	if (rt != (out->priority > 0))
		rd_fail(p, n, "priority", rt ? "must be 1 to 99 with %s" : "must be 0 with %s",
			policy->text);
	if (out->policy != SCHED_DEADLINE && (out->runtime || out->deadline || out->period))
		rd_fail(p, n, "runtime", "belongs to SCHED_DEADLINE, not to %s", policy->text);
}

static void read_ioprio(struct rd *p, const struct json *n, struct spec_ioprio *out)
{
	const struct json *class = rd_need(p, n, "class", JSON_STRING);
	uint64_t v;

	out->set = true;
	if (!class || !rd_name(p, class, IO_CLASSES, ARRAY_SIZE(IO_CLASSES), "class", &v))
		return;
	out->class = (int)v;
	out->priority = (int)rd_u32(p, n, "priority", 7).v;
}

static const char *read_affinity(struct rd *p, const struct json *n, const char *key)
{
	const struct json *s = rd_get(p, n, key, JSON_STRING);
	unsigned count;

	if (!s || !s->len)
		return NULL;
	if (!rd_cpu_list(s->text, &count)) {
		rd_fail(p, s, NULL, "%s is not a list of CPUs", QUOTE(s->text));
		return NULL;
	}
	return rd_dup(p, s->text);
}

void spec_read_process(struct rd *p, const struct json *n, struct spec_process *out)
{
	const struct json *size = rd_get(p, n, "consoleSize", JSON_OBJECT);
	const struct json *affinity = rd_get(p, n, "execCPUAffinity", JSON_OBJECT);
	const struct json *part;

	out->set = true;
	out->terminal = rd_bool(p, n, "terminal");
	out->no_new_privs = rd_bool(p, n, "noNewPrivileges");
	out->rows = (uint16_t)rd_u32(p, size, "height", UINT16_MAX).v;
	out->cols = (uint16_t)rd_u32(p, size, "width", UINT16_MAX).v;
	part = rd_get(p, n, "user", JSON_OBJECT);
	out->user_set = part;
	if (part)
		read_user(p, part, &out->user);
	read_args(p, n, out);
	(void)rd_need_string(p, n, "cwd");
	out->cwd = rd_abs_path(p, n, "cwd", false);
	part = rd_get(p, n, "capabilities", JSON_OBJECT);
	if (part)
		read_caps(p, part, &out->caps);
	read_rlimits(p, n, out);
	out->apparmor_profile = rd_string(p, n, "apparmorProfile");
	out->selinux_label = rd_string(p, n, "selinuxLabel");
	out->oom_score_adj = rd_i64(p, n, "oomScoreAdj", -1000, 1000);
	part = rd_get(p, n, "scheduler", JSON_OBJECT);
	if (part)
		read_scheduler(p, part, &out->scheduler);
	part = rd_get(p, n, "ioPriority", JSON_OBJECT);
	if (part)
		read_ioprio(p, part, &out->ioprio);
	out->cpu_initial = read_affinity(p, affinity, "initial");
	out->cpu_final = read_affinity(p, affinity, "final");
}
