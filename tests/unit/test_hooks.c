// SPDX-License-Identifier: Apache-2.0
/* Hooks of the host: what they are given, in which order, and what becomes of those that fail. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/fsutil.h"
#include "oci/hooks.h"
#include "tests/unit/test.h"
#include "util/cleanup.h"
#include "util/err.h"
#include "util/log.h"

static char dir[64], saw[PATH_MAX];
static struct container c = { .id = (char *)"id", .bundle = dir, .rootfs = (char *)"/b/r" };
static char logged[512];

static void sink(enum log_level level, const char *line)
{
	(void)level;
	(void)snprintf(logged, sizeof(logged), "%s", line);
}

/* A config whose hooks are @hooks (JSON, ' for "); $D is a new directory. */
static struct spec *config(const char *hooks)
{
	char text[4096], all[8192];
	struct error e = { 0 };
	struct spec *s = NULL;
	size_t n = 0;

	(void)snprintf(dir, sizeof(dir), "/tmp/krun-test-hooks.XXXXXX");
	if (!mkdtemp(dir))
		abort();
	(void)snprintf(saw, sizeof(saw), "%s/saw", dir);
	(void)snprintf(text, sizeof(text),
		"{'ociVersion':'1.0.0','root':{'path':'r'},'annotations':{'a':'b'},'hooks':%s}",
		hooks);
	for (const char *p = text; *p && n < sizeof(all) - sizeof(dir); p++) {
		if (!strncmp(p, "$D", 2)) {
			n += (size_t)snprintf(all + n, sizeof(all) - n, "%s", dir);
			p++;
		} else {
			all[n++] = *p == '\'' ? '"' : *p;
		}
	}
	if (spec_parse(all, n, &s, &e))
		printf("# %s\n", e.msg);
	return s;
}

static int run(const struct spec *s, enum spec_hook_kind kind, struct error *e)
{
	struct hook_state st = { .c = &c, .status = "created", .pid = 77, .watch_fd = -1 };

	return hooks_run(s, kind, &st, e);
}

static const char *what_it_saw(void)
{
	static char *text;

	free(text);
	text = NULL;
	return read_file_at(AT_FDCWD, saw, 4096, &text, NULL) ? "" : text;
}

static void drop(struct spec *s)
{
	spec_free(s);
	IGNORE_RESULT(remove_tree_at(AT_FDCWD, dir));
}

#define SH(script) "{'path':'/bin/sh','args':['sh','-c','" script "']}"

static void state_env_and_directory(void)
{
	struct spec *s = config(
		"{'prestart':[{'path':'/bin/sh','args':['sh','-c','{ cat; echo $A$HOME; pwd; ls "
		"/proc/self/fd; } >saw'],'env':['A=1','PATH=/bin:/usr/bin']}]}");
	CLEAN_FREE char *want = NULL;

	CHECK_EQ(run(s, SPEC_HOOK_PRESTART, NULL), 0);
	/* cat's three, and the directory that ls reads */
	CHECK(asprintf(&want,
		      "{\"ociVersion\":\"1.0.0\",\"id\":\"id\",\"status\":\"created\",\"pid\":77,"
		      "\"bundle\":\"%s\",\"root\":\"/b/r\",\"annotations\":{\"a\":\"b\"}}\n1\n%s\n"
		      "0\n1\n2\n3\n",
		      dir, dir) > 0);
	CHECK_STR(what_it_saw(), want);
	drop(s);
}

static void env_is_inherited(void)
{
	struct spec *s = config("{'prestart':[" SH("echo $INHERITED >>saw") "]}");

	(void)setenv("INHERITED", "yes", 1);
	CHECK_EQ(run(s, SPEC_HOOK_PRESTART, NULL), 0);
	CHECK_STR(what_it_saw(), "yes\n");
	drop(s);
}

static void order_and_failure(void)
{
	struct error e = { 0 };
	struct spec *s = config("{'createRuntime':[" SH("echo 1 >>saw") "," SH(
		"echo 2 >>saw; exit 3") "," SH("echo 3 >>saw") "]}");

	CHECK_EQ(hooks_in(s), HOOK_BIT(SPEC_HOOK_CREATE_RUNTIME));
	CHECK_EQ(run(s, SPEC_HOOK_PRESTART, NULL), 0);
	CHECK_EQ(run(s, SPEC_HOOK_CREATE_RUNTIME, &e), -ECANCELED);
	CHECK_STR(e.msg, "error running createRuntime hook #1: \"/bin/sh\": exit status 3");
	CHECK_STR(what_it_saw(), "1\n2\n");
	drop(s);
}

static void poststop_goes_on(void)
{
	struct spec *s = config("{'poststop':[{'path':'/no/such'}," SH("echo 2 >>saw") "]}");

	logged[0] = 0;
	CHECK_EQ(run(s, SPEC_HOOK_POSTSTOP, NULL), 0);
	CHECK(strstr(
		logged, "error running poststop hook #0: \"/no/such\": No such file or directory"));
	CHECK_STR(what_it_saw(), "2\n");
	drop(s);
}

/* A delete does not fail, nor do they stay away, because there is no place for their output. */
static void poststop_without_output(void)
{
	struct spec *s = config("{'poststop':[" SH("echo 1 >>saw; echo 2") "]}");
	struct spec_kv kv[] = { { "run.oci.hooks.stdout", "/no/such/file" } };
	struct error e = { 0 };

	s->annotations = kv;
	s->n_annotations = ARRAY_SIZE(kv);
	logged[0] = 0;
	CHECK_EQ(run(s, SPEC_HOOK_POSTSTOP, &e), 0);
	CHECK(!e.msg[0]);
	CHECK_STR(logged,
		"poststop hooks: annotations[\"run.oci.hooks.stdout\"]: \"/no/such/file\": No such file "
		"or directory");
	CHECK_STR(what_it_saw(), "1\n");
	drop(s);
}

static void fails(const char *hook, int code, const char *text)
{
	char all[1024];
	struct error e = { 0 };
	struct spec *s;

	(void)snprintf(all, sizeof(all), "{'poststart':[%s]}", hook);
	s = config(all);
	CHECK_EQ(run(s, SPEC_HOOK_POSTSTART, &e), code);
	CHECK_STR(e.msg, text);
	/* what it started goes with it: we are its reaper, and wait for whoever lives on */
	while (waitpid(-1, NULL, 0) > 0)
		;
	CHECK_EQ(errno, ECHILD);
	drop(s);
}

static void all_failures(void)
{
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	fails("{'path':'/no/such'}", -ENOENT,
		"error running poststart hook #0: \"/no/such\": No such file or directory");
	fails("{'path':'/etc/passwd'}", -EACCES,
		"error running poststart hook #0: \"/etc/passwd\": Permission denied");
	fails(SH("kill -9 $$"), -ECANCELED,
		"error running poststart hook #0: \"/bin/sh\": killed by signal 9");
	fails(SH("exec <&-; exit 1"), -ECANCELED,
		"error running poststart hook #0: \"/bin/sh\": exit status 1");
	fails("{'path':'/bin/sh','args':['sh','-c','sleep 1000 & sleep 1000'],'timeout':1}",
		-ETIMEDOUT,
		"error running poststart hook #0: \"/bin/sh\": timed out after 1 s and was killed");
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 0));
}

static void ends_with_the_container(void)
{
	struct spec *s = config("{'poststart':[" SH("sleep 1000") "]}");
	struct error e = { 0 };
	struct hook_state st = { .c = &c, .status = "running" };
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	st.watch_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	CHECK_EQ(hooks_run(s, SPEC_HOOK_POSTSTART, &st, &e), -ESRCH);
	CHECK(strstr(e.msg, "as the container ended meanwhile"));
	(void)close(st.watch_fd);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	drop(s);
}

/* A workload that ended by itself, as the status says (or nobody any more), ends no hook. */
static void outlives_the_container(void)
{
	struct spec *s = config("{'poststart':[" SH("sleep 0.2") "]}");
	struct error e = { 0 };
	struct hook_state st = { .c = &c, .status = "running", .outlives = true };
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	st.watch_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	CHECK_EQ(hooks_run(s, SPEC_HOOK_POSTSTART, &st, &e), 0);
	(void)close(st.watch_fd);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	drop(s);
}

/* One that is bound dies with the process that runs hooks, however that ends. */
static void dies_with_its_runner(void)
{
	struct spec *s =
		config("{'createContainer':[" SH("echo $$ >new; mv new saw; exec sleep 1000") "]}");
	struct hook_state st = { .c = &c, .status = "created", .watch_fd = -1, .bound = true };
	int status = 0;
	pid_t pid, hook;

	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	pid = fork();
	CHECK(pid >= 0);
	if (!pid)
		_exit(hooks_run(s, SPEC_HOOK_CREATE_CONTAINER, &st, NULL) ? 1 : 0);
	while (!waitpid(pid, NULL, WNOHANG) && access(saw, F_OK))
		(void)poll(NULL, 0, 10);
	hook = atoi(what_it_saw());
	CHECK(hook > 1);
	CHECK(!kill(pid, SIGKILL));
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	/* ours by now */
	for (int i = 0; i < 1000 && !waitpid(hook, &status, WNOHANG); i++)
		(void)poll(NULL, 0, 10);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 0));
	drop(s);
}

static void output_to_files(void)
{
	struct spec *s = config("{'prestart':[" SH("echo out; echo err >&2") "]}");
	struct spec_kv kv[] = { { "run.oci.hooks.stdout", saw }, { "run.oci.hooks.stderr", saw } };
	struct error e = { 0 };

	s->annotations = kv;
	s->n_annotations = 2;
	CHECK_EQ(run(s, SPEC_HOOK_PRESTART, NULL), 0);
	CHECK_EQ(run(s, SPEC_HOOK_PRESTART, NULL), 0);
	CHECK_STR(what_it_saw(), "out\nerr\nout\nerr\n");
	kv[1].value = "/no/such/file";
	CHECK_EQ(run(s, SPEC_HOOK_PRESTART, &e), -ENOENT);
	CHECK_STR(e.msg,
		"config.json: annotations[\"run.oci.hooks.stderr\"]: \"/no/such/file\": No such file "
		"or directory");
	drop(s);
}

static void time_limits(void)
{
	struct spec *s =
		config("{'startContainer':[{'path':'/x','timeout':2},{'path':'/x','timeout':3}],"
		       "'poststart':[{'path':'/x','timeout':2},{'path':'/x'}]}");

	CHECK_EQ(hooks_ms(s, SPEC_HOOK_START_CONTAINER, 7), 5007);
	CHECK_EQ(hooks_ms(s, SPEC_HOOK_POSTSTART, 7), UINT_MAX);
	CHECK_EQ(hooks_ms(s, SPEC_HOOK_PRESTART, 7), 7);
	drop(s);
}

static const struct test_case cases[] = {
	TEST(state_env_and_directory),
	TEST(env_is_inherited),
	TEST(order_and_failure),
	TEST(poststop_goes_on),
	TEST(poststop_without_output),
	TEST(all_failures),
	TEST(ends_with_the_container),
	TEST(outlives_the_container),
	TEST(dies_with_its_runner),
	TEST(output_to_files),
	TEST(time_limits),
};

int main(int argc, char **argv)
{
	log_set_sink(sink, LOG_WARN);
	(void)alarm(120);
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
