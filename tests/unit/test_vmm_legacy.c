// SPDX-License-Identifier: Apache-2.0
/* A VM with the devices and tables of a PC, over the fake hypervisor: built, driven by ports, saved
 * and loaded, ended. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/vm.h"
#include "tests/fake/fake_hv.h"
#include "tests/unit/test.h"
#include "tests/unit/vmm_rig.h"
#include "util/bytes.h"
#include "util/util.h"
#include "vmm.h"

#define COM1 0x3f8
#define COM2 0x2f8

static struct vmm *vm;
static struct error e;
static int host[2] = { -1, -1 }; /* the other ends of the serial ports */
static const char *const strings[] = { "of the test" };

/* @n serial ports, and what a distribution's kernel wants. */
static struct vmm_config config(unsigned n)
{
	struct vmm_config c = { .vcpus = 2,
		.ram_bytes = 32 * MIB,
		.no_thp = true,
		.kernel_fd = kernel_file(),
		.cmdline = "quiet",
		.rng = true,
		.console = true,
		.vsock = true,
		.balloon = true,
		.acpi = true,
		.rtc = true,
		.smbios = true,
		.oem_strings = strings,
		.noem_strings = 1,
		.nserials = n };

	for (unsigned i = 0; i < n && i < VMM_MAX_SERIALS; i++) {
		int sv[2] = { -1, -1 };

		c.serial[i] = (struct vmm_serial){ -1, -1 };
		if (i >= 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
			continue;
		c.serial[i].in_fd = c.serial[i].out_fd = sv[0];
		host[i] = sv[1];
	}
	return c;
}

static int up(struct vmm_config c)
{
	e = (struct error){ 0 };
	fake_hv_set_opts(NULL);
	if (!vmm_new(-1, &vm, &e) && !vmm_build(vm, &c, &e) && !vmm_start(vm, &e))
		return 0;
	printf("# %s\n", e.msg);
	return -1;
}

static void down(void)
{
	vmm_free(vm);
	vm = NULL;
	for (unsigned i = 0; i < 2; i++) {
		if (host[i] >= 0)
			(void)close(host[i]);
		host[i] = -1;
	}
}

static bool out(uint16_t port, uint8_t v)
{
	return !fake_hv_pio_write(fake_hv_last(), 0, port, v, 1);
}

static unsigned in(uint16_t port)
{
	uint32_t v = 0xdead;

	return fake_hv_pio_read(fake_hv_last(), 0, port, &v, 1) ? 0xdead : v;
}

static bool host_gets(unsigned i, const char *text)
{
	char b[64] = "";
	size_t n = strlen(text);

	return recv(host[i], b, n, MSG_WAITALL) == (ssize_t)n && !memcmp(b, text, n);
}

/* Input that the io loop has put there some time. */
static bool guest_gets(uint16_t port, char c)
{
	for (unsigned i = 0; i < 20000; i++) {
		if (in((uint16_t)(port + 5)) & 1)
			return in(port) == (unsigned char)c;
		(void)poll(NULL, 0, 1);
	}
	return false;
}

static void serial_ports(void)
{
	uint64_t irqs;

	CHECK_EQ(up(config(2)), 0);
	CHECK(out(COM1, 'o') && out(COM1, 'k') && host_gets(0, "ok"));
	CHECK(out(COM2, '2') && host_gets(1, "2"));
	irqs = fake_hv_irqs(fake_hv_last(), 4);
	CHECK(out(COM1 + 1, 3));
	CHECK_EQ(fake_hv_irqs(fake_hv_last(), 4), irqs + 1);
	CHECK_EQ(in(COM1 + 2), 2);
	CHECK(out(COM1 + 4, 8));
	CHECK_EQ(write(host[0], "i", 1), 1);
	CHECK(guest_gets(COM1, 'i'));
	/* the byte is there before its interrupt */
	for (unsigned i = 0; i < 20000 && fake_hv_irqs(fake_hv_last(), 4) < irqs + 2; i++)
		(void)poll(NULL, 0, 1);
	CHECK(fake_hv_irqs(fake_hv_last(), 4) >= irqs + 2);
	CHECK_EQ(fake_hv_irqs(fake_hv_last(), 3), 0);
	CHECK(out(COM2 + 1, 2));
	CHECK_EQ(fake_hv_irqs(fake_hv_last(), 3), 1);
	CHECK_EQ(in(0x3e8 + 5), 0xff); /* no third one */
	down();
	CHECK_EQ(up(config(4)), 0);
	CHECK_EQ(in(0x3e8 + 5), 0x60);
	CHECK_EQ(in(0x2e8 + 5), 0x60);
	down();
	CHECK_EQ(up(config(0)), 0);
	CHECK_EQ(in(COM1 + 5), 0xff);
	down();
	CHECK(up(config(5)));
	down();
}

/* What the guest wrote last is the host's when the VM has ended, though nobody has read it yet. */
static void drained(void)
{
	const struct hv_exit off = { .kind = HV_EXIT_PIO,
		.write = true,
		.addr = 0x600,
		.len = 1,
		.count = 1,
		.data = &(uint8_t){ 5 << 2 | 0x20 } };
	struct vmm_config c = config(1);
	const unsigned all = 20000;
	static char b[65536];
	unsigned n = 0;
	ssize_t r;

	/* less than that goes at once */
	CHECK(!setsockopt(c.serial[0].out_fd, SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int)));
	CHECK_EQ(up(c), 0);
	for (unsigned i = 0; i < all; i++)
		CHECK(out(COM1, 'x'));
	CHECK_EQ(fake_hv_push(fake_hv_last(), 0, &off), 0);
	CHECK_EQ(vmm_wait(vm), VMM_END_GUEST);
	CHECK(!vmm_drain(vm, 20));
	for (unsigned i = 0; i < 10000 && n < all; i++) {
		r = recv(host[0], b, sizeof(b), MSG_DONTWAIT);
		n += r > 0 ? (unsigned)r : 0;
		(void)vmm_drain(vm, 1);
	}
	CHECK_EQ(n, all);
	CHECK(vmm_drain(vm, 0));
	down();
}

static void clock_and_inputs(void)
{
	uint64_t gsis = 0;
	struct vmm_config c;

	CHECK_EQ(up(config(0)), 0);
	CHECK(out(0x70, 0x0b));
	CHECK_EQ(in(0x71), 2);
	for (unsigned i = 0; i < vm->nslots; i++)
		gsis |= 1ULL << vm->slot[i].irq.gsi;
	CHECK_EQ(gsis, 1 << 5 | 1 << 6 | 1 << 7 | 1 << 9); /* 8 is the clock's */
	down();
	c = config(0);
	c.rtc = false;
	CHECK_EQ(up(c), 0);
	CHECK_EQ(in(0x71), 0xff);
	CHECK_EQ(vm->slot[3].irq.gsi, 8);
	down();
}

static void tables(void)
{
	struct vmm_config c = config(1);
	const uint8_t *zp, *acpi, *smbios;
	bool named = false;

	CHECK_EQ(up(c), 0);
	zp = fake_hv_ram(fake_hv_last(), 0x7000, 4096);
	acpi = fake_hv_ram(fake_hv_last(), 0xe0000, 0x10000);
	smbios = fake_hv_ram(fake_hv_last(), 0xf0000, 0x10000);
	CHECK(zp && get_le64(zp + 0x70) == 0xe0000 && !memcmp(acpi, "RSD PTR ", 8));
	CHECK(memmem(acpi, 0x10000, "VR03", 4) && !memmem(acpi, 0x10000, "VR04", 4));
	CHECK(memmem(acpi, 0x10000, "COM1", 4) && !memmem(acpi, 0x10000, "COM2", 4));
	CHECK(memmem(acpi, 0x10000, "RTC_", 4));
	CHECK(!memcmp(smbios, "_SM3_", 5));
	named = memmem(smbios, 0x10000, strings[0], strlen(strings[0]) + 1);
	CHECK(named);
	down();
	c = config(0);
	c.acpi = c.smbios = false;
	CHECK_EQ(up(c), 0);
	zp = fake_hv_ram(fake_hv_last(), 0x7000, 4096);
	acpi = fake_hv_ram(fake_hv_last(), 0xe0000, 0x20000);
	CHECK(zp && !get_le64(zp + 0x70));
	for (unsigned i = 0; i < 0x20000; i++)
		CHECK(!acpi[i]);
	CHECK(out(0x600, 5 << 2 | 0x20)); /* nothing is there */
	CHECK_EQ(vmm_state(vm), VMM_RUNNING);
	down();
}

/* In a file and out of it, into a VM that has the same ports. */
static void saved_and_loaded(void)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);
	struct vmm_config c = config(2);

	c.console = c.vsock = c.balloon = false;
	CHECK_EQ(up(c), 0);
	CHECK(out(COM1 + 4, 8));
	CHECK(out(COM1 + 1, 1) && out(COM2 + 7, 99) && out(0x70, 0x40) && out(0x71, 0x77));
	CHECK_EQ(write(host[0], "i", 1), 1);
	for (unsigned i = 0; i < 20000 && !(in(COM1 + 5) & 1); i++)
		(void)poll(NULL, 0, 1);
	CHECK(in(COM1 + 5) & 1);
	CHECK_EQ(vmm_pause(vm), 0);
	CHECK_EQ(write(host[0], "not now", 7), 7);
	CHECK_EQ(vmm_save(vm, fd, &e), 0);
	down();

	c = config(2);
	c.console = c.vsock = c.balloon = false;
	(void)close(c.kernel_fd);
	c.kernel_fd = -1;
	CHECK(!vmm_new(-1, &vm, &e) && !vmm_load(vm, &c, fd, &e) && !vmm_start(vm, &e));
	CHECK_EQ(in(COM1), 'i');
	CHECK_EQ(in(COM2 + 7), 99);
	CHECK_EQ(in(0x71), 0x77);
	CHECK(out(COM1, 'o') && host_gets(0, "o"));
	CHECK_EQ(write(host[0], "k", 1), 1);
	CHECK(guest_gets(COM1, 'k'));
	down();

	(void)close(fd);
}

/* Into a VM that is not the same machine: each part that differs is named, before RAM is read. */
static void saved_and_not_loaded(void)
{
	static const char *const why[] = { "saved with ACPI tables, loaded without",
		"saved with a clock, loaded without",
		"saved without an interval timer, loaded with",
		"saved with 2 serial ports, loaded with 1",
		"saved with 2 serial ports, loaded with 3" };
	int fd = memfd_create("saved", MFD_CLOEXEC);
	struct vmm_config c = config(2);

	c.console = c.vsock = c.balloon = false;
	CHECK_EQ(up(c), 0);
	CHECK_EQ(vmm_pause(vm), 0);
	CHECK_EQ(vmm_save(vm, fd, &e), 0);
	down();
	for (unsigned i = 0; i < ARRAY_SIZE(why); i++) {
		c = config(i < 3 ? 2 : 2 * i - 5);
		c.console = c.vsock = c.balloon = false;
		c.acpi = i != 0;
		c.rtc = i != 1;
		c.pit = i == 2;
		(void)close(c.kernel_fd);
		c.kernel_fd = -1;
		e = (struct error){ 0 };
		CHECK(!vmm_new(-1, &vm, &e));
		CHECK_EQ(vmm_load(vm, &c, fd, &e), -EINVAL);
		CHECK_STR(e.msg, why[i]);
		down();
	}
	(void)close(fd);
}

static const struct test_case cases[] = {
	TEST(serial_ports),
	TEST(drained),
	TEST(clock_and_inputs),
	TEST(tables),
	TEST(saved_and_loaded),
	TEST(saved_and_not_loaded),
};

TEST_MAIN(cases)
