// SPDX-License-Identifier: Apache-2.0
/* The seccomp filter and Landlock of each thread of the VMM. */
/*
 * How it works
 *
 * A filter is a chain of comparisons with the call's number. Entries without an argument come out
 * the same for every call of that number, which the kernel finds out for itself and keeps in a
 * bitmap, so they cost nothing; the others (ioctl, fcntl, prctl, socket, unshare) compare the one
 * argument that says what is asked for. Three rules are the same for all: memory never becomes
 * executable, a call about a process is about this one, and clone() makes threads only. clone3(),
 * whose flags no filter can see, is answered with ENOSYS, upon which the libc takes clone().
 *
 * What is not on the list raises SIGSYS on the thread that asked. The handler says which and ends
 * the process; the call is not made, whatever a taken-over thread does about its stack. Blocked,
 * the signal would end the process without a word, so it is let through.
 *
 * glibc reads /proc/sys/vm/overcommit_memory when it first gives back memory of a thread's arena,
 * which a guest with some hundred sockets brings about: confine_prepare() has it use one arena, the
 * main one, which shrinks by brk().
 *
 * vCPUs, the io, the blk and the net thread never name a file: Landlock takes the file system from
 * them altogether. The file server's wall is the mount tree (docs/threat-model.md), and main makes
 * one file, in a directory that Landlock cannot be told of beforehand.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/if_tun.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "oci/confine_thread.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"

/* What every thread of the libc does, beside our log. The filter of a thread that runs under
 * another's is laid over that. */
/* #syscalls:all brk clock_gettime exit exit_group futex gettid getpid madvise mmap mprotect mremap
 * munmap restart_syscall rseq rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield
 * set_robust_list */

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#else
#define OUR_ARCH AUDIT_ARCH_RISCV64
#endif

struct allowed {
	uint16_t nr;
	bool compares;
	uint32_t value;
};

#include "oci/thread_syscalls.h"

static const struct {
	const char *name;
	const struct allowed *v;
	size_t n;
	bool no_files;
} threads[] = {
	[CONFINE_MAIN] = { "main", allowed_main, ARRAY_SIZE(allowed_main), false },
	[CONFINE_IO] = { "io", allowed_io, ARRAY_SIZE(allowed_io), true },
	[CONFINE_FS] = { "fs", allowed_fs, ARRAY_SIZE(allowed_fs), false },
	[CONFINE_BLK] = { "blk", allowed_blk, ARRAY_SIZE(allowed_blk), true },
	[CONFINE_NET] = { "net", allowed_net, ARRAY_SIZE(allowed_net), true },
	[CONFINE_VCPU] = { "vcpu", allowed_vcpu, ARRAY_SIZE(allowed_vcpu), true },
	[CONFINE_PROXY] = { "proxy", allowed_proxy, ARRAY_SIZE(allowed_proxy), false },
};

static int sent = -1; /* set once, before threads */
static __thread const char *my_name = "?";

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* of asm-generic/siginfo.h, which the libc's header excludes */
#endif

#define MAX_INSNS 512

struct filter {
	struct sock_filter v[MAX_INSNS];
	unsigned short n;
};

static void add(struct filter *f, struct sock_filter insn)
{
	/* the lists are ours: a fixed size that is too small is found by the first start */
	if (f->n < MAX_INSNS)
		f->v[f->n] = insn;
	f->n++;
}

static void load(struct filter *f, size_t offset)
{
	add(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void ret(struct filter *f, uint32_t action)
{
	add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* The next @skip instructions are for those who are equal (or have a bit of it set). */
static void if_equal(struct filter *f, uint32_t value, unsigned char skip)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip));
}

static void if_any(struct filter *f, uint32_t bits, unsigned char skip)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, skip));
}

/* The low half of an argument: the kernel looks at no more of those that are compared, or refuses
 * what has more. */
static size_t low_half(unsigned arg)
{
	return offsetof(struct seccomp_data, args) + 8 * arg;
}

static unsigned what_argument(unsigned nr)
{
	return nr == SYS_ioctl || nr == SYS_fcntl ? 1 : 0;
}

/* Calls about another process, as which only this one counts. */
static bool is_to_a_process(unsigned nr)
{
	return nr == SYS_tgkill || nr == SYS_process_vm_readv || nr == SYS_process_vm_writev;
}

static void one(struct filter *f, const struct allowed *a)
{
	if (a->nr == SYS_mmap || a->nr == SYS_mprotect) {
		if_equal(f, a->nr, 4);
		load(f, low_half(2));
		if_any(f, PROT_EXEC, 1);
		ret(f, SECCOMP_RET_TRAP);
		ret(f, SECCOMP_RET_ALLOW);
	} else if (a->nr == SYS_clone) {
		if_equal(f, a->nr, 4);
		load(f, low_half(0));
		if_any(f, CLONE_THREAD, 1);
		ret(f, SECCOMP_RET_ALLOW);
		ret(f, SECCOMP_RET_TRAP);
	} else if (a->nr == SYS_clone3) {
		if_equal(f, a->nr, 1);
		ret(f, SECCOMP_RET_ERRNO | ENOSYS);
	} else if (a->compares || is_to_a_process(a->nr)) {
		if_equal(f, a->nr, 4);
		load(f, low_half(what_argument(a->nr)));
		if_equal(f, a->compares ? a->value : (uint32_t)getpid(), 1);
		ret(f, SECCOMP_RET_ALLOW);
		load(f, offsetof(struct seccomp_data, nr));
	} else {
		if_equal(f, a->nr, 1);
		ret(f, SECCOMP_RET_ALLOW);
	}
}

/* The number of a call that a tracer has taken back, for which the kernel does nothing: a debugger
 * that lets calls fail, as tests/e2e/faults.sh does, sees what follows from the failure. */
#define TAKEN_BACK UINT32_MAX

static int set_filter(const struct allowed *v, size_t n)
{
	struct filter f = { .n = 0 };
	struct sock_fprog prog = { .filter = f.v };

	load(&f, offsetof(struct seccomp_data, arch));
	add(&f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0));
	ret(&f, SECCOMP_RET_KILL_PROCESS);
	load(&f, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < n; i++)
		one(&f, &v[i]);
#ifdef __SANITIZE_ADDRESS__
	one(&f, &(struct allowed){ .nr = SYS_sigaltstack });
#endif
	if_equal(&f, TAKEN_BACK, 1);
	ret(&f, SECCOMP_RET_ALLOW);
	ret(&f, SECCOMP_RET_TRAP);
	if (f.n > MAX_INSNS)
		return -E2BIG;
	prog.len = f.n;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) ? -errno : 0;
}

/* Rights of the first version; the kernel refuses those that it does not know. */
static uint64_t file_rights(int abi)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		all |= 1ULL << 13; /* LANDLOCK_ACCESS_FS_REFER */
	if (abi >= 3)
		all |= 1ULL << 14; /* LANDLOCK_ACCESS_FS_TRUNCATE */
	return all;
}

/* No file can be named any more; what is open stays so. */
static int no_files(void)
{
	struct landlock_ruleset_attr a = { 0 };
	CLEAN_FD int fd = -1;
	int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 0) /* not built, or not started with */
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	a.handled_access_fs = file_rights(abi);
	fd = (int)syscall(SYS_landlock_create_ruleset, &a, sizeof(a), 0);
	if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0))
		return -errno;
	return 0;
}

static void on_sigsys(int sig, siginfo_t *si, void *ctx)
{
	const uint64_t once = 1;

	(void)sig;
	(void)ctx;
	if (si->si_code != SYS_SECCOMP) {
		if (sent < 0 || write(sent, &once, sizeof(once)) != (ssize_t)sizeof(once))
			_exit(128 + SIGSYS);
		return;
	}
	log_err("the \"%s\" thread asked for system call %d, which is not on its list: the VM ends",
		my_name, si->si_syscall);
	_exit(128 + SIGSYS);
}

int confine_prepare(int sent_fd, struct error *e)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_RESTART };

	sent = sent_fd;
	/* One heap for all: no allocation is where threads would wait for each other long. */
	(void)mallopt(M_ARENA_MAX, 1);
	return sigaction(SIGSYS, &sa, NULL) ? err_sys(e, errno, "the handler of SIGSYS") : 0;
}

int confine_thread(enum confine_thread which, struct error *e)
{
	sigset_t sys;
	int r;

	my_name = threads[which].name;
	(void)sigemptyset(&sys);
	(void)sigaddset(&sys, SIGSYS);
	/* The proxy of exec passes on all signals by its signalfd, this one too: it does without
	 * the words, a call that is not listed ends it all the same. */
	(void)pthread_sigmask(which == CONFINE_PROXY ? SIG_BLOCK : SIG_UNBLOCK, &sys, NULL);
	if (which == CONFINE_PROXY && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return err_sys(e, errno, "no_new_privs");
	r = threads[which].no_files ? no_files() : 0;
	if (!r)
		r = set_filter(threads[which].v, threads[which].n);
	return r ? err_sys(e, r, "cannot confine the thread \"%s\"", threads[which].name) : 0;
}
