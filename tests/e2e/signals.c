// SPDX-License-Identifier: Apache-2.0
/* Says each signal that comes, by its number; 62 of the 64 can be waited for. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	/* by the kernel's own calls: the C library keeps two of them to itself */
	const uint64_t all = ~0ULL;
	long n;

	if (syscall(SYS_rt_sigprocmask, 0, &all, NULL, sizeof(all)))
		return 1;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	for (;;) {
		n = syscall(SYS_rt_sigtimedwait, &all, NULL, NULL, sizeof(all));
		if (n > 0)
			printf("signal %ld\n", n);
		else if (n < 0 && errno != EINTR)
			return 2;
	}
}
