// SPDX-License-Identifier: GPL-2.0-only
/* Reseeds the random generator of a VM that was restored or forked. */

/*
 * How it works
 *
 * Two VMs that start from one snapshot hold the same generator state. The
 * kernel has a hook for that, add_vmfork_randomness(), which the VMGENID driver
 * calls when ACPI reports a new generation. There is no ACPI here: the agent
 * gets fresh bytes from the host and writes them to /dev/krun-vmfork before any
 * vCPU runs the workload. One write is one event. When write() returns, every
 * per-CPU generator and the vDSO's are out of date, so that no byte drawn later
 * was foreseeable from the snapshot, and the notifier chain has run.
 *
 * Only a process that holds CAP_SYS_ADMIN in the initial user namespace may
 * write. Root in a container of the guest could otherwise force a reseed, dear
 * on a big guest, as often as it likes.
 */

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/random.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define VMFORK_MIN_BYTES 32	/* the generator's key is 256 bits */
#define VMFORK_MAX_BYTES 256

static ssize_t vmfork_write(struct file *file, const char __user *ubuf, size_t len, loff_t *pos)
{
	u8 seed[VMFORK_MAX_BYTES];

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (len < VMFORK_MIN_BYTES || len > sizeof(seed))
		return -EINVAL;
	if (copy_from_user(seed, ubuf, len)) {
		memzero_explicit(seed, sizeof(seed));
		return -EFAULT;
	}
	add_vmfork_randomness(seed, len);
	memzero_explicit(seed, sizeof(seed));
	return len;
}

static const struct file_operations vmfork_fops = {
	.open = nonseekable_open,
	.write = vmfork_write,
};

static struct miscdevice vmfork_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "krun-vmfork",
	.fops = &vmfork_fops,
	.mode = 0600,
};
builtin_misc_device(vmfork_dev);
