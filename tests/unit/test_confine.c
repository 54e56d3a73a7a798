// SPDX-License-Identifier: Apache-2.0
/* What a confined thread can and cannot do: each case in a child of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oci/confine_thread.h"
#include "tests/unit/test.h"
#include "util/log.h"
#include "util/util.h"

static int out[2];
static char logged[512];

/* By the bare call: the log is written on the confined thread. */
static void sink(enum log_level level, const char *line)
{
	(void)level;
	if (write(out[1], line, strlen(line)) < 0)
		_exit(99);
}

static void *thread(void *arg)
{
	return arg;
}

static int a_thread(void)
{
	pthread_t t;

	return pthread_create(&t, NULL, thread, NULL) || pthread_join(t, NULL) ? 1 : 0;
}

/* Over what malloc() gives back, in an arena that is not the main thread's. */
static void *frees(void *arg)
{
	static void *volatile blocks[1000];
	const enum confine_thread *which = arg;
	struct error e = { 0 };
	size_t i;

	if (confine_thread(*which, &e))
		_exit(98);
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		blocks[i] = malloc(2000);
	for (i = 0; i < ARRAY_SIZE(blocks); i++)
		free(blocks[i]);
	return NULL;
}

/* Runs @fn(confined as @which) in a child; its wait status, with what it logged in @logged. */
static int confined(enum confine_thread which, int (*fn)(void))
{
	struct error e = { 0 };
	int status = -1;
	ssize_t n;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		/* the first one sets up signals of the libc's; the VMM's main thread has had it */
		if (a_thread() || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
			confine_prepare(-1, &e) || confine_thread(which, &e))
			_exit(98);
		_exit(fn());
	}
	(void)close(out[1]);
	n = read(out[0], logged, sizeof(logged) - 1);
	logged[n > 0 ? n : 0] = 0;
	(void)close(out[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int nothing(void)
{
	return 0;
}

static int asks_for_a_file(void)
{
	return (int)syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY) < 0 ? 2 : 1;
}

static int executes(void)
{
	(void)syscall(SYS_execve, "/bin/true", NULL, NULL);
	return 1;
}

static int executable_memory(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return 1;
}

static int memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED || mprotect(p, 4096, PROT_READ) ? 1 : 0;
}

static int another_ioctl(void)
{
	(void)syscall(SYS_ioctl, 0, KVM_CREATE_VM, 0);
	return 1;
}

static int its_ioctl(void)
{
	return syscall(SYS_ioctl, -1, KVM_RUN, 0) < 0 && errno == EBADF ? 0 : 1;
}

static int a_raw_socket(void)
{
	(void)syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0);
	return 1;
}

static int its_socket(void)
{
	return syscall(SYS_socket, AF_INET, SOCK_STREAM, 0) < 0 ? 1 : 0;
}

static int a_signal_for_another(void)
{
	(void)syscall(SYS_tgkill, 1, 1, 0);
	return 1;
}

static int a_signal_for_us(void)
{
	return syscall(SYS_tgkill, getpid(), getpid(), 0) ? 1 : 0;
}

static int anothers_memory(void)
{
	(void)syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0);
	return 1;
}

static int another_process(void)
{
	(void)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	return 1;
}

static int a_process_by_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS ? 0 : 1;
}

static void nothing_at_all(void)
{
	for (int w = CONFINE_MAIN; w <= CONFINE_PROXY; w++) {
		CHECK_EQ(confined((enum confine_thread)w, nothing), 0);
		CHECK_EQ(confined((enum confine_thread)w, memory), 0);
		CHECK_EQ(confined((enum confine_thread)w, a_process_by_clone3),
			w == CONFINE_FS || w == CONFINE_BLK ? 0
				: w == CONFINE_PROXY	    ? 1000 + SIGSYS
							    : 128 + SIGSYS);
	}
}

/* The process ends, and the log says who asked for what. */
static void refused(void)
{
	static const struct {
		enum confine_thread which;
		int (*fn)(void);
		long nr;
	} T[] = {
		{ CONFINE_IO, asks_for_a_file, SYS_openat },
		{ CONFINE_VCPU, asks_for_a_file, SYS_openat },
		{ CONFINE_MAIN, executes, SYS_execve },
		{ CONFINE_FS, executes, SYS_execve },
		{ CONFINE_FS, executable_memory, SYS_mmap },
		{ CONFINE_VCPU, executable_memory, SYS_mmap },
		{ CONFINE_VCPU, another_ioctl, SYS_ioctl },
		{ CONFINE_VCPU, its_socket, SYS_socket },
		{ CONFINE_IO, another_ioctl, SYS_ioctl },
		{ CONFINE_IO, a_raw_socket, SYS_socket },
		{ CONFINE_FS, its_socket, SYS_socket },
		{ CONFINE_FS, another_process, SYS_clone },
		{ CONFINE_IO, another_process, SYS_clone },
		{ CONFINE_MAIN, a_signal_for_another, SYS_tgkill },
		{ CONFINE_VCPU, anothers_memory, SYS_process_vm_readv },
	};
	char want[64];

	for (size_t i = 0; i < ARRAY_SIZE(T); i++) {
		CHECK_EQ(confined(T[i].which, T[i].fn), 128 + SIGSYS);
		(void)snprintf(want, sizeof(want), "system call %ld,", T[i].nr);
		CHECK(strstr(logged, want));
	}
}

/* The proxy of exec takes signals by a descriptor: it ends without words. */
static void refused_to_the_proxy(void)
{
	CHECK_EQ(confined(CONFINE_PROXY, asks_for_a_file), 1000 + SIGSYS);
}

/* As a tracer leaves it that lets a call fail: the kernel does nothing. */
static int taken_back(void)
{
	return syscall(-1) == -1 && errno == ENOSYS ? 0 : 1;
}

static void allowed(void)
{
	CHECK_EQ(confined(CONFINE_VCPU, taken_back), 0);
	CHECK_EQ(confined(CONFINE_PROXY, taken_back), 0);
	CHECK_EQ(confined(CONFINE_VCPU, its_ioctl), 0);
	CHECK_EQ(confined(CONFINE_IO, its_socket), 0);
	CHECK_EQ(confined(CONFINE_FS, a_thread), 0);
	CHECK_EQ(confined(CONFINE_FS, asks_for_a_file), 1);
	CHECK_EQ(confined(CONFINE_MAIN, asks_for_a_file), 1);
	CHECK_EQ(confined(CONFINE_MAIN, a_signal_for_us), 0);
}

/* A SIGSYS that somebody sends is passed on, and ends nothing. */
static int sent_fd = -1;

static int sent_one(void)
{
	struct error e = { 0 };
	uint64_t n = 0;

	if (confine_prepare(sent_fd, &e))
		return 1;
	(void)kill(getpid(), SIGSYS);
	(void)kill(getpid(), SIGSYS);
	return read(sent_fd, &n, sizeof(n)) == sizeof(n) && n == 2 ? 0 : 2;
}

static void sent_by_somebody(void)
{
	int status = -1;
	pid_t pid;

	sent_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(sent_fd >= 0);
	pid = fork();
	if (!pid)
		_exit(sent_one());
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
	(void)close(sent_fd);
}

static void memory_freed(void)
{
	enum confine_thread which;
	struct error e = { 0 };
	pthread_t t;
	int status;
	pid_t pid;

	for (which = CONFINE_MAIN; which <= CONFINE_VCPU; which++) {
		status = -1;
		pid = fork();
		if (!pid) {
			if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || confine_prepare(-1, &e) ||
				pthread_create(&t, NULL, frees, &which))
				_exit(97);
			_exit(pthread_join(t, NULL) ? 96 : 0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFEXITED(status));
		CHECK_EQ(WEXITSTATUS(status), 0);
	}
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		TEST(nothing_at_all),
		TEST(refused),
		TEST(refused_to_the_proxy),
		TEST(allowed),
		TEST(sent_by_somebody),
		TEST(memory_freed),
	};

	log_set_sink(sink, LOG_ERROR);
	return test_run_(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
