// SPDX-License-Identifier: Apache-2.0
/* Writes a paused VM to a file and makes one from it. */
/*
 * How it works
 *
 * The file: a 4 KiB header {magic, version, length and checksum of the state, offset of RAM,
 * checksum of the header}, the state as nested sections (util/save.h), then RAM at the next 2 MiB
 * border, sparse and without a checksum. The state holds the shape of the VM (vCPUs, RAM, devices),
 * which must equal that of the config it is loaded with: a mismatch is an error that names it,
 * never a guess.
 *
 * Pausing has completed pending register accesses, because a half-done access lives in the run page
 * and not in the registers. Loading builds the same VM without a kernel, then puts state back in
 * the order that KVM wants: CPUID before anything that depends on features, the vCPUs before the
 * machine's clock and interrupt controllers (of which the I/O APIC may be a device of ours), RAM
 * and devices last. Each vCPU first gets the CPUID that this host would give a new VM: what was
 * saved must lie within it. The vCPUs' threads begin parked; vmm_start() then resumes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/vm.h"
#include "util/bytes.h"
#include "util/cleanup.h"
#include "util/io.h"
#include "util/save.h"

#define SNAP_MAGIC   "KRUNSNAP"
#define SNAP_VERSION 1
#define SNAP_HEADER  4096U
#define SNAP_FIELDS  48U /* bytes of the header that mean something */
#define SNAP_ALIGN   (2ULL << 20)

#define SHAPE_VERSION 2
/* The version from which on a shape tells the parts of a PC; before it none says. */
#define SHAPE_FLAGS_FROM 2

#define TAG_VM	  SAVE_TAG('V', 'M', ' ', ' ')
#define TAG_SHAPE SAVE_TAG('S', 'H', 'A', 'P')
#define TAG_HV	  SAVE_TAG('H', 'V', ' ', ' ')
#define TAG_VCPU  SAVE_TAG('V', 'C', 'P', 'U')
#define TAG_DEV	  SAVE_TAG('D', 'E', 'V', ' ')

/* FNV-1a: tells a damaged file from a whole one; the file is trusted as the program itself is */
static uint64_t checksum(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

/* What there is of a PC, from SHAPE_FLAGS_FROM on: a bit each, in this order, then the number of
 * serial ports. */
static const char *const flag_names[] = { "ACPI tables", "a clock", "an interval timer",
	"a split interrupt controller" };

static uint8_t shape_flags(const struct vmm *vm)
{
	return (uint8_t)(vm->acpi | (vm->rtc != NULL) << 1 | vm->pit << 2 |
		(vm->ioapic != NULL) << 3);
}

static void save_shape(const struct vmm *vm, struct save_out *s)
{
	size_t at = save_begin(s, TAG_SHAPE, SHAPE_VERSION);

	save_u32(s, vm->nvcpus);
	save_u64(s, mem_ram_bytes(&vm->mem));
	save_u32(s, vm->nslots);
	for (unsigned i = 0; i < vm->nslots; i++)
		save_u32(s, vm->slot[i].v->cls->id);
	save_u8(s, shape_flags(vm));
	save_u8(s, (uint8_t)vm->nserials);
	save_end(s, at);
}

static int save_error(const struct save_out *s, int r, const char *device, struct error *e)
{
	if (s->why)
		return err_set(e, -r, "cannot save the %s device: %s", device, s->why);
	if (r == -E2BIG)
		return err_set(e, E2BIG, "cannot save the %s device: over %u bytes of state",
			device, LIM_SAVE_STATE);
	return err_sys(e, r, "cannot save the %s device", device);
}

static int save_state(struct vmm *vm, struct save_out *s, struct error *e)
{
	size_t vm_at = save_begin(s, TAG_VM, 1), at;
	int r = 0;

	save_shape(vm, s);
	for (unsigned i = 0; !r && i < vm->nvcpus; i++) {
		at = save_begin(s, TAG_VCPU, 1);
		r = hv_vcpu_save(vm->vcpu[i].hv, s);
		save_end(s, at);
	}
	/* the machine's clock and IOAPIC after the processors' clocks and APICs */
	at = save_begin(s, TAG_HV, 1);
	if (!r)
		r = hv_save(vm->hv, s);
	save_end(s, at);
	if (r)
		return err_sys(e, r, "cannot read the processors' state");
	vm_irq_save(vm, s);
	for (unsigned i = 0; i < vm->nslots; i++) {
		at = save_begin(s, TAG_DEV, 1);
		mmio_save(&vm->slot[i].t, s);
		r = vdev_save(vm->slot[i].v, s);
		save_end(s, at);
		if (r)
			return save_error(s, r, vm->slot[i].v->cls->name, e);
	}
	vm_legacy_save(vm, s);
	save_end(s, vm_at);
	return s->err ? err_sys(e, s->err, "cannot save the VM") : 0;
}

int vmm_save(struct vmm *vm, int fd, struct error *e)
{
	CLEAN(save_out_free) struct save_out s = { .max = LIM_SAVE_STATE };
	uint8_t head[SNAP_FIELDS] = SNAP_MAGIC;
	uint64_t ram_at;
	int r;

	if (!vm->devices_paused)
		return err_set(e, EINVAL, "a VM is saved while it is paused");
	if (vm->nested)
		return err_set(e, ENOTSUP, "a VM that may run guests of its own cannot be saved");
	r = save_state(vm, &s, e);
	if (r)
		return r;
	ram_at = ALIGN_UP(SNAP_HEADER + (uint64_t)s.len, SNAP_ALIGN);
	put_le32(head + 8, SNAP_VERSION);
	put_le64(head + 16, s.len);
	put_le64(head + 24, checksum(s.buf, s.len));
	put_le64(head + 32, ram_at);
	put_le64(head + 40, checksum(head, 40));
	if (ftruncate(fd, 0))
		return err_sys(e, errno, "cannot empty the file");
	r = io_pwrite(fd, s.buf, s.len, SNAP_HEADER);
	if (r)
		return err_sys(e, r, "cannot write the VM's state");
	r = mem_image_save(&vm->mem, fd, ram_at, e);
	if (r)
		return r;
	/* the header last: a file that was cut short has none */
	r = io_pwrite(fd, head, sizeof(head), 0);
	return r ? err_sys(e, r, "cannot write the VM's state") : 0;
}

static int read_state(int fd, uint8_t **buf, size_t *len, uint64_t *ram_at, struct error *e)
{
	uint8_t head[SNAP_FIELDS];
	CLEAN_FREE uint8_t *b = NULL;
	uint64_t n;

	if (io_pread(fd, head, sizeof(head), 0) || memcmp(head, SNAP_MAGIC, 8))
		return err_set(e, EINVAL, "not a saved VM");
	if (get_le32(head + 8) != SNAP_VERSION)
		return err_set(e, EINVAL, "saved VM of version %u, this is version %u",
			get_le32(head + 8), SNAP_VERSION);
	n = get_le64(head + 16);
	*ram_at = get_le64(head + 32);
	if (checksum(head, 40) != get_le64(head + 40) || n > LIM_SAVE_STATE ||
		*ram_at % SNAP_ALIGN || *ram_at < SNAP_HEADER + n)
		return err_set(e, EINVAL, "saved VM: damaged header");
	b = malloc(n ? n : 1);
	if (!b)
		return err_sys(e, ENOMEM, "saved VM");
	if (io_pread(fd, b, n, SNAP_HEADER) || checksum(b, n) != get_le64(head + 24))
		return err_set(e, EINVAL, "saved VM: damaged state");
	*len = n;
	*buf = TAKE_PTR(b);
	return 0;
}

/* The parts of a PC: a guest whose tables name one that is not there would go on without, and never
 * switch itself off, say. */
static int load_pc(const struct vmm *vm, struct save_in *s, struct error *e)
{
	uint8_t then = load_u8(s), now = shape_flags(vm), n = load_u8(s);

	for (unsigned i = 0; i < ARRAY_SIZE(flag_names); i++) {
		if ((then ^ now) >> i & 1)
			return err_set(e, EINVAL, "saved with%s %s, loaded with%s",
				then >> i & 1 ? "" : "out", flag_names[i],
				now >> i & 1 ? "" : "out");
	}
	if (then != now)
		return err_set(e, EINVAL, "saved with parts that are not known here");
	if (n != vm->nserials)
		return err_set(
			e, EINVAL, "saved with %u serial ports, loaded with %u", n, vm->nserials);
	return 0;
}

static int load_shape(struct vmm *vm, struct save_in *s, struct error *e)
{
	uint32_t n, version;
	struct save_in sub;

	version = load_section(s, TAG_SHAPE, SHAPE_VERSION, &sub);
	if (!version)
		return err_set(e, EINVAL, "saved VM: no shape");
	n = load_u32(&sub);
	if (n != vm->nvcpus)
		return err_set(e, EINVAL, "saved with %u vCPUs, loaded with %u", n, vm->nvcpus);
	if (load_u64(&sub) != mem_ram_bytes(&vm->mem))
		return err_set(e, EINVAL, "saved with another size of RAM");
	n = load_u32(&sub);
	if (n != vm->nslots)
		return err_set(e, EINVAL, "saved with %u devices, loaded with %u", n, vm->nslots);
	for (unsigned i = 0; i < vm->nslots; i++) {
		if (load_u32(&sub) != vm->slot[i].v->cls->id)
			return err_set(e, EINVAL, "saved with another device in place %u", i);
	}
	if (version >= SHAPE_FLAGS_FROM && load_pc(vm, &sub, e))
		return -EINVAL;
	return load_done(&sub) ? err_set(e, EINVAL, "saved VM: damaged shape") : 0;
}

static int load_cpus(struct vmm *vm, struct save_in *s, struct error *e)
{
	struct save_in sub;
	int r = hv_cpuid_supported(vm->hv, &vm->cpuid, e);

	for (unsigned i = 0; !r && i < vm->nvcpus; i++) {
		struct arch_cpuid c;

		r = vcpu_make(vm, i, e);
		if (r)
			return r;
		arch_cpuid(&vm->cpuid, i, vm->nvcpus, &c);
		r = hv_vcpu_set_cpuid(vm->vcpu[i].hv, &c, e);
	}
	if (r)
		return r;
	for (unsigned i = 0; !r && i < vm->nvcpus; i++) {
		if (!load_section(s, TAG_VCPU, 1, &sub))
			return err_set(e, EINVAL, "saved VM: no state of vCPU %u", i);
		r = hv_vcpu_load(vm->vcpu[i].hv, &sub);
	}
	if (r == -ENOTSUP)
		return err_set(e, ENOTSUP,
			"the saved VM uses what this host's processor or kernel does not offer");
	if (!r && !load_section(s, TAG_HV, 1, &sub))
		return err_set(e, EINVAL, "saved VM: no machine state");
	if (!r)
		r = hv_load(vm->hv, &sub);
	return r ? err_sys(e, r, "cannot set the processors' state") : 0;
}

static int load_devices(struct vmm *vm, struct save_in *s, struct error *e)
{
	for (unsigned i = 0; i < vm->nslots; i++) {
		struct vdev *v = vm->slot[i].v;
		struct save_in sub;
		int r;

		if (!load_section(s, TAG_DEV, 1, &sub))
			return err_set(e, EINVAL, "saved VM: no state of device %u", i);
		r = mmio_load(&vm->slot[i].t, &sub);
		if (!r)
			r = vdev_load(v, &sub);
		if (r)
			return err_sys(e, r, "cannot load the %s device", v->cls->name);
	}
	return 0;
}

static int load(struct vmm *vm, struct vmm_config *cfg, int fd, struct error *e)
{
	CLEAN_FREE uint8_t *buf = NULL;
	struct save_in all, s;
	uint64_t ram_at = 0;
	size_t len = 0;
	int r = vm_check_config(cfg, true, e);

	if (!r)
		r = read_state(fd, &buf, &len, &ram_at, e);
	if (r)
		return r;
	all = (struct save_in){ .buf = buf, .len = len };
	if (!load_section(&all, TAG_VM, 1, &s))
		return err_set(e, EINVAL, "saved VM: no state");
	vm->nvcpus = cfg->vcpus;
	r = vm_add_memory(vm, cfg, e);
	if (!r)
		r = vm_irq_add(vm, cfg, e);
	if (!r)
		r = vm_add_devices(vm, cfg, NULL, e);
	if (!r)
		r = vm_map_memory(vm, e);
	if (!r)
		r = load_shape(vm, &s, e);
	if (!r)
		r = load_cpus(vm, &s, e);
	/* before the devices, which may interrupt */
	if (!r && vm_irq_load(vm, &s))
		r = err_set(e, EINVAL, "saved VM: no state of its interrupt controller");
	/* RAM before devices: their rings live there */
	if (!r)
		r = mem_image_load(&vm->mem, fd, ram_at, e);
	if (!r)
		r = load_devices(vm, &s, e);
	if (!r && vm_legacy_load(vm, &s))
		r = err_set(e, EINVAL, "saved VM: no state of its serial ports or clock");
	if (!r && load_done(&s))
		r = err_set(e, EINVAL, "saved VM: more state than devices");
	return r;
}

int vmm_load(struct vmm *vm, struct vmm_config *cfg, int fd, struct error *e)
{
	int r = vm->built ? err_set(e, EINVAL, "vmm_load: built already") : load(vm, cfg, fd, e);

	vm_close_config(cfg);
	vm->built = !r;
	vm->loaded = !r;
	vm->devices_paused = !r;
	/* read by the vCPUs' threads, which do not exist yet */
	vm->run = r ? VM_RUN : VM_PARK;
	return r;
}
