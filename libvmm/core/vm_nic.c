// SPDX-License-Identifier: Apache-2.0
/* Network interfaces of the public interface: on to the device. */
#include <errno.h>
#include <unistd.h>

#include "core/vm.h"
#include "dev/dev.h"

int vmm_nic_attach(struct vmm *vm, unsigned n, int fd, struct error *e)
{
	if (n >= vm->nnics) {
		if (fd >= 0)
			(void)close(fd);
		return err_set(e, EINVAL, "network interface %u: there is none", n);
	}
	return net_attach(vm->nic[n], fd, e);
}

void vmm_nic_detach(struct vmm *vm, unsigned n)
{
	if (n < vm->nnics)
		net_detach(vm->nic[n]);
}
