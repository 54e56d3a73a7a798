// SPDX-License-Identifier: Apache-2.0
/* A VM whose I/O APIC is ours, over the fake hypervisor: routes, devices' interrupts, ends of them,
 * saved and loaded, refused. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/vm.h"
#include "tests/fake/fake_hv.h"
#include "tests/unit/test.h"
#include "tests/unit/vmm_rig.h"
#include "util/bytes.h"
#include "vmm.h"

#define IOAPIC	0xfec00000ULL
#define MASKED	0x10000U
#define LEVEL	0x8000U
#define IRR	0x4000U
#define COM1	0x3f8
#define COM_GSI 4

static struct vmm *vm;
static struct error e;

static struct vmm_config config(bool load)
{
	struct vmm_config c = { .vcpus = 2,
		.ram_bytes = 32 * MIB,
		.no_thp = true,
		.kernel_fd = load ? -1 : kernel_file(),
		.rng = true,
		.acpi = true,
		.split_irqchip = true,
		.nserials = 1 };

	c.serial[0] = (struct vmm_serial){ -1, -1 };
	return c;
}

static int build(struct vmm_config c, const struct fake_hv_opts *o)
{
	e = (struct error){ 0 };
	fake_hv_set_opts(o);
	return vmm_new(-1, &vm, &e) ?: vmm_build(vm, &c, &e) ?: vmm_start(vm, &e);
}

static void down(void)
{
	vmm_free(vm);
	vm = NULL;
}

static bool set(uint8_t reg, uint32_t v)
{
	return !fake_hv_mmio_write(fake_hv_last(), 0, IOAPIC, reg, 4) &&
		!fake_hv_mmio_write(fake_hv_last(), 0, IOAPIC + 0x10, v, 4);
}

/* Whether the entry of pin is in service: 0, 1, or -1 where it cannot be read. */
static int in_service(unsigned pin)
{
	uint64_t v = 0;

	if (fake_hv_mmio_write(fake_hv_last(), 0, IOAPIC, 0x10 + 2 * pin, 4) ||
		fake_hv_mmio_read(fake_hv_last(), 0, IOAPIC + 0x10, &v, 4))
		return -1;
	return !!(v & IRR);
}

static bool entry(unsigned pin, uint32_t dest, uint32_t v)
{
	return set((uint8_t)(0x11 + 2 * pin), dest << 24) && set((uint8_t)(0x10 + 2 * pin), v);
}

static uint64_t irqs(void)
{
	return fake_hv_irqs(fake_hv_last(), COM_GSI);
}

/* The serial port interrupts each time that its transmitter's interrupt is switched on anew. */
static bool device_interrupts(void)
{
	return !fake_hv_pio_write(fake_hv_last(), 0, COM1 + 1, 0, 1) &&
		!fake_hv_pio_write(fake_hv_last(), 0, COM1 + 1, 2, 1);
}

static bool ended(uint8_t vector)
{
	const struct hv_exit x = { .kind = HV_EXIT_EOI, .addr = vector };

	return !fake_hv_push(fake_hv_last(), 1, &x) && !fake_hv_drain(fake_hv_last(), 1);
}

static void interrupts(bool irqfd)
{
	const struct fake_hv_opts o = { .no_irqfd = !irqfd };
	struct hv_msi m;
	bool pit = true;

	CHECK_EQ(build(config(false), &o), 0);
	CHECK(fake_hv_has_irqchip(fake_hv_last(), &pit) && !pit);
	CHECK(device_interrupts());
	CHECK_EQ(irqs(), 0); /* nowhere to go */
	CHECK(entry(COM_GSI, 1, 0x30));
	m = fake_hv_route(fake_hv_last(), COM_GSI);
	CHECK(m.addr == 0xfee01000 && m.data == 0x4030);
	CHECK(device_interrupts());
	CHECK_EQ(irqs(), 1);
	/* a level: one at a time, until the guest has ended it */
	CHECK(entry(COM_GSI, 0, 0x31 | LEVEL));
	m = fake_hv_route(fake_hv_last(), COM_GSI);
	CHECK(m.addr == 0xfee00000 && m.data == 0xc031);
	CHECK(device_interrupts() && device_interrupts() && device_interrupts());
	CHECK_EQ(irqs(), 2);
	CHECK_EQ(in_service(COM_GSI), 1);
	CHECK(ended(0x32));
	CHECK_EQ(irqs(), 2);
	CHECK(ended(0x31));
	CHECK_EQ(irqs(), 3);
	CHECK(ended(0x31));
	CHECK_EQ(irqs(), 3);
	CHECK_EQ(in_service(COM_GSI), 0);
	/* an edge again; masked */
	CHECK(entry(COM_GSI, 0, 0x31) && device_interrupts());
	CHECK_EQ(irqs(), 4);
	CHECK(entry(COM_GSI, 0, 0x31 | MASKED) && device_interrupts());
	CHECK_EQ(irqs(), 4);
	CHECK_EQ(fake_hv_route(fake_hv_last(), COM_GSI).data, 0);
	down();
}

static void by_irqfd(void)
{
	interrupts(true);
}

static void by_call(void)
{
	interrupts(false);
}

/* The guest is told of no old controller: no ExtINT line in the MP table. */
static void tables(void)
{
	const uint8_t *t;

	CHECK_EQ(build(config(false), NULL), 0);
	t = fake_hv_ram(fake_hv_last(), 0x9fc00, 0x400);
	CHECK(t && !memcmp(t, "_MP_", 4));
	CHECK(!memmem(t, 0x400, "\4\3\0\0", 4));
	CHECK(memmem(t, 0x400, "\4\1\0\0", 4));
	down();
}

static void saved_and_loaded(void)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);
	struct vmm_config c;

	CHECK_EQ(build(config(false), NULL), 0);
	CHECK(entry(COM_GSI, 1, 0x31 | LEVEL) && entry(5, 1, 0x35) && device_interrupts());
	CHECK_EQ(irqs(), 1);
	CHECK_EQ(vmm_pause(vm), 0);
	CHECK_EQ(vmm_save(vm, fd, &e), 0);
	CHECK_EQ(vmm_resume(vm), 0);
	CHECK_EQ(in_service(COM_GSI), 1);
	down();

	c = config(true);
	CHECK(!vmm_new(-1, &vm, &e) && !vmm_load(vm, &c, fd, &e) && !vmm_start(vm, &e));
	CHECK_EQ(fake_hv_route(fake_hv_last(), 5).data, 0x4035);
	CHECK_EQ(irqs(), 2); /* that in service comes once more */
	CHECK(ended(0x31));
	CHECK_EQ(in_service(COM_GSI), 0);
	CHECK(device_interrupts());
	CHECK_EQ(irqs(), 3);
	down();

	c = config(true);
	c.split_irqchip = false;
	CHECK(!vmm_new(-1, &vm, &e));
	CHECK_EQ(vmm_load(vm, &c, fd, &e), -EINVAL);
	CHECK_STR(e.msg, "saved with a split interrupt controller, loaded without");
	down();
	(void)close(fd);
}

static void refused(void)
{
	const struct fake_hv_opts none = { .no_split = true }, fails = { .route_error = EIO };
	struct vmm_config c = config(false);

	c.pit = true;
	CHECK_EQ(build(c, NULL), -EINVAL);
	down();
	CHECK_EQ(build(config(false), &none), -ENOTSUP);
	down();
	/* a host that gives out of routes: the VM ends, and says why */
	CHECK_EQ(build(config(false), &fails), 0);
	(void)entry(COM_GSI, 1, 0x30);
	CHECK_EQ(vmm_wait(vm), VMM_END_FAILED);
	CHECK(strstr(vmm_why(vm), "interrupt routes"));
	down();
}

/* Inputs that nobody has, vectors that nobody waits for, where there is such a controller and where
 * there is none. */
static void strays(void)
{
	struct vmm_config c = config(false);

	CHECK_EQ(build(c, NULL), 0);
	CHECK(ended(0x31) && ended(0));
	CHECK(entry(0, 0, 0x730) && entry(23, 0xff, 0x40)); /* ExtINT */
	CHECK_EQ(fake_hv_route(fake_hv_last(), 0).data, 0);
	CHECK_EQ(vmm_state(vm), VMM_RUNNING);
	down();
	c = config(false);
	c.split_irqchip = false;
	CHECK_EQ(build(c, NULL), 0);
	CHECK(ended(0x31));
	CHECK(device_interrupts());
	CHECK_EQ(irqs(), 1);
	CHECK_EQ(vmm_state(vm), VMM_RUNNING);
	down();
}

static const struct test_case cases[] = {
	TEST(by_irqfd),
	TEST(by_call),
	TEST(tables),
	TEST(saved_and_loaded),
	TEST(refused),
	TEST(strays),
};

TEST_MAIN(cases)
