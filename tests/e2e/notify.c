// SPDX-License-Identifier: Apache-2.0
/* sd_notify(3) for the tests: sends its argument to NOTIFY_SOCKET. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (argc != 2 || !path || strlen(path) >= sizeof(a.sun_path))
		return 2;
	(void)strcpy(a.sun_path, path);
	if (sendto(fd, argv[1], strlen(argv[1]), 0, (struct sockaddr *)&a, sizeof(a)) < 0) {
		perror(path);
		return 1;
	}
	return 0;
}
