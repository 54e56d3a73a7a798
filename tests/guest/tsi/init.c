// SPDX-License-Identifier: Apache-2.0
/* PID 1 of the socket test's guest: loopback up, then the program that the kernel's command line
 * names. */
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define MAX_ARGS      30
#define KLOG_READ_ALL 3
#define KLOG_LEVEL    8
#define CONSOLE_TRIES 3000 /* of 10 ms */

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r))
		perror("init: loopback");
	close(fd);
}

/* Everybody may have ping sockets, as managers set it. */
static void allow_ping(void)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ping_group_range", "w");

	if (!f || fprintf(f, "0 2147483647\n") < 0 || fclose(f))
		perror("init: ping_group_range");
}

/* What the kernel said, which would be in the midst of the program's lines otherwise. */
static void kernel_log(void)
{
	static char buf[1 << 19];
	int n = klogctl(KLOG_READ_ALL, buf, sizeof(buf) - 1);

	if (n < 0)
		perror("init: the kernel's log");
	for (char *p = strtok(buf, "\n"); n > 0 && p; p = strtok(NULL, "\n"))
		printf("kernel: %s\n", p);
}

/* Whether a kernel that watches its locks (kernel/build --debug) is still at it: it stops at a
 * finding. */
static void lock_state(void)
{
	FILE *f = fopen("/proc/lockdep_stats", "r");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, "debug_locks:"))
			fputs(line, stdout);
	}
	if (f)
		fclose(f);
}

/* RUN=PROGRAM,ARG... of the kernel's command line comes as an environment variable. */
int main(void)
{
	char *args[MAX_ARGS + 1] = { NULL };
	int fd, n = 0, st = -1;
	pid_t pid;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/tmp", 0777);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	/* The console's port is announced while this runs. */
	for (int i = 0; (fd = open("/dev/hvc0", O_RDWR)) < 0 && i < CONSOLE_TRIES; i++)
		usleep(10000);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	loopback_up();
	allow_ping();
	/* An oops is shown at once all the same. */
	if (klogctl(KLOG_LEVEL, NULL, 1) < 0)
		perror("init: the console's level");
	for (char *p = strtok(getenv("RUN"), ","); p && n < MAX_ARGS; p = strtok(NULL, ","))
		args[n++] = p;
	pid = fork();
	if (!pid) {
		if (args[0])
			execv(args[0], args);
		perror("init: execv");
		_exit(127);
	}
	while (wait(&st) != pid)
		;
	if (WIFSIGNALED(st))
		printf("SIGNAL %d\n", WTERMSIG(st));
	kernel_log();
	lock_state();
	printf("EXIT %d\n", WIFEXITED(st) ? WEXITSTATUS(st) : 128);
	fflush(stdout);
	tcdrain(1);
	sync();
	reboot(RB_AUTOBOOT);
	return 0;
}
