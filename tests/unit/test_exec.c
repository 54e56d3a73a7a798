// SPDX-License-Identifier: Apache-2.0
/* exec on the command line's side: the process that the options make, and descriptors that travel.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "oci/apparmor.h"
#include "oci/ctl.h"
#include "oci/exec.h"
#include "oci/vmexec.h"
#include "test.h"
#include "util/err.h"
#include "util/util.h"

static const char config[] =
	"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"rootfs\"},\"process\":{"
	"\"args\":[\"init\"],\"cwd\":\"/srv\",\"env\":[\"A=1\",\"AB=2\",\"C=3\"],\"terminal\":true,"
	"\"consoleSize\":{\"height\":5,\"width\":6},"
	"\"user\":{\"uid\":7,\"gid\":8,\"umask\":63,\"additionalGids\":[9]},"
	"\"capabilities\":{\"bounding\":[\"CAP_KILL\"],\"permitted\":[\"CAP_KILL\"]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":2}],\"oomScoreAdj\":5}}";

static struct spec *container;
static struct spec *own;
static struct spec_process p;
static struct error e;

static int make(const struct rt_exec *o)
{
	spec_free(own);
	own = NULL;
	e = (struct error){ 0 };
	p = (struct spec_process){ 0 };
	return exec_process(container, o, &own, &p, &e);
}

static char ls[] = "ls", l[] = "-l", empty[] = "";
static char *args[] = { ls, l, NULL };
#define CMD .args = args, .n_args = 2
#define WORDS(...)                                                                             \
	{                                                                                      \
		(const char *[]){ __VA_ARGS__ }, ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })) \
	}

static void inherits(void)
{
	struct rt_exec o = { CMD };

	CHECK_EQ(make(&o), 0);
	CHECK_EQ(p.args.n, 2);
	CHECK_STR(p.args.v[0], "ls");
	CHECK_STR(p.cwd, "/srv");
	CHECK_EQ(p.env.n, 3);
	CHECK(!p.terminal && !p.rows && !p.cols);
	CHECK_EQ(p.user.uid, 7);
	CHECK_EQ(p.user.n_groups, 1);
	CHECK_EQ(p.n_rlimits, 1);
	CHECK_EQ(p.oom_score_adj.v, 5);
	o.tty = true;
	CHECK_EQ(make(&o), 0);
	CHECK(p.terminal);
}

static void env(void)
{
	struct rt_exec o = { CMD, .env = WORDS("AB=x", "D=y=z", "D=w", "A=") };

	CHECK_EQ(make(&o), 0);
	CHECK_EQ(p.env.n, 4);
	CHECK_STR(p.env.v[0], "A=");
	CHECK_STR(p.env.v[1], "AB=x");
	CHECK_STR(p.env.v[2], "C=3");
	CHECK_STR(p.env.v[3], "D=w");
	CHECK(!p.env.v[4]);
	/* the container's is as it was */
	CHECK_STR(container->process.env.v[0], "A=1");
	o.env = (struct rt_words)WORDS("D");
	CHECK_EQ(make(&o), -EINVAL);
	o.env = (struct rt_words)WORDS("=D");
	CHECK_EQ(make(&o), -EINVAL);
	CHECK(strstr(e.msg, "--env"));
}

static void user(void)
{
	static const char *const bad[] = { "", "x", "1:", ":1", "1:2:3", "-1", "1:-1", "4294967295",
		"1 ", "0x1", "99999999999999999999", "1:4294967295" };
	struct rt_exec o = { CMD, .user = "12" };

	CHECK_EQ(make(&o), 0);
	CHECK_EQ(p.user.uid, 12);
	CHECK_EQ(p.user.gid, 0);
	CHECK_EQ(p.user.n_groups, 0);
	CHECK_EQ(p.user.umask.v, 63);
	o.user = "12:13";
	o.gids = (struct rt_words)WORDS("1,2", "3");
	CHECK_EQ(make(&o), 0);
	CHECK_EQ(p.user.gid, 13);
	CHECK_EQ(p.user.n_groups, 3);
	CHECK_EQ(p.user.groups[2], 3);
	o.user = NULL;
	CHECK_EQ(make(&o), 0);
	CHECK_EQ(p.user.n_groups, 4);
	CHECK_EQ(p.user.groups[0], 9);
	CHECK_EQ(container->process.user.n_groups, 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		o.user = bad[i];
		CHECK_EQ(make(&o), -EINVAL);
	}
	o.user = NULL;
	o.gids = (struct rt_words)WORDS("1,,2");
	CHECK_EQ(make(&o), -EINVAL);
	o.gids = (struct rt_words)WORDS("");
	CHECK_EQ(make(&o), -EINVAL);
}

static void caps(void)
{
	struct rt_exec o = { CMD, .caps = WORDS("CAP_CHOWN"), .no_new_privs = true };

	CHECK_EQ(make(&o), 0);
	CHECK_EQ(p.caps.bounding, 0x21);
	CHECK_EQ(p.caps.permitted, 0x21);
	CHECK_EQ(p.caps.effective, 1);
	CHECK_EQ(p.caps.inheritable, 0);
	CHECK_EQ(p.caps.ambient, 0);
	CHECK(p.no_new_privs);
	o.caps = (struct rt_words)WORDS("CHOWN");
	CHECK_EQ(make(&o), -EINVAL);
}

static void refusals(void)
{
	struct rt_exec o = { CMD, .apparmor = "p" };
	char *none[] = { empty, NULL };

	CHECK_EQ(make(&o), apparmor_on() ? -ENOTSUP : 0);
	o.apparmor = "unconfined";
	CHECK_EQ(make(&o), 0);
	o.label = "a:b:c";
	CHECK_EQ(make(&o), spec_host_has_selinux() ? -ENOTSUP : 0);
	o.label = "";
	o.cwd = "a";
	CHECK_EQ(make(&o), -EINVAL);
	o.cwd = "/a";
	CHECK_EQ(make(&o), 0);
	CHECK_STR(p.cwd, "/a");
	o.args = none;
	o.n_args = 1;
	CHECK_EQ(make(&o), -EINVAL);
	o.n_args = 0;
	CHECK_EQ(make(&o), -EINVAL);
}

static int from_text(struct rt_exec *o, const char *text)
{
	char path[64];
	int fd = memfd_create("process", 0), r;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		return 1;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	o->process = path;
	r = make(o);
	o->process = NULL;
	close(fd);
	return r;
}

static void file(void)
{
	struct rt_exec o = { 0 };

	CHECK_EQ(from_text(&o, "{\"args\":[\"x\"],\"cwd\":\"/\",\"user\":{\"uid\":1}}"), 0);
	CHECK_STR(p.args.v[0], "x");
	CHECK_EQ(p.user.uid, 1);
	CHECK_EQ(p.user.gid, 0);
	CHECK_EQ(p.env.n, 0);
	/* what it has none of is the container's, as docker expects */
	CHECK_EQ(p.n_rlimits, container->process.n_rlimits);
	CHECK_EQ(p.caps.permitted, container->process.caps.permitted);
	CHECK(p.caps.permitted);
	CHECK_EQ(from_text(&o,
			 "{\"args\":[\"x\"],\"cwd\":\"/\",\"capabilities\":{},\"rlimits\":"
			 "[{\"type\":\"RLIMIT_CORE\",\"soft\":3,\"hard\":3}]}"),
		0);
	CHECK_EQ(p.caps.permitted, 0);
	CHECK_EQ(p.n_rlimits, 1);
	CHECK_EQ(p.rlimits[0].soft, 3);
	CHECK_EQ(from_text(&o, "{\"args\":[\"x\"],\"cwd\":\"/\",\"terminal\":true}"), 0);
	CHECK_EQ(p.user.uid, 7);
	CHECK(p.terminal);
	CHECK_EQ(from_text(&o, "{\"args\":[\"x\"],\"cwd\":\"/\",\"selinuxLabel\":\"a\"}"),
		spec_host_has_selinux() ? -ENOTSUP : 0);
	CHECK_EQ(from_text(&o,
			 "{\"args\":[\"x\"],\"cwd\":\"/\",\"execCPUAffinity\":{\"final\":\"1\"}}"),
		0);
	CHECK_STR(p.cpu_final, "1");
	CHECK(!p.cpu_initial);
	CHECK_EQ(from_text(&o, "{\"cwd\":\"/\"}"), -EINVAL);
	CHECK_EQ(from_text(&o, "nonsense"), -EINVAL);
	o.user = "1";
	CHECK_EQ(from_text(&o, "{\"args\":[\"x\"],\"cwd\":\"/\"}"), -EINVAL);
	CHECK(strstr(e.msg, "--user"));
	o = (struct rt_exec){ .process = "/nonexistent" };
	CHECK_EQ(make(&o), -ENOENT);
}

static void descriptors(void)
{
	struct ctl_req q = { .op = CTL_EXEC, .flags = 5 }, got;
	int sv[2], pipes[2], fds[CTL_MAX_FDS];
	char c;

	CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv));
	CHECK(!pipe(pipes));
	CHECK_EQ(ctl_recv(sv[1], &got, fds), 0);
	CHECK_EQ(ctl_send(sv[0], &q, pipes, 2, &e), 0);
	CHECK_EQ(ctl_recv(sv[1], &got, fds), 1);
	CHECK_EQ(got.op, CTL_EXEC);
	CHECK_EQ(got.flags, 5);
	CHECK(fds[0] >= 0 && fds[1] >= 0 && fds[2] == -1);
	CHECK(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
	CHECK_EQ(write(fds[1], "x", 1), 1);
	CHECK_EQ(read(pipes[0], &c, 1), 1);
	close(fds[0]);
	close(fds[1]);
	CHECK_EQ(ctl_send(sv[0], &q, NULL, 0, &e), 0);
	CHECK_EQ(ctl_recv(sv[1], &got, fds), 1);
	CHECK_EQ(fds[0], -1);
	/* a request that is none: what came with it goes */
	CHECK_EQ(send(sv[0], "abc", 3, 0), 3);
	CHECK_EQ(ctl_recv(sv[1], &got, fds), -EPROTO);
	close(sv[0]);
	CHECK_EQ(ctl_recv(sv[1], &got, fds), -ECONNRESET);
	close(sv[1]);
	close(pipes[0]);
	close(pipes[1]);
}

/* A signal that crosses the process's end: the VMM hangs up without having read it, and the code
 * that it has told before counts. */
static void end_before_unread(void)
{
	struct container c = { 0 };
	struct exec_event v = { .what = EXEC_ENDED, .code = 3 };
	struct ctl_req q = { .op = CTL_EXEC_SIGNAL, .arg = 15 };
	struct exec_proxy x = { .c = &c, .name = "", .tty = -1 };
	int s[2];

	for (int told = 0; told < 2; told++) {
		CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s), 0);
		CHECK_EQ(send(s[0], &q, sizeof(q), 0), sizeof(q));
		CHECK_EQ(told ? send(s[1], &v, sizeof(v), 0) : (ssize_t)sizeof(v), sizeof(v));
		close(s[1]);
		x.conn = s[0];
		CHECK_EQ(exec_proxy_wait(&x, &e), told ? 3 : 137);
		close(s[0]);
	}
}

static void setup(void)
{
	CHECK_EQ(spec_parse(config, sizeof(config) - 1, &container, &e), 0);
}

static void teardown(void)
{
	spec_free(own);
	spec_free(container);
}

static const struct test_case cases[] = {
	TEST(setup),
	TEST(inherits),
	TEST(env),
	TEST(user),
	TEST(caps),
	TEST(refusals),
	TEST(file),
	TEST(descriptors),
	TEST(end_before_unread),
	TEST(teardown),
};

TEST_MAIN(cases)
