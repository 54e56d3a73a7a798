// SPDX-License-Identifier: Apache-2.0
/* The streams of the public interface: checks, and on to the vsock device. */
#include <errno.h>

#include "core/vm.h"
#include "dev/dev.h"
#include "util/cleanup.h"

#define HDR_MAX 256

int vmm_vsock_connect(struct vmm *vm, uint32_t port, int rfd, int wfd, const void *hdr,
	size_t hdr_len, uint32_t id)
{
	CLEAN_FD int r = rfd;
	CLEAN_FD int w = wfd == rfd ? -1 : wfd;

	if (!vm->vsock)
		return -ENODEV;
	if (hdr_len > HDR_MAX)
		return -EINVAL;
	(void)TAKE_FD(r);
	(void)TAKE_FD(w);
	return vsock_connect(vm->vsock, port, rfd, wfd, hdr, (unsigned)hdr_len, id);
}

int vmm_vsock_reattach(struct vmm *vm, uint32_t id, int rfd, int wfd)
{
	CLEAN_FD int r = rfd;
	CLEAN_FD int w = wfd == rfd ? -1 : wfd;

	if (!vm->vsock)
		return -ENODEV;
	/* the device's loop may be in the middle of the stream */
	if (vm->started)
		return -EBUSY;
	(void)TAKE_FD(r);
	(void)TAKE_FD(w);
	return vsock_reattach(vm->vsock, id, rfd, wfd);
}
