// SPDX-License-Identifier: Apache-2.0
/* linux.seccomp: names become numbers; seccomp_compile.c makes the program. */
/*
 * How it works
 *
 * One table per kind of word (actions, architectures, operators, flags), in terms of libseccomp;
 * the same tables are what `features` prints, by spec_seccomp_word(), so it can claim nothing that
 * is not read. A word that is unknown is an error: a filter without one of its rules is another
 * filter.
 *
 * Names of system calls stay text. Which of them exist depends on the architecture and the
 * library's version, and the compiler skips those it does not know, as profiles list calls of newer
 * kernels. An action carries its errno or tracer's message in its low 16 bits, so it is folded in
 * here.
 */
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>

#include "oci/spec_read.h"

/* Linux 5.19 */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

#define ERRNO_MAX 4095

static const struct rd_name ACTIONS[] = {
	{ "SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD },
	{ "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
	{ "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
	{ "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
	{ "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0) },
	{ "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0) },
	{ "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW },
	{ "SCMP_ACT_LOG", SCMP_ACT_LOG },
	{ "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY },
};

static const struct rd_name ARCHS[] = {
	{ "SCMP_ARCH_X86", SCMP_ARCH_X86 },
	{ "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64 },
	{ "SCMP_ARCH_X32", SCMP_ARCH_X32 },
	{ "SCMP_ARCH_ARM", SCMP_ARCH_ARM },
	{ "SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64 },
	{ "SCMP_ARCH_MIPS", SCMP_ARCH_MIPS },
	{ "SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64 },
	{ "SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32 },
	{ "SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL },
	{ "SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64 },
	{ "SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32 },
	{ "SCMP_ARCH_PPC", SCMP_ARCH_PPC },
	{ "SCMP_ARCH_PPC64", SCMP_ARCH_PPC64 },
	{ "SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE },
	{ "SCMP_ARCH_S390", SCMP_ARCH_S390 },
	{ "SCMP_ARCH_S390X", SCMP_ARCH_S390X },
	{ "SCMP_ARCH_PARISC", SCMP_ARCH_PARISC },
	{ "SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64 },
	{ "SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64 },
};

static const struct rd_name OPERATORS[] = {
	{ "SCMP_CMP_NE", SCMP_CMP_NE },
	{ "SCMP_CMP_LT", SCMP_CMP_LT },
	{ "SCMP_CMP_LE", SCMP_CMP_LE },
	{ "SCMP_CMP_EQ", SCMP_CMP_EQ },
	{ "SCMP_CMP_GE", SCMP_CMP_GE },
	{ "SCMP_CMP_GT", SCMP_CMP_GT },
	{ "SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ },
};

static const struct rd_name FLAGS[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC },
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
};

const char *spec_seccomp_word(enum spec_seccomp_list list, size_t i)
{
	static const struct {
		const struct rd_name *v;
		size_t n;
	} LISTS[] = {
		[SPEC_SECCOMP_ACTIONS] = { ACTIONS, ARRAY_SIZE(ACTIONS) },
		[SPEC_SECCOMP_ARCHS] = { ARCHS, ARRAY_SIZE(ARCHS) },
		[SPEC_SECCOMP_OPERATORS] = { OPERATORS, ARRAY_SIZE(OPERATORS) },
		[SPEC_SECCOMP_FLAGS] = { FLAGS, ARRAY_SIZE(FLAGS) },
	};

	return i < LISTS[list].n ? LISTS[list].v[i].name : NULL;
}

/* An action and what goes with it: an errno (EPERM unless given), or the tracer's message. */
static uint32_t read_action(struct rd *p, const struct json *n, const char *key,
	const char *errno_key, struct spec_seccomp *out)
{
	const struct json *name = rd_need(p, n, key, JSON_STRING);
	struct opt_u32 ret = rd_u32(p, n, errno_key, UINT16_MAX);
	uint64_t v;

	if (!name || !rd_name(p, name, ACTIONS, ARRAY_SIZE(ACTIONS), "action", &v))
		return 0;
	if (v == SCMP_ACT_ERRNO(0)) {
		if (ret.v > ERRNO_MAX)
			rd_fail(p, n, errno_key, "%u is not an errno", ret.v);
		return SCMP_ACT_ERRNO(ret.set ? ret.v : 1 /* EPERM, the spec's default */);
	}
	if (v == SCMP_ACT_TRACE(0))
		return SCMP_ACT_TRACE(ret.set ? ret.v : 1);
	if (ret.set)
		rd_fail(p, n, errno_key, "belongs to SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not to %s",
			name->text);
	out->notify = out->notify || v == SCMP_ACT_NOTIFY;
	return (uint32_t)v;
}

static void read_compare(struct rd *p, const struct json *n, struct spec_seccomp_arg *a)
{
	const struct json *op = rd_need(p, n, "op", JSON_STRING);
	struct opt_u64 value = rd_u64(p, n, "value", UINT64_MAX);
	uint64_t v;

	a->index = rd_need_u32(p, n, "index", 5);
	if (!op || !rd_name(p, op, OPERATORS, ARRAY_SIZE(OPERATORS), "operator", &v))
		return;
	if (!value.set)
		rd_fail(p, n, "value", "missing");
	a->op = (uint32_t)v;
	a->value = value.v;
	a->value_two = rd_u64(p, n, "valueTwo", UINT64_MAX).v;
}

static void read_rule(struct rd *p, const struct json *n, struct spec_seccomp *out)
{
	struct spec_seccomp_rule *r = &out->rules[out->n_rules++];
	const struct json *args = rd_array(p, n, "args", SPEC_LIM_SYSCALL_ARGS, JSON_OBJECT), *a;

	(void)rd_need(p, n, "names", JSON_ARRAY);
	rd_strings(p, n, "names", SPEC_LIM_SYSCALL_NAMES, &r->names);
	if (!p->err && !r->names.n)
		rd_fail(p, n, "names", "must not be empty");
	r->action = read_action(p, n, "action", "errnoRet", out);
	if (!args)
		return;
	r->args = rd_alloc(p, args->n, sizeof(*r->args));
	json_for_each(a, args)
	{
		if (p->err)
			return;
		read_compare(p, a, &r->args[r->n_args++]);
	}
}

static void read_archs(struct rd *p, const struct json *n, struct spec_seccomp *out)
{
	const struct json *a = rd_array(p, n, "architectures", 64, JSON_STRING), *i;
	uint64_t v;

	if (!a)
		return;
	out->archs = rd_alloc(p, a->n, sizeof(*out->archs));
	json_for_each(i, a)
	{
		if (p->err || !rd_name(p, i, ARCHS, ARRAY_SIZE(ARCHS), "architecture", &v))
			return;
		out->archs[out->n_archs++] = (uint32_t)v;
	}
}

void spec_read_seccomp(struct rd *p, const struct json *n, struct spec_seccomp *out)
{
	const struct json *flags = rd_array(p, n, "flags", 64, JSON_STRING), *a;
	uint64_t v;

	out->set = true;
	out->default_action = read_action(p, n, "defaultAction", "defaultErrnoRet", out);
	read_archs(p, n, out);
	if (flags)
		json_for_each(a, flags)
		{
			if (!rd_name(p, a, FLAGS, ARRAY_SIZE(FLAGS), "flag", &v))
				return;
			out->flags |= (uint32_t)v;
		}
	out->listener_path = rd_abs_path(p, n, "listenerPath", false);
	out->listener_metadata = rd_string(p, n, "listenerMetadata");
	if (out->listener_metadata && *out->listener_metadata && !out->listener_path)
		rd_fail(p, n, "listenerMetadata", "needs listenerPath");
	a = rd_array(p, n, "syscalls", SPEC_LIM_SYSCALLS, JSON_OBJECT);
	if (!a)
		return;
	out->rules = rd_alloc(p, a->n, sizeof(*out->rules));
	for (a = a->child; a && !p->err; a = a->next)
		read_rule(p, a, out);
}
