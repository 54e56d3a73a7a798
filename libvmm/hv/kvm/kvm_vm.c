// SPDX-License-Identifier: Apache-2.0
/*
 * The VM object of KVM: memory slots, interrupt controllers, event file descriptors.
 *
 * How it works: hv_open() asks only what the later calls depend on and makes the VM. The pages that
 * KVM needs inside the guest's address space on Intel (a task state segment, an identity map) lie
 * just under the firmware area, in the hole that the architecture keeps free of RAM. Interrupt
 * inputs go by KVM's default routing: GSI n is pin n of the IOAPIC. Where that is not KVM's, there
 * is no routing but what hv_irq_route() sets, and KVM reserves the numbers of its inputs: it looks
 * through these for the vectors whose end somebody wants to know.
 *
 * No thread of the runtime's is allowed KVM_SET_GSI_ROUTING: it makes no such VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hv/kvm/kvm_int.h"
#include "util/cleanup.h"
#include "util/util.h"

#define KVM_TSS_ADDR	  0xfffbd000UL /* three pages */
#define KVM_IDENTITY_ADDR 0xfffbc000ULL
#define EINTR_TRIES	  10 /* kicks and other signals that one call may meet */

int kvm_ioctl(int fd, unsigned long req, void *arg)
{
	int r;

	for (int i = 0; i < EINTR_TRIES; i++) {
		r = ioctl(fd, req, arg);
		if (r >= 0)
			return r;
		if (errno != EINTR)
			break;
	}
	return -errno;
}

static int ioctl_val(int fd, unsigned long req, unsigned long val)
{
	return kvm_ioctl(fd, req, (void *)val);
}

static void kick_handler(int sig)
{
	(void)sig; /* its arrival is all that matters */
}

static int kick_err;

static void kick_install(void)
{
	struct sigaction sa = { .sa_handler = kick_handler, .sa_flags = SA_RESTART };

	(void)sigemptyset(&sa.sa_mask);
	if (sigaction(KVM_KICK_SIGNAL, &sa, NULL) < 0)
		kick_err = errno;
}

static int ask_features(struct hv *h)
{
	int r;

	h->features.irqfd = ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) > 0;
	h->features.ioeventfd = ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD) > 0;
	h->features.readonly_mem =
		ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) > 0;
	r = ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (r <= 0)
		r = ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS);
	h->features.max_vcpus = r > 0 ? (unsigned)r : 1;
	h->tsc_deadline = ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	h->sregs2 = ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_SREGS2) > 0;
	h->xcrs = ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0;
	r = ioctl_val(h->dev_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r < (int)sizeof(struct kvm_run))
		return r < 0 ? r : -EINVAL;
	h->run_size = (size_t)r;
	return 0;
}

static void clean_hv(struct hv **h)
{
	hv_close(*h);
}

int hv_open(int dev_fd, struct hv **out, struct error *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct hv *h CLEAN(clean_hv) = calloc(1, sizeof(*h));
	uint64_t identity = KVM_IDENTITY_ADDR;
	int r;

	if (!h)
		return err_set(e, ENOMEM, "no memory for the VM object");
	h->vm_fd = -1;
	(void)pthread_once(&once, kick_install);
	if (kick_err)
		return err_sys(e, kick_err, "cannot install the vCPU signal's handler");
	h->dev_fd = fcntl(dev_fd, F_DUPFD_CLOEXEC, 3);
	if (h->dev_fd < 0)
		return err_sys(e, errno, "cannot duplicate the KVM device's descriptor");
	r = ask_features(h);
	if (r < 0)
		return err_sys(e, r, "KVM does not tell the size of its vCPU area");
	h->vm_fd = ioctl_val(h->dev_fd, KVM_CREATE_VM, 0);
	if (h->vm_fd < 0)
		return err_sys(e, h->vm_fd, "KVM cannot create a VM");
	r = ioctl_val(h->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	h->xsave2 = r > 0;
	h->xsave_size = r > (int)sizeof(struct kvm_xsave) ? (size_t)r : sizeof(struct kvm_xsave);
	r = kvm_ioctl(h->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (r < 0)
		return err_sys(e, r, "KVM refuses the identity map's address");
	r = ioctl_val(h->vm_fd, KVM_SET_TSS_ADDR, KVM_TSS_ADDR);
	if (r < 0)
		return err_sys(e, r, "KVM refuses the task state segment's address");
	*out = TAKE_PTR(h);
	return 0;
}

void hv_close(struct hv *h)
{
	if (!h)
		return;
	if (h->vm_fd >= 0)
		(void)close(h->vm_fd);
	if (h->dev_fd >= 0)
		(void)close(h->dev_fd);
	free(h);
}

const struct hv_features *hv_features(const struct hv *h)
{
	return &h->features;
}

int hv_set_region(struct hv *h, unsigned slot, uint64_t gpa, uint64_t len, void *hva, bool readonly,
	struct error *e)
{
	struct kvm_userspace_memory_region m = {
		.slot = slot,
		.flags = readonly ? KVM_MEM_READONLY : 0,
		.guest_phys_addr = gpa,
		.memory_size = len,
		.userspace_addr = (uintptr_t)hva,
	};
	int r;

	if (readonly && !h->features.readonly_mem)
		return err_set(e, ENOTSUP, "this KVM has no read-only memory");
	r = kvm_ioctl(h->vm_fd, KVM_SET_USER_MEMORY_REGION, &m);
	if (r < 0)
		return err_sys(e, r, "KVM refuses memory slot %u at 0x%llx, 0x%llx bytes", slot,
			(unsigned long long)gpa, (unsigned long long)len);
	return 0;
}

int hv_irqchip(struct hv *h, bool pit, struct error *e)
{
	struct kvm_pit_config cfg = { .flags = KVM_PIT_SPEAKER_DUMMY };
	int r = ioctl_val(h->vm_fd, KVM_CREATE_IRQCHIP, 0);

	if (r < 0)
		return err_sys(e, r, "KVM cannot create its interrupt controllers");
	h->irqchip = true;
	if (!pit)
		return 0;
	r = kvm_ioctl(h->vm_fd, KVM_CREATE_PIT2, &cfg);
	if (r < 0)
		return err_sys(e, r, "KVM cannot create its interval timer");
	h->pit = true;
	return 0;
}

int hv_irqchip_split(struct hv *h, unsigned pins, struct error *e)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = pins };
	int r;

	if (ioctl_val(h->dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_SPLIT_IRQCHIP) <= 0)
		return err_set(e, ENOTSUP, "this KVM has no local APICs without an I/O APIC");
	r = kvm_ioctl(h->vm_fd, KVM_ENABLE_CAP, &cap);
	if (r < 0)
		return err_sys(e, r, "KVM cannot create local APICs");
	h->irqchip = h->split = true;
	return 0;
}

int hv_irq_route(struct hv *h, const struct hv_msi *m, unsigned n)
{
	struct {
		struct kvm_irq_routing h;
		struct kvm_irq_routing_entry e[HV_ROUTES_MAX];
	} t = { .h.nr = 0 };

	if (n > HV_ROUTES_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		if (!m[i].data)
			continue;
		t.e[t.h.nr++] = (struct kvm_irq_routing_entry){ .gsi = i,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = (uint32_t)m[i].addr,
				.address_hi = (uint32_t)(m[i].addr >> 32),
				.data = m[i].data } };
	}
	return kvm_ioctl(h->vm_fd, KVM_SET_GSI_ROUTING, &t);
}

int hv_irqfd(struct hv *h, int efd, unsigned gsi)
{
	struct kvm_irqfd arg = { .fd = (uint32_t)efd, .gsi = gsi };

	if (!h->features.irqfd)
		return -ENOTSUP;
	return kvm_ioctl(h->vm_fd, KVM_IRQFD, &arg);
}

int hv_ioeventfd(struct hv *h, uint64_t addr, unsigned len, uint64_t datamatch, int efd)
{
	struct kvm_ioeventfd arg = {
		.datamatch = datamatch,
		.addr = addr,
		.len = len,
		.fd = efd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (!h->features.ioeventfd)
		return -ENOTSUP;
	return kvm_ioctl(h->vm_fd, KVM_IOEVENTFD, &arg);
}

int hv_irq_pulse(struct hv *h, unsigned gsi)
{
	struct kvm_irq_level up = { .irq = gsi, .level = 1 };
	struct kvm_irq_level down = { .irq = gsi, .level = 0 };
	int r = kvm_ioctl(h->vm_fd, KVM_IRQ_LINE, &up);

	return r < 0 ? r : kvm_ioctl(h->vm_fd, KVM_IRQ_LINE, &down);
}
