// SPDX-License-Identifier: Apache-2.0
/* A VM's disks: checked, opened before the VM or with it, made devices. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/vm.h"
#include "dev/dev.h"
#include "dev/disk.h"
#include "util/cleanup.h"

_Static_assert(LIM_BLK_DISKS == VMM_MAX_DISKS, "one number, two names");
_Static_assert((int)VMM_DISK_RAW == (int)DISK_RAW && (int)VMM_DISK_QCOW2 == (int)DISK_QCOW2 &&
		(int)VMM_DISK_VMDK == (int)DISK_VMDK &&
		(int)VMM_DISK_SYNC_NONE == (int)DISK_SYNC_NONE &&
		(int)VMM_DISK_SYNC_FULL == (int)DISK_SYNC_FULL,
	"one list, two names");

int vm_disk_check(const struct vmm_disk *d, unsigned i, struct error *e)
{
	if ((d->fd < 0 && !d->opened) || (unsigned)d->format > VMM_DISK_VMDK ||
		(unsigned)d->sync > VMM_DISK_SYNC_FULL || d->queues > LIM_BLK_QUEUES)
		return err_set(e, EINVAL, "disk %u: no image, or no such option", i);
	return 0;
}

/* What @d has open is the result's. */
static struct disk_cfg take(struct vmm_disk *d)
{
	struct disk_cfg c = { .fd = TAKE_FD(d->fd),
		.format = (enum disk_format)d->format,
		.sync = (enum disk_sync)d->sync,
		.readonly = d->readonly,
		.direct = d->direct,
		.threads = d->threads,
		.queues = d->queues,
		.open_backing = d->open_backing,
		.backing_arg = d->backing_arg,
		.opened = d->opened };

	d->opened = NULL;
	(void)memcpy(c.serial, d->serial, sizeof(c.serial));
	return c;
}

int vmm_disk_open(struct vmm_disk *d, struct error *e)
{
	struct disk *opened = NULL;
	struct disk_cfg c;
	int r = vm_disk_check(d, 0, e);

	if (d->opened && !r)
		return err_set(e, EINVAL, "vmm_disk_open: opened already");
	if (r) {
		vmm_disk_close(d);
		return r;
	}
	c = take(d);
	r = disk_open(&c, &opened, e);
	d->opened = r ? NULL : opened;
	return r;
}

void vmm_disk_close(struct vmm_disk *d)
{
	struct disk *opened = d->opened;

	d->opened = NULL;
	disk_close(opened);
	if (d->fd >= 0)
		(void)close(TAKE_FD(d->fd));
}

int vm_disk_new(struct vmm *vm, struct vmm_disk *d, struct vdev **out, struct error *e)
{
	const struct disk_cfg c = take(d);

	return blk_new(vm->blk, &vm->mem, &c, out, e);
}
