// SPDX-License-Identifier: Apache-2.0
/*
 * x86_64: memory layout, device windows and their description, the registers of a PC that must
 * answer.
 *
 * How it works: RAM lies around one hole, which has the windows of devices, the IOAPIC and the
 * LAPICs. What a PC has at fixed places is a table here, for others to read. Of the registers, only
 * those by which a guest ends itself are served: two that reset, and the sleep register of ACPI. A
 * reset is the end of the VM, since no firmware is there to begin again with.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86_64/x86.h"
#include "util/util.h"

/* All ones but "input buffer full": who wants to reset need not wait, who looks for a keyboard sees
 * a full buffer that never drains. */
#define I8042_STATUS_VALUE 0xfd
#define CF9_DO_RESET	   0x04
#define SLEEP_ENABLE	   0x20
#define SLEEP_TYPE(v)	   ((v) >> 2 & 7)

/* ISA inputs that no device of ours is born with, then the IOAPIC's upper ones. */
static const uint8_t gsis[] = { 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
	23 };

static const struct arch_uart uarts[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

const struct arch_layout arch_layout = {
	.mmio_base = X86_GAP_START,
	.mmio_end = X86_MMIO_END,
	.gsis = gsis,
	.ngsis = ARRAY_SIZE(gsis),
	.uarts = uarts,
	.nuarts = ARRAY_SIZE(uarts),
	.rtc = { 0x70, 8 },
	.ioapic = X86_IOAPIC,
	.gap_start = X86_GAP_START,
	.gap_end = X86_GAP_END,
};

_Static_assert(ARRAY_SIZE(gsis) == LIM_VDEVS, "as many interrupt inputs as devices");
_Static_assert(ARRAY_SIZE(uarts) == LIM_SERIALS, "as many places as serial ports");
_Static_assert(X86_GAP_START + LIM_VDEVS * X86_PAGE <= X86_MMIO_END, "windows fit");

int arch_add_ram(struct mem *m, uint64_t bytes, const struct mem_ram_opts *o, struct error *e)
{
	uint64_t low = MIN(bytes, X86_GAP_START);
	int r;

	if (bytes < LIM_RAM_MIN || bytes > LIM_RAM_MAX || bytes % X86_PAGE)
		return err_set(e, EINVAL,
			"%llu bytes of RAM: not a multiple of 4096 from %llu to %llu",
			(unsigned long long)bytes, LIM_RAM_MIN, LIM_RAM_MAX);
	r = mem_add_ram(m, GPA(0), low, o, e);
	if (r < 0 || bytes == low)
		return r;
	return mem_add_ram(m, GPA(X86_GAP_END), bytes - low, o, e);
}

uint64_t x86_low_end(const struct mem *m)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->r[i].kind == MEM_RAM && !m->r[i].gpa)
			return MIN(m->r[i].len, X86_GAP_START);
	return 0;
}

unsigned x86_memory_map(const struct mem *m, bool bios, struct x86_range r[X86_E820_MAX])
{
	uint64_t low = x86_low_end(m);
	unsigned n = 0;

	r[n++] = (struct x86_range){ 0, X86_EBDA, X86_E820_RAM };
	r[n++] = (struct x86_range){ X86_EBDA, X86_EBDA_END - X86_EBDA, X86_E820_RESERVED };
	if (bios)
		r[n++] = (struct x86_range){ X86_ACPI, X86_HIMEM - X86_ACPI, X86_E820_RESERVED };
	if (low > X86_HIMEM)
		r[n++] = (struct x86_range){ X86_HIMEM, low - X86_HIMEM, X86_E820_RAM };
	for (unsigned i = 0; i < m->n; i++)
		if (m->r[i].kind == MEM_RAM && m->r[i].gpa == X86_GAP_END) {
			r[n++] = (struct x86_range){ X86_GAP_END, m->r[i].len, X86_E820_RAM };
			break;
		}
	return n;
}

int arch_describe_vdev(char *cmdline, unsigned size, uint64_t base, unsigned gsi)
{
	char tok[64];
	size_t have = strnlen(cmdline, size);
	int n = snprintf(tok, sizeof(tok), "%svirtio_mmio.device=4K@0x%llx:%u", have ? " " : "",
		(unsigned long long)base, gsi);

	if (n < 0 || have >= size || (size_t)n >= size - have)
		return -ENOSPC;
	memcpy(cmdline + have, tok, (size_t)n + 1);
	return 0;
}

static void i8042_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	(void)arg;
	(void)off;
	memset(data, I8042_STATUS_VALUE, len);
}

static void i8042_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	const struct arch_reset *r = arg;

	(void)off;
	if (len == 1 && data[0] == X86_I8042_RESET)
		r->reset(r->arg);
}

static void cf9_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	(void)arg;
	(void)off;
	memset(data, 0, len);
}

static void cf9_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	const struct arch_reset *r = arg;

	(void)off;
	if (len == 1 && (data[0] & CF9_DO_RESET))
		r->reset(r->arg);
}

static void sleep_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	(void)arg;
	(void)off;
	memset(data, 0, len);
}

/* Control at 0; status at 1, where nothing ever is to be cleared. */
static void sleep_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	const struct arch_reset *r = arg;

	if (!off && len == 1 && (data[0] & SLEEP_ENABLE) && SLEEP_TYPE(data[0]) == X86_SLEEP_OFF)
		r->reset(r->arg);
}

int arch_add_legacy(struct bus *pio, bool acpi, const struct arch_reset *r)
{
	static const struct bus_ops i8042 = { .read = i8042_read, .write = i8042_write };
	static const struct bus_ops cf9 = { .read = cf9_read, .write = cf9_write };
	static const struct bus_ops sleep = { .read = sleep_read, .write = sleep_write };
	void *arg = (void *)(uintptr_t)r; /* bus_range's argument is not const; it is only read */
	int err = bus_add(pio, X86_I8042_CMD, 1, &i8042, arg);

	if (!err)
		err = bus_add(pio, X86_CF9, 1, &cf9, arg);
	return err || !acpi ? err : bus_add(pio, X86_SLEEP_CTL, 2, &sleep, arg);
}
