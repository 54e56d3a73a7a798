// SPDX-License-Identifier: Apache-2.0
/*
 * A hypervisor without a guest: tests put in the exits.
 *
 * How it works: one mutex and one condition per VM. A vCPU's run call waits for its queue to fill
 * or for a kick. An access is finished when the VMM runs the vCPU again (or completes it by
 * hv_vcpu_complete()), as with a real one: only then a read's data are taken from the buffer that
 * the exit lent out. Interrupts by irqfd are counted by reading the eventfd when somebody asks.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/fake/fake_hv.h"
#include "core/limits.h"
#include "util/util.h"

#define DATA_MAX 256
#define NGSI	 24
#define NEVENTS	 (LIM_VDEVS * LIM_VQS)

struct item {
	struct hv_exit x;
	uint8_t data[DATA_MAX];
	int err;
};

struct hv_vcpu {
	struct hv *hv;
	unsigned index;
	struct item q[FAKE_HV_QUEUE];
	unsigned head, n;      /* taken next, how many wait */
	bool pending;	       /* q[head] is with the VMM and not finished */
	uint64_t pushed, done; /* items put in and finished */
	bool kicked;
	uint64_t runs;
	unsigned resumed;
	struct arch_regs regs;
	struct arch_cpuid cpuid;
};

struct region {
	uint64_t gpa, len;
	uint8_t *hva;
	bool readonly;
};

struct event {
	uint64_t addr, match;
	unsigned len;
	int efd;
};

struct hv {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned lose, lost; /* kicks */
	struct hv_features features;
	struct hv_vcpu *vcpu[LIM_VCPUS];
	struct region region[LIM_REGIONS];
	struct event event[NEVENTS];
	unsigned nevents;
	int irqfd[NGSI];
	uint64_t irqs[NGSI];
	bool irqchip, split, pit;
	struct hv_msi route[NGSI];   /* with @split; data 0: none */
	uint8_t last_data[DATA_MAX]; /* of the access finished last */
};

static struct fake_hv_opts opts;
static struct hv *last;
static unsigned calls; /* relaxed atomic */

void fake_hv_set_opts(const struct fake_hv_opts *o)
{
	opts = o ? *o : (struct fake_hv_opts){ 0 };
	__atomic_store_n(&calls, 0, __ATOMIC_RELAXED);
}

unsigned fake_hv_calls(void)
{
	return __atomic_load_n(&calls, __ATOMIC_RELAXED);
}

/* True for the call that is to fail. */
static bool fails(void)
{
	return __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == opts.fail_call;
}

struct hv *fake_hv_last(void)
{
	return last;
}

int hv_open(int dev_fd, struct hv **out, struct error *e)
{
	pthread_condattr_t mono;
	struct hv *h;

	(void)dev_fd;
	if (opts.open_error)
		return err_sys(e, opts.open_error, "fake: cannot create a VM");
	h = calloc(1, sizeof(*h));
	if (!h)
		return err_set(e, ENOMEM, "fake: no memory");
	(void)pthread_mutex_init(&h->lock, NULL);
	(void)pthread_condattr_init(&mono);
	(void)pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&h->cond, &mono);
	(void)pthread_condattr_destroy(&mono);
	h->features = (struct hv_features){
		.irqfd = !opts.no_irqfd,
		.ioeventfd = !opts.no_ioeventfd,
		.readonly_mem = !opts.no_readonly_mem,
		.max_vcpus = opts.max_vcpus ? opts.max_vcpus : LIM_VCPUS,
	};
	for (unsigned i = 0; i < NGSI; i++)
		h->irqfd[i] = -1;
	last = h;
	*out = h;
	return 0;
}

void hv_close(struct hv *h)
{
	if (!h)
		return;
	if (last == h)
		last = NULL;
	for (unsigned i = 0; i < NGSI; i++)
		if (h->irqfd[i] >= 0)
			(void)close(h->irqfd[i]);
	for (unsigned i = 0; i < h->nevents; i++)
		(void)close(h->event[i].efd);
	(void)pthread_mutex_destroy(&h->lock);
	(void)pthread_cond_destroy(&h->cond);
	free(h);
}

const struct hv_features *hv_features(const struct hv *h)
{
	return &h->features;
}

int hv_set_region(struct hv *h, unsigned slot, uint64_t gpa, uint64_t len, void *hva, bool readonly,
	struct error *e)
{
	if (fails())
		return err_set(e, EIO, "fake: told to fail");
	if (slot >= LIM_REGIONS || (readonly && !h->features.readonly_mem))
		return err_set(e, EINVAL, "fake: slot %u", slot);
	for (unsigned i = 0; len && i < LIM_REGIONS; i++)
		if (i != slot && gpa < h->region[i].gpa + h->region[i].len &&
			h->region[i].gpa < gpa + len)
			return err_set(e, EEXIST, "fake: slot %u lies over slot %u", slot, i);
	h->region[slot] = (struct region){ gpa, len, hva, readonly };
	return 0;
}

int hv_irqchip(struct hv *h, bool pit, struct error *e)
{
	if (fails())
		return err_set(e, EIO, "fake: told to fail");
	if (h->irqchip)
		return err_set(e, EEXIST, "fake: interrupt controllers made twice");
	for (unsigned i = 0; i < LIM_VCPUS; i++)
		if (h->vcpu[i])
			return err_set(e, EINVAL,
				"fake: a vCPU is there before the interrupt controllers");
	h->irqchip = true;
	h->pit = pit;
	return 0;
}

int hv_irqchip_split(struct hv *h, unsigned pins, struct error *e)
{
	if (!opts.no_split && pins > NGSI)
		return err_set(e, EINVAL, "fake: %u inputs", pins);
	if (opts.no_split)
		return err_set(e, ENOTSUP, "fake: no split interrupt controllers");
	h->split = true;
	return hv_irqchip(h, false, e);
}

static bool leads_somewhere(const struct hv *h, unsigned gsi)
{
	return !h->split || h->route[gsi].data;
}

/* What came by the irqfd meanwhile. The VMM may have made its eventfd blocking: a count of 0 must
 * not hold us. Lock held. */
static void collect(struct hv *h, unsigned gsi)
{
	struct pollfd p = { .fd = h->irqfd[gsi], .events = POLLIN };
	uint64_t n;

	if (p.fd >= 0 && poll(&p, 1, 0) == 1 && read(p.fd, &n, sizeof(n)) == sizeof(n) &&
		leads_somewhere(h, gsi))
		h->irqs[gsi] += n;
}

int hv_irq_route(struct hv *h, const struct hv_msi *m, unsigned n)
{
	if (opts.route_error)
		return -opts.route_error;
	if (!h->split || n > NGSI)
		return -EINVAL;
	(void)pthread_mutex_lock(&h->lock);
	for (unsigned i = 0; i < NGSI; i++) {
		collect(h, i);
		h->route[i] = i < n ? m[i] : (struct hv_msi){ 0 };
	}
	(void)pthread_mutex_unlock(&h->lock);
	return 0;
}

int hv_irqfd(struct hv *h, int efd, unsigned gsi)
{
	if (fails())
		return -EIO;
	if (!h->features.irqfd || opts.irqfd_notsup)
		return -ENOTSUP;
	if (gsi >= NGSI || !h->irqchip)
		return -EINVAL;
	if (h->irqfd[gsi] >= 0)
		return -EBUSY;
	h->irqfd[gsi] = dup(efd);
	return h->irqfd[gsi] < 0 ? -errno : 0;
}

int hv_ioeventfd(struct hv *h, uint64_t addr, unsigned len, uint64_t datamatch, int efd)
{
	int fd;

	if (fails())
		return -EIO;
	if (!h->features.ioeventfd || opts.ioeventfd_notsup)
		return -ENOTSUP;
	for (unsigned i = 0; i < h->nevents; i++)
		if (h->event[i].addr == addr && h->event[i].match == datamatch)
			return -EEXIST;
	if (h->nevents == NEVENTS)
		return -ENOSPC;
	fd = dup(efd);
	if (fd < 0)
		return -errno;
	h->event[h->nevents++] = (struct event){ addr, datamatch, len, fd };
	return 0;
}

int hv_irq_pulse(struct hv *h, unsigned gsi)
{
	if (gsi >= NGSI || !h->irqchip)
		return -EINVAL;
	(void)pthread_mutex_lock(&h->lock);
	h->irqs[gsi] += leads_somewhere(h, gsi);
	(void)pthread_mutex_unlock(&h->lock);
	return 0;
}

int hv_vcpu_new(struct hv *h, unsigned index, struct hv_vcpu **out, struct error *e)
{
	struct hv_vcpu *c;

	if (fails())
		return err_set(e, EIO, "fake: told to fail");
	if (index >= h->features.max_vcpus || index >= LIM_VCPUS || h->vcpu[index])
		return err_set(e, EINVAL, "fake: vCPU %u", index);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, "fake: no memory");
	c->hv = h;
	c->index = index;
	(void)pthread_mutex_lock(&h->lock);
	h->vcpu[index] = c;
	(void)pthread_mutex_unlock(&h->lock);
	*out = c;
	return 0;
}

void hv_vcpu_free(struct hv_vcpu *c)
{
	if (!c)
		return;
	(void)pthread_mutex_lock(&c->hv->lock);
	c->hv->vcpu[c->index] = NULL;
	(void)pthread_cond_broadcast(&c->hv->cond);
	(void)pthread_mutex_unlock(&c->hv->lock);
	free(c);
}

/* The VMM has served what it was given. Lock held. */
static void finish(struct hv_vcpu *c)
{
	if (!c->pending)
		return;
	memcpy(c->hv->last_data, c->q[c->head].data, DATA_MAX);
	c->head = (c->head + 1) % FAKE_HV_QUEUE;
	c->n--;
	c->done++;
	c->pending = false;
	(void)pthread_cond_broadcast(&c->hv->cond);
}

int hv_vcpu_run(struct hv_vcpu *c, struct hv_exit *x)
{
	struct hv *h = c->hv;
	int r = 0;

	memset(x, 0, sizeof(*x));
	(void)pthread_mutex_lock(&h->lock);
	finish(c);
	while (!c->n && !c->kicked)
		(void)pthread_cond_wait(&h->cond, &h->lock);
	c->runs++;
	if (c->kicked) {
		c->kicked = false;
		x->kind = HV_EXIT_INTR;
	} else {
		struct item *it = &c->q[c->head];

		*x = it->x;
		x->data = it->x.len ? it->data : NULL;
		c->pending = true;
		r = -it->err;
	}
	(void)pthread_mutex_unlock(&h->lock);
	return r;
}

void hv_vcpu_kick(struct hv_vcpu *c, int tid)
{
	(void)tid;
	(void)pthread_mutex_lock(&c->hv->lock);
	if (c->hv->lose) {
		c->hv->lose--;
		c->hv->lost++;
	} else {
		c->kicked = true;
	}
	(void)pthread_cond_broadcast(&c->hv->cond);
	(void)pthread_mutex_unlock(&c->hv->lock);
}

void fake_hv_lose_kicks(struct hv *h, unsigned n)
{
	(void)pthread_mutex_lock(&h->lock);
	h->lose = n;
	(void)pthread_mutex_unlock(&h->lock);
}

unsigned fake_hv_lost(struct hv *h)
{
	unsigned n;

	(void)pthread_mutex_lock(&h->lock);
	n = h->lost;
	(void)pthread_mutex_unlock(&h->lock);
	return n;
}

int hv_vcpu_complete(struct hv_vcpu *c)
{
	(void)pthread_mutex_lock(&c->hv->lock);
	finish(c);
	(void)pthread_mutex_unlock(&c->hv->lock);
	return 0;
}

uint64_t hv_vcpu_runs(const struct hv_vcpu *c)
{
	uint64_t n;

	(void)pthread_mutex_lock(&c->hv->lock);
	n = c->runs;
	(void)pthread_mutex_unlock(&c->hv->lock);
	return n;
}

int hv_cpuid_supported(struct hv *h, struct arch_cpuid *out, struct error *e)
{
	if (fails())
		return err_set(e, EIO, "fake: told to fail");
	(void)h;
	(void)e;
	*out = (struct arch_cpuid){ .n = 2,
		.e = { [0].eax = 1, [1] = { .leaf = 1, .edx = 0x178bfbff } } };
	return 0;
}

int hv_vcpu_set_cpuid(struct hv_vcpu *c, const struct arch_cpuid *in, struct error *e)
{
	if (fails())
		return err_set(e, EIO, "fake: told to fail");
	(void)e;
	c->cpuid = *in;
	return 0;
}

int hv_vcpu_set_regs(struct hv_vcpu *c, const struct arch_regs *r, struct error *e)
{
	if (fails())
		return err_set(e, EIO, "fake: told to fail");
	(void)e;
	c->regs = *r;
	return 0;
}

void hv_vcpu_resumed(struct hv_vcpu *c)
{
	c->resumed++;
}

#define TAG_VM	 SAVE_TAG('F', 'V', 'M', ' ')
#define TAG_VCPU SAVE_TAG('F', 'C', 'P', 'U')

int hv_save(struct hv *h, struct save_out *s)
{
	size_t at = save_begin(s, TAG_VM, 1);

	if (fails())
		return -EIO;
	save_u8(s, (uint8_t)(h->irqchip + h->split));
	save_u8(s, h->pit);
	for (unsigned i = 0; i < NGSI; i++)
		save_u64(s, h->irqs[i]);
	save_end(s, at);
	return s->err;
}

int hv_load(struct hv *h, struct save_in *s)
{
	struct save_in sub;

	if (fails())
		return -EIO;
	if (!load_section(s, TAG_VM, 1, &sub))
		return s->err ? s->err : -EINVAL;
	if (load_u8(&sub) != h->irqchip + h->split || load_u8(&sub) != h->pit)
		return -EINVAL;
	for (unsigned i = 0; i < NGSI; i++)
		h->irqs[i] = load_u64(&sub);
	return load_done(&sub);
}

int hv_vcpu_save(struct hv_vcpu *c, struct save_out *s)
{
	size_t at;

	if (fails())
		return -EIO;
	if (c->pending)
		return -EBUSY; /* hv_vcpu_complete() was forgotten */
	at = save_begin(s, TAG_VCPU, 1);
	save_u32(s, c->index);
	save_blob(s, &c->regs, sizeof(c->regs));
	save_end(s, at);
	return s->err;
}

int hv_vcpu_load(struct hv_vcpu *c, struct save_in *s)
{
	const uint8_t *p;
	struct save_in sub;
	size_t n;

	if (fails())
		return -EIO;
	if (!load_section(s, TAG_VCPU, 1, &sub))
		return s->err ? s->err : -EINVAL;
	if (load_u32(&sub) != c->index)
		return -EINVAL;
	p = load_blob(&sub, sizeof(c->regs), &n);
	if (!p || n != sizeof(c->regs))
		return -EINVAL;
	memcpy(&c->regs, p, n);
	return load_done(&sub);
}

int hv_probe(int dev_fd, enum hv_probe what, struct error *e)
{
	(void)dev_fd;
	if ((unsigned)what >= HV_PROBE_MAX)
		return err_set(e, EINVAL, "no such probe");
	return opts.probe_error[what]
		? err_set(e, opts.probe_error[what], "fake: probe %d", (int)what)
		: 0;
}

/* The test's side. */

static int push(struct hv *h, unsigned vcpu, const struct hv_exit *x, int err, uint64_t *ticket)
{
	struct hv_vcpu *c;
	struct item *it;
	size_t n = x ? (size_t)x->len * x->count : 0;

	if (n > DATA_MAX || vcpu >= LIM_VCPUS)
		return -EINVAL;
	(void)pthread_mutex_lock(&h->lock);
	c = h->vcpu[vcpu];
	if (!c || c->n == FAKE_HV_QUEUE) {
		(void)pthread_mutex_unlock(&h->lock);
		return c ? -ENOSPC : -ENOENT;
	}
	it = &c->q[(c->head + c->n++) % FAKE_HV_QUEUE];
	memset(it, 0, sizeof(*it));
	it->err = err;
	if (x)
		it->x = *x;
	if (n && x->data)
		memcpy(it->data, x->data, n);
	c->pushed++;
	if (ticket)
		*ticket = c->pushed;
	(void)pthread_cond_broadcast(&h->cond);
	(void)pthread_mutex_unlock(&h->lock);
	return 0;
}

int fake_hv_push(struct hv *h, unsigned vcpu, const struct hv_exit *x)
{
	return push(h, vcpu, x, 0, NULL);
}

int fake_hv_push_error(struct hv *h, unsigned vcpu, int err)
{
	return push(h, vcpu, NULL, abs(err), NULL);
}

/* Waits until item @ticket of the vCPU is finished; takes the data of the last one along. */
static int wait_done(struct hv *h, unsigned vcpu, uint64_t ticket, void *data, size_t n)
{
	struct timespec until;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FAKE_HV_WAIT_S;
	(void)pthread_mutex_lock(&h->lock);
	while (!r && h->vcpu[vcpu] && h->vcpu[vcpu]->done < ticket)
		r = pthread_cond_timedwait(&h->cond, &h->lock, &until);
	if (!h->vcpu[vcpu])
		r = ENOENT;
	if (!r && data)
		memcpy(data, h->last_data, n);
	(void)pthread_mutex_unlock(&h->lock);
	return -r;
}

int fake_hv_drain(struct hv *h, unsigned vcpu)
{
	uint64_t ticket = 0;

	if (vcpu >= LIM_VCPUS)
		return -EINVAL;
	(void)pthread_mutex_lock(&h->lock);
	if (h->vcpu[vcpu])
		ticket = h->vcpu[vcpu]->pushed;
	(void)pthread_mutex_unlock(&h->lock);
	return wait_done(h, vcpu, ticket, NULL, 0);
}

static int do_access(struct hv *h, unsigned vcpu, enum hv_exit_kind kind, bool write, uint64_t addr,
	void *data, unsigned len)
{
	struct hv_exit x = {
		.kind = kind, .write = write, .addr = addr, .len = len, .count = 1, .data = data
	};
	uint64_t ticket;
	int r = push(h, vcpu, &x, 0, &ticket);

	return r ? r : wait_done(h, vcpu, ticket, write ? NULL : data, len);
}

int fake_hv_mmio_write(struct hv *h, unsigned vcpu, uint64_t addr, uint64_t v, unsigned len)
{
	const uint64_t one = 1;

	for (unsigned i = 0; i < h->nevents; i++)
		if (h->event[i].addr == addr && h->event[i].len == len && h->event[i].match == v)
			return write(h->event[i].efd, &one, sizeof(one)) < 0 ? -errno : 0;
	return do_access(h, vcpu, HV_EXIT_MMIO, true, addr, &v, len);
}

int fake_hv_mmio_read(struct hv *h, unsigned vcpu, uint64_t addr, uint64_t *v, unsigned len)
{
	*v = 0;
	return do_access(h, vcpu, HV_EXIT_MMIO, false, addr, v, len);
}

int fake_hv_pio_write(struct hv *h, unsigned vcpu, uint16_t port, uint32_t v, unsigned len)
{
	return do_access(h, vcpu, HV_EXIT_PIO, true, port, &v, len);
}

int fake_hv_pio_read(struct hv *h, unsigned vcpu, uint16_t port, uint32_t *v, unsigned len)
{
	*v = 0;
	return do_access(h, vcpu, HV_EXIT_PIO, false, port, v, len);
}

uint64_t fake_hv_irqs(struct hv *h, unsigned gsi)
{
	uint64_t total;

	if (gsi >= NGSI)
		return 0;
	(void)pthread_mutex_lock(&h->lock);
	collect(h, gsi);
	total = h->irqs[gsi];
	(void)pthread_mutex_unlock(&h->lock);
	return total;
}

void *fake_hv_ram(struct hv *h, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < LIM_REGIONS; i++) {
		const struct region *r = &h->region[i];

		if (r->len && gpa >= r->gpa && range_ok(gpa - r->gpa, len, r->len))
			return r->hva + (gpa - r->gpa);
	}
	return NULL;
}

struct hv_msi fake_hv_route(struct hv *h, unsigned gsi)
{
	struct hv_msi m = { 0 };

	(void)pthread_mutex_lock(&h->lock);
	if (gsi < NGSI)
		m = h->route[gsi];
	(void)pthread_mutex_unlock(&h->lock);
	return m;
}

bool fake_hv_has_irqchip(const struct hv *h, bool *pit)
{
	if (pit)
		*pit = h->pit;
	return h->irqchip;
}

const struct arch_regs *fake_hv_regs(struct hv *h, unsigned vcpu)
{
	return vcpu < LIM_VCPUS && h->vcpu[vcpu] ? &h->vcpu[vcpu]->regs : NULL;
}

const struct arch_cpuid *fake_hv_cpuid(struct hv *h, unsigned vcpu)
{
	return vcpu < LIM_VCPUS && h->vcpu[vcpu] ? &h->vcpu[vcpu]->cpuid : NULL;
}

unsigned fake_hv_resumed(struct hv *h, unsigned vcpu)
{
	return vcpu < LIM_VCPUS && h->vcpu[vcpu] ? h->vcpu[vcpu]->resumed : 0;
}
