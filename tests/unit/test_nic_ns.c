// SPDX-License-Identifier: Apache-2.0
/* The child in a network namespace: one at a time, and what is left when its parent is killed. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "init/proto/msg.h"
#include "nic_rig.h"
#include "oci/nic_ns.h"
#include "util/cleanup.h"
#include "util/util.h"

#define NO_HOOK "a=$(tc qdisc show dev eth0 ingress) && test -z \"$a\""
#define HOOK	"tc filter show dev eth0 ingress | grep -q mirred"

static const struct spec_nic eth0 = { .kind = SPEC_NIC_TAKE, .name = "eth0" };
static int *recorded; /* shared with children: what before() was told */

static int ns(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

static int note(void *arg, int index, struct error *e)
{
	(void)arg;
	(void)e;
	*recorded = index;
	return 0;
}

static int refuse(void *arg, int index, struct error *e)
{
	(void)index;
	return err_set(e, *(int *)arg, "no room for a record");
}

static int be_killed(void *arg, int index, struct error *e)
{
	(void)arg;
	(void)index;
	(void)e;
	return raise(SIGKILL);
}

/* ... when it comes for what the child has made. */
static int be_killed_later(void *arg, int index, struct error *e)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_recvmsg, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog p = { .len = ARRAY_SIZE(f), .filter = f };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &p))
		return err_sys(e, errno, "seccomp");
	return note(arg, index, e);
}

static int take(nic_before_fn *before, void *arg, struct nic_made *m, struct error *e)
{
	CLEAN_FD int fd = ns();
	const struct nic_job j = { .nic = &eth0, .ns_fd = fd };

	return nic_in_ns(&j, before, arg, m, e);
}

static int release(int index)
{
	CLEAN_FD int fd = ns();
	const struct nic_job j = { .ns_fd = fd, .index = index };
	struct nic_made m;
	struct error e = { 0 };

	return nic_in_ns(&j, NULL, NULL, &m, &e);
}

static void drop(const struct nic_made *m)
{
	for (unsigned i = 0; i < 2; i++) {
		if (m->fds[i] >= 0)
			(void)close(m->fds[i]);
	}
}

static void taken_and_given_back(void)
{
	int why = EIO, index;
	struct nic_made m;
	struct error e = { 0 };

	CHECK(fresh());
	index = (int)if_nametoindex("eth0");
	CHECK_EQ(take(note, NULL, &m, &e), 0);
	CHECK(m.fds[0] >= 0 && m.fds[1] >= 0 && m.bytes >= sizeof(struct msg_nic));
	CHECK(m.index == index && *recorded == index && run(HOOK));
	drop(&m);
	CHECK_EQ(release(index), 0);
	CHECK(run(NO_HOOK));
	/* what cannot be recorded is not done */
	CHECK_EQ(take(refuse, &why, &m, &e), -EIO);
	CHECK_STR(e.msg, "no room for a record");
	CHECK(m.fds[0] < 0 && m.fds[1] < 0 && run(NO_HOOK));
}

/* Runs take() in a process that ends by @sig, and returns when its child has ended as well. */
static bool killed(nic_before_fn *before, int sig)
{
	CLEAN_FD int fd = ns();
	struct nic_made m;
	struct error e = { 0 };
	pid_t pid = fork();
	int st = 0;

	if (!pid) {
		(void)take(before, NULL, &m, &e);
		_exit(0);
	}
	/* it has had the lock since before it asked */
	return waitpid(pid, &st, 0) == pid && WIFSIGNALED(st) && WTERMSIG(st) == sig &&
		!flock(fd, LOCK_EX);
}

static void killed_before_the_record(void)
{
	CHECK(fresh());
	CHECK(killed(be_killed, SIGKILL));
	CHECK(run(NO_HOOK));
}

static void killed_after_the_record(void)
{
	CHECK(fresh());
	*recorded = 0;
	CHECK(killed(be_killed_later, SIGSYS));
	CHECK_EQ(*recorded, if_nametoindex("eth0"));
	CHECK_EQ(release(*recorded), 0);
	CHECK(run(NO_HOOK));
}

/* Does somebody wait for a lock that this process has? */
static bool waited_for(void)
{
	const struct timespec nap = { .tv_nsec = 10 * 1000 * 1000 };

	for (unsigned i = 0; i < 1000; i++) {
		if (run("grep -q -e '-> FLOCK' /proc/locks"))
			return true;
		(void)nanosleep(&nap, NULL);
	}
	return false;
}

static void one_at_a_time(void)
{
	for (unsigned what = 0; what < 2; what++) {
		int fd, st = -1;
		struct nic_made m;
		struct error e = { 0 };
		pid_t pid;

		CHECK(fresh());
		if (what) {
			CHECK_EQ(take(note, NULL, &m, &e), 0);
			drop(&m);
		}
		fd = ns();
		CHECK(!flock(fd, LOCK_EX));
		pid = fork();
		if (!pid) {
			/* the lock is this one's as well until then */
			(void)close(fd);
			_exit(what ? release(*recorded) != 0 : take(note, NULL, &m, &e) != 0);
		}
		CHECK(waited_for());
		CHECK(run(what ? HOOK : NO_HOOK));
		(void)close(fd);
		CHECK_EQ(waitpid(pid, &st, 0), pid);
		CHECK_EQ(st, 0);
		CHECK(!what || run(NO_HOOK));
	}
}

#define NOBODY 4711

/* A namespace that belongs to another user namespace of an ordinary user's; it lives until @go is
 * closed. */
static void be_owner(int ready, int go)
{
	char c;
	int fd;

	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		_exit(1);
	/* the host may keep these from ordinary users */
	if (unshare(CLONE_NEWUSER))
		_exit(errno == EPERM && write(ready, "-", 1) == 1 ? 0 : 1);
	(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	fd = open("/proc/self/uid_map", O_WRONLY);
	if (write(fd, "0 4711 1", 8) != 8 || !fresh() || write(ready, "x", 1) != 1)
		_exit(1);
	_exit(!read(go, &c, 1) && run(NO_HOOK) ? 0 : 2);
}

static int as_nobody(pid_t owner)
{
	CLEAN_FD int fd = -1;
	char path[40];
	struct nic_job j = { .nic = &eth0 };
	struct nic_made m;
	struct error e = { 0 };

	if (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY))
		return 1;
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)owner);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 2;
	j.ns_fd = fd;
	if (nic_in_ns(&j, note, NULL, &m, &e)) {
		printf("# %s\n", e.msg);
		return 3;
	}
	drop(&m);
	j.nic = NULL;
	j.index = m.index;
	return nic_in_ns(&j, NULL, NULL, &m, &e) ? 4 : 0;
}

/* The rights are not where the caller is. */
static void an_ordinary_user(void)
{
	int ready[2], go[2], st = -1;
	pid_t owner, user;
	char c;

	CHECK(!pipe2(ready, O_CLOEXEC) && !pipe2(go, O_CLOEXEC));
	owner = fork();
	if (!owner) {
		(void)close(go[1]);
		be_owner(ready[1], go[0]);
	}
	(void)close(ready[1]);
	CHECK_EQ(read(ready[0], &c, 1), 1);
	if (c == 'x') {
		user = fork();
		if (!user)
			_exit(as_nobody(owner));
		CHECK_EQ(waitpid(user, &st, 0), user);
		CHECK_EQ(st, 0);
	}
	(void)close(go[1]);
	CHECK_EQ(waitpid(owner, &st, 0), owner);
	CHECK_EQ(st, 0);
	(void)close(ready[0]);
	(void)close(go[0]);
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		TEST(taken_and_given_back),
		TEST(killed_before_the_record),
		TEST(killed_after_the_record),
		TEST(one_at_a_time),
		TEST(an_ordinary_user),
	};

	if (!possible())
		return 77;
	recorded = mmap(
		NULL, sizeof(*recorded), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (recorded == MAP_FAILED)
		return 1;
	return test_run_(cases, ARRAY_SIZE(cases), argc, argv);
}
