// SPDX-License-Identifier: Apache-2.0
/* Turns a struct vmm_config into memory, devices and a loaded kernel. */
/*
 * How it works
 *
 * The config is checked in full (vm_check.c) before anything is made. Then: RAM around the hole,
 * one window per fs that wants one, the devices in the order of vm_add_devices(), which is the
 * order in which the guest finds them, then kernel, boot tables and vCPUs. Each device gets the
 * next register window and the next interrupt input of the architecture's list; its kicks go by
 * ioeventfd straight to the owner loop where the hypervisor can, its interrupts by irqfd. Nothing
 * here is undone on error: vmm_free() takes whatever is there.
 *
 * This file knows devices by name; in core/ none other does, but vm_vsock.c, vm_nic.c,
 * vm_balloon.c, vm_legacy.c, which has the serial ports and the clock, and vm_irq.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/vm.h"
#include "dev/dev.h"
#include "util/cleanup.h"
#include "util/log.h"

_Static_assert(LIM_VCPUS == VMM_VCPUS_MAX, "one number, two names");
_Static_assert(LIM_CONSOLE_PORTS == VMM_MAX_PORTS, "one number, two names");
_Static_assert((int)VMM_FS_CACHE_AUTO == (int)FS_CACHE_AUTO &&
		(int)VMM_FS_CACHE_ALWAYS == (int)FS_CACHE_ALWAYS &&
		(int)VMM_FS_CACHE_NONE == (int)FS_CACHE_NONE,
	"one list, two names");
_Static_assert(LIM_NET_NICS == VMM_MAX_NICS && LIM_NET_PAIRS == VMM_MAX_NIC_QUEUES &&
		(int)VMM_NIC_STREAM == (int)NET_STREAM && (int)VMM_NIC_DGRAM == (int)NET_DGRAM &&
		(int)VMM_NIC_TAP == (int)NET_TAP,
	"one number, one list, two names");
_Static_assert(
	LIM_VHU_DEVS == VMM_MAX_VHOST_USER && LIM_VQS == VMM_MAX_QUEUES, "one number, two names");
_Static_assert(LIM_FS_VIRT == VMM_MAX_FS_VIRT, "one number, two names");
_Static_assert(LIM_VSOCK_PORTS == VMM_MAX_VSOCK_PORTS, "one number, two names");
_Static_assert(sizeof(struct vsock_done) == sizeof(struct vmm_vsock_done), "one report, two names");

#define DRAIN_STEP_MS 10 /* a reader that is slow; others are done at once */

int vm_add_memory(struct vmm *vm, const struct vmm_config *cfg, struct error *e)
{
	struct mem_ram_opts o = { .memfd = cfg->ram_memfd || cfg->nvhost_user,
		.thp = !cfg->no_thp,
		.huge = cfg->hugepages };

	return arch_add_ram(&vm->mem, cfg->ram_bytes, &o, e);
}

/* Tells the hypervisor of every region; one slot each, in table order. */
int vm_map_memory(struct vmm *vm, struct error *e)
{
	int r = 0;

	mem_freeze(&vm->mem);
	for (unsigned i = 0; !r && i < vm->mem.n; i++) {
		const struct mem_region *m = &vm->mem.r[i];

		r = hv_set_region(vm->hv, i, m->gpa, m->len, m->hva, m->readonly, e);
	}
	return r;
}

static void device_fatal(void *arg, const char *device, const char *why)
{
	vm_end(arg, VMM_END_FAILED, "the guest's %s device broke: %s", device, why);
}

/* Devices that nobody serves any more: their driver would wait for ever. */
static void loop_failed(void *arg, const char *name, int err)
{
	vm_end(arg, VMM_END_FAILED, "the %s thread cannot wait for events, or be woken: %s", name,
		err_text(err));
}

static int new_loop(struct vmm *vm, const char *name, struct loop **l, struct error *e)
{
	int r = *l ? 0 : loop_new(name, l, e);

	if (!r)
		loop_on_failure(*l, loop_failed, vm);
	return r;
}

/* Kicks that come by the VMM are written to a descriptor, which another process may make wait. */
static int untrapped(const struct vm_slot *s, struct error *e)
{
	return s->v->cls->elsewhere
		? err_set(e, ENOTSUP, "%s: this hypervisor has no ioeventfd", s->v->cls->name)
		: 0;
}

static int wire_kicks(struct vmm *vm, struct vm_slot *s, struct error *e)
{
	if (!hv_features(vm->hv)->ioeventfd)
		return untrapped(s, e);
	for (unsigned q = 0; q < s->v->nqueues; q++) {
		int r = hv_ioeventfd(vm->hv, s->base + MMIO_QUEUE_NOTIFY, 4, q, s->v->kick_fd[q]);

		if (r == -ENOTSUP)
			/* of this queue and those that follow the writes are trapped */
			return untrapped(s, e);
		if (r)
			return err_sys(e, r, "ioeventfd for %s queue %u", s->v->cls->name, q);
	}
	return 0;
}

/* Gives @v its window and interrupt. The slot owns it from here on, also when this fails. */
static int add_device(struct vmm *vm, struct vdev *v, char *cmdline, struct error *e)
{
	unsigned n = vm->nslots;
	struct vm_slot *s = &vm->slot[n];
	int r;

	/* a clock's input is its own, whether it is used or not: drivers ask for it */
	if (vm->rtc && vm->ngsis < arch_layout.ngsis &&
		arch_layout.gsis[vm->ngsis] == arch_layout.rtc.gsi)
		vm->ngsis++;
	if (n >= LIM_VDEVS || vm->ngsis >= arch_layout.ngsis) {
		v->cls->destroy(v);
		return err_set(e, ENOSPC, "more than %u devices", n);
	}
	vm->nslots++;
	s->v = v;
	s->base = arch_layout.mmio_base + (uint64_t)n * MMIO_LEN;
	s->irq.gsi = arch_layout.gsis[vm->ngsis++];
	s->irq.efd = -1;
	v->irq = &s->irq;
	v->host.fatal = device_fatal;
	v->host.arg = vm;
	mmio_init(&s->t, v);
	r = bus_add(&vm->mmio, s->base, MMIO_LEN, &mmio_bus_ops, &s->t);
	if (r)
		return err_sys(e, r, "register window of %s", v->cls->name);
	r = vm_wire_irq(vm, &s->irq, e);
	if (!r)
		r = wire_kicks(vm, s, e);
	if (!r && cmdline && arch_describe_vdev(cmdline, LIM_CMDLINE, s->base, s->irq.gsi))
		r = err_set(e, E2BIG, "kernel command line: no room to describe %s", v->cls->name);
	return r;
}

/* A line of the console is whole. What a kernel says last is kept: nothing else tells why it ended.
 */
static void line_done(struct vmm *vm)
{
	static const char words[] = "Kernel panic - not syncing: ";
	const char *p;

	vm->line[vm->line_len] = 0;
	p = strstr(vm->line, words);
	if (p && !vm->panic[0])
		(void)snprintf(vm->panic, sizeof(vm->panic), "%s", p + sizeof(words) - 1);
	if (vm->line_len)
		log_guest("guest: %s", vm->line);
	vm->line_len = 0;
}

/* Console output without a port of its own becomes log lines. */
static void console_to_log(void *arg, const char *bytes, unsigned n)
{
	struct vmm *vm = arg;

	for (unsigned i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c == '\n' || vm->line_len == sizeof(vm->line) - 1)
			line_done(vm);
		if (c >= ' ' && c < 127)
			vm->line[vm->line_len++] = (char)c;
	}
}

static int add_console(struct vmm *vm, struct vmm_config *cfg, char *cmdline, struct error *e)
{
	struct console_port_cfg p[VMM_MAX_PORTS] = {
		{ .in_fd = -1, .out_fd = -1, .console = true }
	};
	unsigned n = cfg->nports ? cfg->nports : 1;
	bool out = cfg->nports && cfg->port[0].out_fd >= 0;
	int r;

	for (unsigned i = 0; i < cfg->nports; i++) {
		struct vmm_port *c = &cfg->port[i];

		p[i] = (struct console_port_cfg){ .in_fd = TAKE_FD(c->in_fd),
			.out_fd = TAKE_FD(c->out_fd),
			.name = c->name[0] ? c->name : NULL,
			.console = c->console,
			.rows = c->rows,
			.cols = c->cols };
	}
	r = console_new(vm->io, &vm->mem, p, n, &vm->console, e);
	if (r)
		return r;
	if (!out)
		console_set_sink(vm->console, console_to_log, vm);
	return add_device(vm, vm->console, cmdline, e);
}

struct resize {
	struct vmm *vm;
	unsigned port;
	uint16_t rows, cols;
};

static void resize(void *arg)
{
	const struct resize *r = arg;

	console_resize(r->vm->console, r->port, r->cols, r->rows);
}

void vmm_console_resize(struct vmm *vm, unsigned port, uint16_t rows, uint16_t cols)
{
	struct resize r = { .vm = vm, .port = port, .rows = rows, .cols = cols };

	if (vm->console)
		loop_call(vm->io, resize, &r);
}

struct drain {
	struct vmm *vm;
	bool done;
};

static void drain(void *arg)
{
	struct drain *d = arg;

	d->done = vm_legacy_drain(d->vm);
	if (d->vm->console)
		d->done &= console_drain(d->vm->console);
}

bool vmm_drain(struct vmm *vm, unsigned ms)
{
	struct drain d = { .vm = vm };

	if (!vm->started || (!vm->console && !vm->nserials))
		return true;
	for (;;) {
		unsigned step = MIN(ms, (unsigned)DRAIN_STEP_MS);
		struct timespec t = { .tv_nsec = (long)step * 1000000 };

		loop_call(vm->io, drain, &d);
		if (d.done || !step)
			return d.done;
		(void)nanosleep(&t, NULL);
		ms -= step;
	}
}

/* The memory of what each of @n servers may remember. */
static uint64_t fs_node_bytes(const struct vmm *vm, unsigned n)
{
	uint64_t bytes = LIM_FS_NODE_BASE + LIM_FS_NODE_RAM(mem_ram_bytes(&vm->mem));

	return MIN(bytes, LIM_FS_NODE_SUM) / n;
}

/* The list of @f as the device takes it, on the heap. */
static struct fs_virt_cfg *fs_virt(const struct vmm_fs *f)
{
	struct fs_virt_cfg *c = calloc(f->nvirt + 1, sizeof(*c));

	for (unsigned i = 0; c && i < f->nvirt; i++) {
		const struct vmm_fs_virt *v = &f->virt[i];

		c[i] = (struct fs_virt_cfg){ .path = v->path,
			.data = v->data,
			.len = v->len,
			.mode = v->mode,
			.dir = v->dir,
			.one_shot = v->one_shot };
	}
	return c;
}

static int add_fs(struct vmm *vm, const struct vmm_config *cfg, struct vmm_fs *f, char *cmdline,
	struct error *e)
{
	CLEAN_FREE struct fs_virt_cfg *virt = fs_virt(f);
	CLEAN_FD int root = TAKE_FD(f->root_fd);
	struct fs_cfg c = { .empty = f->empty,
		.virt = virt,
		.nvirt = f->nvirt,
		.readonly = f->readonly,
		.cache = (enum fs_cache)f->cache,
		.drop_idle = f->drop_idle,
		.nat = f->nat,
		.dax_len = f->drop_idle || cfg->nvhost_user ? 0 : f->dax_bytes,
		.exit_code = f->exit_code,
		.node_bytes = fs_node_bytes(vm, cfg->nfs) };
	struct vdev *v;
	int r;

	if (!virt)
		return err_sys(e, ENOMEM, "virtio-fs %.36s", f->tag);
	(void)memcpy(c.tag, f->tag, sizeof(c.tag));
	for (unsigned i = 0; i < MIN(f->nat, (unsigned)VMM_MAX_FS_AT); i++)
		c.at[i] = (struct fs_cache_at){ f->at[i].mnt_id, (enum fs_cache)f->at[i].cache };
	if (c.dax_len) {
		/* above all RAM, on a GiB border so that it never shares a large page with it */
		c.dax_gpa = ALIGN_UP(MAX(mem_top(&vm->mem), 4ULL << 30), 1ULL << 30);
		r = mem_add_shm(&vm->mem, GPA(c.dax_gpa), c.dax_len, e);
		if (r)
			return r;
		if (c.readonly && hv_features(vm->hv)->readonly_mem)
			mem_set_readonly(&vm->mem, GPA(c.dax_gpa));
	}
	c.root_fd = TAKE_FD(root);
	r = fs_new(vm->fs, &vm->mem, &c, &v, e);
	return r ? r : add_device(vm, v, cmdline, e);
}

static int add_disk(struct vmm *vm, struct vmm_disk *d, char *cmdline, struct error *e)
{
	struct vdev *v;
	int r = new_loop(vm, "blk", &vm->blk, e);

	if (!r)
		r = vm_disk_new(vm, d, &v, e);
	return r ? r : add_device(vm, v, cmdline, e);
}

static int add_vhost_user(struct vmm *vm, struct vmm_vhost_user *d, char *cmdline, struct error *e)
{
	struct vhost_user_cfg c = { .fd = TAKE_FD(d->fd),
		.type = d->type,
		.nqueues = d->queues,
		.essential = d->essential };
	struct vdev *v;
	int r = new_loop(vm, "vhost", &vm->vhost, e);

	if (r) {
		(void)close(c.fd);
		return r;
	}
	(void)memcpy(c.name, d->name, sizeof(c.name));
	(void)memcpy(c.qsize, d->queue_size, sizeof(c.qsize));
	r = vhost_user_new(vm->vhost, &vm->mem, &c, &v, e);
	return r ? r : add_device(vm, v, cmdline, e);
}

static int add_nic(struct vmm *vm, struct vmm_nic *n, char *cmdline, struct error *e)
{
	struct net_cfg c = { .kind = (enum net_kind)n->kind,
		.mtu = n->mtu,
		.offloads = n->offloads,
		.vfkit = n->vfkit,
		.later = n->later };
	struct vdev *v;
	int r = new_loop(vm, "net", &vm->net, e);

	if (r)
		return r;
	c.fd = TAKE_FD(n->fd);
	(void)memcpy(c.path, n->path, sizeof(c.path));
	(void)memcpy(c.mac, n->mac, sizeof(c.mac));
	(void)memcpy(c.more, n->queue_fd, sizeof(c.more));
	c.nmore = n->nqueue_fds;
	n->nqueue_fds = 0;
	r = net_new(vm->net, &vm->mem, &c, &v, e);
	if (!r)
		r = add_device(vm, v, cmdline, e);
	if (!r)
		vm->nic[vm->nnics++] = v;
	return r;
}

static int add_rng(struct vmm *vm, char *cmdline, struct error *e)
{
	struct vdev *v;
	int r = rng_new(vm->io, &vm->mem, &v, e);

	return r ? r : add_device(vm, v, cmdline, e);
}

static int add_balloon(struct vmm *vm, char *cmdline, struct error *e)
{
	int r = balloon_new(vm->io, &vm->mem, &vm->balloon, e);

	return r ? r : add_device(vm, vm->balloon, cmdline, e);
}

static void copy_rules(struct net_rule *to, const struct vmm_net_rule *from, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		to[i] = (struct net_rule){ .deny = from[i].deny,
			.family = from[i].family,
			.prefix = from[i].prefix,
			.first = from[i].first_port,
			.last = from[i].last_port };
		(void)memcpy(to[i].ip, from[i].ip, sizeof(to[i].ip));
	}
}

static int add_vsock(struct vmm *vm, struct vmm_config *cfg, char *cmdline, struct error *e)
{
	struct net_rule egress[VMM_MAX_NET_RULES], listen[VMM_MAX_NET_RULES];
	struct vsock_port port[VMM_MAX_VSOCK_PORTS];
	struct net_map map[VMM_MAX_PORT_MAP];
	struct vsock_net net = { .egress = egress,
		.listen = listen,
		.negress = cfg->net.negress,
		.nlisten = cfg->net.nlisten,
		.map = map,
		.nmap = cfg->net.nmap,
		.mapped = cfg->net.mapped };
	struct vsock_cfg c = { .guest_cid = VMM_GUEST_CID,
		.knock_port = cfg->vsock_knock_port,
		.done_fd = cfg->vsock_done_fd,
		.ports = port,
		.nports = cfg->nvsock_ports,
		.net = cfg->net.tsi ? &net : NULL };
	int r;

	copy_rules(egress, cfg->net.egress, cfg->net.negress);
	copy_rules(listen, cfg->net.listen, cfg->net.nlisten);
	for (unsigned i = 0; i < cfg->net.nmap; i++)
		map[i] = (struct net_map){ cfg->net.map[i].host, cfg->net.map[i].guest };
	for (unsigned i = 0; i < cfg->nvsock_ports; i++) {
		struct vmm_vsock_port *p = &cfg->vsock_port[i];

		port[i] = (struct vsock_port){ .port = p->port,
			.fd = p->listen ? TAKE_FD(p->fd) : -1 };
		(void)memcpy(port[i].path, p->path, sizeof(port[i].path));
	}
	r = vsock_new(vm->io, &vm->mem, &c, &vm->vsock, e);
	return r ? r : add_device(vm, vm->vsock, cmdline, e);
}

static void guest_reset(void *arg)
{
	vm_guest_reset(arg);
}

int vm_add_devices(struct vmm *vm, struct vmm_config *cfg, char *cmdline, struct error *e)
{
	int r = new_loop(vm, "io", &vm->io, e);

	vm->acpi = cfg->acpi;
	vm->pit = cfg->pit;
	vm->on_thread = cfg->on_thread;
	vm->on_thread_arg = cfg->on_thread_arg;
	if (!r)
		r = new_loop(vm, "fs", &vm->fs, e);
	if (!r)
		r = vm_legacy_add(vm, cfg, e);
	if (!r && cfg->console)
		r = add_console(vm, cfg, cmdline, e);
	if (!r && cfg->rng)
		r = add_rng(vm, cmdline, e);
	for (unsigned i = 0; !r && i < cfg->nfs; i++)
		r = add_fs(vm, cfg, &cfg->fs[i], cmdline, e);
	for (unsigned i = 0; !r && i < cfg->ndisks; i++)
		r = add_disk(vm, &cfg->disk[i], cmdline, e);
	for (unsigned i = 0; !r && i < cfg->nvhost_user; i++)
		r = add_vhost_user(vm, &cfg->vhost_user[i], cmdline, e);
	for (unsigned i = 0; !r && i < cfg->nnics; i++)
		r = add_nic(vm, &cfg->nic[i], cmdline, e);
	if (!r && cfg->vsock)
		r = add_vsock(vm, cfg, cmdline, e);
	if (!r && cfg->balloon)
		r = add_balloon(vm, cmdline, e);
	vm->reset = (struct arch_reset){ .reset = guest_reset, .arg = vm };
	if (!r && arch_add_legacy(&vm->pio, cfg->acpi, &vm->reset))
		r = err_set(e, ENOSPC, "no room for the reset ports");
	return r;
}

static int load_and_boot(
	struct vmm *vm, const struct vmm_config *cfg, const char *cmdline, struct error *e)
{
	struct arch_vdev vdevs[LIM_VDEVS];
	struct arch_boot_params p = { .vcpus = cfg->vcpus,
		.cmdline = cmdline,
		.initrd = cfg->initrd,
		.initrd_len = cfg->initrd_len,
		.prefer_pvh = cfg->prefer_pvh,
		.acpi = cfg->acpi,
		.no_pic = cfg->split_irqchip,
		.vdevs = vdevs,
		.nvdevs = vm->nslots,
		.nuarts = vm->nserials,
		.rtc = cfg->rtc,
		.smbios = cfg->smbios,
		.oem_strings = cfg->oem_strings,
		.noem_strings = cfg->noem_strings };
	struct arch_kernel k;
	int r = arch_load_kernel(&vm->mem, cfg->kernel_fd, cfg->prefer_pvh, &k, e);

	for (unsigned i = 0; i < vm->nslots; i++)
		vdevs[i] = (struct arch_vdev){ vm->slot[i].base, vm->slot[i].irq.gsi };
	if (!r)
		r = arch_boot_setup(&vm->mem, &p, &k, e);
	for (unsigned i = 0; !r && i < cfg->vcpus; i++) {
		struct arch_cpuid cpuid;
		struct arch_regs regs;

		r = vcpu_make(vm, i, e);
		if (r)
			break;
		arch_cpuid(&vm->cpuid, i, cfg->vcpus, &cpuid);
		if (cfg->nested && !arch_cpuid_nested(&vm->cpuid, &cpuid))
			return err_set(e, ENOTSUP,
				"this host's KVM does not let a guest run guests (parameter \"nested\" of kvm_intel or kvm_amd)");
		r = hv_vcpu_set_cpuid(vm->vcpu[i].hv, &cpuid, e);
		if (r)
			break;
		arch_boot_regs(&k, i, &regs);
		r = hv_vcpu_set_regs(vm->vcpu[i].hv, &regs, e);
	}
	return r;
}

static int end_cmdline(char cmdline[LIM_CMDLINE], const char *end, struct error *e)
{
	size_t have = strlen(cmdline), n = end ? strlen(end) : 0;

	if (n >= LIM_CMDLINE - have)
		return err_set(e, E2BIG, "kernel command line: no room for its arguments");
	if (n)
		memcpy(cmdline + have, end, n + 1);
	return 0;
}

static int build(struct vmm *vm, struct vmm_config *cfg, struct error *e)
{
	char cmdline[LIM_CMDLINE];
	int r = vm_check_config(cfg, false, e);

	if (r)
		return r;
	(void)snprintf(cmdline, sizeof(cmdline), "%s", cfg->cmdline ? cfg->cmdline : "");
	vm->nvcpus = cfg->vcpus;
	vm->nested = cfg->nested;
	r = vm_add_memory(vm, cfg, e);
	if (!r)
		r = vm_irq_add(vm, cfg, e);
	if (!r)
		r = vm_add_devices(vm, cfg, cmdline, e);
	if (!r)
		r = end_cmdline(cmdline, cfg->cmdline_end, e);
	if (!r)
		r = vm_map_memory(vm, e);
	if (!r)
		r = hv_cpuid_supported(vm->hv, &vm->cpuid, e);
	if (!r)
		r = load_and_boot(vm, cfg, cmdline, e);
	return r;
}

int vmm_build(struct vmm *vm, struct vmm_config *cfg, struct error *e)
{
	int r = vm->built ? err_set(e, EINVAL, "vmm_build: built already") : build(vm, cfg, e);

	vm_close_config(cfg);
	vm->built = !r;
	return r;
}
