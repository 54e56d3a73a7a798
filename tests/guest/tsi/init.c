// SPDX-License-Identifier: Apache-2.0
/* PID 1 of the socket test's guest: loopback up, then the program that the kernel's command line
 * names. */
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define MAX_ARGS      30
#define CONSOLE_TRIES 3000 /* of 10 ms */

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r))
		perror("init: loopback");
	close(fd);
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
	printf("EXIT %d\n", WIFEXITED(st) ? WEXITSTATUS(st) : 128);
	fflush(stdout);
	tcdrain(1);
	sync();
	reboot(RB_AUTOBOOT);
	return 0;
}
