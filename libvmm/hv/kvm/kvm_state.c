// SPDX-License-Identifier: Apache-2.0
/*
 * The saved state of KVM's side of a VM: every vCPU, then the interrupt controllers, the timer and
 * the clock.
 *
 * How it works: each of KVM's structures is one blob of the size that this kernel's headers give
 * it; a load takes a blob of exactly that size, into a zeroed structure. The order of a load
 * matters: CPUID and TSC rate come first since they decide which registers exist and how time is
 * scaled; system registers before the LAPIC (they hold its mode) and before the extended state; the
 * LAPIC before the model-specific registers (its timer mode decides what the deadline means);
 * pending events and the run state last. The IOAPIC comes after every LAPIC, because writing it may
 * deliver what was pending; the clock after every TSC.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv/kvm/kvm_int.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"

#define TAG_VCPU	  SAVE_TAG('K', 'C', 'P', 'U')
#define TAG_VM		  SAVE_TAG('K', 'V', 'M', ' ')
#define STATE_VERSION	  1
#define XSAVE_MAX	  (64U << 10)
#define NCHIPS		  3 /* both PICs and the IOAPIC */
#define TSC_TOLERANCE_PPM 250

static void save_ioctl(struct save_out *s, int fd, unsigned long req, void *p, size_t n)
{
	int r = kvm_ioctl(fd, req, p);

	if (r < 0) {
		log_err("KVM does not give a part of its state (request 0x%lx): %s", req,
			err_text(r));
		if (!s->err)
			s->err = r;
		return;
	}
	save_blob(s, p, n);
}

/* A blob of exactly @n bytes. */
static int take_blob(struct save_in *s, void *p, size_t n)
{
	size_t got;
	const uint8_t *b = load_blob(s, n, &got);

	if (!b || got != n)
		return s->err ? s->err : -EINVAL;
	memcpy(p, b, n);
	return 0;
}

static int load_ioctl(struct save_in *s, int fd, unsigned long req, void *p, size_t n)
{
	int r = take_blob(s, p, n);

	if (r < 0)
		return r;
	r = kvm_ioctl(fd, req, p);
	if (r < 0)
		log_err("KVM refuses a part of the saved state (request 0x%lx): %s", req,
			err_text(r));
	return r < 0 ? r : 0;
}

#define SAVE_IOCTL(s, fd, req, type)                     \
	do {                                             \
		type v_;                                 \
		memset(&v_, 0, sizeof(v_));              \
		save_ioctl(s, fd, req, &v_, sizeof(v_)); \
	} while (0)

#define LOAD_IOCTL(s, fd, req, type)                     \
	({                                               \
		type v_;                                 \
		load_ioctl(s, fd, req, &v_, sizeof(v_)); \
	})

static void save_cpuid(struct hv_vcpu *c, struct save_out *s)
{
	struct cpuid_buf *b CLEAN_FREE = calloc(1, sizeof(*b));
	int r = b ? 0 : -ENOMEM;

	if (b) {
		b->h.nent = ARCH_CPUID_MAX;
		r = kvm_ioctl(c->fd, KVM_GET_CPUID2, b);
	}
	if (r < 0) {
		s->err = s->err ? s->err : r;
		return;
	}
	save_blob(s, b->e, MIN(b->h.nent, ARCH_CPUID_MAX) * sizeof(b->e[0]));
}

static int load_cpuid(struct hv_vcpu *c, struct save_in *s)
{
	struct cpuid_buf *b CLEAN_FREE = calloc(1, sizeof(*b));
	struct cpuid_buf *now CLEAN_FREE = calloc(1, sizeof(*now));
	const struct cpuid_bits *lacks;
	const uint8_t *p;
	size_t n;
	int r;

	if (!b || !now)
		return -ENOMEM;
	p = load_blob(s, sizeof(b->e), &n);
	if (!p || n % sizeof(b->e[0]))
		return s->err ? s->err : -EINVAL;
	memcpy(b->e, p, n);
	b->h.nent = (uint32_t)(n / sizeof(b->e[0]));
	now->h.nent = ARCH_CPUID_MAX;
	r = kvm_ioctl(c->fd, KVM_GET_CPUID2, now);
	if (r < 0)
		return r;
	lacks = kvm_cpuid_lacks(b, now);
	if (lacks) {
		log_err("the saved VM uses features of a processor that this host does not offer (CPUID leaf 0x%x.%u)",
			lacks->leaf, lacks->index);
		return -ENOTSUP;
	}
	r = kvm_ioctl(c->fd, KVM_SET_CPUID2, b);
	return r < 0 ? r : 0;
}

/* @khz 0: the saving host did not know its rate. */
static int load_tsc_khz(struct hv_vcpu *c, uint32_t khz)
{
	int now = kvm_ioctl(c->fd, KVM_GET_TSC_KHZ, NULL);
	uint64_t diff;
	int r;

	if (!khz || now <= 0)
		return 0;
	diff = khz > (uint32_t)now ? khz - (uint32_t)now : (uint32_t)now - khz;
	if (diff * 1000000 <= (uint64_t)khz * TSC_TOLERANCE_PPM)
		return 0;
	r = kvm_ioctl(c->fd, KVM_SET_TSC_KHZ, (void *)(uintptr_t)khz);
	if (r < 0)
		log_err("the saved VM's time stamp counter runs at %u kHz, this host's at %d, and it cannot scale",
			khz, now);
	return r < 0 ? -ENOTSUP : 0;
}

static void save_xsave(struct hv_vcpu *c, struct save_out *s)
{
	size_t n = c->hv->xsave_size;
	uint8_t *p CLEAN_FREE = calloc(1, n);

	if (!p) {
		s->err = s->err ? s->err : -ENOMEM;
		return;
	}
	save_ioctl(s, c->fd, c->hv->xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, p, n);
}

static int load_xsave(struct hv_vcpu *c, struct save_in *s)
{
	uint8_t *p CLEAN_FREE = calloc(1, c->hv->xsave_size);
	const uint8_t *b;
	size_t n;
	int r;

	if (!p)
		return -ENOMEM;
	b = load_blob(s, XSAVE_MAX, &n);
	if (!b || n < sizeof(struct kvm_xsave))
		return s->err ? s->err : -EINVAL;
	if (n > c->hv->xsave_size)
		return -ENOTSUP;
	memcpy(p, b, n);
	r = kvm_ioctl(c->fd, KVM_SET_XSAVE, p);
	return r < 0 ? r : 0;
}

int hv_vcpu_save(struct hv_vcpu *c, struct save_out *s)
{
	size_t at = save_begin(s, TAG_VCPU, STATE_VERSION);
	struct kvm_mp_state mp = { 0 };
	int khz = kvm_ioctl(c->fd, KVM_GET_TSC_KHZ, NULL);
	int r;

	/* The run state is read before all else: reading it handles start-up interrupts, which
	 * changes the rest. */
	r = kvm_ioctl(c->fd, KVM_GET_MP_STATE, &mp);
	if (r < 0)
		return r;
	save_u32(s, c->index);
	save_cpuid(c, s);
	save_u32(s, khz > 0 ? (uint32_t)khz : 0);
	save_u8(s, c->hv->sregs2);
	if (c->hv->sregs2)
		SAVE_IOCTL(s, c->fd, KVM_GET_SREGS2, struct kvm_sregs2);
	else
		SAVE_IOCTL(s, c->fd, KVM_GET_SREGS, struct kvm_sregs);
	save_u8(s, c->hv->xcrs);
	if (c->hv->xcrs)
		SAVE_IOCTL(s, c->fd, KVM_GET_XCRS, struct kvm_xcrs);
	save_xsave(c, s);
	SAVE_IOCTL(s, c->fd, KVM_GET_REGS, struct kvm_regs);
	save_u8(s, c->hv->irqchip);
	if (c->hv->irqchip)
		SAVE_IOCTL(s, c->fd, KVM_GET_LAPIC, struct kvm_lapic_state);
	r = kvm_save_msrs(c, s);
	if (r < 0)
		return r;
	SAVE_IOCTL(s, c->fd, KVM_GET_DEBUGREGS, struct kvm_debugregs);
	SAVE_IOCTL(s, c->fd, KVM_GET_VCPU_EVENTS, struct kvm_vcpu_events);
	save_blob(s, &mp, sizeof(mp));
	save_end(s, at);
	return s->err;
}

/* From the system registers to the LAPIC. */
static int load_registers(struct hv_vcpu *c, struct save_in *s)
{
	uint8_t flag = load_u8(s);
	int r;

	if (flag && !c->hv->sregs2)
		return -ENOTSUP;
	r = flag ? LOAD_IOCTL(s, c->fd, KVM_SET_SREGS2, struct kvm_sregs2)
		 : LOAD_IOCTL(s, c->fd, KVM_SET_SREGS, struct kvm_sregs);
	if (r)
		return r;
	flag = load_u8(s); /* a processor without XSAVE has no XCR0 */
	if (flag && !c->hv->xcrs)
		return -ENOTSUP;
	if (flag)
		r = LOAD_IOCTL(s, c->fd, KVM_SET_XCRS, struct kvm_xcrs);
	if (!r)
		r = load_xsave(c, s);
	if (!r)
		r = LOAD_IOCTL(s, c->fd, KVM_SET_REGS, struct kvm_regs);
	if (r)
		return r;
	flag = load_u8(s);
	if (!!flag != c->hv->irqchip)
		return -EINVAL;
	return flag ? LOAD_IOCTL(s, c->fd, KVM_SET_LAPIC, struct kvm_lapic_state) : 0;
}

int hv_vcpu_load(struct hv_vcpu *c, struct save_in *s)
{
	struct save_in sub;
	int r;

	if (!load_section(s, TAG_VCPU, STATE_VERSION, &sub))
		return s->err ? s->err : -EINVAL;
	if (load_u32(&sub) != c->index)
		return -EINVAL;
	r = load_cpuid(c, &sub);
	if (!r)
		r = load_tsc_khz(c, load_u32(&sub));
	if (!r)
		r = load_registers(c, &sub);
	if (!r)
		r = kvm_load_msrs(c, &sub);
	if (!r)
		r = LOAD_IOCTL(&sub, c->fd, KVM_SET_DEBUGREGS, struct kvm_debugregs);
	if (!r)
		r = LOAD_IOCTL(&sub, c->fd, KVM_SET_VCPU_EVENTS, struct kvm_vcpu_events);
	if (!r)
		r = LOAD_IOCTL(&sub, c->fd, KVM_SET_MP_STATE, struct kvm_mp_state);
	return r ? r : load_done(&sub);
}

/* Which interrupt controllers are KVM's, as it stands in a saved state. */
enum {
	CHIPS_NONE,
	CHIPS_ALL,
	CHIPS_LOCAL
};

static uint8_t chips(const struct hv *h)
{
	return h->split ? CHIPS_LOCAL : h->irqchip ? CHIPS_ALL : CHIPS_NONE;
}

int hv_save(struct hv *h, struct save_out *s)
{
	size_t at = save_begin(s, TAG_VM, STATE_VERSION);
	struct kvm_clock_data clock = { 0 };
	int r = kvm_ioctl(h->vm_fd, KVM_GET_CLOCK, &clock);

	if (r < 0)
		return r;
	save_u8(s, chips(h));
	for (uint32_t i = 0; chips(h) == CHIPS_ALL && i < NCHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		save_ioctl(s, h->vm_fd, KVM_GET_IRQCHIP, &chip, sizeof(chip));
	}
	save_u8(s, h->pit);
	if (h->pit)
		SAVE_IOCTL(s, h->vm_fd, KVM_GET_PIT2, struct kvm_pit_state2);
	save_u64(s, clock.clock);
	save_end(s, at);
	return s->err;
}

int hv_load(struct hv *h, struct save_in *s)
{
	struct kvm_clock_data clock = { 0 };
	struct save_in sub;
	int r = 0;

	if (!load_section(s, TAG_VM, STATE_VERSION, &sub))
		return s->err ? s->err : -EINVAL;
	if (load_u8(&sub) != chips(h))
		return -EINVAL;
	for (uint32_t i = 0; chips(h) == CHIPS_ALL && i < NCHIPS; i++) {
		struct kvm_irqchip chip;

		r = take_blob(&sub, &chip, sizeof(chip));
		if (r)
			return r;
		if (chip.chip_id != i)
			return -EINVAL;
		r = kvm_ioctl(h->vm_fd, KVM_SET_IRQCHIP, &chip);
		if (r < 0)
			return r;
	}
	if (!!load_u8(&sub) != h->pit)
		return -EINVAL;
	if (h->pit)
		r = LOAD_IOCTL(&sub, h->vm_fd, KVM_SET_PIT2, struct kvm_pit_state2);
	clock.clock = load_u64(&sub);
	if (!r)
		r = load_done(&sub);
	if (r)
		return r;
	r = kvm_ioctl(h->vm_fd, KVM_SET_CLOCK, &clock);
	return r < 0 ? r : 0;
}

void hv_vcpu_resumed(struct hv_vcpu *c)
{
	(void)kvm_ioctl(c->fd, KVM_KVMCLOCK_CTRL, NULL); /* EINVAL: the guest uses another clock */
}
