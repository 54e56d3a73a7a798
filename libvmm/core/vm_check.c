// SPDX-License-Identifier: Apache-2.0
/* Whether a struct vmm_config makes sense: all that can be said before anything is made. */
#include <errno.h>
#include <string.h>

#include "core/vm.h"

static int check_rules(const char *what, const struct vmm_net_rule *r, unsigned n, struct error *e)
{
	if (n > VMM_MAX_NET_RULES)
		return err_set(e, EINVAL, "network %s: over %u rules", what, VMM_MAX_NET_RULES);
	for (unsigned i = 0; i < n; i++) {
		unsigned bits = r[i].family == 4 ? 32 : r[i].family == 6 ? 128 : 0;

		if ((r[i].family && !bits) || r[i].prefix > bits ||
			r[i].first_port > r[i].last_port)
			return err_set(e, EINVAL, "network %s: rule %u makes no sense", what, i);
	}
	return 0;
}

static int check_net(const struct vmm_config *cfg, struct error *e)
{
	const struct vmm_net *net = &cfg->net;
	int r = check_rules("egress", net->egress, net->negress, e);

	if (!r)
		r = check_rules("listen", net->listen, net->nlisten, e);
	if (r)
		return r;
	if ((net->tsi || cfg->nvsock_ports) && !cfg->vsock)
		return err_set(e, EINVAL, "TSI and mapped ports need the vsock device");
	if (net->nmap > VMM_MAX_PORT_MAP || cfg->nvsock_ports > VMM_MAX_VSOCK_PORTS)
		return err_set(e, EINVAL, "too many mapped ports");
	for (unsigned i = 0; i < net->nmap; i++) {
		const struct vmm_port_map *m = net->map;

		if (!m[i].host || !m[i].guest)
			return err_set(e, EINVAL, "port map: 0 is no port");
		for (unsigned k = 0; k < i; k++) {
			if (m[k].host == m[i].host || m[k].guest == m[i].guest)
				return err_set(e, EINVAL, "port map: a port comes twice");
		}
	}
	for (unsigned i = 0; i < cfg->nvsock_ports; i++) {
		const struct vmm_vsock_port *p = &cfg->vsock_port[i];

		if (p->listen != (p->fd >= 0) ||
			strnlen(p->path, sizeof(p->path)) == sizeof(p->path) ||
			(!p->listen && !p->path[0]))
			return err_set(e, EINVAL, "vsock port %u: no socket, or two", p->port);
	}
	return 0;
}

int vm_check_config(const struct vmm_config *cfg, bool load, struct error *e)
{
	uint64_t ranges = 0;

	if (!cfg->vcpus || cfg->vcpus > LIM_VCPUS)
		return err_set(e, EINVAL, "vCPUs: %u is not within 1-%u", cfg->vcpus, LIM_VCPUS);
	if (cfg->ram_bytes < LIM_RAM_MIN || cfg->ram_bytes > LIM_RAM_MAX || cfg->ram_bytes % 4096)
		return err_set(e, EINVAL,
			"RAM: %llu bytes is not a multiple of 4096 of at least 32 MiB",
			(unsigned long long)cfg->ram_bytes);
	if (cfg->hugepages && cfg->ram_bytes % MEM_HUGE_PAGE)
		return err_set(e, EINVAL,
			"RAM in huge pages: %llu bytes is not a multiple of 2 MiB",
			(unsigned long long)cfg->ram_bytes);
	/* a hole that the other process makes in its memory would be a hole in ours for ever */
	if (cfg->hugepages && cfg->nvhost_user)
		return err_set(e, ENOTSUP, "RAM in huge pages cannot be another process's too");
	if (cfg->pit && cfg->split_irqchip)
		return err_set(e, EINVAL,
			"an interval timer needs all interrupt controllers in the kernel");
	if (load && cfg->nested)
		return err_set(e, ENOTSUP, "a VM that may run guests of its own cannot be loaded");
	if (!load && cfg->kernel_fd < 0)
		return err_set(e, EINVAL, "no kernel");
	if (!load && cfg->cmdline && strlen(cfg->cmdline) >= LIM_CMDLINE)
		return err_set(e, E2BIG, "kernel command line: over %u bytes", LIM_CMDLINE - 1);
	if (cfg->nfs > VMM_MAX_FS || cfg->nports > VMM_MAX_PORTS || cfg->ndisks > VMM_MAX_DISKS ||
		cfg->nnics > VMM_MAX_NICS || cfg->nserials > VMM_MAX_SERIALS ||
		cfg->nvhost_user > VMM_MAX_VHOST_USER)
		return err_set(e, EINVAL,
			"too many file systems, disks, network interfaces, vhost-user devices, console or serial ports");
	for (unsigned i = 0; i < cfg->ndisks; i++) {
		if (vm_disk_check(&cfg->disk[i], i, e))
			return -EINVAL;
	}
	for (unsigned i = 0; i < cfg->nnics; i++) {
		if (cfg->nic[i].nqueue_fds >= VMM_MAX_NIC_QUEUES)
			return err_set(e, EINVAL, "network interface %u: over %d queues", i,
				VMM_MAX_NIC_QUEUES);
	}
	if (cfg->nvhost_user && load)
		return err_set(e, ENOTSUP, "a VM with vhost-user devices cannot be loaded");
	for (unsigned i = 0; i < cfg->nvhost_user; i++) {
		const struct vmm_vhost_user *d = &cfg->vhost_user[i];

		if (d->fd < 0 || d->queues > VMM_MAX_QUEUES)
			return err_set(e, EINVAL, "vhost-user device %u: no socket, or %u queues",
				i, d->queues);
	}
	for (unsigned i = 0; i < cfg->nfs; i++) {
		const struct vmm_fs *f = &cfg->fs[i];

		if (!f->tag[0] || strnlen(f->tag, sizeof(f->tag)) == sizeof(f->tag) ||
			f->empty != (f->root_fd < 0))
			return err_set(e, EINVAL, "file system %u: no tag or no directory", i);
		if (f->nvirt > LIM_FS_VIRT || (f->nvirt && !f->virt))
			return err_set(e, EINVAL,
				"file system %u: no list of virtual entries, or over %d", i,
				LIM_FS_VIRT);
		if (f->dax_bytes % MEM_SHM_RANGE ||
			f->dax_bytes / MEM_SHM_RANGE > LIM_FS_DAX_RANGES - ranges)
			return err_set(e, EINVAL,
				"file system %u: window is not a multiple of 2 MiB, or too large",
				i);
		ranges += f->dax_bytes / MEM_SHM_RANGE;
		if ((unsigned)f->cache > VMM_FS_CACHE_NONE)
			return err_set(
				e, EINVAL, "file system %u: no such caching: %d", i, (int)f->cache);
	}
	for (unsigned i = 0; i < cfg->nports; i++) {
		const char *name = cfg->port[i].name;

		if (strnlen(name, sizeof(cfg->port[i].name)) == sizeof(cfg->port[i].name))
			return err_set(e, EINVAL, "console port %u: its name has no end", i);
	}
	return check_net(cfg, e);
}
