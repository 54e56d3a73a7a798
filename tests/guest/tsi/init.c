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

#define MAX_ARGS 30

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r))
		perror("init: loopback");
	close(fd);
}

/* argv: what the kernel hands on of its command line behind "--". */
int main(int argc, char **argv)
{
	char *args[MAX_ARGS + 1] = { NULL };
	int fd, st = -1;
	pid_t pid;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/tmp", 0777);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	fd = open("/dev/hvc0", O_RDWR);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	loopback_up();
	for (int i = 1; i < argc && i <= MAX_ARGS; i++)
		args[i - 1] = argv[i];
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
