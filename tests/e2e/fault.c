// SPDX-License-Identifier: Apache-2.0
/* Dies of the signal that its argument names, by a fault and not by kill(2): PID 1 feels nothing
 * else. */
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	volatile int zero = 0;

	if (!strcmp(how, "SEGV"))
		*(volatile int *)(uintptr_t)8 = 1;
	else if (!strcmp(how, "ILL"))
		__asm__ volatile("ud2");
	else if (!strcmp(how, "FPE"))
		return argc / zero;
	else if (!strcmp(how, "TRAP"))
		__asm__ volatile("int3");
	else if (!strcmp(how, "SYS"))
		(void)sched_yield(); /* a filter kills for it */
	else if (!strcmp(how, "ABRT"))
		abort();
	return 99;
}
