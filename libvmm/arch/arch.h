/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The architecture seam: where things are, how a kernel gets in, how processors start.
 *
 * Called by core/vm_build.c and core/vcpu.c while the VM is built, on one thread, before any vCPU
 * runs. An architecture fills plain structs; hv/ hands them to the hypervisor.
 */
#ifndef KRUN_ARCH_ARCH_H
#define KRUN_ARCH_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "arch_state.h"
#include "core/bus.h"
#include "core/mem.h"
#include "util/err.h"

/* Where a device that is not virtio's lies on the port bus, and its interrupt input. */
struct arch_uart {
	uint16_t port;
	uint8_t gsi;
};

/* Constants of the architecture, as data. */
struct arch_layout {
	uint64_t mmio_base; /* first virtio-mmio window */
	uint64_t mmio_end;
	const uint8_t *gsis; /* interrupt inputs in the order they are given to devices */
	unsigned ngsis;
	const struct arch_uart *uarts; /* places for serial ports */
	unsigned nuarts;
	struct arch_uart rtc; /* port 0: none. With a clock its input is no other device's */
	uint64_t ioapic;      /* registers of a split interrupt controller; 0: no such thing */
	uint64_t gap_start, gap_end; /* RAM goes around this hole */
};
extern const struct arch_layout arch_layout;

enum arch_boot {
	ARCH_BOOT_LINUX64, /* 64-bit entry of an ELF vmlinux or a bzImage */
	ARCH_BOOT_PVH,
};

#define ARCH_KERNEL_NOTES 160

struct arch_kernel {
	uint64_t entry;
	enum arch_boot boot;
	uint64_t start, end;  /* what the kernel occupies until it has a memory map of its own, bss
				 included */
	uint64_t initrd_max;  /* highest address that an initrd may touch; 0: no limit but RAM */
	uint32_t cmdline_max; /* bytes of command line without its NUL; 0: it does not say */
	unsigned notes_len; /* what the loader keeps for arch_boot_setup() (x86: the setup header of
			       a bzImage) */
	uint8_t notes[ARCH_KERNEL_NOTES];
};

/* What a kernel is told of one virtio-mmio device. */
struct arch_vdev {
	uint64_t base;
	unsigned gsi;
};

struct arch_boot_params {
	unsigned vcpus;
	const char *cmdline; /* complete, shorter than LIM_CMDLINE */
	const void *initrd;  /* bytes to place, or NULL */
	uint64_t initrd_len;
	bool prefer_pvh; /* when the kernel offers both */
	bool acpi;	 /* ACPI tables too, which have @vdevs */
	const struct arch_vdev *vdevs;
	unsigned nvdevs;
	unsigned nuarts; /* serial ports: the first of arch_layout.uarts */
	bool rtc;
	bool no_pic; /* the interrupt controller is split: no old one stands beside it */
	bool smbios; /* a table that names the machine, and has these strings */
	const char *const *oem_strings;
	unsigned noem_strings;
};

/* Adds RAM regions for @bytes around the gap. */
int arch_add_ram(struct mem *m, uint64_t bytes, const struct mem_ram_opts *o, struct error *e);
/* Reads an ELF vmlinux or a bzImage (unpacking it is the kernel's job: entered at its 64-bit entry)
 * from @fd. The file may be hostile. */
int arch_load_kernel(
	struct mem *m, int fd, bool prefer_pvh, struct arch_kernel *k, struct error *e);
/* Places initrd, command line, boot parameters, memory map, processor table. @k from
 * arch_load_kernel(). */
int arch_boot_setup(struct mem *m, const struct arch_boot_params *p, const struct arch_kernel *k,
	struct error *e);
/* Register state at entry of vCPU @index (all but 0 wait for their start-up interrupt). */
void arch_boot_regs(const struct arch_kernel *k, unsigned index, struct arch_regs *out);
/* The processor that vCPU @index sees, from what the hypervisor supports: topology, no feature that
 * it cannot back. */
void arch_cpuid(
	const struct arch_cpuid *supported, unsigned index, unsigned vcpus, struct arch_cpuid *out);
/* Adds to @c, of arch_cpuid(), what a guest needs to run guests of its own. False: the hypervisor
 * does not support that. */
bool arch_cpuid_nested(const struct arch_cpuid *supported, struct arch_cpuid *c) NODISCARD;
/* Appends the tokens that tell the guest of one virtio-mmio device to the string in
 * @cmdline[@size]; -ENOSPC, string unchanged. */
int arch_describe_vdev(char *cmdline, unsigned size, uint64_t base, unsigned gsi);

/* Called on the vCPU thread when the guest resets the machine through a register. */
struct arch_reset {
	void (*reset)(void *arg);
	void *arg;
};

/* Legacy register ranges that must answer (x86: none but the ports that reset, and with @acpi the
 * one that switches off). @r is borrowed for as long as the bus lives. */
int arch_add_legacy(struct bus *pio, bool acpi, const struct arch_reset *r) NODISCARD;

#endif
