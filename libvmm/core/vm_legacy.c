// SPDX-License-Identifier: Apache-2.0
/* The devices of a PC that are no virtio devices: serial ports and the clock, on the port bus. */
/*
 * How it works
 *
 * They are made by the thread that builds, before the io loop has a thread. What a serial port does
 * with its fds it does on that loop; it is quiet until the VM starts, and while it is paused. Ports
 * with the same interrupt input pulse one line: the first one's.
 */
#include <errno.h>
#include <unistd.h>

#include "core/vm.h"
#include "dev/rtc.h"
#include "dev/serial.h"
#include "util/cleanup.h"

_Static_assert(LIM_SERIALS == VMM_MAX_SERIALS, "one number, two names");

static void raise_serial(void *arg)
{
	irq_raise(arg);
}

static int add_serial(struct vmm *vm, struct vmm_serial *p, struct error *e)
{
	static const struct bus_ops ops = { .read = serial_read, .write = serial_write };
	const struct arch_uart *at = &arch_layout.uarts[vm->nserials];
	struct vm_serial *s = &vm->serial[vm->nserials];
	struct serial_cfg c = { .in_fd = TAKE_FD(p->in_fd),
		.out_fd = TAKE_FD(p->out_fd),
		.irq = raise_serial,
		.irq_arg = &s->irq };
	bool shared = false;
	int r;

	s->irq.efd = -1;
	s->irq.gsi = at->gsi;
	for (unsigned i = 0; !shared && i < vm->nserials; i++) {
		shared = vm->serial[i].irq.gsi == at->gsi;
		if (shared)
			c.irq_arg = &vm->serial[i].irq;
	}
	r = serial_new(vm->io, &c, &s->s, e);
	if (r)
		return r;
	vm->nserials++;
	if (!shared)
		r = vm_wire_irq(vm, &s->irq, e);
	if (!r && bus_add(&vm->pio, at->port, SERIAL_PORTS_LEN, &ops, s->s))
		r = err_set(e, ENOSPC, "no room for a serial port at 0x%x", at->port);
	return r;
}

static int add_rtc(struct vmm *vm, struct error *e)
{
	static const struct bus_ops ops = { .read = rtc_read, .write = rtc_write };
	int r = rtc_new(&vm->rtc);

	if (!r)
		r = bus_add(&vm->pio, arch_layout.rtc.port, RTC_PORTS_LEN, &ops, vm->rtc);
	return r ? err_sys(e, r, "the clock") : 0;
}

int vm_legacy_add(struct vmm *vm, struct vmm_config *cfg, struct error *e)
{
	int r = cfg->nserials > arch_layout.nuarts || (cfg->rtc && !arch_layout.rtc.port)
		? err_set(e, ENOTSUP, "no such device on this architecture")
		: 0;

	for (unsigned i = 0; !r && i < cfg->nserials; i++)
		r = add_serial(vm, &cfg->serial[i], e);
	return r || !cfg->rtc ? r : add_rtc(vm, e);
}

static void pause_all(void *arg)
{
	struct vmm *vm = arg;

	for (unsigned i = 0; i < vm->nserials; i++)
		serial_pause(vm->serial[i].s);
}

static void resume_all(void *arg)
{
	struct vmm *vm = arg;

	for (unsigned i = 0; i < vm->nserials; i++)
		serial_resume(vm->serial[i].s);
}

void vm_legacy_pause(struct vmm *vm)
{
	if (vm->nserials)
		loop_call(vm->io, pause_all, vm);
}

void vm_legacy_resume(struct vmm *vm)
{
	if (vm->nserials)
		loop_call(vm->io, resume_all, vm);
}

bool vm_legacy_drain(struct vmm *vm)
{
	bool done = true;

	for (unsigned i = 0; i < vm->nserials; i++)
		done &= serial_drain(vm->serial[i].s);
	return done;
}

void vm_legacy_save(struct vmm *vm, struct save_out *s)
{
	for (unsigned i = 0; i < vm->nserials; i++)
		serial_save(vm->serial[i].s, s);
	if (vm->rtc)
		rtc_save(vm->rtc, s);
}

int vm_legacy_load(struct vmm *vm, struct save_in *s)
{
	int r = 0;

	for (unsigned i = 0; !r && i < vm->nserials; i++)
		r = serial_load(vm->serial[i].s, s);
	return r || !vm->rtc ? r : rtc_load(vm->rtc, s);
}

void vm_legacy_free(struct vmm *vm)
{
	for (unsigned i = 0; i < vm->nserials; i++) {
		serial_free(vm->serial[i].s);
		if (vm->serial[i].irq.efd >= 0)
			(void)close(vm->serial[i].irq.efd);
	}
	vm->nserials = 0;
	rtc_free(vm->rtc);
	vm->rtc = NULL;
}
