// SPDX-License-Identifier: Apache-2.0
/* The descriptors of a configuration that are not used. */
#include <unistd.h>

#include "core/vm.h"
#include "util/cleanup.h"

void vm_close_config(struct vmm_config *cfg)
{
	if (cfg->kernel_fd >= 0)
		(void)close(TAKE_FD(cfg->kernel_fd));
	for (unsigned i = 0; i < VMM_MAX_FS && i < cfg->nfs; i++) {
		if (cfg->fs[i].root_fd >= 0)
			(void)close(TAKE_FD(cfg->fs[i].root_fd));
	}
	for (unsigned i = 0; i < VMM_MAX_DISKS && i < cfg->ndisks; i++)
		vmm_disk_close(&cfg->disk[i]);
	for (unsigned i = 0; i < VMM_MAX_NICS && i < cfg->nnics; i++) {
		if (cfg->nic[i].fd >= 0)
			(void)close(TAKE_FD(cfg->nic[i].fd));
		for (unsigned k = 0; k < MIN(cfg->nic[i].nqueue_fds, VMM_MAX_NIC_QUEUES - 1U); k++)
			(void)close(cfg->nic[i].queue_fd[k]);
		cfg->nic[i].nqueue_fds = 0;
	}
	for (unsigned i = 0; i < VMM_MAX_VHOST_USER && i < cfg->nvhost_user; i++) {
		if (cfg->vhost_user[i].fd >= 0)
			(void)close(TAKE_FD(cfg->vhost_user[i].fd));
	}
	for (unsigned i = 0; i < VMM_MAX_PORTS && i < cfg->nports; i++) {
		int in = TAKE_FD(cfg->port[i].in_fd), out = TAKE_FD(cfg->port[i].out_fd);

		if (in >= 0)
			(void)close(in);
		if (out >= 0 && out != in)
			(void)close(out);
	}
	for (unsigned i = 0; i < VMM_MAX_SERIALS && i < cfg->nserials; i++) {
		int in = TAKE_FD(cfg->serial[i].in_fd), out = TAKE_FD(cfg->serial[i].out_fd);

		if (in >= 0)
			(void)close(in);
		if (out >= 0 && out != in)
			(void)close(out);
	}
	for (unsigned i = 0; i < VMM_MAX_VSOCK_PORTS && i < cfg->nvsock_ports; i++) {
		if (cfg->vsock_port[i].listen && cfg->vsock_port[i].fd >= 0)
			(void)close(TAKE_FD(cfg->vsock_port[i].fd));
	}
}
