// SPDX-License-Identifier: Apache-2.0
/*
 * Model-specific registers in a saved state: all that KVM lists, but those that this vCPU cannot
 * read.
 *
 * How it works: KVM_GET_MSRS and KVM_SET_MSRS stop at the first register that they refuse and say
 * how far they came. A save leaves such a register out. A load passes over one whose saved value is
 * 0 (its reset value on a host that does not have it) and fails on any other, since the guest would
 * miss it. The TSC deadline goes last: its write arms the timer, for which the TSC and the LAPIC's
 * timer mode must be there. Its value is 0 when the timer has fired and KVM has not yet told the
 * guest, which nothing else in the saved state shows; the present time in its place makes it fire
 * at once, and a timer interrupt too many is harmless.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hv/kvm/kvm_int.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/util.h"

#define KVM_MSRS_MAX	      1024
#define MSR_IA32_TSC	      0x10
#define MSR_IA32_TSC_DEADLINE 0x6e0
#define LAPIC_LVTT	      0x320
#define LVTT_MASKED	      (1U << 16)
#define LVTT_MODE_MASK	      (3U << 17)
#define LVTT_MODE_DEADLINE    (2U << 17)

struct msr_list {
	struct kvm_msr_list h;
	uint32_t index[KVM_MSRS_MAX];
};

struct msr_buf {
	struct kvm_msrs h;
	struct kvm_msr_entry e[KVM_MSRS_MAX];
};

static int deadline_armed(struct hv_vcpu *c)
{
	struct kvm_lapic_state l;
	uint32_t lvtt;

	if (!c->hv->irqchip || kvm_ioctl(c->fd, KVM_GET_LAPIC, &l) < 0)
		return 0;
	lvtt = get_le32(l.regs + LAPIC_LVTT);
	return (lvtt & LVTT_MODE_MASK) == LVTT_MODE_DEADLINE && !(lvtt & LVTT_MASKED);
}

/* Fills b->e from the n first entries, dropping what cannot be read. */
static int read_msrs(struct hv_vcpu *c, struct msr_buf *b, unsigned n)
{
	unsigned done = 0;
	struct msr_buf *part CLEAN_FREE = calloc(1, sizeof(*part));

	if (!part)
		return -ENOMEM;
	while (done < n) {
		int r;

		part->h.nmsrs = n - done;
		memcpy(part->e, b->e + done, (n - done) * sizeof(b->e[0]));
		r = kvm_ioctl(c->fd, KVM_GET_MSRS, part);
		if (r < 0)
			return r;
		r = MIN(r, (int)(n - done));
		memcpy(b->e + done, part->e, (unsigned)r * sizeof(b->e[0]));
		done += (unsigned)r;
		if (done < n) {
			memmove(b->e + done, b->e + done + 1, (n - done - 1) * sizeof(b->e[0]));
			n--;
		}
	}
	b->h.nmsrs = n;
	return 0;
}

static void fix_deadline(struct hv_vcpu *c, struct msr_buf *b)
{
	struct kvm_msr_entry *dl = NULL, t;
	uint64_t tsc = 0;

	for (unsigned i = 0; i < b->h.nmsrs; i++) {
		if (b->e[i].index == MSR_IA32_TSC)
			tsc = b->e[i].data;
		else if (b->e[i].index == MSR_IA32_TSC_DEADLINE)
			dl = &b->e[i];
	}
	if (!dl)
		return;
	if (!dl->data && deadline_armed(c))
		dl->data = tsc;
	t = *dl;
	*dl = b->e[b->h.nmsrs - 1];
	b->e[b->h.nmsrs - 1] = t;
}

int kvm_save_msrs(struct hv_vcpu *c, struct save_out *s)
{
	struct msr_list *l CLEAN_FREE = calloc(1, sizeof(*l));
	struct msr_buf *b CLEAN_FREE = calloc(1, sizeof(*b));
	int r;

	if (!l || !b)
		return -ENOMEM;
	l->h.nmsrs = KVM_MSRS_MAX;
	r = kvm_ioctl(c->hv->dev_fd, KVM_GET_MSR_INDEX_LIST, l);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < l->h.nmsrs; i++)
		b->e[i].index = l->index[i];
	r = read_msrs(c, b, l->h.nmsrs);
	if (r < 0)
		return r;
	fix_deadline(c, b);
	save_u32(s, b->h.nmsrs);
	for (unsigned i = 0; i < b->h.nmsrs; i++) {
		save_u32(s, b->e[i].index);
		save_u64(s, b->e[i].data);
	}
	return s->err;
}

static int write_msrs(struct hv_vcpu *c, struct msr_buf *b, const struct msr_buf *all)
{
	unsigned done = 0, n = all->h.nmsrs;

	while (done < n) {
		int r;

		b->h.nmsrs = n - done;
		memcpy(b->e, all->e + done, (n - done) * sizeof(all->e[0]));
		r = kvm_ioctl(c->fd, KVM_SET_MSRS, b);
		if (r < 0)
			return r;
		done += (unsigned)MIN(r, (int)(n - done));
		if (done == n)
			break;
		if (all->e[done].data) {
			log_err("vCPU %u: KVM refuses model-specific register 0x%x = 0x%llx",
				c->index, all->e[done].index,
				(unsigned long long)all->e[done].data);
			return -ENOTSUP;
		}
		done++;
	}
	return 0;
}

int kvm_load_msrs(struct hv_vcpu *c, struct save_in *s)
{
	struct msr_buf *all CLEAN_FREE = calloc(1, sizeof(*all));
	struct msr_buf *b CLEAN_FREE = calloc(1, sizeof(*b));
	uint32_t n = load_u32(s);

	if (!all || !b)
		return -ENOMEM;
	if (s->err || n > KVM_MSRS_MAX)
		return -EINVAL;
	all->h.nmsrs = n;
	for (unsigned i = 0; i < n; i++) {
		all->e[i].index = load_u32(s);
		all->e[i].data = load_u64(s);
	}
	return s->err ? s->err : write_msrs(c, b, all);
}
