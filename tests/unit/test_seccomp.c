// SPDX-License-Identifier: Apache-2.0
/* Profiles compiled, and the programs run: what does each call get? */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci/seccomp_cache.h"
#include "oci/seccomp_compile.h"
#include "oci/spec.h"
#include "tests/unit/bad_configs/make.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"

/* What the kernel's interpreter answers; ~0 for an instruction that it would not have taken. */
static uint32_t run(const struct seccomp_prog *p, const struct seccomp_data *d)
{
	const struct sock_filter *f = p->bpf;
	size_t n = p->len / sizeof(*f);
	uint32_t a = 0, x = 0, mem[16] = { 0 };

	for (size_t pc = 0; pc < n; pc++) {
		uint32_t k = f[pc].k;
		bool yes;

		switch (f[pc].code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (k > sizeof(*d) - 4 || k % 4)
				return ~0U;
			memcpy(&a, (const char *)d + k, 4);
			continue;
		case BPF_LD | BPF_MEM:
			a = mem[k % 16];
			continue;
		case BPF_ST:
			mem[k % 16] = a;
			continue;
		case BPF_MISC | BPF_TAX:
			x = a;
			continue;
		case BPF_MISC | BPF_TXA:
			a = x;
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= k;
			continue;
		case BPF_RET | BPF_K:
			return k;
		case BPF_JMP | BPF_JA:
			pc += k;
			continue;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			yes = a > k;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			yes = a >= k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = a & k;
			break;
		default:
			return ~0U;
		}
		pc += yes ? f[pc].jt : f[pc].jf;
	}
	return ~0U;
}

static bool compile(const char *seccomp, struct seccomp_prog *out, struct error *e)
{
	CLEAN_FREE char *doc = NULL;
	CLEAN_FREE char *json = NULL;
	CLEAN(spec_freep) struct spec *s = NULL;

	if (asprintf(&doc, "{'ociVersion':'1.0.2','root':{'path':'r'},'linux':{'seccomp':%s}}",
		    seccomp) < 0)
		return false;
	json = json_of(doc);
	return !spec_parse(json, strlen(json), &s, e) &&
		!seccomp_compile(&s->linux_.seccomp, out, e);
}

#define CALL(nr_, ...) \
	(&(struct seccomp_data){ .nr = (nr_), .arch = AUDIT_ARCH_X86_64, .args = { __VA_ARGS__ } })

static void actions(void)
{
	CLEAN(seccomp_prog_free) struct seccomp_prog p = { 0 };

	CHECK(compile("{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':38,"
		      "'flags':['SECCOMP_FILTER_FLAG_LOG'],'syscalls':["
		      "{'names':['read','write','no_such_call_ever'],'action':'SCMP_ACT_ALLOW'},"
		      "{'names':['mount'],'action':'SCMP_ACT_KILL_PROCESS'},"
		      "{'names':['ptrace'],'action':'SCMP_ACT_ERRNO'},"
		      "{'names':['reboot'],'action':'SCMP_ACT_ERRNO','errnoRet':38},"
		      "{'names':['getpid'],'action':'SCMP_ACT_TRACE','errnoRet':7},"
		      "{'names':['getuid'],'action':'SCMP_ACT_LOG'},"
		      "{'names':['getgid'],'action':'SCMP_ACT_TRAP'},"
		      "{'names':['kill'],'action':'SCMP_ACT_KILL'}]}",
		&p, NULL));
	CHECK_EQ(p.len % 8, 0);
	CHECK_EQ(p.flags, SECCOMP_FILTER_FLAG_LOG);
	CHECK_EQ(run(&p, CALL(SYS_read)), SECCOMP_RET_ALLOW);
	CHECK_EQ(run(&p, CALL(SYS_write)), SECCOMP_RET_ALLOW);
	CHECK_EQ(run(&p, CALL(SYS_mount)), SECCOMP_RET_KILL_PROCESS);
	CHECK_EQ(run(&p, CALL(SYS_ptrace)), SECCOMP_RET_ERRNO | EPERM);
	CHECK_EQ(run(&p, CALL(SYS_reboot)), SECCOMP_RET_ERRNO | ENOSYS);
	CHECK_EQ(run(&p, CALL(SYS_getpid)), SECCOMP_RET_TRACE | 7);
	CHECK_EQ(run(&p, CALL(SYS_getuid)), SECCOMP_RET_LOG);
	CHECK_EQ(run(&p, CALL(SYS_getgid)), SECCOMP_RET_TRAP);
	CHECK_EQ(run(&p, CALL(SYS_kill)), SECCOMP_RET_KILL_THREAD);
	CHECK_EQ(run(&p, CALL(SYS_open)), SECCOMP_RET_ERRNO | ENOSYS);
}

static void comparisons(void)
{
	static const struct {
		const char *op;
		unsigned long long value, two, arg;
		bool match;
	} T[] = {
		{ "SCMP_CMP_EQ", 5, 0, 5, true },
		{ "SCMP_CMP_EQ", 5, 0, 5ULL << 32, false },
		{ "SCMP_CMP_EQ", 0xffffffffffffffffULL, 0, 0xffffffffffffffffULL, true },
		{ "SCMP_CMP_NE", 5, 0, 6, true },
		{ "SCMP_CMP_NE", 5, 0, 5, false },
		{ "SCMP_CMP_LT", 5, 0, 4, true },
		{ "SCMP_CMP_LT", 5, 0, 5, false },
		{ "SCMP_CMP_LE", 5, 0, 5, true },
		{ "SCMP_CMP_LE", 5, 0, 1ULL << 32, false },
		{ "SCMP_CMP_GT", 5, 0, 1ULL << 32, true },
		{ "SCMP_CMP_GT", 5, 0, 5, false },
		{ "SCMP_CMP_GE", 5, 0, 5, true },
		{ "SCMP_CMP_MASKED_EQ", 0xf0, 0x10, 0x1f, true },
		{ "SCMP_CMP_MASKED_EQ", 0xf0, 0x10, 0x2f, false },
	};

	for (size_t i = 0; i < sizeof(T) / sizeof(T[0]); i++) {
		CLEAN(seccomp_prog_free) struct seccomp_prog p = { 0 };
		char text[400];

		(void)snprintf(text, sizeof(text),
			"{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['clone'],"
			"'action':'SCMP_ACT_ERRNO',"
			"'args':[{'index':2,'op':'%s','value':%llu,'valueTwo':%llu}]}]}",
			T[i].op, T[i].value, T[i].two);
		CHECK(compile(text, &p, NULL));
		CHECK_EQ(run(&p, CALL(SYS_clone, 0, 0, T[i].arg)),
			T[i].match ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_ALLOW);
		CHECK_EQ(run(&p, CALL(SYS_fork)), SECCOMP_RET_ALLOW);
	}
}

/* Two arguments: both must match. One argument twice: either does. */
static void several_comparisons(void)
{
	CLEAN(seccomp_prog_free) struct seccomp_prog both = { 0 };
	CLEAN(seccomp_prog_free) struct seccomp_prog either = { 0 };
	static const char T[] =
		"{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['socket'],"
		"'action':'SCMP_ACT_ERRNO','args':["
		"{'index':0,'op':'SCMP_CMP_EQ','value':1},{'index':%d,'op':'SCMP_CMP_EQ',"
		"'value':2}]}]}";
	char text[400];

	(void)snprintf(
		text, sizeof(text), "%.*s1%s", (int)(strstr(T, "%d") - T), T, strstr(T, "%d") + 2);
	CHECK(compile(text, &both, NULL));
	CHECK_EQ(run(&both, CALL(SYS_socket, 1, 2)), SECCOMP_RET_ERRNO | EPERM);
	CHECK_EQ(run(&both, CALL(SYS_socket, 1, 1)), SECCOMP_RET_ALLOW);
	CHECK_EQ(run(&both, CALL(SYS_socket, 2, 2)), SECCOMP_RET_ALLOW);
	(void)snprintf(
		text, sizeof(text), "%.*s0%s", (int)(strstr(T, "%d") - T), T, strstr(T, "%d") + 2);
	CHECK(compile(text, &either, NULL));
	CHECK_EQ(run(&either, CALL(SYS_socket, 1)), SECCOMP_RET_ERRNO | EPERM);
	CHECK_EQ(run(&either, CALL(SYS_socket, 2)), SECCOMP_RET_ERRNO | EPERM);
	CHECK_EQ(run(&either, CALL(SYS_socket, 3)), SECCOMP_RET_ALLOW);
}

static void architectures(void)
{
	CLEAN(seccomp_prog_free) struct seccomp_prog one = { 0 };
	CLEAN(seccomp_prog_free) struct seccomp_prog three = { 0 };
	struct seccomp_data getpid32 = { .nr = 20, .arch = AUDIT_ARCH_I386 };
	struct seccomp_data getpidx32 = { .nr = SYS_getpid | 0x40000000,
		.arch = AUDIT_ARCH_X86_64 };
	static const char RULES[] =
		"'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['getpid'],"
		"'action':'SCMP_ACT_ALLOW'}]}";
	char text[400];

	(void)snprintf(text, sizeof(text), "{%s", RULES);
	CHECK(compile(text, &one, NULL));
	CHECK_EQ(run(&one, CALL(SYS_getpid)), SECCOMP_RET_ALLOW);
	CHECK(run(&one, &getpid32) != SECCOMP_RET_ALLOW);
	CHECK(run(&one, &getpidx32) != SECCOMP_RET_ALLOW);
	(void)snprintf(text, sizeof(text),
		"{'architectures':['SCMP_ARCH_X86_64','SCMP_ARCH_X86','SCMP_ARCH_X32',"
		"'SCMP_ARCH_S390X'],%s",
		RULES);
	CHECK(compile(text, &three, NULL));
	CHECK_EQ(run(&three, CALL(SYS_getpid)), SECCOMP_RET_ALLOW);
	CHECK_EQ(run(&three, &getpid32), SECCOMP_RET_ALLOW);
	CHECK_EQ(run(&three, &getpidx32), SECCOMP_RET_ALLOW);
	CHECK_EQ(run(&three, CALL(SYS_fork)), SECCOMP_RET_ERRNO | EPERM);
}

/* More instructions than the kernel takes. */
static void too_large(void)
{
	CLEAN(seccomp_prog_free) struct seccomp_prog p = { 0 };
	CLEAN_FREE char *text = malloc(400000);
	struct error e = { 0 };
	size_t n;

	CHECK(text);
	n = (size_t)sprintf(text, "{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[");
	/* Halves that all differ, so that no two comparisons share an instruction. */
	for (unsigned long long i = 1; i <= 1500; i++)
		n += (size_t)sprintf(text + n,
			"%s{'names':['ioctl'],'action':'SCMP_ACT_ERRNO','args':[{'index':1,"
			"'op':'SCMP_CMP_EQ','value':%llu}]}",
			i > 1 ? "," : "", i << 32 | i);
	strcpy(text + n, "]}");
	CHECK(!compile(text, &p, &e));
	CHECK_EQ(e.code, E2BIG);
	CHECK(strstr(e.msg, "linux.seccomp: the program has"));
}

static void absent(void)
{
	struct spec_seccomp none = { 0 };
	struct seccomp_prog p;

	CHECK_EQ(seccomp_compile(&none, &p, NULL), 0);
	CHECK(!p.bpf && !p.len);
}

/* The second time it comes from the file; a file that is none is as good as none. */
static void cached(void)
{
	static const char config[] =
		"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"seccomp\":{"
		"\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mount\"],"
		"\"action\":\"SCMP_ACT_ERRNO\"}]}}}";
	CLEAN(seccomp_prog_free) struct seccomp_prog a = { 0 };
	CLEAN(seccomp_prog_free) struct seccomp_prog b = { 0 };
	CLEAN(seccomp_prog_free) struct seccomp_prog c = { 0 };
	CLEAN(spec_freep) struct spec *s = NULL;
	char name[] = "/tmp/seccomp.XXXXXX";
	struct spec_seccomp none = { 0 };
	int dir, fd;

	CHECK(mkdtemp(name));
	dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(dir >= 0);
	CHECK_EQ(spec_parse(config, strlen(config), &s, NULL), 0);
	CHECK_EQ(seccomp_cached(dir, &none, &a, NULL), 0);
	CHECK(!a.len && faccessat(dir, "seccomp", F_OK, 0));
	CHECK_EQ(seccomp_cached(dir, &s->linux_.seccomp, &a, NULL), 0);
	CHECK(a.len && !faccessat(dir, "seccomp", F_OK, 0));
	/* the rules are not looked at any more */
	s->linux_.seccomp.n_rules = 0;
	CHECK_EQ(seccomp_cached(dir, &s->linux_.seccomp, &b, NULL), 0);
	CHECK_EQ(a.len, b.len);
	CHECK_EQ(a.flags, b.flags);
	CHECK(!memcmp(a.bpf, b.bpf, a.len));
	fd = openat(dir, "seccomp", O_WRONLY | O_CLOEXEC);
	CHECK_EQ(ftruncate(fd, 20), 0);
	close(fd);
	s->linux_.seccomp.n_rules = 1;
	CHECK_EQ(seccomp_cached(dir, &s->linux_.seccomp, &c, NULL), 0);
	CHECK_EQ(a.len, c.len);
	CHECK_EQ(unlinkat(dir, "seccomp", 0), 0);
	close(dir);
	CHECK_EQ(rmdir(name), 0);
}

static const struct test_case CASES[] = {
	TEST(actions),
	TEST(comparisons),
	TEST(several_comparisons),
	TEST(architectures),
	TEST(too_large),
	TEST(absent),
	TEST(cached),
};

TEST_MAIN(CASES)
