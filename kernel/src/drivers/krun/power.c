// SPDX-License-Identifier: GPL-2.0-only
/* Ends the VM on reboot, power-off and panic, without ACPI or a keyboard controller. */

/*
 * A triple fault leaves KVM_RUN with KVM_EXIT_SHUTDOWN, whatever devices the
 * VMM has, so it is the way out for both requests; the VMM knows from the agent
 * which of the two was meant. Without this file a reboot would first try port
 * 0x64 with delays, and a power-off would halt the CPUs and leave the VM there.
 * "reboot=" on the command line wins.
 */

#include <linux/init.h>
#include <linux/reboot.h>

static int krun_power_off(struct sys_off_data *data)
{
	machine_emergency_restart();
	return NOTIFY_DONE;
}

static int __init krun_power_init(void)
{
	struct sys_off_handler *handler;

	if (reboot_default) {
		reboot_type = BOOT_TRIPLE;
		reboot_default = 0;
		/* No IPIs to stop CPUs that the next instruction ends as well. */
		reboot_force = 1;
	}
	handler = register_sys_off_handler(SYS_OFF_MODE_POWER_OFF, SYS_OFF_PRIO_DEFAULT,
					   krun_power_off, NULL);
	return PTR_ERR_OR_ZERO(handler);
}
device_initcall(krun_power_init);
