// SPDX-License-Identifier: Apache-2.0
/* The fake hypervisor keeps the contract of hv.h that the core relies on. */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/fake/fake_hv.h"
#include "tests/unit/test.h"
#include "util/bytes.h"

static struct hv *hv;
static struct hv_vcpu *cpu;
static pthread_t thread;
static unsigned intrs; /* relaxed atomic */
static int run_error;

/* A VMM in little: answers reads with the address, keeps writes, ends at a shutdown. */
static uint64_t written;

static void *vmm(void *arg)
{
	struct hv_exit x;

	(void)arg;
	for (;;) {
		run_error = hv_vcpu_run(cpu, &x);
		if (run_error || x.kind == HV_EXIT_SHUTDOWN)
			return NULL;
		if (x.kind == HV_EXIT_INTR)
			__atomic_fetch_add(&intrs, 1, __ATOMIC_RELAXED);
		else if (x.write)
			memcpy(&written, x.data, x.len);
		else
			memcpy(x.data, &x.addr, x.len);
	}
}

static int begin(const struct fake_hv_opts *o)
{
	struct error e = { 0 };

	fake_hv_set_opts(o);
	intrs = 0;
	return hv_open(-1, &hv, &e) ?: hv_irqchip(hv, false, &e) ?: hv_vcpu_new(hv, 0, &cpu, &e) ?: pthread_create(&thread, NULL, vmm, NULL);
}

static int end(void)
{
	struct hv_exit x = { .kind = HV_EXIT_SHUTDOWN };
	int r = fake_hv_push(hv, 0, &x);

	(void)pthread_join(thread, NULL);
	hv_vcpu_free(cpu);
	hv_close(hv);
	return r;
}

static void accesses(void)
{
	uint64_t v = 0;
	uint32_t p = 0;

	CHECK_EQ(begin(NULL), 0);
	CHECK(fake_hv_last() == hv);
	CHECK_EQ(fake_hv_mmio_write(hv, 0, 0xd0000000, 0x11223344, 4), 0);
	CHECK_EQ(written, 0x11223344);
	CHECK_EQ(fake_hv_mmio_read(hv, 0, 0xd0000070, &v, 4), 0);
	CHECK_EQ(v, 0xd0000070);
	CHECK_EQ(fake_hv_pio_read(hv, 0, 0x64, &p, 1), 0);
	CHECK_EQ(p, 0x64);
	CHECK_EQ(fake_hv_pio_write(hv, 0, 0x64, 0xfe, 1), 0);
	CHECK_EQ(hv_vcpu_runs(cpu) >= 4, 1);
	CHECK_EQ(fake_hv_mmio_read(hv, 1, 0, &v, 4), -ENOENT);
	CHECK_EQ(end(), 0);
	CHECK(!fake_hv_last());
}

static void kick_while_waiting(void)
{
	CHECK_EQ(begin(NULL), 0);
	hv_vcpu_kick(cpu, 0);
	/* The access behind it is served only after the kick was answered. */
	CHECK_EQ(fake_hv_mmio_write(hv, 0, 0xd0000000, 1, 4), 0);
	CHECK_EQ(__atomic_load_n(&intrs, __ATOMIC_RELAXED), 1);
	CHECK_EQ(end(), 0);
}

static void run_failure(void)
{
	CHECK_EQ(begin(NULL), 0);
	CHECK_EQ(fake_hv_push_error(hv, 0, EFAULT), 0);
	(void)pthread_join(thread, NULL);
	CHECK_EQ(run_error, -EFAULT);
	hv_vcpu_free(cpu);
	hv_close(hv);
}

static void events(void)
{
	int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	const uint64_t two = 2;
	uint64_t n = 0;

	CHECK_EQ(begin(NULL), 0);
	CHECK_EQ(hv_ioeventfd(hv, 0xd0000050, 4, 1, efd), 0);
	CHECK_EQ(hv_ioeventfd(hv, 0xd0000050, 4, 1, efd), -EEXIST);
	CHECK_EQ(fake_hv_mmio_write(hv, 0, 0xd0000050, 1, 4), 0);
	CHECK_EQ(read(efd, &n, sizeof(n)), 8);
	CHECK_EQ(n, 1);
	written = 0;
	CHECK_EQ(fake_hv_mmio_write(hv, 0, 0xd0000050, 2, 4), 0); /* another queue: trapped */
	CHECK_EQ(written, 2);
	CHECK_EQ(hv_irqfd(hv, efd, 5), 0);
	CHECK_EQ(write(efd, &two, sizeof(two)), 8);
	CHECK_EQ(hv_irq_pulse(hv, 5), 0);
	CHECK_EQ(fake_hv_irqs(hv, 5), 3);
	CHECK_EQ(fake_hv_irqs(hv, 6), 0);
	(void)close(efd);
	CHECK_EQ(end(), 0);
}

static void without_event_fds(void)
{
	const struct fake_hv_opts o = { .no_irqfd = true, .no_ioeventfd = true, .max_vcpus = 1 };
	struct hv_vcpu *second;
	struct error e = { 0 };

	CHECK_EQ(begin(&o), 0);
	CHECK(!hv_features(hv)->irqfd && !hv_features(hv)->ioeventfd);
	CHECK_EQ(hv_irqfd(hv, 0, 5), -ENOTSUP);
	CHECK_EQ(hv_ioeventfd(hv, 0, 4, 0, 0), -ENOTSUP);
	CHECK_EQ(hv_vcpu_new(hv, 1, &second, &e), -EINVAL);
	CHECK_EQ(end(), 0);
	fake_hv_set_opts(&(struct fake_hv_opts){
		.open_error = EACCES, .probe_error[HV_PROBE_INT3] = ENOTSUP });
	e = (struct error){ 0 };
	CHECK_EQ(hv_open(-1, &hv, &e), -EACCES);
	CHECK_EQ(hv_probe(-1, HV_PROBE_API, NULL), 0);
	CHECK_EQ(hv_probe(-1, HV_PROBE_INT3, NULL), -ENOTSUP);
	fake_hv_set_opts(NULL);
}

static void regions(void)
{
	static uint8_t ram[8192];
	struct error e = { 0 };

	CHECK_EQ(begin(NULL), 0);
	CHECK_EQ(hv_set_region(hv, 0, 0x1000, sizeof(ram), ram, false, &e), 0);
	CHECK_EQ(hv_set_region(hv, 1, 0x2000, 0x1000, ram, false, NULL), -EEXIST);
	CHECK(fake_hv_ram(hv, 0x1000, 8192) == ram);
	CHECK(fake_hv_ram(hv, 0x2fff, 1) == ram + 8191);
	CHECK(!fake_hv_ram(hv, 0x2fff, 2) && !fake_hv_ram(hv, 0xfff, 1) &&
		!fake_hv_ram(hv, 0x1000, UINT64_MAX));
	CHECK_EQ(end(), 0);
}

static void save_and_load(void)
{
	struct save_out s = { 0 };
	struct save_in in;
	struct error e = { 0 };
	struct arch_regs regs = { .rip = 0x1234 };

	CHECK_EQ(hv_open(-1, &hv, &e), 0);
	CHECK_EQ(hv_irqchip(hv, false, &e), 0);
	CHECK_EQ(hv_vcpu_new(hv, 0, &cpu, &e), 0);
	CHECK_EQ(hv_vcpu_set_regs(cpu, &regs, &e), 0);
	CHECK_EQ(hv_irq_pulse(hv, 7), 0);
	CHECK_EQ(hv_vcpu_save(cpu, &s), 0);
	CHECK_EQ(hv_save(hv, &s), 0);
	hv_vcpu_free(cpu);
	hv_close(hv);
	CHECK_EQ(hv_open(-1, &hv, &e), 0);
	CHECK_EQ(hv_irqchip(hv, false, &e), 0);
	CHECK_EQ(hv_vcpu_new(hv, 0, &cpu, &e), 0);
	in = (struct save_in){ .buf = s.buf, .len = s.len };
	CHECK_EQ(hv_vcpu_load(cpu, &in), 0);
	CHECK_EQ(hv_load(hv, &in), 0);
	CHECK_EQ(fake_hv_regs(hv, 0)->rip, 0x1234);
	CHECK_EQ(fake_hv_irqs(hv, 7), 1);
	for (size_t n = 0; n < s.len; n++) {
		in = (struct save_in){ .buf = s.buf, .len = n };
		CHECK(hv_vcpu_load(cpu, &in) || hv_load(hv, &in));
	}
	hv_vcpu_free(cpu);
	hv_close(hv);
	save_out_free(&s);
}

/* An access that the VMM was given must be completed before the state is saved. */
static void save_needs_complete(void)
{
	struct hv_exit x = { .kind = HV_EXIT_MMIO, .write = true, .len = 4, .count = 1 }, got;
	struct save_out s = { 0 };
	struct error e = { 0 };

	CHECK_EQ(hv_open(-1, &hv, &e), 0);
	CHECK_EQ(hv_vcpu_new(hv, 0, &cpu, &e), 0);
	CHECK_EQ(fake_hv_push(hv, 0, &x), 0);
	CHECK_EQ(hv_vcpu_run(cpu, &got), 0);
	CHECK_EQ(got.kind, HV_EXIT_MMIO);
	CHECK_EQ(hv_vcpu_save(cpu, &s), -EBUSY);
	CHECK_EQ(hv_vcpu_complete(cpu), 0);
	CHECK_EQ(hv_vcpu_save(cpu, &s), 0);
	hv_vcpu_free(cpu);
	hv_close(hv);
	save_out_free(&s);
}

static const struct test_case cases[] = {
	TEST(accesses),
	TEST(kick_while_waiting),
	TEST(run_failure),
	TEST(events),
	TEST(without_event_fds),
	TEST(regions),
	TEST(save_and_load),
	TEST(save_needs_complete),
};

TEST_MAIN(cases)
