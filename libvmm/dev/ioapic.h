/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An I/O APIC (Intel 82093AA, with the EOI register of later ones: version 0x20) whose inputs
 * become messages to the local APICs, which are the hypervisor's. For VMs whose hypervisor has no
 * I/O APIC of its own (struct vmm_config, split_irqchip).
 *
 * A device's interrupt is a pulse. On an input that the guest has made edge-triggered it goes to
 * the processors at once, by a route that the hypervisor keeps (an irqfd needs none of this then),
 * or nowhere while the input is masked. On a level-triggered one a pulse is a line that stays up
 * until the guest's end of interrupt: it waits while the input is masked or the interrupt before it
 * is in service, any number of pulses as one. Polarity is kept and means nothing.
 *
 * Registers, pulses and ends of interrupt come on any thread; a lock guards all of it and is held
 * across the calls of struct ioapic_ops, which must not wait for a vCPU or call back. The rest runs
 * while vCPUs and devices are parked, or not there.
 */
#ifndef KRUN_DEV_IOAPIC_H
#define KRUN_DEV_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "util/save.h"

#define IOAPIC_PINS 24
#define IOAPIC_LEN  0x1000 /* bytes of its registers' window */

/* The message of an input, as a PCI device would write it to memory. */
struct ioapic_msg {
	bool there; /* false: what comes there is lost */
	uint64_t addr;
	uint32_t data;
};

struct ioapic_ops {
	/* All messages, when one has changed. @by_call: the inputs, a bit each, whose pulses must
	 * come by ioapic_pulse(), even where there is an irqfd; told before the route counts. */
	void (*route)(void *arg, const struct ioapic_msg m[IOAPIC_PINS], uint32_t by_call);
	/* Sends the message of an input once. */
	void (*send)(void *arg, unsigned pin);
};

struct ioapic;

/* Everything is masked, as after a reset. -ENOMEM. */
int ioapic_new(const struct ioapic_ops *ops, void *arg, struct ioapic **out);
void ioapic_free(struct ioapic *a); /* NULL is fine */

/* For struct bus_ops: @arg is the struct ioapic. What is no register reads as 0. */
void ioapic_read(void *arg, uint64_t off, uint8_t *data, unsigned len);
void ioapic_write(void *arg, uint64_t off, const uint8_t *data, unsigned len);

/* A device's interrupt at @pin; others than there are go nowhere. */
void ioapic_pulse(struct ioapic *a, unsigned pin);
/* A processor has ended level-triggered interrupt @vector. */
void ioapic_eoi(struct ioapic *a, uint8_t vector);

/*
 * An interrupt in service is saved as one that waits: its end may be on its way, unseen. So it
 * comes once more after a load, which a driver of a level-triggered line must bear. ioapic_load()
 * sets routes and sends what waits; the local APICs are loaded before. -EINVAL: no such state.
 */
void ioapic_save(struct ioapic *a, struct save_out *o);
int ioapic_load(struct ioapic *a, struct save_in *in) NODISCARD;

#endif
