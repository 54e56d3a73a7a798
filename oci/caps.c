// SPDX-License-Identifier: Apache-2.0
/* Capability names: a table of ours, as the guest's kernel counts and not the host's library. */
#include <linux/capability.h>
#include <stddef.h>
#include <strings.h>

#include "oci/caps.h"
#include "util/util.h"

#define CAP(name) [CAP_##name] = "CAP_" #name

static const char *const NAMES[] = {
	CAP(CHOWN),
	CAP(DAC_OVERRIDE),
	CAP(DAC_READ_SEARCH),
	CAP(FOWNER),
	CAP(FSETID),
	CAP(KILL),
	CAP(SETGID),
	CAP(SETUID),
	CAP(SETPCAP),
	CAP(LINUX_IMMUTABLE),
	CAP(NET_BIND_SERVICE),
	CAP(NET_BROADCAST),
	CAP(NET_ADMIN),
	CAP(NET_RAW),
	CAP(IPC_LOCK),
	CAP(IPC_OWNER),
	CAP(SYS_MODULE),
	CAP(SYS_RAWIO),
	CAP(SYS_CHROOT),
	CAP(SYS_PTRACE),
	CAP(SYS_PACCT),
	CAP(SYS_ADMIN),
	CAP(SYS_BOOT),
	CAP(SYS_NICE),
	CAP(SYS_RESOURCE),
	CAP(SYS_TIME),
	CAP(SYS_TTY_CONFIG),
	CAP(MKNOD),
	CAP(LEASE),
	CAP(AUDIT_WRITE),
	CAP(AUDIT_CONTROL),
	CAP(SETFCAP),
	CAP(MAC_OVERRIDE),
	CAP(MAC_ADMIN),
	CAP(SYSLOG),
	CAP(WAKE_ALARM),
	CAP(BLOCK_SUSPEND),
	CAP(AUDIT_READ),
	CAP(PERFMON),
	CAP(BPF),
	CAP(CHECKPOINT_RESTORE),
};

int cap_bit(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++)
		if (!strcasecmp(name, NAMES[i]))
			return (int)i;
	return -1;
}

const char *cap_bit_name(int bit)
{
	return bit >= 0 && (size_t)bit < ARRAY_SIZE(NAMES) ? NAMES[bit] : NULL;
}
