// SPDX-License-Identifier: Apache-2.0
/* PID 1 of the boot test's guest: says what it sees through the kernel log, counts TICKS seconds
 * with pauses, ends the machine. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define TICKS 6

static int log_fd;

static void say(const char *s)
{
	(void)!write(log_fd, s, strlen(s));
}

/* The sum of all processors' counts on the line of /proc/interrupts that names a virtio device, and
 * its number. */
static long device_irqs(int *irq)
{
	char line[512];
	long sum = 0;
	FILE *f = fopen("/proc/interrupts", "re");

	*irq = -1;
	while (f && fgets(line, sizeof(line), f)) {
		char *p = strchr(line, ':');
		int used;
		long n;

		if (!p || !strstr(line, "virtio") || sscanf(line, "%d", irq) != 1)
			continue;
		for (p++; sscanf(p, "%ld%n", &n, &used) == 1; p += used)
			sum += n;
		break;
	}
	if (f)
		(void)fclose(f);
	return sum;
}

/* Runs a moment on every processor: true when each could be reached. */
static int each_cpu(int n)
{
	int seen = 0;

	for (int i = 0; i < n; i++) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(i, &set);
		if (!sched_setaffinity(0, sizeof(set), &set) && sched_getcpu() == i)
			seen++;
	}
	return seen;
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	struct timespec mono, real;
	struct sysinfo si;
	char line[256];
	cpu_set_t set;
	long irqs;
	int n, irq;

	(void)mkdir("/proc", 0755);
	(void)mount("proc", "/proc", "proc", 0, NULL);
	(void)mknod("/kmsg", S_IFCHR | 0600, makedev(1, 11));
	log_fd = open("/kmsg", O_WRONLY | O_CLOEXEC);
	(void)sched_getaffinity(0, sizeof(set), &set);
	(void)sysinfo(&si);
	n = CPU_COUNT(&set);
	(void)snprintf(line, sizeof(line), "SMOKE cpus=%d reached=%d ram_mib=%lu\n", n, each_cpu(n),
		si.totalram * si.mem_unit >> 20);
	say(line);
	irqs = device_irqs(&irq);
	(void)snprintf(line, sizeof(line), "SMOKE irq=%d count=%ld\n", irq, irqs);
	say(line);
	for (int i = 1; i <= TICKS; i++) {
		(void)clock_gettime(CLOCK_MONOTONIC, &mono);
		(void)clock_gettime(CLOCK_REALTIME, &real);
		(void)snprintf(line, sizeof(line), "SMOKE tick=%d cpu=%d mono_ms=%lld\n", i,
			sched_getcpu(), (long long)mono.tv_sec * 1000 + mono.tv_nsec / 1000000);
		say(line);
		(void)nanosleep(&pause, NULL);
	}
	say("SMOKE end\n");
	(void)reboot(RB_AUTOBOOT);
	return 1;
}
