// SPDX-License-Identifier: Apache-2.0
// Tells whether this machine's KVM really runs guests, and does not just emulate instructions.
/*
 *   kvmprobe [--quiet]     exit 0: fit; 1: unfit, with one line that says why
 *
 * How it works: one page table level of 2 MiB pages maps the first 64 KiB of guest memory one to
 * one; the vCPU starts in 64-bit mode at CODE and does, in this order, what `steps` lists. It notes
 * the step it is at in guest memory and halts at the end with DONE in RAX. Everything is under an
 * alarm, since an unfit KVM may also hang.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	PML4 = 0x1000,
	PDPT = 0x2000,
	PD = 0x3000,
	GDT = 0x4000,
	IDT = 0x5000,
	STACK = 0x8000,
	CODE = 0x8000,
	STEP = 0x9000,
	PAIR = 0x9010,
	TRAPS = 0x9020,
	SAVE = 0xa000,
	RAM = 0x10000,
	DONE = 0x6b72
};

static const char *const steps[] = { "its first instruction", "cmpxchg16b", "int3 and iret",
	"xsetbv", "xsave", "xsaves", "hlt" };

extern const char guest_start[], guest_trap[], guest_end[];

/* Position-independent: it is copied to CODE. The numbers are those of the enum. */
__asm__(".pushsection .rodata\n"
	"guest_start:\n"
	"	movl $1, 0x9000\n"
	"	movl $0x9010, %edi\n"
	"	movl $1, %eax\n	movl $2, %edx\n	movl $3, %ebx\n	movl $4, %ecx\n"
	"	lock cmpxchg16b (%rdi)\n"
	"	jnz 9f\n"
	"	cmpl $4, 8(%rdi)\n"
	"	jne 9f\n"
	"	movl $2, 0x9000\n"
	"	int3\n"
	"	cmpl $1, 0x9020\n"
	"	jne 9f\n"
	"	movl $3, 0x9000\n"
	"	movl $1, %eax\n"
	"	cpuid\n"
	"	btl $26, %ecx\n" /* a KVM may do without XSAVE */
	"	jnc 1f\n"
	"	xorl %ecx, %ecx\n"
	"	xgetbv\n"
	"	orl $3, %eax\n"
	"	xsetbv\n"
	"	movl $4, 0x9000\n"
	"	movl $0xa000, %edi\n"
	"	movl $3, %eax\n	xorl %edx, %edx\n"
	"	xsave64 (%rdi)\n"
	"	xrstor64 (%rdi)\n"
	"	movl $5, 0x9000\n"
	"	movl $0xd, %eax\n	movl $1, %ecx\n"
	"	cpuid\n"
	"	testl $8, %eax\n"
	"	jz 1f\n"
	"	movl $3, %eax\n	xorl %edx, %edx\n"
	"	xsaves64 (%rdi)\n"
	"	xrstors64 (%rdi)\n"
	"1:	movl $6, 0x9000\n"
	"	movl $0x6b72, %eax\n"
	"	hlt\n"
	"9:	xorl %eax, %eax\n"
	"	hlt\n"
	"guest_trap:\n"
	"	incl 0x9020\n"
	"	iretq\n"
	"guest_end:\n"
	"	.popsection\n");

static bool quiet;

static void __attribute__((noreturn, format(printf, 1, 2))) unfit(const char *fmt, ...)
{
	va_list ap;

	if (!quiet) {
		va_start(ap, fmt);
		fputs("unfit: ", stdout);
		vprintf(fmt, ap);
		putchar('\n');
		va_end(ap);
		fflush(stdout);
	}
	_exit(1);
}

static void put64(char *ram, unsigned int at, uint64_t v)
{
	memcpy(ram + at, &v, sizeof(v));
}

static void fill_ram(char *ram)
{
	uint64_t trap = CODE + (uint64_t)(guest_trap - guest_start);

	put64(ram, PML4, PDPT | 3);
	put64(ram, PDPT, PD | 3);
	put64(ram, PD, 0x83);			  /* present, writable, 2 MiB */
	put64(ram, GDT + 8, 0x00af9b000000ffff);  /* 64-bit code */
	put64(ram, GDT + 16, 0x00cf93000000ffff); /* data */
	put64(ram, IDT + 3 * 16, (trap & 0xffff) | 8 << 16 | 0x8eULL << 40 | (trap >> 16) << 48);
	put64(ram, PAIR, 1);
	put64(ram, PAIR + 8, 2);
	memcpy(ram + CODE, guest_start, (size_t)(guest_end - guest_start));
}

static bool has_xsave;

static void set_cpuid(int kvm, int vcpu)
{
	enum {
		MAX = 256
	};
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + MAX * sizeof(c->entries[0]));

	if (!c)
		unfit("no memory");
	c->nent = MAX;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c) < 0)
		unfit("KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	for (unsigned int n = 0; n < c->nent; n++)
		has_xsave |= c->entries[n].function == 1 && c->entries[n].ecx & 1U << 26;
	if (ioctl(vcpu, KVM_SET_CPUID2, c) < 0)
		unfit("KVM_SET_CPUID2: %s", strerror(errno));
	free(c);
}

static void set_registers(int vcpu)
{
	struct kvm_regs regs = { .rip = CODE, .rsp = STACK, .rflags = 2 };
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1
	};
	struct kvm_segment data = { .limit = 0xffffffff,
		.selector = 16,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1 };
	struct kvm_sregs s;

	if (ioctl(vcpu, KVM_GET_SREGS, &s) < 0)
		unfit("KVM_GET_SREGS: %s", strerror(errno));
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.gdt.base = GDT;
	s.gdt.limit = 3 * 8 - 1;
	s.idt.base = IDT;
	s.idt.limit = 4 * 16 - 1;
	s.cr3 = PML4;
	s.cr4 = 1 << 5 | 1 << 9; /* PAE, OSFXSR */
	if (has_xsave)
		s.cr4 |= 1 << 18; /* OSXSAVE */
	s.cr0 = 0x80000033;	  /* PG, NE, ET, MP, PE */
	s.efer = 0x500;		  /* LMA, LME */
	if (ioctl(vcpu, KVM_SET_SREGS, &s) < 0)
		unfit("KVM_SET_SREGS: %s", strerror(errno));
	if (ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		unfit("KVM_SET_REGS: %s", strerror(errno));
}

static void run_guest(int kvm, int vcpu, const char *ram)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run;
	struct kvm_regs regs;
	uint32_t step;

	if (size < (int)sizeof(*run))
		unfit("KVM_GET_VCPU_MMAP_SIZE: %s", strerror(errno));
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		unfit("mmap of the vCPU: %s", strerror(errno));
	while (ioctl(vcpu, KVM_RUN, 0) < 0)
		if (errno != EINTR && errno != EAGAIN)
			unfit("KVM_RUN: %s", strerror(errno));
	memcpy(&step, ram + STEP, sizeof(step));
	if (step >= sizeof(steps) / sizeof(steps[0]))
		unfit("the guest's memory is not what it wrote");
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		unfit("KVM emulates instructions and gives up at %s "
		      "(KVM_EXIT_INTERNAL_ERROR, suberror %u)",
			steps[step], run->internal.suberror);
	if (run->exit_reason != KVM_EXIT_HLT)
		unfit("the guest stopped at %s (exit reason %u)", steps[step], run->exit_reason);
	if (ioctl(vcpu, KVM_GET_REGS, &regs) < 0 || regs.rax != DONE)
		unfit("%s does not work in a guest", steps[step]);
}

static int get_fd(int fd, unsigned long what, const char *name)
{
	int ret = ioctl(fd, what, 0);

	if (ret < 0)
		unfit("%s: %s", name, strerror(errno));
	return ret;
}

static void on_alarm(int sig)
{
	static const char msg[] = "unfit: the guest's few instructions took more than 10 s\n";

	(void)sig;
	if (!quiet && write(1, msg, sizeof(msg) - 1) < 0)
		_exit(2);
	_exit(1);
}

int main(int argc, char **argv)
{
	struct kvm_userspace_memory_region mem = { .memory_size = RAM };
	int kvm, vm, vcpu, version;
	char *ram;

	quiet = argc > 1 && !strcmp(argv[1], "--quiet");
	signal(SIGALRM, on_alarm);
	alarm(10);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		unfit("/dev/kvm: %s", strerror(errno));
	version = ioctl(kvm, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		unfit("KVM's API has version %d, not %d", version, KVM_API_VERSION);
	vm = get_fd(kvm, KVM_CREATE_VM, "KVM_CREATE_VM");
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED)
		unfit("no memory");
	fill_ram(ram);
	ioctl(vm, KVM_SET_TSS_ADDR,
		0xfffbd000UL); /* older Intel CPUs ask for it; the others ignore it */
	mem.userspace_addr = (uintptr_t)ram;
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &mem) < 0)
		unfit("KVM_SET_USER_MEMORY_REGION: %s", strerror(errno));
	vcpu = get_fd(vm, KVM_CREATE_VCPU, "KVM_CREATE_VCPU");
	set_cpuid(kvm, vcpu);
	set_registers(vcpu);
	run_guest(kvm, vcpu, ram);
	if (!quiet)
		puts("fit");
	return 0;
}
