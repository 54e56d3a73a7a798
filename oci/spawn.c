// SPDX-License-Identifier: Apache-2.0
/* What programs of the host that we start have in common. */
#include <signal.h>

#include "oci/spawn.h"

void spawn_attr(posix_spawnattr_t *at, short flags)
{
	sigset_t none, all;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_init(at);
	(void)posix_spawnattr_setsigmask(at, &none);
	(void)posix_spawnattr_setsigdefault(at, &all);
	(void)posix_spawnattr_setflags(
		at, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | flags));
}
