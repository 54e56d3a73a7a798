// SPDX-License-Identifier: Apache-2.0
/*
 * What this host's KVM can do, found out by asking and by running a few instructions.
 *
 * How it works: a KVM device may open and answer every question and yet run no ordinary kernel, for
 * instance when it emulates instructions one by one. So the guest probes make a VM of 64 KiB, enter
 * it in 64-bit mode at a few hand-assembled instructions and expect one port write of a known byte.
 * A timer of this thread's own sends the kick's signal after two seconds, and again and again
 * from then on, since one signal could fall between two runs.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hv/kvm/kvm_int.h"
#include "hv/kvm/probe_code.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/util.h"

#define API_VERSION 12
#define PROBE_MEM   0x10000UL
#define LIMIT_S	    2 /* a busy host has its own moments */
#define AGAIN_NS    10000000L
#define MAX_EXITS   64 /* a guest that writes a port in a circle is not ours */

#define CPUID1_ECX_XSAVE (1U << 26)

/* Guest-physical addresses; one large page maps them all. */
#define G_PML4	0x1000
#define G_PDPT	0x2000
#define G_PD	0x3000
#define G_GDT	0x4000
#define G_IDT	0x5000
#define G_CODE	PROBE_CODE_ADDR
#define G_STACK 0xf000

static int probe_api(int fd, struct error *e)
{
	int r = kvm_ioctl(fd, KVM_GET_API_VERSION, NULL);

	if (r < 0)
		return err_sys(e, r, "the device does not answer as KVM");
	if (r != API_VERSION)
		return err_set(
			e, ENOTSUP, "KVM has interface version %d, needed is %d", r, API_VERSION);
	return 0;
}

static int probe_caps(int fd, struct error *e)
{
	static const struct {
		unsigned long cap;
		const char *name;
	} need[] = {
		{ KVM_CAP_IRQCHIP, "interrupt controllers (KVM_CAP_IRQCHIP)" },
		{ KVM_CAP_USER_MEMORY, "memory slots (KVM_CAP_USER_MEMORY)" },
		{ KVM_CAP_SET_TSS_ADDR, "a movable task state segment (KVM_CAP_SET_TSS_ADDR)" },
		{ KVM_CAP_EXT_CPUID, "the list of CPUID leaves (KVM_CAP_EXT_CPUID)" },
		{ KVM_CAP_IMMEDIATE_EXIT, "immediate exits (KVM_CAP_IMMEDIATE_EXIT)" },
		{ KVM_CAP_IRQFD, "interrupts by event descriptor (KVM_CAP_IRQFD)" },
		{ KVM_CAP_IOEVENTFD, "kicks by event descriptor (KVM_CAP_IOEVENTFD)" },
		{ KVM_CAP_MP_STATE, "run states (KVM_CAP_MP_STATE)" },
		{ KVM_CAP_XSAVE, "extended state (KVM_CAP_XSAVE)" },
		{ KVM_CAP_VCPU_EVENTS, "pending events (KVM_CAP_VCPU_EVENTS)" },
		{ KVM_CAP_ADJUST_CLOCK, "a settable clock (KVM_CAP_ADJUST_CLOCK)" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(need); i++)
		if (kvm_ioctl(fd, KVM_CHECK_EXTENSION, (void *)need[i].cap) <= 0)
			return err_set(e, ENOTSUP, "this KVM lacks %s", need[i].name);
	return 0;
}

static void put_code(uint8_t *mem, const struct probe_code *p)
{
	uint8_t *gate = mem + G_IDT + 3 * 16; /* int3 */

	memset(mem, 0, PROBE_MEM);
	put_le64(mem + G_PML4, G_PDPT | 3);
	put_le64(mem + G_PDPT, G_PD | 3);
	put_le64(mem + G_PD, 0x83);
	put_le64(mem + G_GDT + 8, 0x00af9b000000ffffULL);  /* code, 64 bits */
	put_le64(mem + G_GDT + 16, 0x00cf93000000ffffULL); /* data */
	put_le16(gate, PROBE_INT3_ADDR);
	put_le16(gate + 2, 8);
	put_le16(gate + 4, 0x8e00); /* present interrupt gate */
	memcpy(mem + G_CODE, p->code, p->len);
	memcpy(mem + PROBE_INT3_ADDR, probe_int3_handler, sizeof(probe_int3_handler));
}

static void set_regs(struct arch_regs *r)
{
	const struct arch_seg data = { .limit = 0xffffffff,
		.selector = 16,
		.type = 3,
		.present = 1,
		.db = 1,
		.s = 1,
		.g = 1 };

	*r = (struct arch_regs){
		.rip = G_CODE,
		.rsp = G_STACK,
		.rflags = 2,
		.cr0 = 0x80000033, /* PG NE ET MP PE */
		.cr3 = G_PML4,
		.cr4 = 0x620,  /* PAE OSFXSR OSXMMEXCPT */
		.efer = 0x500, /* LME LMA */
		.cs = { .limit = 0xffffffff,
			.selector = 8,
			.type = 11,
			.present = 1,
			.s = 1,
			.l = 1,
			.g = 1 },
		.ds = data,
		.ss = data,
		.tr = { .limit = 0xffff, .type = 11, .present = 1 },
		.gdt_base = G_GDT,
		.gdt_limit = 23,
		.idt_base = G_IDT,
		.idt_limit = 32 * 16 - 1,
	};
}

/* The alarm: kicks this thread from LIMIT_S on. */
static int alarm_start(timer_t *t, struct error *e)
{
	const struct itimerspec when = { .it_value.tv_sec = LIMIT_S,
		.it_interval.tv_nsec = AGAIN_NS };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KVM_KICK_SIGNAL };

	ev._sigev_un._tid = gettid();
	if (timer_create(CLOCK_MONOTONIC, &ev, t) < 0)
		return err_sys(e, errno, "cannot make a timer");
	(void)timer_settime(*t, 0, &when, NULL);
	return 0;
}

static bool late(const struct timespec *from)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	now.tv_sec -= LIMIT_S;
	return now.tv_sec > from->tv_sec ||
		(now.tv_sec == from->tv_sec && now.tv_nsec >= from->tv_nsec);
}

/* Runs until the port write; the alarm is on. */
static int run_guest(struct hv_vcpu *c, const struct probe_code *p, struct error *e)
{
	struct timespec from;
	struct hv_exit x;
	int r;

	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	for (unsigned i = 0; i < MAX_EXITS; i++) {
		r = hv_vcpu_run(c, &x);
		if (r < 0)
			return err_sys(e, r, "KVM does not run a guest");
		switch (x.kind) {
		case HV_EXIT_PIO:
			if (!x.write || x.addr != PROBE_PORT || x.len != 1)
				break;
			if (x.data[0] == PROBE_OK)
				return 0;
			return err_set(e, ENOTSUP, "KVM runs %s wrongly (result 0x%x)", p->what,
				x.data[0]);
		case HV_EXIT_INTR:
			if (late(&from))
				return err_set(e, ETIMEDOUT, "KVM does not finish %s within %d s",
					p->what, LIMIT_S);
			break;
		case HV_EXIT_FAULT:
		case HV_EXIT_FAIL:
			return err_set(e, ENOTSUP, "KVM gives up at %s: %s", p->what, x.why);
		case HV_EXIT_SHUTDOWN:
			return err_set(
				e, ENOTSUP, "KVM ends the guest at %s (triple fault)", p->what);
		default:
			return err_set(e, ENOTSUP, "KVM stops at %s with an exit of kind %d",
				p->what, (int)x.kind);
		}
	}
	return err_set(e, ENOTSUP, "KVM does not get through %s", p->what);
}

static void clean_hv(struct hv **h)
{
	hv_close(*h);
}

static void clean_vcpu(struct hv_vcpu **c)
{
	hv_vcpu_free(*c);
}

static int run_alarmed(struct hv_vcpu *c, const struct probe_code *p, struct error *e)
{
	sigset_t mask;
	timer_t t;
	int r = alarm_start(&t, e);

	if (r < 0)
		return r;
	(void)pthread_sigmask(
		SIG_SETMASK, NULL, &mask); /* the first run unblocks the signal here */
	r = run_guest(c, p, e);
	(void)timer_delete(t);
	(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return r;
}

static bool has_xsave(const struct arch_cpuid *id)
{
	for (unsigned i = 0; i < id->n; i++)
		if (id->e[i].leaf == 1)
			return id->e[i].ecx & CPUID1_ECX_XSAVE;
	return false;
}

static int in_memory(int fd, const struct probe_code *p, uint8_t *mem, struct error *e)
{
	struct hv *h CLEAN(clean_hv) = NULL;
	struct hv_vcpu *c CLEAN(clean_vcpu) = NULL;
	struct arch_cpuid *id CLEAN_FREE = malloc(sizeof(*id));
	struct arch_regs regs;
	int r = id ? hv_open(fd, &h, e) : err_set(e, ENOMEM, "no memory for the probe");

	if (r < 0)
		return r;
	r = hv_set_region(h, 0, 0, PROBE_MEM, mem, false, e);
	if (!r)
		r = hv_vcpu_new(h, 0, &c, e);
	if (!r)
		r = hv_cpuid_supported(h, id, e);
	/* A guest that is offered no XSAVE keeps its registers by FXSAVE, and that is then what
	 * must work. */
	if (!r && p == &probe_xsave && !has_xsave(id))
		p = &probe_fxsave;
	put_code(mem, p);
	if (!r)
		r = hv_vcpu_set_cpuid(c, id, e);
	set_regs(&regs);
	if (!r)
		r = hv_vcpu_set_regs(c, &regs, e);
	return r ? r : run_alarmed(c, p, e);
}

static int probe_guest(int fd, const struct probe_code *p, struct error *e)
{
	uint8_t *mem =
		mmap(NULL, PROBE_MEM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (mem == MAP_FAILED)
		return err_sys(e, errno, "no memory for the probe's guest");
	r = in_memory(fd, p, mem, e);
	(void)munmap(mem, PROBE_MEM);
	return r;
}

int hv_probe(int dev_fd, enum hv_probe what, struct error *e)
{
	switch (what) {
	case HV_PROBE_API:
		return probe_api(dev_fd, e);
	case HV_PROBE_CAPS:
		return probe_caps(dev_fd, e);
	case HV_PROBE_GUEST:
		return probe_guest(dev_fd, &probe_plain, e);
	case HV_PROBE_CMPXCHG16B:
		return probe_guest(dev_fd, &probe_cmpxchg16b, e);
	case HV_PROBE_INT3:
		return probe_guest(dev_fd, &probe_int3, e);
	case HV_PROBE_XSAVE:
		return probe_guest(dev_fd, &probe_xsave, e);
	default:
		return err_set(e, EINVAL, "no such probe");
	}
}
