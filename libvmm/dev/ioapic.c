// SPDX-License-Identifier: Apache-2.0
/*
 * An I/O APIC in user space: redirection entries become routes of the hypervisor's.
 *
 * How it works: two registers are a window onto the others, a third takes ends of interrupts. Each
 * of the 24 inputs has an entry of 64 bits: vector, delivery mode, destination, mask, trigger.
 * After a write the input's message is worked out anew, and the hypervisor hears of it only where
 * that made a difference: a kernel writes every entry several times before it uses one, and each
 * such call makes the host wait for its processors.
 *
 * An entry that cannot be a message (an old controller's ExtINT, of which there is none; a reserved
 * delivery mode; a vector that is the processor's own) has no route, and what comes there is lost:
 * the guest's own doing.
 *
 * Level-triggered inputs keep two facts: an interrupt is in service (Remote IRR, which the guest
 * reads in the entry), or one waits. They keep their route while they are masked, since the
 * hypervisor tells of the end of an interrupt only as long as it has a route with that vector, and
 * drivers end interrupts while the input is masked.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "dev/ioapic.h"
#include "util/bytes.h"

#define REG_SELECT 0x00
#define REG_WINDOW 0x10
#define REG_EOI	   0x40

#define INDEX_ID      0x00
#define INDEX_VERSION 0x01
#define INDEX_ARB     0x02
#define INDEX_ENTRIES 0x10 /* two for each input: low half, high half */

#define VERSION (0x20U | (IOAPIC_PINS - 1) << 16)
#define ID_MASK 0x0f000000U

#define E_VECTOR(e) ((uint8_t)(e))
#define E_MODE(e)   ((unsigned)((e) >> 8 & 7))
#define E_DEST(e)   ((unsigned)((e) >> 56))
#define E_LOGICAL   (1ULL << 11)
#define E_IRR	    (1ULL << 14)
#define E_LEVEL	    (1ULL << 15)
#define E_MASKED    (1ULL << 16)
/* what the guest can set: not the delivery status, which is always 0, nor E_IRR */
#define E_WRITABLE 0xff0000000001afffULL

#define MODE_FIXED  0
#define MODE_LOWEST 1
#define MODE_SMI    2
#define MODE_NMI    4
#define MODE_INIT   5
#define VECTOR_MIN  16

/* The Intel SDM, volume 3, "Message Signalled Interrupts" */
#define MSI_ADDR     0xfee00000ULL
#define MSI_DEST_AT  12
#define MSI_LOGICAL  (1U << 2)
#define MSI_MODE_AT  8
#define MSI_ASSERTED (1U << 14)
#define MSI_LEVEL    (1U << 15)

#define TAG_IOAPIC SAVE_TAG('I', 'O', 'A', 'P')

struct ioapic {
	pthread_mutex_t lock; /* guards all of it */
	const struct ioapic_ops *ops;
	void *arg;
	uint8_t index;
	uint32_t id;
	uint64_t entry[IOAPIC_PINS];
	uint32_t waiting; /* level-triggered interrupts that were not sent, an input each */
	struct ioapic_msg msg[IOAPIC_PINS];
	uint32_t by_call;
};

static bool takes_level(uint64_t e)
{
	return E_MODE(e) == MODE_FIXED || E_MODE(e) == MODE_LOWEST;
}

/* The other delivery modes are edges, whatever the entry says. */
static bool is_level(uint64_t e)
{
	return (e & E_LEVEL) && takes_level(e);
}

static bool can_be_sent(uint64_t e)
{
	switch (E_MODE(e)) {
	case MODE_FIXED:
	case MODE_LOWEST:
		return E_VECTOR(e) >= VECTOR_MIN;
	case MODE_SMI:
	case MODE_NMI:
	case MODE_INIT:
		return true;
	default:
		return false;
	}
}

static struct ioapic_msg message(uint64_t e)
{
	struct ioapic_msg m = { .there = can_be_sent(e) && (!(e & E_MASKED) || is_level(e)) };

	if (!m.there)
		return m;
	m.addr = MSI_ADDR | (uint64_t)E_DEST(e) << MSI_DEST_AT | (e & E_LOGICAL ? MSI_LOGICAL : 0);
	m.data = E_VECTOR(e) | E_MODE(e) << MSI_MODE_AT | MSI_ASSERTED |
		(is_level(e) ? MSI_LEVEL : 0);
	return m;
}

/* Sends what waits at a level-triggered input, if it may. */
static void serve(struct ioapic *a, unsigned pin)
{
	uint64_t e = a->entry[pin];

	if (!(a->waiting >> pin & 1) || !is_level(e) || (e & (E_MASKED | E_IRR)) || !can_be_sent(e))
		return;
	a->waiting &= ~(1U << pin);
	a->entry[pin] |= E_IRR;
	a->ops->send(a->arg, pin);
}

/* The entry of @pin may be another: true when the hypervisor has to know. */
static bool changes(struct ioapic *a, unsigned pin)
{
	struct ioapic_msg *old = &a->msg[pin], m = message(a->entry[pin]);
	uint32_t bit = 1U << pin, by_call = is_level(a->entry[pin]) ? bit : 0;
	bool same = m.there == old->there && m.addr == old->addr && m.data == old->data &&
		(a->by_call & bit) == by_call;

	*old = m;
	a->by_call = (a->by_call & ~bit) | by_call;
	return !same;
}

static void set_entry(struct ioapic *a, unsigned pin, uint64_t e)
{
	uint64_t in_service = a->entry[pin] & E_IRR;

	e &= E_WRITABLE;
	/* an input that becomes an edge has nothing in service; older kernels end interrupts so */
	a->entry[pin] = e | (is_level(e) ? in_service : 0);
	if (changes(a, pin))
		a->ops->route(a->arg, a->msg, a->by_call);
	serve(a, pin);
}

static void eoi(struct ioapic *a, uint8_t vector)
{
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		if (!(a->entry[i] & E_IRR) || E_VECTOR(a->entry[i]) != vector)
			continue;
		a->entry[i] &= ~E_IRR;
		serve(a, i);
	}
}

static uint32_t read_window(const struct ioapic *a)
{
	unsigned i = a->index - INDEX_ENTRIES;

	switch (a->index) {
	case INDEX_ID:
	case INDEX_ARB:
		return a->id;
	case INDEX_VERSION:
		return VERSION;
	default:
		if (a->index < INDEX_ENTRIES || i / 2 >= IOAPIC_PINS)
			return 0;
		return (uint32_t)(a->entry[i / 2] >> (i % 2 * 32));
	}
}

static void write_window(struct ioapic *a, uint32_t v)
{
	unsigned i = a->index - INDEX_ENTRIES, shift = i % 2 * 32;

	if (a->index == INDEX_ID) {
		a->id = v & ID_MASK;
	} else if (a->index >= INDEX_ENTRIES && i / 2 < IOAPIC_PINS) {
		uint64_t keep = a->entry[i / 2] & ~(0xffffffffULL << shift);

		set_entry(a, i / 2, keep | (uint64_t)v << shift);
	}
}

void ioapic_read(void *arg, uint64_t off, uint8_t *data, unsigned len)
{
	struct ioapic *a = arg;
	uint8_t v[8] = { 0 };

	(void)pthread_mutex_lock(&a->lock);
	if (off == REG_SELECT)
		v[0] = a->index;
	else if (off == REG_WINDOW)
		put_le32(v, read_window(a));
	(void)pthread_mutex_unlock(&a->lock);
	memcpy(data, v, len < sizeof(v) ? len : sizeof(v));
}

/* The window is written as a whole; of the other registers the lowest byte is all that counts. */
void ioapic_write(void *arg, uint64_t off, const uint8_t *data, unsigned len)
{
	struct ioapic *a = arg;

	if (!len)
		return;
	(void)pthread_mutex_lock(&a->lock);
	if (off == REG_SELECT)
		a->index = data[0];
	else if (off == REG_WINDOW && len >= 4)
		write_window(a, get_le32(data));
	else if (off == REG_EOI)
		eoi(a, data[0]);
	(void)pthread_mutex_unlock(&a->lock);
}

void ioapic_pulse(struct ioapic *a, unsigned pin)
{
	if (pin >= IOAPIC_PINS)
		return;
	(void)pthread_mutex_lock(&a->lock);
	if (is_level(a->entry[pin])) {
		a->waiting |= 1U << pin;
		serve(a, pin);
	} else if (a->msg[pin].there) {
		a->ops->send(a->arg, pin);
	}
	(void)pthread_mutex_unlock(&a->lock);
}

void ioapic_eoi(struct ioapic *a, uint8_t vector)
{
	(void)pthread_mutex_lock(&a->lock);
	eoi(a, vector);
	(void)pthread_mutex_unlock(&a->lock);
}

int ioapic_new(const struct ioapic_ops *ops, void *arg, struct ioapic **out)
{
	struct ioapic *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	(void)pthread_mutex_init(&a->lock, NULL);
	a->ops = ops;
	a->arg = arg;
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		a->entry[i] = E_MASKED;
	*out = a;
	return 0;
}

void ioapic_free(struct ioapic *a)
{
	if (!a)
		return;
	(void)pthread_mutex_destroy(&a->lock);
	free(a);
}

void ioapic_save(struct ioapic *a, struct save_out *o)
{
	size_t at = save_begin(o, TAG_IOAPIC, 1);
	uint32_t waiting;

	(void)pthread_mutex_lock(&a->lock);
	waiting = a->waiting;
	save_u8(o, a->index);
	save_u32(o, a->id);
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		save_u64(o, a->entry[i] & E_WRITABLE);
		if (a->entry[i] & E_IRR)
			waiting |= 1U << i;
	}
	save_u32(o, waiting);
	(void)pthread_mutex_unlock(&a->lock);
	save_end(o, at);
}

int ioapic_load(struct ioapic *a, struct save_in *in)
{
	uint64_t entry[IOAPIC_PINS], bad = 0;
	struct save_in sub;
	uint32_t id, waiting;
	uint8_t index;
	int r;

	if (!load_section(in, TAG_IOAPIC, 1, &sub))
		return -EINVAL;
	index = load_u8(&sub);
	id = load_u32(&sub);
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		entry[i] = load_u64(&sub);
		bad |= entry[i] & ~E_WRITABLE;
	}
	waiting = load_u32(&sub);
	r = load_done(&sub);
	if (r || bad || (id & ~ID_MASK) || waiting >> IOAPIC_PINS)
		return -EINVAL;
	(void)pthread_mutex_lock(&a->lock);
	a->index = index;
	a->id = id;
	a->waiting = waiting;
	memcpy(a->entry, entry, sizeof(entry));
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		(void)changes(a, i);
	a->ops->route(a->arg, a->msg, a->by_call);
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		serve(a, i);
	(void)pthread_mutex_unlock(&a->lock);
	return 0;
}
