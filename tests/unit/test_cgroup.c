// SPDX-License-Identifier: Apache-2.0
/* Limits as files of a cgroup, and what systemd's driver makes of a config. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "core/limits.h"
#include "oci/cgroup.h"
#include "oci/cgroup_limits.h"
#include "oci/cgroup_systemd.h"
#include "oci/fsutil.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"

#define MIB (1ULL << 20)

static char text[1024];

/* The settings as "file=value ...", JSON with ' for ". */
static const char *planned(const char *json, const struct vm_size *size, int dir)
{
	CLEAN(spec_freep) struct spec *s = NULL;
	struct cg_settings l = { 0 };
	struct error e = { 0 };
	char copy[512];
	size_t n = 0;

	(void)snprintf(copy, sizeof(copy), "%s", json);
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	if (spec_parse_resources(copy, strlen(copy), &s, &e))
		return e.msg[0] ? strcpy(text, e.msg) : "?";
	if (dir >= 0)
		cgroup_plan_update(&l, s, size, dir);
	else
		cgroup_plan(&l, s, size);
	text[0] = 0;
	for (unsigned i = 0; i < l.n; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s=%s", i ? " " : "",
			l.s[i].file, l.s[i].value);
	return text;
}

static void created(void)
{
	struct vm_size size = { .ram = 256 * MIB, .host_max = 300 * MIB };

	CHECK_STR(planned("{}", &size, -1), "memory.max=314572800");
	size.host_max = 0;
	CHECK_STR(planned("{'cpu':{'quota':1000,'shares':2},'pids':{'limit':5}}", &size, -1),
		"cpu.weight=1 cpu.max=1000 100000 pids.max=69");
	CHECK_STR(planned("{'cpu':{'quota':5000,'burst':1000,'idle':1,'cpus':'0-1','mems':'0'}}",
			  &size, -1),
		"cpu.max=5000 100000 cpu.max.burst=1000 cpu.idle=1 cpuset.cpus=0-1 cpuset.mems=0");
	CHECK_STR(planned("{'cpu':{'quota':2000,'burst':3000}}", &size, -1),
		"resources: cpu.burst: larger than quota");
	CHECK_STR(planned("{'pids':{'limit':-1}}", &size, -1), "");
	CHECK_STR(planned("{'cpu':{'shares':262144}}", &size, -1), "cpu.weight=10000");
	CHECK_STR(planned("{'cpu':{'shares':262145}}", &size, -1), "cpu.weight=10000");
	CHECK_STR(
		planned("{'cpu':{'shares':18446744073709551615}}", &size, -1), "cpu.weight=10000");
	CHECK_STR(planned("{'cpu':{'shares':1}}", &size, -1), "cpu.weight=1");
	CHECK_STR(
		planned("{'blockIO':{'weight':10,'weightDevice':[{'major':8,'minor':0,'weight':1000}],"
			"'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':5}],"
			"'throttleWriteIOPSDevice':[{'major':8,'minor':16,'rate':0}]}}",
			&size, -1),
		"io.weight=1 io.weight=8:0 10000 io.max=8:0 rbps=5 io.max=8:16 wiops=max");
	CHECK_STR(planned("{'unified':{'memory.high':'1','io.max':'8:0 rbps=1','cpu.idle':'1'}}",
			  &size, -1),
		"cpu.idle=1 io.max=8:0 rbps=1");
}

static void updated(void)
{
	struct vm_size size = { .ram = 256 * MIB };
	char dir[] = "/tmp/krun-test-cgroup.XXXXXX", want[64];
	CLEAN_FD int fd = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	CHECK(fd >= 0);
	(void)snprintf(want, sizeof(want), "memory.max=%llu",
		(unsigned long long)(size.ram + VM_OVERHEAD_BYTES + LIM_FS_NODE_RAM(size.ram)));
	CHECK_STR(planned("{'memory':{'limit':1048576}}", &size, fd), want);
	CHECK_STR(planned("{'memory':{'limit':-1,'swap':-1},'pids':{'limit':-1}}", &size, fd),
		"memory.swap.max=max memory.max=max pids.max=max");
	CHECK_STR(planned("{}", &size, fd), "");
	/* neither here nor in the guest, which is not asked either */
	CHECK_STR(planned("{'memory':{'limit':0},'pids':{'limit':0}}", &size, fd), "");
	/* without a file to be read */
	CHECK_STR(planned("{'cpu':{'period':5000}}", &size, fd), "cpu.max=max 5000");
	CHECK_EQ(write_file_at(fd, "cpu.max", "700 9000\n", 9, 0644), 0);
	CHECK_EQ(cgroup_cpus(fd), 1);
	CHECK_STR(planned("{'cpu':{'period':5000}}", &size, fd), "cpu.max=700 5000");
	CHECK_STR(planned("{'cpu':{'quota':-1}}", &size, fd), "cpu.max=max 9000");
	CHECK_STR(planned("{'cpu':{'quota':8000,'cpus':'0-1'}}", &size, fd),
		"cpu.max=8000 9000 cpuset.cpus=0-1");
	/* how many CPUs the two leave */
	CHECK_EQ(write_file_at(fd, "cpu.max", "300001 100000\n", 14, 0644), 0);
	CHECK_EQ(cgroup_cpus(fd), 4);
	CHECK_EQ(write_file_at(fd, "cpuset.cpus", "0,3-4\n", 6, 0644), 0);
	CHECK_EQ(cgroup_cpus(fd), 3);
	CHECK_EQ(write_file_at(fd, "cpu.max", "max 100000\n", 11, 0644), 0);
	CHECK_EQ(cgroup_cpus(fd), 3);
	CHECK_EQ(write_file_at(fd, "cpuset.cpus", "\n", 1, 0644), 0);
	CHECK_EQ(cgroup_cpus(fd), 0);
	CHECK_EQ(remove_tree_at(AT_FDCWD, dir), 0);
}

/* A weight goes to whichever of the two files is there, or both. */
static void weights(void)
{
	static const char *const FILES[] = { "io.weight", "io.bfq.weight" };
	char dir[] = "/tmp/krun-test-cgroup.XXXXXX";
	CLEAN_FD int fd = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	static const char JSON[] = "{\"blockIO\":{\"weight\":505}}";
	CLEAN(spec_freep) struct spec *s = NULL;
	struct vm_size size = { 0 };
	struct cg_settings l = { 0 };
	struct error e = { 0 };

	CHECK(fd >= 0);
	CHECK_EQ(spec_parse_resources(JSON, strlen(JSON), &s, &e), 0);
	cgroup_plan(&l, s, &size);
	CHECK_EQ(cgroup_write(fd, "x", &l, &e), -ENOENT);
	CHECK(strstr(e.msg, "io.weight"));
	for (unsigned have = 1; have < 4; have++) {
		for (unsigned i = 0; i < 2; i++) {
			(void)unlinkat(fd, FILES[i], 0);
			if (have >> i & 1)
				CHECK_EQ(write_file_at(fd, FILES[i], "", 0, 0644), 0);
		}
		CHECK_EQ(cgroup_write(fd, "x", &l, NULL), 0);
		for (unsigned i = 0; i < 2; i++) {
			CLEAN_FREE char *now = NULL;

			CHECK_EQ(read_file_at(fd, FILES[i], 100, &now, NULL),
				have >> i & 1 ? 0 : -ENOENT);
			if (now)
				CHECK_STR(now, i ? "505" : "5000");
		}
	}
	CHECK_EQ(remove_tree_at(AT_FDCWD, dir), 0);
}

/* Controllers are for figures, too: each that is there is asked for, and nothing twice. */
static void offered(void)
{
	char dir[] = "/tmp/krun-test-cgroup.XXXXXX";
	CLEAN_FD int fd = mkdtemp(dir) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	CLEAN_FREE char *now = NULL;
	CLEAN_FREE char *same = NULL;

	CHECK(fd >= 0);
	cgroup_offer(fd);
	CHECK_EQ(write_file_at(fd, "cgroup.controllers", "cpuset cpu io memory pids\n", 26, 0644),
		0);
	cgroup_offer(fd);
	CHECK(faccessat(fd, "cgroup.subtree_control", F_OK, 0));
	CHECK_EQ(write_file_at(fd, "cgroup.subtree_control", "cpuset memory\n", 14, 0644), 0);
	cgroup_offer(fd);
	CHECK_EQ(read_file_at(fd, "cgroup.subtree_control", 100, &now, NULL), 0);
	CHECK(!strncmp(now, "+cpu +io +pids", 14));
	CHECK_EQ(write_file_at(
			 fd, "cgroup.subtree_control", "cpu cpuset io memory pids\n", 26, 0644),
		0);
	cgroup_offer(fd);
	CHECK_EQ(read_file_at(fd, "cgroup.subtree_control", 100, &same, NULL), 0);
	CHECK_STR(same, "cpu cpuset io memory pids\n");
	CHECK_EQ(remove_tree_at(AT_FDCWD, dir), 0);
}

static void scopes(void)
{
	static const char *const bad[] = { "", "/a/b", "a.slice:b", "a.slice:b:c:d", "a:b:c",
		".slice:b:c", "a/b.slice:x:y", "a.slice:b/:c", "a.slice:b:", "a.slice:b:c d",
		"a.slice:b:../c" };
	struct sd_scope s;

	CHECK_EQ(sd_scope_name(NULL, "id", &s, NULL), 0);
	CHECK_STR(s.name, "krun-oci-id.scope");
	CHECK_STR(s.slice, "");
	CHECK_EQ(sd_scope_name("machine.slice:libpod:12ab", "id", &s, NULL), 0);
	CHECK_STR(s.name, "libpod-12ab.scope");
	CHECK_STR(s.slice, "machine.slice");
	CHECK_EQ(sd_scope_name("::x", "id", &s, NULL), 0);
	CHECK_STR(s.name, "x.scope");
	CHECK_EQ(sd_scope_name(":docker:x", "id", &s, NULL), 0);
	CHECK_STR(s.name, "docker-x.scope");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(sd_scope_name(bad[i], "id", &s, NULL), -EINVAL);
	memset(text, 'x', 300);
	memcpy(text, "a.slice:b:", 10);
	text[300] = 0;
	CHECK_EQ(sd_scope_name(text, "id", &s, NULL), -ENAMETOOLONG);
}

static void bitmaps(void)
{
	uint8_t b[4];

	CHECK_EQ(sd_bitmap("0", b, 4), 1);
	CHECK_EQ(b[0], 1);
	CHECK_EQ(sd_bitmap("1,8-9,31", b, 4), 4);
	CHECK_EQ(b[0], 2);
	CHECK_EQ(b[1], 3);
	CHECK_EQ(b[2], 0);
	CHECK_EQ(b[3], 0x80);
	CHECK_EQ(sd_bitmap("32", b, 4), 0);
	CHECK_EQ(sd_bitmap("3-1", b, 4), 0);
	CHECK_EQ(sd_bitmap("x", b, 4), 0);
	CHECK_EQ(sd_bitmap("1-", b, 4), 0);
	CHECK_EQ(sd_bitmap("", b, 4), 0);
}

/* "PROPERTY=NUMBER", or "" for none. */
static const char *property(const char *file, const char *value)
{
	uint64_t v = 0;
	const char *name = sd_number(file, value, &v);

	if (!name)
		return "";
	(void)snprintf(text, sizeof(text), "%s=%" PRIu64, name, v);
	return text;
}

static void numbers(void)
{
	static const char *const none[][2] = {
		/* of one device, not of all */
		{ "io.weight", "8:0 4951" },
		{ "io.weight", "252:0 10" },
		{ "io.weight", "default" },
		{ "io.weight", "default 8:0 100" },
		{ "io.weight", "0" },
		{ "io.weight", "10001" },
		{ "io.weight", "max" },
		{ "cpu.weight", "0" }, /* which is "idle" to systemd */
		{ "cpu.weight", "default 100" },
		{ "cpu.weight", "1k" },
		{ "memory.max", "0" },
		{ "memory.low", "" },
		{ "memory.low", "-1" },
		{ "memory.low", " 1" },
		{ "memory.low", "1 2" },
		{ "memory.low", "512MB" },
		{ "memory.low", "512X" },
		{ "memory.low", "512`" },
		{ "memory.low", "0x10" },
		{ "memory.low", "010" },
		{ "memory.low", "16E" },
		{ "memory.low", "18446744073709551616" },
		{ "memory.low", "maximum" },
		{ "memory.oom.group", "1" },
		{ "cpu.max", "1000 1000" },
	};

	CHECK_STR(property("memory.max", "314572800"), "MemoryMax=314572800");
	CHECK_STR(property("memory.max", "max"), "MemoryMax=18446744073709551615");
	CHECK_STR(property("memory.low", "512M"), "MemoryLow=536870912");
	CHECK_STR(property("memory.min", "0"), "MemoryMin=0");
	CHECK_STR(property("memory.high", "3g"), "MemoryHigh=3221225472");
	CHECK_STR(property("memory.swap.max", "0"), "MemorySwapMax=0");
	CHECK_STR(property("memory.swap.max", "15E"), "MemorySwapMax=17293822569102704640");
	CHECK_STR(property("pids.max", "114"), "TasksMax=114");
	CHECK_STR(property("cpu.weight", "10000"), "CPUWeight=10000");
	CHECK_STR(property("io.weight", "4951"), "IOWeight=4951");
	CHECK_STR(property("io.weight", "default 200"), "IOWeight=200");
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		CHECK_STR(property(none[i][0], none[i][1]), "");
}

/* "PER_SECOND PERIOD", or "" for none. */
static const char *quota(const char *value)
{
	uint64_t per_sec = 0, period = 0;

	if (!sd_quota(value, &per_sec, &period))
		return "";
	(void)snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, per_sec, period);
	return text;
}

static void quotas(void)
{
	static const char *const none[] = { "", "0 1000", "1000 0", "-1 1000", "1000 x",
		"1000 1000 ", "1000 1000 1", "1000,1000", "maximum", "max ", "max 0",
		"18446744073709551615 1000" };

	CHECK_STR(quota("150000 100000"), "1500000 100000");
	CHECK_STR(quota("1000 3000"), "340000 3000");
	CHECK_STR(quota("50000"), "500000 100000");
	CHECK_STR(quota("max"), "18446744073709551615 100000");
	CHECK_STR(quota("max 20000"), "18446744073709551615 20000");
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		CHECK_STR(quota(none[i]), "");
}

static const struct test_case cases[] = {
	TEST(created),
	TEST(updated),
	TEST(weights),
	TEST(offered),
	TEST(scopes),
	TEST(bitmaps),
	TEST(numbers),
	TEST(quotas),
};

TEST_MAIN(cases)
