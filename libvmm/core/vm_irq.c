// SPDX-License-Identifier: Apache-2.0
/* Interrupt controllers: the hypervisor's, or the I/O APIC in this process and the rest there. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/vm.h"
#include "dev/ioapic.h"
#include "util/cleanup.h"
#include "util/log.h"

_Static_assert(IOAPIC_PINS <= HV_ROUTES_MAX, "a route for each input");
_Static_assert(IOAPIC_PINS <= 32, "a bit of irqs_by_call for each input");

static void route(void *arg, const struct ioapic_msg m[IOAPIC_PINS], uint32_t by_call)
{
	struct hv_msi to[IOAPIC_PINS] = { 0 };
	struct vmm *vm = arg;
	int r;

	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		if (m[i].there)
			to[i] = (struct hv_msi){ m[i].addr, m[i].data };
	}
	__atomic_store_n(&vm->irqs_by_call, by_call, __ATOMIC_RELAXED);
	r = hv_irq_route(vm->hv, to, IOAPIC_PINS);
	if (r)
		vm_end(vm, VMM_END_FAILED, "interrupt routes: %s", err_text(r));
}

/* The driver would wait for ever. */
static void irq_lost(void *arg, unsigned gsi, int err)
{
	vm_end(arg, VMM_END_FAILED, "interrupt %u cannot be raised: %s", gsi, err_text(err));
}

static void send_once(void *arg, unsigned pin)
{
	struct vmm *vm = arg;
	int r = hv_irq_pulse(vm->hv, pin);

	if (r)
		irq_lost(vm, pin, r);
}

int vm_irq_add(struct vmm *vm, const struct vmm_config *cfg, struct error *e)
{
	static const struct ioapic_ops ops = { .route = route, .send = send_once };
	static const struct bus_ops regs = { .read = ioapic_read, .write = ioapic_write };
	int r;

	if (!cfg->split_irqchip)
		return hv_irqchip(vm->hv, cfg->pit, e);
	if (!arch_layout.ioapic)
		return err_set(e, ENOTSUP, "no split interrupt controller on this architecture");
	r = hv_irqchip_split(vm->hv, IOAPIC_PINS, e);
	if (r)
		return r;
	r = ioapic_new(&ops, vm, &vm->ioapic);
	if (!r)
		r = bus_add(&vm->mmio, arch_layout.ioapic, IOAPIC_LEN, &regs, vm->ioapic);
	return r ? err_sys(e, r, "the I/O APIC") : 0;
}

static void raise_by_call(void *arg, unsigned gsi)
{
	struct vmm *vm = arg;

	if (vm->ioapic)
		ioapic_pulse(vm->ioapic, gsi);
	else
		send_once(vm, gsi);
}

int vm_wire_irq(struct vmm *vm, struct irq_line *l, struct error *e)
{
	int r;

	l->raise = raise_by_call;
	l->lost = irq_lost;
	l->arg = vm;
	l->efd = -1;
	l->by_call = vm->ioapic ? &vm->irqs_by_call : NULL;
	if (!hv_features(vm->hv)->irqfd)
		return 0;
	l->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->efd < 0)
		return err_sys(e, errno, "eventfd");
	r = hv_irqfd(vm->hv, l->efd, l->gsi);
	if (r == -ENOTSUP) {
		(void)close(TAKE_FD(l->efd));
		return 0;
	}
	return r ? err_sys(e, r, "irqfd for interrupt %u", l->gsi) : 0;
}

void vm_irq_eoi(struct vmm *vm, uint64_t vector)
{
	if (vm->ioapic)
		ioapic_eoi(vm->ioapic, (uint8_t)vector);
}

void vm_irq_save(struct vmm *vm, struct save_out *s)
{
	if (vm->ioapic)
		ioapic_save(vm->ioapic, s);
}

int vm_irq_load(struct vmm *vm, struct save_in *s)
{
	return vm->ioapic ? ioapic_load(vm->ioapic, s) : 0;
}

void vm_irq_free(struct vmm *vm)
{
	ioapic_free(vm->ioapic);
	vm->ioapic = NULL;
}
